"""Every status has data that lead to exactly it, with a sentence that holds the numbers; and the reasons are true."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from internals import STABLE, InMemory, as_design, separation
from scipy import sparse
from scipy.optimize import linprog

import fastgd

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
    slope = float(re.search(r"Gradient norm ([^,]+), .*tol", result.message)[1])
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
    found = re.search(r"The rate was (\S+); .* constant is about (\S+), so .* = (\S+)\. Gradient norm", message)
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
        coordinates, samples = separation.Coordinates(center, scale, intercept, outputs), InMemory(as_design(X), y)
        total = coordinates.rows(samples, np.arange(n)).sum(axis=(0, 1)) / n
        found = separation.separating(samples, coordinates, lambda t=total: t, np.zeros(total.size), 1000)
        separable = -best.fun > 1e-7
        seen[separable] += 1
        assert (found is not None) == separable, (X, y, intercept)
        if separable:
            smallest, largest = coordinates.margins(samples, found.direction)
            assert (found.smallest, found.largest) == (smallest.min(), largest.max())
            assert smallest.min() >= -1e-9 * largest.max() and largest.max() > 0.0
    assert min(seen.values()) >= 10


@quiet
@pytest.mark.parametrize("where", ["chunks", "partitions"])
@pytest.mark.parametrize("several", [False, True], ids=["two", "three"])
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("kind", ["separated", "quasi", "overlapping"])
def test_separable_classes_elsewhere_are_those_in_memory(kind, solver, several, where, elsewhere):
    X, y = classes_of(kind, several)
    samples = elsewhere(where, X, y, 30)
    result = fastgd.fit(*samples, loss="logistic", solver=solver, max_iter=300, memory_limit="1MB")
    whole = fastgd.fit(X, y, loss="logistic", solver=solver, max_iter=300)
    wanted = Status.CONVERGED if kind == "overlapping" else Status.SEPARATED
    assert result.status is whole.status is wanted, (result.message, whole.message)
    if kind != "overlapping":
        said, wanted = (each.message.split(" Gradient norm")[0] for each in (result, whole))
        assert said == wanted and re.search(r"certain, by .*x1", said)


# --- Who tells it ----------------------------------------------------------------------------------------------------


def test_estimators_warn_in_scikit_learns_way_and_once():
    from sklearn.exceptions import ConvergenceWarning

    X, y = classes_of("quasi", several=False)
    with pytest.warns(ConvergenceWarning, match=r"8 of 200 rows .* by x1\.") as caught:
        model = fastgd.LogisticRegression(C=np.inf).fit(X, y)
    assert len(caught) == 1 and model.status_ is Status.SEPARATED
    with pytest.warns(ConvergenceWarning, match="stable up to a rate of 2 / ") as caught:
        fastgd.Ridge(solver="gd", learning_rate=5.0).fit(X, y)
    assert len(caught) == 1
