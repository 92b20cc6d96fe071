"""What a column is, whichever file, library or cluster it comes from, and whichever rows stand beside it."""

import os

import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from internals import main
from pyarrow import csv, ipc, parquet

import fastgd
from fastgd.io import Files

N = 600
CODES = {
    "versions": ["1.1", "1.10", "1.2"],
    "padded codes": ["012", "034", "A12"],
    "padded numbers": ["00501", "00544", "06390"],
    "truth values": ["true", "false", "unknown"],
    "truth values alone": ["True", "False"],
    "dates": ["2020-01-01", "2020-01-02", "2020-02-01"],
    "times": ["12:00:00", "13:00:00", "14:30:00"],
    "ids beyond 2^53": ["9007199254740992", "9007199254740993", "9007199254740994"],
    "beyond 64 bits": ["18446744073709551616", "18446744073709551617"],
    "powers": ["1e3", "1000", "1000.0"],
    "hex": ["0x10", "0x11", "16"],
    "spaces": [" 1", "1", "1 "],
}
"""Levels that differ as text, of which a reader of numbers, dates or truth values would lose something."""


def samples(levels, seed=0):
    rng = np.random.default_rng(seed)
    k, a = rng.integers(0, len(levels), N), rng.standard_normal(N).round(3)
    k[: len(levels)] = np.arange(len(levels))
    return pd.DataFrame({"a": a, "t": np.array(levels, object)[k], "y": (2 * a + k).round(6)})


def write(frame, path):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    if path.suffix == ".csv":
        csv.write_csv(table, path, csv.WriteOptions(quoting_style="none"))
    elif path.suffix == ".parquet":
        parquet.write_table(table, path)
    else:
        with ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    return path


def named(frame):
    """Return the coefficients by name of the fit in memory, whose categories are the texts as they are."""
    result = fastgd.fit(frame[["a", "t"]], frame["y"], categorical=["t"])
    return dict(zip(result.coef_names, result.coef, strict=True))


@pytest.mark.parametrize("cache", ["auto", "none"])
@pytest.mark.parametrize("suffix", ["csv", "parquet", "arrow"])
@pytest.mark.parametrize("kind", CODES)
def test_a_named_category_is_text_in_every_file(kind, suffix, cache, tmp_path):
    frame = samples(CODES[kind])
    path = write(frame, tmp_path / f"t.{suffix}")
    got = fastgd.fit(path, target="y", categorical=["t"], cache=cache)
    want = named(frame)
    assert got.coef_names == list(want)
    np.testing.assert_allclose(got.coef, list(want.values()), atol=1e-6)
    assert got.coef.size == len(CODES[kind])


@pytest.mark.parametrize("kind", CODES)
def test_a_prediction_depends_on_its_row_alone(kind, tmp_path, capsys):
    frame = samples(CODES[kind])
    train, part, model, output = (str(tmp_path / name) for name in ("t.csv", "p.csv", "m.json", "out.csv"))
    write(frame, tmp_path / "t.csv")
    assert main(["fit", train, "--target", "y", "--categorical", "t", "--output", model]) == 0
    for level in CODES[kind]:
        rows = frame[frame["t"] == level][:3]
        write(rows[["a", "t"]], tmp_path / "p.csv")
        for more in ([], ["--unseen", "zero"]):
            assert main(["predict", model, part, *more, "--output", output]) == 0
            np.testing.assert_allclose(csv.read_csv(output)["prediction"].to_numpy(), rows["y"], atol=1e-4)
    capsys.readouterr()


