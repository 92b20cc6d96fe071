"""Missing values: refused, left out, or filled in, to the numbers of SimpleImputer before the same fit."""

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from internals import main
from pyarrow import csv, ipc, parquet
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import fastgd
from fastgd.io import Files

N, CHUNK = 1200, 250
NUMBERS = ["a", "far", "full", "whole"]


def flights(seed=0):
    """Return samples of which each column but one lacks values, and targets; a level occurs only in incomplete rows."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "a": rng.standard_normal(N),
            "far": 1e3 + rng.gamma(2.0, 3.0, N),
            "kind": rng.choice(["u", "v", "w"], N).astype(object),
            "full": rng.standard_normal(N),
            "whole": rng.integers(0, 9, N).astype(float),
        }
    )
    z = frame["a"] - 0.1 * (frame["far"] - 1e3) + (frame["kind"] == "v") + 0.1 * frame["whole"]
    for name, share in (("a", 0.1), ("far", 0.2), ("kind", 0.05), ("whole", 0.05)):
        frame.loc[rng.random(N) < share, name] = None if name == "kind" else np.nan
    frame.loc[frame.index[frame["a"].isna()][:5], "kind"] = "rare"
    return frame, {"squared": z + rng.standard_normal(N), "logistic": (z + rng.logistic(size=N) > 0).astype(int)}


FRAME, TARGETS = flights()
COMPLETE = FRAME.notna().all(axis=1).to_numpy()


def imputed(frame):
    """Return the columns that SimpleImputer and OneHotEncoder make of the samples, by the names that fastgd gives."""
    numbers = SimpleImputer(add_indicator=True).fit_transform(frame[NUMBERS])
    names = [*NUMBERS, *(f"{name}[missing]" for name in NUMBERS if frame[name].isna().any())]
    kinds = frame["kind"].fillna("~missing")
    levels = sorted(kinds.unique())[1:]
    columns = dict(zip(names, numbers.T, strict=True))
    columns |= {f"kind[{level.strip('~')}]": (kinds == level).to_numpy(float) for level in levels}
    return columns


DENSE = imputed(FRAME)


def cut(values):
    return [values[start : start + CHUNK] for start in range(0, N, CHUNK)]


def in_file(suffix):
    def write(frame, y, folder):
        whole = pa.Table.from_pandas(frame.assign(y=y), preserve_index=False)
        path = folder / f"t.{suffix}"
        if suffix == "csv":
            csv.write_csv(whole, path)
        elif suffix == "parquet":
            parquet.write_table(whole, path, row_group_size=CHUNK)
        else:
            with ipc.new_file(path, whole.schema) as writer:
                writer.write_table(whole, max_chunksize=CHUNK)
        return path, None

    return write


SOURCES = {
    "pandas": lambda frame, y, _: (frame, y),
    "pandas nullable": lambda frame, y, _: (frame.convert_dtypes(), y),
    "polars": lambda frame, y, _: (pl.from_pandas(frame), np.asarray(y)),
    "arrow": lambda frame, y, _: (pa.Table.from_pandas(frame), np.asarray(y)),
    "dict": lambda frame, y, _: ({name: frame[name].to_numpy() for name in frame}, np.asarray(y)),
    "chunks": lambda frame, y, _: (list(zip(cut(frame), cut(y), strict=True)), None),
    "chunks of polars": lambda frame, y, _: (
        list(zip(map(pl.from_pandas, cut(frame)), map(np.asarray, cut(y)), strict=True)),
        None,
    ),
    "dask": lambda frame, y, _: (dd.from_pandas(frame, npartitions=4), dd.from_pandas(y, npartitions=4)),
    "csv": in_file("csv"),
    "parquet": in_file("parquet"),
    "feather": in_file("feather"),
}


def fitted(source, missing, loss, folder, **options):
    X, y = SOURCES[source](FRAME, pd.Series(TARGETS[loss]), folder)
    target = {} if y is not None or isinstance(X, list) else {"target": "y"}
    return fastgd.fit(X, y, loss=loss, l2=1e-3, tol=1e-9, missing=missing, **target, **options)


@pytest.fixture(scope="module")
def wanted():
    """The fit of what scikit-learn's imputer gives, and of the complete rows, for each loss."""
    found = {}
    for loss, y in TARGETS.items():
        options = {"loss": loss, "l2": 1e-3, "tol": 1e-9}
        found["impute", loss] = fastgd.fit(np.column_stack(list(DENSE.values())), y, **options)
        found["drop", loss] = fastgd.fit(FRAME[COMPLETE], np.asarray(y)[COMPLETE], **options)
    return found


