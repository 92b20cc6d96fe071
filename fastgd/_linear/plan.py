"""Where a descent begins, by which rule, and what is known and spent by then; what is "auto" is chosen here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastgd._data.chunked import Stream
from fastgd._data.dataset import InMemory, Source
from fastgd._linear.minibatch import Batches, StreamBatches, check_rows
from fastgd._linear.objective import Objective
from fastgd._linear.problem import Model
from fastgd._linear.statistics import normal_equations
from fastgd._linear.warm_start import LEAST_ROWS, newton, sample_sizes, warm_start
from fastgd._optim.base import Descent, Evaluation, Rule
from fastgd._optim.gradient_descent import estimate_lipschitz
from fastgd._optim.lbfgs import LBFGS
from fastgd._optim.registry import fixed_rate_rule
from fastgd._typing import Floats
from fastgd._utils.interrupts import having
from fastgd._utils.linalg import inverse, times
from fastgd.losses import Squared

LIPSCHITZ_EVALUATIONS = 20
GRAM_SPEED = 30  # numbers of a Hessian that a thread adds up while a pass reads one number of X: measured, see bench
GRAM_PASSES = 100  # that a metric may cost before plain L-BFGS is the better bet,
SMALL_GRAM = 1e9  # unless its products are fewer than so many: a tenth of a second
GRAM_BYTES = 1 << 28  # of a metric and its making, or 1/50 of X if that is more
VECTORS = 2000  # of a point's length that X should take as much memory as; L-BFGS keeps 5 pairs if not, else 10
GLANCE_BYTES = 1 << 26  # of a few rows at most: a tenth of a second
ONE_READING = 128  # coefficients up to which all rows' Gram matrix costs less than sub-samples and their passes


class Beginning(NamedTuple):
    """What `descend` needs. ``reading`` is what the first reading said beside moments: no other data say the same."""

    objective: Objective
    start: Descent
    rule: Rule
    reading: Evaluation
    batches: Batches | StreamBatches | None = None
    lipschitz: Callable[[], float] | None = None
    """Estimates the gradient's Lipschitz constant, for solvers with a learning rate."""


