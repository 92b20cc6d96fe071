"""Redundant columns: constants, and linear combinations of the columns before them.

They are found on a sample of rows. One pass then searches all rows for some that refute what the sample says; these are
added to the sample, and the search begins again. If the sample says that all columns are independent, they are.

Of many columns such a sample is as large as their Hessian, and takes far longer to orthogonalise. Where a row has few
numbers beside 0, the products of all columns over all rows cost less, and tell in a few passes which columns those
before them determine. They know distances to half of the digits only: where that is not enough, a sample decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.dataset import Dataset, InMemory, Picked, leading, pick
from fastgd._data.design import Design, dense_rows, tile_ranges
from fastgd._kernels.layout import Tile
from fastgd._kernels.sums import GramPoint, loss_sums
from fastgd._linear.statistics import PASS_OUTPUTS, ROUNDED, Moments, gram, sum_rounding
from fastgd._typing import Floats
from fastgd._utils.linalg import EPS, PRECISE, SMALL, independent, inverse_triangle
from fastgd.losses import Squared

_SAME = 16.0 * EPS
"""A redundant column differs from a combination of others by at most this share of its size in a sample."""
_REFUTED = 64.0 * EPS
"""The share of their sizes by which combinations of columns may differ in any row, as their numbers are rounded."""
_ROUNDS = 8
"""Samples that are searched for redundant columns until only constants are reported."""
_REFINEMENTS = 20
"""Projections until the smallest coefficients must have all digits."""
_ROUNDING = 4.0 * EPS
_INDEPENDENT = 1e-7
"""The distance from a span that an orthogonal basis can certify, whatever rounding does."""
_TOGETHER = 64
"""Columns that are compared with those before them at a time."""
_FAR = 1e-8
"""The squared distance from a span that products of columns can certify."""
_MOST_RIDGE = 1e-7
"""The ridge up to which products of columns say enough of them."""
_MOST_MIXED = 64
"""Mixtures that are refined at once."""
_REFINING_PASSES = 2
"""Passes that leave mixtures with the rounding of their coefficients alone; each gains four digits or more."""


class Columns(NamedTuple):
    """Which columns are redundant, and why.

    Attributes
    ----------
    kept, constant, mixed : ndarray of int
        Columns that are independent, that are constant, and that are combinations of kept ones.
    others : ndarray of shape (kept, mixed)
        Each mixed column as a combination of the kept ones; with an intercept, plus a constant.
    tolerance : float
        In every row a redundant column differs from the combination by at most this share of the columns' sizes.
    exact : bool
        Whether that is the precision of float64, or only that of the numbers of X.
    """

    kept: NDArray[np.intp]
    constant: NDArray[np.intp]
    mixed: NDArray[np.intp]
    others: Floats
    tolerance: float
    exact: bool = True

    @property
    def size(self) -> int:
        """The number of columns."""
        return len(self.kept) + len(self.constant) + len(self.mixed)

    @property
    def redundant(self) -> NDArray[np.intp]:
        """Constants and mixtures, in order."""
        return np.union1d(self.constant, self.mixed) if len(self.mixed) else self.constant

    def smallest(self, coef: Floats) -> Floats:
        """Return the smallest of all coefficients (outputs, d) that have the same linear predictors.

        A basis is rounded relative to its largest number, and coefficients may differ by many powers of ten. So what a
        projection changes in linear predictors is projected again.
        """
        coef = coef.copy()
        coef[:, self.constant] = 0.0
        if not len(self.mixed):
            return coef
        many = len(self.mixed) > len(self.kept)
        span = np.zeros((coef.shape[1], min(len(self.kept), len(self.mixed))))
        if many:  # a basis of what changes linear predictors
            span[self.kept], span[self.mixed] = np.eye(len(self.kept)), self.others.T
        else:  # a basis of what does not change them
            span[self.kept], span[self.mixed] = -self.others, np.eye(len(self.mixed))
        basis = np.linalg.qr(span / np.abs(span).max(axis=0))[0]
        smallest, left, wanted = np.zeros_like(coef), coef, self._of_kept(coef)
        for _ in range(_REFINEMENTS):
            part = (left @ basis) @ basis.T
            smallest = smallest + (part if many else left - part)
            left = np.zeros_like(coef)
            left[:, self.kept] = wanted - self._of_kept(smallest)
            if (np.abs(left[:, self.kept]) <= _ROUNDING * np.abs(wanted)).all():
                break
        else:  # linear predictors matter more than size
            smallest += left
        return smallest

    def _of_kept(self, coef: Floats) -> Floats:
        """Return coefficients of kept columns alone that have the same linear predictors."""
        return np.asarray(coef[:, self.kept] + coef[:, self.mixed] @ self.others.T)


def sample_size(n: int, d: int) -> int:
    """Return how many of n rows a sample for d columns has."""
    return min(n, 2 * d + 100)


def products(n: int, d: int) -> float:
    """Return how many products it takes to find the redundant ones of d columns in a sample of n rows."""
    rows = sample_size(n, d)
    return float(rows) * d * min(rows, d)


def drawn(dataset: Dataset, rng: np.random.Generator) -> Floats:
    """Return the first sample of rows, (k, d), without a pass."""
    sample = dataset.local_sample.sample(sample_size(*dataset.shape), rng)
    return dense_rows(sample.design, np.arange(sample.shape[0]))


def redundant_columns(
    dataset: Dataset,
    sample: Floats,
    size: Floats,
    spread: Floats,
    *,
    intercept: bool,
    rng: np.random.Generator,
    rounding: float = 0.0,
) -> tuple[Columns, Floats]:
    """Find the columns that are constant (0 without an intercept) or linear combinations of those before them.

    Parameters
    ----------
    dataset : Dataset
        n samples of d columns; those of weight 0 don't count.
    sample : ndarray of shape (k, d)
        Some of them.
    size, spread : ndarray of shape (d,)
        Root mean squares, which the rounding of numbers is relative to, and standard deviations.
    intercept : bool
    rng : Generator
    rounding : float
        Of single numbers of X, relative to them.

    Returns
    -------
    Columns
    ndarray
        The sample, and rows that refuted what it said.
    """
    # Projections on d columns leave a rounding of about √d.
    same = max(_SAME, 2.0 * EPS * len(spread) ** 0.5, 4.0 * rounding)
    refuted = max(_REFUTED, rounding)
    varying = spread > 0.0
    for _ in range(_ROUNDS):
        centred = np.where(varying, sample - sample.mean(axis=0) * intercept, 0.0)
        columns = _dependent(centred, spread, same * size / np.where(varying, spread, 1.0))
        if not len(columns.mixed):
            return columns, sample
        mixture = _random_mixture(columns, spread, rng)
        center = float(np.mean(sample @ mixture)) * intercept
        allowed = refuted * float(np.abs(mixture) @ size)
        refuting = _refuting_rows(dataset, mixture, center, allowed, len(columns.mixed), rng)
        if not len(refuting):
            return columns._replace(tolerance=refuted), sample
        sample = np.concatenate((sample, refuting))
    return only_constants(spread), sample


def products_are_cheap(dataset: Dataset) -> bool:
    """Whether the products of all columns over all rows cost less than to search a sample for redundant columns.

    There are many columns, and more rows, which have few numbers each.
    """
    n, d = dataset.shape
    numbers = dataset.row_bytes / dataset.dtype.itemsize
    return d > PRECISE and n > d and n * numbers**2 <= products(n, d)


def redundant_by_products(
    dataset: Dataset,
    moments: Moments,
    stored_sizes: Floats,
    *,
    intercept: bool,
    rng: np.random.Generator,
    n_threads: int | None = None,
) -> Columns | None:
    """Find what `redundant_columns` does by products of columns; None if these don't tell, or not for certain.

    With the matrix G of the products of columns of length 1 and a small ridge δ, each column has a combination with
    those before it whose squared length, plus δ times the squared length of its coefficients, is smallest. Relative to
    the latter this sum is δ if the column is redundant, but for rounding. All other columns are independent for
    certain if G less 2 δ is positive definite among them. The exact combinations are the null space of G, by inverse
    iteration: ever more precise, as their lengths are computed from the rows.

    Parameters
    ----------
    dataset : Dataset
        n samples of d columns.
    moments : Moments
        Of the samples, in the order of tiles.
    stored_sizes : ndarray of shape (d,)
        `LinearObjective.stored_sizes`.
    intercept : bool
    rng : Generator
    n_threads : int, optional
    """
    (n, d), mean, spread = dataset.shape, moments.mean * intercept, moments.spread
    dense = len(dataset.pivot()[0])
    varying = dataset.to_caller_order(np.arange(d))
    varying = varying[spread[varying] > 0.0]
    if not len(varying) or not np.isfinite(spread).all():
        return None
    size = np.hypot(moments.mean, spread)[varying] / spread[varying]
    noise = sum_rounding(n) * float(np.where(varying < dense, size, size**2).max())
    ridge = 8.0 * len(varying) ** 0.5 * noise
    if ridge > _MOST_RIDGE:
        return None
    at = GramPoint(np.zeros((1, d)), np.zeros(1), (0, 0), 0.0, mean, np.zeros(0))
    sums = gram(dataset, Squared(), at, n_threads)
    sums = sums[:d, :d] - sums[:d, d:] * (sums[d, :d] / sums[d, d]) * intercept
    unit = sums[np.ix_(varying, varying)]
    squares = np.diagonal(unit)
    if not (squares > 0.0).all():
        return None
    scale = np.sqrt(squares)
    unit /= scale
    unit /= scale[:, None]
    try:
        root = inverse_triangle(np.linalg.cholesky(unit + ridge * np.eye(len(unit)))).T
        is_mixed = np.einsum("ij,ij->j", root, root) * (4.0 * ridge) >= 1.0
        kept, mixed = np.flatnonzero(~is_mixed), np.flatnonzero(is_mixed)
        if len(mixed) > _MOST_MIXED:
            return None
        np.linalg.cholesky(unit[np.ix_(kept, kept)] - 2.0 * ridge * np.eye(len(kept)))
    except np.linalg.LinAlgError:
        return None
    if not len(mixed):
        return only_constants(dataset.to_caller_order(spread))
    shares, mixtures = np.eye(len(unit))[:, mixed], np.zeros((len(mixed), d))
    for _ in range(2):
        shares = root @ (root.T @ shares)
        shares = np.asarray(np.linalg.solve(shares[mixed].T, shares.T).T)
    for _ in range(_REFINING_PASSES):
        mixtures[:, varying] = (shares / scale[:, None]).T
        products = _products_with(dataset, mixtures, mean, n_threads)[:, varying].T / scale[:, None]
        shares = shares - root @ (root.T @ products)
        shares = np.asarray(np.linalg.solve(shares[mixed].T, shares.T).T)
    order = dataset.to_caller_order(np.arange(d))
    place = np.argsort(order)[varying]  # in the caller's order, which is rising
    others = -shares[kept] * scale[mixed] / scale[kept, None]
    constant = np.flatnonzero(spread[order] == 0.0)
    columns = Columns(place[kept], constant, place[mixed], others, _REFUTED)
    mixture = _random_mixture(columns, spread[order], rng)
    center = float(mean[order] @ mixture)
    allowed = _REFUTED * float(np.abs(mixture) @ stored_sizes[order])
    return None if len(_refuting_rows(dataset, mixture, center, allowed, len(mixed), rng)) else columns


def _products_with(dataset: Dataset, mixtures: Floats, mean: Floats, n_threads: int | None) -> Floats:
    """Return ``Σ s (x − mean) (x − mean)ᵀ m`` for some mixtures (k, d) of columns, (k, d), from one pass."""
    count = len(mixtures)

    def visit(tile: Tile, block_rows: int) -> Floats:
        zeros = tile._replace(y=np.zeros((count, tile.y.shape[-1])))
        return loss_sums(zeros, mixtures, -(mixtures @ mean), Squared(), block_rows, n_threads)

    sums = dataset.sum_tiles(visit, count / PASS_OUTPUTS) / Squared.curvature_bound
    return np.asarray(sums[1 + count :].reshape(count, -1) - sums[1 : 1 + count, None] * mean)


def _random_mixture(columns: Columns, spread: Floats, rng: np.random.Generator) -> Floats:
    """Return coefficients (d,) of a mixture of what all mixed columns differ by from their combinations of others."""
    mixture = np.zeros(len(spread))
    shares = rng.uniform(0.5, 1.5, len(columns.mixed)) / spread[columns.mixed]
    mixture[columns.mixed], mixture[columns.kept] = shares, -columns.others @ shares
    return mixture


def _refuting_rows(
    dataset: Dataset, mixture: Floats, center: float, allowed: float, mixed: int, rng: np.random.Generator
) -> Floats:
    """Return some rows where a mixture of columns is further from a number than allowed, from one pass."""
    most, seed = 4 * mixed + 100, int(rng.integers(1 << 32))
    return pick(dataset, partial(_refuting, mixture, center, allowed, most, seed), most).rows


def _refuting(mixture: Floats, center: float, allowed: float, most: int, seed: int, part: InMemory) -> Picked:
    """Return rows of positive weight where a mixture of columns is further from a number than allowed.

    The furthest are among them, because a single row may refute a claim; and as many at random, because the furthest
    may all refute the same one.
    """
    rng = np.random.default_rng(seed)
    rows, keys = np.empty(0, np.intp), np.empty((2, 0))
    for start, design in _runs(part.design):
        away = np.abs(design.linear_predictor(mixture[None], np.zeros(1))[:, 0] - center)
        if part.weight.size:
            away *= part.weight[start : start + len(away)] > 0.0
        here = np.flatnonzero(away > allowed)
        rows = np.append(rows, start + here)
        keys = np.column_stack((keys, (away[here], rng.random(len(here)))))
        kept = leading(keys, most)
        rows, keys = rows[kept], keys[:, kept]
    return Picked(keys, dense_rows(part.design, rows))


def _runs(design: Design) -> Iterator[tuple[int, Design]]:
    """Yield runs of rows and their first row number, or all rows if they cannot be read one by one."""
    if design.row_access:
        yield from ((start, design.copy_rows(np.arange(start, stop))) for start, stop in tile_ranges(design))
    else:
        yield 0, design


def only_constants(spread: Floats) -> Columns:
    """Return the constant columns alone as redundant."""
    constant = spread == 0.0
    kept = np.flatnonzero(~constant)
    return Columns(kept, np.flatnonzero(constant), np.empty(0, np.intp), np.empty((len(kept), 0)), ROUNDED)


def _dependent(sample: Floats, spread: Floats, same: Floats) -> Columns:
    """Return the redundant columns of a sample: each column is compared with the span of those kept so far.

    A column is redundant if at most the share ``same`` (d,) of its spread is left.
    """
    rows, d = sample.shape
    largest = np.abs(sample).max(axis=0)  # whose squares may overflow
    sample = sample / np.where(largest > 0.0, largest, 1.0)
    lengths = np.linalg.norm(sample, axis=0)
    empty = largest * lengths <= same * spread * rows**0.5
    unit = sample / np.where(empty, 1.0, lengths)
    lengths *= largest
    if rows >= d and not empty.any() and same.max() < _INDEPENDENT and _independent(unit):
        return only_constants(spread)
    basis = np.empty((min(rows, d), rows))
    kept: list[int] = []
    for some in np.array_split(np.flatnonzero(~empty), -(-d // _TOGETHER)):
        together, first = unit[:, some].T, len(kept)
        for _ in range(2):
            together = together - (together @ basis[:first].T) @ basis[:first]
        for j, left in zip(some.tolist(), together, strict=True):
            for _ in range(2):
                left = left - (basis[first : len(kept)] @ left) @ basis[first : len(kept)]
            length = float(np.linalg.norm(left))
            if length > same[j] and len(kept) < len(basis):
                basis[len(kept)] = left / length
                kept.append(j)
    constant = np.flatnonzero(spread == 0.0)
    mixed = np.setdiff1d(np.flatnonzero(spread > 0.0), kept)
    found = basis[: len(kept)]
    others = np.linalg.solve(found @ unit[:, kept], found @ unit[:, mixed]) if kept else np.empty((0, len(mixed)))
    others *= np.where(empty, 0.0, lengths)[mixed]
    return Columns(np.array(kept, np.intp), constant, mixed, others / lengths[kept][:, None], _REFUTED)


def _independent(unit: Floats) -> bool:
    """Whether columns of length 1 are certainly independent; for few columns BLAS is not used."""
    d = unit.shape[1]
    if d > SMALL:
        return bool(np.abs(np.diagonal(np.linalg.qr(unit, mode="r"))).min() > _INDEPENDENT)
    return independent(np.einsum("ij,ik->jk", unit, unit), _FAR)
