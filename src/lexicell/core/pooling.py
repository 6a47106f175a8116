r"""Cell embeddings: weighted sums of the text vectors of the genes a cell expresses.

With counts (or abundances) x of a cell, library size n over *all* genes, :math:`l = \log(1 + 10^4 x / n)` and gene
vectors g, every preset is a sum over genes times a factor a cell (`PRESETS`). Genes without text have no vector: they
count in n, in the number of genes and in sums over all genes, and nowhere else.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._errors import InputError, check_choice
from .._matrix import Dense, Rows, Sparse, block_rows, open_rows
from ._hot import SAMPLE
from ._pooler import BadValueError, Pooler, expressed
from ._zscores import Moments, MomentSums
from .space import GeneSpace

__all__ = [
    "METHODS",
    "PRECISIONS",
    "PRESETS",
    "BadValueError",
    "Moments",
    "PooledCells",
    "Preset",
    "check_question",
    "embed_cells",
    "make_pooler",
    "n_threads",
    "pool",
]

Float = NDArray[np.float64]

METHODS = ("sparse", "hybrid")
PRECISIONS = ("float32", "half")


@dataclass(frozen=True)
class Preset:
    """How one preset weighs genes and scales cells.

    Attributes
    ----------
    divide_by
        ``"kept"``: sum of l over the genes summed; ``"all"``: sum of l over all genes of the matrix; ``"genes"``:
        number of genes of the matrix; ``"nothing"``.
    z_scored
        Whether weights are z-scores of l over cells, and vectors those of the whitened gene space.
    l2
        Whether each cell is scaled to unit length.
    top_n
        Genes kept a cell, None for all.
    formula
        In words.
    source
        Where it comes from.
    """

    divide_by: str
    z_scored: bool
    l2: bool
    top_n: int | None
    formula: str
    source: str


PRESETS: dict[str, Preset] = {
    "paper": Preset("kept", False, False, 1000, "sum l g / sum l over the N most expressed genes", "arXiv 2505.07896"),
    "genept-w": Preset("genes", False, True, None, "sum l g / number of genes, then unit length", "GenePT"),
    "scelmo-wa": Preset("all", False, False, None, "sum l g / sum of l over all genes", "scELMo"),
    "scelmo-aa": Preset("genes", False, False, None, "sum l g / number of genes", "scELMo"),
    "whitened": Preset("nothing", True, False, None, "z-scored l @ whitened gene space", "lexicell"),
}


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


def embed_cells(
    X: Any, vectors: ArrayLike, columns: ArrayLike, *, preset: str = "paper", **options: Any
) -> NDArray[np.float32]:
    """Embed cells; arrays in, one array out. The parameters are those of :func:`pool`.

    Returns
    -------
    ``(n_cells, D)`` float32.

    Examples
    --------
    >>> import numpy as np
    >>> from lexicell.core.pooling import embed_cells
    >>> counts = np.array([[3, 1, 0], [0, 0, 5]])
    >>> embed_cells(counts, np.eye(2), columns=[0, 2], preset="paper")
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    return pool(X, vectors, columns, preset=preset, **options).embedding


