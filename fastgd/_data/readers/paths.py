"""Paths that a caller gives, as files: patterns and folders, formats by their names, keys in the names of folders."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

PARQUET, CSV, IPC = "Parquet", "CSV", "Arrow IPC"
BY_NAME = {"parquet": PARQUET, "csv": CSV, "arrow": IPC}
"""The formats of tables, by the names that callers give them."""
_MARKS = {
    ".gz": b"\x1f\x8b",
    ".bz2": b"BZh",
    ".xz": b"\xfd7zXZ",
    ".zst": b"\x28\xb5\x2f\xfd",
    ".lz4": b"\x04\x22\x4d\x18",
    ".zip": b"PK\x03\x04",
}
"""The first bytes of packed files, by their endings."""
PACKED = (".gz", ".bz2", ".zst", ".lz4", ".zip")
"""The endings of packed CSV."""
UNPACKED_BY = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma"}
"""The endings of packed files in libsvm's format, and the modules that unpack them."""
LIBSVM = tuple(f".{name}{packed}" for name in ("svm", "libsvm", "svmlight") for packed in ("", *UNPACKED_BY))
_SUFFIXES = {".parquet": PARQUET, ".csv": CSV, ".tsv": CSV, ".arrow": IPC, ".feather": IPC, ".ipc": IPC}
_NULL_KEY = "__HIVE_DEFAULT_PARTITION__"


class DataFile(NamedTuple):
    """A file, the keys that its folders have, those in the path as it was given, and its size and time at first."""

    path: str
    keys: dict[str, str | None]
    given_keys: frozenset[str]
    stamp: tuple[int, int]

    def check_unchanged(self) -> None:
        """Raise ValueError if the file is not what it was."""
        if stamp(self.path) != self.stamp:
            raise ValueError("changed while it was in use")


def find_files(paths: Any, format_name: str | None) -> tuple[list[DataFile], str]:
    """Return the files of paths, folders and patterns, in the order of their paths, and their format.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a file is given twice, or files have no known format, or several.
    """
    if format_name not in (None, *BY_NAME):
        raise ValueError(f"format={format_name!r}; choose one of {', '.join(BY_NAME)}")
    found: list[str] = []
    given: dict[str, frozenset[str]] = {}
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        matching = [str(path)] if os.path.lexists(path) else sorted(glob.glob(str(path), recursive=True))
        inside = [file for match in matching for file in (_inside(match) if os.path.isdir(match) else [match])]
        if not inside:
            what = "no file of this pattern" if glob.has_magic(str(path)) else "no such file"
            raise FileNotFoundError(f"{path}: {'no files in this folder' if os.path.isdir(path) else what}")
        found += dict.fromkeys(inside)
        given |= dict.fromkeys(inside, frozenset(_keys(_fixed_part(str(path)))))
    check_given_once(found)
    for path in found:
        if not os.path.exists(path):
            raise FileNotFoundError(f"{path}: a link to {os.path.realpath(path)}, which is not there")
    kinds = {path: BY_NAME[format_name] if format_name else _format(path) for path in found}
    if len(set(kinds.values())) > 1:
        one, other = found[0], next(path for path in found if kinds[path] != kinds[found[0]])
        raise ValueError(f"{other} is {kinds[other]}, but {one} is {kinds[one]}; one format at a time is needed")
    keys = [_keys(path) for path in found]
    for path, own in zip(found, keys, strict=True):
        if own.keys() != keys[0].keys():
            raise ValueError(f"{path}: is in folders of {', '.join(own) or 'no keys'}, others of {', '.join(keys[0])}")
    files = [DataFile(path, own, given[path], stamp(path)) for path, own in zip(found, keys, strict=True)]
    return files, kinds[found[0]]


def _fixed_part(path: str) -> str:
    """Return a file's path, or that of something in a folder or below what a pattern begins with."""
    if os.path.lexists(path):
        return str(Path(path, "_")) if os.path.isdir(path) else path
    parts = Path(path).parts
    magic = [glob.has_magic(part) for part in parts]
    return str(Path(*parts[: magic.index(True)], "_"))


def check_given_once(paths: Sequence[str]) -> None:
    """Raise ValueError for a file whose rows would count twice."""
    seen: dict[str, str] = {}
    for path in paths:
        place = os.path.realpath(path)
        if place in seen:
            also = "" if seen[place] == path else f", also as {seen[place]}"
            raise ValueError(f"{path}: is given twice{also}; each of its rows would count twice")
        seen[place] = path


def _inside(folder: str) -> list[str]:
    """Return the files of a folder, and links to what may be missing, but for hidden ones."""
    return sorted(str(p) for p in Path(folder).rglob("*") if not (p.is_dir() or _hidden(p.relative_to(folder))))


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def _keys(path: str) -> dict[str, str | None]:
    """Return the values in the names of folders ``key=value``, as Hive writes them."""
    pairs = (part.partition("=") for part in Path(path).parts[:-1] if "=" in part)
    return {unquote(key): None if value == _NULL_KEY else unquote(value) for key, _, value in pairs}


def are_whole_numbers(texts: Sequence[str | None]) -> bool:
    """Return whether keys are whole numbers, and so a column of numbers."""
    return all(text is None or re.fullmatch(r"-?\d{1,18}", text) for text in texts)


def _format(path: str) -> str:
    name = path.lower()
    for ending in PACKED:
        if name.endswith((f".csv{ending}", f".tsv{ending}")):
            return CSV
    suffix = os.path.splitext(name)[1]
    if suffix not in _SUFFIXES:
        raise ValueError(
            f"{path}: a name ending in {', '.join(_SUFFIXES)} is needed, or .csv.gz and the like, or format='csv' (or "
            "'parquet', 'arrow', 'libsvm', 'npy')"
        )
    return _SUFFIXES[suffix]


def packed_as(path: str, endings: Iterable[str]) -> str | None:
    """Return the ending that a file lacks, as its content is packed in one of these ways; None if it lacks none."""
    with open(path, "rb") as file:
        begin = file.read(8)
    found = next((ending for ending in endings if begin.startswith(_MARKS[ending])), None)
    return None if found is None or path.lower().endswith(found) else found


def stamp(path: str) -> tuple[int, int]:
    """Return what tells whether a file has changed: its size and the time of its last change."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file, or no longer") from None
    return stat.st_size, stat.st_mtime_ns
