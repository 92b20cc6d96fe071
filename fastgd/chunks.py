"""Samples as they come in chunks: how a chunk becomes samples in memory, in a thread that reads a few of them ahead."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._kernels.threads import share
from fastgd._utils.progress import bar
from fastgd.checks import MODERATE, coded, labels_of, numbers, some_weights
from fastgd.losses import Loss
from fastgd.sources import Feature, InMemory
from fastgd.tables import as_features, packed

_GLANCED = 100  # targets by which the first chunk is known again
AHEAD = 1  # chunks that wait to be converted, and for the pass


class Chunk(NamedTuple):
    """Samples as a caller gives them, and how errors name them."""

    X: Any
    y: Any
    weight: Any
    name: str


class Chunks(ABC):
    """What gives the same chunks whenever it is iterated."""

    is_text = False
    """Whether numbers have to be made of text, which takes longer than to read them from a disk."""
    stored_bytes = np.inf
    """What the chunks take where they are stored, if that is known."""

    @abstractmethod
    def __iter__(self) -> Iterator[Chunk]:
        """Read from the start."""

    def limit(self, chunk_bytes: int) -> None:  # noqa: B027
        """Read no more at once than this, if that is for this object to say."""


class Tuples(Chunks):
    """A caller's re-iterable of ``(X, y)`` or ``(X, y, weight)``."""

    def __init__(self, tuples: Iterable[Any]) -> None:
        if hasattr(tuples, "__next__"):
            raise TypeError(
                f"X is a {type(tuples).__name__}, which can be read only once; a fit reads several times: give a list "
                "of chunks, or an object whose __iter__ begins anew"
            )
        self.tuples = tuples
        self.begins: list[Any] | None = None

    def __iter__(self) -> Iterator[Chunk]:
        """Read from the start."""
        first, number = 0, -1
        for number, chunk in enumerate(self.tuples):
            if not isinstance(chunk, tuple) or len(chunk) not in (2, 3):
                what = f"a tuple of {len(chunk)}" if isinstance(chunk, tuple) else f"a {type(chunk).__name__}"
                raise TypeError(f"chunk {number} is {what}; (X, y) or (X, y, weight) is needed")
            X, y, weight = chunk if len(chunk) == 3 else (*chunk, None)
            if not hasattr(y, "__len__"):
                raise TypeError(f"chunk {number}: y is {y!r}; a target for each row is needed")
            if number == 0:
                self._check_begins(X, y)
            yield Chunk(X, y, weight, f"chunk {number}, from row {first}")
            first += len(y)
        if number < 0:
            self._check_begins((), ())

    def _check_begins(self, X: Any, y: Any) -> None:
        """Compare a beginning with that of the reading before: what reads on from one place each time loses rows."""
        begins = [len(y), np.asarray(y)[:_GLANCED].tolist(), X[:1].tolist() if isinstance(X, np.ndarray) else None]
        if self.begins is not None and repr(begins) != repr(self.begins):  # NaN is itself there
            what = "begins with another chunk" if len(y) else "has no rows"
            raise ValueError(f"X {what} when it is iterated again; __iter__ has to give the same chunks again")
        self.begins = begins


class ShownChunks(Chunks):
    """Chunks with a line that shows which reading this is, its rows, and from the second on the time that is left."""

    def __init__(self, chunks: Chunks) -> None:
        self.chunks = chunks
        self.readings, self.rows = 0, None

    def limit(self, chunk_bytes: int) -> None:
        """Read no more at once than this."""
        self.chunks.limit(chunk_bytes)

    def __iter__(self) -> Iterator[Chunk]:
        """Read from the start."""
        what = f"reading {self.readings + 1}"
        with bar(desc=what, total=self.rows, unit=" rows", unit_scale=True, position=1) as line:
            for chunk in self.chunks:
                yield chunk
                line.update(len(chunk.y))
            self.rows = line.n
        self.readings += 1


