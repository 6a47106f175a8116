"""tl.trajectory: equal to scanpy where scanpy can do it; roots of every kind; broken graphs; what it leaves alone."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

import lexicell as lx
from lexicell._errors import InputError, MissingKeyError


def fork(n: int = 240, seed: int = 0, noise: float = 0.04, dim: int = 6) -> anndata.AnnData:
    """Cells on a trunk that parts into two, with counts in which gene a marks the start, b and c the ends."""
    rng = np.random.default_rng(seed)
    t, arm = np.sort(rng.random(n)), rng.integers(2, size=n)
    late = np.maximum(t - 0.4, 0)
    points = np.zeros((n, dim))
    points[:, 0] = np.minimum(t, 0.4)
    points[:, 1], points[:, 2] = late * (arm == 0), late * (arm == 1)
    points += rng.normal(scale=noise, size=points.shape)
    rates = np.column_stack([20 * (1 - t), 40 * late * (arm == 0), 40 * late * (arm == 1), np.full((n, 3), 5)])
    adata = anndata.AnnData(sp.csr_matrix(rng.poisson(rates).astype(np.float32)))
    adata.var_names = ["a", "b", "c", "d", "e", "f"]
    adata.obs_names = [f"cell{i}" for i in range(n)]
    adata.obsm["X_text"] = points.astype(np.float32)
    adata.obs["time"] = t
    adata.obs["stage"] = pd.Categorical(np.where(t < 0.15, "early", np.where(t < 0.6, "middle", "late")))
    adata.obs["truth"] = np.where(t < 0.4, "trunk", np.where(arm == 0, "x", "y"))
    return adata


def islands(sizes: list[int], seed: int = 0) -> anndata.AnnData:
    """Lines of cells far apart from each other."""
    rng = np.random.default_rng(seed)
    points = [
        np.column_stack([np.linspace(0, 1, m), np.full(m, 50.0 * i), rng.normal(scale=0.01, size=m)])
        for i, m in enumerate(sizes)
    ]
    adata = anndata.AnnData(sp.csr_matrix((sum(sizes), 1), dtype=np.float32))
    adata.obsm["X_text"] = np.concatenate(points).astype(np.float32)
    adata.obs["island"] = np.repeat([f"i{k}" for k in range(len(sizes))], sizes)
    return adata


def run(adata: anndata.AnnData, **options: Any) -> dict[str, Any]:
    options = {"root": "cell0", "use_rep": "X_text", "n_bootstraps": 0, **options}
    lx.tl.trajectory(adata, **options)
    return dict(adata.uns["lexicell"]["X_text"]["trajectory"])


@pytest.fixture(scope="module")
def ordered() -> anndata.AnnData:
    adata = fork()
    run(adata, root="stage=early", n_bootstraps=12)
    return adata


def test_pseudotime_graph_and_paga_are_those_of_scanpy() -> None:
    adata = fork()
    run(adata, groupby="stage")
    theirs = fork()
    sc.pp.neighbors(theirs, n_neighbors=15, use_rep="X_text")
    sc.tl.diffmap(theirs, n_comps=10)
    theirs.uns["iroot"] = 0
    sc.tl.dpt(theirs, n_dcs=10)
    sc.tl.paga(theirs, groups="stage")
    assert np.allclose(adata.obs["text_pseudotime"], theirs.obs["dpt_pseudotime"], atol=1e-5)
    assert abs(adata.obsp["text_trajectory_connectivities"] - theirs.obsp["connectivities"]).max() < 1e-6
    ours, scanpys = adata.uns["text_paga"], theirs.uns["paga"]
    assert np.allclose(ours["connectivities"].toarray(), scanpys["connectivities"].toarray())
    assert np.allclose(ours["connectivities_tree"].toarray(), scanpys["connectivities_tree"].toarray())


def test_the_order_follows_time_and_both_ends_are_found(ordered: anndata.AnnData) -> None:
    from lexicell.core.trajectory.scores import branch_f1

    assert ordered.obs["text_pseudotime"].corr(ordered.obs["time"], method="spearman") > 0.95
    score, matched = branch_f1(ordered.obs["truth"], ordered.obs["text_branch"].astype(str))
    assert score > 0.85
    table = ordered.uns["lexicell"]["X_text"]["trajectory"]["table"]
    for true, found in matched.items():
        cell = table.loc[found, "cell"]
        assert ordered.obs.loc[cell, "truth"] == true
        assert ordered.obs.loc[cell, "time"] > 0.85
    assert (table["support"] > 0.8).all()


def test_the_interval_holds_what_other_draws_give(ordered: anndata.AnnData) -> None:
    low, high = ordered.obs["text_pseudotime_low"], ordered.obs["text_pseudotime_high"]
    assert (low <= high).all()
    other = ordered[np.random.default_rng(9).choice(240, 190, replace=False)].copy()
    run(other, root="stage=early")
    from lexicell.core.trajectory.order import match_scale

    again = match_scale(
        other.obs["text_pseudotime"].to_numpy(), ordered.obs.loc[other.obs_names, "text_pseudotime"].to_numpy()
    )
    wide = 0.01
    inside = (again >= low[other.obs_names] - wide) & (again <= high[other.obs_names] + wide)
    assert inside.mean() > 0.85


def test_the_interval_is_wider_where_the_root_is_vaguer() -> None:
    widths = {}
    for stages in ("early", "anywhere"):
        adata = fork()
        adata.obs["anywhere"] = "here"
        root = {"early": "stage=early", "anywhere": "anywhere=here"}[stages]
        widths[stages] = run(adata, root=root, n_bootstraps=12)["components"]["interval_width"].iloc[0]
    assert widths["anywhere"] > 1.5 * widths["early"]


def test_other_roots_are_reported(ordered: anndata.AnnData) -> None:
    roots = ordered.uns["lexicell"]["X_text"]["trajectory"]["roots"]
    early = set(ordered.obs_names[ordered.obs["stage"] == "early"])
    assert set(roots["cell"]) <= early
    assert roots["spearman"].between(0.5, 1).all()
    assert roots["spearman"].max() == pytest.approx(1)


def test_same_seed_same_bits_and_another_seed_another_interval() -> None:
    results = []
    for rng in (0, 0, 1):
        adata = fork()
        run(adata, root="stage=early", n_bootstraps=6, rng=rng)
        results.append(adata.obs[["text_pseudotime", "text_pseudotime_low", "text_pseudotime_high"]])
    pd.testing.assert_frame_equal(results[0], results[1])
    assert not results[0]["text_pseudotime_low"].equals(results[2]["text_pseudotime_low"])


@pytest.mark.parametrize(
    "root",
    [
        pytest.param("cell0", id="cell"),
        pytest.param("stage=early", id="label"),
        pytest.param("cluster:early", id="cluster"),
        pytest.param("markers:a", id="marker"),
        pytest.param(["cell0", "stage=early"], id="several"),
    ],
)
def test_every_way_to_name_the_start_finds_it(root: Any) -> None:
    adata = fork()
    found = run(adata, root=root, groupby="stage")
    for cell in found["components"]["root"].iloc[0].split("; "):
        assert adata.obs.loc[cell, "time"] < 0.2
    assert len(found["params"]["root"]) == (2 if isinstance(root, list) else 1)


def test_markers_do_not_hang_on_one_noisy_cell() -> None:
    adata = fork()
    counts = adata.X.toarray()
    counts[239, 0] = 500  # one late cell full of the early marker
    adata.X = sp.csr_matrix(counts)
    found = run(adata, root="markers:a")
    assert adata.obs.loc[found["components"]["root"].iloc[0], "time"] < 0.3


def test_words_find_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    from lexicell import embedders
    from lexicell.core.genes.embedding import GeneEmbedding

    adata = fork()
    genes = GeneEmbedding.from_vectors(adata.var_names, np.eye(6), provenance={"embedder": "made up"})
    monkeypatch.setattr(embedders, "cut_short", lambda *_: [])
    monkeypatch.setattr(embedders, "embed", lambda *_: np.eye(6, dtype=np.float32)[[0]])
    found = run(adata, root="words:early things", genes=genes)
    assert adata.obs.loc[found["components"]["root"].iloc[0], "time"] < 0.3
    assert found["params"]["root"].tolist() == ["words:early things"]


def test_words_of_the_lexicon_need_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    from lexicell import embedders
    from lexicell.core.genes.embedding import GeneEmbedding
    from lexicell.sources import lexicon

    table, vectors = lexicon.load()
    wanted = int(np.flatnonzero(table["concept"] == "autophagy")[0])
    away = vectors[[20, 60, 100, 140, 180]].astype(float)
    name, revision = lexicon.manifest()["space"].partition("/")[0].split("@")
    genes = GeneEmbedding.from_vectors(
        fork().var_names, np.vstack([vectors[[wanted]], away]), provenance={"embedder": name, "revision": revision}
    )

    def none_here(*_: object, **__: object) -> None:
        raise AssertionError("a model was asked")

    monkeypatch.setattr(embedders, "embed", none_here)
    adata = fork()
    found = run(adata, root="words:Autophagy", genes=genes)
    assert adata.obs.loc[found["components"]["root"].iloc[0], "time"] < 0.3


def test_a_cell_name_counts_before_what_it_could_also_mean() -> None:
    adata = fork()
    adata.obs_names = ["stage=late", *adata.obs_names[1:]]
    assert run(adata, root="stage=late")["components"]["root"].tolist() == ["stage=late"]


def test_two_roots_give_the_distance_to_the_nearer() -> None:
    both, first, second = fork(), fork(), fork()
    ends = [str(first.obs_names[first.obs["truth"] == k][-1]) for k in ("x", "y")]
    run(both, root=ends)
    run(first, root=ends[0])
    run(second, root=ends[1])
    assert both.obs.loc[ends, "text_pseudotime"].max() == 0
    nearer = np.minimum(*(a.obs["text_pseudotime"].rank() for a in (first, second)))
    assert both.obs["text_pseudotime"].corr(nearer, method="spearman") > 0.95


@pytest.mark.filterwarnings("ignore:no edge runs")
def test_unconnected_parts_are_named_and_each_has_its_own_pseudotime() -> None:
    adata = islands([80, 60, 4])
    with pytest.warns(UserWarning, match="3 unconnected parts of 80, 60, 4 cells.*1 without a root.*4 cells get NaN"):
        found = run(adata, root="0", n_neighbors=4, groupby="island")
    time = adata.obs["text_pseudotime"]
    assert adata.obs["text_component"].tolist() == ["0"] * 80 + ["1"] * 60 + ["2"] * 4
    for rows in (slice(0, 80), slice(80, 140)):
        assert time.iloc[rows].min() == 0
        assert time.iloc[rows].max() == 1
        assert time.iloc[rows].reset_index(drop=True).corr(pd.Series(range(80)), method="spearman") > 0.95
    assert time.iloc[140:].isna().all()
    assert adata.obs["text_branch"].iloc[100] == "1: trunk"
    assert found["components"]["root_from"].tolist() == ["given", "nearest", "none"]
    assert len(found["notes"]) == 2


@pytest.mark.filterwarnings("ignore:the graph falls")
def test_paga_without_an_edge_between_groups_is_empty_and_said() -> None:
    adata = islands([80, 60])
    with pytest.warns(UserWarning, match="no edge runs between the 2 groups"):
        run(adata, root="0", n_neighbors=5, groupby="island")
    assert adata.uns["text_paga"]["connectivities"].nnz == 0
    assert adata.uns["text_paga"]["connectivities"].shape == (2, 2)


@pytest.mark.filterwarnings("ignore:no edge runs")
def test_intervals_within_parts() -> None:
    adata = islands([80, 60])
    with pytest.warns(UserWarning, match="unconnected"):
        run(adata, root="0", n_neighbors=5, n_bootstraps=8, groupby="island")
    assert adata.obs["text_pseudotime_low"].notna().mean() > 0.9


def test_the_users_own_keys_are_left_alone() -> None:
    adata = fork()
    sc.pp.neighbors(adata, n_neighbors=5, use_rep="X_text")
    adata.obs["dpt_pseudotime"] = 7.0
    adata.uns["paga"] = {"mine": 1}
    adata.uns["iroot"] = 5
    before = adata.copy()
    run(adata)
    for key in before.obs:
        assert before.obs[key].equals(adata.obs[key])
    assert adata.uns["paga"] == {"mine": 1}
    assert adata.uns["iroot"] == 5
    assert adata.uns["neighbors"]["params"]["n_neighbors"] == 5
    assert (adata.obsp["connectivities"] != before.obsp["connectivities"]).nnz == 0
    assert (adata.X != before.X).nnz == 0


def test_scanpy_draws_our_paga_and_graph() -> None:
    import matplotlib.pyplot as plt

    adata = fork()
    run(adata, groupby="stage")
    adata.uns["paga"] = adata.uns["text_paga"]
    sc.pl.paga(adata, show=False)
    plt.close("all")
    adata.uns["iroot"] = 0
    sc.tl.diffmap(adata, n_comps=10, neighbors_key="text_trajectory_neighbors")
    sc.tl.dpt(adata, n_dcs=10, neighbors_key="text_trajectory_neighbors")
    assert np.allclose(adata.obs["text_pseudotime"], adata.obs["dpt_pseudotime"], atol=1e-5)


def test_copy_leaves_the_original() -> None:
    adata = fork()
    new = lx.tl.trajectory(adata, root="cell0", use_rep="X_text", n_bootstraps=0, copy=True)
    assert "text_pseudotime" in new.obs
    assert "text_pseudotime" not in adata.obs


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_results_survive_the_file(ordered: anndata.AnnData, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cells{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (ordered.write_h5ad if suffix == ".h5ad" else ordered.write_zarr)(path)
        back = (anndata.read_h5ad if suffix == ".h5ad" else anndata.read_zarr)(path)
    before, after = (a.uns["lexicell"]["X_text"]["trajectory"] for a in (ordered, back))
    for name in ("table", "components", "roots"):
        assert np.array_equal(before[name].to_numpy(dtype=str), after[name].to_numpy(dtype=str)), name
    assert np.allclose(ordered.obs["text_pseudotime"], back.obs["text_pseudotime"])
    assert ordered.obs["text_branch"].astype(str).tolist() == back.obs["text_branch"].astype(str).tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"root": "cel0"}, r"no cell 'cel0'.*nearest are 'cell0'.*'cluster:3'", id="cell-near"),
        pytest.param({"root": "zzz"}, r"names look like 'cell0'", id="cell-far"),
        pytest.param({"root": "stage=erly"}, r"'erly'.*'early'.*Did you mean 'early'", id="label"),
        pytest.param({"root": "cluster:9", "groupby": "stage"}, r"unknown value.*'9'", id="cluster"),
        pytest.param({"root": "cluster:9"}, r"pass groupby=", id="cluster-of-what"),
        pytest.param({"root": "markers:zz"}, r"no gene 'zz' in this data", id="marker"),
        pytest.param({"root": "markers:"}, r"no marker genes given", id="no-marker"),
        pytest.param({"root": []}, r"root is empty", id="empty"),
        pytest.param({"root": 3}, r"adata.obs_names\[i\]", id="number"),
        pytest.param({"root": [3]}, r"adata.obs_names\[i\]", id="number-in-a-list"),
        pytest.param({"n_neighbors": 200}, r"half the number of cells, 120; got 200", id="neighbors"),
        pytest.param({"n_bootstraps": -1}, r"n_bootstraps must not be negative", id="draws"),
        pytest.param({"groupby": "time"}, r"does not hold groups", id="groups-of-one"),
    ],
)
def test_mistakes_are_said_in_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(fork(), **options)


def test_missing_keys_list_what_is_there() -> None:
    with pytest.raises(MissingKeyError, match=r"no representation 'X_no': obsm holds 'X_text'"):
        run(fork(), use_rep="X_no")
    with pytest.raises(MissingKeyError, match=r"no column in obs 'stge'.*Did you mean 'stage'"):
        run(fork(), root="stge=early")


def test_few_cells_nan_and_groups_with_holes_are_refused() -> None:
    with pytest.raises(InputError, match="29 cells are too few"):
        run(fork()[:29].copy())
    adata = fork()
    adata.obsm["X_text"][3, 1] = np.nan
    with pytest.raises(InputError, match=r"1 cells have NaN or infinity.*'cell3'"):
        run(adata)
    adata = fork()
    adata.obs["stage"] = adata.obs["stage"].where(adata.obs["time"] > 0.1)
    with pytest.raises(InputError, match="cells have no value in obs\\['stage'\\]"):
        run(adata, groupby="stage")


def test_a_root_in_a_part_of_a_few_cells_is_refused() -> None:
    adata = islands([80, 4])
    with pytest.raises(InputError, match=r"connected part of 4 of 84 cells.*largest part \(80 cells\)"):
        run(adata, root="81", n_neighbors=4)


def test_a_connected_graph_gives_no_warning() -> None:
    adata = fork()
    run(adata)
    assert connected_components(adata.obsp["text_trajectory_connectivities"])[0] == 1
    assert len(adata.uns["lexicell"]["X_text"]["trajectory"]["notes"]) == 0
