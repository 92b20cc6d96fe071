"""Passes: run the compiled loops over a tile, with all threads or one, and give their sums, one row per block.

Nothing here is compiled, so edits need no care of numba's cache.
"""

from __future__ import annotations

import functools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numba import njit
from numpy.typing import NDArray

from fastgd import kernels
from fastgd.kernels import Loss
from fastgd.lanes import WIDTH
from fastgd.sources import Floats, Tile

FIRST_CACHE = 1 << 12  # bytes of X that a sub-block takes, beside coefficients and gradient,
SECOND_CACHE = 1 << 16  # and where its rows have to be copied in order
GRAM_ROWS = 64  # that a Hessian is added up over in registers
SERIAL_GRAM = 1 << 24  # products below which starting threads costs more than they save


_SMALL = 1 << 17  # elements of X below which waking the threads costs more than they save
_forked = False
_parallel_pass = threading.Lock()


def _note_fork() -> None:
    global _forked, _parallel_pass
    _forked = True
    _parallel_pass = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def max_threads() -> int:
    """Give the number of threads a pass may use: numba's, which heeds NUMBA_NUM_THREADS and the CPU affinity."""
    return int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


def threading_layer() -> str:
    """Name numba's threading layer, known after the first parallel pass."""
    return str(numba.threading_layer())  # type: ignore[attr-defined]


def cache_folder() -> str | None:
    """Give the folder in which compiled kernels are kept, None if they are compiled in memory alone."""
    folder = kernels.pass_parallel.stats.cache_path
    return None if folder is None else str(folder)


def _launch(parallel: Any, serial: Any, elements: int, n_threads: int | None, arguments: tuple[Any, ...]) -> None:
    """Run the parallel pass, or its serial twin where the parallel one cannot run or would not pay.

    numba's workqueue layer aborts the process when two Python threads enter it at once and its OpenMP layer kills a
    forked child at its first parallel call, so one thread at a time gets the parallel pass and forked children none.
    """
    if n_threads == 1 or elements < _SMALL or _forked or not _parallel_pass.acquire(blocking=False):
        serial(*arguments)
        return
    try:
        before = numba.get_num_threads()
        numba.set_num_threads(n_threads or before)
        try:
            parallel(*arguments)
        finally:
            numba.set_num_threads(before)
    finally:
        _parallel_pass.release()


def _for(loss: Loss, kernel: Any) -> Any:
    """Give a kernel that may be compiled for a loss: one without a cache if the loss is not of `kernels`."""
    return kernel if type(loss).__module__ == kernels.__name__ else _uncached(kernel)


