"""Covariances of coefficients, from one pass: an inverse Hessian, and for sandwiches the products of slopes.

With scores ``g_i = s_i L'(y_i, z_i) x_i`` and the Hessian ``A = Σ s_i L''(y_i, z_i) x_i x_iᵀ`` of the summed losses,
the covariance is ``φ A⁻¹`` (classical) or ``A⁻¹ M A⁻¹`` with ``M = Σ g_i g_iᵀ`` (sandwich). Matrices are taken about
the columns' means, and translated to the caller's coefficients at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._kernels.losses import OPPOSITE_SLOPES, SLOPES
from fastgd._kernels.sums import GramPoint
from fastgd._linear.hessian import DOUBTFUL, powers_of_two
from fastgd._linear.inference.blocks import block_inverse
from fastgd._linear.inference.spec import CovarianceSpec
from fastgd._linear.inference.sums import PartSums, Sums
from fastgd._linear.objective import Coefficients, LinearObjective, shifted_intercept
from fastgd._linear.statistics import gram_double_double, sum_rounding
from fastgd._typing import Floats
from fastgd._utils.double_double import DoubleDouble
from fastgd._utils.linalg import PRECISE, inverse_root, solve_double_double
from fastgd.losses import Loss

CERTAIN = 1e-11
"""The relative error of an inverse up to which no Hessian with more digits is needed."""


class Estimate(NamedTuple):
    """Covariances of coefficients, and what else the passes found.

    Attributes
    ----------
    factors : list of ndarray (size, ·)
        Matrices L of which the covariances are ``L Lᵀ``, of each target, or of the differences of all classes from the
        first one: coefficients in the caller's order, then the intercept, if there is one.
    undetermined : ndarray of bool (d,)
        Coefficients that have no standard error.
    sums : Sums
    scale : ndarray of shape (outputs,)
        Of the squared loss, the variance of y about its mean; otherwise ones.
    freedom : float
        Coefficients of an output that are free, intercept included; with a penalty their effective number.
    clusters : int
        How many there are, 0 if errors of all rows are independent.
    passes : float
        How many it took.
    lost : bool
        Whether rounding hides the inverse, so that there are no standard errors.
    distance : float
        How far the coefficients are from the minimum over these samples, in classical standard errors.
    reduced : Coefficients or None
        Those of the model without redundant columns, if they are others than the fit's.
    variances : ndarray of shape (systems, size), or None
        What the covariances have on their diagonals beside ``L Lᵀ``.
    """

    factors: list[Floats]
    undetermined: NDArray[np.bool_]
    sums: Sums
    scale: Floats
    freedom: float
    clusters: int
    passes: float
    lost: bool
    distance: float = np.nan
    reduced: Coefficients | None = None
    variances: Floats | None = None


Place = tuple[int, int, int, float]
"""Where products of rows go: the number of a matrix, the row and the column of a block there, and a sign."""
Term = tuple[tuple[int, int], float | None, Place]
"""A pair of outputs, the step of their `GramPoint` (None for that of curvatures), and where their products go."""


def estimate(
    objective: LinearObjective, at: Coefficients, redundant: NDArray[np.intp], spec: CovarianceSpec
) -> Estimate:
    """Return the covariances of the coefficients that a fit has found.

    Parameters
    ----------
    objective : LinearObjective
        Over the samples of the fit.
    at : Coefficients
        In the caller's order, for the samples as the objective has them.
    redundant : ndarray of int
        Columns, in the caller's order, that are constant or combinations of others.
    spec : CovarianceSpec
    """
    loss, outputs = objective.loss, objective.outputs
    coordinates = _Coordinates(objective, redundant, spec)
    run = _Pass(objective, coordinates, objective.dataset.to_tile_order(at.coef), at.intercept, spec)
    if spec.is_too_large(coordinates.blocks * coordinates.size):
        return _by_blocks(run, coordinates, spec)
    hessian, slopes = _hessian_places(loss, outputs), _slope_places(loss, outputs)
    at_once = slopes if spec.kind in ("HC0", "HC1") else []
    sums, passes = run.sums([*hessian, *at_once]), 1.0
    hessians = coordinates.assemble(sums.products[: len(hessian)], hessian)
    roots = [coordinates.inverse_root(matrix) for matrix in hessians]
    if any(root is None for root in roots) and len(coordinates.chosen) <= PRECISE:
        roots, passes = coordinates.precise_roots(run.precise_products(hessian), hessian), passes + 1.0
    found = [root for root in roots if root is not None]
    if len(found) < len(roots):
        return _nothing(coordinates, sums, passes)
    found *= coordinates.systems // len(found)  # a quadratic loss has the same Hessian for all targets
    n, penalised = np.float64(sums.observations(spec)), spec.kind == "penalised"
    inner = [coordinates.kept(matrix) for matrix in hessians * (coordinates.systems // len(hessians))]
    inner = [
        root.T @ matrix @ root if penalised else np.eye(len(root)) for matrix, root in zip(inner, found, strict=True)
    ]
    freedom = float(np.trace(inner[0])) if penalised else float(coordinates.determined)
    scale = np.ones(coordinates.systems)
    left = n - freedom * coordinates.blocks if n > freedom * coordinates.blocks else np.float64(np.nan)
    if loss.quadratic:
        scale = 2.0 / loss.curvature_bound * sums.losses / left
    clusters = 0
    if spec.kind in ("classical", "penalised"):
        unit = loss.curvature_bound if loss.quadratic else 1.0
        inner = [unit * float(each) * matrix for each, matrix in zip(scale, inner, strict=True)]
    elif spec.kind == "cluster":
        assert sums.scores is not None  # noqa: S101  they were asked for
        clusters = len(sums.scores.labels)
        correction = clusters / (clusters - 1) * (n - 1.0) / left if clusters > 1 else np.nan
        per_system = np.split(sums.scores.sums, coordinates.systems, axis=1)
        own = [each[:, coordinates.chosen] @ root for each, root in zip(per_system, found, strict=True)]
        inner = [correction * (each.T @ each) for each in own]
    else:
        products = sums.products[len(hessian) :]
        if not at_once:
            products, passes = run.sums(slopes, coordinates.levers(found)).products, passes + 1.0
        correction = n / left if spec.kind == "HC1" else 1.0
        meats = map(coordinates.kept, coordinates.assemble(products, slopes))
        inner = [correction * (root.T @ meat @ root) for meat, root in zip(meats, found, strict=True)]
    to_caller = coordinates.to_caller()
    factors = [to_caller @ root @ _square_root(matrix) for root, matrix in zip(found, inner, strict=True)]
    distance = coordinates.distance(run.coef, sums, found, scale)
    reduced = coordinates.without_redundant(run.coef, run.intercept, hessians[0])
    return Estimate(factors, coordinates.undetermined, sums, scale, freedom, clusters, passes, False, distance, reduced)


def _by_blocks(run: _Pass, coordinates: _Coordinates, spec: CovarianceSpec) -> Estimate:
    """Return the classical covariance where its matrix would be too large, from two passes."""
    objective = run.objective
    sums, passes = run.sums([]), 1.0
    left_out = np.ones(coordinates.size, bool)
    left_out[coordinates.row] = False
    inverse = None
    if not objective.moments.spread[coordinates.mixed].any():  # otherwise other coefficients depend on what is left out
        inverse, passes = block_inverse(objective, run.coef, run.intercept, left_out), 2.0
    if inverse is None:
        return _nothing(coordinates, sums, passes)
    n, d, freedom = sums.observations(spec), len(coordinates.undetermined), float(coordinates.determined)
    quadratic, unit, scale = objective.loss.quadratic, 1.0, np.ones(coordinates.systems)
    if quadratic:
        unit = objective.loss.curvature_bound
        scale = 2.0 / unit * sums.losses / (n - freedom if n > freedom else np.nan)
    gradients = coordinates.gradients(run.coef, sums, inverse.center)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = float(np.max([inverse.norm(each) for each in gradients] / np.sqrt(unit * scale)))
    root, own = (np.concatenate((each[coordinates.order], each[d:])) for each in (inverse.root, inverse.diagonal))
    if objective.intercept:
        root[d] -= coordinates.at_zero(inverse.center) @ inverse.root[:d]
    factors = [np.sqrt(unit * each) * root for each in scale]
    variances = (unit * scale)[:, None] * own
    undetermined = coordinates.undetermined
    return Estimate(
        factors, undetermined, sums, scale, freedom, 0, passes, False, distance, reduced=None, variances=variances
    )


def _nothing(coordinates: _Coordinates, sums: Sums, passes: float) -> Estimate:
    """Return an estimate without standard errors."""
    size = coordinates.blocks * coordinates.size
    unknown = [np.full((size, 1), np.nan)] * coordinates.systems
    everything = np.ones(len(coordinates.undetermined), bool)
    scale, freedom = np.full(coordinates.systems, np.nan), float(coordinates.determined)
    return Estimate(unknown, everything, sums, scale, freedom, 0, passes, True)


def _square_root(matrix: Floats) -> Floats:
    """Return S with ``S Sᵀ`` a matrix that is symmetric and positive semidefinite but for rounding."""
    if not np.isfinite(matrix).all():
        return np.full(matrix.shape, np.nan)
    diagonal = np.diagonal(matrix)
    if np.array_equal(matrix, np.diag(diagonal)):
        return np.diag(np.sqrt(diagonal))
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _hessian_places(loss: Loss, outputs: int) -> list[Term]:
    """Return the pairs of outputs that make up Hessians, their steps, and where they go.

    Classes go by their differences from the first one. Other outputs have a Hessian each, or of a quadratic loss one.
    """
    if not loss.multiclass:
        return [((a, a), None, (a, 0, 0, 1.0)) for a in range(1 if loss.quadratic else outputs)]
    pairs = [(a, b) for a in range(1, outputs) for b in range(a, outputs)]
    return [((a, b), None, (0, a - 1, b - 1, 1.0 if a == b else -1.0)) for a, b in pairs]


def _slope_places(loss: Loss, outputs: int) -> list[Term]:
    """Return the same for products of slopes, which of two classes may have either sign."""
    if not loss.multiclass:
        return [((a, a), SLOPES, (a, 0, 0, 1.0)) for a in range(outputs)]
    pairs = [(a, b) for a in range(1, outputs) for b in range(a, outputs)]
    same = [((a, b), SLOPES, (0, a - 1, b - 1, 1.0)) for a, b in pairs]
    return [*same, *(((a, b), OPPOSITE_SLOPES, (0, a - 1, b - 1, -1.0)) for a, b in pairs if a != b)]


class _Coordinates:
    """The coordinates that Hessians are taken in, those that are determined, and how the caller's follow from them.

    An output has the coefficients in the order of tiles, and if there is an intercept the linear predictor at the
    means of the columns. Several classes have a **block** of these each; targets are **systems** of their own.
    """

    def __init__(self, objective: LinearObjective, redundant: NDArray[np.intp], spec: CovarianceSpec) -> None:
        dataset, loss, d = objective.dataset, objective.loss, objective.dataset.shape[1]
        self.objective = objective
        self.blocks = objective.outputs - 1 if loss.multiclass else 1
        self.systems = 1 if loss.multiclass else objective.outputs
        self.size = objective.row_size
        self.center = objective.moments.mean if objective.intercept else np.zeros(d)
        self.order = np.arange(d) if dataset.order is None else dataset.order
        self.undetermined = np.zeros(d, bool)
        self.ridge = np.zeros(self.size)
        if objective.penalty.is_zero:
            self.undetermined[redundant] = True
        else:
            self.undetermined[dataset.to_caller_order(objective.moments.spread) == 0.0] = True
            self.ridge[:d] = objective.penalty.curvature * objective.moments.total_weight
        left_out = np.zeros(self.size, bool)
        left_out[self.order] = self.undetermined
        self.row, self.mixed = np.flatnonzero(~left_out), np.flatnonzero(left_out)
        self.chosen = (np.arange(self.blocks)[:, None] * self.size + self.row).ravel()
        self.spec = spec

    @property
    def determined(self) -> int:
        """How many coordinates of an output are determined."""
        return len(self.row)

    def assemble(self, products: Sequence[Floats] | Floats, places: Sequence[Term]) -> list[Floats]:
        """Return matrices (blocks size, blocks size), given the products of rows (size, size) at all places."""
        size, blocks = self.size, self.blocks
        whole = np.zeros((1 + max(place[0] for _, _, place in places), blocks, size, blocks, size))
        for product, (_, _, (number, a, b, sign)) in zip(products, places, strict=True):
            whole[number, a, :, b] += sign * product
            if a != b:
                whole[number, b, :, a] += sign * product
        return [*whole.reshape(-1, blocks * size, blocks * size)]

    def kept(self, matrix: Floats) -> Floats:
        """Return the rows and columns that are determined."""
        return np.asarray(matrix[np.ix_(self.chosen, self.chosen)])

    def _penalised(self, matrix: Floats) -> Floats:
        return self.kept(matrix + np.diag(np.tile(self.ridge, self.blocks)))

    def inverse_root(self, matrix: Floats) -> Floats | None:
        """Return the root of an inverse Hessian, None if rounding may cost it too many digits."""
        n = self.objective.dataset.shape[0]
        found = inverse_root(self._penalised(matrix), DOUBTFUL * sum_rounding(n))
        if found.doubtful.any() or found.given_up.any():
            return None
        # Measured: errors are as large as predicted in few rows, and a hundredth of that in a million.
        certain = found.lost * sum_rounding(n) <= CERTAIN * max(1.0, 0.1 * n**0.5)
        return found.root if certain or len(self.chosen) > PRECISE else None

    def precise_roots(self, products: list[DoubleDouble], places: Sequence[Term]) -> list[Floats | None]:
        """Return the same from products with about 32 digits, None if that is not enough either."""
        halves = zip(*(self.assemble([each[half] for each in products], places) for half in (0, 1)), strict=True)
        return [self._precise_root(DoubleDouble(*map(np.asarray, pair))) for pair in halves]

    def _precise_root(self, matrix: DoubleDouble) -> Floats | None:
        objective, index = self.objective, np.ix_(self.chosen, self.chosen)
        own = DoubleDouble(self._penalised(matrix.high), matrix.low[index])
        power = powers_of_two(np.diagonal(own.high))
        rounding = np.zeros(len(power))
        if objective.penalty.is_zero:
            sizes = np.append(objective.stored_sizes, np.ones(int(objective.intercept)))[self.row]
            spread = np.append(objective.moments.spread, np.ones(int(objective.intercept)))[self.row]
            diagonal = np.diagonal(own.high).reshape(self.blocks, -1)
            weight = np.sqrt((diagonal / np.maximum(spread, np.finfo(np.float64).tiny) ** 2).max(axis=1))
            rounding = objective.data_rounding * np.outer(weight, sizes).ravel() * power
        scaled = own.scaled(power * power[:, None])
        root, _ = solve_double_double(scaled, len(power), rounding, objective.dataset.shape[0])
        return None if root.given_up.any() else np.asarray(power[:, None] * root.root)

    def to_caller(self) -> Floats:
        """Return the caller's coefficients and intercepts as a linear function of what is determined."""
        objective, d = self.objective, len(self.undetermined)
        in_tiles = np.zeros((self.size, self.determined))
        in_tiles[self.row, np.arange(self.determined)] = 1.0
        one = in_tiles.copy()
        one[:d] = in_tiles[self.order]
        if objective.intercept:
            one[d] -= self.at_zero(self.center) @ in_tiles[:d]
        return np.asarray(np.kron(np.eye(self.blocks), one))

    def at_zero(self, center: Floats) -> Floats:
        """Return what is subtracted from the caller's columns, in the order of tiles."""
        origin = self.objective.dataset.origin
        return center if origin is None else center + origin

    def without_redundant(self, coef: Floats, intercept: Floats, matrix: Floats) -> Coefficients | None:
        """Return coefficients with the same linear predictors, 0 for redundant columns; None if they are 0 already.

        Parameters
        ----------
        coef, intercept : ndarray of shape (outputs, d), (outputs,)
            In the order of tiles, for the samples as the objective has them.
        matrix : ndarray of shape (blocks size, blocks size)
            A Hessian, whose first block says which combinations of others redundant columns are.
        """
        d, dataset = coef.shape[1], self.objective.dataset
        varying = self.mixed[np.diagonal(matrix)[self.mixed] > 0.0]
        if not coef[:, varying].any():
            return None
        kept = self.row[self.row < d]
        others = np.linalg.solve(matrix[np.ix_(self.row, self.row)], matrix[np.ix_(self.row, varying)])[: len(kept)]
        reduced = coef.copy()
        reduced[:, kept] += coef[:, varying] @ others.T
        reduced[:, varying] = 0.0
        at_means = intercept + coef @ self.center
        origin = np.zeros(d) if dataset.origin is None else dataset.origin
        at_zero = shifted_intercept(at_means, -reduced, self.center + origin)
        return Coefficients(dataset.to_caller_order(reduced), at_zero * self.objective.intercept)

    def distance(self, coef: Floats, sums: Sums, roots: list[Floats], scale: Floats) -> float:
        """Return how far coefficients are from the minimum, in standard errors, by the gradient of all samples."""
        objective, outputs = self.objective, len(coef)
        gradient = self.gradients(coef, sums, self.center)
        unit = objective.loss.curvature_bound if objective.loss.quadratic else 1.0
        rows = gradient[outputs - self.blocks :] if objective.loss.multiclass else gradient
        steps = [root.T @ row[self.chosen] for root, row in zip(roots, rows.reshape(self.systems, -1), strict=True)]
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.max([np.linalg.norm(step) for step in steps] / np.sqrt(unit * scale)))

    def gradients(self, coef: Floats, sums: Sums, center: Floats) -> Floats:
        """Return the gradients of the outputs, (outputs, size), of columns about a center."""
        outputs, d = coef.shape
        slopes, products = sums.gradient[1 : 1 + outputs], sums.gradient[1 + outputs :].reshape(outputs, d)
        gradient = np.zeros((outputs, self.size))
        gradient[:, :d] = products - center * slopes[:, None] + self.ridge[:d] * coef
        gradient[:, d:] = slopes[:, None]
        return gradient

    def levers(self, roots: list[Floats]) -> list[Floats]:
        """Return matrices (size, determined) whose products with rows have leverages as squared lengths."""
        whole = np.zeros((len(roots), self.size, len(self.row)))
        whole[:, self.row] = roots
        return [*whole]


