"""What has no standard errors is refused in words that name the argument, before any pass."""

import dask.array as da
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from internals import InMemory
from pyarrow import parquet
from scipy import sparse

import fastgd

N = 100
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 2))
Y = X @ [1.0, 2.0] + RNG.standard_normal(N)
BINARY, CLASSES = (Y > 0.0).astype(int), np.arange(N) % 3
GROUPS = np.arange(N) // 10
LOGISTIC = {"loss": "logistic"}


class Unread:
    """Chunks that nobody may read."""

    def __iter__(self):
        raise AssertionError("samples were read")


@pytest.fixture
def no_pass(monkeypatch):
    """Any pass over samples is an error."""

    def fail(*_, **__):
        raise AssertionError("samples were read")

    monkeypatch.setattr(InMemory, "sum_tiles", fail)


ARGUMENTS = {
    "unknown": ({"covariance": "HC9"}, "covariance='HC9'; choose one of 'classical', 'HC0'"),
    "upper case": ({"covariance": "Classical"}, "covariance='Classical'; choose"),
    "number": ({"covariance": 3}, "covariance=3; choose"),
    "true": ({"covariance": True}, "covariance=True; choose"),
    "weights": ({"weights": "foo"}, "weights='foo'; choose 'precision' or 'frequency'"),
    "no weights": ({"weights": None, "covariance": "HC1"}, "weights=None; choose"),
    "weights alone": ({"weights": "frequency"}, "weights='frequency': that is for a covariance"),
    "clusters of HC1": ({"clusters": GROUPS, "covariance": "HC1"}, "covariance='HC1' has no clusters"),
    "no penalty": ({"covariance": "penalised"}, "covariance='penalised' is for fits with a penalty"),
    "l2": ({"covariance": "classical", "l2": 0.1}, "covariance='classical': a penalty \\(l2=0.1\\)"),
    "l2 robust": ({"covariance": "HC3", "l2": 1.0}, "covariance='HC3': a penalty"),
    "l2 clusters": ({"clusters": GROUPS, "l2": 1.0}, "covariance='cluster': a penalty"),
    "l2 classes": ({"covariance": "classical", "l2": 0.1, **LOGISTIC}, "covariance='classical': a penalty"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_before_samples_are_opened(case):
    options, message = ARGUMENTS[case]
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        fastgd.fit(Unread(), **options)
    options = {"l2": 0.0, **options}
    result = fastgd.fit(
        X, BINARY if "loss" in options else Y, l2=options.pop("l2"), loss=options.pop("loss", "squared")
    )
    if options.get("covariance") is not None or "clusters" in options:
        with pytest.raises((ValueError, TypeError), match=f"^{message}"):
            fastgd.inference(result, Unread(), **options)


HUGE = sparse.random_array((20_000, 10_001), density=1e-3, rng=np.random.default_rng(0), format="csr")
MANY_CLASSES = np.arange(N) % 40

SAMPLES = {
    "short clusters": (X, Y, {"clusters": GROUPS[:-1]}, "clusters has shape \\(99,\\)"),
    "wide clusters": (X, Y, {"clusters": np.zeros((N, 2))}, "clusters has shape \\(100, 2\\)"),
    "a number": (X, Y, {"clusters": 3}, "clusters has shape \\(\\)"),
    "a name": (X, Y, {"clusters": "g"}, "clusters='g': names of columns go with target="),
    "one cluster": (X, Y, {"clusters": np.zeros(N)}, "clusters: all rows are in the cluster 0"),
    "one used": (X, Y, {"clusters": GROUPS > 0, "sample_weight": GROUPS == 0}, "clusters: all rows are in the cluster"),
    "nan": (X, Y, {"clusters": np.where(GROUPS < 5, np.nan, GROUPS)}, "clusters contains NaN in row 0"),
    "none": (X, Y, {"clusters": [*GROUPS[:-1].tolist(), None]}, "clusters has no value in row 99"),
    "column": (pd.DataFrame(X).assign(y=Y), None, {"target": "y", "clusters": "g"}, "clusters g: X has no such column"),
    "fractions": (
        *(X, Y, {"covariance": "HC1", "weights": "frequency", "sample_weight": np.full(N, 1.5)}),
        "sample_weight is 1.5 in row 0",
    ),
    "as many rows": (X[:3], Y[:3], {"covariance": "HC0"}, "covariance='HC0': 3 observations for 3 coefficients"),
    "fewer rows": (X[:2], Y[:2], {"covariance": "classical"}, "covariance='classical': 2 observations for 3"),
    "no intercept": (X[:2], Y[:2], {"covariance": "HC1", "intercept": False}, "covariance='HC1': 2 observations for 2"),
    "few counts": (
        *(X[:9], Y[:9], {"covariance": "HC1", "weights": "frequency", "sample_weight": [1, 1, 1, *[0] * 6]}),
        "covariance='HC1': 3 observations for 3 coefficients",
    ),
    "many classes": (X, MANY_CLASSES, {"covariance": "HC0", **LOGISTIC}, "covariance='HC0': 100 observations for 117"),
    "many columns": (HUGE, np.arange(20_000.0), {"covariance": "HC1"}, "covariance='HC1': of 10,002 coefficients"),
    "huber": (X, Y, {"covariance": "classical", "loss": "huber"}, "covariance='classical': a Huber loss"),
    "huber HC2": (X, Y, {"covariance": "HC2", "loss": "huber"}, "covariance='HC2' is for the squared loss"),
    "penalised huber": (
        X,
        Y,
        {"covariance": "penalised", "loss": "huber", "l2": 1.0},
        "covariance='penalised': a Huber",
    ),
    "softmax HC2": (X, CLASSES, {"covariance": "HC2", **LOGISTIC}, "covariance='HC2' is for .* two classes"),
    "softmax HC3": (X, CLASSES, {"covariance": "HC3", **LOGISTIC}, "covariance='HC3' is for .* two classes"),
    "penalised softmax": (
        X,
        CLASSES,
        {"covariance": "penalised", "l2": 1.0, **LOGISTIC},
        "covariance='penalised' is for",
    ),
}


@pytest.mark.parametrize("case", SAMPLES)
@pytest.mark.usefixtures("no_pass")
def test_samples_without_a_covariance(case):
    X, y, options, message = SAMPLES[case]
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        fastgd.fit(X, y, **options)


@pytest.mark.usefixtures("no_pass")
def test_clusters_with_another_index():
    table = pd.DataFrame({"a": Y}, index=np.arange(N) + 5)
    with pytest.raises(ValueError, match=r"^clusters has another index than X, first in row 0: 104 where X has 5"):
        fastgd.fit(table, Y, clusters=pd.Series(GROUPS, index=table.index[::-1]))


FRAME = pd.DataFrame(X).assign(y=Y)
WITHOUT_CLUSTERS = {
    "arrays": ((X, Y), {}),
    "lists": ((X.tolist(), Y.tolist()), {}),
    "table": ((FRAME,), {"target": "y"}),
    "file": (("no.parquet",), {"target": "y"}),
    "files": ((["no.parquet", "not.parquet"],), {"target": "y"}),
    "dask": ((da.from_array(X, (25, 2)), da.from_array(Y, 25)), {}),
    "chunks and y": ((Unread(), Y), {}),
}


@pytest.mark.parametrize("case", WITHOUT_CLUSTERS)
def test_clusters_have_to_be_somewhere(case):
    given, options = WITHOUT_CLUSTERS[case]
    with pytest.raises(ValueError, match=r"^covariance='cluster' needs clusters: the group of each row, or the name"):
        fastgd.fit(*given, covariance="cluster", **options)
    with pytest.raises(ValueError, match=r"^covariance='cluster' needs clusters"):
        fastgd.inference(FITTED, *given, covariance="cluster", **options)


@pytest.mark.parametrize("clusters", ["g", GROUPS])
def test_clusters_of_tuples_are_in_them(clusters):
    for given in (Unread(), [(X, Y), (X, Y)]):
        with pytest.raises(ValueError, match=r"^clusters: chunks contain them, as \(X, y, weight, clusters\), where"):
            fastgd.fit(given, clusters=clusters)
        with pytest.raises(ValueError, match=r"^clusters: chunks contain them, as"):
            fastgd.inference(FITTED, given, clusters=clusters)


def test_libsvm_has_no_clusters(tmp_path):
    (tmp_path / "t.svm").write_text("1 1:2\n2 1:3\n3 1:5\n")
    with pytest.raises(ValueError, match=r"^clusters: these samples have no column for them"):
        fastgd.fit(tmp_path / "t.svm", clusters="g")


HALF = N // 2
CHUNKS = {
    "no clusters": (
        [(X, Y, None)],
        "chunk 0 is a tuple of 3; covariance='cluster' needs \\(X, y, weight, clusters\\), ",
    ),
    "no weight": ([(X, Y)], "chunk 0 is a tuple of 2; covariance='cluster' needs .* where weight may be None"),
    "none": ([(X, Y, None, None)], "chunk 0 is without clusters; covariance='cluster' needs"),
    "later": ([(X, Y, None, GROUPS), (X, Y)], "chunk 1 is a tuple of 2; covariance='cluster' needs"),
    "no tuple": ([X], "chunk 0 is a ndarray; covariance='cluster' needs"),
    "short": ([(X, Y, None, GROUPS[1:])], "chunk 0.*clusters has shape \\(99,\\)"),
    "gap": ([(X, Y, None, [None, *GROUPS[1:].tolist()])], "chunk 0.*clusters has no value in row 0"),
    "mixed": (
        [(X[:HALF], Y[:HALF], None, GROUPS[:HALF]), (X[HALF:], Y[HALF:], None, GROUPS[HALF:].astype(str))],
        "chunk 1.*clusters are text, but numbers in chunks before",
    ),
    "index": (
        [(FRAME[[0, 1]].set_axis(np.arange(N) + 5), Y, None, pd.Series(GROUPS, index=np.arange(N) + 6))],
        "chunk 0.*clusters has another index than X",
    ),
}


@pytest.mark.parametrize("case", CHUNKS)
def test_chunks_that_lack_clusters(case):
    chunks, message = CHUNKS[case]
    with pytest.raises((ValueError, TypeError), match=message):
        fastgd.fit(chunks, covariance="cluster")


def test_a_single_cluster_in_chunks_is_noted():
    inference = fastgd.fit([(X, Y, None, np.zeros(N))], covariance="cluster").inference
    assert np.isnan(inference.standard_errors).all() and any("a single cluster" in note for note in inference.notes)


@pytest.mark.parametrize("options", [{}, {"covariance": "HC1"}])
def test_clusters_of_chunks_are_not_left_out_in_silence(options):
    with pytest.raises(ValueError, match=r"^chunk 0 has clusters; give covariance='cluster', which is for them, or"):
        fastgd.fit([(X, Y, None, GROUPS)], **options)


def test_files_and_dask_have_clusters_by_name(tmp_path):
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({"a": Y, "y": Y, "g": GROUPS.tolist()}), path)
    with pytest.raises(ValueError, match=r"^clusters: they are in the files, too"):
        fastgd.fit(path, target="y", clusters=GROUPS)
    with pytest.raises(ValueError, match=r"^clusters no: .* has no such column; it has a, y, g"):
        fastgd.fit(path, target="y", clusters="no")
    parts = da.from_array(X, (25, 2)), da.from_array(Y, 25)
    with pytest.raises(ValueError, match="clusters"):
        fastgd.fit(*parts, clusters=da.from_array(GROUPS, 50))
    with pytest.raises((ValueError, TypeError), match="clusters"):
        fastgd.fit(*parts, clusters=GROUPS)


def test_clusters_of_files_need_values(tmp_path):
    path = tmp_path / "t.parquet"
    groups = [None if k == 5 else f"g{k}" for k in GROUPS]
    parquet.write_table(pa.table({"a": X[:, 0], "y": Y, "g": groups}), path)
    with pytest.raises(ValueError, match=r"clusters has no value in row 50; fill it in"):
        fastgd.fit(path, target="y", clusters="g")


def test_fractional_frequencies_in_chunks():
    weight = np.ones(N)
    weight[70] = 2.5
    table = pd.DataFrame({"a": X[:, 0], "k": np.resize(["u", "v"], N)})
    chunks = [(table[:60], Y[:60], weight[:60]), (table[60:], Y[60:], weight[60:])]
    with pytest.raises(ValueError, match=r"sample_weight is 2.5 in row 10"):
        fastgd.fit(chunks, covariance="HC1", weights="frequency")


LEVELS = {"text": ("0.95", TypeError), "0": (0.0, ValueError), "1": (1.0, ValueError), "1.5": (1.5, ValueError)}
LEVELS |= {"negative": (-0.1, ValueError), "nan": (np.nan, ValueError), "percent": (95, ValueError)}


@pytest.mark.parametrize("level", LEVELS)
def test_levels_are_between_0_and_1(level):
    given, error = LEVELS[level]
    result = fastgd.fit(X, Y, covariance="classical")
    for ask, name in (
        (lambda: result.predict(X, interval=given), "interval"),
        (lambda: result.inference.conf_int(given), "level"),
        (lambda: result.summary(level=given), "level"),
        (lambda: result.inference.to_frame(given), "level"),
        (lambda: fastgd.plots.coefficients(result, level=given), "level"),
    ):
        with pytest.raises(error, match=f"^{name}="):
            ask()


@pytest.mark.parametrize("most", [0, -1])
def test_something_has_to_be_shown(most):
    result = fastgd.fit(X, Y, covariance="classical")
    for ask in (result.summary, lambda most: fastgd.plots.coefficients(result, most=most)):
        with pytest.raises(ValueError, match=r"^most="):
            ask(most=most)


def test_most_is_a_number_or_all():
    for covariance in ("classical", None):
        with pytest.raises(ValueError, match=r"^most='every'; a whole number, or 'all', is needed"):
            fastgd.fit(X, Y, covariance=covariance).summary(most="every")


def test_intervals_need_inference_of_at_most_two_classes():
    with pytest.raises(ValueError, match=r"^interval: the fit has no inference; give fit covariance="):
        fastgd.fit(X, Y).predict(X, interval=0.95)
    with pytest.raises(ValueError, match="the fit has no inference to draw"):
        fastgd.plots.coefficients(fastgd.fit(X, Y))
    result = fastgd.fit(X, CLASSES, covariance="classical", **LOGISTIC)
    with pytest.raises(ValueError, match=r"^interval=0.95: the model has 3 classes; there are intervals of two"):
        result.predict(X, interval=0.95)


FITTED = fastgd.fit(X, Y)
TABLE = pd.DataFrame({"a": X[:, 0], "k": np.resize(["u", "v"], N)})

LATER = {
    "more columns": (FITTED, np.column_stack((X, X[:, 0] ** 2)), Y, "X has 3 columns; the fit had 2"),
    "named columns": (FITTED, pd.DataFrame(X), Y, "X: the fit had named columns, and these samples have none, or"),
    "other names": (fastgd.fit(TABLE, Y), TABLE.rename(columns={"a": "b"}), Y, "X has the columns b, k; the fit had a"),
    "other order": (fastgd.fit(TABLE, Y), TABLE[["k", "a"]], Y, "X has the columns k, a; the fit had a, k"),
    "other levels": (
        *(fastgd.fit(TABLE, Y), TABLE.assign(k=np.resize(["u", "v", "w"], N)), Y),
        "X: column k has other levels",
    ),
    "other labels": (fastgd.fit(X, BINARY, **LOGISTIC), X, np.where(BINARY, "b", "a"), "y has other labels"),
    "more labels": (fastgd.fit(X, BINARY, **LOGISTIC), X, CLASSES, "y has other labels|X|.*2"),
    "fewer rows": (FITTED, X[:60], Y[:60], "the coefficients are .* standard errors from the minimum"),
    "other targets": (FITTED, X, Y[::-1], "the coefficients are .* standard errors from the minimum"),
    "other scale": (FITTED, 2.0 * X, Y, "the coefficients are .* standard errors from the minimum"),
}


@pytest.mark.parametrize("case", LATER)
def test_other_samples_than_those_of_the_fit(case):
    result, X, y, message = LATER[case]
    with pytest.raises(ValueError, match=f"^{message}"):
        fastgd.inference(result, X, y)
    assert result.inference is None


def test_other_weights_than_those_of_the_fit():
    weight = RNG.uniform(0.1, 2.0, N)
    with pytest.raises(ValueError, match=r"standard errors from the minimum over these samples.*and their weights"):
        fastgd.inference(FITTED, X, Y, sample_weight=weight)


@pytest.mark.parametrize("fitted", [None, 3, "model.json", {"coef": [1.0]}, fastgd.LinearRegression()])
def test_what_is_no_fit(fitted):
    with pytest.raises(TypeError, match=f"^fitted is a {type(fitted).__name__}; the result of a fit"):
        fastgd.inference(fitted, X, Y)
