"""Columns of any table, read in one way: arrays, series of a frame, dictionaries of Arrow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from importlib.util import find_spec
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgd._utils.validation import as_array, find_missing, is_missing, is_missing_value, missing_mask, stretches

if TYPE_CHECKING:
    import narwhals as nw

NUMBERS, TEXT, OTHER = "numbers", "text", "other"
_KINDS = {
    **dict.fromkeys(("Boolean", "Float16", "Float32", "Float64"), NUMBERS),
    **dict.fromkeys([f"{sign}{bits}" for sign in ("Int", "UInt") for bits in (8, 16, 32, 64)], NUMBERS),
    **dict.fromkeys(("String", "Categorical", "Enum"), TEXT),
}
SMALL_BYTES = 1 << 24
"""Bytes of a frame up to which its library may put the columns together."""

_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
"""The names that pandas gives to an index that has none."""
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
    declared = False
    """Whether the table's library says that this is a category, not just text."""

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
        """Return the dtype for messages; for objects, the types of the values, and the first text among others."""
        if self.values.dtype.kind != "O":
            return str(self.values.dtype)
        values = self.values[:]
        types = sorted({type(value).__name__ for value in values})
        first = next((row for row, value in enumerate(values) if isinstance(value, str)), None)
        example = "" if first is None else f", as {values[first]!r} in row {first}"
        return f"objects: {', '.join(types)}{example}"

    def missing(self, *, nan: bool) -> tuple[int, int]:
        """Return the number of missing values and the row of the first; NaN among numbers only counts if ``nan``."""
        return find_missing(self.values) if nan or self.kind != NUMBERS else (0, 0)

    def gaps(self) -> NDArray[np.bool_]:
        """Return a mask (n,) of the rows without a value."""
        return missing_mask(self.values)

    @cached_property
    def distinct(self) -> Iterable[Any]:
        """The values that occur, once each."""
        return set(chain.from_iterable(part.tolist() for part in stretches(self.values)))

    def encode(self, codes: dict[Any, int], none: int = UNSEEN) -> Iterator[NDArray[Any]]:
        """Yield the codes of the values, ``none`` for those that are missing, a stretch of rows at a time."""
        for part in stretches(self.values):
            yield np.fromiter((codes.get(value, none) for value in part.tolist()), np.int32, len(part))


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
        arrays = [_with_nan(array) for array in arrays if len(array)] or [np.empty(0)]
        return arrays[0] if len(arrays) == 1 else Pieces(arrays)

    def missing(self, *, nan: bool) -> tuple[int, int]:
        """Return the number of nulls and the row of the first; NaN among numbers only counts if ``nan``."""
        if nan and self.kind == NUMBERS:
            return find_missing(self.values)
        count = int(self.series.null_count())
        return count, int(self.series.is_null().arg_true()[0]) if count else 0

    def gaps(self) -> NDArray[np.bool_]:
        """Return a mask (n,) of the rows without a value, NaN among them."""
        if self.kind == NUMBERS:
            return missing_mask(self.values)
        return np.asarray(self.series.is_null().to_numpy(), bool)

    @cached_property
    def distinct(self) -> Iterable[Any]:
        """The values that occur, once each, in their own order if they have one."""
        found = self.series.unique().to_list()
        order = {level: place for place, level in enumerate(getattr(self.series.dtype, "categories", ()))}
        return sorted(found, key=lambda value: order.get(value, len(order))) if order else found

    @property
    def declared(self) -> bool:
        """Whether the table's library says that this is a category, not just text."""
        return self.dtype in ("Categorical", "Enum")

    @property
    def ordered(self) -> bool:
        """Whether levels have an order of their own, as those of polars' Enum."""
        return self.dtype == "Enum"

    def encode(self, codes: dict[Any, int], none: int = UNSEEN) -> Iterator[NDArray[Any]]:
        """Yield the codes of the values, ``none`` for those that are missing, a stretch of rows at a time."""
        native = self.series.to_native()
        if hasattr(getattr(native, "array", None), "codes"):  # a Categorical of pandas
            yield _look_up(native.array.categories.tolist(), native.array.codes, codes, none)
            return
        arrow = _as_arrow(native)
        if arrow is not None:
            for part in stretches(arrow):
                for chunk in part.chunks:
                    encoded = chunk.dictionary_encode()
                    yield _look_up(encoded.dictionary.to_pylist(), _indices(encoded), codes, none)
            return
        for part in stretches(self.series):
            yield part.replace_strict({**codes, None: none}).to_numpy()


