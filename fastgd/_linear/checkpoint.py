"""What a fit goes on from after a stop: an earlier result, or a file that also outlives a killed process.

A descent is a function of its state, so to go on is to read that state back. All else follows from the fit's arguments
and data: it is made again, and arguments and data have to be the same.

The file holds ``fastgd-checkpoint <version>``, the SHA-256 of all that follows, and JSON, each on a line; then arrays
of little-endian float64. Nothing in it says what to construct: types come from the annotations of `LoopState`. So a
file can be damaged, but not run code.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import time
import types
import typing
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastgd._data.dataset import Dataset, InMemory
from fastgd._linear.objective import Coefficients
from fastgd._linear.statistics import Moments
from fastgd._optim.base import LoopState, Solver
from fastgd._optim.result import Row
from fastgd._typing import Floats
from fastgd._utils.atomic_io import check_writable, replacing, unfinished
from fastgd.exceptions import CheckpointWarning

MAGIC = b"fastgd-checkpoint"
VERSION = 5
"""Of the format, and of the meaning of a state."""
INTERVAL = 3.0
"""Seconds between writings at least."""
SHARE = 25.0
"""Seconds between writings at least, in units of what a writing takes."""
_MARK = "writing"
"""In the name of a file that is not yet whole."""
HASH = 64
"""Characters of a hash."""
DATA = "X, y or sample_weight"
"""How messages name what a hash of the data stands for."""
HASHED_ROWS, HASHED_BYTES = 32, 1 << 22
"""How many rows of the data are hashed, and how many bytes at most."""


class FitFingerprint(NamedTuple):
    """What every bit of a fit follows from.

    Attributes
    ----------
    arguments : dict
        Named values that JSON can hold: arguments of the fit, and hashes of the data.
    start : Coefficients, "random" or None
    rng : Generator
        As it stood when the fit began.
    """

    arguments: dict[str, Any]
    start: Coefficients | str | None
    rng: np.random.Generator

    @classmethod
    def of(
        cls,
        arguments: dict[str, Any],
        dataset: Dataset,
        start: Coefficients | str | None,
        rng: np.random.Generator,
    ) -> Self:
        """Return the fingerprint of a fit to a data set, of which a few rows are hashed; ``rng`` is copied."""
        return cls({**arguments, DATA: _hash_rows(dataset.local_sample)}, start, deepcopy(rng))

    @property
    def identity(self) -> dict[str, Any]:
        """The fingerprint as JSON can hold it."""
        start = self.start if self.start is None or isinstance(self.start, str) else digest(*self.start)
        return {**self.arguments, "start": start, "rng": hashed(self.rng.bit_generator.state)}


def hashed(value: Any) -> str:
    """Return a hash of what JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=np.ndarray.tolist).encode()).hexdigest()


