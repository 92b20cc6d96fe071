"""scikit-learn-intelex: scikit-learn's estimators on oneDAL's kernels, its classes called by name, nothing patched."""

from __future__ import annotations

import numpy as np

from bench.problems import Problem
from bench.rivals import Solution

label = "scikit-learn-intelex"


def fit(problem: Problem, tol: float, method: str) -> Solution:
    from sklearnex.linear_model import LinearRegression, LogisticRegression

    if method == "LinearRegression":
        if problem.l2:
            raise ValueError("LinearRegression has no penalty")
        model = LinearRegression()
    else:
        n = len(problem.y)  # its tolerance is for the gradient of a sum
        model = LogisticRegression(C=1.0 / (n * problem.l2), solver=method, tol=n * tol, max_iter=100_000)
    model.fit(problem.X, problem.y)
    return Solution(np.ravel(model.coef_), float(np.ravel(model.intercept_)[0]))
