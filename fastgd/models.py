"""A fitted model: what it predicts, and how it is saved and loaded as JSON. Loading and predicting need no numba."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd.descent import Floats, History, Result, Row, Status
from fastgd.sources import Feature, coef_names
from fastgd.tables import as_features
from fastgd.writing import replacing

FORMAT = "fastgd-model"
FORMAT_VERSION = 4


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
    loss, status, message, history
        As in `Result`. ``loss`` includes the penalty.
    spread : ndarray of shape (d,)
        The standard deviation of each feature (root mean square without an intercept): ``coef * spread`` is a
        coefficient's effect per standard deviation.
    classes : ndarray of shape (2,) or (k,), or None
        The labels, sorted; of two, log-odds are of the second. None for regression.
    features : tuple of Feature or None
        The table's columns that the model was fitted on, None for an array.
    redundant : list of str
        The names of columns that are constant, or linear combinations of the columns before them. Constants are always
        found, combinations where the search costs little beside the fit.
    rows : int
        Samples the model was fitted on.
    settings : dict
        The arguments of the fit, and the solver that "auto" chose.
    version : str
        The version of fastgd that fitted it.
    """

    intercept: float | Floats
    spread: Floats
    classes: NDArray[Any] | None
    features: tuple[Feature, ...] | None
    redundant: list[str]
    rows: int
    settings: dict[str, Any]
    version: str

    def __repr__(self) -> str:
        """Say what was fitted, and how it ended."""
        return (
            f"<FitResult: {self.settings['loss']['name']} loss {self.loss:.6g}, {self.coef.size} coefficients, "
            f"{self.rows} rows. {self.message}>"
        )

    @property
    def coef_names(self) -> list[str]:
        """The coefficients' names: columns, ``carrier[UA]`` for a level, x0, x1, ... for an array."""
        return coef_names(self.features, self.coef.shape[-1])

    def decision_function(self, X: Any, *, unseen: str = "error") -> Floats:
        """Compute the margins ``z = X @ coef + intercept``.

        Parameters
        ----------
        X : array-like of shape (n, d), or a table
            A table's columns are taken by the names they had in the fit, in any order; others are ignored.
        unseen : {"error", "zero"}
            What to do with levels of a category that the fit did not have: refuse them, or have them add nothing. A
            level that adds nothing is predicted like the reference, where there is one.

        Returns
        -------
        ndarray of shape (n,), or (n, k) with k targets or k > 2 classes

        Raises
        ------
        ValueError
            If X lacks columns, or contains NaN or infinity, or a level that the fit did not have.
        """
        matrix = as_features(X, features=self.features, unseen=unseen)
        if matrix.shape[1] != self.coef.shape[-1]:
            raise ValueError(f"X has {matrix.shape[1]} features, but the model was fitted on {self.coef.shape[-1]}")
        z = matrix.margins(np.atleast_2d(self.coef), np.atleast_1d(self.intercept))
        return z if self.coef.ndim == 2 else z[:, 0]

    def predict(self, X: Any, *, unseen: str = "error") -> NDArray[Any]:
        """Predict y, or for classes the most probable label; arguments as for `decision_function`."""
        z = self.decision_function(X, unseen=unseen)
        return z if self.classes is None else self.to_labels(z)

    def predict_proba(self, X: Any, *, unseen: str = "error") -> Floats:
        """Predict the probabilities of all classes, (n, k); arguments as for `decision_function`.

        Raises
        ------
        TypeError
            If the model is a regression.
        """
        if self.classes is None:
            raise TypeError(f"a model with {self.settings['loss']['name']} loss has no probabilities; use predict")
        return self.to_probabilities(self.decision_function(X, unseen=unseen))

    def to_labels(self, margins: Floats) -> NDArray[Any]:
        """Give the most probable label, (n,), for log-odds (n,) or margins (n, k)."""
        assert self.classes is not None  # noqa: S101  whoever calls has looked
        chosen = (margins > 0.0).astype(np.intp) if margins.ndim == 1 else np.argmax(margins, axis=1)
        labels: NDArray[Any] = self.classes[chosen]
        return labels

    @staticmethod
    def to_probabilities(margins: Floats) -> Floats:
        """Give the probabilities of all classes, (n, k), for log-odds (n,) or margins (n, k).

        None is rounded to 0 too early.
        """
        if margins.ndim == 2:
            shares = np.exp(margins - margins.max(axis=1, keepdims=True))
            return np.asarray(shares / shares.sum(axis=1, keepdims=True))
        e = np.exp(-np.abs(margins))
        larger, smaller = 1.0 / (1.0 + e), e / (1.0 + e)
        positive = margins > 0.0
        return np.column_stack((np.where(positive, smaller, larger), np.where(positive, larger, smaller)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as JSON. The file appears whole or not at all.

        Raises
        ------
        OSError
            If it cannot be written; what stood at ``path`` is unchanged.
        """
        document = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "version": self.version,
            "coef_names": self.coef_names,
            "coef": self.coef.tolist(),
            "intercept": np.asarray(self.intercept).tolist(),
            "spread": self.spread.tolist(),
            "features": None if self.features is None else [f._asdict() for f in self.features],
            "classes": None if self.classes is None else self.classes.tolist(),
            "classes_dtype": None if self.classes is None else self.classes.dtype.str,
            "redundant": self.redundant,
            "rows": self.rows,
            "loss": self.loss,
            "status": self.status.name,
            "message": self.message,
            "settings": self.settings,
            "history": {
                field.name: [_to_json(value) for value in getattr(self.history, field.name).tolist()]
                for field in fields(History)
            },
        }
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(document, indent=1, allow_nan=False), encoding="utf-8")


def load(path: str | os.PathLike[str]) -> FitResult:
    """Read a model that `FitResult.save` wrote. Only data is read: nothing in the file is ever executed.

    Raises
    ------
    ValueError
        If the file is not such a model, naming what is wrong with it.
    OSError
        If it cannot be read.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a fastgd model: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"{path} is not a fastgd model: it does not say format: {FORMAT}")
    if document.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format_version {document.get('format_version')}; this fastgd reads {FORMAT_VERSION}"
        )
    try:
        return _from_document(document)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path} is a damaged fastgd model: {type(error).__name__}: {error}") from None