CACHED = [(source, {}) for source in SOURCES] + [
    (source, {"cache": "none", "memory_limit": "1MB"}) for source in ("chunks", "csv", "parquet")
]


@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize(("source", "options"), CACHED, ids=[f"{s}{' read again' * bool(o)}" for s, o in CACHED])
def test_filled_in_as_scikit_learn_does(source, options, loss, tmp_path, wanted):
    got, want = fitted(source, "impute", loss, tmp_path, **options), wanted["impute", loss]
    assert sorted(got.coef_names) == sorted(DENSE) and got.dropped == 0 and got.rows == N
    places = [list(DENSE).index(name) for name in got.coef_names]
    np.testing.assert_allclose(got.coef, want.coef[places], rtol=0, atol=1e-8)
    np.testing.assert_allclose(got.intercept, want.intercept, rtol=1e-8)
    eta = want.decision_function(np.column_stack(list(DENSE.values())))
    got.save(tmp_path / "m.json")
    for model in (got, fastgd.load(tmp_path / "m.json")):
        for make in (lambda frame: frame, pl.from_pandas, pa.Table.from_pandas):
            np.testing.assert_allclose(model.decision_function(make(FRAME)), eta, atol=1e-7)
        np.testing.assert_allclose(model.decision_function(FRAME[:1]), eta[:1], atol=1e-7)  # no row beside it


@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize(("source", "options"), CACHED, ids=[f"{s}{' read again' * bool(o)}" for s, o in CACHED])
def test_rows_left_out_are_counted_and_leave_no_trace(source, options, loss, tmp_path, wanted):
    got, want = fitted(source, "drop", loss, tmp_path, **options), wanted["drop", loss]
    assert got.coef_names == want.coef_names and not any("rare" in name for name in got.coef_names)
    assert (got.rows, got.dropped) == (COMPLETE.sum(), N - COMPLETE.sum())
    np.testing.assert_allclose(got.coef, want.coef, rtol=0, atol=1e-9)
    got.save(tmp_path / "m.json")
    assert fastgd.load(tmp_path / "m.json").dropped == got.dropped
    with pytest.raises(ValueError, match="X has missing values: a "):
        got.predict(FRAME)


@pytest.mark.parametrize("source", SOURCES)
def test_they_are_refused_by_default_with_their_counts(source, tmp_path):
    with pytest.raises(ValueError, match=r"X has missing values: .*kind \(\d+, the first in row \d+\).*missing='drop'"):
        fitted(source, "error", "squared", tmp_path)


RECIPE = make_column_transformer(
    (SimpleImputer(add_indicator=True), NUMBERS),
    (
        make_pipeline(
            SimpleImputer(strategy="constant", fill_value="~", missing_values=None), OneHotEncoder(drop="first")
        ),
        ["kind"],
    ),
)


