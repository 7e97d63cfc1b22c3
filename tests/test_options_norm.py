"""Layer normalisation: against the float64 reference and PyTorch's own, gradients, bits, arguments."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from conftest import AWKWARD, refuses, require
from numeric import Case, assert_close, make, oracle, run, same_bits, same_for_any_threads
from test_recurrent_bits import part_of, rows_of
from test_recurrent_gradients import differences_agree

import pyrnnfast
from pyrnnfast import functional

DTYPES = [np.float32, np.float64]
CELLS = ("rnn_tanh", "lstm", "gru", "gru_reset_before")
NORM = {"layer_norm": True}
OPTIONS = [
    *((cell, NORM) for cell in CELLS),
    ("rnn_relu", {**NORM, "clip": 1.5}),
    (
        "lstm",
        {
            **NORM,
            "peephole": True,
            "clip": 2.5,
            "activations": ["sigmoid", "softsign", ("scaled_tanh", 0.9, 0.8)],
        },
    ),
    ("gru", {**NORM, "clip": 2.5, "activations": ["sigmoid", "softsign"]}),
    ("gru_reset_before", {**NORM, "activations": ["softsign", ("affine", 0.6, 0.1)]}),
]
"""Smooth ones: near a bend, errors that the normalisation stretches would count."""
LAYERS = {"RNN": pyrnnfast.RNN, "LSTM": pyrnnfast.LSTM, "GRU": pyrnnfast.GRU}


@pytest.mark.parametrize(("cell", "general"), OPTIONS, ids=str)
def test_every_option(cell: str, general: dict, isa: str) -> None:
    """Ragged rows, two threads; sizes around a vector's width."""
    for hidden in AWKWARD[len(str(general)) % 3 :: 3]:
        case = make(cell, 4, 9, 3, hidden, lengths=(4, 2, 0, 1, 3, 4, 4, 2, 3), general=general)
        same_for_any_threads(case, isa)


@pytest.mark.parametrize(("cell", "general"), OPTIONS, ids=str)
@pytest.mark.parametrize(
    ("steps", "rows", "inputs", "hidden", "options"),
    [
        (40, 17, 9, 17, {}),  # more than one block of 512 (step, row) pairs, more than one chunk
        (7, 5, 6, 16, {"layers": 2, "bidirectional": True, "bias": False, "lengths": (7, 0, 3, 6, 2)}),
        (3, 2, 4, 200, {"layers": 2, "dropout": 0.3}),  # units split over threads
        (5, 1, 3, 65, {"layers": 3}),
    ],
)
def test_stacks(
    cell: str, general: dict, steps: int, rows: int, inputs: int, hidden: int, options: dict, isa: str
) -> None:
    case = make(cell, steps, rows, inputs, hidden, general=general, **options)
    same_for_any_threads(case, isa)


@pytest.mark.parametrize(
    "options", [{}, {"layers": 2, "bidirectional": True, "bias": False, "lengths": (2, 0, 4)}], ids=str
)
@pytest.mark.parametrize(("cell", "general"), OPTIONS, ids=str)
def test_central_differences(cell: str, general: dict, options: dict, isa: str) -> None:
    differences_agree(cell, isa, general=general, **options)


@pytest.mark.parametrize("cell", CELLS)
def test_without_a_step_or_a_row_gradients_are_zero(cell: str, isa: str) -> None:
    for steps, rows, lengths in ((0, 3, None), (4, 0, None), (4, 2, (0, 0))):
        case = make(cell, steps, rows, 3, 5, lengths=lengths, general=NORM)
        results = run(case, np.float32, isa)
        assert all(not value.any() for name, value in results.items() if name.startswith("dw"))


