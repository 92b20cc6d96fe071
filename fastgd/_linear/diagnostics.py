"""What happened, and why, in sentences with numbers: what only the data can tell after a descent has ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from fastgd._data.dataset import InMemory, OpenedDataset
from fastgd._data.schema import coef_names
from fastgd._linear.collinearity import (
    Columns,
    drawn,
    only_constants,
    products,
    products_are_cheap,
    redundant_by_products,
    redundant_columns,
)
from fastgd._linear.hessian import RankFindings
from fastgd._linear.objective import Coefficients, LinearObjective, ModelSpec, shifted_intercept
from fastgd._linear.reduction import Reduction
from fastgd._linear.result import FitResult
from fastgd._linear.separation import Coordinates, count_separated, extent, separating
from fastgd._linear.settings import FitSettings
from fastgd._optim.registry import SolverInfo
from fastgd._optim.result import LoopResult, Status
from fastgd._typing import Floats
from fastgd._utils.session import Session
from fastgd._version import __version__
from fastgd.losses import Softmax

_NAMES = 3
"""Features that a sentence names."""
_SEARCH_PASSES = 20
"""Passes that a search for a separating direction may take, or as many as the descent took."""
_SMALL_STEP = 0.5
"""What a step towards a minimum moves of any margin at most."""
_CERTAIN = 1e-9
"""A margin above this share of the largest is certainly positive."""
_FEW_ITERATIONS = 10
"""These take a Newton method to a minimum, but not to the end of where there is none."""
_FLAT = 1e-6
"""A gradient norm that is small, whatever it was before redundant coefficients were changed."""
_CHEAP_PRODUCTS = 1e7
"""Products for the search of redundant columns, or as many as numbers that the descent has read."""


def separated_below(objective: LinearObjective) -> float:
    """Return a value that the objective has only where classes are separated, −∞ if there is none.

    Without a penalty, if ``Σ s L / Σ s`` is below ``ln 2 · min s / Σ s``, every sample's loss is below ln 2, so that
    all margins are positive.
    """
    if not objective.spec.can_separate:
        return -np.inf
    return 0.999 * float(np.log(2.0)) * objective.dataset.min_weight() / objective.moments.total_weight


def explain_separation(result: LoopResult, objective: LinearObjective, solver: SolverInfo) -> LoopResult:
    """Search for a direction that separates the classes where it is possible, and name its leading features.

    A Newton method whose next step moves no margin by 1 has a minimum before it: by the self-concordance of the loss,
    ``p_i − p_i (1 − p_i) m_i·n`` are the positive weights that refute a separation, for the step n and slopes p. No
    sample is further from the mean than ``√(Σ s / min s)`` standard deviations. If that is not enough, a pass looks at
    the margins themselves.
    """
    searched = (Status.CONVERGED, Status.MAX_ITER, Status.PRECISION_LIMIT, Status.SEPARATED)
    if not objective.spec.can_separate or result.status not in searched:
        return result
    dataset, outputs, moments = objective.dataset, objective.outputs, objective.moments
    spread = dataset.to_caller_order(moments.spread)
    mean = dataset.to_caller_order(moments.mean) * objective.intercept
    scale = np.where(spread > 0.0, spread, np.inf)
    coordinates = Coordinates(mean, scale, objective.intercept, outputs)

    def per_spread(x: Floats) -> Floats:
        coef, intercept = objective.to_coefficients(x)
        rows = np.column_stack((coef * spread, intercept + coef @ mean)) if objective.intercept else coef * spread
        return np.asarray(rows.ravel())

    if result.converged and not solver.takes_rate and result.n_iter < _FEW_ITERATIONS:
        state = result.state.saved.state
        step = per_spread(state.next_step.x - state.best.last.x)
        furthest = (moments.total_weight / dataset.min_weight()) ** 0.5
        if np.abs(step).sum() * furthest < _SMALL_STEP:
            return result
        if np.abs(extent(dataset, coordinates, step)).max() < _SMALL_STEP:
            return result

    def sum_of_rows() -> Floats:
        standardized = replace(objective, spec=replace(objective.spec, standardize=True))
        downhill = -standardized(np.zeros(objective.size)).gradient.reshape(outputs, -1)
        d = dataset.shape[1]
        return np.hstack((dataset.to_caller_order(downhill[:, :d]), downhill[:, d:])).ravel()

    passes = max(_SEARCH_PASSES, float(result.history.passes[-1]))
    found = separating(dataset, coordinates, sum_of_rows, per_spread(result.x), passes)
    if found is None:
        return result
    certain = _CERTAIN * found.largest
    separated, every = count_separated(dataset, coordinates, found.direction, certain)
    if found.smallest > certain:
        count = f"All {separated} rows"
    else:
        count = (
            f"At least {separated} of {every} rows"
            if separated < every
            else f"All {separated} rows, each from some class,"
        )
    effects = np.abs(found.direction.reshape(outputs, -1)[:, : len(spread)]).max(axis=0)
    leading = np.argsort(-effects, kind="stable")[:_NAMES]
    names = coef_names(dataset.features, len(spread))
    named = [names[j] for j in leading if effects[j] > 0.05 * effects.max()] or ["the intercept"]
    if result.converged:  # the last step leads to no minimum
        last = result.state.saved.state.best.last
        result = replace(result, x=last.x, loss=last.value, error_estimate=None)
    return result.with_reason(Status.SEPARATED, f"{count} can be told for certain, by {', '.join(named)}.")


def find_redundant(objective: LinearObjective, result: LoopResult, findings: RankFindings) -> Columns:
    """Find the columns, in the caller's order, that are constant or linear combinations of those before them.

    What a Hessian told is taken. Otherwise, other than constants, they are searched for where that costs little beside
    the descent, and may be there at all.
    """
    if findings.columns is not None and findings.certain:
        return findings.columns
    dataset, moments = objective.dataset, objective.moments
    n, d = dataset.shape
    numbers = n * dataset.row_bytes / dataset.dtype.itemsize * float(result.history.passes[-1])
    hurried = result.status in (Status.STOPPED, Status.INTERRUPTED, Status.TIME_LIMIT)
    too_long = not findings.doubtful and products(n, d) > max(_CHEAP_PRODUCTS, numbers)
    if hurried or objective.independent or too_long or not objective.penalty.smooth:
        return findings.columns or constants(objective)
    rng = np.random.default_rng(0)
    if products_are_cheap(dataset):
        found = redundant_by_products(
            dataset,
            moments,
            objective.stored_sizes,
            intercept=objective.intercept,
            rng=rng,
            n_threads=objective.n_threads,
        )
        if found is not None:
            return found
    size, spread = dataset.to_caller_order(objective.stored_sizes), dataset.to_caller_order(moments.spread)
    search = partial(redundant_columns, dataset, size=size, spread=spread, intercept=objective.intercept, rng=rng)
    columns, sample = search(drawn(dataset, rng))
    if dataset.dtype == np.float32 and not len(columns.mixed):
        nearly, _ = search(sample, rounding=float(np.finfo(np.float32).eps))
        if len(nearly.mixed):
            return nearly._replace(exact=False)
    return columns


def explain_hidden(result: LoopResult, columns: Columns, findings: RankFindings) -> LoopResult:
    """Return a result that has not converged if rounding hides directions that no redundant column accounts for."""
    if not result.converged or findings.hidden <= len(columns.redundant) * max(1, len(result.x) // columns.size):
        return result
    last = result.state.saved.state.best.last
    return replace(result, x=last.x, loss=last.value, error_estimate=None).with_reason(
        Status.PRECISION_LIMIT,
        f"In {findings.hidden} directions columns leave so little of each other that rounding hides the minimum: drop "
        "some of these columns, or add a penalty (l2 > 0).",
    )


def constants(objective: LinearObjective) -> Columns:
    """Return the constant columns, in the caller's order."""
    return only_constants(objective.dataset.to_caller_order(objective.moments.spread))


