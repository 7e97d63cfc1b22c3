"""Layers from PyTorch's modules and back: `from_torch`, `to_torch`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pyrnnfast.layers import arguments
from pyrnnfast.layers.cells import GRUCell, LSTMCell, RNNCell
from pyrnnfast.layers.recurrent import GRU, LSTM, RNN
from pyrnnfast.torch import swap
from pyrnnfast.torch.fallback import FLOATS

LAYERS: dict[type[Any], type[Any]] = {
    nn.RNN: RNN,
    nn.LSTM: LSTM,
    nn.GRU: GRU,
    nn.RNNCell: RNNCell,
    nn.LSTMCell: LSTMCell,
    nn.GRUCell: GRUCell,
}
"""PyTorch's class -> that of the layer on NumPy arrays."""


def from_torch(module: Any) -> Any:
    """Make a layer or cell of a recurrent module of PyTorch, with its weights.

    module: an RNN, LSTM, GRU, RNNCell, LSTMCell or GRUCell of `torch.nn` or of `pyrnnfast.torch`, of any
    device; parametrized weights are taken as they are now.
    Returns a layer of that name with the same arguments, in its mode of training or eval; weights are
    copies.
    Raises TypeError for another object; ValueError for weights other than float32 and float64, and a subclass
    that computes something of its own.
    """
    if not swap.is_recurrent(module):
        raise TypeError(
            f"module must be an RNN, LSTM, GRU or a cell of torch.nn, got {type(module).__name__}"
        )
    why = swap.why_not(module)
    if why is not None:
        raise ValueError(f"module must compute as those of torch.nn do, got one that may not: {why}")
    stock = next(known for known in LAYERS if isinstance(module, (known, swap.OURS[known])))
    first = module.weight_ih if isinstance(module, nn.RNNCellBase) else module.weight_ih_l0
    if first.dtype not in FLOATS or first.is_meta:
        raise ValueError(f"weights must be float32 or float64, at hand, got {first.dtype} on {first.device}")
    made = LAYERS[stock](**_arguments(module), dtype=str(first.dtype).removeprefix("torch."))
    made.load_state_dict({name: getattr(module, name).detach().cpu() for name in made.named_parameters()})
    return made.train(module.training)


def to_torch(layer: Any) -> Any:
    """Make a module of `torch.nn` of a layer or cell, with its weights.

    layer: an RNN, LSTM, GRU, RNNCell, LSTMCell or GRUCell.
    Returns the module of that name with the same arguments, on the CPU, in the layer's mode of training or
    eval; `accelerate` makes it compute with the kernels. Weights are copies.
    Raises TypeError for another object, ValueError for options that PyTorch does not have: all of ours but
    the LSTM's proj_size.
    """
    stock = next((known for known, ours in LAYERS.items() if isinstance(layer, ours)), None)
    if stock is None:
        raise TypeError(f"layer must be an RNN, LSTM, GRU or a cell of them, got {type(layer).__name__}")
    known = arguments.COMMON | {"proj_size"} if stock is nn.LSTM else arguments.COMMON
    arguments.refuse_others(layer, known, "PyTorch")
    dtype = getattr(torch, layer.dtype.name)
    made = stock(**_arguments(layer), dtype=dtype, device="meta").to_empty(device="cpu")  # nothing is drawn
    made.load_state_dict({name: torch.from_numpy(value) for name, value in layer.state_dict().items()})
    return made.train(layer.training)


def _arguments(owner: Any) -> dict[str, Any]:
    """Return the arguments that a module or a layer was made with, but for its dtype."""
    names = ["input_size", "hidden_size", "bias"]
    if hasattr(owner, "batch_first"):  # no cell
        names += ["num_layers", "batch_first", "dropout", "bidirectional"]
    if hasattr(owner, "nonlinearity"):
        names.append("nonlinearity")
    projected = getattr(getattr(owner, "options", owner), "proj_size", 0)  # of a module; of a layer's options
    return {name: getattr(owner, name) for name in names} | ({"proj_size": projected} if projected else {})
