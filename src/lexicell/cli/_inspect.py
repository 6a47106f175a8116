"""Commands that look before anything is done: inspect a file, and doctor, the installation."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._options import CELLS, read

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

# How people call the columns that a study needs, the usual first.
_COLUMNS = {
    "cell_type": ["cell_type", "celltype", "cell_types", "cell type", "annotation", "cluster_id", "type"],
    "condition": ["condition", "disease", "group", "group_id", "treatment", "stim", "status", "diagnosis", "genotype"],
    "donor": ["donor", "donor_id", "individual", "patient", "patient_id", "subject", "mouse", "sample_id", "sample"],
}
_REFERENCES = ("control", "ctrl", "ctl", "healthy", "normal", "reference", "wt", "wild type", "untreated", "vehicle")
_SHOWN = 5


@click.command()
@CELLS
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(cells: Path, as_json: bool) -> None:
    """Say what a file holds and which commands it is ready for.

    Matrices and what their values are, gene names and how many have a text, columns, embeddings, results of lexicell,
    and commands to copy. Computes and writes nothing.
    """
    found = look_into(read(cells), cells)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    click.echo(f"{cells}: {found['cells']:,} cells x {found['genes']['count']:,} genes")
    for name, kind in found["matrices"].items():
        click.echo(f"  {'matrix':<10} {name}: {kind}{' <- read by default' if name == found['read'] else ''}")
    genes = found["genes"]
    click.echo(f"  {'genes':<10} {genes['with_text']:,} have a text ({genes['organism']}; {genes['named']})")
    for name, values in found["obs"].items():
        click.echo(f"  {'obs':<10} {name}: {values}")
    for name, shape in found["obsm"].items():
        click.echo(f"  {'obsm':<10} {name}: {shape} dimensions")
    for row in found["results"]:
        where = f" of {row['use_rep']}" if row["use_rep"] else ""
        click.echo(f"  {'result':<10} {row['result']}{where}: {row['table']}, {row['rows']:,} rows")
    click.echo("Next:")
    for command in found["next"]:
        click.echo(f"  {command}")


def look_into(adata: AnnData, path: Path) -> dict[str, Any]:
    """What `inspect` says, as plain values."""
    from .. import emb, get
    from .._errors import InputError
    from .._expression import DEFAULT_SLOT, layer_names, look, open_slot
    from ._prepare import find_counts

    matrices = {}
    for name in ["X", *(["raw"] if adata.raw is not None else []), *layer_names(adata)]:
        rows, genes = open_slot(adata, name)
        if rows is not None:
            matrices[name] = "empty" if 0 in rows.shape else f"{look(rows).kind}, {len(genes):,} genes"
    chosen = ""
    try:
        chosen = find_counts(adata, DEFAULT_SLOT, quiet=True).slot
    except InputError as error:
        matrices["none"] = str(error)
    known = {"count": adata.n_vars, "with_text": 0, "organism": "unknown", "named": ""}
    try:
        found = emb.genes(adata, use_raw=chosen == "raw")
        known |= {
            "count": len(found.coverage),
            "with_text": len(found),
            "organism": str(found.provenance["organism"]),
            "named": str(found.provenance.get("organism_guessed_from", "")),
        }
    except InputError as error:
        known["named"] = str(error)
    columns = guess_columns(adata.obs)
    return {
        "cells": adata.n_obs,
        "matrices": matrices,
        "read": chosen,
        "genes": known,
        "obs": {str(name): _values(adata.obs[name]) for name in adata.obs.columns},
        "obsm": {str(key): int(value.shape[1]) for key, value in adata.obsm.items()},
        "results": get(adata).to_dict("records"),
        "study": columns,
        "next": _next(adata, path, columns) if known["with_text"] and chosen else [],
    }


def _values(column: pd.Series) -> str:
    """A column in a few words: its range, or how many values it has and the most frequent."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    missing = int(column.isna().sum())
    more = f"; {missing:,} cells without" if missing else ""
    if is_numeric_dtype(column) and not is_bool_dtype(column) and column.nunique() > _SHOWN:
        return f"numbers, {column.min():.4g} to {column.max():.4g}{more}"
    counts = column.astype(str)[column.notna()].value_counts().sort_index()
    counts = counts.sort_values(ascending=False, kind="stable")
    shown = ", ".join(str(name) for name in counts.index[:_SHOWN])
    return f"{len(counts):,} values ({shown}{', ...' if len(counts) > _SHOWN else ''}){more}"


