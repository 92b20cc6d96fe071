"""Surfaces are what they say: gradients, minima, saddles; and the lecture's facts hold on them."""

import numpy as np
import pandas as pd
import pytest
from helpers import descend
from internals import SURFACES, GradientDescent

import fastgd
from fastgd import surfaces

pytestmark = pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")

SMOOTH = {name: surface for name, surface in SURFACES.items() if surface.smooth}


@pytest.fixture(scope="module")
def own():
    """The surfaces of two regressions."""
    rng = np.random.default_rng(0)
    x = 3.0 * rng.standard_normal(400) + 1.0
    y = 2.0 * x + 1.0 + rng.standard_normal(400)
    return {
        "squared": surfaces.regression(x, y),
        "logistic": surfaces.regression(x, y > 2.0, "logistic", l2=0.01, standardize=True),
    }


@pytest.fixture(params=[*SURFACES, "squared", "logistic"])
def surface(request, own):
    return own.get(request.param) or SURFACES[request.param]


def inside(surface, count, seed=0):
    low, high = surface.window.T
    return np.random.default_rng(seed).uniform(low, high, (count, 2))


def test_gradients_are_differences_of_values(surface):
    for point in inside(surface, 20):
        gradient = surface(point).gradient
        for j, step in enumerate(1e-6 * np.eye(2)):
            slope = (surface(point + step).value - surface(point - step).value) / 2e-6
            assert gradient[j] == pytest.approx(slope, rel=1e-5, abs=1e-5)


def test_stationary_points_are_what_they_are_called(surface):
    for kind, points in (("minimum", surface.minima), ("saddle", surface.saddles)):
        assert points.shape == (len(points), 2)
        for point in points if surface.smooth else ():
            found = fastgd.stationary(surface, point)
            assert found.kind == kind, (point, found.message)
            assert np.abs(found.gradient).max() < 1e-6
    values = [surface(point).value for point in surface.minima]
    assert (np.diff(values) > -1e-9).all()


def test_windows_hold_start_and_the_lowest_minimum(surface):
    low, high = surface.window.T
    for point in (surface.start, *surface.minima[:1]):
        assert (low < point).all() and (point < high).all()


def test_grids_are_the_values_at_their_points(surface):
    x, y, values = surface.grid(31)
    assert (x[0], x[-1], y[0], y[-1]) == (*surface.window[0], *surface.window[1])
    for i, j in ((0, 0), (3, 17), (30, 5)):  # of the squared loss by a quicker way
        assert values[i, j] == pytest.approx(surface([x[j], y[i]]).value, rel=1e-12)


@pytest.mark.parametrize("name", ["bowl", "rosenbrock", "rastrigin", "ackley"])
def test_some_take_any_number_of_coordinates(name):
    point = np.random.default_rng(0).uniform(-1, 1, 5)
    value, gradient, *_ = SURFACES[name](point)
    step = 1e-6 * np.eye(5)[3]
    slope = (SURFACES[name](point + step).value - SURFACES[name](point - step).value) / 2e-6
    assert gradient.shape == (5,) and gradient[3] == pytest.approx(slope, rel=1e-5, abs=1e-5)
    assert np.isfinite(value)


def test_the_surface_of_a_regression_is_its_loss(own):
    rng = np.random.default_rng(0)
    x = 3.0 * rng.standard_normal(400) + 1.0
    y = 2.0 * x + 1.0 + rng.standard_normal(400)
    assert own["squared"]([0.5, -1.0]).value == pytest.approx(np.mean((y - 0.5 * x + 1.0) ** 2), rel=1e-12)
    np.testing.assert_allclose(own["squared"].minima[0], np.polyfit(x, y, 1), rtol=1e-7)
    rolled = fastgd.minimize(own["logistic"], [0.0, 0.0], tol=1e-8)
    np.testing.assert_allclose(rolled.x, own["logistic"].minima[0], atol=1e-6)


@pytest.mark.parametrize(
    ("X", "options", "fragment"),
    [
        (np.ones((9, 3)) * np.arange(9)[:, None] ** [1, 2, 3], {}, "X has 3 features and there is an intercept"),
        (np.arange(9.0), {"intercept": False}, "X has 1 features; a surface needs two"),
        (np.arange(9.0), {"loss": "cubic"}, "loss='cubic'"),
        (np.arange(8.0), {}, "y has shape (9,)"),
    ],
)
def test_errors_of_regression(X, options, fragment):
    with pytest.raises(ValueError) as error:
        surfaces.regression(X, np.arange(9.0), **options)
    assert fragment in str(error.value)


