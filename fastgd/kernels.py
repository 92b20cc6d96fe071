"""The compiled core: per-sample losses, and the passes that add them up.

Every function compiled by numba is in this file, because numba stamps a cached kernel with the file it stands in:
a helper kept elsewhere could be edited without the cache noticing. So kernels for a user's own loss are not cached.

A pass cuts the rows of X into **blocks** whose size follows from the shape and dtype of X alone. Each block writes
its own row of partial sums; whoever asked for the pass adds the rows up in order. So the result has the same bits
for any number of threads, and the serial twin of a parallel pass gives them too.

Nor may the bits depend on where arrays were allocated. LLVM guards a vectorised loop that stores into one array and
reads another by a check that they do not overlap, and takes a scalar loop where they merely touch. So a loop whose sums
may be reordered (`_SUMS`) stores nothing while it adds up, and a loop that stores is `_EXACT`: the same either way.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numba
import numpy as np
from numba import njit, prange
from numba.extending import overload
from numpy.typing import NDArray

from fastgd.sources import Floats, Tile

_SUMS = {"contract", "reassoc", "nsz"}  # "fast" would also drop the meaning of NaN and infinity
_EXACT = {"contract"}


def _compiled(*, cache: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile at first call; with ``cache``, keep it on disk if some folder can be written.

    Division follows NumPy's error model: Python's check for zero would keep loops from being vectorised.
    """
    options |= {"nogil": True, "error_model": "numpy"}

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(cache=cache, **options)(function)
        except RuntimeError:  # numba's "no locator available": a read-only installation without a home folder
            return njit(**options)(function)

    return decorate


# --- One sample -------------------------------------------------------------------------------------------------------


@_compiled(fastmath=_EXACT)
def _exp(x):
    """exp(x) for x <= 0 without a branch or a call, so that a loop over it vectorises; relative error < 1e-15.

    x = k ln 2 + r with |r| <= ln(2)/2 (Cody and Waite, 1980, ln 2 in two parts), then a Chebyshev interpolant of
    degree 11 for exp(r), error 3e-18, and 2^k written into the exponent's bits. Below -708 it stays at exp(-708).
    """
    x = max(x, -708.0)
    k = np.int64(x * 1.4426950408889634 - 0.5)
    r = (x - k * 0.6931471803691238) - k * 1.9082149292705877e-10
    p = 2.5110037605963777e-08
    p = p * r + 2.763263963904103e-07
    p = p * r + 2.755724091857897e-06
    p = p * r + 2.4801485482328494e-05
    p = p * r + 0.00019841269890047113
    p = p * r + 0.0013888888952314775
    p = p * r + 0.008333333333319601
    p = p * r + 0.0416666666664881
    p = p * r + 0.1666666666666668
    p = p * r + 0.5000000000000019
    p = p * r + 1.0
    p = p * r + 1.0
    return p * np.int64((k + 1023) << 52).view(np.float64)


@_compiled(fastmath=_EXACT)
def _log1p(e):
    """ln(1 + e) for 0 <= e <= 1 without a branch or a call; relative error < 1e-15.

    ln(1 + e) = 2 artanh(s) with s = e / (2 + e) <= 1/3, and a Chebyshev interpolant of degree 9 in s² for
    artanh(s) / s, error 5e-17.
    """
    s = e / (2.0 + e)
    t = s * s
    p = 0.08890381913056651
    p = p * t + 0.04940394524382393
    p = p * t + 0.06795652742789947
    p = p * t + 0.07681838124445817
    p = p * t + 0.09091429900236955
    p = p * t + 0.11111095430673142
    p = p * t + 0.1428571455582858
    p = p * t + 0.199999999976438
    p = p * t + 0.33333333333341286
    p = p * t + 1.0
    return 2.0 * s * p


