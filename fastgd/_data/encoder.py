"""How chunks of raw data become samples in memory."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data.chunks import Chunk, Chunks, ahead, named
from fastgd._data.dataset import InMemory
from fastgd._data.schema import Feature
from fastgd._data.tables import as_features, packed
from fastgd._data.targets import MODERATE, coded, labels_of, numbers, some_weights
from fastgd.losses import Loss


@dataclass(frozen=True)
class Form:
    """How chunks become samples: what a survey finds out, None before.

    Attributes
    ----------
    loss : Loss
    categorical, drop_first
        As for `as_features`.
    features : tuple of Feature, or None
        The columns of tables. Levels are empty as long as they are not known: then each chunk's are its own.
    width : int, or None
        How many columns arrays have.
    outputs : int, or None
        How many targets y has, 0 if it is a vector.
    weighted : bool, or None
    classes : ndarray, or None
        Sorted labels. Without them, targets of a loss that classifies remain what they are.
    """

    loss: Loss
    categorical: Any
    drop_first: bool
    features: tuple[Feature, ...] | None = None
    width: int | None = None
    outputs: int | None = None
    weighted: bool | None = None
    classes: NDArray[Any] | None = None

    def of(self, chunk: Chunk) -> InMemory | None:
        """Convert a chunk, naming it if it can't be; None if it has no rows."""
        with named(chunk.name):
            if not len(chunk.y):
                return None
            if self.features is None:
                matrix = as_features(chunk.X, self.categorical, drop_first=self.drop_first)
            else:
                matrix = as_features(chunk.X, features=self.features)
            n, width = matrix.shape
            if self.features is not None and matrix.features is None:
                raise ValueError("X has no named columns, as chunks before have")
            if self.width is not None and matrix.features is None and width != self.width:
                raise ValueError(f"X has {width} features; chunks before have {self.width}")
            weight = None if chunk.weight is None else some_weights(chunk.weight, n)
            if weight is not None and weight.max() > MODERATE:
                raise ValueError(f"sample_weight is as large as {weight.max():g}; only ratios matter, so scale it down")
            if self.weighted is not None and self.weighted != (weight is not None):
                raise ValueError(f"there are {'no ' if weight is None else ''}weights, but not so in chunks before")
            return InMemory(packed(matrix), self._targets(chunk.y, n), weight)

    def _targets(self, y: Any, n: int) -> NDArray[Any]:
        if not self.loss.classifies:
            targets = numbers(y, n)
            outputs = targets.shape[1] if targets.ndim == 2 else 0
            if self.outputs is not None and self.outputs != outputs:
                raise ValueError(f"y has shape {targets.shape}, unlike that of chunks before")
            return targets
        return labels_of("y", y, n) if self.classes is None else coded(y, n, self.classes)

    def learned(self, part: InMemory) -> Form:
        """Give the form that all chunks have if one looks like this."""
        features = part.features
        return replace(
            self,
            features=None if features is None else tuple(each._replace(levels=_open(each)) for each in features),
            width=part.shape[1],
            outputs=part.y.shape[1] if part.y.ndim == 2 else 0,
            weighted=part.weight.size > 0,
        )


def _open(feature: Feature) -> tuple[str, ...] | None:
    return None if feature.levels is None else ()


def distinct_labels(labels: NDArray[Any]) -> NDArray[Any]:
    """Give the labels that occur, sorted."""
    if labels.dtype.kind != "U":
        low, high = labels.min(), labels.max()
        if bool(np.all((labels == low) | (labels == high))):
            return np.unique(np.array([low, high], labels.dtype))
    return np.unique(labels)


def read(chunks: Chunks, form: Form) -> Generator[InMemory]:
    """Read a stream from its start, a few chunks ahead: one thread reads, and one converts what it has read."""
    return ahead(_converted(chunks, form))


def _converted(chunks: Chunks, form: Form) -> Generator[InMemory]:
    with closing(ahead(iter(chunks))) as given:
        for chunk in given:
            if part := form.of(chunk):
                yield part
