"""Gradients against central differences in float64, and dropout's forward against its backward."""

from __future__ import annotations

import numpy as np
import pytest
from numeric import CELLS, STEP, Case, make, run

from pyrnnfast import functional
from pyrnnfast.reference.philox import dropout_mask, philox

OPTIONS = [
    {},
    {"bias": False},
    {"layers": 2, "bidirectional": True},
    {"layers": 3, "lengths": (2, 0, 4), "bidirectional": True},
    {"layers": 3, "dropout": 0.4, "lengths": (4, 3, 1)},
]


def loss(case: Case, arrays: dict[str, np.ndarray], isa: str) -> float:
    """The sum of every output times its gradient, so that backward gives the gradient of just this."""
    weights = [value for name, value in arrays.items() if name.startswith("w")]
    packed = functional.pack(case.cell, weights, isa=isa, **case.options)
    pair = case.paired
    y, state, _ = functional.forward(
        packed,
        arrays["x"],
        (arrays["h0"], arrays["c0"]) if pair else arrays["h0"],
        case.lengths,
        dropout=case.dropout,
        seed=case.seed,
        training=True,
        **case.drops,
    )
    h, c = state if pair else (state, 0.0)
    return float((y * arrays["dy"]).sum() + (h * arrays["dh"]).sum() + (c * arrays["dc"] * pair).sum())


def differences_agree(cell: str, isa: str, **options: object) -> None:
    """One random direction through each array: x, the initial states, every weight and bias.

    Four points, so that the third derivative has no say: with gates that have no bounds it is large.
    """
    case = make(cell, 4, 3, 3, 5, away=20 * STEP, **options)
    gradients = run(case, np.float64, isa)
    base = {name: value.astype(np.float64) for name, value in case.arrays.items()}
    inputs = [name for name in base if "d" + name in gradients]
    assert len(inputs) == len([name for name in gradients if name.startswith("d")])
    rng = np.random.default_rng(0)
    for name in inputs:
        direction = rng.normal(size=base[name].shape)
        above, below, up, down = (
            loss(case, {**base, name: base[name] + steps * STEP * direction}, isa) for steps in (2, -2, 1, -1)
        )
        slope = (8 * (up - down) - (above - below)) / (12 * STEP)
        exact = float((gradients["d" + name] * direction).sum())
        scale = float(np.abs(gradients["d" + name]).sum()) + abs(up) + 1
        assert abs(slope - exact) <= 100 * STEP**2 * scale, name


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_central_differences(cell: str, options: dict, isa: str) -> None:
    differences_agree(cell, isa, **options)


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_is_the_documented_mask(cell: str, isa: str) -> None:
    """Two layers with dropout are one layer, the mask of Philox, and the other layer."""
    p, seed = 0.3, 2**63 + 12345
    case = make(cell, 5, 3, 4, 7, layers=2, bidirectional=True)
    weights, x = case.weights(np.float64), case.arrays["x"].astype(np.float64)
    half = len(weights) // 2

    def layer(part: list[np.ndarray], source: np.ndarray) -> np.ndarray:
        packed = functional.pack(cell, part, bidirectional=True, isa=isa)
        return functional.forward(packed, source, training=True).y

    kept = dropout_mask(5, 3, 14, p, seed, layer=0)
    want = layer(weights[half:], np.where(kept, layer(weights[:half], x) / (1 - p), 0))
    packed = functional.pack(cell, weights, isa=isa, **case.options)
    got = functional.forward(packed, x, dropout=p, seed=seed, training=True).y
    np.testing.assert_allclose(got, want, atol=1e-13)


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_of_everything(cell: str, isa: str) -> None:
    """With p = 1 the upper layer sees zeros, and nothing flows back through it."""
    case = make(cell, 4, 3, 5, 7, layers=2, dropout=1.0)
    packed = functional.pack(cell, case.weights(np.float32), isa=isa, **case.options)
    result = functional.forward(packed, case.arrays["x"], dropout=1.0, seed=1, training=True)
    assert np.isfinite(result.y).all()
    back = functional.backward(result.tape, case.arrays["dy"])
    assert not back.dx.any()
    assert not back.dweights[0].any()


def test_dropout_mask_has_the_right_share_and_depends_on_all() -> None:
    kept = dropout_mask(50, 20, 33, 0.25, seed=9, layer=0)
    deviation = np.sqrt(0.25 * 0.75 / kept.size)
    assert abs(kept.mean() - 0.75) < 5 * deviation
    for other in (dropout_mask(50, 20, 33, 0.25, 10, 0), dropout_mask(50, 20, 33, 0.25, 9, 1)):
        assert abs((kept == other).mean() - (0.75**2 + 0.25**2)) < 5 * deviation


@pytest.mark.parametrize(
    ("counter", "seed", "words"),
    [  # the known answers of Random123, Salmon et al.
        ((0,) * 4, 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, 2**64 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            0xA4093822 | (0x299F31D0 << 32),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(counter: tuple, seed: int, words: tuple) -> None:
    assert tuple(int(word) for word in philox(counter, seed)) == words
