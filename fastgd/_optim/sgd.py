"""Stochastic gradient descent: steps batch by batch, through epochs of samples or of those that come once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastgd._optim.base import VALUE_NOISE, EvaluatedPoint, Evaluation, Signal, Solver, Step, WithinEpoch
from fastgd._optim.gradient_descent import STABLE
from fastgd._typing import Floats
from fastgd._utils.linalg import dot


class _Epoch(NamedTuple):
    """An epoch since its anchor: batches seen, the last gradient step's end, and the sum of ends to average."""

    lipschitz: float
    anchor: EvaluatedPoint
    seen: int
    landing: Floats
    total: Floats


@dataclass(frozen=True)
class SGD(Solver):
    """Stochastic gradient descent with variance reduction, momentum and averaging, epoch by epoch.

    An epoch goes out from an anchor a that was evaluated on all samples, and through all batches B of samples. Near a,
    ``g_B(y) − g_B(a) + g(a)`` estimates the gradient without bias, and with a variance that vanishes as both near the
    minimum (SVRG: Johnson and Zhang, 2013): the rate need not decay. With it Nesterov's iteration
    ``x' = y − γ g(y)``, ``y' = x' + m (x' − x)``; the mean of x over the epoch's second half (Polyak and Juditsky,
    1992) is evaluated on all samples, and is the next anchor.

    Parameters
    ----------
    lipschitz : float
        The largest curvature of a batch; γ is its inverse.
    adaptive : bool
        Raise it when a batch shows a larger one: over a convex function's step Δy, ``‖Δg‖² / (Δg·Δy)`` is a lower
        bound, which finds an outlier's curvature at once. And an epoch that ends above its anchor is rejected: the
        next one goes out from there again, at a quarter of the rate.
    batches : int
        Per epoch.
    momentum : float
        The most that m becomes; it is ``k / (k + 3)`` at the epoch's step k.
    """

    lipschitz: float
    adaptive: bool
    batches: int
    momentum: float = 0.95

    def init(self, x: Floats) -> _Epoch:
        """Return the state to begin with at a point."""
        return _Epoch(self.lipschitz, EvaluatedPoint(x, np.inf, np.zeros(x.size)), 0, x, x)

    def step(self, x: Floats, evaluation: Evaluation, state: _Epoch) -> Step:
        """Answer an evaluation with the next point."""
        failed = self.adaptive and _failed(evaluation, state.anchor)
        if evaluation.partial and not failed:
            return self._within_epoch(x, evaluation, state._replace(seen=state.seen + 1))
        anchor = state.anchor if failed else EvaluatedPoint(x, evaluation.value, evaluation.gradient)
        lipschitz = 4.0 * state.lipschitz if failed else state.lipschitz
        epoch = _Epoch(lipschitz, anchor, 0, anchor.x, np.zeros(x.size))
        step = self._within_epoch(anchor.x, Evaluation(anchor.value, anchor.gradient), epoch)
        return step._replace(accepted=not failed)

    def _within_epoch(self, x: Floats, evaluation: Evaluation, epoch: _Epoch) -> Step:
        """Go on, or after the last batch to the average."""
        value, gradient, *_ = evaluation
        anchor, lipschitz = epoch.anchor, epoch.lipschitz
        if self.adaptive:
            lipschitz = max(lipschitz, _curvature(x - anchor.x, gradient - anchor.gradient))
        landing = x - gradient / lipschitz
        next_x = landing + min(epoch.seen / (epoch.seen + 3.0), self.momentum) * (landing - epoch.landing)
        averaged = epoch.seen - self.batches // 2
        total = epoch.total + landing if averaged > 0 else epoch.total
        average = total / averaged if averaged > 0 else landing
        epoch = epoch._replace(lipschitz=lipschitz, landing=landing, total=total)
        closing = Step(
            average,
            epoch,
            length=1.0 / lipschitz,
            predicted_decrease=dot(anchor.gradient, anchor.x - average),
            reference_value=anchor.value,
            accepted=True,
        )
        if epoch.seen == self.batches:
            return closing
        return Step(
            next_x,
            epoch,
            length=1.0 / lipschitz,
            predicted_decrease=dot(gradient, x - next_x),
            reference_value=value,
            accepted=True,
            signal=Signal(
                stuck=bool((next_x == x).all()),
                curvature=_curvature(x - anchor.x, gradient - anchor.gradient),
                stable=np.inf if self.adaptive else STABLE["sgd"] * lipschitz,
            ),
            within_epoch=WithinEpoch(anchor, closing),
        )


