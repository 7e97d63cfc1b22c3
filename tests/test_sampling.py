"""Sampling: the sets that are kept, the statistics of draws, seeds, rows, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import refuses

from pyrnnfast import _sizes, functional, sampling, validation
from pyrnnfast.reference import sampling as reference
from pyrnnfast.sampling import SamplingOptions

LOGITS = np.log(np.array([0.1, 0.3, 0.05, 0.3, 0.05, 0.2]))
STEPS = 5000


def kept(**options: object) -> list[int]:
    return np.flatnonzero(sampling.probabilities(LOGITS, SamplingOptions(**options))).tolist()


# --- Which tokens, with which probability


def test_probabilities_are_the_softmax() -> None:
    np.testing.assert_allclose(sampling.probabilities(LOGITS), np.exp(LOGITS), rtol=1e-14)
    hot = sampling.probabilities(LOGITS, SamplingOptions(temperature=2.0))
    np.testing.assert_allclose(hot, np.sqrt(np.exp(LOGITS)) / np.sqrt(np.exp(LOGITS)).sum(), rtol=1e-14)


def test_top_k_keeps_the_lower_id_of_equals() -> None:
    assert [kept(top_k=k) for k in (1, 2, 3, 4, 5, 6, 99)] == [
        [1],
        [1, 3],
        [1, 3, 5],
        [0, 1, 3, 5],
        [0, 1, 2, 3, 5],
        [0, 1, 2, 3, 4, 5],
        [0, 1, 2, 3, 4, 5],
    ]


def test_top_p_keeps_the_smallest_set() -> None:
    exact = np.array([0.5, 0.125, 0.25, 0.125], np.float64)
    for p, expected in ((1e-9, [0]), (0.49, [0]), (0.51, [0, 2]), (0.74, [0, 2]), (0.76, [0, 1, 2])):
        found = sampling.probabilities(np.log2(exact) * math.log(2), SamplingOptions(top_p=p))
        assert np.flatnonzero(found).tolist() == expected
    assert kept(top_p=0.25) == [1]
    assert kept(top_p=0.65) == [1, 3, 5]
    assert kept(top_p=1.0) == [0, 1, 2, 3, 4, 5]


def test_order_of_temperature_banned_top_k_top_p() -> None:
    assert kept(banned=(1,), top_k=2) == [3, 5]
    assert kept(top_k=3, top_p=0.7) == [1, 3]  # 0.3 + 0.3 of 0.8
    assert kept(temperature=100.0, top_p=0.5) == [1, 3, 5]  # nearly uniform
    assert kept(temperature=0.0) == [1]
    assert kept(temperature=0.0, banned=(1,)) == [3]
    assert kept(temperature=1e-300) == [1, 3]


def test_redraw_is_the_distribution_without_the_token() -> None:
    found = sampling.probabilities(LOGITS, SamplingOptions(redraw=1))
    expected = np.exp(LOGITS) * [1, 0, 1, 1, 1, 1]
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-14)
    assert kept(redraw=1, temperature=0.0) == [3]
    assert kept(redraw=1, top_k=1) == [3]
    assert kept(redraw=1, banned=(0, 2, 3, 4, 5)) == [1]


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.7}, {"redraw": 1}, {"banned": (1, 5)}],
    ids=str,
)
def test_draws_follow_the_probabilities(options: dict[str, object]) -> None:
    chosen = SamplingOptions(**options)
    expected = sampling.probabilities(LOGITS, chosen)
    drawn = sampling.sample(np.tile(LOGITS, (STEPS, 1)), chosen, seed=1)
    counts = np.bincount(drawn, minlength=6)
    assert (counts[expected == 0] == 0).all()
    deviations = np.sqrt(STEPS * expected * (1 - expected))
    assert (np.abs(counts - STEPS * expected) <= 5 * deviations).all()


def test_a_token_that_is_nearly_certain_is_still_drawn_again() -> None:
    logits = np.array([0.0, 60.0, 1.0])
    drawn = sampling.sample(np.tile(logits, (500, 1)), SamplingOptions(redraw=1), seed=0)
    assert set(drawn.tolist()) == {0, 2}


def test_uniform_numbers() -> None:
    assert [reference.uniform(s, r, a, 7) for s, r, a in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))] == [
        reference.uniform(*counter, 7) for counter in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    ]
    numbers = [reference.uniform(0, row, 0, 2**64 - 1) for row in range(4000)]
    assert len(set(numbers)) == 4000
    assert 0 <= min(numbers) < 0.01 < 0.99 < max(numbers) < 1
    assert abs(np.mean(numbers) - 0.5) < 5 / math.sqrt(12 * 4000)


def test_the_last_of_the_running_sum_is_never_overrun() -> None:
    assert reference.invert(np.array([0.0, 1.0, 0.0]), np.nextafter(1.0, 0.0)) == 1
    assert reference.invert(np.array([0.0, 1.0, 2.0]), 0.0) == 1


# --- Whole sequences

CLASSES, HIDDEN = 7, 5


def machine(cell: str = "lstm", dtype: type = np.float64) -> dict[str, object]:
    """Random weights that make every token likely."""
    rng = np.random.default_rng(0)
    gates = validation.GATES[cell] * HIDDEN

    def draw(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / 2).astype(dtype)

    weights = []
    for layer in range(2):
        below = HIDDEN if layer else 3
        weights += [draw(gates, below), draw(gates, HIDDEN), draw(gates), draw(gates)]
        weights += [draw(*shape) for shape in _sizes.extras(None, cell, HIDDEN, True).values()]
    return {
        "packed": functional.pack(cell, weights, num_layers=2),
        "embedding": draw(CLASSES, 3),
        "decoder_weight": 4 * draw(CLASSES, HIDDEN),
        "decoder_bias": draw(CLASSES),
    }


def generate(parts: dict[str, object], rows: int = 4, length: int = 12, seed: int = 3, **more: object):
    options = SamplingOptions(**{k: more.pop(k) for k in list(more) if k in SamplingOptions.__annotations__})
    first = np.arange(rows) % CLASSES
    return sampling.generate(**parts, **{"first": first, **more}, length=length, options=options, seed=seed)


def by_hand(parts: dict[str, object], rows: int, length: int, seed: int, options: SamplingOptions):
    """Draw with one forward a token."""
    state, fed, tokens = None, np.arange(rows) % CLASSES, []
    for step in range(length):
        y, state, _ = functional.forward(parts["packed"], parts["embedding"][fed][None], state)
        logits = y[0] @ parts["decoder_weight"].T + parts["decoder_bias"]
        fed = sampling.sample(logits, options, seed=seed, step=step)
        tokens.append(fed)
    return np.stack(tokens, axis=1), state


@pytest.mark.parametrize("options", [{}, {"temperature": 0.0}, {"top_k": 3}, {"top_p": 0.8}, {"redraw": 2}])
@pytest.mark.parametrize("cell", validation.GATES)
def test_each_token_is_the_next_input(cell: str, options: dict[str, object]) -> None:
    parts = machine(cell)
    found = generate(parts, banned=(0,), **options)
    tokens, state = by_hand(parts, 4, 12, 3, SamplingOptions(banned=(0,), **options))
    np.testing.assert_array_equal(found.tokens, tokens)
    np.testing.assert_array_equal(found.lengths, [12] * 4)
    for got, want in zip(np.atleast_1d(found.state), np.atleast_1d(state), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


def test_going_on_from_the_state() -> None:
    parts = machine()
    whole = generate(parts, length=12, temperature=0.0)
    start = generate(parts, length=5, temperature=0.0)
    rest = generate(parts, length=7, temperature=0.0, first=start.tokens[:, -1], state=start.state)
    np.testing.assert_array_equal(np.concatenate([start.tokens, rest.tokens], axis=1), whole.tokens)


def test_stop_ends_a_row_and_leaves_the_others() -> None:
    parts = machine()
    free, stopped = generate(parts, rows=9, length=30), generate(parts, rows=9, length=30, stop=5)
    lengths = []
    for row in range(9):
        hits = np.flatnonzero(free.tokens[row] == 5)
        end = int(hits[0]) if hits.size else 30
        lengths.append(end)
        np.testing.assert_array_equal(stopped.tokens[row, :end], free.tokens[row, :end])
        assert (stopped.tokens[row, end:] == 5).all()
    assert stopped.lengths.tolist() == lengths
    assert len(set(lengths)) > 2
    row = int(np.argmin(lengths))
    frozen = generate(parts, rows=9, length=lengths[row] + 1)
    np.testing.assert_array_equal(stopped.state[0][:, row], frozen.state[0][:, row])


def test_a_row_does_not_depend_on_its_batch() -> None:
    parts = machine(dtype=np.float32)
    many = generate(parts, rows=7, length=40)
    few = generate(parts, rows=3, length=40)
    np.testing.assert_array_equal(many.tokens[:3], few.tokens)
    assert len({tuple(row) for row in many.tokens[::7]}) == 1


def test_rows_of_any_rank_are_numbered_in_c_order() -> None:
    logits = np.random.default_rng(0).standard_normal((4, 5, 6))
    flat = sampling.sample(logits.reshape(20, 6), seed=3, step=7)
    np.testing.assert_array_equal(sampling.sample(logits, seed=3, step=7), flat.reshape(4, 5))
    assert sampling.sample(logits[0, 0], seed=3, step=7).shape == ()


def test_seeds() -> None:
    parts = machine()
    first, again = generate(parts, seed=2**64 - 1), generate(parts, seed=2**64 - 1)
    np.testing.assert_array_equal(first.tokens, again.tokens)
    for other in (0, 1, 2**32, 2**63):
        assert (generate(parts, seed=other).tokens != first.tokens).any()
    np.testing.assert_array_equal(
        generate(parts, seed=0, temperature=0.0).tokens, generate(parts, seed=1, temperature=0.0).tokens
    )


def test_banned_and_redraw_never_come() -> None:
    tokens = generate(machine(), rows=30, length=50, banned=(0, 2), redraw=1, temperature=3.0).tokens
    assert set(tokens.reshape(-1).tolist()) == {3, 4, 5, 6}


def test_nothing_to_draw() -> None:
    parts = machine()
    for rows, length in ((0, 5), (3, 0), (0, 0)):
        found = generate(parts, rows=rows, length=length)
        assert found.tokens.shape == (rows, length)
        assert found.lengths.tolist() == [0] * rows
        assert found.state[0].shape == (2, rows, HIDDEN)
    assert (generate(parts, length=0).state[0] == 0).all()
    without_bias = {**parts, "decoder_bias": None}
    assert generate(without_bias).tokens.shape == (4, 12)


def test_the_given_arrays_stay() -> None:
    parts = machine()
    state = tuple(np.ones((2, 4, HIDDEN)) for _ in range(2))
    first = np.zeros(4, np.int64)
    generate(parts, first=first, state=state)
    assert (first == 0).all()
    assert all((part == 1).all() for part in state)


# --- What is refused


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_no_numbers(value: float) -> None:
    parts = machine()
    parts["decoder_bias"] = np.array([0, value, 0, 0, 0, 0, 0])
    with pytest.raises(ValueError, match=r"logits.*(nan|inf)"):
        generate(parts)
    with pytest.raises(ValueError, match="logits must"):
        sampling.sample(np.array([0.0, value]), seed=0)
    with pytest.raises(ValueError, match="logits must leave"):
        sampling.sample(np.array([-np.inf, 1.0]), SamplingOptions(banned=(1,)), seed=0)


@pytest.mark.parametrize(
    ("error", "options"),
    [
        (ValueError, {"temperature": -0.1}),
        (ValueError, {"temperature": math.nan}),
        (ValueError, {"temperature": math.inf}),
        (TypeError, {"temperature": "1"}),
        (ValueError, {"top_k": -1}),
        (TypeError, {"top_k": 1.0}),
        (ValueError, {"top_p": 0.0}),
        (ValueError, {"top_p": 1.1}),
        (ValueError, {"stop": CLASSES}),
        (ValueError, {"redraw": -1}),
        (ValueError, {"banned": (CLASSES,)}),
        (ValueError, {"banned": tuple(range(CLASSES))}),
        (TypeError, {"banned": 3}),
        (ValueError, {"seed": 2**64}),
        (ValueError, {"seed": -1}),
        (ValueError, {"length": -1}),
        (TypeError, {"length": 1.5}),
        (TypeError, {"first": [0, 1]}),
        (TypeError, {"first": np.zeros(4)}),
        (ValueError, {"first": np.full(4, CLASSES)}),
        (ValueError, {"first": np.zeros((2, 2), np.int64)}),
        (TypeError, {"state": np.zeros((2, 4, HIDDEN))}),
        (ValueError, {"state": (np.zeros((2, 3, HIDDEN)), np.zeros((2, 4, HIDDEN)))}),
        (ValueError, {"num_threads": 0}),
    ],
    ids=str,
)
def test_bad_arguments(error: type[Exception], options: dict[str, object]) -> None:
    refuses(error, lambda: generate(machine(), **options))


def test_bad_weights() -> None:
    parts = machine()
    for name, value, error in (
        ("embedding", np.zeros((CLASSES, 4)), ValueError),
        ("embedding", np.zeros((CLASSES, 3), np.float32), TypeError),
        ("decoder_weight", np.zeros((CLASSES + 1, HIDDEN)), ValueError),
        ("decoder_weight", [[0.0]], TypeError),
        ("decoder_bias", np.zeros(1), ValueError),
        ("packed", None, TypeError),
    ):
        refuses(error, lambda name=name, value=value: generate({**parts, name: value}))
