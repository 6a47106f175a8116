"""The planted data: what was asked for is there, in the cells it was asked for, and nowhere else."""

from __future__ import annotations

import warnings
from dataclasses import fields

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from lexicell import datasets
from lexicell._errors import InputError, MissingKeyError
from lexicell.datasets import PlantedDonors

PROGRAM = [f"g{i}" for i in range(10)]


@pytest.fixture(scope="module")
def base() -> anndata.AnnData:
    """Two hundred cells of four types with different compositions over 120 genes."""
    rng = np.random.default_rng(3)
    labels = np.repeat(["alpha", "beta", "gamma", "delta"], 50)
    rates = rng.gamma(2.0, 1.0, (4, 120))
    counts = rng.poisson(rates[np.repeat(np.arange(4), 50)] * rng.uniform(2, 6, (200, 1)))
    obs = pd.DataFrame({"kind": labels}, index=[f"real{i}" for i in range(200)])
    return anndata.AnnData(
        sp.csr_matrix(counts.astype(np.float32)), obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(120)])
    )


def plant(base: anndata.AnnData, **changes: object) -> anndata.AnnData:
    """The options of the donors are given beside the others."""
    donors = {f.name: changes.pop(f.name) for f in fields(PlantedDonors) if f.name in changes}
    options = {"cell_type": "kind", "target": "beta", "program": PROGRAM, "fold": 3.0, "fraction": 1.0, "rng": 5}
    return datasets.planted_vulnerability(base, donors=PlantedDonors(**donors), **{**options, **changes})


def program_share(adata: anndata.AnnData) -> pd.Series:
    counts = pd.DataFrame(adata.X.toarray(), index=adata.obs_names, columns=adata.var_names)
    share = counts[PROGRAM].sum(axis=1) / counts.sum(axis=1)
    return share.groupby([adata.obs["kind"], adata.obs["condition"]], observed=True).mean()


def test_pbmc_counts_are_the_counts_behind_the_logged_values() -> None:
    import scanpy

    adata = datasets.pbmc68k_counts()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = scanpy.datasets.pbmc68k_reduced().raw.X.toarray()
    counts = adata.X.toarray().astype(np.float64)
    assert (counts == np.round(counts)).all()
    np.testing.assert_allclose(
        np.log1p(counts / adata.obs["n_counts"].to_numpy()[:, None] * 1e4), raw, rtol=0, atol=6e-4
    )
    assert adata.obs["cell_type"].nunique() == 10


def test_only_the_target_in_disease_carries_the_program(base: anndata.AnnData) -> None:
    share = program_share(plant(base))
    ratio = share.xs("disease", level="condition") / share.xs("control", level="condition")
    assert ratio["beta"] > 1.8
    assert ratio.drop("beta").between(0.8, 1.25).all()


def test_hits_are_marked_and_follow_the_fraction(base: anndata.AnnData) -> None:
    adata = plant(base, fraction=0.5, cells=300)
    obs = adata.obs
    could = (obs["kind"] == "beta") & (obs["condition"] == "disease")
    assert not obs.loc[~could, "planted_hit"].any()
    assert 0.45 < obs.loc[could, "planted_hit"].mean() < 0.55
    assert adata.uns["lexicell"]["planted"]["target"] == "beta"


def test_without_a_target_nothing_is_planted(base: anndata.AnnData) -> None:
    adata = plant(base, target=None)
    assert not adata.obs["planted_hit"].any()
    share = program_share(adata)
    ratio = share.xs("disease", level="condition") / share.xs("control", level="condition")
    assert ratio.between(0.8, 1.25).all()


def test_depletion_removes_cells_of_that_type_in_disease_only(base: anndata.AnnData) -> None:
    adata = plant(base, remaining={"gamma": 0.3}, cells=200, uneven=False)
    cells = pd.crosstab(adata.obs["kind"], adata.obs["condition"])
    ratio = cells["disease"] / cells["control"]
    assert 0.15 < ratio["gamma"] < 0.5
    assert ratio.drop("gamma").between(0.6, 1.6).all()


def test_depth_scales_diseased_donors(base: anndata.AnnData) -> None:
    deep, shallow = plant(base, target=None), plant(base, target=None, depth=0.5)
    mean = [a.obs.groupby("condition", observed=True)["n_counts"].mean() for a in (deep, shallow)]
    assert mean[1]["control"] == pytest.approx(mean[0]["control"], rel=0.05)
    assert mean[1]["disease"] == pytest.approx(0.5 * mean[0]["disease"], rel=0.05)


