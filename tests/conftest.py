"""Hypothesis profiles, and what several rooms' tests share."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

QUIET = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}  # on a busy machine
settings.register_profile("default", derandomize=True, max_examples=50, **QUIET)
settings.register_profile("nightly", max_examples=2_000, **QUIET)  # of each test and solver
settings.load_profile("default")

os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])


@pytest.fixture(autouse=True)
def handler():
    """Every test begins and ends with Python's handler of Ctrl-C, which a shell in the background has switched off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def rng():
    return np.random.default_rng(20240217)


@pytest.fixture(scope="session")
def make_data():
    """Samples with targets for a loss, and weights of which some are 0: X, y, weight."""

    def make(loss, n, d, dtype=np.float64, weighted=False, seed=0):
        rng = np.random.default_rng([seed, n, d])
        X = rng.standard_normal((n, d)).astype(dtype)
        margins = X @ rng.standard_normal(d) / np.sqrt(d) + 0.5 * rng.standard_normal(n)
        y = (margins > 0.2).astype(np.float64) if loss == "logistic" else margins.astype(np.float64)
        weight = rng.integers(0, 4, n) * 0.75 + 0.25 * (np.arange(n) == 0) if weighted else np.empty(0)
        return X, y, weight

    return make


class Readings(list):
    """Chunks, and how often they have been read to the end."""

    count = 0

    def __iter__(self):
        yield from super().__iter__()
        self.count += 1


@pytest.fixture(scope="session")
def elsewhere():
    """Give samples as `fit` takes them, in chunks or in Dask's partitions of so many rows."""

    def cut(where, X, y, rows, weight=None):
        given = (X, y) if weight is None else (X, y, weight)
        if where == "partitions":
            return tuple(da.from_array(each, (rows, *each.shape[1:])) for each in given)
        starts = range(0, len(X), rows)
        return Readings(tuple(each[start : start + rows] for each in given) for start in starts), None

    return cut


@pytest.fixture(scope="session")
def as_dense():
    """Put a matrix together from its parts: a dense array, columns in the order of coefficients."""

    def dense(design):
        (n, d), (X, rows, entries) = design.shape, design.tile(0, design.shape[0])
        whole = np.zeros((n, d))
        whole[:, : X.shape[1]] = X[rows] if rows.size else X
        if entries is not None:
            of_row = np.repeat(np.arange(n), np.diff(entries.begins))
            np.add.at(whole, (of_row, X.shape[1] + entries.columns), entries.values)
        return whole if design.order is None else whole[:, design.order]

    return dense


@pytest.fixture(scope="session")
def run_python():
    """Run code in a fresh process, warnings as errors, and give what it printed."""

    def run(code, *arguments, flags=("-W", "error"), **environment):
        result = subprocess.run(
            [sys.executable, *flags, "-c", code, *map(str, arguments)],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert result.returncode == 0, f"exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result.stdout.strip()

    return run
