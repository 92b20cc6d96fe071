"""Where samples live. A source folds a function over its tiles, in a fixed order.

A **tile** is a run of rows as the compiled passes want them: dense columns, float64 or float32 in any order, and
then sparse ones. Arrays and sparse matrices that already look so are only sliced; everything else (integers, tables
with categories) is converted one tile at a time, so there is never a copy of X. Tile borders fall on block borders
and partial sums are added block by block, so the size of a tile changes no bit of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, reduce
from mmap import mmap
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastgd._kernels.layout import Part, Tile
from fastgd._typing import Floats
from fastgd._utils.validation import as_array, name_value

T = TypeVar("T")

BLOCK_BYTES = 1 << 20  # of X per block: few enough partial sums, enough blocks for many threads
LEAST_BLOCK_ROWS = 64  # bounds the partial sums to 1/64 of a float64 tile when rows are long,
PARTIAL_SHARE = 150  # and to one in so many bytes when they are sparse, but for
LEAST_BLOCKS = 8  # for threads to share
VIEW_BYTES = 1 << 28  # of X per tile that is only sliced: ten milliseconds, so Ctrl-C is never far
TURN_BYTES = 1 << 26  # if rows are turned around in the cache: every block of a tile has its own room for that
VIEW_ROWS = 1 << 20  # at most: labels and integers of y are converted tile by tile, and stay in cache for the pass
LEAST_TILE = 16  # blocks at least, for threads to share, where a visit is so much work that tiles are made smaller
COPY_BYTES = 1 << 22  # of X per tile that is converted: it stays in cache until the pass has read it


class Feature(NamedTuple):
    """A column by its name; a categorical one with its levels, of which the first may be the reference."""

    name: str
    levels: tuple[str, ...] | None = None
    reference: bool = True
    """Whether the first level has no coefficient."""

    @property
    def width(self) -> int:
        """How many coefficients this column has."""
        return 1 if self.levels is None else len(self.levels) - self.reference

    def coef_names(self) -> list[str]:
        """Name the coefficients this column has: ``distance``, or ``carrier[AA]``, ``carrier[UA]``, ..."""
        if self.levels is None:
            return [self.name]
        return [f"{self.name}[{level}]" for level in self.levels[self.reference :]]


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


class Source(Protocol):
    """Samples with targets and weights, wherever they live.

    Whatever is asked of them is a sum over **parts**, samples in memory: in this process, one after the other (a
    stream), or each in its own (a cluster). A source elsewhere implements `reduce` and `sample`; the rest is small.

    Attributes
    ----------
    shape : tuple of int
        (n, d); n is what has been seen so far if nothing has read all samples yet.
    row_bytes : float
        What a row takes in memory, as it is read.
    sample_rows : int
        The most rows that `sample` can give.
    readings : float
        Spent to get to know the samples, before anything was asked of them.
    fault : BaseException, or None
        What ended the readings, if whoever holds the samples is gone.
    order, features, copied
        As for `Matrix`.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    row_bytes: float
    sample_rows: int
    readings: float = 0.0
    fault: BaseException | None = None
    order: NDArray[np.intp] | None = None
    features: tuple[Feature, ...] | None = None
    copied: str | None = None

    @property
    def known(self) -> InMemory:
        """Samples that can be looked at without a reading."""

    def reduce(self, of_part: Callable[[InMemory], T], combine: Callable[[list[T]], T]) -> T:
        """Put together what a function gives for the parts, each in memory, in a fixed order: one reading.

        ``combine`` makes one of several that follow each other. The functions keep nothing from one part to the next,
        so parts can be far apart.
        """

    def add_up(self, of_part: Callable[[InMemory], Floats]) -> Floats:
        """Add up what a function gives for the parts: one reading."""
        return self.reduce(of_part, _sum)

    def fold(self, visit: Callable[[Tile, int], Floats], work: float = 1.0) -> Floats:
        """Call ``visit(tile, block_rows)`` on every tile and add up the rows of sums that it gives, in order.

        A visit that takes ``work`` times as long as that of a pass has smaller tiles.
        """
        return self.add_up(lambda part: part.fold(visit, work))

    def total_weight(self) -> float:
        """Give the sum of the weights, without reading X."""

    def lightest(self) -> float:
        """Give the smallest positive weight, without reading X."""

    def pivot(self) -> tuple[Floats, Floats]:
        """Give the dense features and the targets of a sample that no other, or not many, outweigh."""

    def sample(self, size: int, rng: np.random.Generator) -> InMemory:
        """Draw samples of positive weight at random; all of them, or `sample_rows`, if there are no more."""

    def check_finite(self) -> None:
        """Find the first NaN or infinity in X, and say where it stands: a ValueError."""

    def check_differences(self, suspects: NDArray[np.bool_]) -> None:
        """Refuse columns (d,) that sums show as constant but that are not: a ValueError."""


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


