"""Commands that write genes by their texts: concept-sets (for other tools) and gene-neighbors."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._options import CELLS, GENE_OPTIONS, GENES_FILE, genes_or_recorded, output_option, read, say, table_output
from ._words import QUERIES, QUERY, USE_REP, phrases_asked

if TYPE_CHECKING:
    import pandas as pd


@click.command("concept-sets")
@CELLS
@output_option(table_output, "concept_sets.tsv")
@QUERY
@QUERIES
@click.option("--n-genes", default=50, show_default=True, help="Genes per phrase.")
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
@output_option(table_output, "gene_neighbors.tsv")
@click.option("-g", "--name", "names", multiple=True, help="Gene to look up; repeatable. Default: all genes.")
@click.option("--n-neighbors", default=10, show_default=True, help="Neighbors per gene.")
@USE_REP
@GENES_FILE
@GENE_OPTIONS
def gene_neighbors(cells: Path, output: Path, names: tuple[str, ...], n_neighbors: int, **options: Any) -> None:
    """List the genes with the most similar texts."""
    from .. import tl

    _write(cells, output, partial(tl.gene_neighbors, names=list(names) or None, n_neighbors=n_neighbors), **options)


def _write(cells: Path, output: Path, make: Any, *, use_rep: str, genes_file: Path | None, **texts: Any) -> None:
    from .._io import write_table

    adata = read(cells)
    table: pd.DataFrame = make(adata, use_rep=use_rep, genes=genes_or_recorded(adata, genes_file, use_rep, **texts))
    write_table(table, output)
    click.echo(table.head(30).to_string(index=False, float_format="%.3g"))
    say(f"{output}: {len(table):,} rows")
