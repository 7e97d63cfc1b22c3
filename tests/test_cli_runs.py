"""What the commands that train share: help, time, going on, memory, what is held out; the end of a run."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import require

from pyrnnfast import Linear
from pyrnnfast._names import CELLS
from pyrnnfast.models import LanguageModel, SequenceTagger, TextClassifier
from pyrnnfast.optim import Adam
from pyrnnfast.text import Vocabulary
from pyrnnfast.training import Budget, Progress, Trainer, examples, read_csv

require("typer")
require("rich")

TINY = ["--hidden", 4, "--embedding", 3, "--layers", 1]
STILL = ["--lr", 1e-30]
"""Such steps change no weight, so that no validation is better than the first."""
DATA = {
    "text.txt": "the cat sat on the mat.\n" * 60,
    "texts.csv": "text,label\n" + "fine,good\npoor,bad\n" * 20,
    "few.csv": "text,label\n" + "fine,good\npoor,bad\n" * 4,
    "tags.txt": "go:O Rome:B-city <=> fly\nstay:O <=> rest\n" * 20,
    "few.txt": "go:O Rome:B-city <=> fly\n" * 9,
}
COMMANDS = {
    "train": ["train", "text.txt", "--batch", 4, "--window", 8],
    "classify": ["classify", "train", "texts.csv", "--batch", 9],
    "tag": ["tag", "train", "tags.txt", "--batch", 9],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyrnnfast.cli.train.VALID_EVERY", 4)
    for name, content in DATA.items():
        Path(name).write_text(content, encoding="utf-8")
    return tmp_path


def run(*words: Any, code: int = 0) -> str:
    """Run a command; return what it says on stderr, or its help."""
    from typer.testing import CliRunner

    from pyrnnfast.cli.main import app

    result = CliRunner().invoke(app, [str(word) for word in words], prog_name="pyrnnfast")
    assert result.exit_code == code, (result.output, result.exception)
    return result.stderr or result.stdout


def fails(*words: Any) -> str:
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    line = run(*words, code=2)
    assert len(line.splitlines()) == 1, line
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before
    return line


# --- Help


def commands(group: Any, *names: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *names, name)
        else:
            yield (*names, name), command


def test_help_tells_every_default() -> None:
    import typer

    from pyrnnfast.cli.main import app

    counted = 0
    for names, command in commands(typer.main.get_command(app)):
        told = " ".join(run(*names, "--help").split())
        for parameter in command.params:
            for default in re.findall(r"\[default: .*?\]", getattr(parameter, "help", None) or ""):
                assert default in told, names
                counted += 1
    assert counted > 30


def command_module(name: str) -> Any:
    """Import it; `pyrnnfast.cli.train` as an attribute may be the function."""
    return importlib.import_module(f"pyrnnfast.cli.{name}")


@pytest.mark.parametrize(
    "command, model", [("train", LanguageModel), ("classify", TextClassifier), ("tag", SequenceTagger)]
)
def test_defaults_are_those_of_the_model(command: str, model: Any) -> None:
    """Besides the cell of `train`: a GRU gets further in a minute."""
    parameters = inspect.signature(model).parameters | inspect.signature(model.fit).parameters
    for name, value in command_module(command).DEFAULTS.items():
        assert parameters[name].default == value or (command, name) == ("train", "cell")
    assert parameters["holdout"].default == command_module("options").HOLDOUT


def test_lengths_are_those_of_the_models() -> None:
    language, tagger = (inspect.signature(each.fit).parameters for each in (LanguageModel, SequenceTagger))
    assert command_module("options").EPOCHS == examples.EPOCHS
    assert tagger["clip"].default == command_module("tag").CLIP
    assert language["valid_every"].default == command_module("train").VALID_EVERY


# --- Time


class Clock:
    """Stands for the module `time`."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class Slow:
    """A task whose steps take a second each, and whose validations take ten."""

    def __init__(self, clock: Clock) -> None:
        self.module, self.clock = Linear(1, 1, rng=0), clock

    def step(self) -> tuple[float, int]:
        self.clock.now += 1
        return 1.0, 1

    def validate(self, stopped: Callable[[], bool]) -> float:
        self.clock.now += 10
        return 1.0

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass

    def save(self) -> None:
        pass


@pytest.mark.parametrize(("validations", "left"), [(1, False), (2, True)])
def test_there_is_time_for_as_many_validations_as_were_asked_for(
    monkeypatch: pytest.MonkeyPatch, validations: int, left: bool
) -> None:
    clock = Clock()
    monkeypatch.setattr("pyrnnfast.training.trainer.time", clock)
    task = Slow(clock)
    optimizer = Adam(task.module, 1e-3)
    trainer = Trainer(task, optimizer, peak=1e-3, budget=Budget(minutes=1), validations=validations)
    assert trainer.run().reason == "done"
    assert clock.now <= 60
    assert trainer.can_validate() is left
    trainer.stop.request()
    assert not trainer.can_validate()


