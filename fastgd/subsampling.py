"""Sub-samples of rows: a warm start for the whole data, and the metric that preconditions its descent.

The optimum of m random rows lies within the statistical error √(d/m) of the optimum of all rows, and their Hessian
differs from that of all rows by as much. So most of the way is walked on growing sub-samples, each in the metric of
the one before and only to its own precision, for a fraction of a pass; and on the whole data every step in the last
metric contracts the error by about √(d/m) (Byrd, Chin, Neveitt and Nocedal, 2011; Erdogdu and Montanari, 2015).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastgd.descent import Floats, descend
from fastgd.objective import Objective
from fastgd.rules import LBFGS, inverse

SHARE = 16  # the largest sub-sample is one row in so many,
ROWS_PER_COEFFICIENT = 50  # but no sub-sample has fewer rows per coefficient than so many
LEAST_ROWS = 2000


class Preparation(NamedTuple):
    """Where to begin on the whole data, the rule to go on with, and the passes spent on both."""

    point: Floats
    rule: LBFGS
    passes: float


def prepare(objective: Objective, point: Floats, rng: np.random.Generator, *, warm_start: bool) -> Preparation:
    """Walk on growing sub-samples, and take the metric of the largest.

    Parameters
    ----------
    objective : Objective
        Over n rows, of points (size,).
    point : ndarray of shape (size,)
        Where to begin.
    rng : Generator
        Draws the rows.
    warm_start : bool
        False: stay at ``point``, which is known to be good, and only take the metric.
    """
    n = objective.source.shape[0]
    few = max(ROWS_PER_COEFFICIENT * objective.size, LEAST_ROWS)
    many = max(few, n // SHARE)
    if 2 * many > n:  # a sub-sample would save little: Newton's method on all rows
        return Preparation(point, _metric_of(objective, n), 0.0)
    passes = 0.0
    sample = objective.on_sample(many, rng)
    if warm_start:
        stages = [sample]
        if 2 * few <= many:
            stages.insert(0, objective.on_sample(few, rng))
        for stage in stages:
            rows = stage.source.shape[0]
            walk = descend(
                stage,
                point,
                _metric_of(stages[0], rows),
                tol=0.1 / np.sqrt(rows),  # a tenth of the error that slopes of so many rows have
                max_iter=50,
                gradient_norm=stage.largest_slope,
            )
            point = walk.coef
            passes += float(walk.history.passes[-1]) * rows / n
    return Preparation(point, _metric_of(sample, n), passes)


def _metric_of(objective: Objective, n: int) -> LBFGS:
    """Give the rule whose metric is this objective's inverse Hessian, at its share of a pass over n rows."""
    share = objective.source.shape[0] / n
    return LBFGS(metric=lambda point: (inverse(objective.hessian(point)), share))
