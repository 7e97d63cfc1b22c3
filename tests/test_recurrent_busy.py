"""Two threads on a busy machine: where they wait for each other too long, one of them finishes alone."""

from __future__ import annotations

import os
import subprocess
import sys

from conftest import python

SPIN = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
end = time.monotonic() + 30  # should nobody end it
while time.monotonic() < end:
    pass
"""

# The gates of one row's step are shared out by hidden units, so the threads meet in every step.
COMPUTE = """
import os, sys, time
os.sched_setaffinity(0, set(map(int, sys.argv[1:])))
import numpy as np
from numeric import make, run
for case in (make("lstm", 400, 1, 32, 256), make("gru_reset_before", 200, 2, 32, 256, layers=2)):
    want = run(case, np.float32, num_threads=1)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        for name, value in run(case, np.float32, num_threads=2).items():
            np.testing.assert_array_equal(value, want[name], err_msg=name)
"""


def test_busy_neighbours_change_no_bit() -> None:
    """After some waits that outlast the work thread 0 goes on alone, amid a chunk (csrc/driver/crew.hpp)."""
    cpus = [str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:2]]
    spinning = [subprocess.Popen([sys.executable, "-c", SPIN, cpu]) for cpu in cpus]
    try:
        result = python(COMPUTE, *cpus)
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    assert result.returncode == 0, result.stderr