def test_donors_differ_by_about_the_donor_effect(base: anndata.AnnData) -> None:
    """Between donors the log composition varies by what was asked for; else only sampling noise is left."""

    def spread(adata: anndata.AnnData) -> float:
        counts = pd.DataFrame(adata.X.toarray()).groupby(adata.obs["donor"].to_numpy()).sum()
        return float(np.log(counts.div(counts.sum(axis=1), axis=0)).std().median())

    options = {"target": None, "type_sd": 0.0, "cells": 400}
    assert spread(plant(base, sd=0.4, **options)) == pytest.approx(0.4, abs=0.08)
    assert spread(plant(base, sd=0.0, **options)) < 0.1


@pytest.mark.parametrize("paired", [False, True], ids=["unpaired", "paired"])
def test_donors_and_conditions(base: anndata.AnnData, paired: bool) -> None:
    adata = plant(base, n=3, paired=paired)
    donors = adata.obs.groupby("donor", observed=True)["condition"].nunique()
    assert len(donors) == (3 if paired else 6)
    assert (donors == (2 if paired else 1)).all()


def test_the_seed_decides_everything(base: anndata.AnnData) -> None:
    a, b, c = plant(base), plant(base), plant(base, rng=6)
    assert (a.X != b.X).nnz == 0
    pd.testing.assert_frame_equal(a.obs, b.obs)
    assert a.shape != c.shape or (a.X != c.X).nnz > 0


def test_the_truth_repeats_the_study(base: anndata.AnnData) -> None:
    options = {"n": (3, 5), "cells": 20, "remaining": {"gamma": 0.4}, "depth": 0.8, "uneven": False}
    first = plant(base, **options)
    truth = dict(first.uns["lexicell"]["planted"])
    seed = truth.pop("seed")
    truth.pop("note")
    truth["conditions"] = tuple(truth["conditions"])
    truth["donors"] = PlantedDonors(**{**truth["donors"], "n": tuple(int(n) for n in truth["donors"]["n"])})
    again = datasets.planted_vulnerability(base, cell_type="kind", rng=seed, **truth)
    assert (first.X != again.X).nnz == 0
    pd.testing.assert_frame_equal(first.obs, again.obs)


def test_library_size_counts_genes_that_are_not_in_the_matrix(base: anndata.AnnData) -> None:
    some = base.copy()
    some.obs["total"] = np.asarray(base.X.sum(axis=1)).ravel() * 4
    adata = plant(some, target=None, library_size="total")
    inside = np.asarray(adata.X.sum(axis=1)).ravel()
    assert (inside / adata.obs["n_counts"]).mean() == pytest.approx(0.25, abs=0.03)


def test_the_base_is_not_changed_and_the_result_can_be_written(base: anndata.AnnData, tmp_path: object) -> None:
    before = base.X.copy()
    adata = plant(base, remaining={"gamma": 0.5})
    assert (before != base.X).nnz == 0
    adata.write_h5ad(tmp_path / "planted.h5ad")
    again = anndata.read_h5ad(tmp_path / "planted.h5ad")
    assert list(again.uns["lexicell"]["planted"]["program"]) == PROGRAM


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        pytest.param({"cell_type": "nope"}, MissingKeyError, "there is 'kind'", id="column"),
        pytest.param({"target": "betta"}, MissingKeyError, "Did you mean 'beta'", id="target"),
        pytest.param({"program": ["g1", "zzz"]}, MissingKeyError, "'zzz'", id="gene"),
        pytest.param({"fraction": 2}, InputError, "fraction between 0 and 1", id="fraction"),
        pytest.param({"n": (3, 4), "paired": True}, InputError, "paired donors", id="unequal-pairs"),
        pytest.param({"n": 0}, InputError, "must be positive", id="no-donors"),
        pytest.param({"layer": "counts"}, MissingKeyError, "no layer 'counts'", id="layer"),
    ],
)
def test_wrong_arguments_are_refused(
    base: anndata.AnnData, changes: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        plant(base, **changes)


def test_values_that_are_not_counts_are_refused(base: anndata.AnnData) -> None:
    logged = base.copy()
    logged.X = logged.X.log1p()
    with pytest.raises(InputError, match="needs counts"):
        plant(logged)
