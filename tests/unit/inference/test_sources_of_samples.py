"""Inference is the same wherever samples lie, and whenever it is asked for."""

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from inference_samples import CHUNK, DENSE, FRAME, GROUPS, KINDS, LOSSES, NAMES, STREAMED, TARGETS, N, same_bits
from pyarrow import csv, parquet
from scipy import sparse

import fastgd
from fastgd.io import Files


def options_of(covariance, clusters=GROUPS):
    return {"clusters": clusters} if covariance == "cluster" else {"covariance": covariance}


@pytest.fixture(scope="module")
def expected():
    """The inference of an array in memory, by loss and kind, computed once."""
    known = {}

    def of(loss, covariance):
        if (loss, covariance) not in known:
            options = options_of(covariance) | LOSSES[loss]
            known[loss, covariance] = fastgd.fit(DENSE, TARGETS[loss], **options).inference
        return known[loss, covariance]

    return of


def same(one, other, rtol=1e-9):
    assert (one.n, one.clusters, one.kind, one.loss) == (other.n, other.clusters, other.kind, other.loss)
    assert (one.df, one.df_model, one.df_resid) == (other.df, other.df_model, other.df_resid)
    names = ("coef", "standard_errors", "log_likelihood", "null_log_likelihood", "deviance", "null_deviance", "scale")
    for name in names:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=rtol, err_msg=name)
    errors = np.outer(other.standard_errors, other.standard_errors)
    np.testing.assert_allclose(one.covariance / errors, other.covariance / errors, rtol=0, atol=10 * rtol)


class Tuples:
    """Chunks (X, y), read again and again."""

    def __init__(self, X, y, weight=None):
        self.given = (X, y) if weight is None else (X, y, weight)
        self.passes = 0

    def __iter__(self):
        for start in range(0, len(self.given[1]), CHUNK):
            yield tuple(each[start : start + CHUNK] for each in self.given)
        self.passes += 1


def mapped(folder, X, y):
    np.save(folder / "X.npy", X)
    np.save(folder / "y.npy", y)
    return np.load(folder / "X.npy", mmap_mode="r"), np.load(folder / "y.npy", mmap_mode="r")


def in_dask(folder, X, y):  # noqa: ARG001
    return da.from_array(X, (CHUNK, X.shape[1])), da.from_array(y, CHUNK)


ARRAYS = {
    "C": lambda _, X, y: (X, y),
    "Fortran": lambda _, X, y: (np.asfortranarray(X), y),
    "float32": lambda _, X, y: (X.astype(np.float32), y),
    "csr": lambda _, X, y: (sparse.csr_matrix(X), y),
    "csc": lambda _, X, y: (sparse.csc_array(X), y),
    "map": mapped,
    "dask": in_dask,
}


