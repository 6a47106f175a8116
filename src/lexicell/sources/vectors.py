"""Gene vectors that others have published, read as data: pickles without their danger, npz, Parquet, word2vec text."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._errors import InputError, choices
from .._saved import read_npz
from ..core.genes.embedding import GeneEmbedding
from ._unpickle import RefusedError, load
from .names.lookup import find_keys
from .names.species import species
from .table import first_line, read_bytes, read_frame

__all__ = ["read_vectors"]

_READS = ".pickle, .pkl, .npz, .parquet, .csv, .tsv, .txt and .vec (word2vec text), each also as .gz, and .h5ad"
_IDS = ("ids", "genes", "gene", "gene_names", "gene_ids", "symbols", "names", "keys", "words", "index")
_VECTORS = ("vectors", "embeddings", "embedding", "X", "emb", "matrix", "values")
# Files whose embedder is known, by their SHA-256: GenePT's first set (Zenodo record 10833191).
_KNOWN = {
    "fd297510ddd3040744033fde0b0f2cf15a40ac8b2fd2fb02f10667295e55c862": "openai:text-embedding-ada-002",
}

_Read = tuple[list[str], NDArray[np.float64]]


def read_vectors(
    path: str | Path,
    *,
    names: Sequence[str] | None = None,
    organism: str | None = None,
    file_organism: str | None = None,
) -> GeneEmbedding:
    """Read gene vectors from a file that someone else made.

    Pickles (GenePT, scELMo: a dict of gene -> vector) go through a reader that knows numbers, strings, containers and
    arrays only, and refuses anything else by name: nothing in the file is run.

    Parameters
    ----------
    path
        Format by ending: ``.pickle``, ``.pkl``; ``.npz`` (an array of ids and one of vectors, or one array per gene);
        ``.parquet``, ``.csv``, ``.tsv`` (a column of genes, the others numbers, or one column of lists in Parquet);
        ``.txt``, ``.vec`` (word2vec's text format, with or without its first line); each also with ``.gz``; ``.h5ad``
        as :meth:`lexicell.GeneEmbedding.save` writes it.
    names
        Gene names of a data set. Then the result is for these genes, under these names: looked up by name, else by the
        gene both names mean, else, for a mouse or rat data set and a human file, by the human orthologue.
        None: all genes, as the file names them.
    organism
        Species of `names`.
    file_organism
        Species of the file's genes; None: guessed.

    Returns
    -------
    GeneEmbedding
        ``provenance`` has the file's name and SHA-256. Genes whose vector is all zero or not finite are left out.

    Raises
    ------
    InputError
        If the file is missing, damaged, of another kind, holds something that is refused, or none of `names`.
    MissingDependencyError
        If pyarrow is needed and not installed.

    Warns
    -----
    UserWarning
        If a gene is there more than once (the first is used), or a vector is not finite.

    Examples
    --------
    >>> import pathlib, pickle, tempfile
    >>> from lexicell.sources.vectors import read_vectors
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "vectors.pickle")
    ...     _ = path.write_bytes(pickle.dumps({"SOD1": [1.0, 0.0], "TARDBP": [0.0, 1.0]}))
    ...     read_vectors(path)
    GeneEmbedding: 2 genes x 2 dimensions (vectors.pickle, unknown embedder)
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no file '{path}'")
    if names is not None and organism is None:
        raise InputError("names need organism=, the species they are of")
    whole = GeneEmbedding.load(path) if path.suffix == ".h5ad" else _read(path)
    if names is None:
        return whole
    return _for_names(whole, [str(name) for name in names], str(organism), file_organism, path)


def _for_names(
    whole: GeneEmbedding, names: list[str], organism: str, file_organism: str | None, path: Path
) -> GeneEmbedding:
    found = find_keys(list(whole.ids), names, organism=organism, keys_organism=file_organism)
    rows = found["key"].to_numpy()
    has = rows >= 0
    if not has.any():
        raise InputError(
            f"none of the {len(names)} gene names is in {path}: the data has {choices(names[:5])}, the file has "
            f"{choices(list(whole.ids[:5]))}; say which species they are of with organism= and file_organism="
        )
    coverage = found.drop(columns=["key", "orthologue"])
    coverage["key"] = np.where(has, whole.ids[rows], "")
    source = np.where(found["orthologue"], "human orthologue: file", "file")
    coverage["text_source"] = np.where(has, source, "").astype(object)
    return GeneEmbedding.from_vectors(
        np.asarray(names, dtype=object)[has],
        whole.vectors[rows[has]],
        texts=whole.texts[rows[has]],
        table=coverage[has],
        coverage=coverage,
        provenance={**whole.provenance, "organism": species(organism).name},
    )


def _read(path: Path) -> GeneEmbedding:
    raw, kind, digest = read_bytes(path)
    if kind not in (*_READERS, ".parquet", ".csv", ".tsv"):
        raise InputError(f"'{path}' is not a file of vectors that can be read; give one of {_READS}")
    try:
        if kind in _READERS:
            ids, vectors = _READERS[kind](raw)
        else:
            ids, vectors = _from_frame(read_frame(path)[0])
    except RefusedError as error:
        raise InputError(
            f"'{path}' was refused: it holds {error}. Only numbers, strings, lists, dicts and arrays of numbers are "
            "read from a pickle, because anything else could run code. If you trust its maker, open it with their "
            "tools and save ids and vectors with numpy.savez"
        ) from None
    except InputError:
        raise
    except (ValueError, OSError, EOFError, zlib.error, pickle.UnpicklingError, zipfile.BadZipFile, KeyError) as error:
        raise InputError(f"'{path}' cannot be read as {kind}: {first_line(error)}") from error
    ids, vectors = _clean(path, ids, vectors)
    provenance = {"source": path.name, "format": kind.lstrip("."), "sha256": digest, "vectors": "file"}
    if digest in _KNOWN:
        provenance["embedder"] = _KNOWN[digest]
    return GeneEmbedding.from_vectors(ids, vectors, provenance=provenance)


