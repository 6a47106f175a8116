"""The verdict must find text where it is planted and must not find it where texts are shuffled."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError
from lexicell._evaluate import Evaluation, evaluate, verdict
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
    return evaluate(adata, label="class", genes=genes, n_controls=2, n_boot=20)


def test_text_wins_where_it_is_planted(found: Evaluation) -> None:
    ari = found.table["ari"]
    assert ari["whitened"] > ari[found.table["kind"] == "expression"].max() + 0.2
    assert "Text alone is above its controls in: paper, whitened" in found.verdict
    assert not found.verdict.startswith("Text adds nothing")


def test_shuffled_texts_do_not_win(found: Evaluation) -> None:
    adata, genes = planted()
    control = evaluate(adata, label="class", genes=shuffled(genes, seed=99), n_controls=2, n_boot=20)
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


def labelled(values: list[object]) -> anndata.AnnData:
    adata, _ = planted()
    adata = adata[: len(values)].copy()
    adata.obs["label"] = pd.Series(values, index=adata.obs_names, dtype=object)
    return adata


@pytest.mark.parametrize(
    ("adata", "options", "error", "words"),
    [
        pytest.param(labelled(["a"] * 20), {}, InputError, "1 classes of at least 5", id="one-class"),
        pytest.param(labelled(["a"] * 20 + ["b"] * 4), {}, InputError, "two are needed", id="small-class"),
        pytest.param(labelled(["a"] * 6 + [None] * 9), {}, InputError, "two are needed", id="missing-labels"),
        pytest.param(labelled(["a", "b"] * 9), {"use_reps": ["X_pca"]}, MissingKeyError, "'X_pca'", id="no-such-rep"),
        pytest.param(labelled(["a", "b"] * 9), {"label": "lable"}, MissingKeyError, "'label'", id="no-such-column"),
        pytest.param(labelled(["a", "b"] * 9), {"n_controls": 0}, InputError, "says nothing", id="no-controls"),
    ],
)
def test_bad_input_is_refused(
    adata: anndata.AnnData, options: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        evaluate(adata, **{"label": "label", **options})
