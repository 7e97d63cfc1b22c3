"""pyrnnfast.torch in a process: what is loaded, forks, threads, memory."""

from __future__ import annotations

import threading

import pytest
from conftest import python, require
from torch_twins import nn, ours, torch

ORDERS = ["import torch, pyrnnfast.torch", "import pyrnnfast, torch, pyrnnfast.torch"]


def output(code: str) -> str:
    result = python(code)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_import_needs_no_torch() -> None:
    assert python("import sys, pyrnnfast; print('torch' in sys.modules)").stdout.strip() == "False"


def test_without_torch_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "try: import pyrnnfast.torch\n"
        "except ModuleNotFoundError as error: print(error)"
    )
    assert "pip install 'pyrnnfast[torch]'" in python(code).stdout


@pytest.mark.parametrize("imports", ORDERS)
def test_one_openmp_runtime(imports: str) -> None:
    require("threadpoolctl")
    code = (
        f"{imports}; import os, threadpoolctl; "
        "m = pyrnnfast.torch.LSTM(64, 64); x = torch.randn(50, 64, 64); m(x)[0].sum().backward(); "
        "torch.randn(500, 500) @ torch.randn(500, 500); "
        "found = [p['filepath'] for p in threadpoolctl.threadpool_info() if p['user_api'] == 'openmp']; "
        "print(len(found), any(os.path.samefile(pyrnnfast._core.config()['openmp'], f) for f in found))"
    )
    count, ours_is_it = output(code).split()
    assert count == "1"
    assert ours_is_it == "True"


@pytest.mark.parametrize("imports", ORDERS)
def test_a_forked_child_does_not_hang(imports: str) -> None:
    code = f"""
{imports}
import os, signal
torch.set_num_threads(2)
m = pyrnnfast.torch.LSTM(64, 64)
x = torch.randn(50, 64, 64)
y = m(x)[0]
y.sum().backward()
want = y.detach().numpy()
child = os.fork()
if child == 0:  # NumPy compares: PyTorch's own loops over threads do hang here
    signal.alarm(10)
    same = (m(x)[0].detach().numpy() == want).all()
    torch.set_grad_enabled(False)
    os._exit(0 if same and (m(x)[0].numpy() == want).all() else 1)
print(os.waitpid(child, 0)[1])
"""
    assert output(code) == "0"


def test_a_forked_child_trains() -> None:
    code = """
import torch, pyrnnfast.torch, os, signal
torch.set_num_threads(1)
m = pyrnnfast.torch.GRU(64, 64)
x = torch.randn(50, 64, 64)
m(x)[0].sum()
child = os.fork()
if child == 0:
    signal.alarm(10)
    m(x)[0].sum().backward()
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""
    assert output(code) == "0"


def test_python_threads_may_share_a_module() -> None:
    torch.manual_seed(1)
    module, x = ours.LSTM(20, 33, num_layers=2), torch.randn(9, 4, 20)
    want = module(x)[0].detach()
    wrong = []

    def work(training: bool) -> None:
        for _ in range(30):
            with torch.set_grad_enabled(training):
                y = module(x)[0]
            if not torch.equal(y.detach(), want):
                wrong.append(training)
            if training:
                y.sum().backward(inputs=[module.bias_hh_l0])

    threads = [threading.Thread(target=work, args=(i % 2 == 0,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


GROWTH = """
import sys, threading, torch, pyrnnfast.torch
from torch import nn
calls, count = int(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
LSTM, GRU, LSTMCell, GRUCell = (
    getattr(pyrnnfast.torch, name) for name in ("LSTM", "GRU", "LSTMCell", "GRUCell"))
layers = [LSTM(16, 32, 2, bidirectional=True), GRU(16, 32)]
cells = [LSTMCell(16, 32), GRUCell(16, 32)]
model = nn.ModuleList(layers + cells)

def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096

def work(seed, calls):
    generator = torch.Generator().manual_seed(seed)
    for i in range(calls):
        steps, rows = torch.randint(1, 40, (2,), generator=generator).tolist()
        x = torch.randn(steps, rows, 16, requires_grad=True)
        lengths = torch.randint(1, steps + 1, (rows,), generator=generator)
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        for module in model:
            given = x[0] if module in cells else packed if i % 3 == 0 else x
            with torch.set_grad_enabled(i % 2 == 1):
                y = module(given)[0]
            if i % 2:
                y = y.data if given is packed else y
                torch.autograd.grad(y.sum(), [x, *module.parameters()])

def run(calls):
    threads = [threading.Thread(target=work, args=(i, calls // count)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

run(max(calls // 4, 200))
before = resident()
run(calls)
print(resident() - before)
"""


def grown(calls: int, threads: int) -> int:
    result = python(GROWTH, str(calls), str(threads), MALLOC_ARENA_MAX="2")
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


ROOM = 24 << 20
"""Bytes that malloc may keep at hand; a leak of one tape a call would be gigabytes."""


@pytest.mark.parametrize("threads", [1, 8])
def test_memory_does_not_grow(threads: int) -> None:
    assert grown(800, threads) < ROOM


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("threads", [1, 8])
def test_memory_does_not_grow_over_many_calls(threads: int) -> None:
    assert grown(10_000, threads) < ROOM


def test_threads_follow_torch() -> None:
    code = """
import torch, pyrnnfast.torch, threading, os
torch.set_num_threads(1)
m = pyrnnfast.torch.LSTM(256, 256); x = torch.randn(20, 64, 256)
with torch.no_grad():
    m(x)
one = len(os.listdir("/proc/self/task"))
torch.set_num_threads(3)
with torch.no_grad():
    m(x)
print(len(os.listdir("/proc/self/task")) - one)
"""
    assert int(output(code)) >= 2


def test_no_second_copy_of_the_stock_modules_is_made() -> None:
    """The stock classes are as they were."""
    for name in ("RNN", "LSTM", "GRU"):
        assert getattr(nn, name).__module__ == "torch.nn.modules.rnn"
        assert getattr(nn, name).forward.__module__ == "torch.nn.modules.rnn"
