"""LogisticRegression."""

from __future__ import annotations

import warnings
from dataclasses import KW_ONLY, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import compute_class_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from fastgd._data.columns import is_collection
from fastgd._data.targets import all_classes, encode_labels
from fastgd._linear.result import FitResult
from fastgd._optim.result import Status
from fastgd._typing import Floats
from fastgd._utils.validation import check_not_masked, check_vector
from fastgd.linear_model._base import LinearModel, as_weight, check_unsupported


@dataclass(eq=False, repr=False)
class LogisticRegression(ClassifierMixin, LinearModel):  # type: ignore[misc]
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
    dual : bool
        False: there is no dual solver.
    intercept_scaling : float
        1: an intercept that is not penalised needs no scaling.
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

    Attributes
    ----------
    coef_ : ndarray of shape (1, d) for two classes, (k, d) for k of them
    intercept_ : ndarray of shape (1,) or (k,)
    classes_ : ndarray
        The labels, sorted.
    n_iter_ : ndarray of shape (1,)
    n_features_in_, feature_names_in_
        As in scikit-learn.
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
    >>> from fastgd.linear_model import LogisticRegression
    >>> model = LogisticRegression().fit([[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"])
    >>> model.predict([[0.4], [2.6]]).tolist()
    ['no', 'yes']
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

    @available_if(LinearModel._learns_by_chunks)  # type: ignore[untyped-decorator]
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
                codes = encode_labels(labels, len(labels), known).astype(np.intp)
                of_class = compute_class_weight(self.class_weight, classes=known, y=known)[codes]
                weight = of_class if weight is None else weight * of_class
            self._learn(X, labels, weight, known)
        return self

    def _samples(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> tuple[Any, NDArray[Any], Floats | None]:
        check_unsupported("l1_ratio", self.l1_ratio, 0.0, "use scikit-learn's estimator for an L1 penalty")
        check_unsupported("dual", self.dual, False, "the minimum of the primal is the same")
        check_unsupported(
            "intercept_scaling", self.intercept_scaling, 1, "the intercept is not penalised, so it needs none"
        )
        if self.penalty != "deprecated":
            self._say_what_replaces_penalty()
        X = self._read(X, reset=reset)
        if is_collection(X):
            return X, y, sample_weight
        check_not_masked("y", y)
        labels = column_or_1d(y, warn=True)
        return X, labels, as_weight(sample_weight, X, labels)

    def _keep(self, result: FitResult) -> None:
        self.result_, self.classes_ = result, np.asarray(result.classes)
        self.coef_, self.intercept_ = np.atleast_2d(result.coef), np.atleast_1d(result.intercept)
        self.n_iter_ = np.array([result.n_iter or int(result.status is Status.READ_ONCE)])

    def _balanced(self, labels: NDArray[Any], weight: Floats | None) -> Floats:
        """Multiply the weights by those of the classes."""
        if is_collection(labels):
            from fastgd._data.dask import class_totals, weighed

            classes, totals = class_totals(labels, weight)
            later: Floats = weighed(labels, weight, classes, self._of_class(classes, totals))
            return later
        classes = np.unique(labels)
        codes = np.searchsorted(classes, labels)
        of_class = self._of_class(classes, np.bincount(codes, weight))
        balanced: Floats = of_class[codes] if weight is None else weight * of_class[codes]
        return balanced

    def _of_class(self, classes: NDArray[Any], totals: NDArray[Any]) -> Floats:
        """Return the weights of classes whose samples weigh so much in total: one stands for all of its class."""
        with np.errstate(divide="ignore"):
            of_class = compute_class_weight(self.class_weight, classes=classes, y=classes, sample_weight=totals)
        if not np.isfinite(of_class).all():
            idle = classes[~np.isfinite(of_class)][0]
            raise ValueError(f"class_weight={self.class_weight!r}: the samples of class {idle} have no finite weight")
        return np.asarray(of_class)

    def decision_function(self, X: Any) -> Floats:
        """Compute log-odds of ``classes_[1]``, (n,), or linear predictors of k > 2 classes, (n, k), for X (n, d)."""
        return self._predictor().decision_function(self._read(X, reset=False))

    def predict(self, X: Any) -> NDArray[Any]:
        """Predict the most probable label for X (n, d); of a Dask collection a Dask array."""
        return self._predictor().predict(self._read(X, reset=False))

    def predict_proba(self, X: Any) -> Floats:
        """Predict the probabilities of all classes, (n, k), for X (n, d)."""
        return self._predictor().predict_proba(self._read(X, reset=False))

    def predict_log_proba(self, X: Any) -> Floats:
        """Predict their logarithms, (n, k), for X (n, d): exact also where a probability rounds to 0 or 1."""
        return self._predictor().predict_log_proba(self._read(X, reset=False))


def _check_labels(labels: NDArray[Any]) -> None:
    """Check that y holds the labels of classes."""
    if labels.dtype.kind == "f":
        check_vector("y", labels, len(labels))
    check_classification_targets(labels)
