"""Limited-memory BFGS with a preconditioner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastgd._optim.base import VALUE_NOISE, Evaluation, Signal, Solver, Step
from fastgd._typing import Floats
from fastgd._utils.linalg import dot, times


class _Pair(NamedTuple):
    """A step s, the change y of the gradient along it, and their products s·y and y·y."""

    s: Floats
    y: Floats
    sy: float
    yy: float


class _Search(NamedTuple):
    """A line search from ``coef`` along ``direction``, and what shaped it: a metric and pairs, oldest first."""

    x: Floats
    value: float
    gradient: Floats
    direction: Floats
    length: float
    lower: float
    upper: float
    pairs: tuple[_Pair, ...]
    preconditioner: Floats
    age: int
    """Points accepted since the metric was made."""


@dataclass(frozen=True)
class LBFGS(Solver):
    """Limited-memory BFGS (Nocedal, 1980) with a line search for the weak Wolfe conditions.

    One evaluation per step; a rejected trial is a step, too. Where the decrease is lost in rounding, the approximate
    Wolfe conditions (Hager and Zhang, 2005) go on by slopes alone, so that gradients reach full precision.

    Parameters
    ----------
    first_length : float, optional
        The inverse of a typical curvature, for the first step; None moves by at most 1.
    metric : callable, optional
        Maps a point (d,) to an approximation of the inverse Hessian there, (d, d) or a block that repeats along the
        diagonal, and the passes that this cost. It takes the place of a multiple of the identity that the pairs
        correct: with a good one, steps are Newton's. It is asked again where slopes fall more slowly than Newton's
        would.
    memory : int
        Pairs kept.
    """

    first_length: float | None = None
    preconditioner: Callable[[Floats], tuple[Floats, float]] | None = None
    memory: int = 10
    armijo: float = 1e-4
    wolfe: float = 0.9

    def init(self, x: Floats) -> _Search | None:  # noqa: ARG002
        """Return the state to begin with: nothing is known before the first evaluation."""
        return None

    def step(self, x: Floats, evaluation: Evaluation, state: _Search | None) -> Step:
        """Answer an evaluation with the next point."""
        value, gradient, *_ = evaluation
        if state is None:
            return self._search(x, value, gradient, (), np.empty((0, 0)), _STALE)
        slope = dot(state.gradient, state.direction)
        new_slope = dot(gradient, state.direction)
        if not self._decreased(state, value, slope, new_slope):
            state = state._replace(upper=state.length)
            return self._retry(state, _minimizer(state, value, slope))
        if new_slope < self.wolfe * slope:
            state = state._replace(lower=state.length)
            longer = 2.0 * state.length if np.isinf(state.upper) else 0.5 * (state.lower + state.upper)
            return self._retry(state, longer)
        s, y = x - state.x, gradient - state.gradient
        pair, pairs = _Pair(s, y, dot(s, y), dot(y, y)), state.pairs
        if pair.sy > np.finfo(np.float64).eps * pair.yy:
            pairs = (*pairs, pair)[-self.memory :]
        fell = _length(gradient, state.preconditioner) <= 0.5 * _length(state.gradient, state.preconditioner)
        return self._search(x, value, gradient, pairs, state.preconditioner, 0 if fell else state.age + 1)

    def _decreased(self, state: _Search, value: float, slope: float, new_slope: float) -> bool:
        if value <= state.value + self.armijo * state.length * slope:
            return True
        rounding = VALUE_NOISE * abs(state.value)
        return value <= state.value + rounding and abs(new_slope) <= self.wolfe * abs(slope)

    def _search(
        self, x: Floats, value: float, gradient: Floats, pairs: tuple[_Pair, ...], preconditioner: Floats, age: int
    ) -> Step:
        """Begin a line search at a point just accepted."""
        cost = 0.0
        if self.preconditioner is not None and age >= _STALE:
            preconditioner, cost = self.preconditioner(x)
            if dot(gradient, times(preconditioner, gradient)) > _VANISHED * abs(value):
                preconditioner = np.empty((0, 0))
            age = 0
        if pairs or preconditioner.size:
            direction, length = -_inverse_hessian_times(gradient, pairs, preconditioner), 1.0
        else:
            direction, length = -gradient, self.first_length or 1.0 / max(dot(gradient, gradient) ** 0.5, 1.0)
        state = _Search(x, value, gradient, direction, length, 0.0, np.inf, pairs, preconditioner, age)
        return self._propose(state, accepted=True)._replace(cost=cost)

    def _retry(self, state: _Search, length: float) -> Step:
        """Go on with a line search whose last trial was rejected."""
        step = self._propose(state._replace(length=length), accepted=False)
        if not step.signal.stuck and (np.isinf(state.upper) or state.upper - state.lower > 1e-12 * state.upper):
            return step
        if state.pairs:  # begin again from where the search began, without the pairs that misled it
            again = self._search(state.x, state.value, state.gradient, (), state.preconditioner, _STALE)
            return again._replace(accepted=False)
        return step._replace(signal=Signal(stuck=True))

    def _propose(self, state: _Search, *, accepted: bool) -> Step:
        next_x = state.x + state.length * state.direction
        return Step(
            next_x,
            state,
            length=state.length,
            predicted_decrease=-state.length * dot(state.gradient, state.direction),
            reference_value=state.value,
            accepted=accepted,
            signal=Signal(stuck=bool((next_x == state.x).all())),
        )


_VANISHED = 1e3  # of the value: a decrease that is promised only where curvature has vanished, far from the minimum
_STALE = 3  # points in a row that halved no gradient: the metric is made anew


def _length(gradient: Floats, preconditioner: Floats) -> float:
    """Measure a gradient in the metric, in which Newton's method contracts it."""
    return float(np.sqrt(max(dot(gradient, times(preconditioner, gradient)), 0.0))) if preconditioner.size else 0.0


def _minimizer(state: _Search, value: float, slope: float) -> float:
    """Minimise the parabola through the origin's value and slope and a rejected value, kept inside the bracket."""
    lower, upper = state.lower, state.upper
    rise = value - state.value - upper * slope
    length = -0.5 * slope * upper * upper / rise if np.isfinite(rise) and rise > 0.0 else 0.0
    margin = 0.1 * (upper - lower)
    return min(max(length, lower + margin), upper - margin)


def _inverse_hessian_times(gradient: Floats, pairs: tuple[_Pair, ...], preconditioner: Floats) -> Floats:
    """Apply the L-BFGS approximation of the inverse Hessian: the two-loop recursion around the metric."""
    q = gradient.copy()
    alphas = []
    for pair in reversed(pairs):
        alphas.append(dot(pair.s, q) / pair.sy)
        q -= alphas[-1] * pair.y
    q = times(preconditioner, q) if preconditioner.size else q * (pairs[-1].sy / pairs[-1].yy)
    for pair, alpha in zip(pairs, reversed(alphas), strict=True):
        q += (alpha - dot(pair.y, q) / pair.sy) * pair.s
    return q
