"""Where samples live. A data set adds up a function over its samples, in a fixed order.

Partial sums are added block by block, so the size of a tile changes no bit of the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property, partial, reduce
from mmap import mmap
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastgd._data.design import COPY_BYTES, Design, Recentred, check_finite, tile_ranges
from fastgd._data.schema import Feature
from fastgd._kernels.layout import Tile
from fastgd._optim.base import Need
from fastgd._typing import Floats
from fastgd._utils.interrupts import no_check
from fastgd._utils.linalg import EPS
from fastgd._utils.validation import STRETCH_ROWS
from fastgd.losses import Loss

T = TypeVar("T")
MIN_TILE_BLOCKS = 16
"""Blocks of a tile at least where a visit is so much work that tiles are made smaller: threads share them."""
SAMPLE_SHARE = 8
"""A sample of the rows takes at most one byte in so many of the memory limit."""

FAR = 1e4
"""Standard deviations from 0 beyond which a column is taken about a pivot."""
FAR_VALUE = 1e3
"""If no number of an example is larger, no column is looked at."""
FAR_ROWS = 500
"""Rows by which columns are judged."""
MAX_FAR = 1e150
"""Numbers whose squares do not overflow."""


class Dataset(ABC):
    """Samples with targets and weights, wherever they live.

    Whatever is asked of them is a sum over **parts**, samples in memory: one part, chunks that are read one after the
    other, or partitions each in a process of its own. A data set that lives elsewhere implements `map_reduce`, `sample`
    and the few questions that need no pass.

    Attributes
    ----------
    shape : tuple of int
        (n, d); n is what has been seen so far if nothing has read all samples yet.
    dtype : dtype
        Of the tiles.
    row_bytes : float
        What a row takes in memory, as it is read.
    sample_rows : int
        The most rows that `sample` can give.
    passes : float
        Passes spent to get to know the samples, before anything was asked of them.
    fault : BaseException or None
        What ended the passes, if whoever holds the samples is gone.
    order, features, copied, origin
        As for `Design`.
    rereads : bool
        Whether each pass reads chunks from where they are stored, so that a larger sub-sample pays.
    """

    dtype: np.dtype[Any]
    row_bytes: float
    sample_rows: int
    passes: float = 0.0
    fault: BaseException | None = None
    order: NDArray[np.intp] | None = None
    features: tuple[Feature, ...] | None = None
    copied: str | None = None
    rereads: bool = False
    origin: Floats | None = None

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and of coefficients."""

    @property
    def known(self) -> bool:
        """Whether it is known how many rows there are."""
        return True

    @property
    def rounding(self) -> float:
        """The rounding unit of the numbers as they are stored."""
        return float(np.finfo(self.dtype).eps)

    @property
    @abstractmethod
    def local_sample(self) -> InMemory:
        """Samples that can be looked at without a pass."""

    @abstractmethod
    def map_reduce(self, of_part: Callable[[InMemory], T], combine: Callable[[list[T]], T]) -> T:
        """Return what a function gives for the parts, combined in a fixed order: one pass.

        ``combine`` makes one result of several that follow each other. The functions keep nothing from one part to the
        next, so that parts can be in different processes.
        """

    @abstractmethod
    def total_weight(self) -> float:
        """Return the sum of the weights, without a pass."""

    @abstractmethod
    def min_weight(self) -> float:
        """Return the smallest positive weight, without a pass."""

    @abstractmethod
    def pivot(self) -> tuple[Floats, Floats]:
        """Return dense features and targets of a row that no other, or not many, outweigh."""

    @abstractmethod
    def sample(self, size: int, rng: np.random.Generator) -> InMemory:
        """Draw rows of positive weight at random; all of them, or `sample_rows`, if there are no more."""

    def representative(self, size: int, rng: np.random.Generator, *, classes: int = 0, levels: int = 0) -> InMemory:
        """Draw rows at random as `sample` does, more of them from rare classes and levels, if rows are at hand.

        Weights make up for that: a row that was drawn with a probability weighs as much more than it did.

        Parameters
        ----------
        size : int
            Rows, not counting those that are drawn because they are rare.
        rng : Generator
        classes, levels : int
            Rows that each class of y, 0, 1, ..., and each level of a category has at least, or all; 0 for any number.
        """
        del classes, levels
        return self.sample(size, rng)

    @abstractmethod
    def check_finite(self) -> None:
        """Raise ValueError naming row and column of the first NaN or infinity in X, if there is one."""

    @abstractmethod
    def check_differences(self, suspects: NDArray[np.bool_]) -> None:
        """Raise ValueError for a column among these (d,) that sums show as constant, but that is not."""

    @abstractmethod
    def recentred(self, pivot: Floats) -> Self:
        """Return the same samples with dense columns as differences from a pivot, in the order of tiles."""

    def require(self, needs: frozenset[Need]) -> None:  # noqa: B027  most data sets offer everything
        """Raise ValueError if these samples cannot give what a solver needs, and say what to choose instead."""

    def sum(self, of_part: Callable[[InMemory], Floats]) -> Floats:
        """Return the sum of what a function gives for the parts: one pass."""
        return self.map_reduce(of_part, _sum)

    def sum_tiles(self, visit: Callable[[Tile, int], Floats], work: float = 1.0) -> Floats:
        """Call ``visit(tile, block_rows)`` on every tile, and return the sum of the rows that it gives: one pass.

        Parameters
        ----------
        visit : callable
            Gives an array of one row for each block of the tile.
        work : float
            How long a visit takes, in units of a pass; if it takes longer, tiles are smaller.
        """
        return self.sum(lambda part: part.sum_tiles(visit, work))

    def to_tile_order(self, coef: Floats) -> Floats:
        """Return coefficients (k, d), given in the caller's order of columns, in that of tiles."""
        if self.order is None:
            return coef
        tiled = np.empty_like(coef)
        tiled[:, self.order] = coef
        return tiled

    def to_caller_order(self, columns: NDArray[Any]) -> NDArray[Any]:
        """Return an array (..., d), with columns in the order of tiles, in the caller's order."""
        return columns if self.order is None else columns[..., self.order]


