"""Paths: entries are single fits, wherever samples live, and whatever ends them."""

import os
import signal

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import fastgd


def table(n=3000, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({f"x{j}": rng.standard_normal(n) * (1.0 + j) for j in range(4)})
    frame["city"] = rng.choice(list("abcdefgh"), n)
    z = frame.x0 - 0.3 * frame.x1 + (frame.city == "c") - (frame.city == "f")
    frame["amount"] = z + rng.standard_normal(n)
    frame["late"] = np.where(rng.random(n) < 1.0 / (1.0 + np.exp(-z)), "yes", "no")
    return frame


TARGETS = {"squared": "amount", "logistic": "late", "huber": "amount"}


def path_of(frame, loss, **options):
    left = [name for name in ("amount", "late") if name != TARGETS[loss]]
    return fastgd.path(frame.drop(columns=left), target=TARGETS[loss], loss=loss, **options)


@pytest.mark.parametrize("ratio", [1.0, 0.5])
@pytest.mark.parametrize("loss", TARGETS)
def test_entries_are_single_fits(loss, ratio):
    frame = table()
    path = path_of(frame, loss, l1_ratio=ratio, n_penalties=12, eps=1e-2, tol=1e-10)
    assert path.converged and len(path) == 12
    assert path.nonzero[0] == 0 < path.nonzero[1]
    assert (np.diff(path.penalties) < 0.0).all() and (np.diff(path.loss) < 0.0).all()
    left = [name for name in ("amount", "late") if name != TARGETS[loss]]
    for number in (0, 3, 11):
        strength = path.penalties[number]
        single = fastgd.fit(
            frame.drop(columns=left), target=TARGETS[loss], loss=loss, tol=1e-10,
            l1=ratio * strength, l2=(1.0 - ratio) * strength,
        )  # fmt: skip
        np.testing.assert_allclose(path.coef[number], single.coef, atol=1e-6)
        assert path[number].loss == pytest.approx(single.loss, rel=1e-9)
        assert path[number].coef_names == single.coef_names
        assert path[number].nonzero.tolist() == single.nonzero.tolist()


@pytest.mark.parametrize("loss", TARGETS)
def test_what_is_said_of_the_loss(loss):
    frame = table()
    path = path_of(frame, loss, n_penalties=5)
    noise = np.random.default_rng(0).standard_normal((len(frame), 1))
    least = fastgd.fit(noise, frame[TARGETS[loss]], loss=loss, l1=1e3).loss
    assert path.null_loss == pytest.approx(least, rel=1e-8)
    assert path.deviance_explained[0] == pytest.approx(0.0, abs=1e-8)
    np.testing.assert_allclose(path.deviance_explained, 1.0 - path.loss / least, atol=1e-7)
    assert (path.duality_gap <= 1e-7 * path.null_loss).all()
    expected = [each.loss - each.settings.l1 * np.abs(each.coef).sum() for each in path]
    np.testing.assert_allclose(path.loss, expected, rtol=1e-12)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_everywhere(loss, tmp_path):
    """Tables of three libraries, files, chunks and Dask's partitions give the same path."""
    import dask.dataframe
    import polars
    import pyarrow

    frame = table().drop(columns="late" if loss == "squared" else "amount")
    options = {"target": TARGETS[loss], "loss": loss, "n_penalties": 6, "eps": 0.03, "tol": 1e-11}
    expected = fastgd.path(frame, **options)
    frame.to_parquet(tmp_path / "rows.parquet", row_group_size=500)
    places = {
        "polars": polars.from_pandas(frame),
        "pyarrow": pyarrow.Table.from_pandas(frame),
        "file": str(tmp_path / "rows.parquet"),
        "dask": dask.dataframe.from_pandas(frame, npartitions=3),
    }
    for name, place in places.items():
        found = fastgd.path(place, **options)
        np.testing.assert_allclose(found.coef, expected.coef, atol=1e-7, err_msg=name)
        np.testing.assert_allclose(found.penalties, expected.penalties, rtol=1e-8, err_msg=name)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("kind", [np.ascontiguousarray, sparse.csr_array], ids=["dense", "CSR"])
def test_many_columns(kind, loss):
    """Curvatures of a few columns at a time lead to the same minimum as those of all."""
    rng = np.random.default_rng(0)
    X = np.where(rng.random((150, 1500)) < 0.2, rng.standard_normal((150, 1500)), 0.0)
    z = X[:, :5] @ np.full(5, 2.0)
    y = z + 0.3 * rng.standard_normal(150) if loss == "squared" else (z + 0.3 * rng.logistic(size=150) > 0.0) * 1.0
    path = fastgd.path(kind(X), y, loss=loss, n_penalties=15, eps=0.1, tol=1e-9)
    assert path.converged
    z = path.intercept[-1] + X @ path.coef[-1]
    slope = 2.0 * (z - y) if loss == "squared" else 1.0 / (1.0 + np.exp(-z)) - y
    gradient, active = X.T @ slope / 150, path.coef[-1] != 0.0
    assert 0 < active.sum() < 150
    np.testing.assert_allclose(gradient[active], -np.sign(path.coef[-1][active]) * path.penalties[-1], rtol=1e-3)
    assert np.abs(gradient[~active]).max() <= path.penalties[-1] * (1.0 + 1e-6)


def test_more_coefficients_than_a_block_may_have(monkeypatch):
    monkeypatch.setattr("fastgd._linear.elastic_net.model.MOST_BLOCK", 8)
    monkeypatch.setattr("fastgd._linear.elastic_net.descent.EVERY", 8)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 40))
    y = X @ np.linspace(-1.0, 1.0, 40) + rng.standard_normal(400)
    model = fastgd.fit(X, y, loss="huber", l1=0.05, tol=1e-9)
    assert model.converged and len(model.nonzero) > 8
    monkeypatch.undo()
    np.testing.assert_allclose(model.coef, fastgd.fit(X, y, loss="huber", l1=0.05, tol=1e-9).coef, atol=1e-5)


