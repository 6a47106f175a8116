"""Commands on embedded cells: cluster, evaluate, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ._options import CELLS, COUNT_OPTIONS, GENE_OPTIONS, GENES_FILE, SEED, genes_of, output_option, read, say
from ._trajectory import TIME_COLUMNS, TIME_OPTIONS, check_truth


@click.command("split-counts")
@CELLS
@output_option()
@click.option("--share", default=0.5, show_default=True, help="Share of the molecules that go to the first half.")
@click.option("--layer", help="Layer with counts instead of X.")
@click.option("--key-added", default="split", show_default=True, help="Prefix of the two layers.")
@SEED
def split_counts(cells: Path, output: Path, **options: Any) -> None:
    """Split counts into two halves.

    Clusters found in the one can be tested in the other: embed with --layer split_a, cluster with --test-layer split_b.
    """
    from .. import tl
    from .._io import check_writable, write_cells

    check_writable(output)
    adata = read(cells)
    tl.split_counts(adata, **options)
    write_cells(adata, output)
    say(f"{output}: layers {options['key_added']}_a and {options['key_added']}_b")


@click.command()
@CELLS
@output_option()
@click.option("--use-rep", default="X_text", show_default=True, help="Key of the representation in obsm.")
@click.option("--method", default="leiden", show_default=True, help="leiden or kmeans.")
@click.option("--resolution", default=1.0, show_default=True, help="Leiden resolution.")
@click.option("--n-clusters", type=int, help="Wanted number of clusters.")
@click.option("--n-neighbors", default=15, show_default=True, help="Neighbours a cell in the graph.")
@click.option("--metric", default="euclidean", show_default=True, help="Distance for the graph.")
@click.option("--n-repeats", default=5, show_default=True, help="Further runs with other seeds, to see what is stable.")
@click.option("--umap/--no-umap", default=True, show_default=True, help="Compute a two-dimensional map.")
@click.option("--layer", help="Layer with the expression of the clusters' genes; default: what was embedded.")
@click.option("--use-raw", is_flag=True, default=None, help="Read .raw for the clusters' genes.")
@click.option("--test-layer", help="The other half of 'lexicell split-counts': gives markers p values.")
@click.option("--key-added", help="Column of obs for the clusters.")
@SEED
def cluster(cells: Path, output: Path, **options: Any) -> None:
    """Cluster embedded cells.

    Writes the data with the clusters in obs.
    """
    from .. import tl
    from .._io import check_writable, write_cells

    check_writable(output)
    adata = read(cells)
    tl.cluster(adata, **options)
    write_cells(adata, output)
    say(f"{output}: written")


@click.command()
@CELLS
@click.option("--label", help="Column of obs with labels known from elsewhere.")
@TIME_OPTIONS
@output_option("evaluation.tsv")
@GENES_FILE
@GENE_OPTIONS
@COUNT_OPTIONS
@click.option("--batch", help="Column of obs with batches or donors.")
@click.option("--use-rep", "use_reps", multiple=True, help="Further key of obsm to score; may stand several times.")
@click.option("--n-controls", default=3, show_default=True, help="Seeds of each control.")
@click.option(
    "--n-bootstraps", type=int, help="Draws of cells for the intervals; default: 200 for labels, 20 for times."
)
@click.option("--n-neighbors", default=15, show_default=True, help="Neighbours a cell in the graph.")
@click.option("--scib", is_flag=True, help="Add the scores of scib-metrics; needs lexicell[eval].")
@SEED
def evaluate(
    cells: Path,
    output: Path,
    genes_file: Path | None,
    organism: str | None,
    source: str,
    embedder: str | None,
    id_column: str | None,
    **options: Any,
) -> None:
    """Ask whether text helps on your labels or times.

    Scores text, strong expression baselines and matched controls: clusters against --label, orders against --time.
    Writes a table and, beside it, a figure.
    """
    from .. import pl
    from .._evaluate import evaluate as run_evaluation
    from .._io import check_writable, write_aside

    figure_file = output.with_suffix(".png")
    check_writable(output)
    check_writable(figure_file)
    adata = read(cells)
    check_truth(adata, options)
    options.update({name: list(options[name]) or None for name in ("use_reps", "order")})
    found = genes_of(adata, genes_file, organism=organism, source=source, embedder=embedder, id_column=id_column)
    result = run_evaluation(adata, genes=found, **options)
    write_aside(output, lambda p: result.table.to_csv(p, sep="\t", float_format="%.4f"))
    figure = pl.evaluation(result)
    write_aside(figure_file, lambda p: figure.savefig(p, dpi=150, format="png"))
    for name, cells_left_out in result.dropped.items():
        say(f"left out: {name} ({cells_left_out} cells)")
    columns = ["kind", "ari", "ari_sd", "ari_at_k", "kmeans_ari", "asw", "knn", "lr"]
    columns += [c for c in map(str, result.table) if c == "batch_mixing" or c.startswith("scib_")]
    if options["time"]:
        columns = [c for c in TIME_COLUMNS if c in result.table]
    click.echo(result.table[columns].to_string(float_format="%.3f"))
    click.echo(result.verdict)
    say(f"{output}: table and figure written")


@click.command()
@CELLS
@output_option("report.html")
@click.option("--use-rep", help="Representation to show; default: the fused one, else the text embedding.")
@click.option("--color", multiple=True, help="Column of obs to show on the map; may stand several times.")
@click.option("--title", default="Cells in words", show_default=True, help="Heading of the page.")
def report(cells: Path, output: Path, **options: Any) -> None:
    """Write one HTML page of all results."""
    from .._io import check_writable
    from .._report import report as write_report

    check_writable(output)
    write_report(read(cells), output, **options)
    say(f"{output}: written")
