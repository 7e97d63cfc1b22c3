"""`pyrnnfast info`: what runs here."""

from __future__ import annotations

from pyrnnfast.cli.errors import DebugOption


def info(debug: DebugOption = False) -> None:
    """Tell the version, the instruction set, the threads, the OpenMP runtime and the compiler."""
    from pyrnnfast import runtime

    runtime.show_config()
