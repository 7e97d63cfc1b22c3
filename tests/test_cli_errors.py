"""The commands on bad input: one clear line on stderr, exit code 2, nothing overwritten, no traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import require

from pyrnnfast.models import LanguageModel
from pyrnnfast.text import Vocabulary
from pyrnnfast.training import checkpoint

require("typer")
require("rich")

TEXT = "the cat sat on the mat. " * 100
TINY = ["--hidden", "8", "--embedding", "4", "--batch", "4", "--window", "16"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    LanguageModel(Vocabulary.from_text(TEXT), hidden=4, embedding=3, rng=0).save("good.safetensors")
    words = Vocabulary.from_text(TEXT, unit="word")
    LanguageModel(words, hidden=4, embedding=3, rng=0).save("words.safetensors")
    (tmp_path / "spaces.txt").write_text(" \t ", encoding="utf-8")
    (tmp_path / "truncated").write_bytes((tmp_path / "good.safetensors").read_bytes()[:-10])
    (tmp_path / "other.txt").write_text(TEXT[::-1], encoding="utf-8")
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "bom.txt").write_bytes(b"\xef\xbb\xbf")
    (tmp_path / "short.txt").write_text("short", encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes(b"stra\xdfe" * 1000)
    (tmp_path / "utf16.txt").write_text(TEXT, encoding="utf-16")
    (tmp_path / "folder").mkdir()
    return tmp_path


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {p.name: p.read_bytes() if p.is_file() else None for p in sorted(folder.iterdir())}


def fails(folder: Path, words: list[object]) -> str:
    """The command ends as it should; return its line."""
    from typer.testing import CliRunner

    from pyrnnfast.cli.main import app

    before = snapshot(folder)
    result = CliRunner().invoke(app, [str(word) for word in words], prog_name="pyrnnfast")
    assert result.exit_code == 2, (result.output, result.exception)
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert result.stdout == ""
    assert lines[0].startswith("pyrnnfast: ")
    assert "Traceback" not in lines[0]
    assert snapshot(folder) == before
    return lines[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "absent.txt"], "absent.txt: No such file or directory; check the name"),
        (["train", "folder"], "folder: Is a directory; name a file in it"),
        (["train", "empty.txt"], "empty.txt: is empty; give a file with text"),
        (["train", "bom.txt"], "is empty but for a byte order mark"),
        (["train", "latin.txt"], "not UTF-8 text (byte 0xdf at 4); convert it, for example: iconv"),
        (["train", "utf16.txt"], "not UTF-8 text (byte 0xff at 0)"),
        (["train", "short.txt"], "too little data"),
        (
            ["train", "text.txt", "--window", 1000],
            "too short: it has 2160 tokens, and batch 32",
        ),
        (["train", "text.txt", "--valid", "absent.txt"], "absent.txt: No such file"),
        (["train", "text.txt", "--valid", "empty.txt"], "empty.txt: is empty"),
        (["train", "text.txt", "--valid", "latin.txt"], "latin.txt: is not UTF-8"),
        (["train", "text.txt", "--model", "good.safetensors"], "--force replaces it, --resume goes on"),
        (["train", "text.txt", "--model", "folder"], "it is a directory"),
        (
            ["train", "text.txt", "--model", "text.txt", "--force"],
            "of this command; name another --model",
        ),
        (["train", "text.txt", "--model", "none/m.safetensors"], "No such file or directory"),
        (["train", "text.txt", "--model", "/proc/m.safetensors"], "/proc/m.safetensors: No such file"),
        (["train", "text.txt", "--model", ""], "--model must be the name of a file, got ''"),
        (["train", "text.txt", "--model", "."], "--model must be the name of a file, got '.'"),
        (["train", "text.txt", "--model", ".."], "it is a directory"),
        (["train", "text.txt", "--model", "/dev/null"], "no regular file"),
        (["train", "text.txt", "--resume"], "model.safetensors: is not there"),
        (["train", "text.txt", "--resume", "--model", "good.safetensors"], "good.checkpoint.safetensors"),
        (["train", "text.txt", "--resume", "--force"], "--resume and --force cannot go together"),
        (["train", "text.txt", "--minutes", 1, "--steps", 1], "--minutes and --steps cannot go together"),
        (["train", "text.txt", "--valid", "text.txt", "--holdout", 0.1], "cannot go together"),
        (["train", "text.txt", "--minutes", 0], "minutes must be a finite number above 0, got 0"),
        (["train", "text.txt", "--minutes", "nan"], "minutes must be"),
        (["train", "text.txt", "--minutes", "soon"], "'--minutes'"),
        (["train", "text.txt", "--steps", 0], "steps must be an integer of at least 1, got 0"),
        (["train", "text.txt", "--steps", 1.5], "'--steps'"),
        (["train", "text.txt", "--holdout", 1], "holdout must be"),
        (["train", "text.txt", "--holdout", -0.1], "holdout must be"),
        (["train", "text.txt", "--cell", "transformer"], "cell must be one of lstm, gru"),
        (["train", "text.txt", "--hidden", 0], "hidden must be an integer of at least 1, got 0"),
        (["train", "text.txt", "--hidden", 10**7], "take a smaller --hidden"),
        (["train", "text.txt", "--layers", 10**12], "take a smaller --hidden"),
        (["train", "text.txt", "--layers", -1], "layers must be"),
        (["train", "text.txt", "--embedding", 0], "embedding must be"),
        (["train", "text.txt", "--batch", 0], "batch must be"),
        (["train", "text.txt", "--window", 0], "window must be"),
        (["train", "text.txt", "--lr", 0], "lr must be a finite number above 0"),
        (
            ["train", "text.txt", "--weight-decay", -1],
            "weight_decay must be a finite number at least 0, got -1",
        ),
        (["train", "text.txt", "--lr", "inf"], "lr must be a finite number above 0"),
        (["train", "text.txt", "--dropout", 1.5], "dropout must be"),
        (["train", "text.txt", "--seed", -1], "--seed must be an integer of at least 0, got -1"),
        (["train", "text.txt", "--speed", 1], "No such option"),
        (["sample"], "Missing argument 'MODEL'"),
        (["sample", "absent"], "absent: No such file or directory"),
        (["sample", "folder"], "folder: Is a directory"),
        (["sample", "text.txt"], "not a safetensors file, or it is truncated or damaged"),
        (["sample", "empty.txt"], "is empty"),
        (["sample", "truncated"], "truncated"),
        (["sample", "good.safetensors", "--temperature", -1], "temperature must be"),
        (["sample", "good.safetensors", "--top-k", -1], "top_k must be"),
        (["sample", "good.safetensors", "--top-p", 0], "top_p must be"),
        (["sample", "good.safetensors", "--length", -1], "length must be"),
        (["sample", "good.safetensors", "--length", 10**30], "length must be"),
        (["sample", "good.safetensors", "--seed", -1], "seed must be"),
        (["sample", "good.safetensors", "--prompt", "a\udcff"], r"--prompt must be UTF-8 text, got b'a\xff'"),
        (["evaluate", "good.safetensors"], "Missing argument 'FILE'"),
        (["evaluate", "good.safetensors", "absent.txt"], "absent.txt: No such file"),
        (["evaluate", "good.safetensors", "empty.txt"], "is empty"),
        (["evaluate", "good.safetensors", "latin.txt"], "not UTF-8"),
        (["evaluate", "text.txt", "text.txt"], "not a safetensors file"),
        (["evaluate", "truncated", "text.txt"], "truncated"),
        (["evaluate", "words.safetensors", "spaces.txt"], "spaces.txt: text must have at least one token"),
        (["info", "more"], "unexpected extra argument"),
        (["translate"], "No such command 'translate'"),
        (["--loud"], "No such option"),
    ],
    ids=lambda value: " ".join(map(str, value))[:60] if isinstance(value, list) else "",
)
def test_bad_input(folder: Path, words: list[object], told: str) -> None:
    line = fails(folder, words)
    assert told.lower() in line.lower()


@pytest.mark.parametrize(
    "option", ["--hidden=0", "--cell=x", "--lr=0", "--dropout=2", "--holdout=1", "--steps=0"]
)
def test_options_are_refused_before_files_of_training(folder: Path, option: str) -> None:
    name = option[2:].split("=")[0]
    assert f"{name} must be" in fails(folder, ["train", "absent.txt", "--model", "no/such/m", option])


@pytest.mark.parametrize(
    "option", ["--temperature=-1", "--top-k=-1", "--top-p=0", "--length=-1", "--seed=-1"]
)
def test_options_are_refused_before_the_file_of_a_model(folder: Path, option: str) -> None:
    assert " must be " in fails(folder, ["sample", "absent", option])


def test_the_whole_model_must_fit_the_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyrnnfast.validation.MEMORY", 2**20)
    wide = ["--hidden", 1, "--embedding", 4000, "--steps", 1]  # it is the embedding that is large
    assert "take a smaller --hidden" in fails(folder, ["train", "text.txt", *wide])


def test_every_output_is_protected(folder: Path) -> None:
    for name in ("model.safetensors", "model.checkpoint.safetensors", "model.csv", "model.png"):
        Path(name).write_text("mine", encoding="utf-8")
        assert f"{name}: is there already" in fails(folder, ["train", "text.txt", "--steps", 1, *TINY])
        Path(name).unlink()
    os.symlink("nowhere", "model.safetensors")
    assert "is there already" in fails(folder, ["train", "text.txt", "--steps", 1, *TINY])


def test_resuming_with_other_options_or_other_text(folder: Path) -> None:
    network = LanguageModel(Vocabulary.from_text(TEXT), hidden=8, embedding=4, rng=0)
    network.fit(TEXT, steps=3, batch=4, window=16, model="m.safetensors", history="m.csv")
    resume = ["train", "--resume", "--model", "m.safetensors"]
    assert "another recipe: text was" in fails(folder, [*resume, "other.txt"])
    for option in (
        ["--hidden", 9],
        ["--cell", "gru"],
        ["--batch", 5],
        ["--lr", 0.5],
        ["--weight-decay", 0.1],
        ["--dropout", 0.1],
        ["--recurrent-dropout", 0.1],
    ):
        assert f"{option[0]} {option[1]} cannot go on" in fails(folder, [*resume, "text.txt", *option])
    assert "has had 3 steps" in fails(folder, [*resume, "text.txt"])
    beside = checkpoint.path_beside("m.safetensors")
    whole = beside.read_bytes()
    for content in (whole[:-5], b"text", b"", Path("good.safetensors").read_bytes()):
        beside.write_bytes(content)
        assert "m.checkpoint.safetensors: " in fails(folder, [*resume, "text.txt", "--steps", 5])
    beside.write_bytes(whole)
    Path("m.safetensors").write_bytes(b"damaged")
    assert "m.safetensors: " in fails(folder, [*resume, "text.txt", "--steps", 5])


def test_debug_shows_the_traceback(folder: Path) -> None:
    from typer.testing import CliRunner

    from pyrnnfast.cli.main import app

    for words in (["train", "empty.txt", "--debug"], ["--debug", "sample", "truncated"]):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2
        assert "Traceback (most recent call last)" in result.stderr
        assert result.stderr.splitlines()[-1].startswith("pyrnnfast: ")
