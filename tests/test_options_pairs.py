"""Options together: every pair that a cell may have, among others at random, against the reference."""

from __future__ import annotations

import math
import zlib
from itertools import combinations

import numpy as np
import pytest
from conftest import refuses
from general import COUNTS
from numeric import Case, forward_tolerance, make, run, same_for_any_threads
from test_options_backward import by_reference, norms
from test_recurrent_gradients import differences_agree

from pyrnnfast import cell_options, outputs, validation

SMOOTH = ["sigmoid", "softsign", ("scaled_tanh", 0.9, 0.8)]
"""Near a bend, errors that layer normalisation stretches would count."""
LSTM = {"peephole": True, "coupled": True, "cell_clip": 0.2}
DROPS = {"input_dropout": 0.2, "recurrent_dropout": 0.3}
STACK = {"bidirectional": True, "layers": 2, "dropout": 0.3, "lengths": (4, 0, 2, 4, 3), "bias": False}
EXCLUDED = [{"layer_norm", "coupled"}, {"layer_norm", "proj_size"}]
"""Refused together."""
NEVER = [*EXCLUDED, {"layer_norm", "proj_clip"}]


def choices(cell: str) -> dict[str, object]:
    """What the cell may have, but for the shape of the stack."""
    general: dict[str, object] = {"clip": 0.7, "activations": SMOOTH[: COUNTS[cell]], "grad_clip": 0.1}
    general["zoneout"] = (0.3, 0.2) if cell == "lstm" else 0.3
    general |= LSTM if cell == "lstm" else {}
    general |= {"layer_norm": True} if cell not in ("jordan", "one_gate_gru") else {}
    general |= {"proj_size": 3} if cell in outputs.PROJECTED else {}
    general |= {"proj_clip": 0.1} if cell == "lstm" else {}
    return {**general, "merge": "mul", **DROPS, **STACK}


def mixed(cell: str, pair: tuple[str, str]) -> list[str]:
    """Name the pair, what it needs, and each of the others by chance."""
    rng = np.random.default_rng(zlib.crc32(f"{cell}{pair}".encode()))
    taken = list(pair)
    for name in rng.permutation(list(choices(cell))).tolist():
        allowed = not any(name in each and each & set(taken) for each in EXCLUDED)
        if name not in taken and rng.random() < 0.3 and allowed:
            taken.append(name)
    if "proj_clip" in taken and "proj_size" not in taken:
        taken = [name for name in taken if name != "proj_clip" or "layer_norm" not in taken]
        taken += ["proj_size"] * ("proj_clip" in taken)
    taken += ["bidirectional"] * ("merge" in taken and "bidirectional" not in taken)
    return taken


def mixes() -> list[tuple[str, tuple[str, ...]]]:
    """One for each pair that none before it has."""
    found = []
    for cell in validation.GATES:
        seen: set[frozenset[str]] = {frozenset(pair) for pair in NEVER}
        for pair in combinations(choices(cell), 2):
            if frozenset(pair) not in seen:
                taken = mixed(cell, pair)
                seen |= {frozenset(each) for each in combinations(taken, 2)}
                found.append((cell, tuple(taken)))
    return found


def arguments(cell: str, taken: tuple[str, ...]) -> dict[str, object]:
    """Those of a case."""
    given = {name: choices(cell)[name] for name in taken}
    options = {name: given.pop(name) for name in STACK if name in given}
    drops = {name: given.pop(name) for name in DROPS if name in given}
    return {**options, "drops": drops, "general": given, "seed": len(str(taken))}


@pytest.mark.parametrize(("cell", "taken"), mixes(), ids=str)
def test_against_the_reference(cell: str, taken: tuple[str, ...], isa: str) -> None:
    case = make(cell, 4, 5, 3, (7, 9, 17)[len(taken) % 3], **arguments(cell, taken))
    same_for_any_threads(case, isa)
    want = by_reference(case)
    tolerance = 2 * forward_tolerance(case, np.float64) * max(1.0, float(want.max(initial=0)))
    np.testing.assert_allclose(norms(case, np.float64, isa, num_threads=2), want, atol=tolerance)


@pytest.mark.parametrize(("cell", "taken"), mixes()[::2], ids=str)
def test_central_differences(cell: str, taken: tuple[str, ...], isa: str) -> None:
    """A clip of gradients is none that a difference shows."""
    given = arguments(cell, tuple(name for name in taken if name != "grad_clip"))
    if "lengths" in given:
        given["lengths"] = (2, 0, 4)
    differences_agree(cell, isa, **given)


@pytest.mark.parametrize("cell", validation.GATES)
def test_threads_that_split_units_or_rows(cell: str, isa: str) -> None:
    """All that a cell may have at once."""
    every = choices(cell)
    general = {name: value for name, value in every.items() if name not in (*DROPS, *STACK)}
    general.pop("coupled", None)
    for out in ("layer_norm", "proj_size"):
        given = {name: value for name, value in general.items() if name != out}
        if "proj_size" in given:
            given["proj_size"] = 70
        else:
            given.pop("proj_clip", None)
        for steps, rows, hidden in ((3, 2, 130), (12, 40, 130)):
            case = make(
                cell, steps, rows, 5, hidden, general=given, drops=DROPS, bidirectional=True, away=0.0
            )
            same_for_any_threads(case, isa, [np.float64])


def test_a_clip_comes_before_zoneout(isa: str) -> None:
    """A unit that keeps an old value beyond the clip keeps it whole."""
    case: Case = make("lstm", 1, 4, 3, 9, general={"cell_clip": 0.2, "zoneout": (0.5, 0.0)}, seed=3)
    case.arrays["c0"][...] = 5.0
    c = run(case, np.float64, isa)["c"]
    assert set(np.unique(c[c > 0.2])) == {5.0}
    assert np.abs(c[c < 5]).max() <= 0.2
    case = make(
        "lstm", 1, 4, 3, 9, general={"proj_size": 4, "proj_clip": 0.01, "zoneout": (0.0, 0.5)}, seed=3
    )
    h, h0 = run(case, np.float64, isa)["h"], case.arrays["h0"]
    kept = h == h0
    assert 0 < kept.sum() < kept.size
    assert np.abs(h[~kept]).max() <= 0.01


@pytest.mark.parametrize("pair", EXCLUDED, ids=lambda pair: "-".join(sorted(pair)))
def test_what_makes_no_sense_is_refused(pair: set[str]) -> None:
    given = {name: choices("lstm")[name] for name in pair}
    refuses(ValueError, lambda: cell_options.check("lstm", 1, **given))
    for name in pair:
        found = cell_options.check("lstm", 1, **{name: given[name]})
        assert found is not None
        assert found.grad_clip == math.inf
