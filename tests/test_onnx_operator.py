"""A node's calls: weights that change meanwhile, and rows of no steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import require
from onnx_models import DIRECTIONS, OPERATORS, agree, draw, make_model, make_node, node_model, runtime

from pyrnnfast import reference
from pyrnnfast.onnx import InferenceSession, layers

require("onnxruntime")


def test_weights_written_to_when_they_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by another thread: the next call does not take the old pack for the new weights."""
    arrays = draw("GRU")
    model = make_model([make_node("GRU", arrays, hidden_size=7)], arrays, {}, ["Y", "Y_h"])
    session = InferenceSession(model)
    pack = layers.pack

    def interrupted(*given: Any) -> Any:
        made = pack(*given)
        arrays["W"] *= 2
        return made

    with monkeypatch.context() as patch:
        patch.setattr(layers, "pack", interrupted)
        session.run(None, arrays)
    agree(session.run(None, arrays), runtime(model, arrays))


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", OPERATORS)
def test_without_steps_the_final_states_are_zero(
    op: str, direction: str, layout: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With lengths and without, and the state that was given stays. (ONNX Runtime 1.31 aborts on the GRU.)"""
    for left_out in ((), ("sequence_lens",)):
        drawn = draw(op, steps=0, direction=direction, layout=layout)
        arrays = {name: array for name, array in drawn.items() if name not in left_out}
        model, feeds = node_model(op, arrays, direction=direction, layout=layout)
        before = {name: array.copy() for name, array in feeds.items()}
        session = InferenceSession(model)
        y, *finals = session.run(None, feeds)
        assert y.size == 0
        assert not np.any(finals)
        if op == "RNN" and not layout:
            agree([y, *finals], runtime(model, feeds), 0)
        with monkeypatch.context() as patch:
            patch.setattr("pyrnnfast._backend.current", lambda: reference)
            agree(InferenceSession(model).run(None, feeds), [y, *finals], 0)
        for name, array in feeds.items():
            np.testing.assert_array_equal(array, before[name])
