"""LinearRegression, Ridge and LogisticRegression with scikit-learn's interface and meaning (extra: sklearn).

An estimator holds parameters and translates them; the fit is `fastgd.fit`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd.descent import History, Row, Status
from fastgd.fitting import fit
from fastgd.models import FitResult

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    raise ImportError("fastgd's estimators need scikit-learn: pip install 'fastgd[sklearn]'") from None


class _LinearModel(BaseEstimator):  # type: ignore[misc]
    """Parameters that every estimator has, and their translation into a call of `fit`."""

    _loss: ClassVar[str]

    coef_: NDArray[np.float64]
    intercept_: Any
    n_iter_: Any
    history_: History
    status_: Status
    result_: FitResult

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        solver: str = "auto",
        learning_rate: float | str = "auto",
        standardize: bool = True,
        tol: float = 1e-6,
        max_iter: int = 1000,
        time_limit: float | None = None,
        random_state: int | np.random.Generator | None = None,
        n_jobs: int | None = None,
        callback: Callable[[Row], object] | None = None,
    ) -> None:
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.learning_rate = learning_rate
        self.standardize = standardize
        self.tol = tol
        self.max_iter = max_iter
        self.time_limit = time_limit
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.callback = callback
