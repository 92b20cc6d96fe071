"""Columns that say nothing new are named, wherever samples live; of coefficients that fit alike come the smallest."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from internals import InMemory, as_design, collinearity, diagnostics
from scipy import sparse

import fastgd

pytestmark = pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")

SOLVERS = ["newton", "lbfgs", "nesterov", "gd", "sgd"]
ELSEWHERE = ["chunks", "partitions"]


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
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 4)) + 1.0
    y = X @ np.linspace(-1, 1, 4) + rng.logistic(size=300)
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
    source, draws = InMemory(as_design(X), np.zeros(n)), np.random.default_rng(0)
    found, _ = collinearity.redundant_columns(
        source,
        collinearity.drawn(source, draws),
        np.hypot(X.mean(axis=0), spread),
        spread,
        intercept=intercept,
        rng=draws,
    )
    assert len(found.kept) == np.linalg.matrix_rank(Z, 1e-9) and len(found.redundant) == 10 - len(found.kept)
    coef = rng.standard_normal((2, 10))
    smallest = found.smallest(coef)
    np.testing.assert_allclose(smallest, (np.linalg.pinv(Z, 1e-10) @ Z @ coef.T).T, atol=1e-8)


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


def test_a_saved_model_keeps_what_happened(tmp_path):
    X, _ = redundant_data("dummies")
    result = fastgd.fit(X, X[:, 0])
    result.save(tmp_path / "model.json")
    loaded = fastgd.load(tmp_path / "model.json")
    assert (loaded.redundant, loaded.message, loaded.status) == (["x6"], result.message, result.status)


# --- Wherever the samples live ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ELSEWHERE)
@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("kind", REDUNDANT)
def test_redundant_columns_elsewhere_are_those_in_memory(kind, solver, loss, where, elsewhere):
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
def test_a_sample_elsewhere_that_is_refuted_is_no_reason(where, elsewhere, rng):
    """Of columns that are 1 in a single row and 0 in all others, no sample says anything."""
    n = 20_000
    single = np.zeros((n, 30))
    single[rng.choice(n, 30, replace=False), np.arange(30)] = 1.0
    X = rng.standard_normal((n, 3))
    X = np.column_stack((X, single, X[:, 0], single.sum(axis=1)))
    y = X[:, 0] + rng.standard_normal(n) > 0
    result = fastgd.fit(*elsewhere(where, X, y, 3000), loss="logistic", solver="lbfgs", memory_limit="4MB", l2=1e-3)
    assert result.redundant == ["x33", "x34"]


# Beside surveys and evaluations: Gram matrices, all rows' Hessian where a sub-sample's hides a direction, and searches.
@pytest.mark.parametrize(("loss", "surveys", "further"), [("squared", 0, (0, 3, 3)), ("logistic", 1, (0, 1, 5))])
def test_redundant_columns_cost_few_readings_and_independent_ones_none(loss, surveys, further, elsewhere, rng):
    X = rng.standard_normal((20_000, 8)) + np.arange(8) * 5
    y = X[:, 0] + rng.standard_normal(20_000)
    for twice, l2, count in zip((False, True, True), (0.0, 1e-3, 0.0), further, strict=True):
        data = np.column_stack((X, 2.0 * X[:, 1])) if twice else X
        chunks, _ = elsewhere("chunks", data, y > 0.0 if loss == "logistic" else y, 3000)
        result = fastgd.fit(chunks, loss=loss, l2=l2, tol=1e-8, memory_limit="4MB", cache="none")
        assert result.converged and result.redundant == ["x8"] * twice
        assert chunks.count == surveys + len(result.history) + count


# --- Many columns, of which a row has few ----------------------------------------------------------------------------


def planes_and_carriers(further, n=9000, planes=600, carriers=8):
    """Flights by planes, each of one carrier, as a table, and the names of the columns that R leaves out."""
    rng = np.random.default_rng(5)
    share = np.arange(1.0, planes + 1.0) ** -0.5
    plane = np.concatenate((np.arange(planes), rng.choice(planes, n - planes, p=share / share.sum())))
    owner = rng.integers(0, carriers, planes)
    x = rng.standard_normal(n) + 30.0
    table = {"x": x, "carrier": owner[plane].astype(str), "plane": np.char.zfill(plane.astype(str), 3), **further(x)}
    last = [np.flatnonzero(owner == each)[-1] for each in range(carriers) if each != owner[0]]
    return table, x + rng.standard_normal(n), [f"plane[{each:03d}]" for each in sorted(last)]


@pytest.fixture
def no_sample(monkeypatch):
    monkeypatch.setattr(diagnostics, "redundant_columns", None)


@pytest.mark.usefixtures("no_sample")
@pytest.mark.filterwarnings("ignore::fastgd.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_the_last_level_that_others_determine_is_left_out_without_a_sample(loss):
    table, y, last = planes_and_carriers(lambda x: {"fahrenheit": 1.8 * x + 32.0})
    y = y > 30.0 if loss == "logistic" else y
    result = fastgd.fit(table, y, loss=loss, max_iter=20)
    assert result.redundant == [*last, "fahrenheit"]


@pytest.mark.filterwarnings("ignore::fastgd.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("apart", [1e-3, 1e-6, 1e-9])
def test_a_column_next_to_another_is_not_redundant_among_many(apart, rng):
    table, y, last = planes_and_carriers(lambda x: {"near": x + apart * rng.standard_normal(len(x))})
    assert fastgd.fit(table, y).redundant == last


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_products_tell_the_same_columns_as_a_sample(intercept, weighted, monkeypatch, rng):
    table, y, last = planes_and_carriers(lambda x: {"twice": 2.0 * x, "seven": np.full(len(x), 7.0)})
    weight = rng.integers(0, 3, len(y)) * 1.0 if weighted else None
    results = []
    for cheap in (True, False):
        monkeypatch.setattr(diagnostics, "products_are_cheap", lambda _, cheap=cheap: cheap)
        results.append(fastgd.fit(table, y, intercept=intercept, sample_weight=weight))
    first, second = results
    assert first.redundant == second.redundant
    assert weighted or not intercept or first.redundant == [*last, "twice", "seven"]
    np.testing.assert_allclose(first.coef, second.coef, atol=1e-7)
