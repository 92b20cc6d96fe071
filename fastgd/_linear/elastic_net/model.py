"""The quadratic model of a step: curvature from a sub-sample or from all rows, minimised by coordinate descent.

Penalties share the smooth part of the objective, and so one curvature serves many of them: it is computed anew only
where the curvatures of some rows have changed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.dataset import InMemory
from fastgd._data.design import Selected
from fastgd._kernels.coordinates import minimize_model
from fastgd._kernels.layout import Tile
from fastgd._kernels.sums import row_slopes
from fastgd._linear.elastic_net.gap import coordinate_penalty
from fastgd._linear.hessian import Variances, data_hessian, gram_points, scaled_to_all, variances
from fastgd._linear.objective import LinearObjective
from fastgd._linear.statistics import grams_of_part
from fastgd._optim.proximal import Curvature, ModelStep, Pair
from fastgd._typing import Floats
from fastgd._utils.linalg import EPS, dot

MOST_BLOCK = 4096
"""Coordinates of a dense block at most: 128 MB."""
WORK_BYTES = 1 << 25
"""Bytes of the rows whose products with each other are added up at once."""
_FEW = 256
"""Columns in a block at least, if so many want to move."""
_PROBED = 512
"""Rows by which curvatures are compared."""
_ALIKE = 0.05
"""The mean change of these rows' curvatures, relative to their mean, up to which one matrix serves."""
_CLOSELY = 0.2
"""The share of that which is asked for where a curvature has turned out to be poor."""
_SWEEPS, _TURNS = 50, 10
"""Sweeps of coordinate descent before equations are solved, and how often the two take turns."""
_SOFTENED = 1e-10
"""What a diagonal is raised by, so that directions without curvature, as of all intercepts of classes, stay small."""
_MOST_SOLVED = 2048
"""Coordinates whose equations are solved, at most."""
_ROUNDING = 64.0 * EPS
"""The share of their terms that slopes round by."""
_MORE_SWEEPS, _PRODUCTS = (50, 10_000), 5e9
"""Sweeps at most where equations cannot be solved: as many as take so many products."""


class _Known(NamedTuple):
    """A curvature, and the curvatures of a few rows where it was computed."""

    probe: Floats
    curvature: Curvature


class CurvatureSource(ABC):
    """Computes curvatures of the mean loss over some rows.

    Parameters
    ----------
    objective : LinearObjective
        Over all samples, or by `LinearObjective.on` over a sub-sample.
    share : float
        The share of all samples that it is over: what a curvature costs, in passes.
    remember : bool
        Whether a curvature serves other points, too, at which those of some rows are alike. Without that, what it gives
        depends on its arguments alone.

    Attributes
    ----------
    spent : float
        Passes for curvatures so far.
    """

    def __init__(self, objective: LinearObjective, share: float, *, remember: bool) -> None:
        self.objective, self.share, self.remember = objective, share, remember
        self.spent = 0.0
        local = objective.dataset.local_sample
        self.probed = local.sample(_PROBED, np.random.default_rng(0))

    @abstractmethod
    def at(self, x: Floats, wants: Floats, known: Curvature, *, renew: bool) -> tuple[Curvature, float]:
        """Return the curvature about a point, and its cost in passes.

        Parameters
        ----------
        x : ndarray of shape (size,)
        wants : ndarray of shape (d,)
            How much the gradients of columns exceed what holds them; infinite for columns that are not 0.
        known : Curvature
            The one before; it is returned where it will do.
        renew : bool
            Whether it will not, as it has turned out to be poor.
        """

    def probe(self, x: Floats) -> Floats:
        """Return the curvatures of a few rows at a point, (outputs, rows)."""
        objective, part = self.objective, self.probed
        if objective.loss.quadratic:
            return np.ones((1, 1))
        coef, intercept = objective.to_coefficients(x)
        eta = np.ascontiguousarray(part.design.linear_predictor(coef, intercept).T)
        return row_curvatures(objective, part.as_tile().y, eta)


