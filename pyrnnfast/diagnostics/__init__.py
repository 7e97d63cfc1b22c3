"""Looking inside: how far gradients reach back in time, what gates do over a text, what single units follow.

`gradient_norms` and `loss_gradient_norms` for vanishing and exploding gradients, `record` for a layer's
states and gates, `read` for those of a model over a text, `find_units` for units that follow quotes or line
length, and `write_html`, `plot_gradients`, `plot_gates`, `plot_units` to see it. The command is `pyrnnfast
inspect`.
"""

from pyrnnfast.diagnostics.gradients import gradient_norms, loss_gradient_norms
from pyrnnfast.diagnostics.html import Block, write_html
from pyrnnfast.diagnostics.plots import plot_gates, plot_gradients, plot_units
from pyrnnfast.diagnostics.properties import PROPERTIES
from pyrnnfast.diagnostics.reading import Reading, read
from pyrnnfast.diagnostics.recording import Activity, record
from pyrnnfast.diagnostics.units import Unit, find_units

__all__ = [
    "PROPERTIES",
    "Activity",
    "Block",
    "Reading",
    "Unit",
    "find_units",
    "gradient_norms",
    "loss_gradient_norms",
    "plot_gates",
    "plot_gradients",
    "plot_units",
    "read",
    "record",
    "write_html",
]
