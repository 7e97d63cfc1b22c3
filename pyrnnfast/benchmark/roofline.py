"""The limits of this machine, measured with the kernels' own vectors, and the least time of a workload.

The model. No implementation that keeps float32 or float64 weights takes less than

    flops / peak            and, for each level beyond the first,    bytes / bandwidth

whichever is most, with these bytes, where `near` is what the caches nearer than the level hold together, as
the system describes them (a cache that neighbours use too may give less, and then the limit is only lower):

- A call touches all its weights, x, and in training dy: at least what of them exceeds `near` must come from
  the level, even when the call before has left the caches warm.
- Step t + 1 needs the whole of step t, so every layer and direction reads its W_hh once a step, and in
  training once more on the way back. At most `near` bytes of it stay from one reading to the next. Where it
  is larger, each reading fetches the rest, and the caches are full: whatever else is used in between comes on
  top (W_ih, read once a call in one GEMM, and x; both once more on the way back; dy).

Whatever could go better is taken to: layers and directions run one after another, so that each has the caches
to itself; threads share the hidden units, so that none reads what another does; a step serves all rows at
once; a matrix that is too large for a cache still finds there what fits; all transfers and all arithmetic
overlap; what is written (y, the tape, gradients) costs nothing, nor do activations, barriers and dependences.
The level nearest to the core is no limit, as registers and the tile decide how often it is read.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from pyrnnfast import _backend, runtime
from pyrnnfast.benchmark.machine import read
from pyrnnfast.benchmark.shapes import Workload
from pyrnnfast.validation import GATES

KIB, MIB = 1 << 10, 1 << 20
CPUS = Path("/sys/devices/system/cpu")
TYPICAL = {"L1": 32 * KIB, "L2": MIB, "L3": 32 * MIB}
"""Where the system does not describe its caches: bytes of a core's, and of all cores' last one."""
MEMORY = "memory"
ARITHMETIC = "FMA"
FOR_TESTS = "wide"
"""An instruction set that some builds have, in none of the machine's own vectors: it limits nothing."""
WORD = 8
STEPS = 64
"""Of each chain of operations, between two looks at the clock at least."""
RUN_SECONDS, TURN_SECONDS, ROUNDS = 0.0003, 0.006, 5
"""A run is at least so long; each figure is the best of the runs of its turn in each round."""


@dataclass(frozen=True)
class Roofline:
    """What a number of threads together can do on this machine with one instruction set.

    peak: GFLOP/s, a fused or separate multiplication and addition being two. bandwidth: GB/s of reading, by
    level from the nearest, "L1", ... "memory". capacities: bytes, of all caches of a level that so many
    threads can have. curve: bytes that each thread reads over and over, and the GB/s of all together.
    """

    isa: str
    dtype: str
    threads: int
    peak: float
    bandwidth: dict[str, float]
    capacities: dict[str, int]
    curve: tuple[tuple[int, float], ...]

    def best(self, other: Roofline) -> Roofline:
        """Return the better of two measurements of one machine, figure by figure: noise only takes away."""
        better = {level: max(rate, other.bandwidth[level]) for level, rate in self.bandwidth.items()}
        curve = tuple(max(pair) for pair in zip(self.curve, other.curve, strict=True))
        return replace(self, peak=max(self.peak, other.peak), bandwidth=better, curve=curve)

    def __str__(self) -> str:
        rates = ", ".join(f"{level} {rate:.0f}" for level, rate in self.bandwidth.items())
        return f"{self.isa}: {self.peak:.0f} GFLOP/s; {rates} GB/s"


def measure_all(threads: int) -> dict[str, Roofline]:
    """Measure every instruction set by `measure`, the default first; NumPy's backend has none."""
    default = runtime.isa()
    if default == "reference":
        return {}
    others = (isa for isa in runtime.available_isas() if isa != FOR_TESTS)
    return {isa: measure(threads, isa) for isa in dict.fromkeys([default, *others])}


