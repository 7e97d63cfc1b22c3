"""The recurrence as PyTorch differentiates it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyrnnfast.torch import fallback, kernels, packs
from pyrnnfast.torch.kernels import Plan


class Recurrence(torch.autograd.Function):
    """(plan, x, h0, c0, batch_sizes, seed, *weights) -> y (none for a cell), h, c (the LSTM's).

    Its backward runs on the kernels, or is `differentiable_backward` where `needs_differentiable` says so.
    """

    @staticmethod
    def forward(
        ctx: Any,
        plan: Plan,
        x: Tensor,
        h0: Tensor | None,
        c0: Tensor | None,
        batch_sizes: Tensor | None,
        seed: int,
        *weights: Tensor,
    ) -> tuple[Tensor, ...]:
        """Run the kernels and keep the tape."""
        # in a loop of steps the weights are the same in each; a sequence's are packed anew
        ctx.reuse = packs.unfrozen_reuse_of(weights) if plan.form in kernels.STEP_FORMS else None
        y, h, c, tape = kernels.forward(plan, x, h0, c0, batch_sizes, list(weights), seed, True, ctx.reuse)
        ctx.plan, ctx.seed = plan, seed
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, h0, c0, batch_sizes, tape, *weights)
        return tuple(result for result in (y, h, c) if result is not None)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        """Gradients of y, h, c -> those of the inputs."""
        plan: Plan = ctx.plan
        x, h0, c0, batch_sizes, tape, *weights = ctx.saved_tensors
        if plan.form in kernels.STEP_FORMS:
            gradients = (None, *gradients)
        if plan.cell != "lstm":
            gradients = (*gradients, None)
        wanted = (*ctx.needs_input_grad[1:4], *ctx.needs_input_grad[6:])
        if needs_differentiable():
            inputs = (x, h0, c0, *weights)
            found = differentiable_backward(plan, inputs, wanted, batch_sizes, ctx.seed, gradients)
            return (None, *found[:3], None, None, *found[3:])
        *found, dweights = kernels.backward(
            plan, x, batch_sizes, weights, ctx.seed, tape, gradients, wanted, ctx.reuse
        )
        return (None, *found, None, None, *dweights)


def needs_differentiable() -> bool:
    """Whether a backward must be `differentiable_backward`.

    So it is with create_graph, and where gradients may be batched (is_grads_batched) or have tangents.
    """
    return torch.is_grad_enabled() or fallback.batched() or fallback.transformed() is not None


def differentiable_backward(
    plan: Plan,
    inputs: Sequence[Any],
    wanted: Sequence[bool],
    batch_sizes: Tensor | None,
    seed: int,
    gradients: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """The gradients of x, h0, c0 and the weights as functions that can be differentiated again.

    Slower: PyTorch's own code computes the forward once more, from the same inputs, and differentiates it.
    """
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # views: an input may depend on another one, and its gradient must not take that way
        inputs = [None if t is None else t.view_as(t) for t in inputs]
        x, h0, c0, *weights = inputs
        outputs = composed(plan, x, h0, c0, batch_sizes, weights, seed)
        pairs = [(o, g) for o, g in zip(outputs, gradients, strict=True) if g is not None and o is not None]
        places = [i for i, want in enumerate(wanted) if want]
        found = torch.autograd.grad(
            [o for o, _ in pairs],
            [inputs[i] for i in places],
            [g for _, g in pairs],
            create_graph=again,
            allow_unused=True,
        )
    results: list[Tensor | None] = [None] * len(inputs)
    for i, gradient in zip(places, found, strict=True):
        results[i] = gradient
    return results


def composed(
    plan: Plan,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    batch_sizes: Tensor | None,
    weights: Sequence[Tensor],
    seed: int,
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """What `kernels.forward` computes, in differentiable operations of PyTorch, with the same dropout."""
    form = plan.form
    _, state = plan.shapes(x)
    zeros = x.new_zeros(state)
    h0, c0 = zeros if h0 is None else h0, zeros if c0 is None else c0
    if form in kernels.STEP_FORMS:
        if form == "C":
            x, h0, c0 = x.unsqueeze(0), h0.unsqueeze(0), c0.unsqueeze(0)
        step = getattr(torch._VF, f"{plan.cell}_cell")
        found = step(x, (h0, c0) if plan.cell == "lstm" else h0, *weights)
        h, c = found if plan.cell == "lstm" else (found, None)
        return (None, h, c) if form == "NC" else (None, h[0], None if c is None else c[0])
    if form == "TC":
        h0, c0, rows = h0.unsqueeze(1), c0.unsqueeze(1), x.unsqueeze(1)
        y, h, c = composed(plan._replace(form="TNC"), rows, h0, c0, None, weights, seed)
        assert y is not None
        return y.squeeze(1), h.squeeze(1), None if c is None else c.squeeze(1)
    function = getattr(torch._VF, plan.cell)
    each, D = (4 if plan.bias else 2), plan.directions
    finals = []
    for layer in range(plan.layers):
        if layer > 0 and plan.dropout > 0:
            x = x * kernels.dropout_factors(plan, x, batch_sizes, layer - 1, seed)
        part, of_layer = slice(D * layer, D * layer + D), slice(D * each * layer, D * each * (layer + 1))
        hx = (h0[part], c0[part]) if plan.cell == "lstm" else h0[part]
        own = list(weights[of_layer])
        options = (plan.bias, 1, 0.0, False, plan.bidirectional)
        if batch_sizes is None:
            x, *final = function(x, hx, own, *options, form == "NTC")
        else:
            x, *final = function(x, batch_sizes, hx, own, *options)
        finals.append(final)
    h, *c = (torch.cat(parts) for parts in zip(*finals, strict=True))
    return x, h, c[0] if c else None
