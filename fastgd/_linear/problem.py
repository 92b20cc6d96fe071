"""What is to be minimised, before its samples have been read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data.dataset import Source
from fastgd._data.design import Matrix
from fastgd._data.schema import Feature, coef_names
from fastgd._linear.objective import Objective
from fastgd._linear.result import FitResult
from fastgd._linear.statistics import Moments, first_reading
from fastgd._optim.base import Evaluation
from fastgd._optim.result import Result
from fastgd._typing import Floats
from fastgd._utils.validation import as_point
from fastgd.losses import Loss


@dataclass(frozen=True)
class Model:
    """What is to be minimised, before the moments of its samples are known.

    ``check`` raises an error if a source's moments are of no use; the rest as for `Objective`.
    """

    loss: Loss
    l2: float
    intercept: bool
    standardize: bool
    n_threads: int | None
    check: Callable[[Moments, Source], None]
    outputs: int = 1

    def objective(self, source: Source, moments: Moments) -> Objective:
        """Give the objective over a source of these moments."""
        self.check(moments, source)
        return Objective(
            source, self.loss, self.l2, moments, self.intercept, self.standardize, self.n_threads, self.outputs
        )

    def coupled(self, d: int) -> int:
        """Say how many coefficients of d features depend on each other."""
        return (d + self.intercept) * (self.outputs if self.loss.joint else 1)

    def zeros(self, d: int) -> tuple[Floats, Floats]:
        """Give coefficients and intercepts of 0."""
        return np.zeros((self.outputs, d)), np.zeros(self.outputs)

    def read(self, source: Source, coef: Floats, intercept: Floats) -> tuple[Objective, Evaluation]:
        """Give the objective over a source, and its evaluation at some coefficients, from one reading."""
        moments, sums = first_reading(
            source, self.loss, coef, intercept, about_mean=self.intercept, n_threads=self.n_threads
        )
        objective = self.objective(source, moments)
        with np.errstate(over="ignore", invalid="ignore"):  # descent refuses a start that is not finite
            return objective, objective.evaluation(coef, sums)


def check_for_partitions(solver: str, n_threads: int | None) -> None:
    """Refuse what means nothing for samples in partitions, before they are read."""
    if solver == "sgd":
        raise ValueError(
            "solver='sgd' goes from batch to batch, and of partitions every one would be a round of messages; choose "
            "'newton' or 'lbfgs', which go from reading to reading"
        )
    if n_threads is not None:
        raise ValueError(f"n_threads={n_threads}: of Dask's partitions each task takes one thread; leave it out")


def check_determined(features: tuple[Feature, ...] | None, l2: float, intercept: bool) -> None:
    """Refuse coefficients that the data can't tell apart: of all levels, which add up to 1 as the intercept does."""
    full = [feature.name for feature in features or () if feature.levels is not None and not feature.reference]
    if l2 == 0.0 and full and len(full) + intercept > 1:
        raise ValueError(
            f"drop_first=False gives every level of {', '.join(full)} a coefficient, which without a penalty are not "
            "determined; give l2 > 0, or drop_first=True"
        )


def start_coefs(
    start: Any, shape: tuple[int, int], intercept: bool, classes: NDArray[Any] | None, source: Matrix | Source
) -> tuple[Floats, Floats] | str | None:
    """Give the coefficients (outputs, d) and the intercepts to begin at; "random" and None as they are."""
    outputs, d = shape
    if start is None:
        return None
    if isinstance(start, str):
        if start != "random":
            raise ValueError(f"start={start!r}; an array, an earlier result, 'random' or None is needed")
        return start
    if isinstance(start, Result) and not isinstance(start, FitResult):
        raise TypeError("start is the result of minimize; the result of a fit, or an array, is needed")
    if isinstance(start, FitResult):
        if source.features is not None and start.features is not None and source.features != start.features:
            raise ValueError("start was fitted on other columns or levels than X has, or in another order")
        if (start.classes is None) != (classes is None):
            raise ValueError("start is a regression and the fit a classification, or the other way round")
        coef, b = np.atleast_2d(start.coef), np.atleast_1d(start.intercept)
        if coef.shape[1] != d:
            raise ValueError(f"start has {coef.shape[1]} coefficients; X has {d} features")
        if coef.shape[0] != outputs:
            raise ValueError(f"start has {coef.shape[0]} outputs; y needs {outputs}")
    else:
        point = as_point(start)
        wanted = (d + intercept,) if outputs == 1 else (outputs, d + intercept)
        if point.shape != wanted and point.shape != (outputs, d + intercept):
            what = "the coefficients, then the intercept" if intercept else "the coefficients"
            raise ValueError(
                f"start has shape {point.shape}; {wanted} is needed: {what}; a warm start has those of the last fit"
            )
        rows = point.reshape(outputs, -1)
        coef, b = rows[:, :d], rows[:, -1]
    if source.order is not None:
        coef, given = np.empty_like(coef), coef
        coef[:, source.order] = given
    return coef, b if intercept else np.zeros(outputs)


def check_moments(statistics: Moments, source: Source, *, measured: bool, whole: bool = True) -> None:
    """Find out what is wrong where a mean or spread is not finite, or where one of all rows hides differences.

    Those of y mean nothing unless it is measured.
    """
    finite = np.isfinite(statistics.mean) & np.isfinite(statistics.spread)
    if not finite.all():
        source.check_finite()
        column = int(np.argmin(finite))
        if source.order is not None:
            column = int(np.flatnonzero(source.order == column)[0])
        name = coef_names(source.features, source.shape[1])[column]
        if source.features is not None:  # of which a category is one column
            column = int(np.repeat(np.arange(len(source.features)), [each.width for each in source.features])[column])
        raise ValueError(
            f"X: the values of column {column} ({name}) are so large or so close "
            "that squares overflow or underflow; rescale it"
        )
    if measured and not np.isfinite(statistics.y_spread).all():
        raise ValueError("y: values are so large or so close that squares overflow or underflow; rescale it")
    if whole:
        source.check_differences((statistics.spread == 0.0) & (statistics.mean != 0.0))
