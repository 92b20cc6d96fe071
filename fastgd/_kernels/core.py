"""The compiled core: the loops over samples that add up losses and their derivatives; `sums` runs them.

numba stamps a cached kernel with the file it stands in, so an edit of a function that it calls in another file would go
unnoticed. Therefore kernels for a user's own loss are not cached, and the checksum of all files that kernels are made
of stands here; a test compares it
(jit, simd, losses, sparse, fastgd.losses: 73f72d6228360924).

A pass cuts the rows of X into **blocks** whose size follows from the shape and dtype of X alone. Each block writes
its own row of partial sums; whoever asked for the pass adds the rows up in order. So the result has the same bits
for any number of threads, and the serial twin of a parallel pass gives them too.

Nor may the bits depend on where arrays were allocated. LLVM guards a vectorised loop that stores into one array and
reads another by a check that they do not overlap, and takes a scalar loop where they merely touch. So no loop may
reorder its additions (`EXACT`): sums over features and rows are written out in vectors of eight (`simd`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import prange
from numba.extending import overload

from fastgd._kernels import sparse
from fastgd._kernels.jit import EXACT, compiled, inlined
from fastgd._kernels.layout import SparseColumns
from fastgd._kernels.losses import at_rows, curvatures
from fastgd._kernels.simd import (
    WIDTH,
    add,
    bitcast,
    data,
    fma,
    horizontal_sum,
    load,
    load_first,
    multiply,
    offset,
    row_dots,
    splat,
    store,
    subtract,
    transpose8,
)

GRAM_ROWS = 64
"""Rows over which a Hessian is added up in registers."""
SPARSE_ROWS = 64
"""Rows of a sub-block with sparse columns."""


class Samples(NamedTuple):
    """A `Tile` without its sparse columns, y with a row for each kind of target."""

    X: Any
    y: Any
    weight: Any
    rows: Any


class Points(NamedTuple):
    """One or two sets of coefficients and intercepts.

    Attributes
    ----------
    dense : ndarray of shape (points, outputs, size)
        Coefficients of dense columns, padded with zeros to whole vectors.
    sparse : ndarray of shape (points, columns, outputs)
        Coefficients of sparse columns.
    intercepts : ndarray of shape (points, outputs)
    """

    dense: Any
    sparse: Any
    intercepts: Any


class Center(NamedTuple):
    """What is subtracted from dense columns, padded to whole vectors, and from targets; sparse columns stay."""

    X: Any
    y: Any


# --- Some rows, in the first cache ------------------------------------------------------------------------------------


def _rows_at(X, index, start, rows, workspace):  # noqa: ARG001
    raise AssertionError("compiled code only")  # pragma: no cover


@overload(_rows_at)
def _select_layout(X, index, start, rows, workspace):  # noqa: ARG001
    """Return a pointer to rows of X in C order: where they lie, or copied into ``workspace``.

    The rows are those of ``index`` if it is not empty.
    """
    if X.layout == "C":
        return lambda X, index, start, rows, workspace: _gathered(X, index, start, rows, workspace)
    return lambda X, index, start, rows, workspace: _turned(X, index, start, rows, workspace)


@inlined
def _gathered(X, index, start, rows, workspace):
    d = X.shape[1]
    if not index.size:
        return offset(data(X), start * d)
    copy = bitcast(workspace, data(X))
    for k in range(rows):
        row, to = offset(data(X), index[start + k] * d), offset(copy, k * d)
        for j in range(d):
            to[j] = row[j]
    return copy


@inlined
def _turned(X, index, start, rows, workspace):
    """Copy rows of X from any other order than C, by eight columns at once where columns are contiguous."""
    d, across = X.shape[1], X.strides[1] // X.itemsize
    contiguous = X.strides[0] == X.itemsize and X.strides[1] % X.itemsize == 0 and index.size == 0
    whole_rows, whole = rows // WIDTH * WIDTH if contiguous else 0, d // WIDTH * WIDTH
    for j in range(0, whole, WIDTH):
        for k in range(0, whole_rows, WIDTH):
            transpose8(data(X), start + k + j * across, across, workspace, k * d + j, d, rows)
    if contiguous:
        for j in range(whole, d):
            column = offset(data(X), start + j * across)
            for k in range(whole_rows):
                workspace[k * d + j] = column[k]
    for k in range(whole_rows, rows):
        i = index[start + k] if index.size else start + k
        for j in range(d):
            workspace[k * d + j] = X[i, j]
    return workspace


_NARROW = 2 * WIDTH
"""Features of a row up to which coefficients and gradient stay in registers."""


@inlined
def _narrow_product(x, k, d, first, second):
    head = multiply(load_first(x, k * d, min(d, WIDTH)), first)
    return fma(load_first(x, k * d + WIDTH, max(d - WIDTH, 0)), second, head)


@inlined
def _wide_eta(x, d, coef, intercept, rows, workspace, eta_k):
    """Write the linear predictors ``X·coef + intercept`` of some rows; up to seven numbers after them mean nothing.

    Rows are taken one at a time: X comes from memory here, and the processor prefetches one stream, read by few
    instructions, better than several.
    """
    row_dots(x, d, rows, coef, workspace)
    for k in range(0, rows, WIDTH):
        at = offset(workspace, k * WIDTH)
        products = horizontal_sum(
            load(at, 0), load(at, 8), load(at, 16), load(at, 24), load(at, 32), load(at, 40), load(at, 48), load(at, 56)
        )
        store(eta_k, k, add(splat(intercept), products))


@inlined
def _eta(x, d, coef, intercept, rows, workspace, eta_k):
    """Write the linear predictors of some rows; narrow rows, many of which share a cache line, eight at once."""
    last = rows - 1
    if d <= _NARROW:
        a, b = load(coef, 0), load(coef, WIDTH)
        for k in range(0, rows, WIDTH):
            products = horizontal_sum(
                _narrow_product(x, k, d, a, b),
                _narrow_product(x, min(k + 1, last), d, a, b),
                _narrow_product(x, min(k + 2, last), d, a, b),
                _narrow_product(x, min(k + 3, last), d, a, b),
                _narrow_product(x, min(k + 4, last), d, a, b),
                _narrow_product(x, min(k + 5, last), d, a, b),
                _narrow_product(x, min(k + 6, last), d, a, b),
                _narrow_product(x, min(k + 7, last), d, a, b),
            )
            store(eta_k, k, add(splat(intercept), products))
        return
    _wide_eta(x, d, coef, intercept, rows, workspace, eta_k)


@compiled(fastmath=EXACT)
def _losses(y, stride, weight, weighted, loss, outputs, rows, most, value, workspace):
    """Replace linear predictors by weighted values and slopes (`losses.at_rows`), zeros up to a multiple of eight."""
    at_rows(loss, y, stride, outputs, rows, most, value, workspace)
    for c in range(1 + outputs):
        to = offset(value, c * most)
        if weighted:
            for k in range(rows):
                to[k] *= weight[k]
        for k in range(rows, -(-rows // WIDTH) * WIDTH):
            to[k] = 0.0


@inlined
def _add_gradient(x, d, slope, rows, gradient):
    """Add ``slope·X`` of some rows to the gradient.

    Four rows at once load and store the gradient a quarter as often; of narrow rows it stays in registers. Slopes after
    the last row, up to a multiple of eight, must be 0: they meet the last row again.
    """
    last = rows - 1
    whole = d // WIDTH * WIDTH
    head, tail = load(gradient, 0), load(gradient, WIDTH)
    for k in range(0, rows, 4):
        a, b = offset(x, min(k, last) * d), offset(x, min(k + 1, last) * d)
        c, e = offset(x, min(k + 2, last) * d), offset(x, min(k + 3, last) * d)
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


@inlined
def _add_target_moments(y, stride, weight, weighted, pivots, rows, partial):
    """Add Σs, and of every row of targets Σs(y−p) and Σs(y−p)² about its pivot p; return a pointer behind these."""
    for k in range(rows):
        partial[0] += weight[k] if weighted else 1.0
    for c in range(pivots.size):
        targets = offset(y, c * stride)
        for k in range(rows):
            s = weight[k] if weighted else 1.0
            t = targets[k] - pivots[c]
            partial[1 + 2 * c] += s * t
            partial[2 + 2 * c] += (s * t) * t
    return offset(partial, 1 + 2 * pivots.size)


@inlined
def _add_moments(x, d, weight, weighted, pivot, rows, firsts, size):
    """Add all columns' Σs(x−p) and, after these, Σs(x−p)², p being a pivot row."""
    seconds = offset(firsts, size)
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


