"""accelerate on subclasses, parametrized and scripted modules; explain, which says what became of each."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from conftest import require
from swaps import KINDS, agree, small

torch = require("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import parametrizations, parametrize  # noqa: E402

from pyrnnfast import torch as bridge  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


class ForgetBiased(nn.LSTM):
    """A subclass that computes what its base does, with methods of its own that call super()."""

    def __init__(self, inputs: int, hidden: int, bias: float = 1.0) -> None:
        super().__init__(inputs, hidden, batch_first=True)
        self.filled = bias
        with torch.no_grad():
            self.bias_ih_l0[hidden : 2 * hidden] = bias

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, filled={self.filled}"


class Doubled(nn.GRU):
    def forward(self, x: Any, hx: Any = None) -> Any:
        y, h = super().forward(x, hx)
        return 2 * y, h


class Permuted(nn.LSTM):
    def permute_hidden(self, hx: Any, permutation: Any) -> Any:
        return super().permute_hidden(hx, permutation)


# --- What is left alone


def test_modules_that_compute_something_of_their_own_are_left_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    patched, scripted = nn.LSTM(3, 4), torch.jit.script(nn.LSTM(3, 4))
    patched.forward = lambda x: (x, None)

    class Peephole(nn.RNNBase):
        def __init__(self) -> None:
            super().__init__("LSTM", 3, 4)

    class Masked(nn.GRU):
        def _update_flat_weights(self) -> None:
            super()._update_flat_weights()

    own = [Doubled(3, 4), Permuted(3, 4), patched, scripted, Peephole(), Masked(3, 4)]
    model = nn.ModuleList([*own, nn.LSTM(3, 4)])
    classes = [type(module) for module in model]
    bridge.accelerate(model)
    assert [type(module) for module in model] == [*classes[:-1], bridge.LSTM]
    assert not any("_pyrnnfast_backend" in vars(module) for module in list(model)[:-1])
    bridge.explain(model)
    reasons = [line.split("  ")[-1].strip() for line in capsys.readouterr().out.splitlines()[2:]]
    assert reasons[:6] == [
        "Doubled overrides forward",
        "Permuted overrides permute_hidden",
        "forward was set on the module itself",
        "compiled by torch.jit",
        "Peephole is none of RNN, LSTM, GRU, RNNCell, LSTMCell, GRUCell",
        "Masked overrides _update_flat_weights",
    ]


def test_a_subclass_that_computes_what_its_base_does_is_accelerated() -> None:
    model, other = ForgetBiased(3, 4, bias=2.0), ForgetBiased(3, 4)
    x = torch.randn(2, 5, 3)
    want, text = model(x), repr(model)
    bridge.accelerate(nn.ModuleList([model, other]))
    assert type(model) is type(other) is not ForgetBiased
    assert isinstance(model, bridge.LSTM)
    assert repr(model) == text == "ForgetBiased(3, 4, batch_first=True, filled=2.0)"
    assert type(model).__qualname__ == "ForgetBiased"
    agree(model(x)[0], want[0])
    assert model._pyrnnfast_counts == {"kernels": 1}
    built = type(model)(3, 4, bias=3.0)
    assert type(built) is type(model)
    assert built.filled == 3.0
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(copied) is type(model)
        assert torch.equal(copied(x)[0], model(x)[0])
    bridge.restore(model)
    assert type(model) is ForgetBiased
    assert torch.equal(model(x)[0], want[0])
    assert not any(name.startswith("_pyrnnfast") for name in vars(model))


class Reduced(nn.GRU):
    """A subclass that says itself how to copy it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.input_size, self.hidden_size), {"_parameters": self._parameters}


def test_a_subclass_with_a_reduction_of_its_own_is_copied_by_it() -> None:
    model, x = Reduced(3, 4), torch.randn(2, 5, 3)
    bridge.accelerate(model)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(copied) is type(model)
        assert torch.equal(copied(x)[0], model(x)[0])


def test_a_subclass_may_have_any_attributes() -> None:
    class Busy(nn.LSTM):
        _weights = _run = _recur = _cell = _stock = _forward = None

    model, x = Busy(3, 4), torch.randn(5, 2, 3)
    want = model(x)[0]
    agree(bridge.accelerate(model, backend="strict")(x)[0], want)


def test_a_subclass_of_ours_starts_its_weights_itself() -> None:
    class Zeroed(bridge.LSTM):
        def reset_parameters(self) -> None:
            for parameter in self.parameters():
                nn.init.zeros_(parameter)

    assert not any(parameter.any() for parameter in Zeroed(3, 4).parameters())


@pytest.mark.parametrize("base", [nn.LSTM, bridge.LSTM])
def test_a_users_class_hears_only_of_classes_that_users_derive(base: Any) -> None:
    heard = []

    class Registered(base):  # type: ignore[misc]
        def __init_subclass__(cls, *, name: str) -> None:
            heard.append(name)

    class Own(Registered, name="own"):
        pass

    x = torch.randn(2, 5, 3)
    bridge.accelerate(nn.ModuleList([Registered(3, 4), Own(3, 4)]), backend="strict")[1](x)
    assert heard == ["own"]


