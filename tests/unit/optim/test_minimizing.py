"""Descents on any function: what is recorded, several starts, annealing, saddle points."""

import signal
from contextlib import suppress

import numba
import numpy as np
import pytest
from internals import Annealed, Evaluation
from scipy import optimize

import fastgd
from fastgd import surfaces

quiet = pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")

SOLVERS = ("gd", "nesterov", "lbfgs", "annealed")
RIDGE = np.array([surfaces.double_well.saddles[0, 0], 0.8])  # from here, gradients lead to the saddle point


def value_only(p):
    return (p[0] - 1.0) ** 2 + 10.0 * (p[1] + 2.0) ** 2 + np.exp(0.1 * p[0])


def with_gradient(p):
    slope = np.array([2.0 * (p[0] - 1.0) + 0.1 * np.exp(0.1 * p[0]), 20.0 * (p[1] + 2.0)])
    return value_only(p), slope


compiled_value = numba.njit(value_only)


@numba.njit
def compiled(p):
    slope = np.array([2.0 * (p[0] - 1.0) + 0.1 * np.exp(0.1 * p[0]), 20.0 * (p[1] + 2.0)])
    return compiled_value(p), slope


@pytest.mark.parametrize("solver", ["gd", "nesterov", "lbfgs"])
@pytest.mark.parametrize("objective", [with_gradient, compiled, value_only, compiled_value])
def test_objectives_of_every_kind_end_alike(objective, solver):
    result = fastgd.minimize(objective, [4.0, 1.0], solver=solver, tol=1e-6)
    differences = objective in (value_only, compiled_value)
    assert result.converged and result.stationary.kind == "minimum"
    assert result.settings["gradient"] == ("differences" if differences else "given")
    assert ("Gradients are differences of values." in result.message) == differences
    each = 5.0 if differences else 1.0
    assert set(np.diff(result.history.passes)) == {each}
    np.testing.assert_allclose(result.x, fastgd.minimize(with_gradient, [4.0, 1.0], tol=1e-10).x, atol=1e-6)


@quiet
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("objective", [with_gradient, value_only])
def test_the_path_is_the_point_of_every_row(objective, solver):
    seen = []
    result = fastgd.minimize(objective, [4.0, 1.0], solver=solver, record_path=True, max_iter=60)
    assert result.path.shape == (len(result.history), 2)
    np.testing.assert_array_equal(result.path[0], [4.0, 1.0])
    np.testing.assert_array_equal([value_only(p) for p in result.path], result.history.loss)
    assert (result.path == result.x).all(axis=1).any()
    again = fastgd.minimize(
        objective, [4.0, 1.0], solver=solver, max_iter=60, callback=lambda row: seen.append(row.loss)
    )
    assert again.path is None and seen == result.history.loss.tolist()


@pytest.mark.parametrize("solver", ["gd", "lbfgs"])
def test_starts_find_all_minima_best_first(solver):
    result = fastgd.minimize(surfaces.himmelblau, [0.0, 0.0], solver=solver, starts=32, rng=0)
    found = np.array([minimum.x for minimum in result.minima])
    known = surfaces.himmelblau.minima
    assert len(found) == len(known) == 4
    assert np.abs(found[:, None] - known).max(axis=2).min(axis=1).max() < 1e-6
    assert len(result.ends) == len(result.starts) == 32
    np.testing.assert_array_equal(np.sort(np.concatenate([m.starts for m in result.minima])), np.arange(32))
    for minimum in result.minima:
        for k in minimum.starts:
            np.testing.assert_allclose(result.ends[k].x, minimum.x, atol=1e-5)
    np.testing.assert_array_equal(result.starts[0], [0.0, 0.0])
    assert "of 32 starts" in result.message.lower() and "higher" not in result.message  # all four are 0


def test_local_minima_are_told_from_the_best():
    result = fastgd.minimize(surfaces.double_well, [1.5, 0.9], starts=16, rng=1)
    losses = [minimum.loss for minimum in result.minima]
    assert losses == sorted(losses) and result.loss == losses[0]
    np.testing.assert_allclose([m.x for m in result.minima], surfaces.double_well.minima, atol=1e-6)
    assert "found: 2 minima, of which 1 is higher." in result.message
    assert result.ends[0].loss == pytest.approx(losses[1])  # the start itself leads to the local one


