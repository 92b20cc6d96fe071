"""Every solver on every problem with a known minimum, and what each promises step by step."""

import numpy as np
import pytest
from helpers import descend
from internals import (
    LBFGS,
    SGD,
    AveragedSGD,
    AverageState,
    Evaluation,
    GradientDescent,
    Inverse,
    Nesterov,
    Preconditioner,
    check_solver,
    estimate_lipschitz,
    inverse_root,
    make_fixed_rate,
    minimize,
)
from scipy import linalg, optimize

SOLVERS = ["auto", "lbfgs", "nesterov", "gd"]  # of any function; newton's tests are in test_subsampling.py


def quadratic(condition, d=6, scale=1.0):
    """Hessian H with that condition number, minimum x; ½ (p − x)ᵀ H (p − x)."""
    rng = np.random.default_rng(int(condition))
    Q = np.linalg.qr(rng.standard_normal((d, d)))[0]
    H = scale * (Q * np.geomspace(1 / condition, 1, d)) @ Q.T
    H, x = (H + H.T) / 2, rng.standard_normal(d)
    return (lambda p: (0.5 * (p - x) @ H @ (p - x), H @ (p - x))), x, H


def least_squares():
    rng = np.random.default_rng(1)
    A, b = rng.standard_normal((60, 5)) * [1, 2, 1, 0.5, 1], rng.standard_normal(60)
    x = linalg.lstsq(A, b)[0]
    return (lambda p: (np.mean((A @ p - b) ** 2), 2 * A.T @ (A @ p - b) / 60)), x, 2 * A.T @ A / 60


def logistic():
    rng = np.random.default_rng(2)
    A, y = rng.standard_normal((80, 4)), rng.integers(0, 2, 80)

    def value_and_gradient(p):
        z = A @ p
        h = 1 / (1 + np.exp(-z))
        return np.mean(np.logaddexp(0, z) - y * z) + 0.05 * p @ p, A.T @ (h - y) / 80 + 0.1 * p

    def hessian(p):
        h = 1 / (1 + np.exp(-A @ p))
        return (A.T * (h * (1 - h))) @ A / 80 + 0.1 * np.eye(4)

    x = optimize.root(lambda p: value_and_gradient(p)[1], np.zeros(4), jac=hessian, tol=1e-14).x
    return value_and_gradient, x, hessian(x)


def rosenbrock(p):
    return optimize.rosen(p), optimize.rosen_der(p)


