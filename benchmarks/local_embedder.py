"""CPU time of the local embedder beside ONNX Runtime, on the same weights and the same batches.

    python benchmarks/local_embedder.py [--texts FILE.tsv.gz] [--count 96]

Needs `onnx` and `onnxruntime`. Both run in this process, on one thread each, batch by batch in turn, and process CPU
time is compared: on a shared machine the ratio holds where wall time does not. Tokenizing is left out of both. The
ONNX graph is built here from the same tensors, once with plain operators, as exporters write it, and once with ONNX
Runtime's own fused operators (Attention, SkipLayerNormalization, BiasGelu), its fastest form. Batches hold 16 texts
sorted by length; ONNX Runtime pads each to its longest text. Run it again with OPENBLAS_CORETYPE=Haswell to see numpy's
AVX2 products.
"""

from __future__ import annotations

import argparse
import gzip
import math
import os
import time
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from threadpoolctl import threadpool_info, threadpool_limits

from lexicell.embedders import _weights, local

HEADS, EPSILON = 12, 1e-12


class Graph:
    """Nodes and tensors of a graph under construction; `op` returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: object) -> str:
        """Add a node."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], domain=domain, **attributes))
        return name

    def const(self, value: np.ndarray) -> str:
        """Add a constant."""
        name = f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


