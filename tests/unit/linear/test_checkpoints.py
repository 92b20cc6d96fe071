"""A fit that goes on, from a result or from a file, ends with the bits of one that never stopped; files are safe."""

import copy
import errno
import hashlib
import json
import os
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from internals import SOLVERS, checkpoint_module, patch, without_warning
from scipy import sparse

import fastgd
from fastgd import losses

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")]
DTYPES = [np.float64, np.float32, np.int16]


def problem(loss, dtype=np.float64, n=3000, d=6, k=2, seed=0):
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((n, d)) * [1.0, 3.0, 10.0, 1.0, 2.0, 5.0][:d] * (20 if dtype == np.int16 else 1)).astype(
        dtype
    )
    z = X @ rng.standard_normal((d, k)) / X.std() + rng.logistic(size=(n, k))
    if k == 2:
        return X, (z[:, 0] > 0.0) * 1 if loss == "logistic" else z[:, 0]
    return X, np.argmax(z, axis=1) if loss == "logistic" else z


def bits(result):
    """All that a fit says but for its times."""
    history = {name: column.tobytes() for name, column in vars(result.history).items() if name != "seconds"}
    message = result.message.rsplit(",", 1)[0]
    return np.asarray(result.coef).tobytes(), np.asarray(result.intercept).tobytes(), result.loss, message, history


def check_parts(X, y, sizes=(6, 7), **options):
    options = {"tol": 0.0, **options}
    whole = fastgd.fit(X, y, max_iter=sum(sizes), **options)
    part = None
    for size in sizes:
        part = fastgd.fit(X, y, max_iter=size, start=part, **options)
    assert bits(part) == bits(whole)
    return whole


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", losses.LOSSES)
@pytest.mark.parametrize("solver", SOLVERS[1:])
def test_parts_are_the_whole(solver, loss, dtype):
    whole = check_parts(*problem(loss, dtype), solver=solver, loss=loss, l2=1e-3)
    assert whole.n_iter == 13 or whole.status is fastgd.Status.PRECISION_LIMIT


@pytest.mark.parametrize("at", [1, 40, 65])
def test_an_epoch_that_was_broken_off_goes_on(at, tmp_path):
    X, y = problem("logistic")
    options = {"loss": "logistic", "l2": 1e-3, "tol": 0.0, "solver": "sgd", "max_iter": 4}
    whole = fastgd.fit(X, y, **options)
    seen = []
    part = fastgd.fit(X, y, callback=lambda row: seen.append(row) or len(seen) == at, **options)
    assert part.status is fastgd.Status.STOPPED and seen[at - 1].partial == (at > 1)
    assert not part.history.partial[-1]  # a step to where all samples were evaluated closes it
    rest = 4 - seen[at - 1].iteration + seen[at - 1].partial
    assert bits(fastgd.fit(X, y, start=part, **{**options, "max_iter": rest})) == bits(whole)
    path = tmp_path / "fit.ckpt"
    without_warning(fastgd.fit)(X, y, checkpoint=path, time_limit=0.0, **options)
    assert bits(fastgd.fit(X, y, checkpoint=path, **options)) == bits(whole)


def mixed(X, y):
    """A table with a category."""
    return pd.DataFrame({"a": X[:, 0], "b": np.array(list("xyz"))[np.arange(len(y)) % 3]})


KINDS = {
    "several outputs": lambda X, y: {"X": X, "y": np.digitize(y, [-1.0, 1.0])},
    "weights": lambda X, y: {"X": X, "y": y > 0, "sample_weight": np.arange(len(y)) % 3},
    "sparse": lambda X, y: {"X": sparse.csr_array(X * (np.abs(X) > 1.0)), "y": y > 0},
    "a table": lambda X, y: {"X": mixed(X, y), "y": y > 0},
    "a random start": lambda X, y: {"X": X, "y": y > 0, "start": "random", "rng": 5},
    "a start": lambda X, y: {"X": X, "y": y > 0, "start": np.linspace(-1, 1, 7)},
    "many rows": lambda X, y: {"X": np.tile(X, (20, 1)), "y": np.tile(y, 20) > np.arange(20 * len(y)) % 7 / 7.0},
}


