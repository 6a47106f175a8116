"""Gene names -> texts -> vectors."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import __version__
from .._errors import InputError, check_key, choices
from ..core.embedding import GeneEmbedding
from ..sources import get as get_source
from ..sources._base import GeneSource, GeneTexts

if TYPE_CHECKING:
    from anndata import AnnData

    from ..embedders import CostEstimate
    from ..embedders._base import Embedder
    from ..store import Store

__all__ = ["cost", "genes"]

# Below this share of names with a text, another column of var is tried, and a warning follows.
_POOR_MATCH = 0.5


def _unique(names: Sequence[str]) -> list[str]:
    index = pd.Index(names)
    if not index.is_unique:
        twice = index[index.duplicated()].unique()
        raise InputError(
            f"{len(twice)} gene names stand more than once: {choices(twice, limit=5)}; "
            "make them unique first with adata.var_names_make_unique()"
        )
    return list(names)


def _candidates(data: AnnData | Sequence[str], id_column: str | None) -> dict[str, tuple[list[str], list[str]]]:
    """Where gene names may stand: label -> (names that will be the ids, names to look up)."""
    var = getattr(data, "var", None)
    if var is None:
        names = _unique([str(n) for n in data])
        return {"names": (names, names)}
    ids = _unique([str(n) for n in var.index])
    if id_column is not None:
        check_key(id_column, [str(c) for c in var.columns], "column in var")
        return {f"var['{id_column}']": (ids, [str(v) for v in var[id_column]])}
    found = {"var_names": (ids, ids)}
    for column in var.columns:
        if var[column].dtype.kind not in "OUT" and str(var[column].dtype) not in ("category", "string", "str"):
            continue
        if var[column].nunique() > len(var) // 2:
            found[f"var['{column}']"] = (ids, [str(v) for v in var[column]])
    return found


def _look_up(source: GeneSource, names: list[str], organism: str | None) -> tuple[GeneTexts, str]:
    from ..sources._mapping import guess_organism

    if organism is None:
        organism = guess_organism(names).organism or "human"
    return source.texts(names, organism=organism), organism


def _share(texts: GeneTexts) -> float:
    return float(np.mean([bool(t) for t in texts.texts])) if len(texts.texts) else 0.0


def _refuse_no_match(names: list[str], source: GeneSource, organism: str) -> None:
    from ..sources._mapping import guess_organism

    guess = guess_organism(names)
    hint = f" The names look like {guess.organism} genes ({guess.evidence})." if guess.organism else ""
    if guess.organism and guess.organism != organism:
        hint += f" Pass organism='{guess.organism}'."
    known = source.texts(["TP53", "ACTB", "Trp53", "Actb"], organism=organism)
    examples = [n for n, t in zip(["TP53", "ACTB", "Trp53", "Actb"], known.texts, strict=True) if t]
    raise InputError(
        f"none of the {len(names)} gene names is known to the source '{source.name}' for {organism}: "
        f"the data has {choices(names[:5])}, the source has names such as {choices(examples)}.{hint} "
        "If another column of var holds symbols or Ensembl ids, name it with id_column="
    )


@dataclass(frozen=True, eq=False)
class _Asked:
    """What a source answered for the genes of a data set."""

    source: GeneSource
    organism: str
    ids: list[str]  # as they stand in the data
    names: list[str]  # as they were looked up
    label: str  # where those stand
    found: GeneTexts

    @property
    def has_text(self) -> NDArray[np.bool_]:
        return np.array([bool(t) for t in self.found.texts])


def _ask(
    data: AnnData | Sequence[str], organism: str | None, source: str | GeneSource, id_column: str | None
) -> _Asked:
    if isinstance(source, str):
        source = get_source(source)
    options = _candidates(data, id_column)
    label, (ids, names) = next(iter(options.items()))
    if not names:
        raise InputError("there are no genes: the data has no columns")
    found, species = _look_up(source, names, organism)
    if _share(found) < _POOR_MATCH:
        for other, (_, candidate) in list(options.items())[1:]:
            again, guessed = _look_up(source, candidate, organism)
            if _share(again) > _share(found):
                label, names, found, species = other, candidate, again, guessed
    if not _share(found):
        _refuse_no_match(names, source, species)
    return _Asked(source, species, ids, names, label, found)


def cost(
    data: AnnData | Sequence[str],
    *,
    organism: str | None = None,
    source: str | GeneSource = "bundled",
    embedder: str | Embedder = "local",
    id_column: str | None = None,
    store: Store | None = None,
) -> CostEstimate:
    """Tell what :func:`genes` with the same arguments would send, and what that would cost. Sends nothing.

    Parameters
    ----------
    data, organism, source, embedder, id_column, store
        As in :func:`genes`.

    Returns
    -------
    CostEstimate
        Texts, those already stored, tokens, requests and money; ``str()`` of it is a sentence.

    Examples
    --------
    >>> import lexicell as lx
    >>> lx.emb.cost(["SOD1", "TARDBP", "not-a-gene"], organism="human", embedder="local").unique
    2
    """
    from ..embedders import estimate_cost

    asked = _ask(data, organism, source, id_column)
    return estimate_cost(list(asked.found.texts[asked.has_text]), embedder, store=store)


def genes(
    data: AnnData | Sequence[str],
    *,
    organism: str | None = None,
    source: str | GeneSource = "bundled",
    embedder: str | Embedder | None = None,
    id_column: str | None = None,
    store: Store | None = None,
    show_progress: bool | None = None,
) -> GeneEmbedding:
    """Find the text of each gene and its vector.

    With the defaults nothing is downloaded and nothing leaves the machine: texts and vectors ship with the package.

    Parameters
    ----------
    data
        An AnnData, whose ``var_names`` are the genes, or a sequence of gene names: symbols, Ensembl ids (with or
        without version) or NCBI GeneIDs. The names must be unique.
    organism
        ``"human"``, ``"mouse"``, ``"rat"``, or what else the source knows. None: guessed from the names, and recorded.
    source
        ``"bundled"`` (symbol, full name and GO terms), ``"bundled-names"`` (symbol and full name only, for
        evaluations in which GO terms would leak the answer), ``"ncbi"``, ``"uniprot"``, ``"table:PATH"``, or an object
        from :func:`lexicell.sources.get`.
    embedder
        What turns a text into a vector: a name such as ``"local"`` or ``"openai:text-embedding-3-large"``
        (:func:`lexicell.embedders.list` describes all) or an embedder object. None: the vectors that ship with the
        source, or ``"local"`` where it ships none.
    id_column
        Column of ``var`` to look genes up by. None: ``var_names``, or, where fewer than half of them have a text,
        the column of ``var`` that finds more; the choice is recorded in ``provenance["looked_up"]``.
    store
        Where vectors already computed are kept; default: the user's store.
    show_progress
        Whether to draw a progress bar; None: where stderr is a terminal.

    Returns
    -------
    GeneEmbedding
        ``ids`` are the names as they stand in `data`, for the genes that have a text; ``coverage`` has a row for
        every name.

    Raises
    ------
    InputError
        If names stand twice, or none has a text.
    MissingKeyError
        If `id_column` does not exist.
    ProviderError
        If a networked source or embedder fails for good. What was paid for stays in the store.

    Examples
    --------
    >>> import lexicell as lx
    >>> genes = lx.emb.genes(["SOD1", "ENSG00000120948", "not-a-gene"], organism="human")
    >>> list(genes.ids), genes.dim
    (['SOD1', 'ENSG00000120948'], 384)
    >>> genes.coverage["matched_by"].tolist()
    ['symbol', 'ensembl', '']
    """
    asked = _ask(data, organism, source, id_column)
    found, has_text = asked.found, asked.has_text
    if has_text.mean() < _POOR_MATCH:
        warnings.warn(
            f"only {has_text.sum()} of {len(asked.names)} genes have a text in '{asked.source.name}' for "
            f"{asked.organism}; see GeneEmbedding.coverage for the reason of each",
            UserWarning,
            stacklevel=2,
        )
    coverage = found.table.copy()
    coverage.insert(0, "looked_up", asked.names)
    coverage.index = pd.Index(asked.ids)
    texts = found.texts[has_text]
    kept = [i for i, h in zip(asked.ids, has_text, strict=True) if h]
    vectors, space, made_by = _vectors(found, texts, has_text, embedder, store, show_progress)
    coverage["words"] = [len(t.split()) for t in found.texts]
    coverage["text_hash"] = [_short_hash(t) for t in found.texts]
    result = GeneEmbedding.from_vectors(
        kept,
        vectors,
        texts=texts,
        table=coverage.loc[kept],
        coverage=coverage,
        provenance={
            **found.provenance,
            **made_by,
            "source": asked.source.name,
            "organism": asked.organism,
            "looked_up": asked.label,
            "texts_hash": hashlib.blake2b("\n".join(texts).encode(), digest_size=16).hexdigest(),
            "lexicell": __version__,
        },
    )
    if space:
        from ..sources._reopen import record

        record(result, space, _store(store))
    return result


def _short_hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest() if text else ""


def _store(store: Store | None) -> Store:
    if store is not None:
        return store
    from ..store import Store

    return Store()


def _vectors(
    found: GeneTexts,
    texts: NDArray[Any],
    has_text: NDArray[np.bool_],
    embedder: str | Embedder | None,
    store: Store | None,
    show_progress: bool | None,
) -> tuple[NDArray[np.float32], str, dict[str, Any]]:
    """The vector of each text, the store's space they stand in ('' for shipped ones), and who made them."""
    name = embedder if isinstance(embedder, str) else getattr(embedder, "name", None)
    shipped, _, revision = found.vectors_from.partition("@")
    if found.vectors is not None and name in (None, shipped):
        vectors = found.vectors[has_text]
        made_by = {"vectors": "bundled", "embedder": shipped, "revision": revision, "dim": int(vectors.shape[1])}
        return vectors, "", made_by
    from .. import embedders

    chosen = embedders.get(embedder or "local") if embedder is None or isinstance(embedder, str) else embedder
    # One text may stand for many genes; embed() sends each only once.
    vectors = embedders.embed(list(texts), chosen, store=_store(store), show_progress=show_progress)
    made_by = {
        "vectors": "computed",
        "embedder": chosen.name,
        "revision": chosen.revision,
        "dim": int(vectors.shape[1]),
    }
    return vectors, embedders.space_of(chosen), made_by
