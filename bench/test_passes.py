"""``pytest bench --benchmark-only -n 0``: loss and gradient, everyone's on the same problem in one group."""

from functools import lru_cache

import numpy as np
import pytest

from bench.passes import DTYPES, LOSSES, SHAPES, evaluators
from bench.problems import standard_normal
from bench.rivals import EVALUATORS

X_BYTES = 64_000_000


@lru_cache(maxsize=1)
def contenders(loss, dtype, d):
    return evaluators(standard_normal(X_BYTES // (d * np.dtype(dtype).itemsize), d, dtype, loss))


@pytest.mark.parametrize("d", sorted({d for d, _ in SHAPES}))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("contender", EVALUATORS)
def test_pass(benchmark, contender, loss, dtype, d):
    benchmark.group = f"{loss} {dtype} d={d}"
    evaluate = contenders(loss, dtype, d)[contender]
    if evaluate is None:
        pytest.skip("not installed")  # rivals are nobody's dependency; the tables say so, too
    benchmark.extra_info["X_bytes"] = X_BYTES
    benchmark(evaluate, np.full(d + 1, 1.0 / d))
