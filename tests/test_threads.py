"""Fits in several threads and processes at once give the bits of a fit alone. Each case is a process of its own."""

import pytest

COMMON = """
import os, sys
import numpy as np
import fastgd
from fastgd import passes

def data(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((20_011, 13))
    assert X.size > passes._SMALL
    return X, (X.sum(axis=1) + rng.standard_normal(20_011) > 0).astype(float)

def bits(X, y, n_threads=None):
    fits = [fastgd.fit(X, y, loss=loss, n_threads=n_threads) for loss in ("squared", "logistic")]
    assert all(fit.converged for fit in fits)
    return b"".join(fit.coef.tobytes() + fit.history.loss.tobytes() for fit in fits)
"""
LAYERS = pytest.mark.parametrize("layer", ["workqueue", "omp"])

THREADS = """
import threading
samples = [data(seed) for seed in (1, 2)]
alone = [bits(*s, n_threads=1) for s in samples]
barrier, found = threading.Barrier(2), [[], []]

def work(k):
    barrier.wait()
    found[k] = [bits(*samples[k]) for _ in range(10)]

threads = [threading.Thread(target=work, args=(k,)) for k in (0, 1)]
[t.start() for t in threads]
[t.join() for t in threads]
print([set(f) == {a} and len(f) == 10 for f, a in zip(found, alone)])
"""

POOL = """
from concurrent.futures import ThreadPoolExecutor
X, y = data(1)
with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda _: bits(X, y), range(24)))
print(len(set(found)) == 1, found[0] == bits(X, y, n_threads=1))
"""

FORK = """
X, y = data(1)
before = bits(X, y)
child = os.fork()
if child == 0:
    os._exit(0 if bits(X, y) == before else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), bits(X, y) == before)
"""

SPAWN = """
import multiprocessing, hashlib

def digest(seed):
    return hashlib.sha256(bits(*data(seed))).hexdigest()

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(digest, [1, 1, 2])
    print(found == [digest(1), digest(1), digest(2)])
"""


@LAYERS
def test_two_threads_at_once(layer, run_python):
    assert run_python(COMMON + THREADS, NUMBA_THREADING_LAYER=layer) == "[True, True]"


@LAYERS
def test_a_pool_of_threads(layer, run_python):
    assert run_python(COMMON + POOL, NUMBA_THREADING_LAYER=layer) == "True True"


@LAYERS
def test_a_forked_child_fits(layer, run_python):
    # Python 3.12 warns of any fork of a process with threads.
    assert run_python(COMMON + FORK, flags=(), NUMBA_THREADING_LAYER=layer) == "0 True"


def test_spawned_processes_fit(run_python, tmp_path):
    script = tmp_path / "spawn.py"
    script.write_text(COMMON + SPAWN)
    assert run_python("import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')", script) == "True"


def test_numbers_of_threads_give_the_same_bits(run_python):
    code = COMMON + "print(max_threads(), bits(*data(1)).hex())"
    found = dict(run_python(code, NUMBA_NUM_THREADS=str(count)).split() for count in (1, 2, 3, 4))
    assert list(found) == ["1", "2", "3", "4"]
    assert len(set(found.values())) == 1


def test_fewer_threads_of_a_process_are_heeded_and_restored(run_python):
    code = (
        COMMON
        + """
import numba
X, y = data(1)
numba.set_num_threads(1)
few = bits(X, y)
assert numba.get_num_threads() == 1
print(few == bits(X, y, n_threads=3), numba.get_num_threads())
"""
    )
    assert run_python(code, NUMBA_NUM_THREADS="3") == "True 1"
