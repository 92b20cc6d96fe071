"""Files in libsvm's format, ``label index:value ...``, as streams of sparse rows (extra: sklearn)."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from fastgd._data.chunks import Chunk, Chunks

try:
    from sklearn.datasets import load_svmlight_file
except ImportError:
    raise ImportError("reading libsvm's format needs scikit-learn: pip install 'fastgd[sklearn]'") from None

CHUNK_BYTES = 1 << 24
"""Bytes of text in a chunk at most."""
LAST_INDEX = re.compile(rb"(\d+):\S+[ \t\r]*(?:#[^\n]*)?$", re.MULTILINE)


class LibSVM(Chunks):
    r"""The rows of files whose indices begin at 1 and ascend in every row.

    Finding the largest index takes a pass over the text, without parsing its values.

    Parameters
    ----------
    paths : sequence of paths
        Of files, or patterns.
    width : int, optional
        The number of features, if the largest index does not say it.

    Raises
    ------
    ValueError
        If a line is malformed: names the file.
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

    def __init__(self, paths: Sequence[str | os.PathLike[str]], width: int | None = None) -> None:
        found = [file for path in map(str, paths) for file in sorted(glob.glob(path)) or [path]]
        self.files = [(Path(path), os.stat(path)) for path in found]
        self.stored_bytes = sum(stat.st_size for _, stat in self.files)
        self.chunk_bytes = CHUNK_BYTES
        self.width = max(map(_largest_index, found)) if width is None else width
        if not self.width:
            raise ValueError(f"{found[0]}: no line has an entry index:value after its label")

    def limit(self, chunk_bytes: int) -> None:
        """Limit the size of the chunks."""
        self.chunk_bytes = min(CHUNK_BYTES, chunk_bytes)

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the chunks from the start."""
        for path, seen in self.files:
            try:
                now = os.stat(path)
                if (now.st_size, now.st_mtime_ns) != (seen.st_size, seen.st_mtime_ns):
                    raise ValueError("changed while it was in use")
                for begin in range(0, seen.st_size, self.chunk_bytes):
                    X, y = load_svmlight_file(
                        path, n_features=self.width, zero_based=False, offset=begin, length=self.chunk_bytes
                    )
                    yield Chunk(X, y, None, f"{path}, from byte {begin}")
            except FileNotFoundError:
                raise FileNotFoundError(f"{path}: no such file, or no longer") from None
            except (ValueError, OverflowError) as error:
                hint = "; they begin at 1, as in libsvm" if "Invalid index" in str(error) else ""
                raise ValueError(f"{path}: {error}{hint}") from None


def _largest_index(path: str | os.PathLike[str]) -> int:
    """Return the largest index of a file, which is in the last entry of some line."""
    largest, rest = 0, b""
    with open(path, "rb") as file:
        while block := file.read(CHUNK_BYTES):
            whole, _, rest = (rest + block).rpartition(b"\n")
            largest = max(largest, max(map(int, LAST_INDEX.findall(whole)), default=0))
    return max(largest, max(map(int, LAST_INDEX.findall(rest)), default=0))
