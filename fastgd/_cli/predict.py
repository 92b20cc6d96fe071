"""The command ``fastgd predict``: predict from files with a saved model."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from fastgd._cli.output import check_distinct, print_line, text_options
from fastgd._linear.predictor import LinearPredictor, probabilities
from fastgd._linear.result import FitResult, load


def run_predict(options: argparse.Namespace) -> int:
    """Predict part by part, write the predictions to a file, and return exit code 0.

    Raises
    ------
    ValueError, TypeError, OSError
        If the model or the data do not fit, or a file cannot be read or written.
    """
    from fastgd._data.chunks import named
    from fastgd._data.readers import arrow as files

    for path in options.data:
        check_distinct({"model": options.model, "data": path, "--output": options.output})
    files.check_output(options.output)
    model = load(options.model)
    if options.interval is not None:
        _check_interval(options, model)
    predictor = model.predictor(unseen=options.unseen)
    parts = _parts(options, model)
    rows = 0

    def predictions() -> Iterator[dict[str, Any]]:
        nonlocal rows
        for X, name in parts:
            if X.shape[0]:
                with named(name):
                    eta = predictor.decision_function(X)
                    columns = _columns_of(predictor, eta, model.output_names)
                    if options.interval is not None:
                        columns |= _interval_columns(model, predictor, X, options.interval)
                rows += len(eta)
                yield columns
        if not rows:
            raise ValueError(f"{' '.join(options.data)}: no rows")

    files.write_tables(options.output, predictions())
    print_line(f"wrote {rows:,} predictions to {options.output}")
    return 0


def _check_interval(options: argparse.Namespace, model: FitResult) -> None:
    """Raise ValueError if a model has no intervals."""
    given = f"--interval {options.interval:g}"
    if model.classes is not None and len(model.classes) > 2:
        raise ValueError(f"{given}: the model has {len(model.classes)} classes; there are intervals of two")
    if model.inference is None:
        raise ValueError(
            f"{given}: {options.model} was saved without standard errors; fit it again with --summary, --covariance or "
            "--cluster beside --output, or in Python call fastgd.inference(model, ...) and save it"
        )


def _parts(options: argparse.Namespace, model: FitResult) -> Iterator[tuple[Any, str]]:
    """Return an iterator over pairs of samples X and the name of the file or part that they are from."""
    from fastgd._data.open import is_libsvm, is_npy, map_array

    if is_npy(options.data, options.format):
        return ((map_array(path), path) for path in options.data)
    if is_libsvm(options.data, options.format):
        from fastgd._data.readers.libsvm import LibSVM

        return ((chunk.X, chunk.name) for chunk in LibSVM(options.data, model.coef.shape[-1]))
    from fastgd._data.readers.arrow import Files

    names = None if model.features is None else [feature.name for feature in model.features]
    data = Files(options.data, None, features=names, **text_options(options))
    data.expect({feature.name: "numbers" if feature.levels is None else "text" for feature in model.features or ()})
    for file in data.files:
        check_distinct({"data": file.path, "--output": options.output})
    return data.tables()


def _columns_of(model: LinearPredictor, eta: NDArray[Any], outputs: Sequence[str]) -> dict[str, Any]:
    """Return the columns of the output by name, given linear predictors of shape (n,) or (n, k)."""
    if model.classes is None:
        return _by_target("prediction", eta, outputs)
    predicted, shares = {"prediction": model.labels(eta)}, probabilities(eta)
    if len(model.classes) == 2:
        return {**predicted, "probability": shares[:, 1]}
    return predicted | {f"probability[{label}]": shares[:, k] for k, label in enumerate(model.classes)}


def _interval_columns(model: FitResult, predictor: LinearPredictor, X: Any, interval: float) -> dict[str, Any]:
    """Return the ends of intervals by the names that `PredictionInterval` has for them."""
    from fastgd._linear.inference.intervals import predict_interval

    assert model.inference is not None  # noqa: S101  `_check_interval` has looked
    found = predict_interval(predictor, model.inference, X, interval)._asdict()
    columns: dict[str, Any] = {}
    for name, values in found.items():
        if name != "mean" and values is not None:
            columns |= _by_target(name, values, model.output_names if model.classes is None else ())
    return columns


def _by_target(name: str, values: NDArray[Any], outputs: Sequence[str]) -> dict[str, Any]:
    """Return values of shape (n,) as a column, or those of shape (n, k) as a column for each target."""
    if values.ndim == 1:
        return {name: values}
    return {f"{name}[{output}]": column for output, column in zip(outputs, values.T, strict=True)}
