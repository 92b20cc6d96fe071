"""The sgd solver: near the minimum in two epochs, on any order of the rows, with the same bits for any threads."""

import time

import numpy as np
import pandas as pd
import pytest
from helpers import descend, make_objective
from internals import (
    SGD,
    EvaluatedPoint,
    InMemory,
    Minibatches,
    ShuffledRuns,
    Status,
    as_design,
    moments,
    shuffled,
)

import fastgd
from fastgd import losses

pytestmark = pytest.mark.slow


def standard_normal(loss, n=40_000, d=20):
    """The standard problem of the benchmarks, smaller."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    z = X @ (rng.standard_normal(d) * (2.0 / np.sqrt(d))) + 0.5
    return X, (rng.logistic(size=n) < z) * 1.0 if loss == "logistic" else z + rng.standard_normal(n)


def unscaled(loss):
    X, y = standard_normal(loss)
    scale = np.logspace(-2, 2, X.shape[1])
    return X * scale + 3.0 * scale * np.random.default_rng(1).standard_normal(X.shape[1]), y


def sorted_by_target(loss):
    X, y = standard_normal(loss)
    order = np.argsort(y, kind="stable")
    return X[order], y[order]


def sorted_by_feature(loss):
    X, y = standard_normal(loss)
    order = np.argsort(X[:, 0])
    return X[order], y[order]


def rare_feature(loss):
    X, y = standard_normal(loss)
    X[:, 2] = 0.0
    X[::1000, 2] = 1.0
    return X, y


EASY = [standard_normal, unscaled, sorted_by_target, sorted_by_feature]


def correlated(loss):
    """Neighbours correlate 0.95."""
    X, y = standard_normal(loss)
    return X @ np.linalg.cholesky(0.95 ** np.abs(np.subtract.outer(np.arange(20), np.arange(20)))).T, y


def heavy_tailed(loss):
    X, y = correlated(loss)
    return X * np.random.default_rng(2).standard_t(2.2, size=(len(X), 1)), y


HARD = [correlated, heavy_tailed, rare_feature]


def excess(result, X, y, loss, **options):
    """``(f − f*) / (f(0) − f*)``."""
    best = fastgd.fit(X, y, loss=loss, tol=1e-12, **options).loss
    return (result.loss - best) / (result.history.loss[0] - best)


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
@pytest.mark.parametrize("loss", losses.LOSSES)
@pytest.mark.parametrize("make", EASY)
def test_two_epochs_come_near_and_a_few_arrive(make, loss):
    X, y = make(loss)
    near = fastgd.fit(X, y, loss=loss, l2=1e-6, solver="sgd", max_iter=2)
    assert near.history.passes[-1] <= 5.5  # the first, and two epochs with two evaluations of all samples
    assert excess(near, X, y, loss, l2=1e-6) <= 1e-4
    result = fastgd.fit(X, y, loss=loss, l2=1e-6, solver="sgd", tol=1e-9, max_iter=20)
    assert result.converged, result.message
    assert abs(excess(result, X, y, loss, l2=1e-6)) <= 1e-13


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
@pytest.mark.parametrize("loss", losses.LOSSES)
@pytest.mark.parametrize("make", HARD)
def test_hard_data_do_not_diverge(make, loss):
    X, y = make(loss)
    result = fastgd.fit(X, y, loss=loss, solver="sgd", max_iter=15)
    assert result.converged or result.status is Status.MAX_ITER
    assert excess(result, X, y, loss) <= 0.01
    taken = result.history.loss[~result.history.partial & result.history.accepted]
    assert (np.diff(taken) <= 1e-8 * taken[1:]).all()


def variants(X, y):
    yield {"X": X, "y": y, "n_threads": 1}
    yield {"X": np.asfortranarray(X), "y": y}
    yield {"X": pd.DataFrame(X), "y": y}
    yield {"X": X, "y": y, "sample_weight": np.ones(len(y))}
    yield {"X": X, "y": y, "rng": 0}


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
@pytest.mark.parametrize("loss", losses.LOSSES)
def test_bits_do_not_depend_on_threads_or_layout(loss):
    X, y = standard_normal(loss, 100_011, 7)
    expected = fastgd.fit(X, y, loss=loss, solver="sgd", max_iter=2)
    for variant in variants(X, y):
        result = fastgd.fit(**variant, loss=loss, solver="sgd", max_iter=2)
        assert (result.coef == expected.coef).all() and result.intercept == expected.intercept
        for name in ("loss", "gradient_norm", "step", "passes"):
            assert (getattr(result.history, name) == getattr(expected.history, name)).all()


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
def test_rng_shuffles():
    X, y = standard_normal("logistic")
    losses = [fastgd.fit(X, y, loss="logistic", solver="sgd", max_iter=1, rng=rng).loss for rng in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_weights_are_repetitions_and_only_their_ratios_matter(loss):
    X, y = standard_normal(loss, 20_000, 5)
    weight = np.random.default_rng(3).integers(0, 4, len(y))
    options = {"loss": loss, "solver": "sgd", "tol": 1e-9, "max_iter": 50}
    weighted = fastgd.fit(X, y, sample_weight=weight, **options)
    scaled = fastgd.fit(X, y, sample_weight=weight * 1e-7, **options)
    repeated = fastgd.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight), **options)
    assert weighted.converged and repeated.converged
    np.testing.assert_allclose(repeated.coef, weighted.coef, atol=1e-8)
    np.testing.assert_allclose(scaled.coef, weighted.coef, rtol=1e-9)
    spoilt = np.where((weight == 0)[:, None], 2.0, X)  # other values where there is no weight
    np.testing.assert_array_equal(fastgd.fit(spoilt, y, sample_weight=weight, **options).coef, weighted.coef)


WEIGHTS = {"Pareto": np.random.default_rng(4).pareto(1.1, 20_000), "one half": np.eye(1, 20_000)[0] * 2e4 + 1.0}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_uneven_weights_are_fitted_without_bias(kind):
    X, y = standard_normal("logistic", 20_000, 5)
    weight = WEIGHTS[kind]
    result = fastgd.fit(X, y, loss="logistic", sample_weight=weight, l2=1e-4, solver="sgd", max_iter=200)
    assert result.converged, result.message
    assert excess(result, X, y, "logistic", sample_weight=weight, l2=1e-4) <= 1e-9


@pytest.mark.parametrize("n", [1, 2, 3, 31, 33, 63, 65, 1000])
@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_tiny_data(loss, n):
    X, y = standard_normal(loss, n, 2)
    result = fastgd.fit(X, y, loss=loss, l2=0.1, solver="sgd", max_iter=3000)
    assert result.converged, result.message
    expected = fastgd.fit(X, y, loss=loss, l2=0.1, tol=1e-10)
    np.testing.assert_allclose(result.coef, expected.coef, atol=1e-4)


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
def test_goes_on_from_an_earlier_fit():
    X, y = standard_normal("logistic")
    options = {"loss": "logistic", "solver": "sgd", "tol": 1e-8}
    first = fastgd.fit(X, y, **options, max_iter=1)
    second = fastgd.fit(X, y, **options, start=first)
    assert (second.history.loss[: len(first.history)] == first.history.loss).all()
    assert second.converged
    assert fastgd.fit(X, y, **options, start=second).n_iter == second.n_iter
    coefs = np.append(first.coef, first.intercept)
    assert fastgd.fit(X, y, **options, start=coefs).history.loss[0] == pytest.approx(first.loss, rel=1e-13)


def is_like_recorded(result, X, y):
    """The result's loss is the objective of all samples at its coefficients."""
    z = X @ result.coef + result.intercept
    assert result.loss == pytest.approx(np.mean(np.logaddexp(0, z) - y * z), rel=1e-12)


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
def test_history_tells_estimates_from_evaluations():
    X, y = standard_normal("logistic")
    result = fastgd.fit(X, y, loss="logistic", solver="sgd", max_iter=3, tol=0.0)
    history = result.history
    count = len(history) // 3
    assert history.partial.sum() == 3 * (count - 1) and count > 100
    assert not history.partial[0] and not history.partial[-1] and result.n_iter == 3
    assert history.iteration.tolist() == [0, *np.repeat([1, 2, 3], count)]
    np.testing.assert_allclose(np.diff(history.passes)[history.partial[1:]], 1.0 / (count - 1), rtol=1e-9)
    np.testing.assert_allclose(np.diff(history.passes[~history.partial]), 2.0)
    whole = history.loss[~history.partial]
    np.testing.assert_array_equal(history.actual_decrease[~history.partial][1:], whole[:-1] - whole[1:])
    assert result.loss == whole.min()
    is_like_recorded(result, X, y)


