"""The commands on good input: train, resume, sample, evaluate, info, and leaving on a signal."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, require

from pyrnnfast import training
from pyrnnfast.models import LanguageModel

require("typer")
require("rich")

TEXT = "".join(f"the {n}th cat sat on mat {n * n}.\n" for n in range(200))
TINY = ["--hidden", "8", "--embedding", "4", "--batch", "4", "--window", "16"]
STRICT = {**ENVIRONMENT, "PYTHONWARNINGS": "error"}


def start(folder: Path, *words: object, **more: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pyrnnfast", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.Popen(command, cwd=folder, env=STRICT, **pipes)


def run(folder: Path, *words: object, code: int = 0) -> tuple[str, str]:
    process = start(folder, *words)
    out, err = (stream.decode() for stream in process.communicate(timeout=60))
    assert process.returncode == code, err
    assert "Traceback" not in err
    return out, err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    run(folder, "train", "text.txt", "--steps", 30, "--model", "m.safetensors", *TINY)
    return folder


def losses(location: Path) -> list[tuple[int, float, float | None]]:
    return [(row.step, row.loss, row.valid_loss) for row in training.read_csv(location)]


# --- train


def test_train_writes_model_losses_plot_and_checkpoint(trained: Path) -> None:
    files = {"text.txt", "m.safetensors", "m.checkpoint.safetensors", "m.csv"}
    try:
        import matplotlib  # noqa: F401

        files.add("m.png")
    except ImportError:
        pass
    assert set(os.listdir(trained)) == files
    rows = training.read_csv(trained / "m.csv")
    assert [row.step for row in rows] == list(range(1, 31))
    assert rows[-1].loss < rows[0].loss
    assert rows[-1].valid_loss is not None
    assert LanguageModel.load(trained / "m.safetensors").configuration["hidden"] == 8


def test_train_is_reproducible_and_resumes_to_the_bit(folder: Path, trained: Path) -> None:
    run(folder, "train", "text.txt", "--steps", 12, *TINY)
    _, err = run(folder, "train", "text.txt", "--steps", 30, "--resume", *TINY)
    assert "going on after step 12" in err
    assert losses(folder / "model.csv") == losses(trained / "m.csv")
    run(folder, "train", "text.txt", "--steps", 30, "--force", "--seed", 1, *TINY)
    assert losses(folder / "model.csv") != losses(trained / "m.csv")


def test_train_without_a_file_takes_the_language_reference(folder: Path) -> None:
    _, err = run(folder, "train", "--steps", 2, *TINY)
    assert "Python's language reference" in err
    words = LanguageModel.load(folder / "model.safetensors").vocabulary
    assert "_" in words


def test_train_bounds_the_wall_time(folder: Path) -> None:
    began = time.monotonic()
    _, err = run(folder, "train", "text.txt", "--minutes", 0.06, *TINY)
    assert time.monotonic() - began < 3.6 + 2  # and the interpreter's start
    assert "done after step" in err
    assert re.search(r"step \d+, loss \d\.\d+, held out \d\.\d+, [\d,]+ tokens/s, 0:0\d left", err)
    rates = [row.learning_rate for row in training.read_csv(folder / "model.csv")]
    assert max(rates) > 5e-3
    assert rates[-1] < 1e-3


def test_train_tells_where_it_is_without_a_terminal(folder: Path) -> None:
    _, err = run(folder, "train", "text.txt", "--steps", 30, "--holdout", 0, *TINY)
    told = re.findall(r"^step (\d+), loss (\d\.\d+), ", err, re.M)
    assert told[0][0] == "1"
    assert told[-1][0] == "30"
    assert len({step for step, _ in told}) == len(told)
    assert float(told[0][1]) == pytest.approx(losses(folder / "model.csv")[0][1], abs=1e-3)


def test_train_tells_of_divergence_in_one_line(folder: Path) -> None:
    _, errors = run(folder, "train", "text.txt", "--steps", 40, "--lr", 1e10, *TINY)
    assert len([line for line in errors.splitlines() if line.startswith("pyrnnfast: warning: ")]) == 1
    assert "training diverged: its loss ended at " in errors


def test_train_on_several_files_with_a_valid_one(folder: Path) -> None:
    (folder / "b.txt").write_bytes("\ufeffüber\r\nstraße\r".encode())
    (folder / "v.txt").write_text("sat on mat", encoding="utf-8")
    _, err = run(folder, "train", "text.txt", "b.txt", "--valid", "v.txt", "--steps", 2, *TINY)
    assert f"{len(TEXT) + 1 + len('über-straße-'):,} characters to train on, 10 held out" in err
    words = LanguageModel.load(folder / "model.safetensors").vocabulary
    assert "ß" in words
    assert "\r" not in words
    assert "\ufeff" not in words
    run(folder, "train", "text.txt", "--holdout", 0, "--steps", 2, "--model", "all", *TINY)
    assert {row.valid_loss for row in training.read_csv(folder / "all.csv")} == {None}


def test_every_option_of_train(folder: Path) -> None:
    network = {"cell": "gru", "layers": 2, "dropout": 0.25, "recurrent_dropout": 0.1}
    options = {**network, "lr": 0.001, "weight_decay": 0.1, "holdout": 0.2}
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    run(folder, "train", "text.txt", "--steps", 25, "--seed", 2**64, *words, *TINY)
    found = LanguageModel.load(folder / "model.safetensors").configuration
    assert found == {**network, "hidden": 8, "embedding": 4, "dtype": "float32"}
    assert max(row.learning_rate for row in training.read_csv(folder / "model.csv")) < 0.0011


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_leaves_and_resume_goes_on(folder: Path, number: int) -> None:
    options = ["text.txt", "--steps", 10**8, *TINY]
    process = start(folder, "train", *options)
    deadline = time.monotonic() + 30
    while not (folder / "model.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    asked = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - asked < 5
    assert process.returncode == 0, err
    assert b"stopped after step" in err
    assert b"--resume goes on" in err
    assert b"Traceback" not in err
    LanguageModel.load(folder / "model.safetensors")
    step = training.read_csv(folder / "model.csv")[-1].step
    _, told = run(folder, "train", "text.txt", "--steps", step + 3, "--resume")
    assert f"going on after step {step}" in told
    assert [row.step for row in training.read_csv(folder / "model.csv")] == list(range(1, step + 4))


def test_killed_at_any_time_there_is_a_model_or_none(folder: Path) -> None:
    process = start(folder, "train", "text.txt", "--steps", 10**8, *TINY)
    while not (folder / "model.safetensors").exists():
        time.sleep(0.02)
    process.kill()
    process.communicate()
    LanguageModel.load(folder / "model.safetensors")


# --- sample, evaluate, info


def test_sample(trained: Path) -> None:
    words = ("sample", "m.safetensors", "--prompt", "the 1", "--length", 40)
    first, err = run(trained, *words, "--seed", 7)
    assert err == ""
    assert first.startswith("the 1")
    assert first.endswith("\n")
    assert len(first) <= 5 + 40 + 1
    assert run(trained, *words, "--seed", 7)[0] == first
    assert run(trained, *words)[0] != run(trained, *words)[0]
    greedy = [run(trained, *words, *more)[0] for more in (("--temperature", 0), ("--top-k", 1))]
    assert greedy[0] == greedy[1]
    assert run(trained, *words, "--top-p", 1e-9)[0] == greedy[0]


def test_sample_in_any_locale_with_unknown_characters(trained: Path) -> None:
    words = [sys.executable, "-m", "pyrnnfast", "sample", "m.safetensors", "--length", "0", "--prompt", "é語"]
    environment = {**STRICT, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(words, cwd=trained, env=environment, capture_output=True, check=True)
    assert done.stdout.decode() == "é語\n"
    assert done.stderr.decode().count("\n") == 1
    assert b"warning: the model does not know 2 of the prompt's tokens" in done.stderr


def test_sample_into_a_pipe_that_closes(trained: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    process = start(trained, "sample", "m.safetensors", stdout=write)
    os.close(write)
    assert process.communicate(timeout=60)[1] == b""


def test_evaluate(trained: Path) -> None:
    (trained / "other.txt").write_text("the cat § sat\n", encoding="utf-8")
    expected = LanguageModel.load(trained / "m.safetensors").evaluate("the cat § sat\n")
    out, _ = run(trained, "evaluate", "m.safetensors", "other.txt")
    lines = dict(line.split(": ") for line in out.splitlines())
    assert list(lines) == ["loss", "perplexity", "bits per character", "unknown tokens", "tokens per second"]
    assert float(lines["loss"]) == pytest.approx(expected.loss, abs=1e-4)
    assert lines["unknown tokens"] == "1"
    found = json.loads(run(trained, "evaluate", "m.safetensors", "other.txt", "--json")[0])
    assert found["loss"] == pytest.approx(expected.loss, rel=1e-6)
    assert found["perplexity"] == pytest.approx(math.exp(expected.loss), rel=1e-6)
    assert found["bits_per_character"] == pytest.approx(expected.loss / math.log(2), rel=1e-6)
    (trained / "other.txt").unlink()


def test_info_and_version(tmp_path: Path) -> None:
    out, _ = run(tmp_path, "info")
    for word in ("version", "isa", "threads"):
        assert re.search(rf"^{word} ", out, re.M)
    assert re.fullmatch(r"pyrnnfast \d+\.\d+\.\d+\n", run(tmp_path, "--version")[0])
    for words in (["--help"], ["train", "--help"], ["sample", "--help"]):
        assert "Usage" in run(tmp_path, *words)[0]
