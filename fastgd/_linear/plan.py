"""Where a descent begins and by which solver, and what is known and spent by then; "auto" is decided here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fastgd._data.dataset import Dataset
from fastgd._linear.block_hessian import InverseBlocks
from fastgd._linear.convergence import NewtonTest, near_end
from fastgd._linear.elastic_net.descent import start_proximal
from fastgd._linear.elastic_net.gap import GapTest
from fastgd._linear.hessian import DOUBTFUL, InverseHessian, RankFindings
from fastgd._linear.hessian_choice import (
    affordable_blocks,
    block_passes,
    contraction,
    inverse_hessian,
)
from fastgd._linear.hessian_cost import GRAM_PASSES, hessian_cost
from fastgd._linear.least_squares import (
    evaluate_without_pass,
    normal_equations,
    quadratic,
    relative_noise,
    solve_exactly,
)
from fastgd._linear.minibatch import Minibatches, make_minibatches
from fastgd._linear.objective import Coefficients, LinearObjective
from fastgd._linear.problem import LinearProblem
from fastgd._linear.warm_start import MIN_ROWS, sample_sizes, warm_start
from fastgd._optim.base import Evaluation, LoopState, Need, Solver
from fastgd._optim.gradient_descent import estimate_lipschitz
from fastgd._optim.lbfgs import LBFGS, MakePreconditioner, Preconditioner
from fastgd._optim.registry import REGISTRY, SolverInfo, make_fixed_rate
from fastgd._typing import Floats
from fastgd._utils.interrupts import attach_partial_result
from fastgd._utils.linalg import PRECISE, Inverse, apply_root, inverse_root, times
from fastgd.losses import Squared
from fastgd.penalties import L2

LIPSCHITZ_EVALUATIONS = 20
FINAL_PASSES, FINAL_GRAM = 10, 1e10
"""Passes, or products, that a Hessian of all rows may cost where only that can tell how far the minimum is."""
SAMPLED_LEVELS = 4.0
"""A table whose Hessian costs no more passes needs none of a sub-sample, which has few rows of rare levels."""
VECTORS = 2000
"""L-BFGS keeps 10 pairs where X takes as much memory as so many points, otherwise 5."""
FEW_VECTORS = 200
"""It keeps 30 where a preconditioner leaves much to them, and X takes as much memory as so many points."""
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
    findings : RankFindings
        What Hessians say of the columns, filled in during the descent.
    minibatches : callable or None
    lipschitz : callable or None
        Estimates the gradient's Lipschitz constant, for solvers with a learning rate.
    test : NewtonTest, GapTest or None
        Tests convergence; None where a Hessian would cost too much for a solver that needs none.
    """

    objective: LinearObjective
    start: LoopState
    solver: Solver
    first: Evaluation
    findings: RankFindings
    minibatches: Minibatches | None = None
    lipschitz: Callable[[], float] | None = None
    test: NewtonTest | GapTest | None = None


def choose_solver(problem: LinearProblem, solver: str, learning_rate: float | str) -> SolverChoice:
    """Return the solver that was asked for; for ``"auto"`` newton where its preconditioner costs less than it saves."""
    rate = learning_rate if isinstance(learning_rate, str) else float(learning_rate)
    if solver != "auto":
        return SolverChoice(REGISTRY[solver], rate, "asked for")
    if not problem.spec.penalty.smooth:
        return SolverChoice(REGISTRY["proximal"], rate, "auto: the penalty is not smooth")
    sizes = sample_sizes(problem)
    cost = hessian_cost(problem, sizes[1] if sizes else problem.dataset.shape[0])
    blocks = affordable_blocks(problem)
    if blocks is not None:
        part = "" if blocks.whole else "the blocks of "
        name, reason = "newton", f"auto: {part}a Hessian of {cost.size} coefficients, diagonal among levels or words"
    elif not cost.fits:
        name, reason = "lbfgs", f"auto: a Hessian of {cost.size} coefficients takes more than {cost.memory >> 20} MB"
    elif not cost.is_cheap(GRAM_PASSES):
        name, reason = "lbfgs", f"auto: a Hessian would cost as much as {cost.passes:.0f} passes"
    elif _takes_one_pass(problem, sizes):
        name, reason = "newton", f"auto: squared loss with {cost.size} coefficients, solved from one pass"
    else:
        name, reason = "newton", f"auto: a Hessian costs as much as {cost.passes:.2g} passes"
    return SolverChoice(REGISTRY[name], rate, reason)


