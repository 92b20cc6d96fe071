"""What one process compiled, the next one only loads; and where nothing can be cached, fits work all the same."""

import hashlib
from pathlib import Path

from fastgd import compiling, entries, kernels, lanes, losses

FIT = """
import numpy as np, fastgd
from fastgd import kernels, passes

rng = np.random.default_rng(0)
for dtype in (np.float64, np.float32):
    for n in (100, passes._SMALL // 4):
        X = rng.standard_normal((n, 5)).astype(dtype)
        y = X.sum(axis=1) + rng.standard_normal(n)
        assert fastgd.fit(X, y).converged
        assert fastgd.fit(X, y > 0, loss="logistic", l2=0.1, sample_weight=np.ones(n)).converged
"""
COUNT = """
stats = [f.stats for f in vars(kernels).values() if hasattr(f, "stats")]
print(sum(sum(s.cache_hits.values()) for s in stats), sum(sum(s.cache_misses.values()) for s in stats))
"""


def test_what_warmup_compiled_a_second_process_only_loads(run_python, tmp_path):
    first, second = (
        list(map(int, run_python(code + COUNT, NUMBA_CACHE_DIR=str(tmp_path)).split()))
        for code in ("import fastgd; from fastgd import kernels; fastgd.warmup()", FIT)
    )
    assert first[1] > 0
    assert second[0] > 0 and second[1] == 0


LAYOUTS = """
import numpy as np, fastgd
from fastgd import kernels

rng = np.random.default_rng(0)
X = rng.standard_normal((100, 5))
y = X.sum(axis=1) + rng.standard_normal(100)
weight = np.ones(100)
frozen = [a.copy() for a in (X, y, weight)]
for a in frozen:
    a.flags.writeable = False
fastgd.fit(X, y, sample_weight=weight)
before = {name: len(f.signatures) for name, f in vars(kernels).items() if hasattr(f, "signatures")}
fastgd.fit(frozen[0], y, sample_weight=weight)
fastgd.fit(*frozen[:2], sample_weight=frozen[2])
fastgd.fit(np.asfortranarray(X), y[::-1][::-1], sample_weight=weight.astype(int))
fastgd.fit(X.tolist(), y.tolist(), sample_weight=weight.astype("f4"))
after = {name: len(f.signatures) for name, f in vars(kernels).items() if hasattr(f, "signatures")}
print([name for name in after if after[name] != before[name]])
"""


def test_layout_and_writability_compile_nothing_new(run_python):
    assert run_python(LAYOUTS) == "[]"


def test_without_a_place_for_the_cache_fits_compile_in_memory(run_python):
    code = """
import numba.core.caching

def nowhere(*_, **__):
    raise RuntimeError("cannot cache function: no locator available for file")

numba.core.caching.CacheImpl.__init__ = nowhere
import numpy as np, fastgd
from fastgd import kernels

X = np.random.default_rng(0).standard_normal((100, 5))
assert fastgd.fit(X, X.sum(axis=1)).converged
assert kernels.pass_serial.signatures and kernels.pass_serial.stats.cache_path is None
print("fitted")
"""
    assert run_python(code) == "fitted"


def test_an_edit_of_what_kernels_are_made_of_makes_cached_ones_stale():
    """numba looks at the file of a kernel alone, so that file has to change, too."""
    sources = (Path(room.__file__).read_bytes() for room in (compiling, lanes, losses, entries))
    checksum = hashlib.sha256(b"".join(sources)).hexdigest()[:16]
    assert f"(compiling, lanes, losses, entries: {checksum})" in Path(kernels.__file__).read_text("utf-8"), checksum
