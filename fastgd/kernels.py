"""The compiled core: per-sample losses, and the loops over samples that add them up; `passes` runs them.

Every function compiled by numba is in this file, because numba stamps a cached kernel with the file it stands in:
a helper kept elsewhere could be edited without the cache noticing. So kernels for a user's own loss are not cached, and
an edit of the vector operations has to show here (lanes.py: fc69cb0909334aab).

A pass cuts the rows of X into **blocks** whose size follows from the shape and dtype of X alone. Each block writes
its own row of partial sums; whoever asked for the pass adds the rows up in order. So the result has the same bits
for any number of threads, and the serial twin of a parallel pass gives them too.

Nor may the bits depend on where arrays were allocated. LLVM guards a vectorised loop that stores into one array and
reads another by a check that they do not overlap, and takes a scalar loop where they merely touch. So no loop may
reorder its additions (`_EXACT`): sums over features and rows are written out in vectors of eight (`lanes`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numba import njit, prange
from numba.extending import overload

from fastgd.lanes import (
    WIDTH,
    add,
    ahead,
    data,
    dots,
    fma,
    like,
    load,
    load_first,
    multiply,
    splat,
    store,
    subtract,
    sums,
    turn,
)

_EXACT = {"contract"}  # no addition in another order than written; "fast" would also drop the meaning of NaN


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


_inlined = _compiled(fastmath=_EXACT, forceinline=True)


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
def _twice_artanh(s):
    """2 artanh(s) for 0 <= s <= 1/3 without a branch or a call; relative error < 1e-15.

    A Chebyshev interpolant of degree 9 in s² for artanh(s) / s, error 5e-17.
    """
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
    cancellation: ``max(m, 0) + ln(1 + e)`` with ``e = e^(−|m|)`` and ``ln(1 + e) = 2 artanh(e / (2 + e))``. Its
    quotient and the slope's share one division.
    """

    classifies = True
    curvature_bound = 0.25

    @staticmethod
    def at(loss, y, z):  # noqa: ARG004
        """Value and slope at one sample."""
        sign = 1.0 - 2.0 * y
        m = sign * z
        e = _exp(-abs(m))
        inverse = 1.0 / ((1.0 + e) * (2.0 + e))
        value = max(m, 0.0) + _twice_artanh(e * (1.0 + e) * inverse)
        return value, sign * (1.0 if m >= 0.0 else e) * ((2.0 + e) * inverse)


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


PLACES = 4 + WIDTH  # of scratch space per row: value and slope at two points, eight partial sums of a margin


# --- Some rows, in the first cache ------------------------------------------------------------------------------------


def _rows_at(X, index, start, rows, room):  # noqa: ARG001
    raise AssertionError("compiled code only")  # pragma: no cover


@overload(_rows_at)
def _select_layout(X, index, start, rows, room):  # noqa: ARG001
    """Point at rows of X, or of the rows of X that are named, one after the other, copied into ``room`` if need be."""
    if X.layout == "C":
        return lambda X, index, start, rows, room: _gathered(X, index, start, rows, room)
    return lambda X, index, start, rows, room: _turned(X, index, start, rows, room)


@_inlined
def _gathered(X, index, start, rows, room):
    d = X.shape[1]
    if not index.size:
        return ahead(data(X), start * d)
    copy = like(room, data(X))
    for k in range(rows):
        row, to = ahead(data(X), index[start + k] * d), ahead(copy, k * d)
        for j in range(d):
            to[j] = row[j]
    return copy


@_inlined
def _turned(X, index, start, rows, room):
    """Do so for other orders than C, by eight columns at once where columns are contiguous."""
    d, across = X.shape[1], X.strides[1] // X.itemsize
    contiguous = X.strides[0] == X.itemsize and X.strides[1] % X.itemsize == 0 and index.size == 0
    whole_rows, whole = rows // WIDTH * WIDTH if contiguous else 0, d // WIDTH * WIDTH
    for j in range(0, whole, WIDTH):
        for k in range(0, whole_rows, WIDTH):
            turn(data(X), start + k + j * across, across, room, k * d + j, d, rows)
    for k in range(rows):
        i = index[start + k] if index.size else start + k
        for j in range(whole if k < whole_rows else 0, d):
            room[k * d + j] = X[i, j]
    return room


