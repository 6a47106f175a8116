"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from anndata import AnnData

    from ..core.embedding import GeneEmbedding

CELLS = click.argument("cells", metavar="CELLS", type=click.Path(path_type=Path))


def _options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


GENE_OPTIONS = _options(
    click.option("--organism", help="human, mouse or rat; guessed from the gene names when left out."),
    click.option("--source", default="bundled", show_default=True, help="Where gene texts come from."),
    click.option("--embedder", help="What turns texts into vectors; default: the source's own vectors, or 'local'."),
    click.option(
        "--id-column", help="Column of var that holds the gene ids; default: var_names, or what matches best."
    ),
)
LAYER = click.option("--layer", help="Layer to read instead of X.")
USE_RAW = click.option("--use-raw", is_flag=True, help="Read .raw instead of X.")
NORMALIZATION = click.option(
    "--normalization",
    default="auto",
    show_default=True,
    help="What the values are: auto, counts, abundance (FPKM, TPM) or log1p.",
)
_LIBRARY_SIZE = click.option(
    "--library-size", help="Column of obs with totals over all genes, for matrices already subset."
)
COUNT_OPTIONS = _options(LAYER, USE_RAW, NORMALIZATION, _LIBRARY_SIZE)
SLOT_OPTIONS = _options(LAYER, USE_RAW, _LIBRARY_SIZE)


def _read_top_n(_context: click.Context, _parameter: click.Parameter, value: str) -> int | str | None:
    if value == "preset":
        return value
    if value == "all":
        return None
    if value.isdigit() and int(value) > 0:
        return int(value)
    raise click.BadParameter(f"'{value}' is no number of genes; give a positive number, 'all' or 'preset'")


TOP_N = click.option(
    "--top-n", default="preset", show_default=True, callback=_read_top_n, help="Genes a cell: a number, all or preset."
)
GENES_FILE = click.option(
    "--genes",
    "genes_file",
    type=click.Path(path_type=Path),
    help="Written by 'lexicell genes', or published gene vectors (pickle, npz, parquet, word2vec).",
)
SEED = click.option("--seed", "rng", default=0, show_default=True, help="Seed of everything random.")


def output_option(default: str | None = None) -> Callable[[Any], Any]:
    return click.option(
        "-o", "--output", type=click.Path(path_type=Path), required=default is None, default=default,
        show_default=default is not None, help="Where to write.",
    )  # fmt: skip


def key_option(default: str, what: str = "Name of the result.") -> Callable[[Any], Any]:
    return click.option("--key-added", default=default, show_default=True, help=what)


def read(path: Path) -> AnnData:
    from .._io import read_cells

    return read_cells(path)


def say(text: str) -> None:
    click.echo(text, err=True)


def genes_of(adata: AnnData, file: Path | None, **options: Any) -> GeneEmbedding:
    from .. import emb
    from ..sources.vectors import read_vectors

    return emb.genes(adata, **options) if file is None else read_vectors(file)


def genes_or_recorded(
    adata: AnnData, file: Path | None, use_rep: str, *, source: str = "bundled", **options: Any
) -> GeneEmbedding | None:
    """The gene vectors asked for; None, those of the embedding there, where none were asked for."""
    from .._results import recorded

    asked = file is not None or source != "bundled" or any(v is not None for v in options.values())
    if not asked and recorded(adata, use_rep):
        return None
    return genes_of(adata, file, source=source, **options)
