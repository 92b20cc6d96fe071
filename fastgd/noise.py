"""Rules that add noise to other rules: to roll off saddle points, and to climb out of local minima.

Noise is drawn from a seed and the number of the draw, both in the state: so it can be written down and repeated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fastgd._typing import Floats
from fastgd._utils.linalg import dot
from fastgd.descent import Evaluation, Rule, Step, largest
from fastgd.rules import LBFGS

SCHEDULES = ("reheated", "geometric", "linear")
_SHORTEST = 25  # trials of a cooling
_ROUNDING = 1e-12  # relative, of a value


class _Held(NamedTuple):
    """A flat point: its value and gradient, and the steps taken since it was left."""

    coef: Floats
    value: float
    gradient: Floats
    steps: int


class _Watch(NamedTuple):
    """The inner rule's state, the flat point that was left, if any, and the number of draws."""

    inner: Any
    held: _Held | None
    draws: int
    final: bool
    """The held point is a minimum as far as anyone could see: let the loop conclude."""


@dataclass(frozen=True)
class Perturbed:
    """Another rule that does not rest on saddle points: perturbed gradient descent (Jin et al., 2017).

    Where the gradient vanishes, the point is moved at random within a small ball and the rule goes on from there. At
    a saddle with a falling curvature that is unstable, and soon the loss is lower than the tangent plane of a convex
    function would allow: then the descent goes on. If in ``patience`` steps it is not, the flat point was a minimum,
    and the descent ends there.

    Parameters
    ----------
    rule : Rule
    flat : float
        The largest slope of a point that counts as flat: the tolerance of the descent.
    seed : int
    radius : float
        Of the ball, relative to ``max(1, |coef|)``.
    patience : int
    """

    rule: Rule
    flat: float
    seed: int
    radius: float = 1e-3
    patience: int = 100

    def start(self, coef: Floats) -> _Watch:
        """Give the state to begin with at a point."""
        return _Watch(self.rule.start(coef), None, 0, False)

    def step(self, coef: Floats, evaluation: Evaluation, state: _Watch) -> Step:
        """Answer an evaluation with the next point."""
        value, gradient, *_ = evaluation
        held = state.held
        if held is not None and not state.final and self._left(coef, evaluation, held):
            held = None
        if held is None and largest(gradient) <= self.flat:
            rng = np.random.default_rng((self.seed, state.draws))
            direction = rng.standard_normal(coef.size)
            reach = self.radius * max(1.0, largest(coef)) * rng.random() ** (1.0 / coef.size)  # uniform in the ball
            beside = coef + reach / np.linalg.norm(direction) * direction
            fresh = _Watch(self.rule.start(beside), _Held(coef, value, gradient, 0), state.draws + 1, False)
            return _towards(beside, coef, evaluation, fresh)
        inner = self.rule.step(coef, evaluation, state.inner)
        if held is None or state.final:
            return inner._replace(state=state._replace(inner=inner.state, held=held))
        if inner.stuck or held.steps >= self.patience:
            back = _Watch(self.rule.start(held.coef), held, state.draws, True)
            return _towards(held.coef, coef, evaluation, back)
        lingering = held._replace(steps=held.steps + 1)
        return inner._replace(state=state._replace(inner=inner.state, held=lingering), exploring=True)

    @staticmethod
    def _left(coef: Floats, evaluation: Evaluation, held: _Held) -> bool:
        """Tell whether the loss is below every convex function with the value and gradient of the flat point."""
        move = coef - held.coef
        tangent = held.value - float(np.linalg.norm(held.gradient) * np.linalg.norm(move))
        return evaluation.value < tangent - _ROUNDING * abs(held.value)


def _towards(following: Floats, coef: Floats, evaluation: Evaluation, state: _Watch) -> Step:
    return Step(
        following,
        state,
        length=0.0,
        predicted_decrease=dot(evaluation.gradient, coef - following),
        origin_value=evaluation.value,
        accepted=True,
        exploring=True,
    )


class _Walk(NamedTuple):
    """Where a walk is, its rate, the trials so far, the lowest point, and in the end the closing rule's state."""

    coef: Floats
    value: float
    gradient: Floats
    rate: float
    trials: int
    lowest: tuple[Floats, float, Floats]
    closing: Any