@pytest.mark.parametrize("solver", SOLVERS[1:])
@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_the_whole_whatever_the_data(kind, solver):
    options = {"loss": "logistic", "l2": 1e-3, "tol": 0.0, "solver": solver, **KINDS[kind](*problem("squared"))}
    whole = fastgd.fit(max_iter=9, **options)
    first = fastgd.fit(max_iter=4, **options)
    assert first.n_iter == 4
    rest = {name: value for name, value in options.items() if name not in ("start", "rng")}  # the result knows
    assert bits(fastgd.fit(max_iter=5, start=first, **rest)) == bits(whole)
    assert bits(fastgd.fit(max_iter=5, start=first, **rest)) == bits(whole)  # and is not used up
    assert bits(fastgd.fit(max_iter=5, start=pickle.loads(pickle.dumps(first)), **rest)) == bits(whole)


def test_what_was_asked_for_otherwise_is_only_a_start():
    X, y = problem("logistic")
    options = {"loss": "logistic", "l2": 1e-3, "solver": "lbfgs", "tol": 1e-6}
    first = fastgd.fit(X, y, **options)
    others = [{"l2": 1e-4}, {"standardize": False}, {"solver": "newton"}, {"y": np.roll(y, 1)}, {"X": X + 1e-9}]
    others.append({"sample_weight": np.ones(len(y))})
    swapped = y.copy()
    swapped[[1, 2]] = swapped[[2, 1]] if y[1] != y[2] else 1 - swapped[[1, 2]]  # rows that no glance sees
    others.append({"y": swapped})
    for other in others:
        again = fastgd.fit(**{"X": X, "y": y, **options, "start": first, **other})
        assert again.converged and again.history.iteration[0] == 0 and again.history.loss[0] != first.history.loss[0]
        assert len(again.history) < len(first.history)
    assert bits(fastgd.fit(X, y, start=first, **options)) == bits(first)
    finer = fastgd.fit(X, y, start=first, **{**options, "tol": 1e-10})
    assert bits(finer) == bits(fastgd.fit(X, y, **{**options, "tol": 1e-10}))


@pytest.mark.parametrize("solver", ["gd", "nesterov", "lbfgs"])
def test_parts_are_the_whole_of_any_function(solver):
    H = np.diag(np.logspace(0, -2, 5))
    whole = fastgd.minimize(lambda x: (0.5 * x @ H @ x, H @ x), np.ones(5), solver=solver, max_iter=9, tol=0.0)
    part = fastgd.minimize(lambda x: (0.5 * x @ H @ x, H @ x), np.ones(5), solver=solver, max_iter=4, tol=0.0)
    on = fastgd.minimize(lambda x: (0.5 * x @ H @ x, H @ x), part, solver=solver, max_iter=5, tol=0.0)
    assert on.x.tobytes() == whole.x.tobytes() and (on.history.loss == whole.history.loss).all()
    other = fastgd.minimize(lambda x: (x @ H @ x, 2 * H @ x), part, solver=solver, max_iter=5, tol=0.0)
    assert other.history.loss[0] == pytest.approx(2 * part.loss) and other.n_iter == 5


