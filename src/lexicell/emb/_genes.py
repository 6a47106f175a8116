"""Gene names -> texts -> vectors."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import __version__
from .._errors import InputError, check_column, choices
from .._expression import gene_rows
from .._keys import ENSEMBL_ID, space_of
from ..core.genes.embedding import GeneEmbedding
from ..sources import GeneSource, GeneTexts, guess_organism, record, row_numbers
from ..sources import get as get_source
from ..store import Store

if TYPE_CHECKING:
    from anndata import AnnData

    from ..embedders import CostEstimate, Embedder

__all__ = ["cost", "genes"]

# Below this share of names with a text, another column of var is tried, and a warning follows.
_POOR_MATCH = 0.5
# Of a whole data set, so few matches are chance: the names are of another species or no gene names.
_NEXT_TO_NOTHING = 0.05
_MANY_NAMES = 100


def _unique(names: Iterable[Any]) -> list[str]:
    index = pd.Index([str(name) for name in names])
    if not index.is_unique:
        twice = index[index.duplicated()].unique()
        raise InputError(
            f"{len(twice)} gene names are not unique: {choices(twice, limit=5)}; "
            "make them unique first with adata.var_names_make_unique()"
        )
    return list(index)


def _only_genes(var: pd.DataFrame) -> pd.DataFrame:
    """The rows of `var` that are genes; says how many others there are."""
    keep = gene_rows(var)
    if not keep.all():
        others = sorted(set(var["feature_types"][~keep].astype(str)))
        warnings.warn(
            f"{(~keep).sum()} of {len(var)} rows of var are not genes ({', '.join(others)}); they are left out",
            UserWarning,
            stacklevel=4,
        )
    return var[keep]


def _candidates(
    data: AnnData | Sequence[str], id_column: str | None, use_raw: bool
) -> tuple[list[str], dict[str, list[str]]]:
    """Names that will be the ids, and names to look up, by where they come from; the first are preferred."""
    var = getattr(data, "var", None)
    if var is None:
        names = _unique(data)
        return names, {"names": names}
    if use_raw:
        raw = getattr(data, "raw", None)
        if raw is None:
            raise InputError("use_raw=True, but adata.raw is not set; leave use_raw out to look up adata.var_names")
        var = raw.var
    var = _only_genes(var)
    ids = _unique(var.index)
    if id_column is not None:
        check_column(var, id_column, "column in var")
        return ids, {f"var['{id_column}']": [str(v) for v in var[id_column]]}
    found = {"var_names": ids}
    if ENSEMBL_ID in var:
        # Symbols are for reading; the ids they were made of tell every gene from all others.
        found = {f"var['{ENSEMBL_ID}']": [str(v) for v in var[ENSEMBL_ID]], **found}
    for column in var.columns.difference([ENSEMBL_ID], sort=False):
        is_text = var[column].dtype.kind in "OUT" or str(var[column].dtype) in ("category", "string", "str")
        # Columns with few different values are no names of genes.
        if is_text and var[column].nunique() > len(var) // 2:
            found[f"var['{column}']"] = [str(v) for v in var[column]]
    return ids, found


def _poor_match(names: list[str], source: GeneSource, organism: str, n_matched: int) -> InputError:
    """What to tell if no gene, or next to none, is known: names of both sides, and which species they look like."""
    guess = guess_organism(names)
    hint = ""
    if guess.organism:
        hint = f" The names look like {guess.organism} genes ({guess.evidence})."
        if guess.organism != organism:
            hint += f" Pass organism='{guess.organism}'."
    usual = ["TP53", "ACTB", "Trp53", "Actb"]
    texts = source.texts(usual, organism=organism).texts
    known = [name for name, text in zip(usual, texts, strict=True) if text]
    found = (
        f"only {n_matched} of the {len(names)} gene names are"
        if n_matched
        else f"none of the {len(names)} gene names is"
    )
    return InputError(
        f"{found} known to the source '{source.name}' for {organism}: "
        f"the data has {choices(names[:5])}, the source has names such as {choices(known)}.{hint} "
        "If another column of var holds symbols or Ensembl ids, name it with id_column="
    )


@dataclass(frozen=True, eq=False)
class _Answer:
    """What a source knows of the genes of a data set."""

    source: GeneSource
    organism: str
    guessed_from: str  # empty if the caller named the species
    ids: list[str]  # as in the data
    names: list[str]  # as they were looked up
    label: str  # where those come from
    found: GeneTexts

    @property
    def has_text(self) -> NDArray[np.bool_]:
        return np.array([bool(text) for text in self.found.texts])

    @property
    def share(self) -> float:
        return float(self.has_text.mean())


def _ask(
    data: AnnData | Sequence[str],
    organism: str | None,
    source: str | GeneSource,
    id_column: str | None,
    use_raw: bool = False,
) -> _Answer:
    """The texts of genes, looked up by their names, or by the column of var that finds more."""
    asked = get_source(source) if isinstance(source, str) else source
    ids, options = _candidates(data, id_column, use_raw)
    if not ids:
        raise InputError("there are no genes: the data has no columns")
    usable = {label: names for label, names in options.items() if not row_numbers(names)}
    if not usable:
        raise InputError(
            f"the gene names in {next(iter(options))} ({choices(ids[:3])} ...) look like row numbers, not like genes: "
            "set adata.var_names to symbols or Ensembl ids, or name the column of var that holds them with id_column="
        )
    best: _Answer | None = None
    for label, names in usable.items():
        species, evidence = organism, ""
        if species is None:
            guess = guess_organism(names)
            species, evidence = guess.organism or "human", guess.evidence
        answer = _Answer(asked, species, evidence, ids, names, label, asked.texts(names, organism=species))
        if best is None or answer.share > best.share:
            best = answer
        if label == next(iter(usable)) and best.share >= _POOR_MATCH:
            break
    assert best is not None  # there is at least one option
    matched = best.found.table.get("matched_by")
    n_matched = 0 if matched is None else int((matched != "").sum())
    # A source may have texts of a few genes only, or not say how it matched: neither means another species.
    strange = len(best.names) >= _MANY_NAMES and 0 < n_matched < _NEXT_TO_NOTHING * len(best.names)
    if not best.share or strange:
        raise _poor_match(best.names, asked, best.organism, n_matched if strange else 0)
    return best


def cost(
    data: AnnData | Sequence[str],
    *,
    organism: str | None = None,
    source: str | GeneSource = "bundled",
    embedder: str | Embedder = "local",
    id_column: str | None = None,
    use_raw: bool = False,
    store: Store | None = None,
) -> CostEstimate:
    """Tell what :func:`genes` with the same arguments would send, and what that would cost. Sends nothing.

    Parameters
    ----------
    data, organism, source, embedder, id_column, use_raw, store
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

    asked = _ask(data, organism, source, id_column, use_raw)
    return estimate_cost(list(asked.found.texts[asked.has_text]), embedder, store=store)


