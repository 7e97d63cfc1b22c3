"""Sampling: how the next token is chosen from logits, and whole sequences, drawn natively in one call.

The order of things: temperature, banned tokens, top-k, top-p (nucleus sampling, Holtzman et al. 2020), the
draw, and the draw again of a token that is not wanted; `pyrnnfast.reference.sampling` defines each to the
last tie. Randomness is counter-based (Philox4x32-10): the same seed draws the same, on any number of threads,
and what a row draws depends on its number, not on how many rows there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pyrnnfast import _backend, _sizes, validation
from pyrnnfast._types import Array, Integers, State
from pyrnnfast.functional import PackHandle
from pyrnnfast.reference import sampling as numerics

__all__ = ["Generated", "SamplingOptions", "generate", "probabilities", "sample"]


@dataclass(frozen=True)
class SamplingOptions:
    """What shapes a draw.

    temperature: divides the logits, at least 0, default 1; 0 is greedy: the most probable token.
    top_k: draw from the k most probable tokens only; 0 (default) for all.
    top_p: draw from the smallest set of most probable tokens that has this mass, above 0, at most 1; default
    1 for all.
    banned: ids of tokens that are never drawn (`<PAD>` and `<BOS>` of a language model).
    redraw: the id of a token that is drawn again when it comes up (`<UNK>`); default None.
    stop: the id of a token that ends its sequence (`<EOS>`); default None.
    Raises TypeError and ValueError for a wrong type or range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    banned: tuple[int, ...] = ()
    redraw: int | None = None
    stop: int | None = None

    def __post_init__(self) -> None:
        validation.number("temperature", self.temperature, at_least=0)
        validation.integer("top_k", self.top_k, 0)
        validation.number("top_p", self.top_p, above=0, at_most=1)
        if not isinstance(self.banned, (tuple, list)):
            raise TypeError(f"banned must be a tuple of token ids, got {type(self.banned).__name__}")

    def check_ids(self, classes: int) -> None:
        """Raise ValueError unless every id is below `classes` and some token may be drawn."""
        if classes < 1:
            raise ValueError(f"logits must have at least one class, got {classes}")
        for token in self.banned:
            validation.integer("each id in banned", token, 0, classes - 1)
        for name, special in (("redraw", self.redraw), ("stop", self.stop)):
            if special is not None:
                validation.integer(name, special, 0, classes - 1)
        if len(set(self.banned)) == classes:
            raise ValueError(f"banned must leave a token that may be drawn, got all {classes}")

    def mask(self, classes: int) -> Array:
        """Return uint8 [V], 1 where a token is banned."""
        mask = np.zeros(classes, np.uint8)
        mask[list(self.banned)] = 1
        return mask


class Generated(NamedTuple):
    """What `generate` returns."""

    tokens: Integers
    """[N, length]; from a row's stop token on, all are the stop token."""
    lengths: Integers
    """[N], the number of tokens before the stop token."""
    state: State
    """The state that gave each row's last token, which itself is not in it yet."""


def probabilities(logits: Array, options: SamplingOptions | None = None) -> Array:
    """Return the probability of each token to be drawn.

    logits: [..., V], float32 or float64; NaN and +inf are refused, -inf is a token that cannot be.
    options: default SamplingOptions(); `redraw` has the probability 0 unless it is the only one left; `stop`
    plays no part.
    Returns float64 [..., V], each row summing to 1.
    Raises TypeError for a wrong type, ValueError for a wrong shape, range or logits that leave nothing.
    """
    rows, options = _rows(logits, options)
    found = np.empty(rows.shape, np.float64)
    for row, z in enumerate(rows):
        w = numerics.weigh(z, options.temperature, options.top_k, options.top_p)
        if options.redraw is not None and w[options.redraw] > 0:
            w[options.redraw] = 0
            if not w.any():
                w[numerics.draw(z, _only(z.size, options.redraw), options.redraw, 0, 0, 0)] = 1
        found[row] = w / w.sum()
    return found.reshape(logits.shape)


