"""`fastgd predict --interval` writes what `predict(X, interval=)` gives, or says in one line why there is none."""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from internals import main
from pyarrow import csv, parquet
from sklearn.datasets import dump_svmlight_file

import fastgd

N = 300


def samples():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.standard_normal(N), "kind": rng.choice(["u", "v", "w"], N)})
    frame["y"] = frame["a"] + 2.0 * (frame["kind"] == "v") + rng.standard_normal(N)
    frame["late"] = np.where(frame["y"] + rng.logistic(size=N) > 0.0, "yes", "no")
    frame["grade"] = np.digitize(frame["y"], [-0.5, 1.0])
    return frame


FRAME = samples()
BOTH = ["observation_lower", "observation_upper"]


@pytest.fixture
def data(tmp_path):
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    FRAME.to_parquet(tmp_path / "t.parquet", index=False)
    (tmp_path / "parts").mkdir()
    for number, start in enumerate(range(0, N, 100)):
        FRAME[start : start + 100].to_parquet(tmp_path / "parts" / f"{number}.parquet", index=False)
    return tmp_path


def fitted(data, target, model, *options):
    path = data / f"{target}.json"
    given = ["fit", str(data / "t.parquet"), "--target", target, "--model", model, "--features", "a,kind"]
    assert main([*given, *options, "--output", str(path)]) == 0
    return path


def predicted(model, path, level, output):
    assert main(["predict", str(model), str(path), "--interval", str(level), "--output", str(output)]) == 0
    return parquet.read_table(output) if str(output).endswith(".parquet") else csv.read_csv(output)


def check(table, expected, mean):
    """A table has the columns of a `PredictionInterval`, its ``mean`` under another name."""
    for name, values in expected._asdict().items():
        if values is not None:
            np.testing.assert_allclose(np.asarray(table[mean if name == "mean" else name]), values, rtol=1e-9)


@pytest.mark.parametrize("output", ["p.csv", "p.parquet"])
@pytest.mark.parametrize("source", ["t.csv", "t.parquet", "parts"])
@pytest.mark.parametrize(("options", "level"), [(["--summary"], 0.95), (["--covariance", "HC3"], 0.5)])
def test_linear_models(options, level, source, output, data):
    model = fitted(data, "y", "linear", *options)
    table = predicted(model, data / source, level, data / output)
    assert table.column_names == ["prediction", "lower", "upper", *BOTH]
    check(table, fastgd.load(model).predict(FRAME, interval=level), "prediction")


@pytest.mark.parametrize("source", ["t.csv", "parts"])
def test_two_classes(source, data):
    model = fitted(data, "late", "logistic", "--summary")
    table = predicted(model, data / source, 0.9, data / "p.csv")
    assert table.column_names == ["prediction", "probability", "lower", "upper"]
    check(table, fastgd.load(model).predict(FRAME, interval=0.9), "probability")
    assert table["prediction"].to_pylist() == fastgd.load(model).predict(FRAME).tolist()


def test_inference_that_was_added_later(data):
    model = fitted(data, "y", "linear")
    result = fastgd.load(model)
    fastgd.inference(result, FRAME[["a", "kind"]], FRAME["y"], covariance="HC1")
    result.save(model)
    check(predicted(model, data / "t.csv", 0.95, data / "p.csv"), result.predict(FRAME, interval=0.95), "prediction")


def test_several_targets_have_columns_each(data):
    targets = FRAME[["y"]].assign(double=2.0 * FRAME["y"])
    result = fastgd.fit(FRAME[["a", "kind"]], targets, covariance="classical")
    result.save(data / "m.json")
    table = predicted(data / "m.json", data / "t.csv", 0.95, data / "p.parquet")
    fields = ["prediction", "lower", "upper", *BOTH]
    assert table.column_names == [f"{field}[{name}]" for field in fields for name in ("y", "double")]
    expected = result.predict(FRAME, interval=0.95)
    for field, values in zip(fields, expected, strict=True):
        for name, column in zip(("y", "double"), values.T, strict=True):
            np.testing.assert_allclose(np.asarray(table[f"{field}[{name}]"]), column, rtol=1e-9)
    assert main(["predict", str(data / "m.json"), str(data / "t.csv"), "--output", str(data / "p.csv")]) == 0
    assert csv.read_csv(data / "p.csv").column_names == ["prediction[y]", "prediction[double]"]


@pytest.mark.parametrize("kind", ["npy", "svm"])
def test_files_without_names(kind, tmp_path):
    X = np.random.default_rng(1).standard_normal((N, 3)).round(3)
    y = X @ [1.0, 2.0, 0.0] + np.random.default_rng(2).standard_normal(N).round(3)
    path = str(tmp_path / f"X.{kind}")
    if kind == "npy":
        np.save(path, X)
        np.save(tmp_path / "y.npy", y)
    else:
        dump_svmlight_file(X, y, path, zero_based=False)
    target = ["--target", str(tmp_path / "y.npy")] if kind == "npy" else []
    assert main(["fit", path, *target, "--summary", "--output", str(tmp_path / "m.json")]) == 0
    table = predicted(tmp_path / "m.json", path, 0.95, tmp_path / "p.parquet")
    expected = fastgd.fit(X, y, covariance="classical").predict(X, interval=0.95)
    np.testing.assert_allclose(np.asarray(table["lower"]), expected.lower, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(np.asarray(table["observation_upper"]), expected.observation_upper, rtol=1e-6)


def test_unseen_levels(data):
    model = fitted(data, "y", "linear", "--summary")
    parquet.write_table(pa.table({"a": [0.5, 0.5], "kind": ["zz", "u"]}), data / "new.parquet")
    given = ["predict", str(model), str(data / "new.parquet"), "--interval", "0.95", "--output", str(data / "p.csv")]
    assert main(given) == 1
    assert main([*given, "--unseen", "zero"]) == 0
    lower = csv.read_csv(data / "p.csv")["lower"].to_pylist()
    assert lower[0] == lower[1]


def test_models_without_intervals(data, capsys):
    models = {
        fitted(data, "y", "linear"): "--interval 0.95: .*y.json was saved without standard errors; fit it again with "
        "--summary, --covariance or --cluster beside --output",
        fitted(data, "grade", "logistic", "--summary"): "--interval 0.95: the model has 3 classes",
    }
    for model, message in models.items():
        capsys.readouterr()
        given = ["predict", str(model), str(data / "none.csv"), "--interval", "0.95", "--output", str(data / "p.csv")]
        assert main(given) == 1
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and re.search(message, error), error
        assert not (data / "p.csv").exists()


@pytest.mark.parametrize("level", ["0", "1", "95", "-0.5", "nan", "much"])
def test_levels_are_between_0_and_1(level, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["predict", "m.json", "t.csv", f"--interval={level}", "--output", "p.csv"])
    assert ended.value.code == 2
    assert "--interval" in capsys.readouterr().err