@inlined
def _dense_eta(x, d, coef, intercepts, outputs, size, rows, most, workspace, eta):
    """Write the dense columns' part of the linear predictors of some rows, for each output."""
    for c in range(outputs):
        eta_k = offset(eta, c * most)
        if d:
            _eta(x, d, offset(coef, c * size), intercepts[c], rows, workspace, eta_k)
        else:
            for k in range(rows):
                eta_k[k] = intercepts[c]


@compiled(fastmath=EXACT)
def _rows_block(samples, entries, points, center, loss, first, last, scratch, partial):
    """Add Σ s L, Σ s L' and the sums Σ s L' x of rows first to last, then their moments about a centre if there is one.

    With a second set of coefficients, the differences from the sums at those. X is read from memory once, as many rows
    at a time as the first cache holds; ``scratch`` is work space for so many.
    """
    X, y, weight, index = samples
    (count, outputs, size), columns, most, d = points.dense.shape, points.sparse.shape[1], scratch.shape[1], X.shape[1]
    value, weighted, stride = data(scratch), weight.size > 0, y.shape[1]
    runs = 1 + outputs  # values, and the slopes of each output, ``most`` numbers each
    workspace = offset(value, count * runs * most)
    totals = data(partial)
    gradient = offset(totals, runs)
    sparse_gradient = offset(gradient, outputs * size)
    moments = offset(sparse_gradient, columns * outputs)
    for start in range(first, last, most):
        rows = min(most, last - start)
        x = _rows_at(X, index, start, rows, offset(workspace, WIDTH * most))
        targets, weights = offset(data(y), start), offset(data(weight), start)
        for p in range(count):
            at = offset(value, p * runs * most)
            coef, intercepts = (
                offset(data(points.dense), p * outputs * size),
                offset(data(points.intercepts), p * outputs),
            )
            _dense_eta(x, d, coef, intercepts, outputs, size, rows, most, workspace, offset(at, most))
            if entries is not None:
                coef = offset(data(points.sparse), p * columns * outputs)
                sparse.add_row_eta(entries, index, start, rows, coef, outputs, most, offset(at, most))
            _losses(targets, stride, weights, weighted, loss, outputs, rows, most, at, workspace)
        for c in range(runs):
            at = offset(value, c * most)
            if count > 1:
                other = offset(at, runs * most)
                for k in range(0, rows, WIDTH):
                    store(at, k, subtract(load(at, k), load(other, k)))
            for k in range(rows):
                totals[c] += at[k]
        if d:
            for c in range(outputs):
                _add_gradient(x, d, offset(value, (1 + c) * most), rows, offset(gradient, c * size))
        if entries is not None:
            slopes = offset(value, most)
            sparse.add_row_gradient(entries, index, start, rows, slopes, outputs, most, sparse_gradient)
        if center.y.size:
            firsts = _add_target_moments(targets, stride, weights, weighted, center.y, rows, moments)
            _add_moments(x, d, weights, weighted, data(center.X), rows, firsts, size)
            if entries is not None:
                firsts = offset(firsts, 2 * size)
                sparse.add_row_moments(entries, index, start, rows, weights, weighted, firsts, columns)


