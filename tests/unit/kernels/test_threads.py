"""Fits in several threads and processes at once give the bits of a fit alone, and no more threads than they may use.

Each case that could abort or hang is a process of its own, with a time limit.
"""

import os
import sys
from math import inf
from platform import machine

import pytest
from internals import patch, threads
from threadpoolctl import threadpool_info

import fastgd

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")]

COMMON = """
import hashlib, os, sys, threading
import numpy as np
import fastgd
from internals import passes
from internals import allowed_threads
from internals import max_threads

def data(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((20_011, 13))
    assert X.size > passes._SMALL
    return X, (X.sum(axis=1) + rng.standard_normal(20_011) > 0).astype(float)

def bits(X, y, n_threads=None):
    fits = [fastgd.fit(X, y, loss=loss, n_threads=n_threads) for loss in ("squared", "logistic")]
    assert all(fit.converged for fit in fits)
    return hashlib.sha256(b"".join(fit.coef.tobytes() + fit.history.loss.tobytes() for fit in fits)).hexdigest()

def digest(seed):
    return bits(*data(seed))
"""

PLACES = {
    "two threads": """
samples = [data(seed) for seed in (1, 2)]
barrier, found = threading.Barrier(2), [[], []]

def work(k):
    barrier.wait()
    found[k] = [bits(*samples[k]) for _ in range(10)]

both = [threading.Thread(target=work, args=(k,)) for k in (0, 1)]
[t.start() for t in both]
[t.join() for t in both]
found, seeds = found[0] + found[1], 10 * [1] + 10 * [2]
""",
    "a pool of threads": """
from concurrent.futures import ThreadPoolExecutor

X, y = data(1)
with ThreadPoolExecutor(8) as pool:
    found, seeds = list(pool.map(lambda _: bits(X, y), range(20))), 20 * [1]
""",
    "joblib's threads": """
from joblib import Parallel, delayed

found, seeds = Parallel(8, backend="threading")(delayed(digest)(seed) for seed in 10 * [1, 2]), 10 * [1, 2]
""",
    "fork": """
before = digest(1)
child = os.fork()
if child == 0:
    os._exit(0 if digest(1) == before else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
found, seeds = [before, digest(1)], [1, 1]
""",
    "a pool of forks": """
import multiprocessing

found = [digest(1)]
with multiprocessing.get_context("fork").Pool(2) as pool:
    found += pool.map(digest, [1, 1, 2])
found.append(digest(1))
seeds = [1, 1, 1, 2, 1]
""",
    "forkserver": """
import multiprocessing

found = [digest(1)]
with multiprocessing.get_context("forkserver").Pool(2) as pool:
    found += pool.map(digest, [1, 2])
seeds = [1, 1, 2]
""",
    "spawn": """
import multiprocessing

found = [digest(1)]
with multiprocessing.get_context("spawn").Pool(2) as pool:
    found += pool.map(digest, [1, 2])
seeds = [1, 1, 2]
""",
    "joblib's processes": """
from joblib import Parallel, delayed

found = [digest(1)]
found += Parallel(2, backend="loky")(delayed(digest)(seed) for seed in (1, 2))
seeds = [1, 1, 2]
""",
}


@pytest.fixture
def run_script(run_python, tmp_path):
    """Run code as a script, which processes that it starts import."""

    def run(code, *flags, **environment):
        script = tmp_path / "script.py"
        common, _, main = code.partition("# main\n")
        script.write_text(common + "if __name__ == '__main__':\n    " + main.replace("\n", "\n    ") + "\n")
        code = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')"
        return run_python(code, script, flags=flags, **environment)

    return run


# TBB where there is a wheel of it, which the extra test has
LAYERS = ["workqueue", "omp", *(["tbb"] if (sys.platform, machine()) == ("linux", "x86_64") else [])]


def on_layer(layer):
    """Choose numba's threading layer: a wheel's TBB is where the system does not look for libraries."""
    if layer == "tbb":
        return {"NUMBA_THREADING_LAYER": layer, "LD_LIBRARY_PATH": os.path.join(sys.prefix, "lib")}
    return {"NUMBA_THREADING_LAYER": layer}


