"""Batches of samples: estimates of an objective, from shuffled tiles that are read where they lie.

A batch is a few short runs of consecutive rows, **tiles**, one from each of as many equal stretches of the data: a
file that is sorted, by class or by time, still gives batches that are like the whole. The order of tiles within their
stretch is drawn anew in every epoch, and an epoch reads every row once. Memory is read in runs, and X is not copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fastgd import passes
from fastgd.descent import Anchor, Evaluation
from fastgd.objective import Objective
from fastgd.sources import Floats, InMemory

STRETCHES = 32  # tiles of a batch
PER_EPOCH = 128  # batches at least, if the rows suffice for so many of one row from every stretch
BATCH_BYTES = 1 << 22  # of X at most: threads share that much with gain, and a cache holds it where it is converted


def check_rows(source: InMemory) -> None:
    """Refuse what batches can't be taken of."""
    if source.matrix.by_rows() is not source.matrix:
        raise ValueError("solver='sgd' reads rows, but X is a sparse CSC: give X.tocsr(), or choose solver='lbfgs'")


def batch_count(n: int, row_bytes: float, least: int = PER_EPOCH) -> int:
    """Say into how many batches to cut n rows: into ``least``, or more of fewer bytes, if there are rows enough."""
    return max(1, min(max(least, int(n * row_bytes) // BATCH_BYTES), n // STRETCHES))


class Batches:
    """Estimates of an objective near an anchor, each from the next batch.

    Called with a point y and an `Anchor` a, it gives ``f_B(y) − f_B(a) + f(a)`` and its gradient, where f_B is the
    objective over the batch B, scaled up such that the mean over an epoch's batches is f, whatever their weights.

    Parameters
    ----------
    objective : Objective
        Over all samples.
    source : InMemory
        The samples.
    rng : Generator
        Shuffles the tiles.
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
        weight = objective.moments.total_weight / self.count
        self.objective = replace(objective, moments=objective.moments._replace(total_weight=weight))
        self.order = shuffled(-(-n // self.tile_rows), self.count, rng)

    def __call__(self, point: Floats, anchor: Anchor) -> Evaluation:
        """Evaluate the next batch."""
        objective, rows = self.objective, self.tile_rows
        coef, intercept = objective.to_coef(point)
        there, intercept_there = objective.to_coef(anchor.coef)
        tile, starts = self.source.runs(next(self.order) * rows, rows)
        sums = passes.change_sums(
            tile, coef, intercept, there, intercept_there, objective.loss, starts, rows, objective.n_threads
        )
        move = coef - there
        change = objective.evaluation(move, np.add.reduce(sums, axis=0))  # the penalty's gradient is linear,
        value = anchor.value + change.value + float(np.vdot(objective.l2 * there, move))  # its value is not
        return Evaluation(value, anchor.gradient + change.gradient, 1.0 / self.count, partial=True)

    def plain(self, point: Floats) -> Evaluation:
        """Evaluate the next batch by itself: ``f_B(y)`` and its gradient, for which no anchor is needed."""
        objective, rows = self.objective, self.tile_rows
        coef, intercept = objective.to_coef(point)
        tile, starts = self.source.runs(next(self.order) * rows, rows)
        sums = passes.run_sums(tile, coef, intercept, objective.loss, starts, rows, objective.n_threads)
        return objective.evaluation(coef, np.add.reduce(sums, axis=0))._replace(passes=1.0 / self.count, partial=True)


def shuffled(tiles: int, batches: int, rng: np.random.Generator) -> Iterator[NDArray[np.intp]]:
    """Deal tiles out to batches, one from each stretch of as many tiles as there are batches, epoch after epoch."""
    stretches = np.arange(-(-tiles // batches) * batches).reshape(-1, batches)
    while True:
        for batch in rng.permuted(stretches, axis=1).T:
            yield batch[batch < tiles]
