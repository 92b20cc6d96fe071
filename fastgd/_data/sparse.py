"""Sparse matrices, as SciPy has them: read where they lie, by rows (CSR) or by columns (CSC). Nothing is made dense.

SciPy itself is not imported: who gives a sparse matrix has it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data.design import COPY_BYTES, VIEW_BYTES, Design, tile_dtype
from fastgd._kernels.layout import Part, SparseColumns, SparseRows
from fastgd._typing import Floats
from fastgd._utils.validation import name_value

CHUNK_ENTRIES = 1 << 20
"""Entries that are read together where temporary arrays are made of them."""
_LIKELY = 32
"""With so many entries for each column, few are empty."""
NARROW = 1e-5
"""A range of values below this share of their size is too narrow for sums about 0."""


class CompressedSparse(Design):
    """Base class of CSR and CSC designs."""

    def __init__(self, X: Any, copied: str | None = None) -> None:
        super().__init__(X.shape)
        self.copied = copied
        self.X = X
        self.dtype = tile_dtype(X.data.dtype)
        self.row_bytes = max(1.0, X.nnz * (self.dtype.itemsize + X.indices.itemsize) / max(1, X.shape[0]))
        self.tile_bytes = VIEW_BYTES if X.data.dtype == self.dtype else COPY_BYTES

    def linear_predictor(self, coef: Floats, intercept: Floats) -> Floats:
        """Compute ``X @ coef.T + intercept``; a ValueError names NaN or infinity."""
        finite = np.isfinite(self.X.data)
        if not finite.all():
            entries = self.X.tocoo()
            k = int(np.argmin(finite))
            row, column = int(entries.row[k]), int(entries.col[k])
            raise ValueError(
                f"X contains {name_value(entries.data[k])} in row {row}, column {column} (x{column}); "
                "drop such rows or fill them in"
            )
        return np.asarray(self.X @ coef.T + intercept)

    @abstractmethod
    def present_columns(self, times: int) -> NDArray[np.intp]:
        """Return the columns that have entries; all without a look if these can hardly be d / times."""

    @abstractmethod
    def with_columns(self, present: NDArray[np.intp]) -> Design:
        """Return the same rows with those columns alone that have entries, without a copy."""

    @abstractmethod
    def columns_of(self, first: int, last: int) -> NDArray[np.integer[Any]]:
        """Return the column of each of the entries first to last."""

    def check_differences(self, suspects: NDArray[np.bool_]) -> None:
        """Raise a ValueError for the first column that looks constant but is not, as sums are taken about 0."""
        if not suspects.any():
            return
        n, d = self.shape
        low, high, count = np.full(d, np.inf), np.full(d, -np.inf), np.zeros(d, np.intp)
        for first in range(0, self.X.nnz, CHUNK_ENTRIES):
            last = min(first + CHUNK_ENTRIES, self.X.nnz)
            columns = self.columns_of(first, last)
            chosen = suspects[columns]
            columns, values = columns[chosen], self.X.data[first:last][chosen]
            np.minimum.at(low, columns, values)
            np.maximum.at(high, columns, values)
            count += np.bincount(columns, minlength=d)
        full = suspects & (count == n)
        narrow = np.flatnonzero(full & (low < high) & (high - low <= NARROW * np.maximum(abs(low), abs(high))))
        if narrow.size:
            j = int(narrow[0])
            raise ValueError(
                f"X: the values of column {j} (x{j}) are {low[j]:.10g} to {high[j]:.10g}, too close for a sparse "
                "column; subtract a number from it, or give a dense array"
            )


class Rows(CompressedSparse):
    """A CSR matrix or array: indices of any size and order; entries of the same place count together."""

    def __init__(self, X: Any, copied: str | None = None) -> None:
        super().__init__(X, copied)
        self.distinct = bool(X.has_canonical_format)

    def tile(self, start: int, stop: int) -> Part:
        """Return rows start to stop, of this dtype."""
        X = self.X
        begins, columns, values = X.indptr[start : stop + 1], X.indices, X.data
        if self.tile_bytes == COPY_BYTES:
            entries = slice(begins[0], begins[-1])
            begins, columns, values = begins - begins[0], columns[entries], values[entries].astype(self.dtype)
        return Part(np.empty((stop - start, 0), self.dtype), entries=SparseRows(begins, columns, values, self.distinct))

    def copy_rows(self, rows: NDArray[np.intp]) -> Rows:
        """Return some rows as a design of their own."""
        return Rows(self.X[rows])

    def present_columns(self, times: int) -> NDArray[np.intp]:
        """Return the columns that have entries; all without a look if these can hardly be d / times."""
        d = self.shape[1]
        if self.X.nnz > _LIKELY * d / times:
            return np.arange(d)
        present = np.zeros(d, bool)
        for first in range(0, self.X.nnz, CHUNK_ENTRIES):
            present[self.X.indices[first : min(first + CHUNK_ENTRIES, self.X.nnz)]] = True
        return np.flatnonzero(present)

    def with_columns(self, present: NDArray[np.intp]) -> Design:
        """Return the same rows with those columns alone that have entries, without a copy."""
        return _Present(self, present)

    def columns_of(self, first: int, last: int) -> NDArray[np.integer[Any]]:
        """Return the column of each of the entries first to last."""
        return np.asarray(self.X.indices[first:last])


class _Present(Design):
    """A CSR matrix without its empty columns; the numbers of columns are replaced tile by tile."""

    def __init__(self, rows: Rows, present: NDArray[np.intp]) -> None:
        super().__init__((rows.shape[0], len(present)))
        self.rows, self.present = rows, present
        self.dtype, self.row_bytes, self.tile_bytes = rows.dtype, rows.row_bytes, COPY_BYTES
        self.places = np.zeros(rows.shape[1], np.int32)
        self.places[present] = np.arange(len(present), dtype=np.int32)

    def tile(self, start: int, stop: int) -> Part:
        """Return rows start to stop, of this dtype."""
        X = self.rows.X
        begins = X.indptr[start : stop + 1]
        entries = slice(begins[0], begins[-1])
        columns, values = self.places[X.indices[entries]], X.data[entries].astype(self.dtype, copy=False)
        return Part(
            np.empty((stop - start, 0), self.dtype),
            entries=SparseRows(begins - begins[0], columns, values, self.rows.distinct),
        )

    def copy_rows(self, rows: NDArray[np.intp]) -> Rows:
        """Return some rows as a design of their own."""
        taken = self.rows.X[rows]
        arrays = taken.data, self.places[taken.indices], taken.indptr
        return Rows(type(taken)(arrays, shape=(len(rows), self.shape[1])))

    def linear_predictor(self, coef: Floats, intercept: Floats) -> Floats:
        """Compute ``X @ coef.T + intercept``; a ValueError names NaN or infinity."""
        whole = np.zeros((len(coef), self.rows.shape[1]))
        whole[:, self.present] = coef
        return self.rows.linear_predictor(whole, intercept)

    def check_differences(self, suspects: NDArray[np.bool_]) -> None:
        """Raise ValueError for a column among these that looks constant but is not."""
        whole = np.zeros(self.rows.shape[1], bool)
        whole[self.present] = suspects
        self.rows.check_differences(whole)


class Columns(CompressedSparse):
    """A CSC matrix or array, whose rows ascend in every column."""

    row_access = False

    def __init__(self, X: Any, copied: str | None = None) -> None:
        super().__init__(X, copied)
        self.begins = _block_begins(X, self.block_rows)

    def tile(self, start: int, stop: int) -> Part:
        """Return rows start to stop, which are whole blocks, of this dtype."""
        X, block_rows = self.X, self.block_rows
        begins = self.begins[start // block_rows : -(-stop // block_rows) + 1]
        entries = SparseColumns(begins, X.indices, X.data, block_rows, start)
        return Part(np.empty((stop - start, 0), self.dtype), entries=entries)

    def copy_rows(self, rows: NDArray[np.intp]) -> Rows:
        """Return some rows as a design of their own."""
        return Rows(self.X[rows].tocsr())

    def present_columns(self, times: int) -> NDArray[np.intp]:  # noqa: ARG002
        """Return the columns that have entries."""
        return np.flatnonzero(np.diff(self.X.indptr))

    def with_columns(self, present: NDArray[np.intp]) -> Design:
        """Return the same rows with those columns alone that have entries, without a copy."""
        X = self.X
        arrays = X.data, X.indices, X.indptr[np.append(present, X.shape[1])]
        return Columns(type(X)(arrays, shape=(X.shape[0], len(present))))

    def columns_of(self, first: int, last: int) -> NDArray[np.integer[Any]]:
        """Return the column of each of the entries first to last."""
        return np.searchsorted(self.X.indptr, np.arange(first, last), side="right") - 1

    def take(self, rows: NDArray[np.intp]) -> Rows:
        """Return a copy of some rows: finding them takes a pass over all columns, so it is done once."""
        return self.copy_rows(rows)

    def by_rows(self) -> _ColumnsByRows:
        """Return the same rows as a design whose tiles store entries by rows."""
        return _ColumnsByRows(self)


class _ColumnsByRows(Design):
    """A CSC matrix with tiles by rows, each a sixteenth of it, as finding rows takes a pass over all columns."""

    def __init__(self, columns: Columns) -> None:
        super().__init__(columns.shape)
        self.columns = columns
        self.dtype, self.row_bytes = columns.dtype, columns.row_bytes
        self.tile_bytes = max(COPY_BYTES, int(columns.shape[0] * columns.row_bytes) // 16)

    def tile(self, start: int, stop: int) -> Part:
        """Return rows start to stop, of this dtype."""
        return Rows(self.columns.X[start:stop].tocsr()).tile(0, stop - start)

    def copy_rows(self, rows: NDArray[np.intp]) -> Rows:
        """Return some rows as a design of their own."""
        return self.columns.copy_rows(rows)

    def linear_predictor(self, coef: Floats, intercept: Floats) -> Floats:
        """Compute ``X @ coef.T + intercept``; a ValueError names NaN or infinity."""
        return self.columns.linear_predictor(coef, intercept)


def concat_rows(designs: Sequence[Rows]) -> Rows:
    """Return a CSR matrix of the rows of several."""
    parts = [design.X for design in designs]
    ends = np.cumsum([len(X.indices) for X in parts])
    begins = [X.indptr[:-1] + end - len(X.indices) for X, end in zip(parts, ends, strict=True)]
    arrays = (
        np.concatenate([X.data for X in parts]),
        np.concatenate([X.indices for X in parts]),
        np.concatenate([*begins, ends[-1:]]),
    )
    return Rows(type(parts[0])(arrays, shape=(sum(X.shape[0] for X in parts), parts[0].shape[1])))


def as_sparse(X: Any) -> Rows | Columns:
    """Return a sparse matrix as rows or columns, without a copy or with the reason for it in ``copied``.

    Raises
    ------
    ValueError
        If it has other than two dimensions, or is not of real numbers.
    """
    if X.ndim != 2:
        raise ValueError(f"X has {X.ndim} dimensions, shape {X.shape}; (rows, features) is needed")
    if X.dtype.kind not in "biuf":
        raise ValueError(f"X has dtype {X.dtype}; real numbers are needed")
    copied = None
    if X.format not in ("csr", "csc"):
        X, copied = X.tocsr(), f"X is sparse in {X.format.upper()} format and was copied to CSR"
    _check_indices(X)
    arrays = (X.data, X.indices, X.indptr)
    if not all(a.flags.c_contiguous and a.flags.aligned and a.dtype == _native(a.dtype) for a in arrays):
        plain = tuple(np.require(array, _native(array.dtype), ["C", "ALIGNED"]) for array in arrays)
        copied = "X's arrays are strided, unaligned, unsigned or big-endian and were copied"
        X = type(X)(plain, shape=X.shape)
    if X.format == "csr":
        return Rows(X, copied)
    if X.data.dtype != tile_dtype(X.data.dtype):
        copied = f"X is CSC with {X.dtype} entries, which were copied to {tile_dtype(X.data.dtype)}"
        X = X.astype(tile_dtype(X.data.dtype))
    if not X.has_sorted_indices:
        X, copied = X.sorted_indices(), "X is CSC with rows out of order and was copied to sort them"
    return Columns(X, copied)


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype that compiled code reads: native byte order, signed indices."""
    return np.dtype(np.int64) if dtype == np.uint64 else dtype.newbyteorder("=")


