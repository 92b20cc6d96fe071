"""Loss and gradient the way one writes them in NumPy: a product for the margins, another for the gradient.

What lies between is done in place and with the functions that NumPy vectorises, in the dtype of X: anything else
would make a converted copy of X.
"""

from __future__ import annotations

import numpy as np

from bench.problems import Problem
from bench.rivals import Evaluator

label = "NumPy"


def evaluator(problem: Problem) -> Evaluator:
    X, l2 = problem.X, problem.l2
    y = problem.y.astype(X.dtype)
    sign = 1 - 2 * y

    def squared(z):
        z -= y
        return z @ z, 2 * z

    def logistic(z):
        z *= sign
        e = np.exp(-np.abs(z))
        loss = np.maximum(z, 0)
        slope = np.where(z >= 0, sign, sign * e)
        e += 1
        slope /= e
        loss += np.log(e, out=e)  # unlike log1p it is vectorised, and absolute precision is enough for a sum
        return loss.sum(), slope

    pointwise = {"squared": squared, "logistic": logistic}[problem.loss]

    def evaluate(point):
        coef, intercept = point[:-1].astype(X.dtype), X.dtype.type(point[-1])
        z = X @ coef
        z += intercept
        total, slope = pointwise(z)
        gradient = np.append(X.T @ slope, slope.sum()).astype(np.float64) / len(y)
        gradient[:-1] += l2 * point[:-1]
        return float(total) / len(y) + 0.5 * l2 * float(point[:-1] @ point[:-1]), gradient

    return evaluate
