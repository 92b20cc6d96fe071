"""Standard errors, tests, intervals and measures of fit are those of statsmodels, of NIST, and of the formulas."""

import warnings
from typing import NamedTuple

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

import fastgd

N = 150
FINE = {"rtol": 1e-8, "atol": 1e-12}
SQUARED = ["classical", "HC0", "HC1", "HC2", "HC3", "cluster"]
LOGISTIC = {"loss": "logistic", "tol": 1e-8}
CHI2 = float("inf")


def close(found, expected, rtol=1e-8, atol=1e-12):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


class Samples(NamedTuple):
    """Samples of a design: columns far from 0 and of other scales, errors that depend on x, and some weights of 0."""

    X: np.ndarray
    y: np.ndarray
    classes: np.ndarray
    groups: np.ndarray
    weights: dict


def samples(seed=0, n=N, d=3):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, d)) @ (np.eye(d) + 0.3)
    X = z * np.resize([1.0, 100.0, 0.01, 3.0], d) + np.resize([0.0, 2000.0, 0.5, -9.0], d)
    groups = rng.integers(0, 25, n)
    shared = rng.standard_normal(25)[groups]
    y = z @ np.resize([1.0, -0.5, 0.2], d) + 0.5 * shared + (0.5 + abs(z[:, 0])) * rng.standard_normal(n) + 3.0
    latent = z @ np.resize([0.8, -0.5, 0.3], d) + 0.5 * shared + 0.3
    weights = {
        "none": None,
        "precision": rng.uniform(0.2, 3.0, n) * (rng.random(n) > 0.05),
        "frequency": rng.integers(0, 4, n).astype(float),
    }
    return Samples(X, y, np.digitize(latent + rng.logistic(size=n), [-1.0, 1.0]), groups, weights)


DATA = samples()
BINARY = (DATA.classes > 1).astype(int)


def used(weights, *arrays):
    """Rows as statsmodels has to have them: those of weight 0 left out, those that stand for several repeated."""
    weight = DATA.weights[weights]
    if weight is None:
        return [*arrays, np.ones(len(arrays[0]))]
    if weights == "frequency":
        return [*(np.repeat(each, weight.astype(int), axis=0) for each in arrays), np.ones(int(weight.sum()))]
    return [*(each[weight > 0.0] for each in arrays), weight[weight > 0.0]]


def design(X, intercept):
    return np.column_stack((X, np.ones(len(X)))) if intercept else X


def fitted(y, covariance, weights="none", intercept=True, X=DATA.X, groups=DATA.groups, **options):
    options |= {"clusters": groups} if covariance == "cluster" else {}
    options |= {"weights": "frequency"} if weights == "frequency" else {}
    weight = DATA.weights[weights]
    return fastgd.fit(X, y, covariance=covariance, sample_weight=weight, intercept=intercept, **options).inference


def of_statsmodels(model, covariance, groups=None, **options):
    kind = "nonrobust" if covariance == "classical" else covariance
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(cov_type=kind, cov_kwds={"groups": groups} if kind == "cluster" else None, **options)


def check_coefficients(inference, result):
    close(inference.coef, result.params)
    close(inference.standard_errors, result.bse)
    scale = np.outer(result.bse, result.bse)
    close(inference.covariance / scale, result.cov_params() / scale, atol=1e-9)
    close(inference.statistic, result.tvalues)
    close(inference.p_values, result.pvalues, atol=1e-12)
    for level in (0.95, 0.9):
        close(inference.conf_int(level), result.conf_int(1.0 - level), atol=1e-12)


def check_wald(inference, result):
    p = len(inference.names)
    rng = np.random.default_rng(p)
    size = 1.0 / np.atleast_2d(inference.standard_errors)[0]
    for m in (1, 2, p):
        R, r = rng.standard_normal((m, p)) * size, rng.standard_normal(m)
        test = inference.wald_test((R, r))
        use_f = bool(np.isfinite(inference.df))
        expected = result.wald_test((R, r), use_f=use_f, scalar=True)
        close([test.statistic, test.p_value], [expected.statistic, expected.pvalue])
        assert test.df == m and test.distribution == ("F" if use_f else "chi2")
        assert not use_f or test.df_denominator == expected.df_denom
        again = inference.wald_test(R)
        close(again.statistic, result.wald_test(R, use_f=use_f, scalar=True).statistic)


