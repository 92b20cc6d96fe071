"""Means, spreads and products of features: sums that one pass gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np

from fastgd._data.dataset import Dataset, InMemory
from fastgd._kernels.layout import Members, Tile
from fastgd._kernels.sums import GramPoint, Models, add_gram, add_models, first_sums, gram_shape
from fastgd._typing import Floats
from fastgd._utils import double_double as dd
from fastgd._utils.double_double import DoubleDouble
from fastgd._utils.linalg import EPS
from fastgd.losses import Loss

CONSTANT = 1e-14
"""The share of a mean square that rounding may leave of the variance of a constant column."""
ROUNDED = 4.0 * EPS
"""The share of a mean up to which a standard deviation is the rounding of numbers that are all the same."""
PASS_FEATURES = 30
"""Features whose Gram matrix takes about as long as a pass; of more, tiles are smaller."""
PASS_OUTPUTS = 8
"""Outputs whose pass takes about as long as one of a single output; of more, tiles are smaller."""
POINTS_OF_PASS = 16
"""Points of which a pass takes about as long as twice one at a single point; of more, tiles are smaller."""
MIN_SPREAD, MAX_SIZE = 1e-140, 1e150
"""The standard deviations and root mean squares of which products and their sums hold all digits."""
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
    return to_moments(sums[split:], about, y_pivot, about_mean), sums[:split]


def to_moments(sums: Floats, pivot: Floats, y_pivot: Floats, about_mean: bool) -> Moments:
    """Return moments from sums about a pivot, in the order of `first_sums`."""
    d, targets = len(pivot), len(y_pivot)
    total, split = float(sums[0]), 1 + 2 * targets
    with np.errstate(over="ignore", invalid="ignore"):
        first = np.append(sums[1:split:2], sums[split : split + d]) / total
        second = np.append(sums[2:split:2], sums[split + d :]) / total
        mean = np.append(y_pivot, pivot) + first
        variance = second - first * first
        variance[variance <= CONSTANT * second] = 0.0
        deviation = np.sqrt(variance)
        deviation[deviation <= ROUNDED * np.abs(mean)] = 0.0
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
        mean, spread = mean_a + share * apart, np.hypot(within, between)
        return mean, np.where(spread <= ROUNDED * np.abs(mean), 0.0, spread)

    y_mean, y_spread = pool(a.y_mean, b.y_mean, a.y_spread, b.y_spread)
    return Moments(total, y_mean, y_spread, *pool(a.mean, b.mean, a.spread, b.spread))


def grams(dataset: Dataset, loss: Loss, points: Sequence[GramPoint], n_threads: int | None = None) -> Floats:
    """Return ``Σ s |L''| z zᵀ``, ``z = (x − center, 1, y − y_center)``, for each of some points, from one pass.

    All have the same centres. The shape is (points, d + 1 + targets, d + 1 + targets).
    """
    return dataset.sum(lambda part: grams_of_part(part, loss, points, n_threads))


def grams_of_part(
    part: InMemory,
    loss: Loss,
    points: Sequence[GramPoint],
    n_threads: int | None = None,
    weigh: Callable[[Tile], Sequence[Floats]] | None = None,
) -> Floats:
    """Return what `grams` does of samples in memory.

    Parameters
    ----------
    part, loss, points, n_threads
        As for `grams`.
    weigh : callable, optional
        Gives the weights of a tile's rows for each point, if they are not those of the samples.
    """
    sums = _grams_of_part(part, loss, points, None, n_threads, (), weigh)
    at = points[0]
    whole = np.array([_symmetric(np.add.reduce(own, axis=0), at, sums.dense) for own in sums.grams])
    offset = _sparse_center(at, sums.dense)
    if offset.any():
        with np.errstate(invalid="ignore"):  # the caller looks at the moments
            whole -= whole[:, :, len(at.center), None] * offset
            whole -= offset[:, None] * whole[:, None, len(at.center)]
    return whole


def gram(dataset: Dataset, loss: Loss, at: GramPoint, n_threads: int | None = None) -> Floats:
    """Return what `grams` does for one point, (d + 1 + targets)²."""
    return np.asarray(grams(dataset, loss, [at], n_threads)[0])


def gram_double_double(
    dataset: Dataset, loss: Loss, points: Sequence[GramPoint], n_threads: int | None = None
) -> list[DoubleDouble]:
    """Return what `grams` does with about 32 digits, from one pass that takes as long as 4 to 8 of that."""

    def of_part(part: InMemory) -> list[DoubleDouble]:
        sums = _grams_of_part(part, loss, points, None, n_threads, (2,))
        return [_centred(DoubleDouble(own[:, 0], own[:, 1]).sum(axis=0), points[0], sums.dense) for own in sums.grams]

    return dataset.map_reduce(of_part, _sum_double_doubles)


def _centred(total: DoubleDouble, at: GramPoint, dense: int) -> DoubleDouble:
    """Return the matrix of all products about the centre from the sums of `add_gram`."""
    whole = DoubleDouble(*(_symmetric(each, at, dense) for each in total))
    offset = _sparse_center(at, dense)
    if offset.any():
        center = DoubleDouble.of(offset)
        with np.errstate(over="ignore", invalid="ignore"):  # the caller looks at the moments
            whole = dd.subtract(whole, dd.outer(whole.at(slice(None), len(at.center)), center))
            whole = dd.subtract(whole, dd.outer(center, whole.at(len(at.center))))
    return whole


def _sum_double_doubles(several: list[list[DoubleDouble]]) -> list[DoubleDouble]:
    return [reduce(dd.add, each) for each in zip(*several, strict=True)]


class PointSums(NamedTuple):
    """What a pass says at several points.

    Attributes
    ----------
    sums : ndarray of shape (points, 1 + outputs + outputs d)
        The sums of loss, slope and gradient, as `first_pass` gives them.
    dual_excess : ndarray of shape (points,)
        The sums of `fastgd.Loss.dual_excess`; infinite for losses that have none.
    """

    sums: Floats
    dual_excess: Floats


def point_sums(
    dataset: Dataset, loss: Loss, coefs: Floats, intercepts: Floats, n_threads: int | None = None
) -> PointSums:
    """Return the sums of loss, slope and gradient at several points, from one pass.

    Parameters
    ----------
    dataset : Dataset
    loss : Loss
    coefs, intercepts : ndarray of shape (points, outputs, d), (points, outputs)
        In the order of tiles.
    n_threads : int, optional
    """

    def of_part(part: InMemory) -> Floats:
        models: Models | None = None
        sums, blocks = np.empty(0), 0

        def visit(tile: Tile, block_rows: int) -> Floats:
            nonlocal models, sums, blocks
            if models is None:
                models = Models.of(coefs, intercepts, tile.X.shape[1])
                shape = models.rows, models.intercepts.size
                sums = np.zeros((max(2, min(8, GRAM_BYTES // (8 * shape[0] * shape[1]))), *shape))
            add_models(tile, models, loss, sums, blocks, block_rows, n_threads)
            blocks += -(-tile.y.shape[-1] // block_rows)
            return np.zeros((1, 1))

        part.by_rows().sum_tiles(visit, len(coefs) * coefs.shape[1] / POINTS_OF_PASS)
        assert models is not None  # noqa: S101  there is at least one row
        found, excess = models.split(np.add.reduce(sums, axis=0))
        return np.column_stack((found, excess))

    found = dataset.sum(of_part)
    excess = found[:, -1] if type(loss).dual_excess or loss.multiclass else np.full(len(found), np.inf)
    return PointSums(found[:, :-1], np.where(np.isnan(excess), np.inf, excess))


class MemberSums(NamedTuple):
    """Products of dense features and members, and squares of other columns, see `gram_of_members`.

    Attributes
    ----------
    products : ndarray of shape (dense + 1 + slots, dense + 1 + members)
        ``Σ s |L''| z zᵀ`` for ``z = (x − center, 1, members)``, followed by the products of other columns with slots.
    squares : ndarray of shape (columns, 2)
        ``Σ s |L''| x`` and ``Σ s |L''| x²`` of the sparse columns; 0 for members.
    """

    products: Floats
    squares: Floats


def gram_of_members(
    dataset: Dataset, loss: Loss, points: Sequence[GramPoint], members: Members, n_threads: int | None = None
) -> list[MemberSums]:
    """Return products of dense features and members, and squares of other columns, for each of some points.

    It takes one pass. Points have no targets. Dense features are centred, sparse columns are not.
    """
    columns, d = len(members.slots), len(points[0].center)

    def of_part(part: InMemory) -> Floats:
        sums = _grams_of_part(part, loss, points, members, n_threads, ())
        size = sums.dense + 1
        rows = []
        for own, squares in zip(sums.grams, sums.squares, strict=True):
            total = np.add.reduce(own, axis=0)
            upper = np.triu(total[:size, :size])
            whole = np.empty((size + members.rows, size + members.size))
            whole[:size, :size] = upper + np.triu(upper, 1).T
            whole[size:, :size] = total[total.shape[0] - members.rows :, :size]
            whole[size:, size:] = total[total.shape[0] - members.rows :, total.shape[1] - members.size :]
            whole[:size, size:] = whole[size : size + members.size, :size].T
            rows.append(np.append(whole.ravel(), np.add.reduce(squares, axis=0)))
        return np.array(rows)

    found = []
    for flat in dataset.sum(of_part):
        products, squares = np.split(flat, [len(flat) - 2 * columns])
        found.append(MemberSums(products.reshape(-1, d - columns + 1 + members.size), squares.reshape(-1, 2)))
    return found


class _GramSums(NamedTuple):
    """The partial sums of `add_gram` for each point over samples in memory, and how many of the columns are dense."""

    grams: Floats
    squares: Floats
    dense: int


def _grams_of_part(
    part: InMemory,
    loss: Loss,
    points: Sequence[GramPoint],
    members: Members | None,
    n_threads: int | None,
    numbers: tuple[int, ...],
    weigh: Callable[[Tile], Sequence[Floats]] | None = None,
) -> _GramSums:
    """Return the partial sums over samples in memory: of all sparse columns, or only of members and squares.

    ``numbers`` is () for float64 and (2,) for double-doubles.
    """
    sums, blocks, at = _GramSums(np.empty(0), np.empty(0), 0), 0, points[0]
    chosen = members

    def visit(tile: Tile, block_rows: int) -> Floats:
        nonlocal sums, blocks, chosen
        if not blocks:
            dense = tile.X.shape[1]
            chosen = members or Members.all(len(at.center) - dense)
            shape, few = gram_shape(dense, len(at.y_center), chosen), 0 if members is None else len(members.slots)
            parts = max(2, min(8, GRAM_BYTES // (8 * len(points) * (shape[0] * shape[1] + 2 * few))))
            of_points = len(points), parts
            sums = _GramSums(np.zeros((*of_points, *numbers, *shape)), np.zeros((*of_points, few, 2)), dense)
        assert chosen is not None  # noqa: S101  the first tile has seen to that
        weights = [tile.weight] * len(points) if weigh is None else weigh(tile)
        for point, weight, own, squares in zip(points, weights, sums.grams, sums.squares, strict=True):
            weighed = tile._replace(weight=weight)
            add_gram(weighed, point, loss, chosen, own, squares, blocks, block_rows, n_threads)
        blocks += -(-tile.y.shape[-1] // block_rows)
        return np.zeros((1, 1))

    work = (len(at.center) / PASS_FEATURES if members is None else 1.0) * (len(points) if len(points) > 1 else 1)
    part.by_rows().sum_tiles(visit, work)
    return sums


def _symmetric(total: Floats, at: GramPoint, dense: int) -> Floats:
    """Return the matrix of all products from the sums of `add_gram`, sparse columns after dense ones."""
    size, columns = dense + 1 + len(at.y_center), len(at.center) - dense
    upper = np.triu(total[:size, :size])
    whole = upper + np.triu(upper, 1).T
    if not columns:
        return whole
    further = total[-columns:]
    corner = further[:, further.shape[1] - columns :]
    whole = np.block([[whole, further[:, :size].T], [further[:, :size], corner]])
    order = np.r_[:dense, size : size + columns, dense:size]
    return np.asarray(whole[np.ix_(order, order)])


def _sparse_center(at: GramPoint, dense: int) -> Floats:
    """Return what products of sparse columns, which are added up about 0, are still to be centred at; else 0."""
    center = np.where(np.arange(len(at.center)) < dense, 0.0, at.center)
    return np.append(center, np.zeros(1 + len(at.y_center)))


def sum_rounding(n: int) -> float:
    """Return the relative rounding error of sums of n numbers, as a random walk has it."""
    return float(EPS * (10.0 + n**0.5))
