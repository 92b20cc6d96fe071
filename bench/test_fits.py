"""``pytest bench --benchmark-only``: small fits, each within 1e-6 of the minimum."""

from dataclasses import replace
from functools import cache

import pytest

from bench import problems
from bench.rivals import FIELD

MAKERS = {
    "standard normal": lambda: problems.standard_normal(50_000, 50),
    "penalised": lambda: replace(problems.standard_normal(20_000, 20), l2=0.1),
    "correlated": lambda: problems.correlated_least_squares(50_000, 50),
}
UNPENALISED = {"statsmodels_logit"}
GAP = 1e-6
TOL = 1e-5

pytestmark = pytest.mark.filterwarnings("ignore")


@cache
def solved(name):
    problem = MAKERS[name]()
    return problem, problems.minimum(problem)


@pytest.mark.parametrize("rival", FIELD, ids=lambda rival: f"{rival.file}-{rival.method}")
@pytest.mark.parametrize("name", MAKERS)
def test_fit(benchmark, name, rival):
    problem, reference = solved(name)
    if problem.loss not in rival.losses:
        pytest.skip("another loss")
    if name == "penalised" and rival.file in UNPENALISED:
        pytest.skip("it has no penalty")
    try:
        rival.fit(problem, TOL)
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    benchmark.group = f"{problem.name}, l2 {problem.l2:g}"
    solution = benchmark.pedantic(rival.fit, (problem, TOL), rounds=5)
    assert problems.suboptimality(problem, *solution[:2], reference) <= GAP
