"""Commands on embedded cells: cluster, evaluate, report."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from .._errors import InputError
from .._files import check_file
from ._options import (
    CELLS,
    COUNT_OPTIONS,
    GENE_OPTIONS,
    GENES_FILE,
    SEED,
    cells_output,
    genes_of,
    output_option,
    read,
    say,
)
from ._trajectory import TIME_OPTIONS

LABEL_COLUMNS = ("kind", "ari", "ari_sd", "ari_at_k", "kmeans_ari", "asw", "knn", "lr", "batch_mixing")
TIME_COLUMNS = (
    "kind",
    "spearman",
    "spearman_low",
    "spearman_high",
    "kendall",
    "gain",
    "gain_low",
    "gain_high",
    "spearman_sd",
    "parts",
    "branch_f1",
    "branches",
)


@click.command()
@CELLS
@output_option(cells_output)
@click.option("--use-rep", default="X_text", show_default=True, help="Key of the representation in obsm.")
@click.option("--resolution", default=1.0, show_default=True, help="Leiden resolution.")
@click.option("--n-clusters", type=int, help="Wanted number of clusters.")
@click.option("--n-neighbors", default=15, show_default=True, help="Neighbors per cell in the graph.")
@click.option("--n-repeats", default=5, show_default=True, help="Further runs with other seeds, to see what is stable.")
@click.option("--umap/--no-umap", default=True, show_default=True, help="Compute a two-dimensional map.")
@click.option("--tissue", multiple=True, help="Where the cells come from, such as brain; repeatable; default: guessed.")
@click.option("--key-added", help="Column of obs for the clusters.")
@SEED
def cluster(cells: Path, output: Path, tissue: tuple[str, ...], **options: Any) -> None:
    """Cluster cells, with genes and words of each cluster.

    Writes the data with the clusters in obs.
    """
    from .. import tl
    from .._io import write_cells

    adata = read(cells, options["use_rep"])
    tl.cluster(adata, tissue=list(tissue) or None, **options)
    write_cells(adata, output)
    say(f"{output}: written")


def _table_and_figure(path: Path, *, inputs: Iterable[Path]) -> None:
    inputs = list(inputs)
    check_file(path, inputs=inputs)
    figure = path.with_suffix(".png")
    if figure == path:
        raise InputError(f"'{path}' is where the figure goes; name a table, e.g. '{path.with_suffix('.tsv')}'")
    check_file(figure, inputs=inputs)


@click.command()
@CELLS
@click.option("--label", help="Column of obs with labels known from elsewhere.")
@TIME_OPTIONS
@output_option(_table_and_figure, "evaluation.tsv")
@GENES_FILE
@GENE_OPTIONS
@COUNT_OPTIONS
@click.option("--batch", help="Column of obs with batches or donors.")
@click.option("--use-rep", "use_reps", multiple=True, help="Further key of obsm to score; may stand several times.")
@click.option("--n-controls", default=3, show_default=True, help="Seeds of each control.")
@click.option(
    "--n-bootstraps", type=int, help="Draws of cells for the intervals; default: 200 for labels, 20 for times."
)
@SEED
def evaluate(
    cells: Path,
    output: Path,
    genes_file: Path | None,
    label: str | None,
    time: str | None,
    use_reps: tuple[str, ...],
    n_controls: int,
    n_bootstraps: int | None,
    rng: int,
    **options: Any,
) -> None:
    """Ask whether text helps on your labels or times.

    Scores text, strong expression baselines and matched controls: clusters against --label, orders against --time.
    Writes a table and, beside it, a figure.
    """
    from .. import Expression, evaluate_order, pl
    from .. import evaluate as evaluate_labels
    from .._errors import MissingKeyError, check_column
    from .._files import write_file
    from .._io import write_table

    column = label or time
    if column is None or (label and time):
        raise MissingKeyError("name what to score against: --label, a column of known labels, or --time, one of times")
    # What belongs to one question only is refused with the other.
    own = {name: options.pop(name) or None for name in ("batch", "order", "root", "branches")}
    useless = [name for name in own if own[name] and (name == "batch") != bool(label)]
    if useless:
        raise InputError(f"--{useless[0]} does nothing with {'--label' if label else '--time'}; leave it out")
    figure_file = output.with_suffix(".png")
    adata = read(cells)
    check_column(adata.obs, column)
    where = Expression(**{name: options.pop(name) for name in ("layer", "use_raw", "normalization", "library_size")})
    common: dict[str, Any] = {"use_reps": list(use_reps), "expression": where, "n_controls": n_controls, "rng": rng}
    if n_bootstraps is not None:
        common["n_bootstraps"] = n_bootstraps
    common["genes"] = genes_of(adata, genes_file, use_raw=bool(where.use_raw), **options)
    given = {name: value for name, value in own.items() if value}
    if label:
        result = evaluate_labels(adata, label=label, **given, **common)
    else:
        result = evaluate_order(adata, time=column, **given, **common)
    write_table(result.table, output, index=True, float_format="%.4f")
    figure = pl.evaluation(result)
    write_file(figure_file, lambda p: figure.savefig(p, dpi=150, format="png"))
    for name, cells_left_out in result.dropped.items():
        say(f"left out: {name} ({cells_left_out} cells)")
    columns = [c for c in (LABEL_COLUMNS if label else TIME_COLUMNS) if c in result.table]
    click.echo(result.table[columns].to_string(float_format="%.3f"))
    click.echo(result.verdict)
    say(f"{output}: table and figure written")


@click.command()
@CELLS
@output_option(default="report.html")
@click.option("--use-rep", help="Representation to show; default: the fused one, else the text embedding.")
@click.option("--color", multiple=True, help="Column of obs to show on the map; may stand several times.")
@click.option("--title", default="Cells in words", show_default=True, help="Heading of the page.")
def report(cells: Path, output: Path, **options: Any) -> None:
    """Write one HTML page of all results."""
    from .._report import report as write_report

    write_report(read(cells), output, **options)
    say(f"{output}: written")
