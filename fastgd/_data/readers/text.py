"""CSV as the world writes it (extra: cli): separators, decimals, encodings, headers, and line breaks in quotes."""

from __future__ import annotations

import csv as quotes
import os
import re
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from fastgd._data.plausible import is_number
from fastgd._data.readers.paths import PACKED
from fastgd._data.spill import folder

try:
    import pyarrow as pa
    from pyarrow import csv
except ImportError:
    raise ImportError("reading and writing files needs pyarrow: pip install 'fastgd[cli]'") from None

BLOCK_BYTES = 1 << 21
"""Bytes that are read together: pyarrow reads smaller blocks faster."""
MAX_BLOCK_BYTES = 1 << 30
"""The longest row or header."""
_EMPTY = (
    "",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "-1.#IND",
    "-1.#QNAN",
    "-NaN",
    "-nan",
    "1.#IND",
    "1.#QNAN",
    "<NA>",
    "N/A",
    "NA",
)
NA_VALUES = (*_EMPTY, "NULL", "NaN", "None", "n/a", "nan", "null")
"""The texts that pandas takes as missing, too."""
_WIDTHS = re.compile(r"Expected (\d+) columns, got (\d+)")
_COLUMN = re.compile(r"CSV column #(\d+)")
_PACKED_WELL = 1000
"""How many times as long as a packed file its text is at most."""
_EMPTY_BLOCK = "Empty CSV file or block"
_ENCODING = "name its encoding: encoding='latin-1' or the like"
_SHOWN = 200
"""Characters of a line that a message shows."""
WHITESPACE = r"\s+"
"""The separator that is any number of spaces and tabs, as pandas writes it."""
TEXT = pa.dictionary(pa.int32(), pa.string())
"""The type of columns of text: codes, and each text once."""


@dataclass(frozen=True)
class Dialect:
    """How a text file separates and writes its values: arguments of `fastgd.io.Files`, under pandas' names."""

    sep: str | None = None
    decimal: str = "."
    encoding: str = "utf-8"
    header: str | int | None = "infer"
    na_values: str | float | Iterable[Any] = ()
    keep_default_na: bool = True
    quoting: int = quotes.QUOTE_MINIMAL

    def __post_init__(self) -> None:
        """Raise TypeError or ValueError if an argument is wrong."""
        sep = "," if self.sep in (None, WHITESPACE) else self.sep
        for name, text in (("sep", sep), ("decimal", self.decimal)):
            if not isinstance(text, str) or len(text) != 1 or not text.isascii() or text in '"\r\n':
                raise ValueError(f"{name}={text!r}; one ASCII character is needed")
        if self.sep == self.decimal:
            raise ValueError(f"sep={self.sep!r} is the decimal point, too; they must differ")
        try:
            "".encode(self.encoding)
        except (LookupError, TypeError):
            raise ValueError(f"encoding={self.encoding!r}; a name such as 'utf-8' or 'latin-1' is needed") from None
        if self.sep == WHITESPACE and " ".encode(self.encoding) != b" ":
            raise ValueError(f"sep={WHITESPACE!r}: spaces are looked for in bytes, which {self.encoding} does not have")
        if not (self.header is None or self.header == "infer" or (self.header == 0 and self.header is not False)):
            raise ValueError(f"header={self.header!r}; choose 'infer' or 0 for a first line of names, or None for none")
        if self.quoting not in (quotes.QUOTE_MINIMAL, quotes.QUOTE_NONE):
            raise ValueError(f"quoting={self.quoting!r}; choose 0 (quotes are read) or 3 (they are text)")
        if not isinstance(self.keep_default_na, bool):
            raise TypeError(f"keep_default_na={self.keep_default_na!r}; True or False is needed")
        if isinstance(self.na_values, Mapping) or not isinstance(self.na_values, (Iterable, int, float)):
            raise TypeError(f"na_values={self.na_values!r}; a text, a number, or a list of these is needed")

    @property
    def marks(self) -> list[str]:
        """The texts of ``na_values``."""
        several = isinstance(self.na_values, Iterable) and not isinstance(self.na_values, str)
        return [*map(str, self.na_values if several else [self.na_values])]  # type: ignore[arg-type]

    @property
    def nulls(self) -> list[str]:
        """The texts that stand for missing values."""
        return [*(NA_VALUES if self.keep_default_na else [""]), *self.marks]

    @property
    def null_numbers(self) -> list[float]:
        """The numbers that stand for missing values, however they are written."""
        return [float(mark) for mark in self.marks if is_number(mark) and "," not in mark]

    def separator(self, path: str) -> str:
        """Return the separator of a file, of which `open_source` makes a tab of whitespace: by default a comma."""
        if self.sep == WHITESPACE:
            return "\t"
        return self.sep or ("\t" if ".tsv" in path.lower()[-8:] else ",")


