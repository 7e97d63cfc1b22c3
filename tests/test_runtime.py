"""Threads, the GIL, signals and forks around long native calls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ENVIRONMENT, python, require

import pyrnnfast
from pyrnnfast import functional

if pyrnnfast.isa() == "reference":
    pytest.skip("these are about the compiled backend", allow_module_level=True)

from pyrnnfast import _core

SANITIZED = "san.so" in os.environ.get("LD_PRELOAD", "")


def long_layer() -> tuple[pyrnnfast.LSTM, np.ndarray]:
    return pyrnnfast.LSTM(32, 256, rng=0).eval(), np.zeros((600, 32, 32), np.float32)


def test_the_gil_is_let_go_in_a_long_call() -> None:
    layer, x = long_layer()
    ticks, done = [0], threading.Event()

    def tick() -> None:
        while not done.is_set():
            ticks[0] += 1
            time.sleep(0.0005)

    ticker = threading.Thread(target=tick)
    ticker.start()
    before = ticks[0]
    layer(x)
    during = ticks[0] - before
    done.set()
    ticker.join()
    assert during > 5


@pytest.mark.parametrize(
    "setup, call", [("layer.eval()", "layer(x)"), ("y, _ = layer(x)", "layer.backward(y); y, _ = layer(x)")]
)
def test_an_interrupt_ends_a_long_call_within_a_second(setup: str, call: str) -> None:
    code = f"""
import numpy as np, pyrnnfast
layer = pyrnnfast.LSTM(64, 512, rng=0)
x = np.zeros((2000, 32, 64), np.float32)
{setup}
print("ready", flush=True)
try:
    while True:
        {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tempfile.gettempdir(), env=ENVIRONMENT, stdout=pipe, text=True
    ) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline().strip() == "ready"
            time.sleep(0.5)
            sent = time.monotonic()
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline().strip() == "interrupted"
            assert time.monotonic() - sent < 1.0
        finally:
            child.kill()


HANDLES = """
import signal
import numpy as np, pyrnnfast
pyrnnfast.set_num_threads(2)
told = []

def handle(*_):
    try:
        told.append(use())
    except RuntimeError as error:
        told.append(str(error))

def interrupted(call, ends):
    while not told or not ends(told[-1]):  # the signal may have come outside of the native call
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        result = call()
    return result

signal.signal(signal.SIGALRM, handle)
"""


@pytest.mark.skipif(SANITIZED, reason="a call of its length takes minutes then")
def test_a_handler_may_call_the_layer_that_it_interrupts() -> None:
    code = """
layer, other = (pyrnnfast.LSTM(64, 512, rng=0) for _ in range(2))
x = np.ones((600, 16, 64), np.float32)  # a good part of a second
y, _ = layer(x)
dx, _ = layer.backward(y)
gradient = layer.grads["weight_hh_l0"].copy()

def use():
    if not layer.training:
        return np.array_equal(layer(x)[0], y)
    z, _ = other(x[:50])
    return np.array_equal(z, y[:50]) and other.backward(z)[0].shape == (50, 16, 64)

def backward():
    layer.zero_grad()
    layer(x)
    return layer.backward(y)[0]

np.testing.assert_array_equal(interrupted(backward, bool), dx)
np.testing.assert_array_equal(layer.grads["weight_hh_l0"], gradient)
told.clear()
layer.eval()
np.testing.assert_array_equal(interrupted(lambda: layer(x)[0], bool), y)
"""
    result = python(HANDLES + code)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(SANITIZED, reason="a call of its length takes minutes then")
def test_a_handler_may_not_use_the_stream_that_it_interrupts() -> None:
    code = """
stream = pyrnnfast.GRU(64, 512, num_layers=40, rng=1).stream(512)
x = np.ones((512, 64), np.float32)
first = stream(x).copy()

def restart():
    stream.state = None
    return stream(x)

for use in (lambda: stream(x), lambda: stream.state):
    told.clear()
    y = interrupted(restart, lambda t: t == "a stream cannot be used by a handler that interrupts its step")
    np.testing.assert_array_equal(y, first)
"""
    result = python(HANDLES + code)
    assert result.returncode == 0, result.stderr


