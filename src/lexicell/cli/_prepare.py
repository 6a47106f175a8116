"""What a command needs before its own work: which matrix is read, and the embedding that a file of counts lacks."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from ._options import note

if TYPE_CHECKING:
    from anndata import AnnData

    from .._expression import Expression

__all__ = ["embed_if_missing", "find_counts"]

# Names under which counts are kept. Other layers of whole numbers, such as unspliced, may be a part of the counts.
_COUNTS = ("counts", "count", "raw_counts", "raw", "umi", "umis")


def find_counts(adata: AnnData, asked: Expression, *, quiet: bool = False) -> Expression:
    """The matrix to read: the one that was named; else X, or, where X holds no counts, the counts kept beside it.

    Says which matrix it is, unless `quiet`. Logarithms in ``raw`` are taken where X was scaled.
    """
    from .._expression import find_slot, layer_names, look, open_slot

    chosen, kinds = asked, {}
    if asked.slot == "X":
        for name in ["X", "raw", *(n for n in layer_names(adata) if n.lower() in _COUNTS)]:
            rows = None if name == "raw" and adata.raw is None else open_slot(adata, name)[0]
            if rows is not None and 0 not in rows.shape:
                kinds[name] = look(rows)
        counts = [name for name, seen in kinds.items() if seen.kind == "counts"]
        if counts and "X" not in counts and asked.normalization in ("auto", "counts"):
            chosen = _named(asked, counts[0])
        elif "raw" in kinds and kinds["raw"].usable and ("X" not in kinds or kinds["X"].kind == "negative"):
            chosen = _named(asked, "raw")
    slot = find_slot(adata, chosen)
    if quiet:
        return chosen
    where = {"X": "X", "raw": "raw"}.get(slot.name, f"layer '{slot.name}'")
    why = ""
    if chosen != asked:
        x = kinds["X"].kind if "X" in kinds else "nothing"
        held = {"log1p": "logarithms (--normalization log1p reads them)", "negative": "scaled values"}.get(x, x)
        why = f"; X holds {held}"
    note(f"matrix      {where} ({slot.kind}), {len(slot.genes):,} genes{why}")
    return chosen


def _named(asked: Expression, name: str) -> Expression:
    if name == "raw":
        return replace(asked, use_raw=True)
    return replace(asked, layer=name)


def embed_if_missing(adata: AnnData, use_rep: str, asked: Expression) -> None:
    """Make the default embeddings of `lexicell run` where a command needs one that the file does not hold."""
    from .. import emb
    from .._keys import UNS, X_EXPRESSION, X_FUSED, X_TEXT

    if use_rep in adata.obsm or use_rep not in (X_TEXT, X_FUSED, X_EXPRESSION):
        return
    options = asdict(find_counts(adata, asked))
    options["use_raw"] = bool(options["use_raw"])
    if use_rep != X_EXPRESSION and X_TEXT not in adata.obsm:
        genes = emb.genes(adata, use_raw=options["use_raw"])
        emb.cells(adata, genes, preset="whitened", **options)
        species = adata.uns[UNS][X_TEXT]["provenance"]["organism"]
        note(
            f"embedding   made here with the defaults of 'lexicell run': {len(genes):,} of {len(genes.coverage):,} "
            f"genes have a text ({species})"
        )
    if use_rep == X_FUSED:
        emb.fuse(adata, **options)
    if use_rep == X_EXPRESSION:
        emb.expression_pca(adata, **options)
