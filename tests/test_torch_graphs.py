"""pyrnnfast.torch in compiled and exported graphs, in copies, under reparametrisation and checkpointing."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
from torch_twins import CELLS, LAYERS, assert_agree, leaves, nn, run, torch, twins

pytestmark = pytest.mark.filterwarnings("ignore")  # of PyTorch's compiler


def case(name: str, **options: object) -> tuple:
    torch._dynamo.reset()
    torch.manual_seed(1)
    stock, module = twins(name, 5, 16, **options)
    x = torch.randn(2, 5) if name in CELLS else torch.randn(4, 2, 5)
    return stock, module, x.requires_grad_()


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_compile_keeps_one_graph(name: str) -> None:
    stock, module, x = case(name)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    want = run(stock, x)
    got = run(module, x)
    outputs = list(leaves(compiled(x)))
    assert all(torch.equal(o.detach(), got[f"output {i}"]) for i, o in enumerate(outputs))
    weights = (torch.linspace(-1, 1, o.numel(), dtype=o.dtype).reshape(o.shape) for o in outputs)
    loss = sum((o * w).sum() for o, w in zip(outputs, weights, strict=True))
    places = [x, *module.parameters()]
    found = torch.autograd.grad(loss, places)
    for (key, value), gradient in zip(
        [(k, v) for k, v in got.items() if k.startswith("d ")], found, strict=True
    ):
        assert torch.equal(gradient, value), key
    assert_agree(stock, 4, 2, got, want)
    with torch.no_grad():
        again = list(leaves(compiled(x)))
    assert all(torch.equal(a, o.detach()) for a, o in zip(again, outputs, strict=True))


def test_compile_with_inductor() -> None:
    _, module, x = case("LSTM", num_layers=2)
    model = nn.Sequential(Outputs(module), nn.Linear(16, 3))
    compiled = torch.compile(model, fullgraph=True)
    want = torch.autograd.grad(model(x).square().sum(), list(model.parameters()))
    got = torch.autograd.grad(compiled(x).square().sum(), list(model.parameters()))
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


class Outputs(nn.Module):
    """The outputs of a layer without its state."""

    def __init__(self, layer: object) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: object) -> object:
        return self.layer(x)[0]


def test_compile_draws_dropout_from_the_generator() -> None:
    _, module, x = case("GRU", num_layers=2, dropout=0.5)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(compiled(x)[0].detach())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_compile_once_for_all_calls() -> None:
    _, module, x = case("LSTM")
    counter = torch._dynamo.testing.CompileCounter()
    compiled = torch.compile(module, backend=counter, fullgraph=True)
    for _ in range(5):
        module(x)  # counted
        compiled(x)
    assert counter.frame_count == 1
    assert module._pyrnnfast_counts == {"kernels": 5}


def test_compile_with_sizes_that_change() -> None:
    _, module, x = case("LSTM")
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True, dynamic=True)
    for steps in (4, 6, 9):
        x = torch.randn(steps, 3, 5, requires_grad=True)
        y = compiled(x)[0]
        assert torch.equal(y.detach(), module(x)[0].detach())
        y.sum().backward()


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_export(name: str) -> None:
    _, module, x = case(name)
    exported = torch.export.export(module, (x.detach(),))
    for got, want in zip(leaves(exported.module()(x.detach())), leaves(module(x)), strict=True):
        assert torch.equal(got, want.detach())
    assert any("pyrnnfast" in str(node.target) for node in exported.graph.nodes)


def test_make_fx_sees_one_operator() -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    _, module, x = case("GRU")
    with torch.no_grad():
        graph = make_fx(lambda x: module(x)[0])(x.detach())
    assert sum("pyrnnfast" in str(node.target) for node in graph.graph.nodes) == 1


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_copies_and_files(name: str) -> None:
    _, module, x = case(name)
    with torch.no_grad():
        want = list(leaves(module(x)))
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    for other in (
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        torch.load(file, weights_only=False),
    ):
        assert type(other) is type(module)
        assert "_pyrnnfast_counts" not in vars(other)
        with torch.no_grad():
            assert all(torch.equal(a, b) for a, b in zip(leaves(other(x)), want, strict=True))
            for parameter in other.parameters():
                parameter.zero_()
            assert not torch.equal(next(leaves(other(x))), want[0])
            assert torch.equal(next(leaves(module(x))), want[0])


class Doubled(nn.Module):
    """A parametrisation."""

    def forward(self, weight: object) -> object:
        return 2 * weight


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_parametrised(name: str) -> None:
    stock, module, x = case(name)
    weight = "weight_ih" if name in CELLS else "weight_ih_l0"  # the other one meets a state of zeros
    for m in (stock, module):
        nn.utils.parametrize.register_parametrization(m, weight, Doubled())
    assert_agree(stock, 4, 2, run(module, x), run(stock, x))
    with torch.no_grad():
        before = next(leaves(module(x)))
        getattr(module.parametrizations, weight).original.mul_(0.5)
        assert not torch.equal(next(leaves(module(x))), before)
    assert set(module._pyrnnfast_counts) == {"kernels"}


def test_functional_call() -> None:
    stock, module, x = case("LSTM")
    others = {name: torch.randn_like(value) / 4 for name, value in module.named_parameters()}
    want = torch.func.functional_call(stock, others, (x,))
    got = torch.func.functional_call(module, others, (x,))
    for a, b in zip(leaves(got), leaves(want), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoint(reentrant: bool) -> None:
    from torch.utils.checkpoint import checkpoint

    _, module, x = case("LSTM", num_layers=2, dropout=0.5)
    found = []
    for run_it in (module, lambda x: checkpoint(module, x, use_reentrant=reentrant)):
        torch.manual_seed(3)
        found.append(grads(run_it, module, x))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def grads(function: object, module: object, x: object) -> list:
    module.zero_grad()
    function(x)[0].sum().backward()
    return [p.grad.clone() for p in module.parameters()]


def test_saved_tensors_may_be_moved() -> None:
    _, module, x = case("GRU")
    want = grads(module, module, x)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.numpy(force=True).copy(), torch.from_numpy):
        got = grads(module, module, x)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_script_names_the_way_out() -> None:
    _, module, _ = case("LSTM")
    for model in (module, nn.Sequential(Outputs(module))):
        with pytest.raises(RuntimeError, match=r"pyrnnfast\.torch\.restore"):
            torch.jit.script(model)
