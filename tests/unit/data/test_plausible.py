"""Text that is numbers but for a few values is refused by name, wherever it comes from; real categories are not."""

import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from internals import main
from pyarrow import parquet

import fastgd
from fastgd import io as fastgd_io

N = 400
MARKS = ["?", "None", "na", ".", "-", "--", "*", "missing", "unknown", "n.a.", "#VALUE!", "1,5", "12a", "header"]
PLACES = {"first": [0], "middle": [200], "last": [N - 1], "several": [5, 50, 399]}
COUNTS = [2, 3, 10, 19, 50, N]
"""Different numbers in the column."""


def column(mark, places, count):
    numbers = [f"{k % count}" if count < N else f"{k / 8}" for k in range(N)]
    for place in places:
        numbers[place] = mark
    return numbers


def as_csv(table, folder):
    path = folder / "t.csv"
    table.to_csv(path, index=False)
    return path


def as_parquet(table, folder):
    parquet.write_table(pa.Table.from_pandas(table, preserve_index=False), folder / "t.parquet")
    return folder / "t.parquet"


SOURCES = {
    "pandas": lambda table, _: fastgd.fit(table[["a"]], table["y"], l2=0.1),
    "pandas objects": lambda table, _: fastgd.fit(table[["a"]].astype(object), table["y"], l2=0.1),
    "polars": lambda table, _: fastgd.fit(pl.from_pandas(table), target="y", l2=0.1),
    "arrow": lambda table, _: fastgd.fit(pa.Table.from_pandas(table), target="y", l2=0.1),
    "dict": lambda table, _: fastgd.fit({"a": table["a"].to_numpy(str)}, table["y"].to_numpy(), l2=0.1),
    "estimator": lambda table, _: fastgd.Ridge().fit(table[["a"]], table["y"]).result_,
    "chunks": lambda table, _: fastgd.fit(
        [(table[["a"]][k : k + 70], table["y"][k : k + 70]) for k in range(0, N, 70)], l2=0.1
    ),
    "dask": lambda table, _: fastgd.fit(dd.from_pandas(table, npartitions=5), target="y", l2=0.1),
    "csv": lambda table, folder: fastgd.fit(as_csv(table, folder), target="y", l2=0.1),
    "parquet": lambda table, folder: fastgd.fit(as_parquet(table, folder), target="y", l2=0.1, cache="none"),
}


def samples(values):
    return pd.DataFrame({"a": pd.Series(values, dtype="str"), "y": (np.arange(N) * 7 % 11).astype(float)})


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("mark", MARKS)
def test_a_few_texts_among_numbers_are_refused(mark, places, count):
    table = samples(column(mark, PLACES[places], count))
    with pytest.raises(ValueError, match="X: column a has numbers, but ") as caught:
        fastgd.fit(table[["a"]], table["y"])
    said = str(caught.value)
    assert f"{mark!r} in row {PLACES[places][0]}" in said and "categorical=['a', ...]" in said
    assert (f"({len(PLACES[places])} such rows)" in said) == (len(PLACES[places]) > 1)
    named = fastgd.fit(table[["a"]], table["y"], categorical=["a"], l2=0.1)
    assert mark in named.features[0].levels


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("mark", "places", "count"), [("?", "middle", 10), ("12a", "last", N), ("unknown", "several", 2)]
)
def test_it_is_so_wherever_samples_live(source, mark, places, count, tmp_path):
    table = samples(column(mark, PLACES[places], count))
    with pytest.raises(ValueError, match="column a ") as caught:
        SOURCES[source](table, tmp_path)
    said = str(caught.value)
    assert f"{mark!r} in row {PLACES[places][0]}" in said
    if source in ("csv", "parquet"):
        assert f"in row {PLACES[places][0]} of " in said and f"t.{source}" in said


@pytest.mark.parametrize("chunk", [0, 3])
def test_the_guard_looks_at_every_chunk(chunk):
    """A chunk's own share may be large: it is that of all rows which counts, and the row is counted over all."""
    chunks = []
    for number in range(6):
        values = [f"{k % 7}" for k in range(100)]
        if number == chunk:
            values[40:] = ["x"] * 60
        chunks.append(({"a": np.array(values)}, np.arange(100.0)))
    with pytest.raises(ValueError, match=rf"'x' in row {100 * chunk + 40} \(60 such rows\)"):
        fastgd.fit(chunks)


