"""The types that solvers and the loop exchange: evaluations, steps, and the state between two steps."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np

from fastgd._optim.result import ErrorEstimate, Row
from fastgd._typing import Floats

VALUE_NOISE = 1e-9
"""The relative noise that is allowed for in a value.

It is far above the rounding unit, because linear predictors can be differences of large terms.
"""


class Evaluation(NamedTuple):
    """Value and gradient of an objective at a point.

    Attributes
    ----------
    value : float
    gradient : ndarray of shape (d,)
    passes : float
        The cost of the evaluation, in passes over the data.
    partial : bool
        Whether it is an estimate from a part of the samples. Convergence is never judged by an estimate.
    dual_excess : float
        The mean of `fastgd.Loss.dual_excess`, for a duality gap; infinite if it is not known.
    """

    value: float
    gradient: Floats
    passes: float = 1.0
    partial: bool = False
    dual_excess: float = np.inf

    @property
    def is_finite(self) -> bool:
        """Whether value and gradient are finite numbers."""
        return bool(np.isfinite(self.value) and np.isfinite(self.gradient).all())


class EvaluatedPoint(NamedTuple):
    """A point with its value and gradient on all samples, and what else `Evaluation` says of it."""

    x: Floats
    value: float
    gradient: Floats
    dual_excess: float = np.inf


class Signal(NamedTuple):
    """Facts about a step that the loop needs to decide whether to stop.

    Attributes
    ----------
    stuck : bool
        Whether the step is too small to change the point in floating point.
    last : bool
        Whether all samples are used up, so that the descent ends at this point.
    exploring : bool
        Whether the solver climbs or waits on purpose. Such a point shows neither convergence nor lack of progress.
    curvature : float
        ``‖Δg‖ / ‖Δx‖`` over the last step: a lower bound of the gradient's Lipschitz constant.
    stable : float
        The largest curvature for which the solver's learning rate is stable; infinite if it adapts its rate.
    """

    stuck: bool = False
    last: bool = False
    exploring: bool = False
    curvature: float = 0.0
    stable: float = np.inf


class WithinEpoch(NamedTuple):
    """How to evaluate a step within an epoch of minibatches, and how to end the epoch early.

    Attributes
    ----------
    anchor : EvaluatedPoint
        The point whose gradient on all samples corrects the estimate at the next point.
    closing : Step
        The step to take instead if the descent has to end now. Its point is evaluated on all samples.
    """

    anchor: EvaluatedPoint
    closing: Step


class Convergence(NamedTuple):
    """How far a point is from the minimum, as Newton's step from there tells.

    Attributes
    ----------
    error : ErrorEstimate
    reached : bool
        Whether that is within the tolerance.
    step : ndarray of shape (d,), or None
        Newton's step ``−H⁻¹ g``; None if it is not known.
    cost : float
        Passes that were spent to find out.
    """

    error: ErrorEstimate
    reached: bool
    step: Floats | None = None
    cost: float = 0.0


class Step(NamedTuple):
    """The next point, as a solver chooses it after an evaluation.

    Attributes
    ----------
    x : ndarray of shape (d,)
        The point to evaluate next.
    state : tuple of arrays and numbers
        The solver's state, to be passed to its next `Solver.step`.
    length : float
        The learning rate: the step is this number times the solver's direction.
    predicted_decrease : float
        The first-order Taylor term ``−gradient·(x − reference)`` at the point that the step starts from.
    reference_value : float
        The value at that point.
    accepted : bool
        Whether the point just evaluated was accepted; False if a line search rejected it.
    cost : float
        Passes over the data that the solver spent to find this step, besides the evaluation.
    signal : Signal
    within_epoch : WithinEpoch or None
        Set if ``x`` is to be evaluated on a minibatch only.
    newton : ndarray of shape (d,), or None
        Newton's step from the point just evaluated, set where the curvature that it is made of is exact or has proved
        itself: the last step halved the gradient in it.
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
    newton: Floats | None = None


class Need(enum.Enum):
    """What a solver requires of a problem besides values and gradients."""

    MINIBATCHES = "estimates from a part of the samples"
    HESSIAN = "second derivatives"
    PROX = "the proximal operator of a penalty that is not smooth"


class Solver(ABC):
    """Base class of solvers: how to choose the next point from an evaluation.

    A solver has no loop, no tolerance and no memory. `init` returns a state, and `step` takes it and returns the next.

    A checkpoint stores the state, and reads it by the annotation of the argument ``state`` of `step`. So the state is a
    NamedTuple of arrays, numbers, booleans, text, tuples of these, or None.
    """

    @abstractmethod
    def init(self, x: Floats) -> Any:
        """Return the initial state at a point x of shape (d,)."""

    @abstractmethod
    def step(self, x: Floats, evaluation: Evaluation, state: Any) -> Step:
        """Return the next step, given the evaluation at x of shape (d,) and the state of the step that led there."""


class BestPoints(NamedTuple):
    """Points that were evaluated on all samples.

    Attributes
    ----------
    last : EvaluatedPoint
    lowest : EvaluatedPoint
        The point with the lowest value.
    flattest : EvaluatedPoint
        The point with the smallest gradient norm.
    """

    last: EvaluatedPoint
    lowest: EvaluatedPoint
    flattest: EvaluatedPoint


class Monitor(NamedTuple):
    """Counters by which the loop judges whether a descent makes progress.

    Attributes
    ----------
    best_gradient_norm : float
        The smallest gradient norm so far.
    stalled : int
        Consecutive evaluations on all samples without progress.
    overshoots : int
        Consecutive evaluations that overshot, see `fastgd._optim.stopping.count_overshoots`.
    curvature : float
        The largest `Signal.curvature` so far.
    """

    best_gradient_norm: float = np.inf
    stalled: int = 0
    overshoots: int = 0
    curvature: float = 0.0


class LoopState(NamedTuple):
    """The state of a descent between two steps. A descent that continues from it gives the same bits as without a stop.

    Attributes
    ----------
    next_step : Step
        The step that leads to the next point.
    evaluation : Evaluation or None
        The objective at that point, if it was evaluated already.
    passes : float
        Passes over the data so far.
    rows : list of Row
        The history: a row for each evaluation that the solver has answered.
    best : BestPoints or None
        None before the first evaluation on all samples.
    monitor : Monitor
    stopped : bool
        Whether the callback asked to stop.
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
        """Return the state of a descent that begins at x of shape (d,).

        Parameters
        ----------
        x : ndarray of shape (d,)
        solver : Solver
        evaluation : Evaluation, optional
            The objective at ``x``, if it was evaluated already.
        passes : float
            Passes over the data before the descent, without those of ``evaluation``.
        """
        arrival = Step(x, solver.init(x), 0.0, 0.0, 0.0, accepted=True)
        passes += 0.0 if evaluation is None else evaluation.passes
        return cls(arrival, evaluation, passes, [], None, Monitor(), stopped=False)

    def limits_from_here(self, max_iter: int, time_limit: float | None) -> tuple[int, float | None]:
        """Return (max_iter, time_limit) of the whole descent, given limits that count from this state."""
        if not self.rows:
            return max_iter, time_limit
        last = self.rows[-1]
        return max_iter + last.iteration - last.partial, None if time_limit is None else time_limit + last.seconds

    def belongs_to(self, objective: Callable[[Floats], Evaluation]) -> bool:
        """Return whether the objective is this state's: value and gradient at the best point are the same bits."""
        if self.best is None:
            return False
        value, gradient, *_ = objective(self.best.lowest.x)
        return value == self.best.lowest.value and bool((gradient == self.best.lowest.gradient).all())
