"""Value and gradient against extended precision and finite differences; slopes and moments in any units."""

import numpy as np
import pytest
from helpers import FORMS, make_objective
from internals import Coefficients, InMemory, as_design, first_pass, hessian_of, moments, patch, stratified_rows

from fastgd import losses

LOSSES = list(losses.LOSSES)
WEIGHTED = pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
INTERCEPT = pytest.mark.parametrize("intercept", [True, False], ids=["intercept", "origin"])
STANDARDIZE = pytest.mark.parametrize("standardize", [True, False], ids=["standardize", "plain"])


def objective_of(loss, X, y, weight=None, l2=0.0, intercept=True, standardize=True):
    weight = weight if weight is not None and weight.size else None
    source = InMemory(as_design(X), y, weight)
    statistics = moments(source, losses.Squared(), about_mean=intercept)
    return make_objective(source, losses.LOSSES[loss](), l2, statistics, intercept, standardize)


@pytest.fixture
def samples(make_data):
    def make(loss, weighted, n=300, d=4):
        X, y, weight = make_data(loss, n, d, np.float64, weighted)
        return X * [0.2, 1.0, 3.0, 7.0][:d] + [1.0, -2.0, 0.0, 5.0][:d], y, weight

    return make


def long_double(loss, X, y, weight, l2, intercept, standardize, point):
    """Value and gradient by the formula of the class's docstring, the coordinates included."""
    X, y, point = (np.asarray(a, np.longdouble) for a in (X, y, point))
    s = np.asarray(weight, np.longdouble) if weight.size else np.ones(len(y), np.longdouble)
    s = s / s.sum()
    d = X.shape[1]
    mean, scale = np.zeros(d, np.longdouble), np.ones(d, np.longdouble)
    if standardize:
        mean = s @ X if intercept else mean
        scale = np.sqrt(s @ (X - mean) ** 2 + np.longdouble(l2) / losses.LOSSES[loss].curvature_bound)
    beta = point[:d] / scale
    z = X @ beta + (point[d] - mean @ beta if intercept else 0)
    value, slope = FORMS[loss].arrays(y, z)
    gradient = ((s * slope) @ (X - mean) + l2 * beta) / scale
    total = s @ value + np.longdouble(l2) / 2 * (beta @ beta)
    return total, np.append(gradient, s @ slope) if intercept else gradient


@WEIGHTED
@INTERCEPT
@STANDARDIZE
@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("loss", LOSSES)
class TestEvaluation:
    def test_formula(self, loss, l2, standardize, intercept, weighted, samples, rng):
        X, y, weight = samples(loss, weighted)
        objective = objective_of(loss, X, y, weight, l2, intercept, standardize)
        for point in (np.zeros(objective.size), rng.standard_normal(objective.size)):
            value, gradient, passes, partial, _ = objective(point)
            exact_value, exact = long_double(loss, X, y, weight, l2, intercept, standardize, point)
            assert abs(value - exact_value) <= 1e-14 * abs(exact_value)
            assert np.abs(gradient - exact).max() <= 1e-14 * max(np.abs(exact).max(), value)
            assert passes == 1 and not partial

    def test_finite_differences(self, loss, l2, standardize, intercept, weighted, samples, rng):
        X, y, weight = samples(loss, weighted)
        objective = objective_of(loss, X, y, weight, l2, intercept, standardize)
        point, h = 0.3 * rng.standard_normal(objective.size), 2.0**-16
        difference = [
            (objective(point + e).value - objective(point - e).value) / (2 * h) for e in h * np.eye(len(point))
        ]
        value, gradient, *_ = objective(point)
        np.testing.assert_allclose(difference, gradient, rtol=1e-8, atol=4e-16 * value / h + 20 * h**2)

    def test_round_trips(self, loss, l2, standardize, intercept, weighted, samples, rng):
        objective = objective_of(loss, *samples(loss, weighted), l2, intercept, standardize)
        point = rng.standard_normal(objective.size)
        coef, b = objective.to_coefficients(point)
        np.testing.assert_allclose(objective.to_x(Coefficients(coef, b)), point, rtol=1e-13, atol=1e-14)
        assert objective.to_x(Coefficients(coef, b)).shape == (objective.size,) == (4 + intercept,)
        assert intercept or b == 0.0

    def test_on_a_sample(self, loss, l2, standardize, intercept, weighted, samples, rng):
        X, y, weight = samples(loss, weighted)
        objective = objective_of(loss, X, y, weight, l2, intercept, standardize)
        positive = np.flatnonzero(weight) if weighted else np.arange(len(y))
        rows = positive[stratified_rows(len(positive), 43, np.random.default_rng(5))]
        some = objective.on(objective.dataset.sample(43, np.random.default_rng(5)))
        assert some.scale.tobytes() == objective.scale.tobytes() and some.mean.tobytes() == objective.mean.tobytes()
        point = rng.standard_normal(objective.size)
        coef, b = objective.to_coefficients(point)
        part = objective_of(loss, X[rows], y[rows], weight[rows] if weighted else None, l2, intercept, False)
        np.testing.assert_allclose(some(point).value, part(part.to_x(Coefficients(coef, b))).value, rtol=1e-13)
        everything = objective.on(objective.dataset.sample(10**6, rng))
        np.testing.assert_allclose(everything(point).gradient, objective(point).gradient, rtol=1e-10, atol=1e-13)


