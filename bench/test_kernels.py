"""The backend below the layers: forward and backward apart, and packing, on every instruction set here."""

from __future__ import annotations

import pytest

from pyrnnfast import _backend
from pyrnnfast.benchmark import Case

BACKEND = _backend.current()


@pytest.fixture(params=BACKEND.available_isas())
def pack(request, case: Case):
    return make_pack(case, request.param)


def make_pack(case: Case, isa: str):
    shape = case.workload.shape
    return BACKEND.Pack(
        case.workload.cell, list(case.weights.values()), shape.layers, shape.directions == 2, True, isa
    )


def forward(pack, case: Case, *, training: bool):
    return BACKEND.forward(pack, case.x, None, None, case.lengths, 0.0, 0, training, 0)


@pytest.mark.parametrize("isa", BACKEND.available_isas())
def test_pack(benchmark, case: Case, isa: str) -> None:
    benchmark.group = f"{case.workload} packing"
    benchmark(make_pack, case, isa)


def test_forward(record, case: Case, pack) -> None:
    record("forward", lambda: forward(pack, case, training=False))


def test_forward_with_tape(record, case: Case, pack) -> None:
    record("forward", lambda: forward(pack, case, training=True))


def test_backward(benchmark, case: Case, pack) -> None:
    tape = forward(pack, case, training=True)[3]
    benchmark.group = f"{case.workload} backward"
    benchmark(BACKEND.backward, tape, case.dy, None, None, True, 0)