@quiet
def test_starts_are_drawn_from_the_window_and_from_the_seed():
    def runs(**options):
        return fastgd.minimize(with_gradient, [0.0, 50.0], starts=20, max_iter=0, **options)

    box = np.array([[1.0, 2.0], [-5.0, 0.0]])
    starts = runs(window=box).starts[1:]
    assert (starts >= box[:, 0]).all() and (starts <= box[:, 1]).all()
    free = runs(rng=3).starts
    np.testing.assert_array_equal(free, runs(rng=3).starts)
    assert (free != runs(rng=4).starts)[1:].all()
    assert np.std(free[:, 1]) > 10 * np.std(free[:, 0])
    result = runs(rng=3)
    assert result.minima == () and "20 MAX_ITER" in result.message and result.status is fastgd.Status.MAX_ITER


@pytest.mark.parametrize("solver", ["gd", "nesterov", "lbfgs"])
def test_an_end_on_a_saddle_point_says_so(solver):
    options = {"learning_rate": 0.1} if solver != "lbfgs" else {}
    with pytest.warns(fastgd.ConvergenceWarning, match="Stopped at a saddle point"):
        result = fastgd.minimize(surfaces.saddle, [1.0, 0.0], solver=solver, **options)
    assert result.status is fastgd.Status.SADDLE and not result.converged
    assert result.message.startswith(fastgd.Status.SADDLE.value) and "escape_saddles=True" in result.message
    assert result.stationary.kind == "saddle"
    np.testing.assert_allclose(np.abs(result.stationary.escape), [0.0, 1.0], atol=1e-9)
    with pytest.warns(fastgd.ConvergenceWarning, match="Stopped at a maximum"):
        top = fastgd.minimize(lambda p: (-(p @ p), -2 * p), [0.0, 0.0], solver=solver, **options)
    assert top.status is fastgd.Status.MAXIMUM


@pytest.mark.parametrize("solver", ["gd", "nesterov", "lbfgs"])
@pytest.mark.parametrize("start", [RIDGE, surfaces.double_well.saddles[0]])
def test_saddle_points_are_escaped(solver, start):
    options = {"learning_rate": 0.05} if solver != "lbfgs" else {}
    with pytest.warns(fastgd.ConvergenceWarning, match="Stopped at a saddle point"):
        resting = fastgd.minimize(surfaces.double_well, start, solver=solver, **options)
    assert resting.status is fastgd.Status.SADDLE
    result = fastgd.minimize(surfaces.double_well, start, solver=solver, escape_saddles=True, rng=1, **options)
    assert result.converged and result.stationary.kind == "minimum"
    assert np.abs(result.x - surfaces.double_well.minima).max(axis=1).min() < 1e-5


def test_a_degenerate_saddle_is_left_too():
    def bounded(p):
        (x, y), (value, gradient, *_) = p, surfaces.monkey_saddle(p)
        square = x * x + y * y
        return value + square**2, gradient + 4 * square * p

    with pytest.warns(fastgd.ConvergenceWarning, match="Stopped at a saddle point"):
        resting = fastgd.minimize(bounded, [0.0, 0.0])
    escape = resting.stationary.escape
    assert resting.stationary.kind == "saddle" and bounded(1e-2 * escape)[0] < bounded(1e-3 * escape)[0] < 0.0
    result = fastgd.minimize(bounded, [0.0, 0.0], escape_saddles=True)
    assert result.converged and result.loss < -0.1


@pytest.mark.parametrize("solver", ["gd", "lbfgs"])
def test_a_minimum_is_not_left(solver):
    plain = fastgd.minimize(surfaces.bowl, [2.0, 1.0], solver=solver)
    result = fastgd.minimize(surfaces.bowl, [2.0, 1.0], solver=solver, escape_saddles=True)
    assert result.converged and 0 < result.n_iter - plain.n_iter <= 103
    np.testing.assert_array_equal(result.x, plain.x)


