"""Sub-samples of rows: a warm start for the whole data, and the metric that preconditions its descent.

The optimum of m random rows lies within the statistical error √(d/m) of the optimum of all rows, and their Hessian
differs from that of all rows by as much. So most of the way is walked on growing sub-samples, each in the metric of
the one before and only to its own precision, for a fraction of a pass; and on the whole data every step in the last
metric contracts the error by about √(d/m) (Byrd, Chin, Neveitt and Nocedal, 2011; Erdogdu and Montanari, 2015).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastgd._data.dataset import Source
from fastgd._linear.objective import Objective
from fastgd._optim.lbfgs import LBFGS
from fastgd._optim.loop import descend
from fastgd._optim.result import Status
from fastgd._typing import Floats
from fastgd._utils.interrupts import Interrupted, having
from fastgd._utils.linalg import inverse

SHARE = 16  # the largest sub-sample is one row in so many of those in memory,
STREAM_SHARE = 4  # and of those that are read again in each pass,
ROWS_PER_COEFFICIENT = 50  # but no sub-sample has fewer rows per coefficient than so many
LEAST_ROWS = 2000


class WarmStart(NamedTuple):
    """Coefficients to begin with on the whole data, the objective that they minimise, and the passes spent."""

    coef: Floats
    intercept: Floats
    objective: Objective
    passes: float


def sample_sizes(n: int, size: int, most: int | None = None, *, stream: bool = False) -> tuple[int, int] | None:
    """Say how many of n rows the first and the largest sub-sample have for a point (size,); None: they don't pay.

    They do not either where less than the first would be had: ``most`` rows at most can be drawn.
    """
    few = max(ROWS_PER_COEFFICIENT * size, LEAST_ROWS)
    many = max(few, min(n // (STREAM_SHARE if stream else SHARE), n if most is None else most))
    return None if 2 * many > n or (most is not None and many > most) else (few, many)


def warm_start(
    source: Source, sizes: tuple[int, int], objective_over: Callable[[Source], Objective], rng: np.random.Generator
) -> WarmStart:
    """Walk on growing sub-samples, each to its own statistical precision.

    Parameters
    ----------
    source : Source
        All n rows; they are not read, only sampled.
    sizes : tuple of int
        From `sample_sizes`.
    objective_over : callable
        Makes the objective over a source, in coordinates of that source's own moments.
    rng : Generator
        Draws the rows.

    Raises
    ------
    Interrupted
        With the coefficients and intercepts that were reached.
    """
    n = source.shape[0]
    few, many = sizes
    sample = source.sample(many, rng)
    pilot = objective_over(sample.sample(few, rng))
    stages = [pilot, pilot.over(sample)] if 2 * few <= many else [pilot]
    point = np.zeros(pilot.size)
    passes = few / n  # the moments
    for stage in stages:
        rows = stage.source.shape[0]
        with having(pilot.to_coef(point)):
            walk = descend(
                stage,
                point,
                newton(pilot, rows),
                tol=0.1 / np.sqrt(rows),  # a tenth of the error that slopes of so many rows have
                max_iter=50,
                gradient_norm=stage.largest_slope,
            )
        point = walk.coef
        if walk.status is Status.INTERRUPTED:
            raise Interrupted(pilot.to_coef(point))
        passes += float(walk.history.passes[-1]) * rows / n
    return WarmStart(*pilot.to_coef(point), stages[-1], passes)


def newton(objective: Objective, n: int) -> LBFGS:
    """Give the rule whose metric is this objective's inverse Hessian, at its share of a pass over n rows."""
    share = objective.source.shape[0] / n
    return LBFGS(metric=lambda point: (inverse(objective.hessian(point)), share))
