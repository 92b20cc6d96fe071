"""Sentences about how a descent ended, and the warning that carries them."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

from fastgd._optim.gradient_descent import STABLE
from fastgd._optim.result import Result, Status
from fastgd._utils.interrupts import Interruption
from fastgd.exceptions import ConvergenceWarning

P = ParamSpec("P")
R = TypeVar("R", bound=Result)


def warns_once(function: Callable[P, R]) -> Callable[P, R]:
    """Have a function warn with its result's message if that did not end as wanted; `quietly` gives it without."""

    @wraps(function)
    def warning(*args: P.args, **kwargs: P.kwargs) -> R:
        result = function(*args, **kwargs)
        if not result.status.chosen:
            warnings.warn(result.message, ConvergenceWarning, stacklevel=2)
        return result

    return warning


def quietly(function: Callable[P, R]) -> Callable[P, R]:
    """Give the function that does not warn: for those who tell the status in their own way."""
    unwrapped: Callable[P, R] = inspect.unwrap(function)
    return unwrapped


def explain_interruption(result: R, interruption: Interruption) -> R:
    """Say that Ctrl-C was pressed when there was nothing left to break off: loops around a fit are to end, too."""
    if not interruption.pressed or result.status is Status.INTERRUPTED:
        return result
    return result.because(Status.INTERRUPTED, f"It came as the descent ended: {result.status.value}")


def explain_divergence(
    result: R, solver: str, learning_rate: float | str, met: float, estimate: Callable[[], float] | None
) -> R:
    """Name the rate, the Lipschitz constant, and the largest stable rate, if a descent diverged."""
    if result.status is not Status.DIVERGED:
        return result
    if isinstance(learning_rate, str) or solver not in STABLE:
        return result.because(
            result.status, f"The loss left what is finite, at a rate of {result.history.step[-1]:.4g}."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        lipschitz = max(met, estimate() if estimate is not None else 0.0)
    return result.because(
        result.status,
        f"The rate was {float(learning_rate):.4g}; the gradient's Lipschitz constant is about {lipschitz:.4g}, so "
        f"that {solver} is stable up to a rate of {STABLE[solver]:.3g} / {lipschitz:.4g} = "
        f"{STABLE[solver] / lipschitz:.4g}.",
    )


def say_limit(result: R, max_iter: int, time_limit: float | None) -> R:
    """Name the limit that ended a descent."""
    if result.status is Status.MAX_ITER:
        return replace(result, message=f"{result.message} max_iter={max_iter}.")
    if result.status is Status.TIME_LIMIT:
        return replace(result, message=f"{result.message} time_limit={time_limit:g} s.")
    return result
