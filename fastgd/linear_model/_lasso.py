"""The estimators Lasso and ElasticNet."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from fastgd._linear.result import FitResult
from fastgd._utils.validation import check_flag, check_number
from fastgd.linear_model._base import ALL_SAMPLES, check_ratio
from fastgd.linear_model._linear import Regressor


@dataclass(eq=False, repr=False, kw_only=True)
class _Selector(Regressor):
    """Base class of Lasso and ElasticNet: least squares with an elastic net, whose ratio a subclass defines."""

    tol: float | None = None
    precompute: Any = False
    selection: str = "cyclic"
    alpha: float = 1.0

    def _ratio(self) -> float:
        """Return the share of the penalty that is L1."""
        return 1.0

    @classmethod
    def _is_counterpart(cls, estimator: Any) -> bool:
        """Return whether an estimator is scikit-learn's of the same name.

        An instance of a class that scikit-learn derives from it is not: Lasso is an ElasticNet there, for example.
        """
        defined = (each for each in type(estimator).__mro__ if each.__module__.startswith("sklearn."))
        nearest = next(defined, None)
        return nearest is not None and nearest.__name__ == cls._sklearn_name and super()._is_counterpart(estimator)

    def _check_parameters(self) -> None:
        """Raise ValueError or TypeError for a bad penalty, or a parameter of scikit-learn's that has a bad value."""
        check_flag("copy_X", self.copy_X)
        check_flag("positive", self.positive)
        if np.ndim(self.precompute) != 2:
            check_flag("precompute", self.precompute)
        if self.selection not in ("cyclic", "random"):
            raise ValueError(f"selection={self.selection!r}; 'cyclic' or 'random' is needed")
        if np.ndim(self.alpha):
            raise ValueError(f"alpha={self.alpha!r}; one number is needed: for a penalty each, fit targets one by one")
        check_number("alpha", self.alpha, 0.0)
        check_ratio(self._ratio())

    def _penalties(self, X: Any, y: Any, weight: Any) -> dict[str, Any]:  # noqa: ARG002
        """Return the arguments of `fastgd.fit` that define the penalty; its loss has no factor ½."""
        l1, l2 = 2.0 * self.alpha * self._ratio(), 2.0 * self.alpha * (1.0 - self._ratio())
        return {"l1": l1, "l2": l2, "positive": bool(self.positive)}

    def _batch_only(self) -> str | None:
        """Return why the estimator has no `partial_fit`."""
        return ALL_SAMPLES

    def _keep(self, result: FitResult) -> None:
        """Set the fitted attributes from a result."""
        super()._keep(result)
        gap = np.full(len(np.atleast_2d(self.coef_)), 0.5 * result.duality_gap)
        self.dual_gap_ = gap[0] if self.coef_.ndim == 1 else gap

    @property
    def sparse_coef_(self) -> Any:
        """The coefficients as a sparse matrix of SciPy, of shape (1, d) or (k, d)."""
        return csr_matrix(np.atleast_2d(self.coef_))


@dataclass(eq=False, repr=False)
class Lasso(_Selector):
    """The lasso: minimises ``(1/2Σs) Σ_i s_i (y_i − x_i·β − b)² + alpha ‖β‖₁`` over coefficients β and intercept b.

    s are the sample weights. The intercept is not penalised. Coefficients of features that are not needed are exactly
    0. With several targets each has its own coefficients.

    Parameters
    ----------
    alpha : float, default 1.0
        The penalty, at least 0. One number for all targets.
    fit_intercept : bool, default True
        Whether the model has an intercept b. It is never penalised.
    solver : {"auto", "proximal"}, default "auto"
        The algorithm, see `fastgd.fit`. Without L1 penalty and ``positive`` also those of `Ridge`.
    learning_rate : "auto"
        The other solvers of `fastgd.fit` have a learning rate.
    standardize : bool, default True
        Without effect: the solver standardizes features. Coefficients are in the units of X.
    tol : float or None, default None
        Converged when ``dual_gap_`` is at most ``½ tol`` times the variance of y, with ``fit_intercept=False`` its mean
        square; scikit-learn's tests have no ½, and a default of 1e-4. None is 1e-7. Without L1 penalty and ``positive``
        it is in standard errors, as for `Ridge`, and None is 1e-4.
    max_iter : int or None, default 1000
        The maximum number of evaluations on all samples after the start. None is 1000.
    time_limit : float or None, default None
        The maximum time of a fit in seconds. None is no limit.
    random_state : int, Generator, RandomState or None, default None
        Draws samples of rows. None is seed 0, so that a fit can be repeated.
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
        The treatment of levels that the fit did not have, in predictions: raise ValueError, or let them add nothing.
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
        Whether no coefficient may be below 0.
    precompute : bool or array-like of shape (d, d), default False
        Accepted for compatibility with scikit-learn, without effect: where a Gram matrix helps, one pass adds it up.
    selection : {"cyclic", "random"}, default "cyclic"
        Accepted for compatibility with scikit-learn, without effect: the minimum is the same.

    Attributes
    ----------
    coef_ : ndarray of shape (d,), or (k, d) if y has shape (n, k) with k > 1
        The coefficients β as float64, d of them after categories are encoded. Those that are not needed are 0.
    sparse_coef_ : scipy.sparse.csr_matrix of shape (1, d) or (k, d)
        The same as a sparse matrix.
    intercept_ : float, or ndarray of shape (k,)
        The intercept b, 0.0 if ``fit_intercept=False``.
    dual_gap_ : float, or ndarray of shape (k,)
        What the objective is above its minimum at most; of several targets for each the bound for all of them together.
        Without L1 penalty and ``positive`` it is an estimate.
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
        The result of `fastgd.fit`: ``result_.nonzero_names`` names the coefficients that are not 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd import Lasso
    >>> X = np.array([[-1.0, 1.0], [0.0, -2.0], [1.0, 1.0]])
    >>> model = Lasso(alpha=0.2).fit(X, [-1.0, 0.0, 1.0])
    >>> model.coef_.round(6).tolist(), model.result_.nonzero_names
    ([0.7, 0.0], ['x0'])
    """

    alpha: float = 1.0

    _sklearn_name = "Lasso"