def test_an_interrupted_call_leaves_the_layer_usable() -> None:
    layer, x = pyrnnfast.LSTM(8, 16, rng=0).eval(), np.ones((5, 2, 8), np.float32)
    expected, _ = layer(x)
    big = pyrnnfast.LSTM(64, 512, rng=0).eval()
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        big(np.zeros((20000, 8, 64), np.float32))
    timer.join()
    np.testing.assert_array_equal(layer(x)[0], expected)


@pytest.mark.parametrize("first", ["pyrnnfast", "torch"])
def test_a_forked_child_does_not_hang(first: str) -> None:
    if first == "torch":
        require("torch")
    code = (
        f"import {first}\n"
        + """
import os, signal, sys
import numpy as np, pyrnnfast
pyrnnfast.set_num_threads(2)
layer = pyrnnfast.LSTM(16, 256, rng=0).eval()
x = np.ones((50, 32, 16), np.float32)
expected, _ = layer(x)
child = os.fork()
if child == 0:
    signal.alarm(10)
    y, _ = layer(x)
    os._exit(0 if np.array_equal(y, expected) else 3)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""
    )
    result = python(code, PYTHONWARNINGS="ignore")
    assert result.returncode == 0, result.stderr


TRAINS = """
import os, pathlib, re, sys
import numpy as np, pyrnnfast
layer = pyrnnfast.GRU(8, 16, rng=0)
x = np.ones((600, 200, 8), np.float32)  # gates of 31 MB

def step(steps):
    y, _ = layer(x[:steps])
    layer.backward(y)
    layer.zero_grad()
    return int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])

once = step(600)
"""


def test_many_steps_take_the_memory_of_one() -> None:
    """Of whatever lengths: what was given back is used again, or let go."""
    if SANITIZED:
        pytest.skip("the sanitizer keeps what is freed")
    result = python(TRAINS + "print(once, max(step(n) for n in (600, 360, 570, 150, 599, 600)))")
    assert result.returncode == 0, result.stderr
    once, often = map(int, result.stdout.split())
    assert often <= 1.4 * once


def test_a_forked_child_takes_and_gives_large_blocks() -> None:
    code = """
y, _ = layer(x)
child = os.fork()
if child == 0:
    layer.backward(y)
    step(600)
    os._exit(0)
_, status = os.waitpid(child, 0)
layer.backward(y)
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""
    result = python(TRAINS + code, PYTHONWARNINGS="ignore")
    assert result.returncode == 0, result.stderr


def test_threads_follow_the_settings() -> None:
    for variable, expected in (("1", "1"), ("3", "3"), ("junk", str(len(os.sched_getaffinity(0))))):
        code = "import pyrnnfast; print(pyrnnfast.get_num_threads())"
        result = python(code, OMP_NUM_THREADS=variable)
        assert int(result.stdout) <= int(expected)
        if variable != "junk":
            assert result.stdout.strip() == expected


V1 = "32 31 0:29 {top} /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct"
V2 = "38 31 0:38 {top} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw"


@pytest.mark.parametrize("name", ["Pack", "Stream", "Probe", "Tape", "TensorStack", "TensorReader", "Reuse"])
def test_an_object_that_no_constructor_made_is_refused(name: str) -> None:
    kind = getattr(_core, name)
    empty, x = kind.__new__(kind), np.zeros((1, 1, 1), np.float32)
    properties = [each for each, value in vars(kind).items() if isinstance(value, property)]
    calls = [lambda each=each: getattr(empty, each) for each in properties]
    calls += {
        "Pack": [
            lambda: functional.forward(empty, x),
            lambda: _core.infer(empty, x, None),
            lambda: _core.Stream(empty, 1, 1),
        ],
        "Stream": [lambda: empty.state(), lambda: empty.step(x[0]), lambda: empty.set_state(None, None)],
        "Probe": [lambda: empty.read(64, 1), lambda: empty.fma("float32", 1, 1.0, 1.0)],
        "Tape": [lambda: functional.backward(empty)],
        "TensorStack": [lambda: empty.tape_sizes(True)],
        "TensorReader": [lambda: _core.TensorStack(empty, "lstm", 1, 1, 1, False, True)],
        "Reuse": [],
    }[name]
    for call in calls:
        with pytest.raises(TypeError, match=f"got an empty .*{name}$"):
            call()


