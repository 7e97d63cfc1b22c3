"""`Linear`: a weighted sum of the last dimension."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pyrnnfast import _backend, validation
from pyrnnfast._types import Array, DTypeLike, Seed
from pyrnnfast.layers import init
from pyrnnfast.layers.module import Module
from pyrnnfast.layers.tape import TapeSlot
from pyrnnfast.reference import dense

FEW_ROWS = 8
"""For fewer the kernels would take longer to bring W into their layout than NumPy takes for the product."""


def _products(x: Array) -> Any:
    """Return who has the functions `linear` and `linear_backward` for x [M, C]."""
    return dense if len(x) < FEW_ROWS else _backend.current()


class Linear(Module):
    """y = x W^T + b on the last dimension, as torch.nn.Linear.

    in_features, out_features: at least 1. bias: default True. dtype: float32 (default) or float64.
    rng: a numpy.random.Generator, a seed, or None for a fresh one; weight [out, in] and bias [out] are drawn
    from the uniform distribution on -1/sqrt(in)..1/sqrt(in).
    Raises TypeError or ValueError for an argument of the wrong type or out of its range.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: Seed = None,
    ) -> None:
        super().__init__()
        self.in_features = validation.integer("in_features", in_features, 1)
        self.out_features = validation.integer("out_features", out_features, 1)
        self.has_bias = validation.flag("bias", bias)
        self.dtype = validation.float_dtype("dtype", dtype)
        generator = validation.generator(rng)
        bound = 1 / math.sqrt(self.in_features)
        shape = (self.out_features, self.in_features)
        validation.storable("the weight", shape, self.dtype.itemsize)
        self._add_parameter("weight", init.uniform(generator, shape, bound, self.dtype))
        if self.has_bias:
            self._add_parameter("bias", init.uniform(generator, shape[:1], bound, self.dtype))
        self._tapes: TapeSlot[tuple[Array, int]] = TapeSlot()

    def __call__(self, x: Array) -> Array:
        """Apply the layer.

        x: [..., in], of the layer's dtype. In training it is kept for backward by reference: do not change it
        before that.
        Returns y [..., out]. Raises TypeError or ValueError for x of another dtype or shape.
        """
        self._tapes.drop()
        x = validation.floats("x", x, self.dtype, self.in_features)
        version = self.version
        rows = x.reshape(-1, self.in_features)
        y: Array = _products(rows).linear(rows, self._parameters["weight"], self._parameters.get("bias"))
        if self.training:
            self._tapes.keep((x, version))
        return y.reshape(*x.shape[:-1], self.out_features)

    def backward(self, dy: Array) -> Array:
        """Go back through this thread's last call in training.

        dy: [..., out], the gradient of y. Adds dW = dy^T x and db = sum dy to `.grads`.
        Returns dx = dy W, [..., in]. Raises RuntimeError without such a call, for a second time after it, or
        when the parameters have changed since; TypeError or ValueError for dy of another dtype or shape (the
        tape is kept then).
        """
        x, version = self._tapes.latest("Linear")
        if version != self.version:
            raise RuntimeError(
                "Linear.backward needs the parameters of the call, but they have changed since"
            )
        dy = validation.shaped("dy", dy, self.dtype, (*x.shape[:-1], self.out_features))
        self._tapes.drop()
        rows, weight = x.reshape(-1, self.in_features), self._parameters["weight"]
        back = _products(rows).linear_backward
        dx, dweight, dbias = back(dy.reshape(-1, self.out_features), rows, weight)
        gradients = {"weight": dweight, "bias": dbias} if self.has_bias else {"weight": dweight}
        self._add_gradients(gradients, fresh=True)
        result: Array = dx.reshape(x.shape)
        return result

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"{self.in_features}, {self.out_features}, bias={self.has_bias}"