@functools.cache
def _uncached(kernel: Any) -> Any:
    return njit(**kernel.targetoptions)(kernel.py_func)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Give a read-only view: numba compiles a kernel for each kind of writability, and none of ours writes to data."""
    view = array.view()
    view.flags.writeable = False
    return view


def loss_sums(
    tile: Tile, coef: Floats, intercept: float, loss: Loss, block_rows: int, n_threads: int | None = None
) -> Floats:
    """Add up loss and gradient over a tile in one reading of it.

    Parameters
    ----------
    tile : Tile
        n rows of d features, with their targets and weights.
    coef : ndarray of shape (d,), float64
    intercept : float
    loss : Loss
    block_rows : int
        Rows per block; one row of the result each.
    n_threads : int, optional
        At most `max_threads()`; None takes what numba is set to.

    Returns
    -------
    ndarray of shape (blocks, 2 + d), float64
        Per block ``Σ s L``, ``Σ s L'`` and the d sums ``Σ s L' x``.
    """
    return _pass(tile, [(coef, intercept)], loss, None, block_rows, n_threads)


def first_sums(
    tile: Tile,
    pivot: Floats,
    y_pivot: float,
    coef: Floats,
    intercept: float,
    loss: Loss,
    block_rows: int,
    n_threads: int | None = None,
) -> Floats:
    """Do the work of `loss_sums`, and take weights and the first and second moments of y and every column.

    Returns
    -------
    ndarray of shape (blocks, 2 + d + 3 + 2 d), float64
        Per block what `loss_sums` gives; then, about the pivot p, ``Σs, Σs(y−p), Σs(y−p)²``, d sums ``Σs(x−p)`` and d
        sums ``Σs(x−p)²``.
    """
    return _pass(tile, [(coef, intercept)], loss, (pivot, y_pivot), block_rows, n_threads)


def change_sums(
    tile: Tile,
    coef: Floats,
    intercept: float,
    anchor: Floats,
    anchor_intercept: float,
    loss: Loss,
    starts: NDArray[np.intp],
    run_rows: int,
    n_threads: int | None = None,
) -> Floats:
    """Add up how loss and gradient differ from those at an anchor, over short runs of a tile's rows, read once.

    Parameters
    ----------
    tile, coef, intercept, loss, n_threads
        As for `loss_sums`.
    anchor, anchor_intercept
        The other coefficients.
    starts : ndarray of shape (runs,)
        The first row of each run; one row of the result each.
    run_rows : int
        Rows of each run; one at the tile's end may be shorter.

    Returns
    -------
    ndarray of shape (runs, 2 + d), float64
        The difference of what `loss_sums` gives for the run.
    """
    points = [(coef, intercept), (anchor, anchor_intercept)]
    return _pass(tile, points, loss, None, run_rows, n_threads, starts)


def _pass(
    tile: Tile,
    points: list[tuple[Floats, float]],
    loss: Loss,
    pivot: tuple[Floats, float] | None,
    block_rows: int,
    n_threads: int | None,
    starts: NDArray[np.intp] | None = None,
) -> Floats:
    """Run the one kernel that there is for a loss: give its sums, one row per block, without the padding of vectors."""
    d = tile.X.shape[1]
    size = _padded_size(d)
    if starts is None:
        starts = np.arange(0, len(tile.y), block_rows)
    coefs = np.zeros((len(points), size))
    for row, (coef, _) in zip(coefs, points, strict=True):
        row[:d] = coef
    intercepts = np.array([intercept for _, intercept in points], np.float64)
    center, y_center = (np.empty(0), 0.0) if pivot is None else (np.append(pivot[0], np.zeros(size - d)), pivot[1])
    partial = np.zeros((len(starts), 2 + size + (3 + 2 * size if pivot else 0)))
    scratch = np.empty((len(starts), *_scratch_shape(tile, block_rows)))
    arguments = (*map(_frozen, tile), coefs, intercepts, center, y_center, loss, starts, block_rows, scratch, partial)
    elements = len(starts) * block_rows * d
    _launch(_for(loss, kernels.pass_parallel), _for(loss, kernels.pass_serial), elements, n_threads, arguments)
    if not pivot:
        return partial[:, : 2 + d]
    first, second = 2 + size + 3, 2 + size + 3 + size
    return np.hstack((partial[:, : 2 + d], partial[:, 2 + size : first + d], partial[:, second : second + d]))


def _padded_size(d: int) -> int:
    """Say how many numbers hold one for each feature in whole vectors, two at least."""
    return max(2 * WIDTH, -(-d // WIDTH) * WIDTH)


def _scratch_shape(tile: Tile, block_rows: int) -> tuple[int, int]:
    """Give the places and rows of scratch space: what the first cache holds, or if rows have to be copied, the second.

    A copied row takes d places more.
    """
    d = tile.X.shape[1]
    if tile.X.flags.c_contiguous and not tile.rows.size:
        places, row_bytes, most = kernels.PLACES, d * tile.X.itemsize, FIRST_CACHE
    else:
        places, row_bytes, most = kernels.PLACES + d, d * 8, SECOND_CACHE
    rows = min(block_rows, most // max(1, row_bytes), 64)
    return places, max(WIDTH, rows // WIDTH * WIDTH)


def gram_shape(d: int) -> tuple[int, int]:
    """Say how many rows and columns `add_gram` wants for d features, a 1 and a target."""
    width = -(-(d + 2) // WIDTH) * WIDTH
    return width, width + WIDTH


def add_gram(
    tile: Tile,
    coef: Floats,
    intercept: float,
    loss: Loss,
    step: float,
    center: Floats,
    y_center: float,
    grams: Floats,
    first_block: int,
    block_rows: int,
    n_threads: int | None = None,
) -> None:
    """Add ``Σ s L'' z zᵀ`` over a tile to the upper triangles of ``grams``, (parts, *gram_shape(d)): blocks to each.

    z is ``(x − center, 1, y − y_center)``, followed by what means nothing; curvatures L'' are differences of
    slopes at margins ``step`` above and below, or 1 if there is no step. A block goes by its number among all of the
    data, of which ``first_block`` are before this tile: what is added up together does not depend on tiles.

    NumPy's product is no faster, and BLAS threads stay busy after it and slow down the passes that follow.
    """
    d, size = tile.X.shape[1], _padded_size(tile.X.shape[1])
    scratch = np.zeros((len(grams), grams.shape[2] + 1 + WIDTH + d, GRAM_ROWS))
    padding = np.zeros(size - d)
    point = np.append(coef, padding), intercept, loss, step, np.append(center, padding), y_center
    arguments = (*map(_frozen, tile), *point, first_block, block_rows, scratch, grams)
    add_part = functools.partial(_for(loss, kernels.gram_part), *arguments)
    threads = n_threads or numba.get_num_threads()
    if threads == 1 or len(tile.y) * d * d < SERIAL_GRAM:
        for part in range(len(grams)):
            add_part(part)
    else:  # Python's threads: a parallel loop would take as long to compile again, and these calls are few and long
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(add_part, range(len(grams))))


def read(X: Floats) -> int:
    """Merely read a contiguous array, as 8-byte words and with all threads: what a pass is measured against."""
    words = X.reshape(-1).view(np.int64)
    partial = np.zeros(64, dtype=np.int64)
    with _parallel_pass:
        kernels.read_parallel(words, partial)
    return int(partial.sum())
