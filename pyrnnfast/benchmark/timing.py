"""The protocol of timing: a warm-up, then alternating blocks with pauses; medians and spread."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Pacing:
    """How long to measure. A block is one library's turn; every library has `blocks` of them, in turns."""

    blocks: int
    block_seconds: float
    """A block has one call at least."""
    warmup_seconds: float
    pause_seconds: float
    """Before each library's turn, and again until the threads of the one before are at rest: see `rest`."""
    library_seconds: float = 1.5
    """When its blocks of a row have taken this long, a library has no more than `FEWEST` of them."""
    longest_call: float = 1.0
    """T is cut where a call would take longer: a row, of all libraries, takes about 20 seconds at most."""
    slow_call: float = 0.5
    """A slow library is left out where its call would take longer."""
    total_seconds: float | None = None
    """For all rows; those that do not fit are left out. None: as long as it takes."""


THOROUGH = Pacing(blocks=7, block_seconds=0.15, warmup_seconds=0.2, pause_seconds=0.02)
QUICK = Pacing(
    blocks=3,
    block_seconds=0.05,
    warmup_seconds=0.05,
    pause_seconds=0.02,
    library_seconds=0.5,
    longest_call=0.25,
    slow_call=0.25,
    total_seconds=100.0,
)
FEWEST = 3
RESTLESS, AT_REST = 1.0, 0.1
"""Seconds after which threads are no longer waited for; the part of the time that they may still compute."""
LONG = 1.0
"""A library whose first call took more seconds than this is warm."""


@dataclass(frozen=True)
class Timing:
    """Seconds per call: the median and the quartiles around it; and how many calls were timed."""

    median: float
    low: float
    high: float
    calls: int


def timed(call: Callable[[], ResultT]) -> tuple[float, ResultT]:
    """Call once; return the seconds that it took and what it returned."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def rest(seconds: float) -> None:
    """Sleep for some seconds, and again until meanwhile no thread of this process computes any more.

    After a call ONNX Runtime's threads spin for 60 ms, OpenBLAS's for 110, and would take a processor from
    the next library. 0 seconds: no sleep at all.
    """
    end = time.perf_counter() + RESTLESS
    while seconds > 0:
        start, computed = time.perf_counter(), time.process_time()
        time.sleep(seconds)
        now = time.perf_counter()
        if time.process_time() - computed < AT_REST * (now - start) or now > end:
            return


def alternate(
    calls: Mapping[str, Callable[[], object]], pacing: Pacing, first: Mapping[str, float]
) -> dict[str, Timing]:
    """Time functions against each other.

    calls: what to time, by name. pacing: for how long. first: the seconds that each took when it was called
    first, by name.

    Blocks alternate, and the order turns by one each round, so that a drift of the machine's clock or a
    neighbour's habits meet everybody alike. A block of short calls begins with one that is not timed, which
    wakes threads. The garbage collector waits between blocks.
    Returns the timing of each name.
    """
    last = dict(first)
    for name, call in calls.items():
        if last[name] < LONG:
            rest(pacing.pause_seconds)
            last[name] = _repeat(call, pacing.warmup_seconds)[-1]
    samples: dict[str, list[float]] = {name: [] for name in calls}
    spent = dict.fromkeys(calls, 0.0)
    names = list(calls)
    for block in range(pacing.blocks):
        start = block % len(names)
        for name in names[start:] + names[:start]:
            if block >= FEWEST and spent[name] > pacing.library_seconds:
                continue
            rest(pacing.pause_seconds)
            if last[name] < pacing.block_seconds:
                calls[name]()
            seconds, taken = timed(lambda name=name: _repeat(calls[name], pacing.block_seconds))  # type: ignore[misc]
            spent[name] += seconds
            last[name] = taken[-1]
            samples[name] += taken
    return {name: _summary(values) for name, values in samples.items()}


def _repeat(call: Callable[[], object], seconds: float) -> list[float]:
    """Call once, and again until the seconds are over; return what each call took."""
    samples: list[float] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        end = time.perf_counter() + seconds
        while not samples or time.perf_counter() < end:
            samples.append(timed(call)[0])
    finally:
        if collecting:
            gc.enable()
    return samples


def _summary(samples: list[float]) -> Timing:
    low, median, high = (float(value) for value in np.percentile(samples, (25, 50, 75)))
    return Timing(median, low, high, len(samples))