@pytest.mark.parametrize("numbers", [["1", "2", "3"], ["1.5", "2", "1e2"], ["true", "false"], ["", "7"]])
def test_a_number_of_the_model_is_read_as_a_number(numbers, tmp_path, capsys):
    """Of few rows, a reader would guess truth values, whole numbers, or nothing at all."""
    model, part, output = (str(tmp_path / name) for name in ("m.json", "p.csv", "out.csv"))
    values = np.arange(40.0) % 7
    fastgd.fit({"x": values}, 3.0 * values).save(model)
    (tmp_path / "p.csv").write_text("x,other\n" + "".join(f"{number},9\n" for number in numbers))
    missing = "" in numbers
    assert main(["predict", model, part, "--output", output]) == (1 if missing else 0)
    assert ("X has missing values: x (1, the first in row 0)" in capsys.readouterr().err) == missing
    if not missing:
        want = [3.0 * float({"true": 1, "false": 0}.get(number, number)) for number in numbers]
        np.testing.assert_allclose(csv.read_csv(output)["prediction"].to_numpy(), want, atol=1e-8)


@pytest.mark.parametrize("place", ["first block", "later block", "later file"])
@pytest.mark.parametrize("late", ["K1A", "2020-01-01", "0x1"])
def test_letters_may_come_late_in_a_named_category(late, place, tmp_path):
    n, few = 350_000 if place == "later block" else 4000, 300
    codes = np.array(["501", "544"])[np.arange(n) % 2].astype(object)
    codes[-few:] = late
    codes = codes[::-1] if place == "first block" else codes
    frame = pd.DataFrame({"zip": codes, "y": (codes == late) + 2.0 * (codes == "544")})
    parts = [frame[:-few], frame[-few:]] if place == "later file" else [frame]
    paths = [write(part, tmp_path / f"{number}.csv") for number, part in enumerate(parts)]
    got = fastgd.fit(paths, target="y", categorical=["zip"])
    assert got.features[0].levels == tuple(sorted(["501", "544", late])) and got.rows == n
    np.testing.assert_allclose(got.predict(frame[["zip"]]), frame["y"], atol=1e-8)
    with pytest.raises(ValueError, match=r"column zip has (numbers, but|'.*' in row \d+, where|type)") as caught:
        fastgd.fit(paths, target="y")
    assert "categorical=['zip', ...]" in str(caught.value)


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("kind", ["numbers", "fractions", "text", "truth"])
def test_a_column_gets_its_type_from_its_first_values(kind, first, tmp_path):
    """Empty for longer than a block, and in whole files before, or only for some rows."""
    n = 300_000
    values = {
        "numbers": np.arange(n) % 9,
        "fractions": np.arange(n) % 9 / 2,
        "text": np.array(["u", "v", "w"])[np.arange(n) % 3],
        "truth": np.array(["true", "false"])[np.arange(n) % 2],
    }[kind]
    effect = np.arange(n) % 3 if kind == "text" else np.arange(n) % 2 if kind == "truth" else np.arange(n) % 9
    empty = 260_000
    column = np.where(np.arange(n) < empty, "", values.astype(str))
    text = "\n".join(map(",".join, zip(map(str, np.arange(n) % 5), column, map(str, effect), strict=True)))
    for number in range(first):
        (tmp_path / f"a{number}.csv").write_text("a,b,y\n0,,1\n1,,2\n")
    (tmp_path / "b.csv").write_text(f"a,b,y\n{text}\n")
    got = fastgd.fit(tmp_path, target="y", missing="drop")
    assert got.rows == n - empty and got.dropped == empty + 2 * first
    assert got.coef_names == ["a", *(["b[v]", "b[w]"] if kind == "text" else ["b"])]
    assert got.loss < 1e-12


