"""The protocol of timing: a warm-up, then alternating blocks with pauses; medians and spread."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Pacing:
    """How long to measure. A block is one library's turn; every library has `blocks` of them, in turns."""

    blocks: int
    block_seconds: float
    warmup_seconds: float
    pause_seconds: float
    """Before each block: the threads of the library before it stop spinning meanwhile."""


THOROUGH = Pacing(blocks=7, block_seconds=0.15, warmup_seconds=0.2, pause_seconds=0.05)
QUICK = Pacing(blocks=3, block_seconds=0.05, warmup_seconds=0.05, pause_seconds=0.03)
SPARED = 3
"""A library that is spared is timed in one block of this many."""


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


def alternate(
    calls: Mapping[str, Callable[[], object]], pacing: Pacing, spare: Collection[str] = ()
) -> dict[str, Timing]:
    """Time functions against each other.

    calls: what to time, by name. pacing: for how long. spare: names of slow ones, timed in fewer blocks.

    Blocks alternate, and the order turns by one each round, so that a drift of the machine's clock or a
    neighbour's habits meet everybody alike. A block begins with one call that is not timed, which wakes
    threads, and has one timed call at least. The garbage collector waits between blocks.
    Returns the timing of each name.
    """
    for name, call in calls.items():
        end = time.perf_counter() + (0 if name in spare else pacing.warmup_seconds)
        while time.perf_counter() < end:
            call()
    samples: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for block in range(pacing.blocks):
        start = block % len(names)
        for name in names[start:] + names[:start]:
            if name in spare and block % SPARED:
                continue
            time.sleep(pacing.pause_seconds)
            samples[name] += _block(calls[name], pacing.block_seconds, wake=name not in spare)
    return {name: _summary(values) for name, values in samples.items()}


def _block(call: Callable[[], object], seconds: float, *, wake: bool) -> list[float]:
    samples: list[float] = []
    collecting = gc.isenabled()
    gc.disable()
    try:
        if wake:
            call()
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
