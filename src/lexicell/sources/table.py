"""Texts from a file of your own, or one that others published: gene -> text."""

from __future__ import annotations

import csv
import gzip
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
from ._base import GeneTexts
from ._keyed import find_keys
from ._species import species
from ._template import TextRules

__all__ = ["TableSource", "read_frame"]

_GENE = (
    "gene", "symbol", "gene_symbol", "gene_name", "genes", "gene_id", "geneid", "ensembl", "ensembl_id",
    "ensembl_gene_id", "ncbi_gene_id", "entrez", "entrez_id", "hgnc_symbol", "id", "index", "unnamed: 0", "",
)  # fmt: skip
_TEXT = ("text", "summary", "gene_summary", "description", "gene_description", "function", "annotation", "texts")
_READS = ".tsv, .txt, .csv, .json, .jsonl and .parquet, all but the last also as .gz"


class TableSource:
    """Texts from a table: TSV, CSV, JSON or Parquet.

    Parameters
    ----------
    path
        ``.tsv``, ``.txt``, ``.csv`` (the first line names the columns), ``.json`` (an object of gene -> text, as GenePT
        publishes it, or a list of records), ``.jsonl`` (a record a line), each also as ``.gz``; ``.parquet``.
    gene_column, text_column
        The columns to read; None: recognised by name, or, of two columns, the first and the second.
    organism
        Species of the table's genes; None: guessed from its names. Genes of a mouse or rat data set find the texts of
        a human table through their orthologues.
    max_words, mask_terms
        As for :class:`~lexicell.sources.ncbi.NcbiSource`.

    Raises
    ------
    InputError
        If the file cannot be read, or its columns are not recognised; the message lists them.
    MissingDependencyError
        If pyarrow is needed and not installed.

    Warns
    -----
    UserWarning
        If a gene stands more than once with different texts; the first is used.

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
        """Gene -> text without empty ones; and the genes that stand with several texts."""
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
                f"{len(different)} genes stand in {self.path} with several texts; the first of each is used: "
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
        rows = list(found["key"])
        texts = [self.rules.text({"summary": self.table[keys[row]]}) if row >= 0 else "" for row in rows]
        table = found[["gene_id", "symbol", "name", "gene_type", "matched_by", "note"]].copy()
        table["note"] = [
            note or ("" if row >= 0 else "the table has no text for this gene")
            for note, row in zip(table["note"], rows, strict=True)
        ]
        table["text_source"] = [
            ("human orthologue: table" if other else "table") if text else ""
            for text, other in zip(texts, found["orthologue"], strict=True)
        ]
        table["text_gene_id"] = [gene if text else "" for gene, text in zip(found["text_gene_id"], texts, strict=True)]
        table["key"] = [keys[row] if row >= 0 else "" for row in rows]
        table["words"] = [len(text.split()) for text in texts]
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
    lower = {column.casefold().strip().replace(" ", "_"): column for column in reversed(header)}
    lower.update({column.casefold().strip(): column for column in reversed(header)})
    gene = gene or next((lower[name] for name in _GENE if name in lower and lower[name] != text), None)
    text = text or next((lower[name] for name in _TEXT if name in lower and lower[name] != gene), None)
    if len(header) == 2:
        gene = gene or next(column for column in header if column != text)
        text = text or next(column for column in header if column != gene)
    if gene is None or text is None:
        missing = "gene_column" if gene is None else "text_column"
        raise InputError(
            f"the columns of {path} are {choices(header)}: which holds the {'genes' if gene is None else 'texts'} is "
            f"not clear; name it with {missing}="
        )
    return gene, text


def read_frame(path: Path) -> tuple[pd.DataFrame, str]:
    """Read a table of any of the formats; returns it with all cells as they are, and the SHA-256 of the file.

    Raises
    ------
    InputError
        If the file is missing, damaged, or of another kind.
    MissingDependencyError
        If pyarrow is needed and not installed.
    """
    if not path.is_file():
        raise InputError(f"no file '{path}'")
    raw = path.read_bytes()
    digest = hashlib.sha256(raw).hexdigest()
    packed = path.suffix == ".gz"
    kind = Path(path.stem).suffix if packed else path.suffix
    readers = {
        ".tsv": _read_text, ".txt": _read_text, ".tab": _read_text, ".csv": _read_text, ".json": _read_json,
        ".jsonl": _read_lines, ".parquet": _read_parquet,
    }  # fmt: skip
    if kind not in readers:
        raise InputError(f"'{path}' is not a table that can be read; give one of {_READS}")
    try:
        return readers[kind](gzip.decompress(raw) if packed else raw, kind), digest
    except (ValueError, OSError, EOFError, zlib.error, AttributeError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"'{path}' cannot be read as {kind}: {reason}") from error


def _read_text(raw: bytes, kind: str) -> pd.DataFrame:
    text = raw.decode("utf-8-sig")
    first = text.partition("\n")[0]
    separator = "," if kind == ".csv" or ("\t" not in first and "," in first) else "\t"
    csv.field_size_limit(1 << 24)
    # A quotation mark within a tab-separated cell is most often just that: only cells wholly in quotes are unquoted.
    plain = (line.rstrip("\r").split("\t") for line in text.split("\n"))
    lines = list(csv.reader(io.StringIO(text)) if separator == "," else plain)
    if not text.strip():
        raise ValueError("the file is empty")
    header, rows = [_unquoted(cell) for cell in lines[0]], [line for line in lines[1:] if line not in ([], [""])]
    if rows and all(len(line) == len(header) + 1 for line in rows):
        header = ["index", *header]  # as R writes it
    for number, line in enumerate(rows, start=2):
        if len(line) != len(header):
            raise ValueError(f"line {number} has {len(line)} cells, the first has {len(header)}")
    cells = [[_unquoted(cell) for cell in line] for line in rows] if separator == "\t" else rows
    # As strings, none of them missing: there is a gene called NAN.
    return pd.DataFrame(cells, columns=header, dtype=object)


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def _read_json(raw: bytes, kind: str) -> pd.DataFrame:
    content = json.loads(raw)
    if isinstance(content, dict):
        if all(isinstance(value, dict) for value in content.values()):
            return pd.DataFrame([{"gene": key, **value} for key, value in content.items()])
        if any(isinstance(value, list | dict) for value in content.values()):
            raise ValueError("an object of gene -> text, or a list of records, is needed")
        return pd.DataFrame({"gene": list(content), "text": list(content.values())}, dtype=object)
    if isinstance(content, list) and all(isinstance(record, dict) for record in content):
        return pd.DataFrame(content, dtype=object)
    raise ValueError("an object of gene -> text, or a list of records, is needed")


def _read_lines(raw: bytes, kind: str) -> pd.DataFrame:
    return _read_json(b"[" + b",".join(line for line in raw.splitlines() if line.strip()) + b"]", kind)


def _read_parquet(raw: bytes, kind: str) -> pd.DataFrame:
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("reading Parquet needs pyarrow: pip install 'lexicell[parquet]'") from error
    frame = pd.read_parquet(io.BytesIO(raw))
    # pandas keeps a named or textual index apart from the columns; here it may well hold the genes.
    if frame.index.name is not None or not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index(names=frame.index.name or "index")
    return frame
