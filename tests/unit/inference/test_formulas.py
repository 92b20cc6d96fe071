"""Penalties, other losses, and columns that samples do not determine: standard errors are those of the formulas."""

from typing import NamedTuple

import numpy as np
import pytest
from inference_designs import BINARY, CHI2, DATA, LOGISTIC, SQUARED, N, close, design, fitted, used

import fastgd

# Penalties, other losses, and columns that samples do not determine.


@pytest.mark.parametrize("l2", [1e-3, 0.5, 20.0])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weights", DATA.weights)
def test_penalised_least_squares(weights, intercept, l2):
    scales = np.array([1.0, 100.0, 0.01])
    X, y, s = used(weights, DATA.X / scales, DATA.y)
    inference = fitted(DATA.y, "penalised", weights, intercept, X=DATA.X / scales, l2=l2)
    Z, ridge = design(X, intercept), np.diag(np.append(np.full(3, l2 * s.sum() / 2.0), np.zeros(int(intercept))))
    gram = (Z.T * s) @ Z
    inverse = np.linalg.inv(gram + ridge)
    coef = inverse @ Z.T @ (s * y)
    close(inference.coef, coef, rtol=1e-7)
    freedom = np.trace(inverse @ gram)
    variance = s @ (y - Z @ inference.coef) ** 2 / (len(y) - freedom)
    close(inference.scale, variance)
    close(inference.standard_errors, np.sqrt(np.diagonal(inverse @ gram @ inverse) * variance), rtol=1e-7)
    close([inference.df_model, inference.df_resid], [freedom - intercept, len(y) - freedom], rtol=1e-7)
    assert inference.df == inference.df_resid and any("biased" in note for note in inference.notes)
    for test in (inference.f_test, inference.likelihood_ratio_test):
        with pytest.raises(ValueError, match="penal"):
            test()


@pytest.mark.parametrize("l2", [1e-3, 0.5])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weights", DATA.weights)
def test_penalised_two_classes(weights, intercept, l2):
    scaled = (DATA.X - [0.0, 2000.0, 0.5]) / [1.0, 100.0, 0.01]
    X, _, s = used(weights, scaled, BINARY)
    inference = fitted(BINARY, "penalised", weights, intercept, X=scaled, l2=l2, **LOGISTIC)
    Z, ridge = design(X, intercept), np.diag(np.append(np.full(3, l2 * s.sum()), np.zeros(int(intercept))))
    p = 1.0 / (1.0 + np.exp(-Z @ inference.coef))
    hessian = (Z.T * (s * p * (1.0 - p))) @ Z
    inverse = np.linalg.inv(hessian + ridge)
    close(inference.standard_errors, np.sqrt(np.diagonal(inverse @ hessian @ inverse)))
    close(inference.df_model, np.trace(inverse @ hessian) - intercept)
    assert inference.df == CHI2


class Shape(NamedTuple):
    """How wide the bottom is."""

    width: float = 1.0


class Cosh(Shape, fastgd.Loss):
    """Nearly the absolute error: ``width² ln cosh(r / width)``."""

    curvature_bound = 1.0

    @staticmethod
    def value_slope(loss, y, z):
        """Return value and slope at one sample."""
        r = (z - y) / loss.width
        return loss.width**2 * (abs(r) + np.log1p(np.exp(-2.0 * abs(r))) - np.log(2.0)), loss.width * np.tanh(r)


class CoshWithCurvature(Cosh):
    """The same, and it says its curvature."""

    @staticmethod
    def curvature(loss, y, z):
        """Return the second derivative at one sample."""
        return 1.0 - np.tanh((z - y) / loss.width) ** 2


def huber(r, delta=1.35):
    return 2.0 * np.clip(r, -delta, delta), 2.0 * (abs(r) <= delta)


def cosh(r):
    return np.tanh(r), 1.0 - np.tanh(r) ** 2


ROBUST = {"huber": ("huber", huber, 1e-8), "curvature": (CoshWithCurvature(), cosh, 1e-8), "none": (Cosh(), cosh, 1e-5)}


