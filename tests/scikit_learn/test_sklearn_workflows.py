"""fastgd's estimators in the roles that scikit-learn's have: the same results as with scikit-learn's own."""

import pickle

import joblib
import numpy as np
import pytest
from scipy import sparse
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


def iris():
    """Three classes, in a DataFrame."""
    return datasets.load_iris(return_X_y=True, as_frame=True)


def digits():
    """Four classes of sparse rows."""
    X, y = datasets.load_digits(n_class=4, return_X_y=True)
    return sparse.csr_array(X[:300] / 16.0), y[:300]


def diabetes():
    return datasets.load_diabetes(return_X_y=True)


def linnerud():
    """Three targets."""
    return datasets.load_linnerud(return_X_y=True)


CLASSES = [cancer, iris, digits]
NUMBERS = [diabetes, linnerud]


@pytest.mark.parametrize("load", CLASSES)
def test_grid_search_over_a_pipeline_in_two_processes(load):
    X, y = load()
    found = [
        GridSearchCV(
            make_pipeline(StandardScaler(with_mean=not sparse.issparse(X)), model),
            {f"{type(model).__name__.lower()}__C": [0.01, 0.1, 1.0]},
            cv=3,
            scoring="neg_log_loss",
            n_jobs=2,
        ).fit(X, y)
        for model in BOTH
    ]
    assert found[0].best_params_ == found[1].best_params_
    np.testing.assert_allclose(*(search.cv_results_["mean_test_score"] for search in found), rtol=1e-8)


@pytest.mark.parametrize("load", CLASSES)
@pytest.mark.parametrize("method", ["predict_proba", "predict_log_proba", "decision_function", "predict"])
def test_cross_val_predict(method, load):
    ours, theirs = (cross_val_predict(model, *load(), method=method, cv=3) for model in BOTH)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)  # theirs is the logarithm of a rounded number


@pytest.mark.parametrize("load", NUMBERS)
def test_cross_val_predict_of_numbers(load):
    ours, theirs = (cross_val_predict(model, *load(), cv=3) for model in REGRESSIONS)
    np.testing.assert_allclose(ours, theirs, rtol=1e-8)


@pytest.mark.parametrize("load", CLASSES)
def test_calibrated_classifier(load):
    X, y = load()
    ours, theirs = (CalibratedClassifierCV(model, cv=3).fit(X, y).predict_proba(X) for model in BOTH)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("load", CLASSES[1:])
def test_one_against_the_rest(load):
    X, y = load()
    ours, theirs = (OneVsRestClassifier(model).fit(X, y) for model in BOTH)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-7, atol=1e-12)
    assert (ours.predict(X) == theirs.predict(X)).all()


CLASSIFIERS = (StackingClassifier, DecisionTreeClassifier, BOTH, "predict_proba")
REGRESSORS = (StackingRegressor, DecisionTreeRegressor, REGRESSIONS, "predict")


@pytest.mark.parametrize(
    ("kind", "load"),
    [*((CLASSIFIERS, load) for load in CLASSES), (REGRESSORS, diabetes)],
    ids=lambda case: case.__name__ if callable(case) else "",
)
def test_stacking(kind, load):
    stack, tree, models, method = kind
    X, y = load()
    shallow = ("tree", tree(max_depth=2, random_state=0))
    ours, theirs = (
        getattr(stack([("linear", model), shallow], final_estimator=model, cv=3).fit(X, y), method)(X)
        for model in models
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("models", "load"), [(BOTH, iris), *((REGRESSIONS, load) for load in NUMBERS)])
def test_permutation_importance(models, load):
    X, y = load()
    ours, theirs = (
        permutation_importance(clone(model).fit(X, y), X, y, n_repeats=3, random_state=0).importances
        for model in models
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize(
    ("model", "load"), [*((BOTH[0], load) for load in CLASSES), *((REGRESSIONS[0], load) for load in NUMBERS)]
)
def test_joblib_and_pickle_keep_every_bit_and_clone_no_fit(model, load, tmp_path):
    X, y = load()
    fitted = clone(model).fit(X, y)
    joblib.dump(fitted, tmp_path / "model")
    for again in (joblib.load(tmp_path / "model"), pickle.loads(pickle.dumps(fitted))):
        assert (again.predict(X) == fitted.predict(X)).all() and (again.coef_ == fitted.coef_).all()
        assert (again.history_.loss == fitted.history_.loss).all()
    assert vars(clone(fitted)) == vars(model)


@pytest.mark.parametrize("load", CLASSES[:2])
def test_weights_are_routed_to_fit_and_score(load):
    X, y = load()
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
