"""The pictures of the guide, five of the lecture, one of coefficients, one of a path: results/figures/."""

from __future__ import annotations

import fastgd
from bench.report import RESULTS
from fastgd import plots, surfaces
from fastgd._cli import flights as demo
from fastgd._optim.messages import without_warning

FIGURES = RESULTS / "figures"


def run() -> str:
    FIGURES.mkdir(parents=True, exist_ok=True)
    drawn = {
        "rolling_ball": rolling_ball(),
        "rate_too_large": rate_too_large(),
        "local_and_global": local_and_global(),
        "saddle": saddle(),
        "flights": flights(),
        "coefficients": coefficients(),
        "path": path(),
    }
    for name, axes in drawn.items():
        plots.save(axes, FIGURES / f"{name}.png", dpi=90)
    surface = surfaces.himmelblau
    plots.animate(roll(surface, surface.start, 0.01), surface, FIGURES / "rolling_ball.gif")
    return "\n".join(f"![{name}](figures/{name}.png)" for name in drawn)


def roll(surface, start, rate, **options):
    return without_warning(fastgd.minimize)(
        surface, start, solver="gd", learning_rate=rate, record_path=True, **options
    )


def rolling_ball():
    surface = surfaces.himmelblau
    return plots.path(roll(surface, surface.start, 0.01), surface, view="both")


def rate_too_large():
    rates = [0.002, 0.1, 0.185, 0.21]
    return plots.learning_rates(fastgd.learning_rates(surfaces.elongated_bowl, rates=rates, max_iter=40))


def local_and_global():
    surface = surfaces.double_well
    result = without_warning(fastgd.minimize)(surface, surface.start, solver="gd", learning_rate=0.05, starts=24, rng=0)
    return plots.minima(result, surface)


def saddle():
    surface = surfaces.saddle
    passing = [roll(surface, [1.6, y], 0.1, max_iter=limit) for y, limit in ((0.0, 1000), (0.01, 40))]
    return plots.saddle(surface, surface.saddles[0], passing)


def flights():
    data = demo.flights()
    options = {"loss": "logistic", "l2": 1e-6, "solver": "nesterov", "tol": 1e-5}
    return plots.history(
        without_warning(fastgd.fit)(data.table, data.late, **options).history, "Which flights come late? The descent"
    )


def coefficients():
    data = demo.flights()
    result = fastgd.fit(data.table, data.late, loss="logistic", covariance="HC1")
    return plots.coefficients(result, most=20)


def path():
    data = demo.flights()
    table = data.table.assign(distance=data.table["distance"] / 1000.0)
    categories = ["month", "weekday", "carrier", "origin", "hour"]
    return fastgd.path(table, data.late, loss="logistic", categorical=categories, drop_first=False).plot()
