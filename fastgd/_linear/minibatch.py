"""Minibatches: estimates of an objective from some of the samples, shuffled.

In memory, a batch is a few short **runs** of consecutive rows, one from each of as many equal stretches of the data: a
file that is sorted, by class or by time, still gives batches that are like the whole. The order of runs within their
stretch is drawn anew in every epoch, and an epoch reads every row once. X is not copied.

Of chunks, a batch is rows drawn at random from a pool of chunks, as many as memory allows: chunks that are sorted over
longer distances than that give batches that differ, and take more epochs.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.chunked import ChunkedDataset
from fastgd._data.dataset import InMemory
from fastgd._data.survey import concat
from fastgd._kernels.layout import Tile
from fastgd._kernels.sums import change_sums, run_sums
from fastgd._linear.objective import LinearObjective
from fastgd._optim.base import EvaluatedPoint, Evaluation
from fastgd._typing import Floats

RUNS = 32
"""Runs of a batch."""
PER_EPOCH = 128
"""Batches of an epoch at least, if the rows suffice for so many of one row from every stretch."""
BATCH_BYTES = 1 << 22
"""Bytes of X in a batch at most: threads share that much with gain, and a cache holds it where it is converted."""


class Batch(NamedTuple):
    """Runs of rows: the tile that holds them, where in it they start, and how many rows each has."""

    tile: Tile
    starts: NDArray[np.intp]
    run_rows: int


class BatchSource(ABC):
    """What deals out the samples of a data set in batches, each row once in an epoch.

    Attributes
    ----------
    count : int
        Batches of an epoch.
    rows : int
        Rows of a batch.
    """

    count: int
    rows: int

    @abstractmethod
    def mean_weight(self, total_weight: float) -> float:
        """Return what a batch weighs on average, given what all samples weigh."""

    @abstractmethod
    def batch(self, number: int) -> Batch:
        """Return the batch that comes after ``number`` others."""


class ShuffledRuns(BatchSource):
    """Batches of samples in memory, which are read where they lie.

    Parameters
    ----------
    dataset : InMemory
    rng : Generator
        Draws the key that runs are shuffled by.
    least : int
        Batches of an epoch, if there are rows enough.
    """

    def __init__(self, dataset: InMemory, rng: np.random.Generator, least: int = PER_EPOCH) -> None:
        n = dataset.shape[0]
        self.dataset = dataset
        self.count = batch_count(n, dataset.row_bytes, least)
        self.run_rows = -(-n // (RUNS * self.count))
        self.rows = self.run_rows * RUNS
        key = int(rng.integers(1 << 63))
        self.epoch = functools.lru_cache(1)(functools.partial(shuffled, -(-n // self.run_rows), self.count, key))

    def mean_weight(self, total_weight: float) -> float:
        """Return what a batch weighs on average, given what all samples weigh."""
        return total_weight / self.count

    def batch(self, number: int) -> Batch:
        """Return the batch that comes after ``number`` others."""
        epoch, own = divmod(number, self.count)
        tile, starts = self.dataset.runs(self.epoch(epoch)[own] * self.run_rows, self.run_rows)
        return Batch(tile, starts, self.run_rows)


class ChunkPools(BatchSource):
    """Batches of chunks, which are read once per epoch.

    Parameters
    ----------
    dataset : ChunkedDataset
        With a profile.
    rng : Generator
        Shuffles the rows of a pool.
    """

    def __init__(self, dataset: ChunkedDataset, rng: np.random.Generator) -> None:
        n = dataset.shape[0]
        self.dataset, self.key = dataset, int(rng.integers(1 << 63))
        self.rows = -(-n // batch_count(n, dataset.row_bytes))
        self.count = -(-n // self.rows)
        self.next, self.batches = 0, self._read(0)

    def mean_weight(self, total_weight: float) -> float:
        """Return what a batch weighs on average, given what all samples weigh."""
        return total_weight * self.rows / self.dataset.shape[0]

    def batch(self, number: int) -> Batch:
        """Return the batch that comes after ``number`` others; out of order, those before it are read again."""
        epoch, own = divmod(number, self.count)
        if own == 0 or number != self.next:
            self.batches.close()
            self.batches = self._read(epoch)
            for _ in range(own):
                next(self.batches)
        part = next(self.batches)
        self.next = number + 1
        run_rows = -(-part.shape[0] // RUNS)
        return Batch(part.as_tile(), np.arange(0, part.shape[0], run_rows), run_rows)

    def _read(self, epoch: int) -> Generator[InMemory]:
        """Deal out the rows of pools; what is left of a pool goes to the next, and of the last one is a batch."""
        rng = np.random.default_rng((self.key, epoch))
        pool: list[InMemory] = []
        with closing(self.dataset.parts()) as parts:
            for part in parts:
                pool.append(part)
                if sum(each.shape[0] * each.row_bytes for each in pool) > self.dataset.pool_bytes:
                    pool = yield from self._deal(pool, rng)
        yield from (yield from self._deal(pool, rng))

    def _deal(self, pool: list[InMemory], rng: np.random.Generator) -> Generator[InMemory, None, list[InMemory]]:
        """Yield whole batches, and return the rows that are left."""
        whole = concat(pool, self.dataset.features)
        order = rng.permutation(whole.shape[0])
        full = len(order) // self.rows * self.rows
        for rows in order[:full].reshape(-1, self.rows):
            yield whole.take(rows, copy=True)
        return [whole.take(order[full:], copy=True)] if full < len(order) else []


class Minibatches:
    """Estimates of an objective near an anchor, each from the next batch.

    Called with a point y, an anchor a and the number of batches before, it gives ``f_B(y) − f_B(a) + f(a)`` and its
    gradient, where f_B is the objective over the batch B, scaled up such that the mean over an epoch's batches is f,
    whatever their weights.

    Parameters
    ----------
    objective : LinearObjective
        Over all samples.
    source : BatchSource
    """

    def __init__(self, objective: LinearObjective, source: BatchSource) -> None:
        self.source, self.count, self.rows = source, source.count, source.rows
        weight = source.mean_weight(objective.moments.total_weight)
        self.objective = replace(objective, moments=objective.moments._replace(total_weight=weight))

    def __call__(self, x: Floats, anchor: EvaluatedPoint, number: int) -> Evaluation:
        """Return the estimate at a point by the batch that comes after ``number`` others."""
        tile, starts, run_rows = self.source.batch(number)
        objective = self.objective
        coef, intercept = objective.tile_coefficients(x)
        there, intercept_there = objective.tile_coefficients(anchor.x)
        at, beside = (coef, intercept), (there, intercept_there)
        sums = change_sums(tile, at, beside, objective.loss, starts, run_rows, objective.n_threads)
        move = coef - there
        change = objective.evaluation(move, np.add.reduce(sums, axis=0))
        # The penalty's gradient is linear, its value is not.
        value = anchor.value + change.value + float(np.vdot(objective.penalty.gradient(there), move))
        return Evaluation(value, anchor.gradient + change.gradient, 1.0 / self.count, partial=True)

    def plain(self, x: Floats, number: int) -> Evaluation:
        """Return ``f_B(x)`` and its gradient by that batch alone, for which no anchor is needed."""
        objective = self.objective
        coef, intercept = objective.tile_coefficients(x)
        tile, starts, run_rows = self.source.batch(number)
        sums = run_sums(tile, coef, intercept, objective.loss, starts, run_rows, objective.n_threads)
        return objective.evaluation(coef, np.add.reduce(sums, axis=0))._replace(passes=1.0 / self.count, partial=True)


def make_minibatches(objective: LinearObjective, rng: np.random.Generator) -> Minibatches:
    """Return the minibatches of an objective, wherever its samples live."""
    dataset = objective.dataset
    if isinstance(dataset, ChunkedDataset):
        return Minibatches(objective, ChunkPools(dataset, rng))
    assert isinstance(dataset, InMemory)  # noqa: S101  `Dataset.require` has refused all others
    return Minibatches(objective, ShuffledRuns(dataset, rng))


def batch_count(n: int, row_bytes: float, least: int = PER_EPOCH) -> int:
    """Return the number of batches of n rows: ``least``, or more of fewer bytes, if there are rows enough."""
    return max(1, min(max(least, int(n * row_bytes) // BATCH_BYTES), n // RUNS))


def shuffled(runs: int, batches: int, key: int, epoch: int) -> list[NDArray[np.intp]]:
    """Deal runs out to the batches of an epoch, one from each stretch of as many runs as there are batches.

    The order follows from the arguments alone, so there is no state to keep.
    """
    stretches = np.arange(-(-runs // batches) * batches).reshape(-1, batches)
    dealt = np.random.default_rng((key, epoch)).permuted(stretches, axis=1).T
    return [batch[batch < runs] for batch in dealt]
