"""Chunks that are read again and again: the same fit as in memory, few readings, clear errors."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from internals import Array, InMemory, Sampler, patch, prefetch
from scipy import sparse

import fastgd

TIGHT = 1e-12


class Again:
    """A re-iterable of chunks that counts its readings; the last chunks are short, and one is empty."""

    def __init__(self, X, y, weight=None, rows=700, change=None):
        self.X, self.y, self.weight, self.rows, self.change = X, y, weight, rows, change
        self.passes = 0

    def __iter__(self):
        n = len(self.y)
        for number, start in enumerate([*range(0, n, self.rows), n]):
            chunk = slice(start, start + self.rows)
            X = self.X.slice(start, self.rows) if isinstance(self.X, pa.Table) else self.X[chunk]
            y = np.asarray(self.y)[chunk]
            if self.change:
                X, y = self.change(self.passes, number, X, y)
            yield (X, y) if self.weight is None else (X, y, self.weight[chunk])
        self.passes += 1


def problem(loss, n=6000, d=5, weighted=False):
    rng = np.random.default_rng([n, d])
    X = rng.standard_normal((n, d)) * np.logspace(-2, 2, d) + 3.0
    z = X @ np.logspace(2, -2, d) / 3 - 3.0 * np.logspace(2, -2, d).sum() / 3 + rng.standard_normal(n)
    y = {"logistic": z > 0.5, "classes": np.digitize(z, [-1.0, 1.0]), "text": np.where(z > 0.0, "yes", "no")}.get(
        loss, z
    )
    weight = rng.integers(0, 3, n).astype(float) if weighted else None
    return X, y, weight


LOSSES = {"squared": "squared", "huber": "huber", "logistic": "logistic", "classes": "logistic", "text": "logistic"}


def close(one, two):
    scale = np.max(np.abs(two.coef * two.spread))
    np.testing.assert_allclose(one.coef * one.spread, two.coef * two.spread, rtol=1e-10, atol=1e-10 * scale)
    np.testing.assert_allclose(one.intercept, two.intercept, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(one.loss, two.loss, rtol=1e-11)
    np.testing.assert_allclose(one.spread, two.spread, rtol=1e-11)
    assert one.rows == two.rows
    assert one.features == two.features
    assert (one.classes is None) == (two.classes is None)
    assert one.classes is None or (one.classes.tolist() == two.classes.tolist())
    assert one.coef.shape == two.coef.shape


@pytest.mark.parametrize("solver", ["auto", "newton", "lbfgs", "nesterov"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_chunks_give_what_memory_gives(loss, weighted, solver):
    X, y, weight = problem(loss, weighted=weighted)
    options = {"loss": LOSSES[loss], "l2": 1e-3, "tol": TIGHT, "solver": solver, "max_iter": 3000}
    whole = fastgd.fit(X, y, sample_weight=weight, **options)
    chunks = Again(X, y, weight)
    streamed = fastgd.fit(chunks, cache="none", memory_limit="1MB", **options)
    assert streamed.settings["cached"] is None
    close(streamed, whole)
    cached = fastgd.fit(Again(X, y, weight), memory_limit="100MB", **options)
    close(cached, whole)


@pytest.mark.parametrize(("loss", "most"), [("squared", 1.0), ("logistic", 7.0), ("classes", 7.0), ("huber", 7.0)])
def test_few_readings_reach_1e_9(loss, most):
    X, y, _ = problem(loss, n=40_000, d=4)
    options = {"loss": LOSSES[loss], "l2": 1e-4}
    best = fastgd.fit(X, y, tol=1e-13, **options).loss
    chunks = Again(X, y, rows=5000)
    result = fastgd.fit(chunks, tol=1e-8, cache="none", **options)
    assert (result.loss - best) / best < 1e-9
    assert chunks.passes <= most
    walks = 3.0 if loss == "classes" else 1.5  # on samples, in fractions, Hessians included
    assert chunks.passes <= result.history.passes[-1] < chunks.passes + walks
    assert fastgd.fit(chunks, tol=1e-8, **options).settings["cached"] == (
        None if loss == "squared" else "in memory: the data take at most 1/8 of memory_limit"
    )


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")  # of sgd, after so few epochs
@pytest.mark.parametrize("solver", ["newton", "sgd"])
@pytest.mark.parametrize("form", ["array", "sparse", "arrow", "polars"])
def test_a_scratch_file_gives_the_bits_of_reading_again(form, solver):
    X, y, weight = problem("logistic", n=5600, weighted=True)
    text = np.array([str(number // 500) for number in range(len(X))])
    chunks = Again(FORMS[form](X, text), y, weight)
    options = {"loss": "logistic", "l2": 1e-2, "solver": solver, "memory_limit": "1MB", "max_iter": 5}
    read_again = fastgd.fit(chunks, cache="none", **options)
    assert chunks.passes > 3
    chunks.passes = 0
    kept = fastgd.fit(chunks, cache="disk", **options)
    assert chunks.passes == 1  # complete ones
    assert kept.settings["cached"].startswith("in a spill file in ") or form == "sparse"
    assert (kept.coef == read_again.coef).all()
    assert kept.history.loss.tolist() == read_again.history.loss.tolist()
    assert kept.history.passes.tolist() == read_again.history.passes.tolist()


def test_a_map_of_a_file_gives_the_same_bits(tmp_path):
    X, y, _ = problem("logistic", n=40_000)
    for name, array in {"X": X.astype(np.float32), "y": y}.items():
        np.save(tmp_path / f"{name}.npy", array)
    whole = fastgd.fit(X.astype(np.float32), y, loss="logistic")
    for mapped in (
        fastgd.fit(tmp_path / "X.npy", tmp_path / "y.npy", loss="logistic"),
        fastgd.fit(np.load(tmp_path / "X.npy", mmap_mode="r"), y, loss="logistic"),
    ):
        assert (mapped.coef == whole.coef).all()
        assert mapped.history.loss.tolist() == whole.history.loss.tolist()
    tight = fastgd.fit(tmp_path / "X.npy", y, loss="logistic", memory_limit="1MB", tol=1e-12)  # with a smaller sample
    close(tight, fastgd.fit(X.astype(np.float32), y, loss="logistic", tol=1e-12))


FORMS = {
    "array": lambda X, _: X,
    "fortran": lambda X, _: np.asfortranarray(X),
    "float32": lambda X, _: X.astype(np.float32),
    "sparse": lambda X, _: sparse.csr_array(np.where(np.abs(X - 3) > 1, X, 0)),
    "dict": lambda X, text: {"a": X[:, 0], "b": X[:, 1], "c": text},
    "pandas": lambda X, text: pd.DataFrame({"a": X[:, 0], "c": text, "b": X[:, 1]}),
    "polars": lambda X, text: pl.DataFrame({"a": X[:, 0], "c": text, "b": X[:, 1]}),
    "arrow": lambda X, text: pa.table({"a": X[:, 0], "c": pa.array(text).dictionary_encode(), "b": X[:, 1]}),
}


@pytest.mark.parametrize("cache", ["auto", "none"])
@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_chunks(form, cache):
    """Levels come and go along the stream, and are sorted as numbers in the end."""
    X, y, _ = problem("logistic")
    text = np.array([str(1 + number // 500) for number in range(len(X))])  # 1 to 12: 10 sorts behind 9
    whole = fastgd.fit(FORMS[form](X, text), y, loss="logistic", l2=1e-3, tol=TIGHT)
    chunks = [(FORMS[form](X[k : k + 900], text[k : k + 900]), y[k : k + 900]) for k in range(0, len(X), 900)]
    streamed = fastgd.fit(chunks, loss="logistic", l2=1e-3, tol=TIGHT, cache=cache, memory_limit="1MB")
    if form in ("float32", "sparse"):
        cache = "auto"  # small enough
    close(streamed, whole)
    if whole.features is not None:
        assert next(feature.levels for feature in streamed.features if feature.levels) == tuple(map(str, range(1, 13)))


def test_sampling_is_even_whatever_the_chunks():
    """One of each stretch, for any cuts, with every row equally often."""
    n, most = 3000, 8 * 2 * 100
    counts = np.zeros(n)
    for seed in range(300):
        rng = np.random.default_rng(seed)
        cuts = np.sort(rng.integers(0, n, 5))
        sampler = Sampler(most, rng)
        for rows in np.split(np.arange(n, dtype=float), cuts):
            if len(rows):
                sampler.add(InMemory(Array(rows[:, None]), rows))
        drawn = np.concatenate([piece.y for piece in sampler.pieces]).astype(int)
        assert 30 <= len(drawn) <= 100
        assert not sampler.complete
        assert (np.diff(drawn) > 0).all()
        assert (np.diff(drawn // sampler.stretch) == 1).all()
        counts[drawn] += 1
    share = counts.reshape(30, -1).sum(axis=1) / counts.sum()
    np.testing.assert_allclose(share, 1 / 30, rtol=0.1)


def test_sampling_leaves_weights_of_zero_out():
    weight = (np.arange(2000) % 5 == 0).astype(float)
    X = np.arange(2000.0)[:, None]
    sampler = Sampler(8 * 3 * 100, np.random.default_rng(0))
    for k in range(0, 2000, 60):
        sampler.add(InMemory(Array(X[k : k + 60]), X[k : k + 60, 0], weight[k : k + 60]))
    assert all(piece.weight.all() for piece in sampler.pieces)
    assert 50 <= sum(len(piece.y) for piece in sampler.pieces) <= 100


def test_reading_ahead_is_bounded_and_ends():
    import threading

    made = []

    def items():
        for k in range(100):
            made.append(k)
            yield k

    stream = prefetch(items(), 2)
    assert next(stream) == 0
    stream.close()
    assert len(made) <= 5
    assert not [thread for thread in threading.enumerate() if thread.name == "fastgd-reader"]
    assert list(prefetch(iter(range(10)))) == list(range(10))


X0, Y0 = np.ones((9, 2)) * np.arange(9)[:, None], np.arange(9.0)
BAD = [
    ([(X0, Y0), (X0[:, :1], Y0)], {}, ValueError, "chunk 1, from row 9: X has 1 features; chunks before have 2"),
    ([(X0, Y0), (X0, Y0[:4])], {}, ValueError, "chunk 1, from row 9: y has shape (4,)"),
    ([(X0, Y0), X0], {}, TypeError, "chunk 1 is a ndarray; (X, y) or (X, y, weight) is needed"),
    ([(X0, Y0), (X0, Y0, Y0)], {}, ValueError, "chunk 1, from row 9: there are weights, but not so in chunks before"),
    ([(X0, Y0, -Y0)], {}, ValueError, "chunk 0, from row 0: sample_weight is -8.0 in row 8"),
    ([(X0, Y0, 0 * Y0)], {}, ValueError, "sample_weight is zero in every row"),
    ([(np.where(X0 == 5, np.nan, X0), Y0)], {}, ValueError, "chunk 0, from row 0: X contains NaN in row 5, column 0"),
    ([(X0, Y0 * 0)], {"loss": "logistic"}, ValueError, "y has only one class: 0"),
    (
        [(X0, Y0 > 3, Y0 > 3)] * 2,
        {"loss": "logistic"},
        ValueError,
        "sample_weight is zero for all samples but those of",
    ),
    ([({"a": Y0}, Y0), ({"b": Y0}, Y0)], {}, ValueError, "chunk 1, from row 9: X"),
    ([({"a": Y0}, Y0), (X0, Y0)], {}, ValueError, "chunk 1, from row 9: X has no named columns"),
    ([({"a": ["x", None]}, [1, 2])], {}, ValueError, "chunk 0, from row 0: X has missing values: a (1"),
    ([], {}, ValueError, "X has no rows"),
    ([(np.empty((0, 2)), np.empty(0))], {}, ValueError, "X has no rows"),
    ((chunk for chunk in [(X0, Y0)]), {}, TypeError, "which can be read only once"),
    ([(X0, Y0)], {"target": "late"}, ValueError, "target='late'"),
    ([(X0, Y0)], {"sample_weight": Y0}, ValueError, "in the chunks of X"),
    ([(X0, Y0)], {"memory_limit": "many"}, ValueError, "memory_limit='many'"),
    ([(X0, Y0)], {"memory_limit": 10}, ValueError, "memory_limit=10"),
    ([(X0, Y0)], {"cache": "tape"}, ValueError, "cache='tape'; choose 'auto', 'disk' or 'none'"),
    (X0, {}, TypeError, "y is missing"),
    (X0, {"y": Y0, "target": "late"}, ValueError, "target='late': that is for tables and files that have it"),
    (X0, {"y": Y0, "features": ["late"]}, ValueError, "features=['late']: that is for tables and files"),
    (X0, {"y": Y0, "memory_limit": "1GB"}, ValueError, "memory_limit='1GB': that is for data that are streamed"),
    (X0, {"y": Y0, "cache": "none"}, ValueError, "cache='none': that is for data that are streamed"),
]


@pytest.mark.parametrize(("X", "options", "error", "fragment"), BAD, ids=[bad[3][:40] for bad in BAD])
def test_what_cannot_be_used_is_named(X, options, error, fragment):
    with pytest.raises(error) as caught:
        fastgd.fit(X, **options)
    assert fragment in str(caught.value)


CHANGES = {
    "rows": (lambda X, y: (X[:-1], y[:-1]), "X changed while it was read: the last pass found"),
    "label": (
        lambda X, y: (X, y + 7),
        "chunk 3, from row 2100: y has the label 7 in row 0, which is not among classes",
    ),
    "width": (lambda X, y: (X[:, 1:], y), "X has 4 features; chunks before have 5"),
    "nan": (lambda X, y: (X * np.nan, y), "NaN"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_stream_that_changes_between_readings(change):
    X, y, _ = problem("logistic")
    apply, fragment = CHANGES[change]
    chunks = Again(
        X, y.astype(int), change=lambda reading, number, X, y: apply(X, y) if reading and number == 3 else (X, y)
    )
    with pytest.raises(ValueError, match=fragment):
        fastgd.fit(chunks, loss="logistic", cache="none", memory_limit="1MB")


@pytest.mark.skipif(os.name != "posix", reason="there the system deletes it")
def test_no_scratch_file_is_left(tmp_path, monkeypatch):
    """Not even by a process that is killed in the midst of a reading."""
    code = """
