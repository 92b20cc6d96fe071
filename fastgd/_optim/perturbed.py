"""A solver that leaves saddle points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastgd._optim.base import Evaluation, Signal, Solver, Step
from fastgd._optim.stopping import largest
from fastgd._typing import Floats
from fastgd._utils.linalg import dot

_ROUNDING = 1e-12
"""The relative rounding error that is allowed for in a value."""


class _FlatPoint(NamedTuple):
    """A point where the gradient vanishes, its value and gradient, and the number of steps since it was perturbed."""

    x: Floats
    value: float
    gradient: Floats
    steps: int


class _PerturbedState(NamedTuple):
    """The state of `Perturbed`.

    Attributes
    ----------
    inner : tuple
        The state of the inner solver.
    held : _FlatPoint or None
        The flat point that was perturbed and is not yet known to be a saddle point.
    draws : int
        The number of perturbations so far.
    final : bool
        Whether the flat point is accepted as a minimum, so that the loop may stop there.
    """

    inner: Any
    held: _FlatPoint | None
    draws: int
    final: bool


@dataclass(frozen=True)
class Perturbed(Solver):
    """Perturbed gradient descent (Jin et al., 2017): a solver that is perturbed where the gradient vanishes.

    At a flat point, the point is moved at random within a small ball and the inner solver continues from there. Near a
    saddle point with negative curvature the descent then moves away, and the loss falls below the tangent plane of the
    flat point, which is impossible for a convex function. Then the descent goes on. If that does not happen within
    ``patience`` steps, the flat point is taken for a minimum, and the descent ends there.

    Parameters
    ----------
    solver : Solver
        The inner solver.
    flat : float
        A point is flat if its gradient norm is at most this: the tolerance of the descent.
    seed : int
        Seeds the perturbations.
    radius : float, default 1e-3
        The radius of the ball, relative to ``max(1, max_j |x_j|)``.
    patience : int, default 100
        The number of steps after a perturbation.
    """

    solver: Solver
    flat: float
    seed: int
    radius: float = 1e-3
    patience: int = 100

    def init(self, x: Floats) -> _PerturbedState:
        """Return the initial state at a point x of shape (d,)."""
        return _PerturbedState(self.solver.init(x), None, 0, False)

    def step(self, x: Floats, evaluation: Evaluation, state: _PerturbedState) -> Step:
        """Return the inner solver's next step, or a step to or from a flat point."""
        value, gradient, *_ = evaluation
        held = state.held
        if held is not None and not state.final and self._left(x, evaluation, held):
            held = None
        if held is None and largest(gradient) <= self.flat:
            rng = np.random.default_rng((self.seed, state.draws))
            direction = rng.standard_normal(x.size)
            reach = self.radius * max(1.0, largest(x)) * rng.random() ** (1.0 / x.size)  # uniform in the ball
            beside = x + reach / np.linalg.norm(direction) * direction
            fresh = _PerturbedState(self.solver.init(beside), _FlatPoint(x, value, gradient, 0), state.draws + 1, False)
            return _step_to(beside, x, evaluation, fresh)
        inner = self.solver.step(x, evaluation, state.inner)
        if held is None or state.final:
            return inner._replace(state=state._replace(inner=inner.state, held=held))
        if inner.signal.stuck or held.steps >= self.patience:
            back = _PerturbedState(self.solver.init(held.x), held, state.draws, True)
            return _step_to(held.x, x, evaluation, back)
        lingering = held._replace(steps=held.steps + 1)
        return inner._replace(
            state=state._replace(inner=inner.state, held=lingering), signal=inner.signal._replace(exploring=True)
        )

    @staticmethod
    def _left(x: Floats, evaluation: Evaluation, held: _FlatPoint) -> bool:
        """Return whether the loss is below every convex function with the value and gradient of the flat point."""
        move = x - held.x
        tangent = held.value - float(np.linalg.norm(held.gradient) * np.linalg.norm(move))
        return evaluation.value < tangent - _ROUNDING * abs(held.value)


def _step_to(next_x: Floats, x: Floats, evaluation: Evaluation, state: _PerturbedState) -> Step:
    """Return a step from an evaluated point x straight to another point."""
    return Step(
        next_x,
        state,
        length=0.0,
        predicted_decrease=dot(evaluation.gradient, x - next_x),
        reference_value=evaluation.value,
        accepted=True,
        signal=Signal(exploring=True),
    )
