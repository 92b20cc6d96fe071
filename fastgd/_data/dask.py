"""Samples in the partitions of Dask's collections: a data set whose sums are added up where the samples lie.

To every partition goes a function that adds up, and O(d) sums come back from each, or O(d²) once. A sample of rows
comes here for the warm start and the preconditioner, as many as a share of the memory limit holds. It is the sample
that would be drawn in memory, so that a fit differs from one in memory by rounding alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial, reduce
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastgd._data.chunks import Chunk, named
from fastgd._data.columns import target_names
from fastgd._data.dask_graph import Partitions, is_array, is_frame, mapped, partition_rows
from fastgd._data.dataset import SAMPLE_SHARE, InMemory, OpenedDataset, T, stratified_rows
from fastgd._data.encoder import Encoded, Encoder, OpenRequest
from fastgd._data.missing import incomplete_rows
from fastgd._data.schema import ColumnChoice, choose_columns
from fastgd._data.sparse import Rows
from fastgd._data.survey import Profile, ProfiledDataset, concat, finalize
from fastgd._data.tables import as_features
from fastgd._data.targets import check_weights, labels_of
from fastgd._kernels.threads import alone
from fastgd._optim.base import Need
from fastgd._typing import Floats
from fastgd._utils.interrupts import ClusterLost, no_check


class Reader(NamedTuple):
    """How the blocks of a partition become samples.

    Attributes
    ----------
    encoder : Encoder
    columns : ColumnChoice or None
        Of a frame that holds everything: which columns are features, target, weights and clusters. None if a partition
        has blocks of X, y and of what is in ``beside``.
    starts : list of int, or None
        Each partition's first row, where known.
    around : ndarray of shape (dense,), or None
        The pivot of dense columns, see `Dataset.recentred`.
    beside : tuple of str
        Which of "sample_weight" and "clusters" there are blocks of.
    """

    encoder: Encoder
    columns: ColumnChoice | None
    starts: list[int] | None
    around: Floats | None = None
    beside: tuple[str, ...] = ()

    def name(self, number: int) -> str:
        """Return how messages name a partition."""
        return f"partition {number}" + ("" if self.starts is None else f", from row {self.starts[number]}")

    def __call__(self, number: int, *blocks: Any) -> InMemory | None:
        """Return the samples of a partition, None if it has none."""
        part = self.encode(number, *blocks).part
        return part if part is None or self.around is None else part.recentred(self.around)

    def encode(self, number: int, X: Any, *beside: Any) -> Encoded:
        """Return the samples of a partition, and how many rows were left out."""
        given = dict(zip(("y", *self.beside), beside, strict=True)) if beside else {}
        if self.columns is not None:
            chosen = self.columns
            named = {"y": chosen.target, "sample_weight": chosen.weight, "clusters": chosen.clusters}
            given = {what: X[column] for what, column in named.items() if column is not None}
            X = X[chosen.features]
        name = self.name(number)
        rows = {"X": len(X) if hasattr(X, "columns") else X.shape[0]}
        rows |= {what: len(block) for what, block in given.items()}
        if len(set(rows.values())) > 1:
            found = ", ".join(f"{what} has {count} rows" for what, count in rows.items())
            raise ValueError(f"{name}: {found}; all have to be cut alike")
        chunk = Chunk(X, given["y"], given.get("sample_weight"), name, given.get("clusters"))
        return self.encoder.encode(chunk)


class DaskDataset(ProfiledDataset):
    """Samples in partitions, wherever Dask has them.

    Parameters
    ----------
    partitions : Partitions
    reader : Reader
        With the encoder that a first pass found out.
    example : InMemory
        The heaviest of the samples that were looked at, as that encoder gives it.
    profile : Profile or None
        What a pass said of all samples, if there was one.
    sample_bytes : int
        What a sample may take here.
    check_interrupt : callable
        Called while a pass is waited for; it may raise an exception.
    """

    def __init__(
        self,
        partitions: Partitions,
        reader: Reader,
        example: InMemory,
        profile: Profile | None,
        sample_bytes: int,
        check_interrupt: Callable[[], None],
    ) -> None:
        super().__init__(reader.encoder, example, profile)
        self.partitions, self.reader, self.check_interrupt = partitions, reader, check_interrupt
        self.candidates = profile.candidates if profile else []
        self.row_bytes = profile.bytes / profile.rows if profile else example.row_bytes
        self.sample_rows = int(sample_bytes / max(1.0, self.row_bytes)) if profile else 0
        self.drawn: InMemory | None = None

    @property
    def local_sample(self) -> InMemory:
        """What was drawn last, or else the example."""
        return self.drawn or self.example

    def recentred(self, pivot: Floats) -> Self:
        """Return the same samples with dense columns as differences from a pivot, in the order of tiles."""
        other = copy(self)
        other.reader, other.example = self.reader._replace(around=pivot), self.example.recentred(pivot)
        other.origin = other.example.origin
        other.drawn = None if self.drawn is None else self.drawn.recentred(pivot)
        return other

    def require(self, needs: frozenset[Need]) -> None:
        """Raise ValueError if a solver needs minibatches."""
        check_needs(needs)

    def map_reduce(self, of_part: Callable[[InMemory], T], combine: Callable[[list[T]], T]) -> T:
        """Return what a function gives for the partitions, combined as a tree: one pass."""
        of_partition, of_results = partial(_of_samples, self.reader, of_part), partial(_with_totals, combine)
        rows, weight, total = self._compute(of_partition, of_results)
        self.check_same(rows, weight)
        return total  # type: ignore[no-any-return]

    def _compute(self, of_partition: Callable[..., Any], combine: Callable[[list[Any]], Any], own: Any = None) -> Any:
        try:
            return self.partitions.map_reduce(of_partition, combine, self.check_interrupt, own)
        except ClusterLost as lost:
            self.fault = lost.cause
            raise

    def sample(self, size: int, rng: np.random.Generator) -> InMemory:
        """Draw rows where they lie, and bring them here; once the partitions are gone, from those drawn before."""
        size = min(size, self.sample_rows)
        if self.rows is None or not self.candidates:
            return self.example
        if self.fault is not None:
            if self.drawn is None:
                raise ClusterLost(self.fault)
            return self.drawn.sample(size, rng)
        ends = np.cumsum(self.candidates)
        drawn = np.arange(ends[-1]) if size >= ends[-1] else stratified_rows(int(ends[-1]), size, rng)
        shares = np.split(drawn, np.searchsorted(drawn, ends[:-1]))
        own = {
            number: share - (end - count)
            for number, (share, end, count) in enumerate(zip(shares, ends, self.candidates, strict=True))
            if len(share)
        }
        pieces = self._compute(partial(_take_candidates, self.reader), list, own)
        self.drawn = concat(pieces, self.features)
        self.drawn.check_interrupt = self.check_interrupt
        return self.drawn

    def check_finite(self) -> None:
        """Raise ValueError naming the partition, row and column of the first NaN or infinity."""
        self._compute(partial(_check_part, self.reader, InMemory.check_finite), _nothing)

    def check_differences(self, suspects: NDArray[np.bool_]) -> None:
        """Raise ValueError for a column among these (d,) that is not constant: one more pass, if there are any."""
        if suspects.any() and isinstance(self.example.design, Rows):
            self._compute(partial(_check_part, self.reader, partial(_check_differences, suspects)), _nothing)


def _of_samples(reader: Reader, of_part: Callable[[InMemory], Any], number: int, *blocks: Any) -> Any:
    with alone():
        part = reader(number, *blocks)
        return (0, 0.0, None) if part is None else (part.shape[0], part.total_weight(), of_part(part))


def _with_totals(combine: Callable[[list[Any]], Any], results: list[Any]) -> Any:
    rows, weights, each = zip(*results, strict=True)
    there = [one for one in each if one is not None]
    return sum(rows), reduce(float.__add__, weights), combine(there) if there else None


def _take_candidates(reader: Reader, number: int, *blocks_and_rows: Any) -> InMemory:
    *blocks, rows = blocks_and_rows
    part = reader(number, *blocks)
    assert part is not None  # noqa: S101  rows are drawn from what is there
    return part.take(part.positive_rows[rows], copy=True)


def _check_part(reader: Reader, check: Callable[[InMemory], None], number: int, *blocks: Any) -> None:
    part = reader(number, *blocks)
    if part:
        with named(reader.name(number)):
            check(part)


def _check_differences(suspects: NDArray[np.bool_], part: InMemory) -> None:
    part.check_differences(suspects)


def _nothing(_: list[Any]) -> None:
    pass


def _example(reader: Reader, number: int, *blocks: Any) -> tuple[InMemory, Encoder] | None:
    """Return the heaviest row of a partition, and the encoder that it implies for all others."""
    part = reader(number, *blocks)
    return None if part is None else (part.heaviest_row(), reader.encoder.implied_by(part))


def _first(results: list[Any]) -> Any:
    return next((result for result in results if result), None)


def _profile(reader: Reader, number: int, *blocks: Any) -> Profile:
    return Profile.of(reader.encode(number, *blocks), reader.encoder)


def check_needs(needs: frozenset[Need]) -> None:
    """Raise ValueError if a solver needs what partitions cannot give, before they are read."""
    if Need.MINIBATCHES in needs:
        raise ValueError(
            "solver='sgd' goes from batch to batch, and of partitions every one would be a round of messages; choose "
            "'newton' or 'lbfgs', which go from pass to pass"
        )


def open_partitions(X: Any, y: Any, request: OpenRequest) -> OpenedDataset:
    """Open collections as a data set: by a first pass, or if they have few features, all numbers, by one partition."""
    session = request.session
    check_needs(request.needs)
    if session.n_threads is not None:
        raise ValueError(
            f"n_threads={session.n_threads}: of Dask's partitions each task takes one thread; leave it out"
        )
    collections, columns = _choose_collections(X, y, request)
    spec = request.spec
    given = {"sample_weight": spec.sample_weight, "clusters": spec.clusters}
    beside = () if columns else tuple(name for name, value in given.items() if value is not None)
    _check_alike(dict(zip(("X", "y", *beside), collections, strict=False)))
    partitions = Partitions(collections)
    rows = partition_rows(collections[0])
    starts = None if np.isnan(rows).any() else [0, *map(int, np.cumsum(rows)[:-1])]
    reader = Reader(request.encoder, columns, starts, beside=beside)
    found = None
    for number in range(len(partitions)):
        alone_asked = {number: None}
        example = partitions.map_reduce(partial(_example, reader), _first, session.check_interrupt, alone_asked)
        found = found or example
        if example and all(feature.levels != () for feature in example[0].features or ()):
            found = example  # every column has a value, so that its type is known
            break
    if found is None:
        raise ValueError("X has no rows" + " in which nothing is missing" * (request.spec.missing == "drop"))
    example, encoder = found
    encoder = encoder if y is None else replace(encoder, target_names=target_names(y))
    reader = reader._replace(encoder=encoder)
    profile = None
    if not request.can_skip_profile(encoder):
        profile = partitions.map_reduce(partial(_profile, reader), Profile.merge_all, session.check_interrupt)
        encoder = profile.finish(encoder)
        reader, example = reader._replace(encoder=encoder), finalize([profile.heaviest], encoder)
    sample_bytes = request.spec.memory_bytes // SAMPLE_SHARE
    dataset = DaskDataset(partitions, reader, example, profile, sample_bytes, session.check_interrupt)
    return reader.encoder.opened(dataset, dropped=profile.dropped if profile else 0)


def _choose_collections(X: Any, y: Any, request: OpenRequest) -> tuple[list[Any], ColumnChoice | None]:
    """Return the collections, and if that is one frame, which of its columns are features, target and weights."""
    spec = request.spec
    if not (is_array(X) or is_frame(X)):
        raise TypeError(f"X is a {type(X).__module__}.{type(X).__name__}; a Dask array or dataframe is needed")
    if is_array(X) and X.ndim != 2:
        raise ValueError(f"X has {X.ndim} dimensions; (rows, features) is needed")
    if is_array(X) and X.numblocks[1] > 1:
        raise ValueError(f"X is cut into {X.numblocks[1]} blocks of columns; X.rechunk({{1: -1}}) puts rows together")
    if y is None:
        if spec.target is None:
            raise TypeError("y is missing: give a Dask collection, or for a dataframe the column's name by target=")
        if not is_frame(X):
            raise ValueError("target: X has no named columns; give y")
        if not (spec.sample_weight is None or isinstance(spec.sample_weight, str)):
            raise ValueError("sample_weight: the target is a column of X; give the name of the weights' column, too")
        if not (spec.clusters is None or isinstance(spec.clusters, str)):
            raise ValueError("clusters: the target is a column of X; give the name of the clusters' column, too")
        chosen = choose_columns([*X.columns], spec.target, spec.features, spec.sample_weight, clusters=spec.clusters)
        return [X[chosen.all]], chosen
    for name, value in (("target", spec.target), ("features", spec.features)):
        if value is not None:
            raise ValueError(f"{name}={value!r}: that is for dataframes without y; leave it out")
    return [X, y, *(each for each in (spec.sample_weight, spec.clusters) if each is not None)], None


def _check_alike(collections: Mapping[str, Any]) -> None:
    """Raise for collections that are cut in different ways, as far as can be seen before they are computed."""
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
            if abs(one - other) > 0:  # false where one is not known: a pass finds out
                raise ValueError(
                    f"partition {number}: {name} has {one} rows, {first} has {other}; "
                    f"{name}.rechunk({first}.chunks[0]) cuts them alike"
                )


def total_weight(y: Any, weight: Any) -> float:
    """Return the sum of the weights of collections, or the number of their samples."""
    if weight is None and not np.isnan(rows := partition_rows(y)).any():
        return float(sum(rows))
    _check_alike(_named(y, weight))
    return float(
        Partitions([y if weight is None else weight]).map_reduce(partial(_total, weight is None), sum, no_check)
    )


def complete_weight(X: Any, y: Any, weight: Any, categorical: str | Sequence[str]) -> float:
    """Return the sum of the weights of the samples in which nothing is missing: one pass."""
    collections = [X, y] if weight is None else [X, y, weight]
    _check_alike(dict(zip(("X", "y", "sample_weight"), collections, strict=False)))
    return float(Partitions(collections).map_reduce(partial(_complete_total, categorical), sum, no_check))


def _complete_total(categorical: str | Sequence[str], number: int, X: Any, y: Any, weight: Any = None) -> float:
    with named(f"partition {number}"):
        if not len(y):
            return 0.0
        kept = ~incomplete_rows(as_features(X, categorical, missing="drop"), y, weight)
        return float(np.count_nonzero(kept) if weight is None else np.asarray(weight)[kept].sum())


def _named(y: Any, weight: Any) -> dict[str, Any]:
    return {"y": y} if weight is None else {"y": y, "sample_weight": weight}


def _total(count: bool, number: int, values: Any) -> float:
    with named(f"partition {number}"):
        return float(len(values)) if count else float(check_weights(values, len(values)).sum()) if len(values) else 0.0


def class_totals(y: Any, weight: Any) -> tuple[NDArray[Any], Floats]:
    """Return the labels of a collection, sorted, and the sum of the weights of each."""
    collections = _named(y, weight)
    _check_alike(collections)
    totals = Partitions([*collections.values()]).map_reduce(_class_totals, _added_up, no_check)
    classes = np.array(sorted(totals))
    return classes, np.array([totals[label] for label in classes.tolist()])


def _class_totals(number: int, y: Any, weight: Any = None) -> dict[Any, float]:
    if not len(y):
        return {}
    with named(f"partition {number}"):
        found, codes = np.unique(labels_of("y", y, len(y)), return_inverse=True)
        own = None if weight is None else check_weights(weight, len(y))
        return dict(zip(found.tolist(), np.bincount(codes, own).tolist(), strict=True))


def _added_up(results: list[dict[Any, float]]) -> dict[Any, float]:
    totals: dict[Any, float] = {}
    for result in results:
        for label, weight in result.items():
            totals[label] = totals.get(label, 0.0) + weight
    return totals


def weighed(y: Any, weight: Any, classes: NDArray[Any], of_class: Floats) -> Any:
    """Return the weights of a collection's samples times those of their classes: a Dask array."""
    times = mapped(partial(_weights, classes, of_class), y, None, np.float64)
    return times if weight is None else times * (weight if is_array(weight) else weight.values)


def _weights(classes: NDArray[Any], of_class: Floats, y: Any) -> Floats:
    return of_class[np.searchsorted(classes, labels_of("y", y, len(y)))]
