"""The newton solver: right on every kind of data, in few passes, with the same bits for any number of threads."""

import numpy as np
import pytest
from helpers import make_objective
from internals import InMemory, as_design, hessian_of, moments, stratified_rows

import fastgd
from fastgd import losses

pytestmark = pytest.mark.slow


def problem(n, d, loss, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    z = X @ rng.standard_normal(d) / np.sqrt(d)
    y = (rng.random(n) < 1 / (1 + np.exp(-z))) * 1.0 if loss == "logistic" else z + rng.standard_normal(n)
    return X, y


def badly_scaled(loss):
    X, y = problem(60_000, 12, loss)
    mix = np.tril(0.9 ** np.abs(np.subtract.outer(np.arange(12), np.arange(12))))
    return X @ mix * np.logspace(-3, 3, 12) + 5.0 * np.logspace(-3, 3, 12), y


def sorted_by_label(loss):
    X, y = problem(60_000, 5, loss)
    order = np.argsort(y, kind="stable")
    return X[order], y[order]


def rare_class(loss):
    """Thirty positives among 60,000: a sub-sample of 1/16 has two or none."""
    X, y = problem(60_000, 4, loss)
    y[:] = y[:] * 1e-3 if loss != "logistic" else 0.0
    y[::2000] = 1.0
    return X, y


def rare_feature(loss):
    """A 0/1 column that a sub-sample sees as constant."""
    X, y = problem(60_000, 4, loss)
    X[:, 2] = 0.0
    X[::3000, 2] = 1.0
    return X, y


def constant_and_duplicated(loss):
    X, y = problem(40_000, 4, loss)
    return np.column_stack([X, np.full(len(X), 7.0), X[:, 0], X[:, 1] - X[:, 2]]), y


def duplicated_rows(loss):
    X, y = problem(100, 3, loss)
    return np.repeat(X, 500, axis=0), np.repeat(y, 500)


def few_rows(loss):
    return problem(300, 40, loss)


PROBLEMS = [badly_scaled, sorted_by_label, rare_class, rare_feature, constant_and_duplicated, duplicated_rows, few_rows]


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("l2", [0.0, 1e-4])
@pytest.mark.parametrize("loss", losses.LOSSES)
@pytest.mark.parametrize("make", PROBLEMS)
def test_newton_finds_the_minimum(make, loss, l2, standardize):
    X, y = make(loss)
    result = fastgd.fit(X, y, loss=loss, l2=l2, solver="newton", standardize=standardize, tol=1e-9)
    assert result.converged, result.message
    # Convergence is judged by the exact gradient of all rows; judge it again, without fastgd.
    s = 1.0 / len(y)
    z = X @ result.coef + result.intercept
    slope = {
        "squared": lambda: 2 * (z - y),
        "logistic": lambda: 1 / (1 + np.exp(-z)) - y,
        "huber": lambda: 2 * np.clip(z - y, -1.35, 1.35),
    }[loss]()
    gradient = s * (X - X.mean(axis=0)).T @ slope + l2 * result.coef
    spread = X.std(axis=0)
    unit = 1.0 if loss == "logistic" else y.std()
    slopes = gradient[spread > 1e-12] / spread[spread > 1e-12] / unit
    assert np.abs(slopes).max() <= 2e-9
    assert abs(s * slope.sum()) / unit <= 2e-9


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_few_passes_suffice(loss):
    X, y = badly_scaled(loss)
    newton = fastgd.fit(X, y, loss=loss, solver="newton", tol=1e-8)
    lbfgs = fastgd.fit(X, y, loss=loss, solver="lbfgs", tol=1e-8, max_iter=5000)
    assert newton.history.passes[-1] <= 10.0
    assert newton.history.passes[-1] < 0.3 * lbfgs.history.passes[-1]
    assert newton.loss <= lbfgs.loss * (1 + 1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("loss", losses.LOSSES)
def test_bits_do_not_depend_on_threads_or_layout(loss, dtype):
    X, y = problem(60_000, 9, loss)
    X = X.astype(dtype)
    variants = [
        fastgd.fit(X, y, loss=loss, n_threads=1),
        fastgd.fit(X, y, loss=loss),
        fastgd.fit(np.asfortranarray(X), y, loss=loss),
        fastgd.fit(X, y, loss=loss, sample_weight=np.ones(len(y))),
    ]
    for variant in variants[1:]:
        assert (variant.coef == variants[0].coef).all()
        assert (variant.history.loss == variants[0].history.loss).all()
        assert (variant.history.passes == variants[0].history.passes).all()


def test_weights_enter_sub_samples_and_metric():
    X, y = problem(50_000, 5, "logistic")
    weight = np.random.default_rng(1).integers(0, 4, len(y))
    weighted = fastgd.fit(X, y, loss="logistic", sample_weight=weight, solver="newton", tol=1e-11)
    repeated = fastgd.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight), loss="logistic", tol=1e-11)
    np.testing.assert_allclose(weighted.coef, repeated.coef, rtol=1e-9)
    assert weighted.history.passes[-1] < 10.0


