"""The Hessian's blocks where it has too many rows: dense among few columns, diagonal among the levels of the others.

The levels of a category never occur together, so its block of the Hessian is diagonal. One pass adds up that diagonal,
the block of all numeric columns and narrow categories (the **members**), and the products of the widest category with
members. If no other category is wide, that is the whole Hessian, and a Schur complement inverts it: 3,000 levels cost
little more than the members alone. What two wide categories, or the words of a text, have in common is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fastgd._data.schema import Feature
from fastgd._kernels.layout import Members
from fastgd._linear.hessian import (
    DOUBTFUL,
    RankFindings,
    Variances,
    gram_points,
    variances,
)
from fastgd._linear.objective import LinearObjective
from fastgd._linear.statistics import MemberSums, gram_of_members, sum_rounding
from fastgd._optim.lbfgs import Preconditioner
from fastgd._typing import Floats
from fastgd._utils.linalg import NO_INVERSE, Inverse, inverse_root

MEMBERS = 512
"""Columns, beside numeric ones, of which products with each other are added up."""
MOST_DENSE = 1024
"""Numeric columns of which products are added up."""
COUPLED_BYTES = 1 << 27
"""Bytes that the products of the widest category with members may take, of which a few copies are made."""


class Blocks(NamedTuple):
    """Which blocks of a Hessian are computed.

    Attributes
    ----------
    dense : int
        Numeric columns.
    members : Members
        Of the sparse columns.
    whole : bool
        Whether these blocks are all of the Hessian that is not 0.
    """

    dense: int
    members: Members
    whole: bool

    @property
    def own(self) -> int:
        """Columns of the dense block, which are the first ones in the order of tiles."""
        return self.dense + self.members.size


def choose_blocks(features: Sequence[Feature] | None, dense: int, columns: int) -> Blocks | None:
    """Return the blocks for a table's features, or for columns of which nothing is known; None if there are none.

    Parameters
    ----------
    features : sequence of Feature, or None
    dense, columns : int
        How many columns are dense, and how many are sparse, which follow.
    """
    if not columns or dense > MOST_DENSE:
        return None
    widths = sorted(feature.width for feature in features or () if feature.levels is not None and feature.width)
    size = 0
    for width in widths[:-1]:
        if size + width > MEMBERS:
            break
        size += width
    coupled = widths[-1] if widths else 0
    if 8 * coupled * (dense + 1 + size) > COUPLED_BYTES:
        coupled = 0
    slots = np.full(columns, -1, np.int32)
    slots[:size] = np.arange(size)
    slots[columns - coupled :] = size + np.arange(coupled)
    return Blocks(dense, Members(slots, size, size + coupled), bool(coupled) and size + coupled == columns)


@dataclass(frozen=True)
class InverseBlocks:
    """Computes the inverse of the Hessian's blocks, of all samples or, scaled to their variances, of a sub-sample.

    Parameters
    ----------
    objective : LinearObjective
        Over all samples, or by `LinearObjective.on` over a sub-sample.
    blocks : Blocks
    share : float
        The share of all samples that it is over.
    findings : RankFindings
        Filled in by each computation.
    """

    objective: LinearObjective
    blocks: Blocks
    share: float = 1.0
    findings: RankFindings = field(default_factory=RankFindings)

    def __call__(self, x: Floats) -> Preconditioner:
        """Return the inverse at a point (size,); exact if it is the inverse Hessian of all samples."""
        objective, own = self.objective, self.blocks.own
        scale, intercept = objective.scale, int(objective.intercept)
        varies = np.isfinite(scale) & (objective.moments.spread > 0.0)
        member_varies = np.append(varies[:own], np.ones(intercept, bool))
        points = gram_points(objective, x, crossed=False)
        found_sums = gram_of_members(
            objective.dataset, objective.loss, points, self.blocks.members, objective.n_threads
        )
        noise = DOUBTFUL * sum_rounding(objective.dataset.shape[0])
        roots, diagonals, couplings, hidden = [], [], [], 0
        for member_sums in found_sums:
            sums = self._scaled(member_sums)
            inverse = np.divide(1.0, sums.diagonal, out=np.ones(len(sums.diagonal)), where=sums.diagonal > 0.0)
            coupled = inverse[len(inverse) - sums.coupling.shape[1] :]
            schur = sums.dense - (sums.coupling * coupled) @ sums.coupling.T
            found = inverse_root(schur, noise, np.diagonal(sums.dense))
            if (found.given_up & member_varies).any() or (varies[own:] & (sums.diagonal <= 0.0)).any():
                return Preconditioner(NO_INVERSE, self.share)  # curvature has vanished
            hidden += int(np.count_nonzero(found.doubtful))
            roots.append(found.root)
            diagonals.append(np.concatenate((np.zeros(own), inverse, np.zeros(intercept))))
            couplings.append(sums.coupling)
        whole = self.share >= 1.0
        if whole:
            self.findings.doubtful |= hidden > 0
            self.findings.hidden = hidden
        alike = objective.outputs // len(roots)  # outputs of a quadratic loss have one Hessian
        shift = np.append((objective.mean - self._center) / scale, np.zeros(intercept))
        root, diagonal, coupling = map(np.concatenate, (roots * alike, diagonals * alike, couplings * alike))
        exact = whole and self.blocks.whole and not hidden
        return Preconditioner(Inverse(root, diagonal, coupling, shift), self.share, exact=exact)

    def _scaled(self, sums: MemberSums) -> _Sums:
        """Return the blocks of one output's Hessian, of all samples or scaled to their variances."""
        objective, (dense, members, _), own = self.objective, self.blocks, self.blocks.own
        products, squares = sums
        order = np.r_[:dense, dense + 1 : own + 1, np.full(int(objective.intercept), dense)]  # the intercept comes last
        weight, scale = objective.moments.total_weight, 1.0 / objective.scale
        typical = float(products[dense, dense]) / weight
        if objective.sampled:
            scale = scale * self._variances.ratio
        unit = np.append(scale[:own], np.ones(int(objective.intercept)))
        coupled = scale[len(scale) - (members.rows - members.size) :]
        block = products[np.ix_(order, order)] / weight * unit * unit[:, None]
        coupling = products[dense + 1 + members.size :, order].T / weight * unit[:, None] * coupled
        first, second = squares[members.size :].T / weight
        center = self._center[own:]
        diagonal = (second - 2.0 * center * first + center**2 * typical) * scale[own:] ** 2
        further = objective.penalty.curvature / objective.scale**2
        if objective.sampled:
            further = further + typical * self._variances.lacking / objective.scale**2
        block[np.arange(own), np.arange(own)] += further[:own]
        return _Sums(block, coupling, diagonal + further[own:])

    @cached_property
    def _center(self) -> Floats:
        """What columns are centred at in the blocks, (d,): 0 where products stay sparse by that."""
        (dense, members, _), center = self.blocks, self.objective.mean.copy()
        center[dense : self.blocks.own] = 0.0
        center[len(center) - members.rows + members.size :] = 0.0
        return center

    @cached_property
    def _variances(self) -> Variances:
        """What scales a sub-sample's blocks."""
        return variances(self.objective, self._center)


class _Sums(NamedTuple):
    """Blocks of one output's Hessian: dense (m, m), coupling (m, coupled), and the diagonal of the other columns."""

    dense: Floats
    coupling: Floats
    diagonal: Floats
