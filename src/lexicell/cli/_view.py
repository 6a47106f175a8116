"""The command that serves the report to this machine's browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .._errors import InputError
from ._options import read, say

__all__ = ["view"]


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--use-rep", help="Representation to show; default: the fused one, else the text embedding.")
@click.option("--color", multiple=True, help="Column of obs or gene to show on the map; may stand several times.")
@click.option("--title", default="Cells in words", show_default=True, help="Heading of the page.")
@click.option("--port", default=0, show_default=True, help="Port on this machine; 0 for one that is free.")
def view(results: Path, **options: Any) -> None:
    """Explore RESULTS in the browser and score any phrase.

    RESULTS is a file of cells that lexicell wrote, or the folder of `lexicell run`. Only this machine can open it.
    """
    from .._view import view as serve

    inside = results / "cells.h5ad"
    if results.is_dir() and results.suffix != ".zarr":
        if not inside.exists():
            raise InputError(f"{results}: the folder holds no cells.h5ad; name the folder of lexicell run, or a file")
        results = inside
    serve(read(results), say=lambda address: say(f"open {address}  (Ctrl-C ends)"), **options)
