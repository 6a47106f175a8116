"""Test-wide rules: no network but loopback, no shared cache, headless figures."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

_LOOPBACK = {"localhost", "127.0.0.1", "::1", "0.0.0.0", ""}
_connect = socket.socket.connect
_getaddrinfo = socket.getaddrinfo


def _is_local(host: object) -> bool:
    text = host.decode() if isinstance(host, bytes) else str(host)
    return text in _LOOPBACK or text.startswith("127.") or text == "None"


def _guarded_connect(self: socket.socket, address: Any) -> None:
    if self.family != socket.AF_UNIX and not _is_local(address[0]):
        raise RuntimeError(f"a test tried to reach {address[0]}: tests may use loopback only")
    return _connect(self, address)


def _guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
    if not _is_local(host):
        raise RuntimeError(f"a test tried to look up {host}: tests may use loopback only")
    return _getaddrinfo(host, *args, **kwargs)


socket.socket.connect = _guarded_connect  # type: ignore[method-assign]
socket.getaddrinfo = _guarded_getaddrinfo


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache, and no key of the user's leaks into a test."""
    monkeypatch.setenv("LEXICELL_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    for name in ("OPENAI_API_KEY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def lexicell(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run a command in this process; gives the exit code and what stderr and stdout said."""
    from lexicell.cli import main

    def call(*words: object) -> tuple[int, str]:
        try:
            main([str(w) for w in words])
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        said = capfd.readouterr()
        return code, said.err + said.out

    return call


SHARED = Path(os.environ.get("LEXICELL_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real data sets that are not part of the project; tests that need it skip without it."""
    if not SHARED.is_dir():
        pytest.skip("no folder of real data sets; name one with LEXICELL_TEST_DATA")
    return SHARED


@pytest.fixture(scope="session")
def fork_cells() -> Callable[[int], Any]:
    """Make cells of eight donors on a fork; those of odd donors, the later stage, lie further along."""
    import anndata
    import pandas as pd
    import scipy.sparse as sp

    def make(n: int) -> Any:
        rng = np.random.default_rng(0)
        donor = np.arange(n) % 8
        t = np.clip(rng.beta(2, 2, n) * 0.6 + 0.4 * (donor % 2), 0, 1)
        arm = rng.integers(2, size=n)
        late = np.maximum(t - 0.4, 0) / 0.6
        rate = np.tile(rng.gamma(4, 0.5, size=90), (n, 1))
        rate[:, :20] *= (1 + 6 * (1 - t))[:, None]
        rate[:, 20:40] *= (1 + 8 * late * (arm == 0))[:, None]
        rate[:, 40:60] *= (1 + 8 * late * (arm == 1))[:, None]
        adata = anndata.AnnData(sp.csr_matrix(rng.poisson(rate).astype(np.float32)))
        adata.var_names = [f"g{i}" for i in range(90)]
        adata.obs_names = [f"c{i}" for i in range(n)]
        adata.obs["donor"] = pd.Categorical([f"d{d}" for d in donor])
        adata.obs["stage"] = pd.Categorical(np.array(["well", "ill"])[donor % 2])
        adata.obs["first"] = pd.Categorical(np.where(t < np.quantile(t, 0.1), "yes", "no"))
        return adata

    return make
