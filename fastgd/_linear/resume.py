"""A fit's descent: from the beginning, from an earlier result, or from a checkpoint.

It also decides what comes back if the descent is interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any, NamedTuple

from fastgd._linear.checkpoint import Checkpoint, FitFingerprint, SavedState, digest
from fastgd._linear.diagnostics import separated_below
from fastgd._linear.elastic_net.gap import GapTest
from fastgd._linear.objective import Coefficients, LinearObjective
from fastgd._linear.plan import Plan, SolverChoice, make_plan, quick_estimate
from fastgd._linear.problem import LinearProblem
from fastgd._optim.base import LoopState
from fastgd._optim.loop import conclude, estimate_result, run_loop
from fastgd._optim.result import LoopResult, Row, Status
from fastgd._optim.stopping import Stopping
from fastgd._utils.interrupts import Interrupted
from fastgd._utils.session import Session


class ResumePoint(NamedTuple):
    """What the result of a fit holds for ``start=result``."""

    origin: FitFingerprint
    saved: SavedState


class Recall(NamedTuple):
    """What a fit may go on from.

    Attributes
    ----------
    arguments : dict
        What has to be the same, as JSON can hold it.
    earlier : ResumePoint or None
        Of the result that the fit was given as its start. If the same was asked for, of the same data, the descent
        goes on, and limits count from there; otherwise that result is but a start.
    checkpoint : path or None
        A file, which has to be of the same fit if it is there.
    """

    arguments: dict[str, Any]
    earlier: ResumePoint | None
    checkpoint: str | os.PathLike[str] | None


class Ended(NamedTuple):
    """How a fit's descent ended, and on which objective.

    Attributes
    ----------
    result : LoopResult
        Its state is a `ResumePoint`; None if nothing was known yet.
    objective : LinearObjective
    plan : Plan or None
        None if nothing was known yet.
    """

    result: LoopResult
    objective: LinearObjective
    plan: Plan | None = None


class _Writer:
    """The observer that has a checkpoint written from time to time."""

    def __init__(self, file: Checkpoint, save: Callable[[LoopState], SavedState]) -> None:
        self.file, self.save = file, save

    def on_row(self, row: Row) -> bool:  # noqa: ARG002
        """Ask for nothing: a checkpoint ends no fit."""
        return False

    def on_state(self, state: LoopState) -> None:
        """Write the state if the last writing is long enough ago."""
        self.file.keep(self.save(state))


def descend(
    problem: LinearProblem,
    choice: SolverChoice,
    start: Coefficients | str | None,
    stopping: Stopping,
    session: Session,
    recall: Recall,
) -> Ended:
    """Descend from a saved state if there is one, or else from the start."""
    own = origin = FitFingerprint.of(recall.arguments, problem.dataset, start, session.rng)
    saved: SavedState | None = None
    file: Checkpoint | None = None
    plan: Plan | None = None
    limits = stopping
    try:
        if recall.earlier is not None and recall.earlier.origin.arguments == own.arguments:
            origin, saved = recall.earlier
            plan = make_plan(problem, choice, origin.start, stopping.tol, deepcopy(origin.rng))
            if _data_hash(plan) == saved.data:
                saved = saved._replace(state=saved.state._replace(stopped=False))
                max_iter, time_limit = saved.state.limits_from_here(stopping.max_iter, stopping.time_limit)
                limits = replace(stopping, max_iter=max_iter, time_limit=time_limit)
            else:
                origin, saved, plan = own, None, None
        if recall.checkpoint is not None:
            file = Checkpoint(recall.checkpoint, origin, choice.info.kind, _lengths(problem))
            saved = file.kept or saved
        plan = plan or make_plan(problem, choice, origin.start, stopping.tol, session.rng)
        objective, data = plan.objective, _data_hash(plan)
        if file is not None:
            file.check_data(data)

        def save(state: LoopState) -> SavedState:
            return SavedState(state, objective.moments, data)

        begin = plan.start
        if saved is not None:
            begin = saved.state._replace(stopped=saved.state.stopped and session.has_callback)
        limits = replace(
            limits,
            norm=objective.gradient_norm,
            separated_below=separated_below(objective),
            test=plan.test,
            by_gap=isinstance(plan.test, GapTest),
        )
        observers = session.observers if file is None else [*session.observers, _Writer(file, save)]
        observed = replace(session, observers=observers)
        result = run_loop(objective, begin, plan.solver, limits, observed, plan.minibatches)
        end = save(result.state)
        if file is not None and not (file.kept and len(file.kept.state.rows) == len(end.state.rows)):
            file.write(end)
    except Interrupted as stop:  # before the descent had a first evaluation, or went on
        if saved is None:
            known = stop.partial_result or (start if isinstance(start, Coefficients) else problem.zeros)
            with session.handler.suspended():
                objective, x, evaluation = quick_estimate(problem, known)
            limits = replace(stopping, norm=objective.gradient_norm)
            return Ended(estimate_result(x, evaluation, limits, session), objective)
        objective, end = problem.objective(problem.dataset, saved.moments), saved
        limits = replace(stopping, norm=objective.gradient_norm)
        result = conclude(saved.state, Status.INTERRUPTED, limits, session.began)
    if file is not None and file.failure:
        result = result.with_note(file.failure)
    return Ended(replace(result, state=ResumePoint(origin, end)), objective, plan)


def _data_hash(plan: Plan) -> str:
    """Return a hash of what the first pass said of all samples."""
    return digest(*plan.objective.moments, plan.first.value, plan.first.gradient)


def _lengths(problem: LinearProblem) -> tuple[int, ...]:
    """Return how long the arrays of a state can be: points, features, targets, rows of a point."""
    d, y = problem.dataset.shape[1], problem.dataset.local_sample.y
    row = d + problem.spec.intercept
    return problem.outputs * row, d, 1 if y.ndim == 1 else y.shape[1], row
