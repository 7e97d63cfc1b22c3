"""The names that type hints share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

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

ActivationLike: TypeAlias = (
    str | tuple[str] | tuple[str, float | None] | tuple[str, float | None, float | None]
)
"""A name, or with alpha and beta; None for a default."""
State: TypeAlias = Array | tuple[Array, Array]
"""h of RNN and GRU, (h, c) of LSTM."""


class Activation(NamedTuple):
    """A function of a gate's sum; what alpha and beta mean depends on it, most have none."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0


class Options(NamedTuple):
    """How a cell differs from its plain form."""

    activations: tuple[tuple[Activation, ...], ...]
    """For each direction: LSTM f (gates), g (candidate), h (output); GRU f, g; RNN f; Jordan f, g."""
    clip: float = math.inf
    """Sums are held to -clip..clip before their activation."""
    coupled: bool = False
    """LSTM: the forget gate is 1 - i."""
    peephole: bool = False
    """LSTM: the gates see the cell state; one more weight for each layer and direction, [3 * H]."""
    cell_clip: float = math.inf
    """LSTM: c after the step is held to -cell_clip..cell_clip."""
    layer_norm: bool = False
    """Sums and the LSTM's cell state are normalised; `_sizes.extras` names the weights."""
    zoneout: tuple[float, ...] = ()
    """The probability that a unit keeps its old value, LSTM (of c, of h), else (of h,); () for none."""
    grad_clip: float = math.inf
    """In backward the gradients of sums are held to -grad_clip..grad_clip."""
    general: bool = False
    """Whether any of these differs from the cell's plain form; what follows acts outside of it."""
    proj_size: int = 0
    """P: h = W_hr h~; one more weight for each layer and direction, [P, H]. 0: none; Jordan: H outputs."""
    proj_clip: float = math.inf
    """The projected h is held to -proj_clip..proj_clip."""
    merge: str = "concat"
    """What becomes of two directions' outputs: concat, sum, mean or mul."""
