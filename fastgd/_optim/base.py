"""What solvers and the loop exchange: evaluations, steps, and the state between two steps."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np

from fastgd._optim.result import Row
from fastgd._typing import Floats

VALUE_NOISE = 1e-9
"""Relative noise that a value may have: far above the rounding unit where linear predictors are differences of large
terms."""


class Evaluation(NamedTuple):
    """Value and gradient of an objective at a point.

    Attributes
    ----------
    value : float
    gradient : ndarray of shape (d,)
    passes : float
        What the evaluation cost, in passes over the data.
    partial : bool
        Whether it is an estimate from a part of the samples, from which nothing is concluded.
    """

    value: float
    gradient: Floats
    passes: float = 1.0
    partial: bool = False

    @property
    def is_finite(self) -> bool:
        """Whether value and gradient are finite numbers."""
        return bool(np.isfinite(self.value) and np.isfinite(self.gradient).all())


class EvaluatedPoint(NamedTuple):
    """A point with its value and gradient on all samples."""

    x: Floats
    value: float
    gradient: Floats


class Signal(NamedTuple):
    """What a solver tells the loop about a step, beyond where it leads.

    Attributes
    ----------
    stuck : bool
        No step changes anything in floating point.
    last : bool
        No sample is left to evaluate anything by: the descent ends at this point.
    exploring : bool
        The solver climbs or lingers on purpose: neither convergence nor its absence is concluded from this point.
    curvature : float
        How much the gradient changed per unit of way along the last step: a lower bound of its Lipschitz constant.
    stable : float
        The curvature up to which the solver's learning rate is stable; infinite if it adapts its rate.
    """

    stuck: bool = False
    last: bool = False
    exploring: bool = False
    curvature: float = 0.0
    stable: float = np.inf


class WithinEpoch(NamedTuple):
    """How a step within an epoch of minibatches is evaluated, and how the epoch can end early.

    Attributes
    ----------
    anchor : EvaluatedPoint
        The estimate at the next point is corrected by this one.
    closing : Step
        The step to take instead if the descent has to end: to a point that is evaluated on all samples.
    """

    anchor: EvaluatedPoint
    closing: Step


class Step(NamedTuple):
    """What a solver answers to an evaluation.

    Attributes
    ----------
    x : ndarray of shape (d,)
        The point to evaluate next.
    state : tuple of arrays and numbers
        What the solver wants to be given back then.
    length : float
        The learning rate: the step is this number times the solver's direction.
    predicted_decrease : float
        The first-order Taylor term ``−gradient·(x − reference)`` at the point that the step starts from.
    reference_value : float
        The value at that point.
    accepted : bool
        Whether the point just evaluated was taken, or rejected by a line search.
    cost : float
        Passes that finding this step took, besides the evaluation.
    signal : Signal
    within_epoch : WithinEpoch or None
        Set if an estimate from a minibatch will do at ``x``.
    """

    x: Floats
    state: Any
    length: float
    predicted_decrease: float
    reference_value: float
    accepted: bool
    cost: float = 0.0
    signal: Signal = Signal()
    within_epoch: WithinEpoch | None = None


class Need(enum.Enum):
    """What a solver asks of a problem besides values and gradients."""

    MINIBATCHES = "estimates from a part of the samples"
    HESSIAN = "second derivatives"
    PROX = "the proximal operator of a penalty that is not smooth"


class Solver(ABC):
    """How to step. State goes in and comes out: a solver has no loop, no tolerance and no memory of its own.

    A checkpoint is the state written down, so its types are annotated: a NamedTuple of arrays, numbers, booleans, text,
    tuples of these, or None.
    """

    @abstractmethod
    def init(self, x: Floats) -> Any:
        """Return the state to begin with at a point (d,)."""

    @abstractmethod
    def step(self, x: Floats, evaluation: Evaluation, state: Any) -> Step:
        """Return the step that answers the evaluation of a point (d,)."""


class BestPoints(NamedTuple):
    """Points that were evaluated on all samples: the last one, that of the lowest value, and the flattest."""

    last: EvaluatedPoint
    lowest: EvaluatedPoint
    flattest: EvaluatedPoint


class Monitor(NamedTuple):
    """What tells the loop whether a descent makes progress.

    Attributes
    ----------
    best_gradient_norm : float
        The smallest so far, that of the flattest point.
    stalled : int
        Evaluations on all samples in a row without progress.
    overshoots : int
        Evaluations in a row that overshot.
    curvature : float
        The largest that steps met.
    """

    best_gradient_norm: float = np.inf
    stalled: int = 0
    overshoots: int = 0
    curvature: float = 0.0


class LoopState(NamedTuple):
    """Where a descent stands between two steps: all that it needs to go on to the same bits as without a stop.

    Attributes
    ----------
    next_step : Step
        The step that leads to the next point.
    evaluation : Evaluation or None
        The objective at that point, if it is known already.
    passes : float
        Passes spent so far.
    rows : list of Row
        One for each evaluation that a step answered.
    best : BestPoints or None
        None before the first evaluation on all samples.
    monitor : Monitor
    stopped : bool
        Whether the callback asked for the end.
    """

    next_step: Step
    evaluation: Evaluation | None
    passes: float
    rows: list[Row]
    best: BestPoints | None
    monitor: Monitor
    stopped: bool

    @classmethod
    def at(cls, x: Floats, solver: Solver, evaluation: Evaluation | None = None, passes: float = 0.0) -> Self:
        """Return the state at the beginning of a descent from a point, which may have been evaluated already."""
        arrival = Step(x, solver.init(x), 0.0, 0.0, 0.0, accepted=True)
        passes += 0.0 if evaluation is None else evaluation.passes
        return cls(arrival, evaluation, passes, [], None, Monitor(), stopped=False)

    def limits_from_here(self, max_iter: int, time_limit: float | None) -> tuple[int, float | None]:
        """Return limits that count from this state, as limits of the whole descent."""
        if not self.rows:
            return max_iter, time_limit
        last = self.rows[-1]
        return max_iter + last.iteration - last.partial, None if time_limit is None else time_limit + last.seconds

    def belongs_to(self, objective: Callable[[Floats], Evaluation]) -> bool:
        """Whether a descent on this objective led here; it is evaluated at the best point to find out."""
        if self.best is None:
            return False
        value, gradient, *_ = objective(self.best.lowest.x)
        return value == self.best.lowest.value and bool((gradient == self.best.lowest.gradient).all())
