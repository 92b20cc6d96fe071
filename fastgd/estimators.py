"""LinearRegression, Ridge and LogisticRegression with scikit-learn's interface and meaning (extra: sklearn).

An estimator holds parameters and translates them; the fit is `fastgd.fit`. Every parameter of scikit-learn's estimators
is here, so that changing one import line is enough: it either means the same, or raises when set to what fastgd lacks.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import KW_ONLY, dataclass, replace
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd.checks import all_classes, check_flag, check_number, coded
from fastgd.descent import Status
from fastgd.diagnosis import quietly
from fastgd.fitting import fit
from fastgd.incremental import Stream, learn
from fastgd.models import FitResult
from fastgd.sources import Feature, Floats
from fastgd.tables import as_features, check_unseen, is_collection, is_frame
from fastgd.threads import max_threads
from fastgd.values import check_vector, refuse_masked

try:
    from joblib import effective_n_jobs
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import check_array, check_consistent_length, compute_class_weight
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

    from fastgd.least_norm import least_norm
except ImportError:
    raise ImportError("fastgd's estimators need scikit-learn: pip install 'fastgd[sklearn]'") from None

MAX_ITER = 1000
_LEARNED = ("coef_", "intercept_", "classes_", "n_iter_", "n_features_in_", "feature_names_in_")


@dataclass(eq=False, repr=False, kw_only=True)
class _LinearModel(BaseEstimator):  # type: ignore[misc]
    """The parameters that all estimators have, and their translation into a call of `fit`."""

    fit_intercept: bool = True
    solver: str = "auto"
    learning_rate: float | str = "auto"
    standardize: bool = True
    tol: float = 1e-10
    max_iter: int | None = MAX_ITER
    time_limit: float | None = None
    random_state: Any = None
    warm_start: bool = False
    verbose: int = 0
    n_jobs: int | None = None
    categorical: str | list[str] = "auto"
    drop_first: bool = True
    unseen: str = "error"
    checkpoint: Any = None

    _scikit_learns: ClassVar[str]
    """The name of scikit-learn's estimator of the same model."""

    def to_sklearn(self) -> Any:
        """Give scikit-learn's fitted estimator of the same coefficients, for tools that know only that.

        Returns
        -------
        estimator
            Its parameters are this estimator's, where it has them, but for the solver, which is its default.

        Raises
        ------
        ValueError
            If there are categories, whose columns scikit-learn's linear models don't make.
        """
        check_is_fitted(self)
        if any(feature.levels is not None for feature in self._features() or ()):
            raise ValueError(
                "scikit-learn's estimator takes numbers only; to convert, encode categories before the fit"
            )
        estimator = _counterpart(type(self))()
        _copy_fitted(self, estimator)
        return estimator

    @classmethod
    def from_sklearn(cls, estimator: Any) -> Self:
        """Make a fitted estimator of the coefficients of scikit-learn's fitted one.

        Parameters
        ----------
        estimator
            scikit-learn's estimator of the same name.

        Returns
        -------
        estimator
            Its parameters are those of ``estimator``, but for the solver, which is the default. It has no
            ``result_``, ``history_`` and ``status_``: no descent of fastgd led to it.
        """
        theirs = _counterpart(cls)
        if not isinstance(estimator, theirs):
            raise TypeError(f"estimator={estimator!r}; {theirs.__module__.split('._')[0]}.{theirs.__name__} is needed")
        check_is_fitted(estimator)
        model = cls()
        _copy_fitted(estimator, model)
        return model

    @contextmanager
    def _whole_or_not_at_all(self) -> Iterator[None]:
        """Learn in this block, or be as before if it ends by an exception.

        A fit that was interrupted is kept, and then raises KeyboardInterrupt, so that loops around it end, too.
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
        """Give the penalty per unit of weight."""
        return 0.0

    def _options(self) -> dict[str, Any]:
        """Give the arguments that `fit` and `learn` share, but for samples and loss."""
        check_flag("fit_intercept", self.fit_intercept)
        check_flag("warm_start", self.warm_start)
        check_unseen(self.unseen)
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
        self.stream_: Stream | None = None
        if is_collection(X):
            _refuse("n_jobs", self.n_jobs, None, "Dask's workers have their threads already")
        result = quietly(fit)(
            X,
            y,
            loss=loss,
            l2=self._l2(_total_weight(y, weight)),
            sample_weight=weight,
            solver=self.solver,
            tol=self.tol,
            max_iter=MAX_ITER if self.max_iter is None else self.max_iter,
            time_limit=self.time_limit,
            checkpoint=self.checkpoint,
            **self._options(),
        )
        result = replace(result, state=None)  # warm_start is from coef_, and pickles stay small
        if not (result.converged or result.status is Status.INTERRUPTED):
            warnings.warn(result.message, ConvergenceWarning, stacklevel=3)
        self.history_, self.status_, self.solver_ = result.history, result.status, result.settings["solver"]
        if is_collection(X):  # whose rows are too far apart to look for the smallest of coefficients that fit alike
            return result
        rows = len(y) if weight is None else np.count_nonzero(weight)
        unpenalised = result.settings["l2"] <= np.finfo(np.float64).eps * np.max(result.spread) ** 2
        if result.status is not Status.INTERRUPTED and unpenalised and rows < 2 * result.coef.shape[-1]:
            return least_norm(result, X, weight)
        return result

    def _learn(self, X: Any, y: NDArray[Any], weight: Floats | None, classes: NDArray[Any] | None) -> None:
        """Go on with a chunk of samples, and keep what was learned; one without any weight teaches nothing."""
        if is_collection(X):
            raise TypeError("partial_fit takes chunks in memory; fit takes Dask's collections")
        _refuse("time_limit", self.time_limit, None, "each chunk is gone through once, however long that takes")
        if self._stream is not None and weight is not None and not weight.any():
            return
        self.stream_, result = learn(
            self._stream,
            X,
            y,
            classes=classes,
            l2=self._l2,
            sample_weight=weight,
            unseen=self.unseen,
            **self._options(),
        )
        self.history_, self.status_, self.solver_ = result.history, result.status, "sgd"
        self._keep(result)

    @property
    def _stream(self) -> Stream | None:
        """What is kept of the samples that `partial_fit` was given since the last `fit`."""
        return getattr(self, "stream_", None)

    def _learns_by_chunks(self) -> bool:
        if self.solver != "sgd":
            raise AttributeError(
                f"partial_fit needs solver='sgd', the only one that goes sample by sample; "
                f"this has solver={self.solver!r}"
            )
        return True

    def _start(self) -> FitResult | Floats | None:
        """Give what to go on from, if that is asked for and there is something: of a table, with columns and levels."""
        if not (self.warm_start and hasattr(self, "coef_")):
            return None
        coef = np.atleast_2d(self.coef_)
        intercept = np.broadcast_to(np.ravel(self.intercept_), len(coef))
        if self._features() is not None:
            return replace(self.result_, coef=coef, intercept=intercept)  # type: ignore[no-any-return]
        point = np.column_stack((coef, intercept)) if self.fit_intercept else coef
        return point[0] if len(point) == 1 else point

    def _features(self) -> tuple[Feature, ...] | None:
        """Give the columns that the model was fitted on, None if it has no fit of fastgd's, or one to an array."""
        return self.result_.features if hasattr(self, "result_") else None

    def _read(self, X: Any, *, reset: bool) -> Any:
        """Check X as scikit-learn does, but without a copy: of tables, columns' names only.

        NaN and infinity are found while X is read, and named by row and column.
        """
        refuse_masked("X", X)
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

    def _margins(self, X: Any) -> Floats:
        """Compute X·coef + intercept, (n, outputs)."""
        check_is_fitted(self)
        matrix = as_features(self._read(X, reset=False), features=self._features(), unseen=self.unseen)
        coef = np.atleast_2d(self.coef_)
        return matrix.margins(coef, np.broadcast_to(np.ravel(self.intercept_), len(coef)))

    def _later(self, method: str, X: Any, outputs: int | None, dtype: Any = np.float64) -> NDArray[Any]:
        """Give what a method makes of a Dask collection, when it is asked for: a Dask array."""
        from fastgd.cluster import mapped

        check_is_fitted(self)
        later: NDArray[Any] = mapped(getattr(self, method), self._read(X, reset=False), outputs, dtype)
        return later

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that X may be sparse."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