class TextFile:
    """A CSV file: its columns, their types as its first block suggests them, and batches of rows.

    Rows longer than a block have it grow; it stays so for later passes.
    """

    def __init__(self, path: str, dialect: Dialect) -> None:
        self.path, self.dialect = path, dialect
        self.source = prepared(path, whitespace=dialect.sep == WHITESPACE)
        if self.source != path:
            weakref.finalize(self, Path(self.source).unlink, missing_ok=True)
        self.least_block = 1
        self.names: list[str] | None = None
        try:
            if dialect.header is None:
                with self._open({}, None, BLOCK_BYTES, autogenerate_column_names=True) as reader:
                    self.names = [str(number) for number in range(len(reader.schema.names))]
            with self._open({}, None, BLOCK_BYTES, column_names=self.names) as reader:
                self.schema: pa.Schema = reader.schema
                if len(self.schema) == 1:
                    self._check_separated(next(iter(reader), None))
        except pa.ArrowInvalid as error:
            self._check_first_line()
            raise _as_value_error(error) from None
        except UnicodeError:
            raise ValueError(f"there is text that is not {dialect.encoding}; {_ENCODING}") from None
        if dialect.header == "infer":
            _check_header(self.schema.names)

    def _check_first_line(self) -> None:
        """Raise ValueError if the first line, on which others do not fit, is separated by something else."""
        with pa.input_stream(self.source, compression="detect") as file:
            line = file.read(1 << 16).partition(b"\n")[0].decode(self.dialect.encoding, "replace").strip()
        for sep in (";", "\t", "|") if self.dialect.sep is None and "," not in line else ():
            if sep in line:
                raise ValueError(
                    f"the first line, {line[:_SHOWN]!r}, has no ',': give sep={sep!r}, and decimal=',' if that is what "
                    "numbers have"
                )

    def _check_separated(self, batch: pa.RecordBatch | None) -> None:
        """Raise ValueError for a single column that looks like several, separated by something else."""
        (name,) = self.schema.names
        texts = [] if batch is None else batch.slice(0, 5).column(0).cast(pa.string()).drop_null().to_pylist()
        for sep in (";", "\t", "|", WHITESPACE) if self.dialect.sep is None else ():
            split = str.split if sep == WHITESPACE else partial(_split_at, sep)
            if len(split(name)) > 1 and (
                sep != WHITESPACE or {len(split(text)) for text in texts} == {len(split(name))}
            ):
                raise ValueError(
                    f"the first line, {name[:_SHOWN]!r}, has no {self.dialect.separator(self.path)!r}: give sep={sep!r}"
                )

    def _open(
        self, types: Mapping[str, pa.DataType], columns: Sequence[str] | None, block: int, **names: Any
    ) -> csv.CSVStreamingReader:
        """Return a reader of some columns, None for all, in blocks of so many bytes, more if the header needs them."""
        dialect = self.dialect
        convert = csv.ConvertOptions(
            include_columns=columns,
            column_types=dict(types),
            null_values=dialect.nulls,
            strings_can_be_null=True,
            decimal_point=dialect.decimal,
        )
        quote = False if dialect.quoting == quotes.QUOTE_NONE else '"'
        parse = csv.ParseOptions(
            delimiter=dialect.separator(self.path), quote_char=quote, newlines_in_values=bool(quote)
        )
        while True:
            block = max(block, self.least_block)
            read = csv.ReadOptions(block_size=block, encoding=dialect.encoding, **names)
            try:
                return csv.open_csv(self.source, read_options=read, parse_options=parse, convert_options=convert)
            except pa.ArrowInvalid as error:
                if not self._enlarge(block, error):
                    raise

    def _enlarge(self, block: int, error: pa.ArrowInvalid) -> bool:
        """Have blocks be larger if a row or the header did not fit into one; return whether that was the error."""
        size = os.path.getsize(self.source) * (_PACKED_WELL if self.source.lower().endswith(PACKED) else 1)
        if "straddling" not in str(error) and (_EMPTY_BLOCK not in str(error) or block >= size):
            return False
        if block >= MAX_BLOCK_BYTES:
            raise ValueError(
                f"a row or the header is longer than {MAX_BLOCK_BYTES >> 30} GB; is a quote never closed? Then "
                "quoting=3 takes quotes as text"
            )
        self.least_block = 8 * block
        return True

    def batches(self, types: Mapping[str, pa.DataType], columns: Sequence[str], most: int) -> Iterator[pa.RecordBatch]:
        """Yield some columns, some rows at a time.

        Parameters
        ----------
        types : mapping of str to DataType
            What columns are read as; what is not a number where one is needed raises a ValueError that names it.
        columns : sequence of str
        most : int
            Bytes of text of a batch, unless a row is longer.
        """
        read = 0
        while True:
            passed, block = 0, max(min(BLOCK_BYTES, most), self.least_block)
            try:
                with self._open(types, list(columns), block, column_names=self.names) as reader:
                    for batch in reader:
                        passed += batch.num_rows
                        if passed > read:  # after a restart with larger blocks, rows come again
                            fresh, read = passed - read, passed
                            yield batch.slice(batch.num_rows - fresh)
                return
            except pa.ArrowInvalid as error:
                if not self._enlarge(block, error):
                    raise self._explained(error, types) from None

    def _explained(self, error: pa.ArrowInvalid, types: Mapping[str, pa.DataType]) -> ValueError:
        """Return an error of the reader as one that names the column, the first such value, its row, and what to do."""
        found = _COLUMN.search(str(error))
        if found is None or "conversion error" not in str(error):
            return _as_value_error(error)
        name = self.schema.names[int(found[1])]
        wanted = types.get(name, pa.null())
        place = self.find(name, lambda text: not _fits(text, wanted, self.dialect.decimal))
        if place is None:
            return _as_value_error(error, f"column {name}: ")
        (value, row), needed = place, "numbers are" if _is_number(wanted) else f"{wanted} is"
        return ValueError(
            f"column {name} has {value!r} in row {row}, where {needed} needed, as in its first rows, the fit, or for "
            "a regression; correct that, or say what stands for missing values: na_values=, or take the column as a "
            f"category: categorical=['{name}', ...]"
        )

    def find(self, name: str, accept: Callable[[str], bool]) -> tuple[str, int] | None:
        """Return the first text of a column that a function accepts, and its row; None if there is none."""
        row = 0
        for batch in self.batches({name: pa.string()}, [name], BLOCK_BYTES):
            for place, text in enumerate(batch.column(0).to_pylist()):
                if text is not None and accept(text):
                    return text, row + place
            row += batch.num_rows
        return None


