"""Features of n rows, without targets: arrays of numbers, subsets of rows, and how rows are cut into tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastgd._data.schema import Feature, coef_names
from fastgd._kernels.layout import Part
from fastgd._typing import Floats
from fastgd._utils.validation import as_array, name_value

BLOCK_BYTES = 1 << 20  # of X per block: few enough partial sums, enough blocks for many threads
LEAST_BLOCK_ROWS = 64  # bounds the partial sums to 1/64 of a float64 tile when rows are long,
PARTIAL_SHARE = 150  # and to one in so many bytes when they are sparse, but for
LEAST_BLOCKS = 8  # for threads to share
VIEW_BYTES = 1 << 28  # of X per tile that is only sliced: ten milliseconds, so Ctrl-C is never far
TURN_BYTES = 1 << 26  # if rows are turned around in the cache: every block of a tile has its own room for that
VIEW_ROWS = 1 << 20  # at most: labels and integers of y are converted tile by tile, and stay in cache for the pass
COPY_BYTES = 1 << 22  # of X per tile that is converted: it stays in cache until the pass has read it


class Matrix(Protocol):
    """The samples' features without their targets: ``shape`` (n, d), the tiles' ``dtype``, and rows on demand.

    Attributes
    ----------
    row_bytes : float
        What a row takes in memory, as it is read.
    tile_bytes : int
        `VIEW_BYTES` or `TURN_BYTES` if parts are slices of what there is, `COPY_BYTES` if they are converted.
    order : ndarray of int (d,), or None
        Where in a part each of the d columns stands, if not in its own place.
    features : tuple of Feature, or None
        The columns' names, if they have any.
    copied : str, or None
        Why there had to be a copy, in a sentence, if there was one.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    row_bytes: float
    tile_bytes: int
    order: NDArray[np.intp] | None = None
    features: tuple[Feature, ...] | None = None
    copied: str | None = None

    @property
    def block_rows(self) -> int:
        """Rows of a block: the same wherever the samples live."""
        return rows_per_block(self.shape, self.row_bytes)

    def place(self, start: int, stop: int) -> Part:
        """Give rows start to stop, of this dtype."""

    def take(self, rows: NDArray[np.intp]) -> Matrix:
        """Give some rows as a matrix in memory."""

    def some(self, rows: NDArray[np.intp]) -> Matrix:
        """Give some rows: a copy if they are few, otherwise gathered whenever they are read."""
        return self.take(rows) if len(rows) * self.row_bytes <= COPY_BYTES else Subset(self, rows)

    def by_rows(self) -> Matrix:
        """Give the same matrix so that its parts have rows."""
        return self

    def check_differences(self, suspects: NDArray[np.bool_]) -> None:  # noqa: ARG002
        """Refuse columns among those that look constant whose differences are hidden by sums about 0."""
        return

    def margins(self, coef: Floats, intercept: Floats) -> Floats:
        """Compute ``X @ coef.T + intercept``, (n, outputs), from (outputs, d) and (outputs,), one tile at a time.

        Raises
        ------
        ValueError
            Naming row and column of the first NaN or infinity.
        """


class Array(Matrix):
    """A two-dimensional NumPy array of numbers: any order, strides and real dtype."""

    def __init__(self, X: NDArray[Any]) -> None:
        self.X = X
        self.shape = X.shape
        self.dtype = tile_dtype(X.dtype)
        self.row_bytes = self.dtype.itemsize * max(1, X.shape[1])
        # Other orders have kernels of their own, which need not be compiled for what is copied in no time.
        ordered = X.flags.c_contiguous or X.nbytes > COPY_BYTES
        self.sliced = X.flags.aligned and X.dtype == self.dtype and ordered
        self.tile_bytes = COPY_BYTES if not self.sliced else VIEW_BYTES if X.flags.c_contiguous else TURN_BYTES

    def place(self, start: int, stop: int) -> Part:
        """Give rows start to stop, of this dtype."""
        rows = self.X[start:stop]
        return Part(rows if self.sliced else np.require(rows, self.dtype, ["C", "ALIGNED"]))

    def take(self, rows: NDArray[np.intp]) -> Array:
        """Give some rows as an array in memory."""
        # np.take is the faster one, but copies all of an array that is not contiguous
        taken = np.take(self.X, rows, axis=0) if self.X.flags.c_contiguous else self.X[rows]
        return Array(np.require(taken, self.dtype, ["C", "ALIGNED"]))

    def margins(self, coef: Floats, intercept: Floats) -> Floats:
        """Compute ``X @ coef.T + intercept``; a ValueError names NaN or infinity."""
        z = np.empty((self.shape[0], len(coef)))
        names = coef_names(self.features, self.shape[1])
        for start, stop in spans(self):
            tile = self.place(start, stop).X
            check_finite_tile(tile, start, names)
            z[start:stop] = tile.astype(np.float64, copy=False) @ coef.T + intercept
        return z