class DictionaryColumn(SeriesColumn):
    """A column that Arrow stores dictionary-encoded, which text often is, too."""

    declared = False

    @property
    def chunks(self) -> Sequence[Any]:
        """Its chunks, each with a dictionary of its own."""
        return _as_arrow(self.series.to_native()).chunks  # type: ignore[no-any-return]

    def describe(self) -> str:
        """Return the type of the values for messages."""
        return str(self.chunks[0].type.value_type) if self.chunks else "dictionary"

    def gaps(self) -> NDArray[np.bool_]:
        """Return a mask (n,) of the rows without a value: without an index, or with one of a null."""
        masks = [np.zeros(0, bool)]
        for chunk in self.chunks:
            empty = [value is None for value in chunk.dictionary.to_pylist()]
            masks.append(np.array([*empty, True])[_indices(chunk)])
        return np.concatenate(masks)

    def missing(self, *, nan: bool) -> tuple[int, int]:  # noqa: ARG002
        """Return the number of missing values and the row of the first."""
        gaps = self.gaps()
        count = int(np.count_nonzero(gaps))
        return count, int(np.argmax(gaps)) if count else 0

    @cached_property
    def distinct(self) -> Iterable[Any]:
        """The values that occur, once each: a dictionary may have more."""
        found: dict[Any, None] = {}
        for chunk in self.chunks:
            values = [*chunk.dictionary.to_pylist(), None]
            counts = np.bincount(_indices(chunk) % len(values), minlength=len(values))
            found |= {value: None for value, count in zip(values, counts, strict=True) if count}
        return found

    def encode(self, codes: dict[Any, int], none: int = UNSEEN) -> Iterator[NDArray[Any]]:
        """Yield the codes of the values, ``none`` for those that are missing, a chunk at a time."""
        for chunk in self.chunks:
            yield _look_up(chunk.dictionary.to_pylist(), _indices(chunk), codes, none)


def _as_arrow(native: Any) -> Any:
    """Return a column that lies in Arrow's memory as a chunked array, None for any other."""
    if hasattr(getattr(native, "array", None), "__arrow_array__") and hasattr(native.dtype, "storage"):
        native = native.array.__arrow_array__()  # pandas' own text
    elif hasattr(getattr(native, "dtype", None), "pyarrow_dtype"):
        native = native.array.__arrow_array__()
    return native if hasattr(native, "chunks") and hasattr(native, "dictionary_encode") else None


def _indices(encoded: Any) -> NDArray[np.integer[Any]]:
    """Return the places of Arrow's values in their dictionary, -1 for null."""
    indices = encoded.indices.to_numpy(zero_copy_only=False)
    return np.where(np.isnan(indices), -1, indices).astype(np.int64) if encoded.null_count else np.asarray(indices)


def _look_up(
    values: Sequence[Any], numbers: NDArray[np.integer[Any]], codes: dict[Any, int], none: int
) -> NDArray[np.int32]:
    """Return the codes of values that are given by their numbers in a list, ``none`` for the number -1."""
    own = np.array([*(none if value is None else codes.get(value, UNSEEN) for value in values), none], np.int32)
    return np.asarray(own[numbers])


