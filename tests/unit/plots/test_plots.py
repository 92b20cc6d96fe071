"""Pictures show what was recorded, in the Axes that were given, and change nothing global."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import fastgd
from fastgd import plots, surfaces

pytestmark = pytest.mark.filterwarnings("ignore::fastgd.ConvergenceWarning")


@pytest.fixture(scope="module")
def result():
    options = {"solver": "gd", "learning_rate": 0.01, "record_path": True, "max_iter": 30}
    return fastgd.minimize(surfaces.himmelblau, [0.0, 0.0], **options)


@pytest.fixture(scope="module")
def own():
    x = np.random.default_rng(0).standard_normal(300)
    return surfaces.regression(x, 2.0 * x + 1.0)


@pytest.fixture(autouse=True)
def settings_are_left_alone():
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before


def holds(ax, points):
    """Whether some line of the Axes goes through exactly these points."""
    lines = [np.column_stack(line.get_data()[:2]) for line in ax.lines]
    return any(line.shape == np.shape(points) and np.array_equal(line, points) for line in lines)


def shows(ax, point):
    """Whether a point is inside the window."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    return left < point[0] < right and bottom < point[1] < top


def test_history_is_drawn_as_recorded(result):
    history = result.history
    axes = plots.history(history, "A descent")
    assert axes.shape == (2, 2) and axes[0, 0].figure.get_suptitle() == "A descent"
    columns = (history.loss, history.gradient_norm, history.step[1:])
    for ax, values in zip(axes.ravel(), columns, strict=False):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), values)
    ratio = history.actual_decrease[1:] / history.predicted_decrease[1:]
    np.testing.assert_array_equal(axes[1, 1].lines[0].get_ydata(), ratio)
    np.testing.assert_array_equal(axes[0, 0].lines[0].get_xdata(), history.passes)
    assert axes[0, 1].get_yscale() == "log" and all(ax.get_ylabel() for ax in axes.ravel())
    assert [ax.get_ylabel() for ax in history.plot().ravel()] == [ax.get_ylabel() for ax in axes.ravel()]
    alone = Figure().subplots()
    assert history.plot(ax=alone) is alone and len(alone.lines) == 1


@pytest.mark.parametrize("view", ["contours", "surface"])
def test_the_path_is_in_the_picture(result, view):
    ax = plots.path(result, surfaces.himmelblau, view=view)
    assert holds(ax, result.path)
    assert all(shows(ax, minimum) for minimum in surfaces.himmelblau.minima)
    given = Figure().add_subplot(projection="3d" if view == "surface" else None)
    assert plots.path(result, surfaces.himmelblau, view=view, ax=given) is given and holds(given, result.path)
    both = plots.path(result, surfaces.himmelblau, view="both")
    assert [ax.name for ax in both] == ["rectilinear", "3d"]


def test_start_and_end_are_marked(result):
    ax = plots.path(result, surfaces.himmelblau)
    labelled = {line.get_label(): np.column_stack(line.get_data()) for line in ax.lines}
    np.testing.assert_array_equal(labelled["start"], result.path[:1])
    np.testing.assert_array_equal(labelled["end"], result.path[-1:])
    np.testing.assert_array_equal(labelled["minimum"], surfaces.himmelblau.minima)
    assert "still rolling (30 steps)" in ax.get_title()


@pytest.mark.parametrize("name", [*surfaces.SURFACES, "own"])
def test_every_surface_can_be_drawn(name, own):
    surface = own if name == "own" else surfaces.SURFACES[name]
    rate = 1e-4 if name != "own" else 0.1
    rolled = fastgd.minimize(surface, surface.start, solver="gd", learning_rate=rate, max_iter=5, record_path=True)
    ax = plots.path(rolled, surface)
    assert holds(ax, rolled.path) and all(shows(ax, minimum) for minimum in surface.minima)
    assert (ax.get_xlabel(), ax.get_ylabel()) == surface.axes


def test_rejected_points_are_not_on_the_path():
    rolled = fastgd.minimize(surfaces.rosenbrock, [-1.2, 1.0], record_path=True)
    assert not rolled.history.accepted.all()
    assert holds(plots.path(rolled, surfaces.rosenbrock), rolled.path[rolled.history.accepted])


def test_small_multiples_of_rates():
    sweep = fastgd.learning_rates(surfaces.elongated_bowl, rates=[0.01, 0.1, 0.19, 0.21])
    axes = plots.learning_rates(sweep)
    for ax, rate, verdict, descent in zip(axes, sweep.rates, sweep.verdicts, sweep.results, strict=True):
        assert verdict.upper() in ax.get_title() and f"{rate:.3g}" in ax.get_title()
        assert holds(ax, descent.path)
    rng = np.random.default_rng(0)
    data = fastgd.learning_rates(rng.standard_normal((100, 3)), rng.standard_normal(100), rates=[0.01, 0.4])
    for ax, descent in zip(plots.learning_rates(data), data.results, strict=True):
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), descent.history.loss)
    with pytest.raises(ValueError, match="2 are needed"):
        plots.learning_rates(data, ax=Figure().subplots())


