"""The stopping criteria of a descent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgd._optim.base import Convergence, Evaluation, LoopState, Step
from fastgd._optim.result import Row, Status
from fastgd._typing import Floats
from fastgd._utils.validation import check_number, check_whole

_PATIENCE = 50
"""The number of consecutive evaluations without progress that ends a descent, or half of all evaluations if more."""
_NOISE_PATIENCE = 10
"""The number of such evaluations if the predicted decrease is below rounding, or the learning rate is fixed."""
_RISES = 5
"""The number of consecutive accepted evaluations with a rising loss that shows divergence."""
_OVERSHOOTS = 3
"""The number of overshoots that shows divergence: rises of the loss where the learning rate is proven too large."""
_UNBOUNDED = 1e20
"""A loss below minus this times ``max(1, |loss at the start|)`` is taken for unbounded."""
_FAR_TOO_LARGE = 100.0
"""A single overshoot shows divergence if the curvature is more than this times the largest stable one."""


ConvergenceTest = Callable[[Floats, Evaluation, Floats | None], Convergence]
"""Maps a point, its evaluation and Newton's step from there, if the solver has it, to the distance of the minimum."""


def largest(gradient: Floats) -> float:
    """Return the largest absolute component."""
    return float(np.max(np.abs(gradient), initial=0.0))


def _largest_anywhere(x: Floats, gradient: Floats) -> float:  # noqa: ARG001
    """Return the gradient norm that `minimize` uses, at whatever point."""
    return largest(gradient)


@dataclass(frozen=True)
class Stopping:
    """The stopping criteria of a descent.

    Parameters
    ----------
    tol : float
        The descent has converged when the gradient norm of an accepted point is at most this, unless ``test`` decides.
    max_iter : int
        The maximum number of evaluations on all samples after the start.
    time_limit : float or None, default None
        Seconds, compared after every evaluation. None is no limit.
    norm : callable, default `largest` of the gradient
        Maps a point and the gradient there, of shape (d,), to the gradient's norm.
    separated_below : float, default -inf
        A value on all samples below this shows that the classes are separated.
    test : callable, optional
        Decides on convergence in the place of the gradient norm. It maps a point, its evaluation and the solver's
        `Step.newton` to a `Convergence`.
    by_gap : bool, default False
        Whether ``tol`` is a bound of the duality gap, so that messages name the gap.
    """

    tol: float
    max_iter: int
    time_limit: float | None = None
    norm: Callable[[Floats, Floats], float] = _largest_anywhere
    separated_below: float = -np.inf
    test: ConvergenceTest | None = None
    by_gap: bool = False

    @classmethod
    def of(cls, tol: Any, max_iter: Any, time_limit: Any) -> Stopping:
        """Return the criteria for a caller's arguments, after checking them.

        Raises
        ------
        TypeError, ValueError
            If an argument is no number or too small. The message names it.
        """
        check_number("tol", tol, 0.0)
        check_whole("max_iter", max_iter, 0)
        if time_limit is not None:
            check_number("time_limit", time_limit, 0.0)
        return cls(float(tol), int(max_iter), None if time_limit is None else float(time_limit))

    def examine(self, x: Floats, evaluation: Evaluation, step: Step) -> Convergence | None:
        """Return what ``test`` says of an accepted point of shape (d,) that was evaluated on all samples, else None."""
        conclusive = step.accepted and not (evaluation.partial or step.signal.exploring)
        return self.test(x, evaluation, step.newton) if self.test and conclusive and evaluation.is_finite else None

    def verdict(self, state: LoopState, whole: list[Row], convergence: Convergence | None = None) -> Status | None:
        """Return the reason to stop after the last row, or None to continue.

        Convergence and lack of progress are judged by evaluations on all samples only.

        Parameters
        ----------
        state : LoopState
        whole : list of Row
            The rows of evaluations on all samples.
        convergence : Convergence or None
            What `examine` said of the last point.
        """
        row, signal = state.rows[-1], state.next_step.signal
        conclusive = not row.partial and not signal.exploring
        if row.loss < self.separated_below and not row.partial:
            return Status.SEPARATED
        reached = (
            row.gradient_norm <= self.tol if self.test is None else convergence is not None and convergence.reached
        )
        if conclusive and row.accepted and reached:
            return Status.CONVERGED
        if row.accepted and not np.isfinite(row.gradient_norm):
            return Status.UNBOUNDED if row.loss == -np.inf else Status.DIVERGED
        if row.loss < -_UNBOUNDED * max(1.0, abs(whole[0].loss) if whole else 0.0):
            return Status.UNBOUNDED
        if state.monitor.overshoots >= _OVERSHOOTS * (1 + row.partial):  # twice as many for minibatches
            return Status.DIVERGED
        if signal.last:
            return Status.READ_ONCE
        stalled = state.monitor.stalled
        if conclusive and (_rises(whole) or (np.isfinite(signal.stable) and _leaves_start(stalled, whole))):
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
    """Raise TypeError if a callback is neither callable nor None."""
    if callback is not None and not callable(callback):
        raise TypeError(f"callback={callback!r}; a function of a Row, or None, is needed")


def rounding_error(row: Row) -> float:
    """Return a bound of the rounding error of a row's loss."""
    return 8.0 * float(np.finfo(np.float64).eps) * abs(row.loss)


def _rose(row: Row) -> bool:
    """Return whether the loss of an accepted point is higher than before by more than rounding."""
    return row.accepted and row.actual_decrease < -rounding_error(row)


def _rises(whole: list[Row]) -> bool:
    """Return whether the loss rose in the last `_RISES` evaluations, to above the loss at the start."""
    return len(whole) > _RISES and all(map(_rose, whole[-_RISES:])) and whole[-1].loss > whole[0].loss


def _leaves_start(stalled: int, whole: list[Row]) -> bool:
    """Return whether the descent stays above the loss at the start, or oscillates without progress.

    It is used for a fixed learning rate. If gradients are bounded, as for the logistic loss, a rate that is too large
    need not show in the curvature along the steps.
    """
    first, row = whole[0], whole[-1]
    above = len(whole) > _RISES and all(each.loss > first.loss + rounding_error(each) for each in whole[-_RISES:])
    far = row.gradient_norm > 1e-6 * first.gradient_norm and row.predicted_decrease > 100.0 * rounding_error(row)
    return above or (far and stalled >= _NOISE_PATIENCE)


def count_overshoots(row: Row, step: Step, lowest: float) -> int:
    """Return how many overshoots a row counts as: 0, 1, or enough to show divergence.

    A row is an overshoot if the loss rose and the curvature along the step exceeds the largest stable one. It shows
    divergence at once if it does so by more than `_FAR_TOO_LARGE` times.

    Parameters
    ----------
    row : Row
    step : Step
        The solver's step after the row's evaluation.
    lowest : float
        The lowest loss on all samples, with which estimates are compared.
    """
    rose = row.accepted and row.loss - lowest > rounding_error(row) if row.partial else _rose(row)
    excess = step.signal.curvature / step.signal.stable
    return int(rose and excess > 1.0) * (1 if excess <= _FAR_TOO_LARGE else _OVERSHOOTS * (1 + row.partial))


def _exhausted(row: Row, stalled: int, evaluations: int) -> bool:
    """Return whether neither loss nor gradient norm fell for so many evaluations that rounding limits progress."""
    patience = _NOISE_PATIENCE if abs(row.predicted_decrease) <= rounding_error(row) else _PATIENCE
    return stalled >= max(patience, evaluations // 2)
