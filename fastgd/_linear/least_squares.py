"""Least squares from normal equations: one pass, and a second with about 32 digits where rounding may cost too many."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.dataset import Dataset
from fastgd._kernels.sums import GramPoint
from fastgd._linear.collinearity import Columns
from fastgd._linear.hessian import powers_of_two
from fastgd._linear.objective import Coefficients, LinearObjective
from fastgd._linear.statistics import Moments, gram, gram_double_double, sum_rounding, to_moments
from fastgd._optim.base import Evaluation
from fastgd._typing import Floats
from fastgd._utils import double_double as dd
from fastgd._utils.double_double import DoubleDouble
from fastgd._utils.linalg import SMALL, InverseRoot, independent, solve_double_double
from fastgd.losses import Squared

INDEPENDENT = 1e-4
"""Features are certainly independent if each is further, squared and in standard deviations, from the others' span."""
ACCURATE = 1e-9
"""The relative error of coefficients that the rounding of a single pass may cause."""


class NormalEquations(NamedTuple):
    """What one pass says of least squares.

    Attributes
    ----------
    moments : Moments
    covariance : ndarray of shape (d, d)
        Of features.
    cross : ndarray of shape (targets, d)
        Covariances of targets with features.
    reach, y_reach : ndarray of shape (d,), (targets,)
        The root mean squares about the point that sums were taken about. Their squares times the rounding unit are the
        absolute errors of (co)variances.
    """

    moments: Moments
    covariance: Floats
    cross: Floats
    reach: Floats
    y_reach: Floats

    def independent(self, n: int) -> bool:
        """Whether the features that vary are certainly independent in n rows; False where that is not known."""
        varying = np.flatnonzero(self.moments.spread != 0.0)
        spread = self.moments.spread[varying]
        noise = sum_rounding(n) * (self.reach[varying] / spread) ** 2
        if len(varying) > SMALL or not (noise < 1e-6 * INDEPENDENT).all():
            return False
        return independent(self.covariance[np.ix_(varying, varying)] / spread / spread[:, None], INDEPENDENT)


def normal_equations(
    dataset: Dataset, targets: int, *, about_mean: bool, n_threads: int | None = None
) -> NormalEquations:
    """Return the normal equations from one pass, about a pivot row as `moments`; without ``about_mean`` about 0."""
    d = dataset.shape[1]
    pivot, y_pivot = np.zeros(d), np.zeros(targets)
    if about_mean:
        dense, y_pivot = dataset.pivot()
        pivot[: len(dense)] = dense
    zeros = np.zeros((targets, d)), np.zeros(targets)
    sums = gram(dataset, Squared(), GramPoint(*zeros, (0, 0), 0.0, pivot, y_pivot), n_threads)
    first, second = sums[d], np.diagonal(sums)
    ordered = np.concatenate(([sums[d, d]], np.column_stack((first, second))[d + 1 :].ravel(), first[:d], second[:d]))
    moments = to_moments(ordered, pivot, y_pivot, about_mean)
    with np.errstate(over="ignore", invalid="ignore"):  # the caller looks at the moments
        covariance, cross = sums[:d, :d] / moments.total_weight, sums[d + 1 :, :d] / moments.total_weight
        if about_mean:
            offset = first[:d] / moments.total_weight
            covariance = covariance - offset[:, None] * offset
            # Not the mean less the pivot: where y is far from 0, the mean is rounded to y's size.
            cross = cross - (first[d + 1 :] / moments.total_weight)[:, None] * offset
        reach = np.sqrt(second / moments.total_weight)
    return NormalEquations(moments, covariance, cross, reach[:d], reach[d + 1 :])


def quadratic(objective: LinearObjective, equations: NormalEquations) -> tuple[Floats, Floats]:
    """Return one output's Hessian, and minus the gradients at 0 (size,), of a quadratic loss, without a pass."""
    moments, scale = objective.moments, objective.scale
    d, curvature = objective.dataset.shape[1], objective.loss.curvature_bound
    offset = (moments.mean - objective.mean) / scale if objective.intercept else np.zeros(d)
    hessian = np.zeros((d + objective.intercept, d + objective.intercept))
    hessian[:d, :d] = curvature * (equations.covariance / scale / scale[:, None] + offset[:, None] * offset)
    hessian[np.arange(d), np.arange(d)] += objective.penalty.curvature / scale**2
    slopes = curvature * equations.cross / scale
    if objective.intercept:
        hessian[d, :d] = hessian[:d, d] = curvature * offset
        hessian[d, d] = curvature
        means = curvature * moments.y_mean[:, None]
        slopes = np.column_stack((slopes + means * offset, means))
    return hessian, slopes.ravel()


