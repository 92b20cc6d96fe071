"""Passes at many points at once: losses and gradients of several models, for which X is read from memory once.

Models are the columns of matrices: linear predictors of some rows are a product with the coefficients of all models,
and gradients another. numba does not notice when the file of a function that is called here is edited, so the checksum
of `core` stands here, too
(core: 4850f7edd295f9be).
"""

from __future__ import annotations

import numpy as np
from numba.extending import overload

from fastgd._kernels import sparse
from fastgd._kernels.core import _add_gradient, _dense_eta, _rows_at
from fastgd._kernels.jit import EXACT, compiled, inlined
from fastgd._kernels.losses import at_sample, exp_nonpositive
from fastgd._kernels.simd import WIDTH, add, data, fma, load, offset, splat, store


def excess_at(loss, value, slope):  # noqa: ARG001
    raise AssertionError("compiled code only")  # pragma: no cover


@overload(excess_at)
def _select_excess(loss, value, slope):  # noqa: ARG001
    own = loss.instance_class.dual_excess
    return _no_excess if own is None else own


def _no_excess(loss, value, slope):  # noqa: ARG001
    return np.inf


def model_losses(loss, y, stride, points, outputs, rows, width, values, slopes, excesses):  # noqa: ARG001
    """Replace linear predictors (rows, width) of outputs' points by slopes, and write values and dual excesses."""
    raise AssertionError("compiled code only")  # pragma: no cover


@overload(model_losses)
def _select_losses(loss, y, stride, points, outputs, rows, width, values, slopes, excesses):  # noqa: ARG001
    return _softmax if loss.instance_class.multiclass else _each


def _each(loss, y, stride, points, outputs, rows, width, values, slopes, excesses):
    if width == 1:  # a loop over rows, so that it vectorises
        for k in range(rows):
            values[k], slopes[k] = at_sample(loss, y[k], slopes[k])
            excesses[k] = excess_at(loss, values[k], slopes[k])
        return
    for k in range(rows):
        for c in range(outputs):
            first = k * width + c * points
            target, value, slope, excess = (
                y[c * stride + k],
                offset(values, first),
                offset(slopes, first),
                offset(excesses, first),
            )
            for m in range(points):
                value[m], slope[m] = at_sample(loss, target, slope[m])
                excess[m] = excess_at(loss, value[m], slope[m])


def _softmax(loss, y, stride, points, outputs, rows, width, values, slopes, excesses):  # noqa: ARG001
    for k in range(rows):
        value, slope, excess = offset(values, k * width), offset(slopes, k * width), offset(excesses, k * width)
        own = np.int64(y[k]) * points
        for m in range(points):
            largest = slope[m]
            for c in range(1, outputs):
                largest = max(largest, slope[c * points + m])
            value[m] = largest - slope[own + m]
            total = 0.0
            for c in range(outputs):
                e = exp_nonpositive(slope[c * points + m] - largest)
                slope[c * points + m] = e
                total += e
            value[m] += np.log(total)
            for c in range(outputs):
                slope[c * points + m] /= total
            likely = slope[own + m]
            slope[own + m] -= 1.0
            excess[m] = 0.5 * (1.0 - likely) / likely
        for m in range(points, points * outputs):
            value[m] = 0.0
            excess[m] = 0.0


