"""What is random in training: the masks of a call, of one layer and direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyrnnfast._types import Array, DTypeLike
from pyrnnfast.reference.cells import Masks
from pyrnnfast.reference.philox import PURPOSE_INPUT, PURPOSE_RECURRENT, kept

Factors = Array | float


@dataclass(frozen=True)
class Rates:
    """How probable dropout is, and its seed; all 0 in inference."""

    input: float
    recurrent: float
    seed: int


@dataclass(frozen=True)
class Drops:
    """The masks of one layer and direction."""

    input: Factors
    """[N, inputs] factors of x, the same at each step; 1 without dropout."""
    product: Factors
    """[N, H] factors of h' in the recurrent product, likewise."""

    @classmethod
    def draw(cls, rates: Rates, number: int, x: Array, hidden: int) -> Drops:
        """Draw for x [T, N, inputs]; number: layer * D + direction."""
        _, rows, inputs = x.shape

        def factors(p: float, units: int, purpose: int) -> Factors:
            return sequence_factors(rows, units, p, rates.seed, number, purpose, x.dtype)

        return cls(
            factors(rates.input, inputs, PURPOSE_INPUT), factors(rates.recurrent, hidden, PURPOSE_RECURRENT)
        )

    def masks(self, step: int) -> Masks:
        """Return those of one step."""
        return Masks(self.product)


def sequence_factors(
    rows: int, units: int, probability: float, seed: int, number: int, purpose: int, dtype: DTypeLike
) -> Factors:
    """Return what dropout multiplies the units of every step by: 0 or 1 / (1 - probability), [rows, units].

    number: layer * D + direction. The mask is that of step 0. Without dropout the one factor 1.
    """
    if probability == 0:
        return 1.0
    scale = 1 / (1 - probability) if probability < 1 else 0.0
    mask = kept(1, rows, units, probability, seed, number, purpose)[0]
    factors: Array = np.where(mask, scale, 0).astype(dtype)
    return factors
