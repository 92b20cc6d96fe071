"""Files in libsvm's format, ``label index:value ...``, as streams of sparse rows (extra: sklearn)."""

from __future__ import annotations

import glob
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from io import BytesIO
from typing import IO, Any

from numpy.typing import NDArray

from fastgd._data.chunks import Chunk, Chunks
from fastgd._data.readers.paths import UNPACKED_BY, check_given_once, packed_as, stamp

try:
    from sklearn.datasets import load_svmlight_file
except ImportError:
    raise ImportError("reading libsvm's format needs scikit-learn: pip install 'fastgd[sklearn]'") from None

CHUNK_BYTES = 1 << 24
"""Bytes of text in a chunk at most, but for the rest of its last line."""
SEARCHED_BYTES = 1 << 20
"""Bytes of text in which the largest index is searched at a time."""
DAMAGE: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error)
"""What those modules raise for damaged files; an OSError has no number then."""
with suppress(ImportError):  # some builds of Python lack it
    from lzma import LZMAError

    DAMAGE += (LZMAError,)
SHOWN = 60
"""Bytes of a malformed line in a message."""


class LibSVM(Chunks):
    r"""The rows of files whose indices begin at 1 and ascend in every row.

    A chunk consists of whole lines. Blank lines and comments, from ``#`` to the end of a line, are not read. Files that
    end in .gz, .bz2 or .xz are unpacked on the way. Finding the largest index takes a pass over the text, without
    parsing its values.

    Parameters
    ----------
    paths : path or sequence of paths
        Of files, or patterns.
    width : int, optional
        The number of features, if the largest index does not say it.

    Raises
    ------
    ValueError
        If a line is malformed, or a packed file damaged, or a file given twice: names the file.
    OSError
        If a file cannot be read.

    Examples
    --------
    >>> import tempfile, fastgd
    >>> from fastgd.io import LibSVM
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open(f"{folder}/rain.txt", "w") as file:
    ...         _ = file.write("1 2:0.5\n3 1:1 2:0.5\n5 1:2\n")
    ...     fastgd.fit(LibSVM([f"{folder}/rain.txt"]), l2=1e-3).coef.size
    2
    """

    is_text = True

    def __init__(
        self, paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], width: int | None = None
    ) -> None:
        found = _find([paths] if isinstance(paths, (str, os.PathLike)) else paths)
        self.files = [(path, stamp(path)) for path in found]
        self.stored_bytes = sum(size for _, (size, _) in self.files)
        self.chunk_bytes = CHUNK_BYTES
        self.width = max(map(_largest_index, found)) if width is None else width
        if not self.width:
            raise ValueError(f"{found[0]}: no line has an entry index:value after its label")

    def limit(self, chunk_bytes: int) -> None:
        """Limit the size of the chunks."""
        self.chunk_bytes = min(CHUNK_BYTES, chunk_bytes)

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the chunks from the start."""
        for path, first in self.files:
            if stamp(path) != first:
                raise ValueError(f"{path}: changed while it was in use")
            for line, text in _blocks(path, self.chunk_bytes):
                X, y = self._parse(text, path, line)
                if len(y):
                    yield Chunk(X, y, None, f"{path}, from line {line}")

    def _parse(self, text: bytes, path: str, line: int) -> tuple[Any, NDArray[Any]]:
        """Return the rows of a text; a ValueError names its first malformed line, which is found by halving."""
        try:
            X, y = load_svmlight_file(BytesIO(text), n_features=self.width, zero_based=False)
        except (ValueError, OverflowError) as error:
            lines = BytesIO(text).readlines()
            if len(lines) == 1:
                shown = text[:SHOWN].decode(errors="backslashreplace").strip()
                raise ValueError(
                    f"{path}, line {line}: {shown!r}{'...' * (len(text) > SHOWN)} is not label index:value ..., with "
                    f"ascending indices from 1{_reason(error, self.width)}"
                ) from None
            half = len(lines) // 2
            for first, part in ((line, lines[:half]), (line + half, lines[half:])):
                self._parse(b"".join(part), path, first)
            raise ValueError(f"{path}, from line {line}: {error}") from None
        return X, y


def _reason(error: Exception, width: int) -> str:
    """Return what scikit-learn's parser says, the end of a message."""
    text = str(error)
    if isinstance(error, OverflowError):
        text = "an index is beyond 2,147,483,647"
    elif text.startswith("n_features"):
        text = f"up to {width:,}, the number of features: {text.split()[-2]}"
    return f": {text[:100]}"


def _find(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return the files of paths and patterns; a ValueError names one that is there twice."""
    found: list[str] = []
    for path in map(str, paths):
        found += [path] if os.path.lexists(path) else sorted(glob.glob(path)) or [path]
    if not found:
        raise ValueError("paths: no file is given")
    check_given_once(found)
    return found


def _blocks(path: str, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield the text of a file in blocks of whole lines, each with the number of its first line."""
    line = 1
    try:
        with _open(path) as file:
            while text := file.read(size):
                if not text.endswith(b"\n"):
                    text += file.readline()
                yield line, text
                line += text.count(b"\n")
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise type(error)(f"{path}: {error.strerror}") from None
        raise ValueError(f"{path}, from line {line}: is damaged, or not packed as its name says: {error}") from None


def _open(path: str) -> IO[bytes]:
    """Open a file, packed or not; a ValueError says if only its content is packed, not its name."""
    ending = os.path.splitext(path)[1].lower()
    if ending in UNPACKED_BY:
        unpacked: IO[bytes] = import_module(UNPACKED_BY[ending]).open(path)
        return unpacked
    if lacking := packed_as(path, UNPACKED_BY):
        raise ValueError(f"{path}: is packed; name it {path}{lacking}")
    return open(path, "rb")


def _largest_index(path: str) -> int:
    """Return the largest index of a file, which is in the last entry of some line."""
    largest = 0
    for _, text in _blocks(path, SEARCHED_BYTES):
        for line in BytesIO(text):
            with suppress(ValueError, IndexError):  # of lines without entries, or malformed: parsing says it
                largest = max(largest, int(line.partition(b"#")[0].rpartition(b":")[0].rsplit(None, 1)[-1]))
    return largest
