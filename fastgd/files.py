"""Tables in files: CSV and Parquet (extra: cli)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

try:
    import pyarrow as pa
    from pyarrow import csv, parquet
except ImportError:
    raise ImportError("reading and writing files needs pyarrow: pip install 'fastgd[cli]'") from None

from fastgd.writing import replacing


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
        _check_names(file, names, columns)
        if is_parquet:
            return parquet.read_table(file, columns=columns)
        return csv.read_csv(file, convert_options=csv.ConvertOptions(include_columns=columns or []))
    except pa.ArrowException as error:
        raise ValueError(f"{file}: {error}") from None


def check_complete(table: pa.Table) -> None:
    """Refuse missing values with a ValueError that names the columns and counts."""
    counts = {name: table[name].null_count for name in table.column_names}
    missing = [f"{name} ({count})" for name, count in counts.items() if count]
    if missing:
        raise ValueError(f"missing values in columns: {', '.join(missing)}; fill them in, or use --drop-missing")


def write_table(path: str | os.PathLike[str], columns: Mapping[str, Any]) -> None:
    """Write columns as CSV or Parquet, by the suffix; the file appears whole or not at all."""
    file = Path(path)
    write = parquet.write_table if _is_parquet(file) else csv.write_csv
    with replacing(file) as temporary:
        write(pa.table(dict(columns)), temporary)


def _is_parquet(file: Path) -> bool:
    """Tell Parquet from CSV by the suffix; a ValueError for anything else."""
    suffixes = [suffix.lower() for suffix in file.suffixes]
    if suffixes[-1:] == [".parquet"]:
        return True
    if ".csv" in suffixes[-2:]:
        return False
    raise ValueError(f"{file}: a name ending in .csv or .parquet is needed")


def _check_names(file: Path, names: Sequence[str], columns: Sequence[str] | None) -> None:
    missing = [name for name in columns or [] if name not in names]
    if missing:
        raise ValueError(f"{file} has no column {', '.join(missing)}; it has {', '.join(names)}")
