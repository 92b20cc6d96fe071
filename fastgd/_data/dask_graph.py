"""Dask's collections (extra: dask): a function of each partition, and what comes of it put together where it lies.

A **turn** is one task for each partition, and a tree of tasks that combine what the partitions give, `FAN_IN` at a
time and in order: the shape of the tree, and so every bit, depends on the number of partitions alone, not on who works.
What a task needs beside its partition goes along as bytes, so that a scheduler need not look at it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastgd._utils.interrupts import ClusterLost, no_check

try:
    import cloudpickle
    from dask.base import get_scheduler
    from dask.delayed import Delayed
    from dask.highlevelgraph import HighLevelGraph
    from dask.task_spec import DataNode, List, Task, TaskRef
except ImportError:
    raise ImportError("Dask's collections need dask: pip install 'fastgd[dask]'") from None

FAN_IN = 8
"""Results that one task combines."""
WAIT = 0.1
"""Seconds between checks for Ctrl-C."""


class _Work(NamedTuple):
    """What tasks do: one for each partition, and those that combine."""

    of_partition: Callable[..., Any]
    combine: Callable[[list[Any]], Any]
    check_interrupt: Callable[[], None]


class _Fault(NamedTuple):
    """An error about the content of a partition, returned as a result, so that the first partition's is raised."""

    error: ValueError | TypeError


def _of_partition(work: _Work | bytes, number: int, own: Any, *blocks: Any) -> Any:
    work = cloudpickle.loads(work) if isinstance(work, bytes) else work
    work.check_interrupt()
    try:
        return work.of_partition(number, *blocks) if own is None else work.of_partition(number, *blocks, own)
    except (ValueError, TypeError) as error:
        return _Fault(error.with_traceback(None))


def _combined(work: _Work | bytes, results: list[Any]) -> Any:
    for result in results:
        if isinstance(result, _Fault):
            return result
    work = cloudpickle.loads(work) if isinstance(work, bytes) else work
    return work.combine(results)


class Partitions:
    """Collections that are cut alike: arrays in blocks of rows, dataframes and series.

    Parameters
    ----------
    collections : sequence
        A partition has a block of each of them.
    """

    def __init__(self, collections: Sequence[Any]) -> None:
        self.collections = collections  # which keep alive what is persisted
        self.client = _client()
        self.graph: dict[Any, Any] = {}
        arrays = [each for each in collections if is_array(each)]
        if arrays:  # together, so that what they are made of is made once
            merged = HighLevelGraph.merge(*(each.__dask_graph__() for each in arrays))
            keys = [each.__dask_keys__() for each in arrays]
            self.graph.update(arrays[0].__dask_optimize__(merged, keys))
        optimized = [each if is_array(each) else each.optimize() for each in collections]
        for each in optimized:
            if not is_array(each):
                self.graph.update(each.__dask_graph__())
        self.keys = [*zip(*(_flat(each.__dask_keys__()) for each in optimized), strict=True)]

    def __len__(self) -> int:
        """Return the number of partitions."""
        return len(self.keys)

    def map_reduce(
        self,
        of_partition: Callable[..., Any],
        combine: Callable[[list[Any]], Any],
        check_interrupt: Callable[[], None],
        own: Mapping[int, Any] | None = None,
    ) -> Any:
        """Call a function for partitions, and combine what it gives, in order.

        Parameters
        ----------
        of_partition : callable
            Called with a partition's number and its block of each collection. A ValueError or TypeError is raised
            here, that of the first partition which has one.
        combine : callable
            Maps a list of results, of partitions that follow each other, to one.
        check_interrupt : callable
            Called now and then; it may raise an exception, which ends the turn.
        own : mapping, optional
            The partitions to ask, by their numbers, and a further argument for each: then all results are combined at
            once.

        Raises
        ------
        ClusterLost
            If whoever was to do the work is gone, or has given it up.
        """
        work: Any = _Work(of_partition, combine, check_interrupt)
        if self.client is not None:
            work = cloudpickle.dumps(work._replace(check_interrupt=no_check))
        last = Delayed(*self._make_graph(work, own))
        result = _computed(self.client, last, check_interrupt) if self.client else last.compute(optimize_graph=False)
        if isinstance(result, _Fault):
            raise result.error
        return result

    def _make_graph(self, work: Any, own: Mapping[int, Any] | None) -> tuple[Any, dict[Any, Any]]:
        """Return the key of a turn's last task, and all of its tasks."""
        token = uuid.uuid4().hex
        shared = f"fastgd-work-{token}"
        graph = {**self.graph, shared: DataNode(shared, work)}
        keys: list[Any] = []
        for number in range(len(self)) if own is None else own:
            key = (f"fastgd-partition-{token}", number)
            blocks = map(TaskRef, self.keys[number])
            graph[key] = Task(key, _of_partition, TaskRef(shared), number, own[number] if own else None, *blocks)
            keys.append(key)
        fan_in = FAN_IN if own is None else len(keys)
        level = 0
        while level == 0 or len(keys) > 1:
            groups = [keys[start : start + fan_in] for start in range(0, len(keys), fan_in)]
            keys = [(f"fastgd-combined-{token}", level, number) for number in range(len(groups))]
            for key, group in zip(keys, groups, strict=True):
                graph[key] = Task(key, _combined, TaskRef(shared), List(*map(TaskRef, group)))
            level += 1
        return keys[0], graph


