"""`Backend`: the interface that ONNX defines for what runs its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx.checker
from onnx import NodeProto
from onnx.backend import base

from pyrnnfast import validation
from pyrnnfast._types import Array
from pyrnnfast.onnx import layers, nodes
from pyrnnfast.onnx.operator import Operator
from pyrnnfast.onnx.session import InferenceSession

DEVICES = ("CPU",)


class Representation(base.BackendRep):
    """A model that is ready to run."""

    def __init__(self, session: InferenceSession) -> None:
        self.session = session

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Run the model.

        inputs: arrays in the order of the model's inputs, or by their names.
        Returns the outputs in the model's order, by their names too. Raises as `InferenceSession.run`.
        """
        arguments = self.session.get_inputs()
        if not isinstance(inputs, Mapping):
            several = inputs if isinstance(inputs, (list, tuple)) else [inputs]
            if len(several) != len(arguments):
                raise ValueError(f"inputs must be {len(arguments)} arrays, got {len(several)}")
            inputs = {argument.name: array for argument, array in zip(arguments, several, strict=True)}
        names = [output.name for output in self.session.get_outputs()]
        return _named(names, self.session.run(None, inputs))


class Backend(base.Backend):
    """Runs ONNX models as `InferenceSession` does, for tools that take an `onnx.backend.base.Backend`."""

    @classmethod
    def is_compatible(cls, model: Any, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether `prepare` can load the model."""
        try:
            InferenceSession(model)
        except (ValueError, OSError):
            return False
        return cls.supports_device(device)

    @classmethod
    def prepare(cls, model: Any, device: str = "CPU", **kwargs: Any) -> Representation:
        """Load a model. Raises as `InferenceSession`, and ValueError for another device than CPU."""
        validation.choice("device", device, DEVICES)
        return Representation(InferenceSession(model))

    @classmethod
    def run_node(
        cls, node: NodeProto, inputs: Any, device: str = "CPU", outputs_info: Any = None, **kwargs: Any
    ) -> tuple[Any, ...]:
        """Run one RNN, GRU or LSTM node.

        inputs: an array for each input that the node has, in its order, or by the node's names for them.
        Returns the outputs that the node has. Raises ValueError for another operator, for a broken node, for
        what the kernels do not have, and for arrays that do not fit; TypeError for another dtype, and for
        what is no array.
        """
        validation.choice("device", device, DEVICES)
        try:
            super().run_node(node, inputs, device, outputs_info, **kwargs)
        except onnx.checker.ValidationError as error:
            raise ValueError(f"the node must be a valid one, got one that is not: {error}") from None
        known = nodes.read(node)
        given = inputs if isinstance(inputs, Mapping) else _in_order(known, inputs)
        arrays = {
            name: validation.from_any(value, given[value])
            for name, value in known.inputs.items()
            if value in given
        }
        if len(arrays) < len(known.inputs):
            expected = f"inputs must have {', '.join(known.inputs.values())}"
            raise ValueError(f"{expected}, got {', '.join(map(str, given)) or 'none'}")
        weights = {name: arrays.pop(name) for name in layers.WEIGHTS if name in arrays}
        results = Operator(known, weights)(arrays)
        return _named(list(known.outputs.values()), [results[name] for name in known.outputs])

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether it is "CPU"."""
        return device in DEVICES


def _in_order(node: nodes.RecurrentNode, inputs: Sequence[Array]) -> dict[str, Array]:
    if not isinstance(inputs, (list, tuple)):
        raise TypeError(f"inputs must be a list or a mapping of arrays, got {type(inputs).__name__}")
    if len(inputs) != len(node.inputs):
        raise ValueError(f"inputs must be {len(node.inputs)} arrays, got {len(inputs)}")
    return dict(zip(node.inputs.values(), inputs, strict=True))


def _named(names: Sequence[str], values: Sequence[Any]) -> tuple[Any, ...]:
    outputs: tuple[Any, ...] = base.namedtupledict("Outputs", names)(*values)
    return outputs
