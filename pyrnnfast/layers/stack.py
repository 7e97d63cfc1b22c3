"""What the recurrent layers and the single-step cells share: weights, the pack, the tape, the call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from pyrnnfast import _sizes, cell_options, functional, outputs, validation
from pyrnnfast._types import Array, ArrayLike, DTypeLike, Seed, State
from pyrnnfast.functional import PackHandle, TapeHandle
from pyrnnfast.layers import init
from pyrnnfast.layers.embedding import Embedding
from pyrnnfast.layers.module import Module
from pyrnnfast.layers.options import Given
from pyrnnfast.layers.tape import TapeSlot

DEFAULT_DTYPE = np.float32


class Kept(NamedTuple):
    """What a call in training leaves for backward."""

    tape: TapeHandle
    batched: bool
    embedding: Embedding | None
    version: int
    """The embedding's at the call."""


class Stack(Given, Module):
    """The weights of a recurrent stack, and its calls on time-major batches."""

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        bidirectional: bool,
        dtype: DTypeLike,
        rng: Seed,
        recurrent_init: str,
        forget_bias: float | None,
        suffix: str,
        options: Mapping[str, Any] | None = None,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        record_grad_norms: bool = False,
    ) -> None:
        """Create the weights; `suffix` is a format of their names, as "_l{layer}{reverse}".

        options: arguments of `cell_options.check`. The others: checked.
        """
        super().__init__()
        self.cell = cell
        self.input_size = validation.integer("input_size", input_size, 1)
        self.hidden_size = validation.integer("hidden_size", hidden_size, 1)
        self.num_layers = validation.integer("num_layers", num_layers, 1)
        self.bias = validation.flag("bias", bias)
        self.bidirectional = validation.flag("bidirectional", bidirectional)
        self.dtype = validation.float_dtype("dtype", dtype)
        self.rng = validation.generator(rng)
        self.num_directions = 2 if self.bidirectional else 1
        self.options = cell_options.check(cell, self.num_directions, **(options or {}))
        cell_options.check_dtype(self.options, self.dtype)
        if self.options is not None:
            outputs.check_hidden(cell, self.options.proj_size, self.hidden_size)
        self._given = {
            **cell_options.arguments(self.options or cell_options.plain(cell, self.num_directions)),
            "input_dropout": input_dropout,
            "recurrent_dropout": recurrent_dropout,
            "record_grad_norms": record_grad_norms,
            "return_cells": False,  # the LSTM may
        }
        self._packed: tuple[int, PackHandle] | None = None
        self._tapes: TapeSlot[Kept] = TapeSlot()
        validation.choice("recurrent_init", recurrent_init, ("uniform", "orthogonal"))
        if forget_bias is not None:
            forget_bias = validation.number("forget_bias", forget_bias)
            if not self.bias:
                raise ValueError(f"forget_bias needs bias=True, got forget_bias={forget_bias} and bias=False")
            if self.options is not None and self.options.coupled:
                raise ValueError(
                    f"forget_bias must be None with coupled=True, where f = 1 - i, got {forget_bias}"
                )
        self._create_weights(recurrent_init, forget_bias, suffix)

    def _create_weights(self, recurrent_init: str, forget_bias: float | None, suffix: str) -> None:
        """Draw the weights in PyTorch's order: each layer and direction W_ih, W_hh, b_ih, b_hh, `extras`.

        With layer normalisation the biases come after it, and start at 0, gains at 1.
        """
        hidden, gates, width = self.hidden_size, validation.GATES[self.cell], _sizes.width(self)
        recurrent = _sizes.output(self)
        bound = 1 / math.sqrt(hidden)
        units = gates * hidden
        widest = max(self.input_size, recurrent if self.num_layers == 1 else width)
        validation.storable("each matrix of weights", (units, widest), self.dtype.itemsize)
        all_hidden = (self.num_layers, self.num_directions, units, recurrent)
        validation.storable("weight_hh of all layers", all_hidden, self.dtype.itemsize)
        biases = _sizes.biases(self.options, self.cell, hidden, self.bias)
        extras = _sizes.extras(self.options, self.cell, hidden, self.bias)
        normed = self.options is not None and self.options.layer_norm
        for layer in range(self.num_layers):
            below = self.input_size if layer == 0 else width
            for reverse in ["", "_reverse"][: self.num_directions]:
                end = suffix.format(layer=layer, reverse=reverse)
                weight_ih = init.uniform(self.rng, (units, below), bound, self.dtype)
                self._add_parameter("weight_ih" + end, weight_ih)
                if recurrent_init == "orthogonal":
                    weight_hh = init.orthogonal(self.rng, gates, hidden, recurrent, self.dtype)
                else:
                    weight_hh = init.uniform(self.rng, (units, recurrent), bound, self.dtype)
                self._add_parameter(self._named("weight_hh") + end, weight_hh)
                for name, shape in biases.items():
                    values = init.uniform(self.rng, shape, 0 if normed else bound, self.dtype)
                    if forget_bias is not None:  # the gate sees the sum of both
                        values[hidden : 2 * hidden] = forget_bias if name == "bias_ih" else 0
                    self._add_parameter(self._named(name) + end, values)
                for name, shape in extras.items():
                    if name.startswith("norm"):
                        values = np.full(shape, name.endswith("weight"), self.dtype)
                    else:
                        values = init.uniform(self.rng, shape, bound, self.dtype)
                    self._add_parameter(self._named(name) + end, values)

    def _named(self, weight: str) -> str:
        """Return the parameter's name of a weight of `functional.pack`."""
        return weight

    @property
    def grad_norms(self) -> Array | None:
        """[L * D, T], with record_grad_norms: the norm of dL/dh at each step of this thread's `backward`.

        None before it, and from this thread's next call on.
        """
        return self._tapes.norms

    @property
    def output_size(self) -> int:
        """The numbers that one direction puts out at a step."""
        return _sizes.output(self)

    def _width(self) -> int:
        """The numbers of y at each step."""
        return _sizes.width(self)

    def _state_shapes(self, *rows: int) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
        return _sizes.states(self, *rows)

    def pack(self) -> PackHandle:
        """Return the weights of now as the kernels read them, for `pyrnnfast.functional`.

        The same handle is given out until a weight changes.
        """
        packed = self._packed
        if packed is None or packed[0] != self._version:
            with self._lock:
                version = self._version
                handle = functional.pack(
                    self.cell,
                    list(self._parameters.values()),
                    num_layers=self.num_layers,
                    bidirectional=self.bidirectional,
                    bias=self.bias,
                    **cell_options.arguments(self.options),
                )
                self._packed = packed = (version, handle)
        return packed[1]

    @property
    def draws(self) -> bool:
        """Whether a call in training draws masks inside of a layer."""
        return self.input_dropout > 0 or self.recurrent_dropout > 0 or self.zoneout is not None

    def add_gradients(self, dweights: list[Array]) -> None:
        """Add the weight gradients of `pyrnnfast.functional.backward` to `.grads`."""
        self._add_gradients(dict(zip(self._parameters, dweights, strict=True)))

    def _run(
        self,
        x: Array,
        state: State | None,
        lengths: ArrayLike | None,
        dropout: float,
        batched: bool,
        embedding: Embedding | None = None,
        return_cells: bool = False,
    ) -> functional.ForwardResult:
        """Call the stack on x [T, N, C], or on ids [T, N]; in training the tape is kept for `_back`."""
        seed = None
        if self.training and (self.draws or (dropout > 0 and self.num_layers > 1)):
            with self._lock:
                seed = int(self.rng.integers(validation.MAX_SEED, dtype=np.uint64, endpoint=True))
        self._tapes.drop()
        version = 0 if embedding is None else embedding.version
        result = functional.forward(
            self.pack(),
            x,
            state,
            lengths,
            embedding=None if embedding is None else embedding._parameters["weight"],
            dropout=dropout,
            input_dropout=self.input_dropout,
            recurrent_dropout=self.recurrent_dropout,
            seed=seed,
            training=self.training,
            return_cells=return_cells,
        )
        if result.tape is not None:
            self._tapes.keep(Kept(result.tape, batched, embedding, version))
        return result

    def _kept(self) -> Kept:
        if not self.training:
            raise RuntimeError(
                f"{type(self).__name__}.backward needs training mode, got a layer in eval mode: call train() "
                "and the layer before it"
            )
        kept = self._tapes.latest(type(self).__name__)
        if kept.embedding is not None and kept.embedding.version != kept.version:
            raise RuntimeError(
                f"{type(self).__name__}.backward needs the embedding of the call, but it has changed since"
            )
        return kept

    def _back(
        self, tape: TapeHandle, dy: Array | None, dstate: Any, dcells: Array | None = None
    ) -> tuple[Array, State]:
        """Add to the gradients; return those of x [T, N, C], or of an embedding, and of the initial state."""
        runs = self.num_layers * self.num_directions
        norms = np.empty((runs, tape.steps)) if self.record_grad_norms else None
        dx, dstate0, dweights = functional.backward(tape, dy, dstate, dcells=dcells, grad_norms=norms)
        self._tapes.drop()
        self._tapes.norms = norms
        self._add_gradients(dict(zip(self._parameters, dweights, strict=True)), fresh=True)
        assert dx is not None
        return dx, dstate0

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_packed": None}


def map_state(function: Any, state: Any) -> Any:
    """Apply `function` to h, or to each of (h, c); None stays None."""
    if isinstance(state, tuple):
        return tuple(None if part is None else function(part) for part in state)
    return None if state is None else function(state)
