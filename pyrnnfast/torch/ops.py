"""The custom operators `torch.ops.pyrnnfast.*`: rnn_tanh, rnn_relu, lstm, gru, and the backward of each.

They are what graphs contain (torch.compile, torch.export, make_fx); a call that is not traced goes to
`recurrence.Recurrence`, which does the same without the dispatcher.

forward -> y (empty for one step of a cell), h, c (empty but for the LSTM), tape (empty without `keep`).
backward -> dx (empty unless wanted), dh0, dc0 (empty but for the LSTM), the gradients of the weights.
`form` and the tape are explained in `kernels`; `rows` is N, `seed` that of the dropout between layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyrnnfast.torch import kernels
from pyrnnfast.torch.kernels import Plan
from pyrnnfast.torch.packs import reuse_of
from pyrnnfast.torch.recurrence import differentiable_backward

_SETTINGS = (
    "Tensor? seed, str form, SymInt rows, int num_layers, bool bidirectional, bool bias, float dropout"
)
_FORWARD = (
    f"(Tensor x, Tensor? h0, Tensor? c0, Tensor? batch_sizes, Tensor[] weights, {_SETTINGS}, bool keep)"
    " -> (Tensor y, Tensor h, Tensor c, Tensor tape)"
)
_BACKWARD = (
    "(Tensor? dy, Tensor? dh, Tensor? dc, Tensor x, Tensor tape, Tensor? batch_sizes, Tensor[] weights,"
    f" {_SETTINGS}, bool input_gradient) -> (Tensor dx, Tensor dh0, Tensor dc0, Tensor[] dweights)"
)

_library: Any = torch.library.Library("pyrnnfast", "DEF")


def _seed(seed: Tensor | None) -> int:
    return 0 if seed is None else int(seed)


def _plan(cell: str, weights: list[Tensor], form: str, rows: Any, *settings: Any) -> Plan:
    layers, bidirectional, bias, dropout = settings
    inputs, hidden = weights[0].shape[1], weights[1].shape[1]
    return Plan(cell, inputs, hidden, layers, bidirectional, bias, form, rows, dropout)


def _define(cell: str) -> Callable[..., Any]:
    """Define the operator of a cell and its backward; returns the operator."""
    lstm = cell == "lstm"
    backward_op: Any = None

    def forward(
        x: Tensor, h0: Any, c0: Any, batch_sizes: Any, weights: list[Tensor], seed: Any, *rest: Any
    ) -> tuple[Tensor, ...]:
        *settings, keep = rest
        reuse = None if keep else reuse_of(weights)
        plan = _plan(cell, weights, *settings)
        results = kernels.forward(plan, x, h0, c0, batch_sizes, weights, _seed(seed), keep, reuse)
        return tuple(x.new_empty(0) if result is None else result for result in results)

    def forward_fake(
        x: Tensor, h0: Any, c0: Any, batch_sizes: Any, weights: list[Tensor], seed: Any, *rest: Any
    ) -> tuple[Tensor, ...]:
        *settings, keep = rest
        plan = _plan(cell, weights, *settings)
        y, state = plan.shapes(x)
        tape = plan.tape_size(x) if keep else 0
        return x.new_empty(y), x.new_empty(state), x.new_empty(state if lstm else 0), x.new_empty(tape)

    def backward(
        dy: Any,
        dh: Any,
        dc: Any,
        x: Tensor,
        tape: Tensor,
        batch_sizes: Any,
        weights: list[Tensor],
        seed: Any,
        *rest: Any,
    ) -> tuple[Any, ...]:
        *settings, input_gradient = rest
        plan = _plan(cell, weights, *settings)
        gradients = (None if plan.form in kernels.STEP_FORMS else dy, dh, dc if lstm else None)
        wanted = (input_gradient, True, lstm)
        *found, dweights = kernels.backward(
            plan, x, batch_sizes, weights, _seed(seed), tape, gradients, wanted
        )
        return (*(x.new_empty(0) if g is None else g for g in found), dweights)

    def backward_fake(
        dy: Any,
        dh: Any,
        dc: Any,
        x: Tensor,
        tape: Tensor,
        batch_sizes: Any,
        weights: list[Tensor],
        seed: Any,
        *rest: Any,
    ) -> tuple[Any, ...]:
        *settings, input_gradient = rest
        _, state = _plan(cell, weights, *settings).shapes(x)
        dx = x.new_empty(x.shape if input_gradient else 0)
        dweights = [w.new_empty(w.shape) for w in weights]
        return dx, x.new_empty(state), x.new_empty(state if lstm else 0), dweights

    def keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, h0, c0, batch_sizes, weights, seed, *ctx.settings, ctx.keep = inputs
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(output[3], *(() if lstm else (output[2],)))
        ctx.save_for_backward(x, h0, c0, batch_sizes, seed, output[3], *weights)

    def differentiate(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        if not ctx.keep:
            raise RuntimeError(f"pyrnnfast::{cell}: keep must be True for a backward, got False")
        x, h0, c0, batch_sizes, seed, tape, *weights = ctx.saved_tensors
        needs = ctx.needs_input_grad
        plan = _plan(cell, weights, *ctx.settings)
        dy, dh, dc, _ = gradients
        if torch.is_grad_enabled():  # create_graph: the gradients are to be differentiated again
            found = differentiable_backward(
                plan,
                (x, h0, c0, *weights),
                (*needs[:3], *needs[4]),
                batch_sizes,
                _seed(seed),
                (None if plan.form in kernels.STEP_FORMS else dy, dh, dc if lstm else None),
            )
            dx, dh0, dc0, *dweights = found
        else:
            dx, dh0, dc0, dweights = backward_op(
                dy, dh, dc if lstm else None, x, tape, batch_sizes, weights, seed, *ctx.settings, needs[0]
            )
        return (
            dx if needs[0] else None,
            None if h0 is None else dh0,
            None if c0 is None else dc0,
            None,
            list(dweights),
            *[None] * (2 + len(ctx.settings)),
        )

    for name, schema, function, fake in (
        (cell, _FORWARD, forward, forward_fake),
        (f"{cell}_backward", _BACKWARD, backward, backward_fake),
    ):
        _library.define(name + schema, tags=(torch.Tag.pt2_compliant_tag,))
        _library.impl(name, function, "CPU")
        torch.library.register_fake(f"pyrnnfast::{name}", fake, lib=_library)
    backward_op = getattr(torch.ops.pyrnnfast, f"{cell}_backward").default
    torch.library.register_autograd(
        f"pyrnnfast::{cell}", differentiate, setup_context=keep_inputs, lib=_library
    )
    operator: Callable[..., Any] = getattr(torch.ops.pyrnnfast, cell).default
    return operator


OPERATORS = {cell: _define(cell) for cell in kernels.CELLS.values()}
"""Cell -> its operator."""