_NARROW = 2 * WIDTH  # features of a row up to which coefficients and gradient stay in registers


@_inlined
def _narrow_product(x, k, d, first, second):
    head = multiply(load_first(x, k * d, min(d, WIDTH)), first)
    return fma(load_first(x, k * d + WIDTH, max(d - WIDTH, 0)), second, head)


@_inlined
def _wide_margins(x, d, coef, intercept, rows, room, margin):
    """Write X·coef + intercept of some rows; up to seven numbers after them mean nothing.

    Rows are taken one at a time: here X comes from memory, and the processor foresees one stream, read by few
    instructions, better than several.
    """
    dots(x, d, rows, coef, room)
    for k in range(0, rows, WIDTH):
        at = ahead(room, k * WIDTH)
        products = sums(
            load(at, 0), load(at, 8), load(at, 16), load(at, 24), load(at, 32), load(at, 40), load(at, 48), load(at, 56)
        )
        store(margin, k, add(splat(intercept), products))


@_inlined
def _margins(x, d, coef, intercept, rows, room, margin):
    """Do so; narrow rows, of which many are in a line of cache, are taken eight at once."""
    last = rows - 1
    if d <= _NARROW:
        a, b = load(coef, 0), load(coef, WIDTH)
        for k in range(0, rows, WIDTH):
            products = sums(
                _narrow_product(x, k, d, a, b),
                _narrow_product(x, min(k + 1, last), d, a, b),
                _narrow_product(x, min(k + 2, last), d, a, b),
                _narrow_product(x, min(k + 3, last), d, a, b),
                _narrow_product(x, min(k + 4, last), d, a, b),
                _narrow_product(x, min(k + 5, last), d, a, b),
                _narrow_product(x, min(k + 6, last), d, a, b),
                _narrow_product(x, min(k + 7, last), d, a, b),
            )
            store(margin, k, add(splat(intercept), products))
        return
    _wide_margins(x, d, coef, intercept, rows, room, margin)