def slope_of(loss, X, y, weight, intercept, standardize, coef, b):
    objective = objective_of(loss, X, y, weight, 0.0, intercept, standardize)
    x = objective.to_x(Coefficients(coef[None], np.array([b])))
    return objective.gradient_norm(x, objective(x).gradient)


@WEIGHTED
@INTERCEPT
@pytest.mark.parametrize("loss", LOSSES)
def test_largest_slope_is_the_same_in_all_units(loss, intercept, weighted, samples, rng):
    X, y, weight = samples(loss, weighted)
    coef, b = rng.standard_normal(4), 0.4 * intercept
    slope = slope_of(loss, X, y, weight, intercept, True, coef, b)
    unit = np.array([1e6, 1.0, 1e-6, 100.0])
    origin = np.array([3.0, -50.0, 0.0, 7.0]) * intercept
    cases = {
        "plain": (X, y, weight, coef, b),
        "units": (X * unit, y, weight, coef / unit, b),
        "origins": (X + origin, y, weight, coef, b - origin @ coef),
        "weights": (X, y, weight * 1e5, coef, b),
        "samples": (np.tile(X, (3, 1)), np.tile(y, 3), np.tile(weight, 3), coef, b),
    }
    if loss == "squared":
        cases["unit of y"] = (X, y * 1e4, weight, coef * 1e4, b * 1e4)
    for name, (X_, y_, weight_, coef_, b_) in cases.items():
        for standardize in (True, False):
            again = slope_of(loss, X_, y_, weight_, intercept, standardize, coef_, b_)
            assert again == pytest.approx(slope, rel=1e-12), (name, standardize)


@WEIGHTED
@pytest.mark.parametrize("loss", LOSSES)
def test_largest_slope_is_the_slope_per_standard_deviation(loss, weighted, samples, rng):
    X, y, weight = samples(loss, weighted)
    coef, b = rng.standard_normal(4), 0.4
    s = weight / weight.sum() if weighted else np.full(len(y), 1 / len(y))
    z = X @ coef + b
    _, residual = FORMS[loss].arrays(y, z)
    mean = s @ X
    slopes = np.append((s * residual) @ (X - mean) / np.sqrt(s @ (X - mean) ** 2), s @ residual)
    unit = 1.0 if losses.LOSSES[loss].target is losses.LABELS else np.sqrt(s @ (y - s @ y) ** 2)
    got = slope_of(loss, X, y, weight, True, True, coef, b)
    assert got == pytest.approx(np.abs(slopes).max() / unit, rel=1e-12)


