"""What happened, and why, in sentences with numbers: what only the data can tell after a descent has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data.dataset import Source
from fastgd._data.design import Matrix
from fastgd._data.schema import coef_names
from fastgd._linear.collinearity import Columns, drawn, only_constants, products, redundant_columns
from fastgd._linear.objective import Objective
from fastgd._linear.result import FitResult
from fastgd._linear.separation import Coordinates, count_told, extent, separating
from fastgd._optim.messages import R
from fastgd._optim.registry import RATED
from fastgd._optim.result import Result, Status
from fastgd._typing import Floats
from fastgd._version import __version__
from fastgd.losses import Logistic, Softmax

_NAMES = 3  # features that a sentence names
_SEARCH = 20  # readings that a search for a separating direction may take, or as many as the descent took
_LITTLE = 0.5  # of a margin, that a step towards a minimum moves
_CERTAIN = 1e-9  # of the largest margin: that another is positive
_FEW = 10  # iterations that take a Newton method to a minimum, but not to the end of where there is none
_AFFORDABLE = 1e7  # products for the search of redundant columns, or as many as numbers that the descent has read


def separated_below(objective: Objective, lightest: float) -> float:
    """Give a value that the objective has only where classes are separated, −∞ if there is none.

    Without a penalty, if ``Σ s L / Σ s`` is below ``ln 2 · min s / Σ s``, every sample's loss is below ln 2, so that
    all margins are positive.
    """
    return (
        0.999 * float(np.log(2.0)) * lightest / objective.moments.total_weight if can_separate(objective) else -np.inf
    )


def can_separate(objective: Objective) -> bool:
    """Tell whether there may be no minimum: of classes, without a penalty."""
    return isinstance(objective.loss, (Logistic, Softmax)) and objective.l2 == 0.0


def explain_separation(
    result: R, objective: Objective, source: Source, solver: str, lightest: float, outlook: Floats
) -> R:
    """Look for a direction that separates the classes where it is possible, and say which.

    A Newton method whose next step moves no margin by 1 has a minimum before it: by the self-concordance of the loss,
    ``p_i − p_i (1 − p_i) m_i·n`` are the positive weights that refute a separation, for the step n and slopes p. That
    step is ``outlook``; ``lightest`` is the smallest positive weight, so that no sample is further from the mean than
    ``√(Σ s / lightest)`` spreads. If that is not enough, a reading looks at the margins themselves.
    """
    looked_at = (Status.CONVERGED, Status.MAX_ITER, Status.PRECISION_LIMIT, Status.SEPARATED)
    if not can_separate(objective) or result.status not in looked_at:
        return result
    order = _order(source)
    outputs, moments = objective.outputs, objective.moments
    spread, mean = moments.spread[order], moments.mean[order] * objective.intercept
    scale = np.where(spread > 0.0, spread, np.inf)
    coordinates = Coordinates(mean, scale, objective.intercept, outputs)

    def per_spread(point: Floats) -> Floats:
        coef, intercept = objective.to_coef(point)
        coef = coef[:, order]
        rows = np.column_stack((coef * spread, intercept + coef @ mean)) if objective.intercept else coef * spread
        return np.asarray(rows.ravel())

    if result.converged and solver not in RATED and result.n_iter < _FEW:
        step = per_spread(outlook)
        furthest = (moments.total_weight / lightest) ** 0.5
        if np.abs(step).sum() * furthest < _LITTLE or np.abs(extent(source, coordinates, step)).max() < _LITTLE:
            return result

    def sum_of_rows() -> Floats:
        downhill = -replace(objective, standardize=True)(np.zeros(objective.size)).gradient.reshape(outputs, -1)
        ones = [len(order)] if objective.intercept else []
        return np.asarray(downhill[:, np.append(order, ones).astype(np.intp)].ravel())

    readings = max(_SEARCH, float(result.history.passes[-1]))
    found = separating(source, coordinates, sum_of_rows, per_spread(result.coef), readings)
    if found is None:
        return result
    certain = _CERTAIN * found.largest
    told, rows_in_all = count_told(source, coordinates, found.direction, certain)
    if found.smallest > certain:
        count = f"All {told} rows"
    else:
        count = (
            f"At least {told} of {rows_in_all} rows"
            if told < rows_in_all
            else f"All {told} rows, each from some class,"
        )
    effects = np.abs(found.direction.reshape(outputs, -1)[:, : len(spread)]).max(axis=0)
    leading = np.argsort(-effects, kind="stable")[:_NAMES]
    names = coef_names(source.features, len(spread))
    named = [names[j] for j in leading if effects[j] > 0.05 * effects.max()] or ["the intercept"]
    return result.because(Status.SEPARATED, f"{count} can be told for certain, by {', '.join(named)}.")


def find_redundant(objective: Objective, source: Source, result: Result) -> Columns:
    """Find the columns, in the caller's order, that are constant or linear combinations of those before them.

    Other than constants they are searched for where that costs little beside the descent, and may be there at all.
    """
    order, moments = _order(source), objective.moments
    n, d = source.shape
    numbers = n * source.row_bytes / source.dtype.itemsize * float(result.history.passes[-1])
    hurried = result.status in (Status.STOPPED, Status.INTERRUPTED, Status.TIME_LIMIT)
    if hurried or objective.independent or products(n, d) > max(_AFFORDABLE, numbers):
        return constants(objective)
    mean, spread, rng = moments.mean[order], moments.spread[order], np.random.default_rng(0)
    search = partial(redundant_columns, source, mean=mean, spread=spread, intercept=objective.intercept, rng=rng)
    columns, sample = search(drawn(source, rng))
    if source.dtype == np.float32 and not len(columns.mixed):
        nearly, _ = search(sample, rounding=float(np.finfo(np.float32).eps))
        if len(nearly.mixed):
            return nearly._replace(exact=False)
    return columns


def constants(objective: Objective) -> Columns:
    """Name the constant columns, in the caller's order."""
    return only_constants(objective.moments.spread[_order(objective.source)])


