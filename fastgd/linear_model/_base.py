"""The base class of the estimators: common parameters, checks of X, and calls of `fastgd.fit` (extra: sklearn)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted, validate_data

from fastgd import exceptions
from fastgd._data.columns import is_collection, is_frame
from fastgd._data.dataset import no_rows
from fastgd._data.missing import drop_incomplete
from fastgd._data.schema import Feature, check_missing
from fastgd._data.tables import check_unseen
from fastgd._kernels.threads import max_threads
from fastgd._linear.fit import fit
from fastgd._linear.partial_fit import ChunkOptions, StreamState, learn_chunk
from fastgd._linear.predictor import LinearPredictor
from fastgd._linear.result import FitResult
from fastgd._linear.settings import TOL
from fastgd._optim.messages import without_warning
from fastgd._optim.result import Status
from fastgd._typing import Floats
from fastgd._utils.validation import check_flag, check_not_masked, check_vector, missing_mask
from fastgd.linear_model._min_norm import least_norm

MAX_ITER = 1000
"""The default of ``max_iter``, and its value for None."""
ALL_SAMPLES = (
    "there is no partial_fit with an L1 penalty: stochastic steps leave no coefficient at 0; "
    "fit takes all samples at once, and fastgd.fit reads them from files, too"
)
"""Why there is no `partial_fit` with an L1 penalty."""
_WARNINGS: dict[type[Warning], type[Warning]] = {exceptions.ConvergenceWarning: ConvergenceWarning}
"""The warnings that scikit-learn has a class of its own for."""
_FITTED_ATTRIBUTES = ("coef_", "intercept_", "classes_", "n_iter_", "dual_gap_", "n_features_in_", "feature_names_in_")
"""The fitted attributes that scikit-learn's estimators have, too."""


