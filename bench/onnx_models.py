"""Time of whole ONNX models, `pyrnnfast.onnx.InferenceSession` against ONNX Runtime's own.

    python bench/onnx_models.py --threads 2

Stacks as `to_onnx` writes them, and language models with their embedding and their linear layer. "given
weights" has W and R as inputs of the model, not constants. Both sessions must agree on the outputs before
anything is timed; then they take turns. ONNX Runtime runs with its own defaults, but for the number of
threads.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pyrnnfast import GRU, LSTM, RNN, __version__, runtime
from pyrnnfast.benchmark.timing import QUICK, THOROUGH, Pacing, alternate, timed
from pyrnnfast.models import LanguageModel
from pyrnnfast.onnx import InferenceSession, to_onnx
from pyrnnfast.text import Vocabulary

TOLERANCE = 1e-4
Model = tuple[ModelProto, dict[str, np.ndarray]]
"""A model, and what it is fed."""


def stack(layer: Any, steps: int, rows: int) -> Model:
    x = np.random.default_rng(0).standard_normal((steps, rows, layer.input_size), layer.dtype)
    return to_onnx(layer.eval()), {"x": x}


def given_weights(layer: Any, steps: int, rows: int) -> Model:
    """The same with the constants as inputs."""
    model, feeds = stack(layer, steps, rows)
    graph = model.graph
    for tensor in graph.initializer:
        if len(tensor.dims) == 3:
            graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims))
            feeds[tensor.name] = numpy_helper.to_array(tensor)
    kept = [tensor for tensor in graph.initializer if tensor.name not in feeds]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return model, feeds


def language_model(cell: str, hidden: int, layers: int, steps: int, rows: int) -> Model:
    vocabulary = Vocabulary.from_text("".join(map(chr, range(33, 98))))
    model = LanguageModel(vocabulary, cell=cell, hidden=hidden, layers=layers, rng=0)
    ids = np.random.default_rng(0).integers(len(vocabulary), size=(steps, rows))
    made = model.to_onnx()
    shapes = {value.name: value.type.tensor_type for value in made.graph.input}
    states = {name: np.zeros((layers, rows, hidden), np.float32) for name in list(shapes)[1:]}
    return made, {next(iter(shapes)): ids.astype(np.int64), **states}


MODELS: dict[str, Callable[[], Model]] = {
    "LSTM T 100, N 1, 64-128": lambda: stack(LSTM(64, 128, rng=0), 100, 1),
    "LSTM T 100, N 16, 64-128, 2 layers, bidirectional": lambda: stack(
        LSTM(64, 128, 2, bidirectional=True, rng=0), 100, 16
    ),
    "LSTM T 50, N 32, 512-512, 2 layers": lambda: stack(LSTM(512, 512, 2, rng=0), 50, 32),
    "LSTM T 50, N 8, 256-256, 2 layers": lambda: stack(LSTM(256, 256, 2, rng=0), 50, 8),
    "GRU T 100, N 1, 64-128": lambda: stack(GRU(64, 128, rng=0), 100, 1),
    "GRU T 50, N 32, 256-256, 2 layers, bidirectional": lambda: stack(
        GRU(256, 256, 2, bidirectional=True, rng=0), 50, 32
    ),
    "RNN T 100, N 16, 128-256": lambda: stack(RNN(128, 256, rng=0), 100, 16),
    "LSTM T 50, N 16, 256-256, given weights": lambda: given_weights(LSTM(256, 256, rng=0), 50, 16),
    "LSTM T 20, N 1, 512-512, given weights": lambda: given_weights(LSTM(512, 512, rng=0), 20, 1),
    "language model, LSTM 2 x 256, T 1, N 1": lambda: language_model("lstm", 256, 2, 1, 1),
    "language model, GRU 1 x 256, T 64, N 32": lambda: language_model("gru", 256, 1, 64, 32),
}


def measure(name: str, threads: int, pacing: Pacing) -> dict[str, Any]:
    model, feeds = MODELS[name]()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    sessions = {
        "pyrnnfast": InferenceSession(model),
        "ONNX Runtime": onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        ),
    }
    calls = {each: lambda session=session: session.run(None, feeds) for each, session in sessions.items()}
    first = {each: timed(call) for each, call in calls.items()}
    for got, want in zip(*(outputs for _, outputs in first.values()), strict=True):
        if not np.allclose(got, want, rtol=0, atol=TOLERANCE):
            raise SystemExit(f"{name}: the outputs differ by {np.abs(got - want).max():.2g}")
    timings = alternate(calls, pacing, {each: seconds for each, (seconds, _) in first.items()})
    return {each: timing.median for each, timing in timings.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=runtime.get_num_threads(), help="of both libraries")
    parser.add_argument("--quick", action="store_true", help="shorter turns")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    options = parser.parse_args()
    runtime.set_num_threads(options.threads)
    pacing = QUICK if options.quick else THOROUGH
    print(f"pyrnnfast {__version__}, ONNX Runtime {onnxruntime.__version__}, threads {options.threads}")
    results = {}
    for name in MODELS:
        results[name] = found = measure(name, options.threads, pacing)
        ratio = found["ONNX Runtime"] / found["pyrnnfast"]
        times = ", ".join(f"{each} {seconds * 1e3:.3f} ms" for each, seconds in found.items())
        print(f"{name:52} {times}   {ratio:.2f} x", flush=True)
    ratios = [found["ONNX Runtime"] / found["pyrnnfast"] for found in results.values()]
    print(f"geometric mean {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f} x")
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
