"""How to step. NumPy only; a rule's state goes in and comes out, so that a checkpoint is that state written down.

A rule answers one evaluation with the next point. It has no loop, no tolerance and no count: a line search's rejected
trial is an iteration of the one loop in `descent`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastgd.descent import Evaluation, Floats, Rule, Step


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
        value, gradient, _ = evaluation
        lipschitz = _raised(state, coef, gradient) if self.adaptive else state.lipschitz
        following = coef - gradient / lipschitz
        return Step(
            following,
            _Trail(lipschitz, coef, gradient),
            length=1.0 / lipschitz,
            predicted_decrease=float(gradient @ (coef - following)),
            origin_value=value,
            accepted=True,
            stuck=bool((following == coef).all()),
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
        value, gradient, _ = evaluation
        lipschitz = _raised(state.trail, coef, gradient) if self.adaptive else state.trail.lipschitz
        landing = coef - gradient / lipschitz
        advance = landing - state.landing
        t = 1.0 if gradient @ advance > 0.0 else state.t
        t_next = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * t * t))
        following = landing + (t - 1.0) / t_next * advance
        return Step(
            following,
            _Momentum(_Trail(lipschitz, coef, gradient), landing, t_next),
            length=1.0 / lipschitz,
            predicted_decrease=float(gradient @ (coef - following)),
            origin_value=value,
            accepted=True,
            stuck=bool((following == coef).all()),
        )


def _raised(trail: _Trail, coef: Floats, gradient: Floats) -> float:
    """Give the curvature bound, raised to the mean curvature along the last step if that was larger.

    It costs no evaluation, and a rate that is too large turns the steps towards the very direction that shows it.
    """
    if not trail.coef.size:
        return trail.lipschitz
    move = coef - trail.coef
    squared = float(move @ move)
    if squared == 0.0:
        return trail.lipschitz
    return max(trail.lipschitz, float(move @ (gradient - trail.gradient)) / squared)


# Relative noise that a value may have: far above the rounding unit where margins are differences of large terms.
_ROUNDING = 1e-9


class _Search(NamedTuple):
    """A line search from ``coef`` along ``direction``, and the pairs (s, y) that shaped it, oldest first."""

    coef: Floats
    value: float
    gradient: Floats
    direction: Floats
    length: float
    lower: float
    upper: float
    s: Floats
    y: Floats


@dataclass(frozen=True)
class LBFGS:
    """Limited-memory BFGS (Nocedal, 1980) with a line search for the weak Wolfe conditions.

    One evaluation per step; a rejected trial is a step, too. Where the decrease is lost in rounding, the approximate
    Wolfe conditions (Hager and Zhang, 2005) go on by slopes alone, so that gradients reach full precision.

    Parameters
    ----------
    first_length : float, optional
        The inverse of a typical curvature, for the first step; None moves by at most 1.
    memory : int
        Pairs kept.
    """

    first_length: float | None = None
    memory: int = 10
    armijo: float = 1e-4
    wolfe: float = 0.9

    def start(self, coef: Floats) -> _Search | None:  # noqa: ARG002
        """Give the state to begin with: nothing is known before the first evaluation."""
        return None

    def step(self, coef: Floats, evaluation: Evaluation, state: _Search | None) -> Step:
        """Answer an evaluation with the next point."""
        value, gradient, _ = evaluation
        if state is None:
            none = np.empty((0, coef.size))
            return self._search(coef, value, gradient, none, none)
        slope = float(state.gradient @ state.direction)
        new_slope = float(gradient @ state.direction)
        if not self._decreased(state, value, slope, new_slope):
            state = state._replace(upper=state.length)
            return self._retry(state, _minimizer(state, value, slope))
        if new_slope < self.wolfe * slope:
            state = state._replace(lower=state.length)
            longer = 2.0 * state.length if np.isinf(state.upper) else 0.5 * (state.lower + state.upper)
            return self._retry(state, longer)
        s, y = coef - state.coef, gradient - state.gradient
        if s @ y <= np.finfo(np.float64).eps * float(y @ y):
            return self._search(coef, value, gradient, state.s, state.y)
        s, y = np.vstack((state.s, s))[-self.memory :], np.vstack((state.y, y))[-self.memory :]
        return self._search(coef, value, gradient, s, y)

    def _decreased(self, state: _Search, value: float, slope: float, new_slope: float) -> bool:
        if value <= state.value + self.armijo * state.length * slope:
            return True
        rounding = _ROUNDING * abs(state.value)
        return value <= state.value + rounding and abs(new_slope) <= self.wolfe * abs(slope)

    def _search(self, coef: Floats, value: float, gradient: Floats, s: Floats, y: Floats) -> Step:
        """Begin a line search at a point just accepted."""
        if len(s):
            direction, length = -_inverse_hessian_times(gradient, s, y), 1.0
        else:
            norm = float(np.linalg.norm(gradient))
            direction = -gradient
            length = self.first_length or 1.0 / max(norm, 1.0)
        state = _Search(coef, value, gradient, direction, length, 0.0, np.inf, s, y)
        return self._propose(state, accepted=True)

    def _retry(self, state: _Search, length: float) -> Step:
        """Go on with a line search whose last trial was rejected."""
        step = self._propose(state._replace(length=length), accepted=False)
        if not step.stuck and (np.isinf(state.upper) or state.upper - state.lower > 1e-12 * state.upper):
            return step
        if len(state.s):  # begin again from where the search began, without the pairs that misled it
            none = np.empty((0, state.coef.size))
            return self._search(state.coef, state.value, state.gradient, none, none)._replace(accepted=False)
        return step._replace(stuck=True)

    def _propose(self, state: _Search, *, accepted: bool) -> Step:
        following = state.coef + state.length * state.direction
        return Step(
            following,
            state,
            length=state.length,
            predicted_decrease=-state.length * float(state.gradient @ state.direction),
            origin_value=state.value,
            accepted=accepted,
            stuck=bool((following == state.coef).all()),
        )


def _minimizer(state: _Search, value: float, slope: float) -> float:
    """Minimise the parabola through the origin's value and slope and a rejected value, kept inside the bracket."""
    lower, upper = state.lower, state.upper
    rise = value - state.value - upper * slope
    length = -0.5 * slope * upper * upper / rise if np.isfinite(rise) and rise > 0.0 else 0.0
    margin = 0.1 * (upper - lower)
    return min(max(length, lower + margin), upper - margin)