def digest(*arrays: NDArray[Any] | float) -> str:
    """Return a hash of the values, dtypes and shapes of arrays of numbers."""
    found = hashlib.sha256()
    for array in map(np.asarray, arrays):
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def _hash_rows(dataset: InMemory) -> str:
    """Return a hash of a few rows: enough to tell data apart that somebody confuses."""
    n = dataset.shape[0]
    count = max(1, min(HASHED_ROWS, n, int(HASHED_BYTES // dataset.row_bytes)))
    rows = np.linspace(0, n - 1, count).astype(np.intp)
    arrays = [dataset.y[rows], dataset.weight[rows] if dataset.weight.size else dataset.weight]
    if dataset.design.row_access:  # rows of others are far apart
        part = dataset.design.copy_rows(rows).tile(0, count)
        arrays += [part.X, *([] if part.entries is None else part.entries[:3])]
    return digest(*arrays)


class SavedState(NamedTuple):
    """What a descent goes on from, once all that its arguments and data give is made again.

    Attributes
    ----------
    state : LoopState
    moments : Moments
        Coordinates depend on them.
    data : str
        A hash of what the first pass said of all samples.
    """

    state: LoopState
    moments: Moments
    data: str


class Checkpoint:
    """A file that a descent's state is written to from time to time, and that it goes on from.

    Parameters
    ----------
    path : str or path
    origin : FitFingerprint
        What a file must be of to be gone on from.
    solver : type
        The solver's class, which says of what types its state is.
    lengths : tuple of int
        What an array can be as long as, a point first.

    Attributes
    ----------
    kept : SavedState or None
        What the file holds, if there is one.
    failure : str or None
        Why the last writing failed, if it did, and what there is instead.

    Raises
    ------
    ValueError
        If there is a file that is no checkpoint, or a damaged one, or that of another fit.
    OSError
        If it cannot be read, or no file could be written there.
    """

    def __init__(
        self, path: str | os.PathLike[str], origin: FitFingerprint, solver: type[Solver], lengths: tuple[int, ...]
    ) -> None:
        self.path = Path(path)
        self.identity = origin.identity
        check_writable(self.path)
        self.kept: SavedState | None = None
        self.failure: str | None = None
        self.warned = False
        if self.path.exists():
            document, numbers = _read(self.path)
            self._compare(document["fit"], self.identity)
            try:
                arrays = _arrays(document["shapes"], numbers, lengths)
                self.kept = _Reader(arrays, _hint(solver.step, "state")).read(document["kept"], SavedState)
                state = self.kept.state
                if (state.best is None) is bool(state.rows):
                    raise ValueError("rows without a best point")
            except _DAMAGE as error:
                raise _damaged(self.path, error) from None
        unfinished(self.path, _MARK).unlink(missing_ok=True)  # of who was killed in the last writing of all
        self.due = time.perf_counter() + INTERVAL

    def _compare(self, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
        for name in {**theirs, **ours}:
            there, here = theirs.get(name), ours.get(name)
            if there != here or type(there) is not type(here):  # as 0 is False
                opaque = any(isinstance(value, str) and len(value) == HASH for value in (there, here))
                what = f"other {name}" if opaque else f"{name}={there!r}, and this one has {here!r}"
                raise ValueError(
                    f"checkpoint: {self.path} is of a fit with {what}. Remove the file to begin anew, or name another"
                )

    def check_data(self, data: str) -> None:
        """Raise ValueError if what was kept is of a fit to other data."""
        if self.kept is not None:
            self._compare({DATA: self.kept.data}, {DATA: data})

    def keep(self, kept: SavedState) -> None:
        """Write if the last writing is long enough ago."""
        if time.perf_counter() >= self.due:
            self.write(kept)

    def write(self, kept: SavedState) -> None:
        """Write; if that fails, the file stays as it is, and a warning says so once: a full disk ends no fit."""
        began = time.perf_counter()
        writer = _Writer()
        tree = writer.tree(kept)
        document = {"fit": self.identity, "kept": tree, "shapes": [array.shape for array in writer.arrays]}
        parts = [json.dumps(document).encode() + b"\n", *(_little(array).tobytes() for array in writer.arrays)]
        found = hashlib.sha256()
        for part in parts:
            found.update(part)
        self.failure = None
        try:
            with replacing(self.path, mark=_MARK) as temporary, temporary.open("wb") as file:
                file.write(b"%s %d\n%s\n" % (MAGIC, VERSION, found.hexdigest().encode()))
                file.writelines(parts)
        except OSError as error:
            left = "what is there is older" if self.path.exists() else "there is no checkpoint"
            self.failure = f"checkpoint: {error.strerror or error}; the fit needs none to go on, but {left}."
        now = time.perf_counter()
        self.due = now + max(INTERVAL, SHARE * (now - began))
        if self.failure and not self.warned:
            self.warned = True
            warnings.warn(self.failure, CheckpointWarning, stacklevel=2)


_DAMAGE = (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError)


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Read a file if it is a whole checkpoint: what it says, and the numbers of its arrays."""
    if not path.is_file():
        raise ValueError(f"checkpoint: {path} is no regular file; name another")
    with path.open("rb") as file:
        first = file.readline(100)
        name, _, version = first.rstrip(b"\n").partition(b" ")
        if name != MAGIC:
            raise ValueError(
                f"checkpoint: {path} is not a checkpoint of fastgd and stays as it is; remove it or name another"
            )
        if version != b"%d" % VERSION:
            found = version.decode(errors="replace")
            raise ValueError(
                f"checkpoint: {path} has format {found}; this fastgd reads {VERSION}. Remove the file, or name another"
            )
        checksum = file.readline(100).rstrip(b"\n")
        content = file.read()
    if hashlib.sha256(content).hexdigest().encode() != checksum:
        raise _damaged(path, "its checksum is another")
    text, _, numbers = content.partition(b"\n")
    try:
        document = json.loads(text)
        if not isinstance(document["fit"], dict):
            raise TypeError("it does not say of what it is")
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    return document, numbers


def _damaged(path: Path, why: object) -> ValueError:
    what = f"{type(why).__name__}: {why}" if isinstance(why, Exception) else why
    return ValueError(f"checkpoint: {path} is damaged: {what}. Remove the file to begin anew, or name another")


def _little(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, "<f8")


class _Writer:
    """Turns a state into what JSON can hold, and arrays, of which each is written once."""

    def __init__(self) -> None:
        self.arrays: list[NDArray[Any]] = []
        self.places: dict[int, int] = {}

    def tree(self, value: Any) -> Any:
        """Return what JSON can hold; an array is the number of its place."""
        if isinstance(value, np.ndarray):
            if id(value) not in self.places:
                self.places[id(value)] = len(self.arrays)
                self.arrays.append(value)
            return self.places[id(value)]
        if isinstance(value, list):  # of rows
            self.arrays.append(np.array(value, np.float64).reshape(-1, len(Row._fields)))
            return len(self.arrays) - 1
        if isinstance(value, tuple):
            return [self.tree(each) for each in value]
        if isinstance(value, np.generic):
            return value.item()
        return value


def _arrays(shapes: Any, numbers: bytes, lengths: tuple[int, ...]) -> list[Floats]:
    """Cut arrays out: those of given lengths, matrices no larger than those over points, which come first, and rows."""
    values = np.frombuffer(numbers, "<f8").astype(np.float64)
    arrays, first = [], 0
    for shape in shapes:
        rows, columns = shape if len(shape) == 2 else (*shape, None)  # a point has no columns
        if not all(type(length) is int and length >= 0 for length in shape) or not (
            (columns is None and rows in (0, *lengths))
            or (columns is not None and max(rows, columns) <= lengths[0])
            or columns == len(Row._fields)
        ):
            raise ValueError(f"an array of shape {shape}")
        last = first + rows * (1 if columns is None else columns)
        if last > len(values):
            raise ValueError("it ends too early")
        arrays.append(values[first:last].reshape(shape).copy())
        first = last
    if first != len(values):
        raise ValueError("it ends too late")
    return arrays


class _Reader:
    """Turns what `_Writer` gave back into a state, of the types that are annotated and of no other."""

    def __init__(self, arrays: list[Floats], state_type: Any) -> None:
        self.arrays = arrays
        self.state_type = state_type

    def read(self, tree: Any, kind: Any) -> Any:
        """Return a value of a type; a ValueError if the tree is none."""
        if kind is Any:  # which only `Step.state` is
            return self.read(tree, self.state_type)
        if typing.get_origin(kind) in (typing.Union, types.UnionType):
            (kind,) = (each for each in typing.get_args(kind) if each is not types.NoneType)
            return None if tree is None else self.read(tree, kind)
        if kind is float and type(tree) in (int, float):
            return float(tree)
        if kind in (int, bool, str) and type(tree) is kind:
            return tree
        if typing.get_origin(kind) is np.ndarray and type(tree) is int:
            array = self.arrays[tree]
            if array.ndim == 2 and len(Row._fields) == array.shape[1] != array.shape[0]:
                raise ValueError("rows where a point should be")
            return array
        if typing.get_origin(kind) is list and type(tree) is int:
            columns = _hints(Row)
            return [
                Row(*(kind(value) for kind, value in zip(columns, row, strict=True)))
                for row in self.arrays[tree].tolist()
            ]
        if typing.get_origin(kind) is tuple and type(tree) is list:
            return tuple(self.read(each, typing.get_args(kind)[0]) for each in tree)
        if isinstance(kind, type) and issubclass(kind, tuple) and type(tree) is list:
            hints = _hints(kind)
            if len(tree) == len(hints):
                return kind(*map(self.read, tree, hints))
        raise ValueError(f"{str(tree)[:50]} where {getattr(kind, '__name__', kind)} is expected")


@functools.cache
def _hints(kind: type) -> tuple[Any, ...]:
    return tuple(typing.get_type_hints(kind).values())


def _hint(function: Any, argument: str) -> Any:
    return typing.get_type_hints(function)[argument]
