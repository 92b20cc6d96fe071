"""Gradients and Hessians by finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgd._optim.base import Evaluation
from fastgd._optim.stopping import largest
from fastgd._typing import Floats

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Evaluator:
    """An objective that gives a gradient at any point of a shape, whatever the caller's gives.

    Parameters
    ----------
    objective : callable
        Gives value and gradient (and optionally what that cost, else 1), or a value alone.
    differences : bool
        It gives a value alone: gradients are central differences over ``eps^(1/3) max(1, |x_j|)``, which cost 2 d
        evaluations and are good to about ten digits of the value.
    """

    objective: Callable[[Floats], Any]
    shape: tuple[int, ...]
    differences: bool

    def __call__(self, point: Floats) -> Evaluation:
        """Evaluate value and gradient."""
        return self.completed(point, self.objective(point.copy()))  # what the caller does to it is not ours

    def completed(self, point: Floats, answer: Any) -> Evaluation:
        """Return what the objective answered at a point with a gradient, checked."""
        if self.differences:
            return Evaluation(_as_value(answer), self._slopes(point), 1.0 + 2.0 * point.size)
        if not isinstance(answer, (tuple, list)) or len(answer) < 2:
            raise TypeError(f"objective gave {answer!r}; a value and its gradient are needed, as it gave at the start")
        value, gradient, *rest = answer
        if value is None or gradient is None:
            raise TypeError(f"objective gave {answer!r}; a value and its gradient are needed")
        if np.asarray(gradient).dtype.kind not in "biuf":
            raise TypeError(f"objective gave the gradient {gradient!r}; real numbers are needed")
        if rest and not (isinstance(rest[0], (int, float, np.number)) and rest[0] >= 0):
            raise TypeError(f"objective gave {rest[0]!r} beside value and gradient; if anything, that is what it cost")
        gradient = np.array(gradient, dtype=np.float64)  # a copy: the caller may reuse it
        if gradient.shape != self.shape:
            raise ValueError(f"objective gave a gradient of shape {gradient.shape} at a point of shape {self.shape}")
        return Evaluation(_as_value(value), gradient, rest[0] if rest else 1.0)

    def _slopes(self, point: Floats) -> Floats:
        gradient = np.empty(point.size)
        for j, (below, above) in enumerate(gradients_around(point, EPS ** (1 / 3))):
            gradient[j] = (_as_value(self.objective(above)) - _as_value(self.objective(below))) / (above[j] - below[j])
        return gradient


def _as_value(answer: Any) -> float:
    try:
        return float(answer)
    except (TypeError, ValueError):
        raise TypeError(f"objective gave {answer!r}; a number is needed as its value") from None


def disagreement(evaluate: Evaluator, point: Floats) -> str | None:
    """Return a warning if values near a point are not finite, or do not fall along the negative gradient.

    It costs three evaluations. What is within the rounding of values, or half of the slope, is no disagreement.
    """
    value, gradient, *_ = evaluate(point)
    slope = float(np.linalg.norm(gradient))
    distance = EPS ** (1 / 3) * max(1.0, largest(point))
    if not (np.isfinite(slope) and slope * distance > 1e3 * EPS * abs(value)):
        return None
    ahead, behind = (evaluate(point + side * distance / slope * gradient).value for side in (-1.0, 1.0))
    if not (np.isfinite(ahead) and np.isfinite(behind)):
        return f"The objective is not finite beside this point: {ahead:g} and {behind:g} within {distance:.1g} of it."
    found = (behind - ahead) / (2.0 * distance)
    if abs(found - slope) <= 0.5 * slope:
        return None
    return f"The gradient does not agree with the values: along it, its slope is {slope:.4g}, and theirs {found:.4g}."


def gradients_around(point: Floats, relative: float) -> list[tuple[Floats, Floats]]:
    """Return the points below and above along every axis."""
    steps = np.diag(relative * np.maximum(1.0, np.abs(point)))
    return [(point - step, point + step) for step in steps]


def evaluator(objective: Callable[[Floats], Any], point: Floats) -> tuple[Evaluator, Evaluation]:
    """Return an objective with gradients, and its evaluation at a point.

    Raises
    ------
    TypeError
        If it is no function, or gives neither a number nor a value and a gradient.
    """
    if not callable(objective):
        raise TypeError(f"objective={objective!r}; a function of a point is needed")
    answer = objective(point.copy())
    differences = not isinstance(answer, (tuple, list))
    if (differences and (np.ndim(answer) or np.asarray(answer).dtype.kind not in "biuf")) or (
        not differences and len(answer) < 2
    ):
        raise TypeError(f"objective gave {answer!r}; a number, or a value and its gradient, is needed")
    whole = Evaluator(objective, point.shape, differences)
    return whole, whole.completed(point, answer)


def difference_hessian(evaluate: Evaluator, point: Floats, relative: float) -> tuple[Floats, float]:
    """Take the Hessian by central differences of gradients, and how far rounding may put it off."""
    hessian, rounding = np.empty((point.size, point.size)), 0.0
    for j, (below, above) in enumerate(gradients_around(point, relative)):
        low, high = evaluate(below).gradient, evaluate(above).gradient
        distance = above[j] - below[j]
        hessian[j] = (high - low) / distance
        rounding = max(rounding, EPS * (largest(low) + largest(high)) / distance)
    return 0.5 * (hessian + hessian.T), rounding
