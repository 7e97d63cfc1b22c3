"""Dropout of whole sequences, input_dropout and recurrent_dropout: the reference, and the equations."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from conftest import AWKWARD, refuses, require
from numeric import CELLS, Case, assert_close, make, oracle, run, same_for_any_threads
from test_recurrent_gradients import differences_agree

import pyrnnfast
from pyrnnfast import functional
from pyrnnfast.models import LanguageModel
from pyrnnfast.reference.dropout import sequence_factors
from pyrnnfast.reference.philox import PURPOSE_INPUT, PURPOSE_RECURRENT
from pyrnnfast.text import Vocabulary

BOTH = {"input_dropout": 0.2, "recurrent_dropout": 0.3}
DROPS = [{"input_dropout": 0.4}, {"recurrent_dropout": 0.4}, BOTH]
LAYERS = {name: getattr(pyrnnfast, name) for name in ("RNN", "LSTM", "GRU", "OneGateGRU")}
RAGGED = tuple((7 * n) % 41 for n in range(17))


@pytest.mark.parametrize("drops", DROPS, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_central_differences(cell: str, drops: dict, isa: str) -> None:
    differences_agree(cell, isa, drops=drops)


@pytest.mark.parametrize("cell", CELLS)
def test_central_differences_of_stacks(cell: str, isa: str) -> None:
    ragged = {"layers": 2, "bidirectional": True, "lengths": (2, 0, 4), "dropout": 0.3}
    differences_agree(cell, isa, drops=BOTH, **ragged)
    differences_agree(cell, isa, drops=BOTH, general={"clip": 0.4})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("steps", "rows", "inputs", "hidden", "options"),
    [
        (40, 17, 9, 17, {"lengths": RAGGED}),  # several chunks and blocks
        (7, 5, 6, 16, {"layers": 2, "bidirectional": True, "bias": False, "lengths": (7, 0, 3, 6, 2)}),
        (3, 2, 4, 200, {"layers": 2, "dropout": 0.3}),  # units split over threads
        (5, 33, 3, 31, {"layers": 2, "with_state": False}),  # rows split over threads
        (3, 0, 2, 3, {}),
        (0, 2, 2, 3, {"layers": 2}),
    ],
    ids=str,
)
def test_against_the_reference(
    cell: str, steps: int, rows: int, inputs: int, hidden: int, options: dict, dtype: type, isa: str
) -> None:
    case = make(cell, steps, rows, inputs, hidden, drops=BOTH, **options)
    same_for_any_threads(case, isa, [dtype])


@pytest.mark.parametrize("hidden", AWKWARD)
def test_awkward_sizes(hidden: int, isa: str) -> None:
    cell = CELLS[hidden % len(CELLS)]
    case = make(cell, 3, 4, AWKWARD[hidden % 7], hidden, drops=BOTH, lengths=(3, 1, 0, 2))
    for dtype in (np.float32, np.float64):
        assert_close(case, run(case, dtype, isa), oracle(case), dtype)


def factors(case: Case, name: str, units: int, k: int = 0) -> np.ndarray:
    purpose = {"input_dropout": PURPOSE_INPUT, "recurrent_dropout": PURPOSE_RECURRENT}[name]
    return sequence_factors(case.rows, units, case.drops[name], case.seed, k, purpose, np.float64)


@pytest.mark.parametrize("cell", CELLS)
def test_input_dropout_is_one_mask_on_x(cell: str, isa: str) -> None:
    case = make(cell, 6, 5, 7, 9, drops={"input_dropout": 0.5}, seed=2**63 + 1)
    mask = factors(case, "input_dropout", 7)
    assert set(np.unique(mask)) == {0.0, 2.0}
    got = run(case, np.float64, isa)
    plain = Case(**{**vars(case), "drops": {}, "arrays": {**case.arrays, "x": case.arrays["x"] * mask}})
    want = run(plain, np.float64, isa)
    want["dx"] *= mask
    for name in want:
        np.testing.assert_allclose(got[name], want[name], rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu", "lstm", "jordan"])
def test_recurrent_dropout_is_one_mask_on_the_product(cell: str, isa: str) -> None:
    """Step by step, with the mask on the state that the plain cell gets."""
    case = make(cell, 6, 5, 7, 9, drops={"recurrent_dropout": 0.5})
    got, mask = run(case, np.float64, isa), factors(case, "recurrent_dropout", 9)
    packed = functional.pack(cell, case.weights(np.float64), isa=isa)
    state = case.pair("h0", "c0", np.float64)
    for x, y in zip(case.arrays["x"].astype(np.float64), got["y"], strict=True):
        seen = (state[0] * mask, state[1]) if cell == "lstm" else state * mask
        step = functional.forward(packed, x[np.newaxis], seen)
        np.testing.assert_allclose(step.y[0], y, rtol=1e-12, atol=1e-12)
        state = step.state


@pytest.mark.parametrize("cell", ["gru", "gru_reset_before"])
def test_the_direct_path_of_a_gru_is_not_dropped(cell: str, isa: str) -> None:
    """With z = 1, which a large bias makes, h' comes through whole, even with no product at all."""
    case = make(cell, 4, 3, 5, 7, drops={"recurrent_dropout": 1.0})
    case.arrays["w0.2"][7:14] = 100.0
    results = run(case, np.float32, isa)
    np.testing.assert_allclose(results["h"], case.arrays["h0"], atol=1e-5)
    assert not results["dw0.1"].any()


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_of_every_input_and_state(cell: str, isa: str) -> None:
    """What is dropped may be infinite; nothing flows back to it."""
    case = make(cell, 4, 3, 5, 7, layers=2, drops={"input_dropout": 1.0, "recurrent_dropout": 1.0})
    want = run(case, np.float32, isa)
    case.arrays["x"][:] = np.inf
    got = run(case, np.float32, isa)
    if isa != "reference":
        np.testing.assert_array_equal(got["y"], want["y"])
    assert not want["dx"].any()
    assert not want["dw0.0"].any()
    assert not want["dw0.1"].any()


