"""One reading in chunks: fastgd's partial_fit next to scikit-learn's averaged SGD, on the same chunks.

What is left above the minimum is told in statistical errors, p σ² / n or p / (2 n). scikit-learn gets features that are
scaled already, and one line with the rate that was the best of several in hindsight.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.linear_model import SGDClassifier, SGDRegressor

from bench.report import table
from fastgd import LinearRegression, LogisticRegression

ROWS, FEATURES, CHUNK = 200_000, 20, 2000
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def _problem(loss: str, correlation: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    apart = np.abs(np.subtract.outer(np.arange(FEATURES), np.arange(FEATURES)))
    X = rng.standard_normal((ROWS, FEATURES)) @ np.linalg.cholesky(correlation**apart).T
    z = X @ (rng.standard_normal(FEATURES) * (2.0 / np.sqrt(FEATURES))) + 0.5
    return X, (rng.logistic(size=ROWS) < z) * 1.0 if loss == "logistic" else z + rng.standard_normal(ROWS)


def _value(model: Any, X: np.ndarray, y: np.ndarray, loss: str) -> float:
    z = X @ np.ravel(model.coef_) + model.intercept_
    return float(np.mean(np.logaddexp(0.0, (1.0 - 2.0 * y) * z) if loss == "logistic" else (y - z) ** 2))


def _streamed(make: Callable[[], Any], X: np.ndarray, y: np.ndarray, loss: str) -> tuple[Any, float]:
    began, model = time.perf_counter(), make()
    for start in range(0, len(y), CHUNK):
        rows = slice(start, start + CHUNK)
        model.partial_fit(X[rows], y[rows], **({"classes": [0.0, 1.0]} if loss == "logistic" else {}))
    return model, time.perf_counter() - began


def _theirs(loss: str, **options: Any) -> Callable[[], Any]:
    kind, name = (SGDClassifier, "log_loss") if loss == "logistic" else (SGDRegressor, "squared_error")
    return lambda: kind(loss=name, alpha=1e-9, average=True, random_state=0, **options)


def run() -> str:
    lines = []
    for loss in ("squared", "logistic"):
        ours = LogisticRegression if loss == "logistic" else LinearRegression
        options: dict[str, Any] = {"C": np.inf} if loss == "logistic" else {}
        for correlation in (0.0, 0.5, 0.9):
            X, y = _problem(loss, correlation)
            minimum = _value(ours(**options).fit(X, y), X, y, loss)
            unit = (FEATURES + 1) / ROWS * (0.5 if loss == "logistic" else minimum)

            def ours_streamed() -> Any:
                return ours(solver="sgd", **options)  # noqa: B023  called in this turn

            _streamed(ours_streamed, X[: 2 * CHUNK], y[: 2 * CHUNK], loss)  # compiles
            results = [("fastgd partial_fit", *_streamed(ours_streamed, X, y, loss))]
            results.append(("scikit-learn SGD, averaged", *_streamed(_theirs(loss), X, y, loss)))
            tuned = [
                (f"scikit-learn SGD, averaged, eta0={rate:g}, the best", *_streamed(make, X, y, loss))
                for rate in RATES
                for make in [_theirs(loss, learning_rate="constant", eta0=rate)]
            ]
            results.append(min(tuned, key=lambda result: _value(result[1], X, y, loss)))
            for label, model, seconds in results:
                left = (_value(model, X, y, loss) - minimum) / unit
                lines.append([f"{loss}, neighbours correlate {correlation:g}", label, f"{seconds:.2f}", f"{left:.2f}"])
    head = ["problem", "one reading by", "s", "statistical errors above the minimum"]
    said = f"{ROWS:,} × {FEATURES} in chunks of {CHUNK:,} rows, without a penalty."
    return table(head, lines, 2) + "\n\n" + said
