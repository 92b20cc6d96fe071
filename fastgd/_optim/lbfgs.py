"""Limited-memory BFGS with a preconditioner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastgd._optim.base import VALUE_NOISE, Evaluation, Signal, Solver, Step
from fastgd._typing import Floats
from fastgd._utils.linalg import NO_INVERSE, Inverse, dot


class _Pair(NamedTuple):
    """A step s, the change y of the gradient over it, and the products s·y, y·y and s·s.

    Softness is the inverse curvature along the step: s·s / s·y, or with a preconditioner P Pᵀ, s·y / |Pᵀ y|².
    """

    s: Floats
    y: Floats
    sy: float
    yy: float
    softness: float

    def about(self, inverse: Inverse) -> _Pair:
        """Return the same pair with its softness relative to another preconditioner."""
        length = inverse.norm(self.y) ** 2
        return self._replace(softness=self.sy / length if length else dot(self.s, self.s) / self.sy)


class Preconditioner(NamedTuple):
    """An approximation of the inverse Hessian at a point.

    Attributes
    ----------
    inverse : Inverse
        That does not exist if there is none.
    cost : float
        Passes over the data that were spent to make it.
    exact : bool
        Whether it is the inverse Hessian but for rounding.
    """

    inverse: Inverse
    cost: float = 0.0
    exact: bool = False


MakePreconditioner = Callable[[Floats], Preconditioner]


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
    inverse : Inverse
        `Preconditioner.inverse`.
    age : int
        Consecutive accepted points at which the gradient did not contract.
    patience : int
        Of which so many are waited for until the preconditioner is computed again.
    closing : int
        The nearness of the end for which the preconditioner was made, see ``near_end`` of `LBFGS`.
    exact_nearby : bool
        Whether it was the inverse Hessian there.
    """

    x: Floats
    value: float
    gradient: Floats
    direction: Floats
    length: float
    lower: float
    upper: float
    pairs: tuple[_Pair, ...]
    inverse: Inverse
    age: int
    patience: int
    closing: int = 0
    exact_nearby: bool = False


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
        Maps a point of shape (d,) to a `Preconditioner`. It replaces the multiple of the identity from which L-BFGS
        starts. With the exact inverse Hessian, steps are Newton's. It is computed again when at ``patience`` accepted
        points in a row the gradient did not contract; each time that it is not exact, twice as many are waited for.
    memory : int, default 10
        The number of pairs (step, change of the gradient) that are kept.
    refined : callable, optional
        What computes the preconditioner again, if not ``preconditioner``.
    at_end : callable, optional
        What computes it near the end, if not ``refined``.
    near_end : callable, optional
        Maps value and ``−gradient·direction`` to how near the minimum may be: 0 if it is far, and larger numbers in
        stages. When one is reached, ``at_end`` or one of the others gives Newton's step, by which convergence can be
        judged. Without any, the direction itself is taken for Newton's step, computed as if curvature were the softest
        that the pairs have met.
    trust_contraction : bool, default False
        Whether a preconditioner with which the last step halved the gradient is good enough near the end.
    rescaled : bool, default False
        Whether the preconditioner is multiplied by what it would have to be along the last step.
    patience : int, default 3
    contraction : float, default 0.5
        What a step, whose first trial was accepted, leaves of the preconditioned gradient at most.
    quadratic : bool, default False
        Whether curvature is the same everywhere, so that it cannot have vanished, see `_VANISHED`.
    armijo : float, default 1e-4
        The share of the predicted decrease that is required of an accepted point.
    wolfe : float, default 0.9
        The slope at an accepted point is at least ``wolfe`` times the (negative) slope at the start of the search.
    """

    first_length: float | None = None
    preconditioner: MakePreconditioner | None = None
    memory: int = 10
    refined: MakePreconditioner | None = None
    at_end: MakePreconditioner | None = None
    near_end: Callable[[float, float], int] | None = None
    trust_contraction: bool = False
    rescaled: bool = False
    patience: int = 3
    contraction: float = 0.5
    quadratic: bool = False
    armijo: float = 1e-4
    wolfe: float = 0.9

    def init(self, x: Floats) -> _SearchState | None:  # noqa: ARG002
        """Return None: there is no line search before the first evaluation."""
        return None

    def step(self, x: Floats, evaluation: Evaluation, state: _SearchState | None) -> Step:
        """Return the next trial of the line search, or the first one of a new search from x of shape (d,)."""
        value, gradient, *_ = evaluation
        if state is None:
            return self._search(x, value, gradient, (), None, self.patience)
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
        sy, yy, pairs = dot(s, y), dot(y, y), state.pairs
        if sy > np.finfo(np.float64).eps * yy:
            pairs = (*pairs, _Pair(s, y, sy, yy, 1.0).about(state.inverse))[-self.memory :]
        before = state.inverse.norm(state.gradient)
        left = state.inverse.norm(gradient) / before if before else 1.0
        age = 0 if left <= self.contraction and np.isinf(state.upper) else state.age + 1
        return self._search(x, value, gradient, pairs, state, age, halved=left <= _TRUSTED)

    def _decreased(self, state: _SearchState, value: float, slope: float, new_slope: float) -> bool:
        """Return whether a trial meets the Armijo condition, or within rounding the approximate Wolfe conditions."""
        if value <= state.value + self.armijo * state.length * slope:
            return True
        rounding = VALUE_NOISE * abs(state.value)
        return value <= state.value + rounding and abs(new_slope) <= self.wolfe * abs(slope)

    def _search(
        self,
        x: Floats,
        value: float,
        gradient: Floats,
        pairs: tuple[_Pair, ...],
        before: _SearchState | None,
        age: int,
        *,
        halved: bool = False,
    ) -> Step:
        """Return the first trial of a line search from a point that was just accepted."""
        inverse, patience, closing, nearby = NO_INVERSE, self.patience, 0, False
        if before:
            inverse, patience, closing, nearby = before.inverse, before.patience, before.closing, before.exact_nearby
        cost, exact = 0.0, False
        renew = self.refined if before and self.preconditioner and self.refined else self.preconditioner
        if renew is not None and age >= patience:
            inverse, cost, exact = self._usable(renew(x), value, gradient)
            if not inverse.exists and self.refined is not None and renew is not self.refined:
                inverse, further, exact = self._usable(self.refined(x), value, gradient)
                cost += further
            pairs = tuple(pair.about(inverse) for pair in pairs)
            age, nearby = 0, False
            patience = patience if exact or before is None else 2 * patience
        if pairs or inverse.exists:
            softness = pairs[-1].softness if pairs and self.rescaled else None
            direction, length = -_inverse_hessian_times(gradient, pairs, inverse, softness), 1.0
        else:
            direction, length = -gradient, self.first_length or 1.0 / max(dot(gradient, gradient) ** 0.5, 1.0)
        final = self.at_end or self.refined or self.preconditioner
        trusted = exact or final is None or (halved and self.trust_contraction)
        near = 0 if self.near_end is None or trusted else self.near_end(value, -dot(gradient, direction))
        if final is not None and near > closing:
            made = self._usable(final(x), value, gradient)
            cost, closing = cost + made.cost, near
            if made.inverse.exists:
                inverse, exact, nearby, age, length = made.inverse, made.exact, made.exact, 0, 1.0
                direction, pairs = -inverse.times(gradient), ()
        elif exact and inverse.exists:
            direction, pairs = -inverse.times(gradient), ()
        kept = pairs, inverse, age, patience, closing, nearby
        state = _SearchState(x, value, gradient, direction, length, 0.0, np.inf, *kept)
        step = self._propose(state, accepted=True)._replace(cost=cost)
        if exact or nearby or halved:
            return step._replace(newton=direction)
        if pairs and (self.near_end is None if inverse.exists else final is None):
            softest = max(pair.softness for pair in pairs)
            softest = max(1.0, softest) if inverse.exists else softest
            return step._replace(newton=-_inverse_hessian_times(gradient, pairs, inverse, softest))
        return step

    def _usable(self, made: Preconditioner, value: float, gradient: Floats) -> Preconditioner:
        """Return a preconditioner, without its inverse if it predicts what cannot be, see `_VANISHED`."""
        if not self.quadratic and made.inverse.norm(gradient) ** 2 > _VANISHED * abs(value):
            return made._replace(inverse=NO_INVERSE, exact=False)
        return made

    def _retry(self, state: _SearchState, length: float) -> Step:
        """Return the next trial of a line search whose last trial was rejected."""
        step = self._propose(state._replace(length=length), accepted=False)
        if not step.signal.stuck and (np.isinf(state.upper) or state.upper - state.lower > 1e-12 * state.upper):
            return step
        if state.pairs:  # a new search from the same point, without the pairs that gave a bad direction
            again = self._search(state.x, state.value, state.gradient, (), state, state.patience)
            return again._replace(accepted=False, newton=None)
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


_TRUSTED = 0.5
"""A preconditioner with which a step leaves no more of the gradient is taken for the inverse Hessian."""
_VANISHED = 1e3
"""A preconditioner that predicts a decrease of so many times the value is not used.

