"""fastgd's estimators in the roles that scikit-learn's have: the same results as with scikit-learn's own."""

import joblib
import numpy as np
import pytest
from sklearn import config_context, datasets, linear_model
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, StackingRegressor
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import fastgd

BOTH = [
    fastgd.LogisticRegression(tol=1e-10),
    linear_model.LogisticRegression(solver="newton-cholesky", tol=1e-12, max_iter=1000),
]
REGRESSIONS = [fastgd.Ridge(alpha=0.3, tol=1e-11), linear_model.Ridge(alpha=0.3)]


def cancer():
    X, y = datasets.load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


def test_grid_search_over_a_pipeline_in_two_processes():
    X, y = datasets.load_breast_cancer(return_X_y=True)
    found = [
        GridSearchCV(
            make_pipeline(StandardScaler(), model),
            {f"{type(model).__name__.lower()}__C": [0.01, 0.1, 1.0]},
            scoring="neg_log_loss",
            n_jobs=2,
        ).fit(X, y)
        for model in BOTH
    ]
    assert found[0].best_params_ == found[1].best_params_
    np.testing.assert_allclose(*(search.cv_results_["mean_test_score"] for search in found), rtol=1e-8)


@pytest.mark.parametrize("method", ["predict_proba", "predict_log_proba", "decision_function", "predict"])
def test_cross_val_predict(method):
    ours, theirs = (cross_val_predict(model, *cancer(), method=method) for model in BOTH)
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-15)  # theirs is the logarithm of a rounded number


def test_calibrated_classifier():
    X, y = cancer()
    ours, theirs = (CalibratedClassifierCV(model, cv=3).fit(X, y).predict_proba(X) for model in BOTH)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_one_against_the_rest_of_three_classes():
    X, y = datasets.load_iris(return_X_y=True)
    ours, theirs = (OneVsRestClassifier(model).fit(X, y) for model in BOTH)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-7)
    assert (ours.predict(X) == theirs.predict(X)).all()


STACKS = {
    "classes": (StackingClassifier, DecisionTreeClassifier, BOTH, cancer, "predict_proba"),
    "numbers": (
        StackingRegressor,
        DecisionTreeRegressor,
        REGRESSIONS,
        lambda: datasets.load_diabetes(return_X_y=True),
        "predict",
    ),
}


@pytest.mark.parametrize("kind", STACKS)
def test_stacking(kind):
    stack, tree, models, load, method = STACKS[kind]
    X, y = load()
    shallow = ("tree", tree(max_depth=2, random_state=0))
    ours, theirs = (
        getattr(stack([("linear", model), shallow], final_estimator=model).fit(X, y), method)(X) for model in models
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-8 if kind == "numbers" else 1e-7)


def test_permutation_importance():
    X, y = datasets.load_diabetes(return_X_y=True)
    ours, theirs = (
        permutation_importance(clone(model).fit(X, y), X, y, n_repeats=3, random_state=0).importances
        for model in REGRESSIONS
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-12)


def test_joblib_keeps_every_bit(tmp_path):
    X, y = cancer()
    model = fastgd.LogisticRegression().fit(X, y)
    joblib.dump(model, tmp_path / "model")
    again = joblib.load(tmp_path / "model")
    assert (again.predict_proba(X) == model.predict_proba(X)).all()
    assert (again.history_.loss == model.history_.loss).all()


def test_weights_are_routed_to_fit_and_score():
    X, y = cancer()
    weight = np.random.default_rng(0).integers(1, 5, len(y))
    with config_context(enable_metadata_routing=True):
        searches = [
            GridSearchCV(
                make_pipeline(
                    StandardScaler().set_fit_request(sample_weight=False),
                    clone(model).set_fit_request(sample_weight=True).set_score_request(sample_weight=True),
                ),
                {"logisticregression__C": [0.001, 0.01]},
                cv=3,
            ).fit(X, y, sample_weight=weight)
            for model in BOTH
        ]
    np.testing.assert_array_equal(*(search.cv_results_["mean_test_score"] for search in searches))
    np.testing.assert_allclose(*(search.best_estimator_[-1].coef_ for search in searches), rtol=1e-7)
    unweighted = make_pipeline(StandardScaler(), clone(BOTH[0]).set_params(C=searches[0].best_params_.popitem()[1]))
    assert np.abs(unweighted.fit(X, y)[-1].coef_ - searches[0].best_estimator_[-1].coef_).max() > 1e-3


def test_column_names_reach_the_model_through_set_output():
    frame, y = datasets.load_diabetes(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), fastgd.Ridge()).set_output(transform="pandas").fit(frame, y)
    assert list(pipeline[-1].feature_names_in_) == list(frame.columns)
    expected = make_pipeline(StandardScaler(), linear_model.Ridge()).fit(frame, y).predict(frame)
    np.testing.assert_allclose(pipeline.predict(frame), expected, rtol=1e-6)
