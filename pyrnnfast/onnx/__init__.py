"""ONNX: models run with their recurrent nodes on the kernels; layers read from and written as models."""

from __future__ import annotations

try:
    import onnx as _onnx  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "onnx":
        raise
    raise ModuleNotFoundError(
        "pyrnnfast.onnx needs onnx: pip install 'pyrnnfast[onnx]'", name="onnx"
    ) from None

from pyrnnfast.onnx.backend import Backend
from pyrnnfast.onnx.export import to_onnx
from pyrnnfast.onnx.layers import from_onnx
from pyrnnfast.onnx.session import InferenceSession

__all__ = ["Backend", "InferenceSession", "from_onnx", "to_onnx"]
