"""Weighted sums of gene vectors: the part that takes the time.

The limit is how fast gene vectors come from cache, so that they are read as little and from as near as can be:

- Genes, in the order of the matrix, are cut into segments, and vectors into panels of dimensions; the vectors of one
  segment and panel that cells use most fit the second-level cache and serve all cells of a block before the next ones
  are touched.
- Two cells are summed at once: one reading of a gene's vector serves both. Their genes are first merged into one list
  with two weights each, 0 where a cell does not have the gene, which adds nothing.
- Several genes are added at once, so that sums are loaded and stored once for all of them.

Within a segment a cell's genes are added in the order of the matrix in float32, segments in their order: its bits
depend neither on its partner, nor on the block, nor on how the vectors lie in memory.
"""

# mypy: disable-error-code="assignment, arg-type, no-untyped-def"

from __future__ import annotations

import numpy as np

from .jit import compiled, compiled_fused

__all__ = ["GROUP", "add_block", "finish", "merge_cells", "pack", "panel_width", "segment_length"]

GROUP = 6  # genes added at once, the lines of `_add_genes`
_LANES = 16
_PANEL = 384  # most dimensions of a panel: the sums of two cells fit the first-level cache beside the vectors read
_SEGMENT = 2048  # genes
_FEW = 256  # genes per cell whose vectors are read from wherever they lie: those read most lie side by side
_SINGLE = 64  # genes per cell that are summed in one go
_LONG = 8192


