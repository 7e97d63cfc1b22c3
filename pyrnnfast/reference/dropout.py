"""What is random in training: the masks of a call, of one layer and direction; and zoneout in inference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyrnnfast._types import Array, DTypeLike
from pyrnnfast.reference.base import Masks
from pyrnnfast.reference.philox import (
    PURPOSE_INPUT,
    PURPOSE_RECURRENT,
    PURPOSE_ZONE_C,
    PURPOSE_ZONE_H,
    kept,
)

Factors = Array | float


@dataclass(frozen=True)
class Rates:
    """How probable dropout and zoneout are; those of dropout 0 in inference."""

    training: bool
    input: float
    recurrent: float
    zone_c: float
    zone_h: float
    seed: int


@dataclass(frozen=True)
class Drops:
    """The masks of one layer and direction."""

    input: Factors
    """[N, inputs] factors of x, the same at each step; 1 without dropout."""
    product: Factors
    """[N, R] factors of h' in the recurrent product, likewise."""
    zone_c: Factors | None
    """[T, N, H] the part of c' in c at each step: 0 or 1, in inference one number; None without zoneout."""
    zone_h: Factors | None
    """[T, N, R] the same of h' in h."""

    @classmethod
    def draw(cls, rates: Rates, number: int, x: Array, outputs: int, hidden: int) -> Drops:
        """Draw for x [T, N, inputs] and states of R and H units; number: layer * D + direction."""
        steps, rows, inputs = x.shape

        def factors(p: float, units: int, purpose: int) -> Factors:
            return sequence_factors(rows, units, p, rates.seed, number, purpose, x.dtype)

        def zone(p: float, units: int, purpose: int) -> Factors | None:
            if p == 0 or not rates.training:
                return p or None
            old: Array = ~kept(steps, rows, units, p, rates.seed, number, purpose)
            return old.astype(x.dtype)

        return cls(
            factors(rates.input, inputs, PURPOSE_INPUT),
            factors(rates.recurrent, outputs, PURPOSE_RECURRENT),
            zone(rates.zone_c, hidden, PURPOSE_ZONE_C),
            zone(rates.zone_h, outputs, PURPOSE_ZONE_H),
        )

    def masks(self, step: int) -> Masks:
        """Return those of one step."""
        zones = (z[step] if isinstance(z, np.ndarray) else z for z in (self.zone_c, self.zone_h))
        return Masks(self.product, *zones)


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