def _with_nan(array: NDArray[Any]) -> NDArray[Any]:
    """Return numbers or booleans of which some are missing, and so objects, as float64 with NaN."""
    if array.dtype.kind != "O":
        return array
    return np.where(is_missing(array), np.nan, array).astype(np.float64)


def is_frame(X: Any) -> bool:
    """Return whether something is a DataFrame of any library: by its type, as a lazy one would start work if asked."""
    return any(hasattr(type(X), name) for name in ("column_names", "columns"))


def is_collection(X: Any) -> bool:
    """Return whether Dask would compute something: by its type, without an import."""
    return any(base.__module__.partition(".")[0] == "dask" for base in type(X).__mro__)


def table_columns(X: Any) -> dict[str, ArrayColumn | SeriesColumn] | None:
    """Return the columns of a table by their names, None for anything else."""
    if is_array_like(X):
        return None
    if isinstance(X, dict):
        return dict(
            zip(unique_names(X), (ArrayColumn(_vector(name, values)) for name, values in X.items()), strict=True)
        )
    try:
        import narwhals as nw
    except ImportError:
        raise ImportError("reading DataFrames needs narwhals: pip install 'fastgd[tables]'") from None
    try:
        frame = nw.from_native(X, pass_through=True)
    except nw.exceptions.DuplicateError:
        # narwhals' message has several lines.
        unique_names(column_labels(X))
        raise
    if isinstance(frame, nw.LazyFrame):
        raise ValueError("X is a lazy table; read it into memory first, by X.collect() or the like")
    if not isinstance(frame, nw.DataFrame):
        if not hasattr(X, "__arrow_c_stream__"):
            return None
        frame = nw.from_arrow(X, backend="pyarrow")
    if not frame.implementation.is_pandas():
        return dict(zip(unique_names(frame.columns), map(_column, frame.iter_columns()), strict=True))
    columns = (  # most of pandas' columns are arrays, which are read faster without narwhals
        ArrayColumn(series.to_numpy())
        if isinstance(series.dtype, np.dtype)
        else _column(nw.from_native(series, series_only=True))
        for _, series in X.items()
    )
    return dict(zip(unique_names(frame.columns), columns, strict=True))


def is_array_like(X: Any) -> bool:
    """Return whether something has no named columns: neither a frame nor a dict of them, as sparse DOK matrices are."""
    return not is_frame(X) and (not isinstance(X, dict) or hasattr(X, "tocsr"))


def stored_index(X: Any) -> set[str]:
    """Return the columns that are no features unless they are asked for: pandas' index, and what has no name.

    pandas marks its index in the metadata of Arrow tables and Parquet files, and writes it to CSV without a name, which
    it reads as ``Unnamed: 0``.
    """
    marked = getattr(getattr(X, "schema", X), "pandas_metadata", None)
    marked = marked if isinstance(marked, dict) else {}
    names = () if is_array_like(X) and not hasattr(type(X), "names") else map(str, column_labels(X))
    return {
        *(name for name in marked.get("index_columns", ()) if isinstance(name, str)),
        *filter(_INDEX.fullmatch, names),
    }


def has_fast_arrays(X: Any) -> bool:
    """Return whether something is a frame in memory, of pandas or polars."""
    return type(X).__name__ == "DataFrame" and type(X).__module__.partition(".")[0] in ("pandas", "polars")


