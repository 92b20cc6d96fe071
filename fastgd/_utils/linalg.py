"""Small linear algebra without BLAS, whose threads stay busy after a call and slow down the passes that follow."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._typing import Floats
from fastgd._utils.double_double import DoubleDouble, divide, multiply, outer, subtract

EPS = float(np.finfo(np.float64).eps)
"""The rounding unit of float64."""
SMALL = 256
"""Rows of a matrix up to which the loops here are fast enough."""
PRECISE = 512
"""Rows of a matrix up to which a system is solved with about 32 digits: three seconds."""


def inverse_triangle(lower: NDArray[Any]) -> Floats:
    """Return the inverse of a lower triangular matrix, by halves: a third of the time of ``np.linalg.inv``."""
    size = len(lower)
    if size <= SMALL:
        return np.tril(np.linalg.inv(lower))
    half, inverse = size // 2, np.zeros((size, size))
    first, last = inverse_triangle(lower[:half, :half]), inverse_triangle(lower[half:, half:])
    inverse[:half, :half], inverse[half:, half:] = first, last
    inverse[half:, :half] = -last @ (lower[half:, :half] @ first)
    return inverse


def dot(a: Floats, b: Floats) -> float:
    """Multiply two vectors."""
    return float(np.einsum("i,i", a, b))


def times(matrix: Floats, vector: Floats) -> Floats:
    """Multiply by a vector, or by each of several that follow each other."""
    return np.asarray(np.einsum("ij,kj->ki", matrix, vector.reshape(-1, len(matrix)))).ravel()


def independent(gram: Floats, least: float) -> bool:
    """Return whether vectors of length 1 are certain to be independent, by their products with each other.

    Each is further, squared, than ``least`` from the span of those before it.
    """
    left = gram.copy()
    for k in range(len(left)):
        if not left[k, k] > least:
            return False
        left[k + 1 :, k + 1 :] -= left[k + 1 :, k, None] * (left[k, k + 1 :] / left[k, k])
    return True


def apply_root(root: Floats, vector: Floats) -> Floats:
    """Return ``P Pᵀ v`` for P of shape (b, b), and a vector, or each of several that follow each other."""
    return times(root, apply_root_transposed(root, vector))


def apply_root_transposed(root: Floats, vector: Floats) -> Floats:
    """Return ``Pᵀ v`` for P of shape (b, b), and a vector, or each of several that follow each other."""
    return np.asarray(np.einsum("ji,kj->ki", root, vector.reshape(-1, len(root)))).ravel()


class Inverse(NamedTuple):
    """The inverse of a symmetric, positive definite matrix over points, which have a row for each output.

    Either ``P Pᵀ`` for a block that repeats along the diagonal. Or that of a matrix which is dense among the members
    of each row, and diagonal among its other columns, of which the last ones are coupled to members:
    ``[[A, B], [Bᵀ, D]]``, with P from the Schur complement, ``P Pᵀ = (A − B D⁻¹ Bᵀ)⁻¹``. An intercept is a member.

    Attributes
    ----------
    root : ndarray of shape (b, b), or (outputs m, m) for m members
        P; of shape (0, 0) if there is no inverse.
    diagonal : ndarray of shape (outputs row_size,), or (0,)
        ``D⁻¹``, and 0 for members. Empty if the whole row is dense.
    coupling : ndarray of shape (outputs m, coupled), or (0, 0)
        B.
    shift : ndarray of shape (row_size,), or (0,)
        What of each coordinate is added to the row's last one, the intercept, where the matrix was taken about
        another origin than that of points.
    """

    root: Floats
    diagonal: Floats = np.empty(0)
    coupling: Floats = np.empty((0, 0))
    shift: Floats = np.empty(0)

    @property
    def exists(self) -> bool:
        """Whether there is an inverse."""
        return bool(self.root.size or self.diagonal.size)

    def times(self, vector: Floats) -> Floats:
        """Multiply a vector over points."""
        if not self.diagonal.size:
            return apply_root(self.root, vector)
        row_size = self.shift.size
        diagonals = self.diagonal.reshape(-1, row_size)
        product = vector.reshape(-1, row_size).copy()
        product[:, :-1] += product[:, -1:] * self.shift[:-1]
        outputs = len(diagonals)
        roots, couplings = np.split(self.root, outputs), np.split(self.coupling, outputs)
        for row, diagonal, root, coupling in zip(product, diagonals, roots, couplings, strict=True):
            members = np.flatnonzero(diagonal == 0.0)
            own = row[members]
            row *= diagonal
            if not own.size:
                continue
            others = np.flatnonzero(diagonal)
            coupled = others[len(others) - coupling.shape[1] :]
            if coupling.size:
                own = own - np.einsum("mk,k->m", coupling, row[coupled])
            row[members] = own = apply_root(root, own)
            if coupling.size:
                row[coupled] -= diagonal[coupled] * np.einsum("mk,m->k", coupling, own)
        product[:, -1] += np.einsum("kj,j->k", product[:, :-1], self.shift[:-1])
        return product.ravel()

    def norm(self, vector: Floats) -> float:
        """Return ``√(v·H⁻¹v)``; 0 without an inverse."""
        if not self.exists:
            return 0.0
        if not self.diagonal.size:  # more precise than the square root of a product
            return float(np.linalg.norm(apply_root_transposed(self.root, vector)))
        return float(max(dot(vector, self.times(vector)), 0.0) ** 0.5)


NO_INVERSE = Inverse(np.empty((0, 0)))
"""No inverse is known."""


class InverseRoot(NamedTuple):
    """A matrix P with ``P Pᵀ`` the inverse of a symmetric, positive semidefinite matrix H.

    H is ``RᵀR`` (Cholesky), and P the inverse of R. Column k of P is ``(e_k − Σ_j m_jk e_j) / √h_k``, with the
    coefficients m of column k on those before it, and the pivot h_k: what these leave of ``H_kk``. Products with P keep
    digits that products with the inverse lose, as each number of the inverse mixes all scales.

    Attributes
    ----------
    root : ndarray of shape (d, d)
        P. Columns of directions that were given up are 0; those of doubtful ones are a step along the column alone.
    given_up : ndarray of bool (d,)
        Columns of H that are combinations of those before them, but for the rounding of the data.
    mixtures : ndarray of shape (d, d)
        In its columns, the coefficients of each column that was given up on those before it.
    doubtful : ndarray of bool (d,)
        Columns of H whose pivot may be the rounding of H.
    lost : float
        By how much errors of H, relative to its diagonal, are larger in the solution of a linear system; infinite if
        there are doubtful columns.
    """

    root: Floats
    given_up: NDArray[np.bool_]
    mixtures: Floats
    doubtful: NDArray[np.bool_]
    lost: float


def inverse_root(matrix: Floats, noise: float, sizes: Floats | None = None) -> InverseRoot:
    """Return the root of the inverse of a symmetric matrix that should be positive definite.

    Parameters
    ----------
    matrix : ndarray of shape (d, d)
    noise : float
        A bound of the errors of its numbers, relative to ``sizes``: pivots below are doubtful.
    sizes : ndarray of shape (d,), optional
        By default the matrix's diagonal.
    """
    size = len(matrix)
    diagonal = np.diagonal(matrix) if sizes is None else sizes
    scale = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    unit = matrix * scale * scale[:, None]
    nowhere, no_mixtures = np.zeros(size, bool), np.empty((0, 0))
    if size > SMALL:
        root, doubtful = _large_inverse_root(unit, noise)
        lost = np.inf if doubtful.any() else float(np.sum(root**2))
        return InverseRoot(scale[:, None] * root, nowhere, no_mixtures, doubtful, lost)
    root, doubtful, given_up = np.zeros((size, size)), nowhere, diagonal == 0.0
    for k in np.flatnonzero(~given_up):
        pivot = float(unit[k, k])
        if not pivot > noise:
            doubtful[k], root[k, k] = True, 1.0
            continue
        before = np.flatnonzero(~doubtful[:k] & ~given_up[:k])
        root[before, k], root[k, k] = -unit[before, k] / pivot**0.5, pivot**-0.5
        column, row = unit[:, k].copy(), unit[k] / pivot
        unit -= column[:, None] * row
        unit[k], unit[:, k], unit[k, k] = row, -column / pivot, 1.0 / pivot
    lost = np.inf if doubtful.any() else float(np.sum(root**2))
    return InverseRoot(scale[:, None] * root, given_up, no_mixtures, doubtful, lost)


def _large_inverse_root(unit: Floats, noise: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the root for a matrix of unit diagonal by LAPACK, and which of its directions are doubtful.

    In doubtful directions curvature is taken to be the largest there is: steps there are cautious.
    """
    try:
        root = inverse_triangle(np.linalg.cholesky(unit)).T
        if (np.diagonal(root) ** -2.0 > noise).all():
            return root, np.zeros(len(unit), bool)
    except np.linalg.LinAlgError:
        pass
    values, vectors = np.linalg.eigh(unit)
    doubtful = values <= max(noise, 10.0 * len(unit) * EPS) * values[-1]
    return vectors / np.sqrt(np.where(doubtful, values[-1], values)), doubtful


