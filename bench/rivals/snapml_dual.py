"""IBM Snap ML's logistic regression: dual coordinate descent on all cores.

What it sweeps is epochs: with a tolerance it may stop anywhere. Its penalty is ``½ ‖β‖²`` beside the sum of losses
over ``n l2``, and it penalises the intercept as any coefficient: a few 1e-10 of the minimum at n = 500,000, 1e-7 at
20,000.
"""

from __future__ import annotations

import numpy as np

from bench.problems import Problem
from bench.report import cores
from bench.rivals import Solution

label = "Snap ML"


def fit(problem: Problem, tol: float, method: str) -> Solution:
    from snapml import LogisticRegression

    model = LogisticRegression(
        max_iter=int(tol),
        tol=1e-30,
        regularizer=len(problem.y) * problem.l2,
        dual=method == "dual",
        n_jobs=cores(),
        fit_intercept=True,
        random_state=0,
    )
    model.fit(problem.X, problem.y)
    return Solution(np.ravel(model.coef_), float(np.ravel(model.intercept_)[0]))
