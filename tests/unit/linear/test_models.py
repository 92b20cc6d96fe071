"""Models saved and loaded: the same bits, no numba, and nothing lost where a file is damaged or cannot be written."""

import json
import os
import pickle
import stat

import numpy as np
import pandas as pd
import pytest
from internals import checksum

import fastgd

X = np.random.default_rng(0).standard_normal((60, 3))
Y = X @ [1.0, 2.0, 3.0] + 0.5 + np.random.default_rng(1).standard_normal(60)
POSITIVE = (Y > 0).astype(int)
TABLE = pd.DataFrame({"größe": X[:, 0], "kind": ["p", 'q/"\\', "r\n"] * 20, "b": X[:, 1]})
LOGISTIC = {"loss": "logistic"}

MODELS = {
    "array": lambda: (X, fastgd.fit(X, Y)),
    "float32": lambda: (X.astype("f4"), fastgd.fit(X.astype("f4"), Y, intercept=False)),
    "table": lambda: (TABLE, fastgd.fit(TABLE, Y, categorical=["kind"])),
    "every level": lambda: (TABLE, fastgd.fit(TABLE, Y, drop_first=False, l2=0.1)),
    "numbered table": lambda: (pd.DataFrame(X), fastgd.fit(pd.DataFrame(X), Y)),
    "weighted": lambda: (X, fastgd.fit(X, Y, sample_weight=np.arange(60), solver="gd")),
    "text classes": lambda: (X, fastgd.fit(X, np.array(["no", "yes ß"])[POSITIVE], **LOGISTIC)),
    "new text classes": lambda: (
        X,
        fastgd.fit(X, np.array(["n", "yes"], np.dtypes.StringDType())[POSITIVE], **LOGISTIC),
    ),
    "object classes": lambda: (
        TABLE,
        fastgd.fit(TABLE, np.array(["a", "b"], "O")[POSITIVE], categorical=["kind"], **LOGISTIC),
    ),
    "int classes": lambda: (X, fastgd.fit(X, POSITIVE * 4 - 1, **LOGISTIC)),
    "uint8 classes": lambda: (X, fastgd.fit(X, (POSITIVE * 200).astype(np.uint8), **LOGISTIC)),
    "bool classes": lambda: (X, fastgd.fit(X, POSITIVE == 1, **LOGISTIC)),
    "float classes": lambda: (X, fastgd.fit(X, POSITIVE * 0.1 + 0.2, **LOGISTIC)),
    "batches": lambda: (X, fastgd.fit(X, Y, solver="sgd", max_iter=2)),
    "diverged": lambda: (X, fastgd.fit(X, Y, solver="gd", learning_rate=5.0)),
    "numpy options": lambda: (
        X,
        fastgd.fit(
            X,
            Y,
            tol=np.float32(1e-3),
            max_iter=np.int64(9),
            l2=np.float32(0.5),
            time_limit=np.float64(9),
            intercept=np.bool_(True),
            solver="gd",
            learning_rate=np.float32(0.25),
        ),
    ),
    "numpy loss": lambda: (X, fastgd.fit(X, Y, loss=fastgd.losses.Huber(np.float32(1.5)))),
}


def same_bits(a, b):
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


@pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")
@pytest.mark.parametrize("how", ["save", "pickle"])
@pytest.mark.parametrize("kind", MODELS)
def test_round_trip(kind, how, tmp_path):
    samples, model = MODELS[kind]()
    if how == "save":
        model.save(tmp_path / "model.json")
        again = fastgd.load(tmp_path / "model.json")
    else:
        again = pickle.loads(pickle.dumps(model))
    assert again.predict(samples).tolist() == model.predict(samples).tolist()
    assert same_bits(again.decision_function(samples), model.decision_function(samples))
    assert same_bits(again.coef, model.coef) and same_bits(again.spread, model.spread)
    for name, column in vars(model.history).items():
        assert same_bits(getattr(again.history, name), column), name
    for name in (
        "intercept",
        "loss",
        "status",
        "message",
        "features",
        "redundant",
        "rows",
        "settings",
        "version",
        "coef_names",
    ):
        assert getattr(again, name) == getattr(model, name), name
    if model.classes is None:
        assert again.classes is None
    else:
        assert again.classes.dtype == model.classes.dtype and again.classes.tolist() == model.classes.tolist()
        assert same_bits(again.predict_proba(samples), model.predict_proba(samples))
    assert repr(again) == repr(model)