@pytest.mark.parametrize(
    "make", [lambda f: f, pl.from_pandas, lambda f: dd.from_pandas(f, npartitions=3)], ids=["pandas", "polars", "dask"]
)
@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("missing", ["drop", "impute"])
def test_estimators_are_pipelines_of_scikit_learn(missing, loss, make):
    y = pd.Series(TARGETS[loss])
    classes = loss == "logistic"
    ours = fastgd.LogisticRegression if classes else fastgd.Ridge
    theirs = (
        LogisticRegression(tol=1e-12, max_iter=1000, solver="newton-cholesky") if classes else Ridge(solver="cholesky")
    )
    rows = np.ones(N, bool) if missing == "impute" else COMPLETE
    frame, target = FRAME[rows].astype({"kind": object}), y[rows]
    frame = frame.where(frame.notna(), None).astype(dict.fromkeys(NUMBERS, float))
    model = make_pipeline(RECIPE, theirs).fit(frame, target)
    given = make(FRAME)
    own = ours(missing=missing, tol=1e-9).fit(
        given, dd.from_pandas(y, npartitions=3) if type(given).__module__.startswith("dask") else y
    )
    assert own.result_.dropped == N - rows.sum()
    np.testing.assert_allclose(np.sort(np.ravel(own.coef_)), np.sort(np.ravel(model[-1].coef_)), atol=1e-8)
    method = "predict_proba" if classes else "predict"
    got = getattr(own, method)(FRAME[rows])
    np.testing.assert_allclose(got, getattr(model, method)(frame), atol=1e-8)
    if missing == "impute":
        with pytest.raises(ValueError, match="complete numbers only"):
            own.to_sklearn()


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 1.0, 1: 3.0}])
@pytest.mark.parametrize("weighted", [False, True])
def test_penalty_and_weights_are_those_of_the_rows_that_are_left(weighted, class_weight):
    X, y = FRAME[NUMBERS], TARGETS["logistic"]
    weight = np.arange(1.0, N + 1.0) if weighted else None
    rows = X.notna().all(axis=1).to_numpy()
    options = {"C": 0.3, "class_weight": class_weight}
    own = fastgd.LogisticRegression(missing="drop", tol=1e-9, **options).fit(X, y, sample_weight=weight)
    want = LogisticRegression(tol=1e-12, max_iter=1000, solver="newton-cholesky", **options)
    want.fit(X[rows], np.asarray(y)[rows], sample_weight=None if weight is None else weight[rows])
    np.testing.assert_allclose(own.coef_, want.coef_, atol=1e-8)


@pytest.mark.parametrize("where", ["array", "float32", "Fortran", "chunks", "dask"])
@pytest.mark.parametrize("missing", ["drop", "impute"])
def test_arrays_go_by_position(where, missing):
    X, y = FRAME[NUMBERS].to_numpy(), np.asarray(TARGETS["squared"])
    X = X.astype(np.float32).astype(np.float64)
    given = {
        "array": (X, y),
        "float32": (X.astype(np.float32), y),
        "Fortran": (np.asfortranarray(X), y),
        "chunks": (list(zip(cut(X), cut(y), strict=True)), None),
        "dask": (da.from_array(X, (CHUNK, -1)), da.from_array(y, (CHUNK,))),
    }[where]
    got = fastgd.fit(*given, missing=missing, tol=1e-9)
    rows = ~np.isnan(X).any(axis=1)
    if missing == "drop":
        want, names = fastgd.fit(X[rows], y[rows], tol=1e-9), ["x0", "x1", "x2", "x3"]
        assert got.dropped == (~rows).sum()
    else:
        dense, k = SimpleImputer(add_indicator=True).fit_transform(X), [0, 4, 1, 5, 2, 3, 6]
        want, names = (
            fastgd.fit(dense[:, k], y, tol=1e-9),
            ["x0", "x0[missing]", "x1", "x1[missing]", "x2", "x3", "x3[missing]"],
        )
        np.testing.assert_allclose(got.predict(X), want.predict(dense[:, k]), atol=1e-7)
        with pytest.raises(ValueError, match="X has 3 features, but the model was fitted on 4"):
            got.predict(X[:, :3])
    assert got.coef_names == names
    np.testing.assert_allclose(got.coef, want.coef, rtol=1e-7)


