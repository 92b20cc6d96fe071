"""Ctrl-C: the best point so far comes back whenever it is pressed, and nothing is half set."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
from internals import SOLVERS, History, InMemory, InterruptHandler, patch, threads, without_warning

import fastgd

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")]
DEFAULT = signal.default_int_handler


def press():
    os.kill(os.getpid(), signal.SIGINT)


def press_after(count):
    """Give a callback that presses after so many rows."""
    rows = []

    def callback(row):
        rows.append(row)
        if len(rows) > count:
            press()

    return callback


def problem(n=4200, d=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * np.logspace(-1, 1, d)
    return X, (X @ rng.standard_normal(d) + rng.logistic(size=n) > 0) * 1


def columns(history, rows=None):
    return {name: column[:rows].tobytes() for name, column in vars(history).items() if name != "seconds"}


@pytest.mark.parametrize("solver", SOLVERS[1:])
def test_any_row_can_be_the_last_and_nothing_is_lost(solver):
    X, y = problem()
    options = {"loss": "logistic", "l2": 1e-4, "solver": solver, "tol": 0.0}
    whole = fastgd.fit(X, y, max_iter=4, **options)
    rows = len(whole.history)
    for last in sorted({0, 1, 2, rows // 2, rows - 2}):
        part = fastgd.fit(X, y, max_iter=4, callback=press_after(last), **options)
        assert part.status is fastgd.Status.INTERRUPTED and part.message.startswith("Interrupted: the best point")
        here, there = columns(part.history), columns(whole.history, last + 1)
        del here["passes"], there["passes"]  # of the last row with what was spent to find the next step
        assert here == there and (part.history.passes[:last] == whole.history.passes[:last]).all()
        assert part.history.passes[last] >= whole.history.passes[last]
        assert part.loss == np.min(part.history.loss[~part.history.partial])
        rest = fastgd.fit(X, y, max_iter=4 - part.n_iter, start=part, **options)
        assert columns(rest.history) == columns(whole.history) and rest.coef.tobytes() == whole.coef.tobytes()


DATA = {
    "logistic": lambda X, y: (X, y),
    "squared": lambda X, y: (X, y + X[:, 0]),
    "converted": lambda X, y: (X.astype(np.float16), y),
    "a table": lambda X, y: (pd.DataFrame({"a": X[:, 0], "b": np.array(list("xyz"))[np.arange(len(y)) % 3]}), y),
}


CASES = [
    *(("logistic", solver, None) for solver in SOLVERS[1:]),
    *((kind, "newton", None) for kind in ("squared", "converted", "a table")),
    ("logistic", "newton", np.full(5, 0.1)),
    ("logistic", "newton", "random"),
]


@pytest.mark.parametrize(("kind", "solver", "start"), CASES)
def test_any_look_can_find_a_press(kind, solver, start, monkeypatch, tmp_path):
    """Before the first pass, on sub-samples, while a metric is made: there is a best point always."""
    X, y = DATA[kind](*problem())
    loss = "squared" if kind == "squared" else "logistic"
    options = {"loss": loss, "l2": 1e-4, "solver": solver, "tol": 1e-7, "max_iter": 2}
    checks, at = [0], [10**9]

    def counting(interruption):
        checks[0] += 1
        interruption.pressed |= checks[0] == at[0]
        return InterruptHandler.true_check(interruption)

    monkeypatch.setattr(InterruptHandler, "true_check", InterruptHandler.check_interrupt, raising=False)
    monkeypatch.setattr(InterruptHandler, "check_interrupt", counting)
    whole = fastgd.fit(X, y, start=start, **options)
    total = checks[0]
    early = 0
    for at[0] in sorted({*range(1, min(total, 6) + 1), *np.linspace(1, total, 5).astype(int).tolist()}):
        checks[0] = 0
        path = tmp_path / f"{at[0]}.ckpt"
        part = fastgd.fit(X, y, start=start, checkpoint=path, **options)
        if at[0] == total:  # the descent was over: what is said about it is left out
            assert part.status is fastgd.Status.INTERRUPTED and whole.status.value in part.message
            assert columns(part.history) == columns(whole.history)
            continue
        assert part.status is fastgd.Status.INTERRUPTED and len(part.history) >= 1
        assert np.isfinite(part.loss) and np.isfinite(part.coef).all() and part.coef.shape == whole.coef.shape
        assert np.isfinite(part.spread).all() and part.predict(X).shape == y.shape
        part.save(tmp_path / "model.json")
        checks[0] = 10**9  # past the press
        if part.history.partial.all():  # an estimate from a few rows
            early += 1
            assert part.history.passes[0] <= 1.0 and part.n_iter == 0 and not path.exists()
            on = fastgd.fit(X, y, start=part, **{**options, "max_iter": 50, "solver": "newton"})
            assert on.converged and on.loss <= whole.loss * (1 + 1e-9)
        else:
            again = fastgd.fit(X, y, start=start, checkpoint=path, **options)
            assert columns(again.history) == columns(whole.history) and again.coef.tobytes() == whole.coef.tobytes()
    assert early


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
@pytest.mark.parametrize("search", ["explain_separation", "find_redundant"])
def test_a_search_after_the_descent_is_left_out_at_once(search, monkeypatch):
    X, y = problem()
    X = np.column_stack((X, X[:, 0]))
    whole = fastgd.fit(X, y, loss="logistic")
    assert whole.redundant == ["x4"] and "x4" in whole.message

    def endless(*_):
        press()
        time.sleep(120)
        raise AssertionError

    patch(monkeypatch, search, endless)
    began = time.monotonic()
    part = fastgd.fit(X, y, loss="logistic")
    assert time.monotonic() - began < 60
    assert part.status is fastgd.Status.INTERRUPTED and part.redundant == []
    assert fastgd.Status.CONVERGED.value in part.message and columns(part.history) == columns(whole.history)


@pytest.mark.parametrize("options", [{}, {"solver": "gd", "max_iter": 0}, {"solver": "lbfgs", "max_iter": 0}])
def test_a_press_at_the_last_evaluation_ends_loops_around_fits(options, monkeypatch):
    X, y = problem()
    target = X @ np.ones(4) + y
    whole = without_warning(fastgd.fit)(X, target, **options)
    part = fastgd.fit(X, target, callback=lambda _: press(), **options)
    assert part.status is fastgd.Status.INTERRUPTED and whole.status.value in part.message
    assert part.coef.tobytes() == whole.coef.tobytes() and columns(part.history) == columns(whole.history)
    again = fastgd.fit(X, target, start=part, **{**options, "tol": 1e9, "max_iter": 100})
    assert again.converged  # the press is not one of the next fit
    monkeypatch.setattr(History, "from_rows", lambda rows, of=History.from_rows: press() or of(rows))
    with pytest.raises(KeyboardInterrupt, match="as the descent ended"):
        fastgd.LinearRegression().fit(X, target)


def test_interrupted_while_it_makes_ready_to_go_on(monkeypatch, tmp_path):
    X, y = problem()
    options = {"loss": "logistic", "solver": "newton", "tol": 0.0, "max_iter": 3}
    first = fastgd.fit(X, y, checkpoint=tmp_path / "fit.ckpt", **options)
    content = (tmp_path / "fit.ckpt").read_bytes()
    sum_tiles = InMemory.sum_tiles

    def pressed(self, *arguments):
        press()
        return sum_tiles(self, *arguments)

    for going_on in ({"checkpoint": tmp_path / "fit.ckpt"}, {"start": first}):
        with monkeypatch.context() as patch:
            patch.setattr(InMemory, "sum_tiles", pressed)
            part = fastgd.fit(X, y, **{**options, "max_iter": 9}, **going_on)
        assert part.status is fastgd.Status.INTERRUPTED
        assert columns(part.history) == columns(first.history) and part.coef.tobytes() == first.coef.tobytes()
        assert part.intercept == first.intercept and (part.spread == first.spread).all()
        on = fastgd.fit(X, y, **{**options, "max_iter": 4}, start=part)
        assert columns(on.history) == columns(fastgd.fit(X, y, **{**options, "max_iter": 7}).history)
    assert (tmp_path / "fit.ckpt").read_bytes() == content


def test_minimize():
    seen = []

    def bowl(x):
        seen.append(x)
        if len(seen) == 5:
            press()
        return float(x @ x), 2 * x

    result = fastgd.minimize(bowl, [3.0, 4.0], solver="gd", learning_rate=0.1)
    assert result.status is fastgd.Status.INTERRUPTED and len(result.history) == 5 == len(seen)
    assert fastgd.minimize(bowl, result, solver="gd", learning_rate=0.1).converged


def test_a_second_press_is_a_keyboard_interrupt():
    X, y = problem()
    presses = []

    def twice(row):
        if row.iteration == 2:
            press()
            presses.append(1)
            assert signal.getsignal(signal.SIGINT) is DEFAULT
            press()
            presses.append(2)  # not reached

    with pytest.raises(KeyboardInterrupt):
        fastgd.fit(X, y, loss="logistic", solver="gd", tol=0.0, callback=twice)
    assert presses == [1]
    assert fastgd.fit(X, y, loss="logistic").converged


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("solver", SOLVERS[1:])
def test_a_callback_that_raises_leaves_nothing_half_set(solver, error, tmp_path):
    X, y = problem(100_000)
    options = {"loss": "logistic", "solver": solver, "tol": 0.0, "max_iter": 3, "n_threads": 1}
    whole = fastgd.fit(X, y, **options)
    count = threads.numba.get_num_threads()

    def fail(row):
        if row.iteration == 1:
            raise error("mine")

    with pytest.raises(error, match="mine"):
        fastgd.fit(X, y, callback=fail, checkpoint=tmp_path / "fit.ckpt", **options)
    assert signal.getsignal(signal.SIGINT) is DEFAULT and threads.numba.get_num_threads() == count
    assert not threads._parallel.locked() and not threads._busy and os.listdir(tmp_path) == []
    again = fastgd.fit(X, y, checkpoint=tmp_path / "fit.ckpt", **options)
    assert columns(again.history) == columns(whole.history)


def test_other_handlers_and_other_threads_are_left_alone():
    X, y = problem()
    presses, found = [], []

    def mine(*_):
        presses.append(1)

    signal.signal(signal.SIGINT, mine)
    result = fastgd.fit(
        X, y, loss="logistic", callback=lambda _: press() or found.append(signal.getsignal(signal.SIGINT))
    )
    assert result.converged and presses and set(found) == {mine}
    signal.signal(signal.SIGINT, DEFAULT)
    found.clear()
    watch = lambda _: found.append(signal.getsignal(signal.SIGINT))  # noqa: E731
    thread = threading.Thread(target=lambda: fastgd.fit(X, y, loss="logistic", callback=watch))
    thread.start()
    thread.join()
    assert set(found) == {DEFAULT}


@pytest.mark.parametrize("early", [True, False], ids=["before its first pass", "after it"])
def test_a_fit_within_a_fit_ends_with_it(early, monkeypatch):
    X, y = problem()
    options = {"loss": "logistic", "solver": "gd", "tol": 0.0}
    inner, sum_tiles = [], InMemory.sum_tiles

    def pressed(self, *arguments):
        if signal.getsignal(signal.SIGINT) is not DEFAULT:  # the second would be a KeyboardInterrupt
            press()
        return sum_tiles(self, *arguments)

    def nested(row):
        if row.iteration == 1:
            with monkeypatch.context() as patch:
                if early:
                    patch.setattr(InMemory, "sum_tiles", pressed)
                inner.append(fastgd.fit(X, y, callback=None if early else lambda _: press(), **options))

    outer = fastgd.fit(X, y, callback=nested, **options)
    assert outer.status is inner[0].status is fastgd.Status.INTERRUPTED
    assert (len(outer.history), len(inner[0].history)) == (2, 1) and inner[0].history.partial[0] == early


@pytest.mark.parametrize("kind", ["LinearRegression", "Ridge", "LogisticRegression"])
def test_an_estimator_has_the_best_point_or_is_as_it_was(kind, monkeypatch):
    X, y = problem()
    model = getattr(fastgd, kind)(solver="lbfgs", tol=0.0, max_iter=4)
    with pytest.warns(Warning, match="max_iter"):
        model.fit(X, y)
    before = vars(model).copy()
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.full((4200, 2), np.nan), y)
    patch(monkeypatch, "estimator_fit", lambda *_, **__: press() or time.sleep(120))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X[:, :2], y)
    assert vars(model) == before and model.n_features_in_ == 4
    monkeypatch.undo()
    sum_tiles, passes = InMemory.sum_tiles, []

    def third(self, *arguments):
        passes.append(1)
        if len(passes) == 3:
            press()
        return sum_tiles(self, *arguments)

    monkeypatch.setattr(InMemory, "sum_tiles", third)
    with pytest.raises(KeyboardInterrupt, match="Interrupted: the best point"):
        model.fit(X[:, :2], y)
    assert model.status_ is fastgd.Status.INTERRUPTED and len(model.history_) == 2
    assert model.coef_.shape[-1] == model.n_features_in_ == 2 and model.predict(X[:, :2]).shape == y.shape


FIT = """
import sys
from internals import checkpoint_module
from internals import main
checkpoint_module.INTERVAL = checkpoint_module.SHARE = 0.0
sys.exit(main(sys.argv[1:]))
"""


def test_the_command_saves_the_model_and_exits_130(tmp_path):
    X, y = problem(2000)
    pd.DataFrame(X, columns=list("abcd")).assign(y=y).to_csv(tmp_path / "data.csv", index=False)
    model, path = tmp_path / "model.json", tmp_path / "fit.ckpt"
    command = [sys.executable, "-W", "error", "-c", FIT, "fit", str(tmp_path / "data.csv"), "--target", "y"]
    command += ["--model", "logistic", "--solver", "gd", "--learning-rate", "1e-6", "--tol", "0"]
    command += ["--max-iter", "100000000", "--output", str(model), "--checkpoint", str(path)]
    lengths = []
    for _ in range(2):  # and it goes on
        stamp = path.stat().st_mtime_ns if path.exists() else 0
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            deadline = time.monotonic() + 900
            while not (path.exists() and path.stat().st_mtime_ns > stamp) and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=900)
        assert process.returncode == 130, err
        assert "fastgd: Interrupted: the best point so far" in err and "Traceback" not in err
        assert f"wrote {model}" in out and "Interrupted" in out
        saved = fastgd.load(model)
        assert saved.status is fastgd.Status.INTERRUPTED
        lengths.append(len(saved.history))
    assert 1 <= lengths[0] < lengths[1]
