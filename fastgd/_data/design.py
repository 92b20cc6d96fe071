"""Features of n rows, without targets: arrays of numbers, subsets of rows, and how rows are cut into tiles.

A **tile** is a run of rows as the compiled passes want them: dense columns, float64 or float32 in any order, and then
sparse ones. Arrays and sparse matrices that already look so are only sliced; everything else (integers, tables with
categories) is converted one tile at a time, so there is never a copy of X. Tile borders fall on block borders.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data.schema import Feature, coef_names
from fastgd._kernels.layout import Part, SparseRows
from fastgd._typing import Floats
from fastgd._utils.validation import as_array, name_value

BLOCK_BYTES = 1 << 20
"""Bytes of X in a block: few enough partial sums, enough blocks for many threads."""
MIN_BLOCK_ROWS = 64
"""Rows of a block at least; keeps partial sums below 1/64 of a float64 tile."""
SPARSE_BYTES_PER_SUM = 150
"""For sparse X: at most one byte of partial sums per so many bytes of entries."""
MIN_BLOCKS = 8
"""But never fewer blocks than these, so that threads have work."""
VIEW_BYTES = 1 << 28
"""Bytes of X in a tile that is only sliced: ten milliseconds, so that Ctrl-C is never far."""
GATHER_BYTES = 1 << 26
"""The same where rows are put in order in the cache: every block of a tile needs work space for that."""
VIEW_ROWS = 1 << 20
"""Rows of a tile at most: y is converted tile by tile, and stays in the cache for the pass."""
COPY_BYTES = 1 << 22
"""Bytes of X in a tile that is converted: it stays in the cache until the pass has read it."""


class Design(ABC):
    """The features of n rows.

    Attributes
    ----------
    dtype : dtype
        Of the tiles, float64 or float32.
    row_bytes : float
        What a row takes in memory, as it is read.
    tile_bytes : int
        `VIEW_BYTES` or `GATHER_BYTES` if tiles are slices of what there is, `COPY_BYTES` if they are converted.
    order : ndarray of int (d,), or None
        Where in a tile each of the caller's d columns stands, if not in its own place.
    features : tuple of Feature, or None
        The columns' names, if they have any.
    copied : str, or None
        Why there had to be a copy, in a sentence, if there was one.
    row_access : bool
        Whether single rows can be read without reading all columns.
    origin : ndarray of shape (d,), or None
        What was subtracted from the columns, in the order of tiles, see `Recentred`; None if nothing was.
    """

    dtype: np.dtype[Any]
    row_bytes: float
    tile_bytes: int
    order: NDArray[np.intp] | None = None
    features: tuple[Feature, ...] | None = None
    copied: str | None = None
    row_access: bool = True
    origin: Floats | None = None

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape

    @property
    def rounding(self) -> float:
        """The rounding unit of the numbers as they are stored."""
        return float(np.finfo(self.dtype).eps)

    @property
    def block_rows(self) -> int:
        """Rows of a block: the same wherever the samples live."""
        return rows_per_block(self.shape, self.row_bytes)

    @abstractmethod
    def tile(self, start: int, stop: int) -> Part:
        """Return rows start to stop, of this dtype."""

    @abstractmethod
    def copy_rows(self, rows: NDArray[np.intp]) -> Design:
        """Return some rows as a design of their own."""

    def take(self, rows: NDArray[np.intp]) -> Design:
        """Return some rows: a copy if they are few, otherwise a design that reads them where they lie."""
        few = len(rows) * self.row_bytes <= COPY_BYTES
        return self.copy_rows(rows) if few else Subset(self, rows)

    @abstractmethod
    def linear_predictor(self, coef: Floats, intercept: Floats) -> Floats:
        """Compute ``X @ coef.T + intercept``, (n, k), one tile at a time.

        Parameters
        ----------
        coef : ndarray of shape (k, d)
            In the caller's order of columns.
        intercept : ndarray of shape (k,)

        Raises
        ------
        ValueError
            Naming row and column of the first NaN or infinity.
        """

    def by_rows(self) -> Design:
        """Return the same rows with tiles whose sparse entries are stored by rows."""
        return self

    def check_differences(self, suspects: NDArray[np.bool_]) -> None:  # noqa: B027  only sums about 0 hide anything
        """Raise ValueError for a column among these (d,) that sums show as constant, but that is not."""

    def levels(self) -> Iterator[NDArray[np.integer[Any]]]:
        """Yield the level of every row, (n,), for each category."""
        yield from ()


class Array(Design):
    """A two-dimensional NumPy array of numbers: any order, strides and real dtype."""

    def __init__(self, X: NDArray[Any], features: tuple[Feature, ...] | None = None) -> None:
        super().__init__(X.shape)
        self.X = X
        self.features = features
        self.dtype = tile_dtype(X.dtype)
        self.row_bytes = self.dtype.itemsize * max(1, X.shape[1])
        # Small arrays of other orders are copied, so that no kernel has to be compiled for them.
        ordered = X.flags.c_contiguous or X.nbytes > COPY_BYTES
        self.sliced = X.flags.aligned and X.dtype == self.dtype and ordered
        self.tile_bytes = COPY_BYTES if not self.sliced else VIEW_BYTES if X.flags.c_contiguous else GATHER_BYTES

    def tile(self, start: int, stop: int) -> Part:
        """Return rows start to stop, of this dtype."""
        rows = self.X[start:stop]
        return Part(rows if self.sliced else np.require(rows, self.dtype, ["C", "ALIGNED"]))

    def copy_rows(self, rows: NDArray[np.intp]) -> Array:
        """Return some rows as a design of their own."""
        # np.take is faster, but copies all of an array that is not contiguous.
        taken = np.take(self.X, rows, axis=0) if self.X.flags.c_contiguous else self.X[rows]
        return Array(np.require(taken, self.dtype, ["C", "ALIGNED"]), self.features)

    def linear_predictor(self, coef: Floats, intercept: Floats) -> Floats:
        """Compute ``X @ coef.T + intercept``; a ValueError names NaN or infinity."""
        z = np.empty((self.shape[0], len(coef)))
        names = coef_names(self.features, self.shape[1])
        for start, stop in tile_ranges(self):
            tile = self.tile(start, stop).X
            check_finite_tile(tile, start, names)
            z[start:stop] = tile.astype(np.float64, copy=False) @ coef.T + intercept
        return z


class Subset(Design):
    """Some rows of a design: read where they lie, or if they have to be converted, gathered one tile at a time."""

    def __init__(self, design: Design, rows: NDArray[np.intp]) -> None:
        super().__init__((len(rows), design.shape[1]))
        self.design = design
        self.index = rows
        self.dtype = design.dtype
        self.row_bytes = design.row_bytes
        self.tile_bytes = design.tile_bytes
        self.order, self.features, self.origin = design.order, design.features, design.origin

    def tile(self, start: int, stop: int) -> Part:
        """Return rows start to stop, of this dtype."""
        index = self.index[start:stop]
        if self.tile_bytes == COPY_BYTES:
            return self.design.copy_rows(index).tile(0, len(index))
        whole = self.design.tile(0, self.design.shape[0])
        return whole._replace(rows=whole.rows[index] if whole.rows.size else index)

    def copy_rows(self, rows: NDArray[np.intp]) -> Design:
        """Return some rows as a design of their own."""
        return self.design.copy_rows(self.index[rows])

    def levels(self) -> Iterator[NDArray[np.integer[Any]]]:
        """Yield the level of every row, (n,), for each category."""
        return (levels[self.index] for levels in self.design.levels())

    def linear_predictor(self, coef: Floats, intercept: Floats) -> Floats:
        """Compute ``X @ coef.T + intercept``; a ValueError names NaN or infinity."""
        return self.design.copy_rows(self.index).linear_predictor(coef, intercept)


class Recentred(Design):
    """A design whose dense columns are differences from a pivot, so that predictors do not round where they are far."""

    def __init__(self, design: Design, pivot: Floats) -> None:
        super().__init__(design.shape)
        self.design, self.pivot = design, pivot
        self.dtype = np.dtype(np.float64)
        self.row_bytes = design.row_bytes
        self.tile_bytes = COPY_BYTES
        self.order, self.features, self.copied = design.order, design.features, design.copied
        self.row_access = design.row_access
        self.origin = np.append(pivot, np.zeros(design.shape[1] - len(pivot)))

    @property
    def rounding(self) -> float:
        """The rounding unit of the numbers as they are stored, before they are differences."""
        return self.design.rounding

    def tile(self, start: int, stop: int) -> Part:
        """Return rows start to stop, of this dtype."""
        part = self.design.tile(start, stop)
        if part.rows.size:
            part = self.design.copy_rows(np.arange(start, stop)).tile(0, stop - start)
        return part._replace(X=np.ascontiguousarray(part.X, np.float64) - self.pivot)

    def copy_rows(self, rows: NDArray[np.intp]) -> Recentred:
        """Return some rows as a design of their own."""
        return Recentred(self.design.copy_rows(rows), self.pivot)

    def levels(self) -> Iterator[NDArray[np.integer[Any]]]:
        """Yield the level of every row, (n,), for each category."""
        return self.design.levels()

    def by_rows(self) -> Recentred:
        """Return the same rows with tiles whose sparse entries are stored by rows."""
        return Recentred(self.design.by_rows(), self.pivot)

    def check_differences(self, suspects: NDArray[np.bool_]) -> None:
        """Raise ValueError for a column among these (d,) that looks constant but is not."""
        self.design.check_differences(suspects)

    def linear_predictor(self, coef: Floats, intercept: Floats) -> Floats:
        """Compute ``(X − pivot) @ coef.T + intercept``; a ValueError names NaN or infinity."""
        d = self.shape[1]
        order = np.arange(d) if self.order is None else self.order
        if len(self.pivot) < d and self.origin is not None:
            return self.design.linear_predictor(coef, intercept - coef @ self.origin[order])
        z, names = np.empty((self.shape[0], len(coef))), coef_names(self.features, d)
        for start, stop in tile_ranges(self):
            tile = self.tile(start, stop).X[:, order]
            check_finite_tile(tile, start, names)
            z[start:stop] = tile @ coef.T + intercept
        return z


class Selected(Design):
    """Some columns of a design; tiles are copies. Sparse entries have to be stored by rows.

    Parameters
    ----------
    design : Design
    columns : ndarray of int
        Ascending, in the order of tiles, in which they stay.
    """

    def __init__(self, design: Design, columns: NDArray[np.intp]) -> None:
        super().__init__((design.shape[0], len(columns)))
        self.design = design
        self.dtype, self.row_bytes, self.tile_bytes = design.dtype, design.row_bytes, COPY_BYTES
        dense = design.tile(0, 1).X.shape[1]
        self.dense, sparse = columns[columns < dense], columns[columns >= dense] - dense
        self.place = np.full(design.shape[1] - dense, -1, np.int32)
        self.place[sparse] = np.arange(len(sparse))

    @property
    def block_rows(self) -> int:
        """Rows of a block, as of all columns."""
        return self.design.block_rows

    def tile(self, start: int, stop: int) -> Part:
        """Return rows start to stop, of this dtype."""
        part = self.design.tile(start, stop)
        if part.rows.size:
            part = self.design.copy_rows(np.arange(start, stop)).tile(0, stop - start)
        X = np.ascontiguousarray(part.X[:, self.dense])
        if not isinstance(part.entries, SparseRows):
            return Part(X)
        begins, columns, values, distinct = part.entries
        first, last = int(begins[0]), int(begins[-1])
        place = self.place[columns[first:last]]
        kept = place >= 0
        counts = np.append(0, np.cumsum(kept))[np.asarray(begins, np.intp) - first]
        return Part(X, entries=SparseRows(counts, place[kept], values[first:last][kept], distinct))

    def copy_rows(self, rows: NDArray[np.intp]) -> Selected:
        """Return some rows as a design of their own."""
        other = copy(self)
        other.shape, other.design = (len(rows), self.shape[1]), self.design.copy_rows(rows)
        return other

    def by_rows(self) -> Selected:
        """Return the design itself."""
        return self

    def linear_predictor(self, coef: Floats, intercept: Floats) -> Floats:
        """Compute ``X @ coef.T + intercept``, (n, k), by coefficients that are 0 in all other columns."""
        d, dense = self.design.shape[1], self.design.shape[1] - len(self.place)
        whole = np.zeros((len(coef), d))
        chosen = np.append(self.dense, dense + np.flatnonzero(self.place >= 0))
        whole[:, chosen] = coef
        order = self.design.order
        return self.design.linear_predictor(whole if order is None else whole[:, order], intercept)


def rows_per_block(shape: tuple[int, int], row_bytes: float) -> int:
    """Return the rows of a block: about `BLOCK_BYTES` of X, more where sums would take too much; a multiple of 64."""
    n, d = shape
    rows = BLOCK_BYTES // max(1.0, row_bytes)
    if row_bytes < 8 * d:
        rows = max(rows, min(SPARSE_BYTES_PER_SUM * 8 * d // max(1.0, row_bytes), -(-n // MIN_BLOCKS)))
    return max(MIN_BLOCK_ROWS, int(rows) & ~63)


def tile_ranges(design: Design, tile_bytes: int = COPY_BYTES, block_rows: int = 1) -> Iterator[tuple[int, int]]:
    """Yield first rows, and rows after the last, of tiles of whole blocks.

    Tiles are small by default, as NumPy's functions make temporary arrays of a tile's size.
    """
    n = design.shape[0]
    tile_rows = max(1, min(VIEW_ROWS, int(tile_bytes // max(1.0, design.row_bytes))) // block_rows) * block_rows
    for start in range(0, n, tile_rows):
        yield start, min(start + tile_rows, n)


def dense_rows(design: Design, rows: NDArray[np.intp]) -> Floats:
    """Return some rows (rows, d) as an array of float64, columns in the caller's order."""
    if not len(rows):
        return np.empty((0, design.shape[1]))
    taken = design.copy_rows(rows)
    part = taken.tile(0, len(rows))
    if part.entries is None and taken.order is None and not part.rows.size:
        return part.X.astype(np.float64)
    d = taken.shape[1]
    return taken.linear_predictor(np.eye(d), np.zeros(d))