@pytest.mark.parametrize("covariance", ["HC0", "HC1", "cluster"])
@pytest.mark.parametrize("weights", ["none", "precision"])
@pytest.mark.parametrize("loss", ROBUST)
def test_sandwiches_of_other_losses(loss, weights, covariance):
    given, derivatives, rtol = ROBUST[loss]
    scaled = (DATA.X - [0.0, 2000.0, 0.5]) / [1.0, 100.0, 0.01]
    X, y, groups, s = used(weights, scaled, DATA.y, DATA.groups)
    inference = fitted(DATA.y, covariance, weights, X=scaled, loss=given, tol=1e-9)
    Z, n = design(X, True), len(y)
    slope, curvature = derivatives(Z @ inference.coef - y)
    inverse = np.linalg.inv((Z.T * (s * curvature)) @ Z)
    scores = Z * (s * slope)[:, None]
    factor = {"HC0": 1.0, "HC1": n / (n - 4)}.get(covariance)
    if covariance == "cluster":
        scores = np.array([scores[groups == group].sum(axis=0) for group in np.unique(groups)])
        factor = len(scores) / (len(scores) - 1) * (n - 1) / (n - 4)
    expected = factor * inverse @ scores.T @ scores @ inverse
    close(inference.standard_errors, np.sqrt(np.diagonal(expected)), rtol=rtol)
    assert np.isnan([inference.log_likelihood, inference.aic, inference.deviance, inference.pseudo_r_squared]).all()
    assert inference.df == CHI2
    with pytest.raises(ValueError, match="likelihood_ratio_test"):
        inference.likelihood_ratio_test()


def test_later_a_loss_of_ones_own_has_to_be_given_again():
    X = (DATA.X - [0.0, 2000.0, 0.5]) / [1.0, 100.0, 0.01]
    result = fastgd.fit(X, DATA.y, loss=Cosh(), tol=1e-9)
    with pytest.raises(ValueError, match=r"^the fit had a loss of your own, cosh; give it as loss="):
        fastgd.inference(result, X, DATA.y, covariance="HC1")
    with pytest.raises(ValueError, match=r"^loss=Huber.*; the fit had a cosh loss"):
        fastgd.inference(result, X, DATA.y, covariance="HC1", loss=fastgd.losses.Huber())
    later = fastgd.inference(result, X, DATA.y, covariance="HC1", loss=Cosh())
    close(later.standard_errors, fitted(DATA.y, "HC1", X=X, loss=Cosh(), tol=1e-9).standard_errors)


def with_redundant(X):
    """Columns that are constant, doubled, and a sum of two others, among those that are not."""
    a, b, c = X.T
    return np.column_stack((a, np.full(len(X), 7.0), b, a, c, a + b)), np.array([1, 3, 5])


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
@pytest.mark.parametrize("covariance", SQUARED)
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_redundant_columns_have_no_standard_errors(loss, covariance):
    y, options = (DATA.y, {}) if loss == "squared" else (BINARY, LOGISTIC)
    clean = (DATA.X - [0.0, 2000.0, 0.5]) / [1.0, 100.0, 0.01]
    X, redundant = with_redundant(clean)
    options = options | ({"clusters": DATA.groups} if covariance == "cluster" else {})
    fit = fastgd.fit(X, y, covariance=covariance, **options)
    assert fit.redundant_columns.tolist() == redundant.tolist()
    inference, alone = fit.inference, fastgd.fit(clean, y, covariance=covariance, **options).inference
    unknown = np.isin(np.arange(7), redundant)
    for values in (inference.standard_errors, inference.p_values, inference.conf_int()[:, 0], inference.statistic):
        assert (np.isnan(values) == unknown).all()
    assert (np.isnan(inference.covariance) == (unknown | unknown[:, None])).all()
    close([inference.log_likelihood, inference.bic], [alone.log_likelihood, alone.bic])
    assert (inference.df_model, inference.df_resid) == (3, N - 4)
    assert any("x1, x3, x5" in note for note in inference.notes)
    close(inference.standard_errors[~unknown], alone.standard_errors, rtol=1e-7)
    close(inference.coef[~unknown], alone.coef, rtol=1e-7)
    assert (inference.coef[unknown] == 0.0).all()
    close(inference.wald_test("x0 = 0, x2 = 0").statistic, alone.wald_test("x0 = 0, x1 = 0").statistic, rtol=1e-7)


