"""What the tools share to speak in genes and words: the gene vectors behind a representation, z-scores, the lexicon."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from .._errors import InputError, MissingKeyError, choices
from .._keys import X_TEXT, column_name
from .._results import recorded
from .._values import Values
from ..core.annotation import gene_symbols, mask
from ..core.concepts import N_GENES, concept_sets
from ..core.embedding import GeneEmbedding
from ..core.expression import column_stats, zscore_sparse

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = [
    "Phrases",
    "ZGenes",
    "ZScores",
    "asked",
    "columns",
    "embed_queries",
    "gene_vectors",
    "given",
    "phrases_of",
    "shipped_lexicon",
    "text_entry",
    "zscores",
]


@dataclass(frozen=True, eq=False)
class Phrases:
    """Phrases with vectors of the same embedder as the genes.

    Attributes
    ----------
    names
        What is shown, shape ``(n,)``, object.
    vectors
        Shape ``(n, d)``.
    source
        Where they come from, for provenance.
    background
        Vectors of phrases of all kinds, against which genes near everything are discounted; None where the shipped
        lexicon has none of this embedder.
    """

    names: NDArray[Any]
    vectors: NDArray[np.float32]
    source: str
    background: NDArray[np.float32] | None = None

    def sets(self, vectors: NDArray[np.float32], *, n_genes: int | None = N_GENES) -> sp.csr_matrix:
        """Genes that stand for each phrase, phrases x genes: :func:`lexicell.core.concepts.concept_sets`."""
        return concept_sets(vectors, self.vectors, n_genes=n_genes, background=self.background)


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


def text_entry(adata: AnnData, use_rep: str) -> dict[str, Any]:
    """Find the record of the text embedding behind `use_rep`: its own, its basis', else that of ``X_text``."""
    entry = recorded(adata, use_rep)
    for candidate in (entry, recorded(adata, str(entry.get("based_on", ""))), recorded(adata, X_TEXT)):
        if "gene_embedding" in candidate:
            return candidate
    return {}


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
    from ..sources._reopen import reopen

    return reopen(entry)


def zscores(values: Values, genes: GeneEmbedding) -> ZScores:
    """z-scores over all cells of the genes that stand in both; genes that do not vary are left out.

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


def embedder_of(genes: GeneEmbedding) -> str:
    """Name of the embedder that made the gene vectors, empty where unknown."""
    return str(genes.provenance.get("embedder", ""))


def shipped_lexicon(genes: GeneEmbedding) -> Phrases | None:
    """Return the concepts that come with the package, where their vectors fit the genes'; None where they do not."""
    from ..sources import lexicon

    space = f"{embedder_of(genes)}@{genes.provenance.get('revision', '')}/{genes.dim}"
    if lexicon.manifest()["space"] != space:
        return None
    table, vectors = lexicon.load()
    return Phrases(table["concept"].to_numpy(dtype=object), vectors, "shipped lexicon", vectors)


def phrases_of(queries: Sequence[str], genes: GeneEmbedding) -> Phrases:
    """Vectors of phrases: those that the shipped lexicon knows need no model, the others are embedded.

    The lexicon's vectors are of its own descriptions of the concept, which say more than its name.

    Raises
    ------
    InputError
        As :func:`embed_queries`.
    """
    from ..sources import lexicon

    words = _distinct(queries)
    shipped = shipped_lexicon(genes)
    known = lexicon.rows(words) if shipped is not None else np.full(len(words), -1)
    vectors = np.empty((len(words), genes.dim), dtype=np.float32)
    own = [w for w, row in zip(words, known, strict=True) if row < 0]
    if shipped is not None:
        vectors[known >= 0] = shipped.vectors[known[known >= 0]]
    source = "shipped lexicon"
    if own:
        made = embed_queries(own, genes)
        vectors[known < 0] = made.vectors
        source = made.source if len(own) == len(words) else f"shipped lexicon and {made.source}"
    return Phrases(np.asarray(words, dtype=object), vectors, source, _background(genes))


