"""From a file of cells to a file of results, with memory that does not grow with the number of cells."""

from __future__ import annotations

from ._concepts import concepts
from ._embed import check_run as check_run  # for the command line, not public
from ._embed import embed
from ._job import RunSettings
from ._open_cells import open_cells as open_cells  # for the command line, not public

__all__ = ["RunSettings", "concepts", "embed"]
