"""This package, through the layers that its users call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pyrnnfast import __version__, runtime
from pyrnnfast._types import Array
from pyrnnfast.benchmark.case import Case
from pyrnnfast.benchmark.options import LAYERS, OPTIONS, make_layer
from pyrnnfast.benchmark.peers.base import Peer, named
from pyrnnfast.benchmark.shapes import Workload


class Ours(Peer):
    """A layer. In training every call packs the weights anew, as it must after an optimizer's step."""

    name = "pyrnnfast"
    packages = ("pyrnnfast",)
    cells = frozenset(LAYERS)
    optional = frozenset(name for option in OPTIONS.values() for name in option.needs)
    rival = False

    def __init__(self, case: Case, threads: int) -> None:
        super().__init__(case, threads)
        runtime.set_num_threads(threads)
        self._layer: Any = make_layer(case.workload, case.dtype)
        self._layer.load_state_dict(case.weights)
        self._state: Any = None

    @classmethod
    def version(cls) -> str:
        """Return the version of this package, installed or not."""
        return __version__

    def call(self, task: str) -> Any:
        """Return what to time, the layer in its mode."""
        self._layer.train(task == "training")
        return super().call(task)

    def forward(self) -> Any:
        """Compute y."""
        return self._layer(self.case.x, None, self.case.lengths)

    def step(self) -> Any:
        """Compute y and the state."""
        output = self._layer(self.case.x, self._state)
        self._state = output[1]
        return output

    def training(self) -> Any:
        """Compute y and all gradients."""
        layer = self._layer
        with layer.update():
            pass
        layer.zero_grad()
        y = layer(self.case.x, None, self.case.lengths)[0]
        dx, _ = layer.backward(self.case.dy)
        return y, dx

    def arrays(self, task: str, output: Any) -> dict[str, Array]:
        """Return the results by name."""
        if task == "training":
            return {"y": output[0], "dx": output[1], **self._layer.grads}
        y, state = output[:2]
        if not self.case.workload.streaming:
            return {"y": y}
        return named(y, state if isinstance(state, tuple) else [state])


class OursStream(Ours):
    """A layer's stream, which owns the state and takes single steps."""

    name = "pyrnnfast stream"

    def __init__(self, case: Case, threads: int) -> None:
        super().__init__(case, threads)
        self._stream = self._layer.eval().stream(case.workload.shape.rows)
        self._row = case.x[0]

    @classmethod
    def unable(cls, workload: Workload, task: str) -> str:
        """Say why it cannot do a task of a workload."""
        return super().unable(workload, task) if workload.streaming else "is for single steps"

    def step(self) -> Any:
        """Compute y."""
        return self._stream(self._row)

    def arrays(self, task: str, output: Any) -> dict[str, Array]:
        """Return the results by name."""
        return super().arrays(task, (output[None], self._stream.state))


class Plain(Ours):
    """The layer without the workload's option: what that costs is our time in units of its."""

    name = "plain cell"

    def __init__(self, case: Case, threads: int) -> None:
        super().__init__(Case(replace(case.workload, option=""), dtype=case.dtype.type), threads)

    @classmethod
    def unable(cls, workload: Workload, task: str) -> str:
        """Say why it cannot do a task of a workload."""
        return super().unable(workload, task) if workload.option else "is for options"

    def comparable(self) -> bool:
        """Say no: it computes something else."""
        return False
