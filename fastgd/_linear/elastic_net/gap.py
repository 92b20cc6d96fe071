"""The duality gap: a bound of what the objective is above its minimum, from what one pass says.

With slopes u_i = ∂L/∂z_i at a point, any s in (0, 1] gives a dual point s u, and so a lower bound of the minimum
(Fenchel's duality). In coordinates θ of centred and scaled columns, with the gradient g of the mean loss,

    gap(s) = s θ·g + Σ_j [h_j(θ_j) + h_j*(−s g_j)] + B(s),

where h_j is the penalty of a coordinate, and h_j*(v) = (|v| − λ_j)₊² / (2 μ_j) its conjugate, for λ = w l1, μ = w l2.
B(s) bounds what the conjugates of losses have beside their tangents at u, see `fastgd.Loss.dual_excess`. The best of a
few s is taken. For coordinates without a penalty, such as the intercept, the minimum is looked for within one unit, and
its own size, of where they are.
"""

from __future__ import annotations

import numpy as np

from fastgd._linear.objective import LinearObjective
from fastgd._linear.statistics import sum_rounding
from fastgd._optim.base import Convergence, Evaluation
from fastgd._optim.result import ErrorEstimate
from fastgd._typing import Floats


def coordinate_penalty(objective: LinearObjective) -> tuple[Floats, Floats, Floats]:
    """Return l1 and l2 of each coordinate of a point (size,), and the least value that it may have."""
    d, penalty = objective.dataset.shape[1], objective.penalty
    columns = np.ones(d)
    with np.errstate(divide="ignore"):
        unit = 1.0 / objective.scale
    rows = [penalty.threshold * columns * unit, penalty.curvature * columns * unit**2]
    rows.append(np.where(columns * float(penalty.positive) > 0.0, 0.0, -np.inf))
    found = []
    for row, of_intercept in zip(rows, (0.0, 0.0, -np.inf), strict=True):
        whole = np.append(row, np.full(int(objective.intercept), of_intercept))
        found.append(np.tile(whole, objective.outputs))
    return found[0], found[1], found[2]


class DualityGap:
    """Computes the duality gap of an objective at points.

    Parameters
    ----------
    objective : LinearObjective
    """

    def __init__(self, objective: LinearObjective) -> None:
        self.objective = objective
        movable = np.append(np.isfinite(objective.scale), np.ones(int(objective.intercept), bool))
        threshold, self.ridge, lowest = coordinate_penalty(objective)
        self.fixed = np.flatnonzero(~np.tile(movable, objective.outputs))
        self.threshold = threshold
        self.one_sided = bool(np.isfinite(lowest).any())
        self.upward = np.isfinite(lowest)
        self.free = np.flatnonzero((threshold == 0.0) & (self.ridge == 0.0))
        self.bounded = (threshold > 0.0) & (self.ridge == 0.0)
        self.curved = np.flatnonzero(self.ridge > 0.0)

    def __call__(self, x: Floats, evaluation: Evaluation) -> float:
        """Return a bound of what the objective at a point (size,) is above its minimum.

        ``evaluation`` holds the value of all of the objective, and the gradient of the smooth part. The bound is no
        smaller than the rounding of the value.
        """
        objective, threshold, ridge = self.objective, self.threshold, self.ridge
        coef, _ = objective.tile_coefficients(x)
        loss = evaluation.value - objective.penalty.value(coef)
        gradient = evaluation.gradient - ridge * x
        gradient[self.fixed] = 0.0
        pull = np.abs(gradient)
        if self.one_sided:  # only a gradient below 0 asks for a larger coefficient
            pull = np.where(self.upward, np.maximum(-gradient, 0.0), pull)
        product = float(x @ gradient)
        penalties = float(threshold @ np.abs(x)) + 0.5 * float(np.sum(ridge * x**2))
        free_pull = float(pull[self.free] @ (1.0 + np.abs(x[self.free])) - gradient[self.free] @ x[self.free])
        ratio = np.divide(threshold, pull, out=np.ones(len(pull)), where=pull > threshold)
        feasible = float(np.min(ratio, initial=1.0, where=self.bounded))
        scales = [feasible]
        if self.curved.size:
            least = min(feasible, float(ratio[self.curved].min()))
            scales += [least + (feasible - least) * each for each in _BETWEEN]
        gaps = []
        for s in scales:
            if not s > 0.0:
                continue
            over = np.maximum(s * pull[self.curved] - threshold[self.curved], 0.0)
            conjugate = 0.5 * float(np.sum(over**2 / ridge[self.curved]))
            excess = 0.0 if s == 1.0 else min((1.0 - s) * loss, (1.0 - s) ** 2 / s * evaluation.dual_excess)
            gaps.append(s * product + penalties + conjugate + s * free_pull + excess)
        rounding = sum_rounding(objective.dataset.shape[0]) * abs(evaluation.value)
        return max(rounding, min(gaps, default=np.inf))


_BETWEEN = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)
"""Where between the scale that no conjugate is larger than 0 for and the largest feasible one the gap is computed."""


class GapTest:
    """Tests convergence by the duality gap.

    Parameters
    ----------
    objective : LinearObjective
    most : float
        The largest gap that is good enough.
    """

    def __init__(self, objective: LinearObjective, most: float) -> None:
        self.objective, self.most, self.gap = objective, most, DualityGap(objective)

    def __call__(self, x: Floats, evaluation: Evaluation, step: Floats | None) -> Convergence:  # noqa: ARG002
        """Return how far a point is from the minimum at most."""
        gap = self.gap(x, evaluation)
        n, dispersion = self.objective.dataset.shape[0], 1.0
        if not self.objective.loss.separable:
            dispersion = 2.0 * max(evaluation.value, np.finfo(np.float64).tiny)
        error = ErrorEstimate(gap, float(np.sqrt(2.0 * n * gap / dispersion)))
        fitted_exactly = evaluation.value <= self.objective.rounding(x, evaluation.value)[0]
        return Convergence(error, reached=gap <= self.most or fitted_exactly)
