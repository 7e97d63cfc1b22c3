"""The roofline: the probes compute what they should, the model's arithmetic by hand, the picture."""

from __future__ import annotations

import importlib
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyrnnfast
from pyrnnfast import benchmark
from pyrnnfast.benchmark import Pacing, Report, Row, Shape, Timing, Workload, plots, roofline
from pyrnnfast.benchmark.peers import Ours
from pyrnnfast.benchmark.roofline import Roofline
from pyrnnfast.benchmark.run import percent

THREADS = pytest.mark.parametrize("threads", [1, 2])

# --- The probes


@pytest.fixture
def core() -> Any:
    if pyrnnfast.isa() == "reference":
        pytest.skip("the probes are kernels of the compiled backend")
    return importlib.import_module("pyrnnfast._core")


@THREADS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_chain_of_operations_runs(core: Any, isa: str, threads: int, dtype: str) -> None:
    probe = core.Probe(threads, 0, isa)
    for steps, a, b, want in ((0, 3, 1, 0), (1, 3, 5, 5), (12, -3, 1, (1 - 3**12) / 4), (999, 1, 2, 1998)):
        seconds, x = probe.fma(dtype, steps, a, b)
        assert seconds >= 0
        assert x.dtype == dtype
        assert x.shape[0] == probe.threads
        assert (x == want).all()


@THREADS
def test_every_word_is_read(core: Any, isa: str, threads: int) -> None:
    probe = core.Probe(threads, 640, isa)
    assert 1 <= probe.threads <= threads
    for words, passes in ((0, 1), (64, 1), (128, 3), (576, 2), (640, 5)):
        buffers = (
            np.arange(words, dtype=np.uint64) * np.arange(1, probe.threads + 1, dtype=np.uint64)[:, None]
        )
        want = passes * int(np.bitwise_xor.reduce(buffers, axis=1).sum())
        seconds, got = probe.read(words, passes)
        assert seconds >= 0
        assert got == want


def test_probes_refuse_what_they_cannot_do(core: Any) -> None:
    for words in (-64, 63):
        with pytest.raises(ValueError, match=f"words: got {words}, expected a multiple of 64"):
            core.Probe(1, words)
    with pytest.raises(ValueError, match="threads: got 0, expected"):
        core.Probe(0, 64)
    with pytest.raises(ValueError, match=r"'v9' is not available"):
        core.Probe(1, 64, "v9")
    with pytest.raises(MemoryError):
        core.Probe(1, 1 << 59)
    for words in (-64, 32, 128):
        with pytest.raises(ValueError, match=f"words: got {words}, expected"):
            core.Probe(1, 64).read(words, 1)
    with pytest.raises(ValueError, match="dtype: got 'int8', expected float32 or float64"):
        core.Probe(1, 0).fma("int8", 1, 1.0, 1.0)


@THREADS
def test_measure(core: Any, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "ROUNDS", 1)
    monkeypatch.setattr(roofline, "TURN_SECONDS", 1e-6)
    found = roofline.measure(threads)
    assert found.threads == threads
    assert found.isa == core.default_isa()
    assert list(found.bandwidth) == [*found.capacities, "memory"]
    figures = [found.peak, *found.bandwidth.values(), *(rate for _, rate in found.curve)]
    assert all(math.isfinite(figure) and figure > 0 for figure in figures)
    sizes = [size for size, _ in found.curve]
    assert sizes == sorted(set(sizes))
    falling = list(found.bandwidth.values())
    assert falling == sorted(falling, reverse=True)
    rates = [f"{rate:.0f}" for rate in (found.peak, *found.bandwidth.values())]
    assert re.findall(r"(?<= )\d+", str(found)) == rates


def test_every_instruction_set_is_measured_the_default_first(
    core: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roofline, "measure", lambda threads, isa: (threads, isa))
    found = roofline.measure_all(2)
    assert set(found) - {core.default_isa()} == set(core.available_isas()) - {core.default_isa(), "wide"}
    assert next(iter(found.items())) == (core.default_isa(), (2, core.default_isa()))


