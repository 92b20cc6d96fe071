"""Tables in files: CSV and Parquet (extra: cli)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    import pyarrow as pa
    from pyarrow import csv, parquet
except ImportError:
    raise ImportError("reading and writing files needs pyarrow: pip install 'fastgd[cli]'") from None

from fastgd.writing import check_writable, replacing

_MANY, _NEARLY_ALL = 20, 0.9  # levels that are numbers, so that the others look like mistakes


def read_table(path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
    """Read a CSV or Parquet file, by its suffix.

    Parameters
    ----------
    path : path
        A ``.csv`` file with a header line (``.csv.gz`` and the like are unpacked), or a ``.parquet`` file.
    columns : sequence of str, optional
        The columns to read; None for all.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is malformed or has no such column; the message names both.
    """
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such file")
    is_parquet = _is_parquet(file)
    try:
        if is_parquet:
            names = parquet.read_schema(file).names
        else:
            with csv.open_csv(file) as reader:
                names = reader.schema.names
        problem = _find_problem(names, columns)
        if problem:
            raise ValueError(problem)
        if is_parquet:
            table = parquet.read_table(file, columns=columns)
        else:
            options = csv.ConvertOptions(include_columns=columns or [], strings_can_be_null=True)
            table = csv.read_csv(file, convert_options=options)
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(f"{file}: {error}") from None
    if not table.num_rows:
        raise ValueError(f"{file}: no rows")
    return table


def drop_missing(table: pa.Table) -> pa.Table:
    """Leave out the rows in which some column has no value, or NaN."""
    return table.filter(pa.array(~np.any([_missing(column) for column in table], axis=0)))


def check_complete(table: pa.Table) -> None:
    """Refuse missing values with a ValueError that names the columns and counts."""
    counts = {name: int(_missing(table[name]).sum()) for name in table.column_names}
    missing = [f"{name} ({count})" for name, count in counts.items() if count]
    if missing:
        raise ValueError(f"missing values in columns: {', '.join(missing)}; fill them in, or use --drop-missing")


def check_text(table: pa.Table) -> None:
    """Refuse a column of numbers that a few values make one of text: as a category it would have a level for each."""
    for name in table.column_names:
        if not (pa.types.is_string(table[name].type) or pa.types.is_large_string(table[name].type)):
            continue
        levels = table[name].unique().to_pylist()
        others = [level for level in levels if not _is_number(level)]
        if others and len(levels) - len(others) >= max(_MANY, _NEARLY_ALL * len(levels)):
            row = table[name].index(others[0]).as_py()
            raise ValueError(
                f"column {name} is text, though {len(levels) - len(others):,} of its {len(levels):,} different values "
                f"are numbers; the first that is none is {others[0]!r} in row {row}. Mend it, or take the column as "
                f"categories by naming all of those in --categorical"
            )


def _is_number(text: str) -> bool:
    with suppress(ValueError):
        float(text)
        return True
    return False


def _missing(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(column.is_null(nan_is_null=True))


def check_output(path: str | os.PathLike[str]) -> None:
    """Find out before long work whether `write_table` could write there."""
    check_writable(path)
    _is_parquet(Path(path), packed=False)


def write_table(path: str | os.PathLike[str], columns: Mapping[str, Any]) -> None:
    """Write columns as CSV or Parquet, by the suffix; the file appears whole or not at all."""
    file = Path(path)
    write = parquet.write_table if _is_parquet(file, packed=False) else csv.write_csv
    with replacing(file) as temporary:
        write(pa.table(dict(columns)), temporary)


def _is_parquet(file: Path, *, packed: bool = True) -> bool:
    """Tell Parquet from CSV by the suffix; a ValueError for anything else, also packed CSV where it is not possible."""
    name = file.name.lower()
    if name.endswith(".parquet"):
        return True
    if name.endswith(".csv") or (packed and ".csv." in name):
        return False
    raise ValueError(f"{file}: a name ending in .csv or .parquet is needed")


def _find_problem(names: Sequence[str], columns: Sequence[str] | None) -> str | None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        return f"several columns of the same name: {', '.join(twice)}"
    missing = [name for name in columns or [] if name not in names]
    if missing:
        return f"has no column {', '.join(missing)}; it has {', '.join(names)}"
    return None
