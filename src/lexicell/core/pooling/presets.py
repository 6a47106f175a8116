r"""The formulas of the cell embedding: one entry per preset.

Pooling, attribution, the report and the docs all read this file; adding a preset touches it and its test only.

For one cell, x are counts (or abundances), n is the library size over *all* genes, :math:`l = \log(1 + 10^4 x / n)`,
and v are the gene vectors. Every preset is a weighted sum of the vectors of the genes that have text, times a factor
per cell. Genes without text have no vector: they count in n, in the number of genes G and in sums over all genes, and
nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..._errors import InputError, check_choice
from ..expression.log_values import zscore_sparse
from .moments import Moments
from .threads import at_least_one

__all__ = ["OWN", "PRESETS", "Preset", "find_preset", "in_words", "markdown_table", "numpydoc_table"]

OWN = "preset"
"""Value of `top_n` that means: the preset's own."""

Float = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """How one preset weights genes and scales cells.

    Attributes
    ----------
    divide_by
        What the sum over genes is divided by. ``"kept"``: the sum of l over the genes summed; ``"all"``: the sum of l
        over all genes of the matrix; ``"genes"``: the number of genes of the matrix; ``"nothing"``.
    z_scored
        Whether weights are z-scores of l over cells, and vectors those of the whitened gene space. Otherwise weights
        are l itself, and vectors are used as given.
    l2
        Whether each cell is then scaled to unit length.
    top_n
        Genes kept per cell, None for all.
    formula
        The same in TeX, as Markdown for ``docs/formulas.md``.
    words
        The same in words: "each cell is then ...".
    source
        Where it comes from.
    """

    divide_by: str
    z_scored: bool = False
    l2: bool = False
    top_n: int | None = None
    formula: str
    words: str
    source: str

    def __post_init__(self) -> None:
        if self.z_scored and self.divide_by != "nothing":
            raise ValueError("z-scored weights have a part that all cells share, which cannot be divided per cell")

    @property
    def is_normalized(self) -> bool:
        """Whether the weights of a cell are shares of a sum over its genes, so that all change when one does."""
        return self.divide_by in ("kept", "all")

    def scale(self, kept: Float, everything: Float, n_genes: int) -> Float:
        """Factor on the weighted sum of each cell, ``(n_cells,)``.

        Parameters
        ----------
        kept, everything
            Sum of l over the genes summed, and over all genes of the matrix, ``(n_cells,)`` each.
        n_genes
            Number of genes of the matrix.
        """
        if self.divide_by == "nothing":
            return np.ones(len(kept))
        if self.divide_by == "genes":
            return np.full(len(kept), 1.0 / n_genes)
        total = kept if self.divide_by == "kept" else everything
        return np.divide(1.0, total, out=np.zeros(len(total)), where=total > 0)

    def weights(
        self, log: sp.csr_matrix, everything: sp.csr_matrix, moments: Moments | None
    ) -> tuple[sp.csr_matrix, Float]:
        """Weights that give the embedding, before L2, as ``(weights + baseline) @ vectors``.

        Parameters
        ----------
        log
            l of the genes summed, cells x genes with text.
        everything
            l of all genes of the matrix.
        moments
            Mean and sd of l of each gene with text, for z-scores.
        """
        if self.z_scored:
            assert moments is not None  # recorded with every z-scored embedding
            return zscore_sparse(log, moments.mean, moments.sd)
        kept, total = (np.asarray(m.sum(axis=1, dtype=np.float64)).ravel() for m in (log, everything))
        factor = sp.diags_array(self.scale(kept, total, everything.shape[1]))
        return sp.csr_matrix(factor @ log.astype(np.float64)), np.zeros(log.shape[1])

    def n_kept(self, top_n: int | str | None) -> int:
        """Genes kept per cell, 0 for all; `top_n` as the user gave it.

        Raises
        ------
        InputError
            If it is neither a whole number of at least 1, nor None, nor ``"preset"``.
        """
        if top_n == OWN:
            top_n = self.top_n
        if top_n is None:
            return 0
        if isinstance(top_n, str):
            raise InputError(f"top_n must be a whole number of at least 1, or None for all genes; got '{top_n}'")
        return at_least_one(top_n, "top_n")


PRESETS: dict[str, Preset] = {
    "paper": Preset(
        divide_by="kept",
        top_n=1000,
        formula=(
            r"$\sum_{g \in S} l_g v_g \,/ \sum_{g \in S} l_g$, $S$ the $N$ genes of $T$ with the highest expression"
        ),
        words="the average of the text vectors of its most expressed genes, weighted by log expression",
        source="arXiv:2505.07896",
    ),
    "genept-w": Preset(
        divide_by="genes",
        l2=True,
        formula=r"$\frac{1}{G} \sum_{g \in T} l_g v_g$",
        words="the sum of its genes' text vectors weighted by log expression, scaled to unit length",
        source="Chen and Zou, GenePT, bioRxiv 2023.10.16.562533",
    ),
    "scelmo-wa": Preset(
        divide_by="all",
        formula=r"$\sum_{g \in T} l_g v_g \,/ \sum_{\text{all } g} l_g$",
        words="the average of its genes' text vectors weighted by log expression",
        source="Liu et al., scELMo, bioRxiv 2023.12.07.569910",
    ),
    "scelmo-aa": Preset(
        divide_by="genes",
        formula=r"$\frac{1}{G} \sum_{g \in T} l_g v_g$",
        words="the sum of its genes' text vectors weighted by log expression, over the number of genes",
        source="Liu et al., scELMo, bioRxiv 2023.12.07.569910",
    ),
    "whitened": Preset(
        divide_by="nothing",
        z_scored=True,
        formula=(
            r"$\sum_{g \in T} z_g w_g$, with $z_g = \mathrm{clip}((l_g - \mu_g) / \sigma_g, -10, 10)$ and $w_g$ the "
            "whitened vector"
        ),
        words="the sum of its genes' whitened text vectors, weighted by how far each gene lies from its mean",
        source="this package",
    ),
}


def find_preset(name: str) -> Preset:
    """The preset of this name.

    Raises
    ------
    InputError
        If there is none; lists the names.
    """
    return PRESETS[check_choice(name, PRESETS, "preset")]


def in_words(name: str) -> str:
    """What each cell is then, for the report."""
    if name == "genept-s":  # a sentence per cell, no sum over genes: see `emb.sentences`
        return "the vector of a sentence that lists its most expressed genes"
    return PRESETS[name].words if name in PRESETS else "a combination of the vectors of its genes"


def markdown_table() -> str:
    """The table of presets in ``docs/formulas.md``."""
    lines = ["| preset | cell embedding $c$ | top-N default | L2 | source |", "|---|---|---|---|---|"]
    for name, preset in PRESETS.items():
        top_n = f"{preset.top_n:,}" if preset.top_n else "all"
        l2 = "yes" if preset.l2 else "no"
        lines.append(f"| `{name}` | {preset.formula} | {top_n} | {l2} | {preset.source} |")
    return "\n".join(lines)


def numpydoc_table() -> str:
    """The list of presets in docstrings, whose lines are indented by four spaces."""
    lines = []
    for name, preset in PRESETS.items():
        formula = re.sub(r"\$(.+?)\$", r":math:`\1`", preset.formula)
        end = "; then unit length" if preset.l2 else ""
        lines += [f"    ``{name}`` ({preset.source})", f"        {formula}{end}"]
    return "\n".join(lines).strip()
