"""A stock module of torch.nn and ours with the same weights, and how near their numbers must be."""

from __future__ import annotations

import math
from collections.abc import Iterator

from conftest import require
from numeric import SAFETY

torch = require("torch")
nn = torch.nn
ours = require("pyrnnfast.torch")

LAYERS = ("RNN", "LSTM", "GRU")
CELLS = ("RNNCell", "LSTMCell", "GRUCell")
DTYPES = (torch.float32, torch.float64)


def twins(name: str, *sizes: int, **options: object) -> tuple:
    """The stock module and ours."""
    stock, module = getattr(nn, name)(*sizes, **options), getattr(ours, name)(*sizes, **options)
    module.load_state_dict(stock.state_dict())
    return stock, module


def leaves(value: object) -> Iterator:
    """The floating-point tensors in a result or in arguments, in order."""
    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from leaves(part)


def run(module, *arguments: object) -> dict:
    """Outputs, and the gradients of all that takes one, by name."""
    outputs = list(leaves(module(*arguments)))
    weights = (torch.linspace(-1, 1, o.numel(), dtype=o.dtype).reshape(o.shape) for o in outputs)
    places = {f"input {i}": leaf for i, leaf in enumerate(leaves(arguments)) if leaf.requires_grad}
    places |= dict(module.named_parameters())
    found = torch.autograd.grad(
        sum((o * w).sum() for o, w in zip(outputs, weights, strict=True)), list(places.values())
    )
    results = {f"output {i}": o.detach() for i, o in enumerate(outputs)}
    return results | {f"d {name}": g for name, g in zip(places, found, strict=True)}


def assert_agree(module, steps: int, rows: int, got: dict, want: dict) -> None:
    """Hold our results against the stock module's in the same dtype.

    The bound of `numeric.forward_tolerance`, twice, for both sides round; gradients as in `assert_close`.
    """
    assert got.keys() == want.keys()
    eps = torch.finfo(next(module.parameters()).dtype).eps
    norms = [w.detach().norm(dim=1).max().item() for w in module.parameters() if w.ndim == 2]
    width = max(w.shape[1] for w in module.parameters() if w.ndim == 2)
    largest = max(
        1.0, *(v.abs().max().item() for k, v in want.items() if not k.startswith("d ") and v.numel())
    )
    flowing = max(
        1.0, *(v.abs().max().item() for k, v in want.items() if k.startswith("d ") and v.numel()), 1.0
    )
    depth = max(1, steps) * getattr(module, "num_layers", 1)
    forward = 2 * SAFETY * eps / 2 * math.hypot(2, *norms) * math.sqrt(width) * largest * depth
    for name, value in want.items():
        tolerance = forward * largest
        if name.startswith("d "):
            tolerance = 2 * forward * flowing * math.sqrt(max(1, steps * rows)) * largest
        assert got[name].dtype == value.dtype, name
        assert got[name].shape == value.shape, name
        error = (got[name] - value).abs().max().item() if value.numel() else 0.0
        assert error <= tolerance, f"{name}: off by {error:.3g}, tolerance {tolerance:.3g}"


def on_kernels(module) -> bool:
    """Whether every call so far ran on the kernels."""
    return set(module._pyrnnfast_counts) == {"kernels"}
