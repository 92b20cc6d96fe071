"""What a fit takes in memory beside X, and what a reading costs, for every kind of X: each in a fresh process.

``python -m bench.memory KIND`` is that process: it makes about a gigabyte, fits its first rows so that everything is
compiled, and then all of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import table
from bench.worker import forget_peak_memory, memory

BYTES = 1 << 30
D = 100
WARM_UP = 0.02  # of the rows


def numbers(dtype: str, order: str = "C", rows: int = 1) -> Callable[[Path], Any]:
    """An array of a gigabyte, whole numbers if the dtype has no others; of more, only every so many of its rows."""

    def make(folder: Path) -> Any:  # noqa: ARG001
        kind = np.dtype(dtype)
        n = BYTES // (D * kind.itemsize)
        X = np.empty((n * rows, D), dtype, order)
        rng = np.random.default_rng(0)
        for start in range(0, len(X), 1 << 16):
            part = X[start : start + (1 << 16)]
            drawn = rng.standard_normal(part.shape, dtype="f4")
            part[...] = drawn > 0 if kind.kind == "b" else 10 * drawn if kind.kind == "i" else drawn
        return X[::rows]

    return make


def mapped(folder: Path) -> Any:
    """A memory map, all of it in memory already: its pages count as those of an array."""
    np.save(folder / "X.npy", numbers("f8")(folder))
    X = np.load(folder / "X.npy", mmap_mode="r")
    assert X.sum() != 0.0
    return X


def sparse(order: str) -> Callable[[Path], Any]:
    """Text-like, 52 entries per row."""

    def make(folder: Path) -> Any:  # noqa: ARG001
        from bench.problems import text_like

        return text_like(BYTES // (12 * 52), 100_000, 52).X.asformat(order)

    return make


def columns(categories: tuple[int, ...] = ()) -> dict[str, Any]:
    """Ten columns of numbers, and some of text of so many levels each, filling a gigabyte with an index of 4 bytes."""
    rng = np.random.default_rng(0)
    n = BYTES // (8 * 10 + 4 * len(categories))
    made: dict[str, Any] = {f"x{j}": rng.standard_normal(n) for j in range(10)}
    for levels in categories:
        made[f"level{levels}"] = rng.integers(0, levels, n, dtype="i4")
    return made


def pandas(*categories: int) -> Callable[[Path], Any]:
    def make(folder: Path) -> Any:  # noqa: ARG001
        import pandas as pd

        return pd.DataFrame(
            {
                name: pd.Categorical.from_codes(values, [f"L{k}" for k in range(int(name[5:]))])
                if name.startswith("level")
                else values
                for name, values in columns(categories).items()
            }
        )

    return make


def polars(folder: Path) -> Any:  # noqa: ARG001
    import polars as pl

    return pl.DataFrame(columns())


def pyarrow(folder: Path) -> Any:  # noqa: ARG001
    import pyarrow as pa

    return pa.table(columns())


KINDS: dict[str, Callable[[Path], Any]] = {
    "float64, C order": numbers("f8"),
    "float64, Fortran order": numbers("f8", "F"),
    "float64, every second row": numbers("f8", rows=2),
    "float64, memory-mapped": mapped,
    "float32": numbers("f4"),
    "float16": numbers("f2"),
    "int64": numbers("i8"),
    "int8": numbers("i1"),
    "bool": numbers("?"),
    "CSR, 100,000 columns": sparse("csr"),
    "CSC, 100,000 columns": sparse("csc"),
    "pandas, 10 columns of numbers": pandas(),
    "polars, the same": polars,
    "pyarrow, the same": pyarrow,
    "pandas, and 3 categories of 12, 50 and 400 levels": pandas(12, 50, 400),
}


def size(X: Any) -> int:
    """Bytes of what holds the data."""
    if hasattr(X, "indptr"):
        return int(X.data.nbytes + X.indices.nbytes + X.indptr.nbytes)
    if hasattr(X, "memory_usage"):
        return int(X.memory_usage(deep=True).sum())
    return int(X.estimated_size()) if hasattr(X, "estimated_size") else int(X.nbytes)


def measure(kind: str) -> dict[str, Any]:
    import fastgd

    with tempfile.TemporaryDirectory() as folder:
        X = KINDS[kind](Path(folder))
        n = X.shape[0]
        y = np.random.default_rng(1).random(n) < 0.3
        few = int(n * WARM_UP)
        head = X.slice(0, few) if hasattr(X, "slice") else X.iloc[:few] if hasattr(X, "iloc") else X[:few]
        for solver in ("auto", "lbfgs"):
            fastgd.fit(head, y[:few], loss="logistic", l2=1.0 / n, solver=solver, max_iter=2)
        before, began = forget_peak_memory(), time.perf_counter()
        result = fastgd.fit(X, y, loss="logistic", l2=1.0 / n)
        seconds = time.perf_counter() - began
        return {
            "bytes": size(X),
            "over": memory("VmHWM") - before,
            "seconds": seconds,
            "passes": float(result.history.passes[-1]),
            "solver": result.settings["solver"],
        }


def run() -> str:
    rows = []
    for kind in KINDS:
        command = [sys.executable, "-m", "bench.memory", kind]
        done = subprocess.run(command, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        rows.append(
            [
                kind,
                f"{found['bytes'] / 1e9:.2f}",
                f"{found['over'] / 1e6:.0f}",
                f"{found['over'] / found['bytes']:.1%}",
                found["solver"],
                f"{found['seconds']:.2f}",
                f"{found['passes']:.3g}",
                f"{found['bytes'] * found['passes'] / found['seconds'] / 1e9:.2f}",
            ]
        )
    return table(["X", "GB", "MB over X", "share", "solver", "s", "passes", "GB/s"], rows) + (
        "\n\nMB over X: the peak of memory during the fit, beside what there was before it, X and y included. "
        "GB/s: X's bytes in all passes, statistics and sub-samples included, over the fit's seconds."
    )


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
