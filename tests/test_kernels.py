"""The compiled kernels themselves: the accuracy of sigmoid and tanh, and what their objects may export."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import python
from general import ACTIVATIONS

from pyrnnfast._types import Activation
from pyrnnfast.reference.activations import Gate

core = pytest.importorskip("pyrnnfast._core", reason="the compiled backend is not built")

ROOT = Path(__file__).resolve().parent.parent
ULP = 4


def exact(name: str, x: np.ndarray) -> np.ndarray:
    """In x's type; subnormal numbers count as zero, as in the kernels, and NaN stays NaN."""
    if name == "tanh":
        return np.tanh(x)
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def worst(name: str, x: np.ndarray, isa: str, wide: type) -> float:
    """The largest error of an activation in units of the exact result's last place; the oracle is `wide`.

    Inputs and results that are subnormal count as zero.
    """
    tiny = np.finfo(x.dtype).tiny
    got, _ = core.activation(name, x, isa)
    with np.errstate(under="ignore", invalid="ignore"):  # invalid: a NaN that signals
        want = exact(name, np.where(np.abs(x) < tiny, 0, x).astype(wide))
    np.testing.assert_array_equal(np.isnan(got), np.isnan(x))
    size = np.abs(want)
    apart = np.abs(got - want) / np.spacing(np.maximum(size.astype(x.dtype), tiny))
    zero = (size < tiny) & (np.abs(got) <= tiny)
    return float(np.fmax.reduce(np.where(zero, 0, apart), initial=0))  # leaves out NaN


EDGES = (0.0, np.finfo(np.float32).tiny, 2.0**-25, 2.0**-12, np.log(2) / 2, 1.0, 9.01, 10.0, 16.64, 17.33)
EDGES += (87.33, 88.0, 88.72, 103.28, np.finfo(np.float32).max, np.inf)
"""Where something begins or ends: numbers, terms that count, results below 1, clamps, results above 0."""


def patterns() -> np.ndarray:
    """About 2^20 float32, spread evenly over their bits, and all that lie around the edges."""
    around = np.arange(-500, 500)
    edges = [np.float32(edge).view(np.int32) + around for edge in EDGES]
    both = np.concatenate([np.abs(edge) + sign for edge in edges for sign in (0, 1 << 31)])
    return np.concatenate([np.arange(0, 1 << 32, 4093), both]).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_activations_are_within_their_stated_error(isa: str, name: str) -> None:
    assert worst(name, patterns(), isa, np.float64) <= ULP


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="long double is no wider than float64")
@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_activations_of_float64(isa: str, name: str) -> None:
    rng = np.random.default_rng(1)
    magnitudes = 10.0 ** np.concatenate([rng.uniform(-12, 3, 200_000), rng.uniform(-308, 308, 20_000)])
    x = np.concatenate([rng.uniform(-40, 40, 200_000), magnitudes, -magnitudes])
    assert worst(name, x, isa, np.longdouble) <= ULP


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "alpha", "beta"), [(each[0], each[1] or 0, each[2] or 0) for each in ACTIVATIONS]
)
def test_every_activation_and_its_slope(isa: str, name: str, alpha: float, beta: float, dtype: type) -> None:
    """Within a few units in the last place of the largest number that the equation has on its way."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=5000), rng.uniform(-200, 200, 2000), [0, 1e-30, -1e-30]]).astype(
        dtype
    )
    gate = Gate(Activation(name, float(dtype(alpha)), float(dtype(beta))))
    value, slope = core.activation(name, x, isa, alpha, beta)
    wide = x.astype(np.longdouble)
    bound, tiny = ULP * np.finfo(dtype).eps, 2 * np.finfo(dtype).tiny  # below it half a result is zero
    np.testing.assert_allclose(value, gate(wide), rtol=bound, atol=tiny + bound * abs(beta))
    np.testing.assert_allclose(slope, gate.slope(wide), rtol=4 * bound, atol=2 * bound)
    nan, _ = core.activation(name, np.array([np.nan], dtype), isa, alpha, beta)
    assert np.isnan(nan).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_activations_of_every_float32(isa: str, name: str) -> None:
    block = 1 << 16  # what NumPy makes of it stays in cache

    def of_block(start: int) -> float:
        x = np.arange(start, start + block, dtype=np.uint32).view(np.float32)
        return worst(name, x, isa, np.float64)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        assert max(pool.map(of_block, range(0, 1 << 32, block))) <= ULP


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_at_the_ends(isa: str, dtype: type) -> None:
    limits = np.finfo(dtype)
    x = np.array([-np.inf, np.inf, 0, -0.0, np.nan, limits.max, limits.min], dtype)
    sigmoid, tanh = (core.activation(name, x, isa)[0] for name in ("sigmoid", "tanh"))
    np.testing.assert_array_equal(sigmoid, np.array([0, 1, 0.5, 0.5, np.nan, 1, 0], dtype))
    np.testing.assert_array_equal(tanh, np.array([-1, 1, 0, 0, np.nan, 1, -1], dtype))
    assert not np.signbit(sigmoid[:4]).any()
    subnormal = np.array([limits.smallest_subnormal, limits.tiny / 2], dtype) * np.array([[1], [-1]], dtype)
    np.testing.assert_array_equal(core.activation("sigmoid", subnormal, isa)[0], dtype(0.5))
    np.testing.assert_array_equal(core.activation("tanh", subnormal, isa)[0], 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_rise_to_their_limits_and_stay(isa: str, dtype: type) -> None:
    info = np.finfo(dtype)
    x = np.concatenate([np.linspace(0, 800, 100_001), 10.0 ** np.linspace(3, 38, 1000)]).astype(dtype)
    for name, sign, limit in (("tanh", 1, 1), ("tanh", -1, -1), ("sigmoid", 1, 1), ("sigmoid", -1, 0)):
        y, _ = core.activation(name, dtype(sign) * x, isa)
        slope = 2 if name == "tanh" else 1
        with np.errstate(over="ignore"):
            left = slope / (np.exp(slope * x.astype(np.float64)) + 1)  # from the exact result to the limit
        assert (y[left < (info.eps / 16 if limit else info.tiny)] == limit).all()
        assert ((y >= 0) if name == "sigmoid" else (y * sign >= 0)).all()
        assert (np.abs(y) <= 1).all()
        assert (np.diff(y) * sign >= -ULP * np.spacing(np.abs(y[1:]))).all()


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


def built() -> dict[str, Path]:
    """Return the kernels' objects by name, where pip built the package for this Python in the checkout."""
    version = "".join(map(str, sys.version_info[:2]))
    folders = ROOT.glob(f"build/cp{version}-*/csrc/CMakeFiles/kernels_*.dir")
    return {folder.stem: folder / "kernels" / "kernels.cpp.o" for folder in folders}


