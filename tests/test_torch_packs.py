"""Packed weights are used again only where no value changed: each way to change one is seen."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable

import pytest
from torch_twins import CELLS, LAYERS, leaves, nn, ours, torch

from pyrnnfast.torch import packs


def result(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return module(x)[0]


def fused_adam(module: object) -> None:
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1, fused=True)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def through_data(module: object) -> None:
    module.weight_hh_l0.data[-1, -1] += 1


def through_numpy(module: object) -> None:
    module.weight_hh_l0.detach().numpy()[0, 0] += 1


def in_place(module: object) -> None:
    with torch.no_grad():
        module.bias_hh_l0.add_(0.5)


def new_data(module: object) -> None:
    module.weight_ih_l0.data = module.weight_ih_l0.data * 2


def negated(module: object) -> None:
    """Flip every sign bit, which some hashes do not see."""
    module.weight_hh_l0.detach().numpy()[...] *= -1


def rows_swapped(module: object) -> None:
    weight = module.weight_hh_l0.detach().numpy()
    weight[[0, 1]] = weight[[1, 0]]


def swapped(module: object) -> None:
    module.weight_hh_l0 = nn.Parameter(torch.randn_like(module.weight_hh_l0))


def loaded(module: object) -> None:
    module.load_state_dict({k: v + 0.25 for k, v in module.state_dict().items()})


def assigned(module: object) -> None:
    module.load_state_dict({k: v + 0.25 for k, v in module.state_dict().items()}, assign=True)


def exchanged(module: object) -> None:
    """One weight takes over the memory of another."""
    module.weight_hh_l0.data, module.weight_ih_l0.data = module.weight_ih_l0.data, module.weight_hh_l0.data


EDITS = [
    fused_adam,
    through_data,
    through_numpy,
    in_place,
    new_data,
    negated,
    rows_swapped,
    swapped,
    loaded,
    assigned,
    exchanged,
]
SILENT = {through_data, through_numpy, negated, rows_swapped, fused_adam}


def outputs(module: object, x: object) -> list:
    with torch.no_grad():
        return [leaf.clone() for leaf in leaves(module(x))]


def fresh(module: object, x: object) -> list:
    """What a module gives that has never packed these weights."""
    other = ours.LSTM(8, 8)
    other.load_state_dict({name: value.clone() for name, value in module.state_dict().items()})
    return outputs(other, x)


@pytest.mark.parametrize("where", ["ordinary", "inference mode"])
@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_an_edit_is_seen(edit: Callable, where: str) -> None:
    torch.manual_seed(1)
    with torch.inference_mode(where == "inference mode"):
        module, x = ours.LSTM(8, 8), torch.randn(3, 2, 8)
        before = outputs(module, x)
        assert all(torch.equal(a, b) for a, b in zip(outputs(module, x), before, strict=True))
        edit(module)
        after = outputs(module, x)
        assert not torch.equal(after[0], before[0])
        assert all(torch.equal(a, b) for a, b in zip(after, fresh(module, x), strict=True))


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_a_frozen_module_sees_new_versions_and_places(edit: Callable) -> None:
    torch.manual_seed(2)
    module, x = ours.freeze(ours.LSTM(8, 8)), torch.randn(3, 2, 8)
    before = outputs(module, x)
    edit(module)
    after = outputs(module, x)
    if edit not in SILENT:
        assert not torch.equal(after[0], before[0])
    elif edit is not fused_adam:  # it may learn to tell one day
        assert torch.equal(after[0], before[0])
    assert ours.unfreeze(module) is module
    assert all(torch.equal(a, b) for a, b in zip(outputs(module, x), fresh(module, x), strict=True))


@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_freeze_finds_every_kind(name: str) -> None:
    module = getattr(ours, name)(8, 8)
    x = torch.randn(2, 8) if name in CELLS else torch.randn(3, 2, 8)
    model = ours.freeze(nn.ModuleList([module]))
    before = outputs(module, x)
    next(p for n, p in module.named_parameters() if n.startswith("weight_ih")).data.zero_()
    assert torch.equal(outputs(module, x)[0], before[0])
    ours.unfreeze(model)
    assert not torch.equal(outputs(module, x)[0], before[0])


def test_every_byte_counts() -> None:
    torch.manual_seed(3)
    module, x = ours.GRU(5, 9), torch.randn(2, 1, 5)
    for parameter in module.parameters():
        flat = parameter.detach().numpy().reshape(-1)
        for i in range(flat.size):
            before = outputs(module, x)
            kept = flat[i]
            flat[i] = 100 if kept < 0 else -100
            assert not torch.equal(outputs(module, x)[1], before[1]), (i, parameter.shape)
            flat[i] = kept
            assert torch.equal(outputs(module, x)[1], before[1])


TWO_WORDS = {
    "signs": lambda w: w.diagonal().neg_(),
    "two signs": lambda w: (w[0, 0].neg_(), w[1, 1].neg_()),
    "halves": lambda w: (w[2, 4].mul_(0.5), w[3, 5].mul_(0.5)),
    "column": lambda w: w[:, 3].neg_(),
}


@pytest.mark.parametrize("hidden", [16, 32, 64, 128])
@pytest.mark.parametrize("edit", TWO_WORDS)
def test_edits_of_several_words_do_not_cancel(edit: str, hidden: int) -> None:
    """Words a multiple of the vectors apart meet in one lane of the hash."""
    for name in LAYERS:
        module, x = getattr(ours, name)(hidden, hidden), torch.randn(2, 1, hidden)
        before = outputs(module, x)
        TWO_WORDS[edit](module.weight_hh_l0.data[:hidden])
        assert not torch.equal(outputs(module, x)[0], before[0])


def test_training_steps_are_seen_by_evaluation() -> None:
    torch.manual_seed(4)
    stock, module = nn.LSTM(6, 7), ours.LSTM(6, 7)
    module.load_state_dict(stock.state_dict())
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.5) for m in (stock, module)]
    x = torch.randn(4, 3, 6)
    for _ in range(5):
        for m, optimizer in zip((stock, module), optimizers, strict=True):
            optimizer.zero_grad()
            m.train()(x)[0].square().sum().backward()
            optimizer.step()
        for a, b in zip(outputs(module.eval(), x), outputs(stock.eval(), x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_pack_goes_with_its_module() -> None:
    gc.collect()
    before = len(packs._kept)
    module = ours.RNN(3, 4)
    outputs(module, torch.randn(1, 1, 3))
    assert len(packs._kept) == before + 1
    del module
    gc.collect()
    assert len(packs._kept) == before


def test_freeze_covers_no_edit_before_it() -> None:
    module, x = ours.LSTM(8, 8), torch.randn(3, 2, 8)
    for _ in range(2):
        result(module, x)
        module.weight_hh_l0.data.mul_(3)
        ours.freeze(module)
        assert torch.equal(result(module, x), result(copy.deepcopy(module), x))
        ours.unfreeze(module)


@pytest.mark.parametrize("undo", [ours.unfreeze, ours.restore])
@pytest.mark.parametrize("what", ["parametrized", "assigned"])
def test_the_promise_is_taken_back_of_weights_of_before(what: str, undo: Callable) -> None:
    module, x = ours.freeze(ours.LSTM(8, 8)), torch.randn(3, 2, 8)
    result(module, x)
    kept = module.weight_hh_l0
    if what == "assigned":
        module.weight_hh_l0 = nn.Parameter(torch.ones(32, 8))
        undo(module)
        module.weight_hh_l0 = kept
    else:
        nn.utils.parametrize.register_parametrization(module, "weight_hh_l0", nn.Identity())
        undo(module)
        nn.utils.parametrize.remove_parametrizations(module, "weight_hh_l0")
    ours.accelerate(module)
    result(module, x)
    module.weight_hh_l0.data.mul_(3)
    assert torch.equal(result(module, x), result(copy.deepcopy(module), x))


def test_what_is_no_parameter_is_not_frozen() -> None:
    module, x = ours.freeze(ours.LSTM(64, 64)), torch.randn(3, 2, 64)
    for _ in range(10):  # the allocator gives the same place again
        weight = torch.randn(256, 64)
        with torch.no_grad():
            y = torch.func.functional_call(module, {"weight_hh_l0": weight}, (x,))[0]
            same = torch.func.functional_call(copy.deepcopy(module), {"weight_hh_l0": weight}, (x,))[0]
        assert torch.equal(y, same)
        del weight


def test_a_shared_weight_freezes_no_other_module() -> None:
    frozen, other, x = ours.LSTM(8, 8), ours.LSTM(8, 8), torch.randn(3, 2, 8)
    other.weight_ih_l0 = frozen.weight_ih_l0
    ours.freeze(frozen)
    result(other, x)
    other.weight_hh_l0.data.mul_(3)
    assert torch.equal(result(other, x), result(copy.deepcopy(other), x))


def test_one_weight_of_inference_mode_among_others() -> None:
    module, x = ours.LSTM(4, 4), torch.randn(3, 2, 4)
    with torch.inference_mode():
        module.weight_hh_l0 = nn.Parameter(torch.ones(16, 4))
        before = module(x)[0].clone()
        module.weight_hh_l0.mul_(2)
        assert not torch.equal(module(x)[0], before)


def test_parameters_may_be_swapped() -> None:
    """PyTorch's other way to convert: the tensors change places, which no weak reference may see."""
    for name in CELLS:
        module, x = getattr(ours, name)(4, 4), torch.randn(2, 4)
        before = result(module, x)
        torch.__future__.set_swap_module_params_on_conversion(True)
        try:
            module.double()
            after = result(module, x.double())
            module.load_state_dict({key: 2 * value for key, value in module.state_dict().items()})
        finally:
            torch.__future__.set_swap_module_params_on_conversion(False)
        torch.testing.assert_close(after.float(), before)
        assert not torch.equal(result(module, x.double()), after)


