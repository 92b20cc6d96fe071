"""Losses in compiled code: values, slopes and curvatures of a few rows, from their linear predictors.

numba does not notice when this file is edited; `core` names its checksum for that reason.
"""

from __future__ import annotations

import numpy as np
from numba.extending import overload

from fastgd._kernels.jit import EXACT, compiled
from fastgd._kernels.simd import offset

ONES, SLOPES, OPPOSITE_SLOPES = 0.0, -1.0, -2.0
"""Steps by which products of rows are weighed not by curvatures, but by 1, or by products of slopes that are positive,
or negative."""


@compiled(fastmath=EXACT)
def exp_nonpositive(x):
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


@compiled(fastmath=EXACT)
def twice_artanh(s):
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


def at_sample(loss, y, z):  # noqa: ARG001
    """Return value and slope at one sample."""
    raise AssertionError("compiled code only")  # pragma: no cover


@overload(at_sample)
def _select_loss(loss, y, z):  # noqa: ARG001
    return loss.instance_class.value_slope


def curvature_at(loss, y, z, step):  # noqa: ARG001
    """Return the curvature at one sample: as the loss says it, or by a difference of slopes over ±step."""
    raise AssertionError("compiled code only")  # pragma: no cover


@overload(curvature_at)
def _select_curvature(loss, y, z, step):  # noqa: ARG001
    return _difference if loss.instance_class.curvature is None else _as_the_loss_says


def own_curvature(loss, y, z):  # noqa: ARG001
    raise AssertionError("compiled code only")  # pragma: no cover


@overload(own_curvature)
def _select_own_curvature(loss, y, z):  # noqa: ARG001
    return loss.instance_class.curvature


def _as_the_loss_says(loss, y, z, step):  # noqa: ARG001
    return own_curvature(loss, y, z)


def _difference(loss, y, z, step):
    _, above = at_sample(loss, y, z + step)
    _, below = at_sample(loss, y, z - step)
    return (above - below) / (2.0 * step)


# --- Some rows: values, then linear predictors or slopes of each output, ``most`` numbers each -----------------------


def at_rows(loss, y, stride, outputs, rows, most, value, workspace):  # noqa: ARG001
    """Write values, and replace linear predictors by slopes; the targets of outputs are ``stride`` numbers apart."""
    raise AssertionError("compiled code only")  # pragma: no cover


def curvatures(loss, y, stride, outputs, pair, rows, most, step, value, workspace):  # noqa: ARG001
    """Write what weighs the products of rows, for a pair of outputs, in the place of values.

    These are the absolute curvatures, for losses that don't say them by differences of slopes over ±step; or for the
    steps `ONES`, `SLOPES` and `OPPOSITE_SLOPES` 1, or the products of slopes that are positive, or negative.
    """
    raise AssertionError("compiled code only")  # pragma: no cover


@overload(at_rows)
def _select_at_rows(loss, y, stride, outputs, rows, most, value, workspace):  # noqa: ARG001
    return _softmax if loss.instance_class.multiclass else _each


@overload(curvatures)
def _select_curvatures(loss, y, stride, outputs, pair, rows, most, step, value, workspace):  # noqa: ARG001
    return _softmax_curvatures if loss.instance_class.multiclass else _curvatures


def _each(loss, y, stride, outputs, rows, most, value, workspace):  # noqa: ARG001
    for k in range(rows):
        value[k] = 0.0
    for c in range(outputs):
        targets, slope = offset(y, c * stride), offset(value, (1 + c) * most)
        for k in range(rows):
            term, slope[k] = at_sample(loss, targets[k], slope[k])
            value[k] += term


def _curvatures(loss, y, stride, outputs, pair, rows, most, step, value, workspace):
    if step <= ONES:
        _of_slopes(loss, y, stride, outputs, pair, rows, most, step, value, workspace)
        return
    targets, eta_k = offset(y, pair[0] * stride), offset(value, (1 + pair[0]) * most)
    for k in range(rows):
        value[k] = max(curvature_at(loss, targets[k], eta_k[k], step), 0.0)


@compiled(fastmath=EXACT)
def _of_slopes(loss, y, stride, outputs, pair, rows, most, step, value, workspace):
    """Write 1, or the products of two outputs' slopes that have the sign asked for."""
    if step == ONES:
        for k in range(rows):
            value[k] = 1.0
        return
    at_rows(loss, y, stride, outputs, rows, most, value, workspace)
    first, second = offset(value, (1 + pair[0]) * most), offset(value, (1 + pair[1]) * most)
    sign = 1.0 if step == SLOPES else -1.0
    for k in range(rows):
        value[k] = max(sign * first[k] * second[k], 0.0)


def _softmax(loss, y, stride, outputs, rows, most, value, workspace):  # noqa: ARG001
    """Write values and slopes; the largest linear predictor is subtracted first, so that nothing overflows."""
    largest, total, eta = workspace, offset(workspace, most), offset(value, most)
    for k in range(rows):
        largest[k] = eta[k]
        total[k] = 0.0
        value[k] = 0.0
    for c in range(1, outputs):
        eta_k = offset(eta, c * most)
        for k in range(rows):
            largest[k] = eta_k[k] if eta_k[k] > largest[k] else largest[k]
    for c in range(outputs):
        slope = offset(eta, c * most)
        for k in range(rows):
            m = slope[k] - largest[k]
            value[k] -= m if y[k] == c else 0.0
            slope[k] = exp_nonpositive(m)
            total[k] += slope[k]
    for k in range(rows):
        value[k] += np.log(total[k])
    for c in range(outputs):
        slope = offset(eta, c * most)
        for k in range(rows):
            slope[k] = slope[k] / total[k] - (1.0 if y[k] == c else 0.0)


def _softmax_curvatures(loss, y, stride, outputs, pair, rows, most, step, value, workspace):
    if step <= ONES:
        _of_slopes(loss, y, stride, outputs, pair, rows, most, step, value, workspace)
        return
    at_rows(loss, y, stride, outputs, rows, most, value, workspace)
    first, second = offset(value, (1 + pair[0]) * most), offset(value, (1 + pair[1]) * most)
    for k in range(rows):
        p = first[k] + (1.0 if y[k] == pair[0] else 0.0)
        q = 1.0 - p if pair[0] == pair[1] else second[k] + (1.0 if y[k] == pair[1] else 0.0)
        value[k] = max(p * q, 0.0)