Such a prediction means that the curvature has vanished, which happens far from the minimum.
"""


def _minimizer(state: _SearchState, value: float, slope: float) -> float:
    """Return the length that minimises the parabola through the start's value and slope and a rejected value.

    The result is at least a tenth of the bracket away from the bracket's ends.
    """
    lower, upper = state.lower, state.upper
    rise = value - state.value - upper * slope
    length = -0.5 * slope * upper * upper / rise if np.isfinite(rise) and rise > 0.0 else 0.0
    inset = 0.1 * (upper - lower)
    return min(max(length, lower + inset), upper - inset)


def _inverse_hessian_times(
    gradient: Floats, pairs: tuple[_Pair, ...], inverse: Inverse, softness: float | None = None
) -> Floats:
    """Return the L-BFGS approximation of the inverse Hessian times a gradient, by the two-loop recursion.

    It starts from the preconditioner, or by default from the inverse curvature along the last step; ``softness`` is
    what the preconditioner is multiplied by, or an inverse curvature in place of that.
    """
    q = gradient.copy()
    alphas = []
    for pair in reversed(pairs):
        alphas.append(dot(pair.s, q) / pair.sy)
        q -= alphas[-1] * pair.y
    if inverse.exists:
        q = inverse.times(q) * (1.0 if softness is None else softness)
    else:
        q = q * (pairs[-1].sy / pairs[-1].yy if softness is None else softness)
    for pair, alpha in zip(pairs, reversed(alphas), strict=True):
        q += (alpha - dot(pair.y, q) / pair.sy) * pair.s
    return q
