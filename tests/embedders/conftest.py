"""Shared by the tests of embedders: the fault server, and waits short enough for tests."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address, key or proxy of the user's reaches a test."""
    for name in ("LEXICELL_API_KEY", "AZURE_OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def faults() -> ModuleType:
    """The module ``fault_server.py`` beside this file: the tests' folder is not on the import path."""
    name = "lexicell_fault_server"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("fault_server.py"))
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture
def serve(faults: ModuleType) -> Iterator[Callable[..., Any]]:
    """Start servers that stop with the test."""
    running = []

    def start(*args: Any, **options: Any) -> Any:
        running.append(faults.FaultServer(*args, **options))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def server(serve: Callable[..., Any]) -> Any:
    """One server of vectors of length 8."""
    return serve()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other without much of a wait."""
    monkeypatch.setattr("lexicell.embedders._retry.FIRST_WAIT", 0.01)
