"""accelerate, restore and accelerated: what changes in a model, what stays, and that all of it is undone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from conftest import refuses, require
from swaps import KINDS, agree, call, everything, small

torch = require("torch")

from torch import nn  # noqa: E402

from pyrnnfast import torch as bridge  # noqa: E402


class Chain(nn.Module):
    """Every kind of recurrent module, nested, two of them under two names or with shared weights."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 4, num_layers=2, dropout=0.5)
        self.blocks = nn.ModuleList(
            [nn.ModuleDict({"gru": nn.GRU(4, 4), "rnn": nn.RNN(4, 4)}), nn.Linear(4, 4)]
        )
        self.again = self.blocks[0]["gru"]
        self.tied = nn.GRU(4, 4)
        self.tied.weight_hh_l0 = self.again.weight_hh_l0
        self.cells = nn.ModuleList([nn.RNNCell(4, 4), nn.LSTMCell(4, 4), nn.GRUCell(4, 4)])

    def forward(self, x: Any) -> Any:
        for layer in (self.lstm, self.blocks[0]["gru"], self.blocks[0]["rnn"], self.again, self.tied):
            x = layer(x)[0]
        x = self.blocks[1](x)[0]
        for cell in self.cells:
            state = cell(x)
            x = state[0] if isinstance(state, tuple) else state
        return x


# --- What is changed


@pytest.mark.parametrize("kind", KINDS)
def test_a_module_alone_is_the_same_object_of_another_class(kind: str) -> None:
    module = small(kind)
    x = torch.randn(5, 2, 3) if not kind.endswith("Cell") else torch.randn(2, 3)
    want, text, values = call(module, x), repr(module), dict(module.named_parameters())
    assert bridge.accelerate(module) is module
    assert type(module) is getattr(bridge, kind)
    assert not isinstance(module, getattr(nn, kind))
    assert isinstance(module, nn.RNNCellBase if kind.endswith("Cell") else nn.RNNBase)
    agree(call(module, x), want)
    assert module._pyrnnfast_counts == {"kernels": 1}
    assert repr(module) == text
    assert all(value is values[name] for name, value in module.named_parameters())
    assert bridge.restore(module) is module
    assert type(module) is getattr(nn, kind)
    assert torch.equal(call(module, x), want)


def test_every_recurrent_module_of_a_model_and_nothing_else() -> None:
    model = Chain().eval()
    x = torch.randn(5, 2, 4)
    want, keys = model(x), list(model.state_dict())
    before = everything(model)
    parameters = list(model.parameters())
    assert bridge.accelerate(model) is model
    assert {type(module) for module in model.modules()} == {
        *(getattr(bridge, kind) for kind in KINDS),
        *(Chain, nn.ModuleList, nn.ModuleDict, nn.Linear),
    }
    assert model.again is model.blocks[0]["gru"]
    assert model.tied.weight_hh_l0 is model.again.weight_hh_l0
    assert [id(value) for value in model.parameters()] == [id(value) for value in parameters]
    assert list(model.state_dict()) == keys
    assert not any(module.training for module in model.modules())
    agree(model(x), want)
    bridge.restore(model)
    assert everything(model) == before
    assert torch.equal(model(x), want)


def test_state_dict_keeps_keys_values_and_storage() -> None:
    model = Chain()
    before = model.state_dict()
    after = bridge.accelerate(model).state_dict()
    assert list(after) == list(before)
    for name, value in after.items():
        assert value.data_ptr() == before[name].data_ptr()
        assert value.shape == before[name].shape
    assert model.load_state_dict(Chain().state_dict()) == nn.modules.module._IncompatibleKeys([], [])
    Chain().load_state_dict(model.state_dict())


def test_a_copy_leaves_the_model_alone() -> None:
    model = Chain().eval()
    x = torch.randn(5, 2, 4)
    want = model(x)  # a first call lets PyTorch notice that weights are tied
    before = everything(model)
    other = bridge.accelerate(model, inplace=False)
    assert everything(model) == before
    assert type(other.lstm) is bridge.LSTM
    assert other.tied.weight_hh_l0 is other.again.weight_hh_l0 is not model.again.weight_hh_l0
    agree(other(x), want)


@pytest.mark.parametrize("kind", KINDS)
def test_hooks_stay(kind: str) -> None:
    module = small(kind)
    seen: list[str] = []
    module.register_forward_pre_hook(lambda *_: seen.append("before"))
    module.register_forward_hook(lambda *_: seen.append("after"))
    module.register_full_backward_hook(lambda *_: seen.append("backward"))
    module.register_state_dict_pre_hook(lambda *_: seen.append("state"))
    x = torch.randn(2, 3) if kind.endswith("Cell") else torch.randn(5, 2, 3)
    call(bridge.accelerate(module), x.requires_grad_()).sum().backward()
    module.state_dict()
    assert seen == ["before", "after", "backward", "state"]


