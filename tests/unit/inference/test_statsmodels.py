"""Standard errors, tests, intervals and measures of fit are those of statsmodels, of NIST, and of the formulas."""

import numpy as np
import pytest
import statsmodels.api as sm
from inference_designs import BINARY, CHI2, DATA, LOGISTIC, SQUARED, N, close, design, fitted, of_statsmodels, used
from scipy import stats

import fastgd


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
    result = of_statsmodels(
        model, "HC0" if covariance == "HC1" else covariance, groups, tol=1e-15, tol_criterion="params", maxiter=30
    )
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
    result = of_statsmodels(model, "classical", tol=1e-15, tol_criterion="params", maxiter=30)
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
