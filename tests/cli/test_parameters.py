"""The command line has the names and defaults of Python: each command beside the functions it calls.

Where the two must differ, `ONLY_ON_THE_COMMAND_LINE`, `ONLY_IN_PYTHON` or `DIFFERENT` says why. An entry there that no
longer applies fails too, so that the lists stay short.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import click
import pytest

import lexicell
from lexicell.cli import cli

# What each command calls, by its name below `lexicell`.
FUNCTIONS = {
    "run": ("_pipeline.run",),
    "demo": ("_pipeline.demo",),
    "genes": ("emb.genes",),
    "coverage": ("emb.genes", "emb.coverage"),
    "embed": ("emb.genes", "emb.cells", "stream.embed"),
    "cluster": ("tl.cluster",),
    "vulnerability": ("tl.vulnerability",),
    "classify-vulnerability": ("tl.classify_vulnerability",),
    "trajectory": ("tl.trajectory",),
    "trends": ("tl.trends",),
    "progression": ("tl.progression",),
    "concepts": ("emb.genes", "tl.concepts", "stream.concepts"),
    "explain": ("tl.explain",),
    "perturb": ("tl.perturb",),
    "programs": ("tl.programs",),
    "evaluate": ("emb.genes", "evaluate", "evaluate_order"),
    "annotate": ("emb.genes", "tl.annotate"),
    "transfer": ("emb.genes", "tl.transfer"),
    "report": ("report",),
    "view": ("_view.view",),
}

# A parameter that takes several options in one object -> the object.
OBJECTS = {
    "expression": "Expression",
    "design": "StudyDesign",
    "run": "stream.RunSettings",
    "settings": "_pipeline.Settings",
}

# Options of any command that no function has.
ONLY_ON_THE_COMMAND_LINE = {
    "output": "where the result is written: Python returns it or puts it into adata",
    "genes_file": "the file that emb.genes would give",
    "table_file": "Python has the table in adata.uns",
    "quiet": "Python prints nothing",
    "yes": "answers a question that Python does not ask",
    "file": "phrases in a file: Python has a list",
}
# Parameters of any function that no command has.
ONLY_IN_PYTHON = {
    "adata": "the argument CELLS",
    "data": "the argument CELLS",
    "genes": "--genes names a file, --source and --embedder make them",
    "copy": "a command always writes another file",
    "store": "the user's store",
    "show_progress": "a bar is drawn where stderr is a terminal",
    "say": "the command line prints",
    "title": "of the report within a run",
    "output": "-o, checked before",
    "path": "-o, checked before",
    "input": "the argument CELLS",
}
_SOURCE = "an option of lexicell.sources.get or embedders.get, whose objects emb.genes takes"
_CHOICE = "not given is the default of the function: with it, the option would ask for a run from file to file"
_QUERIES = "--query is repeated, and phrases in a file are added to it"
_ARRAYS = "an array, which no option can give"
_IN_NAME = "the command writes under the default key"
_COMPARED = ("condition", "reference", "batch", "covariates", "paired", "stages", "min_cells", "n_permutations")
# (command, name of the option or parameter): why the two differ there.
DIFFERENT: dict[tuple[str, str], str] = {
    **{("genes", name): _SOURCE for name in ("dimensions", "include_go", "template", "max_words", "mask_terms")},
    **{("genes", name): _SOURCE for name in ("refresh", "offline")},
    ("genes", "estimate_cost"): "lexicell.emb.cost",
    ("embed", "stream"): "calls stream.embed instead of emb.cells",
    ("embed", "dtype"): _CHOICE,
    ("embed", "resume"): _CHOICE,
    ("embed", "store_genes"): "'lexicell genes' stores them in a file",
    ("vulnerability", "controls"): "the command is run once, and shows a claim beside its controls",
    ("vulnerability", "concepts"): "no --concept is the lexicon, which Python asks for by True",
    ("vulnerability", "key_added"): _IN_NAME,
    ("vulnerability", "design_only"): "lexicell.StudyDesign.check alone",
    ("vulnerability", "as_json"): "how the design is printed",
    **{("vulnerability", name): "read as the embedding read it" for name in ("normalization", "library_size")},
    **{("vulnerability", name): "the comparison needs it" for name in ("cell_type", "condition", "reference")},
    ("progression", "condition"): "the column with the stages is needed",
    **{("progression", name): "not supported by the test" for name in ("covariates", "paired")},
    ("classify-vulnerability", "donor"): "not with --model",
    **{("classify-vulnerability", name): "no part of a design that a classifier reads" for name in _COMPARED},
    ("classify-vulnerability", "key_added"): _IN_NAME,
    **{(name, "query"): _QUERIES for name in ("concepts", "perturb", "programs")},
    **{(name, "queries"): _QUERIES for name in ("concepts", "perturb", "programs")},
    **{(name, "use_raw"): "genes of adata.var" for name in ("genes",)},
    ("concepts", "use_raw"): "not given is the matrix that was embedded",
    **{("evaluate", name): "one of the two is needed" for name in ("label", "time")},
    ("evaluate", "n_bootstraps"): "lexicell.evaluate and lexicell.evaluate_order have different defaults",
    ("trends", "no_words"): "in Python, queries=[]",
    ("concepts", "stream"): "calls stream.concepts instead of tl.concepts",
    ("concepts", "directions"): _ARRAYS,
    ("concepts", "normalization"): _CHOICE,
    ("concepts", "resume"): _CHOICE,
    ("concepts", "dask"): "phrases are scored as fast as a file is read",
    ("concepts", "n_jobs"): "phrases are scored as fast as a file is read",
    **{("programs", name): "read as the embedding read it" for name in ("normalization", "library_size")},
    ("explain", "model"): "--classifier names the file of a model, Python the key of a result",
    ("explain", "label"): "which class of the model in --classifier",
    ("explain", "direction"): _ARRAYS,
    ("annotate", "types"): "--types names a file",
    ("annotate", "types_file"): "--types names a file",
    ("annotate", "normalization"): _CHOICE,
    ("transfer", "save_model"): "lexicell.tl.transfer_model",
    ("transfer", "target_organism"): "of the genes of TARGET",
    ("transfer", "labeled"): "the argument LABELED",
    ("transfer", "normalization"): _CHOICE,
}

# A flag that is spelled otherwise than the parameter it sets.
SPELLED = {"seed": "rng", "genes": "genes_file", "table": "table_file"}


def _function(name: str) -> Any:
    """What `name` says, below the package; of a private module, which `lexicell` does not have as an attribute."""
    module, _, function = name.rpartition(".")
    if module:
        return getattr(importlib.import_module(f"lexicell.{module}"), function)
    return getattr(lexicell, function)


def _parameters(command: str) -> dict[str, dict[str, Any]]:
    """Parameter -> function -> default, of the functions that a command calls and the objects that they take."""
    found: dict[str, dict[str, Any]] = {}
    functions = list(FUNCTIONS[command])
    for name in functions:
        for parameter in inspect.signature(_function(name)).parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                continue
            if parameter.name in OBJECTS:
                functions += [OBJECTS[parameter.name]] * (OBJECTS[parameter.name] not in functions)
            else:
                found.setdefault(parameter.name, {})[name] = parameter.default
    return found


def _options(command: str) -> dict[str, click.Option]:
    return {str(p.name): p for p in cli.commands[command].params if isinstance(p, click.Option)}


def _flag(option: click.Option) -> str:
    return max(option.opts, key=len)


def _default(option: click.Option) -> Any:
    """The default as Python would write it: nothing given is None, and so is a flag that is not set."""
    value = option.get_default(click.Context(click.Command("any")), call=True)
    unset = type(value).__name__ == "Sentinel" or value in ((), [], None)
    if unset or (value is False and not option.secondary_opts):
        return None
    return value


def _mismatches(command: str) -> dict[str, str]:
    """Name of an option or parameter -> what differs, with both sides named."""
    found: dict[str, str] = {}
    options, parameters = _options(command), _parameters(command)
    called = ", ".join(f"lexicell.{name}" for name in FUNCTIONS[command])
    for name, option in options.items():
        if name in ONLY_ON_THE_COMMAND_LINE:
            continue
        shown = f"lexicell {command} {_flag(option)}"
        if name not in parameters:
            found[name] = f"{shown} sets '{name}', which is no parameter of {called}"
            continue
        spelled = _flag(option).lstrip("-").replace("-", "_")
        repeated = option.multiple and name.startswith(spelled[:-1])  # --space, --query for space, queries
        if spelled != name and SPELLED.get(spelled) != name and not repeated:
            found[name] = f"{shown} is spelled otherwise than the parameter '{name}' of {called}"
        for function, default in parameters[name].items():
            wanted = default
            if default == () or (default is False and not option.secondary_opts):
                wanted = None
            required = default is inspect.Parameter.empty
            if option.required != required:
                needs = "is" if option.required else "is not"
                found[name] = f"{shown} {needs} required; lexicell.{function} has {name}={default!r}"
            elif not required and _default(option) != wanted:
                found[name] = f"{shown} is {_default(option)!r} by default; lexicell.{function} has {name}={default!r}"
    for name, functions in parameters.items():
        if name not in options and name not in ONLY_IN_PYTHON:
            found[name] = f"lexicell.{next(iter(functions))} has {name}=, which no option of lexicell {command} sets"
    return found


@pytest.mark.parametrize("command", FUNCTIONS)
def test_options_are_parameters(command: str) -> None:
    differences = {name: told for name, told in _mismatches(command).items() if (command, name) not in DIFFERENT}
    assert not differences, "\n".join(differences.values())


def test_no_difference_is_listed_that_is_none() -> None:
    there = {(command, name) for command in FUNCTIONS for name in _mismatches(command)}
    assert set(DIFFERENT) <= there, f"strike from DIFFERENT: {sorted(set(DIFFERENT) - there)}"


def test_every_command_is_compared() -> None:
    of_their_own = {"cache", "embedders", "inspect", "doctor"}  # of the store, the registry, a file, the installation
    assert set(cli.commands) - of_their_own == set(FUNCTIONS)
