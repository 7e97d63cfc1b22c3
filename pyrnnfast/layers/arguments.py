"""Which arguments a layer was made with, for those who carry it over to another library."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pyrnnfast import cell_options
from pyrnnfast._types import Options
from pyrnnfast.layers import training

COMMON = frozenset({"num_layers", "nonlinearity", "bias", "batch_first", "dropout", "bidirectional", "dtype"})
"""Arguments of the layers that torch.nn's have too."""
IN_TRAINING = frozenset({"input_dropout", "recurrent_dropout", "grad_clip", "record_grad_norms"})
"""Those that change nothing in eval mode."""
OWN = {
    **dict.fromkeys(training.DROPS, 0.0),
    training.RECORD: False,
    "return_cells": False,
    "reset_after": True,
}
"""Those that are attributes, with their defaults; the others are fields of `Options`."""


def refuse_others(layer: Any, known: Collection[str], library: str) -> None:
    """Raise ValueError if a layer or cell has an argument, other than its default, that is not among `known`.

    A field that comes to `Options` is refused until it is carried over.
    """
    others = [name for name, default in OWN.items() if getattr(layer, name, default) != default]
    options = getattr(layer, "options", None)  # cells have none
    if options is not None:
        plain = Options((cell_options.PLAIN[layer.cell],) * layer.num_directions)
        fields = (name for name in Options._fields if name != "general")
        others += [name for name in fields if getattr(options, name) != getattr(plain, name)]
    others = [name for name in others if name not in known]
    if others:
        raise ValueError(f"layer must have no option that {library} lacks, got {', '.join(others)}: {layer}")
