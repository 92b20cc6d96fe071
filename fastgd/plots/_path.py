"""Plot of a path of penalties: coefficients against the penalty."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fastgd._linear.elastic_net.path import Path
from fastgd._typing import Floats
from fastgd._utils.validation import check_flag, check_whole

_STYLES = ("-", "--", ":", "-.")
"""The dashes of lines that have a name, in turn."""
_COUNTS = 7
"""The maximum number of counts of non-zero coefficients along the top."""
_FEW = 30
"""Penalties up to which each is marked by a dot."""
_NAME_SIZE = 8.0
"""The size of names, in points."""
_LEADING = 1.35
"""The distance of names from each other, in sizes of their font."""
_LONGEST = 32
"""The maximum number of characters of a name."""


def coefficient_path(
    path: Path,
    *,
    output: str | int | None = None,
    per_deviation: bool = False,
    most: int = 10,
    ax: Any = None,
) -> Any:
    """Draw the coefficients of a path against the penalty: a line each, with the names of the largest at its end.

    The penalty falls from left to right, on a logarithmic scale, so that columns come in one after the other. Numbers
    along the top say how many coefficients are not 0.

    Parameters
    ----------
    path : Path
        What `fastgd.path` returned.
    output : str or int, optional
        The class or target to draw, of several: its name, or its number. None draws all, one in each panel.
    per_deviation : bool
        Whether to multiply each coefficient by the standard deviation of its column, so that columns in different
        units can be compared.
    most : int
        Names at most: those of the coefficients that are largest at the smallest penalty.
    ax : Axes, or array of Axes, optional
        Where to draw; for several outputs an Axes for each. None makes a new figure.

    Returns
    -------
    Axes, or ndarray of Axes of shape (k,) for k outputs

    Raises
    ------
    ValueError
        If there is no such output, or ``ax`` has fewer Axes than there are outputs.

    Examples
    --------
    >>> import numpy as np, fastgd
    >>> X = np.random.default_rng(0).standard_normal((200, 5))
    >>> path = fastgd.path(X, X @ [3.0, 0.0, 0.0, -1.0, 0.0], n_penalties=20)
    >>> ax = fastgd.plots.coefficient_path(path)
    >>> [text.get_text() for text in ax.texts]
    ['x3', 'x0']
    """
    check_whole("most", most, 0)
    check_flag("per_deviation", per_deviation)
    coef, first = path.coef, path.results[0]
    if per_deviation:
        coef = coef * first.spread
    names = first.output_names
    if coef.ndim == 2:
        if output is not None:
            raise ValueError(f"output={output!r}; the path has a single output, leave it out")
        return _draw(path, coef, "", per_deviation, most, ax)
    if output is not None:
        k = _number_of(output, names)
        return _draw(path, coef[:, k], names[k], per_deviation, most, ax)
    if ax is None:
        columns = min(len(names), 2)
        rows = -(-len(names) // columns)
        panels = Figure(figsize=(6.5 * columns, 4.5 * rows), layout="constrained").subplots(
            rows, columns, squeeze=False
        )
        for unused in panels.ravel()[len(names) :]:
            unused.remove()
        ax = panels.ravel()[: len(names)]
    axes: NDArray[Any] = np.atleast_1d(ax).ravel()
    if len(axes) < len(names):
        raise ValueError(f"ax has {len(axes)} Axes; there are {len(names)} outputs, choose one by output=")
    for k, name in enumerate(names):
        _draw(path, coef[:, k], name, per_deviation, most, axes[k])
    return axes[: len(names)]


def _number_of(output: str | int, names: list[str]) -> int:
    """Return the number of an output that is given by its name or number."""
    if isinstance(output, str) and output in names:
        return names.index(output)
    if not isinstance(output, str) and 0 <= output < len(names):
        return int(output)
    raise ValueError(f"output={output!r}; choose one of {', '.join(names)}, or a number from 0 to {len(names) - 1}")


def _draw(path: Path, coef: Floats, output: str, per_deviation: bool, most: int, ax: Any) -> Axes:
    """Draw the coefficients (P, d) of one output."""
    drawn: Axes = ax or Figure(figsize=(7.5, 5), layout="constrained").subplots()
    x, zero = _positions(path.penalties)
    ever = np.flatnonzero(coef.any(axis=0))
    last = np.abs(coef[-1])
    largest = [int(j) for j in ever[np.argsort(-last[ever], kind="stable")[:most]] if last[j] > 0.0]
    marker = "." if len(x) <= _FEW else None
    others = np.setdiff1d(ever, largest)
    if others.size:
        drawn.plot(x, coef[:, others], color="0.7", linewidth=0.8, zorder=1)
    for k, j in enumerate(largest):
        style = _STYLES[k // 10 % len(_STYLES)] if len(largest) > 10 else _STYLES[k % len(_STYLES)]
        drawn.plot(x, coef[:, j], color=f"C{k % 10}", linestyle=style, marker=marker, linewidth=1.6, zorder=2)
    drawn.axhline(0.0, color="0.4", linewidth=0.8, zorder=0)
    drawn.set_xscale("log")
    ends = (x[0], x[-1]) if x[0] > x[-1] else (2.0 * x[0], 0.5 * x[-1])
    drawn.set_xlim(*ends)
    drawn.set_xlabel("penalty, falling to the right" + (" (its last value, at the edge, is 0)" if zero else ""))
    drawn.set_ylabel("coefficient per standard deviation" if per_deviation else "coefficient")
    drawn.grid(visible=True, alpha=0.3)
    drawn.set_title(f"{output}: coefficients that are not 0" if output else "coefficients that are not 0", fontsize=10)
    _count_along_the_top(drawn, x, np.count_nonzero(coef, axis=1))
    _name(drawn, x[-1], coef[-1], largest, path.coef_names)
    return drawn


def _positions(penalties: Floats) -> tuple[Floats, bool]:
    """Return where penalties are on a logarithmic axis, and whether some are 0: these stand behind all others."""
    positive = penalties[penalties > 0.0]
    if len(positive) == len(penalties):
        return penalties, False
    if not positive.size:
        return np.ones(len(penalties)), True
    step = (positive[0] / positive[-1]) ** (1.0 / max(len(positive) - 1, 1))
    return np.where(penalties > 0.0, penalties, positive[-1] / max(step, 1.5)), True


def _count_along_the_top(ax: Axes, x: Floats, count: NDArray[np.int64]) -> None:
    """Write how many coefficients are not 0 above some of the penalties, at equal distances."""
    chosen = np.unique(np.round(np.linspace(0, len(x) - 1, min(_COUNTS, len(x)))).astype(int))
    top = ax.secondary_xaxis("top")
    top.minorticks_off()
    top.set_xticks(x[chosen], [f"{count[p]:,}" for p in chosen], fontsize=_NAME_SIZE)


def _name(ax: Axes, edge: float, values: Floats, chosen: list[int], names: list[str]) -> None:
    """Write names to the right of the ends of lines, moved apart so that they do not overlap.

    Parameters
    ----------
    ax : Axes
    edge : float
        Where the lines end.
    values : ndarray of shape (d,)
        The coefficients there.
    chosen : list of int
        Those to name, the most important first: what has no room is left out.
    names : list of str
        Of all coefficients.
    """
    low, high = ax.get_ylim()
    ax.set_ylim(low, high)  # else later artists would move the lines away from their names
    height = 72.0 * ax.get_window_extent().height / ax.figure.dpi
    distance = _LEADING * _NAME_SIZE / height
    room = min(len(chosen), 1 + int(1.0 / distance))
    order = sorted(range(room), key=lambda k: values[chosen[k]])
    places = apart(np.array([(values[chosen[k]] - low) / (high - low) for k in order]), distance)
    for place, k in zip(places, order, strict=True):
        name = names[chosen[k]]
        ax.annotate(
            name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…",
            (edge, values[chosen[k]]),
            (1.03, place),
            textcoords="axes fraction",
            fontsize=_NAME_SIZE,
            color=f"C{k % 10}",
            verticalalignment="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": f"C{k % 10}", "linewidth": 0.6, "shrinkA": 0.0, "shrinkB": 0.0},
        )


def apart(places: Floats, distance: float) -> Floats:
    """Return ascending places between 0 and 1, moved as little as is needed (least squares) to be this far apart."""
    count = len(places)
    if not count:
        return places
    steps = distance * np.arange(count)
    wanted = np.concatenate(([0.0], np.cumsum(places - steps)))
    # Isotonic regression: the largest, over the beginnings of blocks, of the smallest mean of a block from there.
    fitted = [
        max(min((wanted[b] - wanted[a]) / (b - a) for b in range(k + 1, count + 1)) for a in range(k + 1))
        for k in range(count)
    ]
    return np.asarray(np.clip(fitted, 0.0, max(0.0, 1.0 - steps[-1])) + steps)
