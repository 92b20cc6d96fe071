"""Samples that come in chunks, over and over: files, or whatever can be iterated again. A few chunks are in memory.

What a table in memory tells at once, a stream tells when it has been read: how many rows there are, the levels of its
categories, the classes. So a **survey** reads it first, and keeps a stratified sample of rows on the way, for warm
starts and metrics. If the sample is all of the data, they are in memory from then on. Where nothing has to be known
before (least squares, few features, all numbers) there is no survey.

Chunks are read and converted in a thread of their own, a bounded number of them ahead of the pass.
"""

from __future__ import annotations

import os
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.checks import choose_classes, labels_of, numbers, some_weights
from fastgd.losses import Loss
from fastgd.sources import Feature, Floats, InMemory, Source
from fastgd.tables import as_features, joined, packed, sort_levels

AHEAD = 2  # chunks that wait for the pass, besides the one that is read and the one that is converted
CHUNK_SHARE = 32  # of the memory limit that one chunk from a file takes,
SAMPLE_SHARE = 8  # and what the survey keeps, which is put together by a copy
MANY_CLASSES = 10_000  # labels of a stream: more are a mistake, and would not fit in memory


class Chunk(NamedTuple):
    """Samples as a caller gives them, and how errors name them."""

    X: Any
    y: Any
    weight: Any
    name: str


class Chunks(ABC):
    """What gives the same chunks whenever it is iterated."""

    @abstractmethod
    def __iter__(self) -> Iterator[Chunk]:
        """Read from the start."""

    def limit(self, chunk_bytes: int) -> None:  # noqa: B027
        """Read no more at once than this, if that is for this object to say."""


class Tuples(Chunks):
    """A caller's re-iterable of ``(X, y)`` or ``(X, y, weight)``."""

    def __init__(self, tuples: Iterable[Any]) -> None:
        if iter(tuples) is tuples:
            raise TypeError(
                f"X is a {type(tuples).__name__}, which can be read only once; a fit reads several times: give a list "
                "of chunks, or an object whose __iter__ begins anew"
            )
        self.tuples = tuples

    def __iter__(self) -> Iterator[Chunk]:
        """Read from the start."""
        first = 0
        for number, chunk in enumerate(self.tuples):
            if not isinstance(chunk, tuple) or len(chunk) not in (2, 3):
                what = f"a tuple of {len(chunk)}" if isinstance(chunk, tuple) else f"a {type(chunk).__name__}"
                raise TypeError(f"chunk {number} is {what}; (X, y) or (X, y, weight) is needed")
            X, y, weight = chunk if len(chunk) == 3 else (*chunk, None)
            yield Chunk(X, y, weight, f"chunk {number}, from row {first}")
            first += len(y)


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
        labels = labels_of(y, n)
        return labels if self.classes is None else encode(labels, self.classes)

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


def encode(labels: NDArray[Any], classes: NDArray[Any]) -> NDArray[Any]:
    """Give the places of labels in the classes, bool for two."""
    if len(classes) == 2:
        coded: NDArray[Any] = labels == classes[1]
        known = coded | (labels == classes[0])
    else:
        coded = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
        known = classes[coded] == labels
        coded = coded.astype(np.min_scalar_type(len(classes)))
    if not known.all():
        raise ValueError(f"y has the label {labels[np.argmin(known)]}, which was not there in the first reading")
    return coded


def distinct_labels(labels: NDArray[Any]) -> NDArray[Any]:
    """Give the labels that occur, sorted."""
    if labels.dtype.kind != "U":
        low, high = labels.min(), labels.max()
        if bool(np.all((labels == low) | (labels == high))):
            return np.unique(np.array([low, high], labels.dtype))
    return np.unique(labels)


