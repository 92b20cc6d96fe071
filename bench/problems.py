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
    """n samples, X (n, d) in C order or SciPy's CSR, y (n,) float64, with the loss and penalty to fit them by."""

    name: str
    X: Any
    y: Floats
    loss: str
    l2: float

    @property
    def sparse(self) -> bool:
        """Whether X is SciPy's."""
        return not isinstance(self.X, np.ndarray)

    @property
    def nbytes(self) -> int:
        """What X takes in memory: if it is sparse, values, columns and where rows begin."""
        X = self.X
        return X.data.nbytes + X.indices.nbytes + X.indptr.nbytes if self.sparse else X.nbytes

    def head(self, rows: int) -> Problem:
        """The same problem on its first rows."""
        return replace(self, X=self.X[:rows], y=self.y[:rows])

    def chunks(self) -> Iterator[tuple[Any, Floats]]:
        """A few rows at a time, in float64, dense or sparse as X is."""
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


def text_like(
    n: int, d: int, per_row: int, dtype: DTypeLike = np.float64, loss: str = "logistic", values: str = "tf-idf"
) -> Problem:
    """Documents of ``per_row`` words, drawn by the law of Zipf and Mandelbrot from d words in no order; X is CSR.

    A fifth of the words has an effect. Values are what scikit-learn's TfidfVectorizer(sublinear_tf=True) gives, rows of
    length 1; or, what is harder because rows are longer, "binary" or "normal". Words that a row has twice are one entry
    in any case, so that there are a few less than ``per_row``.
    """
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(3)
    likelihood = np.cumsum(1.0 / (np.arange(d) + 20.0))
    likelihood /= likelihood[-1]
    words = rng.permutation(d).astype(np.int32)
    drawn = np.empty((n, per_row), np.int32)
    for start in range(0, n, CHUNK_ROWS):
        rows = drawn[start : start + CHUNK_ROWS]
        rows[:] = words[np.searchsorted(likelihood, rng.random(rows.shape))]
        rows.sort(axis=1)
    new = np.ones(drawn.shape, bool)
    new[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
    indptr = np.concatenate(([0], np.cumsum(new.sum(axis=1)))).astype(np.int32)
    first = np.flatnonzero(new)
    indices = drawn.reshape(-1)[first]
    if values == "tf-idf":
        inverse_frequency = np.log((1.0 + n) / (1.0 + np.bincount(indices, minlength=d))) + 1.0
        data = (1.0 + np.log(np.diff(first, append=drawn.size))) * inverse_frequency[indices]
        data /= np.repeat(np.sqrt(np.add.reduceat(data**2, indptr[:-1])), np.diff(indptr))
    else:
        data = rng.standard_normal(len(indices)) if values == "normal" else np.ones(len(indices))
    X = csr_matrix((data.astype(dtype), indices, indptr), shape=(n, d))
    margins = X @ (rng.standard_normal(d) * (rng.random(d) < 0.2))
    margins = 2.5 * (margins - margins.mean()) / margins.std() - 0.5
    single = "" if X.dtype == np.float64 else f" {X.dtype}"
    name = f"{values}, {_describe(loss, n, d)}, {per_row} words a row{single}"
    return Problem(name, X, _draw_targets(margins, loss, rng), loss, 1.0 / n)


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
    """Newton's method with step halving, until it promises less than 1e-13 of the value.

    Its equations are solved by a Cholesky factor or, if X is sparse, by conjugate gradients.
    """
    point = np.zeros(problem.X.shape[1] + 1)
    value = objective(problem, point[:-1], 0.0)
    for _ in range(100):
        gradient, step = _sparse_step(problem, point) if problem.sparse else _dense_step(problem, point)
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


def _dense_step(problem: Problem, point: Floats) -> tuple[Floats, Floats]:
    """Gradient and Newton's step."""
    gradient, hessian = _derivatives(problem, point)
    unit = 1.0 / np.sqrt(np.diag(hessian))  # the factor then sees correlations, not the columns' units
    factor = np.linalg.cholesky(hessian * np.outer(unit, unit))
    return gradient, -unit * np.linalg.solve(factor.T, np.linalg.solve(factor, unit * gradient))


def _sparse_step(problem: Problem, point: Floats) -> tuple[Floats, Floats]:
    """Gradient and Newton's step to four digits, by conjugate gradients in units of the Hessian's diagonal.

    Features are centred without being touched: ``x − m`` has the same products as x, less m's. Without that, entries of
    one sign make the Hessian nearly singular, and what the step promises would say little.
    """
    X, n = problem.X, len(problem.y)
    slope, curvature = _slopes(problem.loss, problem.y, X @ point[:-1] + point[-1])
    gradient = np.append(X.T @ slope / n + problem.l2 * point[:-1], slope.mean())
    weight = curvature / n
    total = weight.sum()
    mean = X.T @ weight / total
    diagonal = np.maximum(X.multiply(X).T @ weight - total * mean**2, 0.0) + problem.l2
    diagonal[diagonal == 0.0] = 1.0
    step, residual = np.zeros_like(mean), -(gradient[:-1] - gradient[-1] * mean)
    direction = residual / diagonal
    length = start = float(residual @ direction)
    for _ in range(1000):
        if length <= 1e-8 * start:
            break
        product = weight * (X @ direction - mean @ direction)
        product = X.T @ product - product.sum() * mean + problem.l2 * direction
        rate = length / float(direction @ product)
        step += rate * direction
        residual -= rate * product
        scaled = residual / diagonal
        previous, length = length, float(residual @ scaled)
        direction = scaled + length / previous * direction
    return gradient, np.append(step, -gradient[-1] / total - mean @ step)


def _slopes(loss: str, y: Floats, z: Floats) -> tuple[Floats, Floats]:
    """Slope and curvature of each sample's loss."""
    if loss == "squared":
        return 2.0 * (z - y), np.full(len(y), 2.0)
    e = np.exp(-np.abs(z))
    return np.where(z >= 0.0, 1.0, e) / (1.0 + e) - y, e / (1.0 + e) ** 2


def _derivatives(problem: Problem, point: Floats) -> tuple[Floats, Floats]:
    """Gradient and Hessian in (β, b)."""
    d, n = len(point) - 1, len(problem.y)
    gradient, hessian = np.zeros(d + 1), np.zeros((d + 1, d + 1))
    for X, y in problem.chunks():
        with_ones = np.column_stack((X, np.ones(len(X))))
        slope, curvature = _slopes(problem.loss, y, with_ones @ point)
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
    return f"{kind} {n:,} × {d:,}"
