"""Which Hessian a fit can afford: the whole one or its blocks, of all samples or of a sub-sample."""

from __future__ import annotations

import numpy as np

from fastgd._kernels.simd import WIDTH
from fastgd._linear.block_hessian import Blocks, InverseBlocks, choose_blocks
from fastgd._linear.hessian import InverseHessian, RankFindings
from fastgd._linear.hessian_cost import GRAM_PASSES, GRAM_SPEED, hessian_cost
from fastgd._linear.objective import LinearObjective
from fastgd._linear.problem import LinearProblem
from fastgd._optim.lbfgs import MakePreconditioner
from fastgd._utils.linalg import SMALL

REFRESH = 6.0
"""The logarithm of what is left to descend, typically, when a Hessian turns out to be poor."""


def block_passes(problem: LinearProblem, blocks: Blocks) -> float:
    """Return what a Hessian's blocks of all rows cost, in the time of passes, or one pass if that is more."""
    n, row_bytes, outputs = problem.dataset.shape[0], problem.dataset.row_bytes, problem.outputs
    item = problem.dataset.dtype.itemsize
    entries = max(0.0, row_bytes - item * blocks.dense) / (item + 4)
    coupled = blocks.members.rows - blocks.members.size
    of_row = blocks.dense**2 + entries * (blocks.dense + WIDTH + entries)
    products = outputs * (n * of_row + blocks.own**2 * (2 * blocks.own + coupled))
    return max(1.0, products / (n * row_bytes / item * GRAM_SPEED))


def affordable_blocks(problem: LinearProblem) -> Blocks | None:
    """Return the blocks of a Hessian that take its place, None if it is affordable itself or has no blocks.

    They do where the Hessian is too large, and where they are all of it and it has many rows; but not where rows can
    only be read by going through all columns: sub-samples and products then take longer than the passes that they save.
    """
    n, d = problem.dataset.shape
    cost = hessian_cost(problem, n)
    if cost.size <= SMALL or not problem.dataset.local_sample.design.row_access:
        return None
    dense = len(problem.dataset.pivot()[0])
    blocks = choose_blocks(problem.dataset.features, dense, d - dense)
    if blocks is None:
        return None
    if problem.spec.loss.multiclass:  # classes have second derivatives in common, which are left out
        blocks = blocks._replace(whole=False)
    return blocks if blocks.whole or not (cost.fits and cost.is_cheap(GRAM_PASSES)) else None


def inverse_hessian(
    problem: LinearProblem,
    objective: LinearObjective,
    share: float,
    findings: RankFindings,
    of_all: InverseHessian | None = None,
) -> MakePreconditioner:
    """Return what computes the inverse of the affordable Hessian of an objective over a share of the samples."""
    blocks = affordable_blocks(problem)
    if blocks is None:
        return InverseHessian(objective, share, findings, of_all)
    return InverseBlocks(objective, blocks, share, findings)


def contraction(passes: float) -> float:
    """Return what a step may leave of the gradient without a new Hessian, which costs so many passes.

    Steps that contract by ρ take ``log(left) / log(ρ)`` passes for what is left to descend. A Hessian pays where these
    are more than its own passes and two Newton steps.
    """
    return float(min(0.5, np.exp(-REFRESH / (passes + 2.0))))
