"""From what a caller gives to a problem: samples are opened, checked, and taken about a pivot where they are far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data.dataset import Dataset, OpenedDataset, check_not_empty, far_pivot
from fastgd._data.encoder import OpenRequest
from fastgd._data.open import open_dataset
from fastgd._data.schema import Feature, coef_names
from fastgd._linear.objective import Coefficients, ModelSpec, shifted_intercept
from fastgd._linear.problem import LinearProblem, check_determined, linear_problem, without_fills
from fastgd._linear.result import FitResult
from fastgd._optim.result import Result
from fastgd._typing import Floats
from fastgd._utils.interrupts import ClusterLost, Interrupted
from fastgd._utils.validation import as_point
from fastgd.exceptions import ClusterError
from fastgd.penalties import ElasticNet


def open_problem(
    X: Any, y: Any, request: OpenRequest, spec: ModelSpec, n_threads: int | None, penalty_factor: Any = None
) -> tuple[OpenedDataset, LinearProblem]:
    """Open the samples, and return them with the problem of fitting a model to them.

    Ctrl-C before anything is known is a KeyboardInterrupt.
    """
    try:
        opened = open_dataset(X, y, request)
    except ClusterLost:
        raise
    except Interrupted:
        raise KeyboardInterrupt from None
    check_not_empty(opened.dataset)
    check_determined(opened.dataset.features, spec)
    pivot = far_pivot(opened.dataset) if spec.intercept else None
    if pivot is not None:
        opened = opened._replace(dataset=opened.dataset.recentred(pivot))
    if penalty_factor is not None and isinstance(spec.penalty, ElasticNet):
        factor = coef_factors(penalty_factor, opened.dataset)
        spec = replace(spec, penalty=replace(spec.penalty, factor=opened.dataset.to_tile_order(factor[None])[0]))
    return opened, linear_problem(opened, spec, n_threads)


def coef_factors(penalty_factor: Any, dataset: Dataset) -> Floats:
    """Return the factor of each coefficient, (d,) in the caller's order, from what a caller gave.

    Raises
    ------
    ValueError, TypeError
        If it names a column that is not there, has another length, or holds what is no number of at least 0.
    """
    features, d = dataset.features, dataset.shape[1]
    names, widths = _columns(features, d)
    if isinstance(penalty_factor, Mapping):
        unknown = [name for name in penalty_factor if name not in names]
        if unknown:
            raise ValueError(
                f"penalty_factor names {unknown[0]!r}; X has the columns {', '.join(names[:_NAMES])}"
                f"{f' and {len(names) - _NAMES} more' if len(names) > _NAMES else ''}"
            )
        each = [penalty_factor.get(name, 1.0) for name in names]
    elif isinstance(penalty_factor, (str, bytes)) or not isinstance(penalty_factor, (Sequence, np.ndarray)):
        raise TypeError(
            f"penalty_factor={penalty_factor!r}; a number for each column, or a dict from names of columns to numbers"
        )
    else:
        each = list(penalty_factor)
    if len(each) == len(names):
        factors = np.repeat(_numbers(each, names), widths)
    elif len(each) == d:
        factors = _numbers(each, coef_names(features, d))
    else:
        of_columns = f" for {len(names)} columns," if len(names) != d else ""
        raise ValueError(
            f"penalty_factor has {len(each)} numbers; it needs one{of_columns} for each of {d} coefficients"
        )
    return factors


def penalty_factor_of(problem: LinearProblem) -> list[float] | None:
    """Return the factors of a problem's penalty in the caller's order, None if it has none."""
    penalty = problem.spec.penalty
    if not isinstance(penalty, ElasticNet) or penalty.factor is None:
        return None
    factors: list[float] = problem.dataset.to_caller_order(penalty.factor).tolist()
    return factors


def _columns(features: tuple[Feature, ...] | None, d: int) -> tuple[list[str], list[int]]:
    """Return the names of X's columns, and how many coefficients each has."""
    if features is None:
        return coef_names(None, d), [1] * d
    return [feature.name for feature in features], [feature.width for feature in features]


def _numbers(each: list[Any], names: Sequence[str]) -> Floats:
    """Return factors as an array; a ValueError or TypeError names the column of what is no number of at least 0."""
    for value, name in zip(each, names, strict=True):
        if isinstance(value, (bool, str)) or not isinstance(value, (int, float, np.number)):
            raise TypeError(f"penalty_factor of {name} is {value!r}; a number of at least 0 is needed")
        if not 0.0 <= float(value) < np.inf:
            raise ValueError(f"penalty_factor of {name} is {value!r}; a number of at least 0 is needed")
    return np.array(each, np.float64)


_NAMES = 10
"""Columns that a message names."""


def start_coefficients(start: Any, problem: LinearProblem, classes: NDArray[Any] | None) -> Coefficients | str | None:
    """Return the coefficients to begin at; "random" and None as they are.

    Raises
    ------
    ValueError, TypeError
        If a start does not fit to the model and the columns of X.
    """
    dataset, outputs, intercept = problem.dataset, problem.outputs, problem.spec.intercept
    d = dataset.shape[1]
    if start is None:
        return None
    if isinstance(start, str):
        if start != "random":
            raise ValueError(f"start={start!r}; an array, an earlier result, 'random' or None is needed")
        return start
    if isinstance(start, Result) and not isinstance(start, FitResult):
        raise TypeError("start is the result of minimize; the result of a fit, or an array, is needed")
    if isinstance(start, FitResult):
        own, theirs = dataset.features, start.features
        if own is not None and theirs is not None and without_fills(own) != without_fills(theirs):
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
    return Coefficients(coef, b if intercept else np.zeros(outputs))


def shifted(begin: Coefficients | str | None, dataset: Dataset) -> Coefficients | str | None:
    """Return the coefficients to begin at for samples about a pivot, given those for the samples as they are."""
    if not isinstance(begin, Coefficients) or dataset.origin is None:
        return begin
    shift = dataset.to_caller_order(dataset.origin)
    return Coefficients(begin.coef, shifted_intercept(begin.intercept, begin.coef, shift))


@contextmanager
def cluster_loss_reported() -> Iterator[None]:
    """Raise ClusterError for a cluster that was lost before anything was known."""
    try:
        yield
    except ClusterLost as lost:
        raise ClusterError.of(lost.cause) from lost.cause
