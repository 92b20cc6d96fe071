"""The Gram matrix in double-double arithmetic: about 32 digits, for 4 to 8 times the work of `core`'s.

A double-double is the unevaluated sum of two float64, of which the lower holds what the higher cannot (Dekker, 1971).
Nothing here may be contracted or reordered, as the errors of roundings are computed.

numba does not notice when a file is edited from which a kernel takes functions. So the checksum of `core`, which has
those of all others, stands here; a test compares it (core: 4850f7edd295f9be).
"""

from __future__ import annotations

import numpy as np

from fastgd._kernels.core import GRAM_ROWS, weighted_rows
from fastgd._kernels.jit import compiled
from fastgd._kernels.simd import (
    WIDTH,
    add,
    data,
    load,
    load_first,
    multiply,
    offset,
    product_error,
    splat,
    store,
    subtract,
)

_inlined = compiled(forceinline=True)


@compiled()
def _two_product(a, b):
    """Return a b and its rounding error, of numbers below 1e150."""
    product = a * b
    t = 134217729.0 * a
    a_high = t - (t - a)
    a_low = a - a_high
    t = 134217729.0 * b
    b_high = t - (t - b)
    b_low = b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


@compiled()
def _add_number(high, low, at, product, error):
    """Add a product and its error to the double-double at an index."""
    total = high[at] + product
    b = total - high[at]
    rest = low[at] + (((high[at] - (total - b)) + (product - b)) + error)
    high[at] = total + rest
    low[at] = rest - (high[at] - total)


@compiled()
def _add_row_products(entries, index, start, rows, factor, z, z_low, width, gram, low, row):
    """Add the products of sparse entries with a row's other numbers z, and with each other, times its factors."""
    begins, named = data(entries.begins), index.size > 0
    for k in range(rows):
        i = index[start + k] if named else start + k
        first = np.int64(begins[i])
        count = np.int64(begins[i + 1]) - first
        columns, values = offset(data(entries.columns), first), offset(data(entries.values), first)
        for e in range(count):
            x, x_low = _two_product(factor[k], np.float64(values[e]))
            at = (width + columns[e]) * row
            for j in range(width):
                product, error = _two_product(x, z[k * width + j])
                error += x * z_low[k * width + j] + x_low * z[k * width + j]
                _add_number(gram, low, at + j, product, error)
            at += width + WIDTH
            for f in range(count):
                v, v_low = _two_product(factor[k], np.float64(values[f]))
                product, error = _two_product(x, v)
                _add_number(gram, low, at + columns[f], product, error + (x * v_low + x_low * v))


@_inlined
def _center(x, d, y, stride, center, factor, rows, z, z_low, width):
    """Write ``factor · (x − center, 1, y − center)`` of some rows, followed by zeros, as double-doubles."""
    center_x, targets = data(center.X), center.y.size
    for k in range(rows):
        to, below, f = offset(z, k * width), offset(z_low, k * width), splat(factor[k])
        for j in range(0, d, WIDTH):
            value, c = load_first(x, k * d + j, min(d - j, WIDTH)), load_first(center_x, j, min(d - j, WIDTH))
            difference = subtract(value, c)
            b = subtract(difference, value)
            lost = subtract(subtract(value, subtract(difference, b)), add(c, b))
            product = multiply(f, difference)
            store(to, j, product)
            store(below, j, add(product_error(f, difference, product), multiply(f, lost)))
        for j in range(d, width):
            to[j] = 0.0
            below[j] = 0.0
        to[d] = factor[k]
        for c in range(targets):
            value, about = y[c * stride + k], center.y[c]
            difference = value - about
            b = difference - value
            lost = (value - (difference - b)) - (about + b)
            product, error = _two_product(factor[k], difference)
            to[d + 1 + c], below[d + 1 + c] = product, error + factor[k] * lost


@_inlined
def _add_product(high, low, s, s_low, v, v_low):
    """Return a double-double plus the product of two, normalised, as otherwise errors of low parts would add up."""
    product = multiply(s, v)
    error = add(product_error(s, v, product), add(multiply(s, v_low), multiply(s_low, v)))
    total = add(high, product)
    b = subtract(total, high)
    lost = add(subtract(high, subtract(total, b)), subtract(product, b))
    rest = add(low, add(lost, error))
    high = add(total, rest)
    return high, subtract(rest, subtract(high, total))


@compiled()
def _gram_block(samples, entries, points, center, loss, pair, step, width, first, last, scratch, gram):
    """Add Σ c z zᵀ of rows first to last to ``gram``, (2, ...): the higher parts of all numbers, then the lower.

    Where they stand is as in `core`; four by eight numbers stay in registers.
    """
    d, row, most = samples.X.shape[1], gram.shape[2], GRAM_ROWS
    z, total, stride = data(scratch), data(gram), samples.y.shape[1]
    z_low, total_low = offset(z, most * width + WIDTH), offset(total, gram.shape[1] * row)
    factor = offset(z_low, most * width + WIDTH)
    for start in range(first, last, most):
        rows = min(most, last - start)
        x, targets = weighted_rows(samples, entries, points, loss, pair, step, start, rows, most, factor)
        _center(x, d, targets, stride, center, factor, rows, z, z_low, width)
        if entries is not None:
            _add_row_products(entries, samples.rows, start, rows, factor, z, z_low, width, total, total_low, row)
        for a in range(0, width, 4):
            for b in range(a // WIDTH * WIDTH, width, WIDTH):
                at = a * row + b
                h0, h1 = load(total, at), load(total, at + row)
                h2, h3 = load(total, at + 2 * row), load(total, at + 3 * row)
                l0, l1 = load(total_low, at), load(total_low, at + row)
                l2, l3 = load(total_low, at + 2 * row), load(total_low, at + 3 * row)
                for k in range(0, rows * width, width):
                    v, v_low = load(z, k + b), load(z_low, k + b)
                    h0, l0 = _add_product(h0, l0, splat(z[k + a]), splat(z_low[k + a]), v, v_low)
                    h1, l1 = _add_product(h1, l1, splat(z[k + a + 1]), splat(z_low[k + a + 1]), v, v_low)
                    h2, l2 = _add_product(h2, l2, splat(z[k + a + 2]), splat(z_low[k + a + 2]), v, v_low)
                    h3, l3 = _add_product(h3, l3, splat(z[k + a + 3]), splat(z_low[k + a + 3]), v, v_low)
                store(total, at, h0)
                store(total, at + row, h1)
                store(total, at + 2 * row, h2)
                store(total, at + 3 * row, h3)
                store(total_low, at, l0)
                store(total_low, at + row, l1)
                store(total_low, at + 2 * row, l2)
                store(total_low, at + 3 * row, l3)


@compiled(cache=True)
def gram_part(samples, entries, points, center, loss, pair, step, width, first_block, block_rows, scratch, grams, part):
    """Add up the blocks whose number among all of the data, modulo the number of parts, is this part's."""
    parts, n = grams.shape[0], samples.y.shape[1]
    for start in range((part - first_block) % parts * block_rows, n, parts * block_rows):
        last = min(start + block_rows, n)
        place = scratch[part], grams[part]
        _gram_block(samples, entries, points, center, loss, pair, step, width, start, last, *place)