def _client() -> Any:
    """Return the client of the cluster that Dask would use now, or None."""
    get = get_scheduler()
    client = getattr(get, "__self__", None)
    return client if hasattr(client, "scheduler_info") else None


def _computed(client: Any, last: Delayed, check_interrupt: Callable[[], None]) -> Any:
    """Compute a turn's last task on a cluster, and wait for it."""
    from distributed import CancelledError, KilledWorker
    from distributed.comm.core import CommClosedError

    gone = (CancelledError, CommClosedError, KilledWorker, TimeoutError)
    try:
        future = client.compute(last, optimize_graph=False)
    except Exception as error:
        if client.status == "running":
            raise
        raise ClusterLost(error) from None
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    try:
        check_interrupt()
        while not done.wait(WAIT) and future.status == "pending":
            check_interrupt()
    except BaseException:
        future.cancel()
        raise
    try:
        return future.result()
    except gone as error:
        if future.status == "error" and not isinstance(error, KilledWorker):  # a task's own
            raise
        raise ClusterLost(error) from None


def is_array(collection: Any) -> bool:
    """Return whether something is a Dask array: by its type, as something delayed has every attribute."""
    return hasattr(type(collection), "numblocks")


def is_frame(collection: Any) -> bool:
    """Return whether something is a Dask dataframe, which a series is not."""
    return hasattr(type(collection), "divisions") and collection.ndim == 2


def partition_rows(collection: Any) -> list[float]:
    """Return the rows of each partition, NaN where they are not known."""
    return [*collection.chunks[0]] if is_array(collection) else [np.nan] * collection.npartitions


def mapped(function: Callable[[Any], NDArray[Any]], X: Any, width: int | None, dtype: DTypeLike) -> Any:
    """Return a lazy Dask array (n,) or (n, width): a function applied to the rows of each partition."""
    meta = np.empty((0,) if width is None else (0, width), dtype)
    if is_array(X):
        X = X.rechunk({1: -1}) if X.ndim == 2 else X  # no change if rows are whole
        chunks = (X.chunks[0],) if width is None else (X.chunks[0], (width,))
        dropped = 1 if width is None and X.ndim == 2 else None
        return X.map_blocks(_of_block, function, dtype=dtype, meta=meta, chunks=chunks, drop_axis=dropped)
    return X.map_partitions(_of_frame, function, meta=meta)


def _of_block(block: Any, function: Callable[[Any], Any], block_id: tuple[int, ...] = ()) -> Any:
    return _named(function, block, block_id[0])


def _of_frame(frame: Any, function: Callable[[Any], Any], partition_info: Any = None) -> Any:
    return _named(function, frame, partition_info["number"])


def _named(function: Callable[[Any], Any], block: Any, number: int) -> Any:
    try:
        return function(block)
    except ValueError as error:
        raise ValueError(f"partition {number}: {error}") from None


def _flat(keys: Any) -> list[Any]:
    """Return the keys of a collection's blocks of rows as a flat list."""
    return [key[0] if isinstance(key, list) else key for key in keys]