def take_smallest(result: LoopResult, objective: LinearObjective, columns: Columns) -> LoopResult:
    """Without a penalty, take the smallest of all coefficients that fit alike as columns are redundant.

    Whether they fit alike is judged by a pass each, as a loss by normal equations has their rounding: columns that are
    combinations of others but for rounding, and whose sizes differ by many powers of ten, may leave none that fit as
    well.
    """
    if not columns.exact or not objective.penalty.is_zero:
        return result
    coef, intercept = objective.to_coefficients(result.x)
    smallest = columns.smallest(coef)
    if np.array_equal(smallest, coef):
        return result
    if objective.intercept:
        intercept = intercept + (coef - smallest) @ objective.dataset.to_caller_order(objective.moments.mean)
    x = objective.to_x(Coefficients(smallest, intercept))
    here, there = objective(result.x), objective(x)
    value, gradient = objective.rounding(result.x, here.value)
    as_low = np.isfinite(there.value) and there.value <= here.value + value
    flat = max(objective.gradient_norm(result.x, here.gradient), _FLAT)
    as_flat = not result.converged or objective.gradient_norm(x, there.gradient) <= flat + gradient
    return replace(result, x=x, loss=there.value) if as_low and as_flat else result


@contextmanager
def interrupted_at_once(objective: LinearObjective, session: Session) -> Iterator[None]:
    """End a search of the data by Ctrl-C itself; data sets that live elsewhere check for it on their way."""
    in_memory = isinstance(objective.dataset, InMemory)
    with session.handler.immediately() if in_memory else nullcontext():
        yield


