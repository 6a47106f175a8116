"""Where expression stands in an AnnData: the slot the user named, checked, and advice where it cannot be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from ._errors import InputError, MissingKeyError, check_choice, check_key
from ._matrix import Rows, open_rows
from .core._expression import NORMALIZATIONS, Expression, look

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["Slot", "find_slot", "layer_names"]


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
        """Whether values are used as l as they are."""
        return self.kind == "log1p"

    def advice(self, adata: AnnData) -> str:
        """What could be passed instead of this slot."""
        return _advice(adata, self.name)


def _label(name: str) -> str:
    return {"X": "adata.X", "raw": "adata.raw"}.get(name, f"adata.layers['{name}']")


def find_slot(adata: AnnData, *, layer: str | None, use_raw: bool, normalization: str) -> Slot:
    """The slot to read, and what its values are.

    Raises
    ------
    InputError
        If both `layer` and `use_raw` are given, the matrix is empty, or its values cannot be used or told apart.
    MissingKeyError
        If the slot does not exist.
    """
    check_choice(normalization, NORMALIZATIONS, "normalization")
    name = _choose(adata, layer, use_raw)
    matrix, genes = _matrix(adata, name)
    if matrix is None:
        raise InputError(f"adata has no X.{_advice(adata, name)}")
    rows = open_rows(matrix)
    if 0 in rows.shape:
        raise InputError(f"{_label(name)} is empty: {rows.shape[0]} cells x {rows.shape[1]} genes")
    seen = look(rows)
    kind, evidence = _settle(adata, name, seen, normalization)
    return Slot(name, rows, genes, kind, evidence)


def layer_names(adata: AnnData) -> list[str]:
    """Names of the layers; since anndata 0.13 X itself stands among them, under None."""
    return [str(key) for key in adata.layers if key is not None]


def _choose(adata: AnnData, layer: str | None, use_raw: bool) -> str:
    if layer is not None and use_raw:
        raise InputError("give either layer= or use_raw=True, not both")
    if layer is not None:
        return check_key(layer, layer_names(adata), "layer")
    if use_raw and adata.raw is None:
        raise MissingKeyError("use_raw=True, but adata.raw is not set; leave use_raw out to read X, or name a layer=")
    return "raw" if use_raw else "X"


def _matrix(adata: AnnData, name: str) -> tuple[Any, pd.Index[Any]]:
    if name == "raw":
        return adata.raw.X, adata.raw.var_names
    return (adata.X if name == "X" else adata.layers[name]), adata.var_names


def _settle(adata: AnnData, name: str, seen: Expression, stated: str) -> tuple[str, str]:
    label = _label(name)
    if seen.kind == "negative":
        raise InputError(
            f"{label} holds negative values ({seen.evidence}): it was scaled or centred, and expression cannot be "
            f"read from it.{_advice(adata, name)}"
        )
    if seen.kind == "not finite" or (stated == "auto" and seen.usable):
        # Values that are not finite are refused where they stand, by cell and gene.
        return (stated if stated != "auto" else "counts" if seen.kind == "not finite" else seen.kind), seen.evidence
    if stated == "auto":
        if name in ("X", "raw") and "log1p" in adata.uns:
            return "log1p", f"adata.uns['log1p'] says so; {seen.evidence}"
        raise InputError(
            f"cannot tell what {label} holds: {seen.evidence}. Pass normalization='log1p' if the values are log1p of "
            "normalised expression, normalization='abundance' if they are not logged (FPKM, TPM, CP10k)"
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
        matrix, _ = _matrix(adata, other)
        seen = None if matrix is None or 0 in matrix.shape else look(open_rows(matrix))
        if seen is not None and seen.usable:
            call = {"raw": "use_raw=True", "X": "neither layer= nor use_raw="}.get(other, f"layer='{other}'")
            works.append((seen.kind != "counts", f"pass {call} ({seen.kind})"))
    if works:
        return " Instead, " + " or ".join(text for _, text in sorted(works)) + "."
    return " Nothing else here holds expression either: keep the counts, for example in adata.layers['counts']."
