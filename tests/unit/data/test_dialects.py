"""CSV as the world writes it: the options of pandas give what pandas reads."""

import gzip
import re
import zipfile

import numpy as np
import pandas as pd
import pytest
from internals import main

import fastgd
from fastgd.io import Files

N = 60
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "a": RNG.standard_normal(N).round(3),
        "name": RNG.choice(["Zoë", "Örs", "Ann Lee"], N),
        "y": RNG.standard_normal(N).round(3),
    }
)
SEPARATORS = [",", ";", "\t", "|", r"\s+"]
DECIMALS = [".", ","]
ENCODINGS = ["utf-8", "latin-1", "utf-16", "cp1252"]


def arguments(options):
    """Return the options of the command line for those of `Files`."""
    flags = {"header": ["--no-header"], "quoting": ["--no-quotes"], "keep_default_na": ["--no-default-na"]}
    words = []
    for name, value in options.items():
        text = ",".join(value) if isinstance(value, list) else str(value)
        words += flags.get(name) or [f"--{name.replace('_', '-')}={text}"]
    return words


@pytest.mark.parametrize("header", ["infer", None])
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("decimal", DECIMALS)
@pytest.mark.parametrize("sep", SEPARATORS)
def test_every_dialect_is_what_pandas_reads(sep, decimal, encoding, header, tmp_path, capsys):
    if sep == r"\s+" and encoding == "utf-16":
        with pytest.raises(ValueError, match="spaces are looked for in bytes, which utf-16 does not have"):
            Files(tmp_path, "y", sep=sep, encoding=encoding)
        return
    path = str(tmp_path / "t.csv")
    options = {"sep": sep, "decimal": decimal, "encoding": encoding, "header": header}
    written = {**options, "sep": " " if sep == r"\s+" else sep, "header": header == "infer"}
    FRAME.to_csv(path, index=False, **written)
    names = ["a", "name", "y"] if header == "infer" else ["0", "1", "2"]
    if sep == decimal:
        FRAME.to_csv(path, index=False, sep=sep, decimal=decimal, quoting=2)
        with pytest.raises(ValueError, match="is the decimal point, too; they must differ"):
            Files(path, "y", sep=sep, decimal=decimal)
        return
    read = pd.read_csv(path, **options)
    want = fastgd.fit(read.rename(columns=str)[names[:2]], read[read.columns[2]])
    got = fastgd.fit(Files(path, names[2], **options))
    assert got.coef_names == want.coef_names
    np.testing.assert_allclose(got.coef, want.coef, rtol=1e-9)
    given = {name: value for name, value in options.items() if value != "infer"}
    model, output = str(tmp_path / "m.json"), str(tmp_path / "o.parquet")
    assert main(["fit", path, "--target", names[2], *arguments(given), "--output", model]) == 0
    assert main(["predict", model, path, *arguments(given), "--output", output]) == 0
    np.testing.assert_allclose(pd.read_parquet(output)["prediction"], got.predict(read.rename(columns=str)), atol=1e-9)
    capsys.readouterr()


