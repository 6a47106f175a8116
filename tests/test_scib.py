"""scib-metrics is optional: its scores appear where it is installed, and what to install is said where it is not."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from lexicell._errors import MissingDependencyError
from lexicell._scib import check_scib, scib_scores


def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scib_metrics", None)
    with pytest.raises(MissingDependencyError, match=r"lexicell\[eval\]"):
        check_scib()


@pytest.mark.filterwarnings("ignore")  # jax and its parts warn on their own
def test_scores_tell_apart_from_mixed(rng: np.random.Generator) -> None:
    pytest.importorskip("scib_metrics", reason="scib-metrics is not installed (extra eval)")
    labels, batch = np.repeat(list("abc"), 50), np.tile(["x", "y"], 75)
    centres = 8 * np.eye(4)[np.repeat([0, 1, 2], 50)]
    noise = rng.normal(size=(150, 4))
    apart, mixed = scib_scores(centres + noise, labels, batch), scib_scores(noise, labels, batch)
    assert set(apart) == {
        f"scib_{n}" for n in ("silhouette_label", "clisi", "isolated_labels", "ilisi", "silhouette_batch")
    }
    assert apart["scib_silhouette_label"] > mixed["scib_silhouette_label"] + 0.2
    assert apart["scib_clisi"] > mixed["scib_clisi"] + 0.2
    assert set(scib_scores(noise, labels, None)) == {"scib_silhouette_label", "scib_clisi"}
