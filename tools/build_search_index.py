"""Count the words of all searched texts and names of terms, and search the lexicon: data/search_index.npz.

    python tools/build_search_index.py

Run it after build_gene_table.py, build_annotation.py and build_concepts.py, and after an edit of core/genes/words.py,
core/genes/retrieval.py or lexicon_facts.tsv. It takes some seconds, which every session would spend otherwise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lexicell.core.genes.words import WordCounts
from lexicell.sources.annotation import human_search
from lexicell.tl.words import lexicon_scores

FILE = Path(__file__).parents[1] / "src" / "lexicell" / "data" / "search_index.npz"


def main() -> None:
    FILE.unlink(missing_ok=True)
    search, _ = human_search()
    assert search.terms is not None
    arrays = stored("terms", WordCounts.of(search.terms.all_names)) | stored("genes", WordCounts.of(search.texts))
    scores = lexicon_scores(search, True)
    arrays |= {
        "lexicon_indptr": scores.indptr.astype(np.int32),
        "lexicon_columns": scores.indices.astype(np.int32),
        "lexicon_scores": scores.data.astype(np.float32),
    }
    np.savez_compressed(FILE, **arrays)
    print(f"{FILE.stat().st_size:,} bytes")


def stored(name: str, counted: WordCounts) -> dict[str, np.ndarray]:
    """The arrays of one index."""
    matrix = counted.counts
    return {
        f"{name}_grams": np.frombuffer("\n".join(counted.grams).encode(), dtype=np.uint8),
        f"{name}_indptr": matrix.indptr.astype(np.int32),
        f"{name}_columns": matrix.indices.astype(np.int32),
        f"{name}_counts": np.minimum(matrix.data, 255).astype(np.uint8),
    }


if __name__ == "__main__":
    main()
