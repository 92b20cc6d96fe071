"""Plots of surfaces, and of descents on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect, Stroke
from numpy.typing import ArrayLike

from fastgd._optim.messages import without_warning
from fastgd._optim.minimize import ManyStarts, MinimizeResult, minimize
from fastgd._optim.result import Status
from fastgd._optim.stationary import stationary
from fastgd._typing import Floats
from fastgd.surfaces._functions import Surface

LEVELS = 18
"""The number of contour levels."""
_MAX_ASPECT = 2.5
"""The largest ratio of a window's sides at which both axes have the same scale."""
_BASIN_STEPS = 300
"""The maximum number of evaluations to find the basin of a start."""
VIEWS = ("contours", "surface", "both")
"""The values of the argument ``view`` of `path`."""
_OUTLINE: list[AbstractPathEffect] = [
    Stroke(linewidth=4.0, foreground="white"),
    Stroke(linewidth=1.6, foreground="black"),
]
"""A white edge, so that a long path is visible on dark ground."""
_SHAPES = "o^sDvP<>hX"
"""The markers of minima."""
_TEXT: dict[str, Any] = {
    "fontsize": 8,
    "bbox": {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85},
}
"""The style of text on a surface."""


class Ground(NamedTuple):
    """The values of a surface over its window, and contour levels.

    Attributes
    ----------
    x, y : ndarray of shape (m,)
    values : ndarray of shape (m, m)
        ``values[i, j]`` is the value at ``(x[j], y[i])``.
    levels : ndarray of shape (k,)
        Ascending.
    """

    x: Floats
    y: Floats
    values: Floats
    levels: Floats


def ground(surface: Surface) -> Ground:
    """Return the values of a surface over its window, and contour levels.

    The levels are quantiles of the values, denser at low values so that valleys are visible.
    """
    x, y, values = surface.grid()
    levels = np.unique(np.quantile(values, np.linspace(0.0, 1.0, LEVELS) ** 2))
    return Ground(x, y, values, levels)


def contours(surface: Surface, ax: Axes, land: Ground | None = None) -> None:
    """Draw the contours of a surface, filled with darker colours for lower values.

    Parameters
    ----------
    surface : Surface
        The surface.
    ax : Axes
        Where to draw.
    land : Ground, optional
        The values of the surface. None computes them.

    Examples
    --------
    >>> import fastgd
    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> fastgd.plots.contours(fastgd.surfaces.himmelblau, ax)
    >>> [float(x) for x in ax.get_xlim()]
    [-5.0, 5.0]
    """
    land = land or ground(surface)
    shades = colormaps["Blues_r"](np.linspace(0.25, 1.0, len(land.levels) - 1))
    ax.contourf(land.x, land.y, land.values, levels=land.levels, colors=shades)
    ax.contour(land.x, land.y, land.values, levels=land.levels[1:-1], colors="0.55", linewidths=0.5)
    ax.text(0.015, 0.015, "the darker, the lower", transform=ax.transAxes, zorder=6, **_TEXT)
    width, height = np.ptp(surface.window, axis=1)
    if 1.0 / _MAX_ASPECT < width / height < _MAX_ASPECT:
        ax.set_aspect("equal")  # so that gradient steps are perpendicular to contours
    ax.set(xlim=surface.window[0], ylim=surface.window[1], xlabel=surface.axes[0], ylabel=surface.axes[1])


def way(result: MinimizeResult) -> Floats:
    """Return the accepted points of a descent in a plane.

    Parameters
    ----------
    result : MinimizeResult
        The result of `minimize` with ``record_path=True``.

    Returns
    -------
    ndarray of shape (m, 2)

    Raises
    ------
    ValueError
        If the result has no path, or one with another number of coordinates than two.

    Examples
    --------
    >>> import fastgd
    >>> result = fastgd.minimize(lambda x: (x @ x, 2 * x), [3.0, 4.0], solver="gd", learning_rate=0.5, record_path=True)
    >>> fastgd.plots.way(result).tolist()
    [[3.0, 4.0], [0.0, 0.0]]
    """
    if result.path is None:
        raise ValueError("the result has no path; give record_path=True to minimize")
    if result.path.shape[1] != 2:
        raise ValueError(f"the path has {result.path.shape[1]} coordinates; only paths in a plane can be drawn")
    points = result.path[result.history.accepted]
    return np.asarray(points[np.isfinite(points).all(axis=1)])


