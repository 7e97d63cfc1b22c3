"""The command `pyrnnfast`: its commands, and what they share."""

from __future__ import annotations

from typing import Annotated

import typer

from pyrnnfast.cli import classify, tag
from pyrnnfast.cli.bench import bench
from pyrnnfast.cli.errors import Commands, DebugOption
from pyrnnfast.cli.evaluate import evaluate
from pyrnnfast.cli.info import info
from pyrnnfast.cli.inspect import inspect
from pyrnnfast.cli.sample import sample
from pyrnnfast.cli.train import train

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # for it "[default: gru]" is markup
)
for command in (train, sample, evaluate, inspect, bench, info):
    app.command()(command)
app.add_typer(classify.app, name="classify", help="Classify texts: train, predict, evaluate.")
app.add_typer(tag.app, name="tag", help="Tag words and find intents: train, predict, evaluate.")


def _show_version(wanted: bool) -> None:
    if wanted:
        from pyrnnfast import __version__

        typer.echo(f"pyrnnfast {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Recurrent networks on a CPU, fast: train and use models of text, look inside, measure speed."""


def main() -> None:
    """Run the command line."""
    app(prog_name="pyrnnfast")
