"""Classification of a point as minimum, maximum or saddle point by its second derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastgd._optim.base import Evaluation
from fastgd._optim.finite_differences import Evaluator, difference_hessian, evaluator
from fastgd._optim.stopping import largest
from fastgd._typing import Floats
from fastgd._utils.linalg import EPS
from fastgd._utils.validation import check_number

_PROBE_DISTANCES = np.array([1e-3, 1e-2])
"""Distances from the point at which values are compared along directions of zero curvature."""
_MAX_UNCERTAINTY = 0.1
"""The largest uncertainty of eigenvalues, relative to the largest one, with which a point is classified."""


@dataclass(frozen=True, eq=False)
class Stationary:
    """The classification of a point by the second derivatives of a function, as `stationary` returns it.

    Attributes
    ----------
    kind : {"minimum", "maximum", "saddle", "degenerate", "slope"}
        ``"degenerate"``: some curvature is 0 to within ``uncertainty``, and values nearby show no decrease of higher
        order; or the finite differences are too inaccurate, as at a kink. ``"slope"``: the gradient is not 0, so the
        point is not stationary.
    message : str
        The kind as a sentence, with the smallest and the largest curvature.
    value : float
        The value at the point.
    gradient : ndarray of shape (d,)
        The gradient at the point.
    eigenvalues : ndarray of shape (d,)
        The eigenvalues of the Hessian, ascending: the curvatures.
    eigenvectors : ndarray of shape (d, d)
        The eigenvectors in columns: the directions of these curvatures.
    uncertainty : float
        A bound of the error of the eigenvalues, from finite differences and rounding.
    escape : ndarray of shape (d,) or None
        The unit vector along which the value falls most steeply. The value falls on both sides, or only on this side if
        the curvature along it is 0. None if the value falls in no direction. For ``"slope"`` the negative gradient.
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
    """Return whether a point is a minimum, a maximum or a saddle point, by the eigenvalues of the Hessian.

    A stationary point is a minimum if all eigenvalues λ_j are positive, a maximum if all are negative, and a saddle
    point if both signs occur. The Hessian is computed by central differences of gradients with two step lengths. The
    difference of the two results and the rounding error of gradients give the uncertainty of the eigenvalues. An
    eigenvalue is compared with its uncertainty only, so that the result does not depend on the unit of the objective.

    Parameters
    ----------
    objective : callable
        Maps a point of shape (d,) to ``(value, gradient)`` or to a value, as for `minimize`.
    point : array-like of shape (d,)
        The point. The call takes about 4 d evaluations with gradients, and up to 4 d + 32 more if some curvature is 0.
    tol : float, default 1e-4
        The point is stationary if ``max_j |g_j| ≤ tol λ max(1, max_j |x_j|)``, where λ is the largest absolute
        eigenvalue plus the uncertainty.

    Returns
    -------
    Stationary
        The kind of the point, its eigenvalues, and a direction of descent if there is one.

    Raises
    ------
    ValueError
        If the point is not finite or has another shape, or value or gradient are not finite there.
    TypeError
        If the objective is not callable or returns something else.

    Examples
    --------
    >>> import fastgd
    >>> found = fastgd.stationary(lambda p: (p[0] ** 2 - p[1] ** 2, [2 * p[0], -2 * p[1]]), [0.0, 0.0])
    >>> found.kind, found.eigenvalues.round(6).tolist(), abs(found.escape).round(6).tolist()
    ('saddle', [-2.0, 2.0], [0.0, 1.0])
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
        return _as_kind("slope", found, downhill)
    return found


def classified(evaluate: Evaluator, point: Floats, here: Evaluation) -> Stationary:
    """Return the classification of a point that is known to be stationary.

    Parameters
    ----------
    evaluate : Evaluator
    point : ndarray of shape (d,)
    here : Evaluation
        At the point.
    """
    step = EPS ** (1 / 4) if evaluate.differences else EPS ** (1 / 3)
    near, rounding = difference_hessian(evaluate, point, step)
    far, _ = difference_hessian(evaluate, point, 2.0 * step)
    if evaluate.differences:  # the rounding error of the value, divided by the step of the gradient's differences
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
    if uncertainty > _MAX_UNCERTAINTY * np.abs(eigenvalues).max():
        kind, escape = "degenerate", None
    elif falls and rises:
        kind = "saddle"
    elif np.any(np.abs(eigenvalues) <= uncertainty):
        kind = "degenerate"
    else:
        kind = "maximum" if falls else "minimum"
    if kind == "degenerate" and escape is None:
        escape, lower, higher = _probe_flat(evaluate, point, here, eigenvectors[:, np.abs(eigenvalues) <= uncertainty])
        if escape is not None:
            kind = "saddle" if rises or higher else "maximum" if lower else kind
    found = Stationary(kind, "", here.value, here.gradient, eigenvalues, eigenvectors, uncertainty, None)
    return _as_kind(kind, found, escape)


def _probe_flat(evaluate: Evaluator, point: Floats, here: Evaluation, flat: Floats) -> tuple[Floats | None, bool, bool]:
    """Search along directions of zero curvature, and combinations of them, for changes of higher order.

    A change that the gradient or rounding can explain does not count.

    Parameters
    ----------
    evaluate : Evaluator
    point : ndarray of shape (d,)
    here : Evaluation
        At the point.
    flat : ndarray of shape (d, k)
        The directions of zero curvature, in columns.

    Returns
    -------
    escape : ndarray of shape (d,) or None
        The direction of the largest decrease.
    falls, rises : bool
        Whether values fall along some direction, and whether they rise along some.
    """
    if not flat.size:
        return None, False, False
    mixtures = flat @ np.random.default_rng(0).standard_normal((flat.shape[1], 8))
    directions = np.hstack((flat, mixtures / np.linalg.norm(mixtures, axis=0))).T
    directions = np.concatenate((directions, -directions))
    changes = np.empty((len(directions), 2))
    for way, direction in zip(changes, directions, strict=True):
        for k, distance in enumerate(_PROBE_DISTANCES * max(1.0, largest(point))):
            change = evaluate(point + distance * direction).value - here.value
            explained = 2.0 * distance * abs(float(direction @ here.gradient)) + 1e3 * EPS * abs(here.value)
            way[k] = change if abs(change) > explained else 0.0
    near, far = changes.T
    falls, rises = (far < near) & (near < 0.0), (far > near) & (near > 0.0)
    escape = directions[np.argmin(np.where(falls, far, 0.0))] if falls.any() else None
    return escape, bool(falls.any()), bool(rises.any())


def _as_kind(kind: str, found: Stationary, escape: Floats | None) -> Stationary:
    """Return a classification with this kind, its sentence, and this direction of descent."""
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
