"""`pyrnnfast inspect`: tables, JSON, pages and pictures of each kind of model; errors in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import require

from pyrnnfast.models import LanguageModel, SequenceTagger, TextClassifier, load
from pyrnnfast.text import Vocabulary
from pyrnnfast.training import storage

require("typer")
require("rich")

TEXT = 'The "cat" sat on the mat,\nand (so <b>) it did.\n\n' * 40


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(TEXT)
    Path("lines.txt").write_text("a fine day\nthe worst film\n")
    Path("table.csv").write_text('words,n\n"a fine, day",1\nthe worst film,2\n')
    Path("same.txt").write_text("\n".join(["a"] * 8))
    Path("spaces.txt").write_text(" \n\n ")
    Path("short.txt").write_text("the")
    Path("blank.txt").write_text("a\n \nb\n")
    words = Vocabulary.from_text(TEXT)
    for cell in ("lstm", "rnn", "gru"):
        model = LanguageModel(words, cell=cell, embedding=3, hidden=4, layers=2, rng=0)
        model.save(f"{cell}.safetensors")
    classifier = TextClassifier.from_examples(["a fine day", "the worst film"], [1, 2], hidden=4, rng=0)
    classifier.save("classifier.safetensors")
    sentences = [(["a", "fine", "day"], ["O", "B-x", "I-x"])]
    SequenceTagger.from_examples(sentences, hidden=4, rng=0).save("tagger.safetensors")
    storage.save("other.safetensors", "checkpoint", {}, {})
    Path("truncated").write_bytes(Path("lstm.safetensors").read_bytes()[:-9])
    Path("folder").mkdir()
    return tmp_path


def run(*words: Any, code: int = 0) -> tuple[str, str]:
    from typer.testing import CliRunner

    from pyrnnfast.cli.main import app

    result = CliRunner().invoke(app, ["inspect", *map(str, words)], prog_name="pyrnnfast")
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout, result.stderr


def files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}


def test_units(folder: Path) -> None:
    out, _ = run("lstm.safetensors", "text.txt", "--tokens", 900, "--html", "u.html")
    lines = out.splitlines()
    assert lines[0].split() == ["property", "unit", "measure", "chosen", "on", "held", "out"]
    assert len(lines) == 2 + 5 * 3 + 1
    assert lines[-1] == "900 tokens: chosen on the first half, held out is the second"
    page = Path("u.html").read_text(encoding="utf-8")
    assert page.count("<h2>") == 5
    assert "&lt;" in page
    assert "<b>" not in page
    found = json.loads(run("rnn.safetensors", "text.txt", "--unit", 2, "--layer", 1, "--json")[0])
    assert found["what"] == "units"
    assert found["absent"] == []
    assert [(each["source"], each["unit"]) for each in found["units"]] == [("h", 2)] * 5
    assert all(0.5 <= each["score"] <= 1 for each in found["units"] if each["measure"] == "AUC")


def test_gates(folder: Path) -> None:
    out, _ = run("lstm.safetensors", "text.txt", "--what", "gates", "--html", "g.html")
    lines = [line.split() for line in out.splitlines()]
    assert [line[0] for line in lines[2:5]] == ["i", "f", "o"]
    assert all(0 < float(line[1]) < 1 for line in lines[2:5])
    assert Path("g.html").read_text(encoding="utf-8").count("<h2>gate ") == 3
    before = files()
    run("gru.safetensors", "text.txt", "--what", "gates", "--html", "g.html", "--unit", 3, "--force")
    assert "gate z, unit 3" in Path("g.html").read_text(encoding="utf-8")
    assert {name for name, content in files().items() if before[name] != content} == {"g.html"}
    found = json.loads(run("gru.safetensors", "text.txt", "--what", "gates", "--json")[0])
    assert list(found["gates"]) == ["r", "z"]
    assert set(found["gates"]["z"]) == {"mean", "closed", "open"}


def test_gradients(folder: Path) -> None:
    out, _ = run("gru.safetensors", "text.txt", "--what", "gradients", "--steps", 21, "--grad-clip", "1e-9")
    lines = out.splitlines()
    columns = ["layer 0", "layer 1", "layer 0, clipped to 1e-09", "layer 1, clipped to 1e-09"]
    assert re.split("  +", lines[0]) == ["steps back", *columns]
    assert [line.split()[0] for line in lines[2:-1]] == ["0", "1", "2", "4", "8", "16", "20"]
    first, last = ([float(x) for x in lines[k].split()[1:]] for k in (2, -2))
    assert first[1] == first[3]
    assert last[2] < last[0] < first[0]
    found = json.loads(run("lstm.safetensors", "text.txt", "--what", "gradients", "--steps", 1, "--json")[0])
    assert [len(curve) for curve in found["norms"].values()] == [1, 1]


def test_pictures(folder: Path) -> None:
    require("matplotlib")
    for what in ("gradients", "gates", "units"):
        run("lstm.safetensors", "text.txt", "--what", what, "--png", f"{what}.png")
        assert Path(f"{what}.png").read_bytes().startswith(b"\x89PNG")


def test_a_classifier_and_a_tagger(folder: Path) -> None:
    out, _ = run("classifier.safetensors", "lines.txt", "--what", "gates", "--layer", 1, "--reverse")
    assert "shares of units and of 24 tokens" in out
    column = ["--text-column", "words"]
    assert "25 tokens" in run("classifier.safetensors", "table.csv", *column)[0]
    Path("tagged.txt").write_text("a:O fine:B-x <=> go\nday:O bad:O film:O <=> go\n")
    assert "5 tokens" in run("tagger.safetensors", "tagged.txt")[0]
    out, _ = run("tagger.safetensors", "lines.txt", "--html", "t.html")
    assert "6 tokens" in out
    assert "the worst film </pre>" in Path("t.html").read_text(encoding="utf-8").replace("</span>", "")


def test_a_model_of_any_kind_is_loaded(folder: Path) -> None:
    names = ("lstm", "classifier", "tagger")
    kinds = [type(load(f"{name}.safetensors")) for name in names]
    assert kinds == [LanguageModel, TextClassifier, SequenceTagger]
    with pytest.raises(
        ValueError, match="must be a language model or a text classifier or a sequence tagger"
    ):
        load("other.safetensors")


GRADIENTS = ["lstm.safetensors", "text.txt", "--what", "gradients"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lstm.safetensors"], "Missing argument 'FILE'"),
        (["absent", "text.txt"], "absent: No such file"),
        (["text.txt", "text.txt"], "not a safetensors file"),
        (["truncated", "text.txt"], "truncated"),
        (
            ["other.safetensors", "text.txt"],
            "must be a language model or a text classifier or a sequence tagger",
        ),
        (["lstm.safetensors", "absent.txt"], "absent.txt: No such file"),
        (["lstm.safetensors", "folder"], "Is a directory"),
        (["classifier.safetensors", "blank.txt"], "blank.txt:2: the text must have more than white space"),
        (["classifier.safetensors", "table.csv"], "table.csv:1: has no column 'text'"),
        (["lstm.safetensors", "spaces.txt"], "spaces.txt: the text must have more than white space"),
        (["lstm.safetensors", "short.txt"], "short.txt: must have at least 4 tokens, got 3"),
        (
            ["lstm.safetensors", "text.txt", "--what", "weights"],
            "--what must be one of gradients, gates, units",
        ),
        (
            ["lstm.safetensors", "text.txt", "--layer", 2],
            "layer must be an integer of at least 0 and at most 1",
        ),
        (["absent", "text.txt", "--layer", -1], "--layer must be an integer of at least 0, got -1"),
        (
            ["lstm.safetensors", "text.txt", "--unit", 4],
            "--unit must be an integer of at least 0 and at most 3",
        ),
        (["absent", "text.txt", "--unit", -1], "--unit must be an integer of at least 0, got -1"),
        (["absent", "text.txt", "--tokens", 3], "--tokens must be an integer of at least 4, got 3"),
        (
            ["lstm.safetensors", "text.txt", "--reverse"],
            "reverse must be False for a model that reads in one",
        ),
        (["rnn.safetensors", "text.txt", "--what", "gates"], "must have gates (LSTM or GRU), got Elman's"),
        (["classifier.safetensors", "same.txt", "--html", "new"], "no property changes in both halves"),
        (["absent", "text.txt", "--steps", 3], "--steps must not be given with --what units, got 3"),
        ([*GRADIENTS, "--html", "new"], "--html must not be given with --what gradients, got new"),
        ([*GRADIENTS, "--layer", 0], "--layer must not be given with --what gradients, got 0"),
        ([*GRADIENTS, "--reverse"], "--reverse must not be given with --what gradients"),
        ([*GRADIENTS, "--steps", 0], "--steps must be an integer of at least 1, got 0"),
        ([*GRADIENTS, "--steps", 10**6], "text.txt: text must have at least 2 * steps = 2000000 tokens"),
        ([*GRADIENTS, "--grad-clip", 0], "--grad-clip must be a finite number above 0, got 0"),
        (["tagger.safetensors", "text.txt", *GRADIENTS[2:]], "needs a language model, got a sequence tagger"),
        (["absent", "text.txt", "--html", "gru.safetensors"], "is there already; --force replaces it"),
        (["absent", "text.txt", "--html", "text.txt", "--force"], "text.txt: would overwrite another file"),
        (["absent", "text.txt", "--html", "a", "--png", "a"], "a: would overwrite another file"),
        (["absent", "text.txt", "--html", "no/where"], "no/where: No such file or directory"),
        (["absent", "text.txt", "--png", "folder"], "it is a directory"),
    ],
    ids=lambda value: " ".join(map(str, value))[:60] if isinstance(value, list) else "",
)
def test_bad_input(folder: Path, words: list[object], told: str) -> None:
    before = files()
    if "tagger.safetensors" in words:
        words = ["lines.txt" if word == "text.txt" else word for word in words]
    out, err = run(*words, code=2)
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("pyrnnfast: ")
    assert told.lower() in err.lower()
    assert files() == before
