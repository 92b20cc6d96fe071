"""Where there is little to judge by: few clusters, few rows, exact fits, odd names, missing clusters."""

import json
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.api as sm
from internals import Interrupted, checksum, fit_module
from pyarrow import parquet

import fastgd

RNG = np.random.default_rng(0)
N, D = 150, 3
X = RNG.standard_normal((N, D))
Y = X @ [1.0, 0.5, -1.0] + RNG.standard_normal(N)
CLASSES = np.digitize(Y + RNG.standard_normal(N), [-1.0, 1.0])
GROUPS = RNG.integers(0, 12, N)
FREQUENCIES = RNG.integers(1, 4, N).astype(float)
KINDS = ["classical", "HC0", "HC1", "HC2", "HC3"]


@pytest.mark.parametrize("covariance", KINDS)
def test_streams_of_numbers_with_frequencies(covariance):
    options = {"covariance": covariance, "weights": "frequency"}
    chunks = [(X[part], Y[part], FREQUENCIES[part]) for part in (slice(0, 70), slice(70, N))]
    streamed = fastgd.fit(chunks, cache="none", **options).inference
    known = fastgd.fit(X, Y, sample_weight=FREQUENCIES, **options).inference
    np.testing.assert_allclose(streamed.standard_errors, known.standard_errors, rtol=1e-9)
    assert streamed.n == known.n == FREQUENCIES.sum()


@pytest.mark.parametrize("covariance", KINDS)
def test_rows_of_weight_0_do_not_count(covariance):
    with pytest.raises(ValueError, match="3 observations for 4 coefficients"):
        fastgd.fit(X, Y, sample_weight=(np.arange(N) < 3).astype(float), covariance=covariance)


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
@pytest.mark.parametrize("covariance", ["classical", "HC1"])
def test_a_stream_of_too_few_rows_says_so_in_the_end(covariance):
    result = fastgd.fit([(X[:3], Y[:3])], cache="none", covariance=covariance)
    assert np.isnan(result.inference.standard_errors).all()
    assert "no more observations than coefficients" in str(result.summary())


@pytest.mark.parametrize("covariance", KINDS)
def test_an_exact_fit_has_a_summary(covariance):
    result = fastgd.fit(X, X @ [1.0, 2.0, 3.0], covariance=covariance)
    assert "x2" in str(result.summary()) and "<table>" in result._repr_html_()


@pytest.mark.parametrize("covariance", KINDS)
def test_a_constant_y_has_a_summary(covariance):
    assert "x2" in str(fastgd.fit(X, np.ones(N), covariance=covariance).summary())


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_few_clusters_test_few_hypotheses(loss):
    """Scores add up to 0, so that C clusters tell at most C − 1 directions."""
    y = Y if loss == "squared" else Y > 0.0
    result = fastgd.fit(X, y, loss=loss, clusters=GROUPS % 3)
    assert "3 clusters" in str(result.summary())
    assert result.inference.wald_test(np.eye(4)[:2]).df == 2
    with pytest.raises(ValueError, match="few clusters"):
        result.inference.wald_test(np.eye(4)[:3])


def test_a_single_cluster_in_files_is_noted(tmp_path):
    table = pa.table({"a": X[:, 0], "b": X[:, 1], "y": Y, "g": np.ones(N, int)})
    parquet.write_table(table, tmp_path / "one.parquet")
    result = fastgd.fit(tmp_path / "one.parquet", target="y", clusters="g", cache="none", memory_limit="16MB")
    if result.inference is not None:
        assert np.isnan(result.inference.standard_errors).all()
        assert "single cluster" in str(result.summary())


