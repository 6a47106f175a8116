"""Concept scores of a range of cells at a time: what `tl.concepts` and the route from file to file share.

Nothing here grows with the number of cells but what a caller keeps. Moments of genes are sums of whole numbers, and the
bits of a cell's scores do not depend on its neighbors; sums over groups are added range by range, and ranges are the
same in both routes. So both give the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError
from .._expression import LogRows, block_rows
from .._results import stack_tables
from ..core.donors.moderated import moderated_t
from ..core.donors.shift import Design
from ..core.donors.vulnerability import adjust_bh
from ..core.expression.log_values import zscore_sparse
from ..core.expression.sums import Sums
from ..core.genes.concepts import CellScorer, GroupSums, contrast_scores
from ..core.genes.embedding import GeneEmbedding
from ..core.pooling.moments import Moments, MomentSums, add_log_values, empty_sums
from . import _describe
from .words import Phrases, ZGenes

__all__ = ["ConceptPass", "Groups", "describe_params", "group_table", "ranges", "set_tables"]

_RANGE_BYTES, _FEWEST, _MOST = 64 << 20, 1024, 65_536
_MIN_DONORS = 3
_MOST_REASONED = 100


def ranges(n_cells: int, n_phrases: int) -> tuple[int, list[tuple[int, int]]]:
    """Cells per range, a power of two whose scores fill 64 MB at most; and all ranges."""
    fit = max(1, _RANGE_BYTES // (4 * n_phrases))
    # A power of two, so that ranges begin at the same cells whatever the number of phrases.
    size = int(min(_MOST, max(_FEWEST, 1 << (fit.bit_length() - 1))))
    return size, [(start, min(n_cells, start + size)) for start in range(0, n_cells, size)]


@dataclass(frozen=True, eq=False)
class Groups:
    """Which cells are compared.

    Attributes
    ----------
    names, codes
        Groups, and the group of each cell, -1 for none.
    donors
        Donor of each cell, from 0, -1 for none; None where donors are not named.
    min_cells
        Cells that a donor needs inside and outside a group.
    """

    names: list[str]
    codes: NDArray[np.int32]
    donors: NDArray[np.int32] | None
    min_cells: int

    @classmethod
    def of(cls, groupby: pd.Series, donor: pd.Series | None, min_cells: int) -> Groups:
        """Read columns of ``obs``.

        Raises
        ------
        InputError
            If a column holds fewer than two values.
        """
        names, codes = _codes(groupby)
        return cls(names, codes, None if donor is None else _codes(donor)[1], min_cells)

    @property
    def n_donors(self) -> int:
        """Number of donors."""
        return 0 if self.donors is None else int(self.donors.max()) + 1


class ConceptPass:
    """Moments of genes, then scores, over ranges of cells of one matrix.

    Parameters
    ----------
    values
        The matrix.
    genes
        Gene vectors; those of genes in the matrix are used.
    chunk_size
        Cells worked on at a time; None for as many as fit a few megabytes.
    """

    def __init__(self, values: LogRows, genes: GeneEmbedding, chunk_size: int | None = None) -> None:
        rows = genes.rows(values.genes)
        self._values, self._columns = values, np.flatnonzero(rows >= 0)
        self._vectors, self._known = genes.vectors[rows[self._columns]], genes
        first, last = next(iter(block_rows(values.slot.rows, chunk_size)))
        self._chunk = last - first

    def moments(self, start: int, stop: int) -> Sums:
        """Sums of l and of its square over a range, as whole numbers."""
        sums = empty_sums(len(self._columns))
        for _, _, log in self._blocks(start, stop, self._columns):
            add_log_values(sums, log.indices, log.data)
        return {"sums": sums, "n": np.array(stop - start)}

    def set_moments(self, sums: Sums) -> ZGenes:
        """Choose the genes that vary.

        Raises
        ------
        InputError
            If none does.
        """
        every = MomentSums(len(self._columns))
        every.add(sums["sums"], int(sums["n"]))
        moments = every.moments()
        varies = moments.sd > 0
        if not varies.any():
            raise InputError(
                "none of the genes of the gene embedding varies in the data; "
                f"the data has genes such as '{self._values.genes[0]}', the embedding such as '{self._known.ids[0]}'"
            )
        self._kept = self._columns[varies]
        self._moments = Moments(moments.mean[varies], moments.sd[varies])
        ids = self._values.genes[self._kept]
        self.genes = ZGenes(ids, self._vectors[varies], self._moments.mean, self._moments.sd)
        return self.genes

    def set_phrases(self, phrases: Phrases, n_genes: int) -> sp.csr_matrix:
        """Choose the genes of each phrase: phrases x genes that vary."""
        sets = phrases.sets(self.genes.ids, n_genes=n_genes)
        # The z of a gene that a cell does not express is the same for all cells: it needs no cells to compute.
        self._scorer = self.scorer(sets)
        return sets

    def scorer(self, sets: sp.csr_matrix) -> CellScorer:
        """Make what scores cells by these sets, phrases x genes that vary."""
        empty = sp.csr_matrix((0, len(self.genes.ids)), dtype=np.float32)
        baseline = zscore_sparse(empty, self._moments.mean, self._moments.sd)[1]
        return CellScorer(baseline, sets, self._moments.mean)

    def score(self, start: int, stop: int, out: NDArray[np.float32], groups: Groups | None) -> Sums:
        """Write the scores of a range to `out`, and give what its cells add to the sums of groups."""
        changes, by_donor = None, None
        if groups is not None:
            changes = GroupSums(len(groups.names), len(self._kept))
            by_donor = GroupSums(len(groups.names) * groups.n_donors, out.shape[1])
        for first, last, deviations in self.deviations(start, stop):
            raw, out[first - start : last - start] = self._scorer.score(deviations)
            if groups is not None and changes is not None and by_donor is not None:
                codes = groups.codes[first:last].astype(np.int64)
                changes.add(deviations, codes)
                if groups.donors is not None:
                    donors = groups.donors[first:last]
                    by_donor.add(raw, np.where((codes >= 0) & (donors >= 0), codes * groups.n_donors + donors, -1))
        return {} if changes is None or by_donor is None else {"changes": changes.sums, "by_donor": by_donor.sums}

    def deviations(self, start: int, stop: int) -> Iterator[tuple[int, int, sp.csr_matrix]]:
        """z-scores of the genes that vary less those of an empty cell, block by block: first and last cell, matrix."""
        for first, last, log in self._blocks(start, stop, self._kept):
            yield first, last, zscore_sparse(log, self._moments.mean, self._moments.sd)[0]

    def _blocks(self, start: int, stop: int, columns: NDArray[np.int64]) -> Iterator[tuple[int, int, sp.csr_matrix]]:
        """Log values of some genes, block by block; from disk the next block is read meanwhile."""

        def read(a: int) -> tuple[int, int, sp.csr_matrix]:
            b = min(stop, a + self._chunk)
            return a, b, sp.csr_matrix(self._values.read(a, b)[0][:, columns])

        begins = range(start, stop, self._chunk)
        if self._values.slot.rows.in_memory:
            yield from map(read, begins)
            return
        with ThreadPoolExecutor(1) as ahead:
            # Reading and decompressing release the interpreter lock, so one thread ahead hides most of their time.
            following = ahead.submit(read, start)
            for a in [*begins[1:], None]:
                block = following.result()
                if a is not None:
                    following = ahead.submit(read, a)
                yield block


def set_tables(sets: sp.csr_matrix, phrases: Phrases, genes: ZGenes) -> dict[str, pd.DataFrame]:
    """Number of genes of each phrase and the first ten; and every gene with its weight and the reason."""
    first, blocks = [], []
    for q, row in enumerate(sets):
        order = np.argsort(-row.data, kind="stable")
        ids, weight = genes.ids[row.indices[order]], row.data[order]
        first.append(", ".join(f"{gene} {w:.3f}" for gene, w in zip(ids[:10], weight[:10], strict=True)))
        # Of a few hundred phrases nobody reads the reasons, which take longer than the scores.
        reason = phrases.reasons(q, ids) if len(phrases.names) <= _MOST_REASONED else ""
        blocks.append(pd.DataFrame({"concept": phrases.names[q], "gene": ids, "weight": weight, "reason": reason}))
    table = pd.DataFrame({"concept": phrases.names, "n_genes": np.diff(sets.indptr), "nearest_genes": first})
    return {"sets": stack_tables([table]), "genes": stack_tables(blocks)}


def group_table(groups: Groups, sums: Sums, sets: sp.csr_matrix, phrases: Phrases, genes: ZGenes) -> pd.DataFrame:
    """One row per group and phrase: the group's difference from all other cells, and its test over donors."""
    size = np.bincount(groups.codes[groups.codes >= 0], minlength=len(groups.names)).astype(float)
    changes = _describe.rest_differences(sums["changes"], size)
    got = contrast_scores(changes, sets, genes.mean)
    tested = None if groups.donors is None else _tests(groups, sums["by_donor"])
    blocks = []
    for k, name in enumerate(groups.names):
        columns = {
            "group": name,
            "concept": phrases.names,
            "score": got.score[k],
            "z": got.z[k],
            "genes": [_describe.leading(sets[q], changes[k], genes.ids) for q in range(len(phrases.names))],
        }
        if tested is not None:
            columns |= tested[k]
        blocks.append(pd.DataFrame(columns))
    table = stack_tables(blocks)
    if groups.donors is not None:
        table["q"] = adjust_bh(table["p"].to_numpy())
    return table


