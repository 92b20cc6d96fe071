"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str], mark: str | None = None) -> Iterator[Path]:
    """Give a new path beside ``path`` to write to, renamed to it if all went well and removed if not.

    A ``mark`` in the new name instead of a random one: what a killed process left behind is written over by the next.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written, before anything else is done.
    """
    check_writable(path)
    target = Path(path).resolve()  # a link stays, and what it points to is replaced
    if target.exists() and not target.is_file():  # a device or a pipe cannot be replaced
        yield target
        return
    temporary = target.with_name(f".{mark or secrets.token_hex(4)}-{target.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # a name must not come before what it names, if power fails
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out before long work whether a file could be written; an OSError says why not."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; a file's name is needed")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: there is no folder {target.parent}")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(f"{target}: the folder {target.parent} cannot be written")
