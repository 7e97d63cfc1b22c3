"""PyTorch's modules with ours in their place, against those that are as they were."""

from __future__ import annotations

from typing import Any

from pyrnnfast import __version__
from pyrnnfast._types import Array
from pyrnnfast.benchmark.case import Case
from pyrnnfast.benchmark.peers.ours import Ours
from pyrnnfast.benchmark.peers.pytorch import PyTorch


class Stock(PyTorch):
    """The module alone: a ragged batch is packed beforehand and its results stay packed."""

    def __init__(self, case: Case, threads: int) -> None:
        super().__init__(case, threads)
        if self._lengths is not None:
            self._order = self._pack(self._x)[1:]
            self._x, self._dy = self._pack(self._x).data, self._pack(self._dy).data

    def _pack(self, padded: Any) -> Any:
        return self._utilities.pack_padded_sequence(padded, self._lengths, enforce_sorted=False)

    def _run(self) -> Any:
        if self._lengths is None:
            return super()._run()
        return self._layer(self._utilities.PackedSequence(self._x, *self._order))[0].data

    def arrays(self, task: str, output: Any) -> dict[str, Array]:
        """Return the results by name, padded."""
        found = super().arrays(task, output)
        if self._lengths is not None:
            for name in {"y", "dx"} & found.keys():
                packed = self._utilities.PackedSequence(self._dy.new_tensor(found[name]), *self._order)
                steps = self.case.workload.shape.steps
                found[name] = self._utilities.pad_packed_sequence(packed, total_length=steps)[0].numpy()
        return found


class Accelerated(Stock):
    """The same after `accelerate`; no call may fall back."""

    name = Ours.name
    rival = False

    def __init__(self, case: Case, threads: int) -> None:
        from pyrnnfast.torch import accelerate

        super().__init__(case, threads)
        self._layer = accelerate(self._layer, backend="strict")

    @classmethod
    def version(cls) -> str:
        """Return the version of this package, and that its module is called through PyTorch."""
        return f"{__version__} in PyTorch"


BRIDGE: tuple[type[Stock], ...] = (Accelerated, Stock)
"""What `pyrnnfast bench --bridge` holds against each other, ours first."""
