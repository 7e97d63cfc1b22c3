"""`Embedding`: a row of a table for each id."""

from __future__ import annotations

import numpy as np

from pyrnnfast import validation
from pyrnnfast._types import AnyIntegers, Array, DTypeLike, Integers, Seed
from pyrnnfast.layers import init
from pyrnnfast.layers.module import Module
from pyrnnfast.layers.tape import TapeSlot


class Embedding(Module):
    """y = weight[ids], as torch.nn.Embedding.

    num_embeddings: V, embedding_dim: E, at least 1. padding_idx: an id in -V..V-1 whose row starts at zero
    and gets no gradient; default None. dtype: float32 (default) or float64. rng: a numpy.random.Generator, a
    seed, or None for a fresh one; weight [V, E] is drawn from the normal distribution N(0, 1).
    Raises TypeError or ValueError for an argument of the wrong type or out of its range.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: DTypeLike = np.float32,
        rng: Seed = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = validation.integer("num_embeddings", num_embeddings, 1)
        self.embedding_dim = validation.integer("embedding_dim", embedding_dim, 1)
        if padding_idx is not None:
            lowest, highest = -self.num_embeddings, self.num_embeddings - 1
            padding_idx = (
                validation.integer("padding_idx", padding_idx, lowest, highest) % self.num_embeddings
            )
        self.padding_idx = padding_idx
        self.dtype = validation.float_dtype("dtype", dtype)
        generator = validation.generator(rng)
        shape = (self.num_embeddings, self.embedding_dim)
        validation.storable("the weight", shape, self.dtype.itemsize)
        weight = init.normal(generator, shape, 1.0, self.dtype)
        if padding_idx is not None:
            weight[padding_idx] = 0
        self._add_parameter("weight", weight)
        self._tapes: TapeSlot[Integers] = TapeSlot()

    def __call__(self, ids: AnyIntegers) -> Array:
        """Look the ids up.

        ids: integers of any shape [...], each in 0..V-1. In training they are kept for backward by
        reference: do not change them before that.
        Returns y [..., E]. Raises TypeError for ids that are no array of integers, ValueError for one that
        is out of range.
        """
        self._tapes.drop()
        checked = validation.indices("ids", ids, self.num_embeddings)
        y: Array = self._parameters["weight"].take(checked, axis=0)
        if self.training:
            self._tapes.keep(checked)
        return y

    def backward(self, dy: Array) -> None:
        """Go back through this thread's last call in training: add dy to the gradient's rows of the ids.

        dy: [..., E], the gradient of y. The sums do not depend on the machine's number of threads.
        Raises RuntimeError without such a call, or for a second time after it; TypeError or ValueError for
        dy of another dtype or shape (the tape is kept then).
        """
        ids = self._tapes.latest("Embedding")
        dy = validation.shaped("dy", dy, self.dtype, (*ids.shape, self.embedding_dim))
        self._tapes.drop()
        if ids.size == 0:
            return
        rows, sums = sum_by_id(ids.reshape(-1), dy.reshape(-1, self.embedding_dim), self.num_embeddings)
        if self.padding_idx is not None:
            real = rows != self.padding_idx
            rows, sums = rows[real], sums[real]
        with self._lock:
            self._gradient("weight")[rows] += sums

    def _take_gradient(self, dweight: Array) -> None:
        """Add a gradient of the whole weight [V, E] that nobody else has."""
        if self.padding_idx is not None:
            dweight[self.padding_idx] = 0
        self._add_gradients({"weight": dweight}, fresh=True)

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


def sum_by_id(ids: Integers, dy: Array, num_ids: int) -> tuple[Integers, Array]:
    """Return the different ids, ascending, and each one's sum of rows of dy; ids [M], dy [M, E], M > 0."""
    short = ids.astype(np.uint16) if num_ids <= 1 << 16 else ids  # NumPy sorts 16 bits by radix
    order = np.argsort(short, kind="stable")
    ordered = ids[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    sums: Array = np.add.reduceat(dy[order], starts, axis=0)
    return ordered[starts], sums
