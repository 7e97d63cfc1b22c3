"""Which arguments a layer was made with, for those who carry it over to another library."""

from __future__ import annotations

import re
from collections.abc import Collection

from pyrnnfast.layers.module import Module

COMMON = frozenset({"num_layers", "nonlinearity", "bias", "batch_first", "dropout", "bidirectional", "dtype"})
"""Arguments of the layers that torch.nn's have too."""
IN_TRAINING = frozenset({"input_dropout", "recurrent_dropout", "grad_clip", "record_grad_norms"})
"""Those that change nothing in eval mode."""


def refuse_others(layer: Module, known: Collection[str], library: str) -> None:
    """Raise ValueError if a layer has an argument, other than its default, that is not among `known`.

    Its repr names them all, so that an option that comes to the layers is refused until it is carried over.
    """
    others = [name for name in re.findall(r"(\w+)=", layer.extra_repr()) if name not in known]
    if others:
        raise ValueError(f"layer must have no option that {library} lacks, got {', '.join(others)}: {layer}")