@dataclass(eq=False, repr=False, kw_only=True)
class _Regressor(RegressorMixin, _LinearModel):  # type: ignore[misc]
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

    @available_if(_LinearModel._learns_by_chunks)  # type: ignore[untyped-decorator]
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
        _refuse("positive", self.positive, False, "use scikit-learn's estimator for coefficients of one sign")
        X = self._read(X, reset=reset)
        if is_collection(X):
            return X, y, sample_weight  # which are checked where they lie
        refuse_masked("y", y)
        targets = check_array(y, ensure_2d=False, ensure_all_finite=False, ensure_min_samples=0, input_name="y")
        if targets.ndim not in (1, 2):
            raise ValueError(f"y should be a 1d array, or 2d with several targets; got one of shape {targets.shape}")
        return X, targets, _as_weight(sample_weight, X, targets)

    def _keep(self, result: FitResult) -> None:
        self.result_ = result
        self.n_iter_ = max(result.n_iter, 1)  # scikit-learn knows no fit without an iteration
        self.coef_ = result.coef
        self.intercept_ = np.asarray(result.intercept)[()] if self.fit_intercept else np.float64(0.0)

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that there may be several targets."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def predict(self, X: Any) -> Floats:
        """Predict y for X (n, d); of a Dask collection a Dask array, which computes when it is asked to."""
        if is_collection(X):
            return self._later("predict", X, len(self.coef_) if self.coef_.ndim == 2 else None)
        z = self._margins(X)
        return z if self.coef_.ndim == 2 else z[:, 0]


