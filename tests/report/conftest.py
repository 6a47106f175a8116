"""A small object through the whole pipeline, whose names would break a page that did not escape them."""

from __future__ import annotations

import shutil

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import lexicell as lx
from lexicell.tl import words as _words

FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    """Chromium of the system with a new empty profile; tests that need it are left out where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium is installed here (apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing (pip install lexicell[test])")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, headless=True, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def adata(_made):
    return _made.copy()


@pytest.fixture(scope="module")
def _made():
    """150 cells of three kinds through the whole pipeline, with a lexicon of five phrases."""
    rng = np.random.default_rng(0)
    kinds = np.repeat(["A & B", "<i>C</i>", "D"], 50)
    rate = np.tile(rng.gamma(2.0, 0.5, size=120), (150, 1))
    for k in range(3):
        rate[50 * k : 50 * k + 50, 15 * k : 15 * k + 15] *= 5
    data = anndata.AnnData(
        sp.csr_matrix(rng.poisson(rate).astype(np.float32)),
        obs=pd.DataFrame(
            {"kind": pd.Categorical(kinds), "depth": rate.sum(axis=1)}, index=[f"c{i}" for i in range(150)]
        ),
        var=pd.DataFrame(index=[f"g{i}" for i in range(119)] + ["<b>&gene"]),
    )
    vectors = rng.normal(size=(120, 12)) + 2
    for k in range(3):
        vectors[15 * k : 15 * k + 15, k] += 4
    genes = lx.GeneEmbedding.from_vectors(
        data.var_names[:110], vectors[:110],
        provenance={"source": "table of <tests>", "embedder": "test", "revision": "7", "organism": "human",
                    "date": "2024"},
    )  # fmt: skip
    words = ["first <concept>", "second", "third", "fourth", "fifth"]
    phrases = dict(zip(words, (vectors[:110].mean(axis=0) + np.eye(12)[:5]).astype(np.float32), strict=True))
    lx.emb.cells(data, genes, preset="whitened", store_genes=True)
    lx.emb.expression_pca(data)
    lx.emb.fuse(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_words, "shipped_lexicon", lambda genes: _words.phrases_of(phrases, genes))
        for key in ("X_text", "X_expression", "X_text_fused"):
            lx.tl.cluster(data, use_rep=key, umap=False)
            data.obsm[f"{key}_umap"] = data.obsm[key][:, :2]
    return data
