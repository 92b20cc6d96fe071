"""Columns of any table, read in one way: arrays, series of a frame, dictionaries of Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgd._utils.validation import as_array, find_missing, is_missing_value, stretches

if TYPE_CHECKING:
    import narwhals as nw

NUMBERS, TEXT, OTHER = "numbers", "text", "other"
_KINDS = {
    **dict.fromkeys(("Boolean", "Float16", "Float32", "Float64"), NUMBERS),
    **dict.fromkeys([f"{sign}{bits}" for sign in ("Int", "UInt") for bits in (8, 16, 32, 64)], NUMBERS),
    **dict.fromkeys(("String", "Categorical", "Enum"), TEXT),
}


UNSEEN = -1
"""The code of a level that the model was not fitted on: it adds nothing to a prediction."""


class Pieces:
    """A column that lies in several arrays, one after the other, as Arrow's often do."""

    def __init__(self, arrays: Sequence[NDArray[Any]]) -> None:
        self.arrays = arrays
        self.ends = np.cumsum([len(array) for array in arrays])
        self.dtype = arrays[0].dtype

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.ends[-1])

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> NDArray[Any]:
        """Return some rows; for a slice within one array, a view."""
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            first, last = np.searchsorted(self.ends, [start, max(start, stop - 1)], side="right")
            parts = []
            for array, end in zip(self.arrays[first : last + 1], self.ends[first : last + 1], strict=True):
                before = end - len(array)
                parts.append(array[max(0, start - before) : stop - before])
            return parts[0] if len(parts) == 1 else np.concatenate(parts)
        which = np.searchsorted(self.ends, rows, side="right")
        order = np.argsort(which, kind="stable")  # one gather per piece, however many there are
        numbers, starts = np.unique(which[order], return_index=True)
        taken = np.empty(len(rows), self.dtype)
        for number, (start, stop) in zip(numbers, pairwise([*starts, len(rows)]), strict=True):
            array, own = self.arrays[number], order[start:stop]
            taken[own] = array[rows[own] - (self.ends[number] - len(array))]
        return taken


class ArrayColumn:
    """A column as a NumPy array: numbers, NumPy's text, or Python objects."""

    ordered = False
    """Whether levels have an order of their own."""

    def __init__(self, values: NDArray[Any] | Pieces) -> None:
        self.values = values

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.values)

    @cached_property
    def kind(self) -> str:
        """`NUMBERS`, `TEXT` or `OTHER`; objects are text if every one is."""
        if self.values.dtype.kind in "biuf":
            return NUMBERS
        if self.values.dtype.kind == "O":
            try:
                values = self.distinct
            except TypeError:  # lists and the like
                return OTHER
            return TEXT if all(isinstance(value, str) or is_missing_value(value) for value in values) else OTHER
        return TEXT if self.values.dtype.kind in "UT" else OTHER

    def describe(self) -> str:
        """Return the dtype for messages; for objects, the types of the values."""
        if self.values.dtype.kind != "O":
            return str(self.values.dtype)
        return "objects: " + ", ".join(sorted({type(value).__name__ for value in self.values[:]}))

    def missing(self, *, nan: bool) -> tuple[int, int]:
        """Return the number of missing values and the row of the first; NaN among numbers only counts if ``nan``."""
        return find_missing(self.values) if nan or self.kind != NUMBERS else (0, 0)

    @cached_property
    def distinct(self) -> Iterable[Any]:
        """The values that occur, once each."""
        return set(chain.from_iterable(part.tolist() for part in stretches(self.values)))

    def encode(self, codes: dict[Any, int]) -> Iterator[NDArray[Any]]:
        """Yield the codes of the values, a stretch of rows at a time."""
        for part in stretches(self.values):
            yield np.fromiter(map(codes.__getitem__, part.tolist()), np.int32, len(part))


class SeriesColumn:
    """A column of a frame, which may be stored in several chunks."""

    def __init__(self, series: nw.Series[Any]) -> None:
        self.series = series
        self.dtype = type(series.dtype).__name__

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.series)

    @property
    def kind(self) -> str:
        """`NUMBERS`, `TEXT` or `OTHER`."""
        return _KINDS.get(self.dtype, OTHER)

    def describe(self) -> str:
        """Return the dtype for messages, as the frame's library names it."""
        native = self.series.to_native()
        return str(getattr(native, "dtype", getattr(native, "type", self.dtype)))

    @cached_property
    def values(self) -> NDArray[Any] | Pieces:
        """The numbers, without a copy; only booleans stored as bits are expanded to bytes."""
        native = self.series.to_native()
        if hasattr(getattr(native, "dtype", None), "pyarrow_dtype"):  # pandas, backed by pyarrow
            native = native.array.__arrow_array__()
        if hasattr(native, "get_chunks"):  # polars
            arrays = [chunk.to_numpy() for chunk in native.get_chunks()]
        elif hasattr(native, "chunks"):  # pyarrow
            arrays = [chunk.to_numpy(zero_copy_only=False) for chunk in native.chunks]
        else:
            arrays = [self.series.to_numpy()]
        arrays = [array for array in arrays if len(array)] or [np.empty(0)]
        return arrays[0] if len(arrays) == 1 else Pieces(arrays)

    def missing(self, *, nan: bool) -> tuple[int, int]:
        """Return the number of nulls and the row of the first; NaN among numbers only counts if ``nan``."""
        if nan and self.kind == NUMBERS:
            return find_missing(self.values)
        count = int(self.series.null_count())
        return count, int(self.series.is_null().arg_true()[0]) if count else 0

    @cached_property
    def distinct(self) -> Iterable[Any]:
        """The values that occur, once each, in their own order if they have one."""
        found = self.series.unique().to_list()
        order = {level: place for place, level in enumerate(getattr(self.series.dtype, "categories", ()))}
        return sorted(found, key=order.__getitem__) if order else found

    @property
    def ordered(self) -> bool:
        """Whether levels have an order of their own, as those of polars' Enum."""
        return self.dtype == "Enum"

    def encode(self, codes: dict[Any, int]) -> Iterator[NDArray[Any]]:
        """Yield the codes of the values, a stretch of rows at a time."""
        native = self.series.to_native()
        if hasattr(getattr(native, "array", None), "codes"):  # a Categorical of pandas
            yield _look_up(native.array.categories.tolist(), native.array.codes, codes)
            return
        if self.dtype == "String" and hasattr(getattr(native, "array", None), "__arrow_array__"):
            native = native.array.__arrow_array__()
        if self.dtype == "String" and hasattr(native, "dictionary_encode"):  # Arrow, of which pandas' text is, too
            for part in stretches(native):
                for chunk in getattr(part, "chunks", [part]):
                    encoded = chunk.dictionary_encode()
                    yield _look_up(encoded.dictionary.to_pylist(), np.asarray(encoded.indices), codes)
            return
        for part in stretches(self.series):
            if self.dtype == "String":
                part = part.cast(part.dtype)  # pyarrow can't look up its string_view
            yield part.replace_strict(codes).to_numpy()


