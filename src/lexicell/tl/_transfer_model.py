"""What a labelled data set gives to others: its components and labels, made here or read from a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from .._errors import InputError
from .._keys import X_TEXT
from ..core.embedding import GeneEmbedding
from ..core.transfer import TransferModel
from . import _sides
from ._sides import Side

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["AUTO", "Learned", "learned_from", "sizes_asked", "transfer_model"]

AUTO = "auto"
_SIZES: dict[str, Any] = {"n_components": 20, "n_top_genes": 2000}
Sizes = dict[str, Any]  # name -> int, or None for all genes


@dataclass(frozen=True, eq=False)
class Learned:
    """A source that is ready to label others.

    Attributes
    ----------
    model
        Its components and labels.
    side
        Its expression as well; None where only a saved model is at hand.
    sizes
        ``n_components`` and ``n_top_genes`` for the target.
    differing
        What of these is not as the model was made, in words; empty where all is.
    """

    model: TransferModel
    side: Side | None
    sizes: Sizes
    differing: str


def sizes_asked(n_components: int | str, n_top_genes: int | str | None) -> Sizes:
    """Keep of the two what is not left to the model.

    Raises
    ------
    InputError
        If one is no positive whole number, ``"auto"`` or, for the genes, None.
    """
    asked: Sizes = {}
    for name, value in (("n_components", n_components), ("n_top_genes", n_top_genes)):
        if value == AUTO:
            continue
        whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
        if not whole and not (value is None and name == "n_top_genes"):
            rest = ", None for all genes or 'auto'" if name == "n_top_genes" else " or 'auto'"
            raise InputError(f"{name} is a whole number above 0{rest}; got {value!r}")
        asked[name] = None if value is None else int(value)
    return asked


def learned_from(
    given: AnnData | TransferModel | str | Path,
    label: str | None,
    genes: GeneEmbedding | None,
    options: dict[str, Any],
    asked: Sizes,
) -> Learned:
    """Learn from labelled cells, or take over a model with the sizes that it was made with."""
    if isinstance(given, str | Path):
        given = TransferModel.load(given)
    if isinstance(given, TransferModel):
        made = {name: _made_with(given, name) for name in _SIZES}
        differs = [
            f"{name}={_word(asked[name])} where the model was made with {_word(made[name])}"
            for name in asked
            if asked[name] != made[name]
        ]
        text = f"the target was reduced with {' and '.join(differs)}" if differs else ""
        return Learned(given, None, {**made, **asked}, text)
    if label is None:
        raise InputError("label= names the column of the source's obs that holds the labels")
    sizes = {**_SIZES, **asked}
    side = _sides.side_of(given, genes, **options, **sizes, label=label)
    return Learned(_model(side, label, sizes), side, sizes, "")


def transfer_model(
    adata: AnnData,
    *,
    label: str,
    genes: GeneEmbedding | None = None,
    use_rep: str = X_TEXT,
    n_components: int | str = AUTO,
    n_top_genes: int | str | None = AUTO,
    batch: str | None = None,
    layer: str | None = None,
    use_raw: bool | None = None,
    library_size: str | None = None,
) -> TransferModel:
    """Make what :func:`transfer` needs of a labelled data set, to be saved and used on others later.

    Parameters
    ----------
    adata, label, genes, use_rep, batch, layer, use_raw, library_size
        As in :func:`transfer`.
    n_components, n_top_genes
        As in :func:`transfer`; ``"auto"``: 20 and 2,000. The model remembers them for its targets.

    Returns
    -------
    TransferModel
        With ``save`` and, on the class, ``load``. It holds components and labels of cells, no counts; plain expression
        needs the data set itself.

    Examples
    --------
    >>> import lexicell as lx
    >>> adata = lx.datasets.pbmc68k_counts()
    >>> genes = lx.emb.genes(adata, organism="human")
    >>> model = lx.tl.transfer_model(adata[:, ::2].copy(), label="cell_type", genes=genes, library_size="n_counts")
    >>> model.panel.k
    20
    """
    options = {
        "use_rep": use_rep, "batch": batch, "layer": layer, "use_raw": use_raw, "library_size": library_size,
    }  # fmt: skip
    return learned_from(adata, label, genes, options, sizes_asked(n_components, n_top_genes)).model


def _model(side: Side, label: str, sizes: Sizes) -> TransferModel:
    assert side.labels is not None
    about = {"label": label, "lexicell": __version__, **{name: value or 0 for name, value in sizes.items()}}
    return TransferModel(side.panel, side.labels, side.genes, side.space, about)


def _made_with(model: TransferModel, name: str) -> int | None:
    # A model of an earlier version does not say; 0 stands for all genes.
    return int(model.about.get(name, _SIZES[name])) or None


def _word(value: int | None) -> str:
    return "all" if value is None else str(value)
