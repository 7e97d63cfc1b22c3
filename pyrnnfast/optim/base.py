"""`Optimizer`: what all optimizers share. A subclass adds its constructor and the update of one parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Array
from pyrnnfast.layers.module import Module

FLAGS = ("centered", "nesterov")
BELOW_ONE = ("alpha", "beta1", "beta2")


class Optimizer:
    """Updates the parameters of one module in place from its gradients.

    Its state: options (numbers), the count of steps, and the arrays that the rule keeps for each parameter
    ("buffers"). The parameters are those that the module has when the optimizer is made.
    """

    def __init__(self, module: Module, options: Mapping[str, float], buffers: Mapping[str, float]) -> None:
        """Keep the module, the options by name, and a buffer of each name filled with its number."""
        if not isinstance(module, Module):
            raise TypeError(f"module must be a pyrnnfast Module, got {type(module).__name__}")
        self._module = module
        self._options = {name: self._check_option(name, value) for name, value in options.items()}
        self._check_options(self._options)
        self._steps = 0
        self._buffers: dict[str, dict[str, Array]] = {
            buffer: {name: np.full_like(value, fill) for name, value in module.named_parameters().items()}
            for buffer, fill in buffers.items()
        }

    # --- What subclasses define

    def _check_options(self, options: Mapping[str, float]) -> None:
        """Raise ValueError when options do not go together."""

    def _update(self, parameter: Array, gradient: Array, buffers: dict[str, Array]) -> None:
        """Do one step on one parameter; all arrays flat; `self._steps` counts this step already."""
        raise NotImplementedError

    # --- What users call

    @property
    def lr(self) -> float:
        """The learning rate; set it before a step, from a schedule for instance."""
        return self._options["lr"]

    @lr.setter
    def lr(self, value: float) -> None:
        self._options["lr"] = self._check_option("lr", value)

    @property
    def options(self) -> dict[str, float]:
        """The options and their values; a copy."""
        return dict(self._options)

    @property
    def steps(self) -> int:
        """How many steps were done."""
        return self._steps

    def zero_grad(self) -> None:
        """Set the module's gradients to zero."""
        self._module.zero_grad()

    def step(self) -> None:
        """Update every parameter once, from the gradients that are there.

        NaN and infinity go through; `clip_grad_norm_` says how to leave out a step that has them.
        Raises ValueError when the module's parameters are others than those the optimizer was made for.
        """
        gradients = self._module.grads
        with self._module.update() as parameters, np.errstate(all="ignore"):
            self._check_parameters(parameters)
            self._steps += 1
            for name, parameter in parameters.items():
                buffers: dict[str, Array] = {}
                for buffer, arrays in self._buffers.items():
                    buffers[buffer] = arrays[name].reshape(-1)
                self._update(parameter.reshape(-1), gradients[name].reshape(-1), buffers)

    def state_dict(self) -> dict[str, float | Array]:
        """Return what a resumed run needs, flat: the options, "steps", and copies as "buffer.parameter"."""
        state: dict[str, float | Array] = {**self._options, "steps": self._steps}
        state.update({name: array.copy() for name, array in self._named_buffers().items()})
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the options, the count of steps and the buffers.

        state: as `state_dict` gives it, of the same kind of optimizer on the same parameters; a number may
        also come as an array of one element.
        Raises TypeError when state is no mapping or a buffer no array (a masked one is none), and one
        ValueError that lists every missing, unexpected and bad entry; nothing is changed then.
        """
        if not isinstance(state, Mapping):
            raise TypeError(
                f"state must be a mapping of names to arrays and numbers, got {type(state).__name__}"
            )
        buffers = self._named_buffers()
        expected = [*self._options, "steps", *buffers]
        problems = [f"missing {name!r}" for name in expected if name not in state]
        problems += [f"unexpected {name!r}" for name in state if name not in expected]
        numbers: dict[str, float] = {}
        arrays = {name: validation.from_any(repr(name), state[name]) for name in buffers if name in state}
        for name in expected:
            if name not in state:
                continue
            try:
                if name in buffers:
                    self._check_buffer(name, arrays[name])
                else:
                    numbers[name] = self._check_option(name, _scalar(name, state[name]))
            except (TypeError, ValueError) as error:
                problems.append(str(error))
        if not problems:
            try:
                self._check_options(numbers)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError(f"cannot load the state into {type(self).__name__}: " + "; ".join(problems))
        self._steps = int(numbers.pop("steps"))
        self._options = numbers
        for name, array in buffers.items():
            array[...] = arrays[name]

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self._options.items())
        return f"{type(self).__name__}({options})"

    # --- Checks

    def _named_buffers(self) -> dict[str, Array]:
        return {
            f"{kind}.{name}": array
            for kind, arrays in self._buffers.items()
            for name, array in arrays.items()
        }

    def _check_option(self, name: str, value: object) -> float:
        """Return the option, or the count of steps, with its type and range checked."""
        if name == "steps":
            return validation.integer(name, value, at_least=0)
        if name in FLAGS:
            return validation.flag(name, value)
        return validation.number(name, value, at_least=0, below=1 if name in BELOW_ONE else None)

    def _check_buffer(self, name: str, value: Array) -> None:
        own = self._named_buffers()[name]
        if value.shape != own.shape or value.dtype != own.dtype:
            raise ValueError(f"{name!r} must be {own.dtype} {own.shape}, got {value.dtype} {value.shape}")

    def _check_parameters(self, parameters: Mapping[str, Array]) -> None:
        for arrays in self._buffers.values():
            got = {name: parameter.shape for name, parameter in parameters.items()}
            expected = {name: array.shape for name, array in arrays.items()}
            if got != expected:
                raise ValueError(f"the optimizer was made for the parameters {expected}, got {got}")


def _scalar(name: str, value: object) -> object:
    """Take the number out of an array of one element; files may hold a flag as 0 or 1."""
    if isinstance(value, np.ndarray) and value.size == 1 and not isinstance(value, np.ma.MaskedArray):
        value = value.item()
    return bool(value) if name in FLAGS and isinstance(value, (int, float)) and value in (0, 1) else value