class DictionaryColumn(SeriesColumn):
    """A column that Arrow stores dictionary-encoded."""

    def describe(self) -> str:
        """Return the type of the values for messages."""
        return str(self.series.to_native().type.value_type)

    @cached_property
    def distinct(self) -> Iterable[Any]:
        """The values that occur, once each: a dictionary may have more."""
        found: dict[Any, None] = {}
        for chunk in self.series.to_native().chunks:
            numbers = np.asarray(chunk.indices.drop_null())
            counts = np.bincount(numbers, minlength=len(chunk.dictionary))
            values = chunk.dictionary.to_pylist()
            found |= {value: None for value, count in zip(values, counts, strict=True) if count}
        return found

    def encode(self, codes: dict[Any, int]) -> Iterator[NDArray[Any]]:
        """Yield the codes of the values, a chunk at a time."""
        for chunk in self.series.to_native().chunks:
            yield _look_up(chunk.dictionary.to_pylist(), np.asarray(chunk.indices), codes)


def _look_up(values: Sequence[Any], numbers: NDArray[np.integer[Any]], codes: dict[Any, int]) -> NDArray[np.int32]:
    """Return the codes of values that are given by their numbers in a list."""
    own = np.array([codes.get(value, UNSEEN) for value in values], np.int32)
    return own[numbers] if len(own) else own


def is_frame(X: Any) -> bool:
    """Return whether something is a DataFrame of any library: by its type, as a lazy one would start work if asked."""
    return any(hasattr(type(X), name) for name in ("column_names", "columns"))


def is_collection(X: Any) -> bool:
    """Return whether Dask would compute something: by its type, without an import."""
    return any(base.__module__.partition(".")[0] == "dask" for base in type(X).__mro__)


def table_columns(X: Any) -> dict[str, ArrayColumn | SeriesColumn] | None:
    """Return the columns of a table by their names, None for anything else."""
    if isinstance(X, dict) and not hasattr(X, "tocsr"):  # as a sparse matrix by keys has
        return dict(
            zip(unique_names(X), (ArrayColumn(_vector(name, values)) for name, values in X.items()), strict=True)
        )
    if not is_frame(X):
        return None
    try:
        import narwhals as nw
    except ImportError:
        raise ImportError("reading DataFrames needs narwhals: pip install 'fastgd[tables]'") from None
    try:
        frame = nw.from_native(X, pass_through=True)
    except nw.exceptions.DuplicateError:
        # narwhals' message has several lines.
        unique_names(X.column_names if hasattr(X, "column_names") else X.columns)
        raise
    if isinstance(frame, nw.LazyFrame):
        raise ValueError("X is a lazy table; read it into memory first, by X.collect() or the like")
    if not isinstance(frame, nw.DataFrame):
        if not hasattr(X, "__arrow_c_stream__"):
            return None
        frame = nw.from_arrow(X, backend="pyarrow")
    return dict(zip(unique_names(frame.columns), map(_column, frame.iter_columns()), strict=True))


def unique_names(names: Iterable[Any]) -> list[str]:
    """Return column names as text; a ValueError if two are the same."""
    texts = [str(name) for name in names]
    if len(set(texts)) < len(texts):
        twice = sorted({text for text in texts if texts.count(text) > 1})
        raise ValueError(f"X has several columns of the same name: {', '.join(twice)}")
    return texts


def _vector(name: Any, values: Any) -> NDArray[Any]:
    array = as_array(f"X: column {name}", values)
    if array.ndim != 1:
        raise ValueError(f"X: column {name} has shape {array.shape}; one value per row is needed")
    return array


def _column(series: nw.Series[Any]) -> ArrayColumn | SeriesColumn:
    """Return a frame's column, as an array if it is one, as most of pandas' are."""
    native = series.to_native()
    if isinstance(getattr(native, "dtype", None), np.dtype):
        return ArrayColumn(series.to_numpy())
    return DictionaryColumn(series) if hasattr(getattr(native, "type", None), "index_type") else SeriesColumn(series)
