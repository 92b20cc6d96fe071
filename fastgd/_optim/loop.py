"""The loop that runs every solver: it evaluates, records, asks the solver for the next point, and stops."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from fastgd._optim.base import BestPoints, Convergence, EvaluatedPoint, Evaluation, LoopState, Solver, Step
from fastgd._optim.result import ErrorEstimate, History, LoopResult, Outcome, Row, Status
from fastgd._optim.stopping import Stopping, count_overshoots, largest, rounding_error
from fastgd._typing import Floats
from fastgd._utils.interrupts import Interrupted
from fastgd._utils.session import Session

Objective = Callable[[Floats], Evaluation | tuple[float, Floats]]
"""Maps a point of shape (d,) to its value and gradient."""
_ROUNDING = 8.0 * float(np.finfo(np.float64).eps)
"""The share of a point below which a step is rounding."""
Descent = Generator[Step, Evaluation, LoopResult]
"""A descent that yields the step whose point it wants evaluated, see `descend`."""
Minibatches = Callable[[Floats, EvaluatedPoint, int], Evaluation]
"""Maps a point, the anchor that corrects the estimate, and the number of earlier estimates to an estimate."""


@np.errstate(over="ignore", invalid="ignore")  # values that are not finite are reported by the status
def run_loop(
    objective: Objective,
    start: Floats | LoopState,
    solver: Solver,
    stopping: Stopping,
    session: Session | None = None,
    minibatches: Minibatches | None = None,
) -> LoopResult:
    """Minimise an objective until it has converged by ``stopping``, or another criterion stops the loop.

    Parameters
    ----------
    objective : callable
        Maps a point of shape (d,) to its value and gradient (d,), and optionally the cost in passes (else 1).
    start : ndarray of shape (d,), or LoopState
        The first point, or the state of an earlier descent on the same objective. The stopping criteria are applied
        anew to an earlier state.
    solver : Solver
    stopping : Stopping
    session : Session, optional
        Holds the clock and the observers. Its Ctrl-C ends the loop between two steps. None is a new one.
    minibatches : callable, optional
        Maps a point, the anchor that corrects the estimate, and the number of earlier estimates to an estimate. It is
        called for steps with `Step.within_epoch`. None evaluates these on all samples.

    Returns
    -------
    LoopResult

    Raises
    ------
    ValueError
        If value or gradient are not finite at the start.
    Interrupted
        On Ctrl-C before the first evaluation is complete. Later the result has `Status.INTERRUPTED`.
    """
    session = Session() if session is None else session
    descent = descend(start, solver, stopping, session)
    estimates = sum(row.partial for row in start.rows) if isinstance(start, LoopState) else 0
    asked = _advance(partial(next, descent))
    while isinstance(asked, Step):
        try:
            evaluation = _evaluate(objective, minibatches, asked, estimates)
        except Interrupted as stop:
            asked = _advance(partial(descent.throw, stop))
        else:
            estimates += evaluation.partial
            asked = _advance(partial(descent.send, evaluation))
    return asked


@np.errstate(over="ignore", invalid="ignore")  # values that are not finite are reported by the status
def run_together(
    objective: Callable[[list[int], list[Floats]], list[Evaluation]], descents: Sequence[Descent]
) -> list[LoopResult]:
    """Run several descents, whose points are evaluated together, until the last has ended.

    Parameters
    ----------
    objective : callable
        Maps the numbers of descents, and points of shape (d,) that these ask for, to evaluations, in one pass.
    descents : sequence of generators
        From `descend`.

    Returns
    -------
    list of LoopResult
        In the order of descents.

    Raises
    ------
    Interrupted
        On Ctrl-C before the first evaluation of some descent is complete.
    """
    asked = [_advance(partial(next, descent)) for descent in descents]
    while any(isinstance(each, Step) for each in asked):
        live = [(number, each.x) for number, each in enumerate(asked) if isinstance(each, Step)]
        try:
            evaluations = objective([number for number, _ in live], [x for _, x in live])
        except Interrupted as stop:
            for number, _ in live:
                asked[number] = _advance(partial(descents[number].throw, stop))
        else:
            for (number, _), evaluation in zip(live, evaluations, strict=True):
                asked[number] = _advance(partial(descents[number].send, evaluation))
    return [each for each in asked if isinstance(each, LoopResult)]


def _advance(go_on: Callable[[], Step]) -> Step | LoopResult:
    """Return the step whose point a descent wants evaluated, or the result if it has ended."""
    try:
        return go_on()
    except StopIteration as ended:
        result: LoopResult = ended.value
        return result


def descend(start: Floats | LoopState, solver: Solver, stopping: Stopping, session: Session) -> Descent:
    """Return the descent of `run_loop` as a generator: it yields the step whose point it wants evaluated.

    It is sent the `Evaluation`, or thrown `Interrupted` if there will be none, and returns the `LoopResult`.
    """
    here = start if isinstance(start, LoopState) else LoopState.at(start, solver)
    rows = list(here.rows)  # a copy: the caller's state stays as it is
    whole = [row for row in rows if not row.partial]
    began = session.began - (rows[-1].seconds if rows else 0.0)
    here = here._replace(rows=rows)
    paused: LoopState | None = None  # the state to continue from, if an epoch was cut short
    convergence = _examined_again(here, stopping)
    while True:
        status = stopping.verdict(here, whole, convergence) if rows else None
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
                evaluation = yield arrival
                here = here._replace(evaluation=evaluation, passes=here.passes + evaluation.passes)
            if here.best is None and not evaluation.partial and not evaluation.is_finite:
                raise ValueError("start: the objective or its gradient is not finite there; choose another start")
            step = solver.step(arrival.x, evaluation, arrival.state)
            convergence = stopping.examine(arrival.x, evaluation, step)
        except Interrupted:
            if not rows and evaluation is None:
                raise
            status = Status.INTERRUPTED
            break
        here, row = _recorded(here, evaluation, step, len(whole), stopping, began, convergence)
        if not row.partial:
            whole.append(row)
        cost = step.cost + (convergence.cost if convergence else 0.0)
        here = here._replace(next_step=step, evaluation=None, passes=here.passes + cost)
        if not here.stopped:
            here = here._replace(stopped=_notify(session, row))
        if paused is None:
            for observer in session.observers:
                observer.on_state(here)
    return replace(conclude(here, status, stopping, began, convergence), state=paused or here)


def _examined_again(here: LoopState, stopping: Stopping) -> Convergence | None:
    """Return what the convergence test says of the last point of an earlier descent."""
    if not here.rows or here.best is None or here.rows[-1].partial:
        return None
    last = here.best.last
    evaluation = Evaluation(last.value, last.gradient, dual_excess=last.dual_excess)
    return stopping.examine(last.x, evaluation, here.next_step)


def _notify(session: Session, row: Row) -> bool:
    """Pass a row to all observers, and return whether one of them asks to stop."""
    answers = [observer.on_row(row) for observer in session.observers]
    return any(answers)


def _evaluate(objective: Objective, minibatches: Minibatches | None, step: Step, estimates: int) -> Evaluation:
    """Return the evaluation of a step's point: on all samples, or within an epoch on the next minibatch."""
    if step.within_epoch is not None and minibatches is not None:
        return minibatches(step.x, step.within_epoch.anchor, estimates)
    return Evaluation(*objective(step.x))


