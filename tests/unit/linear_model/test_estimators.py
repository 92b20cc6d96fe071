"""Estimators: scikit-learn's meaning, coefficients, interface and manners."""

import inspect
import pickle
import re

import numpy as np
import pandas as pd
import pytest
from internals import patch
from scipy import sparse
from sklearn import datasets, linear_model
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastgd
from fastgd import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge, Status


def diabetes():
    X, y = datasets.load_diabetes(return_X_y=True, scaled=False)
    return X, y


def breast_cancer():
    return datasets.load_breast_cancer(return_X_y=True)


def digits():
    """Two classes of digits; some pixels are constant."""
    return datasets.load_digits(n_class=2, return_X_y=True)


def iris():
    return datasets.load_iris(return_X_y=True)


def sparse_digits():
    """Ten classes, half of the pixels 0."""
    X, y = datasets.load_digits(return_X_y=True)
    return sparse.csr_array(X), y


def linnerud():
    """Three targets."""
    return datasets.load_linnerud(return_X_y=True)


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
    *[(LogisticRegression(C=C), exact(C), iris) for C in (0.01, 1.0)],
    (LogisticRegression(C=0.1, fit_intercept=False), exact(0.1, fit_intercept=False), iris),
    (LogisticRegression(C=0.01), exact(0.01), sparse_digits),
    (LinearRegression(), linear_model.LinearRegression(), linnerud),
    (Ridge(3.0), linear_model.Ridge(3.0), linnerud),
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
    assert ours.n_iter_ == max(len(ours.history_) - 1, 1)


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


COUNTERPARTS = [
    (LinearRegression, linear_model.LinearRegression),
    (Ridge, linear_model.Ridge),
    (Lasso, linear_model.Lasso),
    (ElasticNet, linear_model.ElasticNet),
    (LogisticRegression, linear_model.LogisticRegression),
]


@pytest.mark.parametrize(("ours", "theirs"), COUNTERPARTS)
def test_every_parameter_of_scikit_learns_is_taken(ours, theirs):
    X, y = breast_cancer()
    parameters = theirs().get_params()
    solver = parameters.pop("solver", None)
    model = ours(**parameters, **({"solver": solver} if solver == "lbfgs" else {})).fit(X[:, :3], y)
    assert {name: model.get_params()[name] for name in parameters} == parameters


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("class_weight", ["balanced", {0: 3.0, 1: 0.5}, {1: 2.0}])
@pytest.mark.parametrize("load", [breast_cancer, iris])
def test_class_weights_are_scikit_learns(load, class_weight, weighted):
    X, y = load()
    weight = np.random.default_rng(0).integers(0, 4, len(y)) if weighted else None
    ours = LogisticRegression(class_weight=class_weight, tol=1e-11).fit(X, y, weight)
    theirs = exact(1.0).set_params(class_weight=class_weight).fit(X, y, weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-6)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(
    ("model", "load"),
    [
        (Ridge(), diabetes),
        (LinearRegression(), linnerud),
        (LogisticRegression(), breast_cancer),
        (LogisticRegression(), iris),
    ],
)
def test_a_warm_start_goes_on_from_the_last_fit(model, load, fit_intercept):
    X, y = load()
    model = clone(model).set_params(warm_start=True, fit_intercept=fit_intercept, solver="lbfgs", tol=1e-3).fit(X, y)
    loss, steps = model.result_.loss, model.n_iter_
    again = model.fit(X, y)
    assert again.history_.loss[0] == pytest.approx(loss, rel=1e-12)
    assert np.sum(again.n_iter_) < np.sum(steps)
    assert model.set_params(warm_start=False).fit(X, y).n_iter_ == steps


