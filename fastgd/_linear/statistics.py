"""Means, spreads and products of features: sums that one pass gives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastgd._data.dataset import Dataset, InMemory
from fastgd._kernels.layout import Tile
from fastgd._kernels.sums import GramPoint, add_gram, first_sums, gram_shape
from fastgd._typing import Floats
from fastgd._utils.linalg import SMALL, independent
from fastgd.losses import Loss, Squared

CONSTANT = 1e-14
"""The share of a mean square that rounding may leave of the variance of a constant column."""
PASS_FEATURES = 30
"""Features whose Gram matrix takes about as long as a pass; of more, tiles are smaller."""
PASS_OUTPUTS = 8
"""Outputs whose pass takes about as long as one of a single output; of more, tiles are smaller."""
MIN_SPREAD, MAX_SIZE = 1e-140, 1e150
"""The standard deviations and root mean squares of which products and their sums hold all digits."""
INDEPENDENT = 1e-4
"""Features are certainly independent if each is further, squared and in standard deviations, from the others' span."""
GRAM_BYTES = 1 << 26
"""Bytes of the partial sums of a Hessian at most, so that threads can share the work."""


class Moments(NamedTuple):
    """What one pass says of the samples.

    Attributes
    ----------
    total_weight : float
    y_mean, y_spread : ndarray of shape (targets,)
        Mean and standard deviation of every target.
    mean, spread : ndarray of shape (d,)
        The same of every feature, in the order of tiles.
    """

    total_weight: float
    y_mean: Floats
    y_spread: Floats
    mean: Floats
    spread: Floats