def test_loading_and_predicting_import_no_numba(tmp_path, run_python):
    _, model = MODELS["text classes"]()
    model.save(tmp_path / "model.json")
    np.save(tmp_path / "X.npy", X)
    code = """
import sys, numpy as np, fastgd
model = fastgd.load(sys.argv[1])
X = np.load(sys.argv[2])
print(model.decision_function(X).tobytes().hex(), model.predict(X)[0], model.predict_proba(X).shape)
heavy = {"numba", "llvmlite", "sklearn", "pandas", "scipy", "pyarrow", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
    margins, label, *_ = run_python(code, tmp_path / "model.json", tmp_path / "X.npy").split(" ", 2)
    assert bytes.fromhex(margins) == model.decision_function(X).tobytes()
    assert label == model.predict(X)[0].split()[0]


@pytest.fixture
def document(tmp_path):
    _, model = MODELS["table"]()
    model.save(tmp_path / "good.json")
    return json.loads((tmp_path / "good.json").read_text(encoding="utf-8"))


def put(path, value):
    """Change one entry of a document, '/' between keys; ... deletes it."""

    def change(document):
        *parents, last = path.split("/")
        for key in parents:
            document = document[int(key) if isinstance(document, list) else key]
        last = int(last) if isinstance(document, list) else last
        if value is ...:
            del document[last]
        else:
            document[last] = value

    return change


KEYS = [
    "format",
    "format_version",
    "coef",
    "intercept",
    "spread",
    "features",
    "classes",
    "redundant",
    "rows",
    "loss",
    "status",
]
DAMAGES = {
    **{f"no {key}": put(key, ...) for key in [*KEYS, "message", "settings", "history", "version"]},
    "other format": put("format", "pickle"),
    "older": put("format_version", 4),
    "newer": put("format_version", 99),
    "coef NaN": put("coef/0", float("nan")),
    "coef infinite": put("coef/0", float("inf")),
    "coef text": put("coef/0", "much"),
    "coef text that says a number": put("coef/0", "1.5"),
    "coef huge": put("coef/0", 10**400),
    "coef deep": put("coef", json.loads("[" * 500 + "1.0" + "]" * 500)),
    "coef nested": put("coef/0", [1.0]),
    "coef null": put("coef/0", None),
    "coef list": put("coef", [1.0, 2.0]),
    "coef missing": put("coef/0", ...),
    "intercept NaN": put("intercept", float("nan")),
    "intercept null": put("intercept", None),
    "spread short": put("spread", [1.0]),
    "spread text": put("spread", "wide"),
    "features number": put("features", 3),
    "feature without levels": put("features/0/levels", ...),
    "reference text": put("features/1/reference", "first"),
    "level number": put("features/1/levels/0", 7),
    "levels text": put("features/1/levels", "pqr"),
    "one class": put("classes", ["a"]),
    "classes without type": put("classes", ["a", "b"]),
    "classes of endless width": lambda document: document.update(classes=["a", "b"], classes_dtype="<U1000000000"),
    "classes cut": lambda document: document.update(classes=["ab", "c"], classes_dtype="<U1"),
    "classes rounded": lambda document: document.update(classes=[0.5, 1.5], classes_dtype="<i8"),
    "classes text that says numbers": lambda document: document.update(classes=["1", "2"], classes_dtype="<i8"),
    "classes nested": lambda document: document.update(classes=[[1], [2]], classes_dtype="<i8"),
    "classes objects": lambda document: document.update(classes=["a", "b"], classes_dtype="|O"),
    "classes number": lambda document: document.update(classes=3, classes_dtype="<i8"),
    "type of classes null": lambda document: document.update(classes=[0.0, 1.0], classes_dtype=None),
    "target names of one row": put("target_names", ["y"]),
    "target names text": put("target_names", "y"),
    "rows text": put("rows", "many"),
    "redundant unknown": put("redundant", ["nobody"]),
    "redundant text": put("redundant", "x0"),
    "rows text that says a number": put("rows", "60"),
    "rows fractional": put("rows", 60.5),
    "rows infinite": put("rows", float("inf")),
    "loss NaN": put("loss", float("nan")),
    "message number": put("message", 3),
    "status unknown": put("status", "HAPPY"),
    "settings list": put("settings", []),
    "settings without loss": put("settings/loss", ...),
    "history list": put("history", []),
    "history empty": put("history", {key: [] for key in fastgd.History.__annotations__}),
    "history short": put("history/loss", []),
    "history without a column": put("history/accepted", ...),
    "history text": lambda document: put("history/loss", ["x"] * len(document["history"]["loss"]))(document),
}


def refused(path):
    with pytest.raises(ValueError) as error:
        fastgd.load(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_documents_are_refused(damage, signed, document, tmp_path):
    DAMAGES[damage](document)
    if signed:  # so that it is not just the checksum that tells
        document["checksum"] = checksum(document)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    refused(path)


RAW = {
    "empty": b"",
    "text": b"hello",
    "list": b"[]",
    "null": b"null",
    "not UTF-8": b"\xff\xfe{}",
    "deep": b"[" * 100_000,
    "long number": b'{"format": ' + b"1" * 5000 + b"}",
    "pickle": pickle.dumps({"a": 1}),
}


@pytest.mark.parametrize("content", RAW)
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "bad.json").write_bytes(RAW[content])
    refused(tmp_path / "bad.json")


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.999])
def test_truncated_files_are_refused(share, document, tmp_path):
    whole = (tmp_path / "good.json").read_bytes()
    assert document
    (tmp_path / "cut.json").write_bytes(whole[: int(share * len(whole))])
    refused(tmp_path / "cut.json")


def test_missing_files_and_folders_are_os_errors(tmp_path):
    _, model = MODELS["array"]()
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(OSError, match=str(path)):
            fastgd.load(path)
    with pytest.raises(OSError, match="none"):
        model.save(tmp_path / "none" / "model.json")
    with pytest.raises(OSError):
        model.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_survives_a_save_that_fails(tmp_path, monkeypatch):
    _, model = MODELS["array"]()
    path = tmp_path / "model.json"
    path.write_text("precious")

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space left"):
        model.save(path)
    assert path.read_text() == "precious" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
def test_saving_replaces_the_file_with_the_usual_permissions(kind, tmp_path):
    _, model = MODELS["array"]()
    path = tmp_path / "model.json"
    path.write_text("old")
    model.save(kind(path))
    assert same_bits(fastgd.load(kind(path)).coef, model.coef)
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_names_of_coefficients():
    _, model = MODELS["table"]()
    assert model.coef_names == ["größe", 'kind[q/"\\]', "kind[r\n]", "b"]
    assert MODELS["array"]()[1].coef_names == ["x0", "x1", "x2"]
    assert "squared loss" in repr(model) and "4 coefficients, 60 rows" in repr(model)


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e999"])
def test_numbers_that_are_not_jsons_are_refused(number, tmp_path, rng):
    X = rng.standard_normal((30, 2))
    fastgd.fit(X, X[:, 0], l2=0.5).save(tmp_path / "model.json")
    text = (tmp_path / "model.json").read_text(encoding="utf-8")
    (tmp_path / "model.json").write_text(text.replace('"l2": 0.5', f'"l2": {number}'), encoding="utf-8")
    with pytest.raises(ValueError, match=f"is not a fastgd model: {number} is no finite number"):
        fastgd.load(tmp_path / "model.json")
