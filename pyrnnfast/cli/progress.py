"""What the commands that train show meanwhile: a bar with loss, speed and time left; samples; the result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from pyrnnfast.training import Budget, Callback
from pyrnnfast.training import Progress as Reached

if TYPE_CHECKING:
    from pyrnnfast.models import LanguageModel

SMOOTHING = 0.98
SAMPLE_LENGTH = 160
SAMPLE_LINES = 4
SAMPLE_SEED = 1
REDRAWS_A_SECOND = 5
SECONDS_A_LINE = 10
"""Between lines where there is no bar; the first one comes after the first step."""


class Display(Callback):
    """A progress bar on stderr, with lines and samples above it; only these where stderr is no terminal.

    sample: gives the lines of a sample after a number of steps; None for none. every: steps between lines;
    None for those of validations, and without a bar one every ten seconds.
    """

    def __init__(
        self, console: Console, sample: Callable[[int], list[str]] | None = None, every: int | None = None
    ) -> None:
        self._console, self._sample, self._every = console, sample, every
        self._budget: Budget | None = None
        self._mean, self._weight = 0.0, 0.0
        self._drawn = -math.inf
        self._told = 0
        self._bar = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            auto_refresh=False,
        )
        self._task = self._bar.add_task("starting", total=1.0)

    def on_start(self, progress: Reached, budget: Budget) -> None:
        """Show the bar."""
        self._budget = budget
        if progress.step:
            self._console.print(f"going on after step {progress.step}")
        if self._console.is_terminal:
            self._bar.start()

    def on_step(self, progress: Reached) -> None:
        """Move the bar."""
        if math.isfinite(progress.loss):
            self._mean = SMOOTHING * self._mean + (1 - SMOOTHING) * progress.loss
            self._weight = SMOOTHING * self._weight + 1 - SMOOTHING
        if self._every is not None and progress.step % self._every == 0:
            self._tell(progress)
        pause = 1 / REDRAWS_A_SECOND if self._console.is_terminal else SECONDS_A_LINE
        if time.monotonic() - self._drawn < pause:
            return
        self._drawn = time.monotonic()
        if not self._console.is_terminal:
            if self._every is None:
                self._tell(progress)
            return
        self._bar.update(self._task, completed=progress.fraction, description=self._describe(progress))
        self._bar.refresh()

    def on_validation(self, progress: Reached) -> None:
        """Print the losses and a sample."""
        self._drawn = time.monotonic()
        self._tell(progress)
        self._show_sample(progress)

    def on_end(self, progress: Reached, reason: str) -> None:
        """Take the bar away and print the losses and a sample of what is kept."""
        self.close()
        self._tell(progress)
        self._show_sample(progress)

    def close(self) -> None:
        """Take the bar away; also after an error."""
        if self._console.is_terminal:
            self._bar.stop()

    def _tell(self, progress: Reached) -> None:
        """Print the losses, once for a step."""
        if progress.step != self._told:
            self._told = progress.step
            self._console.print(self._describe(progress))

    def _show_sample(self, progress: Reached) -> None:
        for line in self._sample(progress.step) if self._sample else ():
            if line.strip():
                self._console.print(Text("    " + line, style="dim"))

    def _describe(self, progress: Reached) -> str:
        parts = [
            f"step {progress.step}{self._epoch(progress)}",
            f"loss {self._mean / max(self._weight, 1e-9):.3f}",
        ]
        if progress.valid_loss is not None:
            parts.append(f"held out {progress.valid_loss:.3f}")
        parts += [f"{progress.tokens_per_second:,.0f} tokens/s", f"{self._left(progress)} left"]
        return ", ".join(parts)

    def _epoch(self, progress: Reached) -> str:
        assert self._budget is not None
        if self._budget.epochs is None:
            return ""
        return f", epoch {progress.step / self._budget.epoch_steps:.1f} of {self._budget.epochs}"

    def _left(self, progress: Reached) -> str:
        assert self._budget is not None
        if self._budget.minutes is not None:
            seconds = max(self._budget.seconds - progress.seconds, 0.0)
        else:
            seconds = progress.seconds * (1 - progress.fraction) / max(progress.fraction, 1e-9)
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def sampler(model: LanguageModel) -> Callable[[int], list[str]]:
    """Return what `Display` takes to show texts that a language model draws."""

    count = SAMPLE_LINES if model.vocabulary.unit == "word" else 1

    def sample(step: int) -> list[str]:
        texts = model.sample(length=SAMPLE_LENGTH, count=count, temperature=0.8, seed=SAMPLE_SEED + step)
        return [line for text in texts for line in text.splitlines()]

    return sample
