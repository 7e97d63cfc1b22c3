"""`accelerate` and `restore`: change the class of a model's recurrent modules in place, and back.

A module keeps its identity: parameters, hooks, name and mode live in the instance, and only its class
changes. Nothing outside the model is patched.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from pyrnnfast import validation
from pyrnnfast.torch.cells import GRUCell, LSTMCell, RNNCell
from pyrnnfast.torch.modules import GRU, LSTM, RNN, Unannounced
from pyrnnfast.torch.packs import unfreeze

OURS: dict[type[Any], type[Any]] = {
    nn.RNN: RNN,
    nn.LSTM: LSTM,
    nn.GRU: GRU,
    nn.RNNCell: RNNCell,
    nn.LSTMCell: LSTMCell,
    nn.GRUCell: GRUCell,
}
"""PyTorch's class -> the one that stands in for it."""
STOCK = {ours: stock for stock, ours in OURS.items()}

COMPUTING = (
    "forward",
    "__call__",
    "check_input",
    "check_hidden_size",
    "check_forward_args",
    "get_expected_hidden_size",
    "get_expected_cell_size",
    "permute_hidden",
    "_flat_weights",
    "_init_flat_weights",
    "_update_flat_weights",
    "_weights_have_changed",
)
"""What PyTorch's forward consists of: a module with its own version of one computes something of its own."""
MARK = "_pyrnnfast_"
"""What each of our attributes of an instance begins with."""
USERS = "_pyrnnfast_users"
"""Of a class that stands in for a user's: that class."""


def accelerate(model: Any, *, inplace: bool = True, backend: str = "auto") -> Any:
    """Let every RNN, LSTM, GRU and cell of a PyTorch model compute with pyrnnfast's kernels.

    model: any `torch.nn.Module`; a recurrent module itself too. Parameters stay the same objects, so that
    optimizers, hooks, `state_dict` and tied weights go on as before. `isinstance(m, nn.LSTM)` becomes false.
    inplace: False leaves the model as it is and works on a deep copy.
    backend: "auto" leaves to PyTorch the calls that the kernels do not reach (see `explain`); "strict" raises
    RuntimeError for them. It applies to modules that were accelerated before, too.

    Modules that compute something of their own, as a subclass with another `forward` does, are left alone;
    `explain` lists them.
    Returns the model: the same object, or the copy.
    Raises TypeError if model is no module or inplace no bool, ValueError for another backend.
    """
    check_model(model)
    validation.flag("inplace", inplace)
    validation.choice("backend", backend, ("auto", "strict"))
    model = model if inplace else copy.deepcopy(model)
    able = [module for module in model.modules() if is_recurrent(module) and why_not(module) is None]
    classes = [_translated(module, _ours) for module in able]  # all of them, before anything is changed
    for module, ours in zip(able, classes, strict=True):
        module.__class__ = ours
        module._pyrnnfast_backend = backend
    return model


def restore(model: Any) -> Any:
    """Undo `accelerate` in place: every module of ours becomes PyTorch's again, and nothing of ours is left.

    One that was built as `pyrnnfast.torch.LSTM` becomes an `nn.LSTM` too, which is what `torch.jit.script`
    wants; one of a subclass of that stays.
    Returns the model. Raises TypeError if it is no module.
    """
    check_model(model)
    for module in list(model.modules()):
        _restore(module)
    return model


@contextmanager
def accelerated(model: Any, *, backend: str = "auto") -> Iterator[Any]:
    """`accelerate` a model in place on entry; on exit undo that, and no more.

    Modules that were accelerated before stay so, with the backend that they had: such blocks nest.
    Raises what `accelerate` raises.
    """
    check_model(model)
    before = [(module, is_ours(module), vars(module).get(MARK + "backend")) for module in model.modules()]
    try:
        yield accelerate(model, backend=backend)
    finally:
        for module, ours, kept in before:
            if not ours:
                _restore(module)
            elif kept is not None:
                module._pyrnnfast_backend = kept
            else:
                vars(module).pop(MARK + "backend", None)


