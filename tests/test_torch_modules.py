"""Our modules where PyTorch looks at modules: symbolic traces, creation without weights, exports."""

from __future__ import annotations

import inspect
import io

import pytest
from conftest import require
from torch_twins import CELLS, LAYERS, leaves, nn, ours, torch, twins


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


def test_hooks_are_in_a_symbolic_trace_once() -> None:
    model, x = nn.Sequential(ours.GRUCell(3, 5)), torch.randn(2, 3)
    model[0].register_forward_hook(lambda module, inputs, output: output * 2)
    model[0].register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))
    assert torch.equal(torch.fx.symbolic_trace(model)(x), model(x))


@pytest.mark.parametrize("name", CELLS)
def test_skip_init(name: str) -> None:
    module = nn.utils.skip_init(getattr(ours, name), 3, 5)
    assert module.weight_ih.shape[1] == 3
    assert type(module) is getattr(ours, name)


@pytest.mark.filterwarnings("ignore")  # of the exporters
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


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LAYERS)
def test_export_of_a_captured_graph_to_onnx(name: str) -> None:
    require("onnxscript")
    graphs = []
    for m in twins(name, 3, 5):
        program = torch.onnx.export(m.eval(), (torch.randn(4, 2, 3),), dynamo=True, verbose=False)
        graphs.append([node.op_type for node in program.model.graph])
    assert graphs[0] == graphs[1]


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_help_shows_the_arguments(name: str) -> None:
    for find in (lambda module: module, lambda module: module.forward):
        mine, theirs = (inspect.signature(find(getattr(m, name))).parameters for m in (ours, nn))
        assert list(mine) == list(theirs)
