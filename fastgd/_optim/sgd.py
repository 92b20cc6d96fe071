"""Stochastic gradient descent on minibatches: with epochs over all samples, or with each sample used once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastgd._optim.base import VALUE_NOISE, EvaluatedPoint, Evaluation, Signal, Solver, Step, WithinEpoch
from fastgd._optim.gradient_descent import STABLE
from fastgd._typing import Floats
from fastgd._utils.linalg import dot


class _EpochState(NamedTuple):
    """The state of `SGD` within an epoch.

    Attributes
    ----------
    lipschitz : float
        The curvature bound.
    anchor : EvaluatedPoint
        The point that the epoch starts from, evaluated on all samples.
    seen : int
        Minibatches so far.
    landing : ndarray of shape (d,)
        The end of the last gradient step, before momentum.
    total : ndarray of shape (d,)
        The sum of these ends over the second half of the epoch.
    """

    lipschitz: float
    anchor: EvaluatedPoint
    seen: int
    landing: Floats
    total: Floats


@dataclass(frozen=True)
class SGD(Solver):
    """Stochastic gradient descent with variance reduction, momentum and averaging, in epochs over all samples.

    An epoch starts from an anchor a, whose gradient g(a) on all samples is known, and goes through all minibatches B.
    The gradient at a point y is estimated by ``g_B(y) − g_B(a) + g(a)`` (SVRG: Johnson and Zhang, 2013). The estimate
    has no bias, and its variance vanishes as a and y approach the minimum, so that the rate need not decay. The
    iteration is Nesterov's: ``x' = y − γ g(y)``, ``y' = x' + m (x' − x)``. The mean of x over the second half of the
    epoch (Polyak and Juditsky, 1992) is evaluated on all samples and becomes the next anchor.

    Parameters
    ----------
    lipschitz : float
        The largest curvature of a minibatch; ``γ = 1 / lipschitz``.
    adaptive : bool
        Whether to adapt the rate. The bound is raised when a minibatch shows a larger curvature: ``‖Δg‖² / (Δg·Δy)``
        is a lower bound for a convex function. An epoch that ends above its anchor is rejected, and repeated from the
        same anchor at a quarter of the rate.
    batches : int
        The number of minibatches per epoch.
    momentum : float, default 0.95
        The largest momentum m. At step k of an epoch it is ``min(k / (k + 3), momentum)``.
    """

    lipschitz: float
    adaptive: bool
    batches: int
    momentum: float = 0.95

    def init(self, x: Floats) -> _EpochState:
        """Return the initial state at a point x of shape (d,)."""
        return _EpochState(self.lipschitz, EvaluatedPoint(x, np.inf, np.zeros(x.size)), 0, x, x)

    def step(self, x: Floats, evaluation: Evaluation, state: _EpochState) -> Step:
        """Return the next step of the epoch, or after a failed epoch the first step of the next one."""
        failed = self.adaptive and _epoch_failed(evaluation, state.anchor)
        if evaluation.partial and not failed:
            return self._within_epoch(x, evaluation, state._replace(seen=state.seen + 1))
        anchor = state.anchor if failed else EvaluatedPoint(x, evaluation.value, evaluation.gradient)
        lipschitz = 4.0 * state.lipschitz if failed else state.lipschitz
        epoch = _EpochState(lipschitz, anchor, 0, anchor.x, np.zeros(x.size))
        step = self._within_epoch(anchor.x, Evaluation(anchor.value, anchor.gradient), epoch)
        return step._replace(accepted=not failed)

    def _within_epoch(self, x: Floats, evaluation: Evaluation, epoch: _EpochState) -> Step:
        """Return the next step within an epoch, or after the last minibatch the step to the average."""
        value, gradient, *_ = evaluation
        anchor, lipschitz = epoch.anchor, epoch.lipschitz
        if self.adaptive:
            lipschitz = max(lipschitz, _curvature_bound(x - anchor.x, gradient - anchor.gradient))
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
                curvature=_curvature_bound(x - anchor.x, gradient - anchor.gradient),
                stable=np.inf if self.adaptive else STABLE["sgd"] * lipschitz,
            ),
            within_epoch=WithinEpoch(anchor, closing),
        )


def _epoch_failed(evaluation: Evaluation, anchor: EvaluatedPoint) -> bool:
    """Return whether an epoch ended above its anchor, or an estimate within it is not finite."""
    if evaluation.partial:
        return not np.isfinite(evaluation.value)
    return not evaluation.value <= anchor.value + VALUE_NOISE * abs(anchor.value)


def _curvature_bound(move: Floats, change: Floats) -> float:
    """Return ``‖Δg‖² / (Δg·Δx)``, a lower bound of a convex function's largest curvature (Baillon and Haddad, 1977)."""
    along = dot(move, change)
    return dot(change, change) / along if along > 0.0 else 0.0


class AverageState(NamedTuple):
    """The state of `AveragedSGD`.

    Attributes
    ----------
    x : ndarray of shape (d,)
        The current point.
    average : ndarray of shape (d,)
        The weighted average of the points so far.
    rows : float
        Rows of samples used so far.
    batches : int
        Minibatches used in this call.
    """

    x: Floats
    average: Floats
    rows: float
    batches: int = 0


@dataclass(frozen=True)
class AveragedSGD(Solver):
    """Stochastic gradient descent that uses each sample once and ends at a weighted average of its points.

    There is no gradient on all samples to correct the estimates by. Their noise is reduced by a falling rate and by
    averaging (Polyak and Juditsky, 1992). The rate for a minibatch of b rows, with N rows so far including these, is

        γ = b / (L max(b + r, F(N)))    with F(N) = r (N / 4r)^decay.

    L is the largest curvature of the mean loss of many rows. r is the effective rank: r L is the largest curvature of
    single rows. While F(N) is below b + r, γ is the largest stable rate. Later γ is proportional to b, so that a row
    moves the point equally far in a large minibatch and in a small one.

    The point after N rows has a weight in proportion to N² in the average (Shamir and Zhang, 2013), so that the start
    is soon forgotten. For many rows, the loss of the average exceeds the minimum for these rows by about 4/5 of the
    statistical error.

    Parameters
    ----------
    lipschitz : float
        L.
    rank : float
        r.
    decay : float
        Between 1/2 and 1, so that the bias vanishes with the noise. A quadratic objective has no bias, so that a
        smaller value is possible.
    rate : float or None
        A fixed rate that replaces γ. With None, no step is longer than Polyak's ``2 f_B / ‖g_B‖²`` (Loizou et al.,
        2021), so that outliers move the point by a limited distance.
    batch_rows : float
        b.
    batches : int
        The number of minibatches until the samples are used up.
    begun : AverageState or None, default None
        The state to continue from. None begins at the start.
    """

    lipschitz: float
    rank: float
    decay: float
    rate: float | None
    batch_rows: float
    batches: int
    begun: AverageState | None = None

    def init(self, x: Floats) -> AverageState:
        """Return the initial state at a point x of shape (d,), or the state to continue from."""
        return AverageState(x, x, 0.0) if self.begun is None else self.begun._replace(batches=0)

    def step(self, x: Floats, evaluation: Evaluation, state: AverageState) -> Step:
        """Return the next gradient step, or after the last minibatch the step to the average."""
        value, gradient, *_ = evaluation
        rows = state.rows + self.batch_rows
        rate = self._rate(value, gradient, rows) if self.rate is None else self.rate
        next_x = x - rate * gradient
        average = state.average + _average_weight(self.batch_rows / rows) * (next_x - state.average)
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
        """Return the rate γ after N = ``rows`` rows, at most Polyak's."""
        reach = max(self.batch_rows + self.rank, free_rows(rows, self.rank, self.decay))
        squared = dot(gradient, gradient)
        polyak = 2.0 * value / squared if squared > 0.0 else np.inf
        return float(min(self.batch_rows / (self.lipschitz * reach), polyak))


def free_rows(rows: float, rank: float, decay: float) -> float:
    """Return F(N) of `AveragedSGD` after N rows.

    A minibatch of fewer than ``F(N) − rank`` rows has a rate below the largest stable one.

    Parameters
    ----------
    rows : float
        N.
    rank : float
        The effective rank r.
    decay : float
    """
    return float(rank * (rows / (4.0 * rank)) ** decay)


def _average_weight(new: float) -> float:
    """Return the weight in the average of the last rows, if they are the share ``new`` of all rows: 1 − (1 − new)³."""
    return new * (3.0 - new * (3.0 - new))
