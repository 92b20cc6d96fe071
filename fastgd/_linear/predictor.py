"""Predictions of a linear model, for results and estimators alike, in memory and for Dask's collections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data.design import Design
from fastgd._data.map_rows import map_rows
from fastgd._data.schema import Feature
from fastgd._data.tables import as_features, check_unseen
from fastgd._typing import Floats


@dataclass(frozen=True)
class LinearPredictor:
    """A linear model without its history: small enough to go along with each of Dask's tasks.

    Attributes
    ----------
    coef : ndarray of shape (k, d)
    intercept : ndarray of shape (k,)
    features : tuple of Feature, or None
        The table's columns that the model was fitted on, None for an array.
    classes : ndarray, or None
        The labels, sorted; None for regression.
    flat : bool
        Whether the single output's linear predictor is (n,), not (n, 1).
    unseen : {"error", "zero"}
        What to do with levels of a category that the fit did not have.
    """

    coef: Floats
    intercept: Floats
    features: tuple[Feature, ...] | None
    classes: NDArray[Any] | None
    flat: bool
    unseen: str = "error"

    def __post_init__(self) -> None:
        """Raise ValueError if ``unseen`` is none of its values."""
        check_unseen(self.unseen)

    def decision_function(self, X: Any) -> Floats:
        """Return the linear predictors ``z = X @ coef.T + intercept``: (n,) if flat, otherwise (n, k)."""
        return map_rows(X, self._eta, None if self.flat else len(self.coef), np.float64)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return predictions of y, or of classes the most probable labels, (n,)."""
        if self.classes is None:
            return self.decision_function(X)
        return map_rows(X, self._then(self.labels), None, self.classes.dtype)

    def predict_proba(self, X: Any) -> Floats:
        """Return the probabilities of all classes, (n, k)."""
        assert self.classes is not None  # noqa: S101  whoever calls has looked
        return map_rows(X, self._then(probabilities), len(self.classes), np.float64)

    def predict_log_proba(self, X: Any) -> Floats:
        """Return their logarithms, (n, k), exact also where a probability rounds to 0 or 1."""
        assert self.classes is not None  # noqa: S101  whoever calls has looked
        return map_rows(X, self._then(log_probabilities), len(self.classes), np.float64)

    def labels(self, eta: Floats) -> NDArray[Any]:
        """Return the most probable labels, (n,), for linear predictors (n,) or (n, k)."""
        assert self.classes is not None  # noqa: S101  whoever calls has looked
        chosen = (eta > 0.0).astype(np.intp) if eta.ndim == 1 else np.argmax(eta, axis=1)
        labels: NDArray[Any] = self.classes[chosen]
        return labels

    def _then(self, function: Callable[[Floats], NDArray[Any]]) -> Callable[[Any], NDArray[Any]]:
        return lambda X: function(self._eta(X))

    def design(self, X: Any) -> Design:
        """Return the features of rows as the fit had them; a ValueError says in what they differ."""
        design = as_features(X, features=self.features, unseen=self.unseen)
        if design.shape[1] != self.coef.shape[1]:
            raise ValueError(f"X has {design.shape[1]} features, but the model was fitted on {self.coef.shape[1]}")
        return design

    def _eta(self, X: Any) -> Floats:
        return self.linear_predictor(self.design(X))

    def linear_predictor(self, design: Design) -> Floats:
        """Return the linear predictors of rows, (n,) if flat, otherwise (n, k)."""
        with np.errstate(over="ignore", invalid="ignore"):
            eta = design.linear_predictor(self.coef, self.intercept)
        if not np.isfinite(eta).all():
            row = int(np.argmin(np.isfinite(eta).all(axis=1)))
            raise ValueError(f"X: the numbers in row {row} are so large that its prediction overflows")
        return eta[:, 0] if self.flat else eta


def probabilities(eta: Floats) -> Floats:
    """Return the probabilities of all classes, (n, k), for log-odds (n,) or linear predictors (n, k).

    None is rounded to 0 too early.
    """
    if eta.ndim == 2:
        with np.errstate(over="ignore"):  # a difference of infinity is one of nothing
            shares = np.exp(eta - eta.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))
    e = np.exp(-np.abs(eta))
    larger, smaller = 1.0 / (1.0 + e), e / (1.0 + e)
    positive = eta > 0.0
    return np.column_stack((np.where(positive, smaller, larger), np.where(positive, larger, smaller)))


def log_probabilities(eta: Floats) -> Floats:
    """Return the logarithms of the probabilities of all classes, (n, k), for log-odds (n,) or linear predictors."""
    if eta.ndim == 2:
        below = eta - eta.max(axis=1, keepdims=True)
        return np.asarray(below - np.log(np.exp(below).sum(axis=1, keepdims=True)))
    return -np.logaddexp(0.0, np.column_stack((eta, -eta)))
