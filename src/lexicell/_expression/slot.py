"""Which matrix of an AnnData holds the expression: the one the user named, checked, with advice where it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError, check_choice, check_key
from ..core.expression.rows import Rows, SomeColumns, open_rows
from .kind import NORMALIZATIONS, OTHER_LOGARITHMS, Kind, look

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

__all__ = ["DEFAULT_SLOT", "Expression", "Slot", "find_slot", "gene_rows", "layer_names", "open_slot"]


@dataclass(frozen=True)
class Expression:
    """Which matrix of cells x genes is read, and what its values are.

    Parameters
    ----------
    layer
        Read ``adata.layers[layer]`` instead of ``adata.X``.
    use_raw
        Read ``adata.raw`` instead of ``adata.X``. None: neither was named, so a tool reads what the embedding it works
        on was computed from.
    normalization
        ``"counts"``, ``"abundance"`` (not logged: FPKM, TPM, CP10k), ``"log1p"``, or ``"auto"``: decided from the
        values, and refused if they do not tell.
    library_size
        Column of ``obs`` with each cell's total over all genes, for a matrix that holds only some of them. None: the
        sum over the matrix.

    Examples
    --------
    >>> import lexicell as lx
    >>> lx.Expression(layer="counts").normalization
    'auto'
    """

    layer: str | None = None
    use_raw: bool | None = None
    normalization: str = "auto"
    library_size: str | None = None

    @classmethod
    def recorded(cls, params: Mapping[str, Any]) -> Expression:
        """The slot an earlier call read, from its parameters in ``uns["lexicell"][key]["params"]``."""
        name = str(params.get("slot") or "X")
        return cls(
            layer=None if name in ("X", "raw") else name,
            use_raw=name == "raw",
            normalization=str(params.get("normalization") or "auto"),
            library_size=str(params.get("library_size") or "") or None,
        )

    def or_recorded(self, params: Mapping[str, Any] | None) -> Expression:
        """Return this choice, or the slot an earlier call read where nothing was said."""
        return Expression.recorded(params) if params and self == DEFAULT_SLOT else self

    @property
    def slot(self) -> str:
        """``"X"``, ``"raw"`` or the name of a layer."""
        return self.layer or ("raw" if self.use_raw else "X")


DEFAULT_SLOT = Expression()
"""The user named no slot."""


@dataclass(frozen=True)
class Slot:
    """A matrix of cells x genes with the names of its genes.

    Attributes
    ----------
    name
        ``"X"``, ``"raw"`` or the name of a layer.
    kind
        ``"counts"``, ``"abundance"`` or ``"log1p"``.
    evidence
        What says so.
    """

    name: str
    rows: Rows
    genes: pd.Index[Any]
    kind: str
    evidence: str

    @property
    def label(self) -> str:
        """The slot as Python writes it."""
        return _label(self.name)

    @property
    def logged(self) -> bool:
        """Whether the values are logarithms already."""
        return self.kind == "log1p"

    def advice(self, adata: AnnData) -> str:
        """What could be passed instead of this slot."""
        return _advice(adata, self.name)


def _label(name: str) -> str:
    return {"X": "adata.X", "raw": "adata.raw"}.get(name, f"adata.layers['{name}']")


def find_slot(adata: AnnData, choice: Expression) -> Slot:
    """The slot to read, and what its values are. `adata` is an AnnData, or a file of cells (`emb.CellFile`).

    Raises
    ------
    InputError
        If both a layer and raw are chosen, the matrix is empty, or its values cannot be used or told apart.
    MissingKeyError
        If the slot does not exist.
    """
    check_choice(choice.normalization, NORMALIZATIONS, "normalization")
    name = _choose(adata, choice.layer, bool(choice.use_raw))
    rows, genes = open_slot(adata, name)
    if rows is None:
        raise InputError(f"adata has no X.{_advice(adata, name)}")
    if 0 in rows.shape:
        raise InputError(f"{_label(name)} is empty: {rows.shape[0]} cells x {rows.shape[1]} genes")
    seen = look(rows)
    kind, evidence = _settle(adata, name, seen, choice.normalization)
    return Slot(name, rows, genes, kind, evidence)


def layer_names(adata: AnnData) -> list[str]:
    """Names of the layers; since anndata 0.13 X itself is among them, under None."""
    return [str(key) for key in adata.layers if key is not None]


def _choose(adata: AnnData, layer: str | None, use_raw: bool) -> str:
    """Name of the slot: ``"X"``, ``"raw"`` or the layer, if it exists."""
    if layer is not None and use_raw:
        raise InputError("give either layer= or use_raw=True, not both")
    if layer is not None and not layer_names(adata):
        raise MissingKeyError(f"no layer '{layer}': this data has no layers; leave layer= out to read X")
    if layer is not None:
        return check_key(layer, layer_names(adata), "layer")
    if use_raw and adata.raw is None:
        raise MissingKeyError("use_raw=True, but adata.raw is not set; leave use_raw out to read X, or name a layer=")
    return "raw" if use_raw else "X"


def open_slot(adata: AnnData, name: str) -> tuple[Rows | None, pd.Index[Any]]:
    """Rows of a slot over its genes, and the names of these; no rows where there is no X.

    Rows of ``var`` that are no genes, such as antibodies, are left out: see `gene_rows`.

    Parameters
    ----------
    adata
        An AnnData, or a file of cells.
    name
        ``"X"``, ``"raw"`` or the name of a layer.
    """
    source = adata.raw if name == "raw" else adata
    matrix = adata.layers[name] if name not in ("X", "raw") else source.X
    keep = gene_rows(source.var)
    if matrix is None:
        return None, source.var_names[keep]
    rows = open_rows(matrix)
    if keep.all():
        return rows, source.var_names
    return SomeColumns(rows, keep), source.var_names[keep]


def gene_rows(var: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether each row of `var` is a gene.

    Cell Ranger puts antibodies, guides and multiplexing tags among the genes, and says so in ``feature_types``.
    """
    if "feature_types" in var:
        genes = np.asarray(var["feature_types"].astype(str) == "Gene Expression")
        if genes.any():
            return genes
    return np.ones(len(var), dtype=bool)


