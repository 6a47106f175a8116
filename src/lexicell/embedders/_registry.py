"""From a name to an embedder.

Each built-in family is a module of this folder with two things: ``make(model, **options) -> Embedder``, where `model`
is what comes after the colon ("" where nothing does) and an alias passes its own name, and ``infos() -> list of
EmbedderInfo``. Importing such a module is cheap: it imports its own dependencies inside functions.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

from .._errors import InputError, choices
from .._plugins import find_plugins, load_plugin
from ._base import Embedder, EmbedderInfo

if TYPE_CHECKING:
    import pandas as pd

GROUP = "lexicell.embedders"

# family -> module; "http:URL#MODEL" is a server that speaks OpenAI's protocol.
_FAMILIES = {"local": "local", "openai": "openai", "http": "openai", "hf": "huggingface"}
_NEED_MODEL = {
    "openai": "openai:text-embedding-3-small",
    "http": "http://localhost:8080/v1#MODEL",
    "hf": "hf:OWNER/MODEL",
}
ALIASES = ("biobert", "scibert", "pubmedbert", "sapbert", "medcpt", "minilm")


def get(name: str, **options: Any) -> Embedder:
    """Return the embedder of a name; nothing is loaded or sent yet.

    Parameters
    ----------
    name
        ``"local"`` (the default everywhere; all-MiniLM-L6-v2 on this machine, no torch), ``"openai:MODEL"``,
        ``"hf:MODEL[@REVISION]"``, ``"http:URL#MODEL"`` (a server with OpenAI's protocol; ``"http://host/v1#MODEL"``
        works too), an alias (``biobert``, ``scibert``, ``pubmedbert``, ``sapbert``, ``medcpt``, ``minilm``), or
        the name of an installed plugin. :func:`lexicell.embedders.list` shows them all.
    **options
        Passed to the embedder, e.g. ``model_dir=`` of ``"local"`` or ``dimensions=`` of ``"openai:MODEL"``.

    Returns
    -------
    The embedder, to be given wherever a name can.

    Raises
    ------
    InputError
        If the name is unknown (the choices are listed) or an option does not exist.
    MissingDependencyError
        If the embedder needs an extra that is not installed.

    Examples
    --------
    >>> import lexicell as lx
    >>> lx.embedders.get("local").dim
    384
    """
    if not isinstance(name, str):
        raise InputError(f"the name of an embedder is a string, not {type(name).__name__}")
    family, colon, model = name.partition(":")
    if family == "https":
        family, model = "http", name
    elif family == "http" and model.startswith("//"):
        model = name
    if family in ALIASES and not colon:
        return _call(_module("huggingface").make, name, family, options)
    if family in _FAMILIES:
        if family in _NEED_MODEL and not model:
            raise InputError(f"embedder '{name}' names no model; write it like '{_NEED_MODEL[family]}'")
        if family == "http" and "#" not in model:
            raise InputError(f"embedder '{name}' names no model; write it like '{_NEED_MODEL[family]}'")
        if family == "local" and colon:
            raise InputError(
                "embedder 'local' is one model; name others with 'hf:MODEL', or pass model_dir= for its folder"
            )
        module = _module(_FAMILIES[family])
        # One module serves "openai" and "http": it tells them apart by the URL and '#'.
        return _call(module.make, name, model, options)
    plugins = _plugins()
    if family in plugins:
        # "toy" calls the factory without arguments, "toy:small" with "small".
        arguments = [model] if colon else []
        plugin: Embedder = load_plugin(plugins[family], f"embedder '{name}'", "embed", arguments, options)
        return plugin
    known = ["local", "openai:MODEL", "hf:MODEL", "http:URL#MODEL", *ALIASES, *sorted(plugins)]
    near = difflib.get_close_matches(family, [k.partition(":")[0] for k in known], n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise InputError(f"unknown embedder '{name}'; choose one of {choices(known)}.{hint}")


def describe() -> pd.DataFrame:
    """List every embedder: what it is called, what it needs, and whether it would run here.

    Returns
    -------
    One row per embedder, indexed from 0: ``name``, ``dim`` (0 where it depends on the model), ``needs``, ``available``,
    ``licence``, ``leaves_machine`` (whether texts are sent to another machine). Nothing is loaded or sent.
    """
    import pandas as pd

    rows: list[EmbedderInfo] = []
    for module in dict.fromkeys(_FAMILIES.values()):
        rows += _module(module).infos()
    for name, point in sorted(_plugins().items()):
        rows.append(_plugin_info(name, point))
    columns = list(EmbedderInfo.__dataclass_fields__)
    return pd.DataFrame([[getattr(row, column) for column in columns] for row in rows], columns=columns)


def _module(name: str) -> Any:
    return importlib.import_module(f".{name}", __package__)


def _plugins() -> dict[str, EntryPoint]:
    return find_plugins(GROUP, {*_FAMILIES, *ALIASES, "https"})


def _plugin_info(name: str, point: EntryPoint) -> EmbedderInfo:
    package = point.dist.name if point.dist is not None else point.value
    try:
        made = load_plugin(point, f"embedder '{name}'", "embed", [], {})
        return EmbedderInfo(name, int(made.dim), f"plugin {package}", True, "", bool(made.leaves_machine))
    except Exception as error:  # a broken plugin must not hide the others
        return EmbedderInfo(name, 0, f"plugin {package}: {error}", False, "", False)


def _call(make: Callable[..., Embedder], name: str, model: str, options: dict[str, Any]) -> Embedder:
    allowed = inspect.signature(make).parameters
    unknown = sorted(set(options) - set(allowed))
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in allowed.values()):
        known = [p.name for p in allowed.values() if p.kind is p.KEYWORD_ONLY]
        raise InputError(f"embedder '{name}' has no option {choices(unknown)}; its options are {choices(known)}")
    return make(model, **options)
