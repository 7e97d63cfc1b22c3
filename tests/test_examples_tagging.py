"""The example of slot filling: on made-up sentences, on SNIPS where it is, and what it refuses."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from comparing import EXAMPLES, compared
from conftest import ENVIRONMENT, require

GET = (
    'curl --create-dirs -o "snips/#1.txt" "https://raw.githubusercontent.com/sz128/'
    'slot_filling_and_intent_detection_of_SLU/master/data/snips/{train,valid,test}"'
)
PARTS = ("train", "valid", "test")


def run(*words: object, code: int = 0) -> str:
    """Run the example; return what it prints, or what it complains of."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "slot_filling.py"), *map(str, words)],
        env={**ENVIRONMENT, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def figures(out: str) -> tuple[float, float]:
    """Return slot F1 and the accuracy of intents, in percent."""
    f1, accuracy = re.search(r"^slot F1: (.*)%\nintent accuracy: (.*)%$", out, re.M).groups()
    return float(f1), float(accuracy)


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for part in PARTS:
        lines = []
        for _ in range(60):
            verb, slot = [("arrive", "to"), ("leave", "from")][rng.integers(2)]
            city = rng.choice(["Taipei", "Paris", "Rome", "Oslo"])
            lines.append(f"{verb}:O {city}:B-{slot} on:O May:B-date 1st:I-date <=> {verb}")
        (tmp_path / f"{part}.txt").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def test_it_learns_and_keeps_the_model(sentences: Path) -> None:
    require("seqeval")
    out = run(sentences, "--minutes", 0.1, "--model", sentences / "m")
    assert "60 sentences to train on, 60 held out, 60 to test; 5 tags, 2 intents" in out
    assert min(figures(out)) > 50  # a tag of three begins a slot that is told by the verb
    assert (sentences / "m").exists()


def test_training_is_compared(
    sentences: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require("seqeval")
    compared("slot_filling", [str(sentences), "--minutes", "0.02"], monkeypatch, capsys)


@pytest.mark.timeout(180)
def test_snips() -> None:
    require("seqeval")
    folder = Path(os.environ.get("PYRNNFAST_SNIPS", "snips"))
    if not all((folder / f"{part}.txt").exists() for part in PARTS):
        pytest.skip(f"SNIPS is not here; get it, and name its folder in PYRNNFAST_SNIPS: {GET}")
    out = run(folder, "--minutes", 0.4)
    assert "13,084 sentences to train on, 700 held out, 700 to test; 72 tags, 7 intents" in out
    f1, accuracy = figures(out)
    assert f1 > 40
    assert accuracy > 80


def test_without_data_one_line_says_how_to_get_them(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a")
    for folder in (tmp_path / "absent", tmp_path, tmp_path / "file"):
        told = run(folder, code=2)
        assert told.count("\n") == 1
        assert GET.replace("snips/#1", f"{folder}/#1") in told
    (tmp_path / "train.txt").write_text("a:O\n")
    assert run(tmp_path, code=2) == f"{tmp_path}/train.txt:1: must have at least 2 columns, got 1\n"


@pytest.mark.parametrize("option", ["--minutes=0", "--seed=-1", "--model=absent/m"])
def test_bad_options(option: str) -> None:
    told = run("absent", option, code=2)
    assert f"argument {option.partition('=')[0]}: " in told
    assert "Traceback" not in told


def test_without_seqeval_it_is_told(
    sentences: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = importlib.import_module("slot_filling")
    monkeypatch.setattr(sys, "argv", ["slot_filling", str(sentences)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        example.main()
    assert capsys.readouterr().err == "seqeval is not installed: pip install 'pyrnnfast[tag]'\n"
