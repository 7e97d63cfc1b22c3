"""The examples of language models and their document: they run, and say what is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from comparing import compared
from conftest import ENVIRONMENT

ROOT = Path(__file__).resolve().parent.parent
STRICT = {**ENVIRONMENT, "PYTHONWARNINGS": "error"}


def run(name: str, *options: object, code: int = 0) -> tuple[str, str]:
    words = [sys.executable, ROOT / "examples" / name, *map(str, options)]
    done = subprocess.run(words, env=STRICT, capture_output=True, timeout=100, check=False)
    assert done.returncode == code, done.stderr.decode()
    return done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def poems(tmp_path: Path) -> Path:
    """A folder with a text of words, and with the files that fortunes-zh has."""
    text = "".join(f"the {n % 7}th of {n % 90} cats sat down .\n\n" for n in range(900))
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    for name in ("chinese", "tang300", "song100"):
        poems = "\n%\n".join(
            f"\x1b[32m《{name}月夜春望》\x1b[m\n作者\uff1a李白杜甫\n空山不见人 但闻人语响。"
            for _ in range(60)
        )
        (tmp_path / name).write_text(f"{poems}\n%\n", encoding="utf-8")
    return tmp_path


def test_the_model_of_words(poems: Path) -> None:
    options = ["--minutes", 0.1, "--vocabulary", 60, "--lines", 200, "--length", 6, "--seed", 1]
    out, _ = run("word_model.py", poems / "text.txt", *options)
    found = re.search(r"200 lines: (\d+) with <UNK>, (\d+) end with <EOS>, (\d+) at 6 words", out)
    assert found is not None, out
    unknown, ended, cut = map(int, found.groups())
    assert unknown == 0
    assert ended + cut == 200


def test_the_model_of_chinese_characters(poems: Path) -> None:
    out, _ = run("chinese_characters.py", "--data", poems, "--minutes", 0.1, "--model", poems / "m")
    assert "bits per character" in out
    assert "《月夜》" in out
    assert "\x1b" not in out
    assert os.path.exists(poems / "m")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["word_model.py", "absent.txt"], "absent.txt is not there; a text of a megabyte: curl "),
        (["word_model.py", "."], "Is a directory"),
        (["word_model.py", "latin1"], "latin1: is not UTF-8 text"),
        (["word_model.py", "short"], "the text must have at least 1000 words, got 3"),
        (["chinese_characters.py", "--data", "absent"], "apt-get install fortunes-zh"),
        (["chinese_characters.py", "--data", "short"], "apt-get install fortunes-zh"),
        (["chinese_characters.py", "--data", "few"], "must have 10 pieces and "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_missing_is_told_in_a_line(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("latin1").write_bytes("é".encode("latin-1"))
    Path("short").write_text("one two three")
    Path("few").mkdir()
    for name in ("chinese", "tang300", "song100"):
        (Path("few") / name).write_text("a\n%\n")
    out, errors = run(*words, code=2)
    assert out == ""
    assert told in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--minutes=0", "must be a number above 0, got 0"),
        ("--seed=-1", "must be at least 0, got -1"),
        ("--model=absent/m", "No such file"),
        ("--lines=0", "must be at least 1, got 0"),
        ("--length=0", "must be at least 1, got 0"),
        ("--vocabulary=4", "must be at least 5, got 4"),
    ],
)
def test_bad_options(option: str, told: str) -> None:
    own = option.partition("=")[0] in ("--lines", "--length", "--vocabulary")
    for name in ("word_model.py",) if own else ("word_model.py", "chinese_characters.py"):
        data = ["absent.txt"] if name == "word_model.py" else []
        _, errors = run(name, *data, option, code=2)
        assert told in errors.splitlines()[-1]
        assert "Traceback" not in errors


@pytest.mark.parametrize("name", ["word_model", "chinese_characters"])
def test_training_is_compared(
    name: str, poems: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [str(poems / "text.txt")] if name == "word_model" else ["--data", str(poems)]
    out = compared(name, [*data, "--minutes", "0.02"], monkeypatch, capsys)
    assert "held out: " in out


def test_python_in_the_document_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "language_models.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    exec(compile(block, "language_models.md", "exec"), {})
    assert {"words.safetensors", "losses.csv"} < set(os.listdir())
