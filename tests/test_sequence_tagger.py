"""The tagger: files of sentences, gradients, decoding, learning, what is unknown, and its commands."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import refuses, require
from differences import gradients_hold

from pyrnnfast.models import SequenceTagger
from pyrnnfast.models.bio import decode, transitions
from pyrnnfast.models.tagger_training import NONE, TaggedBatches, split
from pyrnnfast.text import Sentence, Vocabulary, read_sentences
from pyrnnfast.text.examples import given_examples
from pyrnnfast.text.tagged import given_sentences
from pyrnnfast.training import read_csv

CITIES = ["Taipei", "Paris", "New York", "Rome", "San Juan"]
SMALL: dict[str, Any] = {
    "embedding": 6,
    "hidden": 8,
    "character_embedding": 3,
    "character_hidden": 4,
    "rng": 0,
}


def made_up(count: int, seed: int) -> list[Sentence]:
    """Sentences in which only the verb tells where the city belongs."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        verb, slot = [("arrive", "to"), ("leave", "from")][rng.integers(2)]
        city = str(rng.choice(CITIES)).split()
        tags = [f"B-{slot}", *[f"I-{slot}"] * (len(city) - 1)]
        found.append(Sentence((verb, *city, "on", "November"), ("O", *tags, "O", "B-date"), verb.upper()))
    return found


TRAIN = made_up(120, 0)


def model(**options: Any) -> SequenceTagger:
    return SequenceTagger.from_examples(TRAIN, **{**SMALL, **options})


# --- Files


def write(folder: Path, text: str) -> str:
    (folder / "f").write_text(text, encoding="utf-8")
    return str(folder / "f")


def test_lines_come_back(tmp_path: Path) -> None:
    path = write(tmp_path, "at:O 04:45:B-time pm:I-time :O\u00a0:O <=> Book It\n\n\nnow:B-time <=> B\n")
    first, second = read_sentences(path)
    assert first.words == ("at", "04:45", "pm", ":O\u00a0")
    assert first.tags == ("O", "B-time", "I-time", "O")
    assert (first.intent, first.place) == ("Book It", f"{path}:1")
    assert (second.intent, second.place) == ("B", f"{path}:4")
    assert str(second) == "now:B-time <=> B"


def test_columns_with_and_without_intents(tmp_path: Path) -> None:
    path = write(
        tmp_path, "-DOCSTART- -X- O\n\n# intent: go\nto NN O\n# NN I-city\n\nYork NNP I-city\nx y I-city"
    )
    assert [sentence[:3] for sentence in read_sentences(path)] == [
        (("to", "#"), ("O", "B-city"), "go"),
        (("York", "x"), ("B-city", "I-city"), None),
    ]
    path = write(tmp_path, "New York\tB-x\nCity\tI-y\n")
    assert read_sentences(path)[0][:2] == (("New York", "City"), ("B-x", "B-y"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a:O <=> x\nb:O\n", "f:2: must end in <=> and an intent, got 'b:O'"),
        ("a:O <=> x\nb <=> x\n", "f:2: each word must be token:tag, got 'b'"),
        ("a:O <=> x\n::O :O <=> x\n", "f:2: each word must be token:tag, got ':O'"),
        ("a:O <=> x\nb:Q <=> x\n", "f:2: a tag must be O, B-... or I-..., got 'Q'"),
        ("a O\nb NN O\n", "f:2: must have 2 columns as the first line, got 3"),
        ("a\tO\n\tO\n", "f:2: must have a word in the first column, got ''"),
        ("a\nb\n", "f:1: must have at least 2 columns, got 1"),
        ("a O\nb B-\n", "f:2: a tag must be O, B-... or I-..., got 'B-'"),
        ("\n \n", "f: has no sentences"),
    ],
)
def test_bad_lines_are_told(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match="f") as info:
        read_sentences(path)
    assert str(info.value) == path[:-1] + told


# --- Numbers


@pytest.mark.parametrize(("options", "parts"), [({"cell": "gru", "layers": 2}, 3), ({}, 2)])
def test_gradients_are_central_differences(options: dict[str, Any], parts: int) -> None:
    sentences = [each[:parts] for each in TRAIN]
    network = SequenceTagger.from_examples(
        sentences, **SMALL, dropout=0.0, word_dropout=0.0, dtype=np.float64, **options
    )
    some = given_sentences("", [*sentences[:5], (["in", "", "Taipei"], ["O", "O", "B-other"])])
    (batch,) = TaggedBatches(network, some, 9).epoch()
    assert (batch.tags == NONE).sum() > batch.lengths.size
    loss, tokens = network.loss_and_grads(batch)
    assert tokens == sum(len(each.words) for each in some)
    network.eval()
    assert network.loss(batch)[0] == pytest.approx(loss, rel=1e-14)
    gradients_hold(network, lambda: network.loss(batch)[0], largest=1e-8)


def test_the_loss_is_that_of_each_sentence_alone() -> None:
    network = model(dtype=np.float64).eval()
    together = next(TaggedBatches(network, TRAIN[:7], 7).epoch())
    alone = [network.loss(batch)[0] for batch in TaggedBatches(network, TRAIN[:7], 1).epoch()]
    assert network.loss(together)[0] == pytest.approx(np.mean(alone), rel=1e-12)


