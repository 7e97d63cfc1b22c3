"""The run: for each row set the libraries up, hold their results against ours, then time them in turns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pyrnnfast.benchmark import roofline as limits
from pyrnnfast.benchmark.budget import Job, fit, fitting_steps, within
from pyrnnfast.benchmark.case import Case
from pyrnnfast.benchmark.machine import machine
from pyrnnfast.benchmark.memory import training_peak
from pyrnnfast.benchmark.peers import PEERS, Ours, Peer, UnsupportedError
from pyrnnfast.benchmark.roofline import Roofline
from pyrnnfast.benchmark.shapes import Workload
from pyrnnfast.benchmark.timing import THOROUGH, Pacing, Timing, alternate, rest, timed

STREAM_STEPS = 3
"""Steps of a stream that are held against ours."""
MACHINE_EVERY = 10
"""Rows after which the machine's limits are measured again: a neighbour may have spoilt the figures."""


@dataclass(frozen=True)
class Row:
    """One task of one workload; everything by a library's name."""

    workload: Workload
    task: str
    timings: dict[str, Timing]
    first: dict[str, float]
    """Seconds of the first call after the library was set up."""
    memory: dict[str, float] = field(default_factory=dict)
    """MiB at the peak of one training call."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Why a library was not measured."""
    memory_skipped: dict[str, str] = field(default_factory=dict)
    """Why the memory of one that was measured was not."""
    rivals: tuple[str, ...] = ()
    """Libraries that our speed is compared with."""
    bounds: dict[str, float] = field(default_factory=dict)
    """Seconds that a call takes at least on this machine, by what limits it; see `roofline.bounds`."""

    def gflops(self, name: str) -> float:
        """Return a library's speed in GFLOP/s, by Workload.flops and its median."""
        return self.workload.flops(self.task) / self.timings[name].median / 1e9

    def ratio(self, name: str, ours: str = Ours.name) -> float:
        """Return how many times as long as ours a library takes: above 1, ours is faster."""
        return self.timings[name].median / self.timings[ours].median

    @property
    def best(self) -> str | None:
        """The fastest rival; None if there is none."""
        timed = [name for name in self.rivals if name in self.timings]
        return min(timed, key=lambda name: self.timings[name].median, default=None)

    @property
    def limit(self) -> float | None:
        """The most of the bounds, in seconds; None if the machine was not measured."""
        return max(self.bounds.values(), default=None)

    @property
    def bound(self) -> str | None:
        """What limits a call: "FMA" or a level of the memory."""
        return max(self.bounds, key=self.bounds.__getitem__, default=None)

    def of_limit(self, name: str = Ours.name) -> float | None:
        """Return the part of the machine's limit that a library reaches, 1 at best; None without a limit."""
        return None if self.limit is None else self.limit / self.timings[name].median


