"""Chunks that are read again and again: profiled in one pass, and then a data set like any other.

What a table in memory tells at once, chunks tell when they have been read: how many rows there are, the levels of
categories, the classes. So one pass reads them first, and keeps a stratified sample of rows on the way, for warm starts
and preconditioners. If the sample is all of the data, they are in memory from then on. Where nothing has to be known
before (least squares, few features, all numbers) that pass is skipped, unless the data may well fit in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from copy import copy
from dataclasses import replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fastgd._data.chunks import Chunks, ShownChunks, named
from fastgd._data.columns import target_names
from fastgd._data.dataset import SAMPLE_SHARE, InMemory, OpenedDataset, T, no_rows
from fastgd._data.encoder import Encoded, Encoder, OpenRequest
from fastgd._data.schema import DataSpec
from fastgd._data.sparse import Rows
from fastgd._data.spill import SpilledChunks, SpillFile
from fastgd._data.survey import Profile, ProfiledDataset, Sampler, finalize
from fastgd._typing import Floats
from fastgd.losses import LABELS, Loss

CHUNK_SHARE = 24
"""A chunk from a file takes at most one byte in so many of the memory limit beyond `READER_BYTES`."""
READER_BYTES = 1 << 26
"""What readers and allocators hold, however small chunks are."""
EXPANSION = 8
"""Files that are packed well take so many times as much in memory: those that fit are profiled, and kept there."""


class ChunkedDataset(ProfiledDataset):
    """Samples that are read, chunk by chunk, whenever something is asked of them.

    Parameters
    ----------
    chunks : Chunks
    encoder : Encoder
    example : InMemory
        The heaviest of the samples that were looked at, as the encoder gives it.
    profile : Profile or None
        What a pass said of all samples, if there was one.
    sample : InMemory or None
        Drawn from all rows in that pass, all of positive weight.
    pool_bytes : int
        What chunks that are looked at together may take.
    check_interrupt : callable
        Called before every tile; it may raise an exception.
    """

    rereads = True
    around: Floats | None = None

    def __init__(
        self,
        chunks: Chunks,
        encoder: Encoder,
        example: InMemory,
        profile: Profile | None,
        sample: InMemory | None,
        pool_bytes: int,
        check_interrupt: Callable[[], None],
    ) -> None:
        super().__init__(encoder, example, profile)
        self.chunks, self.pool_bytes = chunks, pool_bytes
        self.row_bytes = (sample or example).row_bytes
        self.sample_rows = sample.shape[0] if sample else 0
        self.drawn = sample
        self.check_interrupt = check_interrupt

    @property
    def local_sample(self) -> InMemory:
        """What the first pass kept, or without one the example."""
        return self.drawn or self.example

    def recentred(self, pivot: Floats) -> Self:
        """Return the same samples with dense columns as differences from a pivot, in the order of tiles."""
        other = copy(self)
        other.around, other.example = pivot, self.example.recentred(pivot)
        other.origin = other.example.origin
        other.drawn = None if self.drawn is None else self.drawn.recentred(pivot)
        return other

    def parts(self) -> Generator[InMemory]:
        """Yield all samples, chunk by chunk, and check that they are as many as before."""
        rows, weight = 0, 0.0
        with closing(self.encoder.read(self.chunks)) as parts:
            for encoded in parts:
                part = encoded.part
                if part is None:
                    continue
                part.check_interrupt = self.check_interrupt
                yield part if self.around is None else part.recentred(self.around)
                rows += part.shape[0]
                weight += part.total_weight()
        self.check_same(rows, weight)

    def map_reduce(self, of_part: Callable[[InMemory], T], combine: Callable[[list[T]], T]) -> T:
        """Return what a function gives for the chunks, combined in order: one pass."""
        total: T | None = None
        with closing(self.parts()) as parts:
            for part in parts:
                self.check_interrupt()
                one = of_part(part)
                total = one if total is None else combine([total, one])
        assert total is not None  # noqa: S101  there are rows
        return total

    def sample(self, size: int, rng: np.random.Generator) -> InMemory:
        """Draw rows from those that the first pass kept, or without one return the example."""
        return self.local_sample.sample(size, rng)

    def check_differences(self, suspects: NDArray[np.bool_]) -> None:
        """Raise ValueError for a column among these (d,) that is not constant: one more pass, if there are any."""
        if suspects.any() and isinstance(self.example.design, Rows):
            self._check_parts(lambda part: part.check_differences(suspects))

    def check_finite(self) -> None:
        """Raise ValueError naming the chunk, row and column of the first NaN or infinity."""
        self._check_parts(InMemory.check_finite)

    def _check_parts(self, check: Callable[[InMemory], None]) -> None:
        for chunk in self.chunks:
            part = self.encoder.encode(chunk).part
            if part:
                with named(chunk.name):
                    check(part)


def open_chunks(chunks: Chunks, request: OpenRequest) -> OpenedDataset:
    """Open chunks as a data set: by a first pass, or if they have few features, all numbers, by the first chunk."""
    spec, session = replace(request.spec, target=chunks.target, clusters=chunks.clusters), request.session
    request = request._replace(spec=spec)
    if spec.cache not in ("auto", "disk", "none"):
        raise ValueError(f"cache={spec.cache!r}; choose 'auto', 'disk' or 'none'")
    memory, automatic = spec.memory_bytes, spec.cache == "auto"
    chunks.limit(chunk_bytes(memory))
    chunks.expect(_known_kinds(chunks, spec, request.loss))
    place = chunks.place
    example, encoder = first_chunk(chunks, request.encoder)
    may_fit = automatic and EXPANSION * chunks.stored_bytes <= memory / SAMPLE_SHARE
    skip_profile = not may_fit and request.can_skip_profile(encoder)
    spilled = None
    if spec.cache == "disk" or (automatic and chunks.is_text and not skip_profile):
        spill = session.resources.enter_context(SpillFile())
        chunks = spilled = SpilledChunks(chunks, spill, must=spec.cache == "disk")
    if session.show_progress:
        chunks = ShownChunks(chunks)
    if skip_profile:
        dataset = ChunkedDataset(chunks, encoder, example, None, None, 0, session.check_interrupt)
        return encoder.opened(dataset, None if spilled is None else str(spilled))
    sampler = Sampler(memory // SAMPLE_SHARE, session.rng)
    profile = profile_chunks(chunks, encoder, sampler, session.check_interrupt)
    encoder = profile.finish(encoder, place)
    sample = finalize(sampler.pieces, encoder)
    sample.check_interrupt = session.check_interrupt
    if automatic and sampler.complete:
        if spilled is not None:
            spilled.forget()
        sample.passes = 1.0
        where = f"in memory: the data take at most 1/{SAMPLE_SHARE} of memory_limit"
        return encoder.opened(sample, where, profile.dropped)
    assert profile.heaviest is not None  # noqa: S101  there are rows
    heaviest = finalize([profile.heaviest], encoder)
    dataset = ChunkedDataset(
        chunks, encoder, heaviest, profile, sample, memory // SAMPLE_SHARE, session.check_interrupt
    )
    return encoder.opened(dataset, None if spilled is None else str(spilled), profile.dropped)


def _known_kinds(chunks: Chunks, spec: DataSpec, loss: Loss) -> dict[str, str]:
    """Return what is known of columns before they are read: categories by name, clusters, and targets of numbers."""
    kinds = {} if isinstance(spec.categorical, str) else dict.fromkeys(spec.categorical, "text")
    if spec.clusters and spec.clusters != spec.target and spec.clusters not in chunks.features:
        kinds.setdefault(spec.clusters, "text")
    return {spec.target: "numbers", **kinds} if spec.target and loss.target is not LABELS else kinds


def chunk_bytes(memory_limit: int) -> int:
    """Return what one chunk from a file may take, of which several are on their way."""
    return max((memory_limit - READER_BYTES) // CHUNK_SHARE, memory_limit // (2 * CHUNK_SHARE))


def first_chunk(chunks: Chunks, encoder: Encoder) -> tuple[InMemory, Encoder]:
    """Return the heaviest row of a chunk, and the encoder that the chunk implies for all others.

    It is the first that has rows, and in which every column has a value, so that its type is known; if there is none,
    the first that has rows.
    """
    iterator, dropped, first = iter(chunks), 0, None
    names: tuple[str, ...] = ()
    try:
        for chunk in iterator:
            encoded = encoder.encode(chunk)
            dropped += encoded.dropped
            first, names = first or encoded.part, names or target_names(chunk.y)
            if encoded.part and all(feature.levels != () for feature in encoded.part.features or ()):
                first = encoded.part
                break
    finally:
        if isinstance(iterator, Generator):
            iterator.close()
    if first is None:
        raise ValueError(no_rows(dropped))
    return first.heaviest_row(), replace(encoder.implied_by(first), target_names=names)


def profile_chunks(chunks: Chunks, encoder: Encoder, sampler: Sampler, check_interrupt: Callable[[], None]) -> Profile:
    """Return the profile of all chunks, and have a sampler draw rows from them: one pass.

    ``check_interrupt`` is called before every chunk; it may raise an exception.
    """
    profile = Profile.of(Encoded(None), encoder)._replace(candidates=[])
    with closing(encoder.read(chunks)) as parts:
        for encoded in parts:
            check_interrupt()
            profile = profile.merge(Profile.of(encoded, encoder))
            if encoded.part is not None:
                sampler.add(encoded.part)
    return profile
