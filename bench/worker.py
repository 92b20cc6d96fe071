"""The process in which one rival fits one problem: ``python -m bench.worker PICKLE``.

It builds the problem, warms up on the first rows, and says that it is ready. Then it reads tolerances from stdin and
answers each with a line of JSON. Warnings, that a tolerance was not reached, are for the parent to find out.
"""

from __future__ import annotations

import json
import pickle
import re
import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from bench.problems import Problem
from bench.rivals import Rival

WARM_UP_ELEMENTS = 1 << 20  # of X: enough for every library to choose its parallel code
REPEAT_BELOW = 0.5  # seconds; shorter fits are timed three times
PASSES = 7  # whose median is the time of one
STATUS = Path("/proc/self/status")


def main() -> None:
    warnings.simplefilter("ignore")
    make, rival = pickle.loads(bytes.fromhex(sys.argv[1]))
    problem = make()
    try:
        rival.fit(problem.head(max(10_000, WARM_UP_ELEMENTS // problem.X.shape[1])), rival.tolerances[0])
    except ImportError as error:
        answer(missing=str(error.name))
        return
    answer(ready=True)
    before = forget_peak_memory()
    for line in sys.stdin:
        single_pass = seconds_of_a_pass(problem, rival)
        seconds = []
        while not seconds or (sum(seconds) < REPEAT_BELOW and len(seconds) < 3):
            began = time.perf_counter()
            solution = rival.fit(problem, float(line))
            seconds.append(time.perf_counter() - began)
        answer(
            coef=solution.coef.tolist(),
            intercept=solution.intercept,
            passes=solution.passes,
            seconds=statistics.median(seconds),
            single_pass=single_pass,
            memory=memory("VmHWM") - before,
        )


def seconds_of_a_pass(problem: Problem, rival: Rival) -> float | None:
    """What fastgd's loss and gradient cost right now; nobody else's fit is measured in passes."""
    if not rival.is_ours:
        return None
    evaluate, seconds = rival.module.evaluator(problem), []
    for _ in range(PASSES):
        began = time.perf_counter()
        evaluate(np.zeros(problem.X.shape[1] + 1))
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def answer(**document: object) -> None:
    print(json.dumps(document), flush=True)


def memory(field: str) -> int:
    """Bytes of this process that are (VmRSS) or ever were (VmHWM) in memory; 0 where that is not Linux."""
    found = re.search(rf"{field}:\s+(\d+) kB", STATUS.read_text()) if STATUS.exists() else None
    return 1024 * int(found[1]) if found else 0


def forget_peak_memory() -> int:
    """Let VmHWM start anew, so that building the problem doesn't count; give what is in memory now."""
    if STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


if __name__ == "__main__":
    main()
