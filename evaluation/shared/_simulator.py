"""The simulator of the vulnerability benchmarks: the formula of `lexicell.datasets.planted_vulnerability`, compiled.

It returns what the donor-level tests need (means of z-scores and sums of counts in each type and donor) and keeps the
cells for the tests that work on cells. A study takes some 50 ms.
"""

# Compiled code knows numpy's legacy generator only.
# ruff: noqa: NPY002
from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from _planted import Base


@dataclass
class Study:
    """One simulated study; donors: controls first, then cases."""

    log: np.ndarray  # cells x genes, log1p of counts per 10,000
    mean: np.ndarray  # of log, genes
    sd: np.ndarray
    type_code: np.ndarray
    donor: np.ndarray
    counts: np.ndarray  # types x donors: cells
    sums: np.ndarray  # types x donors x genes: counts
    means: np.ndarray  # types x donors x genes: mean z

    @property
    def z(self) -> np.ndarray:
        """Cells x genes, clipped z-scores."""
        return np.clip((self.log - self.mean) / self.sd, -10, 10)


@numba.njit(cache=True)
def _poisson(rate):  # type: ignore[no-untyped-def]
    """By inversion. Most rates are far below one, and 1 - rate < exp(-rate) settles those without an exponential."""
    if rate > 10:
        return np.random.poisson(rate)
    u = np.random.random()
    if u < 1 - rate:
        return 0
    p = np.exp(-rate)
    k = 0
    while u >= p and k < 100:
        u -= p
        k += 1
        p *= rate / k
    return k


@numba.njit(cache=True)
def _draw(profiles, sizes, base, effect, in_program, hit, fold, depth, seed):  # type: ignore[no-untyped-def]
    """Counts of each cell; `effect` is already exponentiated, one row a cell group, `base` (cell, group)."""
    np.random.seed(seed)
    n, n_genes = len(base), profiles.shape[1]
    out = np.zeros((n, n_genes), np.uint16)
    rate = np.empty(n_genes)
    for c in range(n):
        row, group = base[c, 0], base[c, 1]
        former, total = 0.0, 0.0
        for g in range(n_genes):
            p = profiles[row, g]
            former += p
            r = p * effect[group, g]
            if hit[c] and in_program[g]:
                r *= fold
            rate[g] = r
            total += r
        scale = former / total * sizes[row] * depth[group]
        for g in range(n_genes):
            if rate[g] > 0:
                out[c, g] = min(_poisson(rate[g] * scale), 65535)
    return out


@numba.njit(cache=True)
def _summarize(X, group, n_groups):  # type: ignore[no-untyped-def]
    """Log values, their mean and sd, donor means of clipped z, and sums of counts."""
    n, n_genes = X.shape
    log = np.zeros((n, n_genes), np.float32)
    s1, s2 = np.zeros(n_genes), np.zeros(n_genes)
    sums, cells = np.zeros((n_groups, n_genes)), np.zeros(n_groups)
    for c in range(n):
        total = 0.0
        for g in range(n_genes):
            total += X[c, g]
        scale = 1e4 / max(total, 1.0)
        cells[group[c]] += 1
        for g in range(n_genes):
            if X[c, g] > 0:
                value = np.log1p(X[c, g] * scale)
                log[c, g] = value
                s1[g] += value
                s2[g] += value * value
                sums[group[c], g] += X[c, g]
    mean = s1 / n
    sd = np.sqrt(np.maximum(s2 / n - mean * mean, 0.0))
    for g in range(n_genes):
        if sd[g] < 1e-12:
            sd[g] = 1.0
    means = np.zeros((n_groups, n_genes))
    for c in range(n):
        for g in range(n_genes):
            means[group[c], g] += min(max((log[c, g] - mean[g]) / sd[g], -10.0), 10.0)
    for k in range(n_groups):
        if cells[k] > 0:
            means[k] /= cells[k]
    return log, mean, sd, means, sums


def simulate(
    b: Base,
    rng: np.random.Generator,
    *,
    n: int = 4,
    n_cells: float = 60,
    program: np.ndarray | None = None,
    fold: float = 2.0,
    fraction: float = 1.0,
    target: int | None = None,
    all_types: bool = False,
    lost: int | None = None,
    remaining: float = 1.0,
    donor_sd: float = 0.25,
    type_sd: float = 0.15,
    depth: float = 1.0,
    factors: np.ndarray | None = None,
) -> Study:
    """`n` donors an arm; the program's genes times `fold` in a share `fraction` of the target's cells of the cases.

    `all_types` plants it into every type (equal shifts). `lost` is a type of which a share `remaining` of the cells
    remains in cases. `factors` (genes x m, columns of variance one) makes half of the donors' variance common to many
    genes, as a shared state of the donor would.
    """
    kinds, n_genes = b.kinds, len(b.genes)
    rows_of = [np.flatnonzero(b.types == kind) for kind in kinds]
    abundance = rng.uniform(0.3, 2, len(kinds))
    base, effect, own_depth, hits, type_code, donor = [], [], [], [], [], []
    for d in range(2 * n):
        case = d >= n
        shared = rng.normal(0, donor_sd, n_genes)
        if factors is not None:
            shared = np.sqrt(0.5) * (
                shared + donor_sd * factors @ rng.normal(0, 1, factors.shape[1]) / np.sqrt(factors.shape[1])
            )
        donor_depth = np.exp(rng.normal(0, 0.15)) * (depth if case else 1.0)
        for t, rows in enumerate(rows_of):
            effect.append(np.exp(shared + rng.normal(0, type_sd, n_genes)))
            own_depth.append(donor_depth)
            expected = n_cells * abundance[t] * np.exp(rng.normal(0, 0.25))
            size = max(8, rng.poisson(expected * (remaining if case and t == lost else 1.0)))
            group = np.full(size, d * len(kinds) + t)
            base.append(np.column_stack([rng.choice(rows, size), group]))
            struck = case and program is not None and (all_types or t == target)
            hits.append((rng.random(size) < fraction) & struck)
            type_code.append(np.full(size, t))
            donor.append(np.full(size, d))
    types, donors = np.concatenate(type_code), np.concatenate(donor)
    member = np.zeros(n_genes, bool)
    member[[] if program is None else program] = True
    X = _draw(
        b.profiles, b.sizes, np.concatenate(base), np.array(effect), member, np.concatenate(hits), fold,
        np.array(own_depth), int(rng.integers(2**31)),
    )  # fmt: skip
    group, shape = types * 2 * n + donors, (len(kinds), 2 * n)
    log, mean, sd, means, sums = _summarize(X, group, shape[0] * shape[1])
    counts = np.bincount(group, minlength=shape[0] * shape[1]).reshape(shape)
    return Study(log, mean, sd, types, donors, counts, sums.reshape(*shape, n_genes), means.reshape(*shape, n_genes))
