"""What `lexicell run` computes of many cells: all of them for what is shown, a sample for what is only compared."""

from __future__ import annotations

import numpy as np
import pytest

import lexicell as lx
from lexicell import _pipeline
from lexicell.tl import _graph


@pytest.mark.filterwarnings("ignore:only 755 genes have a text")
@pytest.mark.parametrize("compare", [False, True], ids=["sampled", "all cells"])
def test_what_is_not_shown_is_compared_on_a_sample(compare: bool, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(_graph, "_EXACT", 300)
    adata = lx.datasets.pbmc68k_counts()
    expression = lx.Expression(library_size="n_counts")
    settings = _pipeline.Settings(expression=expression, cell_type="cell_type", compare=compare)
    said: list[str] = []
    table = _pipeline.run(adata, tmp_path / "out", settings, say=said.append)
    others = table.drop(index="fused")
    assert table.loc["fused", "cells"] == 700
    assert (others["cells"] == (700 if compare else 300)).all()
    assert ("text_leiden" in adata.obs) == compare
    assert ("of 300 cells drawn at random" in " ".join(said)) != compare
    # The sample is of all types, so that its agreement with them is near that of all cells.
    assert (others["ari"] > 0.25).all()
    steps = adata.uns["lexicell"]["run"]["steps"]
    assert list(steps.columns) == ["step", "seconds", "cpu_seconds", "peak_gb"]
    assert (np.diff(steps["peak_gb"]) >= 0).all()