@WEIGHTED
@pytest.mark.parametrize("about_mean", [True, False])
@pytest.mark.parametrize("shift", [0.0, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("n", [1, 2, 1000, 60_000])
def test_moments_of_shifted_columns(n, shift, about_mean, weighted, make_data):
    X, y, weight = make_data("squared", n, 3, np.float64, weighted)
    X, y = X + shift * np.array([1, -1, 0.5]), y - shift
    got = moments(InMemory(as_design(X), y, weight if weighted else None), losses.Squared(), about_mean=about_mean)
    s = weight.astype(np.longdouble) if weighted else np.ones(n, np.longdouble)
    columns = np.column_stack([y, X]).astype(np.longdouble)
    mean = s @ columns / s.sum()
    spread = np.sqrt(s @ (columns - mean * about_mean) ** 2 / s.sum())
    assert got.total_weight == pytest.approx(float(s.sum()), rel=1e-14)
    np.testing.assert_allclose(np.append(got.y_mean, got.mean), mean.astype(float), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(np.append(got.y_spread, got.spread), spread.astype(float), rtol=1e-12)


@WEIGHTED
@pytest.mark.parametrize("value", [0.0, 0.1, -1e6 / 3, 1e150])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_spread_of_a_constant_column_is_exactly_0(value, dtype, weighted, make_data):
    X, y, weight = make_data("squared", 5003, 3, np.float64, weighted)
    value = min(value, 1e30) if dtype == np.float32 else value
    X[:, 1] = y[:] = value
    X = X.astype(dtype)
    source = InMemory(as_design(X), y, weight if weighted else None)
    got = moments(source, losses.Squared(), about_mean=True)
    assert got.spread[1] == 0.0 and got.mean[1] == X[0, 1]
    assert got.y_spread == 0.0 and got.y_mean == y[0]


@STANDARDIZE
@INTERCEPT
@pytest.mark.parametrize("loss", LOSSES)
def test_largest_diagonal_bounds_the_hessians_diagonal(loss, intercept, standardize, samples):
    X, y, _ = samples(loss, False)
    objective = objective_of(loss, X, y, None, 0.3, intercept, standardize)
    h = 1e-4
    diagonal = [(objective(e).gradient - objective(-e).gradient) @ e / (2 * h * h) for e in h * np.eye(objective.size)]
    assert max(diagonal) <= objective.largest_diagonal * (1 + 1e-8)


@WEIGHTED
@INTERCEPT
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_first_reading_is_both_passes_in_one(loss, dtype, intercept, weighted, make_data, rng):
    X, y, weight = make_data(loss, 5003, 7, dtype, weighted)
    source = InMemory(as_design(X), y, weight if weighted else None)
    coef, b = rng.standard_normal((1, 7)), np.array([0.3 * intercept])
    alone = moments(source, losses.Squared(), about_mean=intercept)
    got, sums = first_pass(source, losses.LOSSES[loss](), coef, b, about_mean=intercept)
    for value, expected in zip(got, alone, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14)
    objective = make_objective(source, losses.LOSSES[loss](), 0.2, got, intercept, True)
    evaluation = objective.evaluation(coef, sums)
    expected = objective(objective.to_x(Coefficients(coef, b)))
    assert evaluation.value == pytest.approx(expected.value, rel=1e-12)
    np.testing.assert_allclose(evaluation.gradient, expected.gradient, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("outputs", [1, 20])
def test_tiles_of_much_work_are_smaller_and_change_no_bit(outputs, monkeypatch, rng):
    """So that Ctrl-C is looked at in time."""
    n, d = 40_000, 60
    X = rng.standard_normal((n, d))
    y = rng.integers(0, outputs, n) * 1.0 if outputs > 1 else rng.standard_normal(n)
    loss = losses.Softmax() if outputs > 1 else losses.Huber()
    found, looks = [], []
    for much in (1e9, 0.01):
        patch(monkeypatch, "gram_features", much)
        patch(monkeypatch, "pass_outputs", much)
        counted = []
        source = InMemory(as_design(X), y, check_interrupt=lambda counted=counted: counted.append(1))
        objective = make_objective(
            source, loss, 0.1, moments(source, loss, about_mean=True), True, True, outputs=outputs
        )
        point = np.linspace(-0.1, 0.1, objective.size)
        evaluation = objective(point)
        hessian = hessian_of(objective, point) if outputs == 1 else np.zeros(0)
        found.append(
            (evaluation.value, evaluation.gradient.tobytes(), hessian.tobytes(), objective.moments.spread.tobytes())
        )
        looks.append(len(counted))
    assert found[0] == found[1] and looks == [3 if outputs == 1 else 2, 6 if outputs == 1 else 4]
