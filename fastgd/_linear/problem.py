"""A model and its data, before the statistics of the samples are known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastgd._data.dataset import Dataset, OpenedDataset
from fastgd._data.schema import Feature, coef_names
from fastgd._kernels.threads import max_threads
from fastgd._linear.objective import Coefficients, LinearObjective, ModelSpec
from fastgd._linear.statistics import Moments, first_pass
from fastgd._optim.base import Evaluation
from fastgd._utils.validation import check_whole
from fastgd.losses import REAL


@dataclass(frozen=True)
class LinearProblem:
    """What is to be minimised over which samples.

    Attributes
    ----------
    spec : ModelSpec
        With the loss for as many classes as there are.
    dataset : Dataset
    outputs : int
        Linear predictors of a sample.
    n_threads : int or None
    """

    spec: ModelSpec
    dataset: Dataset
    outputs: int
    n_threads: int | None = None

    def objective(self, dataset: Dataset, moments: Moments) -> LinearObjective:
        """Return the objective over these samples or some of them, given their moments."""
        return LinearObjective(dataset, self.spec, moments, self.n_threads, self.outputs)

    def check_moments(self, moments: Moments, dataset: Dataset) -> None:
        """Raise ValueError if the moments of these samples or some of them are of no use, saying what is wrong."""
        measured, whole = self.spec.loss.target is REAL, dataset.shape == self.dataset.shape
        check_moments(moments, self.dataset, measured=measured, whole=whole)

    @property
    def coupled(self) -> int:
        """How many coefficients depend on each other: the size of a Hessian."""
        row_size = self.dataset.shape[1] + self.spec.intercept
        return row_size * (self.outputs if self.spec.loss.multiclass else 1)

    @property
    def zeros(self) -> Coefficients:
        """Coefficients and intercepts of 0."""
        return Coefficients(np.zeros((self.outputs, self.dataset.shape[1])), np.zeros(self.outputs))

    def first_pass(self, dataset: Dataset, at: Coefficients) -> tuple[LinearObjective, Evaluation]:
        """Return the objective over these samples or some of them, and its evaluation at coefficients: one pass."""
        coef, intercept = dataset.to_tile_order(at.coef), at.intercept
        moments, sums = first_pass(
            dataset, self.spec.loss, coef, intercept, about_mean=self.spec.intercept, n_threads=self.n_threads
        )
        self.check_moments(moments, dataset)
        objective = self.objective(dataset, moments)
        with np.errstate(over="ignore", invalid="ignore"):  # the loop refuses a start that is not finite
            return objective, objective.evaluation(coef, sums)


def check_moments(moments: Moments, dataset: Dataset, *, measured: bool, whole: bool = True) -> None:
    """Raise ValueError where a mean or spread is not finite, or where one of all rows hides differences.

    Those of y mean nothing unless it is measured.
    """
    finite = dataset.to_caller_order(np.isfinite(moments.mean) & np.isfinite(moments.spread))
    if not finite.all():
        dataset.check_finite()
        column = int(np.argmin(finite))
        name = coef_names(dataset.features, dataset.shape[1])[column]
        if dataset.features is not None:  # of which a category is one column
            column = int(np.repeat(np.arange(len(dataset.features)), [each.width for each in dataset.features])[column])
        raise ValueError(
            f"X: the values of column {column} ({name}) are so large or so close "
            "that squares overflow or underflow; rescale it"
        )
    if measured and not np.isfinite(moments.y_spread).all():
        raise ValueError("y: values are so large or so close that squares overflow or underflow; rescale it")
    if whole:
        dataset.check_differences((moments.spread == 0.0) & (moments.mean != 0.0))


def check_determined(features: tuple[Feature, ...] | None, spec: ModelSpec) -> None:
    """Raise ValueError for coefficients of all levels without a penalty: they add up to 1, as the intercept does."""
    full = [feature.name for feature in features or () if feature.levels is not None and not feature.reference]
    if spec.penalty.is_zero and full and len(full) + spec.intercept > 1:
        raise ValueError(
            f"drop_first=False gives every level of {', '.join(full)} a coefficient, which without a penalty are not "
            "determined; give l2 > 0, or drop_first=True"
        )


def without_fills(features: tuple[Feature, ...]) -> list[Feature]:
    """Return features without what stands for missing numbers, which depends on the rows of a fit."""
    return [feature._replace(fill=None) for feature in features]


def linear_problem(opened: OpenedDataset, spec: ModelSpec, n_threads: int | None) -> LinearProblem:
    """Return the problem of fitting a model to the samples that a caller gave."""
    return LinearProblem(replace(spec, loss=opened.loss), opened.dataset, opened.outputs, n_threads)


def check_threads(n_threads: Any) -> int | None:
    """Return the number of threads that a caller asked for; a TypeError or ValueError if it is not possible."""
    if n_threads is None:
        return None
    check_whole("n_threads", n_threads, 1)
    if n_threads > max_threads():
        raise ValueError(f"n_threads={int(n_threads)}; at most {max_threads()} (NUMBA_NUM_THREADS) are possible")
    return int(n_threads)
