"""What one pass over a data set finds out: rows, weights, levels, classes, and a sample of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.dataset import Dataset, InMemory, no_rows
from fastgd._data.design import Design, Subset
from fastgd._data.missing import filled
from fastgd._data.plausible import Occurrences, Place, check_category, check_labels, in_row
from fastgd._data.schema import Feature
from fastgd._data.tables import Table, concat_designs, pack_columns, sort_levels
from fastgd._data.targets import MAX_WEIGHT, check_several_weigh, choose_classes, encode_labels
from fastgd._typing import Floats
from fastgd.losses import LABELS

if TYPE_CHECKING:
    from fastgd._data.encoder import Encoded, Encoder

MAX_CLASSES = 10_000
"""Different labels that chunks may have: more are a mistake, and would not fit in memory."""


class Profile(NamedTuple):
    """What one pass says of some samples, in a form that can be merged.

    Attributes
    ----------
    rows : int
    weight : float
        The sum of the weights.
    min_weight : float
        The smallest positive weight, infinite if there is none.
    bytes : float
        What X takes in memory.
    heaviest : InMemory or None
        The first row that no other outweighs.
    candidates : list of int
        Of each part the number of rows of positive weight.
    classes, weighted_classes : ndarray or None
        The labels that occur, and those of samples of positive weight, where targets are labels.
    levels : list of dict
        Of each column of a table the levels that occur.
    occurrences : list of Occurrences, or None
        Of each column the rows in which its levels occur; None of numbers, and of what is declared to be a category.
    labels : Occurrences or None
        The same of targets that are labels of text.
    counts : ndarray of shape (columns, 3), or None
        As `count_values` has them, where missing values are filled in.
    dropped : int
        Rows that were left out, as something is missing in them.
    """

    rows: int
    weight: float
    min_weight: float
    bytes: float
    heaviest: InMemory | None
    candidates: list[int]
    classes: NDArray[Any] | None
    weighted_classes: NDArray[Any] | None
    levels: list[dict[str, None]]
    occurrences: list[Occurrences | None]
    labels: Occurrences | None = None
    counts: Floats | None = None
    dropped: int = 0

    @classmethod
    def of(cls, encoded: Encoded, encoder: Encoder) -> Profile:
        """Return the profile of one part."""
        part, dropped = encoded.part, encoded.dropped
        if part is None:
            none: list[Any] = [{} for _ in encoder.features or ()]
            return cls(0, 0.0, np.inf, 0.0, None, [0], None, None, none, [None for _ in none], dropped=dropped)
        some_weight = not part.weight.size or bool(part.weight.any())
        labels = encoder.loss.target is LABELS
        weighted = part.y[part.weight > 0.0] if labels and part.weight.any() else None
        return cls(
            part.shape[0],
            part.total_weight(),
            part.min_weight() if some_weight else np.inf,
            part.shape[0] * part.row_bytes,
            part.heaviest_row(),
            [len(part.positive_rows)],
            distinct_labels(part.y) if labels else None,
            None if weighted is None else distinct_labels(weighted),
            [dict.fromkeys(feature.levels or ()) for feature in part.features or ()],
            occurrences(part.design, encoded.rows)
            if encoder.spec.categories == "auto"
            else [None for _ in part.features or ()],
            _occurrences_of_labels(part.y, encoded.rows) if labels and part.y.dtype.kind == "U" else None,
            encoded.counts,
            dropped,
        )

    def merge(self, other: Profile) -> Profile:
        """Return the profile of these samples followed by others."""
        if self.heaviest is None or other.heaviest is None:
            more = other if self.heaviest is None else self
            return more._replace(candidates=self.candidates + other.candidates, dropped=self.dropped + other.dropped)
        outweighs = other.heaviest.weight.size and other.heaviest.weight[0] > self.heaviest.weight[0]
        return Profile(
            self.rows + other.rows,
            self.weight + other.weight,
            min(self.min_weight, other.min_weight),
            self.bytes + other.bytes,
            other.heaviest if outweighs else self.heaviest,
            self.candidates + other.candidates,
            _merge_labels(self.classes, other.classes),
            _merge_labels(self.weighted_classes, other.weighted_classes),
            [{**one, **more} for one, more in zip(self.levels, other.levels, strict=True)],
            [
                one and more and one.merge(more, self.rows + self.dropped)
                for one, more in zip(self.occurrences, other.occurrences, strict=True)
            ],
            self.labels and other.labels and self.labels.merge(other.labels, self.rows + self.dropped),
            None if self.counts is None or other.counts is None else self.counts + other.counts,
            self.dropped + other.dropped,
        )

    @staticmethod
    def merge_all(several: list[Profile]) -> Profile:
        """Return the profile of all samples, in order."""
        return reduce(Profile.merge, several)

    def finish(self, encoder: Encoder, place: Place = in_row) -> Encoder:
        """Return the encoder with all that it did not know; a ValueError says why there can be no fit.

        ``place`` maps a column, a level and a row to how messages name that place.
        """
        if not self.rows:
            raise ValueError(no_rows(self.dropped))
        check_total_weight(self.weight)
        if self.classes is not None:
            if self.labels is not None and not encoder.spec.labels_declared:
                check_labels(encoder.spec.target or "y", self.classes.tolist(), self.labels, place)
            loss, classes = choose_classes(self.classes, encoder.loss)
            check_several_weigh(self.weighted_classes)
            encoder = replace(encoder, loss=loss, classes=classes)
        if encoder.features is None:
            return replace(encoder, finished=True)
        found = zip(encoder.features, self.levels, strict=True)
        features = tuple(_with_levels(feature, levels) for feature, levels in found)
        if encoder.spec.categories == "auto":
            check_categories(features, self.occurrences, place)
        if self.counts is not None:
            features = filled(features, self.counts)
        return replace(encoder, features=features, finished=True)


def occurrences(design: Design, rows: NDArray[np.intp] | None = None) -> list[Occurrences | None]:
    """Return the rows in which the levels of a table's columns occur, None for numbers and declared categories.

    ``rows`` are the numbers of the table's rows, if some were left out before.
    """
    if isinstance(design, Subset):
        rows, design = design.index, design.design
    if not isinstance(design, Table):
        return [None for _ in design.features or ()]
    taken = slice(None) if rows is None or len(rows) == design.shape[0] else rows
    return [
        None if feature.levels is None or declared else Occurrences.of(feature.levels, values[taken]).at(rows)
        for feature, values, declared, _ in design.columns
    ]


def check_categories(features: Sequence[Feature], found: Sequence[Occurrences | None], place: Place = in_row) -> None:
    """Raise ValueError for a column of text that is hardly meant as a category."""
    for feature, own in zip(features, found, strict=True):
        if own is not None:
            check_category(feature.name, feature.levels or (), own, place)


def _occurrences_of_labels(labels: NDArray[Any], rows: NDArray[np.intp] | None) -> Occurrences:
    """Return the rows in which labels of text occur."""
    distinct, codes = np.unique(labels, return_inverse=True)
    return Occurrences.of(distinct.tolist(), codes).at(rows)


class ProfiledDataset(Dataset):
    """Samples that are read anew for every sum: what is known of them, and whether each pass finds the same.

    Parameters
    ----------
    encoder : Encoder
    example : InMemory
        The heaviest of the samples that were looked at.
    profile : Profile or None
        What a pass said of all samples, if there was one.
    """

    def __init__(self, encoder: Encoder, example: InMemory, profile: Profile | None) -> None:
        self.encoder = encoder
        self.example = example
        self.rows = profile.rows if profile else None
        self.weight = profile.weight if profile else None
        self.least_weight = profile.min_weight if profile else 1.0
        self.passes = 1.0 if profile else 0.0
        self.dtype, self.order = example.dtype, example.order
        self.features, self.copied = example.features, example.copied

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows, 1 if nothing has read all of them yet, and of coefficients."""
        return self.example.shape[0] if self.rows is None else self.rows, self.example.shape[1]

    @property
    def known(self) -> bool:
        """Whether a pass has read all samples."""
        return self.rows is not None

    def check_same(self, rows: int, weight: float) -> None:
        """Raise ValueError if a whole pass found other rows or weights than the first one."""
        if self.rows is None:
            check_total_weight(weight)
            self.rows, self.weight = rows, weight
        elif rows != self.rows or weight != self.weight:
            what = f"{rows} rows instead of {self.rows}" if rows != self.rows else "other weights"
            raise ValueError(f"X changed while it was read: the last pass found {what}")

    def total_weight(self) -> float:
        """Return the sum of the weights."""
        if self.weight is None:
            raise RuntimeError("the samples have not been read yet")
        return self.weight

    def min_weight(self) -> float:
        """Return the smallest positive weight."""
        return self.least_weight

    def pivot(self) -> tuple[Floats, Floats]:
        """Return dense features and targets of the heaviest sample that was looked at."""
        return self.example.pivot()