def _recorded(
    here: LoopState,
    evaluation: Evaluation,
    step: Step | None,
    iteration: int,
    stopping: Stopping,
    began: float,
    convergence: Convergence | None = None,
) -> tuple[LoopState, Row]:
    """Append the row of an evaluation to the history; return the state with updated best points, and the row.

    Parameters
    ----------
    here : LoopState
    evaluation : Evaluation
        At the point of ``here.next_step``.
    step : Step or None
        The solver's next step, None if there is none.
    iteration : int
    stopping : Stopping
    began : float
        The `time.perf_counter` from which seconds count.
    convergence : Convergence or None
        What the convergence test says of the point.
    """
    arrival, rows, best, monitor = here.next_step, here.rows, here.best, here.monitor
    row = Row(
        iteration=iteration,
        passes=here.passes,
        loss=evaluation.value,
        gradient_norm=stopping.norm(arrival.x, evaluation.gradient) if evaluation.is_finite else np.inf,
        step=arrival.length,
        predicted_decrease=arrival.predicted_decrease,
        actual_decrease=arrival.reference_value - evaluation.value if rows else 0.0,
        accepted=step is None or step.accepted,
        partial=evaluation.partial,
        seconds=time.perf_counter() - began,
        distance=np.nan if convergence is None else convergence.error.distance,
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
        point = EvaluatedPoint(arrival.x, evaluation.value, evaluation.gradient, evaluation.dual_excess)
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


def conclude(
    here: LoopState, status: Status, stopping: Stopping, began: float, convergence: Convergence | None = None
) -> LoopResult:
    """Return the result of a descent: its last point if it converged, otherwise its best point.

    A descent that converged by Newton's step ends with that step, unless it is below the rounding of the point. The
    step is not evaluated; its loss is what the step predicts.

    Parameters
    ----------
    here : LoopState
    status : Status
    stopping : Stopping
    began : float
        The `time.perf_counter` from which seconds count.
    convergence : Convergence or None
        What the convergence test says of the last point.
    """
    end = here
    if not here.rows and here.evaluation:  # interrupted after the start was evaluated, before the first step
        if stopping.by_gap and stopping.test is not None:  # which needs nothing but the evaluation
            convergence = stopping.test(here.next_step.x, here.evaluation, None)
        end, _ = _recorded(here._replace(rows=[]), here.evaluation, None, 0, stopping, began, convergence)
    row = end.rows[-1]._replace(passes=here.passes)  # with what was spent to judge it
    history = History.from_rows([*end.rows[:-1], row])
    if end.best is None:  # samples that are used once
        loss = float(np.mean([row.loss for row in end.rows]))
        facts = f"{len(end.rows)} batches, {row.passes:.3g} passes, {row.seconds:.3g} s."
        outcome = Outcome(status, facts=facts)
        return LoopResult(loss, outcome, history, here.next_step.x, state=here)
    last, lowest, flattest = end.best
    chosen = last if status is Status.CONVERGED else lowest
    if status is Status.PRECISION_LIMIT and flattest.value - lowest.value <= 1e-9 * abs(lowest.value):
        chosen = flattest  # the values differ by rounding only, the gradients by more
    x, loss, error = chosen.x, chosen.value, None if convergence is None else convergence.error
    outcome = _outcome(status, stopping.norm(x, chosen.gradient), stopping, row, error)
    step = convergence.step if convergence is not None and status is Status.CONVERGED else None
    if step is not None and error is not None and largest(step) > _ROUNDING * largest(x):
        x, loss = x + step, loss - error.loss_left
    return LoopResult(loss, outcome, history, x, state=here, error_estimate=error)


def estimate_result(x: Floats, evaluation: Evaluation, stopping: Stopping, session: Session) -> LoopResult:
    """Return the result of a descent that was interrupted before its first evaluation on all samples.

    Parameters
    ----------
    x : ndarray of shape (d,)
    evaluation : Evaluation
        An estimate at ``x`` from a part of the samples.
    stopping : Stopping
    session : Session
    """
    norm, seconds = stopping.norm(x, evaluation.gradient), session.seconds
    row = Row(0, evaluation.passes, evaluation.value, norm, 0.0, 0.0, 0.0, accepted=True, partial=True, seconds=seconds)
    outcome = _outcome(Status.INTERRUPTED, norm, stopping, row)
    return LoopResult(evaluation.value, outcome, History.from_rows([row]), x)


def _outcome(status: Status, norm: float, stopping: Stopping, row: Row, error: ErrorEstimate | None = None) -> Outcome:
    """Return the outcome with a sentence about gradient norm, distance, iterations, passes and time."""
    distance = f"{row.distance:.3g} standard errors from the minimum, " if np.isfinite(row.distance) else ""
    if stopping.by_gap:
        distance = "" if error is None else f"duality gap {error.loss_left:.3g}, "
    elif status is Status.CONVERGED and row.distance > stopping.tol:
        distance = "at the minimum but for rounding, "
    facts = (
        f"Gradient norm {norm:.3g}, {distance}tol {stopping.tol:.3g}, "
        f"after {row.iteration} iterations, {row.passes:.3g} passes, {row.seconds:.3g} s."
    )
    return Outcome(status, facts=facts)