@compiled(fastmath=EXACT)
def _columns_block(samples, entries, points, center, loss, first, last, scratch, partial):
    """Add the same sums as `_rows_block` where all columns are sparse and stored by columns.

    X is read twice: the linear predictors of all rows of the block are finished at the same time.
    """
    y, weight, stride, weighted = samples.y, samples.weight, samples.y.shape[1], samples.weight.size > 0
    _, columns, outputs = points.sparse.shape
    runs, block, rows, few = 1 + outputs, first // entries.block_rows, last - first, SPARSE_ROWS
    slopes, most = data(scratch), (scratch.size - few * (runs + 2)) // outputs
    value = offset(slopes, outputs * most)
    workspace = offset(value, runs * few)
    totals = data(partial)
    for c in range(outputs):
        for k in range(rows):
            slopes[c * most + k] = points.intercepts[0, c]
    sparse.add_column_eta(entries, block, first, data(points.sparse), outputs, most, slopes)
    for start in range(0, rows, few):
        some = min(few, rows - start)
        for c in range(outputs):
            for k in range(some):
                value[(1 + c) * few + k] = slopes[c * most + start + k]
        targets, weights = offset(data(y), first + start), offset(data(weight), first + start)
        _losses(targets, stride, weights, weighted, loss, outputs, some, few, value, workspace)
        for c in range(runs):
            for k in range(some):
                totals[c] += value[c * few + k]
        for c in range(outputs):
            for k in range(some):
                slopes[c * most + start + k] = value[(1 + c) * few + k]
    gradient = offset(totals, runs)
    sparse.add_column_gradient(entries, block, first, slopes, outputs, most, gradient)
    if center.y.size:
        moments, targets, weights = (
            offset(gradient, columns * outputs),
            offset(data(y), first),
            offset(data(weight), first),
        )
        firsts = _add_target_moments(targets, stride, weights, weighted, center.y, rows, moments)
        sparse.add_column_moments(entries, block, data(weight), weighted, firsts)


