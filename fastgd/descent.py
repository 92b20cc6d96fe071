"""The one loop: it evaluates, records, asks a rule for the next point, and decides when to stop."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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
    last: bool = False
    """No sample is left to evaluate anything by: the descent ends at this point."""


class Rule(Protocol):
    """How to step. State goes in and comes out; a rule has no loop, no tolerance and no memory of its own."""

    def start(self, coef: Floats) -> Any:
        """Give the state to begin with at a point."""

    def step(self, coef: Floats, evaluation: Evaluation, state: Any) -> Step:
        """Answer an evaluation with the next point."""


class Status(enum.Enum):
    """Why a descent ended: a sentence that a person can act on."""

    CONVERGED = "Converged: the largest slope is at most tol."
    MAX_ITER = "Stopped at max_iter before reaching tol: raise max_iter, or choose a larger tol or another solver."
    TIME_LIMIT = "Stopped at time_limit before reaching tol: raise time_limit, or choose a larger tol."
    STOPPED = "Stopped by the callback."
    INTERRUPTED = "Interrupted: the best point so far is returned; continue with start=result."
    DIVERGED = "Diverged: the loss grew step after step; choose a smaller learning rate, or solver='lbfgs'."
    PRECISION_LIMIT = "No further progress is possible in floating point before reaching tol: choose a larger tol."
    READ_ONCE = "Each sample given was used in one step; whether that is enough, no one reading can tell."
    SEPARATED = "The classes can be separated, so no finite coefficients are best: add a penalty (l2 > 0)."


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
        Of samples that are read once: the rule's state, for what goes on with the next of them.
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
        return int(self.history.iteration[-1])


def largest(gradient: Floats) -> float:
    """Give the largest absolute component: the default measure of convergence."""
    return float(np.max(np.abs(gradient), initial=0.0))


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is looked at and reported by status
def descend(
    objective: Callable[[Floats], Evaluation | tuple[float, Floats]],
    start: Floats,
    rule: Rule,
    *,
    tol: float,
    max_iter: int,
    time_limit: float | None = None,
    gradient_norm: Callable[[Floats], float] = largest,
    callback: Callable[[Row], object] | None = None,
    first: Evaluation | None = None,
    passes: float = 0.0,
    began: float | None = None,
    estimate: Callable[[Floats, Anchor], Evaluation] | None = None,
) -> Result:
    """Move a point downhill until its largest slope is at most ``tol``.

    Parameters
    ----------
    objective : callable
        Maps a point (d,) to its value and gradient (d,), and optionally the passes that this cost (else 1).
    start : ndarray of shape (d,)
    rule : Rule
        How to step.
    tol : float
        Converged when ``gradient_norm(gradient) <= tol`` at an accepted point.
    max_iter : int
        Evaluations after the one at the start, not counting estimates.
    time_limit : float, optional
        In seconds; checked after every evaluation.
    gradient_norm : callable
        Maps a gradient to the number that convergence is judged by.
    callback : callable, optional
        Called with each `Row`; a true answer stops the descent.
    first : Evaluation, optional
        The objective at the start, if it is known already; its passes are counted.
    passes, began : float, optional
        Passes spent before the first evaluation, and the `time.perf_counter` from which seconds count.
    estimate : callable, optional
        Maps a point and an `Anchor` to a partial evaluation, for rules whose steps have an anchor.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        If value or gradient are not finite at the start.
    """
    began = time.perf_counter() if began is None else began
    coef, state = start, rule.start(start)
    rows: list[Row] = []
    whole: list[Row] = []  # those of evaluations on all samples
    lowest = flattest = None  # the points of the smallest value and of the smallest slope
    smallest = np.inf
    arrival = None  # the step that led to coef
    ending = None  # why the next evaluation is the last
    while True:
        if arrival and arrival.anchor and estimate:
            evaluation = estimate(coef, arrival.anchor)
        else:
            evaluation = Evaluation(*objective(coef)) if first is None or rows else first
        passes += evaluation.passes
        finite = bool(np.isfinite(evaluation.value) and np.isfinite(evaluation.gradient).all())
        if lowest is None and not finite and not evaluation.partial:
            raise ValueError("start: the objective or its gradient is not finite there; choose another start")
        step = rule.step(coef, evaluation, state)
        row = Row(
            iteration=len(whole),
            passes=passes,
            loss=evaluation.value,
            gradient_norm=gradient_norm(evaluation.gradient) if finite else np.inf,
            step=arrival.length if arrival else 0.0,
            predicted_decrease=arrival.predicted_decrease if arrival else 0.0,
            actual_decrease=arrival.origin_value - evaluation.value if arrival else 0.0,
            accepted=step.accepted,
            partial=evaluation.partial,
            seconds=time.perf_counter() - began,
        )
        rows.append(row)
        if not row.partial:
            whole.append(row)
            if finite and (lowest is None or evaluation.value < lowest[1].value):
                lowest = coef, evaluation
            if flattest is None or row.gradient_norm < smallest:
                flattest, smallest = (coef, evaluation), row.gradient_norm
        stopped = callback is not None and bool(callback(row))
        status = _verdict(row, whole, step, tol, max_iter, time_limit, finite=finite, stopped=stopped)
        if ending is not None:
            status = status if status is Status.CONVERGED else ending
            break
        if row.partial and status in (Status.STOPPED, Status.TIME_LIMIT):
            ending, step = status, step.closing or step
        elif status is not None:
            break
        coef, state, arrival = step.coef, step.state, step
        passes += step.passes
    if not whole:
        loss = float(np.mean([row.loss for row in rows]))
        message = f"{status.value} {len(rows)} batches, {row.passes:.3g} passes, {row.seconds:.3g} s."
        return Result(step.coef, loss, status, message, History.from_rows(rows), state=step.state)
    assert lowest is not None and flattest is not None  # noqa: S101, PT018  the start was finite
    if status is Status.PRECISION_LIMIT and flattest[1].value - lowest[1].value <= 1e-9 * abs(lowest[1].value):
        coef, evaluation = flattest  # values differ by rounding there, slopes tell more
    elif status is not Status.CONVERGED:
        coef, evaluation = lowest
    slope = gradient_norm(evaluation.gradient)
    message = (
        f"{status.value} Largest slope {slope:.3g}, tol {tol:.3g}, "
        f"after {row.iteration} iterations, {row.passes:.3g} passes, {row.seconds:.3g} s."
    )
    return Result(coef, evaluation.value, status, message, History.from_rows(rows))


_PATIENCE = 50  # evaluations in a row without progress above rounding, or half of all if that is more
_RISES = 5  # accepted evaluations in a row at which the loss rose


def _verdict(
    row: Row,
    whole: list[Row],
    step: Step,
    tol: float,
    max_iter: int,
    time_limit: float | None,
    *,
    finite: bool,
    stopped: bool,
) -> Status | None:
    """Say whether to stop after a row, and why; estimates show neither convergence nor lack of progress."""
    if row.accepted and row.gradient_norm <= tol and not row.partial:
        return Status.CONVERGED
    if row.accepted and not finite:
        return Status.DIVERGED
    if step.last:
        return Status.READ_ONCE
    if not row.partial and len(whole) > _RISES and all(map(_rose, whole[-_RISES:])) and row.loss > whole[0].loss:
        return Status.DIVERGED
    if stopped:
        return Status.STOPPED
    if not row.partial and (step.stuck or _exhausted(whole)):
        return Status.PRECISION_LIMIT
    if not row.partial and row.iteration >= max_iter:
        return Status.MAX_ITER
    if time_limit is not None and row.seconds >= time_limit:
        return Status.TIME_LIMIT
    return None


def _rounding(row: Row) -> float:
    return 8.0 * float(np.finfo(np.float64).eps) * abs(row.loss)


def _rose(row: Row) -> bool:
    return row.accepted and row.actual_decrease < -_rounding(row)


def _exhausted(rows: list[Row]) -> bool:
    """Whether, for long, the loss moved by rounding alone and no gradient was smaller than all before."""
    patience = max(_PATIENCE, len(rows) // 2)
    if len(rows) <= patience or abs(rows[-1].actual_decrease) > _rounding(rows[-1]):
        return False
    if len(rows) % 10:  # looking at all rows at every tenth will do
        return False
    recent, earlier = rows[-patience:], rows[:-patience]
    if any(abs(row.actual_decrease) > _rounding(row) for row in recent):
        return False
    return min(row.gradient_norm for row in recent) >= min(row.gradient_norm for row in earlier)