def test_whole_numbers_stay_whole_as_labels(tmp_path):
    base = 2**53
    frame = pd.DataFrame({"x": np.arange(200) % 10, "y": base + np.arange(200) % 10 // 5})
    got = fastgd.fit(write(frame, tmp_path / "t.csv"), target="y", loss="logistic", l2=0.1)
    assert got.classes.tolist() == [base, base + 1]
    many = {"x": pl.Series([base, base + 1, None, base + 2] * 5), "z": [0.0, 1.0, 2.0, 3.0] * 5}
    for table in (
        pl.DataFrame(many),
        pl.DataFrame(many).to_arrow(),
        pl.DataFrame(many).to_pandas(use_pyarrow_extension_array=True),
    ):
        result = fastgd.fit(table, np.arange(20) % 4, categorical=["x"], missing="impute", l2=0.1)
        assert result.features[0].levels == (str(base), str(base + 1), str(base + 2), "missing")


@pytest.mark.parametrize("index", ["none", "unnamed", "range from 5", "named", "text", "two levels"])
@pytest.mark.parametrize("form", ["csv", "parquet", "feather", "arrow table"])
def test_an_index_of_pandas_is_no_feature(form, index, tmp_path):
    rng = np.random.default_rng(3)
    plain = pd.DataFrame({"a": rng.standard_normal(300), "late": rng.integers(0, 2, 300)})
    frame = {
        "none": plain,
        "unnamed": plain.sample(frac=1, random_state=0),
        "range from 5": plain.set_axis(pd.RangeIndex(5, 305)),
        "named": plain.set_axis(pd.Index(np.arange(300)[::-1], name="key")),
        "text": plain.set_axis(pd.Index([f"customer {k}" for k in range(300)])),
        "two levels": plain.set_axis(pd.MultiIndex.from_product([range(3), range(100)])),
    }[index]
    y = frame["late"].to_numpy()
    want = fastgd.fit(frame[["a"]].to_numpy(), y, loss="logistic", l2=1e-3)
    path = tmp_path / f"t.{form}"
    table, keys = pa.Table.from_pandas(frame), []
    if form == "csv":
        frame.to_csv(path)
        keys = {"named": ["key"]}.get(index, [])  # in CSV a name does not say that it is an index
    elif form == "parquet":
        frame.to_parquet(path)
    elif form == "feather":
        with ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    if form == "arrow table":
        got = fastgd.fit(table, target="late", loss="logistic", l2=1e-3)
    else:
        got = fastgd.fit(path, target="late", loss="logistic", l2=1e-3)
    assert got.coef_names == [*keys, "a"]
    if not keys:
        np.testing.assert_allclose(got.coef, want.coef, rtol=1e-9)
        np.testing.assert_allclose(got.predict_proba(frame[["a"]]), want.predict_proba(frame[["a"]]), rtol=1e-9)


def test_an_index_can_be_asked_for(tmp_path):
    frame = pd.DataFrame({"y": [1.0, 2.0, 4.0]}, index=pd.Index([0, 1, 2], name="key"))
    frame.to_parquet(tmp_path / "t.parquet")
    assert fastgd.fit(tmp_path / "t.parquet", target="y", features=["key"]).coef_names == ["key"]
    with pytest.raises(ValueError, match=r"t.parquet: has no column beside y"):
        fastgd.fit(tmp_path / "t.parquet", target="y")


@pytest.mark.parametrize("compression", ["none", "snappy"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_damaged_pages_are_told_by_their_checksums(compression, version, tmp_path):
    rng = np.random.default_rng(16)
    a = rng.standard_normal(20_000)
    path = tmp_path / "t.parquet"
    parquet.write_table(
        pa.table({"a": a, "y": 2 * a}),
        path,
        compression=compression,
        use_dictionary=False,
        write_page_checksum=True,
        data_page_version=version,
    )
    assert fastgd.fit(path, target="y").converged
    column = parquet.ParquetFile(path).metadata.row_group(0).column(0)
    raw = bytearray(path.read_bytes())
    raw[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises((ValueError, OSError), match=r"t\.parquet: .*(CRC|checksum|Corrupt)"):
        fastgd.fit(path, target="y")


@pytest.mark.parametrize("suffix", ["csv", "parquet", "arrow"])
def test_columns_of_later_files_are_not_dropped_in_silence(suffix, tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 4.0]})
    write(frame, tmp_path / f"0.{suffix}")
    write(frame.assign(b=[1.0, 0.0, 5.0]), tmp_path / f"1.{suffix}")
    with pytest.raises(ValueError, match=rf"1.{suffix}: has a column b, which .*0.{suffix} lacks; .* by features="):
        fastgd.fit(tmp_path, target="y")
    assert fastgd.fit(tmp_path, target="y", features=["a"]).coef_names == ["a"]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "arrow"])
@pytest.mark.parametrize("key", ["2012", "01", "AA", "a b%2Fc"])
def test_keys_of_folders_may_stand_in_the_files_too(key, suffix, tmp_path):
    rng = np.random.default_rng(0)
    frames = []
    for value in (key, "7" if key.isdecimal() else "B6"):
        folder = tmp_path / f"key={value}"
        folder.mkdir()
        text = value.replace("%2F", "/")
        frame = pd.DataFrame({"a": rng.standard_normal(50), "y": rng.standard_normal(50), "key": text})
        frame["key"] = frame["key"].astype(int) if key == "2012" else frame["key"]
        write(frame, folder / f"0.{suffix}")
        frames.append(frame)
    whole = pd.concat(sorted(frames, key=lambda frame: f"key={frame['key'].iloc[0]}"))
    both = fastgd.fit(tmp_path, target="y", categorical=["key"])
    want = fastgd.fit(whole[["a", "key"]], whole["y"], categorical=["key"])
    assert both.features[1].levels == want.features[1].levels
    for folder in tmp_path.iterdir():
        file = next(folder.iterdir())
        frame = next(f for f in frames if str(f["key"].iloc[0]).replace("/", "%2F") == folder.name.partition("=")[2])
        write(frame[["a", "y"]], file)
    keys = fastgd.fit(tmp_path, target="y", categorical=["key"])
    assert keys.features[1].levels == want.features[1].levels
    np.testing.assert_allclose(np.sort(np.abs(keys.coef)), np.sort(np.abs(want.coef)), rtol=1e-9)


def test_files_as_polars_writes_them(tmp_path, capsys):
    rng = np.random.default_rng(9)
    k, a = rng.integers(0, 3, 300), rng.standard_normal(300)
    levels = ["u", "v", "w"]
    frame = pl.DataFrame({"a": a, "t": np.array(levels)[k], "y": 2 * a + k})
    frames = {
        "text": frame,
        "categorical": frame.with_columns(pl.col("t").cast(pl.Categorical)),
        "enum": frame.with_columns(pl.col("t").cast(pl.Enum(levels))),
    }
    for name, each in frames.items():
        each.write_ipc(tmp_path / f"{name}.arrow")
        each.write_parquet(tmp_path / f"{name}.parquet")
    model, output = str(tmp_path / "m.json"), str(tmp_path / "o.csv")
    for name in frames:
        for suffix in ("arrow", "parquet"):
            path = str(tmp_path / f"{name}.{suffix}")
            for missing in ("error", "drop", "impute"):
                assert main(["fit", path, "--target", "y", "--missing", missing, "--output", model]) == 0
            assert main(["predict", model, path, "--output", output]) == 0
            np.testing.assert_allclose(csv.read_csv(output)["prediction"].to_numpy(), frame["y"], atol=1e-6)
    folder = tmp_path / "by t"
    frame.write_parquet(pl.PartitionBy(folder, key="t", include_key=True))
    assert fastgd.fit(folder, target="y").coef_names == ["a", "t[v]", "t[w]"]
    capsys.readouterr()


@pytest.mark.parametrize("how", ["file twice", "pattern and file", "folder and file", "another spelling"])
def test_a_path_given_twice_is_refused(how, tmp_path, monkeypatch):
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 4.0]})
    path = str(write(frame, tmp_path / "t.csv"))
    monkeypatch.chdir(tmp_path)
    given = {
        "file twice": [path, path],
        "pattern and file": [str(tmp_path / "*.csv"), path],
        "folder and file": [str(tmp_path), path],
        "another spelling": [path, "t.csv"],
    }[how]
    with pytest.raises(ValueError, match=r"t\.csv: is given twice.*; each of its rows would count twice"):
        fastgd.fit(given, target="y")


