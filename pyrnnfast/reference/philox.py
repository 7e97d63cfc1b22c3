"""Philox4x32-10, the counter-based random generator behind dropout and sampling.

Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011). A word depends on the key
and the counter alone, so any thread, and backward too, can make it again.
"""

from __future__ import annotations

import numpy as np

from pyrnnfast._types import Array, ArrayLike

ROUNDS = 10
MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL = (0x9E3779B9, 0xBB67AE85)
LOW = np.uint64(0xFFFFFFFF)
HIGH = np.uint64(32)

PURPOSE_DROPOUT, PURPOSE_INPUT, PURPOSE_RECURRENT, PURPOSE_ZONE_C, PURPOSE_ZONE_H = 1, 3, 4, 5, 6
"""In the upper half of the counter's last word: dropout between layers, of a layer's input, of h';
zoneout."""


def philox(counter: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike], seed: int) -> Array:
    """Return the four words of each counter.

    counter: four arrays of 32-bit numbers that broadcast to one shape.
    seed: 0 to 2**64 - 1; the key is (low half, high half).
    Returns uint32 [..., 4].
    """
    x0, x1, x2, x3 = (np.asarray(word, np.uint64) & LOW for word in counter)
    key0, key1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(ROUNDS):
        product0, product1 = MULTIPLIERS[0] * x0, MULTIPLIERS[1] * x2
        x0, x1, x2, x3 = (
            (product1 >> HIGH) ^ x1 ^ np.uint64(key0),
            product1 & LOW,
            (product0 >> HIGH) ^ x3 ^ np.uint64(key1),
            product0 & LOW,
        )
        key0, key1 = (key0 + WEYL[0]) & 0xFFFFFFFF, (key1 + WEYL[1]) & 0xFFFFFFFF
    words: Array = np.stack(np.broadcast_arrays(x0, x1, x2, x3), axis=-1).astype(np.uint32)
    return words


def dropout_mask(steps: int, rows: int, units: int, probability: float, seed: int, layer: int) -> Array:
    """Say which outputs of `layer` the layer above it sees.

    The word of output (t, n, unit) is number unit % 4 of the counter (t, n, unit // 4, layer + (1 << 16)); it
    is kept where the word is at least floor(probability * 2**32).
    Returns bool [steps, rows, units], True where kept.
    """
    return kept(steps, rows, units, probability, seed, layer, PURPOSE_DROPOUT)


def kept(
    steps: int, rows: int, units: int, probability: float, seed: int, number: int, purpose: int
) -> Array:
    """Say which units are kept, as `dropout_mask` does, for any purpose and number."""
    counter = (
        np.arange(steps)[:, None, None],
        np.arange(rows)[None, :, None],
        np.arange((units + 3) // 4)[None, None, :],
        number + (purpose << 16),
    )
    words = philox(counter, seed).reshape(steps, rows, (units + 3) // 4 * 4)[:, :, :units]
    mask: Array = words.astype(np.uint64) >= np.uint64(int(probability * 2**32))
    return mask
