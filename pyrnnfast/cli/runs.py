"""What the commands that train share: the options as they are given, the model, the run, how it ended."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyrnnfast.cli import options as shared
from pyrnnfast.cli.checks import (
    LENGTHS,
    check_outputs,
    check_together,
    check_values,
    option,
    outputs_of,
    resumed,
)

if TYPE_CHECKING:
    from rich.console import Console

    from pyrnnfast.cli.progress import Display
    from pyrnnfast.models.model import Model, ModelT
    from pyrnnfast.training import Callback, RunOptions, Trainer

AFTERWARDS = 0.6
"""Seconds of --minutes for starting up and leaving, besides those for the plot."""
PLOT_SECONDS = 1.5
BYTES_PER_WEIGHT = 24
"""Weights, gradients, Adam's two means, the best weights, the pack, for simplicity of all: float32 each."""
BYTES_PER_ARRAY = 1000
"""What these arrays take besides their numbers, for each array of weights."""


class Run:
    """A run of training as the options of its command say, which are checked before any data is read.

    asked: the command's options by the names of its arguments, None for one that is not given. inputs: the
    files that it reads. defaults: of the options that a resumed run keeps. new: names of those that cannot go
    with --resume. length: how long it lasts when that is not given. patience: likewise; None for no end.
    """

    def __init__(
        self,
        asked: Mapping[str, Any],
        inputs: Sequence[Path],
        defaults: Mapping[str, Any],
        *,
        new: Sequence[str] = (),
        length: Mapping[str, float],
        patience: int | None = None,
    ) -> None:
        self._started = time.monotonic()
        from pyrnnfast import validation
        from pyrnnfast.training import Budget, TensorBoard

        self.outputs = outputs_of(asked["model_name"])
        self.seed = validation.integer("--seed", asked["seed"], 0)
        self.resume, self.valid, holdout = asked["resume"], asked["valid"], asked["holdout"]
        given = {name: asked[name] for name in defaults}
        lasting = {name: asked[name] for name in LENGTHS if asked.get(name) is not None}
        check_together(
            {option(name): value for name, value in lasting.items()},
            {"--valid": self.valid, "--holdout": holdout},
            {"--resume": self.resume, "--force": asked["force"]},
            *({"--resume": self.resume, option(name): asked[name]} for name in new),
        )
        if lasting:
            Budget(**lasting)
        check_values({name: asked[name] for name in (*defaults, *new, "holdout", "patience")})
        read = [*inputs, *([self.valid] if self.valid else ())]
        check_outputs(self.outputs, read, self.resume, asked["force"])
        self.holdout: float = shared.HOLDOUT if holdout is None else holdout
        self.recipe: dict[str, Any] = {}
        """Of a resumed run."""
        if self.resume:  # without --patience the trainer takes that of the checkpoint
            self.recipe, self._length = resumed(self.outputs[1], defaults, given, lasting)
            self.options, self._patience = {name: self.recipe[name] for name in defaults}, asked["patience"]
        else:
            self.options = {name: defaults[name] if value is None else value for name, value in given.items()}
            self._length = lasting or dict(length)
            self._patience = patience if asked["patience"] is None else asked["patience"]
        logs = asked["tensorboard"]
        self._logs: list[Callback] = [] if logs is None else [TensorBoard(logs)]
        self.console = open_console()

    def check_held_out(self, count: int, least: int, what: str) -> None:
        """Refuse a held-out part that is too small, unless none is wanted."""
        if count >= least:
            return
        needed = f"{least} {what}{'s' * (least > 1)}"
        if self.valid is not None:
            raise ValueError(f"{self.valid}: must have at least {needed}, got {count}")
        if self.holdout:
            raise ValueError(
                f"there is too little data: at least {needed} must be held out, got {count}; give more, a "
                "larger --holdout, or --holdout 0 for no held-out part"
            )

    def new(self, smallest: ModelT) -> ModelT:
        """Return a model of the words and labels of `smallest` with the run's options, if it fits."""
        from pyrnnfast import validation

        known = smallest.configuration
        configuration = {name: self.options.get(name, value) for name, value in known.items()}
        words = {name: getattr(smallest, name) for name in smallest.VOCABULARIES}
        sizes = {name: len(vocabulary) for name, vocabulary in words.items()}
        needed = bytes_to_train(type(smallest), sizes, configuration)
        if needed > validation.MEMORY:
            raise ValueError(
                f"such a model needs about {needed / 1e9:,.0f} GB to train, here are "
                f"{validation.MEMORY / 1e9:,.0f}; take a smaller --hidden, --layers or --embedding"
            )
        make: Callable[..., ModelT] = type(smallest)
        return make(**words, **configuration, rng=self.seed)

    def training(
        self, display: Display, every: int, *, clip: float = 1.0, validations: int = 1
    ) -> RunOptions:
        """Return what the trainer is told. every: steps between validations; where there are epochs, of one.

        validations: how often the held-out part is read in the end, with what comes after training.
        """
        from pyrnnfast.training import Budget, RunOptions

        return RunOptions(
            budget=Budget(**self._length, epoch_steps=every),
            lr=self.options["lr"],
            weight_decay=self.options["weight_decay"],
            clip=clip,
            valid_every=every,
            patience=self._patience,
            model=self.outputs[0],
            history=self.outputs[2],
            resume=self.resume,
            callbacks=[display, *self._logs],
            reserve=reserve(),
            validations=validations,
            started=self._started,
        )

    def train(
        self,
        trainer: Trainer,
        display: Display,
        held_out: bool,
        per: str = "token",
        score: Callable[[], str] | None = None,
    ) -> None:
        """Train, draw the losses, print how it ended; they are nats per token, or per something else.

        held_out: whether there is a held-out part. score: reads it once more and says what is printed; left
        out when the run was stopped or its time is over.
        """
        from pyrnnfast.training import plot

        try:
            outcome = trainer.run()
        finally:
            display.close()
        scores = score() if score is not None and trainer.can_validate() else None
        plotted = plot(trainer.history.rows, self.outputs[3], title=self.outputs[0].name, per=per)
        reached = outcome.progress
        ending = {"done": "done", "stopped": "stopped", "early stop": "stopped, as it no longer improved,"}
        line = f"{ending[outcome.reason]} after step {reached.step}, {reached.seconds:.0f} s"
        if reached.best_loss is not None:
            line += f"; held-out loss {reached.best_loss:.4f} nats per {per} (step {reached.best_step})"
        elif held_out:
            line += "; there was no time to measure a held-out loss, so these are just the last weights"
        self.console.print(line)
        self.console.print(f"wrote {', '.join(map(str, self.outputs if plotted else self.outputs[:3]))}")
        if scores is not None:
            self.console.print(scores)
        elif score is not None:
            self.console.print("held out: no scores, to end in time; the command evaluate measures them")
        if outcome.reason == "stopped":
            self.console.print("--resume goes on")


def bytes_to_train(kind: type[Model], sizes: Mapping[str, int], configuration: Mapping[str, Any]) -> int:
    """Return about how much memory training a model takes, before there is one.

    sizes: of its vocabularies. Each layer after the first has the same weights.
    """
    one, two = (
        sum(
            BYTES_PER_WEIGHT * math.prod(shape) + BYTES_PER_ARRAY
            for _, shape in kind.shapes(sizes, {**configuration, "layers": layers})
        )
        for layers in (1, 2)
    )
    needed: int = one + (configuration["layers"] - 1) * (two - one)
    return needed


def reserve() -> float:
    """Return the seconds that a run of minutes leaves for what comes after it."""
    from importlib.util import find_spec

    return AFTERWARDS + (PLOT_SECONDS if find_spec("matplotlib") else 0.0)


def open_console() -> Console:
    """Return stderr for what is told, without markup."""
    from rich.console import Console

    return Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
