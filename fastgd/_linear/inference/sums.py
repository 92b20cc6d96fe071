"""What inference adds up over samples in one pass: products of rows, losses, weights, and scores of clusters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.dataset import InMemory
from fastgd._kernels.layout import SparseRows, Tile
from fastgd._kernels.losses import ONES
from fastgd._kernels.sums import GramPoint, loss_sums, row_slopes
from fastgd._linear.inference.spec import CovarianceSpec
from fastgd._linear.statistics import PASS_OUTPUTS, grams_of_part
from fastgd._typing import Floats
from fastgd.losses import LABELS, Loss

TILE_BYTES = 1 << 22
"""Bytes of rows that are made dense at a time."""
ALONE = 1e-12
"""Rows whose leverage leaves no more than this of 1 determine a coefficient alone, and have a slope of 0."""


class Scores(NamedTuple):
    """Sums of scores over the rows of each cluster.

    Attributes
    ----------
    labels : ndarray of shape (clusters,)
        Sorted.
    sums : ndarray of shape (clusters, size)
    """

    labels: NDArray[Any]
    sums: Floats

    def merge(self, other: Scores) -> Scores:
        """Return the sums over the rows of both."""
        labels, places = np.unique(np.concatenate((self.labels, other.labels)), return_inverse=True)
        sums = np.zeros((len(labels), self.sums.shape[1]))
        np.add.at(sums, places, np.concatenate((self.sums, other.sums)))
        return Scores(labels, sums)


class Sums(NamedTuple):
    """What one pass adds up over samples.

    Attributes
    ----------
    products : ndarray of shape (points, size, size)
        As `grams` has them.
    losses : ndarray of shape (outputs,), or (1,)
        ``Σ s L`` of each output, or of all classes.
    gradient : ndarray of shape (1 + outputs + outputs d,)
        As `loss_sums` has it.
    rows : float
        Rows of positive weight.
    weight : float
        The sum of the weights.
    log_weight : float
        The sum of the logarithms of positive weights.
    of_class : ndarray of shape (classes,)
        The sum of the weights of each class; empty unless y has classes.
    scores : Scores or None
    """

    products: Floats
    losses: Floats
    gradient: Floats
    rows: float
    weight: float
    log_weight: float
    of_class: Floats
    scores: Scores | None = None

    def merge(self, other: Sums) -> Sums:
        """Return the sums over the samples of both."""
        return Sums(
            self.products + other.products,
            self.losses + other.losses,
            self.gradient + other.gradient,
            self.rows + other.rows,
            self.weight + other.weight,
            self.log_weight + other.log_weight,
            self.of_class + other.of_class,
            self.scores and other.scores and self.scores.merge(other.scores),
        )

    def observations(self, spec: CovarianceSpec) -> float:
        """Return the number of observations: rows of positive weight, or what weights add up to if they count rows."""
        return self.weight if spec.weights == "frequency" else self.rows

    @staticmethod
    def merge_all(several: list[Sums]) -> Sums:
        """Return the sums over all samples, in order."""
        return reduce(Sums.merge, several)


@dataclass(frozen=True)
class PartSums:
    """What a pass adds up over the samples of a part; it goes along to where they lie.

    Attributes
    ----------
    loss : Loss
    coef, intercept : ndarray of shape (outputs, d), (outputs,)
        In the order of tiles.
    center : ndarray of shape (d,)
    has_intercept : bool
    points : list of GramPoint
    frequency : bool
        Whether a weight is the number of samples that a row stands for.
    clustered : bool
        Whether scores are added up over clusters.
    levers : list of ndarray, or None
        For each point; None unless slopes are divided by what leverages leave.
    power : float
        Squared slopes are divided by ``(1 − leverage)^power``.
    n_threads : int or None
    """

    loss: Loss
    coef: Floats
    intercept: Floats
    center: Floats
    has_intercept: bool
    points: list[GramPoint]
    frequency: bool
    clustered: bool
    levers: list[Floats] | None
    power: float
    n_threads: int | None

    def __call__(self, part: InMemory) -> Sums:
        """Return the sums over the samples of a part."""
        size, weight = len(self.center) + self.has_intercept, part.weight
        positive, of_class = weight[weight > 0.0], np.zeros(0)
        if self.loss.target == LABELS:
            counts = np.bincount(part.y.astype(np.intp), weight if weight.size else None, max(2, len(self.coef)))
            of_class = counts.astype(np.float64)
        whole = 1 + len(self.coef) + self.coef.size
        products = np.zeros((0, size, size))
        if self.points:
            products = grams_of_part(part, self.loss, self.points, self.n_threads, self._weights)
        losses = part.sum_tiles(self._losses, len(self.coef) / PASS_OUTPUTS)
        return Sums(
            products[:, :size, :size],
            losses[whole:] if len(losses) > whole else losses[:1],
            losses[:whole],
            float(len(positive) if weight.size else part.shape[0]),
            part.total_weight(),
            float(np.log(positive).sum()),
            of_class,
            self._scores(part) if self.clustered else None,
        )

    def _losses(self, tile: Tile, block_rows: int) -> Floats:
        """Return the sums of each block at all coefficients, and of several targets each one's ``Σ s L``."""
        sums = loss_sums(tile, self.coef, self.intercept, self.loss, block_rows, self.n_threads)
        if self.loss.multiclass or len(self.coef) == 1:
            return sums
        own = [
            loss_sums(tile._replace(y=y), coef, intercept, self.loss, block_rows, self.n_threads)[:, :1]
            for y, coef, intercept in zip(tile.y, self.coef, self.intercept, strict=True)
        ]
        return np.hstack((sums, *own))

    def _weights(self, tile: Tile) -> list[Floats]:
        """Return the weights of a tile's rows for each point: those of squared slopes are squared, too."""
        weight = tile.weight
        squared = weight if self.frequency or not weight.size else weight * weight
        if self.levers is None:
            return [weight if at.step > ONES else squared for at in self.points]
        left = [np.maximum(1.0 - lever, ALONE) for lever in self._leverages(tile)]
        return [np.where(each > ALONE, squared if weight.size else 1.0, 0.0) / each**self.power for each in left]

    def _leverages(self, tile: Tile) -> list[Floats]:
        """Return the leverages of a tile's rows at each point."""
        assert self.levers is not None  # noqa: S101  whoever calls has looked
        found = [np.empty(tile.y.shape[-1]) for _ in self.points]
        for rows, z, slopes in self._dense(tile):
            weight = tile.weight[rows] if tile.weight.size and not self.frequency else 1.0
            for own, lever, slope, y in zip(found, self.levers, slopes, np.atleast_2d(tile.y)[:, rows], strict=True):
                length = z @ lever
                own[rows] = weight * _curvature(self.loss, slope, y) * np.einsum("ij,ij->i", length, length)
        return found

    def _scores(self, part: InMemory) -> Scores:
        """Return the sums of scores over the clusters of a part; rows of weight 0 belong to none."""
        groups = part.groups
        assert groups is not None  # noqa: S101  they were asked for
        weighted = part.weight > 0.0 if part.weight.size else np.ones(part.shape[0], bool)
        labels = np.unique(groups[weighted])
        size, first = len(self.center) + self.has_intercept, 0
        outputs = slice(1 if self.loss.multiclass else 0, None)
        sums = np.zeros((len(labels), len(self.coef[outputs]), size))

        def visit(tile: Tile, block_rows: int) -> Floats:  # noqa: ARG001
            nonlocal first
            for rows, z, slopes in self._dense(tile):
                stretch = slice(first + rows.start, first + rows.stop)
                kept = np.flatnonzero(weighted[stretch])
                own = np.searchsorted(labels, groups[stretch][kept])
                order = np.argsort(own, kind="stable")
                own, kept = own[order], kept[order]
                begins = np.flatnonzero(np.diff(own, prepend=-1))
                scores = slopes[outputs] * tile.weight[rows] if tile.weight.size else slopes[outputs]
                for number, score in enumerate(scores if len(kept) else ()):
                    sums[own[begins], number] += np.add.reduceat(z[kept] * score[kept, None], begins)
            first += tile.y.shape[-1]
            return np.zeros((1, 1))

        part.by_rows().sum_tiles(visit)
        return Scores(labels, sums.reshape(len(labels), -1))

    def _dense(self, tile: Tile) -> Iterator[tuple[slice, Floats, Floats]]:
        """Yield some rows of a tile at a time: which, ``z = (x − center, 1)``, and their slopes, (outputs, rows)."""
        n, d = tile.y.shape[-1], len(self.center)
        most = max(64, TILE_BYTES // (8 * (d + 1)))
        for start in range(0, n, most):
            rows = slice(start, min(start + most, n))
            x = dense_rows(tile, rows, d)
            eta = np.ascontiguousarray((x @ self.coef.T + self.intercept).T)
            z = np.ones((len(x), d + self.has_intercept))
            z[:, :d] = x - self.center
            yield rows, z, row_slopes(np.ascontiguousarray(tile.y[..., rows]), eta, self.loss)


def _curvature(loss: Loss, slope: Floats, y: Floats) -> Floats:
    """Return curvatures, given slopes, of a quadratic loss or of two classes: p (1 − p), and the slope is p − y."""
    if loss.quadratic:
        return np.full(slope.shape, loss.curvature_bound)
    return np.where(y > 0.5, -slope * (1.0 + slope), slope * (1.0 - slope))


def dense_rows(tile: Tile, rows: slice, d: int) -> Floats:
    """Return some rows of a tile, whose sparse entries are stored by rows, as an array of float64 (rows, d)."""
    index = tile.rows[rows] if tile.rows.size else np.arange(rows.start, rows.stop)
    x = np.zeros((len(index), d))
    dense = tile.X.shape[1]
    x[:, :dense] = tile.X[index]
    if tile.entries is not None:
        assert isinstance(tile.entries, SparseRows)  # noqa: S101  whoever calls has asked for rows
        begins, columns, values, _ = tile.entries
        counts = (begins[index + 1] - begins[index]).astype(np.intp)
        ends = np.cumsum(counts)
        entries = np.arange(ends[-1]) + np.repeat(begins[index] - (ends - counts), counts)
        np.add.at(x, (np.repeat(np.arange(len(index)), counts), dense + columns[entries]), values[entries])
    return x
