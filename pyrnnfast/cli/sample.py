"""`pyrnnfast sample`: draw text from a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pyrnnfast.cli.errors import DebugOption
from pyrnnfast.cli.texts import say, typed


def sample(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The file that train wrote.")],
    prompt: Annotated[str, typer.Option(help="What the text begins with.")] = "",
    temperature: Annotated[
        float, typer.Option(help="Below 1: safer, above 1: wilder, 0: always the most probable token.")
    ] = 0.8,
    top_k: Annotated[int, typer.Option(help="Draw from the K most probable tokens; 0: from all.")] = 0,
    top_p: Annotated[
        float, typer.Option(help="Draw from the most probable tokens of this mass; 1: from all.")
    ] = 1.0,
    length: Annotated[int, typer.Option(help="The most tokens to draw.")] = 500,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same text.")] = None,
    debug: DebugOption = False,
) -> None:
    """Draw a text that goes on from the prompt, and print both."""
    from pyrnnfast import validation
    from pyrnnfast.models import LanguageModel
    from pyrnnfast.sampling import SamplingOptions

    prompt = typed("--prompt", prompt)
    SamplingOptions(temperature, top_k, top_p)
    validation.integer("length", length, 0, validation.MAX_STEPS)
    if seed is not None:
        validation.seed(seed)
    loaded = LanguageModel.load(model)
    drawn = loaded.sample(prompt, length=length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    say(f"{prompt}{drawn[0]}")
