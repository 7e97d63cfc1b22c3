"""The run: for each workload set the peers up, hold their results against ours, then time them in turns."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pyrnnfast.benchmark.case import Case
from pyrnnfast.benchmark.peers import PEERS, Ours, Peer
from pyrnnfast.benchmark.shapes import Workload
from pyrnnfast.benchmark.timing import THOROUGH, Pacing, Timing, alternate, timed


@dataclass(frozen=True)
class Row:
    """One task of one workload: each library's timing, and the seconds of its first call, by name."""

    workload: Workload
    task: str
    timings: dict[str, Timing]
    first: dict[str, float]

    def gflops(self, name: str) -> float:
        """Return a library's speed in GFLOP/s, by Workload.flops and its median."""
        return self.workload.flops(self.task) / self.timings[name].median / 1e9

    def ratio(self, name: str) -> float:
        """Return how many times as long as ours a library takes: above 1, ours is faster."""
        return self.timings[name].median / self.timings[Ours.name].median


@dataclass
class Report:
    """All rows of a run, and what it takes to read them: machine, versions, threads, pacing, absent peers."""

    machine: dict[str, str]
    versions: dict[str, str]
    threads: int
    pacing: Pacing
    absent: dict[str, list[str]]
    rows: list[Row] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """The libraries that were measured, ours first."""
        return list(self.versions)


def run(
    workloads: Iterable[Workload],
    threads: int,
    pacing: Pacing = THOROUGH,
    peers: Sequence[type[Peer]] = PEERS,
    progress: Callable[[Row], None] | None = None,
) -> Report:
    """Measure every workload with every library that is installed and can compute it.

    workloads: see shapes.suite. threads: for all libraries alike. pacing: how long. peers: adapters, ours
    first. progress: called with each row as it is done.
    Returns the report. Raises MismatchError, before anything of a workload is timed, when results disagree.
    """
    present = [peer for peer in peers if not peer.missing()]
    report = Report(
        machine=machine(),
        versions={peer.name: peer.version() for peer in present},
        threads=threads,
        pacing=pacing,
        absent={peer.name: peer.missing() for peer in peers if peer.missing()},
    )
    for workload in workloads:
        case = Case(workload)
        ready = [peer(case, threads) for peer in present if workload.cell in peer.cells]
        checked = [(task, *check(case, task, ready)) for task in workload.tasks]
        for task, able, first in checked:
            calls = {peer.name: peer.forward if task == "forward" else peer.training for peer in able}
            spare = [peer.name for peer in able if peer.slow]
            row = Row(workload, task, alternate(calls, pacing, spare), first)
            report.rows.append(row)
            if progress is not None:
                progress(row)
    return report


def check(case: Case, task: str, peers: Iterable[Peer]) -> tuple[list[Peer], dict[str, float]]:
    """Call each peer that does the task once, and hold what it gives against the first one's.

    Returns these peers and the seconds that the calls took. Raises MismatchError.
    """
    able = [peer for peer in peers if task in peer.tasks]
    first: dict[str, float] = {}
    ours = None
    for peer in able:
        first[peer.name], output = timed(peer.forward if task == "forward" else peer.training)
        theirs = peer.arrays(task, output)
        if ours is None:
            ours = {name: value.copy() for name, value in theirs.items()}
        case.compare(ours, theirs, peer.name)
    return able, first


def machine() -> dict[str, str]:
    """Describe the machine: processor, cores, system, Python, NumPy, our instruction set, the date."""
    from pyrnnfast import runtime

    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "isa": runtime.isa(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    names = {key.strip(): value.strip() for key, value in fields.items()}
    return names.get("model name") or platform.processor() or platform.machine()