def pool(
    X: Any,
    vectors: ArrayLike,
    columns: ArrayLike,
    *,
    rows: ArrayLike | None = None,
    preset: str = "paper",
    top_n: int | str | None = "preset",
    l2: bool | None = None,
    logged: bool = False,
    library_size: ArrayLike | None = None,
    ranks: ArrayLike | None = None,
    n_components: int | None = None,
    method: str = "sparse",
    precision: str = "float32",
    chunk_size: int | None = None,
    n_jobs: int | None = None,
) -> PooledCells:
    r"""Embed the cells of a matrix.

    Parameters
    ----------
    X
        Cells x genes: whatever :func:`lexicell._matrix.open_rows` reads, or what it returns. Counts or abundances, or
        l itself where `logged`.
    vectors
        ``(n_vectors, d)`` gene vectors, used as float32.
    columns
        ``(n_vectors,)`` column of `X` of each vector, none twice. Columns that are not named have no text.
    rows
        ``(n_vectors,)`` row of `vectors` for each of `columns`, where `vectors` holds more or another order.
    preset
        One of `PRESETS`.
    top_n
        Genes kept a cell: those with text and the largest values; the rest count as not expressed, except in
        denominators over all genes. None: all. ``"preset"``: the preset's own.
    l2
        Whether to scale each cell to unit length; None: the preset's own.
    logged
        Whether `X` holds l already.
    library_size
        ``(n_cells,)`` totals over all genes, where `X` does not hold them all. Default: the sums of the rows.
    ranks
        ``(n_vectors,)`` ranks, 0 to n_vectors - 1, that decide between equal values at the cut, smallest first;
        default: the order of `columns`.
    n_components
        Directions of the whitened gene space; None: see :meth:`GeneSpace.fit`.
    method
        ``"sparse"``: each cell's genes one by one. ``"hybrid"``: those that many of the first 512 cells keep are
        summed densely by the processor's tile unit.
    precision
        ``"float32"``, or ``"half"``: vectors rounded to sixteen bits.
    chunk_size
        Rows a block; results do not depend on it.
    n_jobs
        Threads; None: one for each processor this process may use. Results do not depend on it.

    Raises
    ------
    InputError
        If shapes disagree, the matrix is empty, an argument is out of range, or `method` needs a tile unit (AMX) and
        the processor has none.
    BadValueError
        If a value is NaN, infinite or negative, or a library size is smaller than the counts it should contain.

    Notes
    -----
    Weights and sums over genes are taken in float32, in the order of the columns and in segments of 2,048 genes
    (of 256 for z-scores, of 8,192 where 256 genes or fewer are kept, one where 64 or fewer are); logarithms, scales,
    norms and denominators in float64. The difference from float64 throughout stays below 2e-6 of a cell's largest
    entry.

    ``hybrid`` adds the hot genes as whole numbers, without rounding, from weights and vectors of 23 bits, and the
    others in float32: the bound is the same. Which genes are hot, those that 15 % (with ``half`` 10 %) of the first
    512 cells keep, depends on these cells, and so do the last bits of all.

    ``half`` keeps eight bits of each entry of a vector, as bfloat16 does, and adds in float32; hot genes keep fifteen
    bits of the largest entry in each dimension. Against float64, on vectors of which a third is common to all genes,
    the largest difference was 3e-4 to 7e-4 of a cell's largest entry, with ``hybrid`` 1e-4 to 2e-4.
    """
    cells = open_rows(X)
    chosen = check_question(
        preset, cells.shape[0], logged=logged, sized=library_size is not None, n_components=n_components,
        method=method, precision=precision,
    )  # fmt: skip
    matrix, places, used = _check_vectors(cells, vectors, columns, rows)
    library = _check_library(library_size, cells.shape[0])
    ranges = list(block_rows(cells, _at_least_one(chunk_size, "chunk_size")))
    pooler = make_pooler(
        cells.shape[1],
        places,
        preset=preset,
        top_n=top_n,
        l2=l2,
        logged=logged,
        ranks=ranks,
        seen=expressed(cells.read(0, min(128, cells.shape[0])), places),
        precision=precision,
    )
    if method == "hybrid":
        n = min(SAMPLE, cells.shape[0])
        pooler.choose_hot(cells.read(0, n), library[:n])
    run = _Run(cells, ranges, library, n_threads(n_jobs))
    space = moments = None
    if chosen.z_scored:
        matrix = matrix if used is None else matrix[used]
        space = GeneSpace.fit(matrix, n_components)
        matrix, used = space.transform(matrix), None
        moments = run.moments(pooler, len(places))
    pooler.set_vectors(matrix, used, moments)
    embedding, coverage, n_genes = run.embed(pooler, matrix.shape[1])
    return PooledCells(embedding, coverage, n_genes, moments, space)


def check_question(
    preset: str,
    n_cells: int,
    *,
    logged: bool,
    sized: bool,
    n_components: int | None,
    top_n: int | str | None = "preset",
    method: str = "sparse",
    precision: str = "float32",
) -> Preset:
    """Refuse arguments that do not go together; `sized`: library sizes are given."""
    check_choice(precision, PRECISIONS, "precision")
    if check_choice(method, METHODS, "method") == "hybrid" and not has_tiles():
        raise InputError(
            "method='hybrid' needs a processor with a tile unit for whole numbers (AMX, Intel from Sapphire Rapids on) "
            "that the system grants; use method='sparse' here"
        )
    chosen = PRESETS[check_choice(preset, PRESETS, "preset")]
    if sized and logged:
        raise InputError("library sizes are of no use where values are log1p already; leave library_size out")
    if chosen.z_scored and n_cells == 1:
        raise InputError(f"preset '{preset}' takes z-scores over cells: one cell alone has none")
    if n_components is not None and not chosen.z_scored:
        raise InputError(f"n_components belongs to the whitened gene space; preset '{preset}' has none")
    _check_top_n(chosen.top_n if top_n == "preset" else top_n)
    return chosen