@pytest.mark.parametrize("solver", ["newton", "lbfgs", "nesterov", "gd", "sgd"])
def test_every_solver_descends_on_filled_columns(solver, wanted):
    y = TARGETS["squared"]
    limits = {"max_iter": 3000} if solver in ("gd", "nesterov") else {"max_iter": 60}
    got = fastgd.fit(FRAME, y, l2=1e-3, missing="impute", solver=solver, tol=1e-5, **limits)
    want = wanted["impute", "squared"]
    places = [list(DENSE).index(name) for name in got.coef_names]
    np.testing.assert_allclose(got.coef * got.spread, (want.coef * want.spread)[places], atol=1e-3)


def test_the_same_bits_wherever_samples_live(tmp_path):
    bits = {
        source: fitted(source, "impute", "logistic", tmp_path).coef
        for source in ("pandas", "polars", "dict", "csv", "feather")
    }
    assert all((coef == bits["pandas"]).all() for coef in bits.values())


def test_weights_of_zero_do_not_count():
    """Neither in means, nor in whether anything is missing."""
    y, weight = np.asarray(TARGETS["squared"]), np.where(COMPLETE, 1.0, 0.0)
    got = fastgd.fit(FRAME.astype({"kind": object}), y, sample_weight=weight, missing="impute", l2=1e-3, tol=1e-9)
    assert got.coef_names == ["a", "far", "kind[u]", "kind[v]", "kind[w]", "full", "whole"]
    np.testing.assert_allclose(
        [f.fill for f in got.features if f.levels is None], FRAME.loc[COMPLETE, NUMBERS].mean(), rtol=1e-12
    )


TOO_LITTLE = [
    ({"a": [np.nan] * 4}, "impute", "column a has no value in any row"),
    ({"a": [1.0, np.nan, 2.0, 4.0], "b": [None] * 4}, "impute", "column b has no value in any row"),
    ({"a": [1.0, np.nan, np.nan, 4.0], "b": [np.nan, 1.0, 2.0, np.nan]}, "drop", "missing in each of its 4 rows"),
    ({"a": [1.0, 2.0, 3.0, 5.0], "b": ["missing", "x", None, "x"]}, "impute", "column b has a level called 'missing'"),
    ({"a": [1.0, np.nan, 3.0, 5.0], "a[missing]": [0.0, 1.0, 0.0, 2.0]}, "impute", "have a coefficient a.missing."),
    ({"a": [1.0, 2.0, 3.0, np.inf]}, "impute", "infinity"),
    ({"a": [1.0, 2.0, 3.0, np.inf]}, "drop", "infinity"),
]  # fmt: skip


@pytest.mark.parametrize("where", ["memory", "chunks"])
@pytest.mark.parametrize(("data", "missing", "message"), TOO_LITTLE, ids=[m[2][:30] + m[1] for m in TOO_LITTLE])
def test_what_cannot_be_filled_in_is_named(data, missing, message, where):
    y, frame = np.array([1.0, 2.0, 4.0, 3.0]), pd.DataFrame(data)
    given = (frame, y) if where == "memory" else ([(frame[:2], y[:2]), (frame[2:], y[2:])], None)
    with pytest.raises(ValueError, match=message):
        fastgd.fit(*given, missing=missing, categorical=["b"] if "b" in data and frame["b"].dtype == object else "auto")