def test_decoding_is_the_best_of_all_allowed_paths() -> None:
    tags = ["B-x", "B-y", "I-x", "I-y", "O"]
    first, following = transitions(tags)
    logits = np.random.default_rng(0).standard_normal((4, 6, 5))
    logits[..., 2:4] += 1
    lengths = np.array([4, 1, 3, 2, 4, 4])
    found = decode(logits, lengths, first, following)
    for row, length in enumerate(lengths):
        best = max(
            (
                path
                for path in itertools.product(range(5), repeat=int(length))
                if all(
                    not tags[tag].startswith("I-") or (t and tags[path[t - 1]][2:] == tags[tag][2:])
                    for t, tag in enumerate(path)
                )
            ),
            key=lambda path: sum(logits[t, row, tag] for t, tag in enumerate(path)),
        )
        assert tuple(found[:length, row]) == best


# --- Learning


@pytest.fixture(scope="module")
def trained() -> SequenceTagger:
    network = model(hidden=16, dropout=0.1)
    network.fit(TRAIN, holdout=0, epochs=15, batch=10, lr=2e-2)
    return network


def test_it_tells_arriving_from_leaving(trained: SequenceTagger) -> None:
    arrive, leave = trained.predict([f"{verb} Taipei on November".split() for verb in ("arrive", "leave")])
    assert str(arrive) == "arrive:O Taipei:B-to on:O November:B-date <=> ARRIVE"
    assert str(leave) == "leave:O Taipei:B-from on:O November:B-date <=> LEAVE"
    (unknown,) = trained.predict([["leave", "Xanadu", "", "November"]])
    assert len(unknown.tags) == 4


def test_evaluation(trained: SequenceTagger) -> None:
    require("seqeval")
    found = trained.evaluate(made_up(40, 1))
    assert (found.slot_f1, found.intent_accuracy, found.sentence_accuracy) == (1, 1, 1)
    found = trained.evaluate([(["arrive", "Rome"], ["O", "B-unseen"], "unseen"), *made_up(1, 2)])
    assert found.slot_recall == pytest.approx(2 / 3)
    assert found.intent_accuracy == 0.5
    assert found.sentences == 2


def test_sentences_without_an_intent_count_for_their_tags(trained: SequenceTagger) -> None:
    require("seqeval")
    without = [each._replace(intent=None) for each in made_up(9, 1)]
    found = trained.evaluate(without)
    assert (found.slot_f1, found.intent_accuracy, found.sentence_accuracy) == (1, None, 1)
    found = trained.evaluate([*without, *made_up(1, 2), made_up(1, 3)[0]._replace(intent="unseen")])
    assert found.intent_accuracy == 0.5
    assert found.sentence_accuracy == pytest.approx(10 / 11)


def test_models_come_back(tmp_path: Path, trained: SequenceTagger) -> None:
    trained.save(tmp_path / "m")
    second = SequenceTagger.load(tmp_path / "m")
    assert second.configuration == trained.configuration
    words = [each.words for each in TRAIN[:9]]
    assert second.predict(words) == trained.predict(words)
    plain = SequenceTagger.from_examples([each[:2] for each in TRAIN], **SMALL, cell="rnn")
    plain.save(tmp_path / "m")
    (found,) = SequenceTagger.load(tmp_path / "m").predict([["a"]])
    assert found.intent is None


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path) -> None:
    for name, parts in (("a", [30]), ("b", [17, 30])):
        for i, steps in enumerate(parts):
            model().fit(
                TRAIN,
                steps=steps,
                batch=10,
                model=tmp_path / name,
                history=tmp_path / f"{name}.csv",
                resume=i > 0,
            )
    losses = [[row.loss for row in read_csv(tmp_path / f"{name}.csv")] for name in "ab"]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 30


def test_the_split_is_at_random() -> None:
    trained, held_out = split(TRAIN, 0.25)
    assert (len(trained), len(held_out)) == (90, 30)
    assert held_out == split(TRAIN, 0.25)[1] != TRAIN[-30:]
    texts = given_examples("", [str(i) for i in range(120)], list(range(120)), False)
    numbers = [number for (number,) in texts.split(0.25)[1].labels]
    assert held_out == [TRAIN[number] for number in numbers]  # as with any examples


# --- Bad arguments


@pytest.mark.parametrize(
    "options",
    [
        {"tags": ["O", "X"]},
        {"tags": [1]},
        {"tags": []},
        {"intents": "go"},
        {"intents": [1]},
        {"characters": Vocabulary.from_text("a", specials=("<UNK>",))},
        {"vocabulary": "a"},
        {"cell": "GRU"},
        {"character_hidden": 0},
        {"dropout": -1},
        {"word_dropout": -1},
    ],
    ids=str,
)
def test_bad_options(options: dict[str, Any]) -> None:
    given: dict[str, Any] = {"vocabulary": Vocabulary.from_text("a"), "characters": Vocabulary.from_text("a")}
    refuses_any(lambda: SequenceTagger(**{**given, "tags": ["O"], **options}))