@pytest.mark.parametrize("starts", [1, 8])
@pytest.mark.parametrize("solver", ["gd", "nesterov", "lbfgs"])
@pytest.mark.parametrize("surface", [surfaces.saddle, surfaces.monkey_saddle])
def test_where_there_is_no_minimum_none_is_found(surface, solver, starts):
    options = {"learning_rate": 0.05} if solver != "lbfgs" else {}
    with pytest.warns(fastgd.ConvergenceWarning):
        result = fastgd.minimize(surface, surface.start, solver=solver, starts=starts, max_iter=2000, rng=0, **options)
    for end in [result] if starts == 1 else result.ends:
        assert end.status in (fastgd.Status.UNBOUNDED, fastgd.Status.SADDLE), end.message
    assert starts == 1 or result.minima == ()


def test_what_an_objective_does_to_its_argument_stays_there():
    def careless(p):
        p -= 1.0
        return p @ p, 2.0 * p

    np.testing.assert_allclose(fastgd.minimize(careless, [3.0, 5.0]).x, 1.0)


@pytest.mark.parametrize(
    "answer", [(1.0, np.array([1.0j, 0.0])), (1.0, np.zeros(2), np.eye(2)), (1.0, np.zeros(2), "x")]
)
def test_answers_that_are_none(answer):
    with pytest.raises(TypeError, match=r"(?s)objective gave .*(real numbers|what it cost)"):
        fastgd.minimize(lambda _: answer, [1.0, 2.0])


def test_without_bound_is_said():
    with pytest.warns(fastgd.ConvergenceWarning, match="falls without bound"):
        result = fastgd.minimize(surfaces.saddle, [1.0, 0.1], solver="gd", learning_rate=0.5, max_iter=5000)
    assert result.status is fastgd.Status.UNBOUNDED and "without bound" in result.message


@pytest.mark.parametrize("schedule", ["reheated", "geometric", "linear"])
def test_annealing_leaves_a_local_minimum(schedule):
    stuck = fastgd.minimize(surfaces.double_well, [1.5, 0.9])
    np.testing.assert_allclose(stuck.x, surfaces.double_well.minima[1], atol=1e-6)
    ends = [
        fastgd.minimize(surfaces.double_well, [1.5, 0.9], solver="annealed", schedule=schedule, rng=seed)
        for seed in range(5)
    ]
    best = surfaces.double_well.minima[0]
    assert sum(end.converged and np.allclose(end.x, best, atol=1e-5) for end in ends) >= 4
    again = fastgd.minimize(surfaces.double_well, [1.5, 0.9], solver="annealed", schedule=schedule, rng=2)
    np.testing.assert_array_equal(again.history.loss, ends[2].history.loss)
    assert ends[0].history.loss[1] != ends[1].history.loss[1]


def test_annealing_beats_a_single_descent_on_rastrigin():
    starts = np.random.default_rng(0).uniform(-5, 5, (8, 2))
    options = {"solver": "annealed", "max_iter": 2000}
    found = [fastgd.minimize(surfaces.rastrigin, p, rng=k, **options).loss < 1e-6 for k, p in enumerate(starts)]
    plain = [fastgd.minimize(surfaces.rastrigin, p).loss < 1e-6 for p in starts]
    assert sum(found) >= 5 > 1 >= sum(plain)


@pytest.mark.parametrize("temperature", [0.2, 2.0])
def test_at_a_constant_temperature_points_are_boltzmann_distributed(temperature):
    """On ½ Σ λ x² the variance of x is T / λ: the walk is right, not merely noisy."""
    curvatures = np.array([1.0, 4.0])
    rule = Annealed(temperature, 20_000, 0.3, seed=0, schedule="geometric", adaptive=False, coldest=1.0)
    point, state, kept = np.zeros(2), rule.init(np.zeros(2)), []
    for _ in range(20_000):
        step = rule.step(point, Evaluation(0.5 * point @ (curvatures * point), curvatures * point), state)
        point, state = step.x, step.state
        kept.append(state.x)
    variance = np.var(kept[100:], axis=0)
    np.testing.assert_allclose(variance, temperature / curvatures, rtol=0.1)


