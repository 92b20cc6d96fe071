"""Losses: value and slope at one sample, compiled into the passes over many.

As numba looks at the file of a kernel alone, `kernels` names a checksum of this one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fastgd._kernels.losses import exp_nonpositive, twice_artanh
from fastgd._utils.validation import check_number


def choose_loss(loss: str | Loss) -> Loss:
    """Give the loss of this name, or check the parameters of a loss."""
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(f"loss={loss!r}; choose one of {', '.join(LOSSES)}, or give a Loss object")
        return LOSSES[loss]()
    if not isinstance(loss, Loss):
        raise TypeError(f"loss={loss!r}; a name or an instance of a fastgd.Loss is needed")
    for name, value in loss._asdict().items():
        check_number(f"loss: {name}", value, np.finfo(np.float64).tiny)
    return loss


class Loss:
    """A loss and its parameters; a subclass of a NamedTuple of positive parameters and of this, in `LOSSES` by name.

    ``at(loss, y, z)`` is compiled by numba and gives the value L(y, z) and the slope ∂L/∂z at one sample with target
    y and margin z. Written without branches and calls (``max``, ``abs``, ``a if b else c`` are fine), it vectorises.
    """

    classifies: ClassVar[bool] = False
    """True: y is one of two classes, coded 0 and 1, and z is the log-odds. False: z predicts y, in y's unit."""
    joint: ClassVar[bool] = False
    """True: one target and a margin for each of several outputs. False: each output has its own of both, alike."""
    curvature_bound: ClassVar[float]
    """The largest ∂²L/∂z² there is; descent scales its coordinates by it."""
    _asdict: Callable[[], dict[str, Any]]

    def unit(self, spread: float) -> float:
        """Give the unit that slopes are judged in, for targets of this spread."""
        return 1.0 if self.classifies else spread

    @staticmethod
    def at(loss: Any, y: Any, z: Any) -> Any:
        """Value and slope at one sample."""


class _NoParameters(NamedTuple):
    pass


class Squared(_NoParameters, Loss):
    """Linear regression: ``(y − z)²``."""

    curvature_bound = 2.0

    @staticmethod
    def at(loss, y, z):  # noqa: ARG004
        """Value and slope at one sample."""
        residual = z - y
        return residual * residual, 2.0 * residual


class Logistic(_NoParameters, Loss):
    """Logistic regression: ``−[y ln h(z) + (1 − y) ln(1 − h(z))]``, ``h(z) = 1/(1 + e^(−z))``, y in {0, 1}.

    Both cases are ``ln(1 + e^m)`` with ``m = z`` for y = 0 and ``m = −z`` for y = 1, computed without overflow or
    cancellation: ``max(m, 0) + ln(1 + e)`` with ``e = e^(−|m|)`` and ``ln(1 + e) = 2 artanh(e / (2 + e))``. Its
    quotient and the slope's share one division.
    """

    classifies = True
    curvature_bound = 0.25

    @staticmethod
    def at(loss, y, z):  # noqa: ARG004
        """Value and slope at one sample."""
        sign = 1.0 - 2.0 * y
        m = sign * z
        e = exp_nonpositive(-abs(m))
        inverse = 1.0 / ((1.0 + e) * (2.0 + e))
        value = max(m, 0.0) + twice_artanh(e * (1.0 + e) * inverse)
        return value, sign * (1.0 if m >= 0.0 else e) * ((2.0 + e) * inverse)


class _Threshold(NamedTuple):
    delta: float = 1.35


class Huber(_Threshold, Loss):
    """Robust regression (Huber, 1964): ``(y − z)²`` up to delta away, beyond it ``delta (2 |y − z| − delta)``."""

    curvature_bound = 2.0

    @staticmethod
    def at(loss, y, z):
        """Value and slope at one sample."""
        residual = z - y
        clipped = min(max(residual, -loss.delta), loss.delta)
        return clipped * (2.0 * residual - clipped), 2.0 * clipped

    def unit(self, spread: float) -> float:
        """Give delta at most: the spread of wild targets says nothing about slopes."""
        return min(spread, self.delta)


class Softmax(_NoParameters, Loss):
    """Multinomial logistic regression: ``ln Σ_c e^(z_c) − z_y``, y in {0, 1, ...} and a margin for each class.

    Slopes are ``p_c − [y = c]`` and curvatures ``p_a ([a = b] − p_b)`` with the probabilities ``p = e^z / Σ e^z``.
    """

    classifies = True
    joint = True
    curvature_bound = 0.5


LOSSES: dict[str, type[Loss]] = {"squared": Squared, "logistic": Logistic, "huber": Huber}  # logistic: two classes
