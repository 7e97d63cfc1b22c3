"""Zoneout: the reference, central differences, and its equations step by step."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from conftest import AWKWARD, refuses, require
from general import turn
from numeric import CELLS, Case, assert_close, make, oracle, run, same_for_any_threads
from test_recurrent_gradients import differences_agree

import pyrnnfast
from pyrnnfast import cell_options, functional, reference
from pyrnnfast.models import LanguageModel
from pyrnnfast.reference.philox import PURPOSE_ZONE_C, PURPOSE_ZONE_H, kept
from pyrnnfast.text import Vocabulary

PLAIN = [
    *((cell, {"zoneout": 0.3}) for cell in CELLS if cell != "lstm"),
    ("lstm", {"zoneout": (0.4, 0.3)}),
]
OPTIONS = [
    *PLAIN,
    ("lstm", {"zoneout": (0.0, 0.3)}),
    ("lstm", {"zoneout": (0.3, 0)}),
    ("lstm", {"zoneout": (0.3, 0.2), "peephole": True, "clip": 0.5, "activations": turn("lstm", 1)}),
    ("lstm", {"zoneout": (0.3, 0.2), "peephole": True, "coupled": True}),
    ("gru", {"zoneout": 0.5, "clip": 0.4, "activations": turn("gru", 7)}),
    ("gru_reset_before", {"zoneout": 0.1, "clip": 0.4, "activations": turn("gru_reset_before", 2)}),
    ("lstm", {"zoneout": (0.3, 0.2), "proj_size": 4, "proj_clip": 0.2, "cell_clip": 0.3}),
    ("gru", {"zoneout": 0.3, "proj_size": 4}),
    ("lstm", {"zoneout": (0.3, 0.2), "layer_norm": True, "peephole": True, "cell_clip": 0.5}),
    ("gru_reset_before", {"zoneout": 0.3, "layer_norm": True}),
]
LAYERS = {name: (getattr(pyrnnfast, name), 0.2) for name in ("RNN", "GRU", "OneGateGRU")}
LAYERS["LSTM"] = (pyrnnfast.LSTM, (0.1, 0.2))
DROPS = {"input_dropout": 0.2, "recurrent_dropout": 0.3}


@pytest.mark.parametrize(("cell", "general"), OPTIONS, ids=str)
def test_central_differences(cell: str, general: dict, isa: str) -> None:
    differences_agree(cell, isa, general=general)
    stack = {"layers": 2, "bidirectional": True, "bias": False, "lengths": (2, 0, 4), "drops": DROPS}
    differences_agree(cell, isa, general=general, **stack)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("cell", "general"), OPTIONS, ids=str)
@pytest.mark.parametrize(
    ("steps", "rows", "inputs", "hidden", "options"),
    [
        (40, 17, 9, 17, {"lengths": tuple((7 * n) % 41 for n in range(17))}),  # several chunks and blocks
        (7, 5, 6, 16, {"layers": 2, "bidirectional": True, "bias": False, "lengths": (7, 0, 3, 6, 2)}),
        (3, 2, 4, 200, {"layers": 2, "drops": DROPS}),  # units split over threads
    ],
    ids=str,
)
def test_against_the_reference(
    cell: str,
    general: dict,
    steps: int,
    rows: int,
    inputs: int,
    hidden: int,
    options: dict,
    dtype: type,
    isa: str,
) -> None:
    case = make(cell, steps, rows, inputs, hidden, general=general, **options)
    same_for_any_threads(case, isa, [dtype])


@pytest.mark.parametrize("hidden", AWKWARD)
def test_awkward_sizes(hidden: int, isa: str) -> None:
    cell, general = PLAIN[hidden % len(PLAIN)]
    case = make(cell, 3, 4, 2, hidden, general=general, lengths=(3, 1, 0, 2))
    for dtype in (np.float32, np.float64):
        assert_close(case, run(case, dtype, isa), oracle(case), dtype)


def test_a_unit_keeps_its_value_or_takes_the_new_one(isa: str) -> None:
    """The masks that are documented, to the bit, at step 1 of a reverse direction."""
    case = make("lstm", 2, 6, 3, 9, bidirectional=True, general={"zoneout": (0.4, 0.3)}, seed=2**63 + 7)
    zoned = run(case, np.float32, isa)
    weights, state = case.weights(np.float32), case.pair("h0", "c0", np.float32)
    packed = functional.pack("lstm", weights, isa=isa, bidirectional=True, zoneout=(0.4, 0.3))
    first = functional.forward(packed, case.arrays["x"][1:], state, seed=case.seed, training=True)
    h, c = first.state  # of the reverse direction, which begins with the last step
    keeps_c, keeps_h = (
        ~kept(2, 6, 9, p, case.seed, 1, purpose)
        for p, purpose in ((0.4, PURPOSE_ZONE_C), (0.3, PURPOSE_ZONE_H))
    )
    np.testing.assert_array_equal(h[1][keeps_h[0]], state[0][1][keeps_h[0]])
    np.testing.assert_array_equal(c[1][keeps_c[0]], state[1][1][keeps_c[0]])
    np.testing.assert_array_equal(zoned["h"][1] == h[1], keeps_h[1])
    np.testing.assert_array_equal(zoned["c"][1] == c[1], keeps_c[1])


@pytest.mark.parametrize(("cell", "general"), OPTIONS, ids=str)
def test_inference_is_the_expectation(cell: str, general: dict, isa: str) -> None:
    case = make(cell, 6, 5, 4, 9, layers=2, bidirectional=True, general=general, lengths=(6, 2, 0, 5, 6))
    options = cell_options.check(cell, 2, **general)
    exact = reference.Pack(cell, case.weights(np.float64), 2, True, True, options=options)
    get = {name: case.arrays[name].astype(np.float64) for name in ("x", "h0", "c0")}
    c0 = get["c0"] if case.paired else None
    want = reference.forward(exact, get["x"], get["h0"], c0, np.array(case.lengths), 0.0, 0, False, 0)
    for dtype, tolerance in ((np.float32, 2e-5), (np.float64, 1e-13)):
        packed = functional.pack(cell, case.weights(dtype), isa=isa, **case.options)
        state = case.pair("h0", "c0", dtype)
        got = functional.forward(packed, case.arrays["x"].astype(dtype), state, case.lengths)
        np.testing.assert_allclose(got.y, want[0], atol=tolerance)
        parts = got.state if case.paired else (got.state,)
        for part, exactly in zip(parts, want[1:], strict=False):
            np.testing.assert_allclose(part, exactly, atol=tolerance)


@pytest.mark.parametrize("cell", CELLS)
def test_one_step_of_inference(cell: str, isa: str) -> None:
    """p h' + (1 - p) h, and the same of c, from the plain cell's step."""
    case = make(cell, 1, 3, 4, 9)
    weights, state = case.weights(np.float64), case.pair("h0", "c0", np.float64)
    chances = (0.25, 0.5) if cell == "lstm" else 0.5
    x = case.arrays["x"].astype(np.float64)
    plain, zoned = (
        functional.forward(functional.pack(cell, weights, isa=isa, **options), x, state).state
        for options in ({}, {"zoneout": chances})
    )
    old, new, got = (part if cell == "lstm" else (part,) for part in (state, plain, zoned))
    for before, after, part, p in zip(old, new, got, (0.5, 0.25), strict=False):
        np.testing.assert_allclose(part, p * before + (1 - p) * after, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("cell", CELLS)
def test_what_is_not_finite_stays_in_its_row(cell: str, isa: str) -> None:
    case = make(cell, 5, 7, 9, 17, layers=2, general=dict(PLAIN)[cell])
    clean = run(case, np.float32, isa)
    case.arrays["x"][0, 3] = np.nan
    spoiled = run(case, np.float32, isa)
    for name in ("y", "h", "dx", "dh0"):
        np.testing.assert_array_equal(np.delete(spoiled[name], 3, 1), np.delete(clean[name], 3, 1))


def test_an_embedding_is_read_by_id(isa: str) -> None:
    case: Case = make("gru", 40, 3, 4, 9, general={"zoneout": 0.5})
    rng = np.random.default_rng(0)
    embedding, ids = rng.normal(size=(5, 4)).astype(np.float32), rng.integers(5, size=(40, 3))
    case.arrays["x"] = embedding[ids]
    want = run(case, np.float32, isa)
    got = run(case, np.float32, isa, ids=ids, embedding=embedding)
    np.testing.assert_array_equal(got["y"], want["y"])


# --- Layers


@pytest.mark.parametrize(
    ("kind", "bad", "error"),
    [
        ("RNN", 1, ValueError),
        ("RNN", -0.1, ValueError),
        ("GRU", (0.1, 0.1), ValueError),
        ("GRU", "0.1", TypeError),
        ("GRU", (), ValueError),
        ("LSTM", (), ValueError),
        ("LSTM", np.array([0.1, 0.1, 0.1]), ValueError),
        ("LSTM", np.array(0.1), TypeError),
        ("LSTM", np.array([[0.1, 0.1]]), TypeError),
        ("LSTM", 0.1, TypeError),
        ("LSTM", (0.1,), ValueError),
        ("LSTM", (0.1, 1.0), ValueError),
        ("LSTM", (float("nan"), 0.0), ValueError),
        ("LSTM", (True, 0.0), TypeError),
    ],
)
def test_refused(kind: str, bad: object, error: type) -> None:
    refuses(error, lambda: LAYERS[kind][0](3, 4, zoneout=bad))


def test_a_seed_is_needed_in_training() -> None:
    packed = pyrnnfast.GRU(3, 4, rng=0, zoneout=0.5).pack()
    x = np.ones((3, 2, 3), np.float32)
    refuses(ValueError, lambda: functional.forward(packed, x, training=True))
    functional.forward(packed, x)
    one, two = (functional.forward(packed, x, training=True, seed=seed).y for seed in (1, 2))
    assert (one != two).any()


def test_without_zoneout_the_cell_is_plain() -> None:
    assert pyrnnfast.LSTM(3, 4, zoneout=(0, 0.0)).options is None
    assert pyrnnfast.GRU(3, 4, zoneout=0).pack().options is None
    for make_layer, _ in LAYERS.values():
        assert make_layer(3, 4, zoneout=None).options is None


def test_numpys_numbers_are_numbers() -> None:
    for pair in (np.array([0.1, 0.2]), (np.float64(0.1), np.float64(0.2)), [0.1, 0.2]):
        assert pyrnnfast.LSTM(3, 4, zoneout=pair).zoneout == (0.1, 0.2)
    assert pyrnnfast.GRU(3, 4, zoneout=np.float64(0.1)).zoneout == 0.1


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_trains_streams_and_copies(kind: str) -> None:
    make_layer, zoneout = LAYERS[kind]
    layer = make_layer(3, 5, 2, zoneout=zoneout, rng=0)
    assert repr(layer) == f"{kind}(3, 5, num_layers=2, zoneout={zoneout})"
    x = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
    first, second = layer(x)[0], layer(x)[0]
    assert (first != second).any()
    layer.backward(np.ones_like(first))
    assert all(np.isfinite(gradient).all() for gradient in layer.grads.values())
    refuses(ValueError, layer.stream)
    y, _ = layer.eval()(x)
    stream = layer.stream(2)
    for step, want in zip(x, y, strict=True):
        np.testing.assert_array_equal(stream(step), want)
    again = eval(repr(layer), {kind: make_layer})
    again.load_state_dict(layer.state_dict())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), again.eval()):
        np.testing.assert_array_equal(twin(x)[0], y)


def test_a_language_model_samples_and_is_not_saved_without_it(tmp_path) -> None:
    model = LanguageModel(Vocabulary.from_text("abc"), embedding=3, hidden=4, rng=0)
    model.recurrent = pyrnnfast.LSTM(3, 4, zoneout=(0.5, 0.5), rng=0)
    assert len(model.eval().sample("a", length=3, seed=0)[0]) <= 3
    refuses(ValueError, lambda: model.save(tmp_path / "model.safetensors"))


def test_onnx_cannot_say_it() -> None:
    require("onnx")
    from pyrnnfast.onnx import to_onnx

    refuses(ValueError, lambda: to_onnx(pyrnnfast.GRU(3, 4, zoneout=0.5)))