@dataclass(eq=False, repr=False, kw_only=True)
class LinearRegression(_Regressor):
    """Ordinary least squares: minimises ``Σ s (y − Xβ − b)²``.

    If many β fit alike, as there are fewer samples than coefficients or redundant columns, it is the β of the smallest
    norm; a `ConvergenceWarning` says so where that is not found.

    Parameters
    ----------
    fit_intercept : bool
        Whether the model has an intercept b; it is never penalised.
    solver, learning_rate, standardize, tol, time_limit
        As for `fastgd.fit`.
    max_iter : int or None
        As for `fastgd.fit`; None is 1000.
    random_state : int, Generator, RandomState or None
        `fastgd.fit`'s ``rng``.
    warm_start : bool
        Begin at the coefficients of the last fit.
    verbose : int
        1 shows a progress line (extra: cli).
    n_jobs : int or None
        The number of threads, at most numba's; negative numbers count back from all, None and -1 are all.
    categorical, drop_first
        As for `fastgd.fit`, for tables.
    unseen : {"error", "zero"}
        As for `fastgd.FitResult.predict`, for tables.
    checkpoint : str, path or None
        As for `fastgd.fit`: one fit's own, not for several that run side by side, or with other parameters.
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
    """

    _scikit_learns = "LinearRegression"


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


