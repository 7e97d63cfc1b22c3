"""Import of the package in a fresh process, with NumPy's beside it: the difference is our own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("modules", ["numpy", "numpy, pyrnnfast"])
def test_import(benchmark, tmp_path: Path, modules: str) -> None:
    benchmark.group = "import"
    command = [sys.executable, "-c", f"import {modules}"]
    benchmark(subprocess.run, command, check=True, cwd=tmp_path)  # in a checkout it would find the sources
