"""A fitted model: what it predicts, and how it is saved and loaded as JSON. Loading and predicting need no numba."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data.schema import Feature, coef_names
from fastgd._linear.predictor import LinearPredictor
from fastgd._linear.serialization import inference_document, read_fields, write_document
from fastgd._linear.settings import FitSettings
from fastgd._optim.result import ErrorEstimate, History, Result
from fastgd._typing import Floats
from fastgd._utils.validation import check_whole

if TYPE_CHECKING:
    from fastgd._linear.inference.inference import Inference
    from fastgd._linear.inference.summary import Summary

_NAMES = 3
"""Columns that a warning names."""


@dataclass(frozen=True, eq=False, repr=False)
class FitResult(Result):
    """A fitted linear or logistic regression, and how the descent got there.

    Everything is in the user's units: ``z = X @ coef + intercept`` predicts y, or its log-odds.

    Attributes
    ----------
    coef : ndarray of shape (d,), or (k, d) with k targets or k > 2 classes
        The coefficients.
    intercept : float, or ndarray of shape (k,)
        0 if the model has none.
    loss, status, message, history, state
        As in `Result`. ``loss`` includes the penalty. After Newton's last step it is what the step predicts, which
        differs from the value there by less than ``error_estimate.loss_left``.
    spread : ndarray of shape (d,)
        The standard deviation of each feature (root mean square without an intercept): ``coef * spread`` is a
        coefficient's effect per standard deviation.
    classes : ndarray of shape (2,) or (k,), or None
        The labels, sorted; of two, log-odds are of the second. None for regression.
    features : tuple of Feature or None
        The table's columns that the model was fitted on, None for an array.
    redundant_columns : ndarray of int
        The columns that are constant, or linear combinations of the columns before them. Constants are always found,
        combinations where the search costs little beside the fit.
    redundant_tol : float
        In every row, a redundant column differs from the combination by at most this share of the columns' root mean
        squares: what the rounding of numbers can come to.
    error_estimate : ErrorEstimate or None
        How far the last evaluated point was from the minimum, before Newton's step from there was taken. None if that
        is not known.
    rows : int
        Samples the model was fitted on.
    dropped : int
        Rows that were left out by ``missing="drop"``.
    settings : FitSettings
        The arguments of the fit, and what "auto" chose. It reads as a mapping, too.
    version : str
        The version of fastgd that fitted it.
    target_names : tuple of str, or None
        The names of several targets, if y had any: those of its columns.
    inference : Inference or None
        How sure the coefficients are, if the fit was asked for a ``covariance``, or `fastgd.inference` for it later.
    """

    coef: Floats
    intercept: float | Floats
    spread: Floats
    classes: NDArray[Any] | None
    features: tuple[Feature, ...] | None
    redundant_columns: NDArray[np.intp]
    redundant_tol: float
    error_estimate: ErrorEstimate | None
    rows: int
    settings: FitSettings
    version: str
    dropped: int = 0
    target_names: tuple[str, ...] | None = None
    inference: Inference | None = None

    def __repr__(self) -> str:
        """Return one line with what was fitted, and how it ended."""
        return (
            f"<FitResult: {self.settings.loss['name']} loss {self.loss:.6g}, {self.coef.size} coefficients, "
            f"{self.rows} rows. {self.message}>"
        )

    @property
    def nonzero(self) -> NDArray[np.intp]:
        """The columns whose coefficients are not all 0, by number: those that an ``l1`` penalty has left."""
        return np.flatnonzero(np.atleast_2d(self.coef).any(axis=0))

    @property
    def nonzero_names(self) -> list[str]:
        """The names of the coefficients that are not all 0."""
        return coef_names(self.features, self.coef.shape[-1], self.nonzero)

    @property
    def duality_gap(self) -> float:
        """What the objective is above its minimum at most, of fits with ``l1``; NaN if it is not known.

        Of other fits it is an estimate, see `ErrorEstimate.loss_left`.
        """
        return float("nan") if self.error_estimate is None else self.error_estimate.loss_left

    @property
    def redundant(self) -> list[str]:
        """The names of the redundant columns."""
        return coef_names(self.features, self.coef.shape[-1], self.redundant_columns)

    @property
    def rank(self) -> int:
        """The number of coefficients of an output, without the intercept, that the samples determine."""
        return int(self.coef.shape[-1]) - len(self.redundant_columns)

    def concerns(self) -> list[tuple[type[Warning], str]]:
        """Return the warnings that the fit gives rise to, as categories and texts."""
        found = super().concerns()
        count = len(self.redundant_columns)
        if count and self.settings.l1 == self.settings.l2 == 0.0 and self.status.chosen:
            some = ", ".join(coef_names(self.features, self.coef.shape[-1], self.redundant_columns[:_NAMES]))
            more = f" and {count - _NAMES} more" if count > _NAMES else ""
            text = (
                f"rank {self.rank} of {self.coef.shape[-1]}: the samples do not determine all coefficients, as these "
                f"columns are constant or combinations of others, to within {self.redundant_tol:.1g} of their sizes: "
                f"{some}{more}. The smallest of all coefficients that fit alike are returned, as far as rounding "
                "allows; drop columns, or add a penalty (l2 > 0)"
            )
            found.append((np.exceptions.RankWarning, text))
        return found

    @property
    def coef_names(self) -> list[str]:
        """The coefficients' names: columns, ``carrier[UA]`` for a level, x0, x1, ... for an array."""
        return coef_names(self.features, self.coef.shape[-1])

    @property
    def output_names(self) -> list[str]:
        """The names of the rows of ``coef``: classes, targets, or numbers from 0; empty if there is a single one."""
        if self.coef.ndim == 1:
            return []
        if self.classes is not None:
            return [str(label) for label in self.classes.tolist()]
        return [*(self.target_names or map(str, range(len(self.coef))))]

    def predictor(self, *, unseen: str = "error") -> LinearPredictor:
        """Return the model alone, without its history."""
        coef, intercept = np.atleast_2d(self.coef), np.atleast_1d(self.intercept)
        return LinearPredictor(coef, intercept, self.features, self.classes, self.coef.ndim == 1, unseen)

    def decision_function(self, X: Any, *, unseen: str = "error") -> Floats:
        """Compute the linear predictors ``z = X @ coef + intercept``.

        Parameters
        ----------
        X : array-like of shape (n, d), or a table
            A table's columns are taken by the names they had in the fit, in any order; others are ignored. Of a Dask
            array or dataframe a Dask array is returned, which computes when it is asked to.
        unseen : {"error", "zero"}
            What to do with levels of a category that the fit did not have: refuse them, or have them add nothing. A
            level that adds nothing is predicted like the reference, where there is one.

        Returns
        -------
        ndarray of shape (n,), or (n, k) with k targets or k > 2 classes

        Raises
        ------
        ValueError
            If X lacks columns, or contains NaN or infinity, or a level that the fit did not have, or a prediction is
            too large for float64.
        """
        return self.predictor(unseen=unseen).decision_function(X)

    def predict(self, X: Any, *, unseen: str = "error", interval: float | None = None) -> Any:
        """Predict y, or for classes the most probable label.

        Parameters
        ----------
        X, unseen
            As for `decision_function`.
        interval : float, optional
            Return intervals, too, that hold the truth in this share of fits, such as 0.95 (extra: inference).

        Returns
        -------
        ndarray of shape (n,), or (n, k) with k targets
            With ``interval`` a `PredictionInterval` of such arrays: ``mean`` (of two classes the probability of the
            second one), ``lower``, ``upper``, and of the squared loss ``observation_lower`` and
            ``observation_upper``.

        Raises
        ------
        ValueError
            As for `decision_function`; for ``interval``, if the fit has no ``inference``, or more than two classes.

        Examples
        --------
        >>> import numpy as np, fastgd
        >>> X = np.array([[1.0], [2.0], [3.0], [4.0]])
        >>> result = fastgd.fit(X, [1.0, 3.0, 2.0, 4.0], covariance="classical")
        >>> predicted = result.predict([[2.5]], interval=0.95)
        >>> predicted.mean.round(3).tolist(), predicted.lower.round(3).tolist(), predicted.upper.round(3).tolist()
        ([2.5], [0.459], [4.541])
        """
        if interval is None:
            return self.predictor(unseen=unseen).predict(X)
        if self.inference is None:
            raise ValueError("interval: the fit has no inference; give fit covariance=, or call fastgd.inference")
        from fastgd._linear.inference.intervals import predict_interval

        return predict_interval(self.predictor(unseen=unseen), self.inference, X, interval)

    def summary(self, *, level: float = 0.95, most: int | str = 100) -> Summary:
        """Return a summary: what was fitted, how well it describes the samples, and how sure coefficients are.

        Parameters
        ----------
        level : float
            Of the intervals.
        most : int or "all"
            Coefficients of an output at most. A note says how many are left out.

        Returns
        -------
        Summary
            ``print`` gives text, a notebook shows a table. Without ``inference`` it has the coefficients alone.
        """
        from fastgd._linear.inference.inference import check_level
        from fastgd._linear.inference.summary import summary_of

        if isinstance(most, str) and most != "all":
            raise ValueError(f"most={most!r}; a whole number, or 'all', is needed")
        if not isinstance(most, str):
            check_whole("most", most, 1)
        return summary_of(self, check_level("level", level), None if isinstance(most, str) else int(most))

    def _repr_html_(self) -> str:
        """Return the summary for a notebook; without its tests if they cannot be computed here."""
        from html import escape

        try:
            return f"<p>{escape(self.message)}</p>{self.summary()._repr_html_()}"
        except ImportError:  # of scipy
            return f"<p>{escape(repr(self))}</p>"

    def predict_proba(self, X: Any, *, unseen: str = "error") -> Floats:
        """Predict the probabilities of all classes, (n, k); arguments as for `decision_function`.

        Raises
        ------
        TypeError
            If the model is a regression.
        """
        if self.classes is None:
            raise TypeError(f"a model with {self.settings.loss['name']} loss has no probabilities; use predict")
        return self.predictor(unseen=unseen).predict_proba(X)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as JSON. The file appears whole or not at all.

        Raises
        ------
        OSError
            If it cannot be written; what stood at ``path`` is unchanged.
        """
        document = {
            "version": self.version,
            "coef_names": self.coef_names,
            "coef": self.coef.tolist(),
            "intercept": np.asarray(self.intercept).tolist(),
            "spread": self.spread.tolist(),
            "features": None if self.features is None else [f._asdict() for f in self.features],
            "target_names": None if self.target_names is None else [*self.target_names],
            "classes": None if self.classes is None else self.classes.tolist(),
            "classes_dtype": None if self.classes is None else self.classes.dtype.str,
            "redundant": self.redundant,
            "redundant_tol": self.redundant_tol,
            "error_estimate": None if self.error_estimate is None else list(self.error_estimate),
            "rows": self.rows,
            "dropped": self.dropped,
            "loss": self.loss,
            "status": self.status.name,
            "message": self.message,
            "settings": dict(self.settings),
            "inference": None if self.inference is None else inference_document(self.inference),
            "history": {field.name: getattr(self.history, field.name).tolist() for field in fields(History)},
        }
        write_document(path, document)


def load(path: str | os.PathLike[str]) -> FitResult:
    """Read a model that `FitResult.save` wrote. Only data is read: nothing in the file is ever executed.

    Raises
    ------
    ValueError
        If the file is not such a model, or not as it was saved, naming what is wrong with it.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile, fastgd
    >>> result = fastgd.fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result.save(f"{folder}/model.json")
    ...     fastgd.load(f"{folder}/model.json").predict([[3.0]]).round(6).tolist()
    [7.0]
    """
    return FitResult(**read_fields(path))
