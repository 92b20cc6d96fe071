"""What one process compiled, the next one only loads; and where nothing can be cached, fits work all the same."""

import errno
import hashlib
import importlib.util
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from internals import core, double_double, jit, kernel_losses, points_kernels, simd, sparse_kernels

import fastgd
from fastgd import losses

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[2]
FIT = """
import numpy as np, fastgd
from internals import core
from internals import passes

rng = np.random.default_rng(0)
for n in (100, passes._SMALL // 4):
    X = rng.standard_normal((n, 5)).astype(np.float32)
    y = X.sum(axis=1) + rng.standard_normal(n)
    assert fastgd.fit(X, y).converged
    assert fastgd.fit(X, y > 0, loss="logistic", l2=0.1, sample_weight=np.ones(n)).converged
"""
COUNT = """
stats = [f.stats for f in vars(core).values() if hasattr(f, "stats")]
print(sum(sum(s.cache_hits.values()) for s in stats), sum(sum(s.cache_misses.values()) for s in stats))
"""


def test_what_warmup_compiled_a_second_process_only_loads(run_python, tmp_path):
    first, second = (
        list(map(int, run_python(code + COUNT, NUMBA_CACHE_DIR=str(tmp_path)).split()))
        for code in ("import fastgd; from internals import core; fastgd.warmup(dtypes=['f4'])", FIT)
    )
    assert first[1] > 0
    assert second[0] > 0 and second[1] == 0
    compiled = [path.read_bytes() for path in tmp_path.rglob("*.nbc")]
    assert compiled and all(b"NRT_Free" in content for content in compiled)  # as bytes that can be searched
    # No kernel asks for memory: in a parallel loop there would be nobody to raise a MemoryError.
    assert not any(name in content for content in compiled for name in (b"NRT_Allocate", b"NRT_MemInfo_alloc"))


LAYOUTS = """
import numpy as np, fastgd
from internals import core

rng = np.random.default_rng(0)
X = rng.standard_normal((100, 5))
y = X.sum(axis=1) + rng.standard_normal(100)
weight = np.ones(100)
frozen = [a.copy() for a in (X, y, weight)]
for a in frozen:
    a.flags.writeable = False
fastgd.fit(X, y, sample_weight=weight)
before = {name: len(f.signatures) for name, f in vars(core).items() if hasattr(f, "signatures")}
fastgd.fit(frozen[0], y, sample_weight=weight)
fastgd.fit(*frozen[:2], sample_weight=frozen[2])
fastgd.fit(np.asfortranarray(X), y[::-1][::-1], sample_weight=weight.astype(int))
fastgd.fit(X.tolist(), y.tolist(), sample_weight=weight.astype("f4"))
after = {name: len(f.signatures) for name, f in vars(core).items() if hasattr(f, "signatures")}
print([name for name in after if after[name] != before[name]])
"""


def test_layout_and_writability_compile_nothing_new(run_python):
    assert run_python(LAYOUTS) == "[]"


NOWHERE = """
import numpy as np
import fastgd
from internals import cache_of_kernels
from internals import core

X = np.random.default_rng(0).standard_normal((100, 5))
assert fastgd.fit(X, X.sum(axis=1)).converged
assert core.gram_part.signatures and not core.gram_part.stats.cache_hits
print(cache_of_kernels())
"""


def test_without_a_place_for_the_cache_fits_compile_in_memory(tmp_path):
    """A container: no home, nobody knows the user, and no folder of the package can be written, even by root."""
    home = Path(fastgd.__file__).parent
    shutil.copytree(home, tmp_path / "site" / "fastgd", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in {path.parent for path in (tmp_path / "site").rglob("*.py")}:
        (folder / "__pycache__").touch()
    working = tmp_path / "working"
    working.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "NUMBA_CACHE_DIR")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", NOWHERE],
        # Where the user has no home, "~" stays as it is.
        env=environment | {"PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{TESTS}", "XDG_CACHE_HOME": "~/.cache"},
        cwd=working,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.stdout.strip() == "none: no folder can be written, so every process compiles", done.stderr
    assert not any(working.iterdir())


