"""fastgd itself, by the same two doors as its rivals."""

from __future__ import annotations

from bench.problems import Problem
from bench.rivals import Evaluator, Solution

label = "fastgd"


def fit(problem: Problem, tol: float, method: str) -> Solution:
    import fastgd

    result = fastgd.fit(
        problem.X, problem.y, loss=problem.loss, l2=problem.l2, solver=method, tol=tol, max_iter=100_000
    )
    return Solution(result.coef, result.intercept, float(result.history.passes[-1]))


def evaluator(problem: Problem) -> Evaluator:
    from fastgd._data.dataset import InMemory
    from fastgd._data.tables import as_features
    from fastgd._linear.objective import LinearObjective
    from fastgd._linear.statistics import moments
    from fastgd.losses import LOSSES

    dataset = InMemory(as_features(problem.X), problem.y)
    statistics = moments(dataset, LOSSES["squared"](), about_mean=True)
    objective = LinearObjective(
        dataset, LOSSES[problem.loss](), problem.l2, statistics, intercept=True, standardize=False
    )
    return lambda point: objective(point)[:2]
