"""When a descent stops, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgd._optim.base import LoopState, Step
from fastgd._optim.result import Row, Status
from fastgd._typing import Floats
from fastgd._utils.validation import check_number, check_whole

_PATIENCE = 50
"""Evaluations in a row without progress that end a descent, or half of all evaluations if that is more."""
_NOISE_PATIENCE = 10
"""The same where steps promise less than rounding, or where the learning rate is fixed."""
_RISES = 5
"""Accepted evaluations in a row with a rising loss that show divergence."""
_OVERSHOOTS = 3
"""The same where the curvature met proves that the learning rate is too large."""
_UNBOUNDED = 1e20
"""A loss below minus so many times the size of the loss at the start has no minimum."""
_FAR_TOO_LARGE = 100.0
"""One overshoot is enough where the curvature is so many times the stable one."""


def largest(gradient: Floats) -> float:
    """Return the largest absolute component: the gradient norm of a function that is no sum over samples."""
    return float(np.max(np.abs(gradient), initial=0.0))


@dataclass(frozen=True)
class Stopping:
    """When to stop.

    Parameters
    ----------
    tol : float
        Converged when the gradient norm of an accepted point is at most this.
    max_iter : int
        Evaluations after the one at the start, not counting estimates.
    time_limit : float or None
        Seconds; looked at after every evaluation.
    norm : callable
        Maps a gradient to the number that is compared with ``tol``.
    separated_below : float
        A value on all samples that there is only if classes are separated.
    """

    tol: float
    max_iter: int
    time_limit: float | None = None
    norm: Callable[[Floats], float] = largest
    separated_below: float = -np.inf

    @classmethod
    def of(cls, tol: Any, max_iter: Any, time_limit: Any) -> Stopping:
        """Return the criteria that a caller asked for; a TypeError or ValueError names the argument that is wrong."""
        check_number("tol", tol, 0.0)
        check_whole("max_iter", max_iter, 0)
        if time_limit is not None:
            check_number("time_limit", time_limit, 0.0)
        return cls(float(tol), int(max_iter), None if time_limit is None else float(time_limit))

    def verdict(self, state: LoopState, whole: list[Row]) -> Status | None:
        """Return why to stop after the last row, None to go on.

        Estimates show neither convergence nor lack of progress.

        Parameters
        ----------
        state : LoopState
        whole : list of Row
            The rows of evaluations on all samples.
        """
        row, signal = state.rows[-1], state.next_step.signal
        conclusive = not row.partial and not signal.exploring
        if row.loss < self.separated_below and not row.partial:
            return Status.SEPARATED
        if conclusive and row.accepted and row.gradient_norm <= self.tol:
            return Status.CONVERGED
        if row.accepted and not np.isfinite(row.gradient_norm):
            return Status.UNBOUNDED if row.loss == -np.inf else Status.DIVERGED
        if row.loss < -_UNBOUNDED * max(1.0, abs(whole[0].loss) if whole else 0.0):
            return Status.UNBOUNDED
        if state.monitor.overshoots >= _OVERSHOOTS * (1 + row.partial):  # twice as many of minibatches
            return Status.DIVERGED
        if signal.last:
            return Status.READ_ONCE
        stalled = state.monitor.stalled
        if conclusive and (_rises(whole) or (np.isfinite(signal.stable) and _leaves(stalled, whole))):
            return Status.DIVERGED
        if state.stopped:
            return Status.STOPPED
        if conclusive and (signal.stuck or _exhausted(row, stalled, len(whole))):
            return Status.PRECISION_LIMIT
        if not row.partial and row.iteration >= self.max_iter:
            return Status.MAX_ITER
        if self.time_limit is not None and row.seconds >= self.time_limit:
            return Status.TIME_LIMIT
        return None


def check_callback(callback: Any) -> None:
    """Raise TypeError if a callback cannot be called."""
    if callback is not None and not callable(callback):
        raise TypeError(f"callback={callback!r}; a function of a Row, or None, is needed")


def rounding_error(row: Row) -> float:
    """Return how far rounding may move the loss of a row."""
    return 8.0 * float(np.finfo(np.float64).eps) * abs(row.loss)


def _rose(row: Row) -> bool:
    return row.accepted and row.actual_decrease < -rounding_error(row)


def _rises(whole: list[Row]) -> bool:
    """Whether the loss rose all the time, and above that of the start."""
    return len(whole) > _RISES and all(map(_rose, whole[-_RISES:])) and whole[-1].loss > whole[0].loss


def _leaves(stalled: int, whole: list[Row]) -> bool:
    """Whether a fixed learning rate leads away from the start, or to and fro.

    Where gradients are bounded, as those of a logistic loss, no curvature proves that.
    """
    first, row = whole[0], whole[-1]
    above = len(whole) > _RISES and all(each.loss > first.loss + rounding_error(each) for each in whole[-_RISES:])
    far = row.gradient_norm > 1e-6 * first.gradient_norm and row.predicted_decrease > 100.0 * rounding_error(row)
    return above or (far and stalled >= _NOISE_PATIENCE)


def count_overshoots(row: Row, step: Step, lowest: float) -> int:
    """Return 1 if the loss rose and the learning rate is too large for the curvature met, more if it is so by far."""
    rose = row.accepted and row.loss - lowest > rounding_error(row) if row.partial else _rose(row)
    times = step.signal.curvature / step.signal.stable
    return int(rose and times > 1.0) * (1 if times <= _FAR_TOO_LARGE else _OVERSHOOTS * (1 + row.partial))


def _exhausted(row: Row, stalled: int, evaluations: int) -> bool:
    """Whether for long neither the loss fell by more than rounding nor the gradient norm fell."""
    patience = _NOISE_PATIENCE if abs(row.predicted_decrease) <= rounding_error(row) else _PATIENCE
    return stalled >= max(patience, evaluations // 2)
