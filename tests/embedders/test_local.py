"""The local embedder: the vectors of sentence-transformers, from verified files, without a network."""

from __future__ import annotations

import hashlib
import http.server
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from lexicell._errors import InputError, MissingDependencyError, ProviderError
from lexicell.embedders import embed
from lexicell.embedders.local import MAX_TOKENS, Local
from lexicell.embedders.local import weights as _weights


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("tokenizers", reason="the extra 'local' is not installed")
    if not _weights.present():
        pytest.skip("the weights of the local embedder are not installed")
    return Local()


@pytest.fixture(scope="module")
def golden():
    """Our own texts and their vectors by ONNX Runtime, made with benchmarks/local_embedder.py of commit 6c72c73."""
    with np.load(Path(__file__).with_name("minilm_vectors.npz")) as file:
        return [str(text) for text in file["texts"]], file["vectors"]


def test_vectors_equal_onnx_runtime(model, golden):
    texts, vectors = golden
    assert len(texts) == 8
    np.testing.assert_allclose(model.embed(texts), vectors, rtol=0, atol=1e-6)


def test_vectors_equal_sentence_transformers(model, shared_data):
    with np.load(shared_data / "minilm_golden.npz") as file:
        texts, vectors = [str(text) for text in file["texts"]], file["vectors"]
    np.testing.assert_allclose(model.embed(texts), vectors, rtol=0, atol=1e-5)
    np.testing.assert_allclose(model.embed(texts), vectors, rtol=0, atol=1e-6)  # what it reaches


def test_a_text_does_not_depend_on_its_batch(model, golden):
    texts, _ = golden
    many = [*texts, *(f"{text} number {i}" for i in range(20) for text in texts[:6])]
    together = model.embed(many)
    order = np.random.default_rng(0).permutation(len(many))
    np.testing.assert_allclose(model.embed([many[i] for i in order]), together[order], rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([model.embed([t]) for t in many[:16]]), together[:16], rtol=0, atol=1e-6)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_threads_change_no_bit(golden, model):
    texts = [f"{text} number {i}" for i in range(4) for text in golden[0]] * 2
    one = Local(n_jobs=1).embed(texts)
    np.testing.assert_array_equal(Local(n_jobs=4).embed(texts), one)
    np.testing.assert_array_equal(Local(n_jobs=1).embed(texts), one)


def test_blas_threads_are_set_back(model):
    from threadpoolctl import threadpool_info

    before = threadpool_info()
    model.embed(["a"])
    assert [pool["num_threads"] for pool in threadpool_info()] == [pool["num_threads"] for pool in before]


def test_tokens_are_counted_uncut_and_long_texts_reported(model, golden):
    tokenizers = pytest.importorskip("tokenizers")
    texts = [*golden[0], "", "word " * 254, "word " * 255]
    uncut = tokenizers.Tokenizer.from_file(str(_weights.find() / "tokenizer.json"))
    uncut.no_truncation()
    uncut.no_padding()
    expected = [len(uncut.encode(text).ids) for text in texts]
    assert expected[-2:] == [256, 257]
    assert model.token_counts(texts).tolist() == expected
    assert model.truncated(texts).tolist() == [i for i, n in enumerate(expected) if n > MAX_TOKENS] == [7, 10]
    with pytest.warns(UserWarning, match="2 of 11 texts"):
        embed([*texts[:8], "x", *texts[9:]], model)


def test_only_the_first_256_tokens_count(model):
    base = "word " * 254
    np.testing.assert_array_equal(model.embed([base + "ending"]), model.embed([base + "another long end"]))
    assert np.abs(model.embed([base]) - model.embed(["word " * 253])).max() > 1e-5


def test_related_texts_lie_closer_than_unrelated_ones(model):
    axon, motor, food = model.embed(["transport along the axon", "kinesin moves cargo in neurons", "pasta with tomato"])
    assert axon @ motor > axon @ food + 0.2


def test_no_texts_and_unknown_n_jobs(model):
    assert model.embed([]).shape == (0, 384)
    with pytest.raises(InputError, match="n_jobs must be at least 1"):
        Local(n_jobs=0)


