"""What a caller gives as X, as a design: tables by their columns, anything else as an array.

A table's numbers stay where they lie and are read by slices, in their own dtypes. Text and other categories become one
small integer per row, found by the table's own hashing; what is made of them is up to the tile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.columns import NUMBERS, TEXT, UNSEEN, ArrayColumn, SeriesColumn, table_columns
from fastgd._data.design import (
    COPY_BYTES,
    VIEW_BYTES,
    Array,
    Design,
    Recentred,
    as_design,
    check_finite_tile,
    tile_dtype,
)
from fastgd._data.schema import Feature
from fastgd._data.sparse import Rows, as_sparse, concat_rows
from fastgd._kernels.layout import Part, SparseRows
from fastgd._typing import Floats
from fastgd._utils.validation import STRETCH_ROWS, Values, check_no_missing, check_one_type, find_missing

NARROW = 8
"""Numeric columns below which a copy is faster to read by rows."""


def as_features(
    X: Any,
    categorical: str | Sequence[str] = (),
    *,
    drop_first: bool = True,
    features: Sequence[Feature] | None = None,
    unseen: str = "error",
) -> Design:
    """Return X as rows of features, without a copy of its numbers.

    Parameters
    ----------
    X : array-like of shape (n, d), or a table
        A table is anything with named columns: a dict of arrays; a pandas, polars or other DataFrame that narwhals
        knows, a pyarrow Table, or an object with the Arrow PyCapsule interface (extra: tables).
    categorical : "auto" or sequence of str
        The table's columns to take as categories; ``"auto"``: those of text and of a categorical type. Levels are the
        values' texts, a whole number's without a point. They are sorted, as numbers if all are; a pandas Categorical
        that is ordered, and a polars Enum, keep their own order. Levels that do not occur are left out.
    drop_first : bool
        Whether the first level of a category is the reference, without a coefficient.
    features : sequence of Feature, optional
        What the columns were when the model was fitted: they are taken by name, in that order, with those levels.
        Other columns are ignored; ``categorical`` and ``drop_first``, too.
    unseen : {"error", "zero"}
        What to do with levels that ``features`` does not have: refuse them, or have them add nothing.

    Returns
    -------
    Design

    Raises
    ------
    ValueError
        Naming the columns or the shape that was found, and what is allowed.
    ImportError
        If X is a DataFrame and narwhals is not installed.
    """
    check_unseen(unseen)
    auto = isinstance(categorical, str) and categorical == "auto"
    named = () if auto else categorical
    if not isinstance(named, (list, tuple)) or not all(isinstance(name, str) for name in named):
        raise TypeError(f"categorical={categorical!r}; 'auto' or a list of column names is needed")
    table = table_columns(X)
    if table is None:
        if named:
            raise ValueError("categorical: X has no named columns; give a table (DataFrame, pyarrow Table, dict)")
        if features is not None and any(feature.levels is not None for feature in features):
            raise ValueError("X: the model has categorical columns; give a table with the columns' names")
        return as_sparse(X) if hasattr(X, "tocsr") else as_design(X)
    if features is None:
        _check_known("categorical", named, table)
        encoded = {name for name, column in table.items() if name in named or (auto and column.kind == TEXT)}
        features = [Feature(name, (), drop_first) if name in encoded else Feature(name) for name in table]
        if table and not any(map(len, table.values())):
            raise ValueError(f"X has no rows; its columns are {', '.join(table)}")
    else:
        _check_known("X: the model was fitted on", [feature.name for feature in features], table)
    chosen = [table[feature.name] for feature in features]
    lengths = {feature.name: len(column) for feature, column in zip(features, chosen, strict=True)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"X: columns have different lengths: {lengths}")
    _check_kinds(features, chosen)
    pairs = list(zip(features, chosen, strict=True))
    if any(column.missing(nan=feature.levels is not None)[0] for feature, column in pairs):
        check_no_missing({feature.name: column.missing(nan=True) for feature, column in pairs})
    columns = [
        Column(feature, column.values) if feature.levels is None else _encode(feature, column, unseen)
        for feature, column in pairs
    ]
    _check_coef_names([column.feature for column in columns])
    return Table(columns)


def _check_coef_names(features: Sequence[Feature]) -> None:
    """Raise ValueError if two columns have a coefficient of the same name, such as ``c[y]`` and level y of c."""
    owners: dict[str, str] = {}
    for feature in features:
        for name in feature.coef_names():
            if name in owners:
                raise ValueError(
                    f"X: columns {owners[name]} and {feature.name} both have a coefficient {name}; rename one of them"
                )
            owners[name] = feature.name


def check_unseen(unseen: str) -> None:
    """Raise ValueError if ``unseen`` is neither "error" nor "zero"."""
    if unseen not in ("error", "zero"):
        raise ValueError(f"unseen={unseen!r}; choose 'error' or 'zero'")


class Column(NamedTuple):
    """One column of a table: real numbers, or for a categorical feature the index of each row's level."""

    feature: Feature
    values: Values


