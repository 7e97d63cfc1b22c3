"""A node's calls: weights that change meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import require
from onnx_models import agree, draw, make_model, make_node, runtime

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