@dataclass(frozen=True)
class Form:
    """How chunks become samples: what a survey finds out, None before.

    Attributes
    ----------
    loss : Loss
    categorical, drop_first
        As for `as_features`.
    features : tuple of Feature, or None
        The columns of tables. Levels are empty as long as they are not known: then each chunk's are its own.
    width : int, or None
        How many columns arrays have.
    outputs : int, or None
        How many targets y has, 0 if it is a vector.
    weighted : bool, or None
    classes : ndarray, or None
        Sorted labels. Without them, targets of a loss that classifies remain what they are.
    """

    loss: Loss
    categorical: Any
    drop_first: bool
    features: tuple[Feature, ...] | None = None
    width: int | None = None
    outputs: int | None = None
    weighted: bool | None = None
    classes: NDArray[Any] | None = None

    def of(self, chunk: Chunk) -> InMemory | None:
        """Convert a chunk, naming it if it can't be; None if it has no rows."""
        with named(chunk.name):
            if not len(chunk.y):
                return None
            if self.features is None:
                matrix = as_features(chunk.X, self.categorical, drop_first=self.drop_first)
            else:
                matrix = as_features(chunk.X, features=self.features)
            n, width = matrix.shape
            if self.features is not None and matrix.features is None:
                raise ValueError("X has no named columns, as chunks before have")
            if self.width is not None and matrix.features is None and width != self.width:
                raise ValueError(f"X has {width} features; chunks before have {self.width}")
            weight = None if chunk.weight is None else some_weights(chunk.weight, n)
            if weight is not None and weight.max() > MODERATE:
                raise ValueError(f"sample_weight is as large as {weight.max():g}; only ratios matter, so scale it down")
            if self.weighted is not None and self.weighted != (weight is not None):
                raise ValueError(f"there are {'no ' if weight is None else ''}weights, but not so in chunks before")
            return InMemory(packed(matrix), self._targets(chunk.y, n), weight)

    def _targets(self, y: Any, n: int) -> NDArray[Any]:
        if not self.loss.classifies:
            targets = numbers(y, n)
            outputs = targets.shape[1] if targets.ndim == 2 else 0
            if self.outputs is not None and self.outputs != outputs:
                raise ValueError(f"y has shape {targets.shape}, unlike that of chunks before")
            return targets
        return labels_of("y", y, n) if self.classes is None else coded(y, n, self.classes)

    def learned(self, part: InMemory) -> Form:
        """Give the form that all chunks have if one looks like this."""
        features = part.features
        return replace(
            self,
            features=None if features is None else tuple(each._replace(levels=_open(each)) for each in features),
            width=part.shape[1],
            outputs=part.y.shape[1] if part.y.ndim == 2 else 0,
            weighted=part.weight.size > 0,
        )


def _open(feature: Feature) -> tuple[str, ...] | None:
    return None if feature.levels is None else ()


@contextmanager
def named(name: str) -> Iterator[None]:
    """Put a chunk's name before an error about what is in it."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise (TypeError if isinstance(error, TypeError) else ValueError)(f"{name}: {error}") from None


def distinct_labels(labels: NDArray[Any]) -> NDArray[Any]:
    """Give the labels that occur, sorted."""
    if labels.dtype.kind != "U":
        low, high = labels.min(), labels.max()
        if bool(np.all((labels == low) | (labels == high))):
            return np.unique(np.array([low, high], labels.dtype))
    return np.unique(labels)


def read(chunks: Chunks, form: Form) -> Generator[InMemory]:
    """Read a stream from its start, a few chunks ahead: one thread reads, and one converts what it has read."""
    return ahead(_converted(chunks, form))


def _converted(chunks: Chunks, form: Form) -> Generator[InMemory]:
    with closing(ahead(iter(chunks))) as given:
        for chunk in given:
            if part := form.of(chunk):
                yield part


_END = object()


def ahead(items: Iterator[Any], most: int = AHEAD) -> Generator[Any]:
    """Make items in a thread of its own, at most so many ahead of who takes them; its errors are raised here."""
    waiting: queue.Queue[Any] = queue.Queue(most)
    abandoned = threading.Event()

    def made() -> Any:
        with share(1):  # which leaves the pass one thread less
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