@inlined
def _add_eta(x, d, rows, coef, width, z):
    """Add X·coef of some rows to linear predictors (rows, width): eight rows by eight models stay in registers."""
    last = rows - 1
    for k in range(0, rows, 8):
        r0, r1, r2, r3 = k * d, min(k + 1, last) * d, min(k + 2, last) * d, min(k + 3, last) * d
        r4, r5, r6, r7 = min(k + 4, last) * d, min(k + 5, last) * d, min(k + 6, last) * d, min(k + 7, last) * d
        for m in range(0, width, WIDTH):
            at = offset(z, k * width + m)
            a0, a1, a2, a3 = load(at, 0), load(at, width), load(at, 2 * width), load(at, 3 * width)
            a4, a5, a6, a7 = load(at, 4 * width), load(at, 5 * width), load(at, 6 * width), load(at, 7 * width)
            for j in range(d):
                w = load(coef, j * width + m)
                a0 = fma(splat(np.float64(x[r0 + j])), w, a0)
                a1 = fma(splat(np.float64(x[r1 + j])), w, a1)
                a2 = fma(splat(np.float64(x[r2 + j])), w, a2)
                a3 = fma(splat(np.float64(x[r3 + j])), w, a3)
                a4 = fma(splat(np.float64(x[r4 + j])), w, a4)
                a5 = fma(splat(np.float64(x[r5 + j])), w, a5)
                a6 = fma(splat(np.float64(x[r6 + j])), w, a6)
                a7 = fma(splat(np.float64(x[r7 + j])), w, a7)
            store(at, 0, a0)
            store(at, width, a1)
            store(at, 2 * width, a2)
            store(at, 3 * width, a3)
            store(at, 4 * width, a4)
            store(at, 5 * width, a5)
            store(at, 6 * width, a6)
            store(at, 7 * width, a7)


@inlined
def _add_gradients(x, d, rows, slopes, width, gradient):
    """Add the transpose of X times slopes (rows, width) to gradients (d, width)."""
    whole = d // 8 * 8
    for m in range(0, width, WIDTH):
        for j in range(0, whole, 8):
            g = offset(gradient, j * width + m)
            a0, a1, a2, a3 = load(g, 0), load(g, width), load(g, 2 * width), load(g, 3 * width)
            a4, a5, a6, a7 = load(g, 4 * width), load(g, 5 * width), load(g, 6 * width), load(g, 7 * width)
            for k in range(rows):
                s = load(slopes, k * width + m)
                p = offset(x, k * d + j)
                a0 = fma(splat(np.float64(p[0])), s, a0)
                a1 = fma(splat(np.float64(p[1])), s, a1)
                a2 = fma(splat(np.float64(p[2])), s, a2)
                a3 = fma(splat(np.float64(p[3])), s, a3)
                a4 = fma(splat(np.float64(p[4])), s, a4)
                a5 = fma(splat(np.float64(p[5])), s, a5)
                a6 = fma(splat(np.float64(p[6])), s, a6)
                a7 = fma(splat(np.float64(p[7])), s, a7)
            store(g, 0, a0)
            store(g, width, a1)
            store(g, 2 * width, a2)
            store(g, 3 * width, a3)
            store(g, 4 * width, a4)
            store(g, 5 * width, a5)
            store(g, 6 * width, a6)
            store(g, 7 * width, a7)
        for j in range(whole, d):
            a0 = load(gradient, j * width + m)
            for k in range(rows):
                a0 = fma(splat(np.float64(x[k * d + j])), load(slopes, k * width + m), a0)
            store(gradient, j * width + m, a0)


@inlined
def _add_entries_eta(entries, index, start, rows, coef, width, z):
    """Add the sparse entries' part of X·coef to linear predictors (rows, width)."""
    begins = data(entries.begins)
    for k in range(rows):
        i = index[start + k] if index.size else start + k
        first, last = np.int64(begins[i]), np.int64(begins[i + 1])
        for m in range(0, width, WIDTH):
            total = load(z, k * width + m)
            for e in range(first, last):
                at = np.int64(entries.columns[e]) * width + m
                total = fma(splat(np.float64(entries.values[e])), load(coef, at), total)
            store(z, k * width + m, total)


@inlined
def _add_entries_gradients(entries, index, start, rows, slopes, width, gradient):
    """Add the sparse entries' part of the gradients (columns, width)."""
    begins = data(entries.begins)
    for k in range(rows):
        i = index[start + k] if index.size else start + k
        first, last = np.int64(begins[i]), np.int64(begins[i + 1])
        for m in range(0, width, WIDTH):
            s = load(slopes, k * width + m)
            for e in range(first, last):
                at = np.int64(entries.columns[e]) * width + m
                store(gradient, at, fma(splat(np.float64(entries.values[e])), s, load(gradient, at)))


