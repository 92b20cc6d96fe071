"""Several classes and several targets: closed forms, the same fits one by one, every solver and kind of label."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from helpers import make_objective
from internals import InMemory, Tile, as_design, hessian_of, moments, passes
from sklearn.linear_model import LogisticRegression

import fastgd
from fastgd import losses

SOLVERS = ["auto", "newton", "lbfgs", "nesterov", "gd", "sgd"]
EPS = np.finfo(float).eps


def classes(n=3000, d=6, k=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * [0.1, 1.0, 2.0, 1.0, 1.0, 5.0][:d] + 1.0
    z = (X - 1.0) / np.std(X, axis=0) @ rng.standard_normal((d, k)) + rng.gumbel(size=(n, k))
    return X, np.argmax(z, axis=1)


def targets(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 5)) + 2.0
    return X, X @ rng.standard_normal((5, 3)) * [1.0, 100.0, 0.01] + rng.standard_normal((n, 3)) + [0.0, 5.0, 1e3]


def softmax(z, y):
    """Value and slopes in extended precision."""
    z = z.astype(np.longdouble)
    below = z - z.max(axis=1, keepdims=True)
    total = np.exp(below).sum(axis=1)
    hit = np.arange(z.shape[1]) == y[:, None]
    return np.log(total) - below[hit], np.exp(below) / total[:, None] - hit


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("k", [2, 3, 10])
def test_softmax_has_full_precision_and_never_overflows(k, size, rng):
    n = 500
    z, y = size * rng.standard_normal((n, k)), rng.integers(0, k, n)
    tile = Tile(np.eye(n)[:, :1] * 0.0, y.astype(float), np.empty(0))
    for i in range(0, n, 50):
        one = Tile(tile.X[i : i + 1], tile.y[i : i + 1], np.empty(0))
        sums = passes.loss_sums(one, np.zeros((k, 1)), z[i], losses.Softmax(), 64)[0]
        value, slopes = softmax(z[i : i + 1], y[i : i + 1])
        assert abs(sums[0] - value[0]) <= 8 * EPS * max(1.0, abs(value[0]))
        np.testing.assert_allclose(sums[1 : 1 + k], slopes[0].astype(float), rtol=1e-14, atol=4 * EPS)


def objective(X, y, loss, outputs, weight=None, l2=0.1, intercept=True):
    source = InMemory(as_design(X), y, weight)
    return make_objective(source, loss, l2, moments(source, loss, about_mean=intercept), intercept, True, None, outputs)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("intercept", [True, False], ids=["intercept", "origin"])
@pytest.mark.parametrize("kind", ["softmax", "two targets, squared", "two targets, huber"])
def test_gradient_and_hessian_are_differences(kind, intercept, weighted, rng):
    X, y = classes(400) if kind == "softmax" else targets(400)
    loss = {"softmax": losses.Softmax, "squared": losses.Squared, "huber": losses.Huber}[kind.split()[-1]]()
    outputs = 4 if kind == "softmax" else 3
    f = objective(X, y, loss, outputs, rng.random(400) if weighted else None, intercept=intercept)
    point, h = 0.3 * rng.standard_normal(f.size), 1e-4
    evaluation = f(point)
    steps = h * np.eye(f.size)
    slopes = [(f(point + e).value - f(point - e).value) / (2 * h) for e in steps]
    np.testing.assert_allclose(evaluation.gradient, slopes, rtol=1e-5, atol=1e-6 * evaluation.value)
    expected = np.array([(f(point + e).gradient - f(point - e).gradient) / (2 * h) for e in steps])
    got = hessian_of(f, point)
    if kind == "softmax":  # but for what is added where all margins grow alike
        block = f.size // outputs
        alike = np.kron(np.ones((outputs, outputs)), np.eye(block))
        got = got - alike * (got - expected)[0, block]
    if len(got) < f.size:  # the squared loss has the same block for every output
        got = np.kron(np.eye(outputs), got)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=3e-3 if "huber" in kind else 1e-6)


@pytest.mark.parametrize("l2", [1e-3, 0.0])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_finds_scikit_learns_multinomial(solver, weighted, l2):
    X, y = classes()
    weight = np.random.default_rng(1).integers(0, 4, len(y)) if weighted else None
    total = len(y) if weight is None else weight.sum()
    C = 1.0 / (l2 * total) if l2 else np.inf
    theirs = LogisticRegression(C=C, tol=1e-13, solver="newton-cholesky", max_iter=1000).fit(X, y, weight)
    ours = fastgd.fit(X, y, loss="logistic", l2=l2, sample_weight=weight, solver=solver, tol=1e-9, max_iter=5000)
    assert ours.converged, ours.message
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    if l2:
        np.testing.assert_allclose(ours.coef, theirs.coef_, atol=1e-5)
        np.testing.assert_allclose(ours.intercept, theirs.intercept_, atol=1e-5)
    assert np.abs(ours.coef.sum(axis=0)).max() < 1e-5  # from 0, no step makes all margins grow alike


@pytest.mark.parametrize("loss", ["squared", "huber"])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_targets_are_fitted_as_one_by_one(solver, weighted, loss):
    X, Y = targets()
    weight = np.random.default_rng(1).random(len(Y)) if weighted else None
    options = {"loss": loss, "l2": 1e-3, "sample_weight": weight, "tol": 1e-9, "max_iter": 5000}
    both = fastgd.fit(X, Y, solver=solver, **options)
    assert both.converged and both.coef.shape == (3, 5) and both.predict(X).shape == Y.shape
    alone = [fastgd.fit(X, y, **options) for y in Y.T]
    for row, b, one in zip(both.coef, both.intercept, alone, strict=True):
        np.testing.assert_allclose(row, one.coef, rtol=1e-6, atol=1e-7 * np.abs(one.coef).max())
        assert b == pytest.approx(one.intercept, rel=1e-6, abs=1e-6)
    assert both.loss == pytest.approx(sum(one.loss for one in alone), rel=1e-9)


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["auto", "lbfgs", "sgd"])
@pytest.mark.parametrize("make", [classes, targets])
def test_layout_and_threads_change_no_bit(make, solver):
    X, y = make(40_000)
    options = {"loss": "logistic" if y.ndim == 1 else "squared", "l2": 1e-3, "solver": solver, "max_iter": 3}
    fits = [
        fastgd.fit(X, y, **options),
        fastgd.fit(np.asfortranarray(X), np.asfortranarray(y), **options),
        fastgd.fit(X, y, n_threads=1, **options),
        fastgd.fit(X, y, sample_weight=np.ones(len(y)), **options),
    ]
    assert len({fit.coef.tobytes() + fit.intercept.tobytes() for fit in fits}) == 1


LABELS = {
    "int": lambda y: 10 * y - 7,
    "float": lambda y: y * 1.0,
    "text": lambda y: np.array(["b", "a", "d", "c"])[y],
    "objects": lambda y: np.array(["b", "a", "d", "c"], object)[y],
    "pandas": lambda y: pd.Series(np.array(["b", "a", "d", "c"])[y], dtype="category"),
    "polars": lambda y: pl.Series(np.array(["b", "a", "d", "c"])[y]),
    "many": lambda y: y + 4 * (np.arange(len(y)) % 100),
}


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_kind(kind):
    X, y = classes()
    labels = LABELS[kind](y)
    model = fastgd.fit(X, labels, loss="logistic", l2=1e-2, max_iter=20, tol=1e-4)
    assert model.classes.tolist() == sorted(set(np.asarray(labels).tolist()))
    assert set(model.predict(X).tolist()) <= set(model.classes.tolist())
    proba = model.predict_proba(X)
    assert proba.shape == (len(y), len(model.classes))
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize("make", [classes, targets])
def test_models_go_on_and_are_kept(make, tmp_path):
    X, y = make()
    options = {"loss": "logistic" if y.ndim == 1 else "squared", "l2": 1e-3}
    model = fastgd.fit(X, y, tol=1e-9, **options)
    model.save(tmp_path / "model.json")
    again = fastgd.load(tmp_path / "model.json")
    assert again.coef.tobytes() == model.coef.tobytes() and again.intercept.tobytes() == model.intercept.tobytes()
    assert (again.predict(X) == model.predict(X)).all()
    for start in (model, np.column_stack((model.coef, model.intercept))):
        further = fastgd.fit(X, y, solver="lbfgs", start=start, tol=1e-6, **options)
        assert further.n_iter == 0
    with pytest.raises(ValueError, match=r"start has shape \(3,\); \(\d, \d\) is needed"):
        fastgd.fit(X, y, start=np.zeros(3), **options)
    if y.ndim == 2:
        with pytest.raises(ValueError, match="start has 3 outputs; y needs 2"):
            fastgd.fit(X, y[:, :2], start=model)


def test_a_target_without_spread_is_fitted():
    X, Y = targets()
    Y[:, 1] = 7.0
    model = fastgd.fit(X, Y)
    np.testing.assert_allclose(model.coef[1], 0.0, atol=1e-9)
    assert model.intercept[1] == pytest.approx(7.0)
