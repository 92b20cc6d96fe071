"""When a descent stops, and why."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastgd._optim.base import Descent, Step
from fastgd._optim.result import Row, Status
from fastgd._typing import Floats
from fastgd._utils.validation import check_number, check_whole


def check_descent(
    tol: float, max_iter: int, time_limit: float | None, callback: Callable[[Row], object] | None
) -> None:
    """Check what says when a descent stops."""
    check_number("tol", tol, 0.0)
    check_whole("max_iter", max_iter, 0)
    if time_limit is not None:
        check_number("time_limit", time_limit, 0.0)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback={callback!r}; a function of a Row, or None, is needed")


def largest(gradient: Floats) -> float:
    """Give the largest absolute component: the default measure of convergence."""
    return float(np.max(np.abs(gradient), initial=0.0))


_PATIENCE = 50  # evaluations in a row without progress, or half of all if that is more;
_NOISE = 10  # as many are enough where steps promise less than rounding, or keep their rate whatever they find
_RISES = 5  # accepted evaluations in a row at which the loss rose,
_OVERSHOOTS = 3  # or as many where the curvature proves that the rate is too large,
_ENDLESS = 1e20  # times the size of the loss at the start, below which no minimum is expected
_WILDLY = 100.0  # or one so many times over


def verdict(
    here: Descent, whole: list[Row], tol: float, max_iter: int, time_limit: float | None, separated_below: float
) -> Status | None:
    """Say whether to stop after the last row, and why; estimates show neither convergence nor lack of progress."""
    row, step = here.rows[-1], here.coming
    conclusive = not row.partial and not step.exploring
    if row.loss < separated_below and not row.partial:
        return Status.SEPARATED
    if conclusive and row.accepted and row.gradient_norm <= tol:
        return Status.CONVERGED
    if row.accepted and not np.isfinite(row.gradient_norm):
        return Status.UNBOUNDED if row.loss == -np.inf else Status.DIVERGED
    if row.loss < -_ENDLESS * max(1.0, abs(whole[0].loss) if whole else 0.0):
        return Status.UNBOUNDED
    if here.overshoots >= _OVERSHOOTS * (1 + row.partial):  # twice as many of batches
        return Status.DIVERGED
    if step.last:
        return Status.READ_ONCE
    if conclusive and (_rises(whole) or (np.isfinite(step.stable) and _leaves(here, whole))):
        return Status.DIVERGED
    if here.stopped:
        return Status.STOPPED
    if conclusive and (step.stuck or _exhausted(row, here.idle, len(whole))):
        return Status.PRECISION_LIMIT
    if not row.partial and row.iteration >= max_iter:
        return Status.MAX_ITER
    if time_limit is not None and row.seconds >= time_limit:
        return Status.TIME_LIMIT
    return None


def rounding_error(row: Row) -> float:
    return 8.0 * float(np.finfo(np.float64).eps) * abs(row.loss)


def _rose(row: Row) -> bool:
    return row.accepted and row.actual_decrease < -rounding_error(row)


def _rises(whole: list[Row]) -> bool:
    """Whether the loss rose all the time, and above that of the start."""
    return len(whole) > _RISES and all(map(_rose, whole[-_RISES:])) and whole[-1].loss > whole[0].loss


def _leaves(here: Descent, whole: list[Row]) -> bool:
    """Whether a fixed rate leads away from the start, or to and fro: of bounded slopes, no curvature proves that."""
    first, row = whole[0], whole[-1]
    above = len(whole) > _RISES and all(each.loss > first.loss + rounding_error(each) for each in whole[-_RISES:])
    far = row.gradient_norm > 1e-6 * first.gradient_norm and row.predicted_decrease > 100.0 * rounding_error(row)
    return above or (far and here.idle >= _NOISE)


def count_overshoots(row: Row, step: Step, lowest: float) -> int:
    """Count 1 if the loss rose as the learning rate is too large for the curvature met, more if it is so by far."""
    rose = row.accepted and row.loss - lowest > rounding_error(row) if row.partial else _rose(row)
    times = step.curvature / step.stable
    return int(rose and times > 1.0) * (1 if times <= _WILDLY else _OVERSHOOTS * (1 + row.partial))


def _exhausted(row: Row, idle: int, evaluations: int) -> bool:
    """Whether, for long, neither the loss was lower than all before by more than rounding, nor the gradient smaller."""
    patience = _NOISE if abs(row.predicted_decrease) <= rounding_error(row) else _PATIENCE
    return idle >= max(patience, evaluations // 2)
