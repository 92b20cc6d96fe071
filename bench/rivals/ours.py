"""fastgd itself, by the same two doors as its rivals."""

from __future__ import annotations

from typing import Any

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

    dataset = InMemory(as_features(problem.X), problem.y)
    objective = objective_over(dataset, problem.loss, problem.l2, standardize=False)
    return lambda point: objective(point)[:2]


def objective_over(dataset: Any, loss: str = "logistic", l2: float = 0.0, *, standardize: bool = True) -> Any:
    """Return the objective of a model with an intercept over a data set, wherever its samples are."""
    from fastgd._linear.objective import LinearObjective, ModelSpec
    from fastgd._linear.statistics import moments
    from fastgd.losses import LOSSES

    statistics = moments(dataset, LOSSES["squared"](), about_mean=True)
    return LinearObjective(dataset, ModelSpec.of(LOSSES[loss](), l2, True, standardize), statistics)
