"""The compiled kernels themselves: the accuracy of sigmoid and tanh, and what their objects may export."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import python

core = pytest.importorskip("pyrnnfast._core", reason="the compiled backend is not built")

SOURCE = Path(__file__).resolve().parent.parent / "csrc"
ULP = 4


def exact(name: str, x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        wide = x.astype(np.longdouble)
        return np.tanh(wide) if name == "tanh" else 1 / (1 + np.exp(-wide))


def ulps(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """The distance in units of the last place of the exact result; subnormals count as zero."""
    tiny = np.finfo(got.dtype).tiny
    rounded = np.where(np.abs(want) < tiny, 0, want)
    unit = np.spacing(np.maximum(np.abs(rounded).astype(got.dtype), tiny))
    apart = np.abs(got.astype(np.longdouble) - rounded) / unit
    return np.asarray(np.where((rounded == 0) & (np.abs(got) <= tiny), 0, apart), dtype=np.float64)


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_are_within_their_stated_error(isa: str, name: str, dtype: type) -> None:
    rng = np.random.default_rng(1)
    magnitudes = 10.0 ** rng.uniform(-12, 2.5, 200_000)
    x = np.concatenate([rng.uniform(-20, 20, 200_000), magnitudes, -magnitudes]).astype(dtype)
    assert ulps(core.activation(name, x, isa), exact(name, x)).max() <= ULP


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_activations_for_every_float32(isa: str, name: str) -> None:
    block = 1 << 24
    for start in range(0, 1 << 32, block):
        x = np.arange(start, start + block, dtype=np.uint32).view(np.float32)
        finite = np.abs(x) >= np.finfo(np.float32).tiny
        got = core.activation(name, x, isa)
        assert np.isnan(got[np.isnan(x)]).all()
        assert ulps(got[finite], exact(name, x[finite])).max(initial=0) <= ULP


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_at_the_ends(isa: str, dtype: type) -> None:
    x = np.array([-np.inf, np.inf, 0, -0.0, np.nan, np.finfo(dtype).max, np.finfo(dtype).min], dtype)
    sigmoid, tanh = (core.activation(name, x, isa) for name in ("sigmoid", "tanh"))
    np.testing.assert_array_equal(sigmoid, np.array([0, 1, 0.5, 0.5, np.nan, 1, 0], dtype))
    np.testing.assert_array_equal(tanh, np.array([-1, 1, 0, 0, np.nan, 1, -1], dtype))


def test_an_unknown_instruction_set_is_an_error_that_lists_the_others(isa: str) -> None:
    code = "import pyrnnfast._core as core; print(core.default_isa())"
    for name, good in ((isa, True), ("v9", False)):
        result = python(code, PYRNNFAST_ISA=name)
        assert (result.returncode == 0) == good
        if good:
            assert result.stdout.strip() == isa
        else:
            assert "v9" in result.stderr
            assert isa in result.stderr


# Wide code must not leak into what every processor runs: an inline function compiled with AVX-512 is a weak
# symbol, which the linker may give to all. So a kernel's object defines one global symbol, and asks for
# nothing but memory routines.

ALLOWED = {"memcpy", "memset", "_GLOBAL_OFFSET_TABLE_"}


@pytest.fixture(scope="module")
def kernel_objects(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    compiler, nm = shutil.which("g++"), shutil.which("nm")
    if compiler is None or nm is None:
        pytest.skip("g++ and nm are needed to look into a kernel's object")
    folder = tmp_path_factory.mktemp("objects")
    built = re.findall(
        r"add_level\((\w+) (\d+) (\d+) (\d+)(.*)\)", (SOURCE / "CMakeLists.txt").read_text("utf-8")
    )
    here = {"generic", *core.available_isas(), *(["v4"] if os.uname().machine == "x86_64" else [])}
    levels = [level for level in built if level[0] in here]
    assert len(levels) >= 2
    compilers = []
    for level, size, two, three, flags in levels:
        sizes = {"VECTOR_BYTES": size, "ROWS_2": two, "ROWS_3": three}
        names = {"REAL": "float", "TABLE": "table", "LEVEL": f'"{level}"'}
        command = [compiler, "-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-fno-exceptions"]
        command += ["-fno-rtti", "-ffp-contract=off", "-fno-math-errno", *flags.split()]
        command += [f"-DPYRNNFAST_{name}={value}" for name, value in (sizes | names).items()]
        command += ["-c", str(SOURCE / "kernels" / "kernels.cpp"), "-o", str(folder / f"{level}.o")]
        compilers.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
    for running in compilers:  # all at once: a level takes ten seconds
        _, complaints = running.communicate()
        assert running.returncode == 0, complaints
    return [folder / f"{level[0]}.o" for level in levels]


def test_kernel_objects_define_one_symbol_and_need_only_memory_routines(kernel_objects: list[Path]) -> None:
    for path in kernel_objects:
        listing = subprocess.run(["nm", str(path)], capture_output=True, text=True, check=True).stdout
        symbols = [line.split()[-2:] for line in listing.splitlines()]
        needed = {name for kind, name in symbols if kind == "U"}
        exported = [name for kind, name in symbols if kind.isupper() and kind != "U"]
        assert needed <= ALLOWED, path.name
        assert len(exported) == 1, path.name
        assert not any(kind in "vVwW" for kind, _ in symbols), path.name
