"""Within a run expression is read once, and every step is timed."""

from __future__ import annotations

import time

import numpy as np
import pytest

import lexicell as lx
from lexicell._expression import Expression, read_values, values_kept
from lexicell._progress import Steps


def test_expression_is_read_once_within_and_anew_outside() -> None:
    adata = lx.datasets.pbmc68k_counts()
    choice = Expression(library_size="n_counts")
    before = read_values(adata, choice)
    with values_kept():
        first = read_values(adata, choice)
        assert read_values(adata, choice) is first
        assert read_values(adata, like=first.params) is first
        assert read_values(adata, Expression()) is not first
        assert read_values(adata.copy(), choice) is not first
    assert read_values(adata, choice) is not first
    assert (before.log != first.log).nnz == 0
    assert (read_values(adata).log != first.log).nnz > 0


def test_residual_variance_is_computed_once() -> None:
    values = read_values(lx.datasets.pbmc68k_counts())
    assert values.residual_variance is values.residual_variance
    assert values.residual_variance.shape == values.genes.shape


def test_steps_are_timed_and_only_long_ones_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lexicell._progress._WORTH_A_LINE", 0.1)
    said: list[str] = []
    steps = Steps(said.append)
    with steps.step("short"):
        pass
    with steps.step("long"):
        time.sleep(0.2)
    table = steps.table()
    assert list(table.columns) == ["step", "seconds", "cpu_seconds", "peak_gb"]
    assert list(table["step"]) == ["short", "long"]
    assert table["seconds"][0] < 0.1 <= 0.2 <= table["seconds"][1]
    # It slept.
    assert table["cpu_seconds"][1] < 0.2
    assert np.isnan(table["peak_gb"]).all() or (table["peak_gb"] > 0.01).all()
    assert said == ["step        long: 0 s"]
    assert len(steps.lines()) == 3