def make_plan(
    problem: LinearProblem, choice: SolverChoice, start: Coefficients | str | None, tol: float, rng: np.random.Generator
) -> Plan:
    """Make everything ready for a descent from coefficients, from ``"random"`` ones, or from None."""
    if Need.PROX in choice.info.needs:
        begun = start_proximal(problem, start, tol, rng)
        return Plan(begun.objective, begun.start, begun.solver, begun.first, RankFindings(), test=begun.test)
    hessian = Need.HESSIAN in choice.info.needs
    sizes = sample_sizes(problem) if hessian else None
    blocks = affordable_blocks(problem) if hessian else None
    if start is None and hessian and blocks is None and _takes_one_pass(problem, sizes):
        return _plan_normal_equations(problem, tol)
    solved_at_once = blocks is not None and blocks.whole and problem.spec.loss.quadratic
    if start is None and sizes and not solved_at_once:
        return _plan_warm_start(problem, sizes, tol, rng)
    at = start if isinstance(start, Coefficients) else problem.zeros
    dataset, n = problem.dataset, problem.dataset.shape[0]
    objective, first = problem.first_pass(dataset, at)
    evaluation: Evaluation | None = first
    x, passes = objective.to_x(at), dataset.passes
    if isinstance(start, str):
        x, passes, evaluation = rng.standard_normal(objective.size), passes + 1.0, None
    findings = RankFindings()
    if hessian:
        sample = objective.on(dataset.sample(sizes[1], rng)) if sizes and not solved_at_once else objective
        solver: Solver = _newton(problem, objective, sample, findings)
        state = LoopState.at(x, solver, evaluation, passes)
        return Plan(objective, state, solver, first, findings, test=NewtonTest(objective, tol))
    final, cheap = _final_hessian(problem, objective, findings), hessian_cost(problem, n).is_cheap(1.0)
    sampled = None if final and cheap else _sampled_hessian(problem, objective, rng, findings, final)
    if not choice.info.takes_rate:
        solver = LBFGS(
            1.0 / objective.largest_diagonal,
            memory=5 if VECTORS * 8 * objective.size > n * dataset.row_bytes else 10,
            refined=final or sampled,
            at_end=sampled or final,
            near_end=near_end(objective, renew=cheap),
            trust_contraction=sampled is not None,
        )
        state = LoopState.at(x, solver, evaluation, passes)
        return Plan(objective, state, solver, first, findings, test=NewtonTest(objective, tol))
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

    # A descent by rates is cheap: where all rows' Hessian is not, that of a sub-sample has to do.
    judging = sampled or final
    confirmed = None if judging is None else NewtonTest(objective, tol, judging)
    return Plan(objective, state, solver, first, findings, minibatches, largest_anywhere, confirmed)


def _newton(
    problem: LinearProblem, objective: LinearObjective, sample: LinearObjective, findings: RankFindings
) -> LBFGS:
    """Return the solver that is preconditioned by the Hessian of a sub-sample, or of all samples.

    All samples' own Hessian takes its place where it turns out to be poor. Near the end it is asked for, too, unless
    the last step has shown that the sub-sample's is good.
    """
    n, blocks = objective.dataset.shape[0], affordable_blocks(problem)
    share = sample.dataset.shape[0] / n
    first: MakePreconditioner
    refined: MakePreconditioner | None
    if blocks is not None:
        passes = block_passes(problem, blocks)
        first, refined = (
            InverseBlocks(each, blocks, part, findings) for each, part in ((sample, share), (objective, 1.0))
        )
        near = near_end(objective, renew=True) if blocks.whole and not objective.loss.quadratic else None
    else:
        cost = hessian_cost(problem, n)
        passes, final = cost.passes, _final_hessian(problem, objective, findings)
        first, refined = InverseHessian(sample, share, findings, final if sample.sampled else None), final
        near = near_end(objective, renew=cost.is_cheap(1.0)) if final else None
    partial = blocks is not None and not blocks.whole
    levels = any(each.levels is not None for each in problem.dataset.features or ()) and passes <= SAMPLED_LEVELS
    return LBFGS(
        preconditioner=refined if refined and levels else first,
        refined=refined,
        near_end=near,
        trust_contraction=sample.sampled,
        rescaled=partial,
        memory=30 if partial and FEW_VECTORS * 8 * objective.size <= n * problem.dataset.row_bytes else 10,
        patience=3 if partial or refined is None else 1,
        contraction=contraction(passes) if refined else 0.5,
    )


def _final_hessian(problem: LinearProblem, objective: LinearObjective, findings: RankFindings) -> InverseHessian | None:
    """Return what computes the inverse Hessian of all samples, None if that costs too much."""
    cost = hessian_cost(problem, problem.dataset.shape[0])
    return InverseHessian(objective, 1.0, findings) if cost.fits and cost.is_cheap(FINAL_PASSES, FINAL_GRAM) else None


def _sampled_hessian(
    problem: LinearProblem,
    objective: LinearObjective,
    rng: np.random.Generator,
    findings: RankFindings,
    of_all: InverseHessian | None,
) -> InverseHessian | None:
    """Return what computes the inverse Hessian of a sub-sample, None if there is no memory for it or no sub-sample."""
    sizes = sample_sizes(problem)
    if sizes is None or not hessian_cost(problem, sizes[1]).fits:
        return None
    dataset = problem.dataset.sample(sizes[1], rng)
    return InverseHessian(objective.on(dataset), dataset.shape[0] / problem.dataset.shape[0], findings, of_all)


