"""From a file of cells to a file of cell embeddings, with memory that does not grow with the number of cells."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError, check_choice, check_key_added
from .._expression import DEFAULT_SLOT, Expression, Slot, find_slot, library_sizes
from .._files import check_work_folder
from .._io import check_cells, check_readable
from ..core.genes.embedding import GeneEmbedding
from ..core.genes.gene_space import GeneSpace
from ..core.pooling.pool import check_question
from ..core.pooling.pooler import BadValueError
from ..core.pooling.presets import OWN, PRESETS, find_preset
from ..core.pooling.threads import n_threads
from ..core.pooling.tiebreak import tie_ranks
from ..emb.joining import Joined, describe, join, make_entry, named, text_sources, warn_empty
from ._cell_file import CellFile
from ._engine import Engine
from ._job import Folder, Job, RunSettings, locked, shard_rows
from ._open_cells import is_soma, open_cells
from ._passes import LocalRunner, Runner, known_moments, look_at_all, write_embedding
from ._result import create_store, finish, partial_path

__all__ = ["check_files", "check_matrix", "check_space", "embed"]


@dataclass(frozen=True, eq=False)
class _Input:
    """The open file, its matrix and library sizes, the gene vectors, and which genes both have."""

    source: CellFile
    slot: Slot
    library: Any
    genes: GeneEmbedding
    joined: Joined
    params: Mapping[str, Any]


def embed(
    input: str | Path,  # noqa: A002
    output: str | Path,
    genes: GeneEmbedding,
    *,
    preset: str = "paper",
    top_n: int | str | None = OWN,
    n_components: int | None = None,
    expression: Expression = DEFAULT_SLOT,
    project: int | None = None,
    key_added: str = _keys.X_TEXT,
    dtype: str = "float32",
    run: RunSettings = RunSettings(),
) -> None:
    """Embed the cells of a file into another file, some rows at a time.

    The values are those of :func:`lexicell.emb.cells`, bit by bit. Memory holds the gene vectors and a few blocks of
    rows, whatever the number of cells. An interrupted or killed run resumes when the same call is made again.

    Parameters
    ----------
    input
        ``.h5ad`` or ``.zarr`` with a matrix stored by cells (CSR or dense; CSC is read whole and converted, with a
        warning), 10x ``.h5``, or a TileDB-SOMA experiment such as the CELLxGENE Census: its folder or address
        (``s3://...``; needs ``pip install lexicell[soma]``). Of a SOMA, X is the layer ``raw``, else ``data``, of the
        measurement ``RNA``; genes are named by ``var_id`` or ``feature_id``.
    output
        ``.zarr`` or ``.h5ad``. An earlier output is replaced when the new one is complete. Until then the folder
        ``<output>.partial`` beside it holds the work done; delete that folder to start over.
    genes
        Gene vectors, from :func:`lexicell.emb.genes`, made for the genes of `input`.
    preset, top_n, n_components, key_added
        As in :func:`lexicell.emb.cells`. ``whitened`` reads the file twice.
    expression
        Which matrix is read, and what its values are; default: X, decided from its values.
    project
        Write this many principal components of the embedding instead (centered; exact, from the covariance of all
        cells); this reads the file once more. Their axes are stored in ``uns``. Components of a shuffled file, or
        from another kind of processor, may differ by rounding.
    dtype
        ``"float32"``, or ``"float16"``: half the size, rounded to three digits.
    run
        Whether to resume, on which machines and threads, how many cells at a time, whether to show progress; default:
        resume, in this process.

    Returns
    -------
    None. Written to `output`, an AnnData without X: ``obs`` and ``var`` of the input, ``obsm["X_text"]``
    ``(n_cells, dim)`` of `dtype`, ``obs["text_coverage"]``, ``var["gene_text_source"]``, ``uns["lexicell"]["X_text"]``,
    as :func:`lexicell.emb.cells` writes them; with `project` also ``projection`` there: ``mean`` ``(dim,)``, ``V``
    ``(dim, project)``, ``variance`` along each component, ``total_variance`` of the embedding.

    Raises
    ------
    InputError
        As :func:`lexicell.emb.cells`; if `output` cannot be written or the disk is too full for it; if an unfinished
        run asked something else, or its input was written to since; if another process is writing the same output; if
        a zarr store has lost chunks.
    MissingKeyError
        If the layer, ``raw`` or the column of library sizes is not in the file.
    MissingDependencyError
        If Dask is asked for and not installed.

    Warns
    -----
    UserWarning
        If cells express no gene that has text; if the matrix is stored by genes; if finished work was damaged and is
        repeated.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, tempfile, pathlib
    >>> import lexicell as lx
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> counts = np.array([[3.0, 1, 0], [0, 4, 4]], dtype="float32")
    >>> adata = anndata.AnnData(counts, var=pd.DataFrame(index=["SOD1", "TARDBP", "unknown"]))
    >>> adata.write_h5ad(folder / "cells.h5ad")
    >>> genes = lx.GeneEmbedding.from_vectors(["SOD1", "TARDBP"], np.eye(2))
    >>> lx.stream.embed(folder / "cells.h5ad", folder / "text.h5ad", genes)
    >>> anndata.read_h5ad(folder / "text.h5ad").obsm["X_text"].round(2)
    array([[0.53, 0.47],
           [0.  , 1.  ]], dtype=float32)
    """
    source_path, target = check_files(input, output, genes)
    chosen = find_preset(preset)
    chosen.n_kept(top_n)
    check_choice(dtype, ("float32", "float16"), "dtype")
    check_key_added(key_added)
    if project is not None and project < 1:
        raise InputError(f"project must be a whole number of at least 1, got {project}")
    with open_cells(source_path) as source:
        check_matrix(source, expression.slot, dask=run.dask)
        slot = find_slot(source, expression)
        library = library_sizes(source, expression.library_size)
        sized = library is not None
        check_question(chosen, source.n_obs, logged=slot.logged, sized=sized, n_components=n_components)
        joined = join(slot, genes)
        params = describe(slot, joined, expression, preset, top_n)
        given = _Input(source, slot, library, genes, joined, params)
        job = _make_job(given, n_components, project, key_added, dtype)
        with locked(partial_path(target)):
            _work(job, given, target, run)


def _work(job: Job, given: _Input, target: Path, run: RunSettings) -> None:
    """Begin a run or go on with it, up to its result."""
    folder = Folder(partial_path(target))
    _begin(folder, job, given, target, resume=run.resume)
    if folder.delivered(target):
        folder.remove()
        return
    engine = Engine(
        job, folder.genes(), given.slot.rows, given.library, n_jobs=n_threads(run.n_jobs), chunk_size=run.chunk_size
    )
    check_space(target, job, job.project or engine.dim, job.n_shards - len(folder.done()))
    try:
        with ExitStack() as stack:
            runner = _runner(run.dask, engine, folder, stack)
            look_at_all(folder, job, engine, runner, show=run.show_progress)
            _make_store(folder, job, given, engine.dim)
            write_embedding(folder, job, runner, show=run.show_progress)
    except BadValueError as error:
        # The values themselves are wrong: there is nothing to resume.
        folder.remove()
        raise named(error, given.source, given.slot, job.library_size or None) from None
    warn_empty(folder.n_empty(), job.n_cells)
    finish(folder, target)


def check_files(source: str | Path, output: str | Path, genes: GeneEmbedding) -> tuple[str | Path, Path]:
    """Check what is read and what is written, before anything is opened; gives both paths."""
    source_path = str(source) if is_soma(source) else check_readable(source)
    target = check_run(output, str(source_path))
    if not isinstance(genes, GeneEmbedding):
        raise InputError(f"genes must be a GeneEmbedding, from lexicell.emb.genes; got {type(genes).__name__}")
    return source_path, target


# What a run writes into its folder before job.json, by which the folder is known.
_BEGUN = ("about.txt", "vectors.npy", "genes.npz", "space.npz", "done", ".*.lexicell-*")


def check_run(output: str | Path, source: str) -> Path:
    """Check that a run from the file `source` can keep its work and write its result; gives the path of the result."""
    target = check_cells(output, inputs=[] if "://" in source else [source])
    check_work_folder(partial_path(target), "job.json", _BEGUN)
    return target


def check_matrix(source: CellFile, name: str, *, dask: str | None = None) -> None:
    """Raise an error if a matrix has lost chunks; warn if it is stored by genes, and what that costs."""
    if name not in ("X", "raw") and name not in source.layers:
        return  # find_slot complains
    matrix = source.matrix(name)
    if matrix is None:
        return
    source.check_chunks(name)
    if getattr(matrix, "format", "") != "csc":
        return
    where = "adata.X" if name == "X" else f"adata.layers['{name}']"
    change = f"{where} = {where}.tocsr()" if name != "raw" else "adata.raw to an AnnData whose X is CSR"
    cure = f"to store it by cells (CSR), read the file, set {change} and write it again"
    if dask is not None:
        raise InputError(f"{name} is stored by genes (CSC), and every worker would read it whole: {cure}")
    warnings.warn(
        f"{name} is stored by genes (CSC), of which rows cannot be read alone: it is read whole, which takes "
        f"{_bytes_of_both(matrix) / 1e6:,.1f} MB of memory; {cure}",
        UserWarning,
        stacklevel=3,
    )


def _bytes_of_both(matrix: Any) -> int:
    """Memory for a sparse matrix on disk and its conversion beside it."""
    parts = [matrix.group[name] for name in ("data", "indices")]
    return 2 * sum(int(part.shape[0] * part.dtype.itemsize) for part in parts)


def check_space(output: Path, job: Job, dim: int, n_shards: int) -> None:
    """Check free disk space before starting."""
    per_shard = job.shard_rows * (dim * np.dtype(job.dtype).itemsize + 8)
    # An h5ad file is written beside the finished shards.
    needed = per_shard * (n_shards + (job.n_shards if output.suffix == ".h5ad" else 0))
    existing = next(p for p in output.resolve().parents if p.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise InputError(
            f"'{output}' needs {needed / 1e9:.1f} GB and '{existing}' has {free / 1e9:.1f} GB free; pass project= or "
            "dtype='float16' (--project, --dtype) for a smaller result, or name another disk"
        )


def _make_job(given: _Input, n_components: int | None, project: int | None, key: str, dtype: str) -> Job:
    """The question as it is kept in the folder of the run."""
    params, genes = given.params, given.genes
    return Job.of(
        given.source.address,
        given.slot,
        params["library_size"],
        {"columns": given.joined.columns, "hash": np.frombuffer(genes.hash.encode(), dtype=np.uint8)},
        preset=params["preset"],
        top_n=0 if params["top_n"] == "all" else params["top_n"],
        n_components=n_components or 0,
        project=project or 0,
        key=key,
        dtype=dtype,
        shard_rows=shard_rows(project or n_components or genes.dim, dtype),
    )


def _begin(folder: Folder, job: Job, given: _Input, target: Path, *, resume: bool) -> None:
    """Make the folder of a run, or check that the one there asked the same."""
    if folder.resumes(job, target, resume=resume):
        return
    genes, joined = given.genes, given.joined
    vectors, space = genes.vectors[joined.rows], None
    if PRESETS[job.preset].z_scored:
        space = GeneSpace.fit(vectors, job.n_components or None)
        vectors = space.transform(vectors)
    most = min(job.n_cells - 1, vectors.shape[1])
    if not 0 <= job.project <= most:
        raise InputError(f"project must lie between 1 and {most}, got {job.project}")
    arrays: dict[str, NDArray[Any]] = {"columns": joined.columns, "ranks": tie_ranks(genes.ids[joined.rows])}
    folder.begin(job, arrays, vectors, space)


def _make_store(folder: Folder, job: Job, given: _Input, dim: int) -> None:
    """Make the result with all its tables, to be filled shard by shard."""
    genes, joined = given.genes, given.joined
    entry = make_entry(genes, joined, given.params, moments=known_moments(folder, job), space=folder.space())
    axes = folder.arrays("projection")
    if axes is not None:
        entry["projection"] = axes
    var = given.source.var.copy()
    var[_keys.gene_source(_keys.prefix(job.key))] = text_sources(var.index, genes, joined)
    create_store(folder, job, dim, given.source, var, entry)


def _runner(dask: str | None, engine: Engine, folder: Folder, stack: ExitStack) -> Runner:
    if dask is None:
        return LocalRunner(engine, folder)
    from ._dask import DaskRunner

    return stack.enter_context(DaskRunner(dask, folder, engine.job))
