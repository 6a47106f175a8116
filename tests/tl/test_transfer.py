"""Labels carried between panels that share no gene, some genes, or all; controls know nothing."""

from __future__ import annotations

import subprocess
import sys

import anndata
import numpy as np
import pytest

import lexicell as lx
from lexicell import tl
from lexicell._errors import InputError, MissingKeyError
from lexicell.core.controls import random_vectors, shuffled
from lexicell.core.genes.embedding import GeneEmbedding
from lexicell.core.transfer.align import TransferModel

OPTIONS = {"label": "kind", "truth": "kind"}


@pytest.fixture
def halves(kinds_adata):
    """The same kinds in two data sets without a common cell or gene."""
    del kinds_adata.uns["lexicell"]
    return kinds_adata[::2, ::2].copy(), kinds_adata[1::2, 1::2].copy()


def _recall(adata, key="text_transfer"):
    return adata.uns["lexicell"][key]["report"]["recall"].mean()


@pytest.mark.parametrize("method", ["aligned", "rotated", "text"])
def test_labels_cross_between_panels_without_a_common_gene(halves, planted_genes, method):
    one, other = halves
    tl.transfer(one, other, method=method, genes=planted_genes, **OPTIONS)
    assert _recall(other) > 0.9
    table = other.uns["lexicell"]["text_transfer"]["table"]
    assert table["shared_genes"].tolist() == [0]
    assert table["p"].iloc[0] < 0.05


@pytest.mark.parametrize("control", [shuffled, random_vectors], ids=["shuffled", "random"])
def test_controls_are_at_chance_on_average_and_are_called_so(halves, planted_genes, control):
    one, other = halves
    scores, p = [], []
    for seed in range(12):
        genes = control(planted_genes, seed=seed)
        tl.transfer(one, other, genes=genes, method="rotated", **OPTIONS)
        scores.append(_recall(other))
        p.append(other.uns["lexicell"]["text_transfer"]["table"]["p"].iloc[0])
    assert np.mean(scores) < 0.5  # chance is 1/3, and a control is all right or all wrong by kind
    assert np.mean(np.asarray(p) < 0.05) < 0.3
    assert "do not trust" in other.uns["lexicell"]["text_transfer"]["advice"] or p[-1] <= 0.05


def test_labels_of_the_target_are_never_used(halves, planted_genes):
    one, other = halves
    tl.transfer(one, other, genes=planted_genes, **OPTIONS)
    before = other.obs["text_transfer"].copy()
    other.obs["kind"] = other.obs["kind"].to_numpy()[np.random.default_rng(0).permutation(other.n_obs)]
    tl.transfer(one, other, genes=planted_genes, **OPTIONS)
    assert (other.obs["text_transfer"].astype(str) == before.astype(str)).all()
    assert _recall(other) < 0.5


def test_shared_genes_are_compared_as_they_are(kinds_adata, planted_genes):
    del kinds_adata.uns["lexicell"]
    one, other = kinds_adata[::2].copy(), kinds_adata[1::2].copy()
    tl.transfer(one, other, genes=shuffled(planted_genes), **OPTIONS)
    result = other.uns["lexicell"]["text_transfer"]
    assert result["table"]["method"].tolist() == ["expression"]
    assert "plain expression was compared" in result["advice"]
    assert _recall(other) > 0.9
    tl.transfer(one, other, genes=planted_genes, method="aligned", **OPTIONS)
    assert "the better choice" in other.uns["lexicell"]["text_transfer"]["advice"]


def test_expression_components_are_those_of_the_source(kinds_adata, planted_genes):
    del kinds_adata.uns["lexicell"]
    one, other = kinds_adata[::2].copy(), kinds_adata[1::2].copy()
    tl.transfer(one, other, genes=planted_genes, method="expression", **OPTIONS)

    def z(a):
        counts = a.X.toarray().astype(float)
        log = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
        sd = log.std(axis=0)
        return (log - log.mean(axis=0)) / np.where(sd > 0, sd, 1)

    Vt = np.linalg.svd(np.clip(z(one), -10, 10), full_matrices=False)[2]
    expected = np.clip(z(other), -10, 10) @ Vt[:3].T
    got = other.obsm["X_text_transfer"]
    for axis in range(3):
        assert abs(np.corrcoef(got[:, axis], expected[:, axis])[0, 1]) > 0.999


