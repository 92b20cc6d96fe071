"""Coordinate descent on a quadratic model with an L1 penalty: no data are read, only numbers of the model.

The model's matrix is a dense block among some coordinates, diagonal among the others, plus a few rank-one matrices.
"""

from __future__ import annotations

import numpy as np

from fastgd._kernels.jit import EXACT, compiled

_ROUNDING = 4.0 * float(np.finfo(np.float64).eps)
"""The share of a coordinate by which it is not changed, as that is rounding."""


@compiled(fastmath=EXACT)
def _sweep(
    gradient, x, threshold, ridge, lowest, place, block, diagonal, vectors, signs, inner, along, step, chosen, count
):
    """Minimise over some coordinates, one after the other; return the largest change of curvature times coordinate."""
    most, rank = 0.0, signs.size
    for c in range(count):
        j = chosen[c]
        k = place[j]
        if k < 0 and not diagonal[j] > 0.0:
            continue  # the model knows nothing of it
        slope, curvature = gradient[j] + ridge[j] * step[j], ridge[j]
        if k >= 0:
            slope += inner[k]
            curvature += block[k, k]
        else:
            slope += diagonal[j] * step[j]
            curvature += diagonal[j]
        for r in range(rank):
            slope += signs[r] * vectors[j, r] * along[r]
            curvature += signs[r] * vectors[j, r] * vectors[j, r]
        if not curvature > 0.0:
            continue
        before = x[j] + step[j]
        wanted = curvature * before - slope
        if wanted > threshold[j]:
            after = (wanted - threshold[j]) / curvature
        elif wanted < -threshold[j]:
            after = (wanted + threshold[j]) / curvature
        else:
            after = 0.0
        after = max(after, lowest[j])
        change = after - before
        if abs(change) <= _ROUNDING * abs(after):
            continue
        step[j] = after - x[j]
        if k >= 0:
            row = block[k]
            for i in range(inner.size):
                inner[i] += change * row[i]
        for r in range(rank):
            along[r] += vectors[j, r] * change
        most = max(most, curvature * abs(change))
    return most


@compiled(cache=True, fastmath=EXACT)
def minimize_model(
    gradient, x, threshold, ridge, lowest, place, block, diagonal, vectors, signs, inner, along, step, tol, rough, most
):
    """Minimise ``g·p + ½ p·(B + ridge) p + Σ threshold |x + p|`` over p, with ``x + p ≥ lowest``, in ``step``.

    Parameters
    ----------
    gradient, x, threshold, ridge, lowest, diagonal : array of shape (size,)
    place : array of int (size,)
        The row of ``block`` of each coordinate, −1 for coordinates with a diagonal alone, or without: these stay.
    block : array of shape (m, m)
    vectors, signs : array of shape (size, rank), (rank,)
        B is block and diagonal plus ``Σ_r signs_r v_r v_rᵀ``.
    inner, along : array of shape (m,), (rank,)
        ``block`` times the step, and the vectors' products with it, for the step that is given.
    step : array of shape (size,)
        Where to begin; it becomes the minimum.
    tol, rough : float
        It ends when a sweep over all coordinates changes no slope by more than ``tol``, or ``rough`` times what the
        first sweep did.
    most : int
        Sweeps at most, over all coordinates or over those that are not 0.

    Returns
    -------
    float
        How much the last sweep over all coordinates changed slopes, at most.
    """
    size, sweeps, last = x.size, 0, np.inf
    every, active = np.arange(size), np.empty(size, np.int64)
    model = gradient, x, threshold, ridge, lowest, place, block, diagonal, vectors, signs, inner, along, step
    while sweeps < most:
        last = moved = _sweep(*model, every, size)
        tol = max(tol, rough * moved) if sweeps == 0 else tol
        sweeps += 1
        if moved <= tol:
            break
        count = 0
        for j in range(size):
            if x[j] + step[j] != 0.0:
                active[count] = j
                count += 1
        while sweeps < most and moved > 0.3 * tol:
            moved = _sweep(*model, active, count)
            sweeps += 1
    return last
