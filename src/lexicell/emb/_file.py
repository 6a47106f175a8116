"""From a file of cells to a file of cell embeddings, with memory that does not grow with the number of cells."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError, check_choice
from .._io import check_readable
from .._slots import Slot, find_slot
from ..core._tiebreak import tie_ranks
from ..core.embedding import GeneEmbedding
from ..core.pooling import PRESETS, BadValueError, check_question, n_threads
from ..core.space import GeneSpace
from ._cell_file import CellFile, is_soma, open_cells
from ._engine import Engine, pieces
from ._job import Folder, Job, fingerprint, shard_rows
from ._passes import Here, Place, known_moments, look_at_all, write_embedding
from ._result import check_output, create_store, finish, partial_path, shard_path
from ._shared import OWN, Joined, check_key_added, describe, join, make_entry, named, text_sources, warn_empty

__all__ = ["check_columns", "check_room", "embed_file"]


def embed_file(
    input: str | Path,  # noqa: A002
    output: str | Path,
    genes: GeneEmbedding,
    *,
    preset: str = "paper",
    top_n: int | str | None = OWN,
    layer: str | None = None,
    use_raw: bool = False,
    normalization: str = "auto",
    library_size: str | None = None,
    l2: bool | None = None,
    n_components: int | None = None,
    method: str = "sparse",
    precision: str = "float32",
    project: int | None = None,
    key_added: str = _keys.X_TEXT,
    dtype: str = "float32",
    shard: tuple[int, int] | None = None,
    resume: bool = True,
    dask: str | None = None,
    chunk_size: int | None = None,
    n_jobs: int | None = None,
    show_progress: bool | None = None,
) -> None:
    """Embed the cells of a file into another file, some rows at a time.

    The values are those of :func:`lexicell.emb.cells`, bit by bit. Memory holds the gene vectors and a few blocks of
    rows, whatever the number of cells. A run that was interrupted, by a kill too, goes on where it was when the same
    call is made again.

    Parameters
    ----------
    input
        ``.h5ad`` or ``.zarr`` with a matrix stored by cells (CSR or dense; CSC is read whole and converted, with a
        warning), 10x ``.h5``, or a TileDB-SOMA experiment such as the CELLxGENE Census: its folder or address
        (``s3://...``; needs ``pip install lexicell[soma]``). Of a SOMA, X is the layer ``raw``, else ``data``, of the
        measurement ``RNA``; genes are named by ``var_id`` or ``feature_id``.
    output
        ``.zarr`` or ``.h5ad``. While work is going on, the folder ``<output>.partial`` stands beside it; deleting it
        gives up what was done.
    genes
        Gene vectors, from :func:`lexicell.emb.genes`, made for the genes of `input`.
    preset, top_n, layer, use_raw, normalization, library_size, l2, n_components, method, precision, key_added
        As in :func:`lexicell.emb.cells`. ``whitened`` reads the file twice.
    project
        Write so many principal components of the embedding in its place (centred; exact, from the covariance of all
        cells); reads the file once more. Their axes stand in ``uns``. Components of a shuffled file, or from another
        kind of processor, may differ by rounding.
    dtype
        ``"float32"``, or ``"float16"``: half the size, rounded to three digits.
    shard
        ``(i, n)``: only the i-th of n parts, counted from 0, for work on several machines. It is written to
        ``<output>.shard-i-of-n``; :func:`merge_shards` joins them. Where something must be known of all cells first
        (``whitened``, `project`), each part reads all cells for that.
    resume
        Whether to go on with an interrupted run. False: start anew.
    dask
        ``"local:N"`` for N worker processes here, or the address of a scheduler, ``"tcp://..."``: its workers must see
        `input` and `output` under the same paths. Needs ``pip install lexicell[dask]``.
    chunk_size
        Rows read at a time, rounded up to whole 1,024; default: up to 4,096.
    n_jobs
        Threads; default: as many as the process may use. Workers of Dask have their own.
    show_progress
        Whether to draw a progress bar; None: where stderr is a terminal.

    Returns
    -------
    None. Written to `output`, an AnnData without X: ``obs`` and ``var`` of the input, ``obsm["X_text"]``
    ``(n_cells, dim)`` of `dtype`, ``obs["text_coverage"]``, ``var["gene_text_source"]``, ``uns["lexicell"]["X_text"]``,
    as :func:`lexicell.emb.cells` writes them; with `project` also ``projection`` there: ``mean`` ``(dim,)``, ``V``
    ``(dim, project)``, ``variance`` along each component, ``total_variance`` of the embedding.

    Raises
    ------
    InputError
        As :func:`lexicell.emb.cells`; if `output` cannot be written or there is no room for it; if an unfinished run
        asked something else, or its input was written to since.
    MissingKeyError
        If `layer`, ``raw`` or `library_size` is not in the file.
    MissingDependencyError
        If `dask` is given and Dask is not installed.

    Warns
    -----
    UserWarning
        If cells express no gene that has text; if the matrix is stored by genes.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, tempfile, pathlib
    >>> import lexicell as lx
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> counts = np.array([[3.0, 1, 0], [0, 4, 4]], dtype="float32")
    >>> adata = anndata.AnnData(counts, var=pd.DataFrame(index=["SOD1", "TARDBP", "unknown"]))
    >>> adata.write_h5ad(folder / "cells.h5ad")
    >>> genes = lx.GeneEmbedding.from_vectors(["SOD1", "TARDBP"], np.eye(2))
    >>> lx.emb.embed_file(folder / "cells.h5ad", folder / "text.h5ad", genes)
    >>> anndata.read_h5ad(folder / "text.h5ad").obsm["X_text"].round(2)
    array([[0.53, 0.47],
           [0.  , 1.  ]], dtype=float32)
    """
    source_path = str(input) if is_soma(input) else check_readable(input)
    target = check_output(output)
    check_choice(dtype, ("float32", "float16"), "dtype")
    check_key_added(key_added)
    if project is not None and project < 1:
        raise InputError(f"project must be a whole number of at least 1, got {project}")
    _check_shard(shard, dask)
    if not isinstance(genes, GeneEmbedding):
        raise InputError(f"genes must be a GeneEmbedding, from lexicell.emb.genes; got {type(genes).__name__}")
    if Path(source_path).resolve() == target.resolve():
        raise InputError(f"the output is the input, '{source_path}', which is never changed; name another file")
    folder = Folder(partial_path(target, shard))
    with open_cells(source_path) as source:
        check_columns(source, layer or ("raw" if use_raw else "X"), dask=dask)
        slot = find_slot(source, layer=layer, use_raw=use_raw, normalization=normalization)
        library = None if library_size is None else source.column(library_size)
        check_question(
            preset, source.n_obs, logged=slot.logged, sized=library is not None, n_components=n_components, top_n=top_n,
            method=method, precision=precision,
        )  # fmt: skip
        joined = join(slot, genes)
        params = describe(
            slot, joined, preset=preset, top_n=top_n, l2=l2, library_size=library_size, method=method,
            precision=precision,
        )  # fmt: skip
        job = _ask(source_path, slot, genes, joined, params, n_components, project, key_added, dtype)
        shards = pieces(job.n_shards, shard or (0, 1))
        _begin(folder, job, genes, joined, resume=resume)
        if not folder.delivered():
            engine = Engine(job, folder.genes(), slot.rows, library, n_jobs=n_threads(n_jobs), chunk_size=chunk_size)
            check_room(target, job, job.project or engine.dim, len(set(shards) - folder.done()))
            try:
                with ExitStack() as stack:
                    place = _place(dask, engine, folder, stack)
                    look_at_all(folder, job, engine, place, show=show_progress)
                    tables = shard is None or shard[0] == 0
                    _make_store(folder, job, source, genes, joined, params, engine.dim, tables=tables)
                    write_embedding(folder, job, place, shards, show=show_progress)
            except BadValueError as error:
                # The question itself cannot be answered: there is nothing to go on with.
                folder.remove()
                raise named(error, source, slot, library_size) from None
            warn_empty(folder.n_empty(), job.n_cells)
    if shard is None:
        finish(folder, target)
    else:
        part = Folder(shard_path(target, shard))
        part.remove()
        folder.path.replace(part.path)


def _check_shard(shard: tuple[int, int] | None, dask: str | None) -> None:
    if shard is None:
        return
    if dask is not None:
        raise InputError("give either dask= or shard=: the workers of dask share one run")
    i, n = shard
    if not 0 <= i < n:
        raise InputError(f"shard {i}/{n}: give i/n with i from 0 to n - 1")


def check_columns(source: CellFile, name: str, *, dask: str | None = None) -> None:
    """Say what a matrix stored by genes costs, before it is paid."""
    if name not in ("X", "raw") and name not in source.layers:
        return  # find_slot complains
    matrix = source.matrix(name)
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


def check_room(output: Path, job: Job, dim: int, n_shards: int) -> None:
    """Refuse to begin what cannot end for want of room."""
    per_shard = job.shard_rows * (dim * np.dtype(job.dtype).itemsize + 8)
    # An h5ad file is written beside the finished shards.
    needed = per_shard * (n_shards + (job.n_shards if output.suffix == ".h5ad" else 0))
    place = next(p for p in output.resolve().parents if p.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise InputError(
            f"'{output}' needs {needed / 1e9:.1f} GB and '{place}' has {free / 1e9:.1f} GB free; pass project= or "
            "dtype='float16' (--project, --dtype) for a smaller result, or name another disk"
        )


def _ask(
    source: str | Path,
    slot: Slot,
    genes: GeneEmbedding,
    joined: Joined,
    params: Mapping[str, Any],
    n_components: int | None,
    project: int | None,
    key: str,
    dtype: str,
) -> Job:
    job = Job(
        input=str(source) if "://" in str(source) else str(Path(source).resolve()),
        slot=slot.name,
        logged=slot.logged,
        library_size=params["library_size"],
        preset=params["preset"],
        top_n=0 if params["top_n"] == "all" else params["top_n"],
        l2=params["l2"],
        n_components=n_components or 0,
        method=params["method"],
        precision=params["precision"],
        project=project or 0,
        key=key,
        dtype=dtype,
        n_cells=slot.rows.shape[0],
        n_columns=slot.rows.shape[1],
        shard_rows=shard_rows(project or n_components or genes.dim, dtype),
    )
    of_genes: dict[str, NDArray[Any]] = {
        "columns": joined.columns,
        "hash": np.frombuffer(genes.hash.encode(), dtype=np.uint8),
    }
    return replace(job, fingerprint=fingerprint(job, slot.rows, of_genes))


def _begin(folder: Folder, job: Job, genes: GeneEmbedding, joined: Joined, *, resume: bool) -> None:
    """Make the folder of a run, or check that the one there asked the same."""
    if folder.path.exists() and not (resume and folder.exists()):
        folder.remove()
    if folder.exists():
        folder.check(job)
        return
    vectors, space = genes.vectors[joined.rows], None
    if PRESETS[job.preset].z_scored:
        space = GeneSpace.fit(vectors, job.n_components or None)
        vectors = space.transform(vectors)
    if not 0 <= job.project <= (most := min(job.n_cells - 1, vectors.shape[1])):
        raise InputError(f"project must lie between 1 and {most}, got {job.project}")
    arrays: dict[str, NDArray[Any]] = {"columns": joined.columns, "ranks": tie_ranks(genes.ids[joined.rows])}
    folder.begin(job, arrays, vectors, space)


def _make_store(
    folder: Folder, job: Job, source: CellFile, genes: GeneEmbedding, joined: Joined, params: Mapping[str, Any],
    dim: int, *, tables: bool,
) -> None:  # fmt: skip
    entry = make_entry(genes, joined, params, moments=known_moments(folder, job), space=folder.space())
    axes = folder.arrays("projection")
    if axes is not None:
        entry["projection"] = axes
    var = source.var.copy()
    var[_keys.gene_source(_keys.prefix(job.key))] = text_sources(var.index, genes, joined)
    create_store(folder, job, dim, source if tables else None, var, entry)


def _place(dask: str | None, engine: Engine, folder: Folder, stack: ExitStack) -> Place:
    if dask is None:
        return Here(engine, folder)
    from ._dask import Workers

    return stack.enter_context(Workers(dask, folder, engine.job))