def _clean(path: Path, ids: list[str], vectors: NDArray[np.float64]) -> _Read:
    """Drop what cannot be used, and say so."""
    if not len(ids):
        raise InputError(f"'{path}' holds no vectors")
    names = np.asarray(ids, dtype=object)
    finite = np.asarray(np.isfinite(vectors).all(axis=1))
    if not finite.all():
        bad = names[~finite]
        _warn(f"{len(bad)} vectors in {path} hold NaN or infinity and are left out: {choices(bad, limit=5)}")
    repeated = pd.Index(names).duplicated()
    if repeated.any():
        twice = pd.unique(names[repeated])
        _warn(f"{len(twice)} genes are more than once in {path}; the first is used: {choices(twice, limit=5)}")
    keep = finite & ~repeated & (names != "")
    if not (vectors[keep] != 0).any():
        raise InputError(f"'{path}' holds no vector that could be used")
    return names[keep].tolist(), vectors[keep]


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=5)


def _from_pickle(raw: bytes) -> _Read:
    content = load(io.BytesIO(raw))
    if isinstance(content, Mapping) and content:
        named = {str(key): value for key, value in content.items()}
        return _pair(named) or _stack(list(named), list(named.values()))
    if isinstance(content, tuple | list) and len(content) == 2:
        return _two(content[0], content[1])
    raise ValueError("a dict of gene -> vector is needed")


def _pair(named: Mapping[str, Any]) -> _Read | None:
    """Ids and matrix under names of their own, if that is how the file is laid out."""
    ids = next((named[key] for key in _IDS if key in named), None)
    vectors = next((named[key] for key in _VECTORS if key in named), None)
    if ids is None or vectors is None or np.ndim(vectors) != 2:
        return None
    return _two(ids, vectors)


def _two(ids: Any, vectors: Any) -> _Read:
    matrix = np.asarray(vectors, dtype=np.float64)
    if matrix.ndim != 2 or len(ids) != len(matrix):
        raise ValueError(f"{len(ids)} ids do not fit vectors of shape {matrix.shape}")
    return [one.decode() if isinstance(one, bytes) else str(one) for one in ids], matrix


def _stack(ids: list[str], values: Sequence[Any]) -> _Read:
    """One vector per gene."""
    try:
        rows = [np.asarray(value, dtype=np.float64).ravel() for value in values]
    except (TypeError, ValueError) as error:
        raise ValueError(f"a gene has something other than numbers for a vector ({error})") from error
    lengths = sorted({len(row) for row in rows})
    if len(lengths) != 1 or lengths[0] < 1:
        raise ValueError(f"the vectors have different lengths: {lengths[:5]}")
    return ids, np.stack(rows)


def _from_npz(raw: bytes) -> _Read:
    named = read_npz(io.BytesIO(raw))
    both = _pair(named)
    if both is not None:
        return both
    flat = [key for key, value in named.items() if value.ndim == 1 and value.dtype.kind in "US"]
    deep = [key for key, value in named.items() if value.ndim == 2 and value.dtype.kind in "fiu"]
    if len(flat) == len(deep) == 1:
        return _two(named[flat[0]], named[deep[0]])
    return _stack(list(named), list(named.values()))


def _from_frame(frame: pd.DataFrame) -> _Read:
    """A table: one column of genes; the rest numbers, or one column of lists."""
    if frame.shape[1] < 2:
        raise ValueError("a column of genes and columns of numbers are needed")
    columns = [str(column) for column in frame.columns]
    lower = [column.casefold() for column in columns]
    wanted = (*_IDS, "symbol", "gene_symbol", "gene_id", "unnamed: 0", "")
    gene = next((columns[lower.index(name)] for name in wanted if name in lower), columns[0])
    frame.columns = pd.Index(columns)
    ids = [str(value) for value in frame[gene]]
    rest = frame.drop(columns=gene)
    if rest.shape[1] == 1 and len(rest) and not np.isscalar(rest.iloc[0, 0]):
        return _stack(ids, list(rest.iloc[:, 0]))
    try:
        return ids, rest.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"beside the genes in '{gene}' there is a column that holds no numbers ({error})") from error


def _from_word2vec(raw: bytes) -> _Read:
    lines = raw.decode("utf-8-sig").split("\n")
    first = lines[0].split() if lines else []
    announced = len(first) == 2 and all(part.isdigit() for part in first)
    ids, rows = [], []
    for number, line in enumerate(lines[announced:], start=1 + announced):
        parts = line.rstrip().split("\t") if "\t" in line else line.rstrip().split(" ")
        if len(parts) > 1:
            ids.append(parts[0])
            try:
                rows.append([float(part) for part in parts[1:] if part])
            except ValueError:
                raise ValueError(f"line {number} holds something other than numbers after the gene") from None
    if announced and len(ids) != int(first[0]):
        raise ValueError(f"the first line announces {first[0]} vectors, there are {len(ids)}: the file is cut short")
    return _stack(ids, rows) if ids else ([], np.zeros((0, 1)))


_READERS = {
    ".pickle": _from_pickle,
    ".pkl": _from_pickle,
    ".npz": _from_npz,
    ".txt": _from_word2vec,
    ".vec": _from_word2vec,
    ".w2v": _from_word2vec,
}