def largest_curvature(objective: LinearObjective, rng: np.random.Generator) -> float:
    """Estimate the largest curvature where that of the logistic loss is largest, at 0."""
    return estimate_lipschitz(objective, np.zeros(objective.size), rng, LIPSCHITZ_EVALUATIONS)


def _largest_curvature_anywhere(sample: LinearObjective, rng: np.random.Generator) -> float:
    """Bound the largest curvature of an objective at any point, by that of a squared loss of the largest curvature."""
    share = sample.loss.curvature_bound / Squared.curvature_bound
    spec = replace(sample.spec, loss=Squared(), penalty=L2(float(np.max(sample.penalty.curvature)) / share))
    squared = replace(sample, spec=spec, outputs=1)
    return share * estimate_lipschitz(squared, np.zeros(squared.size), rng, 5 * LIPSCHITZ_EVALUATIONS)


def _takes_one_pass(problem: LinearProblem, sizes: tuple[int, int] | None) -> bool:
    return problem.spec.loss.quadratic and (sizes is None or problem.coupled <= ONE_PASS_SIZE)


def _plan_normal_equations(problem: LinearProblem, tol: float) -> Plan:
    """Begin at the solution of the normal equations, preconditioned by them.

    That is the end, too, unless their rounding costs digits. Then one more pass solves them with about 32 digits, if
    that takes little time. Otherwise iterations refine the solution by gradients taken from the data.
    """
    dataset, spec = problem.dataset, problem.spec
    equations = normal_equations(dataset, problem.outputs, about_mean=spec.intercept, n_threads=problem.n_threads)
    problem.check_moments(equations.moments, dataset)
    objective = problem.objective(dataset, equations.moments)
    objective = replace(objective, independent=equations.independent(dataset.shape[0]))
    hessian, slopes = quadratic(objective, equations)
    noise = relative_noise(objective, equations, hessian)
    found = inverse_root(hessian, DOUBTFUL * noise)
    root, exact, passes = found.root, not found.doubtful.any(), dataset.passes + 1.0
    findings = RankFindings(doubtful=not exact, hidden=int(np.count_nonzero(found.doubtful)))
    x = apply_root(root, slopes)
    x = x + apply_root(root, slopes - times(hessian, x))
    known = times(hessian, x) - slopes
    first = evaluate_without_pass(objective, equations, x, known, found.lost, noise, tol)
    reading = Evaluation(0.0, x)
    cost = hessian_cost(problem, dataset.shape[0])
    if first is None and len(hessian) <= PRECISE and cost.is_cheap(FINAL_PASSES, FINAL_GRAM):
        objective, x, first, root, columns = solve_exactly(objective)
        findings, exact = RankFindings(columns=columns, certain=columns is not None), True
    solver = LBFGS(preconditioner=lambda _: Preconditioner(Inverse(root), exact=exact), quadratic=True)
    state = LoopState.at(x, solver, first, passes)
    return Plan(objective, state, solver, reading, findings, test=NewtonTest(objective, tol))


def _plan_warm_start(problem: LinearProblem, sizes: tuple[int, int], tol: float, rng: np.random.Generator) -> Plan:
    """Begin at the end of growing sub-samples; moments come with the first evaluation, in one pass."""
    blocks = affordable_blocks(problem)
    cost = hessian_cost(problem, sizes[1]).passes if blocks is None else block_passes(problem, blocks)

    def inverse(objective: LinearObjective, share: float) -> MakePreconditioner:
        return inverse_hessian(problem, objective, share, RankFindings())

    warm = warm_start(problem, sizes, rng, inverse, contraction(cost))
    begin, passes = warm.coefficients, problem.dataset.passes + warm.passes
    with attach_partial_result(begin):
        objective, first = problem.first_pass(problem.dataset, begin)
    if not first.value <= warm.at_zeros:  # the sub-samples had no minimum, as where rare levels are of one class there
        begin, passes = problem.zeros, passes + 1.0
        first = objective(objective.to_x(begin))
    findings = RankFindings()
    solver = _newton(problem, objective, objective.on(warm.objective.dataset), findings)
    state = LoopState.at(objective.to_x(begin), solver, first, passes)
    return Plan(objective, state, solver, first, findings, test=NewtonTest(objective, tol))


def quick_estimate(problem: LinearProblem, at: Coefficients) -> tuple[LinearObjective, Floats, Evaluation]:
    """Return the objective over a few rows, the point of coefficients, and its evaluation there: in no time."""
    dataset: Dataset = problem.dataset
    rows = max(1, min(MIN_ROWS, int(ESTIMATE_BYTES // max(1.0, dataset.row_bytes))))
    sample = dataset.sample(rows, np.random.default_rng(0))
    objective, evaluation = problem.first_pass(sample, at)
    return objective, objective.to_x(at), evaluation._replace(passes=sample.shape[0] / dataset.shape[0])