class Stream(Source):
    """Samples that are read, chunk by chunk, whenever something is asked of them.

    Parameters
    ----------
    chunks : Chunks
    form : Form
    example : InMemory
        The heaviest of the samples that were looked at, in that form.
    sample : InMemory, or None
        Drawn from all rows, all of positive weight; None without a survey.
    kept_bytes : int
        What chunks that are looked at together may take.
    rows, weight
        Of all samples, if they are known.
    """

    def __init__(
        self,
        chunks: Chunks,
        form: Form,
        example: InMemory,
        sample: InMemory | None = None,
        kept_bytes: int = 0,
        rows: int | None = None,
        weight: float | None = None,
    ) -> None:
        self.chunks, self.form, self.drawn, self.example = chunks, form, sample, example
        self.rows, self.weight, self.kept_bytes = rows, weight, kept_bytes
        self.dtype, self.row_bytes = example.dtype, (sample or example).row_bytes
        self.order, self.features, self.copied = example.order, example.features, example.copied
        self.sample_rows = sample.shape[0] if sample else 0
        self.readings = 1.0 if sample else 0.0

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        """The numbers of rows, 1 if nothing has read all of them yet, and of coefficients."""
        return self.example.shape[0] if self.rows is None else self.rows, self.example.shape[1]

    def parts(self) -> Generator[InMemory]:
        """Read all samples, and see whether they are as many as before."""
        rows, weight = 0, 0.0
        with closing(read(self.chunks, self.form)) as parts:
            for part in parts:
                yield part
                rows += part.shape[0]
                weight += part.total_weight()
        if self.rows is None:
            self.rows, self.weight = checked(rows, weight)
        elif rows != self.rows or weight != self.weight:
            what = f"{rows} rows instead of {self.rows}" if rows != self.rows else "other weights"
            raise ValueError(f"X changed while it was read: the last reading found {what}")

    def add_up(self, of_part: Callable[[InMemory], Floats]) -> Floats:
        """Add up what a function gives for the chunks, in order: one reading."""
        total: Floats | None = None
        with closing(self.parts()) as parts:
            for part in parts:
                sums = of_part(part)
                total = sums if total is None else total + sums
        assert total is not None  # noqa: S101  a stream has rows
        return total

    def total_weight(self) -> float:
        """Give the sum of the weights."""
        if self.weight is None:
            raise RuntimeError("the stream has not been read yet")
        return self.weight

    def pivot(self) -> tuple[Floats, Floats]:
        """Give the dense features and the targets of the heaviest sample that was looked at."""
        return self.example.pivot()

    def sample(self, size: int, rng: np.random.Generator) -> InMemory:
        """Draw samples from those that the survey kept; all of them if there are no more than ``size``."""
        if self.drawn is None:
            raise RuntimeError("the stream has not been surveyed")
        return self.drawn.sample(size, rng)

    def check_finite(self) -> None:
        """Find the first NaN or infinity, and say in which chunk: a ValueError."""
        for chunk in self.chunks:
            part = self.form.of(chunk)
            if part:
                with named(chunk.name):
                    part.check_finite()


def read(chunks: Chunks, form: Form) -> Generator[InMemory]:
    """Read a stream from its start, a few chunks ahead."""
    return ahead(part for chunk in chunks if (part := form.of(chunk)))


def checked(rows: int, weight: float) -> tuple[int, float]:
    """Give what a whole reading found, if it is anything."""
    if not rows:
        raise ValueError("X has no rows")
    if weight == 0.0:
        raise ValueError("sample_weight is zero in every row; at least one must be positive")
    return rows, weight


class Given(NamedTuple):
    """Samples that a caller gave, and what is known of them.

    ``loss`` is for as many classes as there are, ``targets`` the columns of y, 0 if it is a vector, and ``cached`` says
    why a stream is in memory, if it is.
    """

    source: Source
    loss: Loss
    classes: NDArray[Any] | None
    targets: int
    weighted: bool
    cached: str | None


