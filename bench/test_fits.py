"""``pytest bench --benchmark-only -n 0``: small fits, each within 1e-6 of the minimum."""

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
LOSSES = {"standard normal": "logistic", "penalised": "logistic", "correlated": "squared"}
UNPENALISED = {"statsmodels_logit"}
GAP = 1e-6
TOL = 1e-5

pytestmark = pytest.mark.filterwarnings("ignore")


@cache
def solved(name):
    problem = MAKERS[name]()
    return problem, problems.minimum(problem)


PAIRS = [
    pytest.param(name, rival, id=f"{name}-{rival.file}-{rival.method}")
    for name, loss in LOSSES.items()
    for rival in FIELD
    if loss in rival.losses and not (name == "penalised" and rival.file in UNPENALISED)
]


@pytest.mark.parametrize(("name", "rival"), PAIRS)
def test_fit(benchmark, name, rival):
    problem, reference = solved(name)
    try:
        rival.fit(problem, TOL)
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")  # rivals are nobody's dependency; the tables say so, too
    benchmark.group = f"{problem.name}, l2 {problem.l2:g}"
    solution = benchmark.pedantic(rival.fit, (problem, TOL), rounds=5)
    assert problems.suboptimality(problem, *solution[:2], reference) <= GAP
