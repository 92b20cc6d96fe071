"""`fastgd fit --l1` and `--path`: the numbers of `fastgd.fit` and `fastgd.path`, zeros counted, one clear error."""

import re

import numpy as np
import pandas as pd
import pytest
from internals import main
from pyarrow import csv, parquet

import fastgd

N, D = 400, 12
NAMES = [f"c{j}" for j in range(D)]


def samples():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((N, D)), columns=NAMES)
    frame["kind"] = rng.choice(["u", "v", "w"], N)
    frame["y"] = 2.0 * frame["c0"] - frame["c1"] + (frame["kind"] == "v") + rng.standard_normal(N)
    frame["late"] = np.where(frame["y"] + rng.logistic(size=N) > 0.0, "yes", "no")
    return frame


FRAME = samples()
LINEAR = FRAME.drop(columns="late")
CLASSES = FRAME.drop(columns="y")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("selection")
    LINEAR.to_csv(folder / "t.csv", index=False)
    CLASSES.to_parquet(folder / "c.parquet", index=False)
    return folder


def run(capsys, *arguments):
    code = main([*map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_l1_fits_the_model_of_fit_and_counts_zeros(folder, tmp_path, capsys):
    given = ["fit", folder / "t.csv", "--target", "y", "--l1", "0.3", "--l2", "0.1", "--output", tmp_path / "m.json"]
    code, out, err = run(capsys, *given)
    expected = fastgd.fit(LINEAR, target="y", l1=0.3, l2=0.1)
    model = fastgd.load(tmp_path / "m.json")
    assert code == 0 and err == ""
    np.testing.assert_allclose(model.coef, expected.coef, atol=1e-6)
    zeros = int(np.count_nonzero(model.coef == 0.0))
    assert zeros > 5 and f"14, of which {zeros} are 0" in out and f"\n{zeros} are 0\n" in out
    assert "duality gap" in out and "standard errors" not in out
    table = out[out.index("largest coefficients") :]
    listed = re.findall(r"^(c\d+|kind\[\w\]) ", table, flags=re.MULTILINE)
    assert sorted(listed) == sorted(model.nonzero_names)


def test_positive(folder, tmp_path, capsys):
    given = ["fit", folder / "t.csv", "--target", "y", "--positive", "--output", tmp_path / "m.json"]
    code, out, _ = run(capsys, *given)
    coef = fastgd.load(tmp_path / "m.json").coef
    assert code == 0 and (coef >= 0.0).all() and coef[1] == 0.0
    assert f"of which {np.count_nonzero(coef == 0.0)} are 0" in out


def test_a_penalty_that_leaves_nothing(folder, tmp_path, capsys):
    given = ["fit", folder / "t.csv", "--target", "y", "--l1", "100", "--report", tmp_path / "r.html"]
    code, out, err = run(capsys, *given)
    assert code == 0 and err == "" and "the penalty has left no coefficient" in out
    assert "14 others are 0" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_the_report_lists_what_is_not_0(folder, tmp_path, capsys):
    report = tmp_path / "r.html"
    given = ["fit", folder / "c.parquet", "--target", "late", "--model", "logistic", "--l1", "0.05", "--report", report]
    assert run(capsys, *given)[0] == 0
    model, page = fastgd.fit(CLASSES, target="late", loss="logistic", l1=0.05), report.read_text(encoding="utf-8")
    zeros = model.coef.size - len(model.nonzero)
    assert f"{zeros} others are 0" in page and "duality gap" in page
    for name in model.coef_names:
        assert (f"<td>{name}</td>" in page) == (name in model.nonzero_names)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_path_is_written_as_a_table_and_drawn(suffix, folder, tmp_path, capsys):
    table, picture = tmp_path / f"coefficients.{suffix}", tmp_path / "path.png"
    given = ["fit", folder / "c.parquet", "--target", "late", "--model", "logistic", "--l1-ratio", "0.8"]
    code, out, err = run(
        capsys, *given, "--n-penalties", "30", "--eps", "0.01", "--path", table, "--plot", picture, "--all-levels"
    )
    options = {"l1_ratio": 0.8, "n_penalties": 30, "eps": 0.01, "drop_first": False}
    expected = fastgd.path(CLASSES, target="late", loss="logistic", **options)
    written = csv.read_csv(table) if suffix == "csv" else parquet.read_table(table)
    assert code == 0 and err == ""
    assert written.column_names == [*expected.to_dict()]
    np.testing.assert_allclose(written["penalty"], expected.penalties, rtol=1e-9)
    np.testing.assert_allclose(written["c0"], expected.coef[:, 0], atol=1e-4)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "first in: c0, " in out and f"wrote {table}" in out and f"wrote {picture}" in out
    lines = re.findall(r"^ *[\d.e-]+ +(\d+) +[\d.]+ +-?[\d.]+ % +[\d.e-]+$", out, flags=re.MULTILINE)
    assert len(lines) == 12 and int(lines[0]) == 0 and int(lines[-1]) == expected.nonzero[-1]


def test_arrays_have_a_path_too(tmp_path, capsys):
    np.save(tmp_path / "X.npy", LINEAR[NAMES].to_numpy())
    np.save(tmp_path / "y.npy", LINEAR["y"].to_numpy())
    given = ["fit", tmp_path / "X.npy", "--target", tmp_path / "y.npy", "--path", tmp_path / "p.csv", "--positive"]
    code, out, err = run(capsys, *given)
    written = csv.read_csv(tmp_path / "p.csv").to_pandas()
    assert (code, err) == (0, "") and len(written) == 100 and "first in: x0" in out
    assert (written[[f"x{j}" for j in range(D)]].to_numpy() >= 0.0).all()


def test_a_path_that_did_not_converge_is_written_and_said(folder, tmp_path, capsys):
    given = ["fit", folder / "c.parquet", "--target", "late", "--model", "logistic", "--path", tmp_path / "p.csv"]
    code, out, err = run(capsys, *given, "--max-iter", "0", "--tol", "1e-12")
    assert code == 1 and "wrote" in out and (tmp_path / "p.csv").exists()
    assert re.match(r"fastgd: \d+ of 100 penalties have not converged; the first: Stopped at --max-iter", err)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--path", "p.csv", "--l1", "0.1"], "--l1: --path has many penalties"),
        (["--path", "p.csv", "--l2", "0.1"], "--l2: --path has many penalties"),
        (["--path", "p.csv", "--output", "m.json"], "--output: --path has a model for each penalty"),
        (["--path", "p.csv", "--summary"], "--summary: coefficients that a penalty chose"),
        (["--path", "p.csv", "--solver", "gd"], "--solver: --path has its own solver"),
        (["--path", "p.csv", "--checkpoint", "c"], "--checkpoint: --path keeps no checkpoint"),
        (["--path", "p.csv", "--l1-ratio", "1.5"], "1.5 is not a number from 0 to 1"),
        (["--path", "p.csv", "--eps", "1"], "1 is not a number between 0 and 1"),
        (["--l1-ratio", "0.5"], "--l1-ratio belongs to a path: give --path"),
        (["--plot", "p.png"], "--plot belongs to a path"),
        (["--n-penalties", "5", "--l1", "1"], "--n-penalties belongs to a path"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(options, words, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["fit", str(folder / "t.csv"), "--target", "y", *options])
    assert ended.value.code == 2 and words in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--path", "p.txt"], r"p\.txt: a name ending in \.csv or \.parquet"),
        (["--path", "p.csv", "--plot", "p.jpg"], r"p\.jpg: a name ending in one of \.png"),
        (["--path", "p.csv", "--plot", "none/p.png"], "none"),
        (["--l1", "1", "--solver", "lbfgs"], "lbfgs.*smooth penalty"),
        (["--l1", "1", "--summary"], "no standard errors"),
        (["--all-levels"], "give --l2, too"),
    ],
)
def test_what_cannot_be_done_is_one_line(options, words, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, "fit", folder / "t.csv", "--target", "y", *options)
    assert code == 1 and err.count("\n") == 1 and re.search(words, err)
    assert not [*tmp_path.iterdir()]


def test_files_that_are_written_differ_from_each_other_and_from_the_data(folder, capsys):
    given = ["fit", folder / "t.csv", "--target", "y", "--path", folder / "t.csv"]
    code, _, err = run(capsys, *given)
    assert code == 1 and "are the same file" in err
