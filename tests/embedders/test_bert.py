"""BERT's forward pass against an obvious float64 version of it, on a tiny random model."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lexicell.embedders.local import bert as _bert

HEADS, DIM, WIDE, WORDS, PLACES, LAYERS = 4, 32, 80, 50, 40, 2


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    shapes = {
        "embeddings.word_embeddings": (WORDS, DIM),
        "embeddings.position_embeddings": (PLACES, DIM),
        "embeddings.token_type_embeddings": (2, DIM),
        "embeddings.LayerNorm": (DIM,),
    }
    for i in range(LAYERS):
        p = f"encoder.layer.{i}."
        for part in ("query", "key", "value"):
            shapes[f"{p}attention.self.{part}"] = (DIM, DIM)
        shapes |= {
            f"{p}attention.output.dense": (DIM, DIM),
            f"{p}attention.output.LayerNorm": (DIM,),
            f"{p}intermediate.dense": (WIDE, DIM),
            f"{p}output.dense": (DIM, WIDE),
            f"{p}output.LayerNorm": (DIM,),
        }
    out = {}
    for name, shape in shapes.items():
        out[f"{name}.weight"] = rng.normal(size=shape).astype(np.float32)
        out[f"{name}.bias"] = rng.normal(size=shape[0]).astype(np.float32)
    return out


def slow_vector(weights, ids):
    """One text, float64, one step a line, as the BERT paper and sentence-transformers' pooling state it."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}

    def dense(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-12)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def softmax(row):
        return np.exp(row - row.max()) / np.exp(row - row.max()).sum()

    x = np.array([w["embeddings.word_embeddings.weight"][i] for i in ids])
    x = x + w["embeddings.position_embeddings.weight"][: len(ids)] + w["embeddings.token_type_embeddings.weight"][0]
    x = norm(x, "embeddings.LayerNorm")
    for i in range(LAYERS):
        p = f"encoder.layer.{i}."
        q, k, v = (dense(x, f"{p}attention.self.{part}") for part in ("query", "key", "value"))
        context = np.zeros_like(x)
        for head in range(HEADS):
            part = slice(head * DIM // HEADS, (head + 1) * DIM // HEADS)
            for token in range(len(ids)):
                share = softmax(k[:, part] @ q[token, part] / math.sqrt(DIM // HEADS))
                context[token, part] = share @ v[:, part]
        x = norm(x + dense(context, f"{p}attention.output.dense"), f"{p}attention.output.LayerNorm")
        wide = dense(x, f"{p}intermediate.dense")
        wide = np.vectorize(lambda z: z * (1 + math.erf(z / math.sqrt(2))) / 2)(wide)
        x = norm(x + dense(wide, f"{p}output.dense"), f"{p}output.LayerNorm")
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_the_forward_pass_equals_the_slow_one(weights):
    rng = np.random.default_rng(1)
    tokens = [list(rng.integers(0, WORDS, size=n)) for n in (1, 2, 7, 7, 7, 19, 40, 2)]
    out = _bert.Bert(weights, heads=HEADS).encode(tokens)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, [slow_vector(weights, ids) for ids in tokens], rtol=0, atol=2e-6)


def test_neighbors_in_a_batch_change_nothing(weights):
    rng = np.random.default_rng(2)
    bert = _bert.Bert(weights, heads=HEADS)
    tokens = [list(rng.integers(0, WORDS, size=n)) for n in (3, 5, 5, 11, 30)]
    alone = np.concatenate([bert.encode([ids]) for ids in tokens])
    np.testing.assert_allclose(bert.encode(tokens), alone, rtol=0, atol=1e-6)
    np.testing.assert_allclose(bert.encode(tokens[::-1])[::-1], alone, rtol=0, atol=1e-6)


def test_gelu_over_its_range():
    x = np.linspace(-12, 12, 4001, dtype=np.float32).reshape(1, -1)
    bias = np.full(4001, 0.25, dtype=np.float32)
    exact = [(z + 0.25) * (1 + math.erf((z + 0.25) / math.sqrt(2))) / 2 for z in x[0].astype(float)]
    _bert.bias_gelu(x, bias)
    np.testing.assert_allclose(x[0], exact, rtol=3e-7, atol=5e-7)


@pytest.mark.parametrize("width", [1, 3, 16, 257])
def test_softmax_over_a_wide_range(width):
    x = np.random.default_rng(0).normal(size=(5, width)).astype(np.float32) * np.array(
        [[1], [10], [100], [1e4], [0]], "f4"
    )
    exact = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    exact /= exact.sum(axis=1, keepdims=True)
    _bert.softmax_rows(x)
    np.testing.assert_allclose(x, exact, rtol=1e-5, atol=1e-30 if width == 1 else 2e-7)