@_compiled(fastmath=_EXACT)
def _losses(y, weight, weighted, loss, rows, value, slope):
    """Turn the margins in ``slope`` into weighted values and slopes, followed by zeros up to a multiple of eight."""
    for k in range(rows):
        value[k], slope[k] = _at_sample(loss, y[k], slope[k])
    if weighted:
        for k in range(rows):
            value[k] *= weight[k]
            slope[k] *= weight[k]
    for k in range(rows, -(-rows // WIDTH) * WIDTH):
        value[k] = 0.0
        slope[k] = 0.0


@_inlined
def _add_gradient(x, d, slope, rows, gradient):
    """Add slope·X of some rows; four at once load and store the gradient a quarter as often, narrow rows hardly ever.

    Slopes after the last row, up to a multiple of eight, must be 0: they meet the last row again.
    """
    last = rows - 1
    whole = d // WIDTH * WIDTH
    head, tail = load(gradient, 0), load(gradient, WIDTH)
    for k in range(0, rows, 4):
        a, b = ahead(x, min(k, last) * d), ahead(x, min(k + 1, last) * d)
        c, e = ahead(x, min(k + 2, last) * d), ahead(x, min(k + 3, last) * d)
        s, t, u, v = splat(slope[k]), splat(slope[k + 1]), splat(slope[k + 2]), splat(slope[k + 3])
        if d <= _NARROW:
            count = min(d, WIDTH)
            pair = fma(load_first(b, 0, count), t, multiply(load_first(a, 0, count), s))
            other = fma(load_first(e, 0, count), v, multiply(load_first(c, 0, count), u))
            head = add(head, add(pair, other))
            count = max(d - WIDTH, 0)
            pair = fma(load_first(b, WIDTH, count), t, multiply(load_first(a, WIDTH, count), s))
            other = fma(load_first(e, WIDTH, count), v, multiply(load_first(c, WIDTH, count), u))
            tail = add(tail, add(pair, other))
            continue
        for j in range(0, whole, WIDTH):
            total = fma(load(b, j), t, fma(load(a, j), s, load(gradient, j)))
            store(gradient, j, fma(load(e, j), v, fma(load(c, j), u, total)))
        if whole < d:
            count = d - whole
            total = fma(load_first(b, whole, count), t, fma(load_first(a, whole, count), s, load(gradient, whole)))
            total = fma(load_first(e, whole, count), v, fma(load_first(c, whole, count), u, total))
            store(gradient, whole, total)
    if d <= _NARROW:
        store(gradient, 0, head)
        store(gradient, WIDTH, tail)


@_inlined
def _add_moments(x, d, y, weight, weighted, pivot, y_pivot, rows, partial, size):
    """Add Σs, Σs(y−p), Σs(y−p)² and, after these, all columns' Σs(x−p) and Σs(x−p)², p being a pivot row."""
    for k in range(rows):
        s = weight[k] if weighted else 1.0
        t = y[k] - y_pivot
        partial[0] += s
        partial[1] += s * t
        partial[2] += (s * t) * t
    firsts, seconds = ahead(partial, 3), ahead(partial, 3 + size)
    for j in range(0, d, WIDTH):
        p, total, squares = load(pivot, j), load(firsts, j), load(seconds, j)
        count = min(d - j, WIDTH)
        for k in range(rows):
            u = subtract(load_first(x, k * d + j, count), p)
            su = multiply(splat(weight[k]), u) if weighted else u
            total = add(total, su)
            squares = fma(su, u, squares)
        store(firsts, j, total)
        store(seconds, j, squares)


# --- One block of rows ------------------------------------------------------------------------------------------------


@_compiled(fastmath=_EXACT)
def _block(X, y, weight, index, coefs, intercepts, pivot, y_pivot, loss, first, last, scratch, partial):
    """Add Σ s L, Σ s L' and the sums Σ s L' x of rows first to last, then their moments about a pivot if there is one.

    With a second row of coefficients: what the sums are more than at those. X is read from memory once, as many rows
    at a time as the first cache holds, for which scratch space is given.
    """
    (points, size), most, d = coefs.shape, scratch.shape[1], X.shape[1]
    value, factors, sums, weighted = data(scratch), data(coefs), data(partial), weight.size > 0
    slope, other, room = ahead(value, most), ahead(value, 2 * most), ahead(value, 4 * most)
    for start in range(first, last, most):
        rows = min(most, last - start)
        x = _rows_at(X, index, start, rows, ahead(value, PLACES * most))
        targets, weights = ahead(data(y), start), ahead(data(weight), start)
        for p in range(points):
            at = ahead(value, 2 * most * p)
            _margins(x, d, ahead(factors, p * size), intercepts[p], rows, room, ahead(at, most))
            _losses(targets, weights, weighted, loss, rows, at, ahead(at, most))
        if points > 1:
            for k in range(0, rows, WIDTH):
                store(value, k, subtract(load(value, k), load(other, k)))
                store(slope, k, subtract(load(slope, k), load(other, most + k)))
        for k in range(rows):
            sums[0] += value[k]
            sums[1] += slope[k]
        _add_gradient(x, d, slope, rows, ahead(sums, 2))
        if pivot.size:
            moments = ahead(sums, 2 + size)
            _add_moments(x, d, targets, weights, weighted, data(pivot), y_pivot, rows, moments, size)


@_inlined
def _curvatures(targets, weights, weighted, loss, step, rows, curvature):
    """Turn margins into weighted curvatures, by central differences of slopes over ±step; without a step, into 1."""
    for k in range(rows):
        if step == 0.0:
            curvature[k] = 1.0
            continue
        _, above = _at_sample(loss, targets[k], curvature[k] + step)
        _, below = _at_sample(loss, targets[k], curvature[k] - step)
        curvature[k] = max((above - below) / (2.0 * step), 0.0)
    if weighted:
        for k in range(rows):
            curvature[k] *= weights[k]


@_inlined
def _center(x, d, target, y_center, factor, center, rows, z, width):
    """Write rows less the centre, a 1 and a target less its own, times a factor each, followed by zeros."""
    whole = d // WIDTH * WIDTH
    for k in range(rows):
        to = ahead(z, k * width)
        for j in range(0, whole, WIDTH):
            store(to, j, multiply(splat(factor[k]), subtract(load(x, k * d + j), load(center, j))))
        for j in range(whole, d):
            to[j] = factor[k] * (x[k * d + j] - center[j])
        to[d] = factor[k]
        to[d + 1] = factor[k] * (target[k] - y_center)
        for j in range(d + 2, width):
            to[j] = 0.0


@_compiled(fastmath=_EXACT)
def _gram_block(X, y, weight, index, coef, intercept, loss, step, center, y_center, first, last, scratch, gram):
    """Add Σ c z zᵀ of rows first to last to the upper triangle of ``gram``.

    Four by sixteen of its numbers stay in registers while rows in the first cache are added up. Where eight columns are
    left, the other eight mean nothing.
    """
    d, (width, row), most, total = X.shape[1], gram.shape, scratch.shape[1], data(gram)
    z = data(scratch)
    curvature = ahead(z, most * width + WIDTH)
    room, copy = ahead(curvature, most), ahead(curvature, (1 + WIDTH) * most)
    for start in range(first, last, most):
        rows = min(most, last - start)
        x = _rows_at(X, index, start, rows, copy)
        targets = ahead(data(y), start)
        _wide_margins(x, d, data(coef), intercept, rows, room, curvature)
        _curvatures(targets, ahead(data(weight), start), weight.size > 0, loss, step, rows, curvature)
        for k in range(rows):
            curvature[k] = np.sqrt(curvature[k])
        _center(x, d, targets, y_center, curvature, data(center), rows, z, width)
        for a in range(0, width, 4):
            for b in range(a // WIDTH * WIDTH, width, 2 * WIDTH):
                at, right = a * row + b, b + WIDTH
                p0, q0 = load(total, at), load(total, at + WIDTH)
                p1, q1 = load(total, at + row), load(total, at + row + WIDTH)
                p2, q2 = load(total, at + 2 * row), load(total, at + 2 * row + WIDTH)
                p3, q3 = load(total, at + 3 * row), load(total, at + 3 * row + WIDTH)
                for k in range(0, rows * width, width):
                    p, q = load(z, k + b), load(z, k + right)
                    s0, s1 = splat(z[k + a]), splat(z[k + a + 1])
                    s2, s3 = splat(z[k + a + 2]), splat(z[k + a + 3])
                    p0, q0, p1, q1 = fma(s0, p, p0), fma(s0, q, q0), fma(s1, p, p1), fma(s1, q, q1)
                    p2, q2, p3, q3 = fma(s2, p, p2), fma(s2, q, q2), fma(s3, p, p3), fma(s3, q, q3)
                store(total, at, p0)
                store(total, at + WIDTH, q0)
                store(total, at + row, p1)
                store(total, at + row + WIDTH, q1)
                store(total, at + 2 * row, p2)
                store(total, at + 2 * row + WIDTH, q2)
                store(total, at + 3 * row, p3)
                store(total, at + 3 * row + WIDTH, q3)


# --- Passes: a parallel one and its serial twin -----------------------------------------------------------------------


@_compiled(cache=True, fastmath=_EXACT, parallel=True)
def pass_parallel(X, y, weight, index, coefs, intercepts, pivot, y_pivot, loss, starts, block_rows, scratch, partial):
    """Run `_block` on every block, each with its own scratch space and sums."""
    for b in prange(partial.shape[0]):
        first, last = starts[b], min(starts[b] + block_rows, y.size)
        _block(X, y, weight, index, coefs, intercepts, pivot, y_pivot, loss, first, last, scratch[b], partial[b])


@_compiled(cache=True, fastmath=_EXACT)
def pass_serial(X, y, weight, index, coefs, intercepts, pivot, y_pivot, loss, starts, block_rows, scratch, partial):
    """Do so with one thread: the same blocks, the same bits."""
    for b in range(partial.shape[0]):
        first, last = starts[b], min(starts[b] + block_rows, y.size)
        _block(X, y, weight, index, coefs, intercepts, pivot, y_pivot, loss, first, last, scratch[b], partial[b])


@_compiled(cache=True, fastmath=_EXACT)
def gram_part(
    X, y, weight, index, coef, intercept, loss, step, center, y_center, first_block, block_rows, scratch, grams, part
):
    """Add up the blocks whose number among all of the data, modulo the number of parts, is this part's."""
    parts = grams.shape[0]
    for start in range((part - first_block) % parts * block_rows, y.size, parts * block_rows):
        last = min(start + block_rows, y.size)
        place = scratch[part], grams[part]
        _gram_block(X, y, weight, index, coef, intercept, loss, step, center, y_center, start, last, *place)


@_compiled(cache=True, parallel=True)
def read_parallel(words, partial):
    """Add up words, a run of them for each partial sum."""
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