def _tests(groups: Groups, by_donor: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Moderated t over donors of each group's score minus that of the donor's other cells."""
    assert groups.donors is not None
    shape = (len(groups.names), groups.n_donors)
    sums = by_donor.reshape(*shape, -1)
    known = (groups.codes >= 0) & (groups.donors >= 0)
    place = groups.codes[known].astype(np.int64) * groups.n_donors + groups.donors[known]
    counts = np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape)
    out = []
    for k in range(len(groups.names)):
        inside, outside = counts[k], counts.sum(axis=0) - counts[k]
        both = (inside >= groups.min_cells) & (outside >= groups.min_cells)
        entry: dict[str, Any] = {c: np.full(sums.shape[2], np.nan) for c in ("t", "p")} | {"donors": int(both.sum())}
        if both.sum() >= _MIN_DONORS:
            # Within a donor, so that differences between donors (depth, batch) cancel.
            rest = (sums.sum(axis=0) - sums[k])[both] / outside[both, None]
            differences = sums[k, both] / inside[both, None] - rest
            found = moderated_t(differences, Design.of(np.ones(both.sum()), is_paired=True), shared_noise=True)
            entry["t"], entry["p"] = found.t, found.p
        out.append(entry)
    return out


def _codes(values: pd.Series) -> tuple[list[str], NDArray[np.int32]]:
    # By way of categories: one Python object per cell would take most of the memory for a long file.
    kinds = pd.Categorical(values).remove_unused_categories()
    words = np.asarray([str(c) for c in kinds.categories], dtype=object)
    names, place = np.unique(words, return_inverse=True) if len(words) else (words, np.zeros(0, dtype=np.int64))
    if len(names) < 2:
        raise InputError(f"the column '{values.name}' holds {len(names)} groups; at least two are needed to compare")
    codes = np.asarray(kinds.codes, dtype=np.int32)
    return [str(n) for n in names], np.where(codes >= 0, place[codes], -1).astype(np.int32)


def describe_params(
    phrases: Phrases,
    values: LogRows,
    *,
    groupby: str | None,
    donor: str | None,
    min_cells: int,
    n_genes: int,
) -> dict[str, Any]:
    """What was asked, as it is stored in ``uns``."""
    return {
        "queries": len(phrases.names),
        "words": phrases.source,
        "groupby": groupby or "",
        "donor": donor or "",
        "min_cells": min_cells,
        "n_genes": n_genes,
        "expression": values.params["slot"],
    }
