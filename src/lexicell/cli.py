"""The command line: each command reads a file, makes one library call and writes a file.

Options have the names and defaults of the Python functions. A user's mistake is one line on stderr and exit code 2,
an interruption is exit code 130, and only a bug shows a traceback.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from . import __version__
from ._errors import InputError, LexicellError

if TYPE_CHECKING:
    from anndata import AnnData

    from .core.embedding import GeneEmbedding
    from .embedders import CostEstimate

_CELLS = click.argument("cells", metavar="CELLS", type=click.Path(path_type=Path))


def _options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(function: Any) -> Any:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


_GENE_OPTIONS = _options(
    click.option("--organism", help="human, mouse or rat; guessed from the gene names when left out."),
    click.option("--source", default="bundled", show_default=True, help="Where gene texts come from."),
    click.option("--embedder", help="What turns texts into vectors; default: the source's own vectors, or 'local'."),
    click.option(
        "--id-column", help="Column of var that holds the gene ids; default: var_names, or what matches best."
    ),
)
_COUNT_OPTIONS = _options(
    click.option("--layer", help="Layer to read instead of X."),
    click.option("--use-raw", is_flag=True, help="Read .raw instead of X."),
    click.option(
        "--normalization",
        default="auto",
        show_default=True,
        help="What the values are: auto, counts, abundance (FPKM, TPM) or log1p.",
    ),
    click.option("--library-size", help="Column of obs with totals over all genes, for matrices already subset."),
)


def _read_top_n(_context: click.Context, _parameter: click.Parameter, value: str) -> int | str | None:
    if value == "preset":
        return value
    if value == "all":
        return None
    if value.isdigit() and int(value) > 0:
        return int(value)
    raise click.BadParameter(f"'{value}' is no number of genes; give a positive number, 'all' or 'preset'")


_TOP_N = click.option(
    "--top-n", default="preset", show_default=True, callback=_read_top_n, help="Genes a cell: a number, all or preset."
)
_SEED = click.option("--seed", "rng", default=0, show_default=True, help="Seed of everything random.")


def _output(default: str | None = None) -> Callable[[Any], Any]:
    return click.option(
        "-o", "--output", type=click.Path(path_type=Path), required=default is None, default=default,
        show_default=default is not None, help="Where to write.",
    )  # fmt: skip


def _read(path: Path) -> AnnData:
    from ._io import read_cells

    return read_cells(path)


def _say(text: str) -> None:
    click.echo(text, err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="lexicell")
def cli() -> None:
    """Describe single cells by what is written about the genes they express."""


@cli.command()
@_output("lexicell_demo")
@_SEED
def demo(output: Path, rng: int) -> None:
    """Run the whole pipeline on 700 real blood cells and write a report. No network, no key."""
    from ._run import demo as run_demo

    run_demo(output, rng=rng, say=_say)


@cli.command()
@_CELLS
@_output()
@_GENE_OPTIONS
@_COUNT_OPTIONS
@click.option("--preset", default="whitened", show_default=True, help="Formula of the cell embedding.")
@_TOP_N
@click.option("--use-rep", default="fused", show_default=True, help="What is clustered: fused, text or expression.")
@click.option("--cell-type", help="Column of obs with known labels, to compare the clusters with.")
@click.option("--resolution", default=1.0, show_default=True, help="Leiden resolution.")
@_SEED
def run(cells: Path, **options: Any) -> None:
    """From a file of cells to embedding, clusters and a report, in one folder."""
    from ._run import run_file

    run_file(cells, say=_say, **options)


@cli.command()
@_CELLS
@_output()
@_GENE_OPTIONS
@click.option("--estimate-cost", is_flag=True, help="Say what would be sent and what it would cost; send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before spending.")
def genes(cells: Path, output: Path, estimate_cost: bool, yes: bool, **options: Any) -> None:
    """Find the text and the vector of each gene and write them as h5ad (genes x dimensions)."""
    from . import emb
    from ._io import check_writable

    check_writable(output)
    adata = _read(cells)
    if options["embedder"] is not None and (estimate_cost or not yes):
        quote = emb.cost(adata, **options)
        if estimate_cost:
            _say(str(quote))
            return
        if not _agreed(quote):
            _say("nothing was sent")
            return
    elif estimate_cost:
        _say("the vectors ship with the source: nothing is sent, nothing is spent")
        return
    result = emb.genes(adata, **options)
    result.save(output)
    missing = len(result.coverage) - len(result)
    _say(f"{output}: {len(result):,} genes x {result.dim} dimensions; {missing:,} genes have no text")


_ASK_ABOVE = 0.10  # US dollars


def _agreed(quote: CostEstimate) -> bool:
    """Whether the user agrees to spend money; not asked where it is next to none."""
    if not quote.leaves_machine or not quote.to_send or (quote.money is not None and quote.money <= _ASK_ABOVE):
        return True
    return click.confirm(f"{quote}. Go on?", err=True)


@cli.command()
@_CELLS
@_output("coverage.tsv")
@click.option("--genes", "genes_file", type=click.Path(path_type=Path), help="A file written by 'lexicell genes'.")
@_GENE_OPTIONS
@click.option("--layer", help="Layer to read instead of X.")
@click.option("--use-raw", is_flag=True, help="Read .raw instead of X.")
def coverage(
    cells: Path, output: Path, genes_file: Path | None, layer: str | None, use_raw: bool, **options: Any
) -> None:
    """Account for every gene: what it matched, where its text came from, how much of the counts it is."""
    from . import emb
    from ._io import check_writable

    check_writable(output)
    adata = _read(cells)
    found = emb.coverage(adata, _genes(adata, genes_file, **options), layer=layer, use_raw=use_raw)
    found.to_tsv(output)
    s = found.summary
    ways = ", ".join(f"{n:,} by {way}" for way, n in s["matched_by"].items())
    _say(f"{output}: {s['genes_with_text']:,} of {s['genes']:,} genes have a text ({ways})")
    _say(
        f"they make up {s['share_of_counts']:.1%} of all counts; median share of a cell {s['median_share_per_cell']:.1%}"
    )


@cli.command()
@_CELLS
@_output()
@click.option("--genes", "genes_file", type=click.Path(path_type=Path), help="A file written by 'lexicell genes'.")
@_GENE_OPTIONS
@_COUNT_OPTIONS
@click.option("--preset", default="paper", show_default=True, help="Formula of the cell embedding.")
@_TOP_N
@click.option("--l2/--no-l2", default=None, help="Scale each cell to unit length; default: the preset's own.")
@click.option("--key-added", default="X_text", show_default=True, help="Where in obsm the embedding goes.")
@click.option("--n-jobs", type=int, help="Threads; default: all cores.")
def embed(
    cells: Path,
    output: Path,
    genes_file: Path | None,
    organism: str | None,
    source: str,
    embedder: str | None,
    id_column: str | None,
    **options: Any,
) -> None:
    """Embed each cell and write the data with obsm['X_text']."""
    from . import emb
    from ._io import check_writable, write_cells

    check_writable(output)
    adata = _read(cells)
    found = _genes(adata, genes_file, organism=organism, source=source, embedder=embedder, id_column=id_column)
    emb.cells(adata, found, **options)
    write_cells(adata, output)
    shape = adata.obsm[options["key_added"]].shape
    _say(f"{output}: {shape[0]:,} cells x {shape[1]} dimensions in obsm['{options['key_added']}']")


def _genes(adata: AnnData, file: Path | None, **options: Any) -> GeneEmbedding:
    from . import emb
    from .core.embedding import GeneEmbedding

    return emb.genes(adata, **options) if file is None else GeneEmbedding.load(file)


@cli.command()
@_CELLS
@_output()
@click.option("--use-rep", default="X_text", show_default=True, help="Key of the representation in obsm.")
@click.option("--method", default="leiden", show_default=True, help="leiden or kmeans.")
@click.option("--resolution", default=1.0, show_default=True, help="Leiden resolution.")
@click.option("--n-clusters", type=int, help="Wanted number of clusters.")
@click.option("--n-neighbors", default=15, show_default=True, help="Neighbours a cell in the graph.")
@_SEED
def cluster(cells: Path, output: Path, **options: Any) -> None:
    """Cluster embedded cells and write the data with the clusters in obs."""
    from . import tl
    from ._io import check_writable, write_cells

    check_writable(output)
    adata = _read(cells)
    tl.cluster(adata, **options)
    write_cells(adata, output)
    _say(f"{output}: written")


@cli.command()
@_CELLS
@_output("report.html")
def report(cells: Path, output: Path) -> None:
    """Write everything lexicell found in a file as one self-contained HTML page."""
    from ._io import check_writable
    from ._report import report as write_report

    check_writable(output)
    write_report(_read(cells), output)
    _say(f"{output}: written")


@cli.command()
@_CELLS
@click.option("--label", required=True, help="Column of obs with labels known from elsewhere.")
@_output("evaluation.tsv")
@click.option("--genes", "genes_file", type=click.Path(path_type=Path), help="A file written by 'lexicell genes'.")
@_GENE_OPTIONS
@_COUNT_OPTIONS
@click.option("--batch", help="Column of obs with batches or donors.")
@click.option("--n-controls", default=3, show_default=True, help="Seeds of each control.")
@_SEED
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
    """Score text, expression baselines and matched controls against known labels."""
    from ._errors import check_key
    from ._evaluate import evaluate as run_evaluation
    from ._io import check_writable, write_aside

    check_writable(output)
    adata = _read(cells)
    check_key(options["label"], adata.obs.columns, "column in obs")
    found = _genes(adata, genes_file, organism=organism, source=source, embedder=embedder, id_column=id_column)
    result = run_evaluation(adata, genes=found, **options)
    write_aside(output, lambda p: result.table.to_csv(p, sep="\t", float_format="%.4f"))
    for name, cells_left_out in result.dropped.items():
        _say(f"left out: {name} ({cells_left_out} cells)")
    columns = ["kind", "ari", "ari_sd", "ari_at_k", "kmeans_ari", "asw", "knn", "lr"]
    click.echo(result.table[columns].to_string(float_format="%.3f"))
    click.echo(result.verdict)


@cli.command()
@click.option("--download", help="Fetch the weights of this embedder ('local') and check them.")
def embedders(download: str | None) -> None:
    """List what can turn texts into vectors, and what each needs."""
    from . import embedders as registry

    if download is not None:
        registry.get(download, download=True).embed(["axonal transport"])
        _say(f"'{download}' is ready")
        return
    click.echo(registry.list().to_string(index=False))


@cli.group()
def cache() -> None:
    """Look after the vectors already computed."""


@cache.command()
def info() -> None:
    """Say where the store is, how large, and what is in it."""
    from .store import Store

    for name, value in Store().info().items():
        click.echo(f"{name}\t{value}")


@cache.command()
@click.option("--space", help="Only the vectors of this embedder; default: all.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(space: str | None, yes: bool) -> None:
    """Delete stored vectors."""
    from .store import Store

    if not yes and not click.confirm("Delete stored vectors? What was paid for would have to be paid again."):
        return
    Store().clear(space)


@cache.command()
@_output()
def export(output: Path) -> None:
    """Write all stored vectors to one file."""
    from ._io import check_writable
    from .store import Store

    check_writable(output)
    Store().export(output)
    _say(f"{output}: written")


def _one_line(message: str) -> str:
    return " ".join(message.split())


def _warn(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    # Warnings of other libraries speak of code, not of the user's data.
    if issubclass(category, UserWarning) and Path(filename).is_relative_to(Path(__file__).parent):
        _say(f"lexicell: warning: {_one_line(str(message))}")


def main(argv: list[str] | None = None) -> None:
    """Entry point of the console script."""
    warnings.showwarning = _warn
    try:
        cli.main(args=argv, prog_name="lexicell", standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _say("lexicell: interrupted; what was finished is kept, the same command goes on from there")
        sys.exit(130)
    except click.ClickException as error:
        _say(f"lexicell: error: {_one_line(error.format_message())}")
        sys.exit(2)
    except LexicellError as error:
        _say(f"lexicell: error: {_one_line(str(error))}")
        sys.exit(2)
    except (PermissionError, FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        _say(f"lexicell: error: {_one_line(str(InputError(error)))}")
        sys.exit(2)
    except OSError as error:
        if error.errno != 28:  # ENOSPC
            raise
        _say(f"lexicell: error: the disk is full ({error.filename or 'output'})")
        sys.exit(2)


if __name__ == "__main__":
    main()
