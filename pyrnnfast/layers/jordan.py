"""`JordanRNN`: the output goes back, not the hidden units.

The kernels' cell has as many outputs as hidden units; the fewer are filled up with units of zero weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrnnfast import _sizes, validation
from pyrnnfast._types import ActivationLike, Array, ArrayLike, DTypeLike, Seed, State
from pyrnnfast.functional import ForwardResult, TapeHandle
from pyrnnfast.layers import init
from pyrnnfast.layers.embedding import Embedding
from pyrnnfast.layers.recurrent import RecurrentLayer
from pyrnnfast.layers.stack import DEFAULT_DTYPE
from pyrnnfast.layers.training import Training

if TYPE_CHECKING:
    from typing_extensions import Unpack


class JordanRNN(RecurrentLayer):
    """Jordan's network: h = f(W x + b + U o'), o = g(V h + c), o' the output before (Jordan 1986).

    The outputs o are y, and the state, O numbers a direction. Parameters, for layer 0: weight_ih_l0 (W)
    [H, C], weight_oh_l0 (U) [H, O], weight_ho_l0 (V) [O, H], bias_ih_l0 (b) [H], bias_ho_l0 (c) [O]; all
    begin uniform on -1/sqrt(H)..1/sqrt(H). A layer above the first reads D * O inputs.

    input_size, hidden_size, output_size: C, H, O. activations: two, f and g; by default "tanh" and the
    identity, ("affine", 1, 0). clip: the sums before f and g are held to -clip..clip. Other arguments, the
    call, backward and stream: as `RNN`'s, with O where it has H: recurrent_dropout and zoneout act on o, and
    grad_norms are of dL/do.
    Raises TypeError and ValueError for arguments of a wrong type or range.
    """

    _quick = False  # the kernels' outputs have other numbers beside o

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: DTypeLike = DEFAULT_DTYPE,
        rng: Seed = None,
        clip: float | None = None,
        activations: Sequence[ActivationLike] | None = None,
        merge: str = "concat",
        **training: Unpack[Training],
    ) -> None:
        self._output_size = validation.integer("output_size", output_size, 1)
        super().__init__(
            "jordan",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype,
            rng,
            "uniform",
            {"clip": clip, "activations": activations, "merge": merge},
            training,
        )

    @property
    def output_size(self) -> int:
        """O."""
        return self._output_size

    @property
    def packed_size(self) -> int:
        """The units of the kernels' cell: the more of H and O."""
        return max(self.hidden_size, self.output_size)

    @property
    def _sides(self) -> int:
        """Outputs that stand side by side: one of each direction, or one of both merged."""
        return _sizes.width(self) // _sizes.output(self)

    def _width(self) -> int:
        return self._sides * self.output_size

    def _state_shapes(self, *rows: int) -> tuple[tuple[int, ...], None]:
        return (self.num_layers * self.num_directions, *rows, self.output_size), None

    def _create_weights(self, recurrent_init: str, forget_bias: float | None, suffix: str) -> None:
        hidden, out, bound = self.hidden_size, self.output_size, 1 / math.sqrt(self.hidden_size)
        wide = (2 * self.packed_size, max(self.input_size, self.num_directions * self.packed_size))
        validation.storable("each matrix of weights", wide, self.dtype.itemsize)
        for layer in range(self.num_layers):
            below = self.input_size if layer == 0 else self._sides * out
            shapes: dict[str, tuple[int, ...]] = {"weight_ih": (hidden, below), "weight_oh": (hidden, out)}
            shapes["weight_ho"] = (out, hidden)
            shapes |= {"bias_ih": (hidden,), "bias_ho": (out,)} if self.bias else {}
            for reverse in ["", "_reverse"][: self.num_directions]:
                end = suffix.format(layer=layer, reverse=reverse)
                for name, shape in shapes.items():
                    self._add_parameter(name + end, init.uniform(self.rng, shape, bound, self.dtype))

    # --- Weights and gradients as the kernels have them: of `packed_size` units

    def _weights(self) -> list[Array]:
        each, wide = 5 if self.bias else 3, self.packed_size
        own = list(self._parameters.values())
        packed = []
        for k in range(self.num_layers * self.num_directions):
            w_ih, w_oh, w_ho, *biases = own[k * each : (k + 1) * each]
            below = self.input_size if k < self.num_directions else self._sides * wide
            shapes = [(2 * wide, below), (2 * wide, wide), *[(2 * wide,)] * len(biases)]
            arrays = [np.zeros(shape, self.dtype) for shape in shapes]
            for place, value in zip(self._places(k, arrays), [w_ih, w_oh, w_ho, *biases], strict=True):
                place[...] = value.reshape(place.shape)
            packed += arrays
        return packed

    def _places(self, k: int, arrays: list[Array]) -> list[Array]:
        """View the parameters of layer and direction k in the kernels' weights."""
        hidden, out, wide = self.hidden_size, self.output_size, self.packed_size
        w_ih, w_hh, *biases = arrays
        w_ih = w_ih[:hidden]
        if k >= self.num_directions:
            w_ih = w_ih.reshape(hidden, self._sides, wide)[:, :, :out]
        places = [w_ih, w_hh[:hidden, :out], w_hh[wide : wide + out, :hidden]]
        return places + ([biases[0][:hidden], biases[1][wide : wide + out]] if biases else [])

    def _by_name(self, dweights: list[Array]) -> dict[str, Array]:
        each = 4 if self.bias else 2
        runs = range(self.num_layers * self.num_directions)
        cut = [place for k in runs for place in self._places(k, dweights[k * each : (k + 1) * each])]
        return {
            name: np.ascontiguousarray(place).reshape(value.shape)
            for (name, value), place in zip(self._parameters.items(), cut, strict=True)
        }

    # --- Outputs and states

    def _run(
        self,
        x: Array,
        state: State | None,
        lengths: ArrayLike | None,
        dropout: float,
        batched: bool,
        embedding: Embedding | None = None,
        return_cells: bool = False,
    ) -> ForwardResult:
        if isinstance(x, np.ndarray) and x.ndim > 1:
            state = self._widen_state("state", state, x.shape[1])
        y, final, tape = super()._run(x, state, lengths, dropout, batched, embedding, return_cells)
        assert isinstance(final, np.ndarray)
        return ForwardResult(self._narrow(y), final[:, :, : self.output_size], tape)

    def _back(
        self, tape: TapeHandle, dy: Array | None, dstate: Any, dcells: Array | None = None
    ) -> tuple[Array, State]:
        if dy is not None:
            wide = np.zeros((*dy.shape[:2], self._sides, self.packed_size), self.dtype)
            wide[..., : self.output_size] = dy.reshape(*dy.shape[:2], self._sides, self.output_size)
            dy = wide.reshape(*dy.shape[:2], -1)
        dx, dstate0 = super()._back(tape, dy, self._widen_state("dstate", dstate, tape.rows), dcells)
        assert isinstance(dstate0, np.ndarray)
        return dx, dstate0[:, :, : self.output_size]

    def _narrow(self, y: Array) -> Array:
        sides = y.reshape(*y.shape[:-1], self._sides, self.packed_size)[..., : self.output_size]
        return sides.reshape(*y.shape[:-1], self._width())

    def _widen_state(self, name: str, state: Any, rows: int) -> Array | None:
        shape, _ = self._state_shapes(rows)
        o, _ = validation.state(name, state, self.dtype, shape, None)
        if o is None:
            return None
        wide = np.zeros((*shape[:2], self.packed_size), self.dtype)
        wide[:, :, : self.output_size] = o
        return wide

    def extra_repr(self) -> str:
        """The arguments that are not the defaults."""
        sizes = f"{self.input_size}, {self.hidden_size}"
        return super().extra_repr().replace(sizes, f"{sizes}, {self.output_size}", 1)
