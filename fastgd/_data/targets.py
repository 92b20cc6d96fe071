"""Targets and weights as a caller gives them: checked, and labels replaced by numbers."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd._data.plausible import Occurrences, check_labels
from fastgd._typing import Floats
from fastgd._utils.validation import as_array, check_one_type, check_present, check_vector, stretches
from fastgd.losses import LABELS, Logistic, Loss, Softmax

MAX_WEIGHT = 1e9
"""The largest weight for which sums with squares do not overflow, and the inverse of the smallest."""


def targets(
    y: ArrayLike, n: int, loss: Loss, *, declared: bool = False, rows: NDArray[np.intp] | None = None
) -> tuple[Loss, NDArray[Any], NDArray[Any] | None]:
    """Return the loss for as many classes as there are, y as numbers, and the labels that 0, 1, ... stand for.

    Labels that look like numbers with mistakes are refused, unless they are ``declared`` to be meant. ``rows`` are the
    rows' own numbers for messages, if some were left out before.
    """
    if loss.target is not LABELS:
        return loss, numbers(y, n), None
    labels = labels_of("y", y, n)
    if labels.dtype.kind != "U":
        low, high = labels.min(), labels.max()
        coded = labels if labels.dtype.kind == "b" else labels == high
        if low < high and bool(np.all(coded | (labels == low))):
            return loss, coded, np.array([low, high], np.float64 if labels.dtype.kind == "f" else labels.dtype)
    distinct = np.unique(np.concatenate([np.unique(part) for part in stretches(labels)]))
    if labels.dtype.kind == "U" and not (declared or is_declared(y)):
        texts = distinct.tolist()
        check_labels("y", texts, Occurrences.of(texts, _encode(labels, distinct, np.dtype(np.int32))).at(rows))
    chosen, classes = choose_classes(distinct, loss)
    dtype = np.dtype(bool) if len(classes) == 2 else np.min_scalar_type(len(classes))
    return chosen, _encode(labels, distinct, dtype), classes


def is_declared(y: Any) -> bool:
    """Return whether y is of a type for categories, so that its labels are meant as they are."""
    return str(getattr(y, "dtype", "")).lower().startswith(("categor", "enum"))


def _encode(labels: NDArray[Any], classes: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the places of labels among the sorted classes."""
    return np.concatenate([np.searchsorted(classes, part).astype(dtype) for part in stretches(labels)])


def numbers(y: ArrayLike, n: int) -> NDArray[Any]:
    """Return targets of a regression, (n,) or (n, targets), checked."""
    array = as_array("y", y)
    if array.ndim == 1:
        return check_vector("y", array, n)
    if array.ndim != 2 or not array.shape[1]:
        raise ValueError(f"y has shape {array.shape}; X has {n} rows, so ({n},) or ({n}, targets) is needed")
    for k, column in enumerate(array.T):
        check_vector(f"y: column {k}", column, n)
    return array


def choose_classes(distinct: NDArray[Any], loss: Loss) -> tuple[Loss, NDArray[Any]]:
    """Return the loss for as many classes as there are different labels, which are sorted, and the classes."""
    some = _some(distinct)
    if len(distinct) == 1:
        raise ValueError(f"y has only one class: {some}; at least two are needed")
    if len(distinct) == 2:
        return loss, distinct.astype(_of_labels(distinct.dtype))
    if distinct.dtype.kind == "f" and (distinct != np.round(distinct)).any():
        raise ValueError(
            f"y has {len(distinct)} different values that are not whole numbers: {some}; are they classes?"
        )
    if not isinstance(loss, Logistic):
        raise ValueError(f"y has {len(distinct)} classes: {some}; a {type(loss).__name__} loss takes exactly two")
    return Softmax(), distinct.astype(_of_labels(distinct.dtype))


def all_classes(classes: ArrayLike) -> NDArray[Any]:
    """Return the labels that samples may have, checked and sorted."""
    labels = labels_of("classes", classes, np.size(classes))
    found = np.unique(labels)
    if len(found) < 2:
        raise ValueError(f"classes has only {len(found)}: {_some(found)}; at least two labels are needed")
    return found.astype(_of_labels(found.dtype))


def encode_labels(y: ArrayLike, n: int, classes: NDArray[Any]) -> NDArray[Any]:
    """Return labels as 0, 1, ... for sorted classes; a ValueError names one that is not among them."""
    labels = labels_of("y", y, n)
    known: NDArray[np.bool_] = np.zeros(n, bool)
    codes: NDArray[Any] = known
    if (labels.dtype.kind == "U") != (classes.dtype.kind == "U"):
        pass
    elif len(classes) == 2:
        codes = labels == classes[1]
        known = codes | (labels == classes[0])
    else:
        codes = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
        known = classes[codes] == labels
    if not known.all():
        row = int(np.argmin(known))
        raise ValueError(f"y has the label {labels[row]} in row {row}, which is not among classes: {_some(classes)}")
    return codes.astype(bool if len(classes) == 2 else np.min_scalar_type(len(classes)))


