"""What a fit needs beside X, y and weights is bounded as the README says, under a limit that the system enforces.

The limit is on address space, of which the allocator reserves 64 MB for each thread unless told. Everything is compiled
and numba's threads are begun by the same fit without a limit, and the limit is set above what there is then.
"""

import sys

import pytest

pytestmark = pytest.mark.slow

FIT = """
import ctypes, resource, sys
import numpy as np
import fastgd

kind, solver, loss = sys.argv[1:]
rng = np.random.default_rng(0)


def repeated(some, n):
    return np.resize(some, (n, *some.shape[1:]))


def numbers(dtype, d, order="C"):
    some = 20.0 * rng.standard_normal((997, d))
    return np.asarray(repeated(some.astype(dtype), BYTES // (d * np.dtype(dtype).itemsize)), order=order), 0


def csr():
    from scipy import sparse

    n, each = BYTES // (12 * 50), 50
    values, columns = rng.standard_normal(1009), rng.integers(0, 20_000, 99_991, dtype="i4")
    parts = repeated(values, n * each), repeated(columns, n * each), np.arange(0, n * each + 1, each, dtype="i4")
    return sparse.csr_array(parts, shape=(n, 20_000)), 0


def table():
    n = BYTES // (8 * 10 + 4 * 3)
    columns = {f"x{j}": repeated(rng.standard_normal(1000 + j), n) for j in range(10)}
    for levels in (12, 50, 400):
        columns[f"level{levels}"] = repeated(rng.integers(0, levels, 9973 + levels, dtype="i4"), n)
    return columns, 2 + 2 + 4  # bytes of a row's codes, the largest twice while they are made


BYTES = 100 << 20
X, code_bytes = {
    "float64": lambda: numbers("f8", 100),
    "Fortran order": lambda: numbers("f8", 100, "F"),
    "float32": lambda: numbers("f4", 10),
    "int16": lambda: numbers("i2", 100),
    "CSR": csr,
    "table": table,
}[kind]()
n = len(X["x0"]) if isinstance(X, dict) else X.shape[0]
categorical = [name for name in X if "level" in name] if isinstance(X, dict) else "auto"
y = repeated(rng.integers(0, {"squared": 1000, "logistic": 2, "softmax": 5}[loss], 1013), n)
loss = loss.replace("softmax", "logistic")


def bits():
    result = fastgd.fit(X, y, loss=loss, l2=1e-4, solver=solver, max_iter=4, categorical=categorical)
    assert result.status in (fastgd.Status.CONVERGED, fastgd.Status.MAX_ITER)
    return result.coef.size, result.coef.tobytes() + result.history.loss.tobytes()


def memory(name):
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(name + ":"))


def peak():
    # In bytes, of a fit beside what was there before.
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = memory("VmRSS")
    bits()
    return memory("VmHWM") - before


def fit_within(extra):
    ctypes.CDLL(None).malloc_trim(0)
    resource.setrlimit(resource.RLIMIT_AS, (memory("VmSize") + extra, resource.RLIM_INFINITY))
    try:
        return "as ever" if bits() == (k, expected) else "other bits"
    except MemoryError:
        return "MemoryError"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


k, expected = bits()
promise = (32 << 20) + BYTES // 50 + n * ((12 if solver == "sgd" else 4) + code_bytes)
promise += 128 * k * k if solver == "newton" else 1000 * k
print(*map(fit_within, (promise, promise // 4, 0, promise)), peak(), promise, sep=", ")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits are enforced by Linux")
@pytest.mark.parametrize(
    ("kind", "solver", "loss"),
    [
        ("float64", "newton", "logistic"),
        ("float64", "newton", "squared"),
        ("float64", "lbfgs", "softmax"),
        ("float32", "sgd", "squared"),
        ("Fortran order", "newton", "logistic"),
        ("int16", "newton", "logistic"),
        ("CSR", "lbfgs", "logistic"),
        ("table", "newton", "logistic"),
    ],
)
def test_a_fit_keeps_to_the_memory_it_was_promised(kind, solver, loss, run_python):
    # Without -W error: where a thread cannot begin, Python says on stderr that it ignored that.
    found = run_python(FIT, kind, solver, loss, flags=(), MALLOC_ARENA_MAX="1").split(", ")
    first, quarter, nothing, last, peak, promise = found
    assert first == last == "as ever"
    assert {quarter, nothing} <= {"as ever", "MemoryError"}
    assert int(peak) <= int(promise), f"{int(peak) / 1e6:.1f} of {int(promise) / 1e6:.1f} MB"
    if solver == "sgd":  # which needs 8 bytes per row at once
        assert nothing == "MemoryError"
