"""Fits against published values and other libraries, in all units; what they accept, refuse and leave alone."""

import warnings

import numba
import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from internals import max_threads
from sklearn import datasets, linear_model

import fastgd
from fastgd import losses

LOSSES = ["squared", "logistic"]


def as_vector(result):
    return np.append(result.coef, result.intercept)


@pytest.mark.parametrize("tol", [1e-8, 1e-9])
def test_longley_has_nists_certified_values(tol):
    data = sm.datasets.longley.load_pandas()
    result = fastgd.fit(data.exog, data.endog, tol=tol)
    assert result.converged, result.message
    certified = {
        "GNPDEFL": 15.0618722713733,
        "GNP": -0.358191792925910e-01,
        "UNEMP": -2.02022980381683,
        "ARMED": -1.03322686717359,
        "POP": -0.511041056535807e-01,
        "YEAR": 1829.15146461355,
    }
    assert result.coef_names == list(certified)
    np.testing.assert_allclose(result.coef, list(certified.values()), rtol=1e-6)
    assert result.intercept == pytest.approx(-3482258.63459582, rel=1e-6)


def test_spector_has_statsmodels_values():
    data = sm.datasets.spector.load_pandas()
    reference = sm.Logit(data.endog, sm.add_constant(data.exog)).fit(disp=0, method="newton", tol=1e-14)
    result = fastgd.fit(data.exog, data.endog, loss="logistic", tol=1e-10)
    assert result.converged, result.message
    np.testing.assert_allclose(np.append(result.intercept, result.coef), reference.params, rtol=1e-7)
    assert result.loss == pytest.approx(-reference.llf / len(data.endog), rel=1e-12)


def diabetes():
    return datasets.load_diabetes(return_X_y=True, scaled=False)


def breast_cancer():
    return datasets.load_breast_cancer(return_X_y=True)


def digits():
    X, y = datasets.load_digits(n_class=2, return_X_y=True)
    return X, y


DATA = {"diabetes": diabetes, "breast_cancer": breast_cancer, "digits": digits}


