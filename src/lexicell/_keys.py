"""Every AnnData key lexicell writes, once.

Keys that belong to one run carry its prefix: with ``key_added="X_text"`` the prefix is ``text``; another
``key_added`` gives another prefix, so that several runs live side by side in one object.
"""

from __future__ import annotations

from typing import Any

UNS = "lexicell"  # uns[UNS][key]: provenance and results
RUN = "run"  # uns[UNS][RUN]["steps"]: seconds and memory of each step of a run
X_TEXT = "X_text"  # obsm: cell embedding, the default key_added of emb.cells
X_FUSED = "X_text_fused"  # obsm: emb.fuse
X_EXPRESSION = "X_expression"  # obsm: emb.expression_pca, the baseline that text is compared with
COVERAGE = "text_coverage"  # obs: share of a cell's counts whose gene has text
GENE_SOURCE = "gene_text_source"  # var: where a gene's text came from
ENSEMBL_ID = "text_ensembl_id"  # var: what a gene was called before _read gave it its symbol
TRANSFER = "text_transfer"  # obs, obsm, uns[UNS]: tl.transfer
SUGGESTED = "text_suggested"  # obs, obsm, uns[UNS]: tl.annotate
OTHER_GENES = "(all other genes)"  # the row of a table of genes that makes their parts add up to the whole


def column_name(name: object) -> str:
    """A name as a column or key in an AnnData: "/" would be read as a folder in an h5ad, so it becomes "∕"."""
    return str(name).replace("/", "∕")


def space_name(embedder: object, revision: object, dim: object) -> str:
    """Name of the vector space of an embedder. Vectors can be compared within one space only."""
    return f"{embedder}@{revision}/{dim}"


def space_of(embedder: Any) -> str:
    """Name of the vector space of an embedder object."""
    return space_name(embedder.name, embedder.revision, embedder.dim)


def prefix(key: str) -> str:
    """The prefix of the keys that belong to the representation `key`: 'X_text' -> 'text'."""
    return key[2:] if key.startswith("X_") and len(key) > 2 else key


def neighbors(name: str) -> str:
    """Key of the neighbor graph in `uns` (scanpy's convention, under our own name)."""
    return f"{name}_neighbors"


def connectivities(name: str) -> str:
    """Key of the connectivities in `obsp`."""
    return f"{name}_connectivities"


def distances(name: str) -> str:
    """Key of the neighbor distances in `obsp`."""
    return f"{name}_distances"


def umap(name: str) -> str:
    """Key of the two-dimensional map in `obsm`."""
    return f"X_{name}_umap"


def leiden(name: str) -> str:
    """Key of the Leiden clusters in `obs`."""
    return f"{name}_leiden"


def coverage(name: str) -> str:
    """Key in `obs` of the share of a cell's counts whose gene has text; `COVERAGE` for the default embedding."""
    return f"{name}_coverage"


def gene_source(name: str) -> str:
    """Key in `var` of where a gene's text came from; `GENE_SOURCE` for the default embedding."""
    return f"gene_{name}_source"
