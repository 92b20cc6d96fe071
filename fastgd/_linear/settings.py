"""What a fit was asked for, and what was decided, as one record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

TOL = 1e-4
"""The default of ``tol`` of fits with a smooth penalty, in standard errors."""
GAP_TOL = 1e-7
"""The default of ``tol`` of other fits, as a share of the loss without coefficients."""
COVARIANCES = ("classical", "HC0", "HC1", "HC2", "HC3", "cluster", "penalised")
"""The covariances of coefficients that there are."""
WEIGHTS = ("precision", "frequency")
"""What weights can mean for a covariance."""


def covariance_name(text: str) -> str:
    """Return the name of a covariance as `COVARIANCES` has it: HC0 to HC3 may be written in any case."""
    return text.upper() if text.upper() in ("HC0", "HC1", "HC2", "HC3") else text


@dataclass(frozen=True, eq=False)
class FitSettings(Mapping[str, Any]):
    """The arguments of a fit, and what "auto" chose; reads as a mapping, too, as JSON has it.

    Attributes
    ----------
    loss : dict
        Its name and its parameters.
    l1, l2, penalty_factor, positive, intercept, standardize, tol, max_iter, time_limit
        As for `fastgd.fit`. ``tol`` and the limits are None where samples came once, for which they mean nothing.
    solver : str
        The solver that was taken.
    solver_reason : str
        Why this one.
    learning_rate : float or "auto"
    weighted : bool
        Whether there were weights.
    copied : str or None
        Why there had to be a copy of X, if there was one.
    cached : str or None
        Where chunks were kept, if they were.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> settings = fastgd.fit(np.arange(6.0).reshape(-1, 1), np.arange(6.0)).settings
    >>> settings.solver, settings["tol"]
    ('newton', 0.0001)
    """

    loss: dict[str, Any]
    l2: float
    intercept: bool
    standardize: bool
    solver: str
    solver_reason: str
    learning_rate: float | str
    tol: float | None = None
    max_iter: int | None = None
    time_limit: float | None = None
    weighted: bool = False
    copied: str | None = None
    cached: str | None = None
    l1: float = 0.0
    penalty_factor: list[float] | None = None
    positive: bool = False

    def __getitem__(self, name: str) -> Any:
        """Return a setting by its name."""
        if name not in self.names():
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of settings."""
        return iter(self.names())

    def __len__(self) -> int:
        """Return the number of settings."""
        return len(self.names())

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all settings."""
        return tuple(field.name for field in fields(cls))
