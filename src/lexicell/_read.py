"""Files of cells as people have them: 10x folders, tables of text, loom, h5mu, and several samples at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ._errors import InputError, LexicellError, choices
from ._io import check_links, check_matrices, genes_of_10x, make_writable, read_cells, unreadable
from ._keys import ENSEMBL_ID, UNS

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["read"]

_TABLES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
_MATRIX = ("matrix.mtx", "matrix.mtx.gz")
_INNER = ("filtered_feature_bc_matrix", "filtered_gene_bc_matrices")  # in the folder "outs" of Cell Ranger
_NAMES_LOOKED_UP = 2000
_ENSEMBL = r"ENS[A-Z]*G\d{6,}"
_SYMBOL_COLUMNS = ("feature_name", "gene_symbols", "gene_symbol", "gene_name", "gene_names", "symbol", "symbols")


def read(path: str | Path) -> AnnData:
    """Read cells from any file or folder that the command line takes.

    Parameters
    ----------
    path
        One of

        - ``.h5ad``, ``.zarr``, 10x ``.h5``;
        - a 10x folder (``matrix.mtx``, ``features.tsv`` or ``genes.tsv``, ``barcodes.tsv``; gzipped or not; with or
          without a prefix), Cell Ranger's ``outs`` folder, or the path of one ``..._matrix.mtx``;
        - ``.csv``, ``.tsv`` or ``.txt``, also gzipped, of cells x genes or genes x cells: which of the two is told
          from the names, and a matrix with genes in its rows is transposed;
        - ``.loom``, or ``.h5mu``, of which the modality ``rna`` is read;
        - a table of samples: a text table with a column ``path``, one row per sample. Its other columns, such as
          ``donor`` and ``condition``, go to ``obs``; genes that not all samples have are left out.

    Returns
    -------
    AnnData
        In memory. Names of genes that occur twice are made unique, as scanpy does for 10x files. Genes that are called
        by Ensembl ids, as in files of CELLxGENE, are called by their symbols, so that results can be read;
        ``var["text_ensembl_id"]`` keeps the ids, by which texts are still found.

    Raises
    ------
    InputError
        If the path does not exist or cannot be read; the message names it.

    Examples
    --------
    >>> import tempfile
    >>> import lexicell as lx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lx.datasets.pbmc68k_counts().to_df().iloc[:5].to_csv(f"{folder}/cells.csv")
    ...     lx.read(f"{folder}/cells.csv").shape
    (5, 765)
    """
    path = Path(path)
    reader = _reader(path)
    if reader is None:
        adata = read_cells(path)
    else:
        try:
            adata = reader(path)
            check_matrices(adata)
        except LexicellError:
            raise
        # Whatever a broken file makes its reader raise, the user needs to hear which file it was.
        except Exception as error:
            raise unreadable(path, error) from error
        make_writable(adata)
    _number_twins(adata, path)
    if UNS not in adata.uns:
        # What lexicell recorded earlier names genes as they were then.
        _name_by_symbol(adata)
    return adata


def _reader(path: Path) -> Callable[[Path], AnnData] | None:
    """What reads this path; None for the formats of `read_cells`, which also says what is wrong with others."""
    name = path.name.lower()
    if not path.exists():
        return None
    if path.is_dir() and path.suffix != ".zarr":
        return _read_10x_folder
    if name.endswith(_MATRIX):
        return _read_10x_matrix
    if name.endswith(_TABLES):
        return _read_text
    return {".loom": _read_loom, ".h5mu": _read_h5mu}.get(path.suffix)


def _number_twins(adata: AnnData, path: Path) -> None:
    if adata.var_names.is_unique:
        return
    twice = adata.var_names[adata.var_names.duplicated()].unique()
    warnings.warn(
        f"{len(twice)} gene names of '{path.name}' occur more than once ({choices(twice, limit=3)}); those after the "
        f"first got a number, such as '{twice[0]}-1', and have no text",
        UserWarning,
        stacklevel=3,
    )
    adata.var_names_make_unique()


def _name_by_symbol(adata: AnnData) -> None:
    """Call genes by their symbols where they are called by Ensembl ids, which are kept in ``var``.

    As CELLxGENE writes files: ids in ``var_names``, symbols in ``feature_name``. Matrices stay as they are.
    """
    from .sources import guess_organism

    for part in [adata] if adata.raw is None else [adata, adata.raw]:
        table = part.var
        ids = table.index.astype(str)
        if not len(ids) or ids.str.match(_ENSEMBL).mean() < 0.5:
            continue
        symbols = _symbols(table, guess_organism(list(ids)).organism or "human")
        names = pd.Series(symbols, index=ids, dtype=object)
        names = names.where((names != "") & ~names.duplicated(), ids.to_numpy(dtype=object))
        table[ENSEMBL_ID] = ids.to_numpy(dtype=object)
        renamed = pd.Index(names.to_numpy(dtype=object), name=table.index.name)
        if part is adata:
            adata.var_names = renamed  # DataFrames in varm go along
        else:
            table.index = renamed


def _symbols(table: pd.DataFrame, organism: str) -> list[str]:
    """The symbol of each gene, from the column of the table that has them, else from the bundled table; or ""."""
    from .sources.names.lookup import bundled_match

    known = bundled_match(list(table.index.astype(str)), organism)
    found = [""] * len(table) if known is None else known["symbol"].fillna("").astype(str).tolist()
    column = next((name for name in _SYMBOL_COLUMNS if name in table), None)
    if column is None:
        return found
    named = table[column].astype(object).where(table[column].notna(), "").astype(str).tolist()
    return [own or other for own, other in zip(named, found, strict=True)]


def _read_10x_folder(folder: Path) -> AnnData:
    """The matrix of a folder, or of the folder within it that Cell Ranger calls filtered."""
    found = sorted(p for p in folder.iterdir() if p.name.lower().endswith(_MATRIX))
    inner = [folder / name for name in _INNER if (folder / name).is_dir()]
    if not found and inner:
        return _read_10x_folder(inner[0])
    below = sorted(p for p in folder.iterdir() if p.is_dir())
    if not found and len(below) == 1:  # older Cell Ranger has one more folder, named like the genome
        return _read_10x_folder(below[0])
    if not found:
        raise InputError(
            f"the folder '{folder}' holds no 10x matrix (matrix.mtx or matrix.mtx.gz, beside features.tsv and "
            "barcodes.tsv) and is no .zarr store"
        )
    if len(found) > 1:
        names = choices([p.name for p in found], limit=5)
        raise InputError(
            f"the folder '{folder}' holds {len(found)} matrices; name one of them ({names}), "
            "or write a table with a column 'path' and one row per matrix"
        )
    return _read_10x_matrix(found[0])


def _read_10x_matrix(matrix: Path) -> AnnData:
    """A matrix.mtx with the features and barcodes beside it; all may carry the same prefix."""
    import anndata
    from scipy.sparse import csr_matrix

    prefix = matrix.name[: matrix.name.lower().rindex("matrix.mtx")]
    features = _beside(matrix, prefix, ("features.tsv", "genes.tsv"))
    barcodes = _beside(matrix, prefix, ("barcodes.tsv",))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Observation names are not unique", UserWarning)
        adata = anndata.io.read_mtx(matrix).T
    adata.X = csr_matrix(adata.X)
    for file, n in ((features, adata.n_vars), (barcodes, adata.n_obs)):
        if len(_lines(file)) != n:
            raise InputError(f"'{file}' has {len(_lines(file))} lines, and '{matrix.name}' {n} of them")
    table = _lines(features)
    # Ensembl ids, symbols, types; one column alone holds whatever names there are.
    adata.var_names = table[min(1, table.shape[1] - 1)].to_numpy(dtype=object)
    if table.shape[1] > 1:
        adata.var["gene_ids"] = table[0].to_numpy(dtype=object)
    if table.shape[1] > 2:
        adata.var["feature_types"] = table[2].to_numpy(dtype=object)
    adata.obs_names = _lines(barcodes)[0].to_numpy(dtype=object)
    return genes_of_10x(adata)


def _beside(matrix: Path, prefix: str, names: Iterable[str]) -> Path:
    wanted = [f"{prefix}{name}{end}" for name in names for end in ("", ".gz")]
    for name in wanted:
        if (matrix.parent / name).is_file():
            return matrix.parent / name
    raise InputError(f"beside '{matrix}' there is none of {choices(wanted)}")


def _lines(file: Path) -> pd.DataFrame:

    return pd.read_csv(file, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=3)


def _read_text(path: Path) -> AnnData:
    """A table of samples, or a matrix with names in its first row and column."""
    separator = "," if ".csv" in path.name.lower() else "\t"
    head = pd.read_csv(path, sep=separator, nrows=0)
    if "path" in head.columns:
        return _read_samples(path, pd.read_csv(path, sep=separator, dtype={"path": str, "sample": str}))
    table = pd.read_csv(path, sep=separator, index_col=0)
    texts = [str(name) for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    if texts:
        raise InputError(
            f"'{path}' is no matrix of numbers: {len(texts)} columns hold text ({choices(texts, limit=3)}). Give a "
            "matrix with names in its first row and column, or a table of samples with a column 'path'"
        )
    return _as_cells(table, path)


def _as_cells(table: pd.DataFrame, path: Path) -> AnnData:
    """Cells in rows, whichever way round the table is."""
    import anndata
    import numpy as np
    from scipy.sparse import csr_matrix

    if _share_of_genes(table.index) > _share_of_genes(table.columns):
        warnings.warn(f"the rows of '{path.name}' are genes, so it was transposed", UserWarning, stacklevel=4)
        table = table.T
    matrix = csr_matrix(table.to_numpy(dtype=np.float32))
    obs = pd.DataFrame(index=table.index.astype(str))
    return anndata.AnnData(matrix, obs=obs, var=pd.DataFrame(index=table.columns.astype(str)))


def _share_of_genes(names: Sequence[Any] | pd.Index[Any]) -> float:
    """Which share of names are genes of the species that they look like most."""
    from .sources import guess_organism
    from .sources.names.lookup import bundled_match

    some = [str(name) for name in names[:_NAMES_LOOKED_UP]]
    if not some:
        return 0.0
    found = bundled_match(some, guess_organism(some).organism or "human")
    return 0.0 if found is None else float((found["row"] >= 0).mean())


def _read_samples(path: Path, table: pd.DataFrame) -> AnnData:
    """All samples of a table in one object, their annotation in obs."""
    import anndata

    names = table["sample"] if "sample" in table else table["path"].map(lambda p: _sample_name(Path(p)))
    if table["path"].isna().any() or not names.is_unique:
        raise InputError(f"'{path}' needs a path in every row, and different names in its column 'sample'")
    parts = {}
    for name, row in zip(names.astype(str), table.to_dict("records"), strict=True):
        part = read(path.parent / row["path"])
        for column, value in row.items():
            if column not in ("path", "sample"):
                part.obs[column] = value
        parts[name] = part
    adata = anndata.concat(parts, label="sample", index_unique="-", join="inner", merge="same")
    most = max(part.n_vars for part in parts.values())
    if adata.n_vars < most:
        warnings.warn(
            f"{adata.n_vars:,} genes are in all samples of '{path.name}'; a sample has up to {most:,}. The others were "
            "left out",
            UserWarning,
            stacklevel=4,
        )
    return adata


def _sample_name(path: Path) -> str:
    """The name by which a path is known: that of the sample's folder where files are named alike in all of them."""
    while path.name in (*_INNER, "outs") or path.name.startswith(("filtered_feature_bc_matrix", "matrix.mtx")):
        path = path.parent
    return path.name.split(".")[0]


