"""Genes of a gene embedding that a phrase means: the search of core/genes over what ships and what the user brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..core.genes.embedding import GeneEmbedding
from ..core.genes.retrieval import N_GENES, Found, PhraseSearch, gene_sets
from . import lexicon
from .annotation import gene_aliases, human_ids, human_search, load_lexicon, terms_of
from .bundled import ORGANISMS, load_table

__all__ = ["GeneFinder"]


@dataclass(frozen=True, eq=False)
class GeneFinder:
    """Find genes of one gene embedding by phrase.

    Texts and vectors that come with the package are searched over the whole genome, so that a word is as rare in a
    panel of thirty genes as elsewhere. Texts or vectors of the user's are searched over the user's genes; annotation
    and lexicon are added where the genes are of human, mouse or rat.

    Attributes
    ----------
    search
        The search.
    rows
        Row in the search of each gene of the embedding, -1 for a gene that is not in it, shape ``(n_genes,)``.
    """

    search: PhraseSearch
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, genes: GeneEmbedding) -> GeneFinder:
        """Make one for a gene embedding."""
        organism = str(genes.provenance.get("organism", ""))
        ids = [str(i) for i in genes.ids]
        if "control" in genes.provenance:
            # A control knows nothing of its own genes: it is found for what another gene is, or for nothing.
            ids = [str(i) for i in genes.table["text_of"]] if "text_of" in genes.table else [""] * len(genes)
        known = human_ids(ids, organism) if organism in ORGANISMS else [""] * len(genes)
        space = f"{genes.provenance.get('embedder', '')}@{genes.provenance.get('revision', '')}/{genes.dim}"
        ships = genes.provenance.get("source") == "bundled" and lexicon.manifest()["space"] == space
        if ships:
            search, row = human_search()
            return cls(search, np.asarray([row.get(gene, -1) for gene in known], dtype=np.int64))
        table = load_table("human")
        symbols = [table.symbol[table.row_of_gene_id[g]] if g else str(i) for g, i in zip(known, ids, strict=True)]
        search = PhraseSearch(
            symbols,
            [str(t) for t in genes.texts],
            vectors=genes.vectors,
            terms=terms_of(known) if any(known) else None,
            lexicon=load_lexicon() if any(known) else None,
            background=lexicon.load()[1] if lexicon.manifest()["space"] == space else None,
            aliases=gene_aliases("human"),
        )
        return cls(search, np.arange(len(genes)))

    def find(
        self, phrases: Sequence[str], vectors: Sequence[NDArray[np.float32] | None] | NDArray[np.float32] | None = None
    ) -> list[Found]:
        """Search phrases; `vectors` are of the embedder of the genes, None for phrases without."""
        if vectors is None:
            return [self.search.find(phrase) for phrase in phrases]
        return [self.search.find(phrase, vector) for phrase, vector in zip(phrases, vectors, strict=True)]

    def sets(
        self, found: Sequence[Found], *, n_genes: int = N_GENES, among: NDArray[np.int64] | slice = slice(None)
    ) -> sp.csr_matrix:
        """Weights of the genes that stand for each phrase, phrases x genes; `among` picks genes of the embedding."""
        return gene_sets(np.stack([f.score for f in found]), self.rows[among], n_genes=n_genes)

    def reasons(self, found: Found, genes: NDArray[Any]) -> list[str]:
        """Why each of these genes was found; `genes` are rows of the embedding."""
        return [self.search.reason(found, int(row)) if row >= 0 else "" for row in self.rows[genes]]