@pytest.mark.parametrize(
    "make", [dict, pd.DataFrame, pl.DataFrame, pa.table], ids=["dict", "pandas", "polars", "arrow"]
)
def test_a_table_may_hold_its_target_and_weights(make, rng):
    data = {
        "a": rng.standard_normal(50),
        "b": rng.standard_normal(50),
        "y": rng.standard_normal(50),
        "w": rng.random(50),
    }
    whole, X = make(data), make({"a": data["a"], "b": data["b"]})
    want = fastgd.fit(X, data["y"], sample_weight=data["w"])
    got = fastgd.fit(whole, target="y", sample_weight="w")
    assert (got.coef == want.coef).all() and got.coef_names == ["a", "b"]
    assert fastgd.fit(whole, target="y", features=["b", "w"]).coef_names == ["b", "w"]
    array = fastgd.fit(whole, target="y", features=["a", "b"], sample_weight=data["w"])
    assert (array.coef == want.coef).all()
    with pytest.raises(ValueError, match="sample_weight='w': names of columns go with target="):
        fastgd.fit(X, data["y"], sample_weight="w")
    for options, message in (
        ({"target": "z"}, "target z: X has no such column; it has a, b, y, w"),
        ({"target": "y", "features": ["y"]}, "features: y is the target"),
        ({"target": "y", "categorical": ["w"], "sample_weight": "w"}, "categorical w: no such column"),
    ):
        with pytest.raises(ValueError, match=message):
            fastgd.fit(whole, **options)
    with pytest.raises(ValueError, match="X: has no column beside y, so there is nothing to predict from"):
        fastgd.fit(make({"y": data["y"]}), target="y")
    with pytest.raises(TypeError, match="y is missing: give targets beside X, or the name of their column by target="):
        fastgd.fit(whole)


