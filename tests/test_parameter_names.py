"""A parameter's name means one thing in all public functions: it has one type, and the default that is said here.

What differs for a reason is listed with it. An entry that no longer applies fails too, so that the lists stay short.
"""

from __future__ import annotations

import importlib
import inspect
from collections import defaultdict

import pytest

import lexicell as lx

MODULES = ["lexicell"] + [
    f"lexicell.{name}" for name in ("emb", "tl", "pl", "stream", "embedders", "sources", "datasets")
]

# Names that other packages or earlier versions use -> the name of that thing here.
NOT_USED = {
    "seed": "rng",
    "random_state": "rng",
    "obsm_key": "use_rep",
    "rep": "use_rep",
    "words": "queries",
    "phrases": "queries",
    "smoothing": "text_weight",
    "cluster_key": "groupby",
    "groups": "groupby",
    "n_perms": "n_permutations",
    "celltype": "cell_type",
    "sample": "donor",
    "inplace": "copy",
    "n_boot": "n_bootstraps",
    "progress": "show_progress",
    "gene_vectors": "genes",
    "test_layer": "donor",
}

ONE_DEFAULT = ["ax", "copy", "groupby", "min_cells", "n_neighbors", "queries", "rng", "show_progress", "tissue"]

# (name, function) -> why its type is another.
OTHER_TYPE = {
    ("color", "pl.transfer"): "one map, so one column",
    ("genes", "tl.transfer"): "of both data sets, which may differ",
    ("rng", "evaluate"): "runs are numbered from it, and it is recorded",
    ("rng", "evaluate_order"): "runs are numbered from it, and it is recorded",
    ("root", "tl.trajectory"): "several roots are allowed",
    ("store", "embedders.embed"): "False: vectors are not kept",
    ("top_n", "emb.sentences"): "a sentence has an end",
    ("queries", "tl.trends"): "phrases are embedded; none is []",
}
OTHER_DEFAULT = {("groupby", "pl.programs"): "there is nothing to draw without groups"}


def _parameters() -> dict[str, dict[str, inspect.Parameter]]:
    """Name of a parameter -> function -> the parameter."""
    found: dict[str, dict[str, inspect.Parameter]] = defaultdict(dict)
    for name in MODULES:
        module = importlib.import_module(name)
        for public in module.__all__:
            function = getattr(module, public)
            if inspect.isfunction(function):
                for parameter in inspect.signature(function).parameters.values():
                    short = f"{name}.{public}".removeprefix("lexicell.")
                    found[parameter.name][short] = parameter
    return found


PARAMETERS = _parameters()


def _kind(parameter: inspect.Parameter) -> str:
    """The type without None, which only says that the parameter may be left out."""
    return str(parameter.annotation).removesuffix(" | None")


def _most(values: list[str]) -> str:
    return max(values, key=values.count)


def test_a_name_has_one_type() -> None:
    odd = set()
    for name, functions in PARAMETERS.items():
        usual = _most([_kind(p) for p in functions.values()])
        odd |= {(name, function) for function, p in functions.items() if _kind(p) != usual}
    assert odd - set(OTHER_TYPE) == set(), "another type than elsewhere"
    assert set(OTHER_TYPE) - odd == set(), "strike from OTHER_TYPE"


@pytest.mark.parametrize("name", ONE_DEFAULT)
def test_a_name_has_one_default(name: str) -> None:
    functions = PARAMETERS[name]
    usual = _most([repr(p.default) for p in functions.values()])
    odd = {(name, function) for function, p in functions.items() if repr(p.default) != usual}
    assert odd == {entry for entry in OTHER_DEFAULT if entry[0] == name}


def test_no_second_name_for_one_thing() -> None:
    classes = [lx.StudyDesign, lx.Expression, lx.stream.RunSettings]
    names = set(PARAMETERS) | {name for made in classes for name in inspect.signature(made).parameters}
    assert {name: NOT_USED[name] for name in names & set(NOT_USED)} == {}


def test_no_public_function_has_more_than_twelve_parameters() -> None:
    counts: dict[str, int] = defaultdict(int)
    for functions in PARAMETERS.values():
        for function in functions:
            counts[function] += 1
    assert {function: n for function, n in counts.items() if n > 12} == {}
