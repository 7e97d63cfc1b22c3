"""A model from a file, from bytes or as it is, checked before anything reads it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, inliner

from pyrnnfast import validation

MAX_NODES = 1_000_000
"""As many may a model have when its functions are written out."""


def load(source: object) -> ModelProto:
    """Return a model without functions of its own: they are written out where they are called.

    source: a ModelProto, its bytes, or a path. Raises ValueError where it is no valid model, or its data are
    in other files, which only a path can find; OSError where the file cannot be read, TypeError for anything
    else.
    """
    if not isinstance(source, (ModelProto, bytes, str, os.PathLike)):
        raise TypeError(f"model must be a ModelProto, bytes or a path, got {type(source).__name__}")
    try:
        if isinstance(source, bytes):
            model = onnx.load_model_from_string(source)
        elif isinstance(source, ModelProto):
            model = source
        else:
            model = onnx.load(validation.path("model", source))
        _check(model)
        if not model.functions:
            return model
        count = _count(model)
        if count > MAX_NODES:
            raise ValueError(f"{MAX_NODES} nodes at most when functions are written out, not {count}")
        return inliner.inline_local_functions(model)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # protobuf's and onnx's own, of which none derives from ValueError
        raise ValueError(
            f"model must be a valid ONNX model, got one that is not: {first_line(error)}"
        ) from None


def first_line(error: Exception) -> str:
    """Return what an error of a library says, in one line."""
    return next(filter(None, str(error).splitlines()), type(error).__name__)


def bodies(node: NodeProto) -> Iterator[GraphProto]:
    """Go through the bodies of an If, Loop or Scan."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def _check(message: Any) -> None:
    """Raise ValueError for text that is not UTF-8, and for tensors whose data are elsewhere."""
    if isinstance(message, TensorProto):
        if message.data_location == TensorProto.EXTERNAL:
            raise ValueError(f"the data of {message.name!r} are in another file: give the model's path")
        texts: list[object] = [message.name]  # not what makes copies of its data
    else:
        texts = []
        for field, value in message.ListFields():
            several = [value] if hasattr(value, "ListFields") or isinstance(value, (str, bytes)) else value
            if field.type == field.TYPE_STRING:
                texts += several
            elif field.type == field.TYPE_MESSAGE:
                for inner in several:
                    _check(inner)
    for text in texts:
        if not isinstance(text, str):  # protobuf's way to hand it out
            raise ValueError(f"text is not UTF-8: {text!r}")


def _count(model: ModelProto) -> int:
    """Count the nodes and calls that there are when functions are written out."""
    functions = {(f.domain, f.name): f for f in model.functions}
    counts: dict[tuple[str, str], int] = {}

    def count(nodes: Iterable[NodeProto]) -> int:
        total = 0
        for node in nodes:
            key = node.domain, node.op_type
            if key in functions and key not in counts:
                counts[key] = 0  # of one that calls itself, which the inliner refuses
                counts[key] = count(functions[key].node)
            total += 1 + counts.get(key, 0) + sum(count(body.node) for body in bodies(node))
        return total

    return count(model.graph.node)