@compiled(fastmath=EXACT)
def _weigh(weight, points, outputs, rows, width, values, slopes, excesses):
    """Multiply what losses gave by the rows' weights."""
    for k in range(rows):
        for m in range(points * outputs):
            values[k * width + m] *= weight[k]
            slopes[k * width + m] *= weight[k]
            excesses[k * width + m] *= weight[k]


@inlined
def _add_rows(rows, width, numbers, total):
    """Add up numbers (rows, width) of each model."""
    if width == 1:
        for k in range(rows):
            total[0] += numbers[k]
        return
    for m in range(0, width, WIDTH):
        s = load(total, m)
        for k in range(rows):
            s = add(s, load(numbers, k * width + m))
        store(total, m, s)


@compiled(fastmath=EXACT)
def _models_block(samples, entries, coef, sparse_coef, intercepts, loss, points, outputs, first, last, scratch, sums):
    """Add values, slopes and dual excesses of rows first to last to ``sums``, then gradients of all columns.

    Models are the points of each output, those of an output side by side, in ``width`` columns: one, or whole vectors.
    ``coef`` (size, width) is of dense columns, and padded to whole vectors if there is but one model.
    """
    X, y, weight, index = samples
    (size, width), d, most, stride = coef.shape, X.shape[1], scratch.shape[1], y.shape[1]
    slopes, total, coefs, sparse_coefs = data(scratch), data(sums), data(coef), data(sparse_coef)
    values, excesses, workspace = (
        offset(slopes, most * width),
        offset(slopes, 2 * most * width),
        offset(slopes, 3 * most * width),
    )
    gradient = offset(total, 3 * width)
    sparse_gradient = offset(gradient, size * width)
    for start in range(first, last, most):
        rows = min(most, last - start)
        x = _rows_at(X, index, start, rows, offset(workspace, WIDTH * most))
        padded = -(-rows // WIDTH) * WIDTH
        if width == 1:
            _dense_eta(x, d, coefs, data(intercepts), 1, size, rows, most, workspace, slopes)
            if entries is not None:
                sparse.add_row_eta(entries, index, start, rows, sparse_coefs, 1, most, slopes)
        else:
            for k in range(padded):
                for m in range(width):
                    slopes[k * width + m] = intercepts[m]
            _add_eta(x, d, rows, coefs, width, slopes)
            if entries is not None:
                _add_entries_eta(entries, index, start, rows, sparse_coefs, width, slopes)
        targets = offset(data(y), start)
        model_losses(loss, targets, stride, points, outputs, rows, width, values, slopes, excesses)
        if weight.size:
            _weigh(offset(data(weight), start), points, outputs, rows, width, values, slopes, excesses)
        _add_rows(rows, width, values, total)
        _add_rows(rows, width, slopes, offset(total, width))
        _add_rows(rows, width, excesses, offset(total, 2 * width))
        if width == 1:
            for k in range(rows, padded):
                slopes[k] = 0.0
            if d:
                _add_gradient(x, d, slopes, rows, gradient)
            if entries is not None:
                sparse.add_row_gradient(entries, index, start, rows, slopes, 1, most, sparse_gradient)
        else:
            _add_gradients(x, d, rows, slopes, width, gradient)
            if entries is not None:
                _add_entries_gradients(entries, index, start, rows, slopes, width, sparse_gradient)


@compiled(cache=True, fastmath=EXACT)
def models_part(
    samples, entries, coef, sparse_coef, intercepts, loss, points, outputs, first_block, block_rows, scratch, sums, part
):
    """Add up the blocks whose number among all of the data, modulo the number of parts, is this part's."""
    parts, n = sums.shape[0], samples.y.shape[1]
    at = coef, sparse_coef, intercepts, loss, points, outputs
    for start in range((part - first_block) % parts * block_rows, n, parts * block_rows):
        last = min(start + block_rows, n)
        _models_block(samples, entries, *at, start, last, scratch[part], sums[part])
