"""Commands that give cells names from elsewhere: annotate (from descriptions) and transfer (from labelled cells)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ._options import (
    CELLS,
    GENE_OPTIONS,
    GENES_FILE,
    SEED,
    SLOT_OPTIONS,
    genes_or_recorded,
    key_option,
    output_option,
    read,
    say,
)


def _slot(options: dict[str, Any]) -> dict[str, Any]:
    options["use_raw"] = options.get("use_raw") or None
    return options


@click.command()
@CELLS
@output_option()
@click.option(
    "--types",
    "types_file",
    type=click.Path(path_type=Path),
    help="File of candidates, a line each: name, tab, description; a name alone is a shipped type.",
)
@click.option("--group", multiple=True, help="Group of the shipped types, such as immune or neuron; repeatable.")
@click.option("--groupby", help="Column of obs, such as clusters: a suggestion for each group as well.")
@click.option("--examples", help="Column of obs with the types of a few cells: few-shot, without descriptions.")
@click.option("--min-score", default=0.5, show_default=True, help="Below this best score a suggestion is unsure.")
@click.option("--min-margin", default=0.25, show_default=True, help="Below this lead a suggestion is unsure.")
@click.option(
    "--smoothing/--no-smoothing", default=None,
    help="Spread scores over neighbours; default: with descriptions yes, with --examples no.",
)  # fmt: skip
@click.option("--refine/--no-refine", default=True, show_default=True, help="Add nearness to the clearest cells.")
@click.option("--use-rep", default="X_text", show_default=True, help="The embedding whose genes and slot are used.")
@key_option("text_suggested", "Prefix of what is written.")
@GENES_FILE
@GENE_OPTIONS
@SLOT_OPTIONS
def annotate(
    cells: Path,
    output: Path,
    types_file: Path | None,
    group: tuple[str, ...],
    use_rep: str,
    key_added: str,
    genes_file: Path | None,
    organism: str | None,
    source: str,
    embedder: str | None,
    id_column: str | None,
    **options: Any,
) -> None:
    """Suggest cell types from descriptions.

    Writes the data with obs['text_suggested']: suggestions, not labels.
    """  # fmt: skip
    from .. import tl
    from .._io import check_writable, write_cells
    from .._keys import UNS

    check_writable(output)
    types = None if types_file is None else _read_types(types_file)
    adata = read(cells)
    if options["examples"] is None:
        texts = {"organism": organism, "embedder": embedder, "id_column": id_column}
        options["genes"] = genes_or_recorded(adata, genes_file, use_rep, source=source, **texts)
    tl.annotate(adata, types, group=list(group) or None, use_rep=use_rep, key_added=key_added, **_slot(options))
    write_cells(adata, output)
    found = adata.uns[UNS][key_added]
    if "table" in found:
        columns = ["group", "cells", "suggested", "best", "runner_up", "score", "margin"]
        click.echo(found["table"][columns].to_string(index=False, float_format="%.2f"))
    named = found["types"]["marker_look_up"].ne("").sum() if "types" in found else 0
    if named:
        say(f"careful: {named} descriptions name gene symbols, which is a marker look-up; they were masked")
    unsure = (adata.obs[key_added] == "unsure").mean()
    say(f"{output}: suggested types in obs['{key_added}']; {unsure:.0%} of cells are unsure")


def _read_types(path: Path) -> dict[str, str]:
    from .._errors import InputError
    from ..sources import cell_types

    if not path.exists():
        raise InputError(f"no file '{path}'")
    table, _ = cell_types.load()
    shipped = dict(zip(table["cell_type"], table["description"], strict=True))
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        before, tab, after = line.partition("\t")
        name, description = before.strip(), after.strip()
        if not name:
            continue
        if not tab and name not in shipped:
            raise InputError(f"'{path}': '{name}' is no shipped cell type; write name, tab, description")
        found[name] = description if tab else shipped[name]
    return found


def _size(ctx: click.Context, param: click.Parameter, value: str) -> int | str | None:
    if value == "all" and param.name == "n_top_genes":
        return None
    return int(value) if value.isdecimal() else value


@click.command()
@click.argument("source_cells", metavar="SOURCE", type=click.Path(path_type=Path))
@click.argument("cells", metavar="TARGET", type=click.Path(path_type=Path))
@output_option()
@click.option("--label", help="Column of obs of SOURCE with labels; not needed where SOURCE is a model (.npz).")
@click.option("--truth", help="Column of obs of TARGET with known labels, for the report only.")
@click.option("--method", default="auto", show_default=True, help="auto, aligned, text or expression.")
@click.option("--classifier", default="knn", show_default=True, help="knn, logistic or contrastive.")
@click.option(
    "--n-components",
    default="auto",
    show_default=True,
    callback=_size,
    help="Principal components a side; auto: as the model was made, else 20.",
)
@click.option(
    "--n-top-genes", default="auto", show_default=True, callback=_size,
    help="Most variable genes a side, or all; auto: as the model was made, else 2000.",
)  # fmt: skip
@click.option("--space", default="joint", show_default=True, help="Centre of text space: joint, source or genome.")
@click.option("--whiten", default=0.0, show_default=True, help="0: centred only; 1: fully whitened.")
@click.option("--rounds", default=8, show_default=True, help="Rounds of refinement at most; 0: texts alone.")
@click.option("--batch", help="Column of obs whose means are taken away, where a data set has it.")
@click.option(
    "--smoothing", default=0, show_default=True, help="Rounds of spreading votes over the target's neighbours."
)
@click.option(
    "--n-controls", default=20, show_default=True, help="Shuffles of the texts behind the p of the alignment."
)
@click.option("--min-confidence", default=0.5, show_default=True, help="Below this a cell is unsure.")
@click.option("--map", "map_cells", is_flag=True, help="Also draw both data sets into one UMAP.")
@click.option("--save-model", type=click.Path(path_type=Path), help="Also write the labelled side as a model (.npz).")
@click.option("--target-organism", help="Species of TARGET where it differs; default: guessed from its gene names.")
@GENE_OPTIONS
@SLOT_OPTIONS
@SEED
def transfer(
    source_cells: Path,
    cells: Path,
    output: Path,
    save_model: Path | None,
    organism: str | None,
    target_organism: str | None,
    source: str,
    embedder: str | None,
    id_column: str | None,
    **options: Any,
) -> None:
    """Label one data set by another.

    Works where the two share no gene, or are of two species. Writes TARGET with obs['text_transfer'].
    """  # fmt: skip
    from .. import emb, tl
    from .._errors import InputError
    from .._io import check_writable, write_cells
    from .._keys import TRANSFER, UNS

    check_writable(output)
    given = source_cells if source_cells.suffix == ".npz" else read(source_cells)
    if save_model is not None and isinstance(given, Path):
        raise InputError(f"'{given}' is a model already; there is nothing to save")
    target = read(cells)
    texts: dict[str, Any] = {"source": source, "embedder": embedder, "id_column": id_column}
    kept = _slot(options)
    if not isinstance(given, Path):
        kept["genes"] = emb.genes(given, organism=organism, **texts)
    kept["target_genes"] = emb.genes(target, organism=target_organism or organism, **texts)
    tl.transfer(given, target, **kept)
    if save_model is not None:
        names = ("label", "genes", "n_components", "n_top_genes", "batch", "layer", "use_raw", "library_size")
        tl.transfer_model(given, **{n: kept[n] for n in names}).save(save_model)
    write_cells(target, output)
    found = target.uns[UNS][TRANSFER]
    say(found["advice"])
    if "report" in found:
        click.echo(found["report"].to_string(index=False, float_format="%.2f"))
    unsure = (target.obs[TRANSFER] == "unsure").mean()
    say(f"{output}: labels in obs['{TRANSFER}']; {unsure:.0%} of cells are unsure")
