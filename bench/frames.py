"""Frames of many columns, and of missing values: fastgd's estimators next to scikit-learn's, on the same frames.

Times are the best of several turns. Fits with missing values go to the same minimum: coefficients are compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from sklearn import linear_model
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastgd
from bench.report import table

COLUMNS, WIDE = 1000, 20_000
"""Columns of the frame of which one row is predicted, and of the frame that is fitted."""
ROWS, NUMBERS = 500_000, 20
"""Rows and columns of the frame with missing values."""


def _best(call: Callable[[], Any], turns: int) -> float:
    """Return the shortest time of a call, in seconds."""
    times = []
    for _ in range(turns):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return min(times)


def _frame(rows: int, columns: int) -> pd.DataFrame:
    values = np.random.default_rng(0).standard_normal((rows, columns))
    return pd.DataFrame(values, columns=[f"c{j}" for j in range(columns)])


def _predictions() -> list[list[str]]:
    frame = _frame(100, COLUMNS)
    y, text = frame["c0"], frame.assign(t=np.array(["u", "v"])[np.arange(100) % 2])
    theirs = linear_model.Ridge().fit(frame, y)
    lines = [
        [
            "predict",
            f"scikit-learn Ridge, pandas, {COLUMNS:,} columns",
            f"{_best(partial(theirs.predict, frame[:1]), 9) * 1e3:.2f}",
        ]
    ]
    frames = {
        "pandas": frame,
        "polars": pl.from_pandas(frame),
        "pyarrow": pa.Table.from_pandas(frame),
        "pandas with a text column": text,
    }
    for name, X in frames.items():
        ours, row = fastgd.Ridge().fit(X, y.to_numpy()), X.slice(0, 1) if name == "pyarrow" else X[:1]
        lines.append(
            [
                "predict",
                f"fastgd Ridge, {name}, {COLUMNS:,} columns",
                f"{_best(partial(ours.predict, row), 9) * 1e3:.2f}",
            ]
        )
    return lines


def _fits() -> list[list[str]]:
    frame = _frame(100, WIDE)
    y, shape = frame["c0"], f"100 × {WIDE:,}"
    theirs = _best(partial(linear_model.Ridge().fit, frame, y), 3)
    lines = [["fit", f"scikit-learn Ridge, pandas, {shape}", f"{theirs * 1e3:.0f}"]]
    for name, X in {"array": frame.to_numpy(), "pandas": frame, "polars": pl.from_pandas(frame)}.items():
        seconds = _best(partial(fastgd.Ridge().fit, X, y.to_numpy()), 3)
        lines.append(["fit", f"fastgd Ridge, {name}, {shape}", f"{seconds * 1e3:.0f}"])
    return lines


def _missing() -> list[list[str]]:
    rng = np.random.default_rng(0)
    frame = _frame(ROWS, NUMBERS)
    y = (frame.to_numpy() @ np.linspace(-1.0, 1.0, NUMBERS) + rng.logistic(size=ROWS) > 0).astype(int)
    frame = frame.mask(rng.random(frame.shape) < 0.05)
    shape = f"logistic, 5 % missing, {ROWS:,} × {NUMBERS}"
    ours, imputer = fastgd.LogisticRegression(missing="impute"), SimpleImputer(add_indicator=True)
    model = linear_model.LogisticRegression(solver="newton-cholesky", tol=1e-8)
    theirs = make_pipeline(imputer, StandardScaler(), model)
    seconds = [_best(partial(estimator.fit, frame, y), 3) for estimator in (ours, theirs)]
    exact = linear_model.LogisticRegression(solver="newton-cholesky", tol=1e-12).fit(imputer.transform(frame), y)
    order = [place for j in range(NUMBERS) for place in (j, NUMBERS + j)]
    apart = np.abs(ours.coef_[0] - exact.coef_[0][order]).max()
    return [
        ["fit", f"scikit-learn SimpleImputer, StandardScaler, LogisticRegression; {shape}", f"{seconds[1] * 1e3:.0f}"],
        ["fit", f"fastgd LogisticRegression; {shape}; coefficients differ by {apart:.0e}", f"{seconds[0] * 1e3:.0f}"],
    ]


def run() -> str:
    return table(["", "who and what", "ms"], [*_predictions(), *_fits(), *_missing()], text_columns=2)
