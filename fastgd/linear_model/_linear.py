"""LinearRegression and Ridge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.metaestimators import available_if

from fastgd._data.columns import is_collection
from fastgd._linear.result import FitResult
from fastgd._typing import Floats
from fastgd._utils.validation import check_flag, check_not_masked, check_number
from fastgd.linear_model._base import LinearModel, as_weight, check_unsupported


@dataclass(eq=False, repr=False, kw_only=True)
class _Regressor(RegressorMixin, LinearModel):  # type: ignore[misc]
    """Least squares, with whatever penalty a subclass has."""

    copy_X: bool = True  # noqa: N815
    positive: bool = False

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to X (n, d) and y (n,) or (n, k), weighted by ``sample_weight``, (n,) or one number for all.

        Ctrl-C keeps the best point so far and raises KeyboardInterrupt; after an error the estimator is as before.
        """
        with self._whole_or_not_at_all():
            self._keep(self._fit(*self._samples(X, y, sample_weight, reset=True), "squared"))
        return self

    @available_if(LinearModel._learns_by_chunks)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Go on with a chunk of samples, arguments as for `fit`, by averaged stochastic gradient descent.

        The objective is that of all samples since the last `fit`, each of which is used once, so chunks should come in
        random order. ``coef_`` is worse than a fit to all of them by about the statistical error, by more where
        features are strongly correlated. Levels of categories and the seed are those of the first chunk, ``tol`` and
        ``max_iter`` play no role, and ``time_limit`` is refused.
        """
        with self._whole_or_not_at_all():
            self._learn(*self._samples(X, y, sample_weight, reset=self._stream is None), None)
        return self

    def _samples(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> tuple[Any, NDArray[Any], Floats | None]:
        check_flag("copy_X", self.copy_X)
        check_unsupported("positive", self.positive, False, "use scikit-learn's estimator for coefficients of one sign")
        X = self._read(X, reset=reset)
        if is_collection(X):
            return X, y, sample_weight  # which are checked where they lie
        check_not_masked("y", y)
        targets = check_array(y, ensure_2d=False, ensure_all_finite=False, ensure_min_samples=0, input_name="y")
        if targets.ndim not in (1, 2):
            raise ValueError(f"y should be a 1d array, or 2d with several targets; got one of shape {targets.shape}")
        return X, targets, as_weight(sample_weight, X, targets)

    def _keep(self, result: FitResult) -> None:
        self.result_ = result
        self.n_iter_ = max(result.n_iter, 1)  # scikit-learn knows no fit without an iteration
        self.coef_ = result.coef
        self.intercept_ = np.asarray(result.intercept)[()] if self.fit_intercept else np.float64(0.0)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: there may be several targets."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def predict(self, X: Any) -> Floats:
        """Predict y for X (n, d); of a Dask collection a Dask array, which computes when it is asked to."""
        return self._predictor().predict(self._read(X, reset=False))


@dataclass(eq=False, repr=False, kw_only=True)
class LinearRegression(_Regressor):
    """Ordinary least squares: minimises ``Σ s (y − Xβ − b)²``.

    If many β fit alike, as there are fewer samples than coefficients or redundant columns, it is the β of the smallest
    norm; a `ConvergenceWarning` says so where that is not found.

    Parameters
    ----------
    fit_intercept : bool
        Whether the model has an intercept b; it is never penalised.
    solver : {"auto", "newton", "lbfgs", "nesterov", "gd", "sgd"}
        As for `fastgd.fit`; "auto" chooses by the shape of the data, and ``solver_`` holds the choice.
    learning_rate : float or "auto"
        Of the solvers nesterov, gd and sgd; the others find their own steps.
    standardize : bool
        Whether the descent works on features of mean 0 and variance 1. The minimum is the same, by fewer iterations.
    tol : float
        Largest gradient norm of a converged fit, per standard deviation of the features and of y.
    max_iter : int or None
        Iterations at most, of sgd epochs; None is 1000.
    time_limit : float or None
        Seconds after which the best point so far is returned.
    random_state : int, Generator, RandomState or None
        The seed of sub-samples and shuffles; None is 0.
    warm_start : bool
        Begin at the coefficients of the last fit.
    verbose : int
        1 shows a progress line (extra: cli).
    n_jobs : int or None
        The number of threads, at most numba's; negative numbers count back from all, None and -1 are all.
    categorical : "auto" or list of str
        The columns of a table that are categories; "auto" takes those of text, booleans and categorical types.
    drop_first : bool
        Leave out the first level of each category, which is then part of the intercept.
    unseen : {"error", "zero"}
        What a level that was not there in the fit does in `predict`: raise a ValueError, or count as none.
    checkpoint : str, path or None
        A file that saves the descent as it goes: one fit's own, not for several that run side by side.
    copy_X : bool
        Either will do: X is never written to.
    positive : bool
        False; coefficients of one sign are not supported.

    Attributes
    ----------
    coef_, intercept_, n_iter_, n_features_in_, feature_names_in_
        As in scikit-learn; coefficients are float64 for float32 data, too.
    solver_ : str
        The solver that "auto" chose.
    history_ : History
        One row per evaluation.
    status_ : Status
        Why the fit ended. A `ConvergenceWarning` says so if it did not converge.
    result_ : FitResult
        What `fastgd.fit` returned; after `partial_fit` what is known of the last chunk.
    stream_ : Stream or None
        What `partial_fit` keeps of the samples it was given, O(d) numbers; None after a fit.

    Examples
    --------
    >>> from fastgd.linear_model import LinearRegression
    >>> LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]).coef_.round(4).tolist()
    [2.0]
    """

    _scikit_learns = "LinearRegression"


@dataclass(eq=False, repr=False)
class Ridge(_Regressor):
    """Ridge regression: minimises ``Σ s (y − Xβ − b)² + alpha ‖β‖²``, as scikit-learn's Ridge does.

    Parameters
    ----------
    alpha : float
        The penalty, at least 0.
    fit_intercept : bool
        Whether the model has an intercept b; it is never penalised.
    solver : {"auto", "newton", "lbfgs", "nesterov", "gd", "sgd"}
        As for `fastgd.fit`; "auto" chooses by the shape of the data, and ``solver_`` holds the choice.
    learning_rate : float or "auto"
        Of the solvers nesterov, gd and sgd; the others find their own steps.
    standardize : bool
        Whether the descent works on features of mean 0 and variance 1. The minimum is the same, by fewer iterations.
    tol : float
        Largest gradient norm of a converged fit, per standard deviation of the features and of y.
    max_iter : int or None
        Iterations at most, of sgd epochs; None is 1000.
    time_limit : float or None
        Seconds after which the best point so far is returned.
    random_state : int, Generator, RandomState or None
        The seed of sub-samples and shuffles; None is 0.
    warm_start : bool
        Begin at the coefficients of the last fit.
    verbose : int
        1 shows a progress line (extra: cli).
    n_jobs : int or None
        The number of threads, at most numba's; negative numbers count back from all, None and -1 are all.
    categorical : "auto" or list of str
        The columns of a table that are categories; "auto" takes those of text, booleans and categorical types.
    drop_first : bool
        Leave out the first level of each category, which is then part of the intercept.
    unseen : {"error", "zero"}
        What a level that was not there in the fit does in `predict`: raise a ValueError, or count as none.
    checkpoint : str, path or None
        A file that saves the descent as it goes: one fit's own, not for several that run side by side.
    copy_X : bool
        Either will do: X is never written to.
    positive : bool
        False; coefficients of one sign are not supported.

    Attributes
    ----------
    coef_, intercept_, n_iter_, n_features_in_, feature_names_in_
        As in scikit-learn; coefficients are float64 for float32 data, too.
    solver_ : str
        The solver that "auto" chose.
    history_ : History
        One row per evaluation.
    status_ : Status
        Why the fit ended. A `ConvergenceWarning` says so if it did not converge.
    result_ : FitResult
        What `fastgd.fit` returned; after `partial_fit` what is known of the last chunk.
    stream_ : Stream or None
        What `partial_fit` keeps of the samples it was given, O(d) numbers; None after a fit.

    Examples
    --------
    >>> from fastgd.linear_model import Ridge
    >>> Ridge(alpha=1.0).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]).coef_.round(4).tolist()
    [1.3333]
    """

    alpha: float = 1.0

    _scikit_learns = "Ridge"

    def _keep(self, result: FitResult) -> None:
        super()._keep(result)
        if len(self.coef_) == 1 and self.coef_.ndim == 2:
            self.coef_ = self.coef_[0]  # as in scikit-learn's Ridge, but not in its LinearRegression

    def _l2(self, total_weight: float) -> float:
        if np.ndim(self.alpha):
            raise ValueError(f"alpha={self.alpha!r}; one number is needed: for a penalty each, fit targets one by one")
        check_number("alpha", self.alpha, 0.0)
        return 2.0 * self.alpha / total_weight if total_weight > 0.0 else 0.0
