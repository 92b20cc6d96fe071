"""Gradient descent and Nesterov's accelerated gradient, and the estimate of curvature that sets their rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastgd._optim.base import Evaluation, Signal, Solver, Step
from fastgd._typing import Floats
from fastgd._utils.linalg import dot

STABLE = {"gd": 2.0, "nesterov": 4.0 / 3.0, "sgd": 3.9 / 2.9}
"""The limit of stability of each solver: the learning rate γ times the largest curvature λ is to be below it.

Along an eigenvector of the Hessian with eigenvalue λ, a step with momentum m maps the last two points x' and x'' to
``(1 − γλ) ((1 + m) x' − m x'')``. This is stable for ``γλ < (2 + 2m) / (1 + 2m)``. The limit is 2 without momentum,
4/3 for Nesterov's momentum, which tends to 1, and 3.9/2.9 for the momentum 0.95 of sgd, where λ is the curvature of a
minibatch. Nesterov's restarts do not change the limit: where steps overshoot, momentum points downhill.
"""


class _GradientDescentState(NamedTuple):
    """The state of `GradientDescent`: the curvature bound, and the last point with its gradient.

    Both arrays are empty before the first step.
    """

    lipschitz: float
    x: Floats
    gradient: Floats


@dataclass(frozen=True)
class GradientDescent(Solver):
    """Gradient descent with a fixed learning rate: ``x ← x − γ g(x)`` with ``γ = 1 / lipschitz``.

    Parameters
    ----------
    lipschitz : float
        The largest curvature. A rate γ below ``2 / curvature`` is stable.
    adaptive : bool
        Whether to raise the bound when a step meets a larger curvature. False keeps γ fixed.
    """

    lipschitz: float
    adaptive: bool

    def init(self, x: Floats) -> _GradientDescentState:  # noqa: ARG002
        """Return the initial state at a point x of shape (d,)."""
        return _GradientDescentState(self.lipschitz, np.empty(0), np.empty(0))

    def step(self, x: Floats, evaluation: Evaluation, state: _GradientDescentState) -> Step:
        """Return the next step, given the evaluation at x of shape (d,)."""
        value, gradient, *_ = evaluation
        lipschitz = _raised_bound(state, x, gradient) if self.adaptive else state.lipschitz
        next_x = x - gradient / lipschitz
        return Step(
            next_x,
            _GradientDescentState(lipschitz, x, gradient),
            length=1.0 / lipschitz,
            predicted_decrease=dot(gradient, x - next_x),
            reference_value=value,
            accepted=True,
            signal=Signal(
                stuck=bool((next_x == x).all()),
                curvature=_curvature_met(state, x, gradient),
                stable=np.inf if self.adaptive else STABLE["gd"] * lipschitz,
            ),
        )


class _NesterovState(NamedTuple):
    """The state of `Nesterov`: that of gradient descent, the end of the last gradient step, and the sequence t."""

    trail: _GradientDescentState
    landing: Floats
    t: float


@dataclass(frozen=True)
class Nesterov(Solver):
    """Nesterov's accelerated gradient (1983), restarted when momentum points uphill (O'Donoghue and Candès, 2015).

    From the point y: ``x' = y − γ g(y)``, then ``y' = x' + (t − 1)/t' (x' − x)`` with ``t' = (1 + √(1 + 4 t²)) / 2``.
    The objective is evaluated at the points y.

    Parameters
    ----------
    lipschitz : float
        The largest curvature; ``γ = 1 / lipschitz``.
    adaptive : bool
        Whether to raise the bound when a step meets a larger curvature. False keeps γ fixed.
    """

    lipschitz: float
    adaptive: bool

    def init(self, x: Floats) -> _NesterovState:
        """Return the initial state at a point x of shape (d,)."""
        return _NesterovState(_GradientDescentState(self.lipschitz, np.empty(0), np.empty(0)), x, 1.0)

    def step(self, x: Floats, evaluation: Evaluation, state: _NesterovState) -> Step:
        """Return the next step, given the evaluation at x of shape (d,)."""
        value, gradient, *_ = evaluation
        lipschitz = _raised_bound(state.trail, x, gradient) if self.adaptive else state.trail.lipschitz
        landing = x - gradient / lipschitz
        advance = landing - state.landing
        t = 1.0 if dot(gradient, advance) > 0.0 else state.t
        t_next = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * t * t))
        next_x = landing + (t - 1.0) / t_next * advance
        return Step(
            next_x,
            _NesterovState(_GradientDescentState(lipschitz, x, gradient), landing, t_next),
            length=1.0 / lipschitz,
            predicted_decrease=dot(gradient, x - next_x),
            reference_value=value,
            accepted=True,
            signal=Signal(
                stuck=bool((next_x == x).all()),
                curvature=_curvature_met(state.trail, x, gradient),
                stable=np.inf if self.adaptive else STABLE["nesterov"] * lipschitz,
            ),
        )


def _raised_bound(trail: _GradientDescentState, x: Floats, gradient: Floats) -> float:
    """Return the curvature bound, raised to the mean curvature along the last step if that is larger.

    It costs no evaluation. If the rate is too large, steps grow along the direction of the largest curvature, so that
    this curvature is found.
    """
    if not trail.x.size:
        return trail.lipschitz
    move = x - trail.x
    squared = dot(move, move)
    if squared == 0.0:
        return trail.lipschitz
    curvature = dot(move, gradient - trail.gradient) / squared
    return curvature if curvature > trail.lipschitz else trail.lipschitz


def _curvature_met(trail: _GradientDescentState, x: Floats, gradient: Floats) -> float:
    """Return ``‖Δg‖ / ‖Δx‖`` over the last step, a lower bound of the gradient's Lipschitz constant."""
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
    """Return an estimate of the largest curvature at a point, by power iteration on differences of gradients.

    Parameters
    ----------
    objective : callable
        Maps a point of shape (d,) to value and gradient.
    x : ndarray of shape (d,)
        The point.
    rng : Generator
        Draws the first direction.
    evaluations : int, default 20
        The number of evaluations, the one at ``x`` included.

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
    """Return the Euclidean norm, also if squares overflow."""
    power = int(np.frexp(np.max(np.abs(vector)))[1])
    return float(np.ldexp(np.linalg.norm(np.ldexp(vector, -power)), power))
