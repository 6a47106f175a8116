"""Arguments and options that several commands share."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .._errors import InputError
from .._files import check_apart, check_file

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from .._expression import Expression
    from ..core.genes.embedding import GeneEmbedding

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


def whole_number(text: str) -> int | None:
    """The number that `text` writes in the digits 0 to 9, below 10^18; None if it writes none."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def _read_top_n(_context: click.Context, _parameter: click.Parameter, value: str) -> int | str | None:
    if value == "preset":
        return value
    if value == "all":
        return None
    number = whole_number(value)
    if number:
        return number
    raise click.BadParameter(f"'{value}' is not a number of genes; give a positive number, 'all' or 'preset'")


TOP_N = click.option(
    "--top-n",
    default="preset",
    show_default=True,
    callback=_read_top_n,
    help="Genes per cell: a number, all or preset.",
)
GENES_FILE = click.option(
    "--genes",
    "genes_file",
    type=click.Path(path_type=Path),
    help="Written by 'lexicell genes', or published gene vectors (pickle, npz, parquet, word2vec).",
)
_NOTES = "lexicell.cli.notes"

SEED = click.option(
    "--seed",
    "rng",
    # igraph takes 32 bits with a sign.
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="Random seed.",
)


class OutputPath(click.Path):
    """A path that a command writes to, checked by `check` before the command begins.

    `check` takes the path and ``inputs=``, the files that the command reads; it raises an `InputError` where the path
    is not to be written to. See `check_paths`.
    """

    def __init__(self, check: Callable[..., object] = check_file) -> None:
        super().__init__(path_type=Path)
        self.check = check


def cells_output(path: Path, *, inputs: Iterable[Path]) -> None:
    """Check a path for cells, .h5ad or .zarr."""
    from .._io import check_cells

    check_cells(path, inputs=inputs)


def table_output(path: Path, *, inputs: Iterable[Path]) -> None:
    """Check a path for a table, .tsv or .csv."""
    if path.suffix not in (".tsv", ".csv"):
        raise InputError(f"'{path}' cannot be written; name a file that ends in .tsv or .csv")
    check_file(path, inputs=inputs)


def cells_or_table_output(path: Path, *, inputs: Iterable[Path]) -> None:
    """Check a path for cells, .h5ad or .zarr, or for a table, .tsv or .csv."""
    if path.suffix in (".tsv", ".csv"):
        check_file(path, inputs=inputs)
    else:
        cells_output(path, inputs=inputs)


def run_output(path: Path, *, inputs: Iterable[Path]) -> None:
    """Check the folder of 'lexicell run' and 'lexicell demo'."""
    from .._pipeline import check_output

    check_output(path, inputs=inputs)


def output_option(check: Callable[..., object] = check_file, default: str | None = None) -> Callable[[Any], Any]:
    """``-o``, checked by `check` as `OutputPath` says; by default, for a file."""
    kind = OutputPath(check)
    if default is None:
        # No default= at all: since click 8.3, default=None would count as a value, and the option as given.
        return click.option("-o", "--output", type=kind, required=True, help="Where to write.")
    return click.option("-o", "--output", type=kind, default=default, show_default=True, help="Where to write.")


def check_paths(command: click.Command) -> click.Command:
    """Make a command, or every command of a group, check all it writes against all it reads before it begins."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            check_paths(below)
        return command
    work = command.callback
    assert work is not None
    command.params.append(click.Option(["--quiet"], is_flag=True, help="Print results, warnings and errors only."))

    @functools.wraps(work)
    def checked(*args: Any, **options: Any) -> Any:
        context = click.get_current_context()
        options.pop("quiet")
        outputs = _check_outputs(context)
        missing = sorted({path.parent for path in outputs if not path.parent.exists()})
        result = work(*args, **options)
        for folder in missing:
            if folder.exists():
                say(f"made the folder '{folder}', which was not there")
        _say_notes()
        return result

    command.callback = checked
    return command


def _check_outputs(context: click.Context) -> list[Path]:
    given = [(p, context.params[p.name]) for p in context.command.params if p.name in context.params]
    inputs = _inputs(given)
    outputs: list[Path] = []
    for parameter, path in given:
        if not isinstance(parameter.type, OutputPath) or path is None:
            continue
        try:
            parameter.type.check(path, inputs=inputs)
            check_apart([*outputs, path])
        except InputError as error:
            raise click.BadParameter(str(error), context, parameter) from error
        outputs.append(path)
    return outputs


def _inputs(given: Iterable[tuple[click.Parameter, Any]]) -> list[Path]:
    """Files and folders that a command reads, and the store of vectors."""
    from ..store import Store

    found = Store(read_only=True).files()
    for parameter, value in given:
        if isinstance(parameter.type, OutputPath) or value is None:
            continue
        if isinstance(parameter.type, click.Path):
            found += value if isinstance(value, tuple) else (value,)
        elif parameter.name == "source" and ":" in value:
            # As 'table:genes.tsv'.
            found.append(Path(value.partition(":")[2]))
    return found


def key_option(default: str, what: str = "Name of the result.") -> Callable[[Any], Any]:
    """``--key-added``."""
    return click.option("--key-added", default=default, show_default=True, help=what)


def read(path: Path, use_rep: str | None = None, expression: Expression | None = None) -> AnnData:
    """Cells of any kind of file; with the representation `use_rep`, made with the defaults if the file has none."""
    from .._expression import DEFAULT_SLOT
    from .._read import read as read_any
    from ._prepare import embed_if_missing

    adata = read_any(path)
    if use_rep is not None:
        embed_if_missing(adata, use_rep, expression or DEFAULT_SLOT)
    return adata


def say(text: str) -> None:
    """Print to stderr, after what was noted; nothing with --quiet."""
    _say_notes()
    _print(text)


def _print(text: str) -> None:
    context = click.get_current_context(silent=True)
    if context is None or not context.params.get("quiet"):
        click.echo(text, err=True)


def note(text: str) -> None:
    """Say something before the next thing that is said, or at the end: an error stays the only line."""
    click.get_current_context().meta.setdefault(_NOTES, []).append(text)


def _say_notes() -> None:
    context = click.get_current_context(silent=True)
    for line in context.meta.pop(_NOTES, []) if context else []:
        _print(line)


def gene_table(cells: Any, use_raw: bool) -> pd.DataFrame:
    """The genes of the matrix that is read from a file of cells: ``raw.var`` where raw was chosen, else ``var``."""
    table: pd.DataFrame = cells.raw.var if use_raw and cells.raw is not None else cells.var
    return table


def genes_of(adata: AnnData, file: Path | None, **options: Any) -> GeneEmbedding:
    """The gene vectors of a file, or those that `emb.genes` makes; says which species was guessed, and from what."""
    from .. import emb
    from ..sources.vectors import read_vectors

    if file is not None:
        return read_vectors(file)
    found = emb.genes(adata, **options)
    guessed_from = found.provenance.get("organism_guessed_from")
    if guessed_from:
        species = found.provenance["organism"]
        note(f"organism    {species} (guessed: {guessed_from}; --organism names another)")
    return found


def genes_or_recorded(
    adata: AnnData, file: Path | None, use_rep: str, *, source: str = "bundled", use_raw: bool = False, **options: Any
) -> GeneEmbedding | None:
    """The gene vectors asked for; None, those of the embedding there, where none were asked for."""
    from .._results import recorded

    asked = file is not None or source != "bundled" or any(v is not None for v in options.values())
    if not asked and recorded(adata, use_rep):
        return None
    return genes_of(adata, file, source=source, use_raw=use_raw, **options)