class InMemory(Dataset):
    """Samples in memory: a design, and the arrays of targets, (n,) or (n, targets), and weights.

    Parameters
    ----------
    design : Design
    y : ndarray of shape (n,) or (n, targets)
    weight : ndarray of shape (n,), optional
    check_interrupt : callable
        Called before every tile; it may raise an exception.
    sample_rows : int, optional
        Given where X lies on disk and is only mapped into memory: how many rows a sample may have. It is copied,
        because rows here and there cost as much to read as all of them.
    groups : ndarray of shape (n,), optional
        The cluster of each row, for standard errors.
    """

    def __init__(
        self,
        design: Design,
        y: NDArray[Any],
        weight: Floats | None = None,
        *,
        check_interrupt: Callable[[], None] = no_check,
        sample_rows: int | None = None,
        groups: NDArray[Any] | None = None,
    ) -> None:
        self.design = design
        self.groups = groups
        self.dtype = design.dtype
        self.row_bytes = design.row_bytes
        self.y = y
        self.weight = np.empty(0) if weight is None else weight
        self.check_interrupt = check_interrupt
        self.mapped = sample_rows is not None
        self.sample_rows = self.shape[0] if sample_rows is None else sample_rows
        self.order, self.features = design.order, design.features
        self.copied, self.origin = design.copied, design.origin

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and of coefficients."""
        return self.design.shape

    @property
    def rounding(self) -> float:
        """The rounding unit of the numbers as they are stored."""
        return self.design.rounding

    @property
    def local_sample(self) -> InMemory:
        """These samples; not an attribute, as what refers to itself stays in memory for a while."""
        return self

    @property
    def positive_rows(self) -> NDArray[np.intp]:
        """The rows of positive weight."""
        return np.flatnonzero(self.weight) if self.weight.size else np.arange(self.shape[0])

    def require(self, needs: frozenset[Need]) -> None:
        """Raise ValueError if minibatches are needed, but rows cannot be read one by one."""
        if Need.MINIBATCHES in needs and not self.design.row_access:
            raise ValueError("solver='sgd' reads rows, but X is a sparse CSC: give X.tocsr(), or choose solver='lbfgs'")

    def map_reduce(self, of_part: Callable[[InMemory], T], combine: Callable[[list[T]], T]) -> T:  # noqa: ARG002
        """Return what a function gives for these samples, which are one part."""
        return of_part(self)

    def total_weight(self) -> float:
        """Return the sum of the weights."""
        return float(self.weight.sum()) if self.weight.size else float(self.shape[0])

    def min_weight(self) -> float:
        """Return the smallest positive weight."""
        return float(self.weight[self.weight > 0.0].min()) if self.weight.size else 1.0

    def sum_tiles(self, visit: Callable[[Tile, int], Floats], work: float = 1.0) -> Floats:
        """Call ``visit(tile, block_rows)`` on every tile in order, and return the sum of its rows: one pass."""
        block_rows = self.design.block_rows
        total: Floats | None = None
        least = min(self.design.tile_bytes, MIN_TILE_BLOCKS * block_rows * self.row_bytes)
        tile_bytes = int(max(self.design.tile_bytes / max(1.0, work), least))
        for start, stop in tile_ranges(self.design, tile_bytes, block_rows):
            self.check_interrupt()
            X, rows, entries = self.design.tile(start, stop)
            y = _as_targets(self.y[start:stop])
            sums = visit(Tile(X, y, self.weight[start:stop], rows, entries), block_rows)
            if total is not None:
                sums[0] += total  # carried into the first row, so that tiles leave no trace in the rounding
            total = np.add.reduce(sums, axis=0)
        assert total is not None  # noqa: S101  there is at least one row
        return total

    def tiles(self, rows: int) -> Iterator[Tile]:
        """Yield tiles of so many rows at most, or of one block, in order."""
        block_rows = self.design.block_rows
        for start, stop in tile_ranges(self.design, int(max(1, rows) * self.row_bytes), block_rows):
            self.check_interrupt()
            X, taken, entries = self.design.tile(start, stop)
            y = _as_targets(self.y[start:stop])
            yield Tile(X, y, self.weight[start:stop], taken, entries)

    def pivot(self) -> tuple[Floats, Floats]:
        """Return dense features and targets of a row that no other outweighs."""
        row = int(np.argmax(self.weight)) if self.weight.size else 0
        X, rows, _ = self.design.tile(row, row + 1)
        return X[rows[0] if rows.size else 0].astype(np.float64), np.atleast_1d(self.y[row]).astype(np.float64)

    @cached_property
    def _targets(self) -> Floats:
        """The targets as tiles have them, kept: short runs come too often to convert them each time."""
        return _as_targets(self.y)

    def runs(self, starts: NDArray[np.intp], run_rows: int) -> tuple[Tile, NDArray[np.intp]]:
        """Return a tile that holds runs of rows, and where in it they start.

        X is taken as it lies, or gathered and converted.

        Parameters
        ----------
        starts : ndarray of int
            First rows, ascending.
        run_rows : int
            Rows of each run; only one at the end of the data may be shorter.
        """
        self.check_interrupt()
        n = self.shape[0]
        if self.design.tile_bytes != COPY_BYTES:
            X, rows, entries = self.design.tile(0, n)
            return Tile(X, self._targets, self.weight, rows, entries), starts
        index = (starts[:, None] + np.arange(run_rows)).ravel()
        index = index[index < n]
        X, rows, entries = self.design.copy_rows(index).tile(0, len(index))
        weight = self.weight[index] if self.weight.size else self.weight
        tile = Tile(X, np.ascontiguousarray(self._targets[..., index]), weight, rows, entries)
        return tile, np.arange(len(starts)) * run_rows

    def as_tile(self) -> Tile:
        """Return all rows as one tile."""
        X, rows, entries = self.design.tile(0, self.shape[0])
        return Tile(X, _as_targets(self.y), self.weight, rows, entries)

    def check_finite(self) -> None:
        """Raise ValueError naming row and column of the first NaN or infinity in X, if there is one."""
        check_finite(self.design)

    def check_differences(self, suspects: NDArray[np.bool_]) -> None:
        """Raise ValueError for a column among these (d,) that sums show as constant, but that is not."""
        self.design.check_differences(suspects)

    def take(self, rows: NDArray[np.intp], *, copy: bool = False) -> InMemory:
        """Return some of the samples; unless told to copy, many rows are read where they lie."""
        weight = self.weight[rows] if self.weight.size else None
        design = self.design.copy_rows(rows) if copy or self.mapped else self.design.take(rows)
        groups = None if self.groups is None else self.groups[rows]
        return InMemory(design, self.y[rows], weight, check_interrupt=self.check_interrupt, groups=groups)

    def heaviest_row(self) -> InMemory:
        """Return the first of the samples that no other outweighs."""
        return self.take(np.array([np.argmax(self.weight) if self.weight.size else 0]), copy=True)

    def with_design(self, design: Design) -> InMemory:
        """Return the same samples with other features."""
        return InMemory(design, self.y, self.weight, check_interrupt=self.check_interrupt, groups=self.groups)

    def by_rows(self) -> InMemory:
        """Return the same samples with tiles whose sparse entries are stored by rows."""
        return self.with_design(self.design.by_rows())

    def recentred(self, pivot: Floats) -> InMemory:
        """Return the same samples with dense columns as differences from a pivot, in the order of tiles."""
        rows = self.sample_rows if self.mapped else None
        design, check = Recentred(self.design, pivot), self.check_interrupt
        other = InMemory(design, self.y, self.weight, check_interrupt=check, sample_rows=rows, groups=self.groups)
        other.passes = self.passes
        return other

    def sample(self, size: int, rng: np.random.Generator) -> InMemory:
        """Draw rows of positive weight at random; all of them if there are no more than ``size``."""
        rows = self.positive_rows if self.weight.size else None
        n = self.shape[0] if rows is None else len(rows)
        size = min(size, self.sample_rows)
        if size >= n:
            return self if rows is None else self.take(rows)
        drawn = stratified_rows(n, size, rng)
        return self.take(drawn if rows is None else rows[drawn])

    def representative(self, size: int, rng: np.random.Generator, *, classes: int = 0, levels: int = 0) -> InMemory:
        """Draw rows at random, more of them from rare classes and levels; see `Dataset.representative`."""
        n, uniform = self.shape[0], min(size, self.sample_rows)
        strata = [_Stratum.of(numbers, levels, self.weight) for numbers in self.design.levels()] if levels else []
        if classes:
            strata.append(_Stratum.of(self.y, classes, self.weight))
        counted = int(np.count_nonzero(self.weight)) if self.weight.size else n
        share, most = uniform / counted, min(self.sample_rows, counted // 2)
        chosen, likely, expected = [np.empty(0, np.intp)], [np.empty(0)], float(uniform)
        for start in range(0, n, STRETCH_ROWS) if share < 1.0 else ():
            stretch = slice(start, min(start + STRETCH_ROWS, n))
            likelihood = _likelihood(strata, stretch, stretch.stop - start)
            if self.weight.size:
                likelihood *= self.weight[stretch] > 0.0
            rare = np.flatnonzero(likelihood > share)
            chosen.append(start + rare)
            likely.append(likelihood[rare])
            expected += float(likely[-1].sum())
            if expected > most:
                break
        candidates, likelihood = np.concatenate(chosen), np.concatenate(likely)
        if not len(candidates) or expected > most:
            return self.sample(size, rng)
        drawn = stratified_rows(counted, uniform, rng)
        drawn = self.positive_rows[drawn] if self.weight.size else drawn
        drawn = drawn[_likelihood(strata, drawn, len(drawn)) <= share]
        kept = rng.random(len(candidates)) < likelihood
        both = np.append(drawn, candidates[kept])
        weight = np.append(np.full(len(drawn), 1.0 / share), 1.0 / likelihood[kept])
        order = np.argsort(both, kind="stable")
        taken = self.take(both[order], copy=True)
        weight = weight[order] * taken.weight if taken.weight.size else weight[order]
        return InMemory(taken.design, taken.y, weight, check_interrupt=self.check_interrupt)


class _Stratum(NamedTuple):
    """The class or level of each row, counted from ``first``, and how likely a row of each is to be drawn at least."""

    numbers: NDArray[Any]
    first: int
    likelihood: Floats

    @classmethod
    def of(cls, numbers: NDArray[Any], least: int, weight: Floats) -> _Stratum:
        """Return the likelihoods by which each class or level has so many rows of positive weight, or all."""
        first = int(numbers.min())
        counts = np.zeros(int(numbers.max()) - first + 1)
        for start in range(0, len(numbers), STRETCH_ROWS):
            rows = slice(start, start + STRETCH_ROWS)
            own = numbers[rows].astype(np.intp) - first
            counts += np.bincount(own, weight[rows] > 0.0 if weight.size else None, len(counts))
        return cls(numbers, first, np.minimum(1.0, least / np.maximum(counts, 1.0)))


def _likelihood(strata: list[_Stratum], rows: slice | NDArray[np.intp], count: int) -> Floats:
    """Return how likely so many rows are to be drawn because they are rare."""
    likelihood = np.zeros(count)
    for numbers, first, own in strata:
        np.maximum(likelihood, own[numbers[rows].astype(np.intp) - first], out=likelihood)
    return likelihood


class OpenedDataset(NamedTuple):
    """Samples that a caller gave, and what is known of them.

    Attributes
    ----------
    dataset : Dataset
    loss : Loss
        For as many classes as there are.
    classes : ndarray or None
        The labels, sorted.
    targets : int
        Columns of y, 0 if it is a vector.
    weighted : bool
        Whether there are weights.
    cached : str or None
        Where chunks were kept, if they were.
    dropped : int
        Rows that were left out, as something is missing in them.
    target_names : tuple of str
        The names of the columns of y, if it has columns with names; otherwise empty.
    """

    dataset: Dataset
    loss: Loss
    classes: NDArray[Any] | None
    targets: int
    weighted: bool
    cached: str | None
    dropped: int = 0
    target_names: tuple[str, ...] = ()

    @property
    def outputs(self) -> int:
        """How many linear predictors a sample has: one for each target, or for each of more than two classes."""
        if self.loss.multiclass and self.classes is not None:
            return len(self.classes)
        return max(1, self.targets)


class Picked(NamedTuple):
    """Some samples that stand out.

    Attributes
    ----------
    keys : ndarray of shape (kinds, k)
        By what they stand out: the larger, the more.
    rows : ndarray of shape (k, ...)
        What is wanted of them.
    """

    keys: Floats
    rows: Floats


def pick(dataset: Dataset, of_part: Callable[[InMemory], Picked], most: int) -> Picked:
    """Return the samples of all parts whose keys, of any kind, are among the ``most`` largest, in order: one pass."""
    found: Picked = dataset.map_reduce(of_part, partial(_pick_of_all, most))
    return found


def leading(keys: Floats, most: int) -> NDArray[np.intp]:
    """Return the indices, ascending, of samples whose keys (kinds, k) are among the ``most`` largest of a kind."""
    if keys.shape[1] <= most:
        return np.arange(keys.shape[1])
    return np.unique(np.argpartition(-keys, most, axis=1)[:, :most])


def _pick_of_all(most: int, several: list[Picked]) -> Picked:
    keys, rows = (np.concatenate(each, axis) for each, axis in zip(zip(*several, strict=True), (1, 0), strict=True))
    kept = leading(keys, most)
    return Picked(keys[:, kept], rows[kept])


def _sum(several: list[Floats]) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):  # who asked for the sums looks at them
        return reduce(np.add, several)


def _as_targets(y: NDArray[Any]) -> Floats:
    """Return targets (n,) or (n, targets) as tiles have them: float64, one row for each kind of target."""
    return np.require(y.T, np.float64, ["C", "ALIGNED"])


def stratified_rows(n: int, size: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw one row at random from each of ``size`` equal stretches of n rows: without repetition, in order, in O(size).

    A sorted file is sampled evenly along its order.
    """
    rows = rng.random(size)
    rows += np.arange(size)
    rows *= n / size
    return rows.astype(np.intp)


