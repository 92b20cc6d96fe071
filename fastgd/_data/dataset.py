"""Samples that stand out, picked in one reading wherever they live."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial, reduce
from mmap import mmap
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastgd._data.design import COPY_BYTES, Matrix, check_finite, spans
from fastgd._data.schema import Feature
from fastgd._kernels.layout import Tile
from fastgd._typing import Floats
from fastgd.losses import Loss


def check_not_empty(matrix: Matrix | Source) -> None:
    """Refuse X without rows or without features."""
    if 0 in matrix.shape:
        alone = "; all its columns are categories of one level, the reference" if matrix.features else ""
        raise ValueError(f"X has shape {matrix.shape}; at least one row and one feature are needed{alone}")


class Picked(NamedTuple):
    """What is wanted of some samples, (k, ...), and by what they stand out, (kinds, k): the larger, the more."""

    keys: Floats
    rows: Floats


def pick(source: Source, of_part: Callable[[InMemory], Picked], most: int) -> Picked:
    """Give the samples of all parts whose keys, of any kind, are among the ``most`` largest, in order."""
    found: Picked = source.reduce(of_part, partial(_of_all, most))
    return found


def leading(keys: Floats, most: int) -> NDArray[np.intp]:
    """Say, in order, which samples those are."""
    if keys.shape[1] <= most:
        return np.arange(keys.shape[1])
    return np.unique(np.argpartition(-keys, most, axis=1)[:, :most])


def _of_all(most: int, several: list[Picked]) -> Picked:
    keys, rows = (np.concatenate(each, axis) for each, axis in zip(zip(*several, strict=True), (1, 0), strict=True))
    kept = leading(keys, most)
    return Picked(keys[:, kept], rows[kept])


T = TypeVar("T")
LEAST_TILE = 16  # blocks at least, for threads to share, where a visit is so much work that tiles are made smaller


class Source(Protocol):
    """Samples with targets and weights, wherever they live.

    Whatever is asked of them is a sum over **parts**, samples in memory: in this process, one after the other (a
    stream), or each in its own (a cluster). A source elsewhere implements `reduce` and `sample`; the rest is small.

    Attributes
    ----------
    shape : tuple of int
        (n, d); n is what has been seen so far if nothing has read all samples yet.
    row_bytes : float
        What a row takes in memory, as it is read.
    sample_rows : int
        The most rows that `sample` can give.
    readings : float
        Spent to get to know the samples, before anything was asked of them.
    fault : BaseException, or None
        What ended the readings, if whoever holds the samples is gone.
    order, features, copied
        As for `Matrix`.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    row_bytes: float
    sample_rows: int
    readings: float = 0.0
    fault: BaseException | None = None
    order: NDArray[np.intp] | None = None
    features: tuple[Feature, ...] | None = None
    copied: str | None = None

    @property
    def known(self) -> InMemory:
        """Samples that can be looked at without a reading."""

    def reduce(self, of_part: Callable[[InMemory], T], combine: Callable[[list[T]], T]) -> T:
        """Put together what a function gives for the parts, each in memory, in a fixed order: one reading.

        ``combine`` makes one of several that follow each other. The functions keep nothing from one part to the next,
        so parts can be far apart.
        """

    def add_up(self, of_part: Callable[[InMemory], Floats]) -> Floats:
        """Add up what a function gives for the parts: one reading."""
        return self.reduce(of_part, _sum)

    def fold(self, visit: Callable[[Tile, int], Floats], work: float = 1.0) -> Floats:
        """Call ``visit(tile, block_rows)`` on every tile and add up the rows of sums that it gives, in order.

        A visit that takes ``work`` times as long as that of a pass has smaller tiles.
        """
        return self.add_up(lambda part: part.fold(visit, work))

    def total_weight(self) -> float:
        """Give the sum of the weights, without reading X."""

    def lightest(self) -> float:
        """Give the smallest positive weight, without reading X."""

    def pivot(self) -> tuple[Floats, Floats]:
        """Give the dense features and the targets of a sample that no other, or not many, outweigh."""

    def sample(self, size: int, rng: np.random.Generator) -> InMemory:
        """Draw samples of positive weight at random; all of them, or `sample_rows`, if there are no more."""

    def check_finite(self) -> None:
        """Find the first NaN or infinity in X, and say where it stands: a ValueError."""

    def check_differences(self, suspects: NDArray[np.bool_]) -> None:
        """Refuse columns (d,) that sums show as constant but that are not: a ValueError."""


