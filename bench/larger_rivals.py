"""``python -m bench larger_rivals``: logistic regression on the same Parquet files, time and readings to equal gaps.

Rivals get what is best for them of a few settings: rows in random order, columns of one scale, decoded by the same
code. Their loss on all rows is taken after each epoch, and is not counted.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyarrow import parquet
from sklearn.linear_model import SGDClassifier

import fastgd
from bench.larger import COLUMNS, PART_ROWS, columns
from bench.report import cores, table
from fastgd.files import Files

PARTS = 4
L2 = 1e-5
GAPS = (1e-2, 1e-3, 1e-4, 1e-6, 1e-9)
EPOCHS = 10


def write(folder: Path) -> None:
    import pyarrow as pa

    for part in range(PARTS):
        parquet.write_table(pa.table(columns(PART_ROWS, part)), folder / f"{part}.parquet", use_dictionary=False)


def chunks(folder: Path) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    for chunk in Files(folder, "late"):
        yield np.column_stack([column.to_numpy() for column in chunk.X.columns]), chunk.y


def loss_at(folder: Path, coef: NDArray[Any], intercept: float) -> float:
    total, rows = 0.0, 0
    for X, y in chunks(folder):
        z = X.astype(np.float64) @ coef + intercept
        total += float(np.sum(np.logaddexp(0.0, z) - y * z))
        rows += len(y)
    return total / rows + 0.5 * L2 * float(coef @ coef)


def epochs_of_sgd(folder: Path, **options: Any) -> Iterator[tuple[float, float]]:
    """Give seconds and loss after each epoch."""
    model = SGDClassifier(loss="log_loss", alpha=L2, random_state=0, **options)
    seconds = 0.0
    for _ in range(EPOCHS):
        began = time.perf_counter()
        for X, y in chunks(folder):
            model.partial_fit(X, y, classes=[False, True])
        seconds += time.perf_counter() - began
        yield seconds, loss_at(folder, model.coef_[0], float(model.intercept_[0]))


RIVALS = {
    "scikit-learn SGD, averaged": {"average": True},
    "scikit-learn SGD, 1/t": {},
    "scikit-learn SGD, 1/sqrt(t), averaged": {"learning_rate": "invscaling", "eta0": 0.05, "average": True},
}


def run() -> str:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(folder)
        best = fastgd.fit(folder, target="late", loss="logistic", l2=L2, tol=1e-11, cache="none").loss
        traces: dict[str, list[tuple[float, float, float]]] = {}
        for solver in ("newton", "lbfgs", "sgd"):
            fit = f"import fastgd; fastgd.fit({str(folder)!r}, target='late', loss='logistic', solver={solver!r}, "
            fit += f"l2={L2}, tol=1e-9, cache='none', max_iter=40)"
            subprocess.run([sys.executable, "-c", fit], check=True)  # compiled
            options = {"loss": "logistic", "l2": L2, "tol": 1e-9, "solver": solver, "max_iter": 40}
            history = fastgd.fit(folder, target="late", cache="none", **options).history
            whole = ~history.partial
            traces[f"fastgd {solver}"] = list(
                zip(history.seconds[whole], history.loss[whole], history.passes[whole], strict=True)
            )
        for name, options in RIVALS.items():
            traces[name] = [(s, value, k + 1) for k, (s, value) in enumerate(epochs_of_sgd(folder, **options))]
    rows = []
    for name, trace in traces.items():
        cells = [name]
        for gap in GAPS:
            first = next(((s, k) for s, value, k in trace if value - best <= gap * best), None)
            cells.append(f"{first[0]:.1f} s, {first[1]:.1f}" if first else "–")
        rows.append(cells)
    return "\n".join(
        [
            f"{PARTS * PART_ROWS:,} × {COLUMNS} float32 in Parquet, {cores()} cores.\n",
            table(["seconds, readings to", *(f"{gap:.0e}" for gap in GAPS)], rows),
            f"\nRelative gap above the minimum; –: not within {EPOCHS} epochs (fastgd's 40).",
        ]
    )
