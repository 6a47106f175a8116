"""Commands that give cells names from elsewhere: annotate (from descriptions) and transfer (from labeled cells)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ._options import (
    CELLS,
    GENE_OPTIONS,
    GENES_FILE,
    SLOT_OPTIONS,
    OutputPath,
    cells_output,
    genes_or_recorded,
    key_option,
    output_option,
    read,
    say,
)
from ._prepare import find_counts


@click.command()
@CELLS
@output_option(cells_output)
@click.option(
    "--types",
    "types_file",
    type=click.Path(path_type=Path),
    help="File of candidates, one per line: the name of a cell type, or name, tab, description.",
)
@click.option("--tissue", multiple=True, help="Where the cells come from, such as brain; repeatable; default: guessed.")
@click.option("--groupby", help="Column of obs, such as clusters: a suggestion for each group as well.")
@click.option("--min-confidence", default=0.5, show_default=True, help="Below this a suggestion is unsure.")
@click.option("--use-rep", default="X_text", show_default=True, help="The embedding whose genes and slot are used.")
@key_option("text_suggested", "Prefix of what is written.")
@GENES_FILE
@GENE_OPTIONS
@SLOT_OPTIONS
def annotate(
    cells: Path,
    output: Path,
    types_file: Path | None,
    tissue: tuple[str, ...],
    use_rep: str,
    key_added: str,
    genes_file: Path | None,
    organism: str | None,
    source: str,
    embedder: str | None,
    id_column: str | None,
    **options: Any,
) -> None:
    """Suggest cell types by their names or descriptions.

    Writes the data with obs['text_suggested']: suggestions, not labels.
    """
    from .. import Expression, tl
    from .._io import write_cells
    from .._keys import UNS
    from .._results import recorded

    types = None if types_file is None else _read_types(types_file)
    asked: dict[str, Any] = {name: options.pop(name) or None for name in ("layer", "use_raw", "library_size")}
    expression = Expression(**asked)
    adata = read(cells)
    if not recorded(adata, use_rep):
        expression = find_counts(adata, expression)
    texts = {"organism": organism, "embedder": embedder, "id_column": id_column}
    options["genes"] = genes_or_recorded(
        adata, genes_file, use_rep, source=source, use_raw=bool(expression.use_raw), **texts
    )
    options |= {"tissue": list(tissue) or None, "expression": expression}
    tl.annotate(adata, types, use_rep=use_rep, key_added=key_added, **options)
    write_cells(adata, output)
    found = adata.uns[UNS][key_added]
    if "table" in found:
        columns = ["group", "cells", "suggested", "best", "runner_up", "confidence"]
        click.echo(found["table"][columns].to_string(index=False, float_format="%.2f"))
    unsure, none = ((adata.obs[key_added] == answer).mean() for answer in ("unsure", "none of these"))
    say(f"{output}: suggested types in obs['{key_added}']; {unsure:.0%} of cells are unsure, {none:.0%} none of these")


def _read_types(path: Path) -> dict[str, str]:
    from .._errors import InputError

    if not path.exists():
        raise InputError(f"no file '{path}'")
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        before, tab, after = line.partition("\t")
        name, description = before.strip(), after.strip()
        if not name:
            continue
        found[name] = description if tab else name
    return found


@click.command()
@click.argument("labeled", metavar="LABELED", type=click.Path(path_type=Path))
@click.argument("cells", metavar="CELLS", type=click.Path(path_type=Path))
@output_option(cells_output)
@click.option("--label", help="Column of obs of LABELED with labels; not needed if LABELED is a model (.npz).")
@click.option("--truth", help="Column of obs of CELLS with known labels, for the report only.")
@click.option("--method", default="auto", show_default=True, help="auto, aligned, rotated, text or expression.")
@click.option("--batch", help="Column of obs: the mean of each batch is subtracted, if a data set has the column.")
@click.option("--min-confidence", default=0.5, show_default=True, help="Cells below this confidence are unsure.")
@click.option("--map-cells", is_flag=True, help="Also draw both data sets into one UMAP.")
@key_option("text_transfer", "Prefix of what is written.")
@click.option("--save-model", type=OutputPath(), help="Also write what was learned of LABELED as a model (.npz).")
@click.option("--target-organism", help="Species of CELLS if it differs; default: guessed from the gene names.")
@GENE_OPTIONS
@SLOT_OPTIONS
def transfer(
    labeled: Path,
    cells: Path,
    output: Path,
    save_model: Path | None,
    organism: str | None,
    target_organism: str | None,
    source: str,
    embedder: str | None,
    id_column: str | None,
    layer: str | None,
    use_raw: bool,
    library_size: str | None,
    **options: Any,
) -> None:
    """Label one data set by another.

    Works if the two share no gene, or are of two species. Writes CELLS with obs['text_transfer'].
    """
    from .. import Expression, emb, tl
    from .._errors import InputError
    from .._io import write_cells
    from .._keys import UNS

    given = labeled if labeled.suffix == ".npz" else read(labeled)
    if save_model is not None and isinstance(given, Path):
        raise InputError(f"'{given}' is a model already; there is nothing to save")
    adata = read(cells)
    texts: dict[str, Any] = {"source": source, "embedder": embedder, "id_column": id_column}
    texts["use_raw"] = use_raw
    own = emb.genes(adata, organism=target_organism or organism, **texts)
    theirs = None if isinstance(given, Path) else emb.genes(given, organism=organism, **texts)
    expression = Expression(layer, use_raw or None, library_size=library_size)
    if save_model is not None:
        model = tl.transfer_model(
            given, label=options["label"], genes=theirs, expression=expression, batch=options["batch"]
        )
        model.save(save_model)
    tl.transfer(given, adata, genes=(theirs, own), expression=expression, **options)
    write_cells(adata, output)
    key = options["key_added"]
    found = adata.uns[UNS][key]
    say(found["advice"])
    if "report" in found:
        click.echo(found["report"].to_string(index=False, float_format="%.2f"))
    unsure = (adata.obs[key] == "unsure").mean()
    say(f"{output}: labels in obs['{key}']; {unsure:.0%} of cells are unsure")
