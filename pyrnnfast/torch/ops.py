"""The custom operators `torch.ops.pyrnnfast.*`: rnn_tanh, rnn_relu, lstm, gru, and the backward of each.

They are what graphs contain (torch.compile, torch.export, make_fx); a call that is not traced goes to
`recurrence.Recurrence`, which does the same without the dispatcher.

forward -> y (empty for one step of a cell), h, c (empty but for the LSTM), tape (empty without `keep`).
backward -> dx, dh0, dc0, the gradients of the weights; those are empty that are not `wanted`, in this order.
`form` and the tape are explained in `kernels`; `rows` is N, `seed` that of the dropout between layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from pyrnnfast.torch import fallback, kernels
from pyrnnfast.torch.kernels import Plan
from pyrnnfast.torch.packs import reuse_of
from pyrnnfast.torch.recurrence import differentiable_backward, needs_differentiable

_SETTINGS = (
    "Tensor? seed, str form, SymInt rows, int num_layers, bool bidirectional, bool bias, float dropout"
)
_FORWARD = (
    f"(Tensor x, Tensor? h0, Tensor? c0, Tensor? batch_sizes, Tensor[] weights, {_SETTINGS}, bool keep)"
    " -> (Tensor y, Tensor h, Tensor c, Tensor tape)"
)
_BACKWARD = (
    "(Tensor? dy, Tensor? dh, Tensor? dc, Tensor x, Tensor tape, Tensor? batch_sizes, Tensor[] weights,"
    f" {_SETTINGS}, bool[] wanted) -> (Tensor dx, Tensor dh0, Tensor dc0, Tensor[] dweights)"
)


class _Forward(NamedTuple):
    """The arguments of a forward, as `_FORWARD` has them."""

    x: Tensor
    h0: Tensor | None
    c0: Tensor | None
    batch_sizes: Tensor | None
    weights: list[Tensor]
    seed: Tensor | None
    form: str
    rows: Any
    layers: int
    bidirectional: bool
    bias: bool
    dropout: float
    keep: bool


class _Backward(NamedTuple):
    """The arguments of a backward, as `_BACKWARD` has them."""

    dy: Tensor | None
    dh: Tensor | None
    dc: Tensor | None
    x: Tensor
    tape: Tensor
    batch_sizes: Tensor | None
    weights: list[Tensor]
    seed: Tensor | None
    form: str
    rows: Any
    layers: int
    bidirectional: bool
    bias: bool
    dropout: float
    wanted: list[bool]


_library: Any = torch.library.Library("pyrnnfast", "DEF")


def _seed(seed: Tensor | None) -> int:
    return 0 if seed is None else int(seed)


def _plan(cell: str, a: _Forward | _Backward) -> Plan:
    inputs, hidden = a.weights[0].shape[1], a.weights[1].shape[1]
    return Plan(cell, inputs, hidden, a.layers, a.bidirectional, a.bias, a.form, a.rows, a.dropout)


def _define(cell: str) -> Callable[..., Any]:
    """Define the operator of a cell and its backward; returns the operator."""
    lstm = cell == "lstm"
    backward_op: Any = None

    def forward(*arguments: Any) -> tuple[Tensor, ...]:
        a = _Forward(*arguments)
        if fallback.dual((a.x, a.h0, a.c0, *a.weights)):  # where nothing requires grad, no autograd was asked
            raise RuntimeError(f"pyrnnfast::{cell} has no forward-mode derivative: call the module itself")
        reuse = None if a.keep else reuse_of(a.weights)
        inputs = (a.x, a.h0, a.c0, a.batch_sizes, a.weights, _seed(a.seed), a.keep)
        results = kernels.forward(_plan(cell, a), *inputs, reuse, clear=True)
        return tuple(a.x.new_empty(0) if result is None else result for result in results)

    def forward_fake(*arguments: Any) -> tuple[Tensor, ...]:
        a = _Forward(*arguments)
        plan = _plan(cell, a)
        y, state = plan.shapes(a.x)
        tape = plan.tape_size(a.x) if a.keep else 0
        return tuple(a.x.new_empty(shape) for shape in (y, state, state if lstm else 0, tape))

    def backward(*arguments: Any) -> tuple[Any, ...]:
        a = _Backward(*arguments)
        gradients = (None if a.form in kernels.STEP_FORMS else a.dy, a.dh, a.dc if lstm else None)
        *found, dweights = kernels.backward(
            _plan(cell, a), a.x, a.batch_sizes, a.weights, _seed(a.seed), a.tape, gradients, a.wanted
        )
        dx, dh0, dc0, *rest = (a.x.new_empty(0) if g is None else g for g in (*found, *dweights))
        return dx, dh0, dc0, rest

    def backward_fake(*arguments: Any) -> tuple[Any, ...]:
        a = _Backward(*arguments)
        _, state = _plan(cell, a).shapes(a.x)
        shapes = (a.x.shape, state, state, *(w.shape for w in a.weights))
        dx, dh0, dc0, *dweights = (
            a.x.new_empty(shape if want else 0) for shape, want in zip(shapes, a.wanted, strict=True)
        )
        return dx, dh0, dc0, dweights

    def keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        a = _Forward(*inputs)
        ctx.settings, ctx.keep = a[6:-1], a.keep
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(output[3], *(() if lstm else (output[2],)))
        ctx.save_for_backward(a.x, a.h0, a.c0, a.batch_sizes, a.seed, output[3], *a.weights)

    def differentiate(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        if not ctx.keep:
            raise RuntimeError(f"pyrnnfast::{cell}: keep must be True for a backward, got False")
        x, h0, c0, batch_sizes, seed, tape, *weights = ctx.saved_tensors
        wanted = (*ctx.needs_input_grad[:3], *ctx.needs_input_grad[4])
        dy, dh, dc, _ = gradients
        dc = dc if lstm else None
        inputs = (dy, dh, dc, x, tape, batch_sizes, weights, seed)
        a = _Backward._make((*inputs, *ctx.settings, list(wanted)))
        if needs_differentiable():
            plan = _plan(cell, a)
            of_results = (None if plan.form in kernels.STEP_FORMS else dy, dh, dc)
            found = differentiable_backward(
                plan, (x, h0, c0, *weights), wanted, batch_sizes, _seed(seed), of_results
            )
        else:
            dx, dh0, dc0, dweights = backward_op(*a)
            found = [g if want else None for g, want in zip((dx, dh0, dc0, *dweights), wanted, strict=True)]
        return (*found[:3], None, found[3:], *[None] * (2 + len(ctx.settings)))

    def refuse(ctx: Any, *gradients: Any) -> NoReturn:
        raise RuntimeError(
            f"pyrnnfast::{cell}_backward has no gradient of its own: for gradients of gradients call the "
            "module outside of compiled code"
        )

    for name, schema, function, fake in (
        (cell, _FORWARD, forward, forward_fake),
        (f"{cell}_backward", _BACKWARD, backward, backward_fake),
    ):
        _library.define(name + schema, tags=(torch.Tag.pt2_compliant_tag,))
        _library.impl(name, function, "CPU")
        torch.library.register_fake(f"pyrnnfast::{name}", fake, lib=_library)
    backward_op = getattr(torch.ops.pyrnnfast, f"{cell}_backward").default
    register: Any = torch.library.register_autograd
    register(f"pyrnnfast::{cell}", differentiate, setup_context=keep_inputs, lib=_library)
    register(f"pyrnnfast::{cell}_backward", refuse, lib=_library)
    operator: Callable[..., Any] = getattr(torch.ops.pyrnnfast, cell).default
    return operator


OPERATORS = {cell: _define(cell) for cell in kernels.CELLS.values()}
"""Cell -> its operator."""
