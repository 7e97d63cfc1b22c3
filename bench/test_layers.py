"""The layers as users call them, and each installed peer, on the shape list."""

from __future__ import annotations

import pytest

from pyrnnfast import runtime
from pyrnnfast.benchmark import PEERS, TASKS, Case, Peer, UnsupportedError


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
@pytest.mark.parametrize("task", TASKS)
def test_layer(record, case: Case, task: str, peer: type[Peer]) -> None:
    if peer.missing():
        pytest.skip(f"{peer.name} is not installed")
    reason = "the suite does not" if task not in case.workload.tasks else peer.unable(case.workload, task)
    if reason:
        pytest.skip(f"{peer.name}: {reason}")
    try:
        ready = peer(case, runtime.get_num_threads())
    except UnsupportedError as error:
        pytest.skip(f"{peer.name}: {error}")
    record(task, ready.call(task))