def test_temperature_falls_as_the_schedule_says():
    for schedule, ends in (("geometric", 0.01), ("linear", 0.0)):
        rule = Annealed(5.0, 100, 0.1, 0, schedule=schedule)
        heats = [rule.heat(k) for k in range(100)]
        assert heats[0] == 5.0 and (np.diff(heats) < 0).all() and heats[-1] == pytest.approx(5.0 * ends, abs=0.06)
    reheated = Annealed(5.0, 3200, 0.1, 0)
    heats = np.array([reheated.heat(k) for k in range(3200)])
    assert (heats == 5.0).sum() == 32 and heats.min() == pytest.approx(0.05, rel=0.1)


ERRORS = [
    ({"solver": "newton"}, "needs a sum over samples"),
    ({"solver": "adam"}, "solver='adam'; choose one of auto, lbfgs"),
    ({"starts": 0}, "starts=0"),
    ({"starts": 2.5}, "starts=2.5"),
    ({"window": [[0, 1]]}, "window is for starts above 1"),
    ({"window": [[0, 1]], "starts": 2}, "window has shape (1, 2); (2, 2)"),
    ({"window": [[1, 0], [0, 1]], "starts": 2}, "the lowest first"),
    ({"record_path": 1}, "record_path=1"),
    ({"escape_saddles": "yes"}, "escape_saddles='yes'"),
    ({"temperature": 2.0}, "temperature and schedule are for solver='annealed', not 'auto'"),
    ({"solver": "annealed", "temperature": 0.0}, "temperature=0.0"),
    ({"solver": "annealed", "schedule": "exponential"}, "schedule='exponential'"),
    ({"solver": "annealed", "escape_saddles": True}, "choose one of them"),
    ({"solver": "lbfgs", "learning_rate": 0.1}, "learning_rate"),
    ({"objective": 3}, "objective=3; a function"),
    ({"objective": lambda p: p}, "a number, or a value and its gradient"),
    ({"objective": lambda _: "high"}, "a number, or a value and its gradient"),
    ({"objective": lambda _: (1.0,)}, "a number, or a value and its gradient"),
]


@pytest.mark.parametrize(("change", "fragment"), ERRORS)
def test_errors(change, fragment):
    with pytest.raises((ValueError, TypeError)) as error:
        fastgd.minimize(**{"objective": with_gradient, "start": [0.0, 0.0], **change})
    assert fragment in str(error.value)


def test_time_is_for_all_starts():
    with pytest.warns(fastgd.ConvergenceWarning, match="4 TIME_LIMIT") as caught:
        result = fastgd.minimize(surfaces.rosenbrock, [0.0, 0.0], starts=4, time_limit=0.0)
    assert len(caught) == 1
    assert [end.status for end in result.ends] == [fastgd.Status.TIME_LIMIT] * 4


class Spent(Exception):  # noqa: N818
    """The budget is."""


def share_found(minimise, surface, budget=1000, runs=6):
    """The share of runs that come within 1e-3 of the lowest minimum in so many evaluations of value and gradient."""
    found = 0
    for seed in range(runs):
        start, values = np.random.default_rng(seed).uniform(*surface.window.T), []

        def counted(point, values=values):
            if len(values) == budget:
                raise Spent
            value, gradient, *_ = surface(point)
            values.append(value)
            return value, gradient

        with suppress(Spent):
            minimise(counted, start, surface.window, seed)
        found += min(values) < surface(surface.minima[0]).value + 1e-3
    return found / runs


@quiet
@pytest.mark.parametrize("surface", ["double_well", "ackley"])
def test_annealing_finds_the_lowest_minimum_as_often_as_scipys(surface):
    def annealed(function, start, window, seed):  # 41: of curvature, of temperature, and the start
        fastgd.minimize(function, start, solver="annealed", window=window, rng=seed, max_iter=1000 - 41)

    def dual(function, start, window, seed):
        last = {}

        def value(point):
            answer, last[point.tobytes()] = function(point)
            return answer

        options = {"method": "L-BFGS-B", "jac": lambda point: last[point.tobytes()], "bounds": window}
        optimize.dual_annealing(value, window, x0=start, rng=seed, minimizer_kwargs=options)

    def hopping(function, start, window, seed):  # noqa: ARG001
        optimize.basinhopping(function, start, rng=seed, minimizer_kwargs={"jac": True})

    ours = share_found(annealed, surfaces.SURFACES[surface])
    assert ours >= 0.9
    for other in (dual, hopping):
        assert ours >= share_found(other, surfaces.SURFACES[surface])


