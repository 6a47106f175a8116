"""Compute the vectors of the bundled texts with the local embedder.

    nice python tools/build_vectors.py [--output DIR] [--jobs N]

Run it after tools/build_gene_table.py, with `lexicell[local]` installed; it takes about a quarter of an hour on two
cores. It writes vectors.npy, float16, one row a distinct text, and says in manifest.json what made it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from build_gene_table import text_hash
from gene_inputs import sha256
from lexicell.embedders.local import Local
from lexicell.embedders.local import weights as _weights
from lexicell.sources import bundled

TOOL = "build_vectors 1"
CHUNK = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=bundled.DATA)
    parser.add_argument("--jobs", type=int, default=None)
    args = parser.parse_args()
    bundled.DATA = args.output
    build(args.output, Local(n_jobs=args.jobs))


def build(output: Path, embedder: Local) -> None:
    texts = bundled.load_texts()
    manifest = bundled.load_manifest()
    if "" in texts or len(set(texts)) != len(texts) or text_hash(texts) != manifest["texts"]["sha256"]:
        raise SystemExit("the texts are not those of the manifest; run tools/build_gene_table.py")
    vectors = np.empty((len(texts), embedder.dim), dtype=np.float16)
    # Texts of like length together, so that little time goes into padding.
    order = np.argsort([len(text) for text in texts], kind="stable")
    began = time.monotonic()
    for start in range(0, len(order), CHUNK):
        rows = order[start : start + CHUNK]
        vectors[rows] = embedder.embed([texts[row] for row in rows])
        print(f"{start + len(rows):6d} of {len(texts)} texts, {time.monotonic() - began:.0f} s", flush=True)
    np.save(output / "vectors.npy", vectors)
    manifest["vectors"] = {
        "file": "vectors.npy",
        "shape": list(vectors.shape),
        "dtype": str(vectors.dtype),
        "sha256": sha256(output / "vectors.npy"),
        "embedder": embedder.name,
        "revision": embedder.revision,
        "model": "sentence-transformers/all-MiniLM-L6-v2",
        "model_sha256": _weights.SHA256["model.safetensors"],
        "tokenizer_sha256": _weights.SHA256["tokenizer.json"],
        "tool": TOOL,
    }
    (output / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