def make_pooler(
    n_columns: int,
    columns: NDArray[np.int64],
    *,
    preset: str,
    top_n: int | str | None,
    l2: bool | None,
    logged: bool,
    ranks: ArrayLike | None,
    seen: NDArray[np.int64],
    precision: str = "float32",
) -> Pooler:
    """A `Pooler` for a preset; arguments as in `pool` and `Pooler`."""
    chosen = PRESETS[check_choice(preset, PRESETS, "preset")]
    return Pooler(
        n_columns,
        columns,
        ranks=_check_ranks(ranks, len(columns)),
        seen=seen,
        top_n=_check_top_n(chosen.top_n if top_n == "preset" else top_n),
        logged=logged,
        divide_by=chosen.divide_by,
        z_scored=chosen.z_scored,
        l2=chosen.l2 if l2 is None else l2,
        half=precision == "half",
    )


def has_tiles() -> bool:
    """Whether ``hybrid`` works here."""
    from ._kernels import _tiles

    return _tiles.has_tiles()


class _Run:
    """All blocks of a matrix through a pooler."""

    def __init__(self, rows: Rows, ranges: list[tuple[int, int]], library: Float, n_jobs: int) -> None:
        self._rows, self._ranges, self._library, self._n_jobs = rows, ranges, library, n_jobs

    def moments(self, pooler: Pooler, n_vectors: int) -> Moments:
        sums, lock = MomentSums(n_vectors), threading.Lock()

        def work(block: Sparse | Dense, start: int, stop: int) -> None:
            part = pooler.add_moments(block, self._library[start:stop], first_row=start)
            with lock:
                sums.add(part, stop - start)

        self._each(work)
        return sums.moments()

    def embed(self, pooler: Pooler, dim: int) -> tuple[NDArray[np.float32], Float, NDArray[np.int64]]:
        n = self._rows.shape[0]
        out = np.empty((n, dim), dtype=np.float32)
        coverage, n_genes = np.empty(n), np.empty(n, dtype=np.int64)

        def work(block: Sparse | Dense, start: int, stop: int) -> None:
            coverage[start:stop], n_genes[start:stop] = pooler.run(
                block, self._library[start:stop], out[start:stop], first_row=start
            )

        self._each(work)
        return out, coverage, n_genes

    def _each(self, work: Callable[[Sparse | Dense, int, int], None]) -> None:
        if self._n_jobs == 1 or len(self._ranges) == 1:
            for start, stop in self._ranges:
                work(self._rows.read(start, stop), start, stop)
            return
        # Blocks are read here and worked on in threads; errors surface in the order of the rows.
        with ThreadPoolExecutor(self._n_jobs) as threads:
            waiting: deque[Future[None]] = deque()
            try:
                for start, stop in self._ranges:
                    waiting.append(threads.submit(work, self._rows.read(start, stop), start, stop))
                    if len(waiting) > self._n_jobs + 1:
                        waiting.popleft().result()
                while waiting:
                    waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


def n_threads(n_jobs: int | None) -> int:
    """`n_jobs`, or as many threads as this process may use."""
    if n_jobs is not None:
        return _at_least_one(n_jobs, "n_jobs") or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _at_least_one(value: int | None, name: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, got {value!r}")
    return int(value)


def _check_top_n(top_n: int | str | None) -> int:
    if isinstance(top_n, str):
        raise InputError(f"top_n must be a whole number of at least 1, or None for all genes; got '{top_n}'")
    return _at_least_one(top_n, "top_n") or 0


def _check_vectors(
    cells: Rows, vectors: ArrayLike, columns: ArrayLike, rows: ArrayLike | None
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64] | None]:
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


def _check_ranks(ranks: ArrayLike | None, n: int) -> NDArray[np.int32]:
    order = np.arange(n, dtype=np.int32) if ranks is None else np.asarray(ranks, dtype=np.int32)
    if order.shape != (n,) or (np.sort(order) != np.arange(n)).any():
        raise InputError(f"ranks must be the numbers from 0 to {n - 1}, one a gene vector")
    return order


def _check_library(sizes: ArrayLike | None, n_cells: int) -> Float:
    if sizes is None:
        # Slices of nothing are nothing: the compiled loop then sums the row.
        return np.empty(0)
    library = np.asarray(sizes, dtype=np.float64)
    if library.shape != (n_cells,):
        raise InputError(f"library sizes of shape {library.shape} do not fit {n_cells} cells")
    return np.ascontiguousarray(library)
