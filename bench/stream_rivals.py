"""``python -m bench stream_rivals``: logistic regression on the same Parquet files, time and readings to equal gaps.

Nobody may hold the data in memory. scikit-learn's SGD is given chunks decoded by the same code, Vowpal Wabbit a file of
its own text (the time to write it is not counted) and the cache that it makes of that, dask-ml one block per file. All
columns have one scale, and rows are in random order. The loss on all rows is taken after each epoch, or of models of
so many passes, and is not counted. Snap ML's regressions read arrays in memory alone, so it cannot take part.

Not installed with fastgd's extras: vowpalwabbit, and dask-ml, which brings dask-glm.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import parquet
from sklearn.linear_model import SGDClassifier

import fastgd
from bench.report import cores, table
from bench.stream import COLUMNS, columns
from fastgd._data.readers.arrow import Files

PARTS = 4
PART_ROWS = int(os.environ.get("FASTGD_RIVALS_ROWS", "1000000")) // PARTS
L2 = 1e-5
GAPS = (1e-2, 1e-3, 1e-4, 1e-6, 1e-9)
EPOCHS = 10
INTERCEPT = 11650396 & ((1 << 18) - 1)  # where Vowpal Wabbit has it
Trace = list[tuple[float, float, float]]  # seconds, loss, readings


def write(folder: Path) -> Path:
    """Write the rows as Parquet, and beside it as text for Vowpal Wabbit."""
    text = folder.with_suffix(".vw")
    with open(text, "wb") as file:
        for part in range(PARTS):
            rows = pa.table(columns(PART_ROWS, part))
            parquet.write_table(rows, folder / f"{part}.parquet", use_dictionary=False)
            cells = [pc.binary_join_element_wise(f"{j}", rows[f"x{j}"].cast("string"), ":") for j in range(COLUMNS)]
            label = pc.if_else(rows["late"], "1 |", "-1 |")
            for line in pc.binary_join_element_wise(label, *cells, " ").chunks:
                file.write("\n".join(line.to_pylist()).encode() + b"\n")
    return text


def chunks(folder: Path) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    for chunk in Files(folder, "late"):
        yield np.column_stack(list(chunk.X.values())), chunk.y


def loss_at(folder: Path, coef: NDArray[Any], intercept: float) -> float:
    total, rows = 0.0, 0
    for X, y in chunks(folder):
        z = X.astype(np.float64) @ coef + intercept
        total += float(np.sum(np.logaddexp(0.0, z) - y * z))
        rows += len(y)
    return total / rows + 0.5 * L2 * float(coef @ coef)


def ours(folder: Path, solver: str) -> Trace:
    options = {"loss": "logistic", "l2": L2, "tol": 1e-9, "solver": solver, "max_iter": 40}
    history = fastgd.fit(folder, target="late", cache="none", **options).history
    whole = ~history.partial
    return list(zip(history.seconds[whole], history.loss[whole], history.passes[whole], strict=True))


def sgd(folder: Path, **options: Any) -> Trace:
    model, trace, seconds = SGDClassifier(loss="log_loss", alpha=L2, random_state=0, **options), [], 0.0
    for epoch in range(EPOCHS):
        began = time.perf_counter()
        for X, y in chunks(folder):
            model.partial_fit(X, y, classes=[False, True])
        seconds += time.perf_counter() - began
        trace.append((seconds, loss_at(folder, model.coef_[0], float(model.intercept_[0])), epoch + 1))
    return trace


def vowpal_wabbit(folder: Path, options: str) -> Trace:
    from vowpalwabbit import Workspace

    text, trace = folder.with_suffix(".vw"), []
    for passes in (2, 3, 5, 10, 20):
        cache = text.with_suffix(".cache")
        cache.unlink(missing_ok=True)
        began = time.perf_counter()
        files = f"-d {text} --cache_file {cache} --passes {passes} --holdout_off --quiet"
        with Workspace(f"--loss_function logistic {files} {options}") as model:
            seconds = time.perf_counter() - began
            coef = np.array([model.get_weight_from_name(str(j)) for j in range(COLUMNS)])
            trace.append((seconds, loss_at(folder, coef, model.get_weight(INTERCEPT)), passes))
    return trace


def dask_ml(folder: Path, solver: str, most: int) -> Trace:
    import dask
    import dask.array as da
    from dask_ml.linear_model import LogisticRegression

    read = 0

    def block(path: Path) -> NDArray[Any]:
        nonlocal read
        read += 1
        rows = parquet.read_table(path)
        return np.column_stack([rows[name].to_numpy() for name in rows.column_names])

    blocks = [dask.delayed(block)(path) for path in sorted(folder.iterdir())]
    whole = da.concatenate([da.from_delayed(each, (PART_ROWS, COLUMNS + 1), np.float64) for each in blocks])
    trace = []
    for iterations in (number for number in (1, 2, 3, 5, 10, 20) if number <= most):
        read = 0
        model = LogisticRegression(
            solver=solver, C=1 / (L2 * PARTS * PART_ROWS), max_iter=iterations, tol=1e-12, solver_kwargs={}
        )
        began = time.perf_counter()
        model.fit(whole[:, :COLUMNS], whole[:, COLUMNS])
        seconds = time.perf_counter() - began
        trace.append((seconds, loss_at(folder, np.ravel(model.coef_), float(model.intercept_)), read / PARTS))
    return trace


CONTENDERS = {
    **{f"fastgd {solver}": (ours, {"solver": solver}) for solver in ("newton", "lbfgs", "sgd")},
    "scikit-learn SGD, as it comes": (sgd, {}),
    "scikit-learn SGD, 0.05 / sqrt(t)": (sgd, {"learning_rate": "invscaling", "eta0": 0.05}),
    "Vowpal Wabbit": (vowpal_wabbit, {"options": ""}),
    "Vowpal Wabbit, L-BFGS": (vowpal_wabbit, {"options": f"--bfgs --l2 {L2 * PARTS * PART_ROWS}"}),
    "dask-ml lbfgs": (dask_ml, {"solver": "lbfgs", "most": 20}),
    "dask-ml newton": (dask_ml, {"solver": "newton", "most": 5}),
}
NEEDS = {vowpal_wabbit: "vowpalwabbit", dask_ml: "dask_ml"}


def run() -> str:
    rows, missing = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "rows"
        folder.mkdir()
        write(folder)
        best = fastgd.fit(folder, target="late", loss="logistic", l2=L2, tol=1e-11).loss
        for name, (contender, options) in CONTENDERS.items():
            if contender in NEEDS and not find_spec(NEEDS[contender]):
                missing.append(name)
                continue
            if contender is ours:  # compiled
                warm = f"import fastgd; fastgd.fit({str(folder)!r}, target='late', loss='logistic', **{options})"
                subprocess.run([sys.executable, "-c", warm], check=True)
            trace = contender(folder, **options)
            cells = [name]
            for gap in GAPS:
                first = next(((s, k) for s, value, k in trace if value - best <= gap * best), None)
                cells.append(f"{first[0]:.1f} s, {first[1]:.1f}" if first else "–")
            rows.append(cells)
            print(*cells, sep=" | ", flush=True)
    return "\n".join(
        [
            f"{PARTS * PART_ROWS:,} × {COLUMNS} float32 in Parquet, {cores()} cores.\n",
            table(["seconds, readings to", *(f"{gap:.0e}" for gap in GAPS)], rows),
            f"\nRelative gap above the minimum; –: not within {EPOCHS} epochs (fastgd's 40 iterations, Vowpal "
            "Wabbit's 20 passes, dask-ml's 20 iterations, of newton 5).",
            *([f"\nNot installed: {', '.join(missing)}."] if missing else []),
        ]
    )
