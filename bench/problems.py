"""Seeded problems, their exact objective, and their minimum to thirteen digits.

The objective is fastgd's, ``f(β, b) = (1/n) Σ L(y_i, x_i·β + b) + ½ l2 ‖β‖²``, written down a second time in NumPy, so
that no contender is judged by its own arithmetic. Everything goes by chunks of rows: peak memory stays near one X.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

Floats = NDArray[np.float64]

CHUNK_ROWS = 1 << 14


@dataclass(frozen=True, eq=False)
class Problem:
    """n samples, X (n, d) in C order and y (n,) float64, with the loss and penalty to fit them by."""

    name: str
    X: NDArray[Any]
    y: Floats
    loss: str
    l2: float

    def head(self, rows: int) -> Problem:
        """The same problem on its first rows."""
        return replace(self, X=self.X[:rows], y=self.y[:rows])

    def chunks(self) -> Iterator[tuple[Floats, Floats]]:
        """A few rows at a time, in float64."""
        for start in range(0, len(self.y), CHUNK_ROWS):
            rows = slice(start, start + CHUNK_ROWS)
            yield self.X[rows].astype(np.float64, copy=False), self.y[rows]


def standard_normal(
    n: int, d: int, dtype: DTypeLike = np.float64, loss: str = "logistic", X: NDArray[Any] | None = None
) -> Problem:
    """The kindest problem: independent standard normal features (X, if it is given, already holds them)."""
    rng = np.random.default_rng(0)
    if X is None:
        X = np.empty((n, d), dtype)
        rng.standard_normal(out=X, dtype=X.dtype.type)
    beta = rng.standard_normal(d) * (2.0 / np.sqrt(d))
    y = _draw_targets(X @ beta.astype(X.dtype) + 0.5, loss, rng)
    single = "" if X.dtype == np.float64 else f" {X.dtype}"
    return Problem(f"standard normal, {_describe(loss, n, d)}{single}", X, y, loss, 1.0 / n)


def hard(n: int, d: int) -> Problem:
    """What unprepared data look like: neighbours correlate 0.95, units differ by 10^4, means are off, 5 % positives."""
    rng = np.random.default_rng(1)
    scale = np.logspace(-2, 2, d)
    X, margins = _autoregressive(n, d, rng, mean=scale * rng.normal(0.0, 2.0, d), scale=scale)
    # For margins N(b, 1.5²) the mean of the logistic function is about h(b / √(1 + π 1.5² / 8)): 5 % at b = −4.04.
    y = _draw_targets(1.5 * margins - 4.04, "logistic", rng)
    return Problem(f"hard, {_describe('logistic', n, d)}", X, y, "logistic", 1.0 / n)


def correlated_least_squares(n: int, d: int) -> Problem:
    """Least squares without a penalty, neighbours correlate 0.95: a Hessian with condition number about 1500."""
    rng = np.random.default_rng(2)
    X, margins = _autoregressive(n, d, rng, mean=rng.normal(0.0, 2.0, d), scale=np.ones(d))
    return Problem(
        f"correlated, {_describe('squared', n, d)}", X, _draw_targets(margins, "squared", rng), "squared", 0.0
    )


class Minimum(NamedTuple):
    """The best coefficients, and the objective there in extended precision."""

    coef: Floats
    intercept: float
    value: np.longdouble


def objective(problem: Problem, coef: Floats, intercept: float) -> np.longdouble:
    """The exact objective: losses in float64, their sum in extended precision, so good to 1e-15."""
    total = np.longdouble(0.0)
    for X, y in problem.chunks():
        total += np.sum(_losses(problem.loss, y, X @ coef + intercept), dtype=np.longdouble)
    wide = np.asarray(coef, np.longdouble)
    return total / len(problem.y) + 0.5 * problem.l2 * (wide @ wide)


def suboptimality(problem: Problem, coef: Floats, intercept: float, reference: Minimum) -> float:
    """How far above the minimum, as a share of the minimum: ``(f − f*) / f*``."""
    value = objective(problem, np.asarray(coef, np.float64), float(intercept))
    return float((value - reference.value) / reference.value)


def minimum(problem: Problem) -> Minimum:
    """Newton's method with a Cholesky factor and step halving, until it promises less than 1e-13 of the value."""
    point = np.zeros(problem.X.shape[1] + 1)
    value = objective(problem, point[:-1], 0.0)
    for _ in range(100):
        gradient, hessian = _derivatives(problem, point)
        unit = 1.0 / np.sqrt(np.diag(hessian))  # the factor then sees correlations, not the columns' units
        factor = np.linalg.cholesky(hessian * np.outer(unit, unit))
        step = -unit * np.linalg.solve(factor.T, np.linalg.solve(factor, unit * gradient))
        promised = -0.5 * float(gradient @ step)
        for halvings in range(30):
            trial = point + 0.5**halvings * step
            reached = objective(problem, trial[:-1], trial[-1])
            if reached <= value:
                point, value = trial, reached
                break
        if promised <= 1e-13 * float(value):
            return Minimum(point[:-1], float(point[-1]), value)
    raise ArithmeticError(f"{problem.name}: Newton's method did not converge")


