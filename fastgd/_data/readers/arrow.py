"""Tables in files (extra: cli): Parquet, CSV and Arrow IPC, read chunk by chunk; small ones at once, and written."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fastgd._data.chunks import Chunk, Chunks
from fastgd._data.columns import stored_index
from fastgd._data.plausible import is_number
from fastgd._data.readers.paths import CSV, IPC, PACKED, PARQUET, DataFile, are_whole_numbers, find_files, packed_as
from fastgd._data.readers.text import TEXT, Dialect, TextFile, type_of
from fastgd._data.schema import choose_columns
from fastgd._utils.atomic_io import check_writable, replacing

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv, ipc, parquet
except ImportError:
    raise ImportError("reading and writing files needs pyarrow: pip install 'fastgd[cli]'") from None

CHUNK_BYTES = 1 << 25
"""Bytes of a chunk as the pass reads it, unless the memory limit asks for less."""
CHUNK_ROWS = 1 << 18
"""Rows of a chunk at most."""


class Files(Chunks):
    r"""Columns of files as a stream: read in the order of their paths.

    Parameters
    ----------
    paths : path, or sequence of paths
        Of a file; of a folder, whose files are read, those of folders named ``key=value`` (partitions, as Hive has
        them) with a column more; or patterns with ``*``, ``?`` or ``**``. Parquet, CSV (packed, too: .gz, .bz2, .zst,
        .lz4; .tsv with tabs) or Arrow IPC by the suffix, all of the same format.
    target : str or None
        The column to predict; None to read `tables` alone.
    features : sequence of str, optional
        The columns to predict from; None for all but the target, the weights, and an index that pandas stored (in CSV
        a column without a name).
    weight : str, optional
        The column of weights.
    clusters : str, optional
        The column that says which rows may depend on each other, for standard errors.
    drop_missing : bool
        Leave out rows in which one of these columns has no value, or NaN.
    format : {"parquet", "csv", "arrow"}, optional
        The format, if names do not tell it.
    sep : str, optional
        What separates the values of CSV: None is a comma, a tab in .tsv.
    decimal : str
        The decimal point of CSV.
    encoding : str
        The encoding of CSV.
    header : {"infer", 0, None}
        None if CSV has no first line of names: columns are "0", "1", ... then.
    na_values : str, number, or sequence of these
        Texts of CSV that stand for missing values, beside those of pandas: empty, "NA", "NaN", "null", "None", ...
        Numbers do so however they are written.
    keep_default_na : bool
        Whether those of pandas do, too; otherwise only empty text does.
    quoting : {0, 3}
        3 if quotes in CSV are text. 0: they enclose values, which may have separators and line breaks.

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
    ...         _ = file.write("hours;rain\n0;1,5\n1;3,5\n2;5,5\n")
    ...     fastgd.fit(Files(f"{folder}/rain.csv", "rain", sep=";", decimal=",")).coef.round(6).tolist()
    [2.0]
    """

    def __init__(
        self,
        paths: Any,
        target: str | None,
        *,
        features: Sequence[str] | None = None,
        weight: str | None = None,
        clusters: str | None = None,
        drop_missing: bool = False,
        format: str | None = None,  # noqa: A002  as fit has it
        sep: str | None = None,
        decimal: str = ".",
        encoding: str = "utf-8",
        header: str | int | None = "infer",
        na_values: str | float | Sequence[Any] = (),
        keep_default_na: bool = True,
        quoting: int = 0,
    ) -> None:
        target, weight, clusters = (name if name is None else str(name) for name in (target, weight, clusters))
        features = features if features is None or isinstance(features, str) else [*map(str, features)]
        dialect = Dialect(sep, decimal, encoding, header, na_values, keep_default_na, quoting)
        self.files, self.kind = find_files(paths, format)
        self.is_text = self.kind == CSV
        if not self.is_text and dialect != Dialect():
            changed = ", ".join(f.name for f in fields(Dialect) if getattr(dialect, f.name) != getattr(Dialect, f.name))
            raise ValueError(f"{changed}: for CSV; {self.files[0].path} is {self.kind}")
        self.stored_bytes = sum(file.stamp[0] for file in self.files)
        self.drop_missing = drop_missing
        self.dropped = 0
        self.chunk_bytes = CHUNK_BYTES
        self.null_numbers = dialect.null_numbers
        self.kinds: dict[str, str] = {}
        self.texts: dict[str, TextFile] = {}
        self.schemas: dict[str, pa.Schema] = {}
        self.keys: dict[str, dict[str, str | None]] = {}
        self.target, self.weight, self.clusters = target, weight, clusters
        for file in self.files:
            with reading(file.path):
                schema, index = self._schema(file, dialect)
            if not self.schemas:
                self._choose(schema, index, features)
            with reading(file.path):
                if features is None:
                    self._check_no_more(schema, index)
                names = {*schema.names}
                if missing := [name for name in self.columns if name not in names]:
                    raise ValueError(f"has no column {', '.join(missing)}, which {self.files[0].path} has")
                self.schemas[file.path] = pa.schema([schema.field(name) for name in self.columns])
                self._check_target(self.schemas[file.path])
        self.types: dict[str, pa.DataType] = {}

    def _choose(self, schema: pa.Schema, index: set[str], features: Sequence[str] | None) -> None:
        """Choose the columns of the first file that are features."""
        path = self.files[0].path
        names = schema.names if features is not None else [name for name in schema.names if name not in index]
        beside = [name for name in (self.target, self.weight, self.clusters) if name and name in index]
        chosen = choose_columns([*names, *beside], self.target, features, self.weight, path, self.clusters)
        self.all_names = {*schema.names, *index}
        self.features, self.columns = chosen.features, chosen.all
        for name in self.columns:
            if self.is_text and pa.types.is_binary(schema.field(name).type):
                raise ValueError(
                    f"{path}: column {name} has text that is not UTF-8; name its encoding: encoding='latin-1'"
                )

    def _check_no_more(self, schema: pa.Schema, index: set[str]) -> None:
        """Raise ValueError if a later file has columns that the first one lacks, which would be dropped."""
        if more := [name for name in schema.names if name not in self.all_names and name not in index]:
            raise ValueError(
                f"has a column {', '.join(more)}, which {self.files[0].path} lacks; name those to take by features="
            )

    def _check_target(self, schema: pa.Schema) -> None:
        """Raise ValueError if the target is neither numbers nor text, or the weights are not numbers."""
        both = ["numbers", "text"]
        roles = ((self.target, "target", both), (self.weight, "weight", ["numbers"]), (self.clusters, "cluster", both))
        for name, role, allowed in roles:
            if not name or (role == "cluster" and pa.types.is_temporal(schema.field(name).type)):
                continue
            if _kind(found := schema.field(name).type) not in [*allowed, "null"]:
                raise ValueError(f"column {name} has type {found}; a {role} has {' or '.join(allowed)}; convert it")

    def expect(self, kinds: Mapping[str, str]) -> None:
        """Have columns read as "text" or "numbers", whatever they look like."""
        guessed = self.columns if self.is_text else self.files[0].keys
        self.kinds = {name: kind for name, kind in kinds.items() if name in guessed}
        self.types = {}

    def _type(self, name: str) -> pa.DataType:
        """Return the type of a column in all files, found out once."""
        if name not in self.types:
            self.types[name] = self._common_type(name)
        return self.types[name]

    def _common_type(self, name: str) -> pa.DataType:
        """Return the type of a column in all files; raise ValueError if files do not agree.

        A column without any value has no type in its file. Of CSV, what is text in the first file is text in all.
        """
        common = pa.null()
        for file in self.files:
            found = self.schemas[file.path].field(name).type
            if pa.types.is_null(common):
                common = found
                continue
            differ = not pa.types.is_null(found) and _kind(found) != _kind(common) and name not in self.kinds
            may = (
                self.is_text and _kind(common) == "text" and name != self.target
            )  # it looks like numbers in some files
            if differ and not may:
                hint = f". If it is a category, name it: categorical=['{name}', ...]" if self.is_text else ""
                first = self.files[0].path
                raise ValueError(f"{file.path}: column {name} has type {found}; in {first} it has type {common}{hint}")
        untyped = self.is_text and pa.types.is_null(common) and name not in self.kinds
        return self._type_of_first_values(name) if untyped else common

    def _type_of_first_values(self, name: str) -> pa.DataType:
        """Return the type of a column that begins without values: that of the first block in which it has some."""
        for file in self.files:
            if name in self.keys[file.path]:
                continue
            with reading(file.path):
                for batch in self.texts[file.path].batches({name: pa.string()}, [name], CHUNK_BYTES):
                    if values := batch.column(0).drop_null().to_pylist():
                        return type_of(values, self.texts[file.path].dialect.decimal)
        return pa.null()

    @property
    def target_is_numbers(self) -> bool:
        """Whether the target can be that of a regression."""
        return _kind(self._type(self.target or "")) in ("numbers", "null")  # of a column without values

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

    def _schema(self, file: DataFile, dialect: Dialect) -> tuple[pa.Schema, set[str]]:
        """Return the columns of a file with their types, keys of its folders included, and those of them to leave out.

        A key that is a column of the file, too, is read from the file. One that is in the path as it was given, and has
        one value, is left out: it is where the file lies, not what it holds.
        """
        if self.kind == PARQUET:
            schema = parquet.read_schema(file.path)
        elif self.kind == IPC:
            with _open_ipc(file.path) as reader:
                schema = reader.schema
        else:
            if ending := packed_as(file.path, PACKED):
                raise ValueError(f"is packed; name it .csv{ending}")
            self.texts[file.path] = TextFile(file.path, dialect)
            schema = self.texts[file.path].schema
        self.keys[file.path] = {key: text for key, text in file.keys.items() if key not in schema.names}
        for key in self.keys[file.path]:
            numbers = are_whole_numbers([other.keys[key] for other in self.files])
            schema = schema.append(pa.field(key, pa.int64() if numbers else pa.string()))
        if problem := _find_problem(schema.names):
            raise ValueError(problem)
        return schema, stored_index(schema) | {key for key in file.given_keys if self._is_constant(key)}

    def _is_constant(self, key: str) -> bool:
        """Return whether a key of folders has one value in all files."""
        return len({file.keys.get(key) for file in self.files}) == 1

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the chunks from the start."""
        for table, name in self.tables():
            with reading(name):
                weight = None if self.weight is None else as_numpy(table[self.weight])
                groups = None if self.clusters is None else as_numpy(table[self.clusters])
                chunk = Chunk(_plain(table.select(self.features)), as_numpy(table[self.target]), weight, name, groups)
            yield chunk

    def tables(self) -> Iterator[tuple[pa.Table, str]]:
        """Yield the columns from the start, a chunk at a time, and the name that messages give to its rows."""
        dropped = 0
        for file in self.files:
            row = 0
            with reading(file.path):
                file.check_unchanged()
                for batch in self._batches(file, self.columns):
                    table = pa.table(batch)
                    rows = table.num_rows
                    if self.drop_missing:
                        table = drop_missing(table)
                        dropped += rows - table.num_rows
                    yield table, f"{file.path}, from row {row}"
                    row += rows
        self.dropped = dropped

    def place(self, column: str, value: str, row: int) -> str:
        """Return how messages name the first place of a text in a column: its file, and its row there."""
        for file in self.files:
            first = 0
            with reading(file.path):
                for batch in self._batches(file, [column]):
                    texts = batch.column(0).cast(pa.string()).to_pylist()
                    if value in texts:
                        return f"row {first + texts.index(value)} of {file.path}"
                    first += len(texts)
        return f"row {row}"

    def first_text(self, name: str) -> str:
        """Return the first text of a column that is no number, and its place, for messages."""
        for table, place in self.tables():
            texts = table[name].cast(pa.string()).to_pylist()
            for row, text in enumerate(texts):
                if text is not None and not is_number(text):
                    return f"{text!r} in row {row} of {place}"
        return "text"

    def _kind_of(self, name: str) -> str:
        """Return how a column is read: "numbers", "text", or the name of another type."""
        return self.kinds.get(name, _kind(self._type(name)))

    def _batches(self, file: DataFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield some columns of a file, a chunk at a time; text is dictionary-encoded."""
        rows = max(1, min(CHUNK_ROWS, self.chunk_bytes // sum(_width(self._type(name)) for name in columns)))
        keys = [name for name in columns if name in self.keys[file.path]]
        stored = [name for name in columns if name not in keys]
        for batch in self._stored(file, stored, rows):
            arrays = {name: batch[name] for name in stored}
            arrays |= {key: self._repeated(key, file.keys[key], batch.num_rows) for key in keys}
            yield pa.record_batch({name: self._typed(name, arrays[name]) for name in columns})

    def _repeated(self, key: str, text: str | None, rows: int) -> pa.Array:
        """Return the column of a folder's key."""
        numbers = self._kind_of(key) == "numbers"
        value = text if text is None or not numbers else int(text)
        return pa.repeat(pa.scalar(value, pa.int64() if numbers else pa.string()), rows)

    def _typed(self, name: str, column: pa.Array) -> pa.Array:
        """Return a column with the type that it has in all files if it has none, and text dictionary-encoded."""
        if pa.types.is_null(column.type) and not pa.types.is_null(self._type(name)):
            return pa.nulls(len(column), TEXT if self._kind_of(name) == "text" else self._type(name))
        if pa.types.is_floating(column.type) and self.null_numbers:
            known = pc.is_in(column, pa.array(self.null_numbers, column.type))
            column = pc.if_else(known, pa.scalar(None, column.type), column)
        return _coded(column) if _kind(column.type) == "text" else column

    def _stored(self, file: DataFile, columns: list[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Yield some columns of those that a file has, a chunk at a time."""
        if self.kind == PARQUET:  # a part of a row group at a time, however large it is
            text = [name for name in columns if self._kind_of(name) == "text"]
            options = {"read_dictionary": text, "pre_buffer": False, "buffer_size": 1 << 18}
            with parquet.ParquetFile(file.path, page_checksum_verification=True, **options) as opened:
                yield from opened.iter_batches(batch_size=rows, columns=columns)
        elif self.kind == IPC:
            with _open_ipc(file.path) as reader:
                for batch in _record_batches(reader):
                    for start in range(0, batch.num_rows, rows):
                        yield batch.select(columns).slice(start, rows)
        else:
            own = self.schemas[file.path]
            types = {name: self._text_type(name, own.field(name).type) for name in columns}
            yield from self.texts[file.path].batches(types, columns, self.chunk_bytes)

    def _text_type(self, name: str, found: pa.DataType) -> pa.DataType:
        """Return what a column of CSV is read as, given what its first block looks like in this file.

        Whole numbers may have fractions further down, so they are read as floats, but for labels.
        """
        kind, found = self._kind_of(name), self._type(name) if pa.types.is_null(found) else found
        if kind == "text":
            return TEXT
        if kind != "numbers":
            return self._type(name)
        labels = name == self.target and name not in self.kinds and pa.types.is_integer(self._type(name))
        return found if pa.types.is_boolean(found) or (labels and pa.types.is_integer(found)) else pa.float64()


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
    """Return text dictionary-encoded, in a type that all of Arrow's functions know, as string_view is not."""
    if pa.types.is_dictionary(column.type):
        if not pa.types.is_string_view(column.type.value_type):
            return column
        return pa.DictionaryArray.from_arrays(column.indices, column.dictionary.cast(pa.string()))
    return (column.cast(pa.string()) if pa.types.is_string_view(column.type) else column).dictionary_encode()


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
def reading(path: str) -> Iterator[None]:
    """Raise the errors of a block with the name of the file in front."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file, or no longer") from None
    except MemoryError:
        raise
    except (pa.ArrowException, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise OSError(f"{path}: {' '.join(str(error).split())}") from None


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
    twice = sorted(name for name, count in Counter(names).items() if name and count > 1)
    if twice:
        return f"several columns of the same name: {', '.join(twice)}"
    if odd := [name for name in names if "\0" in name]:
        return f"the name of a column has a zero byte: {odd[0]!r}"
    return None
