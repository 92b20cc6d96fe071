"""A category of many levels: standard errors without the matrix of a covariance are those that it would give."""

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from internals import patch
from pyarrow import parquet

import fastgd

N, LEVELS = 1500, 60
NUMBERS = ("standard_errors", "statistic", "coef", "log_likelihood", "null_log_likelihood", "deviance", "scale", "bic")
LOSSES = {"squared": {}, "logistic": {"loss": "logistic", "tol": 1e-8}}


def samples():
    rng = np.random.default_rng(0)
    plane = rng.integers(0, LEVELS, N)
    frame = pd.DataFrame({"far": 1e6 + rng.standard_normal(N), "plane": [f"p{k:02d}" for k in plane]})
    frame["kind"], frame["b"] = rng.choice(["u", "v", "w"], N), rng.standard_normal(N) * 0.01
    z = frame["far"] - 1e6 + rng.standard_normal(LEVELS)[plane] + (frame["kind"] == "v")
    frame["squared"] = z + rng.standard_normal(N)
    frame["logistic"] = z + 2.0 * rng.logistic(size=N) > 0.5
    frame["w"] = rng.integers(0, 4, N).astype(float)
    return frame


FRAME = samples()
FEATURES = ["far", "plane", "kind", "b"]


def streamed(folder):
    path = folder / "parts"
    path.mkdir(exist_ok=True)
    for number, start in enumerate(range(0, N, 400)):
        parquet.write_table(pa.Table.from_pandas(FRAME[start : start + 400]), path / f"{number}.parquet")
    return path


FORMS = {
    "pandas": lambda _: FRAME,
    "arrow": lambda _: pa.Table.from_pandas(FRAME, preserve_index=False),
    "parquet": streamed,
    "dask": lambda _: dd.from_pandas(FRAME, npartitions=3),
}


@pytest.fixture
def few(monkeypatch):
    """Have standard errors without a matrix from 11 coefficients on."""
    return lambda: patch(monkeypatch, "largest_covariance", 10)


def fitted(X=FRAME, loss="squared", **options):
    options = {"target": loss, "features": FEATURES, "covariance": "classical", **LOSSES[loss], **options}
    return fastgd.fit(X, **options)


def same(found, expected, rtol=1e-7):
    assert found.variances is not None and expected.variances is None
    assert found.factors.shape[2] < 10
    assert (found.n, found.df, found.df_model, found.names) == (
        *(expected.n, expected.df, expected.df_model),
        expected.names,
    )
    for name in NUMBERS:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=rtol, atol=1e-9, err_msg=name)
    errors = expected.standard_errors[..., None] * expected.standard_errors[..., None, :]
    np.testing.assert_allclose(found.covariance / errors, expected.covariance / errors, rtol=0, atol=1e-6)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("form", FORMS)
def test_the_same_as_with_a_matrix(form, loss, intercept, few, tmp_path):
    expected = fitted(loss=loss, intercept=intercept)
    few()
    options = {"cache": "none", "memory_limit": "100MB"} if form == "parquet" else {}
    result = fitted(FORMS[form](tmp_path), loss, intercept=intercept, **options)
    same(result.inference, expected.inference)
    later = fitted(loss=loss, intercept=intercept, covariance=None)
    same(fastgd.inference(later, FRAME, target=loss), expected.inference)


def test_two_passes(few):
    few()
    passes = [fitted(covariance=covariance).history.passes[-1] for covariance in (None, "classical")]
    assert passes[1] == passes[0] + 2.0


@pytest.mark.parametrize("weights", ["precision", "frequency"])
@pytest.mark.parametrize("loss", LOSSES)
def test_weights(loss, weights, few):
    options = {"sample_weight": "w", "weights": weights}
    expected = fitted(loss=loss, **options)
    few()
    same(fitted(loss=loss, **options).inference, expected.inference)


def test_levels_without_weight_and_constant_columns_have_no_standard_error(few):
    frame = FRAME.assign(one=1.0, w=np.where(FRAME["plane"] == "p07", 0.0, FRAME["w"]))
    options = {"sample_weight": "w", "features": [*FEATURES, "one"]}
    with pytest.warns(np.exceptions.RankWarning):
        expected = fitted(frame, **options).inference
    few()
    with pytest.warns(np.exceptions.RankWarning):
        found = fitted(frame, **options).inference
    same(found, expected)
    lacking = [name for name, lacks in zip(found.names, np.isnan(found.standard_errors), strict=True) if lacks]
    assert lacking == ["plane[p07]", "one"]


def test_several_targets(few):
    targets = pd.DataFrame({"one": FRAME["squared"], "two": FRAME["far"] - 3.0 * FRAME["squared"] + FRAME["w"]})
    expected = fastgd.fit(FRAME[FEATURES], targets, covariance="classical")
    few()
    found = fastgd.fit(FRAME[FEATURES], targets, covariance="classical")
    same(found.inference, expected.inference)
    for own, other in zip(*(each.predict(FRAME, interval=0.9) for each in (found, expected)), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-6)


