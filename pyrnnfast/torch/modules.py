"""`RNN`, `LSTM` and `GRU`: the modules of torch.nn, run by the kernels.

They derive from nn.RNNBase, not from nn.LSTM and its like, which torch.compile refuses. An instance may have
been made by torch.nn and have had its class changed: nothing beyond the attributes of the stock module need
exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from pyrnnfast.torch import fallback, kernels
from pyrnnfast.torch.kernels import CELLS, MisfitError, Plan
from pyrnnfast.torch.ops import OPERATORS
from pyrnnfast.torch.packs import reuse_of
from pyrnnfast.torch.recurrence import Recurrence


class Accelerated:
    """What our layers and cells share: the choice between the kernels and PyTorch's own code."""

    _stock: ClassVar[type[nn.Module]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.__dict__.update(self._stock(*args, **kwargs).__dict__)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Run as the module of torch.nn does: the same arguments, results and errors."""
        why = fallback.reason(self, input, hx)
        if why is None:
            try:
                result = self._run(input, hx)
            except MisfitError:
                pass
            else:
                fallback.count(self, fallback.KERNELS)
                return result
            result = self._stock.forward(self, input, hx)  # mostly a mistake: this raises PyTorch's error
            fallback.refuse(self, fallback.MISFIT)
            fallback.count(self, fallback.MISFIT)
            return result
        fallback.refuse(self, why)
        fallback.count(self, why)
        return self._stock.forward(self, input, hx)

    def _run(self, input: Any, hx: Any) -> Any:
        raise NotImplementedError

    def _weights(self) -> list[Tensor]:
        raise NotImplementedError

    def _recur(
        self,
        plan: Plan,
        x: Tensor,
        h0: Tensor | None,
        c0: Tensor | None,
        batch_sizes: Tensor | None = None,
    ) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """y, h and c of a stack."""
        weights = self._weights()
        if fallback.traced():
            return _operator(plan, x, h0, c0, batch_sizes, weights)
        seed = int(_new_seed()) if plan.dropout > 0 else 0
        if torch.is_grad_enabled() and _any_requires_grad(x, h0, c0, weights):
            results = Recurrence.apply(plan, x, h0, c0, batch_sizes, seed, *weights)
            y, *states = results if plan.form not in kernels.STEP_FORMS else (None, *results)
            return y, states[0], states[1] if plan.cell == "lstm" else None
        return kernels.forward(plan, x, h0, c0, batch_sizes, weights, seed, False, reuse_of(weights))[:3]

    def __getstate__(self) -> dict[str, Any]:
        state = nn.RNNBase.__getstate__(self) if isinstance(self, nn.RNNBase) else self.__dict__
        return {name: value for name, value in state.items() if name != "_pyrnnfast_counts"}

    def __prepare_scriptable__(self) -> NoReturn:
        raise RuntimeError(
            f"torch.jit.script cannot compile pyrnnfast.torch.{type(self).__name__}: "
            "give it the model that pyrnnfast.torch.restore(model) returns"
        )


def _any_requires_grad(x: Tensor, h0: Tensor | None, c0: Tensor | None, weights: Sequence[Tensor]) -> bool:
    if x.requires_grad or (h0 is not None and h0.requires_grad) or (c0 is not None and c0.requires_grad):
        return True
    return any(w.requires_grad for w in weights)


def _new_seed() -> Tensor:
    """Drawn from PyTorch's generator, as its own dropout would."""
    return torch.randint(2**63 - 1, (), dtype=torch.int64)


def _operator(
    plan: Plan,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    batch_sizes: Tensor | None,
    weights: list[Tensor],
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    state = plan.shapes(x)[1]
    hidden = [part for part in (h0, c0) if part is not None]
    if any(part.shape != state for part in hidden) or any(t.dtype != x.dtype for t in (*hidden, *weights)):
        raise MisfitError("states that do not fit the input")
    keep = torch.is_grad_enabled() and _any_requires_grad(x, h0, c0, weights)
    seed = _new_seed() if plan.dropout > 0 else None
    y, h, c, _ = OPERATORS[plan.cell](
        x,
        h0,
        c0,
        batch_sizes,
        weights,
        seed,
        plan.form,
        plan.rows,
        plan.layers,
        plan.bidirectional,
        plan.bias,
        plan.dropout,
        keep,
    )
    return y, h, c


def pair(hx: Any, lstm: bool) -> tuple[Tensor | None, Tensor | None]:
    """h0 and c0 of the user's hx. Raises MisfitError where it is nothing of the kind."""
    if hx is None:
        return None, None
    if lstm and isinstance(hx, (tuple, list)) and len(hx) == 2:
        h0, c0 = hx
    elif not lstm:
        h0, c0 = hx, None
    else:
        raise MisfitError("hx that is no state")
    if not isinstance(h0, Tensor) or not isinstance(c0, Tensor if lstm else type(None)):
        raise MisfitError("hx that is no state")
    return h0, c0


class Layer(Accelerated, nn.RNNBase):
    """What `RNN`, `LSTM` and `GRU` share."""

    def _weights(self) -> list[Tensor]:
        own, names = self._parameters, self._flat_weights_names
        try:  # not self._flat_weights: that list is behind when a parameter was swapped
            return [own[name] for name in names]
        except KeyError:  # parametrised, or the old weight_norm
            return [getattr(self, name) for name in names]

    def _run(self, input: Any, hx: Any) -> Any:
        packed = isinstance(input, PackedSequence)
        x = input[0] if packed else input
        if not isinstance(x, Tensor):
            raise MisfitError("x that is no tensor")
        batch_sizes: Any = input[1] if packed else None
        shape = x.shape
        dims = len(shape)
        if dims not in ((2,) if packed else (2, 3)) or shape[-1] != self.input_size:
            raise MisfitError("x of another shape")
        form = "PC" if packed else "TC" if dims == 2 else "NTC" if self.batch_first else "TNC"
        lstm = self.mode == "LSTM"
        if packed and hx is not None:
            hx = self.permute_hidden(hx, input[2])
        h0, c0 = pair(hx, lstm)
        if packed:
            rows = int(batch_sizes[0]) if h0 is None else h0.shape[1]
        else:
            rows = 1 if dims == 2 else shape[0 if self.batch_first else 1]
        dropout = self.dropout if self.training and self.num_layers > 1 else 0.0
        sizes = (self.input_size, self.hidden_size, self.num_layers, self.bidirectional, self.bias)
        plan = Plan(CELLS[self.mode], *sizes, form, rows, dropout)
        y, h, c = self._recur(plan, x, h0, c0, batch_sizes)
        state = (h, c) if lstm else h
        if packed:
            y, state = PackedSequence(y, *input[1:]), self.permute_hidden(state, input[3])
        return y, state


class RNN(Layer):
    """`torch.nn.RNN` on the kernels: its arguments, parameters, results and errors.

    h = f(W_ih x + b_ih + W_hh h' + b_hh), f = tanh or relu.
    """

    _stock = nn.RNN


class LSTM(Layer):
    """`torch.nn.LSTM` on the kernels: its arguments, parameters, results and errors.

    i, f, o = sigmoid(...), g = tanh(...), each of W_ih x + b_ih + W_hh h' + b_hh; c = f c' + i g; h = o
    tanh(c). proj_size runs on PyTorch's own code.
    """

    _stock = nn.LSTM
    get_expected_cell_size = nn.LSTM.get_expected_cell_size
    check_forward_args = nn.LSTM.check_forward_args
    permute_hidden = nn.LSTM.permute_hidden


class GRU(Layer):
    """`torch.nn.GRU` on the kernels: its arguments, parameters, results and errors.

    r, z = sigmoid(...); n = tanh(W_in x + b_in + r (W_hn h' + b_hn)); h = (1 - z) n + z h'.
    """

    _stock = nn.GRU
