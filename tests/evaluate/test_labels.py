"""The verdict must find text where it is planted and must not find it where texts are shuffled."""

from __future__ import annotations

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError
from lexicell._evaluate.labels import evaluate, verdict
from lexicell._evaluate.representations import Evaluation, compared
from lexicell._expression import DEFAULT_SLOT
from lexicell.core.controls import shuffled

N_GENES, N_CELLS, N_CLASSES = 900, 330, 3


def planted() -> tuple[anndata.AnnData, lx.GeneEmbedding]:
    """Cells so shallow that no gene tells their class, but the genes that share a meaning do together.

    Each class expresses the genes of one meaning at a higher rate; a cell has some eighty counts over nine hundred
    genes. The vectors of genes with one meaning point the same way.
    """
    rng = np.random.default_rng(11)
    meaning = np.arange(N_GENES) % N_CLASSES
    classes = np.repeat(np.arange(N_CLASSES), N_CELLS // N_CLASSES)
    rates = np.where(meaning == classes[:, None], 2.2, 1.0) * rng.gamma(2.0, 1.0, N_GENES)
    counts = rng.poisson(rates / rates.sum(axis=1, keepdims=True) * 80)
    names = [f"g{i}" for i in range(N_GENES)]
    obs = pd.DataFrame({"class": np.array(list("abc"))[classes]}, index=[f"c{i}" for i in range(N_CELLS)])
    adata = anndata.AnnData(sp.csr_matrix(counts.astype(np.float32)), obs=obs, var=pd.DataFrame(index=names))
    vectors = 4 * np.eye(N_CLASSES, 6)[meaning] + rng.normal(size=(N_GENES, 6))
    return adata, lx.GeneEmbedding.from_vectors(names, vectors)


@pytest.fixture(scope="module")
def found() -> Evaluation:
    adata, genes = planted()
    return evaluate(adata, label="class", genes=genes, n_controls=2, n_bootstraps=20)


def test_text_wins_where_it_is_planted(found: Evaluation) -> None:
    ari = found.table["ari"]
    assert ari["whitened"] > ari[found.table["kind"] == "expression"].max() + 0.2
    assert "Text alone is above its controls in: paper, whitened" in found.verdict
    assert not found.verdict.startswith("Text adds nothing")


def test_shuffled_texts_do_not_win(found: Evaluation) -> None:
    adata, genes = planted()
    control = evaluate(adata, label="class", genes=shuffled(genes, seed=99), n_controls=2, n_bootstraps=20)
    assert "Text alone is not above its controls" in control.verdict
    assert control.verdict.startswith(("Text adds nothing", "Text costs"))
    assert found.table.loc["whitened", "ari"] > control.table.loc["whitened", "ari"] + 0.2


def test_every_representation_has_every_score(found: Evaluation) -> None:
    assert set(found.table["kind"]) == {"text", "expression", "control"}
    assert not found.scores.isna().any().any()
    assert found.table["ari_low"].le(found.table["ari"] + 1e-9).all()
    assert found.table["ari_high"].ge(found.table["ari"] - 1e-9).all()
    seeds = found.scores[found.scores["representation"] == "fused, shuffled texts"]
    assert seeds["seed"].tolist() == [0, 1]


def table(fused: float, expression: float, shuffled_ari: float, random_ari: float, sd: float = 0.01) -> pd.DataFrame:
    rows = {"fused": ("text", fused, 0.0), "paper": ("text", 0.1, 0.0), "whitened": ("text", 0.1, 0.0)}
    rows["expression PCA, 300 genes"] = ("expression", expression - 0.1, 0.0)
    rows["scanpy default"] = ("expression", expression, 0.0)
    for name in ("fused", "paper", "whitened"):
        mine = (shuffled_ari, random_ari) if name == "fused" else (0.1, 0.1)
        for control, value in zip(("shuffled texts", "random vectors"), mine, strict=True):
            rows[f"{name}, {control}"] = ("control", value, sd)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["kind", "ari", "ari_sd"])


@pytest.mark.parametrize(
    ("given", "cells", "words"),
    [
        pytest.param(table(0.8, 0.7, 0.7, 0.7), 1000, "Text helps here", id="helps"),
        pytest.param(
            table(0.8, 0.7, 0.79, 0.7), 1000, "fusion beats expression, but so do its controls", id="shared-gain"
        ),
        pytest.param(table(0.8, 0.7, 0.7, 0.7, sd=0.06), 1000, "but so do its controls", id="gain-within-spread"),
        pytest.param(table(0.6, 0.7, 0.5, 0.5), 1000, "Text costs accuracy", id="costs"),
        pytest.param(
            table(0.7, 0.7, 0.6, 0.6), 1000, "carries signal here but adds nothing to expression", id="signal"
        ),
        pytest.param(table(0.7, 0.7, 0.69, 0.69), 1000, "adds nothing over shuffled text", id="nothing"),
        pytest.param(table(0.78, 0.7, 0.7, 0.7), 200, "adds nothing over shuffled text", id="few-cells-wider-margin"),
    ],
)
def test_the_verdict_follows_its_rule(given: pd.DataFrame, cells: int, words: str) -> None:
    assert words in verdict(given, cells)


def labeled(values: list[object]) -> anndata.AnnData:
    adata, _ = planted()
    adata = adata[: len(values)].copy()
    adata.obs["label"] = pd.Series(values, index=adata.obs_names, dtype=object)
    return adata