def compiled(folder: Path) -> dict[str, Path]:
    """Compile what csrc/CMakeLists.txt tells to, with its flags."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("a build in the checkout or g++ is needed to look into a kernel's object")
    rules = (ROOT / "csrc" / "CMakeLists.txt").read_text("utf-8")
    common = re.search(r"target_compile_options\(\$\{object\} PRIVATE(.*?)\$\{ARGN\}\)", rules, re.S)
    assert common is not None
    command = [compiler, "-std=c++17", "-fPIC", "-fvisibility=hidden", *common[1].split()]
    here = {"generic", *core.available_isas(), *(["v4"] if os.uname().machine == "x86_64" else [])}
    objects, running = {}, []
    for level, size, two, three, flags in re.findall(r"add_level\((\w+) (\d+) (\d+) (\d+)(.*)\)", rules):
        for real in ("float", "double") if level in here else ():
            table = f"kernels_{level}_{real}"
            objects[table] = folder / f"{table}.o"
            values = {"REAL": real, "TABLE": table, "LEVEL": f'"{level}"'}
            values |= {"VECTOR_BYTES": size, "ROWS_2": two, "ROWS_3": three}
            defined = [f"-DPYRNNFAST_{name}={value}" for name, value in values.items()]
            ends = ["-c", str(ROOT / "csrc" / "kernels" / "kernels.cpp"), "-o", str(objects[table])]
            running.append(
                subprocess.Popen(
                    [*command, *flags.split(), *defined, *ends], stderr=subprocess.PIPE, text=True
                )
            )
    for process in running:  # all at once: one takes ten seconds
        _, complaints = process.communicate()
        assert process.returncode == 0, complaints
    return objects


@pytest.mark.timeout(300)
def test_kernel_objects_define_one_symbol_and_need_only_memory_routines(tmp_path: Path) -> None:
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("nm is needed to look into a kernel's object")
    wanted = {f"kernels_{level}_{real}" for level in core.available_isas() for real in ("float", "double")}
    objects = built()
    if not wanted <= objects.keys():
        objects = compiled(tmp_path)
    assert wanted <= objects.keys()
    for name, path in objects.items():
        listing = subprocess.run([nm, str(path)], capture_output=True, text=True, check=True).stdout
        symbols = [line.split()[-2:] for line in listing.splitlines()]
        needed = {symbol for kind, symbol in symbols if kind == "U"}
        exported = [symbol for kind, symbol in symbols if kind.isupper() and kind != "U"]
        assert needed <= ALLOWED, name
        assert len(exported) == 1, name
        assert name in exported[0]
        assert not any(kind in "vVwWu" for kind, _ in symbols), name
