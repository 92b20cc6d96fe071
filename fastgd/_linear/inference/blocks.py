"""The inverse Hessian beside a category of many levels, whose matrix would not fit in memory.

The levels of a category never occur together, so their block D of the Hessian ``[[M, B], [Bᵀ, D]]`` is diagonal. With P
from the Schur complement, ``P Pᵀ = (M − B D⁻¹ Bᵀ)⁻¹``, the inverse is exactly ``U Uᵀ + V``, for ``U = [P; −D⁻¹ Bᵀ P]``
and ``V = diag(0, D⁻¹)``: a column for each of the other coefficients, and a number for each level.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.dataset import Dataset, OpenedDataset
from fastgd._kernels.sums import GramPoint
from fastgd._linear.block_hessian import Blocks, choose_blocks
from fastgd._linear.hessian import DOUBTFUL
from fastgd._linear.inference.spec import CovarianceSpec
from fastgd._linear.objective import LinearObjective, ModelSpec
from fastgd._linear.statistics import gram_of_members, sum_rounding
from fastgd._typing import Floats
from fastgd._utils.linalg import inverse_root


class BlockInverse(NamedTuple):
    """The inverse of a Hessian, ``U Uᵀ + V``, over the columns in the order of tiles, and the intercept.

    Attributes
    ----------
    root : ndarray of shape (size, ·)
        U.
    diagonal : ndarray of shape (size,)
        The diagonal of V.
    center : ndarray of shape (d,)
        What columns are taken about.
    """

    root: Floats
    diagonal: Floats
    center: Floats

    def norm(self, vector: Floats) -> float:
        """Return ``√(v·H⁻¹v)``."""
        return float(np.hypot(np.linalg.norm(self.root.T @ vector), np.sqrt(self.diagonal @ vector**2)))


def whole_blocks(dataset: Dataset) -> Blocks | None:
    """Return the blocks that are all of a Hessian of one output, None if they are not all of it."""
    dense, d = len(dataset.pivot()[0]), dataset.shape[1]
    blocks = choose_blocks(dataset.features, dense, d - dense)
    return blocks if blocks is not None and blocks.whole else None


def check_covariance(spec: CovarianceSpec, opened: OpenedDataset, model: ModelSpec) -> None:
    """Raise ValueError if there is no such covariance, or it would take too much memory."""
    large = spec.is_too_large(opened.dataset.shape[1] + model.intercept)
    spec.check(opened, model, has_blocks=large and whole_blocks(opened.dataset) is not None)


def block_inverse(
    objective: LinearObjective, coef: Floats, intercept: Floats, left_out: NDArray[np.bool_]
) -> BlockInverse | None:
    """Return the inverse of the Hessian of the summed losses at some coefficients; None if rounding hides it.

    It takes one pass.

    Parameters
    ----------
    objective : LinearObjective
        Of one Hessian, whose blocks are all of it.
    coef, intercept : ndarray of shape (outputs, d), (outputs,)
        In the order of tiles.
    left_out : ndarray of bool (size,)
        Columns that the model is without.
    """
    dataset, d = objective.dataset, objective.dataset.shape[1]
    blocks = whole_blocks(dataset)
    assert blocks is not None  # noqa: S101  `check_covariance` has seen to that
    dense, few = blocks.dense, blocks.members.size
    center = np.where(np.arange(d) < dense, objective.moments.mean, 0.0) if objective.intercept else np.zeros(d)
    step = 1e-4 * float(np.broadcast_to(objective.gradient_scales, objective.outputs)[0])
    point = GramPoint(coef, intercept, (0, 0), step, center, np.zeros(0))
    ((products, squares),) = gram_of_members(dataset, objective.loss, [point], blocks.members, objective.n_threads)
    one = np.full(int(objective.intercept), dense)  # the intercept comes last
    order = np.r_[:dense, dense + 1 : blocks.own + 1, one]
    members = np.r_[: blocks.own, np.full(len(one), d)]
    kept_members, kept = ~left_out[members], ~left_out[blocks.own : d]
    members, levels = members[kept_members], blocks.own + np.flatnonzero(kept)
    chosen = order[kept_members]
    matrix, coupling = products[np.ix_(chosen, chosen)], products[dense + 1 + few :, chosen][kept].T
    diagonal = squares[few:, 1][kept]
    if not (diagonal > 0.0).all():
        return None
    schur = matrix - (coupling / diagonal) @ coupling.T
    found = inverse_root(schur, DOUBTFUL * sum_rounding(dataset.shape[0]), np.diagonal(matrix))
    if found.doubtful.any() or found.given_up.any():
        return None
    root, own = np.zeros((len(left_out), len(members))), np.zeros(len(left_out))
    root[members], root[levels] = found.root, -(coupling.T @ found.root) / diagonal[:, None]
    own[levels] = 1.0 / diagonal
    return BlockInverse(root, own, center)