def agree(result, reference, spread):
    """Effects per standard deviation agree to 1e-6 of the largest one, intercepts likewise."""
    assert result.converged, result.message
    effects, expected = result.coef * spread, np.ravel(reference.coef_) * spread
    np.testing.assert_allclose(effects, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    assert result.intercept == pytest.approx(float(np.squeeze(reference.intercept_)), rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("alpha", [0.0, 1.0, 1e4])
@pytest.mark.parametrize("data", ["diabetes", "breast_cancer"])
def test_linear_models_of_scikit_learn(data, alpha, weighted, rng):
    X, y = DATA[data]()
    weight = rng.random(len(y)) if weighted else np.ones(len(y))
    model = linear_model.Ridge(alpha, solver="svd") if alpha else linear_model.LinearRegression()
    reference = model.fit(X, y, sample_weight=weight)
    result = fastgd.fit(X, y, l2=2 * alpha / weight.sum(), sample_weight=weight, tol=1e-11, max_iter=5000)
    agree(result, reference, X.std(axis=0))


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("C", [1e-3, 1.0])
@pytest.mark.parametrize("data", ["breast_cancer", "digits"])
def test_logistic_regression_of_scikit_learn(data, C, weighted, rng):
    X, y = DATA[data]()
    weight = rng.random(len(y)) if weighted else np.ones(len(y))
    model = linear_model.LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    reference = model.fit(X, y, sample_weight=weight)
    result = fastgd.fit(
        X, y, loss="logistic", l2=1 / (C * weight.sum()), sample_weight=weight, tol=1e-11, max_iter=5000
    )
    agree(result, reference, X.std(axis=0))
    np.testing.assert_allclose(result.predict_proba(X), reference.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(result.predict(X), reference.predict(X))


@pytest.mark.parametrize("solver", ["gd", "nesterov", "lbfgs", "sgd"])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_way_leads_to_the_same_minimum(loss, intercept, standardize, solver, make_data):
    X, y, _ = make_data(loss, 300, 4)
    options = {"loss": loss, "l2": 0.05, "intercept": intercept, "tol": 1e-9}
    expected = fastgd.fit(X + 0.5, y, **options)
    result = fastgd.fit(X + 0.5, y, solver=solver, standardize=standardize, **options)
    assert result.converged, result.message
    np.testing.assert_allclose(as_vector(result), as_vector(expected), atol=1e-7)


UNITS = {
    "column up": lambda X, y, w: (X * [1e6, 1, 1, 1], y, w, 1.0),
    "column down": lambda X, y, w: (X * [1, 1e-6, 1, 1], y, w, 1.0),
    "columns by powers of two": lambda X, y, w: (X * [2.0**40, 0.5, 2.0**-30, 4], y, w, 1.0),
    "column shifted": lambda X, y, w: (X + np.array([0, 0, 1e3, -1e3]), y, w, 1.0),
    "y up": lambda X, y, w: (X, y * 1e6, w, 1e6),
    "y down": lambda X, y, w: (X, y * 1e-6, w, 1e-6),
    "weights": lambda X, y, w: (X, y, w * 1e-5, 1.0),
}


@pytest.mark.parametrize("solver", ["gd", "nesterov", "lbfgs", "sgd"])
@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("loss", LOSSES)
def test_units_do_not_matter(loss, unit, solver, make_data):
    X, y, weight = make_data(loss, 400, 4, weighted=True)
    X2, y2, weight2, factor = UNITS[unit](X, y, weight)
    if loss == "logistic":
        y2, factor = y, 1.0
    result = fastgd.fit(X, y, loss=loss, sample_weight=weight, solver=solver)
    again = fastgd.fit(X2, y2, loss=loss, sample_weight=weight2, solver=solver)
    assert result.converged and again.n_iter == result.n_iter
    margins = result.decision_function(X)
    np.testing.assert_allclose(again.decision_function(X2) / factor, margins, rtol=0, atol=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_are_repetitions(loss, make_data, rng):
    X, y, _ = make_data(loss, 200, 3)
    times = rng.integers(0, 4, 200)
    weighted = fastgd.fit(X, y, loss=loss, sample_weight=times, tol=1e-10)
    repeated = fastgd.fit(np.repeat(X, times, axis=0), np.repeat(y, times), loss=loss, tol=1e-10)
    dropped = fastgd.fit(X[times > 0], y[times > 0], loss=loss, sample_weight=times[times > 0], tol=1e-10)
    for other in (repeated, dropped):
        assert other.converged and weighted.converged
        np.testing.assert_allclose(as_vector(other), as_vector(weighted), rtol=0, atol=2e-9)  # tol / curvature
    np.testing.assert_allclose(weighted.spread, np.repeat(X, times, axis=0).std(axis=0), rtol=1e-13)


@pytest.mark.parametrize("loss", LOSSES)
def test_starts(loss, make_data):
    X, y, _ = make_data(loss, 300, 3)
    first = fastgd.fit(X, y, loss=loss)
    assert fastgd.fit(X, y, loss=loss, start=first).n_iter == first.n_iter
    assert fastgd.fit(X, y, loss=loss, start=as_vector(first)).n_iter <= 1
    zero, none = (fastgd.fit(X, y, loss=loss, solver="lbfgs", start=start) for start in (np.zeros(4), None))
    np.testing.assert_array_equal(zero.history.loss, none.history.loss)
    draws = [fastgd.fit(X, y, loss=loss, start="random", rng=rng) for rng in (5, np.random.default_rng(5), 6)]
    assert as_vector(draws[0]).tobytes() == as_vector(draws[1]).tobytes()
    assert draws[0].history.loss[0] != draws[2].history.loss[0]
    assert all(draw.converged for draw in draws)
    plain = fastgd.fit(X, y, loss=loss, intercept=False, start=first.coef)
    assert plain.intercept == 0.0 and plain.converged


CLASSES = {
    "bool": [False, True],
    "int": [3, 7],
    "signs": [-1, 1],
    "float": [0.25, 0.5],
    "uint8": np.array([0, 200], np.uint8),
    "text": ["maybe", "no"],
    "object": np.array(["ja", "nein"], object),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_classes_of_any_kind(kind, make_data):
    X, y, _ = make_data("logistic", 200, 3)
    labels = np.asarray(CLASSES[kind])[y.astype(int)]
    expected, result = (fastgd.fit(X, target, loss="logistic") for target in (y, labels))
    assert as_vector(result).tobytes() == as_vector(expected).tobytes()
    assert result.classes.tolist() == list(CLASSES[kind])
    predicted = result.predict(X)
    assert set(predicted.tolist()) == set(CLASSES[kind])
    np.testing.assert_array_equal(predicted == result.classes[1], result.predict_proba(X)[:, 1] > 0.5)


def test_probabilities_are_the_logistic_function_of_the_margins(make_data):
    X, y, _ = make_data("logistic", 200, 3)
    result = fastgd.fit(X, y, loss="logistic")
    z = result.decision_function(X * 100)
    np.testing.assert_allclose(z, 100 * X @ result.coef + result.intercept)
    proba = result.predict_proba(X * 100)
    expected = np.exp(-np.logaddexp(0, np.column_stack([z, -z])))
    np.testing.assert_allclose(proba, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_same_bits_again_and_with_any_number_of_threads(loss, dtype, make_data):
    X, y, _ = make_data(loss, 20_011, 13, dtype)
    counts = [None, None, 1, max_threads()]
    fits = [fastgd.fit(X, y.copy(), loss=loss, n_threads=count) for count in counts]
    assert len({as_vector(fit).tobytes() + fit.history.loss.tobytes() for fit in fits}) == 1


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
def test_inputs_and_global_state_are_left_alone(make_data):
    X, y, weight = make_data("squared", 20_011, 13, weighted=True)
    inputs = [a.copy() for a in (X, y, weight)]

    def state():
        random = np.random.get_state()  # noqa: NPY002
        return numba.get_num_threads(), np.geterr(), list(warnings.filters), random[1].tolist(), random[2:]

    before = state()
    for solver in ("gd", "nesterov", "lbfgs", "sgd"):
        fastgd.fit(X, y, sample_weight=weight, solver=solver, n_threads=1, max_iter=5, start="random")
        fastgd.fit(X, y, sample_weight=weight, solver=solver, n_threads=max_threads(), max_iter=5)
    fastgd.fit(X, y, solver="gd", learning_rate=10.0)
    assert state() == before
    for array, copy in zip((X, y, weight), inputs, strict=True):
        assert array.tobytes() == copy.tobytes()


def test_tables_are_fitted_and_predicted_by_name(make_data, rng):
    X, y, _ = make_data("squared", 300, 2)
    kind = rng.choice(["p", "q", "r"], 300)
    frame = pd.DataFrame({"a": X[:, 0], "kind": kind, "b": X[:, 1]})
    result = fastgd.fit(frame, y, categorical=["kind"])
    explicit = np.column_stack([X[:, 0], kind == "q", kind == "r", X[:, 1]])
    assert result.coef_names == ["a", "kind[q]", "kind[r]", "b"]
    np.testing.assert_allclose(as_vector(result), as_vector(fastgd.fit(explicit, y)), rtol=1e-11)
    np.testing.assert_array_equal(result.predict(frame[["b", "kind", "a"]]), result.predict(frame))
    np.testing.assert_allclose(result.predict(frame), explicit @ result.coef + result.intercept)


def test_a_default_data_frame_can_be_fitted_and_predicted(make_data):
    X, y, _ = make_data("squared", 100, 3)
    result = fastgd.fit(pd.DataFrame(X), y)
    np.testing.assert_allclose(result.predict(pd.DataFrame(X)), X @ result.coef + result.intercept)


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
def test_a_constant_column_changes_nothing(make_data):
    X, y, _ = make_data("squared", 100, 2)
    plain, result = fastgd.fit(X, y), fastgd.fit(np.insert(X, 1, 7.0, axis=1), y)
    assert result.coef[1] == 0.0 and result.spread[1] == 0.0
    np.testing.assert_allclose(np.delete(result.coef, 1), plain.coef, rtol=1e-12)
    assert result.n_iter == plain.n_iter


numbers = st.integers(-64, 64).map(lambda k: k / 8)
shapes = st.tuples(st.integers(1, 12), st.integers(1, 4))


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
@given(
    X=shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=numbers)),
    seed=st.integers(0, 2**32 - 1),
    loss=st.sampled_from(LOSSES),
    l2=st.sampled_from([0.0, 0.1]),
    intercept=st.booleans(),
    solver=st.sampled_from(["gd", "nesterov", "lbfgs", "newton", "sgd"]),
)
def test_any_small_problem(X, seed, loss, l2, intercept, solver):
    rng = np.random.default_rng(seed)
    n = len(X)
    y, s = rng.integers(-3, 4, n) / 2, rng.integers(0, 3, n) + 0.5 * (np.arange(n) == 0)
    if loss == "logistic":
        y = (y > 0) * 1.0
        if len(set(y[s > 0])) < 2:
            return
    before = X.tobytes(), y.tobytes(), s.tobytes()
    result = fastgd.fit(X, y, loss=loss, l2=l2, intercept=intercept, sample_weight=s, solver=solver, max_iter=300)
    assert before == (X.tobytes(), y.tobytes(), s.tobytes())
    assert np.isfinite(as_vector(result)).all() and np.isfinite(result.loss)
    assert np.isfinite(result.history.gradient_norm).all() or not result.converged
    # The largest slope per standard deviation, from the returned coefficients, in extended precision.
    X, y, s, coef = (a.astype(np.longdouble) for a in (X, y, s / s.sum(), result.coef))
    z = X @ coef + np.longdouble(result.intercept)
    slope = s * (2 * (z - y) if loss == "squared" else 1 / (1 + np.exp(-z)) - y)
    mean = s @ X / s.sum() if intercept else np.zeros(X.shape[1])
    spread = np.sqrt(s @ (X - mean) ** 2)
    # Numerator of a slope in the direction of one feature that keeps the mean margin; the penalty only sees coef.
    slopes = [g / sd for g, sd in zip((X - mean).T @ slope + l2 * coef, spread, strict=True) if sd > 0]
    unit = 1.0
    if loss == "squared":
        about = s @ y
        unit = float(np.sqrt(s @ (y - about * intercept) ** 2)) or abs(float(about)) or 1.0
    largest = max([abs(float(v)) for v in (*slopes, *([slope.sum()] if intercept else []))], default=0.0) / unit
    whole = ~result.history.partial
    recorded = result.history.gradient_norm[whole][-1 if result.converged else np.nanargmin(result.history.loss[whole])]
    wanted = pytest.approx(recorded, rel=1e-9, abs=1e-12 * (1 + float(np.abs(z).max()) / unit))
    assert largest == wanted or (result.converged and largest < recorded)  # Newton's step was taken


def test_huber_is_least_squares_of_clipped_residuals_and_resists_outliers():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 3))
    y = X @ [1.0, 2.0, 3.0] + 1.0 + 0.1 * rng.standard_normal(2000)
    y[::10] += 50.0
    result = fastgd.fit(X, y, loss=losses.Huber(0.3), tol=1e-10)
    assert result.settings["loss"] == {"name": "huber", "delta": 0.3}
    np.testing.assert_allclose(as_vector(result), [1.0, 2.0, 3.0, 1.0], atol=0.05)
    # Huber's fixed point: least squares on targets whose residuals are clipped at delta gives the same coefficients.
    fitted = result.predict(X)
    again = fastgd.fit(X, fitted + np.clip(y - fitted, -0.3, 0.3), tol=1e-12)
    np.testing.assert_allclose(as_vector(again), as_vector(result), rtol=1e-8)


@pytest.mark.parametrize("solver", ["gd", "nesterov", "lbfgs", "newton"])
def test_rows_without_weight_are_not_drawn_into_samples(solver):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50_000, 3))
    y = X @ [1.0, 2.0, 3.0] + rng.standard_normal(50_000)
    weight = np.zeros(50_000)
    weight[::5001] = 1.0
    result = fastgd.fit(X, y, sample_weight=weight, solver=solver)
    np.testing.assert_allclose(result.coef, fastgd.fit(X[::5001], y[::5001]).coef, rtol=1e-4)


def test_a_penalised_constant_column_is_not_forgotten():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.standard_normal((200, 2)), np.full(200, 7.0)])
    y = X[:, 0] + rng.standard_normal(200)
    best = fastgd.fit(X, y, l2=0.1)
    again = fastgd.fit(X, y, l2=0.1, start=[*best.coef[:2], 1000.0, best.intercept - 7000.0])
    assert again.converged
    assert again.loss == pytest.approx(best.loss, rel=1e-9)
    assert abs(again.coef[2]) < 1e-4


def test_squares_that_underflow_are_refused():
    X = np.random.default_rng(0).standard_normal((50, 2)) * [1.0, 1e-170]
    with pytest.raises(ValueError, match=r"column 1 \(x1\).*underflow"):
        fastgd.fit(X, X[:, 0])


def test_the_gradient_of_minimize_may_be_one_buffer():
    buffer = np.empty(2)

    def bowl(x):
        np.multiply(x, [2.0, 20.0], out=buffer)
        return x[0] ** 2 + 10.0 * x[1] ** 2, buffer

    assert fastgd.minimize(bowl, [3.0, 4.0]).converged
