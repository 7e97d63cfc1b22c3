"""Calls of the compiled kernels on tensors: nothing is copied that lies as the kernels read it.

The form of a call names the dimensions of x: "TNC", "NTC" (batch_first), "TC" (one row), "PC" (the data of a
PackedSequence, P its rows), and for one step of a cell "NC" or "C". The letters are those of
`pyrnnfast.functional`. A tape is what a forward in training keeps for backward, as one tensor.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrnnfast import _core

CELLS = {"RNN_TANH": "rnn_tanh", "RNN_RELU": "rnn_relu", "LSTM": "lstm", "GRU": "gru"}
"""PyTorch's mode of a layer -> the cell."""
GATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
STEP_FORMS = ("NC", "C")
POOLED = 1 << 17
"""Bytes from which a result takes its memory from the kernels' pool, which keeps it for the next call."""

_reader = _core.TensorReader(Tensor, torch.nn.Parameter)


class MisfitError(ValueError):
    """The tensors are not such as the kernels take."""


class Plan(NamedTuple):
    """What a call does, but for its tensors."""

    cell: str
    form: str
    rows: Any
    """N, an int or a SymInt."""
    hidden: int
    layers: int
    bidirectional: bool
    bias: bool
    dropout: float
    """Between layers; 0 unless it is at work."""

    @property
    def directions(self) -> int:
        """D."""
        return 2 if self.bidirectional else 1

    def shapes(self, x: Tensor) -> tuple[tuple[Any, ...], tuple[Any, ...], Any]:
        """The shapes of y (empty for one step of a cell) and of a state, and the sum of the rows' lengths."""
        width, runs = self.directions * self.hidden, self.layers * self.directions
        match self.form:
            case "C":
                return (0,), (self.hidden,), 1
            case "NC":
                return (0,), (self.rows, self.hidden), self.rows
            case "TC":
                return (x.shape[0], width), (runs, self.hidden), x.shape[0]
            case "PC":
                return (x.shape[0], width), (runs, self.rows, self.hidden), x.shape[0]
            case _:
                return (
                    (x.shape[0], x.shape[1], width),
                    (runs, self.rows, self.hidden),
                    x.shape[0] * x.shape[1],
                )

    def tape_size(self, x: Tensor, total: Any) -> Any:
        """Elements of the tape of a call with `total` steps of all rows together."""
        stack = _stack(self.cell, x.shape[-1], self.hidden, self.layers, self.bidirectional, self.bias)
        per_row, per_step = stack.tape_sizes(x.dtype == torch.float32)
        return per_row * self.rows + per_step * total


@functools.lru_cache(maxsize=1024)
def _stack(
    cell: str, inputs: int, hidden: int, layers: int, bidirectional: bool, bias: bool
) -> _core.TensorStack:
    return _core.TensorStack(_reader, cell, inputs, hidden, layers, bidirectional, bias)


def forward(
    plan: Plan,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    batch_sizes: Tensor | None,
    weights: Sequence[Tensor],
    seed: int,
    keep: bool,
    reuse: _core.Reuse | None = None,
    versions: list[int] | None = None,
) -> tuple[Tensor | None, Tensor, Tensor | None, Tensor | None]:
    """Run a stack; returns y (None for a cell), h, c (the LSTM's) and, with `keep`, the tape.

    Raises MisfitError where the tensors do not fit each other or the plan.
    """
    y_shape, state, total = plan.shapes(x)
    y = None if plan.form in STEP_FORMS else _empty(x, y_shape)
    h = x.new_empty(state)
    c = x.new_empty(state) if plan.cell == "lstm" else None
    tape = _empty(x, (plan.tape_size(x, total),)) if keep else None
    stack: Any = _stack(plan.cell, x.shape[-1], plan.hidden, plan.layers, plan.bidirectional, plan.bias)
    outputs = (y, h, c, tape)
    rest = (plan.dropout, seed, torch.get_num_threads(), reuse, versions)
    if not stack.forward(list(weights), plan.form, x, h0, c0, batch_sizes, *outputs, *rest):
        x, h0, c0, batch_sizes, *weights = map(_plain, (x, h0, c0, batch_sizes, *weights))
        if not stack.forward(list(weights), plan.form, x, h0, c0, batch_sizes, *outputs, *rest):
            raise MisfitError("the tensors do not fit each other, or are not in float32 or float64 memory")
    return outputs


def backward(
    plan: Plan,
    x: Tensor,
    batch_sizes: Tensor | None,
    weights: Sequence[Tensor],
    seed: int,
    tape: Tensor,
    gradients: Sequence[Tensor | None],
    wanted: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, list[Tensor]]:
    """BPTT; gradients are those of y, h and c, wanted tells whether those of x, h0 and c0 are returned."""
    _, state, _ = plan.shapes(x)
    dx = None
    if wanted[0]:  # the directions add to it
        dx = (
            torch.zeros_like(x, memory_format=torch.contiguous_format)
            if plan.bidirectional
            else _empty(x, x.shape)
        )
    dh0 = x.new_empty(state) if wanted[1] else None
    dc0 = x.new_empty(state) if wanted[2] else None
    dweights = [_empty(x, w.shape) for w in weights]
    stack: Any = _stack(plan.cell, x.shape[-1], plan.hidden, plan.layers, plan.bidirectional, plan.bias)
    inputs: tuple[Any, ...] = (x, batch_sizes, tape, *gradients)
    results = (dx, dh0, dc0, dweights)
    rest = (plan.dropout, seed, torch.get_num_threads())
    if not stack.backward(list(weights), plan.form, *inputs, *results, *rest):
        weights, inputs = list(map(_plain, weights)), tuple(map(_plain, inputs))
        if not stack.backward(list(weights), plan.form, *inputs, *results, *rest):
            raise MisfitError("the tensors are not those that forward was given, or gradients of its results")
    return dx, dh0, dc0, dweights


def _plain(tensor: Any) -> Any:
    """The same values, resolved and laid out as the kernels read them."""
    if tensor is None:
        return None
    tensor = tensor.detach().resolve_neg().contiguous()
    return tensor if tensor.data_ptr() % 64 == 0 else tensor.clone()


def _empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Uninitialised; a large one from the kernels' pool, whose pages need not be fetched and cleared anew."""
    size = like.element_size()
    for extent in shape:
        size *= extent
    if size < POOLED:
        return like.new_empty(shape)
    return torch.from_numpy(_core.new_array(tuple(shape), like.dtype == torch.float32))


def dropout_factors(plan: Plan, x: Tensor, batch_sizes: Tensor | None, layer: int, seed: int) -> Tensor:
    """By what a call's dropout multiplies x, the output of a layer: 0 or 1 / (1 - p)."""
    factors = torch.empty_like(x, memory_format=torch.contiguous_format)
    stack: Any = _stack(plan.cell, x.shape[-1], plan.hidden, plan.layers, plan.bidirectional, plan.bias)
    if not stack.mask(plan.form, _plain(x), batch_sizes, factors, layer, plan.dropout, seed):
        raise MisfitError("x must be the output of a layer, in float32 or float64 memory")
    return factors