def refuses_any(call: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"must .*got "):
        call()


def test_bad_sentences() -> None:
    network = model()
    for bad in (3, "ab", [3], [(["a"],)], [(["a"], ["O", "O"])], [("a", ["O"])], [(["a"], ["O"], 3)]):
        refuses_any(lambda bad=bad: network.fit(bad, epochs=1))
    refuses_any(lambda: network.fit([], epochs=1))
    refuses_any(lambda: network.fit([(["a"], ["B-unseen"])], epochs=1, holdout=0))
    refuses_any(lambda: network.fit([(["a"], ["O"], "unseen")], epochs=1, holdout=0))
    for words in ("ab", ["ab"], [[]], [["", " "]], [[3]]):
        refuses_any(lambda words=words: network.predict(words))
    refuses(ValueError, lambda: network.fit(TRAIN, epochs=0))


# --- Commands


def run(*words: Any, code: int = 0) -> tuple[str, str]:
    from typer.testing import CliRunner

    from pyrnnfast.cli.main import app

    result = CliRunner().invoke(app, ["tag", *map(str, words)], prog_name="pyrnnfast")
    assert result.exit_code == code, (result.output, result.exception)
    return result.stdout, result.stderr


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: SequenceTagger) -> Path:
    require("typer")
    require("rich")
    monkeypatch.chdir(tmp_path)
    Path("train.txt").write_text("\n".join(map(str, TRAIN)))
    trained.save("m")
    return tmp_path


def test_train_goes_on_and_predicts(folder: Path) -> None:
    tiny = ["--hidden", 8, "--embedding", 8, "--batch", 20, "--epochs", 2]
    err = run("train", "train.txt", "--valid", "train.txt", "--model", "a", *tiny)[1]
    assert "train.txt: 120 sentences to train on, 120 held out, 6 tags, 2 intents" in err
    assert "nats per sentence" in err
    run("train", "train.txt", "--valid", "train.txt", "--model", "a", "--resume", "--epochs", 3)
    assert len(read_csv("a.csv")) == 18
    assert run("predict", "m", "--text", "leave Rome on November")[0].endswith("<=> LEAVE\n")
    Path("lines.txt").write_text("arrive Paris\nleave Paris\n")
    assert "Paris:B-to" in run("predict", "m", "lines.txt")[0].splitlines()[0]


def test_predict_reads_the_words_of_tagged_lines(folder: Path) -> None:
    Path("lines.txt").write_text("\n".join(" ".join(each.words) for each in TRAIN))
    out = run("predict", "m", "train.txt")[0]
    assert out == run("predict", "m", "lines.txt")[0]
    lines = [json.loads(line) for line in run("predict", "m", "train.txt", "--json")[0].splitlines()]
    assert [tuple(line["words"]) for line in lines] == [each.words for each in TRAIN]
    pairs = [zip(line["words"], line["tags"], strict=True) for line in lines]
    tagged = [" ".join(f"{word}:{tag}" for word, tag in each) for each in pairs]
    intents = [line["intent"] for line in lines]
    assert [f"{a} <=> {b}" for a, b in zip(tagged, intents, strict=True)] == out.splitlines()
    Path("bad.txt").write_text("a:O <=> x\nb\n")
    assert "bad.txt:2: must end in <=> and an intent" in run("predict", "m", "bad.txt", code=2)[1]


def test_evaluate_prints_two_lines(folder: Path) -> None:
    require("seqeval")
    assert run("evaluate", "m", "train.txt")[0] == "slot F1: 100.00\nintent accuracy: 100.00\n"
    assert '"slot_f1": 1.0' in run("evaluate", "m", "train.txt", "--json")[0]
    assert "with --json from 0 to 1" in " ".join(run("evaluate", "--help")[0].split())
    Path("columns.txt").write_text("arrive O\nRome B-to\non O\nNovember B-date\n")
    assert run("evaluate", "m", "columns.txt")[0] == "slot F1: 100.00\n"


def test_evaluate_needs_its_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "seqeval", None)
    assert 'pip install "pyrnnfast[tag]"' in run("evaluate", "m", "train.txt", code=2)[1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "absent"], "absent: No such file"),
        (["train", "bad.txt"], "bad.txt:2: must have 2 columns as the first line, got 3"),
        (["train", "train.txt", "--valid", "bad.txt"], "bad.txt:2: must have"),
        (["train", "train.txt", "--epochs", 1, "--steps", 1], "cannot go together"),
        (["train", "train.txt", "--hidden", 0], "hidden must be an integer of at least 1, got 0"),
        (["predict", "train.txt", "--text", "a"], "not a safetensors file"),
        (["predict", "m"], "give either FILE or --text"),
        (["evaluate", "m", "bad.txt"], "bad.txt:2: must have"),
    ],
    ids=str,
)
def test_bad_input(folder: Path, words: list[Any], told: str) -> None:
    Path("bad.txt").write_text("a O\nb NN O\n")
    out, err = run(*words, code=2)
    assert out == ""
    assert told in err
    assert len(err.splitlines()) == 1
