"""Where a layer keeps what its last call left: one tape for each Python thread, then what backward noted."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from pyrnnfast._types import Array

TapeT = TypeVar("TapeT")


class TapeSlot(Generic[TapeT]):
    """Holds at most one tape per Python thread, so that threads may train through one layer at once.

    A layer calls `keep` when it runs in training and `drop` when it runs in eval, so that `latest` always
    gives the tape of this thread's latest call. Backward calls `drop` once its arguments are known to be
    good: bad ones leave the tape, so that the call may be repeated. A tape dies with its thread. Pickle and
    deepcopy give an empty slot: a tape belongs to the call that made it, not to the layer.
    """

    __slots__ = ("_local",)

    def __init__(self) -> None:
        self._local = threading.local()

    def keep(self, tape: TapeT) -> None:
        """Store this thread's tape in place of the one it had."""
        self._local.tape = tape

    def drop(self) -> None:
        """Forget this thread's tape and norms, if there are any."""
        self._local.__dict__.clear()

    @property
    def norms(self) -> Array | None:
        """The norms that this thread's backward recorded since its last call, if it did."""
        norms: Array | None = self._local.__dict__.get("norms")
        return norms

    @norms.setter
    def norms(self, value: Array | None) -> None:
        self._local.norms = value

    def latest(self, layer: str) -> TapeT:
        """Return this thread's tape; `layer` is the name that the error carries.

        Raises RuntimeError when this thread has none: no call in training came before, a call in eval came
        since, or backward has consumed it already.
        """
        try:
            tape: TapeT = self._local.tape
        except AttributeError:
            raise RuntimeError(
                f"{layer}.backward needs one call of the layer in training mode in this thread before it: "
                f"there was none, or backward has consumed it already"
            ) from None
        return tape

    def __reduce__(self) -> tuple[type[TapeSlot[TapeT]], tuple[()]]:
        return type(self), ()
