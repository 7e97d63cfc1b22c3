"""`Pooling`: one vector for a sequence of outputs, whatever its length."""

from __future__ import annotations

import numpy as np

from pyrnnfast._types import Array, Booleans, DTypeLike, Integers, Seed
from pyrnnfast.layers.linear import Linear
from pyrnnfast.layers.module import Module
from pyrnnfast.layers.tape import TapeSlot


class Pooling(Module):
    """Pools the outputs y of a stack over the steps t < length of each row; what is past that plays no part.

        mean       sum_t y_t / length
        last       of each direction its last step: y_{length - 1} forward, y_0 reverse
        max        the largest y_t of each unit (Collobert et al. 2011)
        attention  sum_t a_t y_t, a = softmax_t(v . tanh(W y_t + b))              Yang et al. 2016

    kind: one of these. width: of y, D * H. directions: D. dtype, rng: of the weights of attention, which are
    `hidden.weight` [D * H, D * H], `hidden.bias` and `score.weight` [1, D * H].
    """

    def __init__(self, kind: str, width: int, directions: int, dtype: DTypeLike, rng: Seed) -> None:
        super().__init__()
        self.kind, self._forward = kind, width // directions
        self._tapes: TapeSlot[tuple[Array, Integers, tuple[Array, ...]]] = TapeSlot()
        if kind == "attention":
            self.hidden = Linear(width, width, dtype=dtype, rng=rng)
            self.score = Linear(width, 1, bias=False, dtype=dtype, rng=rng)

    def __call__(self, y: Array, lengths: Integers) -> Array:
        """Pool y [T, N, D * H], zero past lengths [N], which are at least 1, to [N, D * H]."""
        self._tapes.drop()
        pooled: Array
        kept: tuple[Array, ...] = ()
        if self.kind == "mean":
            pooled = y.sum(axis=0) / lengths[:, None].astype(y.dtype)
        elif self.kind == "last":
            pooled = np.concatenate(
                [y[lengths - 1, np.arange(lengths.size), : self._forward], y[0, :, self._forward :]], axis=1
            )
        elif self.kind == "max":
            steps = np.where(_inside(y, lengths), y, -np.inf).argmax(axis=0)[None]
            pooled, kept = np.take_along_axis(y, steps, axis=0)[0], (steps,)
        else:
            kept = self._attend(y, lengths)
            pooled = np.einsum("tn,tnc->nc", kept[0], y)
        if self.training:
            self._tapes.keep((y, lengths, kept))
        return pooled

    def backward(self, dpooled: Array) -> Array:
        """Return the gradient of y of this thread's last call in training; adds to `.grads`."""
        y, lengths, kept = self._tapes.latest("Pooling")
        self._tapes.drop()
        if self.kind == "mean":
            return np.broadcast_to(dpooled / lengths[:, None].astype(y.dtype), y.shape)
        if self.kind == "attention":
            return self._attend_back(dpooled, y, *kept)
        dy = np.zeros_like(y)
        if self.kind == "last":
            dy[lengths - 1, np.arange(lengths.size), : self._forward] = dpooled[:, : self._forward]
            dy[0, :, self._forward :] += dpooled[:, self._forward :]
        else:
            np.put_along_axis(dy, kept[0], dpooled[None], axis=0)
        return dy

    def _attend(self, y: Array, lengths: Integers) -> tuple[Array, Array]:
        """Return a [T, N] and tanh(W y + b)."""
        hidden = np.tanh(self.hidden(y))
        scores = np.where(_inside(y, lengths), self.score(hidden), -np.inf)[..., 0]
        weights = np.exp(scores - scores.max(axis=0))
        return weights / weights.sum(axis=0), hidden

    def _attend_back(self, dpooled: Array, y: Array, weights: Array, hidden: Array) -> Array:
        dweights = np.einsum("nc,tnc->tn", dpooled, y)
        dscores = weights * (dweights - (weights * dweights).sum(axis=0))
        dhidden = self.score.backward(dscores[..., None]) * (1 - hidden**2)
        dy: Array = weights[..., None] * dpooled + self.hidden.backward(dhidden)
        return dy

    def extra_repr(self) -> str:
        """The kind."""
        return self.kind


def _inside(y: Array, lengths: Integers) -> Booleans:
    """[T, N, 1]: whether a step is before its row's end."""
    inside: Booleans = (np.arange(len(y))[:, None] < lengths)[..., None]
    return inside
