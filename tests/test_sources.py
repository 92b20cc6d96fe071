"""Every layout and kind of table folds to the bits of the plain array, without a copy of X."""

import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fastgd import losses, passes
from fastgd.sources import (
    Feature,
    InMemory,
    Tile,
    as_matrix,
    check_finite,
    check_vector,
    coef_names,
    spans,
    tile_dtype,
)

N, D = 5003, 100  # four blocks of float64


@pytest.fixture(scope="module")
def base():
    """Small whole numbers, that every dtype holds."""
    return np.random.default_rng(0).integers(0, 5, (N, D)).astype(np.float64)


def fold(matrix, tile_bytes=None, weight=None):
    """Both kinds of sums, as bytes."""
    if tile_bytes is not None:
        matrix.tile_bytes = tile_bytes
    n, d = matrix.shape
    rng = np.random.default_rng(1)
    source = InMemory(matrix, rng.standard_normal(n), weight)
    coef, pivot = rng.standard_normal(d), rng.standard_normal(d)
    sums = source.fold(lambda tile, rows: passes.loss_sums(tile, coef, 0.3, losses.Squared(), rows))
    moments = source.fold(lambda tile, rows: passes.first_sums(tile, pivot, 0.1, pivot, 0.2, losses.Squared(), rows))
    return sums.tobytes() + moments.tobytes()