@pytest.mark.parametrize(("gap", "rtol"), [(1e-3, 1e-8), (1e-7, 1e-8), (1e-9, 1e-8), (1e-11, 1e-7), (1e-13, 1e-4)])
def test_collinear_beyond_float64(gap, rtol):
    """Products of columns in float64 hide what the columns leave of each other; standard errors have it."""
    X, y = nearly_collinear(gap)
    inference = fastgd.fit(X, y, covariance="classical").inference
    assert not inference.undetermined.any() and not inference.notes
    left = (X[:, 1] - X[:, 0]) / gap  # exact: b1 x1 + b0 x0 = b1 gap left + (b0 + b1) x0
    variances = np.linalg.inv((Z := np.column_stack((X[:, 0], left, np.ones(len(X))))).T @ Z)
    to_caller = np.array([[1.0, -1.0 / gap, 0.0], [0.0, 1.0 / gap, 0.0], [0.0, 0.0, 1.0]])
    residual = y - Z @ np.linalg.lstsq(Z, y)[0]
    errors = np.sqrt(np.diagonal(to_caller @ variances @ to_caller.T) * (residual @ residual) / (len(y) - 3))
    close(inference.standard_errors, errors, rtol=rtol)  # coefficients as large as 1 / gap round residuals
    sums = inference.wald_test(([1.0, 1.0, 0.0], [0.3]))
    z = (np.linalg.lstsq(Z, y)[0][0] - 0.3) / np.sqrt(variances[0, 0] * (residual @ residual) / (len(y) - 3))
    assert sums.df == 1
    close(sums.statistic, z**2, rtol=max(1e-6, 1e-15 / gap))


def nearly_collinear(gap):
    rng = np.random.default_rng(5)
    a = rng.standard_normal(200)
    return np.column_stack((a, a + gap * rng.standard_normal(200))), a + rng.standard_normal(200)


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_collinear_to_the_last_digit(loss):
    X, y = nearly_collinear(1e-16)
    y = y if loss == "squared" else y > 0.0
    inference = fastgd.fit(X, y, covariance="classical", loss=loss).inference
    assert inference.undetermined.tolist() == [False, True, False]
    assert np.isfinite(inference.standard_errors[[0, 2]]).all() and np.isnan(inference.standard_errors[1])
    assert "No standard error: x1, constant or combinations of other columns" in inference.notes[0]
    assert np.isfinite(inference.log_likelihood)


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
@pytest.mark.parametrize("covariance", ["classical", "HC1", "HC3"])
def test_where_rounding_hides_the_inverse_nothing_is_claimed(covariance, tmp_path):
    """With more columns than are solved with twice the digits, all is NaN but what needs no inverse."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((900, 520))
    X[:, 1] = X[:, 0] + 1e-12 * X[:, 1]
    result = fastgd.fit(X, X[:, 0] + rng.standard_normal(900), covariance=covariance)
    inference = result.inference
    for values in (inference.standard_errors, inference.p_values, inference.conf_int(), inference.covariance):
        assert np.isnan(values).all()
    assert inference.undetermined.all() and np.isfinite([inference.aic, inference.log_likelihood]).all()
    assert inference.notes[0].startswith("No standard errors: columns leave so little of each other")
    assert inference.notes[0] in str(result.summary())
    with pytest.raises(ValueError, match="x2 is redundant"):
        inference.wald_test("x2 = 0")
    result.save(tmp_path / "model.json")
    assert str(fastgd.load(tmp_path / "model.json").summary()) == str(result.summary())


@pytest.mark.parametrize("name", ["HC0", "HC1", "HC2", "HC3"])
def test_robust_covariances_may_be_written_in_lower_case(name):
    upper, lower = fitted(DATA.y, name, "none", True), fitted(DATA.y, name.lower(), "none", True)
    assert upper.kind == lower.kind == name
    np.testing.assert_array_equal(lower.covariance, upper.covariance)
