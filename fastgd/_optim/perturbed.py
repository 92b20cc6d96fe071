"""Descent that does not rest on saddle points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastgd._optim.base import Evaluation, Signal, Solver, Step
from fastgd._optim.stopping import largest
from fastgd._typing import Floats
from fastgd._utils.linalg import dot

_ROUNDING = 1e-12  # relative, of a value


class _Held(NamedTuple):
    """A flat point: its value and gradient, and the steps taken since it was left."""

    x: Floats
    value: float
    gradient: Floats
    steps: int


class _Watch(NamedTuple):
    """The inner solver's state, the flat point that was left, if any, and the number of draws."""

    inner: Any
    held: _Held | None
    draws: int
    final: bool
    """The held point is a minimum as far as anyone could see: let the loop conclude."""


@dataclass(frozen=True)
class Perturbed(Solver):
    """A solver around another, which leaves saddle points: perturbed gradient descent (Jin et al., 2017).

    Where the gradient vanishes, the point is moved at random within a small ball and the solver goes on from there. At
    a saddle with a falling curvature that is unstable, and soon the loss is lower than the tangent plane of a convex
    function would allow: then the descent goes on. If in ``patience`` steps it is not, the flat point was a minimum,
    and the descent ends there.

    Parameters
    ----------
    solver : Solver
    flat : float
        The gradient norm of a point that counts as flat: the tolerance of the descent.
    seed : int
    radius : float
        Of the ball, relative to ``max(1, |x|)``.
    patience : int
    """

    solver: Solver
    flat: float
    seed: int
    radius: float = 1e-3
    patience: int = 100

    def init(self, x: Floats) -> _Watch:
        """Return the state to begin with at a point."""
        return _Watch(self.solver.init(x), None, 0, False)

    def step(self, x: Floats, evaluation: Evaluation, state: _Watch) -> Step:
        """Answer an evaluation with the next point."""
        value, gradient, *_ = evaluation
        held = state.held
        if held is not None and not state.final and self._left(x, evaluation, held):
            held = None
        if held is None and largest(gradient) <= self.flat:
            rng = np.random.default_rng((self.seed, state.draws))
            direction = rng.standard_normal(x.size)
            reach = self.radius * max(1.0, largest(x)) * rng.random() ** (1.0 / x.size)  # uniform in the ball
            beside = x + reach / np.linalg.norm(direction) * direction
            fresh = _Watch(self.solver.init(beside), _Held(x, value, gradient, 0), state.draws + 1, False)
            return _towards(beside, x, evaluation, fresh)
        inner = self.solver.step(x, evaluation, state.inner)
        if held is None or state.final:
            return inner._replace(state=state._replace(inner=inner.state, held=held))
        if inner.signal.stuck or held.steps >= self.patience:
            back = _Watch(self.solver.init(held.x), held, state.draws, True)
            return _towards(held.x, x, evaluation, back)
        lingering = held._replace(steps=held.steps + 1)
        return inner._replace(
            state=state._replace(inner=inner.state, held=lingering), signal=inner.signal._replace(exploring=True)
        )

    @staticmethod
    def _left(x: Floats, evaluation: Evaluation, held: _Held) -> bool:
        """Return whether the loss is below every convex function with the value and gradient of the flat point."""
        move = x - held.x
        tangent = held.value - float(np.linalg.norm(held.gradient) * np.linalg.norm(move))
        return evaluation.value < tangent - _ROUNDING * abs(held.value)


def _towards(next_x: Floats, x: Floats, evaluation: Evaluation, state: _Watch) -> Step:
    return Step(
        next_x,
        state,
        length=0.0,
        predicted_decrease=dot(evaluation.gradient, x - next_x),
        reference_value=evaluation.value,
        accepted=True,
        signal=Signal(exploring=True),
    )
