"""The text classifier: gradients, pooling over lengths, learning, scores, files, and going on."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import refuses
from differences import gradients_hold

from pyrnnfast._names import POOLINGS
from pyrnnfast.models import TextClassifier
from pyrnnfast.models.classifier_training import LabelledBatches, TextBatch, weigh
from pyrnnfast.models.pooling import Pooling
from pyrnnfast.models.scores import confusion_of_one, scores
from pyrnnfast.text import Vocabulary
from pyrnnfast.text.examples import given_examples
from pyrnnfast.training import Callback, ExampleTask, Progress, read_csv

RNG = np.random.default_rng(0)
TEXTS = ["".join(RNG.choice(list("abcdef"), size=n)) for n in RNG.integers(1, 30, 120)]
LABELS = ["both" if "a" in t and "b" in t else "one" if "a" in t or "b" in t else "none" for t in TEXTS]
TAGS = [[letter for letter in "abc" if letter in text] for text in TEXTS]
SMALL: dict[str, Any] = {"embedding": 4, "hidden": 5, "rng": 0}


def model(labels: list[Any] = LABELS, **options: Any) -> TextClassifier:
    return TextClassifier.from_examples(TEXTS, labels, **{**SMALL, **options})


# --- Numbers


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(
    "options", [{}, {"multilabel": True, "cell": "lstm"}, {"bidirectional": False, "layers": 1}], ids=str
)
def test_gradients_are_central_differences(pooling: str, options: dict[str, Any]) -> None:
    several = "multilabel" in options
    labels: list[Any] = TAGS if several else LABELS
    network = model(labels, pooling=pooling, dropout=0.0, dtype=np.float64, **options)
    examples = given_examples("", TEXTS[:6], labels[:6], several)
    weights = weigh(network, examples, {network.labels.values[0]: 3.0})
    (batch,) = LabelledBatches(network, examples, 6, weights).epoch()
    assert len(set(batch.lengths)) > 3
    loss, tokens = network.loss_and_grads(batch)
    assert tokens == sum(map(len, TEXTS[:6]))
    network.eval()
    assert network.loss(batch)[0] == pytest.approx(loss, rel=1e-14)
    gradients_hold(network, lambda: network.loss(batch)[0])


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_and_companions_play_no_part(pooling: str) -> None:
    network = model(pooling=pooling, dtype=np.float64).eval()
    alone = np.stack([network(network.encode(text)[:, None], [len(text)])[0] for text in TEXTS[:9]])
    lengths = np.array([len(text) for text in TEXTS[:9]])
    padded = np.full((lengths.max() + 3, 9), 3)
    for row, text in enumerate(TEXTS[:9]):
        padded[: len(text), row] = network.encode(text)
    np.testing.assert_allclose(network(padded, lengths), alone, rtol=1e-12)


def test_pooling_by_hand() -> None:
    y = np.random.default_rng(1).standard_normal((4, 2, 6))
    y[2:, 1] = 0
    lengths = np.array([4, 2])
    pooled = {kind: Pooling(kind, 6, 2, np.float64, 0)(y, lengths) for kind in POOLINGS}
    for row, length in enumerate(lengths):
        own = y[:length, row]
        np.testing.assert_allclose(pooled["mean"][row], own.mean(axis=0))
        np.testing.assert_array_equal(pooled["max"][row], own.max(axis=0))
        np.testing.assert_array_equal(pooled["last"][row], [*own[-1, :3], *own[0, 3:]])
        assert (pooled["attention"][row] < own.max(axis=0)).all()
        assert (pooled["attention"][row] > own.min(axis=0)).all()


def test_texts_are_cut() -> None:
    network = model(max_length=5)
    np.testing.assert_array_equal(
        network.probabilities([TEXTS[0][:5] + "zz"]), network.probabilities([TEXTS[0][:5]])
    )
    assert network.encode("abcdefgh").size == 5


def test_probabilities_are_in_the_callers_order() -> None:
    network = model()
    p = network.probabilities(TEXTS)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    for i in (0, 7, 119):
        np.testing.assert_allclose(p[i], network.probabilities([TEXTS[i]])[0], rtol=1e-5)
    assert network.predict(TEXTS[:3]) == [network.labels.values[k] for k in p[:3].argmax(axis=1)]
    assert network.predict([]) == []
    assert network.training


def test_class_weights() -> None:
    network = model(["a"] * 90 + ["b"] * 30)
    examples = given_examples("", TEXTS, ["a"] * 90 + ["b"] * 30, False)
    np.testing.assert_allclose(weigh(network, examples, "balanced"), [120 / 180, 120 / 60])
    np.testing.assert_allclose(weigh(network, examples, {"b": 3}), [1, 3])
    assert weigh(network, examples, None) is None
    several = model(TAGS, multilabel=True)
    marked = given_examples("", ["a"] * 4, [["a"], ["a", "b"], ["a"], []], True)
    np.testing.assert_allclose(weigh(several, marked, "balanced"), [1 / 3, 3, 1])
    for bad in ("even", {"c": 1.0}, {"b": -1}):
        refuses(ValueError, lambda bad=bad: weigh(network, examples, bad))


# --- Scores


def test_scores_by_hand() -> None:
    true, found = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    each = np.arange(3)
    result = scores(found[:, None] == each, true[:, None] == each)
    assert confusion_of_one(found, true, 3) == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert result["accuracy"] == result["f1_micro"] == pytest.approx(3 / 5)
    assert result["precision"] == pytest.approx([1 / 2, 2 / 3, 0])
    assert result["recall"] == pytest.approx([1 / 2, 2 / 3, 0])
    assert result["f1"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert result["support"] == [2, 3, 0]


def test_evaluation_of_one_and_of_several_labels() -> None:
    network = model()
    found = network.evaluate(TEXTS, LABELS)
    right = np.mean([a == b for a, b in zip(network.predict(TEXTS), LABELS, strict=True)])
    assert found.accuracy == found.f1_micro == right
    p = network.probabilities(TEXTS)
    own = [p[i, network.labels.values.index(label)] for i, label in enumerate(LABELS)]
    assert found.loss == pytest.approx(-np.log(own).mean(), rel=1e-5)
    assert np.sum(found.confusion) == found.examples == 120
    several = model(TAGS, multilabel=True).evaluate(TEXTS, TAGS)
    assert np.shape(several.confusion) == (3, 2, 2)
    assert several.support == [sum(letter in text for text in TEXTS) for letter in "abc"]
    network = model(TAGS, multilabel=True)
    p, marks = network.probabilities(TEXTS), np.array([[k in tags for k in "abc"] for tags in TAGS])
    losses = -np.log(np.where(marks, p, 1 - p))
    assert network.evaluate(TEXTS, TAGS).loss == pytest.approx(losses.mean(), rel=1e-4)


def test_a_confusion_matrix_is_made_when_it_is_wanted() -> None:
    network, examples = model(), given_examples("", TEXTS, LABELS, False)
    whole, without = (network.evaluate_examples(examples, confusion=wanted) for wanted in (True, False))
    assert without.confusion is None
    assert (without.accuracy, without.f1) == (whole.accuracy, whole.f1)


# --- Learning, files, going on


@pytest.mark.parametrize("pooling", POOLINGS)
def test_it_learns(pooling: str) -> None:
    network = model(hidden=16, layers=1, pooling=pooling, dropout=0.0)
    outcome = network.fit(TEXTS, LABELS, holdout=0, epochs=40, batch=20, lr=3e-2)
    assert outcome.progress.step == 240
    assert network.evaluate(TEXTS, LABELS).accuracy > 0.95


def test_it_learns_several_labels() -> None:
    network = model(TAGS, hidden=16, layers=1, multilabel=True, pooling="max", dropout=0.0)
    network.fit(TEXTS, TAGS, holdout=0, epochs=40, batch=20, lr=3e-2, class_weights="balanced")
    assert network.evaluate(TEXTS, TAGS).f1_micro > 0.95
    assert network.predict(["ddcdd"]) == [["c"]]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cell": "lstm", "pooling": "attention", "bidirectional": False, "dtype": np.float64},
        {"multilabel": True, "unit": "word", "layers": 1, "max_length": 7},
    ],
    ids=str,
)
def test_models_come_back(tmp_path: Path, options: dict[str, Any]) -> None:
    labels: list[Any] = TAGS if "multilabel" in options else [*range(119), True]
    first = model(labels, **options)
    first.save(tmp_path / "m")
    second = TextClassifier.load(tmp_path / "m")
    assert second.configuration == first.configuration
    assert second.labels.values == first.labels.values
    for other in (second, pickle.loads(pickle.dumps(first))):
        np.testing.assert_array_equal(other.probabilities(TEXTS[:5]), first.probabilities(TEXTS[:5]))


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, progress: Progress) -> None:
        if progress.step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stop_at", [7, 12, 13])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path: Path, stop_at: int) -> None:
    run: dict[str, Any] = {"epochs": 3, "batch": 20, "valid_every": 4}
    first = model()
    first.fit(TEXTS, LABELS, model=tmp_path / "a", history=tmp_path / "a.csv", **run)
    files = {"model": tmp_path / "b", "history": tmp_path / "b.csv"}
    with pytest.raises(KeyboardInterrupt):
        model().fit(TEXTS, LABELS, callbacks=[StopAt(stop_at)], **files, **run)
    second = model()
    second.fit(TEXTS, LABELS, resume=True, **files, **run)
    rows = [
        [(row.step, row.loss, row.valid_loss) for row in read_csv(tmp_path / f)] for f in ("a.csv", "b.csv")
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 18
    for name, value in first.state_dict().items():
        np.testing.assert_array_equal(second.state_dict()[name], value)
    with pytest.raises(ValueError, match="another recipe: examples was"):
        model().fit(TEXTS[::-1], LABELS, resume=True, **files, **run)
    with pytest.raises(ValueError, match="has had 18 steps"):
        model().fit(TEXTS, LABELS, resume=True, **files, **run)


def test_each_example_is_seen_once_an_epoch_in_another_order() -> None:
    network = model()
    batches = LabelledBatches(network, given_examples("", TEXTS, LABELS, False), 50, None)
    seen: list[list[bytes]] = []

    class Spy:
        def loss_and_grads(self, batch: TextBatch) -> tuple[float, int]:
            seen[-1] += [batch.tokens[:n, i].tobytes() for i, n in enumerate(batch.lengths)]
            return 0.0, 1

    task: ExampleTask[TextBatch] = ExampleTask(Spy(), batches, None, None, seed=3)  # type: ignore[arg-type]
    for _ in range(2):
        seen.append([])
        for _ in range(len(batches)):
            task.step()
    assert sorted(seen[0]) == sorted(seen[1]) == sorted(network.encode(text).tobytes() for text in TEXTS)
    assert seen[0] != seen[1]
    for bad in ({"seed": -1}, {"epoch": None}, {"position": 99}):
        with pytest.raises((TypeError, ValueError), match="must be"):
            task.load_state_dict({**task.state_dict(), **bad})


def test_the_best_weights_of_held_out_texts_stay() -> None:
    seen: list[float] = []

    class Watch(Callback):
        def on_validation(self, progress: Progress) -> None:
            seen.append(progress.valid_loss)

    network = model()
    valid = (TEXTS[:30], LABELS[30:60])  # wrong ones, so that it gets worse
    outcome = network.fit(
        TEXTS[30:], LABELS[30:], valid, steps=200, batch=30, lr=0.03, patience=2, callbacks=[Watch()]
    )
    assert outcome.reason == "early stop"
    assert network.evaluate(*valid).loss == pytest.approx(min(seen), rel=1e-5)


# --- Bad arguments


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "GRU"},
        {"hidden": 0},
        {"layers": 1.0},
        {"embedding": "4"},
        {"pooling": "sum"},
        {"dropout": 2},
        {"max_length": 0},
        {"bidirectional": 1},
        {"dtype": np.float16},
        {"rng": "0"},
        {"labels": []},
        {"vocabulary": "abc"},
        {"vocabulary": Vocabulary.from_text("abc", specials=())},
    ],
    ids=str,
)
def test_bad_options(options: dict[str, Any]) -> None:
    given = {"vocabulary": Vocabulary.from_text("abc"), "labels": ["x", "y"], **options}
    with pytest.raises((TypeError, ValueError), match=r"must .*got "):
        TextClassifier(**given)


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 0},
        {"epochs": 1, "steps": 1},
        {"batch": 0},
        {"lr": 0},
        {"holdout": 1},
        {"valid_every": 0},
        {"valid": (["a"], ["unseen"])},
        {"valid": (["a"],)},
        {"valid": (["a"], ["one", "none"])},
        {"valid": 3},
        {"class_weights": "x"},
        {"callbacks": [3]},
        {"texts": [], "labels": []},
        {"labels": [*LABELS[1:], "unseen"]},
        {"labels": LABELS[1:]},
    ],
    ids=lambda options: str(options)[:40],
)
def test_bad_fits_change_nothing(options: dict[str, Any]) -> None:
    network = model()
    with pytest.raises((TypeError, ValueError), match=r"must .*got "):
        network.fit(**{"texts": TEXTS, "labels": LABELS, **options})
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value, model().state_dict()[name])


def test_bad_uses() -> None:
    network = model()
    for call in (
        lambda: network.predict("abc"),
        lambda: network.predict(["a", " "]),
        lambda: network.evaluate(["a"], ["unseen"]),
        lambda: network.evaluate([], []),
        lambda: network(np.zeros((3, 2), np.int64), [3, 0]),
        lambda: network(np.zeros(3, np.int64), [3]),
    ):
        with pytest.raises((TypeError, ValueError), match=r"must .*got "):
            call()
