"""Samples as they come in chunks: how a chunk becomes samples in memory, in a thread that reads a few of them ahead."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from fastgd._kernels.threads import share
from fastgd._utils.progress import bar

_COMPARED = 100
"""Targets of the first chunk that each pass compares with the pass before."""
AHEAD = 1
"""Chunks that are read ahead of their conversion, and converted ahead of the pass."""


class Chunk(NamedTuple):
    """Samples as a caller gives them, how errors name them, and the clusters of rows if they are asked for."""

    X: Any
    y: Any
    weight: Any
    name: str
    groups: Any = None


class Chunks(ABC):
    """Base class of samples in chunks: each iteration yields the same chunks from the start."""

    is_text = False
    """Whether chunks are parsed from text, which takes longer than reading numbers from a disk."""
    stored_bytes = np.inf
    """The size of the chunks where they are stored, infinite if it is not known."""

    target: str | None = None
    """The name of the targets' column, if they have one."""
    features: Sequence[str] = ()
    """The names of the columns to predict from, if they have any."""
    clusters: str | None = None
    """The name of the column that says which rows may depend on each other, if that is asked for."""

    @abstractmethod
    def __iter__(self) -> Iterator[Chunk]:
        """Yield the chunks from the start."""

    def limit(self, chunk_bytes: int) -> None:  # noqa: B027
        """Limit the size of the chunks, if this object decides about it."""

    def expect(self, kinds: Mapping[str, str]) -> None:  # noqa: B027
        """Have columns, the targets' among them, read as "text" or "numbers", if this object guesses what they are."""

    def place(self, column: str, value: str, row: int) -> str:  # noqa: ARG002
        """Return how messages name the place of a column's value, whose row is counted over all chunks."""
        return f"row {row}"


IN_CHUNKS = object()
"""Stands for clusters that are part of each chunk."""


class Tuples(Chunks):
    """A caller's re-iterable of ``(X, y)``, ``(X, y, weight)`` or, if ``clustered``, ``(X, y, weight, clusters)``."""

    def __init__(self, tuples: Iterable[Any], *, clustered: bool = False) -> None:
        if hasattr(tuples, "__next__"):
            raise TypeError(
                f"X is a {type(tuples).__name__}, which can be read only once; a fit reads several times: give a list "
                "of chunks, or an object whose __iter__ begins anew"
            )
        self.tuples, self.clustered = tuples, clustered
        self.begins: list[Any] | None = None

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the chunks from the start."""
        first, number = 0, -1
        for number, chunk in enumerate(self.tuples):
            self._check_shape(chunk, number)
            X, y, weight, clusters = (*chunk, None, None)[:4]
            if not hasattr(y, "__len__"):
                raise TypeError(f"chunk {number}: y is {y!r}; a target for each row is needed")
            if number == 0:
                self._check_begins(X, y)
            yield Chunk(X, y, weight, f"chunk {number}, from row {first}", clusters)
            first += len(y)
        if number < 0:
            self._check_begins((), ())

    def _check_shape(self, chunk: Any, number: int) -> None:
        """Raise TypeError or ValueError for a chunk that is no tuple as it is needed."""
        entries = len(chunk) if isinstance(chunk, tuple) else 0
        if entries == 4 and not self.clustered:
            raise ValueError(
                f"chunk {number} has clusters; give covariance='cluster', which is for them, or leave them out"
            )
        if entries not in ((4,) if self.clustered else (2, 3)) or (self.clustered and chunk[3] is None):
            what = f"a tuple of {len(chunk)}" if isinstance(chunk, tuple) else f"a {type(chunk).__name__}"
            what = "without clusters" if entries == 4 else what
            needed = "(X, y) or (X, y, weight) is needed"
            if self.clustered:
                needed = "covariance='cluster' needs (X, y, weight, clusters), where weight may be None"
            raise TypeError(f"chunk {number} is {what}; {needed}")

    def _check_begins(self, X: Any, y: Any) -> None:
        """Compare the first rows with the last pass's: an iterator that goes on where it stopped loses rows."""
        begins = [len(y), np.asarray(y)[:_COMPARED].tolist(), X[:1].tolist() if isinstance(X, np.ndarray) else None]
        if self.begins is not None and repr(begins) != repr(self.begins):  # NaN is itself there
            what = "begins with another chunk" if len(y) else "has no rows"
            raise ValueError(f"X {what} when it is iterated again; __iter__ has to give the same chunks again")
        self.begins = begins


class ShownChunks(Chunks):
    """Chunks with a line that shows which pass this is, its rows, and from the second on the time that is left."""

    def __init__(self, chunks: Chunks) -> None:
        self.chunks = chunks
        self.passes, self.rows = 0, None

    def limit(self, chunk_bytes: int) -> None:
        """Limit the size of the chunks."""
        self.chunks.limit(chunk_bytes)

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the chunks from the start."""
        what = f"pass {self.passes + 1}"
        with bar(desc=what, total=self.rows, unit=" rows", unit_scale=True, position=1) as line:
            for chunk in self.chunks:
                yield chunk
                line.update(len(chunk.y))
            self.rows = line.n
        self.passes += 1


@contextmanager
def named(name: str) -> Iterator[None]:
    """Raise errors about a chunk with its name before them."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise (TypeError if isinstance(error, TypeError) else ValueError)(f"{name}: {error}") from None


_END = object()


def prefetch(items: Iterator[Any], most: int = AHEAD) -> Generator[Any]:
    """Yield items that a thread of its own makes, at most ``most`` ahead; its errors are raised here."""
    waiting: queue.Queue[Any] = queue.Queue(most)
    abandoned = threading.Event()

    def made() -> Any:
        with share(1):  # the pass gets one thread less
            return next(items, _END)

    def put(item: Any) -> bool:
        while not abandoned.is_set():
            try:
                waiting.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        last: Any = _END
        try:
            while (item := made()) is not _END and put(item):
                del item
        except BaseException as error:
            last = error
        finally:
            if isinstance(items, Generator):
                items.close()
        put(last)

    thread = threading.Thread(target=produce, name="fastgd-reader", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item
            del item
    finally:
        abandoned.set()
        thread.join()
