"""The record of a descent: its rows, history, status, outcome and result."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastgd._typing import Floats
from fastgd.exceptions import ConvergenceWarning


class Status(enum.Enum):
    """Why a descent ended: a member for each reason, whose value is a sentence that says what to do.

    `FitResult.status` and `MinimizeResult.status` are members. `fit` and `minimize` warn of all but CONVERGED, STOPPED,
    INTERRUPTED and READ_ONCE.

    Attributes
    ----------
    CONVERGED
        The minimum is at most ``tol`` away, as `fit` and `minimize` measure it.
    MAX_ITER, TIME_LIMIT
        The argument of that name was reached first.
    STOPPED
        The callback asked to stop.
    INTERRUPTED
        Ctrl-C was pressed.
    DIVERGED
        The learning rate is too large.
    UNBOUNDED
        The loss falls without bound.
    SADDLE, MAXIMUM
        The gradient vanishes at a point that is no minimum (`minimize` only).
    PRECISION_LIMIT
        Rounding prevents further progress.
    READ_ONCE
        Each sample was used once, as by ``partial_fit``.
    SEPARATED
        The classes can be separated, so that no finite coefficients are optimal (logistic loss without a penalty).

    Examples
    --------
    >>> import fastgd
    >>> result = fastgd.minimize(lambda x: (x @ x, 2 * x), [3.0, 4.0])
    >>> result.status is fastgd.Status.CONVERGED, result.status.value
    (True, 'Converged: the minimum is at most tol away.')
    """

    CONVERGED = "Converged: the minimum is at most tol away."
    MAX_ITER = "Stopped at max_iter before reaching tol: raise max_iter, or choose a larger tol or another solver."
    TIME_LIMIT = "Stopped at time_limit before reaching tol: raise time_limit, or choose a larger tol."
    STOPPED = "Stopped by the callback; start=result goes on."
    INTERRUPTED = "Interrupted: the best point so far is returned; continue with start=result."
    DIVERGED = (
        "Diverged: the learning rate is too large; choose a smaller one, learning_rate='auto', or solver='lbfgs'."
    )
    UNBOUNDED = "The loss falls without bound, so there is no minimum to find: add a penalty, or look at the objective."
    SADDLE = "Stopped at a saddle point: the gradient is 0, but the loss falls to both sides; use escape_saddles=True."
    MAXIMUM = "Stopped at a maximum: the gradient is 0, but the loss falls to all sides; begin elsewhere."
    PRECISION_LIMIT = "No further progress is possible in floating point before reaching tol: choose a larger tol."
    READ_ONCE = "All samples were used once. One pass cannot show convergence."
    SEPARATED = "The classes can be separated, so no finite coefficients are best: add a penalty (l2 > 0)."

    @property
    def chosen(self) -> bool:
        """Whether the descent ended as the caller asked; otherwise `fit` and `minimize` warn."""
        return self in (Status.CONVERGED, Status.STOPPED, Status.INTERRUPTED, Status.READ_ONCE)


class Row(NamedTuple):
    """One evaluation of a descent: a row of `History`, and the argument of a callback.

    The fields have the meaning of the arrays of `History` with the same names.
    """

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
    distance: float = np.nan


@dataclass(frozen=True, eq=False)
class History:
    """The record of a descent: arrays of shape (m,) with one element per evaluation, the first at the start.

    Attributes
    ----------
    iteration : ndarray of int
        0 for the start, then one more per evaluation on all samples. An estimate from a minibatch has the number of the
        next evaluation on all samples.
    passes : ndarray of float
        Passes over the data so far. Passes over a part of the samples count as fractions.
    loss : ndarray of float
        The value of the objective: mean loss plus penalty.
    gradient_norm : ndarray of float
        The number that is compared with ``tol``: the largest absolute component of the gradient, which `fit` scales to
        standard deviations, see ``tol`` there.
    step : ndarray of float
        The learning rate of the step that led to this point, 0 for the start.
    predicted_decrease : ndarray of float
        The decrease of the objective that the first-order Taylor expansion predicts for that step.
    actual_decrease : ndarray of float
        The actual decrease. Its ratio to the predicted one tends to 1 as the step tends to 0.
    accepted : ndarray of bool
        Whether the point was accepted; False if a line search rejected it.
    partial : ndarray of bool
        Whether loss, gradient norm and decreases are estimates from a part of the samples, such as a minibatch.
    seconds : ndarray of float
        Seconds since the call of `fit` or `minimize`.
    distance : ndarray of float
        The distance from the minimum in standard errors, see ``tol`` of `fit`. NaN or infinite where it is not known.

    Examples
    --------
    >>> import fastgd
    >>> history = fastgd.minimize(lambda x: (x @ x, 2 * x), [3.0, 4.0], solver="gd", learning_rate=0.5).history
    >>> history
    <History of 2 evaluations: loss 25 to 0, gradient norm 8 to 0>
    >>> history.loss.tolist(), history.predicted_decrease.tolist(), history.actual_decrease.tolist()
    ([25.0, 0.0], [0.0, 50.0], [0.0, 25.0])
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
    distance: Floats

    @classmethod
    def from_rows(cls, rows: list[Row]) -> Self:
        """Return the history that consists of these rows, at least one."""
        dtypes = {"iteration": np.int64, "accepted": np.bool_, "partial": np.bool_}
        columns = dict(zip(Row._fields, zip(*rows, strict=True), strict=True))
        return cls(**{name: np.array(column, dtypes.get(name, np.float64)) for name, column in columns.items()})

    def rows(self) -> list[Row]:
        """Return the evaluations as rows."""
        columns = (getattr(self, name).tolist() for name in Row._fields)
        return [Row(*values) for values in zip(*columns, strict=True)]

    def __len__(self) -> int:
        """Return the number of evaluations."""
        return len(self.loss)

    def plot(self, *, ax: Any = None) -> Any:
        """Draw loss, gradient norm, step and decreases against passes by `fastgd.plots.history` (extra: plot).

        Parameters
        ----------
        ax : Axes or array of up to four Axes, optional
            Where to draw. None makes a new figure.

        Returns
        -------
        Axes or ndarray of Axes
        """
        return import_module("fastgd.plots").history(self, ax=ax)  # imported on demand: plots imports this module

    def __repr__(self) -> str:
        """Return one line with the number of evaluations, and the first and last loss and gradient norm."""
        return (
            f"<History of {len(self)} evaluations: loss {self.loss[0]:.6g} to {self.loss[-1]:.6g}, "
            f"gradient norm {self.gradient_norm[0]:.3g} to {self.gradient_norm[-1]:.3g}>"
        )