@pytest.mark.parametrize("covariance", SQUARED)
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weights", DATA.weights)
def test_least_squares(weights, intercept, covariance):
    X, y, groups, weight = used(weights, DATA.X, DATA.y, DATA.groups)
    inference = fitted(DATA.y, covariance, weights, intercept)
    result = of_statsmodels(sm.WLS(y, design(X, intercept), weights=weight), covariance, groups)
    check_coefficients(inference, result)
    check_wald(inference, result)
    assert inference.n == result.nobs and inference.df_model == result.df_model
    assert inference.df_resid == result.df_resid == inference.n - X.shape[1] - intercept
    assert inference.df == (result.df_resid if covariance == "classical" else CHI2)
    assert inference.clusters == (len(np.unique(groups)) if covariance == "cluster" else 0)
    close(inference.scale, result.scale)
    for name, other in {
        "log_likelihood": "llf",
        "aic": "aic",
        "bic": "bic",
        "r_squared": "rsquared",
        "adjusted_r_squared": "rsquared_adj",
        "deviance": "ssr",
        "null_deviance": "centered_tss" if intercept else "uncentered_tss",
    }.items():
        close(getattr(inference, name), getattr(result, other))
    assert np.isnan(inference.pseudo_r_squared)
    test = inference.f_test()
    close([test.statistic, test.p_value], [result.fvalue, result.f_pvalue])
    assert (test.df, test.distribution) == (3, "F")
    n, null = inference.n, y - intercept * np.average(y, weights=weight)
    null = 0.5 * np.log(weight).sum() - 0.5 * n * (np.log(2.0 * np.pi * (weight @ null**2) / n) + 1.0)
    close(inference.null_log_likelihood, null)
    ratio = inference.likelihood_ratio_test()
    close([ratio.statistic, ratio.p_value], [2.0 * (result.llf - null), stats.chi2.sf(2.0 * (result.llf - null), 3)])
    assert (ratio.df, ratio.distribution) == (3, "chi2")


def null_log_likelihood(y, weight, intercept):
    """The null model without an intercept predicts 0: each class has the same probability."""
    shares = np.bincount(y, weight) / weight.sum()
    shares = shares if intercept else np.full(len(shares), 1.0 / len(shares))
    return float(weight @ np.log(shares[y]))


@pytest.mark.parametrize("covariance", ["classical", "HC0", "HC1", "cluster"])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weights", DATA.weights)
def test_two_classes(weights, intercept, covariance):
    X, y, groups, weight = used(weights, DATA.X, BINARY, DATA.groups)
    centred = X - [0.0, 2000.0, 0.5]
    inference = fitted(BINARY, covariance, weights, intercept, X=DATA.X - [0.0, 2000.0, 0.5], **LOGISTIC)
    model = sm.GLM(y, design(centred, intercept), sm.families.Binomial(), var_weights=weight)
    result = of_statsmodels(model, "HC0" if covariance == "HC1" else covariance, groups, tol=1e-15, maxiter=200)
    n, p = result.nobs, 3 + intercept
    if covariance == "HC1":
        close(inference.standard_errors, result.bse * np.sqrt(n / (n - p)))
    else:
        check_coefficients(inference, result)
        check_wald(inference, result)
    assert (inference.n, inference.df_model, inference.df_resid, inference.df) == (n, 3, n - p, CHI2)
    null = null_log_likelihood(y, weight, intercept)
    close(inference.null_log_likelihood, null)
    close([inference.log_likelihood, inference.deviance], [result.llf, result.deviance])
    close([inference.aic, inference.bic], [result.aic, result.bic_llf])
    close([inference.null_deviance, inference.pseudo_r_squared], [-2.0 * null, 1.0 - result.llf / null])
    if intercept:
        close([inference.null_deviance, null], [result.null_deviance, result.llnull])
        close(inference.pseudo_r_squared, result.pseudo_rsquared("mcf"))
    ratio = inference.likelihood_ratio_test()
    close([ratio.statistic, ratio.p_value], [2.0 * (result.llf - null), stats.chi2.sf(2.0 * (result.llf - null), 3)])
    assert np.isnan(inference.r_squared) and np.isnan(inference.adjusted_r_squared)
    assert inference.scale.tolist() == [1.0]
    with pytest.raises(ValueError, match="f_test is for the squared loss"):
        inference.f_test()


