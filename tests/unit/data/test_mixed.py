"""Tables with categories give what the dense array of their zeros and ones gives, wherever the categories stand."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from helpers import make_objective
from internals import (
    RUNS,
    Array,
    InMemory,
    Subset,
    as_features,
    coef_names,
    hessian_of,
    max_threads,
    moments,
    normal_equations,
    passes,
    patch,
)

import fastgd
from fastgd import losses

N = 5000
TARGETS = {  # passes over these columns know of a loss its slopes alone; each more compiles kernels for half a minute
    "squared": lambda y: y,
    "logistic": lambda y: y > 0.3,
    "softmax": lambda y: np.digitize(y, [-1.0, 0.0, 0.5]),
    "two targets": lambda y: np.column_stack((y, 3.0 - y**2)),
}
LOSS = {"softmax": "logistic", "two targets": "squared"}


def make(n=N, drop_first=True, seed=0):
    """Make a table that begins with a category and has numbers between others, the array it stands for, and targets."""
    rng = np.random.default_rng(seed)
    levels = {"k": ["p", "q", "r"], "many": [f"{j:02}" for j in range(30)], "two": ["no", "yes"]}
    shares = {name: 1.0 / np.arange(1, len(own) + 1) ** 1.5 for name, own in levels.items()}
    codes = {name: rng.choice(len(share), n, p=share / share.sum()) for name, share in shares.items()}
    numbers = {"a": rng.standard_normal(n), "b": rng.integers(-9, 9, n), "c": rng.random(n).astype(np.float32)}
    names = ["k", "a", "many", "two", "b", "c"]
    table = {name: np.array(levels[name])[codes[name]] if name in codes else numbers[name] for name in names}
    blocks = [
        codes[name][:, None] == np.arange(drop_first, len(levels[name])) if name in codes else numbers[name]
        for name in names
    ]
    X = np.column_stack(blocks).astype(np.float64)
    y = X @ rng.standard_normal(X.shape[1]) / 3 + 0.5 * rng.standard_normal(n)
    return table, X, y


def weights(n=N):
    rng = np.random.default_rng(1)
    return rng.random(n) * (rng.random(n) < 0.7)


def objective(design, y, loss, weight=None, n_threads=None):
    source = InMemory(design, y, weight)
    if loss == "softmax":
        chosen, outputs = losses.Softmax(), 4
    else:
        chosen, outputs = losses.LOSSES[LOSS.get(loss, loss)](), 1 if y.ndim == 1 else y.shape[1]
    statistics = moments(source, chosen, about_mean=True, n_threads=n_threads)
    return make_objective(source, chosen, 0.1, statistics, True, True, n_threads, outputs)


def of_coefs(design, d, outputs):
    """Give the places of a dense point's numbers in a point of the matrix."""
    rows = np.arange(outputs * (d + 1)).reshape(outputs, -1)
    return np.column_stack((rows[:, :d][:, design.order], rows[:, d])).ravel()


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("drop_first", [True, False])
@pytest.mark.parametrize("loss", TARGETS)
def test_passes_equal_those_of_the_dense_array(loss, drop_first, weighted, as_dense, rng):
    table, X, y = make(drop_first=drop_first)
    y, weight, d = TARGETS[loss](y), weights() if weighted else None, X.shape[1]
    design = as_features(table, "auto", drop_first=drop_first)
    np.testing.assert_array_equal(as_dense(design), X)
    dense, mixed = objective(Array(X), y, loss, weight), objective(design, y, loss, weight)
    for name, got, expected in zip(dense.moments._fields, mixed.moments, dense.moments, strict=True):
        got = got[design.order] if name in ("mean", "spread") else got
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14, err_msg=name)
    order = of_coefs(design, d, dense.outputs)
    point = 0.3 * rng.standard_normal(dense.size)
    there = np.empty(dense.size)
    there[order] = point
    for got, expected in zip(mixed.to_coefficients(there), dense.to_coefficients(point), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-13)
    got, expected = mixed(there), dense(point)
    assert got.value == pytest.approx(expected.value, rel=1e-13)
    np.testing.assert_allclose(got.gradient[order], expected.gradient, rtol=1e-11, atol=1e-13)
    hessian = hessian_of(dense, point)
    order = order[: len(hessian)]  # of several targets, one's
    np.testing.assert_allclose(hessian_of(mixed, there)[np.ix_(order, order)], hessian, rtol=1e-9, atol=1e-11)
    if "squared" in (loss, LOSS.get(loss)):
        for about_mean in (True, False):
            got, expected = (
                normal_equations(each.dataset, dense.outputs, about_mean=about_mean) for each in (mixed, dense)
            )
            own = design.order
            np.testing.assert_allclose(got.moments.spread[own], expected.moments.spread, rtol=1e-12)
            np.testing.assert_allclose(got.covariance[np.ix_(own, own)], expected.covariance, rtol=1e-11, atol=1e-13)
            np.testing.assert_allclose(got.cross[:, own], expected.cross, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("loss", TARGETS)
def test_threads_and_tiles_change_no_bit(loss, weighted, monkeypatch, rng):
    patch(monkeypatch, "block_bytes", 1 << 14)
    patch(monkeypatch, "small_pass", 0)
    patch(monkeypatch, "serial_gram", 0)
    table, _, y = make()
    weight = weights() if weighted else None
    found = set()
    point = None
    for n_threads in (1, max_threads()):
        for blocks in (1, 3, 1000):
            design = as_features(table, "auto")
            design.tile_bytes = int(blocks * design.block_rows * design.row_bytes) + 1
            assert 6 * design.block_rows < N  # tiles of 1, 3 and all
            each = objective(design, TARGETS[loss](y), loss, weight, n_threads)
            point = rng.standard_normal(each.size) if point is None else point
            value, gradient, *_ = each(point)
            parts = [*each.moments, value, gradient, hessian_of(each, point)]
            found.add(b"".join(np.asarray(part).tobytes() for part in parts))
    assert len(found) == 1


@pytest.mark.parametrize("drop_first", [True, False])
def test_rows_are_those_of_the_dense_array(drop_first, as_dense, rng):
    table, X, y = make(drop_first=drop_first)
    design = as_features(table, "auto", drop_first=drop_first)
    source = InMemory(design, y, weights())
    rows = rng.permutation(N)[:777]
    further = np.array([3, 700, 3])
    for some in (design.copy_rows(rows), Subset(design, rows), design.take(rows), source.take(rows).design):
        assert some.features == design.features
        np.testing.assert_array_equal(as_dense(some), X[rows])
        np.testing.assert_array_equal(as_dense(some.take(further)), X[rows[further]])
        np.testing.assert_array_equal(as_dense(Subset(some, further)), X[rows[further]])
        coef = rng.standard_normal((2, X.shape[1]))
        expected = X[rows] @ coef.T + [1.0, 2.0]
        np.testing.assert_allclose(some.linear_predictor(coef, np.array([1.0, 2.0])), expected, rtol=1e-12, atol=1e-13)
    sample = source.sample(900, np.random.default_rng(0))
    drawn = InMemory(Array(X), y, weights()).sample(900, np.random.default_rng(0))
    np.testing.assert_array_equal(as_dense(sample.design), drawn.design.tile(0, 900).X)
    np.testing.assert_array_equal(sample.y, drawn.y)
    starts = np.sort(rng.choice(N // 8, RUNS, replace=False)) * 8
    tile, firsts = source.runs(starts, 8)
    dense, starts = InMemory(Array(X), y, weights()).runs(starts, 8)
    coef = rng.standard_normal((1, X.shape[1]))
    own = np.empty_like(coef)
    own[:, design.order] = coef
    loss, zeros = losses.LOSSES["logistic"](), np.zeros((1, X.shape[1]))
    got = passes.change_sums(tile, (own, [0.5]), (zeros, [0.0]), loss, firsts, 8).sum(axis=0)
    expected = passes.change_sums(dense, (coef, [0.5]), (zeros, [0.0]), loss, starts, 8).sum(axis=0)
    np.testing.assert_allclose(np.append(got[:2], got[2:][design.order]), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("only", [True, False])
def test_a_category_of_one_level_has_no_coefficient(only, as_dense):
    table, X, y = make()
    same = {"one": ["x"] * N}
    table = {**same, "a": table["a"]} if only else {**table, **same}
    expected = fastgd.fit(X[:, 2:3] if only else X, y)
    got = fastgd.fit(table, y)
    assert not any(name.startswith("one") for name in got.coef_names)
    np.testing.assert_allclose(got.coef, expected.coef, rtol=1e-11)
    np.testing.assert_allclose(got.predict(table), expected.predict(X[:, 2:3] if only else X), rtol=1e-11, atol=1e-12)
    with pytest.raises(ValueError, match=r"X has shape \(5000, 0\)"):
        fastgd.fit(same, y)
    full = as_features({**table, **same}, "auto", drop_first=False)
    assert (as_dense(full)[:, coef_names(full.features, full.shape[1]).index("one[x]")] == 1.0).all()


def test_an_unseen_level_has_no_column(as_dense, rng):
    table, _, _ = make()
    for drop_first in (True, False):
        features = as_features(table, "auto", drop_first=drop_first).features
        new = {**table, "k": np.where(np.arange(N) % 2, "new", table["k"])}
        got = as_features(new, features=features, unseen="zero")
        known = as_dense(as_features(table, features=features))
        known[1::2, : 3 - drop_first] = 0.0
        np.testing.assert_array_equal(as_dense(got), known)
        coef = rng.standard_normal((1, got.shape[1]))
        np.testing.assert_allclose(got.linear_predictor(coef, np.zeros(1)), known @ coef.T, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("solver", ["auto", "newton", "lbfgs", "nesterov", "gd", "sgd"])
@pytest.mark.parametrize("loss", TARGETS)
def test_every_solver_finds_the_dense_fit(loss, solver, weighted):
    n = 20_000
    table, X, y = make(n)
    options = {"loss": LOSS.get(loss, loss), "l2": 0.1, "sample_weight": weights(n) if weighted else None}
    y = TARGETS[loss](y)
    expected = fastgd.fit(X, y, tol=1e-11, **options)
    got = fastgd.fit(table, y, tol=1e-9, solver=solver, **options)
    assert got.converged
    np.testing.assert_allclose(got.coef, expected.coef, atol=1e-7)
    np.testing.assert_allclose(got.intercept, expected.intercept, atol=1e-7)
    np.testing.assert_allclose(got.spread, expected.spread, rtol=1e-12)
    np.testing.assert_allclose(got.decision_function(table), expected.decision_function(X), atol=1e-6)


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("solver", ["newton", "lbfgs", "sgd"])
@pytest.mark.parametrize("loss", TARGETS)
def test_a_start_is_in_the_order_of_columns(loss, solver, standardize, rng):
    table, X, y = make()
    y, options = TARGETS[loss](y), {"loss": LOSS.get(loss, loss), "l2": 0.1, "standardize": standardize}
    earlier = fastgd.fit(table, y, tol=1e-9, **options)
    again = fastgd.fit(table, y, start=earlier, tol=1e-8, solver=solver, **options)
    goes_on = earlier.settings["solver"] == solver  # otherwise it is but a start
    assert again.converged and again.n_iter == (earlier.n_iter if goes_on else 0)
    np.testing.assert_allclose(again.coef, earlier.coef, rtol=1e-12 if goes_on else 1e-7, atol=1e-11)
    start = np.column_stack((np.atleast_2d(earlier.coef), earlier.intercept)) + rng.standard_normal(X.shape[1] + 1)
    start = start[0] if earlier.coef.ndim == 1 else start
    got, expected = (fastgd.fit(each, y, start=start, solver=solver, max_iter=0, **options) for each in (table, X))
    np.testing.assert_allclose(got.coef, start[..., :-1], rtol=1e-11)
    np.testing.assert_allclose(got.intercept, start[..., -1], rtol=1e-10)
    assert got.loss == pytest.approx(expected.loss, rel=1e-12)


def test_errors_name_the_column_behind_a_category():
    table, X, y = make(100)
    for name, column in (("a", 1), ("b", 4)):
        with pytest.raises(ValueError, match=rf"the values of column {column} \({name}\) are so large"):
            fastgd.fit({**table, name: X[:, 0] * 1e200}, y)
        with pytest.raises(ValueError, match=rf"X contains infinity in row 7, column {column} \({name}\)"):
            fastgd.fit({**table, name: np.where(np.arange(100) == 7, np.inf, 1.0)}, y)


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_a_number_far_from_0_beside_categories_is_as_exact_as_in_an_array(loss, solver):
    table, X, y = make()
    y, near = TARGETS[loss](y), {"loss": loss, "l2": 1e-3, "tol": 1e-11}
    column = X.shape[1] - 2
    moved, far = X.copy(), {**table, "b": table["b"] + 1e6}  # exact, as b is whole
    moved[:, column] += 1e6
    expected = fastgd.fit(X, y, **near)
    array, mixed = (fastgd.fit(each, y, **{**near, "tol": 1e-9}, solver=solver) for each in (moved, far))
    for model in (array, mixed):
        assert model.converged
        np.testing.assert_allclose(model.coef, expected.coef, atol=1e-7)
        np.testing.assert_allclose(model.spread, expected.spread, rtol=1e-12)
        assert model.intercept == pytest.approx(expected.intercept - 1e6 * model.coef[column], abs=1e-7)


def test_memory_grows_with_rows_and_levels_not_with_their_product(rng):
    n, levels = 200_000, 5000  # of zeros and ones 8 GB
    table = pd.DataFrame({"k": pd.Categorical.from_codes(rng.integers(0, levels, n), np.arange(levels).astype(str))})
    table["a"] = rng.standard_normal(n)
    effects = rng.standard_normal(levels)
    y = effects[table["k"].cat.codes] + table["a"] + 0.1 * rng.standard_normal(n)
    options = {"l2": 1e-8, "solver": "lbfgs", "tol": 1e-4}
    fastgd.fit(table[:300], y[:300], **options)  # what is loaded and compiled at first use
    tracemalloc.start()
    model = fastgd.fit(table, y, **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert model.converged and model.coef.shape == (levels,)
    by_name = dict(zip(model.coef_names, model.coef, strict=True))
    found = np.array([by_name.get(f"k[{level}]", 0.0) for level in range(levels)])
    assert np.std(found - effects) < 0.05 and by_name["a"] == pytest.approx(1.0, abs=1e-2)
    assert peak < 16e6


def test_newton_with_some_columns_of_hundreds_of_levels(rng):
    n, levels = 100_000, 300
    codes = {name: rng.integers(0, levels, n) for name in ("k", "l", "m")}
    effects = {name: 0.5 * rng.standard_normal(levels) for name in codes}
    table = {"k": codes["k"], "a": rng.standard_normal(n), "l": codes["l"], "m": codes["m"]}
    y = sum(effects[name][codes[name]] for name in codes) + table["a"] > rng.logistic(size=n)
    found = [
        fastgd.fit(table, y, categorical=list(codes), loss="logistic", l2=1e-5, tol=tol, solver=solver)
        for solver, tol in (("newton", 1e-8), ("lbfgs", 1e-8))
    ]
    assert found[0].converged and found[1].converged
    assert found[0].n_iter < 15
    np.testing.assert_allclose(found[0].coef, found[1].coef, atol=1e-5)
    assert found[0].coef.shape == (3 * (levels - 1) + 1,)
