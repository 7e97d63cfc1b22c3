"""What a layer puts out of what its cell computes: the options, checked. `_sizes` says what follows.

    proj_size   P, below H: the state that is put out and goes into the next step's products is h = W_hr h~, P
                numbers, where h~ are the cell's own H (Sak et al. 2014, PyTorch's LSTM). What a GRU carries
                over beside the products, z h~', stays whole, and is a second part of its state (Kaldi's
                PGRU). For Jordan's cell it is O, of any size: o = g(V h + c)
    proj_clip   LSTM: the projected h is held to -proj_clip..proj_clip (TensorFlow's LSTMCell); at the limit
                it has no gradient
    merge       of two directions' outputs, in every layer: "concat" side by side, D * R numbers; "sum",
                "mean" or "mul" number by number, R, which the layer above reads too (Keras' merge_mode)

Letters: H hidden units, P projected ones, R numbers that a direction puts out (P, or H without a projection).
"""

from __future__ import annotations

import math
from typing import Any

from pyrnnfast import validation
from pyrnnfast._types import Options

PROJECTED = ("rnn_tanh", "rnn_relu", "lstm", "gru", "jordan")
"""The cells that may have a projection."""
MERGES = ("concat", "sum", "mean", "mul")


def check(
    cell: str, directions: int, proj_size: object = 0, proj_clip: object = None, merge: object = "concat"
) -> dict[str, Any]:
    """Return the fields of `Options`.

    Raises TypeError for a wrong type, ValueError for a wrong range and for what the cell cannot have.
    """
    projected = validation.integer("proj_size", proj_size, 0)
    if projected > 0 and cell not in PROJECTED:
        raise ValueError(f"proj_size must be 0 for the cell {cell}, which may not have one, got {projected}")
    held = limit("proj_clip", proj_clip)
    if held < math.inf and (cell != "lstm" or projected == 0):
        raise ValueError(f"proj_clip must be None but for an LSTM with proj_size, got {held:g}")
    how = validation.choice("merge", merge, MERGES)
    if how != "concat" and directions == 1:
        raise ValueError(f"merge must be concat where there is one direction, got {how}")
    return {"proj_size": projected, "proj_clip": held, "merge": how}


def limit(name: str, value: object) -> float:
    """Return a clip as float, infinity for None; it must be above 0."""
    return math.inf if value is None else validation.number(name, value, above=0, infinite=True)


def check_hidden(cell: str, proj_size: int, hidden: int) -> None:
    """Raise ValueError for a projection to as many numbers as there are, or more; Jordan's may be any."""
    if proj_size >= hidden and cell != "jordan":
        raise ValueError(f"proj_size must be below the hidden size, {hidden}, got {proj_size}")


def describe(options: Options) -> str:
    """Write the options as the arguments that give them."""
    text = f", proj_size={options.proj_size}" if options.proj_size else ""
    text += f", proj_clip={options.proj_clip:g}" if options.proj_clip < math.inf else ""
    return text + (f", merge={options.merge!r}" if options.merge != "concat" else "")


def wants_cells(cell: str, return_cells: object) -> bool:
    """Return the flag; only the LSTM has cell states."""
    if validation.flag("return_cells", return_cells) and cell != "lstm":
        raise ValueError(f"return_cells must be False for the cell {cell}, which has no cell state, got True")
    return bool(return_cells)
