"""What a caller gives as X, as a design: tables by their columns, anything else as an array.

A table's numbers stay where they lie and are read by slices, in their own dtypes. Text and other categories become one
small integer per row, found by the table's own hashing; what is made of them is up to the tile.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.columns import (
    NUMBERS,
    TEXT,
    UNSEEN,
    ArrayColumn,
    SeriesColumn,
    as_one_array,
    column_labels,
    has_fast_arrays,
    stored_index,
    table_columns,
)
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
from fastgd._data.schema import Feature, check_categorical
from fastgd._data.sparse import Rows, as_sparse, concat_rows
from fastgd._kernels.layout import Part, SparseRows
from fastgd._typing import Floats
from fastgd._utils.validation import (
    FILL_IN,
    STRETCH_ROWS,
    Values,
    check_no_missing,
    check_one_type,
    find_missing,
    is_missing_value,
    stretches,
)

_WHOLE = re.compile(r"^(-?\d+)\.0*$")
"""A whole number with a point, and the same without."""
NARROW = 8
"""Numeric columns below which a copy is faster to read by rows."""


def as_features(
    X: Any,
    categorical: str | Sequence[str] = (),
    *,
    drop_first: bool = True,
    features: Sequence[Feature] | None = None,
    unseen: str = "error",
    missing: str = "error",
    only: Sequence[str] | None = None,
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
    missing : {"error", "drop", "impute"}
        "error" refuses nulls where features have nothing to stand for them. Otherwise they become NaN and `UNSEEN`, for
        `fastgd._data.missing` to deal with; with "impute" arrays become tables.
    only : sequence of str, optional
        The columns to take; None for all but those of `stored_index`.

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
    check_categorical(categorical)
    numbers = _as_numbers(X, features, only) if categorical in ("auto", ()) and missing != "impute" else None
    if numbers is not None:
        return numbers
    table = table_columns(X)
    if table is None:
        return _as_array(X, categorical, features, missing)
    if features is None:
        features = _features(X, table, categorical, drop_first, only)
    else:
        _check_known("X: the model was fitted on", [feature.name for feature in features], table)
    return _as_table(features, [table[feature.name] for feature in features], unseen, gaps_allowed=missing != "error")


def _as_numbers(X: Any, features: Sequence[Feature] | None, only: Sequence[str] | None) -> Array | None:
    """Return a small frame of numbers without gaps as one array; None for anything else, which takes longer."""
    if not has_fast_arrays(X) or any(each.width != 1 or each.levels is not None for each in features or ()):
        return None
    left_out = stored_index(X) if features is None and only is None else set()
    wanted = only if features is None else [feature.name for feature in features]
    if left_out:
        wanted = [name for name in map(str, column_labels(X)) if name not in left_out]
    whole = as_one_array(X, wanted)
    if whole is None or np.isnan(whole[1].sum()):
        return None
    return Array(whole[1], tuple(map(Feature, whole[0])) if features is None else tuple(features))


def _as_array(X: Any, categorical: str | Sequence[str], features: Sequence[Feature] | None, missing: str) -> Design:
    """Return what has no named columns as a design: a table by position if gaps in it are to be filled."""
    if categorical not in ("auto", ()) and len(categorical):
        raise ValueError("categorical: X has no named columns; give a table (DataFrame, pyarrow Table, dict)")
    if any(feature.levels is not None for feature in features or ()):
        raise ValueError("X: the model has categorical columns; give a table with the columns' names")
    if hasattr(X, "tocsr"):
        return as_sparse(X if features is None else _spread(X, features))
    design = as_design(X)
    if missing != "impute" and all(feature.fill is None for feature in features or ()):
        return design
    if features is None:
        features = [Feature(f"x{j}") for j in range(design.shape[1])]
    if len(features) != design.shape[1]:
        raise ValueError(f"X has {design.shape[1]} features, but the model was fitted on {len(features)}")
    return _as_table(features, [ArrayColumn(column) for column in design.X.T], "error", gaps_allowed=True)


def _spread(X: Any, features: Sequence[Feature]) -> Any:
    """Return a sparse matrix with an empty column for each coefficient of what is missing, of which it has nothing."""
    widths = [feature.width for feature in features]
    if X.ndim != 2 or X.shape[1] != len(widths):
        raise ValueError(f"X has shape {X.shape}, but the model was fitted on {len(widths)} features")
    if max(widths) == 1:
        return X
    X, first = X.tocsr(), np.cumsum([0, *widths])
    return type(X)((X.data, first[X.indices], X.indptr), shape=(X.shape[0], int(first[-1])))


def _features(
    X: Any,
    table: dict[str, ArrayColumn | SeriesColumn],
    categorical: str | Sequence[str],
    drop_first: bool,
    only: Sequence[str] | None,
) -> list[Feature]:
    """Return the features that a table's columns are in a fit, whose levels are not known yet."""
    auto, named = categorical == "auto", () if categorical == "auto" else categorical
    names = table if only is None else only
    _check_known("categorical", named, names)
    if table and not any(map(len, table.values())):
        raise ValueError(f"X has no rows; its columns are {', '.join(table)}")
    left_out = stored_index(X) - {*named} if only is None else set()
    chosen = {name: table[name] for name in names if name not in left_out}
    encoded = {name for name, column in chosen.items() if name in named or (auto and column.kind == TEXT)}
    return [Feature(name, (), drop_first) if name in encoded else Feature(name) for name in chosen]


