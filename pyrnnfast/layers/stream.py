"""A recurrent layer that is fed one step at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from pyrnnfast import _backend, validation
from pyrnnfast._types import Array, State

if TYPE_CHECKING:
    from pyrnnfast.layers.recurrent import RecurrentLayer


class Stream:
    """One step of a layer's whole stack a call: the state stays inside, and a step allocates nothing.

        stream = layer.stream()
        for x in source:  # [1, C]
            y = stream(x)  # [1, H]

    Made by the `stream` method of the recurrent layers. The outputs are bit for bit those of the layer's own
    call. It is inference: no dropout, nothing is kept for backward. When the layer's weights change, the
    next step uses the new ones. Streams of one layer are independent of each other; Python threads that share
    one take turns. A signal's handler that interrupts a step gets a RuntimeError when it uses that stream.
    """

    def __init__(self, layer: RecurrentLayer, N: int) -> None:
        """Make a stream of N rows in state zero; the process's number of threads of now is what it uses."""
        rows = validation.integer("N", N, 1)
        if layer.bidirectional:
            raise ValueError("bidirectional must be False for a stream, got True")
        if layer.training and (layer.draws or (layer.dropout > 0 and layer.num_layers > 1)):
            raise ValueError(
                "the layer of a stream must be in eval mode where training draws masks, got "
                f"{layer} in training mode"
            )
        self._layer = layer
        self._state_shapes = layer._state_shapes(rows)
        self._x_shape = (rows, layer.input_size)
        gates = max(validation.GATES[layer.cell] * layer.hidden_size, layer.output_size)
        validation.storable("the gates of x", (layer.num_layers, rows, gates), layer.dtype.itemsize)
        self._version = layer._version
        self._stepper = _backend.current().Stream(layer.pack(), rows, 0)
        self._step = self._stepper.step

    def __call__(self, x: Array) -> Array:
        """Take one step.

        x: [N, C], of the layer's dtype.
        Returns y [N, H], a read-only view of the stream's own output: the next step overwrites it, so copy
        what is to be kept.
        Raises TypeError for a wrong type or dtype, ValueError for a wrong shape; the state stays as it was.
        """
        if self._version != self._layer._version:
            self._version = self._layer._version  # read first: a change during `pack` shows at the next step
            self._stepper.use(self._layer.pack())
        y: Array | None = self._step(x)
        if y is None:  # wrong, or not as the kernels read it: say so, or copy it
            y = self._step(validation.shaped("x", x, self._layer.dtype, self._x_shape))
            assert y is not None
        return y

    @property
    def state(self) -> State:
        """The state after the last step, as copies: h [L, N, H], for the LSTM (h, c); as the layer's.

        It may be set to the same, or to None for zeros.
        Raises TypeError for a wrong type or dtype, ValueError for a wrong shape; the state stays as it was.
        """
        h, c = self._stepper.state()
        return h if c is None else (h, c)

    @state.setter
    def state(self, value: State | None) -> None:
        h, c = validation.state("state", value, self._layer.dtype, *self._state_shapes)
        self._stepper.set_state(h, c)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Stream cannot be copied or pickled: make another, and set its state")
