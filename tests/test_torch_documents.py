"""The example in PyTorch works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, require

ROOT = Path(__file__).resolve().parent.parent


def example(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    require("torch")
    return subprocess.run(
        [sys.executable, str(ROOT / "examples" / "torch_tagger.py"), *options],
        cwd=folder,
        env={**ENVIRONMENT, "OMP_NUM_THREADS": "1"},  # PyTorch's threads spin, for minutes on a busy machine
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_tagger_learns_the_same_both_ways(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("one two three four five six seven eight nine ten " * 20, encoding="utf-8")
    result = example(
        "--text=text", "--cell=gru", "--hidden=16", "--rows=8", "--length=20", "--steps=80", folder=tmp_path
    )
    assert result.returncode == 0, result.stderr
    assert "pyrnnfast.torch.GRU" in result.stdout
    plain, fast = re.findall(r"loss (\S+) -> (\S+),", result.stdout)
    assert plain[0] == fast[0]
    assert float(plain[1]) == pytest.approx(float(fast[1]), abs=1e-3)
    assert float(fast[1]) < float(fast[0]) / 2
    assert re.search(r"^ratio: \d+\.\d\d$", result.stdout, re.M)


@pytest.mark.parametrize("option", ["--steps=0", "--cell=sru", "--length=1000"])
def test_the_tagger_refuses_bad_options(option: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("one two three", encoding="utf-8")
    result = example("--text=text", option, folder=tmp_path)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