def memmap(X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    return np.load(tmp_path / "X.npy", mmap_mode="r")


def read_only(X, tmp_path):  # noqa: ARG001
    X = X.copy()
    X.flags.writeable = False
    return X


def unaligned(X, tmp_path):  # noqa: ARG001
    raw = np.empty(X.nbytes + 1, np.uint8)[1:].view(X.dtype).reshape(X.shape)
    raw[...] = X
    return raw


LAYOUTS = {
    "C": lambda X, _: X,
    "Fortran": lambda X, _: np.asfortranarray(X),
    "strided rows": lambda X, _: np.repeat(X, 2, axis=0)[::2],
    "strided columns": lambda X, _: np.repeat(X, 2, axis=1)[:, ::2],
    "negative stride": lambda X, _: np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
    "unaligned": unaligned,
    "big endian": lambda X, _: X.astype(X.dtype.newbyteorder(">")),
    "read-only": read_only,
    "memmap": memmap,
    "nested list": lambda X, _: X.tolist() if X.dtype == np.float64 else X,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_layout_gives_the_same_bits(layout, dtype, base, tmp_path):
    X = base.astype(dtype)
    assert fold(as_matrix(LAYOUTS[layout](X, tmp_path))) == fold(as_matrix(X))


@pytest.mark.parametrize(
    ("dtype", "tile"),
    [
        *((dtype, "f4") for dtype in ("f4", "f2", "i1", "i2", "u1", "u2", "?")),
        *((dtype, "f8") for dtype in ("f8", "i4", "i8", "u4", "u8", "g")),
    ],
)
def test_every_dtype_gives_the_bits_of_its_tile_dtype(dtype, tile, base):
    X = (base > 2).astype(dtype) if dtype == "?" else base.astype(dtype)
    assert tile_dtype(X.dtype) == np.dtype(tile)
    matrix = as_matrix(X)
    assert matrix.dtype == np.dtype(tile) and matrix.place(3, 9).X.dtype == np.dtype(tile)
    assert fold(matrix) == fold(as_matrix(X.astype(tile)))


TABLES = {
    "dict": lambda columns: columns,
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
}


@pytest.mark.parametrize("kind", TABLES)
def test_every_table_gives_the_bits_of_the_array(kind, base):
    columns = {f"c{j}": base[:, j] for j in range(D)}
    matrix = as_matrix(TABLES[kind](columns))
    assert coef_names(matrix.features, D) == list(columns)
    assert fold(matrix) == fold(as_matrix(base))


@pytest.mark.parametrize("kind", TABLES)
def test_columns_of_mixed_types_are_converted_by_tile(kind, base):
    dtypes = ["f8", "f4", "i1", "i8", "u1", "?"]
    columns = {f"c{j}": base[:, j].astype(dtype) for j, dtype in enumerate(dtypes)}
    expected = np.column_stack([column.astype(np.float64) for column in columns.values()])
    assert fold(as_matrix(TABLES[kind](columns))) == fold(as_matrix(expected))


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("tile_bytes", [1, 1 << 20, 1 << 21, 3 << 20, 1 << 40])
@pytest.mark.parametrize(("n", "d", "dtype"), [(N, D, "f8"), (300_000, 1, "f8"), (2000, 600, "f4"), (1500, 1000, "i8")])
def test_size_of_a_tile_changes_no_bit(n, d, dtype, tile_bytes, weighted):
    rng = np.random.default_rng(0)
    X = (100 * rng.standard_normal((n, d))).astype(dtype)
    weight = rng.random(n) if weighted else None
    assert n > 2 * as_matrix(X).block_rows
    assert fold(as_matrix(X), tile_bytes, weight) == fold(as_matrix(X), None, weight)


@pytest.mark.parametrize("tile_bytes", [1, 1 << 20, 1 << 40])
def test_tiles_cover_every_row_once(tile_bytes, base):
    matrix = as_matrix(base)
    matrix.tile_bytes = tile_bytes
    cuts = list(spans(matrix, tile_bytes, 64))
    assert [start for start, _ in cuts] == [0, *(stop for _, stop in cuts[:-1])]
    assert cuts[-1][1] == N and all(start % 64 == 0 for start, _ in cuts)


@pytest.mark.parametrize("order", ["C", "F"])
def test_folding_makes_no_copy_of_the_data(order):
    X = np.ones((80_000, 100), order=order)  # 64 MB
    matrix = as_matrix(X)
    fold(matrix)
    tracemalloc.start()
    fold(matrix)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


def test_an_array_is_not_copied(base):
    matrix = as_matrix(base)
    assert np.shares_memory(matrix.place(0, 10).X, base)
    assert InMemory(matrix, base[:, 0]).y is not None


@pytest.mark.parametrize("kind", TABLES)
def test_categories_are_explicit_indicator_columns(kind, rng):
    n = 3000
    a, carrier = rng.standard_normal(n), rng.choice(["UA", "AA", "ß", "DL"], n)
    table = TABLES[kind]({"a": a, "carrier": carrier.tolist(), "b": a**2})
    matrix = as_matrix(table, ["carrier"])
    explicit = np.column_stack([a, *(carrier == level for level in ("DL", "UA", "ß")), a**2])
    assert coef_names(matrix.features, 5) == ["a", "carrier[DL]", "carrier[UA]", "carrier[ß]", "b"]
    assert matrix.shape == explicit.shape
    assert fold(matrix) == fold(as_matrix(explicit))
    rows = np.array([0, 5, 2999])
    np.testing.assert_array_equal(matrix.take(rows).X, explicit[rows])


@pytest.mark.parametrize(
    "values",
    [np.array([3, 1, 2, 3]), np.array([True, False, True, True]), pd.Categorical(["x", "y", "x", "z"])],
    ids=["int", "bool", "Categorical"],
)
def test_categories_of_any_type(values):
    levels = sorted({str(value) for value in values})
    matrix = as_matrix(pd.DataFrame({"k": values}), ["k"])
    assert matrix.features == (Feature("k", tuple(levels)),)
    expected = [[float(str(value) == level) for level in levels[1:]] for value in values]
    np.testing.assert_array_equal(matrix.place(0, 4).X, expected)


def test_a_fitted_models_features_are_taken_by_name_with_its_levels():
    features = (Feature("k", ("p", "q", "r")), Feature("a"))
    matrix = as_matrix({"a": [1.0, 2.0], "extra": ["?", "!"], "k": ["r", "q"]}, features=features)
    np.testing.assert_array_equal(matrix.place(0, 2).X, [[0, 1, 1], [1, 0, 2]])


def test_features_of_a_table_with_numbers_for_names():
    matrix = as_matrix(pd.DataFrame(np.eye(3)))
    assert coef_names(matrix.features, 3) == ["0", "1", "2"]
    again = as_matrix(pd.DataFrame(np.eye(3)), features=matrix.features)
    np.testing.assert_array_equal(again.place(0, 3).X, np.eye(3))


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_rows_take_samples_with_their_targets_and_weights(base, weighted, rng):
    y, weight = rng.standard_normal(N), rng.random(N) if weighted else None
    rows = np.array([3, 4, 1300, N - 1])
    some = InMemory(as_matrix(np.asfortranarray(base)), y, weight).rows(rows)
    seen = []
    some.fold(lambda tile, _: seen.append(tile) or np.zeros((1, 1)))
    np.testing.assert_array_equal(seen[0].X, base[rows])
    np.testing.assert_array_equal(seen[0].y, y[rows])
    np.testing.assert_array_equal(seen[0].weight, weight[rows] if weighted else [])
    assert isinstance(seen[0], Tile) and some.shape == (4, D)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 1281, N - 1])
