"""The commands on models of words: train, its vocabulary, resume, sample, evaluate, bad input."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import require

from pyrnnfast import training
from pyrnnfast.models import LanguageModel

require("typer")
require("rich")

NAMES = ["Anna", "Bruno", "Carla", "Dario", "Elena", "Fabio", "Giulia", "Henri", "Ines", "Jonas"]
TEXT = "".join(f"The dog of {name} saw {NAMES[i * 7 % 10]} 第{i}章 .\n" for i, name in enumerate(NAMES * 30))
TINY = ["--unit", "word", "--hidden", 12, "--embedding", 6, "--batch", 4, "--window", 16]


def run(*words: object, code: int = 0) -> tuple[str, str]:
    from typer.testing import CliRunner

    from pyrnnfast.cli.main import app

    result = CliRunner().invoke(app, [str(word) for word in words], prog_name="pyrnnfast")
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout, result.stderr


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path


def trained(*options: object, steps: int = 2) -> LanguageModel:
    run("train", "text.txt", "--force", "--steps", steps, *TINY, *options)
    return LanguageModel.load("model.safetensors")


def test_the_vocabulary_has_limits(folder: Path) -> None:
    words = trained().vocabulary
    assert words.unit == "word"
    assert {"The", "Anna", "第3章"} <= set(words.tokens)
    frequent = trained("--min-count", 2).vocabulary.tokens
    assert set(frequent) == {"The", "dog", "of", "saw", ".", *NAMES}
    few = trained("--vocabulary", 9, "--lowercase").vocabulary
    assert set(few.tokens) == {".", "dog", "of", "saw", "the"}
    assert few.lowercase
    text = "The dog of Anna"
    assert few.decode(few.encode(text)) == "the dog of <UNK>"
    told = run("train", "text.txt", "--force", "--min-count", 10**6, *TINY, code=2)[1]
    assert "--min-count must leave a word that was seen as often, got 1000000" in told


def test_a_run_of_words_resumes_to_the_bit(folder: Path) -> None:
    options = ["--vocabulary", 25, "--dropout", 0.2, "--lowercase"]
    trained(*options, steps=30)
    whole = [row.loss for row in training.read_csv("model.csv")]
    trained(*options, steps=11)
    _, told = run("train", "text.txt", "--resume", "--steps", 30)
    assert "going on after step 11" in told
    assert "21 different words" in told
    assert [row.loss for row in training.read_csv("model.csv")] == whole


def test_a_sample_is_a_line_without_unknown_words(folder: Path) -> None:
    trained("--min-count", 2, "--lr", 0.02, steps=80)
    drawn, _ = run("sample", "model.safetensors", "--count", 50, "--length", 12, "--seed", 1)
    lines = drawn.splitlines()
    assert len(lines) == 50
    assert max(len(line.split()) for line in lines) <= 12
    assert "<UNK>" not in drawn
    kept, _ = run("sample", "model.safetensors", "--count", 50, "--seed", 1, "--allow-unknown")
    assert "<UNK>" in kept
    line, _ = run("sample", "model.safetensors", "--prompt", "The dog", "--seed", 1, "--temperature", 0)
    assert line.startswith("The dog of ")
    assert line.count("\n") == 1


def test_a_model_of_words_is_evaluated(folder: Path) -> None:
    trained("--min-count", 2, "--lr", 0.02, steps=80)
    Path("new.txt").write_text("The dog of Zoe saw Anna 第7章 .\n", encoding="utf-8")
    found = dict(line.split(": ") for line in run("evaluate", "model.safetensors", "new.txt")[0].splitlines())
    assert found["unknown tokens"] == "2"
    expected = LanguageModel.load("model.safetensors").evaluate(Path("new.txt").read_text(encoding="utf-8"))
    assert expected.tokens == 9
    assert float(found["loss"]) == pytest.approx(expected.loss, abs=1e-4)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--unit", "syllable"], "unit must be one of char, word"),
        (["--vocabulary", 4], "vocabulary must be an integer of at least 5, got 4"),
        (["--min-count", 0], "min_count must be an integer of at least 1, got 0"),
        (["--unit", "word", "--resume"], "--resume and --unit cannot go together"),
        (["--vocabulary", 9, "--resume"], "--resume and --vocabulary cannot go together"),
        (["--min-count", 9, "--resume"], "--resume and --min-count cannot go together"),
        (["--lowercase", "--resume"], "--resume and --lowercase cannot go together"),
        (["--unit", "word", "--batch", 500], "too short: it has 2433 tokens, and batch 500"),
        (["--unit", "word", "--valid", "spaces.txt"], "spaces.txt: must have at least 1 word, got 0"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_bad_input(folder: Path, words: list[object], told: str) -> None:
    Path("spaces.txt").write_text("  \t ", encoding="utf-8")
    before = sorted(folder.iterdir())
    _, errors = run("train", "text.txt", *words, code=2)
    assert told in errors
    assert errors.count("\n") == 1
    assert sorted(folder.iterdir()) == before
    assert "count must be" in run("sample", "absent", "--count", 0, code=2)[1]