def test_minima_and_their_starts():
    result = fastgd.minimize(surfaces.double_well, [1.5, 0.9], starts=12, solver="gd", learning_rate=0.05)
    ax = plots.minima(result, surfaces.double_well, basins=9)
    for minimum in result.minima:
        assert holds(ax, minimum.x[None]) and holds(ax, result.starts[minimum.starts])
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert any(label.startswith("best found") for label in labels) and any(x.startswith("local") for x in labels)
    border = next(each for each in ax.collections if len(getattr(each, "levels", ())) == 1)
    vertices = np.concatenate([path.vertices for path in border.get_paths()])
    assert np.abs(vertices[:, 0] - surfaces.double_well.saddles[0, 0]).max() < 3.4 / 8
    with pytest.raises(TypeError, match="several starts"):
        plots.minima(result.ends[0], surfaces.double_well)


def test_a_saddle_and_its_directions():
    options = {"solver": "gd", "learning_rate": 0.1, "max_iter": 40, "record_path": True}
    passing = [fastgd.minimize(surfaces.saddle, [1.6, y], **options) for y in (0.0, 0.01)]
    ax = plots.saddle(surfaces.saddle, [0.0, 0.0], passing)
    assert all(holds(ax, each.path) for each in passing) and holds(ax, [[0.0, 0.0]])
    texts = {text.get_text(): text.get_position() for text in ax.texts}
    assert texts["falls to both sides"][0] == pytest.approx(0.0, abs=1e-6)
    assert texts["rises to both sides"][1] == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(ValueError, match="A minimum"):
        plots.saddle(surfaces.bowl, [0.0, 0.0])


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("features", [1, 3])
def test_fits_over_their_data(classes, features):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, features))
    y = X.sum(axis=1) + rng.standard_normal(1000)
    y = np.where(y > 0, "late", "in time") if classes else y
    result = fastgd.fit(X, y, loss="logistic" if classes else "squared")
    ax = plots.fit(result, X, y, target="arrival")
    predicted = result.predict_proba(X)[:, 1] if classes else result.predict(X)
    if features == 1:
        order = np.argsort(X[:, 0])
        assert holds(ax, np.column_stack((X[order, 0], predicted[order])))
    else:
        came = np.isin(y, "late") if classes else y
        parts = np.array_split(np.argsort(predicted, kind="stable"), 10)
        x, height = ax.containers[0].lines[0].get_data()
        np.testing.assert_allclose(x, [predicted[part].mean() for part in parts])
        np.testing.assert_allclose(height, [came[part].mean() for part in parts])
    assert ax.get_ylabel().removeprefix("actual ") == ("share of arrival = late" if classes else "arrival")


@pytest.mark.parametrize("suffix", ["gif", "html"])
def test_animations_move(suffix, tmp_path):
    rolled = fastgd.minimize(surfaces.bowl, [2.0, 1.0], solver="gd", learning_rate=0.2, record_path=True, max_iter=6)
    output = tmp_path / f"ball.{suffix}"
    ax = plots.animate(rolled, surfaces.bowl, output, seconds=1.0)
    assert holds(ax, rolled.path)  # the last frame
    if suffix == "gif":
        with Image.open(output) as image:
            frames = image.n_frames
            image.seek(0)
            first = np.asarray(image.convert("L"))
            image.seek(5)
            assert (first != np.asarray(image.convert("L"))).any()
        assert frames >= 7
    else:
        page = output.read_text(encoding="utf-8")
        assert page.startswith("<!DOCTYPE html>") and page.count("data:image/jpeg;base64") >= 7
        assert not any(text in page for text in ("<link", 'src="http', "font-awesome", "<i class"))
    assert [file.name for file in tmp_path.iterdir()] == [output.name]


def test_what_cannot_be_drawn_is_said(result, tmp_path):
    surface = surfaces.himmelblau
    with pytest.raises(ValueError, match="record_path=True"):
        plots.path(fastgd.minimize(surface, [0.0, 0.0]), surface)
    with pytest.raises(ValueError, match="3 coordinates"):
        plots.path(fastgd.minimize(surfaces.bowl, np.ones(3), record_path=True), surface)
    with pytest.raises(ValueError, match="view='top'"):
        plots.path(result, surface, view="top")
    with pytest.raises(ValueError, match="both"):
        plots.path(result, surface, view="both", ax=Figure().subplots())
    with pytest.raises(ValueError, match=r"\.gif or \.html"):
        plots.animate(result, surface, tmp_path / "ball.mp4")
    X = np.random.default_rng(0).standard_normal((30, 2))
    with pytest.raises(ValueError, match="2 outputs"):
        plots.fit(fastgd.fit(X, X), X, X)
    for draw in (plots.fit, plots.residuals):
        with pytest.raises(ValueError, match=r"y has shape \(29,\); X has 30 rows"):
            draw(fastgd.fit(X, X[:, 0]), X, X[1:, 0])


def test_saving_is_whole_or_not_at_all(result, tmp_path):
    plots.save(plots.history(result.history), tmp_path / "a.png")
    plots.save(plots.path(result, surfaces.himmelblau).figure, tmp_path / "b.svg")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="nonsense"):
        plots.save(plots.history(result.history), tmp_path / "a.nonsense")
    with pytest.raises(FileNotFoundError, match="no folder"):
        plots.save(plots.history(result.history), tmp_path / "none" / "a.png")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "b.svg"]
