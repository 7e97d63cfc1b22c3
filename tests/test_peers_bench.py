"""The bench: adapters against each other, refusal of results that disagree, protocol, memory."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from conftest import python, require

from pyrnnfast import benchmark, runtime
from pyrnnfast.benchmark import Case, MismatchError, Pacing, Shape, UnsupportedError, Workload
from pyrnnfast.benchmark.memory import training_peak
from pyrnnfast.benchmark.peers import OnnxRuntime, OpenVINO, Ours, OursStream, Peer, Plain, PyTorch, Reference
from pyrnnfast.benchmark.run import STREAM_STEPS, check
from pyrnnfast.benchmark.timing import alternate, rest

HURRY = Pacing(blocks=3, block_seconds=0.0, warmup_seconds=0.0, pause_seconds=0.0)
TINY = benchmark.suite("tiny")


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    threads = runtime.get_num_threads()
    yield
    runtime.set_num_threads(threads)


# --- Peers


MORE = [
    *(
        Workload(cell, Shape(6, 5, 3, 4, layers, directions), ragged=True)
        for cell in ("rnn_tanh", "lstm", "gru", "gru_reset_before", "one_gate_gru")
        for layers, directions in ((1, 1), (2, 2))
    ),
    *(
        Workload(cell, Shape(1, 3, 5, 4, layers), ("forward",), streaming=True)
        for cell in ("rnn_relu", "lstm", "gru")
        for layers in (1, 2)
    ),
]
PAIRS = [
    (peer, workload, task)
    for peer in benchmark.PEERS[1:]
    for workload in TINY + MORE
    for task in workload.tasks
    if not peer.unable(workload, task)
]


@pytest.mark.parametrize(
    "peer, workload, task", PAIRS, ids=lambda value: getattr(value, "name", None) or str(value)
)
def test_peers_agree(peer: type[Peer], workload: Workload, task: str) -> None:
    for package in peer.packages:
        require(package)
    case = Case(workload)
    ready = [Ours(case, 1), peer(case, 1)]
    first = check(case, task, ready)
    assert list(first) == ["pyrnnfast", peer.name]
    assert all(seconds > 0 for seconds in first.values())
    for library in ready:
        arrays = library.arrays(task, library.call(task)())
        if task == "training":
            assert list(arrays) == ["y", "dx", *case.weights]
        elif workload.streaming:
            assert list(arrays) == ["y", "h", "c"][: 1 + len(case.zero_states())]


def test_what_peers_cannot_do() -> None:
    stream, plain = MORE[-1], TINY[0]
    assert PyTorch.unable(Workload("gru_reset_before", plain.shape), "forward") == "has no GRU reset before"
    assert {peer.unable(plain, "training") for peer in (OnnxRuntime, OpenVINO)} == {"does not train"}
    assert OursStream.unable(plain, "forward") == "is for single steps"
    assert OursStream.unable(stream, "forward") == ""
    assert Plain.unable(plain, "forward") == "is for options"
    others = [peer for peer in benchmark.PEERS if peer not in (OursStream, Plain)]
    assert all(peer.unable(plain, "forward") == "" for peer in others)


def test_openvino_asks_no_network() -> None:
    require("openvino")
    require("onnx")
    result = python(
        "import sys; seen = []; sys.addaudithook(lambda name, _: seen.append(name))\n"
        "from pyrnnfast import benchmark; from pyrnnfast.benchmark.peers import OpenVINO\n"
        "OpenVINO(benchmark.Case(benchmark.suite('tiny')[0]), 1).forward()\n"
        "assert 'import' in seen; print([name for name in seen if name.startswith('socket.')])"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


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


class StateLost(Reference):
    """The reference, which begins every step with zeros."""

    name = "wrong"

    def step(self) -> Any:
        self._states = [None, None]
        return super().step()


def test_a_stream_that_forgets_its_state_is_refused() -> None:
    assert STREAM_STEPS > 1
    with pytest.raises(MismatchError, match="wrong and pyrnnfast disagree on y"):
        benchmark.run([MORE[-1]], 1, HURRY, peers=[Ours, StateLost])


class Refuses(Reference):
    """A library that says no when it is set up."""

    name = "refuses"

    def __init__(self, case: Case, threads: int) -> None:
        raise UnsupportedError("refuses: too small")


# --- Protocol


def test_blocks_alternate() -> None:
    turns: list[str] = []
    calls = {name: lambda name=name: turns.append(name) for name in ("a", "b")}
    pacing = Pacing(4, 1e-9, 0.0, 0.0)
    timings = alternate(calls, pacing, dict.fromkeys(calls, 0.0))
    assert "".join(turns) == "ab" + "abbaabba"
    assert {name: timing.calls for name, timing in timings.items()} == {"a": 4, "b": 4}


def test_short_calls_are_woken_and_long_ones_have_few_blocks() -> None:
    counts = {"short": 0, "long": 0}

    def short() -> None:
        counts["short"] += 1

    def long() -> None:
        counts["long"] += 1
        time.sleep(0.01)

    pacing = Pacing(5, 0.005, 0.0, 0.0, library_seconds=0.02)
    timings = alternate({"short": short, "long": long}, pacing, {"short": 0.0, "long": 2.0})
    assert timings["long"].calls == counts["long"] == 3  # no warm-up, one call a block, three blocks
    assert counts["short"] > timings["short"].calls  # one at least was not timed


def test_a_turn_waits_for_threads_that_spin() -> None:
    def spin() -> None:
        while time.perf_counter() < end:
            pass

    end = time.perf_counter() + 0.3
    spinner = threading.Thread(target=spin)
    spinner.start()
    rest(0.05)
    assert time.perf_counter() > end
    spinner.join()
    rest(0.0)


def test_median_and_quartiles() -> None:
    timings = alternate({"a": lambda: None}, Pacing(50, 0.0, 0.0, 0.0), {"a": 0.0})
    assert timings["a"].calls == 50
    assert 0 < timings["a"].low <= timings["a"].median <= timings["a"].high < 1


def test_memory_of_training_grows_with_the_batch() -> None:
    few, many = (Workload("lstm", Shape(100, rows, 8, 64)) for rows in (1, 256))
    peaks = [training_peak(Ours, workload, 1) for workload in (few, many)]
    kept = 100 * 256 * 64 * 4 * 5 / 2**20  # y, c and the gates' less one
    assert 0 <= peaks[0] < kept < peaks[1] < 10 * kept


def test_memory_of_a_peer_that_fails() -> None:
    with pytest.raises(RuntimeError, match="UnsupportedError: refuses: too small"):
        training_peak(Refuses, TINY[0], 1)
