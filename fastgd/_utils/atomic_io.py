"""Files that appear whole or not at all; and standard output, which can be full, too."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str], mark: str | None = None) -> Iterator[Path]:
    """Yield a new path beside ``path`` to write to, renamed to it if all went well and removed if not.

    The new name contains ``mark``, by default a random one. With a fixed mark, a file that a killed process left behind
    is overwritten by the next.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written, before anything else is done; if writing fails, as on a full
        disk: what stood at ``path`` is unchanged. The message names ``path``.
    """
    check_writable(path)
    target = Path(path).resolve()  # a link stays, and what it points to is replaced
    replaceable = not target.exists() or target.is_file()  # a device or a pipe is not
    temporary = unfinished(target, mark or secrets.token_hex(4)) if replaceable else target
    try:
        yield temporary
        if replaceable:
            _flush(temporary)
            os.replace(temporary, target)
    except OSError as error:
        raise OSError(error.errno, f"{target} was not written: {error.strerror or error}") from error
    finally:
        if replaceable:
            temporary.unlink(missing_ok=True)


def unfinished(path: str | os.PathLike[str], mark: str) -> Path:
    """Return the path that `replacing` writes to."""
    target = Path(path).resolve()
    return target.with_name(f".{mark}-{target.name}")


def _flush(path: Path) -> None:
    """Flush a file's bytes to disk before its name is there: after a power failure it could be empty otherwise."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError, before long work, if a file could not be written, and say why."""
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; a file's name is needed")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{target}: there is no folder {target.parent}")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(f"{target}: the folder {target.parent} cannot be written")
