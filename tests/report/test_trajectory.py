"""The report's section on trajectories: says what stands in the object, and nothing where there is no trajectory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

import lexicell as lx


@pytest.fixture(scope="module")
def cells(fork_cells: Callable[[int], anndata.AnnData]) -> anndata.AnnData:
    adata = fork_cells(240)
    stage = adata.obs["stage"].cat.rename_categories({"well": "<well>"})
    adata.obs["stage"] = stage.cat.reorder_categories(["<well>", "ill"], ordered=True)
    lx.emb.expression_pca(adata, n_top_genes=80)
    lx.tl.trajectory(adata, root="first=yes", use_rep="X_expression", groupby="stage", n_bootstraps=6)
    return adata


def page(adata: anndata.AnnData, folder: Path) -> str:
    lx.report(adata, folder / "r.html")
    return (folder / "r.html").read_text()


def test_the_order_its_ends_and_its_doubts(cells: anndata.AnnData, tmp_path: Path) -> None:
    text = page(cells, tmp_path)
    result = cells.uns["lexicell"]["X_expression"]["trajectory"]
    assert "The order of the cells" in text
    assert "from the root “first=yes”" in text
    for cell in result["table"]["cell"]:
        assert f"<td>{cell}</td>" in text
    assert f"{result['roots']['spearman'].min():.2f} at the lowest" in text
    assert "Progression" not in text
    assert "What changes along it" not in text


def test_everything_along_it(cells: anndata.AnnData, tmp_path: Path) -> None:
    adata = cells.copy()
    lx.tl.trends(adata, use_rep="X_expression", queries=[])
    lx.tl.progression(adata, lx.StudyDesign(condition="stage", donor="donor"), use_rep="X_expression")
    text = page(adata, tmp_path)
    found = adata.uns["lexicell"]["X_expression"]
    assert found["trends"]["params"]["note"] in text
    assert found["trends"]["table"]["feature"].iloc[0] in text
    assert "Genes that make the last stage differ from the first, all cells" in text
    assert f'<th scope="row">{found["progression"]["genes"]["gene"].iloc[0]}</th>' in text
    assert "&lt;well&gt;" in text
    assert f"{found['progression']['table']['p'].iloc[0]:.2g}" in text


def test_warnings_stand_at_the_top_and_parts_are_listed(tmp_path: Path) -> None:
    points = [np.column_stack([np.linspace(0, 1, 60), np.full(60, 50.0 * i)]) for i in range(2)]
    adata = anndata.AnnData(sp.csr_matrix((120, 1), dtype=np.float32), obs={"side": ["a"] * 60 + ["b"] * 60})
    adata.obsm["X_text"] = np.concatenate(points).astype(np.float32)
    with pytest.warns(UserWarning, match="unconnected"):
        lx.tl.trajectory(adata, root="0", use_rep="X_text", groupby="side", n_bootstraps=0)
    text = page(adata, tmp_path)
    assert text.index("2 unconnected parts") < text.index("Parts of the graph")


def test_no_section_without_a_trajectory(tmp_path: Path) -> None:
    adata = anndata.AnnData(sp.csr_matrix(np.random.default_rng(0).poisson(3, (60, 40)).astype(np.float32)))
    lx.emb.expression_pca(adata, n_components=5)
    assert "The order of the cells" not in page(adata, tmp_path)
