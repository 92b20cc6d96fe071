"""What a learning rate does: one small descent for each of several rates."""

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

SHARES = (0.02, 0.3, 1.0, 1.85, 2.2)  # of 1/L: too small, good, good, oscillating, diverging on a bowl
_OVERSHOOT = 0.5  # actual/predicted decrease below which a step on a quadratic went past the minimum along its line
_OFTEN, _MANY = 0.5, 10  # the share, or the number, of such steps that makes a descent oscillating
_SMALL = 0.2  # of the limit: a descent that has not converged would do better with a larger rate


@dataclass(frozen=True, eq=False)
class LearningRates:
    """A sweep over learning rates; printed, it is a table.

    Attributes
    ----------
    rates : ndarray of shape (k,)
        Ascending.
    verdicts : tuple of str
        For each rate ``"diverging"``; ``"oscillating"``: half of the steps, or ten, went past the minimum along their
        line, see `overshoots`; ``"too small"``: not converged by max_iter, and below a fifth of the limit; or
        ``"good"``, as good as one rate can be if the descent has still not converged.
    results : tuple of Result
    limit : float
        2 / L, the largest rate that is stable, L being the largest curvature where the lowest descent ended, elsewhere
        it may be another (of a regression: where curvatures are largest).
    objective : callable or None
        What was descended on, None for a regression. In two dimensions the results have their paths.
    """

    rates: Floats
    verdicts: tuple[str, ...]
    results: tuple[Result, ...]
    limit: float
    objective: Any

    def __str__(self) -> str:
        """Lay it out as a table."""
        lines = [f"{'learning rate':>13}  {'of limit':>8}  {'verdict':<11}  {'iterations':>10}  {'loss':>12}  slope"]
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
    """Descend once with each learning rate, by ``solver="gd"``, and say what became of it.

    Parameters
    ----------
    objective : callable, surface or array-like of shape (n, d)
        A function as for `minimize`, or with ``y`` the samples X of a regression.
    y : array-like, optional
        The targets, as for `fit`.
    rates : sequence of float, optional
        None is 2 %, 30 %, 100 %, 185 % and 220 % of 1/L.
    start : array-like, optional
        Where to begin; needed for a function that is no surface.
    max_iter : int
        Steps of each descent.
    **options
        For `minimize`, or with ``y`` for `fit`.

    Returns
    -------
    LearningRates

    Raises
    ------
    ValueError, TypeError
        On bad input, as `minimize` and `fit`.

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
            raise KeyboardInterrupt  # a table of some of the rates would look like that of all
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
    evaluate, here = evaluator(objective, point)
    if point.size > CLASSIFIED:
        return 2.0 / estimate_lipschitz(evaluate, point, generator(None), 50)
    largest = float(np.abs(classified(evaluate, point, here).eigenvalues).max())
    return 2.0 / largest if largest > 0.0 else np.inf


def overshoots(history: History) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return for each step of gradient descent whether it went past the minimum along its line.

    On a quadratic the actual decrease is ``1 − γ λ / 2`` of the predicted one, λ being the curvature along the step:
    less than half of it came if γ λ > 1. Steps whose decrease is lost in rounding are left out.
    """
    rounding = 1e3 * np.finfo(np.float64).eps * np.abs(history.loss)
    with np.errstate(invalid="ignore"):
        clear = history.predicted_decrease > rounding
        past: np.ndarray[Any, np.dtype[np.bool_]] = (
            history.actual_decrease[clear] < _OVERSHOOT * history.predicted_decrease[clear]
        )
    return past


def _verdict(result: Result, share: float) -> str:
    if result.status in (Status.DIVERGED, Status.UNBOUNDED):
        return "diverging"
    past = overshoots(result.history)
    if past.sum() >= min(_MANY, max(1.0, _OFTEN * past.size)):
        return "oscillating"
    return "too small" if result.status is Status.MAX_ITER and share < _SMALL else "good"
