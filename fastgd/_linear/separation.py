"""Whether a direction of coefficients separates classes, so that without a penalty no finite coefficients are best.

Write m for ``±(x, 1)`` of two classes, or for the differences ``(x, 1) ⊗ (e_y − e_c)`` of several: a row for each
margin that should be positive. Either there is a direction d with ``m·d ≥ 0`` for all rows and ``> 0`` for some, along
which the loss falls for ever, or there are positive weights with ``Σ w m = 0`` (Stiemke, 1915), and a minimum. The
point of the cone ``Σ s m + {Σ w m : w ≥ 0}`` nearest to 0 tells which, with proof: if it is 0, s + w are such weights;
if not, it is such a direction.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.dataset import Dataset, InMemory, Picked, leading, pick
from fastgd._data.design import dense_rows
from fastgd._typing import Floats

MAX_SIZE = 128
"""Coefficients up to which a direction is searched for; of more, only the coefficients themselves are tried."""
_ZERO = 1e-11
"""A sum below this share of its terms is zero to rounding."""
_BORDER = 1e-9
"""A margin below this share of the largest is zero."""


class Coordinates(NamedTuple):
    """The coordinates in which directions are searched for: ``((x − center) / scale, 1)`` for each output.

    A column of infinite scale takes no part. Targets code the classes by 0, 1, ...; of two classes a sample has one
    margin.
    """

    center: Floats
    scale: Floats
    intercept: bool
    outputs: int

    def margins(self, part: InMemory, direction: Floats) -> tuple[Floats, Floats]:
        """Return every sample's smallest and largest margin along a direction, (n,); 0 for those without weight."""
        rows = direction.reshape(self.outputs, -1)
        coef = rows[:, : len(self.scale)] / self.scale
        offset = (rows[:, -1] if self.intercept else 0.0) - coef @ self.center
        z = part.design.linear_predictor(coef, np.broadcast_to(offset, self.outputs))
        active = weighs(part)
        if self.outputs == 1:
            margins = np.where(active, np.where(part.y == 1, z[:, 0], -z[:, 0]), 0.0)
            return margins, margins
        samples = np.arange(len(z)), part.y
        own = z[samples]
        z[samples] = -np.inf
        smallest = np.where(active, own - z.max(axis=1), 0.0)
        z[samples] = np.inf
        return smallest, np.where(active, own - z.min(axis=1), 0.0)

    def rows(self, part: InMemory, samples: NDArray[np.intp]) -> Floats:
        """Return the rows m of some samples, (samples, 1 or outputs − 1, size)."""
        x = (dense_rows(part.design, samples) - self.center) / self.scale
        x = np.column_stack((x, np.ones(len(x)))) if self.intercept else x
        if self.outputs == 1:
            return np.asarray(np.where(part.y[samples] == 1, 1.0, -1.0)[:, None, None] * x[:, None])
        own = np.eye(self.outputs)[part.y[samples]]
        differences = (own[:, None, :] - np.eye(self.outputs))[:, :, :, None] * x[:, None, None, :]
        return np.asarray(differences[own == 0.0].reshape(len(x), self.outputs - 1, self.outputs * x.shape[1]))


class Separation(NamedTuple):
    """A direction that separates classes, and the smallest and largest margin along it."""

    direction: Floats
    smallest: float
    largest: float


def weighs(part: InMemory) -> NDArray[np.bool_]:
    """Return whether each sample has a positive weight, (n,)."""
    return part.weight > 0.0 if part.weight.size else np.ones(part.shape[0], bool)


def extent(dataset: Dataset, coordinates: Coordinates, direction: Floats) -> tuple[float, float]:
    """Return the smallest and the largest margin of all samples along a direction: one pass."""
    low, high = dataset.map_reduce(partial(_extent, coordinates, direction), partial(np.max, axis=0))
    return -float(low), float(high)


def _extent(coordinates: Coordinates, direction: Floats, part: InMemory) -> Floats:
    smallest, largest = coordinates.margins(part, direction)
    return np.array([-np.min(smallest[weighs(part)], initial=np.inf), largest.max()])


def count_separated(dataset: Dataset, coordinates: Coordinates, direction: Floats, certain: float) -> tuple[int, int]:
    """Return how many samples of positive weight have a margin above ``certain``, and how many there are: one pass."""
    told, every = dataset.sum(partial(_counts, coordinates, direction, certain))
    return int(told), int(every)


def _counts(coordinates: Coordinates, direction: Floats, certain: float, part: InMemory) -> Floats:
    _, largest = coordinates.margins(part, direction)
    return np.array([np.sum(largest > certain), np.sum(weighs(part))], np.float64)


