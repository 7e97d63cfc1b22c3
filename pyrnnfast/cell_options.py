"""What a cell may do otherwise than its plain form: checked. Where nothing else is said, it is as in ONNX.

    peephole      LSTM: the sums of i and f see the cell state before the step, that of o the one after it
    coupled       LSTM: f = 1 - i; the rows of f in the weights stay unused, and get no gradient
    clip          every gate's sum is held to -clip..clip before its activation; the cell state is not
    cell_clip     LSTM: the new c is held to -cell_clip..cell_clip, before o and h see it (TensorFlow's
                  LSTMCell); at the limit it has no gradient
    activations   for the LSTM f (gates i f o), g (candidate), h (cell state before the output); for the GRUs
                  f (gates r z, or g), g (candidate); for the RNN f; for Jordan's f (hidden units), g (output)
    layer_norm    RNN, LSTM and GRU: W_ih x and W_hh h' are normalised, each over the units of all gates
                  together, before the biases are added, and the LSTM's cell state for the output (Ba et al.
                  2016, eq. 20 to 22). Not with proj_size
    zoneout       in training each unit of h, of the LSTM's c too, keeps its old value at a step with this
                  probability (Krueger et al. 2016); in eval p old + (1 - p) new. For the LSTM (p_c, p_h). The
                  last thing that a step does to c, after cell_clip, and to h, after a projection
    grad_clip     in backward the gradient of each gate's sum is held to -grad_clip..grad_clip, at every step,
                  before it goes on to the weights, x, h' and c' (Graves 2013)

An activation is a name or a tuple (name, alpha), (name, alpha, beta); None stands for a default:

    sigmoid, tanh, relu, softsign, softplus
    hard_sigmoid      max(0, min(1, alpha x + beta))           0.2, 0.5
    elu               alpha (exp(x) - 1) where x <= 0, else x  1
    leaky_relu        alpha x where x <= 0, else x             0.01
    thresholded_relu  0 where x < alpha, else x                1
    scaled_tanh       alpha tanh(beta x)                       0, 0
    affine            alpha x + beta                           0, 0
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyrnnfast import outputs, validation
from pyrnnfast._types import Activation, Options

DEFAULTS: dict[str, tuple[float, ...]] = {
    "sigmoid": (),
    "tanh": (),
    "relu": (),
    "softsign": (),
    "softplus": (),
    "hard_sigmoid": (0.2, 0.5),
    "elu": (1.0,),
    "leaky_relu": (0.01,),
    "thresholded_relu": (1.0,),
    "scaled_tanh": (0.0, 0.0),
    "affine": (0.0, 0.0),
}
"""The activations, each with the defaults of alpha and beta as far as it takes them: those of ONNX's
operators, and 0 where there is no such operator, as in ONNX Runtime."""

GATED = (Activation("sigmoid"), Activation("tanh"))
PLAIN = {
    "rnn_tanh": (Activation("tanh"),),
    "rnn_relu": (Activation("relu"),),
    "lstm": (*GATED, Activation("tanh")),
    "gru": GATED,
    "gru_reset_before": GATED,
    "one_gate_gru": GATED,
    "jordan": (Activation("tanh"), Activation("affine", 1.0, 0.0)),
}
"""The activations of each cell's plain form."""


def check(
    cell: str,
    directions: int,
    peephole: object = False,
    coupled: object = False,
    clip: object = None,
    activations: object = None,
    cell_clip: object = None,
    layer_norm: object = False,
    zoneout: object = None,
    grad_clip: object = None,
    **of_outputs: object,
) -> Options | None:
    """Return the options, or None where they are those of the plain cell.

    clip, cell_clip, grad_clip: a number above 0; None for none. activations: those of one direction, for all,
    or of each in turn. zoneout: from 0 to below 1; None for none.
    of_outputs: arguments of `outputs.check`.
    Raises TypeError for a wrong type, ValueError for a wrong name, range or number, and for options that the
    cell does not have.
    """
    flags = {"peephole": peephole, "coupled": coupled}
    for name, value in flags.items():
        if validation.flag(name, value) and cell != "lstm":
            raise ValueError(f"{name} must be False for the cell {cell}, got True")
    held = outputs.limit("cell_clip", cell_clip)
    if held < math.inf and cell != "lstm":
        raise ValueError(f"cell_clip must be None for the cell {cell}, which has no cell state, got {held:g}")
    if validation.flag("layer_norm", layer_norm) and cell in ("jordan", "one_gate_gru"):
        raise ValueError(
            f"layer_norm must be False for the cell {cell}, which it is not defined for, got True"
        )
    if layer_norm and coupled:
        raise ValueError(
            "coupled must be False with layer_norm=True, which would count the unused rows of f, got True"
        )
    options = Options(
        plain(cell, directions).activations
        if activations is None
        else _of_directions(activations, len(PLAIN[cell]), directions),
        outputs.limit("clip", clip),
        bool(coupled),
        bool(peephole),
        held,
        bool(layer_norm),
        _zoneout(zoneout, cell),
        outputs.limit("grad_clip", grad_clip),
    )
    usual = plain(cell, directions)
    options = options._replace(general=options != usual, **outputs.check(cell, directions, **of_outputs))
    if options.layer_norm and options.proj_size:
        raise ValueError(
            "proj_size must be 0 with layer_norm=True, which does not say whether h is normalised too, "
            f"got {options.proj_size}"
        )
    return None if options == usual else options