def path(
    result: MinimizeResult, surface: Surface, *, view: str = "contours", title: str | None = None, ax: Any = None
) -> Any:
    """Draw the path of a descent on a surface, with its start and its end marked.

    Parameters
    ----------
    result : MinimizeResult
        The result of `minimize` with ``record_path=True``.
    surface : Surface
        The objective.
    view : {"contours", "surface", "both"}, default "contours"
        Contours seen from above, a three-dimensional view, or both side by side.
    title : str, optional
        The title. None says how the descent ended.
    ax : Axes, optional
        Where to draw: three-dimensional Axes for ``"surface"``, None for ``"both"``. None makes a new figure.

    Returns
    -------
    Axes, or ndarray of two Axes for ``"both"``

    Raises
    ------
    ValueError
        If the view is unknown, ``ax`` is given for ``"both"``, or the result has no path in a plane.

    Examples
    --------
    >>> import fastgd
    >>> surface = fastgd.surfaces.bowl
    >>> result = fastgd.minimize(surface, surface.start, solver="gd", learning_rate=0.5, record_path=True)
    >>> fastgd.plots.path(result, surface, title="The bowl").get_title()
    'The bowl'
    """
    if view not in VIEWS:
        raise ValueError(f"view={view!r}; choose one of {', '.join(VIEWS)}")
    if view == "both":
        if ax is not None:
            raise ValueError("ax: view='both' makes two Axes of its own; choose one view to draw into yours")
        figure = Figure(figsize=(12, 5), layout="constrained")
        left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2, projection="3d")
        land = ground(surface)
        _path(result, surface, land, "contours", title, left)
        _path(result, surface, land, "surface", surface.formula, right)
        return np.array([left, right])
    return _path(result, surface, ground(surface), view, title, ax)


def _path(result: MinimizeResult, surface: Surface, land: Ground, view: str, title: str | None, ax: Any) -> Any:
    """Draw one view of a path."""
    points = way(result)
    if title is None:
        title = f"{surface.name}: {_describe_end(result, points)}"
    if view == "surface":
        ax = ax or Figure(figsize=(6.5, 5.5), layout="constrained").add_subplot(projection="3d")
        _landscape(surface, points, ax, land)
    else:
        ax = ax or Figure(figsize=(6.5, 5.5), layout="constrained").subplots()
        contours(surface, ax, land)
        draw_way(points, ax)
        mark_ends(points, ax)
        mark_minima(surface, ax)
        ax.legend(loc="best", fontsize=8, framealpha=0.9)
    ax.set_title(title, fontsize=11)
    return ax


def _describe_end(result: MinimizeResult, points: Floats) -> str:
    """Return the part of a title that says how a descent ended, and the number of steps."""
    unsure = result.stationary is not None and result.stationary.kind == "degenerate"
    rests = "comes to rest where it is flat" if unsure else "rolls into a minimum"
    what = {
        Status.CONVERGED: rests,
        Status.PRECISION_LIMIT: rests,
        Status.SADDLE: "comes to rest on a saddle point",
        Status.MAXIMUM: "rests on the top",
        Status.DIVERGED: "is thrown out",
        Status.UNBOUNDED: "falls without end",
    }.get(result.status, "is still rolling")
    return f"the ball {what} ({len(points) - 1} steps)"


def draw_way(points: Floats, ax: Axes, **style: Any) -> Any:
    """Draw points (m, 2) as a line, with markers for up to 200 of them; return the line."""
    few = len(points) <= 200
    (line,) = ax.plot(
        points[:, 0],
        points[:, 1],
        **{"color": "black", "linewidth": 1.3, "marker": "o" if few else None, "markersize": 3, "zorder": 3, **style},
    )
    line.set_path_effects(_OUTLINE if not few else [])
    return line


def mark_ends(points: Floats, ax: Axes) -> None:
    """Draw the first of some points (m, 2) as a white circle, and the last one as a black circle."""
    ax.plot(*points[0], "o", color="white", markeredgecolor="black", markersize=11, zorder=5, label="start")
    ax.plot(*points[-1], "o", color="black", markeredgecolor="white", markersize=11, zorder=5, label="end")


def mark_minima(surface: Surface, ax: Axes) -> None:
    """Draw the known minima of a surface as crosses."""
    if len(surface.minima):
        ax.plot(*surface.minima.T, "x", color="black", markersize=9, markeredgewidth=2, zorder=4, label="minimum")