class Loss:
    """A loss and its parameters; a subclass of a NamedTuple of positive parameters and of this, in `LOSSES` by name.

    ``at(loss, y, z)`` is compiled by numba and gives the value L(y, z) and the slope ∂L/∂z at one sample with target
    y and margin z. Written without branches and calls (``max``, ``abs``, ``a if b else c`` are fine), it vectorises.
    """

    classifies: ClassVar[bool] = False
    """True: y is one of two classes, coded 0 and 1, and z is the log-odds. False: z predicts y, in y's unit."""
    curvature_bound: ClassVar[float]
    """The largest ∂²L/∂z² there is; descent scales its coordinates by it."""
    _asdict: Callable[[], dict[str, Any]]

    def unit(self, spread: float) -> float:
        """Give the unit that slopes are judged in, for targets of this spread."""
        return 1.0 if self.classifies else spread

    @staticmethod
    def at(loss: Any, y: Any, z: Any) -> Any:
        """Value and slope at one sample."""


class _NoParameters(NamedTuple):
    pass


class Squared(_NoParameters, Loss):
    """Linear regression: ``(y − z)²``."""

    curvature_bound = 2.0

    @staticmethod
    def at(loss, y, z):  # noqa: ARG004
        """Value and slope at one sample."""
        residual = z - y
        return residual * residual, 2.0 * residual


class Logistic(_NoParameters, Loss):
    """Logistic regression: ``−[y ln h(z) + (1 − y) ln(1 − h(z))]``, ``h(z) = 1/(1 + e^(−z))``, y in {0, 1}.

    Both cases are ``ln(1 + e^m)`` with ``m = z`` for y = 0 and ``m = −z`` for y = 1, computed without overflow or
    cancellation.
    """

    classifies = True
    curvature_bound = 0.25

    @staticmethod
    def at(loss, y, z):  # noqa: ARG004
        """Value and slope at one sample."""
        sign = 1.0 - 2.0 * y
        m = sign * z
        e = _exp(-abs(m))
        return max(m, 0.0) + _log1p(e), sign * (1.0 if m >= 0.0 else e) / (1.0 + e)


class _Threshold(NamedTuple):
    delta: float = 1.35


class Huber(_Threshold, Loss):
    """Robust regression (Huber, 1964): ``(y − z)²`` up to delta away, beyond it ``delta (2 |y − z| − delta)``."""

    curvature_bound = 2.0

    @staticmethod
    def at(loss, y, z):
        """Value and slope at one sample."""
        residual = z - y
        clipped = min(max(residual, -loss.delta), loss.delta)
        return clipped * (2.0 * residual - clipped), 2.0 * clipped

    def unit(self, spread: float) -> float:
        """Give delta at most: the spread of wild targets says nothing about slopes."""
        return min(spread, self.delta)


LOSSES: dict[str, type[Loss]] = {"squared": Squared, "logistic": Logistic, "huber": Huber}


def _at_sample(loss, y, z):  # noqa: ARG001
    raise AssertionError("compiled code only")  # pragma: no cover


@overload(_at_sample)
def _select_loss(loss, y, z):  # noqa: ARG001
    return loss.instance_class.at


_WIDE = 48  # features


# --- One block of rows ------------------------------------------------------------------------------------------------


@_compiled(fastmath=_SUMS)
def _sum(values, count):
    total = 0.0
    for k in range(count):
        total += values[k]
    return total


@_compiled(fastmath=_SUMS)
def _margins(X, coef, intercept, first, rows, margin):
    """Write X·coef + intercept of some rows.

    Narrow rows are taken four at once, which loads coefficients a quarter as often. Wide ones are not: this is where X
    comes from memory, and the processor foresees one stream better than four.
    """
    fours = rows - rows % 4 if coef.size < _WIDE else 0
    for k in range(0, fours, 4):
        i = first + k
        z0 = z1 = z2 = z3 = intercept
        for j in range(coef.size):
            z0 += X[i, j] * coef[j]
            z1 += X[i + 1, j] * coef[j]
            z2 += X[i + 2, j] * coef[j]
            z3 += X[i + 3, j] * coef[j]
        margin[k], margin[k + 1], margin[k + 2], margin[k + 3] = z0, z1, z2, z3
    for k in range(fours, rows):
        z0 = intercept
        for j in range(coef.size):
            z0 += X[first + k, j] * coef[j]
        margin[k] = z0