def build(weights: dict[str, np.ndarray], *, fused: bool) -> bytes:
    """The encoder with mean pooling and unit length: inputs `ids` and `mask`, (texts, tokens) int64."""
    g = Graph()
    words = g.op("Gather", g.const(weights["embeddings.word_embeddings.weight"]), "ids")
    length = g.op("Gather", g.op("Shape", "ids"), g.const(np.array(1)))
    places = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
    places = g.op("Slice", g.const(places), g.const(np.array([0])), g.op("Reshape", length, g.const(np.array([1]))))
    x = norm(g, g.op("Add", words, places), weights, "embeddings.LayerNorm")
    mask = g.op("Cast", "mask", to=TensorProto.FLOAT)
    short = g.op("Cast", "mask", to=TensorProto.INT32)
    hidden = g.op("Mul", g.op("Sub", mask, g.const(np.float32([1]))), g.const(np.float32([1e9])))
    hidden = g.op("Unsqueeze", hidden, g.const(np.array([1, 2])))
    for i in range(6):
        p = f"encoder.layer.{i}."
        attended = attention_fused(g, x, short, weights, p) if fused else attention(g, x, hidden, weights, p)
        y = g.op("MatMul", attended, g.const(weights[f"{p}attention.output.dense.weight"].T))
        x = skip(g, x, y, weights, f"{p}attention.output", fused=fused)
        y = g.op("MatMul", x, g.const(weights[f"{p}intermediate.dense.weight"].T))
        y = gelu(g, y, g.const(weights[f"{p}intermediate.dense.bias"]), fused=fused)
        y = g.op("MatMul", y, g.const(weights[f"{p}output.dense.weight"].T))
        x = skip(g, x, y, weights, f"{p}output", fused=fused)
    kept = g.op("Mul", x, g.op("Unsqueeze", mask, g.const(np.array([2]))))
    total = g.op("ReduceSum", kept, g.const(np.array([1])), keepdims=0)
    size = g.op("Sqrt", g.op("ReduceSum", g.op("Mul", total, total), g.const(np.array([1])), keepdims=1))
    g.nodes.append(helper.make_node("Div", [total, size], ["vectors"]))
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"]) for name in ("ids", "mask")]
    output = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["texts", 384])
    graph = helper.make_graph(g.nodes, "minilm", inputs, [output], g.tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def norm(g: Graph, x: str, weights: dict[str, np.ndarray], name: str) -> str:
    weight, bias = g.const(weights[f"{name}.weight"]), g.const(weights[f"{name}.bias"])
    return g.op("LayerNormalization", x, weight, bias, epsilon=EPSILON, axis=-1)


def skip(g: Graph, x: str, y: str, weights: dict[str, np.ndarray], name: str, *, fused: bool) -> str:
    bias = g.const(weights[f"{name}.dense.bias"])
    if not fused:
        return norm(g, g.op("Add", x, g.op("Add", y, bias)), weights, f"{name}.LayerNorm")
    gamma, beta = (g.const(weights[f"{name}.LayerNorm.{part}"]) for part in ("weight", "bias"))
    return g.op("SkipLayerNormalization", x, y, gamma, beta, bias, domain="com.microsoft", epsilon=EPSILON)


def gelu(g: Graph, x: str, bias: str, *, fused: bool) -> str:
    if fused:
        return g.op("BiasGelu", x, bias, domain="com.microsoft")
    z = g.op("Add", x, bias)
    erf = g.op("Erf", g.op("Div", z, g.const(np.float32(math.sqrt(2)))))
    return g.op("Mul", g.op("Mul", z, g.op("Add", erf, g.const(np.float32(1)))), g.const(np.float32(0.5)))


def attention_fused(g: Graph, x: str, mask: str, weights: dict[str, np.ndarray], p: str) -> str:
    parts = [f"{p}attention.self.{part}" for part in ("query", "key", "value")]
    weight = g.const(np.concatenate([weights[f"{part}.weight"] for part in parts]).T)
    bias = g.const(np.concatenate([weights[f"{part}.bias"] for part in parts]))
    return g.op("Attention", x, weight, bias, mask, domain="com.microsoft", num_heads=HEADS)


def attention(g: Graph, x: str, hidden: str, weights: dict[str, np.ndarray], p: str) -> str:
    split = g.const(np.array([0, 0, HEADS, 32]))

    def heads(part: str, order: list[int]) -> str:
        y = g.op("MatMul", x, g.const(weights[f"{p}attention.self.{part}.weight"].T))
        y = g.op("Add", y, g.const(weights[f"{p}attention.self.{part}.bias"]))
        return g.op("Transpose", g.op("Reshape", y, split), perm=order)

    q, k, v = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
    scores = g.op("Div", g.op("MatMul", q, k), g.const(np.float32(math.sqrt(32))))
    shares = g.op("Softmax", g.op("Add", scores, hidden), axis=-1)
    context = g.op("Transpose", g.op("MatMul", shares, v), perm=[0, 2, 1, 3])
    return g.op("Reshape", context, g.const(np.array([0, 0, 384])))


def session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def padded(batch: list[list[int]]) -> dict[str, np.ndarray]:
    ids = np.zeros((len(batch), max(map(len, batch))), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return {"ids": ids, "mask": mask}


def texts_of(path: str | None, count: int) -> dict[str, list[str]]:
    """Sets of texts by name: words, and paragraphs from a table with a `summary` column or made of words."""
    import lexicell.sources.lexicon as lexicon

    table, _ = lexicon.load()
    short = list(table["concept"])[:count]
    if path is None:
        paragraphs = list(table["description"])
        long = [" ".join(paragraphs[i : i + 5]) for i in range(count)]
    else:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            column = file.readline().rstrip("\n").split("\t").index("summary")
            lines = [line.rstrip("\n").split("\t") for line in file]
        long = [line[column] for line in lines[:: max(1, len(lines) // count)]][:count]
    return {"words (concept names)": short, "paragraphs (gene texts)": long}


def measure(
    runs: dict[str, Callable[[list[list[int]]], np.ndarray]], batches: list[list[list[int]]]
) -> dict[str, float]:
    """CPU seconds of each run over all batches, interleaved; the least of five rounds for each batch."""
    best = {name: [math.inf] * len(batches) for name in runs}
    for _ in range(5):
        for i, batch in enumerate(batches):
            for name, run in runs.items():
                start = time.process_time()
                run(batch)
                best[name][i] = min(best[name][i], time.process_time() - start)
    return {name: sum(times) for name, times in best.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", help="gzipped TSV with a column `summary`; default: paragraphs made of the lexicon")
    parser.add_argument("--count", type=int, default=96)
    args = parser.parse_args()
    bert, tokenizer = local.Local()._load()
    weights = _weights.tensors(_weights.read(_weights.find(), "model.safetensors"))
    sessions = {
        "ort, plain graph": session(build(weights, fused=False)),
        "ort, fused graph": session(build(weights, fused=True)),
    }
    runs: dict[str, Callable[[list[list[int]]], np.ndarray]] = {"lexicell": bert.encode}
    for name, runtime in sessions.items():
        runs[name] = lambda batch, runtime=runtime: runtime.run(None, padded(batch))[0]
    blas = [
        (pool["internal_api"], pool["version"], pool["architecture"])
        for pool in threadpool_info()
        if "architecture" in pool
    ]
    print(f"numpy {np.__version__}, {blas[0]}, onnxruntime {onnxruntime.__version__}, "
          f"OPENBLAS_CORETYPE={os.environ.get('OPENBLAS_CORETYPE', 'unset')}")  # fmt: skip
    with threadpool_limits(limits=1, user_api="blas"):
        for name, texts in texts_of(args.texts, args.count).items():
            tokens = sorted((encoding.ids for encoding in tokenizer.encode_batch(texts)), key=len)
            batches = [tokens[i : i + 16] for i in range(0, len(tokens), 16)]
            error = max(np.abs(run(batches[-1]) - bert.encode(batches[-1])).max() for run in runs.values())
            cost = measure(runs, batches)
            mean = np.mean([len(ids) for ids in tokens])
            print(f"{name}: {len(texts)} texts, {mean:.0f} tokens, largest difference {error:.1e}")
            for run, seconds in cost.items():
                ratio = cost["lexicell"] / seconds
                print(f"  {run:18} {1000 * seconds / len(texts):8.2f} CPU ms a text   lexicell / this = {ratio:.2f}")


if __name__ == "__main__":
    main()
