"""Layers from PyTorch's modules and back, against the modules on random inputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from conftest import refuses, require

import pyrnnfast
from pyrnnfast import GRU, LSTM, RNN, Linear

torch = require("torch")
nn = torch.nn
ours = require("pyrnnfast.torch")

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")  # PyTorch's own
T, N, C, H = 6, 3, 4, 7
LAYERS = [("RNN", {}), ("RNN", {"nonlinearity": "relu"}), ("LSTM", {}), ("GRU", {})]
PROJECTED = ("LSTM", {"proj_size": 3})
OPTIONS: list[dict[str, Any]] = [
    {},
    {"bias": False, "bidirectional": True},
    {"num_layers": 3, "batch_first": True, "dropout": 0.5},
    {"num_layers": 2, "bidirectional": True, "dtype": torch.float64},
]


def agree(got: Any, want: Any) -> None:
    """Equal but for the rounding of sums of C + H numbers over T steps."""
    if isinstance(want, tuple):
        for one, other in zip(got, want, strict=True):
            agree(one, other)
        return
    assert (str(got.dtype), got.shape) == (str(want.dtype).removeprefix("torch."), want.shape)
    allowed = 8 * torch.finfo(want.dtype).eps * math.sqrt(C + H) * T
    assert np.abs(got - want.detach().numpy()).max() <= allowed


@pytest.mark.parametrize("home", [nn, ours], ids=["torch.nn", "pyrnnfast.torch"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name, own", [*LAYERS, PROJECTED], ids=str)
def test_layers(name: str, own: dict[str, Any], options: dict[str, Any], home: Any) -> None:
    module = getattr(home, name)(C, H, **own, **options).eval()
    layer = ours.from_torch(module)
    assert type(layer) is getattr(pyrnnfast, name)
    assert not layer.training
    x = torch.randn((N, T, C), dtype=options.get("dtype"))
    agree(layer(x.numpy()), module(x))
    back = ours.to_torch(layer)
    assert type(back) is getattr(nn, name)
    assert str(back) == str(getattr(nn, name)(C, H, **own, **options))
    for key, value in module.state_dict().items():
        assert torch.equal(back.state_dict()[key], value)
        assert torch.equal(torch.from_numpy(layer.state_dict()[key]), value)
    agree(layer(x.numpy()), back(x))


@pytest.mark.parametrize("home", [nn, ours], ids=["torch.nn", "pyrnnfast.torch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name, own", LAYERS, ids=str)
def test_cells(name: str, own: dict[str, Any], bias: bool, dtype: Any, home: Any) -> None:
    module = getattr(home, name + "Cell")(C, H, bias=bias, dtype=dtype, **own)
    cell = ours.from_torch(module)
    assert type(cell) is getattr(pyrnnfast, name + "Cell")
    assert cell.training
    x = torch.randn((N, C), dtype=dtype)
    agree(cell(x.numpy()), module(x))
    back = ours.to_torch(cell)
    assert type(back) is getattr(nn, name + "Cell")
    assert back.training
    agree(cell(x.numpy()), back(x))


def test_weights_are_copies() -> None:
    module = nn.LSTM(C, H)
    layer = ours.from_torch(module)
    other = ours.to_torch(layer)
    with torch.no_grad():
        module.weight_hh_l0.zero_()
        other.weight_ih_l0.zero_()
    assert layer.weight_hh_l0.any()
    assert layer.weight_ih_l0.any()


def test_nothing_is_drawn() -> None:
    layer = GRU(C, H, rng=0)
    before = torch.random.get_rng_state()
    ours.to_torch(layer)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_module_that_trains_goes_on_here_and_back() -> None:
    """One step of gradient descent on either side."""
    module, x = nn.GRU(C, H), torch.randn(T, N, C)
    layer = ours.from_torch(module)
    module(x)[0].sum().backward()
    y, _ = layer(x.numpy())
    layer.backward(np.ones_like(y))
    back = ours.to_torch(layer)
    for name, parameter in module.named_parameters():
        want = parameter.grad.numpy()
        allowed = 64 * np.finfo(np.float32).eps * math.sqrt(T * N * (C + H)) * T * max(1, np.abs(want).max())
        assert np.abs(layer.grads[name] - want).max() <= allowed, name
        assert getattr(back, name).requires_grad


def test_parametrized_weights_are_those_of_now() -> None:
    module = torch.nn.utils.parametrizations.weight_norm(nn.LSTM(C, H), "weight_hh_l0")
    with torch.no_grad():
        module.parametrizations.weight_hh_l0.original0.mul_(2)
    x = torch.randn(T, N, C)
    agree(ours.from_torch(module)(x.numpy()), module(x))


class Plain(nn.LSTM):
    """A subclass that computes as PyTorch does."""


class Own(nn.LSTM):
    """One that does not."""

    def forward(self, *arguments: Any) -> Any:
        return super().forward(*arguments)


def test_subclasses() -> None:
    x = torch.randn(T, N, C)
    for module in (Plain(C, H), ours.accelerate(Plain(C, H))):
        agree(ours.from_torch(module)(x.numpy()), module(x))


@pytest.mark.parametrize(
    "error, make",
    [
        (TypeError, lambda: 3),
        (TypeError, lambda: nn.Linear(C, H)),
        (TypeError, lambda: LSTM(C, H)),
        (TypeError, lambda: nn.Sequential(nn.LSTM(C, H))),
        (ValueError, lambda: Own(C, H)),
        (ValueError, lambda: nn.LSTM(C, H).to(torch.bfloat16)),
        (ValueError, lambda: nn.LSTM(C, H, device="meta")),
    ],
)
def test_what_no_layer_can_be_is_refused(error: type[Exception], make: Any) -> None:
    module = make()
    refuses(error, lambda: ours.from_torch(module))


@pytest.mark.parametrize(
    "error, layer",
    [
        (TypeError, lambda: 3),
        (TypeError, lambda: Linear(C, H)),
        (TypeError, lambda: nn.LSTM(C, H)),
        (ValueError, lambda: GRU(C, H, reset_after=False)),
        (ValueError, lambda: LSTM(C, H, peephole=True)),
        (ValueError, lambda: LSTM(C, H, coupled=True)),
        (ValueError, lambda: RNN(C, H, clip=2.0)),
        (ValueError, lambda: RNN(C, H, activations=["elu"])),
        (ValueError, lambda: pyrnnfast.GRUCell(C, H, reset_after=False)),
        (ValueError, lambda: GRU(C, H, proj_size=3)),
    ],
)
def test_what_pytorch_has_not_is_refused(error: type[Exception], layer: Any) -> None:
    refuses(error, lambda: ours.to_torch(layer()))
