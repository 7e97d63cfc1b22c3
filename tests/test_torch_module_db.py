"""PyTorch's own module database, our classes in place of the stock ones: outputs, gradients, exceptions."""

from __future__ import annotations

import pytest
from conftest import require
from torch_twins import CELLS, DTYPES, LAYERS, assert_agree, nn, ours, run, torch

require("expecttest")  # of PyTorch's test suite
db = require("torch.testing._internal.common_modules")
INFOS = {
    info.module_cls.__name__: info for info in db.module_db if info.module_cls.__module__ == nn.RNN.__module__
}
NAMES = (*LAYERS, *CELLS)


def samples(function: object, info: object, dtype: object, training: bool, **options: object) -> list:
    torch.manual_seed(0)
    options |= {"device": "cpu", "dtype": dtype, "requires_grad": True, "training": training}
    return list(function(info, **options))


def build(cls: type, sample: object, dtype: object, training: bool) -> object:
    arguments = sample.constructor_input
    return cls(*arguments.args, **arguments.kwargs).to(dtype).train(training)


def forward(module: object, sample: object) -> object:
    return module(*sample.forward_input.args, **sample.forward_input.kwargs)


def test_all_six_are_there() -> None:
    assert set(INFOS) == set(NAMES)


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # of the stock module, too
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_gradients(name: str, dtype: object, training: bool) -> None:
    info = INFOS[name]
    found = samples(info.module_inputs_func, info, dtype, training, with_packed_sequence=True)
    assert found
    for sample in found:
        stock = build(info.module_cls, sample, dtype, training)
        module = build(getattr(ours, name), sample, dtype, training)
        module.load_state_dict(stock.state_dict())
        assert not sample.forward_input.kwargs
        arguments = sample.forward_input.args
        assert_agree(stock, 5, 5, run(module, *arguments), run(stock, *arguments))
        reasons = {"proj_size"} if getattr(module, "proj_size", 0) else {"kernels"}
        assert set(module._pyrnnfast_counts) == reasons


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", NAMES)
def test_exceptions(name: str, training: bool, dtype: object) -> None:
    info = INFOS[name]
    found = samples(info.module_error_inputs_func, info, dtype, training)
    assert found
    for error in found:
        sample, raised = error.module_error_input, []
        for cls in (info.module_cls, getattr(ours, name)):
            if error.error_on is db.ModuleErrorEnum.CONSTRUCTION_ERROR:
                with pytest.raises(error.error_type) as caught:
                    build(cls, sample, dtype, training)
            else:
                module = build(cls, sample, dtype, training)
                with pytest.raises(error.error_type) as caught:
                    forward(module, sample)
            raised.append((type(caught.value), str(caught.value)))
        assert raised[0] == raised[1]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    "arguments",
    [
        (torch.zeros(2),),
        (torch.zeros(2, 3, 4, 5),),
        (torch.zeros(2, 3, 4),),
        (torch.zeros(2, 3, 5), torch.zeros(1, 3, 7)),
        (torch.zeros(2, 3, 5), (torch.zeros(1, 3, 6), torch.zeros(1, 2, 6))),
        (torch.zeros(2, 5), torch.zeros(1, 1, 6)),
        (torch.zeros(2, 3, 5), 3),
        (torch.zeros(2, 3, 5), (torch.zeros(1, 3, 6),)),
        (torch.zeros(2, 3, 5, dtype=torch.int64),),
        ("text",),
    ],
    ids=lambda arguments: str([getattr(a, "shape", a) for a in arguments])[:60],
)
def test_more_exceptions(name: str, arguments: tuple) -> None:
    caught = []
    for home in (nn, ours):
        module = getattr(home, name)(5, 6)
        with pytest.raises((ValueError, RuntimeError, TypeError, AttributeError, IndexError)) as error:
            module(*arguments)
        caught.append((type(error.value), str(error.value)))
    assert caught[0] == caught[1]
