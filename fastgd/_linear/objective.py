"""Mean loss plus penalty over a source: call it at a point, get value and gradient for one pass.

The only place that knows scaling, of samples, of features and of the penalty.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from fastgd._data.dataset import Source
from fastgd._kernels import sums as passes
from fastgd._kernels.layout import Tile
from fastgd._linear.statistics import PASS_OUTPUTS, Moments, NormalEquations, gram, sum_rounding
from fastgd._optim.base import Evaluation
from fastgd._typing import Floats
from fastgd.losses import Loss, Squared


@dataclass(frozen=True)
class Objective:
    """``f(β, b) = (1/Σs) Σ s_i L(y_i, x_i·β + b) + ½ l2 ‖β‖²`` as a function of the point that descent moves.

    The point holds a row ``(θ, c)`` for each output, with ``β = θ / scale`` and ``b = c − mean·β``: the samples are
    never touched, the scaling happens in the parameters. Without an intercept a row is θ alone. A feature with an
    infinite scale keeps β = 0.

    Parameters
    ----------
    source : Source
        n samples with d features.
    loss : Loss
    l2 : float
        The penalty, in units of loss per squared unit of β. The intercept is never penalised.
    moments : Moments
        The samples' own, for weights, and for slopes per standard deviation.
    intercept : bool
    standardize : bool
        False: mean 0 and scale 1, the point is (β, b) itself.
    n_threads : int, optional
    outputs : int
        Margins of a sample, each with coefficients and an intercept of its own: one for each class or target.
    independent : bool
        Whether the features that vary are known to be independent of each other.
    """

    source: Source
    loss: Loss
    l2: float
    moments: Moments
    intercept: bool
    standardize: bool
    n_threads: int | None = None
    outputs: int = 1
    independent: bool = False

    @property
    def size(self) -> int:
        """Length of a point: for each output d, and one more with an intercept."""
        return self.outputs * (self.source.shape[1] + self.intercept)

    @cached_property
    def scale(self) -> Floats:
        """What a coefficient is multiplied by to become a coordinate, (d,).

        Not just the standard deviation σ: where the penalty curves the objective more than the data do, its share
        ``l2 / (largest curvature of the loss)`` is added to σ², so that no coordinate is stiff. Infinite if both are 0.
        """
        if not self.standardize:
            return np.ones(self.source.shape[1])
        scale = np.hypot(self.moments.spread, np.sqrt(self.l2 / self.loss.curvature_bound))
        return np.where(scale > 0.0, scale, np.inf)

    @cached_property
    def mean(self) -> Floats:
        """What features are centred at in the point's coordinates, (d,)."""
        return self.moments.mean if self.standardize and self.intercept else np.zeros(self.source.shape[1])

    @cached_property
    def units(self) -> Floats:
        """The unit of an output's slopes, (targets,): for most losses the spread of y, 1 for classes."""
        spreads = zip(self.moments.y_spread, self.moments.y_mean, strict=True)
        return np.array([self.loss.unit(float(spread) or abs(float(mean)) or 1.0) for spread, mean in spreads])

    @property
    def largest_diagonal(self) -> float:
        """An upper bound of the Hessian's diagonal, from the moments alone."""
        spread, offset = self.moments.spread / self.scale, (self.moments.mean - self.mean) / self.scale
        diagonal = self.loss.curvature_bound * (spread**2 + offset**2) + self.l2 / self.scale**2
        return float(np.max(np.append(diagonal, self.loss.curvature_bound)))

    @property
    def mean_curvature(self) -> float:
        """An upper bound of the mean of single samples' largest curvatures, from the moments alone; without penalty."""
        spread, offset = self.moments.spread / self.scale, (self.moments.mean - self.mean) / self.scale
        offset = offset if self.intercept else np.zeros(1)
        return self.loss.curvature_bound * float(np.sum(spread**2) + np.sum(offset**2) + self.intercept)

    def to_coef(self, point: Floats) -> tuple[Floats, Floats]:
        """Give the coefficients (outputs, d) and intercepts (outputs,), in the user's units, at a point."""
        rows = point.reshape(self.outputs, -1)
        coef = rows[:, : self.source.shape[1]] / self.scale
        return coef, rows[:, -1] - _along(coef, self.mean) if self.intercept else np.zeros(self.outputs)

    def to_point(self, coef: Floats, intercept: Floats) -> Floats:
        """Give the point with these coefficients and intercepts. Features that cannot move get 0."""
        with np.errstate(over="ignore", invalid="ignore"):  # descent refuses a start that is not finite
            theta = np.where(np.isfinite(self.scale), coef * self.scale, 0.0)
            return (np.column_stack((theta, intercept + _along(coef, self.mean))) if self.intercept else theta).ravel()

    def __call__(self, point: Floats) -> Evaluation:
        """Evaluate value and gradient, of the point's shape, at a point: one pass."""
        coef, intercept = self.to_coef(point)
        loss, n_threads = self.loss, self.n_threads  # no more than is needed, as it may have far to go

        def visit(tile: Tile, block_rows: int) -> Floats:
            return passes.loss_sums(tile, coef, intercept, loss, block_rows, n_threads)

        return self.evaluation(coef, self.source.fold(visit, self.outputs / PASS_OUTPUTS))

    def evaluation(self, coef: Floats, sums: Floats) -> Evaluation:
        """Turn the sums of loss, slope and gradient at some coefficients into value and gradient."""
        sums = sums / self.moments.total_weight
        value = float(sums[0]) + 0.5 * _squared(self.l2**0.5 * coef)
        slopes, gradient = sums[1 : 1 + self.outputs], sums[1 + self.outputs :].reshape(coef.shape)
        gradient = (gradient - self.mean * slopes[:, None] + self.l2 * coef) / self.scale
        return Evaluation(value, (np.column_stack((gradient, slopes)) if self.intercept else gradient).ravel())

    def largest_slope(self, gradient: Floats) -> float:
        """Give the largest slope per standard deviation of its feature, in `units`.

        It depends on no choice of coordinates: not on `standardize`, on the unit or origin of a feature, on the number
        of samples, the unit of y (in losses that follow it) or of the weights.
        """
        d = self.source.shape[1]
        rows = gradient.reshape(self.outputs, -1)
        raw = rows[:, :d] * np.where(np.isfinite(self.scale), self.scale, 0.0)
        if self.intercept:
            raw = raw - (self.moments.mean - self.mean) * rows[:, -1:]
        # A constant feature has no spread, but a penalty that its coefficient can be too large for.
        spread = np.where(self.moments.spread > 0.0, self.moments.spread, np.sqrt(self.l2 / self.loss.curvature_bound))
        slopes = np.divide(raw, spread, out=np.zeros(raw.shape), where=spread > 0.0)
        return float(np.max(np.abs(np.column_stack((slopes, rows[:, d:]))) / self.units[:, None], initial=0.0))

    def hessian(self, point: Floats) -> Floats:
        """Give the matrix of second derivatives at a point, (size, size): a reading for each pair of outputs.

        Of the squared loss only one output's, as all have the same. Where all margins of a sample may grow alike
        without consequence, that direction is given a curvature, too, so that there is an inverse.
        """
        coef, intercept = self.to_coef(point)
        joint, units = self.loss.joint, np.broadcast_to(self.units, self.outputs)
        outputs = 1 if isinstance(self.loss, Squared) else self.outputs
        size = self.size // self.outputs
        scale = np.append(self.scale, np.ones(size - len(self.scale)))
        penalty = np.append(self.l2 / self.scale**2, np.zeros(size - len(self.scale)))
        hessian = np.zeros((outputs, size, outputs, size))
        for a in range(outputs):
            for b in range(a, outputs if joint else a + 1):
                step, center = 1e-4 * float(units[a]), np.zeros(0)
                total = gram(self.source, self.loss, coef, intercept, step, self.mean, center, (a, b), self.n_threads)
                block = total[:size, :size] / self.moments.total_weight / scale / scale[:, None]
                hessian[a, :, b] = hessian[b, :, a] = block if a == b else -block
        for a in range(outputs):
            hessian[a, np.arange(size), a, np.arange(size)] += penalty
        if joint:
            alike = np.mean(np.einsum("aiai->ai", hessian)) / outputs
            hessian[:, np.arange(size), :, np.arange(size)] += alike
        return hessian.reshape(outputs * size, outputs * size)

    def quadratic(self, equations: NormalEquations) -> tuple[Floats, Floats]:
        """Give one output's Hessian and minus the gradients at 0 (size,) of the squared loss, without a reading."""
        d = self.source.shape[1]
        offset = (self.moments.mean - self.mean) / self.scale if self.intercept else np.zeros(d)
        hessian = np.zeros((d + self.intercept, d + self.intercept))
        hessian[:d, :d] = 2.0 * (equations.covariance / self.scale / self.scale[:, None] + offset[:, None] * offset)
        hessian[np.arange(d), np.arange(d)] += self.l2 / self.scale**2
        slopes = 2.0 * equations.cross / self.scale
        if self.intercept:
            hessian[d, :d] = hessian[:d, d] = 2.0 * offset
            hessian[d, d] = 2.0
            means = 2.0 * self.moments.y_mean[:, None]
            slopes = np.column_stack((slopes + means * offset, means))
        return hessian, slopes.ravel()

    def without_reading(
        self, equations: NormalEquations, point: Floats, gradient: Floats, tol: float
    ) -> Evaluation | None:
        """Evaluate the squared loss by normal equations alone, where they are solved but for ``gradient``.

        None if that is more than ``tol``; or if rounding could hide a slope of ``tol``, or most digits of the value:
        squares forget what is small beside them, and only a reading brings it back.
        """
        if self.largest_slope(gradient) > tol:
            return None
        coef, _ = self.to_coef(point)
        explained = 2.0 * np.vdot(coef, equations.cross) - np.einsum("ki,ij,kj", coef, equations.covariance, coef)
        value = float(np.sum(self.moments.y_spread**2)) - float(explained)
        rounding = sum_rounding(self.source.shape[0])
        reach = equations.y_reach + np.abs(coef) @ equations.reach
        units = np.append(equations.reach / self.scale, np.ones(self.size // self.outputs - len(self.scale)))
        noise = 2.0 * rounding * reach[:, None] * units
        if self.largest_slope(noise.ravel()) > tol or not value > 1e7 * rounding * float(np.sum(reach**2)):
            return None
        return Evaluation(value + 0.5 * _squared(self.l2**0.5 * coef), gradient, 0.0)

    def rounding(self, coef: Floats, intercept: Floats, value: float) -> tuple[float, float]:
        """Say how far the rounding of margins may move this value, and the largest slope, at some coefficients."""
        (_, y_mean, y_spread, mean, spread), bound = self.moments, self.loss.curvature_bound
        reach = np.hypot(mean, spread)
        with np.errstate(over="ignore"):
            sizes = _along(np.abs(coef), reach) + np.abs(intercept) + np.hypot(y_mean, y_spread).max()
        margin = float(np.finfo(np.float64).eps) * (4 + len(reach)) * float(sizes.max())
        lever = np.divide(reach, spread, out=np.ones(len(reach)), where=spread > 0.0).max(initial=1.0)
        steepest = (2.0 * bound * value) ** 0.5  # where L ≥ 0 and its curvature is bounded, L'² ≤ 2 · bound · L
        return steepest * margin + bound * margin * margin, bound * margin * lever / self.units.min()

    def over(self, source: Source) -> Objective:
        """Give the same objective, in the same coordinates and units, over a sample of its rows."""
        moments = self.moments._replace(total_weight=source.total_weight())
        return replace(self, source=source, moments=moments, independent=False)


def _along(coef: Floats, x: Floats) -> Floats:
    """Multiply each row of coefficients by x without BLAS, whose threads would slow down the passes that follow."""
    return np.asarray(np.einsum("kj,j->k", coef, x))


def _squared(coef: Floats) -> float:
    """Give ``‖β‖²``, without BLAS, too."""
    return float(np.einsum("kj,kj", coef, coef))