# A driver forks fits and kills them: what is imported and compiled stays, so that kills hit the fit itself.
KILLS = """
import hashlib, os, random, signal, sys, time
import numpy as np
import fastgd
from internals import checkpoint_module
from internals import SOLVERS

checkpoint_module.INTERVAL = checkpoint_module.SHARE = 0.0
dice = random.Random(int(sys.argv[2]))
rng = np.random.default_rng(0)
X = rng.standard_normal((4000, 5)) * np.logspace(-1, 1, 5)
y = (X @ np.ones(5) + 5 * rng.logistic(size=4000) > 0) * 1

def fit(solver, path, report):
    first = []
    def callback(row):
        if not first:
            first.append(row)
            os.write(report, b"%d %d\\n" % (row.iteration, row.partial))
        time.sleep(0.0005)
    epochs = 3 if solver == "sgd" else 120
    options = {"loss": "logistic", "l2": 1e-9, "solver": solver, "tol": 0.0, "max_iter": epochs, "rng": 3}
    result = fastgd.fit(X, y, checkpoint=path, callback=callback, **options)
    assert not result.converged
    columns = [vars(result.history)[name].tobytes() for name in ("loss", "gradient_norm", "passes", "step", "partial")]
    return hashlib.sha256(b"".join([result.coef.tobytes(), *columns])).hexdigest()

def forked(solver, path, seconds=None):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os.write(write, fit(solver, path, write).encode())
        os._exit(0)
    os.close(write)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    text = b""
    while piece := os.read(read, 1000):
        text += piece
    os.close(read)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text.decode().split("\\n")

kills = resumed = 0
for solver in SOLVERS[1:]:
    fit(solver, None, os.open(os.devnull, os.O_WRONLY))  # compiled before forks
    began = time.perf_counter()
    code, (*_, whole) = forked(solver, None)
    seconds = time.perf_counter() - began
    assert code == 0
    path = f"{sys.argv[1]}/{solver}.ckpt"
    done = False
    for kill in range(6):
        code, (*begun, end) = forked(solver, path, dice.uniform(0.0, 0.4 * seconds))
        kills += code == -signal.SIGKILL
        resumed += bool(begun) and begun[0] != "0 0"
    for _ in range(2):  # to the end, and once more: nothing is left to do
        code, (*begun, end) = forked(solver, path)
        assert code == 0 and end == whole, (solver, code, end, whole)
    assert not begun, begun
assert sorted(os.listdir(sys.argv[1])) == sorted(f"{solver}.ckpt" for solver in SOLVERS[1:]), os.listdir(sys.argv[1])
print(kills, resumed)
"""


def test_killed_at_any_moment_and_started_again(run_python, tmp_path):
    kills, resumed = map(int, run_python(KILLS, tmp_path, 1, flags=()).split())
    assert kills >= 20 and resumed >= 5


X_400, Y_400 = problem("logistic", n=400)


def test_what_a_kill_left_behind_goes_even_if_nothing_is_left_to_write(tmp_path):
    whole = kept(tmp_path / "fit.ckpt", max_iter=3)
    (tmp_path / ".writing-fit.ckpt").write_bytes(b"fastgd-checkpoint 1")
    again = kept(tmp_path / "fit.ckpt", max_iter=3)
    assert (again.coef == whole.coef).all() and [file.name for file in tmp_path.iterdir()] == ["fit.ckpt"]


