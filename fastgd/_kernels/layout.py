"""How samples lie in memory when compiled code reads them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._typing import Floats

EVERY = np.empty(0, np.intp)


class SparseRows(NamedTuple):
    """Entries of sparse columns, row by row, in any order: those of row i are at ``begins[i]`` to ``begins[i + 1]``.

    ``distinct``: no two of a row are in the same column. Otherwise such entries count together.
    """

    begins: NDArray[np.integer[Any]]
    columns: NDArray[np.integer[Any]]
    values: NDArray[Any]
    distinct: bool


class SparseColumns(NamedTuple):
    """Entries of sparse columns, column by column, rows ascending from ``first_row``.

    Those of column j in the rows of block b are at ``begins[b, j]`` to ``begins[b + 1, j]``.
    """

    begins: NDArray[np.integer[Any]]
    rows: NDArray[np.integer[Any]]
    values: NDArray[Any]
    block_rows: int
    first_row: int


class Part(NamedTuple):
    """Features of n samples: the rows of X, or if ``rows`` is not empty, those rows of it, (n,); and sparse columns.

    X is float64 or float32. ``rows`` are rows of the sparse columns, too, which follow those of X.
    """

    X: NDArray[Any]
    rows: NDArray[np.intp] = EVERY
    entries: SparseRows | SparseColumns | None = None


class Tile(NamedTuple):
    """n samples: a `Part`; y (n,) or (targets, n) float64, weight (n,) float64 or empty for all ones."""

    X: NDArray[Any]
    y: Floats
    weight: Floats
    rows: NDArray[np.intp] = EVERY
    entries: SparseRows | SparseColumns | None = None
