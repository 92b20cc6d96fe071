"""Nothing is lost that somebody has or waited for: no input is written over, and a fit outlives a full disk."""

import errno
import os
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest
from internals import checkpoint_module, fit_module, main, patch

import fastgd

pytestmark = pytest.mark.slow


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


# --- Checkpoints that cannot be written ------------------------------------------------------------------------------

X = np.random.default_rng(1).standard_normal((300, 4))
Y = (X @ np.arange(4.0) + np.random.default_rng(2).logistic(size=300) > 0) * 1


def fit(path, callback=None):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        options = {"loss": "logistic", "solver": "gd", "tol": 0.0, "max_iter": 12}
        result = fastgd.fit(X, Y, checkpoint=path, callback=callback, **options)
    return result, [str(each.message) for each in caught if each.category is fastgd.CheckpointWarning]


@pytest.mark.parametrize("often", [True, False], ids=["in between, too", "at the end alone"])
def test_a_fit_whose_checkpoints_folder_goes_is_whole_and_says_so_once(often, tmp_path, monkeypatch):
    if often:
        patch(monkeypatch, "checkpoint_interval", 0.0)
        patch(monkeypatch, "checkpoint_share", 0.0)
    path = tmp_path / "gone" / "a.ckpt"
    path.parent.mkdir()
    result, said = fit(path, lambda row: row.iteration == 2 and shutil.rmtree(path.parent))
    whole, nothing = fit(None)
    assert (result.coef == whole.coef).all() and (result.history.loss == whole.history.loss).all() and not nothing
    assert len(said) == 1 and said[0].startswith(f"checkpoint: {path}: there is no folder {path.parent}; ")
    assert result.message.startswith(whole.message.partition(" Gradient norm")[0]) and said[0] in result.message
    assert "there is no checkpoint" in said[0]


def test_a_disk_that_has_room_again_is_written_to_again(tmp_path, monkeypatch):
    patch(monkeypatch, "checkpoint_interval", 0.0)
    patch(monkeypatch, "checkpoint_share", 0.0)
    path, room = tmp_path / "a.ckpt", os.replace

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def watch(row):
        monkeypatch.setattr(os, "replace", full if 3 <= row.iteration <= 6 else room)

    result, said = fit(path, watch)
    assert len(said) == 1 and "No space left on device" in said[0] and "what is there is older" in said[0]
    assert "checkpoint" not in result.message
    again, said = fit(path, lambda _: pytest.fail("there was something left to do"))
    assert (again.coef == result.coef).all() and not said


# --- The command ------------------------------------------------------------------------------------------------------


def gone(monkeypatch, *folders):
    """Have folders go while a fit runs."""
    true_fit = fit_module.fit.__wrapped__

    def fit(*arguments, **options):
        result = true_fit(*arguments, **options)
        for folder in folders:
            shutil.rmtree(folder)
        return result

    patch(monkeypatch, "fit", fit)


def test_a_fit_that_cannot_be_saved_is_printed(folder, monkeypatch, capsys):
    for name in ("one", "two", "three"):
        (folder / name).mkdir()
    gone(monkeypatch, "one", "two")
    files = ["--output", "one/m.json", "--report", "three/r.html", "--checkpoint", "two/c.ckpt"]
    capsys.readouterr()
    assert main([*FIT.split(), *files]) == 1
    printed = capsys.readouterr()
    assert "Converged" in printed.out and "largest coefficients" in printed.out
    assert "wrote three/r.html" in printed.out and "m.json" not in printed.out
    assert printed.err.splitlines() == ["fastgd: one/m.json: there is no folder one"]


def test_a_checkpoint_that_cannot_be_written_is_told_in_one_line(folder, monkeypatch, capsys):
    (folder / "two").mkdir()
    monkeypatch.setattr(checkpoint_module.Checkpoint, "check_data", lambda *_: shutil.rmtree("two"))
    capsys.readouterr()
    assert main([*FIT.split(), "--checkpoint", "two/c.ckpt", "--output", "new.json"]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("fastgd: checkpoint: two/c.ckpt: there is no folder two; ")
    assert printed.err.count("\n") == 1 and fastgd.load("new.json").converged


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
@pytest.mark.parametrize("unbuffered", [False, True], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", [f"{FIT} --output new.json", f"{PREDICT} --output new.csv", "doctor"])
def test_a_full_standard_output_is_named_and_files_are_written(folder, command, unbuffered):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fastgd", *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=900,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": "1" * unbuffered},
        )
    assert (done.returncode, done.stderr) == (1, "fastgd: standard output: No space left on device\n")
    assert "--output" not in command or (folder / command.split()[-1]).stat().st_size > 100


IMPORTED = ["fastgd._cli.main", "argparse", "numpy", "fastgd._cli.roll", "fastgd._kernels.sums"]


@pytest.mark.parametrize("imported", IMPORTED)
def test_a_press_during_imports_is_one_line(imported):
    code = f"""
import runpy, sys

class Press:
    def find_spec(self, name, *_):
        if name == {imported!r}:
            raise KeyboardInterrupt

for name in [name for name in sys.modules if name.split(".")[0] == "argparse"]:
    del sys.modules[name]
sys.meta_path.insert(0, Press())
sys.argv = ["fastgd", "doctor"]
runpy.run_module("fastgd", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    before_any_work = "" if imported == "fastgd._kernels.sums" else ": nothing was saved"
    assert done.stderr == f"fastgd: interrupted{before_any_work}\n"


def test_the_installed_command_is_the_one_that_catches_it():
    scripts = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"fastgd": "fastgd.__main__:main"}
