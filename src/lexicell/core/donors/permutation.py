"""Permutations of donors: every one where that is feasible, a random sample where it is not.

Row 0 of every result is the observed arrangement. With all arrangements listed, the share of rows at least as extreme
as row 0 is the exact p. With a sample it is ``(1 + b) / (1 + B)``, which is never zero and never too small
(Phipson and Smyth 2010).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, permutations, product
from math import comb, factorial, prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["EXACT_LIMIT", "Permutations", "arrangements", "orders", "sign_flips"]

# Up to this many arrangements all of them are listed: 7 against 7 donors (3,432) still is, 8 against 8 is not.
EXACT_LIMIT = 5000


@dataclass(frozen=True)
class Permutations:
    """Arrangements of donors.

    Attributes
    ----------
    rows
        ``(n_permutations, n_donors)``: labels, positions or signs; row 0 is the observed one.
    exact
        Whether `rows` holds every distinct arrangement, each once.
    """

    rows: NDArray[Any]
    exact: bool

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def smallest_p(self) -> float:
        """The smallest p a one-sided statistic without symmetry can reach."""
        return 1 / len(self.rows)


def _block_members(n: int, blocks: ArrayLike | None) -> list[NDArray[np.int64]]:
    if blocks is None:
        return [np.arange(n)]
    codes = np.unique(np.asarray(blocks), return_inverse=True)[1]
    return [np.flatnonzero(codes == b) for b in range(codes.max() + 1)] if n else []


def _count_arrangements(x: NDArray[Any]) -> int:
    """How many distinct orders the values of x have: the multinomial coefficient."""
    left, total = len(x), 1
    for count in np.unique(x, return_counts=True)[1]:
        total *= comb(left, int(count))
        left -= int(count)
    return total


def _distinct(values: NDArray[Any], counts: NDArray[Any], free: tuple[int, ...]) -> Iterator[dict[int, Any]]:
    """Every way to give the places `free` the `values`, each as often as `counts` says."""
    if len(values) == 1:
        yield dict.fromkeys(free, values[0])
        return
    for chosen in combinations(free, int(counts[0])):
        taken = set(chosen)
        rest = tuple(i for i in free if i not in taken)
        for others in _distinct(values[1:], counts[1:], rest):
            yield {**dict.fromkeys(chosen, values[0]), **others}


def _observed_first(rows: NDArray[Any], observed: NDArray[Any]) -> NDArray[Any]:
    where = int(np.flatnonzero((rows == observed).all(axis=1))[0])
    rows[[0, where]] = rows[[where, 0]]
    return rows


def arrangements(
    x: ArrayLike, blocks: ArrayLike | None = None, *, n_draws: int = 2000, rng: int | np.random.Generator = 0
) -> Permutations:
    """Distinct arrangements of the labels `x` over the donors.

    Parameters
    ----------
    x
        ``(n_donors,)`` labels: 1 for cases and 0 for controls, or the stage of each donor.
    blocks
        ``(n_donors,)`` batch of each donor; labels only change places within a batch.
    n_draws
        Random arrangements, with replacement, where there are more than `EXACT_LIMIT` of them.
    rng
        Seed or generator.

    Returns
    -------
    Permutations
        With `rows` of float64.
    """
    observed = np.asarray(x, dtype=np.float64)
    members = _block_members(len(observed), blocks)
    if prod(_count_arrangements(observed[m]) for m in members) <= EXACT_LIMIT:
        lists = [list(_distinct(*np.unique(observed[m], return_counts=True), tuple(m.tolist()))) for m in members]
        rows = np.empty((prod(len(one) for one in lists), len(observed)))
        for row, choice in zip(rows, product(*lists), strict=True):
            for part in choice:
                row[list(part)] = list(part.values())
        return Permutations(_observed_first(rows, observed), exact=True)
    return Permutations(
        observed[orders(len(observed), blocks, n_draws=n_draws, rng=rng, exact_limit=0).rows], exact=False
    )


def orders(
    n: int,
    blocks: ArrayLike | None = None,
    *,
    n_draws: int = 2000,
    rng: int | np.random.Generator = 0,
    exact_limit: int = EXACT_LIMIT,
) -> Permutations:
    """Orders of n donors, ``(n_permutations, n)`` int64: row `r` puts donor ``rows[r, i]`` in the place of donor i."""
    members = _block_members(n, blocks)
    observed = np.arange(n)
    if prod(factorial(len(m)) for m in members) <= exact_limit:
        lists = [list(permutations(m.tolist())) for m in members]
        rows = np.empty((prod(len(one) for one in lists), n), dtype=np.int64)
        for row, choice in zip(rows, product(*lists), strict=True):
            for places, donors in zip(members, choice, strict=True):
                row[places] = donors
        return Permutations(_observed_first(rows, observed), exact=True)
    generator = np.random.default_rng(rng)
    rows = np.tile(observed, (n_draws + 1, 1))
    for places in members:
        # Sorting random numbers orders each row at random and independently of the others.
        rows[1:, places] = places[np.argsort(generator.random((n_draws, len(places))), axis=1)]
    return Permutations(rows, exact=False)


def sign_flips(n: int, *, n_draws: int = 2000, rng: int | np.random.Generator = 0) -> Permutations:
    """Signs of n paired differences, ``(n_permutations, n)`` float64; row 0 is all +1."""
    if 2**n <= EXACT_LIMIT:
        return Permutations(np.array(list(product([1.0, -1.0], repeat=n))).reshape(2**n, n), exact=True)
    rows = np.random.default_rng(rng).choice([-1.0, 1.0], size=(n_draws + 1, n))
    rows[0] = 1.0
    return Permutations(rows, exact=False)
