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
        """Give the weights of classes whose samples weigh so much in total: one stands for all of its class."""
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
