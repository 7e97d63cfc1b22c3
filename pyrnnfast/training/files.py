"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
Location = str | os.PathLike[str]


def write_whole(location: Location, content: bytes) -> None:
    """Write a file so that at any moment, and after a crash, it is the old one or the new one.

    location: the file; its folder must exist. A symbolic link is followed, permissions of a file that is
    there are kept. content: all of it.
    The content goes to a temporary file in the same folder, which is synced and renamed; then the folder is
    synced. Raises OSError, with location in it, when that cannot be done, ValueError when location is there
    but no regular file.
    """
    target = resolve(location)
    mode = target.stat().st_mode & 0o777 if target.exists() else None
    temporary = _beside(target)
    with _naming(location):
        try:
            descriptor = os.open(temporary, NEW_FILE, 0o666)
            with open(descriptor, "wb") as file:
                if mode is not None:
                    os.fchmod(descriptor, mode)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    _sync_folder(target.parent)


def check_writable(location: Location) -> None:
    """Raise what `write_whole` would raise, without touching the file that is there."""
    probe = _beside(resolve(location))
    with _naming(location):
        os.close(os.open(probe, NEW_FILE, 0o666))
        probe.unlink()


def resolve(location: Location) -> Path:
    """Follow symbolic links; raise ValueError when what is there is no regular file."""
    target = Path(os.path.realpath(os.fspath(location)))
    if not os.fspath(location) or not target.name:
        raise ValueError(f"must be the name of a file, got {os.fspath(location)!r}")
    if target.exists() and not target.is_file():
        kind = "a directory" if target.is_dir() else "no regular file"
        raise ValueError(f"{location}: must be the name of a file, but it is {kind}")
    return target


def _beside(target: Path) -> Path:
    """Name a temporary file in the target's folder."""
    return target.with_name(f".{target.name[:200]}.{secrets.token_hex(6)}.tmp")


@contextmanager
def _naming(location: Location) -> Iterator[None]:
    """Let an OSError name the file that the caller knows, not the temporary one."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(location)) from None


def _sync_folder(folder: Path) -> None:
    """Make a rename last; some file systems cannot sync a folder, and need not."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
