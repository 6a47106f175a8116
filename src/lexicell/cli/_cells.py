"""Commands before the cell embedding and around it: demo, run, genes, coverage."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._options import (
    CELLS,
    COUNT_OPTIONS,
    GENE_OPTIONS,
    GENES_FILE,
    LAYER,
    NORMALIZATION,
    SEED,
    TOP_N,
    USE_RAW,
    genes_of,
    output_option,
    read,
    run_output,
    say,
)
from ._prepare import find_counts
from ._study import STUDY, RunCommand, study_text

if TYPE_CHECKING:
    from ..embedders import CostEstimate


@click.command()
@output_option(run_output, "lexicell_demo")
@SEED
def demo(output: Path, rng: int) -> None:
    """Run everything on 700 real blood cells.

    Writes a report. Needs no network and no key.
    """
    from .._pipeline import demo as run_demo

    with warnings.catch_warnings():
        # That its 765 genes are few is nothing a newcomer could mend.
        warnings.filterwarnings("ignore", ".*text dimensions are used", UserWarning)
        run_demo(output, rng=rng, say=say)


@click.command(cls=RunCommand)
@CELLS
@output_option(run_output)
@GENE_OPTIONS
@COUNT_OPTIONS
@click.option("--preset", default="whitened", show_default=True, help="Formula of the cell embedding.")
@TOP_N
@click.option("--use-rep", default="fused", show_default=True, help="What is clustered: fused, text or expression.")
@click.option("--cell-type", help="Column of obs with known labels, to compare the clusters with.")
@click.option("--condition", help="Column of obs with conditions, to test which types they change.")
@click.option("--reference", help="The condition that others are compared with.")
@click.option("--donor", help="Column of obs with donors: people or animals, not libraries.")
@click.option("--resolution", default=1.0, show_default=True, help="Leiden resolution.")
@click.option("--compare", is_flag=True, help="Cluster all cells by the representations that are not shown, too.")
@click.option(
    "--min-genes",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Genes with a text that a run needs, where they are less than half of all.",
)
@SEED
def run(cells: Path, output: Path, **options: Any) -> None:
    """Run the whole pipeline and write an HTML report.

    Embedding, clusters, comparison with expression and report, in one folder. CELLS may be a study file (.toml) with
    any of the options below; a run writes its own, study.toml, into its folder.
    """
    from .. import Expression
    from .._files import write_file
    from .._pipeline import Settings
    from .._pipeline import run as run_pipeline

    asked = Expression(**{name: options.pop(name) for name in ("layer", "use_raw", "normalization", "library_size")})
    adata = read(cells)
    run_pipeline(adata, output, Settings(expression=find_counts(adata, asked), **options), say=say)
    context = click.get_current_context()
    study = study_text(context.command, cells, output, context.params)
    write_file(output / STUDY, lambda path: path.write_text(study, encoding="utf-8"))


@click.command()
@CELLS
@output_option()
@GENE_OPTIONS
@click.option("--dimensions", type=int, help="Length of the vectors, where the model can shorten them.")
@click.option("--include-go", is_flag=True, help="NCBI: add GO terms to the texts.")
@click.option("--template", help="NCBI: form of a text, with {symbol}, {name}, {summary}.")
@click.option("--max-words", type=int, help="NCBI: cut texts after so many words.")
@click.option("--mask-term", "mask_terms", multiple=True, help="NCBI: a word to remove from texts; repeatable.")
@click.option("--refresh", is_flag=True, help="NCBI: download a new snapshot.")
@click.option("--offline", is_flag=True, help="NCBI: use only what was downloaded before.")
@click.option("--estimate-cost", is_flag=True, help="Say what would be sent and what it would cost; send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before spending.")
def genes(
    cells: Path,
    output: Path,
    source: str,
    embedder: str | None,
    dimensions: int | None,
    estimate_cost: bool,
    yes: bool,
    organism: str | None,
    id_column: str | None,
    **source_options: Any,
) -> None:
    """Find the text and vector of each gene.

    Writes an h5ad file of genes x dimensions.
    """
    from .. import emb, embedders, sources

    given = {name: value for name, value in source_options.items() if value}
    texts = sources.get(source, **given)
    model = None
    if embedder is not None or dimensions is not None:
        model = embedders.get(embedder or "local", **({} if dimensions is None else {"dimensions": dimensions}))
    adata = read(cells)
    options: dict[str, Any] = {"organism": organism, "source": texts, "id_column": id_column}
    if estimate_cost and model is None:
        say("the vectors ship with the source: nothing is sent, nothing is spent")
        return
    if model is not None and (estimate_cost or not yes):
        quote = emb.cost(adata, embedder=model, **options)
        if estimate_cost:
            say(str(quote))
            return
        if not _agreed(quote):
            say("nothing was sent")
            return
    result = emb.genes(adata, embedder=model, **options)
    result.save(output)
    missing = len(result.coverage) - len(result)
    say(f"{output}: {len(result):,} genes x {result.dim} dimensions; {missing:,} genes have no text")


_ASK_ABOVE = 0.10  # US dollars


def _agreed(quote: CostEstimate) -> bool:
    """Whether the user agrees to spend money; not asked where it is next to none."""
    if not quote.leaves_machine or not quote.to_send or (quote.money is not None and quote.money <= _ASK_ABOVE):
        return True
    return click.confirm(f"{quote}. Go on?", err=True)


_MATCHED = {
    "symbol": "by current symbol",
    "previous": "by former symbol",
    "synonym": "by synonym",
    "case": "by symbol in other letter case",
    "ensembl": "by Ensembl id",
    "entrez": "by NCBI GeneID",
    "nothing": "not found",
}


@click.command()
@CELLS
@output_option(default="coverage.tsv")
@GENES_FILE
@GENE_OPTIONS
@LAYER
@USE_RAW
@NORMALIZATION
def coverage(
    cells: Path,
    output: Path,
    genes_file: Path | None,
    layer: str | None,
    use_raw: bool,
    normalization: str,
    **options: Any,
) -> None:
    """Account for every gene, with or without a text.

    What it matched, where its text came from, how much of the counts it is.
    """
    from .. import Expression, emb

    adata = read(cells)
    where = find_counts(adata, Expression(layer, use_raw or None, normalization))
    known = genes_of(adata, genes_file, use_raw=bool(where.use_raw), **options)
    found = emb.coverage(
        adata, known, layer=where.layer, use_raw=bool(where.use_raw), normalization=where.normalization
    )
    found.to_tsv(output)
    s = found.summary
    ways = ", ".join(f"{n:,} {_MATCHED.get(way, way)}" for way, n in s["matched_by"].items())
    say(f"{output}: {s['genes_with_text']:,} of {s['genes']:,} genes have a text ({ways})")
    of_all, of_cell = s["share_of_counts"], s["median_share_per_cell"]
    say(f"they make up {of_all:.1%} of all counts; median per cell {of_cell:.1%}")