def _landscape(surface: Surface, points: Floats, ax: Any, land: Ground) -> None:
    """Draw a surface and a path (m, 2) on it in three dimensions; values above the 93 % quantile are cut off."""
    steps = np.searchsorted(land.levels, land.values).clip(1, len(land.levels) - 1) - 1
    shades = colormaps["Blues_r"](np.linspace(0.25, 1.0, len(land.levels) - 1))
    ax.computed_zorder = False  # draw the path above the surface
    top = float(np.quantile(land.values, 0.93))
    heights = np.minimum(land.values, top)  # high walls would hide the valleys
    mesh = {"rcount": 45, "ccount": 45, "edgecolor": (0.0, 0.0, 0.0, 0.35), "linewidth": 0.3}  # grid lines
    plane = np.meshgrid(land.x, land.y)
    ax.plot_surface(*plane, heights, facecolors=shades[steps], shade=False, zorder=1, **mesh)
    inside = points[((points >= surface.window[:, 0]) & (points <= surface.window[:, 1])).all(axis=1)]
    above = [min(surface(point).value, top) + 0.01 * float(np.ptp(heights)) for point in inside]
    ax.plot(*inside.T, above, "o-", color="black", linewidth=1.3, markersize=3, zorder=3)
    if len(inside):
        ax.plot(*inside[:1].T, above[:1], "o", color="white", markeredgecolor="black", markersize=10, zorder=4)
        ax.plot(*inside[-1:].T, above[-1:], "o", color="black", markeredgecolor="white", markersize=10, zorder=4)
    ax.set(xlabel=surface.axes[0], ylabel=surface.axes[1], zlabel="height" if surface.elementwise else "loss")
    ax.view_init(elev=48, azim=-112)


def minima(result: ManyStarts, surface: Surface, *, basins: int = 41, title: str | None = None, ax: Any = None) -> Any:
    """Draw the minima that several starts ended in: a marker for each minimum, and a line from each start to its end.

    Parameters
    ----------
    result : ManyStarts
        The result of `minimize` with ``starts`` above 1.
    surface : Surface
        The objective.
    basins : int, default 41
        The number of grid points along each axis, from which descents show the borders between basins of attraction.
        0 leaves the borders out.
    title : str, optional
        The title. None counts starts and minima.
    ax : Axes, optional
        Where to draw. None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    TypeError
        If the result is that of a single start.

    Examples
    --------
    >>> import fastgd
    >>> surface = fastgd.surfaces.double_well
    >>> result = fastgd.minimize(surface, surface.start, starts=8)
    >>> fastgd.plots.minima(result, surface, basins=0).get_title()
    'tilted double well: 8 balls end in 2 minima (white: starts, black: ends)'
    """
    if not isinstance(result, ManyStarts):
        raise TypeError("minima are drawn of several starts: give starts=32 to minimize")
    ax = ax or Figure(figsize=(7, 5.8), layout="constrained").subplots()
    contours(surface, ax)
    found = result.minima
    if basins and len(found) > 1:
        x, y = (np.linspace(low, high, basins) for low, high in surface.window)
        nearest = np.array([[_basin(result, surface, np.array([a, b])) for a in x] for b in y])
        for k in range(len(found)):
            ax.contour(
                x, y, (nearest == k).astype(float), levels=[0.5], colors="black", linewidths=1.0, linestyles="--"
            )
        ax.plot([], [], "k--", linewidth=1.0, label="border between basins")
    for k, minimum in enumerate(found):
        shape = _SHAPES[k % len(_SHAPES)]
        for start in result.starts[minimum.starts]:
            ax.plot(*np.array([start, minimum.x]).T, color="black", linewidth=0.6, alpha=0.6, zorder=3)
        ax.plot(*result.starts[minimum.starts].T, shape, color="white", markeredgecolor="black", markersize=6, zorder=4)
        same = minimum.loss - found[0].loss <= 1e-9 * max(1.0, float(np.ptp(result.ends[0].history.loss)))
        kind = ("best found" if k == 0 else "as low") if same else "local"
        label = (
            f"{kind}: loss {_rounded(minimum.loss, result)}, {len(minimum.starts)} starts" if k < len(_SHAPES) else None
        )
        ax.plot(*minimum.x, shape, color="black", markeredgecolor="white", markersize=13, zorder=5, label=label)
    lost = np.setdiff1d(
        np.arange(len(result.starts)), np.concatenate([m.starts for m in found] or [np.array([], dtype=np.int64)])
    )
    if len(lost):
        ax.plot(*result.starts[lost].T, "+", color="black", markersize=8, zorder=4, label="ended in no minimum")
    ax.legend(loc="best", fontsize=8, framealpha=0.9)
    ax.set_title(
        title or f"{surface.name}: {len(result.starts)} balls end in {len(found)} minima (white: starts, black: ends)",
        fontsize=11,
    )
    return ax