@dataclass
class Report:
    """All rows of a run, and what it takes to read them: machine, versions, threads, pacing, absent peers."""

    machine: dict[str, str]
    versions: dict[str, str]
    threads: int
    pacing: Pacing
    absent: dict[str, list[str]]
    peers: Sequence[type[Peer]]
    rooflines: dict[str, Roofline] = field(default_factory=dict)
    """By instruction set, the default first; empty if the machine was not measured."""
    rows: list[Row] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Rows that are not measured, yet or at all, by suite."""

    @property
    def roofline(self) -> Roofline | None:
        """The limits of the instruction set that we run."""
        return next(iter(self.rooflines.values()), None)

    def bounds(self, workload: Workload, task: str) -> dict[str, float]:
        """Return the least seconds of a call, by what limits it; empty if the machine was not measured."""
        return {} if self.roofline is None else limits.bounds(self.roofline, workload, task)

    @property
    def names(self) -> list[str]:
        """The libraries that were measured, ours first."""
        return [name for name in self.versions if any(name in row.timings for row in self.rows)]


def percent(part: float) -> str:
    """Write a part as per cent: whole ones, below one the first digit that is not zero."""
    return f"{part:.0%}" if part >= 0.01 else f"{100 * part:.1g}%"


def start(
    threads: int,
    pacing: Pacing = THOROUGH,
    peers: Sequence[type[Peer]] = PEERS,
    roofline: bool = False,
) -> Report:
    """Begin a report: see which libraries are installed, describe the machine.

    threads: for all libraries alike. pacing: how long to measure. peers: adapters, ours first. roofline:
    whether the machine's limits are measured too, with every instruction set.
    """
    present = [peer for peer in peers if not peer.missing()]
    return Report(
        machine=machine(),
        versions={peer.name: peer.version() for peer in present},
        threads=threads,
        pacing=pacing,
        absent={peer.name: peer.missing() for peer in peers if peer.missing()},
        peers=present,
        rooflines=limits.measure_all(threads) if roofline else {},
    )


def measure(report: Report, workloads: Iterable[Workload], memory: bool = False) -> Iterator[Row]:
    """Measure every task of every workload with every library that can compute it.

    report: from `start`; each row is added to it, then yielded. workloads: see `suite`. memory: whether the
    peak memory of training is measured too, in a process for each library.
    Raises MismatchError, before anything of a row is timed, when results disagree.
    """
    jobs: list[Job] = [(workload, task) for workload in workloads for task in workload.tasks]
    places = {job: place for place, job in enumerate(jobs)}
    done: dict[Job, Row] = {}
    report.left_out = {}
    for job in jobs:
        report.left_out.setdefault(job[0].suite, []).append(_label(job))
    seconds = report.pacing.total_seconds
    for number, job in enumerate(jobs if seconds is None else within(jobs, seconds), 1):
        done[job] = _row(report, job, memory)
        if report.roofline is not None and number % MACHINE_EVERY == 0:
            isa, before = next(iter(report.rooflines.items()))
            report.rooflines[isa] = before.best(limits.measure(report.threads, isa))
            done = {
                each: replace(row, bounds=report.bounds(row.workload, row.task)) for each, row in done.items()
            }
        report.rows = [done[job] for job in sorted(done, key=places.__getitem__)]
        report.left_out[job[0].suite].remove(_label(job))
        yield done[job]


def _label(job: Job) -> str:
    return " ".join(map(str, job))


def run(
    workloads: Iterable[Workload],
    threads: int,
    pacing: Pacing = THOROUGH,
    peers: Sequence[type[Peer]] = PEERS,
    memory: bool = False,
) -> Report:
    """Do `start` and all of `measure`; return the report."""
    report = start(threads, pacing, peers)
    for _ in measure(report, workloads, memory):
        pass
    return report


def _row(report: Report, job: Job, memory: bool) -> Row:
    workload, task = job
    threads, pacing = report.threads, report.pacing
    skipped = {peer.name: peer.unable(workload, task) for peer in report.peers}
    able = [peer for peer in report.peers if not skipped[peer.name]]
    workload = fit(
        job, [peer for peer in able if not peer.slow], threads, pacing.longest_call, pacing.pause_seconds
    )
    bound = pacing.slow_call
    ready: list[Peer] = []
    case = Case(workload)
    for peer in able:
        if (
            peer.slow
            and fitting_steps(peer, workload, task, threads, bound, pacing.pause_seconds)
            < workload.shape.steps
        ):
            skipped[peer.name] = f"would take over {bound:g} s a call"
            continue
        try:
            ready.append(peer(case, threads))
        except UnsupportedError as error:
            skipped[peer.name] = str(error)
    first = check(case, task, ready, pacing.pause_seconds)
    timings = alternate({peer.name: peer.call(task) for peer in ready}, pacing, first)
    peaks: dict[str, float] = {}
    memory_skipped: dict[str, str] = {}
    for library in ready if memory and task == "training" else ():
        if not library.slow:
            try:
                peaks[library.name] = training_peak(type(library), workload, threads)
            except RuntimeError as error:
                memory_skipped[library.name] = str(error)
    return Row(
        workload,
        task,
        timings,
        first,
        peaks,
        {name: reason for name, reason in skipped.items() if reason},
        memory_skipped,
        tuple(peer.name for peer in report.peers if peer.rival),
        report.bounds(workload, task),
    )


def check(case: Case, task: str, peers: Iterable[Peer], pause: float = 0.0) -> dict[str, float]:
    """Call each peer after a pause, and hold what it gives against the first one's, where it can be compared.

    A stream takes a few steps.
    Returns the seconds that the first calls took. Raises MismatchError.
    """
    first: dict[str, float] = {}
    ours: list[dict[str, Any]] = []
    for peer in peers:
        call = peer.call(task)
        rest(pause)
        for step in range(STREAM_STEPS if case.workload.streaming else 1):
            seconds, output = timed(call)
            first.setdefault(peer.name, seconds)
            theirs = peer.arrays(task, output)
            if len(ours) == step:
                ours.append({name: value.copy() for name, value in theirs.items()})
            if peer.comparable():
                case.compare(ours[step], theirs, peer.name)
    return first
