"""Nothing is lost that somebody has or waited for: no input is written over, and a fit outlives a full disk."""

import os

import numpy as np
import pytest

from fastgd.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with data, a model of it, and other names of both."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 2))
    rows = "\n".join(f"{a:.3f},{b:.3f},{a - b:.4f}" for a, b in x)
    (tmp_path / "d.csv").write_text(f"a,b,y\n{rows}\n")
    assert main(["fit", "d.csv", "--target", "y", "--output", "m.json"]) == 0
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.csv").symlink_to("d.csv")
    (tmp_path / "link.gif").symlink_to("d.csv")
    (tmp_path / "link.html").symlink_to("d.csv")
    (tmp_path / "later.html").symlink_to("new.json")
    os.link(tmp_path / "d.csv", tmp_path / "hard.csv")
    return tmp_path


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


FIT, PREDICT = "fit d.csv --target y", "predict m.json d.csv"
CLASHES = {
    f"{FIT} --output d.csv": ("data", "--output"),
    f"{FIT} --output sub/../d.csv": ("data", "--output"),
    f"{FIT} --output link.csv": ("data", "--output"),
    f"{FIT} --output hard.csv": ("data", "--output"),
    "fit link.csv --target y --output d.csv": ("data", "--output"),
    f"{FIT} --checkpoint d.csv": ("data", "--checkpoint"),
    f"{FIT} --report link.html": ("data", "--report"),
    f"{FIT} --output new.json --checkpoint new.json": ("--output", "--checkpoint"),
    f"{FIT} --output new.html --report ./new.html": ("--output", "--report"),
    f"{FIT} --output new.json --report later.html": ("--output", "--report"),
    f"{FIT} --checkpoint new.html --report new.html": ("--checkpoint", "--report"),
    f"{PREDICT} --output d.csv": ("data", "--output"),
    f"{PREDICT} --output hard.csv": ("data", "--output"),
    "predict m.json m.json --output new.csv": ("model", "data"),
    f"{PREDICT} --output m.json": ("model", "--output"),
    "roll --data d.csv --target y --feature a --output link.gif": ("--data", "--output"),
    "rates --data d.csv --target y --feature a --output link.gif": ("--data", "--output"),
    "demo --plot new.png --export new.csv --export-recorded sub/../new.csv": ("--export", "--export-recorded"),
}


@pytest.mark.parametrize("command", CLASHES)
def test_no_two_arguments_are_one_file(folder, command, capsys):
    before = contents(folder)
    capsys.readouterr()
    assert main(command.split()) == 1
    printed = capsys.readouterr()
    first, second = CLASHES[command]
    assert printed.err.startswith(f"fastgd: {first} ") and f" and {second} " in printed.err
    assert "are the same file" in printed.err and printed.err.count("\n") == 1
    assert printed.out == "" and contents(folder) == before


def test_devices_may_be_given_twice_and_other_files_are_replaced(folder, capsys):
    for _ in range(2):
        assert main(f"{FIT} --output {os.devnull} --checkpoint new.ckpt --report new.html".split()) == 0
        assert main(f"{PREDICT} --output new.csv".split()) == 0
    assert {"new.ckpt", "new.html", "new.csv"} <= set(contents(folder))
    capsys.readouterr()
