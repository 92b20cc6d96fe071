"""The command line, end to end on real flights: same model from every file, exit codes, one clear line for errors."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from internals import flights_demo, main, patch, print_error
from pyarrow import csv, parquet

import fastgd
from fastgd import load


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
    """A folder with the first 40,000 flights as CSV and Parquet."""
    folder = tmp_path_factory.mktemp("flights")
    data = flights_demo.flights()
    table = pa.table({**data.table[:40_000], "late": data.late[:40_000]})
    csv.write_csv(table, folder / "flights.csv")
    parquet.write_table(table, folder / "flights.parquet")
    return folder


def fit_arguments(folder, suffix, output):
    return [
        *("fit", str(folder / f"flights.{suffix}"), "--target", "late", "--model", "logistic"),
        *("--l2", "1e-6", "--output", str(output)),
    ]


def test_csv_and_parquet_give_the_same_model_and_predictions(flights, tmp_path, capsys):
    predictions = []
    for suffix in ("csv", "parquet"):
        model, output = tmp_path / f"{suffix}.json", tmp_path / f"predictions.{suffix}"
        assert main(fit_arguments(flights, suffix, model)) == 0
        assert main(["predict", str(model), str(flights / f"flights.{suffix}"), "--output", str(output)]) == 0
        table = csv.read_csv(output) if suffix == "csv" else parquet.read_table(output)
        predictions.append(np.asarray(table["probability"]))
    printed = capsys.readouterr()
    first, second = load(tmp_path / "csv.json"), load(tmp_path / "parquet.json")
    assert first.coef_names == second.coef_names
    assert "carrier[UA]" in first.coef_names
    assert (first.coef == second.coef).all()
    assert first.intercept == second.intercept
    assert (predictions[0] == predictions[1]).all()
    assert printed.err == ""  # no progress bar where there is no terminal
    for text in ("40,000", "Converged", "passes", "rows/s", "month["):
        assert text in printed.out


def test_folders_are_predicted_chunk_by_chunk_in_the_order_of_their_files(flights, tmp_path, capsys, monkeypatch):
    model, parts = tmp_path / "model.json", tmp_path / "parts"
    assert main(fit_arguments(flights, "parquet", model)) == 0
    whole = parquet.read_table(flights / "flights.parquet")
    for year, (start, stop) in enumerate([(0, 25_000), (25_000, 25_000), (25_000, 40_000)]):
        folder = parts / f"year={year}"
        folder.mkdir(parents=True)
        parquet.write_table(whole.slice(start, stop - start), folder / "part.parquet")
    expected = load(model).predict_proba(whole)[:, 1]
    patch(monkeypatch, "chunk_rows", 7_000)
    for given in ([str(parts)], [str(parts / "year=0"), str(parts / "*=[12]" / "*.parquet")]):
        for output in (tmp_path / "predictions.csv", tmp_path / "predictions.parquet"):
            assert main(["predict", str(model), *given, "--output", str(output)]) == 0
            assert "wrote 40,000 predictions" in capsys.readouterr().out
            table = csv.read_csv(output) if output.suffix == ".csv" else parquet.read_table(output)
            np.testing.assert_array_equal(table["probability"], expected)
    unknown = pa.array(["UA"] * 39_000 + ["??"] * 1_000)
    (parts / "year=3").mkdir()
    bad = whole.set_column(whole.schema.get_field_index("carrier"), "carrier", unknown)
    parquet.write_table(bad, parts / "year=3" / "bad.parquet")
    before = output.read_bytes()
    assert main(["predict", str(model), str(parts), "--output", str(output)]) == 1
    assert "bad.parquet, from row 35000: X: column carrier has levels" in capsys.readouterr().err
    assert output.read_bytes() == before
    empty = tmp_path / "empty.parquet"
    parquet.write_table(whole.slice(0, 0), empty)
    assert main(["predict", str(model), str(empty), "--output", str(output)]) == 1
    assert capsys.readouterr().err == f"fastgd: {empty}: no rows\n"
    assert output.read_bytes() == before


def test_coefficients_are_scikit_learns(flights, tmp_path):
    from sklearn.linear_model import LogisticRegression

    model_file = tmp_path / "model.json"
    assert main([*fit_arguments(flights, "csv", model_file), "--tol", "1e-11"]) == 0
    model = load(model_file)
    table = csv.read_csv(flights / "flights.csv")
    X = np.column_stack(
        [
            np.asarray(table[feature.name]).astype(str) == level
            for feature in model.features
            if feature.levels
            for level in feature.levels[1:]
        ]
        + [np.asarray(table[name], dtype=float) for name in flights_demo.NUMERIC]
    ).astype(float)
    rival = LogisticRegression(C=1.0 / (1e-6 * len(X)), solver="newton-cholesky", tol=1e-12, max_iter=1000)
    rival.fit(X, np.asarray(table["late"]))
    np.testing.assert_allclose(model.coef, rival.coef_[0], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(model.intercept, rival.intercept_[0], rtol=1e-6)


def test_demo_prints_held_out_scores_and_writes_its_files(tmp_path, capsys):
    plot, export = tmp_path / "loss.png", tmp_path / "flights.parquet"
    assert main(["demo", "--plot", str(plot), "--export", str(export)]) == 0
    printed = capsys.readouterr().out
    scores = {line.rsplit(maxsplit=2)[0]: line.split()[-2:] for line in printed.splitlines() if "0." in line}
    model_loss, base_loss = map(float, scores["log loss"])
    auc, base_auc = map(float, scores["AUC"])
    assert model_loss < base_loss - 0.03
    assert auc > 0.67 > base_auc == 0.5
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert parquet.read_table(export).num_rows == 327_346
    assert sorted(file.name for file in tmp_path.iterdir()) == ["flights.parquet", "loss.png"]


def test_doctor(capsys):
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for text in ("numba", "threading layer", "kernel cache", "memory read", "of reading"):
        assert text in printed


def test_linear_model_options_and_array_free_prediction(tmp_path, capsys):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 3))
    columns = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "y": X @ [1.0, -2.0, 0.5] + 3.0}
    csv.write_csv(pa.table(columns), tmp_path / "data.csv")
    model, output = tmp_path / "model.json", tmp_path / "predictions.csv"
    options = ["--solver", "gd", "--learning-rate", "0.3", "--features", "c,a", "--no-intercept", "--threads", "1"]
    arguments = ["fit", str(tmp_path / "data.csv"), "--target", "y", *options, "--output", str(model)]
    assert main(arguments) == 0
    fitted = load(model)
    assert fitted.coef_names == ["c", "a"]
    expected = np.linalg.lstsq(X[:, [2, 0]], columns["y"], rcond=None)[0]
    np.testing.assert_allclose(fitted.coef, expected, rtol=1e-5)
    assert fitted.settings["learning_rate"] == 0.3
    assert main(["predict", str(model), str(tmp_path / "data.csv"), "--output", str(output)]) == 0
    np.testing.assert_allclose(np.asarray(csv.read_csv(output)["prediction"]), X[:, [2, 0]] @ fitted.coef, rtol=1e-12)
    capsys.readouterr()


def test_missing_values_are_named_and_can_be_dropped(tmp_path, capsys):
    (tmp_path / "data.csv").write_text("a,b,y\n1,2,3\n4,,6\n7,8,9.5\n2,1,0\n")
    data, model, output = (tmp_path / name for name in ("data.csv", "model.json", "predictions.csv"))
    arguments = ["fit", str(data), "--target", "y", "--l2", "0.1", "--output", str(model)]
    assert main(arguments) == 1
    assert "b (1, the first in row 1)" in capsys.readouterr().err
    assert main([*arguments, "--drop-missing"]) == 0
    assert "left out 1 of 4 rows" in capsys.readouterr().out
    assert main(["predict", str(model), str(data), "--output", str(output)]) == 1
    assert "b (1, the first in row 1); fill them in or drop the rows" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "fragment"),
    [
        (["fit", "nowhere.csv", "--target", "y"], 1, "nowhere.csv: no such file"),
        (["fit", "{folder}/flights.csv", "--target", "nil"], 1, "target nil: "),
        (
            ["fit", "{folder}/flights.csv", "--target", "late", "--categorical", "month,origin"],
            1,
            "X has columns that are not numbers: weekday (string), carrier (string); name those of text as categorical",
        ),
        (["fit", "{folder}/flights.csv", "--target", "late", "--all-levels"], 1, "--all-levels: without a penalty"),
        (["fit", "{folder}/flights.csv", "--target", "late", "--categorical", "year"], 1, "categorical year: no such"),
        (["fit", "{folder}/flights.csv", "--target", "late", "--features", "hour,nil"], 1, "has no column nil"),
        (["fit", "{folder}/flights.csv", "--target", "late", "--features", "late"], 1, "late is the target"),
        (["fit", "{folder}/flights.csv", "--target", "origin", "--features", "hour"], 1, "--target origin: not"),
        (["fit", "{folder}/flights.csv", "--target", "late", "--output", "/nowhere/m.json"], 1, "no folder /nowhere"),
        (
            [
                "fit",
                "{folder}/flights.csv",
                "--target",
                "late",
                "--features",
                "hour",
                "--solver",
                "lbfgs",
                "--max-iter",
                "0",
            ],
            1,
            "Stopped at --max-iter",
        ),
        (["fit", "{folder}/flights.xls", "--target", "late"], 1, "flights.xls"),
        (["fit", "{folder}/empty.csv", "--target", "late"], 1, "empty.csv"),
        (["fit", "{folder}/bad.parquet", "--target", "late"], 1, "bad.parquet"),
        (["predict", "{folder}/flights.parquet", "{folder}/flights.csv", "--output", "x.csv"], 1, "not a fastgd model"),
        (["predict", "{folder}/none.json", "{folder}/flights.csv", "--output", "{folder}/x.csv"], 1, "none.json"),
        (["demo", "--plot", "/nowhere/x.png"], 1, "no folder /nowhere"),
        (["fit", "data.csv"], 2, "--target"),
        (["fit", "data.csv", "--target", "y", "--solver", "adam"], 2, "adam"),
        ([], 2, "fit | predict"),
    ],
)
def test_errors_are_one_clear_line(flights, arguments, code, fragment, capsys):
    (flights / "empty.csv").write_text("")
    (flights / "bad.parquet").write_text("not parquet")
    (flights / "flights.xls").write_text("")
    arguments = [argument.format(folder=flights) for argument in arguments]
    if code == 2:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    else:
        assert main(arguments) == code
    printed = capsys.readouterr().err
    assert fragment in printed
    if code == 1:
        assert printed.startswith("fastgd: ")
        assert printed.count("\n") == 1
    assert "Traceback" not in printed


def test_the_command_is_installed_and_models_hold_only_data(flights, tmp_path):
    model = tmp_path / "model.json"
    done = subprocess.run(
        [sys.executable, "-m", "fastgd", *fit_arguments(flights, "parquet", model)],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(model.read_text())["status"] == "CONVERGED"


def test_text_without_value_is_missing_in_every_format(tmp_path, capsys):
    (tmp_path / "data.csv").write_text("c,y\nAA,1\nUA,2\n,3\nAA,4\n")
    parquet.write_table(pa.table({"c": ["AA", "UA", None, "AA"], "y": [1, 2, 3, 4]}), tmp_path / "null.parquet")
    parquet.write_table(pa.table({"c": [1.0, 2.0, float("nan"), 1.0], "y": [1, 2, 3, 4]}), tmp_path / "nan.parquet")
    for name in ("data.csv", "null.parquet", "nan.parquet"):
        arguments = ["fit", str(tmp_path / name), "--target", "y", "--categorical", "c"]
        assert main(arguments) == 1
        assert "c (1, the first in row 2)" in capsys.readouterr().err
        assert main([*arguments, "--drop-missing"]) == 0
        assert "left out 1 of 4 rows" in capsys.readouterr().out


def test_levels_are_in_the_same_order_from_every_format(tmp_path):
    levels = ["10", "2", "30"] * 20
    y = [4.07, 2.07, 1.0] * 20
    csv.write_csv(pa.table({"c": [int(level) for level in levels], "y": y}), tmp_path / "data.csv")
    parquet.write_table(pa.table({"c": levels, "y": y}), tmp_path / "data.parquet")
    for suffix in ("csv", "parquet"):
        arguments = ["fit", str(tmp_path / f"data.{suffix}"), "--target", "y", "--categorical", "c"]
        assert main([*arguments, "--output", str(tmp_path / f"{suffix}.json")]) == 0
    first, second = load(tmp_path / "csv.json"), load(tmp_path / "parquet.json")
    assert first.features[0].levels == second.features[0].levels == ("2", "10", "30")
    assert (first.coef == second.coef).all()


@pytest.mark.parametrize(
    ("content", "fragment"),
    [(b"a,a,y\n1,2,3\n", "several columns of the same name: a"), (b"a,y\n", "no rows"), (b"\xe9,y\n1,2\n", "data.csv")],
)
def test_odd_files_are_refused_by_name(tmp_path, content, fragment, capsys):
    (tmp_path / "data.csv").write_bytes(content)
    assert main(["fit", str(tmp_path / "data.csv"), "--target", "y"]) == 1
    printed = capsys.readouterr().err
    assert fragment in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    "options", [["--l2", "-1"], ["--features", ","], ["--learning-rate", "0.1"], ["--threads", "0"], ["--tol", "nan"]]
)
def test_options_out_of_range_are_usage_errors(options, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["fit", "data.csv", "--target", "y", *options])
    assert caught.value.code == 2
    assert "fastgd" in capsys.readouterr().err


def test_output_through_links_and_pipes(flights, tmp_path, capsys):
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    assert main([*fit_arguments(flights, "parquet", tmp_path / "link.json")]) == 0
    assert (tmp_path / "link.json").is_symlink()
    assert load(tmp_path / "real.json").converged
    assert main(["predict", str(tmp_path / "real.json"), str(flights / "flights.csv"), "--output", "x.csv.gz"]) == 1
    assert ".csv or .parquet" in capsys.readouterr().err
    assert main([*fit_arguments(flights, "parquet", "/dev/null")]) == 0
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("kind", ["npy", "libsvm"])
def test_files_without_named_columns_are_fitted_and_predicted(kind, tmp_path, capsys, rng):
    from sklearn.datasets import dump_svmlight_file

    X = rng.standard_normal((500, 4))
    y = (X @ [1.0, -2.0, 0.5, 0.0] + rng.logistic(size=500) > 0.0).astype(float)
    model, output = tmp_path / "model.json", tmp_path / "predictions.parquet"
    if kind == "npy":
        np.save(tmp_path / "X.npy", X)
        np.save(tmp_path / "y.npy", y)
        given, more = tmp_path / "X.npy", ["--target", str(tmp_path / "y.npy")]
    else:
        dump_svmlight_file(X[:300], y[:300], str(tmp_path / "0.svm"), zero_based=False)
        dump_svmlight_file(X[300:], y[300:], str(tmp_path / "1.svm"), zero_based=False)
        given, more = tmp_path / "*.svm", []
    assert main(["fit", str(given), *more, "--model", "logistic", "--tol", "1e-10", "--output", str(model)]) == 0
    expected = fastgd.fit(X, y, loss="logistic", tol=1e-10)
    if kind == "libsvm":
        options = ["--model", "logistic", "--tol", "1e-10", "--cache", "disk", "--output", str(model)]
        assert main(["fit", str(given), *options]) == 0
        assert load(model).settings["cached"].startswith("in a spill file")
    else:
        assert main(["fit", str(given), *more, "--cache", "disk"]) == 1
        assert "cache='disk': that is for data that are streamed" in capsys.readouterr().err
    np.testing.assert_allclose(load(model).coef, expected.coef, rtol=1e-8, atol=1e-10)
    assert main(["predict", str(model), str(given), "--output", str(output)]) == 0
    np.testing.assert_allclose(parquet.read_table(output)["probability"], expected.predict_proba(X)[:, 1], rtol=1e-8)
    capsys.readouterr()
    refused = {
        "--features a": "--features is for files with named columns: Parquet, CSV or Arrow",
        "--report r.html": "--report is for files with named columns: Parquet, CSV or Arrow",
        "--target z": "--target" + (": the .npy file of " if kind == "npy" else " z: it is in the files"),
    }
    for arguments, message in refused.items():
        assert main(["fit", str(given), *more, *arguments.split()]) == 1
        assert capsys.readouterr().err.startswith(f"fastgd: {message}")


ENCODINGS = {"cp1252": "\\u6570\\u91cf \\U0001f680 é", "ascii": "\\u6570\\u91cf \\U0001f680 \\xe9"}
ENCODINGS |= {"latin-1": ENCODINGS["cp1252"], "utf-8": "数量 🚀 é"}
"""How a name is printed by each encoding."""


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A folder with data, a model of them and their report, all with names in Chinese."""
    folder = tmp_path_factory.mktemp("foreign")
    lines = [f"{k},{'甲乙丙'[k % 3]},{2 * k + k % 3}" for k in range(50)]
    (folder / "数据 é.csv").write_text("\n".join(["数量 🚀 é,种类,y", *lines]), encoding="utf-8")
    assert main(["fit", str(folder / "数据 é.csv"), "--target", "y", "--output", str(folder / "模型.json")]) == 0
    return folder


