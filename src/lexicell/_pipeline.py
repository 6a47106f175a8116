"""The pipeline behind ``lexicell run`` and ``lexicell demo``: from cells to embedding, clusters and a report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from . import __version__
from ._errors import InputError, check_choice, check_key
from ._expression import DEFAULT_SLOT, Expression, values_kept
from ._files import check_folder, write_file
from ._io import write_cells, write_table
from ._keys import COVERAGE, RUN, UNS, X_EXPRESSION, X_FUSED, X_TEXT, leiden, prefix
from ._progress import Steps
from ._results import get, keep_results
from .core.donors.design import StudyDesign

if TYPE_CHECKING:
    from anndata import AnnData

    from .core.genes.embedding import GeneEmbedding

__all__ = ["Settings", "demo", "run"]

_REPRESENTATIONS = {"fused": X_FUSED, "text": X_TEXT, "expression": X_EXPRESSION}

_SUMMARIZED = 5  # clusters named at the end

# What a run writes into its folder; the mark is the one that only a run writes.
_MARK = "run.json"
_TABLES = ("genes.tsv", "comparison.tsv", "clusters.tsv", "vulnerability.tsv", "steps.tsv")
_FILES = (*_TABLES, _MARK, "cells.h5ad", "report.html", "study.toml")

# Proteostasis: proteasome subunits and chaperones, as far as the 765 genes of the demo's data hold them.
_DEMO_PROGRAM = (
    "PSMA7 PSMB2 PSMB6 PSMC3 PSMC5 PSMD7 PSMD13 PSME2 PSMG2 POMP ADRM1 SQSTM1 STUB1 "
    "HSPB1 HSPD1 HSP90AB1 DNAJB1 DNAJC7 CCT3 CCT6A CCT8 TCP1 CALR"
)


def check_output(output: str | Path, inputs: Iterable[str | Path] = ()) -> Path:
    """Check that a run can write into the folder `output`, and would replace only what an earlier run wrote."""
    return check_folder(output, _FILES, mark=_MARK, words='"lexicell"', inputs=inputs)


@dataclass(frozen=True)
class Settings:
    """How a run is done.

    Parameters
    ----------
    organism, source, embedder, id_column
        As in :func:`lexicell.emb.genes`.
    expression
        Which matrix holds the expression.
    preset, top_n
        As in :func:`lexicell.emb.cells`.
    use_rep
        What is shown in the report: ``"fused"``, ``"text"`` or ``"expression"``.
    cell_type
        Column of ``obs`` with known labels, to compare the clusters with.
    condition, reference, donor
        With all three and `cell_type`, also tests which types the condition changes; as in
        :func:`lexicell.tl.vulnerability`.
    resolution
        Leiden resolution.
    compare
        Cluster all cells by the representations that are not shown, too. Otherwise, of more than 20,000 cells, these
        are compared on 20,000 drawn at random.
    min_genes
        A run is refused if fewer genes than this, and less than half of them, have a text.
    rng
        Random seed.
    title
        Heading of the report.
    """

    organism: str | None = None
    source: str = "bundled"
    embedder: str | None = None
    id_column: str | None = None
    expression: Expression = DEFAULT_SLOT
    preset: str = "whitened"
    top_n: int | str | None = "preset"
    use_rep: str = "fused"
    cell_type: str | None = None
    condition: str | None = None
    reference: str | None = None
    donor: str | None = None
    resolution: float = 1.0
    compare: bool = False
    min_genes: int = 20
    rng: int = 0
    title: str = "Cells in words"


def run(
    adata: AnnData, output: str | Path, settings: Settings | None = None, *, say: Callable[[str], None] = print
) -> pd.DataFrame:
    """Embed, fuse, cluster, compare with expression PCA, and write everything into one folder.

    Returns the comparison: one row per representation, with the number of clusters and, with `cell_type`, the adjusted
    Rand index with it. `adata` gets the keys that the single functions write.
    """
    settings = settings or Settings()
    output = check_output(output)
    design = _check(adata, settings)
    steps = Steps(say)
    shift = None
    # Nothing below changes the expression.
    with values_kept():
        genes = _embed(adata, settings, steps, say)
        table = _cluster(adata, settings, steps, say)
        if design is not None:
            with steps.step("vulnerability with controls"):
                shift = _vulnerability(adata, design, rng=settings.rng, say=say)
        _write(adata, output, settings, genes, table, shift, steps)
    for line in steps.lines():
        say(line)
    _summarize(adata, settings, output, say)
    seconds = steps.table()["seconds"].sum()
    say(f"written     {output / 'report.html'} and the tables beside it, in {seconds:.0f} s")
    return table


def _check(adata: AnnData, settings: Settings) -> StudyDesign | None:
    """Check columns and design before the long work begins; the design, if conditions are to be compared."""
    check_choice(settings.use_rep, _REPRESENTATIONS, "representation")
    names = ("cell_type", "condition", "reference", "donor")
    given = {name: getattr(settings, name) for name in names if getattr(settings, name) is not None}
    for name, column in given.items():
        if name != "reference":
            check_key(column, adata.obs.columns, "column in obs")
    if set(given) <= {"cell_type"}:
        return None
    missing = [name for name in names if name not in given]
    if missing:
        raise InputError(f"to compare conditions, name all of {', '.join(names)}; missing: {', '.join(missing)}")
    design = StudyDesign(**given)
    design.check(adata.obs)
    return design


def _embed(adata: AnnData, settings: Settings, steps: Steps, say: Callable[[str], None]) -> GeneEmbedding:
    """Write the three representations into `adata`; the gene vectors behind them."""
    from . import emb

    counts = asdict(settings.expression)
    with steps.step("gene texts and vectors"):
        genes = emb.genes(
            adata,
            organism=settings.organism,
            source=settings.source,
            embedder=settings.embedder,
            id_column=settings.id_column,
            use_raw=bool(settings.expression.use_raw),
        )
    if len(genes) < settings.min_genes and len(genes) < 0.5 * len(genes.coverage):
        raise InputError(
            f"only {len(genes)} of {len(genes.coverage)} genes have a text, which is too few: check the gene names and "
            f"organism=, or continue with min_genes={len(genes)}"
        )
    with steps.step("cell embedding"):
        emb.cells(adata, genes, preset=settings.preset, top_n=settings.top_n, key_added=X_TEXT, **counts)
    organism = genes.provenance["organism"]
    say(f"genes       {len(genes):,} of {len(genes.coverage):,} have a text ({organism}, {settings.source})")
    covered = float(np.median(adata.obs[COVERAGE]))
    say(f"cells       {adata.n_obs:,} embedded ({settings.preset}); median share of counts covered {covered:.1%}")
    with steps.step("components of expression"):
        emb.expression_pca(adata, **counts)
    with steps.step("fusion"):
        emb.fuse(adata, **counts)
    return genes


def _cluster(adata: AnnData, settings: Settings, steps: Steps, say: Callable[[str], None]) -> pd.DataFrame:
    """Cluster by what is shown, and compare with the other representations; one row each."""
    from . import tl

    key = _REPRESENTATIONS[settings.use_rep]
    with steps.step("clusters, words and map"):
        tl.cluster(adata, use_rep=key, resolution=settings.resolution, rng=settings.rng)
    shown = adata.obs[leiden(prefix(key))].cat.codes.to_numpy()
    sample = None if settings.compare else tl.sample_of(adata.n_obs, settings.rng)
    rows = []
    with steps.step("comparison of representations"):
        for name, other in _REPRESENTATIONS.items():
            chosen = None if name == settings.use_rep else sample
            codes = shown
            if other != key:
                codes = _partition(adata.obsm[other], chosen, settings)
                if chosen is None:
                    adata.obs[leiden(prefix(other))] = pd.Categorical(codes.astype(str), _names(codes))
            row: dict[str, Any] = {"representation": name, "clusters": int(codes.max()) + 1, "cells": len(codes)}
            if settings.cell_type is not None:
                truth = adata.obs[settings.cell_type]
                row["ari"] = _ari(truth if chosen is None else truth.iloc[chosen], pd.Series(codes))
            rows.append(row)
    for row in rows:
        line = f"clusters    {row['representation']}: {row['clusters']}"
        if row["cells"] < adata.n_obs:
            line += f" of {row['cells']:,} cells drawn at random"
        if settings.cell_type is not None:
            line += f", ARI with {settings.cell_type} {row['ari']:.3f}"
        if row["representation"] == settings.use_rep:
            line += "  <- in the report"
        say(line)
    reason = "as asked"
    if settings.use_rep == Settings.use_rep:
        reason = "text and expression together, the default; not chosen by these scores, which vary with data and seed"
    say(f"report      shows {settings.use_rep}: {reason}")
    return pd.DataFrame(rows).set_index("representation")


def _partition(matrix: NDArray[Any], chosen: NDArray[np.int64] | None, settings: Settings) -> NDArray[np.int64]:
    """Clusters of all or some cells, as `tl.cluster` finds them."""
    from . import tl

    part = matrix if chosen is None else matrix[chosen]
    graph = tl.graph_of(part, min(15, len(part) - 1), settings.rng)
    return tl.leiden(graph)(settings.resolution, settings.rng)


def _names(codes: NDArray[np.int64]) -> list[str]:
    return [str(k) for k in range(int(codes.max()) + 1)]


def _vulnerability(adata: AnnData, design: StudyDesign, *, rng: int, say: Callable[[str], None]) -> pd.DataFrame:
    """Test which types the condition changes; the largest shift first."""
    from . import tl

    tl.vulnerability(adata, design, rng=rng, controls=True)
    found = adata.uns[UNS][X_TEXT]["vulnerability"]["table"].sort_values("d2", ascending=False)
    for _, row in found.head(3).iterrows():
        result = row["status"]
        if np.isfinite(row["p"]):
            result = f"family-wise p {row['p_max_t']:.3f} (smallest p possible with these donors: {row['p_floor']:.3f})"
        say(f"shift       {row['cell_type']}: {result}")
    return pd.DataFrame(found)


def _write(
    adata: AnnData,
    output: Path,
    settings: Settings,
    genes: GeneEmbedding,
    table: pd.DataFrame,
    shift: pd.DataFrame | None,
    steps: Steps,
) -> None:
    from ._report import report

    key = _REPRESENTATIONS[settings.use_rep]
    parameters = {
        "lexicell": __version__,
        "organism": genes.provenance["organism"],
        "source": settings.source,
        "embedder": genes.provenance["embedder"],
        "preset": settings.preset,
        "use_rep": settings.use_rep,
        "cell_type": settings.cell_type or "",
        "condition": settings.condition or "",
        "reference": settings.reference or "",
        "donor": settings.donor or "",
        "resolution": settings.resolution,
        "seed": settings.rng,
    }
    columns = [leiden(prefix(key)), COVERAGE]
    if settings.cell_type is not None:
        columns.append(settings.cell_type)
    # First the file that tells a later run that the folder is of its kind.
    write_file(output / _MARK, lambda p: p.write_text(json.dumps(parameters, indent=2) + "\n"))
    write_table(genes.coverage, output / "genes.tsv", index=True, index_label="gene")
    write_table(table, output / "comparison.tsv", index=True)
    write_table(adata.obs[columns], output / "clusters.tsv", index=True, index_label="cell")
    if shift is not None:
        write_table(shift, output / "vulnerability.tsv")
    keep_results(adata, RUN, {"steps": steps.table()}, replace=True)
    with steps.step("writing cells"):
        write_cells(adata, output / "cells.h5ad")
    keep_results(adata, RUN, {"steps": steps.table()}, replace=True)
    color = [column for column in (settings.cell_type, settings.condition) if column is not None]
    with steps.step("report"):
        report(adata, output / "report.html", use_rep=key, color=color, title=settings.title)
    write_table(steps.table(), output / "steps.tsv", float_format="%.3f")


def _summarize(adata: AnnData, settings: Settings, output: Path, say: Callable[[str], None]) -> None:
    """Say in words what was found, and where more is to be seen."""
    from ._report import findings

    clusters = get(adata, "cluster", use_rep=_REPRESENTATIONS[settings.use_rep])
    say("\nFound:")
    for name, row in clusters.head(_SUMMARIZED).iterrows():
        told = [str(row.get(column) or "").split("; ")[0] for column in ("cell_types", "processes", "genes")]
        say(f"  cluster {name}: {row['cells']} cells; {', '.join(part for part in told if part)}")
    if len(clusters) > _SUMMARIZED:
        say(f"  and {len(clusters) - _SUMMARIZED} further clusters")
    if settings.condition is not None:
        result = adata.uns[UNS][X_TEXT]["vulnerability"]
        for comparison in result["params"]["comparisons"]:
            for sentence in findings(result, str(comparison)):
                say(f"  {sentence}")
    say(f"Open {output / 'report.html'} in a browser. Ask with your own words:")
    say(f"  lexicell concepts {output / 'cells.h5ad'} -q 'a phrase' -o scores.tsv\n")


def _ari(truth: pd.Series, labels: pd.Series) -> float:
    """Adjusted Rand index over the cells whose label is known."""
    from sklearn.metrics import adjusted_rand_score

    known = truth.notna().to_numpy()
    if not known.any():
        raise InputError(f"the column '{truth.name}' holds no labels")
    return float(adjusted_rand_score(truth[known].astype(str), labels.to_numpy()[known].astype(str)))


def demo(output: str | Path, *, rng: int = 0, say: Callable[[str], None] = print) -> pd.DataFrame:
    """The whole pipeline on real blood cells, and again on a disease planted into them, with its report."""
    from . import datasets

    output = check_output(output)
    check_output(output / "planted")
    settings = Settings(expression=Expression(library_size="n_counts"), cell_type="cell_type", rng=rng)
    adata = datasets.pbmc68k_counts()
    say(f"data        {adata.n_obs} blood cells, {adata.n_vars} genes (10x pbmc68k, as shipped with scanpy)")
    table = run(adata, output, settings, say=say)
    largest = adata.obs["cell_type"].value_counts().index[:5]
    target = str(largest[0])
    planted = datasets.planted_vulnerability(
        adata[adata.obs["cell_type"].isin(largest)].copy(),
        cell_type="cell_type",
        target=target,
        program=_DEMO_PROGRAM.split(),
        library_size="n_counts",
        fold=3.0,
        fraction=1.0,
        rng=rng,
    )
    say(f"\nplanted     4 + 4 simulated donors from these cells, proteasome and chaperones up threefold in '{target}'")
    settings = replace(
        settings, condition="condition", reference="control", donor="donor", title="A planted disease in words"
    )
    run(planted, output / "planted", settings, say=say)
    return table
