"""`pyrnnfast evaluate`: how well a model predicts a text."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pyrnnfast.cli import options as shared
from pyrnnfast.cli.errors import DebugOption, about


def evaluate(
    model: shared.SavedModel,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A text, in UTF-8.")],
    as_json: shared.Json = False,
    debug: DebugOption = False,
) -> None:
    """Read a text as one stream, the state carried along, and print how well the model predicts it.

    The loss is in nats per token; tokens that the model does not know count as <UNK>.
    """
    from pyrnnfast.models import LanguageModel
    from pyrnnfast.text import read_text

    network, text = LanguageModel.load(model), read_text(file)
    with about(file):
        found = network.evaluate(text)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    typer.echo(f"loss: {found.loss:.4f}")
    typer.echo(f"perplexity: {found.perplexity:.4f}")
    typer.echo(f"bits per character: {found.bits_per_character:.4f}")
    typer.echo(f"unknown tokens: {found.unknown_tokens}")
    typer.echo(f"tokens per second: {found.tokens_per_second:.0f}")
