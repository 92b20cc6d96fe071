"""Which Hessian a fit can afford: the whole one or its blocks, of all samples or of a sub-sample."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastgd._kernels.simd import WIDTH
from fastgd._linear.block_hessian import Blocks, InverseBlocks, choose_blocks
from fastgd._linear.hessian import InverseHessian, RankFindings, hessian_pairs
from fastgd._linear.objective import LinearObjective
from fastgd._linear.problem import LinearProblem
from fastgd._linear.statistics import PASS_OUTPUTS
from fastgd._optim.lbfgs import MakePreconditioner
from fastgd._utils.linalg import SMALL

GRAM_SPEED = 30
"""Numbers of a Hessian that a thread adds up while a pass reads one number of X; measured, see bench/NOTES.md."""
GRAM_PASSES = 100
"""Passes that a preconditioner may cost before plain L-BFGS is the better choice."""
SMALL_GRAM = 1e9
"""Products of a Hessian that never cost too much: a tenth of a second."""
REFRESH = 6.0
"""The logarithm of what is left to descend, typically, when a Hessian turns out to be poor."""
GRAM_BYTES = 1 << 28
"""Bytes that a preconditioner and its making may take, or 1/50 of X if that is more."""


class HessianCost(NamedTuple):
    """What a Hessian costs.

    Attributes
    ----------
    products : float
        Multiplications to add it up and invert it.
    passes : float
        The same, in the time of passes over all rows, or as many as it takes if that is more.
    size : int
        Coefficients that it couples.
    memory : int
        Bytes that it may take.
    rereads : bool
        Whether a pass reads the samples from where they are stored.
    """

    products: float
    passes: float
    size: int
    memory: int
    rereads: bool

    @property
    def fits(self) -> bool:
        """Whether there is memory for it."""
        return 24 * self.size * self.size <= self.memory

    def is_cheap(self, passes: float, products: float = SMALL_GRAM) -> bool:
        """Whether it costs at most so many passes, or so many products of samples that are not read again."""
        return self.passes <= passes or (self.products <= products and not self.rereads)


def hessian_cost(problem: LinearProblem, rows: int) -> HessianCost:
    """Return what the whole Hessian of so many rows costs."""
    dataset, size, loss = problem.dataset, problem.coupled, problem.spec.loss
    n, d = dataset.shape
    numbers = dataset.row_bytes / dataset.dtype.itemsize  # of a row, indices of sparse ones included
    row = d + problem.spec.intercept
    pairs = hessian_pairs(loss, problem.outputs)
    products = rows * pairs * min(row, numbers * row / d) ** 2 + 2 * size**3
    memory = max(GRAM_BYTES, int(n * dataset.row_bytes) // 50)
    passes = products / (n * numbers * GRAM_SPEED * max(1.0, problem.outputs / PASS_OUTPUTS))
    if rows == n:
        passes = max(passes, 1.0)
    return HessianCost(products, passes, size, memory, dataset.rereads)


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
