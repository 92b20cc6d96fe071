"""Losses: value and slope at one sample, compiled into the passes over many.

To add a loss, subclass `Loss` and give `fit` an instance; one that ships with fastgd stands in `LOSSES` by name. As
numba looks at the file of a kernel alone, ``_kernels/core.py`` names a checksum of this one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from fastgd._kernels.losses import exp_nonpositive, twice_artanh
from fastgd._utils.validation import check_number

REAL, LABELS = "real", "labels"
"""Kinds of targets: numbers, or labels of classes."""


class Loss:
    """A loss of one sample, and its parameters.

    A subclass is a subclass of a NamedTuple of positive parameters and of this class. It says by class attributes what
    kind of targets it takes, and gives value and slope at one sample as a function that numba compiles.

    Examples
    --------
    The quantile loss of the median, smoothed within ``width`` of 0:

    >>> from typing import NamedTuple
    >>> import fastgd, numpy as np
    >>> class Width(NamedTuple):
    ...     width: float = 0.1
    >>> class SmoothMedian(Width, fastgd.Loss):
    ...     curvature_bound = 10.0  # 1 / width
    ...
    ...     @staticmethod
    ...     def value_slope(loss, y, z):
    ...         residual = z - y
    ...         size = abs(residual)
    ...         near = size < loss.width
    ...         value = 0.5 * size * size / loss.width if near else size - 0.5 * loss.width
    ...         return value, residual / loss.width if near else (1.0 if residual > 0.0 else -1.0)
    >>> X = np.arange(100.0).reshape(-1, 1)
    >>> fastgd.fit(X, 2.0 * X[:, 0] + 1.0, loss=SmoothMedian()).coef.round(4).tolist()
    [2.0]
    """

    target: ClassVar[str] = REAL
    """`REAL`: z predicts y, in y's unit. `LABELS`: y is one of two classes, coded 0 and 1, and z is the log-odds."""
    multiclass: ClassVar[bool] = False
    """True: one target, and a linear predictor for each of several classes. False: each output has its own of both."""
    quadratic: ClassVar[bool] = False
    """Whether the loss is ``½ curvature_bound (y − z)²``, so that products of features from one pass determine the fit.
    """
    separable: ClassVar[bool] = False
    """Whether the loss of a sample falls for ever, and below ln 2, as its linear predictor grows to the right side."""
    curvature_bound: ClassVar[float]
    """The largest ∂²L/∂z² there is; descent scales its coordinates by it."""
    curvature: ClassVar[Any] = None
    """A static function ``curvature(loss, y, z)`` that gives ∂²L/∂z²; None: it is found by differences of slopes."""
    dual_excess: ClassVar[Any] = None
    """A static function ``dual_excess(loss, value, slope)`` that gives c(y, z), a bound of the convex conjugate L*:

        L*(s u) ≤ L*(u) − (1 − s) u z + (1 − s)²/s c   for u = ∂L/∂z and 0 < s ≤ 1.

    Duality gaps are the tighter for it; None: the bound with ``(1 − s) L`` in the last term's place serves any loss.
    """
    _asdict: Callable[[], dict[str, Any]]

    def gradient_scale(self, spread: float) -> float:
        """Return the unit that the gradient norm is measured in, for targets of this standard deviation."""
        return 1.0 if self.target is LABELS else spread

    @staticmethod
    def value_slope(loss: Any, y: Any, z: Any) -> Any:
        """Return the value L(y, z) and the slope ∂L/∂z at one sample with target y and linear predictor z.

        numba compiles it into the pass. Written without branches and calls (``max``, ``abs``, ``a if b else c`` are
        fine), it vectorises.
        """


class _NoParameters(NamedTuple):
    pass


class Squared(_NoParameters, Loss):
    """Linear regression: ``(y − z)²``."""

    quadratic = True
    curvature_bound = 2.0

    @staticmethod
    def value_slope(loss, y, z):  # noqa: ARG004
        """Return value and slope at one sample."""
        residual = z - y
        return residual * residual, 2.0 * residual

    @staticmethod
    def curvature(loss, y, z):  # noqa: ARG004
        """Return ∂²L/∂z² at one sample."""
        return 2.0

    @staticmethod
    def dual_excess(loss, value, slope):  # noqa: ARG004
        """Return ``(y − z)²``: with ``L*(u) = u y + ¼ u²`` the bound holds without ``1/s``."""
        return value


