"""When a fit has converged: by Newton's step, which knows no units, scales, class balance or collinearity."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastgd._linear.objective import LinearObjective
from fastgd._optim.base import Convergence, Evaluation
from fastgd._optim.lbfgs import MakePreconditioner
from fastgd._optim.result import UNKNOWN_ERROR, ErrorEstimate
from fastgd._typing import Floats
from fastgd._utils.linalg import EPS, Inverse

NEAR = 1e-2
"""Standard errors from the minimum from which on L-BFGS asks for a Hessian."""
_SMALL_STEP = 1e-10
"""The squared step, in units of the targets' spread, that is near the end whatever standard errors are."""
_RELATIVE_STEP = 1e-8
"""A step of this share of the largest effect is small where standard errors are next to 0."""


def measure(objective: LinearObjective, x: Floats, evaluation: Evaluation, step: Floats, tol: float) -> Convergence:
    """Return how far a point is from the minimum, given Newton's step from there.

    The loss left is half the Newton decrement, ``δ = −½ g·step``. The covariance of the coefficients is ``φ H⁻¹ / n``,
    with the dispersion φ of slopes: 1 for classes, otherwise twice the mean loss, 2σ². So the distance is
    ``√(2 n δ / φ)`` standard errors, the largest of all outputs.

    Where targets are fitted exactly, standard errors are next to 0, and no rounded point is close by that measure.
    There it is enough that the step is `_RELATIVE_STEP` of the largest effect, and leaves less loss than rounding does.

    Parameters
    ----------
    objective : LinearObjective
    x : ndarray of shape (size,)
    evaluation : Evaluation
        At x.
    step : ndarray of shape (size,)
        Newton's step.
    tol : float
        Standard errors.
    """
    groups, n = _groups(objective), objective.dataset.shape[0]
    gradient = evaluation.gradient.reshape(groups, -1)
    decrements = -np.einsum("ki,ki->k", gradient, step.reshape(groups, -1))
    # Curvature has a bound, so a gradient is some way from the minimum whatever the Hessian is taken for.
    bound = objective.mean_curvature * (objective.outputs if groups < objective.outputs else 1)
    decrements = np.maximum(decrements, np.sum(gradient**2, axis=1) / (bound + objective.largest_diagonal))
    left = 0.5 * float(np.sum(decrements))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(decrements > 0.0, n * decrements / _dispersion(objective, evaluation.value), 0.0)
    error = ErrorEstimate(left, float(np.sqrt(np.max(ratios))))
    reached = error.distance <= tol or _is_rounding(objective, x, evaluation.value, step, left, tol)
    return Convergence(error, reached, step)


def _groups(objective: LinearObjective) -> int:
    """Return the number of groups of outputs that are independent of each other: one for classes."""
    return 1 if objective.loss.multiclass else objective.outputs


def _dispersion(objective: LinearObjective, value: float) -> Floats:
    """Return the dispersion φ of each group of outputs, (groups,)."""
    groups = _groups(objective)
    if objective.loss.separable:
        return np.ones(groups)
    squares = np.broadcast_to(objective.gradient_scales**2, groups)
    return 2.0 * max(value, 0.0) * squares / np.sum(squares)


def _is_rounding(objective: LinearObjective, x: Floats, value: float, step: Floats, left: float, tol: float) -> bool:
    """Return whether a step is small beside effects, and what it leaves of the loss is near the rounding of that."""
    d, units, moments = objective.dataset.shape[1], objective.gradient_scales, objective.moments
    small = min(tol, _RELATIVE_STEP)
    effects, moved = (np.abs(each.reshape(objective.outputs, -1)[:, :d]) / units[:, None] for each in (x, step))
    if not (moved <= small * effects.max(axis=1, keepdims=True, initial=0.0)).all():
        return False
    coef, _ = objective.tile_coefficients(x)
    with np.errstate(over="ignore"):
        sizes = np.abs(coef) @ np.hypot(moments.mean - objective.mean, moments.spread) + np.max(units)
        floor = float((1e2 * EPS * sizes.max()) ** 2 * objective.loss.curvature_bound)
    return left <= max(0.1 * small * value, min(floor, 1e-12 * float(np.min(units)) ** 2))


class NewtonTest:
    """Tests convergence by the solver's Newton step, or else by a Hessian once the gradient is small enough for it.

    Parameters
    ----------
    objective : LinearObjective
    tol : float
        Standard errors.
    inverse_hessian : callable, optional
        Computes the inverse Hessian at a point, for solvers that do not know Newton's step.
    """

    def __init__(
        self, objective: LinearObjective, tol: float, inverse_hessian: MakePreconditioner | None = None
    ) -> None:
        self.objective, self.tol, self.inverse_hessian = objective, tol, inverse_hessian
        self.known: Inverse | None = None

    def __call__(self, x: Floats, evaluation: Evaluation, step: Floats | None) -> Convergence:
        """Return the distance of a point from the minimum, given its evaluation and the solver's Newton step."""
        if not evaluation.gradient.any():
            return Convergence(ErrorEstimate(0.0, 0.0), reached=True)
        if step is not None:
            return measure(self.objective, x, evaluation, step, self.tol)
        if self.inverse_hessian is None:
            return Convergence(UNKNOWN_ERROR, reached=False)
        # The largest curvature λ shows a distance that the true one is not below: g·H⁻¹g ≥ |g|²/λ.
        least = -evaluation.gradient / (self.objective.largest_diagonal * self.objective.size)
        if not measure(self.objective, x, evaluation, least, self.tol).reached:
            return Convergence(UNKNOWN_ERROR, reached=False)
        if self.known is not None:
            by_known = self._judge(self.known, x, evaluation)
            if not by_known.reached:
                return by_known
        made = self.inverse_hessian(x)
        if not made.inverse.exists:
            return Convergence(UNKNOWN_ERROR, reached=False, cost=made.cost)
        self.known = made.inverse
        return self._judge(made.inverse, x, evaluation)._replace(cost=made.cost)

    def _judge(self, inverse: Inverse, x: Floats, evaluation: Evaluation) -> Convergence:
        return measure(self.objective, x, evaluation, -inverse.times(evaluation.gradient), self.tol)


def near_end(objective: LinearObjective, *, renew: bool) -> Callable[[float, float], int]:
    """Return the function that tells `LBFGS` from value and ``−gradient·direction`` how near the minimum may be.

    It does not depend on ``tol``, so that neither does the path of a descent.

    Parameters
    ----------
    objective : LinearObjective
    renew : bool
        Whether a Hessian costs so little that there is a stage for every two digits, so that the last steps are exact.
    """
    n = objective.dataset.shape[0]
    smallest = float(np.min(objective.gradient_scales) ** 2) * objective.loss.curvature_bound

    def near(value: float, decrement: float) -> int:
        dispersion = float(np.min(_dispersion(objective, value)))
        if n * decrement > dispersion * NEAR**2:
            return int(decrement <= _SMALL_STEP * smallest)
        if not renew or not dispersion > 0.0:
            return 1
        ratio = max(n * decrement / dispersion, EPS**4)
        return int(np.log(ratio) / np.log(NEAR**2))

    return near
