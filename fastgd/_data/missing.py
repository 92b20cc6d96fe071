"""Rows and values that are missing: left out, or filled in by the column's mean, a level of its own for categories.

Nothing is filled in in memory: a table's tiles have the mean where the column has NaN, and a column that is 1 there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.columns import take_rows
from fastgd._data.design import Array, Design, check_finite_tile, tile_ranges
from fastgd._data.schema import MISSING, Feature, coef_names
from fastgd._data.sparse import CompressedSparse
from fastgd._data.tables import Table, as_features, check_coef_names
from fastgd._typing import Floats
from fastgd._utils.validation import Values, as_array, missing_mask, stretches


def incomplete_rows(design: Design, *beside: Any) -> NDArray[np.bool_]:
    """Return a mask (n,) of the rows in which features, or what is beside them, lack a value, or are NaN."""
    gaps = np.zeros(design.shape[0], bool)
    if isinstance(design, Table):
        for column in design.columns:
            gaps |= column.gaps()
    elif isinstance(design, Array):
        for start, stop in tile_ranges(design):
            gaps[start:stop] = np.isnan(design.tile(start, stop).X).any(axis=1)
    elif isinstance(design, CompressedSparse):
        gaps[design.X.tocoo().row[np.isnan(design.X.data)]] = True
    for values in beside:
        if values is not None:
            gaps |= missing_mask(np.ravel(as_array("y", values))).reshape(len(gaps), -1).any(axis=1)
    return gaps


class Complete(NamedTuple):
    """What is left of samples once incomplete rows are left out: also which rows these are, and how many are not.

    ``rows`` is None if all are left.
    """

    design: Design
    y: Any
    weight: Any
    groups: Any
    rows: NDArray[np.intp] | None
    dropped: int


def complete_rows(design: Design, y: Any, weight: Any, groups: Any = None, *, levels_known: bool = False) -> Complete:
    """Return the rows in which nothing is missing: where they lie, or copied if they are few.

    Levels that occur only in other rows are forgotten, unless ``levels_known``.
    """
    for name, values in (("y", y), ("sample_weight", weight), ("clusters", groups)):
        if values is not None and len(values) != design.shape[0]:
            raise ValueError(f"{name} has {len(values)} rows; X has {design.shape[0]}")
    gaps = incomplete_rows(design, y, weight, groups)
    dropped = int(np.count_nonzero(gaps))
    if not dropped:
        return Complete(design, y, weight, groups, None, 0)
    kept = np.flatnonzero(~gaps)
    _check_kept(design, kept, y, weight)
    if isinstance(design, Table) and not levels_known:
        design = design.recoded([_occurring(column.feature, column.values, kept) for column in design.columns])
    weight, groups = (None if each is None else _rows_of(each, kept) for each in (weight, groups))
    return Complete(design.take(kept), _rows_of(y, kept), weight, groups, kept, dropped)


def _check_kept(design: Design, kept: NDArray[np.intp], y: Any, weight: Any) -> None:
    """Raise ValueError for what is not finite or negative in some rows, by their numbers before others are left out."""
    if isinstance(design, Table):
        for number, column in enumerate(design.columns):
            if column.feature.levels is None:
                check_no_infinity(column.values, column.feature.name, number, kept)
    elif isinstance(design, Array):
        names = coef_names(design.features, design.shape[1])
        for start, stop in tile_ranges(design):
            tile = design.tile(start, stop).X
            rows = np.flatnonzero(np.isinf(tile).any(axis=1)) + start
            for row in rows[np.isin(rows, kept)]:
                check_finite_tile(tile[row - start : row - start + 1], row, names)
    for name, values in (("y", y), ("sample_weight", weight)):
        array = np.empty(0) if values is None else as_array(name, values)[kept]
        if array.dtype.kind == "f" and array.ndim == 1:
            bad = ~np.isfinite(array) | ((array < 0.0) if name == "sample_weight" else False)
            if bad.any():
                row = int(np.argmax(bad))
                found = "infinity" if np.isinf(array[row]) else f"{array[row]}, which is below 0,"
                raise ValueError(f"{name} contains {found} in row {kept[row]}; drop such rows or correct them")


def check_no_infinity(values: Values, name: str, number: int, kept: NDArray[np.intp] | None = None) -> None:
    """Raise ValueError for infinity in a column of numbers, in any row or in some, by the number of its row."""
    start = 0
    for part in stretches(values):
        infinite = np.isinf(part)
        if infinite.any():
            rows = start + np.flatnonzero(infinite)
            rows = rows if kept is None else rows[np.isin(rows, kept)]
            if len(rows):
                raise ValueError(
                    f"X contains infinity in row {rows[0]}, column {number} ({name}); drop such rows or fill them in"
                )
        start += len(part)


def drop_incomplete(
    X: Any, y: NDArray[Any], weight: Any, categorical: str | Sequence[str]
) -> tuple[Any, NDArray[Any], Any, int]:
    """Return the rows in which nothing is missing, copied if they are not all, and how many others there are."""
    gaps = incomplete_rows(as_features(X, categorical, missing="drop"), y, weight)
    if not gaps.any():
        return X, y, weight, 0
    kept = np.flatnonzero(~gaps)
    rows = _rows_of(y, kept), None if weight is None else _rows_of(weight, kept)
    return take_rows(X, ~gaps), *rows, len(gaps) - len(kept)


def _rows_of(values: Any, rows: NDArray[np.intp]) -> NDArray[Any]:
    """Return some targets or weights; numbers that stood as objects beside missing ones are numbers again."""
    taken = as_array("y", values)[rows]
    numeric = taken.dtype.kind == "O" and not any(isinstance(value, str) for value in taken.ravel())
    return np.array(taken.tolist()) if numeric else taken


def _occurring(feature: Feature, codes: Any, rows: NDArray[np.intp]) -> Feature:
    """Return a category with the levels that occur in some rows."""
    if feature.levels is None:
        return feature
    counts = np.bincount(codes[rows], minlength=len(feature.levels))
    levels = zip(feature.levels, counts, strict=True)
    return feature._replace(levels=tuple(level for level, count in levels if count))


def count_values(table: Table, weight: Floats) -> Floats:
    """Return for each column, (columns, 3): rows with a value, the sum of the values if they are numbers, other rows.

    Rows of weight 0 do not count. A ValueError names the first infinity.
    """
    counts = np.zeros((len(table.columns), 3))
    counted = weight > 0.0 if weight.size else np.ones(table.shape[0], bool)
    for number, (own, column) in enumerate(zip(counts, table.columns, strict=True)):
        gaps = column.gaps()
        own[0], own[2] = np.count_nonzero(counted & ~gaps), np.count_nonzero(counted & gaps)
        if column.feature.levels is None:
            pairs = zip(stretches(column.values), stretches(counted & ~gaps), strict=True)
            with np.errstate(invalid="ignore"):
                own[1] = sum(float(part[mask].sum(dtype=np.float64)) for part, mask in pairs)
            if not np.isfinite(own[1]):
                check_no_infinity(column.values, column.feature.name, number)
    return counts


def filled(features: Sequence[Feature], counts: Floats) -> tuple[Feature, ...]:
    """Return features that have something to stand for missing values, given `count_values` of all rows.

    Raises
    ------
    ValueError
        For a column that has no value at all, for a level that is called like the missing ones, and for two
        coefficients of the same name.
    """
    found = tuple(_filled(feature, *own) for feature, own in zip(features, counts.tolist(), strict=True))
    check_coef_names(found)
    return found


def _filled(feature: Feature, values: float, total: float, gaps: float) -> Feature:
    if not values:
        raise ValueError(f"X: column {feature.name} has no value in any row; leave it out")
    if feature.levels is None:
        return feature._replace(fill=total / values, missing=gaps > 0)
    if not gaps:
        return feature
    if MISSING in feature.levels:
        raise ValueError(
            f"X: column {feature.name} has a level called {MISSING!r}, and rows without a value, whose level is called "
            "so, too; rename that level"
        )
    return feature._replace(levels=(*feature.levels, MISSING), missing=True)
