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
from ._keys import UNS, X_EXPRESSION, X_FUSED, X_TEXT, leiden, prefix

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["demo", "run", "run_file"]

_REPRESENTATIONS = {"fused": X_FUSED, "text": X_TEXT, "expression": X_EXPRESSION}

# Proteostasis: proteasome subunits and chaperones, as far as the 765 genes of the demo's data hold them.
_DEMO_PROGRAMME = (
    "PSMA7 PSMB2 PSMB6 PSMC3 PSMC5 PSMD7 PSMD13 PSME2 PSMG2 POMP ADRM1 SQSTM1 STUB1 "
    "HSPB1 HSPD1 HSP90AB1 DNAJB1 DNAJC7 CCT3 CCT6A CCT8 TCP1 CALR"
)


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
    condition: str | None = None,
    reference: str | None = None,
    donor: str | None = None,
    resolution: float = 1.0,
    rng: int = 0,
    title: str = "Cells in words",
    say: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Embed, fuse, cluster, compare with expression PCA, and write everything into one folder.

    With `condition`, `reference` and `donor`, also tests which of the types in `cell_type` the condition moves.

    Returns the comparison: one row a representation, with the number of clusters and, where `cell_type` is given,
    the adjusted Rand index against it. `adata` gains the keys that the single functions write.
    """
    from . import emb, tl
    from ._report import report

    output = Path(output)
    check_writable(output / "report.html")
    check_choice(use_rep, _REPRESENTATIONS, "representation")
    for column in (cell_type, condition, donor):
        if column is not None:
            check_key(column, adata.obs.columns, "column in obs")
    design = {"cell_type": cell_type, "condition": condition, "reference": reference, "donor": donor}
    with_design = any(design[name] for name in ("condition", "reference", "donor"))
    if with_design and (missing := [name for name, value in design.items() if value is None]):
        raise InputError(f"to compare conditions, name all of {', '.join(design)}; missing: {', '.join(missing)}")
    if condition is not None:
        check_choice(str(reference), sorted(set(adata.obs[condition].astype(str))), f"level of obs['{condition}']")
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
        chosen = name == use_rep
        # Maps and repeats take most of the time, and only the chosen representation is shown with them.
        tl.cluster(adata, use_rep=key, resolution=resolution, umap=chosen, n_repeats=5 if chosen else 0, rng=rng)
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
    shift = _vulnerability(adata, design, rng=rng, say=say) if with_design else None
    parameters = {
        "lexicell": __version__,
        "organism": genes.provenance["organism"],
        "source": source,
        "embedder": genes.provenance["embedder"],
        "preset": preset,
        "use_rep": use_rep,
        **{name: value or "" for name, value in design.items()},
        "resolution": resolution,
        "seed": int(rng),
    }
    output.mkdir(parents=True, exist_ok=True)
    write_aside(output / "genes.tsv", lambda p: genes.coverage.to_csv(p, sep="\t", index_label="gene"))
    write_aside(output / "comparison.tsv", lambda p: table.to_csv(p, sep="\t"))
    columns = [leiden(prefix(key)), "text_coverage", *([cell_type] if cell_type else [])]
    write_aside(output / "clusters.tsv", lambda p: adata.obs[columns].to_csv(p, sep="\t", index_label="cell"))
    write_aside(output / "run.json", lambda p: p.write_text(json.dumps(parameters, indent=2) + "\n"))
    if shift is not None:
        write_aside(output / "vulnerability.tsv", lambda p: shift.to_csv(p, sep="\t", index=False))
    write_cells(adata, output / "cells.h5ad")
    report(adata, output / "report.html", use_rep=key, color=[c for c in (cell_type, condition) if c], title=title)
    say(f"written     {output / 'report.html'} and the tables beside it, in {time.perf_counter() - started:.0f} s")
    return table


def _vulnerability(adata: AnnData, design: dict[str, Any], *, rng: int, say: Callable[[str], None]) -> pd.DataFrame:
    """Test which types the condition moves; the most moved first."""
    from . import tl

    tl.vulnerability(adata, use_rep=X_TEXT, rng=rng, controls=True, **design)
    found = adata.uns[UNS][X_TEXT]["vulnerability"]["table"].sort_values("d2", ascending=False)
    for _, row in found.head(3).iterrows():
        numbers = f"d2 {row['d2']:.3g}, p {row['p']:.3f}, max-T p {row['p_max_t']:.3f}"
        say(f"shift       {row['cell_type']}: {numbers if row['p'] == row['p'] else row['status']}")
    return pd.DataFrame(found)


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
    """The whole pipeline on real blood cells, and again on a disease planted into them, with its report."""
    from . import datasets

    output = Path(output)
    check_writable(output / "report.html")
    adata = datasets.pbmc68k_counts()
    say(f"data        {adata.n_obs} blood cells, {adata.n_vars} genes (10x pbmc68k, as shipped with scanpy)")
    table = run(adata, output, library_size="n_counts", cell_type="cell_type", rng=rng, say=say)
    largest = adata.obs["cell_type"].value_counts().index[:5]
    base = adata[adata.obs["cell_type"].isin(largest)].copy()
    target = str(largest[0])
    planted = datasets.planted_vulnerability(
        base,
        cell_type="cell_type",
        target=target,
        programme=_DEMO_PROGRAMME.split(),
        library_size="n_counts",
        fold=3.0,
        fraction=1.0,
        rng=rng,
    )
    say(f"\nplanted     4 + 4 simulated donors from these cells, proteasome and chaperones up threefold in '{target}'")
    run(
        planted,
        output / "planted",
        library_size="n_counts",
        cell_type="cell_type",
        condition="condition",
        reference="control",
        donor="donor",
        rng=rng,
        title="A planted disease in words",
        say=say,
    )
    return table
