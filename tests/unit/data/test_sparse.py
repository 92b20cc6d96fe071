"""Sparse matrices of every format and kind of number give what the dense array gives, and are never copied."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from helpers import make_objective
from hypothesis import given
from hypothesis import strategies as st
from internals import Array, Columns, InMemory, Rows, Subset, as_sparse, hessian_of, moments

import fastgd
from fastgd import losses

FORMATS = ["csr", "csc", "coo", "lil", "dok", "bsr"]
DTYPES = ["f8", "f4", "i8", "i1", "u2", "?"]
TARGETS = {  # passes over these columns know of a loss its slopes alone; each more compiles kernels for half a minute
    "squared": lambda y: y,
    "logistic": lambda y: y > 0.3,
    "softmax": lambda y: np.digitize(y, [-1.0, 0.0, 0.5]),
    "two targets": lambda y: np.column_stack((y, 3.0 - y**2)),
}
LOSS = {"softmax": "logistic", "two targets": "squared"}


def make(n=3000, d=40, density=0.1, dtype="f8", seed=0):
    """Small whole numbers, which every dtype holds, some columns empty and one dense."""
    rng = np.random.default_rng(seed)
    X = rng.integers(1, 5, (n, d)) * (rng.random((n, d)) < density)
    X[:, [3, d - 1]] = 0
    X[:, 5] = rng.integers(1, 4, n)
    y = X @ rng.standard_normal(d) / 3 + 0.5 * rng.standard_normal(n)
    return X.astype(dtype), y


def shuffled(X):
    """The same matrix, entries of a row or column in another order."""
    X = X.copy()
    for a, b in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        X.indices[a:b], X.data[a:b] = X.indices[a:b][::-1].copy(), X.data[a:b][::-1].copy()
    X.has_sorted_indices = False
    return X


def doubled(X):
    """The same matrix, every entry in two parts, and explicit zeros."""
    indices, data = np.repeat(X.indices, 3), np.repeat(X.data, 3) * np.tile([0.25, 0.0, 0.75], X.nnz)
    return type(X)((data, indices, X.indptr * 3), shape=X.shape)


def wide_indices(X):
    X = X.copy()
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def matrix_class(X):
    return {"csr": sp.csr_matrix, "csc": sp.csc_matrix}[X.format](X)


def read_only(X):
    X = X.copy()
    for array in (X.data, X.indices, X.indptr):
        array.flags.writeable = False
    return X


def rearranged(view):
    """The same arrays with another layout in memory, which SciPy takes as they are."""

    def change(X):
        X = X.copy()
        X.data, X.indices, X.indptr = (view(array) for array in (X.data, X.indices, X.indptr))
        return X

    return change


def unaligned(array):
    room = np.empty(array.nbytes + 1, np.uint8)[1:].view(array.dtype)
    room[:] = array
    return room


LAYOUTS = {
    "strided": lambda array: np.repeat(array, 2)[::2],
    "unaligned": unaligned,
    "big-endian": lambda array: array.astype(array.dtype.newbyteorder(">")),
    "unsigned": lambda array: array.astype(np.uint64) if array.dtype.kind == "i" else array,
}
KINDS = [shuffled, doubled, wide_indices, matrix_class, read_only]
LOSSES_OR_KINDS = [*((loss, lambda X: X) for loss in TARGETS), *(("squared", kind) for kind in KINDS)]


def objective(design, y, loss, weight=None, l2=0.1, standardize=True):
    source = InMemory(design, y, weight)
    if y.ndim == 1 and loss == "softmax":
        chosen, outputs = losses.Softmax(), 4
    else:
        chosen, outputs = losses.LOSSES[LOSS.get(loss, loss)](), 1 if y.ndim == 1 else y.shape[1]
    statistics = moments(source, chosen, about_mean=True)
    return make_objective(source, chosen, l2, statistics, True, standardize, None, outputs)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("order", ["csr", "csc"])
@pytest.mark.parametrize(("loss", "kind"), LOSSES_OR_KINDS)  # kernels are compiled for each kind of index and loss
def test_passes_equal_those_of_the_dense_array(loss, order, kind, weighted, rng):
    X, y = make()
    y = TARGETS[loss](y)
    weight = rng.random(len(y)) + (np.arange(len(y)) % 3 > 0) - 0.5 if weighted else None
    weight = None if weight is None else np.maximum(weight, 0.0)
    dense = objective(Array(X), y, loss, weight)
    sparse = objective(as_sparse(kind(sp.csr_array(X).asformat(order))), y, loss, weight)
    for got, expected in zip(sparse.moments, dense.moments, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-14)
    assert sparse.moments.spread[3] == 0.0
    point = 0.3 * rng.standard_normal(dense.size)
    point = sparse.to_x(dense.to_coefficients(point)), point
    got, expected = sparse(point[0]), dense(point[1])
    assert got.value == pytest.approx(expected.value, rel=1e-12)
    np.testing.assert_allclose(got.gradient, expected.gradient, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(hessian_of(sparse, point[0]), hessian_of(dense, point[1]), rtol=1e-9, atol=1e-10)


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", ["csr", "csc"])
def test_arrays_of_any_layout_give_the_same_bits(order, layout):
    X, y = make()
    plain = sp.csr_array(X).asformat(order)
    odd = rearranged(LAYOUTS[layout])(plain)
    got, expected = fastgd.fit(odd, y), fastgd.fit(wide_indices(plain), y)
    assert got.coef.tobytes() == expected.coef.tobytes()
    assert "copied" in got.settings["copied"]
    assert got.predict(odd).tobytes() == expected.predict(plain).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fmt", FORMATS)
def test_every_format_and_dtype_fits_as_the_dense_array(fmt, dtype):
    X, y = make(dtype=dtype)
    sparse = sp.csr_array(X).asformat(fmt)
    before = sparse.copy()
    got = fastgd.fit(sparse, y, l2=1e-3, tol=1e-9)
    expected = fastgd.fit(X, y, l2=1e-3, tol=1e-9)
    np.testing.assert_allclose(got.coef, expected.coef, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(got.predict(sparse), expected.predict(X), rtol=1e-8, atol=1e-8)
    assert (got.settings["copied"] is None) == (fmt == "csr" or (fmt == "csc" and dtype in ("f8", "f4")))
    assert abs(sparse - before).sum() == 0 and sparse.dtype == before.dtype


@pytest.mark.parametrize("solver", ["auto", "newton", "lbfgs", "nesterov", "sgd"])
@pytest.mark.parametrize("loss", TARGETS)
def test_every_solver_finds_the_dense_fit(loss, solver):
    X, y = make(20_000, 12, 0.3)
    y, name = TARGETS[loss](y), LOSS.get(loss, loss)
    expected = fastgd.fit(X, y, loss=name, l2=1e-2, tol=1e-11)
    got = fastgd.fit(sp.csr_array(X), y, loss=name, l2=1e-2, tol=1e-9, solver=solver)
    assert got.converged
    np.testing.assert_allclose(got.coef, expected.coef, atol=1e-7)
    np.testing.assert_allclose(got.intercept, expected.intercept, atol=1e-7)


def test_sgd_on_columns_is_refused():
    X, y = make()
    with pytest.raises(ValueError, match=r"CSC: give X.tocsr\(\)"):
        fastgd.fit(sp.csc_array(X), y, solver="sgd")


@pytest.mark.parametrize("order", ["csr", "csc"])
@pytest.mark.parametrize("loss", TARGETS)
def test_threads_and_tiles_change_no_bit(loss, order):
    X, y = make(40_000, 30, 0.2)
    sparse, y = sp.csr_array(X).asformat(order), TARGETS[loss](y)
    results = set()
    for threads in (None, 1):
        for tile_bytes in (None, 1 << 19):
            design = as_sparse(sparse)
            design.tile_bytes = tile_bytes or design.tile_bytes
            f = replace(objective(design, y, loss), n_threads=threads)
            evaluation = f(np.linspace(-1, 1, f.size))
            results.add(np.append(evaluation.gradient, evaluation.value).tobytes() + f.moments.spread.tobytes())
    assert design.shape[0] > 2 * design.block_rows
    assert len(results) == 1


@pytest.mark.parametrize("loss", TARGETS)
def test_a_subset_is_read_in_place(loss, rng):
    X, y = make(20_000, 30)
    rows, y = np.sort(rng.choice(len(y), 3000, replace=False)), TARGETS[loss](y)
    got = objective(Subset(Rows(sp.csr_array(X)), rows), y[rows], loss)
    expected = objective(Rows(sp.csr_array(X[rows])), y[rows], loss)
    point = rng.standard_normal(got.size)
    assert got(point).gradient.tobytes() == expected(point).gradient.tobytes()
    assert hessian_of(got, point).tobytes() == hessian_of(expected, point).tobytes()


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
@pytest.mark.parametrize("order", ["csr", "csc"])
def test_nothing_is_made_dense(order):
    X = sp.random_array((20_000, 3000), density=0.005, rng=np.random.default_rng(0), format=order)  # 3.6 MB, 480 dense
    y = np.arange(20_000) % 7 < 3
    fastgd.fit(X, y, loss="logistic", l2=1e-3, max_iter=2)
    tracemalloc.start()
    fastgd.fit(X, y, loss="logistic", l2=1e-3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


def but(X, **arrays):
    """A damaged copy, which SciPy would not make: with other numbers in some places, or with other arrays."""
    X = X.copy()
    for name, change in arrays.items():
        if callable(change):
            setattr(X, name, change(getattr(X, name)))
        else:
            place, value = change
            getattr(X, name)[place] = value
    return X


CSR, Y = sp.csr_array(make(30, 8)[0]), make(30, 8)[1]
CSC, FITTED = CSR.tocsc(), fastgd.fit(CSR, Y, l2=1e-6)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (but(CSR, data=(4, np.nan)), "X contains NaN in row"),
        (but(CSC, data=(4, np.inf)), "X contains infinity in row"),
        (but(CSR, indices=(4, 8)), "damaged CSR matrix: indices are 0 to 8; 0 to 7 are allowed"),
        (but(CSC, indices=(4, -1)), "damaged CSC matrix: indices are -1 to 29; 0 to 29 are allowed"),
        (but(CSR, indptr=(4, 10**6)), "damaged CSR matrix: indptr does not ascend"),
        (but(CSR, indptr=(0, 1)), "damaged CSR matrix: indptr does not ascend"),
        (but(CSR, indptr=lambda a: a[:-1]), "damaged CSR matrix: indptr has length 30; 31 is needed"),
        (but(CSC, indptr=lambda a: np.append(a, a[-1])), "damaged CSC matrix: indptr has length 10; 9 is needed"),
        (but(CSR, indices=lambda a: a[:-1]), "damaged CSR matrix: indptr does not ascend"),
        (but(CSC, indices=lambda a: a.astype(float)), "damaged CSC matrix: indices has dtype float64; int32 or int64"),
        (CSR * 1j, "X has dtype complex128"),
        (sp.csr_array((0, 3)), r"X has shape \(0, 3\)"),
        (sp.coo_array(np.ones(30)), "X has 1 dimensions"),
    ],
)
def test_bad_matrices_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        fastgd.fit(X, Y)
    if X.shape == CSR.shape:
        with pytest.raises(ValueError, match=message):
            FITTED.predict(X)


def test_prediction_refuses_another_width():
    with pytest.raises(ValueError, match="X has 7 features, but the model was fitted on 8"):
        FITTED.predict(CSR[:, :7])


@given(
    n=st.integers(1, 70), d=st.integers(1, 20), density=st.floats(0, 1), seed=st.integers(0, 99), order=st.booleans()
)
def test_any_shape(n, d, density, seed, order):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * (rng.random((n, d)) < density)
    y = rng.standard_normal(n)
    design = as_sparse(sp.csr_array(X) if order else sp.csc_array(X))
    assert isinstance(design, Rows if order else Columns)
    point = rng.standard_normal(d + 1)
    got, expected = (objective(m, y, "squared", standardize=False)(point) for m in (design, Array(X)))
    assert got.value == pytest.approx(expected.value, rel=1e-12)
    np.testing.assert_allclose(got.gradient, expected.gradient, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(
        design.linear_predictor(point[None, :-1], point[-1:])[:, 0], X @ point[:-1] + point[-1], atol=1e-12
    )
