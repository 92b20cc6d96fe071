"""What the first pass over a data set finds out: rows, weights, levels, classes, and a sample of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data.dataset import InMemory, Source
from fastgd._data.encoder import Form
from fastgd._data.schema import Feature
from fastgd._data.tables import joined, sort_levels
from fastgd._data.targets import MODERATE, coded
from fastgd._typing import Floats

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


def checked(rows: int, weight: float) -> tuple[int, float]:
    """Give what a whole reading found, if it is anything."""
    if weight == 0.0:
        raise ValueError("sample_weight is zero in every row; at least one must be positive")
    if weight < 1.0 / MODERATE:
        raise ValueError(f"sample_weight: the sum is {weight:g}; only ratios matter, so scale the weights up")
    return rows, weight


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