def _as_table(
    features: Sequence[Feature], chosen: Sequence[ArrayColumn | SeriesColumn], unseen: str, *, gaps_allowed: bool
) -> Table:
    """Return columns as a table, after checks of their lengths, kinds and gaps."""
    chosen = [
        _empty_as_missing(feature, column) if gaps_allowed or feature.missing or feature.fill is not None else column
        for feature, column in zip(features, chosen, strict=True)
    ]
    lengths = {feature.name: len(column) for feature, column in zip(features, chosen, strict=True)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"X: columns have different lengths: {lengths}")
    _check_kinds(features, chosen)
    if not gaps_allowed:
        _check_gaps(list(zip(features, chosen, strict=True)), unseen)
    columns = [
        _encode(feature, column, unseen) if feature.levels is not None else _numbers_of(feature, column.values)
        for feature, column in zip(features, chosen, strict=True)
    ]
    check_coef_names([column.feature for column in columns])
    return Table(columns)


def _empty_as_missing(feature: Feature, column: ArrayColumn | SeriesColumn) -> ArrayColumn | SeriesColumn:
    """Return a column as it is, or if it has no value, and so no type, in these rows, as one of its feature's kind."""
    numbers = feature.levels is None
    if column.kind == NUMBERS or (column.kind == TEXT and not numbers) or not len(column):
        return column
    if column.missing(nan=True)[0] < len(column):
        return column
    return ArrayColumn(np.full(len(column), np.nan) if numbers else np.full(len(column), None, object))


def _check_gaps(pairs: Sequence[tuple[Feature, ArrayColumn | SeriesColumn]], unseen: str) -> None:
    """Raise ValueError for nulls in columns that have no value for them; NaN among numbers is found by the pass.

    Where the model fills in numbers, a category without a value is one of an unseen level.
    """
    imputes = any(feature.fill is not None or feature.missing for feature, _ in pairs)
    strict = [
        (feature, column)
        for feature, column in pairs
        if not (feature.missing or feature.fill is not None)
        and not (imputes and unseen == "zero" and feature.levels is not None)
    ]
    if any(column.missing(nan=feature.levels is not None)[0] for feature, column in strict):
        missing = {feature.name: column.missing(nan=True) for feature, column in strict}
        check_no_missing(missing, "the fit had none there, so that unseen='zero' takes them" if imputes else FILL_IN)


def _numbers_of(feature: Feature, values: Values) -> Column:
    """Return a column of numbers; if the feature fills in what is missing, it is looked whether anything is."""
    complete = feature.fill is not None and not any(np.isnan(part).any() for part in stretches(values))
    return Column(feature, values, complete=complete)


def check_coef_names(features: Sequence[Feature]) -> None:
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
    """One column of a table: real numbers, or for a categorical feature the index of each row's level.

    ``declared`` says that the caller's library, not only its text, calls it a category; ``complete``, that there is
    nothing to fill in.
    """

    feature: Feature
    values: Values
    declared: bool = False
    complete: bool = False

    def dense(self) -> list[Values]:
        """Return the dense columns of its coefficients, in order; none of a category."""
        if self.feature.levels is not None:
            return []
        fill = None if self.complete else self.feature.fill
        filled = self.values if fill is None else Filled(self.values, fill)
        return [filled, Gaps(self.values)] if self.feature.missing else [filled]

    def gaps(self) -> NDArray[np.bool_]:
        """Return a mask (n,) of the rows without a value."""
        number = self.feature.levels is None
        masks = (np.isnan(part) if number else part == UNSEEN for part in stretches(self.values))
        return np.concatenate([np.zeros(0, bool), *masks])


