"""Texts from a file of your own, or one that others published: gene -> text."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._errors import InputError, MissingDependencyError, check_choice, choices
from .._saved import unpack_gzip
from ._base import GeneTexts
from ._template import TextRules
from .names.lookup import find_keys
from .names.species import species

__all__ = ["TableSource", "first_line", "read_bytes", "read_frame"]

# Names of columns that are recognized, the surest first.
_GENE = (
    *("gene", "symbol", "gene_symbol", "gene_name", "genes", "gene_id", "geneid", "ensembl", "ensembl_id"),
    *("ensembl_gene_id", "ncbi_gene_id", "entrez", "entrez_id", "hgnc_symbol", "id", "index", "unnamed: 0", ""),
)
_TEXT = ("text", "summary", "gene_summary", "description", "gene_description", "function", "annotation", "texts")
_COLUMNS = [
    *("gene_id", "symbol", "name", "gene_type", "matched_by", "note"),
    *("text_source", "text_gene_id", "key", "words"),
]
_READS = ".tsv, .txt, .csv, .json, .jsonl and .parquet, all but the last also as .gz"


class TableSource:
    """Texts from a table: TSV, CSV, JSON or Parquet.

    Parameters
    ----------
    path
        ``.tsv``, ``.txt``, ``.csv`` (the first line names the columns), ``.json`` (an object of gene -> text, as GenePT
        publishes it, or a list of records), ``.jsonl`` (one record per line), each also as ``.gz``; ``.parquet``.
    gene_column, text_column
        The columns to read; None: recognized by name, or, of two columns, the first and the second.
    organism
        Species of the table's genes; None: guessed from its names. Genes of a mouse or rat data set find the texts of
        a human table through their orthologues.
    max_words, mask_terms
        As for :class:`~lexicell.sources.ncbi.NcbiSource`.

    Raises
    ------
    InputError
        If the file cannot be read, or its columns are not recognized; the message lists them.
    MissingDependencyError
        If pyarrow is needed and not installed.

    Warns
    -----
    UserWarning
        If a gene is there more than once with different texts; the first is used.

    Examples
    --------
    >>> import json, pathlib, tempfile
    >>> from lexicell.sources.table import TableSource
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "texts.json")
    ...     _ = path.write_text(json.dumps({"SOD1": "Removes superoxide.", "MYGENE": "Ours."}))
    ...     TableSource(path).texts(["MYGENE", "SOD1", "ALS1"], organism="human").texts.tolist()[:2]
    ['Ours.', 'Removes superoxide.']
    """

    name = "table"

    def __init__(
        self,
        path: str | Path,
        *,
        gene_column: str | None = None,
        text_column: str | None = None,
        organism: str | None = None,
        max_words: int | None = None,
        mask_terms: Sequence[str] = (),
    ) -> None:
        self.path = Path(path)
        self.rules = TextRules("summary", max_words=max_words, mask_terms=mask_terms)
        self.organism = None if organism is None else species(organism).name
        frame, self.sha256 = read_frame(self.path)
        self.gene_column, self.text_column = _columns(self.path, frame, gene_column, text_column)
        self.table, self.duplicates = self._unique(frame)

    def __repr__(self) -> str:
        return f"TableSource({str(self.path)!r}): {len(self.table):,} genes"

    def _unique(self, frame: pd.DataFrame) -> tuple[dict[str, str], list[str]]:
        """Gene -> text without empty ones; and the genes that have several texts."""
        found: dict[str, str] = {}
        different: dict[str, None] = {}
        for gene, text in zip(frame[self.gene_column], frame[self.text_column], strict=True):
            key, words = _plain(gene), " ".join(_plain(text).split())
            if not key or not words:
                continue
            if found.setdefault(key, words) != words:
                different[key] = None
        if not found:
            raise InputError(
                f"{self.path} has no text in column '{self.text_column}' for a gene in column '{self.gene_column}'"
            )
        if different:
            warnings.warn(
                f"{len(different)} genes have several texts in {self.path}; the first of each is used: "
                f"{choices(different, limit=5)}",
                UserWarning,
                stacklevel=3,
            )
        return found, list(different)

    def texts(self, names: Sequence[str], *, organism: str) -> GeneTexts:
        """Find the text of each name.

        Parameters
        ----------
        names
            Symbols, Ensembl ids or GeneIDs. What the table does not hold by that name is looked up by the gene that
            the bundled table knows both names by.
        organism
            Species of the names.

        Returns
        -------
        GeneTexts
            ``table`` has, beside the usual columns, ``key`` (the table's own name of the gene) and ``words``.
            ``matched_by`` is ``table`` for genes that only the table knows.
        """
        names = [str(name) for name in names]
        keys = list(self.table)
        found = find_keys(keys, names, organism=organism, keys_organism=self.organism)
        rows, texts = [], []
        for row in found.to_dict("records"):
            text, row["text_source"] = "", ""
            key = keys[row["key"]] if row["key"] >= 0 else ""
            if key:
                text = self.rules.text({"summary": self.table[key]})
            elif not row["note"]:
                row["note"] = "the table has no text for this gene"
            if text:
                row["text_source"] = "human orthologue: table" if row["orthologue"] else "table"
            else:
                row["text_gene_id"] = ""
            row.update(key=key, words=len(text.split()))
            rows.append(row)
            texts.append(text)
        table = pd.DataFrame(rows, index=found.index, columns=_COLUMNS)
        provenance: dict[str, Any] = {
            "source": self.name,
            "organism": species(organism).name,
            "file": self.path.name,
            "sha256": self.sha256,
            "gene_column": self.gene_column,
            "text_column": self.text_column,
            "genes": len(keys),
            "duplicates": len(self.duplicates),
            **{key: value for key, value in self.rules.provenance().items() if key != "template"},
            "texts_sha256": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
        }
        return GeneTexts(table, np.asarray(texts, dtype=object), provenance)


def _plain(value: Any) -> str:
    """A cell as text: numbers without '.0', nothing for what is missing."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _columns(path: Path, frame: pd.DataFrame, gene: str | None, text: str | None) -> tuple[str, str]:
    header = [str(column) for column in frame.columns]
    for named, what in ((gene, "gene_column"), (text, "text_column")):
        if named is not None:
            check_choice(named, header, f"column ({what}) of {path.name}")
    gene = gene or _recognized(_GENE, header, text)
    text = text or _recognized(_TEXT, header, gene)
    if len(header) == 2:
        gene = gene or next(column for column in header if column != text)
        text = text or next(column for column in header if column != gene)
    if gene is None or text is None:
        what, missing = ("genes", "gene_column") if gene is None else ("texts", "text_column")
        raise InputError(
            f"the columns of {path} are {choices(header)}: which holds the {what} is not clear; name it with {missing}="
        )
    return gene, text


def _recognized(known: Sequence[str], header: Sequence[str], other: str | None) -> str | None:
    """The first column whose name, in any case and with spaces or underscores, is one of `known`; never `other`."""
    lower: dict[str, str] = {}
    for column in header:
        plain = column.casefold().strip()
        lower.setdefault(plain, column)
        lower.setdefault(plain.replace(" ", "_"), column)
    for name in known:
        if name in lower and lower[name] != other:
            return lower[name]
    return None


def read_frame(path: Path) -> tuple[pd.DataFrame, str]:
    """Read a table of any of the formats; returns it with all cells as they are, and the SHA-256 of the file.

    Raises
    ------
    InputError
        If the file is missing, damaged, or of another kind.
    MissingDependencyError
        If pyarrow is needed and not installed.
    """
    raw, kind, digest = read_bytes(path)
    try:
        if kind in (".csv", ".tsv", ".tab", ".txt"):
            frame = _read_text(raw, kind)
        elif kind in (".json", ".jsonl"):
            frame = _read_json(raw, kind)
        elif kind == ".parquet":
            frame = _read_parquet(raw)
        else:
            raise InputError(f"'{path}' is not a table that can be read; give one of {_READS}")
    except InputError:
        raise
    except (ValueError, OSError, EOFError, AttributeError, TypeError, RecursionError) as error:
        raise InputError(f"'{path}' cannot be read as {kind}: {first_line(error)}") from error
    return frame, digest


def read_bytes(path: Path) -> tuple[bytes, str, str]:
    """Content of a file, unpacked if it ends in ``.gz``; its ending before that; and the SHA-256 of the file."""
    if not path.is_file():
        raise InputError(f"no file '{path}'")
    raw = path.read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    if path.suffix != ".gz":
        return raw, path.suffix, digest
    kind = Path(path.stem).suffix
    try:
        return unpack_gzip(raw), kind, digest
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise InputError(f"'{path}' cannot be read as {kind}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """The first line of what an error says, or its kind."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _read_text(raw: bytes, kind: str) -> pd.DataFrame:
    text = raw.decode("utf-8-sig")
    first, _, _ = text.partition("\n")
    # As strings, none of them missing: there is a gene called NAN.
    options: dict[str, Any] = {"dtype": object, "keep_default_na": False}
    if kind == ".csv" or ("\t" not in first and "," in first):
        frame: pd.DataFrame = pd.read_csv(io.StringIO(text), **options)
    else:
        # A quotation mark in a tab-separated cell is most often just that: only cells wholly in quotes are unquoted.
        frame = pd.read_csv(io.StringIO(text), sep="\t", quoting=csv.QUOTE_NONE, **options).map(_unquoted)
    if not isinstance(frame.index, pd.RangeIndex):
        if isinstance(frame.index, pd.MultiIndex):
            columns = frame.shape[1]
            raise ValueError(f"line 2 has {frame.index.nlevels + columns} cells, the first has {columns}")
        # A first line with one name less, as R writes it.
        frame = frame.reset_index(names="index")
    # A cell that is not there at all, not even empty.
    ragged = frame.isna().any(axis=1)
    if ragged.any():
        raise ValueError(f"line {int(ragged.argmax()) + 2} has fewer cells than the first")
    return frame


def _unquoted(cell: str) -> str:
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"')
    return cell


def _read_json(raw: bytes, kind: str) -> pd.DataFrame:
    if kind == ".jsonl":
        raw = b"[" + b",".join(line for line in raw.splitlines() if line.strip()) + b"]"
    content = json.loads(raw)
    if isinstance(content, dict):
        values = list(content.values())
        if all(isinstance(value, dict) for value in values):
            content = [{"gene": key, **value} for key, value in content.items()]
        elif not any(isinstance(value, list | dict) for value in values):
            content = [{"gene": key, "text": value} for key, value in content.items()]
    if not isinstance(content, list) or not all(isinstance(record, dict) for record in content):
        raise ValueError("an object of gene -> text, or a list of records, is needed")
    return pd.DataFrame(content, dtype=object)


def _read_parquet(raw: bytes) -> pd.DataFrame:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("reading Parquet needs pyarrow: pip install 'lexicell[parquet]'") from error
    frame = pd.read_parquet(io.BytesIO(raw))
    # pandas keeps a named or textual index apart from the columns; here it may well hold the genes.
    if frame.index.name is not None or not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index(names=frame.index.name or "index")
    return frame