def test_rng_changes_the_path_but_not_the_minimum():
    X, y = problem(60_000, 5, "logistic")
    fits = [fastgd.fit(X, y, loss="logistic", solver="newton", rng=rng, tol=1e-10) for rng in (0, 0, 1)]
    assert (fits[0].coef == fits[1].coef).all()
    assert fits[0].history.loss[0] != fits[2].history.loss[0]
    np.testing.assert_allclose(fits[0].coef, fits[2].coef, rtol=1e-7)


def test_a_given_start_is_not_left_for_a_sub_samples_optimum():
    X, y = problem(60_000, 5, "logistic")
    first = fastgd.fit(X, y, loss="logistic", tol=1e-9)
    start = np.append(first.coef, first.intercept)
    assert fastgd.fit(X, y, loss="logistic", tol=1e-9, start=start).n_iter == 0


def test_fewer_rows_than_features_gives_the_penalised_minimum():
    X, y = problem(50, 200, "squared")
    result = fastgd.fit(X, y, l2=0.1, intercept=False, tol=1e-11)
    exact = np.linalg.solve(2 * X.T @ X / 50 + 0.1 * np.eye(200), 2 * X.T @ y / 50)
    np.testing.assert_allclose(result.coef, exact, rtol=1e-7, atol=1e-9)


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
def test_the_result_says_which_solver_ran_and_why():
    X, y = problem(500, 3, "squared")
    assert fastgd.fit(X, y).settings["solver"] == "newton"
    assert "auto" in fastgd.fit(X, y).settings["solver_reason"]
    assert fastgd.fit(X, y, solver="lbfgs").settings["solver_reason"] == "asked for"
    wide = np.random.default_rng(0).standard_normal((30, 2500))
    settings = fastgd.fit(wide, wide[:, 0], l2=1.0).settings
    assert settings["solver"] == "newton"
    assert settings["solver_reason"].endswith("for 30 combinations of rows instead of 2500 columns")
    assert fastgd.fit(wide, np.arange(30) % 2, loss="logistic", max_iter=1).settings["solver"] == "lbfgs"


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("loss", losses.LOSSES)
def test_hessian_is_the_derivative_of_the_gradient(loss, weighted, intercept):
    X, y = problem(3000, 4, loss)
    X = X * [1.0, 100.0, 1e-3, 1.0] + [0.0, 5.0, 0.0, 1e3]
    weight = np.random.default_rng(2).random(len(y)) if weighted else None
    source = InMemory(as_design(X), y, weight)
    statistics = moments(source, losses.Squared(), about_mean=intercept)
    objective = make_objective(source, losses.LOSSES[loss](), 0.01, statistics, intercept, True)
    point = 0.1 * np.arange(1.0, objective.size + 1)
    h = 1e-4
    columns = [
        (objective(point + h * e).gradient - objective(point - h * e).gradient) / (2 * h)
        for e in np.eye(objective.size)
    ]
    # Huber's curvature jumps where residuals pass delta, so a difference over ±h is off by the rows that pass
    tolerance = 2e-2 if loss == "huber" else 1e-6
    np.testing.assert_allclose(hessian_of(objective, point), np.array(columns), rtol=0, atol=tolerance)


@pytest.mark.parametrize(("n", "size"), [(1, 1), (10, 10), (1000, 7), (10**9, 1000)])
def test_stratified_rows(n, size):
    rows = stratified_rows(n, size, np.random.default_rng(0))
    assert rows.shape == (size,)
    assert rows[0] >= 0 and rows[-1] < n
    assert (np.diff(rows) > 0).all()
    assert (rows == stratified_rows(n, size, np.random.default_rng(0))).all()