@pytest.mark.parametrize("kind", ["HC1", "cluster"])
def test_corrections_count_the_coefficients_of_all_classes(kind):
    design = sm.add_constant(X, prepend=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = sm.MNLogit(CLASSES, design)
        options = {"cov_type": "HC0"} if kind == "HC1" else {"cov_type": "cluster", "cov_kwds": {"groups": GROUPS}}
        expected = model.fit(disp=0, method="newton", tol=1e-12, **options).bse
    clusters = GROUPS if kind == "cluster" else None
    found = fastgd.fit(X, CLASSES, loss="logistic", tol=1e-8, covariance=kind, clusters=clusters).inference
    factor = N / (N - 2 * (D + 1)) if kind == "HC1" else 1.0
    np.testing.assert_allclose(found.standard_errors.T, expected * factor**0.5, rtol=1e-8)


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
@pytest.mark.parametrize("test", ["f_test", "likelihood_ratio_test"])
def test_without_columns_that_vary_there_is_nothing_to_test(test):
    result = fastgd.fit(np.ones((N, 2)), Y, covariance="classical", l2=0.0)
    with pytest.raises(ValueError, match="no coefficient but intercepts"):
        getattr(result.inference, test)()
    assert "x0" in str(result.summary())


def test_a_column_may_be_called_intercept():
    inference = fastgd.fit(pd.DataFrame({"intercept": X[:, 0], "b": X[:, 1]}), Y, covariance="classical").inference
    assert inference.names == ("intercept", "b", "(intercept)")
    by_name, by_number = inference.wald_test("intercept = 0"), inference.wald_test([[1.0, 0.0, 0.0]])
    assert by_name == by_number


def test_a_column_may_be_called_like_a_number():
    inference = fastgd.fit(pd.DataFrame({"2": X[:, 0], "b": X[:, 1]}), Y, covariance="classical").inference
    assert inference.wald_test("2 b = 1") == inference.wald_test(([[0.0, 2.0, 0.0]], [1.0]))
    assert inference.wald_test("'2' = 1") == inference.wald_test(([[1.0, 0.0, 0.0]], [1.0]))


def test_hypotheses_may_be_a_list_and_are_quoted_as_written():
    inference = fastgd.fit(X, Y, covariance="classical").inference
    assert inference.wald_test(["x0 = 1", "x1 = x2"]) == inference.wald_test("x0 = 1, x1 = x2")
    with pytest.raises(ValueError, match=r"hypothesis 'x0 = ': each ="):
        inference.wald_test("x0 = ")


@pytest.mark.parametrize("source", ["frame", "file"])
def test_rows_without_a_cluster_are_dropped_if_that_is_asked_for(source, tmp_path):
    groups = pd.Series(GROUPS.astype(str), dtype=object)
    groups[[0, 7]] = None
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": Y, "g": groups})
    parquet.write_table(pa.Table.from_pandas(frame), tmp_path / "data.parquet")
    given = frame if source == "frame" else tmp_path / "data.parquet"
    kept = groups.notna().to_numpy()
    result = fastgd.fit(given, target="y", clusters="g", missing="drop")
    expected = fastgd.fit(X[kept, :2], Y[kept], clusters=groups[kept].tolist()).inference
    assert result.dropped == 2 and result.inference.clusters == 12
    np.testing.assert_allclose(result.inference.standard_errors, expected.standard_errors, rtol=1e-9)
    with pytest.raises(ValueError, match="clusters"):
        fastgd.fit(given, target="y", clusters="g")


def test_a_penalised_constant_has_no_standard_error():
    result = fastgd.fit(np.column_stack((X, np.ones(N))), Y > 0, loss="logistic", l2=0.1, covariance="penalised")
    assert np.isnan(result.inference.standard_errors).tolist() == [False, False, False, True, False]


@pytest.mark.parametrize(
    ("field", "value"), [("kind", "foo"), ("weights", "foo"), ("loss", 1), ("outputs", ["a", "b"])]
)
def test_a_damaged_inference_is_refused(field, value, tmp_path):
    path = tmp_path / "model.json"
    fastgd.fit(X, Y, covariance="classical").save(path)
    document = json.loads(path.read_text())
    document["inference"][field] = value
    document["checksum"] = checksum(document)
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="inference"):
        fastgd.load(path)


def test_a_fit_is_kept_if_its_standard_errors_are_interrupted(monkeypatch):
    def interrupted(*_):
        raise Interrupted

    monkeypatch.setattr(fit_module, "estimate", interrupted)
    result = fastgd.fit(X, Y, covariance="HC1")
    assert result.converged and result.inference is None
    assert "There are no standard errors" in result.message
    assert np.array_equal(result.coef, fastgd.fit(X, Y).coef)


@pytest.mark.parametrize(("labels", "fact"), [(CLASSES > 0, "log-odds of  True"), (CLASSES, "log-odds against  0")])
def test_a_summary_says_which_classes_log_odds_compare(labels, fact):
    summary = fastgd.fit(X, labels, loss="logistic", covariance="classical").summary()
    assert fact.split("  ") in [[name, value] for name, value in summary.facts]


EDUCATION = RNG.integers(0, 5, N)
LEVELS = np.array(["basic", "college", "high", "none", "phd"])[EDUCATION]


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
@pytest.mark.parametrize("years_first", [True, False])
@pytest.mark.parametrize("covariance", KINDS)
def test_tests_beside_redundant_columns_are_those_without_them(covariance, years_first):
    """Years are a function of education: the last of the columns is left out, whichever that is."""
    columns = {"years": 2.0 * EDUCATION + 1.0, "education": LEVELS, "x": X[:, 0]}
    order = ["years", "education", "x"] if years_first else ["education", "years", "x"]
    frame = pd.DataFrame(columns)[order]
    result = fastgd.fit(frame, Y, covariance=covariance)
    left_out = "education[phd]" if years_first else "years"
    assert [n for n, unknown in zip(result.inference.names, result.inference.undetermined, strict=True) if unknown] == [
        left_out
    ]
    if not years_first:
        kept = frame[["education", "x"]]
    else:
        kept = frame[["years", "x"]].assign(**{f"e{k}": k == EDUCATION for k in (1, 2, 3)})
    alone = fastgd.fit(kept, Y, covariance=covariance).inference
    hypothesis = "e1 = 0, e2 = 0, e3 = 0" if years_first else "education = 0"
    found, expected = result.inference.wald_test("education = 0"), alone.wald_test(hypothesis)
    assert found.df == expected.df == (3 if years_first else 4)
    np.testing.assert_allclose(found.statistic, expected.statistic, rtol=1e-8)


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_rows_that_break_a_redundancy_have_no_interval(loss):
    doubled = np.column_stack((X, 60.0 * X[:, 0]))
    y = Y if loss == "squared" else Y > 0.0
    result = fastgd.fit(doubled, y, loss=loss, covariance="classical")
    alone = fastgd.fit(X, y, loss=loss, covariance="classical")
    np.testing.assert_allclose(result.predict(doubled, interval=0.9).lower, alone.predict(X, interval=0.9).lower, 1e-7)
    doubled[3, 3] += 1.0
    broken = result.predict(doubled, interval=0.9)
    assert np.flatnonzero(np.isnan(broken.lower)).tolist() == [3] and np.isfinite(broken.mean).all()


