"""`Linear`: a weighted sum of the last dimension."""

from __future__ import annotations

import math

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import Array, DTypeLike, Seed
from pyrnnfast.layers import init
from pyrnnfast.layers.module import Module
from pyrnnfast.layers.tape import TapeSlot


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
        y: Array = x.reshape(-1, self.in_features) @ self._parameters["weight"].T
        if self.has_bias:
            y += self._parameters["bias"]
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
        dy_rows, x_rows = dy.reshape(-1, self.out_features), x.reshape(-1, self.in_features)
        gradients = {"weight": dy_rows.T @ x_rows}
        if self.has_bias:
            gradients["bias"] = dy_rows.sum(axis=0)
        self._add_gradients(gradients, fresh=True)
        dx: Array = dy_rows @ self._parameters["weight"]
        return dx.reshape(x.shape)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return f"{self.in_features}, {self.out_features}, bias={self.has_bias}"
