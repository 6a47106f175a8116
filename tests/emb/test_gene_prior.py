"""Gene priors and panels: evidence stored, controls at chance, panels that obey what was asked."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError
from lexicell.cli import cli
from lexicell.core.controls import random_vectors, shuffled

N_GENES, N_CELLS = 500, 200
NAMES = [f"{a}{b}{i}" for i, (a, b) in enumerate((chr(65 + i % 26), chr(65 + i // 26 % 26)) for i in range(N_GENES))]


def cells(seed: int, names: list[str] = NAMES) -> anndata.AnnData:
    """Two types; the first fifth of the genes differs between them."""
    rng = np.random.default_rng(seed)
    kind = np.arange(N_CELLS) % 2
    rates = np.tile(rng.gamma(2.0, 1.5, N_GENES), (N_CELLS, 1))
    up = rng.integers(0, 2, N_GENES // 5)
    rates[:, : N_GENES // 5] *= np.where(up == kind[:, None], 3.0, 0.5)
    obs = pd.DataFrame({"kind": np.array(["a", "b"])[kind]}, index=[f"c{i}" for i in range(N_CELLS)])
    counts = sp.csr_matrix(rng.poisson(rates).astype(np.float32))
    return anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=names))


@pytest.fixture(scope="module")
def genes() -> lx.GeneEmbedding:
    vectors = np.random.default_rng(0).normal(size=(N_GENES, 10))
    vectors[: N_GENES // 5, 0] += 2.5
    return lx.GeneEmbedding.from_vectors(NAMES, vectors)


@pytest.fixture(scope="module")
def prior(genes: lx.GeneEmbedding) -> lx.emb.GenePrior:
    references = {"one": (cells(1), "kind"), "two": (cells(2, [n.lower() for n in NAMES]), "kind")}
    return lx.emb.gene_prior(genes, references, n_controls=2)


def test_it_finds_what_the_texts_say(prior: lx.emb.GenePrior) -> None:
    telling = np.arange(N_GENES) < N_GENES // 5
    assert prior.table["prior"][telling].mean() > prior.table["prior"][~telling].mean() + 0.3
    assert list(prior.evidence["reference"]) == ["one", "two", "one", "two"]
    assert (prior.evidence["spearman"] > prior.evidence[["shuffled", "random"]].max(axis=1) + 0.15).all()


@pytest.mark.parametrize("control", [shuffled, random_vectors])
def test_controls_find_nothing(genes: lx.GeneEmbedding, control: object) -> None:
    found = lx.emb.gene_prior(control(genes, seed=5), {"one": (cells(1), "kind")}, n_controls=1)
    telling = np.arange(N_GENES) < N_GENES // 5
    assert abs(found.table["prior"][telling].mean() - found.table["prior"][~telling].mean()) < 0.15
    assert (found.evidence["spearman"].abs() < 0.2).all()


def test_it_is_stored_with_its_evidence(prior: lx.emb.GenePrior, tmp_path) -> None:  # type: ignore[no-untyped-def]
    adata = cells(3)[:, :400].copy()
    prior.write(adata)
    adata.write_h5ad(tmp_path / "a.h5ad")
    back = anndata.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_allclose(back.var["text_prior"], prior.table["prior"][:400])
    kept = back.uns["lexicell"]["gene_prior"]
    np.testing.assert_allclose(kept["evidence"]["spearman"], prior.evidence["spearman"])
    assert kept["params"]["references"] == "one, two"


def test_a_pilot_and_the_prior_choose_together(genes: lx.GeneEmbedding, prior: lx.emb.GenePrior) -> None:
    pilot = cells(4)[:60].copy()
    alone = lx.emb.gene_panel(genes, 60, pilot=pilot, prior=prior)
    from lexicell.core.expression import residual_variance

    best = np.argsort(-residual_variance(pilot.X))[:60]
    assert set(alone.index) == {NAMES[i] for i in best}
    both = lx.emb.gene_panel(genes, 60, pilot=pilot, prior=prior, weight=0.5)
    assert both["prior"].mean() > alone["prior"].mean()
    nothing = lx.emb.gene_panel(genes, 60, prior=prior)
    assert list(nothing.index) == list(prior.table["informativeness"].sort_values(ascending=False).index[:60])
    assert set(nothing["reason"]) == {"text"}


def test_what_is_asked_for_is_there_and_what_is_not_is_not(genes: lx.GeneEmbedding, prior: lx.emb.GenePrior) -> None:
    free = list(lx.emb.gene_panel(genes, 10, prior=prior).index)
    panel = lx.emb.gene_panel(genes, 10, prior=prior, include=[NAMES[-1]], exclude=free[:3])
    assert panel.index[0] == NAMES[-1]
    assert panel["reason"].iloc[0] == "asked for"
    assert not set(free[:3]) & set(panel.index)
    assert list(panel["rank"]) == list(range(1, 11))


def test_genes_the_pilot_lacks_come_last(genes: lx.GeneEmbedding, prior: lx.emb.GenePrior) -> None:
    pilot = cells(4)[:, :50].copy()
    panel = lx.emb.gene_panel(genes, 50, pilot=pilot, prior=prior)
    assert set(panel.index) == set(NAMES[:50])


def test_the_shipped_prior_says_what_it_rests_on() -> None:
    genes = lx.emb.genes(["CD3E", "MS4A1", "KRT18", "PSMB7", "NDUFA4"], organism="human")
    found = lx.emb.gene_prior(genes)
    assert found.params["coefficients"] == "shipped"
    assert (found.evidence["spearman"] > found.evidence[["shuffled", "random"]].abs().max(axis=1) + 0.1).all()
    assert set(found.table.index) == set(genes.ids)


def test_wrong_input_is_refused(genes: lx.GeneEmbedding, prior: lx.emb.GenePrior) -> None:
    with pytest.raises(InputError, match="pass references="):
        lx.emb.gene_prior(genes)
    with pytest.raises(InputError, match="at least one reference"):
        lx.emb.gene_prior(genes, {})
    with pytest.raises(MissingKeyError, match="reference 'one'"):
        lx.emb.gene_prior(genes, {"one": (cells(1), "type")})
    for options, error, words in [
        ({"n_genes": 0}, InputError, "between 1 and 500"),
        ({"n_genes": 501}, InputError, "between 1 and 500"),
        ({"include": ["NOPE"]}, MissingKeyError, "no candidate 'NOPE'"),
        ({"include": [NAMES[0]], "exclude": [NAMES[0]]}, InputError, "both"),
        ({"weight": -1.0}, InputError, "negative"),
        ({"pilot": cells(1, [f"x{i}" for i in range(N_GENES)])}, InputError, "no gene of the pilot"),
    ]:
        with pytest.raises(error, match=words):
            lx.emb.gene_panel(genes, **{"n_genes": 5, "prior": prior, **options})


def test_the_command_writes_the_panel(tmp_path) -> None:  # type: ignore[no-untyped-def]
    lx.datasets.pbmc68k_counts()[:, :300].copy().write_h5ad(tmp_path / "cells.h5ad")
    target = tmp_path / "panel.tsv"
    done = CliRunner().invoke(cli, ["panel", str(tmp_path / "cells.h5ad"), "-n", "20", "-o", str(target)])
    assert done.exit_code == 0, done.output
    assert len(pd.read_csv(target, sep="\t")) == 20
