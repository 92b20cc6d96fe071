"""Penalised problems with fewer coefficients and the same minimum: without empty columns, or one for each row at most.

Text that is hashed has a million columns, most of which are empty: their coefficients are 0. Where rows are fewer than
columns, the minimum is a combination of rows: ``β = Xᵀ a``. With ``X Xᵀ = Q Λ Qᵀ`` and ``Z = Q Λ^½``, loss and penalty
of ``β = Xᵀ Q Λ^-½ θ`` on X are those of θ on Z, which has no more columns than rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fastgd._data.dataset import InMemory
from fastgd._data.design import Array, Design
from fastgd._data.sparse import CompressedSparse, as_sparse
from fastgd._data.tables import Table
from fastgd._kernels.sums import GramPoint
from fastgd._linear.objective import Coefficients
from fastgd._linear.problem import LinearProblem
from fastgd._linear.statistics import gram, moments
from fastgd._typing import Floats
from fastgd._utils.linalg import EPS
from fastgd.losses import Squared
from fastgd.penalties import L2

MOST_ROWS = 1000
"""Rows whose products with each other take as long as some thirty passes."""
FEWER = 2
"""A problem is reduced if it has so many times the columns that are left."""
MANY_COLUMNS = 512
"""Fewer columns are cheap enough as they are."""
_RESOLVED = 1e3
"""The penalty has to be so many times larger than the rounding of products of rows."""


class Reduction(ABC):
    """A problem in fewer coefficients.

    Attributes
    ----------
    problem : LinearProblem
        The reduced one.
    reason : str
        In which coefficients it is.
    """

    problem: LinearProblem
    reason: str

    @abstractmethod
    def reduce(self, coef: Floats) -> Floats:
        """Return the reduced problem's coefficients, (outputs, fewer), nearest to some (outputs, d)."""

    @abstractmethod
    def expand(self, coef: Floats) -> Floats:
        """Return coefficients (outputs, d), given the reduced problem's."""

    @abstractmethod
    def spread(self, reduced: Floats) -> Floats:
        """Return the spread of all columns, (d,), given those of the reduced problem."""

    def start(self, begin: Coefficients | str | None) -> Coefficients | str | None:
        """Return where the reduced problem's descent begins."""
        return begin._replace(coef=self.reduce(begin.coef)) if isinstance(begin, Coefficients) else begin


class WithoutEmptyColumns(Reduction):
    """The problem without the columns of a sparse matrix that have no entries.

    Parameters
    ----------
    problem : LinearProblem
    dataset : InMemory
    design : CompressedSparse
    present : ndarray of int
        The columns that have entries.
    """

    def __init__(
        self, problem: LinearProblem, dataset: InMemory, design: CompressedSparse, present: NDArray[np.intp]
    ) -> None:
        self.present, self.d = present, design.shape[1]
        self.problem = replace(problem, dataset=dataset.with_design(design.with_columns(present)))
        self.reason = f"{self.d - len(present)} empty columns were left out"

    def reduce(self, coef: Floats) -> Floats:
        """Return the coefficients of columns that have entries."""
        return coef[:, self.present]

    def expand(self, coef: Floats) -> Floats:
        """Return the coefficients of all columns, 0 for empty ones."""
        whole = np.zeros((len(coef), self.d))
        whole[:, self.present] = coef
        return whole

    def spread(self, reduced: Floats) -> Floats:
        """Return the spread of all columns, 0 for empty ones."""
        return np.asarray(self.expand(reduced[None])[0])


class ByRows(Reduction):
    """The problem with a coefficient for each row at most.

    Parameters
    ----------
    problem : LinearProblem
    dataset : InMemory
        n samples.
    transposed : Design
        X as d rows of n columns.
    products : ndarray of shape (n, n)
        ``X Xᵀ``.
    """

    def __init__(self, problem: LinearProblem, dataset: InMemory, transposed: Design, products: Floats) -> None:
        values, vectors = np.linalg.eigh(products)
        kept = values > len(values) * EPS * values[-1]
        root = np.sqrt(values[kept])
        self.whole, self.transposed = problem, transposed
        self.dataset = InMemory(dataset.design, dataset.y, dataset.weight)  # Ctrl-C is for the descent to see
        self.to_rows = vectors[:, kept] / root
        reduced = dataset.with_design(Array(np.ascontiguousarray(vectors[:, kept] * root)))
        reduced.passes = dataset.passes
        self.problem = replace(problem, dataset=reduced)
        self.reason = f"for {kept.sum()} combinations of rows instead of {dataset.shape[1]} columns"

    def reduce(self, coef: Floats) -> Floats:
        """Return ``Λ^-½ Qᵀ X β``."""
        return np.asarray(self.dataset.design.linear_predictor(coef, np.zeros(len(coef))).T @ self.to_rows)

    def expand(self, coef: Floats) -> Floats:
        """Return ``Xᵀ Q Λ^-½ θ``."""
        return self.transposed.linear_predictor(coef @ self.to_rows.T, np.zeros(len(coef))).T

    def spread(self, reduced: Floats) -> Floats:  # noqa: ARG002
        """Return the spread of all columns, from one pass."""
        spec, n_threads = self.whole.spec, self.whole.n_threads
        return moments(self.dataset, spec.loss, about_mean=spec.intercept, n_threads=n_threads).spread


def reduced(problem: LinearProblem) -> Reduction | None:
    """Return a problem in fewer coefficients that has the same minimum, None if that would save nothing."""
    dataset, penalty = problem.dataset, problem.spec.penalty
    n, d = dataset.shape
    if not isinstance(dataset, InMemory) or dataset.mapped or d < MANY_COLUMNS:
        return None
    if not isinstance(penalty, L2) or penalty.is_zero:
        return None
    if n <= MOST_ROWS and FEWER * n <= d:
        transposed = _transposed(dataset.design)
        if transposed is None:
            return None
        at = GramPoint(np.zeros((1, n)), np.zeros(1), (0, 0), 0.0, np.zeros(n), np.zeros(0))
        products = gram(InMemory(transposed, np.zeros(d)), Squared(), at, problem.n_threads)[:n, :n]
        dataset.passes += 1.0
        floor = penalty.curvature * dataset.total_weight() / problem.spec.loss.curvature_bound
        if floor > _RESOLVED * EPS * float(np.trace(products)):  # False for NaN, too
            return ByRows(problem, dataset, transposed, products)
    elif isinstance(dataset.design, CompressedSparse):
        present = dataset.design.present_columns(FEWER)
        if FEWER * len(present) <= d and len(present):
            return WithoutEmptyColumns(problem, dataset, dataset.design, present)
    return None


def _transposed(design: Design) -> Design | None:
    """Return a design of X's columns as rows, without a copy; None if there is none."""
    if isinstance(design, Array):
        return Array(design.X.T)
    if isinstance(design, CompressedSparse):
        return as_sparse(design.X.T)
    if isinstance(design, Table) and design.together is not None and not design.codes:
        return Array(design.together.T)
    return None