SMALL = """
from internals import compiled

@compiled(cache=True)
def double(x):
    return 2 * x
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Load a module with one kernel, as a process of its own would: its function and its cache's folder."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    path = tmp_path / "package" / "small.py"
    path.parent.mkdir()
    path.write_text(SMALL)

    def load():
        spec = importlib.util.spec_from_file_location("small", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.double

    return load, path.parent / "__pycache__", tmp_path / "user" / "numba"


def counts(function):
    return sum(function.stats.cache_hits.values()), sum(function.stats.cache_misses.values())


DAMAGES = {
    "empty": lambda _: b"",
    "truncated": lambda content: content[: len(content) // 2],
    "almost whole": lambda content: content[:-1],
    "garbage": lambda _: bytes(range(256)) * 10,
    "another pickle": lambda _: pickle.dumps(["something", "else"]),
    "of another version": lambda _: pickle.dumps("0.0.1") + b"whatever it wrote",
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_a_damaged_cache_is_made_anew(kind, damage, small):
    load, folder, _ = small
    assert load()(2) == 4
    (file,) = folder.glob(f"*.{kind}")
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    first, second = load(), load()
    assert first(2) == 4 and counts(first) == (0, 1)
    assert second(2) == 4 and counts(second) == (1, 0)


def test_processes_that_compile_at_once_lose_nothing(small, monkeypatch):
    load, _, _ = small
    with monkeypatch.context() as at_once:  # each saw the index before the other had written it
        at_once.setattr(numba.core.caching.IndexDataCacheFile, "_load_index", lambda _: {})
        assert load()(2) == 4 and load()(2.5) == 5.0
    third = load()
    assert third(2) == 4 and third(2.5) == 5.0 and counts(third) == (2, 0)


@pytest.fixture
def read_only(monkeypatch):
    """Have every folder refuse, as on a read-only file system; root may write wherever permissions say no."""

    def refuse(error):
        def open_for_write(*_):
            raise OSError(error, os.strerror(error))

        monkeypatch.setattr(numba.core.caching.IndexDataCacheFile, "_open_for_write", open_for_write)
        monkeypatch.setattr(numba.core.caching._CacheLocator, "ensure_cache_path", open_for_write)

    return refuse


def test_what_an_image_was_built_with_is_read_where_nothing_can_be_written(small, read_only):
    load, folder, _ = small
    assert load()(2) == 4
    read_only(errno.EROFS)
    later = load()
    assert later(2) == 4 and counts(later) == (1, 0)
    assert later(2.5) == 5.0 and counts(later) == (1, 1)
    assert later.stats.cache_path == str(folder)


def test_what_an_image_lacks_is_kept_in_the_users_folder(small):
    load, folder, of_user = small
    assert load()(2) == 4
    shutil.move(folder, folder.with_name("built"))
    folder.touch()  # so it cannot be written, even by root
    later = load()
    assert later(2.5) == 5.0 and str(later.stats.cache_path).startswith(str(of_user))
    folder.unlink()
    shutil.move(folder.with_name("built"), folder)
    both = load()
    assert (both(2), both(2.5)) == (4, 5.0) and counts(both) == (2, 0)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_cache_that_cannot_be_written_is_done_without(error, small, read_only):
    read_only(error)
    load, folder, _ = small
    assert load()(2) == 4
    assert not list(folder.glob("*.nb?"))


def test_the_folder_asked_for_is_the_only_one(small, tmp_path, monkeypatch):
    load, folder, of_user = small
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "asked"))
    function = load()
    assert function(2) == 4 and function.stats.cache_path.startswith(str(tmp_path / "asked"))
    assert not folder.exists() and not of_user.exists()


def test_an_edit_of_what_kernels_are_made_of_makes_cached_ones_stale():
    """numba looks at the file of a kernel alone, so that file has to change, too."""
    sources = (Path(room.__file__).read_bytes() for room in (jit, simd, kernel_losses, sparse_kernels, losses))
    checksum = hashlib.sha256(b"".join(sources)).hexdigest()[:16]
    assert f"(jit, simd, losses, sparse, fastgd.losses: {checksum})" in Path(core.__file__).read_text("utf-8"), checksum
    checksum = hashlib.sha256(Path(core.__file__).read_bytes()).hexdigest()[:16]
    for kernels in (double_double, points_kernels):
        assert f"(core: {checksum})" in Path(kernels.__file__).read_text("utf-8"), checksum
