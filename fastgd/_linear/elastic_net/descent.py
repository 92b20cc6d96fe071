"""Descents with the elastic net: several penalties share passes, curvatures, and a start on growing sub-samples.

Least squares with a Gram matrix of all rows need no pass but the one that adds it up. Otherwise few coefficients begin
at the optima of sub-samples, with curvatures of these; many coefficients begin where the last penalties ended, with
curvatures of the columns that are not 0 or want to move.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from fastgd._kernels.sums import row_losses
from fastgd._linear.elastic_net.gap import GapTest, coordinate_penalty
from fastgd._linear.elastic_net.model import (
    MOST_BLOCK,
    CurvatureSource,
    GramCurvature,
    PenalisedModel,
    WholeCurvature,
    WorkingCurvature,
)
from fastgd._linear.hessian_cost import GRAM_PASSES, hessian_cost
from fastgd._linear.least_squares import normal_equations, quadratic, relative_noise
from fastgd._linear.objective import Coefficients, LinearObjective, evaluate_together
from fastgd._linear.problem import LinearProblem
from fastgd._linear.warm_start import MIN_ROWS, growing_samples, sample_sizes
from fastgd._optim.base import Evaluation, LoopState
from fastgd._optim.loop import descend, run_together
from fastgd._optim.proximal import ProximalNewton
from fastgd._optim.result import LoopResult, Status
from fastgd._optim.stopping import Stopping
from fastgd._typing import Floats
from fastgd._utils.interrupts import Interrupted, attach_partial_result
from fastgd._utils.session import Session
from fastgd.losses import REAL, Logistic
from fastgd.penalties import ElasticNet, Penalty

EVERY = 1024
"""Coefficients up to which curvatures are of all of them."""
GROUP = 10
"""Penalties that share passes where there are more coefficients."""
CURVATURE_SHARE = 16
"""The curvature of more coefficients is of one row in so many, if these are enough."""


Evaluate = Callable[[Sequence[LinearObjective], Sequence[Floats]], list[Evaluation]]
"""Maps objectives that differ in their penalties to their evaluations, each at a point of its own."""


@dataclass
class Shared:
    """What the descents of several penalties have in common.

    Attributes
    ----------
    base : LinearObjective
        Over all samples, in the coordinates of the descents, with any penalty.
    sources : list of CurvatureSource or GramCurvature
        As for `PenalisedModel`.
    evaluate : callable
        An `Evaluate`.
    first : Evaluation
        What the first pass said of all samples.
    passes : float
        What was spent by then.
    null : float
        The loss without coefficients, which duality gaps are relative to.
    every : bool
        Whether curvatures are of all coefficients.
    steps : dict
        As for `PenalisedModel`.
    """

    base: LinearObjective
    sources: Sequence[CurvatureSource | GramCurvature]
    evaluate: Evaluate
    first: Evaluation
    passes: float
    null: float
    every: bool
    steps: dict[str, Floats] = field(default_factory=dict)

    def objective(self, penalty: Penalty) -> LinearObjective:
        """Return the objective with a penalty."""
        return replace(self.base, spec=replace(self.base.spec, penalty=penalty))

    def solver(self, objective: LinearObjective, gap: float) -> ProximalNewton:
        """Return the solver of an objective for a duality gap; without passes, more precision costs little."""
        wanted = _WITHOUT_PASSES * gap if isinstance(self.sources[0], GramCurvature) else gap
        return ProximalNewton(PenalisedModel(objective, self.sources, wanted, self.null, self.steps))


_WITHOUT_PASSES = 1e-5
"""The share of the duality gap to which a model that is exact is minimised."""


def standardized(problem: LinearProblem) -> LinearProblem:
    """Return the problem in coordinates of mean 0 and standard deviation 1, whatever was asked for.

    Coordinate descent has the same minimum and takes the same steps in any, but rounds least in these.
    """
    return replace(problem, spec=replace(problem.spec, standardize=True))


def share_gram(problem: LinearProblem, tol: float) -> Shared | None:
    """Return what descents have in common that need no pass but one for the normal equations, of least squares.

    None if these take too long, or if rounding would cost them too much, as squares are much larger than what they
    leave.
    """
    dataset, outputs, spec = problem.dataset, problem.outputs, problem.spec
    size, cost = dataset.shape[1] + spec.intercept, hessian_cost(problem, dataset.shape[0])
    if not (spec.loss.quadratic and size <= MOST_BLOCK and cost.fits and cost.is_cheap(GRAM_PASSES)):
        return None
    equations = normal_equations(dataset, outputs, about_mean=spec.intercept, n_threads=problem.n_threads)
    problem.check_moments(equations.moments, dataset)
    base = problem.objective(dataset, equations.moments)
    base = replace(base, spec=replace(spec, penalty=ElasticNet(0.0, 0.0)))
    block, slopes = quadratic(base, equations)
    null, noise = null_loss(base), relative_noise(base, equations, block)
    if not noise * float(np.sum(equations.y_reach**2)) <= _ROUNDING_SHARE * tol * null:
        dataset.passes += 1.0
        return None

    def evaluate(objectives: Sequence[LinearObjective], points: Sequence[Floats]) -> list[Evaluation]:
        return [_without_pass(*each, block, slopes) for each in zip(objectives, points, strict=True)]

    (first,) = evaluate([base], [np.zeros(base.size)])
    return Shared(base, [GramCurvature(block, outputs)], evaluate, first, dataset.passes + 1.0, null, every=True)


_ROUNDING_SHARE = 0.1
"""The share of the duality gap that rounding of sums may come to."""


def _without_pass(objective: LinearObjective, x: Floats, block: Floats, slopes: Floats) -> Evaluation:
    """Return least squares at a point, given one output's matrix and minus the gradients at 0."""
    d, half, moments = objective.dataset.shape[1], 0.5 * objective.loss.curvature_bound, objective.moments
    rows, slope_rows = x.reshape(objective.outputs, -1), slopes.reshape(objective.outputs, -1)
    theta, product = rows[:, :d], np.asarray(np.einsum("ij,kj->ki", block, rows))
    loss = half * float(np.sum(moments.y_spread**2))
    loss += float(np.sum(theta * (0.5 * product[:, :d] - slope_rows[:, :d])))
    gradient = product - slope_rows
    if objective.intercept:
        left = rows[:, d] - moments.y_mean
        loss += half * float(np.sum(left**2))
        gradient[:, d] = objective.loss.curvature_bound * left
    loss = max(loss, 0.0)
    coef, _ = objective.tile_coefficients(x)
    _, ridge, _ = coordinate_penalty(objective)
    return Evaluation(loss + objective.penalty.value(coef), gradient.ravel() + ridge * x, 0.0, dual_excess=loss)


