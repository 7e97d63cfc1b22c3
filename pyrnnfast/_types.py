"""The names that type hints share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array: TypeAlias = npt.NDArray[Any]
    Integers: TypeAlias = npt.NDArray[np.int64]
    AnyIntegers: TypeAlias = npt.NDArray[np.integer[Any]]
    Booleans: TypeAlias = npt.NDArray[np.bool_]
    ArrayLike: TypeAlias = npt.ArrayLike
    DTypeLike: TypeAlias = npt.DTypeLike
    Seed: TypeAlias = np.random.Generator | int | None
else:  # numpy.typing and numpy.random take a third of the time that importing NumPy takes
    Array = Integers = AnyIntegers = Booleans = np.ndarray
    ArrayLike = DTypeLike = Seed = object

State: TypeAlias = Array | tuple[Array, Array]
"""h of RNN and GRU, (h, c) of LSTM."""
