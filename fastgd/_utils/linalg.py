"""Small linear algebra without BLAS, whose threads stay busy after a call and slow down the passes that follow."""

from __future__ import annotations

import numpy as np

from fastgd._typing import Floats

SMALL = 256
"""Rows of a matrix up to which the loops here are fast enough."""


def dot(a: Floats, b: Floats) -> float:
    """Multiply two vectors."""
    return float(np.einsum("i,i", a, b))


def _invert_small(matrix: Floats) -> Floats | None:
    """Invert by Gauss and Jordan's sweeps (without LAPACK, too); None if a pivot is not positive."""
    a = matrix.copy()
    for k in range(len(a)):
        pivot = float(a[k, k])
        if not pivot > 0.0:
            return None
        column = a[:, k].copy()
        row = a[k] / pivot
        a -= column[:, None] * row
        a[k] = row
        a[:, k] = -column / pivot
        a[k, k] = 1.0 / pivot
    return a


def _invert_large(matrix: Floats) -> Floats | None:
    try:
        factor = np.linalg.inv(np.linalg.cholesky(matrix))
    except np.linalg.LinAlgError:
        return None
    return np.asarray(factor.T @ factor)


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


def inverse(matrix: Floats) -> Floats:
    """Invert a symmetric matrix that should be positive definite.

    In directions in which it is singular to working precision, it is taken to be as large as it is anywhere: steps
    there are cautious, and rounding is not blown up.
    """
    floor = 10.0 * len(matrix) * np.finfo(np.float64).eps
    inverted = _invert_small(matrix) if len(matrix) <= SMALL else _invert_large(matrix)
    # The product of the traces bounds the condition number.
    if inverted is not None and np.trace(inverted) * np.trace(matrix) * floor < 1.0:
        return inverted
    values, vectors = np.linalg.eigh(matrix)
    largest = values[-1] if values[-1] > 0.0 else 1.0
    return np.asarray((vectors / np.where(values > floor * largest, values, largest)) @ vectors.T)