@pytest.mark.parametrize("cell", CELLS)
def test_it_is_pytorchs(cell: str, isa: str) -> None:
    """The equations once more, on torch.nn.functional.layer_norm and autograd."""
    torch = require("torch")
    case = make(cell, 6, 3, 4, 7, general=NORM)
    leaf = {
        name: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for name, value in case.arrays.items()
    }
    w_ih, w_hh, b_ih, b_hh, g_ih, g_hh, *cell_norm = (
        leaf[f"w0.{i}"] for i in range(len(case.weights(np.float64)))
    )
    norm, H = torch.nn.functional.layer_norm, case.hidden

    def sums(x, weight, gain, bias):
        return norm(x @ weight.T, (len(weight),), gain, bias)

    h, c, outputs = leaf["h0"][0], leaf["c0"][0], []
    for x in leaf["x"]:
        a = sums(x, w_ih, g_ih, b_ih)
        if cell == "gru_reset_before":
            two = 2 * H
            r, z = torch.sigmoid(a[:, :two] + sums(h, w_hh[:two], g_hh[:two], b_hh[:two])).chunk(2, 1)
            n = torch.tanh(a[:, two:] + sums(r * h, w_hh[two:], g_hh[two:], b_hh[two:]))
            h = (1 - z) * n + z * h
        else:
            u = sums(h, w_hh, g_hh, b_hh)
            if cell == "rnn_tanh":
                h = torch.tanh(a + u)
            elif cell == "gru":
                r, z = torch.sigmoid((a + u)[:, : 2 * H]).chunk(2, 1)
                n = torch.tanh(a[:, 2 * H :] + r * u[:, 2 * H :])
                h = (1 - z) * n + z * h
            else:
                i, f, g, o = (a + u).chunk(4, 1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(norm(c, (H,), *cell_norm))
        outputs.append(h)
    y = torch.stack(outputs)
    loss = (y * leaf["dy"]).sum() + (h * leaf["dh"][0]).sum()
    if cell == "lstm":
        loss = loss + (c * leaf["dc"][0]).sum()
    loss.backward()
    got = run(case, np.float64, isa)
    np.testing.assert_allclose(got["y"], y.detach().numpy(), rtol=1e-10, atol=1e-12)
    for name in got:
        if name.startswith("d"):
            np.testing.assert_allclose(
                got[name], leaf[name[1:]].grad.numpy(), rtol=1e-8, atol=1e-10, err_msg=name
            )


@pytest.mark.parametrize("cell", CELLS)
def test_the_size_of_the_weights_has_no_say(cell: str, isa: str) -> None:
    """But for the epsilon."""
    case = make(cell, 5, 3, 40, 33, general=NORM)
    small = run(case, np.float64, isa)["y"]
    for name in ("w0.0", "w0.1"):
        case.arrays[name] *= 1024
    np.testing.assert_allclose(run(case, np.float64, isa)["y"], small, atol=1e-3)


@pytest.mark.parametrize("cell", CELLS)
def test_inference_is_training_without_a_tape(cell: str, isa: str) -> None:
    for steps, rows, hidden, options in ((5, 3, 9, {"layers": 2, "bidirectional": True}), (70, 5, 160, {})):
        case = make(cell, steps, rows, 4, hidden, general=NORM, **options)
        packed = functional.pack(cell, case.weights(np.float32), isa=isa, **case.options)
        state = case.pair("h0", "c0", np.float32)
        trained = functional.forward(packed, case.arrays["x"], state, training=True)
        for threads in (1, 2):
            quiet = functional.forward(packed, case.arrays["x"], state, num_threads=threads)
            np.testing.assert_array_equal(quiet.y, trained.y)
            np.testing.assert_array_equal(np.stack(quiet.state), np.stack(trained.state))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        (
            (40, 33, 65, 16),
            {"layers": 2, "bidirectional": True, "lengths": tuple((7 * n) % 41 for n in range(33))},
        ),
        ((110, 5, 33, 192), {}),  # units split over threads, of a row alone in some cells only
    ],
    ids=str,
)
def test_neighbours_chunks_and_threads_change_no_bit(
    cell: str, sizes: tuple, options: dict, isa: str
) -> None:
    if isa == "reference":
        pytest.skip("NumPy's products depend on the number of rows")
    case = make(cell, *sizes, general=NORM, **options)
    whole = run(case, np.float32, isa, num_threads=1)
    same_bits(run(case, np.float32, isa, num_threads=2), whole)
    for rows, num_threads in (([3], 2), ([4, 1, 2], 1)):
        same_bits(run(rows_of(case, rows), np.float32, isa, num_threads), part_of(whole, rows))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["x", "h0", "dy"])
@pytest.mark.parametrize("cell", CELLS)
def test_what_is_not_finite_stays_in_its_row(cell: str, where: str, bad: float, isa: str) -> None:
    case = make(cell, 5, 4, 9, 17, general=NORM)
    clean = run(case, np.float32, isa)
    case.arrays[where][0, 2] = bad
    same_bits(part_of(run(case, np.float32, isa), [0, 1, 3]), part_of(clean, [0, 1, 3]))


def test_units_that_only_pad_do_not_count(isa: str) -> None:
    """Their c doubles at each step, and soon is infinite."""
    general = {**NORM, "activations": [("affine", 0.0, 2.0), "sigmoid", "tanh"]}
    case = make("lstm", 1100, 2, 3, 5, general=general, with_state=False)
    case.arrays["w0.0"][...] = case.arrays["w0.1"][...] = 0
    case = Case(**{**vars(case), "steps": 9, "arrays": {**case.arrays, "x": case.arrays["x"][:9]}})
    case.arrays["dy"] = case.arrays["dy"][:9]
    for dtype in DTYPES:
        assert_close(case, run(case, dtype, isa), oracle(case), dtype)


