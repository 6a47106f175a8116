"""Describe single cells by what is written about the genes they express.

gene texts -> gene vectors -> cell embeddings -> clusters | vulnerability | trajectory | meaning -> figures, report

>>> import lexicell as lx

Namespaces: ``lx.emb`` (texts, vectors, cells), ``lx.tl`` (tools), ``lx.pl`` (plots), ``lx.sources``, ``lx.embedders``,
``lx.datasets``; functions: ``lx.report``, ``lx.evaluate``, ``lx.concepts_file``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

__all__ = [
    "GeneEmbedding",
    "concepts_file",
    "datasets",
    "emb",
    "embedders",
    "evaluate",
    "pl",
    "report",
    "sources",
    "tl",
]

if TYPE_CHECKING:
    from . import datasets, emb, embedders, pl, sources, tl
    from ._concepts_file import concepts_file
    from ._evaluate import evaluate
    from ._report import report
    from .core.embedding import GeneEmbedding

_MODULES = ("datasets", "emb", "embedders", "pl", "sources", "tl")
_OBJECTS = {
    "concepts_file": "._concepts_file",
    "evaluate": "._evaluate",
    "report": "._report",
    "GeneEmbedding": ".core.embedding",
}


# anndata alone takes longer to import than the half second that `import lexicell` may take,
# so each name is imported when first touched (PEP 562).
def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _OBJECTS:
        value = getattr(importlib.import_module(_OBJECTS[name], __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'lexicell' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})