@dataclass(eq=False, repr=False, kw_only=True)
class LinearModel(BaseEstimator):  # type: ignore[misc]
    """Base class of the estimators: their common parameters, and the translation into a call of `fastgd.fit`.

    The class docstrings of the estimators document all parameters.
    """

    fit_intercept: bool = True
    solver: str = "auto"
    learning_rate: float | str = "auto"
    standardize: bool = True
    tol: float | None = TOL
    max_iter: int | None = MAX_ITER
    time_limit: float | None = None
    random_state: Any = None
    warm_start: bool = False
    verbose: int = 0
    n_jobs: int | None = None
    categorical: str | list[str] = "auto"
    drop_first: bool = True
    unseen: str = "error"
    missing: str = "error"
    checkpoint: Any = None

    _dropped = 0  # rows that `_complete` left out
    _sklearn_name: ClassVar[str]
    """The name of the estimator in scikit-learn that fits the same model."""

    def to_sklearn(self) -> Any:
        """Return a fitted estimator of scikit-learn with the same coefficients.

        Returns
        -------
        estimator : sklearn.linear_model estimator of the same name
            It has the parameters that both estimators have, except the solver, and those that are None here, which
            are the defaults.

        Raises
        ------
        ValueError
            If the model was fitted to categories, which scikit-learn's linear models do not encode.
        NotFittedError
            If this estimator is not fitted.

        Examples
        --------
        >>> from fastgd import Ridge
        >>> estimator = Ridge(alpha=0.5).fit([[0.0], [1.0]], [0.0, 1.0]).to_sklearn()
        >>> type(estimator).__module__, estimator.alpha, estimator.coef_.round(6).tolist()
        ('sklearn.linear_model._ridge', 0.5, [0.5])
        """
        check_is_fitted(self)
        if any(feature.levels is not None or feature.missing for feature in self._features() or ()):
            raise ValueError(
                "scikit-learn's estimator takes complete numbers only; to convert, encode categories and fill in "
                "missing values before the fit"
            )
        estimator = _counterpart(type(self))()
        _copy_fitted(self, estimator)
        return estimator

    @classmethod
    def from_sklearn(cls, estimator: Any) -> Self:
        """Return a fitted estimator with the coefficients of a fitted estimator of scikit-learn.

        Parameters
        ----------
        estimator : sklearn.linear_model estimator of the same name
            A fitted estimator.

        Returns
        -------
        estimator
            It has the parameters that both estimators have, except the solver, which is the default. The attributes
            ``result_``, ``history_`` and ``status_`` are not set, because fastgd did not fit it.

        Raises
        ------
        TypeError
            If ``estimator`` is of another class.
        NotFittedError
            If it is not fitted.
        """
        theirs = _counterpart(cls)
        if not cls._is_counterpart(estimator):
            raise TypeError(f"estimator={estimator!r}; {theirs.__module__.split('._')[0]}.{theirs.__name__} is needed")
        check_is_fitted(estimator)
        model = cls()
        _copy_fitted(estimator, model)
        return model

    @classmethod
    def _is_counterpart(cls, estimator: Any) -> bool:
        """Return whether an estimator of scikit-learn fits the same model."""
        return isinstance(estimator, _counterpart(cls))

    @contextmanager
    def _restored_on_error(self) -> Iterator[None]:
        """Restore all attributes if the block raises an exception.

        An interrupted fit is kept. It raises KeyboardInterrupt at the end of the block, so that loops around the fit
        end, too.
        """
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        if self.status_ is Status.INTERRUPTED:
            raise KeyboardInterrupt(self.result_.message)

    def _l2(self, total_weight: float) -> float:  # noqa: ARG002
        """Return the penalty ``l2`` of `fastgd.fit`, given the total weight of the samples."""
        return 0.0

    def _penalties(self, X: Any, y: Any, weight: Any) -> dict[str, Any]:
        """Return the arguments of `fastgd.fit` that define the penalty, given the samples."""
        return {"l2": self._l2(self._total_weight(X, y, weight))}

    def _batch_only(self) -> str | None:
        """Return why the estimator has no `partial_fit` whatever its solver is; None if it may have it."""
        return None

    def _options(self) -> dict[str, Any]:
        """Return the arguments that `fastgd.fit` and `ChunkOptions` share, after checking the flags."""
        check_flag("fit_intercept", self.fit_intercept)
        check_flag("warm_start", self.warm_start)
        check_unseen(self.unseen)
        check_missing(self.missing)
        if not isinstance(self.verbose, (bool, int, np.integer)) or self.verbose < 0:
            raise ValueError(f"verbose={self.verbose!r}; 0 is needed, or 1 for a progress line")
        return {
            "intercept": self.fit_intercept,
            "standardize": self.standardize,
            "categorical": self.categorical,
            "drop_first": self.drop_first,
            "learning_rate": self.learning_rate,
            "start": self._start(),
            "rng": self.random_state,
            "n_threads": None if self.n_jobs is None else min(effective_n_jobs(self.n_jobs), max_threads()),
            "progress": bool(self.verbose),
        }

    def _fit(self, X: Any, y: NDArray[Any], weight: Floats | None, loss: str) -> FitResult:
        """Return the result of `fastgd.fit`, and set ``stream_``, ``history_``, ``status_`` and ``solver_``.

        Warns of a fit that did not converge. A least squares solution that is not unique is replaced by the one of
        smallest norm.
        """
        self.stream_: StreamState | None = None
        if is_collection(X):
            check_unsupported("n_jobs", self.n_jobs, None, "Dask's workers have their threads already")
        result = without_warning(fit)(
            X,
            y,
            loss=loss,
            sample_weight=weight,
            solver=self.solver,
            tol=self.tol,
            max_iter=MAX_ITER if self.max_iter is None else self.max_iter,
            time_limit=self.time_limit,
            missing="error" if self.missing == "drop" and not is_collection(X) else self.missing,  # see `_complete`
            checkpoint=self.checkpoint,
            **self._penalties(X, y, weight),
            **self._options(),
        )
        dropped = result.dropped or self._dropped
        # The state is not needed, as warm_start begins at coef_; pickles stay small.
        result = replace(result, state=None, dropped=dropped)
        rows = result.rows if weight is None or is_collection(X) else np.count_nonzero(weight)
        for category, text in result.concerns():
            # With fewer rows than coefficients, the least norm is what scikit-learn's models are meant to give.
            if category is not np.exceptions.RankWarning or rows > result.coef.shape[-1]:
                warnings.warn(text, _WARNINGS.get(category, category), stacklevel=3)
        self.history_, self.status_, self.solver_ = result.history, result.status, result.settings.solver
        if is_collection(X):  # least_norm needs X in memory
            return result
        free = not (result.settings.l1 or result.settings.positive)
        unpenalised = free and result.settings.l2 <= np.finfo(np.float64).eps * np.max(result.spread) ** 2
        if result.status is not Status.INTERRUPTED and unpenalised and rows < 2 * result.coef.shape[-1]:
            return least_norm(result, X, weight)
        return result

    def _learn(self, X: Any, y: NDArray[Any], weight: Floats | None, classes: NDArray[Any] | None) -> None:
        """Update the model with a chunk of samples; a later chunk whose weights are all 0 changes nothing."""
        if is_collection(X):
            raise TypeError("partial_fit takes chunks in memory; fit takes Dask's collections")
        check_unsupported(
            "time_limit", self.time_limit, None, "each chunk is gone through once, however long that takes"
        )
        if self._stream is not None and weight is not None and not weight.any():
            return
        if not len(y):
            if self._stream is None:
                raise ValueError(no_rows(self._dropped))
            return
        options = ChunkOptions(classes=classes, l2=self._l2, unseen=self.unseen, **self._options())
        self.stream_, result = learn_chunk(self._stream, X, y, weight, options)
        result = replace(result, dropped=self._dropped)
        self.history_, self.status_, self.solver_ = result.history, result.status, "sgd"
        self._keep(result)

    @property
    def _stream(self) -> StreamState | None:
        """The state that `partial_fit` keeps between chunks; None after `fit` and before the first chunk."""
        return getattr(self, "stream_", None)

    def _has_partial_fit(self) -> bool:
        """Return True if the estimator has `partial_fit`; otherwise raise AttributeError, which says why."""
        reason = self._batch_only()
        if reason is not None:
            raise AttributeError(reason)
        if self.solver != "sgd":
            raise AttributeError(
                f"partial_fit needs solver='sgd', the only one that goes sample by sample; "
                f"this has solver={self.solver!r}"
            )
        if self.missing == "impute":
            raise AttributeError("partial_fit has no missing='impute': a mean takes all samples; fit fills in")
        return True

    def _start(self) -> FitResult | Floats | None:
        """Return the start for ``warm_start``: the last coefficients, None if there are none or it is not asked for.

        For a table it is a result, which has the columns and levels besides.
        """
        if not (self.warm_start and hasattr(self, "coef_")):
            return None
        coef = self._dense_coef()
        intercept = np.broadcast_to(np.ravel(self.intercept_), len(coef))
        if self._features() is not None:
            return replace(self.result_, coef=coef, intercept=intercept)  # type: ignore[no-any-return]
        point = np.column_stack((coef, intercept)) if self.fit_intercept else coef
        return point[0] if len(point) == 1 else point

    def _features(self) -> tuple[Feature, ...] | None:
        """Return the table columns that the model was fitted on; None for an array, or if fastgd did not fit it."""
        return self.result_.features if hasattr(self, "result_") else None

    def _checked(self, X: Any, *, reset: bool) -> Any:
        """Return X after scikit-learn's checks, without a copy.

        Of tables only the names of columns are checked here. NaN and infinity are found during the first pass.

        Parameters
        ----------
        X : array-like, sparse matrix, table or Dask collection of shape (n, d)
        reset : bool
            Whether to set the number and names of columns, as in `fit`, or to compare them.
        """
        check_not_masked("X", X)
        if isinstance(X, (str, PathLike)):
            raise TypeError(f"X={X!r} is a path: estimators read what is in memory; fastgd.fit reads files")
        if is_collection(X):
            validate_data(self, X._meta if is_frame(X) else X, reset=reset, skip_check_array=True)
            return X
        if is_frame(X):
            return validate_data(self, X, reset=reset, skip_check_array=True)
        return validate_data(
            self, X, reset=reset, dtype="numeric", accept_sparse=True, order=None, ensure_all_finite=False
        )

    def _complete(self, X: Any, y: NDArray[Any], sample_weight: Any) -> tuple[Any, NDArray[Any], Floats | None]:
        """Return samples in memory without those that ``missing="drop"`` leaves out; raise ValueError if y has gaps."""
        check_missing(self.missing)
        self._dropped = 0
        if self.missing == "drop":
            each = None if sample_weight is None or np.isscalar(sample_weight) else sample_weight
            check_consistent_length(X, y, each)
            X, y, each, self._dropped = drop_incomplete(X, y, each, self.categorical)
            sample_weight = sample_weight if each is None else each
        gaps = missing_mask(np.ravel(y))
        if gaps.any():
            row = int(np.argmax(gaps)) // max(1, y.size // len(y))
            raise ValueError(
                f"Input y contains NaN. It has no value in row {row}; fill it in or drop the row (missing='drop' does)"
            )
        return X, y, as_weight(sample_weight, X, y)

    def _total_weight(self, X: Any, y: Any, weight: Any) -> float:
        """Return the sum of the weights of all samples, 1 each if there are none."""
        if is_collection(y):
            from fastgd._data.dask import complete_weight, total_weight

            dropping = self.missing == "drop"
            return complete_weight(X, y, weight, self.categorical) if dropping else total_weight(y, weight)
        return float(len(y) if weight is None else np.sum(weight))

    def _dense_coef(self) -> Floats:
        """Return ``coef_`` as an array of shape (k, d)."""
        return np.atleast_2d(self.coef_.toarray() if issparse(self.coef_) else self.coef_)

    def _predictor(self) -> LinearPredictor:
        """Return the predictor for the fitted attributes as they are now; a user may have changed them."""
        check_is_fitted(self)
        coef = self._dense_coef()
        intercept = np.broadcast_to(np.ravel(self.intercept_), len(coef))
        classes = getattr(self, "classes_", None)
        flat = self.coef_.ndim == 1 or (classes is not None and len(classes) == 2)
        return LinearPredictor(coef, intercept, self._features(), classes, flat, self.unseen)

    def __sklearn_tags__(self) -> Any:
        """Return the tags of the base class, with sparse X allowed, and NaN if predictions fill it in."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self.missing == "impute"
        return tags


def check_unsupported(name: str, value: Any, supported: Any, instead: str) -> None:
    """Raise ValueError if a parameter of scikit-learn has a value that fastgd does not support.

    Parameters
    ----------
    name : str
    value : object
        The value of the parameter.
    supported : object
        The only supported value.
    instead : str
        The end of the message: the reason, or what to use instead.
    """
    if value != supported:
        raise ValueError(f"{name}={value!r}; {name}={supported!r} is supported: {instead}")


def check_ratio(l1_ratio: Any) -> None:
    """Raise ValueError if the share of the L1 penalty is not a number from 0 to 1."""
    number = isinstance(l1_ratio, (int, float, np.number)) and not isinstance(l1_ratio, bool)
    if not number or not 0.0 <= l1_ratio <= 1.0:
        raise ValueError(f"l1_ratio={l1_ratio!r}; a number from 0 to 1 is needed")


def as_weight(sample_weight: ArrayLike | None, X: NDArray[Any], y: NDArray[Any]) -> Floats | None:
    """Return the sample weights as an array of shape (n,), or None if there are none.

    Parameters
    ----------
    sample_weight : array-like of shape (n,), float or None
        One number is the weight of each sample.
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,) or (n, k)

    Raises
    ------
    ValueError
        If the lengths differ, or a weight is negative or not finite, or their sum overflows.
    """
    check_consistent_length(X, y)
    if sample_weight is None:
        return None
    if np.isscalar(sample_weight):
        sample_weight = np.full(len(y), sample_weight)
    weight = check_vector("sample_weight", sample_weight, len(y)).astype(np.float64, copy=False)
    with np.errstate(over="ignore"):
        if not np.isfinite(weight.sum()):
            raise ValueError("sample_weight: the sum overflows, and the penalty is in proportion to it; scale it down")
    return weight


def _counterpart(cls: type[LinearModel]) -> Any:
    """Return the class in `sklearn.linear_model` that fits the same model."""
    from sklearn import linear_model

    return getattr(linear_model, cls._sklearn_name)


def _copy_fitted(fitted: Any, to: Any) -> None:
    """Copy the parameters that both estimators have, except the solver, and the fitted attributes.

    A ``tol`` or ``max_iter`` of None is fastgd's own default, which scikit-learn does not know, and is not copied.
    """
    shared = fitted.get_params(deep=False).keys() & to.get_params(deep=False).keys() - {"solver"}
    shared -= {name for name in ("tol", "max_iter") if getattr(fitted, name, None) is None}
    to.set_params(**{name: deepcopy(getattr(fitted, name)) for name in shared})
    for name in _FITTED_ATTRIBUTES:
        if hasattr(fitted, name):
            setattr(to, name, deepcopy(getattr(fitted, name)))
