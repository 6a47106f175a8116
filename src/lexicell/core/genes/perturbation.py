r"""Predicted log values of cells whose genes are removed or over-expressed.

With :math:`e = \mathrm{expm1}(l) = 10^4 x / n`, a change of the counts of the genes S by the factor f gives

.. math:: e'_g = f\,e_g \;(g \in S), \qquad l'_g = \log(1 + e'_g / r), \qquad
          r = 1 + (f - 1) \sum_{g \in S} e_g / 10^4

where r, the factor by which the library grows or shrinks, is 1 if the library size is held fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..._errors import InputError

__all__ = ["Change"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """A factor on the counts of some genes.

    Attributes
    ----------
    genes
        Their names.
    fold
        The factor: 0 removes, 2 doubles. A gene that a cell does not express stays at zero.
    keep_library
        Whether the library size is held fixed, so that other genes stay as they are.
    """

    genes: tuple[str, ...]
    fold: float
    keep_library: bool = True

    @classmethod
    def of(cls, genes: Sequence[str] | str, fold: float, *, keep_library: bool = True) -> Change:
        """Check and make.

        Raises
        ------
        InputError
            If no gene is named, one is named twice, or the factor is negative, not finite, or 1.
        """
        names = (genes,) if isinstance(genes, str) else tuple(str(g) for g in genes)
        if not names or len(set(names)) < len(names):
            raise InputError("name at least one gene, and each once")
        if not np.isfinite(fold) or fold < 0 or fold == 1:
            raise InputError(f"fold must be a number of at least 0 and not 1 (0 removes, 2 doubles); got {fold}")
        return cls(names, float(fold), keep_library)

    def log(self, values: sp.csr_matrix, columns: NDArray[np.int64], *, logged: bool = False) -> sp.csr_matrix:
        """Log values after the change.

        Parameters
        ----------
        values
            l before it, cells x genes.
        columns
            Columns of the genes that change.
        logged
            Whether the data came as log values: the library is then the sum of expm1(l) over the matrix.
        """
        hit = np.zeros(values.shape[1], dtype=bool)
        hit[columns] = True
        level = np.expm1(values.data.astype(np.float64))
        changed = np.where(hit[values.indices], self.fold * level, level)
        if not self.keep_library:
            row = np.repeat(np.arange(values.shape[0]), np.diff(values.indptr))
            size = np.full(values.shape[0], 1e4)
            if logged:
                size = np.bincount(row, weights=level, minlength=values.shape[0])
            more = np.bincount(row, weights=changed - level, minlength=values.shape[0])
            growth = 1 + np.divide(more, size, out=np.zeros_like(more), where=size > 0)
            changed = changed / np.where(growth > 0, growth, 1.0)[row]
        out = sp.csr_matrix((np.log1p(changed).astype(values.dtype), values.indices, values.indptr), shape=values.shape)
        out = out.copy()
        out.eliminate_zeros()
        return out
