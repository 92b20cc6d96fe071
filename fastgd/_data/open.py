"""What a caller gives as samples, opened: data in memory or mapped into it, files, and chunks."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data.chunked import open_stream
from fastgd._data.chunks import Chunks, Tuples
from fastgd._data.columns import is_collection, is_frame
from fastgd._data.dataset import SAMPLE_SHARE, Given, InMemory, check_not_empty, is_mapped
from fastgd._data.encoder import Form
from fastgd._data.spill import Scratch
from fastgd._data.tables import as_features
from fastgd._data.targets import check_weighted_classes, targets, weights
from fastgd._utils.validation import memory_bytes
from fastgd.losses import Loss

LIBSVM = (".svm", ".libsvm", ".svmlight")


def open_samples(
    X: Any,
    y: Any,
    *,
    target: str | None,
    features: Sequence[str] | None,
    sample_weight: Any,
    loss: Loss,
    categorical: str | Sequence[str],
    drop_first: bool,
    memory_limit: int | str | None,
    cache: str,
    unsurveyed: int,
    rng: np.random.Generator,
    scratch: Scratch,
    progress: bool,
    look: Callable[[], object],
) -> Given:
    """Open what a caller gives, and get to know it; parameters as for `fit` and `open_stream`."""
    form = Form(loss, categorical, drop_first)
    if is_collection(X):
        _refuse(
            "for data that are streamed; persist collections to keep them", cache=None if cache == "auto" else cache
        )
        from fastgd._data.dask import open_partitions

        return open_partitions(
            X,
            y,
            target=target,
            features=features,
            sample_weight=sample_weight,
            form=form,
            memory_limit=memory_limit,
            unsurveyed=unsurveyed,
            look=look,
        )
    X, y, chunks = _opened(X, y, target, features, sample_weight)
    if chunks is None:
        if is_path(sample_weight) and is_npy([sample_weight]):
            sample_weight = map_array(sample_weight)
        return _in_memory(X, y, sample_weight, loss, categorical, drop_first, memory_limit, cache, look)
    return open_stream(
        chunks,
        form,
        memory_bytes(memory_limit),
        rng,
        scratch,
        cache=cache,
        unsurveyed=unsurveyed,
        progress=progress,
        look=look,
    )


def _opened(
    X: Any, y: Any, target: str | None, features: Sequence[str] | None, sample_weight: Any
) -> tuple[Any, Any, Chunks | None]:
    """Give X and y as they are in memory, or what reads them in chunks."""
    paths = [X] if is_path(X) else X if isinstance(X, (list, tuple)) and X and all(map(is_path, X)) else []
    if paths and is_npy(paths):
        if not is_path(X):
            raise ValueError(f"X: {len(X)} .npy files; one at a time is needed, or chunks of several that are mapped")
        X, y = map_array(X), map_array(y) if is_path(y) else y
    elif paths and is_libsvm(paths):
        _refuse("in the file", y=y, target=target, features=features, sample_weight=sample_weight)
        from fastgd._data.readers.libsvm import LibSVM

        return None, None, LibSVM(paths)
    elif paths:
        if y is not None:
            raise ValueError("y: targets are in the files, too, but for .npy; name their column by target=")
        if target is None:
            raise ValueError("target: the name of the column to predict is needed")
        if not (sample_weight is None or isinstance(sample_weight, str)):
            raise ValueError("sample_weight: weights are in the files, too; give the name of their column")
        from fastgd._data.readers.arrow import Files

        return None, None, Files(X, target, features=features, weight=sample_weight)
    if isinstance(X, Chunks):
        _refuse("in X", y=y, target=target, features=features, sample_weight=sample_weight)
        return None, None, X
    _refuse("for files", target=target, features=features)
    if y is not None:
        return X, y, None
    if callable(X) and not hasattr(X, "__iter__"):
        raise TypeError(
            f"X is a {type(X).__name__}; a list of chunks is needed, or an object that can be iterated anew"
        )
    if hasattr(X, "shape") or isinstance(X, (dict, str)) or is_frame(X) or not hasattr(X, "__iter__"):
        raise TypeError("y is missing: targets of data in memory are given beside X")
    _refuse("in the chunks of X", sample_weight=sample_weight)
    return None, None, Tuples(X)


def is_npy(paths: Sequence[Any]) -> bool:
    """Tell arrays in files from tables, by their names."""
    return all(str(path).endswith(".npy") for path in paths)


def is_libsvm(paths: Sequence[Any]) -> bool:
    """Tell files in libsvm's format from others, by their names."""
    return all(str(path).endswith(LIBSVM) for path in paths)


def map_array(path: Any) -> NDArray[Any]:
    """Map the array of a .npy file into memory."""
    try:
        return np.asarray(np.load(path, mmap_mode="r"))
    except (ValueError, EOFError):  # which speak of pickles
        raise ValueError(f"{path}: is not, or not all of, an array of numbers as numpy.save writes it") from None


def _refuse(where: str, **options: Any) -> None:
    """Refuse options that mean nothing here."""
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"{name}={value!r}: that is {where}; leave it out")


def _in_memory(
    X: Any,
    y: Any,
    sample_weight: Any,
    loss: Loss,
    categorical: Any,
    drop_first: bool,
    memory_limit: Any,
    cache: Any,
    look: Callable[[], object],
) -> Given:
    """Look at data in memory, or mapped into it."""
    mapped = is_mapped(X)
    _refuse("for data that are streamed", cache=None if cache == "auto" else cache)
    if not mapped:
        _refuse("for data that are streamed or mapped", memory_limit=memory_limit)
    matrix = as_features(X, categorical, drop_first=drop_first)
    check_not_empty(matrix)  # before y, which is as long
    n = matrix.shape[0]
    chosen, labels, classes = targets(y, n, loss)
    weight = weights(sample_weight, n)
    check_weighted_classes(labels, weight, classes)
    most = int(memory_bytes(memory_limit) / SAMPLE_SHARE // matrix.row_bytes) if mapped else None
    source = InMemory(matrix, labels, weight, look=look, sample_rows=most)
    return Given(source, chosen, classes, labels.shape[1] if labels.ndim == 2 else 0, weight is not None, None)


def is_path(X: Any) -> bool:
    """Tell a path from data."""
    return isinstance(X, (str, os.PathLike))
