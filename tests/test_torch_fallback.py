"""What the kernels do not reach runs on PyTorch's own code, is right, and is counted."""

from __future__ import annotations

import pytest
from torch_twins import CELLS, LAYERS, leaves, nn, ours, torch, twins

from pyrnnfast.torch import fallback


def same(got: object, want: object) -> None:
    for a, b in zip(leaves(got), leaves(want), strict=True):
        assert a.dtype == b.dtype
        assert a.device == b.device
        assert a.device.type == "meta" or torch.equal(a, b)


def inputs(name: str) -> object:
    return torch.randn(2, 5) if name in CELLS else torch.randn(3, 2, 5)


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half(name: str, dtype: object) -> None:
    stock, module = twins(name, 5, 6)
    x = inputs(name).to(dtype)
    same(module.to(dtype)(x), stock.to(dtype)(x))
    assert module._pyrnnfast_counts == {f"dtype {dtype}": 1}


@pytest.mark.parametrize("name", ["RNN", "GRU", *CELLS])  # oneDNN's LSTM asks for a processor with bfloat16
def test_autocast(name: str) -> None:
    stock, module = twins(name, 5, 6)
    x = inputs(name)
    with torch.autocast("cpu", torch.bfloat16):
        same(module(x), stock(x))
    assert module._pyrnnfast_counts == {"autocast": 1}
    module(x)
    assert module._pyrnnfast_counts == {"autocast": 1, "kernels": 1}


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_other_devices(name: str) -> None:
    stock, module = twins(name, 5, 6)
    x = inputs(name).to("meta")
    same(module.to("meta")(x), stock.to("meta")(x))
    assert module._pyrnnfast_counts == {"device meta": 1}


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of PyTorch's vmap
@pytest.mark.parametrize("name", ["RNNCell", "GRUCell"])  # it has no rule for the others
def test_vmap(name: str) -> None:
    stock, module = twins(name, 5, 6)
    x = torch.randn(4, 2, 5)
    same(torch.vmap(module)(x), torch.vmap(stock)(x))
    assert module._pyrnnfast_counts == {"a transform of torch.func": 1}


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_torch_func_grad(name: str) -> None:
    stock, module = twins(name, 5, 6)
    x = inputs(name)
    found = [torch.func.grad(lambda x, m=m: sum(o.sum() for o in leaves(m(x))))(x) for m in (module, stock)]
    same(*found)
    assert module._pyrnnfast_counts == {"a transform of torch.func": 1}


@pytest.mark.filterwarnings("ignore")  # of what PyTorch loads for it
@pytest.mark.parametrize("name", ["RNNCell", "GRUCell", "LSTMCell", "GRU"])
def test_forward_mode(name: str) -> None:
    stock, module = twins(name, 5, 6)
    x = inputs(name)
    tangents = []
    for m in (module, stock):
        with torch.autograd.forward_ad.dual_level():
            outputs = m(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)))
            tangents.append([torch.autograd.forward_ad.unpack_dual(o).tangent for o in leaves(outputs)])
    assert all(t is not None for t in tangents[0])
    same(*tangents)
    assert module._pyrnnfast_counts == {"forward-mode AD": 1}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["GRUCell", "GRU", "LSTMCell"])
def test_transforms_in_compiled_code(name: str) -> None:
    stock, module = twins(name, 5, 6)
    x = inputs(name)
    found = []
    for m in (module, stock):

        def output(x: object, m: object = m) -> object:
            return next(leaves(m(x)))

        def compute(x: object, output: object = output) -> list:
            primal, tangent = torch.func.jvp(output, (x,), (torch.ones_like(x),))
            return [primal, tangent, torch.func.grad(lambda x: output(x).sum())(x)]

        torch._dynamo.reset()
        found.append(torch.compile(compute, backend="aot_eager")(x))
    assert found[0][1].any()
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.filterwarnings("ignore")
def test_vmap_in_compiled_code() -> None:
    stock, module = twins("GRUCell", 5, 6)
    x = torch.randn(4, 2, 5)
    torch._dynamo.reset()
    got = torch.compile(torch.vmap(module), backend="aot_eager")(x)
    torch.testing.assert_close(got, torch.vmap(stock)(x))


def test_proj_size() -> None:
    stock, module = twins("LSTM", 5, 6, proj_size=2, dtype=torch.float64)
    x = torch.randn(3, 2, 5, dtype=torch.float64)
    same(module(x), stock(x))
    assert module._pyrnnfast_counts == {"proj_size": 1}


@pytest.mark.filterwarnings("ignore")  # of the tracer
def test_trace() -> None:
    _, module = twins("GRU", 5, 6)
    x = torch.randn(3, 2, 5)
    traced = torch.jit.trace(module, (x,), check_trace=False)
    assert set(module._pyrnnfast_counts) == {"torch.jit.trace"}
    for a, b in zip(leaves(traced(x)), leaves(module(x)), strict=True):
        torch.testing.assert_close(a, b)


class Marked(torch.Tensor):
    """A tensor class of a user."""


def test_tensor_classes() -> None:
    stock, module = twins("GRU", 5, 6)
    x = torch.randn(3, 2, 5).as_subclass(Marked)
    got, want = module(x), stock(x)
    assert type(got[0]) is type(want[0]) is Marked
    assert module._pyrnnfast_counts == {"tensors of class Marked": 1}


