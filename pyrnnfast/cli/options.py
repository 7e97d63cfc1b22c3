"""The options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pyrnnfast._names import CELLS


def says(text: str, default: object) -> Any:
    """Return an option with this help, naming what None, an option that is not given, stands for."""
    return typer.Option(help=f"{text}  [default: {default}]")


def cell(default: str) -> Any:
    """Return the option of the recurrent cell."""
    return says(f"One of {', '.join(CELLS)}.", default)


def weight_decay(default: float) -> Any:
    """Return the option of AdamW's weight decay."""
    return says("AdamW: each step multiplies the weights by 1 - lr x this.", default)


EPOCHS, HOLDOUT, UNIT = 10, 0.1, "char"
SavedModel = Annotated[Path, typer.Argument(metavar="MODEL", help="The file that train wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ModelFile = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="FILE",
        help="The file to write; a CSV and a PNG of the losses and a checkpoint go beside it.",
    ),
]
Minutes = Annotated[float | None, typer.Option(help="Wall time, all included, instead of epochs.")]
Steps = Annotated[int | None, typer.Option(help="Batches instead of epochs.")]
Epochs = Annotated[int | None, says("How often each example is seen.", EPOCHS)]
Valid = Annotated[Path | None, typer.Option(help="Examples that are held out.")]
Holdout = Annotated[
    float | None,
    says("Without --valid, the share of the examples to hold out at random.", HOLDOUT),
]
Patience = Annotated[
    int | None,
    typer.Option(help="End after so many validations without a new best; a resumed run keeps its own."),
]
LogFolder = Annotated[
    Path | None, typer.Option("--tensorboard", metavar="FOLDER", help="Write logs for TensorBoard there.")
]
Seed = Annotated[int, typer.Option(help="Of weights, dropout, order; a resumed run keeps its own.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on; what was done counts.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
