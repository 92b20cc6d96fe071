"""Hostile numbers in every shape, kind of array and solver: a right answer or one of our errors, and nothing else.

A right answer is told in extended precision, whose exponents don't overflow where those of float64 do: the loss is the
objective's at the coefficients, and where it says that it converged, slopes are as small as it says, to the rounding
that margins and sums in float64 have.
"""

from typing import NamedTuple

import numpy as np
import pytest
from helpers import FORMS
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

import fastgd
from fastgd import losses

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning", "ignore::numpy.exceptions.RankWarning"),
]

EPS = np.finfo(np.float64).eps
SOLVERS = ["auto", "newton", "lbfgs", "nesterov", "gd", "sgd"]


# --- Columns of numbers -----------------------------------------------------------------------------------------------


def eighths(rng, n):
    return rng.integers(-24, 25, n) / 8


COLUMNS = {
    "plain": lambda rng, n, _power: eighths(rng, n),
    "scaled": lambda rng, n, power: eighths(rng, n) * 10.0**power,
    "normal": lambda rng, n, power: rng.standard_normal(n) * 10.0 ** (power / 2),
    "shifted": lambda rng, n, power: 10.0 ** (power % 16) + eighths(rng, n),
    "constant": lambda _rng, n, power: np.full(n, 3.0 * 10.0 ** (power - power // 300)),
    "zeros of both signs": lambda rng, n, _power: np.where(rng.random(n) < 0.5, 0.0, -0.0),
    "denormal": lambda rng, n, _power: rng.integers(-9, 10, n) * 5e-324,
    "one large": lambda rng, n, power: np.where(np.arange(n) == n // 2, 10.0 ** (power / 2), eighths(rng, n)),
    "many scales": lambda rng, n, power: eighths(rng, n) * 10.0 ** rng.uniform(-abs(power), abs(power), n),
    "0 and 1": lambda rng, n, _power: (rng.random(n) < 0.3) * 1.0,
    "largest": lambda rng, n, _power: np.where(rng.random(n) < 0.5, 1.0, -1.0) * np.finfo(np.float64).max,
}
powers = st.integers(-8, 8) | st.integers(-60, 60) | st.integers(-300, 300)
columns = st.tuples(st.sampled_from(list(COLUMNS)), powers)


def column(kind, rng, n):
    name, power = kind
    return COLUMNS[name](rng, n, power)


WEIGHTS = {
    "none": lambda _rng, _n, _power: None,
    "ones": lambda _rng, n, _power: np.ones(n),
    "counts": lambda rng, n, _power: rng.integers(0, 3, n) + (np.arange(n) == 0),
    "scaled": lambda rng, n, power: (rng.random(n) + 0.01) * 10.0**power,
    "many scales": lambda rng, n, _power: 10.0 ** rng.uniform(-300, 300, n),
    "denormal": lambda rng, n, _power: rng.integers(0, 9, n) * 5e-324,
    "largest": lambda _rng, n, _power: np.full(n, np.finfo(np.float64).max),
}


# --- The same numbers as every kind of X ------------------------------------------------------------------------------


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def as_type(dtype):
    def convert(X):
        with np.errstate(all="ignore"):
            return X.astype(dtype)

    return convert


SOURCES = {
    "C": lambda X: X,
    "Fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2],
    "backwards": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": read_only,
    "big-endian": lambda X: X.astype(">f8"),
    "float32": as_type("f4"),
    "float32, Fortran": lambda X: np.asfortranarray(as_type("f4")(X)),
    "float16": as_type("f2"),
    "int64": as_type("i8"),
    "int8": as_type("i1"),
    "bool": as_type("?"),
    "table": lambda X: {f"c{j}": X[:, j] for j in range(X.shape[1])},
    "CSR": sparse.csr_array,
    "CSC": sparse.csc_array,
    "CSR, float32": lambda X: sparse.csr_array(as_type("f4")(X)),
}


def dense(X):
    """The numbers that X holds, in extended precision."""
    if isinstance(X, dict):
        X = np.column_stack(list(X.values())) if X else np.empty((0, 0))
    return np.asarray(X.toarray() if sparse.issparse(X) else X, np.longdouble)


def parts(X):
    """The arrays that X is made of."""
    return list(X.values()) if isinstance(X, dict) else [X.data, X.indices, X.indptr] if sparse.issparse(X) else [X]


def flushed(X):
    """Columns of nothing but differences that have no squares count as zeros."""
    return np.where(abs(X).max(axis=0) < 1e-160, 0, X)


class Problem(NamedTuple):
    X: object
    y: np.ndarray
    weight: np.ndarray | None
    options: dict


@st.composite
def problems(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.sampled_from([1, 2, 3, 5, 8, 20, 60]))
    d = draw(st.sampled_from([1, 2, 3, 5, 20, 0]))
    kinds = draw(st.lists(columns, min_size=d, max_size=d))
    X = np.column_stack([column(kind, rng, n) for kind in kinds]) if kinds else np.empty((n, 0))
    if draw(st.booleans()):  # rows that occur several times
        X = X[rng.integers(0, n, n)]
    if len(kinds) > 1 and draw(st.booleans()):
        X[:, -1] = X[:, 0]
    loss = draw(st.sampled_from(list(losses.LOSSES)))
    y = column(draw(columns), rng, n)
    if loss == "logistic":
        y = (y > np.sort(y)[(n - 1) // 2]) * 1.0
    name = draw(st.sampled_from(list(WEIGHTS)))
    weight = WEIGHTS[name](rng, n, draw(powers))
    options = {
        "loss": loss,
        "l2": draw(st.sampled_from([0.0, 0.1, 1e-9, 1e-300, 1e9, 1e300])),
        "intercept": draw(st.booleans()),
        "standardize": draw(st.sampled_from([True, True, False])),
        "tol": draw(st.sampled_from([1e-6, 1e-9, 0.0])),
    }
    return Problem(SOURCES[draw(st.sampled_from(list(SOURCES)))](X), y, weight, options)


ARGUMENTS = ("X", "y", "sample_weight", "start", "solver='sgd' reads rows")


class Truth(NamedTuple):
    """In extended precision at some coefficients: the objective, its largest slope, and how far rounding moves each."""

    value: np.longdouble
    value_noise: np.longdouble
    slope: np.longdouble
    slope_noise: np.longdouble


def spread_of(values, s, mean, share):
    """About a mean, 0 where that has rounding alone to it or no more than a share of the mean's square."""
    variance = s @ (values - mean) ** 2
    return np.where(variance <= max(share, 100 * np.finfo(np.longdouble).eps ** 2) * mean**2, 0, np.sqrt(variance))


def truth(problem, coef, intercept):
    X, options = flushed(dense(problem.X)), problem.options
    y = flushed(problem.y.astype(np.longdouble)[:, None])[:, 0]
    s = np.ones(len(y)) if problem.weight is None else problem.weight
    s = s.astype(np.longdouble)
    s = s / s.max()
    s = np.where(s < 1e-300, 0, s)  # float64 has no such ratio
    s = s / s.sum()
    coef, l2 = coef.astype(np.longdouble), np.longdouble(options["l2"])
    z = X @ coef + np.longdouble(intercept)
    value, slope = FORMS[options["loss"]][1](y, z)
    bound = losses.LOSSES[options["loss"]].curvature_bound
    size = abs(X) @ abs(coef) + abs(np.longdouble(intercept)) + abs(y)
    moved = (4 + len(coef)) * EPS * size
    squares = s @ size**2 * (options["loss"] == "squared")  # the value may come from normal equations
    mean = s @ X * options["intercept"]
    spread = spread_of(X, s, mean, 1e-13 if sparse.issparse(problem.X) else 0)  # sparse columns are not centred
    y_mean = s @ y * options["intercept"]
    unit = losses.LOSSES[options["loss"]]().gradient_scale(
        spread_of(y, s, y_mean, 0) or abs(y_mean) or np.longdouble(1)
    )
    largest = abs(s @ slope) * options["intercept"]
    noise = s @ (bound * moved + 50 * EPS * abs(slope))
    about = np.sqrt(l2 / bound)
    for x, m, sd, b in zip(X.T, mean, spread, coef, strict=True):
        size = sd if sd > 0 else about
        if size > 0:
            one = abs((x - m) @ (s * slope) + l2 * b) / size
            shaken = (s * (abs(x) + abs(m))) @ (bound * moved + 50 * EPS * abs(slope)) / size
            shaken += l2 * (50 * EPS * abs(b) + np.longdouble(5e-324)) / size  # a coefficient may be denormal
            largest, noise = max(largest, one), max(noise, shaken)
    penalty = l2 * coef @ coef / 2
    return Truth(
        s @ value + penalty,
        s @ (abs(slope) * moved + bound * moved**2) + 100 * EPS * (s @ abs(value) + penalty + squares) + 1e-300,
        largest / unit,
        noise / unit + 1e-300,
    )


def is_ours(error):
    """It names the argument."""
    assert str(error).startswith(ARGUMENTS), error


def check(problem, solver):
    """Fit; give the outcome."""
    X, y, weight, options = problem
    before = [array.tobytes() for array in [*parts(X), y] + ([] if weight is None else [weight])]
    try:
        result = fastgd.fit(X, y, sample_weight=weight, solver=solver, max_iter=100, **options)
    except ValueError as error:
        is_ours(error)
        return str(error)
    finally:
        assert before == [array.tobytes() for array in [*parts(X), y] + ([] if weight is None else [weight])]
    numbers = [*result.coef, result.intercept, result.loss, *result.spread]
    assert np.isfinite(numbers).all(), result
    told = truth(problem, result.coef, result.intercept)
    noise = told.value_noise + (result.error_estimate.loss_left if result.error_estimate else 0.0)  # of the last step
    assert abs(result.loss - told.value) <= noise, (result.loss, told)
    assert result.loss <= result.history.loss[0] or result.loss - result.history.loss[0] <= told.value_noise
    if result.converged:
        recorded = max(options["tol"], result.history.gradient_norm[-1])  # Newton's step ends with less
        assert told.slope <= recorded * (1 + 1e-6) + told.slope_noise, (result.message, told)
    try:
        predicted = result.decision_function(X)
    except ValueError as error:
        is_ours(error)
    else:
        z = dense(X) @ result.coef.astype(np.longdouble) + result.intercept
        size = abs(dense(X)) @ abs(result.coef.astype(np.longdouble)) + abs(result.intercept)
        assert (abs(predicted - z) <= 16 * EPS * size + 1e-300).all()
    return result.status.name


@pytest.mark.parametrize("solver", SOLVERS)
@given(problem=problems())
def test_any_numbers_give_a_right_answer_or_a_clear_error(solver, problem):
    check(problem, solver)


SCALES = [2.0**-400, 2.0**-100, 2.0**100, 2.0**400]  # 1e-120 to 1e120


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("loss", ["squared", "two targets", "logistic"])
@pytest.mark.parametrize("unit", SCALES)
def test_the_largest_and_smallest_units_are_fitted_alike(loss, unit, solver, rng):
    X = rng.standard_normal((400, 3))
    z = X @ [1.0, -2.0, 0.5] + rng.standard_normal(400)
    y = {"squared": z, "logistic": z > 0.0, "two targets": np.column_stack((z, X[:, 0]))}[loss]
    options = {"loss": "logistic" if loss == "logistic" else "squared", "solver": solver, "tol": 1e-10}
    expected = fastgd.fit(X, y, **options)
    for y_unit in [1.0] if loss == "logistic" else [1.0 / unit, 1.0, unit]:
        result = fastgd.fit(X * unit, y * y_unit, **options)
        assert result.converged, result.message
        np.testing.assert_allclose(result.coef * unit / y_unit, expected.coef, atol=1e-9)
        np.testing.assert_allclose(result.predict(X * unit) / y_unit, expected.predict(X), atol=1e-8)


def test_predictions_that_overflow_are_refused(rng):
    X = rng.standard_normal((50, 3))
    y = X @ [1.0, 2.0, 3.0]
    three = fastgd.fit(X, np.digitize(y, [-1.0, 1.0]), loss="logistic", l2=0.1)
    for kind in (np.asarray, sparse.csr_array, lambda X: dict(zip("abc", X.T, strict=True))):
        result = fastgd.fit(kind(X), y)
        far = np.ones((4, 3))
        far[2] = [1e308, 1e308, -1e308]
        with pytest.raises(ValueError, match="X: the numbers in row 2 are so large that its prediction overflows"):
            result.predict(kind(far))
    proba = three.predict_proba(np.full((2, 3), 1e307))
    assert np.isfinite(proba).all() and (proba.sum(axis=1) == 1.0).all()


@pytest.mark.parametrize("weight", [1e308, 1e-308])
def test_weights_of_estimators_and_chunks_are_refused_where_their_size_matters(weight, rng):
    X = rng.standard_normal((50, 3))
    weight = np.full(50, weight)
    np.testing.assert_allclose(fastgd.fit(X, X[:, 0], sample_weight=weight).coef, [1.0, 0.0, 0.0], atol=1e-14)
    if weight[0] > 1.0:
        with pytest.raises(ValueError, match="sample_weight: the sum overflows"):
            fastgd.Ridge().fit(X, X[:, 0], sample_weight=weight)
    with pytest.raises(ValueError, match="sample_weight: the "):
        fastgd.LinearRegression(solver="sgd").partial_fit(X, X[:, 0], sample_weight=weight)


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_array])
def test_sparse_columns_whose_differences_are_lost_are_refused(kind, rng):
    X = rng.standard_normal((300, 3))
    y = X[:, 0] + 1.0
    X[:, 2] = 4.0
    ones = fastgd.fit(kind(X), y)
    assert ones.converged and ones.coef[2] == 0.0
    X[:, 1] = 1.7e9 + 100.0 * X[:, 0]
    with pytest.raises(
        ValueError, match=r"X: the values of column 1 \(x1\) are 1[67]\d+.* too close for a sparse column"
    ):
        fastgd.fit(kind(X), y)
    assert fastgd.fit(X, y).converged
    X[:, 1] = 1e5 + X[:, 0]
    np.testing.assert_allclose(fastgd.fit(kind(X[:, 1:]), y).predict(X[:, 1:]), y, atol=1e-5)
