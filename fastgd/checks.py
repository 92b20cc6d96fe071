"""Whether what a caller gave can be used: clear errors before any work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd import kernels
from fastgd.descent import Floats, Result, Row
from fastgd.models import FitResult
from fastgd.sources import Feature, as_array, check_present, check_vector


def choose_loss(loss: str | kernels.Loss) -> kernels.Loss:
    """Give the loss of this name, or check the parameters of a loss."""
    if isinstance(loss, str):
        if loss not in kernels.LOSSES:
            raise ValueError(f"loss={loss!r}; choose one of {', '.join(kernels.LOSSES)}, or give a Loss object")
        return kernels.LOSSES[loss]()
    if not isinstance(loss, kernels.Loss):
        raise TypeError(f"loss={loss!r}; a name or an instance of a fastgd.Loss is needed")
    for name, value in loss._asdict().items():
        check_number(f"loss: {name}", value, np.finfo(np.float64).tiny)
    return loss


def targets(y: ArrayLike, n: int, loss: kernels.Loss) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Give y as numbers, and for a loss that classifies as 0 and 1 with the two labels they stand for."""
    if not loss.classifies:
        return check_vector("y", y, n), None
    labels = as_array("y", y)
    if labels.shape != (n,):
        raise ValueError(f"y has shape {labels.shape}; X has {n} rows, so ({n},) is needed")
    if labels.dtype.kind in "OT":
        check_present("y", labels)
        labels = np.array(labels.tolist())
    if labels.dtype.kind in "biuf":
        check_vector("y", labels, n)
        low, high = labels.min(), labels.max()
        coded = labels == high
        if not bool(np.all(coded | (labels == low))) or low == high:
            _refuse_labels(np.unique(labels))
        return coded, np.array([low, high], np.float64 if labels.dtype.kind == "f" else labels.dtype)
    if labels.dtype.kind != "U":
        raise ValueError(f"y has dtype {labels.dtype}; two labels, numbers or text, are needed")
    classes, coded = np.unique(labels, return_inverse=True)
    if len(classes) != 2:
        _refuse_labels(classes)
    return coded.astype(bool), classes


def _refuse_labels(classes: NDArray[Any]) -> None:
    some = ", ".join(map(str, classes[:5].tolist())) + (", ..." if len(classes) > 5 else "")
    count = "only one class" if len(classes) == 1 else f"{len(classes)} classes"
    raise ValueError(f"y has {count}: {some}; a classification needs exactly two")


def weights(sample_weight: ArrayLike | None, n: int) -> Floats | None:
    """Check the weights; give them as float64."""
    if sample_weight is None:
        return None
    weight = np.ascontiguousarray(check_vector("sample_weight", sample_weight, n), dtype=np.float64)
    row = int(np.argmin(weight))
    if weight[row] < 0.0:
        raise ValueError(f"sample_weight is {weight[row]} in row {row}; weights must be at least 0")
    if weight.max() > np.finfo(np.float64).max / n:
        raise ValueError("sample_weight: the sum may overflow; only ratios matter, so scale the weights down")
    if weight.max() == 0.0:
        raise ValueError("sample_weight is zero in every row; at least one must be positive")
    return weight


def check_number(name: str, value: Any, least: float) -> None:
    """Check that an option is a finite number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{name}={value!r}; a number is needed")
    if not least <= float(value) < np.inf:
        raise ValueError(f"{name}={value!r}; a finite number of at least {least:g} is needed")


def check_whole(name: str, value: Any, least: int) -> None:
    """Check that an option is a whole number of at least ``least``."""
    check_number(name, value, least)
    if value != int(value):
        raise ValueError(f"{name}={value!r}; a whole number is needed")


def check_flag(name: str, value: Any) -> None:
    """Check that an option is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r}; True or False is needed")


def check_determined(features: tuple[Feature, ...] | None, l2: float, intercept: bool) -> None:
    """Refuse coefficients that the data can't tell apart: of all levels, which add up to 1 as the intercept does."""
    full = [feature.name for feature in features or () if feature.levels is not None and not feature.reference]
    if l2 == 0.0 and full and len(full) + intercept > 1:
        raise ValueError(
            f"drop_first=False gives every level of {', '.join(full)} a coefficient, which without a penalty are not "
            "determined; give l2 > 0, or drop_first=True"
        )


def check_descent(
    tol: float, max_iter: int, time_limit: float | None, callback: Callable[[Row], object] | None
) -> None:
    """Check what says when a descent stops."""
    check_number("tol", tol, 0.0)
    check_whole("max_iter", max_iter, 0)
    if time_limit is not None:
        check_number("time_limit", time_limit, 0.0)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback={callback!r}; a function of a Row, or None, is needed")


def generator(rng: Any) -> np.random.Generator:
    """Give a generator: None is seed 0."""
    try:
        return np.random.default_rng(0 if rng is None else rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"rng={rng!r}: {error}") from None


def as_point(start: Any) -> Floats:
    """Give finite numbers as an array."""
    try:
        point = np.array(start, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"start={start!r}; numbers are needed") from None
    if not np.isfinite(point).all():
        raise ValueError("start contains NaN or infinity")
    return point


def start_coefs(
    start: Any, d: int, intercept: bool, classes: NDArray[Any] | None, features: tuple[Feature, ...] | None
) -> tuple[Floats, float] | str | None:
    """Give the coefficients (d,) and the intercept to begin at; "random" and None as they are."""
    if start is None:
        return None
    if isinstance(start, str):
        if start != "random":
            raise ValueError(f"start={start!r}; an array, an earlier result, 'random' or None is needed")
        return start
    if isinstance(start, Result) and not isinstance(start, FitResult):
        raise TypeError("start is the result of minimize; the result of a fit, or an array, is needed")
    if isinstance(start, FitResult):
        if features is not None and start.features is not None and features != start.features:
            raise ValueError("start was fitted on other columns or levels than X has, or in another order")
        if len(start.coef) != d:
            raise ValueError(f"start has {len(start.coef)} coefficients; X has {d} features")
        if (start.classes is None) != (classes is None):
            raise ValueError("start is a regression and the fit a classification, or the other way round")
        return start.coef, start.intercept if intercept else 0.0
    point = as_point(start)
    if point.shape != (d + intercept,):
        what = "the coefficients, then the intercept" if intercept else "the coefficients"
        raise ValueError(f"start has shape {point.shape}; ({d + intercept},) is needed: {what}")
    return point[:d], float(point[-1]) if intercept else 0.0
