"""Chunks that take long to decode, decoded once: from then on they are read from a spill file.

The file has no name (Windows: it is deleted as it is closed), so nothing is left of it however the process ends. It
lies in the folder that TMPDIR names; without that in /var/tmp, as /tmp may be in memory; else where `tempfile` says.
"""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from fastgd._data.chunks import Chunk, Chunks

SPARE = 1 << 30
"""Bytes that are left free on the disk."""


class Place(NamedTuple):
    """The position of an object in the file, and the lengths of its parts."""

    start: int
    lengths: list[int]


class SpillFile:
    """A temporary file of pickled objects: created at the first write, deleted at the end of the ``with`` block."""

    def __init__(self) -> None:
        self.file: IO[bytes] | None = None
        self.end = 0

    def __enter__(self) -> SpillFile:
        """Return the spill file."""
        return self

    def __exit__(self, *_: object) -> None:
        """Delete the file."""
        self.clear()

    def clear(self) -> None:
        """Close the file, which deletes it, and all places in it."""
        if self.file is not None:
            self.file.close()
        self.file, self.end = None, 0

    def write(self, item: Any) -> Place:
        """Append an object; an OSError if that is not possible."""
        buffers: list[pickle.PickleBuffer] = []
        parts = [memoryview(pickle.dumps(item, protocol=5, buffer_callback=buffers.append))]
        parts += [buffer.raw() for buffer in buffers]  # arrays go into the file as they are
        if self.file is None:
            self.file = tempfile.TemporaryFile(dir=folder())  # noqa: SIM115  closed at the end of the block
        free = shutil.disk_usage(folder()).free - sum(map(len, parts))
        if free < SPARE:
            raise OSError(f"less than {SPARE / 1e9:.0f} GB would be left free")
        place = Place(self.end, [len(part) for part in parts])
        self.file.seek(self.end)
        for part in parts:
            self.file.write(part)
        self.file.flush()
        self.end = self.file.tell()
        return place

    def read(self, place: Place) -> Any:
        """Return the object that was written at a place."""
        assert self.file is not None  # noqa: S101  places are of this file
        self.file.seek(place.start)
        parts = [memoryview(bytearray(length)) for length in place.lengths]
        if any(self.file.readinto(part) != len(part) for part in parts):  # type: ignore[attr-defined]
            raise OSError(f"the spill file in {folder()} has become shorter")
        return pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301  written above, and nobody else can


class SpilledChunks(Chunks):
    """Chunks that are kept in a spill file in the first complete pass, and then read from there.

    Parameters
    ----------
    chunks : Chunks
    spill : SpillFile
    must : bool
        Whether it is an error if the file cannot be written: otherwise chunks are read again from where they came.
    """

    def __init__(self, chunks: Chunks, spill: SpillFile, *, must: bool) -> None:
        self.chunks, self.spill, self.must = chunks, spill, must
        self.places: list[Place] | None = None
        self.refused: str | None = None

    def limit(self, chunk_bytes: int) -> None:
        """Limit the size of the chunks."""
        self.chunks.limit(chunk_bytes)

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the chunks from the start."""
        if self.places is not None:
            yield from map(self.spill.read, self.places)
            return
        self.spill.clear()
        places = []
        for chunk in self.chunks:
            if self.refused is None:
                try:
                    places.append(self.spill.write(chunk))
                except OSError as error:
                    if self.must:
                        raise OSError(f"cache='disk': in {folder()}: {error}") from None
                    self.refused = str(error)
                    self.spill.clear()
            yield chunk
        if self.refused is None:
            self.places = places

    def forget(self) -> None:
        """Remove the file: the chunks are in memory by now."""
        self.places = None
        self.spill.clear()

    def __str__(self) -> str:
        """Return where the chunks are kept, or why they are not."""
        if self.refused is not None:
            return f"nowhere: a spill file in {folder()} was not possible: {self.refused}"
        return f"in a spill file in {folder()}"


def folder() -> str:
    """Return the folder of spill files."""
    usual = "/var/tmp"  # noqa: S108  no name in it, so nobody can guess it
    return usual if "TMPDIR" not in os.environ and os.access(usual, os.W_OK) else tempfile.gettempdir()