@pytest.mark.parametrize("share", [0.15, 0.4])
@pytest.mark.parametrize("mark", ["?", "-", "", "n/a", "NULL"])
def test_marks_for_missing_values_are_refused_at_any_share(mark, share):
    values = column(mark, range(int(share * N)), 5)
    with pytest.raises(ValueError, match=r"column a has numbers, but .* in row 0"):
        fastgd.fit({"a": np.array(values)}, np.arange(N) % 7)


CATEGORIES = {
    "versions": (["1.1", "1.10", "beta"], [1, 1, 1]),
    "codes with zeros": (["012", "034", "A12"], [50, 50, 1]),
    "zip codes": ([f"{k:05d}" for k in range(500, 540)] + ["K1A"], [1] * 41),
    "mostly letters": (["AA", "UA", "9"], [10, 10, 1]),
    "numbers with letters": ([f"{k}{'x' * (k % 5 == 0)}" for k in range(100)], [1] * 100),
    "diagnoses": ([str(k) for k in range(100, 140)] + [f"V{k}" for k in range(15)], [4] * 40 + [1] * 15),
    "a large rest": (["10", "12", "other"], [1, 1, 1]),
    "yes and no": (["yes", "no"], [1, 5]),
    "one": (["7"], [1]),
}


@pytest.mark.parametrize("kind", CATEGORIES)
def test_categories_stay(kind, tmp_path):
    levels, shares = CATEGORIES[kind]
    values = np.repeat(levels, np.array(shares) * max(1, N // sum(shares)))
    values = np.concatenate([values, np.repeat(levels[:1], N - len(values))]) if len(values) < N else values[:N]
    table = samples(values)
    table["b"] = np.arange(N) % 3
    for source in ("pandas", "csv"):
        data = table[["a", "b"]] if source == "pandas" else as_csv(table, tmp_path)
        options = {} if source == "pandas" else {"target": "y"}
        got = fastgd.fit(data, table["y"] if source == "pandas" else None, l2=0.1, **options)
        if kind == "one":
            continue  # a number in CSV, a category of one level in memory
        assert set(got.features[0].levels) == set(values)


@pytest.mark.parametrize("make", [
    lambda values: pd.DataFrame({"a": pd.Categorical(values)}),
    lambda values: pl.DataFrame({"a": values}, schema={"a": pl.Categorical}),
    lambda values: pl.DataFrame({"a": values}, schema={"a": pl.Enum(sorted(set(values)))}),
], ids=["pandas", "Categorical", "Enum"])  # fmt: skip
def test_what_a_library_calls_a_category_is_one(make):
    values = column("?", [3], 10)
    assert len(fastgd.fit(make(values), np.arange(N) % 7, l2=0.1).features[0].levels) == 11


@pytest.mark.parametrize("source", SOURCES)
def test_a_category_that_tells_rows_apart_is_refused(source, tmp_path):
    table = samples([f"customer {k}" for k in range(N)])
    with pytest.raises(ValueError, match=r"column a is text with 400 different values in 400 rows.*categorical=\['a'"):
        SOURCES[source](table, tmp_path)
    assert len(fastgd.fit(table[["a"]], table["y"], categorical=["a"], l2=0.1).features[0].levels) == N


TARGETS = {
    "a header": ("y", [200]),
    "a mark": ("?", range(0, N, 4)),
    "a typo": ("O", [17]),
    "a word": ("unknown", [3, 90]),
}


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("source", ["array", "pandas", "chunks", "csv", "parquet", "estimator"])
def test_labels_that_are_numbers_but_for_a_few_are_refused(source, classes, kind, tmp_path):
    mark, places = TARGETS[kind]
    y = np.array(column(mark, places, classes), object)
    table = pd.DataFrame({"a": np.arange(float(N)), "late": pd.Series(y, dtype="str")})
    X = table[["a"]]
    calls = {
        "array": lambda: fastgd.fit(X.to_numpy(), y.astype(str), loss="logistic", l2=0.1),
        "pandas": lambda: fastgd.fit(table, target="late", loss="logistic", l2=0.1),
        "chunks": lambda: fastgd.fit(
            [(X[k : k + 90], table["late"][k : k + 90]) for k in range(0, N, 90)], loss="logistic"
        ),
        "csv": lambda: fastgd.fit(as_csv(table, tmp_path), target="late", loss="logistic"),
        "parquet": lambda: fastgd.fit(as_parquet(table, tmp_path), target="late", loss="logistic", cache="none"),
        "estimator": lambda: fastgd.LogisticRegression().fit(X, table["late"]),
    }
    with pytest.raises(ValueError, match="has numbers, but ") as caught:
        calls[source]()
    assert f"{mark!r} in row {places[0]}" in str(caught.value)


def test_classes_may_be_mixed_if_they_are_named():
    y = np.array(column("other", range(10, 13), 3))
    X = np.arange(float(N))[:, None]
    with pytest.raises(ValueError, match="y has numbers, but 'other' in row 10"):
        fastgd.fit(X, y, loss="logistic", l2=0.1)
    for labels in (pd.Categorical(y), pd.Series(y).astype("category"), pl.Series(y, dtype=pl.Categorical)):
        assert len(fastgd.fit(X, labels, loss="logistic", l2=0.1).classes) == 4
    table = pd.DataFrame({"a": X[:, 0], "late": y})
    assert len(fastgd.fit(table, target="late", categorical=["late"], loss="logistic", l2=0.1).classes) == 4


def test_a_header_in_the_middle_of_a_file(tmp_path, capsys):
    """As two files put together by ``cat`` have it, in the first block of the file and further down."""
    rows = "".join(f"{k % 6},{k % 4},{k % 5 // 3}\n" for k in range(N))
    for times in (1, 400):
        path = tmp_path / f"{times}.csv"
        path.write_text("b,c,y\n" + rows * times + "b,c,y\n" + rows)
        for options in ({"loss": "logistic"}, {"loss": "squared"}):
            with pytest.raises(ValueError, match=r"column (b|c|y)|y has numbers, but") as caught:
                fastgd.fit(path, target="y", l2=1e-3, **options)
            assert f"in row {N * times}" in str(caught.value)
        assert main(["fit", str(path), "--target", "y", "--model", "logistic"]) == 1
        assert f"in row {N * times}" in capsys.readouterr().err


def test_regressions_name_the_target_that_is_no_number(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text("a,y\n" + "".join(f"{k},{'?' if k == 33 else k}\n" for k in range(100)))
    with pytest.raises(ValueError, match=r"t\.csv: column y has '\?' in row 33, where numbers are needed"):
        fastgd.fit(path, target="y")
    assert main(["fit", str(path), "--target", "y"]) == 1
    assert "--target y: not numbers, as '?' in row 33 of " in capsys.readouterr().err


def test_many_different_mistakes_are_mistakes():
    """Marks at any number, and anything at all if it is rare."""
    scores = [str(k % 10) for k in range(2000)]
    for odd in (["?", "-", ".", "*", "n/a", "none", "na", "--"] * 40, [f"typo {k}" for k in range(15)], ["3 kg"] * 100):
        values = np.array(odd + scores)
        with pytest.raises(ValueError, match=f"column a has numbers, but {odd[0]!r} in row 0".replace("?", ".")):
            fastgd.fit({"a": values}, np.arange(len(values)) % 7)


def test_numbers_with_commas_are_told(tmp_path):
    values = np.array([f"{k % 20 / 2:.1f}".replace(".", ",") for k in range(N)])
    with pytest.raises(ValueError, match=r"numbers with commas, such as '0,0'; .* decimal=','"):
        fastgd.fit({"a": values}, np.arange(N) % 7)
    values[30] = "?"
    path = tmp_path / "t.csv"
    path.write_text("a;y\n" + "".join(f"{value};{k % 7}\n" for k, value in enumerate(values)))
    with pytest.raises(ValueError, match=r"column a has numbers, but '\?' in row 30 of "):
        fastgd.fit(fastgd_io.Files(path, "y", sep=";", decimal=","))


@pytest.mark.parametrize("where", ["memory", "chunks"])
def test_rows_are_counted_before_others_are_left_out(where):
    """Messages name the row that the caller has, also where earlier rows are left out."""
    X = np.random.default_rng(0).standard_normal((60, 2))
    X[:10, 0] = np.nan
    y = np.arange(60.0) % 7
    texts = np.array([str(k % 5) for k in range(60)], object)
    frame = pd.DataFrame(X).rename(columns=str)
    at = {row: np.arange(60) == row for row in (20, 30, 40)}
    cases = {
        "X contains infinity in row 20": (frame.assign(**{"1": np.where(at[20], np.inf, X[:, 1])}), y),
        "y contains infinity in row 30": (frame, np.where(at[30], np.inf, y)),
        r"column t has numbers, but '\?' in row 40": (frame.assign(t=np.where(at[40], "?", texts)), y),
    }
    for message, (table, target) in cases.items():
        given = (table, target) if where == "memory" else ([(table, target)], None)
        with pytest.raises(ValueError, match=message):
            fastgd.fit(*given, missing="drop")
    X[20, 1] = np.inf
    with pytest.raises(ValueError, match=r"X contains infinity in row 20, column 1"):
        fastgd.fit(*((X, y) if where == "memory" else ([(X, y)], None)), missing="drop")
