"""The language model: its gradients, sampling, and that it learns."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from conftest import refuses
from differences import gradients_hold
from numeric import CELLS as RECURRENT

from pyrnnfast._names import CELLS
from pyrnnfast.layers.module import Module
from pyrnnfast.losses import softmax_cross_entropy
from pyrnnfast.models import LanguageModel
from pyrnnfast.models.language_training import StreamTask
from pyrnnfast.text import ContiguousWindows, Vocabulary

TEXT = "the cat sat on the mat. " * 40


def model(**options: object) -> LanguageModel:
    return LanguageModel(Vocabulary.from_text(TEXT), **{"embedding": 5, "hidden": 7, "rng": 0, **options})


def test_every_cell_is_offered() -> None:
    assert {LanguageModel(Vocabulary.from_text("a"), cell=cell).recurrent.cell for cell in CELLS} == (
        set(RECURRENT) - {"jordan"}
    )


def test_names_and_shapes() -> None:
    first = model(layers=2, dropout=0.5, recurrent_dropout=0.25)
    shapes = {name: value.shape for name, value in first.named_parameters().items()}
    classes = len(first.vocabulary)
    assert shapes["embedding.weight"] == (classes, 5)
    assert shapes["recurrent.weight_ih_l1"] == (28, 7)
    assert shapes["decoder.weight"] == (classes, 7)
    assert shapes["decoder.bias"] == (classes,)
    assert len(shapes) == 3 + 8
    assert isinstance(first, Module)
    assert first.configuration == {
        "cell": "lstm",
        "embedding": 5,
        "hidden": 7,
        "layers": 2,
        "dropout": 0.5,
        "recurrent_dropout": 0.25,
        "dtype": "float32",
    }


@pytest.mark.parametrize("cell", list(CELLS))
def test_gradients_are_central_differences(cell: str) -> None:
    network = model(cell=cell, layers=2, dtype=np.float64)
    ids = network.vocabulary.encode(TEXT[:31])
    inputs, targets = ids[:-1].reshape(10, 3), ids[1:].reshape(10, 3)
    _, state = network.loss_and_grads(inputs, targets)
    network.zero_grad()
    loss, _ = network.loss_and_grads(inputs, targets, state)

    def value() -> float:
        network.eval()
        found = softmax_cross_entropy(network(inputs, state)[0], targets)[0]
        network.train()
        return found

    assert value() == pytest.approx(loss, rel=1e-14)
    gradients_hold(network, value)


@pytest.mark.parametrize("options", [{"dropout": 0.5, "layers": 2}, {"recurrent_dropout": 0.5}])
def test_dropout_is_for_training_only(options: dict[str, object]) -> None:
    network = model(**options)
    ids = network.vocabulary.encode("the cat")[:, None]
    assert (network(ids)[0] != network(ids)[0]).any()
    network.eval()
    np.testing.assert_array_equal(network(ids)[0], network(ids)[0])


def test_it_can_be_copied_and_pickled() -> None:
    network = model()
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert other.evaluate(TEXT).loss == network.evaluate(TEXT).loss
        assert other.sample("the", seed=1) == network.sample("the", seed=1)


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (ValueError, {"cell": "LSTM"}),
        (ValueError, {"hidden": 0}),
        (TypeError, {"layers": 1.0}),
        (ValueError, {"embedding": -1}),
        (ValueError, {"dropout": 1.5}),
        (ValueError, {"recurrent_dropout": -0.1}),
        (TypeError, {"recurrent_dropout": None}),
        (TypeError, {"dtype": np.float16}),
        (TypeError, {"rng": "0"}),
    ],
    ids=str,
)
def test_bad_options(error: type[Exception], options: dict[str, object]) -> None:
    with pytest.raises(error, match="must be"):
        model(**options)


def test_bad_vocabularies() -> None:
    with pytest.raises(TypeError, match="must be a Vocabulary, got str"):
        LanguageModel("abc")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must have <BOS>"):
        LanguageModel(Vocabulary.from_text("abc", specials=()))


# --- Sampling


def test_samples_are_seeded_and_many_at_once() -> None:
    network = model()
    many = network.sample("the ", count=5, length=30, seed=4)
    assert network.sample("the ", count=5, length=30, seed=4) == many
    assert network.sample("the ", count=2, length=30, seed=4) == many[:2]
    assert len(set(many)) == 5
    assert network.sample("the ", length=30) != network.sample("the ", length=30)
    assert network.sample(["the ", "a"], length=0, seed=1) == ["", ""]
    assert network.sample([], seed=1) == []


def test_a_prompt_is_read() -> None:
    network = model()
    alone = [network.sample(prompt, length=9, temperature=0.0)[0] for prompt in ("", "t", "the cat sat")]
    assert network.sample(["", "t", "the cat sat"], length=9, temperature=0.0) == alone
    network.train()
    network.sample("the")
    assert network.training


def test_specials_of_characters_are_not_drawn() -> None:
    network = model()
    words = network.vocabulary
    with network.update() as parameters:  # <EOS> too: no text of characters has it
        parameters["decoder.bias"][[words.pad_id, words.bos_id, words.unk_id, words.eos_id]] = 50
    for text in network.sample(count=20, length=50, seed=0):
        assert "<" not in text
        assert len(text) == 50
    assert "<UNK>" in network.sample(length=50, seed=0, allow_unknown=True)[0]


def test_the_end_of_a_line_ends_a_text_of_words() -> None:
    words = Vocabulary.from_text(TEXT.replace(". ", "\n"), unit="word")
    network = LanguageModel(words, embedding=5, hidden=24, rng=0)
    network.fit(TEXT.replace(". ", "\n"), steps=60, batch=4, window=12, lr=2e-2)
    drawn = network.sample("the", length=50, count=9, temperature=0.5, seed=0)
    assert max(len(text.split()) for text in drawn) < 50
    with network.update() as parameters:
        parameters["decoder.bias"][words.eos_id] = 100
    assert network.sample(count=3, length=50, seed=0) == ["", "", ""]


def test_lines_of_words_without_unknown_ones() -> None:
    rng = np.random.default_rng(0)
    names = [f"name{n}" for n in range(60)]
    pairs = rng.choice(names, (600, 2))
    lines = [f"{a} saw {b} and {'he ' * rng.integers(1, 12)}" for a, b in pairs]
    text = "\n".join(lines)
    words = Vocabulary.from_text(text, unit="word", max_size=30)  # most of the names are <UNK>
    network = LanguageModel(words, embedding=8, hidden=32, rng=0)
    network.fit(text, steps=300, batch=8, window=24, lr=2e-2)
    limit = 8
    drawn = [line.split() for line in network.sample(count=1000, length=limit, seed=3)]
    assert not any("<UNK>" in line for line in drawn)
    ended = [line for line in drawn if len(line) < limit]  # by <EOS>: nothing else ends a line
    assert 100 < len(ended) < 900
    assert max(map(len, drawn)) == limit
    begun = [line for line in drawn if line[1:2] == ["saw"]]  # a line is drawn from its beginning on
    assert len(begun) > 600
    kept = network.sample(count=100, length=limit, seed=3, allow_unknown=True)
    assert any("<UNK>" in line for line in kept)


def test_unknown_characters_of_a_prompt_are_told() -> None:
    network = model()
    with pytest.warns(UserWarning, match="does not know 2 of the prompt's tokens") as caught:
        network.sample("Ä the €", seed=0)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (TypeError, {"prompt": 3}),
        (TypeError, {"prompt": b"the"}),
        (TypeError, {"prompt": ["a", 3]}),
        (TypeError, {"prompt": {"a": 1}}),
        (TypeError, {"allow_unknown": "no"}),
        (TypeError, {"length": 1.0}),
        (TypeError, {"seed": 0.5}),
        (TypeError, {"count": "2", "prompt": ["a"]}),
        (ValueError, {"count": 2, "prompt": ["a", "b"]}),
        (ValueError, {"count": 0}),
        (ValueError, {"length": 2**32}),
        (ValueError, {"temperature": -1}),
        (ValueError, {"seed": -1}),
    ],
    ids=str,
)
def test_bad_samples(error: type[Exception], options: dict[str, object]) -> None:
    network = model()
    before = network.rng.bit_generator.state
    refuses(error, lambda: network.sample(**options))
    assert network.rng.bit_generator.state == before


def test_bad_ids() -> None:
    network = model()
    for error, ids in (
        (ValueError, np.zeros(3, np.int64)),
        (ValueError, np.zeros((1, 2, 3), np.int64)),
        (ValueError, np.full((2, 2), 99)),
        (TypeError, np.zeros((2, 2))),
        (TypeError, [[1, 2]]),
    ):
        refuses(error, lambda ids=ids: network(ids))


def test_bad_locations() -> None:
    for location, error in ((3, TypeError), (None, TypeError), (b"m", TypeError), ("", ValueError)):
        refuses(error, lambda location=location: model().save(location))
        refuses(error, lambda location=location: LanguageModel.load(location))
    refuses(TypeError, lambda: LanguageModel.load("absent", rng="0"))


# --- Learning


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_it_learns_a_sentence_by_heart(cell: str) -> None:
    network = model(cell=cell, hidden=24)
    outcome = network.fit(TEXT, steps=120, batch=4, window=24, lr=2e-2, valid_every=60)
    assert outcome.reason == "done"
    assert outcome.progress.best_loss is not None
    assert outcome.progress.best_loss < 0.3
    assert network.evaluate(TEXT).loss < 0.5
    assert "cat sat on the mat." in network.sample("the ", length=60, temperature=0.0)[0]


def test_a_row_starts_afresh_in_each_window() -> None:
    network = LanguageModel(Vocabulary.from_text("ab"), embedding=3, hidden=4, rng=0)
    ids = network.vocabulary.encode("ab" * 400)
    task = StreamTask(network, ids, None, batch=2, window=5, file=None)
    for position in range(40):
        carried = task.state_dict()
        network.zero_grad()
        loss, _ = task.step()
        inputs, targets = ContiguousWindows(ids, 2, 5, keep_last=False)[position]
        h, c = (carried.get(f"state{i}", np.zeros((1, 2, 4), np.float32)).copy() for i in (0, 1))
        row = position % 32
        if row < 2:
            inputs[0, row], h[:, row], c[:, row] = network.vocabulary.bos_id, 0, 0
        expected, _ = network.loss_and_grads(inputs, targets, (h, c))
        assert loss == expected


def test_a_row_of_words_starts_afresh_where_a_line_does() -> None:
    text = "a b c\na b\n" * 100
    network = LanguageModel(Vocabulary.from_text(text, unit="word"), embedding=3, hidden=4, rng=0)
    words = network.vocabulary
    ids = words.encode(text)
    task = StreamTask(network, ids, None, batch=3, window=5, file=None)
    started = 0
    for position in range(12):
        carried = task.state_dict()
        network.zero_grad()
        loss, _ = task.step()
        inputs, targets = ContiguousWindows(ids, 3, 5, keep_last=False)[position]
        h, c = (carried.get(f"state{i}", np.zeros((1, 3, 4), np.float32)).copy() for i in (0, 1))
        rows = np.flatnonzero(inputs[0] == words.eos_id)
        if position < 3 and rows.size:
            row = rows[position % rows.size]
            inputs[0, row], h[:, row], c[:, row] = words.bos_id, 0, 0
            started += 1
        expected, _ = network.loss_and_grads(inputs, targets, (h, c))
        assert loss == expected
    assert started > 0