@pytest.mark.parametrize(
    "mount, top, group, quotas, expected",
    [
        (V2, "/", "/", {}, None),
        (V2, "/", "/", {"": "max 100000"}, None),
        (V2, "/", "/", {"": "300000 100000"}, 3),
        (V2, "/", "/", {"": "5000 100000"}, 1),
        (V2, "/", "/a/b", {"": "max 100000", "a": "200000 100000", "a/b": "800000 100000"}, 2),
        (V2, "/", "/a/b", {"a": "800000 100000", "a/b": "200000 100000", "c": "100000 100000"}, 2),
        (V2, "/pod", "/pod/a", {"": "600000 100000", "a": "400000 100000"}, 4),
        (V2, "/pod", "/podium/a", {"": "600000 100000", "a": "400000 100000", "ium/a": "1 1"}, 6),
        (V1, "/", "/", {"": "-1 100000"}, None),
        (V1, "/", "/a/b", {"": "-1 100000", "a": "300000 100000", "a/b": "-1 100000"}, 3),
        (V1, "/docker/x", "/docker/x", {"": "250000 100000"}, 3),
    ],
)
def test_quotas_of_all_groups_count(
    mount: str, top: str, group: str, quotas: dict[str, str], expected: int | None, tmp_path: Path
) -> None:
    def write(name: str, text: str) -> None:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    write("proc/self/mountinfo", "31 23 0:28 / /sys rw - sysfs sysfs rw\n" + mount.format(top=top))
    line = f"0::{group}" if mount is V2 else f"5:memory:/other\n2:cpu,cpuacct:{group}\n0::/other"
    write("proc/self/cgroup", line)
    for name, text in quotas.items():
        quota, period = text.split()
        if mount is V2:
            write(f"sys/fs/cgroup/{name}/cpu.max", text)
        else:
            write(f"sys/fs/cgroup/cpu/{name}/cpu.cfs_quota_us", quota)
            write(f"sys/fs/cgroup/cpu/{name}/cpu.cfs_period_us", period)
    assert _core.cgroup_processors(str(tmp_path)) == (expected or 2**31 - 1)


def test_no_description_of_groups(tmp_path: Path) -> None:
    assert _core.cgroup_processors(str(tmp_path)) == 2**31 - 1


def test_two_python_threads_may_run_one_layer_at_once() -> None:
    layer, x = long_layer()
    expected, _ = layer(x)
    results: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: results.append(layer(x)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for y in results:
        np.testing.assert_array_equal(y, expected)


def test_subnormals_count_as_zero_inside_and_as_before_outside() -> None:
    tiny = np.float32(1e-41)
    layer = pyrnnfast.RNN(1, 1, nonlinearity="relu", bias=False).eval()
    layer.load_state_dict({"weight_ih_l0": np.ones((1, 1), "f4"), "weight_hh_l0": np.zeros((1, 1), "f4")})
    y, _ = layer(np.full((1, 1, 1), tiny))
    assert y[0, 0, 0] == 0
    assert tiny * np.float32(1) != 0


@pytest.mark.parametrize("threads", [3, 64, 1024])
def test_more_threads_than_processors_change_no_bit(threads: int) -> None:
    rng = np.random.default_rng(0)
    sizes = ((256, 64), (256, 64), (256,), (256,))
    packed = functional.pack("lstm", [rng.standard_normal(size, np.float32) for size in sizes])
    x = rng.standard_normal((20, 256, 64), np.float32)
    few, many = (functional.forward(packed, x, training=True, num_threads=n) for n in (1, threads))
    np.testing.assert_array_equal(few.y, many.y)
    few, many = (functional.backward(few.tape, few.y, num_threads=n) for n in (1, threads))
    np.testing.assert_array_equal(few.dx, many.dx)
    for one, other in zip(few.dweights, many.dweights, strict=True):
        np.testing.assert_array_equal(one, other)