def negative() -> anndata.AnnData:
    """Scaled values, from which no counts can be had."""
    adata = labeled(["a", "b"] * 9)
    adata.X = sp.csr_matrix(adata.X.toarray() - 1.5)
    return adata


def empty() -> anndata.AnnData:
    adata = labeled(["a", "b"] * 9)
    adata.X = sp.csr_matrix(adata.shape, dtype=np.float32)
    return adata


def beside(**columns: list[object]) -> anndata.AnnData:
    """Eighteen labeled cells with other columns."""
    adata = labeled(["a", "b"] * 9)
    for name, values in columns.items():
        adata.obs[name] = pd.Series(values, index=adata.obs_names, dtype=object)
    return adata


def broken() -> anndata.AnnData:
    adata = labeled(["a", "b"] * 9)
    adata.obsm["X_broken"] = np.full((18, 2), np.nan)
    return adata


AB = labeled(["a", "b"] * 9)


@pytest.mark.parametrize(
    ("adata", "options", "error", "words"),
    [
        pytest.param(labeled(["a"] * 20), {}, InputError, "one class, 'a', of at least 5 cells", id="one-class"),
        pytest.param(labeled(["a"] * 20 + ["b"] * 4), {}, InputError, "two are needed", id="small-class"),
        pytest.param(labeled(["a"] * 6 + [None] * 9), {}, InputError, "two are needed", id="missing-labels"),
        pytest.param(labeled([None] * 20), {}, InputError, "no class of at least 5", id="no-label-at-all"),
        pytest.param(labeled(list(range(20))), {}, InputError, "no class of at least 5", id="a-label-a-cell"),
        pytest.param(
            beside(other=["x"] * 18), {"label": "other"}, InputError, "have them: 'label'", id="other-column"
        ),
        pytest.param(AB, {"use_reps": ["X_pca"]}, MissingKeyError, "'X_pca'", id="no-such-rep"),
        pytest.param(broken(), {"use_reps": ["X_pca"]}, MissingKeyError, "there is 'X_broken'", id="other-reps-listed"),
        pytest.param(broken(), {"use_reps": ["X_broken"]}, InputError, "18 cells have NaN", id="broken-rep"),
        pytest.param(AB, {"label": "lable"}, MissingKeyError, "'label'", id="no-such-column"),
        pytest.param(AB, {"n_controls": 0}, InputError, "says nothing", id="no-controls"),
        pytest.param(AB, {"n_bootstraps": 0}, InputError, "n_bootstraps must be at least 1", id="no-bootstraps"),
        pytest.param(AB, {"batch": "donor"}, MissingKeyError, "'class'", id="no-such-batch"),
        pytest.param(beside(donor=["d"] * 18), {"batch": "donor"}, InputError, "nothing to mix", id="one-batch"),
        pytest.param(
            beside(donor=[None, *"de" * 8, "d"]), {"batch": "donor"}, InputError, "1 labeled cells have no value",
            id="no-batch",
        ),
        pytest.param(negative(), {}, InputError, "negative", id="no-counts"),
        pytest.param(empty(), {}, InputError, "no gene is expressed in any of the 18", id="all-zero"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(
    adata: anndata.AnnData, options: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        evaluate(adata, **{"label": "label", **options})


def test_small_classes_and_missing_labels_are_dropped_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    adata, genes = planted()
    values = list(adata.obs["class"])
    values[0], values[1:4] = None, ["rare"] * 3
    adata.obs["class"] = pd.Series(values, index=adata.obs_names, dtype=object)
    seen = {}

    def score(made, cells, labels, batch, **_):  # type: ignore[no-untyped-def]
        seen[made.name] = (cells.n_obs, "".join(sorted(set(labels))))
        return {"ari": 0.5}

    monkeypatch.setattr("lexicell._evaluate.labels._score", score)
    found = evaluate(adata, label="class", genes=genes, n_controls=1)
    assert found.dropped == {"rare": 3, "(no label)": 1}
    assert set(seen.values()) == {(N_CELLS - 4, "abc")}
    assert {"fused", "whitened", "paper, top 50", "variable genes, 2000", "scanpy default"} <= set(seen)


def test_a_warning_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    adata, genes = planted()

    def score(made, *_, **__):  # type: ignore[no-untyped-def]
        warnings.warn("few genes", UserWarning, stacklevel=1)
        if made.name == "fused":
            warnings.warn("only fused", UserWarning, stacklevel=1)
        return {"ari": 0.5}

    monkeypatch.setattr("lexicell._evaluate.labels._score", score)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        evaluate(adata, label="class", genes=genes, n_controls=1)
    assert [str(w.message) for w in heard] == ["few genes", "only fused"]


@pytest.mark.parametrize("name", ["paper", "whitened", "fused", "expression PCA, 300 genes", "variable genes, 2000",
                                  "scanpy default"])  # fmt: skip
def test_what_is_fitted_inside_a_fold_does_not_see_the_other_cells(name: str) -> None:
    """Cells left out of a fit may hold anything: it changes neither the fit nor the others' place in it."""
    adata, genes = planted()
    made = {r.name: r for r in compared(genes, 1, DEFAULT_SLOT)}[name]
    inside, outside = made.fit(adata[:300].copy()), made.fit(adata.copy())
    np.testing.assert_allclose(inside.apply(adata[:300].copy()), inside.matrix, atol=2e-3)
    assert inside.apply(adata[300:].copy()).shape == (30, inside.matrix.shape[1])
    if name != "variable genes, 2000":  # all 900 genes vary, so that nothing is chosen there
        assert not np.allclose(inside.matrix, outside.matrix[:300], atol=2e-3)
