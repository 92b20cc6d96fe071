"""The Hessian of an objective over samples, and the root of its inverse, by which descent is preconditioned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fastgd._kernels.sums import GramPoint
from fastgd._linear.collinearity import Columns
from fastgd._linear.objective import LinearObjective
from fastgd._linear.statistics import gram_double_double, grams, moments, sum_rounding
from fastgd._optim.lbfgs import Preconditioner
from fastgd._typing import Floats
from fastgd._utils import double_double as dd
from fastgd._utils.double_double import DoubleDouble
from fastgd._utils.linalg import NO_INVERSE, PRECISE, Inverse, InverseRoot, inverse_root, solve_double_double
from fastgd.losses import Loss

DOUBTFUL = 100.0
"""Pivots of a Hessian below so many times its rounding are doubtful."""
_LACKING = 1e-3
"""The share of a column's variance that a sub-sample needs for its Hessian to be of use."""


@dataclass
class RankFindings:
    """What Hessians say of the columns beside their inverse.

    Attributes
    ----------
    doubtful : bool
        Whether some column may be a combination of others, so that a search for it pays whatever it costs.
    columns : Columns or None
        Which columns are redundant, if a Hessian of all samples told.
    certain : bool
        Whether ``columns`` needs no confirmation by a search.
    hidden : int
        Directions whose curvature among all samples is hidden by rounding: the minimum is not known along them, unless
        columns are redundant.
    """

    doubtful: bool = False
    columns: Columns | None = None
    certain: bool = False
    hidden: int = 0


@dataclass(frozen=True)
class InverseHessian:
    """Computes the inverse Hessian of an objective, or what that of a sub-sample says of it.

    A column varies more or less in a sub-sample than among all samples, above all one that is mostly 0. So rows and
    columns of the Hessian are scaled to the variances among all samples, and a column that hardly varies in the
    sub-sample gets its variance times the mean curvature.

    Where rounding may hide what columns leave of each other, the Hessian is computed again with about 32 digits, if it
    has at most `PRECISE` rows. If columns leave nothing of each other in a sub-sample, all samples are asked.

    Parameters
    ----------
    objective : LinearObjective
        Over all samples, or by `LinearObjective.on` over a sub-sample.
    share : float
        The share of all samples that it is over.
    findings : RankFindings
        Filled in by each computation.
    of_all : InverseHessian or None
        That of all samples, if it is affordable.
    """

    objective: LinearObjective
    share: float = 1.0
    findings: RankFindings = field(default_factory=RankFindings)
    of_all: InverseHessian | None = None

    def __call__(self, x: Floats) -> Preconditioner:
        """Return the root of the inverse Hessian at a point (size,); exact if it is that of all samples."""
        objective, whole = self.objective, self.share >= 1.0
        cost = self.share
        n = objective.dataset.shape[0]
        adjust = scaled_to_all(objective, self._variances) if objective.sampled else None
        matrix = hessian(objective, x, adjust)
        found = inverse_root(matrix, DOUBTFUL * sum_rounding(n))
        varies = np.isfinite(objective.scale) & (objective.moments.spread > 0.0)
        varies = np.append(varies, np.ones(int(objective.intercept), bool))
        if (found.given_up.reshape(-1, len(varies)) & varies).any():  # curvature has vanished
            return Preconditioner(NO_INVERSE, cost)
        hidden = int(np.count_nonzero(found.doubtful))
        if whole:
            self.findings.doubtful |= hidden > 0
            self.findings.hidden = hidden if len(matrix) > PRECISE else 0
        if not hidden:
            return Preconditioner(Inverse(found.root), cost, exact=whole)
        if self.of_all is not None:
            made = self.of_all(x)
            return made._replace(cost=made.cost + cost)
        if len(matrix) > PRECISE:
            return Preconditioner(Inverse(found.root), cost)
        precise = hessian_double_double(objective, x)
        diagonal = np.diagonal(precise.high)
        power = powers_of_two(diagonal)
        scaled = precise.scaled(power * power[:, None])
        root, _ = solve_double_double(scaled, len(diagonal), self._rounding(diagonal) * power, n)
        if root.given_up.any() and self._curved_rows(matrix) < objective.row_size:  # too few of the samples curve
            return Preconditioner(NO_INVERSE, 2.0 * cost)
        if whole and root.given_up.any():
            self.findings.columns = self._columns(root, power)
        return Preconditioner(Inverse(power[:, None] * root.root), 2.0 * cost, exact=whole)

    def _curved_rows(self, matrix: Floats) -> float:
        """Return how many rows of the largest curvature there is would have the curvature of all, if that is known."""
        objective = self.objective
        if not objective.intercept:
            return np.inf
        mean = float(np.min(np.diagonal(matrix)[objective.row_size - 1 :: objective.row_size]))
        return objective.dataset.shape[0] * mean / objective.loss.curvature_bound

    def _rounding(self, diagonal: Floats) -> Floats:
        """Return by how much each coordinate may be rounded in the data, (size,), for a Hessian of that diagonal."""
        objective = self.objective
        if not objective.penalty.is_zero:
            return np.zeros(len(diagonal))
        varying = np.isfinite(objective.scale) & (objective.moments.spread > 0.0)
        own = np.where(varying, objective.stored_sizes / objective.scale, 0.0)
        own = np.append(own, np.ones(int(objective.intercept)))
        weight = np.sqrt(diagonal.reshape(-1, len(own)).max(axis=1))
        return objective.data_rounding * np.outer(weight, own).ravel()

    def _columns(self, root: InverseRoot, power: Floats) -> Columns:
        """Return which columns a Hessian of all samples gave up, in the caller's order."""
        objective = self.objective
        d, order = objective.dataset.shape[1], objective.dataset.order
        back = np.arange(d) if order is None else np.argsort(order)
        constant = objective.moments.spread == 0.0
        given_up = root.given_up[:d]
        kept, mixed = np.flatnonzero(~given_up & ~constant), np.flatnonzero(given_up & ~constant)
        unit = power[:d] / objective.scale
        others = root.mixtures[np.ix_(kept, mixed)] * unit[kept, None] / unit[mixed]
        a, b = np.argsort(back[kept]), np.argsort(back[mixed])
        return Columns(
            back[kept][a], np.sort(back[constant]), back[mixed][b], others[np.ix_(a, b)], objective.data_rounding
        )

    @cached_property
    def _variances(self) -> Variances:
        """What scales a sub-sample's Hessian."""
        return variances(self.objective, self.objective.mean)