def check_model(model: Any) -> None:
    """Raise TypeError unless it is a module."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")


def is_recurrent(module: Any) -> bool:
    """Whether a module is an RNN, LSTM, GRU or cell of PyTorch or of ours, or was made from one."""
    if isinstance(module, torch.jit.ScriptModule):
        return module.original_name in {stock.__name__ for stock in OURS}
    return isinstance(module, nn.RNNBase | nn.RNNCellBase)


def is_ours(module: Any) -> bool:
    """Whether a module has one of our classes, or one derived from them."""
    return isinstance(module, tuple(STOCK))


def why_not(module: Any) -> str | None:
    """Say why a recurrent module cannot be accelerated; None if it can be, or is."""
    if isinstance(module, torch.jit.ScriptModule):
        return "compiled by torch.jit"
    for name in COMPUTING:
        if name in vars(module) and name != "_flat_weights":  # which every layer has
            return f"{name} was set on the module itself"
    cls = parametrize.type_before_parametrizations(module)
    if is_ours(module):
        return None
    stock = _family(cls)
    if stock is None:
        return f"{cls.__name__} is none of {', '.join(known.__name__ for known in OURS)}"
    return next(
        (f"{cls.__name__} overrides {name}" for name in COMPUTING if _overrides(cls, stock, name)), None
    )


def _family(cls: type[Any]) -> type[Any] | None:
    """PyTorch's class that a class is or is derived from."""
    return next((base for base in cls.__mro__ if base in OURS), None)


def _overrides(cls: type[Any], base: type[Any], name: str) -> bool:
    return inspect.getattr_static(cls, name, None) is not inspect.getattr_static(base, name, None)


def _restore(module: Any) -> None:
    stock = _translated(module, _stock) if is_ours(module) else None
    if stock is not None:
        unfreeze(module)
        module.__class__ = stock
        for name in [name for name in vars(module) if name.startswith(MARK)]:
            del vars(module)[name]


def _translated(module: Any, other: Callable[[type[Any]], type[Any] | None]) -> type[Any] | None:
    """Return what `other` makes of a module's class; below the class that a parametrization put on top.

    PyTorch keeps a parametrized tensor as a property of a class made for that one module, whose only base is
    the module's class from before.
    """
    cls: type[Any] = type(module)
    base = other(parametrize.type_before_parametrizations(module))
    if base is None or not parametrize.is_parametrized(module):
        return base
    return type(cls.__name__, (base,), _namespace(cls))


def _stock(cls: type[Any]) -> type[Any] | None:
    found: type[Any] | None = STOCK.get(cls) or vars(cls).get(USERS)
    return found


def _ours(cls: type[Any]) -> type[Any]:
    """Return the class that computes with the kernels in place of a stock class or a subclass of one."""
    if issubclass(cls, tuple(STOCK)):
        return cls
    if cls in OURS:
        return OURS[cls]
    known = (derived for derived in cls.__subclasses__() if vars(derived).get(USERS) is cls)
    return next(known, None) or _blend(cls)


def _blend(cls: type[Any]) -> type[Any]:
    """Derive a user's subclass of a stock class once more, with our methods where the user has none."""
    stock = _family(cls)
    assert stock is not None
    ours = OURS[stock]

    def __init__(self: Any, *arguments: Any, **options: Any) -> None:
        self.__class__ = cls  # whose initializers expect PyTorch's chain of bases
        self.__init__(*arguments, **options)
        self.__class__ = blend

    def __reduce_ex__(self: Any, protocol: int) -> Any:
        reduce: Any = cls.__reduce_ex__
        make, arguments, *rest = reduce(self, protocol)
        # pickle finds a class by its name, and that is the user's
        known = [cls if value is blend else value for value in (make, *arguments)]
        return (_made, tuple(known), *rest)

    methods: dict[str, Any] = {}
    for base in reversed([base for base in ours.__mro__ if base not in stock.__mro__]):
        methods |= _namespace(base)
    methods = {name: value for name, value in methods.items() if not _overrides(cls, stock, name)}
    special = {"__init__": __init__, "__reduce_ex__": __reduce_ex__, USERS: cls}
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    blend = type(cls.__name__, (Unannounced, cls, ours), methods | special | names)
    return blend


def _made(make: Callable[..., Any], *arguments: Any) -> Any:
    """Make an instance of a user's subclass, as it was pickled, and change its class."""
    module = make(*arguments)
    module.__class__ = _ours(type(module))
    return module


def _namespace(cls: type[Any]) -> dict[str, Any]:
    return {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
