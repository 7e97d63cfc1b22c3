"""The layers and cells against the torch.nn modules of the same names: names, shapes, values, gradients.

PyTorch computes in float64, so that its own rounding does not blur the tolerances.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import numpy as np
import pytest
from conftest import AWKWARD, require
from drawn import SIZES, cases
from hypothesis import given, settings
from hypothesis import strategies as st
from numeric import Case, assert_close, forward_tolerance, make

import pyrnnfast
from pyrnnfast import functional

KINDS = ["RNN", "RNN relu", "LSTM", "GRU"]
CELLS = {"RNN": "rnn_tanh", "RNN relu": "rnn_relu", "LSTM": "lstm", "GRU": "gru"}
DTYPES = [np.float32, np.float64]
OPTIONS = [
    {"layers": layers, "bidirectional": two, "bias": bias}
    for layers, two, bias in itertools.product([1, 3], [False, True], [False, True])
]


@pytest.fixture
def on_isa(isa: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Layers compute with each instruction set in turn."""
    monkeypatch.setattr(functional, "pack", functools.partial(functional.pack, isa=isa))
    return isa


def twins(kind: str, case: Case, dtype: type, suffix: str = "", **options: object) -> tuple:
    """Our layer or cell in `dtype` and PyTorch's in float64, with the case's weights in both."""
    torch = require("torch")
    torch.set_num_threads(1)
    name, *relu = kind.split()
    if relu:
        options["nonlinearity"] = "relu"
    sizes = (case.inputs, case.hidden, *([] if suffix else [case.layers]))
    ours = getattr(pyrnnfast, name + suffix)(*sizes, bias=case.bias, dtype=dtype, **options)
    theirs = getattr(torch.nn, name + suffix)(*sizes, bias=case.bias, dtype=torch.float64, **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(dict(zip(ours.state_dict(), case.weights(dtype), strict=True)))
    theirs.load_state_dict({name: tensor(value) for name, value in ours.state_dict().items()})
    return ours, theirs


def each(function: Callable, state: object) -> object:
    """Apply it to h, or to both of (h, c)."""
    return tuple(map(function, state)) if isinstance(state, tuple) else function(state)


def as_tuple(state: object) -> tuple:
    return state if isinstance(state, tuple) else (state,)


def tensor(array: np.ndarray) -> object:
    """The same values in float64."""
    return require("torch").tensor(array, dtype=require("torch").float64)


def leaf(array: np.ndarray) -> object:
    """The same values as a tensor that takes gradients."""
    return tensor(array).requires_grad_()


def hold(case: Case, dtype: type, ours: tuple, theirs: tuple) -> None:
    """Compare (outputs, final state, dx, gradient of the state, gradients of the weights)."""
    named = []
    for outputs, final, dx, dstate, dweights in (ours, theirs):
        every = {**outputs, "dx": dx, **{f"dw {name}": value for name, value in dweights}}
        every |= dict(zip(("h", "c"), as_tuple(final), strict=False))
        every |= dict(zip(("dh0", "dc0"), as_tuple(dstate), strict=False))
        named.append(every)
    got, want = named
    assert_close(case, got, {name: value.detach().numpy() for name, value in want.items()}, dtype)


def compare_layer(kind: str, case: Case, dtype: type, isa: str, batch_first: bool) -> None:
    torch = require("torch")
    options = {"bidirectional": case.bidirectional, "batch_first": batch_first}
    ours, theirs = twins(kind, case, dtype, **options)
    assert ours.pack().isa == isa
    order = (1, 0, 2) if batch_first else (0, 1, 2)
    x, dy = (case.arrays[name].astype(dtype).transpose(order) for name in ("x", "dy"))
    state, dfinal = case.pair("h0", "c0", dtype), case.pair("dh", "dc", dtype)
    y, final = ours(x, state if case.with_state else None, case.lengths)
    dx, dstate = ours.backward(dy, dfinal)

    xt, state_t = leaf(x), each(leaf, state if case.with_state else each(np.zeros_like, state))
    source = xt
    if case.lengths is not None:
        source = torch.nn.utils.rnn.pack_padded_sequence(
            xt, torch.tensor(case.lengths), batch_first=batch_first, enforce_sorted=False
        )
    yt, final_t = theirs(source, state_t)
    if case.lengths is not None:
        yt, _ = torch.nn.utils.rnn.pad_packed_sequence(yt, batch_first=batch_first, total_length=case.steps)
    torch.autograd.backward((yt, *as_tuple(final_t)), (tensor(dy), *map(tensor, as_tuple(dfinal))))

    dstate_t = each(lambda t: t.grad, state_t)
    dweights_t = [(name, p.grad) for name, p in theirs.named_parameters()]
    got = ({"y": y}, final, dx, dstate, ours.grads.items())
    hold(case, dtype, got, ({"y": yt}, final_t, xt.grad, dstate_t, dweights_t))


def compare_cell(kind: str, case: Case, dtype: type, batched: bool) -> None:
    torch = require("torch")
    ours, theirs = twins(kind, case, dtype, suffix="Cell")
    first = (lambda a: a[0]) if batched else (lambda a: a[0, 0])
    x = first(case.arrays["x"].astype(dtype))
    state, dfinal = (each(first, case.pair(*names, dtype)) for names in (("h0", "c0"), ("dh", "dc")))
    final = ours(x, state if case.with_state else None)
    dx, dstate = ours.backward(dfinal)

    xt, state_t = leaf(x), each(leaf, state if case.with_state else each(np.zeros_like, state))
    final_t = theirs(xt, state_t)
    torch.autograd.backward(as_tuple(final_t), tuple(map(tensor, as_tuple(dfinal))))

    dstate_t = each(lambda t: t.grad, state_t)
    dweights_t = [(name, p.grad) for name, p in theirs.named_parameters()]
    got = ({}, final, dx, dstate, ours.grads.items())
    hold(case, dtype, got, ({}, final_t, xt.grad, dstate_t, dweights_t))


@pytest.mark.parametrize("kind", KINDS)
def test_any_layer(kind: str, on_isa: str) -> None:
    @settings(max_examples=30)
    @given(cases(CELLS[kind], peers=True), st.sampled_from(DTYPES), st.booleans())
    def check(case: Case, dtype: type, batch_first: bool) -> None:
        compare_layer(kind, case, dtype, on_isa, batch_first)

    check()


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(str(int(v)) for v in o.values()))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("lengths", "with_state", "dtype", "batch_first"),
    [
        (None, True, np.float32, False),
        ((3, 6, 1, 6, 2), True, np.float64, True),
        ((2, 5, 6, 1, 6), False, np.float32, True),
        (None, False, np.float64, False),
    ],
)
def test_layer(
    kind: str, options: dict, lengths: tuple, with_state: bool, dtype: type, batch_first: bool, on_isa: str
) -> None:
    case = make(CELLS[kind], 6, 5, 7, 9, lengths=lengths, with_state=with_state, **options)
    compare_layer(kind, case, dtype, on_isa, batch_first)