def test_a_batch_shift_of_the_target_changes_nothing_but_within_batches(halves, planted_genes):
    """A factor on every gene of the target is taken away by its own z-scores, a batch within it by batch=."""
    one, other = halves
    tl.transfer(one, other, genes=planted_genes, **OPTIONS)
    before = other.obs["text_transfer_best"].astype(str)
    moved = other.copy()
    factor = np.random.default_rng(3).integers(1, 4, other.n_vars)
    moved.X = moved.X.multiply(factor).tocsr()
    tl.transfer(one, moved, genes=planted_genes, **OPTIONS)
    assert (moved.obs["text_transfer_best"].astype(str) == before).mean() > 0.9
    mixed = other.copy()
    mixed.obs["run"] = np.where(np.arange(other.n_obs) % 2, "a", "b")
    scale = np.random.default_rng(4).lognormal(0, 1.0, (2, other.n_vars))[np.arange(other.n_obs) % 2]
    mixed.X = mixed.X.multiply(np.round(scale * 5)).tocsr()
    tl.transfer(one, mixed, genes=planted_genes, **OPTIONS)
    without = _recall(mixed)
    tl.transfer(one, mixed, genes=planted_genes, batch="run", **OPTIONS)
    assert _recall(mixed) > max(0.9, without)


def test_a_saved_model_gives_the_same_labels(halves, planted_genes, tmp_path):
    one, other = halves
    tl.transfer_model(one, label="kind", genes=planted_genes).save(tmp_path / "m.npz")
    direct = tl.transfer(one, other, label="kind", genes=planted_genes, copy=True)
    for given in (tmp_path / "m.npz", TransferModel.load(tmp_path / "m.npz")):
        tl.transfer(given, other, genes=planted_genes)
        np.testing.assert_array_equal(other.obsm["text_transfer"].to_numpy(), direct.obsm["text_transfer"].to_numpy())
    with pytest.raises(InputError, match="a saved model holds no expression"):
        tl.transfer(tmp_path / "m.npz", other, genes=planted_genes, method="expression")


_IN_A_NEW_PROCESS = """
import sys, anndata
import lexicell as lx
from lexicell import tl
from lexicell.core.genes.embedding import GeneEmbedding
folder = sys.argv[1]
target = anndata.read_h5ad(folder + "/target.h5ad")
tl.transfer(folder + "/m.npz", target, genes=GeneEmbedding.load(folder + "/genes.h5ad"))
target.write_h5ad(folder + "/done.h5ad")
"""


def test_a_saved_model_works_in_a_new_process(halves, planted_genes, tmp_path):
    one, other = halves
    tl.transfer_model(one, label="kind", genes=planted_genes).save(tmp_path / "m.npz")
    other.write_h5ad(tmp_path / "target.h5ad")
    planted_genes.save(tmp_path / "genes.h5ad")
    subprocess.run([sys.executable, "-c", _IN_A_NEW_PROCESS, str(tmp_path)], check=True, timeout=300)
    done = anndata.read_h5ad(tmp_path / "done.h5ad")
    tl.transfer(one, other, label="kind", genes=planted_genes)
    np.testing.assert_allclose(done.obsm["text_transfer"], other.obsm["text_transfer"])


def test_several_sources_vote_over_the_classes_they_know(halves, planted_genes):
    one, other = halves
    few, rest = one[one.obs["kind"] != "gamma"].copy(), one[one.obs["kind"] != "alpha"].copy()
    sources = {"few": few, "rest": rest}
    tl.transfer(sources, other, genes=planted_genes, **OPTIONS)
    assert list(other.obsm["text_transfer"].columns) == ["alpha", "beta", "gamma"]
    np.testing.assert_allclose(other.obsm["text_transfer"].sum(axis=1), 1, rtol=1e-5)
    assert other.uns["lexicell"]["text_transfer"]["table"]["source"].tolist() == ["few", "rest"]


def test_the_report_counts_by_class_and_doubt_is_kept_apart(halves, planted_genes):
    one, other = halves
    other.obs["kind"] = other.obs["kind"].astype(object)
    other.obs.iloc[:5, other.obs.columns.get_loc("kind")] = np.nan
    tl.transfer(one, other, genes=planted_genes, min_confidence=0.95, method="text", **OPTIONS)
    found = other.obs["text_transfer_best"].astype(str).to_numpy()
    known = other.obs["kind"].notna().to_numpy()
    real = other.obs["kind"].astype(str).to_numpy()
    result = other.uns["lexicell"]["text_transfer"]
    row = result["report"].set_index("class").loc["beta"]
    mine = known & (real == "beta")
    assert row["recall"] == pytest.approx((found[mine] == "beta").mean())
    assert row["precision"] == pytest.approx((real[known & (found == "beta")] == "beta").mean())
    unsure = (other.obs["text_transfer"] == "unsure").to_numpy()
    assert row["unsure"] == pytest.approx(unsure[mine].mean())
    assert (unsure == (other.obs["text_transfer_confidence"] < 0.95).to_numpy()).all()
    assert result["confusion"].to_numpy().sum() == known.sum()


