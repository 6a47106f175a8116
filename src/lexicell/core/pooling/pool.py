"""Cell embeddings: weighted sums of the text vectors of the genes a cell expresses, by the formulas in `presets`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._errors import InputError
from ..expression.rows import Dense, Rows, Sparse, block_rows, open_rows
from ..genes.gene_space import GeneSpace
from .moments import Moments, MomentSums
from .pooler import Pooler, expressed
from .presets import OWN, Preset, find_preset
from .threads import at_least_one, in_threads, n_threads

__all__ = ["PooledCells", "check_question", "pool"]

T = TypeVar("T")
Float = NDArray[np.float64]


@dataclass(frozen=True)
class PooledCells:
    """A cell embedding with what is needed to interpret it.

    Attributes
    ----------
    embedding
        ``(n_cells, D)`` float32. A cell without any expressed gene that has text is a row of zeros.
    coverage
        ``(n_cells,)`` float64: share of the library size that falls on genes with text; 0 for an empty cell.
    n_genes
        ``(n_cells,)`` int64: number of expressed genes summed.
    moments
        Mean and sd of l of each gene with text over cells, where the preset is z-scored.
    space
        The gene space, where vectors were whitened.
    """

    embedding: NDArray[np.float32]
    coverage: Float
    n_genes: NDArray[np.int64]
    moments: Moments | None
    space: GeneSpace | None


def pool(
    X: Any,
    vectors: ArrayLike,
    columns: ArrayLike,
    *,
    rows: ArrayLike | None = None,
    preset: str | Preset = "paper",
    top_n: int | str | None = OWN,
    logged: bool = False,
    library_size: ArrayLike | None = None,
    ranks: ArrayLike | None = None,
    n_components: int | None = None,
    chunk_size: int | None = None,
    n_jobs: int | None = None,
) -> PooledCells:
    r"""Embed the cells of a matrix.

    Parameters
    ----------
    X
        Cells x genes: whatever :func:`lexicell.core.expression.rows.open_rows` reads, or what it returns. Counts or
        abundances, or l itself where `logged`.
    vectors
        ``(n_vectors, d)`` gene vectors, used as float32.
    columns
        ``(n_vectors,)`` column of `X` of each vector, none twice. Columns that are not named have no text.
    rows
        ``(n_vectors,)`` row of `vectors` for each of `columns`, where `vectors` holds more or another order.
    preset
        Name of one of `PRESETS`, or a `Preset`.
    top_n
        Genes kept per cell: those with text and the largest values; the rest count as not expressed, except in
        denominators over all genes. None: all. ``"preset"``: the preset's own.
    logged
        Whether `X` holds l already.
    library_size
        ``(n_cells,)`` totals over all genes, where `X` does not hold them all. Default: the sums of the rows.
    ranks
        ``(n_vectors,)`` ranks, 0 to n_vectors - 1, that decide between equal values at the cut, smallest first;
        default: the order of `columns`.
    n_components
        Directions of the whitened gene space; None: see :meth:`GeneSpace.fit`.
    chunk_size
        Rows per block; results do not depend on it.
    n_jobs
        Threads; None: see `n_threads`. Results do not depend on it.

    Raises
    ------
    InputError
        If shapes disagree, the matrix is empty or an argument is out of range.
    BadValueError
        If a value is NaN, infinite or negative, or a library size is smaller than the counts it should contain.

    Notes
    -----
    Weights and sums over genes are taken in float32, in the order of the columns and in segments of 2,048 genes
    (of 256 for z-scores, of 8,192 where 256 genes or fewer are kept, one where 64 or fewer are); logarithms, scales,
    norms and denominators in float64. The difference from float64 throughout stays below 2e-6 of a cell's largest
    entry.

    Examples
    --------
    >>> import numpy as np
    >>> from lexicell.core.pooling.pool import pool
    >>> counts = np.array([[3, 1, 0], [0, 0, 5]])
    >>> pool(counts, np.eye(2), columns=[0, 2], preset="paper").embedding
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    cells = open_rows(X)
    n_cells = cells.shape[0]
    chosen = preset if isinstance(preset, Preset) else find_preset(preset)
    check_question(chosen, n_cells, logged=logged, sized=library_size is not None, n_components=n_components)
    matrix, places, used = _check_vectors(cells, vectors, columns, rows)
    library = _check_library(library_size, n_cells)
    if chunk_size is not None:
        at_least_one(chunk_size, "chunk_size")
    seen = expressed(cells.read(0, min(128, n_cells)), places)
    pooler = Pooler(cells.shape[1], places, chosen, top_n=top_n, logged=logged, ranks=ranks, seen=seen)
    threads = n_threads(n_jobs)

    def each(work: Callable[[Sparse | Dense, int, int], T]) -> Iterator[T]:
        """What `work` gives for every block of rows."""
        blocks = ((cells.read(start, stop), start, stop) for start, stop in block_rows(cells, chunk_size))
        return in_threads(work, blocks, threads)

    def add_moments(block: Sparse | Dense, start: int, stop: int) -> tuple[NDArray[np.int64], int]:
        return pooler.add_moments(block, library[start:stop], first_row=start), stop - start

    def embed(block: Sparse | Dense, start: int, stop: int) -> None:
        part = pooler.run(block, library[start:stop], embedding[start:stop], first_row=start)
        coverage[start:stop], n_genes[start:stop] = part

    space = moments = None
    if chosen.z_scored:
        if used is not None:
            matrix, used = matrix[used], None
        space = GeneSpace.fit(matrix, n_components)
        matrix = space.transform(matrix)
        sums = MomentSums(len(places))
        for part in each(add_moments):
            sums.add(*part)
        moments = sums.moments()
    pooler.set_vectors(matrix, used, moments)
    embedding = np.empty((n_cells, pooler.dim), dtype=np.float32)
    coverage, n_genes = np.empty(n_cells), np.empty(n_cells, dtype=np.int64)
    for _ in each(embed):
        pass
    return PooledCells(embedding, coverage, n_genes, moments, space)