@dataclass(eq=False, repr=False)
class ElasticNet(_Selector):
    """The elastic net: least squares with a penalty that is part L1 and part L2.

    Minimises, over coefficients β and intercept b, given the sample weights s,

        (1/2Σs) Σ_i s_i (y_i − x_i·β − b)² + alpha (l1_ratio ‖β‖₁ + ½ (1 − l1_ratio) ‖β‖²).

    The intercept is not penalised. Coefficients of features that are not needed are exactly 0. Of features that are
    much alike several are kept, where `Lasso` takes one. With several targets each has its own coefficients.

    Parameters
    ----------
    alpha : float, default 1.0
        The penalty, at least 0. One number for all targets.
    l1_ratio : float, default 0.5
        The share of the L1 penalty, from 0 to 1: 1 is the lasso, 0 is ridge regression.
    fit_intercept : bool, default True
        Whether the model has an intercept b. It is never penalised.
    solver : {"auto", "proximal"}, default "auto"
        The algorithm, see `fastgd.fit`. Without L1 penalty and ``positive`` also those of `Ridge`.
    learning_rate : "auto"
        The other solvers of `fastgd.fit` have a learning rate.
    standardize : bool, default True
        Without effect: the solver standardizes features. Coefficients are in the units of X.
    tol : float or None, default None
        Converged when ``dual_gap_`` is at most ``½ tol`` times the variance of y, with ``fit_intercept=False`` its mean
        square; scikit-learn's tests have no ½, and a default of 1e-4. None is 1e-7. Without L1 penalty and ``positive``
        it is in standard errors, as for `Ridge`, and None is 1e-4.
    max_iter : int or None, default 1000
        The maximum number of evaluations on all samples after the start. None is 1000.
    time_limit : float or None, default None
        The maximum time of a fit in seconds. None is no limit.
    random_state : int, Generator, RandomState or None, default None
        Draws samples of rows. None is seed 0, so that a fit can be repeated.
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
        The treatment of levels that the fit did not have, in predictions: raise ValueError, or let them add nothing.
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
        Whether no coefficient may be below 0.
    precompute : bool or array-like of shape (d, d), default False
        Accepted for compatibility with scikit-learn, without effect: where a Gram matrix helps, one pass adds it up.
    selection : {"cyclic", "random"}, default "cyclic"
        Accepted for compatibility with scikit-learn, without effect: the minimum is the same.

    Attributes
    ----------
    coef_ : ndarray of shape (d,), or (k, d) if y has shape (n, k) with k > 1
        The coefficients β as float64, d of them after categories are encoded. Those that are not needed are 0.
    sparse_coef_ : scipy.sparse.csr_matrix of shape (1, d) or (k, d)
        The same as a sparse matrix.
    intercept_ : float, or ndarray of shape (k,)
        The intercept b, 0.0 if ``fit_intercept=False``.
    dual_gap_ : float, or ndarray of shape (k,)
        What the objective is above its minimum at most; of several targets for each the bound for all of them together.
        Without L1 penalty and ``positive`` it is an estimate.
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
        The result of `fastgd.fit`: ``result_.nonzero_names`` names the coefficients that are not 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd import ElasticNet
    >>> X = np.array([[-1.0, 1.0], [0.0, -2.0], [1.0, 1.0]])
    >>> ElasticNet(alpha=0.2, l1_ratio=0.5).fit(X, [-1.0, 0.0, 1.0]).coef_.round(6).tolist()
    [0.73913, 0.0]
    """

    alpha: float = 1.0
    _: KW_ONLY
    l1_ratio: float = 0.5

    _sklearn_name = "ElasticNet"

    def _ratio(self) -> float:
        """Return the share of the penalty that is L1."""
        return self.l1_ratio
