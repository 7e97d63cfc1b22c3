"""Every check of what a user hands in, and its message, once.

A value of the wrong type raises TypeError, a wrong value ValueError, and the message holds what was expected
and what was got. Nothing is converted in silence: an array must have the dtype that is asked for, in native
byte order. One that is not contiguous, aligned or writable is fine: it is copied where the kernels need that.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyrnnfast import _sizes
from pyrnnfast._types import Array, DTypeLike, Integers, Options

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
MAX_SEED = 2**64 - 1
MAX_THREADS = 1024
MAX_BYTES = 2**63 - 1
MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
MAX_STEPS = 2**32 - 1  # a step is one word of the counter that draws come from

Dimension = int | str
"""A size, or the letter of a size that may be anything."""


# --- Numbers


def integer(name: str, value: object, at_least: int, at_most: int | None = None) -> int:
    """Return `value` as int; it must be an integer (not a bool) in the range, both ends included."""
    error: type[Exception] = TypeError
    if not isinstance(value, (bool, np.bool_)) and hasattr(value, "__index__"):
        try:
            result = operator.index(value)
        except TypeError:  # an array of several numbers has __index__ too
            pass
        else:
            if result >= at_least and (at_most is None or result <= at_most):
                return result
            error = ValueError
    top = "" if at_most is None else f" and at most {at_most}"
    raise error(f"{name} must be an integer of at least {at_least}{top}, got {_kind(value)}")


def number(
    name: str,
    value: object,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    infinite: bool = False,
) -> float:
    """Return `value` as float; it must be a number (not a bool) in the range, finite or `infinite`."""
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if is_number:
        try:
            result = float(value)  # type: ignore[arg-type]
        except OverflowError:  # an int past every float
            result = math.inf
        if (
            (math.isfinite(result) or (infinite and not math.isnan(result)))
            and (at_least is None or result >= at_least)
            and (above is None or result > above)
            and (at_most is None or result <= at_most)
            and (below is None or result < below)
        ):
            return result
    limits = (("at least", at_least), ("above", above), ("at most", at_most), ("below", below))
    expected = ("a number" if infinite else "a finite number") + " and".join(
        f" {words} {x:g}" for words, x in limits if x is not None
    )
    raise (ValueError if is_number else TypeError)(f"{name} must be {expected}, got {_kind(value)}")


def probability(name: str, value: object) -> float:
    """Return `value` as float; it must be a number from 0 to 1."""
    return number(name, value, at_least=0, at_most=1)


def seed(value: object) -> int:
    """Return `value` as int; it must be an integer from 0 to 2**64 - 1."""
    return integer("seed", value, 0, MAX_SEED)


def num_threads(value: object) -> int:
    """Return `value` as int, or 0 (the default rule) for None; it must be an integer from 1 to 1024."""
    return 0 if value is None else integer("num_threads", value, 1, MAX_THREADS)


def flag(name: str, value: object) -> bool:
    """Return `value` as bool; it must be one."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def choice(name: str, value: object, options: Sequence[str]) -> str:
    """Return `value`; it must be one of the strings in `options`."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(options)}, got {_kind(value)}")
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(options)}, got {value!r}")
    return value


def listed(name: str, value: object, kind: type[Any], expected: str) -> Sequence[Any]:
    """Return `value`; it must be a list or a tuple of objects of the class `kind`."""
    several = isinstance(value, (list, tuple))
    for each in value if several else [value]:  # type: ignore[attr-defined]
        if not several or not isinstance(each, kind):
            raise TypeError(f"{name} must be {expected}, got {_kind(each)}" + " in a list" * several)
    return value  # type: ignore[return-value]


def path(name: str, value: object) -> str:
    """Return `value` as str; it must be a str or an os.PathLike, and not empty."""
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text:
        raise (ValueError if text == "" else TypeError)(f"{name} must be a path, got {_kind(value)}")
    return text


def generator(rng: object) -> np.random.Generator:
    """Turn `rng` into a Generator: itself, one seeded with an integer, or a fresh one for None."""
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is None:
        return np.random.default_rng()
    if isinstance(rng, (bool, np.bool_)) or not isinstance(rng, (int, np.integer)):
        raise TypeError(f"rng must be a numpy.random.Generator, an integer or None, got {_kind(rng)}")
    return np.random.default_rng(integer("rng", rng, 0))


# --- Arrays


def float_dtype(name: str, value: DTypeLike) -> np.dtype[Any]:
    """Return the dtype; it must be float32 or float64 in native byte order."""
    try:
        dtype = np.dtype(value)
    except TypeError:
        raise TypeError(f"{name} must be float32 or float64, got {value!r}") from None
    if value is None or dtype not in FLOATS:
        raise TypeError(f"{name} must be float32 or float64, got {value if value is None else dtype}")
    return dtype


def ndarray(name: str, value: object, dtype: np.dtype[Any] | None) -> Array:
    """Return `value`, an array of exactly `dtype` (None: of float32 or float64), of any rank."""
    expected = "float32 or float64" if dtype is None else dtype
    # A masked array's mask would be ignored in silence, so it is no array here.
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a NumPy array of {expected}, got {_kind(value)}")
    got = value.dtype
    if got == dtype if dtype is not None else got in FLOATS:
        return value if type(value) is np.ndarray else value.view(np.ndarray)
    native = "" if got.isnative else " (not in native byte order)"
    raise TypeError(f"{name} must be an array of {expected}, got {got}{native}")


def from_any(name: str, value: object) -> Array:
    """Return the array of anything that has `__array__` (a tensor of PyTorch), of any dtype and rank."""
    if not hasattr(value, "__array__") or isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be an array, got {_kind(value)}")
    return np.asarray(value)


def shaped(name: str, value: object, dtype: np.dtype[Any] | None, shape: Sequence[Dimension]) -> Array:
    """Return `value`, an array of exactly `dtype` and `shape`, in C order and aligned (copied if not)."""
    array = ndarray(name, value, dtype)
    fits(name, array, shape)
    flags = array.flags
    return array if flags.c_contiguous and flags.aligned else np.array(array, order="C")


def fits(name: str, array: Array, shape: Sequence[Dimension]) -> None:
    """Raise ValueError unless `array` has `shape`."""
    got = array.shape
    if got != shape and (len(got) != len(shape) or not all(map(_agree, shape, got))):
        raise ValueError(f"{name} must have shape {describe(shape)}, got {got}")


def _agree(want: Dimension, size: int) -> bool:
    return want == size or isinstance(want, str)


def addressable(name: str, shape: Sequence[int], itemsize: int) -> None:
    """Raise ValueError unless an array of `shape` fits the address space, empty dimensions counted as 1."""
    if math.prod([max(size, 1) for size in shape]) * itemsize > MAX_BYTES:
        raise ValueError(f"{name} must fit the address space, got shape {tuple(shape)}")


def storable(name: str, shape: Sequence[int], itemsize: int) -> None:
    """Raise ValueError unless an array of `shape`, all of it written, fits this machine's memory."""
    if math.prod(shape) * itemsize > MEMORY:
        room = f"this machine's memory of {MEMORY / 1e9:.3g} GB"
        raise ValueError(f"{name} must fit {room}, got shape {tuple(shape)}")