def test_columns_of_two_classes_may_be_far_from_0():
    near = fitted(BINARY, "HC1", X=DATA.X - [0.0, 2000.0, 0.5], **LOGISTIC)
    far = fitted(BINARY, "HC1", **LOGISTIC)
    close(far.standard_errors[:-1], near.standard_errors[:-1])
    translate = np.eye(4)
    translate[3, :3] = [0.0, -2000.0, -0.5]
    errors = far.standard_errors
    expected = translate @ near.covariance @ translate.T / np.outer(errors, errors)
    close(far.covariance / np.outer(errors, errors), expected)


@pytest.mark.parametrize("weights", ["none", "frequency"])
def test_weights_of_glm_that_count_rows(weights):
    weight = np.ones(N) if weights == "none" else DATA.weights["frequency"]
    X = DATA.X - [0.0, 2000.0, 0.5]
    kept = weight > 0.0
    model = sm.GLM(BINARY[kept], design(X[kept], True), sm.families.Binomial(), freq_weights=weight[kept])
    inference = fitted(BINARY, "classical", weights, X=X, **LOGISTIC)
    result = of_statsmodels(model, "classical", tol=1e-15, maxiter=200)
    check_coefficients(inference, result)
    close([inference.log_likelihood, inference.df_resid], [result.llf, result.df_resid])


@pytest.mark.parametrize("covariance", ["HC2", "HC3"])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weights", DATA.weights)
def test_leverages_of_two_classes(weights, intercept, covariance):
    X, y, s = used(weights, DATA.X - [0.0, 2000.0, 0.5], BINARY)
    inference = fitted(BINARY, covariance, weights, intercept, X=DATA.X - [0.0, 2000.0, 0.5], **LOGISTIC)
    Z = design(X, intercept)
    p = 1.0 / (1.0 + np.exp(-Z @ inference.coef))
    inverse = np.linalg.inv((Z.T * (s * p * (1.0 - p))) @ Z)
    lever = s * p * (1.0 - p) * np.einsum("ij,jk,ik->i", Z, inverse, Z)
    meat = (Z.T * ((s * (p - y)) ** 2 / (1.0 - lever) ** (1 if covariance == "HC2" else 2))) @ Z
    close(inference.standard_errors, np.sqrt(np.diagonal(inverse @ meat @ inverse)))


@pytest.mark.parametrize("covariance", ["classical", "HC0"])
@pytest.mark.parametrize("intercept", [True, False])
def test_several_classes(intercept, covariance):
    X = DATA.X - [0.0, 2000.0, 0.5]
    inference = fitted(DATA.classes, covariance, intercept=intercept, X=X, **LOGISTIC)
    model = sm.MNLogit(DATA.classes, design(X, intercept))
    result = of_statsmodels(model, covariance, method="newton", maxiter=100, disp=0, tol=1e-14)
    p = 3 + intercept
    assert inference.outputs == ("1", "2") and inference.coef.shape == (2, p)
    close(inference.coef, result.params.T)
    close(inference.standard_errors, result.bse.T)
    close(inference.statistic, result.tvalues.T)
    close(inference.p_values, result.pvalues.T)
    for level in (0.95, 0.9):
        close(inference.conf_int(level), result.conf_int(1.0 - level))
    scale = np.outer(result.bse.T, result.bse.T)
    close(inference.covariance / scale, np.asarray(result.cov_params()) / scale, atol=1e-9)
    null = null_log_likelihood(DATA.classes, np.ones(N), intercept)
    close([inference.log_likelihood, inference.null_log_likelihood], [result.llf, null])
    assert (inference.df_model, inference.df_resid, inference.df) == (6, N - 2 * p, CHI2)
    close(inference.aic, -2.0 * result.llf + 4.0 * p)
    close(inference.bic, -2.0 * result.llf + 2.0 * p * np.log(N))
    close(inference.pseudo_r_squared, 1.0 - result.llf / null)
    ratio = inference.likelihood_ratio_test()
    close([ratio.statistic, ratio.p_value], [2.0 * (result.llf - null), stats.chi2.sf(2.0 * (result.llf - null), 6)])
    if intercept:
        close([ratio.statistic, ratio.p_value], [result.llr, result.llr_pvalue])
        close(inference.pseudo_r_squared, result.prsquared)
    hypothesis = np.eye(p)[:2]
    test = inference.wald_test(hypothesis)
    expected = result.wald_test(np.kron(np.eye(2), hypothesis), use_f=False, scalar=True)
    close([test.statistic, test.p_value], [expected.statistic, expected.pvalue])
    assert test.df == 4