class Filled:
    """A column of numbers with one number in place of NaN."""

    def __init__(self, values: Values, fill: float) -> None:
        self.values, self.fill = values, fill

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.values)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Return some rows, float64."""
        part = self.values[rows]
        return np.where(np.isnan(part), np.float64(self.fill), part)


class Gaps:
    """The rows in which a column of numbers has NaN: 1 there, 0 elsewhere."""

    def __init__(self, values: Values) -> None:
        self.values = values

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.values)

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Return some rows, float64."""
        return np.asarray(np.isnan(self.values[rows]), np.float64)


class Table(Design):
    """Named columns: numbers are the dense columns of a part, categories its sparse ones, with an entry per row.

    Categories stand by their numbers of coefficients, the widest last. The value of an entry is 0 where a level has no
    coefficient: finding out whether entries are needed takes longer than adding 0.
    """

    features: tuple[Feature, ...]

    def __init__(self, columns: Sequence[Column]) -> None:
        features = tuple(column.feature for column in columns)
        widths = [feature.width for feature in features]
        super().__init__((len(columns[0].values) if columns else 0, sum(widths)))
        self.columns = list(columns)
        self.features = features
        self.numbers = [values for column in columns for values in column.dense()]
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
        for j, (feature, values, *_) in enumerate(self.codes):
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
        if self.together is not None and not self.rows_contiguous:
            return self.together[start:stop]
        if 8 * self.shape[0] * count <= COPY_BYTES:
            return self._whole[start:stop]
        return self._copied(start, stop)

    @cached_property
    def _whole(self) -> Floats:
        """The numeric columns of a small table, copied once, as that takes longer than a pass."""
        return self._copied(0, self.shape[0])

    def _copied(self, start: int, stop: int) -> Floats:
        rows, count = stop - start, len(self.numbers)
        X = np.empty((rows, count)) if self.rows_contiguous else np.empty((count, rows + 1))[:, :-1].T
        for j, values in enumerate(self.numbers):
            X[:, j] = values[start:stop]
        return X

    def copy_rows(self, rows: NDArray[np.intp]) -> Table:
        """Return some rows as a table in memory."""
        return Table([column._replace(values=column.values[rows]) for column in self.columns])

    def levels(self) -> Iterator[NDArray[np.integer[Any]]]:
        """Yield the level of every row, (n,), for each category."""
        return (column.values[:] for column in self.codes)

    def recoded(self, features: Sequence[Feature]) -> Table:
        """Return the same rows with other features: their fills, and codes for their levels, `UNSEEN` for others."""
        columns = []
        for column, feature in zip(self.columns, features, strict=True):
            own = column.feature
            if own.levels is not None and own != feature:
                numbers = _numbered(feature)
                codes = [numbers.get(level, UNSEEN) for level in own.levels]
                recode = np.array([*codes, _code_of_missing(feature)], _code_dtype(feature.levels or ()))
                column = column._replace(values=recode[column.values[:]])
            filling = feature.levels is None and own != feature
            columns.append(_numbers_of(feature, column.values) if filling else column._replace(feature=feature))
        return Table(columns)

    def linear_predictor(self, coef: Floats, intercept: Floats) -> Floats:
        """Compute ``X @ coef.T + intercept``; a ValueError names what is missing or infinite."""
        z = np.tile(intercept, (self.shape[0], 1))
        first = 0
        for number, column in enumerate(self.columns):
            feature = column.feature
            own = coef[:, first : first + feature.width].T
            if feature.levels is not None:  # a level without a column, and -1, get the zeros around
                own = np.vstack((np.zeros((int(feature.reference), len(coef))), own, np.zeros((1, len(coef)))))
            dense = column.dense()
            for start in range(0, self.shape[0], STRETCH_ROWS):
                rows = slice(start, start + STRETCH_ROWS)
                if feature.levels is not None:
                    z[rows] += own[column.values[rows]]
                for values, by in zip(dense, own, strict=False):
                    part = values[rows]
                    if not np.isfinite(part).all():
                        self._check_numbers(part, start, number)
                    z[rows] += part[:, None] * by
            first += feature.width
        return z

    def _check_numbers(self, part: NDArray[Any], start: int, number: int) -> None:
        """Raise ValueError that counts the missing numbers of all columns, or names the infinity in this part."""
        numeric = [column for column in self.columns if column.feature.fill is None]
        check_no_missing({column.feature.name: find_missing(column.values) for column in numeric})
        check_finite_tile(part[:, None], start, [self.features[number].name], number)


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
        super().__init__(X, features)
        self.sliced, self.tile_bytes = True, VIEW_BYTES

    def copy_rows(self, rows: NDArray[np.intp]) -> Packed:
        """Return some rows, a row after the other."""
        return Packed(np.ascontiguousarray(self.X[rows]), self.features)