class Variances(NamedTuple):
    """What a sub-sample's columns are multiplied by, (d,), and the squares about the centre that it lacks, (d,)."""

    ratio: Floats
    lacking: Floats


def variances(objective: LinearObjective, center: Floats) -> Variances:
    """Return how a sub-sample's mean squares about a centre (d,) differ from those of all samples."""
    own = moments(objective.dataset, objective.loss, about_mean=True, n_threads=objective.n_threads)
    square, of_all = own.spread**2, objective.moments.spread**2
    center = center if objective.intercept else np.zeros(1)
    square = square + (own.mean - center) ** 2
    if objective.intercept:
        of_all = of_all + (objective.moments.mean - center) ** 2
    there = square > _LACKING * of_all
    ratio = np.divide(of_all, square, out=np.ones(len(square)), where=there & (square > 0.0))
    return Variances(np.sqrt(ratio), np.where(there, 0.0, of_all))


def scaled_to_all(objective: LinearObjective, found: Variances) -> Callable[[Floats], None]:
    """Return what scales a sub-sample's Hessian, (outputs, size, outputs, size), to the variances among all samples."""

    def scale(matrix: Floats) -> None:
        outputs, size = matrix.shape[:2]
        d = len(objective.scale)
        ratio = np.append(found.ratio, np.ones(size - d))
        matrix *= ratio[:, None, None] * ratio
        share = np.where(np.isfinite(objective.scale), found.lacking / objective.scale**2, 0.0)
        for a in range(outputs):
            own = np.diagonal(matrix[a, :, a])
            typical = float(own[d] if objective.intercept else own.mean())
            matrix[a, np.arange(d), a, np.arange(d)] += typical * share

    return scale


def hessian(objective: LinearObjective, x: Floats, adjust: Callable[[Floats], None] | None = None) -> Floats:
    """Return the matrix of second derivatives at a point, (size, size), from one pass.

    Of a quadratic loss only one output's, (row_size, row_size), as all have the same. Where all linear predictors of a
    sample may grow alike without consequence, that direction is given a curvature, too, so that there is an inverse.

    Parameters
    ----------
    objective : LinearObjective
    x : ndarray of shape (size,)
    adjust : callable, optional
        Called with the part that comes from the samples, (outputs, row_size, outputs, row_size), to change it.
    """
    outputs, size = hessian_outputs(objective.loss, objective.outputs), objective.row_size
    whole = data_hessian(objective, x, adjust).reshape(outputs, size, outputs, size)
    return (whole + _further_curvature(objective, whole)).reshape(outputs * size, outputs * size)