@dataclass(eq=False, repr=False)
class LogisticRegression(ClassifierMixin, _LinearModel):  # type: ignore[misc]
    """Logistic regression: minimises ``C Σ s L + ½ ‖β‖²``, as scikit-learn's LogisticRegression does.

    With more than two classes L is the multinomial loss ``ln Σ_c e^(z_c) − z_y``, and each class has coefficients.

    Parameters
    ----------
    penalty : "deprecated", "l2" or None
        Going, as in scikit-learn 1.9: say ``C=np.inf`` instead of ``penalty=None``.
    C : float
        Inverse of the penalty, positive; ``np.inf`` for none.
    l1_ratio : float
        0: the penalty is ``½ ‖β‖²``.
    class_weight : dict, "balanced" or None
        Multiplies the weights of a class's samples: by label, or so that all classes weigh the same.
    dual, intercept_scaling
        False and 1; there is no dual solver, and no need to scale an intercept that is not penalised.
    others
        As for `LinearRegression`, and so are the attributes. ``coef_`` has shape (1, d) for two classes and (k, d) for
        k of them, ``intercept_`` (1,) or (k,), ``n_iter_`` (1,), and ``classes_`` holds the labels.
    """

    penalty: str | None = "deprecated"
    _: KW_ONLY
    C: float = 1.0
    l1_ratio: float = 0.0
    class_weight: dict[Any, float] | str | None = None
    dual: bool = False
    intercept_scaling: float = 1

    _scikit_learns = "LogisticRegression"

    def _l2(self, total_weight: float) -> float:
        if isinstance(self.C, bool) or not (isinstance(self.C, (int, float, np.number)) and self.C > 0.0):
            raise ValueError(f"C={self.C!r}; a positive number is needed")
        return 1.0 / (self.C * total_weight) if total_weight > 0.0 and self.penalty is not None else 0.0

    def _say_what_replaces_penalty(self) -> None:
        if self.penalty not in ("l2", None):
            raise ValueError(f"penalty={self.penalty!r}; leave it out for 'l2', or say C=np.inf for none")
        warnings.warn(
            "'penalty' was deprecated in scikit-learn 1.8 and goes in 1.10; leave it out, or say C=np.inf for none",
            FutureWarning,
            stacklevel=3,
        )
        if self.penalty is None and self.C != 1.0:
            warnings.warn("Setting penalty=None will ignore the C parameter", UserWarning, stacklevel=3)

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to X (n, d) and labels y (n,), as for `LinearRegression`."""
        with self._whole_or_not_at_all():
            X, labels, weight = self._samples(X, y, sample_weight, reset=True)
            if not is_collection(X):
                _check_labels(labels)
            if self.class_weight is not None:
                weight = self._balanced(labels, weight)
            self._keep(self._fit(X, labels, weight, "logistic"))
        return self

    @available_if(_LinearModel._learns_by_chunks)  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Go on with a chunk of samples, as for `LinearRegression`.

        ``classes`` are all labels that y may have in this chunk and later ones. They are needed for the first chunk, if
        there was no fit to have them from, and can be left out or repeated for others.
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
        with self._whole_or_not_at_all():
            X, labels, weight = self._samples(X, y, sample_weight, reset=first)
            if self.class_weight is not None:
                codes = coded(labels, len(labels), known).astype(np.intp)
                of_class = compute_class_weight(self.class_weight, classes=known, y=known)[codes]
                weight = of_class if weight is None else weight * of_class
            self._learn(X, labels, weight, known)
        return self

    def _samples(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> tuple[Any, NDArray[Any], Floats | None]:
        _refuse("l1_ratio", self.l1_ratio, 0.0, "use scikit-learn's estimator for an L1 penalty")
        _refuse("dual", self.dual, False, "the minimum of the primal is the same")
        _refuse("intercept_scaling", self.intercept_scaling, 1, "the intercept is not penalised, so it needs none")
        if self.penalty != "deprecated":
            self._say_what_replaces_penalty()
        X = self._read(X, reset=reset)
        if is_collection(X):
            return X, y, sample_weight
        refuse_masked("y", y)
        labels = column_or_1d(y, warn=True)
        return X, labels, _as_weight(sample_weight, X, labels)

    def _keep(self, result: FitResult) -> None:
        self.result_, self.classes_ = result, np.asarray(result.classes)
        self.coef_, self.intercept_ = np.atleast_2d(result.coef), np.atleast_1d(result.intercept)
        self.n_iter_ = np.array([result.n_iter or int(result.status is Status.READ_ONCE)])

    def _balanced(self, labels: NDArray[Any], weight: Floats | None) -> Floats:
        """Multiply the weights by those of the classes."""
        if is_collection(labels):
            from fastgd.partitions import class_totals, weighed

            classes, totals = class_totals(labels, weight)
            later: Floats = weighed(labels, weight, classes, self._of_class(classes, totals))
            return later
        classes = np.unique(labels)
        coded = np.searchsorted(classes, labels)
        of_class = self._of_class(classes, np.bincount(coded, weight))
        balanced: Floats = of_class[coded] if weight is None else weight * of_class[coded]
        return balanced

    def _of_class(self, classes: NDArray[Any], totals: NDArray[Any]) -> Floats:
        """Give the weights of classes whose samples weigh so much in total: one stands for all of its class."""
        with np.errstate(divide="ignore"):
            of_class = compute_class_weight(self.class_weight, classes=classes, y=classes, sample_weight=totals)
        if not np.isfinite(of_class).all():
            idle = classes[~np.isfinite(of_class)][0]
            raise ValueError(f"class_weight={self.class_weight!r}: the samples of class {idle} have no finite weight")
        return np.asarray(of_class)

    def decision_function(self, X: Any) -> Floats:
        """Compute the log-odds of ``classes_[1]``, (n,), or the margins of k > 2 classes, (n, k), for X (n, d)."""
        if is_collection(X):
            return self._later("decision_function", X, None if len(self.classes_) == 2 else len(self.classes_))
        z = self._margins(X)
        return z[:, 0] if len(self.classes_) == 2 else z

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the most probable label for X (n, d)."""
        if is_collection(X):
            return self._later("predict", X, None, self.classes_.dtype)
        z = self.decision_function(X)
        labels: NDArray[Any] = self.classes_[(z > 0.0).astype(np.intp) if z.ndim == 1 else np.argmax(z, axis=1)]
        return labels

    def predict_proba(self, X: Any) -> Floats:
        """Predict the probabilities of all classes, (n, k), for X (n, d)."""
        if is_collection(X):
            return self._later("predict_proba", X, len(self.classes_))
        return FitResult.to_probabilities(self.decision_function(X))

    def predict_log_proba(self, X: Any) -> Floats:
        """Predict their logarithms, (n, k), for X (n, d): exact also where a probability rounds to 0 or 1."""
        if is_collection(X):
            return self._later("predict_log_proba", X, len(self.classes_))
        z = self.decision_function(X)
        if z.ndim == 2:
            below = z - z.max(axis=1, keepdims=True)
            return np.asarray(below - np.log(np.exp(below).sum(axis=1, keepdims=True)))
        return -np.logaddexp(0.0, np.column_stack((z, -z)))


