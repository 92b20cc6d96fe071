"""scikit-learn's own checks of what it expects of an estimator; there are no expected failures."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastgd import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),  # of "sgd" on hard data
]

ESTIMATORS = [
    LinearRegression(),
    LinearRegression(fit_intercept=False, solver="lbfgs", tol=1e-9, warm_start=True, n_jobs=1),
    Ridge(),
    Ridge(alpha=0.1, solver="nesterov", max_iter=5000, random_state=0, drop_first=False, unseen="zero"),
    LogisticRegression(),
    LogisticRegression(C=10.0, class_weight="balanced", solver="lbfgs", tol=1e-9),
    LogisticRegression(solver="newton", warm_start=True),
    Ridge(solver="sgd", tol=1e-8),  # which has partial_fit, too
    LogisticRegression(solver="sgd", tol=1e-8),
    Lasso(),
    Lasso(alpha=0.01, positive=True, warm_start=True, precompute=True),
    ElasticNet(l1_ratio=0.0, fit_intercept=False, selection="random", random_state=0),
    LogisticRegression(C=0.1, l1_ratio=0.5, class_weight="balanced"),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learns_check(estimator, check):
    check(estimator)