def relative_noise(objective: LinearObjective, equations: NormalEquations, hessian: Floats) -> float:
    """Return the rounding error of normal equations, relative to the diagonal of the Hessian."""
    d, curvature = objective.dataset.shape[1], objective.loss.curvature_bound
    diagonal = np.diagonal(hessian)[:d]
    varying = np.isfinite(objective.scale) & (diagonal > 0.0)
    sizes = curvature * (equations.reach / objective.scale)[varying] ** 2 / diagonal[varying]
    return sum_rounding(objective.dataset.shape[0]) * max(1.0, float(sizes.max(initial=1.0)))


def evaluate_without_pass(
    objective: LinearObjective,
    equations: NormalEquations,
    x: Floats,
    gradient: Floats,
    magnified: float,
    noise: float,
    tol: float,
) -> Evaluation | None:
    """Return a quadratic loss at the solution x of normal equations, or None if they have lost too much for that.

    Squares forget what is small beside them. That is too much if rounding may have cost the solution more than
    `ACCURATE`, half of ``tol`` standard errors, or most digits of the value.

    Parameters
    ----------
    objective : LinearObjective
    equations : NormalEquations
    x, gradient : ndarray of shape (size,)
        The solution, and the gradient there.
    magnified : float
        `InverseRoot.lost`: by how much rounding errors are larger in the solution.
    noise : float
        `relative_noise`.
    tol : float
    """
    n = objective.dataset.shape[0]
    # Measured: errors are as large as predicted in few rows, and a hundredth of that in a million.
    if not magnified * noise <= ACCURATE * max(1.0, 0.1 * n**0.5):
        return None
    coef, _ = objective.tile_coefficients(x)
    explained = 2.0 * np.vdot(coef, equations.cross) - np.einsum("ki,ij,kj", coef, equations.covariance, coef)
    value = float(np.sum(objective.moments.y_spread**2)) - float(explained)
    size = float(np.sum((equations.y_reach + np.abs(coef) @ equations.reach) ** 2))
    if not value > 1e7 * sum_rounding(n) * size or noise * (n * magnified * size / value) ** 0.5 > 0.5 * tol:
        return None
    half = 0.5 * objective.loss.curvature_bound
    return Evaluation(half * value + objective.penalty.value(coef), gradient, 0.0)


class Solution(NamedTuple):
    """Least squares solved with about 32 digits.

    Attributes
    ----------
    objective : LinearObjective
        Knows the coefficients at x without the rounding of its coordinates.
    x : ndarray of shape (size,)
    evaluation : Evaluation
        At x.
    root : ndarray of shape (row_size, row_size)
        The root of one output's inverse Hessian.
    columns : Columns or None
        Which columns are redundant; None with a penalty, as the minimum is unique whatever they are.
    """

    objective: LinearObjective
    x: Floats
    evaluation: Evaluation
    root: Floats
    columns: Columns | None