def test_a_subclass_of_ours_is_ours_and_stays() -> None:
    class Named(bridge.LSTM):
        pass

    module = Named(3, 4)
    bridge.accelerate(module, backend="strict")
    assert type(module) is Named
    assert module._pyrnnfast_backend == "strict"
    assert type(bridge.restore(module)) is Named


def test_restore_makes_pytorchs_of_a_module_that_was_built_as_ours() -> None:
    module = bridge.LSTM(3, 4)
    assert type(bridge.restore(module)) is nn.LSTM
    x = torch.randn(5, 2, 3)
    assert torch.equal(torch.jit.script(nn.Sequential(module))(x)[0], module(x)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_scripting_raises_and_names_restore(kind: str) -> None:
    model = bridge.accelerate(nn.Sequential(nn.Linear(3, 3), small(kind)))
    for each in (model, model[1]):
        with pytest.raises(Exception, match="restore"):
            torch.jit.script(each)
    torch.jit.script(bridge.restore(model))


# --- Parametrized and weight-normed modules


def test_parametrized_before() -> None:
    model = parametrizations.weight_norm(nn.LSTM(3, 4), "weight_hh_l0")
    x = torch.randn(5, 2, 3)
    with torch.no_grad():  # else PyTorch keeps a tensor that it cannot copy
        want = model(x)[0]
    attributes, cls = list(vars(model)), type(model)
    names = [name for name, _ in model.named_parameters()]
    bridge.accelerate(model, backend="strict")
    assert isinstance(model, bridge.LSTM)
    assert parametrize.type_before_parametrizations(model) is bridge.LSTM
    assert [name for name, _ in model.named_parameters()] == names
    agree(model(x)[0], want)
    model(x)[0].sum().backward()
    assert model.parametrizations.weight_hh_l0.original1.grad is not None
    agree(copy.deepcopy(model)(x)[0], want)
    bridge.restore(model)
    assert type(model).__mro__[1:] == cls.__mro__[1:]
    assert list(vars(model)) == attributes
    agree(model(x)[0], want)
    parametrize.remove_parametrizations(model, "weight_hh_l0")
    assert type(model) is nn.LSTM
    agree(model(x)[0], want)


class Halved(nn.Module):
    def forward(self, x: Any) -> Any:
        return x / 2


def test_parametrized_after_and_removed_while_accelerated() -> None:
    model, twin = nn.GRU(3, 4), nn.GRU(3, 4)
    twin.load_state_dict(model.state_dict())
    x = torch.randn(5, 2, 3)
    bridge.accelerate(model, backend="strict")
    for each in (model, twin):
        parametrize.register_parametrization(each, "weight_ih_l0", Halved())
    agree(model(x)[0], twin(x)[0])
    bridge.restore(model)
    assert parametrize.type_before_parametrizations(model) is nn.GRU
    agree(model(x)[0], twin(x)[0])
    bridge.accelerate(model, backend="strict")
    for each in (model, twin):
        parametrize.remove_parametrizations(each, "weight_ih_l0")
    assert type(model) is bridge.GRU
    agree(model(x)[0], twin(x)[0])


def test_the_old_weight_norm_sets_weights_before_each_call() -> None:
    with pytest.warns(FutureWarning):
        model = nn.utils.weight_norm(nn.LSTM(3, 4), "weight_hh_l0")
    x = torch.randn(5, 2, 3)
    want = model(x)[0]
    bridge.accelerate(model, backend="strict")
    agree(model(x)[0], want)
    with torch.no_grad():
        model.weight_hh_l0_g *= 3
    assert not torch.allclose(model(x)[0], want)
    model(x)[0].sum().backward()
    assert model.weight_hh_l0_g.grad is not None


# --- explain


def test_explain_prints_a_line_for_each_recurrent_module(capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.ModuleDict({"tagger": nn.LSTM(3, 4), "small": nn.GRU(3, 4).half(), "own": Doubled(3, 4)})
    bridge.explain(model)
    plain = capsys.readouterr().out.splitlines()
    bridge.accelerate(model)
    for _ in range(3):
        model["tagger"](torch.randn(5, 2, 3))
    model["small"](torch.randn(5, 2, 3).half())
    bridge.explain(model)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:5] == ["module", "class", "backend", "kernels", "PyTorch"]
    assert lines[0].endswith("why not the kernels")
    assert set(lines[1]) == {"-", " "}
    assert lines[2].split() == ["tagger", "pyrnnfast.torch.LSTM", "auto", "3", "0"]
    assert lines[3].split()[:5] == ["small", "pyrnnfast.torch.GRU", "auto", "0", "1"]
    assert "float16" in lines[3]
    assert lines[3].endswith("(1)")
    assert lines[4].split()[:5] == ["own", f"{__name__}.Doubled", "-", "-", "-"]
    assert lines[4].endswith("  Doubled overrides forward")
    assert len(lines) == 5
    assert plain[2].split() == ["tagger", "torch.nn.LSTM", "-", "-", "-", "not", "accelerated"]
    assert len(plain) == 5


def test_explain_of_a_module_alone_and_of_none(capsys: pytest.CaptureFixture[str]) -> None:
    bridge.explain(bridge.accelerate(nn.LSTMCell(3, 4)))
    assert "(the model)" in capsys.readouterr().out
    bridge.explain(nn.Linear(3, 4))
    assert capsys.readouterr().out.splitlines()[-1] == "(no recurrent module)"
