"""Batches of samples: estimates of an objective, from shuffled tiles that are read where they lie.

A batch is a few short runs of consecutive rows, **tiles**, one from each of as many equal stretches of the data: a
file that is sorted, by class or by time, still gives batches that are like the whole. The order of tiles within their
stretch is drawn anew in every epoch, and an epoch reads every row once. Memory is read in runs, and X is not copied.

Of a stream, a batch is rows drawn at random from a pool of chunks, as many as memory allows: a stream that is sorted
over longer distances than that gives batches that differ, and takes more epochs.
"""

from __future__ import annotations

import functools
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fastgd._data.chunked import Stream
from fastgd._data.dataset import InMemory, Source
from fastgd._data.survey import together
from fastgd._kernels import sums as passes
from fastgd._kernels.layout import Tile
from fastgd._linear.objective import Objective
from fastgd._optim.base import Anchor, Evaluation
from fastgd._typing import Floats

STRETCHES = 32  # tiles of a batch
PER_EPOCH = 128  # batches at least, if the rows suffice for so many of one row from every stretch
BATCH_BYTES = 1 << 22  # of X at most: threads share that much with gain, and a cache holds it where it is converted


def check_rows(source: Source) -> None:
    """Refuse what batches can't be taken of."""
    if isinstance(source, InMemory) and source.matrix.by_rows() is not source.matrix:
        raise ValueError("solver='sgd' reads rows, but X is a sparse CSC: give X.tocsr(), or choose solver='lbfgs'")