def test_a_warm_start_begins_at_the_coefficients_as_they_are():
    X, y = diabetes()
    model = LinearRegression(warm_start=True).fit(X, y)
    model.coef_[:] = 0.0
    model.intercept_ = np.mean(y)
    assert model.fit(X, y).history_.loss[0] == pytest.approx(np.var(y), rel=1e-9)


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "d"), [(1, 4), (5, 12), (12, 12), (20, 12)])
def test_of_all_coefficients_that_fit_alike_the_least_are_found(n, d, weighted, fit_intercept):
    rng = np.random.default_rng([n, d])
    X = rng.standard_normal((n, d)) * np.logspace(-2, 2, d) + 3.0
    X[:, -2:] = X[:, :2] + X[:, 2:4]  # singular, too, where there are enough rows
    y = rng.standard_normal(n)
    weight = rng.integers(0, 3, n) + (np.arange(n) == 0) if weighted else None
    ours = LinearRegression(fit_intercept=fit_intercept, tol=1e-10).fit(X, y, weight)
    theirs = linear_model.LinearRegression(fit_intercept=fit_intercept).fit(X, y, weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-7, atol=1e-9 * np.abs(theirs.coef_).max(initial=1e-3))
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-7, atol=1e-9)
    assert (ours.result_.coef == ours.coef_).all()
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(d)])
    for other in (frame, *(getattr(sparse, f"{name}_array")(X) for name in ("csr", "csc", "coo", "dia", "bsr"))):
        same = LinearRegression(fit_intercept=fit_intercept, tol=1e-10).fit(other, y, weight)
        np.testing.assert_allclose(
            same.coef_, ours.coef_, rtol=1e-7, atol=1e-9 * np.abs(theirs.coef_).max(initial=1e-3)
        )


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
def test_the_smallest_coefficients_of_many_sparse_columns():
    rng = np.random.default_rng(0)
    X = sparse.random_array((300, 4000), density=0.01, format="csr", rng=rng)
    Y = rng.standard_normal((300, 2))
    ours, theirs = (model(fit_intercept=False).fit(X, Y) for model in (LinearRegression, linear_model.LinearRegression))
    np.testing.assert_allclose(ours.coef_, np.linalg.lstsq(X.toarray(), Y)[0].T, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)


def test_coefficients_stay_where_the_smallest_are_not_found(monkeypatch):
    patch(monkeypatch, "dense_least_norm", 0)
    rng = np.random.default_rng(0)
    X = sparse.csr_array(rng.standard_normal((200, 150)) * np.logspace(-4, 4, 150))
    y = rng.standard_normal(200)
    with pytest.warns(ConvergenceWarning, match="the smallest were not found"):
        ours = LinearRegression().fit(X, y)
    np.testing.assert_allclose(ours.score(X, y), LinearRegression().fit(X.toarray(), y).score(X, y), rtol=1e-9)


def test_verbose_shows_progress_and_threads_change_no_bit(capsys):
    X, y = breast_cancer()
    quiet = LogisticRegression(n_jobs=1).fit(X, y)
    assert capsys.readouterr().err == ""
    shown = LogisticRegression(verbose=1, n_jobs=2).fit(X, y)
    assert "iterations" in capsys.readouterr().err
    assert (quiet.coef_ == shown.coef_).all()


def test_logarithms_of_probabilities_do_not_underflow():
    model = LogisticRegression().fit(*breast_cancer())
    far = 1e4 * breast_cancer()[0][:5]
    z = model.decision_function(far)
    np.testing.assert_allclose(model.predict_log_proba(far)[:, 1], np.minimum(z, 0.0) - np.log1p(np.exp(-np.abs(z))))
    assert np.abs(z).max() > 800.0
    near = breast_cancer()[0]
    np.testing.assert_allclose(np.exp(model.predict_log_proba(near)), model.predict_proba(near), rtol=1e-12)


def test_a_penalty_by_its_old_name():
    X, y = digits()
    with pytest.warns(FutureWarning, match="'penalty' was deprecated"):
        named = LogisticRegression("l2").fit(X, y)
    assert (named.coef_ == LogisticRegression().fit(X, y).coef_).all()
    X, y = breast_cancer()
    with pytest.warns(FutureWarning, match="C=np.inf"):
        none = LogisticRegression(penalty=None).fit(X[:, :3], y)
    assert (none.coef_ == LogisticRegression(C=np.inf).fit(X[:, :3], y).coef_).all()


