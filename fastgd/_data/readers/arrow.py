"""Tables in files (extra: cli): Parquet, CSV and Arrow IPC, read chunk by chunk; small ones at once, and written."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.chunks import Chunk, Chunks
from fastgd._data.schema import choose_columns
from fastgd._utils.atomic_io import check_writable, replacing

try:
    import pyarrow as pa
    import pyarrow.dataset as ds
    from pyarrow import csv, ipc, parquet
except ImportError:
    raise ImportError("reading and writing files needs pyarrow: pip install 'fastgd[cli]'") from None

_MANY, _NEARLY_ALL = 20, 0.9
"""Levels that are numbers, at least, and their share of all levels, for the others to look like mistakes."""
CHUNK_BYTES = 1 << 25
"""Bytes of a chunk as the pass reads it, unless the memory limit asks for less."""
CHUNK_ROWS = 1 << 18
"""Rows of a chunk at most."""
TEXT_BYTES = 1 << 21
"""Bytes of a chunk of CSV: pyarrow reads smaller blocks faster."""
PARQUET, CSV, IPC = "Parquet", "CSV", "Arrow IPC"
_SUFFIXES = {".parquet": PARQUET, ".csv": CSV, ".arrow": IPC, ".feather": IPC, ".ipc": IPC}
_PACKED = (".gz", ".bz2", ".zst", ".lz4")
_MARKS = (b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")
"""The first bytes of packed files, in the order of `_PACKED`."""


class _File(NamedTuple):
    """A file, the values of partition columns that its path says, and its size and time when it was first seen."""

    path: str
    keys: dict[str, Any]
    stamp: tuple[int, int]


class Files(Chunks):
    r"""Columns of files as a stream: read in the order of their paths.

    Parameters
    ----------
    paths : path, or sequence of paths
        Of a file; of a folder, whose files are read, those of folders named ``key=value`` (partitions, as Hive has
        them) with a column more; or patterns with ``*``, ``?`` or ``**``. Parquet, CSV (with a header line; packed,
        too: .gz, .bz2, .zst, .lz4) or Arrow IPC by the suffix, all of the same format.
    target : str or None
        The column to predict; None to read `tables` alone.
    features : sequence of str, optional
        The columns to predict from; None for all but the target and the weights.
    weight : str, optional
        The column of weights.
    drop_missing : bool
        Leave out rows in which one of these columns has no value, or NaN.

    Attributes
    ----------
    dropped : int
        Rows that the last complete pass left out.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError
        If a file is malformed, or its columns are not those of the first one, by name or type: names the file.

    Examples
    --------
    >>> import tempfile, fastgd
    >>> from fastgd.io import Files
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with open(f"{folder}/rain.csv", "w") as file:
    ...         _ = file.write("hours,rain\n0,1\n1,3\n2,5\n")
    ...     fastgd.fit(Files(f"{folder}/rain.csv", "rain")).coef.round(6).tolist()
    [2.0]
    """

    def __init__(
        self,
        paths: Any,
        target: str | None,
        *,
        features: Sequence[str] | None = None,
        weight: str | None = None,
        drop_missing: bool = False,
    ) -> None:
        self.files, self.kind = _find(paths)
        self.is_text = self.kind == CSV
        self.stored_bytes = sum(file.stamp[0] for file in self.files)
        self.drop_missing = drop_missing
        self.dropped = 0
        self.chunk_bytes = CHUNK_BYTES
        first, *others = self.files
        self.schema = self._schema(first)
        names = self.schema.names
        chosen = choose_columns(names, target, features, weight, first.path)
        self.target, self.weight = target, weight
        self.features, self.columns = chosen.features, chosen.all
        for name in self.columns:
            if self.is_text and pa.types.is_binary(self.schema.field(name).type):
                raise ValueError(f"{first.path}: column {name} has text that is not UTF-8; write the file in UTF-8")
        for file in others:
            self._learn(file, self._schema(file))

    @property
    def target_is_numbers(self) -> bool:
        """Whether the target can be that of a regression."""
        return _kind(self.schema.field(self.target).type) in ("numbers", "null")  # of a column without values

    def sample(self, step: int) -> tuple[pa.Table, NDArray[Any]]:
        """Return every ``step``-th row of features and target, after one more pass."""
        tables, targets, passed = [], [], 0
        for chunk in self:
            rows = np.arange(-passed % step, len(chunk.y), step)
            tables.append(pa.table(chunk.X).take(pa.array(rows)))
            targets.append(chunk.y[rows])
            passed += len(chunk.y)
        return pa.concat_tables(tables, promote_options="permissive"), np.concatenate(targets)

    def limit(self, chunk_bytes: int) -> None:
        """Limit the size of the chunks."""
        self.chunk_bytes = min(CHUNK_BYTES, chunk_bytes)

    def _schema(self, file: _File) -> pa.Schema:
        """Return the columns of a file with their types, those of its folders included."""
        with _reading(file.path):
            if self.kind == PARQUET:
                schema = parquet.read_schema(file.path)
            elif self.kind == IPC:
                with _open_ipc(file.path) as reader:
                    schema = reader.schema
            else:
                _check_unpacked(file.path)
                with csv.open_csv(file.path) as reader:
                    schema = reader.schema
            for key, value in file.keys.items():
                schema = schema.append(pa.field(key, pa.scalar(value).type))
            if problem := _find_problem(schema.names):
                raise ValueError(problem)
        return schema

    def _learn(self, file: _File, schema: pa.Schema) -> None:
        """Take the types of columns that had none so far; raise ValueError if columns or types are not those before.

        A column without any value has no type in its file.
        """
        first = self.files[0].path
        for name in self.columns:
            if name not in schema.names:
                raise ValueError(f"{file.path}: has no column {name}, which {first} has")
            found, wanted = schema.field(name).type, self.schema.field(name).type
            if pa.types.is_null(wanted):
                self.schema = self.schema.set(self.schema.get_field_index(name), schema.field(name))
            if pa.types.is_null(wanted) or pa.types.is_null(found):
                continue
            # text may look like numbers as long as nobody has seen all of it
            if _kind(found) != _kind(wanted) and not (self.kind == CSV and _kind(wanted) == "text"):
                raise ValueError(f"{file.path}: column {name} has type {found}; in {first} it has type {wanted}")

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the chunks from the start."""
        for table, name in self.tables():
            weight = None if self.weight is None else as_numpy(table[self.weight])
            yield Chunk(_plain(table.select(self.features)), as_numpy(table[self.target]), weight, name)

    def tables(self) -> Iterator[tuple[pa.Table, str]]:
        """Yield the columns from the start, a chunk at a time, and the name that messages give to its rows."""
        dropped = 0
        for file in self.files:
            row = 0
            wanted = [name for name in self.columns if name not in file.keys]
            with _reading(file.path):
                if _stamp(file.path) != file.stamp:
                    raise ValueError("changed while it was in use")
                for batch in self._batches(file.path, wanted):
                    table = _with_keys(pa.table(batch), {k: v for k, v in file.keys.items() if k in self.columns})
                    table = self._typed(table)
                    rows = table.num_rows
                    if self.drop_missing:
                        table = drop_missing(table)
                        dropped += rows - table.num_rows
                    yield table, f"{file.path}, from row {row}"
                    row += rows
        self.dropped = dropped

    def _typed(self, table: pa.Table) -> pa.Table:
        """Return the table; columns without any value get the type that they have in other files."""
        for place, field in enumerate(table.schema):
            wanted = self.schema.field(field.name).type if pa.types.is_null(field.type) else field.type
            if wanted != field.type:
                table = table.set_column(place, field.name, pa.nulls(table.num_rows, wanted))
        return table

    def _batches(self, path: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield some columns of a file, a chunk at a time; text is dictionary-encoded."""
        rows = max(
            1, min(CHUNK_ROWS, self.chunk_bytes // sum(_width(self.schema.field(name).type) for name in columns))
        )
        text = [name for name in columns if _kind(self.schema.field(name).type) == "text"]
        if self.kind == PARQUET:  # a part of a row group at a time, however large it is
            options = {"read_dictionary": text, "pre_buffer": False, "buffer_size": 1 << 18}
            with parquet.ParquetFile(path, **options) as file:
                yield from file.iter_batches(batch_size=rows, columns=columns)
        elif self.kind == IPC:
            with _open_ipc(path) as reader:
                for batch in _record_batches(reader):
                    for start in range(0, batch.num_rows, rows):
                        part = batch.select(columns).slice(start, rows)
                        for name in text:
                            part = part.set_column(columns.index(name), name, _coded(part[name]))
                        yield part
        else:
            # Text has to have a type before all of it has been seen. Whole numbers may have fractions further down.
            types = {name: pa.dictionary(pa.int32(), pa.string()) for name in text}
            known = {name: self.schema.field(name).type for name in columns if name not in text}
            types |= {
                name: pa.float64() if pa.types.is_integer(of) and name != self.target else of
                for name, of in known.items()
                if _kind(of) == "numbers" and (name != self.target or pa.types.is_floating(of))
            }
            convert = csv.ConvertOptions(include_columns=columns, column_types=types, strings_can_be_null=True)
            read = csv.ReadOptions(block_size=min(TEXT_BYTES, self.chunk_bytes))
            try:
                with csv.open_csv(path, read_options=read, convert_options=convert) as reader:
                    yield from reader
            except pa.ArrowInvalid as error:
                with csv.open_csv(path) as reader:
                    names = reader.schema.names
                raise ValueError(_COLUMN.sub(lambda found: f"column {names[int(found[1])]}", str(error))) from None


_COLUMN = re.compile(r"CSV column #(\d+)")


def _find(paths: Any) -> tuple[list[_File], str]:
    """Return the files, in the order of their paths, and their format."""
    found: list[str] = []
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        matching = [str(path)] if os.path.lexists(path) else sorted(glob.glob(str(path), recursive=True))
        inside = [file for match in matching for file in (_inside(match) if os.path.isdir(match) else [match])]
        if not inside:
            what = "no file of this pattern" if glob.has_magic(str(path)) else "no such file"
            raise FileNotFoundError(f"{path}: {'no files in this folder' if os.path.isdir(path) else what}")
        found += dict.fromkeys(inside)
    for path in found:
        if not os.path.exists(path):
            raise FileNotFoundError(f"{path}: a link to {os.path.realpath(path)}, which is not there")
    kinds = {path: _format(path) for path in found}
    if len(set(kinds.values())) > 1:
        one, other = found[0], next(path for path in found if kinds[path] != kinds[found[0]])
        raise ValueError(f"{other} is {kinds[other]}, but {one} is {kinds[one]}; one format at a time is needed")
    kind = kinds[found[0]]
    return [_File(path, keys, _stamp(path)) for path, keys in zip(found, _keys(found, kind), strict=True)], kind


def _inside(folder: str) -> list[str]:
    """Return the files of a folder, and links to what may be missing, but for hidden ones."""
    return sorted(str(p) for p in Path(folder).rglob("*") if not (p.is_dir() or _hidden(p.relative_to(folder))))


def _keys(paths: Sequence[str], kind: str) -> list[dict[str, Any]]:
    """Return for each path the values in the names of folders ``key=value``, as pyarrow reads them."""
    if not any("=" in os.path.dirname(path) for path in paths):
        return [{} for _ in paths]
    with _reading(paths[0]):
        kinds = {PARQUET: ds.ParquetFileFormat(), CSV: ds.CsvFileFormat(), IPC: ds.IpcFileFormat()}
        dataset = ds.dataset([os.path.abspath(path) for path in paths], format=kinds[kind], partitioning="hive")
        keys = [ds.get_partition_keys(fragment.partition_expression) for fragment in dataset.get_fragments()]
    for path, own in zip(paths, keys, strict=True):
        if own.keys() != keys[0].keys():
            raise ValueError(f"{path}: is in folders of {', '.join(own) or 'no keys'}, others of {', '.join(keys[0])}")
    return keys


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _format(path: str) -> str:
    name = path.lower()
    for ending in _PACKED:
        if name.endswith(f".csv{ending}"):
            return CSV
    suffix = os.path.splitext(name)[1]
    if suffix not in _SUFFIXES:
        raise ValueError(f"{path}: a name ending in {', '.join(_SUFFIXES)} is needed, or .csv{_PACKED[0]} and the like")
    return _SUFFIXES[suffix]


def _check_unpacked(path: str) -> None:
    """Raise ValueError for a packed CSV file whose name does not say so."""
    with open(path, "rb") as file:
        begin = file.read(4)
    for ending, mark in zip(_PACKED, _MARKS, strict=True):
        if begin.startswith(mark) and not path.lower().endswith(_PACKED):
            raise ValueError(f"is packed; name it .csv{ending}")


def _stamp(path: str) -> tuple[int, int]:
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns


def _kind(of: pa.DataType) -> str:
    """Return the kind of a column, "numbers", "text" or its type, which all files must agree about."""
    if pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_boolean(of):
        return "numbers"
    value = of.value_type if pa.types.is_dictionary(of) else of
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return "text" if any(is_text(value) for is_text in text) else str(of)


def _width(of: pa.DataType) -> int:
    """Return the bytes of a value in memory; text is dictionary-encoded, so that of its code."""
    return max(1, of.bit_width // 8) if _kind(of) == "numbers" else 4


def _coded(column: pa.Array) -> pa.Array:
    return column if pa.types.is_dictionary(column.type) else column.dictionary_encode()


def _with_keys(table: pa.Table, keys: Mapping[str, Any]) -> pa.Table:
    """Add columns of one value."""
    for key, value in keys.items():
        table = table.append_column(key, _coded_text(pa.repeat(pa.scalar(value), table.num_rows)))
    return table


def _coded_text(column: pa.Array) -> pa.Array:
    return _coded(column) if _kind(column.type) == "text" else column


def _plain(table: pa.Table) -> pa.Table | dict[str, NDArray[Any]]:
    """Return a table of numbers without missing values as a dict of arrays, which is cheaper to read."""
    if any(_kind(column.type) != "numbers" or column.null_count for column in table.columns):
        return table
    return dict(zip(table.column_names, map(as_numpy, table.columns), strict=True))


def as_numpy(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return targets or weights as an array; text becomes NumPy's text of fixed width."""
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if pa.types.is_dictionary(whole.type) and not whole.null_count and len(whole):
        return np.asarray(np.array(whole.dictionary.to_pylist())[whole.indices.to_numpy()])
    return np.asarray(whole.to_numpy(zero_copy_only=False))


def _open_ipc(path: str) -> Any:
    """Return a reader of an Arrow file, or of a stream of batches in a file."""
    file = pa.memory_map(path)
    try:
        return ipc.open_file(file)
    except pa.ArrowInvalid:
        file.seek(0)
        return ipc.open_stream(file)


def _record_batches(reader: Any) -> Iterator[pa.RecordBatch]:
    if hasattr(reader, "num_record_batches"):
        return (reader.get_batch(number) for number in range(reader.num_record_batches))
    return iter(reader)


@contextmanager
def _reading(path: str) -> Iterator[None]:
    """Raise the errors of a block with the name of the file in front."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file, or no longer") from None
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    except OSError as error:
        raise OSError(f"{path}: {error}") from None


def read_table(paths: Any, columns: Sequence[str]) -> pa.Table:
    """Read some columns of files at once; the errors are those of `Files`."""
    tables = [table for table, _ in Files(paths, None, features=columns).tables()]
    if not any(table.num_rows for table in tables):
        raise ValueError(f"{paths}: no rows")
    return pa.concat_tables(tables, promote_options="permissive")


def drop_missing(table: pa.Table) -> pa.Table:
    """Leave out the rows in which some column has no value, or NaN."""
    return table.filter(pa.array(~np.any([_missing(column) for column in table], axis=0)))


def check_complete(table: pa.Table) -> None:
    """Raise a ValueError for missing values that names the columns and counts."""
    counts = {name: int(_missing(table[name]).sum()) for name in table.column_names}
    missing = [f"{name} ({count})" for name, count in counts.items() if count]
    if missing:
        raise ValueError(f"missing values in columns: {', '.join(missing)}; fill them in, or use --drop-missing")


def check_text(data: Files) -> None:
    """Raise ValueError for a column of numbers that a few other values turn into text.

    Taken as a category it would have a level for each number. Only the first chunk is read.
    """
    chunks = iter(data)
    first = next(chunks, None)
    del chunks
    table = {} if first is None or isinstance(first.X, dict) else first.X
    for name in getattr(table, "column_names", ()):
        if _kind(table[name].type) != "text":
            continue
        texts = table[name].cast(pa.string())
        levels = texts.drop_null().unique().to_pylist()
        others = [level for level in levels if not _is_number(level)]
        if others and len(levels) - len(others) >= max(_MANY, _NEARLY_ALL * len(levels)):
            row = texts.index(others[0]).as_py()
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
    """Raise OSError or ValueError, before long work, if `write_table` could not write there."""
    check_writable(path)
    _is_parquet(Path(path))


def write_table(path: str | os.PathLike[str], columns: Mapping[str, Any]) -> None:
    """Write columns as CSV or Parquet, by the suffix; the file appears whole or not at all."""
    write_tables(path, [columns])


def write_tables(path: str | os.PathLike[str], parts: Iterable[Mapping[str, Any]]) -> None:
    """Write rows that come in parts, at least one, as one table; the file appears whole or not at all."""
    file = Path(path)
    format_writer = parquet.ParquetWriter if _is_parquet(file) else csv.CSVWriter
    with replacing(file) as temporary, ExitStack() as opened:
        writer = None
        for columns in parts:
            table = pa.table(dict(columns))
            writer = writer or opened.enter_context(format_writer(temporary, table.schema))
            writer.write_table(table)


def _is_parquet(file: Path) -> bool:
    """Return whether a name is that of Parquet, not of plain CSV; a ValueError for any other suffix."""
    name = file.name.lower()
    if name.endswith(".parquet"):
        return True
    if name.endswith(".csv"):
        return False
    raise ValueError(f"{file}: a name ending in .csv or .parquet is needed")


def _find_problem(names: Sequence[str]) -> str | None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        return f"several columns of the same name: {', '.join(twice)}"
    if odd := [name for name in names if "\0" in name]:
        return f"the name of a column has a zero byte: {odd[0]!r}"
    return None
