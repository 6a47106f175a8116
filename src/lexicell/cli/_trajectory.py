"""Commands along a trajectory: trajectory, fates, trends, movement, progression; and evaluate's options on time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._options import CELLS, GENES_FILE, SEED, _options, output_option, read, say

if TYPE_CHECKING:
    from anndata import AnnData

TIME_COLUMNS = (
    "kind", "spearman", "spearman_low", "spearman_high", "kendall", "gain", "gain_low", "gain_high", "spearman_sd",
    "parts", "branch_f1", "branches",
)  # fmt: skip


def _listed(_context: click.Context, _parameter: click.Parameter, value: str | None) -> list[str]:
    return [] if value is None else [v.strip() for v in value.split(",") if v.strip()]


TIME_OPTIONS = _options(
    click.option("--time", help="Column of obs with measured times or ordered stages, instead of --label."),
    click.option("--order", callback=_listed, help="Stages from first to last, with commas, where --time has none."),
    click.option("--root", help="For --time: a cell name or column=value; default: the cells of the first time."),
    click.option("--branch", help="For --time: column of obs with true branches."),
    click.option("--trunk", default="trunk", show_default=True, help="Value of --branch before branches part."),
)


def check_truth(adata: AnnData, options: dict[str, Any]) -> None:
    """Refuse a wrong column before genes are looked up."""
    from .._errors import check_key
    from .._evaluate_time import check_one

    check_one(options["label"], options["time"])
    check_key(options["label"] or options["time"], adata.obs.columns, "column in obs")


def _read_key_added(_context: click.Context, _parameter: click.Parameter, value: str) -> str | None:
    return None if value == "none" else value


def _read_stretch(_context: click.Context, _parameter: click.Parameter, value: str) -> str | tuple[float, float]:
    low, dash, high = value.partition("-")
    try:
        return (float(low), float(high)) if dash else value
    except ValueError:
        return value


KEY = click.option("--key", default="X_text_fused", show_default=True, help="Key under which the trajectory stands.")
COMPONENT = click.option("--component", default="0", show_default=True, help="Connected part of the graph.")
TABLE = click.option(
    "--table", "table_file", type=click.Path(path_type=Path), help="Also write the table, separated by tabs."
)
SLOT = _options(
    click.option("--layer", help="Layer with expression; default: where the representation was computed from."),
    click.option("--use-raw", is_flag=True, default=None, help="Read .raw."),
)


@click.command()
@CELLS
@output_option()
@click.option(
    "--root", required=True, multiple=True,
    help="A cell name, cluster:3, column=value, markers:SOX2,NES or words:...; may stand several times.",
)  # fmt: skip
@click.option("--use-rep", default="X_text_fused", show_default=True, help="Key of the representation in obsm.")
@click.option(
    "--groupby", help="Column of obs with the groups of the PAGA graph; default: clusters of the representation."
)
@click.option("--n-neighbors", default=15, show_default=True, help="Neighbours a cell in the graph, itself counted.")
@click.option("--n-dcs", default=10, show_default=True, help="Diffusion components.")
@click.option(
    "--other-components", default="nearest", show_default=True,
    help="Parts of the graph without a root: nearest (start at the cell nearest to it) or missing.",
)  # fmt: skip
@click.option("--n-bootstraps", type=int, help="Draws for the intervals; default: 50 up to 10,000 cells, 20 above.")
@click.option("--share", default=0.8, show_default=True, help="Share of the cells in each draw.")
@GENES_FILE
@SLOT
@click.option(
    "--key-added", default="auto", show_default=True, callback=_read_key_added,
    help="Prefix of the keys written; auto: that of the representation; none: scanpy's own keys.",
)  # fmt: skip
@SEED
def trajectory(cells: Path, output: Path, root: tuple[str, ...], genes_file: Path | None, **options: Any) -> None:
    """Order cells from a root.

    Says how sure the order is, and where it ends; writes the data with the pseudotime in obs.
    """
    from .. import tl
    from .._keys import UNS

    def work(adata: AnnData) -> None:
        tl.trajectory(adata, root=root[0] if len(root) == 1 else list(root), genes=_genes(genes_file), **options)
        key = options["key_added"] if options["key_added"] not in ("auto", None) else options["use_rep"]
        found = adata.uns[UNS][key]["trajectory"]
        click.echo(found["table"].to_string(float_format="%.3f"))
        click.echo(found["components"].head(10).to_string(float_format="%.3f"))
        rho = found["roots"]["spearman"]
        click.echo(
            f"another root among the {len(rho)} looked at gives an order with Spearman {rho.median():.2f} "
            f"(median) and {rho.min():.2f} (lowest) with this one"
        )

    _through(cells, output, work)


@click.command()
@CELLS
@output_option()
@click.option("--method", default="cellrank", show_default=True, help="cellrank or palantir.")
@KEY
@COMPONENT
@click.option("--n-terminal", default=30, show_default=True, help="Cells that make a terminal state (CellRank).")
@click.option("--n-waypoints", default=1200, show_default=True, help="Waypoints (Palantir).")
@SEED
@TABLE
def fates(cells: Path, output: Path, table_file: Path | None, key: str, **options: Any) -> None:
    """Say where each cell may end.

    Probabilities of the terminal states, by CellRank or Palantir: needs the extra traj.
    """
    from .. import tl
    from .._keys import UNS

    def work(adata: AnnData) -> None:
        tl.fates(adata, key=key, **options)
        table = adata.uns[UNS][key]["fates"]["table"]
        click.echo(table.to_string(float_format="%.3f"))
        _save(table, table_file, index=True)

    _through(cells, output, work)


@click.command()
@CELLS
@output_option()
@KEY
@click.option("--branch", help="Terminal branch: only cells on the way to it.")
@COMPONENT
@click.option("--features", callback=_listed, help="Genes, with commas; default: all that are expressed enough.")
@click.option("--query", "queries", multiple=True, help="Phrase to follow; may stand several times.")
@click.option("--words/--no-words", default=True, show_default=True, help="Follow concepts.")
@click.option("--min-share", default=0.02, show_default=True, help="Smallest share of cells that express a gene.")
@click.option("--n-splines", default=6, show_default=True, help="Degrees of freedom of a curve.")
@click.option("--n-grid", default=100, show_default=True, help="Points of a curve.")
@click.option("--n-curves", default=100, show_default=True, help="Curves kept of genes and of concepts.")
@click.option("--test-layer", help="Half of the counts that the pseudotime has not seen: gives p values of genes.")
@GENES_FILE
@SLOT
@TABLE
def trends(
    cells: Path, output: Path, genes_file: Path | None, table_file: Path | None, key: str, **options: Any
) -> None:
    """Describe genes and concepts along a trajectory.

    Ranks and effect sizes of curves, turning points, and what sets branches apart.
    """
    from .. import tl
    from .._keys import UNS

    options.update({name: list(options[name]) or None for name in ("features", "queries")})

    def work(adata: AnnData) -> None:
        tl.trends(adata, key=key, genes=_genes(genes_file), **options)
        found = adata.uns[UNS][key]["trends"]
        for kind, part in found["table"].groupby("kind", sort=False):
            click.echo(f"{kind}s")
            click.echo(part.head(10).drop(columns="kind").to_string(index=False, float_format="%.3f"))
        say(found["params"]["note"])
        _save(found["table"], table_file)

    _through(cells, output, work)


@click.command()
@CELLS
@output_option()
@click.option(
    "--start",
    required=True,
    callback=_read_stretch,
    help="Pseudotime such as 0-0.2, 'branch 1', trunk or column=value.",
)
@click.option("--end", required=True, callback=_read_stretch, help="As --start.")
@KEY
@COMPONENT
@GENES_FILE
@TABLE
def movement(
    cells: Path, output: Path, genes_file: Path | None, table_file: Path | None, key: str, **options: Any
) -> None:
    """Split the movement between two stretches into genes.

    Parts sum to 1: the embedding is linear in expression.
    """
    from .. import tl
    from .._keys import UNS

    def work(adata: AnnData) -> None:
        tl.movement(adata, key=key, genes=_genes(genes_file), **options)
        table = adata.uns[UNS][key]["movement"]["table"]
        click.echo(table.head(20).to_string(index=False, float_format="%.4f"))
        _save(table, table_file)

    _through(cells, output, work)


@click.command()
@CELLS
@output_option()
@click.option("--stage", required=True, help="Column of obs with numbers or ordered stages; one stage a donor.")
@click.option("--donor", required=True, help="Column of obs with donors.")
@click.option("--order", callback=_listed, help="Stages from first to last, with commas, where the column has none.")
@click.option("--cell-type", help="Column of obs with cell types, each tested on its own.")
@KEY
@COMPONENT
@click.option("--min-cells", default=8, show_default=True, help="Fewer cells of a type give a donor no mean.")
@click.option("--n-permutations", default=2000, show_default=True, help="Where not all arrangements are listed.")
@SEED
@TABLE
def progression(cells: Path, output: Path, table_file: Path | None, key: str, **options: Any) -> None:
    """Test whether pseudotime rises with disease stage.

    Over donors, with the root chosen again in every permutation where it depends on the stage.
    """
    from .. import tl
    from .._keys import UNS

    options["order"] = options["order"] or None

    def work(adata: AnnData) -> None:
        tl.progression(adata, key=key, **options)
        table = adata.uns[UNS][key]["progression"]["table"]
        click.echo(table.to_string(float_format="%.3g"))
        _save(table, table_file, index=True)

    _through(cells, output, work)


def _through(cells: Path, output: Path, work: Callable[[AnnData], None]) -> None:
    """Read, do one thing, write."""
    from .._io import check_writable, write_cells

    check_writable(output)
    adata = read(cells)
    work(adata)
    write_cells(adata, output)
    say(f"{output}: written")


def _genes(file: Path | None) -> Any:
    from ..sources.vectors import read_vectors

    return None if file is None else read_vectors(file)


def _save(table: Any, file: Path | None, *, index: bool = False) -> None:
    from .._io import write_aside

    if file is not None:
        write_aside(file, partial(table.to_csv, sep="\t", index=index))
