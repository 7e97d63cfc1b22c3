"""What an adapter is: the same weights and inputs go in, comparable arrays come out."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from pyrnnfast._types import Array
from pyrnnfast.benchmark.case import Case
from pyrnnfast.benchmark.options import OPTIONS
from pyrnnfast.benchmark.shapes import LABELS, TASKS, Workload


class UnsupportedError(RuntimeError):
    """A library cannot compute a workload; the message says why."""


class Peer(ABC):
    """A library set up for one case: what `call` gives is timed, `arrays` reads its results.

    case: its weights and inputs. threads: to compute with. A constructor may raise UnsupportedError.
    """

    name: ClassVar[str]
    packages: ClassVar[Sequence[str]] = ()
    """What must be installed; the last one's version is the library's."""
    cells: ClassVar[frozenset[str]] = frozenset({"rnn_tanh", "rnn_relu", "lstm", "gru"})
    optional: ClassVar[frozenset[str]] = frozenset()
    """What the `OPTIONS` need that it has an equal of."""
    tasks: ClassVar[Sequence[str]] = tuple(TASKS)
    rival: ClassVar[bool] = True
    """Whether speed is compared with it: not with our own, nor with the reference."""
    stepwise: ClassVar[bool] = False
    """Whether it has modules of one step that are measured."""
    slow: ClassVar[bool] = False
    """Whether it is left out where a call would take long."""

    def __init__(self, case: Case, threads: int) -> None:
        self.case = case
        self.threads = threads

    @classmethod
    def missing(cls) -> list[str]:
        """Return the packages that are not installed."""
        return [name for name in cls.packages if importlib.util.find_spec(name) is None]

    @classmethod
    def version(cls) -> str:
        """Return the version of the library."""
        return importlib.metadata.version(cls.packages[-1])

    @classmethod
    def unable(cls, workload: Workload, task: str) -> str:
        """Say why it cannot do a task of a workload; nothing if it can."""
        if task not in cls.tasks:
            return "does not train"
        if workload.stepwise and not cls.stepwise:
            return "is measured by whole sequences"
        if workload.cell not in cls.cells:
            return f"has no {LABELS[workload.cell]}"
        lacking = OPTIONS[workload.option].needs - cls.optional if workload.option else ()
        return f"has no {' and '.join(sorted(lacking))}" if lacking else ""

    def comparable(self) -> bool:
        """Whether its results must be ours."""
        option = self.case.workload.option
        return not option or not OPTIONS[option].drawn

    def call(self, task: str) -> Callable[[], Any]:
        """Return what to time: `training`, `forward`, or for a streaming case `step`."""
        if task == "training":
            return self.training
        return self.step if self.case.workload.streaming else self.forward

    @abstractmethod
    def forward(self) -> Any:
        """Compute y, keeping nothing for a backward."""

    @abstractmethod
    def step(self) -> Any:
        """Compute y and the state from the state that the call before gave, zeros in the first."""

    def training(self) -> Any:
        """Compute y and the gradients of the input and every weight for the case's dy."""
        raise NotImplementedError(f"{self.name} does not train")

    @abstractmethod
    def arrays(self, task: str, output: Any) -> dict[str, Array]:
        """Return what the call gave: y; of training dx and each weight's gradient; of a step h and c."""


def named(y: Array, states: Sequence[Array]) -> dict[str, Array]:
    """Name y and the states h and c, [L * D, N, H], as `Peer.arrays` does."""
    return {"y": y, **dict(zip("hc", states, strict=False))}