def batch_count(n: int, row_bytes: float, least: int = PER_EPOCH) -> int:
    """Say into how many batches to cut n rows: into ``least``, or more of fewer bytes, if there are rows enough."""
    return max(1, min(max(least, int(n * row_bytes) // BATCH_BYTES), n // STRETCHES))


class Batches:
    """Estimates of an objective near an anchor, each from the next batch.

    Called with a point y, an `Anchor` a and the number of batches before, it gives ``f_B(y) − f_B(a) + f(a)`` and its
    gradient, where f_B is the objective over the batch B, scaled up such that the mean over an epoch's batches is f,
    whatever their weights.

    Parameters
    ----------
    objective : Objective
        Over all samples.
    source : InMemory
        The samples.
    rng : Generator
        Draws the key that tiles are shuffled by.
    least : int
        Batches of an epoch, if there are rows enough.
    """

    def __init__(
        self, objective: Objective, source: InMemory, rng: np.random.Generator, least: int = PER_EPOCH
    ) -> None:
        n = source.shape[0]
        self.source = source
        self.count = batch_count(n, source.row_bytes, least)
        self.tile_rows = -(-n // (STRETCHES * self.count))
        self.rows = self.tile_rows * STRETCHES
        weight = objective.moments.total_weight / self.count
        self.objective = replace(objective, moments=objective.moments._replace(total_weight=weight))
        key = int(rng.integers(1 << 63))
        deal = functools.partial(shuffled, -(-n // self.tile_rows), self.count, key)
        self.epoch = functools.lru_cache(1)(deal)

    def __call__(self, point: Floats, anchor: Anchor, turn: int) -> Evaluation:
        """Evaluate the batch that comes after ``turn`` others."""
        tile, starts = self._runs(turn)
        return _change(self.objective, tile, starts, self.tile_rows, point, anchor, self.count)

    def plain(self, point: Floats, turn: int) -> Evaluation:
        """Evaluate that batch by itself: ``f_B(y)`` and its gradient, for which no anchor is needed."""
        objective, rows = self.objective, self.tile_rows
        coef, intercept = objective.to_coef(point)
        tile, starts = self._runs(turn)
        sums = passes.run_sums(tile, coef, intercept, objective.loss, starts, rows, objective.n_threads)
        return objective.evaluation(coef, np.add.reduce(sums, axis=0))._replace(passes=1.0 / self.count, partial=True)

    def _runs(self, turn: int) -> tuple[Tile, NDArray[np.intp]]:
        """Give a tile that holds a batch's runs of rows, and where in it they start."""
        epoch, batch = divmod(turn, self.count)
        return self.source.runs(self.epoch(epoch)[batch] * self.tile_rows, self.tile_rows)


class StreamBatches:
    """Estimates as those of `Batches`, of a stream that is read once per epoch.

    Parameters
    ----------
    objective : Objective
        Over all samples.
    source : Stream
        The samples, after their survey.
    rng : Generator
        Shuffles the rows of a pool.
    """

    def __init__(self, objective: Objective, source: Stream, rng: np.random.Generator) -> None:
        n = source.shape[0]
        self.source, self.key = source, int(rng.integers(1 << 63))
        self.rows = -(-n // batch_count(n, source.row_bytes))
        self.count = -(-n // self.rows)
        weight = objective.moments.total_weight * self.rows / n
        self.objective = replace(objective, moments=objective.moments._replace(total_weight=weight))
        self.turn, self.batches = 0, self._read(0)

    def __call__(self, point: Floats, anchor: Anchor, turn: int) -> Evaluation:
        """Evaluate the batch that comes after ``turn`` others."""
        epoch, number = divmod(turn, self.count)
        if number == 0 or turn != self.turn:  # within an epoch, batches before have to be read again
            self.batches.close()
            self.batches = self._read(epoch)
            for _ in range(number):
                next(self.batches)
        batch = next(self.batches)
        self.turn = turn + 1
        X, rows, entries = batch.matrix.place(0, batch.shape[0])
        y = np.require(batch.y.T, np.float64, ["C", "ALIGNED"])
        run = -(-batch.shape[0] // STRETCHES)
        starts = np.arange(0, batch.shape[0], run)
        return _change(self.objective, Tile(X, y, batch.weight, rows, entries), starts, run, point, anchor, self.count)

    def _read(self, epoch: int) -> Generator[InMemory]:
        """Deal out the rows of pools; what is left of a pool goes to the next, and of the last one is a batch."""
        rng = np.random.default_rng((self.key, epoch))
        pool: list[InMemory] = []
        with closing(self.source.parts()) as parts:
            for part in parts:
                pool.append(part)
                if sum(each.shape[0] * each.row_bytes for each in pool) > self.source.kept_bytes:
                    pool = yield from self._deal(pool, rng)
        yield from (yield from self._deal(pool, rng))

    def _deal(self, pool: list[InMemory], rng: np.random.Generator) -> Generator[InMemory, None, list[InMemory]]:
        """Give whole batches, and in the end the rows that are left."""
        whole = together(pool, self.source.features)
        order = rng.permutation(whole.shape[0])
        full = len(order) // self.rows * self.rows
        for rows in order[:full].reshape(-1, self.rows):
            yield whole.picked(rows)
        return [whole.picked(order[full:])] if full < len(order) else []


def _change(
    objective: Objective,
    tile: Tile,
    starts: NDArray[np.intp],
    run_rows: int,
    point: Floats,
    anchor: Anchor,
    count: int,
) -> Evaluation:
    """Correct the anchor's evaluation by how runs of a tile change from there to a point."""
    coef, intercept = objective.to_coef(point)
    there, intercept_there = objective.to_coef(anchor.coef)
    sums = passes.change_sums(
        tile, coef, intercept, there, intercept_there, objective.loss, starts, run_rows, objective.n_threads
    )
    move = coef - there
    change = objective.evaluation(move, np.add.reduce(sums, axis=0))  # the penalty's gradient is linear,
    value = anchor.value + change.value + float(np.vdot(objective.l2 * there, move))  # its value is not
    return Evaluation(value, anchor.gradient + change.gradient, 1.0 / count, partial=True)


def shuffled(tiles: int, batches: int, key: int, epoch: int) -> list[NDArray[np.intp]]:
    """Deal tiles out to the batches of an epoch, one from each stretch of as many tiles as there are batches.

    The order follows from the arguments alone, so there is no state to keep.
    """
    stretches = np.arange(-(-tiles // batches) * batches).reshape(-1, batches)
    dealt = np.random.default_rng((key, epoch)).permuted(stretches, axis=1).T
    return [batch[batch < tiles] for batch in dealt]