def solve_exactly(objective: LinearObjective) -> Solution:
    """Solve least squares from one more pass, whose products of features are added up with about 32 digits.

    Sums are about the means that the first pass found, or about 0 without an intercept. The solution is correct to the
    last digits up to a condition number of about 1e14 of centred and scaled columns. Coefficients of columns that were
    given up are 0.
    """
    dataset, moments, d = objective.dataset, objective.moments, objective.dataset.shape[1]
    targets, curvature = len(moments.y_mean), objective.loss.curvature_bound
    penalised = not objective.penalty.is_zero
    center = moments.mean if objective.intercept else np.zeros(d)
    y_center = moments.y_mean if objective.intercept else np.zeros(targets)
    at = GramPoint(np.zeros((targets, d)), np.zeros(targets), (0, 0), 0.0, center, y_center)
    (sums,) = gram_double_double(dataset, Squared(), [at], objective.n_threads)
    order = np.arange(d) if dataset.order is None else dataset.order
    keep = np.append(order, d + 1 + np.arange(targets))
    weight = sums.at(d, d)
    means = dd.divide(sums.at(keep, d), weight)
    products = dd.divide(sums.at(*np.ix_(keep, keep)), weight)
    if objective.intercept:
        products = dd.subtract(products, dd.outer(means, means))
    own = products.at(d + np.arange(targets), d + np.arange(targets))
    ridge = np.diag(np.append(np.full(d, objective.penalty.curvature / curvature), np.zeros(targets)))
    products = dd.add(products, DoubleDouble.of(ridge))

    constant = (moments.spread[order] == 0.0) & (not penalised)
    diagonal = np.diagonal(products.high).copy()
    diagonal[:d][constant] = 0.0
    power = powers_of_two(diagonal)
    rounding = objective.data_rounding * objective.stored_sizes[order] * power[:d] * (not penalised)
    rounding[constant] = np.inf
    root, scaled = solve_double_double(products.scaled(power * power[:, None]), d, rounding, dataset.shape[0])

    coef = (scaled.high * power[:d, None] / power[d:]).T
    cross = products.at(slice(d, None), slice(d))
    fitted = dd.multiply(products.at(None, slice(d), slice(d)), DoubleDouble.of(coef[:, None, :])).sum()
    left = dd.subtract(cross, fitted)  # minus the gradient, over the curvature
    explained = dd.multiply(DoubleDouble.of(coef), dd.add(cross, left)).sum()
    value = 0.5 * curvature * float(np.sum(np.maximum(dd.subtract(own, explained).high, 0.0)))

    caller = Coefficients(coef, np.zeros(targets))
    tiled = dataset.to_tile_order(coef)
    if objective.intercept:
        # The intercept of the rounded coefficients: predictions are better than with the exact one.
        intercept = dd.subtract(
            means.at(slice(d, None)), dd.multiply(DoubleDouble.of(coef), means.at(None, slice(d))).sum()
        )
        intercept = dd.add(intercept, dd.subtract(DoubleDouble.of(y_center), dd.dot(tiled, center)))
        caller = Coefficients(coef, intercept.rounded())
    gradient = np.empty((targets, d))
    gradient[:, order] = np.where(root.given_up & (not penalised), 0.0, -curvature * left.rounded())
    with np.errstate(divide="ignore", invalid="ignore"):
        gradient = np.where(np.isfinite(objective.scale), gradient / objective.scale, 0.0)
    if objective.intercept:
        gradient = np.column_stack((gradient, np.zeros(targets)))
    x = objective.to_x(caller)
    known = replace(objective, known=(x, tiled, caller.intercept))
    columns = None if penalised else _columns(root, constant, power[:d], objective.data_rounding)
    own_root = np.zeros((d, d))
    own_root[order] = power[:d, None] * root.root
    return Solution(known, x, Evaluation(value, gradient.ravel()), _in_coordinates(objective, own_root), columns)


def _columns(root: InverseRoot, constant: NDArray[np.bool_], power: Floats, tolerance: float) -> Columns:
    """Return which columns were given up, all in the caller's order."""
    kept, mixed = np.flatnonzero(~root.given_up), np.flatnonzero(root.given_up & ~constant)
    others = root.mixtures * (power[:, None] / power)
    return Columns(kept, np.flatnonzero(constant), mixed, others[np.ix_(kept, mixed)], tolerance)


def _in_coordinates(objective: LinearObjective, root: Floats) -> Floats:
    """Return the root of the inverse Hessian in the point's coordinates, from that of the inverse covariance (d, d)."""
    d, curvature = objective.dataset.shape[1], objective.loss.curvature_bound
    finite = np.isfinite(objective.scale)
    scale = np.where(finite, objective.scale, 0.0)
    whole = np.zeros((objective.row_size, objective.row_size))
    whole[:d, :d] = scale[:, None] * root / curvature**0.5
    if objective.intercept:
        offset = np.where(finite, objective.moments.mean - objective.mean, 0.0)
        whole[d, :d] = -(offset / np.where(finite, scale, 1.0)) @ whole[:d, :d]
        whole[d, d] = curvature**-0.5
    return whole
