"""pyrnnfast.torch against torch.nn: results, gradients, shapes of inputs, dropout, threads."""

from __future__ import annotations

import itertools

import pytest
from torch_twins import CELLS, DTYPES, LAYERS, assert_agree, leaves, nn, on_kernels, ours, run, torch, twins

SIZES = [(5, 7), (16, 33), (65, 3)]
OPTIONS = [
    {"num_layers": layers, "bidirectional": two, "bias": bias, "batch_first": first}
    for layers, two, bias, first in itertools.product([1, 3], [False, True], [False, True], [False, True])
]


def state(name: str, shape: tuple[int, ...], dtype: object) -> object:
    h, c = (torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(2))
    return (h, c) if name.startswith("LSTM") else h


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("form", ["batch", "one row", "packed", "transposed"])
def test_layer_is_the_stock_one(name: str, form: str, dtype: object) -> None:
    torch.manual_seed(1)
    for (inputs, hidden), options in zip(itertools.cycle(SIZES), OPTIONS, strict=False):
        stock, module = twins(name, inputs, hidden, dtype=dtype, **options)
        steps, rows = 6, 1 if form == "one row" else 3
        runs = options["num_layers"] * (1 + options["bidirectional"])
        first = options["batch_first"] and form != "one row"
        shape = (rows, steps, inputs) if first else (steps, rows, inputs)
        x = torch.randn(shape, dtype=dtype)
        if form == "transposed":
            x = torch.randn(shape[::-1], dtype=dtype).permute(2, 1, 0)
        hx = state(name, (runs, rows, hidden), dtype)
        if form == "one row":
            x = x[:, 0]
            hx = state(name, (runs, hidden), dtype)
        x = x.requires_grad_()
        if form == "packed":
            x = nn.utils.rnn.pack_padded_sequence(
                x.detach(), torch.tensor([2, 6, 3]), batch_first=first, enforce_sorted=False
            )
            x.data.requires_grad_()
        for arguments in [(x,), (x, hx)]:
            want, got = run(stock, *arguments), run(module, *arguments)
            assert_agree(stock, steps, rows, got, want)
            with torch.no_grad():
                quick = list(leaves(module(*arguments)))
            for i, value in enumerate(quick):
                assert torch.equal(value, got[f"output {i}"])
        assert on_kernels(module)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", CELLS)
def test_cell_is_the_stock_one(name: str, dtype: object) -> None:
    torch.manual_seed(2)
    for (inputs, hidden), bias, rows in itertools.product(SIZES, [False, True], [(), (1,), (9,)]):
        stock, module = twins(name, inputs, hidden, bias=bias, dtype=dtype)
        x = torch.randn((*rows, inputs), dtype=dtype, requires_grad=True)
        for arguments in [(x,), (x, state(name, (*rows, hidden), dtype))]:
            assert_agree(stock, 1, rows[0] if rows else 1, run(module, *arguments), run(stock, *arguments))
        assert on_kernels(module)


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_nonlinearity(nonlinearity: str) -> None:
    torch.manual_seed(3)
    x = torch.randn(4, 2, 5, dtype=torch.float64, requires_grad=True)
    for name, argument in [("RNN", x), ("RNNCell", x[0].detach())]:
        stock, module = twins(name, 5, 6, nonlinearity=nonlinearity, dtype=torch.float64)
        assert_agree(stock, 4, 2, run(module, argument), run(stock, argument))
        assert repr(module) == repr(stock)


@pytest.mark.parametrize("name", LAYERS)
def test_no_rows_and_no_steps(name: str) -> None:
    stock, module = twins(name, 5, 6)
    empty = torch.empty(3, 0, 5)
    for got, want in zip(leaves(module(empty)), leaves(stock(empty)), strict=True):
        assert got.shape == want.shape
    module(empty)[0].sum().backward()
    with pytest.raises(RuntimeError) as theirs:
        stock(torch.empty(0, 2, 5))
    with pytest.raises(RuntimeError) as mine:
        module(torch.empty(0, 2, 5))
    assert str(mine.value) == str(theirs.value)


