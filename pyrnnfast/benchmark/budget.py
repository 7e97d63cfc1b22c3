"""What bounds a run's time: T is cut where a call would take too long, rows that do not fit are left out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from pyrnnfast.benchmark.case import Case
from pyrnnfast.benchmark.peers import Peer, UnsupportedError
from pyrnnfast.benchmark.shapes import Workload
from pyrnnfast.benchmark.timing import rest, timed

Job = tuple[Workload, str]
"""A workload and the one of its tasks that a row measures."""
PROBE_SPEED = 2e9
"""FLOP/s at which the steps that are tried would take as long as a call may; a library that is twice as
fast computes twice as many in time, so shorter workloads are not tried."""

TRIALS, MORE = 3, 4


def fitting_steps(
    peer: type[Peer], workload: Workload, task: str, threads: int, longest: float, pause: float = 0.0
) -> int:
    """Estimate how many of the workload's steps a library computes in `longest` seconds, 1 to T.

    It is tried with few steps and with four times as many, for a call costs something at any T: the packing
    of large weights, and in training their gradients, take longer than a step. Before each is a pause, in
    which another library's threads come to rest. A T that is cut has two digits that are not zero.
    """
    steps = workload.shape.steps
    few = max(1, int(longest * PROBE_SPEED * steps / workload.flops(task)))
    if 2 * few >= steps:
        return steps
    more = min(MORE * few, steps)
    try:
        short, long = (_seconds(peer, workload.cut(tried), task, threads, pause) for tried in (few, more))
    except UnsupportedError:
        return steps
    step = (long - short) / (more - few)
    constant = short - few * step
    if step <= 0 or constant < 0:  # noise
        step, constant = long / more, 0.0
    return round_down(min(steps, (longest - constant) / step))


def _seconds(peer: type[Peer], workload: Workload, task: str, threads: int, pause: float) -> float:
    call = peer(Case(workload), threads).call(task)
    rest(pause)
    call()
    return min(timed(call)[0] for _ in range(TRIALS))


def fit(job: Job, peers: Iterable[type[Peer]], threads: int, longest: float, pause: float = 0.0) -> Workload:
    """Return the job's workload with T cut so that no library's call takes more than `longest` seconds."""
    workload, task = job
    return workload.cut(min(fitting_steps(peer, workload, task, threads, longest, pause) for peer in peers))


def round_down(number: float) -> int:
    """Keep two digits of an integer's, the others become zeros; at least 1."""
    whole = max(1, int(number))
    unit: int = 10 ** max(0, len(str(whole)) - 2)
    return whole // unit * unit


def within(
    jobs: Sequence[Job], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> Iterator[Job]:
    """Yield the jobs that fit into a time, the smallest of each suite first.

    seconds: for all of them; each suite may take an equal share of what is left when its turn comes. A job
    is expected to take as long as the one before it, times the root of how much more work is in a step: T is
    cut, so that mostly the weights' size counts.
    """
    end = clock() + seconds
    suites = list(dict.fromkeys(workload.suite for workload, _ in jobs))
    for place, suite in enumerate(suites):
        share = clock() + (end - clock()) / (len(suites) - place)
        own = sorted((job for job in jobs if job[0].suite == suite), key=_work)
        expected = 0.0
        for number, job in enumerate(own):
            start = clock()
            if start + expected > share:
                break
            yield job
            if number + 1 < len(own):
                expected = (clock() - start) * math.sqrt(_work(own[number + 1]) / _work(job))


def _work(job: Job) -> int:
    workload, task = job
    return workload.cut(1).flops(task)
