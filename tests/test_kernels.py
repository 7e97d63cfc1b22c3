"""The compiled kernels themselves: the accuracy of sigmoid and tanh, and what their objects may export."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import python

core = pytest.importorskip("pyrnnfast._core", reason="the compiled backend is not built")

ROOT = Path(__file__).resolve().parent.parent
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
