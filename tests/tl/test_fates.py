"""tl.fates: probabilities against a dense solution by hand, on a fork whose ends are known; without the extra."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any, ClassVar

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import lexicell as lx
from lexicell._errors import InputError, MissingDependencyError, MissingKeyError

METHODS = [
    pytest.param(
        m,
        marks=pytest.mark.skipif(importlib.util.find_spec(m) is None, reason=f"{m} is not installed (extra 'traj')"),
        id=m,
    )
    for m in ("cellrank", "palantir")
]


def fork(n: int = 260, seed: int = 0) -> anndata.AnnData:
    rng = np.random.default_rng(seed)
    t, arm = np.sort(rng.random(n)), rng.integers(2, size=n)
    late = np.maximum(t - 0.4, 0)
    points = np.column_stack([np.minimum(t, 0.4), late * (arm == 0), late * (arm == 1), np.zeros((n, 3))])
    points += rng.normal(scale=0.03, size=points.shape)
    adata = anndata.AnnData(sp.csr_matrix((n, 1), dtype=np.float32))
    adata.obs_names = [f"cell{i}" for i in range(n)]
    adata.obsm["X_text"] = points.astype(np.float32)
    adata.obs["time"], adata.obs["truth"] = t, np.where(t < 0.4, "trunk", np.where(arm == 0, "x", "y"))
    lx.tl.trajectory(adata, root="cell0", use_rep="X_text", groupby="truth", n_bootstraps=0)
    return adata


@pytest.fixture(scope="module")
def start() -> anndata.AnnData:
    return fork()


@pytest.mark.parametrize("method", METHODS)
def test_fates_follow_the_planted_branches(start: anndata.AnnData, method: str, tmp_path: Path) -> None:
    adata = lx.tl.fates(start, method=method, use_rep="X_text", copy=True)
    found = adata.obsm["text_fates"]
    assert list(found.columns) == ["branch 1", "branch 2"]
    assert np.allclose(found.sum(axis=1), 1)
    for end in found.columns:
        mine = start.obs["text_branch"] == end
        truth = start.obs.loc[mine, "truth"].mode()[0]
        late = (start.obs["time"] > 0.6) & (start.obs["truth"] == truth)
        other = (start.obs["time"] > 0.6) & ~start.obs["truth"].isin([truth, "trunk"])
        assert found.loc[late, end].mean() > 0.9
        assert found.loc[other, end].mean() < 0.1
    early = start.obs["time"] < 0.2
    assert found.loc[early].to_numpy().min() > 0.1  # both are open
    entropy = adata.obs["text_fate_entropy"]
    assert entropy[early].mean() > 0.6
    assert entropy[start.obs["time"] > 0.6].mean() < 0.4
    table = adata.uns["lexicell"]["X_text"]["fates"]["table"]
    assert (table["mean_branch"] > table["mean_trunk"]).all()
    assert "text_fates" not in start.obsm
    adata.write_h5ad(tmp_path / "a.h5ad")
    back = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert np.allclose(back.obsm["text_fates"].to_numpy(), found.to_numpy())
    if method == "palantir":
        assert adata.obs["text_palantir_pseudotime"].corr(start.obs["time"], method="spearman") > 0.95


@pytest.mark.parametrize("method", METHODS[:1])
def test_cellrank_against_a_dense_solution(start: anndata.AnnData, method: str) -> None:
    """Most edges back in pseudotime go (CellRank keeps the nearest of them); then (1 - Q) P = R."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import cellrank

    from lexicell.tl import _fates

    kept: list[Any] = []
    real = cellrank.kernels.PseudotimeKernel.compute_transition_matrix

    def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
        done = real(self, *args, **kwargs)
        kept.append(self.transition_matrix.toarray())
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cellrank.kernels.PseudotimeKernel, "compute_transition_matrix", spy)
        adata = lx.tl.fates(start, method=method, use_rep="X_text", n_terminal=5, copy=True)
    T = kept[0]
    time = start.obs["text_pseudotime"].to_numpy()
    W = start.obsp["text_trajectory_connectivities"].toarray()
    forward, even = (np.where(time[None, :] >= time[:, None], m, 0).sum() / m.sum() for m in (T, W))
    assert forward > even + 0.1
    ordered = _fates.find_ordered(adata, "X_text")
    tips = adata.uns["lexicell"]["X_text"]["fates"]["table"]["cell"]
    ends = _fates._terminal_cells(ordered, np.arange(len(T)), start.obsm["X_text"], start.obs_names, tips, 5)
    rows = {end: start.obs_names.get_indexer(cells) for end, cells in ends.items()}
    inside = np.setdiff1d(np.arange(len(T)), np.concatenate(list(rows.values())))
    R = np.column_stack([T[np.ix_(inside, r)].sum(axis=1) for r in rows.values()])
    by_hand = np.linalg.solve(np.eye(len(inside)) - T[np.ix_(inside, inside)], R)
    assert np.allclose(adata.obsm["text_fates"].to_numpy()[inside], by_hand, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_other_parts_get_nothing(method: str) -> None:
    one = fork(200)
    far = np.column_stack([np.linspace(0, 1, 60), np.full(60, 50.0), np.zeros((60, 4))]).astype(np.float32)
    adata = anndata.AnnData(sp.csr_matrix((260, 1), dtype=np.float32))
    adata.obs_names = [f"cell{i}" for i in range(260)]
    adata.obsm["X_text"] = np.concatenate([one.obsm["X_text"], far])
    with pytest.warns(UserWarning, match="2 unconnected parts"):
        lx.tl.trajectory(adata, root="cell0", use_rep="X_text", n_bootstraps=0)
    lx.tl.fates(adata, method=method, use_rep="X_text")
    assert adata.obsm["text_fates"].isna().all(axis=1).tolist() == [False] * 200 + [True] * 60


def test_without_the_extra_the_message_says_what_to_install(
    start: anndata.AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'lexicell\[traj\]'"):
        lx.tl.fates(start, use_rep="X_text")


def test_one_end_has_no_fate_to_decide() -> None:
    points = np.column_stack([np.linspace(0, 1, 80), np.random.default_rng(0).normal(scale=0.01, size=(80, 2))])
    adata = anndata.AnnData(
        obsm={"X_text": points.astype(np.float32)}, obs=pd.DataFrame(index=[f"c{i}" for i in range(80)])
    )
    lx.tl.trajectory(adata, root="c0", use_rep="X_text", n_bootstraps=0)
    with pytest.raises(InputError, match="1 terminal state, so there is no fate"):
        lx.tl.fates(adata, use_rep="X_text")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        pytest.param({"method": "velocity"}, InputError, "'cellrank', 'palantir'", id="method"),
        pytest.param({"use_rep": "X_no"}, MissingKeyError, "no result 'trajectory'", id="key"),
        pytest.param({"component": "4"}, InputError, "unknown component '4'", id="component"),
        pytest.param({"n_terminal": 0}, InputError, "n_terminal must be at least 1", id="terminal"),
    ],
)
def test_mistakes(start: anndata.AnnData, options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lx.tl.fates(start, **{"use_rep": "X_text", **options})


def test_equations_that_cannot_be_solved_are_told() -> None:
    """A walk that never comes to an end: the cells beside it have no way forward."""
    from lexicell.tl import _fates

    class Walk:
        asked: ClassVar[list[str]] = []

        def compute_fate_probabilities(self, solver: str, **options: Any) -> None:
            self.asked.append(solver)
            raise ValueError(f"`3` value(s) of {solver} are negative. Try this or that")

    with pytest.raises(InputError, match=r"`3` value\(s\) of direct are negative\. .* larger n_neighbors .*'palantir'"):
        _fates._absorb(Walk())
    assert Walk.asked == ["gmres", "direct"]
