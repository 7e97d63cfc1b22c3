"""Types of values: as ONNX holds them, as ONNX Runtime writes them, and arrays checked against them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto, TypeProto, ValueInfoProto, helper

from pyrnnfast import validation
from pyrnnfast._types import Array

NAMES = {"float32": "tensor(float)", "float64": "tensor(double)"}
"""How ONNX Runtime writes what the kernels give."""


class NodeArg(NamedTuple):
    """An input or output of a model, as ONNX Runtime's NodeArg tells it."""

    name: str
    type: str
    """As tensor(float)."""
    shape: list[int | str | None]
    """A number, the name of a dimension that may be any, or None for one without a name."""


def describe(value: ValueInfoProto) -> NodeArg:
    """Tell a value's name, type and shape."""
    return NodeArg(value.name, write(value.type), _shape(value.type) or [])


def value_info(name: str, kind: str, shape: list[int | str | None] | None) -> Any:
    """Return a ValueInfoProto; shape counts for tensors only."""
    return helper.make_value_info(name, _read(kind, shape))


def write(kind: TypeProto) -> str:
    """Write a type as ONNX Runtime does: tensor(float), seq(tensor(int64)), ..."""
    which = kind.WhichOneof("value")
    if which == "tensor_type":
        return f"tensor({TensorProto.DataType.Name(kind.tensor_type.elem_type).lower()})"
    if which in ("sequence_type", "optional_type"):
        return f"{which[:3]}({write(getattr(kind, which).elem_type)})".replace("opt(", "optional(")
    return which or ""


def _read(text: str, shape: list[int | str | None] | None) -> Any:
    outer, _, inner = text.partition("(")
    inner = inner[:-1]
    if outer == "tensor":
        return helper.make_tensor_type_proto(TensorProto.DataType.Value(inner.upper()), shape)
    if outer == "seq":
        return helper.make_sequence_type_proto(_read(inner, None))
    if outer == "optional":
        return helper.make_optional_type_proto(_read(inner, None))
    raise ValueError(f"a value between two parts of the model must be a tensor, got {text}")


def _shape(kind: TypeProto) -> list[int | str | None] | None:
    if not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    fields = (getattr(dim, dim.WhichOneof("value") or "", None) for dim in kind.tensor_type.shape.dim)
    return list(fields)


def dtype(value: ValueInfoProto) -> np.dtype[Any] | None:
    """Return the dtype of a tensor of numbers, None for other values. Raises ValueError for no type."""
    kind = value.type.tensor_type.elem_type if value.type.HasField("tensor_type") else TensorProto.STRING
    if kind == TensorProto.STRING:
        return None
    try:
        found: np.dtype[Any] = helper.tensor_dtype_to_np_dtype(kind)
    except KeyError:
        raise ValueError(f"the type of {value.name!r} must be one of ONNX, got {kind}") from None
    return found


class Check:
    """Holds arrays against an input of a model; only tensors of numbers count."""

    def __init__(self, value: ValueInfoProto) -> None:
        self._name = value.name
        self._dtype = dtype(value)
        shape = _shape(value.type)
        sizes = (size if isinstance(size, int) and size >= 0 else str(size) for size in shape or ())
        self._shape: tuple[int | str, ...] | None = None if shape is None else tuple(sizes)

    def __call__(self, array: Any) -> None:
        """Raise TypeError for another dtype, ValueError for another shape."""
        if self._dtype is None:
            return
        got: Array = validation.from_any(self._name, array)
        if got.dtype != self._dtype:
            raise TypeError(f"{self._name} must be an array of {self._dtype}, got {got.dtype}")
        if self._shape is not None:
            validation.fits(self._name, got, self._shape)