def test_ids_are_read_as_their_rows(isa: str) -> None:
    case = make("lstm", 40, 3, 4, 9, general=NORM)
    rng = np.random.default_rng(0)
    embedding, ids = rng.normal(size=(5, 4)).astype(np.float32), rng.integers(5, size=(40, 3), dtype=np.int64)
    case.arrays["x"] = embedding[ids]
    want = run(case, np.float32, isa)
    got = run(case, np.float32, isa, ids=ids, embedding=embedding)
    dx = np.zeros_like(embedding)
    np.add.at(dx, ids, want.pop("dx"))
    np.testing.assert_allclose(got.pop("dx"), dx, rtol=1e-4, atol=1e-5)
    same_bits(got, want)


# --- Layers


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_trains_streams_and_copies(kind: str) -> None:
    own = {"reset_after": False} if kind == "GRU" else {"peephole": True} if kind == "LSTM" else {}
    layer = LAYERS[kind](3, 5, 2, layer_norm=True, rng=0, **own)
    assert layer.pack().options == layer.options
    x = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
    y, state = layer(x)
    layer.backward(np.ones_like(y))
    assert layer.grads.keys() == layer.state_dict().keys()
    assert all(np.isfinite(gradient).all() for gradient in layer.grads.values())
    stream = layer.stream(2)
    for step, want in zip(x, y, strict=True):
        np.testing.assert_array_equal(stream(step), want)
    np.testing.assert_array_equal(np.stack(stream.state), np.stack(state))
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin.eval()(x)[0], y)
    assert "layer_norm=True" in repr(layer)
    again = eval(repr(layer), {**LAYERS})
    again.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(again(x)[0], y)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_gains_begin_at_one_and_biases_at_zero(kind: str, bias: bool) -> None:
    layer = LAYERS[kind](3, 4, bidirectional=True, bias=bias, layer_norm=True, rng=0)
    gates = {"RNN": 1, "LSTM": 4, "GRU": 3}[kind]
    for reverse in ("", "_reverse"):
        sizes = {"norm_ih_weight_l0": 4 * gates, "norm_hh_weight_l0": 4 * gates}
        sizes |= {"norm_c_weight_l0": 4} if kind == "LSTM" else {}
        zeros = {"bias_ih_l0": 4 * gates, "bias_hh_l0": 4 * gates} if bias else {}
        zeros |= {"norm_c_bias_l0": 4} if bias and kind == "LSTM" else {}
        values = {
            name: value
            for name, value in layer.state_dict().items()
            if name.endswith("reverse") == bool(reverse)
        }
        assert len(values) == 2 + len(sizes) + len(zeros)
        for names, value in ((sizes, 1), (zeros, 0)):
            for name, size in names.items():
                np.testing.assert_array_equal(values[name + reverse], np.full(size, value, np.float32))
    assert "layer_norm" not in repr(LAYERS[kind](3, 4))


def test_the_forget_gates_bias_is_what_it_is_told() -> None:
    layer = pyrnnfast.LSTM(3, 4, layer_norm=True, forget_bias=1.0, rng=0)
    assert layer.state_dict()["bias_ih_l0"].tolist() == [0] * 4 + [1] * 4 + [0] * 8


def test_arguments() -> None:
    for kind in LAYERS.values():
        refuses(TypeError, lambda kind=kind: kind(3, 4, layer_norm=1))
    refuses(ValueError, lambda: pyrnnfast.LSTM(3, 4, layer_norm=True, coupled=True))
    case = make("lstm", 1, 1, 3, 4, general=NORM)
    weights = case.weights(np.float32)
    functional.pack("lstm", weights, layer_norm=True)
    refuses(ValueError, lambda: functional.pack("lstm", weights))
    refuses(ValueError, lambda: functional.pack("lstm", weights[:-1], layer_norm=True))
    refuses(ValueError, lambda: functional.pack("gru", weights, layer_norm=True))
    weights[-1] = np.ones(5, np.float32)
    refuses(ValueError, lambda: functional.pack("lstm", weights, layer_norm=True))


def test_onnx_cannot_say_it() -> None:
    require("onnx")
    from pyrnnfast.onnx import to_onnx

    refuses(ValueError, lambda: to_onnx(pyrnnfast.GRU(3, 4, layer_norm=True)))


@pytest.mark.parametrize("bidirectional", [False, True])
def test_with_clipped_cells_and_merged_directions(bidirectional: bool) -> None:
    general: dict[str, object] = {"layer_norm": True, "cell_clip": 0.5, "peephole": True}
    general |= {"merge": "mul"} if bidirectional else {}
    case = make("lstm", 5, 3, 4, 7, layers=2, bidirectional=bidirectional, general=general)
    assert_close(case, run(case, np.float64), oracle(case), np.float64)


def test_a_projection_is_refused() -> None:
    refuses(ValueError, lambda: pyrnnfast.LSTM(3, 4, proj_size=2, layer_norm=True))
