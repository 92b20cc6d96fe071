"""`learning_rates`: a descent with each of several learning rates, and a verdict on each rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastgd._linear.fit import fit
from fastgd._linear.result import FitResult
from fastgd._optim.finite_differences import evaluator
from fastgd._optim.gradient_descent import estimate_lipschitz
from fastgd._optim.messages import without_warning
from fastgd._optim.minimize import CLASSIFIED, MinimizeResult, minimize
from fastgd._optim.result import History, Result, Status
from fastgd._optim.stationary import classified
from fastgd._typing import Floats
from fastgd._utils.validation import check_number, generator

SHARES = (0.02, 0.3, 1.0, 1.85, 2.2)
"""The default rates as multiples of 1/L. On a bowl they are too small, good, good, oscillating and diverging."""
_OVERSHOOT = 0.5
"""A step on a quadratic overshoots the minimum along its line if actual/predicted decrease is below this."""
_OSCILLATING_SHARE = 0.5
"""The share of overshooting steps from which a descent is oscillating."""
_OSCILLATING_STEPS = 10
"""The number of overshooting steps from which a descent is oscillating."""
_TOO_SMALL = 0.2
"""A descent that does not converge with a rate below this share of the limit has too small a rate."""


@dataclass(frozen=True, eq=False)
class LearningRates:
    """The result of `learning_rates`: a sweep over learning rates. ``print`` shows it as a table.

    Attributes
    ----------
    rates : ndarray of shape (k,)
        The learning rates, ascending.
    verdicts : tuple of str
        A verdict on each rate. ``"diverging"``: the status is DIVERGED or UNBOUNDED. ``"oscillating"``: half of the
        steps, or ten, went past the minimum along their line. ``"too small"``: the descent did not converge, and the
        rate is below a fifth of the limit. ``"good"``: none of these.
    results : tuple of Result
        The result of each descent.
    limit : float
        2 / L, the largest stable rate. L is the largest curvature: of a function at the end of the lowest descent, of a
        regression where the curvature is largest.
    objective : callable or None
        The function, None for a regression. In two dimensions the results have paths.
    """

    rates: Floats
    verdicts: tuple[str, ...]
    results: tuple[Result, ...]
    limit: float
    objective: Any

    def __str__(self) -> str:
        """Return a table with a line for each rate, and the limit below it."""
        lines = [
            f"{'learning rate':>13}  {'of limit':>8}  {'verdict':<11}  {'iterations':>10}  {'loss':>12}  gradient norm"
        ]
        for rate, verdict, result in zip(self.rates, self.verdicts, self.results, strict=True):
            history = result.history
            lines.append(
                f"{rate:>13.4g}  {rate / self.limit:>8.0%}  {verdict:<11}  {result.n_iter:>10}  "
                f"{history.loss[-1]:>12.6g}  {history.gradient_norm[-1]:.1e}"
            )
        return "\n".join(
            [
                *lines,
                f"Estimated limit 2/L: {self.limit:.4g}; the lowest end holds no ball with a larger rate.",
            ]
        )

    __repr__ = __str__


def learning_rates(
    objective: Any,
    y: ArrayLike | None = None,
    rates: Sequence[float] | None = None,
    *,
    start: ArrayLike | None = None,
    max_iter: int = 100,
    **options: Any,
) -> LearningRates:
    """Return gradient descents with several learning rates, and a verdict on each rate.

    Each descent is ``x ← x − γ ∇f(x)`` with a fixed rate γ (``solver="gd"``). It is stable for γ < 2 / L, where L is
    the largest curvature.

    Parameters
    ----------
    objective : callable, Surface, or array-like of shape (n, d)
        A function as for `minimize`, or with ``y`` the samples X of a regression as for `fit`.
    y : array-like of shape (n,), optional
        The targets of a regression, as for `fit`.
    rates : sequence of float, optional
        The learning rates, positive. None is 2 %, 30 %, 100 %, 185 % and 220 % of 1/L.
    start : array-like of shape (d,), optional
        The start of each descent. None is the start of a surface, and zero for a regression. A function needs one.
    max_iter : int, default 100
        The maximum number of steps of each descent.
    **options
        Further arguments of `minimize`, or with ``y`` of `fit`, such as ``tol``. Not ``solver``, ``learning_rate`` and
        ``starts``.

    Returns
    -------
    LearningRates
        It has ``rates``, ``verdicts``, ``results`` and the estimated ``limit`` 2 / L.

    Raises
    ------
    ValueError
        If ``rates`` is empty or not positive, or as for `minimize` and `fit`.
    TypeError
        If an argument is missing, or as for `minimize` and `fit`.
    KeyboardInterrupt
        On Ctrl-C.

    Examples
    --------
    >>> import fastgd
    >>> sweep = fastgd.learning_rates(fastgd.surfaces.elongated_bowl, rates=[0.001, 0.1, 0.19, 0.21])
    >>> sweep.verdicts, round(sweep.limit, 6)
    (('too small', 'good', 'oscillating', 'diverging'), 0.2)
    """
    if {"solver", "learning_rate", "starts"} & set(options):
        raise TypeError("learning_rates chooses solver, learning_rate and starts by itself")
    if y is not None and callable(objective):
        raise TypeError("y is for samples X; of a function, give rates=")
    if np.ndim(rates if rates is not None else ()) != 1:
        raise TypeError(f"rates={rates!r}; a sequence of numbers is needed")
    if y is None and not callable(objective):
        raise TypeError("y is missing: X alone says nothing of what to fit; or give a function of a point")
    if y is None and start is None and (start := getattr(objective, "start", None)) is None:
        raise TypeError("start is missing: a function has none of its own, as a surface has")
    for rate in () if rates is None else rates:
        check_number("rates", rate, float(np.finfo(np.float64).tiny))
    if rates is not None and not len(rates):
        raise ValueError("rates is empty; at least one is needed")

    plane = np.asarray(start).shape == (2,)

    def descend(rate: float | str, steps: int = max_iter) -> Any:
        given = {"solver": "gd", "learning_rate": rate, "start": start, "max_iter": steps}
        if y is not None:
            result: FitResult | MinimizeResult = without_warning(fit)(objective, y, **{"tol": 1e-6, **given, **options})
        else:
            result = without_warning(minimize)(objective, **{"record_path": plane, **given, **options})
        if result.status is Status.INTERRUPTED:
            raise KeyboardInterrupt  # an incomplete table would look like a complete one
        return result

    if y is not None:
        limit = 2.0 * float(descend("auto", 1).history.step[1])
    elif rates is None:
        whole = descend("auto")
        limit = _limit(objective, whole.x if whole.converged else np.asarray(start, dtype=np.float64))
    swept = np.sort(
        np.array(
            np.multiply(SHARES, 0.5 * limit if np.isfinite(limit) else 1.0) if rates is None else rates,
            dtype=np.float64,
        )
    )
    results = tuple(descend(float(rate)) for rate in swept)
    if y is None:
        held = [result for result in results if result.status not in (Status.DIVERGED, Status.UNBOUNDED)] or results[:1]
        limit = _limit(objective, min(held, key=lambda result: result.loss).x)
    verdicts = tuple(_verdict(result, rate / limit) for result, rate in zip(results, swept, strict=True))
    return LearningRates(swept, verdicts, results, limit, objective if y is None else None)


def _limit(objective: Any, point: Floats) -> float:
    """Return 2 / L for the largest absolute curvature L at a point (d,); infinity if it is 0."""
    evaluate, here = evaluator(objective, point)
    if point.size > CLASSIFIED:
        return 2.0 / estimate_lipschitz(evaluate, point, generator(None), 50)
    largest = float(np.abs(classified(evaluate, point, here).eigenvalues).max())
    return 2.0 / largest if largest > 0.0 else np.inf


def overshoots(history: History) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return for each step of gradient descent whether it went past the minimum along its line.

    On a quadratic the ratio of actual to predicted decrease is ``1 − γ λ / 2``, where γ is the rate and λ the curvature
    along the step. The step goes past the minimum if γ λ > 1, that is if the ratio is below a half. Steps whose
    predicted decrease is not above the rounding error are left out.

    Parameters
    ----------
    history : History
        Of ``solver="gd"``.

    Returns
    -------
    ndarray of bool
    """
    rounding = 1e3 * np.finfo(np.float64).eps * np.abs(history.loss)
    with np.errstate(invalid="ignore"):
        clear = history.predicted_decrease > rounding
        past: np.ndarray[Any, np.dtype[np.bool_]] = (
            history.actual_decrease[clear] < _OVERSHOOT * history.predicted_decrease[clear]
        )
    return past


def _verdict(result: Result, share: float) -> str:
    """Return the verdict on a rate, given the result of its descent and its share of the limit."""
    if result.status in (Status.DIVERGED, Status.UNBOUNDED):
        return "diverging"
    past = overshoots(result.history)
    if past.sum() >= min(_OSCILLATING_STEPS, max(1.0, _OSCILLATING_SHARE * past.size)):
        return "oscillating"
    return "too small" if result.status is Status.MAX_ITER and share < _TOO_SMALL else "good"
