"""Penalties: what is added to the mean loss, as a function of the coefficients.

A penalty acts on coefficients in the user's units; intercepts are never penalised. To add one, subclass `Penalty`: a
smooth penalty gives its gradient, any other its proximal operator, and solvers say which of them they can use.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fastgd._typing import Floats
from fastgd._utils.validation import check_number

__all__ = ["L2", "ElasticNet", "Penalty"]


class Penalty(ABC):
    """A convex function of coefficients β of shape (k, d), one row for each output, with its minimum at 0."""

    smooth: ClassVar[bool]
    """Whether it has a gradient everywhere. If not, a solver needs `threshold` and `curvature`, or `prox`."""
    positive: bool = False
    """Whether coefficients must not be below 0."""

    @property
    def threshold(self) -> float | Floats:
        """What multiplies ``|β_j|`` in it: one number, or one for each column."""
        return 0.0

    @property
    @abstractmethod
    def curvature(self) -> float | Floats:
        """The second derivative of its smooth part with respect to each coefficient, a number if all have the same."""

    @property
    @abstractmethod
    def is_zero(self) -> bool:
        """Whether it is 0 everywhere, so that the data alone determine the coefficients."""

    @abstractmethod
    def strengths(self) -> dict[str, float | bool]:
        """Return its numbers by the names that arguments of `fastgd.fit` have."""

    @abstractmethod
    def value(self, coef: Floats) -> float:
        """Return the penalty of coefficients (k, d)."""

    @abstractmethod
    def gradient(self, coef: Floats) -> Floats:
        """Return its gradient (k, d); of a penalty that is not smooth, that of its smooth part."""

    @abstractmethod
    def prox(self, coef: Floats, step: float) -> Floats:
        """Return the minimum over β (k, d) of ``½ ‖β − coef‖² + step · penalty(β)``."""

    def subgradient(self, coef: Floats, gradient: Floats) -> Floats:  # noqa: ARG002
        """Return the smallest subgradient (k, d), given the gradient of all that is smooth at coefficients (k, d)."""
        return gradient


@dataclass(frozen=True)
class L2(Penalty):
    """The ridge penalty ``½ l2 ‖β‖²``.

    Parameters
    ----------
    l2 : float
        At least 0, in units of loss per squared unit of a coefficient.

    Examples
    --------
    >>> import numpy as np
    >>> penalty = L2(0.5)
    >>> round(penalty.value(np.array([[2.0, 0.0]])), 9), penalty.gradient(np.array([[2.0, 0.0]])).tolist()
    (1.0, [[1.0, 0.0]])
    """

    l2: float
    smooth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raise TypeError or ValueError if ``l2`` is not a finite number of at least 0."""
        check_number("l2", self.l2, 0.0)
        object.__setattr__(self, "l2", float(self.l2))

    @property
    def curvature(self) -> float:
        """``l2``."""
        return self.l2

    @property
    def is_zero(self) -> bool:
        """Whether ``l2`` is 0."""
        return self.l2 == 0.0

    def strengths(self) -> dict[str, float | bool]:
        """Return ``l2``."""
        return {"l2": self.l2}

    def value(self, coef: Floats) -> float:
        """Return ``½ l2 ‖β‖²``."""
        return _half_squares(self.l2, coef)

    def gradient(self, coef: Floats) -> Floats:
        """Return ``l2 β``."""
        return self.l2 * coef

    def prox(self, coef: Floats, step: float) -> Floats:
        """Return ``coef / (1 + step l2)``."""
        return coef / (1.0 + step * self.l2)


@dataclass(frozen=True, eq=False)
class ElasticNet(Penalty):
    """The elastic net ``Σ_j w_j (l1 |β_j| + ½ l2 β_j²)`` (Zou and Hastie, 2005); with ``l2 = 0`` the lasso.

    Parameters
    ----------
    l1, l2 : float
        At least 0: in units of loss per unit of a coefficient, and per squared unit.
    factor : ndarray of shape (d,), optional
        The factors w, at least 0; None is all ones. A coefficient of factor 0 is not penalised.
    positive : bool
        Whether coefficients must not be below 0.

    Examples
    --------
    >>> import numpy as np
    >>> penalty = ElasticNet(1.0, 0.5)
    >>> penalty.value(np.array([[2.0, 0.0]])), penalty.prox(np.array([[3.0, 0.5]]), 1.0).round(6).tolist()
    (3.0, [[1.333333, 0.0]])
    """

    l1: float
    l2: float
    factor: Floats | None = None
    positive: bool = False
    smooth: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raise TypeError or ValueError if ``l1`` or ``l2`` is not a finite number of at least 0."""
        for name in ("l1", "l2"):
            check_number(name, getattr(self, name), 0.0)
            object.__setattr__(self, name, float(getattr(self, name)))

    @property
    def curvature(self) -> float | Floats:
        """``w l2``."""
        return self.l2 if self.factor is None else self.l2 * self.factor

    @property
    def threshold(self) -> float | Floats:
        """``w l1``."""
        return self.l1 if self.factor is None else self.l1 * self.factor

    @property
    def is_zero(self) -> bool:
        """Whether it is 0 for all coefficients that are allowed."""
        return self.l1 == 0.0 and self.l2 == 0.0

    def strengths(self) -> dict[str, float | bool]:
        """Return ``l1``, ``l2`` and ``positive``."""
        return {"l1": self.l1, "l2": self.l2, "positive": self.positive}

    def value(self, coef: Floats) -> float:
        """Return ``Σ_j w_j (l1 |β_j| + ½ l2 β_j²)``, infinity for coefficients that are not allowed."""
        if self.positive and (coef < 0.0).any():
            return float(np.inf)
        return float(np.sum(self.threshold * np.abs(coef))) + _half_squares(self.curvature, coef)

    def gradient(self, coef: Floats) -> Floats:
        """Return ``w l2 β``, the gradient of the smooth part."""
        return self.curvature * coef

    def prox(self, coef: Floats, step: float) -> Floats:
        """Return ``sign(coef) max(|coef| − step w l1, 0) / (1 + step w l2)``."""
        size = np.maximum((coef if self.positive else np.abs(coef)) - step * self.threshold, 0.0)
        return np.copysign(size, coef) / (1.0 + step * self.curvature) + 0.0

    def subgradient(self, coef: Floats, gradient: Floats) -> Floats:
        """Return the smallest subgradient (k, d), given the gradient of all that is smooth at coefficients (k, d)."""
        at_zero = np.sign(gradient) * np.maximum(np.abs(gradient) - self.threshold, 0.0)
        if self.positive:
            at_zero = np.minimum(gradient + self.threshold, 0.0)
        return np.where(coef != 0.0, gradient + np.sign(coef) * self.threshold, at_zero)


def choose_penalty(l1: float, l2: float, factor: object = None, positive: bool = False) -> Penalty:
    """Return the penalty of these strengths: smooth if it can be."""
    check_number("l1", l1, 0.0)
    return ElasticNet(l1, l2, None, positive) if l1 or positive or factor is not None else L2(l2)


def _half_squares(curvature: float | Floats, coef: Floats) -> float:
    """Return ``½ Σ curvature β²``, without BLAS, whose threads would slow down the passes that follow."""
    scaled = np.sqrt(curvature) * coef  # so that no square overflows that the penalty does not
    return 0.5 * float(np.einsum("kj,kj", scaled, scaled))