def stop_after(step: int) -> Callable[[Any, Progress], None]:
    def on_step(_: Any, progress: Progress) -> None:
        if progress.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    return on_step


@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_that_was_stopped_ends_at_once_and_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr("pyrnnfast.cli.progress.Display.on_step", stop_after(2))
    monkeypatch.setattr(TextClassifier, "evaluate_examples", lambda *_: pytest.fail("reads once more"))
    told = run(*COMMANDS[command], *TINY, "--steps", 30)
    assert "stopped after step 2, " in told
    assert "there was no time to measure a held-out loss" in told
    assert ("held out: no scores" in told) == (command == "classify")
    assert "there was no time" not in run(*COMMANDS[command], *TINY, "--steps", 9, "--holdout", 0, "--force")


# --- Going on


@pytest.mark.parametrize("command", COMMANDS)
def test_patience_is_kept(folder: Path, command: str) -> None:
    words = [*COMMANDS[command], "--model", "m"]
    run(*words, *TINY, *STILL, "--steps", 4, "--patience", 1)
    assert "stopped, as it no longer improved, after step 8" in run(*words, "--resume", "--steps", 60)
    run(*words, *TINY, *STILL, "--steps", 4, "--force")
    told = run(*words, "--resume", "--steps", 16)
    assert "done after step 16" in told
    assert "improved, after step 24" in run(*words, "--resume", "--steps", 60, "--patience", 5)
    assert len(read_csv("m.csv")) == 24


def test_a_language_model_ends_after_ten_validations_without_a_better_one(folder: Path) -> None:
    assert "improved, after step 44" in run(*COMMANDS["train"], *TINY, *STILL, "--steps", 90)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_run_goes_on_in_its_own_unit(folder: Path, command: str) -> None:
    words = [*COMMANDS[command], "--model", "m"]
    run(*words, *TINY, "--steps", 3)
    told = fails(*words, "--resume", "--minutes", 1)
    assert "--minutes cannot go on with a run that was begun with --steps; give --steps" in told
    assert "cannot go on with a run that had" in fails(*words, "--resume", "--lr", 0.5)


# --- Memory


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("sizes", [["--layers", 10**9, "--hidden", 1], ["--hidden", 10**8]], ids=str)
def test_a_model_that_fits_no_memory_is_refused(folder: Path, command: str, sizes: list[Any]) -> None:
    assert "take a smaller --hidden, --layers or --embedding" in fails(*COMMANDS[command], *sizes)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 3])
def test_all_weights_are_counted(cell: str, layers: int) -> None:
    from pyrnnfast.cli.runs import BYTES_PER_ARRAY, BYTES_PER_WEIGHT, bytes_to_train

    sizes: dict[str, Any] = {"cell": cell, "embedding": 5, "hidden": 7, "layers": layers}
    for network in (
        LanguageModel(Vocabulary.from_text("abc"), **sizes),
        TextClassifier.from_examples(["a b", "c"], [1, 2], pooling="attention", **sizes),
        SequenceTagger.from_examples([(["a"], ["O"], "x")], **sizes),
    ):
        words = {name: len(getattr(network, name)) for name in network.VOCABULARIES}
        arrays = len(network.named_parameters())
        found = bytes_to_train(type(network), words, network.configuration)
        assert found == BYTES_PER_WEIGHT * network.num_parameters() + BYTES_PER_ARRAY * arrays


# --- What is held out


@pytest.mark.parametrize(
    "words",
    [
        ["classify", "train", "few.csv"],
        ["tag", "train", "few.txt"],
        ["train", "one.txt"],
        ["train", "one.txt", "--unit", "word"],
    ],
    ids=" ".join,
)
def test_a_held_out_part_of_nothing_is_refused(folder: Path, words: list[str]) -> None:
    Path("one.txt").write_text("a" * 9, encoding="utf-8")
    assert re.search(r"too little data: at least \d \w+ must be held out, got 0; give more", fails(*words))


@pytest.mark.parametrize(
    ("content", "more", "told"),
    [
        ("a", [], "v.txt: must have at least 2 characters, got 1"),
        (" \n" * 20_000, ["--unit", "word"], "v.txt: must have at least 1 word, got 0"),
    ],
    ids=["char", "word"],
)
def test_a_held_out_text_that_is_too_short_is_named(
    folder: Path, content: str, more: list[str], told: str
) -> None:
    Path("v.txt").write_text(content, encoding="utf-8")
    line = fails(*COMMANDS["train"], *TINY, "--valid", "v.txt", *more)
    assert told in line
    assert len(line) < 200
