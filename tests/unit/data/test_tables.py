"""Every kind of table gives the bits of any other, with the same names, levels and errors; those of an array, if it has
numbers alone. How categories compare with an array of zeros and ones is in test_mixed.
"""

import decimal
import tracemalloc
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from internals import Feature, InMemory, Pieces, as_features, coef_names, flights_demo, main, patch, stretches
from pyarrow import csv

import fastgd

N = 1003
CUTS = [0, 1, 1, 300, 777, N]  # of chunks: one of a single row, one empty


def pieces(values):
    """A column of Arrow in chunks."""
    array = pa.array(values)
    return pa.chunked_array([array[a:b] for a, b in pairwise(CUTS)], array.type)


def from_polars(columns):
    whole = pl.DataFrame(columns)
    return pl.concat([whole[a:b] for a, b in pairwise(CUTS)], rechunk=False)


TABLES = {
    "dict": lambda columns: {name: np.asarray(values) for name, values in columns.items()},
    "dict of lists": lambda columns: columns,
    "pandas": pd.DataFrame,
    "pandas objects": lambda columns: pd.DataFrame(
        {
            name: pd.Series(values, dtype=object if isinstance(values[0], str) else None)
            for name, values in columns.items()
        }
    ),
    "pandas nullable": lambda columns: pd.DataFrame(columns).convert_dtypes(),
    "pandas by pyarrow": lambda columns: pa.table({k: pieces(v) for k, v in columns.items()}).to_pandas(
        types_mapper=pd.ArrowDtype
    ),
    "pandas, another index": lambda columns: pd.DataFrame(columns).set_index(np.arange(N)[::-1] // 2),
    "polars": pl.DataFrame,
    "polars in chunks": from_polars,
    "pyarrow": pa.table,
    "pyarrow in chunks": lambda columns: pa.table({name: pieces(values) for name, values in columns.items()}),
    "record batch": pa.record_batch,
}
RNG = np.random.default_rng(0)
LEVELS = ["AA", "UA", "ß", "a b"]
COLUMNS = {
    "float": RNG.standard_normal(N).tolist(),
    "int": RNG.integers(-5, 5, N).tolist(),
    "bool": (RNG.random(N) < 0.5).tolist(),
    "text": RNG.choice(LEVELS[:3], N).tolist(),
    "last": RNG.random(N).tolist(),
}
EXPLICIT = np.column_stack(
    [
        *(np.array(COLUMNS[name], float) for name in ("float", "int", "bool")),
        *(np.array(COLUMNS["text"]) == level for level in LEVELS[1:3]),
        COLUMNS["last"],
    ]
)
NAMES = ["float", "int", "bool", "text[UA]", "text[ß]", "last"]
Y = EXPLICIT @ [1.0, -0.2, 0.5, 2.0, -1.0, 0.3] + RNG.standard_normal(N)
PLAIN = fastgd.fit(EXPLICIT, Y)
MIXED = fastgd.fit(COLUMNS, Y)
NUMBERS_ALONE = {name: values for name, values in COLUMNS.items() if name != "text"}

CATEGORIES = {  # of the column "text", in their own types
    "Categorical": lambda values: pd.DataFrame({"k": pd.Categorical(values, categories=LEVELS[::-1])}),
    "Categorical of pyarrow": lambda values: pd.DataFrame({"k": pd.Series(values, dtype="string[pyarrow]")}).astype(
        "category"
    ),
    "pandas by pyarrow": lambda values: pa.table({"k": pieces(values).dictionary_encode()}).to_pandas(
        types_mapper=pd.ArrowDtype
    ),
    "string[python]": lambda values: pd.DataFrame({"k": pd.Series(values, dtype="string[python]")}),
    "polars Categorical": lambda values: pl.DataFrame({"k": pl.Series(values, dtype=pl.Categorical)}),
    "polars Enum": lambda values: pl.DataFrame({"k": pl.Series(values, dtype=pl.Enum(LEVELS))}),
    "dictionary": lambda values: pa.table({"k": pa.array(values).dictionary_encode()}),
    "dictionaries": lambda values: pa.table(  # a chunk's own each
        {"k": pa.chunked_array([pa.array(part).dictionary_encode() for part in (values[:10], values[10:])])}
    ),
    "large_string": lambda values: pa.table({"k": pa.array(values, pa.large_string())}),
    "string_view": lambda values: pa.table({"k": pa.array(values, pa.string_view())}),
    "StringDType": lambda values: {"k": np.array(values, np.dtypes.StringDType())},
    "objects": lambda values: {"k": np.array(values, object)},
}


@pytest.mark.parametrize("kind", TABLES)
def test_every_table_gives_the_same_bits(kind, as_dense):
    table = TABLES[kind](COLUMNS)
    model = fastgd.fit(table, Y)
    assert model.coef_names == NAMES
    assert model.coef.tobytes() == MIXED.coef.tobytes() and model.intercept == MIXED.intercept
    assert model.predict(table).tobytes() == MIXED.predict(COLUMNS).tobytes()
    np.testing.assert_allclose(model.coef, PLAIN.coef, rtol=1e-12)
    np.testing.assert_allclose(model.predict(table), PLAIN.predict(EXPLICIT), rtol=1e-12, atol=1e-13)
    design, rows = as_features(table, "auto"), np.array([5, 0, 1002, 777, 776, 5])
    np.testing.assert_array_equal(as_dense(design), EXPLICIT)
    np.testing.assert_array_equal(as_dense(design.take(rows)), EXPLICIT[rows])
    np.testing.assert_array_equal(InMemory(design, Y).take(rows).pivot()[0], EXPLICIT[5, [0, 1, 2, 5]])


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_of_numbers_gives_the_bits_of_the_array(kind):
    table, explicit = TABLES[kind](NUMBERS_ALONE), EXPLICIT[:, [0, 1, 2, 5]]
    for loss, solver in (("squared", "newton"), ("huber", "lbfgs"), ("squared", "sgd")):
        model, plain = (fastgd.fit(X, Y, loss=loss, solver=solver) for X in (table, explicit))
        assert model.coef.tobytes() == plain.coef.tobytes() and model.intercept == plain.intercept
    np.testing.assert_allclose(model.predict(table), plain.predict(explicit), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", CATEGORIES)
def test_every_type_of_category_gives_the_same_codes(kind):
    values = COLUMNS["text"]
    design = as_features(CATEGORIES[kind](values), "auto")
    assert design.features == (Feature("k", ("AA", "UA", "ß")),)
    codes = design.columns[0].values
    assert codes.dtype == np.int8 and [LEVELS[code] for code in codes] == values


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        ([3, 10, -2, 3], ("-2", "3", "10")),
        ([3.0, 10.0, -2.0, 3.0], ("-2", "3", "10")),
        ([0.5, 10.0, 2.0, 2.0], ("0.5", "2", "10")),
        ([True, False, True, True], ("False", "True")),
        (["3", "10", "-2", "3"], ("-2", "3", "10")),
        (["3", "10", "nan", "3"], ("10", "3", "nan")),
        (["1", "01", "x", "1"], ("01", "1", "x")),
        (["1", "01", "1.0", "1"], ("01", "1", "1.0")),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [kind for kind in TABLES if "chunks" not in kind and "index" not in kind])
def test_levels_are_texts_in_the_order_of_numbers_if_all_are(kind, values, levels, monkeypatch):
    monkeypatch.setitem(globals(), "CUTS", [0, 1, 1, 4])
    design = as_features(TABLES[kind]({"k": values}), ["k"])
    assert design.features == (Feature("k", levels),)
    assert [levels[code] for code in design.columns[0].values] == [
        str(int(v)) if isinstance(v, float) and v == int(v) else str(v) for v in values
    ]


OWN_ORDER = {
    "ordered Categorical": pd.DataFrame({"k": pd.Categorical(list("lhm"), categories=list("xlmh"), ordered=True)}),
    "ordered numbers": pd.DataFrame({"k": pd.Categorical([3, 1, 2], categories=[4, 3, 2, 1], ordered=True)}),
    "polars Enum": pl.DataFrame({"k": pl.Series(list("lhm"), dtype=pl.Enum(list("xlmh")))}),
}


@pytest.mark.parametrize("kind", OWN_ORDER)
def test_levels_with_an_order_of_their_own_keep_it(kind):
    design = as_features(OWN_ORDER[kind], "auto")
    assert design.features[0].levels == (("3", "2", "1") if "numbers" in kind else ("l", "m", "h"))
    assert design.columns[0].values.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    "kind", ["pandas", "pandas nullable", "pandas by pyarrow", "polars", "polars in chunks", "pyarrow"]
)
@pytest.mark.parametrize("dtype", ["f4", "f8", "i1", "u2", "i8"])
def test_numbers_are_read_where_they_lie(kind, dtype):
    table = TABLES[kind]({"a": (np.arange(N) * 0.5).astype(dtype)})
    first, second = (as_features(table).columns[0].values for _ in range(2))
    for one, two in zip(*(getattr(values, "arrays", [values]) for values in (first, second)), strict=True):
        assert one.dtype == dtype and np.shares_memory(one, two)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "pyarrow"])