@pytest.mark.parametrize("covariance", KINDS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("form", ARRAYS)
def test_arrays(form, loss, covariance, expected, tmp_path):
    X, y = ARRAYS[form](tmp_path, DENSE, TARGETS[loss])
    clusters = da.from_array(GROUPS, CHUNK) if form == "dask" else GROUPS
    result = fastgd.fit(X, y, **options_of(covariance, clusters), **LOSSES[loss])
    same(result.inference, expected(loss, covariance), 1e-5 if form == "float32" else 1e-9)


@pytest.mark.parametrize("covariance", ["classical", "HC1", "HC3"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("form", ["array", "csr", "pandas", "arrow"])
@pytest.mark.parametrize("cached", [False, True])
def test_chunks(cached, form, loss, covariance, expected):
    table = FRAME[["a", "far", "kind"]]
    X = {
        "array": DENSE,
        "csr": sparse.csr_array(DENSE),
        "pandas": table,
        "arrow": pa.Table.from_pandas(table, preserve_index=False),
    }[form]
    chunks = ArrowTuples(X, TARGETS[loss]) if form == "arrow" else Tuples(X, TARGETS[loss])
    options = {} if cached else STREAMED
    result = fastgd.fit(chunks, covariance=covariance, **options, **LOSSES[loss])
    assert cached or (result.settings["cached"] is None and chunks.passes > 1)
    same(result.inference, expected(loss, covariance))


class ArrowTuples(Tuples):
    """The same of Arrow tables, which are not cut by square brackets."""

    def __iter__(self):
        X, y = self.given
        for start in range(0, len(y), CHUNK):
            yield X.slice(start, CHUNK), y[start : start + CHUNK]
        self.passes += 1


class Clustered(Tuples):
    """Chunks (X, y, weight, clusters)."""

    def __init__(self, X, y, weight, clusters):
        super().__init__(X, y)
        self.weight, self.clusters = weight, clusters

    def __iter__(self):
        for start, (X, y) in zip(range(0, N, CHUNK), super().__iter__(), strict=True):
            rows = slice(start, start + CHUNK)
            yield X, y, None if self.weight is None else self.weight[rows], self.clusters[rows]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("form", ["array", "pandas"])
@pytest.mark.parametrize("cached", ["auto", "none", "disk"])
def test_chunks_with_clusters(cached, form, loss, expected):
    X = DENSE if form == "array" else FRAME[["a", "far", "kind"]]
    chunks = Clustered(X, TARGETS[loss], None, GROUPS)
    result = fastgd.fit(chunks, covariance="cluster", cache=cached, **LOSSES[loss])
    same(result.inference, expected(loss, "cluster"))
    later = fastgd.fit(Tuples(X, TARGETS[loss]), **LOSSES[loss])
    same(fastgd.inference(later, chunks, covariance="cluster"), expected(loss, "cluster"))


@pytest.mark.parametrize("weights", ["precision", "frequency"])
def test_chunks_with_weights_and_clusters(weights):
    weight = np.random.default_rng(8).integers(0, 4, N) * (1.0 if weights == "frequency" else 0.3)
    names = np.array([f"g{k}" for k in GROUPS])
    chunks = Clustered(DENSE, TARGETS["squared"], weight, pd.Series(names))
    result = fastgd.fit(chunks, covariance="cluster", weights=weights, **STREAMED)
    whole = fastgd.fit(DENSE, TARGETS["squared"], sample_weight=weight, clusters=names, weights=weights)
    same(result.inference, whole.inference)


def test_chunks_with_clusters_and_missing_values():
    gaps = np.random.default_rng(2).random(N) < 0.1
    X = np.where(gaps[:, None], np.nan, DENSE)
    result = fastgd.fit(Clustered(X, TARGETS["squared"], None, GROUPS), covariance="cluster", missing="drop")
    assert result.dropped == gaps.sum()
    same(result.inference, fastgd.fit(DENSE[~gaps], TARGETS["squared"][~gaps], clusters=GROUPS[~gaps]).inference)


def parquet_folder(folder, table):
    folder = folder / "parts"
    folder.mkdir()
    for number, start in enumerate(range(0, len(table), CHUNK)):
        parquet.write_table(table.slice(start, CHUNK), folder / f"{number}.parquet", row_group_size=40)
    return folder


def csv_file(folder, table):
    csv.write_csv(table, folder / "t.csv")
    return folder / "t.csv"


TABLES = {
    "pandas": lambda _, table: table.to_pandas(),
    "categorical": lambda _, table: table.to_pandas().astype(
        {name: "category" for name in ("kind", "group") if name in table.column_names}
    ),
    "polars": lambda _, table: pl.from_arrow(table),
    "arrow": lambda _, table: table,
    "dict": lambda _, table: {name: table[name].to_numpy() for name in table.column_names},
    "parquet": parquet_folder,
    "csv": csv_file,
    "dask": lambda _, table: dd.from_pandas(table.to_pandas(), npartitions=4),
}


@pytest.mark.parametrize("covariance", KINDS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("form", TABLES)
def test_tables_with_the_target(form, loss, covariance, expected, tmp_path):
    frame = FRAME.assign(y=TARGETS[loss])
    if covariance != "cluster":
        frame = frame.drop(columns="group")
    X = TABLES[form](tmp_path, pa.Table.from_pandas(frame, preserve_index=False))
    options = options_of(covariance, "group") | (STREAMED if form in ("parquet", "csv") else {})
    result = fastgd.fit(X, target="y", **options, **LOSSES[loss])
    assert result.inference.names == NAMES
    same(result.inference, expected(loss, covariance))


@pytest.mark.parametrize("form", ["pandas", "polars", "arrow", "dict"])
def test_clusters_beside_a_table(form, expected, tmp_path):
    table = pa.Table.from_pandas(FRAME[["a", "far", "kind"]], preserve_index=False)
    X = TABLES[form](tmp_path, table)
    clusters = pd.Series(GROUPS) if form == "pandas" else pl.Series(GROUPS) if form == "polars" else GROUPS.tolist()
    result = fastgd.fit(X, TARGETS["squared"], clusters=clusters)
    same(result.inference, expected("squared", "cluster"))


@pytest.mark.parametrize("form", ["pandas", "parquet", "csv", "dask"])
@pytest.mark.parametrize("numbers", [False, True])
def test_clusters_may_be_a_feature_if_it_is_named(numbers, form, tmp_path):
    frame = FRAME.assign(y=TARGETS["squared"])
    if numbers:
        frame["group"] = frame["group"].str[1:].astype(int)
    X = TABLES[form](tmp_path, pa.Table.from_pandas(frame, preserve_index=False))
    chosen = ["a", "group" if numbers else "far"]
    result = fastgd.fit(X, target="y", features=chosen, clusters="group")
    array = frame[chosen].to_numpy(float)
    same(result.inference, fastgd.fit(array, TARGETS["squared"], clusters=GROUPS).inference)


def test_files_with_clusters(expected, tmp_path):
    table = pa.Table.from_pandas(FRAME.assign(y=TARGETS["squared"]), preserve_index=False)
    result = fastgd.fit(Files(csv_file(tmp_path, table), "y", clusters="group"))
    same(result.inference, expected("squared", "cluster"))
    later = fastgd.inference(result, Files(tmp_path / "t.csv", "y", clusters="group"))
    same(later, expected("squared", "cluster"))


CODES = {
    "text": lambda g: g,
    "numbers": lambda g: np.array([int(each[1:]) for each in g]),
    "fractions": lambda g: np.array([int(each[1:]) * 0.25 - 3.0 for each in g]),
    "objects": lambda g: g.astype(object),
    "categorical": lambda g: pd.Categorical(g),
}


@pytest.mark.parametrize("codes", CODES)
def test_what_clusters_are_called_does_not_matter(codes, expected):
    result = fastgd.fit(DENSE, TARGETS["squared"], clusters=CODES[codes](GROUPS))
    same(result.inference, expected("squared", "cluster"), 1e-12)


WEIGHED = [
    (form, covariance, weights)
    for form in ("arrow", "parquet", "dask", "chunks", "map")
    for covariance in KINDS
    for weights in ("precision", "frequency")
    if form != "chunks" or (covariance, weights) in [(kind, "precision") for kind in KINDS[:3]]
]


@pytest.mark.parametrize(("form", "covariance", "weights"), WEIGHED)
def test_weights(form, covariance, weights, tmp_path):
    weight = np.random.default_rng(8).integers(0, 4, N) * (1.0 if weights == "frequency" else 0.3)
    options = options_of(covariance) | {"weights": weights}
    whole = fastgd.fit(DENSE, TARGETS["squared"], sample_weight=weight, **options).inference
    named = options_of(covariance, "group") | {"weights": weights}
    if form == "chunks":
        result = fastgd.fit(Tuples(DENSE, TARGETS["squared"], weight), **named, **STREAMED)
    elif form == "map":
        X, y = mapped(tmp_path, DENSE, TARGETS["squared"])
        result = fastgd.fit(X, y, sample_weight=weight, **options)
    else:
        frame = FRAME.assign(y=TARGETS["squared"], w=weight)
        X = TABLES[form](tmp_path, pa.Table.from_pandas(frame, preserve_index=False))
        chosen = {"features": ["a", "far", "kind"], "sample_weight": "w"}
        result = fastgd.fit(X, target="y", **chosen, **named)
    same(result.inference, whole)


@pytest.mark.parametrize("form", ["pandas", "parquet", "csv", "dask"])
@pytest.mark.parametrize("covariance", KINDS)
def test_rows_with_missing_values_left_out(covariance, form, tmp_path):
    frame = FRAME.assign(y=TARGETS["squared"])
    gaps = np.random.default_rng(2).random(N) < 0.1
    whole = frame[~gaps].reset_index(drop=True)
    frame.loc[gaps, "a"] = np.nan
    options = options_of(covariance, "group") | {"target": "y", "features": ["a", "far", "kind"]}
    X = TABLES[form](tmp_path, pa.Table.from_pandas(frame, preserve_index=False))
    result = fastgd.fit(X, missing="drop", **options)
    assert result.dropped == gaps.sum()
    same(result.inference, fastgd.fit(whole, **options).inference)


def wide(seed=0, n=1500):
    """A table with many levels, whole numbers that are levels, and a column far from 0; and the same as an array."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"far": rng.standard_normal(n) + 1e7, "big": rng.choice([f"l{k:02d}" for k in range(40)], n)})
    frame["number"], frame["flag"] = rng.integers(0, 5, n), rng.random(n) < 0.5
    frame["group"], frame["w"] = rng.integers(0, 60, n), rng.integers(0, 4, n).astype(float)
    z = frame["far"] - 1e7 + (frame["big"] < "l20") + 0.2 * frame["number"]
    frame["squared"] = z + rng.standard_normal(n)
    frame["logistic"] = z + 2.0 * rng.logistic(size=n) > 1.0
    levels = [frame["big"] == level for level in sorted(frame["big"].unique())[1:]]
    numbers = [frame["number"] == level for level in range(1, 5)]
    return frame, np.column_stack((frame["far"] - 1e7, *levels, *numbers, frame["flag"])).astype(float)


WIDE, WIDE_ARRAY = wide()


@pytest.mark.parametrize("covariance", ["classical", "HC3", "cluster"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("form", ["pandas", "parquet", "dask"])
def test_many_levels_and_columns_far_from_0(form, loss, covariance, tmp_path):
    X = TABLES["parquet"](tmp_path, pa.Table.from_pandas(WIDE)) if form == "parquet" else WIDE
    X = dd.from_pandas(WIDE, npartitions=3) if form == "dask" else X
    options = {"features": ["far", "big", "number", "flag"], "categorical": ["big", "number"], "sample_weight": "w"}
    options |= STREAMED if form == "parquet" else {}
    weights = {"weights": "frequency"}
    result = fastgd.fit(
        X, target=loss, **options, **options_of(covariance, "group"), **weights, **LOSSES[loss]
    ).inference
    whole = fastgd.fit(
        WIDE_ARRAY,
        WIDE[loss].to_numpy(),
        sample_weight=WIDE["w"].to_numpy(),
        **options_of(covariance, WIDE["group"].to_numpy()),
        **weights,
        **LOSSES[loss],
    ).inference
    np.testing.assert_allclose(result.standard_errors[:-1], whole.standard_errors[:-1], rtol=1e-7)
    np.testing.assert_allclose(result.statistic[:-1], whole.statistic[:-1], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(result.log_likelihood, whole.log_likelihood, rtol=1e-9)


PASSES = {"classical": 1, "HC0": 1, "HC1": 1, "HC2": 2, "HC3": 2, "cluster": 1}


@pytest.mark.parametrize("covariance", PASSES)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("streamed", [False, True])
def test_passes(streamed, loss, covariance, tmp_path):
    frame = FRAME.assign(y=TARGETS[loss])
    X = TABLES["parquet"](tmp_path, pa.Table.from_pandas(frame, preserve_index=False)) if streamed else frame
    options = LOSSES[loss] | (STREAMED if streamed else {})
    options |= {"target": "y", "features": ["a", "far", "kind"]}
    without = fastgd.fit(X, **options)
    result = fastgd.fit(X, **options_of(covariance, "group"), **options)
    assert result.history.passes[-1] == without.history.passes[-1] + PASSES[covariance]
    assert len(result.history) == len(without.history) + 1
    assert result.coef.tolist() == without.coef.tolist() and result.intercept == without.intercept
    assert result.status is without.status and without.inference is None
    np.testing.assert_allclose(result.history.loss[-1], result.loss, rtol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("covariance", KINDS)
def test_any_number_of_threads_gives_the_same_bits(covariance, loss):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60_000, 4))
    y = X @ [1.0, 0.5, 0.0, -1.0] + rng.standard_normal(60_000)
    y = y if loss == "squared" else y > 0.0
    options = options_of(covariance, rng.integers(0, 100, 60_000)) | LOSSES[loss]
    one, two = (fastgd.fit(X, y, n_threads=threads, **options).inference for threads in (1, 2))
    assert same_bits(one, two)


# Inference that is asked for later.


@pytest.mark.parametrize("covariance", KINDS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("form", ARRAYS)
def test_later_from_arrays(form, loss, covariance, expected, tmp_path):
    X, y = ARRAYS[form](tmp_path, DENSE, TARGETS[loss])
    clusters = da.from_array(GROUPS, CHUNK) if form == "dask" else GROUPS
    result = fastgd.fit(X, y, **LOSSES[loss])
    assert result.inference is None
    inference = fastgd.inference(result, X, y, **options_of(covariance, clusters))
    assert result.inference is inference
    same(inference, expected(loss, covariance), 1e-5 if form == "float32" else 1e-9)


@pytest.mark.parametrize("covariance", KINDS[:3])
@pytest.mark.parametrize("loss", LOSSES)
def test_later_from_chunks(loss, covariance, expected):
    chunks = Tuples(DENSE, TARGETS[loss])
    result = fastgd.fit(chunks, **STREAMED, **LOSSES[loss])
    same(fastgd.inference(result, chunks, covariance=covariance), expected(loss, covariance))


@pytest.mark.parametrize("covariance", KINDS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("form", TABLES)
def test_later_from_tables_for_a_loaded_model(form, loss, covariance, expected, tmp_path):
    frame = FRAME.assign(y=TARGETS[loss])
    X = TABLES[form](tmp_path, pa.Table.from_pandas(frame, preserve_index=False))
    options = {"target": "y", "features": ["a", "far", "kind"]}
    fastgd.fit(X, **options, **LOSSES[loss]).save(tmp_path / "model.json")
    model = fastgd.load(tmp_path / "model.json")
    fastgd.inference(model, X, **options, **options_of(covariance, "group"))
    assert model.inference.names == NAMES
    same(model.inference, expected(loss, covariance))


def test_later_the_default_is_classical_or_clustered(expected):
    result = fastgd.fit(DENSE, TARGETS["squared"])
    same(fastgd.inference(result, DENSE, TARGETS["squared"]), expected("squared", "classical"))
    same(fastgd.inference(result, DENSE, TARGETS["squared"], clusters=GROUPS), expected("squared", "cluster"))


def test_later_with_weights():
    weight = np.random.default_rng(8).integers(0, 4, N).astype(float)
    result = fastgd.fit(DENSE, TARGETS["squared"], sample_weight=weight)
    for weights in ("precision", "frequency"):
        options = {"sample_weight": weight, "weights": weights, "covariance": "HC1"}
        later = fastgd.inference(result, DENSE, TARGETS["squared"], **options)
        same(later, fastgd.fit(DENSE, TARGETS["squared"], **options).inference)


@pytest.mark.parametrize("missing", ["drop", "impute"])
def test_later_with_missing_values(missing):
    frame = FRAME.assign(y=TARGETS["squared"])
    gaps = np.random.default_rng(2).random((N, 2)) < 0.1
    frame.loc[gaps[:, 0], "a"], frame.loc[gaps[:, 1], "kind"] = np.nan, None
    options = {"target": "y", "features": ["a", "far", "kind"], "missing": missing}
    result = fastgd.fit(frame, **options)
    for covariance in KINDS:
        own = options_of(covariance, "group")
        same(fastgd.inference(result, frame, **options, **own), fastgd.fit(frame, **options, **own).inference)


def test_later_for_weighted_estimators():
    weight = (np.arange(N) % 3).astype(float)
    fitted = fastgd.LogisticRegression(C=np.inf, tol=1e-8).fit(DENSE, TARGETS["logistic"], sample_weight=weight)
    later = fastgd.inference(fitted, DENSE, TARGETS["logistic"], sample_weight=weight, covariance="HC0")
    options = {"sample_weight": weight, "covariance": "HC0"} | LOSSES["logistic"]
    same(later, fastgd.fit(DENSE, TARGETS["logistic"], **options).inference)
    rare = TARGETS["squared"] > 2.0
    balanced = fastgd.LogisticRegression(C=np.inf, class_weight="balanced").fit(DENSE, rare)
    with pytest.raises(ValueError, match="standard errors from the minimum over these samples"):
        fastgd.inference(balanced, DENSE, rare)


def test_later_of_every_level():
    options = {"target": "y", "features": ["a", "far", "kind"]}
    frame, model = FRAME.assign(y=TARGETS["squared"]), {"drop_first": False, "l2": 0.1}
    later = fastgd.inference(fastgd.fit(frame, **options, **model), frame, **options, covariance="penalised")
    same(later, fastgd.fit(frame, **options, **model, covariance="penalised").inference)
    assert later.names == ("a", "far", "kind[u]", "kind[v]", "kind[w]", "intercept")


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
def test_a_fit_that_goes_on_ends_with_the_same_inference(tmp_path):
    options = {"covariance": "HC1", "loss": "logistic", "tol": 1e-8}
    y = TARGETS["logistic"]
    whole = fastgd.fit(DENSE, y, **options)
    first = fastgd.fit(DENSE, y, max_iter=2, **options)
    assert not first.converged and "has not converged" in first.inference.notes[0]
    again = fastgd.fit(DENSE, y, start=first, **options)
    assert same_bits(again.inference, whole.inference)
    assert again.history.passes.tolist() == whole.history.passes.tolist()
    for max_iter in (2, 1000):
        kept = fastgd.fit(DENSE, y, checkpoint=tmp_path / "state", max_iter=max_iter, **options)
    assert same_bits(kept.inference, whole.inference)


def test_later_of_several_classes_and_targets():
    classes = np.digitize(TARGETS["squared"], [-0.5, 1.0])
    targets = np.column_stack((TARGETS["squared"], TARGETS["squared"] ** 2))
    for y, options in ((classes, LOSSES["logistic"]), (targets, {})):
        later = fastgd.inference(fastgd.fit(DENSE, y, **options), DENSE, y, covariance="HC1")
        at_once = fastgd.fit(DENSE, y, covariance="HC1", **options).inference
        np.testing.assert_allclose(later.standard_errors, at_once.standard_errors, rtol=1e-9)
        np.testing.assert_allclose(later.log_likelihood, at_once.log_likelihood, rtol=1e-9)
        assert later.outputs == at_once.outputs


def test_later_with_a_penalty():
    for loss, options in LOSSES.items():
        result = fastgd.fit(DENSE, TARGETS[loss], l2=0.1, **options)
        later = fastgd.inference(result, DENSE, TARGETS[loss], covariance="penalised")
        same(later, fastgd.fit(DENSE, TARGETS[loss], l2=0.1, covariance="penalised", **options).inference)


def test_later_of_huber():
    result = fastgd.fit(DENSE, TARGETS["squared"], loss=fastgd.losses.Huber(0.7), tol=1e-9)
    later = fastgd.inference(result, DENSE, TARGETS["squared"], covariance="HC1")
    at_once = fastgd.fit(DENSE, TARGETS["squared"], loss=fastgd.losses.Huber(0.7), tol=1e-9, covariance="HC1")
    np.testing.assert_allclose(later.standard_errors, at_once.inference.standard_errors, rtol=1e-9)


ESTIMATORS = {
    "linear": (lambda: fastgd.LinearRegression(), "squared"),
    "ridge": (lambda: fastgd.Ridge(alpha=0.0), "squared"),
    "logistic": (lambda: fastgd.LogisticRegression(C=np.inf, tol=1e-8), "logistic"),
}


@pytest.mark.parametrize("covariance", KINDS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_later_for_estimators(estimator, covariance, expected):
    make, loss = ESTIMATORS[estimator]
    fitted = make().fit(DENSE, TARGETS[loss])
    inference = fastgd.inference(fitted, DENSE, TARGETS[loss], **options_of(covariance))
    assert fitted.result_.inference is inference
    same(inference, expected(loss, covariance))


def test_a_penalised_estimator_has_the_spread_alone():
    ridge = fastgd.Ridge(alpha=5.0).fit(DENSE, TARGETS["squared"])
    with pytest.raises(ValueError, match="covariance='classical': a penalty"):
        fastgd.inference(ridge, DENSE, TARGETS["squared"])
    inference = fastgd.inference(ridge, DENSE, TARGETS["squared"], covariance="penalised")
    at_once = fastgd.fit(DENSE, TARGETS["squared"], l2=2.0 * 5.0 / N, covariance="penalised").inference
    same(inference, at_once)
