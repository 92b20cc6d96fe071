"""How chunks of raw data become samples in memory."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.chunks import Chunk, Chunks, named, prefetch
from fastgd._data.columns import check_same_index, column_labels, is_array_like, stored_index, target_names
from fastgd._data.dataset import Dataset, InMemory, OpenedDataset
from fastgd._data.design import Design
from fastgd._data.missing import complete_rows, count_values
from fastgd._data.schema import DataSpec, Feature
from fastgd._data.tables import Table, as_features, pack_columns
from fastgd._data.targets import (
    MAX_WEIGHT,
    check_frequencies,
    check_weights,
    encode_labels,
    groups_of,
    labels_of,
    numbers,
)
from fastgd._optim.base import Need
from fastgd._typing import Floats
from fastgd._utils.session import Session
from fastgd.losses import LABELS, Loss


class Encoded(NamedTuple):
    """The samples of a chunk, None if it has no rows, and what was found in it on the way.

    Attributes
    ----------
    part : InMemory or None
    dropped : int
        How many rows were left out.
    rows : ndarray of int, or None
        Those that were not, if some were.
    counts : ndarray of shape (columns, 3), or None
        As `count_values` has them, if missing values are to be filled in.
    """

    part: InMemory | None
    dropped: int = 0
    rows: NDArray[np.intp] | None = None
    counts: Floats | None = None


@dataclass(frozen=True)
class Encoder:
    """How chunks become samples. What only a pass over all of them can tell is None before it.

    Attributes
    ----------
    loss : Loss
    spec : DataSpec
        Says which columns are categories.
    features : tuple of Feature, or None
        The columns of tables. Levels are empty as long as they are not known: then each chunk's are its own.
    width : int, or None
        How many columns arrays have.
    targets : int, or None
        How many targets y has, 0 if it is a vector.
    target_names : tuple of str
        The names of the targets; empty if they have none, or these are not known yet.
    weighted : bool, or None
        Whether there are weights.
    text_clusters : bool, or None
        Whether clusters are text, and not numbers; None if there are none, or nothing is known yet.
    classes : ndarray, or None
        Sorted labels. As long as they are not known, labels stay what they are.
    finished : bool
        Whether a pass over all chunks has told the levels, the classes, and what stands for missing values.
    """

    loss: Loss
    spec: DataSpec
    features: tuple[Feature, ...] | None = None
    width: int | None = None
    targets: int | None = None
    target_names: tuple[str, ...] = ()
    weighted: bool | None = None
    text_clusters: bool | None = None
    classes: NDArray[Any] | None = None
    finished: bool = False

    @property
    def fills(self) -> bool:
        """Whether missing values are to be filled in, but it is not known yet with what."""
        return self.spec.missing == "impute" and not self.finished

    @property
    def all_numbers(self) -> bool:
        """Whether no column is a category."""
        return all(feature.levels is None for feature in self.features or ())

    def encode(self, chunk: Chunk) -> Encoded:
        """Return the samples of a chunk; errors name the chunk."""
        with named(chunk.name):
            if not len(chunk.y):
                return Encoded(None)
            self._check_target_names(chunk.y)
            missing, design = self.spec.missing, self._design(chunk)
            width, y, weight, groups, rows, dropped = design.shape[1], chunk.y, chunk.weight, chunk.groups, None, 0
            if self.features is not None and design.features is None:
                raise ValueError("X has no named columns, as chunks before have")
            if self.width is not None and design.features is None and width != self.width:
                raise ValueError(f"X has {width} features; chunks before have {self.width}")
            if missing == "drop":
                complete = complete_rows(design, y, weight, groups, levels_known=self.finished)
                design, y, weight, groups, rows, dropped = complete
                if not design.shape[0]:
                    return Encoded(None, dropped)
            n = design.shape[0]
            weight = None if weight is None else check_weights(weight, n)
            if weight is not None and self.spec.weights == "frequency":
                check_frequencies(weight)
            if weight is not None and weight.max() > MAX_WEIGHT:
                raise ValueError(f"sample_weight is as large as {weight.max():g}; only ratios matter, so scale it down")
            if self.weighted is not None and self.weighted != (weight is not None):
                raise ValueError(f"there are {'no ' if weight is None else ''}weights, but not so in chunks before")
            counts = None
            if self.fills and isinstance(design, Table):
                counts = count_values(design, np.empty(0) if weight is None else weight)
            design = design if counts is not None else pack_columns(design)
            groups = None if groups is None else groups_of(groups, n)
            if groups is not None and self.text_clusters not in (None, _is_text(groups)):
                here, before = ("text", "numbers") if _is_text(groups) else ("numbers", "text")
                raise ValueError(f"clusters are {here}, but {before} in chunks before")
            return Encoded(InMemory(design, self._targets(y, n), weight, groups=groups), dropped, rows, counts)

    def _design(self, chunk: Chunk) -> Design:
        """Return the features of a chunk, whose columns and index are looked at in the first pass."""
        if not self.finished:
            check_same_index(chunk.X, y=chunk.y, sample_weight=chunk.weight, clusters=chunk.groups)
            self._check_no_more(chunk.X)
        missing, spec = self.spec.missing, self.spec
        known = missing == "impute" and self.finished  # features say what stands for missing values
        elsewhere = missing == "drop" and self.finished  # levels may occur in rows alone that are left out
        return as_features(
            chunk.X,
            spec.categories,
            drop_first=bool(spec.drop_first),
            features=self.features,
            unseen="zero" if elsewhere else "error",
            missing="error" if known else missing,
        )

    def _check_no_more(self, X: Any) -> None:
        """Raise ValueError for a table's columns that chunks before lack, which would be dropped."""
        if self.features is None or is_array_like(X):
            return
        known = stored_index(X) | {feature.name for feature in self.features}
        if more := [name for name in map(str, column_labels(X)) if name not in known]:
            raise ValueError(f"X has a column {', '.join(more)}, which chunks before lack; all need the same columns")

    def _targets(self, y: Any, n: int) -> NDArray[Any]:
        if self.loss.target is LABELS:
            return labels_of("y", y, n) if self.classes is None else encode_labels(y, n, self.classes)
        targets = numbers(y, n)
        columns = targets.shape[1] if targets.ndim == 2 else 0
        if self.targets is not None and self.targets != columns:
            raise ValueError(f"y has shape {targets.shape}, unlike that of chunks before")
        return targets

    def _check_target_names(self, y: Any) -> None:
        names = target_names(y) if self.target_names else ()
        if names and names != self.target_names:
            raise ValueError(f"y has the columns {', '.join(names)}; chunks before have {', '.join(self.target_names)}")

    def implied_by(self, part: InMemory) -> Encoder:
        """Return the encoder that this first chunk implies for all others."""
        features = part.features
        return replace(
            self,
            features=None if features is None else tuple(each._replace(levels=_unknown(each)) for each in features),
            width=part.shape[1],
            targets=part.y.shape[1] if part.y.ndim == 2 else 0,
            weighted=part.weight.size > 0,
            text_clusters=None if part.groups is None else _is_text(part.groups),
        )

    def opened(self, dataset: Dataset, cached: str | None = None, dropped: int = 0) -> OpenedDataset:
        """Return samples that this finished encoder reads, with what it knows of them."""
        targets, weighted = self.targets or 0, bool(self.weighted)
        names = self.target_names if targets else ()
        return OpenedDataset(dataset, self.loss, self.classes, targets, weighted, cached, dropped, names)

    def read(self, chunks: Chunks) -> Generator[Encoded]:
        """Yield the samples of all chunks, read ahead: one thread reads, and one converts what it has read."""
        return prefetch(self._converted(chunks))

    def _converted(self, chunks: Chunks) -> Generator[Encoded]:
        with closing(prefetch(iter(chunks))) as raw:
            for chunk in raw:
                yield self.encode(chunk)


def _is_text(values: NDArray[Any]) -> bool:
    return values.dtype.kind == "U"


def _unknown(feature: Feature) -> tuple[str, ...] | None:
    return None if feature.levels is None else ()


class OpenRequest(NamedTuple):
    """What a fit wants from the data it is given.

    Attributes
    ----------
    spec : DataSpec
    loss : Loss
    session : Session
    needs : frozenset of Need
        What the solver needs of a data set.
    skip_profile : int
        Coefficients up to which the statistics of one pass determine the fit, so that chunks that are all numbers need
        no pass before it.
    """

    spec: DataSpec
    loss: Loss
    session: Session
    needs: frozenset[Need] = frozenset()
    skip_profile: int = 0

    @property
    def encoder(self) -> Encoder:
        """How chunks are read as long as nothing is known of them."""
        return Encoder(self.loss, self.spec)

    def can_skip_profile(self, encoder: Encoder) -> bool:
        """Return whether a fit needs no pass that profiles the samples, given what their first chunk implies."""
        few = encoder.all_numbers and encoder.width is not None and encoder.width < self.skip_profile
        return few and self.spec.missing == "error"
