"""What else differs between the arms of a study: depth, and columns that say how or from whom a sample came."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..._errors import choices
from .design import Comparison, Study

__all__ = ["coarser_donors", "confounded_columns", "recorded_depth", "unequal_depth"]

# Columns named otherwise are not looked at. Short words count only where they stand alone: "age" is not in "coverage".
_TECHNICAL = re.compile(
    r"(?<![a-z])(sex|gender|age|pmi|rin|run|lane|pool|kit|site|assay|chip|flow.?cell)(?![a-z])|batch|library|chemistry|"
    r"post.?mortem|protocol|platform|version|processing|center|ethnic|ancestry|sequenc|dissociat|capture",
    re.IGNORECASE,
)
# What people and animals are called. A column of these with fewer names than the donors have may hold the true donors.
_PEOPLE = re.compile(r"(?<![a-z])(donor|patient|subject|individual|participant|person|mouse|animal)", re.IGNORECASE)
_DEPTH = ("n_counts", "total_counts", "nCount_RNA", "n_umi", "nUMI")


def recorded_depth(obs: pd.DataFrame) -> NDArray[np.float64] | None:
    """Counts of each cell as a usual column of `obs` records them; None without such a column."""
    for column in _DEPTH:
        if column in obs and pd.api.types.is_numeric_dtype(obs[column]):
            return np.asarray(obs[column], dtype=np.float64)
    return None


def unequal_depth(study: Study, depth: NDArray[np.float64]) -> list[str]:
    """One warning per comparison whose arms differ by more than 15 % in the median counts per cell."""
    known = study.sample_codes >= 0
    medians = pd.Series(depth[known]).groupby(study.sample_codes[known]).median()
    log = np.log(np.maximum(medians.reindex(range(len(study.samples))).to_numpy(dtype=np.float64), 1.0))
    found = []
    for comparison in study.comparisons:
        x = comparison.labels(len(log))
        change = float(log[x == 1].mean() - log[x == 0].mean())
        if abs(change) >= np.log(1.15):
            found.append(
                f"sequencing depth differs between the arms: median counts per cell in '{comparison.name}' are "
                f"{np.exp(change):.2f} times those of the reference. Sums of counts allow for that; means of cells, "
                "which are tested where the representation is not a sum over genes, do not"
            )
    return found


def confounded_columns(study: Study, obs: pd.DataFrame) -> list[str]:
    """One warning per technical or personal column of `obs` that differs between the arms and was not adjusted for."""
    found = []
    adjusted = [study.design.batch, *study.design.covariates]
    columns = [c for c in obs.columns if _TECHNICAL.search(str(c)) and c not in adjusted]
    for comparison in study.comparisons:
        # What differs between people cancels in pairs.
        if not comparison.is_paired:
            for column in columns:
                found += _column_warning(study, comparison, obs[column])
    return found


def coarser_donors(study: Study, obs: pd.DataFrame) -> list[str]:
    """One warning per column of people or animals that unites several donors of the study: sections are not donors."""
    known = study.sample_codes >= 0
    donors = obs.loc[known, study.design.donor].astype(str)
    found = []
    for column in obs.columns:
        if column == study.design.donor or not _PEOPLE.search(str(column)) or obs.loc[known, column].isna().any():
            continue
        owners = obs.loc[known, column].astype(str).groupby(donors.to_numpy())
        per_donor = owners.first()
        if (owners.nunique() > 1).any() or not 1 < per_donor.nunique() < len(per_donor):
            continue
        found.append(
            f"'{column}' has {per_donor.nunique()} levels for the {len(per_donor)} of '{study.design.donor}': if those "
            f"are samples or sections of the same people or animals, pass donor='{column}'; samples of one donor are "
            "not independent, and p would be too small"
        )
    return found


def _column_warning(study: Study, comparison: Comparison, values: pd.Series) -> list[str]:
    known = study.sample_codes >= 0
    groups = values[known].groupby(study.sample_codes[known], observed=True)
    numeric = pd.api.types.is_numeric_dtype(values)
    if not numeric and (groups.nunique(dropna=True) > 1).any():
        return []
    x = comparison.labels(len(study.samples))
    if numeric and values.nunique() > 4:
        from scipy import stats

        means = groups.mean().reindex(range(len(x))).to_numpy(dtype=np.float64)
        a, b = means[x == 1], means[x == 0]
        if np.isnan(a).any() or np.isnan(b).any() or np.ptp(np.r_[a, b]) == 0:
            return []
        constant = np.ptp(a) == 0 and np.ptp(b) == 0
        if not constant and stats.ttest_ind(a, b, equal_var=False).pvalue > 0.05:
            return []
        return [
            f"'{values.name}' differs between the arms ({a.mean():.3g} in '{comparison.name}', {b.mean():.3g} in the "
            f"reference); pass covariates=['{values.name}'] if there are enough donors"
        ]
    first = groups.first().reindex(range(len(x))).astype(str).to_numpy()
    case, control = set(first[x == 1]), set(first[x == 0])
    if case & control or len(case | control) < 2:
        return []
    return [
        f"'{values.name}' is aligned with the condition: {choices(sorted(case))} in '{comparison.name}', "
        f"{choices(sorted(control))} in the reference; its effect cannot be told from that of the condition"
    ]
