"""Sparse columns in compiled code: their part of margins, gradients, moments and Hessians.

Coefficients and sums of a column stand together for all outputs. As numba looks at the file of a kernel alone,
`kernels` names a checksum of this one.
"""

from __future__ import annotations

from fastgd.compiling import inlined
from fastgd.lanes import WIDTH, ahead, data, fma, load, splat, store

# --- By rows ----------------------------------------------------------------------------------------------------------


@inlined
def add_row_margins(entries, index, start, rows, coef, outputs, most, margins):
    """Add the entries' part of X·coef to the margins of some rows, (outputs, most)."""
    begins, columns, values = data(entries.begins), data(entries.columns), data(entries.values)
    for k in range(rows):
        i = index[start + k] if index.size else start + k
        if outputs == 1:
            total = 0.0
            for e in range(begins[i], begins[i + 1]):
                total += values[e] * coef[columns[e]]
            margins[k] += total
        else:
            for e in range(begins[i], begins[i + 1]):
                at = ahead(coef, columns[e] * outputs)
                for c in range(outputs):
                    margins[c * most + k] += values[e] * at[c]


@inlined
def add_row_gradient(entries, index, start, rows, slopes, outputs, most, gradient):
    """Add the entries' part of slopes·X to the gradient, (columns, outputs)."""
    begins, columns, values = data(entries.begins), data(entries.columns), data(entries.values)
    for k in range(rows):
        i = index[start + k] if index.size else start + k
        if outputs == 1:
            slope = slopes[k]
            for e in range(begins[i], begins[i + 1]):
                gradient[columns[e]] += values[e] * slope
        else:
            for e in range(begins[i], begins[i + 1]):
                at = ahead(gradient, columns[e] * outputs)
                for c in range(outputs):
                    at[c] += values[e] * slopes[c * most + k]


@inlined
def add_row_moments(entries, index, start, rows, weight, weighted, firsts, size):
    """Add Σ s x and, after these, Σ s x² of all columns. Entries of the same row and column are added up before."""
    begins, columns, values = data(entries.begins), data(entries.columns), data(entries.values)
    seconds, x = ahead(firsts, size), ahead(firsts, 2 * size)
    for k in range(rows):
        i = index[start + k] if index.size else start + k
        s = weight[k] if weighted else 1.0
        for e in range(begins[i], begins[i + 1]):
            x[columns[e]] += values[e]
        for e in range(begins[i], begins[i + 1]):
            j = columns[e]
            firsts[j] += s * x[j]
            seconds[j] += s * x[j] * x[j]
            x[j] = 0.0


@inlined
def add_row_products(entries, index, start, rows, factor, z, width, gram, row):
    """Add the products of entries with a row's other numbers z, and with each other, times its factors."""
    begins, columns, values = data(entries.begins), data(entries.columns), data(entries.values)
    for k in range(rows):
        i = index[start + k] if index.size else start + k
        for e in range(begins[i], begins[i + 1]):
            x = factor[k] * values[e]
            to = ahead(gram, (width + columns[e]) * row)
            for j in range(0, width, WIDTH):
                store(to, j, fma(splat(x), load(z, k * width + j), load(to, j)))
            for f in range(begins[i], begins[i + 1]):
                to[width + WIDTH + columns[f]] += x * (factor[k] * values[f])


# --- By columns -------------------------------------------------------------------------------------------------------


@inlined
def add_column_margins(entries, block, first, coef, outputs, most, margins):
    """Add X·coef to the margins of a block's rows, (outputs, most)."""
    begins, rows, values, size = data(entries.begins), data(entries.rows), data(entries.values), entries.begins.shape[1]
    margins = ahead(margins, -first - entries.first_row)
    for j in range(size):
        for e in range(begins[block * size + j], begins[(block + 1) * size + j]):
            for c in range(outputs):
                margins[c * most + rows[e]] += values[e] * coef[j * outputs + c]


@inlined
def add_column_gradient(entries, block, first, slopes, outputs, most, gradient):
    """Add slopes·X to the gradient, (columns, outputs)."""
    begins, rows, values, size = data(entries.begins), data(entries.rows), data(entries.values), entries.begins.shape[1]
    slopes = ahead(slopes, -first - entries.first_row)
    for j in range(size):
        for c in range(outputs):
            total = 0.0
            for e in range(begins[block * size + j], begins[(block + 1) * size + j]):
                total += values[e] * slopes[c * most + rows[e]]
            gradient[j * outputs + c] += total


@inlined
def add_column_moments(entries, block, weight, weighted, firsts, size):
    """Add Σ s x and, after these, Σ s x² of all columns. Entries of the same row are neighbours, and added up first."""
    begins, rows, values = data(entries.begins), data(entries.rows), data(entries.values)
    seconds, weight = ahead(firsts, size), ahead(weight, -entries.first_row)
    for j in range(size):
        e, end = begins[block * size + j], begins[(block + 1) * size + j]
        while e < end:
            i, x = rows[e], 0.0
            while e < end and rows[e] == i:
                x += values[e]
                e += 1
            s = weight[i] if weighted else 1.0
            firsts[j] += s * x
            seconds[j] += s * x * x
