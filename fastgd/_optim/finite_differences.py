"""Gradients and Hessians by finite differences, and a check of gradients against values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastgd._optim.base import Evaluation
from fastgd._optim.stopping import largest
from fastgd._typing import Floats
from fastgd._utils.linalg import EPS


@dataclass(frozen=True)
class Evaluator:
    """A caller's objective with checked values and gradients; gradients are finite differences if it returns none.

    Parameters
    ----------
    objective : callable
        Maps a point to ``(value, gradient)``, to ``(value, gradient, cost in passes)``, or to a value.
    shape : tuple of int
        The shape of points, (d,).
    differences : bool
        Whether the objective returns values only. Then gradients are central differences with steps
        ``eps^(1/3) max(1, |x_j|)``. They cost 2 d evaluations, and their error is about 1e-10 of the value.
    """

    objective: Callable[[Floats], Any]
    shape: tuple[int, ...]
    differences: bool

    def __call__(self, point: Floats) -> Evaluation:
        """Return value and gradient at a point of shape (d,)."""
        return self.completed(point, self.objective(point.copy()))  # a copy: the caller may change it

    def value(self, point: Floats) -> float:
        """Return the value at a point of shape (d,), without its gradient."""
        answer = self.objective(point.copy())
        return _as_value(answer if self.differences else answer[0])

    def completed(self, point: Floats, answer: Any) -> Evaluation:
        """Return an evaluation, given what the objective returned at a point.

        Raises
        ------
        TypeError, ValueError
            If value or gradient are not real numbers, or the gradient has another shape than the point.
        """
        if self.differences:
            return Evaluation(_as_value(answer), self._difference_gradient(point), 1.0 + 2.0 * point.size)
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

    def _difference_gradient(self, point: Floats) -> Floats:
        """Return the gradient at a point (d,) by central differences of values."""
        gradient = np.empty(point.size)
        for j, (below, above) in enumerate(gradients_around(point, EPS ** (1 / 3))):
            gradient[j] = (self.value(above) - self.value(below)) / (above[j] - below[j])
        return gradient


def _as_value(answer: Any) -> float:
    """Return a value as a float; raise TypeError if it is not a number."""
    try:
        return float(answer)
    except (TypeError, ValueError):
        raise TypeError(f"objective gave {answer!r}; a number is needed as its value") from None


def disagreement(evaluate: Evaluator, point: Floats) -> str | None:
    """Return a sentence if the values near a point contradict the gradient or are not finite, else None.

    The check compares the norm of the gradient with a central difference of values along the gradient. It costs three
    evaluations with gradients. A difference within the rounding error of values, or of at most half the norm, is no
    contradiction.

    Parameters
    ----------
    evaluate : Evaluator
    point : ndarray of shape (d,)
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
    """Return for each axis j the points at ``x_j − h_j`` and ``x_j + h_j`` with ``h_j = relative max(1, |x_j|)``."""
    steps = np.diag(relative * np.maximum(1.0, np.abs(point)))
    return [(point - step, point + step) for step in steps]


def evaluator(objective: Callable[[Floats], Any], point: Floats) -> tuple[Evaluator, Evaluation]:
    """Return an `Evaluator` of an objective, and the evaluation at a point of shape (d,).

    The objective is called once to see whether it returns gradients.

    Raises
    ------
    TypeError
        If it is not callable, or returns neither a number nor a value and a gradient.
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
    """Return the Hessian by central differences of gradients, and a bound of the rounding error of its entries.

    Parameters
    ----------
    evaluate : Evaluator
    point : ndarray of shape (d,)
    relative : float
        The step along axis j is ``relative max(1, |x_j|)``.

    Returns
    -------
    hessian : ndarray of shape (d, d)
        Symmetric.
    rounding : float
    """
    hessian, rounding = np.empty((point.size, point.size)), 0.0
    for j, (below, above) in enumerate(gradients_around(point, relative)):
        low, high = evaluate(below).gradient, evaluate(above).gradient
        distance = above[j] - below[j]
        hessian[j] = (high - low) / distance
        rounding = max(rounding, EPS * (largest(low) + largest(high)) / distance)
    return 0.5 * (hessian + hessian.T), rounding
