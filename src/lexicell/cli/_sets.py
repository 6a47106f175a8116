"""Commands that write genes by their texts: concept-sets (for other tools) and gene-neighbors."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._options import CELLS, GENE_OPTIONS, GENES_FILE, genes_or_recorded, output_option, read, say
from ._words import QUERIES, QUERY, USE_REP, phrases_asked

if TYPE_CHECKING:
    import pandas as pd


@click.command("concept-sets")
@CELLS
@output_option("concept_sets.tsv")
@QUERY
@QUERIES
@click.option("--n-genes", default=50, show_default=True, help="Genes a phrase.")
@USE_REP
@GENES_FILE
@GENE_OPTIONS
def concept_sets(
    cells: Path, output: Path, query: tuple[str, ...], file: Path | None, n_genes: int, **options: Any
) -> None:
    """Write phrases as weighted gene sets.

    Without a phrase, the shipped lexicon. A table of source, target and weight, which decoupler and others read.
    """
    from .. import tl

    words = phrases_asked(query, file)
    _write(cells, output, partial(tl.concept_sets, queries=words, n_genes=n_genes), **options)


@click.command("gene-neighbors")
@CELLS
@output_option("gene_neighbors.tsv")
@click.option("-g", "--name", "names", multiple=True, help="Gene to look up; repeatable. Default: all genes.")
@click.option("--n-neighbors", default=10, show_default=True, help="Neighbours a gene.")
@USE_REP
@GENES_FILE
@GENE_OPTIONS
def gene_neighbors(cells: Path, output: Path, names: tuple[str, ...], n_neighbors: int, **options: Any) -> None:
    """List the genes whose texts say the same."""
    from .. import tl

    _write(cells, output, partial(tl.gene_neighbors, names=list(names) or None, n_neighbors=n_neighbors), **options)


def _write(cells: Path, output: Path, make: Any, *, use_rep: str, genes_file: Path | None, **texts: Any) -> None:
    from .._errors import InputError
    from .._io import check_writable, write_aside

    if output.suffix not in (".tsv", ".csv"):
        raise InputError(f"'{output}' cannot be written; name a file that ends in .tsv or .csv")
    check_writable(output)
    adata = read(cells)
    table: pd.DataFrame = make(adata, use_rep=use_rep, genes=genes_or_recorded(adata, genes_file, use_rep, **texts))
    write_aside(output, partial(table.to_csv, sep="\t" if output.suffix == ".tsv" else ",", index=False))
    click.echo(table.head(30).to_string(index=False, float_format="%.3g"))
    say(f"{output}: {len(table):,} rows")