def run(arguments, folder, **options):
    """Run a command in a process whose encodings are not UTF-8 by themselves."""
    environment = {**os.environ, "PYTHONUTF8": "0", "LC_ALL": "C.UTF-8", **options.pop("env", {})}
    command = [sys.executable, "-m", "fastgd", *arguments]
    return subprocess.run(
        command,
        **{"stdout": subprocess.PIPE, **options},
        stderr=subprocess.PIPE,
        env=environment,
        cwd=folder,
        timeout=900,
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("command", ["fit", "predict"])
def test_names_that_an_encoding_lacks_are_printed_as_escapes(foreign, tmp_path, command, encoding):
    output = tmp_path / f"{encoding} 新.{'json' if command == 'fit' else 'csv'}"
    arguments = {"fit": ["数据 é.csv", "--target", "y"], "predict": ["模型.json", "数据 é.csv"]}[command]
    env = {"PYTHONIOENCODING": encoding}
    done = run([command, *arguments, "--output", str(output)], foreign, env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    printed = done.stdout.decode(encoding)
    named = str(output) if encoding == "utf-8" else str(output).replace("新", "\\u65b0")
    assert printed.endswith(f"{'wrote' if command == 'fit' else 'wrote 50 predictions to'} {named}{os.linesep}")
    if command == "fit":
        assert ENCODINGS[encoding] in printed
        assert load(output).coef_names == load(foreign / "模型.json").coef_names
        return
    assert csv.read_csv(output).num_rows == 50
    failed = run([command, "无.csv", *arguments, "--output", str(output)], foreign, env=env)
    assert failed.returncode == 1 and failed.stderr.startswith(b"fastgd: ") and failed.stderr.count(b"\n") == 1
    assert ("无" if encoding == "utf-8" else "\\u65e0") in failed.stderr.decode(encoding)


def test_a_closed_pipe_does_not_cost_what_was_fitted(foreign, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    files = ["--output", str(tmp_path / "m.json"), "--report", str(tmp_path / "r.html")]
    done = run(["fit", "数据 é.csv", "--target", "y", "--features", "种类", *files], foreign, stdout=writing)
    predict = ["predict", str(tmp_path / "m.json"), "数据 é.csv", "--output", str(tmp_path / "p.csv")]
    predicted = run(predict, foreign, stdout=writing)
    os.close(writing)
    for each in (done, predicted):
        assert (each.returncode, each.stderr) == (1, b"fastgd: standard output: Broken pipe\n")
    assert load(tmp_path / "m.json").rows == csv.read_csv(tmp_path / "p.csv").num_rows == 50
    assert (tmp_path / "r.html").read_text(encoding="utf-8").rstrip().endswith("</html>")


@pytest.mark.parametrize("closed", [">&- 2>&-", *["2>/dev/full"] * os.path.exists("/dev/full")])
def test_streams_that_are_closed_or_full_before_the_command_begins(foreign, closed, tmp_path):
    command = f'"$0" -m fastgd fit *.csv --target y --output "$1/m.json" {closed}'
    shell = ["/bin/sh", "-c", command, sys.executable, str(tmp_path)]
    assert subprocess.run(shell, cwd=foreign, capture_output=True, timeout=900).returncode == 0
    assert load(tmp_path / "m.json").converged
    failed = [*shell[:2], command.replace("--target y", "--target 无"), *shell[3:]]
    done = subprocess.run(failed, cwd=foreign, capture_output=True, timeout=900)
    assert done.returncode == 1 and done.stdout == b"" and (b"fastgd: " in done.stderr) == ("2" not in closed)


class Broken(io.StringIO):
    """A stream that fails, or is closed."""

    encoding = "ascii"

    def write(self, _):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("stream", [None, "closed", "broken"])
def test_errors_that_cannot_be_printed_raise_none(monkeypatch, stream):
    broken = None if stream is None else Broken()
    if stream == "closed":
        broken.close()
    monkeypatch.setattr(sys, "stderr", broken)
    print_error(ValueError("数据"))
    assert main(["guide", "nothing"]) == 1
    monkeypatch.setattr(sys, "stdout", broken)
    assert main(["guide", "sparse"]) == (stream is not None)


@pytest.mark.parametrize(
    "error", [OSError("no room"), ValueError("no ink"), MemoryError("no memory"), KeyboardInterrupt]
)
def test_a_report_that_fails_costs_nothing_else(foreign, tmp_path, error, monkeypatch, capsys):
    def fail(*_, **__):
        raise error

    patch(monkeypatch, "report_page", fail)
    files = ["--output", str(tmp_path / "m.json"), "--report", str(tmp_path / "r.html")]
    code = main(["fit", str(foreign / "数据 é.csv"), "--target", "y", "--features", "种类", *files])
    printed = capsys.readouterr()
    assert code == (130 if error is KeyboardInterrupt else 1) and load(tmp_path / "m.json").converged
    assert printed.err == f"fastgd: {'interrupted' if error is KeyboardInterrupt else error}\n"
    assert "largest coefficients" in printed.out and printed.out.endswith(f"\nwrote {tmp_path / 'm.json'}\n")