@pytest.mark.parametrize("covariance", ["classical", "HC0", "HC1", "cluster"])
def test_frequencies_of_several_classes_are_rows_repeated(covariance):
    X = DATA.X - [0.0, 2000.0, 0.5]
    rows, classes, groups, _ = used("frequency", X, DATA.classes, DATA.groups)
    found = fitted(DATA.classes, covariance, "frequency", X=X, **LOGISTIC)
    expected = fitted(classes, covariance, X=rows, groups=groups, **LOGISTIC)
    same_inference(found, expected)


def same_inference(one, other, rtol=1e-8):
    assert (one.n, one.df_model, one.df_resid, one.df) == (other.n, other.df_model, other.df_resid, other.df)
    assert (one.names, one.outputs, one.clusters) == (other.names, other.outputs, other.clusters)
    for name in ("coef", "standard_errors", "p_values", "log_likelihood", "null_log_likelihood", "deviance", "bic"):
        close(getattr(one, name), getattr(other, name), rtol=rtol)
    close(one.conf_int(), other.conf_int(), rtol=rtol, atol=1e-10)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("covariance", SQUARED)
def test_frequencies_are_rows_repeated(covariance, loss):
    y, options = (DATA.y, {}) if loss == "squared" else (BINARY, LOGISTIC)
    X = DATA.X - [0.0, 2000.0, 0.5]
    rows, targets, groups, _ = used("frequency", X, y, DATA.groups)
    found = fitted(y, covariance, "frequency", X=X, **options)
    same_inference(found, fitted(targets, covariance, X=rows, groups=groups, **options))


@pytest.mark.parametrize("scale", [1e-3, 7.0, 2.0**20])
@pytest.mark.parametrize("covariance", SQUARED)
def test_only_ratios_of_precisions_matter(covariance, scale):
    weight = DATA.weights["precision"]
    options = {"clusters": DATA.groups} if covariance == "cluster" else {}
    one, other = (
        fastgd.fit(DATA.X, DATA.y, sample_weight=s, covariance=covariance, **options).inference
        for s in (weight, weight * scale)
    )
    close(one.standard_errors, other.standard_errors)
    close([one.aic, one.r_squared, one.f_test().p_value], [other.aic, other.r_squared, other.f_test().p_value])


@pytest.mark.parametrize("weights", DATA.weights)
@pytest.mark.parametrize("covariance", SQUARED)
def test_several_targets_are_each_alone(covariance, weights):
    Y = np.column_stack((DATA.y, 1e3 * DATA.y[::-1] + 5.0, DATA.X[:, 0] + DATA.y**2))
    together = fitted(Y, covariance, weights)
    assert together.outputs == ("0", "1", "2") and together.covariance.shape == (3, 4, 4)
    F, likelihood = together.f_test(), together.likelihood_ratio_test()
    wald = together.wald_test("x0 = x1, x2 = 1")
    for k, y in enumerate(Y.T):
        alone = fitted(y, covariance, weights)
        close(together.coef[k], alone.coef)
        close(together.standard_errors[k], alone.standard_errors)
        close(together.p_values[k], alone.p_values)
        close(together.conf_int()[k], alone.conf_int())
        scale = np.outer(alone.standard_errors, alone.standard_errors)
        close(together.covariance[k] / scale, alone.covariance / scale)
        for name in ("log_likelihood", "null_log_likelihood", "deviance", "null_deviance", "aic", "bic", "r_squared"):
            close(getattr(together, name)[k], getattr(alone, name))
        close(together.adjusted_r_squared[k], alone.adjusted_r_squared)
        for test, own in (
            (F, alone.f_test()),
            (likelihood, alone.likelihood_ratio_test()),
            (wald, alone.wald_test("x0 = x1, x2 = 1")),
        ):
            close([test.statistic[k], test.p_value[k]], [own.statistic, own.p_value])
            assert (test.df, test.df_denominator) == (own.df, own.df_denominator)


LONGLEY = {
    "TOTEMP": 890420.383607373,
    "GNPDEFL": 84.9149257747669,
    "GNP": 0.334910077722432e-01,
    "UNEMP": 0.488399681651699,
    "ARMED": 0.214274163161675,
    "POP": 0.226073200069370,
    "YEAR": 455.478499142212,
}


def test_certified_standard_errors_of_longley():
    data = sm.datasets.longley.load_pandas()
    inference = fastgd.fit(data.exog, data.endog, covariance="classical").inference
    assert inference.names == (*[*LONGLEY][1:], "intercept")
    close(inference.standard_errors, [*[*LONGLEY.values()][1:], LONGLEY["TOTEMP"]], rtol=1e-10)
    close(np.sqrt(inference.scale), 304.854073561965, rtol=1e-10)
    close(inference.r_squared, 0.995479004577296, rtol=1e-10)
    close(inference.f_test().statistic, 330.285339234588, rtol=1e-10)
    assert not inference.notes