@_compiled(fastmath=_EXACT)
def _losses(y, weight, loss, first, rows, value, slope):
    """Turn the margins in ``slope`` into weighted values and slopes."""
    for k in range(rows):
        value[k], slope[k] = _at_sample(loss, y[first + k], slope[k])
    if weight.size:
        for k in range(rows):
            value[k] *= weight[first + k]
            slope[k] *= weight[first + k]


@_compiled(fastmath=_EXACT)
def _add_gradient(X, slope, first, rows, gradient):
    """Add slope·X of some rows; four rows at once load and store the gradient a quarter as often."""
    fours = rows - rows % 4
    for k in range(0, fours, 4):
        i = first + k
        s0, s1, s2, s3 = slope[k], slope[k + 1], slope[k + 2], slope[k + 3]
        for j in range(gradient.size):
            gradient[j] += (s0 * X[i, j] + s1 * X[i + 1, j]) + (s2 * X[i + 2, j] + s3 * X[i + 3, j])
    for k in range(fours, rows):
        s0 = slope[k]
        for j in range(gradient.size):
            gradient[j] += s0 * X[first + k, j]


@_compiled(fastmath=_EXACT)
def _loss_block(X, y, weight, coef, intercept, loss, first, last, value, slope, partial):
    """Loss, slope and gradient sums of rows first to last, X read from memory once.

    Margins, losses and gradient are loops over as many rows as `value` and `slope` hold: what the first cache holds.
    """
    for start in range(first, last, slope.size):
        rows = min(slope.size, last - start)
        _margins(X, coef, intercept, start, rows, slope)
        _losses(y, weight, loss, start, rows, value, slope)
        partial[0] += _sum(value, rows)
        partial[1] += _sum(slope, rows)
        _add_gradient(X, slope, start, rows, partial[2:])


@_compiled(fastmath=_EXACT)
def _moments_block(X, y, weight, pivot, y_pivot, first, last, partial):
    """Σs, then Σs(y−p), Σs(y−p)² of y, then all first and all second moments of X's columns, about a pivot row p."""
    d = pivot.size
    x_first = partial[3 : 3 + d]
    x_second = partial[3 + d : 3 + 2 * d]
    for i in range(first, last):
        s = weight[i] if weight.size else 1.0
        t = y[i] - y_pivot
        partial[0] += s
        partial[1] += s * t
        partial[2] += (s * t) * t
        for j in range(d):
            u = X[i, j] - pivot[j]
            x_first[j] += s * u
            x_second[j] += (s * u) * u


@_compiled(fastmath=_EXACT)
def _first_block(X, y, weight, pivot, y_pivot, coef, intercept, loss, first, last, value, slope, partial):
    """Moments, then loss, slope and gradient sums of rows first to last, X read from memory once."""
    for start in range(first, last, slope.size):
        stop = min(start + slope.size, last)
        _moments_block(X, y, weight, pivot, y_pivot, start, stop, partial)
        _loss_block(X, y, weight, coef, intercept, loss, start, stop, value, slope, partial[3 + 2 * pivot.size :])


@_compiled(fastmath=_EXACT)
def _change_block(X, y, weight, coef, intercept, anchor, anchor_intercept, loss, first, last, scratch, partial):
    """Add up how loss, slope and gradient of rows first to last differ from those at an anchor, X read once."""
    value, slope, anchor_value, anchor_slope = scratch[0], scratch[1], scratch[2], scratch[3]
    for start in range(first, last, slope.size):
        rows = min(slope.size, last - start)
        _margins(X, anchor, anchor_intercept, start, rows, anchor_slope)
        _losses(y, weight, loss, start, rows, anchor_value, anchor_slope)
        _margins(X, coef, intercept, start, rows, slope)
        _losses(y, weight, loss, start, rows, value, slope)
        for k in range(rows):
            value[k] -= anchor_value[k]
            slope[k] -= anchor_slope[k]
        partial[0] += _sum(value, rows)
        partial[1] += _sum(slope, rows)
        _add_gradient(X, slope, start, rows, partial[2:])