def _block(samples, entries, points, center, loss, first, last, scratch, partial):  # noqa: ARG001
    raise AssertionError("compiled code only")  # pragma: no cover


@overload(_block)
def _select_block(samples, entries, points, center, loss, first, last, scratch, partial):  # noqa: ARG001
    if getattr(entries, "instance_class", None) is SparseColumns:
        return lambda samples, entries, points, center, loss, first, last, scratch, partial: _columns_block(
            samples, entries, points, center, loss, first, last, scratch, partial
        )
    return lambda samples, entries, points, center, loss, first, last, scratch, partial: _rows_block(
        samples, entries, points, center, loss, first, last, scratch, partial
    )


@inlined
def _center(x, d, y, stride, center, factor, rows, z, width):
    """Write ``factor · (x − center, 1, y − center)`` of some rows, followed by zeros."""
    whole, center_x, targets = d // WIDTH * WIDTH, data(center.X), center.y.size
    for k in range(rows):
        to = offset(z, k * width)
        for j in range(0, whole, WIDTH):
            store(to, j, multiply(splat(factor[k]), subtract(load(x, k * d + j), load(center_x, j))))
        for j in range(whole, d):
            to[j] = factor[k] * (x[k * d + j] - center_x[j])
        to[d] = factor[k]
        for c in range(targets):
            to[d + 1 + c] = factor[k] * (y[c * stride + k] - center.y[c])
        for j in range(d + 1 + targets, width):
            to[j] = 0.0


@inlined
def weighted_rows(samples, entries, points, loss, pair, step, start, rows, most, factor):
    """Write the roots of the weighted curvatures of some rows, and return pointers to these rows and their targets.

    ``factor`` has ``most`` numbers for them, followed by work space.
    """
    X, y, weight, index = samples
    (_, outputs, size), d, stride = points.dense.shape, X.shape[1], y.shape[1]
    eta, workspace = offset(factor, most), offset(factor, (1 + outputs) * most)
    x = _rows_at(X, index, start, rows, offset(workspace, WIDTH * most))
    targets = offset(data(y), start)
    _dense_eta(x, d, data(points.dense), data(points.intercepts), outputs, size, rows, most, workspace, eta)
    if entries is not None:
        sparse.add_row_eta(entries, index, start, rows, data(points.sparse), outputs, most, eta)
    curvatures(loss, targets, stride, outputs, pair, rows, most, step, factor, workspace)
    for k in range(rows):
        factor[k] = np.sqrt(factor[k] * weight[start + k] if weight.size else factor[k])
    return x, targets


