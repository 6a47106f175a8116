"""Sphinx configuration: Markdown by MyST, tutorials executed when built, API pages from the docstrings."""

from importlib.metadata import version as _version

project = "lexicell"
author = "The lexicell developers"
copyright = "2026, the lexicell developers"  # noqa: A001
release = _version("lexicell")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
myst_enable_extensions = ["colon_fence", "dollarmath"]
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_output_stderr = "remove"  # warnings name files of the machine that built the page
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_typehints = "none"
autosummary_generate = False
exclude_patterns = ["_build", "jupyter_execute"]
html_theme = "sphinx_book_theme"
html_title = "lexicell"
