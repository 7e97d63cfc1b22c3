"""The equations in plain NumPy, as every user could write them."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from pyrnnfast import reference
from pyrnnfast._types import Array
from pyrnnfast.benchmark.case import Case
from pyrnnfast.benchmark.options import make_layer
from pyrnnfast.benchmark.peers.base import Peer, named
from pyrnnfast.benchmark.peers.ours import Ours


class Reference(Peer):
    """`pyrnnfast.reference`. Its threads are the BLAS's; threadpoolctl sets them where installed."""

    name = "NumPy"
    packages = ("numpy",)
    cells = Ours.cells
    optional = frozenset(
        {
            *("peephole", "coupled", "clip", "activations", "cell_clip", "layer_norm", "merge", "proj_size"),
            *("proj_clip", "zoneout", "grad_clip", "reset_after", "OneGateGRU"),
        }
    )
    rival = False
    slow = True

    def __init__(self, case: Case, threads: int) -> None:
        super().__init__(case, threads)
        shape = case.workload.shape
        weights = list(case.weights.values())
        cell, options = case.workload.cell, None
        if case.workload.option:
            layer = make_layer(case.workload, case.dtype)
            cell, options = layer.cell, layer.options
        self._pack = reference.Pack(cell, weights, shape.layers, shape.directions == 2, True, options=options)
        self._states: list[Array | None] = [None, None]
        if importlib.util.find_spec("threadpoolctl") is not None:
            importlib.import_module("threadpoolctl").threadpool_limits(threads, user_api="blas")

    def _forward(self, training: bool, states: Any = (None, None)) -> Any:
        h, c = states
        case = self.case
        return reference.forward(self._pack, case.x, h, c, case.lengths, 0.0, 0, training, self.threads)

    def forward(self) -> Any:
        """Compute y."""
        return self._forward(False)

    def step(self) -> Any:
        """Compute y and the state."""
        output = self._forward(False, self._states)
        self._states = output[1:3]
        return output

    def training(self) -> Any:
        """Compute y and all gradients."""
        y, _, _, tape = self._forward(True)
        dx, _, _, gradients = reference.backward(tape, self.case.dy, None, None, True, self.threads)
        return y, dx, gradients

    def arrays(self, task: str, output: Any) -> dict[str, Array]:
        """Return the results by name."""
        if task == "training":
            y, dx, gradients = output
            return {"y": y, "dx": dx, **dict(zip(self.case.weights, gradients, strict=True))}
        y, *states, _ = output
        kept = states if self.case.workload.streaming else []
        return named(y, [state for state in kept if state is not None])
