"""Layers to Keras: `to_keras`."""

from __future__ import annotations

from typing import Any

import keras

from pyrnnfast import _sizes, cell_options, validation
from pyrnnfast._types import Activation, Array
from pyrnnfast.keras import activations, weights
from pyrnnfast.keras.layers import CLASSES, MERGES
from pyrnnfast.layers import arguments
from pyrnnfast.layers.recurrent import RecurrentLayer

KNOWN = arguments.COMMON | {"reset_after", "activations", "merge", "input_dropout", "recurrent_dropout"}
"""Arguments of the layers that Keras has too."""
MADE = {"RNN": keras.layers.SimpleRNN, "LSTM": keras.layers.LSTM, "GRU": keras.layers.GRU}


def to_keras(
    layer: RecurrentLayer,
    *,
    return_sequences: bool = True,
    return_state: bool = False,
    go_backwards: bool = False,
) -> Any:
    """Make a layer of Keras of an RNN, LSTM or GRU, with its weights.

    layer: what is read is its weights and options; Keras's sequences are [N, T, C] whatever its batch_first.
    return_sequences: False for the last output only. return_state: True for the final state beside it, h of
    each direction, of the LSTM h and c. go_backwards: True for a layer that reads the steps from the last to
    the first, and gives what `layer` gives on reversed steps.
    Returns a built SimpleRNN, LSTM or GRU; with two directions a Bidirectional; with several layers a
    Sequential, in which Dropout stands between the layers if `layer` has any.
    Raises TypeError for another object; ValueError for what Keras does not have (all options but
    reset_after, merge, input_dropout, recurrent_dropout and some activations), and for return_state or
    go_backwards where the result is no single layer that has it.
    """
    if not isinstance(layer, tuple(CLASSES.values())):
        raise TypeError(f"layer must be an RNN, LSTM or GRU, got {type(layer).__name__}")
    arguments.refuse_others(layer, KNOWN, "Keras")
    validation.flag("return_sequences", return_sequences)
    if validation.flag("return_state", return_state) and layer.num_layers > 1:
        raise ValueError("return_state must be False for several layers, got True")
    if validation.flag("go_backwards", go_backwards) and layer.num_layers * layer.num_directions > 1:
        raise ValueError("go_backwards must be False for several layers and for both directions, got True")
    functions = _activations(layer)
    made: list[Any] = []
    for k in range(layer.num_layers):
        if k > 0 and layer.dropout > 0:
            made.append(keras.layers.Dropout(layer.dropout, dtype=layer.dtype.name))
        every = return_sequences or k + 1 < layer.num_layers
        made.append(_layer(layer, k, functions, every, return_state, go_backwards))
    if layer.num_layers == 1:
        return made[0]
    return keras.Sequential([keras.Input((None, layer.input_size), dtype=layer.dtype.name), *made])


def _activations(layer: RecurrentLayer) -> list[dict[str, Any]]:
    """Return Keras's arguments for the activations of each direction."""
    plain = (cell_options.PLAIN[layer.cell],) * layer.num_directions
    each_direction = plain if layer.options is None else layer.options.activations
    return [_arguments(each, layer.dtype.name) for each in each_direction]


def _arguments(each: tuple[Activation, ...], dtype: str) -> dict[str, Any]:
    if len(each) == 1:
        return {"activation": activations.write(each[0], dtype)}
    if each[1:] != each[1:2] * len(each[1:]):
        raise ValueError(f"activations of g and h must be the same for Keras, got {each[1]} and {each[2]}")
    return {
        "recurrent_activation": activations.write(each[0], dtype),
        "activation": activations.write(each[1], dtype),
    }


def _layer(
    layer: RecurrentLayer,
    k: int,
    functions: list[dict[str, Any]],
    return_sequences: bool,
    return_state: bool,
    go_backwards: bool,
) -> Any:
    """Make the k-th layer of a stack."""
    kind = next(name for name, known in CLASSES.items() if isinstance(layer, known))
    given = {
        "units": layer.hidden_size,
        "use_bias": layer.bias,
        "return_sequences": return_sequences,
        "return_state": return_state,
        "dropout": layer.input_dropout,
        "recurrent_dropout": layer.recurrent_dropout,
        "dtype": layer.dtype.name,
    }
    if kind == "GRU":
        given["reset_after"] = layer.cell == "gru"
    one, *other = (
        MADE[kind](**given, **each, go_backwards=go_backwards or number == 1)
        for number, each in enumerate(functions)
    )
    made = one
    if other:
        mode = next(mode for mode, ours in MERGES.items() if ours == layer.merge)
        made = keras.layers.Bidirectional(one, mode, backward_layer=other[0], dtype=layer.dtype.name)
    made.build((None, None, layer.input_size if k == 0 else _sizes.width(layer)))
    for direction, part in enumerate([made.forward_layer, made.backward_layer] if other else [made]):
        cell = part.cell
        targets = [cell.kernel, cell.recurrent_kernel, *([cell.bias] if layer.bias else [])]
        values = weights.variables(layer.cell, kind, _parameters(layer, k, direction))
        for target, value in zip(targets, values, strict=True):
            target.assign(value)
    return made


def _parameters(layer: RecurrentLayer, k: int, direction: int) -> list[Array]:
    end = f"_l{k}" + "_reverse" * direction
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"][: 4 if layer.bias else 2]
    parameters = layer.named_parameters()
    return [parameters[name + end] for name in names]
