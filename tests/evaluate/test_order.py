"""Orders scored against time: text must win where it is planted and not where texts are shuffled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.stats import kendalltau, spearmanr

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError
from lexicell._evaluate.order import _summary, order_scores, order_verdict, truth_of
from lexicell._evaluate.representations import Evaluation, Fitted, Representation
from lexicell.core.controls import shuffled

N_GENES, N_CELLS = 900, 240


def planted(seed: int = 3) -> tuple[anndata.AnnData, lx.GeneEmbedding]:
    """Shallow cells on a line from one meaning to another: no gene tells the time, a meaning's genes do together."""
    rng = np.random.default_rng(seed)
    meaning = np.arange(N_GENES) % 6
    time = np.sort(rng.random(N_CELLS))
    rates = np.ones((N_CELLS, N_GENES)) * rng.gamma(2.0, 1.0, N_GENES)
    rates[:, meaning == 0] *= (1 + 3 * (1 - time))[:, None]
    rates[:, meaning == 1] *= (1 + 3 * time)[:, None]
    counts = rng.poisson(rates / rates.sum(axis=1, keepdims=True) * 150)
    names = [f"g{i}" for i in range(N_GENES)]
    obs = pd.DataFrame({"hours": np.floor(time * 4) * 24, "time": time}, index=[f"c{i}" for i in range(N_CELLS)])
    obs["stage"] = pd.Categorical(np.array(list("wxyz"))[np.floor(time * 4).astype(int)])
    adata = anndata.AnnData(sp.csr_matrix(counts.astype(np.float32)), obs=obs, var=pd.DataFrame(index=names))
    vectors = 4 * np.eye(6, 8)[meaning] + rng.normal(size=(N_GENES, 8))
    return adata, lx.GeneEmbedding.from_vectors(names, vectors)


def score(adata: anndata.AnnData, genes: lx.GeneEmbedding, **options: Any) -> Evaluation:
    return lx.evaluate_order(adata, genes=genes, **{"time": "hours", "n_controls": 1, "n_bootstraps": 3, **options})


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return score(*planted())


def test_text_orders_cells_where_it_is_planted(found: Evaluation) -> None:
    rho = found.table["spearman_mean"]
    assert rho["whitened"] > 0.85
    assert rho["whitened"] > rho["whitened, shuffled texts"] + 0.2
    assert rho["fused"] > found.table.loc[found.table["kind"] == "expression", "spearman_mean"].max() + 0.1
    assert found.verdict.startswith("Text helps to order these cells")
    assert found.table.loc["fused", "gain_low"] > 0


def test_shuffled_texts_do_not(found: Evaluation) -> None:
    adata, genes = planted()
    control = score(adata, shuffled(genes, seed=99))
    assert not control.verdict.startswith("Text helps")
    assert control.table.loc["whitened", "spearman_mean"] < found.table.loc["whitened", "spearman_mean"] - 0.2


def test_every_representation_has_every_score_and_draw(found: Evaluation) -> None:
    assert set(found.table["kind"]) == {"text", "expression", "control"}
    assert all(sorted(d) == [-1, 0, 1, 2] for _, d in found.scores.groupby("representation")["draw"])
    numbers = ["spearman", "kendall", "spearman_low", "spearman_high", "gain", "gain_low", "gain_high"]
    assert not found.table[numbers].isna().any().any()
    best = found.table.loc[found.table["kind"] == "expression", "spearman_mean"].idxmax()
    assert found.table.loc[best, "gain"] == 0
    assert found.params["root"] == "cells of the first hours (0)"


def line(points: np.ndarray, time: np.ndarray, **columns: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    adata = anndata.AnnData(obs=pd.DataFrame({"t": time, **columns}, index=[f"c{i}" for i in range(len(time))]))
    branch = "arm" if "arm" in columns else None
    truth = truth_of(adata, time="t", order=None, root=None, branch=branch)
    names = ["fused", "fused, shuffled texts", "fused, random vectors", "PCA"]
    kinds = ["text", "control", "control", "expression"]
    made = Fitted(points, lambda cells: points)
    jobs = [Representation(n, k, 0, lambda cells: made) for n, k in zip(names, kinds, strict=True)]
    scores = order_scores(jobs, adata, truth, n_draws=2, rng=0, show_progress=False)
    return _summary(scores), scores


def test_the_score_is_that_of_the_public_trajectory() -> None:
    rng = np.random.default_rng(0)
    time = rng.random(120)
    points = np.column_stack([3 * time + rng.normal(scale=0.4, size=120), rng.normal(size=(120, 2))])
    table, scores = line(points, time)
    first = np.flatnonzero(time <= np.quantile(time, 0.05))
    adata = anndata.AnnData(
        obsm={"X_p": points.astype(np.float32)}, obs={"first": np.isin(range(120), first).astype(str)}
    )
    lx.tl.trajectory(adata, root="first=True", use_rep="X_p", n_bootstraps=0)
    assert table.loc["fused", "spearman"] == pytest.approx(spearmanr(adata.obs["p_pseudotime"], time)[0])
    assert table.loc["fused", "kendall"] == pytest.approx(kendalltau(adata.obs["p_pseudotime"], time)[0])
    # The same draws for all: equal points, equal scores, no gain.
    assert (scores.groupby("draw")["spearman"].nunique() == 1).all()
    assert (table["gain"] == 0).all()


def test_branches_are_scored_where_the_truth_has_them() -> None:
    rng = np.random.default_rng(1)
    t, arm = np.sort(rng.random(240)), rng.integers(2, size=240)
    late = np.maximum(t - 0.4, 0)
    points = np.column_stack([np.minimum(t, 0.4), late * (arm == 0), late * (arm == 1), np.zeros((240, 3))])
    points += rng.normal(scale=0.04, size=points.shape)
    truth = np.where(t < 0.4, "trunk", np.where(arm == 0, "x", "y"))
    good, _ = line(points, t, arm=truth)
    bad, _ = line(points, t, arm=rng.permutation(truth))
    assert good.loc["fused", "branch_f1"] > 0.85
    assert good.loc["fused", "branches"] == 2
    assert bad.loc["fused", "branch_f1"] < 0.55


def given(fused: float, pca: float, control: float, low: float, behind_low: float) -> pd.DataFrame:
    rows = {"fused": ("text", fused), "PCA": ("expression", pca)}
    rows |= {f"fused, {c}": ("control", control) for c in ("shuffled texts", "random vectors")}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["kind", "spearman_mean"])
    table["gain"] = table["spearman_mean"] - pca
    table["gain_low"], table["gain_high"] = low, -low
    table["behind_fused"], table["behind_fused_low"] = fused - control, behind_low
    return table