def genes(
    data: AnnData | Sequence[str],
    *,
    organism: str | None = None,
    source: str | GeneSource = "bundled",
    embedder: str | Embedder | None = None,
    id_column: str | None = None,
    use_raw: bool = False,
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
        ``"human"``, ``"mouse"``, ``"rat"``, or what else the source knows. None: guessed from the names; what it was
        guessed from is recorded in ``provenance["organism_guessed_from"]``.
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
    use_raw
        Look up the genes of ``adata.raw`` instead: pass it where expression is read from there.
    store
        Where vectors already computed are kept; default: the user's store.
    show_progress
        Whether to draw a progress bar; None: where stderr is a terminal.

    Returns
    -------
    GeneEmbedding
        ``ids`` are the names as in `data`, for the genes that have a text; ``coverage`` has a row for
        every name.

    Raises
    ------
    InputError
        If names are not unique or are row numbers, if none has a text, or if of 100 names or more under 5 % are genes
        of the species; the message names the species that the names look like.
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
    asked = _ask(data, organism, source, id_column, use_raw)
    found, has_text = asked.found, asked.has_text
    if asked.share < _POOR_MATCH:
        warnings.warn(
            f"only {has_text.sum()} of {len(asked.names)} genes have a text in '{asked.source.name}' for "
            f"{asked.organism}; lexicell.emb.coverage lists the reason of each",
            UserWarning,
            stacklevel=2,
        )
    coverage = found.table.copy()
    coverage.insert(0, "looked_up", asked.names)
    coverage.index = pd.Index(asked.ids)
    coverage["words"] = [len(text.split()) for text in found.texts]
    coverage["text_hash"] = [_digest(text, 8) if text else "" for text in found.texts]
    texts, kept = found.texts[has_text], coverage.index[has_text]
    name = embedder if isinstance(embedder, str) else getattr(embedder, "name", None)
    made_by, _, revision = found.vectors_from.partition("@")
    model: Embedder | None = None
    if found.vectors is not None and name in (None, made_by):
        vectors = found.vectors[has_text]
    else:
        from .. import embedders

        model = embedders.get(embedder or "local") if embedder is None or isinstance(embedder, str) else embedder
        made_by, revision = model.name, model.revision
        store = Store() if store is None else store
        # One text may belong to several genes; embed() sends each only once.
        vectors = embedders.embed(list(texts), model, store=store, show_progress=show_progress)
    result = GeneEmbedding.from_vectors(
        kept,
        vectors,
        texts=texts,
        table=coverage.loc[kept],
        coverage=coverage,
        provenance={
            **found.provenance,
            "vectors": "bundled" if model is None else "computed",
            "embedder": made_by,
            "revision": revision,
            "dim": int(vectors.shape[1]),
            "source": asked.source.name,
            "organism": asked.organism,
            **({"organism_guessed_from": asked.guessed_from} if asked.guessed_from else {}),
            "looked_up": asked.label,
            "texts_hash": _digest("\n".join(texts), 16),
            "lexicell": __version__,
        },
    )
    if model is not None and store is not None:
        record(result, space_of(model), store)
    return result


def _digest(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()
