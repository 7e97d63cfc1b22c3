"""`pyrnnfast classify`: train, go on, predict, evaluate; errors in one line with file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import require

from pyrnnfast.models import TextClassifier
from pyrnnfast.training import read_csv

require("typer")
require("rich")

WORDS = {"good": ["fine", "great", "lovely", "nice"], "bad": ["awful", "poor", "ugly", "vile"]}
TINY = ["--hidden", 8, "--embedding", 8, "--layers", 1, "--batch", 10, "--lr", 0.02, "--dropout", 0]


def rows(count: int, seed: int) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    labels = [str(label) for label in rng.choice(["good", "bad"], count)]
    return [(" ".join(rng.choice(WORDS[label], 3)), label) for label in labels]


def run(*words: Any, code: int = 0) -> tuple[str, str]:
    from typer.testing import CliRunner

    from pyrnnfast.cli.main import app

    result = CliRunner().invoke(app, ["classify", *map(str, words)], prog_name="pyrnnfast")
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout, result.stderr


def fails(*words: Any) -> str:
    before = {path.name: path.read_bytes() for path in Path().iterdir()}
    out, err = run(*words, code=2)
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("pyrnnfast: ")
    assert {path.name: path.read_bytes() for path in Path().iterdir()} == before
    return err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    lines = [f"{text},{label}" for text, label in rows(100, 0)]
    Path("train.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows(20, 1)]
    Path("test.jsonl").write_text("\n".join(lines))
    return tmp_path


def test_train_predict_evaluate(folder: Path) -> None:
    out, err = run("train", "train.csv", *TINY, "--model", "m.safetensors", "--epochs", 15)
    assert out == ""
    assert "train.csv: 90 texts to train on, 10 held out, 2 labels" in err
    assert "step 100, epoch 11.1 of 15, loss " in err
    assert "held out: accuracy 1.0000, F1 1.0000" in err
    assert {path.name for path in folder.iterdir()} >= {
        "m.safetensors",
        "m.checkpoint.safetensors",
        "m.csv",
    }
    assert len(read_csv("m.csv")) == 135
    out, _ = run("evaluate", "m.safetensors", "test.jsonl")
    assert "accuracy: 1.0000\nF1: 1.0000\n" in out
    assert "confusion matrix" in out
    found = json.loads(run("evaluate", "m.safetensors", "test.jsonl", "--json")[0])
    assert found["accuracy"] == 1
    assert found["examples"] == 20
    expected = [label for _, label in rows(20, 1)]
    assert run("predict", "m.safetensors", "test.jsonl")[0].split() == expected
    Path("lines.txt").write_text("fine nice\npoor\n")
    assert run("predict", "m.safetensors", "lines.txt")[0] == "good\nbad\n"
    line = json.loads(run("predict", "m.safetensors", "--text", "ugly", "--json")[0])
    assert line["label"] == "bad"
    assert [each["label"] for each in line["probabilities"]] == ["bad", "good"]
    assert sum(each["probability"] for each in line["probabilities"]) == pytest.approx(1)


def test_labels_that_are_spelled_alike(folder: Path) -> None:
    lines = [json.dumps({"text": text, "label": 1 if label == "bad" else "1"}) for text, label in rows(40, 3)]
    Path("ones.jsonl").write_text("\n".join(lines))
    run("train", "ones.jsonl", *TINY, "--steps", 1, "--model", "m")
    line = json.loads(run("predict", "m", "--text", "ugly", "--json")[0])
    assert {repr(each["label"]) for each in line["probabilities"]} == {"1", "'1'"}
    told = fails("train", "ones.jsonl", *TINY, "--class-weights", "1=2", "--model", "n")
    assert "--class-weights cannot tell labels apart that are spelled alike, got '1'" in told


def test_a_vocabulary_of_as_many_tokens_as_were_asked_for(folder: Path) -> None:
    run("train", "train.csv", *TINY, "--steps", 1, "--vocabulary", 2, "--model", "m")
    assert len(TextClassifier.load("m").vocabulary.tokens) == 2
    words = TextClassifier.from_examples(["a b", "a c"], [1, 2], max_size=1, unit="word").vocabulary
    assert words.tokens == ("a",)


def test_it_goes_on(folder: Path) -> None:
    options = [*TINY, "--class-weights", "good=2", "--pooling", "max"]
    run("train", "train.csv", *options, "--model", "a.safetensors", "--steps", 20)
    run("train", "train.csv", *options, "--model", "b.safetensors", "--steps", 9)
    run("train", "train.csv", "--model", "b.safetensors", "--steps", 20, "--resume")
    losses = [[row.loss for row in read_csv(f"{name}.csv")] for name in "ab"]
    assert losses[0] == losses[1]
    assert "--hidden 9 cannot go on" in fails(
        "train", "train.csv", "--resume", "--hidden", 9, "--model", "b.safetensors"
    )
    assert "--resume and --unit cannot go together" in fails(
        "train", "train.csv", "--resume", "--unit", "word"
    )
    assert "begun without --multilabel" in fails(
        "train", "train.csv", "--resume", "--multilabel", "--model", "b.safetensors"
    )


def test_several_labels_of_words_without_a_header(folder: Path) -> None:
    lines = [
        f"{text}\t{'a|b' if 'fine' in text else 'b' if 'poor' in text else ''}" for text, _ in rows(60, 2)
    ]
    Path("tags.tsv").write_text("\n".join(lines))
    columns = ["--text-column", 1, "--label-column", 2]
    more = ["--multilabel", "--unit", "word", "--epochs", 20, "--class-weights", "balanced"]
    _, err = run("train", "tags.tsv", *TINY, *columns, *more, "--model", "m")
    assert "nats per text and label" in err
    assert run("predict", "m", "--text", "nice fine", "--separator", "+")[0] == "a+b\n"
    assert run("predict", "m", "--text", "ugly vile")[0] == "\n"
    out, _ = run("evaluate", "m", "tags.tsv", *columns)
    assert "confusion" not in out
    assert "precision" in out


def test_the_confusion_matrix_of_many_labels_is_not_printed(folder: Path) -> None:
    for count, told in ((30, "\nconfusion matrix, a row for"), (31, "\nno confusion matrix of more than 30")):
        lines = [json.dumps({"text": f"text {n}", "label": n}) for n in range(count)]
        Path("many.jsonl").write_text("\n".join(lines))
        TextClassifier.from_examples(lines, list(range(count)), hidden=2, embedding=2, rng=0).save("m")
        assert told in run("evaluate", "m", "many.jsonl")[0]
        found = json.loads(run("evaluate", "m", "many.jsonl", "--json")[0])
        assert np.sum(found["confusion"]) == count


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train"], "Missing argument"),
        (["train", "absent.csv"], "absent.csv: No such file"),
        (["train", "a.txt"], "a.txt: must be a table whose name ends in .csv"),
        (["train", "bad.csv"], "bad.csv:3: must have 2 columns as the first line, got 1"),
        (["train", "blank.csv"], "blank.csv:2: the text must have more than white space"),
        (["train", "train.csv", "--label-column", "stars"], "train.csv:1: has no column 'stars'"),
        (["train", "train.csv", "--valid", "unseen.csv"], "unseen.csv:2: the label must be one of training"),
        (["train", "train.csv", "--valid", "unseen.csv", "--holdout", 0.1], "cannot go together"),
        (["train", "train.csv", "--epochs", 1, "--minutes", 1], "--epochs and --minutes cannot go together"),
        (["train", "train.csv", "--epochs", 0], "epochs must be an integer of at least 1, got 0"),
        (["train", "train.csv", "--cell", "x"], "cell must be one of lstm"),
        (["train", "train.csv", "--unit", "x"], "unit must be one of char, word"),
        (["train", "train.csv", "--pooling", "x"], "pooling must be one of mean"),
        (["train", "train.csv", "--hidden", 10**7], "take a smaller --hidden"),
        (["train", "train.csv", "--class-weights", "x=1"], "--class-weights must be"),
        (["train", "train.csv", "--class-weights", "good=x"], "--class-weights must be"),
        (
            ["train", "train.csv", "--class-weights", "good=0,bad=0"],
            "class_weights must be above 0 for a label",
        ),
        (["train", "train.csv", "--separator", ""], "--separator must have at least one character, got ''"),
        (["train", "none.csv", "--multilabel"], "none.csv: must have at least one label, got none"),
        (["train", "absent.csv", "--vocabulary", 0], "vocabulary must be an integer of at least 1, got 0"),
        (
            ["train", "train.csv", "--model", "train.csv", "--force"],
            "of this command; name another --model",
        ),
        (["train", "train.csv", "--resume"], "classifier.safetensors: is not there"),
        (["predict", "absent", "a.txt"], "absent: No such file"),
        (["predict", "train.csv", "a.txt"], "not a safetensors file"),
        (["predict", "m"], "give either FILE or --text"),
        (["predict", "m", "--text", " "], "--text: the text must have more than white space"),
        (["predict", "m", "a.txt"], "a.txt:2: the text must have more than white space"),
        (["evaluate", "m", "unseen.csv"], "unseen.csv:2: the label must be one of training ('x', 'y'), got"),
        (["evaluate", "m", "train.csv", "--text-column", "words"], "train.csv:1: has no column 'words'"),
        (["sort"], "No such command"),
    ],
    ids=lambda value: " ".join(map(str, value))[:60] if isinstance(value, list) else "",
)
def test_bad_input(folder: Path, words: list[Any], told: str) -> None:
    Path("a.txt").write_text("fine\n \n")
    Path("bad.csv").write_text("text,label\na,b\nc\n")
    Path("blank.csv").write_text('text,label\n" ",b\n')
    Path("none.csv").write_text("text,label\n" + "a,\n" * 20)
    Path("unseen.csv").write_text("text,label\na,unseen\n")
    TextClassifier.from_examples(["a", "b"], ["x", "y"], hidden=2, embedding=2, rng=0).save("m")
    assert told in fails(*words)


def test_tensorboard_on_request(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    told = fails("train", "train.csv", "--tensorboard", "log")
    assert not Path("log").exists()
    assert 'pip install "pyrnnfast[tensorboard]"' in told


def test_a_folder_of_logs_that_cannot_be_written_is_told_at_once(folder: Path) -> None:
    require("tensorboardX")
    assert "test.jsonl: File exists" in fails("train", "absent.csv", "--tensorboard", "test.jsonl")
