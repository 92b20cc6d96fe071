"""The loop: what it records, why it stops, and what it returns then."""

import time

import numpy as np
import pytest
from helpers import descend
from internals import LBFGS, Evaluation, GradientDescent, LoopState, Nesterov, Step, largest

import fastgd

H = np.diag([1.0, 0.1, 0.01])
MINIMUM = np.array([1.0, -2.0, 3.0])
START = np.array([4.0, 4.0, 4.0])


def bowl(p):
    return 5.0 + 0.5 * (p - MINIMUM) @ H @ (p - MINIMUM), H @ (p - MINIMUM)


SOLVERS = {"gd": GradientDescent(1.0, False), "nesterov": Nesterov(1.0, False), "lbfgs": LBFGS()}
OVERSHOOTING = {"gd": GradientDescent(1 / 2.5, False), "nesterov": Nesterov(1 / 2.5, False)}  # rate 2.5 > 2 / L


def run(solver, objective=bowl, **options):
    return descend(objective, START, solver, **{"tol": 1e-8, "max_iter": 5000, **options})


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_history_begins_at_the_start_and_goes_on_evenly(solver):
    seen = []
    result = run(solver, lambda p: (seen.append(p.copy()), bowl(p))[1])
    history = result.history
    value, gradient = bowl(START)
    assert (history.iteration[0], history.passes[0], history.step[0]) == (0, 1, 0)
    assert (history.loss[0], history.gradient_norm[0]) == (value, np.abs(gradient).max())
    assert (history.predicted_decrease[0], history.actual_decrease[0], history.accepted[0]) == (0, 0, True)
    assert all(len(column) == len(seen) == len(history) == result.n_iter + 1 for column in vars(history).values())
    np.testing.assert_array_equal(history.iteration, np.arange(len(seen)))
    np.testing.assert_array_equal(history.passes, np.arange(1, len(seen) + 1))
    assert (np.diff(history.seconds) >= 0).all() and history.seconds[0] >= 0
    np.testing.assert_array_equal(history.loss, [bowl(p)[0] for p in seen])
    np.testing.assert_array_equal(history.gradient_norm, [largest(bowl(p)[1]) for p in seen])
    assert (history.step[1:] > 0).all()
    assert f"{len(seen)} evaluations" in repr(history)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_decreases_are_those_of_the_steps(solver):
    points = []
    history = run(solver, lambda p: (points.append(p.copy()), bowl(p))[1]).history
    origin = 0
    for k in range(1, len(points)):
        assert history.actual_decrease[k] == history.loss[origin] - history.loss[k]
        predicted = bowl(points[origin])[1] @ (points[origin] - points[k])
        assert history.predicted_decrease[k] == pytest.approx(predicted, rel=1e-9, abs=1e-14)
        origin = k if history.accepted[k] else origin


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_converged(solver):
    result = run(solver)
    assert result.status is fastgd.Status.CONVERGED and result.converged
    assert result.history.gradient_norm[-1] <= 1e-8 < result.history.gradient_norm[:-1].min()
    np.testing.assert_allclose(result.x, MINIMUM, atol=1e-6)
    assert result.message.startswith(result.status.value)
    assert f"tol 1e-08, after {result.n_iter} iterations, {result.n_iter + 1:.3g} passes" in result.message
    assert f"{result.history.gradient_norm[-1]:.3g}" in result.message


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_converged_at_the_start(solver):
    result = descend(bowl, MINIMUM, solver, tol=0.0, max_iter=10)
    assert result.converged and result.n_iter == 0 and result.loss == 5.0


@pytest.mark.parametrize("max_iter", [0, 1, 3])
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_max_iter(solver, max_iter):
    result = run(solver, max_iter=max_iter)
    assert result.status is fastgd.Status.MAX_ITER and not result.converged
    assert result.n_iter == max_iter and f"after {max_iter} iterations" in result.message
    assert result.loss == result.history.loss.min()


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_time_limit(solver):
    result = run(solver, time_limit=0.0)
    assert result.status is fastgd.Status.TIME_LIMIT and result.n_iter == 0
    result = run(solver, time_limit=100.0, began=time.perf_counter() - 101)
    assert result.status is fastgd.Status.TIME_LIMIT and result.history.seconds[0] >= 101


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_stopped_by_the_callback(solver):
    rows = []
    result = run(solver, callback=lambda row: rows.append(row) or row.iteration == 3)
    assert result.status is fastgd.Status.STOPPED and result.n_iter == 3
    for name in ("iteration", "passes", "loss", "gradient_norm", "step", "accepted", "partial", "seconds"):
        assert [getattr(row, name) for row in rows] == getattr(result.history, name).tolist()


@pytest.mark.parametrize("solver", OVERSHOOTING.values(), ids=OVERSHOOTING)
def test_diverged_returns_the_best_point(solver):
    result = run(solver)
    assert result.status is fastgd.Status.DIVERGED
    assert np.isfinite(result.x).all() and result.loss == bowl(result.x)[0] == result.history.loss.min()
    assert result.history.loss[-1] > result.history.loss[0]
    assert result.n_iter < 50 and "learning rate" in result.message


