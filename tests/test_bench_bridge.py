"""`pyrnnfast bench --bridge`: PyTorch's modules after accelerate against the same as they were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import python, require
from test_bench_command import bench
from test_peers_bench import HURRY, MORE, TINY

from pyrnnfast import benchmark
from pyrnnfast.benchmark import BRIDGE, STEPWISE_SUITES, Case, MismatchError, Shape, Workload
from pyrnnfast.benchmark.peers import Accelerated, Ours, PyTorch
from pyrnnfast.benchmark.run import check

STEPWISE = [
    workload
    for cell in ("rnn_tanh", "rnn_relu", "lstm", "gru")
    for workload in (
        Workload(cell, Shape(1, 3, 5, 4), ("forward",), streaming=True, stepwise=True),
        Workload(cell, Shape(4, 3, 5, 4), stepwise=True),
    )
]
PAIRS = [
    (workload, task)
    for workload in TINY + MORE + STEPWISE
    for task in workload.tasks
    if not Accelerated.unable(workload, task)
]


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    torch = require("torch")
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("workload, task", PAIRS, ids=str)
def test_the_two_agree(workload: Workload, task: str) -> None:
    case = Case(workload)
    ready = [peer(case, 1) for peer in BRIDGE]
    first = check(case, task, ready)
    assert list(first) == ["pyrnnfast", "PyTorch"]
    homes = [type(library._layer).__module__.partition(".")[0] for library in ready]
    assert homes == ["pyrnnfast", "torch"]
    for library in ready:
        arrays = library.arrays(task, library.call(task)())
        if task == "training":
            assert list(arrays) == ["y", "dx", *case.weights]
        elif workload.streaming:
            assert list(arrays) == ["y", "h", "c"][: 1 + len(case.zero_states())]


def test_cells_agree_with_layers() -> None:
    stepwise = STEPWISE[-1]
    arrays = []
    for workload in (stepwise, Workload(stepwise.cell, stepwise.shape)):
        peer = PyTorch(Case(workload), 1)
        arrays.append(peer.arrays("training", peer.call("training")()))
    Case(stepwise).compare(arrays[0], arrays[1], "the layer")


@pytest.mark.parametrize("workload", [workload for workload, _ in PAIRS if workload.ragged], ids=str)
def test_packed_sequences_agree_with_padded_ones(workload: Workload) -> None:
    case = Case(workload)
    for task in workload.tasks:
        padded, packed = (
            peer.arrays(task, peer.call(task)()) for peer in (PyTorch(case, 1), Accelerated(case, 1))
        )
        case.compare(padded, packed, "the packed one")


class Forgetful(PyTorch):
    """Its cell begins every step with zeros."""

    name = "forgetful"

    def step(self) -> object:
        self._state = None
        return super().step()


def test_a_cell_that_forgets_its_state_is_refused() -> None:
    with pytest.raises(MismatchError, match="forgetful and pyrnnfast disagree on y"):
        benchmark.run(STEPWISE[:1], 1, HURRY, peers=[Accelerated, Forgetful])


def test_cells_are_for_the_bridge_only() -> None:
    assert Ours.unable(STEPWISE[0], "forward") == "is measured by whole sequences"
    assert PyTorch.unable(STEPWISE[0], "forward") == ""
    assert not set(STEPWISE_SUITES) & set(benchmark.SUITES)
    cells = benchmark.suite("cells")
    assert all(workload.stepwise for workload in cells)
    assert (
        Workload("gru", Shape(1, 1, 128, 128), ("forward",), streaming=True, stepwise=True, suite="cells")
        in cells
    )
    assert str(cells[-1]).endswith(", stepwise")


def test_command_measures_the_bridge(tmp_path: Path) -> None:
    options = (
        "--bridge",
        "--suite=tiny",
        "--suite=cells",
        "--cell=gru",
        "--quick",
        "--threads=1",
        "--json=f.json",
    )
    result = bench(*options, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    data = json.loads((tmp_path / "f.json").read_text())
    assert list(data["versions"]) == ["pyrnnfast", "PyTorch"]
    assert data["versions"]["pyrnnfast"].endswith(" in PyTorch")
    assert {row["suite"]: row["stepwise"] for row in data["rows"]} == {"tiny": False, "cells": True}
    for row in data["rows"]:
        assert set(row["results"]) == {"pyrnnfast", "PyTorch"}
        assert row["best"] == "PyTorch"
    assert {(line["suite"], line["task"]) for line in data["summary"]} == {
        (suite, task) for suite in ("tiny", "cells") for task in ("forward", "training")
    }


def test_command_refuses_what_the_bridge_has_not(tmp_path: Path) -> None:
    for options, complaint in {
        ("--suite=cells",): "--suite must be one of overview",
        ("--bridge", "--cell=gru_reset_before"): "--cell must be one that PyTorch has, got gru_reset_before",
    }.items():
        result = bench(*options, folder=tmp_path)
        assert (result.returncode, result.stdout) == (2, "")
        assert complaint in result.stderr


def test_command_names_the_extra_without_torch() -> None:
    require("typer")
    result = python(
        "import sys; sys.modules['torch'] = None; sys.argv = ['pyrnnfast', 'bench', '--bridge']\n"
        "from pyrnnfast.__main__ import main; main()"
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert "pyrnnfast[torch]" in result.stderr
    assert len(result.stderr.splitlines()) == 1
