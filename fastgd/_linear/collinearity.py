"""Columns that say nothing new: constants, and linear combinations of the columns before them.

They are found on a sample of rows, and hold for all: one reading looks for rows that refute what the sample says, and
those are added to it. If the sample says that all columns are independent, they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.dataset import InMemory, Picked, Source, leading, pick
from fastgd._data.design import Matrix, dense_rows, spans
from fastgd._typing import Floats
from fastgd._utils.linalg import SMALL, independent

_SAME = 1e-10  # of a column's spread, that a combination of others may differ by
_AGAIN = 8
_REFINED = 20
_ROUNDING = 4.0 * float(np.finfo(np.float64).eps)
_FAR = 1e-8  # squared: what squares of products leave for certain


class Columns(NamedTuple):
    """Which columns are redundant, and what can be added to coefficients without a consequence.

    ``others`` (kept, mixed): a mixed column is this combination of the kept ones, plus a constant if there is an
    intercept.
    """

    kept: NDArray[np.intp]
    constant: NDArray[np.intp]
    mixed: NDArray[np.intp]
    others: Floats
    exact: bool = True
    """Whether that holds to the precision of sums, or only of single numbers of X."""

    @property
    def redundant(self) -> NDArray[np.intp]:
        """Constants and mixtures, in order."""
        return np.union1d(self.constant, self.mixed)

    def smallest(self, coef: Floats) -> Floats:
        """Of all coefficients (outputs, d) that give the same margins, give the smallest.

        A basis has its rounding relative to its largest number, and coefficients may differ by many powers of ten: so
        what a projection changes in margins is projected again.
        """
        coef = coef.copy()
        coef[:, self.constant] = 0.0
        if not len(self.mixed):
            return coef
        many = len(self.mixed) > len(self.kept)
        span = np.zeros((coef.shape[1], min(len(self.kept), len(self.mixed))))
        if many:  # of margins
            span[self.kept], span[self.mixed] = np.eye(len(self.kept)), self.others.T
        else:  # of what is without a consequence
            span[self.kept], span[self.mixed] = -self.others, np.eye(len(self.mixed))
        basis = np.linalg.qr(span / np.abs(span).max(axis=0))[0]
        smallest, left, margins = np.zeros_like(coef), coef, self._of_kept(coef)
        for _ in range(_REFINED):
            part = (left @ basis) @ basis.T
            smallest = smallest + (part if many else left - part)
            left = np.zeros_like(coef)
            left[:, self.kept] = margins - self._of_kept(smallest)
            if (np.abs(left[:, self.kept]) <= _ROUNDING * np.abs(margins)).all():
                break
        else:  # a fit before the smallest
            smallest += left
        return smallest

    def _of_kept(self, coef: Floats) -> Floats:
        """Give the coefficients of kept columns alone that give the same margins."""
        return np.asarray(coef[:, self.kept] + coef[:, self.mixed] @ self.others.T)


def sample_size(n: int, d: int) -> int:
    """Say how many of n rows to look at for d columns."""
    return min(n, 2 * d + 100)


def products(n: int, d: int) -> float:
    """Say how much work it is to look at them."""
    rows = sample_size(n, d)
    return float(rows) * d * min(rows, d)


def drawn(source: Source, rng: np.random.Generator) -> Floats:
    """Give rows to look at first, (k, d), without a reading."""
    sample = source.known.sample(sample_size(*source.shape), rng)
    return dense_rows(sample.matrix, np.arange(sample.shape[0]))


def redundant_columns(
    source: Source,
    sample: Floats,
    mean: Floats,
    spread: Floats,
    *,
    intercept: bool,
    rng: np.random.Generator,
    rounding: float = 0.0,
) -> tuple[Columns, Floats]:
    """Find the columns that are constant (0 without an intercept) or linear combinations of those before them.

    Parameters
    ----------
    source : Source
        n samples of d columns; those of weight 0 don't count.
    sample : ndarray of shape (k, d)
        Some of them.
    mean, spread : ndarray of shape (d,)
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
    same = max(_SAME, 4.0 * rounding)
    varying = spread > 0.0
    for _ in range(_AGAIN):
        columns = _dependent(np.where(varying, (sample - sample.mean(axis=0) * intercept), 0.0), spread, same)
        if not len(columns.mixed):
            return columns, sample
        mixture = np.zeros(len(spread))
        shares = rng.uniform(0.5, 1.5, len(columns.mixed)) / spread[columns.mixed]
        mixture[columns.mixed], mixture[columns.kept] = shares, -columns.others @ shares
        center = float(np.mean(sample @ mixture)) * intercept
        allowed = float(np.abs(mixture) @ (same * spread + max(1e-13, rounding) * np.abs(mean)))
        most, seed = 4 * len(columns.mixed) + 100, int(rng.integers(1 << 32))
        refuting = pick(source, partial(_refuting, mixture, center, allowed, most, seed), most).rows
        if not len(refuting):
            return columns, sample
        sample = np.concatenate((sample, refuting))
    return only_constants(spread), sample