def test_the_best_figures_of_two_measurements_count() -> None:
    one = Roofline("v3", "float32", 2, 100.0, {"L1": 90.0, "memory": 9.0}, {"L1": 8}, ((8, 90.0),))
    other = Roofline("v3", "float32", 2, 200.0, {"L1": 80.0, "memory": 10.0}, {"L1": 8}, ((8, 80.0),))
    best = Roofline("v3", "float32", 2, 200.0, {"L1": 90.0, "memory": 10.0}, {"L1": 8}, ((8, 90.0),))
    assert one.best(other) == other.best(one) == best


def test_the_machine_is_measured_again_between_rows(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([50.0, 200.0, 100.0])
    monkeypatch.setattr(importlib.import_module("pyrnnfast.benchmark.run"), "MACHINE_EVERY", 1)
    monkeypatch.setattr(
        roofline, "measure", lambda threads, isa: Roofline(isa, "float32", threads, next(peaks), {}, {}, ())
    )
    report = benchmark.start(1, Pacing(1, 0.0, 0.0, 0.0), [Ours])
    report.rooflines = {core.default_isa(): roofline.measure(1, core.default_isa())}
    small, large = (
        Workload("lstm", Shape(2, 1, 4, 4), ("forward",)),
        Workload("lstm", Shape(4, 1, 4, 4), ("forward",)),
    )
    for _ in benchmark.measure(report, [small, large]):
        pass
    assert report.roofline == Roofline(core.default_isa(), "float32", 1, 200.0, {}, {}, ())
    assert [row.bounds["FMA"] for row in report.rows] == [
        workload.flops("forward") / 200.0 / 1e9 for workload in (small, large)
    ]


def test_measure_refuses_unknown_names(core: Any) -> None:
    with pytest.raises(ValueError, match=r"'v9' is not available"):
        roofline.measure(1, "v9")
    with pytest.raises(ValueError, match="'int8', expected float32 or float64"):
        roofline.measure(1, dtype="int8")


def describe(folder: Path, cpu: int, index: int, level: int, kind: str, size: str, shared: str) -> None:
    cache = folder / f"cpu{cpu}" / "cache" / f"index{index}"
    cache.mkdir(parents=True)
    for name, text in (("level", level), ("type", kind), ("size", size), ("shared_cpu_list", shared)):
        (cache / name).write_text(f"{text}\n")


def test_capacities_are_those_that_the_threads_can_have(tmp_path: Path) -> None:
    for cpu in range(4):  # two cores of two threads, one last cache
        core = f"{cpu % 2},{cpu % 2 + 2}"
        describe(tmp_path, cpu, 0, 1, "Data", "48K", core)
        describe(tmp_path, cpu, 1, 1, "Instruction", "32K", core)
        describe(tmp_path, cpu, 2, 2, "Unified", "1024K", core)
        describe(tmp_path, cpu, 3, 3, "Unified", "16384K", "0-3")
    one = {"L1": 48 << 10, "L2": 1 << 20, "L3": 16 << 20}
    two = {"L1": 96 << 10, "L2": 2 << 20, "L3": 16 << 20}
    assert roofline.cache_capacities(1, range(4), tmp_path) == one
    assert roofline.cache_capacities(2, range(4), tmp_path) == two
    assert roofline.cache_capacities(4, range(4), tmp_path) == two
    assert roofline.cache_capacities(2, [0, 2], tmp_path) == one


@pytest.mark.parametrize(
    "part, told", [(0.716, "72%"), (1.0, "100%"), (0.012, "1%"), (0.0042, "0.4%"), (0.00031, "0.03%")]
)
def test_small_parts_keep_a_digit(part: float, told: str) -> None:
    assert percent(part) == told


def test_capacities_without_a_description(tmp_path: Path) -> None:
    (tmp_path / "cpu0" / "cache" / "index0").mkdir(parents=True)
    found = roofline.cache_capacities(2, range(2), tmp_path)
    assert found == {"L1": 64 << 10, "L2": 2 << 20, "L3": 32 << 20}


# --- The model, by hand

MACHINE = Roofline(
    isa="v3",
    dtype="float32",
    threads=2,
    peak=100.0,
    bandwidth={"L1": 400.0, "L2": 200.0, "L3": 50.0, "memory": 10.0},
    capacities={"L1": 64 << 10, "L2": 1 << 20, "L3": 32 << 20},
    curve=(),
)
L1, L2, L3 = 64 << 10, (64 << 10) + (1 << 20), (64 << 10) + (33 << 20)


def check(workload: Workload, task: str, seconds: float, bound: str, machine: Roofline = MACHINE) -> None:
    row = Row(workload, task, {}, {}, bounds=roofline.bounds(machine, workload, task))
    assert row.limit == pytest.approx(seconds)
    assert row.bound == bound


def test_many_rows_are_limited_by_arithmetic() -> None:
    workload = Workload("lstm", Shape(50, 64, 512, 512))
    check(workload, "forward", 2 * 4 * 512 * 1024 * 50 * 64 / 100e9, "FMA")
    check(workload, "training", 3 * 2 * 4 * 512 * 1024 * 50 * 64 / 100e9, "FMA")


def test_one_row_is_limited_by_the_level_that_holds_the_weights() -> None:
    fast = replace(MACHINE, peak=1e6)
    small, middle, large = (4 * H * H * 4 for H in (256, 1024, 2048))
    for H, w, near, rate, bound in (
        (256, small, L1, 200e9, "L2"),
        (1024, middle, L2, 50e9, "L3"),
        (2048, large, L3, 10e9, "memory"),
    ):
        workload, x, dy = Workload("lstm", Shape(100, 1, H, H)), 100 * H * 4, 100 * H * 4
        check(workload, "forward", (100 * (w - near) + w + x) / rate, bound, fast)
        check(workload, "training", (2 * (100 * (w - near) + w + x) + dy) / rate, bound, fast)


def test_one_step_reads_what_the_call_before_has_not_left() -> None:
    fast = replace(MACHINE, peak=1e6)
    once = 4 * 128 * (128 + 128) * 4 + 128 * 4  # W_hh and W_ih together do not fit the first level
    check(Workload("lstm", Shape(1, 1, 128, 128)), "forward", (once - L1) / 200e9, "L2", fast)
    near = 125_000  # holds W_hh, but not the rest: 3 * 100 * 100 elements
    tight = replace(fast, capacities={**fast.capacities, "L1": near})
    once = 3 * 100 * (100 + 30) * 4 + 10 * 2 * 30 * 4 + 10 * 2 * 100 * 4
    check(Workload("gru", Shape(10, 2, 30, 100)), "training", (once - near) / 200e9, "L2", tight)


def test_layers_and_directions_have_the_caches_to_themselves() -> None:
    fast = replace(MACHINE, peak=1e6)
    H, C, T, N = 1024, 64, 20, 2
    w, inputs, x = 3 * H * H * 4, 2 * 3 * H * (C + 2 * H) * 4, T * N * C * 4
    workload = Workload("gru", Shape(T, N, C, H, layers=2, directions=2))
    check(workload, "forward", (T * 4 * (w - L2) + inputs + x) / 50e9, "L3", fast)


def test_float64_weights_are_twice_as_large() -> None:
    fast = replace(MACHINE, peak=1e6, dtype="float64")
    w = 4 * 256 * 256 * 8
    workload = Workload("lstm", Shape(1000, 1, 256, 256))
    check(workload, "forward", (1000 * (w - L2) + w + 1000 * 256 * 8) / 50e9, "L3", fast)


def test_a_ragged_batch_has_the_steps_of_its_longest_row() -> None:
    workload = Workload("lstm", Shape(100, 3, 1024, 1024), ragged=True)
    lengths = workload.lengths()
    assert lengths is not None
    longest, total = int(lengths.max()), int(lengths.sum())
    assert longest < 100
    w, x = 4 * 1024 * 1024 * 4, total * 1024 * 4
    fast = replace(MACHINE, peak=1e6)
    check(workload, "forward", (longest * (w - L2) + w + x) / 50e9, "L3", fast)
    assert roofline.intensity(workload, "forward") == pytest.approx(
        2 * 4 * 1024 * 2048 * total / (w * longest + w)
    )


@pytest.mark.parametrize("task", ["forward", "training"])
@pytest.mark.parametrize("field", ["steps", "rows", "inputs", "hidden", "layers", "directions"])
def test_more_work_never_takes_less(task: str, field: str) -> None:
    for peak in (100.0, 1e6):
        for hidden in (64, 300, 1448, 2900):
            start = Shape(5, 2, 64, hidden)
            values = (1, 2) if field == "directions" else range(1, 3000, 97)
            shapes = [replace(start, **{field: value}) for value in values]
            machine = replace(MACHINE, peak=peak)
            workloads = [Workload("lstm", shape) for shape in shapes]
            times = [max(roofline.bounds(machine, workload, task).values()) for workload in workloads]
            assert times == sorted(times)


def test_intensity() -> None:
    workload = Workload("lstm", Shape(50, 16, 128, 256))
    weights, flops = 4 * 256 * (50 * 256 + 128) * 4, 2 * 4 * 256 * (128 + 256) * 50 * 16
    assert roofline.intensity(workload, "forward") == pytest.approx(flops / weights)
    assert roofline.intensity(workload, "training") == pytest.approx(3 * flops / weights / 2)
    assert roofline.intensity(workload, "forward", "float64") == pytest.approx(flops / weights / 2)


# --- The picture


def report(workloads: list[Workload], peers: dict[str, float], limits: Roofline | None) -> Report:
    found = benchmark.run([], 2, peers=[])
    found.versions = dict.fromkeys(["pyrnnfast", *peers], "1.0")
    for workload in workloads:
        for task in workload.tasks:
            times = {"pyrnnfast": 1e-3, **({} if task == "training" else peers)}
            timings = {name: Timing(s, s, s, 3) for name, s in times.items()}
            bounds = {} if limits is None else roofline.bounds(limits, workload, task)
            found.rows.append(
                Row(workload, task, timings, dict.fromkeys(times, 0.0), rivals=tuple(peers), bounds=bounds)
            )
    found.rooflines = {} if limits is None else {limits.isa: limits}
    return found


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG")
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def test_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    suite, path, heights = benchmark.suite("overview"), tmp_path / "report.png", []
    peers = {f"peer {number}": 1e-3 * number for number in range(1, 15)}
    for workloads, names, limits in (
        (suite, peers, MACHINE),
        (suite[:3], peers, MACHINE),
        (suite[:3], {}, MACHINE),
        (suite[:3], peers, None),
        ([], {}, MACHINE),
    ):
        plots.save(report(workloads, names, limits), path)
        heights.append(size(path.read_bytes())[1])
    assert heights[0] > heights[1] == heights[2] > heights[3]


def test_tables_and_json_tell_the_limits() -> None:
    pytest.importorskip("rich")
    measured = report([Workload("lstm", Shape(50, 64, 512, 512), ("forward",))], {}, MACHINE)
    text = benchmark.markdown(measured)
    assert f"| {2 * 4 * 512 * 1024 * 50 * 64 / 100e9 / 1e-3:.0%} FMA |" in text
    assert "v3: 100 GFLOP/s; L1 400, L2 200, L3 50, memory 10 GB/s" in text
    data = json.loads(json.dumps(benchmark.to_json(measured)))
    assert data["rooflines"]["v3"]["bandwidth"] == MACHINE.bandwidth
    (row,) = data["rows"]
    assert (row["bound"], row["limit"]) == ("FMA", row["bounds"]["FMA"])
    assert row["results"]["pyrnnfast"]["of_limit"] == pytest.approx(row["limit"] / 1e-3)


def test_a_picture_without_matplotlib_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "pyrnnfast\[cli\]"'):
        plots.save(report([], {}, None), tmp_path / "absent.png")
    assert not (tmp_path / "absent.png").exists()
