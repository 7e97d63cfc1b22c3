"""Sparse initializers made dense, which is how every operator reads them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from onnx import SparseTensorProto, TensorProto, checker, helper, numpy_helper

from pyrnnfast import validation
from pyrnnfast.onnx.loading import first_line

COPIES = 3
"""So often are the numbers in memory at once: as an array, as bytes, and in the tensor."""


def dense(tensors: Iterable[SparseTensorProto]) -> dict[str, TensorProto]:
    """Return the tensors by their names. Raises ValueError for broken ones, and for more than the memory."""
    made: dict[str, TensorProto] = {}
    room = 0
    for tensor in tensors:
        name = tensor.values.name
        try:
            checker.check_sparse_tensor(tensor)
            dtype = helper.tensor_dtype_to_np_dtype(tensor.values.data_type)
        except Exception as error:  # the checker's own, or KeyError
            raise _broken(name, error) from None
        room += COPIES * dtype.itemsize * math.prod(tensor.dims)
        validation.storable(f"the sparse initializers up to {name!r}, made dense,", (room,), 1)
        try:
            made[name] = _dense(tensor, dtype)
        except Exception as error:  # whatever NumPy stumbles over
            raise _broken(name, error) from None
    return made


def _dense(tensor: SparseTensorProto, dtype: np.dtype[Any]) -> TensorProto:
    """Indices are [n], into the flat tensor, or [n, rank]."""
    array = np.zeros(tuple(tensor.dims), dtype)
    indices = numpy_helper.to_array(tensor.indices)
    flat = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), array.shape)
    array.reshape(-1)[flat] = numpy_helper.to_array(tensor.values)
    return numpy_helper.from_array(array, tensor.values.name)


def _broken(name: str, error: Exception) -> ValueError:
    return ValueError(f"{name!r} must be a valid sparse initializer, got {first_line(error)}")
