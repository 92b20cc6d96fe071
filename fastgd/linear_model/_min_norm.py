"""The least squares solution of smallest norm, for fewer samples than coefficients or redundant columns."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator, lsqr
from sklearn.exceptions import ConvergenceWarning

from fastgd._data.tables import as_features
from fastgd._linear.result import FitResult
from fastgd._typing import Floats

_ITERATIONS = 1000
"""The maximum number of iterations of LSQR."""
_DENSE = 1 << 20
"""The largest number of values of a sparse matrix that is converted to a dense one: 8 MB."""


def least_norm(result: FitResult, X: Any, weight: Floats | None) -> FitResult:
    """Return the result with the coefficients of smallest norm that have the same linear predictors on X.

    These are the orthogonal projection of the coefficients onto the span of the rows of X; with an intercept, onto the
    span of the differences of rows. The rank of X is determined after each feature is divided by its standard
    deviation, so that it does not depend on units.

    Parameters
    ----------
    result : FitResult
        Of least squares without a penalty.
    X : array-like, sparse matrix or table of shape (n, d)
        The samples of the fit.
    weight : ndarray of shape (n,) or None
        Rows of weight 0 are left out.

    Returns
    -------
    FitResult
        The result itself if the coefficients are unique.

    Warns
    -----
    ConvergenceWarning
        If X is sparse and large, and LSQR does not find the projection. Then the result itself is returned.
    """
    if issparse(X):
        X = X.tocsr()
    else:
        table = as_features(X, features=result.features)
        d = table.shape[1]
        X = table.tile(0, table.shape[0]).X if table.order is None else table.linear_predictor(np.eye(d), np.zeros(d))
    if weight is not None:
        X = X[np.flatnonzero(weight)]
    if issparse(X):
        if X.shape[0] * X.shape[1] > _DENSE:
            return _least_norm_sparse(result, X)
        X = X.toarray()
    origin = X[0].astype(np.float64) if result.settings.intercept else np.zeros(X.shape[1])
    spread = np.where(result.spread > 0.0, result.spread, 1.0)
    singular_values, directions = np.linalg.svd((X - origin) / spread, full_matrices=False)[1:]
    rank = int(np.sum(singular_values > singular_values[0] * max(X.shape) * np.finfo(np.float64).eps))
    if rank == X.shape[1]:
        return result
    span = np.linalg.qr((directions[:rank] * spread).T)[0]
    return _with_coef(result, (span @ (span.T @ result.coef.T)).T, origin)


def _least_norm_sparse(result: FitResult, X: Any) -> FitResult:
    """Return the result with the coefficients of smallest norm, computed by LSQR for a sparse X of shape (n, d).

    LSQR needs only products of X with vectors. If its solution has other linear predictors, the result is returned
    unchanged, with a ConvergenceWarning.
    """
    n, d = X.shape
    origin = np.asarray(X.mean(axis=0)).ravel() if result.settings.intercept else np.zeros(d)
    centered = LinearOperator((n, d), lambda v: X @ v - origin @ v, lambda u: X.T @ u - origin * u.sum())
    smallest = []
    for predictors in (centered @ row for row in np.atleast_2d(result.coef)):
        row, *_, residual = lsqr(centered, predictors, atol=1e-15, btol=1e-15, conlim=0.0, iter_lim=_ITERATIONS)[:4]
        if residual > 1e-9 * np.linalg.norm(predictors):
            message = (
                "Of all coefficients that fit alike, or nearly so, the smallest were not found; a small penalty helps"
            )
            warnings.warn(message, ConvergenceWarning, stacklevel=5)
            return result
        smallest.append(row)
    return _with_coef(result, np.reshape(smallest, result.coef.shape), origin)


def _with_coef(result: FitResult, coef: Floats, origin: Floats) -> FitResult:
    """Return the result with other coefficients, and the intercept that keeps the linear predictor at ``origin``.

    Parameters
    ----------
    result : FitResult
    coef : ndarray of shape (d,) or (k, d)
    origin : ndarray of shape (d,)
    """
    return replace(result, coef=coef, intercept=result.intercept + (result.coef - coef) @ origin)