def solve_double_double(matrix: DoubleDouble, size: int, rounding: Floats, n: int) -> tuple[InverseRoot, DoubleDouble]:
    """Return the root of the inverse of a symmetric matrix, and the solutions for the right sides in further columns.

    Parameters
    ----------
    matrix : DoubleDouble of shape (size + targets, size + targets)
        The matrix and beside it the right sides, with a diagonal of about 1.
    size : int
    rounding : ndarray of shape (size,)
        By how much each column of the data, of length about 1, may be rounded: a column is given up if those before it
        leave no more of it than their roundings can come to. Zeros give up none but for the rounding of the matrix.
    n : int
        Rows that the numbers of the matrix are sums over.

    Returns
    -------
    InverseRoot
    DoubleDouble of shape (size, targets)
        The solutions; 0 where columns were given up.
    """
    noise = 16.0 * EPS**2 * (10.0 + n**0.5)
    left = matrix.copy()
    root, mixtures, given_up = np.zeros((size, size)), np.zeros((size, size)), np.zeros(size, bool)
    for k in range(size):
        pivot = left.at(k, k)
        before = np.flatnonzero(~given_up[:k])
        mixture = left.high[before, k]
        least = (rounding[k] + float(np.abs(mixture) @ rounding[before])) ** 2
        if not pivot.high > max(least, noise * matrix.high[k, k]):
            given_up[k], mixtures[before, k] = True, mixture
            continue
        length = float(pivot.high) ** 0.5
        root[before, k], root[k, k] = -mixture / length, 1.0 / length
        column, inverse = left.at(slice(None), k).copy(), divide(DoubleDouble.of(np.ones(())), pivot)
        row, down = multiply(left.at(k), inverse), multiply(column, inverse)
        left = subtract(left, outer(column, row))
        left.set(k, row)
        left.set((slice(None), k), -down)
        left.set((k, k), inverse)
    diagonal = np.maximum(np.diagonal(matrix.high)[:size], 0.0)
    solution = left.at(slice(size), slice(size, None)).copy()
    solution.set(given_up, DoubleDouble(np.zeros(()), np.zeros(())))
    lost = float(np.sum(root**2 * diagonal[:, None]))
    return InverseRoot(root, given_up, mixtures, np.zeros(size, bool), lost), solution