@dataclass(frozen=True)
class Annealed:
    """Simulated annealing by gradients: descent with noise that cools down (Gelfand and Mitter, 1991).

    From the point x a trial at ``x − γ g(x) + √(2 γ T) ξ``, ξ standard normal, is taken or rejected so that at a
    constant temperature T points would be distributed as ``exp(−f / T)`` (Metropolis-adjusted Langevin: Roberts and
    Tweedie, 1996): hot enough, no local minimum holds them; cooled, they gather in a low one. After ``steps`` trials
    an ordinary rule goes on, without noise, from the lowest point seen.

    Parameters
    ----------
    temperature : float
        To begin with, in units of the objective: rises of that size are climbed often.
    steps : int
        Trials until it is cold for good.
    rate : float
        The learning rate γ to begin with.
    seed : int
    schedule : {"reheated", "geometric", "linear"}
        ``"geometric"``: ``T = temperature coldest^(k / steps)``. ``"linear"``: ``T = temperature (1 − k / steps)``.
        ``"reheated"``: up to 32 geometric coolings one after another, each from the lowest point so far.
    adaptive : bool
        Change the rate so that between a half and two thirds of trials are taken; False keeps it.
    coldest : float
        The end of a geometric cooling, relative to its begin.
    closing : Rule
    """

    temperature: float
    steps: int
    rate: float
    seed: int
    schedule: str = "reheated"
    adaptive: bool = True
    coldest: float = 1e-2
    closing: Rule = field(default_factory=LBFGS)

    @property
    def cooling(self) -> int:
        """Trials of one cooling."""
        return max(_SHORTEST, -(-self.steps // 32)) if self.schedule == "reheated" else max(1, self.steps)

    def start(self, coef: Floats) -> _Walk:
        """Give the state to begin with at a point."""
        nothing = coef, np.inf, np.zeros(coef.size)
        return _Walk(*nothing, self.rate, 0, nothing, None)

    def step(self, coef: Floats, evaluation: Evaluation, state: _Walk) -> Step:
        """Answer an evaluation with the next point."""
        if state.closing is not None:
            inner = self.closing.step(coef, evaluation, state.closing)
            return inner._replace(state=state._replace(closing=inner.state))
        value, gradient, *_ = evaluation
        rng = np.random.default_rng((self.seed, state.trials))
        likely = self._acceptance(coef, evaluation, state) if state.trials else 1.0
        accepted = bool(rng.random() < likely)
        here = (coef, value, gradient) if accepted else (state.coef, state.value, state.gradient)
        lowest = (coef, value, gradient) if value < state.lowest[1] else state.lowest
        rate = state.rate
        if self.adaptive and state.trials:
            rate *= float(np.exp(0.1 * (likely - _TAKEN)))
        if state.trials and state.trials % self.cooling == 0:
            here, rate = lowest, self.rate
        if state.trials == self.steps:
            inner = self.closing.step(lowest[0], Evaluation(*lowest[1:]), self.closing.start(lowest[0]))
            walk = _Walk(*here, rate, state.trials, lowest, inner.state)
            return inner._replace(state=walk, accepted=accepted, exploring=True)
        origin, height, slopes = here
        noise = np.sqrt(2.0 * rate * self.heat(state.trials)) * rng.standard_normal(coef.size)
        following = origin - rate * slopes + noise
        return Step(
            following,
            _Walk(*here, rate, state.trials + 1, lowest, None),
            length=rate,
            predicted_decrease=dot(slopes, origin - following),
            origin_value=height,
            accepted=accepted,
            exploring=True,
        )

    def heat(self, trial: int) -> float:
        """Give the temperature of a trial."""
        share = trial % self.cooling / self.cooling
        return self.temperature * (1.0 - share if self.schedule == "linear" else self.coldest**share)

    def _acceptance(self, coef: Floats, evaluation: Evaluation, state: _Walk) -> float:
        """Give the Metropolis probability of the trial: by the values, and by how likely the way back is."""
        value, gradient, *_ = evaluation
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return 0.0
        heat, rate = self.heat(state.trials - 1), state.rate
        ahead = coef - state.coef + rate * state.gradient
        back = state.coef - coef + rate * gradient
        log_ratio = (state.value - value) / heat + (dot(ahead, ahead) - dot(back, back)) / (4.0 * rate * heat)
        return float(np.exp(min(log_ratio, 0.0)))


_TAKEN = 0.574  # the share of trials that lets such a walk spread fastest (Roberts and Rosenthal, 1998)
