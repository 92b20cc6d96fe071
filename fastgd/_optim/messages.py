"""Sentences about how a descent ended, and the warning that carries them."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

from fastgd._optim.registry import REGISTRY
from fastgd._optim.result import Result, Status
from fastgd._optim.stopping import Stopping
from fastgd._utils.interrupts import InterruptHandler
from fastgd.exceptions import ConvergenceWarning

P = ParamSpec("P")
R = TypeVar("R", bound=Result)


def warns_once(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function warn with its result's message if that did not end as the caller wanted."""

    @wraps(function)
    def warning(*args: P.args, **kwargs: P.kwargs) -> R:
        result = function(*args, **kwargs)
        if not result.status.chosen:
            warnings.warn(result.message, ConvergenceWarning, stacklevel=2)
        return result

    return warning


def without_warning(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function below `warns_once`, for those who tell the status in their own way."""
    unwrapped: Callable[P, R] = inspect.unwrap(function)
    return unwrapped


def explain_interruption(result: R, handler: InterruptHandler) -> R:
    """Mark a result as interrupted if Ctrl-C was pressed when the descent was over: loops around it are to end, too."""
    if not handler.pressed or result.status is Status.INTERRUPTED:
        return result
    return result.with_reason(Status.INTERRUPTED, f"It came as the descent ended: {result.status.value}")


def explain_divergence(
    result: R, solver: str, learning_rate: float | str, met: float, estimate: Callable[[], float] | None
) -> R:
    """Name the rate, the Lipschitz constant and the largest stable rate if a descent diverged.

    Parameters
    ----------
    result : Result
    solver : str
    learning_rate : float or "auto"
    met : float
        The largest curvature that steps met.
    estimate : callable or None
        Estimates the gradient's Lipschitz constant.
    """
    if result.status is not Status.DIVERGED:
        return result
    stable = REGISTRY[solver].stable
    if isinstance(learning_rate, str) or stable is None:
        return result.with_reason(
            result.status, f"The loss left what is finite, at a rate of {result.history.step[-1]:.4g}."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        lipschitz = max(met, estimate() if estimate is not None else 0.0)
    return result.with_reason(
        result.status,
        f"The rate was {float(learning_rate):.4g}; the gradient's Lipschitz constant is about {lipschitz:.4g}, so "
        f"that {solver} is stable up to a rate of {stable:.3g} / {lipschitz:.4g} = {stable / lipschitz:.4g}.",
    )


def describe_limit(result: R, stopping: Stopping) -> R:
    """Name the limit that ended a descent, as the caller gave it."""
    limits = {
        Status.MAX_ITER: ("max_iter", stopping.max_iter),
        Status.TIME_LIMIT: ("time_limit", stopping.time_limit or 0.0),
    }
    if result.status not in limits:
        return result
    return replace(result, outcome=replace(result.outcome, limit=limits[result.status]))
