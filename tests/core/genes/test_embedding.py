"""GeneEmbedding: wrapping a matrix, looking genes up, the h5ad file."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from lexicell import GeneEmbedding
from lexicell._errors import InputError, MissingKeyError


@pytest.fixture
def genes(rng: np.random.Generator) -> GeneEmbedding:
    names = ["SOD1", "TARDBP", "FUS", "C9orf72"]
    table = pd.DataFrame({"gene_id": ["6647", "23435", "2521", "203228"], "words": [10, 20, 30, 40]}, index=names)
    coverage = pd.DataFrame({"note": ["", "", "", "", "no such gene"]}, index=[*names, "LOC1"])
    provenance = {"source": "test", "date": "2026-01-01", "embedder": {"name": "fake", "dim": 3}, "exact": True}
    return GeneEmbedding.from_vectors(
        names,
        rng.normal(size=(4, 3)),
        texts=[f"text of {n} – µ" for n in names],
        table=table,
        provenance=provenance,
        coverage=coverage,
    )


def test_vectors_are_float32_contiguous_and_not_shared_with_the_caller() -> None:
    given = np.asfortranarray(np.ones((2, 3), dtype=np.float64))
    genes = GeneEmbedding.from_vectors(["a", "b"], given)
    given[:] = 7
    assert genes.vectors.dtype == np.float32
    assert genes.vectors.flags.c_contiguous
    assert (genes.vectors == 1).all()


def test_rows_of_zeros_are_dropped_with_all_that_belongs_to_them() -> None:
    genes = GeneEmbedding.from_vectors(["a", "b", "c"], [[1, 0], [0, 0], [0, 2]], texts=["A", "B", "C"])
    assert list(genes.ids) == ["a", "c"]
    assert list(genes.texts) == ["A", "C"]
    assert list(genes.table.index) == ["a", "c"]


@pytest.mark.parametrize(
    ("ids", "vectors", "words"),
    [
        pytest.param(["a"], np.ones((2, 3)), "do not fit", id="too-few-ids"),
        pytest.param(["a", "b"], np.ones(2), "do not fit", id="one-dimension"),
        pytest.param(["a", "a"], np.ones((2, 3)), "more than once: 'a'", id="id-twice"),
        pytest.param(["a", "b"], [[1, np.nan], [1, 1]], "NaN or infinity: 'a'", id="nan"),
    ],
)
def test_wrong_matrices_are_refused(ids: list[str], vectors: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        GeneEmbedding.from_vectors(ids, vectors)


def test_rows_and_subset(genes: GeneEmbedding) -> None:
    assert genes.rows(["FUS", "nothing", "SOD1"]).tolist() == [2, -1, 0]
    part = genes.subset(["FUS", "SOD1"])
    np.testing.assert_array_equal(part.vectors, genes.vectors[[2, 0]])
    assert list(part.texts) == [genes.texts[2], genes.texts[0]]
    assert part.table["gene_id"].tolist() == ["2521", "6647"]
    with pytest.raises(MissingKeyError, match="1 genes have no vector here: 'nothing'"):
        genes.subset(["SOD1", "nothing"])


def test_hash_depends_on_ids_vectors_and_order(genes: GeneEmbedding) -> None:
    same = GeneEmbedding.from_vectors(list(genes.ids), genes.vectors.astype(np.float64))
    assert same.hash == genes.hash
    assert genes.subset(genes.ids[::-1]).hash != genes.hash
    assert GeneEmbedding.from_vectors(genes.ids, genes.vectors * np.float32(1.001)).hash != genes.hash
    assert GeneEmbedding.from_vectors(["x", *genes.ids[1:]], genes.vectors).hash != genes.hash


def assert_equal(a: GeneEmbedding, b: GeneEmbedding) -> None:
    assert a.hash == b.hash
    assert list(a.texts) == list(b.texts)
    pd.testing.assert_frame_equal(a.table, b.table, check_dtype=False, check_index_type=False, check_column_type=False)
    pd.testing.assert_frame_equal(
        a.coverage, b.coverage, check_dtype=False, check_index_type=False, check_column_type=False
    )
    assert a.provenance == b.provenance


def test_save_and_load_give_the_same_back(genes: GeneEmbedding, tmp_path: Path) -> None:
    path = tmp_path / "genes.h5ad"
    genes.save(path)
    assert_equal(GeneEmbedding.load(path), genes)
    assert [p.name for p in tmp_path.iterdir()] == ["genes.h5ad"]


def test_the_file_is_an_anndata_and_survives_its_rewriting(genes: GeneEmbedding, tmp_path: Path) -> None:
    genes.save(tmp_path / "genes.h5ad")
    adata = anndata.read_h5ad(tmp_path / "genes.h5ad")
    np.testing.assert_array_equal(adata.X, genes.vectors)
    assert adata.obs_names.tolist() == list(genes.ids)
    assert adata.obs["text"].tolist() == list(genes.texts)
    adata.write_h5ad(tmp_path / "again.h5ad")
    assert_equal(GeneEmbedding.load(tmp_path / "again.h5ad"), genes)


@pytest.mark.parametrize("content", [b"", b"not hdf5", None], ids=["empty", "text", "missing"])
def test_other_files_are_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "genes.h5ad"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"genes\.h5ad"):
        GeneEmbedding.load(path)
