"""Mean loss plus penalty over a data set: call it at a point, get value and gradient for one pass.

The only place that knows scaling, of samples, of features and of the penalty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from fastgd._data.dataset import Dataset
from fastgd._kernels.layout import Tile
from fastgd._kernels.sums import loss_sums
from fastgd._linear.statistics import MAX_SIZE, PASS_OUTPUTS, Moments, point_sums
from fastgd._optim.base import Evaluation
from fastgd._typing import Floats
from fastgd._utils import double_double as dd
from fastgd._utils.double_double import DoubleDouble
from fastgd._utils.linalg import EPS
from fastgd._utils.validation import check_flag
from fastgd.losses import Loss
from fastgd.penalties import Penalty

_CANCELLING = 16.0
"""Sums of terms of so many times their own size are rounded once."""


class Coefficients(NamedTuple):
    """Coefficients and intercepts in the user's units, columns in the caller's order.

    Attributes
    ----------
    coef : ndarray of shape (k, d)
        A row for each output.
    intercept : ndarray of shape (k,)
    """

    coef: Floats
    intercept: Floats


@dataclass(frozen=True)
class ModelSpec:
    """What is to be minimised, whatever the data.

    Attributes
    ----------
    loss : Loss
    penalty : Penalty
    intercept : bool
        Whether there is an intercept, which is never penalised.
    standardize : bool
        Whether descent moves in coordinates of mean 0 and standard deviation 1.
    """

    loss: Loss
    penalty: Penalty
    intercept: bool
    standardize: bool

    @classmethod
    def of(cls, loss: Loss, penalty: Penalty, intercept: Any, standardize: Any) -> ModelSpec:
        """Return the model that a caller asked for; a TypeError names the argument that is wrong."""
        check_flag("intercept", intercept)
        check_flag("standardize", standardize)
        return cls(loss, penalty, bool(intercept), bool(standardize))

    @property
    def can_separate(self) -> bool:
        """Whether there may be no minimum: of classes, without a penalty."""
        return self.loss.separable and self.penalty.is_zero


@dataclass(frozen=True)
class LinearObjective:
    """``f(β, b) = (1/Σs) Σ s_i L(y_i, x_i·β + b) + penalty(β)`` as a function of the point x that descent moves.

    The point holds a row ``(θ, c)`` for each output, with ``β = θ / scale`` and ``b = c − mean·β``: the samples are
    never touched, the scaling happens in the parameters. Without an intercept a row is θ alone. A feature with an
    infinite scale keeps β = 0. Inside, columns stand in the order of tiles; `Coefficients` are in the caller's.

    Parameters
    ----------
    dataset : Dataset
        n samples with d features.
    spec : ModelSpec
    moments : Moments
        The samples' own, for weights, and for gradients per standard deviation.
    n_threads : int, optional
    outputs : int
        Linear predictors of a sample, each with coefficients and an intercept of its own: one for each class or target.
    independent : bool
        Whether the features that vary are known to be independent of each other.
    sampled : bool
        Whether it is over a sub-sample, with the moments of all samples.
    known : tuple of ndarray, or None
        A point, and the coefficients (in the order of tiles) and intercepts there without the rounding of coordinates.
    """

    dataset: Dataset
    spec: ModelSpec
    moments: Moments
    n_threads: int | None = None
    outputs: int = 1
    independent: bool = False
    sampled: bool = False
    known: tuple[Floats, Floats, Floats] | None = None

    @property
    def loss(self) -> Loss:
        """The loss of a sample."""
        return self.spec.loss

    @property
    def penalty(self) -> Penalty:
        """The penalty on coefficients."""
        return self.spec.penalty

    @property
    def intercept(self) -> bool:
        """Whether there is an intercept."""
        return self.spec.intercept

    @property
    def row_size(self) -> int:
        """Length of an output's row in a point: d, and one more with an intercept."""
        return self.dataset.shape[1] + self.intercept

    @property
    def size(self) -> int:
        """Length of a point."""
        return self.outputs * self.row_size

    @cached_property
    def penalty_spread(self) -> float:
        """The standard deviation of a feature of which the loss curves as much as the penalty does, at most.

        0 for penalties that are not smooth: their solver needs no such coordinates, and several share theirs.
        """
        if not self.penalty.smooth:
            return 0.0
        return float(np.sqrt(self.penalty.curvature / self.loss.curvature_bound))

    @cached_property
    def scale(self) -> Floats:
        """What a coefficient is multiplied by to become a coordinate, (d,).

        Not just the standard deviation σ: where the penalty curves the objective more than the data do, its share
        ``l2 / (largest curvature of the loss)`` is added to σ², so that no coordinate is stiff. Infinite if both are 0.
        """
        if not self.spec.standardize:
            return np.ones(self.dataset.shape[1])
        scale = np.hypot(self.moments.spread, self.penalty_spread)
        return np.where(scale > 0.0, scale, np.inf)

    @cached_property
    def mean(self) -> Floats:
        """What features are centred at in the point's coordinates, (d,)."""
        centred = self.spec.standardize and self.intercept
        return self.moments.mean if centred else np.zeros(self.dataset.shape[1])

    @cached_property
    def gradient_scales(self) -> Floats:
        """The unit of an output's gradient, (targets,): for most losses the standard deviation of y, 1 for classes."""
        spreads = zip(self.moments.y_spread, self.moments.y_mean, strict=True)
        scales = [self.loss.gradient_scale(float(spread) or abs(float(mean)) or 1.0) for spread, mean in spreads]
        return np.array(scales)

    @property
    def data_rounding(self) -> float:
        """The share of its size by which a column may be rounded: if others leave no more of it, it is redundant."""
        return 8.0 * self.dataset.rounding

    @property
    def stored_sizes(self) -> Floats:
        """The root mean squares of the columns as they are stored, (d,), which their rounding is relative to."""
        origin = self.dataset.origin
        mean = self.moments.mean if origin is None else self.moments.mean + origin
        return np.hypot(mean, self.moments.spread)

    @property
    def largest_diagonal(self) -> float:
        """An upper bound of the Hessian's diagonal, from the moments alone."""
        spread, offset = self.moments.spread / self.scale, (self.moments.mean - self.mean) / self.scale
        diagonal = self.loss.curvature_bound * (spread**2 + offset**2) + self.penalty.curvature / self.scale**2
        return float(np.max(np.append(diagonal, self.loss.curvature_bound)))

    @property
    def mean_curvature(self) -> float:
        """An upper bound of the mean of single samples' largest curvatures, from the moments alone; without penalty."""
        spread, offset = self.moments.spread / self.scale, (self.moments.mean - self.mean) / self.scale
        offset = offset if self.intercept else np.zeros(1)
        return self.loss.curvature_bound * float(np.sum(spread**2) + np.sum(offset**2) + self.intercept)

    def to_coefficients(self, x: Floats) -> Coefficients:
        """Return the coefficients and intercepts at a point (size,)."""
        coef, intercept = self.tile_coefficients(x)
        return Coefficients(self.dataset.to_caller_order(coef), intercept)

    def to_x(self, coefficients: Coefficients) -> Floats:
        """Return the point (size,) with these coefficients and intercepts; features that cannot move get 0."""
        coef, intercept = self.dataset.to_tile_order(coefficients.coef), coefficients.intercept
        with np.errstate(over="ignore", invalid="ignore"):  # the loop refuses a start that is not finite
            theta = np.where(np.isfinite(self.scale), coef * self.scale, 0.0)
            at_mean = shifted_intercept(intercept, coef, self.mean)
            return (np.column_stack((theta, at_mean)) if self.intercept else theta).ravel()

    def tile_coefficients(self, x: Floats) -> tuple[Floats, Floats]:
        """Return coefficients (outputs, d), in the order of tiles, and intercepts (outputs,) at a point."""
        if self.known is not None and np.array_equal(x, self.known[0]):
            return self.known[1], self.known[2]
        rows = x.reshape(self.outputs, -1)
        coef = rows[:, : self.dataset.shape[1]] / self.scale
        return coef, shifted_intercept(rows[:, -1], -coef, self.mean) if self.intercept else np.zeros(self.outputs)

    def __call__(self, x: Floats) -> Evaluation:
        """Return value and gradient (size,) at a point (size,), of the smooth part if it is not all: one pass."""
        if not self.penalty.smooth:
            return evaluate_together([self], [x])[0]
        coef, intercept = self.tile_coefficients(x)
        loss, n_threads = self.loss, self.n_threads  # capture only these: the closure is pickled and sent to workers

        def visit(tile: Tile, block_rows: int) -> Floats:
            return loss_sums(tile, coef, intercept, loss, block_rows, n_threads)

        return self.evaluation(coef, self.dataset.sum_tiles(visit, self.outputs / PASS_OUTPUTS))

    def evaluation(self, coef: Floats, sums: Floats) -> Evaluation:
        """Return value and gradient from the sums of loss, slope and gradient at coefficients in the order of tiles."""
        sums = sums / self.moments.total_weight
        value = float(sums[0]) + self.penalty.value(coef)
        slopes, gradient = sums[1 : 1 + self.outputs], sums[1 + self.outputs :].reshape(coef.shape)
        gradient = (gradient - self.mean * slopes[:, None] + self.penalty.gradient(coef)) / self.scale
        return Evaluation(value, (np.column_stack((gradient, slopes)) if self.intercept else gradient).ravel())

    def gradient_norm(self, x: Floats, gradient: Floats) -> float:
        """Return the largest component of the gradient (size,) at a point, per standard deviation of its feature.

        It depends on no choice of coordinates: not on ``standardize``, on the unit or origin of a feature, on the
        number of samples, the unit of y (in losses that follow it) or of the weights. With a penalty that is not
        smooth, it is that of the smallest subgradient.
        """
        d = self.dataset.shape[1]
        rows = self.subgradient(x, gradient).reshape(self.outputs, -1)
        raw = rows[:, :d] * np.where(np.isfinite(self.scale), self.scale, 0.0)
        if self.intercept:
            raw = raw - (self.moments.mean - self.mean) * rows[:, -1:]
        # A constant feature has no spread, but a penalty that its coefficient can be too large for.
        spread = np.where(self.moments.spread > 0.0, self.moments.spread, self.penalty_spread)
        slopes = np.divide(raw, spread, out=np.zeros(raw.shape), where=spread > 0.0)
        scaled = np.abs(np.column_stack((slopes, rows[:, d:]))) / self.gradient_scales[:, None]
        return float(np.max(scaled, initial=0.0))

    def subgradient(self, x: Floats, gradient: Floats) -> Floats:
        """Return the smallest subgradient (size,) at a point, given the gradient (size,) of all that is smooth."""
        if self.penalty.smooth:
            return gradient
        d, rows = self.dataset.shape[1], gradient.reshape(self.outputs, -1).copy()
        scale = np.where(np.isfinite(self.scale), self.scale, 0.0)
        coef, _ = self.tile_coefficients(x)
        rows[:, :d] = self.penalty.subgradient(coef, rows[:, :d] * scale) / self.scale
        return np.asarray(rows.ravel())

    def rounding(self, x: Floats, value: float) -> tuple[float, float]:
        """Return how far the rounding of linear predictors may move this value, and the gradient norm, at a point."""
        coef, intercept = self.tile_coefficients(x)
        (_, y_mean, y_spread, mean, spread), bound = self.moments, self.loss.curvature_bound
        reach = np.hypot(mean, spread)
        with np.errstate(over="ignore"):
            sizes = _along(np.abs(coef), reach) + np.abs(intercept) + np.hypot(y_mean, y_spread).max()
        eta = EPS * (4 + len(reach)) * float(sizes.max())
        lever = np.divide(reach, spread, out=np.ones(len(reach)), where=spread > 0.0).max(initial=1.0)
        steepest = (2.0 * bound * value) ** 0.5  # where L ≥ 0 and its curvature is bounded, L'² ≤ 2 · bound · L
        return steepest * eta + bound * eta * eta, bound * eta * lever / self.gradient_scales.min()

    def on(self, sample: Dataset) -> LinearObjective:
        """Return the same objective, in the same coordinates and units, over a sample of its rows."""
        moments = self.moments._replace(total_weight=sample.total_weight())
        return replace(self, dataset=sample, moments=moments, independent=False, sampled=True, known=None)


