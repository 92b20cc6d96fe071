"""Losses of one's own: compiled afresh in every process, so that nobody else's cache knows of them."""

import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

import fastgd

OWN = """
from typing import NamedTuple
from fastgd import Loss

class Parameters(NamedTuple):
    power: float = 4.0

class Quartic(Parameters, Loss):
    curvature_bound = 12.0

    @staticmethod
    def value_slope(loss, y, z):
        residual = z - y
        return {factor} * residual**loss.power, {factor} * loss.power * residual ** (loss.power - 1.0)
"""
FIT = """
import numpy as np, fastgd, own
result = fastgd.fit(np.zeros((3, 1)), [0.0, 0.0, 3.0], loss=own.Quartic(), max_iter=0)
print(result.history.loss[0], sum(fastgd._kernels.core.pass_serial.stats.cache_misses.values()))
"""
PLAIN = "import fastgd; print(fastgd.fit([[1.0], [2.0], [4.0]], [1.0, 2.0, 3.0]).converged)"


def run(code, folder, *path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_an_edited_loss_is_compiled_again_and_leaves_nothing_behind(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    for factor in (1, 10):
        (own / "own.py").write_text(OWN.format(factor=factor))
        loss, misses = run(FIT, tmp_path, own)
        assert float(loss) == pytest.approx(27.0 * factor)
        assert misses == "0"
    assert run(PLAIN, tmp_path) == ["True"]  # a process that cannot import the loss reads the same cache


def test_a_loss_without_its_formula_is_refused():
    class Unfinished(NamedTuple("Parameters", []), fastgd.Loss):
        curvature_bound = 1.0

    with pytest.raises(TypeError, match=r"Unfinished defines no value_slope\(loss, y, z\)"):
        fastgd.fit(np.eye(3), np.arange(3.0), loss=Unfinished())


@pytest.mark.parametrize("delta", [-1.0, 0.0, np.nan, np.inf, "a", None])
def test_parameters_must_be_positive_numbers(delta):
    with pytest.raises((ValueError, TypeError), match="delta"):
        fastgd.fit(np.eye(3), np.arange(3.0), loss=fastgd.Huber(delta))


def test_wild_targets_do_not_hide_hubers_slope():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 2))
    y = X @ [1.0, 2.0] + 3.0 + 0.1 * rng.standard_normal(200)
    y[0] = 1e8
    result = fastgd.fit(X, y, loss="huber")
    np.testing.assert_allclose([*result.coef, result.intercept], [1.0, 2.0, 3.0], atol=0.1)
