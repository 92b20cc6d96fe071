"""Samples that stand out, picked in one reading wherever they live."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._typing import Floats
from fastgd.sources import InMemory, Source


class Picked(NamedTuple):
    """What is wanted of some samples, (k, ...), and by what they stand out, (kinds, k): the larger, the more."""

    keys: Floats
    rows: Floats


def pick(source: Source, of_part: Callable[[InMemory], Picked], most: int) -> Picked:
    """Give the samples of all parts whose keys, of any kind, are among the ``most`` largest, in order."""
    found: Picked = source.reduce(of_part, partial(_of_all, most))
    return found


def leading(keys: Floats, most: int) -> NDArray[np.intp]:
    """Say, in order, which samples those are."""
    if keys.shape[1] <= most:
        return np.arange(keys.shape[1])
    return np.unique(np.argpartition(-keys, most, axis=1)[:, :most])


def _of_all(most: int, several: list[Picked]) -> Picked:
    keys, rows = (np.concatenate(each, axis) for each, axis in zip(zip(*several, strict=True), (1, 0), strict=True))
    kept = leading(keys, most)
    return Picked(keys[:, kept], rows[kept])
