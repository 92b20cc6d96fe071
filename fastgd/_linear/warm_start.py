"""Sub-samples of rows: a warm start for the whole data, and the preconditioner of its descent.

The optimum of m random rows lies within the statistical error √(d/m) of the optimum of all rows, and their Hessian
differs from that of all rows by as much. So most of the way is descended on growing sub-samples, each preconditioned by
the one before and only to its own precision, for a fraction of a pass. On the whole data every step, preconditioned by
the last sub-sample, contracts the error by about √(d/m) (Byrd, Chin, Neveitt and Nocedal, 2011; Erdogdu and Montanari,
2015).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastgd._linear.hessian import InverseHessian
from fastgd._linear.objective import Coefficients, LinearObjective
from fastgd._linear.problem import LinearProblem
from fastgd._optim.lbfgs import LBFGS
from fastgd._optim.loop import run_loop
from fastgd._optim.result import Status
from fastgd._optim.stopping import Stopping
from fastgd._utils.interrupts import Interrupted, attach_partial_result

MEMORY_SHARE, REREAD_SHARE = 16, 4
"""The largest sub-sample is one row in so many of those in memory, and of those that are read again in each pass."""
ROWS_PER_COEFFICIENT = 50
"""No sub-sample has fewer rows per coefficient."""
MIN_ROWS = 2000
"""No sub-sample has fewer rows."""


class WarmStart(NamedTuple):
    """Coefficients to begin with on the whole data, the objective that they minimise, and the passes spent."""

    coefficients: Coefficients
    objective: LinearObjective
    passes: float


def sample_sizes(problem: LinearProblem) -> tuple[int, int] | None:
    """Return how many rows the first and the largest sub-sample have, None where sub-samples do not pay.

    They do not pay either where fewer rows than those of the first can be drawn.
    """
    n, most = problem.dataset.shape[0], problem.dataset.sample_rows
    few = max(ROWS_PER_COEFFICIENT * problem.coupled, MIN_ROWS)
    share = REREAD_SHARE if problem.dataset.rereads else MEMORY_SHARE
    many = max(few, min(n // share, most))
    return None if 2 * many > n or many > most else (few, many)


def warm_start(problem: LinearProblem, sizes: tuple[int, int], rng: np.random.Generator) -> WarmStart:
    """Descend on growing sub-samples, each to its own statistical precision.

    Parameters
    ----------
    problem : LinearProblem
        All n rows; they are not read, only sampled.
    sizes : tuple of int
        From `sample_sizes`.
    rng : Generator
        Draws the rows.

    Raises
    ------
    Interrupted
        With the coefficients that were reached.
    """
    n = problem.dataset.shape[0]
    few, many = sizes
    sample = problem.dataset.sample(many, rng)
    pilot, _ = problem.first_pass(sample.sample(few, rng), problem.zeros)
    stages = [pilot, pilot.on(sample)] if 2 * few <= many else [pilot]
    x = np.zeros(pilot.size)
    passes = few / n  # the moments
    for stage in stages:
        rows = stage.dataset.shape[0]
        tol = 0.1 / np.sqrt(rows)  # a tenth of the error that gradients of so many rows have
        with attach_partial_result(pilot.to_coefficients(x)):
            solver = LBFGS(preconditioner=InverseHessian(pilot, pilot.dataset.shape[0] / rows))
            ended = run_loop(stage, x, solver, Stopping(tol, 50, norm=stage.gradient_norm))
        x = ended.x
        if ended.status is Status.INTERRUPTED:
            raise Interrupted(pilot.to_coefficients(x))
        passes += float(ended.history.passes[-1]) * rows / n
    return WarmStart(pilot.to_coefficients(x), stages[-1], passes)