def panel_width(dim: int) -> int:
    """Dimensions of a panel: all panels have the same, whole vectors of sixteen, with as little padding as can be."""
    n_panels = max(1, -(-dim // _PANEL))
    per_panel = -(-max(1, dim) // n_panels)
    return -(-per_panel // _LANES) * _LANES


def segment_length(top_n: int, n_vectors: int, *, z_scored: bool) -> int:
    """Genes per segment: it belongs to the arithmetic, so that it depends on nothing but the question asked."""
    if z_scored:
        # The sum over nonzeros and what zeros give cancel in part: round less on the way.
        return _FEW
    if 0 < top_n <= _SINGLE:
        return max(n_vectors, 1)
    return _LONG if 0 < top_n <= _FEW else _SEGMENT


@compiled
def pack(vectors, source, panels):
    """Write vectors[source] into (n_panels, n, width) panels, filled up with zeros; True if all are finite."""
    dim, width = vectors.shape[1], panels.shape[2]
    strange = 0.0
    for g in range(source.shape[0]):
        vector = vectors[source[g]]
        for p in range(panels.shape[0]):
            first = p * width
            n = max(0, min(width, dim - first))
            place = panels[p, g]
            for d in range(n):
                value = vector[first + d]
                place[d] = value
                # 0 for a number, NaN for anything else.
                strange += value - value
            for d in range(n, width):
                place[d] = 0
    return strange == 0.0


@compiled
def _reach(rows, j, stop, last):
    while j < stop and rows[j] < last:
        j += 1
    return j


@compiled
def merge_cells(rows, weights, offsets, at, last, place, genes, both, starts):
    """Genes of every two cells from `at` on to below `last`, as one list with two weights each.

    Lists are filled up to whole groups of `GROUP` by weights of 0.

    Parameters
    ----------
    rows, weights, offsets
        Genes and weights of each cell, rising.
    at
        (n_cells,) position of each cell's next gene; moved on.
    place
        Where each gene's vector lies.
    genes, both, starts
        Written: places of vectors, (n, 2) weights, where the list of each pair begins.
    """
    n_cells, k, nothing = at.shape[0], np.uintp(0), np.float32(0)
    for pair in range(starts.shape[0] - 1):
        starts[pair] = k
        cell = 2 * pair
        i = at[cell]
        j = i_end = at[cell] = _reach(rows, i, offsets[cell + 1], last)
        j_end = j
        if cell + 1 < n_cells:
            j = at[cell + 1]
            j_end = at[cell + 1] = _reach(rows, j, offsets[cell + 2], last)
        while i < i_end and j < j_end:
            # Products instead of branches: which cell has the next gene cannot be foreseen.
            one, other = rows[i], rows[j]
            genes[k] = place[np.uint32(min(one, other))]
            both[k, 0] = weights[i] * np.float32(one <= other)
            both[k, 1] = weights[j] * np.float32(other <= one)
            i += np.int64(one <= other)
            j += np.int64(other <= one)
            k += np.uintp(1)
        while i < i_end:
            genes[k] = place[np.uint32(rows[i])]
            both[k, 0], both[k, 1] = weights[i], nothing
            i += 1
            k += np.uintp(1)
        while j < j_end:
            genes[k] = place[np.uint32(rows[j])]
            both[k, 0], both[k, 1] = nothing, weights[j]
            j += 1
            k += np.uintp(1)
        while (k - np.uintp(starts[pair])) % np.uintp(GROUP):
            genes[k] = genes[k - np.uintp(1)]
            both[k, 0], both[k, 1] = nothing, nothing
            k += np.uintp(1)
    starts[starts.shape[0] - 1] = k


@compiled
def finish(sums, offsets, scale, shift, unit, out):
    """out[c] = scale[c] (sums[c] + shift), to unit length if `unit`; a cell without genes: a row of zeros.

    `scale` and `shift` are float64, (n_cells,) and (dim,).
    """
    for cell in range(out.shape[0]):
        row, total = out[cell], sums[cell]
        if offsets[cell] == offsets[cell + 1]:
            row[:] = 0
            continue
        square = 0.0
        for d in range(row.shape[0]):
            value = (np.float64(total[d]) + shift[d]) * scale[cell]
            row[d] = np.float32(value)
            square += value * value
        if unit and square > 0:
            length = 1.0 / np.sqrt(square)
            for d in range(row.shape[0]):
                row[d] = np.float32((np.float64(total[d]) + shift[d]) * scale[cell] * length)


@compiled_fused
def _add_genes(panels, p, genes, both, j, sums):
    """sums[c, d] += both[i, c] * panels[p, genes[i], d] for the `GROUP` entries i from j on, one after the other.

    Indices are unsigned: numba would otherwise allow for negative ones, and LLVM could not use vectors.
    """
    g0, g1, g2 = np.uintp(genes[j]), np.uintp(genes[j + np.uintp(1)]), np.uintp(genes[j + np.uintp(2)])
    g3, g4, g5 = np.uintp(genes[j + np.uintp(3)]), np.uintp(genes[j + np.uintp(4)]), np.uintp(genes[j + np.uintp(5)])
    one, other, apart = np.uintp(0), np.uintp(1), np.uintp(_PANEL)
    v0, v1, v2 = both[j, one], both[j + np.uintp(1), one], both[j + np.uintp(2), one]
    v3, v4, v5 = both[j + np.uintp(3), one], both[j + np.uintp(4), one], both[j + np.uintp(5), one]
    w0, w1, w2 = both[j, other], both[j + np.uintp(1), other], both[j + np.uintp(2), other]
    w3, w4, w5 = both[j + np.uintp(3), other], both[j + np.uintp(4), other], both[j + np.uintp(5), other]
    for d in range(np.uintp(panels.shape[2])):
        total, beside = sums[d], sums[d + apart]
        total += v0 * panels[p, g0, d]
        beside += w0 * panels[p, g0, d]
        total += v1 * panels[p, g1, d]
        beside += w1 * panels[p, g1, d]
        total += v2 * panels[p, g2, d]
        beside += w2 * panels[p, g2, d]
        total += v3 * panels[p, g3, d]
        beside += w3 * panels[p, g3, d]
        total += v4 * panels[p, g4, d]
        beside += w4 * panels[p, g4, d]
        total += v5 * panels[p, g5, d]
        beside += w5 * panels[p, g5, d]
        sums[d] = total
        sums[d + apart] = beside


@compiled
def add_block(panels, place, rows, weights, offsets, segment, genes, both, sums):
    """sums[c] += sum_i weights[i] g[rows[i]] over the genes of each cell.

    Parameters
    ----------
    panels, place
        (n_panels, n_vectors, width) float32; where each gene's vector lies in a panel.
    rows, weights, offsets
        Genes and weights of each cell, genes rising.
    segment
        Genes per segment.
    genes, both
        Scratch: int32 and (n, 2) float32, `GROUP` entries per two cells longer than all entries.
    sums
        float32, at least a row more than cells, as wide as all panels.
    """
    n_cells, n_vectors, width = offsets.shape[0] - 1, place.shape[0], np.uintp(panels.shape[2])
    n_pairs = (n_cells + 1) // 2
    segment = min(segment, n_vectors)
    at, starts = offsets[:n_cells].copy(), np.empty(n_pairs + 1, np.int64)
    part, one, apart = np.empty(2 * _PANEL, np.float32), np.uintp(1), np.uintp(_PANEL)
    for begin in range(0, n_vectors, segment):
        merge_cells(rows, weights, offsets, at, begin + segment, place, genes, both, starts)
        for p in range(np.uintp(panels.shape[0])):
            first = p * width
            for pair in range(np.uintp(n_pairs)):
                j, stop = np.uintp(starts[pair]), np.uintp(starts[pair + one])
                if j == stop:
                    continue
                part[:] = 0
                while j < stop:
                    _add_genes(panels, p, genes, both, j, part)
                    j += np.uintp(GROUP)
                cell = np.uintp(2) * pair
                for d in range(width):
                    sums[cell, first + d] += part[d]
                for d in range(width):
                    sums[cell + one, first + d] += part[d + apart]
