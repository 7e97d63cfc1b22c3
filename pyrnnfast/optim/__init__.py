"""Optimizers, which update a module's parameters from its gradients, and learning-rate schedules."""

from __future__ import annotations

from pyrnnfast.optim.adaptive import Adagrad, Adam, AdamW, RMSprop
from pyrnnfast.optim.base import Optimizer
from pyrnnfast.optim.schedules import Constant, Cosine, Schedule, Step
from pyrnnfast.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Optimizer",
    "RMSprop",
    "Schedule",
    "Step",
]