def pack_columns(design: Design) -> Design:
    """Return a table of numbers copied into one array, so that tiles are slices; any other design as it is."""
    if not isinstance(design, Table) or any(feature.levels is not None for feature in design.features):
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
        return Table([_concatenated(column) for column in columns])
    if isinstance(first, Array):
        return Packed(np.concatenate([design.tile(0, design.shape[0]).X for design in designs]), first.features)
    return concat_rows([design for design in designs if isinstance(design, Rows)])


def _concatenated(parts: Sequence[Column]) -> Column:
    """Return the rows of several parts of a column as one."""
    values = np.concatenate([part.values[:] for part in parts])
    return parts[0]._replace(values=values, complete=all(part.complete for part in parts))


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
    if empty := [name for name, column in wrong if column.describe().lower() in ("null", "unknown")]:
        raise ValueError(f"X has columns without any value: {', '.join(empty)}; fill them in, or leave them out")
    text = any(column.kind == TEXT for _, column in wrong)
    found = ", ".join(f"{name} ({column.describe()})" for name, column in wrong)
    raise ValueError(
        f"X has columns that are {'not numbers' if text else 'neither numbers nor text'}: {found}; "
        f"{'name those of text as categorical, ' if text else ''}convert them, or leave them out"
    )


def _encode(feature: Feature, column: ArrayColumn | SeriesColumn, unseen: str) -> Column:
    """Return a column of level codes, for the feature's levels or, if it has none yet, for all that occur."""
    if isinstance(column, SeriesColumn) and column.kind == NUMBERS:
        gaps = column.missing(nan=False)[0]  # whole numbers beside nulls would become floats
        column = ArrayColumn(np.array(column.series.to_list(), object) if gaps else column.values)
    texts = {value: _level(value) for value in column.distinct if not is_missing_value(value)}
    check_one_type(f"X: column {feature.name}", texts)
    found = dict.fromkeys(texts.values())  # in the order of the values, of which several may have one text
    if not feature.levels:
        feature = feature._replace(levels=tuple(found if column.ordered else sort_levels(found)))
    numbers, levels = _numbered(feature), feature.levels or ()
    if found.keys() - numbers:
        texts = _with_whole_numbers_alike(texts, numbers)
    unknown = sort_levels(set(texts.values()) - numbers.keys())
    if unknown and unseen == "error":
        raise ValueError(
            f"X: column {feature.name} has levels that the model was not fitted on: {', '.join(unknown[:5])}; "
            f"known are {', '.join(levels[:20])}; unseen='zero' has them add nothing"
        )
    codes = {value: numbers.get(text, UNSEEN) for value, text in texts.items()}
    encoded, first = np.empty(len(column), _code_dtype(levels)), 0
    for part in column.encode(codes, _code_of_missing(feature)):
        encoded[first : first + len(part)] = part
        first += len(part)
    return Column(feature, encoded, column.declared)


def _with_whole_numbers_alike(texts: dict[Any, str], known: Collection[str]) -> dict[Any, str]:
    """Return the level of each value; a whole number with a point, as CSV may have it, is the one without."""
    alike: dict[str, list[str]] = {}
    for level in known:
        alike.setdefault(_WHOLE.sub(r"\1", level), []).append(level)
    found = {text: alike.get(_WHOLE.sub(r"\1", text), []) for text in texts.values() if text not in known}
    return {value: found[text][0] if len(found.get(text, ())) == 1 else text for value, text in texts.items()}


def _numbered(feature: Feature) -> dict[str, int]:
    """Return the code of each level that values can have."""
    levels = feature.levels or ()
    return {level: number for number, level in enumerate(levels[:-1] if feature.missing else levels)}


def _code_of_missing(feature: Feature) -> int:
    """Return the code of rows without a value."""
    return len(feature.levels or ()) - 1 if feature.missing else UNSEEN


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