def smallest_alike(result: R, objective: Objective, columns: Columns, tol: float) -> R:
    """Without a penalty, take the smallest of all coefficients that fit alike as columns are redundant.

    That is looked at by readings of both, as a loss by normal equations has their rounding: columns that are
    combinations of others but for rounding, and whose sizes differ by many powers of ten, may leave none that fit as
    well.
    """
    if not columns.exact or objective.l2 > 0.0:
        return result
    order = _order(objective.source)
    coef, intercept = objective.to_coef(result.coef)
    smallest = np.empty_like(coef)
    smallest[:, order] = columns.smallest(coef[:, order])
    if np.array_equal(smallest, coef):
        return result
    if objective.intercept:
        intercept = intercept + (coef - smallest) @ objective.moments.mean
    point = objective.to_point(smallest, intercept)
    here, there = objective(result.coef), objective(point)
    value, slope = objective.rounding(coef, intercept, here.value)
    as_low = np.isfinite(there.value) and there.value <= here.value + value
    as_flat = not result.converged or objective.largest_slope(there.gradient) <= tol + slope
    return replace(result, coef=point, loss=there.value) if as_low and as_flat else result


def say_redundant(result: R, names: Sequence[str], *, exact: bool) -> R:
    """Name redundant columns in a result's message."""
    if not names:
        return result
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    precisely = "" if exact else "in the precision of float32 "
    sentence = f"Redundant, as {precisely}a constant or a linear combination of columns before: "
    return replace(result, message=f"{result.message} {sentence}{', '.join(names[:_NAMES])}{more}.")


def _order(source: Source) -> NDArray[np.intp]:
    """Say where the caller's columns stand in points."""
    return np.arange(source.shape[1]) if source.order is None else source.order


def as_fitted(
    result: Result,
    objective: Objective,
    source: Matrix | Source,
    flat: bool,
    classes: NDArray[Any] | None,
    rows: int,
    settings: dict[str, Any],
    columns: Columns | None = None,
) -> FitResult:
    """Give the result of a descent in the user's units, and in the shape of one output if y was ``flat``."""
    coef, b = objective.to_coef(result.coef)
    order = slice(None) if source.order is None else source.order
    one = flat and objective.outputs == 1
    columns = columns or constants(objective)
    names = coef_names(source.features, source.shape[1])
    redundant = [names[j] for j in columns.redundant]
    result = say_redundant(result, redundant, exact=columns.exact)
    coef = coef[:, order]
    return FitResult(
        coef=coef[0] if one else coef,
        loss=result.loss,
        status=result.status,
        message=result.message,
        history=result.history,
        intercept=float(b[0]) if one else b,
        spread=objective.moments.spread[order],
        classes=classes,
        features=source.features,
        redundant=redundant,
        rows=rows,
        settings={
            "loss": {"name": type(objective.loss).__name__.lower(), **objective.loss._asdict()},
            "l2": objective.l2,
            "intercept": objective.intercept,
            "standardize": objective.standardize,
            **settings,
        },
        version=__version__,
        state=result.state,
    )
