"""`RNNCell`, `LSTMCell` and `GRUCell`: one step, as the modules of torch.nn, run by the kernels."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from pyrnnfast.torch.kernels import MisfitError, Plan
from pyrnnfast.torch.modules import Accelerated, pair, recur

NONLINEAR = {"tanh": "rnn_tanh", "relu": "rnn_relu"}

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Cell(Accelerated, nn.RNNCellBase):
    """What the cells share."""

    _pyrnnfast_cell: ClassVar[str | None] = None
    proj_size = 0  # as a layer has; to ask for an attribute that is not there takes a microsecond

    def _pyrnnfast_weights(self) -> list[Tensor]:
        own = self._parameters
        try:
            weights = [own[name] for name in NAMES]
        except KeyError:  # parametrised, or the old weight_norm
            weights = [getattr(self, name) for name in NAMES]
        given = [weight for weight in weights if weight is not None]  # self.bias may say otherwise
        if len(given) not in (2, 4):
            raise MisfitError("one bias without the other")
        return given

    def _pyrnnfast_run(self, input: Any, hx: Any) -> Any:
        cell = self._pyrnnfast_cell
        if cell is None and isinstance(self.nonlinearity, str):
            cell = NONLINEAR.get(self.nonlinearity)
        if cell is None or not isinstance(input, Tensor) or input.is_nested:
            raise MisfitError("an unknown nonlinearity, or x that is no tensor, or a nested one")
        dims = input.dim()
        if dims not in (1, 2) or input.shape[-1] != self.input_size:
            raise MisfitError("x of another shape")
        lstm = cell == "lstm"
        h0, c0 = pair(hx, lstm)
        form, rows = ("NC", input.shape[0]) if dims == 2 else ("C", 1)
        weights = self._pyrnnfast_weights()
        plan = Plan(cell, self.input_size, self.hidden_size, 1, False, len(weights) == 4, form, rows, 0.0)
        _, h, c = recur(plan, input, h0, c0, None, weights)
        return (h, c) if lstm else h


class RNNCell(Cell):
    """`torch.nn.RNNCell` on the kernels: its arguments, parameters, results and errors."""

    _pyrnnfast_stock = nn.RNNCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, nonlinearity, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Any:
        """x (N, C) or (C), h' (N, H) or (H), by default zeros -> h. Raises what `torch.nn.RNNCell` raises."""
        return self._pyrnnfast_forward(input, hx)


class LSTMCell(Cell):
    """`torch.nn.LSTMCell` on the kernels: its arguments, parameters, results and errors."""

    _pyrnnfast_stock = nn.LSTMCell
    _pyrnnfast_cell = "lstm"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> Any:
        """x (N, C) or (C), (h', c') like (N, H) or (H), by default zeros -> (h, c).

        Raises what `torch.nn.LSTMCell` raises.
        """
        return self._pyrnnfast_forward(input, hx)


class GRUCell(Cell):
    """`torch.nn.GRUCell` on the kernels: its arguments, parameters, results and errors."""

    _pyrnnfast_stock = nn.GRUCell
    _pyrnnfast_cell = "gru"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Any:
        """x (N, C) or (C), h' (N, H) or (H), by default zeros -> h. Raises what `torch.nn.GRUCell` raises."""
        return self._pyrnnfast_forward(input, hx)
