"""What the recurrent layers may do otherwise in training: their keyword arguments, each with its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from pyrnnfast import validation

DROPS = ("input_dropout", "recurrent_dropout")
RECORD = "record_grad_norms"


class Training(TypedDict, total=False):
    """Keyword arguments of the recurrent layers; without them nothing of it is done."""

    input_dropout: float
    """The probability that a unit of a layer's input x is zeroed, in training, at all steps of a sequence;
    what is kept is multiplied by 1 / (1 - p). Each row, layer and direction has a mask of its own, which all
    gates share (Gal and Ghahramani 2016; the `dropout` of Keras)."""
    recurrent_dropout: float
    """The same of h' where it enters the recurrent product: not on GRU's direct path from h' to h, nor in
    y."""
    zoneout: float | tuple[float, float] | None
    """The probability that a unit of h keeps its old value at a step, in training; for the LSTM a pair, of c
    and of h; None for none. In eval p old + (1 - p) new (Krueger et al. 2016). It comes after cell_clip, and
    after a projection of h and its clip."""
    grad_clip: float | None
    """In `backward` the gradient of each gate's sum is held to -grad_clip..grad_clip at every step (Graves
    2013); None for no clip."""
    record_grad_norms: bool
    """After `backward` the layer's `grad_norms` [L * D, T] has the norm of dL/dh at each step, over all rows
    and units, in float64, for the Python thread that called it and until its next call; it shows where
    gradients vanish or explode. All zero past the longest row's end."""


def check(owner: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of `Stack`, and those of `cell_options.check`; owner: the class that errors name.

    Raises TypeError for a name that `Training` does not have, or a wrong type, ValueError for a wrong range.
    """
    for name in given.keys() - Training.__annotations__.keys():
        raise TypeError(f"{owner}() got an unexpected keyword argument {name!r}")
    own: dict[str, Any] = {name: validation.probability(name, given.get(name, 0.0)) for name in DROPS}
    own[RECORD] = validation.flag(RECORD, given.get(RECORD, False))
    return own, {name: value for name, value in given.items() if name not in own}


def describe(layer: Any) -> str:
    """Write what is not the default as arguments: ", input_dropout=0.2"."""
    drops = "".join(f", {name}={getattr(layer, name):g}" for name in DROPS if getattr(layer, name))
    return drops + f", {RECORD}=True" * bool(layer.record_grad_norms)