def evaluate_together(objectives: Sequence[LinearObjective], points: Sequence[Floats]) -> list[Evaluation]:
    """Return each objective's evaluation at a point of its own, all from one pass.

    Objectives differ in their penalties alone.
    """
    first = objectives[0]
    coefs, intercepts = zip(*map(LinearObjective.tile_coefficients, objectives, points), strict=True)
    found = point_sums(first.dataset, first.loss, np.stack(coefs), np.stack(intercepts), first.n_threads)
    weight = first.moments.total_weight
    return [
        objective.evaluation(coef, sums)._replace(dual_excess=excess / weight)
        for objective, coef, sums, excess in zip(objectives, coefs, found.sums, found.dual_excess.tolist(), strict=True)
    ]


def shifted_intercept(intercept: Floats, coef: Floats, shift: Floats) -> Floats:
    """Return ``intercept + coef·shift``, rounded once where its terms cancel, as for features far from 0.

    Parameters
    ----------
    intercept : ndarray of shape (k,)
    coef : ndarray of shape (k, d)
    shift : ndarray of shape (d,)
    """
    with np.errstate(over="ignore", invalid="ignore"):
        plain = np.asarray(intercept + _along(coef, shift))
        size = np.abs(intercept) + _along(np.abs(coef), np.abs(shift))
        if (size <= _CANCELLING * np.abs(plain)).all():
            return plain
        largest = max(np.abs(each).max(initial=0.0) for each in (coef, shift, size))
        if not largest < MAX_SIZE:  # more than double-doubles hold
            return plain
        return dd.add(dd.dot(coef, shift), DoubleDouble.of(intercept)).rounded()


def _along(coef: Floats, x: Floats) -> Floats:
    """Multiply each row of coefficients by x without BLAS, whose threads would slow down the passes that follow."""
    return np.asarray(np.einsum("kj,j->k", coef, x))