def test_least_squares_take_one_pass():
    path = path_of(table().drop(columns="city"), "squared")
    assert path.passes == 1.0 and path.converged
    assert path.nonzero[0] == 0 < path.nonzero[-1]


def test_same_bits_for_any_threads():
    frame = table(40_000)
    bits = {path_of(frame, "logistic", n_penalties=5, n_threads=count).coef.tobytes() for count in (1, 2)}
    assert len(bits) == 1


def test_factors_by_name():
    frame = table().drop(columns="late")
    path = fastgd.path(frame, target="amount", penalty_factor={"city": 0.0, "x0": 2.0}, n_penalties=4)
    names = path.coef_names
    assert [name for name in names if path[0].coef[names.index(name)] != 0.0] == [
        n for n in names if n.startswith("city")
    ]
    factors = [2.0, 1.0, 1.0, 1.0] + [0.0] * 7
    single = fastgd.fit(frame, target="amount", l1=path.penalties[2], penalty_factor=factors, tol=1e-10)
    np.testing.assert_allclose(path[2].coef, single.coef, atol=1e-5)
    assert single.settings.penalty_factor == factors
    grouped = fastgd.fit(frame, target="amount", l1=path.penalties[2], penalty_factor=[2.0, 1.0, 1.0, 1.0, 0.0])
    np.testing.assert_array_equal(grouped.settings.penalty_factor, factors)


def test_given_penalties_are_sorted():
    frame = table()
    path = path_of(frame, "squared", penalties=[0.1, 1.0, 0.0])
    assert path.penalties.tolist() == [1.0, 0.1, 0.0]
    plain = fastgd.fit(frame.drop(columns="late"), target="amount")
    np.testing.assert_allclose(path[2].coef, plain.coef, atol=1e-4)


def test_ridge_paths_have_a_largest_penalty():
    path = path_of(table(), "squared", l1_ratio=0.0, n_penalties=3)
    assert path.converged and (path.nonzero == 11).all()
    assert path.penalties[0] == pytest.approx(1e3 * path_of(table(), "squared", n_penalties=3).penalties[0])


def test_a_callback_stops_all():
    rows = []
    path = path_of(
        table(), "logistic", n_penalties=10, tol=1e-13, callback=lambda row: rows.append(row) or len(rows) == 2
    )
    assert len(rows) == 2 == len(path.history)
    assert {result.status for result in path} <= {fastgd.Status.STOPPED, fastgd.Status.CONVERGED}
    assert np.isfinite(path.duality_gap).all()