@pytest.mark.parametrize("hidden", AWKWARD)
@pytest.mark.parametrize("kind", KINDS)
def test_every_awkward_size(kind: str, hidden: int, on_isa: str) -> None:
    """Together the rows, inputs and hidden units go through all the sizes."""
    i = AWKWARD.index(hidden)
    rows, inputs = (AWKWARD[(i + shift) % len(AWKWARD)] for shift in (5, 3))
    case = make(CELLS[kind], 3, rows, inputs, hidden, bidirectional=i % 2 == 1, seed=i)
    for dtype in DTYPES:
        compare_layer(kind, case, dtype, on_isa, batch_first=False)


@pytest.mark.parametrize("kind", KINDS)
def test_any_cell(kind: str, on_isa: str) -> None:
    @settings(max_examples=20)
    @given(SIZES, SIZES, SIZES, *[st.booleans()] * 3, st.sampled_from(DTYPES))
    def check(rows, inputs, hidden, bias, with_state, batched, dtype) -> None:
        case = make(CELLS[kind], 1, rows, inputs, hidden, bias=bias, with_state=with_state)
        compare_cell(kind, case, dtype, batched)

    check()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("batched", [False, True], ids=["one", "batch"])
def test_cell(kind: str, bias: bool, batched: bool, on_isa: str) -> None:
    compare_cell(kind, make(CELLS[kind], 1, 5, 7, 9, bias=bias), np.float64, batched)


@pytest.mark.parametrize("kind", KINDS)
def test_one_sequence_without_a_batch(kind: str) -> None:
    case = make(CELLS[kind], 4, 1, 3, 5, layers=2, bidirectional=True)
    ours, theirs = twins(kind, case, np.float64, bidirectional=True)
    x = case.arrays["x"][:, 0].astype(np.float64)
    y, state = ours(x)
    yt, state_t = theirs(tensor(x))
    pairs = [(y, yt), *(zip(state, state_t, strict=True) if kind == "LSTM" else [(state, state_t)])]
    for a, b in pairs:
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=0, atol=forward_tolerance(case, np.float64))
        assert a.shape == tuple(b.shape)


def test_loads_tensors_of_a_torch_state_dict() -> None:
    ours, theirs = twins("GRU", make("gru", 1, 1, 3, 5), np.float64)
    require("torch").nn.init.ones_(theirs.weight_hh_l0)
    ours.load_state_dict(theirs.state_dict())
    assert (ours.weight_hh_l0 == 1).all()


def test_same_positional_arguments() -> None:
    torch = require("torch")
    import inspect

    for name in ("LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"):
        theirs = [
            p for p in inspect.signature(getattr(torch.nn, name)).parameters if p not in ("args", "kwargs")
        ]
        ours = [
            p.name
            for p in inspect.signature(getattr(pyrnnfast, name)).parameters.values()
            if p.kind is p.POSITIONAL_OR_KEYWORD
        ]
        assert ours[: len(theirs)] == [p for p in theirs if p in ours], name
    args = (3, 5, 2, "relu", False, True, 0.0, True)
    ours, theirs = pyrnnfast.RNN(*args), torch.nn.RNN(*args)
    for name in ("nonlinearity", "bias", "batch_first", "bidirectional", "num_layers", "dropout"):
        assert getattr(ours, name) == getattr(theirs, name)
