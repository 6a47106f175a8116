"""Sources and embedders of other packages, found by their entry points."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ._errors import InputError

__all__ = ["find_plugins", "load_plugin", "make"]


def find_plugins(group: str, taken: Container[str]) -> dict[str, EntryPoint]:
    """Plugins of a group by name; a built-in name cannot be taken over."""
    return {point.name: point for point in entry_points(group=group) if point.name not in taken}


def load_plugin(point: EntryPoint, what: str, method: str, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """What a plugin makes of these arguments.

    Parameters
    ----------
    point
        The plugin.
    what
        What was asked for, for messages: ``"source 'notes'"``.
    method
        Method that the result must have.
    arguments, options
        Passed on.

    Raises
    ------
    InputError
        If the plugin cannot be imported, takes no such option, or returns something else.
    """
    origin = f"{what} comes from plugin '{point.value}'"
    try:
        factory = point.load()
    except Exception as error:
        raise InputError(f"{origin}, which cannot be imported: {error}") from error
    made = make(factory, what, arguments, options)
    if not callable(getattr(made, method, None)):
        kind = what.partition(" ")[0]
        article = "an" if kind[0] in "aeiou" else "a"
        raise InputError(
            f"{origin}, which returned {type(made).__name__}, not {article} {kind} with a method '{method}'"
        )
    return made


def make(factory: Callable[..., Any], what: str, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """Call a factory; an option that it does not know is an `InputError`."""
    try:
        return factory(*arguments, **options)
    except TypeError as error:
        # Only the call itself, not an error from within it, means that an option is unknown.
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise InputError(f"{what} does not take these options: {error}") from error
        raise
