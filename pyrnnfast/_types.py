"""The names that type hints share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Array: TypeAlias = npt.NDArray[Any]
    Integers: TypeAlias = npt.NDArray[np.int64]
    ArrayLike: TypeAlias = npt.ArrayLike
    DTypeLike: TypeAlias = npt.DTypeLike
else:  # numpy.typing takes 20 ms to import, a fifth of all of NumPy
    Array = Integers = np.ndarray
    ArrayLike = DTypeLike = object

State: TypeAlias = Array | tuple[Array, Array]
"""h of RNN and GRU, (h, c) of LSTM."""
Seed: TypeAlias = np.random.Generator | int | None
