"""Files as streams: every format gives the fit of the same table in memory; what is wrong is named with its file."""

import gzip
import os

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, ipc, parquet

import fastgd
from fastgd.io import Files

N = 6000


def flights(seed=0):
    rng = np.random.default_rng(seed)
    hour, carrier = rng.integers(0, 24, N), rng.choice(["UA", "AA", "B6"], N)
    distance = rng.gamma(2.0, 500.0, N).round(3)
    z = 0.1 * hour - 0.001 * distance + (carrier == "UA") + rng.logistic(size=N) - 1.0
    columns = {"hour": hour, "carrier": carrier, "distance": distance, "weight": rng.integers(0, 3, N).astype(float)}
    return pa.table({**columns, "late": z > 0, "kind": np.digitize(z, [-1.0, 1.0]), "delay": z.round(4)})


FEATURES = ["hour", "carrier", "distance"]


def write_csv(table, path):
    csv.write_csv(table, path)


def write_gzip(table, path):
    csv.write_csv(table, path.with_suffix(""))
    path.write_bytes(gzip.compress(path.with_suffix("").read_bytes(), 1))
    path.with_suffix("").unlink()


def write_ipc(table, path):
    with ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)


def write_ipc_stream(table, path):
    with ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)


def write_parquet(table, path):
    parquet.write_table(table, path, row_group_size=1500)


FORMATS = {
    "parquet": ("parquet", write_parquet),
    "csv": ("csv", write_csv),
    "csv.gz": ("csv.gz", write_gzip),
    "ipc": ("arrow", write_ipc),
    "ipc stream": ("feather", write_ipc_stream),
}
TARGETS = {"late": "logistic", "kind": "logistic", "delay": "squared"}


@pytest.fixture(scope="module")
def table():
    return flights()


