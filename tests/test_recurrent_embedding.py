"""Ids with an embedding instead of x: the results of looking the ids up first."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import refuses
from numeric import (
    CELLS,
    KINK,
    STEP,
    Case,
    Results,
    assert_close,
    distance_to_kink,
    make,
    oracle,
    run,
    same_bits,
)

import pyrnnfast
from pyrnnfast import functional

RAGGED = tuple((7 * n) % 30 for n in range(21))
CASES = [  # size of the table; half the number of steps is the most that are projected whole
    (1, (3, 2, 5, 7, {})),
    (7, (29, 21, 33, 17, {"layers": 2, "dropout": 0.5})),
    (63, (29, 21, 5, 33, {"bidirectional": True, "lengths": RAGGED})),
    (90, (29, 7, 9, 16, {"layers": 2, "bidirectional": True, "bias": False})),
    (650, (65, 31, 17, 9, {"with_state": False})),  # several blocks of the table
    (50, (5, 9, 65, 5, {"bidirectional": True})),  # rows are read as they come
    (50, (5, 9, 3, 31, {"layers": 2, "lengths": (5, 0, 3, 1, 5, 2, 2, 0, 4)})),
    (3, (0, 4, 5, 7, {})),
    (3, (4, 0, 5, 7, {"layers": 2})),
    (1, (3, 2, 4, 9, {"lengths": (0, 0)})),
]
IDS = [f"{size}-{'-'.join(map(str, sizes))}" for size, (*sizes, _) in CASES]


def embedded(cell: str, size: int, shape: tuple) -> tuple[Case, dict[str, np.ndarray]]:
    """A case whose x comes from an embedding: it, and what `run` takes instead of x."""
    *sizes, options = shape
    case = make(cell, *sizes, **options)
    rng = np.random.default_rng(size)
    for _ in range(100):
        embedding = rng.normal(size=(size, case.inputs)).astype(np.float32)
        ids = rng.integers(size, size=(case.steps, case.rows))
        case.arrays["x"] = embedding[ids]
        if distance_to_kink(case) > KINK:
            return case, {"ids": ids, "embedding": embedding}
    raise AssertionError(f"no draw of {case} keeps away from the kink")


def scattered(results: Results, ids: np.ndarray, embedding: np.ndarray) -> Results:
    """Results with dx summed into the rows of the embedding, under a name of the weights'."""
    total = np.zeros(embedding.shape, results["dx"].dtype)
    np.add.at(total, ids, results["dx"])
    return {**{name: value for name, value in results.items() if name != "dx"}, "dw embedding": total}


def renamed(results: Results) -> Results:
    return {"dw embedding" if name == "dx" else name: value for name, value in results.items()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("size", "shape"), CASES, ids=IDS)
@pytest.mark.parametrize("cell", CELLS)
def test_it_is_a_lookup_and_the_layer(cell: str, size: int, shape: tuple, dtype: type, isa: str) -> None:
    """Outputs to the bit, gradients within rounding of the oracle's, all to the bit for any threads."""
    case, by_id = embedded(cell, size, shape)
    got, plain = run(case, dtype, isa, 1, **by_id), run(case, dtype, isa, 1)
    same_bits(got, {name: plain[name] for name in ("y", "h", "c") if name in plain})
    same_bits(run(case, dtype, isa, 2, **by_id), got)
    assert_close(case, renamed(got), scattered(oracle(case), **by_id), dtype)


@pytest.mark.parametrize("cell", CELLS)
def test_inference(cell: str, isa: str) -> None:
    case, by_id = embedded(cell, 7, (29, 21, 5, 33, {"layers": 2, "lengths": RAGGED}))
    packed = functional.pack(cell, case.weights(np.float32), isa=isa, **case.options)
    for num_threads in (1, 2):
        options = {"lengths": case.lengths, "num_threads": num_threads}
        got = functional.forward(packed, by_id["ids"], embedding=by_id["embedding"], **options)
        want = functional.forward(packed, case.arrays["x"], **options)
        np.testing.assert_array_equal(got.y, want.y)


@pytest.mark.parametrize("size", [4, 30])
@pytest.mark.parametrize("cell", CELLS)
def test_a_row_that_is_not_read_plays_no_part(cell: str, size: int, isa: str) -> None:
    """Not even one of NaN, nor an id past its row's end."""
    case, by_id = embedded(cell, size, (9, 3, 5, 7, {"bidirectional": True, "lengths": (9, 0, 4)}))
    ids = by_id["ids"] % (size - 1)
    clean = run(case, np.float32, isa, ids=ids, embedding=by_id["embedding"])
    by_id["embedding"][size - 1] = np.nan
    for n, length in enumerate(case.lengths):
        ids[length:, n] = size - 1
    spoiled = run(case, np.float32, isa, ids=ids, embedding=by_id["embedding"])
    same_bits(spoiled, clean)
    assert not spoiled["dx"][size - 1].any()


@pytest.mark.parametrize("size", [3, 40])
@pytest.mark.parametrize("cell", CELLS)
def test_central_differences(cell: str, size: int, isa: str) -> None:
    case, by_id = embedded(cell, size, (6, 3, 3, 5, {"layers": 2, "bidirectional": True, "dropout": 0.4}))
    exact = run(case, np.float64, isa, **by_id)["dx"]
    packed = functional.pack(cell, case.weights(np.float64), isa=isa, **case.options)
    direction = np.random.default_rng(0).normal(size=exact.shape)
    dy, dstate = case.arrays["dy"].astype(np.float64), case.pair("dh", "dc", np.float64)

    def loss(sign: int) -> float:
        y, state, _ = functional.forward(
            packed,
            by_id["ids"],
            case.pair("h0", "c0", np.float64),
            embedding=by_id["embedding"] + sign * STEP * direction,
            dropout=case.dropout,
            seed=case.seed,
            training=True,
        )
        return float((y * dy).sum() + (np.stack(state) * np.stack(dstate)).sum())

    slope = (loss(1) - loss(-1)) / (2 * STEP)
    assert abs(slope - (exact * direction).sum()) <= 100 * STEP**2 * (np.abs(exact).sum() + abs(loss(0)) + 1)


