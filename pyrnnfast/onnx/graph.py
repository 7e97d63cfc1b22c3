"""A model's graph: who makes and who reads each value, which values are constant, and parts cut out of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx.defs
from onnx import AttributeProto, ModelProto, NodeProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from pyrnnfast import validation
from pyrnnfast._types import Array
from pyrnnfast.onnx import sparse
from pyrnnfast.onnx.loading import bodies, first_line
from pyrnnfast.onnx.nodes import RecurrentNode

RANDOM = ("Random", "Multinomial", "Bernoulli")
"""What the names of operators that draw numbers begin with."""


class Join(NamedTuple):
    """Nodes that only bring Y [T, D, N, H] to [T, N, D * H], which is how the kernels write it."""

    target: str
    """The value that they make."""
    nodes: tuple[int, ...]


class Graph:
    """The nodes of a model's main graph, by their places in it."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        graph = model.graph
        self.nodes: Sequence[NodeProto] = graph.node
        self.reads = [set(_reads(node)) for node in graph.node]
        self.makers = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
        self.readers: dict[str, list[int]] = {}
        for place, names in enumerate(self.reads):
            for name in names:
                self.readers.setdefault(name, []).append(place)
        self.outputs = [value.name for value in graph.output]
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.initializers |= sparse.dense(graph.sparse_initializer)
        self.inputs = {value.name: value for value in graph.input}
        # From IR version 4 on a caller may override an initializer that is an input too.
        overridable = set(self.inputs) if model.ir_version >= 4 else set()
        self.held = set(self.initializers) - overridable
        self._check()
        self._constant: list[bool] = []
        for place in range(len(self.nodes)):
            self._constant.append(self._is_constant(place))

    def _check(self) -> None:
        """Raise ValueError unless each value is made once, and before it is read, and some are given out."""
        newest = onnx.defs.onnx_opset_version()
        if self.opset() > newest:
            raise ValueError(f"the model must be of operator set {newest} at most, got {self.opset()}")
        if not self.outputs:
            raise ValueError("the model must have an output, got none")
        known = {*self.inputs, *self.initializers}
        for place, node in enumerate(self.nodes):
            for name in self.reads[place] - known:
                raise ValueError(f"{name!r} must be made before {node.op_type} reads it, got none")
            for name in filter(None, node.output):
                if name in known:
                    raise ValueError(f"{name!r} must be made once, got it from {node.op_type} again")
                known.add(name)
        for name in set(self.outputs) - known:
            raise ValueError(f"each output must be a value of the model, got {name!r}")

    @property
    def required(self) -> list[str]:
        """The inputs that a caller must give."""
        return [name for name in self.inputs if name not in self.initializers]

    def opset(self) -> int:
        """The version of the standard's operators."""
        return max(
            (entry.version for entry in self.model.opset_import if entry.domain in ("", "ai.onnx")), default=1
        )

    # --- Constants

    def is_constant(self, name: str) -> bool:
        """Whether a value does not depend on the model's inputs."""
        if name in self.makers:
            return self._constant[self.makers[name]]
        return name in self.held

    def _is_constant(self, place: int) -> bool:
        node = self.nodes[place]
        return (
            all(map(self.is_constant, self.reads[place]))
            and node.domain in ("", "ai.onnx")
            and not node.op_type.startswith(RANDOM)
            and not any(bodies(node))
        )

    def constant(self, name: str) -> Array:
        """Compute a constant value. Raises ValueError where its tensors are broken."""
        try:
            if name in self.initializers:
                tensor = self.initializers[name]
                if min(tensor.dims, default=0) < 0:  # NumPy would fill one in
                    raise ValueError(f"shape {tuple(tensor.dims)}")
                value = numpy_helper.to_array(tensor)
            else:
                part = self.part(self._ancestors(name), [], [name])
                _check_room(name, part)
                (value,) = ReferenceEvaluator(part).run(None, {})
        except Exception as error:  # whatever an operator stumbles over
            raise ValueError(f"{name!r} must be a valid constant, got {first_line(error)}") from None
        if not isinstance(value, np.ndarray):
            raise ValueError(f"{name!r} must be a tensor, got {type(value).__name__}")
        return value

    def _ancestors(self, name: str) -> list[int]:
        found: set[int] = set()
        pending = [name]
        while pending:
            place = self.makers.get(pending.pop())
            if place is not None and place not in found:
                found.add(place)
                pending.extend(self.reads[place])
        return sorted(found)

    # --- What stands around a recurrent node

    def joins(self, node: RecurrentNode) -> Iterator[Join]:
        """Find what reads the node's Y only to join the directions."""
        source = node.outputs.get("Y", "")
        for place in self.readers.get(source, []):
            reader = self.nodes[place]
            operands = list(reader.input)
            if not operands or operands[0] != source or source in operands[1:]:
                continue
            if node.layout == 1:
                if self._flattens(reader, node):
                    yield Join(reader.output[0], (place,))
            elif node.num_directions == 1 and reader.op_type == "Squeeze" and self._axes(reader) == [1]:
                yield Join(reader.output[0], (place,))
            elif reader.op_type == "Transpose" and _attribute(reader, "perm") == [0, 2, 1, 3]:
                middle = reader.output[0]
                after = self.readers.get(middle, [])
                if (
                    len(after) == 1
                    and middle not in self.outputs
                    and self._flattens(self.nodes[after[0]], node)
                ):
                    yield Join(self.nodes[after[0]].output[0], (place, after[0]))

    def _flattens(self, reader: NodeProto, node: RecurrentNode) -> bool:
        """Whether it reshapes [a, b, D, H] to [a, b, D * H]."""
        if reader.op_type != "Reshape" or _attribute(reader, "allowzero") or len(reader.input) != 2:
            return False
        if not self.is_constant(reader.input[1]):
            return False
        shape = self.constant(reader.input[1]).tolist()
        width = None if node.hidden_size is None else node.num_directions * node.hidden_size
        return shape[:2] == [0, 0] and len(shape) == 3 and shape[2] in (-1, width)

    def _axes(self, node: NodeProto) -> list[int] | None:
        if len(node.input) == 2 and self.is_constant(node.input[1]):
            axes: list[int] = self.constant(node.input[1]).reshape(-1).tolist()
            return axes
        found: list[int] | None = _attribute(node, "axes")  # before operator set 13
        return found

    def turns(self, place: int) -> bool:
        """Whether a node transposes [N, T, C] to [T, N, C]."""
        node = self.nodes[place]
        return bool(node.op_type == "Transpose" and _attribute(node, "perm") == [1, 0, 2])

    def steps(self, node: RecurrentNode) -> int | None:
        """T of the node's X, where the model's shapes say it."""
        source = node.inputs["X"]
        part = self.part(self._ancestors(source), list(self.inputs.values()), [source])
        found = shape_inference.infer_shapes(part, data_prop=True).graph
        for value in (*found.input, *found.output):
            dims = value.type.tensor_type.shape.dim
            if value.name == source and len(dims) == 3 and dims[node.layout].HasField("dim_value"):
                return int(dims[node.layout].dim_value)
        return None

    # --- Parts

    def part(self, places: Sequence[int], inputs: Sequence[Any], outputs: Sequence[str]) -> ModelProto:
        """Return a model of some of the nodes.

        inputs: the ValueInfoProtos of what it reads beside constants. outputs: the names of what it gives.
        """
        read = set().union(*(self.reads[place] for place in places), outputs)
        known = {value.name: value for value in self.model.graph.output}
        graph = helper.make_graph(
            [self.nodes[place] for place in places],
            "part",
            inputs,
            [known.get(name) or onnx.ValueInfoProto(name=name) for name in outputs],
            [tensor for name, tensor in self.initializers.items() if name in read],
        )
        return helper.make_model(
            graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version
        )


