"""Fits with l1: KKT conditions and duality gaps recomputed in NumPy, closed forms, and other libraries."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression
from statsmodels.regression.tests.results import glmnet_r_results

import fastgd

N, D = 400, 12
LOSSES = ["squared", "logistic", "huber", "softmax", "own"]
PENALTIES = {
    "lasso": {"l1": 0.02},
    "elastic net": {"l1": 0.01, "l2": 0.05},
    "factors": {"l1": 0.02, "l2": 0.01, "penalty_factor": np.r_[0.0, np.linspace(0.2, 3.0, D - 1)]},
    "positive": {"l1": 0.01, "positive": True},
    "positive alone": {"positive": True},
}
KINDS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "float32": lambda X: X.astype(np.float32),
    "CSR": sparse.csr_array,
    "CSC": sparse.csc_array,
}


class NoParameters(NamedTuple):
    """A loss without parameters."""


class Cosh(NoParameters, fastgd.Loss):
    """``ln cosh(y − z)``, which says neither its curvature nor its dual excess."""

    curvature_bound = 1.0

    @staticmethod
    def value_slope(loss, y, z):  # noqa: ARG004
        """Return value and slope at one sample."""
        return np.log(np.cosh(z - y)), np.tanh(z - y)


def samples(loss, seed=0, n=N, d=D):
    rng = np.random.default_rng(seed)
    X = np.where(rng.random((n, d)) < 0.6, rng.standard_normal((n, d)) * np.geomspace(0.3, 3.0, d), 0.0)
    X = X.astype(np.float32).astype(np.float64)
    z = X[:, :4] @ np.array([1.0, -1.0, 0.5, 0.3]) + 0.5
    y = z + rng.standard_normal(n)
    if loss == "logistic":
        y = (rng.random(n) < 1.0 / (1.0 + np.exp(-z))).astype(float)
    if loss == "softmax":
        y = np.argmax(np.column_stack((z, -z, 0.5 * z + 1.0)) + rng.gumbel(size=(n, 3)), axis=1).astype(float)
    return X, y, rng.integers(1, 4, n).astype(float)


def fitted(loss, X, y, **options):
    name = {"softmax": "logistic", "own": Cosh()}.get(loss, loss)
    return fastgd.fit(X, y, loss=name, **options)


def value_slopes(loss, y, Z):
    """Mean losses of rows, and slopes (n, k)."""
    if loss == "softmax":
        P = np.exp(Z - Z.max(axis=1, keepdims=True))
        P /= P.sum(axis=1, keepdims=True)
        own = np.arange(len(y)), y.astype(int)
        value, slopes = -np.log(P[own]), P.copy()
        slopes[own] -= 1.0
        return value, slopes
    z = Z[:, 0]
    if loss == "squared":
        return (y - z) ** 2, 2.0 * (z - y)[:, None]
    if loss == "logistic":
        return np.logaddexp(0.0, z) - y * z, (1.0 / (1.0 + np.exp(-z)) - y)[:, None]
    if loss == "huber":
        clipped = np.clip(z - y, -1.35, 1.35)
        return clipped * (2.0 * (z - y) - clipped), 2.0 * clipped[:, None]
    return np.log(np.cosh(z - y)), np.tanh(z - y)[:, None]


def conditions(result, loss, X, y, weight, penalty):
    """The objective by its formula, and how far the KKT conditions are violated, relative to the size of gradients."""
    coef, b = np.atleast_2d(result.coef), np.atleast_1d(result.intercept)
    s = np.ones(len(y)) if weight is None else weight
    s = s / s.sum()
    value, slopes = value_slopes(loss, y, X @ coef.T + b)
    factor = penalty.get("penalty_factor", np.ones(X.shape[1]))
    l1, l2 = penalty.get("l1", 0.0) * factor, penalty.get("l2", 0.0) * factor
    objective = s @ value + np.sum(l1 * np.abs(coef)) + 0.5 * np.sum(l2 * coef**2)
    gradient = (slopes * s[:, None]).T @ X + l2 * coef
    spread = X.std(axis=0)
    at_zero = np.maximum(np.abs(gradient) - l1, 0.0)
    if penalty.get("positive"):
        at_zero = np.maximum(-gradient - l1, 0.0)
        assert (coef >= 0.0).all()
    violation = np.where(coef != 0.0, np.abs(gradient + np.sign(coef) * l1), at_zero) / spread
    return objective, max(violation.max(), np.abs(s @ slopes).max())


CASES = [(loss, penalty, "C", w) for loss in LOSSES for penalty in PENALTIES for w in (False, True)]
CASES += [(loss, "factors", kind, True) for loss in ("squared", "logistic") for kind in KINDS if kind != "C"]


@pytest.mark.parametrize(("loss", "penalty", "kind", "weighted"), CASES)
def test_kkt_conditions(loss, penalty, kind, weighted):
    X, y, weight = samples(loss)
    options = PENALTIES[penalty]
    result = fitted(loss, KINDS[kind](X), y, sample_weight=weight if weighted else None, tol=1e-11, **options)
    assert result.converged, result.message
    objective, violation = conditions(result, loss, X, y, weight if weighted else None, options)
    assert violation < 1e-6
    assert result.loss == pytest.approx(objective, rel=1e-12)
    assert 0.0 <= result.duality_gap < 1e-10 * max(1.0, objective)
    if penalty == "lasso" and loss != "softmax":
        assert 0 < len(result.nonzero) < D


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("penalty", ["lasso", "elastic net", "factors", "positive"])
def test_gaps_are_bounds(loss, penalty):
    """The gap of a fit that was stopped is at least what its objective is above the minimum."""
    X, y, _ = samples(loss, 1)
    options = PENALTIES[penalty]
    least = fitted(loss, X, y, tol=1e-12, **options).loss
    start = np.random.default_rng(0).random((3, D + 1) if loss == "softmax" else D + 1)
    with pytest.warns(fastgd.ConvergenceWarning):
        stopped = fitted(loss, X, y, tol=1e-12, max_iter=0, start=start, **options)
    above = stopped.loss - least
    assert above > 1e-3
    assert stopped.duality_gap >= above
    closer = fitted(loss, X, y, tol=1e-3, **options)
    assert closer.loss - least <= closer.duality_gap


def test_orthogonal_columns_are_thresholded():
    X = np.linalg.qr(np.random.default_rng(0).standard_normal((50, 5)))[0] * 50**0.5
    y = X @ np.array([3.0, -2.0, 0.4, 0.2, 0.0])
    result = fastgd.fit(X, y, l1=1.0, l2=0.5, intercept=False, tol=1e-14)
    plain = np.array([3.0, -2.0, 0.4, 0.2, 0.0])
    expected = np.sign(plain) * np.maximum(np.abs(2.0 * plain) - 1.0, 0.0) / 2.5
    np.testing.assert_allclose(result.coef, expected, atol=1e-12)
    assert result.nonzero.tolist() == [0, 1]


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_scikit_learns_coordinate_descent(ratio, positive, intercept):
    X, y, weight = samples("squared", 2)
    result = fastgd.fit(
        X,
        y,
        l1=0.2 * ratio,
        l2=0.2 * (1 - ratio),
        positive=positive,
        intercept=intercept,
        sample_weight=weight,
        tol=1e-12,
    )
    model = Lasso(0.1) if ratio == 1.0 else ElasticNet(0.1, l1_ratio=ratio)
    model.set_params(positive=positive, fit_intercept=intercept, tol=1e-11, max_iter=10**5).fit(X, y, weight)
    np.testing.assert_allclose(result.coef, model.coef_, atol=1e-7)
    np.testing.assert_allclose(result.intercept, model.intercept_, atol=1e-7)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_scikit_learns_saga(ratio, classes):
    X, y, _ = samples("logistic" if classes == 2 else "softmax", 3)
    X = X / X.std(axis=0)
    result = fastgd.fit(X, y, loss="logistic", l1=0.02 * ratio, l2=0.02 * (1 - ratio), tol=1e-12)
    model = LogisticRegression(C=1 / (0.02 * N), l1_ratio=ratio, solver="saga", tol=1e-10, max_iter=10**5).fit(X, y)
    np.testing.assert_allclose(np.atleast_2d(result.coef), model.coef_, atol=2e-6)


def published():
    """Names of the fits of R's glmnet that statsmodels ships."""
    return [name for name in dir(glmnet_r_results) if name.startswith("rslt_")]


@pytest.mark.parametrize("name", published())
def test_published_fits_of_glmnet(name):
    n, p, ratio, strength, *coef = getattr(glmnet_r_results, name)
    data = np.loadtxt(Path(glmnet_r_results.__file__).with_name("lasso_data.csv"), delimiter=",")[
        : int(n), : int(p) + 1
    ]
    data = data - data.mean(axis=0)
    data = data / data.std(axis=0, ddof=1)
    ratio, strength = float(ratio), 2.0 * float(strength)
    result = fastgd.fit(
        data[:, 1:], data[:, 0], l1=strength * ratio, l2=strength * (1.0 - ratio), intercept=False, tol=1e-10
    )
    np.testing.assert_allclose(
        result.coef, np.array(coef, float), atol=1.5e-3
    )  # three decimals, as statsmodels compares


@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_a_constant_target_needs_no_column(loss):
    X, _, _ = samples(loss)
    result = fastgd.fit(X, np.full(N, 3.0), loss=loss, l1=0.1)
    assert result.coef.tolist() == [0.0] * D
    assert result.intercept == pytest.approx(3.0)