def test_ids_may_be_changed_before_backward(isa: str) -> None:
    case, by_id = embedded("gru", 5, (6, 4, 3, 7, {}))
    packed = functional.pack("gru", case.weights(np.float32), isa=isa)
    ids = by_id["ids"].copy()
    tape = functional.forward(packed, ids, embedding=by_id["embedding"], training=True).tape
    want = functional.backward(tape, case.arrays["dy"])
    ids[...] = 10**9
    got = functional.backward(tape, case.arrays["dy"])
    np.testing.assert_array_equal(got.dx, want.dx)
    spared = functional.backward(tape, case.arrays["dy"], input_gradient=False)
    assert spared.dx is None
    np.testing.assert_array_equal(spared.dweights[0], want.dweights[0])


WRONG = np.zeros((3, 2), np.int64)
BAD = [
    (ValueError, WRONG + 5, np.zeros((5, 4), np.float32)),
    (ValueError, WRONG - 1, np.zeros((5, 4), np.float32)),
    (ValueError, WRONG, np.zeros((0, 4), np.float32)),
    (ValueError, WRONG[0], np.zeros((5, 4), np.float32)),
    (ValueError, WRONG, np.zeros((5, 3), np.float32)),
    (ValueError, WRONG, np.zeros(4, np.float32)),
    (TypeError, WRONG, np.zeros((5, 4), np.float64)),
    (TypeError, WRONG, [[0.0] * 4] * 5),
    (TypeError, WRONG.astype(np.float32), np.zeros((5, 4), np.float32)),
    (TypeError, WRONG.tolist(), np.zeros((5, 4), np.float32)),
]


@pytest.mark.parametrize(("error", "ids", "embedding"), BAD)
def test_bad_input(error: type[Exception], ids: object, embedding: object) -> None:
    packed = pyrnnfast.LSTM(4, 3, rng=0).pack()
    refuses(error, lambda: functional.forward(packed, ids, embedding=embedding))


# --- The layers


@pytest.mark.parametrize("layout", ["time first", "batch first", "one sequence"])
@pytest.mark.parametrize("padding_idx", [None, 2])
def test_a_layer_trains_its_embedding(layout: str, padding_idx: int | None) -> None:
    rng = np.random.default_rng(1)
    embedding = pyrnnfast.Embedding(6, 5, padding_idx, rng=0)
    layer = pyrnnfast.LSTM(5, 7, 2, batch_first=layout == "batch first", rng=0)
    ids = rng.integers(6, size=(19,) if layout == "one sequence" else (19, 4))
    y, state = layer(ids, embedding=embedding)
    dy = rng.normal(size=y.shape).astype(np.float32)
    nothing, dstate = layer.backward(dy)
    assert nothing is None
    got = {name: value.copy() for module in (layer, embedding) for name, value in module.grads.items()}
    layer.zero_grad()
    embedding.zero_grad()
    want_y, want_state = layer(embedding(ids))
    dx, want_dstate = layer.backward(dy)
    embedding.backward(dx)
    np.testing.assert_array_equal(y, want_y)
    np.testing.assert_array_equal(state, want_state)
    np.testing.assert_array_equal(dstate, want_dstate)
    for module in (layer, embedding):
        for name, value in module.grads.items():
            np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-4, err_msg=name)
    if padding_idx is not None:
        assert not got["weight"][padding_idx].any()


def test_gradients_add_up_and_a_changed_embedding_is_refused() -> None:
    embedding, layer = pyrnnfast.Embedding(6, 5, rng=0), pyrnnfast.GRU(5, 7, rng=0)
    ids = np.arange(18).reshape(9, 2) % 6
    for _ in range(2):
        y, _ = layer(ids, embedding=embedding)
        layer.backward(np.ones_like(y))
    twice = embedding.grads["weight"].copy()
    embedding.zero_grad()
    layer(ids, embedding=embedding)
    layer.backward(np.ones_like(y))
    np.testing.assert_array_equal(twice, 2 * embedding.grads["weight"])
    layer(ids, embedding=embedding)
    with embedding.update():
        pass
    with pytest.raises(RuntimeError, match="embedding of the call, but it has changed"):
        layer.backward(np.ones_like(y))


@pytest.mark.parametrize(("error", "ids"), [(e, ids) for e, ids, _ in BAD[:2] + BAD[-2:]])
def test_bad_ids_of_a_layer(error: type[Exception], ids: object) -> None:
    refuses(error, lambda: pyrnnfast.LSTM(4, 3)(ids, embedding=pyrnnfast.Embedding(5, 4)))


def test_bad_embedding_of_a_layer() -> None:
    layer = pyrnnfast.LSTM(4, 3)
    refuses(TypeError, lambda: layer(WRONG, embedding=np.zeros((5, 4), np.float32)))
    refuses(TypeError, lambda: layer(WRONG, embedding=pyrnnfast.Embedding(5, 4, dtype=np.float64)))
    refuses(ValueError, lambda: layer(WRONG, embedding=pyrnnfast.Embedding(5, 3)))
    refuses(ValueError, lambda: layer(WRONG[:, :, None], embedding=pyrnnfast.Embedding(5, 4)))
