"""Gene names -> gene texts -> gene vectors -> cell embeddings."""

from ._genes import genes

__all__ = ["genes"]
