"""Saved models keep their inference, and predictions have intervals."""

import json
import pickle

import dask.array as da
import numpy as np
import pytest
from inference_samples import CHUNK, DENSE, FRAME, TARGETS, N, same_bits
from internals import checksum
from scipy import sparse

import fastgd

# Models that are saved.

MODELS = {
    "classical": lambda: fastgd.fit(DENSE, TARGETS["squared"], covariance="classical"),
    "no intercept": lambda: fastgd.fit(DENSE, TARGETS["squared"], covariance="HC3", intercept=False),
    "table": lambda: fastgd.fit(FRAME.assign(y=TARGETS["squared"]), target="y", clusters="group"),
    "classes": lambda: fastgd.fit(DENSE, TARGETS["logistic"], covariance="HC1", loss="logistic"),
    "three classes": lambda: fastgd.fit(
        DENSE, np.digitize(TARGETS["squared"], [-0.5, 1.0]), covariance="HC0", loss="logistic"
    ),
    "two targets": lambda: fastgd.fit(
        DENSE, np.column_stack((TARGETS["squared"], TARGETS["logistic"])), covariance="HC2"
    ),
    "penalised": lambda: fastgd.fit(DENSE, TARGETS["squared"], covariance="penalised", l2=0.1),
    "huber": lambda: fastgd.fit(DENSE, TARGETS["squared"], covariance="HC1", loss="huber"),
    "redundant": lambda: fastgd.fit(np.column_stack((DENSE, DENSE[:, 0])), TARGETS["squared"], covariance="classical"),
    "perfect": lambda: fastgd.fit(DENSE, DENSE @ [1.0, 2.0, 3.0, 4.0], covariance="classical"),
}


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
@pytest.mark.parametrize("model", MODELS)
def test_saved_models_keep_every_attribute(model, tmp_path):
    result = MODELS[model]()
    result.save(tmp_path / "model.json")
    again = fastgd.load(tmp_path / "model.json")
    assert same_bits(again.inference, result.inference)
    assert str(again.summary()) == str(result.summary())
    if model != "perfect":
        tests = [each.inference.wald_test(np.eye(len(result.inference.names))[:1]) for each in (again, result)]
        assert np.ravel(tests[0].p_value).tolist() == np.ravel(tests[1].p_value).tolist()
    if model != "three classes":
        X = FRAME if model == "table" else np.column_stack((DENSE, DENSE[:, 0]))[:, : result.coef.shape[-1]]
        for one, other in zip(result.predict(X, interval=0.9), again.predict(X, interval=0.9), strict=True):
            assert (one is None and other is None) or one.tobytes() == other.tobytes()


@pytest.mark.parametrize("model", ["classical", "three classes", "table"])
def test_pickles_keep_every_attribute(model):
    result = MODELS[model]()
    assert same_bits(pickle.loads(pickle.dumps(result)).inference, result.inference)


