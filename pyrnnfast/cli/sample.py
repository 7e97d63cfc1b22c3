"""`pyrnnfast sample`: draw text from a model."""

from __future__ import annotations

from typing import Annotated

import typer

from pyrnnfast.cli import options as shared
from pyrnnfast.cli.errors import DebugOption
from pyrnnfast.cli.texts import say, typed


def sample(
    model: shared.SavedModel,
    prompt: Annotated[str, typer.Option(help="What the text begins with.")] = "",
    temperature: Annotated[
        float, typer.Option(help="Below 1: safer, above 1: wilder, 0: always the most probable token.")
    ] = 0.8,
    top_k: Annotated[int, typer.Option(help="Draw from the K most probable tokens; 0: from all.")] = 0,
    top_p: Annotated[
        float, typer.Option(help="Draw from the most probable tokens of this mass; 1: from all.")
    ] = 1.0,
    length: Annotated[int, typer.Option(help="The most tokens to draw; a text of words is a line.")] = 500,
    count: Annotated[int, typer.Option(help="How many texts.")] = 1,
    allow_unknown: Annotated[
        bool, typer.Option("--allow-unknown", help="Keep <UNK> where it is drawn; else it is drawn again.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="The same seed draws the same text.")] = None,
    debug: DebugOption = False,
) -> None:
    """Draw a text that goes on from the prompt, and print both.

    One of words ends with its line (<EOS>) or at the length, one of characters at the length.
    """
    from pyrnnfast import validation
    from pyrnnfast.models import LanguageModel
    from pyrnnfast.sampling import SamplingOptions

    prompt = typed("--prompt", prompt)
    SamplingOptions(temperature, top_k, top_p)
    validation.integer("length", length, 0, validation.MAX_STEPS)
    validation.integer("count", count, 1)
    if seed is not None:
        validation.seed(seed)
    loaded = LanguageModel.load(model)
    drawn = loaded.sample(
        prompt,
        length=length,
        count=count,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        allow_unknown=allow_unknown,
        seed=seed,
    )
    if loaded.vocabulary.unit == "word" and prompt and not prompt[-1].isspace():
        prompt += " "
    for text in drawn:
        say(f"{prompt}{text}")