def open_stream(
    chunks: Chunks, form: Form, memory_limit: int, rng: np.random.Generator, *, cache: str = "auto", unsurveyed: int = 0
) -> Given:
    """Get to know a stream: by a survey, or if it has few features that are all numbers, by its first chunk.

    Parameters
    ----------
    chunks : Chunks
    form : Form
        With the loss, and how tables are read.
    memory_limit : int
        Bytes.
    rng : Generator
        Draws the sample.
    cache : {"auto", "none"}
        Whether data that fit in their share of the memory are kept there.
    unsurveyed : int
        Numbers of features, and the intercept, up to which the moments of all rows will say everything.
    """
    if cache not in ("auto", "none"):
        raise ValueError(f"cache={cache!r}; choose 'auto' or 'none'")
    chunks.limit(memory_limit // CHUNK_SHARE)
    example, form = peek(chunks, form)
    plain = all(feature.levels is None for feature in form.features or ())
    source: Source
    cached = None
    if plain and example.shape[1] < unsurveyed:
        source = Stream(chunks, form, example)
    else:
        most = memory_limit // SAMPLE_SHARE
        source, form = survey(chunks, form, most, rng, keep_all=cache == "auto")
        if isinstance(source, InMemory):
            cached = f"in memory: the data take at most 1/{SAMPLE_SHARE} of memory_limit"
    return Given(source, form.loss, form.classes, form.outputs or 0, bool(form.weighted), cached)


def is_path(X: Any) -> bool:
    """Tell a path from data."""
    return isinstance(X, (str, os.PathLike))


def peek(chunks: Chunks, form: Form) -> tuple[InMemory, Form]:
    """Look at the first chunk that has rows, and say what all others have to look like."""
    iterator = iter(chunks)
    try:
        for chunk in iterator:
            part = form.of(chunk)
            if part:
                return _heaviest(part), form.learned(part)
    finally:
        if isinstance(iterator, Generator):
            iterator.close()
    raise ValueError("X has no rows")


def survey(
    chunks: Chunks, form: Form, kept_bytes: int, rng: np.random.Generator, *, keep_all: bool
) -> tuple[InMemory | Stream, Form]:
    """Read a stream once to know it: rows, levels, classes, and a sample of rows.

    Parameters
    ----------
    chunks : Chunks
    form : Form
        As `peek` gives it.
    kept_bytes : int
        What the sample may take, which is put together by a copy.
    rng : Generator
        Draws the sample.
    keep_all : bool
        Whether the samples are to be in memory from then on if all of them fit.

    Returns
    -------
    tuple
        The samples, and how their chunks are read.
    """
    sampler = Sampler(kept_bytes, rng)
    levels: list[dict[str, None]] = [{} for _ in form.features or ()]
    classes: NDArray[Any] | None = None
    rows, weight, heaviest = 0, 0.0, None
    with closing(read(chunks, form)) as parts:
        for part in parts:
            for found, feature in zip(levels, part.features or (), strict=True):
                found.update(dict.fromkeys(feature.levels or ()))
            if form.loss.classifies:
                classes = _merge(classes, distinct_labels(part.y))
            if heaviest is None or (part.weight.size and part.weight.max() > heaviest.weight[0]):
                heaviest = _heaviest(part)
            sampler.add(part)
            rows += part.shape[0]
            weight += part.total_weight()
    checked(rows, weight)
    if classes is not None:
        loss, classes = choose_classes(classes, form.loss)
        form = replace(form, loss=loss, classes=classes)
    if form.features is not None:
        known = zip(form.features, levels, strict=True)
        form = replace(form, features=tuple(_close(feature, found) for feature, found in known))
    assert heaviest is not None  # noqa: S101  there are rows
    sample = _settled(sampler.pieces, form)
    if keep_all and sampler.complete:
        sample.readings = 1.0
        return sample, form
    return Stream(chunks, form, _settled([heaviest], form), sample, kept_bytes, rows, weight), form


def _close(feature: Feature, found: dict[str, None]) -> Feature:
    return feature if feature.levels is None else feature._replace(levels=tuple(sort_levels(found)))


def _merge(classes: NDArray[Any] | None, found: NDArray[Any]) -> NDArray[Any]:
    if classes is None:
        merged = found
    elif (classes.dtype.kind == "U") != (found.dtype.kind == "U"):
        raise ValueError("y has text in some chunks and numbers in others; convert them to one type")
    else:
        merged = np.union1d(classes, found)
    if len(merged) > MANY_CLASSES:
        some = ", ".join(map(str, merged[:5].tolist()))
        raise ValueError(f"y has more than {MANY_CLASSES} different values: {some}, ...; are they classes?")
    return merged


def together(pieces: list[InMemory], features: tuple[Feature, ...] | None) -> InMemory:
    """Put pieces together by a copy, with the levels that all of them have."""
    matrix = joined([piece.matrix for piece in pieces], features)
    y = np.concatenate([piece.y for piece in pieces])
    weight = np.concatenate([piece.weight for piece in pieces])
    return InMemory(matrix, y, weight if weight.size else None)


def _settled(pieces: list[InMemory], form: Form) -> InMemory:
    """Put pieces together in the form that was found out."""
    whole = together(pieces, form.features)
    if form.classes is None:
        return whole
    return InMemory(whole.matrix, encode(whole.y, form.classes), whole.weight if whole.weight.size else None)


def _heaviest(part: InMemory) -> InMemory:
    return part.picked(np.array([np.argmax(part.weight) if part.weight.size else 0]))


class Sampler:
    """Keeps one row at random from each **stretch** of as many rows: without repetition, evenly along the stream.

    Stretches are one row long, that is all rows are kept, until they take more than ``most_bytes``; then rows of weight
    0 are dropped and no longer counted, and as often as needed two stretches become one, and of their rows one is
    drawn.
    """

    def __init__(self, most_bytes: int, rng: np.random.Generator) -> None:
        self.most_bytes = most_bytes
        self.rng = rng
        self.stretch = 1
        self.begun = 0  # stretches of which a row has been drawn,
        self.pending = np.empty(0, np.intp)  # and the last one's row, if it has not come yet
        self.passed = 0  # rows
        self.complete = True
        self.pieces: list[InMemory] = []

    def add(self, part: InMemory) -> None:
        """Take from a chunk the rows that are drawn."""
        candidates = np.arange(part.shape[0]) if self.complete else _positive(part)
        end = self.passed + len(candidates)
        until = -(-end // self.stretch)
        begin = np.arange(self.begun, until) * self.stretch
        drawn = np.concatenate((self.pending, self._within(begin)))
        self.begun = until
        self.pending, drawn = drawn[drawn >= end], drawn[drawn < end]
        if len(drawn):
            self.pieces.append(part.picked(candidates[drawn - self.passed]))
        self.passed = end
        if self.complete and self._bytes() > self.most_bytes:
            self.complete = False
            self._keep([_positive(piece) for piece in self.pieces])
            self.begun = self.passed = self._rows()
        while self._bytes() > self.most_bytes and self._rows() > 1:
            self._halve()

    def _rows(self) -> int:
        return sum(piece.shape[0] for piece in self.pieces)

    def _bytes(self) -> float:
        return sum(p.shape[0] * p.row_bytes + p.y.nbytes + p.weight.nbytes for p in self.pieces)

    def _keep(self, rows: list[NDArray[np.intp]]) -> None:
        """Forget all but some rows of each piece."""
        pairs = zip(self.pieces, rows, strict=True)
        self.pieces = [piece.picked(kept) for piece, kept in pairs if len(kept)]

    def _within(self, begin: NDArray[np.intp]) -> NDArray[np.intp]:
        """Draw a row from each stretch that begins at one of these rows."""
        if self.stretch == 1:  # a stream that is small enough leaves the generator as it is
            return begin
        return begin + (self.rng.random(len(begin)) * self.stretch).astype(np.intp)

    def _halve(self) -> None:
        """Make one stretch of two."""
        second = np.repeat(self.rng.random(-(-self.begun // 2)) < 0.5, 2)[: self.begun]
        kept = (np.arange(self.begun) % 2 == 1) == second
        ends = np.cumsum([piece.shape[0] for piece in self.pieces])
        self._keep([np.flatnonzero(own) for own in np.split(kept[: ends[-1]], ends[:-1])])
        if self.pending.size and not kept[-1]:
            self.pending = self.pending[:0]
        if self.begun % 2 and not kept[-1]:  # the row is to come from the other half, which has not begun
            self.pending = self._within(np.array([self.begun * self.stretch]))
        self.begun = -(-self.begun // 2)
        self.stretch *= 2


def _positive(part: InMemory) -> NDArray[np.intp]:
    return np.flatnonzero(part.weight) if part.weight.size else np.arange(part.shape[0])


_END = object()


def ahead(items: Iterator[Any], most: int = AHEAD) -> Generator[Any]:
    """Make items in a thread of its own, at most so many ahead of who takes them; its errors are raised here."""
    waiting: queue.Queue[Any] = queue.Queue(most)
    abandoned = threading.Event()

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
            for item in items:
                if not put(item):
                    break
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
