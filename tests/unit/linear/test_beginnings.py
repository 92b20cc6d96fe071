"""Where descents begin: least squares from one pass, sub-samples read where they lie, and what "auto" picks."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.datasets
from internals import Array, InMemory, LinearProblem, ModelSpec, as_design, choose_solver, passes

import fastgd
from fastgd import losses
from fastgd.penalties import L2

# NIST's certified values for Longley's data, whose columns are nearly collinear: intercept, then coefficients.
LONGLEY = [
    -3482258.63459582,
    15.0618722713733,
    -0.0358191792925910,
    -2.02022980381683,
    -1.03322686717359,
    -0.0511041056535807,
    1829.15146461355,
]


@pytest.mark.parametrize("standardize", [True, False])
def test_certified_values_of_longley(standardize):
    data = statsmodels.datasets.longley.load_pandas()
    result = fastgd.fit(data.exog.to_numpy(), data.endog.to_numpy(), standardize=standardize, tol=1e-13)
    if standardize:
        np.testing.assert_allclose([result.intercept, *result.coef], LONGLEY, rtol=1e-10)
    else:  # condition number 2e19: all that can be asked for are predictions
        exact = data.exog.to_numpy() @ LONGLEY[1:] + LONGLEY[0]
        np.testing.assert_allclose(result.predict(data.exog.to_numpy()), exact, rtol=1e-4)


def solved(X, y, weight, l2, intercept):
    """Normal equations in extended precision, but for the solution itself."""
    X, y, s = X.astype(np.longdouble), y.astype(np.longdouble), weight.astype(np.longdouble)
    s = s / s.sum()
    mean, y_mean = (s @ X, s @ y) if intercept else (np.zeros(X.shape[1]), 0.0)
    Z, t = X - mean, y - y_mean
    hessian = 2 * (Z.T * s) @ Z + l2 * np.eye(X.shape[1])
    scale = np.sqrt(np.diagonal(hessian))
    coef = np.linalg.solve((hessian / scale / scale[:, None]).astype(float), (2 * (Z.T * s) @ t / scale).astype(float))
    return coef / scale.astype(float), float(y_mean - mean @ (coef / scale))


LAYOUTS = {"C": np.ascontiguousarray, "F": np.asfortranarray}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_least_squares_take_one_reading(dtype, intercept, standardize, weighted, l2, layout, rng):
    n, d = 3000, 11
    X = LAYOUTS[layout]((rng.standard_normal((n, d)) * np.logspace(-1, 1, d) + np.linspace(-3, 3, d)).astype(dtype))
    y = X @ rng.standard_normal(d) + rng.standard_normal(n) + 5.0
    weight = rng.integers(0, 3, n).astype(float) if weighted else np.ones(n)
    how = {"l2": l2, "intercept": intercept, "standardize": standardize}
    result = fastgd.fit(X, y, sample_weight=weight if weighted else None, **how)
    coef, b = solved(X, y, weight, l2, intercept)
    np.testing.assert_allclose(result.coef, coef, rtol=1e-9, atol=1e-9 * abs(coef).max())
    assert result.intercept == pytest.approx(b, rel=1e-9, abs=1e-9)
    loss = weight @ (y - X @ coef - b) ** 2 / weight.sum() + 0.5 * l2 * coef @ coef
    assert result.loss == pytest.approx(loss, rel=1e-10)
    assert result.converged and result.history.passes.tolist() == [1.0]
    assert "one pass" in result.settings["solver_reason"]


def test_a_small_tolerance_takes_gradients_from_the_data(rng):
    X = rng.standard_normal((2000, 6)) @ np.diag(np.logspace(0, -4, 6)) @ rng.standard_normal((6, 6))
    y = X @ np.ones(6) + 0.1 * rng.standard_normal(2000)
    result = fastgd.fit(X, y, tol=1e-14)
    assert result.history.passes[0] > 1.0
    exact = np.linalg.lstsq(np.column_stack((X, np.ones(2000))), y)[0]
    np.testing.assert_allclose(result.predict(X), X @ exact[:-1] + exact[-1], rtol=0, atol=1e-9)


def test_the_loss_of_a_perfect_fit_is_read_from_the_data(rng):
    X = rng.standard_normal((2000, 5))
    result = fastgd.fit(X, X @ np.arange(5.0) + 2.0)
    assert result.history.passes[0] == 2.0
    assert result.loss < 1e-24


@pytest.mark.parametrize("noise", [1e-2, 1.0])
@pytest.mark.parametrize("tol", [1e-6, 1e-12])
def test_a_first_row_far_from_all_others_hides_no_digits(tol, noise, rng):
    """Sums are taken about the first row: squares of its distance forget what is small beside them."""
    X = rng.standard_normal((100_000, 3))
    X[0] = [1e3, -2e3, 1.5e3]
    y = X @ [1.0, 2.0, 3.0] + noise * rng.standard_normal(100_000)
    result = fastgd.fit(X, y, tol=tol)
    residual = y - X @ result.coef - result.intercept
    assert result.loss == pytest.approx(np.mean(residual**2), rel=1e-7)
    slopes = 2.0 * np.append(residual @ (X - X.mean(axis=0)) / X.std(axis=0), residual.sum()) / len(y) / y.std()
    assert abs(slopes).max() <= 2.0 * tol


@pytest.mark.parametrize("convert", [np.asarray, np.asfortranarray, lambda X: X[:, ::-1], lambda X: X.astype(np.int32)])
def test_rows_of_a_sub_sample_are_read_where_they_lie(convert, rng):
    X = convert(100.0 * rng.standard_normal((70_000, 20)))
    y, rows = X[:, 0] * 0.5, np.flatnonzero(rng.random(70_000) < 0.7)
    coef, loss = rng.standard_normal(20), losses.Squared()

    def sums(source):
        return source.sum_tiles(lambda tile, block_rows: passes.loss_sums(tile, coef, 0.3, loss, block_rows)).tobytes()

    subset = InMemory(as_design(X), y).take(rows)
    assert sums(subset) == sums(InMemory(as_design(X[rows]), y[rows]))
    again = np.arange(0, len(rows), 3)
    assert sums(subset.take(again)) == sums(InMemory(as_design(X[rows][again]), y[rows][again]))


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning", "ignore::numpy.exceptions.RankWarning")
@pytest.mark.parametrize("seed", range(4))
def test_rare_levels_of_one_class_do_not_lead_astray(seed):
    """Sub-samples then have no minimum, and no worse place to begin than 0 may come of them; as in UCI's adult."""
    rng, n = np.random.default_rng(seed), 30_000
    work = rng.choice(["?", "gov", "own", "private"], n, p=[0.06, 0.14, 0.1, 0.7]).astype(object)
    work[:10] = "never"
    jobs = rng.choice(["clerk", "farm", "sales", "tech"], n)
    shares = 1.0 / np.arange(1, 41) ** 3
    land = rng.choice([f"l{k}" for k in range(40)], n, p=shares / shares.sum()).astype(object)
    land[10] = "single"
    table = pd.DataFrame({"age": rng.uniform(17, 90, n), "gain": np.exp(rng.normal(8.5, 1.0, n))})
    table["gain"] *= rng.random(n) < 0.08
    table["work"], table["land"] = work, land
    table["job"] = np.where(np.isin(work, ["?", "never"]), "?", jobs)  # so that a level of jobs is redundant
    z = 0.03 * table["age"] + 3e-4 * table["gain"] + 0.5 * (work == "own") - 0.6 * (table["job"] == "farm") - 3.2
    y = pd.Series((z + rng.logistic(size=n) > 0.0).astype(int))
    y[:11] = 0
    certain = np.zeros(n, bool)
    for name in ("work", "job", "land"):
        certain |= y.groupby(table[name]).transform("std").fillna(0.0) == 0.0
    result = fastgd.fit(table, y, loss="logistic")
    assert result.status.name == "SEPARATED"
    assert result.loss < result.history.loss[0] <= np.log(2.0) + 1e-12
    others = fastgd.fit(table[~certain], y[~certain], loss="logistic")
    assert others.converged
    own = dict(zip(result.coef_names, result.coef, strict=True))
    np.testing.assert_allclose([own[name] for name in others.coef_names], others.coef, rtol=0, atol=1e-4)
    assert own["work[never]"] < -10.0 and own["land[single]"] < -10.0


CHOICES = [
    ("squared", 10_000, 5, "newton", "one pass"),
    ("squared", 60_000, 150, "newton", "Hessian costs"),
    ("squared", 40, 100, "newton", "one pass"),
    ("logistic", 10_000, 5, "newton", "Hessian costs"),
    ("logistic", 20, 300, "newton", "Hessian costs"),
    ("logistic", 20, 1500, "lbfgs", "as much as"),
    ("squared", 30, 2500, "lbfgs", "as much as"),
    ("huber", 100, 4000, "lbfgs", "256 MB"),
]


@pytest.mark.parametrize(("loss", "n", "d", "solver", "reason"), CHOICES)
def test_auto_goes_by_cost_and_memory(loss, n, d, solver, reason):
    dataset = InMemory(Array(np.zeros((n, d), np.float32)), np.zeros(n))
    problem = LinearProblem(ModelSpec(losses.LOSSES[loss](), L2(0.0), True, True), dataset, outputs=1)
    chosen = choose_solver(problem, "auto", "auto")
    assert chosen.info.name == solver and reason in chosen.reason