def _inverse_hessian_times(gradient: Floats, s: Floats, y: Floats) -> Floats:
    """Apply the L-BFGS approximation of the inverse Hessian: the two-loop recursion."""
    q = gradient.copy()
    rho = 1.0 / np.einsum("kj,kj->k", s, y)
    alpha = np.empty(len(s))
    for k in reversed(range(len(s))):
        alpha[k] = rho[k] * (s[k] @ q)
        q -= alpha[k] * y[k]
    q *= (s[-1] @ y[-1]) / (y[-1] @ y[-1])
    for k in range(len(s)):
        q += (alpha[k] - rho[k] * (y[k] @ q)) * s[k]
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
    distance = 1e-4 * max(1.0, float(np.linalg.norm(coef)))
    largest = 0.0
    for _ in range(evaluations - 1):
        direction *= distance / np.linalg.norm(direction)
        change = Evaluation(*objective(coef + direction)).gradient - base
        largest = float(np.linalg.norm(change)) / distance
        if not largest > 0.0:
            break
        direction = change
    return largest or 1.0


SOLVERS = ("auto", "gd", "nesterov", "lbfgs")


def make_rule(
    solver: str,
    learning_rate: float | str,
    lipschitz: Callable[[], float],
    first_length: float | None = None,
) -> Rule:
    """Choose the rule by its name.

    Parameters
    ----------
    solver : {"auto", "gd", "nesterov", "lbfgs"}
        ``"auto"`` is ``"lbfgs"``.
    learning_rate : float or "auto"
        The rate of ``"gd"`` and ``"nesterov"``; ``"auto"`` takes 1 / (largest curvature).
    lipschitz : callable
        Gives that curvature; called only if it is needed.
    first_length : float, optional
        The length of the first step of ``"lbfgs"``.

    Raises
    ------
    ValueError
        On an unknown solver, or a rate that is not positive or that the solver does not take.
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver={solver!r}; choose one of {', '.join(SOLVERS)}")
    adaptive = isinstance(learning_rate, str) and learning_rate == "auto"
    if not adaptive and (isinstance(learning_rate, bool) or not isinstance(learning_rate, (int, float, np.number))):
        raise TypeError(f"learning_rate={learning_rate!r}; a positive number or 'auto' is needed")
    if not adaptive and not 0.0 < float(learning_rate) < np.inf:
        raise ValueError(f"learning_rate={learning_rate!r}; a positive number or 'auto' is needed")
    if solver in ("auto", "lbfgs"):
        if not adaptive:
            raise ValueError("learning_rate: lbfgs finds its own; choose solver='gd' or 'nesterov' to set it")
        return LBFGS(first_length)
    curvature = lipschitz() if adaptive else 1.0 / float(learning_rate)
    rule = GradientDescent if solver == "gd" else Nesterov
    return rule(curvature, adaptive)
