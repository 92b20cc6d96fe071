"""Samples in the partitions of Dask's collections: a source whose sums are added up where the samples lie.

What travels is a function that adds up, to every partition, and O(d) sums from each, or O(d²) once; and a sample of
rows for the warm start and the metric, as many as a share of the memory limit here holds. It is the sample that would
be drawn in memory, so that a fit differs from that by rounding alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.chunks import Chunk, named
from fastgd._data.dask_graph import Partitions, is_array, is_frame, mapped, partition_rows
from fastgd._data.dataset import SAMPLE_SHARE, Given, InMemory, T, stratified_rows
from fastgd._data.encoder import Form, distinct_labels
from fastgd._data.sparse import Rows
from fastgd._data.survey import Surveyed, checked, closed, heaviest_of, merged_classes, positive, settled, together
from fastgd._data.targets import choose_classes, labels_of, one_class_weighs, some_weights
from fastgd._kernels.threads import alone
from fastgd._typing import Floats
from fastgd._utils.interrupts import Lost
from fastgd._utils.validation import memory_bytes


class Reader(NamedTuple):
    """How the blocks of a partition become samples: columns of one frame, or X, y and weights."""

    form: Form
    features: Sequence[Any] | None
    """Of a frame that holds everything: the columns to predict from, then the target and the weights."""
    target: Any
    weight: Any
    starts: list[int] | None
    """Each partition's first row, where known."""

    def name(self, number: int) -> str:
        """Say which partition this is."""
        return f"partition {number}" + ("" if self.starts is None else f", from row {self.starts[number]}")

    def __call__(self, number: int, X: Any, y: Any = None, weight: Any = None) -> InMemory | None:
        """Give the samples; None if there are none."""
        if self.features is not None:
            y, weight = X[self.target], None if self.weight is None else X[self.weight]
            X = X[self.features]
        name = self.name(number)
        rows = {"X": len(X) if hasattr(X, "columns") else X.shape[0], "y": len(y)}
        if weight is not None:
            rows["sample_weight"] = len(weight)
        if len(set(rows.values())) > 1:
            found = ", ".join(f"{what} has {count} rows" for what, count in rows.items())
            raise ValueError(f"{name}: {found}; all have to be cut alike")
        return self.form.of(Chunk(X, y, weight, name))


class _Known(NamedTuple):
    """What a survey says of some partitions that follow each other."""

    form: Form
    rows: int
    weight: float
    lightest: float
    heaviest: InMemory | None
    size: float
    """Bytes of X."""
    candidates: list[int]
    """Of each partition the rows that a sample can have."""
    classes: NDArray[Any] | None
    weighted: NDArray[Any] | None
    """Classes of samples that have a weight, if there are weights."""
    levels: list[dict[str, None]]


