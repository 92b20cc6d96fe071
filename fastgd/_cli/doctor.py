"""The command ``fastgd doctor``: versions, threads, the kernel cache, and the speed of a pass."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from fastgd._cli.output import print_line
from fastgd._version import __version__


def run_doctor(options: argparse.Namespace) -> int:  # noqa: ARG001
    """Print versions, threads, cache and speed on this machine; return exit code 0."""
    from fastgd._data.dataset import InMemory
    from fastgd._data.design import Array
    from fastgd._kernels.sums import read, threading_layer
    from fastgd._kernels.threads import allowed_threads
    from fastgd._linear.objective import LinearObjective, ModelSpec
    from fastgd._linear.statistics import moments
    from fastgd.losses import Logistic
    from fastgd.penalties import L2

    rng = np.random.default_rng(0)
    X = rng.standard_normal((320_000, 100))  # 256 MB, more than most caches hold
    dataset = InMemory(Array(X), rng.integers(0, 2, len(X)).astype(float))
    spec = ModelSpec(Logistic(), L2(0.0), intercept=True, standardize=True)
    objective = LinearObjective(dataset, spec, moments(dataset, spec.loss, about_mean=True))
    point = np.zeros(objective.size)
    pass_seconds, read_seconds = _interleaved(lambda: objective(point), lambda: read(X))
    rows: list[tuple[str, Any]] = [
        ("fastgd", __version__),
        ("python", platform.python_version()),
        *((name, _version(name)) for name in ("numpy", "numba", "scikit-learn", "narwhals", "pyarrow", "matplotlib")),
        ("threads", f"{allowed_threads()} of {os.cpu_count()} processors"),
        ("threading layer", threading_layer()),
        ("kernel cache", _cache()),
        ("memory read", f"{X.nbytes / read_seconds / 1e9:.1f} GB/s"),
        ("logistic pass", f"{X.nbytes / pass_seconds / 1e9:.1f} GB/s, {read_seconds / pass_seconds:.0%} of reading"),
    ]
    for name, value in rows:
        print_line(f"{name:<16} {value}")
    return 0


def _cache() -> str:
    """Return the folder of compiled kernels, and whether it can be written."""
    from fastgd._kernels.sums import cache_folder

    folder = cache_folder()
    if folder is None:
        return "none: no folder can be written, so every process compiles"
    if not os.access(folder, os.W_OK):
        return f"{folder}, cannot be written: every process compiles what is not in it"
    return folder


def _version(package: str) -> str:
    """Return the version of an installed package, or "not installed"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _interleaved(*actions: Callable[[], object], rounds: int = 7) -> list[float]:
    """Return the median seconds of each action. The actions run in turn, after one round to warm up."""
    seconds: list[list[float]] = [[] for _ in actions]
    for _ in range(rounds + 1):
        for action, times in zip(actions, seconds, strict=True):
            began = time.perf_counter()
            action()
            times.append(time.perf_counter() - began)
    return [statistics.median(times[1:]) for times in seconds]