@pytest.mark.parametrize("row", [1, 10, 100, 128])
def test_a_stop_within_an_epoch_ends_with_an_evaluation_of_all_samples(row):
    X, y = standard_normal("logistic")
    seen = []
    result = fastgd.fit(
        X, y, loss="logistic", solver="sgd", callback=lambda r: seen.append(r.partial) or len(seen) == row + 1
    )
    assert result.status is Status.STOPPED and seen[row]
    assert len(result.history) == row + 2 and not result.history.partial[-1] and result.n_iter == 1
    assert result.loss == result.history.loss[~result.history.partial].min() < result.history.loss[0]
    is_like_recorded(result, X, y)


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
def test_time_limit_within_an_epoch():
    X, y = standard_normal("logistic")
    slow = {"callback": lambda row: row.partial and time.sleep(0.02)}
    fastgd.fit(X, y, loss="logistic", solver="sgd", max_iter=1)  # compile
    result = fastgd.fit(X, y, loss="logistic", solver="sgd", time_limit=0.3, **slow)
    assert result.status is Status.TIME_LIMIT and result.n_iter == 1 and not result.history.partial[-1]
    is_like_recorded(result, X, y)


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
def test_no_iteration_is_the_start():
    X, y = standard_normal("squared", 1000)
    result = fastgd.fit(X, y, solver="sgd", max_iter=0)
    assert len(result.history) == 1 and not result.coef.any()


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
def test_a_given_rate_is_kept_and_may_diverge():
    X, y = standard_normal("squared")
    history = fastgd.fit(X, y, solver="sgd", learning_rate=0.1, max_iter=3).history
    assert (history.step[1:] == 0.1).all()
    result = fastgd.fit(X, y, solver="sgd", learning_rate=5.0)
    assert result.status is Status.DIVERGED and not result.coef.any()


