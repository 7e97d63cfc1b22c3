"""Checks of the arguments of `pyrnnfast.text`: what was got and what was expected, once for all of them."""

from __future__ import annotations

import operator

import numpy as np

from pyrnnfast._types import AnyIntegers


def as_text(name: str, value: object) -> str:
    """Return `value` as an exact str (a subclass is copied); anything else is a TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected str, got {type(value).__name__}")
    return str.__str__(value)


def as_bool(name: str, value: object) -> bool:
    """Return `value` when it is a bool; anything else is a TypeError."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected bool, got {type(value).__name__}")
    return bool(value)


def as_count(name: str, value: object, minimum: int, maximum: int = 2**63 - 1) -> int:
    """Return `value` as an int in minimum..maximum; a bool or a float is a TypeError."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}")
    try:
        number = operator.index(value)  # an array of several numbers has __index__ too
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {type(value).__name__}") from None
    if number < minimum:
        raise ValueError(f"{name}: expected at least {minimum}, got {number}")
    if number > maximum:
        raise ValueError(f"{name}: expected at most {maximum}, got {number:#x}")
    return number


def as_ids(name: str, value: object) -> AnyIntegers:
    """Return `value` as a 1-D array of token ids in 0..2**63 - 1, in the integer type that it came in."""
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):  # rows of different lengths; an int past 64 bits
        raise ValueError(
            f"{name}: expected one flat sequence of integers, got a nested or oversized one"
        ) from None
    if array.size == 0 and not isinstance(value, np.ndarray):
        array = array.astype(np.int64)  # an empty list has no type of its own
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers, got an array of {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{name}: expected 1 dimension, got shape {array.shape}")
    if array.size:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > np.iinfo(np.int64).max:
            raise ValueError(f"{name}: expected ids in 0..2**63 - 1, got {low if low < 0 else high}")
    return array