def test_the_constructor_is_the_stock_one() -> None:
    for name in LAYERS:
        torch.manual_seed(4)
        stock = getattr(nn, name)(3, 4, 2, bidirectional=True, dropout=0.25, dtype=torch.float64)
        torch.manual_seed(4)
        module = getattr(ours, name)(3, 4, 2, bidirectional=True, dropout=0.25, dtype=torch.float64)
        assert repr(module) == repr(stock)
        assert isinstance(module, nn.RNNBase)
        assert not isinstance(module, getattr(nn, name))
        for (key, value), (other, same) in zip(
            module.state_dict().items(), stock.state_dict().items(), strict=True
        ):
            assert key == other
            assert torch.equal(value, same)


@pytest.mark.parametrize("form", ["batch", "packed"])
def test_dropout_follows_the_generator_and_keeps_the_mean(form: str) -> None:
    module = ours.GRU(4, 64, num_layers=2, dropout=0.5, dtype=torch.float64)
    x = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
    if form == "packed":
        x = nn.utils.rnn.pack_padded_sequence(x.detach(), [5, 4, 2])
    first, again, other = (run_seeded(module, x, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    module.eval()
    assert torch.equal(run_seeded(module, x, 1)[0], run_seeded(module, x, 2)[0])


def run_seeded(module: object, x: object, seed: int) -> list:
    torch.manual_seed(seed)
    return list(leaves(module(x)))


def test_dropout_without_gradients_drops_too() -> None:
    module = ours.RNN(4, 8, num_layers=2, dropout=0.5)
    x = torch.randn(5, 3, 4)
    with torch.no_grad():
        assert not torch.equal(run_seeded(module, x, 1)[0], run_seeded(module, x, 2)[0])
        assert torch.equal(run_seeded(module, x, 1)[0], run_seeded(module, x, 1)[0])
    torch.manual_seed(1)
    assert torch.equal(module(x)[0].detach(), run_seeded(module, x, 1)[0])


def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    module = ours.LSTM(40, 96, num_layers=2)
    x = torch.randn(20, 12, 40, requires_grad=True)
    kept = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(run(module, x))
    finally:
        torch.set_num_threads(kept)
    for other in results[1:]:
        assert all(torch.equal(other[name], value) for name, value in results[0].items())


def test_inputs_are_not_changed_and_outputs_are_new() -> None:
    module = ours.LSTM(3, 4)
    x, h, c = torch.randn(2, 1, 3), torch.randn(1, 1, 4), torch.randn(1, 1, 4)
    before = [t.clone() for t in (x, h, c)]
    with torch.no_grad():
        y, (h1, c1) = module(x, (h, c))
    assert all(torch.equal(a, b) for a, b in zip(before, (x, h, c), strict=True))
    assert len({t.data_ptr() for t in (x, h, c, y, h1, c1)}) == 6


def test_only_what_takes_a_gradient_gets_one() -> None:
    module = ours.GRU(3, 4)
    module.weight_ih_l0.requires_grad_(False)
    module(torch.randn(2, 1, 3))[0].sum().backward()
    assert module.weight_ih_l0.grad is None
    assert module.weight_hh_l0.grad is not None
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    assert not module(torch.randn(2, 1, 3))[0].requires_grad


@pytest.mark.parametrize("form", ["batch", "no rows"])
@pytest.mark.parametrize("name", [*LAYERS, *CELLS])
def test_what_is_computed_does_not_depend_on_what_else_is_wanted(name: str, form: str) -> None:
    torch.manual_seed(5)
    module = getattr(ours, name)(3, 5) if name in CELLS else getattr(ours, name)(3, 5, 2, bidirectional=True)
    rows = 0 if form == "no rows" else 2
    x = torch.randn((rows, 3) if name in CELLS else (4, rows, 3))
    want = run(module, x)
    names = [key for key, _ in module.named_parameters()]
    for kept in (names[::2], names[1::2], names[:1], names[-1:], names[2:4]):
        for key, parameter in module.named_parameters():
            parameter.requires_grad_(key in kept)
        loss = sum((o * torch.linspace(-1, 1, o.numel()).reshape(o.shape)).sum() for o in leaves(module(x)))
        found = torch.autograd.grad(loss, [getattr(module, key) for key in kept])
        for key, gradient in zip(kept, found, strict=True):
            assert torch.equal(gradient, want[f"d {key}"]), key


def test_a_weight_that_changed_before_backward_is_an_error() -> None:
    module = ours.RNN(3, 4)
    y, _ = module(torch.randn(2, 1, 3))
    with torch.no_grad():
        module.weight_hh_l0.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
