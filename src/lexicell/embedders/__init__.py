"""Text to vectors: the local model, Hugging Face models, OpenAI and compatible servers, plugins.

:func:`get` returns an embedder by name, :func:`list` describes all, :func:`embed` turns texts into vectors.
"""

from __future__ import annotations

from ._base import Embedder, EmbedderInfo
from ._cost import CostEstimate
from ._cost import estimate_cost as estimate_cost  # for emb.cost, not public
from ._embed import cut_short as cut_short  # for other packages of lexicell, not public
from ._embed import embed
from ._registry import describe as list  # noqa: A004  (lx.embedders.list() is the public name)
from ._registry import get

__all__ = ["CostEstimate", "Embedder", "EmbedderInfo", "embed", "get", "list"]