def sample(logits: Array, options: SamplingOptions | None = None, *, seed: int, step: int = 0) -> Integers:
    """Draw one token from each row of logits.

    logits: [..., V], float32 or float64. options: default SamplingOptions(). seed: 0 to 2**64 - 1.
    step: the number of the draw, 0 to 2**32 - 1: give each draw of a sequence its own.
    Returns int64 [...]; a row's number, which its draw depends on, is its place in C order. Raises as
    `probabilities`.
    """
    rows, options = _rows(logits, options)
    seed, step = validation.seed(seed), validation.integer("step", step, 0, validation.MAX_STEPS)
    redraw = -1 if options.redraw is None else options.redraw
    found = np.empty(len(rows), np.int64)
    for row, z in enumerate(rows):
        w = numerics.weigh(z, options.temperature, options.top_k, options.top_p)
        found[row] = numerics.draw(z, w, redraw, step, row, seed)
    return found.reshape(logits.shape[:-1])


def generate(
    packed: PackHandle,
    embedding: Array,
    decoder_weight: Array,
    decoder_bias: Array | None = None,
    *,
    first: Integers,
    length: int,
    state: State | None = None,
    options: SamplingOptions | None = None,
    seed: int,
    num_threads: int | None = None,
) -> Generated:
    """Draw whole sequences in one native call: each token drawn is the input of the next step.

    packed: from `functional.pack` or `layer.pack()`, not bidirectional; its input size is E.
    embedding: [V, E]. decoder_weight: [V, H]; decoder_bias: [V] or None. All of the pack's dtype.
    first: [N] integers, the token that each row reads first. length: the most tokens to draw, at least 0.
    state: h [L, N, H], for the LSTM (h, c), before `first` is read; zeros by default.
    options: default SamplingOptions(). seed: 0 to 2**64 - 1. num_threads: as in `functional.forward`.
    Returns Generated(tokens, lengths, state).
    Raises TypeError for a wrong type or dtype, ValueError for a wrong shape or range and for NaN in logits.
    """
    backend = _backend.current()
    if type(packed) is not backend.Pack:
        raise TypeError(f"packed must come from pack(...), got {type(packed).__name__}")
    if packed.num_directions != 1:
        raise ValueError("packed must run in one direction, got a bidirectional stack")
    options = _options(options)
    embedding = validation.shaped("embedding", embedding, packed.dtype, ("V", packed.input_size))
    classes = embedding.shape[0]
    decoder_shape = (classes, _sizes.output(packed))
    weight = validation.shaped("decoder_weight", decoder_weight, packed.dtype, decoder_shape)
    if decoder_bias is not None:
        decoder_bias = validation.shaped("decoder_bias", decoder_bias, packed.dtype, (classes,))
    options.check_ids(classes)
    inputs = validation.indices("first", first, classes)
    validation.fits("first", inputs, ("N",))
    shape, c_shape = _sizes.states(packed, inputs.size)
    h0, c0 = validation.state("state", state, packed.dtype, shape, c_shape)
    length = validation.integer("length", length, 0, validation.MAX_STEPS)
    validation.addressable("the tokens", (inputs.size, length), 8)
    tokens, lengths, h, c = _backend.current().generate(
        packed,
        embedding,
        weight,
        decoder_bias,
        np.zeros(shape, packed.dtype) if h0 is None else h0,
        np.zeros(c_shape, packed.dtype) if c0 is None and c_shape is not None else c0,
        inputs,
        length,
        float(options.temperature),
        min(options.top_k, classes),  # as many as there are: all
        float(options.top_p),
        -1 if options.stop is None else options.stop,
        options.mask(classes),
        -1 if options.redraw is None else options.redraw,
        validation.seed(seed),
        validation.num_threads(num_threads),
    )
    return Generated(tokens, lengths, h if c is None else (h, c))


def _options(options: SamplingOptions | None) -> SamplingOptions:
    if options is None:
        return SamplingOptions()
    if not isinstance(options, SamplingOptions):
        raise TypeError(f"options must be SamplingOptions, got {type(options).__name__}")
    return options


def _rows(logits: Array, options: SamplingOptions | None) -> tuple[Array, SamplingOptions]:
    """Check both; return the scores of each row, [M, V] float64."""
    options = _options(options)
    checked = validation.floats("logits", logits, None, "V")
    classes = checked.shape[-1]
    options.check_ids(classes)
    mask = options.mask(classes)
    flat = checked.reshape(-1, classes)
    scored = np.empty(flat.shape, np.float64)
    for row, values in enumerate(flat):
        scored[row] = numerics.scores(values, mask)
    return scored, options


def _only(classes: int, token: int) -> Array:
    w = np.zeros(classes)
    w[token] = 1
    return w
