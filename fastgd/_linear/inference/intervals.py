"""Intervals of predictions: of the mean of y at a sample, and of the squared loss of a single new y."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from fastgd._data.design import Design, tile_ranges
from fastgd._data.map_rows import map_rows
from fastgd._linear.inference.inference import Inference, check_level
from fastgd._linear.predictor import LinearPredictor, probabilities
from fastgd._typing import Floats

_SAME = 1e-6
"""Linear predictors of two models that differ by no more than this share of their sizes are the same."""


class PredictionInterval(NamedTuple):
    """Predictions, and between what they may lie.

    Attributes
    ----------
    mean : ndarray of shape (n,), or (n, k) of several targets
        What y is expected to be; of two classes the probability of the second one.
    lower, upper : ndarray
        An interval that holds the true mean in a share ``interval`` of fits; NaN for rows in which redundant columns
        are not what they were in the fit, as nothing is known about these.
    observation_lower, observation_upper : ndarray or None
        Of the squared loss, an interval that holds a new y of weight 1 in such a share; it assumes that errors are
        normal and all of the same variance. Otherwise None.
    """

    mean: Floats
    lower: Floats
    upper: Floats
    observation_lower: Floats | None = None
    observation_upper: Floats | None = None


def predict_interval(model: LinearPredictor, inference: Inference, X: Any, interval: Any) -> PredictionInterval:
    """Return predictions with intervals; a ValueError if the model has none.

    Parameters
    ----------
    model : LinearPredictor
    inference : Inference
        Of the same fit.
    X : array-like, table or Dask collection
    interval : float
    """
    from fastgd._utils.distributions import quantile

    level = check_level("interval", interval)
    if model.classes is not None and len(model.classes) > 2:
        raise ValueError(f"interval={interval}: the model has {len(model.classes)} classes; there are intervals of two")
    reach = quantile(0.5 + 0.5 * level, inference.df)
    factors = np.swapaxes(inference.factors, 1, 2)
    d = model.coef.shape[1]
    slopes, constants = factors[:, :, :d], factors[:, :, d:].sum(axis=2)
    reduced = None
    if inference.undetermined.any():
        own = inference.coef.reshape(len(model.coef), -1)
        reduced = replace(model, coef=own[:, :d], intercept=own[:, d:].sum(axis=1))
    variances = None if inference.variances is None else inference.variances[:, :d]
    work = _Work(model, reduced, slopes, constants, variances, reach, inference.scale, inference.quadratic)
    whole = map_rows(X, work, (5 if inference.quadratic else 3) * len(model.coef), np.float64)
    k = len(model.coef)
    parts = [whole[:, first : first + k] for first in range(0, whole.shape[1], k)]
    return PredictionInterval(*(each[:, 0] if model.flat else each for each in parts))


@dataclass(frozen=True)
class _Work:
    """Gives rows of X their columns of a `PredictionInterval`, one after the other.

    Rows in which redundant columns are not what they were in the fit have no interval: there a model without these
    columns, ``reduced``, predicts something else.

    The variances of levels, ``variances`` of shape (k, d), come on top of what ``slopes`` say.
    """

    model: LinearPredictor
    reduced: LinearPredictor | None
    slopes: Floats
    constants: Floats
    variances: Floats | None
    reach: float
    scale: Floats
    quadratic: bool

    def __call__(self, X: Any) -> Floats:
        """Return the columns (n, fields k)."""
        design, k = self.model.design(X), len(self.model.coef)
        eta = self.model.linear_predictor(design).reshape(-1, k)
        errors = np.empty_like(eta)
        for start, stop in tile_ranges(design, self._tile_bytes(design)):
            rows = design.copy_rows(np.arange(start, stop))
            for number, (slopes, constants) in enumerate(zip(self.slopes, self.constants, strict=True)):
                errors[start:stop, number] = np.linalg.norm(rows.linear_predictor(slopes, constants), axis=1)
            if self.variances is not None:  # of levels, whose columns are 0 or 1
                more = rows.linear_predictor(self.variances, np.zeros(k)).reshape(-1, k)
                errors[start:stop] = np.sqrt(errors[start:stop] ** 2 + more)
        if self.reduced is not None:
            other = self.reduced.linear_predictor(design).reshape(-1, k)
            errors[np.abs(eta - other) > _SAME * (np.abs(eta) + np.abs(other) + np.sqrt(self.scale))] = np.nan
        columns = [eta, eta - self.reach * errors, eta + self.reach * errors]
        if self.model.classes is not None:
            columns = [probabilities(each[:, 0])[:, 1:] for each in columns]
        if self.quadratic:
            spread = self.reach * np.hypot(errors, np.sqrt(self.scale))
            columns += [eta - spread, eta + spread]
        return np.hstack(columns)

    def _tile_bytes(self, design: Design) -> int:
        """Return the bytes of rows whose products with all columns of a factor take a few MB."""
        rows = max(64, (1 << 22) // (8 * self.slopes.shape[1]))
        return int(rows * design.row_bytes)
