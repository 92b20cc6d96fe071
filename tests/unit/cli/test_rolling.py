"""The commands roll and rates, and the report of a fit: what they write, and one clear line for errors."""

import base64
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from internals import main
from PIL import Image
from pyarrow import csv

VOID = {"meta", "img"}


@pytest.fixture(scope="module")
def delays(tmp_path_factory):
    """A file with an <odd> column, a kind, and a missing value."""
    folder = tmp_path_factory.mktemp("delays")
    rng = np.random.default_rng(0)
    x = 10.0 * rng.standard_normal(400)
    y = 2.0 * x + 3.0 + rng.standard_normal(400)
    columns = {"dep": pa.array(x, mask=np.arange(400) == 7), "y": y, "late": y > 3.0, "a<b": rng.standard_normal(400)}
    kind = np.array(["a", "b", "c"])[np.arange(400) % 3]
    csv.write_csv(pa.table({**columns, "kind": kind}), folder / "delays.csv")
    return folder / "delays.csv"


@pytest.mark.parametrize("suffix", ["gif", "png"])
def test_roll_on_a_surface(suffix, tmp_path, capsys):
    output = tmp_path / f"ball.{suffix}"
    rate = ["--learning-rate", "0.97"] if suffix == "gif" else []
    assert main(["roll", "--surface", "bowl", "--start=-2,1", *rate, "--output", str(output)]) == 0
    printed = capsys.readouterr()
    assert ("learning rate 0.2: 0.2/L" in printed.out) == (suffix == "png")
    assert "Converged" in printed.out and f"wrote {output}" in printed.out and printed.err == ""
    with Image.open(output) as image:
        assert image.format.lower() == suffix and (suffix == "png" or image.n_frames > 4)


@pytest.mark.parametrize(("target", "model"), [("y", "linear"), ("late", "logistic")])
def test_roll_on_data(target, model, delays, tmp_path, capsys):
    output = tmp_path / "roll.png"
    options = ["--model", model, "--drop-missing", "--no-standardize", "--solver", "lbfgs", "--output", str(output)]
    assert main(["roll", "--data", str(delays), "--target", target, "--feature", "dep", *options]) == 0
    printed = capsys.readouterr().out
    assert "left out 1 of 400" in printed and output.exists()
    if model == "linear":
        a, b = map(float, re.search(r"end: \((.*), (.*)\)", printed).groups())
        table = csv.read_csv(delays).filter(pa.array(np.arange(400) != 7))
        np.testing.assert_allclose((a, b), np.polyfit(table["dep"].to_numpy(), table["y"].to_numpy(), 1), rtol=1e-4)


