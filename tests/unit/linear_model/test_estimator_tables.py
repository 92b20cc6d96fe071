"""Estimators read tables with categories as scikit-learn's pipelines of encoders read them."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn import linear_model
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from fastgd import LinearRegression, LogisticRegression, Ridge

N = 600
RNG = np.random.default_rng(0)
COLUMNS = {
    "k": RNG.choice(["p", "q", "r"], N).tolist(),
    "a": RNG.standard_normal(N).tolist(),
    "month": RNG.integers(1, 13, N).tolist(),
    "b": RNG.random(N).tolist(),
}
FRAME = pd.DataFrame(COLUMNS)
Z = FRAME["a"] + (FRAME["k"] == "q") - 0.3 * (FRAME["month"] % 5) + 0.5 * RNG.standard_normal(N)
Y = {
    "numbers": Z.to_numpy(),
    "two targets": np.column_stack((Z, FRAME["b"] - Z)),
    "two classes": np.where(Z > 0, "yes", "no"),
    "classes": np.digitize(Z, [-1.0, 0.0]),
}
TABLES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}
CATEGORICAL = ["k", "month"]


def theirs(model, *, drop_first=True, unseen="error"):
    """Scikit-learn's pipeline of the same model."""
    handle = {"error": "error", "zero": "ignore"}[unseen]
    encoder = OneHotEncoder(drop="first" if drop_first else None, handle_unknown=handle, sparse_output=False)
    return make_pipeline(make_column_transformer((encoder, CATEGORICAL), remainder="passthrough"), model)


