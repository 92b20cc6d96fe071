"""Where a descent begins and by which solver, and what is known and spent by then; "auto" is decided here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastgd._data.dataset import Dataset
from fastgd._linear.minibatch import Minibatches, make_minibatches
from fastgd._linear.objective import Coefficients, LinearObjective
from fastgd._linear.problem import LinearProblem
from fastgd._linear.statistics import normal_equations
from fastgd._linear.warm_start import MIN_ROWS, newton, sample_sizes, warm_start
from fastgd._optim.base import Evaluation, LoopState, Need, Solver
from fastgd._optim.gradient_descent import estimate_lipschitz
from fastgd._optim.lbfgs import LBFGS
from fastgd._optim.registry import REGISTRY, SolverInfo, make_fixed_rate
from fastgd._typing import Floats
from fastgd._utils.interrupts import attach_partial_result
from fastgd._utils.linalg import inverse, times
from fastgd.losses import Squared
from fastgd.penalties import L2

LIPSCHITZ_EVALUATIONS = 20
GRAM_SPEED = 30
"""Numbers of a Hessian that a thread adds up while a pass reads one number of X; measured, see bench/NOTES.md."""
GRAM_PASSES = 100
"""Passes that a preconditioner may cost before plain L-BFGS is the better choice."""
SMALL_GRAM = 1e9
"""Products of a Hessian that never cost too much: a tenth of a second."""
GRAM_BYTES = 1 << 28
"""Bytes that a preconditioner and its making may take, or 1/50 of X if that is more."""
VECTORS = 2000
"""L-BFGS keeps 10 pairs where X takes as much memory as so many points, otherwise 5."""
ESTIMATE_BYTES = 1 << 26
"""Bytes of the rows of a quick estimate at most: a tenth of a second."""
ONE_PASS_SIZE = 128
"""Coefficients up to which the Gram matrix of all rows costs less than sub-samples and their passes."""


class SolverChoice(NamedTuple):
    """The solver of a fit and its learning rate.

    Attributes
    ----------
    info : SolverInfo
    learning_rate : float or "auto"
    reason : str
        Why this solver.
    """

    info: SolverInfo
    learning_rate: float | str
    reason: str


class Plan(NamedTuple):
    """What the loop needs to begin.

    Attributes
    ----------
    objective : LinearObjective
    start : LoopState
    solver : Solver
    first : Evaluation
        What the first pass said beside moments: no other data say the same.
    minibatches : callable or None
    lipschitz : callable or None
        Estimates the gradient's Lipschitz constant, for solvers with a learning rate.
    """

    objective: LinearObjective
    start: LoopState
    solver: Solver
    first: Evaluation
    minibatches: Minibatches | None = None
    lipschitz: Callable[[], float] | None = None


def choose_solver(problem: LinearProblem, solver: str, learning_rate: float | str) -> SolverChoice:
    """Return the solver that was asked for; for ``"auto"`` newton where its preconditioner costs less than it saves."""
    rate = learning_rate if isinstance(learning_rate, str) else float(learning_rate)
    if solver != "auto":
        return SolverChoice(REGISTRY[solver], rate, "asked for")
    dataset = problem.dataset
    n, d = dataset.shape
    size = problem.coupled
    sizes = sample_sizes(problem)
    rows = sizes[1] if sizes else n
    numbers = dataset.row_bytes / dataset.dtype.itemsize  # of a row, indices of sparse ones included
    products = rows * min(size, numbers * size / d) ** 2 + 2 * size**3  # adding it up and inverting it
    passes = products / (n * numbers * GRAM_SPEED)
    memory = max(GRAM_BYTES, int(n * dataset.row_bytes) // 50)
    if 24 * size * size > memory:
        name, reason = "lbfgs", f"auto: a Hessian of {size} coefficients takes more than {memory >> 20} MB"
    elif passes > GRAM_PASSES and products > SMALL_GRAM:
        name, reason = "lbfgs", f"auto: a Hessian would cost as much as {passes:.0f} passes"
    elif _takes_one_pass(problem, sizes):
        name, reason = "newton", f"auto: squared loss with {size} coefficients, solved from one pass"
    else:
        name, reason = "newton", f"auto: a Hessian costs as much as {passes:.2g} passes"
    return SolverChoice(REGISTRY[name], rate, reason)


def make_plan(
    problem: LinearProblem, choice: SolverChoice, start: Coefficients | str | None, tol: float, rng: np.random.Generator
) -> Plan:
    """Make everything ready for a descent from coefficients, from ``"random"`` ones, or from None."""
    hessian = Need.HESSIAN in choice.info.needs
    sizes = sample_sizes(problem) if hessian else None
    if start is None and hessian and _takes_one_pass(problem, sizes):
        return _plan_normal_equations(problem, tol)
    if start is None and sizes:
        return _plan_warm_start(problem, sizes, rng)
    at = start if isinstance(start, Coefficients) else problem.zeros
    dataset, n = problem.dataset, problem.dataset.shape[0]
    objective, first = problem.first_pass(dataset, at)
    evaluation: Evaluation | None = first
    x, passes = objective.to_x(at), dataset.passes
    if isinstance(start, str):
        x, passes, evaluation = rng.standard_normal(objective.size), passes + 1.0, None
    if hessian:
        solver: Solver = newton(objective.on(dataset.sample(sizes[1], rng)) if sizes else objective, n)
        return Plan(objective, LoopState.at(x, solver, evaluation, passes), solver, first)
    if not choice.info.takes_rate:
        memory = 5 if VECTORS * 8 * objective.size > n * dataset.row_bytes else 10
        solver = LBFGS(1.0 / objective.largest_diagonal, memory=memory)
        return Plan(objective, LoopState.at(x, solver, evaluation, passes), solver, first)
    minibatches = make_minibatches(objective, rng) if Need.MINIBATCHES in choice.info.needs else None
    rows = minibatches.rows if minibatches else max(1000, 10 * problem.coupled)

    def lipschitz() -> float:
        nonlocal passes
        sample = objective.on(dataset.sample(rows, rng))
        passes += LIPSCHITZ_EVALUATIONS * sample.dataset.shape[0] / n
        return largest_curvature(sample, rng)

    batches = minibatches.count if minibatches else 1
    solver = make_fixed_rate(choice.info.name, choice.learning_rate, lipschitz, batches)
    state = LoopState.at(x, solver, evaluation, passes)

    def largest_anywhere() -> float:
        return _largest_curvature_anywhere(objective.on(dataset.sample(rows, rng)), rng)

    return Plan(objective, state, solver, first, minibatches, largest_anywhere)


def largest_curvature(objective: LinearObjective, rng: np.random.Generator) -> float:
    """Estimate the largest curvature where that of the logistic loss is largest, at 0."""
    return estimate_lipschitz(objective, np.zeros(objective.size), rng, LIPSCHITZ_EVALUATIONS)


def _largest_curvature_anywhere(sample: LinearObjective, rng: np.random.Generator) -> float:
    """Bound the largest curvature of an objective at any point, by that of a squared loss of the largest curvature."""
    share = sample.loss.curvature_bound / Squared.curvature_bound
    spec = replace(sample.spec, loss=Squared(), penalty=L2(sample.penalty.curvature / share))
    squared = replace(sample, spec=spec, outputs=1)
    return share * estimate_lipschitz(squared, np.zeros(squared.size), rng, 5 * LIPSCHITZ_EVALUATIONS)


def _takes_one_pass(problem: LinearProblem, sizes: tuple[int, int] | None) -> bool:
    return problem.spec.loss.quadratic and (sizes is None or problem.coupled <= ONE_PASS_SIZE)


def _plan_normal_equations(problem: LinearProblem, tol: float) -> Plan:
    """Begin at the solution of the normal equations, preconditioned by them.

    That is the end, too, unless rounding may hide a gradient of ``tol``: then iterations refine the solution by
    gradients taken from the data, which restore the digits that a Gram matrix loses.
    """
    dataset, spec = problem.dataset, problem.spec
    equations = normal_equations(dataset, problem.outputs, about_mean=spec.intercept, n_threads=problem.n_threads)
    problem.check_moments(equations.moments, dataset)
    objective = problem.objective(dataset, equations.moments)
    objective = replace(objective, independent=equations.independent(dataset.shape[0]))
    hessian, slopes = objective.quadratic(equations)
    preconditioner = inverse(hessian)
    x = times(preconditioner, slopes)
    first = objective.evaluate_without_pass(equations, x, times(hessian, x) - slopes, tol)
    solver = LBFGS(preconditioner=lambda _: (preconditioner, 0.0))
    state = LoopState.at(x, solver, first, dataset.passes + 1.0)
    return Plan(objective, state, solver, Evaluation(0.0, x))


def _plan_warm_start(problem: LinearProblem, sizes: tuple[int, int], rng: np.random.Generator) -> Plan:
    """Begin at the end of growing sub-samples; moments come with the first evaluation, in one pass."""
    warm = warm_start(problem, sizes, rng)
    with attach_partial_result(warm.coefficients):
        objective, first = problem.first_pass(problem.dataset, warm.coefficients)
    solver = newton(objective.on(warm.objective.dataset), problem.dataset.shape[0])
    x = objective.to_x(warm.coefficients)
    return Plan(objective, LoopState.at(x, solver, first, problem.dataset.passes + warm.passes), solver, first)


def quick_estimate(problem: LinearProblem, at: Coefficients) -> tuple[LinearObjective, Floats, Evaluation]:
    """Return the objective over a few rows, the point of coefficients, and its evaluation there: in no time."""
    dataset: Dataset = problem.dataset
    rows = max(1, min(MIN_ROWS, int(ESTIMATE_BYTES // max(1.0, dataset.row_bytes))))
    sample = dataset.sample(rows, np.random.default_rng(0))
    objective, evaluation = problem.first_pass(sample, at)
    return objective, objective.to_x(at), evaluation._replace(passes=sample.shape[0] / dataset.shape[0])
