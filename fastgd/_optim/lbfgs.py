"""Limited-memory BFGS with a preconditioner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastgd._optim.base import ROUNDING, Evaluation, Step
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

    coef: Floats
    value: float
    gradient: Floats
    direction: Floats
    length: float
    lower: float
    upper: float
    pairs: tuple[_Pair, ...]
    metric: Floats
    age: int
    """Points accepted since the metric was made."""


@dataclass(frozen=True)
class LBFGS:
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
    metric: Callable[[Floats], tuple[Floats, float]] | None = None
    memory: int = 10
    armijo: float = 1e-4
    wolfe: float = 0.9

    def start(self, coef: Floats) -> _Search | None:  # noqa: ARG002
        """Give the state to begin with: nothing is known before the first evaluation."""
        return None

    def step(self, coef: Floats, evaluation: Evaluation, state: _Search | None) -> Step:
        """Answer an evaluation with the next point."""
        value, gradient, *_ = evaluation
        if state is None:
            return self._search(coef, value, gradient, (), np.empty((0, 0)), _STALE)
        slope = dot(state.gradient, state.direction)
        new_slope = dot(gradient, state.direction)
        if not self._decreased(state, value, slope, new_slope):
            state = state._replace(upper=state.length)
            return self._retry(state, _minimizer(state, value, slope))
        if new_slope < self.wolfe * slope:
            state = state._replace(lower=state.length)
            longer = 2.0 * state.length if np.isinf(state.upper) else 0.5 * (state.lower + state.upper)
            return self._retry(state, longer)
        s, y = coef - state.coef, gradient - state.gradient
        pair, pairs = _Pair(s, y, dot(s, y), dot(y, y)), state.pairs
        if pair.sy > np.finfo(np.float64).eps * pair.yy:
            pairs = (*pairs, pair)[-self.memory :]
        fell = _length(gradient, state.metric) <= 0.5 * _length(state.gradient, state.metric)
        return self._search(coef, value, gradient, pairs, state.metric, 0 if fell else state.age + 1)

    def _decreased(self, state: _Search, value: float, slope: float, new_slope: float) -> bool:
        if value <= state.value + self.armijo * state.length * slope:
            return True
        rounding = ROUNDING * abs(state.value)
        return value <= state.value + rounding and abs(new_slope) <= self.wolfe * abs(slope)

    def _search(
        self, coef: Floats, value: float, gradient: Floats, pairs: tuple[_Pair, ...], metric: Floats, age: int
    ) -> Step:
        """Begin a line search at a point just accepted."""
        passes = 0.0
        if self.metric is not None and age >= _STALE:
            metric, passes = self.metric(coef)
            if dot(gradient, times(metric, gradient)) > _VANISHED * abs(value):
                metric = np.empty((0, 0))
            age = 0
        if pairs or metric.size:
            direction, length = -_inverse_hessian_times(gradient, pairs, metric), 1.0
        else:
            direction, length = -gradient, self.first_length or 1.0 / max(dot(gradient, gradient) ** 0.5, 1.0)
        state = _Search(coef, value, gradient, direction, length, 0.0, np.inf, pairs, metric, age)
        return self._propose(state, accepted=True)._replace(passes=passes)

    def _retry(self, state: _Search, length: float) -> Step:
        """Go on with a line search whose last trial was rejected."""
        step = self._propose(state._replace(length=length), accepted=False)
        if not step.stuck and (np.isinf(state.upper) or state.upper - state.lower > 1e-12 * state.upper):
            return step
        if state.pairs:  # begin again from where the search began, without the pairs that misled it
            again = self._search(state.coef, state.value, state.gradient, (), state.metric, _STALE)
            return again._replace(accepted=False)
        return step._replace(stuck=True)

    def _propose(self, state: _Search, *, accepted: bool) -> Step:
        following = state.coef + state.length * state.direction
        return Step(
            following,
            state,
            length=state.length,
            predicted_decrease=-state.length * dot(state.gradient, state.direction),
            origin_value=state.value,
            accepted=accepted,
            stuck=bool((following == state.coef).all()),
        )


_VANISHED = 1e3  # of the value: a decrease that is promised only where curvature has vanished, far from the minimum
_STALE = 3  # points in a row that halved no gradient: the metric is made anew


def _length(gradient: Floats, metric: Floats) -> float:
    """Measure a gradient in the metric, in which Newton's method contracts it."""
    return float(np.sqrt(max(dot(gradient, times(metric, gradient)), 0.0))) if metric.size else 0.0


def _minimizer(state: _Search, value: float, slope: float) -> float:
    """Minimise the parabola through the origin's value and slope and a rejected value, kept inside the bracket."""
    lower, upper = state.lower, state.upper
    rise = value - state.value - upper * slope
    length = -0.5 * slope * upper * upper / rise if np.isfinite(rise) and rise > 0.0 else 0.0
    margin = 0.1 * (upper - lower)
    return min(max(length, lower + margin), upper - margin)


def _inverse_hessian_times(gradient: Floats, pairs: tuple[_Pair, ...], metric: Floats) -> Floats:
    """Apply the L-BFGS approximation of the inverse Hessian: the two-loop recursion around the metric."""
    q = gradient.copy()
    alphas = []
    for pair in reversed(pairs):
        alphas.append(dot(pair.s, q) / pair.sy)
        q -= alphas[-1] * pair.y
    q = times(metric, q) if metric.size else q * (pairs[-1].sy / pairs[-1].yy)
    for pair, alpha in zip(pairs, reversed(alphas), strict=True):
        q += (alpha - dot(pair.y, q) / pair.sy) * pair.s
    return q
