"""The one loop: it evaluates, records, asks a rule for the next point, and decides when to stop."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fastgd._typing import Floats
from fastgd._utils.interrupts import Interrupted


class Evaluation(NamedTuple):
    """Value and gradient of an objective at a point, and what they cost in passes."""

    value: float
    gradient: Floats
    passes: float = 1.0
    partial: bool = False
    """An estimate from a part of the samples: nothing is concluded from it."""


class Anchor(NamedTuple):
    """A point that was evaluated on all samples: what estimates near it are corrected by."""

    coef: Floats
    value: float
    gradient: Floats


class Step(NamedTuple):
    """What a rule answers to an evaluation."""

    coef: Floats
    """The point to evaluate next."""
    state: Any
    """What the rule wants to be given back then: a tuple of arrays and numbers."""
    length: float
    """The learning rate: the step is this number times the rule's direction."""
    predicted_decrease: float
    """The first-order Taylor term ``−gradient·(next − origin)`` at the point that the step starts from."""
    origin_value: float
    """The value there."""
    accepted: bool
    """Whether the point just evaluated was taken, or rejected by a line search."""
    stuck: bool = False
    """No step changes anything in floating point."""
    passes: float = 0.0
    """What finding this step cost besides the evaluation."""
    anchor: Anchor | None = None
    """If given, an estimate corrected by it will do at the next point."""
    closing: Step | None = None
    """With an anchor: the step to take instead if the descent has to end, to a point to evaluate on all samples."""
    curvature: float = 0.0
    """Met along the last step: how much the gradient changed per unit of way, a lower bound of its Lipschitz constant.
    Only of rules that keep their learning rate, whatever it does,"""
    stable: float = np.inf
    """which are stable up to this curvature."""
    last: bool = False
    """No sample is left to evaluate anything by: the descent ends at this point."""
    exploring: bool = False
    """The rule climbs or lingers on purpose: neither convergence nor its absence is concluded from this point."""


class Rule(Protocol):
    """How to step. State goes in and comes out; a rule has no loop, no tolerance and no memory of its own."""

    def start(self, coef: Floats) -> Any:
        """Give the state to begin with at a point."""

    def step(self, coef: Floats, evaluation: Evaluation, state: Any) -> Step:
        """Answer an evaluation with the next point."""


class Descent(NamedTuple):
    """Where a descent stands between two steps: all that it needs to go on to the same bits as without a stop."""

    coming: Step
    """The step that leads to the next point."""
    evaluation: Evaluation | None
    """The objective there, if it is known already."""
    passes: float
    """Passes spent so far."""
    rows: list[Row]
    """One for each evaluation that a step answered."""
    last: Anchor | None
    """The last point that was evaluated on all samples,"""
    lowest: Anchor | None
    """the one of the smallest value so far,"""
    flattest: Anchor | None
    """of the smallest slope,"""
    smallest: float
    """and that slope."""
    idle: int
    """Evaluations on all samples without progress."""
    overshoots: int
    """Overshooting evaluations in a row."""
    curvature: float
    """The largest that steps met."""
    stopped: bool
    """Whether the callback asked for the end."""

    @classmethod
    def at(cls, coef: Floats, rule: Rule, evaluation: Evaluation | None = None, passes: float = 0.0) -> Self:
        """Begin at a point."""
        arrival = Step(coef, rule.start(coef), 0.0, 0.0, 0.0, accepted=True)
        passes += 0.0 if evaluation is None else evaluation.passes
        return cls(arrival, evaluation, passes, [], None, None, None, np.inf, 0, 0, 0.0, stopped=False)

    def beyond(self, max_iter: int, time_limit: float | None) -> tuple[int, float | None]:
        """Let limits count from here."""
        if not self.rows:
            return max_iter, time_limit
        last = self.rows[-1]
        return max_iter + last.iteration - last.partial, None if time_limit is None else time_limit + last.seconds

    def is_of(self, objective: Callable[[Floats], Evaluation]) -> bool:
        """Tell whether this is an objective that has been descended on, by evaluating it at the best point."""
        if self.lowest is None:
            return False
        value, gradient, *_ = objective(self.lowest.coef)
        return value == self.lowest.value and bool((gradient == self.lowest.gradient).all())


