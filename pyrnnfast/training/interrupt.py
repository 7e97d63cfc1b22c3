"""Stopping cleanly: a first Ctrl-C asks, a second one insists."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any


class StopFlag:
    """Says whether someone asked to stop; `request` may be called from any thread."""

    def __init__(self) -> None:
        self.requested = False

    def request(self) -> None:
        """Ask to stop."""
        self.requested = True


@contextmanager
def stop_on_signals(
    flag: StopFlag, signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM)
) -> Iterator[None]:
    """Let the first of the signals set the flag, and a second one raise KeyboardInterrupt.

    Only in the main thread; in others nothing changes. The handlers from before come back at the end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if flag.requested:
            raise KeyboardInterrupt
        flag.request()

    before: dict[signal.Signals, Any] = {number: signal.signal(number, handle) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
