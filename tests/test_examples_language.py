"""The examples of language models and their document: they run, and say what is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ENVIRONMENT

ROOT = Path(__file__).resolve().parent.parent
STRICT = {**ENVIRONMENT, "PYTHONWARNINGS": "error"}


def run(name: str, *options: object, code: int = 0) -> tuple[str, str]:
    words = [sys.executable, ROOT / "examples" / name, *map(str, options)]
    done = subprocess.run(words, env=STRICT, capture_output=True, timeout=100, check=False)
    assert done.returncode == code, done.stderr.decode()
    return done.stdout.decode(), done.stderr.decode()


def test_the_model_of_words(tmp_path: Path) -> None:
    text = "".join(f"the {n % 7}th of {n % 90} cats sat down .\n\n" for n in range(900))
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    options = ["--minutes", 0.1, "--vocabulary", 60, "--lines", 200, "--length", 6, "--seed", 1]
    out, _ = run("word_model.py", tmp_path / "text.txt", *options)
    found = re.search(r"200 lines: (\d+) with <UNK>, (\d+) end with <EOS>, (\d+) at 6 words", out)
    assert found is not None, out
    unknown, ended, cut = map(int, found.groups())
    assert unknown == 0
    assert ended + cut == 200


def test_the_model_of_chinese_characters(tmp_path: Path) -> None:
    for name in ("chinese", "tang300", "song100"):
        poems = "\n%\n".join(
            f"\x1b[32m《{name}月夜春望》\x1b[m\n作者\uff1a李白杜甫\n空山不见人 但闻人语响。"
            for _ in range(60)
        )
        (tmp_path / name).write_text(f"{poems}\n%\n", encoding="utf-8")
    out, _ = run("chinese_characters.py", "--data", tmp_path, "--minutes", 0.1, "--model", tmp_path / "m")
    assert "bits per character" in out
    assert "《月夜》" in out
    assert "\x1b" not in out
    assert os.path.exists(tmp_path / "m")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["word_model.py", "absent.txt"], "absent.txt is not there; a text of a megabyte: curl "),
        (["chinese_characters.py", "--data", "absent"], "apt-get install fortunes-zh"),
    ],
)
def test_what_is_missing_is_told_in_a_line(words: list[str], told: str) -> None:
    out, errors = run(*words, code=2)
    assert out == ""
    assert told in errors
    assert errors.count("\n") == 1


def test_python_in_the_document_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "language_models.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    exec(compile(block, "language_models.md", "exec"), {})
    assert os.listdir() == ["words.safetensors"]
