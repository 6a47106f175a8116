"""BERT's forward pass in numpy and numba, written for all-MiniLM-L6-v2.

Texts of one call are laid end to end without padding: every linear layer is one matrix product over all their tokens,
and only attention looks at one text (or texts of one length) at a time. So no work is spent on padding, and a text's
vector does not depend on what it is batched with, beyond the rounding of the matrix product.

Matrix products are numpy's; what is between them is memory-bound and fused here: bias + GELU, bias + residual +
layer norm, softmax.

This module imports numba and is itself imported inside functions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...core.compiled.jit import compiled_fast

F32 = NDArray[np.float32]

_EPSILON = np.float32(1e-12)  # layer_norm_eps of the model's config
_f = np.float32


class Layer(NamedTuple):
    """Weights of one transformer layer, as the products below want them: ``(inputs, outputs)``, C-contiguous."""

    qkv: F32
    q_bias: F32
    out: F32
    out_bias: F32
    norm1: tuple[F32, F32]
    up: F32
    up_bias: F32
    down: F32
    down_bias: F32
    norm2: tuple[F32, F32]


class Bert:
    """A BERT encoder with mean pooling and unit length, as sentence-transformers runs this model.

    Parameters
    ----------
    weights
        Tensors under the names Hugging Face gives them.
    heads
        Number of attention heads.
    """

    def __init__(self, weights: Mapping[str, F32], *, heads: int) -> None:
        self.words = weights["embeddings.word_embeddings.weight"]
        # Every token is of type 0 where one text is encoded alone.
        kinds = weights["embeddings.token_type_embeddings.weight"]
        self.positions = np.ascontiguousarray(weights["embeddings.position_embeddings.weight"] + kinds[0])
        self.norm = (weights["embeddings.LayerNorm.weight"], weights["embeddings.LayerNorm.bias"])
        self.dim = int(self.words.shape[1])
        self.heads = heads
        count = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
        self.layers = [self._layer(weights, f"encoder.layer.{i}.") for i in range(count)]

    def _layer(self, weights: Mapping[str, F32], prefix: str) -> Layer:
        def of(name: str) -> tuple[F32, F32]:
            return weights[f"{prefix}{name}.weight"], weights[f"{prefix}{name}.bias"]

        (q, q_bias), (k, _), (v, v_bias) = (of(f"attention.self.{part}") for part in ("query", "key", "value"))
        out, out_bias = of("attention.output.dense")
        up, up_bias = of("intermediate.dense")
        down, down_bias = of("output.dense")
        scale = _f(1 / math.sqrt(self.dim // self.heads))
        # The key's bias adds the same number to all scores of a query, which softmax ignores; the value's bias passes
        # through attention unchanged, since its weights sum to one, and so joins the bias of the output layer.
        through = (out.astype(np.float64) @ v_bias + out_bias).astype(np.float32)
        return Layer(
            qkv=np.ascontiguousarray(np.concatenate([q * scale, k, v]).T),
            q_bias=q_bias * scale,
            out=np.ascontiguousarray(out.T),
            out_bias=through,
            norm1=of("attention.output.LayerNorm"),
            up=np.ascontiguousarray(up.T),
            up_bias=up_bias,
            down=np.ascontiguousarray(down.T),
            down_bias=down_bias,
            norm2=of("output.LayerNorm"),
        )

    def encode(self, tokens: Sequence[Sequence[int]]) -> F32:
        """Vectors of texts given as token ids; ``(len(tokens), dim)`` float32 of unit length.

        Texts of one length should be next to each other (sort by length): they share the products of attention.
        """
        lengths = [len(ids) for ids in tokens]
        total = sum(lengths)
        flat = np.fromiter((i for ids in tokens for i in ids), dtype=np.int64, count=total)
        x = np.empty((total, self.dim), dtype=np.float32)
        starts = np.cumsum([0, *lengths])
        embed_tokens(flat, starts, self.words, self.positions, *self.norm, x)
        qkv = np.empty((total, 3 * self.dim), dtype=np.float32)
        context = np.empty((total, self.dim), dtype=np.float32)
        y = np.empty((total, self.dim), dtype=np.float32)
        wide = np.empty((total, self.layers[0].up.shape[1]), dtype=np.float32)
        for layer in self.layers:
            np.matmul(x, layer.qkv, out=qkv)
            add_bias(qkv, layer.q_bias)
            self._attend(qkv, lengths, context)
            np.matmul(context, layer.out, out=y)
            add_norm(x, y, layer.out_bias, *layer.norm1)
            np.matmul(x, layer.up, out=wide)
            bias_gelu(wide, layer.up_bias)
            np.matmul(wide, layer.down, out=y)
            add_norm(x, y, layer.down_bias, *layer.norm2)
        pooled = np.empty((len(tokens), self.dim), dtype=np.float32)
        mean_unit(x, starts, pooled)
        return pooled

    def _attend(self, qkv: F32, lengths: Sequence[int], context: F32) -> None:
        width = self.dim // self.heads
        start = 0
        for length, group in groupby(lengths):
            count = sum(1 for _ in group)
            end = start + count * length
            # (texts, heads, tokens, width) views: BLAS takes them as they lie.
            parts = qkv[start:end].reshape(count, length, 3, self.heads, width)
            q, k, v = (parts[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
            scores = np.matmul(q, k.swapaxes(2, 3))
            softmax_rows(scores.reshape(-1, length))
            np.matmul(scores, v, out=context[start:end].reshape(count, length, self.heads, width).transpose(0, 2, 1, 3))
            start = end


@compiled_fast
def _exp(x: Any) -> Any:
    """e^x in float32 for x <= 0, to 3e-7 relative; 2^n times a polynomial, in terms that LLVM vectorizes.

    numpy's exp is not vectorized here and takes 20 times as long.
    """
    x = max(x, _f(-87.0))
    n = np.int32(x * _f(1.4426950408889634) - _f(0.5))
    r = x - _f(n) * _f(0.693359375) - _f(n) * _f(-2.12194440e-4)  # ln 2 in two parts: the first product is exact
    p = _f(1 / 5040)
    p = p * r + _f(1 / 720)
    p = p * r + _f(1 / 120)
    p = p * r + _f(1 / 24)
    p = p * r + _f(1 / 6)
    p = p * r + _f(0.5)
    p = p * r + _f(1.0)
    p = p * r + _f(1.0)
    # A float whose exponent bits are n + 127 and whose others are zero is 2^n.
    return p * np.int32((n + np.int32(127)) << np.int32(23)).view(np.float32)


@compiled_fast
def bias_gelu(x: Any, bias: Any) -> None:
    """Set x to gelu(x + bias) in place, exact GELU: z (1 + erf(z / sqrt 2)) / 2.

    erf by formula 7.1.26 of Abramowitz and Stegun, absolute error below 1.5e-7.
    """
    for i in range(x.shape[0]):
        row = x[i]
        for j in range(x.shape[1]):
            z = row[j] + bias[j]
            a = abs(z) * _f(0.7071067811865476)
            t = _f(1.0) / (_f(1.0) + _f(0.3275911) * a)
            p = _f(1.061405429)
            p = p * t + _f(-1.453152027)
            p = p * t + _f(1.421413741)
            p = p * t + _f(-0.284496736)
            p = p * t + _f(0.254829592)
            tail = _f(0.5) * p * t * _exp(-a * a)  # the normal distribution beyond |z|
            row[j] = z * (_f(1.0) - tail if z > _f(0.0) else tail)


@compiled_fast
def softmax_rows(x: Any) -> None:
    """Softmax of each row in place."""
    for i in range(x.shape[0]):
        row = x[i]
        top = row[0]
        for j in range(x.shape[1]):
            top = max(top, row[j])
        total = _f(0.0)
        for j in range(x.shape[1]):
            e = _exp(row[j] - top)
            row[j] = e
            total += e
        scale = _f(1.0) / total
        for j in range(x.shape[1]):
            row[j] *= scale


@compiled_fast
def add_bias(x: Any, bias: Any) -> None:
    """Add `bias` to the first columns of x, in place."""
    for i in range(x.shape[0]):
        for j in range(bias.shape[0]):
            x[i, j] += bias[j]


@compiled_fast
def _norm_row(row: Any, weight: Any, bias: Any) -> None:
    n = row.shape[0]
    mean = _f(0.0)
    for j in range(n):
        mean += row[j]
    mean /= _f(n)
    variance = _f(0.0)
    for j in range(n):
        variance += (row[j] - mean) * (row[j] - mean)
    scale = _f(1.0) / np.sqrt(variance / _f(n) + _EPSILON)
    for j in range(n):
        row[j] = (row[j] - mean) * scale * weight[j] + bias[j]


@compiled_fast
def add_norm(x: Any, y: Any, y_bias: Any, weight: Any, bias: Any) -> None:
    """Set x to layer_norm(x + y + y_bias) in place."""
    for i in range(x.shape[0]):
        row = x[i]
        for j in range(x.shape[1]):
            row[j] += y[i, j] + y_bias[j]
        _norm_row(row, weight, bias)


@compiled_fast
def embed_tokens(flat: Any, starts: Any, words: Any, positions: Any, weight: Any, bias: Any, x: Any) -> None:
    """Word plus position vectors of each text's tokens, normalized, into x."""
    for text in range(starts.shape[0] - 1):
        for i in range(starts[text], starts[text + 1]):
            row = x[i]
            for j in range(x.shape[1]):
                row[j] = words[flat[i], j] + positions[i - starts[text], j]
            _norm_row(row, weight, bias)


@compiled_fast
def mean_unit(x: Any, starts: Any, out: Any) -> None:
    """Sum of each text's rows, scaled to unit length, into out: the direction of the mean is that of the sum."""
    for text in range(starts.shape[0] - 1):
        row = out[text]
        row[:] = _f(0.0)
        for i in range(starts[text], starts[text + 1]):
            for j in range(x.shape[1]):
                row[j] += x[i, j]
        square = 0.0
        for j in range(x.shape[1]):
            square += np.float64(row[j]) * np.float64(row[j])
        scale = _f(1.0 / np.sqrt(square))
        for j in range(x.shape[1]):
            row[j] *= scale
