"""A run that diverged is told, and no other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyrnnfast import Linear
from pyrnnfast.models import LanguageModel
from pyrnnfast.optim import SGD
from pyrnnfast.text import Vocabulary
from pyrnnfast.training import Budget, Trainer

TEXT = "".join(f"{n} times {n} is {n * n}; " for n in range(120))
RUN: dict[str, Any] = {"batch": 4, "window": 8, "valid_every": 5}


def model() -> LanguageModel:
    return LanguageModel(Vocabulary.from_text(TEXT), embedding=3, hidden=6, rng=0)


def test_divergence_is_told() -> None:
    network = model()
    with network.update() as parameters:
        parameters["decoder.weight"][0, 0] = np.nan
    with pytest.raises(ValueError, match=r"diverged.*smaller learning rate"):
        network.fit(TEXT, steps=90, **RUN)


@pytest.mark.parametrize("steps", [4, 90])
def test_weights_that_are_no_numbers_are_never_the_best(tmp_path: Path, steps: int) -> None:
    network = model()
    with network.update() as parameters:
        parameters["decoder.weight"][0, 0] = np.nan
    with pytest.raises(
        ValueError, match=rf"diverged: the held-out loss is nan after step {min(steps, 5)}; try"
    ):
        network.fit(TEXT, steps=steps, model=tmp_path / "m", **RUN)
    assert list(tmp_path.iterdir()) == []


def test_divergence_to_finite_numbers_is_told() -> None:
    with pytest.warns(
        UserWarning, match=r"diverged: its loss ended at \d.*smaller learning rate than 1e\+10"
    ):
        outcome = model().fit(TEXT, steps=40, lr=1e10, **RUN)
    assert outcome.reason == "done"


class Made:
    """A task of given losses and numbers of tokens."""

    def __init__(self, steps: Iterable[tuple[float, int]]) -> None:
        self.module = Linear(1, 1, rng=0)
        self._steps = iter(steps)

    def step(self) -> tuple[float, int]:
        return next(self._steps)

    def validate(self, stopped: object) -> None:
        return None

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass

    def save(self) -> None:
        pass


def run(losses_a_token: Iterable[float], lengths: Iterable[int]) -> None:
    """Train on sentences, whose loss is that of all their words, in batches of ten of one length."""
    task = Made((loss * n, 10 * n) for loss, n in zip(losses_a_token, lengths, strict=True))
    optimizer = SGD(task.module, 0.1)
    Trainer(task, optimizer, peak=0.1, budget=Budget(steps=30), valid_every=30).run()


def test_longer_sentences_are_no_divergence() -> None:
    run(np.linspace(4, 2, 30), range(5, 35))
    run(np.linspace(4, 2, 30), range(35, 5, -1))
    with pytest.warns(UserWarning, match="diverged: its loss ended at 2"):
        run(np.linspace(4, 8, 30), range(5, 35))
    with pytest.warns(UserWarning, match="diverged: its loss ended at 7"):
        run(np.linspace(4, 8, 30), [10] * 30)
