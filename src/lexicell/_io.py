"""Reading and writing files of cells: one clear line where a file cannot be used."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._errors import InputError
from ._files import check_file, check_zarr, sweep, write_file, write_folder

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

__all__ = [
    "check_cells",
    "check_links",
    "check_matrices",
    "check_readable",
    "genes_of_10x",
    "make_writable",
    "read_cells",
    "read_obs",
    "unreadable",
    "write_cells",
    "write_table",
]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_READS = (
    ".h5ad, .zarr, a 10x .h5 or folder, .loom, .h5mu, .csv or .tsv (from file to file: .h5ad, .zarr or 10x .h5 alone)"
)


def read_cells(path: str | Path) -> AnnData:
    """Read an .h5ad file, a .zarr folder or a 10x .h5 file into memory.

    Raises
    ------
    InputError
        If the path does not exist or is none of these.
    """
    path = check_readable(path)
    # Whatever a broken file makes the readers raise, the user needs to hear which file it was.
    try:
        check_links(path)
        adata = _read(path)
        check_matrices(adata)
        make_writable(adata)
    except Exception as error:
        raise unreadable(path, error) from error
    return genes_of_10x(adata) if path.suffix == ".h5" else adata


def _read(path: Path) -> AnnData:
    import anndata

    if path.suffix == ".zarr":
        return anndata.read_zarr(path)
    if path.suffix == ".h5ad":
        return anndata.read_h5ad(path)
    import scanpy

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Variable names are not unique", UserWarning)
        # Leaving out antibodies would follow the indices of a matrix that nobody has looked at yet.
        return scanpy.read_10x_h5(path, gex_only=False)


def genes_of_10x(adata: AnnData) -> AnnData:
    """Leave out antibodies and guides, and make names unique."""
    if "feature_types" in adata.var:
        genes = adata.var["feature_types"] == "Gene Expression"
        if genes.any() and not genes.all():
            others = sorted(set(adata.var["feature_types"][~genes].astype(str)))
            warnings.warn(
                f"{(~genes).sum()} of {adata.n_vars} rows are not genes ({', '.join(others)}); they are left out",
                UserWarning,
                stacklevel=3,
            )
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Variable names are not unique", UserWarning)
                adata = adata[:, genes].copy()
    # Ten or twenty symbols stand for two genes in every genome of 10x.
    adata.var_names_make_unique()
    return adata


def make_writable(adata: AnnData) -> None:
    """Change what this version of anndata reads and would refuse to write, after all the work.

    Strings as pandas 3 has them become objects or, where some are missing, categories; a column ``_index``, which
    SeuratDisk writes, gets another name.
    """
    import pandas as pd

    tables = [adata.obs, adata.var, *adata.obsm.values(), *_tables(adata.uns)]
    if adata.raw is not None:
        tables.append(adata.raw.var)
    for table in tables:
        if not isinstance(table, pd.DataFrame):
            continue
        if "_index" in table.columns:
            table.columns = ["index_" if name == "_index" else name for name in table.columns]
        if int(pd.__version__.split(".")[0]) >= 3:
            continue
        if isinstance(table.index.dtype, pd.StringDtype):
            table.index = table.index.astype(object)
        for name in table.columns:
            if isinstance(table[name].dtype, pd.StringDtype):
                table[name] = table[name].astype("category" if table[name].hasnans else object)


def _tables(values: Mapping[str, Any]) -> Iterator[Any]:
    """Every table in nested dicts."""
    for value in values.values():
        if isinstance(value, Mapping):
            yield from _tables(value)
        elif hasattr(value, "columns"):
            yield value


def check_matrices(adata: AnnData) -> None:
    """Check every sparse matrix: what is not read by us is read by compiled code of scipy and scanpy."""
    import scipy.sparse as sp

    from .core.expression.rows import check_matrix

    places = [adata.X, *adata.layers.values(), *adata.obsp.values(), *adata.varp.values(), *adata.obsm.values()]
    if adata.raw is not None:
        places.append(adata.raw.X)
    for matrix in places:
        if sp.issparse(matrix) and matrix.dtype.kind in "biuf":
            check_matrix(matrix)


def check_links(path: Path) -> None:
    """Refuse an HDF5 file that leads to other files: a file of cells from elsewhere must not open what it names.

    Raises
    ------
    InputError
        Names the element, and the file it leads to.
    """
    if path.suffix == ".zarr":
        return
    import h5py

    with h5py.File(path, "r") as file:

        def look(name: str, link: object) -> None:
            if isinstance(link, h5py.ExternalLink):
                raise InputError(f"'{name}' leads to another file, '{link.filename}', which is not opened")
            if not isinstance(link, h5py.HardLink):
                return
            element = file[name]
            if isinstance(element, h5py.Dataset) and (element.external or element.is_virtual):
                raise InputError(f"the values of '{name}' are kept in another file, which is not opened")

        file.visititems_links(look)


def read_obs(path: str | Path) -> pd.DataFrame:
    """Read the annotation of the cells of an .h5ad file or a .zarr folder, and nothing else.

    Raises
    ------
    InputError
        If the path does not exist or is neither.
    """
    path = check_readable(path)
    if path.suffix == ".h5":
        raise InputError(f"'{path}' has no annotation of cells; give an .h5ad file or a .zarr folder")
    import h5py
    import pandas as pd
    import zarr
    from anndata.io import read_elem

    try:
        check_links(path)
        if path.suffix == ".zarr":
            return pd.DataFrame(read_elem(zarr.open_group(path, mode="r")["obs"]))
        with h5py.File(path) as file:
            return pd.DataFrame(read_elem(file["obs"]))
    except Exception as error:
        raise unreadable(path, error) from error


def check_readable(path: str | Path) -> Path:
    """Raise an `InputError` if there is no file, or its name is of another kind."""
    path = Path(path)
    if not path.exists() and path.parent.is_dir():
        # A run that was killed while it replaced this store may have left it aside.
        sweep(path.parent)
    if not path.exists():
        near = sorted(p.name for p in path.parent.glob("*.h5ad"))[:5] if path.parent.is_dir() else []
        hint = f"; the folder has {', '.join(near)}" if near else ""
        raise InputError(f"no file '{path}'{hint}")
    if path.suffix not in (".h5ad", ".zarr", ".h5"):
        raise InputError(f"'{path}' is not a file that can be read; give one of {_READS}")
    return path


def unreadable(path: Path, error: Exception) -> InputError:
    """What to tell of a file that broke its reader."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, RecursionError):
        reason = "it is nested too deeply"
    kind = f" as {path.suffix}" if path.suffix else ""
    return InputError(f"'{path}' cannot be read{kind}: {reason}")


