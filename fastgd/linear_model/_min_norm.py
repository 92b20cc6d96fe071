"""The smallest of all coefficients that fit alike, where there are fewer samples than coefficients."""

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
_DENSE = 1 << 20  # values of a sparse matrix that may be made dense: 8 MB


def least_norm(result: FitResult, X: Any, weight: Floats | None) -> FitResult:
    """Of all coefficients that give X the same margins take the smallest: their part in the span of X's rows.

    With an intercept that is the span of differences of rows. The rank is found in standard deviations, so that it
    depends on nobody's units.
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
            return _of_sparse(result, X)
        X = X.toarray()
    origin = X[0].astype(np.float64) if result.settings.intercept else np.zeros(X.shape[1])
    spread = np.where(result.spread > 0.0, result.spread, 1.0)
    values, directions = np.linalg.svd((X - origin) / spread, full_matrices=False)[1:]
    rank = int(np.sum(values > values[0] * max(X.shape) * np.finfo(np.float64).eps))
    if rank == X.shape[1]:
        return result
    span = np.linalg.qr((directions[:rank] * spread).T)[0]
    return _moved(result, (span @ (span.T @ result.coef.T)).T, origin)


def _of_sparse(result: FitResult, X: Any) -> FitResult:
    """Return the fit with its smallest coefficients by LSQR; as it was, with a warning, if LSQR changes margins."""
    n, d = X.shape
    origin = np.asarray(X.mean(axis=0)).ravel() if result.settings.intercept else np.zeros(d)
    centered = LinearOperator((n, d), lambda v: X @ v - origin @ v, lambda u: X.T @ u - origin * u.sum())
    smallest = []
    for margins in (centered @ row for row in np.atleast_2d(result.coef)):
        row, *_, left = lsqr(centered, margins, atol=1e-15, btol=1e-15, conlim=0.0, iter_lim=_ITERATIONS)[:4]
        if left > 1e-9 * np.linalg.norm(margins):
            message = (
                "Of all coefficients that fit alike, or nearly so, the smallest were not found; a small penalty helps"
            )
            warnings.warn(message, ConvergenceWarning, stacklevel=5)
            return result
        smallest.append(row)
    return _moved(result, np.reshape(smallest, result.coef.shape), origin)


def _moved(result: FitResult, coef: Floats, origin: Floats) -> FitResult:
    """Return the result with other coefficients, and the intercept that keeps the margin at the origin."""
    return replace(result, coef=coef, intercept=result.intercept + (result.coef - coef) @ origin)
