"""Scores of any phrase in a few milliseconds: what does not depend on the phrase is computed once."""

from __future__ import annotations

import base64
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from .._expression import Expression, open_values
from .._report import quantize
from .._results import recorded_params
from ..core.expression.sums import add_sums
from ..core.genes.retrieval import N_GENES
from ..tl.concept_pass import ConceptPass, ranges
from ..tl.words import gene_vectors, phrases_of

if TYPE_CHECKING:
    from anndata import AnnData
    from numpy.typing import NDArray

__all__ = ["PhraseScorer"]

_REASONS = 20


class PhraseScorer:
    """Scores cells by phrases as :func:`lexicell.tl.concepts` does, with the same bits.

    z-scores are kept by gene, since a phrase needs those of a few genes only, and so are the moments of each cell over
    random genes: about 12 bytes per value stored in the matrix.

    Parameters
    ----------
    adata
        Cells with a text embedding.
    cells
        Those to score.
    use_rep
        The text embedding.
    """

    def __init__(self, adata: AnnData, cells: NDArray[np.int64], use_rep: str) -> None:
        self._known = gene_vectors(adata, use_rep, None)
        values = open_values(adata, Expression(), like=recorded_params(adata, use_rep))
        self._work = ConceptPass(values, self._known)
        _, parts = ranges(values.n_cells, 1)
        z = self._work.set_moments(add_sums(self._work.moments(start, stop) for start, stop in parts))
        self._ids = z.ids
        nothing = self._work.scorer(sp.csr_matrix((0, len(z.ids))))
        blocks, moments = [], []
        for start, stop in parts:
            for first, last, deviations in self._work.deviations(start, stop):
                own = deviations[cells[(cells >= first) & (cells < last)] - first]
                moments.append(nothing.moments(own))
                blocks.append(own.tocsc())
        self._by_gene = sp.vstack(blocks, format="csc")
        self._mean, self._variance = (np.concatenate(part) for part in zip(*moments, strict=True))

    def score(self, phrase: str) -> tuple[NDArray[np.float32], list[tuple[str, str]], list[str]]:
        """Score a phrase: one number per cell; its genes, each with the reason; and what the reader should know.

        Raises
        ------
        InputError
            If the phrase is empty or holds no word.
        """
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            phrases = phrases_of([phrase], self._known)
        sets = phrases.sets(self._ids, n_genes=N_GENES)
        scorer = self._work.scorer(sets)
        chosen = sets.indices
        few = self._by_gene[:, chosen].tocsr()
        wide = sp.csr_matrix((few.data, chosen[few.indices], few.indptr), shape=self._by_gene.shape)
        scores = scorer.scale(scorer.raw(wide), self._mean, self._variance)[:, 0]
        best = self._ids[chosen[np.argsort(-sets.data, kind="stable")[:_REASONS]]]
        genes = list(zip(best.tolist(), phrases.reasons(0, best), strict=True))
        notes = [str(w.message) for w in said if issubclass(w.category, UserWarning)]
        if not len(chosen):
            notes.append("No gene of this data set is found for these words.")
        return scores, genes, notes

    def answer(self, phrase: str) -> dict[str, Any]:
        """Describe a scored phrase as the page reads it."""
        phrase = " ".join(phrase.split())
        scores, genes, notes = self.score(phrase)
        low, high, codes = quantize(scores)
        return {
            "name": phrase,
            "lo": low,
            "hi": high,
            "codes": base64.b64encode(codes.tobytes()).decode(),
            "genes": genes,
            "warning": " ".join(notes),
            "python": f"lx.tl.concepts(adata, [{phrase!r}])",
        }
