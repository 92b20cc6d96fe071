"""partial_fit: samples that come once, in chunks, by averaged stochastic gradient descent.

What is asked of it is theory's: above the minimum for the samples read by 4/5 of the statistical error, which is
``p σ² / n`` for p coefficients of least squares and ``p / (2 n)`` for those of a likelihood.
"""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone

import fastgd
from fastgd import LinearRegression, LogisticRegression, Ridge, Status

pytestmark = pytest.mark.slow

D = 6


def samples(kind, n, seed=0):
    """Features of different units, one of which is 0 more often than not, and y from the model itself."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, D)) * np.logspace(-1, 1, D) + np.linspace(-1, 1, D)
    X[:, 2] = rng.random(n) < 0.2
    z = (X - X.mean(axis=0)) / X.std(axis=0) @ np.linspace(1, -1, D)
    if kind == "numbers":
        return X, z + rng.standard_normal(n)
    if kind == "targets":
        return X, np.column_stack((z, 5 - 2 * z)) + rng.standard_normal((n, 2))
    if kind == "two":
        return X, np.array(["no", "yes"])[(z + 0.5 > rng.logistic(size=n)).astype(int)]
    return X, np.argmax(np.column_stack((z, -z, 0 * z)) + rng.gumbel(size=(n, 3)), axis=1)


# The estimator, what y is, and how many coefficients there are for each feature.
MODELS = {
    "least squares": (LinearRegression(solver="sgd"), "numbers", 1),
    "least squares, two targets": (LinearRegression(solver="sgd"), "targets", 2),
    "least squares, no intercept": (LinearRegression(solver="sgd", fit_intercept=False), "numbers", 1),
    "ridge": (Ridge(alpha=50.0, solver="sgd"), "numbers", 1),
    "logistic": (LogisticRegression(solver="sgd"), "two", 1),
    "logistic, unpenalised": (LogisticRegression(C=np.inf, solver="sgd"), "two", 1),
    "logistic, three classes": (LogisticRegression(C=0.1, solver="sgd"), "three", 2),
}


def category(X):
    """The feature of zeros and ones as text; its first level is the reference, so coefficients are the same."""
    table = pd.DataFrame(X, columns=[f"x{j}" for j in range(D)])
    table["x2"] = np.array(["no", "yes"])[X[:, 2].astype(int)]
    return table


KINDS = {
    "C": np.asarray,
    "Fortran": np.asfortranarray,
    "float32": np.float32,
    "strided": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "CSR": sparse.csr_array,
    "DataFrame": pd.DataFrame,
    "DataFrame with a category": category,
}


def stream(estimator, X, y, sizes, weight=None):
    """Give chunks of these sizes, again and again, to a clone of the estimator."""
    model, n, start, turn = clone(estimator), X.shape[0], 0, 0
    classes = {"classes": np.unique(y)} if isinstance(model, LogisticRegression) else {}
    while start < n:
        rows = slice(start, start + sizes[turn % len(sizes)])
        own = {} if weight is None else {"sample_weight": weight[rows]}
        chunk = X.iloc[rows] if isinstance(X, pd.DataFrame) else X[rows]
        model.partial_fit(chunk, y[rows], **own, **classes)
        start, turn = rows.stop, turn + 1
    return model


def objective(model, X, y, weight=None):
    """The mean loss plus penalty of a fitted model, as `fit` minimises it."""
    weight = np.ones(len(y)) if weight is None else weight
    coef, mean_loss = np.ravel(model.coef_), 0.0
    if isinstance(model, LogisticRegression):
        chosen = np.searchsorted(model.classes_, y)
        mean_loss = -np.average(model.predict_log_proba(X)[np.arange(len(y)), chosen], weights=weight)
        penalty = 0.5 * coef @ coef / (model.C * weight.sum())
    else:
        mean_loss = np.average((y - model.predict(X)) ** 2, axis=0, weights=weight).sum()
        penalty = getattr(model, "alpha", 0.0) * coef @ coef / weight.sum()
    return mean_loss + penalty


def excess(model, X, y, outputs, weight=None):
    """How far it is above the minimum for all samples, in units of the statistical error."""
    best = clone(model).set_params(solver="auto").fit(X, y, weight)
    minimum, p = objective(best, X, y, weight), outputs * (D + model.fit_intercept)
    noise = 0.5 if isinstance(model, LogisticRegression) else minimum / outputs
    rows = len(y) if weight is None else weight.sum() ** 2 / (weight @ weight)
    return (objective(model, X, y, weight) - minimum) / (p * noise / rows)


def same_bits(a, b):
    return (a.coef_ == b.coef_).all() and (a.intercept_ == b.intercept_).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODELS)
def test_one_reading_comes_within_the_statistical_error(name, kind):
    estimator, target, outputs = MODELS[name]
    X, y = samples(target, 8000)
    X = KINDS[kind](X)
    model = stream(estimator, X, y, [500, 1, 7, 1500])
    assert 0.0 < excess(model, X, y, outputs) < 4.0


@pytest.mark.parametrize("size", [1, 7, 32, 700])
@pytest.mark.parametrize("name", ["least squares", "logistic", "logistic, three classes"])
def test_chunks_of_any_size_will_do(name, size):
    estimator, target, outputs = MODELS[name]
    X, y = samples(target, 700)
    assert 0.0 < excess(stream(estimator, X, y, [size]), X, y, outputs) < 6.0


@pytest.mark.parametrize("name", ["least squares", "logistic, unpenalised"])
def test_the_constant_is_theorys(name):
    estimator, target, outputs = MODELS[name]
    found = []
    for seed in range(12):
        X, y = samples(target, 30_000, seed)
        found.append(excess(stream(estimator, X, y, [5000]), X, y, outputs))
    assert abs(np.mean(found) - 0.8) < 0.4  # twelve times 7 squares of normal deviates: 0.8 ± 0.12


def test_rows_may_be_sorted_within_chunks_but_not_across_them():
    estimator, target, outputs = MODELS["logistic"]
    X, y = samples(target, 8000)
    within = np.concatenate([start + np.argsort(y[start : start + 1000]) for start in range(0, 8000, 1000)])
    across = np.argsort(y)
    assert excess(stream(estimator, X[within], y[within], [1000]), X, y, outputs) < 4.0
    assert excess(stream(estimator, X[across], y[across], [1000]), X, y, outputs) > 100.0


@pytest.mark.parametrize("name", ["least squares", "logistic", "logistic, three classes"])
def test_bits_depend_on_the_seed_alone(name):
    estimator, target, _ = MODELS[name]
    X, y = samples(target, 3000)
    first = stream(estimator, X, y, [1000])
    for kind, options in [("Fortran", {}), ("strided", {}), ("DataFrame", {}), ("C", {"n_jobs": 1})]:
        assert same_bits(first, stream(clone(estimator).set_params(**options), KINDS[kind](X), y, [1000])), kind
    assert not same_bits(first, stream(clone(estimator).set_params(random_state=1), X, y, [1000]))


@pytest.mark.parametrize(
    "copied", [lambda model: pickle.loads(pickle.dumps(model)), copy.deepcopy], ids=["pickle", "copy"]
)
@pytest.mark.parametrize("kind", ["C", "CSR", "DataFrame with a category"])
@pytest.mark.parametrize("name", ["ridge", "logistic, three classes"])
def test_a_copy_goes_on_with_the_same_bits_and_a_clone_forgets(name, kind, copied):
    estimator, target, _ = MODELS[name]
    X, y = samples(target, 900)
    X = KINDS[kind](X)
    halves = [(X[:500], y[:500]), (X[500:], y[500:])]
    model = stream(estimator, *halves[0], [500])
    other = copied(model)
    for each in (model, other):
        each.partial_fit(*halves[1])
    assert same_bits(model, other)
    assert not hasattr(clone(model), "coef_")
    assert same_bits(stream(estimator, *halves[1], [500]), stream(model, *halves[1], [500]))


@pytest.mark.parametrize("name", ["ridge", "logistic"])
def test_what_is_kept_does_not_grow(name):
    estimator, target, _ = MODELS[name]
    X, y = samples(target, 4000)
    sizes = [len(pickle.dumps(stream(estimator, X[:n], y[:n], [100]).stream_)) for n in (100, 4000)]
    assert sizes[1] <= sizes[0] + 50 < 3000


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ["least squares", "logistic"])
def test_fit_ends_a_stream_and_a_stream_begins_after_fit(name):
    estimator, target, _ = MODELS[name]
    X, y = samples(target, 2000)
    estimator = clone(estimator).set_params(max_iter=2, tol=1e-2)
    both = stream(estimator, X, y, [500]).fit(X, y)
    assert same_bits(both, clone(estimator).fit(X, y)) and both.stream_ is None
    classes = {"classes": np.unique(y)} if name == "logistic" else {}
    assert same_bits(both.partial_fit(X, y, **classes), stream(estimator, X, y, [2000]))


def test_warm_start_begins_at_the_coefficients_there_are():
    X, _ = samples("numbers", 300)
    y = X @ np.arange(D) + 2.0
    fitted = LinearRegression().fit(X, y).set_params(solver="sgd")
    cold = copy.deepcopy(fitted).partial_fit(X[:10], y[:10])
    warm = fitted.set_params(warm_start=True).partial_fit(X[:10], y[:10])
    np.testing.assert_allclose(warm.coef_, np.arange(D), atol=1e-8)
    assert np.abs(cold.coef_ - np.arange(D)).max() > 0.1


@pytest.mark.parametrize("name", ["least squares", "logistic, unpenalised"])
def test_units_and_origins_do_not_matter(name):
    estimator, target, _ = MODELS[name]
    X, y = samples(target, 1000)
    scale, origin = np.logspace(-6, 6, D), np.linspace(-100, 100, D)
    model = stream(estimator, X, y, [100, 3])
    other = stream(estimator, (X + origin) * scale, y, [100, 3])
    np.testing.assert_allclose(other.coef_ * scale, model.coef_, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_weights_count(name):
    estimator, target, outputs = MODELS[name]
    X, y = samples(target, 8000)
    weight = np.random.default_rng(3).choice([0.0, 1.0, 4.0], 8000)
    model = stream(estimator, X, y, [500, 1, 7, 1500], weight)
    assert 0.0 < excess(model, X, y, outputs, weight) < 4.0
    before = copy.deepcopy(model)
    assert same_bits(model.partial_fit(X[:9], y[:9], sample_weight=np.zeros(9)), before)
    if "least squares" in name or "unpenalised" in name:  # without a penalty, only their ratios do
        assert same_bits(stream(estimator, X, y, [500, 1, 7, 1500], 2.0 * weight), before)


def test_a_chunk_of_larger_weights_counts_for_more():
    X, y = samples("numbers", 600)
    weight = np.tile([1.0, 9.0], 300)
    y[weight > 1.0] += 3.0  # so the mean is 2.7 more, and 1.5 where weights are forgotten
    one_by_one, concat = (
        stream(LinearRegression(solver="sgd"), X, y, [1], weight),
        LinearRegression().fit(X, y, weight),
    )
    assert one_by_one.predict(X).mean() == pytest.approx(concat.predict(X).mean(), abs=0.4)


def test_weights_of_classes():
    X, y = samples("two", 1000)
    by_class = stream(LogisticRegression(solver="sgd", class_weight={"no": 1.0, "yes": 5.0}), X, y, [300])
    assert same_bits(by_class, stream(LogisticRegression(solver="sgd"), X, y, [300], np.where(y == "yes", 5.0, 1.0)))


def test_a_feature_may_come_late():
    X, y = samples("numbers", 4000)
    X[:1000, 3] = 0.0
    y[1000:] += 5.0 * X[1000:, 3]
    model = stream(LinearRegression(solver="sgd"), X, y, [500])
    assert model.coef_[3] == pytest.approx(LinearRegression().fit(X, y).coef_[3], rel=0.05)


def test_levels_are_those_of_the_first_chunk():
    X, y = samples("numbers", 900)
    table = category(X)
    later = table.assign(x2="perhaps")
    model = stream(LinearRegression(solver="sgd"), table, y, [300])
    before = copy.deepcopy(model)
    with pytest.raises(ValueError, match="perhaps"):
        model.partial_fit(later, y)
    assert same_bits(model, before)
    reference = table.assign(x2="no")
    model.set_params(unseen="zero").partial_fit(later, y)
    assert same_bits(model, before.partial_fit(reference, y))
    assert model.predict(later[:3]) == pytest.approx(model.predict(reference[:3]))


def test_history_tells_of_the_last_chunk(tmp_path):
    X, y = samples("two", 1200)
    model = stream(LogisticRegression(solver="sgd"), X, y, [600])
    history, result = model.history_, model.result_
    assert len(history) == 600 // 32 and history.partial.all() and history.accepted.all()
    assert model.status_ is Status.READ_ONCE and not result.converged and model.n_iter_ == [1]
    assert result.rows == 1200 and result.settings["l2"] == 1 / 1200
    assert result.loss == pytest.approx(objective(model, X[600:], y[600:]), abs=0.1)  # of samples not used before
    assert 2.0 <= history.passes[-1] < 40.0  # moments, batches, and twenty times a sample where curvature is found
    result.save(tmp_path / "model.json")
    assert (fastgd.load(tmp_path / "model.json").predict(X) == model.predict(X)).all()
    assert fastgd.load(tmp_path / "model.json").status is Status.READ_ONCE


@pytest.mark.parametrize("estimator", [LinearRegression, Ridge, LogisticRegression])
@pytest.mark.parametrize("solver", ["auto", "newton", "lbfgs", "nesterov", "gd"])
def test_only_sgd_has_it(estimator, solver):
    model = estimator(solver=solver)
    assert not hasattr(model, "partial_fit") and hasattr(model.set_params(solver="sgd"), "partial_fit")
    with pytest.raises(AttributeError) as error:
        model.set_params(solver=solver).partial_fit([[0.0]], [0.0])
    assert "partial_fit needs solver='sgd'" in str(error.value.__cause__)


@pytest.mark.parametrize("name", ["ridge", "logistic"])
def test_metadata_is_routed(name):
    estimator = clone(MODELS[name][0])
    expected = {"sample_weight"} | ({"classes"} if name == "logistic" else set())
    assert set(estimator.get_metadata_routing().partial_fit.requests) == expected
    with config_context(enable_metadata_routing=True):
        estimator.set_partial_fit_request(sample_weight=True)
        assert estimator.get_metadata_routing().partial_fit.requests["sample_weight"]


X0, Y0 = samples("numbers", 50)
CLASSIFIER = {"y": X0[:, 2], "classes": [0.0, 1.0]}
FIRST = [  # what a first call refuses
    ({"time_limit": 1.0}, "time_limit=1.0; time_limit=None is supported"),
    ({"positive": True}, "positive=True"),
    ({"learning_rate": -1.0}, "learning_rate=-1.0"),
    ({"standardize": "no"}, "standardize='no'"),
    ({"X": sparse.csc_array(X0)}, "X is a sparse CSC: give X.tocsr()"),
    ({"X": np.where(X0 > 10, np.nan, X0)}, "X contains NaN in row"),
    ({"sample_weight": np.zeros(50)}, "sample_weight is zero in every row"),
    ({"sample_weight": -np.ones(50)}, "sample_weight is -1.0 in row 0"),
    ({"y": Y0[1:]}, "inconsistent numbers of samples"),
    ({**CLASSIFIER, "classes": None}, "classes: all labels that will come are needed in the first call"),
    ({**CLASSIFIER, "classes": [1.0]}, "classes has only 1: 1.0; at least two labels are needed"),
    ({**CLASSIFIER, "classes": [1.0, 2.0]}, "y has the label 0.0 in row"),
    ({**CLASSIFIER, "classes": ["a", "b"]}, "which is not among classes: a, b"),
    ({**CLASSIFIER, "class_weight": "balanced"}, "class_weight='balanced' needs all samples at once"),
]
LATER = [  # what a second one does
    ({"X": X0[:, 1:]}, "5 features"),
    ({"fit_intercept": False}, "fit_intercept=False, but the first chunk was read with True"),
    ({"drop_first": False}, "drop_first=False, but the first chunk was read with True"),
    ({"categorical": ["x"]}, "categorical=['x'], but the first chunk was read with 'auto'"),
    ({"y": np.column_stack((Y0, Y0))}, "X and y have shapes (50, 6) and (50, 2); those of earlier chunks"),
    ({**CLASSIFIER, "classes": [0.0, 1.0, 2.0]}, "classes=[0.0, 1.0, 2.0]; those of the first call are [0.0, 1.0]"),
    ({**CLASSIFIER, "classes": None, "y": X0[:, 2] + 1}, "y has the label 2.0 in row"),
]


def begun(given):
    """Give the estimator that this is for, and the arguments that suit it."""
    if "classes" in given:
        return LogisticRegression(solver="sgd"), CLASSIFIER
    return LinearRegression(solver="sgd"), {"y": Y0}


def call(model, given):
    """Call partial_fit with what is given, some of which are the estimator's parameters."""
    data = {name: given[name] for name in ("y", "classes", "sample_weight") if name in given}
    model.set_params(**{name: value for name, value in given.items() if name not in {"X", *data}})
    return model.partial_fit(given.get("X", X0), **{"y": Y0, **data})


