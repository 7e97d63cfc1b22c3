"""The machine, described so that two reports can be held against each other."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import numpy as np

CPU = Path("/sys/devices/system/cpu/cpu0")


def machine() -> dict[str, str]:
    """Describe processor, caches, cores, memory, system, C library, compiler, Python, NumPy, and the date.

    What the system does not tell is left out.
    """
    from pyrnnfast import _backend, runtime

    build = _backend.current().config()
    described = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "caches": _caches(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "governor": read(CPU / "cpufreq/scaling_governor"),
        "system": f"{platform.system()} {platform.machine()}",
        "kernel": platform.release(),
        "libc": " ".join(platform.libc_ver()),
        "compiler": build.get("compiler", ""),
        "flags": build.get("flags", ""),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "isa": runtime.isa(),
        "date": time.strftime("%Y-%m-%d"),
    }
    return {name: value for name, value in described.items() if value}


def read(path: Path) -> str:
    """Return a small file's text; "" when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _caches() -> str:
    """Name the first core's caches, as "L1d 32K, L2 512K, L3 32768K"."""
    found = []
    for folder in sorted(CPU.glob("cache/index*")):
        level, kind, size = (read(folder / name) for name in ("level", "type", "size"))
        if kind != "Instruction":
            found.append(f"L{level}{'d' if kind == 'Data' else ''} {size}")
    return ", ".join(found)


def _processor() -> str:
    fields = dict(line.split(":", 1) for line in read(Path("/proc/cpuinfo")).splitlines() if ":" in line)
    names = {key.strip(): value.strip() for key, value in fields.items()}
    return names.get("model name") or platform.processor() or platform.machine()
