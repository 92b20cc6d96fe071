"""Closed forms of every loss, for tests by lists: a new loss is added here and gets them all."""

from typing import NamedTuple

import mpmath
import numpy as np


class Form(NamedTuple):
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
    "squared": Form(_exact_squared, _squared, (0.0, 1.0, -2.75)),
    "logistic": Form(_exact_logistic, _logistic, (0.0, 1.0)),
    "huber": Form(_exact_huber, _huber, (0.0, 1.0, -2.75)),
}
