"""Mean loss plus penalty over a source: call it at a point, get value and gradient for one pass.

The only place that knows scaling, of samples, of features and of the penalty.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fastgd import kernels, passes
from fastgd.descent import Evaluation
from fastgd.sources import Floats, Source, Tile

GRAM_BYTES = 1 << 26  # of the partial sums of a Hessian, so that threads can share the work


class Moments(NamedTuple):
    """What one reading says of the samples: total weight, and mean and spread of y and of every feature."""

    total_weight: float
    y_mean: float
    y_spread: float
    mean: Floats
    spread: Floats


def moments(source: Source, loss: kernels.Loss, *, about_mean: bool, n_threads: int | None = None) -> Moments:
    """Take means and standard deviations of y and all features in one pass.

    Sums are taken about a pivot row. As no other outweighs it, it lies within √n standard deviations of the mean,
    which bounds the relative error of a variance by n times the rounding unit, wherever the data lie; and the spread
    of a constant column is exactly 0.

    Parameters
    ----------
    source : Source
        n samples with d features.
    loss : Loss
        Says which kernel to run; moments do not depend on it.
    about_mean : bool
        Spread is the standard deviation; False, for models without an intercept: the root mean square.
    n_threads : int, optional

    Returns
    -------
    Moments
        Not finite where a feature is not, or where its squares overflow or underflow.
    """
    zeros = np.zeros(source.shape[1])
    return first_reading(source, loss, zeros, 0.0, about_mean=about_mean, n_threads=n_threads)[0]


def first_reading(
    source: Source,
    loss: kernels.Loss,
    coef: Floats,
    intercept: float,
    *,
    about_mean: bool,
    n_threads: int | None = None,
) -> tuple[Moments, Floats]:
    """Take `moments` together with the sums of loss, slope and gradient at some coefficients, all in one pass."""
    pivot, y_pivot = source.pivot()

    def visit(tile: Tile, block_rows: int) -> Floats:
        return passes.first_sums(tile, pivot, y_pivot, coef, intercept, loss, block_rows, n_threads)

    sums = source.fold(visit)
    split = 2 + len(pivot)
    return _to_moments(sums[split:], pivot, y_pivot, about_mean), sums[:split]


def _to_moments(sums: Floats, pivot: Floats, y_pivot: float, about_mean: bool) -> Moments:
    d = len(pivot)
    total = float(sums[0])
    with np.errstate(over="ignore", invalid="ignore"):
        first = np.append(sums[1], sums[3 : 3 + d]) / total
        second = np.append(sums[2], sums[3 + d :]) / total
        second[(second == 0.0) & (first != 0.0)] = np.nan  # squares underflow
        mean = np.append(y_pivot, pivot) + first
        variance = np.maximum(second - first * first, 0.0)
        spread = np.sqrt(variance) if about_mean else np.hypot(mean, np.sqrt(variance))
    return Moments(total, float(mean[0]), float(spread[0]), mean[1:], spread[1:])


def gram(
    source: Source,
    loss: kernels.Loss,
    coef: Floats,
    intercept: float,
    step: float,
    center: Floats,
    y_center: float,
    n_threads: int | None = None,
) -> Floats:
    """Give ``Σ s L'' z zᵀ`` of all samples, (d + 2, d + 2), with ``z = (x − center, 1, y − y_center)``, in one reading.

    Curvatures L'' at these coefficients are differences of slopes at margins ``step`` above and below, or 1 if it is 0.
    """
    size = len(center) + 2
    shape = passes.gram_shape(len(center))
    grams = np.zeros((max(2, min(8, GRAM_BYTES // (8 * shape[0] * shape[1]))), *shape))
    blocks = 0

    def visit(tile: Tile, block_rows: int) -> Floats:
        nonlocal blocks
        point = coef, intercept, loss, step, center, y_center
        passes.add_gram(tile, *point, grams, blocks, block_rows, n_threads)
        blocks += -(-len(tile.y) // block_rows)
        return np.zeros((1, 1))

    source.fold(visit)
    upper = np.triu(np.add.reduce(grams, axis=0)[:size, :size])
    return np.asarray(upper + np.triu(upper, 1).T)


class NormalEquations(NamedTuple):
    """What one reading says of least squares: moments; (co)variances of features (d, d), and with the target (d,).

    ``reach`` and ``y_reach`` are the root mean squares about the point that sums were taken about: their squares times
    the rounding unit are what (co)variances forget.
    """

    moments: Moments
    covariance: Floats
    cross: Floats
    reach: Floats
    y_reach: float


def normal_equations(source: Source, *, about_mean: bool, n_threads: int | None = None) -> NormalEquations:
    """Take them in one reading, about a pivot row as `moments` does; without ``about_mean`` they are about 0."""
    d = source.shape[1]
    pivot, y_pivot = source.pivot() if about_mean else (np.zeros(d), 0.0)
    sums = gram(source, kernels.Squared(), np.zeros(d), 0.0, 0.0, pivot, y_pivot, n_threads)
    first, second = sums[:-2, d], np.diagonal(sums)[:-2]
    ordered = np.concatenate((sums[d, d:], sums[-1:, -1], first, second))
    moments = _to_moments(ordered, pivot, y_pivot, about_mean)
    with np.errstate(over="ignore", invalid="ignore"):  # the caller looks at the moments
        covariance, cross = sums[:d, :d] / moments.total_weight, sums[:d, -1] / moments.total_weight
        if about_mean:
            offset = first / moments.total_weight
            covariance = covariance - offset[:, None] * offset
            cross = cross - offset * (moments.y_mean - y_pivot)
        reach = np.sqrt(np.append(second, sums[-1, -1]) / moments.total_weight)
    return NormalEquations(moments, covariance, cross, reach[:-1], float(reach[-1]))


@dataclass(frozen=True)
class Objective:
    """``f(β, b) = (1/Σs) Σ s_i L(y_i, x_i·β + b) + ½ l2 ‖β‖²`` as a function of the point that descent moves.

    The point is ``(θ, c)`` with ``β = θ / scale`` and ``b = c − mean·β``: the samples are never touched, the scaling
    happens in the parameters. Without an intercept the point is θ alone. A feature with an infinite scale keeps β = 0.

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
    """

    source: Source
    loss: kernels.Loss
    l2: float
    moments: Moments
    intercept: bool
    standardize: bool
    n_threads: int | None = None

    @property
    def size(self) -> int:
        """Length of a point: d, and one more with an intercept."""
        return self.source.shape[1] + self.intercept

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

    @property
    def unit(self) -> float:
        """The unit of a slope: for most losses the spread of y, 1 for classes."""
        return self.loss.unit(self.moments.y_spread or abs(self.moments.y_mean) or 1.0)

    @property
    def largest_diagonal(self) -> float:
        """An upper bound of the Hessian's diagonal, from the moments alone."""
        spread, offset = self.moments.spread / self.scale, (self.moments.mean - self.mean) / self.scale
        diagonal = self.loss.curvature_bound * (spread**2 + offset**2) + self.l2 / self.scale**2
        return float(np.max(np.append(diagonal, self.loss.curvature_bound)))

    def to_coef(self, point: Floats) -> tuple[Floats, float]:
        """Give the coefficients (d,) and the intercept, in the user's units, at a point."""
        coef = point[: self.source.shape[1]] / self.scale
        return coef, float(point[-1] - self.mean @ coef) if self.intercept else 0.0

    def to_point(self, coef: Floats, intercept: float) -> Floats:
        """Give the point with these coefficients (d,) and this intercept. Features that cannot move get 0."""
        with np.errstate(over="ignore", invalid="ignore"):  # descent refuses a start that is not finite
            theta = np.where(np.isfinite(self.scale), coef * self.scale, 0.0)
            return np.append(theta, intercept + self.mean @ coef) if self.intercept else theta

    def __call__(self, point: Floats) -> Evaluation:
        """Evaluate value and gradient, (d,) or (d + 1,), at a point: one pass."""
        coef, intercept = self.to_coef(point)

        def visit(tile: Tile, block_rows: int) -> Floats:
            return passes.loss_sums(tile, coef, intercept, self.loss, block_rows, self.n_threads)

        return self.evaluation(coef, self.source.fold(visit))

    def evaluation(self, coef: Floats, sums: Floats) -> Evaluation:
        """Turn the sums of loss, slope and gradient at some coefficients into value and gradient."""
        sums = sums / self.moments.total_weight
        value = float(sums[0]) + 0.5 * self.l2 * float(coef @ coef)
        gradient = (sums[2:] - self.mean * sums[1] + self.l2 * coef) / self.scale
        return Evaluation(value, np.append(gradient, sums[1]) if self.intercept else gradient)

    def largest_slope(self, gradient: Floats) -> float:
        """Give the largest slope per standard deviation of its feature, in units of `unit`.

        It depends on no choice of coordinates: not on `standardize`, on the unit or origin of a feature, on the number
        of samples, the unit of y (in losses that follow it) or of the weights.
        """
        d = self.source.shape[1]
        raw = gradient[:d] * np.where(np.isfinite(self.scale), self.scale, 0.0)
        if self.intercept:
            raw = raw - (self.moments.mean - self.mean) * gradient[-1]
        # A constant feature has no spread, but a penalty that its coefficient can be too large for.
        spread = np.where(self.moments.spread > 0.0, self.moments.spread, np.sqrt(self.l2 / self.loss.curvature_bound))
        slopes = np.divide(raw, spread, out=np.zeros(d), where=spread > 0.0)
        return float(np.max(np.abs(np.append(slopes, gradient[d:])), initial=0.0)) / self.unit

    def hessian(self, point: Floats) -> Floats:
        """Give the matrix of second derivatives at a point, (size, size): one reading, and size² work per row."""
        coef, intercept = self.to_coef(point)
        d = self.source.shape[1]

        step = 1e-4 * self.unit
        total = gram(self.source, self.loss, coef, intercept, step, self.mean, 0.0, self.n_threads)
        total = total[: self.size, : self.size]
        scale = np.append(self.scale, np.ones(self.size - d))
        hessian: Floats = total / self.moments.total_weight / scale / scale[:, None]
        hessian[np.arange(d), np.arange(d)] += self.l2 / self.scale**2
        return hessian

    def quadratic(self, equations: NormalEquations) -> tuple[Floats, Floats]:
        """Give the Hessian (size, size) and minus the gradient at 0 (size,) of the squared loss, without a reading."""
        d = self.source.shape[1]
        offset = (self.moments.mean - self.mean) / self.scale if self.intercept else np.zeros(d)
        hessian = np.zeros((self.size, self.size))
        hessian[:d, :d] = 2.0 * (equations.covariance / self.scale / self.scale[:, None] + offset[:, None] * offset)
        hessian[np.arange(d), np.arange(d)] += self.l2 / self.scale**2
        slopes = 2.0 * equations.cross / self.scale
        if self.intercept:
            hessian[d, :d] = hessian[:d, d] = 2.0 * offset
            hessian[d, d] = 2.0
            slopes = np.append(slopes + 2.0 * offset * self.moments.y_mean, 2.0 * self.moments.y_mean)
        return hessian, slopes

    def without_reading(
        self, equations: NormalEquations, point: Floats, gradient: Floats, tol: float
    ) -> Evaluation | None:
        """Evaluate the squared loss by normal equations alone, where they are solved but for ``gradient``.

        None if rounding could hide a slope of ``tol``, or most digits of the value: squares forget what is small
        beside them, and only a reading brings it back.
        """
        coef, _ = self.to_coef(point)
        explained = 2.0 * coef @ equations.cross - np.einsum("i,ij,j", coef, equations.covariance, coef)
        value = self.moments.y_spread**2 - float(explained)
        rounding = float(np.finfo(np.float64).eps) * (10.0 + self.source.shape[0] ** 0.5)  # of sums, a random walk
        reach = equations.y_reach + float(equations.reach @ np.abs(coef))
        noise = 2.0 * rounding * reach * np.append(equations.reach / self.scale, np.ones(self.size - len(coef)))
        if self.largest_slope(noise) > tol or not value > 1e7 * rounding * reach**2:
            return None
        return Evaluation(value + 0.5 * self.l2 * float(coef @ coef), gradient, 0.0)

    def over(self, source: Source) -> Objective:
        """Give the same objective, in the same coordinates and units, over a sample of its rows."""
        return replace(self, source=source, moments=self.moments._replace(total_weight=source.total_weight()))