@_compiled(cache=True, fastmath=_EXACT)
def _curvatures(X, y, weight, coef, intercept, loss, width, slope, curvature):
    """Write the weighted curvatures of all rows, by central differences of slopes over ±width."""
    for start in range(0, X.shape[0], slope.size):
        rows = min(slope.size, X.shape[0] - start)
        _margins(X, coef, intercept, start, rows, slope)
        for k in range(rows):
            _, above = _at_sample(loss, y[start + k], slope[k] + width)
            _, below = _at_sample(loss, y[start + k], slope[k] - width)
            slope[k] = max((above - below) / (2.0 * width), 0.0)
        for k in range(rows):
            curvature[start + k] = slope[k] * weight[start + k] if weight.size else slope[k]


@_compiled(fastmath=_EXACT)
def _gram_block(X, curvature, center, first, last, z, gram):
    """Add Σ c z zᵀ of rows first to last to the upper triangle of ``gram``, z being a row less the centre, and a 1.

    Eight rows at once load and store the triangle an eighth as often.
    """
    d = center.size
    for start in range(first, last, 8):
        for r in range(8):
            i = min(start + r, last - 1)
            c = curvature[i] if start + r < last else 0.0
            for j in range(d):
                z[r, j] = X[i, j] - center[j]
            z[r, d] = 1.0
            for j in range(d + 1):
                z[8 + r, j] = c * z[r, j]
        for a in range(d + 1):
            w0, w1, w2, w3 = z[8, a], z[9, a], z[10, a], z[11, a]
            w4, w5, w6, w7 = z[12, a], z[13, a], z[14, a], z[15, a]
            for b in range(a, d + 1):
                gram[a, b] += ((w0 * z[0, b] + w1 * z[1, b]) + (w2 * z[2, b] + w3 * z[3, b])) + (
                    (w4 * z[4, b] + w5 * z[5, b]) + (w6 * z[6, b] + w7 * z[7, b])
                )


# --- Passes: a parallel one and its serial twin -----------------------------------------------------------------------


@_compiled(cache=True, fastmath=_EXACT, parallel=True)
def _loss_parallel(X, y, weight, coef, intercept, loss, block_rows, scratch, partial):
    for b in prange(partial.shape[0]):
        last = min((b + 1) * block_rows, X.shape[0])
        value, slope = scratch[b, 0], scratch[b, 1]
        _loss_block(X, y, weight, coef, intercept, loss, b * block_rows, last, value, slope, partial[b])


@_compiled(cache=True, fastmath=_EXACT)
def _loss_serial(X, y, weight, coef, intercept, loss, block_rows, scratch, partial):
    for b in range(partial.shape[0]):
        last = min((b + 1) * block_rows, X.shape[0])
        value, slope = scratch[b, 0], scratch[b, 1]
        _loss_block(X, y, weight, coef, intercept, loss, b * block_rows, last, value, slope, partial[b])


@_compiled(cache=True, fastmath=_EXACT, parallel=True)
def _moments_parallel(X, y, weight, pivot, y_pivot, block_rows, partial):
    for b in prange(partial.shape[0]):
        last = min((b + 1) * block_rows, X.shape[0])
        _moments_block(X, y, weight, pivot, y_pivot, b * block_rows, last, partial[b])


@_compiled(cache=True, fastmath=_EXACT)
def _moments_serial(X, y, weight, pivot, y_pivot, block_rows, partial):
    for b in range(partial.shape[0]):
        last = min((b + 1) * block_rows, X.shape[0])
        _moments_block(X, y, weight, pivot, y_pivot, b * block_rows, last, partial[b])