def _from_document(document: dict[str, Any]) -> FitResult:
    coef, intercept, spread = (_numbers(document[name]) for name in ("coef", "intercept", "spread"))
    features = document["features"]
    if features is not None:
        features = tuple(_feature(feature) for feature in features)
    if (
        coef.ndim not in (1, 2)
        or intercept.shape != coef.shape[:-1]
        or spread.shape != coef.shape[-1:]
        or coef_names(features, len(spread)) != document["coef_names"]
    ):
        raise ValueError("coef, intercept, coef_names, features and spread do not fit together")
    classes = document["classes"]
    if classes is not None:
        dtype = np.dtype(document["classes_dtype"])
        if dtype.kind not in "biufU" or len(classes) != (2 if coef.ndim == 1 else len(coef)):
            raise ValueError("classes must be numbers or strings, two or one for each row of coef")
        classes = np.array(classes, dtype=dtype)
    redundant = document["redundant"]
    if not isinstance(redundant, list) or not set(redundant) <= set(document["coef_names"]):
        raise ValueError("redundant must be names of coefficients")
    settings = document["settings"]
    if not isinstance(settings, dict) or not isinstance(settings["loss"]["name"], str):
        raise ValueError("settings must name the loss")
    history = document["history"]
    rows = [Row(*values) for values in zip(*([float(v) for v in history[name]] for name in Row._fields), strict=True)]
    if not rows:
        raise ValueError("the history is empty")
    return FitResult(
        coef=coef,
        loss=float(document["loss"]),
        status=Status[document["status"]],
        message=str(document["message"]),
        history=History.from_rows(rows),
        intercept=intercept if intercept.ndim else float(intercept),
        spread=spread,
        classes=classes,
        features=features,
        redundant=redundant,
        rows=int(document["rows"]),
        settings=settings,
        version=str(document["version"]),
    )


def _to_json(number: float) -> float | str:
    """Give what JSON can hold: infinity and NaN, in rows of rejected points, as text that `float` reads."""
    return number if np.isfinite(number) else str(number)


def _feature(entry: dict[str, Any]) -> Feature:
    name, levels, reference = entry["name"], entry["levels"], entry["reference"]
    if not isinstance(name, str) or not (levels is None or all(isinstance(level, str) for level in levels)):
        raise ValueError("features must have a name and levels of text")
    if not isinstance(reference, bool):
        raise ValueError("features must say whether the first level is the reference")
    return Feature(name, None if levels is None else tuple(levels), reference)


def _numbers(values: ArrayLike | Sequence[float]) -> Floats:
    numbers = np.array(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError("finite numbers are needed")
    return numbers
