"""`GeneEmbedding`: gene vectors with the texts they came from, and where those came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ..._errors import InputError, MissingKeyError, check_key, choices
from ..._keys import space_name
from ..._saved import read_h5ad, write_h5ad

__all__ = ["GeneEmbedding"]

_TEXT = "text"  # column of obs with the texts, in files


@dataclass(frozen=True, eq=False, repr=False)
class GeneEmbedding:
    """Gene ids, their text vectors, the texts, and the provenance of all three.

    Make one with :func:`lexicell.emb.genes`, or wrap any matrix with :meth:`from_vectors`.

    Attributes
    ----------
    ids
        Gene names, shape ``(n_genes,)``: the data set's own ``var_names`` when made from an AnnData. Unique.
    vectors
        ``(n_genes, dim)`` float32, C-contiguous, finite; no row is zero. Not scaled to unit length.
    texts
        The text behind each vector, shape ``(n_genes,)``; empty strings where unknown.
    table
        One row a gene, indexed by `ids`: NCBI ``gene_id``, ``symbol``, ``matched_by``, ``text_source`` and whatever
        else the source knows.
    provenance
        Nested dict of strings, numbers, bools and arrays: source, version, date, embedder, revision, dims, hashes.
    coverage
        One row for every gene that was asked for, those without a text included: what it matched, or why it did not.
        Equal to `table` where nothing is known of other genes.

    Examples
    --------
    >>> import numpy as np
    >>> from lexicell.core.genes.embedding import GeneEmbedding
    >>> genes = GeneEmbedding.from_vectors(["SOD1", "TARDBP"], np.eye(2))
    >>> genes.dim, list(genes.ids)
    (2, ['SOD1', 'TARDBP'])
    """

    ids: NDArray[Any]
    vectors: NDArray[np.float32]
    texts: NDArray[Any]
    table: pd.DataFrame
    provenance: dict[str, Any] = field(default_factory=dict)
    coverage: pd.DataFrame = field(default_factory=pd.DataFrame)

    @classmethod
    def from_vectors(
        cls,
        ids: Sequence[str] | NDArray[Any] | pd.Index[Any],
        vectors: ArrayLike,
        *,
        texts: Sequence[str] | NDArray[Any] | None = None,
        table: pd.DataFrame | None = None,
        provenance: Mapping[str, Any] | None = None,
        coverage: pd.DataFrame | None = None,
    ) -> GeneEmbedding:
        """Wrap a matrix of gene vectors.

        Parameters
        ----------
        ids
            Gene names as they stand in the data, one a row of `vectors`; unique.
        vectors
            ``(n_genes, dim)``, any float dtype; kept as float32. Rows that are all zero are dropped: a gene without
            a text has no vector.
        texts
            The text behind each vector.
        table
            Facts a gene, one row each, in the order of `ids`.
        provenance
            Where the vectors came from.
        coverage
            One row for every gene asked for, indexed by its name; default: `table`.

        Raises
        ------
        InputError
            If shapes disagree, an id stands twice, or a vector is not finite.
        """
        names = np.asarray([str(i) for i in ids], dtype=object)
        # A copy, so that the caller's array can change without changing this one.
        matrix = np.array(vectors, dtype=np.float32, order="C", copy=True)
        if matrix.ndim != 2 or len(matrix) != len(names):
            raise InputError(
                f"vectors of shape {matrix.shape} do not fit {len(names)} gene ids; one row a gene is needed"
            )
        if not np.isfinite(matrix).all():
            bad = names[~np.isfinite(matrix).all(axis=1)]
            raise InputError(f"{len(bad)} gene vectors hold NaN or infinity: {choices(bad, limit=5)}")
        index = pd.Index(names)
        if not index.is_unique:
            twice = index[index.duplicated()].unique()
            raise InputError(
                f"{len(twice)} gene ids stand more than once: {choices(twice, limit=5)}; keep one row a gene"
            )
        words = np.asarray([""] * len(names) if texts is None else [str(t) for t in texts], dtype=object)
        if len(words) != len(names):
            raise InputError(f"{len(words)} texts do not fit {len(names)} gene ids")
        frame = pd.DataFrame(index=index) if table is None else table.copy()
        if len(frame) != len(names):
            raise InputError(f"a table of {len(frame)} rows does not fit {len(names)} gene ids")
        frame.index = index
        keep = matrix.any(axis=1)
        if not keep.all():
            names, matrix, words, frame = (
                names[keep],
                np.ascontiguousarray(matrix[keep]),
                words[keep],
                frame.iloc[np.flatnonzero(keep)],
            )
        matrix.setflags(write=False)
        return cls(names, matrix, words, frame, dict(provenance or {}), frame if coverage is None else coverage)

    @property
    def dim(self) -> int:
        """Length of each vector."""
        return int(self.vectors.shape[1])

    @property
    def embedder_space(self) -> str:
        """``"embedder@revision/dim"``: vectors can be compared with others of the same name only."""
        return space_name(self.provenance.get("embedder", ""), self.provenance.get("revision", ""), self.dim)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        source = self.provenance.get("source", "unknown source")
        embedder = self.provenance.get("embedder", "unknown embedder")
        return f"GeneEmbedding: {len(self):,} genes x {self.dim} dimensions ({source}, {embedder})"

    def __contains__(self, gene: object) -> bool:
        return gene in self.table.index

    @cached_property
    def hash(self) -> str:
        """32 hex digits over ids and vectors: the same genes, vectors and order give the same hash anywhere."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update("\n".join(self.ids).encode())
        digest.update(f"\n{self.vectors.shape}".encode())
        digest.update(np.ascontiguousarray(self.vectors, dtype="<f4").tobytes())
        return digest.hexdigest()

    def neighbors(self, names: Sequence[str] | str | None = None, *, n_neighbors: int = 10) -> pd.DataFrame:
        r"""Look up the genes whose texts are most similar to a gene's.

        Similarity is :math:`\cos(e_g - \mu, e_h - \mu)`, with :math:`\mu` the mean of the gene vectors: without
        centering, all genes are similar.

        Parameters
        ----------
        names
            Genes to look up; None: all of them.
        n_neighbors
            Neighbors per gene.

        Returns
        -------
        One row per gene and neighbor: ``gene``, ``rank``, ``neighbor``, ``cosine``, ``same_text`` (whether both have
        exactly the same text).

        Raises
        ------
        MissingKeyError
            If a gene has no vector.

        Examples
        --------
        >>> import lexicell as lx
        >>> genes = lx.emb.genes(lx.datasets.pbmc68k_counts())
        >>> "CD79B" in set(genes.neighbors("CD79A", n_neighbors=3)["neighbor"])
        True
        """
        from .programs import nearest_genes

        ids = self.ids.astype(str)
        wanted = ids if names is None else names
        asked = [wanted] if isinstance(wanted, str) else [str(name) for name in wanted]
        place = pd.Index(ids).get_indexer(pd.Index(asked))
        if (place < 0).any():
            check_key(asked[int(np.argmin(place))], ids, "gene with a vector")
        near, cosine = nearest_genes(self.vectors, place, n_neighbors)
        texts = self.texts.astype(str)
        same = (texts[place][:, None] == texts[near]) & (texts[place] != "")[:, None]
        return pd.DataFrame(
            {
                "gene": np.repeat(ids[place].astype(object), n_neighbors),
                "rank": np.tile(np.arange(1, n_neighbors + 1), len(asked)),
                "neighbor": ids[near].ravel().astype(object),
                "cosine": cosine.ravel(),
                "same_text": same.ravel(),
            }
        )

    def rows(self, ids: Sequence[str] | NDArray[Any] | pd.Index[Any]) -> NDArray[np.int64]:
        """Row of each of `ids`, -1 where the gene is not here; shape ``(len(ids),)``."""
        return np.asarray(self.table.index.get_indexer(pd.Index(np.asarray(ids, dtype=object))), dtype=np.int64)

    def subset(self, ids: Sequence[str] | NDArray[Any] | pd.Index[Any]) -> GeneEmbedding:
        """The same embedding of fewer genes, in the order given.

        Raises
        ------
        MissingKeyError
            If a gene is not here.
        """
        rows = self.rows(ids)
        if (rows < 0).any():
            missing = np.asarray(ids, dtype=object)[rows < 0]
            raise MissingKeyError(f"{len(missing)} genes have no vector here: {choices(missing, limit=5)}")
        return GeneEmbedding.from_vectors(
            self.ids[rows],
            self.vectors[rows],
            texts=self.texts[rows],
            table=self.table.iloc[rows],
            provenance=self.provenance,
            coverage=self.coverage,
        )

    def save(self, path: str | Path) -> None:
        """Write an h5ad file of genes x dims.

        The table is stored in ``obs``, texts in ``obs["text"]``, provenance and coverage in ``uns``. The file is
        written aside and renamed, so that `path` never holds half a file.

        Raises
        ------
        InputError
            If `path` is a folder, a link or anything else that is not to be replaced by a file.
        """
        table = self.table.copy()
        table[_TEXT] = self.texts
        dimensions = pd.DataFrame(index=[f"dim_{i}" for i in range(self.dim)])
        uns = {"provenance": self.provenance, "coverage": self.coverage}
        write_h5ad(path, self.vectors, table, dimensions, uns)

    @classmethod
    def load(cls, path: str | Path) -> GeneEmbedding:
        """Read a file written by :meth:`save`, also after anndata has rewritten it.

        Raises
        ------
        InputError
            If the file does not exist or holds something else.
        """
        if not Path(path).is_file():
            raise InputError(f"no file '{path}'")
        try:
            vectors, table, uns = read_h5ad(path)
        except (OSError, KeyError, AttributeError, TypeError) as error:
            raise InputError(f"'{path}' is not a gene embedding written by GeneEmbedding.save ({error})") from error
        texts = None
        if _TEXT in table:
            texts = [str(text) for text in table.pop(_TEXT)]
        return cls.from_vectors(
            table.index,
            vectors,
            texts=texts,
            table=table,
            provenance=uns.get("provenance", {}),
            coverage=uns.get("coverage"),
        )
