"""The record of a descent: rows, history, status, result."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastgd._typing import Floats


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
