"""What the live part of the page carries: coordinates, columns, genes and words of cells, as small numbers, packed."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from numpy.typing import ArrayLike, NDArray

from .. import _keys
from .._errors import InputError
from .._expression import Expression, open_values
from .._results import recorded, recorded_params
from ..core.expression.sums import add_sums
from ..pl import as_categories, category_colors
from ..tl.concept_pass import ConceptPass, ranges
from ..tl.words import gene_vectors, shipped_lexicon
from ._context import Context, is_categorical
from ._html import Html

__all__ = ["PageData", "page_data", "quantize"]

MOST_CELLS = 200_000
_BYTES = 24_000_000  # of genes and words, one byte per cell each, before packing
_MOST = {"genes": 200, "words": 100}
_MOST_LABELS = 250  # a column of more is a name of the cell rather than a group
_MOST_ROWS = 20_000  # of a table to download
_LEVELS = 254  # of a number in one byte; 255 is a missing value


class PageData:
    """Arrays of the page and the description of what each one is."""

    def __init__(self, cells: NDArray[np.int64]) -> None:
        self.cells, self.tables = cells, dict[str, int]()
        self.about: dict[str, Any] = {"n": 0, "columns": [], "genes": [], "words": [], "clusters": {}}
        self._blocks: list[tuple[str, bytes]] = []

    def add(self, kind: str, content: bytes) -> int:
        """Keep an array and give its number."""
        self._blocks.append((kind, content))
        return len(self._blocks) - 1

    def add_number(self, values: ArrayLike, name: str, lowest: float | None = None) -> dict[str, Any] | None:
        """Keep one number per cell in a byte; None where there is none to keep."""
        if not np.isfinite(np.asarray(values, dtype=float)).any():
            return None
        low, high, codes = quantize(values, lowest)
        return {"name": name, "kind": "number", "lo": low, "hi": high, "a": self.add("u1", codes.tobytes())}

    def add_table(self, name: str, frame: pd.DataFrame) -> None:
        """Keep a table for download."""
        text = frame.head(_MOST_ROWS).to_csv(sep="\t", float_format="%.6g")
        self.tables[name] = self.add("text", text.encode())

    def scripts(self) -> tuple[Html, Html]:
        """What both elements of data hold: the description as JSON, and all arrays, packed."""
        whole, arrays = bytearray(), []
        for kind, content in self._blocks:
            whole += bytes(-len(whole) % 2)  # 16-bit numbers begin at even places
            size = 2 if kind == "u2" else 1
            arrays.append((kind, len(whole), len(content) // size))
            whole += content
        text = json.dumps({**self.about, "arrays": arrays}, ensure_ascii=False, allow_nan=False)
        # Inside a script element only these could end it or begin a comment.
        for sign in "<>&\u2028\u2029":
            text = text.replace(sign, f"\\u{ord(sign):04x}")
        packed = gzip.compress(bytes(whole), compresslevel=6, mtime=0)
        return Html(text), Html(base64.b64encode(packed).decode())


def quantize(values: ArrayLike, lowest: float | None = None) -> tuple[float, float, NDArray[np.uint8]]:
    """Write numbers in a byte each: the values of 0 and 254, and the codes, 255 where a value is missing."""
    given = np.asarray(values, dtype=float)
    known = np.isfinite(given)
    low = float(given[known].min()) if lowest is None else lowest
    high = float(given[known].max())
    scale = _LEVELS / (high - low) if high > low else 0.0
    codes = np.full(len(given), 255, dtype=np.uint8)
    codes[known] = np.rint((given[known] - low) * scale)
    return low, high, codes


def page_data(ctx: Context) -> PageData:
    """Gather what the page carries; beyond 200,000 cells a random sample of them."""
    n = ctx.adata.n_obs
    cells = np.arange(n)
    if n > MOST_CELLS:
        cells = np.sort(np.random.default_rng(0).choice(n, MOST_CELLS, replace=False))
    data = PageData(cells)
    names = "\n".join(str(name).replace("\n", " ") for name in ctx.adata.obs_names[cells])
    data.about["cells"] = data.add("text", names.encode(errors="replace"))
    _add_tables(ctx, data)
    key = ctx.map_key
    if not key or n == 0:
        return data
    data.about["n"] = len(cells)
    _add_map(data, np.asarray(ctx.adata.obsm[key])[cells, :2])
    _add_columns(ctx, data)
    share = int(np.clip(_BYTES / len(cells), 60, sum(_MOST.values())))
    words = _word_names(ctx)[: min(_MOST["words"], share // 2)]
    _add_words(ctx, data, words)
    _add_genes(ctx, data, min(_MOST["genes"], share - len(words)))
    _add_clusters(ctx, data)
    return data


def _add_map(data: PageData, points: NDArray[np.floating]) -> None:
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    # One scale for both axes, so that the map keeps its shape, and a margin.
    span = float(max(high - low)) * 1.06 or 1.0
    placed = 0.5 + (np.nan_to_num(points) - (low + high) / 2) / span
    for axis in (0, 1):
        data.add("u2", np.rint(placed[:, axis] * 65535).astype("<u2").tobytes())
    data.about["xy"] = [len(data._blocks) - 2, len(data._blocks) - 1]


def _add_columns(ctx: Context, data: PageData) -> None:
    made = ctx.cluster_column
    first = [c for c in (made, *ctx.color) if c and c in ctx.adata.obs]
    told = set(first) | {ctx.design.get("cell_type"), ctx.design.get("condition")}
    for column in dict.fromkeys([*first, *(str(c) for c in ctx.adata.obs.columns)]):
        values = ctx.adata.obs[column]
        if not is_categorical(values):
            entry = data.add_number(values.to_numpy(dtype=float, na_value=np.nan)[data.cells], column)
            data.about["columns"] += [entry] if entry else []
            continue
        names, codes = as_categories(values)
        if not 1 <= len(names) <= _MOST_LABELS:
            continue
        kind, missing = ("u1", 255) if len(names) < 255 else ("u2", 65535)
        codes = np.where(codes < 0, missing, codes)[data.cells].astype(f"<{kind}")
        colors = [to_hex(color) for color in category_colors(ctx.adata, column, names)]
        entry = {"name": column, "kind": "labels", "names": names, "colors": colors, "main": column in told}
        data.about["columns"].append({**entry, "a": data.add(kind, codes.tobytes())})
    data.about |= {"clusters_column": made, "donor": ctx.design.get("donor", "")}


def _gene_names(ctx: Context) -> list[str]:
    """Genes that results name, those that are asked for first, then in turn from each group."""
    asked = [name for name in ctx.color if name not in ctx.adata.obs]
    lists: list[Iterable[str]] = []
    if "markers" in ctx.clusters:
        lists += [part["gene"] for _, part in ctx.clusters["markers"].groupby("group", sort=False)]
    for key in (ctx.use_rep, ctx.text_key):
        found = recorded(ctx.adata, key)
        if "genes" in found.get("vulnerability", {}):
            lists += [part["gene"] for _, part in found["vulnerability"]["genes"].groupby("cell_type", sort=False)]
        if "trends" in found:
            table = found["trends"]["table"]
            lists.append(table[table["kind"].astype(str) == "gene"]["feature"])
    turns = (str(name) for names in zip_longest(*lists) for name in names if name is not None)
    return list(dict.fromkeys([*asked, *turns]))


def _add_genes(ctx: Context, data: PageData, most: int) -> None:
    if ctx.values is None:
        return
    place = pd.Index(ctx.values.genes.astype(str))
    place = place[~place.duplicated()] if place.has_duplicates else place
    chosen = [name for name in _gene_names(ctx) if name in place][:most]
    log = ctx.values.log[:, place.get_indexer(chosen)].tocsc()
    for i, name in enumerate(chosen):
        entry = data.add_number(log[:, [i]].toarray().ravel()[data.cells], name, lowest=0.0)
        data.about["genes"] += [entry] if entry else []


def _word_names(ctx: Context) -> list[str]:
    """Words that results name: of the clusters in turn, then of the comparison."""
    lists: list[Iterable[str]] = []
    if "concepts" in ctx.clusters:
        lists += [part["concept"] for _, part in ctx.clusters["concepts"].groupby("group", sort=False)]
    for key in (ctx.use_rep, ctx.text_key):
        found = recorded(ctx.adata, key).get("vulnerability", {}).get("concepts")
        if found is not None:
            lists.append(found.sort_values("p")["concept"].head(40))
    turns = (str(name) for names in zip_longest(*lists) for name in names if name is not None)
    return list(dict.fromkeys(turns))


def _add_words(ctx: Context, data: PageData, names: list[str]) -> None:
    """Scores of words: those in the object, and those of the lexicon that results name, which need no model."""
    for key, table in sorted(ctx.adata.obsm.items()):
        if isinstance(table, pd.DataFrame) and str(key).endswith("concepts"):
            for column in table.columns[: _MOST["words"] - len(data.about["words"])]:
                entry = data.add_number(table[column].to_numpy()[data.cells], str(column))
                data.about["words"] += [entry] if entry else []
    have = {word["name"] for word in data.about["words"]}
    wanted = [name for name in names if name not in have]
    if not wanted or not ctx.text_key:
        return
    try:
        known = gene_vectors(ctx.adata, ctx.text_key, None)
        lexicon = shipped_lexicon(known)
        values = open_values(ctx.adata, Expression(), like=recorded_params(ctx.adata, ctx.text_key))
    except (InputError, KeyError, FileNotFoundError):
        return
    if lexicon is None or not np.isin(lexicon.names.astype(str), wanted).any():
        return
    phrases = lexicon.part(np.isin(lexicon.names.astype(str), wanted))
    work = ConceptPass(values, known)
    _, parts = ranges(values.n_cells, len(phrases.names))
    ids = work.set_moments(add_sums(work.moments(start, stop) for start, stop in parts)).ids
    sets = work.set_phrases(phrases, 50)
    kept = []
    for start, stop in parts:
        scores = np.empty((stop - start, len(phrases.names)), dtype=np.float32)
        work.score(start, stop, scores, None)
        kept.append(scores[data.cells[(data.cells >= start) & (data.cells < stop)] - start])
    every = np.concatenate(kept)
    for q, name in enumerate(phrases.names):
        entry = data.add_number(every[:, q], str(name))
        row = sets[q]
        best = ids[row.indices[np.argsort(-row.data, kind="stable")[:8]]]
        if entry:
            entry["genes"] = [list(pair) for pair in zip(best.tolist(), phrases.reasons(q, best), strict=True)]
            data.about["words"].append(entry)


def _add_clusters(ctx: Context, data: PageData) -> None:
    for name, row in ctx.clusters.get("table", pd.DataFrame()).iterrows():
        data.about["clusters"][str(name)] = {"genes": str(row.get("genes", "")), "words": ctx.words_of(str(name))}


def _add_tables(ctx: Context, data: PageData) -> None:
    """Every table of results on the representation shown and on its text embedding."""
    for key in dict.fromkeys([ctx.use_rep, ctx.text_key]):
        for tool, found in sorted(recorded(ctx.adata, key).items()) if key else ():
            for part, frame in sorted(found.items()) if isinstance(found, dict) else ():
                if isinstance(frame, pd.DataFrame) and len(frame):
                    data.add_table(f"{_keys.prefix(key)}_{tool}" + ("" if part == "table" else f"_{part}"), frame)