def _check_room(name: str, part: ModelProto) -> None:
    """Raise ValueError where what it computes, as far as its shapes are known, exceeds the memory."""
    found = shape_inference.infer_shapes(part, data_prop=True).graph
    room = 0
    for value in (*found.value_info, *found.output):
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            itemsize = helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
            room += itemsize * math.prod(dim.dim_value for dim in kind.shape.dim)
    validation.storable(f"what {name!r} is computed from", (room,), 1)


def nested(node: NodeProto) -> Iterator[NodeProto]:
    """Go through the nodes in the bodies of If, Loop, Scan, at any depth."""
    for body in bodies(node):
        for inner in body.node:
            yield inner
            yield from nested(inner)


def _reads(node: NodeProto) -> Iterator[str]:
    """Name what a node reads: its inputs, and what its bodies take from outside of them."""
    yield from filter(None, node.input)
    for body in bodies(node):
        own = {value.name for value in (*body.input, *body.initializer)}
        own |= {tensor.values.name for tensor in body.sparse_initializer}
        for inner in body.node:
            yield from (name for name in _reads(inner) if name not in own)
            own.update(inner.output)
        yield from (value.name for value in body.output if value.name not in own)


def _attribute(node: NodeProto, name: str) -> Any:
    for attribute in node.attribute:
        if attribute.name == name:
            value = helper.get_attribute_value(attribute)
            return list(value) if attribute.type == AttributeProto.INTS else value
    return None