def _refuse(name: str, value: Any, supported: Any, instead: str) -> None:
    """Refuse a parameter of scikit-learn's that is set to what fastgd lacks."""
    if value != supported:
        raise ValueError(f"{name}={value!r}; {name}={supported!r} is supported: {instead}")


def _total_weight(y: Any, weight: Any) -> float:
    """Give the sum of the weights, or the number of samples."""
    if is_collection(y):
        from fastgd.partitions import total_weight

        return total_weight(y, weight)
    return float(len(y) if weight is None else np.sum(weight))


def _as_weight(sample_weight: ArrayLike | None, X: NDArray[Any], y: NDArray[Any]) -> Floats | None:
    """Check that there is a target and, if any, a weight for each row of X; one number weighs all rows alike."""
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


def _check_labels(labels: NDArray[Any]) -> None:
    """Check that y holds the labels of classes."""
    if labels.dtype.kind == "f":
        check_vector("y", labels, len(labels))
    check_classification_targets(labels)


def _counterpart(cls: type[_LinearModel]) -> Any:
    from sklearn import linear_model

    return getattr(linear_model, cls._scikit_learns)


def _copy_fitted(fitted: Any, to: Any) -> None:
    """Copy the parameters that both estimators have, but for the solver's name, and what was learned from data."""
    shared = fitted.get_params(deep=False).keys() & to.get_params(deep=False).keys() - {"solver"}
    to.set_params(**{name: deepcopy(getattr(fitted, name)) for name in shared})
    for name in _LEARNED:
        if hasattr(fitted, name):
            setattr(to, name, deepcopy(getattr(fitted, name)))