@pytest.mark.parametrize(
    ("table", "cells", "words"),
    [
        pytest.param(given(0.7, 0.6, 0.6, 0.01, 0.01), 1000, "Text helps to order", id="helps"),
        pytest.param(given(0.7, 0.6, 0.6, -0.01, 0.01), 1000, "Text adds nothing", id="draws-disagree"),
        pytest.param(given(0.7, 0.6, 0.69, 0.01, 0.01), 1000, "but its controls do too", id="shared-gain"),
        pytest.param(given(0.68, 0.6, 0.5, 0.01, 0.01), 271, "is above its own controls", id="few-cells"),
        pytest.param(given(0.4, 0.6, 0.4, 0.01, 0.0), 1000, "Text costs accuracy", id="costs"),
    ],
)
def test_the_verdict_follows_its_rule(table: pd.DataFrame, cells: int, words: str) -> None:
    assert words in order_verdict(table, cells)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        pytest.param({"time": "hour"}, MissingKeyError, "'hour'.*Did you mean 'hours'", id="no-column"),
        pytest.param(
            {"time": "stage"}, InputError, r"neither numbers nor an ordered.*first to last with order=", id="no-order"
        ),
        pytest.param(
            {"time": "stage", "order": ["w", "x"]}, InputError, r"\['y', 'z'\], not in order", id="short-order"
        ),
        pytest.param({"time": "same"}, InputError, "240 cells with 1 different values", id="one-time"),
        pytest.param({"time": "few"}, InputError, "20 cells with 2 different", id="few-cells"),
        pytest.param({"root": "c9999"}, InputError, "no cell 'c9999' in obs_names; the nearest are", id="no-root"),
        pytest.param({"root": "stage=v"}, InputError, "'v'", id="no-value"),
        pytest.param({"root": "words:early"}, InputError, "depends on a representation", id="root-in-words"),
        pytest.param({"branches": "one"}, InputError, "fewer than two branches", id="one-branch"),
        pytest.param({"n_bootstraps": 1}, InputError, "at least 2 draws", id="one-draw"),
    ],
)
def test_bad_input_is_refused_before_anything_is_computed(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    adata, genes = planted()
    adata.obs["same"], adata.obs["one"] = 1.0, "trunk"
    adata.obs["few"] = adata.obs["hours"].where(adata.obs["time"].rank() % 12 == 0).clip(upper=24)
    with pytest.raises(error, match=words):
        score(adata, genes, **options)


def test_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from lexicell.cli import main

    adata, genes = planted()
    adata.obs.loc["c3", "stage"] = np.nan
    adata.write_h5ad(tmp_path / "cells.h5ad")
    genes.save(tmp_path / "genes.h5ad")
    out = tmp_path / "scores.tsv"

    def call(*words: object) -> int:
        try:
            main(
                [
                    "evaluate",
                    str(tmp_path / "cells.h5ad"),
                    "--genes",
                    str(tmp_path / "genes.h5ad"),
                    "-o",
                    str(out),
                    *map(str, words),
                ]
            )
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    assert call("--label", "stage", "--time", "stage") == 2
    assert "--label, a column of known labels, or --time" in " ".join(capfd.readouterr().err.split())
    assert call("--label", "stage", "--root", "c1") == 2
    assert "--root does nothing with --label" in capfd.readouterr().err
    assert call("--time", "stage") == 2
    assert "from first to last with --order" in capfd.readouterr().err
    assert call("--time", "stage", "--order", "w,x,y,z", "--n-controls", 1, "--n-bootstraps", 2) == 0
    said = capfd.readouterr()
    table = pd.read_csv(out, sep="\t", index_col=0)
    assert table.loc["whitened", "spearman"] > 0.8
    assert "left out: (no time) (1 cells)" in said.err
    assert f"{out}: table and figure written" in " ".join(said.err.split())
    assert "rho" in said.out
