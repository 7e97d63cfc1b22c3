"""What goes wrong is told in one line on stderr, with exit code 2; `--debug` shows the traceback."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

CLICK_ERROR: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)
"""Typer brings its own copy of click in later versions, so it is found through what Typer exports."""
EXPECTED = (ValueError, OSError, TypeError, MemoryError, ImportError, OverflowError, CLICK_ERROR)

DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


class Commands(TyperGroup):
    """The group of commands, which turns errors into a line and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the group's own options."""
        debug = "--debug" in args
        ctx.obj = {"debug": debug}
        if sys.stdout is None:  # closed by the caller
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        try:
            return list(super().parse_args(ctx, args))
        except EXPECTED as error:
            leave(error, debug)

    def invoke(self, ctx: Any) -> Any:
        """Read the command's options and run it."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always", UserWarning)
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except BrokenPipeError:  # the reader of our output left, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None
        except KeyboardInterrupt:
            print("pyrnnfast: interrupted", file=sys.stderr)
            raise SystemExit(130) from None
        except EXPECTED as error:
            leave(error, ctx.obj["debug"])


def _show_warning(message: object, *_: object, **__: object) -> None:
    print(f"pyrnnfast: warning: {message}", file=sys.stderr)


def leave(error: Exception, debug: bool) -> NoReturn:
    """Print the error and exit with 2; without arguments, typer's help is no error and goes on."""
    if type(error).__name__ == "NoArgsIsHelpError":
        raise error
    if debug:
        traceback.print_exception(error)
    print(f"pyrnnfast: {describe(error)}", file=sys.stderr)
    raise SystemExit(2) from None


@contextmanager
def about(place: object) -> Iterator[None]:
    """Let a ValueError begin with the file, or whatever it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def describe(error: Exception) -> str:
    """Write an error as one line."""
    if isinstance(error, CLICK_ERROR):
        message = str(error.format_message())  # type: ignore[attr-defined]
        context = getattr(error, "ctx", None)
        if context is not None:
            message = f"{message.rstrip('.')}; see {context.command_path} --help"
    elif isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename is not None else ""
        message = f"{named}{error.strerror}{_advice(error)}"
    elif isinstance(error, MemoryError):
        message = f"out of memory: {error}" if str(error) else "out of memory; take a smaller model or batch"
    else:
        message = str(error) or type(error).__name__
    return " ".join(message.split())


def _advice(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "; check the name and that its folder exists"
    if isinstance(error, PermissionError):
        return "; check its permissions, or take another folder"
    if isinstance(error, IsADirectoryError):
        return "; name a file in it"
    return ""
