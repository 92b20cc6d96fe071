"""Simulated annealing: descent with noise that cools down, to leave local minima."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fastgd._optim.base import Evaluation, Signal, Solver, Step
from fastgd._optim.lbfgs import LBFGS
from fastgd._typing import Floats
from fastgd._utils.linalg import dot

SCHEDULES = ("reheated", "geometric", "linear")
"""How the temperature can fall: the names of `Annealed.schedule`."""
_MIN_TRIALS = 25
"""The minimum number of trials of one cooling."""
_ACCEPTANCE_TARGET = 0.574
"""The share of accepted trials at which such a walk mixes fastest (Roberts and Rosenthal, 1998)."""


class _AnnealingState(NamedTuple):
    """The state of `Annealed`.

    Attributes
    ----------
    x, value, gradient
        The current point of the walk: the last accepted trial.
    rate : float
        The learning rate.
    trials : int
        Trials so far.
    lowest : tuple of (x, value, gradient)
        The lowest point so far.
    closing : tuple or None
        The state of the closing solver, None while the walk lasts.
    """

    x: Floats
    value: float
    gradient: Floats
    rate: float
    trials: int
    lowest: tuple[Floats, float, Floats]
    closing: Any


@dataclass(frozen=True)
class Annealed(Solver):
    """Simulated annealing with gradients: descent with noise that cools down (Gelfand and Mitter, 1991).

    A trial from the point x is ``x − γ g(x) + √(2 γ T) ξ`` with standard normal ξ. It is accepted or rejected so that
    at a constant temperature T the points would be distributed as ``exp(−f / T)`` (Metropolis-adjusted Langevin
    algorithm: Roberts and Tweedie, 1996). At a high temperature the walk leaves every local minimum; as it cools, the
    walk stays in a low one. After ``steps`` trials the solver ``closing`` continues without noise from the lowest point
    so far.

    Parameters
    ----------
    temperature : float
        The initial temperature T, in units of the objective. Rises of that size are climbed often.
    steps : int
        The number of trials in all.
    rate : float
        The initial learning rate γ.
    seed : int
        Seeds the noise.
    schedule : {"reheated", "geometric", "linear"}, default "reheated"
        The temperature at trial k. ``"geometric"``: ``T = temperature coldest^(k / steps)``. ``"linear"``:
        ``T = temperature (1 − k / steps)``. ``"reheated"``: up to 32 geometric coolings one after another, each from
        the lowest point so far.
    adaptive : bool, default True
        Whether to adapt the rate so that a share of about 0.57 of the trials is accepted. False keeps it fixed.
    coldest : float, default 0.01
        The last temperature of a geometric cooling, relative to its first.
    closing : Solver, default LBFGS()
        The solver for the end of the descent.
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
        """The number of trials of one cooling."""
        return max(_MIN_TRIALS, -(-self.steps // 32)) if self.schedule == "reheated" else max(1, self.steps)

    def init(self, x: Floats) -> _AnnealingState:
        """Return the initial state at a point x of shape (d,)."""
        nothing = x, np.inf, np.zeros(x.size)
        return _AnnealingState(*nothing, self.rate, 0, nothing, None)

    def step(self, x: Floats, evaluation: Evaluation, state: _AnnealingState) -> Step:
        """Return the next trial, or after all trials the closing solver's next step."""
        if state.closing is not None:
            inner = self.closing.step(x, evaluation, state.closing)
            return inner._replace(state=state._replace(closing=inner.state))
        value, gradient, *_ = evaluation
        rng = np.random.default_rng((self.seed, state.trials))
        probability = self._acceptance(x, evaluation, state) if state.trials else 1.0
        accepted = bool(rng.random() < probability)
        here = (x, value, gradient) if accepted else (state.x, state.value, state.gradient)
        lowest = (x, value, gradient) if value < state.lowest[1] else state.lowest
        rate = state.rate
        if self.adaptive and state.trials:
            rate *= float(np.exp(0.1 * (probability - _ACCEPTANCE_TARGET)))
        if state.trials and state.trials % self.cooling == 0:
            here, rate = lowest, self.rate
        if state.trials == self.steps:
            inner = self.closing.step(lowest[0], Evaluation(*lowest[1:]), self.closing.init(lowest[0]))
            walk = _AnnealingState(*here, rate, state.trials, lowest, inner.state)
            return inner._replace(state=walk, accepted=accepted, signal=Signal(exploring=True))
        origin, height, slopes = here
        noise = np.sqrt(2.0 * rate * self.heat(state.trials)) * rng.standard_normal(x.size)
        next_x = origin - rate * slopes + noise
        return Step(
            next_x,
            _AnnealingState(*here, rate, state.trials + 1, lowest, None),
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

    def _acceptance(self, x: Floats, evaluation: Evaluation, state: _AnnealingState) -> float:
        """Return the Metropolis-Hastings probability of accepting a trial.

        It depends on the two values and on how likely the reverse step is.
        """
        value, gradient, *_ = evaluation
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return 0.0
        heat, rate = self.heat(state.trials - 1), state.rate
        ahead = x - state.x + rate * state.gradient
        back = state.x - x + rate * gradient
        log_ratio = (state.value - value) / heat + (dot(ahead, ahead) - dot(back, back)) / (4.0 * rate * heat)
        return float(np.exp(min(log_ratio, 0.0)))
