"""`Module`, the base of layers and models: named parameters, gradients, versions, children, state_dict."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Array

ModuleT = TypeVar("ModuleT", bound="Module")


def read_only(array: Array) -> Array:
    """View `array` without the right to write, which cannot be taken back as that of `array.view()` can."""
    return np.asarray(array.data.toreadonly())


class Module:
    """Named parameters with their gradients, and children that are Modules themselves.

    A subclass calls `super().__init__()` first, then `_add_parameter` for each parameter. A Module that is
    assigned to an attribute becomes a child, and its parameters are named "attribute.name" here. Values
    change only in `update()` and `load_state_dict()`, which raise `version`; all else hands out read-only
    views or copies. So what was derived from the values (packed weights) holds while `version` stays.

    `training` is True at first. Pickle and deepcopy keep the parameters, gradients and the mode.
    """

    training: bool

    def __init__(self) -> None:
        self._parameters: dict[str, Array] = {}
        self._gradients: dict[str, Array] = {}
        self._children: dict[str, Module] = {}
        self._version = 0
        self._lock = threading.RLock()
        self.training = True

    # --- What subclasses use

    def _add_parameter(self, name: str, value: Array) -> None:
        """Keep a copy of `value` as the parameter `name`."""
        self._parameters[name] = np.array(value, order="C")
        self._version += 1

    def _add_gradients(self, gradients: Mapping[str, Array], fresh: bool = False) -> None:
        """Add to this module's own gradients, whole or not at all as other Python threads see it.

        fresh: nobody else has the arrays, so that the first ones after `zero_grad` can be kept as they are.
        """
        with self._lock:
            for name, gradient in gradients.items():
                if fresh and name not in self._gradients:
                    self._gradients[name] = gradient
                else:
                    total = self._gradient(name)
                    total += gradient

    def _gradient(self, name: str) -> Array:
        """One of this module's own gradients; it takes memory from its first use on."""
        with self._lock:
            if name not in self._gradients:
                self._gradients[name] = np.zeros_like(self._parameters[name])
            return self._gradients[name]

    def extra_repr(self) -> str:
        """What stands in the parentheses of `repr`: the constructor's arguments."""
        return ""

    # --- Parameters and gradients

    def named_parameters(self) -> dict[str, Array]:
        """Return every parameter, the children's too, as read-only views."""
        return {name: read_only(module._parameters[own]) for name, module, own in self._walk()}

    @property
    def grads(self) -> dict[str, Array]:
        """The gradients by parameter name; `backward` adds into these arrays, and they may be written."""
        return {name: module._gradient(own) for name, module, own in self._walk()}

    def zero_grad(self) -> None:
        """Set every gradient to zero: the arrays of `grads` are let go, and new ones begin from zero."""
        for module in self.modules().values():
            with module._lock:
                module._gradients.clear()

    def num_parameters(self) -> int:
        """Count the numbers in all parameters."""
        return sum(module._parameters[own].size for _, module, own in self._walk())

    @property
    def version(self) -> int:
        """A number that goes up whenever a parameter here or in a child changes."""
        return self._version + sum(child.version for child in self._children.values())

    @contextmanager
    def update(self) -> Iterator[dict[str, Array]]:
        """Change parameters in place: `with module.update() as parameters: parameters["weight"] -= step`.

        Yields the writable arrays by name, for use inside the `with` block only. Versions go up when it ends,
        also by an exception.
        """
        try:
            yield {name: module._parameters[own] for name, module, own in self._walk()}
        finally:
            for module in self.modules().values():
                module._bump()

    # --- Children and mode

    def modules(self) -> dict[str, Module]:
        """Return this module (under the name "") and all below it, by dotted name."""
        found: dict[str, Module] = {"": self}
        for name, child in self._children.items():
            for below, module in child.modules().items():
                found[f"{name}.{below}" if below else name] = module
        return found

    def train(self: ModuleT, mode: bool = True) -> ModuleT:
        """Switch this module and its children to training (or, with False, to eval); returns itself."""
        for module in self.modules().values():
            module.training = bool(mode)
        return self

    def eval(self: ModuleT) -> ModuleT:
        """Switch to eval: no dropout, nothing kept for backward; returns itself."""
        return self.train(False)

    # --- Saving and loading

    def state_dict(self) -> dict[str, Array]:
        """Return a copy of every parameter by name."""
        return {name: module._parameters[own].copy() for name, module, own in self._walk()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy the values of `state` into the parameters.

        state: the arrays by parameter name (anything with `__array__`), of the parameters' shapes and dtypes,
        as `state_dict` gives them.
        Raises TypeError when state is no mapping or a value no array (a masked one is none), and one
        ValueError that lists every missing, unexpected, misshaped and mis-dtyped key. Nothing is changed
        then.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be a mapping of names to arrays, got {type(state).__name__}")
        own = {name: module._parameters[key] for name, module, key in self._walk()}
        problems = [f"missing {name!r}" for name in own if name not in state]
        problems += [f"unexpected {name!r}" for name in state if name not in own]
        values: dict[str, Array] = {}
        for name, parameter in own.items():
            if name not in state:
                continue
            value = validation.from_any(repr(name), state[name])
            if value.dtype != parameter.dtype:
                problems.append(f"{name!r} must have dtype {parameter.dtype}, got {value.dtype}")
            if value.shape != parameter.shape:
                problems.append(f"{name!r} must have shape {parameter.shape}, got {value.shape}")
            values[name] = value
        if problems:
            raise ValueError(f"cannot load the state into {type(self).__name__}: " + "; ".join(problems))
        with self.update() as parameters:
            for name, parameter in parameters.items():
                parameter[...] = values[name]

    # --- Python's protocols

    def __getattr__(self, name: str) -> Array:
        parameters = self.__dict__.get("_parameters", {})
        if name in parameters:
            return read_only(parameters[name])
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__.get("_parameters", {}):
            raise AttributeError(
                f"parameter {name!r} is read-only: change it in update() or load_state_dict()"
            )
        children = self.__dict__.get("_children", {})
        if name in children:
            self._version += children.pop(name).version + 1
        if isinstance(value, Module):
            children[name] = value
        object.__setattr__(self, name, value)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._parameters]

    def __repr__(self) -> str:
        title = f"{type(self).__name__}({self.extra_repr()}"
        if not self._children:
            return title + ")"
        lines = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self._children.items()]
        return "\n  ".join([title, *lines]) + "\n)"

    def __copy__(self) -> NoReturn:
        # two modules of the same arrays: what one changes the other would not see in its packed weights
        raise TypeError(f"{type(self).__name__} cannot be copied without its arrays: use copy.deepcopy")

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__dict__["_lock"] = threading.RLock()

    def _bump(self) -> None:
        with self._lock:
            self._version += 1

    def _walk(self) -> Iterator[tuple[str, Module, str]]:
        """Give (name here, owner, name there) of each parameter, this module's own first."""
        for path, module in self.modules().items():
            for own in module._parameters:
                yield (f"{path}.{own}" if path else own), module, own
