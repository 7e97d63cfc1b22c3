"""`TensorBoard`: the losses of a run as a log for TensorBoard."""

from __future__ import annotations

import os
from typing import Any

from pyrnnfast import validation
from pyrnnfast.training.budget import Budget
from pyrnnfast.training.files import Location, check_writable
from pyrnnfast.training.progress import Callback, Progress


class TensorBoard(Callback):
    """Writes event files that `tensorboard --logdir FOLDER` shows; it needs tensorboardX.

    folder: where; it is made at once when it is not there. every: steps between points, default 10; each
    validation is a point too.
    Raises ImportError without tensorboardX, with the line that installs it; TypeError and ValueError for
    arguments of a wrong type or range, OSError when nothing can be written there.
    """

    def __init__(self, folder: Location, every: int = 10) -> None:
        self._folder = validation.path("folder", folder)
        self._every = validation.integer("every", every, 1)
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ImportError(
                'logs for TensorBoard need tensorboardX; install: pip install "pyrnnfast[tensorboard]"'
            ) from None
        os.makedirs(self._folder, exist_ok=True)
        check_writable(os.path.join(self._folder, "events"))
        self._open = SummaryWriter
        self._writer: Any = None

    def on_start(self, progress: Progress, budget: Budget) -> None:
        """Begin a file; a resumed run goes on in one of its own."""
        self._writer = self._open(self._folder, purge_step=progress.step + 1 if progress.step else None)

    def on_step(self, progress: Progress) -> None:
        """Add a point."""
        if progress.step % self._every == 0:
            self._add(progress, "loss", "learning_rate", "tokens_per_second")

    def on_validation(self, progress: Progress) -> None:
        """Add the loss of what is held out."""
        self._add(progress, "valid_loss")

    def on_end(self, progress: Progress, reason: str) -> None:
        """Add the last one and close the file."""
        self._add(progress, "valid_loss")
        self._writer.close()

    def _add(self, progress: Progress, *names: str) -> None:
        for name in names:
            value = getattr(progress, name)
            if value is not None:
                self._writer.add_scalar(name, value, progress.step)