def _failed(evaluation: Evaluation, anchor: EvaluatedPoint) -> bool:
    """Return whether an epoch ended above its anchor, or leaves what is finite."""
    if evaluation.partial:
        return not np.isfinite(evaluation.value)
    return not evaluation.value <= anchor.value + VALUE_NOISE * abs(anchor.value)


def _curvature(move: Floats, change: Floats) -> float:
    """Bound the largest curvature of a convex function from below (Baillon and Haddad, 1977)."""
    along = dot(move, change)
    return dot(change, change) / along if along > 0.0 else 0.0


class AverageState(NamedTuple):
    """Where an averaged descent stands: its point, the average of its points, the rows and the batches read."""

    x: Floats
    average: Floats
    rows: float
    batches: int = 0


@dataclass(frozen=True)
class AveragedSGD(Solver):
    """Plain stochastic gradient descent: every batch is read once, and the end is an average of the points.

    For samples that come once there is no anchor, so the gradients' noise stays; two things take it away (Polyak and
    Juditsky, 1992): the rate falls, and points are averaged. For a batch of b rows, N with those before, it is

        γ = b / (L max(b + r, F(N)))    with F(N) = r (N / 4r)^decay,

    with the largest curvature L of the mean of many rows and the effective rank r, so that r L is that of single rows.
    While F is small this is the largest stable rate; then a row moves the point as much in a large batch as in a small
    one. A point after N rows weighs as N² in the average (Shamir and Zhang, 2013): where it began is soon forgotten,
    and for many rows its loss is above the minimum for these rows by 4/5 of the statistical error; with equal weights
    it would be 0.

    Parameters
    ----------
    lipschitz, rank : float
        L and r.
    decay : float
        Between 1/2 and 1, so that the bias vanishes with the noise; less for a quadratic, which noise does not bias.
    rate : float or None
        Instead of γ. None also takes no step longer than Polyak's ``2 f_B / ‖g_B‖²``: f_B is at least 0, so that
        curvature is larger than it seemed where that is less (Loizou et al., 2021), and outliers move no point far.
    batch_rows : float
        b.
    batches : int
        After so many the samples are used up.
    begun : Walk or None
        What to go on from, if that is not the start alone.
    """

    lipschitz: float
    rank: float
    decay: float
    rate: float | None
    batch_rows: float
    batches: int
    begun: AverageState | None = None

    def init(self, x: Floats) -> AverageState:
        """Return the state to begin with at a point."""
        return AverageState(x, x, 0.0) if self.begun is None else self.begun._replace(batches=0)

    def step(self, x: Floats, evaluation: Evaluation, state: AverageState) -> Step:
        """Answer an evaluation with the next point, or after the last batch with the average."""
        value, gradient, *_ = evaluation
        rows = state.rows + self.batch_rows
        rate = self._rate(value, gradient, rows) if self.rate is None else self.rate
        next_x = x - rate * gradient
        average = state.average + _share(self.batch_rows / rows) * (next_x - state.average)
        last = state.batches + 1 == self.batches
        return Step(
            average if last else next_x,
            AverageState(next_x, average, rows, state.batches + 1),
            length=rate,
            predicted_decrease=rate * dot(gradient, gradient),
            reference_value=value,
            accepted=True,
            signal=Signal(last=last),
        )

    def _rate(self, value: float, gradient: Floats, rows: float) -> float:
        reach = max(self.batch_rows + self.rank, free_rows(rows, self.rank, self.decay))
        squared = dot(gradient, gradient)
        polyak = 2.0 * value / squared if squared > 0.0 else np.inf
        return float(min(self.batch_rows / (self.lipschitz * reach), polyak))


def free_rows(rows: float, rank: float, decay: float) -> float:
    """Return F: how many rows a batch may have after so many before it makes the rate of `AveragedSGD` smaller."""
    return float(rank * (rows / (4.0 * rank)) ** decay)


def _share(new: float) -> float:
    """Return the weight in the average of the points of the last rows, which are this share of all: 1 − (1 − new)³."""
    return new * (3.0 - new * (3.0 - new))