INDICES = {
    "shuffled": lambda n: np.random.default_rng(0).permutation(n),
    "another range": lambda n: pd.RangeIndex(1, n + 1),
    "text": lambda n: [f"r{k}" for k in range(n)],
    "dates": lambda n: pd.date_range("2020", periods=n),
}


@pytest.mark.parametrize("what", ["y", "sample_weight"])
@pytest.mark.parametrize("of_y", INDICES)
@pytest.mark.parametrize("of_X", INDICES)
@pytest.mark.parametrize("call", ["function", "estimator", "partial_fit"])
def test_another_index_is_refused(call, of_X, of_y, what, rng):
    n = 30
    X = pd.DataFrame({"a": rng.standard_normal(n), "b": rng.standard_normal(n)}, index=INDICES[of_X](n))
    beside = {"y": pd.Series(rng.standard_normal(n)), "sample_weight": pd.Series(np.ones(n))}
    beside[what].index = INDICES[of_y](n)

    def fitted(X, y, sample_weight):
        if call == "function":
            return fastgd.fit(X, y, sample_weight=sample_weight)
        model = fastgd.LinearRegression(solver="sgd" if call == "partial_fit" else "auto")
        return (model.fit if call == "estimator" else model.partial_fit)(X, y, sample_weight=sample_weight)

    if of_X != of_y:
        with pytest.raises(ValueError, match=rf"{what} has another index than X, .*{what}.reset_index\(drop=True\)"):
            fitted(X, **beside)
    else:
        fitted(X, **beside)
    beside[what] = beside[what].reset_index(drop=True)
    fitted(X, **beside)  # a default index says nothing
    fitted(X.to_numpy(), **beside)