class Status(enum.Enum):
    """Why a descent ended: a sentence that a person can act on."""

    CONVERGED = "Converged: the largest slope is at most tol."
    MAX_ITER = "Stopped at max_iter before reaching tol: raise max_iter, or choose a larger tol or another solver."
    TIME_LIMIT = "Stopped at time_limit before reaching tol: raise time_limit, or choose a larger tol."
    STOPPED = "Stopped by the callback; start=result goes on."
    INTERRUPTED = "Interrupted: the best point so far is returned; continue with start=result."
    DIVERGED = (
        "Diverged: the learning rate is too large; choose a smaller one, learning_rate='auto', or solver='lbfgs'."
    )
    UNBOUNDED = "The loss falls without bound, so there is no minimum to find: add a penalty, or look at the objective."
    SADDLE = "Stopped at a saddle point: the slope is 0, but the loss falls to both sides; use escape_saddles=True."
    MAXIMUM = "Stopped at a maximum: the slope is 0, but the loss falls to all sides; begin elsewhere."
    PRECISION_LIMIT = "No further progress is possible in floating point before reaching tol: choose a larger tol."
    READ_ONCE = "Each sample given was used in one step; whether that is enough, no one reading can tell."
    SEPARATED = "The classes can be separated, so no finite coefficients are best: add a penalty (l2 > 0)."

    @property
    def chosen(self) -> bool:
        """Whether this is how the caller wanted it to end; otherwise `fit` and `minimize` warn."""
        return self in (Status.CONVERGED, Status.STOPPED, Status.INTERRUPTED, Status.READ_ONCE)


class Row(NamedTuple):
    """One evaluation, as `History` keeps it and as a callback is given it."""

    iteration: int
    passes: float
    loss: float
    gradient_norm: float
    step: float
    predicted_decrease: float
    actual_decrease: float
    accepted: bool
    partial: bool
    seconds: float


@dataclass(frozen=True, eq=False)
class History:
    """Every evaluation of a descent, in arrays of one row each; the first row is the start, before any step.

    Attributes
    ----------
    iteration : ndarray of int
        0 for the start. One per evaluation on all samples; an estimate belongs to the one that it leads up to.
    passes : ndarray of float
        Readings of the whole data up to here, statistics and sub-samples included as fractions.
    loss : ndarray of float
        The objective: mean loss plus penalty.
    gradient_norm : ndarray of float
        What convergence is judged by: the largest slope.
    step : ndarray of float
        The learning rate of the step that led here, 0 for the start.
    predicted_decrease : ndarray of float
        The decrease that the first-order Taylor expansion predicted for that step.
    actual_decrease : ndarray of float
        The decrease that came. The ratio of the two tends to 1 as the step gets small.
    accepted : ndarray of bool
        False where a line search rejected the point.
    partial : ndarray of bool
        True where loss and gradient, and so decreases, are estimates from a part of the samples: ``"sgd"``'s batches.
    seconds : ndarray of float
        Since the call began.
    """

    iteration: NDArray[np.int64]
    passes: Floats
    loss: Floats
    gradient_norm: Floats
    step: Floats
    predicted_decrease: Floats
    actual_decrease: Floats
    accepted: NDArray[np.bool_]
    partial: NDArray[np.bool_]
    seconds: Floats

    @classmethod
    def from_rows(cls, rows: list[Row]) -> Self:
        """Put rows into arrays."""
        dtypes = {"iteration": np.int64, "accepted": np.bool_, "partial": np.bool_}
        columns = dict(zip(Row._fields, zip(*rows, strict=True), strict=True))
        return cls(**{name: np.array(column, dtypes.get(name, np.float64)) for name, column in columns.items()})

    def __len__(self) -> int:
        """Give the number of evaluations."""
        return len(self.loss)

    def plot(self, *, ax: Any = None) -> Any:
        """Draw it, see `fastgd.plots.history` (extra: plot)."""
        return import_module("fastgd.plots").history(self, ax=ax)  # by name: this room knows no other

    def __repr__(self) -> str:
        """Say how far it went."""
        return (
            f"<History of {len(self)} evaluations: loss {self.loss[0]:.6g} to {self.loss[-1]:.6g}, "
            f"gradient norm {self.gradient_norm[0]:.3g} to {self.gradient_norm[-1]:.3g}>"
        )


@dataclass(frozen=True, eq=False)
class Result:
    """Where a descent ended and how it got there.

    Attributes
    ----------
    coef : ndarray
        The point: where it converged, otherwise the lowest that was seen (among equals the flattest). Of samples that
        are read once, an average.
    loss : float
        The objective's value there. Of samples that are read once, the mean of their values before they were used.
    status : Status
        Why it ended.
    message : str
        The status as a sentence, with the numbers.
    history : History
    state : object
        What ``start=result`` goes on from, in memory alone. Of samples that are read once nothing does.
    """

    coef: Floats
    loss: float
    status: Status
    message: str
    history: History
    state: Any = field(default=None, kw_only=True, repr=False)

    @property
    def converged(self) -> bool:
        """Whether the largest slope is at most tol."""
        return self.status is Status.CONVERGED

    @property
    def n_iter(self) -> int:
        """Evaluations on all samples after the start."""
        return max(0, int(np.count_nonzero(~self.history.partial)) - 1)

    def because(self, status: Status, detail: str) -> Self:
        """Give the same result with this status, and a sentence more that says why."""
        numbers = self.message.removeprefix(self.status.value)
        return replace(self, status=status, message=f"{status.value} {detail}{numbers}")


def largest(gradient: Floats) -> float:
    """Give the largest absolute component: the default measure of convergence."""
    return float(np.max(np.abs(gradient), initial=0.0))


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
