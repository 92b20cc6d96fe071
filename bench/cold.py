"""What comes before the speed: imports, compiling, the cache, and the overhead of a small fit.

Every line is the median over fresh processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from bench.report import table

REPEATS = 3

IMPORT = """
import json, time
began = time.perf_counter()
{statement}
print(json.dumps({{"seconds": time.perf_counter() - began}}))
"""

FITS = """
import json, time
import numpy as np
from fastgd import fit
X = np.random.default_rng(0).standard_normal((100_000, 10))
y = (X[:, 0] > 0.3 * X[:, 1]) == (X[:, 2] > -2.0)
seconds = {{}}
for turn in ("first", "next"):
    began = time.perf_counter()
    fit(X, y, loss="{loss}", l2=1e-3)
    seconds[turn] = time.perf_counter() - began
print(json.dumps(seconds))
"""

SMALL_FITS = """
import json, time
import numpy as np
from statistics import median
from fastgd import fit
from sklearn.linear_model import LogisticRegression
X = np.random.default_rng(0).standard_normal((1000, 10))
y = (X[:, 0] + np.random.default_rng(1).logistic(size=1000) > 0).astype(int)
contenders = {
    "fastgd": lambda: fit(X, y, loss="logistic", l2=1e-3, tol=1e-4),
    "scikit-learn": lambda: LogisticRegression(tol=1e-4).fit(X, y),
}
seconds = {name: [] for name in contenders}
for turn in range(200):
    for name, contender in contenders.items():
        began = time.perf_counter()
        contender()
        seconds[name].append(time.perf_counter() - began)
print(json.dumps({name: median(times[10:]) for name, times in seconds.items()}))
"""


def run() -> str:
    return table(["what", "ms"], [[what, f"{1e3 * seconds:.3g}"] for what, seconds in _measure().items()])


def _measure() -> dict[str, float]:
    measured = {}
    for statement in ("import numpy", "import fastgd", "from fastgd import fit", "import sklearn.linear_model"):
        times = [_run(IMPORT.format(statement=statement))["seconds"] for _ in range(REPEATS + 2)]
        measured[f"`{statement}`"] = median(times)
    for loss in ("squared", "logistic"):
        cold, warm = zip(*(_cold_and_warm(loss) for _ in range(REPEATS)), strict=True)
        name = f"{loss}, 100,000 × 10:"
        measured[f"{name} first fit ever (compiles)"] = median(times["first"] for times in cold)
        measured[f"{name} first fit in a second process"] = median(times["first"] for times in warm)
        measured[f"{name} next fit"] = median(times["next"] for times in warm)
    try:
        small = [_run(SMALL_FITS) for _ in range(REPEATS)]
    except ModuleNotFoundError:
        small = []
    for name in small[0] if small else ():
        measured[f"logistic, 1000 × 10, warm, tol 1e-4: {name}"] = median(times[name] for times in small)
    return measured


def _cold_and_warm(loss: str) -> tuple[dict[str, float], dict[str, float]]:
    """A process that finds an empty cache, and the next one."""
    with tempfile.TemporaryDirectory() as cache:
        first, second = (_run(FITS.format(loss=loss), NUMBA_CACHE_DIR=cache) for _ in range(2))
    return first, second


def _run(program: str, **environment: str) -> dict[str, float]:
    """Run a program in a fresh process, and take the seconds it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent.parent,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)
