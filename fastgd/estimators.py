"""LinearRegression, Ridge and LogisticRegression with scikit-learn's interface and meaning (extra: sklearn).

An estimator holds parameters and translates them; the fit is `fastgd.fit`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd.fitting import check_number, fit
from fastgd.kernels import max_threads
from fastgd.models import FitResult
from fastgd.sources import Floats, check_vector

try:
    from joblib import effective_n_jobs
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
except ImportError:
    raise ImportError("fastgd's estimators need scikit-learn: pip install 'fastgd[sklearn]'") from None


@dataclass(eq=False, repr=False, kw_only=True)
class _LinearModel(BaseEstimator):  # type: ignore[misc]
    """The parameters that all estimators have, and their translation into a call of `fit`."""

    fit_intercept: bool = True
    solver: str = "auto"
    learning_rate: float | str = "auto"
    standardize: bool = True
    tol: float = 1e-6
    max_iter: int = 1000
    time_limit: float | None = None
    random_state: Any = None
    n_jobs: int | None = None

    def _l2(self, total_weight: float) -> float:  # noqa: ARG002
        """Give the penalty per unit of weight."""
        return 0.0

    def _fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None, loss: str) -> FitResult:
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_all_finite=False)
        y = column_or_1d(y, warn=True)
        if sample_weight is not None:
            sample_weight = check_vector("sample_weight", sample_weight, X.shape[0])
        total_weight = float(X.shape[0] if sample_weight is None else np.sum(sample_weight))
        result = fit(
            X,
            y,
            loss=loss,
            l2=self._l2(total_weight),
            intercept=self.fit_intercept,
            standardize=self.standardize,
            sample_weight=sample_weight,
            solver=self.solver,
            learning_rate=self.learning_rate,
            tol=self.tol,
            max_iter=self.max_iter,
            time_limit=self.time_limit,
            rng=self.random_state,
            n_threads=None if self.n_jobs is None else min(effective_n_jobs(self.n_jobs), max_threads()),
        )
        if not result.converged:
            warnings.warn(result.message, ConvergenceWarning, stacklevel=3)
        self.result_ = result
        self.history_ = result.history
        self.status_ = result.status
        return result

    def _margins(self, X: Any) -> Floats:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32], ensure_all_finite=False)
        return self.result_.decision_function(X)


class _Regressor(RegressorMixin, _LinearModel):  # type: ignore[misc]
    """Least squares, with whatever penalty a subclass has."""

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to X (n, d) and y (n,), weighted by ``sample_weight`` (n,)."""
        result = self._fit(X, y, sample_weight, "squared")
        self.coef_, self.intercept_, self.n_iter_ = result.coef, result.intercept, result.n_iter
        return self

    def predict(self, X: Any) -> Floats:
        """Predict y for X (n, d)."""
        return self._margins(X)


@dataclass(eq=False, repr=False, kw_only=True)
class LinearRegression(_Regressor):
    """Ordinary least squares: minimises ``Σ s (y − Xβ − b)²``.

    Parameters
    ----------
    fit_intercept : bool
        Whether the model has an intercept; it is never penalised.
    solver, learning_rate, standardize, tol, max_iter, time_limit
        As for `fastgd.fit`.
    random_state : int, Generator, RandomState or None
        `fastgd.fit`'s ``rng``.
    n_jobs : int or None
        The number of threads, at most numba's; negative numbers count back from all, None and -1 are all.

    Attributes
    ----------
    coef_, intercept_, n_iter_, n_features_in_, feature_names_in_
        As in scikit-learn.
    history_ : History
        One row per evaluation.
    status_ : Status
        Why the fit ended. A `ConvergenceWarning` says so if it did not converge.
    result_ : FitResult
        What `fastgd.fit` returned.
    """


@dataclass(eq=False, repr=False)
class Ridge(_Regressor):
    """Ridge regression: minimises ``Σ s (y − Xβ − b)² + alpha ‖β‖²``, as scikit-learn's Ridge does.

    Parameters
    ----------
    alpha : float
        The penalty, at least 0.
    others
        As for `LinearRegression`, and so are the attributes.
    """

    alpha: float = 1.0

    def _l2(self, total_weight: float) -> float:
        check_number("alpha", self.alpha, 0.0)
        return 2.0 * self.alpha / total_weight if total_weight > 0.0 else 0.0


@dataclass(eq=False, repr=False)
class LogisticRegression(ClassifierMixin, _LinearModel):  # type: ignore[misc]
    """Logistic regression: minimises ``C Σ s L + ½ ‖β‖²`` for two classes, as scikit-learn's LogisticRegression does.

    Parameters
    ----------
    C : float
        Inverse of the penalty, positive; ``np.inf`` for none.
    others
        As for `LinearRegression`, and so are the attributes. ``coef_`` has shape (1, d), ``intercept_`` and
        ``n_iter_`` (1,), and ``classes_`` holds the two labels.
    """

    C: float = 1.0

    def _l2(self, total_weight: float) -> float:
        if not (isinstance(self.C, (int, float, np.number)) and self.C > 0.0):
            raise ValueError(f"C={self.C!r}; a positive number is needed")
        return 1.0 / (self.C * total_weight) if total_weight > 0.0 else 0.0

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to X (n, d) and y (n,) with two labels, weighted by ``sample_weight`` (n,)."""
        check_classification_targets(y)
        result = self._fit(X, y, sample_weight, "logistic")
        self.coef_, self.intercept_ = result.coef[None, :], np.array([result.intercept])
        self.classes_, self.n_iter_ = result.classes, np.array([result.n_iter])
        return self

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that there are two classes, not more."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def decision_function(self, X: Any) -> Floats:
        """Compute the log-odds of ``classes_[1]`` for X (n, d)."""
        return self._margins(X)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the more probable label for X (n, d)."""
        margins = self._margins(X)
        return self.result_.to_labels(margins)

    def predict_proba(self, X: Any) -> Floats:
        """Predict the probabilities of both classes, (n, 2), for X (n, d)."""
        return FitResult.to_probabilities(self._margins(X))
