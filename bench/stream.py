"""``python -m bench stream``: what reading, decoding and computing at once costs, next to merely reading and decoding.

Contenders take turns, in this process: pyarrow alone, the same columns, with all its threads; and one reading of the
same files by fastgd, with the sums of loss and gradient. So are an array, and the same array in a mapped file that is
in the page cache. Then a whole fit in a process of its own, with the memory that it takes beyond its libraries.

The size of the files is an environment variable, FASTGD_STREAM_GB, by default 1; a fit of files larger than memory is
the same code.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import csv, parquet

from bench.report import cores, table
from bench.rivals.ours import objective_over
from fastgd._data.chunked import open_chunks
from fastgd._data.dataset import InMemory
from fastgd._data.design import Array
from fastgd._data.encoder import OpenRequest
from fastgd._data.readers.arrow import Files
from fastgd._data.schema import DataSpec
from fastgd._utils.session import Session
from fastgd.losses import Logistic

COLUMNS = 50
ROUNDS = 5
PART_ROWS = 500_000
GB = float(os.environ.get("FASTGD_STREAM_GB", "1"))


def columns(rows: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((COLUMNS, rows), dtype=np.float32)
    late = X[:8].sum(axis=0) + 2 * rng.logistic(size=rows) > 1
    return {**{f"x{j}": column for j, column in enumerate(X)}, "late": late}


def write(folder: Path) -> dict[str, Path]:
    """Write the same kind of rows as one .npy, as Parquet, a quarter as pyarrow does by default, and some as CSV."""
    parts = max(1, round(GB * 1e9 / (4 * COLUMNS) / PART_ROWS))
    places = {name: folder / name for name in ("plain", "default", "dictionary", "csv")}
    for place in places.values():
        place.mkdir()
    mapped = np.lib.format.open_memmap(
        folder / "X.npy", mode="w+", dtype=np.float32, shape=(parts * PART_ROWS, COLUMNS)
    )
    late = []
    for part in range(parts):
        data = columns(PART_ROWS, part)
        rows = pa.table(data)
        parquet.write_table(rows, places["plain"] / f"{part:04}.parquet", use_dictionary=False, compression="none")
        if part < max(4, parts // 4):
            parquet.write_table(rows, places["default"] / f"{part:04}.parquet")
        if part < 2:
            coarse = {name: np.round(values, 1) if name != "late" else values for name, values in data.items()}
            parquet.write_table(pa.table(coarse), places["dictionary"] / f"{part:04}.parquet", compression="snappy")
        if part == 0:
            csv.write_csv(rows.slice(0, PART_ROWS // 4), places["csv"] / f"{part:04}.csv")
        for j in range(COLUMNS):
            mapped[part * PART_ROWS : (part + 1) * PART_ROWS, j] = data[f"x{j}"]
        late.append(data["late"])
    mapped.flush()
    np.save(folder / "late.npy", np.concatenate(late))
    return places


def in_turn(actions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Give the median seconds of each, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(ROUNDS + 1):
        for name, action in actions.items():
            began = time.perf_counter()
            action()
            seconds[name].append(time.perf_counter() - began)
    return {name: median(times[1:]) for name, times in seconds.items()}


def some(folder: Path) -> list[str]:
    """Give the first files, enough to measure a speed by."""
    return sorted(map(str, folder.iterdir()))[:4]


def read_alone(folder: Path) -> int:
    """Read and decode with pyarrow alone."""
    kind = "csv" if folder.name == "csv" else "parquet"
    return sum(batch.num_rows for batch in ds.dataset(some(folder), format=kind).to_batches())


def reading(folder: Path) -> Callable[[], object]:
    """Give one evaluation of the logistic loss over files."""
    files = Files(some(folder), "late")
    request = OpenRequest(DataSpec(target="late", cache="none"), Logistic(), Session())
    return evaluation(open_chunks(files, request).dataset)


def evaluation(dataset: Any) -> Callable[[], object]:
    objective = objective_over(dataset)
    point = np.zeros(objective.size)
    return lambda: objective(point)


FIT = """
import sys, threading, time
import fastgd

def private():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) * 1024

path, small, limit = sys.argv[1:]
mapped = path.endswith(".npy")
def fit(path, **options):
    if mapped:
        return fastgd.fit(path, path.replace("X.npy", "late.npy"), loss="logistic", **options)
    return fastgd.fit(path, target="late", loss="logistic", **options)
fastgd.fit(small, target="late", loss="logistic", memory_limit="4MB")
before, peak, done = private(), [0], threading.Event()
def watch():
    while not done.wait(0.005):
        peak[0] = max(peak[0], private())
watcher = threading.Thread(target=watch)
watcher.start()
began = time.perf_counter()
result = fit(path, memory_limit=limit, tol=1e-8)
seconds = time.perf_counter() - began
done.set()
watcher.join()
print(seconds, result.history.passes[-1], (peak[0] - before) / 1e6, result.rows, result.converged)
"""


def run() -> str:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        places = write(folder)
        lines = []
        for name, place in places.items():
            seconds = in_turn({"alone": lambda place=place: read_alone(place), "fastgd": reading(place)})
            rows = read_alone(place)
            lines.append(
                (
                    name,
                    f"{rows:,}",
                    f"{rows * COLUMNS * 4 / seconds['alone'] / 1e9:.2f}",
                    f"{rows * COLUMNS * 4 / seconds['fastgd'] / 1e9:.2f}",
                    f"{seconds['alone'] / seconds['fastgd']:.0%}",
                )
            )
        late = np.load(folder / "late.npy")
        mapped = np.load(folder / "X.npy", mmap_mode="r")
        rows = min(len(mapped), 4 * PART_ROWS)
        array = np.array(mapped[:rows])
        seconds = in_turn(
            {
                "array": evaluation(InMemory(Array(array), late[:rows])),
                "map": evaluation(InMemory(Array(np.asarray(mapped[:rows])), late[:rows])),
            }
        )
        gigabytes = rows * COLUMNS * 4 / 1e9
        lines.append(
            (
                "map of .npy, in the page cache",
                f"{rows:,}",
                f"{gigabytes / seconds['array']:.2f}",
                f"{gigabytes / seconds['map']:.2f}",
                f"{seconds['array'] / seconds['map']:.0%}",
            )
        )
        del array, mapped
        fits = []
        paths = {"Parquet, plain": places["plain"], "Parquet, default": places["default"], "map": folder / "X.npy"}
        for name, path in paths.items():
            for limit in ("512MB", "128MB"):
                printed = subprocess.run(
                    [sys.executable, "-c", FIT, str(path), str(places["csv"]), limit],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                took, passes, peak, read, converged = printed.stdout.split()
                fits.append(
                    (name, limit, f"{int(read) * COLUMNS * 4 / 1e9:.1f}", f"{float(took):.1f}",
                     f"{float(passes):.2f}", f"{float(peak):.0f}", converged)
                )  # fmt: skip
    return "\n".join(
        [
            f"{cores()} cores, {COLUMNS} columns of float32.\n",
            table(["what", "rows", "alone GB/s", "fastgd GB/s", "share"], lines),
            "\nParquet: plain, without dictionaries and compression; as pyarrow writes it by default, so that "
            "dictionaries overflow; and with dictionaries of some hundred values. Alone: pyarrow's own threads over "
            "the same columns; of the map: the same pass over an array.\n",
            table(["fit of", "memory_limit", "GB of X", "s", "readings", "MB beyond libraries", "converged"], fits),
            "\nLogistic, to a slope of 1e-8. Memory: private pages of the process at the peak.",
        ]
    )
