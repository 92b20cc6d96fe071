"""The one way to predictions: a function of rows, now for data in memory, later for Dask's collections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import DTypeLike, NDArray

from fastgd._data.columns import is_collection


def map_rows(X: Any, function: Callable[[Any], NDArray[Any]], width: int | None, dtype: DTypeLike) -> NDArray[Any]:
    """Return what a function makes of the rows of X.

    Parameters
    ----------
    X : array-like, table, or Dask collection
    function : callable
        Maps rows of X to an array (n,) or (n, width). It goes along with each of Dask's tasks.
    width : int or None
        None if the result has one dimension.
    dtype : dtype
        Of the result.

    Returns
    -------
    ndarray, or a Dask array that computes when it is asked to
    """
    if not is_collection(X):
        return function(X)
    from fastgd._data.dask_graph import mapped

    later: NDArray[Any] = mapped(function, X, width, dtype)
    return later