@pytest.fixture(scope="module")
def alone(run_python):
    """What fits by one thread give."""
    code = COMMON + "print(*(bits(*data(seed), n_threads=1) for seed in (1, 2)))"
    return run_python(code, NUMBA_THREADING_LAYER="workqueue").split()


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("place", PLACES)
def test_fits_at_once_are_those_of_one_alone(place, layer, alone, run_script):
    flags = () if "fork" in place else ("-W", "error")  # Python 3.12 warns of any fork of a process with threads
    code = f"{COMMON}# main\n{PLACES[place]}\nassert passes.threading_layer() == {layer!r}\nprint(*found, *seeds)"
    found = run_script(code, *flags, **on_layer(layer)).split()
    bits, seeds = found[: len(found) // 2], found[len(found) // 2 :]
    assert bits == [alone[int(seed) - 1] for seed in seeds]


@pytest.mark.parametrize("count", ["1", "2", "3", "4"])
def test_numbers_of_threads_give_the_same_bits(count, alone, run_python):
    code = COMMON + "print(max_threads(), allowed_threads(), digest(1))"
    assert run_python(code, NUMBA_NUM_THREADS=count) == f"{count} {count} {alone[0]}"


def test_fewer_threads_of_a_process_are_heeded_and_restored(run_python):
    code = (
        COMMON
        + """
import numba
X, y = data(1)
numba.set_num_threads(1)
few = bits(X, y)
assert numba.get_num_threads() == 1 and allowed_threads() == 1
print(few == bits(X, y, n_threads=3), numba.get_num_threads())
"""
    )
    assert run_python(code, NUMBA_NUM_THREADS="3") == "True 1"


# --- How many threads a pass gets -------------------------------------------------------------------------------------


def test_passes_at_once_share_what_is_allowed(monkeypatch):
    patch(monkeypatch, "allowed_threads", lambda: 4)
    with threads.share(None) as alone:
        with threads.share(None) as second, threads.share(None) as third:
            assert (alone, second, third) == (4, 1, 1)
        with threads.share(3) as wanted:
            assert wanted == 3
    with threads.share(1), threads.share(1), threads.share(None) as rest:
        assert rest == 2
    with pytest.raises(ValueError), threads.share(None):
        raise ValueError
    with threads.share(None) as again:
        assert again == 4


def test_one_parallel_loop_at_a_time():
    with threads.parallel_loops(1) as first, threads.parallel_loops(1) as second:
        assert (first, second) == (True, False)
    with pytest.raises(ValueError), threads.parallel_loops(1):
        raise ValueError
    with threads.parallel_loops(1) as again:
        assert again


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 3),
        ({"OMP_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "1,4"}, 1),
        ({"OMP_NUM_THREADS": "100"}, 3),
        ({"OMP_NUM_THREADS": "many"}, 3),
        ({"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "3"}, 3),
    ],
)
def test_the_environment_is_heeded(environment, expected, monkeypatch):
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    patch(monkeypatch, "omp_num_threads", environment.get("OMP_NUM_THREADS", ""))
    patch(monkeypatch, "max_threads", lambda: 3)
    monkeypatch.setattr(threads.numba, "get_num_threads", lambda: 3)
    patch(monkeypatch, "cgroup_cores", lambda: inf)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert threads.allowed_threads() == expected
    for quota, cores in ((0.5, 1), (1.5, 2), (2.0, 2)):
        patch(monkeypatch, "cgroup_cores", lambda quota=quota: quota)
        assert threads.allowed_threads() == min(expected, cores if "NUMBA_NUM_THREADS" not in environment else 3)


V2, V1 = "0::/kubepods/pod1/abc\n", "9:name=systemd:/\n4:memory:/x\n3:cpu,cpuacct:/docker/abc\n"
CGROUPS = {
    "no limit": (V2, {"kubepods/pod1/abc/cpu.max": "max 100000\n"}, inf),
    "one and a half": (V2, {"kubepods/pod1/abc/cpu.max": "150000 100000\n"}, 1.5),
    "the pod's is smaller": (V2, {"kubepods/pod1/abc/cpu.max": "400000 100000", "kubepods/pod1/cpu.max": "2 1"}, 2.0),
    "in a container, the mount is the group": ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
    "a path from outside": (V2, {"cpu.max": "300000 100000\n"}, 3.0),
    "both versions": (V1 + V2, {"unified/kubepods/cpu.max": "7 2"}, 3.5),
    "version 1": (
        V1,
        {
            "cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "250000\n",
            "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n",
        },
        2.5,
    ),
    "version 1, no limit": (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, inf),
    "version 1, in a container": (V1, {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "50000\n"}, 2.0),
    "something else": (V2, {"cpu.max": "a lot\n"}, inf),
    "another's group": (V2, {"kubepods/pod2/cpu.max": "1 1"}, inf),
}


@pytest.mark.parametrize("kind", CGROUPS)
def test_limits_of_control_groups(kind, tmp_path):
    own, files, expected = CGROUPS[kind]
    (tmp_path / "own").write_text(own)
    for name, content in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert threads.cgroup_cores(tmp_path / "mount", tmp_path / "own") == expected
    assert threads.cgroup_cores(tmp_path / "mount", tmp_path / "missing") == inf


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity here")
@pytest.mark.parametrize("when", ["before", "after"])
def test_cpu_affinity_is_heeded(when, alone, run_python):
    narrow = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    code = (narrow if when == "before" else COMMON + "digest(1)\n" + narrow) + COMMON
    code += "print(allowed_threads(), digest(1))"
    assert run_python(code) == f"1 {alone[0]}"


def test_joblibs_workers_are_told_their_share(run_script):
    code = (
        COMMON
        + """# main
from joblib import Parallel, delayed, parallel_config

for count in (1, 2):
    with parallel_config("loky", inner_max_num_threads=count):
        print(*Parallel(2)(delayed(allowed_threads)() for _ in range(2)))
"""
    )
    few = min(2, threads.max_threads())
    assert run_script(code, NUMBA_NUM_THREADS=str(few)).split() == ["1", "1", str(few), str(few)]


@pytest.mark.parametrize("solver", ["newton", "lbfgs", "sgd"])
def test_the_threads_of_others_are_left_alone(solver, rng):
    X = rng.standard_normal((20_000, 10))
    before = threadpool_info()
    fastgd.fit(X, X.sum(axis=1) > 0, loss="logistic", l2=1e-3, solver=solver, max_iter=3)
    after = threadpool_info()
    assert before and all(library in after for library in before)
