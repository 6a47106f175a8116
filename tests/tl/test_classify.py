"""tl.classify_vulnerability and its use on other cells."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError
from lexicell.core.transfer.classify import LinearClassifier


def _cells(seed=0, n_donors=5, per=24):
    rng = np.random.default_rng(seed)
    donor = np.repeat(np.arange(n_donors), per)
    kind = np.array(["motor", "astro", "oligo"], dtype=object)[np.arange(len(donor)) % 3]
    C = np.random.default_rng(9 + seed).normal(size=(n_donors, 6))[donor] + rng.normal(size=(len(donor), 6))
    C[kind == "motor", 0] += 4
    obs = pd.DataFrame({"kind": kind, "donor": [f"d{d}" for d in donor]}, index=[f"c{i}" for i in range(len(donor))])
    adata = ad.AnnData(np.zeros((len(donor), 1), dtype=np.float32), obs=obs)
    adata.obsm["X_mine"] = C.astype(np.float32)
    return adata


DESIGN = lx.StudyDesign(cell_type="kind", donor="donor")
OPTIONS = {"design": DESIGN, "positive": "motor", "use_rep": "X_mine"}


def test_scores_model_and_probabilities(tmp_path):
    adata = _cells()
    lx.tl.classify_vulnerability(adata, **OPTIONS)
    result = adata.uns["lexicell"]["X_mine"]["classify_vulnerability"]
    assert result["table"]["method"].tolist() == ["logistic regression"]
    assert (result["table"]["auroc"] > 0.85).all()
    means = adata.obs.groupby("kind", observed=True)["mine_p_vulnerable"].mean()
    assert means["motor"] > 0.7 > 0.4 > means["astro"]
    adata.write_h5ad(tmp_path / "a.h5ad")
    stored = ad.read_h5ad(tmp_path / "a.h5ad").uns["lexicell"]["X_mine"]["classify_vulnerability"]["model"]
    assert np.array_equal(
        LinearClassifier.from_dict(stored).probability(adata.obsm["X_mine"]),
        LinearClassifier.from_dict(result["model"]).probability(adata.obsm["X_mine"]),
    )


def test_named_negatives_leave_other_cells_out():
    adata = _cells()
    lx.tl.classify_vulnerability(adata, negative=["astro"], **OPTIONS)
    left = adata.obs["mine_p_vulnerable"].isna()
    assert (adata.obs.loc[left, "kind"] == "oligo").all()
    assert left.sum() == (adata.obs["kind"] == "oligo").sum()


@pytest.mark.parametrize("form", ["object", "model", "file"])
def test_it_applies_to_other_cells(tmp_path, form):
    adata, other = _cells(), _cells(seed=3)
    lx.tl.classify_vulnerability(adata, **OPTIONS)
    model = LinearClassifier.from_dict(adata.uns["lexicell"]["X_mine"]["classify_vulnerability"]["model"])
    model.save(tmp_path / "m.json")
    given = {"object": adata, "model": model, "file": tmp_path / "m.json"}[form]
    lx.tl.classify_vulnerability(other, model=given, use_rep="X_mine")
    assert np.array_equal(other.obs["mine_p_vulnerable"].to_numpy(), model.probability(other.obsm["X_mine"]))


def test_another_gene_space_is_refused():
    adata, other = _cells(), _cells(seed=3)
    for a, axes in ((adata, np.eye(6)), (other, np.eye(6)[::-1])):
        a.uns["lexicell"] = {"X_mine": {"space": {"V": axes.astype(np.float32)}}}
    lx.tl.classify_vulnerability(adata, **OPTIONS)
    with pytest.raises(InputError, match="different gene spaces"):
        lx.tl.classify_vulnerability(other, model=adata, use_rep="X_mine")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"positive": "neuron"}, MissingKeyError, "no value in obs"),
        ({"label": "nothing"}, MissingKeyError, "no column in obs 'nothing'"),
        ({"negative": ["motor"]}, InputError, "both positive and negative"),
        ({"positive": ["motor", "astro", "oligo"]}, InputError, "negative class has cells of 0 donors"),
        ({"design": None}, InputError, "either a design to learn from or the model= to apply"),
        ({"model": "m.json"}, InputError, "either a design"),
        ({"design": lx.StudyDesign(donor="donor")}, InputError, "name the column with the classes"),
        ({"positive": ()}, InputError, "name the column with the classes"),
    ],
    ids=["value", "column", "overlap", "one class", "no design", "both", "no column", "no positive"],
)
def test_bad_labels(options, error, message):
    with pytest.raises(error, match=message):
        lx.tl.classify_vulnerability(_cells(), **{**OPTIONS, **options})


def test_z_scores_about_another_mean_are_refused_and_projected_cells_taken():
    rng = np.random.default_rng(0)
    kind = np.array(["a", "b"])[np.arange(120) % 2]
    rate = np.exp(rng.normal(0, 1, 60)) * np.where((kind == "a")[:, None] & (np.arange(60) < 20), 3, 1)
    obs = pd.DataFrame({"kind": kind, "donor": np.arange(120) // 2 % 4}, index=[f"c{i}" for i in range(120)])
    adata = ad.AnnData(rng.poisson(rate).astype(np.float32), obs=obs)
    genes = lx.GeneEmbedding.from_vectors(list(adata.var_names), rng.normal(size=(60, 10)))
    lx.emb.cells(adata, genes, preset="whitened")
    lx.tl.classify_vulnerability(adata, DESIGN, positive="a")
    new = adata[kind == "a"].copy()
    lx.emb.cells(new, genes, preset="whitened")
    with pytest.raises(InputError, match=r"emb\.project"):
        lx.tl.classify_vulnerability(new, model=adata)
    lx.emb.project(new, adata, genes)
    lx.tl.classify_vulnerability(new, model=adata)
    lx.tl.classify_vulnerability(adata, model=adata)
    there = adata.obs.loc[new.obs_names, "text_p_vulnerable"]
    assert new.obs["text_p_vulnerable"].to_numpy() == pytest.approx(there.to_numpy(), abs=1e-3)


def test_a_label_of_donors_has_an_interval_and_a_p_over_donors():
    """Eight donors that differ; the label is that of the donor, drawn by lot, and then told by one dimension."""
    rng = np.random.default_rng(5)
    donor = np.repeat(np.arange(8), 10)
    label = np.where(donor < 4, "als", "control")
    C = 0.7 * rng.normal(size=(8, 10))[donor] + rng.normal(size=(80, 10))
    obs = pd.DataFrame({"label": label, "donor": donor.astype(str)}, index=[f"c{i}" for i in range(80)])
    adata = ad.AnnData(np.zeros((80, 1), dtype=np.float32), obs=obs)
    for shift, seen in ((0.0, False), (6.0, True)):
        C[:, 0] += shift * (label == "als")
        adata.obsm["X_mine"] = C.astype(np.float32)
        lx.tl.classify_vulnerability(adata, DESIGN, label="label", positive="als", use_rep="X_mine")
        row = adata.uns["lexicell"]["X_mine"]["classify_vulnerability"]["table"].iloc[0]
        assert (row["p"] <= 0.05) == seen
        assert row["auroc_low"] <= row["auroc"] <= row["auroc_high"]
    one = _cells()
    lx.tl.classify_vulnerability(one, **OPTIONS)
    assert np.isnan(one.uns["lexicell"]["X_mine"]["classify_vulnerability"]["table"]["p"].iloc[0])