def test_memory_is_a_byte_per_category_and_nothing_per_number(make):
    n = 1 << 20
    columns = {f"c{j}": np.arange(n, dtype=float) for j in range(8)}  # 64 MB
    table = make({**columns, "k": pd.Categorical(np.arange(n) % 3)} if make is pd.DataFrame else columns)
    source = InMemory(as_features(table, "auto"), np.zeros(n))
    source.sum_tiles(lambda tile, _: np.array([[tile.X[0, 0]]]))
    tracemalloc.start()
    source = InMemory(as_features(table, "auto"), np.zeros(0))
    source.y = np.broadcast_to(0.0, n)
    source.sum_tiles(lambda tile, _: np.array([[tile.X[0, 0]]]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24e6  # a tile, 2 MB of codes as they are put together, and a stretch of them as the table gives it


@given(st.data(), st.lists(st.integers(0, 5), min_size=1, max_size=8).filter(any))
def test_pieces_are_one_array(data, lengths):
    whole = np.random.default_rng(0).standard_normal(sum(lengths))
    column = Pieces(np.split(whole, np.cumsum(lengths)[:-1]))
    row = st.integers(0, len(whole) - 1)
    start, stop = sorted(data.draw(st.tuples(row, st.integers(0, len(whole) + 2))))
    rows = np.array(data.draw(st.lists(row)), np.intp)
    assert len(column) == len(whole)
    np.testing.assert_array_equal(column[start:stop], whole[start:stop])
    np.testing.assert_array_equal(column[rows], whole[rows])
    np.testing.assert_array_equal(column[:], whole)


@given(st.lists(st.text(max_size=3), min_size=1), st.integers(0, 9))
def test_encoding_can_be_undone(as_dense, values, cut):
    tables = [
        {"k": np.array(values, object)},
        pd.DataFrame({"k": values}),
        pd.DataFrame({"k": values}).astype("category"),
        pl.concat([pl.DataFrame({"k": values[:cut]}, {"k": str}), pl.DataFrame({"k": values[cut:]}, {"k": str})]),
        pa.table({"k": pa.chunked_array([values[:cut], values[cut:]], pa.string())}),
        pa.table({"k": pa.array(values).dictionary_encode()}),
    ]
    for design in (as_features(table, "auto") for table in tables):
        (feature,), (column,) = design.features, design.columns
        assert [feature.levels[code] for code in column.values] == values
        assert feature == as_features(tables[0], "auto").features[0] and set(feature.levels) == set(values)
        expected = np.array(values, object)[:, None] == np.array(feature.levels[1:], object)
        np.testing.assert_array_equal(as_dense(design), expected)


def test_many_levels_take_more_bytes():
    texts = [f"level {j}" for j in range(40_000)]
    for levels, dtype in ((127, "i1"), (128, "i2"), (32_767, "i2"), (32_768, "i4")):
        column = as_features(pl.DataFrame({"k": texts[:levels]}), "auto").columns[0]
        assert column.values.dtype == dtype and len(set(column.values.tolist())) == levels


def test_columns_are_encoded_by_stretches(as_dense, monkeypatch):
    patch(monkeypatch, "stretch_rows", 100)
    assert [len(part) for part in stretches(np.zeros(250))] == [100, 100, 50]
    for make in (TABLES["pandas"], TABLES["polars in chunks"], TABLES["pyarrow in chunks"], TABLES["dict"]):
        np.testing.assert_array_equal(as_dense(as_features(make(COLUMNS), "auto")), EXPLICIT)


@pytest.mark.parametrize("kind", TABLES)
def test_a_model_takes_columns_by_name_with_its_levels(kind):
    model = fastgd.fit(TABLES["pandas"](COLUMNS), Y)
    other = {"extra": ["?"] * N, **dict(reversed(COLUMNS.items())), "text": ["ß"] * N}
    again = EXPLICIT.copy()
    again[:, 3:5] = [0, 1]
    predicted = model.predict(TABLES[kind](other))
    assert predicted.tobytes() == model.predict({**COLUMNS, "text": other["text"]}).tobytes()
    np.testing.assert_allclose(predicted, PLAIN.predict(again), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("make", [dict, pd.DataFrame, pl.DataFrame, pa.table])
def test_no_rows_have_no_predictions(make):
    columns = {"a": np.array([1.0, 2.0, 4.0]), "k": np.array(["p", "q", "p"])}
    result = fastgd.fit(make(columns), [1, 2, 3], l2=0.1)
    assert result.predict(make({name: values[:0] for name, values in columns.items()})).shape == (0,)


@pytest.mark.parametrize("kind", ["dict", "pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("drop_first", [True, False])
def test_unseen_levels_are_refused_or_add_nothing(kind, drop_first):
    model = fastgd.fit(TABLES["pandas"](COLUMNS), Y > 0, loss="logistic", l2=0.1, drop_first=drop_first)
    new = TABLES[kind]({**COLUMNS, "text": ["new", "UA", "AA"] + ["newer"] * (N - 3)})
    with pytest.raises(ValueError, match="column text has levels that the model was not fitted on: new, newer; known"):
        model.predict(new)
    zeros = EXPLICIT.copy()
    zeros[:, 3:5] = 0
    zeros[1, 3] = 1
    if not drop_first:
        zeros = np.insert(zeros, 3, np.arange(N) == 2, axis=1)
    expected = zeros @ model.coef + model.intercept
    np.testing.assert_allclose(model.decision_function(new, unseen="zero"), expected, rtol=1e-12)
    assert (model.predict(new, unseen="zero") == (expected > 0)).all()
    assert model.predict_proba(new, unseen="zero").shape == (N, 2)
    with pytest.raises(ValueError, match="unseen='ignore'; choose 'error' or 'zero'"):
        model.predict(new, unseen="ignore")


def test_every_level_has_a_coefficient_under_a_penalty():
    table = TABLES["polars"](COLUMNS)
    explicit = np.insert(EXPLICIT, 3, np.array(COLUMNS["text"]) == "AA", axis=1)
    full, plain = fastgd.fit(table, Y, drop_first=False, l2=0.1), fastgd.fit(explicit, Y, l2=0.1)
    assert full.coef_names == [*NAMES[:3], "text[AA]", *NAMES[3:]]
    np.testing.assert_allclose(full.coef, plain.coef, rtol=1e-12)
    assert full.features == (*map(Feature, NAMES[:3]), Feature("text", ("AA", "UA", "ß"), False), Feature("last"))
    with pytest.raises(
        ValueError, match=r"drop_first=False gives every level of text .* give l2 > 0, or drop_first=True"
    ):
        fastgd.fit(table, Y, drop_first=False)
    alone = fastgd.fit(table, Y, drop_first=False, intercept=False)  # one category alone stands in for the intercept
    np.testing.assert_allclose(alone.predict(table), PLAIN.predict(EXPLICIT), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="start was fitted on other columns or levels"):
        fastgd.fit(table, Y, start=alone)


def test_features_of_a_table_with_numbers_for_names():
    design = as_features(pd.DataFrame(np.eye(3)))
    assert coef_names(design.features, 3) == ["0", "1", "2"]
    again = as_features(pd.DataFrame(np.eye(3)), features=design.features)
    np.testing.assert_array_equal(again.tile(0, 3).X, np.eye(3))


def test_a_table_for_a_model_of_an_array_is_taken_by_order():
    np.testing.assert_allclose(PLAIN.predict(pl.DataFrame(EXPLICIT)), PLAIN.predict(EXPLICIT), rtol=1e-12, atol=1e-13)


NULLS = {"int": [1, None, None], "float": [1.5, 2.5, None], "bool": [None, True, False], "text": ["a", None, "b"]}
WITH_NULLS = {
    "pandas nullable": lambda columns: pd.DataFrame(columns).convert_dtypes(),
    "pandas by pyarrow": lambda columns: pa.table(columns).to_pandas(types_mapper=pd.ArrowDtype),
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
    "pyarrow in chunks": lambda columns: pa.table({k: pa.chunked_array([v[:2], v[2:]]) for k, v in columns.items()}),
}


@pytest.mark.parametrize("kind", WITH_NULLS)
def test_nulls_are_named_by_column_and_count_before_any_work(kind):
    message = (
        "X has missing values: int (2, the first in row 1), float (1, the first in row 2), "
        "bool (1, the first in row 0), text (1, the first in row 1); fill them in or drop the rows, or fit with "
        "missing='drop' or 'impute'"
    )
    for action in (
        lambda table: fastgd.fit(table, [1, 2, 3]),
        lambda table: PLAIN_NULLS.predict(table),
        lambda table: as_features(table, list(NULLS)),
    ):
        with pytest.raises(ValueError) as error:
            action(WITH_NULLS[kind](NULLS))
        assert str(error.value) == message


PLAIN_NULLS = fastgd.fit({**{name: [1.0, 2.0, 3.0] for name in NULLS}, "text": ["a", "b", "a"]}, [1, 2, 3], l2=1.0)


@pytest.mark.parametrize("make", [dict, pd.DataFrame, pl.DataFrame, pa.table])
def test_nan_is_missing_too_wherever_it_is_found(make):
    numbers = {"a": np.array([1.0, np.nan, 3.0]), "b": np.array([np.nan, np.nan, 1.0]), "c": np.arange(3)}
    message = r"X has missing values: a \(1, the first in row 1\), b \(2, the first in row 0\); fill"
    with pytest.raises(ValueError, match=message):
        fastgd.fit(make(numbers), [1, 2, 3])
    with pytest.raises(ValueError, match=message):
        fastgd.fit(make({name: [1.0, 2.0, 4.0] for name in numbers}), [1, 2, 3], l2=1.0).predict(make(numbers))
    with pytest.raises(ValueError, match=message):
        as_features(make(numbers), ["a", "b"])


NUMBERS = {"a": [1.0, 2.0], "k": ["p", "q"]}
DATES = np.array(["2024-01-01"] * 2, "M8[s]")
BAD = {
    "categories of an array": (lambda: as_features(np.ones((2, 2)), ["a"]), "categorical: X has no named columns"),
    "unknown category": (lambda: as_features(NUMBERS, ["z"]), "categorical z: no such column; there are a, k"),
    "text": (lambda: as_features(NUMBERS), "X has columns that are not numbers: k (<U1); name those of text as"),
    "polars text": (lambda: as_features(pl.DataFrame(NUMBERS)), "X has columns that are not numbers: k (String); name"),
    "more text": (lambda: as_features({**NUMBERS, "l": ["x", "y"]}, ["k"]), "are not numbers: l (<U1); name those"),
    "objects": (lambda: as_features({"a": [1, None]}, "auto"), "neither numbers nor text: a (objects: NoneType, int)"),
    "mixed": (
        lambda: as_features({"a": np.array([1, "x"], object)}, ["a"]),
        "a (objects: int, str, as 'x' in row 1); convert them",
    ),
    "a number and its text": (
        lambda: as_features(pd.DataFrame({"a": pd.Categorical([1, "1"])}), "auto"),
        "X: column a has text beside other values",
    ),
    "no rows": (lambda: as_features(pa.table({"k": pa.array([], pa.string())}), "auto"), "X has no rows; its columns"),
    "all that is missing": (
        lambda: as_features(pd.DataFrame({"a": [1, np.nan, np.nan], "k": ["p", None, "q"]}), "auto"),
        "X has missing values: a (2, the first in row 1), k (1, the first in row 1)",
    ),
    "lists": (lambda: as_features({"a": np.array([[1], [1, 2]], object)}, "auto"), "a (objects: list)"),
    "bytes": (lambda: as_features({"a": [b"x", b"y"]}, "auto"), "neither numbers nor text: a (|S1)"),
    "dates": (lambda: as_features({"t": DATES}, "auto"), "neither numbers nor text: t (datetime64[s]); convert them"),
    "pandas dates": (lambda: as_features(pd.DataFrame({"t": DATES}), ["t"]), "t (datetime64[s]); convert them"),
    "polars dates": (lambda: as_features(pl.DataFrame({"t": DATES.astype("M8[ms]")}), "auto"), "t (Datetime("),
    "pyarrow dates": (lambda: as_features(pa.table({"t": DATES}), "auto"), "t (timestamp[s])"),
    "decimals": (lambda: as_features(pl.DataFrame({"a": [decimal.Decimal("1.5")]})), "a (Decimal(precision=38"),
    "null type": (
        lambda: as_features(pa.table({"a": pa.nulls(2)}), "auto"),
        "without any value: a; fill them in, or leave",
    ),
    "128 bits": (lambda: as_features(pl.DataFrame({"a": [1]}, {"a": pl.Int128})), "a (Int128)"),
    "matrix in a column": (lambda: as_features({"a": np.ones((2, 2))}), "column a has shape (2, 2)"),
    "lengths": (lambda: as_features({"a": [1, 2], "b": [1]}), "columns have different lengths: {'a': 2, 'b': 1}"),
    "twice": (lambda: as_features(pd.DataFrame([[1, 2]], columns=["a", "a"])), "several columns of the same name: a"),
    "lazy": (
        lambda: as_features(pl.LazyFrame(NUMBERS)),
        "X is a lazy table; read it into memory first, by X.collect()",
    ),
    "None level": (lambda: as_features({"k": ["p", None]}, ["k"]), "X has missing values: k (1, the first in row 1)"),
    "NaN level": (lambda: as_features({"k": np.array(["p", np.nan], object)}, "auto"), "missing values: k (1, the"),
    "NA": (lambda: as_features({"k": pd.array(["p", None], "string")}, "auto"), "missing values: k (1, the first in"),
    "Categorical": (lambda: as_features(pd.DataFrame({"k": pd.Categorical(["p", None])}), "auto"), "values: k (1, the"),
    "unseen level": (
        lambda: as_features(NUMBERS, features=[Feature("k", ("p", "r"))]),
        "column k has levels that the model was not fitted on: q; known are p, r; unseen='zero' has them add nothing",
    ),
    "missing column": (lambda: as_features({"b": [1]}, features=[Feature("a")]), "fitted on a: no such column"),
    "text for numbers": (lambda: as_features({"a": ["x"]}, features=[Feature("a")]), "are not numbers: a (<U1)"),
    "array for table": (lambda: as_features([[1]], features=[Feature("k", ("p", "q"))]), "categorical columns"),
    "Series": (lambda: as_features(pd.Series([1.0, 2.0])), "X has 1 dimensions, shape (2,)"),
}


@pytest.mark.parametrize("case", BAD)
def test_errors_name_the_column(case):
    action, fragment = BAD[case]
    with pytest.raises(ValueError) as error:
        action()
    assert fragment in str(error.value) and str(error.value).startswith(("X", "categorical"))


def test_without_narwhals_dicts_are_read_and_frames_say_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "narwhals", None)
    assert as_features(NUMBERS, "auto").shape == (2, 2)
    with pytest.raises(ImportError, match=r"reading DataFrames needs narwhals: pip install 'fastgd\[tables\]'"):
        as_features(pl.DataFrame(NUMBERS))


LABELS = np.where(Y > 0, "b", "a")
TARGETS = {
    "bool": (Y > 0, [False, True]),
    "pandas boolean": (pd.Series(Y > 0, dtype="boolean"), [False, True]),
    "pandas Int64": (pd.Series((Y > 0) * 1, dtype="Int64"), [0, 1]),
    "pandas str": (pd.Series(LABELS), ["a", "b"]),
    "pandas Categorical, ordered": (
        pd.Series(pd.Categorical(LABELS, categories=["c", "b", "a"], ordered=True)),
        ["a", "b"],
    ),
    "polars String": (pl.Series(LABELS), ["a", "b"]),
    "polars Enum": (pl.Series(LABELS, dtype=pl.Enum(["b", "a"])), ["a", "b"]),
    "polars Boolean": (pl.Series(Y > 0), [False, True]),
    "pyarrow string": (pa.array(LABELS), ["a", "b"]),
    "pyarrow chunks": (pieces(LABELS), ["a", "b"]),
    "pyarrow dictionary": (pieces(LABELS).dictionary_encode(), ["a", "b"]),
    "pyarrow bool": (pa.array(Y > 0), [False, True]),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_labels_of_every_type_give_the_same_model(kind):
    y, classes = TARGETS[kind]
    model = fastgd.fit(EXPLICIT, y, loss="logistic", l2=1e-3)
    plain = fastgd.fit(EXPLICIT, (Y > 0) * 1.0, loss="logistic", l2=1e-3)
    assert model.coef.tobytes() == plain.coef.tobytes()
    assert model.classes.tolist() == classes


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize(
    "y",
    [
        pd.Series([1, 0, None], dtype="Int64"),
        pd.Series([True, False, None], dtype="boolean"),
        pl.Series([1, 0, None]),
        pl.Series([True, False, None]),
        pa.array([1, 0, None]),
        pa.chunked_array([[True, False], [None]]),
    ],
    ids=["pandas Int64", "pandas boolean", "polars Int64", "polars Boolean", "pyarrow int64", "pyarrow bool"],
)
def test_targets_with_nulls_are_refused_by_row(loss, y):
    with pytest.raises(ValueError, match=r"^y (contains NaN|has no value) in row 2"):
        fastgd.fit(np.eye(3), y, loss=loss)


def test_flights_have_the_same_coefficients_from_every_reader(tmp_path, capsys):
    data = flights_demo.flights()
    file = tmp_path / "flights.csv"
    data.table[::8].assign(late=data.late[::8]).to_csv(file, index=False)
    arguments = ["fit", str(file), "--target", "late", "--model", "logistic", "--l2", "1e-6"]
    assert main([*arguments, "--output", str(tmp_path / "model.json")]) == 0
    expected = fastgd.load(tmp_path / "model.json")
    assert {"month[January]", "weekday[Monday]", "carrier[UA]", "origin[JFK]", "hour"} <= set(expected.coef_names)
    for read in (pd.read_csv, pl.read_csv, csv.read_csv):
        table = read(file)
        y = table["late"]
        table = table.drop_columns("late") if isinstance(table, pa.Table) else table[list(data.table.columns)]
        model = fastgd.fit(table, y, loss="logistic", l2=1e-6)
        assert model.features == expected.features and model.coef_names == expected.coef_names
        assert model.coef.tobytes() == expected.coef.tobytes() and model.intercept == expected.intercept
    capsys.readouterr()


def test_the_command_line_has_every_option_of_categories(tmp_path, capsys):
    file, model, output = tmp_path / "data.csv", tmp_path / "model.json", tmp_path / "predictions.csv"
    file.write_text("month,carrier,y\n1,UA,1\n2,AA,2\n10,UA,3\n1,AA,5\n")
    arguments = ["fit", str(file), "--target", "y", "--output", str(model)]
    assert main(arguments) == 0
    assert fastgd.load(model).coef_names == ["month", "carrier[UA]"]
    assert main([*arguments, "--categorical", "month,carrier", "--all-levels", "--l2", "0.1"]) == 0
    assert fastgd.load(model).coef_names == ["month[1]", "month[2]", "month[10]", "carrier[AA]", "carrier[UA]"]
    file.write_text("carrier,month\nUA,1\nB6,2\n")
    predict = ["predict", str(model), str(file), "--output", str(output)]
    assert main(predict) == 1
    assert "column carrier has levels that the model was not fitted on: B6" in capsys.readouterr().err
    assert main([*predict, "--unseen", "zero"]) == 0
    fitted = fastgd.load(model)
    np.testing.assert_allclose(
        np.asarray(csv.read_csv(output)["prediction"]),
        fitted.intercept + np.array([fitted.coef[0] + fitted.coef[4], fitted.coef[1]]),
    )
