"""The names that type hints share."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
"""float32 or float64, as the layer's or pack's dtype says."""
Integers = npt.NDArray[np.int64]
State = Array | tuple[Array, Array]
"""h of RNN and GRU, (h, c) of LSTM."""
Seed = np.random.Generator | int | None
