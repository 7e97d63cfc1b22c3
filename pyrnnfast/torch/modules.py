"""`RNN`, `LSTM` and `GRU`: the modules of torch.nn, run by the kernels.

They derive from nn.RNNBase, not from nn.LSTM and its like, which torch.compile refuses. An instance may have
been made by torch.nn and have had its class changed: nothing beyond the attributes of the stock module need
exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.rnn import PackedSequence

from pyrnnfast.torch import fallback, kernels, packs
from pyrnnfast.torch.kernels import CELLS, MisfitError, Plan
from pyrnnfast.torch.ops import OPERATORS
from pyrnnfast.torch.recurrence import Recurrence


class Unannounced:
    """First base of the classes that we derive: the `__init_subclass__` of a user's class is not for them."""

    def __init_subclass__(cls) -> None:
        """Do nothing."""


class Accelerated:
    """What our layers and cells share: the choice between the kernels and PyTorch's own code.

    Names are long, for a user's subclass shares them.
    """

    _pyrnnfast_stock: ClassVar[type[nn.Module]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        ours, stock = type(self), self._pyrnnfast_stock
        self.__class__ = _constructing(ours)
        try:
            stock.__init__(self, *args, **kwargs)
        finally:
            self.__class__ = ours

    def _pyrnnfast_forward(self, input: Any, hx: Any) -> Any:
        if type(input) is not Tensor and isinstance(input, fx.Proxy):
            return self._pyrnnfast_node(input, hx)
        why = fallback.reason(self, input, hx)
        if why is None:
            try:
                result = self._pyrnnfast_run(input, hx)
            except MisfitError:
                pass
            else:
                fallback.count(self, fallback.KERNELS)
                return result
            result = self._pyrnnfast_stock.forward(self, input, hx)  # mostly a mistake: this raises its error
            fallback.refuse(self, fallback.MISFIT)
            fallback.count(self, fallback.MISFIT)
            return result
        fallback.refuse(self, why)
        fallback.count(self, why)
        return self._pyrnnfast_stock.forward(self, input, hx)

    def _pyrnnfast_node(self, input: Any, hx: Any) -> Any:
        """Return the node of a symbolic trace: one, as modules of torch.nn are.

        Hooks are traced around it, so that with them the node must not be the module's call.
        """
        tracer, own = input.tracer, vars(self)
        path = tracer.path_of_module(self)
        if not (own["_forward_hooks"] or own["_forward_pre_hooks"]):
            return tracer.create_proxy("call_module", path, (input, hx), {})
        module = tracer.create_proxy("get_attr", path, (), {})
        return tracer.create_proxy("call_method", "forward", (module, input, hx), {})

    def _pyrnnfast_run(self, input: Any, hx: Any) -> Any:
        """Run the kernels. Raises MisfitError where they do not take the arguments."""
        raise NotImplementedError

    def _pyrnnfast_weights(self) -> list[Tensor]:
        """Return weight_ih, weight_hh and the biases of each layer and direction."""
        raise NotImplementedError

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        packs.let_swap(self)
        return super()._apply(*args, **kwargs)  # type: ignore[misc]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        packs.let_swap(self)
        super()._load_from_state_dict(*args, **kwargs)  # type: ignore[misc]

    def __getstate__(self) -> dict[str, Any]:
        state = nn.RNNBase.__getstate__(self) if isinstance(self, nn.RNNBase) else self.__dict__
        return {name: value for name, value in state.items() if name != "_pyrnnfast_counts"}

    def __prepare_scriptable__(self) -> NoReturn:
        raise RuntimeError(
            f"torch.jit.script cannot compile pyrnnfast.torch.{type(self).__name__}: "
            "give it the model that pyrnnfast.torch.restore(model) returns"
        )


def _constructing(ours: Any) -> Any:
    """The class with PyTorch's own among its bases too, where PyTorch's constructor looks for itself."""
    made = vars(ours).get("_pyrnnfast_constructing")
    if made is None:
        bases = (Unannounced, ours, ours._pyrnnfast_stock)
        made = ours._pyrnnfast_constructing = type(ours.__name__, bases, {})
    return made


def recur(
    plan: Plan,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    batch_sizes: Tensor | None,
    weights: list[Tensor],
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """y (None for a cell), h and c (None but for the LSTM) of a stack."""
    if fallback.traced():
        return _operator(plan, x, h0, c0, batch_sizes, weights)
    seed = int(_new_seed()) if plan.dropout > 0 else 0
    if torch.is_grad_enabled() and _any_requires_grad(x, h0, c0, weights):
        results = Recurrence.apply(plan, x, h0, c0, batch_sizes, seed, *weights)
        y, *states = results if plan.form not in kernels.STEP_FORMS else (None, *results)
        return y, states[0], states[1] if plan.cell == "lstm" else None
    return kernels.forward(plan, x, h0, c0, batch_sizes, weights, seed, False, packs.reuse_of(weights))[:3]


def _any_requires_grad(x: Tensor, h0: Tensor | None, c0: Tensor | None, weights: Sequence[Tensor]) -> bool:
    if x.requires_grad or (h0 is not None and h0.requires_grad) or (c0 is not None and c0.requires_grad):
        return True
    return any(w.requires_grad for w in weights)


def _new_seed() -> Tensor:
    """Drawn from PyTorch's generator, as its own dropout would."""
    return torch.randint(2**63 - 1, (), dtype=torch.int64, device="cpu")


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
    steps = x.shape[1 if plan.form == "NTC" else 0] if plan.form in ("TNC", "NTC", "TC") else 1
    others = any(t.dtype != x.dtype for t in (*hidden, *weights))
    if steps == 0 or others or any(part.shape != state for part in hidden):
        raise MisfitError("no step, or states that do not fit the input")
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

    def _pyrnnfast_weights(self) -> list[Tensor]:
        own, names = self._parameters, self._flat_weights_names
        try:  # not self._flat_weights: that list is behind when a parameter was swapped
            weights = [own[name] for name in names]
        except KeyError:  # parametrised, or the old weight_norm
            weights = [getattr(self, name, None) for name in names]
            if any(weight is None for weight in weights):
                raise MisfitError("a weight that is not there") from None
            return weights
        flat = self._flat_weights
        if len(flat) != len(weights):
            raise MisfitError("weights of another number")
        for weight, given in zip(weights, flat, strict=True):
            if weight is None:
                raise MisfitError("a bias without the other")
            # another tensor was put there by the user, and PyTorch computes with it
            if given is not weight and not self._weights_have_changed():
                raise MisfitError("weights that are not the module's parameters")
        return weights

    def _pyrnnfast_run(self, input: Any, hx: Any) -> Any:
        packed = isinstance(input, PackedSequence)
        x = input[0] if packed else input
        if not isinstance(x, Tensor) or x.is_nested:
            raise MisfitError("x that is no tensor, or a nested one")
        batch_sizes: Any = input[1] if packed else None
        shape = x.shape
        dims = len(shape)
        if dims not in ((2,) if packed else (2, 3)) or shape[-1] != self.input_size:
            raise MisfitError("x of another shape")
        form = "PC" if packed else "TC" if dims == 2 else "NTC" if self.batch_first else "TNC"
        lstm = self.mode == "LSTM"
        h0, c0 = pair(hx, lstm)
        if not packed:
            rows = 1 if dims == 2 else shape[0 if self.batch_first else 1]
        elif h0 is None:
            rows = int(batch_sizes[0])
        else:
            h0, c0 = _sorted(h0, input[2]), _sorted(c0, input[2])
            rows = h0.shape[1]
        dropout, cell = self.dropout, CELLS.get(self.mode)
        flags = (self.bidirectional, self.bias, self.batch_first, self.training)
        if cell is None or type(self.num_layers) is not int or not all(map(_is_bool, flags)):
            raise MisfitError("attributes that PyTorch's constructor does not set")
        if not isinstance(dropout, (float, int)) or not 0 <= dropout <= 1:
            raise MisfitError("dropout that is no probability")
        dropout = dropout if self.training and self.num_layers > 1 else 0.0
        sizes = (self.input_size, self.hidden_size, self.num_layers, self.bidirectional, self.bias)
        plan = Plan(cell, *sizes, form, rows, dropout)
        y, h, c = recur(plan, x, h0, c0, batch_sizes, self._pyrnnfast_weights())
        state = (h, c) if lstm else h
        if packed:
            y, state = PackedSequence(y, *input[1:]), self.permute_hidden(state, input[3])
        return y, state


def _is_bool(value: Any) -> bool:
    return value is True or value is False


def _sorted(state: Any, order: Tensor | None) -> Any:
    """A state with its rows in the order of a PackedSequence."""
    if state is None:
        return None
    if state.dim() != 3 or (order is not None and state.shape[1] != order.shape[0]):
        raise MisfitError("a state of another shape")
    return state if order is None else state.index_select(1, order)


class RNN(Layer):
    """`torch.nn.RNN` on the kernels: its arguments, parameters, results and errors.

    h = f(W_ih x + b_ih + W_hh h' + b_hh), f = tanh or relu.
    """

    _pyrnnfast_stock = nn.RNN

    def forward(self, input: Tensor | PackedSequence, hx: Tensor | None = None) -> Any:
        """x (T, N, C), with batch_first (N, T, C), or (T, C), or packed -> y (T, N, D H), the last state.

        hx: h0 (L D, N, H), by default zeros. Raises what `torch.nn.RNN` raises.
        """
        return self._pyrnnfast_forward(input, hx)


class LSTM(Layer):
    """`torch.nn.LSTM` on the kernels: its arguments, parameters, results and errors.

    i, f, o = sigmoid(...), g = tanh(...), each of W_ih x + b_ih + W_hh h' + b_hh; c = f c' + i g; h = o
    tanh(c). proj_size runs on PyTorch's own code.
    """

    _pyrnnfast_stock = nn.LSTM
    get_expected_cell_size = nn.LSTM.get_expected_cell_size
    check_forward_args = nn.LSTM.check_forward_args
    permute_hidden = nn.LSTM.permute_hidden

    def forward(self, input: Tensor | PackedSequence, hx: tuple[Tensor, Tensor] | None = None) -> Any:
        """x (T, N, C), with batch_first (N, T, C), or (T, C), or packed -> y (T, N, D H), the last state.

        hx: (h0, c0), each (L D, N, H), by default zeros. Raises what `torch.nn.LSTM` raises.
        """
        return self._pyrnnfast_forward(input, hx)


class GRU(Layer):
    """`torch.nn.GRU` on the kernels: its arguments, parameters, results and errors.

    r, z = sigmoid(...); n = tanh(W_in x + b_in + r (W_hn h' + b_hn)); h = (1 - z) n + z h'.
    """

    _pyrnnfast_stock = nn.GRU

    def forward(self, input: Tensor | PackedSequence, hx: Tensor | None = None) -> Any:
        """x (T, N, C), with batch_first (N, T, C), or (T, C), or packed -> y (T, N, D H), the last state.

        hx: h0 (L D, N, H), by default zeros. Raises what `torch.nn.GRU` raises.
        """
        return self._pyrnnfast_forward(input, hx)