EXACT = linear_model.LogisticRegression(solver="newton-cholesky", tol=1e-13, max_iter=1000)
PAIRS = {
    "LinearRegression": (LinearRegression(tol=1e-11), linear_model.LinearRegression(), ["numbers", "two targets"]),
    "Ridge": (Ridge(2.0, tol=1e-11), linear_model.Ridge(2.0, solver="cholesky"), ["numbers", "two targets"]),
    "LogisticRegression": (LogisticRegression(tol=1e-11), EXACT, ["two classes", "classes"]),
}
CASES = [(name, y) for name, (*_, kinds) in PAIRS.items() for y in kinds]


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("drop_first", [True, False])
@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize(("name", "y"), CASES)
def test_models_are_those_of_an_encoder_and_scikit_learns(name, y, kind, drop_first, weighted):
    ours, reference, _ = PAIRS[name]
    if name == "LinearRegression" and not drop_first:
        with pytest.raises(ValueError, match="drop_first=False gives every level of k, month a coefficient"):
            LinearRegression(drop_first=False, categorical=CATEGORICAL).fit(FRAME, Y[y])
        return
    table, weight = TABLES[kind](COLUMNS), np.arange(N) * 7 % 4 if weighted else None
    ours = clone(ours).set_params(categorical=CATEGORICAL, drop_first=drop_first).fit(table, Y[y], sample_weight=weight)
    reference = theirs(clone(reference), drop_first=drop_first)
    reference.fit(FRAME, Y[y], **{f"{reference.steps[-1][0]}__sample_weight": weight})
    names = [each.split("__")[1] for each in reference[:-1].get_feature_names_out()]
    own = [each.replace("[", "_").rstrip("]") for each in ours.result_.coef_names]
    assert own[0] == ("k_q" if drop_first else "k_p") and sorted(own) == sorted(names)
    expected = reference[-1].coef_[..., [names.index(each) for each in own]]
    assert ours.coef_.shape == expected.shape
    np.testing.assert_allclose(ours.coef_, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(ours.intercept_, reference[-1].intercept_, rtol=1e-6, atol=1e-8)
    assert list(ours.feature_names_in_) == list(COLUMNS) and ours.n_features_in_ == 4
    if name == "LogisticRegression":
        assert (ours.predict(table) == reference.predict(FRAME)).all()
        np.testing.assert_allclose(ours.predict_proba(table), reference.predict_proba(FRAME), rtol=1e-6, atol=1e-9)
    else:
        np.testing.assert_allclose(ours.predict(table), reference.predict(FRAME), rtol=1e-6, atol=1e-7)
    again = pickle.loads(pickle.dumps(ours))
    assert again.predict(table).tobytes() == ours.predict(table).tobytes()


@pytest.mark.parametrize("kind", TABLES)
def test_names_are_checked_as_scikit_learn_does(kind):
    make = TABLES[kind]
    model = LogisticRegression().fit(make(COLUMNS), Y["two classes"])
    numbers = {name: COLUMNS[name] for name in ("a", "month", "b")}
    encoded = linear_model.LogisticRegression().fit(pd.DataFrame(numbers), Y["two classes"])
    changes = {
        "yet now missing:\n- a": lambda columns: {name: each for name, each in columns.items() if name != "a"},
        "unseen at fit time:\n- z": lambda columns: {**columns, "z": columns["a"]},
        "must be in the same order": lambda columns: dict(reversed(columns.items())),
    }
    for message, change in changes.items():
        with pytest.raises(ValueError, match=message) as error:
            model.predict(make(change(COLUMNS)))
        with pytest.raises(ValueError, match="feature names") as expected:
            encoded.predict(pd.DataFrame(change(numbers)))
        assert str(error.value) == str(expected.value)
    with (
        pytest.warns(UserWarning, match="X does not have valid feature names"),
        pytest.raises(ValueError, match="the model has categorical columns; give a table"),
    ):
        model.predict(np.zeros((2, 4)))


@pytest.mark.parametrize("kind", TABLES)
def test_levels_that_the_fit_did_not_have(kind):
    make = TABLES[kind]
    new = make({**COLUMNS, "k": ["new"] * N})
    for drop_first in (True, False):
        options = {"categorical": CATEGORICAL, "drop_first": drop_first}
        model = Ridge(tol=1e-11, **options).fit(make(COLUMNS), Y["numbers"])
        with pytest.raises(ValueError, match="column k has levels that the model was not fitted on: new; known are p"):
            model.predict(new)
        reference = theirs(linear_model.Ridge(), drop_first=drop_first, unseen="zero").fit(FRAME, Y["numbers"])
        predicted = model.set_params(unseen="zero").predict(new)
        if drop_first:  # scikit-learn's encoder warns here
            with pytest.warns(UserWarning, match="Found unknown categories"):
                expected = reference.predict(FRAME.assign(k="new"))
        else:
            expected = reference.predict(FRAME.assign(k="new"))
        np.testing.assert_allclose(predicted, expected, rtol=1e-6, atol=1e-7)


def test_inside_scikit_learns_tools():
    options = {"categorical": CATEGORICAL, "tol": 1e-9}
    y, labels = Y["numbers"], Y["two classes"]
    scores = cross_val_score(Ridge(**options), FRAME, y, cv=4)
    np.testing.assert_allclose(scores, cross_val_score(theirs(linear_model.Ridge()), FRAME, y, cv=4), atol=1e-7)
    found = cross_val_predict(LogisticRegression(**options), FRAME, labels, method="predict_proba")
    expected = cross_val_predict(theirs(EXACT), FRAME, labels, method="predict_proba")
    np.testing.assert_allclose(found, expected, atol=1e-6)
    squares = FunctionTransformer(lambda frame: frame.assign(square=frame["a"] ** 2))
    pipeline = make_pipeline(squares, LogisticRegression())
    grid = {
        "logisticregression__C": [1e-4, 1.0],
        "logisticregression__drop_first": [True, False],
        "logisticregression__categorical": ["auto", CATEGORICAL],
    }
    search = GridSearchCV(pipeline, grid, cv=3, scoring="neg_log_loss").fit(FRAME, labels)
    assert search.best_params_["logisticregression__categorical"] == CATEGORICAL  # month does not go up evenly
    assert search.best_params_["logisticregression__C"] == 1.0
    assert search.best_estimator_[-1].result_.coef_names[-1] == "square"
    rare = FRAME.assign(k=np.where(np.arange(N) == 0, "rare", FRAME["k"]))  # in one fold's test alone
    scores = cross_val_score(Ridge(unseen="zero"), rare, y, cv=3)
    assert np.isfinite(scores).all()
    with pytest.raises(ValueError, match="not fitted on: rare"):
        cross_val_score(Ridge(), rare, y, cv=3, error_score="raise")


@pytest.mark.parametrize("kind", TABLES)
def test_a_model_with_categories_is_not_given_to_scikit_learn(kind):
    table = TABLES[kind](COLUMNS)
    with pytest.raises(ValueError, match="takes complete numbers only; to convert, encode categories and"):
        Ridge(categorical=CATEGORICAL).fit(table, Y["numbers"]).to_sklearn()
    numbers = table[["a", "b"]] if kind != "pyarrow" else table.select(["a", "b"])
    model = Ridge().fit(numbers, Y["numbers"])
    np.testing.assert_allclose(model.to_sklearn().predict(FRAME[["a", "b"]]), model.predict(numbers), rtol=1e-12)


@pytest.mark.parametrize("y", ["numbers", "two targets"])
def test_a_warm_start_knows_columns_and_levels(y):
    model = Ridge(warm_start=True, solver="lbfgs", fit_intercept=False, tol=1e-6).fit(FRAME, Y[y])
    coef = model.coef_.copy()
    model.set_params(tol=1e-5).fit(FRAME, Y[y])
    assert model.result_.n_iter == 0 and model.history_.loss[0] == model.result_.loss
    np.testing.assert_allclose(model.coef_, coef, rtol=1e-12)
    again = model.set_params(fit_intercept=True, tol=1e-9).fit(FRAME, Y[y])
    np.testing.assert_allclose(again.coef_, Ridge(tol=1e-9).fit(FRAME, Y[y]).coef_, atol=1e-7)
    with pytest.raises(ValueError, match="start was fitted on other columns or levels than X has"):
        model.fit(FRAME.assign(k=FRAME["k"].replace("p", "s")), Y[y])


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_of_all_coefficients_that_fit_alike_the_least_are_found(kind, weighted):
    few = {name: values[:9] for name, values in COLUMNS.items()}  # and 14 coefficients, some levels not there
    weight = np.arange(9) % 4 if weighted else None
    table, y = TABLES[kind](few), Y["numbers"][:9]
    ours = LinearRegression(categorical=CATEGORICAL).fit(table, y, weight)
    reference = theirs(linear_model.LinearRegression())
    reference.fit(pd.DataFrame(few), y, linearregression__sample_weight=weight)
    assert len(y) < ours.coef_.size
    assert np.linalg.norm(ours.coef_) == pytest.approx(np.linalg.norm(reference[-1].coef_), rel=1e-9)
    np.testing.assert_allclose(ours.predict(table), reference.predict(pd.DataFrame(few)), rtol=1e-9, atol=1e-9)


BAD = {
    "unknown column": (Ridge(categorical=["z"]), FRAME, "categorical z: no such column; there are k, a, month, b"),
    "array": (Ridge(categorical=["k"]), FRAME[["a", "b"]].to_numpy(), "categorical: X has no named columns"),
    "text": (Ridge(categorical=["month"]), FRAME, "X has columns that are not numbers: k (str); name those of text"),
    "unseen": (Ridge(unseen="ignore"), FRAME, "unseen='ignore'; choose 'error' or 'zero'"),
    "missing": (Ridge(), FRAME.assign(k=FRAME["k"].where(FRAME.index > 3)), "X has missing values: k (4, the first in"),
    "drop_first": (Ridge(drop_first="k"), FRAME, "drop_first='k'; True or False is needed"),
}


@pytest.mark.parametrize("case", BAD)
def test_errors_name_what_is_wrong(case):
    model, X, message = BAD[case]
    with pytest.raises((ValueError, TypeError)) as error:
        model.fit(X, Y["numbers"])
    assert str(error.value).startswith(message)