def tile_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return float32 if it holds every value of a real dtype, otherwise float64."""
    exact = np.result_type(dtype, np.float32)
    return exact if exact == np.float32 else np.dtype(np.float64)


def as_design(X: Any) -> Array:
    """Return an array as a design, without a copy; a ValueError says what was found, and what is allowed."""
    array = as_array("X", X)
    if array.ndim != 2:
        raise ValueError(f"X has {array.ndim} dimensions, shape {array.shape}; (rows, features) is needed")
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"X has dtype {array.dtype}; real numbers are needed. Text is read from the columns of a table"
        )
    return Array(array)


def check_finite(design: Design) -> None:
    """Raise ValueError naming row and column of the first NaN or infinity in X, if there is one."""
    design.linear_predictor(np.zeros((1, design.shape[1])), np.zeros(1))


def check_finite_tile(tile: NDArray[Any], start: int, names: Sequence[str], first_column: int = 0) -> None:
    """Raise ValueError naming row and column of the first NaN or infinity in a block that starts at row ``start``."""
    if np.isfinite(tile).all():
        return
    row, column = (int(index) for index in np.argwhere(~np.isfinite(tile))[0])
    more = " (missing='drop' or 'impute' does)" if np.isnan(tile[row, column]) else ""
    raise ValueError(
        f"X contains {name_value(tile[row, column])} in row {start + row}, column {first_column + column} "
        f"({names[column]}); drop such rows or fill them in{more}"
    )
