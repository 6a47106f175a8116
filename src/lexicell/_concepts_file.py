"""Concept scores from file to file: above `emb` and `tl`, because it streams as the one and scores as the other."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from . import _keys
from ._errors import InputError
from ._io import check_readable
from ._progress import progress
from ._values import LogRows, open_values
from .core.concepts import N_GENES
from .core.embedding import GeneEmbedding
from .emb._cell_file import CellFile, is_soma, open_cells
from .emb._copy import copy_element
from .emb._file import check_columns, check_room
from .emb._job import Folder, Job, fingerprint
from .emb._passes import sum_over_cells
from .emb._result import begin_store, check_output, finish, new_array, partial_path
from .emb._shared import check_key_added
from .tl import _words
from .tl._concept_pass import ConceptPass, Groups, Sums, add, group_table, ranges, set_table
from .tl._concepts import describe_params

__all__ = ["concepts_file"]


def concepts_file(
    input: str | Path,  # noqa: A002
    output: str | Path,
    genes: GeneEmbedding,
    queries: Sequence[str] | str | None = None,
    *,
    groupby: str | None = None,
    donor: str | None = None,
    min_cells: int = 8,
    dense: bool = False,
    n_genes: int = N_GENES,
    query_vectors: ArrayLike | None = None,
    use_rep: str = _keys.X_TEXT,
    layer: str | None = None,
    use_raw: bool | None = None,
    normalization: str = "auto",
    library_size: str | None = None,
    key_added: str = _keys.CONCEPTS,
    resume: bool = True,
    chunk_size: int | None = None,
    show_progress: bool | None = None,
) -> None:
    """Score the cells of a file by phrases into another file, some cells at a time.

    The scores and tables are those of :func:`lexicell.tl.concepts`, bit by bit. Memory holds the gene vectors, the
    scores of some thousand cells, and a few bytes a cell where groups are compared. The input is read twice: once for
    the mean and spread of each gene, which z-scores and the random gene sets need, and once for the scores. A run that
    was interrupted, by a kill too, goes on where it was when the same call is made again.

    Parameters
    ----------
    input
        ``.h5ad``, ``.zarr``, 10x ``.h5`` or a TileDB-SOMA experiment, as in :func:`lexicell.emb.embed_file`.
    output
        ``.zarr`` or ``.h5ad``. While work is going on, the folder ``<output>.partial`` stands beside it.
    genes
        Gene vectors, from :func:`lexicell.emb.genes`, made for the genes of `input`.
    queries, groupby, donor, min_cells, dense, n_genes, query_vectors, key_added
        As in :func:`lexicell.tl.concepts`.
    use_rep
        Key under which results are noted in ``uns``, and whose record in `input`, if there is one, names the slot that
        is read where none is named here. An embedding need not be there.
    layer, use_raw, normalization, library_size
        Where expression stands and what it is, as in :func:`lexicell.emb.cells`.
    resume
        Whether to go on with an interrupted run. False: start anew.
    chunk_size
        Cells worked on at a time; default: as many as fit a few megabytes.
    show_progress
        Whether to draw a progress bar; None: where stderr is a terminal.

    Returns
    -------
    None. Written to `output`, an AnnData without X: ``obs`` and ``var`` of the input, ``obsm[key_added]`` and
    ``uns["lexicell"][use_rep]["concepts"]`` as :func:`lexicell.tl.concepts` writes them.

    Raises
    ------
    InputError
        As :func:`lexicell.tl.concepts`; if `output` cannot be written or there is no room for it; if an unfinished run
        asked something else, or its input was written to since.
    MissingKeyError
        If a column, `layer`, ``raw`` or `library_size` is not in the file.

    Warns
    -----
    UserWarning
        If the matrix is stored by genes; if a query is longer than the model reads.

    Examples
    --------
    >>> import anndata, tempfile, pathlib
    >>> import lexicell as lx
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> adata.write_h5ad(folder / "cells.h5ad")
    >>> genes = lx.emb.genes(adata)
    >>> lx.concepts_file(folder / "cells.h5ad", folder / "scores.zarr", genes, ["B cell"], library_size="n_counts")
    >>> anndata.read_zarr(folder / "scores.zarr").obsm["text_concepts"].shape
    (700, 1)
    """
    source_path = str(input) if is_soma(input) else check_readable(input)
    target = check_output(output)
    check_key_added(key_added)
    if not isinstance(genes, GeneEmbedding):
        raise InputError(f"genes must be a GeneEmbedding, from lexicell.emb.genes; got {type(genes).__name__}")
    if Path(source_path).resolve() == target.resolve():
        raise InputError(f"the output is the input, '{source_path}', which is never changed; name another file")
    if donor is not None and groupby is None:
        raise InputError("donor= needs groupby=: donors serve to test groups")
    folder = Folder(partial_path(target, None))
    with open_cells(source_path) as source:
        like = source.recorded(use_rep).get("params")
        columns = [None if name is None else source.labels(name) for name in (groupby, donor)]
        groups = None if columns[0] is None else Groups.of(columns[0], columns[1], min_cells)
        phrases = _words.asked(queries, query_vectors, genes)
        check_columns(source, layer or ("raw" if use_raw else str((like or {}).get("slot") or "X")))
        values = open_values(
            source, layer=layer, use_raw=use_raw, normalization=normalization, library_size=library_size, like=like
        )
        params = describe_params(
            phrases, values, groupby=groupby, donor=donor, min_cells=min_cells, dense=dense, n_genes=n_genes,
            key_added=key_added,
        )  # fmt: skip
        job = _ask(source_path, values, genes, phrases, groups, params)
        _begin(folder, job, resume=resume)
        if not folder.delivered():
            check_room(target, job, len(phrases.names), job.n_shards - len(folder.done()))
            work = ConceptPass(values, genes, chunk_size)
            z = work.set_moments(_moments(folder, job, work, show_progress))
            sets = work.set_phrases(phrases, None if dense else n_genes)
            _make_store(folder, job, source, _words.columns(phrases))
            sums = _scores(folder, job, work, groups, _words.columns(phrases), show_progress)
            result: dict[str, Any] = {"sets": set_table(sets, phrases, z)}
            if groups is not None:
                result["table"] = group_table(groups, sums, sets, phrases, z)
            _note(folder, {_keys.UNS: {use_rep: {"concepts": {**result, "params": params}}}})
    finish(folder, target)


def _ask(
    source: str | Path,
    values: LogRows,
    genes: GeneEmbedding,
    phrases: _words.Phrases,
    groups: Groups | None,
    params: dict[str, Any],
) -> Job:
    job = Job(
        input=str(source) if "://" in str(source) else str(Path(source).resolve()),
        slot=values.slot.name, logged=values.slot.logged, library_size=values.params["library_size"],
        preset="concepts, dense" if params["dense"] else "concepts", top_n=params["n_genes"], l2=False, n_components=0,
        project=0, key=params["key_added"], dtype="float32", n_cells=values.n_cells,
        n_columns=values.slot.rows.shape[1], shard_rows=ranges(values.n_cells, len(phrases.names))[0],
    )  # fmt: skip
    asked: dict[str, NDArray[Any]] = {
        "hash": np.frombuffer(genes.hash.encode(), dtype=np.uint8),
        "phrases": np.frombuffer("\n".join(map(str, phrases.names)).encode(), dtype=np.uint8),
        "vectors": np.ascontiguousarray(phrases.vectors),
    }
    if groups is not None:
        asked["groups"], asked["min_cells"] = groups.codes, np.array(groups.min_cells)
        if groups.donors is not None:
            asked["donors"] = groups.donors
    return replace(job, fingerprint=fingerprint(job, values.slot.rows, asked))


def _begin(folder: Folder, job: Job, *, resume: bool) -> None:
    """Make the folder of a run, or check that the one there asked the same."""
    if folder.path.exists() and not (resume and folder.exists()):
        folder.remove()
    if folder.exists():
        folder.check(job)
    else:
        folder.begin_job(job)


def _moments(folder: Folder, job: Job, work: ConceptPass, show: bool | None) -> Sums:
    def each(groups: Iterable[Sequence[int]]) -> Iterator[Sums]:
        for group in groups:
            yield work.moments(job.rows(group[0])[0], job.rows(group[-1])[1])

    with progress("Means and spreads of genes", job.n_shards, show=show) as advance:
        sum_over_cells(folder, "moments", job, each, advance)
    return folder.arrays("moments") or {}


def _make_store(folder: Folder, job: Job, source: CellFile, columns: list[str]) -> None:
    """The result with everything but scores, which stand as the columns of a table, and what is noted of them."""
    if (folder.path / "store.json").exists():
        return
    from anndata.io import write_elem

    root = begin_store(folder, source.var, {}, source)
    # Written as a table of one cell, so that the encoding is anndata's own; then made as long as the cells.
    write_elem(root["obsm"], job.key, pd.DataFrame(index=pd.Index(["cell"])))
    table = root["obsm"][job.key]
    index = table.attrs["_index"]
    del table[index]
    copy_element(root["obs"][root["obs"].attrs["_index"]], table, index)
    for name in columns:
        new_array(table, name, (job.n_cells,), (job.shard_rows,), job.dtype)
    table.attrs["column-order"] = columns
    folder.save("store.json", lambda f: f.write(b"{}"))


def _scores(
    folder: Folder, job: Job, work: ConceptPass, groups: Groups | None, columns: list[str], show: bool | None
) -> Sums:
    """Write the shards that are not written yet; what all cells give for the tables of groups."""
    table, done = folder.open_store()["obsm"][job.key], folder.done()
    left = [shard for shard in range(job.n_shards) if shard not in done]
    with progress("Scoring cells", len(left), show=show) as advance:
        for shard in left:
            first, last = job.rows(shard)
            out = np.empty((last - first, len(columns)), dtype=np.float32)
            sums = work.score(first, last, out, groups)
            for k, name in enumerate(columns):
                table[name][first:last] = out[:, k]
            folder.save_arrays(f"groups-{shard:06d}", sums)
            folder.mark(shard, 0)
            advance()
    total: Sums = {}
    for shard in range(job.n_shards):
        total = add(total, folder.arrays(f"groups-{shard:06d}") or {})
    return total


def _note(folder: Folder, uns: dict[str, Any]) -> None:
    from anndata.io import write_elem

    root = folder.open_store()
    if "uns" in root:
        shutil.rmtree(folder.store / "uns")
    write_elem(root, "uns", uns)
