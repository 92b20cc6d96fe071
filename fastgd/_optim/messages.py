"""Sentences that explain how a descent ended, and the warning that shows them."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import ParamSpec, Protocol, TypeVar

import numpy as np

from fastgd._optim.registry import REGISTRY
from fastgd._optim.result import Result, Status
from fastgd._optim.stopping import Stopping
from fastgd._utils.interrupts import InterruptHandler

P = ParamSpec("P")
R = TypeVar("R", bound=Result)


class Concerning(Protocol):
    """A result that says what to warn of."""

    def concerns(self) -> list[tuple[type[Warning], str]]:
        """Return the warnings that it gives rise to, as categories and texts."""


C = TypeVar("C", bound=Concerning)


def warns_once(function: Callable[P, C]) -> Callable[P, C]:
    """Decorate a function so that it emits the warnings that its result gives rise to, see `Result.concerns`."""

    @wraps(function)
    def warning(*args: P.args, **kwargs: P.kwargs) -> C:
        result = function(*args, **kwargs)
        for category, text in result.concerns():
            warnings.warn(text, category, stacklevel=2)
        return result

    return warning


def without_warning(function: Callable[P, C]) -> Callable[P, C]:
    """Return the function without the decorator `warns_once`, for callers that report the status themselves."""
    unwrapped: Callable[P, C] = inspect.unwrap(function)
    return unwrapped


def explain_interruption(result: R, handler: InterruptHandler) -> R:
    """Return the result with `Status.INTERRUPTED` if Ctrl-C was pressed after the descent ended.

    Without this, a loop around the caller would continue after Ctrl-C.
    """
    if not handler.pressed or result.status is Status.INTERRUPTED:
        return result
    return result.with_reason(Status.INTERRUPTED, f"It came as the descent ended: {result.status.value}")


def explain_divergence(
    result: R, solver: str, learning_rate: float | str, met: float, estimate: Callable[[], float] | None
) -> R:
    """Return the result; if it diverged, its message gives the rate, the curvature and the largest stable rate.

    Parameters
    ----------
    result : Result
    solver : str
        A name in `REGISTRY`.
    learning_rate : float or "auto"
        The caller's argument.
    met : float
        The largest curvature along the steps.
    estimate : callable or None
        Returns an estimate of the gradient's Lipschitz constant. It is called only if the descent diverged.
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
    """Return the result; if a limit ended it, its message gives ``max_iter`` or ``time_limit`` and its value."""
    limits = {
        Status.MAX_ITER: ("max_iter", stopping.max_iter),
        Status.TIME_LIMIT: ("time_limit", stopping.time_limit or 0.0),
    }
    if result.status not in limits:
        return result
    return replace(result, outcome=replace(result.outcome, limit=limits[result.status]))