def guess_columns(obs: pd.DataFrame) -> dict[str, str]:
    """Which columns look like cell types, conditions and donors, and which value like the reference; those found."""
    lower = {str(name).lower(): str(name) for name in obs.columns}
    found = {}
    for what, names in _COLUMNS.items():
        fitting = [lower[name] for name in names if name in lower]
        few = [name for name in fitting if 1 < obs[name].nunique() <= max(2, len(obs) // 3)]
        if few:
            found[what] = few[0]
    if "condition" in found:
        values = sorted(str(value) for value in obs[found["condition"]].dropna().unique())
        references = [value for value in values if value.lower() in _REFERENCES]
        if references:
            found["reference"] = references[0]
    return found


def _next(adata: AnnData, path: Path, columns: dict[str, str]) -> list[str]:
    """Commands that this file is ready for, to be copied."""
    from .._keys import UNS

    def options(*names: str) -> str:
        return " ".join(f"--{name.replace('_', '-')} {shlex.quote(columns[name])}" for name in names if name in columns)

    file = shlex.quote(str(path))
    study = ("cell_type", "condition", "reference", "donor")
    whole = all(name in columns for name in study)
    commands = [f"lexicell run {file} {options(*(study if whole else ('cell_type',)))} -o results".replace("  ", " ")]
    if UNS in adata.uns:
        commands.insert(0, f"lexicell report {file} -o report.html")
    group = columns.get("cell_type")
    by = f" --groupby {shlex.quote(group)}" if group else ""
    commands.append(f"lexicell concepts {file} -q 'oxidative stress'{by} -o concepts.tsv")
    if whole:
        commands.append(f"lexicell vulnerability {file} {options(*study)} --design-only")
        if columns["donor"].lower().startswith("sample"):
            commands.append(f"(donors are people or animals, not libraries: check '{columns['donor']}')")
    elif "condition" in columns:
        missing = [f"--{name.replace('_', '-')}" for name in study if name not in columns]
        commands.append(
            f"(to compare {columns['condition']}, 'lexicell vulnerability' needs {', '.join(missing)} as well)"
        )
    return commands


_EXTRAS = {
    "local": "tokenizers",
    "openai": "openai",
    "hf": "transformers",
    "dask": "distributed",
    "soma": "tiledbsoma",
    "parquet": "pyarrow",
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Check the installation: versions, extras, cache, cores and memory."""
    found = _examine()
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    for name, value in found.items():
        click.echo(f"{name:<12} {value}")


def _examine() -> dict[str, str]:
    import os
    import platform
    from importlib import metadata, util

    from .. import __version__
    from ..store import Store

    found = {"lexicell": __version__, "python": f"{platform.python_version()} on {platform.platform()}"}
    for package in ("anndata", "scanpy", "numpy", "pandas", "numba"):
        found[package] = metadata.version(package)
    for extra, package in _EXTRAS.items():
        there = util.find_spec(package) is not None
        found[f"[{extra}]"] = "installed" if there else f"not installed: pip install 'lexicell[{extra}]'"
    store = Store(read_only=True).info()
    found["cache"] = ", ".join(f"{name} {value}" for name, value in store.items())
    found["key"] = f"OPENAI_API_KEY is {'set' if os.environ.get('OPENAI_API_KEY') else 'not set'}"
    found["cores"] = str(os.cpu_count())
    if hasattr(os, "sysconf"):
        found["memory"] = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f} GB"
    return found