@pytest.mark.parametrize(("model", "_", "load"), PAIRS)
def test_to_scikit_learn_and_back(model, _, load):
    X, y = load()
    model = clone(model).set_params(solver="lbfgs", tol=1e-3, max_iter=10_000).fit(X, y)
    theirs = model.to_sklearn()
    method = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    expected = getattr(model, method)(X)
    np.testing.assert_allclose(getattr(theirs, method)(X), expected, rtol=1e-11, atol=1e-14)
    assert type(theirs).__module__.startswith("sklearn.linear_model")
    again = type(model).from_sklearn(theirs)
    assert (getattr(again, method)(X) == expected).all()
    shared = theirs.get_params().keys() - {"solver"}
    for name in shared:
        assert getattr(theirs, name) == getattr(again, name) == getattr(model, name), name
    assert {"fit_intercept", "tol"} <= shared and again.solver == "auto"
    again.coef_[:] = 0.0
    assert np.abs(theirs.coef_).max() > 0.0, "copied, not shared"
    assert not hasattr(again, "history_")


def test_scikit_learns_estimator_goes_on_here():
    frame, y = datasets.load_diabetes(return_X_y=True, as_frame=True)
    theirs = linear_model.Ridge(alpha=0.5).fit(frame, y)
    ours = Ridge.from_sklearn(theirs)
    np.testing.assert_allclose(ours.predict(frame), theirs.predict(frame), rtol=1e-13)
    assert list(ours.feature_names_in_) == list(frame.columns)
    assert ours.set_params(warm_start=True, tol=1e-6).fit(frame, y).n_iter_ <= 1  # it began at the minimum


def test_a_warm_start_needs_as_many_outputs_and_features_as_the_last_fit():
    X, y = iris()
    for fewer in ({"X": X[:100], "y": y[:100]}, {"X": X[:, :3], "y": y}):
        model = LogisticRegression(warm_start=True).fit(X, y)
        with pytest.raises(ValueError, match=r"start has shape \(3, 5\); .* a warm start has those of the last fit"):
            model.fit(**fewer)


def test_what_cannot_be_taken_over_is_named():
    categories = pd.DataFrame({"a": ["u", "v", "u", "v"], "b": range(4)})
    with pytest.raises(ValueError, match="numbers only"):
        Ridge().fit(categories, [1.0, 2.0, 3.0, 5.0]).to_sklearn()
    with pytest.raises(TypeError, match=r"sklearn\.linear_model\.Ridge is needed"):
        Ridge.from_sklearn(linear_model.LinearRegression())
    for convert in (Ridge().to_sklearn, lambda: Ridge.from_sklearn(linear_model.Ridge())):
        with pytest.raises(NotFittedError):
            convert()