@_compiled(cache=True, fastmath=_EXACT, parallel=True)
def _first_parallel(X, y, weight, pivot, y_pivot, coef, intercept, loss, block_rows, scratch, partial):
    for b in prange(partial.shape[0]):
        first, last = b * block_rows, min((b + 1) * block_rows, X.shape[0])
        value, slope = scratch[b, 0], scratch[b, 1]
        _first_block(X, y, weight, pivot, y_pivot, coef, intercept, loss, first, last, value, slope, partial[b])


@_compiled(cache=True, fastmath=_EXACT)
def _first_serial(X, y, weight, pivot, y_pivot, coef, intercept, loss, block_rows, scratch, partial):
    for b in range(partial.shape[0]):
        first, last = b * block_rows, min((b + 1) * block_rows, X.shape[0])
        value, slope = scratch[b, 0], scratch[b, 1]
        _first_block(X, y, weight, pivot, y_pivot, coef, intercept, loss, first, last, value, slope, partial[b])


@_compiled(cache=True, fastmath=_EXACT, parallel=True)
def _change_parallel(X, y, weight, coef, intercept, anchor, anchor_intercept, loss, starts, run_rows, scratch, partial):
    for b in prange(partial.shape[0]):
        first, last = starts[b], min(starts[b] + run_rows, X.shape[0])
        _change_block(
            X, y, weight, coef, intercept, anchor, anchor_intercept, loss, first, last, scratch[b], partial[b]
        )


@_compiled(cache=True, fastmath=_EXACT)
def _change_serial(X, y, weight, coef, intercept, anchor, anchor_intercept, loss, starts, run_rows, scratch, partial):
    for b in range(partial.shape[0]):
        first, last = starts[b], min(starts[b] + run_rows, X.shape[0])
        _change_block(
            X, y, weight, coef, intercept, anchor, anchor_intercept, loss, first, last, scratch[b], partial[b]
        )


