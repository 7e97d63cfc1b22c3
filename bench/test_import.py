"""Import of the package in a fresh process, with NumPy's beside it: the difference is our own."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("modules", ["numpy", "numpy, pyrnnfast"])
def test_import(benchmark, modules: str) -> None:
    benchmark.group = "import"
    benchmark(subprocess.run, [sys.executable, "-c", f"import {modules}"], check=True)