def measure(threads: int, isa: str | None = None, dtype: str = "float32") -> Roofline:
    """Measure this machine, in about a second.

    threads: as in a call; the team is that of real calls. isa: one of available_isas(), None for the default.
    dtype: "float32" or "float64". Each figure is the best of several runs of milliseconds.
    Raises ValueError for an unknown isa or dtype or no threads, ImportError when the kernels are not built,
    RuntimeError when another call has the threads.
    """
    try:
        from pyrnnfast import _core
    except ImportError as error:
        raise _backend.not_built("pyrnnfast._core") from error
    isa = isa or _core.default_isa()
    team = _core.Probe(threads, 0, isa).threads
    capacities = cache_capacities(team, sorted(os.sched_getaffinity(0)))
    middles = _middles(capacities, team)
    largest = max(middles.values())
    powers = (16 * KIB << i for i in range(30))
    sizes = sorted({*middles.values(), *(size for size in powers if size < largest)})
    probe = _core.Probe(team, largest // WORD, isa)

    def arithmetic(repetitions: int) -> tuple[float, int]:
        seconds, results = probe.fma(dtype, STEPS * repetitions, 0.5, 1.0)
        return seconds, 2 * STEPS * repetitions * results.size

    def reading(passes: int, size: int) -> tuple[float, int]:
        return probe.read(size // WORD, passes)[0], size * passes * team

    peak, curve = 0.0, dict.fromkeys(sizes, 0.0)
    for _ in range(ROUNDS):
        peak = max(peak, _best_rate(arithmetic))
        curve = {size: max(rate, _best_rate(partial(reading, size=size))) for size, rate in curve.items()}
    bandwidth = {  # that a larger buffer is read faster is noise
        level: max(rate for each, rate in curve.items() if each >= size) for level, size in middles.items()
    }
    return Roofline(isa, dtype, threads, peak, bandwidth, capacities, tuple(curve.items()))


def _best_rate(run: Callable[[int], tuple[float, int]]) -> float:
    """Return the most work in a nanosecond, of short runs: a neighbour spoils fewer of them.

    run: takes a number of repetitions; returns seconds and work.
    """
    repetitions = 1
    while run(repetitions)[0] < RUN_SECONDS:
        repetitions *= 2
    best = spent = 0.0
    while spent < TURN_SECONDS:
        seconds, work = run(repetitions)
        best, spent = max(best, work / seconds), spent + seconds
    return best / 1e9


def cache_capacities(threads: int, cpus: Iterable[int], folder: Path = CPUS) -> dict[str, int]:
    """Return bytes of each level's caches, all together that `threads` threads on these cpus can have.

    folder: of the system's description. Without one: what is typical.
    """
    caches: dict[str, dict[str, int]] = {}
    for index in (each for cpu in cpus for each in sorted(folder.glob(f"cpu{cpu}/cache/index*"))):
        kind, level, size, shared = (
            read(index / name) for name in ("type", "level", "size", "shared_cpu_list")
        )
        if size and kind != "Instruction":
            caches.setdefault(f"L{level}", {})[shared] = int(size.removesuffix("K")) * KIB
    if not caches:
        return {level: size * (1 if level == "L3" else threads) for level, size in TYPICAL.items()}
    return {
        level: sum(sorted(sizes.values(), reverse=True)[:threads]) for level, sizes in sorted(caches.items())
    }


def _middles(capacities: dict[str, int], threads: int) -> dict[str, int]:
    """Return what each thread reads to measure each level: half of the first, then the geometric middle
    between a level and the one before; for the memory in all four times the last level, within reason."""
    totals = list(capacities.values())
    ends = [totals[0] // 4, *totals]
    found = {level: math.isqrt(ends[i] * ends[i + 1]) // threads for i, level in enumerate(capacities)}
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found[MEMORY] = min(max(4 * totals[-1], 256 * MIB), 1024 * MIB, physical // 4) // threads
    return {level: max(KIB, size // KIB * KIB) for level, size in found.items()}


def bounds(roofline: Roofline, workload: Workload, task: str) -> dict[str, float]:
    """Return the least seconds of a call by what limits it: "FMA", "L2", "L3", "memory".

    The call has as many threads as the roofline was measured with.
    """
    item = np.dtype(roofline.dtype).itemsize
    found = {ARITHMETIC: workload.flops(task) / roofline.peak / 1e9}
    near = 0
    for level, rate in roofline.bandwidth.items():
        if near:
            found[level] = _fetched(workload, task, near / item) * item / rate / 1e9
        near += roofline.capacities.get(level, 0)
    return found


def intensity(workload: Workload, task: str, dtype: str = "float32") -> float:
    """Return operations per byte of weights streamed: W_hh once a step and W_ih once, each way."""
    recurrent, jobs, others = _weights(workload)
    steps, _ = _extent(workload)
    streamed = _ways(task) * (steps * jobs * recurrent + others)
    return workload.flops(task) / (streamed * np.dtype(dtype).itemsize)


def _fetched(workload: Workload, task: str, near: float) -> float:
    """Return how many elements must come from beyond the caches that hold `near` of them."""
    shape, ways = workload.shape, _ways(task)
    recurrent, jobs, others = _weights(workload)
    steps, row_steps = _extent(workload)
    x = row_steps * shape.inputs
    dy = (ways - 1) * row_steps * shape.directions * shape.hidden
    touched = jobs * recurrent + others + x + dy - near
    if recurrent <= near:
        return max(touched, 0.0)
    return max(touched, ways * (steps * jobs * (recurrent - near) + others + x) + dy)


def _weights(workload: Workload) -> tuple[int, int, int]:
    """Count elements: of one W_hh, how many of them there are, and of all W_ih together."""
    shape = workload.shape
    gates = GATES[workload.cell] * shape.hidden
    inputs = sum(shape.layer_inputs(layer) for layer in range(shape.layers))
    return gates * shape.hidden, shape.layers * shape.directions, gates * inputs * shape.directions


def _extent(workload: Workload) -> tuple[int, int]:
    """Count steps, and rows that are active in them, summed."""
    lengths = workload.lengths()
    if lengths is None:
        return workload.shape.steps, workload.shape.steps * workload.shape.rows
    return int(lengths.max()), int(lengths.sum())


def _ways(task: str) -> int:
    return 2 if task == "training" else 1
