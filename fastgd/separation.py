"""Whether a direction of coefficients separates classes, so that without a penalty no finite coefficients are best.

Write m for ``±(x, 1)`` of two classes, or for the differences ``(x, 1) ⊗ (e_y − e_c)`` of several: a row for each
margin that should be positive. Either there is a direction d with ``m·d ≥ 0`` for all rows and ``> 0`` for some, along
which the loss falls for ever, or there are positive weights with ``Σ w m = 0`` (Stiemke, 1915), and a minimum. The
point of the cone ``Σ s m + {Σ w m : w ≥ 0}`` nearest to 0 tells which, with proof: if it is 0, s + w are such weights;
if not, it is such a direction.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.sources import Floats, Matrix, dense_rows

LARGEST = 128  # coefficients for which a direction is searched for; beyond, the coefficients themselves are tried
_ZERO = 1e-11  # of what was added up: that a sum is zero to rounding
_BORDER = 1e-9  # of the largest margin: that another is zero


class Classes(NamedTuple):
    """Samples of classes, in coordinates ``((x − center) / scale, 1)``: a row of d, and 1, for each output.

    A column of infinite scale takes no part. ``y`` codes the classes by 0, 1, ...; of two, there is one margin.
    """

    matrix: Matrix
    y: NDArray[Any]
    active: NDArray[np.bool_]
    center: Floats
    scale: Floats
    intercept: bool
    outputs: int

    def margins(self, direction: Floats) -> tuple[Floats, Floats]:
        """Give every sample's smallest and largest margin along a direction, (n,); 0 for those without weight."""
        rows = direction.reshape(self.outputs, -1)
        coef = rows[:, : len(self.scale)] / self.scale
        offset = (rows[:, -1] if self.intercept else 0.0) - coef @ self.center
        z = self.matrix.margins(coef, np.broadcast_to(offset, self.outputs))
        if self.outputs == 1:
            margins = np.where(self.active, np.where(self.y == 1, z[:, 0], -z[:, 0]), 0.0)
            return margins, margins
        samples = np.arange(len(z)), self.y
        own = z[samples]
        z[samples] = -np.inf
        smallest = np.where(self.active, own - z.max(axis=1), 0.0)
        z[samples] = np.inf
        return smallest, np.where(self.active, own - z.min(axis=1), 0.0)

    def rows(self, samples: NDArray[np.intp]) -> Floats:
        """Give the rows m of some samples, one or ``outputs − 1`` of each, (rows, size)."""
        x = (dense_rows(self.matrix, samples) - self.center) / self.scale
        x = np.column_stack((x, np.ones(len(x)))) if self.intercept else x
        if self.outputs == 1:
            return np.asarray(np.where(self.y[samples] == 1, 1.0, -1.0)[:, None] * x)
        own = np.eye(self.outputs)[self.y[samples]]
        differences = (own[:, None, :] - np.eye(self.outputs))[:, :, :, None] * x[:, None, None, :]
        return np.asarray(differences[own == 0.0].reshape(-1, self.outputs * x.shape[1]))


def separating(classes: Classes, total: Floats, tried: Floats, passes: float) -> Floats | None:
    """Find a direction that separates the classes, None if there is none or it takes too long.

    Parameters
    ----------
    classes : Classes
    total : ndarray of shape (size,)
        ``Σ s m / Σ s`` with any positive s: minus the gradient at 0, or a multiple of it.
    tried : ndarray of shape (size,)
        A direction to try first: where the descent has come to.
    passes : float
        Readings of X that the search may take.
    """
    smallest, largest = classes.margins(tried)
    if smallest.min() >= 0.0 and largest.max() > 0.0:
        return tried
    if total.size > LARGEST:
        return None
    columns = np.empty((total.size, 0))
    direction, scale = total, total.size**0.5
    for _ in range(int(passes)):
        if np.linalg.norm(direction) <= _ZERO * scale:
            return None
        smallest, _ = classes.margins(direction)
        most = min(4 * total.size + 50, len(smallest))
        worst = np.sort(np.argpartition(smallest, most - 1)[:most])
        rows = classes.rows(worst[smallest[worst] < 0.0])
        beyond = rows[rows @ direction < -10.0 * _ZERO * np.linalg.norm(rows, axis=1) * np.linalg.norm(direction)]
        if not len(beyond):
            return _inward(classes, direction)
        columns = np.column_stack((columns, beyond.T))
        weights = _nearest_to_zero(columns, total)
        if weights is None:
            return None
        columns, weights = columns[:, weights > 0.0], weights[weights > 0.0]
        scale = total.size**0.5 + float(weights @ np.linalg.norm(columns, axis=0))
        direction = _across(columns, total + columns @ weights)
    return None


def _inward(classes: Classes, direction: Floats) -> Floats:
    """Turn a direction off the few rows at its border, if there is a way on which all of them become positive.

    The nearest point of a cone has some at its border, also where another direction has none.
    """
    smallest, largest = classes.margins(direction)
    border = classes.active & (smallest <= _BORDER * largest.max())
    if not 0 < border.sum() <= direction.size:
        return direction
    rows = classes.rows(np.flatnonzero(border))
    rows = rows[rows @ direction <= _BORDER * largest.max()]
    turn = np.linalg.lstsq(rows, np.ones(len(rows)))[0]
    turned, _ = classes.margins(turn)
    inside = classes.active & ~border & (turned < 0.0)
    length = 0.5 * np.min(smallest[inside] / -turned[inside], initial=largest.max())
    found = direction + length * turn
    return found if classes.margins(found)[0][classes.active].min() > 0.0 else direction


def _across(columns: Floats, vector: Floats) -> Floats:
    """Take off what rounding has left of a vector in the span of columns that it should be across."""
    basis = np.linalg.qr(columns)[0]
    for _ in range(2):
        vector = vector - basis @ (basis.T @ vector)
    return vector


def _nearest_to_zero(columns: Floats, total: Floats) -> Floats | None:
    """Minimise ``‖total + columns w‖`` over w ≥ 0 (Lawson and Hanson, 1974); None if rounding does not let it end."""
    lengths = np.linalg.norm(columns, axis=0)
    weights = np.zeros(columns.shape[1])
    used = np.zeros(len(weights), bool)
    for _ in range(10 * sum(columns.shape)):
        residual = total + columns @ weights
        size = float(np.linalg.norm(residual))
        gain = np.where(used, 0.0, -(columns.T @ residual)) / lengths
        entering = int(np.argmax(gain))
        if size <= _ZERO * (total.size**0.5 + weights @ lengths) or gain[entering] <= _ZERO * size:
            return weights
        used[entering] = True
        while used.any():
            solution = np.zeros(len(weights))
            basis, triangle = np.linalg.qr(columns[:, used])  # columns that enter are never in the span of the others
            solution[used] = np.linalg.solve(triangle, -total @ basis)
            leaving = np.flatnonzero(used & (solution <= 0.0))
            if not leaving.size:
                weights = solution
                break
            if solution[entering] <= 0.0 and weights[entering] == 0.0:  # it had nothing to add but rounding
                return weights
            ratio = weights[leaving] / (weights[leaving] - solution[leaving])
            weights = np.maximum(weights + ratio.min() * (solution - weights), 0.0)
            gone = leaving[ratio <= ratio.min()]
            weights[gone] = 0.0
            used[gone] = False
    return None