@pytest.mark.parametrize("missing", ["drop", "impute"])
@pytest.mark.parametrize("where", ["memory", "chunks", "file", "dask"])
def test_targets_and_weights_are_never_filled_in(where, missing, tmp_path):
    frame = pd.DataFrame({"a": np.arange(20.0), "y": np.arange(20.0) % 7, "w": np.ones(20)})
    frame.loc[3, "y"] = frame.loc[5, "w"] = frame.loc[7, "a"] = np.nan
    X, y, weight = frame[["a"]], frame["y"], frame["w"]

    def fit():
        if where == "chunks":
            return fastgd.fit([(X[:9], y[:9], weight[:9]), (X[9:], y[9:], weight[9:])], missing=missing)
        if where == "file":
            frame.to_csv(tmp_path / "t.csv", index=False)
            return fastgd.fit(tmp_path / "t.csv", target="y", sample_weight="w", missing=missing)
        parts = (dd.from_pandas(each, npartitions=2) for each in (X, y, weight))
        X_, y_, weight_ = parts if where == "dask" else (X, y, weight)
        return fastgd.fit(X_, y_, sample_weight=weight_, missing=missing)

    if missing == "impute":
        with pytest.raises(ValueError, match=r"contains NaN|has no value"):
            fit()
        return
    got, rows = fit(), frame.notna().all(axis=1)
    assert (got.rows, got.dropped) == (17, 3)
    np.testing.assert_allclose(got.coef, fastgd.fit(X[rows], y[rows]).coef, rtol=1e-9)


def test_new_data_may_lack_what_the_fit_had():
    """A column that was complete has a mean, too; a category that was complete treats what is missing as unseen."""
    frame = pd.DataFrame(
        {"a": [1.0, 2.0, 3.0, 6.0, np.nan], "b": [1.0, 0.0, 2.0, 1.0, 4.0], "k": ["u", "v", "u", "v", "u"]}
    )
    model = fastgd.fit(frame, [1.0, 2.0, 3.0, 4.0, 5.0], missing="impute", l2=0.1)
    assert model.coef_names == ["a", "a[missing]", "b", "k[v]"]
    full = {"a": [2.0], "b": [1.6], "k": ["u"]}
    assert np.allclose(model.predict({**full, "b": [np.nan]}), model.predict(full))  # 1.6 is the mean
    lacking = pd.DataFrame({**full, "k": pd.Series([None], dtype=object)})
    with pytest.raises(ValueError, match=r"X has missing values: k \(1, the first in row 0\)"):
        model.predict(lacking)
    assert np.allclose(model.predict(lacking, unseen="zero"), model.predict(full))


@pytest.mark.parametrize("source", ["csv", "parquet", "feather"])
@pytest.mark.parametrize("missing", ["error", "drop", "impute"])
def test_the_command_line_has_it(missing, source, tmp_path, capsys, wanted):
    path, _ = SOURCES[source](FRAME, pd.Series(TARGETS["squared"]), tmp_path)
    model, output = str(tmp_path / "m.json"), str(tmp_path / "o.csv")
    code = main(
        ["fit", str(path), "--target", "y", "--l2", "0.001", "--tol", "1e-9", "--missing", missing, "--output", model]
    )
    printed = capsys.readouterr()
    assert code == (1 if missing == "error" else 0)
    if missing == "error":
        assert "X has missing values: a (" in printed.err and "missing='drop' or 'impute'" in printed.err
        return
    if missing == "drop":
        assert f"left out {N - COMPLETE.sum():,} of {N:,} rows with missing values" in printed.out
        np.testing.assert_allclose(fastgd.load(model).coef, wanted["drop", "squared"].coef, atol=1e-8)
        assert main(["predict", model, str(path), "--output", output]) == 1
        return
    assert main(["predict", model, str(path), "--output", output]) == 0
    eta = wanted["impute", "squared"].decision_function(np.column_stack(list(DENSE.values())))
    np.testing.assert_allclose(csv.read_csv(output)["prediction"].to_numpy(), eta, atol=1e-7)


def test_a_stream_of_single_chunks_cannot_know_means():
    model = fastgd.LinearRegression(solver="sgd", missing="impute")
    with pytest.raises(AttributeError, match="partial_fit") as caught:
        model.partial_fit(FRAME[NUMBERS], TARGETS["squared"])
    assert "a mean takes all samples; fit fills in" in str(caught.value.__cause__)
    dropping = fastgd.LinearRegression(solver="sgd", missing="drop").partial_fit(FRAME[NUMBERS], TARGETS["squared"])
    rows = FRAME[NUMBERS].notna().all(axis=1)
    assert (dropping.result_.rows, dropping.result_.dropped) == (rows.sum(), N - rows.sum())


