"""How many threads a pass gets: those that the process may use, less those that its other passes are using."""

from __future__ import annotations

import _thread
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from math import ceil, inf
from pathlib import Path

import numba

_lock = threading.Lock()
_parallel = threading.Lock()
_here = threading.local()
_busy = 0  # threads that passes are using
_forked = False
# Read once, as OpenMP does: Dask's nannies set it in the process that starts them, for its children.
_OMP_NUM_THREADS = os.environ.get("OMP_NUM_THREADS", "")


def _note_fork() -> None:
    global _lock, _parallel, _busy, _forked
    _lock, _parallel, _busy, _forked = threading.Lock(), threading.Lock(), 0, True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def max_threads() -> int:
    """Return the number of threads that a fit may ask for: numba's, of NUMBA_NUM_THREADS or the cores at its import."""
    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


def allowed_threads() -> int:
    """Return the number of threads for passes whose caller names none.

    It is what ``numba.set_num_threads`` or NUMBA_NUM_THREADS say. Without NUMBA_NUM_THREADS it is no more than the
    cores that this thread may run on now, the CPU limit of the container or service, and OMP_NUM_THREADS.
    """
    limit = inf
    if "NUMBA_NUM_THREADS" not in os.environ:
        limit = min(ceil(min(cgroup_cores(), max_threads())), _omp_threads())
        if hasattr(os, "sched_getaffinity"):
            limit = min(limit, len(os.sched_getaffinity(0)))
    return 1 if limit <= 1 else int(min(limit, numba.get_num_threads()))  # which starts threads


@contextmanager
def alone() -> Iterator[None]:
    """Let passes of this thread take one thread within a block: the cores beside it are in use."""
    before = getattr(_here, "alone", False)
    _here.alone = True
    try:
        yield
    finally:
        _here.alone = before


@contextmanager
def share(wanted: int | None) -> Iterator[int]:
    """Reserve threads for a pass while it runs: as many as it wants, or those that are allowed and that others leave.

    So a fit alone has all cores, and fits in the threads of any pool come to have one each.
    """
    global _busy
    wanted = 1 if getattr(_here, "alone", False) else wanted
    allowed = wanted or allowed_threads()
    with _lock:
        count = wanted or max(1, allowed - _busy)
        _busy += count
    try:
        yield count
    finally:
        with _lock:
            _busy -= count


@contextmanager
def parallel_loops(count: int) -> Iterator[bool]:
    """Set numba's threads while a parallel loop runs, and yield whether there may be one.

    numba's workqueue layer aborts the process when two Python threads enter it at once and its OpenMP layer kills a
    forked child at its first parallel call, so one thread at a time gets the parallel pass and forked children none.
    """
    if _forked or not _parallel.acquire(blocking=False):
        yield False
        return
    try:
        before = numba.get_num_threads()
        numba.set_num_threads(count)
        try:
            yield True
        finally:
            numba.set_num_threads(before)
    finally:
        _parallel.release()


def run_parts(work: Callable[[int], object], parts: int, count: int) -> None:
    """Call ``work(0)``, ``work(1)``, ..., which release the GIL, on so many of Python's threads, this one among them.

    Not by a pool of `concurrent.futures`: where memory is short a thread may die before its first line, for which
    a pool waits forever. Here a part is waited for only once somebody has begun it.
    """
    left, errors, ended = deque(range(parts)), deque[BaseException](), threading.Semaphore(0)

    def help_out() -> None:
        while left:
            try:
                part = left.popleft()
            except IndexError:  # another was faster
                return
            try:
                if not errors:
                    work(part)
            except BaseException as error:  # raised below, in the caller's thread
                errors.append(error)
            finally:
                ended.release()

    for _ in range(count - 1):
        with suppress(RuntimeError, MemoryError):  # no more threads can be had: then others do its part
            _thread.start_new_thread(help_out, ())
    help_out()
    for _ in range(parts):
        ended.acquire()
    if errors:
        raise errors[0]


def _omp_threads() -> float:
    """Return the first number of OMP_NUM_THREADS, of which there is one for each level of nesting."""
    with suppress(ValueError):
        return max(1, int(_OMP_NUM_THREADS.split(",")[0]))
    return inf


@cache
def cgroup_cores(mount: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Return the CPU limit of this process's control groups and those around them, in cores; infinity if there is none.

    Version 2, or version 1's controller. In a container whose groups lie elsewhere the mount itself is its own.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return inf
    cores = inf
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for root in (mount / controllers, mount / "cpu") if controllers else (mount, mount / "unified"):
            group = root / path.strip("/")
            for folder in (group, *group.parents):
                if folder.is_relative_to(root):
                    cores = min(cores, _quota(folder))
    return cores


def _quota(group: Path) -> float:
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with suppress(OSError, ValueError):  # no such file, or "max"
            quota, period = map(int, " ".join((group / name).read_text(encoding="utf-8") for name in names).split())
            if quota > 0 and period > 0:  # −1 is no limit, too
                return quota / period
    return inf
