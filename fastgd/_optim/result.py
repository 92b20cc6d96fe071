"""The record of a descent: rows, history, status, outcome, result."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastgd._typing import Floats


class Status(enum.Enum):
    """Why a descent ended. The value is a sentence that a person can act on."""

    CONVERGED = "Converged: the gradient norm is at most tol."
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
        Passes over the data up to here, statistics and sub-samples included as fractions.
    loss : ndarray of float
        The objective: mean loss plus penalty.
    gradient_norm : ndarray of float
        What convergence is judged by: the largest component of the scaled gradient.
    step : ndarray of float
        The learning rate of the step that led here, 0 for the start.
    predicted_decrease : ndarray of float
        The decrease that the first-order Taylor expansion predicted for that step.
    actual_decrease : ndarray of float
        The decrease that came. The ratio of the two tends to 1 as the step gets small.
    accepted : ndarray of bool
        False where a line search rejected the point.
    partial : ndarray of bool
        True where loss and gradient, and so decreases, are estimates from a part of the samples, as minibatches of
        ``"sgd"`` give.
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
        """Return the history of these rows."""
        dtypes = {"iteration": np.int64, "accepted": np.bool_, "partial": np.bool_}
        columns = dict(zip(Row._fields, zip(*rows, strict=True), strict=True))
        return cls(**{name: np.array(column, dtypes.get(name, np.float64)) for name, column in columns.items()})

    def __len__(self) -> int:
        """Return the number of evaluations."""
        return len(self.loss)

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the history, see `fastgd.plots.history` (extra: plot)."""
        return import_module("fastgd.plots").history(self, ax=ax)  # by name: plots stand above this module

    def __repr__(self) -> str:
        """Return one line with the number of evaluations, and where they began and ended."""
        return (
            f"<History of {len(self)} evaluations: loss {self.loss[0]:.6g} to {self.loss[-1]:.6g}, "
            f"gradient norm {self.gradient_norm[0]:.3g} to {self.gradient_norm[-1]:.3g}>"
        )


NO_SENTENCES: Mapping[Status, str] = {}


@dataclass(frozen=True)
class Outcome:
    """Why a descent ended, in parts that are put into words for Python or for the command line.

    Attributes
    ----------
    status : Status
    reason : str
        What only the data could tell, in a sentence that follows the status.
    facts : str
        The numbers that the descent ended with, in a sentence.
    limit : tuple of str and float, or None
        The argument that ended it and its value.
    notes : tuple of str
        Further sentences.
    recorded : str or None
        A text that takes the place of status, reason and facts, as a model's file has it.
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
            What to say of a status instead of its value.
        option : callable
            Writes an argument, given its name and its value.
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
        """Return this outcome with one more sentence; an empty one changes nothing."""
        return replace(self, notes=(*self.notes, note)) if note else self


@dataclass(frozen=True, eq=False)
class Result:
    """How a descent ended and how it got there.

    Attributes
    ----------
    loss : float
        The objective's value where it ended. Of samples that are read once, the mean of their values before they were
        used.
    outcome : Outcome
        Why it ended, in parts.
    history : History
    state : object
        What ``start=result`` goes on from, in memory alone. Of samples that are read once nothing does.
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
        """Whether the gradient norm is at most tol."""
        return self.status is Status.CONVERGED

    @property
    def n_iter(self) -> int:
        """Evaluations on all samples after the start."""
        return max(0, int(np.count_nonzero(~self.history.partial)) - 1)

    def with_reason(self, status: Status, reason: str) -> Self:
        """Return the same result with this status, and a sentence that says why."""
        return replace(self, outcome=replace(self.outcome, status=status, reason=reason))

    def with_note(self, note: str) -> Self:
        """Return the same result with one more sentence in its message."""
        return replace(self, outcome=self.outcome.with_note(note))


@dataclass(frozen=True, eq=False)
class LoopResult(Result):
    """Where the loop ended.

    Attributes
    ----------
    x : ndarray of shape (d,)
        The point: where it converged, otherwise the lowest that was seen, among equals that of the smallest gradient
        norm. Of samples that are read once, an average.
    """

    x: Floats