def separating(
    dataset: Dataset, coordinates: Coordinates, sum_of_rows: Callable[[], Floats], tried: Floats, passes: float
) -> Separation | None:
    """Return a direction that separates the classes, None if there is none or the search takes too long.

    Parameters
    ----------
    dataset : Dataset
    coordinates : Coordinates
    sum_of_rows : callable
        Returns ``Σ s m / Σ s`` (size,) with any positive s: minus the gradient at 0, or a multiple of it. It is called
        only if it is needed.
    tried : ndarray of shape (size,)
        A direction to try first: where the descent has come to.
    passes : float
        Passes that the search may take, besides those that check what it finds.
    """
    low, high = extent(dataset, coordinates, tried)
    if low >= 0.0 and high > 0.0:
        return Separation(tried, low, high)
    if tried.size > MAX_SIZE:
        return None
    total = sum_of_rows()
    columns = np.empty((total.size, 0))
    direction, scale = total, total.size**0.5
    most = 4 * total.size + 50
    for _ in range(int(passes)):
        if np.linalg.norm(direction) <= _ZERO * scale:
            return None
        rows = pick(dataset, partial(_below, coordinates, direction, 0.0, most), most).rows.reshape(-1, total.size)
        beyond = rows[rows @ direction < -10.0 * _ZERO * np.linalg.norm(rows, axis=1) * np.linalg.norm(direction)]
        if not len(beyond):
            return _inward(dataset, coordinates, direction)
        columns = np.column_stack((columns, beyond.T))
        weights = _nearest_to_zero(columns, total)
        if weights is None:
            return None
        columns, weights = columns[:, weights > 0.0], weights[weights > 0.0]
        scale = total.size**0.5 + float(weights @ np.linalg.norm(columns, axis=0))
        direction = _orthogonal_to(columns, total + columns @ weights)
    return None


def _below(coordinates: Coordinates, direction: Floats, border: float, most: int, part: InMemory) -> Picked:
    """Return the rows m of samples of positive weight whose smallest margin is at most ``border``."""
    smallest, _ = coordinates.margins(part, direction)
    here = np.flatnonzero(weighs(part) & (smallest <= border))
    here = here[leading(-smallest[None, here], most)]
    return Picked(-smallest[None, here], coordinates.rows(part, here))


def _inward(dataset: Dataset, coordinates: Coordinates, direction: Floats) -> Separation:
    """Return a direction without rows of margin 0, if turning the given one makes all of these positive.

    The nearest point of a cone has rows at its border even where another direction has none.
    """
    low, high = extent(dataset, coordinates, direction)
    found = Separation(direction, low, high)
    border, most = _BORDER * high, direction.size + 1
    at_border = pick(dataset, partial(_below, coordinates, direction, border, most), most).rows
    if not 0 < len(at_border) < most:
        return found
    rows = at_border.reshape(-1, direction.size)
    rows = rows[rows @ direction <= border]
    turn = np.asarray(np.linalg.lstsq(rows, np.ones(len(rows)))[0], np.float64)
    furthest = dataset.map_reduce(partial(_furthest_turn, coordinates, direction, turn, border), min)
    turned = direction + 0.5 * min(furthest, high) * turn
    low, high = extent(dataset, coordinates, turned)
    return Separation(turned, low, high) if low > 0.0 else found


def _furthest_turn(coordinates: Coordinates, direction: Floats, turn: Floats, border: float, part: InMemory) -> float:
    """Return how far a direction can be turned before another sample has margin 0."""
    smallest, _ = coordinates.margins(part, direction)
    turned, _ = coordinates.margins(part, turn)
    inside = weighs(part) & (smallest > border) & (turned < 0.0)
    return float(np.min(smallest[inside] / -turned[inside], initial=np.inf))


def _orthogonal_to(columns: Floats, vector: Floats) -> Floats:
    """Return a vector without the part that rounding left in the span of columns it should be orthogonal to."""
    basis = np.linalg.qr(columns)[0]
    for _ in range(2):
        vector = vector - basis @ (basis.T @ vector)
    return vector


def _nearest_to_zero(columns: Floats, total: Floats) -> Floats | None:
    """Return w ≥ 0 that minimises ``‖total + columns w‖`` (Lawson and Hanson, 1974), None if rounding prevents it."""
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
            basis, triangle = np.linalg.qr(columns[:, used])  # a column that enters is never in the others' span
            solution[used] = np.linalg.solve(triangle, -total @ basis)
            leaving = np.flatnonzero(used & (solution <= 0.0))
            if not leaving.size:
                weights = solution
                break
            if solution[entering] <= 0.0 and weights[entering] == 0.0:  # it added nothing but rounding
                return weights
            ratio = weights[leaving] / (weights[leaving] - solution[leaving])
            weights = np.maximum(weights + ratio.min() * (solution - weights), 0.0)
            gone = leaving[ratio <= ratio.min()]
            weights[gone] = 0.0
            used[gone] = False
    return None