@pytest.mark.parametrize(("given", "fragment"), FIRST)
def test_what_a_first_call_refuses(given, fragment):
    model, _ = begun(given)
    with pytest.raises((ValueError, TypeError)) as error:
        call(model, given)
    assert fragment in str(error.value)


@pytest.mark.parametrize(("given", "fragment"), [*FIRST[:6], *LATER])
def test_what_a_later_call_refuses_changes_nothing(given, fragment):
    model, good = begun(given)
    before = copy.deepcopy(call(model, good))
    with pytest.raises((ValueError, TypeError)) as error:
        call(model, given)
    assert fragment in str(error.value)
    model.set_params(**before.get_params())
    assert same_bits(call(model, good), call(before, good))


@pytest.mark.parametrize("rate", [5.0, 1e10, 1e300])
@pytest.mark.parametrize("classifies", [False, True])
@pytest.mark.parametrize("rows", [100, 4000])
def test_a_rate_that_is_too_large_is_refused_as_soon_as_it_shows(rate, classifies, rows):
    X, y = samples("numbers", 4000)
    y, rate = (y > y.mean(), 10.0 * rate) if classifies else (y, rate)
    model = (LogisticRegression if classifies else LinearRegression)(solver="sgd", learning_rate=rate)
    classes = {"classes": [False, True]} if classifies else {}
    parts = np.array_split(np.arange(4000), 4000 // rows)
    with pytest.raises(ValueError, match=r"the steps diverge, so this chunk was not used; .* stable up to about"):
        [model.partial_fit(X[part], y[part], **classes) for part in parts]


def test_a_rate_of_ones_own_is_kept():
    X, y = samples("numbers", 4000)
    steady = stream(LinearRegression(solver="sgd", learning_rate=0.01), X, y, [1000])
    assert set(steady.history_.step[1:]) == {0.01}


def test_outliers_do_no_harm():
    X, _ = samples("numbers", 4000)
    rng = np.random.default_rng(2)
    X *= rng.standard_t(2.2, size=(4000, 1))
    y = X @ np.ones(D) + rng.standard_normal(4000)
    model = stream(LinearRegression(solver="sgd"), X, y, [100, 1])
    assert objective(model, X, y) < 1.1 * objective(LinearRegression().fit(X, y), X, y)
