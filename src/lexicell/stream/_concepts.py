"""Concept scores of cells, from file to file: passes of `tl.concept_pass` in the folder of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError
from .._expression import Expression, LogRows, open_values
from .._files import discard
from .._progress import progress
from ..core.expression.sums import Sums, add_sums
from ..core.genes.embedding import GeneEmbedding
from ..core.genes.retrieval import N_GENES
from ..tl import words as _words
from ..tl.concept_pass import ConceptPass, Groups, describe_params, group_table, ranges, set_tables
from ._cell_file import CellFile
from ._copy import copy_element
from ._embed import check_files, check_matrix, check_space
from ._job import Folder, Job, RunSettings, locked
from ._open_cells import open_cells
from ._passes import sum_over_cells
from ._result import ShardArrays, begin_store, end_store, finish, new_array, partial_path

__all__ = ["concepts"]


@dataclass(frozen=True, eq=False)
class _Input:
    """The open file, its values, gene vectors, phrases and groups, and the parameters for ``uns``."""

    source: CellFile
    values: LogRows
    genes: GeneEmbedding
    phrases: _words.Phrases
    groups: Groups | None
    params: dict[str, Any]

    @property
    def columns(self) -> list[str]:
        """Names of the scores."""
        return _words.columns(self.phrases)


def concepts(
    input: str | Path,  # noqa: A002
    output: str | Path,
    genes: GeneEmbedding,
    queries: _words.Queries | None = None,
    *,
    groupby: str | None = None,
    donor: str | None = None,
    min_cells: int = 8,
    n_genes: int = N_GENES,
    use_rep: str = _keys.X_TEXT,
    expression: Expression | None = None,
    run: RunSettings = RunSettings(),
) -> None:
    """Score the cells of a file by phrases into another file, some cells at a time.

    The scores and tables are those of :func:`lexicell.tl.concepts`, bit by bit. Memory holds the gene vectors, the
    scores of some thousand cells, and a few bytes per cell where groups are compared. The input is read twice: once for
    the mean and spread of each gene, which z-scores and the random gene sets need, and once for the scores. An
    interrupted or killed run resumes when the same call is made again.

    Parameters
    ----------
    input
        ``.h5ad``, ``.zarr``, 10x ``.h5`` or a TileDB-SOMA experiment, as in :func:`lexicell.stream.embed`.
    output
        ``.zarr`` or ``.h5ad``. An earlier output is replaced when the new one is complete. Until then the folder
        ``<output>.partial`` beside it holds the work done; delete that folder to start over.
    genes
        Gene vectors, from :func:`lexicell.emb.genes`, made for the genes of `input`.
    queries, groupby, donor, min_cells, n_genes
        As in :func:`lexicell.tl.concepts`.
    use_rep
        Key under which results are recorded in ``uns``. If `input` holds this embedding, its record says which matrix
        is read. The embedding itself is not needed.
    expression
        Which matrix is read, and what its values are; None: that of `use_rep`, else X.
    run
        Whether to resume, how many cells at a time, whether to show progress. There is one process with one thread:
        `dask` and `n_jobs` are refused.

    Returns
    -------
    None. Written to `output`, an AnnData without X: ``obs`` and ``var`` of the input, ``obsm["text_concepts"]``
    (prefix of `use_rep`) and ``uns["lexicell"][use_rep]["concepts"]`` as :func:`lexicell.tl.concepts` writes them.

    Raises
    ------
    InputError
        As :func:`lexicell.tl.concepts`; if `output` cannot be written or the disk is too full for it; if an unfinished
        run asked something else, or its input was written to since; if another process is writing the same output; if
        a zarr store has lost chunks.
    MissingKeyError
        If a column, the layer or ``raw`` is not in the file.

    Warns
    -----
    UserWarning
        If the matrix is stored by genes; if a query is longer than the model reads; if finished work was damaged and is
        done again.

    Examples
    --------
    >>> import anndata, tempfile, pathlib
    >>> import lexicell as lx
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> adata.write_h5ad(folder / "cells.h5ad")
    >>> genes = lx.emb.genes(adata)
    >>> counts = lx.Expression(library_size="n_counts")
    >>> lx.stream.concepts(folder / "cells.h5ad", folder / "scores.zarr", genes, ["B cell"], expression=counts)
    >>> anndata.read_zarr(folder / "scores.zarr").obsm["text_concepts"].shape
    (700, 1)
    """
    source_path, target = check_files(input, output, genes)
    if donor is not None and groupby is None:
        raise InputError("donor= needs groupby=: donors serve to test groups")
    if run.dask is not None or run.n_jobs is not None:
        raise InputError("stream.concepts works in one process and one thread; leave dask and n_jobs out")
    with open_cells(source_path) as source:
        groups = _groups(source, groupby, donor, min_cells)
        phrases = _words.asked(queries, genes)
        values = _values(source, expression, source.recorded(use_rep).get("params"))
        params = describe_params(
            phrases,
            values,
            groupby=groupby,
            donor=donor,
            min_cells=min_cells,
            n_genes=n_genes,
        )
        given = _Input(source, values, genes, phrases, groups, params)
        job = _make_job(given, f"{_keys.prefix(use_rep)}_concepts")
        with locked(partial_path(target)):
            _work(job, given, target, use_rep, run)


def _groups(source: CellFile, groupby: str | None, donor: str | None, min_cells: int) -> Groups | None:
    if groupby is None:
        return None
    donors = None if donor is None else source.labels(donor)
    return Groups.of(source.labels(groupby), donors, min_cells)


def _values(source: CellFile, expression: Expression | None, recorded: dict[str, Any] | None) -> LogRows:
    chosen = (expression or Expression()).or_recorded(recorded)
    check_matrix(source, chosen.slot)
    return open_values(source, chosen)


def _work(job: Job, given: _Input, target: Path, use_rep: str, run: RunSettings) -> None:
    """Begin a run or go on with it, up to its result."""
    folder = Folder(partial_path(target))
    if not folder.resumes(job, target, resume=run.resume):
        folder.begin_job(job)
    if folder.delivered(target):
        folder.remove()
        return
    check_space(target, job, len(given.columns), job.n_shards - len(folder.done()))
    work = ConceptPass(given.values, given.genes, run.chunk_size)
    z = work.set_moments(_moments(folder, job, work, run.show_progress))
    sets = work.set_phrases(given.phrases, job.top_n)
    _make_store(folder, job, given.source, given.columns)
    sums = _scores(folder, job, work, given, run.show_progress)
    result: dict[str, Any] = dict(set_tables(sets, given.phrases, z))
    if given.groups is not None:
        result["table"] = group_table(given.groups, sums, sets, given.phrases, z)
    _note(folder, {_keys.UNS: {use_rep: {"concepts": {**result, "params": given.params}}}})
    finish(folder, target)


def _make_job(given: _Input, key: str) -> Job:
    """The question as it is kept in the folder of the run; scores go to ``obsm[key]``."""
    values, params, groups = given.values, given.params, given.groups
    asked: dict[str, NDArray[Any]] = {
        "hash": np.frombuffer(given.genes.hash.encode(), dtype=np.uint8),
        "phrases": np.frombuffer("\n".join(map(str, given.phrases.names)).encode(), dtype=np.uint8),
        "found": given.phrases.scores.indices,
        "scores": given.phrases.scores.data,
    }
    if groups is not None:
        asked["groups"], asked["min_cells"] = groups.codes, np.array(groups.min_cells)
        if groups.donors is not None:
            asked["donors"] = groups.donors
    return Job.of(
        given.source.address,
        values.slot,
        values.params["library_size"],
        asked,
        preset="concepts",
        top_n=params["n_genes"],
        key=key,
        shard_rows=ranges(values.n_cells, len(given.columns))[0],
    )


def _moments(folder: Folder, job: Job, work: ConceptPass, show: bool | None) -> Sums:
    """Sums behind the mean and spread of each gene over all cells."""

    def each(groups: Iterable[Sequence[int]]) -> Iterator[Sums]:
        for group in groups:
            yield work.moments(job.rows(group[0])[0], job.rows(group[-1])[1])

    with progress("Means and spreads of genes", job.n_shards, show=show) as advance:
        sum_over_cells(folder, "moments", job, each, advance)
    return folder.arrays("moments") or {}


def _make_store(folder: Folder, job: Job, source: CellFile, columns: list[str]) -> None:
    """Make the result with everything but the scores, which are columns of a table, and what is noted of them."""
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
    end_store(folder)


def _scores(folder: Folder, job: Job, work: ConceptPass, given: _Input, show: bool | None) -> Sums:
    """Write the shards that are not written yet; what all cells give for the tables of groups."""
    table = folder.open_store()["obsm"][job.key]
    arrays = ShardArrays(folder, job, [table[name] for name in given.columns])
    arrays.recheck()
    left = sorted(set(range(job.n_shards)) - folder.done())
    with progress("Scoring cells", len(left), show=show) as advance:
        for shard in left:
            first, last = job.rows(shard)
            out = np.empty((last - first, len(given.columns)), dtype=np.float32)
            sums = work.score(first, last, out, given.groups)
            folder.save_arrays(f"groups-{shard:06d}", sums)
            arrays.write(shard, list(out.T), 0)
            advance()
    arrays.check_whole()
    return add_sums(folder.arrays(f"groups-{shard:06d}") or {} for shard in range(job.n_shards))


def _note(folder: Folder, uns: dict[str, Any]) -> None:
    from anndata.io import write_elem

    discard(folder.store / "uns")
    write_elem(folder.open_store(), "uns", uns)