@pytest.mark.parametrize("missing", ["zero", None, 0, "Drop"])
def test_other_ways_are_refused(missing):
    with pytest.raises(ValueError, match=r"missing=.*; choose 'error', 'drop' or 'impute'"):
        fastgd.fit(FRAME, TARGETS["squared"], missing=missing)
    with pytest.raises(ValueError, match=r"missing=.*; choose 'error', 'drop' or 'impute'"):
        fastgd.Ridge(missing=missing).fit(FRAME, TARGETS["squared"])


def test_files_that_leave_out_rows_say_how_many(tmp_path):
    path, _ = in_file("parquet")(FRAME, pd.Series(TARGETS["squared"]), tmp_path)
    files = Files(path, "y", drop_missing=True)
    assert fastgd.fit(files, l2=1e-3).rows == COMPLETE.sum() and files.dropped == N - COMPLETE.sum()


KINDS = ["a", None, "b"] * 40
DICTIONARIES = {
    "nulls among indices": lambda: pa.table({"k": pa.array(KINDS).dictionary_encode()}),
    "nulls in the dictionary": lambda: pa.table(
        {"k": pa.DictionaryArray.from_arrays(pa.array([0, 2, 1] * 40, pa.int8()), pa.array(["a", "b", None]))}
    ),
    "unsigned indices": lambda: pl.DataFrame({"k": KINDS}, schema={"k": pl.Categorical}).to_arrow(),
    "pandas by pyarrow": lambda: pa.table({"k": pa.array(KINDS).dictionary_encode()}).to_pandas(
        types_mapper=pd.ArrowDtype
    ),
    "pandas": lambda: pd.DataFrame({"k": pd.Categorical(KINDS)}),
}


@pytest.mark.parametrize("kind", DICTIONARIES)
def test_nulls_of_categories_are_missing_however_they_are_stored(kind):
    table, y = DICTIONARIES[kind](), np.array([0.0, 10.0, 1.0] * 40)
    with pytest.raises(ValueError, match=r"X has missing values: k \(40, the first in row 1\)"):
        fastgd.fit(table, y)
    filled = fastgd.fit(table, y, missing="impute")
    assert filled.coef_names == ["k[b]", "k[missing]"]
    np.testing.assert_allclose(filled.predict(table), y, atol=1e-8)
    assert fastgd.fit(table, y, missing="drop").dropped == 40


def test_the_first_infinity_is_named_beside_missing_values():
    X = np.ones((9, 2)) * np.arange(9)[:, None]
    X[5, 1], X[7, 1], X[8, 1] = np.nan, np.inf, -np.inf
    for given in ((X, np.arange(9.0)), ([(pd.DataFrame(X), np.arange(9.0))], None)):
        with pytest.raises(ValueError, match="X contains infinity in row 7, column 1"):
            fastgd.fit(*given, missing="impute")


def test_sparse_matrices_have_nothing_to_fill_in():
    X, y = FRAME[NUMBERS].fillna(0.0).to_numpy(), np.asarray(TARGETS["squared"])
    got = fastgd.fit(sparse.csr_array(X), y, missing="impute", l2=1e-3)
    np.testing.assert_allclose(got.coef, fastgd.fit(sparse.csr_array(X), y, l2=1e-3).coef)
    with pytest.raises(ValueError, match="X contains NaN"):
        fastgd.fit(sparse.csr_array(FRAME[NUMBERS].to_numpy()), y, missing="impute", l2=1e-3)
    dense = fastgd.fit(FRAME[NUMBERS].to_numpy(), y, missing="impute")
    np.testing.assert_allclose(dense.predict(sparse.csr_array(X)), dense.predict(X), rtol=1e-9)
    with pytest.raises(ValueError, match="the model was fitted on 4 features"):
        dense.predict(sparse.csr_array(np.column_stack((X, X[:, :3]))))


