"""Commands along a trajectory: trajectory, trends, progression; and evaluate's options on time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._options import (
    CELLS,
    COUNT_OPTIONS,
    GENES_FILE,
    SEED,
    OutputPath,
    _options,
    cells_output,
    output_option,
    read,
    say,
)
from ._vulnerability import BATCH, DONOR, MIN_CELLS, N_PERMUTATIONS

if TYPE_CHECKING:
    from anndata import AnnData

    from .. import Expression


def _listed(_context: click.Context, _parameter: click.Parameter, value: str | None) -> list[str]:
    return [] if value is None else [v.strip() for v in value.split(",") if v.strip()]


TIME_OPTIONS = _options(
    click.option("--time", help="Column of obs with measured times or ordered stages, instead of --label."),
    click.option("--order", callback=_listed, help="Stages from first to last, with commas, if --time has no order."),
    click.option("--root", help="For --time: a cell name or column=value; default: the cells of the first time."),
    click.option("--branches", help="For --time: column of obs with true branches, 'trunk' before they separate."),
)


USE_REP = click.option(
    "--use-rep", default="X_text_fused", show_default=True, help="Key of the representation in obsm."
)
COMPONENT = click.option("--component", default="0", show_default=True, help="Connected part of the graph.")
TABLE = click.option("--table", "table_file", type=OutputPath(), help="Also write the table, separated by tabs.")


@click.command()
@CELLS
@output_option(cells_output)
@click.option(
    "--root",
    required=True,
    multiple=True,
    help="A cell name, cluster:3, column=value, markers:SOX2,NES or words:...; can be repeated.",
)
@USE_REP
@click.option(
    "--groupby", help="Column of obs with the groups of the PAGA graph; default: clusters of the representation."
)
@click.option("--n-neighbors", default=15, show_default=True, help="Neighbors per cell, itself counted.")
@click.option("--n-bootstraps", type=int, help="Draws for the intervals; default: 50 up to 10,000 cells, 20 above.")
@GENES_FILE
@COUNT_OPTIONS
@SEED
def trajectory(
    cells: Path,
    output: Path,
    root: tuple[str, ...],
    genes_file: Path | None,
    **options: Any,
) -> None:
    """Order cells from a root.

    Estimates how reliable the order is and finds where it ends; writes the data with the pseudotime in obs.
    """
    from .. import tl
    from .._keys import UNS

    options["expression"] = _expression(options)

    def work(adata: AnnData) -> None:
        tl.trajectory(adata, root=list(root), genes=_genes(genes_file), **options)
        found = adata.uns[UNS][options["use_rep"]]["trajectory"]
        click.echo(found["table"].to_string(float_format="%.3f"))
        click.echo(found["components"].head(10).to_string(float_format="%.3f"))
        rho = found["roots"]["spearman"]
        click.echo(
            f"Root sensitivity: {len(rho)} possible roots gave orders with a median Spearman correlation of "
            f"{rho.median():.2f} with this one; the lowest is {rho.min():.2f}."
        )

    _through(cells, output, work, options["use_rep"], options["expression"])


@click.command()
@CELLS
@output_option(cells_output)
@USE_REP
@click.option("--branch", help="Terminal branch: only cells on the way to it.")
@COMPONENT
@click.option("--features", callback=_listed, help="Genes, with commas; default: all that are expressed enough.")
@click.option("--query", "queries", multiple=True, help="Phrase to follow; can be repeated. Default: the lexicon.")
@click.option("--no-words", is_flag=True, help="Follow no concepts.")
@click.option("--donor", help="Column of obs with donors: genes are then tested over them.")
@click.option("--min-share", default=0.02, show_default=True, help="Smallest fraction of cells that express a gene.")
@GENES_FILE
@COUNT_OPTIONS
@TABLE
def trends(
    cells: Path,
    output: Path,
    genes_file: Path | None,
    table_file: Path | None,
    features: list[str],
    queries: tuple[str, ...],
    no_words: bool,
    **options: Any,
) -> None:
    """Describe genes and concepts along a trajectory.

    Ranks and effect sizes of curves, turning points, and differences between branches.
    """
    from .. import tl
    from .._keys import UNS

    options["expression"] = _expression(options)
    if queries or no_words:
        options["queries"] = list(queries)

    def work(adata: AnnData) -> None:
        tl.trends(adata, features=features or None, genes=_genes(genes_file), **options)
        found = adata.uns[UNS][options["use_rep"]]["trends"]
        for kind, part in found["table"].groupby("kind", sort=False):
            click.echo(f"{kind}s")
            click.echo(part.head(10).drop(columns="kind").to_string(index=False, float_format="%.3f"))
        say(found["params"]["note"])
        _save(found["table"], table_file)

    _through(cells, output, work)


@click.command()
@CELLS
@output_option(cells_output)
@click.option("--condition", required=True, help="Column of obs with stages: numbers or names; one stage per donor.")
@DONOR
@click.option("--stage", "stages", multiple=True, help="Stages in order, if the column has none; repeatable.")
@click.option("--reference", help="The first stage; checked.")
@click.option("--cell-type", help="Column of obs with cell types, each tested on its own.")
@BATCH
@MIN_CELLS
@N_PERMUTATIONS
@USE_REP
@COMPONENT
@GENES_FILE
@SEED
@TABLE
def progression(
    cells: Path,
    output: Path,
    genes_file: Path | None,
    table_file: Path | None,
    stages: tuple[str, ...],
    use_rep: str,
    component: str,
    rng: int,
    **options: Any,
) -> None:
    """Test whether pseudotime rises with disease stage.

    At the donor level; the root is chosen again in every permutation if it depends on the stage. Lists the genes that
    differ between the last stage and the first.
    """
    from .. import StudyDesign, tl
    from .._keys import UNS

    design = StudyDesign(stages=list(stages) or None, **options)

    def work(adata: AnnData) -> None:
        tl.progression(adata, design, use_rep=use_rep, component=component, genes=_genes(genes_file), rng=rng)
        found = adata.uns[UNS][use_rep]["progression"]
        click.echo(found["table"].to_string(float_format="%.3g"))
        if "genes" in found:
            first = found["genes"].groupby("cell_type", sort=False).head(10)
            click.echo(first.to_string(index=False, float_format="%.4f"))
        else:
            say(f"no genes behind the progression: {found['params']['no_genes']}")
        _save(found["table"], table_file, index=True)

    _through(cells, output, work)


def _through(
    cells: Path,
    output: Path,
    work: Callable[[AnnData], None],
    use_rep: str | None = None,
    expression: Expression | None = None,
) -> None:
    """Read, do one thing, write."""
    from .._io import write_cells

    adata = read(cells, use_rep, expression)
    work(adata)
    write_cells(adata, output)
    say(f"{output}: written")


def _expression(options: dict[str, Any]) -> Expression | None:
    """The matrix that the options name; None, what the representation was computed from, if they name none."""
    from .._expression import DEFAULT_SLOT, Expression

    named = Expression(
        options.pop("layer"),
        options.pop("use_raw") or None,
        options.pop("normalization"),
        options.pop("library_size"),
    )
    return None if named == DEFAULT_SLOT else named


def _genes(file: Path | None) -> Any:
    from ..sources.vectors import read_vectors

    return None if file is None else read_vectors(file)


def _save(table: Any, file: Path | None, *, index: bool = False) -> None:
    from .._io import write_table

    if file is not None:
        write_table(table, file, index=index)