def lengths(value: object, steps: int, rows: int) -> Integers:
    """Return a copy as int64 [N]; `value` must be N integers from 0 to T, in any order."""
    if isinstance(value, np.ma.MaskedArray) or not isinstance(value, (np.ndarray, list, tuple)):
        raise TypeError(f"lengths must be an array or a list of integers, got {_kind(value)}")
    if not isinstance(value, np.ndarray) and len(value) == 0:
        value = np.zeros(0, np.int64)
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"lengths must have shape ({rows},), got a ragged {type(value).__name__}") from None
    if array.dtype.kind not in "iu" or not array.dtype.isnative:
        native = "" if array.dtype.isnative else " (not in native byte order)"
        raise TypeError(f"lengths must be integers, got {array.dtype}{native}")
    if array.shape != (rows,):
        raise ValueError(f"lengths must have shape ({rows},), got {array.shape}")
    if rows:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > steps:
            raise ValueError(f"lengths must be from 0 to {steps}, got {low if low < 0 else high}")
    return array.astype(np.int64)


def describe(shape: Sequence[Dimension]) -> str:
    """Write a shape as NumPy does: (T, N, 5)."""
    return f"({', '.join(str(size) for size in shape)}{',' if len(shape) == 1 else ''})"


def _kind(value: object) -> str:
    if isinstance(value, (str, int, float)) or value is None:
        return repr(value)
    if isinstance(value, np.ndarray):
        return f"{type(value).__name__} of {value.dtype} and shape {value.shape}"
    return type(value).__name__


# --- The recurrent stacks

GATES = _sizes.GATES


