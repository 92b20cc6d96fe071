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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data.chunks import Chunks, ShownChunks, named
from fastgd._data.dataset import SAMPLE_SHARE, Given, InMemory, Source, T
from fastgd._data.encoder import Form, distinct_labels, read
from fastgd._data.sparse import Rows
from fastgd._data.spill import Kept, Scratch
from fastgd._data.survey import Sampler, Surveyed, checked, closed, heaviest_of, merged_classes, settled
from fastgd._data.targets import choose_classes, one_class_weighs

CHUNK_SHARE = 24  # of the memory limit beyond `HELD`, that one chunk from a file takes, at least half as much of all
HELD = 1 << 26  # what readers and allocators hold, however small chunks are
UNPACKED = 8  # times as much as files that are packed well take in memory: those that fit are surveyed, and kept there


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