def test_an_optimizer_made_before_goes_on_working() -> None:
    model = nn.LSTM(3, 4)
    twin = copy.deepcopy(model)
    x = torch.randn(5, 2, 3)
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.1, momentum=0.9) for each in (model, twin)]
    bridge.accelerate(model)
    for _ in range(3):
        for each, optimizer in zip((model, twin), optimizers, strict=True):
            optimizer.zero_grad()
            each(x)[0].square().sum().backward()
            optimizer.step()
    for got, want in zip(model.parameters(), twin.parameters(), strict=True):
        agree(got, want)


def test_flatten_parameters_moves_and_weights_set_anew() -> None:
    model = bridge.accelerate(nn.LSTM(3, 4))
    x = torch.randn(5, 2, 3)
    before = [value.data_ptr() for value in model.parameters()]
    assert model.flatten_parameters() is None
    assert [value.data_ptr() for value in model.parameters()] == before
    twin = nn.LSTM(3, 4).double()
    twin.load_state_dict(model.state_dict())
    agree(model.double()(x.double())[0], twin(x.double())[0])
    model.weight_hh_l0 = twin.weight_hh_l0 = nn.Parameter(torch.zeros(16, 4, dtype=torch.float64))
    agree(model(x.double())[0], twin(x.double())[0])
    agree(bridge.restore(model)(x.double())[0], twin(x.double())[0])


def test_twice_is_once_and_the_last_backend_holds() -> None:
    model = Chain()
    before = everything(model)
    bridge.accelerate(bridge.accelerate(model), backend="strict")
    assert {type(cell) for cell in model.cells} == {bridge.RNNCell, bridge.LSTMCell, bridge.GRUCell}
    assert model.lstm._pyrnnfast_backend == "strict"
    bridge.restore(bridge.restore(model))
    assert everything(model) == before


def test_restore_takes_the_promise_of_freeze_back() -> None:
    model = bridge.freeze(bridge.accelerate(nn.LSTM(3, 4)))
    x = torch.randn(5, 2, 3)
    with torch.inference_mode():
        model(x)
        bridge.restore(model)
        model.weight_hh_l0.data.numpy()[:] = 0  # no version tells
        want = model(x)[0]
        agree(bridge.accelerate(model)(x)[0], want)


def test_strict_raises_where_auto_falls_back() -> None:
    x = torch.randn(5, 2, 3, dtype=torch.float16)
    module = bridge.accelerate(nn.LSTM(3, 4, dtype=torch.float16))
    want = nn.LSTM(3, 4, dtype=torch.float16)
    want.load_state_dict(module.state_dict())
    assert torch.equal(module(x)[0], want(x)[0])
    with pytest.raises(RuntimeError, match="float16"):
        bridge.accelerate(module, backend="strict")(x)


# --- For a while


def test_accelerated_undoes_what_it_did_and_no_more() -> None:
    model = nn.ModuleList([nn.LSTM(3, 4), bridge.GRU(3, 4), bridge.accelerate(nn.RNN(3, 4))])
    before = everything(model)
    with bridge.accelerated(model) as outer:
        assert outer is model
        with bridge.accelerated(model, backend="strict"):
            assert [module._pyrnnfast_backend for module in model] == ["strict"] * 3
        assert [type(module) for module in model] == [bridge.LSTM, bridge.GRU, bridge.RNN]
        assert [module._pyrnnfast_backend for module in model] == ["auto"] * 3
    assert everything(model) == before


def test_accelerated_is_undone_after_an_error() -> None:
    model = nn.LSTM(3, 4)
    with pytest.raises(RuntimeError, match="must be equal to input_size"), bridge.accelerated(model):
        model(torch.randn(5, 2, 7))
    assert type(model) is nn.LSTM


# --- Bad input


@pytest.mark.parametrize("function", [bridge.accelerate, bridge.restore, bridge.explain])
@pytest.mark.parametrize("value", [None, nn.LSTM, [nn.RNN(2, 2)]])
def test_only_modules_are_accepted(function: Callable[[object], object], value: object) -> None:
    refuses(TypeError, lambda: function(value))


def test_wrong_options_change_nothing() -> None:
    model = nn.LSTM(3, 4)
    refuses(ValueError, lambda: bridge.accelerate(model, backend="fast"))
    refuses(TypeError, lambda: bridge.accelerate(model, backend=1))
    refuses(TypeError, lambda: bridge.accelerate(model, inplace=1))
    with pytest.raises(ValueError, match="backend must be"), bridge.accelerated(model, backend="fast"):
        pass
    assert type(model) is nn.LSTM