def make_batches(n, weighted=False, loss="logistic"):
    X, y = standard_normal(loss, n, 4)
    weight = np.random.default_rng(5).integers(0, 3, n) * 1.0 if weighted else None
    source = InMemory(as_design(X), y, weight)
    squared = moments(source, losses.Squared(), about_mean=True)
    objective = make_objective(source, losses.LOSSES[loss](), 0.1, squared, True, True)
    return objective, Minibatches(objective, ShuffledRuns(source, np.random.default_rng(0)))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [1, 40, 5000, 30_011])
def test_the_mean_of_an_epochs_estimates_is_the_objective(n, weighted):
    objective, batches = make_batches(n, weighted and n > 1)
    there, here = np.zeros(5), np.linspace(-1.0, 2.0, 5)
    whole = objective(there)
    anchor = EvaluatedPoint(there, whole.value, whole.gradient)
    for epoch in range(2):
        estimates = [batches(here, anchor, epoch * batches.count + turn) for turn in range(batches.count)]
        assert all(estimate.partial for estimate in estimates)
        assert sum(estimate.passes for estimate in estimates) == pytest.approx(1.0)
        expected = objective(here)
        assert np.mean([estimate.value for estimate in estimates]) == pytest.approx(expected.value, rel=1e-10)
        mean = np.mean([estimate.gradient for estimate in estimates], axis=0)
        np.testing.assert_allclose(mean, expected.gradient, rtol=0, atol=1e-10)
    at_anchor = batches(there, anchor, 7)
    assert at_anchor.value == whole.value and (at_anchor.gradient == whole.gradient).all()


@pytest.mark.parametrize(("tiles", "batches"), [(1, 1), (17, 1), (32, 8), (33, 8), (4063, 128)])
def test_an_epoch_deals_out_every_tile_once(tiles, batches):
    for number in range(3):
        epoch = shuffled(tiles, batches, 7, number)
        assert len(epoch) == batches
        assert sorted(np.concatenate(epoch)) == list(range(tiles))
        assert all((np.diff(batch) > 0).all() for batch in epoch)
        assert max(map(len, epoch)) - min(map(len, epoch)) <= 1


def test_estimates_conclude_nothing():
    objective, batches = make_batches(5000)
    # An estimate without slope, far below the minimum, is neither convergence nor the best point.
    result = descend(
        objective,
        np.zeros(5),
        SGD(1.0, True, 4),
        tol=1e-9,
        max_iter=2,
        estimate=lambda *now: batches(*now)._replace(value=-1e9, gradient=np.zeros(5)),
    )
    assert result.status is Status.MAX_ITER and result.loss > 0.0


def test_minimize_refuses_it():
    with pytest.raises(ValueError, match="solver='sgd' needs a sum over samples"):
        fastgd.minimize(lambda x: (x @ x, 2 * x), [1.0], solver="sgd")