class Subset(Matrix):
    """Some rows of a matrix: read where they lie, or if they have to be converted, gathered one tile at a time."""

    def __init__(self, matrix: Matrix, rows: NDArray[np.intp]) -> None:
        self.matrix = matrix
        self.index = rows
        self.shape = (len(rows), matrix.shape[1])
        self.dtype = matrix.dtype
        self.row_bytes = matrix.row_bytes
        self.tile_bytes = matrix.tile_bytes
        self.order, self.features = matrix.order, matrix.features

    def place(self, start: int, stop: int) -> Part:
        """Give rows start to stop, of this dtype."""
        index = self.index[start:stop]
        if self.tile_bytes == COPY_BYTES:
            return self.matrix.take(index).place(0, len(index))
        whole = self.matrix.place(0, self.matrix.shape[0])
        return whole._replace(rows=whole.rows[index] if whole.rows.size else index)

    def take(self, rows: NDArray[np.intp]) -> Matrix:
        """Give some rows as a matrix in memory."""
        return self.matrix.take(self.index[rows])

    def margins(self, coef: Floats, intercept: Floats) -> Floats:
        """Compute ``X @ coef.T + intercept``; a ValueError names NaN or infinity."""
        return self.matrix.take(self.index).margins(coef, intercept)


def rows_per_block(shape: tuple[int, int], row_bytes: float) -> int:
    """Rows of a block: about `BLOCK_BYTES` of X, more where sums would take more than their share; a multiple of 64."""
    n, d = shape
    rows = BLOCK_BYTES // max(1.0, row_bytes)
    if row_bytes < 8 * d:
        rows = max(rows, min(PARTIAL_SHARE * 8 * d // max(1.0, row_bytes), -(-n // LEAST_BLOCKS)))
    return max(LEAST_BLOCK_ROWS, int(rows) & ~63)


def spans(matrix: Matrix, tile_bytes: int = COPY_BYTES, block_rows: int = 1) -> Iterator[tuple[int, int]]:
    """Cut a matrix into tiles of whole blocks: their first rows and the rows after their last.

    Small ones, unless told: NumPy's functions make temporary arrays of a tile's size.
    """
    n = matrix.shape[0]
    tile_rows = max(1, min(VIEW_ROWS, int(tile_bytes // max(1.0, matrix.row_bytes))) // block_rows) * block_rows
    for start in range(0, n, tile_rows):
        yield start, min(start + tile_rows, n)


def dense_rows(matrix: Matrix, rows: NDArray[np.intp]) -> Floats:
    """Give some rows, (rows, d), as an array of float64 with the columns in the caller's order."""
    if not len(rows):
        return np.empty((0, matrix.shape[1]))
    taken = matrix.take(rows)
    part = taken.place(0, len(rows))
    if part.entries is None and taken.order is None and not part.rows.size:
        return part.X.astype(np.float64)
    d = taken.shape[1]
    return taken.margins(np.eye(d), np.zeros(d))


def tile_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Choose the smaller of float32 and float64 that holds every value of a real dtype (float64 if neither does)."""
    exact = np.result_type(dtype, np.float32)
    return exact if exact == np.float32 else np.dtype(np.float64)


def as_matrix(X: Any) -> Matrix:
    """Look at an array, without a copy, as rows of numbers; a ValueError says what was found, and what is allowed."""
    array = as_array("X", X)
    if array.ndim != 2:
        raise ValueError(f"X has {array.ndim} dimensions, shape {array.shape}; (rows, features) is needed")
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"X has dtype {array.dtype}; real numbers are needed. Text is read from the columns of a table"
        )
    return Array(array)


def check_finite(matrix: Matrix) -> None:
    """Find the first NaN or infinity in X, and say where it stands; a ValueError names row and column."""
    matrix.margins(np.zeros((1, matrix.shape[1])), np.zeros(1))


def check_finite_tile(tile: NDArray[Any], start: int, names: Sequence[str], first_column: int = 0) -> None:
    """Do so for some columns, whose first row is row ``start`` of X."""
    if np.isfinite(tile).all():
        return
    row, column = (int(index) for index in np.argwhere(~np.isfinite(tile))[0])
    raise ValueError(
        f"X contains {name_value(tile[row, column])} in row {start + row}, column {first_column + column} "
        f"({names[column]}); drop such rows or fill them in"
    )