def test_mouse_names_and_human_names_meet_in_text(halves, planted_genes):
    """No name is shared, and each side brings a gene embedding of its own."""
    one, other = halves
    renamed = {g: g.upper().replace("G", "Mouse") for g in other.var_names}
    mouse = GeneEmbedding.from_vectors(
        [renamed.get(g, g) for g in planted_genes.ids], planted_genes.vectors, provenance=planted_genes.provenance
    )
    other.var_names = [renamed[g] for g in other.var_names]
    tl.transfer(one, other, genes=(planted_genes, mouse), **OPTIONS)
    assert _recall(other) > 0.9


def test_mouse_spelling_gives_what_matching_names_give():
    """Orthologs are shared genes, so that expression is compared across species too."""
    adata = lx.datasets.pbmc68k_counts()
    genes = lx.emb.genes(adata, organism="human")
    one, other = adata[::2].copy(), adata[1::2].copy()
    options = {"label": "cell_type", "truth": "cell_type", "expression": lx.Expression(library_size="n_counts")}
    tl.transfer(one, other, genes=genes, **options)
    human = other.uns["lexicell"]["text_transfer"]
    mouse = other.copy()
    mouse.var_names = [name.capitalize() for name in other.var_names]
    tl.transfer(one, mouse, genes=(genes, lx.emb.genes(mouse, organism="mouse")), **options)
    found = mouse.uns["lexicell"]["text_transfer"]
    assert found["table"]["method"].tolist() == ["expression"]
    assert found["table"]["shared_genes"].iloc[0] > 0.95 * human["table"]["shared_genes"].iloc[0]
    same = mouse.obs["text_transfer_best"].astype(str) == other.obs["text_transfer_best"].astype(str)
    assert same.mean() > 0.95


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_results_survive_a_file_and_only_named_keys_are_written(halves, planted_genes, tmp_path, suffix):
    one, other = halves
    before = other.copy()
    one.obs["kind"] = one.obs["kind"].astype(str).replace({"beta": "beta/delta"}).astype("category")
    new = tl.transfer(one, other, label="kind", truth="kind", genes=planted_genes, map_cells=True, copy=True)
    assert list(other.obs) == list(before.obs)
    assert set(new.obs) - set(before.obs) == {f"text_transfer{s}" for s in ("", "_best", "_confidence", "_runner_up")}
    assert set(new.obsm) - set(before.obsm) == {"text_transfer", "X_text_transfer", "X_text_transfer_umap"}
    getattr(new, f"write_{suffix}")(tmp_path / f"a.{suffix}")
    again = getattr(anndata, f"read_{suffix}")(tmp_path / f"a.{suffix}")
    kept, made = (a.uns["lexicell"]["text_transfer"] for a in (again, new))
    for name in ("table", "report", "confusion"):
        assert kept[name].astype(str).to_dict("list") == made[name].astype(str).to_dict("list")
    np.testing.assert_array_equal(kept["source"]["umap"], made["source"]["umap"])
    assert kept["advice"] == made["advice"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "texts"}, InputError, "unknown method 'texts'"),
        ({"method": "expression"}, InputError, "share 0 varying genes"),
        ({"label": None}, InputError, "label= names the column"),
        ({"label": "knd"}, MissingKeyError, "no column in obs 'knd'"),
        ({"label": "one"}, InputError, "holds 1 classes"),
        ({"truth": "knd"}, MissingKeyError, "no column in obs 'knd'"),
        ({"genes": None}, MissingKeyError, "pass genes="),
        ({"min_confidence": 2}, InputError, "between 0 and 1"),
    ],
    ids=lambda v: "" if not isinstance(v, dict) else next(iter(v)) + str(next(iter(v.values()))),
)
def test_bad_input_is_refused_and_nothing_written(halves, planted_genes, change, error, message):
    one, other = halves
    one.obs["one"] = "same"
    with pytest.raises(error, match=message):
        tl.transfer(one, other, **{"genes": planted_genes, **OPTIONS, **change})
    assert "text_transfer" not in other.obs


def test_data_whose_genes_have_no_text_are_refused(halves, planted_genes):
    one, other = halves
    foreign = GeneEmbedding.from_vectors(["q1", "q2", "q3"], planted_genes.vectors[:3])
    with pytest.raises(InputError, match=r"0 genes of the data have a vector.*of both data sets"):
        tl.transfer(one, other, genes=(planted_genes, foreign), **OPTIONS)
    assert "text_transfer" not in other.obs


def test_texts_of_different_embedders_are_not_compared(halves, planted_genes):
    one, other = halves
    foreign = GeneEmbedding.from_vectors(planted_genes.ids, planted_genes.vectors, provenance={"embedder": "else"})
    with pytest.raises(InputError, match="of different embedders"):
        tl.transfer(one, other, genes=(planted_genes, foreign), **OPTIONS)
