"""What the tools share to speak in genes and words: the gene vectors behind a representation, z-scores, the lexicon."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from .._errors import InputError, MissingDependencyError, MissingKeyError, choices
from .._expression import Values
from .._keys import column_name
from .._results import text_entry
from ..core.expression.log_values import column_stats, zscore_sparse
from ..core.genes.embedding import GeneEmbedding
from ..core.genes.retrieval import N_GENES, Entry, PhraseSearch, gene_sets, leading
from ..sources import lexicon
from ..sources.annotation import human_search, load_lexicon, read_scores
from ..sources.finder import GeneFinder

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = [
    "NO_LEXICON",
    "Phrases",
    "Queries",
    "ZGenes",
    "ZScores",
    "asked",
    "columns",
    "gene_vectors",
    "lexicon_scores",
    "phrases_of",
    "shipped_lexicon",
    "zscores",
]

Queries = Sequence[str] | Mapping[str, ArrayLike] | str
"""Phrases, or ``{phrase: vector}`` of the embedder of the genes."""
NO_LEXICON = (
    "no word of the shipped lexicon finds a gene: there are neither texts nor genes of human, mouse or rat; "
    "name phrases with queries="
)


@dataclass(frozen=True, eq=False)
class Phrases:
    """Phrases and the genes that each finds in one gene embedding.

    Attributes
    ----------
    names
        What is shown, shape ``(n,)``, object.
    genes, finder
        The gene embedding, and the search of its genes.
    vectors
        Of each phrase, of the embedder of the genes; None for a phrase that is searched by its words alone.
    scores
        Scores that are high enough to count, phrases x searched genes, sparse.
    source
        Where vectors come from, for provenance.
    cell_types
        Whether each phrase is the name of a cell type, shape ``(n,)``.
    tissues
        Tissues of each phrase; empty for one that fits any.
    """

    names: NDArray[Any]
    genes: GeneEmbedding
    finder: GeneFinder
    vectors: Sequence[NDArray[np.float32] | None]
    scores: sp.csr_matrix
    source: str
    cell_types: NDArray[np.bool_]
    tissues: Sequence[Sequence[str]]

    def sets(self, ids: NDArray[Any], *, n_genes: int = N_GENES) -> sp.csr_matrix:
        """Weights of the genes of each phrase among the genes `ids`, phrases x genes; rows sum to 1 or are empty."""
        return gene_sets(self.scores, self.finder.rows[self.genes.rows(ids)], n_genes=n_genes)

    def reasons(self, phrase: int, ids: NDArray[Any]) -> list[str]:
        """Why a phrase finds each of these genes."""
        found = self.finder.search.find(str(self.names[phrase]), self.vectors[phrase])
        return self.finder.reasons(found, self.genes.rows(ids))

    def with_genes(self, ids: NDArray[Any]) -> Phrases:
        """The phrases that find any of these genes: the others can be neither scored nor tested."""
        return self.part(np.diff(self.sets(ids).indptr) > 0)

    def part(self, chosen: NDArray[np.bool_]) -> Phrases:
        """Some of the phrases."""
        kept = np.flatnonzero(chosen)
        return replace(
            self,
            names=self.names[kept],
            vectors=[self.vectors[int(q)] for q in kept],
            scores=self.scores[kept],
            cell_types=self.cell_types[kept],
            tissues=[self.tissues[int(q)] for q in kept],
        )


@dataclass(frozen=True, eq=False)
class ZGenes:
    """Genes that have a vector and vary.

    Attributes
    ----------
    ids
        Gene names, shape ``(n_genes,)``.
    vectors
        Their vectors, shape ``(n_genes, d)``.
    mean, sd
        Mean and standard deviation of l over all cells, shape ``(n_genes,)``.
    """

    ids: NDArray[Any]
    vectors: NDArray[np.float32]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]


def columns(phrases: Phrases) -> list[str]:
    """Names of the columns of scores."""
    return [column_name(n) for n in phrases.names]


@dataclass(frozen=True, eq=False)
class ZScores(ZGenes):
    """z-scored log values of these genes: ``z = deviations + baseline``.

    Attributes
    ----------
    deviations, baseline
        Sparse cells x genes, and one row.
    """

    deviations: sp.csr_matrix
    baseline: NDArray[np.float64]

    def of(self, values: Values) -> sp.csr_matrix:
        """Deviations of other values of the same genes, with the moments of these."""
        return zscore_sparse(sp.csr_matrix(values.log[:, values.rows(self.ids)]), self.mean, self.sd)[0]

    def group_means(self, pick: sp.csr_matrix) -> NDArray[np.float64]:
        """Mean z of groups of cells; `pick` is groups x cells with rows that sum to 1."""
        return np.asarray((pick @ self.deviations).todense()) + self.baseline


def gene_vectors(adata: AnnData, use_rep: str, genes: GeneEmbedding | None) -> GeneEmbedding:
    """Return `genes`, or open again those that the representation was made from.

    Raises
    ------
    MissingKeyError
        If none were given and none can be found; the message says how to provide them.
    """
    if genes is not None:
        return genes
    entry = text_entry(adata, use_rep)
    if not entry:
        raise MissingKeyError(
            f"nothing is recorded on the gene vectors behind obsm['{use_rep}']; pass genes=, "
            "or make the cell embedding with lexicell.emb.cells"
        )
    if "gene_vectors" in entry:
        stored = entry["gene_vectors"]
        return GeneEmbedding.from_vectors(
            stored["ids"], stored["vectors"], texts=stored["texts"], provenance=entry["provenance"]
        )
    from ..sources import reopen

    return reopen(entry)


def zscores(values: Values, genes: GeneEmbedding) -> ZScores:
    """z-scores over all cells of the genes that both have; genes that do not vary are left out.

    Raises
    ------
    InputError
        If they have no varying gene in common.
    """
    rows = genes.rows(values.genes)
    columns = np.flatnonzero(rows >= 0)
    log = sp.csr_matrix(values.log[:, columns])
    mean, sd = column_stats(log)
    varies = sd > 0
    if not varies.any():
        raise InputError(
            "none of the genes of the gene embedding varies in the data; "
            f"the data has genes such as '{values.genes[0]}', the embedding such as '{genes.ids[0]}'"
        )
    deviations, baseline = zscore_sparse(sp.csr_matrix(log[:, varies]), mean[varies], sd[varies])
    kept = columns[varies]
    return ZScores(values.genes[kept], genes.vectors[rows[kept]], mean[varies], sd[varies], deviations, baseline)


def shipped_lexicon(genes: GeneEmbedding) -> Phrases | None:
    """The cell types and processes that come with the package; None if none of them finds a gene.

    Their names need no model. Processes have vectors of the local embedder, which count where it made the gene vectors.
    """
    finder = GeneFinder.of(genes)
    # Vectors of another model cannot be compared; words, annotation and names can.
    has_vectors = lexicon.manifest()["space"] == genes.embedder_space
    scores = lexicon_scores(finder.search, has_vectors)
    if not scores.nnz:
        return None
    entries, table, vectors = _lexicon_words()
    return Phrases(
        names=np.asarray([e.name for e in entries] + list(table["concept"]), dtype=object),
        genes=genes,
        finder=finder,
        vectors=[None] * len(entries) + [vector if has_vectors else None for vector in vectors],
        scores=scores,
        source="shipped lexicon",
        cell_types=np.arange(len(entries) + len(table)) < len(entries),
        tissues=[e.tissues for e in entries] + [()] * len(table),
    )


def _lexicon_words() -> tuple[list[Entry], pd.DataFrame, NDArray[np.float32]]:
    """Cell types with their facts; processes with their vectors."""
    entries = [entry for entry in load_lexicon().entries if entry.category == "cell type"]
    table, vectors = lexicon.load()
    is_process = (table["category"] != "cell type").to_numpy()
    return entries, table[is_process], vectors[is_process]


# Searching the whole lexicon takes some seconds, and most data sets of a session have the same texts.
@lru_cache(maxsize=2)
def lexicon_scores(search: PhraseSearch, has_vectors: bool) -> sp.csr_matrix:
    """Scores of :class:`Phrases` for all phrases of the lexicon; those of the bundled texts are stored."""
    stored = read_scores() if search is human_search()[0] and has_vectors else None
    if stored is not None:
        return stored
    entries, table, vectors = _lexicon_words()
    found = [search.find(entry.name) for entry in entries]
    for name, vector in zip(table["concept"], vectors, strict=True):
        found.append(search.find(name, vector if has_vectors else None))
    return sp.vstack([leading(f.score) for f in found], format="csr")


def asked(queries: Queries | None, genes: GeneEmbedding) -> Phrases:
    """Phrases as tools take them: the user's, or the lexicon if there are none.

    Raises
    ------
    InputError
        If no word of the lexicon finds a gene, or as :func:`phrases_of`.
    """
    if queries is not None:
        return phrases_of(queries, genes)
    shipped = shipped_lexicon(genes)
    if shipped is None:
        raise InputError(NO_LEXICON)
    return shipped


def phrases_of(queries: Queries, genes: GeneEmbedding) -> Phrases:
    """Search the user's phrases.

    Names of cell types, and phrases whose vectors come with the package, need no model. Others are embedded with the
    embedder that made the gene vectors; without it they are searched by their words. ``{phrase: vector}`` brings their
    own.

    Raises
    ------
    InputError
        If a query is empty, holds no word or is given twice, or a vector does not fit the genes.

    Warns
    -----
    UserWarning
        If a phrase finds no gene, holds a word that no text has, is longer than the model reads, or cannot be embedded.
    """
    words = _distinct(queries)
    finder = GeneFinder.of(genes)
    vectors, source = _given(queries, genes) if isinstance(queries, Mapping) else _vectors_of(words, genes)
    found = finder.find(words, vectors)
    nothing = [f.phrase for f in found if f.score.max() == 0]
    if nothing:
        _warn(f"no gene was found for: {choices([_start(w) for w in nothing])}; ask in other words")
    unknown = [f.phrase for f in found if f.known < 1 and f.score.max() > 0]
    if unknown:
        _warn(
            f"a word of these phrases is in no text, annotation or lexicon and counts for little: "
            f"{choices([_start(w) for w in unknown])}"
        )
    return Phrases(
        names=np.asarray(words, dtype=object),
        genes=genes,
        finder=finder,
        vectors=vectors,
        scores=sp.vstack([leading(f.score) for f in found], format="csr"),
        source=source,
        cell_types=np.asarray([_names_cell_type(w) for w in words]),
        tissues=[()] * len(words),
    )


def _names_cell_type(phrase: str) -> bool:
    """Whether a phrase is nothing but the name of a cell type."""
    return any(entry.category == "cell type" and share == 1 for entry, share in load_lexicon().find(phrase))


def _distinct(queries: Queries) -> list[str]:
    words = [str(q).strip() for q in ([queries] if isinstance(queries, str) else queries)]
    if not words or not all(words):
        raise InputError("a query is empty; give phrases such as 'axonal transport'")
    wordless = [w for w in words if not any(c.isalnum() for c in w)]
    if wordless:
        raise InputError(f"a query holds no word: {choices(wordless)}; give phrases such as 'axonal transport'")
    twice = sorted({w for w in words if words.count(w) > 1})
    if twice:
        raise InputError(f"queries are given more than once: {', '.join(twice)}")
    return words


def _given(queries: Mapping[str, ArrayLike], genes: GeneEmbedding) -> tuple[list[NDArray[np.float32] | None], str]:
    vectors: list[NDArray[np.float32] | None] = []
    for phrase, numbers in queries.items():
        vector = np.asarray(numbers, dtype=np.float32)
        if vector.shape != (genes.dim,):
            raise InputError(
                f"the vector of '{phrase}' has shape {vector.shape}, those of genes have {genes.dim} dimensions; embed "
                "phrases with the embedder that made the gene vectors"
            )
        vectors.append(vector)
    return vectors, "given"


def _vectors_of(words: Sequence[str], genes: GeneEmbedding) -> tuple[list[NDArray[np.float32] | None], str]:
    """Vectors of phrases, None for those that need none or cannot have one; and where they come from."""
    vectors: list[NDArray[np.float32] | None] = [None] * len(words)
    if lexicon.manifest()["space"] == genes.embedder_space:
        shipped = lexicon.load()[1]
        for place, row in enumerate(lexicon.rows(words)):
            if row >= 0:
                vectors[place] = shipped[row]
    # Names of cell types need no model: what is curated about them finds their genes.
    own = [q for q, word in enumerate(words) if vectors[q] is None and not _names_cell_type(word)]
    embedder = str(genes.provenance.get("embedder", ""))
    if not own:
        return vectors, "shipped lexicon"
    if not embedder:
        return vectors, "words of the texts"
    try:
        made = _embed([words[q] for q in own], embedder)
    except MissingDependencyError as error:
        _warn(f"phrases are searched by their words, not by their meaning: {error}")
        return vectors, "words of the texts"
    for q, vector in zip(own, made, strict=True):
        vectors[q] = vector
    return vectors, f"phrases embedded by {embedder}"


def _embed(words: Sequence[str], embedder: str) -> NDArray[np.float32]:
    """Vectors of phrases; warns of those whose ends the model does not read."""
    from .. import embedders

    for text, length, window in embedders.cut_short(embedder, words):
        is_long = f"is {length:,} tokens long" if length else "is long"
        reads = f"reads {window:,}" if window else "reads less"
        _warn(
            f"the query '{_start(text)}' {is_long} and embedder '{embedder}' {reads}: its end does not count; "
            "say it in fewer words"
        )
    with warnings.catch_warnings():
        # Said already, of queries that were stored before too, and with the lengths.
        warnings.filterwarnings("ignore", message="texts longer than embedder", category=UserWarning)
        return embedders.embed(words, embedder)


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=4)


def _start(words: str, n: int = 60) -> str:
    return words if len(words) <= n else words[:n].rstrip() + " ..."