class Partitioned(Surveyed):
    """Samples in partitions, wherever Dask has them.

    Parameters
    ----------
    partitions : Partitions
    reader : Reader
        With the form that a survey found out.
    example : InMemory
        The heaviest of the samples that were looked at, in that form.
    known : _Known, or None
        What the survey says; None without one.
    kept_bytes : int
        What a sample may take here.
    look : callable
        Called while a reading is waited for; it may raise an exception.
    """

    def __init__(
        self,
        partitions: Partitions,
        reader: Reader,
        example: InMemory,
        known: _Known | None,
        kept_bytes: int,
        look: Callable[[], object],
    ) -> None:
        super().__init__(example, *((known.rows, known.weight, known.lightest) if known else (None, None, 1.0)))
        self.partitions, self.reader, self.look = partitions, reader, look
        self.candidates = known.candidates if known else []
        self.row_bytes = known.size / known.rows if known else example.row_bytes
        self.sample_rows = int(kept_bytes / max(1.0, self.row_bytes)) if known else 0
        self.drawn: InMemory | None = None
        self.readings = 1.0 if known else 0.0

    @property
    def known(self) -> InMemory:
        """What was drawn last, or else the example."""
        return self.drawn or self.example

    def reduce(self, of_part: Callable[[InMemory], T], combine: Callable[[list[T]], T]) -> T:
        """Put together what a function gives for the partitions, as a tree: one reading."""
        rows, weight, total = self._turn(partial(_one, self.reader, of_part), partial(_together, combine))
        self.check_same(rows, weight)
        return total  # type: ignore[no-any-return]

    def _turn(self, of_partition: Callable[..., Any], combine: Callable[[list[Any]], Any], own: Any = None) -> Any:
        try:
            return self.partitions.turn(of_partition, combine, self.look, own)
        except Lost as lost:
            self.fault = lost.cause
            raise

    def sample(self, size: int, rng: np.random.Generator) -> InMemory:
        """Draw samples where they lie, and bring them here; once the partitions are gone, from those drawn before."""
        size = min(size, self.sample_rows)
        if self.rows is None or not self.candidates:
            return self.example
        if self.fault is not None:
            if self.drawn is None:
                raise Lost(self.fault)
            return self.drawn.sample(size, rng)
        ends = np.cumsum(self.candidates)
        drawn = np.arange(ends[-1]) if size >= ends[-1] else stratified_rows(int(ends[-1]), size, rng)
        shares = np.split(drawn, np.searchsorted(drawn, ends[:-1]))
        own = {
            number: share - (end - count)
            for number, (share, end, count) in enumerate(zip(shares, ends, self.candidates, strict=True))
            if len(share)
        }
        pieces = self._turn(partial(_picked, self.reader), list, own)
        self.drawn = together(pieces, self.features)
        self.drawn.look = self.look
        return self.drawn

    def check_finite(self) -> None:
        """Find the first NaN or infinity, and say in which partition: a ValueError."""
        self._turn(partial(_checked, self.reader, InMemory.check_finite), _nothing)

    def check_differences(self, suspects: NDArray[np.bool_]) -> None:
        """Look into such columns (d,) of each partition: one more reading, if there are any."""
        if suspects.any() and isinstance(self.example.matrix, Rows):
            self._turn(partial(_checked, self.reader, partial(_check_differences, suspects)), _nothing)


def _one(reader: Reader, of_part: Callable[[InMemory], Any], number: int, *blocks: Any) -> Any:
    with alone():
        part = reader(number, *blocks)
        return (0, 0.0, None) if part is None else (part.shape[0], part.total_weight(), of_part(part))


def _together(combine: Callable[[list[Any]], Any], results: list[Any]) -> Any:
    rows, weights, each = zip(*results, strict=True)
    there = [one for one in each if one is not None]
    return sum(rows), reduce(float.__add__, weights), combine(there) if there else None


def _picked(reader: Reader, number: int, *blocks_and_rows: Any) -> InMemory:
    *blocks, rows = blocks_and_rows
    part = reader(number, *blocks)
    assert part is not None  # noqa: S101  rows are drawn from what is there
    return part.picked(positive(part)[rows])


def _checked(reader: Reader, check: Callable[[InMemory], None], number: int, *blocks: Any) -> None:
    part = reader(number, *blocks)
    if part:
        with named(reader.name(number)):
            check(part)


def _check_differences(suspects: NDArray[np.bool_], part: InMemory) -> None:
    part.check_differences(suspects)


def _nothing(_: list[Any]) -> None:
    pass


def _example(reader: Reader, number: int, *blocks: Any) -> tuple[InMemory, Form] | None:
    """Look at a partition, and say what all others have to look like."""
    part = reader(number, *blocks)
    return None if part is None else (heaviest_of(part), reader.form.learned(part))


def _first(results: list[Any]) -> Any:
    return next((result for result in results if result), None)


def _survey(reader: Reader, number: int, *blocks: Any) -> _Known:
    form, part = reader.form, reader(number, *blocks)
    if part is None:
        return _Known(form, 0, 0.0, np.inf, None, 0.0, [0], None, None, [{} for _ in form.features or ()])
    some = not part.weight.size or bool(part.weight.any())
    return _Known(
        form,
        part.shape[0],
        part.total_weight(),
        part.lightest() if some else np.inf,
        heaviest_of(part),
        part.shape[0] * part.row_bytes,
        [len(positive(part))],
        distinct_labels(part.y) if form.loss.classifies else None,
        distinct_labels(part.y[part.weight > 0.0]) if form.loss.classifies and part.weight.any() else None,
        [dict.fromkeys(feature.levels or ()) for feature in part.features or ()],
    )


def _merged(results: list[_Known]) -> _Known:
    return reduce(_merged_two, results)


