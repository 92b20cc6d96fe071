"""Every layout is added up to the bits of the plain array, without a copy of X."""

import tracemalloc

import numpy as np
import pytest
from internals import InMemory, Tile, as_design, check_finite, check_vector, passes, tile_dtype, tile_ranges

from fastgd import losses

N, D = 5003, 100  # four blocks of float64


@pytest.fixture(scope="module")
def base():
    """Small whole numbers, that every dtype holds."""
    return np.random.default_rng(0).integers(0, 5, (N, D)).astype(np.float64)


def sum_tiles(design, tile_bytes=None, weight=None):
    """Both kinds of sums, as bytes."""
    if tile_bytes is not None:
        design.tile_bytes = tile_bytes
    n, d = design.shape
    rng = np.random.default_rng(1)
    source = InMemory(design, rng.standard_normal(n), weight)
    coef, pivot = rng.standard_normal(d), rng.standard_normal(d)
    sums = source.sum_tiles(lambda tile, rows: passes.loss_sums(tile, coef, 0.3, losses.Squared(), rows))
    moments = source.sum_tiles(
        lambda tile, rows: passes.first_sums(tile, pivot, 0.1, pivot, 0.2, losses.Squared(), rows)
    )
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
    assert sum_tiles(as_design(LAYOUTS[layout](X, tmp_path))) == sum_tiles(as_design(X))


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
    design = as_design(X)
    assert design.dtype == np.dtype(tile) and design.tile(3, 9).X.dtype == np.dtype(tile)
    assert sum_tiles(design) == sum_tiles(as_design(X.astype(tile)))


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("tile_bytes", [1, 1 << 20, 1 << 21, 3 << 20, 1 << 40])
@pytest.mark.parametrize(("n", "d", "dtype"), [(N, D, "f8"), (300_000, 1, "f8"), (2000, 600, "f4"), (1500, 1000, "i8")])
def test_size_of_a_tile_changes_no_bit(n, d, dtype, tile_bytes, weighted):
    rng = np.random.default_rng(0)
    X = (100 * rng.standard_normal((n, d))).astype(dtype)
    weight = rng.random(n) if weighted else None
    assert n > 2 * as_design(X).block_rows
    assert sum_tiles(as_design(X), tile_bytes, weight) == sum_tiles(as_design(X), None, weight)


@pytest.mark.parametrize("tile_bytes", [1, 1 << 20, 1 << 40])
def test_tiles_cover_every_row_once(tile_bytes, base):
    design = as_design(base)
    design.tile_bytes = tile_bytes
    cuts = list(tile_ranges(design, tile_bytes, 64))
    assert [start for start, _ in cuts] == [0, *(stop for _, stop in cuts[:-1])]
    assert cuts[-1][1] == N and all(start % 64 == 0 for start, _ in cuts)


@pytest.mark.parametrize("order", ["C", "F"])
def test_folding_makes_no_copy_of_the_data(order):
    X = np.ones((80_000, 100), order=order)  # 64 MB
    design = as_design(X)
    sum_tiles(design)
    tracemalloc.start()
    sum_tiles(design)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6


def test_an_array_is_not_copied(base):
    design = as_design(base)
    assert np.shares_memory(design.tile(0, 10).X, base)
    assert InMemory(design, base[:, 0]).y is not None


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_rows_take_samples_with_their_targets_and_weights(base, weighted, rng):
    y, weight = rng.standard_normal(N), rng.random(N) if weighted else None
    rows = np.array([3, 4, 1300, N - 1])
    some = InMemory(as_design(np.asfortranarray(base)), y, weight).take(rows)
    seen = []
    some.sum_tiles(lambda tile, _: seen.append(tile) or np.zeros((1, 1)))
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
        check_finite(as_design(X))


BAD = {
    "one dimension": (lambda: as_design([1.0, 2.0]), "X has 1 dimensions, shape (2,)"),
    "three dimensions": (lambda: as_design(np.ones((2, 2, 2))), "X has 3 dimensions"),
    "text": (lambda: as_design([["a", "b"]]), "X has dtype <U1"),
    "objects": (lambda: as_design([[None, 1]]), "X has dtype object"),
    "complex": (lambda: as_design([[1j]]), "X has dtype complex128"),
    "ragged": (lambda: as_design([[1.0, 2.0], [3.0]]), "X"),
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
