"""Chunks that are read again and again: surveyed once, and then a source like any other.

What a table in memory tells at once, a stream tells when it has been read: how many rows there are, the levels of its
categories, the classes. So a **survey** reads it first, and keeps a stratified sample of rows on the way, for warm
starts and metrics. If the sample is all of the data, they are in memory from then on. Where nothing has to be known
before (least squares, few features, all numbers) there is no survey, unless they may well be in memory then.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._typing import Floats
from fastgd.checks import MODERATE, choose_classes, coded, one_class_weighs
from fastgd.chunks import Chunks, Form, ShownChunks, distinct_labels, named, read
from fastgd.losses import Loss
from fastgd.scratch import Kept, Scratch
from fastgd.sources import Feature, InMemory, Source, T
from fastgd.sparse import Rows
from fastgd.tables import joined, sort_levels

CHUNK_SHARE = 24  # of the memory limit beyond `HELD`, that one chunk from a file takes, at least half as much of all
HELD = 1 << 26  # what readers and allocators hold, however small chunks are
SAMPLE_SHARE = 8  # of the limit, that the survey keeps, which is put together by a copy
UNPACKED = 8  # times as much as files that are packed well take in memory: those that fit are surveyed, and kept there
MANY_CLASSES = 10_000  # labels of a stream: more are a mistake, and would not fit in memory


class Surveyed(Source):
    """Samples that are read anew for every sum: what is known of them, and whether each reading finds the same.

    Parameters
    ----------
    example : InMemory
        The heaviest of the samples that were looked at.
    rows, weight
        Of all samples, if they are known.
    lightest : float
        The smallest positive weight.
    """

    def __init__(self, example: InMemory, rows: int | None, weight: float | None, lightest: float) -> None:
        self.example, self.rows, self.weight, self.least_weight = example, rows, weight, lightest
        self.dtype, self.order = example.dtype, example.order
        self.features, self.copied = example.features, example.copied

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        """The numbers of rows, 1 if nothing has read all of them yet, and of coefficients."""
        return self.example.shape[0] if self.rows is None else self.rows, self.example.shape[1]

    def check_same(self, rows: int, weight: float) -> None:
        """Compare what a whole reading found with what the first one did."""
        if self.rows is None:
            self.rows, self.weight = checked(rows, weight)
        elif rows != self.rows or weight != self.weight:
            what = f"{rows} rows instead of {self.rows}" if rows != self.rows else "other weights"
            raise ValueError(f"X changed while it was read: the last reading found {what}")

    def total_weight(self) -> float:
        """Give the sum of the weights."""
        if self.weight is None:
            raise RuntimeError("the samples have not been read yet")
        return self.weight

    def lightest(self) -> float:
        """Give the smallest positive weight."""
        return self.least_weight

    def pivot(self) -> tuple[Floats, Floats]:
        """Give the dense features and the targets of the heaviest sample that was looked at."""
        return self.example.pivot()


class Stream(Surveyed):
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
    lightest : float
        The smallest positive weight.
    look : callable
        Called before every tile; it may raise an exception.
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
        lightest: float = 1.0,
        look: Callable[[], object] = bool,
    ) -> None:
        super().__init__(example, rows, weight, lightest)
        self.chunks, self.form, self.kept_bytes = chunks, form, kept_bytes
        self.row_bytes = (sample or example).row_bytes
        self.sample_rows = sample.shape[0] if sample else 0
        self.drawn = sample
        self.look = look
        self.readings = 1.0 if sample else 0.0

    @property
    def known(self) -> InMemory:
        """What the survey kept, or without one the example."""
        return self.drawn or self.example

    def parts(self) -> Generator[InMemory]:
        """Read all samples, and see whether they are as many as before."""
        rows, weight = 0, 0.0
        with closing(read(self.chunks, self.form)) as parts:
            for part in parts:
                part.look = self.look
                yield part
                rows += part.shape[0]
                weight += part.total_weight()
        self.check_same(rows, weight)

    def reduce(self, of_part: Callable[[InMemory], T], combine: Callable[[list[T]], T]) -> T:
        """Put together what a function gives for the chunks, in order: one reading."""
        total: T | None = None
        with closing(self.parts()) as parts:
            for part in parts:
                self.look()
                one = of_part(part)
                total = one if total is None else combine([total, one])
        assert total is not None  # noqa: S101  a stream has rows
        return total

    def sample(self, size: int, rng: np.random.Generator) -> InMemory:
        """Draw samples from those that the survey kept, or without one give the example."""
        return self.known.sample(size, rng)

    def check_differences(self, suspects: NDArray[np.bool_]) -> None:
        """Look into such columns (d,) of each chunk: one more reading, if there are any."""
        if suspects.any() and isinstance(self.example.matrix, Rows):
            for chunk in self.chunks:
                part = self.form.of(chunk)
                if part:
                    with named(chunk.name):
                        part.check_differences(suspects)

    def check_finite(self) -> None:
        """Find the first NaN or infinity, and say in which chunk: a ValueError."""
        for chunk in self.chunks:
            part = self.form.of(chunk)
            if part:
                with named(chunk.name):
                    part.check_finite()


def checked(rows: int, weight: float) -> tuple[int, float]:
    """Give what a whole reading found, if it is anything."""
    if weight == 0.0:
        raise ValueError("sample_weight is zero in every row; at least one must be positive")
    if weight < 1.0 / MODERATE:
        raise ValueError(f"sample_weight: the sum is {weight:g}; only ratios matter, so scale the weights up")
    return rows, weight


class Given(NamedTuple):
    """Samples that a caller gave, and what is known of them.

    ``loss`` is for as many classes as there are, ``targets`` the columns of y, 0 if it is a vector, and ``cached`` says
    where a stream was kept, if it was.
    """

    source: Source
    loss: Loss
    classes: NDArray[Any] | None
    targets: int
    weighted: bool
    cached: str | None


def open_stream(
    chunks: Chunks,
    form: Form,
    memory_limit: int,
    rng: np.random.Generator,
    scratch: Scratch,
    *,
    cache: str = "auto",
    unsurveyed: int = 0,
    progress: bool = False,
    look: Callable[[], object] = bool,
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
    scratch : Scratch
        Where chunks may be kept.
    cache : {"auto", "disk", "none"}
        Whether data that fit in their share of the memory are kept there, and what was text in the scratch file; or
        anything in that; or nothing.
    unsurveyed : int
        Numbers of features, and the intercept, up to which the moments of all rows will say everything.
    progress : bool
        Whether to show a line while the stream is read.
    look : callable
        Called before every chunk, and every tile; it may raise an exception.
    """
    if cache not in ("auto", "disk", "none"):
        raise ValueError(f"cache={cache!r}; choose 'auto', 'disk' or 'none'")
    chunks.limit(chunk_bytes(memory_limit))
    example, form = peek(chunks, form)
    plain = all(feature.levels is None for feature in form.features or ())
    small = cache == "auto" and UNPACKED * chunks.stored_bytes <= memory_limit / SAMPLE_SHARE
    at_once = plain and not small and example.shape[1] < unsurveyed
    kept = None
    if cache == "disk" or (cache == "auto" and chunks.is_text and not at_once):
        chunks = kept = Kept(chunks, scratch, must=cache == "disk")
    if progress:
        chunks = ShownChunks(chunks)
    source: Source
    if at_once:
        source = Stream(chunks, form, example, look=look)
    else:
        most = memory_limit // SAMPLE_SHARE
        source, form = survey(chunks, form, most, rng, keep_all=cache == "auto", look=look)
    cached = None if kept is None else str(kept)
    if isinstance(source, InMemory):
        scratch.clear()
        cached = f"in memory: the data take at most 1/{SAMPLE_SHARE} of memory_limit"
    return Given(source, form.loss, form.classes, form.outputs or 0, bool(form.weighted), cached)


