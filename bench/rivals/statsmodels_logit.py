"""statsmodels' Logit by Newton's method: the exact Hessian in every iteration, from a copy of X with a column of ones.

It has no quadratic penalty, so it fits without one: what that costs shows in its gap, which is judged as everyone's.
"""

from __future__ import annotations

import numpy as np

from bench.problems import Problem
from bench.rivals import Solution

label = "statsmodels Logit"


def fit(problem: Problem, tol: float, method: str) -> Solution:
    from statsmodels.api import Logit, add_constant

    model = Logit(problem.y, add_constant(problem.X, prepend=False, has_constant="add"))
    result = model.fit(method=method, tol=tol, maxiter=1000, disp=False, warn_convergence=False)
    params = np.asarray(result.params)
    return Solution(params[:-1], float(params[-1]))