TESTS = ["plane[p01] = plane[p02]", "plane = 0", "far = 1, kind = 0", "b = plane[p59] = intercept"]


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_made_of_standard_errors(loss, few, tmp_path):
    expected = fitted(loss=loss)
    few()
    result = fitted(loss=loss)
    result.save(tmp_path / "m.json")
    for found in (result, fastgd.load(tmp_path / "m.json")):
        for text in TESTS:
            test, other = found.inference.wald_test(text), expected.inference.wald_test(text)
            np.testing.assert_allclose(test.statistic, other.statistic, rtol=1e-6)
            assert test.df == other.df
        for own, other in zip(*(each.predict(FRAME[:50], interval=0.9) for each in (found, expected)), strict=True):
            if own is not None:
                np.testing.assert_allclose(own, other, rtol=1e-7)
        np.testing.assert_allclose(found.inference.conf_int(), expected.inference.conf_int(), rtol=1e-6, atol=1e-6)
        assert [row[0] for row in found.summary().rows] == [row[0] for row in expected.summary().rows]


@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
def test_redundant_columns_leave_no_standard_errors(few):
    few()
    result = fitted(FRAME.assign(twice=2.0 * FRAME["b"]), features=[*FEATURES, "twice"])
    assert np.isnan(result.inference.standard_errors).all()
    assert "No standard errors: columns leave so little of each other" in str(result.summary())


REFUSED = {
    "HC1": ({"covariance": "HC1"}, "covariance='HC1': of 64 coefficients it would take"),
    "clusters": ({"covariance": None, "clusters": "w"}, "covariance='cluster': of 64 coefficients"),
    "penalised": ({"covariance": "penalised", "l2": 0.1}, "covariance='penalised': of 64 coefficients"),
    "numbers": ({"features": ["far"] + [f"x{k}" for k in range(20)]}, "covariance='classical': of 22 coefficients"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_needs_a_matrix_is_refused(case, few):
    few()
    options, message = REFUSED[case]
    more = pd.DataFrame(np.random.default_rng(0).standard_normal((N, 20)), columns=[f"x{k}" for k in range(20)])
    with pytest.raises(
        ValueError,
        match=f"^{message}.* with covariance='classical' alone, if they are one category",
    ):
        fitted(pd.concat([FRAME, more], axis=1), **options)


def test_three_classes_are_refused(few):
    few()
    with pytest.raises(ValueError, match=r"^covariance='classical': of 128 coefficients"):
        fastgd.fit(FRAME[FEATURES], np.arange(N) % 3, loss="logistic", covariance="classical")


def test_two_wide_categories_are_refused(few, monkeypatch):
    few()
    patch(monkeypatch, "block_members", 5)
    frame = FRAME.assign(other=np.resize([f"o{k}" for k in range(40)], N))
    with pytest.raises(ValueError, match=r"^covariance='classical': of 103 coefficients"):
        fitted(frame, features=[*FEATURES, "other"])


def test_more_levels_than_a_matrix_has_room_for():
    rng = np.random.default_rng(1)
    count, n = 12_000, 60_000
    level = np.concatenate((np.arange(count), rng.integers(0, count, n - count)))
    x = rng.standard_normal(n) + 0.01 * level
    y = 2.0 * x + rng.standard_normal(count)[level] + rng.standard_normal(n)
    frame = pd.DataFrame({"x": x, "user": [f"u{k:05d}" for k in level], "y": y})
    inference = fastgd.fit(frame, target="y", categorical=["user"], covariance="classical").inference
    assert len(inference.names) == count + 1
    counts = np.bincount(level)
    within = x - (np.bincount(level, x) / counts)[level]
    left = y - (np.bincount(level, y) / counts)[level]
    slope = within @ left / (within @ within)
    variance = ((left - slope * within) ** 2).sum() / (n - count - 1)
    error = np.sqrt(variance / (within @ within))
    np.testing.assert_allclose(inference.coef[0], slope, rtol=1e-8)
    np.testing.assert_allclose(inference.standard_errors[0], error, rtol=1e-8)
    means = np.bincount(level, x) / counts
    levels = np.sqrt(variance * (1.0 / counts[1:] + 1.0 / counts[0]) + (means[1:] - means[0]) ** 2 * error**2)
    np.testing.assert_allclose(inference.standard_errors[1:-1], levels, rtol=1e-8)
    test = inference.wald_test("user[u00001] = user[u00002]")
    spread = np.sqrt(variance * (1.0 / counts[1] + 1.0 / counts[2]) + (means[1] - means[2]) ** 2 * error**2)
    np.testing.assert_allclose(test.statistic, ((inference.coef[1] - inference.coef[2]) / spread) ** 2, rtol=1e-6)
    assert inference.f_test().df == count
    with pytest.raises(ValueError, match=r"^covariance: of 12,001 coefficients it would take 1 GB; all else"):
        inference.covariance  # noqa: B018
    with pytest.raises(ValueError, match="user has 11,999 levels, too many to test at once"):
        inference.wald_test("user = 0")
