"""The layers and cells against the torch.nn modules of the same names: names, shapes, values, gradients."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import require
from numeric import assert_close, make

import pyrnnfast

KINDS = ["RNN", "RNN relu", "LSTM", "GRU"]
CELLS = {"RNN": "rnn_tanh", "RNN relu": "rnn_relu", "LSTM": "lstm", "GRU": "gru"}
OPTIONS = [
    {"num_layers": layers, "bidirectional": two, "bias": bias, "batch_first": batch_first}
    for layers, two, bias, batch_first in itertools.product(
        [1, 3], [False, True], [False, True], [False, True]
    )
]


def twins(kind: str, *sizes: int, dtype: type, **options: object) -> tuple:
    """Our layer and PyTorch's, with our weights in both."""
    torch = require("torch")
    torch.set_num_threads(1)
    name, *relu = kind.split()
    name += options.pop("suffix", "")
    if relu:
        options["nonlinearity"] = "relu"
    ours = getattr(pyrnnfast, name)(*sizes, dtype=dtype, rng=3, **options)
    theirs = getattr(torch.nn, name)(*sizes, dtype=getattr(torch, np.dtype(dtype).name), **options)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in ours.state_dict().items()})
    return ours, theirs


def as_tuple(state: object) -> tuple:
    return state if isinstance(state, tuple) else (state,)


def tensors(arrays: object) -> object:
    """The same values as leaves that take gradients."""
    torch = require("torch")
    if isinstance(arrays, tuple):
        return tuple(tensors(array) for array in arrays)
    return torch.tensor(arrays, requires_grad=True)


def results(y: object, state: object, dx: object, dstate: object, dweights: object) -> dict[str, np.ndarray]:
    """Everything by name, as NumPy arrays, for `assert_close`."""
    (h, c), (dh0, dc0) = (s if isinstance(s, tuple) else (s, None) for s in (state, dstate))
    named = {"y": y, "h": h, "c": c, "dx": dx, "dh0": dh0, "dc0": dc0, **dweights}
    return {name: np.asarray(value) for name, value in named.items() if value is not None}


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(str(int(v)) for v in o.values()))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("ragged", "with_state", "dtype"),
    [
        (False, True, np.float32),
        (True, True, np.float64),
        (True, False, np.float32),
        (False, False, np.float64),
    ],
)
def test_layer(kind: str, options: dict, ragged: bool, with_state: bool, dtype: type) -> None:
    torch = require("torch")
    T, N, C, H = 6, 5, 7, 9
    batch_first = options["batch_first"]
    ours, theirs = twins(kind, C, H, dtype=dtype, **options)
    lengths = [3, 6, 1, 6, 2] if ragged else None
    case = make(CELLS[kind], T, N, C, H, layers=options["num_layers"], bidirectional=options["bidirectional"])
    x, dy = (case.arrays[name].astype(dtype) for name in ("x", "dy"))
    if batch_first:
        x, dy = x.swapaxes(0, 1), dy.swapaxes(0, 1)
    state, dfinal = case.pair("h0", "c0", dtype), case.pair("dh", "dc", dtype)

    y, final = ours(x, state if with_state else None, lengths)
    dx, dstate = ours.backward(dy, dfinal)

    xt, state_t = tensors(x), tensors(state)
    source = xt
    if ragged:
        source = torch.nn.utils.rnn.pack_padded_sequence(
            xt, torch.tensor(lengths), batch_first=batch_first, enforce_sorted=False
        )
    yt, final_t = theirs(source, state_t if with_state else None)
    if ragged:
        yt, _ = torch.nn.utils.rnn.pad_packed_sequence(yt, batch_first=batch_first, total_length=T)
    pairs = (
        [(yt, dy), *zip(final_t, dfinal, strict=True)] if kind == "LSTM" else [(yt, dy), (final_t, dfinal)]
    )
    torch.autograd.backward([t for t, _ in pairs], [torch.from_numpy(d.copy()) for _, d in pairs])

    gradient = dstate  # PyTorch has no gradient for the zeros that it makes itself
    if with_state:
        gradient = tuple(t.grad for t in state_t) if kind == "LSTM" else state_t.grad
    their_weights = {f"dw {name}": p.grad for name, p in theirs.named_parameters()}
    our_weights = {f"dw {name}": value for name, value in ours.grads.items()}
    final_t = tuple(t.detach() for t in final_t) if kind == "LSTM" else final_t.detach()
    got = results(y, final, dx, dstate, our_weights)
    want = results(yt.detach(), final_t, xt.grad, gradient, their_weights)
    assert_close(case, got, want, dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("batched", [False, True], ids=["one", "batch"])
def test_cell(kind: str, bias: bool, batched: bool) -> None:
    torch = require("torch")
    ours, theirs = twins(kind, 7, 9, dtype=np.float64, bias=bias, suffix="Cell")
    case = make(CELLS[kind], 1, 5, 7, 9)
    pick = (lambda a: a[0]) if batched else (lambda a: a[0, 0])
    x = pick(case.arrays["x"].astype(np.float64))
    state, dfinal = (
        tuple(map(pick, s)) if isinstance(s, tuple) else pick(s)
        for s in (case.pair("h0", "c0", np.float64), case.pair("dh", "dc", np.float64))
    )
    final = ours(x, state)
    dx, dstate = ours.backward(dfinal)
    xt, state_t = tensors(x), tensors(state)
    final_t = theirs(xt, state_t)
    torch.autograd.backward(as_tuple(final_t), [torch.from_numpy(d.copy()) for d in as_tuple(dfinal)])
    want = [*final_t] if kind == "LSTM" else [final_t]
    want = [t.detach() for t in want] + [xt.grad] + [t.grad for t in as_tuple(state_t)]
    want += [p.grad for p in theirs.parameters()]
    got = [*as_tuple(final), dx, *as_tuple(dstate), *ours.grads.values()]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(as_tuple(ours(x))[0], as_tuple(theirs(xt))[0].detach().numpy(), atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_one_sequence_without_a_batch(kind: str) -> None:
    ours, theirs = twins(kind, 3, 5, dtype=np.float64, num_layers=2, bidirectional=True)
    x = np.random.default_rng(0).normal(size=(4, 3))
    y, state = ours(x)
    yt, state_t = theirs(tensors(x))
    pairs = [(y, yt), *(zip(state, state_t, strict=True) if kind == "LSTM" else [(state, state_t)])]
    for a, b in pairs:
        np.testing.assert_allclose(a, b.detach().numpy(), atol=1e-13)
        assert a.shape == tuple(b.shape)


def test_loads_tensors_of_a_torch_state_dict() -> None:
    ours, theirs = twins("GRU", 3, 5, dtype=np.float32)
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
