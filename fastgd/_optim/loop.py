"""The one loop: it evaluates, records, asks a solver for the next point, and decides when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fastgd._optim.base import BestPoints, EvaluatedPoint, Evaluation, LoopState, Solver, Step
from fastgd._optim.result import History, LoopResult, Outcome, Row, Status
from fastgd._optim.stopping import Stopping, count_overshoots, rounding_error
from fastgd._typing import Floats
from fastgd._utils.interrupts import Interrupted
from fastgd._utils.session import Session

Objective = Callable[[Floats], Evaluation | tuple[float, Floats]]
Minibatches = Callable[[Floats, EvaluatedPoint, int], Evaluation]


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is looked at and reported by status
def run_loop(
    objective: Objective,
    start: Floats | LoopState,
    solver: Solver,
    stopping: Stopping,
    session: Session | None = None,
    minibatches: Minibatches | None = None,
) -> LoopResult:
    """Move a point downhill until its gradient norm is at most ``stopping.tol``.

    Parameters
    ----------
    objective : callable
        Maps a point (d,) to its value and gradient (d,), and optionally the passes that this cost (else 1).
    start : ndarray of shape (d,), or LoopState
        A point, or where an earlier descent of the same objective stood: whatever stopped it is judged anew.
    solver : Solver
    stopping : Stopping
    session : Session, optional
        Its clock counts, its observers are told, and its Ctrl-C ends the loop between two steps.
    minibatches : callable, optional
        Maps a point, the anchor to correct by, and the number of earlier estimates to a partial evaluation. It is
        asked where a step is `WithinEpoch`.

    Returns
    -------
    LoopResult

    Raises
    ------
    ValueError
        If value or gradient are not finite at the start.
    Interrupted
        Before there is an evaluation; after that it is a `Status`.
    """
    session = Session() if session is None else session
    here = start if isinstance(start, LoopState) else LoopState.at(start, solver)
    rows = list(here.rows)  # a copy: what is gone on from stays as it is
    whole = [row for row in rows if not row.partial]
    began = session.began - (rows[-1].seconds if rows else 0.0)
    here = here._replace(rows=rows)
    paused: LoopState | None = None  # where to go on from, if the end was brought forward
    while True:
        status = stopping.verdict(here, whole) if rows else None
        epoch = here.next_step.within_epoch
        if status in (Status.STOPPED, Status.TIME_LIMIT) and rows[-1].partial:
            paused = here._replace(rows=list(rows))
            here = here._replace(next_step=epoch.closing if epoch else here.next_step)
        elif status is not None:
            break
        arrival, evaluation = here.next_step, here.evaluation
        try:
            if rows:
                session.check_interrupt()
            if evaluation is None:
                evaluation = _evaluate(objective, minibatches, arrival, len(rows) - len(whole))
                here = here._replace(evaluation=evaluation, passes=here.passes + evaluation.passes)
            if here.best is None and not evaluation.partial and not evaluation.is_finite:
                raise ValueError("start: the objective or its gradient is not finite there; choose another start")
            step = solver.step(arrival.x, evaluation, arrival.state)
        except Interrupted:
            if not rows and evaluation is None:
                raise
            status = Status.INTERRUPTED
            break
        here, row = _recorded(here, evaluation, step, len(whole), stopping, began)
        if not row.partial:
            whole.append(row)
        here = here._replace(next_step=step, evaluation=None, passes=here.passes + step.cost)
        if not here.stopped:
            here = here._replace(stopped=_tell(session, row))
        if paused is None:
            for observer in session.observers:
                observer.on_state(here)
    return replace(conclude(here, status, stopping, began), state=paused or here)


def _tell(session: Session, row: Row) -> bool:
    """Show a row to all observers, and return whether one of them asks for the end."""
    answers = [observer.on_row(row) for observer in session.observers]
    return any(answers)


def _evaluate(objective: Objective, minibatches: Minibatches | None, step: Step, estimates: int) -> Evaluation:
    """Evaluate the point of a step: on all samples, or within an epoch by the next minibatch."""
    if step.within_epoch is not None and minibatches is not None:
        return minibatches(step.x, step.within_epoch.anchor, estimates)
    return Evaluation(*objective(step.x))


def _recorded(
    here: LoopState, evaluation: Evaluation, step: Step | None, iteration: int, stopping: Stopping, began: float
) -> tuple[LoopState, Row]:
    """Add the row of an evaluation and the step that answers it, and keep its point if it is the best so far."""
    arrival, rows, best, monitor = here.next_step, here.rows, here.best, here.monitor
    row = Row(
        iteration=iteration,
        passes=here.passes,
        loss=evaluation.value,
        gradient_norm=stopping.norm(evaluation.gradient) if evaluation.is_finite else np.inf,
        step=arrival.length,
        predicted_decrease=arrival.predicted_decrease,
        actual_decrease=arrival.reference_value - evaluation.value if rows else 0.0,
        accepted=step is None or step.accepted,
        partial=evaluation.partial,
        seconds=time.perf_counter() - began,
    )
    rows.append(row)
    exploring = step is not None and step.signal.exploring
    if step is not None:
        times = count_overshoots(row, step, best.lowest.value) if best and not exploring else 0
        met = step.signal.curvature if np.isfinite(step.signal.curvature) else 0.0
        monitor = monitor._replace(
            overshoots=monitor.overshoots + times if times else 0, curvature=max(monitor.curvature, float(met))
        )
    if not row.partial:
        point = EvaluatedPoint(arrival.x, evaluation.value, evaluation.gradient)
        stalled = monitor.stalled + (not exploring)
        lowest, flattest = (best.lowest, best.flattest) if best else (point, point)
        if best and evaluation.is_finite and point.value < lowest.value:
            stalled = 0 if lowest.value - point.value > rounding_error(row) else stalled
            lowest = point
        if best is None or row.gradient_norm < monitor.best_gradient_norm:
            stalled, flattest = 0, point
            monitor = monitor._replace(best_gradient_norm=row.gradient_norm)
        best, monitor = BestPoints(point, lowest, flattest), monitor._replace(stalled=stalled)
    return here._replace(best=best, monitor=monitor), row


def conclude(here: LoopState, status: Status, stopping: Stopping, began: float) -> LoopResult:
    """Return where a descent ended: at its last point if it converged, otherwise at the best.

    Parameters
    ----------
    here : LoopState
    status : Status
    stopping : Stopping
    began : float
        The `time.perf_counter` from which seconds count.
    """
    end = here
    if not here.rows and here.evaluation:  # interrupted while the start, known by then, was answered
        end, _ = _recorded(here._replace(rows=[]), here.evaluation, None, 0, stopping, began)
    row = end.rows[-1]
    if end.best is None:  # samples that are read once
        loss = float(np.mean([row.loss for row in end.rows]))
        facts = f"{len(end.rows)} batches, {row.passes:.3g} passes, {row.seconds:.3g} s."
        outcome = Outcome(status, facts=facts)
        return LoopResult(loss, outcome, History.from_rows(end.rows), here.next_step.x, state=here)
    last, lowest, flattest = end.best
    chosen = last if status is Status.CONVERGED else lowest
    if status is Status.PRECISION_LIMIT and flattest.value - lowest.value <= 1e-9 * abs(lowest.value):
        chosen = flattest  # values differ by rounding there, gradients tell more
    outcome = _outcome(status, stopping.norm(chosen.gradient), stopping.tol, row)
    return LoopResult(chosen.value, outcome, History.from_rows(end.rows), chosen.x, state=here)


def estimate_result(x: Floats, evaluation: Evaluation, stopping: Stopping, session: Session) -> LoopResult:
    """Return the result of a descent that was interrupted before it evaluated all samples: an estimate at a point."""
    norm, seconds = stopping.norm(evaluation.gradient), session.seconds
    row = Row(0, evaluation.passes, evaluation.value, norm, 0.0, 0.0, 0.0, accepted=True, partial=True, seconds=seconds)
    outcome = _outcome(Status.INTERRUPTED, norm, stopping.tol, row)
    return LoopResult(evaluation.value, outcome, History.from_rows([row]), x)


def _outcome(status: Status, norm: float, tol: float, row: Row) -> Outcome:
    facts = (
        f"Gradient norm {norm:.3g}, tol {tol:.3g}, "
        f"after {row.iteration} iterations, {row.passes:.3g} passes, {row.seconds:.3g} s."
    )
    return Outcome(status, facts=facts)
