"""The estimators LinearRegression and Ridge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import check_array
from sklearn.utils.metaestimators import available_if

from fastgd._data.columns import check_same_index, is_collection
from fastgd._linear.result import FitResult
from fastgd._typing import Floats
from fastgd._utils.validation import check_flag, check_not_masked, check_number
from fastgd.linear_model._base import LinearModel, check_unsupported


@dataclass(eq=False, repr=False, kw_only=True)
class Regressor(RegressorMixin, LinearModel):  # type: ignore[misc]
    """Base class of the regressions: least squares, with the penalty that a subclass defines."""

    copy_X: bool = True  # noqa: N815
    positive: bool = False

    _flattens: ClassVar[bool] = True
    """Whether ``coef_`` is flat for y of shape (n, 1), as in scikit-learn's estimator of the same name."""

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model to samples and targets, and return the estimator.

        Parameters
        ----------
        X : array-like, sparse matrix, table or Dask collection of shape (n, d)
            The samples, without infinity, and without NaN unless ``missing`` allows it.
        y : array-like of shape (n,) or (n, k)
            The targets.
        sample_weight : array-like of shape (n,), or float, optional
            The weights s of the samples, at least 0. One number is the weight of each sample, None is 1.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            On bad input. The estimator is unchanged.
        KeyboardInterrupt
            On Ctrl-C. The estimator has the best coefficients so far.
        """
        with self._restored_on_error():
            self._keep(self._fit(*self._samples(X, y, sample_weight, reset=True), "squared"))
        return self

    @available_if(LinearModel._has_partial_fit)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Update the model with a chunk of samples by averaged stochastic gradient descent, and return the estimator.

        It needs ``solver="sgd"``. The objective is that of all samples since the last `fit`. Each sample is used once,
        so chunks should come in random order. ``coef_`` is worse than after a fit to all of them by about the
        statistical error, and by more if features are strongly correlated. The first chunk determines the levels of
        categories and the seed. ``tol`` and ``max_iter`` have no effect, and ``time_limit`` must be None.

        Parameters
        ----------
        X : array-like, sparse matrix or table of shape (n, d)
            The samples of the chunk, in memory.
        y : array-like of shape (n,) or (n, k)
            The targets.
        sample_weight : array-like of shape (n,), or float, optional
            The weights s of the samples, at least 0. One number is the weight of each sample, None is 1.

        Returns
        -------
        self

        Raises
        ------
        AttributeError
            If ``solver`` is not "sgd".
        ValueError, TypeError
            On bad input, or if the chunk does not fit to earlier ones. The estimator is unchanged.
        """
        with self._restored_on_error():
            self._learn(*self._samples(X, y, sample_weight, reset=self._stream is None), None)
        return self

    def _samples(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> tuple[Any, NDArray[Any], Floats | None]:
        """Return X, y and weights after scikit-learn's checks; ``reset`` takes the names of columns anew."""
        self._check_parameters()
        X = self._checked(X, reset=reset)
        if is_collection(X):
            return X, y, sample_weight  # checked by the workers
        check_same_index(X, y=y, sample_weight=sample_weight)
        check_not_masked("y", y)
        targets = check_array(y, ensure_2d=False, ensure_all_finite=False, ensure_min_samples=0, input_name="y")
        if targets.ndim not in (1, 2):
            raise ValueError(f"y should be a 1d array, or 2d with several targets; got one of shape {targets.shape}")
        return self._complete(X, targets, sample_weight)

    def _check_parameters(self) -> None:
        """Raise ValueError or TypeError for parameters of scikit-learn's that have an unsupported value."""
        check_flag("copy_X", self.copy_X)
        check_unsupported("positive", self.positive, False, "fastgd.ElasticNet has coefficients of one sign")

    def _keep(self, result: FitResult) -> None:
        """Set the fitted attributes from a result."""
        self.result_ = result
        self.n_iter_ = max(result.n_iter, 1)  # scikit-learn requires at least 1
        self.coef_ = (
            result.coef[0] if self._flattens and result.coef.ndim == 2 and len(result.coef) == 1 else result.coef
        )
        self.intercept_ = np.asarray(result.intercept)[()] if self.fit_intercept else np.float64(0.0)

    def __sklearn_tags__(self) -> Any:
        """Return the tags of the base class, with several targets allowed."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def predict(self, X: Any) -> Floats:
        """Return the predictions ``X β + b``.

        Parameters
        ----------
        X : array-like, sparse matrix, table or Dask collection of shape (n, d)
            The samples.

        Returns
        -------
        ndarray of shape (n,) or (n, k)
            For a Dask collection a Dask array, which is computed on demand.
        """
        return self._predictor().predict(self._checked(X, reset=False))


@dataclass(eq=False, repr=False, kw_only=True)
class LinearRegression(Regressor):
    """Ordinary least squares: minimises ``Σ_i s_i (y_i − x_i·β − b)²`` over the coefficients β and the intercept b.

    s are the sample weights. With several targets, the sums of all targets are minimised together, so that each target
    has its own coefficients. If the minimum is not unique, as with redundant columns or fewer samples than
    coefficients, ``coef_`` is the solution of smallest norm. `fit` emits a ConvergenceWarning if it is not found.

    Parameters
    ----------
    fit_intercept : bool, default True
        Whether the model has an intercept b. It is never penalised.
    solver : {"auto", "newton", "lbfgs", "nesterov", "gd", "sgd"}, default "auto"
        The algorithm, see `fastgd.fit`. "auto" chooses "newton" or "lbfgs". `partial_fit` needs "sgd".
    learning_rate : float or "auto", default "auto"
        The rate γ of "gd", "nesterov" and "sgd". "auto" is 1 / (largest curvature), adapted during the fit.
    standardize : bool, default True
        Whether to descend in standardized features. It changes the speed, not the minimum. Coefficients are in the
        units of X in either case.
    tol : float, default 1e-4
        The distance from the minimum, in standard errors, at which the fit has converged: see `fastgd.fit`.
    max_iter : int or None, default 1000
        The maximum number of evaluations on all samples after the start; for "sgd" of epochs. None is 1000.
    time_limit : float or None, default None
        The maximum time of a fit in seconds. None is no limit.
    random_state : int, Generator, RandomState or None, default None
        Draws samples of rows and shuffles minibatches. None is seed 0, so that a fit can be repeated.
    warm_start : bool, default False
        Whether `fit` begins at the coefficients of the last fit instead of anew.
    verbose : int, default 0
        1 shows a progress line on stderr (extra: cli), 0 does not.
    n_jobs : int or None, default None
        The number of threads, at most NUMBA_NUM_THREADS. Negative numbers count back from all threads: -1 is all. None
        is all that the process may use. It must be None for Dask collections.
    categorical : "auto" or list of str, default "auto"
        The columns of a table to take as categories. "auto" takes those of text or of a categorical type.
    drop_first : bool, default True
        Whether the first level of each category is its reference, without a coefficient. False needs a penalty, unless
        there is a single category and no intercept.
    unseen : {"error", "zero"}, default "error"
        The treatment of levels that the fit did not have, in predictions and later chunks: raise ValueError, or let
        them add nothing.
    missing : {"error", "drop", "impute"}, default "error"
        The treatment of missing values. "drop" leaves out rows in which something is missing, by a copy of the others.
        "impute" has a missing number count as the column's mean, and gives such rows a coefficient of their own; see
        `fastgd.fit`. Predictions need complete rows, unless it is "impute".
    checkpoint : str, path or None, default None
        A file to which `fit` writes its state, and from which it continues after a kill. Each fit needs a file of its
        own: do not use it for fits side by side or with other parameters.
    copy_X : bool, default True
        Accepted for compatibility with scikit-learn, without effect: X is never written to.
    positive : bool, default False
        Must be False: `ElasticNet` has coefficients of one sign.

    Attributes
    ----------
    coef_ : ndarray of shape (d,), or (k, d) if y has shape (n, k)
        The coefficients β as float64, d of them after categories are encoded.
    intercept_ : float, or ndarray of shape (k,)
        The intercept b, 0.0 if ``fit_intercept=False``.
    n_iter_ : int
        The number of evaluations on all samples after the start, at least 1.
    n_features_in_ : int
        The number of columns of X.
    feature_names_in_ : ndarray of str
        The names of the columns of X, if it is a table with names of type str.
    solver_ : str
        The solver that was used.
    history_ : History
        A record of all evaluations.
    status_ : Status
        Why the fit ended. If it did not converge, `fit` emits a ConvergenceWarning.
    result_ : FitResult
        The result of `fastgd.fit`. After `partial_fit`, that of the last chunk.
    stream_ : StreamState or None
        The state that `partial_fit` keeps between chunks, of size O(d). None after `fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd import LinearRegression
    >>> X = np.array([[1.0], [2.0], [3.0]])
    >>> model = LinearRegression().fit(X, [3.0, 5.0, 7.0])
    >>> model.coef_.round(6).tolist(), model.predict([[4.0]]).round(6).tolist()
    ([2.0], [9.0])
    """

    _sklearn_name = "LinearRegression"
    _flattens = False


@dataclass(eq=False, repr=False)
class Ridge(Regressor):
    """Ridge regression: minimises ``Σ_i s_i (y_i − x_i·β − b)² + alpha ‖β‖²`` over coefficients β and intercept b.

    s are the sample weights. The intercept is not penalised.

    Parameters
    ----------
    alpha : float, default 1.0
        The penalty, at least 0. One number for all targets.
    fit_intercept : bool, default True
        Whether the model has an intercept b. It is never penalised.
    solver : {"auto", "newton", "lbfgs", "nesterov", "gd", "sgd"}, default "auto"
        The algorithm, see `fastgd.fit`. "auto" chooses "newton" or "lbfgs". `partial_fit` needs "sgd".
    learning_rate : float or "auto", default "auto"
        The rate γ of "gd", "nesterov" and "sgd". "auto" is 1 / (largest curvature), adapted during the fit.
    standardize : bool, default True
        Whether to descend in standardized features. It changes the speed, not the minimum. Coefficients are in the
        units of X in either case.
    tol : float, default 1e-4
        The distance from the minimum, in standard errors, at which the fit has converged: see `fastgd.fit`.
    max_iter : int or None, default 1000
        The maximum number of evaluations on all samples after the start; for "sgd" of epochs. None is 1000.
    time_limit : float or None, default None
        The maximum time of a fit in seconds. None is no limit.
    random_state : int, Generator, RandomState or None, default None
        Draws samples of rows and shuffles minibatches. None is seed 0, so that a fit can be repeated.
    warm_start : bool, default False
        Whether `fit` begins at the coefficients of the last fit instead of anew.
    verbose : int, default 0
        1 shows a progress line on stderr (extra: cli), 0 does not.
    n_jobs : int or None, default None
        The number of threads, at most NUMBA_NUM_THREADS. Negative numbers count back from all threads: -1 is all. None
        is all that the process may use. It must be None for Dask collections.
    categorical : "auto" or list of str, default "auto"
        The columns of a table to take as categories. "auto" takes those of text or of a categorical type.
    drop_first : bool, default True
        Whether the first level of each category is its reference, without a coefficient. False needs
        ``alpha > 0``.
    unseen : {"error", "zero"}, default "error"
        The treatment of levels that the fit did not have, in predictions and later chunks: raise ValueError, or let
        them add nothing.
    missing : {"error", "drop", "impute"}, default "error"
        The treatment of missing values. "drop" leaves out rows in which something is missing, by a copy of the others.
        "impute" has a missing number count as the column's mean, and gives such rows a coefficient of their own; see
        `fastgd.fit`. Predictions need complete rows, unless it is "impute".
    checkpoint : str, path or None, default None
        A file to which `fit` writes its state, and from which it continues after a kill. Each fit needs a file of its
        own: do not use it for fits side by side or with other parameters.
    copy_X : bool, default True
        Accepted for compatibility with scikit-learn, without effect: X is never written to.
    positive : bool, default False
        Must be False: `ElasticNet` has coefficients of one sign.

    Attributes
    ----------
    coef_ : ndarray of shape (d,), or (k, d) if y has shape (n, k) with k > 1
        The coefficients β as float64, d of them after categories are encoded.
    intercept_ : float, or ndarray of shape (k,)
        The intercept b, 0.0 if ``fit_intercept=False``.
    n_iter_ : int
        The number of evaluations on all samples after the start, at least 1.
    n_features_in_ : int
        The number of columns of X.
    feature_names_in_ : ndarray of str
        The names of the columns of X, if it is a table with names of type str.
    solver_ : str
        The solver that was used.
    history_ : History
        A record of all evaluations.
    status_ : Status
        Why the fit ended. If it did not converge, `fit` emits a ConvergenceWarning.
    result_ : FitResult
        The result of `fastgd.fit`. After `partial_fit`, that of the last chunk.
    stream_ : StreamState or None
        The state that `partial_fit` keeps between chunks, of size O(d). None after `fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd import Ridge
    >>> X = np.array([[-1.0], [0.0], [1.0]])
    >>> Ridge(alpha=2.0).fit(X, [-2.0, 0.0, 2.0]).coef_.round(6).tolist()
    [1.0]
    """

    alpha: float = 1.0

    _sklearn_name = "Ridge"

    def _l2(self, total_weight: float) -> float:
        """Return the penalty ``l2`` of `fastgd.fit`: ``2 alpha / Σs``; 0 for no weight at all."""
        if np.ndim(self.alpha):
            raise ValueError(f"alpha={self.alpha!r}; one number is needed: for a penalty each, fit targets one by one")
        check_number("alpha", self.alpha, 0.0)
        return 2.0 * self.alpha / total_weight if total_weight > 0.0 else 0.0