def check_total_weight(weight: float) -> None:
    """Raise ValueError if the samples of a whole pass weigh too little."""
    if weight == 0.0:
        raise ValueError("sample_weight is zero in every row; at least one must be positive")
    if weight < 1.0 / MAX_WEIGHT:
        raise ValueError(f"sample_weight: the sum is {weight:g}; only ratios matter, so scale the weights up")


def distinct_labels(labels: NDArray[Any]) -> NDArray[Any]:
    """Return the labels that occur, sorted."""
    if labels.dtype.kind != "U":
        low, high = labels.min(), labels.max()
        if bool(np.all((labels == low) | (labels == high))):
            return np.unique(np.array([low, high], labels.dtype))
    return np.unique(labels)


def _merge_labels(labels: NDArray[Any] | None, others: NDArray[Any] | None) -> NDArray[Any] | None:
    """Return the labels of two parts; a ValueError refuses text beside numbers, and more than can be classes."""
    if labels is None or others is None:
        return others if labels is None else labels
    if (labels.dtype.kind == "U") != (others.dtype.kind == "U"):
        raise ValueError("y has text in some chunks and numbers in others; convert them to one type")
    merged = np.union1d(labels, others)
    if len(merged) > MAX_CLASSES:
        some = ", ".join(map(str, merged[:5].tolist()))
        raise ValueError(f"y has more than {MAX_CLASSES} different values: {some}, ...; are they classes?")
    return merged


