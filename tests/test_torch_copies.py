"""Parameters, inputs and outputs are read and written where they lie."""

from __future__ import annotations

from typing import Any

import pytest
from torch_twins import leaves, nn, ours, torch

COPIES = {"aten::copy_", "aten::clone", "aten::contiguous", "aten::_to_copy", "aten::cat", "aten::stack"}
FORMS = {
    "TNC": lambda: (ours.LSTM(8, 16, 2, bidirectional=True), torch.randn(6, 3, 8)),
    "NTC": lambda: (ours.GRU(8, 16, 2, batch_first=True), torch.randn(3, 6, 8)),
    "TC": lambda: (ours.RNN(8, 16, bias=False), torch.randn(6, 8)),
    "packed": lambda: (ours.LSTM(8, 16), nn.utils.rnn.pack_sequence([torch.randn(n, 8) for n in (5, 3)])),
    "NC": lambda: (ours.LSTMCell(8, 16), torch.randn(3, 8)),
    "C": lambda: (ours.GRUCell(8, 16), torch.randn(8)),
}


def copies(module: Any, x: Any, keep: bool) -> set[str]:
    """What PyTorch copied during a forward and, with `keep`, its backward; the tensors that were given."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        with torch.set_grad_enabled(keep):
            outputs = list(leaves(module(x)))
        if keep:
            torch.autograd.grad(outputs, list(module.parameters()), [torch.ones_like(o) for o in outputs])
    return COPIES & {event.key for event in profiler.key_averages()}


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_copied(form: str, keep: bool) -> None:
    module, x = FORMS[form]()
    assert copies(module, x, keep) == set()


def test_what_lies_otherwise_is_copied() -> None:
    """That the test above would see it."""
    assert copies(ours.LSTM(8, 16), torch.randn(6, 8, 3).mT, False)