def test_spector():
    data = sm.datasets.spector.load_pandas()
    inference = fastgd.fit(data.exog, data.endog, covariance="classical", **LOGISTIC).inference
    result = of_statsmodels(sm.Logit(data.endog, data.exog.assign(intercept=1.0)), "classical", disp=0, tol=1e-15)
    assert [*inference.names] == [*result.params.index]
    check_coefficients(inference, result)
    check_wald(inference, result)
    close([inference.log_likelihood, inference.null_log_likelihood], [result.llf, result.llnull])
    close([inference.aic, inference.bic, inference.pseudo_r_squared], [result.aic, result.bic, result.prsquared])
    ratio = inference.likelihood_ratio_test()
    close([ratio.statistic, ratio.p_value], [result.llr, result.llr_pvalue])
    robust = fastgd.fit(data.exog, data.endog, covariance="HC0", **LOGISTIC).inference
    expected = of_statsmodels(sm.Logit(data.endog, data.exog.assign(intercept=1.0)), "HC0", disp=0, tol=1e-15)
    check_coefficients(robust, expected)


def test_american_election_study():
    data = sm.datasets.anes96.load_pandas()
    inference = fastgd.fit(data.exog, data.endog, covariance="classical", **LOGISTIC).inference
    model = sm.MNLogit(data.endog, data.exog.assign(intercept=1.0))
    result = of_statsmodels(model, "classical", disp=0, tol=1e-14, maxiter=100)
    close(inference.coef, result.params.T)
    close(inference.standard_errors, result.bse.T)
    close(inference.p_values, result.pvalues.T)
    close([inference.log_likelihood, inference.null_log_likelihood], [result.llf, result.llnull])
    close([inference.aic, inference.bic, inference.pseudo_r_squared], [result.aic, result.bic, result.prsquared])
    ratio = inference.likelihood_ratio_test()
    close([ratio.statistic, ratio.p_value], [result.llr, result.llr_pvalue])
    assert ratio.df == result.df_model


def test_schools_of_california_by_counts():
    data = sm.datasets.star98.load_pandas()
    X = data.exog.to_numpy()[:, :8]
    counts = data.endog.to_numpy()
    result = of_statsmodels(
        sm.GLM(counts, design(X, True), sm.families.Binomial()), "classical", tol=1e-15, maxiter=100
    )
    y = np.repeat([1, 0], len(X))
    inference = fastgd.fit(
        np.vstack((X, X)),
        y,
        sample_weight=counts.T.ravel(),
        weights="frequency",
        covariance="classical",
        **LOGISTIC,
    ).inference
    check_coefficients(inference, result)
    assert inference.n == counts.sum()


@pytest.mark.parametrize("covariance", SQUARED)
def test_extramarital_affairs(covariance):
    data = sm.datasets.fair.load_pandas()
    X, y = data.exog.iloc[::12], data.endog.iloc[::12]
    groups = X["occupation"].to_numpy() * 10 + X["educ"].to_numpy()
    options = {"clusters": groups} if covariance == "cluster" else {}
    inference = fastgd.fit(X, y, covariance=covariance, **options).inference
    result = of_statsmodels(sm.OLS(y, X.assign(intercept=1.0)), covariance, groups)
    check_coefficients(inference, result)
    close([inference.f_test().statistic, inference.f_test().p_value], [result.fvalue, result.f_pvalue])


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
    options |= {"clusters": DATA.groups} if covariance == "cluster" else {}
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
    close(inference.standard_errors[4], alone.standard_errors[2])  # no combination contains it
    if loss == "squared" and covariance != "cluster":
        result = of_statsmodels(sm.OLS(y, np.column_stack((np.delete(X, 1, 1), np.ones(N)))), covariance)
        close(inference.standard_errors[~unknown][:-1], result.bse[[0, 1, 3]], rtol=1e-7)
        close(inference.coef[[0, 2, 3, 4, 5]], result.params[:-1], rtol=1e-7)


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
    with pytest.raises(ValueError, match="the samples do not determine x2"):
        inference.wald_test("x2 = 0")
    result.save(tmp_path / "model.json")
    assert str(fastgd.load(tmp_path / "model.json").summary()) == str(result.summary())
