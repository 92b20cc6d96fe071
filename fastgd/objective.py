"""Mean loss plus penalty over a source: call it at a point, get value and gradient for one pass.

The only place that knows scaling, of samples, of features and of the penalty.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fastgd._data.dataset import InMemory, Source
from fastgd._kernels import sums as passes
from fastgd._kernels.layout import Tile
from fastgd._optim.base import Evaluation
from fastgd._typing import Floats
from fastgd._utils.linalg import SMALL, independent
from fastgd.losses import Loss, Squared

CONSTANT = 1e-14  # share of a mean square that rounding may leave of the variance of a constant column
PASS_FEATURES = 30  # so many that their Gram matrix takes not much longer than a pass: of more, tiles are smaller,
PASS_OUTPUTS = 8  # and so they are of more outputs
LEAST, LARGEST = 1e-140, 1e150  # spread and root mean square of what products and their sums hold all digits of
INDEPENDENT = 1e-4  # squared and in spreads, how far features are from the span of others if that is to be certain
GRAM_BYTES = 1 << 26  # of the partial sums of a Hessian, so that threads can share the work


class Moments(NamedTuple):
    """What one reading says of the samples: total weight, and mean and spread of every target and every feature."""

    total_weight: float
    y_mean: Floats
    y_spread: Floats
    mean: Floats
    spread: Floats


def moments(source: Source, loss: Loss, *, about_mean: bool, n_threads: int | None = None) -> Moments:
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
        Spreads are NaN where numbers are not finite, or so large or close that their squares may over- or underflow.
    """
    zeros = np.zeros((1, source.shape[1]))
    return first_reading(source, loss, zeros, np.zeros(1), about_mean=about_mean, n_threads=n_threads)[0]


def first_reading(
    source: Source,
    loss: Loss,
    coef: Floats,
    intercept: Floats,
    *,
    about_mean: bool,
    n_threads: int | None = None,
) -> tuple[Moments, Floats]:
    """Take `moments` together with the sums of loss, slope and gradient at some coefficients, all in one pass."""
    pivot, y_pivot = source.pivot()

    def visit(tile: Tile, block_rows: int) -> Floats:
        return passes.first_sums(tile, pivot, y_pivot, coef, intercept, loss, block_rows, n_threads)

    sums = source.fold(visit, len(coef) / PASS_OUTPUTS)
    split = 1 + len(coef) + coef.size
    about = np.append(pivot, np.zeros(source.shape[1] - len(pivot)))
    return _to_moments(sums[split:], about, y_pivot, about_mean), sums[:split]


def _to_moments(sums: Floats, pivot: Floats, y_pivot: Floats, about_mean: bool) -> Moments:
    d, targets = len(pivot), len(y_pivot)
    total, split = float(sums[0]), 1 + 2 * targets
    with np.errstate(over="ignore", invalid="ignore"):
        first = np.append(sums[1:split:2], sums[split : split + d]) / total
        second = np.append(sums[2:split:2], sums[split + d :]) / total
        mean = np.append(y_pivot, pivot) + first
        variance = second - first * first
        variance[variance <= CONSTANT * second] = 0.0
        deviation = np.sqrt(variance)
        size = np.hypot(mean, deviation)
        spread = deviation if about_mean else size.copy()
        small = (first != 0.0) & (second < LEAST**2) | (spread > 0.0) & (spread < LEAST)
        small[:targets] |= (size[:targets] > 0.0) & (size[:targets] < LEAST)
        spread[small | ~(size <= LARGEST) | ~np.isfinite(second)] = np.nan
    return Moments(total, mean[:targets], spread[:targets], mean[targets:], spread[targets:])


def pooled(a: Moments, b: Moments, *, about_mean: bool) -> Moments:
    """Give the moments of the samples of both."""
    total = a.total_weight + b.total_weight
    share, rest = b.total_weight / total, a.total_weight / total

    def pool(mean_a: Floats, mean_b: Floats, spread_a: Floats, spread_b: Floats) -> tuple[Floats, Floats]:
        apart = mean_b - mean_a
        between = np.sqrt(rest * share) * np.abs(apart) if about_mean else 0.0
        within = np.hypot(np.sqrt(rest) * spread_a, np.sqrt(share) * spread_b)
        return mean_a + share * apart, np.hypot(within, between)

    y_mean, y_spread = pool(a.y_mean, b.y_mean, a.y_spread, b.y_spread)
    return Moments(total, y_mean, y_spread, *pool(a.mean, b.mean, a.spread, b.spread))