def _settle(adata: AnnData, name: str, seen: Kind, stated: str) -> tuple[str, str]:
    """What the values are, and what says so: what was seen in them and what the user stated, reconciled."""
    label = _label(name)
    if seen.kind == "negative":
        raise InputError(
            f"{label} holds negative values ({seen.evidence}): it was scaled or centered, and expression cannot be "
            f"read from it.{_advice(adata, name)}"
        )
    if seen.kind in OTHER_LOGARITHMS:
        undo = "X.data = np.expm1(X.data)" if seen.kind == "log1p twice" else f"X.data *= np.log({seen.kind[3:]})"
        raise InputError(
            f"{label} holds {seen.kind}, not log1p: {seen.evidence}. Make it log1p first (for a sparse X: {undo})."
            f"{_advice(adata, name)}"
        )
    if seen.kind == "not finite":
        # Refused later, by cell and gene, when the values are read.
        return ("counts" if stated == "auto" else stated), seen.evidence
    if stated == "auto" and seen.usable:
        return seen.kind, seen.evidence
    if stated == "auto":
        if name in ("X", "raw") and "log1p" in adata.uns:
            return "log1p", f"adata.uns['log1p'] says so; {seen.evidence}"
        raise InputError(
            f"cannot tell what {label} holds: {seen.evidence}. Pass normalization='log1p' if the values are log1p of "
            "normalized expression, normalization='abundance' if they are not logged (FPKM, TPM, CP10k)"
        )
    if stated == "counts" and seen.kind != "counts":
        raise InputError(
            f"normalization='counts', but {label} does not hold counts: {seen.evidence}. Pass normalization='log1p' "
            f"or 'abundance', whichever it is.{_advice(adata, name)}"
        )
    return stated, f"stated; {seen.evidence}"


def _advice(adata: AnnData, name: str) -> str:
    """The call that would work, given what else the object holds."""
    works = []
    others = [*(["raw"] if adata.raw is not None else []), *layer_names(adata), "X"]
    for other in others:
        if other == name:
            continue
        rows, _ = open_slot(adata, other)
        seen = None if rows is None or 0 in rows.shape else look(rows)
        if seen is not None and seen.usable:
            call = {"raw": "use_raw=True", "X": "neither layer= nor use_raw="}.get(other, f"layer='{other}'")
            works.append((seen.kind != "counts", f"pass {call} ({seen.kind})"))
    if works:
        return " Instead, " + " or ".join(text for _, text in sorted(works)) + "."
    return " Nothing else here holds expression either: keep the counts, for example in adata.layers['counts']."
