"""An example with --compare, run in haste."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest
from conftest import require

from pyrnnfast.benchmark.timing import Pacing

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def compared(
    name: str, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Run an example, hold it against PyTorch in one short turn, and return what it prints."""
    require("torch")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    pacing = Pacing(blocks=1, block_seconds=0.01, warmup_seconds=0.0, pause_seconds=0.0)
    monkeypatch.setattr(importlib.import_module("throughput"), "PACING", pacing)
    monkeypatch.setattr(sys, "argv", [name, *options, "--compare"])
    importlib.import_module(name).main()
    out = capsys.readouterr().out
    assert re.search(r"^training, without dropout: \d+\.\d\d x PyTorch$", out, re.M)
    return out