def _rounded(loss: float, result: ManyStarts) -> str:
    """Return a loss as text; 0 if it is negligible beside the losses at the starts."""
    height = max(abs(float(end.history.loss[0])) for end in result.ends)
    return f"{0.0 if abs(loss) < 1e-9 * height else loss:.3g}"


def _basin(result: ManyStarts, surface: Surface, start: Floats) -> int:
    """Return the index of the minimum that a descent from another start ends nearest to."""
    options = {name: result.settings[name] for name in ("solver", "tol")} | {
        "max_iter": min(result.settings["max_iter"], _BASIN_STEPS)
    }
    if options["solver"] in ("gd", "nesterov"):
        options["learning_rate"] = result.settings["learning_rate"]
    end = without_warning(minimize)(surface, start, **options).x
    return int(np.argmin([np.linalg.norm(minimum.x - end) for minimum in result.minima]))


def saddle(
    surface: Surface,
    point: ArrayLike,
    results: Sequence[MinimizeResult] = (),
    *,
    title: str | None = None,
    ax: Any = None,
) -> Any:
    """Draw a saddle point with the directions in which the surface falls and rises, and descents that pass by.

    Parameters
    ----------
    surface : Surface
        The surface.
    point : array-like of shape (2,)
        The saddle point.
    results : sequence of MinimizeResult, default ()
        Results of `minimize` with ``record_path=True``, drawn with different dashes.
    title : str, optional
        The title. None explains what a saddle point is.
    ax : Axes, optional
        Where to draw. None makes a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the point is no saddle point, or a result has no path in a plane.

    Examples
    --------
    >>> import fastgd
    >>> fastgd.plots.saddle(fastgd.surfaces.saddle, [0.0, 0.0], title="x² − y²").get_title()
    'x² − y²'
    """
    there = stationary(surface, point)
    if there.kind != "saddle":
        raise ValueError(f"point={point!r}: {there.message}")
    where = np.asarray(point, dtype=np.float64)
    ax = ax or Figure(figsize=(6.5, 5.5), layout="constrained").subplots()
    contours(surface, ax)
    reach = 0.25 * float(np.min(np.ptp(surface.window, axis=1)))
    paths = [way(result) for result in results]
    for word, direction in (("falls", there.eigenvectors[:, 0]), ("rises", there.eigenvectors[:, -1])):
        for side in (direction, -direction):
            ends = (where + reach * side, where) if word == "falls" else (where, where + reach * side)
            ax.annotate("", *ends, arrowprops={"arrowstyle": "-|>", "color": "0.25", "linewidth": 2.0}, zorder=2)
        away = -1.0 if sum(float((points[[0, -1]] - where).sum(axis=0) @ direction) for points in paths) > 0.0 else 1.0
        label = where + 1.1 * away * reach * direction
        ax.text(*label, f"{word} to both sides", ha="center", va="center", zorder=6, **_TEXT)
    for k, (result, points) in enumerate(zip(results, paths, strict=True)):
        start = ", ".join(f"{x:g}" for x in points[0])
        what = "rests on the saddle" if result.status is Status.SADDLE else "rolls off"
        draw_way(points, ax, linestyle=("-", "--", ":")[k % 3], label=f"from ({start}): {what}")
        ax.plot(*points[0], "o", color="white", markeredgecolor="black", markersize=10, zorder=5)
        ends_inside = ((points[-1] >= surface.window[:, 0]) & (points[-1] <= surface.window[:, 1])).all()
        if ends_inside:
            ax.plot(*points[-1], "o", color="black", markeredgecolor="white", markersize=10, zorder=5)
    ax.plot(*where, "*", color="white", markeredgecolor="black", markersize=17, zorder=6, label="saddle point: slope 0")
    ax.legend(loc="best", fontsize=8, framealpha=0.9)
    ax.set_title(title or f"{surface.name}: at a saddle point the slope is 0, and yet it is no minimum", fontsize=11)
    return ax