def _with_levels(feature: Feature, found: dict[str, None]) -> Feature:
    return feature if feature.levels is None else feature._replace(levels=tuple(sort_levels(found)))


def concat(pieces: list[InMemory], features: tuple[Feature, ...] | None) -> InMemory:
    """Return pieces put together by a copy, with the levels that all of them have."""
    design = concat_designs([piece.design for piece in pieces], features)
    y = np.concatenate([piece.y for piece in pieces])
    weight = np.concatenate([piece.weight for piece in pieces])
    groups = None if pieces[0].groups is None else np.concatenate([piece.groups for piece in pieces])
    return InMemory(design, y, weight if weight.size else None, groups=groups)


def finalize(pieces: list[InMemory], encoder: Encoder) -> InMemory:
    """Return pieces put together by a copy, with all levels and labels as the finished encoder has them."""
    whole = concat(pieces, encoder.features)
    labels = whole.y if encoder.classes is None else encode_labels(whole.y, len(whole.y), encoder.classes)
    weight = whole.weight if whole.weight.size else None
    return InMemory(pack_columns(whole.design), labels, weight, groups=whole.groups)


class Sampler:
    """A sample of rows that grows while chunks are read: one row at random from each **stretch** of as many rows.

    Rows are drawn without repetition, evenly along the chunks. Stretches are one row long, so that all rows are kept,
    until they take more than ``most_bytes``. Then rows of weight 0 are dropped and no longer counted, and as often as
    needed two stretches become one, and of their rows one is drawn.

    Parameters
    ----------
    most_bytes : int
    rng : Generator
    """

    def __init__(self, most_bytes: int, rng: np.random.Generator) -> None:
        self.most_bytes = most_bytes
        self.rng = rng
        self.stretch = 1
        self.begun = 0  # stretches of which a row has been drawn
        self.pending = np.empty(0, np.intp)  # the row of the last of them, if it has not come yet
        self.passed = 0  # rows seen so far
        self.complete = True
        self.pieces: list[InMemory] = []

    def add(self, part: InMemory) -> None:
        """Take from a chunk the rows that are drawn."""
        candidates = np.arange(part.shape[0]) if self.complete else part.positive_rows
        end = self.passed + len(candidates)
        until = -(-end // self.stretch)
        begin = np.arange(self.begun, until) * self.stretch
        drawn = np.concatenate((self.pending, self._within(begin)))
        self.begun = until
        self.pending, drawn = drawn[drawn >= end], drawn[drawn < end]
        if len(drawn):
            self.pieces.append(part.take(candidates[drawn - self.passed], copy=True))
        self.passed = end
        if self.complete and self._bytes() > self.most_bytes:
            self.complete = False
            self._keep([piece.positive_rows for piece in self.pieces])
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
        self.pieces = [piece.take(kept, copy=True) for piece, kept in pairs if len(kept)]

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