def test_zero_is_not_false(tmp_path):
    path = tmp_path / "fit.ckpt"
    kept(path, max_iter=3)
    head, _, text, numbers = path.read_bytes().split(b"\n", 3)
    document = json.loads(text)
    assert document["fit"]["weighted"] is False
    document["fit"]["weighted"] = 0
    content = json.dumps(document).encode() + b"\n" + numbers
    path.write_bytes(head + b"\n" + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    with pytest.raises(ValueError, match="weighted=0, and this one has False"):
        kept(path, max_iter=3)


def kept(path, **change):
    """A short fit with a checkpoint."""
    options = {
        "X": X_400,
        "y": Y_400,
        "loss": "logistic",
        "l2": 1e-3,
        "solver": "lbfgs",
        "tol": 0.0,
        "max_iter": 5,
        "rng": 1,
    }
    return fastgd.fit(**{**options, "checkpoint": path, **change})


def test_when_finished_it_comes_back_at_once_and_further_limits_go_on(tmp_path):
    path, rows = tmp_path / "fit.ckpt", []
    first = kept(path)
    stamp = path.stat().st_mtime_ns, path.read_bytes()
    assert bits(kept(path, callback=rows.append, n_threads=1)) == bits(first) and not rows
    assert (path.stat().st_mtime_ns, path.read_bytes()) == stamp
    assert bits(kept(path, max_iter=10)) == bits(kept(None, max_iter=10))
    assert kept(path, max_iter=10, tol=1.0).converged  # judged anew
    assert kept(tmp_path / "other.ckpt", start=first, max_iter=5).n_iter == 10
    assert bits(kept(tmp_path / "other.ckpt", max_iter=10)) == bits(kept(None, max_iter=10))  # the same fit


def test_a_callbacks_stop_stays_as_long_as_there_is_a_callback(tmp_path):
    path = tmp_path / "fit.ckpt"
    first = kept(path, callback=lambda row: row.iteration == 2)
    again = kept(path, callback=lambda row: row.iteration == 2)
    assert first.status is again.status is fastgd.Status.STOPPED and bits(first) == bits(again)
    assert bits(kept(path)) == bits(kept(None))


MISMATCHES = [
    ({"l2": 0.1}, "l2=0.001, and this one has 0.1"),
    ({"solver": "gd"}, "solver='lbfgs', and this one has 'gd'"),
    ({"loss": "squared"}, "loss="),
    ({"intercept": False}, "intercept=True, and this one has False"),
    ({"standardize": False}, "standardize="),
    ({"rng": 2}, "other rng"),
    ({"start": np.ones(7)}, "start"),
    ({"sample_weight": np.ones(400)}, "weighted=False, and this one has True"),
    ({"X": X_400[:-1], "y": Y_400[:-1]}, "shape of X=[400, 6]"),
    ({"X": X_400.astype(np.float32)}, "dtype of X='float64'"),
    ({"X": pd.DataFrame(X_400, columns=list("abcdef"))}, "other columns"),
    ({"y": 1 - Y_400}, "other X, y or sample_weight"),
    ({"y": Y_400 + 1}, "other labels"),
    ({"y": np.where(np.arange(400) == 1, 1 - Y_400, Y_400)}, "other X, y"),  # in a row at which no glance falls
]


@pytest.mark.parametrize(("change", "named"), MISMATCHES, ids=[named for _, named in MISMATCHES])
def test_another_fit_is_refused_and_the_file_stays(change, named, tmp_path):
    path = tmp_path / "fit.ckpt"
    kept(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="Remove the file to begin anew, or name another") as error:
        kept(path, **change)
    assert named in str(error.value) and str(path) in str(error.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"{}", b"PK\x03\x04", b"fastgd-checkpoint_module 1\n", b"fastgd-checkpoint"]
)
def test_a_foreign_file_is_refused_and_stays(content, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint: .*mine\.txt (is not a checkpoint of fastgd|has format)"):
        kept(path)
    assert path.read_bytes() == content and os.listdir(tmp_path) == ["mine.txt"]


def test_places_that_cannot_be_written_are_refused_before_any_work(tmp_path):
    called = []
    for path, kind in ((tmp_path, IsADirectoryError), (tmp_path / "no" / "fit.ckpt", FileNotFoundError)):
        with pytest.raises(kind, match=str(path)):
            kept(path, callback=called.append)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is no regular file"):
        kept(tmp_path / "pipe", callback=called.append)
    for wrong in (1, True, b"fit.ckpt", 2.5):
        with pytest.raises(TypeError, match=r"checkpoint=.*the name of a file"):
            kept(wrong, callback=called.append)
    assert not called


@pytest.mark.parametrize("earlier", [False, True], ids=["nothing there", "an earlier one there"])
@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_full_disk_costs_a_warning_and_no_fit_and_leaves_everything_as_it_was(fails, earlier, tmp_path, monkeypatch):
    path = tmp_path / "fit.ckpt"
    if earlier:
        kept(path)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, fails, full)
    left = "what is there is older" if earlier else "there is no checkpoint"
    with pytest.warns(fastgd.CheckpointWarning, match="was not written: No space left on device;") as warned:
        result = kept(path, max_iter=9)
    said = [str(each.message) for each in warned if each.category is fastgd.CheckpointWarning]
    assert len(said) == 1 and str(path) in said[0] and left in said[0] and said[0] in result.message
    assert bits(result)[:3] == bits(kept(None, max_iter=9))[:3]
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before
    monkeypatch.undo()
    assert bits(kept(path, max_iter=9)) == bits(kept(None, max_iter=9))


def test_a_limit_of_file_sizes_leaves_everything_as_it_was(run_python, tmp_path):
    code = """
import os, resource, sys, warnings
import numpy as np, fastgd
from internals import without_warning
warnings.simplefilter("always")
X, y = np.random.default_rng(0).standard_normal((300, 50)), np.arange(300.0)
path = sys.argv[1] + "/fit.ckpt"
fit = lambda k: without_warning(fastgd.fit)(X, y, solver="lbfgs", checkpoint=path, tol=0.0, max_iter=k)
fit(2)
before = open(sys.argv[1] + "/fit.ckpt", "rb").read()
model = fit(2)
model.save(sys.argv[1] + "/model.json")
resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, resource.RLIM_INFINITY))
print(fit(5).message)
try:
    model.save(sys.argv[1] + "/model.json")
except OSError as error:
    print(error)
print(open(sys.argv[1] + "/fit.ckpt", "rb").read() == before, sorted(os.listdir(sys.argv[1])))
fastgd.load(sys.argv[1] + "/model.json")
"""
    printed = run_python(code, tmp_path).split("\n")
    assert "checkpoint: " in printed[0] and "File too large" in printed[0] and "File too large" in printed[1]
    assert printed[2] == "True ['fit.ckpt', 'model.json']"


