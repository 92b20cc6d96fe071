"""Redundant columns: constants, and linear combinations of the columns before them.

They are found on a sample of rows. One pass then searches all rows for some that refute what the sample says; these are
added to the sample, and the search begins again. If the sample says that all columns are independent, they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.dataset import Dataset, InMemory, Picked, leading, pick
from fastgd._data.design import Design, dense_rows, tile_ranges
from fastgd._linear.statistics import ROUNDED
from fastgd._typing import Floats
from fastgd._utils.linalg import EPS, SMALL, independent

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
        mixture = np.zeros(len(spread))
        shares = rng.uniform(0.5, 1.5, len(columns.mixed)) / spread[columns.mixed]
        mixture[columns.mixed], mixture[columns.kept] = shares, -columns.others @ shares
        center = float(np.mean(sample @ mixture)) * intercept
        allowed = refuted * float(np.abs(mixture) @ size)
        most, seed = 4 * len(columns.mixed) + 100, int(rng.integers(1 << 32))
        refuting = pick(dataset, partial(_refuting, mixture, center, allowed, most, seed), most).rows
        if not len(refuting):
            return columns._replace(tolerance=refuted), sample
        sample = np.concatenate((sample, refuting))
    return only_constants(spread), sample


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