@compiled(fastmath=EXACT)
def _gram_block(
    samples, entries, points, center, loss, pair, step, width, slots, members, first, last, scratch, gram, squares
):
    """Add Σ c z zᵀ of rows first to last to the upper triangle of ``gram``, and sparse columns' products below it.

    Slots, members and squares are those of `sparse.add_row_products`. Four by sixteen numbers of ``gram`` stay in
    registers while rows in the first cache are added up. Where eight columns are left, the other eight mean nothing.
    """
    d, row, most = samples.X.shape[1], gram.shape[1], GRAM_ROWS
    z, total, stride = data(scratch), data(gram), samples.y.shape[1]
    factor = offset(z, most * width + WIDTH)
    for start in range(first, last, most):
        rows = min(most, last - start)
        x, targets = weighted_rows(samples, entries, points, loss, pair, step, start, rows, most, factor)
        _center(x, d, targets, stride, center, factor, rows, z, width)
        if entries is not None:
            to = total, row, data(slots), members, data(squares)
            sparse.add_row_products(entries, samples.rows, start, rows, factor, z, width, *to)
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


@compiled(cache=True, fastmath=EXACT, parallel=True)
def pass_parallel(samples, entries, points, center, loss, starts, block_rows, scratch, partial):
    """Add up every run of rows, in parallel over rows of ``partial``, each of which has its own scratch space."""
    runs = -(-starts.size // partial.shape[0])
    for b in prange(partial.shape[0]):
        for r in range(b * runs, min((b + 1) * runs, starts.size)):
            first, last = starts[r], min(starts[r] + block_rows, samples.y.shape[1])
            _block(samples, entries, points, center, loss, first, last, scratch[b], partial[b])


@compiled(cache=True, fastmath=EXACT)
def pass_serial(samples, entries, points, center, loss, starts, block_rows, scratch, partial):
    """Add up every run of rows with one thread, to the same bits as `pass_parallel`."""
    runs = -(-starts.size // partial.shape[0])
    for b in range(partial.shape[0]):
        for r in range(b * runs, min((b + 1) * runs, starts.size)):
            first, last = starts[r], min(starts[r] + block_rows, samples.y.shape[1])
            _block(samples, entries, points, center, loss, first, last, scratch[b], partial[b])


@compiled(cache=True, fastmath=EXACT)
def gram_part(
    samples,
    entries,
    points,
    center,
    loss,
    pair,
    step,
    width,
    first_block,
    block_rows,
    scratch,
    grams,
    slots,
    members,
    squares,
    part,
):
    """Add up the blocks whose number among all of the data, modulo the number of parts, is this part's."""
    parts, n = grams.shape[0], samples.y.shape[1]
    for start in range((part - first_block) % parts * block_rows, n, parts * block_rows):
        last = min(start + block_rows, n)
        place = slots, members, start, last, scratch[part], grams[part], squares[part]
        _gram_block(samples, entries, points, center, loss, pair, step, width, *place)


@compiled(cache=True, fastmath=EXACT)
def slopes_serial(y, loss, value, workspace):
    """Replace linear predictors, in the rows of ``value`` after the first, by slopes; values go into the first."""
    runs, n = value.shape
    at_rows(loss, data(y), n, runs - 1, n, n, data(value), data(workspace))


@compiled(cache=True, parallel=True)
def read_parallel(words, partial):
    """Add up words, a run of them for each partial sum."""
    length = -(-words.size // partial.size)
    for b in prange(partial.size):
        partial[b] = _read_block(words[b * length : (b + 1) * length])


@compiled()
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