def test_a_start_is_taken_from_other_rows():
    y = np.asarray(TARGETS["squared"])
    X = FRAME[NUMBERS]
    first = fastgd.fit(X[:700], y[:700], missing="impute", l2=1e-3)
    second = fastgd.fit(X[500:], y[500:], missing="impute", l2=1e-3, start=first)
    assert second.converged and second.features != first.features
    model = fastgd.Ridge(missing="impute", warm_start=True).fit(FRAME[NUMBERS][:600], y[:600])
    model.fit(FRAME[NUMBERS][600:], y[600:])


def test_a_prediction_of_one_row_may_lack_everything():
    y = np.asarray(TARGETS["squared"])
    model = fastgd.fit(FRAME, y, missing="impute")
    row = FRAME.index[FRAME["a"].isna() & FRAME["kind"].isna()][0]
    values = FRAME.loc[[row]]
    want = model.predict(FRAME)[row]
    objects = values.assign(**{name: pd.Series([None], [row], object) for name in ("a", "kind")})
    for one in (values, objects, pl.DataFrame(objects.to_dict("list")), pa.table(objects.to_dict("list"))):
        np.testing.assert_allclose(model.predict(one), want)


def test_weights_may_be_missing_where_rows_are_left_out():
    X, y, weight = FRAME[["full"]], np.asarray(TARGETS["squared"]), np.ones(N)
    weight[7] = np.nan
    got = fastgd.Ridge(missing="drop").fit(X, y, sample_weight=weight)
    want = fastgd.Ridge().fit(X.drop(7), np.delete(y, 7), sample_weight=np.ones(N - 1))
    assert (got.coef_ == want.coef_).all() and got.result_.dropped == 1
    assert fastgd.Ridge(missing="impute").fit(X, y).to_sklearn().coef_.shape == (1,)


def test_labels_keep_their_type_where_rows_are_left_out():
    base = 2**53
    for labels in (
        pd.array([base, base + 1, None] * 20, dtype="Int64"),
        pd.array([True, False, None] * 20, dtype="boolean"),
    ):
        X = np.random.default_rng(0).standard_normal((60, 2))
        model = fastgd.LogisticRegression(missing="drop").fit(X, pd.Series(labels))
        assert model.classes_.tolist() == sorted(set(labels.dropna().tolist()))


def test_class_weights_of_dask_take_complete_rows():
    X, y = da.from_array(FRAME[NUMBERS].to_numpy(), (300, 4)), da.from_array(np.asarray(TARGETS["logistic"]), 300)
    with pytest.raises(ValueError, match="drop these before, by dropna"):
        fastgd.LogisticRegression(missing="drop", class_weight="balanced").fit(X, y)


@pytest.mark.parametrize("place", ["first", "second"])
def test_a_chunk_may_lack_all_of_a_column(place):
    y = np.arange(100.0) % 7
    full = pd.DataFrame({"a": y, "b": np.arange(100) % 3, "t": np.array(["u", "v"])[np.arange(100) % 2]})
    empty = pd.DataFrame({"a": y, "b": [None] * 100, "t": [None] * 100})
    chunks = [(empty, y), (full, y)] if place == "first" else [(full, y), (empty, y)]
    got = fastgd.fit(chunks, missing="impute", l2=1e-3)
    assert sorted(got.coef_names) == ["a", "b", "b[missing]", "t[missing]", "t[v]"]
    assert fastgd.fit(chunks, missing="drop").dropped == 100


def test_one_level_and_what_is_missing():
    got = fastgd.fit({"k": np.array(["b", None] * 20, object)}, np.array([1.0, 3.0] * 20), missing="impute")
    assert got.coef_names == ["k[missing]"] and abs(got.coef[0] - 2.0) < 1e-9
