"""Sub-samples of rows: a warm start for the whole data, and the preconditioner of its descent.

The optimum of m random rows lies within the statistical error √(d/m) of the optimum of all rows, and their Hessian
differs from that of all rows by as much. So most of the way is descended on growing sub-samples, each preconditioned by
the one before and only to its own precision, for a fraction of a pass. On the whole data every step, preconditioned by
the last sub-sample, contracts the error by about √(d/m) (Byrd, Chin, Neveitt and Nocedal, 2011; Erdogdu and Montanari,
2015).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastgd._kernels.layout import Members
from fastgd._linear.hessian import gram_points
from fastgd._linear.objective import Coefficients, LinearObjective
from fastgd._linear.problem import LinearProblem
from fastgd._linear.statistics import gram_of_members
from fastgd._optim.base import Evaluation
from fastgd._optim.lbfgs import LBFGS, MakePreconditioner
from fastgd._optim.loop import run_loop
from fastgd._optim.result import Status
from fastgd._optim.stopping import Stopping
from fastgd._typing import Floats
from fastgd._utils.interrupts import Interrupted, attach_partial_result
from fastgd.losses import REAL

MEMORY_SHARE, REREAD_SHARE = 16, 4
"""The largest sub-sample is one row in so many of those in memory, and of those that are read again in each pass."""
ROWS_PER_COEFFICIENT = 50
"""No sub-sample has fewer rows per coefficient."""
ROWS_PER_LEVEL = 30
"""Each level of a category has so many rows at least in a sub-sample, or all."""
MIN_ROWS = 2000
"""No sub-sample has fewer rows."""


class WarmStart(NamedTuple):
    """Coefficients to begin with on the whole data, and what is known of the sub-samples that they come from.

    Attributes
    ----------
    coefficients : Coefficients
    objective : LinearObjective
        Over the last sub-sample.
    passes : float
        Spent on sub-samples.
    at_zeros : float
        The objective at coefficients of 0, by the first sub-sample.
    """

    coefficients: Coefficients
    objective: LinearObjective
    passes: float
    at_zeros: float


def sample_sizes(problem: LinearProblem) -> tuple[int, int] | None:
    """Return how many rows the first and the largest sub-sample have, None where sub-samples do not pay.

    They do not pay either where fewer rows than those of the first can be drawn.
    """
    n, most = problem.dataset.shape[0], problem.dataset.sample_rows
    few = max(ROWS_PER_COEFFICIENT * problem.coupled, MIN_ROWS)
    share = REREAD_SHARE if problem.dataset.rereads else MEMORY_SHARE
    many = max(few, min(n // share, most))
    return None if 2 * many > n or many > most else (few, many)


def warm_start(
    problem: LinearProblem,
    sizes: tuple[int, int],
    rng: np.random.Generator,
    inverse_hessian: Callable[[LinearObjective, float], MakePreconditioner],
    contraction: float,
) -> WarmStart:
    """Descend on growing sub-samples, each to its own statistical precision.

    Parameters
    ----------
    problem : LinearProblem
        All n rows; they are not read, only sampled.
    sizes : tuple of int
        From `sample_sizes`.
    rng : Generator
        Draws the rows.
    inverse_hessian : callable
        Makes what computes the inverse Hessian of an objective over a share of what is descended on.
    contraction : float
        What a step leaves of the gradient at most, as the Hessian is computed again otherwise.

    Raises
    ------
    Interrupted
        With the coefficients that were reached.
    """
    n = problem.dataset.shape[0]
    stages, first = growing_samples(problem, sizes, rng)
    pilot = stages[0]
    x = np.zeros(pilot.size)
    passes = pilot.dataset.shape[0] / n  # the moments
    for stage in stages:
        rows = stage.dataset.shape[0]
        tol = 0.1 / np.sqrt(rows)  # a tenth of the error that gradients of so many rows have
        with attach_partial_result(pilot.to_coefficients(x)):
            solver = LBFGS(
                preconditioner=inverse_hessian(pilot, pilot.dataset.shape[0] / rows),
                refined=inverse_hessian(stage, 1.0),
                patience=2,
                contraction=contraction,
            )
            ended = run_loop(stage, x, solver, Stopping(tol, 50, norm=stage.gradient_norm))
        x = ended.x
        if ended.status is Status.INTERRUPTED:
            raise Interrupted(pilot.to_coefficients(x))
        passes += float(ended.history.passes[-1]) * rows / n
    last = stages[-1]
    if not (last.loss.separable and any(each.levels is not None for each in last.dataset.features or ())):
        return WarmStart(pilot.to_coefficients(x), last, passes, first.value)
    return WarmStart(_without_guesses(last, x), last, passes + last.dataset.shape[0] / n, first.value)


def growing_samples(
    problem: LinearProblem, sizes: tuple[int, int], rng: np.random.Generator
) -> tuple[list[LinearObjective], Evaluation]:
    """Return the objective over each of one or two growing sub-samples, and its evaluation at 0 over the first.

    They have the coordinates of the first. It costs a pass over the first for its moments.
    """
    few, many = sizes
    rare = {"levels": ROWS_PER_LEVEL}
    if problem.spec.loss.target is not REAL:
        rare["classes"] = ROWS_PER_COEFFICIENT // 2 * problem.coupled
    sample = problem.dataset.representative(many, rng, **rare)
    pilot, first = problem.first_pass(sample.representative(few, rng, **rare), problem.zeros)
    return [pilot, pilot.on(sample)] if 2 * few <= many else [pilot], first


def _without_guesses(objective: LinearObjective, x: Floats) -> Coefficients:
    """Return the coefficients at a point, less what a sub-sample says of levels that it hardly knows: one pass over it.

    Where all rows of a rare level are of one class, its coefficient is too large by any amount, and Newton's method
    would not return from there. So a level's coefficient is multiplied by ``I / (I + 1)``, given its information I in
    the sub-sample: the posterior mean for a prior of variance 1.
    """
    coefficients, dataset = objective.to_coefficients(x), objective.dataset
    dense, d = len(dataset.pivot()[0]), dataset.shape[1]
    none = Members(np.full(d - dense, -1, np.int32), 0, 0)
    points = gram_points(objective, x, crossed=False)
    coef = dataset.to_tile_order(coefficients.coef)
    sums = gram_of_members(dataset, objective.loss, points, none, objective.n_threads)
    information = np.array([squares[:, 1] for _, squares in sums]) / dataset.min_weight()
    if objective.loss.multiclass:  # coefficients of all classes add up to 0, and have to go on doing so
        information = information.mean(axis=0)
    coef[:, dense:] *= information / (information + 1.0)
    return Coefficients(dataset.to_caller_order(coef), coefficients.intercept)