class Logistic(_NoParameters, Loss):
    """Logistic regression: ``−[y ln h(z) + (1 − y) ln(1 − h(z))]``, ``h(z) = 1/(1 + e^(−z))``, y in {0, 1}.

    Both cases are ``ln(1 + e^m)`` with ``m = z`` for y = 0 and ``m = −z`` for y = 1, computed without overflow or
    cancellation: ``max(m, 0) + ln(1 + e)`` with ``e = e^(−|m|)`` and ``ln(1 + e) = 2 artanh(e / (2 + e))``. Its
    quotient and the slope's share one division.
    """

    target = LABELS
    separable = True
    curvature_bound = 0.25

    @staticmethod
    def value_slope(loss, y, z):  # noqa: ARG004
        """Return value and slope at one sample."""
        sign = 1.0 - 2.0 * y
        m = sign * z
        e = exp_nonpositive(-abs(m))
        inverse = 1.0 / ((1.0 + e) * (2.0 + e))
        value = max(m, 0.0) + twice_artanh(e * (1.0 + e) * inverse)
        return value, sign * (1.0 if m >= 0.0 else e) * ((2.0 + e) * inverse)

    @staticmethod
    def curvature(loss, y, z):  # noqa: ARG004
        """Return ∂²L/∂z² at one sample."""
        e = exp_nonpositive(-abs(z))
        return e / ((1.0 + e) * (1.0 + e))

    @staticmethod
    def dual_excess(loss, value, slope):  # noqa: ARG004
        """Return half the odds against y: L* is ``|u| ln |u| + (1 − |u|) ln(1 − |u|)``."""
        against = abs(slope)
        return 0.5 * against / (1.0 - against)


class _Threshold(NamedTuple):
    delta: float = 1.35


class Huber(_Threshold, Loss):
    """Robust regression (Huber, 1964): ``(y − z)²`` up to delta away, beyond it ``delta (2 |y − z| − delta)``."""

    curvature_bound = 2.0

    @staticmethod
    def value_slope(loss, y, z):
        """Return value and slope at one sample."""
        residual = z - y
        clipped = min(max(residual, -loss.delta), loss.delta)
        return clipped * (2.0 * residual - clipped), 2.0 * clipped

    @staticmethod
    def curvature(loss, y, z):
        """Return ∂²L/∂z² at one sample."""
        return 2.0 if abs(z - y) <= loss.delta else 0.0

    @staticmethod
    def dual_excess(loss, value, slope):  # noqa: ARG004
        """Return ``¼ u²``: ``L*(u) = u y + ¼ u²`` for ``|u| ≤ 2 delta``."""
        return 0.25 * slope * slope

    def gradient_scale(self, spread: float) -> float:
        """Return delta at most: the standard deviation of wild targets says nothing about slopes."""
        return min(spread, self.delta)


class Softmax(_NoParameters, Loss):
    """Multinomial logistic regression: ``ln Σ_c e^(z_c) − z_y``, y in {0, 1, ...}.

    Each class has a linear predictor. Slopes are ``p_c − [y = c]`` and curvatures ``p_a ([a = b] − p_b)`` with the
    probabilities ``p = e^z / Σ e^z``.
    """

    target = LABELS
    multiclass = True
    separable = True
    curvature_bound = 0.5


LOSSES: dict[str, type[Loss]] = {"squared": Squared, "logistic": Logistic, "huber": Huber}  # logistic: two classes


def choose_loss(loss: str | Loss) -> Loss:
    """Return the loss of this name, or the loss itself with its parameters checked."""
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(f"loss={loss!r}; choose one of {', '.join(LOSSES)}, or give a Loss object")
        return LOSSES[loss]()
    if not isinstance(loss, Loss):
        raise TypeError(f"loss={loss!r}; a name or an instance of a fastgd.Loss is needed")
    if not loss.multiclass and type(loss).value_slope is Loss.value_slope:
        raise TypeError(f"loss={loss!r}: {type(loss).__name__} defines no value_slope(loss, y, z); see fastgd.Loss")
    for name, value in loss._asdict().items():
        check_number(f"loss: {name}", value, np.finfo(np.float64).tiny)
    return loss
