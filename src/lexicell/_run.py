"""The pipeline behind ``lexicell run`` and ``lexicell demo``: from cells to embedding, clusters and a report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import __version__
from ._errors import InputError, check_choice, check_key
from ._io import check_writable, read_cells, write_aside, write_cells
from ._keys import X_EXPRESSION, X_FUSED, X_TEXT, leiden, prefix

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["demo", "run", "run_file"]

_REPRESENTATIONS = {"fused": X_FUSED, "text": X_TEXT, "expression": X_EXPRESSION}

# A stress response every cell can mount; the genes are textbook members of the cytosolic and ER chaperone systems.
_DEMO_PROGRAMME = ["HSPA8", "HSP90AA1", "HSP90AB1", "HSPA5", "HSPD1", "HSPE1", "DNAJB1", "DNAJA1", "HSPH1", "HSP90B1"]


def run(
    adata: AnnData,
    output: str | Path,
    *,
    organism: str | None = None,
    source: str = "bundled",
    embedder: str | None = None,
    id_column: str | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    normalization: str = "auto",
    library_size: str | None = None,
    preset: str = "whitened",
    top_n: int | str | None = "preset",
    use_rep: str = "fused",
    cell_type: str | None = None,
    resolution: float = 1.0,
    rng: int = 0,
    say: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Embed, fuse, cluster, compare with expression PCA, and write everything into one folder.

    Returns the comparison: one row a representation, with the number of clusters and, where `cell_type` is given,
    the adjusted Rand index against it. `adata` gains the keys that the single functions write.
    """
    from . import emb, tl
    from ._report import report

    output = Path(output)
    check_writable(output / "report.html")
    check_choice(use_rep, _REPRESENTATIONS, "representation")
    if cell_type is not None:
        check_key(cell_type, adata.obs.columns, "column in obs")
    started = time.perf_counter()
    counts: dict[str, Any] = {
        "layer": layer,
        "use_raw": use_raw,
        "normalization": normalization,
        "library_size": library_size,
    }
    genes = emb.genes(adata, organism=organism, source=source, embedder=embedder, id_column=id_column)
    emb.cells(adata, genes, preset=preset, top_n=top_n, key_added=X_TEXT, **counts)
    say(f"genes       {len(genes):,} of {len(genes.coverage):,} have a text ({genes.provenance['organism']}, {source})")
    covered = float(np.median(adata.obs["text_coverage"]))
    say(f"cells       {adata.n_obs:,} embedded ({preset}); median share of counts covered {covered:.1%}")
    emb.expression_pca(adata, **counts)
    emb.fuse(adata, **counts)
    rows: list[dict[str, Any]] = []
    for name, key in _REPRESENTATIONS.items():
        tl.cluster(adata, use_rep=key, resolution=resolution, rng=rng)
        labels = adata.obs[leiden(prefix(key))]
        rows.append({"representation": name, "clusters": int(labels.nunique())})
        if cell_type is not None:
            rows[-1]["ari"] = _ari(adata.obs[cell_type], labels)
    table = pd.DataFrame(rows).set_index("representation")
    key = _REPRESENTATIONS[use_rep]
    for row in rows:
        mark = "  <- chosen" if row["representation"] == use_rep else ""
        score = f", ARI against {cell_type} {row['ari']:.3f}" if cell_type is not None else ""
        say(f"clusters    {row['representation']}: {row['clusters']}{score}{mark}")
    parameters = {
        "lexicell": __version__,
        "organism": genes.provenance["organism"],
        "source": source,
        "embedder": genes.provenance["embedder"],
        "preset": preset,
        "use_rep": use_rep,
        "cell_type": cell_type or "",
        "resolution": resolution,
        "seed": int(rng),
    }
    output.mkdir(parents=True, exist_ok=True)
    write_aside(output / "genes.tsv", lambda p: genes.coverage.to_csv(p, sep="\t", index_label="gene"))
    write_aside(output / "comparison.tsv", lambda p: table.to_csv(p, sep="\t"))
    columns = [leiden(prefix(key)), "text_coverage", *([cell_type] if cell_type else [])]
    write_aside(output / "clusters.tsv", lambda p: adata.obs[columns].to_csv(p, sep="\t", index_label="cell"))
    write_aside(output / "run.json", lambda p: p.write_text(json.dumps(parameters, indent=2) + "\n"))
    write_cells(adata, output / "cells.h5ad")
    report(adata, output / "report.html", use_rep=key, color=[c for c in (cell_type,) if c])
    say(f"written     {output / 'report.html'} and 5 files beside it, in {time.perf_counter() - started:.0f} s")
    return table


def _ari(truth: pd.Series, labels: pd.Series) -> float:
    """Adjusted Rand index over the cells whose label is known."""
    from sklearn.metrics import adjusted_rand_score

    known = truth.notna().to_numpy()
    if not known.any():
        raise InputError(f"the column '{truth.name}' holds no labels")
    return float(adjusted_rand_score(truth[known].astype(str), labels[known].astype(str)))


def run_file(cells: str | Path, output: str | Path, **options: Any) -> pd.DataFrame:
    """:func:`run` on a file."""
    check_writable(Path(output) / "report.html")
    return run(read_cells(cells), output, **options)


def demo(output: str | Path, *, rng: int = 0, say: Callable[[str], None] = print) -> pd.DataFrame:
    """The whole pipeline on real blood cells, and a planted disease for the tools that need donors."""
    from . import datasets

    output = Path(output)
    check_writable(output / "report.html")
    adata = datasets.pbmc68k_counts()
    say(f"data        {adata.n_obs} blood cells, {adata.n_vars} genes (10x pbmc68k, as shipped with scanpy)")
    largest = adata.obs["cell_type"].value_counts().index[:5]
    base = adata[adata.obs["cell_type"].isin(largest)].copy()
    target = str(largest[0])
    planted = datasets.planted_vulnerability(
        base,
        cell_type="cell_type",
        target=target,
        programme=[g for g in _DEMO_PROGRAMME if g in base.var_names],
        library_size="n_counts",
        n_donors=4,
        fraction=1.0,
        rng=rng,
    )
    planted.obs["real"] = pd.Categorical(["no: planted donors"] * planted.n_obs)
    table = run(adata, output, library_size="n_counts", cell_type="cell_type", rng=rng, say=say)
    write_cells(planted, output / "planted.h5ad")
    say(f"planted     {output / 'planted.h5ad'}: 4 + 4 simulated donors, stress response planted into '{target}'")
    return table
