"""Single columns of what callers give: as arrays, without loss, and with a value in every row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd._typing import Floats


def check_number(name: str, value: Any, least: float) -> None:
    """Raise TypeError or ValueError if an option is not a finite number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{name}={value!r}; a number is needed")
    if not least <= float(value) < np.inf:
        raise ValueError(f"{name}={value!r}; a finite number of at least {least:g} is needed")


MEMORY_LIMIT = 512_000_000
"""Bytes that streamed data may take by default."""
LEAST_MEMORY = 1_000_000
"""The smallest memory limit that is allowed."""
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def memory_bytes(limit: int | str | None) -> int:
    """Return a memory limit in bytes: a number, or text like ``"512MB"``; None is the default."""
    if limit is None:
        return MEMORY_LIMIT
    if isinstance(limit, str):
        parts = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]*)\s*", limit)
        try:
            found = float(parts[1]) * _UNITS[parts[2].upper()] if parts else None
        except (ValueError, KeyError):
            found = None
        if found is None:
            raise ValueError(f"memory_limit={limit!r}; a number of bytes, or text like '512MB', is needed")
        limit = int(found)
    check_whole("memory_limit", limit, LEAST_MEMORY)
    return int(limit)


def check_whole(name: str, value: Any, least: int) -> None:
    """Raise TypeError or ValueError if an option is not a whole number of at least ``least``."""
    check_number(name, value, least)
    if value != int(value):
        raise ValueError(f"{name}={value!r}; a whole number is needed")


def check_flag(name: str, value: Any) -> None:
    """Raise TypeError if an option is neither True nor False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r}; True or False is needed")


def generator(rng: Any) -> np.random.Generator:
    """Return a random generator for a seed, a generator, or None, which is seed 0."""
    try:
        return np.random.default_rng(0 if rng is None else rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"rng={rng!r}: {error}") from None


def as_point(start: Any) -> Floats:
    """Return a start as an array; a TypeError or ValueError if it is not made of finite numbers."""
    try:
        point = np.array(start, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"start={start!r}; numbers are needed") from None
    if not np.isfinite(point).all():
        raise ValueError("start contains NaN or infinity")
    return point


STRETCH_ROWS = 1 << 18
"""Rows of a column that are checked or encoded together."""


class Values(Protocol):
    """A column that gives some of its rows as an array: an array itself, or several."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, rows: Any, /) -> Any:
        """Return the rows of a slice or of an array of row numbers."""


FILL_IN = "fill them in or drop the rows, or fit with missing='drop' or 'impute'"
"""What can be done about missing values."""


def check_no_missing(missing: Mapping[str, tuple[int, int]], what_to_do: str = FILL_IN) -> None:
    """Raise one error for all columns with missing values, given how many and the first one's row."""
    found = [f"{name} ({count}, the first in row {row})" for name, (count, row) in missing.items() if count]
    if found:
        raise ValueError(f"X has missing values: {', '.join(found)}; {what_to_do}")


def find_missing(values: Values) -> tuple[int, int]:
    """Return the number of None, NaN and NA, and the row of the first."""
    marks = missing_mask(values)
    count = int(marks.sum())
    return count, int(marks.argmax()) if count else 0


def missing_mask(values: Values) -> NDArray[np.bool_]:
    """Return a mask (n,) of the rows of a column that are None, NaN or NA."""
    return np.concatenate([np.zeros(0, bool), *map(is_missing, stretches(values))])


def stretches(values: Values) -> Iterator[Any]:
    """Return a column in runs of rows, small enough that temporary arrays of a run do not matter."""
    return (values[start : start + STRETCH_ROWS] for start in range(0, len(values), STRETCH_ROWS))


def as_array(name: str, values: Any) -> NDArray[Any]:
    """Return values as an array; a ValueError names the argument if that would lose anything, or rows differ."""
    check_not_masked(name, values)
    if hasattr(values, "tocsr"):
        raise ValueError(f"{name} is a sparse matrix; an array is needed, as {name}.toarray() gives one")
    try:
        array = np.asarray(values, object if _has_masked_gaps(values) else None)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if array.dtype.kind == "U" and isinstance(values, (list, tuple)):
        check_one_type(name, values)
    return array


def _has_masked_gaps(values: Any) -> bool:
    """Return whether values are of pandas' nullable types and some are missing, so that whole numbers become floats."""
    dtype = getattr(values, "dtype", None)
    return hasattr(dtype, "na_value") and hasattr(values, "isna") and bool(values.isna().any())


def check_not_masked(name: str, values: Any) -> None:
    """Raise ValueError for a masked array, whose mask most functions ignore."""
    if isinstance(values, np.ma.MaskedArray):
        raise ValueError(f"{name} is a masked array, whose mask would be lost; fill it in or drop the rows")


def check_one_type(name: str, values: Iterable[Any]) -> None:
    """Raise ValueError for text beside numbers, which would become text, too; for a sequence it names the rows."""
    kinds: dict[bool, tuple[int, Any]] = {}
    for row, value in enumerate(values):
        kinds.setdefault(isinstance(value, str), (row, value))
    if len(kinds) > 1:
        (row, text), (other_row, other) = kinds[True], kinds[False]
        rows = isinstance(values, Sequence)
        found = f"{text!r} in row {row} and {other!r} in row {other_row}" if rows else f"as in {text!r} and {other!r}"
        raise ValueError(f"{name} has text beside other values, {found}; convert them to one type")


def is_missing(array: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask (n,) of None, NaN and NA."""
    if array.dtype.kind == "O":
        return np.fromiter(map(is_missing_value, array), bool, len(array))
    return np.asarray(array != array)


def is_missing_value(value: Any) -> bool:
    """Return whether a value is None, NaN, NaT or NA of any library."""
    return value is None or (not isinstance(value, str) and str(value) in ("nan", "<NA>", "NaT"))


def check_present(name: str, array: NDArray[Any]) -> None:
    """Raise ValueError for None or NA in objects or text, naming the argument and the first row."""
    missing = is_missing(array) if array.dtype.kind in "OT" else np.zeros(1, bool)
    if missing.any():
        row = int(np.argmax(missing))
        raise ValueError(f"{name} has no value in row {row}; fill it in or drop the row (missing='drop' does)")


def check_vector(name: str, values: ArrayLike, n: int) -> NDArray[Any]:
    """Return a vector of n finite numbers, one for each row of X, in its own dtype and without a copy.

    Raises
    ------
    ValueError
        Naming the argument and what was found: its shape, its dtype, or the first row with NaN or infinity.
    """
    array = as_array(name, values)
    if array.shape != (n,):
        raise ValueError(f"{name} has shape {array.shape}; X has {n} rows, so ({n},) is needed")
    check_present(name, array)
    if array.dtype.kind not in "biuf":
        hint = f": {name}.astype(float) makes them of objects" if array.dtype.kind == "O" else ""
        raise ValueError(f"{name} has dtype {array.dtype}; numbers are needed{hint}")
    finite = np.isfinite(array)
    if not finite.all():
        row = int(np.argmin(finite))
        found, way = name_value(array[row]), " (missing='drop' does)" if np.isnan(array[row]) else ""
        raise ValueError(f"{name} contains {found} in row {row}; drop such rows{way} or fill them in")
    return array


def name_value(value: Any) -> str:
    """Return the word for a value that is not finite: NaN or infinity."""
    return "NaN" if np.isnan(value) else "infinity"