def _refuting(mixture: Floats, center: float, allowed: float, most: int, seed: int, part: InMemory) -> Picked:
    """Find rows of positive weight where a mixture of columns is further from a number than allowed.

    The furthest, as a single row may refute; and as many at random, as the furthest may all refute the same column.
    """
    rng = np.random.default_rng(seed)
    rows, keys = np.empty(0, np.intp), np.empty((2, 0))
    for start, matrix in _runs(part.matrix):
        away = np.abs(matrix.margins(mixture[None], np.zeros(1))[:, 0] - center)
        if part.weight.size:
            away *= part.weight[start : start + len(away)] > 0.0
        here = np.flatnonzero(away > allowed)
        rows = np.append(rows, start + here)
        keys = np.column_stack((keys, (away[here], rng.random(len(here)))))
        kept = leading(keys, most)
        rows, keys = rows[kept], keys[:, kept]
    return Picked(keys, dense_rows(part.matrix, rows))


def _runs(matrix: Matrix) -> Iterator[tuple[int, Matrix]]:
    """Cut a matrix into rows whose margins are few beside X, unless its rows are far apart."""
    if matrix.by_rows() is matrix:
        yield from ((start, matrix.take(np.arange(start, stop))) for start, stop in spans(matrix))
    else:
        yield 0, matrix


def only_constants(spread: Floats) -> Columns:
    """Name the constants alone."""
    constant = spread == 0.0
    kept = np.flatnonzero(~constant)
    return Columns(kept, np.flatnonzero(constant), np.empty(0, np.intp), np.empty((len(kept), 0)))


def _dependent(sample: Floats, spread: Floats, same: float) -> Columns:
    """Go through the columns of a sample, each against those kept so far."""
    rows, d = sample.shape
    largest = np.abs(sample).max(axis=0)  # whose squares may overflow
    sample = sample / np.where(largest > 0.0, largest, 1.0)
    lengths = np.linalg.norm(sample, axis=0)
    empty = largest * lengths <= same * spread * rows**0.5
    unit = sample / np.where(empty, 1.0, lengths)
    lengths *= largest
    if rows >= d and not empty.any() and _independent(unit):
        return only_constants(spread)
    basis = np.empty((min(rows, d), rows))
    kept: list[int] = []
    for j in np.flatnonzero(~empty):
        left = unit[:, j]
        found = basis[: len(kept)]
        for _ in range(2):
            left = left - (found @ left) @ found
        length = float(np.linalg.norm(left))
        if length > same and len(kept) < len(basis):
            basis[len(kept)] = left / length
            kept.append(int(j))
    constant = np.flatnonzero(spread == 0.0)
    mixed = np.setdiff1d(np.flatnonzero(spread > 0.0), kept)
    found = basis[: len(kept)]
    others = np.linalg.solve(found @ unit[:, kept], found @ unit[:, mixed]) if kept else np.empty((0, len(mixed)))
    others *= np.where(empty, 0.0, lengths)[mixed]
    return Columns(np.array(kept, np.intp), constant, mixed, others / lengths[kept][:, None])


def _independent(unit: Floats) -> bool:
    """Tell for certain that columns of length 1 are independent; of few without BLAS, see `fastgd.algebra.dot`."""
    d = unit.shape[1]
    if d > SMALL:
        return bool(np.abs(np.diagonal(np.linalg.qr(unit, mode="r"))).min() > 1e3 * _SAME)
    return independent(np.einsum("ij,ik->jk", unit, unit), _FAR)