import os, signal, sys
import numpy as np
import fastgd
from internals import folder

class Chunks:
    readings = 0
    def __iter__(self):
        for k in range(9):
            yield np.full((10_000, 3), k) + np.eye(10_000, 3), np.arange(10_000) % 2
        self.readings += 1

def kill(row):
    print(folder() == sys.argv[1], chunks.readings, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

chunks = Chunks()
fastgd.fit(chunks, loss="logistic", l2=0.1, memory_limit="1MB", cache="disk", callback=kill)
"""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert done.stdout == "True 1\n"
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told(monkeypatch, tmp_path):

    X, y, _ = problem("logistic")
    patch(monkeypatch, "spare_disk", 1 << 60)
    with pytest.raises(OSError, match=r"cache='disk': in .*: less than .* GB would be left free"):
        fastgd.fit(Again(X, y), loss="logistic", cache="disk", memory_limit="1MB")
    np.savetxt(tmp_path / "a.csv", np.c_[X, y], delimiter=",", header="a,b,c,d,e,y", comments="")
    options = {"target": "y", "loss": "logistic", "memory_limit": "1MB", "tol": 1e-8}
    without = fastgd.fit(tmp_path / "a.csv", **options)
    assert without.settings["cached"].startswith("nowhere: a spill file in ")
    monkeypatch.undo()
    kept = fastgd.fit(tmp_path / "a.csv", **options)
    assert kept.settings["cached"].startswith("in a spill file in ")
    assert (kept.coef == without.coef).all()


def test_an_error_of_the_stream_itself_is_raised_as_it_is():
    class BrokenError(Exception):
        pass

    class Chunks:
        def __iter__(self):
            yield X0, Y0
            raise BrokenError

    with pytest.raises(BrokenError):
        fastgd.fit(Chunks())


@pytest.mark.parametrize("cache", ["none", "disk"])
def test_errors_leave_no_thread_and_no_file_behind(cache):
    """Even as long as somebody looks at the error."""
    import threading

    before = set(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else set()
    chunks = [(X0, Y0 > 3), (X0 * np.nan, Y0 > 3), *[(np.tile(X0, (5000, 1)), np.tile(Y0 > 3, 5000))] * 50]
    with pytest.raises(ValueError, match="NaN") as caught:
        fastgd.fit(chunks, loss="logistic", cache=cache, memory_limit="1MB")
    bad = [*chunks[:1], (X0, Y0[:4]), *chunks[2:]]
    with pytest.raises(ValueError, match="chunk 1, from row 9: y has shape") as further:
        fastgd.fit(bad, loss="logistic", cache=cache, memory_limit="1MB")
    assert not [thread for thread in threading.enumerate() if thread.name == "fastgd-reader"]
    assert set(os.listdir("/proc/self/fd")) <= before if before else True
    assert caught.value is not further.value


def test_a_stream_that_can_be_read_once_alone_is_told():
    class Once:
        chunks = iter([(X0, Y0 > 3)])

        def __iter__(self):
            yield from self.chunks
            self.chunks = []

    stream = Once()
    with pytest.raises(ValueError, match="X has no rows when it is iterated again"):
        fastgd.fit(stream, loss="logistic", cache="none")
    with pytest.raises(ValueError, match="X has no rows"):
        fastgd.fit(stream, loss="logistic", cache="none")


def test_progress_shows_readings_and_rows(capsys):
    X, y, _ = problem("logistic")
    fastgd.fit(Again(X, y), loss="logistic", cache="none", progress=True)
    printed = capsys.readouterr().err
    assert "pass 2" in printed and "/6.00k" in printed and "iterations" in printed


def test_estimators_say_that_they_read_memory():
    from fastgd import LogisticRegression

    with pytest.raises(TypeError, match=r"X='data.csv' is a path: estimators read what is in memory"):
        LogisticRegression().fit("data.csv", [0, 1])


@pytest.mark.parametrize("ordered", [False, True], ids=["mixed", "sorted"])
@pytest.mark.parametrize("loss", ["squared", "logistic", "classes"])
def test_sgd_reads_a_stream_twice_per_epoch(loss, ordered):
    X, y, weight = problem(loss, n=20_000, weighted=True)
    if ordered:
        order = np.argsort(y, kind="stable")
        X, y, weight = X[order], y[order], weight[order]
    options = {"loss": LOSSES[loss], "l2": 1e-2}
    best = fastgd.fit(X, y, sample_weight=weight, tol=1e-12, **options)
    chunks = Again(X, y, weight, rows=3000)
    result = fastgd.fit(chunks, solver="sgd", cache="none", tol=1e-7, max_iter=60, **options)
    assert result.converged
    np.testing.assert_allclose(result.coef * result.spread, best.coef * best.spread, rtol=1e-4, atol=1e-5)
    epochs = int(result.history.iteration[-1])
    pairs = 6 if loss == "classes" else 1
    assert chunks.passes <= 2 + 2 * epochs + 1 + 2 * pairs  # two Hessians: one to judge by, one that confirms
    if not ordered:
        assert epochs <= 15
    again = fastgd.fit(Again(X, y, weight, rows=3000), solver="sgd", cache="none", tol=1e-7, max_iter=60, **options)
    assert (again.coef == result.coef).all()


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["newton", "lbfgs", "sgd"])
def test_a_stream_is_gone_on_with_from_a_checkpoint(tmp_path, solver):
    X, y, _ = problem("logistic")
    options = {"loss": "logistic", "l2": 1e-3, "solver": solver, "cache": "none", "memory_limit": "1MB", "tol": 1e-9}
    whole = fastgd.fit(Again(X, y), **options)
    rows = len(whole.history) // 2
    stop = {"callback": lambda row: row.passes >= whole.history.passes[rows]}
    fastgd.fit(Again(X, y), checkpoint=tmp_path / "a", **stop, **options)
    chunks = Again(X, y)
    resumed = fastgd.fit(chunks, checkpoint=tmp_path / "a", **options)
    assert (resumed.coef == whole.coef).all()
    assert resumed.history.loss.tolist() == whole.history.loss.tolist()
    with pytest.raises(ValueError, match="X, y or sample_weight"):
        fastgd.fit(Again(1.5 * X, y), checkpoint=tmp_path / "a", **options)


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
def test_ctrl_c_in_the_midst_of_a_reading_gives_the_best_point():
    import signal

    X, y, _ = problem("logistic")
    chunks = Again(X, y)

    def press(reading, number, X, y):
        if reading == 3 and number == 4:
            signal.raise_signal(signal.SIGINT)
        return X, y

    def press_in_the_survey(reading, number, X, y):
        if reading == 0 and number == 4:
            signal.raise_signal(signal.SIGINT)
        return X, y

    chunks.change = press
    result = fastgd.fit(chunks, loss="logistic", cache="none", memory_limit="1MB", tol=1e-12)
    assert result.status is fastgd.Status.INTERRUPTED
    assert np.isfinite(result.coef).all() and result.loss < np.log(2)
    with pytest.raises(KeyboardInterrupt):
        fastgd.fit(Again(X, y, change=press_in_the_survey), loss="logistic", cache="none", memory_limit="1MB")


class Once:
    """Looks like what can be iterated again, but all its iterators read on from one."""

    def __init__(self, chunks, *, sharing):
        self.iterator, self.sharing = iter(chunks), sharing

    def __iter__(self):
        return (chunk for chunk in self.iterator) if self.sharing else self.iterator


@pytest.mark.parametrize("sharing", [True, False])
@pytest.mark.parametrize("solver", ["auto", "lbfgs"])
@pytest.mark.parametrize("many", [True, False])
def test_what_can_be_iterated_once_is_refused(many, solver, sharing, rng):
    X = rng.standard_normal((4000, 3))
    chunks = [(X[rows], X[rows, 0]) for rows in np.split(np.arange(4000), 8 if many else 1)]
    found = "begins with another chunk" if many else "has no rows"
    with pytest.raises(ValueError, match=f"^X {found} when it is iterated again; __iter__ has to give the same chunks"):
        fastgd.fit(Once(chunks, sharing=sharing), solver=solver, cache="none", memory_limit="1MB")


@pytest.mark.parametrize("y", [None, 1.0])
def test_chunks_without_targets_are_refused(y, rng):
    X = rng.standard_normal((40, 3))
    with pytest.raises(TypeError, match=rf"^chunk 1: y is {y}; a target for each row is needed"):
        fastgd.fit([(X, X[:, 0]), (X, y)])
