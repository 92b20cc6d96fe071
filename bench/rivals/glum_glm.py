"""glum's generalised linear regressor, whose objective is fastgd's: a mean of losses and ½ alpha ‖β‖².

It prefers columns to rows by more than the copy costs; the copy is part of the fit.
"""

from __future__ import annotations

import numpy as np

from bench.problems import Problem
from bench.rivals import Solution

label = "glum"


def fit(problem: Problem, tol: float, method: str) -> Solution:
    from glum import GeneralizedLinearRegressor

    model = GeneralizedLinearRegressor(
        family="binomial",
        alpha=problem.l2,
        l1_ratio=0,
        fit_intercept=True,
        solver=method,
        gradient_tol=tol,
        max_iter=100_000,
        copy_X=False,
    )
    model.fit(problem.X.tocsc() if problem.sparse else np.asfortranarray(problem.X), problem.y)
    return Solution(model.coef_, float(model.intercept_))