def _merged_two(a: _Known, b: _Known) -> _Known:
    if not (a.rows and b.rows):
        more = a if a.rows else b
        return more._replace(candidates=a.candidates + b.candidates)
    assert a.heaviest and b.heaviest  # noqa: S101, PT018  there are rows
    outweighs = b.heaviest.weight.size and b.heaviest.weight[0] > a.heaviest.weight[0]
    return _Known(
        a.form,
        a.rows + b.rows,
        a.weight + b.weight,
        min(a.lightest, b.lightest),
        b.heaviest if outweighs else a.heaviest,
        a.size + b.size,
        a.candidates + b.candidates,
        a.classes if b.classes is None else merged_classes(a.classes, b.classes),
        a.weighted if b.weighted is None else merged_classes(a.weighted, b.weighted),
        [{**one, **other} for one, other in zip(a.levels, b.levels, strict=True)],
    )


def open_partitions(
    X: Any,
    y: Any,
    *,
    target: str | None,
    features: Sequence[str] | None,
    sample_weight: Any,
    form: Form,
    memory_limit: int | str | None,
    unsurveyed: int,
    look: Callable[[], object],
) -> Given:
    """Get to know collections: by a survey, or if there are few features, all numbers, by the first partition.

    Parameters as for `fit` and `fastgd.streams.open_stream`.
    """
    collections, columns, target, weight = _collections(X, y, target, features, sample_weight)
    _check_alike(dict(zip(("X", "y", "sample_weight"), collections, strict=False)))
    partitions = Partitions(collections)
    rows = partition_rows(collections[0])
    starts = None if np.isnan(rows).any() else [0, *map(int, np.cumsum(rows)[:-1])]
    reader = Reader(form, columns, target, weight, starts)
    found = None
    for number in range(len(partitions)):
        if found := partitions.turn(partial(_example, reader), _first, look, {number: None}):
            break
    if found is None:
        raise ValueError("X has no rows")
    example, form = found
    reader = reader._replace(form=form)
    plain = all(feature.levels is None for feature in form.features or ())
    known = None
    if not (plain and example.shape[1] < unsurveyed):
        known = partitions.turn(partial(_survey, reader), _merged, look)
        checked(known.rows, known.weight)
        if known.classes is not None:
            loss, classes = choose_classes(known.classes, form.loss)
            if known.weighted is not None and len(known.weighted) == 1:
                raise ValueError(one_class_weighs(known.weighted[0]))
            form = replace(form, loss=loss, classes=classes)
        if form.features is not None:
            pairs = zip(form.features, known.levels, strict=True)
            form = replace(form, features=tuple(closed(feature, levels) for feature, levels in pairs))
        reader, example = reader._replace(form=form), settled([known.heaviest], form)
    source = Partitioned(partitions, reader, example, known, memory_bytes(memory_limit) // SAMPLE_SHARE, look)
    return Given(source, form.loss, form.classes, form.outputs or 0, bool(form.weighted), None)


def _collections(
    X: Any, y: Any, target: str | None, features: Sequence[str] | None, sample_weight: Any
) -> tuple[list[Any], list[Any] | None, Any, Any]:
    """Give the collections, and if that is one frame, its columns of features, target and weights."""
    if not (is_array(X) or is_frame(X)):
        raise TypeError(f"X is a {type(X).__module__}.{type(X).__name__}; a Dask array or dataframe is needed")
    if is_array(X) and X.ndim != 2:
        raise ValueError(f"X has {X.ndim} dimensions; (rows, features) is needed")
    if is_array(X) and X.numblocks[1] > 1:
        raise ValueError(f"X is cut into {X.numblocks[1]} blocks of columns; X.rechunk({{1: -1}}) puts rows together")
    names = [*X.columns] if is_frame(X) else []
    if y is None:
        if target is None:
            raise TypeError("y is missing: give a Dask collection, or for a dataframe the column's name by target=")
        if not is_frame(X):
            raise ValueError("target: X has no named columns; give y")
        if not (sample_weight is None or isinstance(sample_weight, str)):
            raise ValueError("sample_weight: the target is a column of X; give the name of the weights' column, too")
        beside = [name for name in (target, sample_weight) if name is not None]
        if features is None:
            features = [name for name in names if name not in beside]
        for what, name in (("target", target), ("sample_weight", sample_weight), *(("features", f) for f in features)):
            if name is not None and name not in names:
                raise ValueError(f"{what} {name}: X has no such column; it has {', '.join(map(str, names))}")
            if what == "features" and name in beside:
                raise ValueError(f"features: {name} is the {'target' if name == target else 'weight'}")
        return [X[[*features, *beside]]], [*features], target, sample_weight
    for name, value in (("target", target), ("features", features)):
        if value is not None:
            raise ValueError(f"{name}={value!r}: that is for dataframes without y; leave it out")
    return [X, y, *([] if sample_weight is None else [sample_weight])], None, None, None


def _check_alike(collections: Mapping[str, Any]) -> None:
    """Refuse collections that are cut in different ways, as far as can be seen before they are computed."""
    first, *others = collections
    rows = partition_rows(collections[first])
    for name in others:
        each = collections[name]
        if not (is_array(each) or hasattr(type(each), "divisions")):
            raise TypeError(
                f"{name} is a {type(each).__name__} beside {first} in partitions; make it a Dask collection, cut like "
                f"{first}: dask.array.from_array({name}, chunks={first}.chunks[0])"
            )
        if is_array(each) and (each.ndim not in (1, 2) or any(count > 1 for count in each.numblocks[1:])):
            raise ValueError(f"{name} has shape {each.shape} in {each.numblocks} blocks; whole rows are needed")
        own = partition_rows(each)
        if len(own) != len(rows):
            raise ValueError(
                f"{name} has {len(own)} partitions, {first} has {len(rows)}; rechunk or repartition one of them"
            )
        for number, (one, other) in enumerate(zip(own, rows, strict=True)):
            if abs(one - other) > 0:  # False where one is not known, which a reading finds out
                raise ValueError(
                    f"partition {number}: {name} has {one} rows, {first} has {other}; "
                    f"{name}.rechunk({first}.chunks[0]) cuts them alike"
                )


def total_weight(y: Any, weight: Any) -> float:
    """Give the sum of the weights of collections, or the number of their samples."""
    if weight is None and not np.isnan(rows := partition_rows(y)).any():
        return float(sum(rows))
    _check_alike(_named(y, weight))
    return float(Partitions([y if weight is None else weight]).turn(partial(_total, weight is None), sum, bool))


def _named(y: Any, weight: Any) -> dict[str, Any]:
    return {"y": y} if weight is None else {"y": y, "sample_weight": weight}


def _total(count: bool, number: int, values: Any) -> float:
    with named(f"partition {number}"):
        return float(len(values)) if count else float(some_weights(values, len(values)).sum()) if len(values) else 0.0


def class_totals(y: Any, weight: Any) -> tuple[NDArray[Any], Floats]:
    """Give the labels of a collection, sorted, and the sum of the weights of each."""
    collections = _named(y, weight)
    _check_alike(collections)
    totals = Partitions([*collections.values()]).turn(_class_totals, _added_up, bool)
    classes = np.array(sorted(totals))
    return classes, np.array([totals[label] for label in classes.tolist()])


def _class_totals(number: int, y: Any, weight: Any = None) -> dict[Any, float]:
    if not len(y):
        return {}
    with named(f"partition {number}"):
        found, codes = np.unique(labels_of("y", y, len(y)), return_inverse=True)
        own = None if weight is None else some_weights(weight, len(y))
        return dict(zip(found.tolist(), np.bincount(codes, own).tolist(), strict=True))


def _added_up(results: list[dict[Any, float]]) -> dict[Any, float]:
    totals: dict[Any, float] = {}
    for result in results:
        for label, weight in result.items():
            totals[label] = totals.get(label, 0.0) + weight
    return totals


def weighed(y: Any, weight: Any, classes: NDArray[Any], of_class: Floats) -> Any:
    """Give the weights of a collection's samples times those of their classes: a Dask array."""
    times = mapped(partial(_weights, classes, of_class), y, None, np.float64)
    return times if weight is None else times * (weight if is_array(weight) else weight.values)


def _weights(classes: NDArray[Any], of_class: Floats, y: Any) -> Floats:
    return of_class[np.searchsorted(classes, labels_of("y", y, len(y)))]