def describe_redundant(result: LoopResult, names: Sequence[str], count: int, *, exact: bool) -> LoopResult:
    """Name some of the redundant columns, of which there are so many, in a result's message."""
    if not count:
        return result
    more = f" and {count - _NAMES} more" if count > _NAMES else ""
    precisely = "" if exact else "in the precision of float32 "
    sentence = f"Redundant, as {precisely}a constant or a linear combination of columns before: "
    return result.with_note(f"{sentence}{', '.join(names)}{more}.")


def describe_model(spec: ModelSpec) -> dict[str, Any]:
    """Return the settings that say what a model is, as JSON can hold them."""
    parameters = {name: float(value) for name, value in spec.loss._asdict().items()}
    return {
        "loss": {"name": type(spec.loss).__name__.lower(), **parameters},
        **spec.penalty.strengths(),
        "intercept": spec.intercept,
        "standardize": spec.standardize,
    }


def _centered(coef: Floats, intercept: Floats, objective: LinearObjective) -> tuple[Floats, Floats]:
    """Return coefficients (k, d) and intercepts (k,) of which those without a penalty add up to 0 over the classes.

    The multinomial loss is the same for any sum of them. Other solvers keep that of their start; one coordinate after
    the other does not.
    """
    penalty = objective.penalty
    strength = np.asarray(penalty.threshold + penalty.curvature) * np.ones(coef.shape[1])
    free = (objective.dataset.to_caller_order(strength) == 0.0) & (not penalty.positive)
    coef = np.where(free, coef - coef.mean(axis=0), coef)
    return coef, intercept - intercept.mean() * objective.intercept


def as_fitted(
    result: LoopResult,
    objective: LinearObjective,
    opened: OpenedDataset,
    columns: Columns | None,
    settings: FitSettings,
    *,
    rows: int | None = None,
    reduction: Reduction | None = None,
) -> FitResult:
    """Return the result of a descent in the user's units, in the shape of one output if y was a vector.

    Parameters
    ----------
    result : LoopResult
    objective : LinearObjective
    opened : OpenedDataset
    columns : Columns or None
        Which are redundant; None if constants alone are known.
    settings : FitSettings
    rows : int, optional
        Samples the model was fitted on, if they are not those of the data set.
    reduction : Reduction, optional
        What the descent was in fewer coefficients by.
    """
    dataset = opened.dataset
    coef, b = objective.to_coefficients(result.x)
    columns, spread = columns or constants(objective), dataset.to_caller_order(objective.moments.spread)
    if reduction is not None:
        coef, spread = reduction.expand(coef), reduction.spread(spread)
        columns = only_constants(spread)
    if dataset.origin is not None:
        b = shifted_intercept(b, -coef, dataset.to_caller_order(dataset.origin))
    if settings.solver == "proximal" and isinstance(objective.loss, Softmax):
        coef, b = _centered(coef, b, objective)
    one = not opened.targets and objective.outputs == 1
    redundant, error = columns.redundant, result.error_estimate
    names = coef_names(dataset.features, dataset.shape[1], redundant[:_NAMES])
    result = describe_redundant(result, names, len(redundant), exact=columns.exact)
    return FitResult(
        loss=result.loss,
        outcome=result.outcome,
        history=result.history,
        coef=coef[0] if one else coef,
        intercept=float(b[0]) if one else b,
        spread=spread,
        classes=opened.classes,
        features=dataset.features,
        redundant_columns=redundant,
        redundant_tol=columns.tolerance,
        error_estimate=error if error is not None and np.isfinite(error).all() else None,
        rows=dataset.shape[0] if rows is None else rows,
        settings=settings,
        version=__version__,
        dropped=opened.dropped,
        target_names=opened.target_names or None,
        state=result.state,
    )
