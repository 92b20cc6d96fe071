"""Descent with noise that cools down, to climb out of local minima."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fastgd._optim.base import Evaluation, Signal, Solver, Step
from fastgd._optim.lbfgs import LBFGS
from fastgd._typing import Floats
from fastgd._utils.linalg import dot

SCHEDULES = ("reheated", "geometric", "linear")
_SHORTEST = 25  # trials of a cooling


class _Walk(NamedTuple):
    """Where a walk is, its rate, the trials so far, the lowest point, and in the end the closing solver's state."""

    x: Floats
    value: float
    gradient: Floats
    rate: float
    trials: int
    lowest: tuple[Floats, float, Floats]
    closing: Any


@dataclass(frozen=True)
class Annealed(Solver):
    """Simulated annealing by gradients: descent with noise that cools down (Gelfand and Mitter, 1991).

    From the point x a trial at ``x − γ g(x) + √(2 γ T) ξ``, ξ standard normal, is taken or rejected so that at a
    constant temperature T points would be distributed as ``exp(−f / T)`` (Metropolis-adjusted Langevin: Roberts and
    Tweedie, 1996): hot enough, no local minimum holds them; cooled, they gather in a low one. After ``steps`` trials
    an ordinary solver goes on, without noise, from the lowest point seen.

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
    closing : Solver
    """

    temperature: float
    steps: int
    rate: float
    seed: int
    schedule: str = "reheated"
    adaptive: bool = True
    coldest: float = 1e-2
    closing: Solver = field(default_factory=LBFGS)

    @property
    def cooling(self) -> int:
        """Trials of one cooling."""
        return max(_SHORTEST, -(-self.steps // 32)) if self.schedule == "reheated" else max(1, self.steps)

    def init(self, x: Floats) -> _Walk:
        """Return the state to begin with at a point."""
        nothing = x, np.inf, np.zeros(x.size)
        return _Walk(*nothing, self.rate, 0, nothing, None)

    def step(self, x: Floats, evaluation: Evaluation, state: _Walk) -> Step:
        """Answer an evaluation with the next point."""
        if state.closing is not None:
            inner = self.closing.step(x, evaluation, state.closing)
            return inner._replace(state=state._replace(closing=inner.state))
        value, gradient, *_ = evaluation
        rng = np.random.default_rng((self.seed, state.trials))
        likely = self._acceptance(x, evaluation, state) if state.trials else 1.0
        accepted = bool(rng.random() < likely)
        here = (x, value, gradient) if accepted else (state.x, state.value, state.gradient)
        lowest = (x, value, gradient) if value < state.lowest[1] else state.lowest
        rate = state.rate
        if self.adaptive and state.trials:
            rate *= float(np.exp(0.1 * (likely - _TAKEN)))
        if state.trials and state.trials % self.cooling == 0:
            here, rate = lowest, self.rate
        if state.trials == self.steps:
            inner = self.closing.step(lowest[0], Evaluation(*lowest[1:]), self.closing.init(lowest[0]))
            walk = _Walk(*here, rate, state.trials, lowest, inner.state)
            return inner._replace(state=walk, accepted=accepted, signal=Signal(exploring=True))
        origin, height, slopes = here
        noise = np.sqrt(2.0 * rate * self.heat(state.trials)) * rng.standard_normal(x.size)
        next_x = origin - rate * slopes + noise
        return Step(
            next_x,
            _Walk(*here, rate, state.trials + 1, lowest, None),
            length=rate,
            predicted_decrease=dot(slopes, origin - next_x),
            reference_value=height,
            accepted=accepted,
            signal=Signal(exploring=True),
        )

    def heat(self, trial: int) -> float:
        """Return the temperature of a trial."""
        share = trial % self.cooling / self.cooling
        return self.temperature * (1.0 - share if self.schedule == "linear" else self.coldest**share)

    def _acceptance(self, x: Floats, evaluation: Evaluation, state: _Walk) -> float:
        """Return the Metropolis probability of the trial: by the values, and by how likely the way back is."""
        value, gradient, *_ = evaluation
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return 0.0
        heat, rate = self.heat(state.trials - 1), state.rate
        ahead = x - state.x + rate * state.gradient
        back = state.x - x + rate * gradient
        log_ratio = (state.value - value) / heat + (dot(ahead, ahead) - dot(back, back)) / (4.0 * rate * heat)
        return float(np.exp(min(log_ratio, 0.0)))


_TAKEN = 0.574  # the share of trials that lets such a walk spread fastest (Roberts and Rosenthal, 1998)
