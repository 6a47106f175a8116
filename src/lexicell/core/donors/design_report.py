"""What a design can show, from obs alone: arms, donors, cells, confounding, and the smallest p of each test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .confounding import coarser_donors, confounded_columns, recorded_depth, unequal_depth
from .design import MIN_DONORS, Study
from .shift import Design
from .vulnerability import _why_not, smallest_p

__all__ = ["design_report"]


def design_report(study: Study, obs: pd.DataFrame) -> dict[str, Any]:
    """Say what can be tested with these donors and cells, and what not.

    Parameters
    ----------
    study
        From :meth:`lexicell.StudyDesign.check`.
    obs
        The table it was made from.

    Returns
    -------
    dict
        ``comparisons``, a table with one row per comparison: ``comparison``, ``reference``, ``design``,
        ``donors_case``, ``donors_reference``, ``smallest_p``. ``types``, with one row per comparison and cell type:
        donors and cells of each arm, ``smallest_p`` and ``status``. ``cells``: cells per type (rows) and sample.
        ``warnings``: a list of sentences.
    """
    comparisons, types = [], []
    present = study.present
    for comparison in study.comparisons:
        label = {"comparison": comparison.name}
        case, reference = comparison.design.arms
        comparisons.append(
            {
                **label,
                "reference": study.reference,
                "design": comparison.design.kind,
                "donors_case": case,
                "donors_reference": reference,
                "smallest_p": _smallest_p(comparison.design, study),
            }
        )
        counts = comparison.arm_counts(study.counts)
        for t, name in enumerate(study.types):
            here = comparison.present(present)[t]
            own = comparison.design.subset(here)
            reason = _why_not(own, study.design.min_cells, MIN_DONORS)
            cells = counts[t].sum(axis=0)
            types.append(
                {
                    **label,
                    "cell_type": name,
                    "donors_case": own.arms[0],
                    "donors_reference": own.arms[1],
                    "cells_case": int(cells[0]),
                    "cells_reference": int(cells[1]),
                    "smallest_p": np.nan if reason else _smallest_p(own, study),
                    "status": reason or "can be tested",
                }
            )
    samples = [f"{row.donor} ({row.condition})" for row in study.samples.itertuples()]
    warnings = [*study.notes, *coarser_donors(study, obs), *confounded_columns(study, obs)]
    depth = recorded_depth(obs)
    if depth is not None:
        warnings += unequal_depth(study, depth)
    table = pd.DataFrame(types)
    weak = table[table["smallest_p"] > 0.05]
    if len(weak):
        warnings.append(
            f"too few donors for p <= .05 in {len(weak)} of {len(table)} tests (smallest possible p "
            f"{weak['smallest_p'].min():.2g}); more donors are needed, not more cells"
        )
    return {
        "comparisons": pd.DataFrame(comparisons),
        "types": table,
        "cells": pd.DataFrame(study.counts, index=pd.Index(study.types, name="cell_type"), columns=samples),
        "warnings": warnings,
    }


def _smallest_p(design: Design, study: Study) -> float:
    return smallest_p(design, design.permutations(n_draws=study.design.n_permutations, rng=0))