NO_SENTENCES: Mapping[Status, str] = {}
"""Replaces no sentence: the default of `Outcome.text`."""


@dataclass(frozen=True)
class Outcome:
    """Why a descent ended, in parts from which `text` makes the message for Python or for the command line.

    Attributes
    ----------
    status : Status
    reason : str
        A sentence that explains the status from the data, or "".
    facts : str
        A sentence with the numbers at the end of the descent, or "".
    limit : tuple of str and float, or None
        The name and the value of the argument that ended the descent, if one did.
    notes : tuple of str
        Further sentences.
    recorded : str or None
        A text that replaces status, reason and facts, such as the message of a model that was loaded from a file.
    """

    status: Status
    reason: str = ""
    facts: str = ""
    limit: tuple[str, float] | None = None
    notes: tuple[str, ...] = ()
    recorded: str | None = None

    def text(
        self,
        sentences: Mapping[Status, str] = NO_SENTENCES,
        option: Callable[[str, str], str] = "{}={}".format,
    ) -> str:
        """Return the outcome as one text.

        Parameters
        ----------
        sentences : mapping of Status to str
            Sentences that replace the values of some statuses.
        option : callable
            Maps the name and the value of an argument to the text for it. The default is ``name=value``.
        """
        parts = [sentences.get(self.status, self.status.value), self.reason, self.facts]
        if self.recorded is not None:
            parts = [self.recorded]
        if self.limit is not None:
            name, value = self.limit
            shown = str(value) if isinstance(value, int) else f"{value:g} s"
            parts.append(f"{option(name, shown)}.")
        return " ".join(filter(None, (*parts, *self.notes)))

    def with_note(self, note: str) -> Self:
        """Return this outcome with one more sentence at its end, or this outcome itself if ``note`` is empty."""
        return replace(self, notes=(*self.notes, note)) if note else self