def gram(
    source: Source,
    loss: Loss,
    coef: Floats,
    intercept: Floats,
    step: float,
    center: Floats,
    y_center: Floats,
    pair: tuple[int, int] = (0, 0),
    n_threads: int | None = None,
) -> Floats:
    """Give ``Σ s |L''| z zᵀ``, ``z = (x − center, 1, y − y_center)``, (d + 1 + targets)², in one reading.

    Curvatures L'' for a pair of outputs at these coefficients are differences of slopes at margins ``step`` above and
    below, or 1 if it is 0.
    """
    targets = len(y_center)

    def of_part(part: InMemory) -> Floats:
        grams = np.empty((0, 0, 0))
        blocks = dense = columns = 0

        def visit(tile: Tile, block_rows: int) -> Floats:
            nonlocal grams, blocks, dense, columns
            if not blocks:
                dense = tile.X.shape[1]
                columns = len(center) - dense
                shape = passes.gram_shape(dense, targets, columns)
                grams = np.zeros((max(2, min(8, GRAM_BYTES // (8 * shape[0] * shape[1]))), *shape))
            point = coef, intercept, loss, pair, step, center, y_center
            passes.add_gram(tile, *point, grams, blocks, block_rows, n_threads)
            blocks += -(-tile.y.shape[-1] // block_rows)
            return np.zeros((1, 1))

        part.by_rows().fold(visit, len(center) / PASS_FEATURES)
        total = np.add.reduce(grams, axis=0)
        size = dense + 1 + targets
        upper = np.triu(total[:size, :size])
        whole = upper + np.triu(upper, 1).T
        return _with_columns(whole, total[-columns:], center, dense) if columns else whole

    return source.add_up(of_part)


def _with_columns(whole: Floats, further: Floats, center: Floats, dense: int) -> Floats:
    """Put the products of sparse columns between those of dense features and the rest, and take them about a centre."""
    size, columns = len(whole), len(center) - dense
    corner = further[:, further.shape[1] - columns :]
    whole = np.block([[whole, further[:, :size].T], [further[:, :size], corner]])
    order = np.r_[:dense, size : size + columns, dense:size]
    whole = whole[np.ix_(order, order)]
    offset = np.r_[np.zeros(dense), center[dense:], np.zeros(size - dense)]
    with np.errstate(invalid="ignore"):  # the caller looks at the moments
        whole -= whole[:, len(center), None] * offset
        return np.asarray(whole - offset[:, None] * whole[len(center)])


class NormalEquations(NamedTuple):
    """What one reading says of least squares: moments; (co)variances of features (d, d), and with targets (targets, d).

    ``reach`` and ``y_reach`` are the root mean squares about the point that sums were taken about: their squares times
    the rounding unit are what (co)variances forget.
    """

    moments: Moments
    covariance: Floats
    cross: Floats
    reach: Floats
    y_reach: Floats

    def independent(self, n: int) -> bool:
        """Tell for certain that features that vary are independent in n rows: few, and where sums leave no doubt."""
        varying = np.flatnonzero(self.moments.spread != 0.0)
        spread = self.moments.spread[varying]
        noise = sum_rounding(n) * (self.reach[varying] / spread) ** 2
        if len(varying) > SMALL or not (noise < 1e-6 * INDEPENDENT).all():
            return False
        return independent(self.covariance[np.ix_(varying, varying)] / spread / spread[:, None], INDEPENDENT)


def normal_equations(
    source: Source, targets: int, *, about_mean: bool, n_threads: int | None = None
) -> NormalEquations:
    """Take them in one reading, about a pivot row as `moments` does; without ``about_mean`` they are about 0."""
    d = source.shape[1]
    pivot, y_pivot = np.zeros(d), np.zeros(targets)
    if about_mean:
        dense, y_pivot = source.pivot()
        pivot[: len(dense)] = dense
    zeros = np.zeros((targets, d)), np.zeros(targets)
    sums = gram(source, Squared(), *zeros, 0.0, pivot, y_pivot, n_threads=n_threads)
    first, second = sums[d], np.diagonal(sums)
    ordered = np.concatenate(([sums[d, d]], np.column_stack((first, second))[d + 1 :].ravel(), first[:d], second[:d]))
    moments = _to_moments(ordered, pivot, y_pivot, about_mean)
    with np.errstate(over="ignore", invalid="ignore"):  # the caller looks at the moments
        covariance, cross = sums[:d, :d] / moments.total_weight, sums[d + 1 :, :d] / moments.total_weight
        if about_mean:
            offset = first[:d] / moments.total_weight
            covariance = covariance - offset[:, None] * offset
            cross = cross - (moments.y_mean - y_pivot)[:, None] * offset
        reach = np.sqrt(second / moments.total_weight)
    return NormalEquations(moments, covariance, cross, reach[:d], reach[d + 1 :])


def sum_rounding(n: int) -> float:
    """Give the relative error of sums of n numbers, a random walk."""
    return float(np.finfo(np.float64).eps * (10.0 + n**0.5))


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
