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
    """A step s, the change y of the gradient over it, and the products s·y and y·y."""

    s: Floats
    y: Floats
    sy: float
    yy: float


class _SearchState(NamedTuple):
    """The state of `LBFGS`: a line search from x along a direction, and the curvature information.

    Attributes
    ----------
    x, value, gradient
        The point that the search starts from.
    direction : ndarray of shape (d,)
    length : float
        The trial is at ``x + length direction``.
    lower, upper : float
        The bracket of acceptable lengths so far.
    pairs : tuple of _Pair
        The oldest first.
    preconditioner : ndarray of shape (b, b)
        An approximation of the inverse Hessian, see `LBFGS`; (0, 0) if there is none.
    age : int
        Consecutive accepted points that did not halve the gradient, see `_STALE`.
    """

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


@dataclass(frozen=True)
class LBFGS(Solver):
    """Limited-memory BFGS (Nocedal, 1980) with a line search for the weak Wolfe conditions.

    Each step takes one evaluation; a rejected trial is a step, too. Where the decrease is below the rounding error of
    values, the approximate Wolfe conditions (Hager and Zhang, 2005) compare slopes instead of values. So the gradient
    reaches full precision.

    Parameters
    ----------
    first_length : float, optional
        The learning rate of the first step: the inverse of a typical curvature. None moves by at most 1.
    preconditioner : callable, optional
        Maps a point of shape (d,) to an approximation of the inverse Hessian there, and to its cost in passes. The
        approximation has shape (d, d), or (b, b) for a block that repeats along the diagonal. It replaces the multiple
        of the identity from which L-BFGS starts. With the exact inverse, steps are Newton's. It is computed again when
        `_STALE` accepted points in a row did not halve the gradient.
    memory : int, default 10
        The number of pairs (step, change of the gradient) that are kept.
    armijo : float, default 1e-4
        The share of the predicted decrease that is required of an accepted point.
    wolfe : float, default 0.9
        The slope at an accepted point is at least ``wolfe`` times the (negative) slope at the start of the search.
    """

    first_length: float | None = None
    preconditioner: Callable[[Floats], tuple[Floats, float]] | None = None
    memory: int = 10
    armijo: float = 1e-4
    wolfe: float = 0.9

    def init(self, x: Floats) -> _SearchState | None:  # noqa: ARG002
        """Return None: there is no line search before the first evaluation."""
        return None

    def step(self, x: Floats, evaluation: Evaluation, state: _SearchState | None) -> Step:
        """Return the next trial of the line search, or the first one of a new search from x of shape (d,)."""
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
        fell = _preconditioned_norm(gradient, state.preconditioner) <= 0.5 * _preconditioned_norm(
            state.gradient, state.preconditioner
        )
        return self._search(x, value, gradient, pairs, state.preconditioner, 0 if fell else state.age + 1)

    def _decreased(self, state: _SearchState, value: float, slope: float, new_slope: float) -> bool:
        """Return whether a trial meets the Armijo condition, or within rounding the approximate Wolfe conditions."""
        if value <= state.value + self.armijo * state.length * slope:
            return True
        rounding = VALUE_NOISE * abs(state.value)
        return value <= state.value + rounding and abs(new_slope) <= self.wolfe * abs(slope)

    def _search(
        self, x: Floats, value: float, gradient: Floats, pairs: tuple[_Pair, ...], preconditioner: Floats, age: int
    ) -> Step:
        """Return the first trial of a line search from a point that was just accepted."""
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
        state = _SearchState(x, value, gradient, direction, length, 0.0, np.inf, pairs, preconditioner, age)
        return self._propose(state, accepted=True)._replace(cost=cost)

    def _retry(self, state: _SearchState, length: float) -> Step:
        """Return the next trial of a line search whose last trial was rejected."""
        step = self._propose(state._replace(length=length), accepted=False)
        if not step.signal.stuck and (np.isinf(state.upper) or state.upper - state.lower > 1e-12 * state.upper):
            return step
        if state.pairs:  # a new search from the same point, without the pairs that gave a bad direction
            again = self._search(state.x, state.value, state.gradient, (), state.preconditioner, _STALE)
            return again._replace(accepted=False)
        return step._replace(signal=Signal(stuck=True))

    def _propose(self, state: _SearchState, *, accepted: bool) -> Step:
        """Return the step to the trial of a line search."""
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


_VANISHED = 1e3
"""A preconditioner that predicts a decrease of so many times the value is not used.

Such a prediction means that the curvature has vanished, which happens far from the minimum.
"""
_STALE = 3
"""The preconditioner is computed again after so many consecutive accepted points that did not halve the gradient."""


def _preconditioned_norm(gradient: Floats, preconditioner: Floats) -> float:
    """Return ``√(g·P g)``, the gradient norm that Newton's method reduces; 0 without a preconditioner."""
    return float(np.sqrt(max(dot(gradient, times(preconditioner, gradient)), 0.0))) if preconditioner.size else 0.0


def _minimizer(state: _SearchState, value: float, slope: float) -> float:
    """Return the length that minimises the parabola through the start's value and slope and a rejected value.

    The result is at least a tenth of the bracket away from the bracket's ends.
    """
    lower, upper = state.lower, state.upper
    rise = value - state.value - upper * slope
    length = -0.5 * slope * upper * upper / rise if np.isfinite(rise) and rise > 0.0 else 0.0
    inset = 0.1 * (upper - lower)
    return min(max(length, lower + inset), upper - inset)


def _inverse_hessian_times(gradient: Floats, pairs: tuple[_Pair, ...], preconditioner: Floats) -> Floats:
    """Return the L-BFGS approximation of the inverse Hessian times a gradient, by the two-loop recursion."""
    q = gradient.copy()
    alphas = []
    for pair in reversed(pairs):
        alphas.append(dot(pair.s, q) / pair.sy)
        q -= alphas[-1] * pair.y
    q = times(preconditioner, q) if preconditioner.size else q * (pairs[-1].sy / pairs[-1].yy)
    for pair, alpha in zip(pairs, reversed(alphas), strict=True):
        q += (alpha - dot(pair.y, q) / pair.sy) * pair.s
    return q
