"""Models of transformers: a tiny random BERT made here, against its own arithmetic written out with numpy."""

from __future__ import annotations

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import lexicell as lx
from lexicell._errors import InputError, MissingDependencyError, ProviderError
from lexicell.embedders import _hub, local
from lexicell.embedders._recipe import read_recipe
from lexicell.embedders.local import weights as _weights

needs_torch = pytest.mark.skipif(
    not all(__import__("importlib.util").util.find_spec(name) for name in ("torch", "transformers")),
    reason="torch and transformers are not installed (extra 'hf')",
)
# torch warns of its own old spellings.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

WORDS = ["the", "gene", "carries", "cargo", "along", "axon", "mrna", "protein", "of", "and", "to", "SOD1", "sod1"]
WORDS += ["kinase", "stress", "granule"]
TEXTS = ["the gene carries cargo", "protein", "axon of the kinase and stress granule of the gene", "mrna to protein"]


def write_vocabulary(folder: Path) -> None:
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join([*marks, *WORDS]) + "\n")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """A folder with a random BERT of two layers, as a bare model of the hub has it."""
    torch = pytest.importorskip("torch", reason="torch is not installed (extra 'hf')")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra 'hf')")
    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=5 + len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
        max_position_embeddings=12, initializer_range=0.5)  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    write_vocabulary(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": 12}))
    return folder


def copy(tiny: Path, to: Path, **files) -> Path:
    shutil.copytree(tiny, to)
    for name, content in files.items():
        path = to / name.replace("__", "/").replace("_json", ".json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return to


# The arithmetic of BERT, written out ---------------------------------------------------------------------------------


def last_layer(folder: Path, text: str) -> np.ndarray:
    """The last layer of a BERT for one text, ``(tokens, hidden)`` float64, from its weights and nothing else."""
    weights = {
        k: v.astype(np.float64) for k, v in _weights.tensors((folder / "model.safetensors").read_bytes()).items()
    }
    config = json.loads((folder / "config.json").read_text())
    vocabulary = (folder / "vocab.txt").read_text().split("\n")
    ids = [vocabulary.index(word) if word in vocabulary else 1 for word in ["[CLS]", *text.lower().split(), "[SEP]"]]
    if len(ids) > 12:
        ids = [*ids[:11], vocabulary.index("[SEP]")]

    def norm(x, name):
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + config["layer_norm_eps"])
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    from scipy.special import erf, softmax

    x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    heads = config["num_attention_heads"]
    width = config["hidden_size"] // heads
    for i in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{i}"
        q, k, v = (linear(x, f"{at}.attention.self.{part}") for part in ("query", "key", "value"))
        mixed = np.empty_like(x)
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            mixed[:, part] = softmax(q[:, part] @ k[:, part].T / np.sqrt(width), axis=1) @ v[:, part]
        x = norm(x + linear(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
        h = linear(x, f"{at}.intermediate.dense")
        h = h * 0.5 * (1 + erf(h / np.sqrt(2)))
        x = norm(x + linear(h, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    return x


POOLED = {
    "mean": lambda x: x.mean(0),
    "cls": lambda x: x[0],
    "max": lambda x: x.max(0),
    "mean_sqrt_len": lambda x: x.sum(0) / np.sqrt(len(x)),
}


@needs_torch
@pytest.mark.parametrize("pooling", POOLED)
def test_vectors_equal_the_arithmetic_written_out(tiny, pooling) -> None:
    model = lx.embedders.get(f"hf:{tiny}", pooling=pooling, batch_size=3)
    vectors = lx.embedders.embed(TEXTS, model)
    wanted = np.stack([POOLED[pooling](last_layer(tiny, text)) for text in TEXTS])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, wanted, atol=2e-5)


@needs_torch
def test_the_mean_is_the_default_and_padding_does_not_count(tiny) -> None:
    alone = np.concatenate([lx.embedders.embed([t], lx.embedders.get(f"hf:{tiny}"), store=False) for t in TEXTS])
    together = lx.embedders.embed(TEXTS, lx.embedders.get(f"hf:{tiny}", pooling="mean", batch_size=4), store=False)
    np.testing.assert_allclose(together, alone, atol=2e-6)


@needs_torch
def test_long_texts_are_cut_and_told(tiny) -> None:
    long = " ".join(["axon"] * 11)  # 13 tokens with its marks, one more than the model reads
    with pytest.warns(UserWarning, match="their ends do not count: 1 of 2 texts"):
        vectors = lx.embedders.embed(["axon", long], f"hf:{tiny}")
    np.testing.assert_allclose(vectors[1], last_layer(tiny, long).mean(0), atol=2e-5)


@needs_torch
def test_batches_hold_texts_of_like_length_longest_first(tiny) -> None:
    model = lx.embedders.get(f"hf:{tiny}", batch_size=2)
    assert model.plan(TEXTS) == [[2, 0], [3, 1]]


@needs_torch
def test_a_number_format_is_part_of_the_revision_and_close(tiny) -> None:
    exact, coarse = (lx.embedders.get(f"hf:{tiny}", dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert coarse.revision == f"{exact.revision}-bfloat16"
    a, b = lx.embedders.embed(TEXTS, exact), lx.embedders.embed(TEXTS, coarse)
    assert b.dtype == np.float32
    assert 0 < np.abs(a - b).max() < 0.1


@needs_torch
def test_a_file_that_lacks_weights_is_refused(tiny, tmp_path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = copy(tiny, tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    weights.pop("encoder.layer.1.output.dense.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=r"lacks 1 weights of the model, e.g. 'encoder\.layer\.1\.output\.dense\.weight'"
    ):
        lx.embedders.embed(TEXTS, f"hf:{folder}")


@needs_torch
def test_a_cased_model_without_settings_keeps_its_capitals(tiny, tmp_path) -> None:
    folder = copy(tiny, tmp_path / "cased")
    (folder / "tokenizer_config.json").unlink()
    tokenizer = lx.embedders.get(f"hf:{folder}")._tokenizer()
    vocabulary = (folder / "vocab.txt").read_text().split("\n")
    assert tokenizer(["SOD1 sod1"])["input_ids"][0][1:-1] == [vocabulary.index("SOD1"), vocabulary.index("sod1")]


# Models of sentence-transformers -------------------------------------------------------------------------------------

SENTENCE = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]


def pooling(*modes: str) -> dict:
    return {"word_embedding_dimension": 16} | {f"pooling_mode_{mode}": True for mode in modes}


@needs_torch
def test_the_recipe_of_sentence_transformers_is_followed(tiny, tmp_path) -> None:
    folder = copy(tiny, tmp_path / "s", modules_json=SENTENCE,
                  **{"1_Pooling__config_json": pooling("cls_token", "mean_tokens"),
                     "sentence_bert_config_json": {"max_seq_length": 6, "do_lower_case": True}})  # fmt: skip
    model = lx.embedders.get(f"hf:{folder}")
    assert model.dim == 32
    assert model.revision.endswith("-cls+mean-6-unit-lower")
    with pytest.warns(UserWarning, match="1 of 4 texts"):
        vectors = lx.embedders.embed(TEXTS, model)
    for text, vector in zip(TEXTS, vectors, strict=True):
        layer = last_layer(folder, " ".join(text.split()[:4]))
        wanted = np.concatenate([layer[0], layer.mean(0)])
        np.testing.assert_allclose(vector, wanted / np.linalg.norm(wanted), atol=1e-5)


@needs_torch
def test_minilm_equals_the_local_embedder() -> None:
    if not _weights.present():
        pytest.skip("the weights of MiniLM are not on this machine (extra 'local')")
    texts = [
        *TEXTS,
        "SOD1 superoxide dismutase 1 " * 60,
        "Mutations cause amyotrophic lateral sclerosis (ALS); see β-actin.",
    ]
    model = lx.embedders.get(f"hf:{_weights.find()}")
    with pytest.warns(UserWarning, match="1 of 6 texts"):
        ours = lx.embedders.embed(texts, model)
    assert "-mean-256-unit" in model.revision
    np.testing.assert_allclose(ours, local.Local().embed(texts), atol=1e-5)


def write_recipe(folder: Path, **files) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"hidden_size": 16, "max_position_embeddings": 512}))
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_json", ".json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return folder


POOLING = "1_Pooling__config_json"
ROBERTA = {"hidden_size": 16, "max_position_embeddings": 514, "model_type": "roberta"}


@pytest.mark.parametrize(
    ("files", "mark"),
    [
        pytest.param({}, "mean-512", id="bare"),
        pytest.param({"config_json": {"dim": 16, "max_position_embeddings": 128}}, "mean-128", id="short"),
        pytest.param({"config_json": ROBERTA}, "mean-512", id="roberta"),
        pytest.param({"tokenizer_config_json": {"model_max_length": 10**30}}, "mean-512", id="no-limit"),
        pytest.param({"tokenizer_config_json": {"model_max_length": 256}}, "mean-256", id="limit-of-tokenizer"),
        pytest.param({"modules_json": SENTENCE[:2], POOLING: pooling("cls_token")}, "cls-512", id="cls"),
        pytest.param({"modules_json": SENTENCE, POOLING: {"pooling_mode": "mean"}}, "mean-512-unit", id="new"),
        pytest.param({"sentence_bert_config_json": {"max_seq_length": 9999}}, "mean-512", id="more-than-positions"),
    ],
)
def test_recipes(tmp_path, files, mark) -> None:
    assert read_recipe(write_recipe(tmp_path / "m", **files)).mark == mark


def test_a_default_prompt_is_put_before_each_text(tmp_path) -> None:
    prompts = {"prompts": {"query": "query: ", "passage": "passage: "}, "default_prompt_name": "passage"}
    folder = write_recipe(tmp_path / "m", modules_json=SENTENCE, config_sentence_transformers_json=prompts)
    assert read_recipe(folder).prompt == "passage: "
    assert lx.embedders.get(f"hf:{folder}")._worded(["a"]) == ["passage: a"]


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({"config_json": {"d_model": 3}}, {}, "states no hidden_size"),
        ({"modules_json": [{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]}, {}, "a step 'Dense'"),
        (
            {"modules_json": SENTENCE, "1_Pooling__config_json": pooling("lasttoken")},
            {},
            "pools by 'pooling_mode_lasttoken'",
        ),
        (
            {"modules_json": SENTENCE, "1_Pooling__config_json": {"word_embedding_dimension": 3}},
            {},
            "expects 3 numbers",
        ),
        ({}, {"max_tokens": 600}, "more than the 512 tokens"),
    ],
)
def test_recipes_that_cannot_be_followed_are_refused(tmp_path, files, options, message) -> None:
    with pytest.raises(InputError, match=message):
        read_recipe(write_recipe(tmp_path / "m", **files), **options)


# Names, revisions and places -----------------------------------------------------------------------------------------

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_cache(root: Path, model: str = "owner/toy") -> Path:
    """A Hugging Face cache with one model, as the hub's own library lays it out."""
    folder = root / f"models--{model.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(COMMIT)
    snapshot = write_recipe(folder / "snapshots" / COMMIT)
    (snapshot / "model.safetensors").write_bytes(b"weights")
    return snapshot


@pytest.fixture
def hub_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.parametrize("name", ["hf:owner/toy", "hf:owner/toy@main", f"hf:owner/toy@{COMMIT}"])
def test_a_cached_model_is_known_by_its_commit(hub_cache, name) -> None:
    write_cache(hub_cache)
    model = lx.embedders.get(name)
    assert (model.name, model.revision, model.dim) == ("hf:owner/toy", f"{COMMIT}-mean-512", 16)
    assert not model.leaves_machine


def test_aliases_are_the_models_they_stand_for(hub_cache) -> None:
    write_cache(hub_cache, "cambridgeltl/SapBERT-from-PubMedBERT-fulltext")
    model = lx.embedders.get("sapbert")
    assert model.name == "hf:cambridgeltl/SapBERT-from-PubMedBERT-fulltext"
    assert model.revision == f"{COMMIT}-cls-512"  # as its authors pool it
    assert lx.embedders.get("sapbert", pooling="mean").revision == f"{COMMIT}-mean-512"
    described = lx.embedders.list().set_index("name")
    assert described.loc["biobert", "dim"] == 768
    assert "download=True" in described.loc["biobert", "needs"]
    assert "download=True" not in described.loc["sapbert", "needs"]


def test_a_missing_model_is_not_fetched_unasked(hub_cache) -> None:
    model = lx.embedders.get("biobert")  # making it is fine
    with pytest.raises(MissingDependencyError, match=r"reaches no network unasked.*download=True"):
        lx.embedders.embed(["a"], model)


def test_half_a_snapshot_counts_as_missing(hub_cache) -> None:
    (write_cache(hub_cache) / "model.safetensors").unlink()
    with pytest.raises(MissingDependencyError):
        lx.embedders.get("hf:owner/toy").dim  # noqa: B018


def test_offline_forbids_a_download(hub_cache, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="HF_HUB_OFFLINE forbids"):
        lx.embedders.get("hf:owner/toy", download=True).dim  # noqa: B018


def test_a_folder_is_known_by_its_files_not_its_place(tmp_path) -> None:
    one, two = (write_recipe(tmp_path / place / "toy") for place in "ab")
    (two / "README.md").write_text("other words")
    assert lx.embedders.get(f"hf:{one}").name == "hf:toy"
    assert lx.embedders.get(f"hf:{one}").revision == lx.embedders.get(f"hf:{two}").revision
    (two / "model.safetensors").write_bytes(b"other weights")
    assert lx.embedders.get(f"hf:{one}").revision != lx.embedders.get(f"hf:{two}").revision


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hf:./no/such/folder", {}, "neither an existing folder nor a name"),
        ("hf:a/b/c", {}, "neither an existing folder nor a name"),
        ("hf:a/b@main", {"revision": "v1"}, "the revision is given twice"),
        ("biobert", {"pooling": "sum"}, "unknown pooling 'sum'"),
        ("biobert", {"dtype": "int8"}, "unknown dtype 'int8'"),
        ("biobert", {"batch_size": 0}, "at least 1"),
        ("biobert", {"folder": "x"}, "no option 'folder'"),
    ],
)
def test_options_that_cannot_be(name, options, message) -> None:
    with pytest.raises(InputError, match=message):
        lx.embedders.get(name, **options)


def test_where_torch_is_absent_it_is_said(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("lexicell.embedders.huggingface.importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"need torch and transformers: pip install 'lexicell\[hf\]'"):
        lx.embedders.embed(["a"], f"hf:{write_recipe(tmp_path / 'toy')}")


# Download ------------------------------------------------------------------------------------------------------------


class _Hub(BaseHTTPRequestHandler):
    """As much of the hub as a download needs: a list of files, and each with its commit and its hash."""

    files: dict[str, bytes] = {}
    asked: list[str] = []

    def log_message(self, *args) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        name = path.partition(f"/resolve/{COMMIT}/")[2] or path.partition("/resolve/main/")[2]
        if path.startswith("/api/models/owner/toy/tree/"):
            entries = [{"type": "file", "path": file, "size": len(raw), "oid": "x"} for file, raw in self.files.items()]
            raw = json.dumps(entries).encode()
        elif path.startswith("/api/models/owner/toy"):
            listed = [{"rfilename": file} for file in self.files]
            raw = json.dumps({"id": "owner/toy", "sha": COMMIT, "siblings": listed, "private": False}).encode()
        elif name in self.files:
            raw = self.files[name]
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.send_header("x-repo-commit", COMMIT)
        self.send_header("etag", f'"{abs(hash((name, raw)))}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(raw)


@pytest.fixture
def hub(hub_cache, monkeypatch):
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed (extra 'hf')")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    # The library reads its settings once, when it is imported.
    for name, value in {"ENDPOINT": address, "HF_HUB_CACHE": str(hub_cache), "HF_HUB_OFFLINE": False}.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", address, raising=False)
    monkeypatch.setattr(_Hub, "files", {"config.json": b'{"hidden_size": 16}', "vocab.txt": b"a\n", "README.md": b"#"})
    monkeypatch.setattr(_Hub, "asked", [])
    yield _Hub
    server.shutdown()
    server.server_close()


def test_a_download_takes_one_kind_of_weights_and_pins_the_commit(hub, hub_cache) -> None:
    hub.files |= {"model.safetensors": b"w", "pytorch_model.bin": b"w2", "onnx/model.onnx": b"o"}
    model = lx.embedders.get("hf:owner/toy", download=True)
    assert hub.asked == []  # not before it is needed
    assert model.revision == f"{COMMIT}-mean-512"
    assert sorted(path.name for path in model.folder.iterdir()) == ["config.json", "model.safetensors", "vocab.txt"]
    asked = len(hub.asked)
    assert lx.embedders.get("hf:owner/toy").revision == model.revision  # from now on without the network
    assert lx.embedders.get("hf:owner/toy", download=True).revision == model.revision
    assert len(hub.asked) == asked


def test_older_weights_are_taken_where_there_are_no_others(hub) -> None:
    hub.files |= {"pytorch_model.bin": b"w2"}
    folder = _hub.find("owner/toy", "main", allow_download=True)
    assert (folder / "pytorch_model.bin").read_bytes() == b"w2"


def test_a_failed_download_is_one_error(hub) -> None:
    with pytest.raises(ProviderError, match="'owner/other' could not be fetched from the hub"):
        lx.embedders.get("hf:owner/other", download=True).dim  # noqa: B018
    with pytest.raises(ProviderError, match="no weights that transformers"):
        lx.embedders.get("hf:owner/toy", download=True).dim  # noqa: B018