def moments(dataset: Dataset, loss: Loss, *, about_mean: bool, n_threads: int | None = None) -> Moments:
    """Return means and standard deviations of y and all features from one pass.

    Sums are taken about a pivot row. As no other outweighs it, it lies within √n standard deviations of the mean,
    which bounds the relative error of a variance by n times the rounding unit, wherever the data lie; and the spread
    of a constant column is exactly 0.

    Parameters
    ----------
    dataset : Dataset
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
    zeros = np.zeros((1, dataset.shape[1]))
    return first_pass(dataset, loss, zeros, np.zeros(1), about_mean=about_mean, n_threads=n_threads)[0]


def first_pass(
    dataset: Dataset,
    loss: Loss,
    coef: Floats,
    intercept: Floats,
    *,
    about_mean: bool,
    n_threads: int | None = None,
) -> tuple[Moments, Floats]:
    """Return moments, and the sums of loss, slope and gradient at some coefficients, from one pass.

    Parameters
    ----------
    dataset : Dataset
    loss : Loss
    coef, intercept : ndarray of shape (outputs, d), (outputs,)
        In the order of tiles.
    about_mean, n_threads
        As for `moments`.

    Returns
    -------
    Moments
    ndarray of shape (1 + outputs + outputs d,)
        ``Σ s L``, each output's ``Σ s L'``, and each output's d sums ``Σ s L' x``.
    """
    pivot, y_pivot = dataset.pivot()

    def visit(tile: Tile, block_rows: int) -> Floats:
        return first_sums(tile, pivot, y_pivot, coef, intercept, loss, block_rows, n_threads)

    sums = dataset.sum_tiles(visit, len(coef) / PASS_OUTPUTS)
    split = 1 + len(coef) + coef.size
    about = np.append(pivot, np.zeros(dataset.shape[1] - len(pivot)))
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
        small = (first != 0.0) & (second < MIN_SPREAD**2) | (spread > 0.0) & (spread < MIN_SPREAD)
        small[:targets] |= (size[:targets] > 0.0) & (size[:targets] < MIN_SPREAD)
        spread[small | ~(size <= MAX_SIZE) | ~np.isfinite(second)] = np.nan
    return Moments(total, mean[:targets], spread[:targets], mean[targets:], spread[targets:])


def pooled(a: Moments, b: Moments, *, about_mean: bool) -> Moments:
    """Return the moments of the samples of both."""
    total = a.total_weight + b.total_weight
    share, rest = b.total_weight / total, a.total_weight / total

    def pool(mean_a: Floats, mean_b: Floats, spread_a: Floats, spread_b: Floats) -> tuple[Floats, Floats]:
        apart = mean_b - mean_a
        between = np.sqrt(rest * share) * np.abs(apart) if about_mean else 0.0
        within = np.hypot(np.sqrt(rest) * spread_a, np.sqrt(share) * spread_b)
        return mean_a + share * apart, np.hypot(within, between)

    y_mean, y_spread = pool(a.y_mean, b.y_mean, a.y_spread, b.y_spread)
    return Moments(total, y_mean, y_spread, *pool(a.mean, b.mean, a.spread, b.spread))


def gram(dataset: Dataset, loss: Loss, at: GramPoint, n_threads: int | None = None) -> Floats:
    """Return ``Σ s |L''| z zᵀ``, ``z = (x − center, 1, y − y_center)``, (d + 1 + targets)², from one pass."""
    center, targets = at.center, len(at.y_center)

    def of_part(part: InMemory) -> Floats:
        grams = np.empty((0, 0, 0))
        blocks = dense = columns = 0

        def visit(tile: Tile, block_rows: int) -> Floats:
            nonlocal grams, blocks, dense, columns
            if not blocks:
                dense = tile.X.shape[1]
                columns = len(center) - dense
                shape = gram_shape(dense, targets, columns)
                grams = np.zeros((max(2, min(8, GRAM_BYTES // (8 * shape[0] * shape[1]))), *shape))
            add_gram(tile, at, loss, grams, blocks, block_rows, n_threads)
            blocks += -(-tile.y.shape[-1] // block_rows)
            return np.zeros((1, 1))

        part.by_rows().sum_tiles(visit, len(center) / PASS_FEATURES)
        total = np.add.reduce(grams, axis=0)
        size = dense + 1 + targets
        upper = np.triu(total[:size, :size])
        whole = upper + np.triu(upper, 1).T
        return _with_columns(whole, total[-columns:], center, dense) if columns else whole

    return dataset.sum(of_part)


def _with_columns(whole: Floats, further: Floats, center: Floats, dense: int) -> Floats:
    """Return all products: those of sparse columns about their centre, between dense features and the rest."""
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
    """What one pass says of least squares.

    Attributes
    ----------
    moments : Moments
    covariance : ndarray of shape (d, d)
        Of features.
    cross : ndarray of shape (targets, d)
        Covariances of targets with features.
    reach, y_reach : ndarray of shape (d,), (targets,)
        The root mean squares about the point that sums were taken about. Their squares times the rounding unit are the
        absolute errors of (co)variances.
    """

    moments: Moments
    covariance: Floats
    cross: Floats
    reach: Floats
    y_reach: Floats

    def independent(self, n: int) -> bool:
        """Whether the features that vary are certainly independent in n rows; False where that is not known."""
        varying = np.flatnonzero(self.moments.spread != 0.0)
        spread = self.moments.spread[varying]
        noise = sum_rounding(n) * (self.reach[varying] / spread) ** 2
        if len(varying) > SMALL or not (noise < 1e-6 * INDEPENDENT).all():
            return False
        return independent(self.covariance[np.ix_(varying, varying)] / spread / spread[:, None], INDEPENDENT)


def normal_equations(
    dataset: Dataset, targets: int, *, about_mean: bool, n_threads: int | None = None
) -> NormalEquations:
    """Return the normal equations from one pass, about a pivot row as `moments`; without ``about_mean`` about 0."""
    d = dataset.shape[1]
    pivot, y_pivot = np.zeros(d), np.zeros(targets)
    if about_mean:
        dense, y_pivot = dataset.pivot()
        pivot[: len(dense)] = dense
    zeros = np.zeros((targets, d)), np.zeros(targets)
    sums = gram(dataset, Squared(), GramPoint(*zeros, (0, 0), 0.0, pivot, y_pivot), n_threads)
    first, second = sums[d], np.diagonal(sums)
    ordered = np.concatenate(([sums[d, d]], np.column_stack((first, second))[d + 1 :].ravel(), first[:d], second[:d]))
    moments = _to_moments(ordered, pivot, y_pivot, about_mean)
    with np.errstate(over="ignore", invalid="ignore"):  # the caller looks at the moments
        covariance, cross = sums[:d, :d] / moments.total_weight, sums[d + 1 :, :d] / moments.total_weight
        if about_mean:
            offset = first[:d] / moments.total_weight
            covariance = covariance - offset[:, None] * offset
            # Not the mean less the pivot: where y is far from 0, the mean is rounded to y's size.
            cross = cross - (first[d + 1 :] / moments.total_weight)[:, None] * offset
        reach = np.sqrt(second / moments.total_weight)
    return NormalEquations(moments, covariance, cross, reach[:d], reach[d + 1 :])


def sum_rounding(n: int) -> float:
    """Return the relative rounding error of sums of n numbers, as a random walk has it."""
    return float(np.finfo(np.float64).eps * (10.0 + n**0.5))