def test_a_weight_may_be_swapped_that_another_module_has_too() -> None:
    cell, tied = ours.RNNCell(4, 4), nn.Linear(4, 4)
    tied.weight = cell.weight_hh
    model, x = nn.Sequential(tied, cell), torch.randn(2, 4)
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with torch.no_grad():
            before = model(x)
            after = model.double()(x.double())
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    torch.testing.assert_close(after.float(), before)


def test_a_parametrized_module_is_not_frozen() -> None:
    module = nn.utils.parametrizations.weight_norm(ours.GRU(8, 8), "weight_hh_l0")
    ours.freeze(module)
    x = torch.randn(3, 2, 8)
    before = result(module, x)
    module.parametrizations.weight_hh_l0.original0.data.mul_(3)
    assert not torch.equal(result(module, x), before)


@pytest.mark.parametrize("training", [False, True])
def test_other_networks_of_the_same_parameters(training: bool) -> None:
    """The same tensors in the same order are two layers, or two directions, or steps of tanh or of relu."""
    pairs = [
        ("LSTM", (32, 32, 2), {}, "LSTM", (32, 32), {"bidirectional": True}),
        ("RNN", (8, 8), {}, "RNN", (8, 8), {"nonlinearity": "relu"}),
        ("RNNCell", (8, 8), {}, "RNNCell", (8, 8), {"nonlinearity": "relu"}),
    ]
    for first, sizes, options, second, other_sizes, others in pairs:
        a, b = getattr(ours, first)(*sizes, **options), getattr(ours, second)(*other_sizes, **others)
        for (_, parameter), (name, _) in zip(
            list(a.named_parameters()), list(b.named_parameters()), strict=True
        ):
            setattr(b, name, parameter)
        x = torch.randn(2, 8) if first in CELLS else torch.randn(5, 3, sizes[0])
        want = [list(leaves(copy.deepcopy(m)(x))) for m in (a, b)]
        for _ in range(2):
            for module, expected in zip((a, b), want, strict=True):
                with torch.set_grad_enabled(training):
                    got = list(leaves(module(x)))
                assert all(torch.equal(g, w) for g, w in zip(got, expected, strict=True))


def test_a_nonlinearity_that_changes() -> None:
    module, x = ours.RNNCell(8, 8), torch.randn(2, 8)
    result(module, x)
    module.nonlinearity = "relu"
    assert (result(module, x) >= 0).all()


@pytest.mark.parametrize("function", [ours.freeze, ours.unfreeze])
def test_only_modules_are_frozen(function: Callable) -> None:
    with pytest.raises(TypeError, match=r"module must be a torch\.nn\.Module, got NoneType"):
        function(None)


def test_freed_memory_is_an_error() -> None:
    x = torch.randn(3, 2, 8)
    x.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError):
        ours.GRU(8, 8)(x)