@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize("name", ["objects", "str", "string", "category", "float", "truth values", "polars", "list"])
def test_missing_labels_are_named_as_scikit_learn_does(name, call):
    texts = ["a", "b", None, "a"] * 10
    y = {
        "objects": pd.Series(texts, dtype=object),
        "str": pd.Series(texts),
        "string": pd.Series(texts, dtype="string"),
        "category": pd.Series(texts).astype("category"),
        "float": np.array([0.0, 1.0, np.nan, 0.0] * 10),
        "truth values": pd.Series([True, False, None, True] * 10),
        "polars": pl.Series(texts),
        "list": texts,
    }[name]
    X = np.random.default_rng(17).standard_normal((40, 2))
    model = fastgd.LogisticRegression(solver="sgd" if call == "partial_fit" else "auto")
    with pytest.raises(ValueError, match=r"Input y contains NaN\. It has no value in row 2"):
        model.fit(X, y) if call == "fit" else model.partial_fit(X, y, classes=["a", "b"])
    got = fastgd.LogisticRegression(missing="drop").fit(X, y)
    assert got.result_.dropped == 10 and got.result_.rows == 30


def test_rows_of_a_file_are_those_that_pandas_reads(tmp_path):
    """Small files of random quotes, breaks and blanks agree with pandas about every value."""
    rng = np.random.default_rng(5)
    for number in range(100):
        texts = rng.choice(["plain", "with, comma", 'a "quote"', "two\nlines", "\n\n", " blank ", "é", ""], 20)
        frame = pd.DataFrame(
            {"note": texts, "a": rng.standard_normal(20).round(3), "y": rng.standard_normal(20).round(3)}
        )
        path = tmp_path / f"{number}.csv"
        frame.to_csv(path, index=False)
        files = Files(path, "y", features=["note", "a"])
        files.expect({"note": "text"})
        ((table, _),) = files.tables()
        read = pd.read_csv(path)
        assert table["note"].to_pylist() == [None if isinstance(note, float) else note for note in read["note"]]
        assert table["a"].to_pylist() == read["a"].tolist()


@pytest.mark.parametrize("what", ["row", "header", "quoted row"])
@pytest.mark.parametrize("size", [1 << 20, 5 << 20])
def test_rows_and_headers_of_megabytes(what, size, tmp_path):
    long = "x" * size
    header = f"a,{long if what == 'header' else 'note'},y\n"
    rows = [f"{k},{'n'},{2 * k}\n" for k in range(50)]
    if what != "header":
        rows[30] = f"30,{long if what == 'row' else chr(34) + 'line' + chr(10) + long + chr(34)},60\n"
    (tmp_path / "t.csv").write_text(header + "".join(rows))
    got = fastgd.fit(tmp_path / "t.csv", target="y", features=["a"])
    assert got.rows == 50 and abs(got.coef[0] - 2) < 1e-9
    assert os.path.getsize(tmp_path / "t.csv") > size


def test_arrays_have_no_column_for_the_target(tmp_path):
    np.save(tmp_path / "X.npy", np.ones((3, 2)))
    with pytest.raises(ValueError, match="target='y': X has no named columns; give targets as y"):
        fastgd.fit(tmp_path / "X.npy", target="y")
    with pytest.raises(TypeError, match="y is missing"):
        fastgd.fit(np.ones((3, 2)), target="y")


CSV_AND_MEMORY = [
    (np.array([1.0, 2.0, 3.0]), ["1.0", "2.0", "3.0"]),
    (np.array([1, 2, 3]), ["1", "2", "3"]),
    (np.array([1.5, 2.0, 3.0]), ["1.5", "2.0", "3.0"]),
]


@pytest.mark.parametrize(("values", "levels"), CSV_AND_MEMORY, ids=["floats", "integers", "fractions"])
def test_whole_numbers_are_one_level_in_memory_and_in_csv(values, levels, tmp_path):
    """CSV keeps the text 1.0, and a float has the level 1: a model of one predicts the other."""
    frame = pd.DataFrame({"g": values[np.arange(90) % 3], "y": np.array([0.0, 5.0, 1.0])[np.arange(90) % 3]})
    path = tmp_path / "g.csv"
    frame.to_csv(path, index=False)
    of_file = fastgd.fit(path, target="y", categorical=["g"])
    assert list(of_file.features[0].levels) == levels
    np.testing.assert_allclose(of_file.predict(frame[["g"]]), frame["y"], atol=1e-8)
    of_memory = fastgd.fit(frame[["g"]], frame["y"], categorical=["g"])
    np.testing.assert_allclose(of_memory.predict({"g": np.array(levels)[np.arange(90) % 3]}), frame["y"], atol=1e-8)
    with pytest.raises(ValueError, match="not fitted on: 01"):
        of_memory.predict({"g": np.array(["01"])})


