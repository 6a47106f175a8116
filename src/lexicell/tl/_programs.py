"""Gene programs, named by concepts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .. import _keys
from .._errors import InputError
from .._expression import Expression, read_values, variable_genes
from .._results import keep_results, recorded_params, stack_tables
from ..core.genes.embedding import GeneEmbedding
from ..core.genes.programs import gene_programs, text_smoothing
from . import _describe
from . import words as _words

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["programs"]

_N_WORDS = 5  # concepts per program


def programs(
    adata: AnnData,
    *,
    n_programs: int = 15,
    n_top_genes: int = 2000,
    text_weight: float = 0.5,
    n_genes: int = 25,
    queries: _words.Queries | None = None,
    use_rep: str = _keys.X_TEXT,
    genes: GeneEmbedding | None = None,
    expression: Expression | None = None,
    key_added: str = "programs",
    copy: bool = False,
) -> AnnData | None:
    r"""Find the gene programs that are active in the data, and name them by concepts.

    Expression is smoothed over each gene's ten nearest genes by text
    (:func:`lexicell.core.genes.programs.text_smoothing`) and factored into non-negative, sparse programs
    (:func:`lexicell.core.genes.programs.gene_programs`): genes that go up together *and* have similar texts.

    Parameters
    ----------
    adata
        Cells with expression; only gene vectors are taken from the representation.
    n_programs
        How many at most; empty ones are left out.
    n_top_genes
        Variable genes used.
    text_weight
        Share of a gene's value that comes from its text neighbors, 0 to 1. With 0, texts only name the programs.
    n_genes
        Genes listed per program.
    queries
        Phrases for names, or ``{phrase: vector}`` to bring their own vectors, shape ``(dim,)`` each; None: the shipped
        lexicon, and no names if none of its words finds a gene.
    use_rep, genes
        The embedding whose gene vectors are used, or the vectors themselves.
    expression
        Which matrix is read, and what its values are; None: that of `use_rep`.
    key_added
        Name of the result.
    copy
        Return a new object instead of writing into `adata`.

    Returns
    -------
    None, or the new object. Writes

    ``obsm["text_programs"]``
        DataFrame of cells x programs (``P1`` ...), float32: usage of each program in each cell; programs in order of
        their share of the expression.
    ``uns["lexicell"][use_rep][key_added]``
        ``table``: one row per program: ``program``, ``share``, ``n_genes`` (with a weight), ``name`` (its first
        concept), ``genes``. ``genes``: one row per program and gene: ``group`` (program), ``rank``, ``gene``,
        ``weight``. ``concepts``: one row per program and concept, five each: ``group``, ``rank``, ``concept``, ``z``
        (of the weights, against random gene sets of matched expression: a scale, not a test), ``genes``. ``params``,
        with the relative ``error`` of the factors.

    Raises
    ------
    InputError
        If a number is out of range.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> lx.emb.cells(adata, lx.emb.genes(adata), library_size="n_counts")
    >>> lx.tl.programs(adata, n_programs=6)
    >>> len(adata.obsm["text_programs"])
    700
    """
    adata = adata.copy() if copy else adata
    if not 0 <= text_weight <= 1 or min(n_top_genes, n_genes) < 1:
        raise InputError("text_weight must be between 0 and 1, and n_top_genes and n_genes at least 1")
    known = _words.gene_vectors(adata, use_rep, genes)
    phrases = _words.shipped_lexicon(known) if queries is None else _words.phrases_of(queries, known)
    values = read_values(adata, expression or Expression(), like=recorded_params(adata, use_rep))
    z = _words.zscores(values, known)
    chosen = np.flatnonzero(np.isin(z.ids, values.genes[variable_genes(values, n_top_genes)]))
    if len(chosen) < 2:
        raise InputError("fewer than two variable genes have a text; raise n_top_genes")
    log = sp.csr_matrix(values.log[:, values.rows(z.ids[chosen])], dtype=np.float64)
    found = gene_programs(log, text_smoothing(z.vectors[chosen], share=text_weight), n_programs)
    names = [f"P{k + 1}" for k in range(len(found.share))]
    if not names:
        raise InputError("no program was found: the genes do not vary together; lower text_weight or use more genes")
    # Over all genes with text, zero for those that were not factored: genes and words are looked up there.
    weights = np.zeros((len(names), len(z.ids)))
    weights[:, chosen] = found.loadings

    def heaviest(k: int, best: NDArray[np.intp]) -> dict[str, Any]:
        return {"gene": z.ids[best], "weight": weights[k, best]}

    listed = _describe.ranking(names, weights, n_genes, heaviest)
    result: dict[str, Any] = {"genes": listed}
    table = pd.DataFrame({"program": names, "name": "", "share": found.share, "n_genes": (weights > 0).sum(axis=1)})
    table["genes"] = _describe.first_of_each(listed, "gene", names, ", ")
    if phrases is not None:
        # Against random genes of the same expression, among the genes that were factored.
        words = _describe.words(z, weights, names, phrases, n_words=_N_WORDS, among=chosen).drop(columns="score")
        result["concepts"] = words
        table["name"] = _describe.first_of_each(words, "concept", names, "; ", n=1)
    result["table"] = stack_tables([table])
    result["params"] = {
        "n_programs": n_programs,
        "n_top_genes": n_top_genes,
        "text_weight": text_weight,
        "genes_used": len(chosen),
        "error": found.error,
        "words": phrases.source if phrases is not None else "",
    }
    adata.obsm[f"{_keys.prefix(use_rep)}_{key_added}"] = pd.DataFrame(
        found.usage.astype(np.float32), index=adata.obs_names, columns=names
    )
    keep_results(adata, use_rep, {key_added: result})
    return adata if copy else None
