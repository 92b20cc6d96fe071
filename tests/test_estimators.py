"""Estimators: scikit-learn's meaning, coefficients, interface and manners."""

import pickle

import numpy as np
import pytest
from sklearn import datasets, linear_model
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastgd
from fastgd import LinearRegression, LogisticRegression, Ridge, Status


def diabetes():
    X, y = datasets.load_diabetes(return_X_y=True, scaled=False)
    return X, y


def breast_cancer():
    return datasets.load_breast_cancer(return_X_y=True)


def digits():
    """Two classes of digits; some pixels are constant."""
    return datasets.load_digits(n_class=2, return_X_y=True)


def exact(C, fit_intercept=True):
    return linear_model.LogisticRegression(
        C=C, fit_intercept=fit_intercept, solver="newton-cholesky", tol=1e-14, max_iter=1000
    )


PAIRS = [
    (LinearRegression(), linear_model.LinearRegression(), diabetes),
    (LinearRegression(fit_intercept=False), linear_model.LinearRegression(fit_intercept=False), diabetes),
    *[(Ridge(alpha), linear_model.Ridge(alpha), diabetes) for alpha in (0.01, 1.0, 100.0)],
    (Ridge(2.0, fit_intercept=False), linear_model.Ridge(2.0, fit_intercept=False), diabetes),
    *[(LogisticRegression(C=C), exact(C), load) for C in (0.01, 1.0) for load in (breast_cancer, digits)],
    (LogisticRegression(C=0.1, fit_intercept=False), exact(0.1, fit_intercept=False), digits),
]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("ours", "theirs", "load"), PAIRS)
def test_coefficients_are_scikit_learns(ours, theirs, load, weighted):
    X, y = load()
    weight = np.random.default_rng(0).integers(0, 4, len(y)) if weighted else None
    ours = clone(ours).set_params(tol=1e-12, max_iter=5000).fit(X, y, sample_weight=weight)
    theirs = clone(theirs).fit(X, y, sample_weight=weight)
    size = np.abs(theirs.coef_).max()
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6, atol=1e-8 * size)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-6)
    assert ours.coef_.shape == theirs.coef_.shape
    assert np.shape(ours.intercept_) == np.shape(theirs.intercept_)
    assert (ours.predict(X) == theirs.predict(X)).mean() == 1.0 if hasattr(ours, "classes_") else True
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), abs=1e-9)
    assert ours.status_ is Status.CONVERGED
    assert ours.n_iter_ == len(ours.history_) - 1


def test_logistic_predictions_are_scikit_learns():
    X, y = breast_cancer()
    labels = np.array(["benign", "malignant"])[1 - y]
    ours = LogisticRegression(tol=1e-11, max_iter=5000).fit(X, labels)
    theirs = exact(1.0).fit(X, labels)
    assert (ours.classes_ == theirs.classes_).all()
    assert (ours.predict(X) == theirs.predict(X)).all()
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), rtol=1e-5)
    np.testing.assert_allclose(ours.predict_proba(X).sum(axis=1), 1.0, rtol=1e-15)


def test_parameters_pickle_and_clone():
    X, y = digits()
    model = LogisticRegression(C=0.5, max_iter=300).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.predict_proba(X) == model.predict_proba(X)).all()
    assert copy.status_ is model.status_
    fresh = clone(model)
    assert fresh.get_params() == model.get_params()
    assert fresh.get_params()["C"] == 0.5
    assert repr(Ridge(alpha=2.0, tol=1e-3)) == "Ridge(alpha=2.0, tol=0.001)"
    with pytest.raises(NotFittedError):
        fresh.predict(X)


def test_inside_scikit_learns_tools():
    X, y = breast_cancer()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.01, 1.0]}, cv=3).fit(X, y)
    assert search.best_score_ > 0.97
    scores = cross_val_score(Ridge(), *diabetes(), cv=3)
    np.testing.assert_allclose(scores, cross_val_score(linear_model.Ridge(), *diabetes(), cv=3), atol=1e-5)


def test_feature_names_are_kept_and_checked():
    frame, y = datasets.load_diabetes(return_X_y=True, as_frame=True)
    model = LinearRegression().fit(frame, y)
    assert list(model.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"bmi": "weight"}))


def test_a_fit_that_did_not_converge_warns_with_its_sentence():
    X, y = breast_cancer()
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        model = LogisticRegression(max_iter=3).fit(X, y)
    assert model.status_ is Status.MAX_ITER
    assert np.isfinite(model.coef_).all()


BAD = [
    (LogisticRegression(C=0.0), {}, "C=0.0"),
    (LogisticRegression(C="one"), {}, "C='one'"),
    (Ridge(alpha=-1.0), {}, "alpha=-1.0"),
    (LogisticRegression(solver="saga"), {}, "solver='saga'"),
    (LogisticRegression(n_jobs=0), {}, "n_jobs == 0"),
    (LogisticRegression(), {"sample_weight": np.full(10, -1.0)}, "sample_weight is -1.0 in row 0"),
    (LogisticRegression(), {"sample_weight": np.zeros(10)}, "sample_weight is zero in every row"),
    (LogisticRegression(), {"y": np.arange(10) % 3}, "3 classes"),
    (LogisticRegression(), {"y": np.zeros(10)}, "only one class"),
    (LinearRegression(), {"y": np.full(10, np.nan)}, "y contains NaN in row 0"),
    (LinearRegression(), {"X": np.full((10, 2), np.inf)}, "infinity in row 0, column 0"),
]


@pytest.mark.parametrize(("model", "bad", "fragment"), BAD)
def test_bad_input_is_named(model, bad, fragment):
    good = {"X": np.random.default_rng(0).standard_normal((10, 2)), "y": np.arange(10) % 2}
    with pytest.raises((ValueError, TypeError)) as caught:
        model.fit(**good | bad)
    assert fragment in str(caught.value)


def test_estimators_are_the_function():
    X, y = breast_cancer()
    model = LogisticRegression(C=2.0).fit(X, y)
    result = fastgd.fit(X, y, loss="logistic", l2=1.0 / (2.0 * len(y)))
    assert (model.coef_[0] == result.coef).all()
    assert (model.history_.loss == result.history.loss).all()
