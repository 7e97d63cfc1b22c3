"""The code of the README and of docs/ runs: Python as it is, commands on small files, for a step or two."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ENVIRONMENT, require

from pyrnnfast import benchmark, runtime
from pyrnnfast.benchmark.timing import Pacing

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]

PROSE = "Once upon a time a boy had a dog.\nThe dog had a boy.\n" * 300
REVIEWS = "text,label\n" + "a fine soup,good\ncold and poor,bad\n" * 10
SLOTS = "play:O Bach:B-artist <=> music\nrain:O in:O New:B-city York:I-city <=> weather\n" * 10
FILES = {
    **dict.fromkeys(("book.txt", "other.txt", "tinyshakespeare.txt", "play.txt"), PROSE),
    **dict.fromkeys(("reviews.csv", "test.csv", "new.csv"), REVIEWS),
    **dict.fromkeys(("train.txt", "valid.txt", "test.txt"), SLOTS),
}
"""What the commands read."""
SET_UP = ("pip", "python3", "cd", "curl", "apt-get")
"""What makes an environment or fetches data, which is not for a test; .ci/run does what the README says."""


def blocks(document: str, language: str) -> list[str]:
    """Return the code blocks of a language in the order in which they stand."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def having(language: str) -> list[str]:
    return [document for document in DOCUMENTS if blocks(document, language)]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
@pytest.mark.parametrize("document", having("python"))
def test_python_runs_and_prints_what_stands_there(
    document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = blocks(document, "python")
    for peer in re.findall(r"^(?:import |from (?:pyrnnfast\.)?)(torch|keras|onnx)\b", "".join(code), re.M):
        require(peer)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in code:
        exec(compile(block, document, "exec"), names)
    assert capsys.readouterr().out == "".join(blocks(document, "text"))


def command_lines(document: str) -> list[list[str]]:
    lines = "".join(blocks(document, "bash")).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [each for each in words if each and each[0] not in SET_UP]


@pytest.mark.parametrize("document", [each for each in having("bash") if command_lines(each)])
def test_commands_run(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("typer")
    require("rich")
    from typer.testing import CliRunner

    from pyrnnfast.cli.main import app

    threads = runtime.get_num_threads()
    little_to_measure(monkeypatch)
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        Path(name).write_text(content, encoding="utf-8")
    for program, *words in command_lines(document):
        if program == "python":
            if not words[1].startswith("--") and not Path(words[1]).exists():  # test_examples* run them
                example_says_where_its_data_are(words)
            continue
        assert program == "pyrnnfast"
        if words[:2] == ["tag", "evaluate"]:
            require("seqeval")
        if "--bridge" in words:
            require("torch")
        result = CliRunner().invoke(app, shortened(words), prog_name="pyrnnfast")
        assert result.exit_code == 0, (words, result.output, result.exception)
    runtime.set_num_threads(threads)


def shortened(words: list[str]) -> list[str]:
    """Let a command that trains do so for two steps."""
    if "train" not in words:
        return words
    return [*shlex.split(re.sub(r"--(minutes|epochs|steps) \S+", "", shlex.join(words))), "--steps", "2"]


def little_to_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `pyrnnfast bench` measure the smallest shape, hastily, and no peer that is slow to load."""
    smallest = benchmark.suite("tiny")[:1]
    hurry = Pacing(blocks=3, block_seconds=0.0, warmup_seconds=0.0, pause_seconds=0.0)
    start, measure = benchmark.start, benchmark.measure
    monkeypatch.setattr(benchmark, "suite", lambda name, cells=None: smallest)
    monkeypatch.setattr(benchmark, "shape_suite", lambda shapes, cells=None: smallest)
    monkeypatch.setattr(benchmark, "PEERS", benchmark.PEERS[:1])
    monkeypatch.setattr(benchmark, "measure", lambda report, workloads, memory: measure(report, workloads))
    monkeypatch.setattr(
        benchmark, "start", lambda threads, pacing, peers, roofline: start(threads, hurry, peers)
    )


def example_says_where_its_data_are(words: list[str]) -> None:
    """Run an example without its data: it ends with one line that says how to get them."""
    script, data, *_ = words
    assert not Path(data).exists()
    result = subprocess.run(
        [sys.executable, str(ROOT / script), *words[1:]],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert re.search("pip download|curl ", result.stderr)
