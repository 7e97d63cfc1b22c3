"""Gradients and their gradients by finite differences, and the operators under PyTorch's own checks."""

from __future__ import annotations

import contextlib
import copy
import itertools

import pytest
from torch_twins import CELLS, LAYERS, leaves, nn, ours, torch

from pyrnnfast.torch import kernels, recurrence
from pyrnnfast.torch.ops import OPERATORS

FLOAT64 = {"dtype": torch.float64, "requires_grad": True}


class Mode(torch.utils._python_dispatch.TorchDispatchMode):
    """Changes nothing; under it a call is one operator."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


def function(module: object, *arguments: object) -> tuple:
    """A function of the arguments' tensors and the module's parameters, and these."""
    names, parameters = zip(*module.named_parameters(), strict=True)

    def call(*values: object) -> tuple:
        own = dict(zip(names, values[len(values) - len(names) :], strict=True))
        return tuple(leaves(torch.func.functional_call(module, own, restored(values, arguments))))

    return call, (*leaves(arguments), *parameters)


def restored(values: tuple, arguments: tuple) -> tuple:
    flat = iter(values)
    return tuple(tuple(next(flat) for _ in a) if isinstance(a, tuple) else next(flat) for a in arguments)


def arguments_of(name: str, *shapes: tuple[int, ...]) -> tuple:
    x, *states = (torch.randn(shape, **FLOAT64) for shape in shapes)
    if not states:
        return (x,)
    h = states[0]
    return x, (h, torch.randn(h.shape, **FLOAT64)) if name.startswith("LSTM") else h


@pytest.mark.parametrize(
    "options", [{"num_layers": 2}, {"bidirectional": True, "batch_first": True}], ids=str
)
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_layers(name: str, options: dict) -> None:
    torch.manual_seed(5)
    module = getattr(ours, name)(2, 3, dtype=torch.float64, **options)
    call, inputs = function(module, *arguments_of(name, (2, 2, 2), (2, 2, 3)))
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)
    assert set(module._pyrnnfast_counts) == {"kernels"}


@pytest.mark.parametrize("rows", [(), (2,)], ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_gradients_of_cells(name: str, rows: tuple) -> None:
    torch.manual_seed(6)
    module = getattr(ours, name)(2, 3, dtype=torch.float64)
    call, inputs = function(module, *arguments_of(name, (*rows, 2), (*rows, 3)))
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


@pytest.mark.parametrize("form", ["one row", "packed", "dropout"])
def test_gradients_of_other_forms(form: str) -> None:
    torch.manual_seed(7)
    layers = 2 if form == "dropout" else 1
    module = ours.LSTM(
        2, 3, num_layers=layers, dropout=0.5 if form == "dropout" else 0.0, dtype=torch.float64
    )
    x = torch.randn(4, 2, **FLOAT64) if form == "one row" else torch.randn(3, 2, 2, **FLOAT64)
    names, parameters = zip(*module.named_parameters(), strict=True)

    def call(x: object, *values: object) -> tuple:
        torch.manual_seed(8)
        if form == "packed":
            x = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([1, 3]), enforce_sorted=False)
        results = torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))
        return tuple(leaves(results))

    assert torch.autograd.gradcheck(call, (x, *parameters))
    assert torch.autograd.gradgradcheck(call, (x, *parameters))


@pytest.mark.parametrize("form", ["TNC", "NTC", "PC"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh", "rnn_relu"])
def test_the_differentiable_forward_is_that_of_the_kernels(cell: str, form: str) -> None:
    torch.manual_seed(9)
    mode = {"rnn_tanh": "RNN", "rnn_relu": "RNN"}.get(cell, cell.upper())
    options = {"nonlinearity": "relu"} if cell == "rnn_relu" else {}
    module = getattr(nn, mode)(3, 4, 3, bidirectional=True, dtype=torch.float64, **options)
    weights = [p.detach() for p in module.parameters()]
    batch_sizes = torch.tensor([4, 2, 1]) if form == "PC" else None
    x = torch.randn((7, 3) if form == "PC" else (5, 4, 3), dtype=torch.float64)
    plan = kernels.Plan(cell, 3, 4, 3, True, True, form, 5 if form == "NTC" else 4, 0.4)
    y, h, c, _ = kernels.forward(plan, x, None, None, batch_sizes, weights, 11, True)
    same = recurrence.composed(plan, x, None, None, batch_sizes, weights, 11)
    for got, want in zip(same, (y, h, c), strict=True):
        if want is not None:
            torch.testing.assert_close(got, want, rtol=0, atol=1e3 * torch.finfo(want.dtype).eps)


def test_an_input_that_depends_on_another_has_its_own_gradient_twice_over() -> None:
    torch.manual_seed(10)
    module = ours.GRU(3, 3, dtype=torch.float64)
    x = torch.randn(2, 1, 3, **FLOAT64)

    def call(x: object) -> object:
        return module(x, x[:1].sin())[0]

    assert torch.autograd.gradcheck(call, (x,))
    assert torch.autograd.gradgradcheck(call, (x,))


def test_a_gradient_penalty_reaches_the_weights() -> None:
    torch.manual_seed(11)
    stock, module = nn.LSTM(3, 4, dtype=torch.float64), ours.LSTM(3, 4, dtype=torch.float64)
    module.load_state_dict(stock.state_dict())
    x = torch.randn(5, 2, 3, **FLOAT64)
    penalties = []
    for m in (stock, module):
        (dx,) = torch.autograd.grad(m(x)[0].square().sum(), x, create_graph=True)
        penalties.append(torch.autograd.grad(dx.square().sum(), list(m.parameters())))
    for want, got in zip(*penalties, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore")  # of what PyTorch loads for forward mode
@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_batched_gradients_and_those_with_tangents(name: str, traced: bool) -> None:
    """is_grads_batched, and forward mode over a backward, of a forward that ran on the kernels."""
    forward_ad = torch.autograd.forward_ad
    stock = getattr(nn, name)(3, 4, dtype=torch.float64)
    module = ours.accelerate(copy.deepcopy(stock))
    found = []
    for m in (stock, module):
        x = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape((2, 3) if name in CELLS else (2, 1, 3))
        x.requires_grad_()
        with Mode() if traced else contextlib.nullcontext():
            y = next(leaves(m(x)))
        places, rows = [x, *m.parameters()], torch.eye(y.numel(), dtype=y.dtype).reshape(-1, *y.shape)
        of_each = torch.autograd.grad(y, places, rows, is_grads_batched=True, retain_graph=True)
        again = torch.autograd.grad(y, x, rows, is_grads_batched=True, create_graph=True)[0]
        twice = torch.autograd.grad(again.square().sum(), x, retain_graph=True)
        with forward_ad.dual_level():
            (dx,) = torch.autograd.grad(y, x, forward_ad.make_dual(torch.ones_like(y), rows[0]))
            tangent = forward_ad.unpack_dual(dx).tangent.clone()
        found.append([*of_each, again, *twice, tangent])
        assert not of_each[0].requires_grad
    for want, got in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


# --- The operators

HIDDEN = {"TNC": 16, "NTC": 5, "TC": 3, "PC": 33, "NC": 7, "C": 17}
SIZES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}


def operands(cell: str, form: str, keep: bool, dropout: float = 0.0) -> tuple:
    torch.manual_seed(12)
    layers, C, H = 1 if form in ("NC", "C") else 2, 3, HIDDEN[form]
    shapes = {"TNC": (4, 2, C), "NTC": (2, 4, C), "TC": (4, C), "PC": (5, C), "NC": (2, C), "C": (C,)}
    x = torch.randn(shapes[form], requires_grad=keep)
    rows = 1 if form in ("TC", "C") else 2
    state = {"C": (H,), "NC": (2, H), "TC": (layers, H)}.get(form, (layers, rows, H))
    h0 = torch.randn(state, requires_grad=keep)
    c0 = torch.randn(state, requires_grad=keep) if cell == "lstm" else None
    weights = []
    for layer in range(layers):
        for shape in [(C if layer == 0 else H,), (H,), (), ()]:
            weights.append((torch.randn(SIZES[cell] * H, *shape) / 4).requires_grad_(keep))
    batch_sizes = torch.tensor([2, 2, 1]) if form == "PC" else None
    seed = torch.tensor(5) if dropout else None
    return x, h0, c0, batch_sizes, weights, seed, form, rows, layers, False, True, dropout, keep


CHECKED = [
    (cell, form)
    for cell, form in itertools.product(SIZES, ["TNC", "NTC", "TC", "PC", "NC", "C"])
    if cell in ("lstm", "gru") or form == "TNC"
]


@pytest.mark.filterwarnings("ignore")  # of the checks themselves
@pytest.mark.parametrize("cell, form", CHECKED)
def test_the_operator_passes_opcheck(cell: str, form: str) -> None:
    for keep, dropout in [(True, 0.0), (False, 0.0), (True, 0.5)]:
        torch.library.opcheck(OPERATORS[cell], operands(cell, form, keep, dropout))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("cell", SIZES)
def test_the_backward_operator_passes_opcheck(cell: str) -> None:
    x, h0, c0, batch_sizes, weights, *settings, _ = operands(cell, "TNC", True)
    with torch.no_grad():
        y, h, c, tape = OPERATORS[cell](x, h0, c0, batch_sizes, weights, *settings, True)
        inputs = (y, h, c if cell == "lstm" else None, x.detach(), tape, batch_sizes)
        backward = getattr(torch.ops.pyrnnfast, f"{cell}_backward").default
        plain = [w.detach() for w in weights]
        wanted = [True, False, cell == "lstm", *itertools.islice(itertools.cycle([True, False]), len(plain))]
        torch.library.opcheck(backward, (*inputs, plain, *settings, wanted))


def test_the_backward_operator_has_no_gradient_and_says_so() -> None:
    x, h0, c0, batch_sizes, weights, *settings, _ = operands("gru", "TNC", True)
    with torch.no_grad():
        y, h, _, tape = OPERATORS["gru"](x, h0, c0, batch_sizes, weights, *settings, True)
    dx = torch.ops.pyrnnfast.gru_backward(
        y, h, None, x, tape, batch_sizes, weights, *settings, [True, True, False, *[True] * len(weights)]
    )[0]
    with pytest.raises(RuntimeError, match="outside of compiled code"):
        dx.sum().backward()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_operator_is_differentiable_twice(cell: str) -> None:
    x, h0, c0, _, weights, *rest = operands(cell, "NC", True)
    x = x.detach().double().requires_grad_()
    small = [w.detach().double().requires_grad_() for w in weights]
    h0 = h0.detach().double().requires_grad_()
    c0 = None if c0 is None else c0.detach().double().requires_grad_()

    def call(x: object) -> object:
        return OPERATORS[cell](x, h0, c0, None, small, *rest)[1]

    assert torch.autograd.gradcheck(call, (x,))
    assert torch.autograd.gradgradcheck(call, (x,))


def test_the_operator_without_a_tape_says_so() -> None:
    *inputs, _ = operands("gru", "TNC", True)
    y = OPERATORS["gru"](*inputs, False)[0]
    with pytest.raises(RuntimeError, match=r"keep must be True .* got False"):
        y.sum().backward()


@pytest.mark.filterwarnings("ignore")  # of what PyTorch loads for forward mode
def test_the_operator_loses_no_tangent() -> None:
    x, *rest = operands("gru", "TNC", False)
    with torch.autograd.forward_ad.dual_level(), pytest.raises(RuntimeError, match="no forward-mode"):
        OPERATORS["gru"](torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)), *rest)


def test_the_operator_refuses_what_does_not_fit() -> None:
    x, h0, *rest = operands("gru", "TNC", False)
    with pytest.raises(ValueError, match="do not fit"):
        OPERATORS["gru"](x, h0[:, :1], *rest)


def test_a_gradient_penalty_under_a_dispatch_mode() -> None:
    torch.manual_seed(0)
    module, penalties = ours.GRU(4, 16).double(), []
    for mode in (contextlib.nullcontext(), Mode()):
        x = torch.ones(3, 2, 4, dtype=torch.float64, requires_grad=True)
        with mode:
            (dx,) = torch.autograd.grad(module(x)[0].sum(), x, create_graph=True)
            penalties.append(torch.autograd.grad(dx.square().sum(), list(module.parameters())[:2]))
    for plain, seen in zip(*penalties, strict=True):
        torch.testing.assert_close(seen, plain)
