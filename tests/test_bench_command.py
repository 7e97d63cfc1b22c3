"""What comes out of the bench: tables, JSON, and the command."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, python, require
from test_peers_bench import HURRY, TINY, Refuses

from pyrnnfast import benchmark
from pyrnnfast.benchmark.peers import Ours, Reference


class Rival(Reference):
    """A library to be faster than."""

    name = "rival"
    rival = True
    slow = False


class Absent(Reference):
    """A library that is not installed."""

    name = "absent"
    packages = ("pyrnnfast_no_such_package",)


def test_report_as_json_and_tables() -> None:
    require("rich")
    report = benchmark.run(TINY[:3], 1, HURRY, peers=[Ours, Rival, Reference, Refuses, Absent], memory=True)
    data = json.loads(json.dumps(benchmark.to_json(report), allow_nan=False))
    assert set(data) == {
        *("schema", "machine", "versions", "threads", "pacing", "absent", "rooflines", "left_out", "ragged"),
        *("summary", "rows"),
    }
    assert data["schema"] == 2
    assert {"processor", "cores", "system", "kernel", "python", "numpy", "isa", "date"} <= set(
        data["machine"]
    )
    assert data["threads"] == 1
    assert data["absent"] == {"absent": ["pyrnnfast_no_such_package"]}
    assert list(data["versions"]) == ["pyrnnfast", "rival", "NumPy", "refuses"]
    assert data["left_out"] == {"tiny": []}
    assert [(line["suite"], line["task"], line["rows"]) for line in data["summary"]] == [
        ("tiny", "forward", 3)
    ]
    assert len(data["rows"]) == 6
    for row in data["rows"]:
        assert set(row) == {
            *("suite", "cell", "shape", "uncut", "ragged", "streaming", "stepwise", "option", "task"),
            *("flops", "limit", "bound", "bounds", "best", "skipped", "memory_skipped", "results"),
        }
        assert row["best"] == "rival"
        assert row["skipped"] == {"refuses": "refuses: too small"}
        assert set(row["shape"]) == {"steps", "rows", "inputs", "hidden", "layers", "directions"}
        ours = row["results"]["pyrnnfast"]
        for result in row["results"].values():
            assert set(result) == {
                *("median", "low", "high", "calls", "first", "gflops", "ratio", "of_limit", "memory")
            }
            assert result["ratio"] == pytest.approx(result["median"] / ours["median"])
            assert result["gflops"] == pytest.approx(row["flops"] / result["median"] / 1e9)
        for name in ("pyrnnfast", "rival"):
            assert (row["results"][name]["memory"] is not None) == (row["task"] == "training")
    lines = benchmark.markdown(report).splitlines()
    assert len(lines) == 2 + 6 + 3 + 3
    for table in (lines[:8], lines[-3:]):
        assert all(line.count("|") == table[0].count("|") for line in table)
    assert "absent is not installed (pip install pyrnnfast_no_such_package)" in lines[9]
    assert "refuses refuses: too small (6 rows)" in lines[9]
    assert [table.row_count for table in benchmark.rich_tables(report)] == [6, 1]


def test_tables_without_anything_to_compare() -> None:
    report = benchmark.run(TINY[:1], 1, HURRY, peers=[Ours])
    assert benchmark.markdown(report).splitlines()[0] == "| cell | shape | task | ms | pyrnnfast | cold ms |"
    assert len(benchmark.rich_tables(report)) == 1


def test_memory_that_was_not_measured() -> None:
    class Hidden(Rival):
        """A fresh process does not find it in its module."""

        name = "hidden"

    report = benchmark.run(TINY[:1], 1, HURRY, peers=[Ours, Hidden], memory=True)
    forward, training = benchmark.to_json(report)["rows"]
    assert forward["memory_skipped"] == forward["skipped"] == training["skipped"] == {}
    assert list(training["memory_skipped"]) == ["hidden"]
    assert training["results"]["hidden"]["memory"] is None
    assert "hidden's memory was not measured: AttributeError: " in benchmark.markdown(report)


# --- The command


def bench(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    require("typer")
    require("rich")
    environment = {**ENVIRONMENT, "COLUMNS": "80"}
    command = [sys.executable, "-m", "pyrnnfast", "bench", *options]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_command_prints_a_table_and_writes_files(tmp_path: Path) -> None:
    require("matplotlib")
    options = ("--suite=tiny", "--quick", "--cell=lstm", "--threads=1", "--json=f.json", "--plot=f.png")
    result = bench(*options, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "GFLOP/s" in result.stdout
    rows = [line for line in result.stdout.splitlines() if "│" in line]
    rows = [row for row in rows if "best peer /" not in row and "PyTorch /" not in row]
    assert len(rows) == 7, result.stdout  # piped, so each row is one line
    assert all("LSTM" in row and "N " in row for row in rows)
    assert "7/7 LSTM" in result.stderr
    data = json.loads((tmp_path / "f.json").read_text())
    assert [row["cell"] for row in data["rows"]] == ["lstm"] * 7
    assert data["left_out"] == {"tiny": []}
    assert (data["machine"]["isa"] == "reference") == (data["rooflines"] == {})
    for row in data["rows"]:
        assert {"FMA", "memory"} <= set(row["bounds"]) if data["rooflines"] else row["bounds"] == {}
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.json", "f.png"]


def test_command_wants_matplotlib_for_a_plot_before_it_measures() -> None:
    require("typer")
    require("rich")
    result = python(
        "import sys; sys.modules['matplotlib.figure'] = None\n"
        "sys.argv = ['pyrnnfast', 'bench', '--plot=f.png']\n"
        "from pyrnnfast.__main__ import main; main()"
    )
    assert result.returncode == 2
    wanted = 'pyrnnfast: a plot needs matplotlib: install it with pip install "pyrnnfast[cli]"'
    assert (result.stdout, result.stderr.splitlines()) == ("", [wanted])


@pytest.mark.parametrize(
    "option, complaint",
    [
        ("--cell=sru", "--cell must be one of lstm, gru, rnn"),
        ("--task=sleeping", "--task must be one of forward, training, got sleeping"),
        ("--shape=5,2,3", "--shape must be T,N,C,H with L and D after them or not, integers from 1"),
        ("--threads=-1", "--threads must be 0 to 1024, got -1"),
        ("--threads=2000", "--threads must be 0 to 1024, got 2000"),
        ("--suite=huge", "--suite must be one of overview"),
        ("--json=no/such/folder.json", "--json must be a file in an existing folder"),
        ("--json=/proc/f.json", "/proc/f.json: No such file"),
        ("--json=/dev/null", "/dev/null: must be the name of a file"),
        ("--plot=no/such/folder.png", "--plot must be a file in an existing folder"),
        ("--plot=.", "--plot must be a file in an existing folder"),
        ("--plot=/proc/f.png", "/proc/f.png: No such file"),
        ("--json=no/such/f --cell=sru", "--cell must be one of lstm, gru, rnn"),
        ("--json=f --plot=./f", "--json and --plot must be two files, got f for both"),
    ],
)
def test_command_refuses_bad_options_in_one_line(option: str, complaint: str, tmp_path: Path) -> None:
    result = bench(*option.split(), folder=tmp_path)
    assert result.returncode == 2
    assert complaint in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_command_measures_shapes_and_one_task(tmp_path: Path) -> None:
    options = (
        "--shape=3,2,2,2",
        "--shape=2,1,2,2,2,2",
        "--cell=gru",
        "--task=training",
        "--quick",
        "--markdown",
    )
    result = bench(*options, "--markdown", "--json=f.json", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / "f.json").read_text())["rows"]
    assert [(row["suite"], row["cell"], row["task"]) for row in rows] == [("shape", "gru", "training")] * 2
    assert "| GRU | T 2, N 1, C 2, H 2, 2 layers, bidirectional | training |" in result.stdout


def test_ctrl_c_keeps_the_rows_that_are_done(tmp_path: Path) -> None:
    for package in ("typer", "rich", "matplotlib"):
        require(package)
    command = [sys.executable, "-m", "pyrnnfast", "bench", "--suite=tiny", "--no-memory", "--json=f.json"]
    command += ["--plot=f.png"]
    run = subprocess.Popen(
        command, cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "f.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    output, errors = run.communicate(timeout=60)
    assert run.returncode == 130
    assert errors.splitlines()[-1] == "pyrnnfast: interrupted"
    data = json.loads((tmp_path / "f.json").read_text())
    left_out = len(data["left_out"]["tiny"])
    assert 0 < len(data["rows"]) == 27 - left_out < 27
    assert f"Of tiny {left_out} were not measured" in " ".join(output.split())  # it may be broken into lines
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.json", "f.png"]