# --- Going on, and Ctrl-C --------------------------------------------------------------------------------------------


def same(one, other):
    """Tell whether two descents have the same points, to the bit."""
    names = ("passes", "loss", "gradient_norm", "step", "accepted")
    rows = all(np.array_equal(getattr(one.history, name), getattr(other.history, name)) for name in names)
    return rows and np.array_equal(one.path, other.path) and one.x.tobytes() == other.x.tobytes()


@quiet
@pytest.mark.parametrize("cut", [0, 1, 30, 161])
@pytest.mark.parametrize("objective", [surfaces.double_well, value_only])
@pytest.mark.parametrize(
    "options",
    [
        {"solver": "gd", "learning_rate": 0.05},
        {"solver": "nesterov"},
        {"solver": "lbfgs"},
        {"solver": "lbfgs", "escape_saddles": True, "rng": 3},
        {"solver": "gd", "learning_rate": 0.05, "escape_saddles": True},
    ],
)
def test_parts_are_the_whole(options, objective, cut):
    whole = fastgd.minimize(objective, RIDGE, record_path=True, max_iter=200, **options)
    part = fastgd.minimize(objective, RIDGE, record_path=True, max_iter=cut, **options)
    rows = part.history.loss.copy()
    on = fastgd.minimize(objective, part, record_path=True, max_iter=200 - cut, **{**options, "rng": 9})
    assert same(on, whole) and on.status is whole.status and len(on.path) == len(on.history)
    np.testing.assert_array_equal(part.history.loss, rows)  # what was gone on from stays as it is
    assert part.status is not fastgd.Status.MAX_ITER or on.n_iter > part.n_iter


@quiet
@pytest.mark.parametrize("cut", [10, 90, 161])
def test_an_interrupted_cooling_goes_on(cut):
    options = {"solver": "annealed", "record_path": True, "max_iter": 200}
    whole = fastgd.minimize(surfaces.rastrigin, [3.0, 2.0], **options)
    stop = {"callback": lambda row: row.iteration == cut}
    part = fastgd.minimize(surfaces.rastrigin, [3.0, 2.0], **options, **stop)
    assert part.status is fastgd.Status.STOPPED and part.n_iter == cut
    on = fastgd.minimize(surfaces.rastrigin, part, **{**options, "max_iter": 200 - cut})
    assert same(on, whole) and on.settings["temperature"] == whole.settings["temperature"]


@quiet
def test_what_was_asked_for_otherwise_is_only_a_start():
    options = {"solver": "gd", "learning_rate": 0.05, "max_iter": 4}
    part = fastgd.minimize(surfaces.double_well, [1.5, 0.9], **options)
    others = [{"learning_rate": 0.04}, {"solver": "nesterov"}, {"escape_saddles": True}, {"starts": 2}]
    for other in [*others, {"objective": surfaces.himmelblau}]:
        again = fastgd.minimize(**{"objective": surfaces.double_well, "start": part, **options, **other})
        first = again.ends[0] if other == {"starts": 2} else again
        assert first.n_iter == 4 and first.history.iteration[0] == 0
        assert other.get("objective") or first.history.loss[0] == part.loss
    with pytest.raises(ValueError, match="the result to go on from has no path"):
        fastgd.minimize(surfaces.double_well, part, record_path=True, **options)
    fitted = fastgd.fit(np.arange(4.0)[:, None], np.array([0.0, 1.0, 1.0, 3.0]))
    with pytest.raises(TypeError, match="start is a FitResult; a result of minimize"):
        fastgd.minimize(surfaces.double_well, fitted)


