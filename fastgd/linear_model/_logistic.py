"""The estimator LogisticRegression."""

from __future__ import annotations

import warnings
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from fastgd._data.columns import check_same_index, is_collection
from fastgd._data.targets import all_classes, encode_labels
from fastgd._linear.result import FitResult
from fastgd._optim.result import Status
from fastgd._typing import Floats
from fastgd._utils.validation import as_array, check_not_masked, check_vector
from fastgd.linear_model._base import ALL_SAMPLES, LinearModel, check_ratio, check_unsupported


@dataclass(eq=False, repr=False)
class LogisticRegression(ClassifierMixin, LinearModel):  # type: ignore[misc]
    """Logistic regression with an L2 penalty, an L1 penalty, or both.

    Minimises, over coefficients β and intercept b,

        C Σ_i s_i L(y_i, z_i) + l1_ratio ‖β‖₁ + ½ (1 − l1_ratio) ‖β‖².

    s are the sample weights, and ``z_i = x_i·β + b`` is the linear predictor. For two classes
    ``L = −[y ln h(z) + (1 − y) ln(1 − h(z))]`` with ``h(z) = 1 / (1 + e^(−z))``, where y is 1 for ``classes_[1]``. For
    more classes each class c has its own coefficients and linear predictor z_c, and L is the multinomial loss
    ``ln Σ_c e^(z_c) − z_y``. The intercept is not penalised. With an L1 penalty coefficients of features that are not
    needed are exactly 0.

    Parameters
    ----------
    penalty : "deprecated", "l2", "l1", "elasticnet" or None, default "deprecated"
        Deprecated, as in scikit-learn: use ``l1_ratio`` instead, and ``C=np.inf`` instead of ``penalty=None``.
    fit_intercept : bool, default True
        Whether the model has an intercept b. It is never penalised.
    solver : {"auto", "newton", "lbfgs", "nesterov", "gd", "sgd", "proximal"}, default "auto"
        The algorithm, see `fastgd.fit`. "auto" chooses "newton" or "lbfgs", and with an L1 penalty "proximal", which
        alone can minimise it. `partial_fit` needs "sgd".
    learning_rate : float or "auto", default "auto"
        The rate γ of "gd", "nesterov" and "sgd". "auto" is 1 / (largest curvature), adapted during the fit.
    standardize : bool, default True
        Whether to descend in standardized features. It changes the speed, not the minimum. Coefficients are in the
        units of X in either case.
    tol : float or None, default None
        The distance from the minimum, in standard errors, at which the fit has converged; None is 1e-4. With an L1
        penalty it is the duality gap, as a share of the loss without coefficients, and None is 1e-7: see `fastgd.fit`.
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
        Whether the first level of each category is its reference, without a coefficient. False needs a finite
        C.
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
    C : float, default 1.0
        The inverse of the strength of the penalty, positive. ``np.inf`` is no penalty.
    l1_ratio : float, default 0.0
        The share of the L1 penalty, from 0 to 1: 0 is the L2 penalty alone, 1 the L1 penalty alone. `partial_fit` needs
        0.
    class_weight : dict, "balanced" or None, default None
        Factors for the weights of the samples, by label. "balanced" gives all classes the same total weight.
    dual : bool, default False
        Must be False: there is no dual solver.
    intercept_scaling : float, default 1
        Must be 1: the intercept is not penalised, so it needs no scaling.

    Attributes
    ----------
    classes_ : ndarray of shape (k,)
        The labels, sorted.
    coef_ : ndarray of shape (1, d) for two classes, (k, d) for more
        The coefficients β as float64, d of them after categories are encoded.
    intercept_ : ndarray of shape (1,) or (k,)
        The intercepts, 0 if ``fit_intercept=False``.
    n_iter_ : ndarray of shape (1,)
        The number of evaluations on all samples after the start; 1 after `partial_fit`.
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
    >>> from fastgd import LogisticRegression
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> model = LogisticRegression().fit(X, ["no", "no", "yes", "yes"])
    >>> model.predict([[0.5], [2.5]]).tolist(), model.predict_proba([[1.5]]).round(6).tolist()
    (['no', 'yes'], [[0.5, 0.5]])

    An L1 penalty selects features:

    >>> X = np.array([[0.0, 1.0], [1.0, -1.0], [2.0, -1.0], [3.0, 1.0]])
    >>> model = LogisticRegression(l1_ratio=1.0).fit(X, ["no", "no", "yes", "yes"])
    >>> model.coef_.round(3).tolist(), model.result_.nonzero_names
    ([[0.908, 0.0]], ['x0'])
    """

    penalty: str | None = "deprecated"
    _: KW_ONLY
    tol: float | None = None
    C: float = 1.0
    l1_ratio: float = 0.0
    class_weight: dict[Any, float] | str | None = None
    dual: bool = False
    intercept_scaling: float = 1

    _sklearn_name = "LogisticRegression"

    def _l2(self, total_weight: float) -> float:
        """Return the strength ``1 / (C Σs)`` of the penalty; 0 without a penalty or without any weight."""
        if isinstance(self.C, bool) or not (isinstance(self.C, (int, float, np.number)) and self.C > 0.0):
            raise ValueError(f"C={self.C!r}; a positive number is needed")
        return 1.0 / (self.C * total_weight) if total_weight > 0.0 and self.penalty is not None else 0.0

    def _ratio(self) -> float:
        """Return the share of the penalty that is L1, which the deprecated ``penalty`` can name, too."""
        if self.penalty == "l1":
            return 1.0
        return 0.0 if self.penalty in ("l2", None) else self.l1_ratio

    def _penalties(self, X: Any, y: Any, weight: Any) -> dict[str, Any]:
        """Return the arguments of `fastgd.fit` that define the penalty, given the samples."""
        strength, ratio = self._l2(self._total_weight(X, y, weight)), self._ratio()
        return {"l1": ratio * strength, "l2": (1.0 - ratio) * strength}

    def _batch_only(self) -> str | None:
        """Return why the estimator has no `partial_fit`, which needs an L2 penalty."""
        return ALL_SAMPLES if self._ratio() else None

    def _warn_of_penalty(self) -> None:
        """Warn that the parameter ``penalty`` is deprecated, and where ``l1_ratio`` says something else.

        Raises
        ------
        ValueError
            If it is no penalty.
        """
        if self.penalty not in ("l1", "l2", "elasticnet", None):
            raise ValueError(
                f"penalty={self.penalty!r}; leave it out, and say l1_ratio=1 for 'l1', or C=np.inf for none"
            )
        warnings.warn(
            "'penalty' was deprecated in scikit-learn 1.8 and goes in 1.10; leave it out, and say l1_ratio=1 for 'l1', "
            "l1_ratio between 0 and 1 for 'elasticnet', or C=np.inf for none",
            FutureWarning,
            stacklevel=3,
        )
        if self.penalty is None and self.C != 1.0:
            warnings.warn("Setting penalty=None will ignore the C parameter", UserWarning, stacklevel=3)
        if self.penalty in ("l1", "l2") and self.l1_ratio != self._ratio():
            warnings.warn(
                f"Inconsistent values: penalty={self.penalty} with l1_ratio={self.l1_ratio}. The deprecated penalty "
                "is taken; use l1_ratio alone",
                UserWarning,
                stacklevel=3,
            )
        if self.penalty != "elasticnet" and 0.0 < self.l1_ratio < 1.0:
            warnings.warn(
                f"l1_ratio parameter is only used when penalty is 'elasticnet'. Got (penalty={self.penalty})",
                UserWarning,
                stacklevel=3,
            )

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model to samples and labels, and return the estimator.

        Parameters
        ----------
        X : array-like, sparse matrix, table or Dask collection of shape (n, d)
            The samples, without infinity, and without NaN unless ``missing`` allows it.
        y : array-like of shape (n,)
            The labels, numbers or text, of at least two classes.
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
            X, labels, weight = self._samples(X, y, sample_weight, reset=True)
            if not is_collection(X):
                _check_labels(labels)
            if is_collection(X) and isinstance(self.class_weight, str) and self.missing == "drop":
                raise ValueError(
                    f"class_weight={self.class_weight!r} takes all rows of Dask's collections, also those that "
                    "missing='drop' leaves out; drop these before, by dropna() of a dataframe"
                )
            if self.class_weight is not None:
                weight = self._balanced(labels, weight)
            self._keep(self._fit(X, labels, weight, "logistic"))
        return self

    @available_if(LinearModel._has_partial_fit)  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Update the model with a chunk of samples by averaged stochastic gradient descent, and return the estimator.

        It needs ``solver="sgd"``. The objective is that of all samples since the last `fit`. Each sample is used once,
        so chunks should come in random order. ``coef_`` is worse than after a fit to all of them by about the
        statistical error, and by more if features are strongly correlated. The first chunk determines the levels of
        categories and the seed. ``tol`` and ``max_iter`` have no effect, and ``time_limit`` must be None.

        Parameters
        ----------
        X : array-like, sparse matrix or table of shape (n, d)
            The samples of the chunk, in memory.
        y : array-like of shape (n,)
            The labels.
        classes : array-like of shape (k,), optional
            All labels that y has in this chunk and later ones. Needed for the first chunk, unless the estimator was
            fitted before. Later it can be left out, or has to be the same.
        sample_weight : array-like of shape (n,), or float, optional
            The weights s of the samples, at least 0. One number is the weight of each sample, None is 1.

        Returns
        -------
        self

        Raises
        ------
        AttributeError
            If ``solver`` is not "sgd", or there is an L1 penalty.
        ValueError, TypeError
            On bad input, or if the chunk does not fit to earlier ones. The estimator is unchanged.
        """
        first = self._stream is None
        if classes is None and not hasattr(self, "classes_"):
            raise ValueError("classes: all labels that will come are needed in the first call of partial_fit")
        known = self.classes_ if classes is None else all_classes(classes)
        if not first and not np.array_equal(known, self.classes_):
            raise ValueError(f"classes={known.tolist()}; those of the first call are {self.classes_.tolist()}")
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} needs all samples at once; compute it by scikit-learn's "
                "compute_class_weight on a sample, and give the dict"
            )
        with self._restored_on_error():
            X, labels, weight = self._samples(X, y, sample_weight, reset=first)
            if self.class_weight is not None:
                codes = encode_labels(labels, len(labels), known).astype(np.intp)
                of_class = compute_class_weight(self.class_weight, classes=known, y=known)[codes]
                weight = of_class if weight is None else weight * of_class
            self._learn(X, labels, weight, known)
        return self

    def _samples(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> tuple[Any, NDArray[Any], Floats | None]:
        """Return X, labels and weights after scikit-learn's checks; ``reset`` takes the names of columns anew."""
        check_ratio(self.l1_ratio)
        check_unsupported("dual", self.dual, False, "the minimum of the primal is the same")
        check_unsupported(
            "intercept_scaling", self.intercept_scaling, 1, "the intercept is not penalised, so it needs none"
        )
        if self.penalty != "deprecated":
            self._warn_of_penalty()
        X = self._checked(X, reset=reset)
        if is_collection(X):
            return X, y, sample_weight
        check_same_index(X, y=y, sample_weight=sample_weight)
        check_not_masked("y", y)
        labels = column_or_1d(as_array("y", y) if self.missing == "drop" else y, warn=True)
        return self._complete(X, labels, sample_weight)

    def _keep(self, result: FitResult) -> None:
        """Set the fitted attributes from a result."""
        self.result_, self.classes_ = result, np.asarray(result.classes)
        self.coef_, self.intercept_ = np.atleast_2d(result.coef), np.atleast_1d(result.intercept)
        self.n_iter_ = np.array([result.n_iter or int(result.status is Status.READ_ONCE)])

    def sparsify(self) -> Self:
        """Make ``coef_`` a sparse matrix, which takes less memory if an L1 penalty has left few coefficients.

        Predictions are the same.

        Returns
        -------
        self
        """
        check_is_fitted(self)
        self.coef_ = csr_matrix(self.coef_)
        return self

    def densify(self) -> Self:
        """Make ``coef_`` an array again, as it is after `fit`, and return the estimator."""
        check_is_fitted(self)
        self.coef_ = self._dense_coef()
        return self

    def _balanced(self, labels: NDArray[Any], weight: Floats | None) -> Floats:
        """Return the weights of samples (n,), multiplied by the weights of their classes."""
        if is_collection(labels):
            from fastgd._data.dask import class_totals, weighed

            classes, totals = class_totals(labels, weight)
            lazy: Floats = weighed(labels, weight, classes, self._of_class(classes, totals))
            return lazy
        classes = np.unique(labels)
        codes = np.searchsorted(classes, labels)
        of_class = self._of_class(classes, np.bincount(codes, weight))
        balanced: Floats = of_class[codes] if weight is None else weight * of_class[codes]
        return balanced

    def _of_class(self, classes: NDArray[Any], totals: NDArray[Any]) -> Floats:
        """Return the weights of classes (k,), given the total weight (k,) of the samples of each.

        scikit-learn is called with a single sample per class, whose weight is the total.
        """
        with np.errstate(divide="ignore"):
            of_class = compute_class_weight(self.class_weight, classes=classes, y=classes, sample_weight=totals)
        if not np.isfinite(of_class).all():
            weightless = classes[~np.isfinite(of_class)][0]
            raise ValueError(
                f"class_weight={self.class_weight!r}: the samples of class {weightless} have no finite weight"
            )
        return np.asarray(of_class)

    def decision_function(self, X: Any) -> Floats:
        """Return the linear predictors ``X β + b``: for two classes the log-odds of ``classes_[1]``.

        Parameters
        ----------
        X : array-like, sparse matrix, table or Dask collection of shape (n, d)
            The samples.

        Returns
        -------
        ndarray of shape (n,) for two classes, (n, k) for more
            For a Dask collection a Dask array, which is computed on demand.
        """
        return self._predictor().decision_function(self._checked(X, reset=False))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable labels.

        Parameters
        ----------
        X : array-like, sparse matrix, table or Dask collection of shape (n, d)
            The samples.

        Returns
        -------
        ndarray of shape (n,)
            For a Dask collection a Dask array, which is computed on demand.
        """
        return self._predictor().predict(self._checked(X, reset=False))

    def predict_proba(self, X: Any) -> Floats:
        """Return the probabilities of all classes, in the order of ``classes_``.

        Parameters
        ----------
        X : array-like, sparse matrix, table or Dask collection of shape (n, d)
            The samples.

        Returns
        -------
        ndarray of shape (n, k)
            For a Dask collection a Dask array, which is computed on demand.
        """
        return self._predictor().predict_proba(self._checked(X, reset=False))

    def predict_log_proba(self, X: Any) -> Floats:
        """Return the logarithms of the probabilities of all classes, exact also if a probability rounds to 0 or 1.

        Parameters
        ----------
        X : array-like, sparse matrix, table or Dask collection of shape (n, d)
            The samples.

        Returns
        -------
        ndarray of shape (n, k)
            For a Dask collection a Dask array, which is computed on demand.
        """
        return self._predictor().predict_log_proba(self._checked(X, reset=False))


def _check_labels(labels: NDArray[Any]) -> None:
    """Raise ValueError if y does not hold the labels of classes."""
    if labels.dtype.kind == "f":
        check_vector("y", labels, len(labels))
    check_classification_targets(labels)