def check_cells(path: str | Path, *, inputs: Iterable[str | Path] = ()) -> Path:
    """Check, before any costly work, that cells can be written to `path`, an .h5ad file or a .zarr folder.

    Raises
    ------
    InputError
        If the name ends otherwise, or `path` is not to be written to or is one of `inputs`; see `_files`.
    """
    path = Path(path)
    if path.suffix == ".zarr":
        return check_zarr(path, inputs=inputs)
    if path.suffix == ".h5ad":
        return check_file(path, inputs=inputs)
    raise InputError(f"'{path}' cannot be written; name a file that ends in .h5ad or .zarr")


def write_cells(adata: AnnData, path: str | Path) -> None:
    """Write `adata` to .h5ad or .zarr, as the name says."""
    path = check_cells(path)
    if path.suffix == ".zarr":
        write_folder(path, lambda aside: _write(adata.write_zarr, aside))
    else:
        write_file(path, lambda aside: _write(partial(adata.write_h5ad, compression="gzip"), aside))


def _write(write: Callable[[Path], None], aside: Path) -> None:
    import anndata

    # With pandas 3, anndata writes strings in a form that older versions read and cannot write again.
    try:
        with anndata.settings.override(allow_write_nullable_strings=False):
            write(aside)
    except RuntimeError as error:
        if "nullable" not in str(error):
            raise
        # Some strings are missing: there is no other form for them.
        with anndata.settings.override(allow_write_nullable_strings=True):
            write(aside)


def write_table(table: pd.DataFrame, path: str | Path, **options: Any) -> None:
    """Write a table to .csv, or else separated by tabs, aside and renamed.

    Parameters
    ----------
    table
        What is written. Texts that a spreadsheet would take for a formula, since they begin with ``=``, ``+``, ``-``
        or ``@``, get an apostrophe in front, in the index and the names of columns too.
    path
        Where to.
    **options
        Of `pandas.DataFrame.to_csv`; without them, the index is left out.
    """
    separator = "," if Path(path).suffix == ".csv" else "\t"
    plain = _no_formulas(table)
    write_file(path, lambda aside: plain.to_csv(aside, sep=separator, **{"index": False, **options}))


def _no_formulas(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    def harmless(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value

    plain = table.copy()
    for name in table.columns:
        if not (pd.api.types.is_numeric_dtype(table[name]) or pd.api.types.is_bool_dtype(table[name])):
            plain[name] = table[name].astype(object).map(harmless)
    plain.index = table.index.map(harmless)
    plain.columns = table.columns.map(harmless)
    return plain
