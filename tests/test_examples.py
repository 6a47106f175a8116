"""Every example in a docstring runs and gives what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import warnings

import pytest

import lexicell

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
# Modules whose examples need an extra, and the package that comes with it.
NEEDS = {"lexicell.embedders.local": "tokenizers", "lexicell.embedders.huggingface": "torch"}


def with_examples() -> list[str]:
    names = []
    for info in pkgutil.walk_packages(lexicell.__path__, "lexicell."):
        if info.name.rpartition(".")[2] == "__main__" or "_kernels" in info.name:
            continue
        source = importlib.util.find_spec(info.name)
        if source is not None and source.origin and ">>> " in source.loader.get_source(info.name):
            names.append(info.name)
    return names


@pytest.mark.parametrize("name", with_examples())
def test_examples_of(name: str) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason="the example needs an extra")
    module = importlib.import_module(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        failed, tried = doctest.testmod(module, optionflags=FLAGS)
    assert tried or "doctest: +SKIP" in module.__loader__.get_source(name)
    assert not failed