def test_the_first_value_that_is_not_finite_is_named(base, bad, row):
    X = base.copy()
    X[row, 7] = X[-1, 9] = bad
    with pytest.raises(ValueError, match=rf"{'NaN' if np.isnan(bad) else 'infinity'} in row {row}, column 7 \(x7\)"):
        check_finite(as_matrix(X))


NUMBERS = {"a": [1.0, 2.0], "k": ["p", "q"]}
BAD = {
    "one dimension": (lambda: as_matrix([1.0, 2.0]), "X has 1 dimensions, shape (2,)"),
    "three dimensions": (lambda: as_matrix(np.ones((2, 2, 2))), "X has 3 dimensions"),
    "text": (lambda: as_matrix([["a", "b"]]), "X has dtype <U1"),
    "objects": (lambda: as_matrix([[None, 1]]), "X has dtype object"),
    "complex": (lambda: as_matrix([[1j]]), "X has dtype complex128"),
    "ragged": (lambda: as_matrix([[1.0, 2.0], [3.0]]), "X"),
    "categories of an array": (lambda: as_matrix(np.ones((2, 2)), ["a"]), "categorical: X has no named columns"),
    "unknown category": (lambda: as_matrix(NUMBERS, ["z"]), "categorical z: no such column; there are a, k"),
    "text column": (lambda: as_matrix(NUMBERS), "X has columns that are not numbers: k (<U1)"),
    "object column": (
        lambda: as_matrix({"a": [1, None]}),
        "X has columns that are not numbers: a (text or missing values)",
    ),
    "dates": (
        lambda: as_matrix({"t": np.array(["2024-01-01"], "M8[D]")}),
        "X has columns that are not numbers: t (datetime64",
    ),
    "matrix in a column": (lambda: as_matrix({"a": np.ones((2, 2))}), "column a has shape (2, 2)"),
    "lengths": (lambda: as_matrix({"a": [1, 2], "b": [1]}), "columns have different lengths: {'a': 2, 'b': 1}"),
    "twice": (lambda: as_matrix(pd.DataFrame([[1, 2]], columns=["a", "a"])), "several columns of the same name: a"),
    "None level": (lambda: as_matrix({"k": ["p", None]}, ["k"]), "column k has 1 missing"),
    "NaN level": (lambda: as_matrix({"k": [1.0, np.nan]}, ["k"]), "column k has 1 missing"),
    "NaN in text": (lambda: as_matrix({"k": np.array(["p", np.nan], object)}, ["k"]), "column k has 1 missing"),
    "pandas text": (lambda: as_matrix(pd.DataFrame({"k": ["p", None]}), ["k"]), "column k has 1 missing"),
    "pandas NA": (lambda: as_matrix({"k": pd.array([1, None], "Int64")}, ["k"]), "column k has 1 missing"),
    "polars null": (lambda: as_matrix(pl.DataFrame({"k": ["p", None]}), ["k"]), "column k has 1 missing"),
    "pyarrow null": (lambda: as_matrix(pa.table({"k": ["p", None]}), ["k"]), "column k has 1 missing"),
    "unseen level": (
        lambda: as_matrix(NUMBERS, features=[Feature("k", ("p", "r"))]),
        "column k has levels that the model was not fitted on: q; known are p, r",
    ),
    "missing column": (lambda: as_matrix({"b": [1]}, features=[Feature("a")]), "fitted on a: no such column"),
    "array for table": (lambda: as_matrix([[1]], features=[Feature("k", ("p", "q"))]), "categorical columns"),
    "vector length": (lambda: check_vector("y", [1, 2], 3), "y has shape (2,); X has 3 rows"),
    "vector matrix": (lambda: check_vector("y", [[1], [2]], 2), "y has shape (2, 1)"),
    "vector text": (lambda: check_vector("y", ["a"], 1), "y has dtype <U1"),
    "vector NaN": (lambda: check_vector("y", [0, np.nan], 2), "y contains NaN in row 1"),
    "vector infinity": (lambda: check_vector("y", [0, 1, -np.inf], 3), "y contains infinity in row 2"),
    "vector ragged": (lambda: check_vector("y", [[1, 2], [3]], 2), "y"),
}


@pytest.mark.parametrize("case", BAD)
def test_errors_name_the_place(case):
    action, fragment = BAD[case]
    with pytest.raises(ValueError) as error:
        action()
    assert fragment in str(error.value) and str(error.value).startswith(("X", "y", "categorical"))
