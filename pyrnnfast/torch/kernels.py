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
from torch import Tensor, nn

from pyrnnfast import _core

CELLS = {"RNN_TANH": "rnn_tanh", "RNN_RELU": "rnn_relu", "LSTM": "lstm", "GRU": "gru"}
"""PyTorch's mode of a layer -> the cell."""
STEP_FORMS = ("NC", "C")
ALIGNMENT = 64
"""Bytes, of a tape."""

_reader = _core.TensorReader(Tensor, nn.Parameter)
_get_num_threads: Any = torch.get_num_threads


class MisfitError(ValueError):
    """The tensors are not such as the kernels take."""


class Plan(NamedTuple):
    """What a call does, but for its tensors."""

    cell: str
    inputs: int
    hidden: int
    layers: int
    bidirectional: bool
    bias: bool
    form: str
    rows: Any
    """N, an int or a SymInt."""
    dropout: float
    """Between layers; 0 unless it is at work."""

    @property
    def directions(self) -> int:
        """D."""
        return 2 if self.bidirectional else 1

    def shapes(self, x: Tensor) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """The shapes of y (empty for one step of a cell) and of a state."""
        width, runs, rows = self.directions * self.hidden, self.layers * self.directions, self.rows
        if self.form in STEP_FORMS:
            return (0,), (self.hidden,) if self.form == "C" else (rows, self.hidden)
        y = (*x.shape[:-1], width)
        return y, (runs, self.hidden) if self.form == "TC" else (runs, rows, self.hidden)

    def tape_size(self, x: Tensor) -> Any:
        """Elements of the tape of a call on x."""
        inputs, hidden = int(self.inputs), int(self.hidden)  # SymInts where all sizes may change
        stack = _stack(self.cell, inputs, hidden, *self[3:6])
        per_row, per_step = stack.tape_sizes(x.dtype == torch.float32)
        steps: Any = 1  # of all rows together
        for extent in x.shape[:-1]:
            steps = steps * extent
        return per_row * self.rows + per_step * steps


@functools.lru_cache(maxsize=1024)
def _stack(
    cell: str, inputs: int, hidden: int, layers: int, bidirectional: bool, bias: bool
) -> _core.TensorStack:
    try:
        return _core.TensorStack(_reader, cell, inputs, hidden, layers, bidirectional, bias)
    except (ValueError, TypeError) as error:  # such as sizes of 0
        raise MisfitError(str(error)) from None


def forward(
    plan: Plan,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    batch_sizes: Tensor | None,
    weights: list[Tensor],
    seed: int,
    keep: bool,
    reuse: _core.Reuse | None = None,
    clear: bool = False,
) -> tuple[Tensor | None, Tensor, Tensor | None, Tensor | None]:
    """Run a stack; returns y (None for a cell), h, c (None but for the LSTM) and, with `keep`, the tape.

    clear: equal calls give equal tapes, also where no kernel reads them. Raises MisfitError where the tensors
    do not fit each other or the plan.
    """
    stack, settings = _stack(*plan[:6]), (plan.dropout, seed, _get_num_threads(), keep, clear)
    found = stack.forward(weights, plan.form, x, h0, c0, batch_sizes, *settings, reuse)
    if found is None:  # once more on copies, which are no parameters to remember
        x, h0, c0, batch_sizes, *weights = map(_plain, (x, h0, c0, batch_sizes, *weights))
        found = stack.forward(weights, plan.form, x, h0, c0, batch_sizes, *settings, None)
    if found is None:
        raise MisfitError("the tensors do not fit each other, or are not in float32 or float64 memory")
    return found


def backward(
    plan: Plan,
    x: Tensor,
    batch_sizes: Tensor | None,
    weights: list[Tensor],
    seed: int,
    tape: Tensor,
    gradients: Sequence[Tensor | None],
    wanted: Sequence[bool],
    reuse: _core.Reuse | None = None,
) -> tuple[Tensor | None, Tensor | None, Tensor | None, list[Tensor | None]]:
    """BPTT; gradients are those of y, h and c, wanted tells of x, h0, c0 and each weight whether its is."""
    stack, settings = _stack(*plan[:6]), (list(wanted), plan.dropout, seed, _get_num_threads())
    dy, dh, dc = gradients
    found = stack.backward(weights, plan.form, x, batch_sizes, tape, dy, dh, dc, *settings, reuse)
    if found is None:
        x, batch_sizes, tape, dy, dh, dc = map(_plain, (x, batch_sizes, tape, dy, dh, dc))
        weights = list(map(_plain, weights))
        found = stack.backward(weights, plan.form, x, batch_sizes, tape, dy, dh, dc, *settings, None)
    if found is None:
        raise MisfitError("the tensors are not those that forward was given, or gradients of its results")
    return found


def dropout_factors(plan: Plan, x: Tensor, batch_sizes: Tensor | None, layer: int, seed: int) -> Tensor:
    """By what a call's dropout multiplies x, the output of a layer: 0 or 1 / (1 - p)."""
    stack = _stack(plan.cell, x.shape[-1], *plan[2:6])
    factors: Tensor | None = stack.mask(plan.form, _plain(x), batch_sizes, layer, plan.dropout, seed)
    if factors is None:
        raise MisfitError("x must be the output of a layer, in float32 or float64 memory")
    return factors


def _plain(tensor: Tensor | None) -> Tensor | None:
    """The same values, resolved and laid out as the kernels read them."""
    if tensor is None:
        return None
    if tensor.layout is not torch.strided:
        raise MisfitError(f"a tensor of layout {tensor.layout}")
    tensor = tensor.detach().resolve_neg().contiguous()
    return tensor if tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()
