"""What the tests of the optimizers share: all kinds, a module of any shapes, gradients to step with."""

from __future__ import annotations

import numpy as np

from pyrnnfast.layers.module import Module
from pyrnnfast.optim import Optimizer

CASES = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"weight_decay": 0.1, "alpha": 0.9, "eps": 1e-3}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"betas": (0.0, 0.0)}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
]


class Bag(Module):
    """Parameters of any shapes."""

    def __init__(self, *shapes: tuple[int, ...], dtype: type = np.float64, seed: int = 0) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        for i, shape in enumerate(shapes):
            self._add_parameter(f"p{i}", rng.standard_normal(shape).astype(dtype))


def give_gradients(module: Module, step: int) -> None:
    """Set gradients that depend on nothing but the step; some are exactly 0, as those of unused rows are."""
    rng = np.random.default_rng(step)
    for gradient in module.grads.values():
        gradient[...] = rng.standard_normal(gradient.shape)
        gradient[rng.random(gradient.shape) < 0.3] = 0


def run(optimizer: Optimizer, module: Module, steps: range) -> None:
    for step in steps:
        give_gradients(module, step)
        optimizer.step()
