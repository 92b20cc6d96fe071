"""The summary of a fit as text and as HTML: what was fitted, how well, and how sure the coefficients are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from fastgd._linear.inference.inference import INTERCEPT, LEVEL, Inference

if TYPE_CHECKING:
    from fastgd._linear.result import FitResult

MOST = 100
"""Coefficients of an output that a summary shows at most."""
SMALLEST = 1e-300
"""P-values below are not shown as numbers."""
_GAP = 4
COVARIANCES = {
    "classical": "classical",
    "HC0": "HC0, robust",
    "HC1": "HC1, robust",
    "HC2": "HC2, robust",
    "HC3": "HC3, robust",
    "cluster": "clustered",
    "penalised": "penalised",
}
"""How a summary names the covariances."""


@dataclass(frozen=True, repr=False)
class Summary:
    """A summary: ``str`` and ``print`` give text, a notebook shows a table.

    Attributes
    ----------
    facts : list of (str, str)
        Names and values.
    columns : tuple of str
        The heads of the table.
    rows : list of tuple of str
        A row for each coefficient.
    notes : list of str
        What to know beside.
    """

    facts: list[tuple[str, str]]
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: list[str]

    def __str__(self) -> str:
        """Return the summary as text."""
        half = -(-len(self.facts) // 2)
        left, right = _aligned(self.facts[:half]), _aligned(self.facts[half:])
        right += [""] * (half - len(right))
        lines = [f"{a}{' ' * _GAP}{b}".rstrip() for a, b in zip(left, right, strict=True)]
        widths = [max(map(len, cells)) for cells in zip(self.columns, *self.rows, strict=True)]
        table = [
            "  ".join([cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))])
            for cells in [self.columns, *self.rows]
        ]
        rule = "-" * max(map(len, [*lines, *table]))
        notes = [""] if self.notes else []
        return "\n".join([*lines, rule, table[0], rule, *table[1:], rule, *notes, *self.notes])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the summary as HTML tables without any style but alignment."""
        half = -(-len(self.facts) // 2)
        facts = [*self.facts, ("", "")]
        pairs = [(*facts[k], *facts[min(half + k, len(self.facts))]) for k in range(half)]
        return (
            _html((), pairs, numbers=(1, 3))
            + _html(self.columns, self.rows, numbers=range(1, len(self.columns)))
            + "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        )


def summary_of(result: FitResult, level: float = LEVEL, most: int | None = MOST) -> Summary:
    """Return the summary of a fit.

    Parameters
    ----------
    result : FitResult
    level : float
        Of the intervals.
    most : int or None
        Coefficients of an output at most; None is all.
    """
    inference, history = result.inference, result.history
    run = [
        ("loss", f"{result.loss:.6g} ({result.settings.loss['name']})"),
        ("status", result.status.name.capitalize().replace("_", " ")),
        ("passes", f"{history.passes[-1]:.4g}"),
        ("seconds", f"{history.seconds[-1]:.3g}"),
    ]
    if result.classes is not None and len(result.classes) == 2:
        run.insert(0, ("log-odds of", str(result.classes[1])))
    if inference is None:
        facts = [("observations", f"{result.rows:,}"), ("coefficients", f"{result.coef.size:,}"), *run]
        rows, left = _plain_rows(result, most)
        notes = [f"{left:,} more coefficients: summary(most='all') shows them; result.coef has them."] if left else []
        if result.settings.l1 > 0.0:
            zeros = result.coef.size - int(np.count_nonzero(result.coef))
            notes.append(f"{zeros:,} coefficients are 0, by l1. What l1 chose has no standard errors.")
        else:
            notes.append(
                "Standard errors: give fit covariance='classical' or another, or call fastgd.inference(result, X, y)."
            )
        return Summary(facts, ("", "coef"), rows, notes)
    if inference.outputs and result.classes is not None:
        run.insert(0, ("log-odds against", str(result.classes[0])))
    rows, left = _rows(inference, level, most)
    notes = []
    if left:
        notes = [f"{left:,} more coefficients: summary(most='all') shows them; inference.to_frame() is a table of all."]
    statistic = "z" if np.isinf(inference.df) else "t"
    tail = 0.5 * (1.0 - level)
    columns = ("", "coef", "std err", statistic, f"P>|{statistic}|", f"[{tail:.3g}", f"{1.0 - tail:.3g}]")
    return Summary([*_facts(inference), *run], columns, rows, [*notes, *inference.notes])


def _facts(inference: Inference) -> list[tuple[str, str]]:
    """Return how many observations there are, and how well the model describes them."""
    clusters = f", {inference.clusters:,} clusters" if inference.clusters else ""
    facts = [
        ("observations", f"{inference.n:,}"),
        ("df model", _freedom(inference.df_model, inference.penalised)),
        ("df residuals", _freedom(inference.df_resid, inference.penalised)),
        ("covariance", f"{COVARIANCES[inference.kind]}{clusters}"),
    ]
    measures = {
        "R²": inference.r_squared,
        "adjusted R²": inference.adjusted_r_squared,
        "pseudo R²": inference.pseudo_r_squared,
        "log-likelihood": inference.log_likelihood,
        "AIC": inference.aic,
        "BIC": inference.bic,
        "deviance": inference.deviance,
    }
    facts += [(name, _numbers(values)) for name, values in measures.items() if np.isfinite(values).all()]
    try:
        test = inference.f_test() if inference.quadratic else inference.likelihood_ratio_test()
    except ValueError:  # there is nothing to test, or nothing to test it by
        return facts
    if not np.isfinite(test.p_value).all():
        return facts
    name = "F test" if inference.quadratic else "LR test"
    return [*facts, (name, f"{_numbers(test.statistic)}, P {_probabilities(test.p_value)}")]


def _rows(inference: Inference, level: float, most: int | None) -> tuple[list[tuple[str, ...]], int]:
    """Return the table of coefficients, intercepts first, and how many are left out."""
    size = len(inference.names)
    order = [*range(size)]
    if inference.intercept:
        order = [order[-1], *order[:-1]]
    shown = order[:most]
    intervals = inference.conf_int(level)
    columns = [inference.coef, inference.standard_errors, inference.statistic, inference.p_values]
    columns += [intervals[..., 0], intervals[..., 1]]
    outputs = inference.outputs or ("",)
    rows: list[tuple[str, ...]] = []
    for output, *numbers in zip(outputs, *(each.reshape(-1, size) for each in columns), strict=True):
        for j in shown:
            coef, error, statistic, p_value, lower, upper = (float(each[j]) for each in numbers)
            name = f"{output}: {inference.names[j]}" if output else inference.names[j]
            cells = (f"{coef:.6g}", f"{error:.4g}", _statistic(statistic), _probability(p_value))
            rows.append((name, *cells, f"{lower:.5g}", f"{upper:.5g}"))
    return rows, (size - len(shown)) * len(outputs)


def _plain_rows(result: FitResult, most: int | None) -> tuple[list[tuple[str, ...]], int]:
    """Return the table of coefficients without standard errors, and how many are left out."""
    coef, intercept = np.atleast_2d(result.coef), np.atleast_1d(result.intercept)
    outputs = [f"{label}: " for label in result.output_names] or [""]
    names = result.coef_names
    rows: list[tuple[str, ...]] = []
    for output, own, b in zip(outputs, coef, intercept, strict=True):
        first = [(f"{output}{INTERCEPT}", f"{b:.6g}")] if result.settings.intercept else []
        rows += [*first, *((f"{output}{name}", f"{value:.6g}") for name, value in zip(names, own, strict=True))][:most]
    return rows, len(coef) * (len(names) + result.settings.intercept) - len(rows)


def _freedom(value: float, effective: bool) -> str:
    """Return degrees of freedom: whole numbers, or effective ones of a penalised fit with two decimals."""
    if not effective:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if not abs(value) < 0.1 else f"{value:.2g}"


def _numbers(values: Any) -> str:
    return ", ".join(f"{value:.6g}" for value in np.ravel(values))


def _probabilities(values: Any) -> str:
    return ", ".join(map(_probability, np.ravel(values).tolist()))


def _statistic(value: float) -> str:
    return f"{value:.3f}" if not abs(value) >= 1e6 else f"{value:.3e}"


def _probability(value: float) -> str:
    if value < SMALLEST:
        return f"<{SMALLEST:.0e}"
    return f"{value:.3f}" if not value < 0.001 else f"{value:.1e}"


def _aligned(facts: Sequence[tuple[str, str]]) -> list[str]:
    """Return names and values in two columns."""
    if not facts:
        return []
    names, values = (max(map(len, column)) for column in zip(*facts, strict=True))
    return [f"{name:<{names}}  {value:>{values}}" for name, value in facts]


def _html(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int]) -> str:
    """Return an HTML table, some of whose columns are aligned to the right."""
    right = {*numbers}

    def line(cells: Sequence[str], tag: str) -> str:
        kinds = (' style="text-align: right"' if k in right else "" for k in range(len(cells)))
        inner = (f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True))
        return f"<tr>{''.join(inner)}</tr>"

    head = f"<thead>{line(heads, 'th')}</thead>" if heads else ""
    body = "".join(line(row, "td") for row in rows)
    return f"<table>{head}<tbody>{body}</tbody></table>"
