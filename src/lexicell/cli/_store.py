"""Commands on what is kept and what is installed: cache, embedders."""

from __future__ import annotations

from pathlib import Path

import click

from ._options import output_option, say


@click.group()
def cache() -> None:
    """Inspect, export or clear the vector cache."""


@cache.command()
def info() -> None:
    """Say where the store is, how large, and what is in it."""
    from ..store import Store

    for name, value in Store().info().items():
        click.echo(f"{name}\t{value}")


@cache.command()
@click.option("--space", help="Only the vectors of this embedder; default: all.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(space: str | None, yes: bool) -> None:
    """Delete stored vectors."""
    from ..store import Store

    if not yes and not click.confirm("Delete stored vectors? What was paid for would have to be paid again."):
        return
    Store().clear(space)


@cache.command()
@output_option()
def export(output: Path) -> None:
    """Write all stored vectors to one file."""
    from ..store import Store

    Store().export(output)
    say(f"{output}: written")


@click.command()
@click.option("--download", help="Fetch the weights of this embedder ('local') and check them.")
def embedders(download: str | None) -> None:
    """List what turns texts into vectors."""
    from .. import embedders as registry

    if download is not None:
        registry.get(download, download=True).embed(["axonal transport"])
        say(f"'{download}' is ready")
        return
    click.echo(registry.list().to_string(index=False))