def _derivatives(problem: Problem, point: Floats) -> tuple[Floats, Floats]:
    """Gradient and Hessian in (β, b)."""
    d, n = len(point) - 1, len(problem.y)
    gradient, hessian = np.zeros(d + 1), np.zeros((d + 1, d + 1))
    for X, y in problem.chunks():
        with_ones = np.column_stack((X, np.ones(len(X))))
        z = with_ones @ point
        if problem.loss == "squared":
            slope, curvature = 2.0 * (z - y), np.full(len(y), 2.0)
        else:
            e = np.exp(-np.abs(z))
            slope, curvature = np.where(z >= 0.0, 1.0, e) / (1.0 + e) - y, e / (1.0 + e) ** 2
        gradient += with_ones.T @ slope
        with_ones *= np.sqrt(curvature)[:, None]
        hessian += with_ones.T @ with_ones  # NumPy sees that this is symmetric
    penalty = np.append(np.full(d, problem.l2), 0.0)
    return gradient / n + penalty * point, hessian / n + np.diag(penalty)


def _losses(loss: str, y: Floats, z: Floats) -> Floats:
    if loss == "squared":
        return (y - z) ** 2
    m = np.where(y > 0.0, -z, z)
    return np.maximum(m, 0.0) + np.log1p(np.exp(-np.abs(m)))


def _draw_targets(z: NDArray[Any], loss: str, rng: np.random.Generator) -> Floats:
    """What the model says at margins z: normal noise of variance 1, or classes of probability h(z)."""
    if loss == "squared":
        return z + rng.standard_normal(len(z))
    return (rng.logistic(size=len(z)) < z).astype(np.float64)


def _autoregressive(n: int, d: int, rng: np.random.Generator, mean: Floats, scale: Floats) -> tuple[Floats, Floats]:
    """Features that correlate 0.95^|i−j|, and margins of variance 1."""
    distance = np.abs(np.subtract.outer(np.arange(d), np.arange(d)))
    mix = np.linalg.cholesky(0.95**distance).T
    beta = rng.standard_normal(d)
    beta /= np.linalg.norm(mix @ beta)
    X, margins = np.empty((n, d)), np.empty(n)
    for start in range(0, n, CHUNK_ROWS):
        rows = slice(start, min(start + CHUNK_ROWS, n))
        standard = rng.standard_normal((rows.stop - start, d)) @ mix
        margins[rows] = standard @ beta
        X[rows] = standard * scale + mean
    return X, margins


def _describe(loss: str, n: int, d: int) -> str:
    kind = {"squared": "least squares", "logistic": "logistic"}[loss]
    return f"{kind} {n:,} × {d}"