class Table(Design):
    """Named columns: numbers are the dense columns of a part, categories its sparse ones, with an entry per row.

    Categories stand by their numbers of coefficients, the widest last. The value of an entry is 0 where a level has no
    coefficient: finding out whether entries are needed takes longer than adding 0.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        features = tuple(column.feature for column in columns)
        widths = [feature.width for feature in features]
        super().__init__((len(columns[0].values) if columns else 0, sum(widths)))
        self.columns = list(columns)
        self.features = features
        self.numbers = [values for feature, values in columns if feature.levels is None]
        categorical = [column for column in columns if column.feature.levels is not None and column.feature.width]
        self.codes = sorted(categorical, key=lambda column: column.feature.width)
        self.dtype = np.dtype(np.float64)
        self.row_bytes = 8.0 * len(self.numbers) + 12.0 * len(self.codes)
        self.tile_bytes = COPY_BYTES
        self.together = _side_by_side(self.numbers)
        small = not self.codes and self.shape[0] * self.row_bytes <= COPY_BYTES
        self.rows_contiguous = small or len(self.numbers) < NARROW
        if self.codes:
            keys = [0 if feature.levels is None else feature.width for feature in features]
            self.order = np.argsort(np.argsort(np.repeat(keys, widths), kind="stable"))

    def tile(self, start: int, stop: int) -> Part:
        """Return rows start to stop, float64."""
        rows, X = slice(start, stop), self._numbers(start, stop)
        if not self.codes:
            return Part(X)
        columns, ones = np.empty((stop - start, len(self.codes)), np.int32), np.empty((stop - start, len(self.codes)))
        first = 0
        for j, (feature, values) in enumerate(self.codes):
            codes, least = values[rows], int(feature.reference)
            column = np.maximum(codes, least).astype(np.int32)  # a cast of its own is faster than one on the way
            column += first - least
            columns[:, j] = column
            ones[:, j] = (codes >= least).astype(np.float64)
            first += feature.width
        begins = np.arange(0, columns.size + 1, columns.shape[1])
        entries = SparseRows(begins, columns.ravel(), ones.ravel(), distinct=True)
        return Part(X, entries=entries)

    def _numbers(self, start: int, stop: int) -> Floats:
        """Return the numeric columns of some rows, where they lie or copied, columns contiguous.

        Few columns are copied to rows that are contiguous, because that is faster, and small tables, because no kernel
        has to be compiled for them. Others are no contiguous array, as one kernel reads them all.
        """
        count = len(self.numbers)
        if self.rows_contiguous:
            X = np.empty((stop - start, count))
        elif self.together is not None:
            return self.together[start:stop]
        else:
            X = np.empty((count, stop - start + 1))[:, :-1].T
        for j, values in enumerate(self.numbers):
            X[:, j] = values[start:stop]
        return X

    def copy_rows(self, rows: NDArray[np.intp]) -> Table:
        """Return some rows as a table in memory."""
        return Table([Column(feature, values[rows]) for feature, values in self.columns])

    def levels(self) -> Iterator[NDArray[np.integer[Any]]]:
        """Yield the level of every row, (n,), for each category."""
        return (values[:] for _, values in self.codes)

    def recoded(self, features: Sequence[Feature]) -> Table:
        """Return the same rows with codes for other levels, which include all of these."""
        columns = []
        for (own, values), feature in zip(self.columns, features, strict=True):
            if own.levels is not None and own.levels != feature.levels:
                numbers = {level: number for number, level in enumerate(feature.levels or ())}
                codes = np.array([numbers[level] for level in own.levels], _code_dtype(numbers))
                values = codes[values[:]]
            columns.append(Column(feature, values))
        return Table(columns)

    def linear_predictor(self, coef: Floats, intercept: Floats) -> Floats:
        """Compute ``X @ coef.T + intercept``; a ValueError names what is missing or infinite."""
        z = np.tile(intercept, (self.shape[0], 1))
        first = 0
        for number, (feature, values) in enumerate(self.columns):
            own = coef[:, first : first + feature.width].T
            if feature.levels is not None:  # a level without a column, and -1, get the zeros around
                own = np.vstack((np.zeros((int(feature.reference), len(coef))), own, np.zeros((1, len(coef)))))
            for start in range(0, self.shape[0], STRETCH_ROWS):
                part = values[start : start + STRETCH_ROWS]
                if feature.levels is not None:
                    z[start : start + STRETCH_ROWS] += own[part]
                    continue
                if not np.isfinite(part).all():
                    check_no_missing({feature.name: find_missing(values) for feature, values in self.columns})
                    check_finite_tile(part[:, None], start, [feature.name], number)
                z[start : start + STRETCH_ROWS] += part[:, None] * own
            first += feature.width
        return z


def _side_by_side(columns: Sequence[Values]) -> Floats | None:
    """Return columns as one array without a copy, if they are contiguous float64 and equally far apart in memory."""
    arrays = [column for column in columns if isinstance(column, np.ndarray) and column.dtype == np.float64]
    if len(arrays) < max(2, len(columns)) or len(arrays[0]) < 2:
        return None
    starts = np.array([array.__array_interface__["data"][0] for array in arrays])
    steps, base = np.diff(starts), arrays[0].base
    alike = all(array.flags.aligned and array.strides == (8,) and array.base is base for array in arrays)
    if not alike or base is None or steps[0] < arrays[0].nbytes or (steps != steps[0]).any():
        return None
    shape, strides = (len(arrays[0]), len(arrays)), (8, int(steps[0]))
    return np.lib.stride_tricks.as_strided(arrays[0], shape, strides, writeable=False)


class Packed(Array):
    """Columns of numbers, put side by side into one array, a column after the other, as compiled code reads them."""

    def __init__(self, X: NDArray[Any], features: tuple[Feature, ...] | None) -> None:
        super().__init__(X)
        self.sliced, self.tile_bytes = True, VIEW_BYTES
        self.features = features

    def copy_rows(self, rows: NDArray[np.intp]) -> Packed:
        """Return some rows, a row after the other."""
        return Packed(np.ascontiguousarray(self.X[rows]), self.features)


def pack_columns(design: Design) -> Design:
    """Return a table of numbers copied into one array, so that tiles are slices; any other design as it is."""
    if not isinstance(design, Table) or not design.numbers or len(design.numbers) < len(design.columns):
        return design
    dtype = tile_dtype(np.result_type(*(values[:0].dtype for values in design.numbers)))
    X = np.empty(design.shape, dtype, order="F")
    for j, values in enumerate(design.numbers):
        X[:, j] = values[:]
    return Packed(X, design.features)


def concat_designs(designs: Sequence[Design], features: Sequence[Feature] | None) -> Design:
    """Return the rows of several matrices as one: tables with levels among those of ``features``, or all alike."""
    first = designs[0]
    if isinstance(first, Recentred):
        own = [each.design for each in designs if isinstance(each, Recentred)]
        return Recentred(concat_designs(own, features), first.pivot)
    if isinstance(first, Table):
        tables = [table.recoded(features or ()).columns for table in designs if isinstance(table, Table)]
        columns = zip(*tables, strict=True)
        return Table([Column(c[0].feature, np.concatenate([each.values[:] for each in c])) for c in columns])
    if isinstance(first, Array):
        return Packed(np.concatenate([design.tile(0, design.shape[0]).X for design in designs]), first.features)
    return concat_rows([design for design in designs if isinstance(design, Rows)])


def _check_known(what: str, wanted: Iterable[str], names: Collection[str]) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ValueError(f"{what} {', '.join(missing)}: no such column; there are {', '.join(names)}")


def _check_kinds(features: Sequence[Feature], columns: Sequence[ArrayColumn | SeriesColumn]) -> None:
    """Raise one ValueError that names all columns which are not of their feature's kind."""
    wrong = [
        (feature.name, column)
        for feature, column in zip(features, columns, strict=True)
        if column.kind not in ((NUMBERS,) if feature.levels is None else (NUMBERS, TEXT))
    ]
    if not wrong:
        return
    text = any(column.kind == TEXT for _, column in wrong)
    found = ", ".join(f"{name} ({column.describe()})" for name, column in wrong)
    raise ValueError(
        f"X has columns that are {'not numbers' if text else 'neither numbers nor text'}: {found}; "
        f"{'name those of text as categorical, ' if text else ''}convert them, or leave them out"
    )


