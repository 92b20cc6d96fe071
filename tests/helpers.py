"""What several test files share: closed forms of losses, and short ways to objectives and descents."""

from dataclasses import replace
from typing import NamedTuple

import mpmath
import numpy as np
from internals import Callback, LinearObjective, ModelSpec, Session, Stopping, largest, run_loop

from fastgd.penalties import L2


class Closed(NamedTuple):
    """Value and slope at (y, z) in mpmath for one sample and in NumPy for arrays, and targets to try."""

    exact: object
    arrays: object
    targets: tuple


def _exact_squared(y, z):
    return (mpmath.mpf(y) - z) ** 2, 2 * (mpmath.mpf(z) - y)


def _exact_logistic(y, z):
    sign = 1 - 2 * mpmath.mpf(y)
    e = mpmath.exp(sign * z)
    return mpmath.log1p(e), sign * e / (1 + e)


def _squared(y, z):
    return (y - z) ** 2, 2 * (z - y)


def _logistic(y, z):
    m = (1 - 2 * y) * z
    e = np.exp(-abs(m))
    return np.maximum(m, 0) + np.log1p(e), (1 - 2 * y) * np.where(m >= 0, 1, e) / (1 + e)


def _exact_huber(y, z, delta=1.35):
    residual = mpmath.mpf(z) - y
    if abs(residual) <= delta:
        return residual**2, 2 * residual
    return delta * (2 * abs(residual) - delta), 2 * delta * mpmath.sign(residual)


def _huber(y, z, delta=1.35):
    residual = z - y
    inside = np.abs(residual) <= delta
    value = np.where(inside, residual**2, delta * (2 * np.abs(residual) - delta))
    return value, 2 * np.where(inside, residual, delta * np.sign(residual))


FORMS = {
    "squared": Closed(_exact_squared, _squared, (0.0, 1.0, -2.75)),
    "logistic": Closed(_exact_logistic, _logistic, (0.0, 1.0)),
    "huber": Closed(_exact_huber, _huber, (0.0, 1.0, -2.75)),
}


def make_objective(dataset, loss, l2, moments, intercept, standardize, n_threads=None, outputs=1):
    """Return the objective of a model over a data set."""
    return LinearObjective(dataset, ModelSpec(loss, L2(l2), intercept, standardize), moments, n_threads, outputs)


def descend(
    objective,
    start,
    solver,
    *,
    tol,
    max_iter,
    time_limit=None,
    gradient_norm=largest,
    callback=None,
    estimate=None,
    began=None,
    check_interrupt=None,
    separated_below=-np.inf,
):
    """Run the loop with its criteria and observers spelled out."""
    stopping = Stopping(tol, max_iter, time_limit, lambda _, gradient: gradient_norm(gradient), separated_below)
    session = Session(observers=[] if callback is None else [Callback(callback)], has_callback=callback is not None)
    if began is not None:
        session.began = began
    if check_interrupt is not None:
        session.handler.check_interrupt = check_interrupt
    return run_loop(objective, start, solver, stopping, session, estimate)


def with_l2(objective, l2):
    """Return the objective with another penalty."""
    return replace(objective, spec=replace(objective.spec, penalty=L2(l2)))
