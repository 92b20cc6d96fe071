"""``python -m bench scaling``: what a pass over a cluster costs, by a model whose pieces are measured here.

    T = base + max(task · tasks, work of the busiest worker) + depth · (latency + bytes / network)

``tasks`` are a pass's: one for each partition and those that combine, `FAN_IN` at a time. The scheduler hands them out
one after another while cores work, so of its share and theirs the larger one counts. Base and cost of a task are fitted
to passes over empty partitions; the model is checked against passes whose tasks sleep, on more threads than there are
cores, as on many machines; then it says what a large cluster would take, whose network and memory are assumptions.
"""

from __future__ import annotations

import time
from math import ceil
from statistics import median
from typing import Any, NamedTuple

import dask.array as da
import numpy as np
from dask.distributed import Client, LocalCluster, wait

from bench.report import table
from bench.rivals.ours import objective_over
from fastgd._data.dask_graph import FAN_IN, Partitions
from fastgd._data.dataset import InMemory
from fastgd._data.design import Array
from fastgd._kernels.threads import alone

ROUNDS = 5
NUMBERS = 102  # that a partition gives: loss, slope, gradient
THREADS = 32  # of each of the two processes whose tasks sleep

ROWS, COLUMNS, MACHINES = 1e11, 100, 64
CORES = 32  # of a machine
MEMORY_SPEED = 150e9  # bytes a second that a machine's cores read together
NETWORK = 1.25e9  # bytes a second: 10 Gbit/s
LATENCY = 1e-3  # seconds for a task's result to be asked for and had by another machine


class Model(NamedTuple):
    """What a pass costs beside the work of its partitions."""

    base: float
    task: float

    def seconds(self, partitions: int, waves: int, each: float, depth_cost: float = 0.0) -> float:
        work = waves * each
        return self.base + max(self.task * tasks(partitions), work) + depth(partitions) * depth_cost


def tasks(partitions: int) -> int:
    """Count the tasks of a pass."""
    total, level = partitions + 1, partitions
    while level > 1:
        level = -(-level // FAN_IN)
        total += level
    return total


def depth(partitions: int) -> int:
    """Count the levels of the tree."""
    return max(1, ceil(np.log(partitions) / np.log(FAN_IN))) if partitions > 1 else 1


class Sleep:
    """What a partition does instead of a pass: it waits as long as one takes, and gives as many numbers."""

    def __init__(self, delay: float) -> None:
        self.delay = delay

    def __call__(self, *_: Any) -> Any:
        time.sleep(self.delay)
        return np.zeros(NUMBERS)


def add(results: list[Any]) -> Any:
    return sum(results[1:], results[0])


def measured(client: Client, partitions: int, delay: float) -> tuple[float, int]:
    """Give the median seconds of a turn, and the rounds of the busiest worker's threads: tasks run by their data."""
    X = client.persist(da.zeros((partitions, 1), chunks=(1, 1)))
    wait(X)
    cut, seconds = Partitions([X]), []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        cut.map_reduce(Sleep(delay), add, bool)
        seconds.append(time.perf_counter() - began)
    busiest = max(len(keys) for keys in client.has_what().values())
    return median(seconds[1:]), ceil(busiest / THREADS)


def core_speed() -> float:
    """Give the bytes a second that one core's pass reads, at this many columns."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400_000, COLUMNS))
    dataset = InMemory(Array(X), X[:, 0] > 0)
    with alone():
        objective = objective_over(dataset)
        point, seconds = np.zeros(objective.size), []
        for _ in range(ROUNDS + 1):
            began = time.perf_counter()
            objective(point)
            seconds.append(time.perf_counter() - began)
    return X.nbytes / median(seconds[1:])


def fitted(client: Client) -> tuple[Model, list[tuple[str, ...]]]:
    """Fit base and cost of a task to empty partitions, and check them by partitions that sleep."""
    counts = (8, 32, 128, 512)
    empty = {count: measured(client, count, 0.0)[0] for count in counts}
    weights = np.array([1.0 / empty[count] for count in counts])  # relative errors count
    design = np.array([[1.0, tasks(count)] for count in counts])
    solution = np.linalg.lstsq(design * weights[:, None], np.array([*empty.values()]) * weights, rcond=None)[0]
    model = Model(*(float(max(0.0, value)) for value in solution))
    lines = []
    for count, delay in [*((count, 0.0) for count in counts), (64, 0.2), (64, 1.0), (128, 1.0), (256, 0.2), (512, 0.5)]:
        took, waves = (empty[count], 0) if delay == 0.0 else measured(client, count, delay)
        said = model.seconds(count, waves, delay)
        lines.append(
            (
                f"{count}",
                f"{tasks(count)}",
                f"{delay:g}",
                f"{waves}",
                f"{took:.2f}",
                f"{said:.2f}",
                f"{said / took:.2f}",
            )
        )
    return model, lines


def predictions(model: Model, core: float) -> list[tuple[str, ...]]:
    """Say what a pass would take on the large cluster, by the size of its partitions."""
    speed = min(core, MEMORY_SPEED / CORES)  # of one core, where all of a machine's read at once
    cores, depth_cost = MACHINES * CORES, LATENCY + FAN_IN * NUMBERS * 8 / NETWORK
    lines = []
    for size in (128e6, 1e9, 4e9, 16e9):
        partitions = round(ROWS * COLUMNS * 8 / size)
        seconds = model.seconds(partitions, ceil(partitions / cores), size / speed, depth_cost)
        lines.append(
            (
                f"{size / 1e9:g}",
                f"{partitions:,}",
                f"{ceil(partitions / cores) * size / speed:.0f}",
                f"{model.task * tasks(partitions):.0f}",
                f"{1e3 * depth(partitions) * depth_cost:.0f}",
                f"{partitions * NUMBERS * 8 / 1e6:.0f}",
                f"{seconds:.0f}",
                f"{6 * seconds / 60:.1f}",
            )
        )
    return lines


def run() -> str:
    core = core_speed()
    with (
        LocalCluster(n_workers=2, threads_per_worker=THREADS, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        model, lines = fitted(client)
    checked = ["partitions", "tasks", "s each sleeps", "rounds", "s taken", "s said", "said / taken"]
    said = ["GB a partition", "partitions", "s of reading", "s of the scheduler", "ms of the tree", "MB of sums"]
    return "\n".join(
        [
            f"Measured: base {1e3 * model.base:.0f} ms, {1e3 * model.task:.2f} ms a task, a core's pass "
            f"{core / 1e9:.1f} GB/s ({COLUMNS} columns of float64, logistic). Scheduler, client and workers share the "
            "cores.\n",
            table(checked, lines, 0),
            f"\n{2 * THREADS} threads in two processes; medians of {ROUNDS}.\n",
            f"Said for {ROWS:g} rows × {COLUMNS} float64 ({ROWS * COLUMNS * 8 / 1e12:.0f} TB) in the memory of "
            f"{MACHINES} machines of {CORES} cores, assuming {MEMORY_SPEED / 1e9:.0f} GB/s of memory and "
            f"{NETWORK * 8e-9:.0f} Gbit/s of network for each:\n",
            table([*said, "s a pass", "min a fit of 6 passes"], predictions(model, core), 0),
        ]
    )


if __name__ == "__main__":
    print(run())
