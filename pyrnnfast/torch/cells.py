"""`RNNCell`, `LSTMCell` and `GRUCell`: one step, as the modules of torch.nn, run by the kernels."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pyrnnfast.torch.kernels import MisfitError, Plan
from pyrnnfast.torch.modules import Accelerated, pair

CELLS = {"tanh": "rnn_tanh", "relu": "rnn_relu"}


class Cell(Accelerated, nn.RNNCellBase):
    """What the cells share."""

    proj_size = 0  # as a layer has; to ask for an attribute that is not there takes a microsecond

    def _weights(self) -> list[Tensor]:
        own = self._parameters
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if self.bias else ("weight_ih", "weight_hh")
        try:
            return [own[name] for name in names]
        except KeyError:  # parametrised, or the old weight_norm
            return [getattr(self, name) for name in names]

    def _cell(self) -> str | None:
        raise NotImplementedError

    def _run(self, input: Any, hx: Any) -> Any:
        cell = self._cell()
        if cell is None or not isinstance(input, Tensor):
            raise MisfitError("an unknown nonlinearity, or x that is no tensor")
        dims = input.dim()
        if dims not in (1, 2) or input.shape[-1] != self.input_size:
            raise MisfitError("x of another shape")
        lstm = cell == "lstm"
        h0, c0 = pair(hx, lstm)
        form, rows = ("NC", input.shape[0]) if dims == 2 else ("C", 1)
        plan = Plan(cell, self.input_size, self.hidden_size, 1, False, bool(self.bias), form, rows, 0.0)
        _, h, c = self._recur(plan, input, h0, c0)
        return (h, c) if lstm else h


class RNNCell(Cell):
    """`torch.nn.RNNCell` on the kernels: its arguments, parameters, results and errors."""

    _stock = nn.RNNCell

    def _cell(self) -> str | None:
        return CELLS.get(self.nonlinearity)


class LSTMCell(Cell):
    """`torch.nn.LSTMCell` on the kernels: its arguments, parameters, results and errors."""

    _stock = nn.LSTMCell

    def _cell(self) -> str | None:
        return "lstm"


class GRUCell(Cell):
    """`torch.nn.GRUCell` on the kernels: its arguments, parameters, results and errors."""

    _stock = nn.GRUCell

    def _cell(self) -> str | None:
        return "gru"