@pytest.mark.parametrize("load", [breast_cancer, iris])
def test_onnx_gives_the_same_predictions(load):
    skl2onnx = pytest.importorskip("skl2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    X, y = load()
    model = LogisticRegression().fit(X, y)
    document = skl2onnx.to_onnx(model.to_sklearn(), X[:1], options={"zipmap": False})
    session = onnxruntime.InferenceSession(document.SerializeToString())
    labels, probabilities = session.run(None, {"X": X})
    assert (labels == model.predict(X)).all()
    np.testing.assert_allclose(probabilities, model.predict_proba(X), rtol=1e-9, atol=1e-12)


BAD = [
    (LogisticRegression(C=0.0), {}, "C=0.0"),
    (LogisticRegression(C="one"), {}, "C='one'"),
    (Ridge(alpha=-1.0), {}, "alpha=-1.0"),
    (LogisticRegression(solver="saga"), {}, "solver='saga'; choose one of auto, newton, lbfgs"),
    (LogisticRegression(penalty="l3"), {}, "penalty='l3'; leave it out, and say l1_ratio=1 for 'l1'"),
    (LogisticRegression(l1_ratio=1.5), {}, "l1_ratio=1.5; a number from 0 to 1"),
    (LogisticRegression(l1_ratio=None), {}, "l1_ratio=None; a number from 0 to 1"),
    (LogisticRegression(l1_ratio=0.5, solver="newton"), {}, "solver='newton' needs a smooth penalty; with l1"),
    (ElasticNet(l1_ratio=-0.1), {}, "l1_ratio=-0.1; a number from 0 to 1"),
    (ElasticNet(l1_ratio=True), {}, "l1_ratio=True; a number from 0 to 1"),
    (ElasticNet(selection="best"), {}, "selection='best'; 'cyclic' or 'random'"),
    (ElasticNet(solver="lbfgs"), {}, "solver='lbfgs' needs a smooth penalty"),
    (Lasso(alpha=-1.0), {}, "alpha=-1.0"),
    (Lasso(alpha=[1.0, 2.0]), {"y": np.eye(10)[:, :2]}, "alpha=[1.0, 2.0]; one number is needed: for a penalty each"),
    (Lasso(positive="yes"), {}, "positive='yes'; True or False"),
    (Lasso(precompute="auto"), {}, "precompute='auto'; True or False"),
    (Lasso(tol=-1.0), {}, "tol=-1.0"),
    (LogisticRegression(dual=True), {}, "dual=True; dual=False is supported"),
    (LogisticRegression(intercept_scaling=2.0), {}, "intercept_scaling=2.0; intercept_scaling=1 is supported"),
    (LogisticRegression(class_weight="balanced"), {"sample_weight": np.arange(10) % 2}, "class 0 have no"),
    (LogisticRegression(fit_intercept=1), {}, "fit_intercept=1; True or False"),
    (LogisticRegression(warm_start="yes"), {}, "warm_start='yes'; True or False"),
    (LogisticRegression(verbose=-1), {}, "verbose=-1"),
    (Ridge(alpha=[1.0, 2.0]), {"y": np.eye(10)[:, :2]}, "alpha=[1.0, 2.0]; one number is needed: for a penalty each"),
    (LogisticRegression(categorical=["x0"]), {}, "categorical: X has no named columns"),
    (LogisticRegression(), {"y": np.eye(10)[:, :2]}, "y should be a 1d array, got an array of shape (10, 2)"),
    (LogisticRegression(), {"y": sparse.eye_array(10)}, "Sparse data was passed for y"),
    (Ridge(), {"y": sparse.eye_array(10)}, "Sparse data was passed for y"),
    (Ridge(positive=True), {}, "positive=True; positive=False is supported: fastgd.ElasticNet"),
    (LinearRegression(copy_X=None), {}, "copy_X=None; True or False"),
    (LinearRegression(), {"y": np.zeros(9)}, "inconsistent numbers of samples: [10, 9]"),
    (LinearRegression(), {"y": np.zeros((10, 2, 1))}, "Found array with dim 3"),
    (
        LogisticRegression(),
        {"y": np.where(np.arange(10) % 2, np.nan, 1.0)},
        "Input y contains NaN. It has no value in row 1",
    ),
    (LogisticRegression(), {"y": np.linspace(0.0, 1.0, 10)}, "continuous"),
    (LogisticRegression(n_jobs=0), {}, "n_jobs == 0"),
    (LogisticRegression(), {"sample_weight": np.full(10, -1.0)}, "sample_weight is -1.0 in row 0"),
    (LogisticRegression(), {"sample_weight": np.zeros(10)}, "sample_weight is zero in every row"),
    (LogisticRegression(), {"y": np.zeros(10)}, "only one class"),
    *(
        (model, {name: np.ma.array(values, mask=values > 0)}, f"{name} is a masked array")
        for model in (LogisticRegression(), Ridge())
        for name, values in (("X", np.eye(10)), ("y", np.arange(10) % 2), ("sample_weight", np.arange(10)))
    ),
    (LinearRegression(), {"y": np.full(10, np.nan)}, "Input y contains NaN. It has no value in row 0"),
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


def descriptions(estimator):
    """Return the entries of the Parameters section of a docstring, by name, with single blanks."""
    section = inspect.getdoc(estimator).partition("Parameters\n----------\n")[2].partition("\n\nAttributes\n")[0]
    entries = re.findall(r"^(\w+) : (.*\n(?:    .*(?:\n|$))+)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


@pytest.mark.parametrize(
    ("estimator", "others"),
    [
        (LinearRegression, (Ridge, LogisticRegression)),
        (Ridge, (LogisticRegression, Ridge)),
        (LogisticRegression, (Ridge, LogisticRegression)),
        (Lasso, (ElasticNet,)),
        (ElasticNet, (Lasso, ElasticNet)),
    ],
)
def test_every_parameter_is_described_as_in_other_estimators(estimator, others):
    described, others = descriptions(estimator), {n: t for each in others for n, t in descriptions(each).items()}
    for name in estimator().get_params():
        assert described[name], name
        # What these mean depends on the model.
        assert name in ("solver", "tol", "drop_first") or described[name] == others[name], name
