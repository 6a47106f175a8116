"""The command that embeds cells, in memory or from file to file."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .._errors import InputError
from ._options import (
    CELLS,
    COUNT_OPTIONS,
    GENE_OPTIONS,
    GENES_FILE,
    TOP_N,
    cells_output,
    gene_table,
    genes_of,
    output_option,
    read,
    say,
)
from ._prepare import find_counts

if TYPE_CHECKING:
    from anndata import AnnData

_OF_RUN = ("dask", "resume", "chunk_size", "n_jobs")
_LARGE = 0.25  # of this machine's memory: files are compressed, and cells are copied on the way


@click.command()
@CELLS
@output_option(cells_output)
@GENES_FILE
@GENE_OPTIONS
@COUNT_OPTIONS
@click.option("--preset", default="paper", show_default=True, help="Formula of the cell embedding.")
@TOP_N
@click.option("--n-components", type=int, help="whitened: directions of the gene space.")
@click.option("--key-added", default="X_text", show_default=True, help="Where in obsm the embedding goes.")
@click.option("--yes", is_flag=True, help="genept-s: do not ask before many sentences are embedded or sent.")
@click.option(
    "--stream",
    is_flag=True,
    help="Do not load the file: from file to file, with obs, var and the embedding alone in the output. Goes on where "
    "it was interrupted. The options below imply it.",
)
@click.option("--project", type=int, help="Write so many principal components of the embedding in its place.")
@click.option("--dtype", type=click.Choice(["float32", "float16"]), help="Of the result; default: float32.")
@click.option("--dask", metavar="ADDRESS", help="Workers of Dask: local:N, or a scheduler, tcp://HOST:PORT.")
@click.option("--resume/--no-resume", default=None, help="Go on with an interrupted run, or start anew.")
@click.option("--chunk-size", type=int, help="Rows read at a time; default: as many as fit a few megabytes.")
@click.option("--n-jobs", type=int, help="Threads; default: all cores, or NUMBA_NUM_THREADS.")
def embed(cells: Path, output: Path, genes_file: Path | None, yes: bool, stream: bool, **options: Any) -> None:
    """Embed each cell by the texts of its genes.

    Writes the data with obsm['X_text'].
    """
    from .. import Expression, emb
    from .._io import write_cells

    gene_options = {name: options.pop(name) for name in ("organism", "source", "embedder", "id_column")}
    of_streams = {name: options.pop(name) for name in (*_OF_RUN, "project", "dtype")}
    given = {name: value for name, value in of_streams.items() if value is not None}
    if stream or given:
        _from_file_to_file(cells, output, genes_file, gene_options, {**options, **given})
        return
    _hint(cells)
    adata = read(cells)
    if options["preset"] == "genept-s":
        shape = "as sentences"
        _sentences(adata, gene_options["embedder"] or "local", yes, options)
    else:
        asked = Expression(options["layer"], options["use_raw"], options["normalization"], options["library_size"])
        options |= asdict(find_counts(adata, asked))
        emb.cells(adata, genes_of(adata, genes_file, use_raw=options["use_raw"], **gene_options), **options)
        shape = f"x {adata.obsm[options['key_added']].shape[1]} dimensions"
    write_cells(adata, output)
    say(f"{output}: {adata.n_obs:,} cells {shape} in obsm['{options['key_added']}']")


def _sentences(adata: AnnData, embedder: str, yes: bool, options: dict[str, Any]) -> None:
    from .. import emb

    kept = {name: options[name] for name in ("layer", "use_raw", "normalization", "key_added")}
    if options["top_n"] != "preset":
        kept["top_n"] = options["top_n"] or adata.n_vars
    emb.sentences(adata, embedder, yes=yes, **kept)


def _from_file_to_file(
    cells: Path, output: Path, genes_file: Path | None, gene_options: dict[str, Any], options: dict[str, Any]
) -> None:
    from anndata import AnnData

    from .. import Expression
    from ..stream import RunSettings, check_run, embed, open_cells

    if options["preset"] == "genept-s":
        raise InputError("'genept-s' embeds sentences and is not streamed; leave --stream and its options out")
    check_run(output, str(cells))
    with open_cells(cells) as file:
        n_cells = file.n_obs
        var = gene_table(file, options["use_raw"])
    asked = {name: options.pop(name) for name in ("layer", "use_raw", "normalization", "library_size")}
    of_run = {name: options.pop(name) for name in _OF_RUN if name in options}
    genes = genes_of(AnnData(var=var), genes_file, **gene_options)
    embed(cells, output, genes, expression=Expression(**asked), run=RunSettings(**of_run), **options)
    say(f"{output}: {n_cells:,} cells in obsm['{options['key_added']}']")


def _hint(cells: Path) -> None:
    if not cells.is_file() or not hasattr(os, "sysconf"):
        return
    size, memory = cells.stat().st_size, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > _LARGE * memory:
        say(
            f"lexicell: '{cells}' ({size / 1e9:.1f} GB) is loaded into memory ({memory / 1e9:.1f} GB); --stream embeds "
            "it from file to file"
        )