def check_question(preset: Preset, n_cells: int, *, logged: bool, sized: bool, n_components: int | None) -> None:
    """Refuse arguments that do not go together; `sized`: library sizes are given."""
    if sized and logged:
        raise InputError("library sizes are of no use where values are log1p already; leave library_size out")
    if preset.z_scored and n_cells == 1:
        raise InputError("this preset takes z-scores over cells, and one cell alone has none; choose another preset")
    if n_components is not None and not preset.z_scored:
        raise InputError("n_components belongs to the whitened gene space, which this preset does not use")


def _check_vectors(
    cells: Rows, vectors: ArrayLike, columns: ArrayLike, rows: ArrayLike | None
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64] | None]:
    """The vectors, their columns, and the rows used of them, checked against each other and the matrix."""
    matrix = np.ascontiguousarray(vectors, dtype=np.float32)
    places = np.asarray(columns, dtype=np.int64)
    used = None if rows is None else np.asarray(rows, dtype=np.int64)
    n_cells, n_columns = cells.shape
    if n_cells == 0 or n_columns == 0:
        raise InputError(f"the matrix is empty: {n_cells} cells x {n_columns} genes")
    n_vectors = len(matrix) if used is None else len(used)
    if matrix.ndim != 2 or places.shape != (n_vectors,) or not n_vectors or not matrix.shape[1]:
        raise InputError(f"vectors of shape {matrix.shape} do not fit columns of shape {places.shape}")
    if used is not None and not 0 <= used.min() <= used.max() < len(matrix):
        raise InputError(f"rows must be numbers from 0 to {len(matrix) - 1}")
    if places.min() < 0 or places.max() >= n_columns or np.bincount(places).max() > 1:
        raise InputError(f"columns must be different numbers from 0 to {n_columns - 1}")
    return matrix, places, used


def _check_library(sizes: ArrayLike | None, n_cells: int) -> Float:
    """Library sizes, ``(n_cells,)``, or an empty array."""
    if sizes is None:
        # Slices of nothing are nothing: the compiled loop then sums the row.
        return np.empty(0)
    library = np.asarray(sizes, dtype=np.float64)
    if library.shape != (n_cells,):
        raise InputError(f"library sizes of shape {library.shape} do not fit {n_cells} cells")
    return np.ascontiguousarray(library)