def _read_loom(path: Path) -> AnnData:
    """A loom file: genes x cells, with attributes of both."""
    import anndata
    import h5py
    from scipy.sparse import csr_matrix, vstack

    def attributes(group: h5py.Group, names: tuple[str, ...]) -> pd.DataFrame:
        columns = {name: element[:] for name, element in group.items() if element.ndim == 1}
        table = pd.DataFrame({name: [_text(value) for value in values] for name, values in columns.items()})
        index = next((name for name in names if name in table), None)
        if index is None:
            raise InputError(f"'{path}' has none of the attributes {choices(names)}")
        return table.set_index(index)

    check_links(path)
    with h5py.File(path) as file:
        var = attributes(file["row_attrs"], ("Gene", "GeneName", "gene_name", "gene", "Accession", "var_names"))
        obs = attributes(file["col_attrs"], ("CellID", "cell_id", "barcode", "obs_names"))
        n_genes = file["matrix"].shape[0]
        blocks = [csr_matrix(file["matrix"][at : at + 1000]) for at in range(0, n_genes, 1000)]
    return anndata.AnnData(csr_matrix(vstack(blocks).T, dtype="float32"), obs=obs, var=var)


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _read_h5mu(path: Path) -> AnnData:
    """The modality 'rna' of an h5mu file, with what is known of all its cells."""
    import h5py
    from anndata.io import read_elem

    check_links(path)
    with h5py.File(path) as file:
        kinds = sorted(file.get("mod", {}))
        if "rna" not in kinds:
            raise InputError(f"'{path}' has no modality 'rna'; it has {choices(kinds)}")
        adata: AnnData = read_elem(file["mod/rna"])
        shared = read_elem(file["obs"])
    for column in shared.columns.difference([*adata.obs.columns]):
        if ":" not in column:  # 'rna:n_counts' is a copy of a column of the modality
            adata.obs[column] = shared[column].reindex(adata.obs_names)
    return adata
