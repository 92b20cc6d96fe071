"""The one loop: it evaluates, records, asks a rule for the next point, and decides when to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fastgd._optim.base import Anchor, Descent, Evaluation, Rule, Step
from fastgd._optim.result import History, Result, Row, Status
from fastgd._optim.stopping import count_overshoots, largest, rounding_error, verdict
from fastgd._typing import Floats
from fastgd._utils.interrupts import Interrupted


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is looked at and reported by status
def descend(
    objective: Callable[[Floats], Evaluation | tuple[float, Floats]],
    start: Floats | Descent,
    rule: Rule,
    *,
    tol: float,
    max_iter: int,
    time_limit: float | None = None,
    gradient_norm: Callable[[Floats], float] = largest,
    callback: Callable[[Row], object] | None = None,
    began: float | None = None,
    estimate: Callable[[Floats, Anchor, int], Evaluation] | None = None,
    look: Callable[[], None] | None = None,
    keep: Callable[[Descent], None] | None = None,
    separated_below: float = -np.inf,
) -> Result:
    """Move a point downhill until its largest slope is at most ``tol``.

    Parameters
    ----------
    objective : callable
        Maps a point (d,) to its value and gradient (d,), and optionally the passes that this cost (else 1).
    start : ndarray of shape (d,), or Descent
        A point, or where an earlier descent of the same objective stood: whatever stopped it is judged anew.
    rule : Rule
        How to step.
    tol : float
        Converged when ``gradient_norm(gradient) <= tol`` at an accepted point.
    max_iter : int
        Evaluations after the one at the start, not counting estimates.
    time_limit : float, optional
        In seconds; checked after every evaluation. An earlier descent's count, too.
    gradient_norm : callable
        Maps a gradient to the number that convergence is judged by.
    callback : callable, optional
        Called with each `Row`; a true answer stops the descent.
    began : float, optional
        The `time.perf_counter` from which seconds count.
    estimate : callable, optional
        Maps a point, an `Anchor` and the number of earlier estimates to a partial evaluation, for rules whose steps
        have an anchor.
    look : callable, optional
        Called between steps. It may raise `Interrupted`, and so may ``objective``, ``estimate`` and the rule.
    keep : callable, optional
        Called with the `Descent` after every step.
    separated_below: float
        A value on all samples that there is only if classes are separated.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        If value or gradient are not finite at the start.
    Interrupted
        Before there is an evaluation; after that it is a `Status`.
    """
    began = time.perf_counter() if began is None else began
    here = start if isinstance(start, Descent) else Descent.at(start, rule)
    rows = list(here.rows)  # a copy: what is gone on from stays as it is
    whole = [row for row in rows if not row.partial]  # those of evaluations on all samples
    began -= rows[-1].seconds if rows else 0.0
    here = here._replace(rows=rows, stopped=here.stopped and callback is not None)
    paused: Descent | None = None  # where to go on from, if the end was brought forward
    while True:
        status = verdict(here, whole, tol, max_iter, time_limit, separated_below) if rows else None
        if status in (Status.STOPPED, Status.TIME_LIMIT) and rows[-1].partial:
            paused = here._replace(rows=list(rows))
            here = here._replace(coming=here.coming.closing or here.coming)
        elif status is not None:
            break
        arrival, evaluation = here.coming, here.evaluation
        try:
            if look and rows:
                look()
            if evaluation is None:
                if arrival.anchor and estimate:
                    evaluation = estimate(arrival.coef, arrival.anchor, len(rows) - len(whole))
                else:
                    evaluation = Evaluation(*objective(arrival.coef))
                here = here._replace(evaluation=evaluation, passes=here.passes + evaluation.passes)
            if here.lowest is None and not evaluation.partial and not _is_finite(evaluation):
                raise ValueError("start: the objective or its gradient is not finite there; choose another start")
            step = rule.step(arrival.coef, evaluation, arrival.state)
        except Interrupted:
            if not rows and evaluation is None:
                raise
            status = Status.INTERRUPTED
            break
        here, row = _recorded(here, evaluation, step, len(whole), gradient_norm, began)
        if not row.partial:
            whole.append(row)
        here = here._replace(coming=step, evaluation=None, passes=here.passes + step.passes)
        here = here._replace(stopped=here.stopped or (callback is not None and bool(callback(row))))
        if keep and paused is None:
            keep(here)
    result = conclude(here, status, tol=tol, gradient_norm=gradient_norm, began=began)
    return replace(result, state=paused or here)


def _recorded(
    here: Descent,
    evaluation: Evaluation,
    step: Step | None,
    iteration: int,
    gradient_norm: Callable[[Floats], float],
    began: float,
) -> tuple[Descent, Row]:
    """Add the row of an evaluation and the step that answers it, and keep its point if it is the best so far."""
    arrival, rows, lowest = here.coming, here.rows, here.lowest
    finite = _is_finite(evaluation)
    row = Row(
        iteration=iteration,
        passes=here.passes,
        loss=evaluation.value,
        gradient_norm=gradient_norm(evaluation.gradient) if finite else np.inf,
        step=arrival.length,
        predicted_decrease=arrival.predicted_decrease,
        actual_decrease=arrival.origin_value - evaluation.value if rows else 0.0,
        accepted=step is None or step.accepted,
        partial=evaluation.partial,
        seconds=time.perf_counter() - began,
    )
    rows.append(row)
    if step is not None:
        times = count_overshoots(row, step, lowest.value) if lowest and not step.exploring else 0
        met = step.curvature if np.isfinite(step.curvature) else 0.0
        here = here._replace(
            overshoots=here.overshoots + times if times else 0, curvature=max(here.curvature, float(met))
        )
    if not row.partial:
        point = Anchor(arrival.coef, evaluation.value, evaluation.gradient)
        idle = here.idle + (step is None or not step.exploring)
        if finite and (lowest is None or point.value < lowest.value):
            idle = 0 if lowest is None or lowest.value - point.value > rounding_error(row) else idle
            here = here._replace(lowest=point)
        if here.flattest is None or row.gradient_norm < here.smallest:
            idle = 0
            here = here._replace(flattest=point, smallest=row.gradient_norm)
        here = here._replace(last=point, idle=idle)
    return here, row


def conclude(
    here: Descent, status: Status, *, tol: float, gradient_norm: Callable[[Floats], float], began: float
) -> Result:
    """Say where a descent ended: at its last point if it converged, otherwise at the best."""
    end = here
    if not here.rows and here.evaluation:  # interrupted while the start, known by then, was answered
        end, _ = _recorded(here._replace(rows=[]), here.evaluation, None, 0, gradient_norm, began)
    last, lowest, flattest, row = end.last, end.lowest, end.flattest, end.rows[-1]
    if last is None:  # samples that are read once
        loss = float(np.mean([row.loss for row in end.rows]))
        message = f"{status.value} {len(end.rows)} batches, {row.passes:.3g} passes, {row.seconds:.3g} s."
        return Result(here.coming.coef, loss, status, message, History.from_rows(end.rows), state=here)
    assert lowest and flattest  # noqa: S101, PT018  the start was finite
    best = last if status is Status.CONVERGED else lowest
    if status is Status.PRECISION_LIMIT and flattest.value - lowest.value <= 1e-9 * abs(lowest.value):
        best = flattest  # values differ by rounding there, slopes tell more
    return Result(
        coef=best.coef,
        loss=best.value,
        status=status,
        message=_message(status, gradient_norm(best.gradient), tol, row),
        history=History.from_rows(end.rows),
        state=here,
    )


def glimpse(
    coef: Floats,
    evaluation: Evaluation,
    *,
    tol: float,
    gradient_norm: Callable[[Floats], float],
    began: float,
) -> Result:
    """Give the result of a descent that was interrupted before an evaluation on all samples: an estimate at a point."""
    seconds = time.perf_counter() - began
    slope = gradient_norm(evaluation.gradient)
    row = Row(
        0, evaluation.passes, evaluation.value, slope, 0.0, 0.0, 0.0, accepted=True, partial=True, seconds=seconds
    )
    message = _message(Status.INTERRUPTED, slope, tol, row)
    return Result(coef, evaluation.value, Status.INTERRUPTED, message, History.from_rows([row]))


def _message(status: Status, slope: float, tol: float, row: Row) -> str:
    """Put a status into a sentence with the numbers."""
    return (
        f"{status.value} Largest slope {slope:.3g}, tol {tol:.3g}, "
        f"after {row.iteration} iterations, {row.passes:.3g} passes, {row.seconds:.3g} s."
    )


def _is_finite(evaluation: Evaluation) -> bool:
    return bool(np.isfinite(evaluation.value) and np.isfinite(evaluation.gradient).all())
