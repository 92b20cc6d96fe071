"""``pytest bench --benchmark-only``: small fits, each within 1e-6 of the minimum."""

from functools import cache

import pytest

from bench import problems
from bench.rivals import RIVALS

MAKERS = {
    "standard normal": lambda: problems.standard_normal(50_000, 50),
    "correlated": lambda: problems.correlated_least_squares(50_000, 50),
}
GAP = 1e-6
TOL = 1e-7


@cache
def solved(name):
    problem = MAKERS[name]()
    return problem, problems.minimum(problem)


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: f"{rival.file}-{rival.method}")
@pytest.mark.parametrize("name", MAKERS)
def test_fit(benchmark, name, rival):
    problem, reference = solved(name)
    if problem.loss not in rival.losses:
        pytest.skip("another loss")
    pytest.importorskip({"scikit_learn": "sklearn", "scipy_lbfgs": "scipy"}.get(rival.file, "numpy"))
    benchmark.group = problem.name
    solution = benchmark.pedantic(rival.fit, (problem, TOL), rounds=5, warmup_rounds=1)
    assert problems.suboptimality(problem, *solution[:2], reference) <= GAP