def test_ctrl_c_keeps_what_there_is():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 2000))
    y = X[:, 0] + rng.standard_normal(60)

    def press(row):
        if row.finished > 3:
            os.kill(os.getpid(), signal.SIGINT)

    path = fastgd.path(X, y, n_penalties=40, eps=0.05, callback=press)
    statuses = [result.status for result in path]
    assert statuses[0] is fastgd.Status.CONVERGED and statuses[-1] is fastgd.Status.INTERRUPTED
    assert np.isfinite(path.duality_gap).all()
    whole = fastgd.path(X, y, n_penalties=40, eps=0.05)
    done = [number for number, status in enumerate(statuses) if status is fastgd.Status.CONVERGED]
    np.testing.assert_array_equal(path.coef[done], whole.coef[done])


def test_a_time_limit_ends_all():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 2000))
    with pytest.warns(fastgd.ConvergenceWarning, match="have not converged"):
        path = fastgd.path(X, X[:, 0] + rng.standard_normal(60), n_penalties=50, time_limit=0.0)
    assert path[-1].status is fastgd.Status.TIME_LIMIT
    assert np.isfinite(path.duality_gap[-1])


def test_saved_and_loaded(tmp_path):
    path = path_of(table(), "logistic", n_penalties=3)
    path[2].save(tmp_path / "model.json")
    again = fastgd.load(tmp_path / "model.json")
    np.testing.assert_array_equal(again.coef, path.coef[2])
    assert again.settings.l1 == path.penalties[2]
    frame = path.to_frame()
    assert list(frame["nonzero"]) == path.nonzero.tolist()
    assert repr(path).startswith("<Path of 3 penalties")


REFUSED = [
    ({"l1": -1.0}, "l1=-1.0"),
    ({"l1": "x"}, "l1='x'"),
    ({"l1": 0.1, "solver": "lbfgs"}, "choose 'auto' or 'proximal'"),
    ({"l1": 0.1, "solver": "newton"}, "choose 'auto' or 'proximal'"),
    ({"l1": 0.1, "penalty_factor": {"x9": 1.0}}, "penalty_factor names 'x9'"),
    ({"l1": 0.1, "penalty_factor": [1.0, 2.0]}, "penalty_factor has 2 numbers"),
    ({"l1": 0.1, "penalty_factor": [1.0, -2.0, 1.0]}, "penalty_factor of x1 is -2.0"),
    ({"l1": 0.1, "penalty_factor": [1.0, float("nan"), 1.0]}, "penalty_factor of x1 is nan"),
    ({"l1": 0.1, "penalty_factor": 2.0}, "a number for each column"),
    ({"l1": 0.1, "positive": 1.5}, "positive"),
    ({"l1": 0.1, "covariance": "HC1"}, "no standard errors"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_fits_are_refused(options, message):
    X = np.random.default_rng(0).standard_normal((50, 3))
    with pytest.raises((ValueError, TypeError), match=message.replace("(", r"\(")):
        fastgd.fit(X, X[:, 0], **options)


REFUSED_PATHS = [
    ({"l1_ratio": 1.5}, "l1_ratio=1.5"),
    ({"l1_ratio": -0.5}, "l1_ratio=-0.5"),
    ({"n_penalties": 0}, "n_penalties=0"),
    ({"eps": 0.0}, "eps=0.0"),
    ({"eps": 1.0}, "eps=1.0"),
    ({"penalties": []}, "a sequence of numbers"),
    ({"penalties": [1.0, -1.0]}, r"penalties\[1\] is -1.0"),
    ({"penalties": "many"}, "a sequence of numbers"),
    ({"callback": 3}, "callback=3"),
    ({"positive": "yes"}, "positive"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED_PATHS, ids=[str(options) for options, _ in REFUSED_PATHS])
def test_bad_paths_are_refused(options, message):
    X = np.random.default_rng(0).standard_normal((50, 3))
    with pytest.raises((ValueError, TypeError), match=message):
        fastgd.path(X, X[:, 0], **options)
