"""The bench: arithmetic, adapters against each other, refusal of results that disagree, protocol, output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ENVIRONMENT, require

from pyrnnfast import benchmark, runtime
from pyrnnfast.benchmark import Case, MismatchError, Pacing, Row, Shape, Timing, Workload
from pyrnnfast.benchmark.peers import OnnxRuntime, Ours, Peer, PyTorch, Reference
from pyrnnfast.benchmark.run import check
from pyrnnfast.benchmark.timing import alternate

HURRY = Pacing(blocks=3, block_seconds=0.0, warmup_seconds=0.0, pause_seconds=0.0)
TINY = benchmark.suite("tiny")


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    threads = runtime.get_num_threads()
    yield
    runtime.set_num_threads(threads)


# --- Arithmetic


def test_flops_of_forward_and_training() -> None:
    lstm = Workload("lstm", Shape(steps=50, rows=32, inputs=100, hidden=512))
    assert lstm.flops("forward") == 2 * 4 * 512 * (100 + 512) * 50 * 32
    assert lstm.flops("training") == 3 * lstm.flops("forward")


def test_flops_of_a_bidirectional_stack() -> None:
    gru = Workload("gru", Shape(600, 128, 64, 128, layers=2, directions=2))
    first, second = 2 * 3 * 128 * (64 + 128), 2 * 3 * 128 * (256 + 128)
    assert gru.flops("forward") == 2 * (first + second) * 600 * 128


def test_ratio_and_gflops() -> None:
    workload = Workload("rnn_tanh", Shape(10, 10, 10, 10))
    timings = {"pyrnnfast": Timing(2e-6, 1e-6, 3e-6, 9), "PyTorch": Timing(5e-6, 5e-6, 5e-6, 9)}
    row = Row(workload, "forward", timings, first={})
    assert row.ratio("PyTorch") == pytest.approx(2.5)
    assert row.ratio("pyrnnfast") == 1.0
    assert row.gflops("pyrnnfast") == pytest.approx(2 * 10 * 20 * 100 / 2e-6 / 1e9)


def test_suite_chooses_cells() -> None:
    assert {workload.cell for workload in benchmark.suite("overview")} == {"lstm", "gru", "rnn_tanh"}
    assert len({workload.shape for workload in benchmark.suite("overview")}) == 3
    chosen = benchmark.suite("overview", ["rnn_relu", "gru"])
    assert [workload.cell for workload in chosen] == ["rnn_relu"] * 3 + ["gru"] * 3
    with pytest.raises(ValueError, match=r"suite must be one of .*, got 'huge'"):
        benchmark.suite("huge")
    with pytest.raises(ValueError, match=r"cell must be one of .*, got 'sru'"):
        benchmark.suite("overview", ["sru"])


# --- Peers


PAIRS = [(p, w) for p in (Reference, PyTorch, OnnxRuntime) for w in TINY if w.cell in p.cells]


@pytest.mark.parametrize(
    "peer, workload", PAIRS, ids=lambda value: getattr(value, "name", None) or str(value)
)
def test_peers_agree(peer: type[Peer], workload: Workload) -> None:
    for package in peer.packages:
        require(package)
    case = Case(workload)
    ready = [Ours(case, 1), peer(case, 1)]
    for task in workload.tasks:
        able, first = check(case, task, ready)
        assert len(able) == 1 + (task in peer.tasks)
        assert all(seconds > 0 for seconds in first.values())


class WrongWeight(Reference):
    """The reference with one weight a little off."""

    name = "wrong"
    weight = "weight_hh_l0"

    def __init__(self, case: Case, threads: int) -> None:
        other = Case(case.workload)
        other.weights[self.weight][0, 0] += 0.05
        super().__init__(other, threads)


class WrongGradient(Reference):
    """The reference with the right output and one gradient of another sign."""

    name = "wrong"

    def arrays(self, task: str, output: Any) -> dict[str, np.ndarray]:
        arrays = super().arrays(task, output)
        return {key: -value if key == "bias_hh_l0" else value for key, value in arrays.items()}


class NotFinite(Reference):
    """The reference with a NaN in its output."""

    name = "wrong"

    def arrays(self, task: str, output: Any) -> dict[str, np.ndarray]:
        arrays = {key: value.copy() for key, value in super().arrays(task, output).items()}
        arrays["y"][-1, -1, -1] = np.nan
        return arrays


@pytest.mark.parametrize("wrong", [WrongWeight, WrongGradient, NotFinite])
def test_a_peer_that_computes_something_else_is_refused(wrong: type[Peer]) -> None:
    with pytest.raises(MismatchError, match="wrong and pyrnnfast disagree on"):
        benchmark.run(TINY[:1], 1, HURRY, peers=[Ours, wrong])


class Absent(Reference):
    """A library that is not installed."""

    name = "absent"
    packages = ("pyrnnfast_no_such_package",)


# --- Protocol


def test_blocks_alternate_and_slow_ones_are_spared() -> None:
    turns: list[str] = []
    calls = {name: lambda name=name: turns.append(name) for name in ("a", "b", "slow")}
    timings = alternate(calls, Pacing(4, 0.0, 0.0, 0.0), spare=["slow"])
    assert "".join(turns).replace("slow", "s") == "aabbsbbaaaabbaabbs"
    assert {name: timing.calls for name, timing in timings.items()} == {"a": 4, "b": 4, "slow": 2}


def test_median_and_quartiles() -> None:
    timings = alternate({"a": lambda: None}, Pacing(50, 0.0, 0.0, 0.0))
    assert timings["a"].calls == 50
    assert 0 < timings["a"].low <= timings["a"].median <= timings["a"].high < 1


# --- Output


def test_report_as_json_and_tables() -> None:
    require("rich")
    seen: list[Row] = []
    report = benchmark.run(TINY[:3], 1, HURRY, peers=[Ours, Reference, Absent], progress=seen.append)
    assert seen == report.rows
    data = json.loads(json.dumps(benchmark.to_json(report)))
    assert set(data) == {"schema", "machine", "versions", "threads", "pacing", "absent", "rows"}
    assert data["schema"] == 1
    assert data["threads"] == 1
    assert data["absent"] == {"absent": ["pyrnnfast_no_such_package"]}
    assert list(data["versions"]) == ["pyrnnfast", "NumPy"]
    assert len(data["rows"]) == 6
    for row in data["rows"]:
        assert set(row) == {"cell", "shape", "task", "flops", "results"}
        assert set(row["shape"]) == {"steps", "rows", "inputs", "hidden", "layers", "directions"}
        ours = row["results"]["pyrnnfast"]
        for result in row["results"].values():
            assert set(result) == {"median", "low", "high", "calls", "first", "gflops", "ratio"}
            assert result["ratio"] == pytest.approx(result["median"] / ours["median"])
            assert result["gflops"] == pytest.approx(row["flops"] / result["median"] / 1e9)
    lines = benchmark.markdown(report).splitlines()
    assert len(lines) == 2 + 6 + 2
    assert all(line.count("|") == lines[0].count("|") for line in lines[:8])
    assert "absent is not installed (pip install pyrnnfast_no_such_package)" in lines[-1]
    assert benchmark.rich_table(report).row_count == 6


# --- The command


def bench(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    require("typer")
    require("rich")
    environment = {**ENVIRONMENT, "COLUMNS": "80"}
    command = [sys.executable, "-m", "pyrnnfast", "bench", *options]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_command_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    result = bench("--suite=tiny", "--quick", "--cell=lstm", "--threads=1", "--json=f.json", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "GFLOP/s" in result.stdout
    rows = [line for line in result.stdout.splitlines() if "│" in line]
    assert len(rows) == 4, result.stdout  # piped, so each row is one line
    assert all("LSTM" in row and "N " in row for row in rows)
    data = json.loads((tmp_path / "f.json").read_text())
    assert [row["cell"] for row in data["rows"]] == ["lstm"] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["f.json"]


@pytest.mark.parametrize(
    "option, complaint",
    [
        ("--cell=sru", "--cell must be one of lstm, gru, rnn"),
        ("--threads=-1", "--threads must be 0 to 1024, got -1"),
        ("--threads=2000", "--threads must be 0 to 1024, got 2000"),
        ("--suite=huge", "--suite must be one of overview"),
        ("--json=no/such/folder.json", "--json must be a file in an existing folder"),
        ("--json=/proc/f.json", "/proc/f.json: No such file"),
        ("--json=/dev/null", "/dev/null: must be the name of a file"),
    ],
)
def test_command_refuses_bad_options_in_one_line(option: str, complaint: str, tmp_path: Path) -> None:
    result = bench(option, folder=tmp_path)
    assert result.returncode == 2
    assert complaint in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""