class InMemory(Source):
    """Samples in memory: a matrix, and the arrays of targets, (n,) or (n, targets), and weights.

    ``look`` is called before every tile; it may raise an exception. Where X lies on disk and is only mapped into
    memory, ``sample_rows`` says how many rows a sample may have: it is copied, because rows here and there cost as much
    to read as all of them.
    """

    def __init__(
        self,
        matrix: Matrix,
        y: NDArray[Any],
        weight: Floats | None = None,
        *,
        look: Callable[[], object] = bool,
        sample_rows: int | None = None,
    ) -> None:
        self.matrix = matrix
        self.shape = matrix.shape
        self.dtype = matrix.dtype
        self.row_bytes = matrix.row_bytes
        self.y = y
        self.weight = np.empty(0) if weight is None else weight
        self.look = look
        self.mapped = sample_rows is not None
        self.sample_rows = self.shape[0] if sample_rows is None else sample_rows
        self.order, self.features, self.copied = matrix.order, matrix.features, matrix.copied

    @property
    def known(self) -> InMemory:
        """These samples; not an attribute, as what refers to itself stays in memory for a while."""
        return self

    def reduce(self, of_part: Callable[[InMemory], T], combine: Callable[[list[T]], T]) -> T:  # noqa: ARG002
        """Give what a function gives for these samples, which are one part."""
        return of_part(self)

    def lightest(self) -> float:
        """Give the smallest positive weight."""
        return float(self.weight[self.weight > 0.0].min()) if self.weight.size else 1.0

    def fold(self, visit: Callable[[Tile, int], Floats], work: float = 1.0) -> Floats:
        """Call ``visit(tile, block_rows)`` on every tile and add up the rows of sums that it gives, in order.

        A visit that takes ``work`` times as long as that of a pass has smaller tiles.
        """
        block_rows = self.matrix.block_rows
        total: Floats | None = None
        least = min(self.matrix.tile_bytes, LEAST_TILE * block_rows * self.row_bytes)
        for start, stop in spans(self.matrix, int(max(self.matrix.tile_bytes / max(1.0, work), least)), block_rows):
            self.look()
            X, rows, entries = self.matrix.place(start, stop)
            y = _as_targets(self.y[start:stop])
            partial = visit(Tile(X, y, self.weight[start:stop], rows, entries), block_rows)
            if total is not None:
                partial[0] += total  # carried into the first row, so that tiles leave no trace in the rounding
            total = np.add.reduce(partial, axis=0)
        assert total is not None  # noqa: S101  there is at least one row
        return total

    def total_weight(self) -> float:
        """Give the sum of the weights, without reading X."""
        return float(self.weight.sum()) if self.weight.size else float(self.shape[0])

    def pivot(self) -> tuple[Floats, Floats]:
        """Give the dense features and the targets of a sample that no other outweighs."""
        row = int(np.argmax(self.weight)) if self.weight.size else 0
        X, rows, _ = self.matrix.place(row, row + 1)
        return X[rows[0] if rows.size else 0].astype(np.float64), np.atleast_1d(self.y[row]).astype(np.float64)

    @cached_property
    def _targets(self) -> Floats:
        """The targets as tiles have them, kept: short runs come too often to convert them each time."""
        return _as_targets(self.y)

    def runs(self, starts: NDArray[np.intp], run_rows: int) -> tuple[Tile, NDArray[np.intp]]:
        """Give a tile that holds runs of rows, and where in it they start: X as it lies, or gathered and converted.

        ``starts`` ascend; only the run at the end of the data may be shorter than ``run_rows``.
        """
        self.look()
        n = self.shape[0]
        if self.matrix.tile_bytes != COPY_BYTES:
            X, rows, entries = self.matrix.place(0, n)
            return Tile(X, self._targets, self.weight, rows, entries), starts
        index = (starts[:, None] + np.arange(run_rows)).ravel()
        index = index[index < n]
        X, rows, entries = self.matrix.take(index).place(0, len(index))
        weight = self.weight[index] if self.weight.size else self.weight
        tile = Tile(X, np.ascontiguousarray(self._targets[..., index]), weight, rows, entries)
        return tile, np.arange(len(starts)) * run_rows

    def check_finite(self) -> None:
        """Find the first NaN or infinity in X, and say where it stands: a ValueError."""
        check_finite(self.matrix)

    def check_differences(self, suspects: NDArray[np.bool_]) -> None:
        """Refuse columns (d,) that sums show as constant but that are not: a ValueError."""
        self.matrix.check_differences(suspects)

    def rows(self, rows: NDArray[np.intp]) -> InMemory:
        """Give some of the samples."""
        if self.mapped:
            return self.picked(rows)
        weight = self.weight[rows] if self.weight.size else None
        return InMemory(self.matrix.some(rows), self.y[rows], weight, look=self.look)

    def picked(self, rows: NDArray[np.intp]) -> InMemory:
        """Copy some of the samples."""
        weight = self.weight[rows] if self.weight.size else None
        return InMemory(self.matrix.take(rows), self.y[rows], weight, look=self.look)

    def by_rows(self) -> InMemory:
        """Give the same samples so that tiles have rows."""
        return InMemory(self.matrix.by_rows(), self.y, self.weight, look=self.look)

    def sample(self, size: int, rng: np.random.Generator) -> InMemory:
        """Draw samples of positive weight at random; all of them if there are no more than ``size``."""
        rows = np.flatnonzero(self.weight) if self.weight.size else None
        n = self.shape[0] if rows is None else len(rows)
        size = min(size, self.sample_rows)
        if size >= n:
            return self if rows is None else self.rows(rows)
        drawn = stratified_rows(n, size, rng)
        return self.rows(drawn if rows is None else rows[drawn])


def _sum(several: list[Floats]) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):  # who asked for the sums looks at them
        return reduce(np.add, several)


def _as_targets(y: NDArray[Any]) -> Floats:
    """Give targets (n,) or (n, targets) as tiles have them: float64, one row for each kind of target."""
    return np.require(y.T, np.float64, ["C", "ALIGNED"])


def stratified_rows(n: int, size: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw one row at random from each of ``size`` equal stretches of n rows: without repetition, in order, in O(size).

    A sorted file is sampled evenly along its order.
    """
    rows = rng.random(size)
    rows += np.arange(size)
    rows *= n / size
    return rows.astype(np.intp)


def is_mapped(X: Any) -> bool:
    """Tell whether an array lies in a file that is mapped into memory."""
    while isinstance(X, np.ndarray):
        X = X.base
    return isinstance(X, mmap)


SAMPLE_SHARE = 8  # of the limit, that the survey keeps, which is put together by a copy


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
