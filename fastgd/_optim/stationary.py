"""What kind of stationary point a point is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastgd._optim.base import Evaluation
from fastgd._optim.finite_differences import EPS, Evaluator, difference_hessian, evaluator
from fastgd._optim.stopping import largest
from fastgd._typing import Floats
from fastgd._utils.validation import check_number

_BESIDE = np.array([1e-3, 1e-2])  # the distances at which values tell what curvatures do not
_ROUGH = 0.1  # of the largest curvature, above which its uncertainty leaves even the sign open


@dataclass(frozen=True, eq=False)
class Stationary:
    """What kind of point the second derivatives show.

    Attributes
    ----------
    kind : {"minimum", "maximum", "saddle", "degenerate", "slope"}
        ``"degenerate"``: some curvature is 0 to within ``uncertainty``, and values nearby show no fall of higher
        order, either; or differences are too rough to tell, as at a kink. ``"slope"``: the
        gradient is not 0, so the point is not stationary.
    message : str
        The same as a sentence.
    value, gradient : float, ndarray of shape (d,)
    eigenvalues, eigenvectors : ndarray of shape (d,), (d, d)
        Of the Hessian, ascending, with the vectors in columns: the curvatures, and along which directions.
    uncertainty : float
        How far the differences that the Hessian was made from leave an eigenvalue open.
    escape : ndarray of shape (d,) or None
        The unit vector along which the value falls most steeply: to both sides alike, or if the curvature there is 0,
        to this side. None if it falls along none.
    """

    kind: str
    message: str
    value: float
    gradient: Floats
    eigenvalues: Floats
    eigenvectors: Floats
    uncertainty: float
    escape: Floats | None


_SENTENCES = {
    "minimum": "A minimum: the value rises along every direction.",
    "maximum": "A maximum: the value falls along every direction.",
    "saddle": "A saddle point: the slope is 0, and the value rises along some directions and falls along others.",
    "degenerate": "Degenerate: the curvature is 0 along some direction, or differences are too rough to tell.",
    "slope": "Not stationary: the value still falls along the negative gradient.",
}


def stationary(objective: Callable[[Floats], Any], point: ArrayLike, *, tol: float = 1e-4) -> Stationary:
    """Classify a stationary point by the eigenvalues of the Hessian.

    The Hessian is made of central differences of gradients over two step lengths. What these differ by, and the
    rounding of gradients, is how uncertain an eigenvalue is; none is compared with anything else, so that the verdict
    does not depend on the unit of the objective, or on how different its curvatures are.

    Parameters
    ----------
    objective : callable
        As for `minimize`.
    point : array-like of shape (d,)
        It costs 4 d evaluations with gradients, and 8 d + 64 more of values if some curvature is 0.
    tol : float
        The point is stationary if its gradient norm is at most ``tol`` of what the largest curvature would make of it
        over a distance of ``max(1, |point|)``.

    Returns
    -------
    Stationary

    Raises
    ------
    ValueError, TypeError
        On bad input, or if value or gradient are not finite at the point.

    Examples
    --------
    >>> import fastgd
    >>> there = fastgd.stationary(lambda p: (p[0] ** 2 - p[1] ** 2, [2 * p[0], -2 * p[1]]), [0.0, 0.0])
    >>> there.kind, abs(there.escape).round(6).tolist()
    ('saddle', [0.0, 1.0])
    """
    where = np.array(point, dtype=np.float64)
    if where.ndim != 1 or not where.size or not np.isfinite(where).all():
        raise ValueError(f"point={point!r}; finite numbers of shape (d,) are needed")
    check_number("tol", tol, 0.0)
    evaluate, here = evaluator(objective, where)
    if not (np.isfinite(here.value) and np.isfinite(here.gradient).all()):
        raise ValueError(f"point: the objective or its gradient is not finite there; it gave {here.value}")
    found = classified(evaluate, where, here)
    curvature = max(abs(found.eigenvalues[0]), abs(found.eigenvalues[-1])) + found.uncertainty
    if largest(here.gradient) > tol * curvature * max(1.0, largest(where)):
        downhill = -here.gradient / np.linalg.norm(here.gradient)
        return _named("slope", found, downhill)
    return found


def classified(evaluate: Evaluator, point: Floats, here: Evaluation) -> Stationary:
    """Return the kind of a point that is known to be stationary."""
    step = EPS ** (1 / 4) if evaluate.differences else EPS ** (1 / 3)
    near, rounding = difference_hessian(evaluate, point, step)
    far, _ = difference_hessian(evaluate, point, 2.0 * step)
    if evaluate.differences:  # each slope is off by the value's rounding over its own short step
        rounding += EPS ** (2 / 3) * abs(here.value) / step
    uncertainty = 10.0 * (float(np.abs(near - far).max()) + rounding)
    if not np.isfinite(uncertainty):
        unknown = np.full(point.size, np.nan)
        return Stationary(
            "degenerate",
            "Degenerate: the objective is not finite beside this point.",
            *here[:2],
            unknown,
            np.eye(point.size),
            np.inf,
            None,
        )
    eigenvalues, eigenvectors = np.linalg.eigh((4.0 * near - far) / 3.0)
    falls, rises = eigenvalues[0] < -uncertainty, eigenvalues[-1] > uncertainty
    escape = eigenvectors[:, 0] if falls else None
    if uncertainty > _ROUGH * np.abs(eigenvalues).max():
        kind, escape = "degenerate", None
    elif falls and rises:
        kind = "saddle"
    elif np.any(np.abs(eigenvalues) <= uncertainty):
        kind = "degenerate"
    else:
        kind = "maximum" if falls else "minimum"
    if kind == "degenerate" and escape is None:
        escape, lower, higher = _fall(evaluate, point, here, eigenvectors[:, np.abs(eigenvalues) <= uncertainty])
        if escape is not None:
            kind = "saddle" if rises or higher else "maximum" if lower else kind
    found = Stationary(kind, "", here.value, here.gradient, eigenvalues, eigenvectors, uncertainty, None)
    return _named(kind, found, escape)


def _fall(evaluate: Evaluator, point: Floats, here: Evaluation, flat: Floats) -> tuple[Floats | None, bool, bool]:
    """Search directions (d, k) of no curvature, and mixtures, for a fall that the slope does not explain.

    Give the direction of the largest, if there is any, and whether values fall and rise along some.
    """
    if not flat.size:
        return None, False, False
    mixtures = flat @ np.random.default_rng(0).standard_normal((flat.shape[1], 8))
    directions = np.hstack((flat, mixtures / np.linalg.norm(mixtures, axis=0))).T
    directions = np.concatenate((directions, -directions))
    changes = np.empty((len(directions), 2))
    for way, direction in zip(changes, directions, strict=True):
        for k, distance in enumerate(_BESIDE * max(1.0, largest(point))):
            change = evaluate(point + distance * direction).value - here.value
            explained = 2.0 * distance * abs(float(direction @ here.gradient)) + 1e3 * EPS * abs(here.value)
            way[k] = change if abs(change) > explained else 0.0
    near, far = changes.T
    falls, rises = (far < near) & (near < 0.0), (far > near) & (near > 0.0)
    escape = directions[np.argmin(np.where(falls, far, 0.0))] if falls.any() else None
    return escape, bool(falls.any()), bool(rises.any())


def _named(kind: str, found: Stationary, escape: Floats | None) -> Stationary:
    values = found.eigenvalues
    curvatures = f" Curvatures from {values[0]:.4g} to {values[-1]:.4g}."
    return Stationary(
        kind,
        _SENTENCES[kind] + curvatures,
        found.value,
        found.gradient,
        values,
        found.eigenvectors,
        found.uncertainty,
        escape,
    )
