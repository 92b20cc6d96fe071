"""The columns of a table: names, levels, the coefficients they have, and which of them a fit takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastgd._utils.validation import check_flag, memory_bytes

MISSING = "missing"
"""The level of rows without a value."""
FORMATS = ("parquet", "csv", "arrow", "npy", "libsvm")
"""What files can be, whatever their names are."""


def check_missing(missing: Any) -> None:
    """Raise ValueError if ``missing`` is none of its values."""
    if not isinstance(missing, str) or missing not in ("error", "drop", "impute"):
        raise ValueError(f"missing={missing!r}; choose 'error', 'drop' or 'impute'")


def check_categorical(categorical: Any) -> None:
    """Raise TypeError if ``categorical`` is neither "auto" nor a list of names."""
    named = () if isinstance(categorical, str) and categorical == "auto" else categorical
    if not isinstance(named, (list, tuple)) or not all(isinstance(name, str) for name in named):
        raise TypeError(f"categorical={categorical!r}; 'auto' or a list of column names is needed")


class Feature(NamedTuple):
    """A column by its name.

    Attributes
    ----------
    name : str
    levels : tuple of str, or None
        Of a categorical column.
    reference : bool
        Whether the first level is the reference, without a coefficient.
    missing : bool
        Whether rows without a value have a coefficient of their own: of a category its last level, `MISSING`.
    fill : float, or None
        What a missing number counts as, the column's mean in the fit; None if missing numbers are refused.
    """

    name: str
    levels: tuple[str, ...] | None = None
    reference: bool = True
    missing: bool = False
    fill: float | None = None

    @property
    def width(self) -> int:
        """How many coefficients this column has."""
        return 1 + self.missing if self.levels is None else max(0, len(self.levels) - self.reference)

    def coef_names(self) -> list[str]:
        """Return the names of its coefficients: ``distance``, ``distance[missing]``, or ``carrier[AA]``, ..."""
        if self.levels is None:
            return [self.name, f"{self.name}[{MISSING}]"][: self.width]
        return [f"{self.name}[{level}]" for level in self.levels[self.reference :]]


def coef_names(features: Sequence[Feature] | None, d: int, chosen: Iterable[int] | None = None) -> list[str]:
    """Return names of d coefficients, or some: by the table's columns and levels, or x0, x1, ... for an array."""
    if features is None:
        return [f"x{j}" for j in (range(d) if chosen is None else chosen)]
    names = [name for feature in features for name in feature.coef_names()]
    return names if chosen is None else [names[j] for j in chosen]


@dataclass(frozen=True)
class DataSpec:
    """How a caller wants X and y to be read: arguments of `fastgd.fit` of the same names.

    ``weights`` is None if only their ratios matter, as without a covariance.
    """

    target: str | None = None
    features: Sequence[str] | None = None
    sample_weight: Any = None
    categorical: str | Sequence[str] = "auto"
    drop_first: bool = True
    memory_limit: int | str | None = None
    cache: str = "auto"
    missing: str = "error"
    format: str | None = None
    clusters: Any = None
    weights: str | None = None

    def __post_init__(self) -> None:
        """Raise TypeError or ValueError if an argument is wrong, whatever X is."""
        check_flag("drop_first", self.drop_first)
        check_missing(self.missing)
        if self.format not in (None, *FORMATS):
            raise ValueError(f"format={self.format!r}; choose one of {', '.join(FORMATS)}")
        check_categorical(self.categorical)

    @property
    def categories(self) -> str | Sequence[str]:
        """The features that are categories: "auto", or their names."""
        if isinstance(self.categorical, str):
            return self.categorical
        return [name for name in self.categorical if name != self.target]

    @property
    def labels_declared(self) -> bool:
        """Whether the target is named as a category, so that its labels are text, and meant as they are."""
        return self.target is not None and self.target in self.categorical and self.categorical != "auto"

    @property
    def memory_bytes(self) -> int:
        """The memory limit in bytes."""
        return memory_bytes(self.memory_limit)


class ColumnChoice(NamedTuple):
    """The columns of a table that a fit takes: features, the target, the weights, and the clusters of rows."""

    features: list[str]
    target: str | None
    weight: str | None
    clusters: str | None = None

    @property
    def all(self) -> list[str]:
        """Features, then the others if there are any."""
        return [*dict.fromkeys([*self.features, *self.beside])]

    @property
    def beside(self) -> list[str]:
        """All but features, if there are any."""
        return [*dict.fromkeys(name for name in (self.target, self.weight, self.clusters) if name is not None)]


def choose_columns(
    names: Sequence[str],
    target: str | None,
    features: Sequence[str] | None,
    weight: str | None,
    owner: str = "X",
    clusters: str | None = None,
) -> ColumnChoice:
    """Return the columns of a table that a fit takes.

    Parameters
    ----------
    names : sequence of str
        All columns of the table.
    target, weight : str or None
    features : sequence of str or None
        None for all but target, weight and clusters. Named, the clusters may be a feature, too.
    owner : str
        How messages name the table.
    clusters : str or None

    Raises
    ------
    ValueError, TypeError
        Naming a column that is not there, or that is feature and target at once.
    """
    known = {*names}
    for what, name in (("target", target), ("sample_weight", weight), ("clusters", clusters)):
        if name is not None and name not in known:
            raise ValueError(f"{what} {name}: {owner} has no such column; it has {', '.join(map(str, names))}")
    beside = ColumnChoice([], target, weight, clusters).beside
    if features is None:
        chosen = ColumnChoice([name for name in names if name not in beside], target, weight, clusters)
        if beside and not chosen.features:
            raise ValueError(f"{owner}: has no column beside {', '.join(beside)}, so there is nothing to predict from")
        return chosen
    if isinstance(features, str) or not all(isinstance(name, str) for name in features) or not features:
        raise TypeError(f"features={features!r}; a list of column names is needed")
    if missing := [name for name in features if name not in known]:
        raise ValueError(f"{owner}: has no column {', '.join(missing)}; it has {', '.join(map(str, names))}")
    for what, name in (("target", target), ("weight", weight)):
        if name is not None and name in features:
            raise ValueError(f"features: {name} is the {what}")
    return ColumnChoice([*dict.fromkeys(features)], target, weight, clusters)
