"""Commands that speak in genes and words: concepts, explain, perturb, programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .._keys import prefix
from ._options import (
    CELLS,
    GENE_OPTIONS,
    GENES_FILE,
    cells_or_table_output,
    gene_table,
    genes_of,
    genes_or_recorded,
    key_option,
    output_option,
    read,
    say,
)
from ._prepare import find_counts

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

USE_REP = click.option("--use-rep", default="X_text", show_default=True, help="Key of the representation in obsm.")
QUERY = click.option("-q", "--query", "query", multiple=True, help="A phrase, such as 'axonal transport'; repeatable.")
QUERIES = click.option(
    "--queries", "file", type=click.Path(path_type=Path), help="File with a phrase a line; lines with # are left out."
)

READ_LAYER = click.option("--layer", help="Layer to read instead of what the embedding read.")
READ_RAW = click.option(
    "--use-raw/--no-use-raw", default=None, help="Read .raw, or X, instead of what the embedding read."
)

_WIDTH = 60  # characters of a phrase or a list of genes on the screen


def phrases_asked(query: tuple[str, ...], file: Path | None) -> list[str] | None:
    """Phrases of both options; None, the lexicon, where there is neither."""
    from .._errors import InputError

    words = list(query)
    if file is not None:
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except UnicodeDecodeError:
            raise InputError(f"{file} is no text file; write one phrase a line, in UTF-8") from None
        found = [line for line in lines if line and not line.startswith("#")]
        if not found:
            raise InputError(f"{file} holds no phrase; write one a line")
        words += found
    return words or None


def _deliver(adata: AnnData, output: Path, table: pd.DataFrame, *, index: bool = False) -> None:
    """Write the table alone to a .tsv or .csv, and the whole object to anything else; show the first rows."""
    from .._io import write_cells, write_table

    if output.suffix in (".tsv", ".csv"):
        write_table(table, output, index=index)
    else:
        write_cells(adata, output)
    shown = table.head(30).rename(columns=lambda name: str(name)[:_WIDTH])
    click.echo(shown.to_string(index=index, float_format="%.3g", max_colwidth=_WIDTH))
    say(f"{output}: written")


def _deliver_table(adata: AnnData, output: Path, use_rep: str, key: str) -> None:
    """Deliver the table of a result of a representation."""
    from .._keys import UNS

    _deliver(adata, output, adata.uns[UNS][use_rep][key]["table"])


@click.command()
@CELLS
@output_option(cells_or_table_output)
@QUERY
@QUERIES
@click.option("--groupby", help="Column of obs with groups, such as clusters or cell types.")
@click.option("--donor", help="Column of obs with donors; groups are then tested over them.")
@click.option("--min-cells", default=8, show_default=True, help="Cells a donor needs inside and outside a group.")
@click.option("--n-genes", default=50, show_default=True, help="Genes per phrase.")
@READ_LAYER
@READ_RAW
@USE_REP
@key_option("concepts")
@GENES_FILE
@GENE_OPTIONS
@click.option(
    "--stream",
    is_flag=True,
    help="Do not load the file: from file to file, with obs, var and the scores alone in the output. Goes on where it "
    "was interrupted. The options below imply it.",
)
@click.option("--normalization", help="What the values are: auto, counts, abundance or log1p.")
@click.option("--library-size", help="Column of obs with totals over all genes, for matrices already subset.")
@click.option("--resume/--no-resume", default=None, help="Go on with an interrupted run, or start anew.")
@click.option("--chunk-size", type=int, help="Cells worked on at a time; default: as many as fit a few megabytes.")
def concepts(
    cells: Path,
    output: Path,
    query: tuple[str, ...],
    file: Path | None,
    use_rep: str,
    genes_file: Path | None,
    organism: str | None,
    source: str,
    embedder: str | None,
    id_column: str | None,
    stream: bool,
    normalization: str | None,
    library_size: str | None,
    resume: bool | None,
    chunk_size: int | None,
    **options: Any,
) -> None:
    """Score cells and groups by phrases.

    Without a phrase, by the shipped lexicon. OUTPUT is the data with the scores, or, if it ends in .tsv or .csv, one
    table: of the groups with --groupby, else of the cells.
    """
    from .. import Expression, tl
    from .._keys import UNS, prefix
    from .._results import recorded

    words = phrases_asked(query, file)
    texts: dict[str, Any] = {"organism": organism, "source": source, "embedder": embedder, "id_column": id_column}
    of_streams = {
        "normalization": normalization,
        "library_size": library_size,
        "resume": resume,
        "chunk_size": chunk_size,
    }
    given = {name: value for name, value in of_streams.items() if value is not None}
    if stream or given:
        _stream(cells, output, words, genes_file, texts, {"use_rep": use_rep, **options, **given})
        return
    adata = read(cells)
    expression = Expression(options.pop("layer"), options.pop("use_raw"))
    if not recorded(adata, use_rep):
        expression = find_counts(adata, expression)
    known = genes_or_recorded(adata, genes_file, use_rep, use_raw=bool(expression.use_raw), **texts)
    tl.concepts(adata, words, use_rep=use_rep, genes=known, expression=expression, **options)
    grouped = options["groupby"] is not None
    table = (
        adata.uns[UNS][use_rep][options["key_added"]]["table"].sort_values("z", ascending=False)
        if grouped
        else adata.obsm[f"{prefix(use_rep)}_{options['key_added']}"]
    )
    _deliver(adata, output, table, index=not grouped)


def _stream(
    cells: Path,
    output: Path,
    words: list[str] | None,
    file: Path | None,
    texts: dict[str, Any],
    options: dict[str, Any],
) -> None:
    from anndata import AnnData

    from .. import Expression, stream
    from .._errors import InputError
    from ..stream import RunSettings, check_run, open_cells

    if options.pop("key_added") != "concepts":
        raise InputError("--key-added does not go with --stream and its options; leave it out")
    asked = {name: options.pop(name, None) for name in ("layer", "use_raw", "normalization", "library_size")}
    named = {name: value for name, value in asked.items() if value is not None}
    of_run = {name: options.pop(name) for name in ("resume", "chunk_size") if name in options}

    check_run(output, str(cells))
    with open_cells(cells) as opened:
        n_cells = opened.n_obs
        var = gene_table(opened, bool(named.get("use_raw")))
    stream.concepts(
        cells,
        output,
        genes_of(AnnData(var=var), file, **texts),
        words,
        expression=Expression(**named) if named else None,
        run=RunSettings(**of_run),
        **options,
    )
    say(f"{output}: scores of {n_cells:,} cells in obsm['{prefix(options['use_rep'])}_concepts']")


def _subset(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str] | None:
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"'{value}' is no column=value")
    return dict(v.split("=", 1) for v in values) or None


@click.command()
@CELLS
@output_option(cells_or_table_output)
@click.option("--groupby", help="Column of obs with the groups to explain.")
@click.option("--group", help="The group that is explained, or the name of one cell; default: each group in turn.")
@click.option("--reference", default="rest", show_default=True, help="rest, another group, or nothing.")
@click.option("--subset", multiple=True, callback=_subset, help="Only cells with column=value; repeatable.")
@click.option("--concept", help="Explain the score of this phrase.")
@click.option("--classifier", "model", type=click.Path(path_type=Path), help="Explain a saved linear classifier.")
@click.option("--label", help="The class whose decision is explained; needed if there are more than two.")
@click.option("--n-genes", default=25, show_default=True, help="Genes kept, by size of their part.")
@USE_REP
@key_option("explain")
def explain(cells: Path, output: Path, use_rep: str, model: Path | None, label: str | None, **options: Any) -> None:
    """Split a difference, a score or a decision into genes.

    OUTPUT is the data with the result, or, if it ends in .tsv or .csv, the table of genes.
    """
    from .. import tl
    from .._errors import InputError
    from ..core.transfer.classify import LinearClassifier

    if label is not None and model is None:
        raise InputError("--label names a class of --classifier; give both")
    classifier = None if model is None else LinearClassifier.load(model)
    if classifier is not None and label is not None:
        classifier = classifier.one_class(label)
    adata = read(cells, use_rep)
    tl.explain(adata, use_rep=use_rep, direction=classifier, **options)
    _deliver_table(adata, output, use_rep, options["key_added"])


@click.command()
@CELLS
@output_option(cells_or_table_output)
@click.option("-t", "--target", "targets", multiple=True, required=True, help="Gene to change; repeatable.")
@click.option("--fold", default=0.0, show_default=True, help="Factor on its counts: 0 removes, 2 doubles.")
@click.option("--library", default="fixed", show_default=True, help="fixed or recomputed.")
@QUERY
@QUERIES
@click.option("--groupby", help="Column of obs: the movement is also summarized for each group.")
@USE_REP
@key_option("perturb")
def perturb(
    cells: Path,
    output: Path,
    targets: tuple[str, ...],
    query: tuple[str, ...],
    file: Path | None,
    use_rep: str,
    **options: Any,
) -> None:
    """Predict the effect of removing or over-expressing genes.

    OUTPUT is the data with the moved embedding, or, if it ends in .tsv or .csv, the table of groups.
    """
    from .. import tl

    words = phrases_asked(query, file)
    adata = read(cells, use_rep)
    tl.perturb(adata, list(targets), queries=words, use_rep=use_rep, **options)
    _deliver_table(adata, output, use_rep, options["key_added"])


@click.command()
@CELLS
@output_option(cells_or_table_output)
@click.option("--n-programs", default=15, show_default=True, help="How many at most.")
@click.option("--n-top-genes", default=2000, show_default=True, help="Variable genes used.")
@click.option(
    "--text-weight", default=0.5, show_default=True, help="Share of a gene's value that comes from its text neighbors."
)
@click.option("--n-genes", default=25, show_default=True, help="Genes listed per program.")
@QUERY
@QUERIES
@USE_REP
@key_option("programs")
@READ_LAYER
@READ_RAW
def programs(
    cells: Path, output: Path, query: tuple[str, ...], file: Path | None, use_rep: str, **options: Any
) -> None:
    """Find gene programs and name them by concepts.

    OUTPUT is the data with the result, or, if it ends in .tsv or .csv, the table of programs.
    """
    from .. import Expression, tl

    words = phrases_asked(query, file)
    expression = Expression(options.pop("layer"), options.pop("use_raw"))
    adata = read(cells, use_rep, expression)
    tl.programs(adata, queries=words, use_rep=use_rep, expression=expression, **options)
    _deliver_table(adata, output, use_rep, options["key_added"])