def as_one_array(X: Any, wanted: Sequence[str] | None = None) -> tuple[list[str], NDArray[Any]] | None:
    """Return the names and values (n, d) of a frame if it is small, of numbers and without nulls; otherwise None.

    Each library puts its columns together much faster than they are read one by one.

    Parameters
    ----------
    X : pandas or polars DataFrame
    wanted : sequence of str, optional
        The columns to look at, in this order; None for all.
    """
    names = [*map(str, X.columns)]
    if len(set(names)) < len(names) or (wanted is not None and not set(names) >= set(wanted)):
        return None
    if wanted is not None and [*wanted] != names:
        labels = dict(zip(names, X.columns, strict=True))
        X, names = X[[labels[name] for name in wanted]], [*wanted]
    rows, columns = X.shape
    if columns < 2 or 8 * rows * columns > SMALL_BYTES:
        return None
    kinds = set(X.dtypes)
    if type(X).__module__.startswith("pandas"):
        plain = all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in kinds)
        array = X.to_numpy(np.float64 if np.dtype(bool) in kinds else None) if plain else None
    else:
        numeric = all(dtype.is_numeric() and not dtype.is_decimal() for dtype in kinds)
        array = X.to_numpy() if numeric and not sum(X.null_count().row(0)) else None
    return (names, array) if array is not None and array.dtype.kind in "iuf" else None


def take_rows(X: Any, kept: NDArray[np.bool_]) -> Any:
    """Return some rows of an array, a sparse matrix or a table, of the same type."""
    if isinstance(X, dict) and not hasattr(X, "tocsr"):
        return {name: np.asarray(values)[kept] for name, values in X.items()}
    if not is_frame(X):
        return (X.tocsr() if hasattr(X, "tocsr") else np.asarray(X))[kept]
    import narwhals as nw

    return nw.from_native(X, eager_only=True).filter(kept.tolist()).to_native()


def make_frame(columns: dict[str, Any]) -> Any:
    """Return a table of pandas, or if that is not installed of polars or pyarrow."""
    try:
        import narwhals as nw
    except ImportError:
        raise ImportError("making DataFrames needs narwhals: pip install 'fastgd[tables]'") from None
    backend: Any = next((name for name in ("pandas", "polars", "pyarrow") if find_spec(name)), None)
    if backend is None:
        raise ImportError("a table is one of pandas, polars or pyarrow; install one of them")
    return nw.from_dict(columns, backend=backend).to_native()


def column_labels(X: Any) -> list[Any]:
    """Return the names of a table's columns as its library has them."""
    for names in ("column_names", "names", "columns"):
        if hasattr(type(X), names) and not isinstance(X, dict):
            return [*getattr(X, names)]
    return [*X]


def target_names(y: Any) -> tuple[str, ...]:
    """Return the names of the columns of y, empty if it is no frame."""
    if isinstance(y, dict) or not any(hasattr(type(y), names) for names in ("column_names", "columns")):
        return ()
    return tuple(map(str, column_labels(y)))


def check_same_index(X: Any, **beside: Any) -> None:
    """Raise ValueError if pandas objects beside X have another index, and neither is the default: rows go by position.

    Parameters
    ----------
    X : object
    **beside : object
        What goes with X row by row, by its name.
    """
    index = _own_index(X)
    for name, values in beside.items():
        other = _own_index(values)
        if index is None or other is None or len(index) != len(other) or index.equals(other):
            continue
        pairs = enumerate(zip(map(str, index), map(str, other), strict=True))
        row = next((row for row, (one, two) in pairs if one != two), None)
        if row is None:
            continue
        raise ValueError(
            f"{name} has another index than X, first in row {row}: {other[row]} where X has {index[row]}. Rows go "
            f"together by position; align {name}, as {name}.loc[X.index] does if it has all of X's labels, or if "
            f"positions are right, give X.reset_index(drop=True) and {name}.reset_index(drop=True)"
        )


def _own_index(values: Any) -> Any:
    """Return the index of a pandas object, None if it is the default one, or there is none."""
    if type(values).__module__.partition(".")[0] != "pandas" or not hasattr(type(values), "reset_index"):
        return None
    index = values.index
    default = type(index).__name__ == "RangeIndex" and index.start == 0 and index.step == 1
    return None if default else index


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
    arrow = _as_arrow(native) if not isinstance(getattr(native, "dtype", None), np.dtype) else None
    return DictionaryColumn(series) if hasattr(getattr(arrow, "type", None), "index_type") else SeriesColumn(series)
