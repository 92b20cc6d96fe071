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

__all__ = ["L2", "Penalty"]


class Penalty(ABC):
    """A convex function of coefficients β of shape (k, d), one row for each output, with its minimum at 0."""

    smooth: ClassVar[bool]
    """Whether it has a gradient everywhere. If not, a solver needs `prox`."""

    @property
    @abstractmethod
    def curvature(self) -> float:
        """The largest second derivative with respect to one coefficient, 0 for a penalty that is not smooth."""

    @property
    @abstractmethod
    def is_zero(self) -> bool:
        """Whether it is 0 everywhere, so that the data alone determine the coefficients."""

    @abstractmethod
    def value(self, coef: Floats) -> float:
        """Return the penalty of coefficients (k, d)."""

    @abstractmethod
    def gradient(self, coef: Floats) -> Floats:
        """Return its gradient (k, d); of a penalty that is not smooth, that of its smooth part."""

    @abstractmethod
    def prox(self, coef: Floats, step: float) -> Floats:
        """Return the minimum over β (k, d) of ``½ ‖β − coef‖² + step · penalty(β)``."""


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

    def value(self, coef: Floats) -> float:
        """Return ``½ l2 ‖β‖²``, without BLAS, whose threads would slow down the passes that follow."""
        scaled = self.l2**0.5 * coef  # so that no square overflows that the penalty does not
        return 0.5 * float(np.einsum("kj,kj", scaled, scaled))

    def gradient(self, coef: Floats) -> Floats:
        """Return ``l2 β``."""
        return self.l2 * coef

    def prox(self, coef: Floats, step: float) -> Floats:
        """Return ``coef / (1 + step l2)``."""
        return coef / (1.0 + step * self.l2)
