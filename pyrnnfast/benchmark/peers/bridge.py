"""PyTorch's modules with ours in their place, against those that are as they were."""

from __future__ import annotations

from pyrnnfast import __version__
from pyrnnfast.benchmark.case import Case
from pyrnnfast.benchmark.peers.ours import Ours
from pyrnnfast.benchmark.peers.pytorch import PyTorch


class Accelerated(PyTorch):
    """The module after `accelerate`, which nothing may fall back from; all else as `PyTorch` has it."""

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


BRIDGE: tuple[type[PyTorch], ...] = (Accelerated, PyTorch)
"""What `pyrnnfast bench --bridge` holds against each other, ours first."""