def prepared(path: str, *, whitespace: bool) -> str:
    """Return the path of what pyarrow can read: a temporary copy of what .zip holds, or has whitespace in it.

    pyarrow reads ahead in threads of its own, which must not call Python while it ends. The caller removes the copy.
    """
    if not (whitespace or path.lower().endswith(".zip")):
        return path
    descriptor, copy = tempfile.mkstemp(".csv", "fastgd-", folder())
    try:
        with os.fdopen(descriptor, "wb") as file:
            source = _unzipped(path) if path.lower().endswith(".zip") else pa.input_stream(path, compression="detect")
            with source:
                _copy_tabbed(source, file) if whitespace else shutil.copyfileobj(source, file)
    except BaseException:
        Path(copy).unlink(missing_ok=True)
        raise
    return copy


def _copy_tabbed(source: Any, file: IO[bytes]) -> None:
    """Copy lines with a tab for each run of spaces and tabs outside of quotes, and none around lines."""
    rest = b""
    while block := source.read(BLOCK_BYTES):
        whole, _, rest = (rest + block).rpartition(b"\n")
        file.writelines(_tabbed(line) for line in whole.split(b"\n") if whole)
    file.write(_tabbed(rest) if rest else b"")


def _unzipped(path: str) -> Any:
    """Return the only file of an archive."""
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile:
        raise ValueError("is not, or not all of, a zip file") from None
    names = [name for name in archive.namelist() if not name.endswith("/")]
    if len(names) != 1:
        raise ValueError(f"has {len(names)} files; one is needed, so unpack it")
    return archive.open(names[0])


def _tabbed(line: bytes) -> bytes:
    """Return a line with tabs, and its end."""
    return _RUNS.sub(_tab, line.strip()) + b"\n"


_RUNS = re.compile(rb'("(?:[^"]|"")*")|[ \t\r]+')


def _tab(found: re.Match[bytes]) -> bytes:
    return found[1] or b"\t"


def _split_at(sep: str, text: str) -> list[str]:
    return text.split(sep)


def _check_header(names: Sequence[str]) -> None:
    """Raise ValueError if what is taken for names are numbers, other than those that count columns."""
    counted = [str(number) for number in range(len(names) + 1)]
    if len(names) > 1 and all(map(is_number, names)) and [*names] not in (counted[:-1], counted[1:]):
        raise ValueError(
            f"the first line is numbers: {', '.join(names)[:_SHOWN]}; if it is no line of names, give header=None, "
            "otherwise header=0"
        )


def type_of(texts: Sequence[str], decimal: str) -> pa.DataType:
    """Return the type of a column with these texts: numbers or truth values if all are, otherwise text."""
    for kind in (pa.float64(), pa.bool_()):
        if all(_fits(text, kind, decimal) for text in texts):
            return kind
    return pa.string()


def _is_number(of: pa.DataType) -> bool:
    return bool(pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_boolean(of))


def _fits(text: str, wanted: pa.DataType, decimal: str) -> bool:
    """Return whether a text can be read as a number, a whole one, or a truth value."""
    plain = text.strip().replace(decimal, ".") if decimal != "." else text.strip()
    if pa.types.is_boolean(wanted):
        return plain.lower() in ("true", "false", "0", "1")
    try:
        int(plain) if pa.types.is_integer(wanted) else float(plain)
    except ValueError:
        return False
    return "_" not in plain


def _as_value_error(error: Exception, before: str = "") -> ValueError:
    """Return an error of pyarrow in its words, shortened, without options that are not ours."""
    text = " ".join(str(error).split()).removeprefix("CSV parse error: ")
    text = _WIDTHS.sub(r"a row has \2 values, but the first line has \1", text)
    if "invalid UTF8" in text or "' codec" in text:
        text = f"there is text in another encoding; {_ENCODING}"
    if _EMPTY_BLOCK in text:
        text = "there are no rows; a header and lines of values are needed"
    return ValueError(before + (text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."))
