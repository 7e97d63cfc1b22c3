"""What the tests of accelerate share: the kinds of modules, all that tells two states of a model apart."""

from __future__ import annotations

from typing import Any

from conftest import require

torch = require("torch")

from torch import nn  # noqa: E402

KINDS = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")


def everything(model: Any) -> list[tuple[Any, ...]]:
    """All that tells two states of a model apart, but the values: each module's class and attributes."""
    return [
        (name, id(module), type(module), {key: _frozen(value) for key, value in vars(module).items()})
        for name, module in model.named_modules(remove_duplicate=False)
    ]


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: id(item) for key, item in value.items()}
    if isinstance(value, list):
        return [id(item) for item in value]
    return id(value)


def small(kind: str) -> Any:
    return getattr(nn, kind)(3, 4)


def call(module: Any, x: Any) -> Any:
    """The output of a module without the state."""
    output = module(x)
    return output[0] if isinstance(output, tuple) else output


def agree(got: Any, want: Any) -> None:
    """Two results on the same weights, which a few products of short rows make: 100 roundings are plenty."""
    torch.testing.assert_close(got, want, rtol=0, atol=100 * torch.finfo(want.dtype).eps)