def test_a_press_ends_the_remaining_starts():
    calls = []

    def pressed(p):
        calls.append(1)
        if len(calls) == 60:
            signal.raise_signal(signal.SIGINT)
        return surfaces.himmelblau(p)[:2]

    result = fastgd.minimize(pressed, [0.0, 0.0], starts=1000, window=[[-5, 5], [-5, 5]], rng=0)
    assert len(calls) == 60 and 1 < len(result.ends) == len(result.starts) < 10
    assert f"Of {len(result.ends)} starts" in result.message
    assert f"Stopped before the other {1000 - len(result.ends)}." in result.message
    assert result.ends[-1].status is fastgd.Status.INTERRUPTED or result.ends[-1].stationary is None


def test_a_press_ends_a_sweep():
    def pressed(p):
        signal.raise_signal(signal.SIGINT)
        return surfaces.himmelblau(p)[:2]

    with pytest.raises(KeyboardInterrupt):
        fastgd.learning_rates(pressed, start=[0.0, 0.0], rates=[0.01, 0.02])


@quiet
def test_a_stop_ends_all_starts():
    result = fastgd.minimize(surfaces.bowl, [1.0, 1.0], starts=5, callback=lambda _: True)
    assert len(result.ends) == len(result.starts) == 1 and result.status is fastgd.Status.STOPPED


@quiet
@pytest.mark.parametrize("solver", ["gd", "nesterov"])
def test_divergence_names_the_largest_stable_rate(solver):
    result = fastgd.minimize(surfaces.elongated_bowl, [2.0, 1.0], solver=solver, learning_rate=0.3)
    stable = {"gd": 2.0, "nesterov": 4.0 / 3.0}[solver] / 10.0
    assert result.status is fastgd.Status.DIVERGED
    assert f"{solver} is stable up to a rate of" in result.message and f"= {stable:.4g}." in result.message


# --- Objectives that are wrong ---------------------------------------------------------------------------------------


def after(calls, first, then):
    """An objective that is another after some calls."""
    count = iter(range(10_000))
    return lambda x: (first if next(count) < calls else then)(x)


def bowl(x):
    return x @ x, 2 * x


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (lambda _: None, "objective gave None; a number, or a value and its gradient, is needed"),
        (after(3, bowl, lambda _: None), "objective gave None; a value and its gradient are needed, as it gave at the"),
        (after(9, lambda x: x @ x, lambda _: None), "objective gave None; a number is needed as its value"),
        (lambda _: (None, None), r"objective gave \(None, None\); a value and its gradient are needed"),
        (lambda x: ("low", 2 * x), "objective gave 'low'; a number is needed as its value"),
    ],
)
def test_an_objective_that_returns_no_value_is_told(objective, said):
    with pytest.raises(TypeError, match=said):
        fastgd.minimize(objective, [3.0, 4.0])


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["lbfgs", "gd", "nesterov"])
@pytest.mark.parametrize("factors", [(-1.0, -1.0), (1.0, -1.0)], ids=["all", "one"])
def test_a_gradient_of_the_wrong_sign_is_told(solver, factors):
    result = fastgd.minimize(lambda x: (x @ x, 2 * x * np.array(factors)), [3.0, 4.0], solver=solver)
    assert "The gradient does not agree with the values: along it, its slope is 10, and theirs -" in result.message
    assert "larger tol" not in result.message and "learning_rate" not in result.message
    assert fastgd.minimize(bowl, [3.0, 4.0], solver=solver).converged


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
def test_an_objective_that_ends_in_nan_is_told():
    result = fastgd.minimize(lambda x: (np.nan if x[0] < 2 else x @ x, 2 * x), [3.0, 4.0])
    assert "The objective is not finite beside this point: nan and 11.1" in result.message
    assert result.x[0] == pytest.approx(2.0) and "larger tol" not in result.message


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
@pytest.mark.parametrize("high", [0.0, 1.0, 1e6])
@pytest.mark.parametrize("name", ["rosenbrock", "himmelblau", "beale", "rastrigin", "elongated_bowl"])
def test_the_precision_limit_and_divergence_are_no_disagreement(name, high):
    surface = surfaces.SURFACES[name]
    objective = lambda x: (surface(x)[0] + high, surface(x)[1])  # noqa: E731
    for options in ({"tol": 0.0}, {"solver": "gd", "learning_rate": 1.0}):
        result = fastgd.minimize(objective, surface.start, **options)
        assert "gradient does not agree" not in result.message and "not finite beside" not in result.message