def test_a_feature_may_be_any_sequence():
    x, y = np.arange(9.0), np.arange(9.0) ** 2
    expected = surfaces.regression(x, y).minima
    for kind in (list, pd.Series, lambda x: x[:, None], lambda x: pd.DataFrame({"x": x})):
        np.testing.assert_array_equal(surfaces.regression(kind(x), y).minima, expected)


@pytest.mark.parametrize("point", [[0.0], [0.0, 0.0, 0.0]])
def test_points_of_other_dimensions_are_refused(point):
    with pytest.raises(ValueError, match=r"Himmelblau: a point has two coordinates, not shape \("):
        fastgd.minimize(surfaces.himmelblau, point)


# The lecture's facts.


@pytest.mark.parametrize("name", [*SMOOTH, "squared", "logistic"])
def test_predicted_and_actual_decrease_agree_as_the_rate_vanishes(name, own):
    surface = own.get(name) or SURFACES[name]
    for point in inside(surface, 3, seed=1):
        curvature = np.abs(fastgd.stationary(surface, point).eigenvalues).max()
        gaps = []
        for share in (1e-2, 1e-3, 1e-4):
            result = fastgd.minimize(surface, point, solver="gd", learning_rate=share / curvature, max_iter=1)
            history = result.history
            gaps.append(abs(history.actual_decrease[1] / history.predicted_decrease[1] - 1.0))
        assert gaps[2] < 1e-4 and (np.array(gaps[1:]) < 0.2 * np.array(gaps[:-1])).all(), gaps


H = np.array([[4.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 1.0]])
CURVATURES, DIRECTIONS = np.linalg.eigh(H)
L = CURVATURES[-1]


def quadratic(x):
    return 0.5 * x @ H @ x, H @ x


@pytest.mark.parametrize("k", range(3))
@pytest.mark.parametrize("share", [0.01, 0.5, 1.5, 1.99])
def test_the_ratio_along_an_eigenvector(k, share):
    rate = share / L
    history = fastgd.minimize(quadratic, 3.0 * DIRECTIONS[:, k], solver="gd", learning_rate=rate, max_iter=4).history
    ratio = history.actual_decrease[1:] / history.predicted_decrease[1:]
    np.testing.assert_allclose(ratio, 1.0 - rate * CURVATURES[k] / 2.0, rtol=1e-9)


@pytest.mark.parametrize("share", [0.1, 1.0, 1.9, 2.1])
def test_iterates_are_powers_of_a_matrix(share):
    start, rate = np.array([1.0, -2.0, 3.0]), share / L
    result = fastgd.minimize(quadratic, start, solver="gd", learning_rate=rate, max_iter=40, tol=0.0, record_path=True)
    for k, point in enumerate(result.path):
        expected = np.linalg.matrix_power(np.eye(3) - rate * H, k) @ start
        np.testing.assert_allclose(point, expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("share", [0.05, 0.5, 0.99, 1.01, 1.5, 1.95, 2.05, 3.0])
def test_the_rate_decides_between_monotone_oscillating_and_divergent(share):
    start = 3.0 * DIRECTIONS[:, -1]
    result = fastgd.minimize(quadratic, start, solver="gd", learning_rate=share / L, record_path=True)
    along = result.path @ DIRECTIONS[:, -1]
    along = along[np.abs(along) > 1e-9]
    if share < 1.0:
        assert (along > 0).all() and (np.diff(along) < 0).all() and result.converged
    elif share < 2.0:
        assert (along[1:] * along[:-1] < 0).all() and (np.diff(np.abs(along)) < 0).all() and result.converged
    else:
        assert (np.diff(np.abs(along)) > 0).all() and result.status is fastgd.Status.DIVERGED
    assert result.converged == (share < 2.0)


def test_descend_itself_gives_the_same():
    start = np.array([1.0, -2.0, 3.0])
    direct = descend(quadratic, start, GradientDescent(L, adaptive=False), tol=1e-6, max_iter=100)
    np.testing.assert_array_equal(fastgd.minimize(quadratic, start, solver="gd", learning_rate=1 / L).x, direct.x)