def row_curvatures(objective: LinearObjective, y: Floats, eta: Floats) -> Floats:
    """Return the curvature of each output at some rows, (outputs, rows), given their linear predictors."""
    units = np.broadcast_to(objective.gradient_scales, objective.outputs)
    found = np.empty(eta.shape)
    for k, unit in enumerate(units):
        step = np.zeros((objective.outputs, 1))
        step[k] = 1e-4 * unit
        above, below = (row_slopes(y, eta + sign * step, objective.loss)[k] for sign in (1.0, -1.0))
        found[k] = (above - below) / (2e-4 * unit)
    return np.maximum(found, 0.0)


class WholeCurvature(CurvatureSource):
    """Curvatures of all coordinates."""

    def __init__(self, objective: LinearObjective, share: float, *, remember: bool) -> None:
        super().__init__(objective, share, remember=remember)
        self.known: list[_Known] = []
        self.references: list[_Known] = []

    def at(self, x: Floats, wants: Floats, known: Curvature, *, renew: bool) -> tuple[Curvature, float]:  # noqa: ARG002
        """Return the curvature about a point, and its cost in passes; see `CurvatureSource.at`."""
        if known.block.size and (not renew or (self.objective.loss.quadratic and self.share >= 1.0)):
            return known, 0.0
        probe = self.probe(x)
        alike = _ALIKE if not renew else _CLOSELY * _ALIKE
        for each in self.known if self.remember else ():
            if np.mean(np.abs(probe - each.probe)) <= alike * np.mean(np.abs(each.probe)):
                return each.curvature, 0.0
        made = _Known(probe, self._corrected(self._computed(x), probe))
        self.known.insert(0, made)
        self.spent += self.share
        return made.curvature, self.share

    def refer_to(self, all_rows: WholeCurvature, points: Sequence[Floats]) -> None:
        """Correct what a sub-sample says by how it differs from all rows at some points: a pass for each.

        Sampling errors at other points are much the same.
        """
        for x in points:
            own, theirs = self._computed(x), all_rows._computed(x)
            self.references.append(_Known(self.probe(x), own._replace(block=theirs.block - own.block)))
            all_rows.spent += all_rows.share
            self.spent += self.share

    def _corrected(self, made: Curvature, probe: Floats) -> Curvature:
        """Return a curvature corrected by the reference whose curvatures of some rows are nearest."""
        if not self.references:
            return made
        near = min(self.references, key=lambda each: float(np.mean(np.abs(each.probe - probe))))
        share = float(np.mean(probe) / np.mean(near.probe))
        return made._replace(block=made.block + share * near.curvature.block)

    def _computed(self, x: Floats) -> Curvature:
        """Return the curvature about a point: one pass."""
        adjust = scaled_to_all(self.objective, self._variances) if self.objective.sampled else None
        block = data_hessian(self.objective, x, adjust)
        size = self.objective.size
        if len(block) < size:  # outputs of a quadratic loss have one Hessian
            block = np.asarray(np.kron(np.eye(size // len(block)), block), np.float64)
        return Curvature(np.arange(size, dtype=np.float64)[None], block, np.zeros(size))

    @cached_property
    def _variances(self) -> Variances:
        """What scales a sub-sample's curvature to all samples."""
        return variances(self.objective, self.objective.mean)


class WorkingCurvature(CurvatureSource):
    """Curvatures of the columns that are not 0 and of those that want most to move; the other columns stay.

    If there is no room for these in `MOST_BLOCK` coordinates, it is a diagonal.
    """

    last: Curvature | None = None

    def at(self, x: Floats, wants: Floats, known: Curvature, *, renew: bool) -> tuple[Curvature, float]:
        """Return the curvature about a point, and its cost in passes; see `CurvatureSource.at`."""
        objective = self.objective
        row, quadratic = objective.row_size, objective.loss.quadratic
        if self.remember and quadratic and self.last is not None:
            known = self.last
        inside = np.zeros(row, bool)
        inside[known.inside % row] = True
        inside = inside[: len(wants)]
        missing = (wants > 0.0) & ~inside
        if known.block.size and not missing.any() and (not renew or (quadratic and self.share >= 1.0)):
            return known, 0.0
        active = int(np.count_nonzero(np.isinf(wants)))
        most = MOST_BLOCK // objective.outputs
        if active + min(_FEW, int(np.count_nonzero(missing))) > most:
            return self._diagonal(x), 0.0
        count = min(most, max(_FEW, 2 * active))
        columns = np.flatnonzero(wants > 0.0)
        if len(columns) > count:
            columns = columns[np.argsort(-wants[columns], kind="stable")[:count]]
        room = len(columns) + np.count_nonzero(inside) <= most
        extended = quadratic and known.block.size and not renew and room
        columns = np.union1d(columns, np.flatnonzero(inside)) if extended else np.sort(columns)
        if not (columns.size and missing[columns].any()) and known.block.size and not renew:
            return known, 0.0
        self.spent += self.share
        self.last = self._computed(x, columns, known if extended else None)
        return self.last, self.share

    def _diagonal(self, x: Floats) -> Curvature:
        """Return a diagonal: the mean curvature, as columns have unit variance in the coordinates of a point."""
        objective = self.objective
        mean = objective.loss.curvature_bound if objective.loss.quadratic else float(np.mean(self.probe(x)))
        varies = np.isfinite(objective.scale) & (objective.moments.spread > 0.0)
        row = np.append(np.where(varies, mean, 0.0), np.full(int(objective.intercept), mean))
        return Curvature(np.zeros((1, 0)), np.zeros((0, 0)), np.tile(row, objective.outputs))

    def _computed(self, x: Floats, columns: NDArray[np.intp], known: Curvature | None) -> Curvature:
        """Return the curvature of some columns about a point; what is known of a quadratic loss is kept: one pass."""
        objective = self.objective
        outputs, row, own = objective.outputs, objective.row_size, int(objective.intercept)
        positions = np.append(columns, np.full(own, row - 1))
        size = len(positions)
        pairs = [(a, b) for a in range(outputs) for b in range(a, outputs if objective.loss.multiclass else a + 1)]
        pairs = pairs[:1] if objective.loss.quadratic else pairs
        unit = np.append(1.0 / objective.scale[columns], np.ones(own))
        unit[~np.isfinite(unit)] = 0.0
        scales = unit / objective.moments.total_weight * unit[:, None]
        if self.dense:
            found = self._dense_products(x, columns, pairs, None if known is None else np.isin(positions, known.inside))
        else:
            found = self._sparse_products(x, columns)
        whole = np.zeros((outputs, size, outputs, size))
        for (a, b), products in zip(pairs, found, strict=True):
            block = products * scales
            if self.dense and known is not None:
                old = np.flatnonzero(np.isin(positions, known.inside))
                there = np.searchsorted(known.inside[: len(old)], positions[old])
                block[np.ix_(old, old)] = known.block[np.ix_(there, there)]
            whole[a, :, b] = whole[b, :, a] = block
        if objective.loss.quadratic:
            for a in range(1, outputs):
                whole[a, :, a] = whole[0, :, 0]
        coordinates = np.concatenate([a * row + positions for a in range(outputs)])
        return Curvature(coordinates[None].astype(np.float64), whole.reshape(outputs * size, -1), np.zeros(x.size))

    @cached_property
    def dense(self) -> bool:
        """Whether there are no sparse columns."""
        return len(self.objective.dataset.pivot()[0]) == self.objective.dataset.shape[1]

    def _sparse_products(self, x: Floats, columns: NDArray[np.intp]) -> Floats:
        """Return weighted products of some columns and the intercept, (pairs, size, size), by entries."""
        objective, size = self.objective, len(columns) + self.objective.intercept
        points = gram_points(objective, x)
        points = [at._replace(coef=at.coef[:, columns], center=at.center[columns]) for at in points]

        def of_part(part: InMemory) -> Floats:
            chosen = part.with_design(Selected(part.design.by_rows(), columns))
            return grams_of_part(chosen, objective.loss, points, objective.n_threads)[:, :size, :size]

        signs = np.array([1.0 if at.pair[0] == at.pair[1] else -1.0 for at in points])
        return np.asarray(signs[:, None, None] * objective.dataset.sum(of_part))

    def _dense_products(
        self,
        x: Floats,
        columns: NDArray[np.intp],
        pairs: Sequence[tuple[int, int]],
        known: NDArray[np.bool_] | None,
    ) -> Floats:
        """Return weighted products of some columns and the intercept, (pairs, size, size), by matrix products.

        Those among coordinates that are known are left out, as 0.
        """
        objective = self.objective
        coef, intercept = objective.tile_coefficients(x)
        size, count = len(columns) + objective.intercept, len(columns)
        fresh = np.flatnonzero(np.ones(size, bool) if known is None else ~known)
        coef, center = coef[:, columns], objective.mean[columns]

        def of_part(part: InMemory) -> Floats:
            found = np.zeros((len(pairs), len(fresh), size))
            for tile in part.with_design(Selected(part.design, columns)).tiles(WORK_BYTES // (8 * size)):
                Z = np.ones((tile.y.shape[-1], size))
                Z[:, :count] = tile.X
                eta = np.ascontiguousarray((Z[:, :count] @ coef.T + intercept).T)
                Z[:, :count] -= center
                for number, weight in enumerate(_pair_weights(objective, tile, eta, pairs)):
                    found[number] += (Z[:, fresh] * weight[:, None]).T @ Z
            return found

        whole = np.zeros((len(pairs), size, size))
        for block, rows in zip(whole, objective.dataset.sum(of_part), strict=True):
            block[fresh] = rows
            block[:, fresh] = rows.T
        return whole


def _pair_weights(
    objective: LinearObjective, tile: Tile, eta: Floats, pairs: Sequence[tuple[int, int]]
) -> Iterator[Floats]:
    """Yield what weighs the products of a tile's rows, for each pair of outputs."""
    sample = tile.weight if tile.weight.size else np.ones(eta.shape[1])
    loss = objective.loss
    if loss.quadratic:
        yield sample * loss.curvature_bound
    elif not loss.multiclass:
        yield from row_curvatures(objective, tile.y, eta) * sample
    else:
        likely = row_slopes(tile.y, eta, loss) + (np.arange(len(eta))[:, None] == tile.y.reshape(1, -1))
        for a, b in pairs:
            yield sample * likely[a] * ((a == b) - likely[b])


class GramCurvature:
    """The curvature of least squares, which the normal equations give for all points.

    Parameters
    ----------
    block : ndarray of shape (row_size, row_size)
        Of one output.
    outputs : int
    """

    spent = 0.0

    def __init__(self, block: Floats, outputs: int) -> None:
        size = len(block) * outputs
        self.curvature = Curvature(
            np.arange(size, dtype=np.float64)[None],
            np.asarray(np.kron(np.eye(outputs), block), np.float64),
            np.zeros(size),
        )

    def at(self, x: Floats, wants: Floats, known: Curvature, *, renew: bool) -> tuple[Curvature, float]:  # noqa: ARG002
        """Return the curvature, at no cost."""
        return self.curvature, 0.0


class PenalisedModel:
    """The quadratic model of an objective, as `fastgd._optim.proximal.ProximalNewton` asks for it.

    Parameters
    ----------
    objective : LinearObjective
        With the penalty.
    sources : sequence of CurvatureSource or GramCurvature
        The first one gives the first curvature; each time that a better one is asked for, the next one does, or the
        last one anew.
    gap : float
        The duality gap that is wanted: the model is minimised to a fraction of it.
    null : float
        The loss without coefficients.
    steps : dict
        Filled with the last step, and the point that it is from: the minimum of another penalty's model from the same
        point is near.
    """

    def __init__(
        self,
        objective: LinearObjective,
        sources: Sequence[CurvatureSource | GramCurvature],
        gap: float,
        null: float,
        steps: dict[str, Floats],
    ) -> None:
        self.objective, self.sources, self.gap, self.null = objective, sources, gap, null
        self.steps = steps
        self.threshold, self.ridge, self.lowest = coordinate_penalty(objective)

    def curvature(
        self, x: Floats, gradient: Floats, known: Curvature, level: int, *, renew: bool
    ) -> tuple[Curvature, float]:
        """Return the curvature about a point (size,), and its cost in passes; the known one where it will do."""
        source = self.sources[min(level, len(self.sources) - 1)]
        d, outputs = self.objective.dataset.shape[1], self.objective.outputs
        wants = np.abs(self.objective.subgradient(x, gradient)).reshape(outputs, -1)[:, :d].max(axis=0)
        wants[x.reshape(outputs, -1)[:, :d].any(axis=0)] = np.inf
        found, cost = source.at(x, wants, known, renew=renew)
        if found.block.any() or not found.block.size:
            return found, cost
        # No row curves, as of Huber's loss where all targets are far: the largest curvature leads back.
        bound = np.full(x.size, self.objective.loss.curvature_bound)
        return Curvature(np.zeros((1, 0)), np.zeros((0, 0)), bound), cost

    def minimize(self, x: Floats, gradient: Floats, curvature: Curvature, pairs: tuple[Pair, ...]) -> ModelStep:
        """Minimise the model; the curvature is corrected by BFGS for the pairs, the oldest first.

        Coordinate descent finds out which coordinates are 0, and is slow to the end where others resemble each other.
        So it takes turns with the solution of the equations that these fulfil.
        """
        if not curvature.block.size and pairs:
            curvature = _rescaled(curvature, pairs[-1])
        vectors, signs = corrections(curvature, self.ridge, pairs)
        model = _Model(gradient, x, self.threshold, self.ridge, self.lowest, curvature, vectors, signs)
        step = np.zeros(x.size)
        if not pairs and "x" in self.steps and np.array_equal(x, self.steps["x"]):
            step = np.where(curvature.movable, self.steps["step"], 0.0)
        # Slopes that are larger than thresholds by a share ε cost the gap at most ε (Σ threshold |x| + loss).
        size = float(np.sum(self.threshold * np.abs(x))) + self.null
        least = float(np.min(self.threshold, initial=np.inf, where=self.threshold > 0.0))
        tol = _PRECISELY * self.gap / size * (least if least < np.inf else 1.0) if size > 0.0 else 0.0
        tol = max(tol, model.rounding())
        rough = 0.0 if isinstance(self.sources[0], GramCurvature) else _ROUGH  # where another step costs a pass
        moved, turns = model.sweep(step, tol, rough, _SWEEPS), 0
        while moved > tol and turns < _TURNS and model.solve(step):
            moved, turns = model.sweep(step, tol, rough, _SWEEPS), turns + 1
        if moved > tol and rough == 0.0:
            model.sweep(step, tol, rough, int(np.clip(_PRODUCTS / max(1, len(curvature.block)) ** 2, *_MORE_SWEEPS)))
        self.steps.update(x=x, step=step)
        rise = np.sum(self.threshold * (np.abs(x + step) - np.abs(x)))
        return ModelStep(step, max(0.0, -float(dot(gradient, step) + rise)))


class _Model(NamedTuple):
    """``g·p + ½ p·(B + ridge) p + Σ threshold |x + p|`` for steps p with ``x + p ≥ lowest``.

    B is a curvature plus ``Σ_r signs_r v_r v_rᵀ``, for the columns v_r of ``vectors``.
    """

    gradient: Floats
    x: Floats
    threshold: Floats
    ridge: Floats
    lowest: Floats
    curvature: Curvature
    vectors: Floats
    signs: Floats

    def rounding(self) -> float:
        """Return what rounding may change slopes by."""
        curvature, inside = self.curvature, self.curvature.inside
        diagonal = curvature.diagonal + self.ridge
        diagonal[inside] += np.diagonal(curvature.block)
        return _ROUNDING * float(np.max(np.abs(self.gradient)) + np.max(diagonal * np.abs(self.x)))

    def sweep(self, step: Floats, tol: float, rough: float, most: int) -> float:
        """Improve a step by coordinate descent; arguments and result are those of `minimize_model`."""
        curvature, inside = self.curvature, self.curvature.inside
        place = np.full(self.x.size, -1)
        place[inside] = np.arange(len(inside))
        matrices = place, curvature.block, curvature.diagonal, self.vectors, self.signs
        products = curvature.block @ step[inside], self.vectors.T @ step
        return float(minimize_model(*self[:5], *matrices, *products, step, tol, rough, most))

    def solve(self, step: Floats) -> bool:
        """Move a step to where the model is least as long as no sign changes; False if that is not known.

        Coordinates that reach 0 on the way end it there.
        """
        curvature, at = self.curvature, self.x + step
        inside = curvature.inside
        free = (self.threshold == 0.0) & ~np.isfinite(self.lowest)
        chosen = np.flatnonzero((at[inside] != 0.0) | free[inside])
        if not 0 < len(chosen) <= _MOST_SOLVED:
            return False
        active = inside[chosen]
        own = self.vectors[active] * self.signs
        matrix = curvature.block[np.ix_(chosen, chosen)] + own @ self.vectors[active].T
        own_place = np.arange(len(active))
        matrix[own_place, own_place] += self.ridge[active]
        matrix[own_place, own_place] *= 1.0 + _SOFTENED
        slope = self.gradient[active] + self.ridge[active] * step[active] + own @ (self.vectors.T @ step)
        slope += curvature.block[chosen] @ step[inside] + self.threshold[active] * np.sign(at[active])
        try:
            move = -np.linalg.solve(matrix, slope)
        except np.linalg.LinAlgError:
            return False
        if not (np.isfinite(move).all() and float(move @ slope) < 0.0):
            return False
        bound = ~free[active] & (at[active] * (at[active] + move) < 0.0)
        length = float(np.min(-at[active][bound] / move[bound], initial=1.0))
        step[active] += length * move
        if length < 1.0:
            first = active[bound][int(np.argmin(-at[active][bound] / move[bound]))]
            step[first] = -self.x[first]
        return True


_ROUGH = 1e-3
"""What a step of which another follows may leave of what slopes are changed by."""
_PRECISELY = 0.1
"""The share of the gap that slopes may cost which coordinate descent leaves."""


def _rescaled(curvature: Curvature, pair: Pair) -> Curvature:
    """Return a diagonal that gives what was met along the last step."""
    diagonal = curvature.diagonal
    inverse = np.divide(1.0, diagonal, out=np.zeros(len(diagonal)), where=diagonal > 0.0)
    met = dot(pair.y * inverse, pair.y) / dot(pair.s, pair.y)
    return curvature._replace(diagonal=met * diagonal)


def corrections(curvature: Curvature, ridge: Floats, pairs: tuple[Pair, ...]) -> tuple[Floats, Floats]:
    """Return vectors (size, rank) and signs (rank,) of the BFGS corrections of a curvature for some pairs.

    For each pair ``B + y yᵀ / s·y − B s (B s)ᵀ / s·B s``, where B holds the ridge, too, which is none of the curvature.
    """
    vectors: list[Floats] = []
    signs: list[float] = []
    movable = curvature.movable
    for s, whole in pairs:
        y = np.where(movable, whole, 0.0)
        product = curvature.times(s) + ridge * s
        for vector, sign in zip(vectors, signs, strict=True):
            product += sign * dot(vector, s) * vector
        along = dot(s, product)
        if not along > 0.0 or dot(y - product, y - product) <= 1e-16 * dot(y, y):
            continue
        vectors += [y / dot(s, y) ** 0.5, product / along**0.5]
        signs += [1.0, -1.0]
    return np.array(vectors).reshape(-1, len(ridge)).T.copy(), np.array(signs)
