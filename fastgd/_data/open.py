"""What a caller gives as samples, opened: the table of openers says who takes what.

To read samples from elsewhere, add an `Opener` to `OPENERS`. The first that accepts X and y opens them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._data.chunked import open_chunks
from fastgd._data.chunks import IN_CHUNKS, Chunks, Tuples
from fastgd._data.columns import (
    check_same_index,
    column_labels,
    is_array_like,
    is_collection,
    stored_index,
    table_columns,
    target_names,
)
from fastgd._data.dataset import SAMPLE_SHARE, InMemory, OpenedDataset, check_not_empty, is_mapped
from fastgd._data.encoder import OpenRequest
from fastgd._data.missing import complete_rows, count_values, filled
from fastgd._data.readers.paths import LIBSVM
from fastgd._data.schema import DataSpec, choose_columns
from fastgd._data.survey import check_categories, occurrences
from fastgd._data.tables import Table, as_features
from fastgd._data.targets import check_frequencies, check_weighted_classes, groups_of, targets, weights


class Opener(NamedTuple):
    """One kind of samples: whether X and y are of this kind, and how they are opened."""

    accepts: Callable[[Any, Any, DataSpec], bool]
    open: Callable[[Any, Any, OpenRequest], OpenedDataset]


def open_dataset(X: Any, y: Any, request: OpenRequest) -> OpenedDataset:
    """Open what a caller gives as X and y; a TypeError or ValueError says what is wrong with it."""
    if not paths_of(X):
        _check_absent("for files", format=request.spec.format)
    opener = next(opener for opener in OPENERS if opener.accepts(X, y, request.spec))
    opened = opener.open(X, y, request)
    opened.dataset.require(request.needs)
    return opened


def _open_collections(X: Any, y: Any, request: OpenRequest) -> OpenedDataset:
    _check_absent("for data that are streamed; persist collections to keep them", cache=_unusual_cache(request))
    from fastgd._data.dask import open_partitions

    return open_partitions(X, y, request)


def _open_npy(X: Any, y: Any, request: OpenRequest) -> OpenedDataset:
    if not is_path(X):
        raise ValueError(f"X: {len(X)} .npy files; one at a time is needed, or chunks of several that are mapped")
    return _open_memory(map_array(X), map_array(y) if is_path(y) else y, request)


def _open_libsvm(X: Any, y: Any, request: OpenRequest) -> OpenedDataset:
    _check_columns_absent("in the file", y, request)
    from fastgd._data.readers.libsvm import LibSVM

    return open_chunks(LibSVM(paths_of(X)), request)


def _open_files(X: Any, y: Any, request: OpenRequest) -> OpenedDataset:
    spec = request.spec
    if y is not None:
        raise ValueError("y: targets are in the files, too, but for .npy; name their column by target=")
    if spec.target is None:
        raise ValueError("target: the name of the column to predict is needed")
    if not (spec.sample_weight is None or isinstance(spec.sample_weight, str)):
        raise ValueError("sample_weight: weights are in the files, too; give the name of their column")
    from fastgd._data.readers.arrow import Files

    if not (spec.clusters is None or isinstance(spec.clusters, str)):
        raise ValueError("clusters: they are in the files, too; give the name of their column")
    weight, clusters = spec.sample_weight, spec.clusters
    files = Files(X, spec.target, features=spec.features, weight=weight, clusters=clusters, format=spec.format)
    return open_chunks(files, request)


def _open_chunks(X: Any, y: Any, request: OpenRequest) -> OpenedDataset:
    _check_columns_absent("in X", y, request)
    return open_chunks(X, request)


def _open_tuples(X: Any, y: Any, request: OpenRequest) -> OpenedDataset:
    if callable(X) and not hasattr(X, "__iter__"):
        raise TypeError(
            f"X is a {type(X).__name__}; a list of chunks is needed, or an object that can be iterated anew"
        )
    if hasattr(X, "shape") or isinstance(X, str) or not hasattr(X, "__iter__"):
        raise TypeError("y is missing: targets of data in memory are given beside X")
    _check_absent("for tables and files", target=request.spec.target, features=request.spec.features)
    clustered = request.spec.clusters is IN_CHUNKS
    if not (clustered or request.spec.clusters is None):
        raise ValueError(
            "clusters: chunks contain them, as (X, y, weight, clusters), where weight may be None; give "
            "covariance='cluster' in place of clusters="
        )
    _check_columns_absent("in the chunks of X", y, request, clusters_too=not clustered)
    return open_chunks(Tuples(X, clustered=clustered), request)


def _open_memory(X: Any, y: Any, request: OpenRequest) -> OpenedDataset:
    spec, given, groups, only = request.spec, request.spec.sample_weight, request.spec.clusters, None
    mapped = is_mapped(X)
    _check_absent("for data that are streamed", cache=_unusual_cache(request))
    if not mapped:
        _check_absent("for data that are streamed or mapped", memory_limit=spec.memory_limit)
    if y is None:
        y, given, groups, only = _chosen_columns(X, spec)
    else:
        if isinstance(given, str) and not is_npy([given]):
            raise ValueError(f"sample_weight={given!r}: names of columns go with target=; give the weights beside y")
        if isinstance(groups, str):
            raise ValueError(f"clusters={groups!r}: names of columns go with target=; give the clusters beside y")
        _check_absent("for tables and files that have it as a column, beside y", target=spec.target)
        _check_absent("for tables and files that have the target, too", features=spec.features)
    given = map_array(given) if is_path(given) and is_npy([given]) else given
    check_same_index(X, y=y, sample_weight=given, clusters=groups)
    design = as_features(X, spec.categories, drop_first=bool(spec.drop_first), missing=spec.missing, only=only)
    rows, dropped, names = None, 0, target_names(y)
    if spec.missing == "drop":
        design, y, given, groups, rows, dropped = complete_rows(design, y, given, groups)
    n = design.shape[0]
    groups = None if groups is None else groups_of(groups, n)
    if not n or spec.missing != "impute":
        check_not_empty(design, dropped)  # before y, which is as long
    chosen, labels, classes = targets(y, n, request.loss, declared=spec.labels_declared, rows=rows)
    weight = weights(given, n, ratios=spec.weights is None)
    if weight is not None and spec.weights == "frequency":
        check_frequencies(weight)
    check_weighted_classes(labels, weight, classes)
    if spec.categories == "auto":
        check_categories(design.features or (), occurrences(design, rows))
    if isinstance(design, Table) and spec.missing == "impute":
        counts = count_values(design, np.empty(0) if weight is None else weight)
        design = design.recoded(filled(design.features, counts))
    sample_rows = int(spec.memory_bytes / SAMPLE_SHARE // design.row_bytes) if mapped else None
    check = request.session.check_interrupt
    dataset = InMemory(design, labels, weight, check_interrupt=check, sample_rows=sample_rows, groups=groups)
    several = labels.shape[1] if labels.ndim == 2 else 0
    return OpenedDataset(dataset, chosen, classes, several, weight is not None, None, dropped, names if several else ())


def _chosen_columns(X: Any, spec: DataSpec) -> tuple[Any, Any, Any, list[str]]:
    """Return targets, weights, clusters and the names of features, of a table that holds everything."""
    if spec.target is None:
        raise TypeError("y is missing: give targets beside X, or the name of their column by target=")
    if is_array_like(X):
        raise ValueError(f"target={spec.target!r}: X has no named columns; give targets as y")
    if not hasattr(type(X), "__getitem__") or "Lazy" in type(X).__name__:
        table_columns(X)  # which says what to do with lazy tables
    own, weight, clusters = {str(name): name for name in column_labels(X)}, spec.sample_weight, spec.clusters
    named, grouped = (each if isinstance(each, str) else None for each in (weight, clusters))
    index = stored_index(X) - {spec.target, named, grouped}
    names = [name for name in own if spec.features is not None or name not in index]
    chosen = choose_columns(names, spec.target, spec.features, named, clusters=grouped)
    weight, clusters = weight if named is None else X[own[named]], clusters if grouped is None else X[own[grouped]]
    return X[own[spec.target]], weight, clusters, chosen.features


OPENERS = (
    Opener(lambda X, _, __: is_collection(X), _open_collections),
    Opener(lambda X, _, spec: is_npy(paths_of(X), spec.format), _open_npy),
    Opener(lambda X, _, spec: is_libsvm(paths_of(X), spec.format), _open_libsvm),
    Opener(lambda X, _, __: bool(paths_of(X)), _open_files),
    Opener(lambda X, _, __: isinstance(X, Chunks), _open_chunks),
    Opener(lambda X, y, _: y is None and is_array_like(X), _open_tuples),
    Opener(lambda _, __, ___: True, _open_memory),
)


def where_clusters_are(X: Any, y: Any, clusters: Any, covariance: Any) -> Any:
    """Return the clusters that a caller gave, those that chunks name, or that chunks contain them; otherwise None."""
    if clusters is not None:
        return clusters
    if isinstance(X, Chunks):
        return X.clusters
    of_tuples = y is None and hasattr(X, "__iter__") and not hasattr(X, "shape") and is_array_like(X)
    asked = isinstance(covariance, str) and covariance == "cluster"
    return IN_CHUNKS if asked and of_tuples and not (paths_of(X) or is_path(X) or is_collection(X)) else None


def paths_of(X: Any) -> Sequence[Any]:
    """Return X as a list of paths, empty if it is something else."""
    if is_path(X):
        return [X]
    return X if isinstance(X, (list, tuple)) and all(map(is_path, X)) else []


def is_path(X: Any) -> bool:
    """Whether this is a path, and not data."""
    return isinstance(X, (str, os.PathLike))


def is_npy(paths: Sequence[Any], format_name: str | None = None) -> bool:
    """Whether these are files of arrays, by their format or, if that is not given, their names."""
    by_name = format_name is None and all(str(path).lower().endswith(".npy") for path in paths)
    return bool(paths) and (format_name == "npy" or by_name)


def is_libsvm(paths: Sequence[Any], format_name: str | None = None) -> bool:
    """Whether these are files in libsvm's format, by their format or, if that is not given, their names."""
    by_name = format_name is None and all(str(path).lower().endswith(LIBSVM) for path in paths)
    return bool(paths) and (format_name == "libsvm" or by_name)


def map_array(path: Any) -> NDArray[Any]:
    """Return the array of a .npy file, mapped into memory."""
    try:
        return np.asarray(np.load(path, mmap_mode="r"))
    except (ValueError, EOFError):  # which speak of pickles
        raise ValueError(f"{path}: is not, or not all of, an array of numbers as numpy.save writes it") from None


def _check_absent(where: str, **options: Any) -> None:
    """Raise ValueError for an option that means nothing here, and say where it belongs."""
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"{name}={value!r}: that is {where}; leave it out")


def _check_columns_absent(where: str, y: Any, request: OpenRequest, *, clusters_too: bool = True) -> None:
    spec = request.spec
    given = {"target": spec.target, "features": spec.features, "sample_weight": spec.sample_weight}
    _check_absent(where, y=y, **given)
    if clusters_too and spec.clusters is not None:
        raise ValueError("clusters: these samples have no column for them; give files with named columns, or Dask's")


def _unusual_cache(request: OpenRequest) -> str | None:
    return None if request.spec.cache == "auto" else request.spec.cache
