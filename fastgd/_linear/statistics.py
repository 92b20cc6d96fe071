"""Means, spreads and products of features: sums that one pass gives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastgd._data.dataset import InMemory, Source
from fastgd._kernels import sums as passes
from fastgd._kernels.layout import Tile
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