def share_passes(problem: LinearProblem, at: Coefficients, sample: LinearObjective | None, *, remember: bool) -> Shared:
    """Return what descents have in common whose evaluations are passes: one pass.

    Parameters
    ----------
    problem : LinearProblem
    at : Coefficients
        Where the first pass evaluates the objective.
    sample : LinearObjective or None
        Over the largest sub-sample that was descended on.
    remember : bool
        As for `CurvatureSource`.
    """
    dataset, every = problem.dataset, takes_every(problem)
    base, first = problem.first_pass(dataset, at)
    n = dataset.shape[0]
    rows = None if sample is None else sample.dataset
    dense = len(dataset.pivot()[0]) == dataset.shape[1]
    if rows is None and not every and dense and n >= CURVATURE_SHARE * MIN_ROWS:
        rows = dataset.sample(n // CURVATURE_SHARE, np.random.default_rng(0))
    source = WholeCurvature if every else WorkingCurvature
    sources: list[CurvatureSource] = [source(base, 1.0, remember=remember)]
    if rows is not None:
        sources.insert(0, source(base.on(rows), rows.shape[0] / n, remember=remember))
    return Shared(base, sources, evaluate_together, first, dataset.passes + 1.0, null_loss(base), every)


def takes_every(problem: LinearProblem) -> bool:
    """Return whether curvatures are of all coefficients."""
    sizes = sample_sizes(problem)
    cost = hessian_cost(problem, sizes[1] if sizes else problem.dataset.shape[0])
    return problem.coupled <= EVERY and cost.fits and cost.is_cheap(GRAM_PASSES)


def null_loss(objective: LinearObjective) -> float:
    """Return the mean loss of the best constant predictor, without a pass; with no intercept, of predicting 0.

    It is exact for least squares and two classes. For others it is that of some rows.
    """
    loss, moments = objective.loss, objective.moments
    if loss.quadratic:
        return 0.5 * loss.curvature_bound * float(np.sum(moments.y_spread**2))
    part = objective.dataset.local_sample.sample(_NULL_ROWS, np.random.default_rng(0))
    tile = part.as_tile()
    y, outputs = np.atleast_2d(tile.y), objective.outputs
    weight = tile.weight if tile.weight.size else np.ones(y.shape[1])
    constant = np.zeros((outputs, 1))
    if type(loss) is Logistic and objective.intercept:
        share = float(moments.y_mean[0])
        return float(-sum(p * np.log(p) for p in (share, 1.0 - share) if p > 0.0))
    if objective.intercept and loss.multiclass:
        counts = np.bincount(y[0].astype(np.intp), weight, outputs)
        constant[:, 0] = np.log(np.maximum(counts, 1e-9 * counts.sum()))
    elif objective.intercept:
        low, high = y.min(axis=1), y.max(axis=1)
        if loss.target is not REAL:
            low, high = np.full(outputs, -50.0), np.full(outputs, 50.0)
        for _ in range(60):
            constant[:, 0] = 0.5 * (low + high)
            slopes = row_losses(y, np.repeat(constant, y.shape[1], axis=1), loss)[1] @ weight
            low, high = np.where(slopes < 0.0, constant[:, 0], low), np.where(slopes < 0.0, high, constant[:, 0])
    values, _ = row_losses(y, np.repeat(constant, y.shape[1], axis=1), loss)
    return float(values @ weight / weight.sum())


_NULL_ROWS = 20_000
"""Rows by which the loss of a constant is known."""


def criteria(objective: LinearObjective, stopping: Stopping, gap: float) -> Stopping:
    """Return a caller's stopping criteria, with the duality gap in the place of the gradient norm."""
    return replace(stopping, norm=objective.gradient_norm, test=GapTest(objective, gap), by_gap=True)


def descend_together(
    shared: Shared,
    penalties: Sequence[Penalty],
    starts: Sequence[Floats | LoopState],
    stop: Callable[[LinearObjective], Stopping],
    gap: float,
    session: Session,
) -> list[LoopResult]:
    """Run the descents of several penalties, whose evaluations share passes.

    Parameters
    ----------
    shared : Shared
    penalties : sequence of Penalty
    starts : sequence of ndarray of shape (size,), or LoopState
        A start for each.
    stop : callable
        Maps an objective to its stopping criteria.
    gap : float
        The duality gap that is wanted.
    session : Session
    """
    objectives = [shared.objective(penalty) for penalty in penalties]
    descents = [
        descend(start, shared.solver(objective, gap), stop(objective), session)
        for start, objective in zip(starts, objectives, strict=True)
    ]

    def evaluate(numbers: list[int], points: list[Floats]) -> list[Evaluation]:
        return shared.evaluate([objectives[number] for number in numbers], points)

    return run_together(evaluate, descents)


@dataclass
class Warm:
    """The optima of sub-samples.

    Attributes
    ----------
    points : list of Coefficients
        One for each penalty.
    sample : LinearObjective
        Over the largest sub-sample.
    passes : float
        What was spent on sub-samples.
    """

    points: list[Coefficients]
    sample: LinearObjective
    passes: float


def warm_points(
    problem: LinearProblem,
    sizes: tuple[int, int],
    penalties: Sequence[Penalty],
    rng: np.random.Generator,
    session: Session,
) -> Warm:
    """Descend on growing sub-samples with all penalties, each to its own statistical precision."""
    n = problem.dataset.shape[0]
    stages, first = growing_samples(problem, sizes, rng)
    points = [np.zeros(stages[0].size)] * len(penalties)
    passes = stages[0].dataset.shape[0] / n
    before: list[CurvatureSource] = []
    for stage in stages:
        rows = stage.dataset.shape[0]
        own = WholeCurvature(stage, 1.0, remember=True)
        shared = Shared(stage, [*before, own], evaluate_together, first, 0.0, null_loss(stage), every=True)
        gap, tol = shared.null / rows, 0.1 / np.sqrt(rows)  # a tenth of the error that gradients of so many rows have

        def stop(objective: LinearObjective, tol: float = tol) -> Stopping:
            return Stopping(tol, 50, norm=objective.gradient_norm)

        ended = descend_together(shared, penalties, points, stop, _FINELY * gap, session)
        if any(each.status is Status.INTERRUPTED for each in ended):
            raise Interrupted(stages[0].to_coefficients(ended[-1].x))
        points = [each.x for each in ended]
        passes += max(float(each.history.passes[-1]) for each in ended) * rows / n
        before = [own]
    return Warm([stages[0].to_coefficients(x) for x in points], stages[-1], passes)


_FINELY = 0.01
"""The share of its statistical error to which a sub-sample's model is minimised."""


class ProximalStart(NamedTuple):
    """Where the descent of one fit begins; the attributes are those of `fastgd._linear.plan.Plan`."""

    objective: LinearObjective
    start: LoopState
    solver: ProximalNewton
    first: Evaluation
    test: GapTest


def start_proximal(
    problem: LinearProblem, start: Coefficients | str | None, tol: float, rng: np.random.Generator
) -> ProximalStart:
    """Make everything ready for the descent of one fit."""
    problem = standardized(problem)
    penalty, sizes, spent, sample = problem.spec.penalty, sample_sizes(problem), 0.0, None
    at = start if isinstance(start, Coefficients) else None
    shared = share_gram(problem, tol)
    if shared is None:
        if start is None and sizes is not None and takes_every(problem):
            warm = warm_points(problem, sizes, [penalty], rng, Session(rng=rng))
            (at,), sample, spent = warm.points, warm.sample, warm.passes
        at = at or problem.zeros
        with attach_partial_result(at):
            shared = share_passes(problem, at, sample, remember=False)
    objective, gap = shared.objective(penalty), tol * shared.null
    evaluation: Evaluation | None = shared.first
    x = objective.to_x(at or problem.zeros)
    if isinstance(shared.sources[0], GramCurvature):
        stopping = criteria(objective, Stopping(tol, _GRAM_STEPS), gap)
        (solved,) = descend_together(shared, [penalty], [x], lambda _: stopping, gap, Session(rng=rng))
        x = solved.x
        (evaluation,) = shared.evaluate([objective], [x])
    if isinstance(start, str):
        x, evaluation = rng.standard_normal(objective.size), None
    spent += shared.passes - (0.0 if evaluation is None else evaluation.passes)
    solver = shared.solver(objective, gap)
    return ProximalStart(
        objective, LoopState.at(x, solver, evaluation, spent), solver, shared.first, GapTest(objective, gap)
    )


_GRAM_STEPS = 50
"""Steps on normal equations at most: one, but for rounding."""