def _check_indices(X: Any) -> None:
    """Raise ValueError if an index is outside of X, because compiled code, SciPy's too, does not check them."""
    ends = X.indptr
    lines, within = X.shape if X.format == "csr" else X.shape[::-1]
    entries = min(len(X.indices), len(X.data))
    for name in ("indptr", "indices"):
        if getattr(X, name).dtype.kind not in "iu":
            raise ValueError(
                f"X is a damaged {X.format.upper()} matrix: {name} has dtype {getattr(X, name).dtype}; int32 or int64 "
                "is needed"
            )
    if len(ends) != lines + 1:
        raise ValueError(
            f"X is a damaged {X.format.upper()} matrix: indptr has length {len(ends)}; {lines + 1} is needed"
        )
    if ends[0] != 0 or ends[-1] > entries or (ends[1:] < ends[:-1]).any():
        raise ValueError(f"X is a damaged {X.format.upper()} matrix: indptr does not ascend from 0 to {entries}")
    used = X.indices[: ends[-1]]
    if used.size and not (used.min() >= 0 and used.max() < within):
        raise ValueError(
            f"X is a damaged {X.format.upper()} matrix: indices are {used.min()} to {used.max()}; "
            f"0 to {within - 1} are allowed"
        )


def _block_begins(X: Any, block_rows: int) -> NDArray[np.int64]:
    """Return where in each column of a CSC matrix each block's rows begin, and the last one's end: (blocks + 1, d)."""
    n, d = X.shape
    blocks = -(-n // block_rows)
    counts = np.zeros((blocks + 1, d), np.int64)
    first = 0
    while first < d:  # some columns at a time, at least one
        last = max(first + 1, int(np.searchsorted(X.indptr, X.indptr[first] + CHUNK_ENTRIES, side="right")) - 1)
        columns = np.repeat(np.arange(last - first), np.diff(X.indptr[first : last + 1]))
        of_block = X.indices[X.indptr[first] : X.indptr[last]] // block_rows
        found = np.bincount(of_block * (last - first) + columns, minlength=blocks * (last - first))
        counts[1:, first:last] = found.reshape(blocks, -1)
        first = last
    return np.asarray(X.indptr[:-1] + np.cumsum(counts, axis=0))
