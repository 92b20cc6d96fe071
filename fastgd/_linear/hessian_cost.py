"""What a Hessian costs, in the time of passes."""

from __future__ import annotations

from typing import NamedTuple

from fastgd._linear.hessian import hessian_pairs
from fastgd._linear.problem import LinearProblem
from fastgd._linear.statistics import PASS_OUTPUTS

GRAM_SPEED = 30
"""Numbers of a Hessian that a thread adds up while a pass reads one number of X; measured, see bench/NOTES.md."""
GRAM_PASSES = 100
"""Passes that a preconditioner may cost before plain L-BFGS is the better choice."""
SMALL_GRAM = 1e9
"""Products of a Hessian that never cost too much: a tenth of a second."""
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
