"""The picture of a path has every coefficient, the names of the largest side by side, and counts along the top."""

from itertools import pairwise

import numpy as np
import pytest
from internals import apart
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import fastgd
from fastgd import plots


def problem(d=12, targets=None):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, d))
    z = X[:, :4] @ [3.0, -2.0, 1.0, 0.5] + 0.1 * rng.standard_normal(400)
    return X, z if targets is None else np.digitize(z, targets)


@pytest.fixture(scope="module")
def path():
    return fastgd.path(*problem(), n_penalties=40)


@pytest.fixture(scope="module")
def classes():
    X, y = problem(targets=[-1.0, 1.0])
    return fastgd.path(X, np.array(["low", "middle", "top"])[y], loss="logistic", n_penalties=8, eps=0.05)


def test_lines_are_the_coefficients_and_the_penalty_falls_to_the_right(path):
    ax = path.plot()
    drawn = {np.asarray(line.get_ydata()).tobytes() for line in ax.lines}
    for j in np.flatnonzero(path.coef.any(axis=0)):
        assert path.coef[:, j].tobytes() in drawn
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), path.penalties)
    left, right = ax.get_xlim()
    assert left == path.penalties[0] > right == path.penalties[-1]
    assert ax.get_xscale() == "log" and ax.get_xlabel() and ax.get_ylabel() == "coefficient"
    given = Figure().subplots()
    assert path.plot(ax=given) is given and len(given.lines) == len(ax.lines)


def test_counts_along_the_top_are_those_of_the_path(path):
    (top,) = path.plot().child_axes
    at = [int(np.argmin(np.abs(path.penalties - x))) for x in top.get_xticks()]
    assert at[0] == 0 and at[-1] == len(path) - 1
    assert [label.get_text() for label in top.get_xticklabels()] == [str(path.nonzero[p]) for p in at]


def test_names_are_those_of_the_largest_and_do_not_overlap(path, tmp_path):
    ax = plots.coefficient_path(path, most=6)
    by_size = np.argsort(-np.abs(path.coef[-1]))[:6]
    names = [text.get_text() for text in ax.texts]
    assert names == [f"x{j}" for j in by_size[np.argsort(path.coef[-1, by_size])]]
    FigureCanvasAgg(ax.figure).draw()
    boxes = [text.get_window_extent() for text in ax.texts]
    bounds = ax.get_window_extent()
    for text, box in zip(ax.texts, boxes, strict=True):
        assert text.get_position()[0] > 1.0 and 0.0 <= text.get_position()[1] <= 1.0
        assert box.x1 <= ax.figure.bbox.x1
    text_only = [(box.y0 + box.y1) / 2 for box in boxes]
    assert bounds.y0 < min(text_only) and max(text_only) < bounds.y1
    places = np.array([text.get_position()[1] for text in ax.texts])
    assert (np.diff(places) * bounds.height >= ax.texts[0].get_fontsize() * ax.figure.dpi / 72.0).all()
    assert not plots.coefficient_path(path, most=0).texts
    plots.save(ax, tmp_path / "path.png")
    assert (tmp_path / "path.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("places", [[], [0.5], [0.5, 0.5, 0.5], [0.0, 0.0, 1.0], [0.2, 0.6, 0.61], [1.0] * 8])
def test_places_are_apart_and_where_they_were_if_there_is_room(places):
    moved = apart(np.array(places), 0.1)
    assert (np.diff(moved) >= 0.1 - 1e-12).all()
    assert ((moved >= 0.0) & (moved <= 1.0 + 1e-12)).all()
    if all(b - a >= 0.1 for a, b in pairwise(places)):
        np.testing.assert_allclose(moved, places)


def test_several_outputs_have_a_panel_each_or_are_chosen(classes):
    axes = classes.plot()
    assert [ax.get_title().split(":")[0] for ax in axes] == ["low", "middle", "top"]
    for k, ax in enumerate(axes):
        (top,) = ax.child_axes
        assert top.get_xticklabels()[-1].get_text() == str(np.count_nonzero(classes.coef[-1, k]))
    for output in (2, "top"):
        ax = plots.coefficient_path(classes, output=output)
        assert any(np.array_equal(line.get_ydata(), classes.coef[:, 2, 0]) for line in ax.lines)
    given = Figure().subplots(1, 3)
    assert (classes.plot(ax=given) == given).all()


def test_coefficients_per_standard_deviation_do_not_depend_on_units():
    X, y = problem()
    units = np.geomspace(0.01, 100.0, X.shape[1])
    one = fastgd.path(X, y, n_penalties=5, l1_ratio=1.0)
    other = fastgd.path(X * units, y, penalties=one.penalties, penalty_factor=units)
    ax = plots.coefficient_path(other, per_deviation=True)
    assert ax.get_ylabel() == "coefficient per standard deviation"
    drawn = sorted(line.get_ydata()[-1] for line in ax.lines if len(line.get_ydata()) == 5)
    expected = one.coef[-1] * one[0].spread
    np.testing.assert_allclose(drawn, np.sort(expected[one.coef.any(axis=0)]), atol=1e-3)


@pytest.mark.parametrize("penalties", [[0.5], [0.0], [1.0, 0.1, 0.0], [1.0, 1.0]])
def test_few_penalties_and_one_of_0(penalties):
    path = fastgd.path(*problem(), penalties=penalties)
    ax = path.plot()
    x = ax.lines[0].get_xdata()
    assert np.isfinite(x).all() and (x > 0.0).all() and (np.diff(x) <= 0.0).all()
    assert ("is 0" in ax.get_xlabel()) == (0.0 in penalties)
    FigureCanvasAgg(ax.figure).draw()


def test_what_cannot_be_drawn_is_said(path, classes):
    with pytest.raises(ValueError, match="single output"):
        plots.coefficient_path(path, output=0)
    with pytest.raises(ValueError, match="choose one of low, middle, top"):
        plots.coefficient_path(classes, output="best")
    with pytest.raises(ValueError, match="from 0 to 2"):
        plots.coefficient_path(classes, output=3)
    with pytest.raises(ValueError, match="there are 3 outputs"):
        plots.coefficient_path(classes, ax=Figure().subplots())
    with pytest.raises(ValueError, match="most=-1"):
        plots.coefficient_path(path, most=-1)
