"""The columns of a table: names, levels, and the coefficients they have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Feature(NamedTuple):
    """A column by its name; a categorical one with its levels, of which the first may be the reference."""

    name: str
    levels: tuple[str, ...] | None = None
    reference: bool = True
    """Whether the first level has no coefficient."""

    @property
    def width(self) -> int:
        """How many coefficients this column has."""
        return 1 if self.levels is None else len(self.levels) - self.reference

    def coef_names(self) -> list[str]:
        """Name the coefficients this column has: ``distance``, or ``carrier[AA]``, ``carrier[UA]``, ..."""
        if self.levels is None:
            return [self.name]
        return [f"{self.name}[{level}]" for level in self.levels[self.reference :]]


def coef_names(features: Sequence[Feature] | None, d: int) -> list[str]:
    """Name the coefficients: by the table's columns and levels, or x0, x1, ... for an array."""
    if features is None:
        return [f"x{j}" for j in range(d)]
    return [name for feature in features for name in feature.coef_names()]
