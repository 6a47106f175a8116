"""The command that chooses the genes of a panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ._options import CELLS, GENE_OPTIONS, GENES_FILE, genes_of, output_option, read, say


@click.command()
@CELLS
@output_option("panel.tsv")
@GENES_FILE
@GENE_OPTIONS
@click.option("-n", "--n-genes", default=300, show_default=True, help="Genes to choose.")
@click.option("--pilot/--no-pilot", default=True, show_default=True, help="Use the counts, or only the gene names.")
@click.option("--weight", default=0.0, show_default=True, help="Weight of the texts beside the pilot.")
@click.option("--include", multiple=True, help="A gene that must be on the panel; repeatable.")
@click.option("--exclude", multiple=True, help="A gene that must not; repeatable.")
@click.option("--layer", help="Layer with counts instead of X.")
@click.option("--library-size", help="Column of obs with totals over all genes, for matrices already subset.")
def panel(
    cells: Path,
    output: Path,
    genes_file: Path | None,
    organism: str | None,
    source: str,
    embedder: str | None,
    id_column: str | None,
    pilot: bool,
    **options: Any,
) -> None:
    """Choose genes for a panel.

    By their variance in these cells, or, with --no-pilot, by what their texts say of how much they tell of cell types.
    """
    from .. import emb
    from .._io import check_writable, write_aside

    check_writable(output)
    adata = read(cells)
    found = genes_of(adata, genes_file, organism=organism, source=source, embedder=embedder, id_column=id_column)
    chosen = emb.gene_panel(found, pilot=adata if pilot else None, **options)
    write_aside(output, lambda p: chosen.to_csv(p, sep="\t", float_format="%.4f"))
    say(f"{output}: {len(chosen)} genes, first {', '.join(map(str, chosen.index[:8]))}")
