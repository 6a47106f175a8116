r"""What a cell type does beyond what the other types of the same donors do.

Donors differ from each other in all their cell types at once: genotype, agonal state, ambient RNA, depth. The other
types show in which directions. With N the centered donor means of all other types (rows, over all their donors), the
shift of a type is measured in the metric

.. math::
    W = \left(I + \frac{N'N}{\lambda}\right)^{-1}, \qquad
    \lambda = \alpha\, \frac{\mathrm{tr}\,N'N}{\text{rows} - \text{types}}

which leaves directions without donor noise as they are and shrinks the noisy ones. No label enters W. A response that
all types share shrinks too: what is left is selective.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .shift import Design, Floats

__all__ = ["ALPHA", "selective_grams"]

ALPHA = 0.1
"""Size of lambda; power was the same for .02 and .1."""


def selective_grams(
    values: Floats, present: NDArray[np.bool_], design: Design, *, alpha: float = ALPHA
) -> list[Floats | None]:
    """Gram matrix of each type's donors in the metric of the other types' donor noise.

    Parameters
    ----------
    values, present
        As :func:`lexicell.core.donors.vulnerability.shift_test` takes them.
    design
        What is compared.
    alpha
        Shrinkage.

    Returns
    -------
    One ``(n_present, n_present)`` matrix a type, for the donors it has; None without another type.
    """
    n_types = len(values)
    had = [values[t, present[t]] for t in range(n_types)]
    noise = [block - block.mean(axis=0) if len(block) else None for block in had]
    own = had if design.kind == "paired" else noise
    rows = np.repeat(np.arange(n_types), present.sum(axis=1))
    stack = np.concatenate([block for block in noise if block is not None]) if present.any() else np.zeros((0, 1))
    across = stack @ stack.T
    out: list[Floats | None] = []
    for t in range(n_types):
        block, others = own[t], rows != t
        df = int(others.sum()) - len(np.unique(rows[others]))
        if block is None or df < 1:
            out.append(None)
            continue
        inner = across[np.ix_(others, others)]
        ridge = alpha * float(np.trace(inner)) / df
        cross = block @ stack[others].T
        if not ridge > 0:
            out.append(None)
            continue
        # Woodbury: a matrix of donors is inverted, not one of dimensions.
        out.append(block @ block.T - cross @ np.linalg.solve(inner + ridge * np.eye(len(inner)), cross.T))
    return out
