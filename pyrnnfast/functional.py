"""The stateless functions below the layers: pack the weights, run forward, run backward on the tape it gave.

    packed = pack("lstm", [weight_ih, weight_hh, bias_ih, bias_hh])
    y, state, tape = forward(packed, x, training=True)
    dx, dstate, dweights = backward(tape, dy)

Letters: T steps, N rows, C inputs, H hidden units, G gates, L layers, D directions, R outputs of a direction
(H, or P of a projection). Arrays are time-major here, and of the weights' dtype, float32 or float64; any
strides will do (what is not contiguous or aligned is copied).

The cells, each with biases b_ih and b_hh beside W_ih x and W_hh h':

    rnn_tanh, rnn_relu   h = f(W_ih x + W_hh h')                                   Elman 1990
    lstm                 i, f, o = sigmoid(...), g = tanh(...); c = f c' + i g; h = o tanh(c)
                         Hochreiter and Schmidhuber 1997, Gers et al. 2000; order i f g o
    gru                  n = tanh(W_in x + r (W_hn h' + b_hn)); h = (1 - z) n + z h'
                         Cho et al. 2014 as cuDNN and PyTorch compute it; order r z n
    gru_reset_before     n = tanh(W_in x + W_hn (r h')); h = (1 - z) n + z h'      Cho et al. 2014 as printed
    one_gate_gru         n = tanh(W_in x + W_hn h'); h = g n + (1 - g) h'; order g n
    jordan               h = f(W x + b + U o'), o = g(V h + c), o is the output and the state, of O numbers
                         where proj_size=O is given, else H; weight_hh is U [H, O], bias_hh c [O], weight_hr
                         V [O, H]. Jordan 1986
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pyrnnfast import _backend, _sizes, cell_options, outputs, validation
from pyrnnfast._backend import PackHandle, TapeHandle
from pyrnnfast._types import ActivationLike, AnyIntegers, Array, ArrayLike, State

__all__ = ["BackwardResult", "ForwardResult", "PackHandle", "TapeHandle", "backward", "forward", "pack"]

CELLS = tuple(validation.GATES)


class _Forward(NamedTuple):
    y: Array
    """[T, N, D * R], merged [T, N, R]: the top layer's outputs, zero past a row's length."""
    state: State
    """h [L * D, N, R] after each row's last step; (h, c) for the LSTM, c [L * D, N, H]."""
    tape: TapeHandle | None
    """What `backward` needs; None unless training."""


class ForwardResult(_Forward):
    """What `forward` returns: a tuple of y, state and tape, and beside it `cells`."""

    cells: Array | None = None
    """[T, N, D * H], the top layer's c of every step, zero past a row's length; None unless asked for."""


class BackwardResult(NamedTuple):
    """What `backward` returns."""

    dx: Array | None
    """[T, N, C], zero past a row's length; with an embedding its gradient [V, C]; None without
    input_gradient."""
    dstate: State
    """The gradient of the initial state, of the state's structure."""
    dweights: list[Array]
    """The gradients of the weights, in the order that `pack` took them."""


