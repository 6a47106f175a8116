"""The bundled vectors belong to the bundled texts, and the local embedder computes them again."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest

from lexicell._errors import MissingDependencyError
from lexicell.sources.bundled import DATA, ORGANISMS, load_manifest, load_table, load_terms, load_texts, load_vectors

MANIFEST = load_manifest()


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return load_texts()


def test_texts_are_those_of_the_manifest(texts: list[str]) -> None:
    assert len(texts) == MANIFEST["texts"]["n"] == len(set(texts))
    assert "" not in texts
    assert hashlib.sha256("\n".join(texts).encode()).hexdigest() == MANIFEST["texts"]["sha256"]


@pytest.mark.parametrize("name", sorted(MANIFEST["files"]))
def test_files_are_those_of_the_manifest(name: str) -> None:
    assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == MANIFEST["files"][name]


def test_vectors_are_those_of_the_manifest() -> None:
    vectors = load_vectors()
    entry = MANIFEST["vectors"]
    assert hashlib.sha256((DATA / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
    assert list(vectors.shape) == entry["shape"] == [MANIFEST["texts"]["n"], 384]
    assert vectors.dtype == np.float16
    norms = np.linalg.norm(np.asarray(vectors, dtype=np.float32), axis=1)
    np.testing.assert_allclose(norms, 1, atol=2e-3)


def test_a_random_sample_computed_again(texts: list[str]) -> None:
    """Half precision keeps 11 bits: entries of a unit vector differ by 2**-11 of their size, and by arithmetic."""
    pytest.importorskip("tokenizers", reason="needs the extra 'local'")
    from lexicell.embedders.local import Local

    assert MANIFEST["vectors"]["revision"] == Local.revision
    rows = np.random.default_rng(20).choice(len(texts), size=48, replace=False)
    try:
        again = Local(n_jobs=1).embed([texts[row] for row in rows])
    except MissingDependencyError as error:
        pytest.skip(f"needs the weights of the extra 'local': {error}")
    shipped = np.asarray(load_vectors()[rows], dtype=np.float32)
    np.testing.assert_allclose(shipped, again, atol=2e-4)
    cosine = (shipped * again).sum(axis=1) / np.linalg.norm(shipped, axis=1) / np.linalg.norm(again, axis=1)
    assert cosine.min() > 0.999999


def test_no_text_is_longer_than_the_model_reads(texts: list[str]) -> None:
    pytest.importorskip("tokenizers", reason="needs the extra 'local'")
    from lexicell.embedders.local import Local

    try:
        assert len(Local(n_jobs=1).truncated(texts)) == 0
    except MissingDependencyError as error:
        pytest.skip(f"needs the weights of the extra 'local': {error}")


@pytest.mark.parametrize("organism", ORGANISMS)
def test_table_is_sound(organism: str) -> None:
    table = load_table(organism)
    counts = MANIFEST["counts"][organism]
    assert len(table) == counts["genes"]
    for column in ("gene_id", "accession"):
        values = [value for value in table.column(column) if value]
        assert len(values) == len(set(values)), f"{column} stands twice"
    assert all(table.symbol)
    assert all(value.isdigit() for value in table.gene_id if value)
    human = load_table("human").row_of_gene_id
    assert all(gene_id in human for gene_id in table.human_gene_id if gene_id)
    n = MANIFEST["texts"]["n"]
    for column in ("text_row", "name_row"):
        rows = np.array(table.extra[column], dtype=int)
        assert rows.min() >= -1
        assert rows.max() < n
    assert (np.array(table.extra["text_row"], dtype=int) >= 0).sum() == counts["with_text"]


def test_terms_are_those_used() -> None:
    used = {term for cell in load_table("human").go if cell for term in cell.split("|")}
    assert used == set(load_terms())
    assert not used & {"GO:0008150", "GO:0003674", "GO:0005575", "GO:0005515"}
    ids = list(load_terms())
    assert all(a < b for a, b in pairwise(ids))


@pytest.mark.parametrize("symbol", ["XIST", "MALAT1", "MT-CO1", "IGKC", "TRBV20-1", "MIR124-1", "SNORD13", "RPL23AP7"])
def test_named_genes_beyond_proteins(symbol: str) -> None:
    assert symbol in set(load_table("human").symbol)
