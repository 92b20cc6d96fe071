"""Proximal quasi-Newton: a smooth function plus a penalty that is not, minimised by steps of a quadratic model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastgd._optim.base import VALUE_NOISE, Evaluation, Signal, Solver, Step
from fastgd._typing import Floats
from fastgd._utils.linalg import dot


class Curvature(NamedTuple):
    """A matrix of second derivatives: a dense block among some coordinates, and a diagonal among others.

    Attributes
    ----------
    coordinates : ndarray of shape (1, m)
        Those of the block.
    block : ndarray of shape (m, m)
    diagonal : ndarray of shape (size,)
        Of the other coordinates. It is 0 in the block, and for coordinates that are to stay where they are.
    """

    coordinates: Floats
    block: Floats
    diagonal: Floats

    @property
    def inside(self) -> NDArray[np.intp]:
        """The coordinates of the block."""
        return np.asarray(self.coordinates[0], np.intp)

    @property
    def movable(self) -> NDArray[np.bool_]:
        """Which coordinates may move."""
        found = self.diagonal > 0.0
        found[self.inside] = True
        return found

    def times(self, vector: Floats) -> Floats:
        """Return the matrix times a vector (size,)."""
        product = self.diagonal * vector
        product[self.inside] += self.block @ vector[self.inside]
        return product


class Pair(NamedTuple):
    """A step, and the change of the smooth part's gradient over it."""

    s: Floats
    y: Floats


class ModelStep(NamedTuple):
    """The minimum of a model of the objective about a point.

    Attributes
    ----------
    step : ndarray of shape (size,)
    decrease : float
        What the objective falls by to first order along the step: ``−(gradient·step + h(x + step) − h(x))``.
    """

    step: Floats
    decrease: float


class CompositeModel(Protocol):
    """What `ProximalNewton` needs of an objective: curvature, and the minimum of a model with it."""

    def curvature(
        self, x: Floats, gradient: Floats, known: Curvature, level: int, *, renew: bool
    ) -> tuple[Curvature, float]:
        """Return the curvature about a point (size,), and its cost in passes: the better, the higher the level.

        The one that is known is returned where it has all coordinates that want to move, unless a better one is asked
        for and there is one.
        """

    def minimize(self, x: Floats, gradient: Floats, curvature: Curvature, pairs: tuple[Pair, ...]) -> ModelStep:
        """Minimise ``gradient·p + ½ p·B p + h(x + p)``, where B is the curvature, corrected by BFGS for the pairs."""


class _SearchState(NamedTuple):
    """The state of `ProximalNewton`: a line search from x along a direction, and what is known of curvature.

    Attributes
    ----------
    x, value, gradient
        The point that the search starts from, and the gradient of the smooth part there. The value is infinite before
        the first evaluation.
    direction : ndarray of shape (d,)
    length : float
        The trial is at ``x + length direction``.
    decrease : float
        `ModelStep.decrease` of the direction.
    pairs : tuple of Pair
        The oldest first.
    curvature : Curvature
    slow : int
        Consecutive steps that the model led badly.
    level : int
        How often a better curvature was asked for.
    """

    x: Floats
    value: float
    gradient: Floats
    direction: Floats
    length: float
    decrease: float
    pairs: tuple[Pair, ...]
    curvature: Curvature
    slow: int
    level: int


@dataclass(frozen=True)
class ProximalNewton(Solver):
    """Proximal quasi-Newton (Lee, Sun and Saunders, 2014): each step minimises a quadratic model plus the penalty.

    The evaluations that it takes hold the value of all of the objective, but the gradient of the smooth part alone. The
    model's curvature is corrected by BFGS along the steps that were taken.

    Parameters
    ----------
    model : CompositeModel
    memory : int
        Steps that curvature is corrected for.
    contraction : float
        What a step leaves of the decrease that the model promises, at most; otherwise the curvature is slow.
    patience : int
        So many slow steps in a row ask for a better curvature.
    """

    model: CompositeModel
    memory: int = 10
    contraction: float = 0.1
    patience: int = 2

    def init(self, x: Floats) -> _SearchState:
        """Return the initial state at a point."""
        zeros, none = np.zeros(x.size), np.zeros((0, 0))
        return _SearchState(x, np.inf, zeros, zeros, 0.0, 0.0, (), Curvature(np.zeros((1, 0)), none, zeros), 0, 0)

    def step(self, x: Floats, evaluation: Evaluation, state: _SearchState) -> Step:
        """Return the next step: a new direction, or a shorter step along the last one."""
        value, gradient = evaluation.value, evaluation.gradient
        begun = np.isfinite(state.value)
        promised = state.length * state.decrease
        noise = (VALUE_NOISE if promised <= VALUE_NOISE * abs(state.value) else _NOISE) * abs(state.value)
        enough = state.value - _ARMIJO * promised + noise
        if begun and not (evaluation.is_finite and value <= enough):
            shorter = state._replace(length=_SHORTER * state.length, slow=state.slow + 1)
            return self._towards(shorter, accepted=False)
        pairs, slow, level, curvature, cost = state.pairs, state.slow, state.level, state.curvature, 0.0
        if begun:
            s, y = x - state.x, gradient - state.gradient
            if dot(s, y) > _CURVED * (dot(s, s) * dot(y, y)) ** 0.5:
                pairs = (*pairs, Pair(s, y))[-self.memory :]
        renew = slow >= self.patience
        level += renew
        curvature, cost = self.model.curvature(x, gradient, curvature, level, renew=renew)
        if renew and curvature is not state.curvature:
            slow, pairs = 0, ()
        found = self.model.minimize(x, gradient, curvature, pairs)
        if curvature is state.curvature:
            slow = slow + 1 if found.decrease > self.contraction * state.decrease else 0
        at = _SearchState(x, value, gradient, found.step, 1.0, found.decrease, pairs, curvature, slow, level)
        return self._towards(at, accepted=True)._replace(cost=cost)

    @staticmethod
    def _towards(state: _SearchState, *, accepted: bool) -> Step:
        """Return the step to the trial of a state."""
        x = state.x + state.length * state.direction
        return Step(
            x,
            state,
            state.length,
            predicted_decrease=state.length * state.decrease,
            reference_value=state.value,
            accepted=accepted,
            signal=Signal(stuck=bool((x == state.x).all())),
        )


_ARMIJO = 1e-4
"""The share of the first-order decrease that an accepted point has to reach."""
_NOISE = 1e-13
"""The share of a value that rounding may add."""
_SHORTER = 0.3
"""What a rejected trial's length is multiplied by."""
_CURVED = 1e-12
"""The least cosine between a step and the change of the gradient that curvature is learned from."""
