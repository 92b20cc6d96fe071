"""Intervals hold the truth as often as they say: many targets of one design in one fit, and other designs."""

import numpy as np
import pytest

import fastgd

MANY = 2_000


def covered(inference, truth, level=0.95):
    """The share of targets of which an interval holds the true coefficient, for each coefficient."""
    intervals = inference.conf_int(level)
    return ((intervals[..., 0] <= truth) & (truth <= intervals[..., 1])).mean(axis=0)


def targets(n, d, spread, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    truth = np.append(np.linspace(-1.0, 1.0, d), 0.5)
    noise = spread(X) * rng.standard_normal((MANY, n))
    return X, (X @ truth[:-1] + truth[-1] + noise).T, truth


def alike(X):
    return np.full(len(X), 2.0)


def wide_outside(X):
    return 0.5 + abs(X[:, 0])


def test_classical_intervals_cover():
    X, Y, truth = targets(40, 3, alike, seed=1)
    inference = fastgd.fit(X, Y, covariance="classical").inference
    for level in (0.95, 0.8):
        shares = covered(inference, truth, level)
        assert (abs(shares - level) < 0.02 if level > 0.9 else abs(shares - level) < 0.035).all(), shares


def test_robust_intervals_cover_where_variances_differ():
    X, Y, truth = targets(100, 2, wide_outside, seed=2)
    robust = covered(fastgd.fit(X, Y, covariance="HC3").inference, truth)
    assert (abs(robust - 0.95) < 0.02).all(), robust
    classical = covered(fastgd.fit(X, Y, covariance="classical").inference, truth)
    assert classical[0] < 0.9  # which is why there is another


def test_clustered_intervals_cover_where_rows_depend_on_each_other():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(100), 4)
    X = rng.standard_normal((100, 2))[groups] + 0.3 * rng.standard_normal((400, 2))
    noise = rng.standard_normal((600, 100))[:, groups] + 0.5 * rng.standard_normal((600, 400))
    truth = np.array([1.0, -1.0, 0.5])
    Y = (X @ truth[:2] + truth[2] + noise).T
    clustered = covered(fastgd.fit(X, Y, clusters=groups).inference, truth)
    assert (abs(clustered - 0.95) < 0.03).all(), clustered
    assert (covered(fastgd.fit(X, Y, covariance="HC3").inference, truth) < 0.85).all()


def test_intervals_of_predictions_cover():
    X, Y, truth = targets(40, 3, alike, seed=4)
    at = np.array([[0.5, -1.0, 2.0]])
    found = fastgd.fit(X, Y, covariance="classical").predict(at, interval=0.95)
    mean = at[0] @ truth[:-1] + truth[-1]
    new = mean + 2.0 * np.random.default_rng(5).standard_normal(MANY)
    for lower, upper, value in (
        (found.lower, found.upper, mean),
        (found.observation_lower, found.observation_upper, new),
    ):
        assert abs(((lower[0] <= value) & (value <= upper[0])).mean() - 0.95) < 0.02


@pytest.mark.parametrize("test", ["f_test", "likelihood_ratio_test", "wald_test"])
def test_tests_of_what_is_true_reject_as_seldom_as_they_say(test):
    rng = np.random.default_rng(6)
    X, Y = rng.standard_normal((120, 3)), rng.standard_normal((120, MANY))
    inference = fastgd.fit(X, Y, covariance="classical").inference
    found = getattr(inference, test)(*(["x0 = x1, x2"] if test == "wald_test" else []))
    for level in (0.05, 0.2):
        assert abs((found.p_value < level).mean() - level) < 0.03


def test_intervals_of_log_odds_cover():
    rng = np.random.default_rng(7)
    truth, shares = np.array([0.8, -0.5, 0.3]), []
    for _ in range(400):
        X = rng.standard_normal((200, 2))
        y = rng.random(200) < 1.0 / (1.0 + np.exp(-X @ truth[:2] - truth[2]))
        shares.append(covered(fastgd.fit(X, y, loss="logistic", covariance="classical").inference, truth[None])[None])
    assert (abs(np.concatenate(shares).mean(axis=0) - 0.95) < 0.04).all()
