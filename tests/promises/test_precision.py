"""Float32 costs no digits: coefficients are those of the float64 fit. ``python -m bench precision`` has ten million."""

import numpy as np
import pytest
from internals import SOLVERS

import fastgd

pytestmark = pytest.mark.slow

N = 500_000


def whole_numbers(rng):
    """https://github.com/scikit-learn/scikit-learn/issues/23376, a tenth: means in float32 lose digits."""
    X = rng.integers(1000, 10_000, (N, 3)).astype(np.float64)
    return X, X @ [3.0, 1.0, -5.0] - 2.0


def correlated(rng):
    """Like https://github.com/scikit-learn/scikit-learn/issues/33032: a cut-off of n times the rounding unit."""
    shared = rng.standard_normal(N)
    X = np.column_stack((shared, shared + 0.03 * rng.standard_normal(N)))
    return X, X @ [1.0, -2.0] + rng.standard_normal(N)


def far_from_zero(rng):
    units = np.logspace(-3, 3, 4)
    X = (100.0 + rng.standard_normal((N, 4))) * units
    return X, X @ (1.0 / units) + rng.standard_normal(N)


CASES = [whole_numbers, correlated, far_from_zero]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("make", CASES)
def test_float32_gives_the_coefficients_of_float64(make, loss, order, rng):
    X, y = make(rng)
    spread = float(y.std())
    y = (y - y.mean()) / spread + rng.logistic(size=N) * (loss != "squared")
    y = y > 0.0 if loss == "logistic" else y
    small = np.asarray(X, np.float32, order)
    options = {"loss": loss, "tol": 1e-9}
    expected = fastgd.fit(small.astype(np.float64), y, **options)
    result = fastgd.fit(small, y, **options)
    assert result.converged and expected.converged
    np.testing.assert_allclose(result.coef, expected.coef, rtol=1e-8)
    assert result.intercept == pytest.approx(expected.intercept, rel=1e-8)
    rounded = fastgd.fit(X, y, **options)  # numbers that float32 does not hold are other numbers, but not by much
    np.testing.assert_allclose(result.coef, rounded.coef, rtol=1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_exact_fit_is_found_exactly_by_every_solver(solver, rng):
    X, y = whole_numbers(rng)
    result = fastgd.fit(X.astype(np.float32), y.astype(np.float32), solver=solver, tol=1e-10)
    assert result.converged, result.message
    np.testing.assert_allclose(result.coef, [3.0, 1.0, -5.0], rtol=1e-9)
    assert result.intercept == pytest.approx(-2.0, abs=1e-5)
