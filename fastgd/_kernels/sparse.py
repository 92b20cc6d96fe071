"""Sparse columns in compiled code: their part of linear predictors, gradients, moments and Hessians.

Coefficients and sums of a column stand together for all outputs. numba does not notice when this file is edited; `core`
names its checksum for that reason.
"""

from __future__ import annotations

import numpy as np

from fastgd._kernels.jit import inlined
from fastgd._kernels.simd import WIDTH, data, fma, load, offset, splat, store

# --- By rows ----------------------------------------------------------------------------------------------------------


@inlined
def _row(begins, i):
    """Return where a row's entries begin, and how many it has."""
    first = np.int64(begins[i])
    return first, np.int64(begins[i + 1]) - first


@inlined
def add_row_eta(entries, index, start, rows, coef, outputs, most, eta):
    """Add the entries' part of X·coef to the linear predictors of some rows, (outputs, most)."""
    begins, named = data(entries.begins), index.size > 0
    for k in range(rows):
        first, count = _row(begins, index[start + k] if named else start + k)
        columns, values = offset(data(entries.columns), first), offset(data(entries.values), first)
        if outputs == 1:
            a, b, whole = 0.0, 0.0, count // 2 * 2  # two sums, as one addition waits for the one before
            for e in range(0, whole, 2):
                a += values[e] * coef[columns[e]]
                b += values[e + 1] * coef[columns[e + 1]]
            if whole < count:
                a += values[whole] * coef[columns[whole]]
            eta[k] += a + b
        else:
            for e in range(count):
                at = offset(coef, columns[e] * outputs)
                for c in range(outputs):
                    eta[c * most + k] += values[e] * at[c]


@inlined
def add_row_gradient(entries, index, start, rows, slopes, outputs, most, gradient):
    """Add the entries' part of slopes·X to the gradient, (columns, outputs)."""
    begins, named = data(entries.begins), index.size > 0
    for k in range(rows):
        first, count = _row(begins, index[start + k] if named else start + k)
        columns, values = offset(data(entries.columns), first), offset(data(entries.values), first)
        if outputs == 1:
            slope = slopes[k]
            for e in range(count):
                gradient[columns[e]] += values[e] * slope
        else:
            for e in range(count):
                at = offset(gradient, columns[e] * outputs)
                for c in range(outputs):
                    at[c] += values[e] * slopes[c * most + k]


@inlined
def add_row_moments(entries, index, start, rows, weight, weighted, moments, size):
    """Add Σ s x and Σ s x² of all columns, (columns, 2). Entries of the same row and column are added up before."""
    begins, named, distinct, x = data(entries.begins), index.size > 0, entries.distinct, offset(moments, 2 * size)
    for k in range(rows):
        first, count = _row(begins, index[start + k] if named else start + k)
        columns, values = offset(data(entries.columns), first), offset(data(entries.values), first)
        s = weight[k] if weighted else 1.0
        for e in range(0 if distinct else count):
            x[columns[e]] += values[e]
        for e in range(count):
            at = offset(moments, columns[e] * 2)
            value = np.float64(values[e])
            if not distinct:
                value = x[columns[e]]
                x[columns[e]] = 0.0
            at[0] += s * value
            at[1] += s * value * value


@inlined
def add_row_products(entries, index, start, rows, factor, z, width, gram, row, slots, members, squares):
    """Add the products of entries with a row's other numbers z, and with those of members, times its factors.

    A column's products are in the row of ``gram`` that ``slots`` names, members first; columns without a row have -1.
    Sums and sums of squares of columns that are no members, times factors squared, are added to ``squares``.
    """
    begins, named = data(entries.begins), index.size > 0
    for k in range(rows):
        first, count = _row(begins, index[start + k] if named else start + k)
        columns, values = offset(data(entries.columns), first), offset(data(entries.values), first)
        for e in range(count):
            x, slot = factor[k] * values[e], slots[columns[e]]
            if slot >= 0:
                to = offset(gram, (width + slot) * row)
                for j in range(0, width, WIDTH):
                    store(to, j, fma(splat(x), load(z, k * width + j), load(to, j)))
                to = offset(to, width + WIDTH)
                for f in range(count if members else 0):
                    other = slots[columns[f]]
                    if 0 <= other < members:
                        to[other] += x * (factor[k] * values[f])
            if 0 <= slot < members:
                continue
            to = offset(squares, 2 * columns[e])
            to[0] += factor[k] * x
            if entries.distinct:
                to[1] += x * x
                continue
            for f in range(count):
                if columns[f] == columns[e]:
                    to[1] += x * (factor[k] * values[f])


# --- By columns -------------------------------------------------------------------------------------------------------


@inlined
def add_column_eta(entries, block, first, coef, outputs, most, eta):
    """Add X·coef to the linear predictors of a block's rows, (outputs, most)."""
    begins, rows, values, size = data(entries.begins), data(entries.rows), data(entries.values), entries.begins.shape[1]
    eta = offset(eta, -first - entries.first_row)
    for j in range(size):
        for e in range(begins[block * size + j], begins[(block + 1) * size + j]):
            for c in range(outputs):
                eta[c * most + rows[e]] += values[e] * coef[j * outputs + c]


@inlined
def add_column_gradient(entries, block, first, slopes, outputs, most, gradient):
    """Add slopes·X to the gradient, (columns, outputs)."""
    begins, rows, values, size = data(entries.begins), data(entries.rows), data(entries.values), entries.begins.shape[1]
    slopes = offset(slopes, -first - entries.first_row)
    for j in range(size):
        for c in range(outputs):
            total = 0.0
            for e in range(begins[block * size + j], begins[(block + 1) * size + j]):
                total += values[e] * slopes[c * most + rows[e]]
            gradient[j * outputs + c] += total


@inlined
def add_column_moments(entries, block, weight, weighted, moments):
    """Add Σ s x and Σ s x² of all columns, (columns, 2). Entries of the same row, neighbours, are added up before."""
    begins, rows, values, size = data(entries.begins), data(entries.rows), data(entries.values), entries.begins.shape[1]
    weight = offset(weight, -entries.first_row)
    for j in range(size):
        e, end = begins[block * size + j], begins[(block + 1) * size + j]
        while e < end:
            i, x = rows[e], 0.0
            while e < end and rows[e] == i:
                x += values[e]
                e += 1
            s = weight[i] if weighted else 1.0
            moments[2 * j] += s * x
            moments[2 * j + 1] += s * x * x