@pytest.mark.parametrize("covariance", ["HC2", "HC3"])
def test_a_row_that_alone_determines_a_coefficient(covariance):
    """Its leverage is 1 and its slope 0: it adds nothing, and the others are as without it."""
    alone = fastgd.fit(X[1:], Y[1:], covariance=covariance).inference.standard_errors
    found = fastgd.fit(np.column_stack((X, np.eye(N)[0])), Y, covariance=covariance).inference.standard_errors
    np.testing.assert_allclose(found[[0, 1, 2, 4]], alone, rtol=1e-9)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("kind", ["datetime", "date", "period of time"])
@pytest.mark.parametrize("source", ["frame", "parquet", "csv"])
def test_clusters_may_be_dates(kind, source, tmp_path):
    days = pd.Timestamp("2013-01-01") + pd.to_timedelta(GROUPS, "D")
    values = {"datetime": days, "date": pd.Series(days.date, dtype=object), "period of time": days - days[0]}[kind]
    frame = pd.DataFrame({"a": X[:, 0], "y": Y, "day": values})
    given = frame if source == "frame" else tmp_path / f"data.{source}"
    if source == "parquet":
        frame.to_parquet(given, index=False)
    elif source == "csv":
        frame.to_csv(given, index=False)
    found = fastgd.fit(given, target="y", features=["a"], clusters="day").inference
    expected = fastgd.fit(frame[["a"]], Y, clusters=GROUPS).inference
    np.testing.assert_allclose(found.standard_errors, expected.standard_errors, rtol=1e-9)


@pytest.mark.parametrize("covariance", ["classical", "HC1"])
def test_later_the_columns_are_those_of_the_model(covariance, tmp_path):
    frame = pd.DataFrame({"a": X[:, 0], "text": LEVELS, "b": X[:, 1], "y": Y, "more": np.arange(N).astype(str)})
    fastgd.fit(frame, target="y", features=["a", "text"]).save(tmp_path / "model.json")
    model = fastgd.load(tmp_path / "model.json")
    expected = fastgd.fit(frame, target="y", features=["a", "text"], covariance=covariance).inference
    found = fastgd.inference(model, frame, target="y", covariance=covariance, loss="squared")
    np.testing.assert_allclose(found.standard_errors, expected.standard_errors, rtol=1e-9)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("x0*2 = 1", "2 x0 = 1"),
        ("x0/4 = 1/2", "x0 = 2"),
        ("x0 == x1; x2 = 0", "x0 = x1, x2 = 0"),
        ("-x0*2/3 + 1 = x1", "x1 = 1 - 0.6666666666666666 x0"),
    ],
)
def test_hypotheses_multiply_and_divide(text, same):
    inference = fastgd.fit(X, Y, covariance="classical").inference
    np.testing.assert_allclose(inference.wald_test(text)[:2], inference.wald_test(same)[:2], rtol=1e-9)


@pytest.mark.parametrize("text", ["x0 * = 1", "* x0 = 1", "2 / x0 = 1", "x0 x1 = 1", "x0 2 = 1", "x0 = 1 +", "(x0 = 1"])
def test_other_signs_are_refused(text):
    with pytest.raises(ValueError, match="hypothesis"):
        fastgd.fit(X, Y, covariance="classical").inference.wald_test(text)


@pytest.mark.parametrize("given", [{"x0": 0}, None, 3, pd.DataFrame([[1.0, 0.0, 0.0, 0.0]])], ids=type)
def test_hypotheses_of_other_kinds_are_refused(given):
    with pytest.raises(TypeError, match="hypothesis is a"):
        fastgd.fit(X, Y, covariance="classical").inference.wald_test(given)


def test_few_clusters_are_noted():
    assert "only 12 clusters" in str(fastgd.fit(X, Y, clusters=GROUPS).summary())
    assert "clusters:" not in str(fastgd.fit(X, Y, clusters=np.arange(N) // 2).summary())