def chunk_bytes(memory_limit: int) -> int:
    """Say what one chunk from a file may take, of which several are on their way."""
    return max((memory_limit - HELD) // CHUNK_SHARE, memory_limit // (2 * CHUNK_SHARE))


def peek(chunks: Chunks, form: Form) -> tuple[InMemory, Form]:
    """Look at the first chunk that has rows, and say what all others have to look like."""
    iterator = iter(chunks)
    try:
        for chunk in iterator:
            part = form.of(chunk)
            if part:
                return heaviest_of(part), form.learned(part)
    finally:
        if isinstance(iterator, Generator):
            iterator.close()
    raise ValueError("X has no rows")


def survey(
    chunks: Chunks,
    form: Form,
    kept_bytes: int,
    rng: np.random.Generator,
    *,
    keep_all: bool,
    look: Callable[[], object] = bool,
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
    look : callable
        As for `open_stream`.

    Returns
    -------
    tuple
        The samples, and how their chunks are read.
    """
    sampler = Sampler(kept_bytes, rng)
    levels: list[dict[str, None]] = [{} for _ in form.features or ()]
    classes: NDArray[Any] | None = None
    weighted: NDArray[Any] | None = None
    rows, weight, lightest, heaviest = 0, 0.0, np.inf, None
    with closing(read(chunks, form)) as parts:
        for part in parts:
            look()
            for found, feature in zip(levels, part.features or (), strict=True):
                found.update(dict.fromkeys(feature.levels or ()))
            if form.loss.classifies:
                classes = merged_classes(classes, distinct_labels(part.y))
                if (part.weight > 0.0).any():
                    weighted = merged_classes(weighted, distinct_labels(part.y[part.weight > 0.0]))
            if heaviest is None or (part.weight.size and part.weight.max() > heaviest.weight[0]):
                heaviest = heaviest_of(part)
            sampler.add(part)
            rows += part.shape[0]
            weight += part.total_weight()
            if not part.weight.size or part.weight.any():
                lightest = min(lightest, part.lightest())
    checked(rows, weight)
    if classes is not None:
        loss, classes = choose_classes(classes, form.loss)
        if weighted is not None and len(weighted) == 1:
            raise ValueError(one_class_weighs(weighted[0]))
        form = replace(form, loss=loss, classes=classes)
    if form.features is not None:
        known = zip(form.features, levels, strict=True)
        form = replace(form, features=tuple(closed(feature, found) for feature, found in known))
    assert heaviest is not None  # noqa: S101  there are rows
    sample = settled(sampler.pieces, form)
    sample.look = look
    if keep_all and sampler.complete:
        sample.readings = 1.0
        return sample, form
    return Stream(chunks, form, settled([heaviest], form), sample, kept_bytes, rows, weight, lightest, look), form


def closed(feature: Feature, found: dict[str, None]) -> Feature:
    """Give a feature with the levels that were found."""
    return feature if feature.levels is None else feature._replace(levels=tuple(sort_levels(found)))


def merged_classes(classes: NDArray[Any] | None, found: NDArray[Any]) -> NDArray[Any]:
    """Give the labels of two parts; a ValueError refuses text beside numbers, and more than can be classes."""
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


def settled(pieces: list[InMemory], form: Form) -> InMemory:
    """Put pieces together in the form that was found out."""
    whole = together(pieces, form.features)
    if form.classes is None:
        return whole
    return InMemory(
        whole.matrix, coded(whole.y, len(whole.y), form.classes), whole.weight if whole.weight.size else None
    )


def heaviest_of(part: InMemory) -> InMemory:
    """Give the first of the samples that no other outweighs."""
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
        candidates = np.arange(part.shape[0]) if self.complete else positive(part)
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
            self._keep([positive(piece) for piece in self.pieces])
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


def positive(part: InMemory) -> NDArray[np.intp]:
    """Give the rows of positive weight."""
    return np.flatnonzero(part.weight) if part.weight.size else np.arange(part.shape[0])
