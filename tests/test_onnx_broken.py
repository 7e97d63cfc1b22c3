"""Broken and hostile ONNX files: a ValueError, whatever is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import refuses, require
from onnx_models import X, agree, draw, make_model, node, node_model, residual_model

from pyrnnfast.onnx import InferenceSession, from_onnx

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


def test_operator_sets_must_be_known() -> None:
    model, _ = node_model("GRU", draw("GRU"))
    model.opset_import[0].version = 99
    refuses(ValueError, lambda: InferenceSession(model))


def test_what_onnx_runtime_refuses_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    model = make_model([node("NoSuchOperator", ["x"], ["y"])], {"x": X}, {}, ["y"])
    refuses(ValueError, lambda: InferenceSession(model))
    assert capfd.readouterr().out == ""


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


@pytest.mark.parametrize("kind", [0, 999])
def test_types_must_be_those_of_onnx(kind: int) -> None:
    for name in ("X", "sequence_lens"):
        model, _ = node_model("GRU", draw("GRU"))
        (value,) = (each for each in model.graph.input if each.name == name)
        value.type.tensor_type.elem_type = kind
        refuses(ValueError, lambda model=model: InferenceSession(model))


def test_inputs_must_be_declared_as_the_node_takes_them() -> None:
    for name, kind in (
        ("X", onnx.TensorProto.STRING),
        ("X", onnx.TensorProto.DOUBLE),
        ("initial_h", onnx.TensorProto.FLOAT16),
        ("sequence_lens", onnx.TensorProto.INT64),
    ):
        model, _ = node_model("GRU", draw("GRU"))
        (value,) = (each for each in model.graph.input if each.name == name)
        value.type.tensor_type.elem_type = kind
        refuses(ValueError, lambda model=model: InferenceSession(model))


def test_text_must_be_utf8() -> None:
    for text in (b"direction", b"linear_before_reset", b"GRU", b"sequence_lens", b"cell"):
        model, _ = node_model("GRU", draw("GRU"), direction="forward", linear_before_reset=1)
        broken = model.SerializeToString().replace(text, b"\xff" * len(text))
        refuses(ValueError, lambda broken=broken: InferenceSession(broken))
        refuses(ValueError, lambda broken=broken: from_onnx(broken))
    for attributes in ({"direction": b"\xff\xfe"}, {"activations": [b"\xff", b"Tanh"]}):
        model, _ = node_model("GRU", draw("GRU"), **attributes)
        refuses(ValueError, lambda model=model: InferenceSession(model))


def test_functions_that_double_are_refused() -> None:
    def function(number: int) -> Any:
        called = f"A{number + 1}" if number < 39 else "Relu"
        nodes = [
            onnx.helper.make_node(called, [x], [y], domain="mine" if number < 39 else "")
            for x, y in (("x", "middle"), ("middle", "y"))
        ]
        opsets = [onnx.helper.make_opsetid("mine", 1), onnx.helper.make_opsetid("", 17)]
        return onnx.helper.make_function("mine", f"A{number}", ["x"], ["y"], nodes, opsets)

    for first, refused in ((0, True), (35, False)):
        call = onnx.helper.make_node(f"A{first}", ["x"], ["y"], domain="mine")
        model = make_model([call], {"x": X}, {}, ["y"])
        model.functions.extend(map(function, range(first, 40)))
        model.opset_import.append(onnx.helper.make_opsetid("mine", 1))
        if refused:
            refuses(ValueError, lambda model=model: InferenceSession(model))
        else:
            agree(InferenceSession(model).run(None, {"x": X}), [np.maximum(X, 0)], 0)


def test_constants_must_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be computed is refused before it is."""
    monkeypatch.setattr("pyrnnfast.validation.MEMORY", 1_000_000)
    monkeypatch.setattr("pyrnnfast.onnx.graph.ReferenceEvaluator", None)
    shape = np.array([1, 16, 2**20], np.int64)
    for given, first in (
        ({"shape": shape}, []),
        ({}, [node("Constant", [], ["shape"], value=onnx.numpy_helper.from_array(shape))]),
        ({"a": shape[:1], "b": shape[1:]}, [node("Concat", ["a", "b"], ["shape"], axis=0)]),
    ):
        nodes = [
            *first,
            node("ConstantOfShape", ["shape"], ["W"]),
            node("LSTM", ["x", "W", "R"], ["Y"], hidden_size=4),
        ]
        constants = given | {"R": np.zeros((1, 16, 4), np.float32)}
        model = make_model(nodes, {"x": X}, constants, ["Y"])
        with pytest.raises(ValueError, match=r"must fit this machine's memory .*got "):
            InferenceSession(model)


def test_data_in_other_files_need_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, feeds = node_model("GRU", draw("GRU"))
    want = InferenceSession(model).run(None, feeds)
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="data", size_threshold=0)
    agree(InferenceSession(path).run(None, feeds), want, 0)
    monkeypatch.chdir(tmp_path)
    for source in (path.read_bytes(), onnx.load(path, load_external_data=False)):
        refuses(ValueError, lambda source=source: InferenceSession(source))


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
        except ValueError:
            refused += 1
    assert refused > 100
    for end in range(0, len(whole), 7):
        with pytest.raises(ValueError):  # noqa: PT011
            InferenceSession(bytes(whole[:end]))