def labels_of(name: str, y: ArrayLike, n: int) -> NDArray[Any]:
    """Return labels as an array of numbers or of NumPy's text."""
    labels = as_array(name, y)
    if labels.shape != (n,):
        raise ValueError(f"{name} has shape {labels.shape}; X has {n} rows, so ({n},) is needed")
    if labels.dtype.kind in "OT":
        check_present(name, labels)
        values = labels.tolist()
        check_one_type(name, values)
        labels = np.array(values)
    if labels.dtype.kind in "biuf":
        check_vector(name, labels, n)
    elif labels.dtype.kind != "U":
        raise ValueError(f"{name} has dtype {labels.dtype}; labels, numbers or text, are needed")
    return labels


def _some(classes: NDArray[Any]) -> str:
    return ", ".join(map(str, classes[:5].tolist())) + (", ..." if len(classes) > 5 else "")


def _of_labels(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float64) if dtype.kind == "f" else dtype


def weights(sample_weight: ArrayLike | None, n: int, *, ratios: bool = True) -> Floats | None:
    """Return the weights of all rows as float64, checked.

    Where only their ratios matter, those whose sums with squares might over- or underflow are multiplied by a power of
    two, which changes no bit of a fit; otherwise they are refused.
    """
    if sample_weight is None:
        return None
    weight = check_weights(sample_weight, n)
    largest = float(weight.max())
    if largest == 0.0:
        raise ValueError("sample_weight is zero in every row; at least one must be positive")
    if 1.0 / MAX_WEIGHT <= largest <= MAX_WEIGHT:
        return weight
    if not ratios:
        raise ValueError(
            f"sample_weight: the largest is {largest:g}; {1.0 / MAX_WEIGHT:.0e} to {MAX_WEIGHT:.0e} is needed where "
            "more than their ratios matter"
        )
    return np.asarray(np.ldexp(weight, -np.frexp(largest)[1]))


def check_weights(sample_weight: ArrayLike, n: int) -> Floats:
    """Return the weights of some of the rows as float64, checked; they may all be 0."""
    weight = np.ascontiguousarray(check_vector("sample_weight", sample_weight, n), dtype=np.float64)
    row = int(np.argmin(weight))
    if weight[row] < 0.0:
        raise ValueError(f"sample_weight is {weight[row]} in row {row}; weights must be at least 0")
    return weight


def check_frequencies(weight: Floats) -> None:
    """Raise ValueError for weights that are no numbers of samples."""
    fractions = weight != np.floor(weight)
    if fractions.any():
        row = int(np.argmax(fractions))
        raise ValueError(
            f"sample_weight is {weight[row]} in row {row}; with weights='frequency' it says how many samples a row "
            "stands for, a whole number; with weights='precision' it may be any"
        )


def check_weighted_classes(labels: NDArray[Any], weight: Floats | None, classes: NDArray[Any] | None) -> None:
    """Raise ValueError if weights leave a single class: samples of weight 0 count as if they were not there."""
    if weight is None or classes is None:
        return
    weighted = weight > 0.0
    low = np.min(labels, where=weighted, initial=len(classes) - 1)
    high = np.max(labels, where=weighted, initial=0)
    check_several_weigh(classes[[int(low)]] if low == high else None)


def groups_of(clusters: ArrayLike, n: int) -> NDArray[Any]:
    """Return the clusters of rows as an array of numbers or text; dates are what they are called."""
    groups = as_array("clusters", clusters)
    if groups.dtype.kind in "Mm":
        check_present("clusters", groups.astype(object))
        groups = groups.astype(np.int64)
    elif groups.dtype.kind == "O":
        check_present("clusters", groups)
        if all(isinstance(value, date) for value in groups.tolist()):
            groups = np.array([value.isoformat() for value in groups.tolist()])
    return labels_of("clusters", groups, n)


def check_several_weigh(weighted_classes: NDArray[Any] | None) -> None:
    """Raise ValueError if there is a single class with weight; None means that nothing is known against it."""
    if weighted_classes is not None and len(weighted_classes) == 1:
        raise ValueError(
            f"sample_weight is zero for all samples but those of {weighted_classes[0]}: y has only one class then; at "
            "least two are needed"
        )