def write_parts(table, folder, kind, parts=3):
    suffix, write = FORMATS[kind]
    for part in range(parts):
        start = part * N // parts
        write(table.slice(start, (part + 1) * N // parts - start), folder / f"part{part}.{suffix}")
    return suffix


def close(one, two):
    assert one.features == two.features
    assert one.rows == two.rows
    assert (one.classes is None) == (two.classes is None)
    assert one.classes is None or (one.classes.dtype, *one.classes) == (two.classes.dtype, *two.classes)
    np.testing.assert_allclose(one.coef, two.coef, rtol=1e-9, atol=1e-10 * np.abs(two.coef * two.spread).max())
    np.testing.assert_allclose(one.coef * one.spread, two.coef * two.spread, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(one.intercept, two.intercept, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", FORMATS)
def test_files_give_what_the_table_gives(table, tmp_path, kind, target):
    write_parts(table, tmp_path, kind)
    options = {"loss": TARGETS[target], "l2": 1e-4, "tol": 1e-12}
    whole = fastgd.fit(table.select(FEATURES), table[target].to_numpy(), **options)
    got = fastgd.fit(tmp_path, target=target, features=FEATURES, memory_limit="1MB", **options)
    close(got, whole)
    surveyed = "carrier" in whole.coef_names[1] and kind.startswith("csv")
    assert (got.settings["cached"] or "nothing").split()[:3] == (["in", "a", "spill"] if surveyed else ["nothing"])


def test_paths_of_all_kinds_name_the_same_rows(table, tmp_path):
    suffix = write_parts(table, tmp_path, "parquet")
    paths = sorted(tmp_path.iterdir())
    want = fastgd.fit(table.select(FEATURES), table["late"].to_numpy(), loss="logistic", sample_weight=table["weight"])
    for X in (
        tmp_path,
        str(tmp_path),
        tmp_path / f"*.{suffix}",
        str(tmp_path / "**" / "part?.parquet"),
        paths,
        [paths[0], f"{tmp_path}/part[12].parquet"],
    ):
        got = fastgd.fit(X, target="late", features=FEATURES, sample_weight="weight", loss="logistic")
        assert got.settings["cached"]
        assert (got.coef == want.coef).all()  # in memory: the same bits
    # without a choice of features: all but the target and the weights
    files = Files(paths, "late", weight="weight")
    assert files.features == ["hour", "carrier", "distance", "kind", "delay"]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_folders_that_partition(table, tmp_path, kind):
    suffix, write = FORMATS[kind]
    order = []
    for carrier in ("AA", "B6", "UA"):
        for late in (0, 1):
            rows = np.flatnonzero((np.asarray(table["carrier"]) == carrier) & (np.asarray(table["late"]) == late))
            folder = tmp_path / f"late={late}" / f"carrier={carrier}"
            folder.mkdir(parents=True)
            write(table.take(rows).drop_columns(["late", "carrier"]), folder / f"rows.{suffix}")
            order.append((late, carrier, rows))
    (tmp_path / "_SUCCESS").write_text("")
    rows = np.concatenate([rows for _, _, rows in sorted(order, key=lambda each: each[:2])])
    whole = fastgd.fit(
        table.take(rows).select(["hour", "distance", "carrier"]),
        np.asarray(table["late"])[rows].astype(int),
        loss="logistic",
    )
    features = ["hour", "distance", "carrier"]
    for X in (tmp_path, tmp_path / "late=*" / "*" / "*"):
        got = fastgd.fit(X, target="late", features=features, loss="logistic")
        close(got, whole)


def test_categories_that_are_numbers_and_levels_that_are_all_kept(table, tmp_path):
    write_parts(table, tmp_path, "csv")
    options = {"categorical": ["hour", "carrier"], "drop_first": False, "l2": 1e-3, "tol": 1e-12}
    whole = fastgd.fit(table.select(FEATURES), table["delay"].to_numpy(), **options)
    got = fastgd.fit(tmp_path, target="delay", features=FEATURES, cache="none", memory_limit="1MB", **options)
    close(got, whole)
    assert got.coef_names[:3] == ["hour[0]", "hour[1]", "hour[2]"]
    assert got.history.passes[-1] < 8


def test_text_targets(table, tmp_path):
    labels = np.where(np.asarray(table["late"]), "late", "in time")
    parquet.write_table(table.select(FEATURES).append_column("label", pa.array(labels)), tmp_path / "a.parquet")
    got = fastgd.fit(tmp_path / "a.parquet", target="label", loss="logistic", cache="none")
    close(got, fastgd.fit(table.select(FEATURES), labels, loss="logistic"))


def test_rows_without_values_can_be_left_out(table, tmp_path):
    holes = table.set_column(
        2, "distance", pa.array([None if k % 7 == 0 else v for k, v in enumerate(table["distance"].to_pylist())])
    )
    write_parts(holes, tmp_path, "parquet")
    files = Files(tmp_path, "late", features=FEATURES, drop_missing=True)
    got = fastgd.fit(files, loss="logistic")
    keep = np.arange(N) % 7 != 0
    close(
        got, fastgd.fit(table.filter(pa.array(keep)).select(FEATURES), np.asarray(table["late"])[keep], loss="logistic")
    )
    assert files.dropped == (~keep).sum()
    with pytest.raises(ValueError, match=r"part0.parquet, from row 0: X has missing values: distance \(215"):
        fastgd.fit(tmp_path, target="late", features=FEATURES, loss="logistic")


@pytest.mark.parametrize("empty", [0, 1, 2])
@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_without_rows_or_values_has_no_types_of_its_own(table, tmp_path, kind, empty):
    suffix, write = FORMATS[kind]
    untyped = pa.table({name: pa.nulls(0) for name in table.column_names})
    parts = [table.slice(0, 3000), table.slice(3000)]
    parts.insert(empty, untyped)
    for number, part in enumerate(parts):
        write(part, tmp_path / f"{number}.{suffix}")
    options = {"loss": "logistic", "l2": 1e-4, "tol": 1e-12}
    whole = fastgd.fit(table.select(FEATURES), table["late"].to_numpy(), **options)
    close(fastgd.fit(tmp_path, target="late", features=FEATURES, **options), whole)
    missing = pa.table({name: pa.nulls(100) if name == "carrier" else table[name][:100] for name in table.column_names})
    write(missing, tmp_path / f"{empty}.{suffix}")
    with pytest.raises(ValueError, match=rf"{empty}.{suffix}, from row 0: X has missing values: carrier \(100"):
        fastgd.fit(tmp_path, target="late", features=FEATURES, **options)
    close(fastgd.fit(Files(tmp_path, "late", features=FEATURES, drop_missing=True), **options), whole)


def test_numbers_of_several_types(table, tmp_path):
    """Whole numbers in one file and fractions in another are the same column, as is what looks whole for long."""
    halves = table.set_column(0, "hour", pa.array(np.asarray(table["hour"]) + 0.5 * (np.arange(N) > 5000)))
    whole = fastgd.fit(halves.select(FEATURES), table["delay"].to_numpy(), tol=1e-12)
    parquet.write_table(table.slice(0, 4000), tmp_path / "0.parquet")
    parquet.write_table(halves.slice(4000), tmp_path / "1.parquet")
    close(fastgd.fit(tmp_path, target="delay", features=FEATURES, tol=1e-12), whole)
    lines = "\n".join(["hour,carrier,distance,delay", *(f"{h:g},{c},{d},{y}" for h, c, d, y in zip(
        *(halves[name].to_pylist() for name in [*FEATURES, "delay"]), strict=True))])  # fmt: skip
    (tmp_path / "all.csv").write_text(lines + "\n")
    close(fastgd.fit(tmp_path / "all.csv", target="delay", tol=1e-12, memory_limit="1MB"), whole)


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_every_so_many_rows(table, tmp_path, kind):
    write_parts(table, tmp_path, kind)
    files = Files(tmp_path, "late", features=FEATURES)
    files.limit(20_000)
    rows, target = files.sample(7)
    for name in FEATURES:
        assert rows[name].to_pylist() == table[name].to_pylist()[::7]
    assert target.tolist() == table["late"].to_pylist()[::7]


def without(table, name):
    return table.drop_columns(name)


def as_text(table, name):
    return table.set_column(
        table.schema.get_field_index(name), name, pa.array([f"x{v}" for v in table[name].to_pylist()])
    )


def damage(path):
    """Overwrite bytes in the middle, where the data are."""
    content = bytearray(path.read_bytes())
    for k in range(len(content) // 4, len(content) // 2):
        content[k] = 0xFF
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


FAULTS = {
    "missing column": (lambda t, p, w: w(without(t, "hour"), p), "has no column hour"),
    "type changed": (lambda t, p, w: w(as_text(t, "distance"), p), "distance|invalid value"),
    "damaged": (lambda _t, p, _w: damage(p), "part1"),
    "not a file of this kind": (lambda _t, p, _w: p.write_text("hello"), "part1"),
    "empty": (lambda _t, p, _w: p.write_bytes(b""), "part1"),
    "cut": (lambda _t, p, _w: cut(p), "part1"),
}


# A file of lines that ends early looks like a whole one, so there is no fault to name.
FAULTY = [(kind, fault) for kind in ("parquet", "csv", "ipc") for fault in FAULTS if (kind, fault) != ("csv", "cut")]


@pytest.mark.parametrize(("kind", "fault"), FAULTY)
def test_faults_are_named_with_their_file(table, tmp_path, kind, fault):
    suffix = write_parts(table, tmp_path, kind)
    path = tmp_path / f"part1.{suffix}"
    apply, fragment = FAULTS[fault]
    apply(table.slice(2000, 2000), path, FORMATS[kind][1])
    with pytest.raises((ValueError, OSError), match=fragment) as caught:
        fastgd.fit(tmp_path, target="late", features=FEATURES, loss="logistic", cache="none")
    assert "part1" in str(caught.value)


@pytest.mark.parametrize("change", ["vanishes", "shrinks", "grows"])
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_a_file_that_changes_between_readings(table, tmp_path, kind, change):
    suffix = write_parts(table, tmp_path, kind)
    path = tmp_path / f"part2.{suffix}"

    def meddle(row):
        if row.iteration == 0:
            if change == "vanishes":
                os.unlink(path)
            else:
                FORMATS[kind][1](table.slice(4000, 1500 if change == "shrinks" else 2001), path)

    with pytest.raises((ValueError, OSError), match=r"part2.*(no longer|changed while it was in use)"):
        fastgd.fit(tmp_path, target="late", features=FEATURES, loss="logistic", cache="none", callback=meddle)


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
def test_a_fault_leaves_the_checkpoint_to_go_on_from(table, tmp_path):
    write_parts(table, tmp_path, "parquet")
    options = {"target": "late", "features": FEATURES, "loss": "logistic", "solver": "lbfgs", "tol": 1e-9}
    options |= {"cache": "none", "memory_limit": "1MB"}
    whole = fastgd.fit(tmp_path, **options)
    checkpoint, path = tmp_path.parent / "fit.ckpt", tmp_path / "part1.parquet"
    fastgd.fit(tmp_path, checkpoint=checkpoint, max_iter=1, **options)
    before, content = checkpoint.read_bytes(), path.read_bytes()
    stamp = os.stat(path)

    def meddle(row):
        if row.iteration == 2:
            path.write_bytes(content[:-2000] + bytes(2000))

    with pytest.raises((ValueError, OSError), match="part1"):
        fastgd.fit(tmp_path, checkpoint=checkpoint, callback=meddle, **options)
    assert checkpoint.read_bytes() == before
    path.write_bytes(content)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    resumed = fastgd.fit(tmp_path, checkpoint=checkpoint, **options)
    assert (resumed.coef == whole.coef).all()
    assert resumed.history.loss.tolist() == whole.history.loss.tolist()


def test_damaged_maps(tmp_path):
    np.save(tmp_path / "X.npy", np.zeros((100, 3)))
    whole = (tmp_path / "X.npy").read_bytes()
    for content in (b"", b"hello", whole[:1000]):
        (tmp_path / "X.npy").write_bytes(content)
        with pytest.raises(ValueError, match=r"X.npy: is not, or not all of, an array of numbers"):
            fastgd.fit(tmp_path / "X.npy", np.arange(100))


BAD = [
    ("*.csv", {}, FileNotFoundError, "no file of this pattern"),
    ("none.parquet", {}, FileNotFoundError, "no such file"),
    ("", {"target": None}, ValueError, "target: the name of the column"),
    ("", {"y": [1, 2]}, ValueError, "y: targets are in the files"),
    ("", {"sample_weight": [1, 2]}, ValueError, "sample_weight: weights are in the files"),
    ("", {"sample_weight": "nil"}, ValueError, "sample_weight nil: "),
    ("", {"target": "nil"}, ValueError, "has no such column; it has hour, carrier"),
    ("", {"features": ["late"]}, ValueError, "late is the target"),
    ("", {"features": ["nil"]}, ValueError, "has no column nil"),
    ("", {"features": "hour"}, TypeError, "features='hour'; a list of column names"),
    ("", {"categorical": ["nil"]}, ValueError, "nil: no such column"),
    ("", {"target": "carrier", "loss": "squared"}, ValueError, "y has dtype"),
]


@pytest.mark.parametrize(("path", "options", "error", "fragment"), BAD, ids=[bad[3][:40] for bad in BAD])
def test_what_cannot_be_used_is_named(table, tmp_path, path, options, error, fragment):
    write_parts(table, tmp_path, "parquet")
    with pytest.raises(error) as caught:
        fastgd.fit(tmp_path / path, **{"target": "late", "loss": "logistic", **options})
    assert fragment in str(caught.value)


def test_formats_are_not_mixed(table, tmp_path):
    write_parts(table, tmp_path, "parquet")
    write_parts(table, tmp_path, "csv")
    with pytest.raises(ValueError, match=r"is Parquet, but .* is CSV; one format at a time"):
        fastgd.fit(tmp_path, target="late")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"notes.txt: a name ending in .parquet, .csv"):
        fastgd.fit(tmp_path, target="late")


MEMORY = """
import sys
import fastgd

# compiled, and libraries loaded
assert fastgd.fit(sys.argv[2], target="y", loss="logistic", l2=0.1, memory_limit="4MB").settings["cached"] is None

def private():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

import threading, time
before, peak, done = private(), [0], threading.Event()
def watch():
    while not done.is_set():
        peak[0] = max(peak[0], private())
        time.sleep(0.002)
watcher = threading.Thread(target=watch)
watcher.start()
result = fastgd.fit(sys.argv[1], target="y", loss="logistic", l2=0.1, memory_limit="128MB")
done.set()
watcher.join()
assert result.converged and result.settings["cached"] is None
print((peak[0] - before) / 1024)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="measured as Linux tells it")
def test_memory_is_bounded_in_one_row_group_that_is_larger(tmp_path, run_python):
    """200 MB of float32 in row groups of 100 MB, within 128 MB."""
    rng = np.random.default_rng(0)
    for name, n in {"large": 2_500_000, "small": 100_000}.items():
        X = {f"x{j}": rng.standard_normal(n, dtype=np.float32) for j in range(20)}
        table = pa.table({**X, "y": X["x0"] > rng.standard_normal(n)})
        parquet.write_table(table, tmp_path / f"{name}.parquet", row_group_size=1_250_000, use_dictionary=False)
    assert float(run_python(MEMORY, tmp_path / "large.parquet", tmp_path / "small.parquet")) < 128


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
def test_small_files_are_looked_at_like_data_in_memory(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((5000, 3))
    table = pa.table({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "d": 2.0 * X[:, 0], "y": X[:, 0] + X[:, 1]})
    parquet.write_table(table, tmp_path / "data.parquet")
    result = fastgd.fit(tmp_path / "data.parquet", target="y")
    assert result.redundant == ["d"] and result.settings["cached"].startswith("in memory")
    np.testing.assert_allclose(result.coef, [0.2, 1.0, 0.0, 0.4], atol=1e-12)
    large = fastgd.fit(tmp_path / "data.parquet", target="y", memory_limit="1MB")
    assert large.redundant == ["d"] and large.settings["cached"] is None
    np.testing.assert_allclose(large.coef, result.coef, atol=1e-12)


UNREADABLE = {
    "packed": ("1.csv", gzip.compress(b"a,y\n1,2\n3,4\n"), "is packed; name it .csv.gz"),
    "late text": (
        "1.csv",
        b"b,a,y\n" + b"1,1,2\n2,3,4\n" * 300_000 + b"1,hello,2\n",
        "column a has 'hello' in row 600000, where numbers are needed, as in its first rows",
    ),
    "latin-1": ("1.csv", "a,y\né,2\nx,4\n".encode("latin-1"), "column a has text that is not UTF-8"),
    "zero byte": ("1.csv", b"\0,y\n1,2\n3,4\n", r"the name of a column has a zero byte: '\x00'"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_files_that_cannot_be_read_are_named_with_what_is_wrong(what, tmp_path):
    name, content, message = UNREADABLE[what]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as error:
        fastgd.fit(tmp_path / name, target="y")
    assert str(error.value).startswith(f"{tmp_path / name}: {message}")


def test_a_link_to_nothing_is_named(tmp_path):
    parquet.write_table(pa.table({"a": [1.0, 2.0, 4.0], "y": [1.0, 3.0, 2.0]}), tmp_path / "1.parquet")
    (tmp_path / "2.parquet").symlink_to(tmp_path / "elsewhere.parquet")
    with pytest.raises(FileNotFoundError, match=r"2\.parquet: a link to .*elsewhere\.parquet, which is not there"):
        fastgd.fit(tmp_path, target="y")


def test_a_pattern_may_match_folders(tmp_path, rng):
    X = rng.standard_normal((300, 2))
    for year in range(3):
        (tmp_path / f"year={2010 + year}").mkdir()
        rows = slice(100 * year, 100 * year + 100)
        table = pa.table({"a": X[rows, 0], "y": X[rows, 1]})
        parquet.write_table(table, tmp_path / f"year={2010 + year}" / "part.parquet")
    whole = fastgd.fit(tmp_path, target="y")
    for pattern in ("year=*", "**", "*/*.parquet"):
        assert (fastgd.fit(tmp_path / pattern, target="y").coef == whole.coef).all()
    assert fastgd.fit(tmp_path / "year=201[01]", target="y").rows == 200


def test_arrays_in_files_may_have_weights_in_another(tmp_path, rng):
    data = {"X": rng.standard_normal((300, 2)), "y": rng.standard_normal(300), "w": rng.random(300)}
    for name, values in data.items():
        np.save(tmp_path / f"{name}.npy", values)
    X, y, w = (tmp_path / f"{name}.npy" for name in data)
    assert (fastgd.fit(X, y, sample_weight=w).coef == fastgd.fit(X, data["y"], sample_weight=data["w"]).coef).all()
    with pytest.raises(ValueError, match=r"X: 2 \.npy files; one at a time"):
        fastgd.fit([X, X], y)
