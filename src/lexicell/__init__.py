"""Describe single cells by what is written about the genes they express.

gene texts -> gene vectors -> cell embeddings -> clusters | vulnerability | trajectory | meaning -> figures, report

>>> import lexicell as lx

Namespaces: ``lx.emb`` (texts, vectors, cells), ``lx.tl`` (tools), ``lx.pl`` (plots), ``lx.sources``, ``lx.embedders``,
``lx.datasets``, ``lx.stream``; functions: ``lx.read`` (cells from any file), ``lx.get`` (tables of results),
``lx.report``, ``lx.evaluate``, ``lx.evaluate_order``; classes: ``lx.GeneEmbedding``, ``lx.Expression`` (which matrix of
an AnnData is read) and ``lx.StudyDesign`` (donors, conditions, what is compared).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0.dev0"

__all__ = [
    "Expression",
    "GeneEmbedding",
    "StudyDesign",
    "datasets",
    "emb",
    "embedders",
    "evaluate",
    "evaluate_order",
    "get",
    "pl",
    "read",
    "report",
    "sources",
    "stream",
    "tl",
]

if TYPE_CHECKING:
    from . import datasets, emb, embedders, pl, sources, stream, tl
    from ._evaluate import evaluate, evaluate_order
    from ._expression import Expression
    from ._read import read
    from ._report import report
    from ._results import get
    from .core.donors.design import StudyDesign
    from .core.genes.embedding import GeneEmbedding

_MODULES = ("datasets", "emb", "embedders", "pl", "sources", "stream", "tl")
_OBJECTS = {
    "evaluate": "._evaluate",
    "evaluate_order": "._evaluate",
    "get": "._results",
    "read": "._read",
    "report": "._report",
    "Expression": "._expression",
    "GeneEmbedding": ".core.genes.embedding",
    "StudyDesign": ".core.donors.design",
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