@pytest.mark.parametrize("rate", [1e150, 1e300])
@pytest.mark.parametrize("solver", [GradientDescent, Nesterov])
def test_overflow_is_divergence_and_no_warning(solver, rate):
    def steep(p):
        with np.errstate(all="ignore"):
            return float(p @ p), 2 * p

    result = descend(steep, START, solver(1 / rate, False), tol=1e-8, max_iter=100)
    assert result.status is fastgd.Status.DIVERGED
    np.testing.assert_array_equal(result.x, START)


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["gd", "nesterov", "sgd"])
@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("rate", [1e3, 1e100, 1e200, 1e308])
def test_a_fit_never_warns_of_overflow(solver, loss, rate, make_data):
    X, y, _ = make_data(loss, 100, 3)
    result = fastgd.fit(X + 5, y, loss=loss, l2=0.1, solver=solver, learning_rate=rate, max_iter=30)
    assert not result.converged and np.isfinite(result.coef).all() and np.isfinite(result.loss)
    assert result.loss == np.nanmin(result.history.loss[~result.history.partial])


class Script:
    """A solver that goes through given points, whatever it meets."""

    def __init__(self, points):
        self.points = points

    def init(self, x):  # noqa: ARG002
        return 0

    def step(self, x, evaluation, state):  # noqa: ARG002
        return Step(
            np.array([self.points[min(state, len(self.points) - 1)]]), state + 1, 0.5, 1.0, evaluation.value, True
        )


@pytest.mark.parametrize(
    ("points", "status"),
    [
        ([2, 3, 4, 5, 1, 2, 3, 4, 5, 0], fastgd.Status.CONVERGED),  # four rises
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0], fastgd.Status.CONVERGED),  # below the start
        ([2, 3, 4, 5, 6, 0], fastgd.Status.DIVERGED),
        ([np.inf, 0], fastgd.Status.DIVERGED),
    ],
)
def test_divergence_is_rise_upon_rise_above_the_start(points, status):
    def objective(p):
        return float(p[0] ** 2), 2 * p

    assert descend(objective, np.ones(1), Script(points), tol=0.0, max_iter=100).status is status


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_precision_limit(solver):
    A = np.random.default_rng(0).standard_normal((40, 3))
    b = A @ [1.0, 2.0, 3.0] + np.random.default_rng(1).standard_normal(40)
    result = descend(
        lambda p: ((A @ p - b) @ (A @ p - b) / 200, A.T @ (A @ p - b) / 100),
        np.zeros(3),
        solver,
        tol=0.0,
        max_iter=10**5,
    )
    assert result.status is fastgd.Status.PRECISION_LIMIT, result.message
    np.testing.assert_allclose(result.x, np.linalg.lstsq(A, b)[0], rtol=1e-7)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["value", "gradient"])
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_a_start_that_is_not_finite_is_an_error(solver, where, value):
    bad = (value, np.ones(3)) if where == "value" else (1.0, np.array([0, value, 0]))
    with pytest.raises(ValueError, match="start: the objective or its gradient is not finite"):
        run(solver, lambda _: bad)


def test_lbfgs_backs_off_from_where_the_objective_is_not_finite():
    def barrier(p):
        with np.errstate(all="ignore"):
            return p.sum() - np.log(p).sum(), 1 - 1 / p

    result = descend(barrier, np.array([0.01, 5.0]), LBFGS(1.0), tol=1e-8, max_iter=200)
    assert result.converged and not np.isfinite(result.history.loss).all()
    np.testing.assert_allclose(result.x, 1.0, atol=1e-7)


def test_an_objective_says_what_it_costs():
    solver = SOLVERS["gd"]
    start = LoopState.at(START, solver, passes=2.0)
    history = descend(lambda p: Evaluation(*bowl(p), 0.25), start, solver, tol=1e-8, max_iter=4).history
    np.testing.assert_array_equal(history.passes, [2.25, 2.5, 2.75, 3.0, 3.25])


MINIMIZE_ERRORS = [
    ({"start": [[1.0]]}, "start has shape (1, 1)"),
    ({"start": []}, "start has shape (0,)"),
    ({"start": [np.nan]}, "start"),
    ({"start": "here"}, "start"),
    ({"tol": -1.0}, "tol=-1.0"),
    ({"tol": None}, "tol=None"),
    ({"max_iter": 1.5}, "max_iter=1.5"),
    ({"time_limit": -1}, "time_limit=-1"),
    ({"solver": "adam"}, "solver='adam'"),
    ({"objective": lambda _: (1.0, np.ones(2))}, "gradient of shape (2,) at a point of shape (3,)"),
]


@pytest.mark.parametrize(("change", "fragment"), MINIMIZE_ERRORS)
def test_errors_of_minimize(change, fragment):
    with pytest.raises((ValueError, TypeError)) as error:
        fastgd.minimize(**{"objective": bowl, "start": START, **change})
    assert fragment in str(error.value)


def test_minimize_leaves_its_start_alone():
    start = START.copy()
    result = fastgd.minimize(bowl, start, solver="gd")
    assert result.converged and result.history.passes[0] == 21  # 20 for the curvature
    np.testing.assert_array_equal(start, START)
