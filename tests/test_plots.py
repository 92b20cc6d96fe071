"""Pictures show what the history holds, and change nothing global."""

import matplotlib as mpl
import numpy as np
import pytest

import fastgd
from fastgd import plots


@pytest.fixture
def result():
    return fastgd.minimize(lambda x: (x @ x, 2 * x), np.array([3.0, 4.0]), solver="gd", learning_rate=0.2)


def test_history_is_drawn_as_recorded(result):
    figure = plots.history(result.history, "A descent")
    loss, slope = (axes.lines[0] for axes in figure.axes)
    np.testing.assert_array_equal(loss.get_xdata(), result.history.passes)
    np.testing.assert_array_equal(loss.get_ydata(), result.history.loss)
    np.testing.assert_array_equal(slope.get_ydata(), result.history.gradient_norm)
    assert figure.axes[1].get_yscale() == "log"
    assert all(axes.get_ylabel() for axes in figure.axes)


def test_saving_is_whole_or_not_at_all(result, tmp_path):
    before = dict(mpl.rcParams)
    plots.save(plots.history(result.history), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="nonsense"):
        plots.save(plots.history(result.history), tmp_path / "a.nonsense")
    with pytest.raises(FileNotFoundError, match="no folder"):
        plots.save(plots.history(result.history), tmp_path / "none" / "a.png")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
    assert dict(mpl.rcParams) == before