def _distinct(queries: Sequence[str]) -> list[str]:
    words = [str(q).strip() for q in ([queries] if isinstance(queries, str) else queries)]
    if not words or not all(words):
        raise InputError("a query is empty; give phrases such as 'axonal transport'")
    wordless = [w for w in words if not any(c.isalnum() for c in w)]
    if wordless:
        raise InputError(f"a query holds no word: {choices(wordless)}; give phrases such as 'axonal transport'")
    twice = sorted({w for w in words if words.count(w) > 1})
    if twice:
        raise InputError(f"queries stand more than once: {', '.join(twice)}")
    return words


def embed_queries(queries: Sequence[str], genes: GeneEmbedding) -> Phrases:
    """Embed the user's own phrases with the embedder that made the gene vectors.

    Raises
    ------
    InputError
        If a query is empty or stands twice, or the gene vectors do not say which embedder made them.

    Warns
    -----
    UserWarning
        If a query is longer than the model reads, or names genes only.
    """
    words = _distinct(queries)
    name = embedder_of(genes)
    if not name:
        raise InputError(
            "the gene vectors do not say which embedder made them, so queries cannot be put beside them; "
            "pass query_vectors="
        )
    from .. import embedders

    _tell_symbols(words, genes)
    _tell_long(words, name)
    with warnings.catch_warnings():
        # Said already, of queries that were stored before too, and with the lengths.
        warnings.filterwarnings("ignore", message="texts longer than embedder", category=UserWarning)
        vectors = embedders.embed(words, name)
    return Phrases(np.asarray(words, dtype=object), vectors, f"queries embedded by {name}", _background(genes))


def _tell_long(words: Sequence[str], embedder: str) -> None:
    """Warn of queries whose ends the model does not read."""
    from ..embedders._embed import cut_short

    for text, length, window in cut_short(embedder, words):
        is_long = f"is {length:,} tokens long" if length else "is long"
        reads = f"reads {window:,}" if window else "reads less"
        warnings.warn(
            f"the query '{_start(text)}' {is_long} and embedder '{embedder}' {reads}: its end does not count; "
            "say it in fewer words",
            UserWarning,
            stacklevel=4,
        )


def _tell_symbols(words: Sequence[str], genes: GeneEmbedding) -> None:
    """Warn of queries that are a look-up of genes by name."""
    ids = {str(g) for g in genes.ids}
    only = [w for w in words if (named := gene_symbols(w, ids)) and not mask(w, named)]
    if only:
        warnings.warn(
            f"queries that name genes only: {choices([_start(w) for w in only])}; they find genes called alike rather "
            "than a meaning. Say what the genes do, or ask lexicell.tl.gene_neighbors",
            UserWarning,
            stacklevel=4,
        )


def _start(words: str, n: int = 60) -> str:
    return words if len(words) <= n else words[:n].rstrip() + " ..."


def given(queries: Sequence[str] | str, vectors: ArrayLike, genes: GeneEmbedding) -> Phrases:
    """Phrases whose vectors the user brings.

    Raises
    ------
    InputError
        If they do not fit, or a query is empty or stands twice.
    """
    names = [queries] if isinstance(queries, str) else [str(q) for q in queries]
    matrix = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
    if len(matrix) != len(names) or len(set(names)) != len(names):
        raise InputError(f"{len(matrix)} query vectors do not fit {len(set(names))} distinct queries")
    return Phrases(np.asarray(names, dtype=object), matrix, "given", _background(genes))


def asked(queries: Sequence[str] | str | None, vectors: ArrayLike | None, genes: GeneEmbedding) -> Phrases:
    """Phrases as tools take them: with vectors of the user's, to be embedded, or, if none is named, the lexicon.

    Raises
    ------
    InputError
        If there is no lexicon for this embedder and no query, or as :func:`given` and :func:`embed_queries`.
    """
    if vectors is not None:
        if queries is None:
            raise InputError("query_vectors= needs queries=, which name them")
        return given(queries, vectors, genes)
    if queries is not None:
        return phrases_of(queries, genes)
    shipped = shipped_lexicon(genes)
    if shipped is None:
        raise InputError(
            f"the shipped lexicon has no vectors of embedder '{embedder_of(genes)}'; name phrases with queries="
        )
    return shipped


def _background(genes: GeneEmbedding) -> NDArray[np.float32] | None:
    shipped = shipped_lexicon(genes)
    return None if shipped is None else shipped.background
