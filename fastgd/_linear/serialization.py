"""Models as JSON documents."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data.schema import MISSING, Feature, coef_names
from fastgd._linear.inference.inference import Inference
from fastgd._linear.settings import COVARIANCES, WEIGHTS, FitSettings
from fastgd._optim.result import ErrorEstimate, History, Outcome, Row, Status
from fastgd._typing import Floats
from fastgd._utils.atomic_io import replacing

FORMAT = "fastgd-model"
FORMAT_VERSION = 8
LABEL_BYTES = 1 << 28
"""Bytes that classes may take: a damaged dtype can claim any width."""


def write_document(path: str | os.PathLike[str], document: dict[str, Any]) -> None:
    """Write a model's document as JSON, with its format and checksum; the file appears whole or not at all."""
    history = {name: [_to_json(value) for value in column] for name, column in document["history"].items()}
    document = {"format": FORMAT, "format_version": FORMAT_VERSION, **document, "history": history}
    document["checksum"] = checksum(document)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1, allow_nan=False), encoding="utf-8")


def read_fields(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the document that `write_document` wrote, checked, as the fields of a `FitResult`.

    Raises
    ------
    ValueError
        If the file is not such a model, or not as it was saved, naming what is wrong with it.
    OSError
        If it cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        document = json.loads(text, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a fastgd model: {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"{path} is not a fastgd model: it does not say format: {FORMAT}")
    if document.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format_version {document.get('format_version')}; this fastgd reads {FORMAT_VERSION}"
        )
    try:
        return _checked_fields(document)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path} is a damaged fastgd model: {type(error).__name__}: {error}") from None