LIMITS = ("clip", "cell_clip", "grad_clip", "proj_clip")


def check_dtype(options: Options | None, dtype: np.dtype[Any]) -> None:
    """Raise ValueError for a number that the dtype rounds to infinity, or a limit that it rounds to 0."""
    if options is None:
        return
    functions = dict.fromkeys(each for part in options.activations for each in part)
    numbers = [
        (f"{key} of {each.name}", getattr(each, key)) for each in functions for key in ("alpha", "beta")
    ]
    limits = [(name, getattr(options, name)) for name in LIMITS]
    for name, value in [*numbers, *(limit for limit in limits if limit[1] < math.inf)]:
        with np.errstate(over="ignore", under="ignore"):
            held = dtype.type(value)
        if not np.isfinite(held) or (name in LIMITS and held == 0):
            raise ValueError(f"{name} must be a number that {dtype} has, got {value:g}")


def plain(cell: str, directions: int) -> Options:
    """Return the options of the cell's plain form."""
    return Options((PLAIN[cell],) * directions)


def _of_directions(value: object, count: int, directions: int) -> tuple[tuple[Activation, ...], ...]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"activations must be a list of names or tuples, got {type(value).__name__}")
    if len(value) not in (count, directions * count):
        expected = f"{count}" + f" or {directions * count}" * (directions > 1)
        raise ValueError(f"activations must be {expected} names or tuples, got {len(value)}")
    each = tuple(_activation(f"activations[{i}]", item) for i, item in enumerate(value))
    return tuple(each[k * count % len(each) :][:count] for k in range(directions))


def _activation(where: str, value: object) -> Activation:
    given: Sequence[object] = value if isinstance(value, (tuple, list)) else (value,)
    if not 1 <= len(given) <= 3:
        raise ValueError(f"{where} must be a name or (name, alpha, beta), got {len(given)} items")
    name = validation.choice(where, given[0], tuple(DEFAULTS))
    numbers = [*DEFAULTS[name], *[0.0, 0.0][len(DEFAULTS[name]) :]]
    for i, number in enumerate(given[1:]):
        if number is None:
            continue
        if i >= len(DEFAULTS[name]):
            takes = ("no alpha", "no beta")[i]
            raise ValueError(f"{where} must have {takes}, which {name} does not take, got {number!r}")
        numbers[i] = validation.number(f"{('alpha', 'beta')[i]} of {where}", number)
    return Activation(name, *numbers)


def _zoneout(value: object, cell: str) -> tuple[float, ...]:
    if value is None:
        return ()
    expected = "a pair (p_c, p_h) for the cell lstm" if cell == "lstm" else f"one number for the cell {cell}"
    several = isinstance(value, (tuple, list)) or (isinstance(value, np.ndarray) and value.ndim == 1)
    given: Sequence[object] = value if several else (value,)  # type: ignore[assignment]
    if len(given) != 1 + (cell == "lstm"):
        raise (ValueError if several else TypeError)(f"zoneout must be {expected}, or None, got {value!r}")
    each = tuple(validation.number("zoneout", p, at_least=0, below=1) for p in given)
    return each if any(each) else ()


def arguments(options: Options | None) -> dict[str, Any]:
    """Return the arguments of `check` that give these options."""
    if options is None:
        return {}
    given = options._asdict()
    del given["general"]
    return {
        **{name: None if value == math.inf else value for name, value in given.items()},
        "activations": [_item(each) for part in options.activations for each in part],
        "zoneout": options.zoneout if len(options.zoneout) > 1 else next(iter(options.zoneout), None),
    }


def _item(activation: Activation) -> tuple[str | float, ...]:
    """Leave out what the activation does not take."""
    return activation[: 1 + len(DEFAULTS[activation.name])]


def describe(options: Options | None, cell: str) -> str:
    """Write the options as the arguments that give them: ", clip=3, activations=[...]"."""
    if options is None:
        return ""
    text = ", peephole=True" * options.peephole + ", coupled=True" * options.coupled
    text += ", layer_norm=True" * options.layer_norm
    text += f", clip={options.clip:g}" if options.clip < math.inf else ""
    text += f", cell_clip={options.cell_clip:g}" if options.cell_clip < math.inf else ""
    if set(options.activations) != {PLAIN[cell]}:
        several = options.activations[: len(set(options.activations))]
        items = [_item(each) for part in several for each in part]
        text += f", activations={[item if len(item) > 1 else item[0] for item in items]}"
    if options.zoneout:
        text += f", zoneout={options.zoneout if len(options.zoneout) > 1 else options.zoneout[0]}"
    text += f", grad_clip={options.grad_clip:g}" if options.grad_clip < math.inf else ""
    return text + outputs.describe(options)
