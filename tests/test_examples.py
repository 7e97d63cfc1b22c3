"""The examples run, reach what they are there to show, and say what they want; and parts of them."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ENVIRONMENT, require

from pyrnnfast.cli.texts import language_reference
from pyrnnfast.models import LanguageModel
from pyrnnfast.text import Vocabulary

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NAMES = ("elman_words", "agreement", "missing_word")
READERS = ("elman_words", "missing_word")


def run(name: str, *options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *options],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def quick(name: str, *options: str, folder: Path) -> str:
    """Return what a quick run prints, which plots too."""
    require("matplotlib")
    result = run(name, *options, "--quick", "--plot=plot.png", folder=folder)
    assert result.returncode == 0, result.stderr
    assert (folder / "plot.png").read_bytes().startswith(b"\x89PNG")
    return result.stdout


@pytest.fixture
def text(tmp_path: Path) -> str:
    """A file of real text, the language reference that CPython carries."""
    try:
        content = language_reference()
    except ValueError as error:
        pytest.skip(str(error))
    (tmp_path / "text").write_text(content, encoding="utf-8")
    return "text"


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return __import__(name)


# --- Quick runs


def test_errors_find_words(text: str, tmp_path: Path) -> None:
    told = quick("elman_words", text, folder=tmp_path)
    first, *rest = map(float, re.search(r"by place in the word: (.*)", told)[1].split())
    assert first > max(rest) + 0.5
    by_error, by_chance = (
        float(re.search(rf"^{name} .* (\S+)$", told, re.M)[1]) for name in ("by the error", "chance")
    )
    assert by_error > by_chance + 0.15


def test_verbs_beside_their_subject_agree(tmp_path: Path) -> None:
    told = quick("agreement", folder=tmp_path)
    table = {
        name: list(map(float, row.split())) for name, row in re.findall(r"^(\w+) +([\d. ]+)$", told, re.M)
    }
    assert list(table) == ["distance", "Elman", "GRU", "LSTM"]
    assert table["distance"][0] == 1
    for cell in ("Elman", "GRU", "LSTM"):
        assert len(table[cell]) == len(table["distance"])
        assert table[cell][0] > 0.75  # one half is chance


def test_both_sides_know_more_and_order_matters(text: str, tmp_path: Path) -> None:
    told = quick("missing_word", text, folder=tmp_path)
    left, both = map(float, re.findall(r"perplexity +(\S+),", told))
    assert both < 0.9 * left
    assert float(re.search(r"^destination .*?(\S+)%;", told, re.M)[1]) > 90


# --- Options


@pytest.mark.parametrize("name", READERS)
def test_an_absent_text_is_told_how_to_get(name: str, tmp_path: Path) -> None:
    result = run(name, "absent.txt", folder=tmp_path)
    assert result.returncode == 2
    assert "absent.txt is not there" in result.stderr
    assert "curl -o absent.txt https://" in result.stderr


@pytest.mark.parametrize("options", [["--seed=-1"], ["--minutes=0"], ["--quick", "--minutes=1"]], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_bad_options(name: str, options: list[str], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("one two three", encoding="utf-8")
    result = run(name, *(["text"] if name in READERS else []), *options, folder=tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert not result.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_that_cannot_be_written_is_told_at_once(name: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("one two three", encoding="utf-8")
    result = run(name, *(["text"] if name in READERS else []), "--plot=absent/x.png", folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "--plot: " in result.stderr
    assert "No such file or directory: 'absent/x.png'" in result.stderr


@pytest.mark.parametrize("name", READERS)
def test_a_short_text(name: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("one two three", encoding="utf-8")
    result = run(name, "text", folder=tmp_path)
    assert result.returncode == 2
    assert re.search(r"at least \d+ \w+, got \d", result.stderr)


# --- Parts


def test_the_scores_of_word_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    words = module("elman_words", monkeypatch)
    letters, places = words.joined(words.words_of("ROMEO:\nWell-known: it is!\n"))
    assert letters == "wellknownitis"
    assert places.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 0, 1, 0, 1]
    errors = np.array([1.0, 3, 2, 2.5, 2.4])
    found = words.word_starts(errors, 0.4)
    assert found.tolist() == [False, True, False, True, False]
    true = np.array([True, True, False, False, False])
    assert words.scores(found, true) == (0.5, 0.5, 0.5)
    assert words.chance(found, true) == pytest.approx((0.4, 0.4, 0.4))


def test_a_verb_stands_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    agreement = module("agreement", monkeypatch)
    rng = random.Random(0)
    for distance in {*agreement.TRAINED, *agreement.TESTED}:
        for _ in range(20):
            _, subject, *rest = agreement.sentence(distance, rng)
            verb = rest[distance - 1]
            assert verb == ("were" if subject.endswith("s") else "was")
            assert len(rest) == distance + 1


def test_the_missing_word_is_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = module("missing_word", monkeypatch)
    words = Vocabulary.from_text("a b c d e f", unit="word")
    ids = words.encode("a b c d e f", bos=True, eos=True)[:, None]
    known = np.ones((6, 1), bool)
    for both_sides in (True, False):
        model = missing.MissingWord(words, both_sides, 0.0, np.random.default_rng(0)).eval()
        changed = ids.copy()
        changed[3] = words.encode("f")
        logits, others = (model(missing.Batch(each, np.array([8])), known) for each in (ids, changed))
        np.testing.assert_array_equal(logits[2], others[2])
        same = (logits == others).all(axis=1)
        assert same.tolist() == [not both_sides, not both_sides, True, False, False, False]


def test_the_same_models_in_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    require("torch")
    throughput, missing = (module(name, monkeypatch) for name in ("throughput", "missing_word"))
    pacing = throughput.Pacing(blocks=1, block_seconds=0.01, warmup_seconds=0.0, pause_seconds=0.0)
    monkeypatch.setattr(throughput, "PACING", pacing)
    words = Vocabulary.from_text("a b c d e f", unit="word")
    sentences = missing.Sentences(words, ["a b c d e", "b d f", "e d c b a f", "c z a"] * 20)
    for both_sides in (True, False):
        model = missing.MissingWord(words, both_sides, 0.0, np.random.default_rng(0))
        assert missing.ratio(model, sentences) > 0
    for cell in ("rnn", "gru", "lstm"):
        model = LanguageModel(words, cell=cell, embedding=3, hidden=5, rng=0)
        assert throughput.compare_language_model(model, 4, 2) > 0


def test_models_that_differ_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    require("torch")
    throughput = module("throughput", monkeypatch)
    with pytest.raises(ValueError, match="must be the same model, got the losses"):
        throughput.compare(lambda: 1.0, lambda: 1.01)