def checksum(document: dict[str, Any]) -> str:
    """Return a hash of all that a model's document holds beside its checksum, however the file is laid out."""
    content = {key: value for key, value in document.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _checked_fields(document: dict[str, Any]) -> dict[str, Any]:
    coef, intercept, spread = (_numbers(name, document[name]) for name in ("coef", "intercept", "spread"))
    features = document["features"]
    if features is not None:
        features = tuple(_feature(feature) for feature in features)
    if (
        coef.ndim not in (1, 2)
        or intercept.shape != coef.shape[:-1]
        or spread.shape != coef.shape[-1:]
        or coef_names(features, len(spread)) != document["coef_names"]
    ):
        raise ValueError("coef, intercept, coef_names, features and spread do not fit together")
    classes = document["classes"]
    if classes is not None:
        classes = _labels(classes, document["classes_dtype"])
        if len(classes) != (2 if coef.ndim == 1 else len(coef)):
            raise ValueError("classes must be two, or one for each row of coef")
    targets = document.get("target_names")  # older models have none
    if targets is not None:
        if not all(type(name) is str for name in targets) or coef.ndim != 2 or len(targets) != len(coef):
            raise ValueError("target_names must be a text for each row of coef")
        targets = tuple(targets)
    redundant = document["redundant"]
    if not isinstance(redundant, list) or not set(redundant) <= set(document["coef_names"]):
        raise ValueError("redundant must be names of coefficients")
    redundant = set(redundant)
    error = document["error_estimate"]
    if error is not None:
        error = ErrorEstimate(*map(float, _numbers("error_estimate", error)))
    settings = document["settings"]
    if not isinstance(settings, dict) or not isinstance(settings["loss"]["name"], str):
        raise ValueError("settings must name the loss")
    settings = FitSettings(**{name: settings[name] for name in FitSettings.names() if name in settings})
    history = document["history"]
    rows = [Row(*values) for values in zip(*([float(v) for v in history[name]] for name in Row._fields), strict=True)]
    if not rows:
        raise ValueError("the history is empty")
    count, texts = document["rows"], [document["message"], document["version"]]
    if type(count) is not int or count < 1 or not all(isinstance(text, str) for text in texts):
        raise ValueError("rows must be a number above 0, message and version text")
    dropped = document["dropped"]
    if type(dropped) is not int or dropped < 0:
        raise ValueError("dropped must be a number of rows")
    if document["checksum"] != checksum(document):
        raise ValueError("the content does not match its checksum, so it is not what was saved")
    return {
        "coef": coef,
        "loss": float(_numbers("loss", document["loss"])),
        "outcome": Outcome(Status[document["status"]], recorded=document["message"]),
        "history": History.from_rows(rows),
        "intercept": intercept if intercept.ndim else float(intercept),
        "spread": spread,
        "classes": classes,
        "features": features,
        "redundant_columns": np.flatnonzero([name in redundant for name in document["coef_names"]]),
        "redundant_tol": float(_numbers("redundant_tol", document["redundant_tol"])),
        "error_estimate": error,
        "rows": count,
        "dropped": dropped,
        "target_names": targets,
        "settings": settings,
        "version": document["version"],
        "inference": _inference(document["inference"], features),
    }


_ARRAYS = ("coef", "factors", "scale", "log_likelihoods", "null_log_likelihoods", "deviances", "null_deviances")
_TEXTS = ("kind", "weights", "loss")


def inference_document(inference: Inference) -> dict[str, Any]:
    """Return an inference as JSON can hold it: text for numbers that it cannot."""
    document = {name: getattr(inference, name) for name in _TEXTS}
    for name in _ARRAYS:
        array = getattr(inference, name)
        document[name] = {"shape": list(array.shape), "numbers": [_to_json(each) for each in array.ravel().tolist()]}
    if inference.variances is not None:
        document["variances"] = [[*map(_to_json, each)] for each in inference.variances.tolist()]
    document |= {name: list(getattr(inference, name)) for name in ("names", "outputs", "notes")}
    document |= {name: _to_json(float(getattr(inference, name))) for name in ("df_model", "df_resid", "df")}
    document |= {"n": inference.n, "clusters": inference.clusters, "intercept": inference.intercept}
    return document | {"undetermined": inference.undetermined.tolist()}


def _inference(document: Any, features: tuple[Feature, ...] | None) -> Inference | None:
    """Return the inference that a document describes; a ValueError or KeyError if it is none."""
    if document is None:
        return None
    if document["kind"] not in COVARIANCES or document["weights"] not in WEIGHTS or type(document["loss"]) is not str:
        raise ValueError("inference: kind, weights and loss must be those of a fit")
    values: dict[str, Any] = {name: document[name] for name in (*_TEXTS, "n", "clusters", "intercept")}
    for name in _ARRAYS:
        numbers = [float(each) for each in document[name]["numbers"]]
        values[name] = np.array(numbers).reshape(document[name]["shape"])
    values |= {name: tuple(document[name]) for name in ("names", "outputs", "notes")}
    values |= {name: float(document[name]) for name in ("df_model", "df_resid", "df")}
    values["undetermined"] = np.array(document["undetermined"])
    if not all(isinstance(each, str) for name in ("names", "outputs", "notes") for each in values[name]):
        raise ValueError("inference: names, outputs and notes must be text")
    coef, factors, undetermined, size = values["coef"], values["factors"], values["undetermined"], len(values["names"])
    fits = factors.ndim == 3 and factors.shape[0] * factors.shape[1] == coef.size and coef.shape[-1:] == (size,)
    fits = fits and bool(np.isfinite(coef).all()) and len(values["outputs"]) in (0, coef.size // size)
    if not fits or undetermined.shape != (size,) or undetermined.dtype != bool:
        raise ValueError("inference: coef, factors, names and undetermined do not fit together")
    values["variances"] = None
    if "variances" in document:
        values["variances"] = np.array([[float(each) for each in row] for row in document["variances"]])
        if values["variances"].shape != factors.shape[:2] or (values["variances"] < 0.0).any():
            raise ValueError("inference: variances must be a number, at least 0, for each coefficient")
    if any(values[name].shape != (len(factors),) for name in _ARRAYS[2:]):
        raise ValueError("inference: a number for each output is needed")
    if not all(type(values[name]) is int and values[name] >= 0 for name in ("n", "clusters")):
        raise ValueError("inference: n and clusters must be numbers of rows")
    if type(values["intercept"]) is not bool:
        raise ValueError("inference: intercept must be true or false")
    return Inference(**values, features=features)


def _finite(text: str) -> float:
    """Return the number that a text says; a ValueError for infinity and NaN, which JSON does not have."""
    number = float(text)
    if not np.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number


def _to_json(number: float) -> float | str:
    """Return what JSON can hold: infinity and NaN, in rows of rejected points, as text that `float` reads."""
    return number if np.isfinite(number) else str(number)


def _feature(entry: dict[str, Any]) -> Feature:
    name, levels, reference = entry["name"], entry["levels"], entry["reference"]
    if not isinstance(name, str) or not (levels is None or all(isinstance(level, str) for level in levels)):
        raise ValueError("features must have a name and levels of text")
    missing, fill = entry["missing"], entry["fill"]
    if not (isinstance(reference, bool) and isinstance(missing, bool)):
        raise ValueError("features must say whether the first level is the reference, and rows may lack a value")
    if missing and (fill is None if levels is None else levels[-1:] != [MISSING]):
        raise ValueError("features in which rows may lack a value must have a fill, or a last level for them")
    fill = None if fill is None else float(_numbers("fill", fill))
    return Feature(name, None if levels is None else tuple(levels), reference, missing, fill)


def _labels(values: list[Any], name: str) -> NDArray[Any]:
    """Return labels in their dtype; a ValueError if that does not hold them as they are."""
    dtype = np.dtype(name) if isinstance(name, str) else np.dtype(object)
    if dtype.kind not in "biufU" or dtype.itemsize * len(values) > LABEL_BYTES:
        raise ValueError(f"classes of dtype {str(name)[:40]}: numbers or text are needed")
    labels = np.array(values, dtype=dtype)
    if labels.ndim != 1 or [*map(repr, labels.tolist())] != [*map(repr, values)]:
        raise ValueError(f"classes are not of their dtype {name}")
    return labels


def _numbers(name: str, values: Any) -> Floats:
    """Return finite numbers, alone or in lists; a ValueError for anything else, text included."""
    array = np.array(values)
    if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise ValueError(f"{name}: finite numbers are needed")
    return array.astype(np.float64)