def test_a_lazy_negation_is_resolved() -> None:
    _, module = twins("GRU", 5, 6)
    x = torch.randn(3, 2, 5)
    lazy = torch.complex(x, -x).conj().imag
    assert lazy.is_neg()
    for keep in (True, False):
        with torch.set_grad_enabled(keep):
            same(module(lazy), module(x))
    with torch.no_grad():
        z = torch.complex(module.weight_hh_l0, -module.weight_hh_l0)
        want = module(x)
        module.weight_hh_l0 = nn.Parameter(z.conj().imag)
        assert module.weight_hh_l0.is_neg()
        same(module(x), want)


def doubled_flat_weights(module: object) -> None:
    module._flat_weights = [2 * w for w in module._flat_weights]


def no_bias(module: object) -> None:
    module.bias = False


def without(name: str) -> object:
    def edit(module: object) -> None:
        setattr(module, name, None)
        module.requires_grad_(False)

    return edit


def to(**values: object) -> object:
    def edit(module: object) -> None:
        for name, value in values.items():
            setattr(module, name, value)

    return edit


def another_flat_weight(module: object) -> None:
    module._flat_weights[1] = nn.Parameter(torch.zeros_like(module.weight_hh_l0))


def fewer_flat_weights(module: object) -> None:
    module._flat_weights = module._flat_weights[:2]


def deleted(module: object) -> None:
    del module.bias_hh_l0


@pytest.mark.parametrize(
    "name, sizes, edit",
    [
        ("LSTM", (5, 6), doubled_flat_weights),
        *(("GRU", (5, 6), edit) for edit in (another_flat_weight, fewer_flat_weights, deleted)),
        *(("LSTM", (5, 6), to(**{name: 1})) for name in ("bias", "batch_first", "training", "bidirectional")),
        *(("LSTM", (5, 6), to(dropout=p)) for p in (None, "x")),
        ("GRU", (5, 6, True), to()),
        ("RNN", (5, 6), to(mode="FOO")),
        *((name, (5, 6), no_bias) for name in CELLS),
        *((name, (5, 6), without("bias_hh")) for name in CELLS),
        ("GRU", (5, 6), without("bias_hh_l0")),
        *((name, sizes, to()) for name in CELLS for sizes in [(0, 4), (5, 0)]),
        *(("LSTM", (5, 6, 2), to(dropout=p)) for p in (2.0, -1.0, float("nan"))),
        ("LSTM", (5, 6), to(num_layers=0)),
        ("GRU", (5, 6), to(hidden_size=-1)),
        ("RNNCell", (5, 6), to(nonlinearity=["tanh"])),
    ],
)
def test_edits_are_honoured_as_pytorch_does(name: str, sizes: tuple, edit: object) -> None:
    stock, module = twins(name, *sizes)
    x = torch.randn(2, sizes[0]) if name in CELLS else torch.randn(3, 2, sizes[0])
    found = []
    for m in (stock, module):
        edit(m)
        try:
            found.append(list(leaves(m(x))))
        except Exception as error:
            found.append((type(error), str(error)))
    if isinstance(found[0], tuple):
        assert found[1] == found[0]
    else:
        for want, got in zip(*found, strict=True):
            torch.testing.assert_close(got, want)


def test_dropout_beside_another_default_device() -> None:
    module = ours.LSTM(5, 6, 2, dropout=0.5)
    x = torch.randn(3, 2, 5)
    with torch.device("meta"):
        assert module(x)[0].device.type == "cpu"


def test_a_subclass_with_its_own_flat_weights_is_left_alone() -> None:
    class Doubled(nn.LSTM):
        @property
        def _flat_weights(self) -> list:
            return [2 * w for w in self._parameters.values()]

        @_flat_weights.setter
        def _flat_weights(self, value: object) -> None:
            pass

    assert type(ours.accelerate(Doubled(4, 5))) is Doubled


def test_strict_raises_and_runs_what_the_kernels_run() -> None:
    _, module = twins("LSTM", 5, 6)
    module._pyrnnfast_backend = "strict"
    module(torch.randn(3, 2, 5))
    with torch.autocast("cpu"), pytest.raises(RuntimeError, match=r"must .*got 'strict' and autocast"):
        module(torch.randn(3, 2, 5))
    with pytest.raises(RuntimeError, match="must be equal to input_size"):  # PyTorch's own
        module(torch.randn(3, 2, 4))


def test_an_instance_of_torch_nn_whose_class_was_changed() -> None:
    for name in (*LAYERS, *CELLS):
        module, x = getattr(nn, name)(5, 6), inputs(name)
        want = list(leaves(module(x)))
        module.__class__ = getattr(ours, name)
        assert fallback.reason(module, x) is None
        for a, b in zip(leaves(module(x)), want, strict=True):
            torch.testing.assert_close(a, b)
        assert module._pyrnnfast_counts == {"kernels": 1}
        module.__class__ = getattr(nn, name)
        assert all(torch.equal(a, b) for a, b in zip(leaves(module(x)), want, strict=True))


def test_modes_see_one_operator() -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    _, module = twins("LSTM", 5, 6)
    x = torch.randn(3, 2, 5)
    with Watch():
        got = module(x)
    assert seen == ["pyrnnfast.lstm.default"]
    same(got, module(x))