def test_writing_takes_a_bounded_share_of_the_time(tmp_path, monkeypatch):
    now, written = [0.0], []

    class Slow:
        @staticmethod
        def perf_counter():
            return now[0]

    patch(monkeypatch, "checkpoint_clock", Slow)
    true_write = checkpoint_module.Checkpoint.write
    fsync = os.fsync

    def slow_fsync(file):
        now[0] += 2.0
        fsync(file)

    def write(self, end):
        written.append(now[0])
        true_write(self, end)

    monkeypatch.setattr(os, "fsync", slow_fsync)
    monkeypatch.setattr(checkpoint_module.Checkpoint, "write", write)

    def tick(_):
        now[0] += 1.0

    kept(tmp_path / "fit.ckpt", max_iter=100, callback=tick, solver="gd", learning_rate=1e-3)
    assert written == [3.0, 3.0 + 2.0 + 50.0, 101.0 + 2.0 * 2]  # and at the end


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A folder with a checkpoint of each solver."""
    folder = tmp_path_factory.mktemp("samples")
    for solver in SOLVERS[1:]:
        kept(folder / solver, solver=solver, max_iter=3)
    return folder


def spoil(data, content):
    """Flip bits, cut or insert."""
    what, place = (
        data.draw(st.sampled_from(["flip", "cut", "insert", "drop"])),
        data.draw(st.integers(0, len(content) - 1)),
    )
    if what == "flip":
        flipped = content[place] ^ data.draw(st.integers(1, 255))
        return content[:place] + bytes([flipped]) + content[place + 1 :]
    if what == "cut":
        return content[:place]
    if what == "insert":
        return content[:place] + data.draw(st.binary(min_size=1, max_size=9)) + content[place:]
    return content[:place] + content[place + data.draw(st.integers(1, 9)) :]


@given(data=st.data())
def test_damaged_files_are_clear_errors(sample, data):
    solver = data.draw(st.sampled_from(list(SOLVERS[1:])))
    path, content = sample / "damaged", (sample / solver).read_bytes()
    spoilt = spoil(data, content)
    if spoilt == content:
        return
    path.write_bytes(spoilt)
    with pytest.raises(ValueError, match=r"checkpoint: .* (is damaged|is not a checkpoint|has format)"):
        kept(path, solver=solver, max_iter=3)
    assert path.read_bytes() == spoilt


def nodes(tree, way=()):
    yield way
    if isinstance(tree, (list, dict)):
        for key in range(len(tree)) if isinstance(tree, list) else tree:
            yield from nodes(tree[key], (*way, key))


ODD = [None, True, -1, 0, 3, 10**30, 1e300, float("nan"), "", "x", [], [[]], {}, {"__reduce__": "os.system"}, [0, 1, 2]]


@given(data=st.data())
def test_swapped_types_under_a_right_checksum_are_clear_errors(sample, data):
    solver = data.draw(st.sampled_from(list(SOLVERS[1:])))
    head, _, text, numbers = (sample / solver).read_bytes().split(b"\n", 3)
    document = json.loads(text)
    way = data.draw(st.sampled_from([way for way in nodes(document) if way]))
    odd = data.draw(st.sampled_from(ODD))
    there = document
    for key in way[:-1]:
        there = there[key]
    old, there[way[-1]] = there[way[-1]], copy.deepcopy(odd)
    if type(odd) is type(old) or {type(odd), type(old)} == {int, float}:
        return  # another value, not another type
    content = json.dumps(document).encode() + b"\n" + numbers
    path = sample / "swapped"
    path.write_bytes(head + b"\n" + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    before = path.read_bytes()
    error = None
    try:
        kept(path, solver=solver, max_iter=3)
    except ValueError as raised:
        error = str(raised)
    if error is None:
        assert odd is None or (old is None and odd == [0, 1, 2])  # an anchor may be missing, or be a point of those
    else:
        assert "checkpoint: " in error and path.read_bytes() == before
