"""NumPy's BLAS beside our own threads: one of the two teams must not spin while the other one works.

OpenBLAS's threads wait busily for tens of milliseconds after each product, on the very processors that the
recurrent kernels want next: on two cores a training step takes twice as long. The products around the
recurrence are small, so while a model trains or is evaluated they run on the calling thread.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES = ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_", "openblas_{}_num_threads")


@functools.cache
def _openblas() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """Return the functions that read and set the threads of the OpenBLAS in this process, if there is one."""
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for path in sorted({line.split(maxsplit=5)[5] for line in maps.splitlines() if "openblas" in line}):
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        for name in NAMES:
            if hasattr(library, name.format("set")) and hasattr(library, name.format("get")):
                return getattr(library, name.format("get")), getattr(library, name.format("set"))
    return None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run NumPy's matrix products on the calling thread in the `with` block; nothing without OpenBLAS."""
    functions = _openblas()
    before = functions[0]() if functions else 1
    if functions is None or before <= 1:
        yield
        return
    functions[1](1)
    try:
        yield
    finally:
        functions[1](before)
