"""What the bench measures: arithmetic, suites, shapes that users write, what bounds its time, the summary."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import refuses

from pyrnnfast import benchmark
from pyrnnfast.benchmark import Case, Report, Row, Shape, Timing, Workload
from pyrnnfast.benchmark.budget import fit, fitting_steps, round_down, within
from pyrnnfast.benchmark.peers import Ours, Reference
from pyrnnfast.benchmark.summary import geometric_mean, ragged_shares, summarize

# --- Arithmetic


def test_flops_of_forward_and_training() -> None:
    lstm = Workload("lstm", Shape(steps=50, rows=32, inputs=100, hidden=512))
    assert lstm.flops("forward") == 2 * 4 * 512 * (100 + 512) * 50 * 32
    assert lstm.flops("training") == 3 * lstm.flops("forward")


def test_flops_of_a_bidirectional_stack() -> None:
    gru = Workload("gru", Shape(600, 128, 64, 128, layers=2, directions=2))
    first, second = 2 * 3 * 128 * (64 + 128), 2 * 3 * 128 * (256 + 128)
    assert gru.flops("forward") == 2 * (first + second) * 600 * 128


def test_flops_of_a_ragged_batch_follow_the_sum_of_its_lengths() -> None:
    ragged = Workload("rnn_tanh", Shape(100, 64, 3, 5), ragged=True)
    lengths = ragged.lengths()
    assert lengths is not None
    assert lengths.shape == (64,)
    assert 1 <= lengths.min() < 20 < 80 < lengths.max() <= 100
    assert ragged.flops("forward") == 2 * 5 * (3 + 5) * int(lengths.sum())
    np.testing.assert_array_equal(Case(ragged).lengths, lengths)
    assert Workload("rnn_tanh", Shape(100, 64, 3, 5)).lengths() is None


def row(peer: float, task: str = "forward", cell: str = "lstm", suite: str = "s", ours: float = 1.0) -> Row:
    """A row in which PyTorch takes `peer` times a second, ONNX Runtime twice that, NumPy next to nothing."""
    times = {"pyrnnfast": ours, "PyTorch": peer, "ONNX Runtime": 2 * peer, "NumPy": 1e-3}
    return Row(
        Workload(cell, Shape(10, 10, 10, 10), suite=suite),
        task,
        {name: Timing(median, median, median, 9) for name, median in times.items()},
        first={},
        rivals=("PyTorch", "ONNX Runtime", "OpenVINO"),
        bounds={"FMA": 0.25, "L2": 0.125},
    )


def test_ratio_gflops_best_peer_and_limit() -> None:
    one = row(peer=2.5, ours=0.5)
    assert one.ratio("PyTorch") == pytest.approx(5)
    assert one.ratio("pyrnnfast") == 1
    assert one.ratio("NumPy", "PyTorch") == pytest.approx(1e-3 / 2.5)
    assert one.gflops("pyrnnfast") == pytest.approx(2 * 4 * 10 * 20 * 100 / 0.5 / 1e9)
    assert one.best == "PyTorch"  # the reference is no rival
    assert one.of_limit() == pytest.approx(0.5)
    assert one.of_limit("PyTorch") == pytest.approx(0.1)
    alone = Row(one.workload, "forward", {"pyrnnfast": one.timings["pyrnnfast"]}, {}, rivals=one.rivals)
    assert alone.best is None
    assert alone.of_limit() is None


# --- Suites


def test_deepbench_has_the_rows_of_its_tables() -> None:
    training, inference = set(), set()
    for hidden, batches, steps in [
        *((hidden, (16, 32, 64, 128), 25) for hidden in (512, 1024, 2048, 4096)),
        (1536, (8, 16, 32), 50),
        (256, (16, 32, 64), 150),
    ]:
        training |= {("lstm", hidden, rows, steps) for rows in batches}
    for hidden in (1760, 2048, 2560):
        training |= {("rnn_tanh", hidden, rows, 50) for rows in (16, 32, 64, 128)}
    for hidden, rows, steps in [
        (512, 32, 1),
        (1024, 32, 1500),
        (1024, 64, 1500),
        (1536, 32, 375),
        (2048, 32, 375),
        (2560, 32, 375),
        (2816, 32, 1500),
    ]:
        training.add(("gru", hidden, rows, steps))
    for rows in (1, 2, 4):
        for hidden, steps in {512: 25, 1024: 25, 2048: 25, 1536: 50, 256: 150}.items():
            inference.add(("lstm", hidden, rows, steps))
        for hidden, steps in {2816: 1500, 2048: 375, 1536: 375, 2560: 375, 512: 1, 1024: 1500}.items():
            inference.add(("gru", hidden, rows, steps))
    assert (len(training), len(inference)) == (22 + 12 + 7, 15 + 18)
    suite = benchmark.suite("deepbench")
    assert len(suite) == len(training) + len(inference)
    for tasks, expected in {("forward", "training"): training, ("forward",): inference}.items():
        chosen = [workload for workload in suite if workload.tasks == tasks]
        found = {(w.cell, w.shape.hidden, w.shape.rows, w.shape.steps) for w in chosen}
        assert found == expected
        assert all(
            w.shape == Shape(w.shape.steps, w.shape.rows, w.shape.hidden, w.shape.hidden) for w in chosen
        )


def test_other_suites() -> None:
    for name in ("overview", "small", "streaming", "ragged", "text"):
        assert {workload.cell for workload in benchmark.suite(name)} == {"lstm", "gru", "rnn_tanh"}
        assert {workload.suite for workload in benchmark.suite(name)} == {name}
    assert Shape(100, 1, 256, 256) in {workload.shape for workload in benchmark.suite("small")}
    assert {workload.shape for workload in benchmark.suite("text")} == {Shape(600, 128, 64, 128, 2, 2)}
    for workload in benchmark.suite("streaming"):
        assert workload.streaming
        assert workload.tasks == ("forward",)
        assert workload.shape.steps == 1
        assert workload.shape.inputs == workload.shape.hidden
    ragged = benchmark.suite("ragged")
    padded = {(w.cell, w.shape) for w in ragged if not w.ragged}
    assert len(padded) == 3
    assert padded < {(w.cell, w.shape) for w in ragged if w.ragged}


def test_suite_chooses_cells() -> None:
    chosen = benchmark.suite("overview", ["rnn_relu", "gru"])
    assert [workload.cell for workload in chosen] == ["rnn_relu"] * 3 + ["gru"] * 3
    refuses(ValueError, lambda: benchmark.suite("huge"))
    refuses(ValueError, lambda: benchmark.suite("overview", ["sru"]))


def test_shapes_that_users_write() -> None:
    assert benchmark.parse_shape("5,2,3,4") == Shape(5, 2, 3, 4)
    assert benchmark.parse_shape("5, 2, 3, 4, 2") == Shape(5, 2, 3, 4, layers=2)
    assert benchmark.parse_shape("5,2,3,4,1,2") == Shape(5, 2, 3, 4, directions=2)
    assert [str(w) for w in benchmark.shape_suite(["5,2,3,4"], ["gru"])] == ["GRU T 5, N 2, C 3, H 4"]
    assert [w.suite for w in benchmark.shape_suite(["5,2,3,4"])] == ["shape"] * 3


WRONG = "  5  5,2,3  5,2,3,4,1,1,1  5,2,3,x  5,2,3,4.0  0,2,3,4  -1,2,3,4  5,2,3,4,1,3  5,,3,4  5,2,3,4,0"


@pytest.mark.parametrize(
    "text", [*WRONG.split("  "), "5,2,3,²", "5,2,3," + "9" * 5000], ids=lambda text: text[:20]
)
def test_shapes_that_are_none(text: str) -> None:
    refuses(ValueError, lambda: benchmark.parse_shape(text))


# --- What bounds the time


def test_a_cut_is_told() -> None:
    workload = Workload("gru", Shape(1500, 32, 8, 8))
    cut = workload.cut(300)
    assert cut.shape == Shape(300, 32, 8, 8)
    assert cut.sizes == "T 1500 cut to 300, N 32, C 8, H 8"
    assert str(cut.cut(20)) == "GRU T 1500 cut to 20, N 32, C 8, H 8"
    assert workload.cut(1500) is workload


def test_two_digits_are_kept() -> None:
    assert [round_down(number) for number in (0.3, 1.9, 99, 137.5, 1499)] == [1, 1, 99, 130, 1400]


class Sleeper(Ours):
    """A library that takes 1 ms a step, and `once` a call."""

    name = "sleeper"
    clock = once = 0.0

    def forward(self) -> None:
        Sleeper.clock += Sleeper.once + self.case.workload.shape.steps * 1e-3


def test_steps_that_fit_are_found_by_a_short_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyrnnfast.benchmark.timing.time.perf_counter", lambda: Sleeper.clock)
    long = Workload("lstm", Shape(1000, 100, 50, 50))
    assert fitting_steps(Sleeper, long, "forward", 1, 0.1005) == 100
    assert fitting_steps(Sleeper, long, "forward", 1, 0.0155) == 15
    assert fitting_steps(Sleeper, long, "forward", 1, 1e-9) == 1
    assert fit((long, "forward"), [Sleeper], 1, 0.1005).sizes.startswith("T 1000 cut to 100,")
    monkeypatch.setattr(Sleeper, "once", 0.06)
    assert fitting_steps(Sleeper, long, "forward", 1, 0.1005) == 40
    assert fitting_steps(Sleeper, long, "forward", 1, 0.05) == 1
    tried = Sleeper.clock
    assert fitting_steps(Sleeper, long, "forward", 1, 20.0) == 1000
    assert Sleeper.clock == tried  # too little work to be tried


def test_a_slow_library_is_left_out_of_a_long_row() -> None:
    pacing = benchmark.Pacing(1, 0.0, 0.0, 0.0, slow_call=1e-6)
    report = benchmark.run([Workload("lstm", Shape(50, 1, 8, 8), ("forward",))], 1, pacing, [Ours, Reference])
    assert list(report.rows[0].timings) == ["pyrnnfast"]
    assert report.rows[0].skipped == {"NumPy": "would take over 1e-06 s a call"}
    assert "NumPy would take over 1e-06 s a call (1 row)." in benchmark.markdown(report)


def taken(jobs: list, seconds: float, cost) -> list:
    """The jobs that fit, when each takes `cost` seconds on a clock of its own."""
    now = [0.0]
    chosen = []
    for job in within(jobs, seconds, lambda: now[0]):
        chosen.append(job)
        now[0] += cost(job)
    assert now[0] <= seconds
    return chosen


def test_jobs_that_fit_into_a_time() -> None:
    jobs = [
        (Workload("lstm", Shape(9, 1, size, size), suite=suite), "forward")
        for suite in ("a", "b")
        for size in (8, 1, 4, 2)
    ]
    sizes = lambda chosen: [(w.suite, w.shape.hidden) for w, _ in chosen]  # noqa: E731
    everything = [(suite, size) for suite in "ab" for size in (1, 2, 4, 8)]
    size = lambda job: float(job[0].shape.hidden)  # noqa: E731
    assert sizes(taken(jobs, 30, size)) == everything
    assert sizes(taken(jobs, 18, size)) == [*everything[:3], *everything[4:7]]
    assert sizes(taken(jobs, 5.5, lambda job: 0.1)) == everything
    assert sizes(taken(jobs, 2.5, lambda job: 1.0)) == [("a", 1), ("b", 1)]
    # what the first suite leaves is the second's
    assert sizes(taken(jobs[:1] + jobs[4:], 24, size)) == [("a", 8), *everything[4:]]


def test_rows_that_do_not_fit_are_named() -> None:
    pacing = benchmark.Pacing(1, 0.0, 0.0, pause_seconds=0.1, total_seconds=0.1)
    report = benchmark.run(benchmark.suite("tiny", ["lstm"])[:2], 1, pacing, [Ours])
    assert len(report.rows) == 1
    assert len(report.left_out["tiny"]) == 3
    assert f"Of tiny 3 were not measured: {'; '.join(report.left_out['tiny'])}." in benchmark.markdown(report)
    assert report.left_out["tiny"][0] == "LSTM T 5, N 2, C 3, H 4 training"


# --- The summary


def test_geometric_mean() -> None:
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4)
    assert geometric_mean(iter([3.0])) == pytest.approx(3)


def report_of(rows: list[Row]) -> Report:
    return Report({}, {"pyrnnfast": "1", "PyTorch": "2"}, 1, benchmark.QUICK, {}, (), rows=rows)


def test_summary_of_each_suite_and_task() -> None:
    rows = [row(2.0), row(8.0, cell="gru"), row(4.0, "training"), row(0.5, suite="t"), row(1.0, cell="gru")]
    first, second, third = summarize(report_of(rows))
    assert (first.suite, first.task, first.ours, first.against) == ("s", "forward", "pyrnnfast", "best peer")
    assert first.rows == 3
    assert first.mean == pytest.approx(16 ** (1 / 3))
    assert first.cells == pytest.approx({"LSTM": 2, "GRU": 8**0.5})
    assert (first.worst, first.worst_row) == (1.0, "GRU T 10, N 10, C 10, H 10, PyTorch")
    assert (second.suite, second.task, second.against, second.mean) == ("s", "training", "PyTorch", 4.0)
    assert (third.suite, third.mean) == ("t", 0.5)


def test_summary_of_a_stream_and_of_rows_without_a_peer() -> None:
    streamed = row(4.0)
    streamed.timings["pyrnnfast stream"] = Timing(0.5, 0.5, 0.5, 9)
    means = {summary.ours: summary.mean for summary in summarize(report_of([streamed]))}
    assert means == pytest.approx({"pyrnnfast": 4.0, "pyrnnfast stream": 8.0})
    alone = Row(streamed.workload, "forward", {"pyrnnfast": Timing(1, 1, 1, 1)}, {})
    assert summarize(report_of([alone])) == []


def test_ragged_time_in_units_of_the_padded_batch() -> None:
    ragged, padded = (
        Row(
            Workload("lstm", Shape(10, 4, 3, 3), ragged=ragged),
            "forward",
            {"pyrnnfast": Timing(time, 1, 1, 1), "PyTorch": Timing(6, 6, 6, 1)},
            {},
            rivals=("PyTorch",),
        )
        for ragged, time in ((True, 1.5), (False, 3.0))
    )
    assert ragged_shares(report_of([ragged, padded])) == {"LSTM T 10, N 4, C 3, H 3, ragged forward": 0.5}
    assert ragged_shares(report_of([ragged])) == {}
    assert [(summary.rows, summary.mean) for summary in summarize(report_of([ragged, padded]))] == [(1, 4.0)]
