"""The suite of options: rows beside the plain cell, and peers that have the same option."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import require
from test_bench_command import bench
from test_peers_bench import HURRY, WrongWeight

from pyrnnfast import benchmark, runtime
from pyrnnfast.benchmark import OPTIONS, Case, MismatchError, Shape, Workload
from pyrnnfast.benchmark.options import make_layer
from pyrnnfast.benchmark.peers import Keras, OnnxRuntime, Ours, Peer, Plain, PyTorch, Reference
from pyrnnfast.benchmark.run import check

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")  # PyTorch's own
SUITE = benchmark.suite("options")
TINY = [
    replace(workload, shape=shape)
    for workload in SUITE
    for shape in (Shape(5, 2, 3, 4, 1, workload.shape.directions), Shape(4, 3, 5, 7, 2, 2))
]
PAIRS = [
    (peer, workload, task)
    for peer in benchmark.PEERS[1:]
    for workload in TINY
    for task in workload.tasks
    if not peer.unable(workload, task)
]


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    threads = runtime.get_num_threads()
    yield
    runtime.set_num_threads(threads)


@pytest.mark.parametrize(
    "peer, workload, task", PAIRS, ids=lambda value: getattr(value, "name", None) or str(value)
)
def test_peers_agree(peer: type[Peer], workload: Workload, task: str) -> None:
    for package in peer.packages:
        require(package)
    case = Case(workload)
    ready = [Ours(case, 1), peer(case, 1)]
    assert list(check(case, task, ready)) == ["pyrnnfast", peer.name]


def test_the_suite() -> None:
    assert {workload.option for workload in SUITE} == set(OPTIONS)
    for workload in SUITE:
        option = OPTIONS[workload.option]
        assert workload.shape == Shape(50, 32, 512, 512, 1, option.directions)
        layer = make_layer(replace(workload, shape=Shape(1, 1, 2, 3, 1, option.directions)), "float32")
        assert workload.cell in option.cells
        if option.layer is None:
            assert all(f"{name}=" in repr(layer) for name in option.arguments)
        else:
            assert type(layer) is option.layer
        assert str(workload).startswith(f"{benchmark.shapes.LABELS[workload.cell]} {workload.option} T 50")
    assert {workload.cell for workload in benchmark.suite("options", ["gru"])} == {"gru"}
    assert benchmark.suite("options", ["one_gate_gru"]) == []


def test_who_has_what() -> None:
    peephole, clip = (next(w for w in SUITE if w.option == option) for option in ("peephole", "clip"))
    assert PyTorch.unable(peephole, "training") == "has no peephole"
    assert Keras.unable(clip, "forward") == "has no clip"
    assert OnnxRuntime.unable(peephole, "forward") == Reference.unable(peephole, "training") == ""
    assert Plain.unable(peephole, "training") == ""
    assert Plain.unable(replace(peephole, option=""), "training") == "is for options"


def test_sizes_of_an_option_follow_the_shape() -> None:
    sizes = {
        "proj_size": ({"weight_hr_l0": (256, 512), "weight_hh_l0": (2048, 256)}, 256),
        "merge": ({"weight_hh_l0_reverse": (2048, 512)}, 512),
        "jordan": ({"weight_oh_l0": (512, 256), "weight_ho_l0": (256, 512)}, 256),
        "one_gate": ({"weight_hh_l0": (1024, 512)}, 512),
    }
    for option, (weights, width) in sizes.items():
        case = Case(next(w for w in SUITE if w.option == option))
        assert case.dy.shape == (50, 32, width)
        for name, shape in weights.items():
            assert case.weights[name].shape == shape


def test_who_has_a_projection_and_other_layers() -> None:
    """PyTorch's LSTM alone; and whoever lacks a layer says so."""
    projected = {w.cell: w for w in SUITE if w.option == "proj_size"}
    assert PyTorch.unable(projected["lstm"], "training") == ""
    assert PyTorch.unable(projected["gru"], "training") == "has no proj_size"
    one_gate, jordan = (next(w for w in SUITE if w.option == option) for option in ("one_gate", "jordan"))
    assert Keras.unable(one_gate, "forward") == PyTorch.unable(one_gate, "training") == "has no OneGateGRU"
    assert Reference.unable(jordan, "forward") == "has no JordanRNN"
    assert Reference.unable(one_gate, "training") == Plain.unable(jordan, "forward") == ""


def test_rows_are_held_against_the_plain_cell() -> None:
    require("rich")
    report = benchmark.run(TINY[:1], 1, HURRY, peers=[Ours, Plain, Reference])
    for row in report.rows:
        assert list(row.timings) == ["pyrnnfast", "plain cell", "NumPy"]
        assert row.best is None
    text = benchmark.markdown(report)
    assert "| LSTM peephole |" in text
    row = report.rows[0]
    assert f"| {row.timings['pyrnnfast'].median / row.timings['plain cell'].median:.2f}x |" in text
    assert "of plain" in text.splitlines()[0]
    assert "plain cell " not in text.partition("instruction set")[2]  # it has no version of its own
    assert [line["option"] for line in benchmark.to_json(report)["rows"]] == ["peephole"] * 2
    plain = benchmark.run([replace(TINY[0], option="")], 1, HURRY, peers=[Ours, Plain, Reference])
    assert "plain" not in benchmark.markdown(plain)


def test_results_that_differ_are_refused_unless_masks_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MismatchError, match="wrong and pyrnnfast disagree on"):
        benchmark.run(TINY[:1], 1, HURRY, peers=[Ours, WrongWeight])
    monkeypatch.setitem(OPTIONS, "peephole", OPTIONS["peephole"]._replace(drawn=True))
    assert len(benchmark.run(TINY[:1], 1, HURRY, peers=[Ours, WrongWeight]).rows) == 2


def test_keras_is_measured_by_whole_sequences() -> None:
    plain = Workload("lstm", Shape(1, 2, 3, 4))
    for special in ("ragged", "streaming", "stepwise"):
        assert Keras.unable(replace(plain, **{special: True}), "forward").startswith("is measured by whole")
    require("keras")
    refuses_to_step = Keras(Case(plain), 1)
    with pytest.raises(NotImplementedError, match="step by step"):
        refuses_to_step.step()


def test_command_refuses_a_cell_without_options(tmp_path: Path) -> None:
    result = bench("--suite=options", "--cell=one_gate_gru", folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert "--cell must be one that the suite has, got one_gate_gru" in result.stderr
