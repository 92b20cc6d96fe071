"""What is called converged is at its minimum, and has its digits: against exact rational solutions."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import fastgd

quiet = pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning", "ignore::numpy.exceptions.RankWarning")
WHERE = ["memory", "chunks", "partitions"]


def exact(X, y, weight=None, *, intercept=True, l2=0.0):
    """Solve least squares in rational numbers: coefficients, followed by the intercept if there is one."""
    rows = [[*map(Fraction, row), *([Fraction(1)] if intercept else [])] for row in np.asarray(X, float).tolist()]
    s = [Fraction(1)] * len(rows) if weight is None else [*map(Fraction, weight.tolist())]
    t, size = [*map(Fraction, np.asarray(y, float).tolist())], len(rows[0])
    a = [
        [sum(w * r[i] * r[j] for w, r in zip(s, rows, strict=True)) for j in range(size)]
        + [sum(w * r[i] * v for w, r, v in zip(s, rows, t, strict=True))]
        for i in range(size)
    ]
    for i in range(size - intercept):
        a[i][i] += Fraction(l2) / 2 * sum(s)
    for k in range(size):
        pivot = max(range(k, size), key=lambda i: abs(a[i][k]))
        a[k], a[pivot] = a[pivot], a[k]
        a[k] = [v / a[k][k] for v in a[k]]
        for i in range(size):
            if i != k:
                a[i] = [v - a[i][k] * u for v, u in zip(a[i], a[k], strict=True)]
    return [row[-1] for row in a]


def digits(result, wanted, *, intercept=True):
    got = [*result.coef.tolist(), *([result.intercept] if intercept else [])]
    worst = max(abs(Fraction(g) - w) / abs(w) for g, w in zip(got, wanted, strict=True))
    return -np.log10(float(worst) + 1e-17)


@pytest.fixture
def fit(elsewhere):
    """Fit samples in memory, in chunks or in partitions of 30 rows."""

    def fitted(where, X, y, sample_weight=None, **options):
        if where == "memory":
            return fastgd.fit(X, y, sample_weight=sample_weight, **options)
        if where == "chunks":
            return fastgd.fit(elsewhere(where, X, y, 30, sample_weight)[0], cache="none", **options)
        given = elsewhere(where, X, y, 30, sample_weight)
        return fastgd.fit(*given[:2], sample_weight=given[2] if len(given) > 2 else None, **options)

    return fitted


def hard(name):
    rng = np.random.default_rng(7)
    n = 90
    x = rng.standard_normal(n)
    t = np.sort(rng.uniform(-9, -3, 82))
    designs = {
        "degree 5": np.arange(21.0)[:, None] ** np.arange(1, 6),
        "degree 10": t[:, None] ** np.arange(1, 11),
        "2^-20": np.column_stack((x, x + 2.0**-20 * rng.integers(-4, 5, n))),
        "2^-30": np.column_stack((x, x + 2.0**-30 * rng.integers(-4, 5, n))),
        "2^-36": np.column_stack((x, x + 2.0**-36 * rng.integers(-4, 5, n))),
        "years": np.arange(1950.0, 2010.0)[:, None] ** np.arange(1, 5),
        "shares": rng.dirichlet([2, 3, 4, 5], n).round(6) * 100,
        "far": 1e8 + rng.standard_normal((n, 3)),
    }
    X = designs[name]
    return X, (X - X.mean(0)) @ (1 / X.std(0)) + rng.standard_normal(len(X))


LEAST = {"degree 5": 13, "degree 10": 11, "2^-20": 9, "2^-30": 8, "2^-36": 5, "years": 12, "shares": 14, "far": 13}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("name", LEAST)
def test_least_squares_keep_their_digits(name, where, fit):
    X, y = hard(name)
    result = fit(where, X, y)
    assert result.converged and not result.redundant and result.history.passes[-1] <= 2.0
    assert digits(result, exact(X, y)) >= LEAST[name]


@quiet
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("name", LEAST)
def test_no_solver_converges_without_digits(name, where, fit):
    X, y = hard(name)
    result = fit(where, X, y, solver="lbfgs")
    assert not result.converged or digits(result, exact(X, y)) >= 4


@pytest.mark.parametrize("name", ["degree 10", "2^-30", "far"])
def test_weights_no_intercept_float32_targets_and_penalties_keep_their_digits(name, fit):
    X, y = hard(name)
    weight = np.random.default_rng(0).integers(1, 5, len(X)).astype(float)
    wanted = exact(X, y, weight)
    assert digits(fastgd.fit(X, y, sample_weight=weight), wanted) >= 8
    assert digits(fit("chunks", X, y, sample_weight=weight), wanted) >= 8
    assert digits(fit("partitions", X, y, sample_weight=weight), wanted) >= 8
    assert digits(fastgd.fit(X, y, intercept=False), exact(X, y, intercept=False), intercept=False) >= 10
    assert digits(fastgd.fit(X, y, standardize=False), exact(X, y)) >= 8
    assert digits(fastgd.fit(X, y, l2=1e-12), exact(X, y, l2=1e-12)) >= 8
    both = fastgd.fit(X, np.column_stack((y, 1e6 * y[::-1])))
    np.testing.assert_allclose(both.coef[0], fastgd.fit(X, y).coef, rtol=1e-8)
    np.testing.assert_allclose(both.coef[1], 1e6 * fastgd.fit(X, y[::-1].copy()).coef, rtol=1e-8)


def test_float32_and_sparse_keep_their_digits():
    rng = np.random.default_rng(3)
    x = rng.integers(-500, 500, 90)
    X = np.column_stack((x, x + 2.0**-10 * rng.integers(-4, 5, 90))).astype(np.float32)
    y = X[:, 0] + rng.standard_normal(90)
    assert digits(fastgd.fit(X, y), exact(X, y)) >= 11
    S = sparse.random_array((90, 3), density=0.4, format="csr", rng=rng)
    S = sparse.hstack((S, S[:, :1] + 2.0**-25 * (S[:, :1] != 0).multiply(rng.integers(-4, 5, (90, 1))))).tocsr()
    for data in (S, S.tocsc(), S.toarray()):
        assert digits(fastgd.fit(data, y), exact(S.toarray(), y)) >= 9


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("shift", [1e9, 2.0**40, 2.0**49])
@pytest.mark.parametrize("weight", [None, np.arange(1.0, 61.0)], ids=["unweighted", "weighted"])
def test_a_constant_added_to_y_changes_the_intercept_alone(weight, shift, where, fit):
    rng = np.random.default_rng(4)
    X = rng.integers(-9, 10, (60, 4)).astype(float)
    y = (X @ [2.0, -4.0, 6.0, 1.0] + rng.integers(-5, 6, 60)) / 2
    moved, still = (fit(where, X, y + c, sample_weight=weight) for c in (shift, 0.0))
    np.testing.assert_allclose(moved.coef, still.coef, rtol=1e-13)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("solver", ["auto", "lbfgs"])
@pytest.mark.parametrize("shift", [1e8, 2.0**40])
def test_where_features_lie_costs_no_digit(shift, solver, where, fit):
    rng = np.random.default_rng(5)
    X = rng.integers(-(2**10), 2**10, (120, 3)) / 2.0**8
    y = X @ [1.0, -1.0, 0.5] + rng.logistic(size=120) > 0.0
    near, far = (fit(where, X + c, y, loss="logistic", solver=solver) for c in (0.0, shift))
    assert far.converged
    np.testing.assert_allclose(far.coef, near.coef, rtol=1e-9)


@quiet
@pytest.mark.parametrize("solver", ["auto", "lbfgs", "gd", "nesterov"])
@pytest.mark.parametrize("loss", ["squared", "logistic", "huber"])
def test_the_distance_in_standard_errors_is_what_it_says(loss, solver):
    rng = np.random.default_rng(6)
    X = rng.standard_normal((500, 3))
    X[:, 2] = X[:, 0] + 0.1 * X[:, 2]
    y = X.sum(axis=1) + rng.logistic(size=500)
    y = y > 0 if loss == "logistic" else y
    best = fastgd.fit(X, y, loss=loss, tol=1e-11)
    A = np.column_stack((X, np.ones(500)))
    eta = A @ np.append(best.coef, best.intercept)
    p = 1 / (1 + np.exp(-eta))
    curvature = (
        p * (1 - p) if loss == "logistic" else 2.0 * (np.ones(500) if loss == "squared" else np.abs(eta - y) < 1.35)
    )
    dispersion = 1.0 if loss == "logistic" else 2.0 * best.loss
    errors = np.sqrt(dispersion * np.diag(np.linalg.inv((A * curvature[:, None]).T @ A)))
    for tol in (1e-1, 1e-3, 1e-6):
        result = fastgd.fit(X, y, loss=loss, solver=solver, tol=tol, max_iter=20_000)
        off = np.append(result.coef - best.coef, result.intercept - best.intercept) / errors
        assert result.converged and result.error_estimate.distance <= tol
        assert np.abs(off).max() <= 1.5 * tol


@pytest.mark.parametrize("solver", ["auto", "lbfgs"])
def test_rare_classes_are_within_a_thousandth_of_a_standard_error(solver):
    rng = np.random.default_rng(5)
    n = 100_000
    X = rng.standard_normal((n, 2))
    X[:3] += [[1.0, -0.5]]
    y = np.arange(n) < 3
    A = np.column_stack((X, np.ones(n)))
    beta = np.array([0.0, 0.0, np.log(3 / n)])
    for _ in range(40):
        p = 1 / (1 + np.exp(-A @ beta))
        H = (A * (p * (1 - p))[:, None]).T @ A
        beta += np.linalg.solve(H, A.T @ (y - p))
    result = fastgd.fit(X, y, loss="logistic", solver=solver)
    off = (np.append(result.coef, result.intercept) - beta) / np.sqrt(np.diag(np.linalg.inv(H)))
    assert result.converged and np.abs(off).max() < 1e-5


def test_rare_levels_do_not_stall():
    rng = np.random.default_rng(2)
    n, k = 100_000, 300
    p = 1 / np.arange(1, k + 1) ** 2.2
    level = rng.choice(k, n, p=p / p.sum())
    x = rng.standard_normal(n)
    y = -1 + rng.normal(0, 0.5, k)[level] + 0.5 * x + rng.standard_normal(n)
    result = fastgd.fit(pd.DataFrame({"zip": [f"z{i:03d}" for i in level], "x": x}), y, l2=2.0 / n)
    assert result.converged and result.n_iter <= 12


def nearly_equal(d, n):
    """Two of many columns that are 1e-6 apart, and targets that tell them apart."""
    rng = np.random.default_rng(d)
    X, apart = rng.standard_normal((n, d)), rng.standard_normal(n)
    X[:, -1] = X[:, -2] + 1e-6 * apart
    return X, X[:, 0] + 0.1 * apart + rng.standard_normal(n)


@pytest.mark.parametrize("solver", ["auto", "lbfgs"])
@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_many_columns_do_not_hide_that_two_are_nearly_equal(loss, solver):
    X, y = nearly_equal(270, 1500)
    result = fastgd.fit(X, y, loss=loss, solver=solver)
    Q, R = np.linalg.qr(np.column_stack((X, np.ones(len(X)))))
    best = np.linalg.solve(R, Q.T @ y)
    assert result.converged and result.redundant == []
    np.testing.assert_allclose(result.coef[-1], best[-2], rtol=1e-5 if loss == "squared" else 0.1)


@quiet
@pytest.mark.parametrize("solver", ["auto", "lbfgs", "gd"])
@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_what_rounding_hides_is_not_called_converged(loss, solver):
    X, y = nearly_equal(530, 1500)
    Q, R = np.linalg.qr(np.column_stack((X, np.ones(len(X)))))
    best = np.linalg.solve(R, Q.T @ y)
    result = fastgd.fit(X, y, loss=loss, solver=solver)
    assert not result.converged or abs(result.coef[-1] / best[-2] - 1.0) < 0.1
    X[:, -1] = X[:, -2]  # an exact duplicate hides nothing
    assert fastgd.fit(X, y, loss=loss, solver=solver).converged


@pytest.mark.parametrize("solver", ["auto", "lbfgs"])
def test_columns_that_only_rows_outside_the_sub_sample_tell_apart(solver):
    n = 400_000
    rng = np.random.default_rng(2)
    x = (rng.random(n) < 0.3) * 1.0
    other = x.copy()
    few = rng.choice(n, 6, replace=False)
    other[few] = 1.0 - other[few]
    X = np.column_stack((x, other, rng.standard_normal(n)))
    y = x + X[:, 2] + rng.logistic(size=n) > 0.0
    result, best = (fastgd.fit(X, y, loss="logistic", solver=solver, tol=tol) for tol in (1e-4, 1e-9))
    assert result.converged and result.redundant == []
    np.testing.assert_allclose(result.coef, best.coef, rtol=1e-5)


def test_targets_that_are_fitted_exactly_end_by_rounding(rng):
    X = rng.standard_normal((500, 3))
    result = fastgd.fit(X, X @ [1.0, 2.0, 3.0] + 1.0, solver="lbfgs")
    assert result.converged and "at the minimum but for rounding" in result.message
    np.testing.assert_allclose(result.coef, [1.0, 2.0, 3.0], rtol=1e-12)
