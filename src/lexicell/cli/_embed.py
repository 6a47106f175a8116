"""Commands that embed cells: embed, in memory or from file to file, and merge."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from .._errors import InputError
from ._options import CELLS, COUNT_OPTIONS, GENE_OPTIONS, GENES_FILE, TOP_N, genes_of, output_option, read, say

_LARGE = 0.25  # of this machine's memory: files are compressed, and cells are copied on the way


def _read_shard(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    i, slash, n = value.partition("/")
    if not (slash and i.isdigit() and n.isdigit() and int(i) < int(n)):
        raise click.BadParameter(f"'{value}' is no part; give i/n with i from 0 to n - 1", context, parameter)
    return int(i), int(n)


@click.command()
@CELLS
@output_option()
@GENES_FILE
@GENE_OPTIONS
@COUNT_OPTIONS
@click.option("--preset", default="paper", show_default=True, help="Formula of the cell embedding.")
@TOP_N
@click.option("--l2/--no-l2", default=None, help="Scale each cell to unit length; default: the preset's own.")
@click.option("--n-components", type=int, help="whitened: directions of the gene space.")
@click.option(
    "--method",
    type=click.Choice(["sparse", "hybrid"]),
    default="sparse",
    show_default=True,
    help="hybrid: add common genes by the processor's tile unit (AMX): as exact, faster for many genes a cell.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "half"]),
    default="float32",
    show_default=True,
    help="half: gene vectors in sixteen bits: faster, off by up to a thousandth.",
)
@click.option("--key-added", default="X_text", show_default=True, help="Where in obsm the embedding goes.")
@click.option("--n-jobs", type=int, help="Threads; default: all cores.")
@click.option("--yes", is_flag=True, help="genept-s: do not ask before many sentences are embedded or sent.")
@click.option(
    "--stream",
    is_flag=True,
    help="Do not load the file: from file to file, with obs, var and the embedding alone in the output. Goes on where "
    "it was interrupted. The options below imply it.",
)
@click.option("--project", type=int, help="Write so many principal components of the embedding in its place.")
@click.option("--dtype", type=click.Choice(["float32", "float16"]), help="Of the result; default: float32.")
@click.option("--shard", metavar="I/N", callback=_read_shard, help="Only part I of N, from 0; join with 'merge'.")
@click.option("--dask", metavar="ADDRESS", help="Workers of Dask: local:N, or a scheduler, tcp://HOST:PORT.")
@click.option("--resume/--no-resume", default=None, help="Go on with an interrupted run, or start anew.")
@click.option("--chunk-size", type=int, help="Rows read at a time; default: as many as fit a few megabytes.")
def embed(
    cells: Path,
    output: Path,
    genes_file: Path | None,
    organism: str | None,
    source: str,
    embedder: str | None,
    id_column: str | None,
    yes: bool,
    stream: bool,
    project: int | None,
    dtype: str | None,
    shard: tuple[int, int] | None,
    dask: str | None,
    resume: bool | None,
    **options: Any,
) -> None:
    """Embed each cell.

    Writes the data with obsm['X_text'].
    """
    from .. import emb
    from .._io import check_writable, write_cells

    gene_options = {"organism": organism, "source": source, "embedder": embedder, "id_column": id_column}
    of_streams = {"project": project, "dtype": dtype, "shard": shard, "dask": dask, "resume": resume}
    given = {name: value for name, value in of_streams.items() if value is not None}
    check_writable(output)
    if stream or given:
        _from_file_to_file(cells, output, genes_file, gene_options, {**options, **given})
        return
    _hint(cells)
    adata = read(cells)
    if options["preset"] == "genept-s":
        kept = {name: options[name] for name in ("layer", "use_raw", "normalization", "key_added")}
        top = {} if options["top_n"] == "preset" else {"top_n": options["top_n"] or adata.n_vars}
        emb.sentences(adata, embedder or "local", yes=yes, **top, **kept)
        write_cells(adata, output)
        say(f"{output}: {adata.n_obs:,} cells as sentences in obsm['{options['key_added']}']")
        return
    emb.cells(adata, genes_of(adata, genes_file, **gene_options), **options)
    write_cells(adata, output)
    shape = adata.obsm[options["key_added"]].shape
    say(f"{output}: {shape[0]:,} cells x {shape[1]} dimensions in obsm['{options['key_added']}']")


def _from_file_to_file(
    cells: Path, output: Path, genes_file: Path | None, gene_options: dict[str, Any], options: dict[str, Any]
) -> None:
    from anndata import AnnData

    from .. import emb
    from ..emb._cell_file import open_cells

    if options["preset"] == "genept-s":
        raise InputError("'genept-s' embeds sentences and is not streamed; leave --stream and its options out")
    with open_cells(cells) as file:
        n_cells, var = file.n_obs, file.var
    emb.embed_file(cells, output, genes_of(AnnData(var=var), genes_file, **gene_options), **options)
    if options.get("shard") is None:
        say(f"{output}: {n_cells:,} cells in obsm['{options['key_added']}']")
    else:
        i, n = options["shard"]
        say(f"part {i} of {n} is written; 'lexicell merge -o {output}' joins all parts")


def _hint(cells: Path) -> None:
    if not cells.is_file() or not hasattr(os, "sysconf"):
        return
    size, memory = cells.stat().st_size, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > _LARGE * memory:
        say(
            f"lexicell: '{cells}' ({size / 1e9:.1f} GB) is loaded into memory ({memory / 1e9:.1f} GB); --stream embeds "
            "it from file to file"
        )


@click.command()
@click.argument("parts", nargs=-1, type=click.Path(path_type=Path))
@output_option()
def merge(parts: tuple[Path, ...], output: Path) -> None:
    """Join the parts that 'embed --shard' wrote.

    Without PARTS: all beside the output; they are deleted afterwards.
    """
    from .. import emb

    emb.merge_shards(output, parts or None)
    say(f"{output}: the parts are joined")
