"""How to step. NumPy only; a rule's state goes in and comes out, so that a checkpoint is that state written down.

A rule answers one evaluation with the next point. It has no loop, no tolerance and no count: a line search's rejected
trial is an iteration of the one loop in `descent`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastgd._typing import Floats
from fastgd._utils.linalg import dot, times
from fastgd.descent import Evaluation, Step

STABLE = {"gd": 2.0, "nesterov": 4.0 / 3.0, "sgd": 3.9 / 2.9}
"""Rates times the largest curvature λ up to which solvers are stable.

Along an eigenvector, a step γ with momentum m maps x' and the one before to ``(1 − γλ) ((1 + m) x' − m x'')``, whose
roots are inside the unit circle for ``γλ < (2 + 2m) / (1 + 2m)``: 2 without momentum, 4/3 as Nesterov's tends to 1
(where steps overshoot, momentum points downhill, so that there are no restarts), and 3.9/2.9 with sgd's 0.95, λ being a
batch's.
"""


ROUNDING = 1e-9
"""Relative noise that a value may have: far above the rounding unit where margins are differences of large terms."""


class _Trail(NamedTuple):
    """The curvature bound in use, and the last point with its gradient (empty before the first step)."""

    lipschitz: float
    coef: Floats
    gradient: Floats


@dataclass(frozen=True)
class GradientDescent:
    """The lecture's iteration: ``x ← x − γ g(x)`` with ``γ = 1 / lipschitz``.

    Parameters
    ----------
    lipschitz : float
        The largest curvature; γ below 2 / lipschitz is stable.
    adaptive : bool
        Raise the bound when a step meets a larger curvature; False keeps γ fixed.
    """

    lipschitz: float
    adaptive: bool

    def start(self, coef: Floats) -> _Trail:  # noqa: ARG002
        """Give the state to begin with at a point."""
        return _Trail(self.lipschitz, np.empty(0), np.empty(0))

    def step(self, coef: Floats, evaluation: Evaluation, state: _Trail) -> Step:
        """Answer an evaluation with the next point."""
        value, gradient, *_ = evaluation
        lipschitz = _raised(state, coef, gradient) if self.adaptive else state.lipschitz
        following = coef - gradient / lipschitz
        return Step(
            following,
            _Trail(lipschitz, coef, gradient),
            length=1.0 / lipschitz,
            predicted_decrease=dot(gradient, coef - following),
            origin_value=value,
            accepted=True,
            stuck=bool((following == coef).all()),
            curvature=_met(state, coef, gradient),
            stable=np.inf if self.adaptive else STABLE["gd"] * lipschitz,
        )


class _Momentum(NamedTuple):
    """The trail, the last gradient step's end, and the momentum sequence t."""

    trail: _Trail
    landing: Floats
    t: float


@dataclass(frozen=True)
class Nesterov:
    """Nesterov's accelerated gradient (1983), restarted when momentum points uphill (O'Donoghue and Candès, 2015).

    From the point y: ``x' = y − γ g(y)``, then ``y' = x' + (t − 1)/t' (x' − x)``. Every evaluation is at a y.

    Parameters
    ----------
    lipschitz, adaptive
        As for `GradientDescent`.
    """

    lipschitz: float
    adaptive: bool

    def start(self, coef: Floats) -> _Momentum:
        """Give the state to begin with at a point."""
        return _Momentum(_Trail(self.lipschitz, np.empty(0), np.empty(0)), coef, 1.0)

    def step(self, coef: Floats, evaluation: Evaluation, state: _Momentum) -> Step:
        """Answer an evaluation with the next point."""
        value, gradient, *_ = evaluation
        lipschitz = _raised(state.trail, coef, gradient) if self.adaptive else state.trail.lipschitz
        landing = coef - gradient / lipschitz
        advance = landing - state.landing
        t = 1.0 if dot(gradient, advance) > 0.0 else state.t
        t_next = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * t * t))
        following = landing + (t - 1.0) / t_next * advance
        return Step(
            following,
            _Momentum(_Trail(lipschitz, coef, gradient), landing, t_next),
            length=1.0 / lipschitz,
            predicted_decrease=dot(gradient, coef - following),
            origin_value=value,
            accepted=True,
            stuck=bool((following == coef).all()),
            curvature=_met(state.trail, coef, gradient),
            stable=np.inf if self.adaptive else STABLE["nesterov"] * lipschitz,
        )


def _raised(trail: _Trail, coef: Floats, gradient: Floats) -> float:
    """Give the curvature bound, raised to the mean curvature along the last step if that was larger.

    It costs no evaluation, and a rate that is too large turns the steps towards the very direction that shows it.
    """
    if not trail.coef.size:
        return trail.lipschitz
    move = coef - trail.coef
    squared = dot(move, move)
    if squared == 0.0:
        return trail.lipschitz
    curvature = dot(move, gradient - trail.gradient) / squared
    return curvature if curvature > trail.lipschitz else trail.lipschitz


def _met(trail: _Trail, coef: Floats, gradient: Floats) -> float:
    """Bound the gradient's Lipschitz constant from below, by its change over the last step's length."""
    if not trail.coef.size:
        return 0.0
    length = float(np.linalg.norm(coef - trail.coef))
    return float(np.linalg.norm(gradient - trail.gradient)) / length if length > 0.0 else 0.0


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


def estimate_lipschitz(
    objective: Callable[[Floats], Evaluation | tuple[float, Floats]],
    coef: Floats,
    rng: np.random.Generator,
    evaluations: int = 20,
) -> float:
    """Estimate the largest curvature at a point: power iteration on differences of gradients.

    Parameters
    ----------
    objective : callable
        Maps a point (d,) to value and gradient.
    coef : ndarray of shape (d,)
        Where to look.
    rng : Generator
        Draws the first direction.
    evaluations : int
        Evaluations spent, the one at ``coef`` included.

    Returns
    -------
    float
        A lower bound of the Hessian's largest absolute eigenvalue, usually within a few per cent; 1 if it is 0.
    """
    base = Evaluation(*objective(coef)).gradient
    direction = rng.standard_normal(coef.size)
    distance = 1e-4 * max(1.0, _norm(coef))
    largest = 0.0
    for _ in range(evaluations - 1):
        direction *= distance / _norm(direction)
        change = Evaluation(*objective(coef + direction)).gradient - base
        largest = _norm(change) / distance
        if not largest > 0.0:
            break
        direction = change
    return largest or 1.0


def _norm(vector: Floats) -> float:
    """Give the Euclidean norm, also where squares overflow."""
    power = int(np.frexp(np.max(np.abs(vector)))[1])
    return float(np.ldexp(np.linalg.norm(np.ldexp(vector, -power)), power))