MARKS = ["", "NA", "NaN", "nan", "null", "NULL", "None", "N/A", "n/a", "<NA>", "#N/A", "?", "-999", "missing"]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("more", [[], ["?"], ["-999", "missing"]])
@pytest.mark.parametrize("mark", MARKS)
def test_missing_values_are_those_of_pandas(mark, more, keep, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,y\n" + "".join(f"{mark if k == 7 else k},{k % 5}\n" for k in range(30)))
    options = {"na_values": more, "keep_default_na": keep}
    read = pd.read_csv(path, **options)["a"]
    missing = bool(read.isna()[7]) or mark == ""  # without its defaults, pandas has empty text as text
    files = Files(path, "y", **options)
    if missing:
        got = fastgd.fit(files, missing="drop")
        assert (got.rows, got.dropped) == (29, 1)
        with pytest.raises(ValueError, match=r"X has missing values: a \(1, the first in row 7\)"):
            fastgd.fit(Files(path, "y", **options))
    elif mark == "-999":
        assert fastgd.fit(files).rows == 30
    else:
        said = "X contains NaN in row 7" if mark.lower() == "nan" else f"'{re.escape(mark)}' in row 7"
        with pytest.raises(ValueError, match=said):
            fastgd.fit(files)


@pytest.mark.parametrize("packed", ["gz", "zip", "bz2", "zst", "plain"])
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_packed_files_and_tabs(ending, packed, tmp_path, capsys):
    name = f"t.{ending}" if packed == "plain" else f"t.{ending}.{packed}"
    if packed == "zst":
        import pyarrow as pa

        with pa.CompressedOutputStream(str(tmp_path / name), "zstd") as file:
            file.write(FRAME.to_csv(index=False, sep="\t" if ending == "tsv" else ",").encode())
    else:
        FRAME.to_csv(tmp_path / name, index=False, sep="\t" if ending == "tsv" else ",")
    want = fastgd.fit(FRAME[["a", "name"]], FRAME["y"])
    np.testing.assert_allclose(fastgd.fit(tmp_path / name, target="y").coef, want.coef, rtol=1e-9)
    assert main(["fit", str(tmp_path / name), "--target", "y"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("given", [-999, [-999], "-999", ["-999.0", "x"]])
@pytest.mark.parametrize("written", ["-999", "-999.0", "-999.00"])
def test_numbers_stand_for_missing_values_however_they_are_written(written, given, tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{written if k == 7 else k + 0.5},{k}\n" for k in range(30)))
    assert fastgd.fit(Files(tmp_path / "t.csv", "y", na_values=given), missing="drop").dropped == 1


def test_copies_of_what_is_unpacked_are_removed(tmp_path, monkeypatch, run_python):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    FRAME.to_csv(tmp_path / "t.csv.zip", index=False)
    files = Files(tmp_path / "t.csv.zip", "y")
    assert len(list((tmp_path / "tmp").iterdir())) == 1
    del files
    assert not list((tmp_path / "tmp").iterdir())
    code = "import sys, fastgd.io; fastgd.io.Files(sys.argv[1], 'y')"
    run_python(code, tmp_path / "t.csv.zip")
    assert not list((tmp_path / "tmp").iterdir())


def test_archives_of_several_files_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.csv.zip", "w") as archive:
        archive.writestr("a.csv", "a,y\n1,2\n")
        archive.writestr("b.csv", "a,y\n1,2\n")
    with pytest.raises(ValueError, match=r"t\.csv\.zip: has 2 files; one is needed, so unpack it"):
        fastgd.fit(tmp_path / "t.csv.zip", target="y")
    (tmp_path / "u.csv.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(ValueError, match=r"u\.csv\.zip: "):
        fastgd.fit(tmp_path / "u.csv.zip", target="y")


def test_quotes_may_be_text(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('size,a,y\n5",1,2\n7",2,3\n5",3,5\n7",4,4\n')
    got = fastgd.fit(Files(path, "y", quoting=3))
    assert got.coef_names == ['size[7"]', "a"]
    path.write_text('size,a,y\n"5 inch",1,2\n' + "7,2,3\n" * 10 + '"never closed,3,5\n' + "7,4,4\n" * 10)
    with pytest.raises(ValueError, match=r"t\.csv: "):
        fastgd.fit(path, target="y")


HEADERS = [
    ("a;b;y\n1;2;3\n4;5;6\n", {}, r"has no ',': give sep=';'"),
    ("a\tb\ty\n1\t2\t3\n", {}, r"has no ',': give sep='\\t'"),
    ("a|b|y\n1|2|3\n", {}, r"has no ',': give sep='\|'"),
    ("a b  y\n1 2 3\n4 5  6\n", {}, r"has no ',': give sep='\\\\s\+'"),
    (
        "1.5,2,3\n4,5,6\n7,8,1\n",
        {},
        "the first line is numbers: 1.5, 2, 3; if it is no line of names, give header=None",
    ),
    ("1,2,2\n4,5,6\n", {}, "the first line is numbers: 1, 2, 2"),
    ("a,b,y\n1,2,3\n1,2,3,4\n", {}, "a row has 4 values, but the first line has 3: 1,2,3,4"),
    ("a,a,y\n1,2,3\n", {}, "several columns of the same name: a"),
    ("a,b,y\n1,2,3\n", {"sep": ";"}, r"no such column"),
    ("a,b,y\n1,2,3\n", {"sep": ";;"}, r"sep=';;'; one ASCII character is needed"),
    ("a,b,y\n1,2,3\n", {"decimal": "point"}, "decimal='point'; one ASCII character"),
    ("a,b,y\n1,2,3\n", {"encoding": "klingon"}, "encoding='klingon'; a name such as 'utf-8'"),
    ("a,b,y\n1,2,3\n", {"header": 2}, "header=2; choose 'infer' or 0"),
    ("a,b,y\n1,2,3\n", {"quoting": 1}, "quoting=1; choose 0"),
    ("a,b,y\n1,2,3\n", {"format": "excel"}, "format='excel'; choose one of parquet, csv, arrow"),
    ("é,b,y\n1,2,3\n", {"encoding": "ascii"}, "t.csv: there is text .*name its encoding"),
    ("a,b,y\n1,2,3\n", {"encoding": "base64"}, "encoding='base64'; a name such as"),
    ("a;b;y\n1,5;2;3,5\n", {}, "has no ',': give sep=';', and decimal=','"),
]


@pytest.mark.parametrize(("text", "options", "message"), HEADERS, ids=[h[2][:30] for h in HEADERS])
def test_what_is_wrong_is_said_before_any_work(text, options, message, tmp_path):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        Files(tmp_path / "t.csv", "y", **options)


def test_names_that_are_numbers_can_be_meant(tmp_path):
    pd.DataFrame(RNG.standard_normal((20, 3))).to_csv(tmp_path / "t.csv", index=False)
    assert fastgd.fit(tmp_path / "t.csv", target="2").coef_names == ["0", "1"]
    (tmp_path / "years.csv").write_text("2012,2013,2014\n1,2,3\n2,4,1\n3,1,2\n4,4,4\n")
    assert fastgd.fit(Files(tmp_path / "years.csv", "2014", header=0)).coef_names == ["2012", "2013"]


@pytest.mark.parametrize("name", ["t", "t.data", "t.txt", "t.parquet.bak"])
@pytest.mark.parametrize("form", ["csv", "parquet", "arrow", "npy", "libsvm"])
def test_the_format_may_be_told(form, name, tmp_path, capsys):
    path, numbers = tmp_path / name, FRAME[["a", "y"]]
    y = FRAME["y"].to_numpy()
    if form == "csv":
        numbers.to_csv(path, index=False)
    elif form == "parquet":
        numbers.to_parquet(path)
    elif form == "arrow":
        import pyarrow as pa
        from pyarrow import ipc

        table = pa.Table.from_pandas(numbers)
        with ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    elif form == "npy":
        with open(path, "wb") as file:
            np.save(file, numbers[["a"]].to_numpy())
        np.save(tmp_path / "y.npy", y)
    else:
        path.write_text("".join(f"{label} 1:{a}\n" for a, label in zip(numbers["a"], y, strict=True)))
    want = fastgd.fit(numbers[["a"]], y)
    with pytest.raises(ValueError, match=r"format='csv' \(or 'parquet', 'arrow', 'libsvm', 'npy'\)"):
        fastgd.fit(path, target="y")
    given = {"npy": {"y": y}, "libsvm": {}}.get(form, {"target": "y"})
    np.testing.assert_allclose(fastgd.fit(path, format=form, **given).coef, want.coef, rtol=1e-7)
    targets = {"npy": ["--target", str(tmp_path / "y.npy")], "libsvm": []}.get(form, ["--target", "y"])
    model = str(tmp_path / "m.json")
    assert main(["fit", str(path), "--format", form, *targets, "--output", model]) == 0
    assert main(["predict", model, str(path), "--format", form, "--output", str(tmp_path / "o.csv")]) == 0
    capsys.readouterr()


def test_options_of_text_are_for_text(tmp_path):
    FRAME.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"sep, na_values: for CSV; .*t\.parquet is Parquet"):
        Files(tmp_path / "t.parquet", "y", sep=";", na_values="?")
    with pytest.raises(ValueError, match="format='csv': that is for files; leave it out"):
        fastgd.fit(FRAME, target="y", format="csv")
    (tmp_path / "packed.csv").write_bytes(gzip.compress(b"a,y\n1,2\n"))
    with pytest.raises(ValueError, match=r"is packed; name it \.csv\.gz"):
        fastgd.fit(tmp_path / "packed.csv", target="y")


def test_whitespace_outside_of_quotes_separates(tmp_path):
    lines = [
        "mpg  power\tname",
        '18.0   130.0      "chevrolet  chevelle"',
        ' 15.0\t165.0\t"buick ""320"""',
        "16.0 ?  none ",
    ]
    (tmp_path / "auto.data").write_text("\n".join(lines))
    files = Files(tmp_path / "auto.data", "mpg", sep=r"\s+", format="csv", na_values="?")
    files.expect({"name": "text"})
    tables = [table for table, _ in files.tables()]
    names, power = ([value for table in tables for value in table[name].to_pylist()] for name in ("name", "power"))
    assert names == ["chevrolet  chevelle", 'buick "320"', "none"]
    assert power == [130.0, 165.0, None]
