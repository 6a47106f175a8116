"""tl.trends and tl.progression on cells whose order, genes and donors are planted."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import lexicell as lx
from lexicell import GeneEmbedding
from lexicell._errors import InputError, MissingKeyError
from lexicell.tl import words as _words


@pytest.fixture(scope="module")
def genes() -> GeneEmbedding:
    """120 genes: 0-19 mean 'start', 20-39 'x', 40-59 'y'."""
    vectors = np.random.default_rng(1).normal(size=(120, 16)) * 0.3 + 2
    for k in range(3):
        vectors[20 * k : 20 * k + 20, k] += 3
    return GeneEmbedding.from_vectors([f"g{i}" for i in range(120)], vectors, provenance={"embedder": "t"})


@pytest.fixture(scope="module")
def fork(genes: GeneEmbedding) -> anndata.AnnData:
    """300 cells whose 'start' genes fall, and whose 'x' or 'y' genes rise after the parting; a whitened embedding."""
    rng = np.random.default_rng(0)
    n = 300
    t, arm = np.sort(rng.random(n)), rng.integers(2, size=n)
    late = np.maximum(t - 0.4, 0) / 0.6
    rate = np.tile(rng.gamma(4, 0.5, size=120), (n, 1))
    rate[:, :20] *= (1 + 6 * (1 - t))[:, None]
    rate[:, 20:40] *= (1 + 8 * late * (arm == 0))[:, None]
    rate[:, 40:60] *= (1 + 8 * late * (arm == 1))[:, None]
    adata = anndata.AnnData(sp.csr_matrix(rng.poisson(rate).astype(np.float32)))
    adata.var_names = genes.ids.astype(str)
    adata.obs_names = [f"c{i}" for i in range(n)]
    adata.obs["time"] = t
    adata.obs["truth"] = np.where(t < 0.4, "trunk", np.where(arm == 0, "x", "y"))
    lx.emb.cells(adata, genes, preset="whitened", store_genes=True)
    lx.emb.fuse(adata, n_top_genes=100)
    lx.emb.expression_pca(adata, n_top_genes=100)
    for rep in ("X_text", "X_text_fused", "X_expression"):
        lx.tl.trajectory(adata, root="c0", use_rep=rep, n_bootstraps=0)
    return adata


@pytest.fixture
def lexicon(monkeypatch: pytest.MonkeyPatch, genes: GeneEmbedding) -> None:
    center = genes.vectors.mean(axis=0)
    vectors = (center + np.eye(16)[:4]).astype(np.float32)
    phrases = _words.phrases_of(dict(zip(["start/begin", "x", "y", "nothing"], vectors, strict=True)), genes)
    monkeypatch.setattr(_words, "shipped_lexicon", lambda genes: phrases)


def test_planted_genes_and_concepts_lead(fork: anndata.AnnData, lexicon: None) -> None:
    adata = lx.tl.trends(fork, use_rep="X_text", copy=True)
    found = adata.uns["lexicell"]["X_text"]["trends"]
    table = found["table"].set_index("feature")
    start = table.loc[[f"g{i}" for i in range(20)]]
    others = table.loc[[f"g{i}" for i in range(60, 120)]]
    assert start["explained"].min() > others["explained"].max()
    assert (start["spearman"] < 0).all()
    assert (start["peak"] < 0.2).all()
    assert table.loc["start/begin", "explained"] > 0.7
    assert table.loc["start/begin", "rank"] == 1
    assert table.loc["start/begin", "kind"] == "concept"
    assert found["curves"].shape == (100, 104)
    assert "descriptive" in found["params"]["note"]
    assert not {"p", "q", "p_value"} & set(found["table"])


def test_concepts_that_set_branches_apart(fork: anndata.AnnData, lexicon: None) -> None:
    adata = lx.tl.trends(fork, use_rep="X_text", copy=True)
    table = adata.uns["lexicell"]["X_text"]["trends"]["branches"]
    concepts = table[table["kind"] == "concept"].set_index("feature")["d"]
    assert set(concepts.index[:2]) == {"x", "y"}
    assert concepts["x"] * concepts["y"] < 0
    assert abs(concepts["start/begin"]) < 1
    top = set(table[table["kind"] == "gene"]["feature"][:20])
    assert len(top & {f"g{i}" for i in range(20, 60)}) >= 18


def test_one_branch_leaves_out_the_cells_of_the_other(fork: anndata.AnnData) -> None:
    with pytest.warns(UserWarning, match="no concepts along the trajectory"):
        adata = lx.tl.trends(fork, use_rep="X_text", branch="branch 1", features=["g20", "g40"], copy=True)
    found = adata.uns["lexicell"]["X_text"]["trends"]
    on = fork.obs["text_branch"].isin(["trunk", "branch 1"])
    assert found["params"]["n_cells"] == on.sum()
    mine = fork.obs.loc[fork.obs["text_branch"] == "branch 1", "truth"].mode()[0]
    amplitude = found["table"].set_index("feature")["amplitude"]
    rises, flat = ("g20", "g40") if mine == "x" else ("g40", "g20")
    assert amplitude[rises] > 2 * amplitude[flat]


def test_trends_survive_the_file(fork: anndata.AnnData, lexicon: None, tmp_path: Path) -> None:
    adata = lx.tl.trends(fork, use_rep="X_text_fused", copy=True)
    adata.write_h5ad(tmp_path / "a.h5ad")
    back = anndata.read_h5ad(tmp_path / "a.h5ad").uns["lexicell"]["X_text_fused"]["trends"]
    before = adata.uns["lexicell"]["X_text_fused"]["trends"]
    assert np.allclose(before["curves"], back["curves"])
    assert before["table"]["feature"].tolist() == back["table"]["feature"].astype(str).tolist()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        pytest.param(
            {"use_rep": "X_no"}, MissingKeyError, r"no result 'trajectory' .*'X_no'.*; there is one under", id="key"
        ),
        pytest.param({"features": ["zz"]}, InputError, r"genes not in the data: 'zz'", id="gene"),
        pytest.param({"branch": "branch 9"}, InputError, r"unknown terminal branch.*'branch 1'", id="branch"),
        pytest.param({"component": "7"}, InputError, r"unknown component '7'", id="component"),
        pytest.param({"min_share": 1.1}, InputError, r"lower min_share", id="share"),
    ],
)
def test_mistakes(fork: anndata.AnnData, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lx.tl.trends(fork, **{"use_rep": "X_text", "queries": [], "copy": True, **options})


STAGED = lx.StudyDesign(condition="stage", donor="donor")


def staged(adata: anndata.AnnData) -> anndata.AnnData:
    """Eight donors: four of the first stage hold the earlier cells, four of the last the later ones."""
    adata = adata.copy()
    late = (adata.obs["time"] > 0.5).to_numpy()
    adata.obs["stage"] = late.astype(int)
    adata.obs["donor"] = [f"d{i % 4 + 4 * is_late}" for i, is_late in enumerate(late)]
    return adata


@pytest.mark.parametrize("key", ["X_text", "X_text_fused", "X_expression"])
def test_genes_of_a_progression_add_up_to_the_difference_of_stages(fork: anndata.AnnData, key: str) -> None:
    adata = staged(fork)
    adata.obs["kind"] = np.where(adata.obs["truth"] == "y", "y", "not y")
    lx.tl.progression(adata, STAGED, use_rep=key)
    found = adata.uns["lexicell"][key]["progression"]
    table = found["genes"]
    assert found["params"]["no_genes"] == ""
    assert set(table["cell_type"]) == {"all cells"}
    assert table["part"].sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(table["part_text"] + table["part_expression"], table["part"], atol=1e-12)
    top = set(table["gene"][:20])
    assert len(top & {f"g{i}" for i in range(60)}) >= 16
    lx.tl.progression(adata, replace(STAGED, cell_type="kind"), use_rep=key)
    by_type = adata.uns["lexicell"][key]["progression"]["genes"]
    lx.tl.explain(adata, groupby="stage", group="1", reference="0", subset={"kind": "not y"}, use_rep=key)
    explained = adata.uns["lexicell"][key]["explain"]["table"]
    mine = by_type[by_type["cell_type"] == "not y"]
    assert mine["gene"].tolist() == explained["gene"].tolist()
    np.testing.assert_allclose(mine["part"], explained["part"], rtol=1e-9)


def test_a_part_of_a_progression_is_what_a_loop_gives(fork: anndata.AnnData) -> None:
    adata = staged(fork)
    lx.tl.progression(adata, STAGED, use_rep="X_expression")
    table = adata.uns["lexicell"]["X_expression"]["progression"]["genes"]
    entry = adata.uns["lexicell"]["X_expression"]
    late = adata.obs["stage"].to_numpy() == 1
    points = adata.obsm["X_expression"].astype(float)
    delta = points[late].mean(axis=0) - points[~late].mean(axis=0)
    counts = adata.X.toarray().astype(float)
    log = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    for row in table[table["rank"] > 0].itertuples():
        column, place = adata.var_names.get_loc(row.gene), list(entry["hvg"]).index(row.gene)
        z = np.clip((log[:, column] - entry["mean"][place]) / entry["sd"][place], -10, 10)
        change = z[late].mean() - z[~late].mean()
        assert row.change == pytest.approx(change, rel=1e-4)
        assert row.part == pytest.approx(change * (entry["loadings"][place] @ delta) / (delta @ delta), rel=1e-3)


def test_genes_of_changed_data_are_not_given(fork: anndata.AnnData, genes: GeneEmbedding) -> None:
    adata = staged(fork)
    options: dict[str, Any] = {"design": STAGED, "use_rep": "X_text"}
    lx.tl.progression(adata, **options)
    before = adata.uns["lexicell"]["X_text"]["progression"]["table"]
    adata.X = sp.csr_matrix(np.random.default_rng(0).permutation(adata.X.toarray()))
    with pytest.warns(UserWarning, match=r"no genes behind the progression: .* changed since it was made"):
        lx.tl.progression(adata, **options)
    found = adata.uns["lexicell"]["X_text"]["progression"]
    assert "genes" not in found
    assert "changed since" in found["params"]["no_genes"]
    pd.testing.assert_frame_equal(found["table"], before)
    with pytest.raises(InputError, match="changed since it was made"):
        lx.tl.progression(adata, genes=genes, **options)


def cohort(shift: float, n_donors: int = 9, seed: int = 0, per_donor: int = 40) -> anndata.AnnData:
    """Donors of three stages on one line of states; type t1 moves along it with the stage, t2 does not."""
    rng = np.random.default_rng(seed)
    stage = np.repeat(np.arange(n_donors) % 3, per_donor)
    donor = np.repeat(np.arange(n_donors), per_donor)
    kind = np.tile(np.repeat(["t1", "t2"], per_donor // 2), n_donors)
    own = rng.normal(scale=0.05, size=n_donors)[donor]
    state = np.clip(rng.beta(2, 2, size=len(stage)) + own + shift * stage * (kind == "t1"), 0, 2)
    points = np.column_stack([state, 0.3 * state**2, rng.normal(scale=0.05, size=len(state))])
    adata = anndata.AnnData(sp.csr_matrix((len(state), 1), dtype=np.float32))
    adata.obs_names = [f"c{i}" for i in range(len(state))]
    adata.obsm["X_text"] = points.astype(np.float32)
    names = ["control", "early", "late"]
    adata.obs["stage"] = pd.Categorical.from_codes(stage, names, ordered=True)
    adata.obs["donor"] = pd.Categorical([f"d{d}" for d in donor])
    adata.obs["kind"] = pd.Categorical(kind)
    return adata


def progress(adata: anndata.AnnData, root: str = "stage=control", **options: Any) -> dict[str, Any]:
    lx.tl.trajectory(adata, root=root, use_rep="X_text", n_bootstraps=0)
    lx.tl.progression(adata, replace(STAGED, **options), use_rep="X_text")
    return dict(adata.uns["lexicell"]["X_text"]["progression"])


def test_the_type_that_moves_is_found_and_the_other_is_not() -> None:
    found = progress(cohort(0.3), cell_type="kind")
    table = found["table"]
    assert table.index[0] == "t1"
    assert table.loc["t1", "p_max_t"] < 0.02
    assert table.loc["t1", "rho"] > 0.8
    assert table.loc["t1", "last"] > table.loc["t1", "first"]
    assert table.loc["t2", "p"] > 0.05
    assert found["params"]["root_rechosen"]
    assert "nothing is recorded" in found["params"]["no_genes"]
    donors = found["donors"]
    assert len(donors) == 18
    assert donors["n_cells"].sum() == 360


def test_a_root_in_a_column_that_says_the_stage_in_other_words_is_chosen_again_too() -> None:
    adata = cohort(0.05, n_donors=6)
    plain = progress(adata.copy())
    adata.obs["condition"] = np.where(adata.obs["stage"] == "control", "healthy", "ill")
    other = progress(adata, root="condition=healthy")
    assert other["params"]["root_rechosen"]
    assert other["table"]["p"].to_numpy() == pytest.approx(plain["table"]["p"].to_numpy())


def test_p_from_a_fixed_root_against_every_arrangement_by_hand() -> None:
    from scipy.stats import spearmanr

    adata = cohort(0.05, n_donors=6)
    found = progress(adata, root="c0")
    assert not found["params"]["root_rechosen"]
    means = adata.obs.groupby("donor", observed=True)["text_pseudotime"].mean()
    stage = adata.obs.groupby("donor", observed=True)["stage"].first().cat.codes.to_numpy()
    rhos = []
    for zero in combinations(range(6), 2):
        rest = [i for i in range(6) if i not in zero]
        for one in combinations(rest, 2):
            labels = np.full(6, 2)
            labels[list(zero)], labels[list(one)] = 0, 1
            rhos.append(spearmanr(means, labels)[0])
    observed = spearmanr(means, stage)[0]
    assert found["table"]["rho"].iloc[0] == pytest.approx(observed)
    assert found["table"]["p"].iloc[0] == pytest.approx(np.mean(np.array(rhos) >= observed - 1e-12))
    assert found["params"]["exact"]
    assert found["params"]["n_permutations"] == 90


def test_null_rate_with_the_root_among_the_labels() -> None:
    """The root is chosen by the stage that is tested; a fixed root would make this test too easy to pass."""
    p = [progress(cohort(0.0, n_donors=8, seed=s, per_donor=16))["table"]["p"].iloc[0] for s in range(30)]
    assert np.mean(np.array(p) <= 0.1) <= 0.25
    assert np.mean(p) > 0.35


def test_stages_change_places_within_batches_only() -> None:
    """Two batches of three donors, one of each stage: 6 x 6 arrangements."""
    adata = cohort(0.3, n_donors=6)
    adata.obs["batch"] = np.where(adata.obs["donor"].isin(["d0", "d1", "d2"]), "x", "y")
    found = progress(adata, root="c0", batch="batch")
    assert found["params"]["n_permutations"] == 36
    assert found["table"]["smallest_p"].iloc[0] == pytest.approx(1 / 36)


def test_numbers_of_stages_can_be_given() -> None:
    adata = cohort(0.3)
    plain = progress(adata.copy(), root="c0")
    numbered = progress(adata, root="c0", stages={"control": 0, "early": 1, "late": 2}, reference="control")
    assert numbered["table"]["p"].tolist() == plain["table"]["p"].tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"condition": None}, "needs condition=", id="condition"),
        pytest.param({"covariates": ["kind"]}, "neither covariates nor pairs", id="covariates"),
        pytest.param({"reference": "late"}, "is not the first stage, 'control'", id="reference"),
        pytest.param({"batch": "kind"}, "differs within donors", id="batch"),
        pytest.param({"stages": {"control": 0, "late": 2}}, "not in stages=", id="stages"),
    ],
)
def test_designs_that_a_progression_does_not_take(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        progress(cohort(0.1), **options)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        pytest.param({"stage": lambda a: a.obs["stage"].astype(str)}, {}, "neither numbers nor an ordered", id="order"),
        pytest.param({"donor": lambda a: ["d"] * a.n_obs}, {}, "donors with cells of several stages", id="mixed"),
        pytest.param(
            {"donor": lambda a: "d" + a.obs["stage"].astype(str)}, {}, "3 donors of 3 stages are too few", id="few"
        ),
    ],
)
def test_designs_that_cannot_be_tested(change: dict[str, Any], options: dict[str, Any], message: str) -> None:
    adata = cohort(0.1)
    for column, make in change.items():
        adata.obs[column] = make(adata)
    with pytest.raises(InputError, match=message):
        progress(adata, **options)


def test_an_order_can_be_given_and_rare_types_are_said() -> None:
    adata = cohort(0.3)
    adata.obs["stage"] = adata.obs["stage"].astype(str)
    adata.obs["kind"] = np.where(np.arange(adata.n_obs) < 3, "rare", adata.obs["kind"].astype(str))
    table = progress(adata, cell_type="kind", stages=["control", "early", "late"])["table"]
    assert table.loc["t1", "p"] < 0.05
    assert np.isnan(table.loc["rare", "p"])
    assert "donors with enough cells" in table.loc["rare", "reason"]


def one_kind(seed: int, kind: str) -> anndata.AnnData:
    """Four donors of one kind of cells, without any order: what changes along a pseudotime is noise."""
    rng = np.random.default_rng(seed)
    rate = np.exp(rng.normal(0, 1.2, 300))
    rate = rate / rate.sum() * (1500 * rng.lognormal(0, 0.3, 240))[:, None]
    donor = np.arange(240) % 4
    if kind == "overdispersed":
        rate = rate * rng.gamma(1 / 0.3, 0.3, rate.shape)
    if kind == "donors":
        rate = rate * np.exp(0.1 * rng.normal(size=(4, 300)))[donor]
    adata = anndata.AnnData(sp.csr_matrix(rng.poisson(rate).astype(np.float32)))
    adata.obs_names = [f"c{i}" for i in range(240)]
    adata.var_names = [f"g{i}" for i in range(300)]
    adata.obs["donor"] = donor.astype(str)
    lx.emb.expression_pca(adata, n_top_genes=200)
    lx.tl.trajectory(adata, root="c0", use_rep="X_expression", n_bootstraps=0)
    return adata


@pytest.mark.parametrize("kind", ["poisson", "overdispersed", "donors"])
def test_noise_has_uniform_p_over_donors(kind: str) -> None:
    """The order follows the noise of the genes it was made from: tested on it as it is, a third of them look sure."""
    p, q = [], []
    for seed in range(3):
        adata = one_kind(seed, kind)
        lx.tl.trends(adata, use_rep="X_expression", queries=[], donor="donor")
        table = adata.uns["lexicell"]["X_expression"]["trends"]["table"]
        p.append(table["p"].to_numpy())
        q.append(table["q"].to_numpy())
    share = np.mean(np.concatenate(p) <= 0.05)
    assert 0.015 < share < 0.085
    assert np.mean(np.concatenate(q) <= 0.05) < 0.01


def planted(seed: int = 0) -> anndata.AnnData:
    """As `one_kind`, but 16 genes rise or fall along a time (g0-g15) and 4 peak in its middle, in every donor."""
    rng = np.random.default_rng(seed)
    time, donor = rng.random(240), np.arange(240) % 4
    log_rate = np.tile(rng.normal(0, 0.7, 300), (240, 1))
    log_rate[:, :16] += np.outer(time - 0.5, np.resize([3, -3], 16))
    log_rate[:, 16:20] += 1.5 * np.exp(-(((time - 0.5) / 0.15) ** 2))[:, None]
    rate = np.exp(log_rate) * rng.gamma(5, 0.2, log_rate.shape)
    adata = anndata.AnnData(sp.csr_matrix(rng.poisson(6 * rate).astype(np.float32)))
    adata.obs_names = [f"c{i}" for i in range(240)]
    adata.var_names = [f"g{i}" for i in range(300)]
    adata.obs["donor"] = [f"d{d}" for d in donor]
    adata.obs["time"] = time
    lx.emb.expression_pca(adata, n_top_genes=200)
    lx.tl.trajectory(adata, root=f"c{time.argmin()}", use_rep="X_expression", n_bootstraps=0)
    return adata


def test_genes_that_change_in_every_donor_are_found_and_one_donor_is_not_enough() -> None:
    adata = planted()
    lx.tl.trends(adata, use_rep="X_expression", queries=[], donor="donor")
    found = adata.uns["lexicell"]["X_expression"]["trends"]
    table = found["table"].set_index("feature")
    changed = [f"g{i}" for i in range(20)]
    assert (table.loc[changed, "q"] < 0.05).all()
    assert (table["q"].drop(changed) < 0.05).mean() < 0.05
    assert found["params"]["n_donors"] == 4
    assert "over donors" in found["params"]["note"]
    # The same change in one donor only: its cells alone make the curve, and the donors do not agree.
    alone = adata.copy()
    others = (alone.obs["donor"] != "d0").to_numpy()
    X = alone.X.toarray()
    for g in range(3):
        X[others, g] = np.random.default_rng(g).permutation(X[others, g])
    alone.X = sp.csr_matrix(X)
    lx.tl.trends(alone, use_rep="X_expression", queries=[], donor="donor")
    again = alone.uns["lexicell"]["X_expression"]["trends"]["table"].set_index("feature")
    assert (again.loc[["g0", "g1", "g2"], "q"] > 0.05).all()


def test_a_test_over_donors_needs_donors_and_counts(fork: anndata.AnnData) -> None:
    adata = fork.copy()
    adata.obs["donor"] = np.where(np.arange(adata.n_obs) % 2, "a", "b")
    adata.obs["small"] = np.where(np.arange(adata.n_obs) < 12, "a", np.where(np.arange(adata.n_obs) % 2, "b", "c"))
    options: dict[str, Any] = {"use_rep": "X_text", "queries": [], "features": ["g1"]}
    for column, said in (("donor", "there are 2"), ("small", "the smallest with 12 cells")):
        with pytest.raises(InputError, match=said):
            lx.tl.trends(adata, donor=column, **options)
    with pytest.raises(MissingKeyError, match="no column in obs 'nope'"):
        lx.tl.trends(adata, donor="nope", **options)
    adata.layers["log"] = np.log1p(adata.X.toarray())
    with pytest.raises(InputError, match="reads counts"):
        lx.tl.trends(adata, donor="small", expression=lx.Expression("log", normalization="log1p"), **options)
