"""Gradient descent with a fixed rate, plain and accelerated, and the curvature that sets the rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastgd._optim.base import Evaluation, Signal, Solver, Step
from fastgd._typing import Floats
from fastgd._utils.linalg import dot

STABLE = {"gd": 2.0, "nesterov": 4.0 / 3.0, "sgd": 3.9 / 2.9}
"""Rates times the largest curvature λ up to which solvers are stable.

Along an eigenvector, a step γ with momentum m maps x' and the one before to ``(1 − γλ) ((1 + m) x' − m x'')``, whose
roots are inside the unit circle for ``γλ < (2 + 2m) / (1 + 2m)``: 2 without momentum, 4/3 as Nesterov's tends to 1
(where steps overshoot, momentum points downhill, so that there are no restarts), and 3.9/2.9 with sgd's 0.95, λ being a
batch's.
"""


class _Trail(NamedTuple):
    """The curvature bound in use, and the last point with its gradient (empty before the first step)."""

    lipschitz: float
    x: Floats
    gradient: Floats


@dataclass(frozen=True)
class GradientDescent(Solver):
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

    def init(self, x: Floats) -> _Trail:  # noqa: ARG002
        """Return the state to begin with at a point."""
        return _Trail(self.lipschitz, np.empty(0), np.empty(0))

    def step(self, x: Floats, evaluation: Evaluation, state: _Trail) -> Step:
        """Answer an evaluation with the next point."""
        value, gradient, *_ = evaluation
        lipschitz = _raised(state, x, gradient) if self.adaptive else state.lipschitz
        next_x = x - gradient / lipschitz
        return Step(
            next_x,
            _Trail(lipschitz, x, gradient),
            length=1.0 / lipschitz,
            predicted_decrease=dot(gradient, x - next_x),
            reference_value=value,
            accepted=True,
            signal=Signal(
                stuck=bool((next_x == x).all()),
                curvature=_met(state, x, gradient),
                stable=np.inf if self.adaptive else STABLE["gd"] * lipschitz,
            ),
        )


class _Momentum(NamedTuple):
    """The trail, the last gradient step's end, and the momentum sequence t."""

    trail: _Trail
    landing: Floats
    t: float


@dataclass(frozen=True)
class Nesterov(Solver):
    """Nesterov's accelerated gradient (1983), restarted when momentum points uphill (O'Donoghue and Candès, 2015).

    From the point y: ``x' = y − γ g(y)``, then ``y' = x' + (t − 1)/t' (x' − x)``. Every evaluation is at a y.

    Parameters
    ----------
    lipschitz, adaptive
        As for `GradientDescent`.
    """

    lipschitz: float
    adaptive: bool

    def init(self, x: Floats) -> _Momentum:
        """Return the state to begin with at a point."""
        return _Momentum(_Trail(self.lipschitz, np.empty(0), np.empty(0)), x, 1.0)

    def step(self, x: Floats, evaluation: Evaluation, state: _Momentum) -> Step:
        """Answer an evaluation with the next point."""
        value, gradient, *_ = evaluation
        lipschitz = _raised(state.trail, x, gradient) if self.adaptive else state.trail.lipschitz
        landing = x - gradient / lipschitz
        advance = landing - state.landing
        t = 1.0 if dot(gradient, advance) > 0.0 else state.t
        t_next = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * t * t))
        next_x = landing + (t - 1.0) / t_next * advance
        return Step(
            next_x,
            _Momentum(_Trail(lipschitz, x, gradient), landing, t_next),
            length=1.0 / lipschitz,
            predicted_decrease=dot(gradient, x - next_x),
            reference_value=value,
            accepted=True,
            signal=Signal(
                stuck=bool((next_x == x).all()),
                curvature=_met(state.trail, x, gradient),
                stable=np.inf if self.adaptive else STABLE["nesterov"] * lipschitz,
            ),
        )


def _raised(trail: _Trail, x: Floats, gradient: Floats) -> float:
    """Return the curvature bound, raised to the mean curvature along the last step if that was larger.

    It costs no evaluation, and a rate that is too large turns the steps towards the very direction that shows it.
    """
    if not trail.x.size:
        return trail.lipschitz
    move = x - trail.x
    squared = dot(move, move)
    if squared == 0.0:
        return trail.lipschitz
    curvature = dot(move, gradient - trail.gradient) / squared
    return curvature if curvature > trail.lipschitz else trail.lipschitz


def _met(trail: _Trail, x: Floats, gradient: Floats) -> float:
    """Bound the gradient's Lipschitz constant from below, by its change over the last step's length."""
    if not trail.x.size:
        return 0.0
    length = float(np.linalg.norm(x - trail.x))
    return float(np.linalg.norm(gradient - trail.gradient)) / length if length > 0.0 else 0.0


def estimate_lipschitz(
    objective: Callable[[Floats], Evaluation | tuple[float, Floats]],
    x: Floats,
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
    base = Evaluation(*objective(x)).gradient
    direction = rng.standard_normal(x.size)
    distance = 1e-4 * max(1.0, _norm(x))
    largest = 0.0
    for _ in range(evaluations - 1):
        direction *= distance / _norm(direction)
        change = Evaluation(*objective(x + direction)).gradient - base
        largest = _norm(change) / distance
        if not largest > 0.0:
            break
        direction = change
    return largest or 1.0


def _norm(vector: Floats) -> float:
    """Return the Euclidean norm, also where squares overflow."""
    power = int(np.frexp(np.max(np.abs(vector)))[1])
    return float(np.ldexp(np.linalg.norm(np.ldexp(vector, -power)), power))