def test_pandas_names_of_an_index_are_no_features(tmp_path):
    frame = pd.DataFrame({"a": np.arange(9.0) % 4, "y": np.arange(9.0) % 5}).sample(frac=1, random_state=0)
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv")
    for X in (
        tmp_path / "t.csv",
        pd.read_csv(tmp_path / "t.csv"),
        pl.read_csv(tmp_path / "t.csv"),
        pl.read_parquet(tmp_path / "t.parquet"),
    ):
        assert fastgd.fit(X, target="y").coef_names == ["a"]


def test_where_a_file_lies_is_no_feature(tmp_path):
    frame = pd.DataFrame({"a": np.arange(9.0) % 4, "y": np.arange(9.0) % 5})
    for run in ("run=3", "run=4"):
        (tmp_path / run).mkdir()
        write(frame, tmp_path / run / "t.csv")
    paths = sorted(tmp_path.rglob("*.csv"))
    assert fastgd.fit(paths[0], target="y").coef_names == ["a"]
    assert fastgd.fit(tmp_path / "run=3", target="y").coef_names == ["a"]
    asked = fastgd.fit(paths[0], target="y", features=["a", "run"], l2=0.1)  # as a model does
    assert asked.coef_names == ["a", "run"]
    for given in (paths, tmp_path, tmp_path / "run=*"):
        assert fastgd.fit(given, target="y", l2=0.1).coef_names == ["a", "run"]


@pytest.mark.parametrize("where", ["chunks", "dask"])
def test_chunks_go_by_position_and_have_the_same_columns(where):
    frame = pd.DataFrame({"a": np.arange(40.0) % 7, "y": np.arange(40.0)})
    X, y = frame[["a"]].sample(frac=1, random_state=0), frame["y"].sample(frac=1, random_state=1)
    if where == "dask":
        X, y = (dd.from_pandas(each, npartitions=1, sort=False) for each in (X, y))
        given = (X, y)
    else:
        given = ([(X, y)], None)
        with pytest.raises(ValueError, match=r"chunk 1, .* X has a column b, which chunks before lack"):
            fastgd.fit([(frame[["a"]], frame["y"]), (frame[["a"]].assign(b=1.0), frame["y"])])
    with pytest.raises(ValueError, match="y has another index than X"):
        fastgd.fit(*given)


def test_labels_of_files_are_of_one_kind(tmp_path):
    (tmp_path / "0.csv").write_text("a,y\n" + "".join(f"{k % 7},{['yes', 'no'][k % 2]}\n" for k in range(50)))
    (tmp_path / "1.csv").write_text("a,y\n" + "".join(f"{k % 7},{k % 2}\n" for k in range(50)))
    with pytest.raises(ValueError, match=r"1\.csv: column y has type int64; in .*0\.csv it has type string"):
        fastgd.fit(tmp_path, target="y", loss="logistic")


@pytest.mark.parametrize("text", ["", "\n\n\n", "a,y", "a,y\n"])
def test_files_without_rows_are_told(text, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=r"(t\.csv: (there are no rows|Empty CSV file)|X has no rows)"):
        fastgd.fit(tmp_path / "t.csv", target="y")


def test_a_wide_header_is_read(tmp_path):
    names = [f"c{j}" for j in range(30_000)]
    (tmp_path / "t.csv").write_text(
        "\n".join([",".join([*names, "y"]), *(",".join(["1"] * 30_000 + [str(k)]) for k in range(3))])
    )
    assert fastgd.fit(tmp_path / "t.csv", target="y", features=["c7"], l2=0.1).rows == 3