class ErrorEstimate(NamedTuple):
    """How far the last evaluated point of a fit was from the minimum, before Newton's step from there was taken.

    With the gradient g and the Hessian H of the objective at that point, over n samples, Newton's step is ``−H⁻¹ g``.

    Attributes
    ----------
    loss_left : float
        What the loss was above its minimum: half the Newton decrement, ``½ g·H⁻¹ g``.
    distance : float
        The distance from the minimum in standard errors: ``√(n g·H⁻¹ g / φ)``. φ is 1 for classes, otherwise twice the
        mean loss. No coefficient and no linear combination of them was further from its value at the minimum.

    Examples
    --------
    >>> import fastgd
    >>> result = fastgd.fit([[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 0.0, 1.0], loss="logistic")
    >>> result.error_estimate.distance < 1e-4
    True
    """

    loss_left: float
    distance: float


UNKNOWN_ERROR = ErrorEstimate(np.nan, np.inf)
"""The estimate where nothing is known of the curvature."""


@dataclass(frozen=True, eq=False)
class Result:
    """The result of a descent: the base class of `FitResult` and of the result of `minimize`.

    Attributes
    ----------
    loss : float
        The value of the objective at the returned point. After ``partial_fit``, the mean loss of the samples, each
        evaluated before it was used.
    status : Status
        Why the descent ended.
    message : str
        The status as a sentence, with the numbers.
    converged : bool
        Whether the minimum is at most ``tol`` away.
    n_iter : int
        The number of evaluations on all samples after the start.
    history : History
        A record of all evaluations.
    outcome : Outcome
        The parts of the message.
    state : object
        What ``start=result`` continues from. It is not saved to files. None if the descent cannot be continued.

    Examples
    --------
    >>> import fastgd
    >>> result = fastgd.minimize(lambda x: (x @ x, 2 * x), [3.0, 4.0], solver="gd", learning_rate=0.5)
    >>> result.converged, result.n_iter, result.loss
    (True, 1, 0.0)
    """

    loss: float
    outcome: Outcome
    history: History
    state: Any = field(default=None, kw_only=True, repr=False)

    @property
    def status(self) -> Status:
        """Why the descent ended."""
        return self.outcome.status

    @property
    def message(self) -> str:
        """The status as a sentence, with the numbers."""
        return self.outcome.text()

    @property
    def converged(self) -> bool:
        """Whether the minimum is at most tol away."""
        return self.status is Status.CONVERGED

    @property
    def n_iter(self) -> int:
        """The number of evaluations on all samples after the start."""
        return max(0, int(np.count_nonzero(~self.history.partial)) - 1)

    def concerns(self) -> list[tuple[type[Warning], str]]:
        """Return the warnings that the descent gives rise to, as categories and texts."""
        return [] if self.status.chosen else [(ConvergenceWarning, self.message)]

    def with_reason(self, status: Status, reason: str) -> Self:
        """Return this result with another status, and a sentence that explains it."""
        return replace(self, outcome=replace(self.outcome, status=status, reason=reason))

    def with_note(self, note: str) -> Self:
        """Return this result with one more sentence in its message."""
        return replace(self, outcome=self.outcome.with_note(note))


@dataclass(frozen=True, eq=False)
class LoopResult(Result):
    """The result of `run_loop`: a `Result` with the point.

    Attributes
    ----------
    x : ndarray of shape (d,)
        The last point if the descent converged, moved by Newton's step if that is known, otherwise the lowest. If
        rounding ended the descent, the point with the smallest gradient norm among those of nearly the lowest value. If
        samples are used once, an average of points.
    error_estimate : ErrorEstimate or None
        What Newton's step from the last point told; None if the loop judged by the gradient norm.
    """

    x: Floats
    error_estimate: ErrorEstimate | None = field(default=None, kw_only=True)
