"""The layers as users call them, and each installed peer, on the shape list."""

from __future__ import annotations

import pytest

from pyrnnfast import runtime
from pyrnnfast.benchmark import PEERS, TASKS, Case, Peer


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
@pytest.mark.parametrize("task", TASKS)
def test_layer(record, case: Case, task: str, peer: type[Peer]) -> None:
    if peer.missing():
        pytest.skip(f"{peer.name} is not installed")
    if case.workload.cell not in peer.cells or task not in peer.tasks:
        pytest.skip(f"{peer.name} does not do this")
    ready = peer(case, runtime.get_num_threads())
    record(task, ready.forward if task == "forward" else ready.training)
