"""What a labeled data set gives to others: its components and labels, computed now or read from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from .._errors import InputError
from .._expression import Expression
from ..core.genes.embedding import GeneEmbedding
from ..core.transfer.align import TransferModel
from ._transfer_input import TransferInput, read_input

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["learn", "transfer_model"]


def transfer_model(
    adata: AnnData,
    *,
    label: str,
    genes: GeneEmbedding | None = None,
    expression: Expression | None = None,
    batch: str | None = None,
) -> TransferModel:
    """Prepare a labeled data set for :func:`transfer`, to be saved and used on other data later.

    Parameters
    ----------
    adata
        Labeled cells.
    label
        Column of ``obs`` with labels. Cells without one are left out.
    genes
        Gene vectors. None: those that ``obsm["X_text"]`` was made from.
    expression
        Which matrix is read, as in :func:`transfer`.
    batch
        Column of ``obs`` with batches, as in :func:`transfer`.

    Returns
    -------
    TransferModel
        With ``save`` and, on the class, ``load``. It holds components and labels of cells, no counts; to compare
        expression itself, the data set is needed.

    Raises
    ------
    InputError
        If there are fewer than two classes, or too few genes have a text.
    MissingKeyError
        If a column or the gene vectors are not found.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> genes = lx.emb.genes(adata, organism="human")
    >>> counts = lx.Expression(library_size="n_counts")
    >>> model = lx.tl.transfer_model(adata[:, ::2].copy(), label="cell_type", genes=genes, expression=counts)
    >>> model.panel.k
    20
    """
    return learn(adata, label, genes, batch, expression or Expression())[0]


def learn(
    given: AnnData | TransferModel | str | Path,
    label: str | None,
    genes: GeneEmbedding | None,
    batch: str | None,
    expression: Expression,
) -> tuple[TransferModel, TransferInput | None]:
    """A model of labeled cells, and what was read of them; None where a model was given, which holds no expression."""
    if isinstance(given, str | Path):
        given = TransferModel.load(given)
    if isinstance(given, TransferModel):
        return given, None
    if label is None:
        raise InputError("label= names the column of obs of the labeled cells that holds the labels")
    read = read_input(given, genes, batch, expression, label)
    assert read.labels is not None
    about = {"label": label, "lexicell": __version__}
    return TransferModel(read.panel, read.labels, read.genes, read.space, about), read
