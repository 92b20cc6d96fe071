"""What solvers and the loop exchange: evaluations, steps, and the state between two steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from fastgd._optim.result import Row
from fastgd._typing import Floats


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


ROUNDING = 1e-9
"""Relative noise that a value may have: far above the rounding unit where margins are differences of large terms."""
