"""NumPy's least squares by singular values: on a centred copy of X, which takes the intercept out."""

from __future__ import annotations

import numpy as np

from bench.problems import Problem
from bench.rivals import Solution

label = "NumPy"


def fit(problem: Problem, tol: float, method: str) -> Solution:  # noqa: ARG001
    if problem.l2:
        raise ValueError("lstsq has no penalty")
    X_mean, y_mean = problem.X.mean(axis=0), problem.y.mean()
    coef = getattr(np.linalg, method)(problem.X - X_mean, problem.y - y_mean)[0]
    return Solution(coef, float(y_mean - X_mean @ coef))