def choose_solver(model: Model, source: Source) -> tuple[str, str]:
    """Pick the solver for ``"auto"``: newton where its metric costs less than it saves. Say why."""
    n, d = source.shape
    size = model.coupled(d)
    sizes = sample_sizes(n, size, source.sample_rows, stream=isinstance(source, Stream))
    rows = sizes[1] if sizes else n
    numbers = source.row_bytes / source.dtype.itemsize  # that a row takes, indices of sparse ones included
    products = rows * min(size, numbers * size / d) ** 2 + 2 * size**3  # adding it up and inverting it
    passes = products / (n * numbers * GRAM_SPEED)
    room = max(GRAM_BYTES, int(n * source.row_bytes) // 50)
    if 24 * size * size > room:
        return "lbfgs", f"auto: a Hessian of {size} coefficients takes more than {room >> 20} MB"
    if passes > GRAM_PASSES and products > SMALL_GRAM:
        return "lbfgs", f"auto: a Hessian would cost as much as {passes:.0f} passes"
    if _in_one_reading(model, size, sizes):
        return "newton", f"auto: squared loss with {size} coefficients, solved from one reading"
    return "newton", f"auto: a Hessian costs as much as {passes:.2g} passes"


def begin(
    model: Model,
    source: Source,
    solver: str,
    learning_rate: float | str,
    start: tuple[Floats, Floats] | str | None,
    tol: float,
    rng: np.random.Generator,
) -> Beginning:
    """Make everything ready for a descent by this solver, from coefficients, ``"random"`` ones, or None."""
    if solver == "sgd":
        check_rows(source)
    n, d = source.shape
    size = model.coupled(d)
    stream = isinstance(source, Stream)
    sizes = sample_sizes(n, size, source.sample_rows, stream=stream) if solver == "newton" else None
    if start is None and solver == "newton" and _in_one_reading(model, size, sizes):
        return _after_one_reading(model, source, tol)
    if start is None and sizes:
        return _after_samples(model, source, sizes, rng)
    coef, intercept = model.zeros(d) if start is None or isinstance(start, str) else start
    objective, first = model.read(source, coef, intercept)
    if isinstance(start, str):
        point, passes, evaluation = rng.standard_normal(objective.size), source.readings + 1.0, None
    else:
        point, passes, evaluation = objective.to_point(coef, intercept), source.readings, first
    if solver == "newton":
        metric = objective.over(source.sample(sizes[1], rng)) if sizes else objective
        rule: Rule = newton(metric, n)
        return Beginning(objective, Descent.at(point, rule, evaluation, passes), rule, first)
    if solver == "lbfgs":
        memory = 5 if VECTORS * 8 * objective.size > n * source.row_bytes else 10
        rule = LBFGS(1.0 / objective.largest_diagonal, memory=memory)
        return Beginning(objective, Descent.at(point, rule, evaluation, passes), rule, first)
    batches = _batches(objective, source, rng) if solver == "sgd" else None

    def sample_of_rows() -> Objective:
        rows = batches.rows if batches else max(1000, 10 * size)
        return objective.over(source.sample(rows, rng))

    def largest_anywhere() -> float:
        share, sample = model.loss.curvature_bound / Squared.curvature_bound, sample_of_rows()
        squared = replace(sample, loss=Squared(), l2=model.l2 / share, outputs=1)
        return share * estimate_lipschitz(squared, np.zeros(squared.size), rng, 5 * LIPSCHITZ_EVALUATIONS)

    def lipschitz() -> float:
        nonlocal passes
        sample = sample_of_rows()
        passes += LIPSCHITZ_EVALUATIONS * sample.source.shape[0] / n
        zero = np.zeros(objective.size)  # where the curvature of the logistic loss is largest
        return estimate_lipschitz(sample, zero, rng, LIPSCHITZ_EVALUATIONS)

    rule = fixed_rate_rule(solver, learning_rate, lipschitz, batches.count if batches else 1)
    descent = Descent.at(point, rule, evaluation, passes)
    return Beginning(objective, descent, rule, first, batches, largest_anywhere)


def _batches(objective: Objective, source: Source, rng: np.random.Generator) -> Batches | StreamBatches:
    if isinstance(source, Stream):
        return StreamBatches(objective, source, rng)
    assert isinstance(source, InMemory)  # noqa: S101  other sources are still to come
    return Batches(objective, source, rng)


def _in_one_reading(model: Model, size: int, sizes: tuple[int, int] | None) -> bool:
    return type(model.loss) is Squared and (sizes is None or size <= ONE_READING)


def _after_one_reading(model: Model, source: Source, tol: float) -> Beginning:
    """Begin at the solution of the normal equations, in their metric.

    That is the end, too, unless rounding may hide slopes of ``tol``: then iterations refine the solution by gradients
    taken from the data, which restore the digits that a Gram matrix loses.
    """
    equations = normal_equations(source, model.outputs, about_mean=model.intercept, n_threads=model.n_threads)
    objective = model.objective(source, equations.moments)
    objective = replace(objective, independent=equations.independent(source.shape[0]))
    hessian, slopes = objective.quadratic(equations)
    metric = inverse(hessian)
    point = times(metric, slopes)
    first = objective.without_reading(equations, point, times(hessian, point) - slopes, tol)
    rule = LBFGS(metric=lambda _: (metric, 0.0))
    return Beginning(objective, Descent.at(point, rule, first, source.readings + 1.0), rule, Evaluation(0.0, point))


def _after_samples(model: Model, source: Source, sizes: tuple[int, int], rng: np.random.Generator) -> Beginning:
    """Begin at the end of growing sub-samples; moments come with the first evaluation, in one reading of X."""
    zeros = model.zeros(source.shape[1])
    warm = warm_start(source, sizes, lambda sample: model.read(sample, *zeros)[0], rng)
    with having((warm.coef, warm.intercept)):
        objective, first = model.read(source, warm.coef, warm.intercept)
    rule = newton(objective.over(warm.objective.source), source.shape[0])
    point = objective.to_point(warm.coef, warm.intercept)
    return Beginning(objective, Descent.at(point, rule, first, source.readings + warm.passes), rule, first)


def glance(model: Model, source: Source, coef: Floats, intercept: Floats) -> tuple[Objective, Evaluation]:
    """Evaluate coefficients on a few rows, in no time: the objective over them, and what it says."""
    rows = max(1, min(LEAST_ROWS, int(GLANCE_BYTES // max(1.0, source.row_bytes))))
    sample = source.sample(rows, np.random.default_rng(0))
    objective, evaluation = model.read(sample, coef, intercept)
    return objective, evaluation._replace(passes=sample.shape[0] / source.shape[0])
