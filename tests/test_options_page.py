"""The page on options: each argument of the layers has its row, and what stands there runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import arguments_of

from pyrnnfast import GRU, LSTM, RNN, JordanRNN, OneGateGRU

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "options.md").read_text(encoding="utf-8")
LAYERS = {kind.__name__: kind for kind in (RNN, LSTM, GRU, OneGateGRU, JordanRNN)}
ROWS = re.findall(r"^\| `(\w+\([^`]*\))` \|(.*)$", PAGE, re.M)
PYTORCH = {"input_size", "hidden_size", "output_size", "num_layers", "nonlinearity", "bias", "batch_first"}
PYTORCH |= {"dropout", "bidirectional", "dtype", "rng"}


@pytest.mark.parametrize("example", [example for example, _ in ROWS])
def test_the_example_runs(example: str) -> None:
    layer: Any = eval(example, dict(LAYERS))
    x = np.random.default_rng(0).standard_normal((5, 3, 16), dtype=np.float32)
    y = layer(x)[0]
    dx, _ = layer.backward(np.ones_like(y))
    assert np.abs(dx).max() > 0
    assert all(np.abs(gradient).max() > 0 for name, gradient in layer.grads.items())


def test_each_option_is_there_with_its_layers() -> None:
    found: dict[str, set[str]] = {}
    for example, rest in ROWS:
        cells = rest.split("|")[0].strip()
        owners = set(LAYERS) if cells == "all" else {name.strip() for name in cells.split(",")}
        for option in re.findall(r"(\w+)=", example):
            found.setdefault(option, set()).update(owners)
    for name, kind in LAYERS.items():
        options = set(arguments_of(kind)) - PYTORCH
        assert {option for option, owners in found.items() if name in owners} - PYTORCH == options, name


def test_python_on_the_page_runs() -> None:
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S):
        exec(compile(block, "options.md", "exec"), names)
    assert {"y", "cells", "units", "norms"} <= names.keys()


def test_what_does_not_go_together_raises() -> None:
    together = PAGE.partition("## What does not go together")[2]
    assert together.count("\n- ") == 6
    for kind, options in [
        (LSTM, {"coupled": True, "layer_norm": True}),
        (LSTM, {"layer_norm": True, "proj_size": 8}),
        (LSTM, {"proj_clip": 1.0}),
        (GRU, {"merge": "sum"}),
        (GRU, {"proj_size": 8, "reset_after": False}),
        (RNN, {"nonlinearity": "relu", "activations": ["tanh"]}),
    ]:
        with pytest.raises(ValueError, match=r"must .*got "):
            kind(16, 32, **options)
    for options in ({"zoneout": 0.1}, {"recurrent_dropout": 0.1}):
        with pytest.raises(ValueError, match=r"must .*got "):
            GRU(16, 32, **options).stream()
        assert GRU(16, 32, **options).eval().stream() is not None