DAMAGED = {
    "kind": {"kind": 3},
    "shape": {"coef": {"shape": [2], "numbers": [1.0, 2.0, 3.0]}},
    "text": {"scale": {"shape": [1], "numbers": ["x"]}},
    "factors": {"factors": {"shape": [2], "numbers": [1.0, 2.0]}},
    "scale": {"scale": {"shape": [2], "numbers": [1.0, 2.0]}},
    "list": {"coef": [1.0, 2.0]},
    "undetermined": {"undetermined": [0, 0, 0, 0, 0]},
    "n": {"n": -1},
    "fraction": {"n": 2.5},
    "clusters": {"clusters": True},
    "df": {"df": None},
    "intercept": {"intercept": 1},
    "names": {"names": ["a", "b"]},
    "numbered": {"names": [0, 1, 2, 3, 4]},
    "notes": {"notes": [1]},
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_documents_are_refused(damage, tmp_path):
    path = tmp_path / "model.json"
    MODELS["classical"]().save(path)
    document = json.loads(path.read_text(encoding="utf-8"))
    document["inference"] |= DAMAGED[damage]
    document["checksum"] = checksum(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ValueError, match="is a damaged fastgd model"):
        fastgd.load(path)


def test_without_inference_none_is_loaded(tmp_path):
    fastgd.fit(DENSE, TARGETS["squared"]).save(tmp_path / "model.json")
    assert fastgd.load(tmp_path / "model.json").inference is None


# Intervals of predictions.


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("form", ["array", "float32", "csr", "table", "dask"])
def test_intervals_of_predictions(form, intercept):
    from scipy import stats

    y = TARGETS["squared"]
    if form == "table":
        result = fastgd.fit(FRAME[["a", "far", "kind"]], y, covariance="classical", intercept=intercept)
    else:
        result = fastgd.fit(DENSE, y, covariance="classical", intercept=intercept)
    X = {
        "array": DENSE,
        "float32": DENSE.astype(np.float32),
        "csr": sparse.csr_array(DENSE),
        "table": FRAME,
        "dask": da.from_array(DENSE, (CHUNK, 4)),
    }[form]
    found = [np.asarray(each) for each in result.predict(X, interval=0.9)]
    Z = np.column_stack((DENSE, np.ones(N)))[:, : 4 + intercept]
    inference = result.inference
    mean, variance = Z @ inference.coef, np.einsum("ij,jk,ik->i", Z, inference.covariance, Z)
    reach = stats.t.ppf(0.95, inference.df)
    wide = reach * np.sqrt(variance + inference.scale[0])
    narrow = reach * np.sqrt(variance)
    for values, expected in zip(found, (mean, mean - narrow, mean + narrow, mean - wide, mean + wide), strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-9)


def test_levels_that_the_fit_did_not_have():
    result = fastgd.fit(FRAME[["a", "far", "kind"]], TARGETS["squared"], covariance="HC1")
    with pytest.raises(ValueError, match="column kind has levels that the model was not fitted on"):
        result.predict(FRAME.assign(kind="new"), interval=0.9)
    found = result.predict(FRAME.assign(kind="new"), interval=0.9, unseen="zero")
    for one, other in zip(found, result.predict(FRAME.assign(kind="u"), interval=0.9), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
def test_intervals_do_not_depend_on_redundant_columns():
    X = np.column_stack((DENSE, DENSE[:, 0] + DENSE[:, 1], np.ones(N)))
    one, other = (fastgd.fit(x, TARGETS["squared"], covariance="HC1").predict(x, interval=0.9) for x in (X, DENSE))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)


def test_no_rows_and_lazy_rows():
    result = fastgd.fit(DENSE, TARGETS["squared"], covariance="HC1")
    assert [each.shape for each in result.predict(DENSE[:0], interval=0.9)] == [(0,)] * 5
    lazy = result.predict(da.from_array(DENSE, (CHUNK, 4)), interval=0.9)
    assert all(isinstance(each, da.Array) for each in lazy)


def test_intervals_of_probabilities():
    from scipy import stats

    result = fastgd.fit(DENSE, TARGETS["logistic"], covariance="HC1", loss="logistic")
    found, inference = result.predict(DENSE, interval=0.95), result.inference
    Z = np.column_stack((DENSE, np.ones(N)))
    eta, spread = Z @ inference.coef, np.sqrt(np.einsum("ij,jk,ik->i", Z, inference.covariance, Z))
    for values, z in ((found.mean, eta), (found.lower, eta - stats.norm.ppf(0.975) * spread)):
        np.testing.assert_allclose(values, 1.0 / (1.0 + np.exp(-z)), rtol=1e-9)
    assert found.observation_lower is None and found.observation_upper is None
    assert (found.lower < found.mean).all() and (found.mean < found.upper).all()
    np.testing.assert_allclose(found.mean, result.predict_proba(DENSE)[:, 1], rtol=1e-12)


def test_intervals_of_several_targets_are_each_alone():
    Y = np.column_stack((TARGETS["squared"], TARGETS["squared"] ** 2))
    together = fastgd.fit(DENSE, Y, covariance="HC3").predict(DENSE[:9], interval=0.8)
    for k, y in enumerate(Y.T):
        alone = fastgd.fit(DENSE, y, covariance="HC3").predict(DENSE[:9], interval=0.8)
        for one, other in zip(together, alone, strict=True):
            assert one.shape == (9, 2)
            np.testing.assert_allclose(one[:, k], other, rtol=1e-9)
