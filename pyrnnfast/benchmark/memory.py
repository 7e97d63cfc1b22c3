"""The peak memory of one training call, measured in a fresh process."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from pyrnnfast.benchmark.case import Case
from pyrnnfast.benchmark.peers import Peer
from pyrnnfast.benchmark.shapes import Shape, Workload

TIMEOUT = 600.0
"""Seconds for a process that imports a library, sets it up and calls it once."""
START = """
import json, sys
sys.path[:] = json.loads(sys.argv[2])  # Python put the current folder first
from pyrnnfast.benchmark import memory
memory.main()
"""


def training_peak(peer: type[Peer], workload: Workload, threads: int) -> float:
    """Return the MiB by which one training call raises a process's resident memory at its peak.

    The library, its weights and the input are there before; what it allocates in its first call counts.
    Raises RuntimeError when the process fails, as it does where /proc is not Linux's.
    """
    job = json.dumps([peer.__module__, peer.__qualname__, asdict(workload), threads])
    command = [sys.executable, "-c", START, job, json.dumps(sys.path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"took over {TIMEOUT:g} s") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(lines[-1])
    return float(done.stdout)


def main() -> None:
    """Do in the fresh process what its argument says, and print the MiB."""
    module, name, fields, threads = json.loads(sys.argv[1])
    shape = Shape(**fields.pop("shape"))
    workload = Workload(shape=shape, tasks=tuple(fields.pop("tasks")), **fields)
    peer: Peer = getattr(importlib.import_module(module), name)(Case(workload), threads)
    call = peer.call("training")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins at what there is now
    before = _status("VmRSS")
    call()
    print((_status("VmHWM") - before) / 1024)


def _status(field: str) -> int:
    """Return a field of /proc/self/status, in KiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1])
