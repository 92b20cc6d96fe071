"""What cannot be meant: text that is numbers but for a few values, and categories with a level for nearly every row.

Both come of everyday files: a mark for missing values, a second header, an identifier. Taken as a category, each number
would get a coefficient of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import isfinite
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FEW = 10
"""Different texts among numbers up to which they may be mistakes."""
FEW_SHARE = 0.1
"""A share, of the rows or of the different values, up to which texts among numbers are mistakes."""
RARE = 0.01
"""A share of the rows up to which any texts among numbers are mistakes, also among labels, where some are classes."""
MANY_LEVELS = 10
"""With fewer levels, a category may have a level for each row."""
PER_ROW = 0.5
"""Levels per row beyond which a category tells rows apart."""
_MARK = re.compile(r"[^\w]*|n[./]?a\.?|nan|null|none|nil|#\w*[/!]?\w*[!?]?", re.IGNORECASE)
"""Texts that stand for missing values whatever their share: punctuation alone, and the usual words."""
_NEAR = 4096
"""Rows among which a level is looked for first."""
_CODE = re.compile(r"\s*[+-]?0\d")
Place = Callable[[str, str, int], str]


def in_row(name: str, level: str, row: int) -> str:  # noqa: ARG001
    """Return how messages name the place of a value in memory."""
    return f"row {row}"


class Occurrences(NamedTuple):
    """Where the levels of a column of text, or labels, occur.

    Attributes
    ----------
    numbers, others : int
        Rows whose text is a number, and rows with any other text.
    first : dict
        The first row of each level that is no number, as long as these are few.
    """

    numbers: int = 0
    others: int = 0
    first: Mapping[str, int] = MappingProxyType({})

    @classmethod
    def of(cls, levels: Sequence[str], codes: NDArray[Any]) -> Occurrences:
        """Return the occurrences of levels in rows, given the number of each row's level, negative for none."""
        places = {level: number for number, level in enumerate(levels)}
        others = [places[level] for level in no_numbers(levels)]
        first = {levels[number]: _first_row(codes, number) for number in others[: FEW + 1]}
        rows = int(np.count_nonzero(codes >= 0))
        if len(others) in (0, len(levels)):
            return cls(0, rows, first) if others else cls(rows, 0)
        counts = np.bincount(codes[codes >= 0], minlength=len(levels))
        of_others = int(counts[others].sum())
        return cls(rows - of_others, of_others, first)

    def at(self, rows: NDArray[np.intp] | None) -> Occurrences:
        """Return the same with the rows' own numbers, if some were left out before."""
        if rows is None:
            return self
        return self._replace(first={level: int(rows[row]) for level, row in self.first.items() if row < len(rows)})

    def merge(self, other: Occurrences, rows: int) -> Occurrences:
        """Return the occurrences in these rows, of which there are so many, followed by others."""
        first = dict(self.first)
        for level, row in other.first.items() if len(first) <= FEW else ():
            first.setdefault(level, row + rows)
        return Occurrences(self.numbers + other.numbers, self.others + other.others, first)


def _first_row(codes: NDArray[Any], number: int) -> int:
    """Return the first row with a code, which is in most columns among the first."""
    start, rows = 0, _NEAR
    while start < len(codes):
        found = codes[start : start + rows] == number
        if found.any():
            return start + int(np.argmax(found))
        start, rows = start + rows, 8 * rows
    return len(codes)


def check_category(name: str, levels: Sequence[str], found: Occurrences, place: Place = in_row) -> None:
    """Raise ValueError for a column of text that is hardly meant as a category, and say what to do.

    Parameters
    ----------
    name : str
    levels : sequence of str
    found : Occurrences
    place : callable
        Maps column, level and row to how messages name that place.
    """
    rows, others = found.numbers + found.others, no_numbers(levels)
    numbers, few = len(levels) - len(others), len(others) <= max(FEW, FEW_SHARE * len(levels))
    rare = found.others <= FEW_SHARE * rows or (numbers > 1 and len(others) <= FEW_SHARE * len(levels))
    marks = numbers > 1 and all(map(_MARK.fullmatch, others))
    if numbers and others and ((few and rare) or marks or found.others <= RARE * rows):
        raise ValueError(
            f"X: column {name} has numbers, but {_first(name, found, place)}; correct that, or say what stands for "
            f"missing values (na_values= of files), or take the column as a category: categorical=['{name}', ...]"
        )
    commas = [*filter(has_comma, levels)]
    if commas and not others:
        raise ValueError(
            f"X: column {name} has numbers with commas, such as {commas[0]!r}; if they are decimal points, give "
            "decimal=',' to fastgd.io.Files, otherwise take them out"
        )
    if len(levels) >= MANY_LEVELS and len(levels) > PER_ROW * rows:
        raise ValueError(
            f"X: column {name} is text with {len(levels):,} different values in {rows:,} rows, so it tells rows apart "
            f"rather than groups of them; leave it out, or take it all the same: categorical=['{name}', ...]"
        )


def check_labels(name: str, labels: Sequence[str], found: Occurrences, place: Place = in_row) -> None:
    """Raise ValueError for labels that are numbers but for a few texts, such as a header in the middle of a file."""
    others = [label for label in labels if not is_number(label)]
    rare = found.others <= RARE * (found.numbers + found.others)
    marks = all(map(_MARK.fullmatch, others))
    if len(labels) - len(others) > 1 and 0 < len(others) <= FEW and (rare or marks):
        raise ValueError(
            f"{name} has numbers, but {_first(name, found, place)}; correct that, or leave such rows out, or if it is "
            "a class, rename the labels so that none is a number"
        )


def _first(name: str, found: Occurrences, place: Place) -> str:
    level = min(found.first, key=lambda other: found.first[other])
    more = f" ({found.others:,} such rows)" if found.others > 1 else ""
    return f"{level!r} in {place(name, level, found.first[level])}{more}"


def is_number(text: str) -> bool:
    """Return whether a text is a finite number, and not a code with leading zeros."""
    with suppress(ValueError):
        return isfinite(float(text)) and not _CODE.match(text)
    return False


def has_comma(text: str) -> bool:
    """Return whether a text would be a number if its comma were a point."""
    return "," in text and is_number(text.replace(",", ".", 1))


def no_numbers(levels: Sequence[str]) -> list[str]:
    """Return the levels that are no numbers; those with commas are numbers if they are more than those without."""
    plain, commas = sum(map(is_number, levels)), sum(map(has_comma, levels))
    return [level for level in levels if not (is_number(level) or (commas > plain and has_comma(level)))]
