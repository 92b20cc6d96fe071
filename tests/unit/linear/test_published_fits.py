"""Published logistic fits that ship with statsmodels: every printed digit, at the default."""

import numpy as np
import pytest
import statsmodels.api as sm

import fastgd


@pytest.mark.parametrize("solver", ["auto", "lbfgs"])
def test_spector(solver):
    """Exact to 14 digits; what Stata and Greene print (2.826113, 0.0951577, 2.378688, -13.02135) are these, rounded."""
    data = sm.datasets.spector.load_pandas()
    result = fastgd.fit(data.exog.to_numpy(float), data.endog.to_numpy(float), loss="logistic", solver=solver)
    np.testing.assert_allclose(result.coef, [2.8261125948893, 0.0951576613179, 2.3786876550934], rtol=1e-9)
    np.testing.assert_allclose(result.intercept, -13.0213468581157, rtol=1e-9)


@pytest.mark.parametrize("solver", ["auto", "lbfgs"])
def test_star98_is_the_glm_that_statsmodels_prints(solver):
    data = sm.datasets.star98.load_pandas()
    X, counts = data.exog.to_numpy(float), data.endog.to_numpy(float)
    glm = sm.GLM(counts, sm.add_constant(X, prepend=False), family=sm.families.Binomial()).fit(tol=1e-14, maxiter=99)
    result = fastgd.fit(
        np.vstack((X, X)), np.repeat([1, 0], len(X)), loss="logistic", sample_weight=counts.T.ravel(), solver=solver
    )
    np.testing.assert_allclose([*result.coef, result.intercept], glm.params, rtol=1e-8)


def test_anes96_multinomial():
    data = sm.datasets.anes96.load_pandas()
    X, y = data.exog.to_numpy(float), data.endog.to_numpy()
    logit = sm.MNLogit(y, sm.add_constant(X, prepend=False)).fit(method="newton", tol=1e-14, maxiter=100, disp=0)
    result = fastgd.fit(X, y.astype(int), loss="logistic")
    got = np.column_stack((result.coef, result.intercept)).T
    np.testing.assert_allclose(got[:, 1:] - got[:, :1], logit.params, rtol=1e-7)