def far_pivot(dataset: Dataset) -> Floats | None:
    """Return what dense columns are to be subtracted from, 0 where that is not needed, or None if no column needs it.

    Linear predictors round at the size of their terms. So columns whose mean is more than `FAR` standard deviations
    from 0, by a sample of rows, are taken about one of these rows. Columns that differ by no more than rounding stay.
    """
    example = dataset.pivot()[0]
    if not (np.abs(example) > FAR_VALUE).any():
        return None
    known = dataset.local_sample
    sample = (dataset if known.shape[0] == 1 else known).sample(FAR_ROWS, np.random.default_rng(0))
    if sample.shape[0] < 2:
        return None
    rows = np.arange(min(sample.shape[0], FAR_ROWS))
    part = sample.design.copy_rows(rows).tile(0, len(rows))
    X = (part.X[part.rows] if part.rows.size else part.X).astype(np.float64)
    if not np.abs(X).max(initial=0.0) < MAX_FAR:  # NaN and infinity are found by the pass
        return None
    mean, spread = np.mean(X, axis=0), np.sqrt(np.mean((X - X[0]) ** 2, axis=0))
    far = (np.abs(mean) > FAR * spread) & (spread > 1e2 * EPS * np.abs(mean))
    return np.where(far, X[0], 0.0) if far.any() else None


def is_mapped(X: Any) -> bool:
    """Whether an array lies in a file that is mapped into memory."""
    while isinstance(X, np.ndarray):
        X = X.base
    return isinstance(X, mmap)


def no_rows(dropped: int) -> str:
    """Return the message for samples without rows, some of which may have been left out."""
    return f"X: something is missing in each of its {dropped:,} rows, so none is left" if dropped else "X has no rows"


def check_not_empty(design: Design | Dataset, dropped: int = 0) -> None:
    """Raise ValueError if X has no rows or no features, or no rows are left of those that there were."""
    if dropped and not design.shape[0]:
        raise ValueError(no_rows(dropped))
    if 0 in design.shape:
        alone = "; all its columns are categories of one level, the reference" if design.features else ""
        raise ValueError(f"X has shape {design.shape}; at least one row and one feature are needed{alone}")