@_compiled(cache=True, fastmath=_EXACT, parallel=True)
def _gram_parallel(X, curvature, center, z, grams):
    rows = -(-X.shape[0] // grams.shape[0])
    for b in prange(grams.shape[0]):
        _gram_block(X, curvature, center, b * rows, min((b + 1) * rows, X.shape[0]), z[b], grams[b])


@_compiled(cache=True, fastmath=_EXACT)
def _gram_serial(X, curvature, center, z, grams):
    rows = -(-X.shape[0] // grams.shape[0])
    for b in range(grams.shape[0]):
        _gram_block(X, curvature, center, b * rows, min((b + 1) * rows, X.shape[0]), z[b], grams[b])


@_compiled(cache=True, parallel=True)
def _read_parallel(words, partial):
    length = -(-words.size // partial.size)
    for b in prange(partial.size):
        partial[b] = _read_block(words[b * length : (b + 1) * length])


@_compiled()
def _read_block(words):
    """Add up words in four streams at once, which keeps more cache lines on their way than one does."""
    quarter = words.size // 4
    first, second = words[:quarter], words[quarter : 2 * quarter]
    third, fourth = words[2 * quarter : 3 * quarter], words[3 * quarter : 4 * quarter]
    total = 0
    for i in range(quarter):
        total += (first[i] + second[i]) + (third[i] + fourth[i])
    for i in range(4 * quarter, words.size):
        total += words[i]
    return total


# --- What the rest of fastgd calls ------------------------------------------------------------------------------------

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
    folder = _loss_parallel.stats.cache_path
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
    """Give a kernel that may be compiled for a loss: one without a cache if the loss is not of this file."""
    return kernel if type(loss).__module__ == __name__ else _uncached(kernel)


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
    scratch, partial = _workspace(tile, block_rows, 2 + tile.X.shape[1])
    arguments = (*map(_frozen, tile), coef, intercept, loss, block_rows, scratch, partial)
    _launch(_for(loss, _loss_parallel), _for(loss, _loss_serial), tile.X.size, n_threads, arguments)
    return partial


def moment_sums(tile: Tile, pivot: Floats, y_pivot: float, block_rows: int, n_threads: int | None = None) -> Floats:
    """Add up weights and the first and second moments of y and every column about a pivot, one row per block.

    Returns
    -------
    ndarray of shape (blocks, 3 + 2 d), float64
        Per block ``Σs, Σs(y−p), Σs(y−p)²``, then d sums ``Σs(x−p)`` and d sums ``Σs(x−p)²``.
    """
    n, d = tile.X.shape
    partial = np.zeros((-(-n // block_rows), 3 + 2 * d))
    arguments = (*map(_frozen, tile), pivot, y_pivot, block_rows, partial)
    _launch(_moments_parallel, _moments_serial, tile.X.size, n_threads, arguments)
    return partial


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
    """Do the work of `moment_sums` and `loss_sums` in one reading of a tile.

    Returns
    -------
    ndarray of shape (blocks, 3 + 2 d + 2 + d), float64
        Per block the former's sums, then the latter's.
    """
    d = tile.X.shape[1]
    scratch, partial = _workspace(tile, block_rows, 3 + 2 * d + 2 + d)
    arguments = (*map(_frozen, tile), pivot, y_pivot, coef, intercept, loss, block_rows, scratch, partial)
    _launch(_for(loss, _first_parallel), _for(loss, _first_serial), tile.X.size, n_threads, arguments)
    return partial


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
    d = tile.X.shape[1]
    scratch = np.empty((len(starts), 4, _cached_rows(tile, run_rows)))
    partial = np.zeros((len(starts), 2 + d))
    points = (coef, intercept, anchor, anchor_intercept)
    arguments = (*map(_frozen, tile), *points, loss, starts, run_rows, scratch, partial)
    elements = len(starts) * run_rows * d
    _launch(_for(loss, _change_parallel), _for(loss, _change_serial), elements, n_threads, arguments)
    return partial


def _workspace(tile: Tile, block_rows: int, sums: int) -> tuple[Floats, Floats]:
    """Give room for the values and slopes of a sub-block, and zeros for the sums, both for every block of a tile."""
    blocks = -(-len(tile.X) // block_rows)
    return np.empty((blocks, 2, _cached_rows(tile, block_rows))), np.zeros((blocks, sums))


def _cached_rows(tile: Tile, block_rows: int) -> int:
    """Give the rows of a sub-block."""
    row_bytes = int(tile.X.itemsize * tile.X.shape[1])
    return min(block_rows, max(8, min(64, (1 << 13) // max(1, row_bytes)) & ~7))


def curvatures(tile: Tile, coef: Floats, intercept: float, loss: Loss, width: float) -> Floats:
    """Give ``s L''`` for each row of a tile, (n,), from slopes at margins ``width`` above and below."""
    curvature = np.empty(len(tile.y))
    _for(loss, _curvatures)(*map(_frozen, tile), coef, intercept, loss, width, np.empty(64), curvature)
    return curvature


def add_gram(tile: Tile, curvature: Floats, center: Floats, grams: Floats, n_threads: int | None = None) -> None:
    """Add ``Σ c z zᵀ`` over a tile, z = (x − center, 1), to the upper triangles of ``grams``, some rows to each.

    NumPy's product is faster by itself, but BLAS threads stay busy after it and slow down the passes that follow.
    """
    z = np.empty((len(grams), 16, len(center) + 1))
    arguments = (_frozen(tile.X), curvature, center, z, grams)
    _launch(_gram_parallel, _gram_serial, tile.X.size * len(center), n_threads, arguments)


def read(X: Floats) -> int:
    """Merely read a contiguous array, as 8-byte words and with all threads: what a pass is measured against."""
    words = X.reshape(-1).view(np.int64)
    partial = np.zeros(64, dtype=np.int64)
    with _parallel_pass:
        _read_parallel(words, partial)
    return int(partial.sum())
