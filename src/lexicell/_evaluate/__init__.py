"""Score representations against baselines and controls, on the user's own labels or measured times."""

from __future__ import annotations

from .labels import evaluate
from .order import evaluate_order
from .representations import Evaluation

__all__ = ["Evaluation", "evaluate", "evaluate_order"]