def test_rates_print_the_table_and_draw_it(delays, tmp_path, capsys):
    output = tmp_path / "rates.png"
    assert main(["rates", "--surface", "elongated_bowl", "--rates", "0.001,0.19,0.21", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("too small", "oscillating", "diverging", "2/L: 0.2")) and output.exists()
    assert main(["rates", "--data", str(delays), "--target", "y", "--feature", "dep", "--drop-missing"]) == 0
    assert "2/L: 1;" in capsys.readouterr().out


ERRORS = [
    (["roll", "--surface", "bowl", "--target", "y", "--output", "x.gif"], 1, "--target belongs to --data"),
    (["roll", "--surface", "bowl", "--start", "1,2,3", "--output", "x.gif"], 2, "3 coordinates"),
    (
        ["roll", "--surface", "bowl", "--output", "x.mp4"],
        1,
        "x.mp4: a name ending in .gif or .html for an animation, .png",
    ),
    (["roll", "--data", "{data}", "--target", "y", "--output", "x.gif"], 1, "--feature is missing"),
    (["roll", "--data", "{data}", "--target", "y", "--feature", "y", "--output", "x.gif"], 1, "y is the target"),
    (["roll", "--data", "{data}", "--target", "y", "--feature", "dep", "--output", "x.gif"], 1, "dep (1)"),
    (["roll", "--data", "{data}", "--target", "y", "--feature", "nil", "--output", "x.gif"], 1, "no column nil"),
    (["roll", "--data", "{data}", "--target", "kind", "--feature", "y", "--output", "x.gif"], 1, "not numbers"),
    (["rates", "--surface", "bowl", "--rates", "0.1,-1"], 2, "--rates: '-1' is not a positive number"),
    (["roll", "--surface", "bowl", "--learning-rate", "0", "--output", "x.gif"], 2, "'0' is not a positive number"),
    (["roll", "--surface", "bowl", "--max-iter", "-1", "--output", "x.gif"], 2, "'-1' is not a whole number"),
    (["fit", "{data}", "--target", "y", "--report", "report.pdf"], 1, "name ending in .html"),
    (["roll", "--surface", "hill", "--output", "x.gif"], 2, "hill"),
    (["roll", "--output", "x.gif"], 2, "--surface --data"),
    (["rates", "--surface", "bowl", "--rates", "fast"], 2, "'fast' is not a list of numbers"),
]


@pytest.mark.parametrize(("arguments", "code", "fragment"), ERRORS)
def test_errors_are_one_clear_line(arguments, code, fragment, delays, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = [argument.format(data=delays, folder=tmp_path) for argument in arguments]
    if code == 2:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
    else:
        assert main(arguments) == 1
    printed = capsys.readouterr().err
    assert fragment in printed
    assert code == 2 or (printed.startswith("fastgd: ") and printed.count("\n") == 1)
    assert not list(tmp_path.iterdir())


class Page(HTMLParser):
    """Tags must close in order; texts and pictures are kept."""

    def __init__(self, text):
        super().__init__()
        self.open, self.pictures, self.cells, self.links = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if name in ("href", "src", "action", "data", "srcset")]
        if tag == "img":
            self.pictures.append(dict(attributes))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "td":
            self.cells.append(data)


@pytest.mark.parametrize(
    ("target", "options", "pictures"),
    [
        ("y", ["--features", "dep,a<b,kind"], 2),
        ("y", ["--features", "dep", "--solver", "gd"], 3),
        ("late", ["--model", "logistic", "--features", "dep,a<b", "--l2", "0.01"], 2),
        ("late", ["--model", "logistic", "--features", "dep", "--l2", "0.01"], 2),
        ("kind", ["--model", "logistic", "--features", "y", "--l2", "0.01"], 1),
    ],
)
def test_reports(target, options, pictures, delays, tmp_path, capsys):
    output = tmp_path / "report.html"
    arguments = ["fit", str(delays), "--target", target, "--drop-missing", *options, "--report", str(output)]
    assert main(arguments) == 0
    text = output.read_text(encoding="utf-8")
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>") and "<script" not in text and "url(" not in text and "@import" not in text
    assert all(link.startswith("data:image/svg+xml;base64,") for link in page.links)  # needs nothing but itself
    assert len(page.pictures) == pictures and all(picture["alt"] for picture in page.pictures)
    for picture in page.pictures:
        root = ET.fromstring(base64.b64decode(picture["src"].partition(",")[2]))
        assert root.tag.endswith("svg")
    names = {"y": ["dep"], "late": ["dep"], "kind": ["a: y"]}[target]
    assert all(name in page.cells for name in names) and ("a<b" in page.cells) == ("a<b" in "".join(options))
    assert "Converged" in text and "fastgd fit" in text and "--drop-missing" in text
    printed = capsys.readouterr().out
    assert f"wrote {output}" in printed
    coefficient = next(line.split()[-2] for line in printed.splitlines() if line.startswith(names[0]))
    assert coefficient in page.cells


def test_a_report_of_a_fit_that_did_not_converge_says_so(delays, tmp_path, capsys):
    output = tmp_path / "report.html"
    options = [
        "--features",
        "dep",
        "--drop-missing",
        "--solver",
        "gd",
        "--learning-rate",
        "1.2",
        "--report",
        str(output),
    ]
    assert main(["fit", str(delays), "--target", "y", *options]) == 1
    assert 'class="status bad"' in output.read_text(encoding="utf-8") and "Diverged" in capsys.readouterr().err
