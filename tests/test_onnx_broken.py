"""Broken and hostile ONNX files: a ValueError, whatever is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import refuses, require
from onnx_models import draw, node_model, residual_model

from pyrnnfast.onnx import InferenceSession

onnx = require("onnx")
require("onnxruntime")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    for bad in (3, None, [b""]):
        refuses(TypeError, lambda bad=bad: InferenceSession(bad))
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\xff" * 100)
    for broken in (b"nothing", b"\xff" * 100, path):
        refuses(ValueError, lambda broken=broken: InferenceSession(broken))


def test_graphs_must_hold_together() -> None:
    def changed(change: Any) -> Any:
        model = residual_model()
        change(model.graph)
        return model

    def swap(graph: Any) -> None:
        first, second = onnx.NodeProto(), onnx.NodeProto()
        first.CopyFrom(graph.node[0])
        second.CopyFrom(graph.node[1])
        graph.node[0].CopyFrom(second)
        graph.node[1].CopyFrom(first)

    def twice(graph: Any) -> None:
        graph.node[3].output[0] = "p"

    def unknown(graph: Any) -> None:
        graph.node[0].input[0] = "nowhere"

    def lost(graph: Any) -> None:
        graph.output[0].name = "nowhere"

    for change in (swap, twice, unknown, lost):
        refuses(ValueError, lambda change=change: InferenceSession(changed(change)))


def test_tensors_that_lie_about_their_size() -> None:
    model, _ = node_model("LSTM", draw("LSTM"))
    for dims in ([1, 28, 5], [1, 28, 2**40], [2**31, 2**31, 4], [-1, 28, 4]):
        lying = onnx.ModelProto()
        lying.CopyFrom(model)
        (tensor,) = (each for each in lying.graph.initializer if each.name == "W")
        tensor.ClearField("dims")
        tensor.dims.extend(dims)
        refuses(ValueError, lambda lying=lying: InferenceSession(lying))
        refuses(ValueError, lambda lying=lying: InferenceSession(lying.SerializeToString()))


def test_bytes_that_are_damaged_never_crash() -> None:
    """Whatever is changed in a file: a ValueError, or it runs, or its run is refused."""
    model, feeds = node_model("GRU", draw("GRU", hidden=2))
    whole = bytearray(model.SerializeToString())
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in random.integers(len(whole), size=3):
            damaged[place] = random.integers(256)
        try:
            InferenceSession(bytes(damaged)).run(None, feeds)
        except (TypeError, ValueError):
            refused += 1
    assert refused > 100
    for end in range(0, len(whole), 7):
        with pytest.raises(ValueError):  # noqa: PT011
            InferenceSession(bytes(whole[:end]))
