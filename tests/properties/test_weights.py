"""Weights are counts of rows, and only their ratios matter: for every solver and source.

What a weight of k and k repeats of a row share is the objective, so its minimum, not the path to it: sub-samples and
batches are drawn from other rows. So fits go down to slopes of 1e-13, where the minimum is known to 1e-10 and better.
"""

import numpy as np
import pytest
from internals import SOLVERS
from scipy import sparse

import fastgd

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")]

N, D = 12_000, 6
RNG = np.random.default_rng(7)
X = RNG.integers(-8, 9, (N, D)) / 4.0
Z = X @ np.linspace(-1.0, 1.0, D) / 2 + RNG.standard_normal(N) + 0.5
COUNTS = RNG.integers(0, 4, N)  # a quarter of them 0

LOSSES = {
    "squared": ("squared", Z),
    "logistic": ("logistic", Z > 0.3),
    "huber": ("huber", Z),
    "softmax": ("logistic", np.digitize(Z, [-0.5, 1.0])),
    "two targets": ("squared", np.column_stack((Z, Z**2))),
}
SOURCES = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "float32": lambda X: X.astype("f4"),
    "int8": lambda X: (4 * X).astype("i1"),
    "table": lambda X: {"kind": np.sign(X[:, 0]).astype(str), **{f"x{j}": X[:, j] for j in range(1, D)}},
    "CSR": sparse.csr_array,
    "CSC": sparse.csc_array,
}
SOLVER_NAMES = [solver for solver in SOLVERS if solver != "auto"]
CASES = [("C", loss, solver) for loss in LOSSES for solver in SOLVER_NAMES]
CASES += [(source, "logistic", solver) for source in SOURCES for solver in SOLVER_NAMES if source != "C"]
CASES.remove(("CSC", "logistic", "sgd"))
EVERY = pytest.mark.parametrize(("source", "loss", "solver"), CASES)


def fitted(source, loss, solver, rows, weight=None):
    name, y = LOSSES[loss]
    data = SOURCES[source](X[rows])
    result = fastgd.fit(data, y[rows], loss=name, solver=solver, sample_weight=weight, l2=1e-3, tol=1e-13)
    assert result.converged, result.message
    return np.append(np.ravel(result.coef * result.spread), result.intercept)


def agree(got, expected):
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@EVERY
def test_weights_are_repeats_and_zero_is_dropped(source, loss, solver):
    weighted = fitted(source, loss, solver, slice(None), COUNTS)
    some = COUNTS > 0
    agree(fitted(source, loss, solver, some, COUNTS[some]), weighted)
    agree(fitted(source, loss, solver, np.repeat(np.arange(N), COUNTS)), weighted)


@EVERY
def test_only_ratios_matter(source, loss, solver):
    weighted = fitted(source, loss, solver, slice(None), COUNTS)
    agree(fitted(source, loss, solver, slice(None), COUNTS * 0.7), weighted)
    for scale in (2.0**20, 2.0**-1000, 2.0**1020):
        assert fitted(source, loss, solver, slice(None), COUNTS * scale).tobytes() == weighted.tobytes(), scale


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_what_stands_in_rows_without_weight_changes_no_bit(loss, solver):
    name, y = LOSSES[loss]
    spoilt, other = np.where((COUNTS == 0)[:, None], 1e6, X), np.where((COUNTS == 0)[:, None], y[0], y.reshape(N, -1))
    options = {"loss": name, "solver": solver, "sample_weight": COUNTS, "l2": 1e-3, "max_iter": 3}
    got = fastgd.fit(spoilt, other.reshape(y.shape), **options)
    expected = fastgd.fit(X, y, **options)
    assert got.coef.tobytes() == expected.coef.tobytes()
    assert got.history.loss.tobytes() == expected.history.loss.tobytes()