def test_the_weights_package_is_read_and_not_imported(model):
    script = """
import sys
from lexicell.embedders import local
vectors = local.Local().embed(["nerve"])
print(vectors.shape, sorted(m for m in sys.modules if m.startswith(("pyduck", "duckdb", "torch", "huggingface_hub"))))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 384) []"


# Where the files come from, with small files in their place.

SMALL = {"model.safetensors": b"weights", "tokenizer.json": b"{}"}


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Small files are the right ones, and no place holds any yet."""
    monkeypatch.setattr(_weights, "SHA256", {name: hashlib.sha256(data).hexdigest() for name, data in SMALL.items()})
    monkeypatch.setattr(_weights, "PACKAGE", "no-such-distribution")
    for name in ("LEXICELL_MODEL_DIR", "HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))

    def put(folder):
        folder.mkdir(parents=True)
        for name, data in SMALL.items():
            (folder / name).write_bytes(data)
        return folder

    return put


def snapshot(hub):
    return hub / "models--sentence-transformers--all-MiniLM-L6-v2" / "snapshots" / _weights.COMMIT


def test_places_are_searched_in_order(small, monkeypatch, tmp_path):
    """Each place added comes before those that were there."""
    assert not _weights.present()
    downloaded = small(_weights._download_folder())
    assert _weights.find() == downloaded
    cached = small(snapshot(tmp_path / "hf" / "hub"))
    assert _weights.find() == cached
    monkeypatch.setattr(_weights, "PACKAGE", "tiny-weights")
    installed = small(tmp_path / "site" / _weights.PACKAGE_FOLDER)
    info = tmp_path / "site" / "tiny_weights-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert _weights.find() == installed
    monkeypatch.setenv("LEXICELL_MODEL_DIR", str(small(tmp_path / "env")))
    assert _weights.find() == tmp_path / "env"
    assert _weights.find(small(tmp_path / "argument")) == tmp_path / "argument"
    assert _weights.present()


@pytest.mark.parametrize(
    ("name", "hub"), [("HF_HUB_CACHE", "x"), ("HF_HOME", "x/hub"), ("XDG_CACHE_HOME", "x/huggingface/hub")]
)
def test_the_hub_cache_follows_its_variables(small, monkeypatch, tmp_path, name, hub):
    monkeypatch.delenv("HF_HOME")
    monkeypatch.setenv(name, str(tmp_path / "x"))
    folder = small(snapshot(tmp_path / hub))
    assert _weights.find() == folder


def test_a_place_with_one_file_missing_is_passed_over(small, tmp_path):
    (small(snapshot(tmp_path / "hf" / "hub")) / "tokenizer.json").unlink()
    downloaded = small(_weights._download_folder())
    assert _weights.find() == downloaded


def test_without_weights_the_error_names_every_way(small, monkeypatch):
    monkeypatch.setattr("httpx.Client", lambda *a, **k: pytest.fail("reached for the network unasked"))
    with pytest.raises(MissingDependencyError) as raised:
        Local().embed(["a"])
    for words in ("lexicell[local]", "model_dir=", "LEXICELL_MODEL_DIR", "download=True", "hf/hub", "91 MB"):
        assert words in str(raised.value)


def test_a_named_folder_must_hold_the_files(small, monkeypatch, tmp_path):
    small(_weights._download_folder())  # the right files elsewhere do not stand in silently
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"named by model_dir holds no model\.safetensors and no tokenizer\.json"):
        Local(model_dir=tmp_path / "empty").embed(["a"])
    monkeypatch.setenv("LEXICELL_MODEL_DIR", str(tmp_path / "none"))
    with pytest.raises(InputError, match="named by LEXICELL_MODEL_DIR"):
        Local().embed(["a"])


@pytest.mark.parametrize("name", list(SMALL))
def test_a_changed_file_is_refused(small, tmp_path, name):
    folder = small(tmp_path / "changed")
    (folder / name).write_bytes(b"other")
    with pytest.raises(InputError, match=f"{name} is not the expected file of all-MiniLM-L6-v2"):
        _weights.read(folder, name)
    (other,) = set(SMALL) - {name}
    assert _weights.read(folder, other) == SMALL[other]


def test_safetensors_are_read(tmp_path):
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "b": {"dtype": "F32", "shape": [2, 3], "data_offsets": [8, 32]},
            "ids": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]},
        }
    ).encode()
    data = len(header).to_bytes(8, "little") + header + np.array([7]).tobytes() + np.arange(6, dtype="<f4").tobytes()
    (name, tensor), *others = _weights.tensors(data).items()
    assert (name, tensor.tolist(), others) == ("b", [[0, 1, 2], [3, 4, 5]], [])


class Hub(http.server.BaseHTTPRequestHandler):
    """The hub's resolve addresses, with a redirect as the real one has; `fault` decides what goes wrong."""

    fault = ""
    asked: list[str] = []

    def do_GET(self):
        type(self).asked.append(self.path)
        if not self.path.startswith("/storage"):
            self.send_response(302)
            self.send_header("location", f"/storage{self.path}")
            self.end_headers()
            return
        name = self.path.rpartition("/")[2]
        if self.fault == "missing":
            self.send_error(404)
            return
        data = b"other" if self.fault == "other" else SMALL[name]
        self.send_response(200)
        self.send_header("content-length", str(len(data) + (9 if self.fault == "cut" else 0)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(small, monkeypatch):  # after `small`, which clears the environment
    Hub.fault, Hub.asked = "", []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
    yield Hub
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_download_happens_when_told_to_and_once(hub):
    folder = _weights.find(download=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == SMALL
    assert [path for path in hub.asked if "storage" not in path] == [
        f"/sentence-transformers/all-MiniLM-L6-v2/resolve/{_weights.COMMIT}/{name}" for name in SMALL
    ]
    asked = len(hub.asked)
    assert _weights.find(download=True) == _weights.find() == folder
    assert len(hub.asked) == asked


@pytest.mark.parametrize(
    ("fault", "message"),
    [("missing", "could not be downloaded.*404"), ("cut", "could not be downloaded"), ("other", "sent another file")],
)
def test_a_failed_download_leaves_nothing_and_can_be_repeated(hub, fault, message):
    hub.fault = fault
    with pytest.raises(ProviderError, match=message):
        _weights.find(download=True)
    assert not any(_weights._download_folder().glob("*"))
    hub.fault = ""
    assert _weights._complete(_weights.find(download=True))


def test_no_server_is_one_clear_error(small, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ProviderError, match=r"could not be downloaded from http://127.0.0.1:9.*pip install"):
        Local(download=True).embed(["a"])