def pack(
    cell: str,
    weights: Sequence[Array],
    *,
    num_layers: int = 1,
    bidirectional: bool = False,
    bias: bool = True,
    isa: str | None = None,
    peephole: bool = False,
    coupled: bool = False,
    clip: float | None = None,
    activations: Sequence[ActivationLike] | None = None,
    cell_clip: float | None = None,
    layer_norm: bool = False,
    zoneout: float | Sequence[float] | None = None,
    grad_clip: float | None = None,
    proj_size: int = 0,
    proj_clip: float | None = None,
    merge: str = "concat",
) -> PackHandle:
    """Copy weights into the layout that the kernels read; use the handle for as many calls as you like.

    cell: "rnn_tanh", "rnn_relu", "lstm", "gru", "gru_reset_before", "one_gate_gru" or "jordan".
    weights: arrays in PyTorch's order, for each layer, for each direction: weight_ih [G * H, C] (above the
    first layer [G * H, D * R], merged R), weight_hh [G * H, R], with bias bias_ih and bias_hh [G * H], with
    proj_size (jordan: always) weight_hr [P, H], with peephole weight_peephole [3 * H], order i f o, and with
    layer_norm the gains norm_ih_weight and norm_hh_weight [G * H], and for the LSTM norm_c_weight and with
    bias norm_c_bias [H].
    isa: the instruction set, one of `pyrnnfast.available_isas()`; None for the default.
    peephole, coupled, clip, activations, cell_clip, layer_norm, zoneout, grad_clip: see
    `pyrnnfast.cell_options`; proj_size, proj_clip, merge: see `pyrnnfast.outputs`.
    Returns a handle that has seen the values of now: later changes of the arrays do not reach it.
    Raises TypeError for a wrong type or dtype, ValueError for a wrong shape, count or name.
    """
    validation.choice("cell", cell, CELLS)
    layers = validation.integer("num_layers", num_layers, 1)
    two_way, with_bias = validation.flag("bidirectional", bidirectional), validation.flag("bias", bias)
    backend = _backend.current()
    if isa is not None:
        validation.choice("isa", isa, backend.available_isas())
    of_cell = (peephole, coupled, clip, activations, cell_clip, layer_norm, zoneout, grad_clip)
    of_outputs = {"proj_size": proj_size, "proj_clip": proj_clip, "merge": merge}
    options = cell_options.check(cell, 2 if two_way else 1, *of_cell, **of_outputs)
    checked = validation.weights(weights, cell, layers, two_way, with_bias, options)
    cell_options.check_dtype(options, checked[0].dtype)
    if proj_size:
        outputs.check_hidden(cell, proj_size, len(checked[1]) // validation.GATES[cell])
    packed: PackHandle = backend.Pack(cell, checked, layers, two_way, with_bias, isa, options)
    return packed


def forward(
    packed: PackHandle,
    x: Array | AnyIntegers,
    state: State | None = None,
    lengths: ArrayLike | None = None,
    *,
    embedding: Array | None = None,
    dropout: float = 0.0,
    input_dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    seed: int | None = None,
    training: bool = False,
    return_cells: bool = False,
    num_threads: int | None = None,
) -> ForwardResult:
    """Run the whole stack over a batch of sequences.

    x: [T, N, C], or with an embedding ids [T, N], integers from 0 to V - 1.
    embedding: [V, C]; the input is embedding[x], which is never made: where V is less than half the number of
    steps that are run, W_ih meets each row of the embedding once, and each id takes the result. The same
    outputs bit for bit, and gradients within rounding.
    The tape refers to x, or the embedding: do not change it before backward.
    state: the initial h [L * D, N, R], for the LSTM (h, c), c [L * D, N, H]; zeros by default. A GRU with a
    projection has such a pair too, c what is projected.
    lengths: [N] integers from 0 to T, in any order; T by default. Steps past a row's length are not run.
    dropout: the probability that an output of a layer is zeroed for the layer above, in training only.
    input_dropout, recurrent_dropout: the probability that a unit of each layer's input, or of h' in its
    recurrent product, is zeroed at all steps of a sequence, in training: see `pyrnnfast.layers.training`.
    seed: 0 to 2**64 - 1, the masks' seed; needed when dropout or zoneout is at work.
    training: keep a tape for `backward`, and apply dropout and zoneout.
    return_cells: give the LSTM's cell state of every step too, as the result's `cells`.
    num_threads: 1 to 1024; the process's number by default. It never changes a bit of the result.
    Returns ForwardResult(y, state, tape).
    Raises TypeError for a wrong type or dtype, ValueError for a wrong shape or range.
    """
    backend = _backend.current()
    if type(packed) is not backend.Pack:
        raise TypeError(f"packed must come from pack(...), got {type(packed).__name__}")
    hidden, directions = packed.hidden_size, packed.num_directions
    if embedding is None:
        x = validation.shaped("x", x, packed.dtype, ("T", "N", packed.input_size))
    else:
        embedding = validation.shaped("embedding", embedding, packed.dtype, ("V", packed.input_size))
        x = validation.indices("ids", x, len(embedding))
        validation.fits("ids", x, ("T", "N"))
    steps, rows = x.shape[:2]
    units = max(validation.GATES[packed.cell] * directions * hidden, _sizes.width(packed))
    validation.addressable("the gates of x", (steps, rows, units), packed.dtype.itemsize)
    shape, c_shape = _sizes.states(packed, rows)
    validation.storable("the states", c_shape or shape, packed.dtype.itemsize)
    h0, c0 = validation.state("state", state, packed.dtype, shape, c_shape)
    ends = None if lengths is None else validation.lengths(lengths, steps, rows)
    keep = validation.flag("training", training)
    p = validation.probability("dropout", dropout)
    p_input = validation.probability("input_dropout", input_dropout)
    p_recurrent = validation.probability("recurrent_dropout", recurrent_dropout)
    if seed is not None:
        seed = validation.seed(seed)
    elif keep and (p * (packed.num_layers - 1) > 0 or p_input > 0 or p_recurrent > 0 or _zones(packed)):
        raise ValueError("seed must be an integer from 0 to 2**64 - 1 where masks are drawn, got None")
    cells = None
    if return_cells is not False and outputs.wants_cells(packed.cell, return_cells):
        cells = np.zeros((steps, rows, directions * hidden), packed.dtype)
    threads = validation.num_threads(num_threads)
    y, h, c, tape = backend.forward(
        packed, x, h0, c0, ends, p, seed or 0, keep, threads, embedding, cells, p_input, p_recurrent
    )
    result = ForwardResult(y, h if c is None else (h, c), tape)
    if cells is not None:
        result.cells = cells
    return result


def _zones(packed: PackHandle) -> bool:
    """Whether its cell has zoneout, which draws in training."""
    return packed.options is not None and packed.options.zoneout != ()


def backward(
    tape: TapeHandle,
    dy: Array | None = None,
    dstate: State | tuple[Array | None, Array | None] | None = None,
    *,
    dcells: Array | None = None,
    input_gradient: bool = True,
    num_threads: int | None = None,
    grad_norms: Array | None = None,
) -> BackwardResult:
    """Backpropagate through the call of `forward` that gave the tape; it may be done again on the same tape.

    dy: of y's shape, its gradient; zeros by default. What is past a row's length is ignored.
    dstate: the gradient of the final state, of the state's structure (either of the LSTM's two may be None);
    zeros by default.
    dcells: [T, N, D * H], the gradient of the LSTM's `cells`, as dy; zeros by default.
    input_gradient: False spares the work for dx.
    num_threads: as in `forward`; it never changes a bit of the result.
    grad_norms: an array [L * D, T] of float32 or float64, which gets the norm of dL/dh at each step, over all
    rows and units: of all that reaches h, from y, from the step after it and from the final state.
    Returns BackwardResult(dx, dstate, dweights).
    Raises TypeError for a wrong type or dtype, ValueError for a wrong shape.
    """
    backend = _backend.current()
    if type(tape) is not backend.Tape:
        raise TypeError(f"tape must come from forward(..., training=True), got {type(tape).__name__}")
    packed = tape.pack
    if dy is not None:
        dy = validation.shaped("dy", dy, packed.dtype, (tape.steps, tape.rows, _sizes.width(packed)))
    if dcells is not None:
        outputs.wants_cells(packed.cell, True)
        width = packed.num_directions * packed.hidden_size
        dcells = validation.shaped("dcells", dcells, packed.dtype, (tape.steps, tape.rows, width))
    shape, c_shape = _sizes.states(packed, tape.rows)
    dh, dc = validation.state("dstate", dstate, packed.dtype, shape, c_shape, parts_optional=True)
    with_dx = validation.flag("input_gradient", input_gradient)
    if grad_norms is not None:
        validation.fits("grad_norms", validation.writable("grad_norms", grad_norms), (shape[0], tape.steps))
    norms = None if grad_norms is None else np.empty((shape[0], tape.steps))
    dx, dh0, dc0, dweights = backend.backward(
        tape, dy, dh, dc, with_dx, validation.num_threads(num_threads), dcells, norms
    )
    if grad_norms is not None:
        grad_norms[...] = norms
    return BackwardResult(dx, dh0 if dc0 is None else (dh0, dc0), dweights)
