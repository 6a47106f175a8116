"""Learn the gene prior that ships with lexicell: labelled cells -> data/gene_prior.npz and gene_prior.json.

    python tools/build_gene_prior.py DATA_FOLDER

DATA_FOLDER holds the labelled .h5ad files named in REFERENCES; pbmc68k comes with scanpy. What ships is 2 x 5 x 385
numbers and the evidence for them, no cell and no count. evaluation/gene_prior uses the same references.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import anndata
import numpy as np

import lexicell as lx
from lexicell.core.gene_prior import evidence, family, fit, fold_of, together
from lexicell.emb._gene_prior import reference_targets

DATA = Path(__file__).parents[1] / "src" / "lexicell" / "data"
REFERENCES = {  # name: file, label, study
    "blood, Kang": ("kang_pbmc.h5ad", "cell_type", "Kang"),
    "blood, pbmc68k": (None, "cell_type", "68k"),
    "motor cortex, mouse": ("m1_patchseq.h5ad", "RNA_family", "M1"),
    "lung cancer lines, CEL-seq2": ("mixology_celseq2_3cl.h5ad", "cell_line", "mixology"),
    "lung cancer lines, Drop-seq": ("mixology_dropseq_3cl.h5ad", "cell_line", "mixology"),
}


def load(name: str, folder: Path) -> tuple[anndata.AnnData, str]:
    """Counts in X and the column of labels."""
    file, label, _ = REFERENCES[name]
    adata = lx.datasets.pbmc68k_counts() if file is None else anndata.read_h5ad(folder / file)
    adata.var_names_make_unique()
    if "counts" in adata.layers:
        adata.X = adata.layers["counts"]
    labels = adata.obs[label].astype(object)
    adata.obs[label] = labels.where(labels.astype(str) != "low quality")
    return adata, label


def all_genes(references: dict[str, tuple[anndata.AnnData, str]]) -> lx.GeneEmbedding:
    """Human genes of any reference, mouse genes by their name in capitals."""
    names = sorted({str(g).upper() for adata, _ in references.values() for g in adata.var_names})
    return lx.emb.genes(names, organism="human")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    folder = parser.parse_args().data
    warnings.simplefilter("ignore")
    references = {name: load(name, folder) for name in REFERENCES}
    genes = all_genes(references)
    families = [family(str(s)) for s in genes.table["symbol"]]
    measured = reference_targets(genes, references)
    arrays: dict[str, np.ndarray] = {}
    for kind in ("total", "beyond"):
        model = fit(genes.vectors, together([getattr(t, kind) for t in measured.values()]), fold_of(families))
        arrays |= {
            "mean": model.mean, f"{kind}_coef": model.coef, f"{kind}_intercept": model.intercept,
            f"{kind}_penalty": np.array(model.penalty),
        }  # fmt: skip
    found = evidence(genes.vectors, measured, families).round(4)
    print(found.to_string())
    np.savez_compressed(DATA / "gene_prior.npz", **{k: v.astype(np.float32) for k, v in arrays.items()})
    p = genes.provenance
    about = {
        "embedder": f"{p['embedder']}@{p['revision']}/{genes.dim}",
        "references": "; ".join(REFERENCES),
        "texts": p["source"],
        "built_with": f"lexicell {lx.__version__}",
        "evidence": found.to_dict(orient="list"),
    }
    (DATA / "gene_prior.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
