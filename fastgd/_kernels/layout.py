"""How samples lie in memory when compiled code reads them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._typing import Floats

EVERY = np.empty(0, np.intp)
"""The row numbers that mean all rows."""


class SparseRows(NamedTuple):
    """Entries of sparse columns, row by row, in any order.

    Attributes
    ----------
    begins : ndarray of int (n + 1,)
        Entries of row i are at ``begins[i]`` to ``begins[i + 1]``.
    columns, values : ndarray
        The column and the value of each entry.
    distinct : bool
        Whether no two entries of a row are in the same column. Otherwise such entries count together.
    """

    begins: NDArray[np.integer[Any]]
    columns: NDArray[np.integer[Any]]
    values: NDArray[Any]
    distinct: bool


class SparseColumns(NamedTuple):
    """Entries of sparse columns, column by column, rows ascending.

    Attributes
    ----------
    begins : ndarray of int (blocks + 1, d)
        Entries of column j in the rows of block b are at ``begins[b, j]`` to ``begins[b + 1, j]``.
    rows, values : ndarray
        The row and the value of each entry.
    block_rows : int
        Rows of a block.
    first_row : int
        The number of the first row.
    """

    begins: NDArray[np.integer[Any]]
    rows: NDArray[np.integer[Any]]
    values: NDArray[Any]
    block_rows: int
    first_row: int


class Part(NamedTuple):
    """Features of n samples.

    Attributes
    ----------
    X : ndarray of shape (·, dense columns), float64 or float32
    rows : ndarray of int (n,)
        Which rows of X, and of the sparse columns, they are; empty for all.
    entries : SparseRows, SparseColumns or None
        Sparse columns, which follow those of X.
    """

    X: NDArray[Any]
    rows: NDArray[np.intp] = EVERY
    entries: SparseRows | SparseColumns | None = None


class Tile(NamedTuple):
    """n samples as compiled passes take them.

    Attributes
    ----------
    X, rows, entries
        As in `Part`.
    y : ndarray of shape (n,) or (targets, n), float64
    weight : ndarray of shape (n,), float64
        Empty for all ones.
    """

    X: NDArray[Any]
    y: Floats
    weight: Floats
    rows: NDArray[np.intp] = EVERY
    entries: SparseRows | SparseColumns | None = None


class Members(NamedTuple):
    """Which products of sparse columns are added up: members' with all columns that have a slot, and squares.

    Attributes
    ----------
    slots : ndarray of int32 (columns,)
        The number of a column's row of products: members first, then others; -1 for columns that have none.
    size : int
        How many members there are.
    rows : int
        How many columns have a slot.
    """

    slots: NDArray[np.int32]
    size: int
    rows: int

    @classmethod
    def all(cls, columns: int) -> Members:
        """Return what gives the products of all columns with each other."""
        return cls(np.arange(columns, dtype=np.int32), columns, columns)
