"""Several targets have the names of the columns of y, wherever the samples are, and after saving and loading."""

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from internals import coefficient_rows

import fastgd

N = 120
RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.standard_normal((N, 2)), columns=["a", "b"])
NOISE = RNG.standard_normal((N, 2))
Y = pd.DataFrame({"delay": X["a"] + NOISE[:, 0], "cost": X["b"] + NOISE[:, 1]})
NAMES = ("delay", "cost")
CLASSICAL = {"covariance": "classical"}
EXPECTED = fastgd.fit(X, Y.to_numpy(), **CLASSICAL)


def in_chunks(Y):
    return [(X[:50], Y[:50]), (X[50:50], Y[50:50]), (X[50:], Y[50:])]


SOURCES = {
    "pandas": lambda: (X, Y),
    "polars": lambda: (pl.DataFrame(X.to_dict("list")), pl.DataFrame(Y.to_dict("list"))),
    "arrow": lambda: (pa.table(X.to_dict("list")), pa.table(Y.to_dict("list"))),
    "array and frame": lambda: (X.to_numpy(), Y),
    "chunks": lambda: (in_chunks(Y), None),
    "chunks of arrays and frames": lambda: ([(X[k : k + 40].to_numpy(), Y[k : k + 40]) for k in (0, 40, 80)], None),
    "dask frames": lambda: (dd.from_pandas(X, npartitions=3), dd.from_pandas(Y, npartitions=3)),
}


@pytest.mark.parametrize("source", SOURCES)
def test_names_of_columns(source):
    result = fastgd.fit(*SOURCES[source](), **CLASSICAL)
    assert result.target_names == result.inference.outputs == NAMES
    np.testing.assert_allclose(result.inference.standard_errors, EXPECTED.inference.standard_errors, rtol=1e-9)
    assert result.inference.to_frame()["output"].tolist() == ["delay"] * 3 + ["cost"] * 3
    for summary in (result.summary(), fastgd.fit(*SOURCES[source]()).summary()):
        assert [row[0].split(":")[0] for row in summary.rows] == ["delay"] * 3 + ["cost"] * 3


@pytest.mark.parametrize("missing", ["drop", "impute"])
def test_names_where_values_are_missing(missing):
    gaps = X.assign(a=X["a"].where(X["a"] > -1.0))
    for given in ((gaps, Y), ([(gaps[:50], Y[:50]), (gaps[50:], Y[50:])], None)):
        assert fastgd.fit(*given, missing=missing, **CLASSICAL).inference.outputs == NAMES


def test_streams_that_are_not_kept_in_memory():
    result = fastgd.fit(in_chunks(Y), cache="none", **CLASSICAL)
    assert result.inference.outputs == NAMES


def test_one_column_is_a_target_with_a_name():
    assert fastgd.fit(X, Y[["cost"]], **CLASSICAL).inference.outputs == ("cost",)


@pytest.mark.parametrize("labels", [[0, 1], [("a", 1), ("b", 2)], ["same", "same"]])
def test_names_that_are_no_text(labels):
    y = Y.set_axis(pd.Index(labels, tupleize_cols=False), axis=1)
    assert fastgd.fit(X, y, **CLASSICAL).inference.outputs == tuple(map(str, labels))


UNNAMED = {
    "array": (X, Y.to_numpy()),
    "list": (X, Y.to_numpy().tolist()),
    "dask array": (da.from_array(X.to_numpy(), (40, 2)), da.from_array(Y.to_numpy(), (40, 2))),
}


@pytest.mark.parametrize("source", UNNAMED)
def test_without_names_they_are_numbers(source):
    result = fastgd.fit(*UNNAMED[source], **CLASSICAL)
    assert (result.target_names, result.inference.outputs) == (None, ("0", "1"))


@pytest.mark.parametrize("y", [Y["delay"], Y["delay"].to_numpy(), pl.Series("delay", Y["delay"].to_list())])
def test_a_vector_has_no_outputs(y):
    result = fastgd.fit(X, y, **CLASSICAL)
    assert (result.target_names, result.inference.outputs, result.output_names) == (None, (), [])


def test_classes_keep_their_labels():
    labels = pd.Series(np.resize(["x", "y", "z"], N), name="label")
    result = fastgd.fit(X, labels, loss="logistic", **CLASSICAL)
    assert (result.target_names, result.inference.outputs) == (None, ("y", "z"))
    assert result.output_names == ["x", "y", "z"]


def test_chunks_whose_targets_are_in_another_order_are_refused():
    chunks = [(X[:60], Y[:60]), (X[60:], Y[60:][["cost", "delay"]])]
    with pytest.raises(ValueError, match=r"chunk 1.*: y has the columns cost, delay; chunks before have delay, cost"):
        fastgd.fit(chunks)


def test_saved_and_loaded(tmp_path):
    for options in ({}, CLASSICAL):
        fastgd.fit(X, Y, **options).save(tmp_path / "m.json")
        loaded = fastgd.load(tmp_path / "m.json")
        assert loaded.target_names == NAMES and loaded.summary().rows[3][0] == "cost: intercept"
    assert loaded.inference.outputs == NAMES


def test_the_command_lines_table_of_coefficients():
    names = [row.name for row in coefficient_rows(fastgd.fit(X, Y), 4)]
    assert sorted(names) == ["cost: a", "cost: b", "delay: a", "delay: b"]


def test_names_of_later_inference():
    assert fastgd.inference(fastgd.fit(X, Y), X, Y.to_numpy()).outputs == NAMES
    assert fastgd.inference(fastgd.fit(X, Y.to_numpy()), X, Y).outputs == NAMES
    assert fastgd.inference(fastgd.LinearRegression().fit(X, Y), X, Y).outputs == NAMES
    with pytest.raises(ValueError, match=r"^y has the columns cost, delay; the fit had delay, cost"):
        fastgd.inference(fastgd.fit(X, Y), X, Y[["cost", "delay"]])
