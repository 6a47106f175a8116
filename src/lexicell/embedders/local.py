"""The default embedder (being filled in)."""

from __future__ import annotations

from ._base import EmbedderInfo


def infos() -> list[EmbedderInfo]:
    return []
