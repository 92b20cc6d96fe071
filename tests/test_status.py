"""Every status has data that lead to exactly it, with a sentence that holds the numbers; and the reasons are true."""

import re
import tracemalloc
import warnings
from fractions import Fraction

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.optimize import linprog

import fastgd
from fastgd import redundancy, separation
from fastgd.rules import STABLE
from fastgd.sources import InMemory, as_matrix

Status = fastgd.Status
SOLVERS = ["newton", "lbfgs", "nesterov", "gd", "sgd"]
LOSSES = ["squared", "logistic", "huber"]
quiet = pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")


def problem(loss, n=300, d=4, seed=0):
    """Noisy targets or overlapping classes."""
    rng = np.random.default_rng([seed, n, d])
    X = rng.standard_normal((n, d)) + 1.0
    z = X @ np.linspace(-1, 1, d) + rng.logistic(size=n)
    return X, (z > 0.0).astype(int) if loss == "logistic" else z


# --- How a descent ends ----------------------------------------------------------------------------------------------

ENDS = {
    Status.CONVERGED: {},
    Status.MAX_ITER: {"max_iter": 0, "tol": 1e-12, "start": "random"},
    Status.TIME_LIMIT: {"time_limit": 0.0, "tol": 1e-12, "start": "random"},
    Status.STOPPED: {"callback": lambda row: not row.partial, "tol": 1e-12, "start": "random"},
    Status.PRECISION_LIMIT: {"tol": 0.0, "max_iter": 2000},
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("status", ENDS, ids=lambda status: status.name)
def test_an_end_has_its_status_and_warns_once_if_nobody_wanted_it(status, loss, solver):
    X, y = problem(loss)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = fastgd.fit(X, y, loss=loss, solver=solver, **ENDS[status])
    assert result.status is status, result.message
    assert result.message.startswith(status.value)
    wanted = status in (Status.CONVERGED, Status.STOPPED)
    assert [(w.category, str(w.message), w.filename) for w in caught] == (
        [] if wanted else [(fastgd.ConvergenceWarning, result.message, __file__)]
    )
    slope = float(re.search(r"Largest slope ([^,]+), tol", result.message)[1])
    assert slope in [float(f"{g:.3g}") for g in result.history.gradient_norm]
    assert np.isfinite(result.coef).all()


@quiet
@pytest.mark.parametrize("shape", [(40, 3), (6000, 3), (300, 30)])
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_precision_limit_is_seen_soon_and_is_one(loss, solver, shape):
    X, y = problem(loss, *shape)
    result = fastgd.fit(X, y, loss=loss, solver=solver, tol=0.0, max_iter=1000)
    assert result.status is Status.PRECISION_LIMIT
    best = int(np.argmin(result.history.gradient_norm))
    assert result.history.gradient_norm[best] < 1e-13
    assert result.n_iter <= max(2 * best + 12, best + 51)


@pytest.mark.parametrize("distance", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("loss", LOSSES)
def test_newton_finds_back_from_where_curvature_has_vanished(loss, distance):
    X, y = problem(loss)
    result = fastgd.fit(X, y, loss=loss, solver="newton", start=np.full(5, distance), max_iter=200)
    assert result.converged, result.message
    np.testing.assert_allclose(result.coef, fastgd.fit(X, y, loss=loss).coef, atol=1e-5)


@quiet
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_the_precision_limit_of_a_loss_that_vanishes(solver):
    X, _ = problem("squared")
    result = fastgd.fit(X, X @ np.arange(4.0) + 3.0, solver=solver, tol=0.0)
    assert result.status is Status.PRECISION_LIMIT or result.history.gradient_norm[-1] == 0.0
    np.testing.assert_allclose(result.coef, np.arange(4.0), atol=1e-13)


# --- Diverged --------------------------------------------------------------------------------------------------------


def numbers(message):
    """The rate, the Lipschitz constant and the largest stable rate that a message names."""
    found = re.search(r"The rate was (\S+); .* constant is about (\S+), so .* = (\S+)\. Largest", message)
    return tuple(map(float, found.groups()))


def lipschitz_of(X, loss, l2=0.0):
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    curvature = {"squared": 2.0, "huber": 2.0, "logistic": 0.25}[loss]
    return max(curvature * np.linalg.eigvalsh(Z.T @ Z / len(Z))[-1], curvature) + l2


@quiet
@pytest.mark.parametrize("factor", [0.9, 0.99, 1.01, 1.1, 3.0, 1e6, 1e120])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("solver", ["gd", "nesterov"])
def test_least_squares_diverge_above_the_stable_limit_alone(solver, seed, factor):
    X, y = problem("squared", 200, 6, seed)
    lipschitz = lipschitz_of(X, "squared")
    limit = STABLE[solver] / lipschitz
    result = fastgd.fit(X, y, solver=solver, learning_rate=factor * limit, max_iter=5000)
    assert result.status is (Status.CONVERGED if factor < 1.0 else Status.DIVERGED), result.message
    if factor > 1.0:
        assert numbers(result.message) == pytest.approx((factor * limit, lipschitz, limit), rel=0.02)
        rising = np.flatnonzero(np.diff(result.history.loss) > 0.0)
        assert np.isfinite(result.history.loss).all() and result.n_iter <= (rising[0] + 8 if factor > 3.0 else 500)
        assert result.loss == result.history.loss.min()
    if factor >= 3.0:
        assert result.n_iter <= 6


@quiet
@pytest.mark.parametrize("rate", [1e3, 1e100, 1e200, 1e307])
@pytest.mark.parametrize("solver", ["gd", "nesterov", "sgd"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_wild_rate_is_named_beside_the_lipschitz_constant(loss, solver, rate):
    X, y = problem(loss)
    result = fastgd.fit(X, y, loss=loss, l2=0.1, solver=solver, learning_rate=rate)
    assert result.status is Status.DIVERGED, result.message
    assert len(result.history) <= 10
    said, lipschitz, stable = numbers(result.message)
    assert said == pytest.approx(rate, rel=1e-3)
    # Coordinates are scaled for the penalty, too; batches have larger curvatures than the whole.
    assert 0.5 < lipschitz / lipschitz_of(X, loss) < (6.0 if solver == "sgd" else 1.5)
    again = fastgd.fit(X, y, loss=loss, l2=0.1, solver=solver, learning_rate=0.9 * stable)
    assert again.converged, again.message


@quiet
@pytest.mark.parametrize("factor", [3.0, 10.0, 1e3, 1e6, 1e300])
@pytest.mark.parametrize("solver", ["gd", "nesterov", "sgd"])
@pytest.mark.parametrize("loss", ["logistic", "huber", "three classes"])
def test_where_slopes_are_bounded_too_large_a_rate_is_seen_soon(loss, solver, factor):
    """No overflow comes there, nor a curvature that proves anything: losses stay above the start, or go to and fro."""
    X, y = problem("squared" if loss == "huber" else "logistic")
    options = {"loss": "huber" if loss == "huber" else "logistic", "solver": solver}
    y = y + (X[:, 0] > 1.0) if loss == "three classes" else y
    rate = factor * STABLE[solver] / lipschitz_of(X, options["loss"])
    result = fastgd.fit(X, y, learning_rate=rate, **options)
    assert result.status is Status.DIVERGED, result.message
    assert (
        result.n_iter <= (40 if solver == "sgd" else 20)
        and np.isfinite(result.coef).all()
        and result.loss <= result.history.loss[0]
    )
    assert numbers(result.message)[2] < rate


@quiet
@pytest.mark.parametrize("solver", ["gd", "nesterov"])
def test_a_rate_that_goes_to_and_fro_for_ever_is_recognised(solver):
    """On a valley of bounded slopes too large a rate ends in a cycle, not in infinity."""

    def valley(x):
        return float(np.sqrt(1.0 + x @ x)), x / np.sqrt(1.0 + x @ x)

    result = fastgd.minimize(valley, [0.3, 0.1], solver=solver, learning_rate=3.0, max_iter=1000)
    assert result.status is Status.DIVERGED and result.n_iter < 120, result.message
    assert numbers(result.message)[1] > STABLE[solver] / 3.0


@quiet
@pytest.mark.parametrize("solver", ["gd", "nesterov"])
@pytest.mark.parametrize("factor", [0.97, 1.03])
def test_the_limit_holds_for_minimize(solver, factor):
    H = np.diag([5.0, 1.0, 0.2])
    rate = factor * STABLE[solver] / 5.0
    result = fastgd.minimize(lambda x: (0.5 * x @ H @ x, H @ x), np.ones(3), solver=solver, learning_rate=rate)
    assert result.converged == (factor < 1.0)
    if factor > 1.0:
        assert numbers(result.message) == pytest.approx((rate, 5.0, STABLE[solver] / 5.0), rel=1e-3)


# --- Separated -------------------------------------------------------------------------------------------------------


def classes_of(kind, several):
    """Samples of which all, some or none can be told for certain, and the column that tells them."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((200, 3))
    y = rng.integers(0, 3 if several else 2, 200)
    if kind == "separated":
        X[:, 1] = y + 0.4 * rng.random(200)
        if several:
            X = np.column_stack((X, X[:, 1] ** 2))
    elif kind == "quasi":
        X[:, 1] = 0.0
        X[:8, 1] = rng.random(8) + 1.0
        y[:8] = 1
    return X, y


@quiet
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("several", [False, True], ids=["two", "three"])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", ["separated", "quasi", "overlapping"])
def test_separable_classes_are_recognised_by_every_solver(kind, solver, several, intercept):
    X, y = classes_of(kind, several)
    if kind == "separated" and not intercept:
        X = np.column_stack((X, np.ones(len(X))))
    options = {"loss": "logistic", "solver": solver, "intercept": intercept, "max_iter": 30 if solver == "sgd" else 300}
    result = fastgd.fit(X, y, **options)
    assert result.status is (Status.CONVERGED if kind == "overlapping" else Status.SEPARATED), result.message
    assert np.isfinite(result.coef).all() and np.abs(result.coef).max() < 1e3
    if kind == "separated":
        assert "All 200 rows" in result.message and "x1" in result.message
    if kind == "quasi":
        assert "At least 8 of 200 rows can be told for certain, by x1." in result.message
    penalised = fastgd.fit(X, y, l2=0.1, **options).status
    assert penalised is Status.CONVERGED or (solver in ("gd", "sgd") and penalised is Status.MAX_ITER)


@quiet
@pytest.mark.parametrize("kind", ["separated", "quasi", "overlapping"])
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_separation_in_every_kind_of_data(kind, solver):
    X, y = classes_of(kind, several=False)
    X = np.round(X, 3)
    words = np.array(["no", "yes"])[(X[:, 1] > 1.0).astype(int)]
    kinds = {
        "C": X,
        "Fortran": np.asfortranarray(X),
        "CSR": sparse.csr_array(X),
        "CSC": sparse.csc_array(X),
        "frame": pd.DataFrame({"a": X[:, 0], "word": words, "b": X[:, 1], "c": X[:, 2]}),
    }
    for name, data in kinds.items():
        result = fastgd.fit(data, y, loss="logistic", solver=solver)
        wanted = Status.CONVERGED if kind == "overlapping" else Status.SEPARATED
        assert result.status is wanted, (name, result.message)


@quiet
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_rows_without_weight_separate_nothing_and_hide_nothing(solver):
    X, y = classes_of("separated", several=False)
    X, y = np.vstack((X, X[:1])), np.append(y, 1 - y[0])  # one row contradicts
    weight = np.random.default_rng(0).random(201) + 0.1
    assert fastgd.fit(X, y, loss="logistic", solver=solver, sample_weight=weight).status is not Status.SEPARATED
    weight[-1] = 0.0
    result = fastgd.fit(X, y, loss="logistic", solver=solver, sample_weight=weight)
    assert result.status is Status.SEPARATED and "All 200 rows" in result.message


@quiet
def test_a_rare_level_on_many_rows():
    rng = np.random.default_rng(0)
    n = 60_000
    X = rng.standard_normal((n, 3))
    y = X @ [1.0, -1.0, 0.5] + rng.logistic(size=n) > 0
    level = rng.integers(0, 3000, n)
    rare = np.column_stack((X, level == 5))
    assert fastgd.fit(rare, np.where(level == 5, rng.random(n) < 0.5, y), loss="logistic").converged
    result = fastgd.fit(rare, y | (level == 5), loss="logistic")
    assert result.status is Status.SEPARATED
    assert f"At least {np.sum(level == 5)} of 60000 rows can be told for certain, by x3." in result.message


@quiet
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", ["two", "three", "three, two of them mixed", "two, one mixed up"])
def test_rows_that_can_be_told_are_all_counted(kind, solver):
    """Also the rows that the direction found first has on its border."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 4))
    y = (X[:, 1] + 0.5 * X[:, 2] > 0.0).astype(int)
    if kind == "three":
        y = np.argmax(X[:, :3], axis=1)
    elif kind == "three, two of them mixed":
        y *= rng.integers(1, 3, len(X))
    elif kind == "two, one mixed up":
        X = np.column_stack((X, y))
        X[:, :4] = np.where(np.arange(2000)[:, None] < 1000, X[:1, :4], X[:, :4])  # of one place, and of both classes
        y[:1000], X[:1000, 4] = np.arange(1000) % 2, 0.5
    result = fastgd.fit(X, y, loss="logistic", solver=solver, max_iter=30)
    assert result.status is Status.SEPARATED
    said = {  # where rows stay mixed, the direction may have others on its border
        "three, two of them mixed": r" (At least \d{4} of 2000 rows|All 2000 rows, each from some class,)",
        "two, one mixed up": " At least 1000 of 2000 rows",
    }
    assert re.search(said.get(kind, " All 2000 rows") + " can be told for certain, by ", result.message), result.message


def rows_of(X, y, outputs, intercept):
    A = np.column_stack((X, np.ones(len(X)))) if intercept else X
    if outputs == 1:
        return np.where(y == 1, 1, -1)[:, None] * A
    own = np.eye(outputs)[y]
    differences = (own[:, None] - np.eye(outputs))[:, :, :, None] * A[:, None, None]
    return differences[own == 0].reshape(-1, outputs * A.shape[1])


@pytest.mark.parametrize("several", [False, True], ids=["two", "three"])
@pytest.mark.parametrize("kind", ["integers", "normal", "nearly sorted"])
def test_separation_agrees_with_linear_programming(kind, several):
    rng = np.random.default_rng([several, len(kind)])
    seen = {True: 0, False: 0}
    for _ in range(150):
        n, d, k = rng.integers(3, 25), rng.integers(1, 5), 3 if several else 2
        X = rng.standard_normal((n, d)) if kind == "normal" else rng.integers(-2, 3, (n, d)).astype(float)
        y = rng.integers(0, k, n)
        if kind == "nearly sorted":
            y = np.digitize(X @ rng.integers(-1, 2, d) + 0.5 * rng.integers(-1, 2, n), [0.1, 1.1][: k - 1])
        intercept, outputs = bool(rng.integers(2)), 3 if several else 1
        M = rows_of(X, y, outputs, intercept)
        best = linprog(-M.sum(axis=0), A_ub=-M, b_ub=np.zeros(len(M)), bounds=(-1, 1))
        spread = X.std(axis=0) if intercept else np.sqrt((X**2).mean(axis=0))
        center, scale = X.mean(axis=0) * intercept, np.where(spread > 0.0, spread, np.inf)
        coordinates, samples = separation.Coordinates(center, scale, intercept, outputs), InMemory(as_matrix(X), y)
        total = coordinates.rows(samples, np.arange(n)).sum(axis=(0, 1)) / n
        direction = separation.separating(samples, coordinates, lambda t=total: t, np.zeros(total.size), 1000)
        separable = -best.fun > 1e-7
        seen[separable] += 1
        assert (direction is not None) == separable, (X, y, intercept)
        if separable:
            smallest, largest = coordinates.margins(samples, direction)
            assert smallest.min() >= -1e-9 * largest.max() and largest.max() > 0.0
    assert min(seen.values()) >= 10


# --- Redundant columns -----------------------------------------------------------------------------------------------


def redundant_data(kind, n=400):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((n, 4)) * [1.0, 100.0, 0.1, 10.0] + [0.0, 0.0, 0.0, 1e3]
    further = {
        "none": np.empty((n, 0)),
        "constant": np.full((n, 1), 7.0),
        "twice": X[:, :1],
        "units": 1.8 * X[:, 1:2] + 32.0,
        "sum": (X[:, 0] + 0.01 * X[:, 1])[:, None],
        "dummies": np.eye(3)[rng.integers(0, 3, n)],
        "several": np.column_stack((X[:, 2] * 5.0, np.full(n, -0.1), X[:, 0] - X[:, 3])),
    }[kind]
    names = {"none": [], "dummies": ["x6"], "several": ["x4", "x5", "x6"]}.get(kind, ["x4"])
    return np.column_stack((X, further)), names


REDUNDANT = ["none", "constant", "twice", "units", "sum", "dummies", "several"]


@pytest.mark.parametrize(("solver", "l2"), [*((solver, 0.0) for solver in SOLVERS), ("newton", 0.1)])
@pytest.mark.parametrize("kind", REDUNDANT)
def test_redundant_columns_are_named_and_the_fit_is_the_smallest(kind, solver, l2):
    X, names = redundant_data(kind)
    rng = np.random.default_rng(0)
    y = X @ np.array([1.0, 0.01, 10.0, 0.1, *np.zeros(X.shape[1] - 4)]) + rng.standard_normal(len(X))
    result = fastgd.fit(X, y, solver=solver, l2=l2, tol=1e-9, max_iter=5000)
    assert result.converged and result.redundant == names
    assert ("Redundant" in result.message) == bool(names) and all(name in result.message for name in names)
    Z, spread = X - X.mean(axis=0), np.where(X.std(axis=0) > 1e-12, X.std(axis=0), 1.0)
    if l2:
        expected = np.linalg.solve(Z.T @ Z / len(X) + 0.5 * l2 * np.eye(X.shape[1]), Z.T @ (y - y.mean()) / len(X))
    else:  # any solution, then the smallest in its row space: lstsq itself drops small units
        some = np.linalg.lstsq(Z / spread, y - y.mean(), rcond=1e-10)[0] / spread
        directions = np.linalg.svd(Z / spread, full_matrices=False)
        span = np.linalg.qr(directions.Vh[1e-10 * directions.S[0] < directions.S].T * spread[:, None])[0]
        expected = span @ (span.T @ some)
    np.testing.assert_allclose((result.coef - expected) * spread, 0.0, atol=1e-6 * np.abs(expected * spread).max())
    assert result.intercept == pytest.approx(y.mean() - X.mean(axis=0) @ expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_that_rounding_alone_tells_apart_are_named(dtype, solver):
    X, y = problem("squared")
    X = np.column_stack((X, 3.3 * X[:, 0], X[:, 1] + 1e-5 * y)).astype(np.float32).astype(dtype)
    result = fastgd.fit(X, y, solver=solver, max_iter=1000, l2=1e-6)
    assert result.redundant == (["x4"] if dtype is np.float32 else [])
    assert ("in the precision of float32" in result.message) == (dtype is np.float32)


@pytest.mark.parametrize("intercept", [True, False])
def test_redundancy_depends_on_the_intercept(intercept):
    X, _ = redundant_data("several")
    result = fastgd.fit(X, X[:, 0], intercept=intercept)
    assert result.redundant == (["x4", "x5", "x6"] if intercept else ["x4", "x6"])


def test_redundancy_is_found_beside_levels_that_a_sample_has_not(rng):
    n, share = 60_000, np.arange(1.0, 131.0) ** -1.5
    table = {"level": rng.choice(130, n, p=share / share.sum()).astype(str), "x": rng.standard_normal(n)}
    y = table["x"] + rng.standard_normal(n)
    assert fastgd.fit(table, y, l2=1e-6).redundant == []
    assert fastgd.fit({**table, "twice": 2.0 * table["x"]}, y, l2=1e-6).redundant == ["twice"]


@pytest.mark.parametrize("n", [400, 20_000])
def test_the_smallest_are_taken_whatever_normal_equations_round(n, rng):
    X = rng.standard_normal((n, 4))
    rare = (np.arange(n) < 2) * 1.0
    X = np.column_stack((X, 2.0 * X[:, 0], rare, 3.0 * rare))
    for data in (X, sparse.csr_array(X)):
        y = X[:, :4].sum(axis=1) + rng.standard_normal(n)
        result = fastgd.fit(data, y, tol=1e-10)
        expected = np.linalg.lstsq(X - X.mean(axis=0), y - y.mean(), rcond=1e-10)[0]
        np.testing.assert_allclose(result.coef, expected, atol=1e-9)


def test_numbers_without_squares_in_rows_of_hardly_any_weight_are_looked_at(rng):
    X, weight = rng.standard_normal((30, 3)), np.ones(30)
    X[:, 2] = 2.0 * X[:, 0]
    X[3, 1], weight[3] = 1e160, 1e-250
    for y in (X[:, 0], X[:, 0] > 0.0):
        result = fastgd.fit(X, y, loss="squared", sample_weight=weight, l2=0.1)
        assert result.redundant == ["x2"]


def test_many_constants_take_no_memory(rng):
    X = sparse.random_array((500, 20_000), density=1e-3, format="csr", rng=rng)
    y = X.sum(axis=1) + rng.standard_normal(500)
    options = {"solver": "lbfgs", "tol": 10.0}
    fastgd.fit(X, y, **options)
    tracemalloc.start()
    result = fastgd.fit(X, y, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(result.redundant) == np.sum(X.count_nonzero(axis=0) == 0) > 10_000
    assert peak < 30e6  # a number for each pair of columns would be a gigabyte


def exact_smallest(X, y, intercept):
    """β = Aᵀ (A Aᵀ)⁻¹ y in rational numbers, of rows about the first one if there is an intercept."""
    A, y = [[Fraction(value) for value in row] for row in X], [Fraction(value) for value in y]
    if intercept:
        A, y = [[a - b for a, b in zip(row, A[0], strict=True)] for row in A[1:]], [value - y[0] for value in y[1:]]
    rows = [[sum(a * b for a, b in zip(p, q, strict=True)) for q in A] + [value] for p, value in zip(A, y, strict=True)]
    for k in range(len(rows)):
        rows[k] = [value / rows[k][k] for value in rows[k]]
        for i in set(range(len(rows))) - {k}:
            rows[i] = [a - rows[i][k] * b for a, b in zip(rows[i], rows[k], strict=True)]
    return [float(sum(row[-1] * own[j] for row, own in zip(rows, A, strict=True))) for j in range(len(A[0]))]


@pytest.mark.parametrize("seed", [82, 135, 153, 262, 264, 274, 444, 463])
@pytest.mark.parametrize("intercept", [True, False])
def test_the_smallest_coefficients_fit_exactly_whatever_the_sizes_of_columns(seed, intercept):
    rng = np.random.default_rng(seed)
    n, d = 4 + intercept, 5
    sizes = 10.0 ** rng.integers(-8, 9, d)
    X, y = rng.integers(-24, 25, (n, d)) / 8 * sizes, rng.integers(-24, 25, n) / 8
    result = fastgd.fit(X, y, intercept=intercept, tol=1e-9)
    assert result.redundant == ["x4"]
    np.testing.assert_allclose((result.coef - exact_smallest(X, y, intercept)) * sizes, 0.0, atol=1e-12)


def test_weights_of_zero_make_columns_redundant():
    X, _ = redundant_data("none")
    X = np.column_stack((X, X[:, 0] + (np.arange(400) < 9)))
    assert fastgd.fit(X, X[:, 0]).redundant == []
    assert fastgd.fit(X, X[:, 0], sample_weight=(np.arange(400) >= 9) * 1.0).redundant == ["x4"]


def test_a_sample_that_is_refuted_is_no_reason():
    rng = np.random.default_rng(0)
    n = 50_000
    X = rng.standard_normal((n, 3))
    single = np.zeros((n, 30))
    single[rng.choice(n, 30, replace=False), np.arange(30)] = 1.0
    X = np.column_stack((X, single, X[:, 0], single.sum(axis=1)))
    assert fastgd.fit(X, X[:, 0] + rng.standard_normal(n), solver="lbfgs").redundant == ["x33", "x34"]


@pytest.mark.parametrize("rank", [1, 3, 8])
@pytest.mark.parametrize("n", [5, 12, 500])
@pytest.mark.parametrize("intercept", [True, False])
def test_as_many_columns_are_kept_as_the_rank_is(n, rank, intercept):
    rng = np.random.default_rng([n, rank])
    X = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, 10))
    Z = X - X.mean(axis=0) * intercept
    spread = np.sqrt((Z**2).mean(axis=0))
    source, draws = InMemory(as_matrix(X), np.zeros(n)), np.random.default_rng(0)
    found, _ = redundancy.redundant_columns(
        source, redundancy.drawn(source, draws), X.mean(axis=0), spread, intercept=intercept, rng=draws
    )
    assert len(found.kept) == np.linalg.matrix_rank(Z, 1e-9) and len(found.redundant) == 10 - len(found.kept)
    coef = rng.standard_normal((2, 10))
    smallest = found.smallest(coef)
    np.testing.assert_allclose(smallest, (np.linalg.pinv(Z, 1e-10) @ Z @ coef.T).T, atol=1e-8)


# --- Wherever the samples live ---------------------------------------------------------------------------------------


class Readings(list):
    """Chunks, and how often they have been read to the end."""

    count = 0

    def __iter__(self):
        yield from super().__iter__()
        self.count += 1


def elsewhere(where, X, y, rows):
    """Give samples, cut after so many, as `fit` takes them; they are not to be kept."""
    if where == "partitions":
        return da.from_array(X, (rows, X.shape[1])), da.from_array(y, rows)
    starts = range(0, len(X), rows)
    return Readings((X[start : start + rows], y[start : start + rows]) for start in starts), None


ELSEWHERE = ["chunks", "partitions"]


@pytest.mark.parametrize("where", ELSEWHERE)
@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("kind", REDUNDANT)
def test_redundant_columns_elsewhere_are_those_in_memory(kind, solver, loss, where):
    X, names = redundant_data(kind, 6000)
    rng = np.random.default_rng(0)
    y = X[:, :4] @ [1.0, 0.01, 10.0, 0.1] - 100.0 + rng.logistic(size=len(X))
    y = y > 0.0 if loss == "logistic" else y
    options = {"loss": loss, "solver": solver, "tol": 1e-10, "memory_limit": "1MB", "cache": "none", "max_iter": 5000}
    samples = elsewhere(where, X, y, 1100)
    if where == "partitions":
        del options["cache"]
    result = fastgd.fit(*samples, **options)
    whole = fastgd.fit(X, y, loss=loss, solver=solver, tol=1e-10, max_iter=5000)
    assert result.redundant == whole.redundant == names and result.converged
    np.testing.assert_allclose(result.coef * whole.spread, whole.coef * whole.spread, atol=1e-7, rtol=0.0)
    np.testing.assert_allclose(result.loss, whole.loss, rtol=1e-12)


@pytest.mark.parametrize("where", ELSEWHERE)
def test_a_sample_elsewhere_that_is_refuted_is_no_reason(where, rng):
    """Of columns that are 1 in a single row and 0 in all others, no sample says anything."""
    n = 20_000
    single = np.zeros((n, 30))
    single[rng.choice(n, 30, replace=False), np.arange(30)] = 1.0
    X = rng.standard_normal((n, 3))
    X = np.column_stack((X, single, X[:, 0], single.sum(axis=1)))
    y = X[:, 0] + rng.standard_normal(n) > 0
    result = fastgd.fit(*elsewhere(where, X, y, 3000), loss="logistic", solver="lbfgs", memory_limit="4MB", l2=1e-3)
    assert result.redundant == ["x33", "x34"]


@pytest.mark.parametrize(("loss", "surveys"), [("squared", 0), ("logistic", 1)])
def test_columns_that_are_independent_cost_no_reading(loss, surveys, rng):
    X = rng.standard_normal((20_000, 8)) + np.arange(8) * 5
    y = X[:, 0] + rng.standard_normal(20_000)
    chunks, _ = elsewhere("chunks", X, y > 0.0 if loss == "logistic" else y, 3000)
    result = fastgd.fit(chunks, loss=loss, tol=1e-8, memory_limit="4MB", cache="none")
    assert result.converged and result.redundant == []
    assert chunks.count == surveys + len(result.history)


@quiet
@pytest.mark.parametrize("where", ELSEWHERE)
@pytest.mark.parametrize("several", [False, True], ids=["two", "three"])
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("kind", ["separated", "quasi", "overlapping"])
def test_separable_classes_elsewhere_are_those_in_memory(kind, solver, several, where):
    X, y = classes_of(kind, several)
    samples = elsewhere(where, X, y, 30)
    result = fastgd.fit(*samples, loss="logistic", solver=solver, max_iter=300, memory_limit="1MB")
    whole = fastgd.fit(X, y, loss="logistic", solver=solver, max_iter=300)
    wanted = Status.CONVERGED if kind == "overlapping" else Status.SEPARATED
    assert result.status is whole.status is wanted, (result.message, whole.message)
    if kind != "overlapping":
        said, wanted = (each.message.split(" Largest slope")[0] for each in (result, whole))
        assert said == wanted and re.search(r"certain, by .*x1", said)


# --- Who tells it ----------------------------------------------------------------------------------------------------


def test_a_saved_model_keeps_what_happened(tmp_path):
    X, _ = redundant_data("dummies")
    result = fastgd.fit(X, X[:, 0])
    result.save(tmp_path / "model.json")
    loaded = fastgd.load(tmp_path / "model.json")
    assert (loaded.redundant, loaded.message, loaded.status) == (["x6"], result.message, result.status)


def test_estimators_warn_in_scikit_learns_way_and_once():
    from sklearn.exceptions import ConvergenceWarning

    X, y = classes_of("quasi", several=False)
    with pytest.warns(ConvergenceWarning, match=r"8 of 200 rows .* by x1\.") as caught:
        model = fastgd.LogisticRegression(C=np.inf).fit(X, y)
    assert len(caught) == 1 and model.status_ is Status.SEPARATED
    with pytest.warns(ConvergenceWarning, match="stable up to a rate of 2 / ") as caught:
        fastgd.Ridge(solver="gd", learning_rate=5.0).fit(X, y)
    assert len(caught) == 1


@pytest.mark.parametrize(
    "row", [[2.125, 0.875, 1e15], [2.125, 8.75e-11], [0.002125, 0.875, 0.125], [1e-100, 1.0, 1e100]]
)
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
def test_the_smallest_coefficients_fit_to_rounding_whatever_their_sizes(row, solver):
    X = np.array([row])
    result = fastgd.fit(X, [-1.375], intercept=False, solver=solver)
    np.testing.assert_allclose(X @ result.coef, -1.375, rtol=2e-15)
    assert row[0] == 1e-100 or np.linalg.norm(result.coef) <= 1.375 / np.linalg.norm(X) * (1 + 1e-12)


def test_constants_have_no_coefficient_whatever_their_size(rng):
    X = np.column_stack((rng.standard_normal((8, 12)), np.full(8, 1e14)))
    result = fastgd.fit(X, X[:, 0])
    assert result.coef[-1] == 0.0 and "x12" in result.redundant
    np.testing.assert_allclose(result.predict(X), X[:, 0], atol=1e-12)
