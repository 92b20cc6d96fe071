"""What cannot be determined is said: counted, named, warned of; and nothing else is."""

import warnings

import numpy as np
import pytest

import fastgd


def shares(n=3000):
    rng = np.random.default_rng(1)
    P = rng.dirichlet([2, 3, 4], n)
    return P, P @ [1.0, 2.0, 4.0] + 0.1 * rng.standard_normal(n)


@pytest.mark.parametrize("solver", ["auto", "lbfgs"])
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_a_total_that_is_constant_but_for_rounding_is_one(loss, solver):
    P, y = shares()
    X = np.column_stack((P[:, :2], P.sum(axis=1)))
    with pytest.warns(np.exceptions.RankWarning, match="rank 2 of 3.*x2"):
        result = fastgd.fit(X, y > y.mean() if loss == "logistic" else y, loss=loss, solver=solver)
    assert result.converged and result.redundant == ["x2"] and result.rank == 2
    assert np.abs(result.coef).max() < 100.0


@pytest.mark.parametrize("solver", ["auto", "lbfgs"])
def test_shares_that_sum_to_one_but_for_rounding_have_rank_less_one(solver):
    P, y = shares()
    with pytest.warns(np.exceptions.RankWarning, match="rank 2 of 3"):
        result = fastgd.fit(P, y, solver=solver)
    assert result.redundant == ["x2"] and result.converged
    want = np.linalg.lstsq(P - P.mean(axis=0), y - y.mean(), rcond=1e-10)[0]
    np.testing.assert_allclose(result.coef, want, rtol=1e-7)


def test_a_penalty_makes_the_minimum_unique_and_nobody_is_warned():
    P, y = shares()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fastgd.fit(P, y, l2=0.1).converged


@pytest.mark.parametrize("gap", [1e-9, 2.0**-36, 1e-11])
def test_columns_that_qr_tells_apart_are_not_redundant(gap):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(100)
    X = np.column_stack((x, x + gap * rng.standard_normal(100)))
    y = x + rng.standard_normal(100)
    result = fastgd.fit(X, y)
    assert result.redundant == [] and result.rank == 2
    Q = np.linalg.qr(np.column_stack((X - X.mean(axis=0), np.ones(100))))[0]
    assert result.loss <= np.mean((y - Q @ (Q.T @ y)) ** 2) * (1 + 1e-9)


def test_partial_fit_has_no_huge_coefficient_for_a_total():
    P, y = shares()
    X = np.column_stack((P[:, :2], P.sum(axis=1)))
    model = fastgd.LinearRegression(solver="sgd")
    for i in range(0, 3000, 500):
        model.partial_fit(X[i : i + 500], y[i : i + 500])
    assert np.abs(model.coef_).max() < 1e3


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
@pytest.mark.parametrize("solver", ["auto", "lbfgs"])
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_totals_in_float32_are_redundant_as_its_numbers_are_rounded(loss, solver):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((2000, 3))
    y = X[:, 0] + rng.standard_normal(2000)
    X = np.column_stack((X, X.sum(axis=1))).astype(np.float32)
    result = fastgd.fit(X, y > 0 if loss == "logistic" else y, loss=loss, solver=solver)
    assert result.converged and result.redundant == ["x3"] and result.rank == 3
    assert 1e-7 < result.redundant_tol < 1e-6 and np.abs(result.coef).max() < 10.0