class InMemory(Source):
    """Samples in memory: a matrix, and the arrays of targets, (n,) or (n, targets), and weights.

    ``look`` is called before every tile; it may raise an exception. Where X lies on disk and is only mapped into
    memory, ``sample_rows`` says how many rows a sample may have: it is copied, because rows here and there cost as much
    to read as all of them.
    """

    def __init__(
        self,
        matrix: Matrix,
        y: NDArray[Any],
        weight: Floats | None = None,
        *,
        look: Callable[[], object] = bool,
        sample_rows: int | None = None,
    ) -> None:
        self.matrix = matrix
        self.shape = matrix.shape
        self.dtype = matrix.dtype
        self.row_bytes = matrix.row_bytes
        self.y = y
        self.weight = np.empty(0) if weight is None else weight
        self.look = look
        self.mapped = sample_rows is not None
        self.sample_rows = self.shape[0] if sample_rows is None else sample_rows
        self.order, self.features, self.copied = matrix.order, matrix.features, matrix.copied

    @property
    def known(self) -> InMemory:
        """These samples; not an attribute, as what refers to itself stays in memory for a while."""
        return self

    def reduce(self, of_part: Callable[[InMemory], T], combine: Callable[[list[T]], T]) -> T:  # noqa: ARG002
        """Give what a function gives for these samples, which are one part."""
        return of_part(self)

    def lightest(self) -> float:
        """Give the smallest positive weight."""
        return float(self.weight[self.weight > 0.0].min()) if self.weight.size else 1.0

    def fold(self, visit: Callable[[Tile, int], Floats], work: float = 1.0) -> Floats:
        """Call ``visit(tile, block_rows)`` on every tile and add up the rows of sums that it gives, in order.

        A visit that takes ``work`` times as long as that of a pass has smaller tiles.
        """
        block_rows = self.matrix.block_rows
        total: Floats | None = None
        least = min(self.matrix.tile_bytes, LEAST_TILE * block_rows * self.row_bytes)
        for start, stop in spans(self.matrix, int(max(self.matrix.tile_bytes / max(1.0, work), least)), block_rows):
            self.look()
            X, rows, entries = self.matrix.place(start, stop)
            y = _as_targets(self.y[start:stop])
            partial = visit(Tile(X, y, self.weight[start:stop], rows, entries), block_rows)
            if total is not None:
                partial[0] += total  # carried into the first row, so that tiles leave no trace in the rounding
            total = np.add.reduce(partial, axis=0)
        assert total is not None  # noqa: S101  there is at least one row
        return total

    def total_weight(self) -> float:
        """Give the sum of the weights, without reading X."""
        return float(self.weight.sum()) if self.weight.size else float(self.shape[0])

    def pivot(self) -> tuple[Floats, Floats]:
        """Give the dense features and the targets of a sample that no other outweighs."""
        row = int(np.argmax(self.weight)) if self.weight.size else 0
        X, rows, _ = self.matrix.place(row, row + 1)
        return X[rows[0] if rows.size else 0].astype(np.float64), np.atleast_1d(self.y[row]).astype(np.float64)

    @cached_property
    def _targets(self) -> Floats:
        """The targets as tiles have them, kept: short runs come too often to convert them each time."""
        return _as_targets(self.y)

    def runs(self, starts: NDArray[np.intp], run_rows: int) -> tuple[Tile, NDArray[np.intp]]:
        """Give a tile that holds runs of rows, and where in it they start: X as it lies, or gathered and converted.

        ``starts`` ascend; only the run at the end of the data may be shorter than ``run_rows``.
        """
        self.look()
        n = self.shape[0]
        if self.matrix.tile_bytes != COPY_BYTES:
            X, rows, entries = self.matrix.place(0, n)
            return Tile(X, self._targets, self.weight, rows, entries), starts
        index = (starts[:, None] + np.arange(run_rows)).ravel()
        index = index[index < n]
        X, rows, entries = self.matrix.take(index).place(0, len(index))
        weight = self.weight[index] if self.weight.size else self.weight
        tile = Tile(X, np.ascontiguousarray(self._targets[..., index]), weight, rows, entries)
        return tile, np.arange(len(starts)) * run_rows

    def check_finite(self) -> None:
        """Find the first NaN or infinity in X, and say where it stands: a ValueError."""
        check_finite(self.matrix)

    def check_differences(self, suspects: NDArray[np.bool_]) -> None:
        """Refuse columns (d,) that sums show as constant but that are not: a ValueError."""
        self.matrix.check_differences(suspects)

    def rows(self, rows: NDArray[np.intp]) -> InMemory:
        """Give some of the samples."""
        if self.mapped:
            return self.picked(rows)
        weight = self.weight[rows] if self.weight.size else None
        return InMemory(self.matrix.some(rows), self.y[rows], weight, look=self.look)

    def picked(self, rows: NDArray[np.intp]) -> InMemory:
        """Copy some of the samples."""
        weight = self.weight[rows] if self.weight.size else None
        return InMemory(self.matrix.take(rows), self.y[rows], weight, look=self.look)

    def by_rows(self) -> InMemory:
        """Give the same samples so that tiles have rows."""
        return InMemory(self.matrix.by_rows(), self.y, self.weight, look=self.look)

    def sample(self, size: int, rng: np.random.Generator) -> InMemory:
        """Draw samples of positive weight at random; all of them if there are no more than ``size``."""
        rows = np.flatnonzero(self.weight) if self.weight.size else None
        n = self.shape[0] if rows is None else len(rows)
        size = min(size, self.sample_rows)
        if size >= n:
            return self if rows is None else self.rows(rows)
        drawn = stratified_rows(n, size, rng)
        return self.rows(drawn if rows is None else rows[drawn])


def _sum(several: list[Floats]) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):  # who asked for the sums looks at them
        return reduce(np.add, several)


def _as_targets(y: NDArray[Any]) -> Floats:
    """Give targets (n,) or (n, targets) as tiles have them: float64, one row for each kind of target."""
    return np.require(y.T, np.float64, ["C", "ALIGNED"])


def stratified_rows(n: int, size: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw one row at random from each of ``size`` equal stretches of n rows: without repetition, in order, in O(size).

    A sorted file is sampled evenly along its order.
    """
    rows = rng.random(size)
    rows += np.arange(size)
    rows *= n / size
    return rows.astype(np.intp)


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


def is_mapped(X: Any) -> bool:
    """Tell whether an array lies in a file that is mapped into memory."""
    while isinstance(X, np.ndarray):
        X = X.base
    return isinstance(X, mmap)


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


def coef_names(features: Sequence[Feature] | None, d: int) -> list[str]:
    """Name the coefficients: by the table's columns and levels, or x0, x1, ... for an array."""
    if features is None:
        return [f"x{j}" for j in range(d)]
    return [name for feature in features for name in feature.coef_names()]
