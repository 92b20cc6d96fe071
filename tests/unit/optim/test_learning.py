"""Sweeps over learning rates: the verdict of each, and the limit."""

import numpy as np
import pytest

import fastgd
from fastgd import surfaces

NAMES = ("too small", "good", "oscillating", "diverging")


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 3)) * [1.0, 5.0, 0.2]
    return X, X @ [1.0, -1.0, 2.0] + rng.standard_normal(300)


def test_a_bowl_has_all_four_verdicts_in_order():
    sweep = fastgd.learning_rates(surfaces.elongated_bowl, rates=[0.21, 0.001, 0.1, 0.19], max_iter=200)
    assert sweep.verdicts == NAMES and sweep.limit == pytest.approx(0.2, rel=1e-6)
    np.testing.assert_array_equal(sweep.rates, [0.001, 0.1, 0.19, 0.21])
    assert [result.status.name for result in sweep.results] == ["MAX_ITER", "CONVERGED", "CONVERGED", "DIVERGED"]
    table = str(sweep)
    assert all(name in table for name in NAMES) and "2/L: 0.2" in table and table.count("\n") == 5


@pytest.mark.parametrize("surface", ["bowl", "himmelblau", "double_well", "rastrigin"])
def test_the_limit_is_that_of_the_minimum(surface):
    sweep = fastgd.learning_rates(surfaces.SURFACES[surface])
    best = min(sweep.results, key=lambda result: result.loss)
    assert sweep.limit == pytest.approx(2.0 / fastgd.stationary(surfaces.SURFACES[surface], best.x).eigenvalues[-1])
    assert "good" in sweep.verdicts and sweep.verdicts[0] == "too small"
    for rate, verdict in zip(sweep.rates, sweep.verdicts, strict=True):
        assert rate < 0.9 * sweep.limit or verdict in ("oscillating", "diverging")


def test_where_there_is_no_end_no_rate_is_good():
    for objective, start in (
        (surfaces.monkey_saddle, None),
        (surfaces.saddle, None),
        (lambda p: (p.sum(), np.ones(2)), [0, 0]),
    ):
        sweep = fastgd.learning_rates(objective, start=start)
        assert set(sweep.verdicts) <= {"too small", "diverging"} and (sweep.rates > 1e-4).all()


@pytest.mark.parametrize("standardize", [True, False])
def test_of_data(data, standardize):
    X, y = data
    sweep = fastgd.learning_rates(X, y, standardize=standardize, max_iter=200)
    Z = np.column_stack(((X - X.mean(0)) / X.std(0) if standardize else X, np.ones(len(X))))
    exact = 2.0 / np.linalg.eigvalsh(2.0 * Z.T @ Z / len(Z))[-1]
    assert sweep.limit == pytest.approx(exact, rel=0.05)
    assert sweep.verdicts[0] == "too small" and sweep.verdicts[3:] == ("oscillating", "diverging")
    given = fastgd.learning_rates(X, y, [0.5 * exact], standardize=standardize)
    assert isinstance(given.results[0], fastgd.FitResult) and given.results[0].settings["learning_rate"] == 0.5 * exact


@pytest.mark.parametrize(
    ("arguments", "options", "fragment"),
    [
        ((lambda p: (p @ p, 2 * p),), {}, "start is missing"),
        ((np.ones((3, 2)),), {}, "y is missing"),
        ((surfaces.bowl,), {"rates": []}, "rates is empty"),
        ((surfaces.bowl,), {"rates": [0.1, -1.0]}, "rates=-1.0"),
        ((surfaces.bowl,), {"solver": "gd"}, "by itself"),
    ],
)
def test_errors(arguments, options, fragment):
    with pytest.raises((ValueError, TypeError)) as error:
        fastgd.learning_rates(*arguments, **options)
    assert fragment in str(error.value)
