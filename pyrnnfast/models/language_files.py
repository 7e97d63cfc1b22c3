"""The files of language models: configuration and vocabulary beside the weights, all checked before use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyrnnfast import validation
from pyrnnfast._types import Array
from pyrnnfast.text import Vocabulary
from pyrnnfast.training import storage
from pyrnnfast.training.files import Location

KIND = "language model"
GATES = {"lstm": 4, "gru": 3, "gru_reset_before": 3, "one_gate_gru": 2, "rnn": 1, "rnn_relu": 1}
LARGEST = 2**31 - 1


def save(
    location: Location,
    configuration: Mapping[str, Any],
    vocabulary: Vocabulary,
    tensors: Mapping[str, Array],
) -> None:
    """Write a model, whole or not at all. Raises OSError when that cannot be done."""
    description = {"configuration": dict(configuration), "vocabulary": vocabulary.to_json()}
    storage.save(location, KIND, description, tensors)


def load(location: Location) -> tuple[dict[str, Any], Vocabulary, dict[str, Array]]:
    """Read a model: (configuration, vocabulary, tensors), which agree with each other.

    Raises OSError when the file cannot be read, ValueError with one sentence when it is not such a file.
    """
    stored = storage.load(location, KIND)
    try:
        configuration = _configuration(stored.description.get("configuration"))
        vocabulary = Vocabulary.from_json(stored.description.get("vocabulary", ""))
        if vocabulary.bos_id is None:
            raise ValueError("the vocabulary has no <BOS>")
        _check_tensors(configuration, len(vocabulary), stored.tensors)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{location}: is damaged: {error}") from None
    return configuration, vocabulary, stored.tensors


def _configuration(found: object) -> dict[str, Any]:
    """Check the configuration, and that it has all of its entries and no other ones."""
    if not isinstance(found, dict):
        raise ValueError("the configuration is missing")
    expected = {"cell", "embedding", "hidden", "layers", "dropout", "dtype"}
    if found.keys() != expected:
        raise ValueError(f"the configuration must have {sorted(expected)}, got {sorted(found)}")
    validation.choice("cell", found["cell"], tuple(GATES))
    validation.choice("dtype", found["dtype"], ("float32", "float64"))
    validation.probability("dropout", found["dropout"])
    for name in ("embedding", "hidden", "layers"):
        validation.integer(name, found[name], 1, LARGEST)
    return found


def _check_tensors(configuration: Mapping[str, Any], classes: int, tensors: Mapping[str, Array]) -> None:
    """Hold the tensors against the configuration, before anything of its sizes is allocated."""
    layers, hidden, embedding = (configuration[name] for name in ("layers", "hidden", "embedding"))
    if layers > len(tensors):
        raise ValueError(f"{layers} layers cannot be in {len(tensors)} tensors")
    gates = GATES[configuration["cell"]] * hidden
    shapes: dict[str, tuple[int, ...]] = {
        "embedding.weight": (classes, embedding),
        "decoder.weight": (classes, hidden),
        "decoder.bias": (classes,),
    }
    for layer in range(layers):
        shapes[f"recurrent.weight_ih_l{layer}"] = (gates, hidden if layer else embedding)
        shapes[f"recurrent.weight_hh_l{layer}"] = (gates, hidden)
        shapes[f"recurrent.bias_ih_l{layer}"] = shapes[f"recurrent.bias_hh_l{layer}"] = (gates,)
    for name in sorted(shapes.keys() ^ tensors.keys()):
        raise ValueError(f"the tensor {name!r} is {'missing' if name in shapes else 'unexpected'}")
    for name, shape in shapes.items():
        tensor = tensors[name]
        if tensor.shape != shape or tensor.dtype != configuration["dtype"]:
            raise ValueError(
                f"{name!r} must be {configuration['dtype']} {shape}, got {tensor.dtype} {tensor.shape}"
            )