@pytest.mark.parametrize("cell", CELLS)
def test_inference_is_plain(cell: str, isa: str) -> None:
    case = make(cell, 5, 3, 4, 9, layers=2, bidirectional=True)
    packed = functional.pack(cell, case.weights(np.float32), isa=isa, **case.options)
    plain = functional.forward(packed, case.arrays["x"])
    dropped = functional.forward(packed, case.arrays["x"], **BOTH, dropout=0.5)
    np.testing.assert_array_equal(dropped.y, plain.y)


def test_an_embedding_is_read_by_id(isa: str) -> None:
    case = make("lstm", 40, 3, 4, 9, drops=BOTH)
    rng = np.random.default_rng(0)
    embedding, ids = rng.normal(size=(5, 4)).astype(np.float32), rng.integers(5, size=(40, 3))
    case.arrays["x"] = embedding[ids]
    want = run(case, np.float32, isa)
    got = run(case, np.float32, isa, ids=ids, embedding=embedding)
    np.testing.assert_array_equal(got["y"], want["y"])
    summed = np.zeros((5, 4), np.float32)
    np.add.at(summed, ids, want["dx"])
    np.testing.assert_allclose(got["dx"], summed, rtol=1e-4, atol=1e-5)


def test_a_tape_may_be_used_twice(isa: str) -> None:
    case = make("gru_reset_before", 6, 5, 7, 15, layers=2, bidirectional=True)
    packed = functional.pack(case.cell, case.weights(np.float32), isa=isa, **case.options)
    tape = functional.forward(packed, case.arrays["x"], **BOTH, seed=5, training=True).tape
    first, second = (functional.backward(tape, case.arrays["dy"]) for _ in range(2))
    for one, two in zip([first.dx, *first.dweights], [second.dx, *second.dweights], strict=True):
        np.testing.assert_array_equal(one, two)


# --- Layers


@pytest.mark.parametrize("name", ["input_dropout", "recurrent_dropout"])
@pytest.mark.parametrize("kind", LAYERS)
def test_refused(kind: str, name: str) -> None:
    for bad, error in ((-0.1, ValueError), (1.1, ValueError), (float("nan"), ValueError), ("0.5", TypeError)):
        refuses(error, lambda bad=bad: LAYERS[kind](3, 4, **{name: bad}))
    packed = LAYERS[kind](3, 4, rng=0).pack()
    x = np.zeros((2, 1, 3), np.float32)
    refuses(ValueError, lambda: functional.forward(packed, x, training=True, **{name: 0.5}))
    refuses(ValueError, lambda: functional.forward(packed, x, training=True, seed=0, **{name: 2}))
    with pytest.raises(TypeError, match=f"{kind}.*unexpected keyword argument 'recurrent_drop'"):
        LAYERS[kind](3, 4, recurrent_drop=0.5)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_draws_anew_at_each_call(kind: str) -> None:
    x = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)

    def calls(rng: Any) -> list[np.ndarray]:
        layer = LAYERS[kind](3, 5, 2, rng=rng, **BOTH)
        results = []
        for _ in range(2):
            y, _ = layer(x)
            results += [y, layer.backward(np.ones_like(y))[0]]
        return [*results, *layer.grads.values()]

    first, again = calls(3), calls(3)
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first[0] != first[2]).any()


@pytest.mark.parametrize("kind", LAYERS)
def test_copies_and_eval(kind: str) -> None:
    layer = LAYERS[kind](3, 5, 2, rng=0, **BOTH)
    assert repr(layer) == f"{kind}(3, 5, num_layers=2, input_dropout=0.2, recurrent_dropout=0.3)"
    plain = LAYERS[kind](3, 5, 2)
    plain.load_state_dict(layer.state_dict())
    x = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
    want = plain.eval()(x)[0]
    copies = (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), eval(repr(layer), {**LAYERS}))
    for twin in (layer, *copies):
        twin.load_state_dict(layer.state_dict())
        assert repr(twin) == repr(layer)
        np.testing.assert_array_equal(twin.eval()(x)[0], want)
        np.testing.assert_array_equal(twin.stream(2)(x[0]), want[0])
        assert (twin.train()(x)[0] != want).any()


def test_no_stream_in_training() -> None:
    for name in BOTH:
        refuses(ValueError, pyrnnfast.GRU(3, 4, **{name: 0.1}).stream)
    pyrnnfast.GRU(3, 4, 2, dropout=0.5, **BOTH).eval().stream()


def test_a_language_model_is_not_saved_without_it(tmp_path) -> None:
    model = LanguageModel(Vocabulary.from_text("abc"), embedding=3, hidden=4, rng=0)
    model.recurrent = pyrnnfast.LSTM(3, 4, input_dropout=0.5, rng=0)
    refuses(ValueError, lambda: model.save(tmp_path / "model.safetensors"))


def test_onnx_has_what_eval_computes() -> None:
    require("onnx")
    from pyrnnfast.onnx import to_onnx

    assert to_onnx(pyrnnfast.LSTM(3, 4, rng=0, **BOTH)) == to_onnx(pyrnnfast.LSTM(3, 4, rng=0))
