"""scikit-learn's estimators, and the loss that its logistic solvers share.

Penalties are sums there and means here: ``C = 1 / (n l2)``, ``alpha = n l2 / 2``.
"""

from __future__ import annotations

import numpy as np

from bench.problems import Problem
from bench.report import cores
from bench.rivals import Evaluator, Solution

label = "scikit-learn"


def fit(problem: Problem, tol: float, method: str) -> Solution:
    from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge

    n = len(problem.y)
    if method == "LinearRegression":
        if problem.l2:
            raise ValueError("LinearRegression has no penalty")
        model = LinearRegression()
    elif method.startswith("Ridge"):
        solver = method.partition(" ")[2] or "cholesky"
        model = Ridge(alpha=0.5 * n * problem.l2, solver=solver, tol=tol)
    else:
        # liblinear's dual, the faster by far on text, draws its order at random and penalises the intercept a little.
        options = {"dual": True, "random_state": 0} if method == "liblinear" else {}
        model = LogisticRegression(C=1.0 / (n * problem.l2), solver=method, tol=tol, max_iter=100_000, **options)
    model.fit(problem.X, problem.y)
    return Solution(np.ravel(model.coef_), float(np.ravel(model.intercept_)[0]))


def evaluator(problem: Problem) -> Evaluator:
    from sklearn._loss.loss import HalfBinomialLoss, HalfSquaredError
    from sklearn.linear_model._linear_loss import LinearModelLoss

    X, threads = problem.X, cores()
    y = problem.y.astype(X.dtype)
    half, base_loss = (2.0, HalfSquaredError()) if problem.loss == "squared" else (1.0, HalfBinomialLoss())
    loss = LinearModelLoss(base_loss, fit_intercept=True)

    def evaluate(point):
        value, gradient = loss.loss_gradient(
            point.astype(X.dtype), X, y, l2_reg_strength=problem.l2 / half, n_threads=threads
        )
        return half * float(value), half * gradient

    return evaluate
