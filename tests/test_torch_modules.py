"""Our modules where PyTorch looks at modules: symbolic traces, creation without weights, exports."""

from __future__ import annotations

import inspect
import io
from typing import Any

import pytest
from conftest import require
from torch_twins import CELLS, LAYERS, assert_agree, leaves, nn, on_kernels, ours, run, torch, twins


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_a_symbolic_trace_has_a_node_for_a_module(name: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = getattr(ours, name)(3, 5)

        def forward(self, x: object) -> object:
            return self.inner(x.relu())

    model, x = Model(), torch.randn(2, 3)
    traced = torch.fx.symbolic_trace(model)
    assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["inner"]
    assert all(torch.equal(a, b) for a, b in zip(leaves(traced(x)), leaves(model(x)), strict=True))


@pytest.mark.parametrize("name", CELLS)
def test_skip_init(name: str) -> None:
    module = nn.utils.skip_init(getattr(ours, name), 3, 5)
    assert module.weight_ih.shape[1] == 3
    assert type(module) is getattr(ours, name)


@pytest.mark.filterwarnings("ignore")  # of the exporter
@pytest.mark.parametrize("name", LAYERS)
def test_export_to_onnx(name: str) -> None:
    onnx = require("onnx")
    stock, module = twins(name, 3, 5)
    x, graphs = torch.randn(4, 2, 3), []
    for m in (stock, module):
        file = io.BytesIO()
        torch.onnx.export(m.eval(), (x,), file, dynamo=False)
        graphs.append(onnx.load_from_string(file.getvalue()).graph)
    theirs, mine = ([(n.op_type, list(n.attribute)) for n in graph.node] for graph in graphs)
    assert name in [op for op, _ in mine]
    assert mine == theirs
    assert set(module._pyrnnfast_counts) == {"torch.onnx.export"}


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_help_shows_the_arguments(name: str) -> None:
    for find in (lambda module: module, lambda module: module.forward):
        mine, theirs = (inspect.signature(find(getattr(m, name))).parameters for m in (ours, nn))
        assert list(mine) == list(theirs)


@pytest.mark.parametrize("two_way", [1, 0, None])
def test_bidirectional_is_what_python_takes_it_for(two_way: Any) -> None:
    stock, module = twins("LSTM", 3, 5, bidirectional=two_way)
    x = torch.randn(4, 2, 3)
    assert_agree(module, 4, 2, run(module, x), run(stock, x))
    assert on_kernels(module)
