"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping

from pyrnnfast._types import Array
from pyrnnfast.layers.module import Module
from pyrnnfast.optim.base import Optimizer
from pyrnnfast.reference import optim as rules


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, as torch.optim.SGD (Sutskever et al. 2013).

    module: whose parameters are updated. lr: learning rate, default 1e-3. momentum: default 0, none.
    dampening: what a new gradient's weight in the momentum lacks to 1, default 0. weight_decay: L2 penalty,
    default 0. nesterov: look ahead along the momentum, default False.
    Raises TypeError or ValueError for an option of the wrong type or out of its range, and for nesterov
    without momentum or with dampening.

        g += weight_decay p;  b = g in the first step, then momentum b + (1 - dampening) g
        p -= lr (g + momentum b) with nesterov;  p -= lr b with momentum;  p -= lr g without
    """

    def __init__(
        self,
        module: Module,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        options = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(module, options, {"momentum_buffer": 0.0} if momentum else {})

    def _check_options(self, options: Mapping[str, float]) -> None:
        momentum, dampening = options["momentum"], options["dampening"]
        if options["nesterov"] and (momentum == 0 or dampening != 0):
            raise ValueError(
                f"nesterov needs momentum > 0 and dampening 0, got momentum {momentum}, dampening {dampening}"
            )

    def _update(self, parameter: Array, gradient: Array, buffers: dict[str, Array]) -> None:
        o = self._options
        rules.sgd(
            parameter,
            gradient,
            buffers.get("momentum_buffer"),
            o["lr"],
            o["momentum"],
            o["dampening"],
            o["weight_decay"],
            bool(o["nesterov"]),
            self._steps == 1,
        )
