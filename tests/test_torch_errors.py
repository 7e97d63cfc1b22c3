"""Arguments that are wrong get the error of torch.nn, class and message, from our modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch_twins import CELLS, LAYERS, nn, ours, torch, twins


def error(function: Callable[..., Any], *arguments: Any) -> tuple[type, str] | None:
    """The error of a call; None where there is none, as when PyTorch takes a state of too many rows."""
    try:
        function(*arguments)
    except Exception as caught:
        return type(caught), str(caught)
    return None


def packed(lengths: list[int]) -> Any:
    return nn.utils.rnn.pack_padded_sequence(torch.randn(4, 2, 3), lengths, enforce_sorted=lengths == [4, 2])


SHAPES = [(), (5,), (2, 5), (1, 1, 5), (1, 3, 5), (1, 2, 4), (2, 2, 5), (1, 2, 5, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LAYERS)
def test_states_of_packed_sequences(name: str, shape: tuple[int, ...]) -> None:
    stock, module = twins(name, 3, 5)
    h = torch.randn(shape)
    hx = (h, h) if name == "LSTM" else h  # two of different shapes crash PyTorch's LSTM
    for lengths in ([2, 4], [4, 2]):
        assert error(module, packed(lengths), hx) == error(stock, packed(lengths), hx)


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_calls(name: str) -> None:
    stock, module = twins(name, 3, 5)
    x = torch.randn(2, 3)
    for arguments in [(), (x, None, None), ("x",), (None,), (x, "state"), (x, 1), ([x],)]:
        assert error(module, *arguments) == error(stock, *arguments), arguments


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_constructors(name: str) -> None:
    for arguments in [(3, -1), (3, 0), (3, 2.5)]:
        assert error(getattr(ours, name), *arguments) == error(getattr(nn, name), *arguments)


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_other_layouts(name: str) -> None:
    stock, module = twins(name, 3, 5)
    dense = torch.randn((2, 3) if name in CELLS else (4, 2, 3))
    for convert in (torch.Tensor.to_sparse, torch.Tensor.to_mkldnn):
        x = convert(dense)
        assert error(module, x) == error(stock, x)


@pytest.mark.parametrize("two_way", [1, 0, None])
@pytest.mark.parametrize("name", LAYERS)
def test_bidirectional_is_a_bool(name: str, two_way: Any) -> None:
    stock, module = twins(name, 3, 5, bidirectional=two_way)
    x = torch.randn(4, 2, 3)
    assert error(module, x) == error(stock, x) is not None


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_nested_tensors(name: str, layout: Any) -> None:
    stock, module = twins(name, 3, 5)
    x = torch.nested.nested_tensor([torch.randn(4, 3), torch.randn(2, 3)], layout=layout)
    assert error(module, x) == error(stock, x)


@pytest.mark.parametrize("name", ["RNN", "GRU"])  # PyTorch's own LSTM, compiled, takes none
def test_no_step_in_a_compiled_call(name: str) -> None:
    torch._dynamo.reset()
    stock, module = twins(name, 3, 5)
    compiled = torch.compile(module, backend="aot_eager", dynamic=True)
    for steps in (4, 6):
        compiled(torch.randn(steps, 2, 3))
    empty = torch.empty(0, 2, 3)
    with pytest.raises(Exception, match=r"larger than 0|at least one tensor"):
        compiled(empty)
    assert error(module, empty) == error(stock, empty)