class _Pass(NamedTuple):
    """Passes that add up products of rows at the coefficients of a fit."""

    objective: LinearObjective
    coordinates: _Coordinates
    coef: Floats
    intercept: Floats
    spec: CovarianceSpec

    def sums(self, places: Sequence[Term], levers: list[Floats] | None = None) -> Sums:
        """Return the sums over all samples, one pass; ``levers``, of `_Coordinates.levers`, are for HC2 and HC3."""
        objective, spec = self.objective, self.spec
        part_sums = PartSums(
            objective.loss,
            self.coef,
            self.intercept,
            self.coordinates.center,
            objective.intercept,
            self._points(places),
            spec.weights == "frequency",
            spec.kind == "cluster",
            levers,
            1.0 if spec.kind == "HC2" else 2.0,
            objective.n_threads,
        )
        found: Sums = objective.dataset.map_reduce(part_sums, Sums.merge_all)
        return found

    def precise_products(self, places: Sequence[Term]) -> list[DoubleDouble]:
        """Return the products with about 32 digits."""
        objective, square = self.objective, slice(self.coordinates.size)
        sums = gram_double_double(objective.dataset, objective.loss, self._points(places), objective.n_threads)
        return [each.at(square, square) for each in sums]

    def _points(self, places: Sequence[Term]) -> list[GramPoint]:
        units = np.broadcast_to(self.objective.gradient_scales, self.objective.outputs)
        return [
            GramPoint(
                self.coef,
                self.intercept,
                pair,
                1e-4 * float(units[pair[0]]) if step is None else step,
                self.coordinates.center,
                np.zeros(0),
            )
            for pair, step, _ in places
        ]