PROBLEMS = {
    "condition 1": lambda: quadratic(1),
    "condition 100": lambda: quadratic(100),
    "condition 1e4": lambda: quadratic(1e4),
    "least squares": least_squares,
    "logistic": logistic,
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_reaches_the_minimum(solver, problem):
    objective, x, H = PROBLEMS[problem]()
    result = minimize(objective, np.zeros(len(x)), solver=solver, tol=1e-7, max_iter=200_000)
    assert result.converged, result.message
    # ‖error‖ <= ‖gradient‖ / smallest curvature
    assert np.linalg.norm(result.x - x) <= np.sqrt(len(x)) * 1.01e-7 / np.linalg.eigvalsh(H)[0]
    assert result.loss == objective(result.x)[0]


@pytest.mark.parametrize("d", [2, 10])
def test_lbfgs_finds_the_end_of_rosenbrocks_valley(d):
    result = minimize(rosenbrock, np.tile([-1.2, 1.0], d // 2), solver="lbfgs", tol=1e-9)
    assert result.converged, result.message
    np.testing.assert_allclose(result.x, 1.0, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1.0, 1e3, 1e9])
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_unit_of_the_objective_does_not_matter(solver, scale):
    objective, x, _ = quadratic(10, scale=scale)
    result = minimize(objective, np.zeros(len(x)), solver=solver, tol=1e-9 * scale, max_iter=1000)
    assert result.converged, result.message
    np.testing.assert_allclose(result.x, x, atol=1e-7)


@pytest.mark.parametrize("first_length", [1e-6, 1e-3, 1.0, 1e3, 1e6])
def test_lbfgs_lengthens_and_shortens_its_first_step(first_length):
    objective, x, _ = quadratic(10)
    result = descend(objective, np.zeros(len(x)), LBFGS(first_length), tol=1e-9, max_iter=200)
    assert result.converged, result.message
    np.testing.assert_allclose(result.x, x, atol=1e-7)


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
@pytest.mark.parametrize("condition", [1, 100, 1e4])
def test_gradient_descent_is_the_power_of_a_matrix(condition):
    objective, x, H = quadratic(condition)
    rate, start, seen = 1.7, np.ones(len(x)), []
    minimize(
        lambda p: (seen.append(p.copy()), objective(p))[1], start, solver="gd", learning_rate=rate, tol=0, max_iter=60
    )
    M = np.eye(len(x)) - rate * H
    expected = [x + np.linalg.matrix_power(M, k) @ (start - x) for k in range(61)]
    np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
def test_nesterov_is_the_published_recursion():
    objective, _, _ = quadratic(100)
    seen, rate = [], 0.9
    minimize(
        lambda p: (seen.append(p.copy()), objective(p))[1],
        np.ones(6),
        solver="nesterov",
        learning_rate=rate,
        max_iter=40,
    )
    y = previous = np.ones(6)
    t = 1.0
    for point in seen:
        np.testing.assert_allclose(point, y, rtol=0, atol=1e-12)
        gradient = objective(y)[1]
        landing = y - rate * gradient
        t = 1.0 if gradient @ (landing - previous) > 0 else t
        t_next = (1 + np.sqrt(1 + 4 * t * t)) / 2
        y, previous, t = landing + (t - 1) / t_next * (landing - previous), landing, t_next
    assert len(seen) == 41


@pytest.mark.parametrize("solver", [GradientDescent, Nesterov])
@pytest.mark.parametrize("factor", [1e-3, 0.1, 0.45])
def test_an_adaptive_rate_recovers_from_a_bound_that_is_too_low(solver, factor):
    objective, x, _ = quadratic(10)  # largest curvature 1
    result = descend(objective, np.zeros(len(x)), solver(factor, True), tol=1e-9, max_iter=2000)
    assert result.converged, result.message
    assert (np.diff(result.history.step[1:]) <= 0).all()
    np.testing.assert_allclose(result.x, x, atol=1e-7)


def test_restarted_momentum_beats_gradient_descent():
    objective, x, _ = quadratic(1e3)
    counts = {s: minimize(objective, np.zeros(len(x)), solver=s, tol=1e-8, max_iter=50_000).n_iter for s in SOLVERS}
    assert counts["lbfgs"] < counts["nesterov"] < counts["gd"] / 10
    assert counts["auto"] == counts["lbfgs"]


@pytest.mark.parametrize("d", [5, 10, 20, 50])
def test_estimate_lipschitz_is_a_lower_bound_and_close(d):
    shares = []
    for seed in range(20):
        rng = np.random.default_rng([d, seed])
        A = rng.standard_normal((d, 2 * d))
        H, count = A @ A.T, []
        estimate = estimate_lipschitz(lambda p, H=H, n=count: (n.append(1) or p @ H @ p / 2, H @ p), np.ones(d), rng)
        shares.append(estimate / np.linalg.eigvalsh(H)[-1])
        assert len(count) == 20
    assert max(shares) <= 1 + 1e-9
    assert np.median(shares) >= 0.95 and min(shares) >= 0.85


def test_estimate_lipschitz_of_a_plane_is_1(rng):
    assert estimate_lipschitz(lambda _: (0.0, np.ones(3)), np.zeros(3), rng) == 1.0


@pytest.mark.parametrize("make", [lambda r: GradientDescent(1 / r, False), lambda r: Nesterov(1 / r, False), LBFGS])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_taylors_prediction_gets_exact_as_the_step_gets_small(problem, make):
    objective, x, H = PROBLEMS[problem]()
    largest, errors = np.linalg.eigvalsh(H)[-1], []
    for rate in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5):
        history = descend(objective, x + 1.0, make(rate), tol=0, max_iter=1).history
        assert history.step[1] == pytest.approx(rate)
        errors.append(abs(1 - history.actual_decrease[1] / history.predicted_decrease[1]))
        assert errors[-1] <= 1.5 * rate * largest + 1e-9
    assert errors == sorted(errors, reverse=True)


def test_a_line_searchs_rejections_are_rows_of_the_history():
    result = minimize(rosenbrock, [-1.2, 1.0], solver="lbfgs", tol=1e-9)
    history = result.history
    assert not history.accepted.all() and history.accepted[0] and history.accepted[-1]
    assert (np.diff(history.loss[history.accepted]) < 0).all()
    np.testing.assert_array_equal(history.passes, np.arange(1, len(history) + 1))
    # a retry goes out from the same point, along the same line
    for k in np.flatnonzero(~history.accepted[:-1]):
        origins = history.loss[k : k + 2] + history.actual_decrease[k : k + 2]
        assert origins[0] == pytest.approx(origins[1], rel=1e-12)


@pytest.mark.parametrize("memory", [1, 3, 10])
def test_lbfgs_keeps_at_most_its_memory(memory):
    solver, sizes = LBFGS(memory=memory), []
    state = solver.init(np.zeros(6))
    objective, _, _ = quadratic(100)
    point = np.ones(6)
    for _ in range(30):
        value, gradient = objective(point)
        step = solver.step(point, Evaluation(value, gradient), state)
        point, state = step.x, step.state
        sizes.append(len(state.pairs))
    assert max(sizes) == memory


ERRORS = [
    ("adam", "auto", "solver='adam'; choose one of auto, newton, lbfgs, nesterov, gd, sgd"),
    (None, "auto", "solver=None"),
    ("gd", "fast", "learning_rate='fast'"),
    ("gd", 0.0, "learning_rate=0.0"),
    ("nesterov", -1.0, "learning_rate=-1.0"),
    ("gd", np.nan, "learning_rate=nan"),
    ("gd", np.inf, "learning_rate=inf"),
    ("gd", None, "learning_rate=None"),
    ("gd", [0.1], "learning_rate=[0.1]"),
    ("lbfgs", 0.1, "learning_rate: only solver='gd', 'nesterov' and 'sgd' take one"),
    ("auto", 0.1, "learning_rate: only solver='gd', 'nesterov' and 'sgd' take one"),
]


@pytest.mark.parametrize(("solver", "learning_rate", "fragment"), ERRORS)
def test_solver_and_learning_rate_are_checked(solver, learning_rate, fragment):
    with pytest.raises((ValueError, TypeError)) as error:
        check_solver(solver, learning_rate)
    assert fragment in str(error.value)


def test_curvature_is_estimated_only_where_it_is_needed():
    def never():
        raise AssertionError("estimated")

    assert make_fixed_rate("gd", 0.5, never) == GradientDescent(2.0, False)
    assert make_fixed_rate("nesterov", 0.5, never) == Nesterov(2.0, False)
    assert make_fixed_rate("gd", "auto", lambda: 3.0) == GradientDescent(3.0, True)
    assert make_fixed_rate("sgd", 0.5, never, 7) == SGD(2.0, False, 7)


def test_an_average_weighs_points_by_the_square_of_the_rows_before_whatever_the_batches():
    rng = np.random.default_rng(0)
    walk, points, ends = AverageState(np.zeros(2), np.zeros(2), 0.0), [], []
    for rows in (32.0, 1.0, 7.0, 500.0):
        solver = AveragedSGD(1.0, 2.0, 0.5, 0.1, rows, 1, walk)
        step = solver.step(walk.x, Evaluation(1.0, rng.standard_normal(2)), solver.init(walk.x))
        walk = step.state
        points.append(walk.x)
        ends.append(walk.rows)
    weights = np.diff(np.power(ends, 3), prepend=0.0)
    np.testing.assert_allclose(walk.average, weights @ points / weights.sum())
    assert step.signal.last and (step.x == walk.average).all()


RATES = [  # value, squared slope, rows before, and the rate of a batch of 8 rows where L = 2 and r = 4
    (1e9, 1.0, 0.0, 8 / (2 * 12)),  # stable
    (1e9, 1.0, 1e6, 8 / (2 * 4 * np.sqrt((1e6 + 8) / 16))),  # decaying
    (1.0, 1e4, 0.0, 2e-4),  # Polyak's
    (0.0, 0.0, 0.0, 8 / (2 * 12)),
]


@pytest.mark.parametrize(("value", "squared", "rows", "rate"), RATES)
def test_the_rate_of_an_averaged_descent(value, squared, rows, rate):
    solver = AveragedSGD(2.0, 4.0, 0.5, None, 8.0, 100, AverageState(np.zeros(1), np.zeros(1), rows))
    step = solver.step(np.zeros(1), Evaluation(value, np.sqrt([squared])), solver.init(np.zeros(1)))
    assert step.length == pytest.approx(rate) and not step.signal.last
    assert step.predicted_decrease == pytest.approx(rate * squared)


def test_newtons_preconditioner_ends_a_quadratic_in_one_step():
    objective, x, H = quadratic(1e4)
    made = Preconditioner(Inverse(inverse_root(H, 0.0).root), 0.25, exact=True)
    result = descend(objective, np.zeros(len(x)), LBFGS(preconditioner=lambda _: made), tol=1e-8, max_iter=5)
    assert result.n_iter == 1
    np.testing.assert_allclose(result.x, x, rtol=1e-9)
    assert result.history.passes.tolist() == [1.0, 2.25]  # the preconditioner's cost is counted


def test_a_preconditioner_that_misleads_is_asked_again_and_corrected():
    objective, x, H = quadratic(100)
    asked = []

    def preconditioner(point):
        asked.append(point)
        return Preconditioner(Inverse(np.eye(len(x)) if len(asked) == 1 else inverse_root(H, 0.0).root), 1.0)

    result = descend(objective, np.zeros(len(x)), LBFGS(preconditioner=preconditioner), tol=1e-8, max_iter=100)
    assert result.converged
    assert len(asked) >= 2
