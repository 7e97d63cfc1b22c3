"""Layers from Keras: `from_keras`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from pyrnnfast import validation
from pyrnnfast._types import ActivationLike, Array
from pyrnnfast.keras import activations, weights
from pyrnnfast.layers.recurrent import GRU, LSTM, RNN, RecurrentLayer

CLASSES: dict[str, type[RNN] | type[LSTM] | type[GRU]] = {"RNN": RNN, "LSTM": LSTM, "GRU": GRU}
CELLS = {
    keras.layers.SimpleRNNCell: "RNN",
    keras.layers.LSTMCell: "LSTM",
    keras.layers.GRUCell: "GRU",
}
READ = {keras.layers.RNN, keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU}
MERGES = {"concat": "concat", "sum": "sum", "mul": "mul", "ave": "mean"}
"""Keras's merge_mode as our merge."""
EXPECTED = "layer must be a SimpleRNN, LSTM or GRU of Keras, or a Bidirectional or Sequential of them, got"


class _Found(NamedTuple):
    """A layer of a stack, or one direction of it."""

    kind: str
    arguments: dict[str, Any]
    """Of our layer, but for the activations."""
    activations: list[ActivationLike]
    parameters: list[Array]


def from_keras(layer: Any, *, go_backwards: bool = False) -> RecurrentLayer:
    """Make a layer of a recurrent layer of Keras, with its weights.

    layer: a SimpleRNN, LSTM or GRU (or a `keras.layers.RNN` of one's cell), a Bidirectional of one, or a
    Sequential of several that differ in nothing but their weights, with or without Dropout of one rate
    between them; built, so that it has weights.
    go_backwards: must be what the Keras layer has. With True the layer that is made reads forward all the
    same: call it on reversed steps, x[:, ::-1], and y is Keras's.
    Returns a layer of that kind with batch_first=True, in eval mode. It gives all outputs y [N, T, D * H], or
    with a merge_mode other than "concat" [N, T, H], and the final state [L * D, N, H], whatever
    return_sequences and return_state are; Keras's last output is the top layer's h, of both directions
    merged. Keras's dropout is input_dropout here. A mask of padding at the end is `lengths` of the call: y is
    0 past the end, where a Keras layer that is not Bidirectional repeats its last output. With
    recurrent_dropout Keras's LSTM and GRU draw masks for each gate, where gates share one here.
    Raises TypeError for another object; ValueError for one without weights, and for what a layer cannot be:
    stateful, a merge_mode of None, activations that are not among ours, types other than float32 and float64.
    """
    validation.flag("go_backwards", go_backwards)
    several = type(layer) is keras.Sequential
    if several and go_backwards:
        raise ValueError("go_backwards must be False for a Sequential, got True")
    found, rates = _stack(layer.layers if several else [layer], go_backwards)
    first = found[0]
    for each in found:
        if each[:3] != first[:3]:
            raise ValueError(f"layers must be alike, got {_describe(first)} and {_describe(each)}")
    if len(set(rates)) > 1:
        raise ValueError(f"Dropout must have one rate between all layers, got {rates}")
    made: RecurrentLayer = CLASSES[first.kind](
        first.parameters[0].shape[1],
        **first.arguments,
        **_activations(first),
        num_layers=len(found),
        batch_first=True,
        dropout=rates[0] if rates else 0.0,
    )
    values = [array for each in found for array in each.parameters]
    made.load_state_dict(dict(zip(made.named_parameters(), values, strict=True)))
    return made.eval()


def _stack(layers: Sequence[Any], go_backwards: bool) -> tuple[list[_Found], list[float]]:
    """Read recurrent layers, and the rates of the dropout between them."""
    found: list[_Found] = []
    rates: list[float] = []
    for layer in layers:
        if type(layer) is keras.layers.Dropout and len(found) == len(rates) + 1 and layer.noise_shape is None:
            rates.append(float(layer.rate))
        else:
            rates += [0.0] * (len(found) - len(rates))
            found.append(_read(layer, go_backwards))
    if len(found) != len(rates) + 1:
        names = ", ".join(type(layer).__name__ for layer in layers)
        raise ValueError(f"{EXPECTED} a Sequential of {names or 'none'}")
    return found, rates


def _read(layer: Any, go_backwards: bool) -> _Found:
    """Read one recurrent layer, of one direction or two."""
    if type(layer) is not keras.layers.Bidirectional:
        return _read_direction(layer, go_backwards)
    merge = MERGES.get(layer.merge_mode)
    if merge is None:
        raise ValueError(
            f"merge_mode of {layer.name} must be one of {', '.join(MERGES)}, got {layer.merge_mode!r}"
        )
    ends = [_read_direction(layer.forward_layer, False), _read_direction(layer.backward_layer, True)]
    if ends[0][:2] != ends[1][:2]:
        raise ValueError(f"directions must be alike, got {_describe(ends[0])} and {_describe(ends[1])}")
    return _Found(
        ends[0].kind,
        {**ends[0].arguments, "bidirectional": True, "merge": merge},
        [*ends[0].activations, *ends[1].activations],
        [*ends[0].parameters, *ends[1].parameters],
    )


def _read_direction(layer: Any, go_backwards: bool) -> _Found:
    if type(layer) not in READ:
        raise TypeError(f"{EXPECTED} {type(layer).__name__}")
    cell, name = layer.cell, layer.name
    if type(cell) not in CELLS:
        raise ValueError(
            f"cell of {name} must be a SimpleRNNCell, LSTMCell or GRUCell, got {type(cell).__name__}"
        )
    if layer.go_backwards != go_backwards:
        raise ValueError(
            f"go_backwards must be what {name} has, {layer.go_backwards}, got {go_backwards}: with True a "
            "layer is made that is to be called on reversed steps"
        )
    if layer.stateful:
        raise ValueError(f"stateful of {name} must be False, got True, which no layer has")
    if not cell.built:
        raise ValueError(f"{name} must have weights, got none: build it, or call it once")
    dtype = cell.variable_dtype
    if dtype not in ("float32", "float64") or cell.compute_dtype != dtype:
        raise ValueError(
            f"{name} must compute in float32 or float64 on weights of that type, got {cell.dtype_policy.name}"
        )
    kind = CELLS[type(cell)]
    arguments = {
        "hidden_size": cell.units,
        "bias": cell.use_bias,
        "dtype": dtype,
        "input_dropout": float(cell.dropout),
        "recurrent_dropout": float(cell.recurrent_dropout),
    }
    functions = [activations.read(f"activation of {name}", cell.activation)]
    if kind != "RNN":
        functions.insert(0, activations.read(f"recurrent_activation of {name}", cell.recurrent_activation))
    if kind == "LSTM":
        functions.append(functions[1])
    if kind == "GRU":
        arguments["reset_after"] = cell.reset_after
    variables = [cell.kernel, cell.recurrent_kernel, *([cell.bias] if cell.use_bias else [])]
    arrays = [keras.ops.convert_to_numpy(variable) for variable in variables]
    return _Found(kind, arguments, functions, weights.parameters(kind, *arrays))


def _activations(found: _Found) -> dict[str, Any]:
    """Return the argument for the activations; relu alone makes the RNN another plain cell."""
    if found.kind == "RNN" and set(found.activations) == {("relu",)}:
        return {"nonlinearity": "relu"}
    return {"activations": found.activations}


def _describe(found: _Found) -> str:
    given = ", ".join(f"{name}={value}" for name, value in (found.arguments | _activations(found)).items())
    return f"{found.kind}({given})"