def weights(
    value: object, cell: str, num_layers: int, bidirectional: bool, bias: bool, options: Options | None
) -> list[Array]:
    """Return the arrays; `value` must be the weights in PyTorch's flat order, all of one dtype.

    For each layer, for each direction: weight_ih [G * H, C or D * R (merged R)], weight_hh [G * H, R], with
    bias bias_ih, bias_hh [G * H], Jordan's [H], [O], then those of `_sizes.extras`.
    """
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"weights must be a list of arrays, got {_kind(value)}")
    directions, how = 2 if bidirectional else 1, options or Options(())
    each = 2 + 2 * bias + len(_sizes.extras(options, cell, 1, bias))
    if len(value) != num_layers * directions * each:
        expected = f"{num_layers} layers x {directions} directions x {each} arrays"
        raise ValueError(f"weights must be {expected}, got {len(value)}")
    first, second = ndarray("weights[0]", value[0], None), ndarray("weights[1]", value[1], None)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] < 1 or min(second.shape) < 1:
        raise ValueError(
            f"weights[0] and weights[1] must have shapes (G * H, C) and (G * H, R), C, H and R at least 1, "
            f"got {first.shape} and {second.shape}"
        )
    recurrent = how.proj_size or second.shape[1]
    hidden = len(second) // GATES[cell] if how.proj_size else recurrent
    units, checked = GATES[cell] * hidden, []
    more = _sizes.biases(options, cell, hidden, bias) | _sizes.extras(options, cell, hidden, bias)
    width = recurrent * (directions if how.merge == "concat" else 1)
    for i, array in enumerate(value):
        below = first.shape[1] if i // each < directions else width
        shapes = [(units, below), (units, recurrent), *more.values()]
        checked.append(shaped(f"weights[{i}]", array, first.dtype, shapes[i % each]))
    return checked


def state(
    name: str,
    value: object,
    dtype: np.dtype[Any],
    shape: Sequence[Dimension],
    c_shape: Sequence[Dimension] | None,
    parts_optional: bool = False,
) -> tuple[Array | None, Array | None]:
    """Return (h, c); `value` must be h of `shape`, or with a c_shape the pair (h, c). Else c is None.

    None gives (None, None). With parts_optional (gradients) h or c of the pair may be None.
    """
    if value is None:
        return None, None
    if c_shape is None:
        if isinstance(value, (tuple, list)):
            raise TypeError(
                f"{name} must be an array of shape {describe(shape)}, got a {type(value).__name__}"
            )
        return shaped(name, value, dtype, shape), None
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{name} must be a tuple (h, c) of two arrays, got {_kind(value)}")
    if len(value) != 2:
        raise ValueError(f"{name} must be a tuple (h, c) of two arrays, got {len(value)} items")
    h, c = (
        None if part is None and parts_optional else shaped(f"{name}[{i}]", part, dtype, want)
        for i, (part, want) in enumerate(zip(value, (shape, c_shape), strict=True))
    )
    return h, c


# --- The layers around the recurrence, losses, clipping


def floats(name: str, value: object, dtype: np.dtype[Any] | None, last: Dimension | None = None) -> Array:
    """Return `value`, an array of exactly `dtype`, its shape ending in `last`, in C order and aligned."""
    array = ndarray(name, value, dtype)
    if last is not None and (array.ndim == 0 or (last != array.shape[-1] and not isinstance(last, str))):
        raise ValueError(f"{name} must have shape (..., {last}), got {array.shape}")
    return shaped(name, array, dtype, array.shape)


def indices(name: str, value: object, count: int, besides: int | None = None) -> Integers:
    """Return `value` as int64 in C order; it must hold integers from 0 to count - 1, or `besides`."""
    expected = f"an array of integers from 0 to {count - 1}" + ("" if besides is None else f" or {besides}")
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be {expected}, got {_kind(value)}")
    if value.dtype.kind not in "iu" or not value.dtype.isnative:
        native = "" if value.dtype.isnative else " (not in native byte order)"
        raise TypeError(f"{name} must be {expected}, got {value.dtype}{native}")
    if value.size and (value.min() < 0 or value.max() >= count):
        bad = value[((value < 0) | (value >= count)) & (True if besides is None else value != besides)]
        if bad.size:
            raise ValueError(f"{name} must be {expected}, got {bad[0]}")
    return np.require(value, np.int64, ["C", "A"]).view(np.ndarray)


def all_between(name: str, array: Array, low: float, high: float) -> None:
    """Raise ValueError unless every number is from `low` to `high`; NaN is not."""
    if array.size and not (array.min() >= low and array.max() <= high):
        bad = array[~((array >= low) & (array <= high))][0]
        raise ValueError(f"{name} must be finite and from {low:g} to {high:g}, got {bad}")


def writable(name: str, value: object) -> Array:
    """Return `value`, an array of float32 or float64 that may be written."""
    array = ndarray(name, value, None)
    if not array.flags.writeable:
        raise ValueError(f"{name} must be writable, got a read-only array")
    return array
