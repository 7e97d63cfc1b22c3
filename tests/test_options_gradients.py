"""Cells with options: gradients against central differences in float64."""

from __future__ import annotations

import numpy as np
import pytest
from general import EVERY_ACTIVATION, OPTIONS, turn
from numeric import make, run
from test_recurrent_gradients import differences_agree

SHAPES = [{}, {"layers": 2, "bidirectional": True, "bias": False, "lengths": (2, 0, 4)}]


@pytest.mark.parametrize("options", SHAPES, ids=str)
@pytest.mark.parametrize(("cell", "general"), OPTIONS, ids=str)
def test_options(cell: str, general: dict, options: dict, isa: str) -> None:
    differences_agree(cell, isa, general=general, **options)


@pytest.mark.parametrize(("cell", "general"), EVERY_ACTIVATION, ids=str)
def test_activations(cell: str, general: dict, isa: str) -> None:
    differences_agree(cell, isa, general=general)


@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "gru", "gru_reset_before", "one_gate_gru"])
def test_directions_with_activations_of_their_own(cell: str, isa: str) -> None:
    general = {"activations": turn(cell, 5, directions=2)}
    differences_agree(cell, isa, bidirectional=True, general=general)


def test_what_is_clipped_has_no_gradient(isa: str) -> None:
    """A clip so narrow that every sum is outside."""
    for cell in ("rnn_tanh", "lstm", "gru", "gru_reset_before", "one_gate_gru"):
        results = run(make(cell, 4, 3, 3, 5, general={"clip": 1e-7}), np.float64, isa)
        assert not results["dx"].any(), cell
        assert not results["dw0.1"].any(), cell
