"""SciPy's L-BFGS-B on the two NumPy products: what one writes without a library for regressions."""

from __future__ import annotations

import numpy as np

from bench.problems import Problem
from bench.rivals import Solution
from bench.rivals.numpy_products import evaluator

label = "SciPy"


def fit(problem: Problem, tol: float, method: str) -> Solution:
    from scipy.optimize import minimize

    options = {"gtol": tol, "ftol": 0.0, "maxcor": 20, "maxls": 50, "maxiter": 100_000, "maxfun": 100_000}
    start = np.zeros(problem.X.shape[1] + 1)
    point = minimize(evaluator(problem), start, jac=True, method=method, options=options).x
    return Solution(point[:-1], float(point[-1]))