def _encode(feature: Feature, column: ArrayColumn | SeriesColumn, unseen: str) -> Column:
    """Return a column of level codes, for the feature's levels or, if it has none yet, for all that occur."""
    if isinstance(column, SeriesColumn) and column.kind == NUMBERS:
        column = ArrayColumn(column.values)
    texts = {value: _level(value) for value in column.distinct}
    check_one_type(f"X: column {feature.name}", texts)
    found = dict.fromkeys(texts.values())  # in the order of the values, of which several may have one text
    levels = feature.levels or tuple(found if column.ordered else sort_levels(found))
    numbers = {level: number for number, level in enumerate(levels)}
    unknown = sort_levels(found.keys() - numbers)
    if unknown and unseen == "error":
        raise ValueError(
            f"X: column {feature.name} has levels that the model was not fitted on: {', '.join(unknown[:5])}; "
            f"known are {', '.join(levels[:20])}; unseen='zero' has them add nothing"
        )
    codes = {value: numbers.get(text, UNSEEN) for value, text in texts.items()}
    dtype = _code_dtype(levels)
    encoded, first = np.empty(len(column), dtype), 0
    for part in column.encode(codes):
        encoded[first : first + len(part)] = part
        first += len(part)
    return Column(feature._replace(levels=levels), encoded)


def _code_dtype(levels: Collection[str]) -> np.dtype[Any]:
    return np.min_scalar_type(-len(levels) - 1)  # a byte for up to 127 levels, and `UNSEEN`


def _level(value: Any) -> str:
    """Return the name of a level: a whole number has the same one as an integer and as a float."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def sort_levels(levels: Collection[str]) -> list[str]:
    """Return levels in order: as numbers if all are numbers, otherwise as text."""
    with suppress(ValueError):
        numbers = {level: float(level) for level in levels}
        if all(map(isfinite, numbers.values())):
            return sorted(levels, key=lambda level: (numbers[level], level))
    return sorted(levels)
