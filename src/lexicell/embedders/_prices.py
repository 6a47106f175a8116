"""What is known of OpenAI's embedding models: prices, lengths and limits, once and dated."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MODELS", "PRICES_DATE", "Model"]

PRICES_DATE = "2026-05"  # the month in which the prices below were publicly listed; they change without notice


@dataclass(frozen=True)
class Model:
    """One embedding model.

    Attributes
    ----------
    dim
        Length of its vectors.
    usd
        US dollars per million tokens.
    shortens
        Whether it was trained so that vectors may be cut (``dimensions=``).
    encoding
        Name of its vocabulary in tiktoken.
    """

    dim: int
    usd: float
    shortens: bool
    encoding: str = "cl100k_base"


MODELS = {
    "text-embedding-3-small": Model(1536, 0.02, shortens=True),
    "text-embedding-3-large": Model(3072, 0.13, shortens=True),
    "text-embedding-ada-002": Model(1536, 0.10, shortens=False),
}

# Limits of the service, the same for all three models.
MAX_INPUTS = 2048  # texts per request
MAX_REQUEST_TOKENS = 300_000  # tokens per request, all its texts together
MAX_TOKENS = 8192  # tokens per text
