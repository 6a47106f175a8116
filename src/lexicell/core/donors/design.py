"""The design of a study: columns of obs, checked once and laid out as samples, donors and comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..._errors import InputError, check_column, check_repeats, choices
from .shift import Design

__all__ = ["MIN_DONORS", "Comparison", "Study", "StudyDesign"]

MIN_DONORS = 3
"""Donors (or pairs) an arm needs for a cell type to be tested."""

# Written by other programs where a value is missing: taken as missing, and said.
_MISSING = ("", "nan", "NaN", "NA", "N/A", "<NA>", "None", "null")


@dataclass(frozen=True, kw_only=True)
class StudyDesign:
    """Which column of ``obs`` is what, and what is compared: shared by every donor-level tool.

    Parameters
    ----------
    donor
        Column of ``obs``. A donor is a person or an animal, not a sample or a library.
    cell_type, condition
        Columns of ``obs``. Tools that need one say so; :func:`lexicell.tl.vulnerability` needs both.
    reference
        The level of `condition` that every other level is compared with.
    batch
        Column of ``obs``, the same for all cells of a donor: labels change places within batches only, and the effect
        is taken within batches.
    covariates
        Columns of ``obs`` at donor level, such as ``["sex", "age"]``; numbers are averaged over a donor's cells. Tested
        by permuting residuals (Freedman and Lane 1983).
    paired
        Whether each donor gives cells to both conditions; ``"auto"`` looks. Signs of the differences are then flipped.
    stages
        Levels of `condition` in order (or with their numbers), beginning with the reference: one test of a trend
        instead of one test per level.
    min_cells
        A donor with fewer cells of a type takes no part in the tests of that type.
    n_permutations
        Random permutations of the donors where there are more than 5,000 to list.

    Raises
    ------
    InputError
        If a parameter is of the wrong kind or out of range. Columns are checked by :meth:`check`.

    Examples
    --------
    >>> import lexicell as lx
    >>> import pandas as pd
    >>> design = lx.StudyDesign(cell_type="kind", condition="group", reference="control", donor="mouse")
    >>> obs = pd.DataFrame({"kind": "motor", "group": ["control"] * 3 + ["ALS"] * 3, "mouse": list("abcdef")})
    >>> [comparison.name for comparison in design.check(obs).comparisons]
    ['ALS']
    """

    donor: str
    cell_type: str | None = None
    condition: str | None = None
    reference: str | bool | float | None = None
    batch: str | None = None
    covariates: Sequence[str] = ()
    paired: bool | str = "auto"
    stages: Sequence[str] | Mapping[str, float] | None = None
    min_cells: int = 8
    n_permutations: int = 2000

    def __post_init__(self) -> None:
        covariates = [self.covariates] if isinstance(self.covariates, str) else self.covariates
        object.__setattr__(self, "covariates", tuple(covariates))
        if isinstance(self.stages, str):
            raise InputError(f"stages lists levels of the condition in order, such as ['control', '{self.stages}']")
        if self.paired not in (True, False, "auto"):
            raise InputError(f"paired must be True, False or 'auto', not {self.paired!r}")
        if self.min_cells < 1:
            raise InputError(f"min_cells must be at least 1, got {self.min_cells}")
        if self.n_permutations < 99:
            raise InputError(
                f"n_permutations must be at least 99, got {self.n_permutations}: fewer cannot show p = .01"
            )
        check_repeats(self.n_permutations, "n_permutations", most=1_000_000)

    @property
    def columns(self) -> list[str]:
        """Columns of ``obs`` that are read."""
        named = [self.cell_type, self.condition, self.donor, self.batch]
        return [*(column for column in named if column), *self.covariates]

    def check(self, obs: pd.DataFrame) -> Study:
        """Check the columns and lay out samples and comparisons.

        Parameters
        ----------
        obs
            One row per cell, such as ``adata.obs``; only read.

        Returns
        -------
        Study
            Cells as codes of types and samples, and the comparisons.

        Raises
        ------
        InputError
            If cell type, condition or reference is not named, the condition has one level, the reference is none of
            them, an arm has one donor, a donor appears in both conditions of an unpaired design, or the condition is
            aligned with the batch or a covariate.
        MissingKeyError
            If a column does not exist.
        """
        if self.cell_type is None or self.condition is None or self.reference is None:
            raise InputError("a comparison needs cell_type=, condition= and reference= in lexicell.StudyDesign")
        for column in self.columns:
            check_column(obs, column)
        notes: list[str] = []
        columns = {"cell_type": self.cell_type, "condition": self.condition, "donor": self.donor}
        names = {what: _read_names(obs[column], notes) for what, column in columns.items()}
        known = np.logical_and.reduce([column.notna().to_numpy() for column in names.values()])
        if not known.all():
            left_out = f"{int((~known).sum())} cells without cell type, condition or donor were left out"
            notes.insert(0, left_out)
        reference = self._reference(obs.loc[known, self.condition], names["condition"][known])
        type_codes, types = pd.factorize(names["cell_type"].where(known), sort=True)
        keys = pd.DataFrame({"donor": names["donor"], "condition": names["condition"]})
        samples = keys[known].value_counts(sort=False).rename("n_cells").reset_index()
        samples = samples.sort_values(["condition", "donor"], kind="stable", ignore_index=True)
        place = pd.MultiIndex.from_frame(samples[["donor", "condition"]])
        codes = np.where(known, place.get_indexer(pd.MultiIndex.from_frame(keys)), -1).astype(np.int64)
        self._describe(samples, obs, codes)
        if self.stages is not None:
            comparisons = [self._trend(samples, reference)]
        else:
            levels = sorted(set(samples["condition"]))
            comparisons = [self._two_groups(samples, level, reference) for level in levels if level != reference]
        return Study(
            self, reference, [str(t) for t in types], type_codes.astype(np.int64), samples, codes, comparisons, notes
        )

    def _reference(self, values: pd.Series, names: pd.Series) -> str:
        """The level meant by `reference`: by its name, or by its value where the column holds numbers or truth."""
        levels = sorted(set(names))
        if len(levels) < 2:
            raise InputError(
                f"obs['{self.condition}'] holds one level, {choices(levels)}; a comparison needs the reference and "
                "another one"
            )
        if str(self.reference) in levels:
            return str(self.reference)
        same = names[(values == self.reference).to_numpy(dtype=bool)]
        if len(same):
            return str(same.iloc[0])
        raise InputError(
            f"reference '{self.reference}' is not a level of obs['{self.condition}']; choose one of {choices(levels)}"
        )

    def _describe(self, samples: pd.DataFrame, obs: pd.DataFrame, codes: NDArray[np.int64]) -> None:
        """Add batch and covariates to the samples; each must have one value per sample."""
        inside = codes >= 0
        for column in self.columns[3:]:
            values = obs.loc[inside, column]
            groups = values.groupby(codes[inside])
            if column == self.batch or not pd.api.types.is_numeric_dtype(values):
                mixed = samples.loc[groups.nunique(dropna=False).to_numpy() > 1, "donor"].tolist()
                if mixed:
                    raise InputError(
                        f"obs['{column}'] differs within donors {choices(mixed, limit=5)}; it must be the same for all "
                        "cells of a donor in one condition"
                    )
                first = groups.first()
                samples[column] = first.astype(str).where(first.notna()).to_numpy()
            else:
                samples[column] = groups.mean().to_numpy(dtype=np.float64)
            if samples[column].isna().any():
                raise InputError(f"obs['{column}'] is missing for some donors; fill it in or leave the column out")

    def _two_groups(self, samples: pd.DataFrame, level: str, reference: str) -> Comparison:
        """Cases against the reference: by pairs where donors appear in both, else by arms."""
        case = samples[samples["condition"] == level].set_index("donor")
        control = samples[samples["condition"] == reference].set_index("donor")
        both = [donor for donor in case.index if donor in control.index]
        alone = [donor for donor in case.index.union(control.index, sort=False) if donor not in both]
        self._check_pairs(both, alone, f"'{level}' and '{reference}'")
        if both:
            return self._pairs(samples, both, level, reference)
        for name, arm in ((level, case), (reference, control)):
            if len(arm) < 2:
                raise InputError(
                    f"one donor in the arm '{name}': donors, not cells, are what is replicated; {MIN_DONORS} per arm "
                    f"are needed (here: '{level}' {len(case)}, '{reference}' {len(control)})"
                )
        rows = samples.index[samples["condition"].isin([level, reference])].to_numpy(dtype=np.int64)
        x = (samples.loc[rows, "condition"] == level).to_numpy(dtype=np.float64)
        return self._unpaired(samples, level, rows, x)

    def _check_pairs(self, both: list[str], alone: list[str], arms: str) -> None:
        if self.paired is True and not both:
            raise InputError(f"paired=True, but no donor appears in both {arms}; pass paired=False")
        if both and self.paired is False:
            raise InputError(
                f"donors {choices(both, limit=5)} appear in both {arms}; their samples are not independent. Pass "
                "paired=True, or give different people different names in the donor column"
            )
        if both and self.paired == "auto":
            if alone:
                raise InputError(
                    f"{len(both)} donors appear in both {arms} and {len(alone)} in one only "
                    f"({choices(alone, limit=5)}); pass paired=True to use the pairs and leave the others out, or "
                    "remove the pairs or the single donors yourself"
                )
            if _only_numbered(both):
                raise InputError(
                    f"donors {choices(both, limit=5)} appear in both {arms}, but such numbers may also count the "
                    "donors of each arm. Pass paired=True if they are the same people, else name each person "
                    "differently"
                )

    def _pairs(self, samples: pd.DataFrame, both: list[str], level: str, reference: str) -> Comparison:
        if len(both) < 2:
            raise InputError(
                f"one pair of samples for '{level}' against '{reference}'; pairs of {MIN_DONORS} donors are needed"
            )
        if self.batch or self.covariates:
            raise InputError(
                "a paired design takes no covariates and no batch: what is the same in both samples of a donor cancels "
                "in their difference; leave them out, or leave one sample of each donor out"
            )
        place = pd.Series(samples.index, index=pd.MultiIndex.from_frame(samples[["donor", "condition"]]))
        rows = place.reindex([(donor, level) for donor in both]).to_numpy(dtype=np.int64)
        partners = place.reindex([(donor, reference) for donor in both]).to_numpy(dtype=np.int64)
        return Comparison(level, rows, partners, Design.of(np.ones(len(both)), is_paired=True), both)

    def _trend(self, samples: pd.DataFrame, reference: str) -> Comparison:
        levels = sorted(set(samples["condition"]))
        if isinstance(self.stages, Mapping):
            scores = {str(stage): float(value) for stage, value in self.stages.items()}
        else:
            scores = {str(stage): float(i) for i, stage in enumerate(self.stages or ())}
        unknown = [stage for stage in scores if stage not in levels]
        if unknown:
            raise InputError(
                f"stages {choices(unknown)} are not levels of the condition; choose among {choices(levels)}"
            )
        if len(set(scores.values())) < 2 or min(scores, key=lambda stage: scores[stage]) != reference:
            raise InputError(f"stages must be at least two, in order, beginning with the reference '{reference}'")
        rows = samples.index[samples["condition"].isin(list(scores))].to_numpy(dtype=np.int64)
        part = samples.loc[rows]
        repeated = sorted(part.loc[part["donor"].duplicated(), "donor"].unique())
        if repeated or self.paired is True:
            raise InputError(
                f"a trend over stages needs one stage per donor; {choices(repeated, limit=5)} appear in several. "
                "Compare two stages with paired=True instead"
            )
        return self._unpaired(samples, "trend", rows, part["condition"].map(scores).to_numpy(dtype=np.float64))

    def _unpaired(self, samples: pd.DataFrame, name: str, rows: NDArray[np.int64], x: NDArray[Any]) -> Comparison:
        part = samples.loc[rows]
        columns = []
        for column in self.covariates:
            if pd.api.types.is_numeric_dtype(part[column]):
                spread = float(part[column].std(ddof=0)) or 1.0
                scaled = (part[column] - part[column].mean()) / spread
                columns.append(scaled.to_numpy(dtype=np.float64)[:, None])
            else:
                columns.append(pd.get_dummies(part[column], drop_first=True).to_numpy(dtype=np.float64))
        blocks = part[self.batch].to_numpy() if self.batch else None
        design = Design.of(x, blocks=blocks, covariates=np.hstack(columns) if columns else None)
        if design.nuisance is not None:
            fitted = design.nuisance @ np.linalg.lstsq(design.nuisance, x, rcond=None)[0]
            if np.abs(x - fitted).max() <= 1e-8:
                aligned = [f"batch '{self.batch}'"] if self.batch else []
                aligned += [f"'{column}'" for column in self.covariates]
                raise InputError(
                    f"the condition is fully aligned with {' and '.join(aligned)}: the two cannot be told apart with "
                    "these donors; leave the column out and read every result as an effect of both"
                )
        return Comparison(name, rows, np.zeros(0, np.int64), design, part["donor"].tolist())


@dataclass(frozen=True)
class Comparison:
    """One test: which samples, in which roles.

    Attributes
    ----------
    name
        The condition compared with the reference, or ``"trend"``.
    rows
        Samples used, shape ``(n,)``; in a paired design those of the case condition.
    partners
        The reference sample of each pair; empty where not paired.
    design
        What the statistics need of it.
    donors
        Donor of each entry of `rows`.
    """

    name: str
    rows: NDArray[np.int64]
    partners: NDArray[np.int64]
    design: Design
    donors: list[str]

    @property
    def is_paired(self) -> bool:
        """Whether each donor gives both samples."""
        return self.design.kind == "paired"

    def values(self, by_sample: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take ``(..., n_samples, d)`` to what is tested: the samples' values, or the differences of the pairs."""
        if self.is_paired:
            return np.asarray(by_sample[..., self.rows, :] - by_sample[..., self.partners, :])
        return np.asarray(by_sample[..., self.rows, :])

    def present(self, by_sample: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """``(n_types, n_samples)`` to ``(n_types, n)``: a pair needs both samples."""
        here = by_sample[:, self.rows]
        return np.asarray(here & by_sample[:, self.partners] if self.is_paired else here)

    def counts(self, by_sample: NDArray[np.int64]) -> NDArray[np.float64]:
        """Cell counts as :func:`lexicell.core.donors.depletion.depletion_test` takes them."""
        if self.is_paired:
            return np.stack([by_sample[:, self.rows], by_sample[:, self.partners]], axis=-1).astype(np.float64)
        return by_sample[:, self.rows].astype(np.float64)

    def arm_counts(self, by_sample: NDArray[np.int64]) -> NDArray[np.int64]:
        """Cells of the case and of the reference arm, ``(n_types, n, 2)``."""
        counts = by_sample[:, self.rows]
        if self.is_paired:
            return np.stack([counts, by_sample[:, self.partners]], axis=-1)
        case = self.design.x > 0
        return np.stack([counts * case, counts * ~case], axis=-1)

    def labels(self, n_samples: int) -> NDArray[np.float64]:
        """1 for case samples (the last stage of a trend), 0 for reference samples, NaN for all others."""
        x = np.full(n_samples, np.nan)
        if self.is_paired:
            x[self.rows], x[self.partners] = 1.0, 0.0
            return x
        values = self.design.x
        x[self.rows[values == values.max()]] = 1.0
        x[self.rows[values == values.min()]] = 0.0
        return x


@dataclass(frozen=True, eq=False)
class Study:
    """Cells as codes of types and samples, and the comparisons to make.

    Attributes
    ----------
    design
        What was asked for.
    reference
        Name of the reference level.
    types
        Names, in the order of `type_codes`.
    type_codes, sample_codes
        ``(n_cells,)`` int64; -1 for cells that are left out.
    samples
        One row per sample: ``donor``, ``condition``, ``n_cells``, batch and covariates.
    comparisons
        One per level other than the reference, or the trend.
    notes
        What the reader should know of the columns.
    """

    design: StudyDesign
    reference: str
    types: list[str]
    type_codes: NDArray[np.int64]
    samples: pd.DataFrame
    sample_codes: NDArray[np.int64]
    comparisons: list[Comparison]
    notes: list[str] = field(default_factory=list)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Types and samples."""
        return len(self.types), len(self.samples)

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """``(n_cells,)``: type times number of samples plus sample; -1 for cells that are left out."""
        known = (self.type_codes >= 0) & (self.sample_codes >= 0)
        return np.where(known, self.type_codes * len(self.samples) + self.sample_codes, -1)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """``(n_types, n_samples)``: cells."""
        inside = self.groups[self.groups >= 0]
        return np.bincount(inside, minlength=self.shape[0] * self.shape[1]).reshape(self.shape)

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """``(n_types, n_samples)``: at least ``min_cells`` cells."""
        return np.asarray(self.counts >= self.design.min_cells)

    @property
    def in_reference(self) -> NDArray[np.bool_]:
        """``(n_samples,)``: samples of the reference condition."""
        return (self.samples["condition"] == self.reference).to_numpy()

    def cells_of(self, t: int) -> NDArray[np.int64]:
        """Rows of the cells of one type."""
        return np.flatnonzero((self.type_codes == t) & (self.sample_codes >= 0))


def _read_names(column: pd.Series, notes: list[str]) -> pd.Series:
    """Values as strings, missing ones as NaN; what reads like a missing value or like another name is noted."""
    names = column.astype(object).map(str, na_action="ignore")
    absent = names.isin(_MISSING)
    if absent.any():
        notes.append(
            f"obs['{column.name}'] holds {choices(sorted(set(names[absent])))} in {int(absent.sum())} cells, taken as "
            "missing; rename the value if it is a name"
        )
        names = names.mask(absent)
    levels = pd.Series(sorted(set(names.dropna())), dtype=object)
    for _, alike in levels.groupby(levels.str.split().str.join(" ").str.casefold()):
        if len(alike) > 1:
            notes.append(
                f"{choices(alike)} in obs['{column.name}'] differ only in spaces or capitals and are taken as "
                "different; rename them if they mean the same"
            )
    return names


def _only_numbered(names: list[str]) -> bool:
    """Whether the names are 1 ... n or 0 ... n - 1, as each arm of a study may count its own donors."""
    if not all(name.isdecimal() for name in names):
        return False
    numbers = sorted(int(name) for name in names)
    return numbers in (list(range(len(names))), list(range(1, len(names) + 1)))