def data_hessian(objective: LinearObjective, x: Floats, adjust: Callable[[Floats], None] | None = None) -> Floats:
    """Return the part of `hessian` that comes from the samples."""
    size, outputs = objective.row_size, hessian_outputs(objective.loss, objective.outputs)
    scale = np.append(objective.scale, np.ones(int(objective.intercept)))
    whole = np.zeros((outputs, size, outputs, size))
    points = gram_points(objective, x)
    for at, total in zip(points, grams(objective.dataset, objective.loss, points, objective.n_threads), strict=True):
        block = total[:size, :size] / objective.moments.total_weight / scale / scale[:, None]
        a, b = at.pair
        whole[a, :, b] = whole[b, :, a] = block if a == b else -block
    if adjust is not None:
        adjust(whole)
    return whole.reshape(outputs * size, outputs * size)


def hessian_double_double(objective: LinearObjective, x: Floats) -> DoubleDouble:
    """Return what `hessian` does, with about 32 digits."""
    size, outputs = objective.row_size, hessian_outputs(objective.loss, objective.outputs)
    scale = 1.0 / np.append(objective.scale, np.ones(int(objective.intercept)))
    squares = dd.two_product(scale, scale[:, None])
    weight = DoubleDouble.of(np.array(objective.moments.total_weight))
    shape = outputs, size, outputs, size
    whole = DoubleDouble(np.zeros(shape), np.zeros(shape))
    points = gram_points(objective, x)
    sums = gram_double_double(objective.dataset, objective.loss, points, objective.n_threads)
    for at, total in zip(points, sums, strict=True):
        block = dd.divide(dd.multiply(total.at(slice(size), slice(size)), squares), weight)
        a, b = at.pair
        block = block if a == b else -block
        whole.set((a, slice(None), b), block)
        whole.set((b, slice(None), a), block)
    whole = dd.add(whole, DoubleDouble.of(_further_curvature(objective, whole.high)))
    return DoubleDouble(*(each.reshape(outputs * size, outputs * size) for each in whole))


def hessian_outputs(loss: Loss, outputs: int) -> int:
    """Return how many outputs have blocks of their own in the Hessian."""
    return 1 if loss.quadratic else outputs


def hessian_pairs(loss: Loss, outputs: int) -> int:
    """Return how many pairs of outputs have second derivatives in common."""
    own = hessian_outputs(loss, outputs)
    return own * (own + 1) // 2 if loss.multiclass else own


def gram_points(objective: LinearObjective, x: Floats, *, crossed: bool = True) -> list[GramPoint]:
    """Return where weighted Gram matrices are taken that are the Hessian's blocks, of all pairs or of each output."""
    coef, intercept = objective.tile_coefficients(x)
    units = np.broadcast_to(objective.gradient_scales, objective.outputs)
    outputs = hessian_outputs(objective.loss, objective.outputs)
    return [
        GramPoint(coef, intercept, (a, b), 1e-4 * float(units[a]), objective.mean, np.zeros(0))
        for a in range(outputs)
        for b in range(a, outputs if objective.loss.multiclass and crossed else a + 1)
    ]


def _further_curvature(objective: LinearObjective, whole: Floats) -> Floats:
    """Return what is added to the samples' Hessian: the penalty's, and where all outputs may grow alike."""
    outputs, size = whole.shape[:2]
    further, each = np.zeros(whole.shape), np.arange(size)
    penalty = np.append(objective.penalty.curvature / objective.scale**2, np.zeros(int(objective.intercept)))
    for a in range(outputs):
        further[a, each, a, each] += penalty
    if objective.loss.multiclass:
        alike = np.mean(np.einsum("aiai->ai", whole + further)) / outputs
        further[:, each, :, each] += alike
    return further


def powers_of_two(diagonal: Floats) -> Floats:
    """Return powers of two that scale a matrix of this diagonal to one of about 1, without any rounding."""
    exponents = -np.rint(0.5 * np.log2(np.where(diagonal > 0.0, diagonal, 1.0)))
    return np.asarray(np.ldexp(1.0, exponents.astype(int)))
