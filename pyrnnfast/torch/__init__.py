"""PyTorch's recurrent modules on the kernels: the same constructors, parameters and results."""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError(
        "pyrnnfast.torch needs PyTorch: pip install 'pyrnnfast[torch]'", name="torch"
    ) from None

from pyrnnfast.torch.cells import GRUCell, LSTMCell, RNNCell
from pyrnnfast.torch.explain import explain
from pyrnnfast.torch.layers import from_torch, to_torch
from pyrnnfast.torch.modules import GRU, LSTM, RNN
from pyrnnfast.torch.packs import freeze, unfreeze
from pyrnnfast.torch.swap import accelerate, accelerated, restore

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "LSTMCell",
    "RNNCell",
    "accelerate",
    "accelerated",
    "explain",
    "freeze",
    "from_torch",
    "restore",
    "to_torch",
    "unfreeze",
]
